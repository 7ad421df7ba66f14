/* treatment.h - what calibration knows of each weight of a conversion, and the method that uses it (quant/treat.h).
 * A Hessian is read and factored when the first tile asks for it, shared by all tiles and outputs whose weights see the same input, and dropped
 * when others need the memory: hone_treatments_ram says how much that is at most. */
#ifndef HONE_FLOW_CONVERT_TREATMENT_H
#define HONE_FLOW_CONVERT_TREATMENT_H
#include "flow/convert/output.h"
#include "ir/stats.h"
#include "quant/treat.h"

typedef struct hone_treatments hone_treatments;

/* What one weight's rows are given: matrix k (an expert) has rows k * rows_each .. */
typedef struct hone_known {
    uint32_t           n_mats;
    uint64_t           rows_each;
    struct hone_input *inputs[]; /* [n_mats] */
} hone_known;

/* The method by its name; NULL: gptq where there are Hessians, search where there are only sums of squares, rtn where there is nothing.  The name in
 * *out is static.  HONE_EUSAGE: no such method, or one that needs statistics and none are given; HONE_EINPUT: these statistics lack what it needs. */
hone_code hone_method_choose(const char *name, const hone_stats *stats, const char **out, hone_err *err);
/* True when weights are encoded with importance, as llama-quantize --imatrix does: its rules of which type a tensor gets change then. */
bool hone_method_weighs(const hone_convert_options *opt);

/* opt->method is one that hone_method_choose gave; stats borrowed.  NULL in *out: the method changes nothing.  Arena a outlives it. */
hone_code hone_treatments_new(const hone_convert_options *opt, const hone_model *m, unsigned threads, hone_arena *a, hone_treatments **out, hone_err *err);
void      hone_treatments_free(hone_treatments *t);
/* What is known of weight w; NULL in *out where the method means nothing for this encoding. */
hone_code hone_treatments_add(hone_treatments *t, const hone_weight *w, const hone_planned *p, const hone_known **out, hone_err *err);
/* Bytes of scratch that rows of this weight need. */
size_t    hone_treatments_scratch(const hone_treatments *t, const hone_planned *p, uint64_t cols);
/* Bytes held at most besides. */
uint64_t  hone_treatments_ram(const hone_treatments *t);
/* Encodes rows of the weight: row r of x is row row0 + r of it, or to[row0 + r].  Thread-safe. */
hone_code hone_treatments_rows(hone_treatments *t, const hone_known *k, const hone_planned *p, const float *x, uint64_t row0, const uint32_t *to, uint64_t n_rows,
                               uint64_t cols, uint8_t *const out[HONE_STREAMS], void *scratch, hone_err *err);
#endif
