/* parts.h - the parts of check, each filling its own fields of the result. */
#ifndef HONE_MEASURE_CHECK_PARTS_H
#define HONE_MEASURE_CHECK_PARTS_H
#include "measure/check/cases.h"
#include "measure/check/reference.h"
#include "measure/child.h"
#include "measure/measure.h"
#include "passes/limits.h"

typedef struct hone_check_limit { /* what the runtime is known to do differently for this model; zeroed: nothing */
    bool              known;               /* config.json was read: facts and tokenizer are the checkpoint's */
    hone_facts        facts;
    hone_tokenizer    tokenizer;
    const hone_limit *rows; size_t n_rows; /* of data/limits.json, those of who tokenises */
    bool              encoder;             /* embeddings, no logits */
    uint32_t          positions;           /* only the first so many positions of a text are comparable; 0: all */
    uint32_t          long_from;           /* texts over this length, and only those, use the long rope factors; 0: there is one set */
    uint32_t          context;             /* texts are no longer than this; 0: any length */
    char              why[200], long_why[200];
} hone_check_limit;

/* Reads config.json and the tokenizer of source (NULL, or without config.json: no limits); notes in the result what the runtime, and what deploys
 * such files, do differently. */
hone_code hone_check_limits(const hone_ctx *ctx, const char *source, const hone_artefact *x, hone_arena *a, hone_check_limit *out,
                            hone_check_result *res, hone_err *err);
/* The same for who tokenises. */
hone_code hone_check_word_limits(const hone_ctx *ctx, const char *words_by, hone_arena *a, hone_check_limit *limit, hone_check_result *res, hone_err *err);
/* Whether a limit says that this text may get other ids. */
bool hone_check_explains(const hone_check_limit *limit, hone_str text);
/* How many positions of a text of n ids are comparable when the runtime has a context of n_ctx; *why is set when it is less. */
size_t hone_check_comparable(const hone_check_limit *limit, size_t n, uint32_t n_ctx, const char **why);

/* Token ids, decoding, rendered templates. */
hone_code hone_check_tokens(const hone_ctx *ctx, hone_runner *r, const hone_cases *cases, const hone_check_limit *limit,
                            hone_check_result *res, hone_err *err);
/* Logits and the greedy continuations of n references; the artefact is open. */
hone_code hone_check_logits(const hone_ctx *ctx, const hone_child *c, const hone_reference *refs, size_t n, const hone_check_limit *limit,
                            hone_check_result *res, hone_err *err);
/* Embeddings and hidden states; opens the artefact again in c's runner. */
hone_code hone_check_embeddings(hone_child *c, const hone_backend_open *how, const hone_reference *ref, hone_check_result *res, hone_err *err);
/* No reference: are the logits of some random ids finite at all? */
hone_code hone_check_finite(const hone_child *c, hone_check_result *res, hone_err *err);
/* A reference from an unquantised artefact: rows of cols seeded random ids (or fewer by less than every), logits held in memory. */
hone_code hone_check_self_reference(const hone_ctx *ctx, const hone_backend_open *how, size_t cols, hone_arena *a, hone_reference *out, hone_err *err);
/* One position of so many is held of such a reference, which makes it 256 MiB at most (two rows of logits, where that is more); 1: all are. */
size_t hone_check_self_every(size_t cols, size_t width);
/* The same ids each time. */
void hone_check_random_ids(int32_t *ids, size_t n, uint32_t n_vocab);
#endif
