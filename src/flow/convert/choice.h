/* choice.h - the encodings that each format has for one weight: by a plan's word ("int4 asym g32"), by a neutral width ("4 bits"), and all of them. */
#ifndef HONE_FLOW_CONVERT_CHOICE_H
#define HONE_FLOW_CONVERT_CHOICE_H
#include "flow/convert/output.h"
#include "flow/plan.h"

typedef struct hone_choice {
    hone_dtype   dtype;   /* of the elements when grouped.scheme is HONE_SCHEME_NONE */
    hone_grouped grouped; /* but for .scale, which the format's planner sets */
} hone_choice;

/* What a format is told besides: what a word leaves out, and what 16 bits mean. */
typedef struct hone_usual {
    uint32_t   group; /* columns; 0: the row */
    bool       sym;
    hone_dtype plain; /* of what is not quantised: ONNX knows no other */
} hone_usual;

/* The encoding that a word means.  HONE_EUSAGE when the format has none of that name. */
hone_code hone_choice_parse(const hone_format *f, const char *word, const hone_usual *u, hone_choice *out, hone_err *err);
/* HONE_OK when rows of n_cols can have it; else HONE_EUSAGE with both numbers. */
hone_code hone_choice_fits(const hone_choice *c, uint64_t n_cols, hone_err *err);
/* The nearest that the format has to a width, of those that fit; 16 and 32: not quantised.  Of two as near the wider. */
hone_choice hone_choice_of_bits(const hone_format *f, uint32_t bits, const hone_usual *u, uint64_t n_cols);
/* As a plan spells it; in the arena, NULL when memory is gone. */
const char *hone_choice_word(const hone_format *f, const hone_choice *c, hone_arena *a);
/* The i-th encoding that is worth trying for rows of n_cols; false past the last.  Narrow ones first.  In out->grouped.scale the type that the format
 * usually has. */
bool hone_choice_at(const hone_format *f, size_t i, const hone_usual *u, hone_choice *out);
/* Bits of a row in all streams. */
uint64_t hone_choice_row_bits(const hone_choice *c, uint64_t n_cols);
bool     hone_choice_same(const hone_choice *x, const hone_choice *y);

/* What the plan says of a weight: *given false when it says nothing.  Errors of the plan name its line: HONE_EINPUT. */
hone_code hone_choice_planned(const hone_plan *p, const hone_model *m, const hone_format *f, const hone_weight *w, const hone_usual *u, hone_choice *out,
                              bool *given, bool *by_name, hone_err *err);
#endif
