/* limits.h - what a consumer of our files cannot do with a model, from data/limits.json: every row names the line that causes it, what
 * it means for the user, and the test that fails when the limit goes away. */
#ifndef HONE_PASSES_LIMITS_H
#define HONE_PASSES_LIMITS_H
#include "base/json.h"
#include "ir/model.h"

typedef struct hone_limit { /* strings live in the arena */
    const char *consumer, *version;
    const char *condition;   /* "facts:window", "tokenizer:nfc": what of the model brings it on */
    const char *feature;     /* what the model has, with its numbers */
    const char *cause;       /* file and line in the consumer */
    const char *consequence; /* for the user */
    const char *test;
    bool        harmless;    /* worth knowing, changes no token and no answer: a note, not a warning ("harmless": true) */
} hone_limit;

/* The rows of data_dir/data/limits.json for consumer that this model meets; tokenizer NULL: those about facts only.
 * HONE_EINPUT when the file is bad or a condition is unknown. */
hone_code hone_limits_for(const char *data_dir, const char *consumer, const hone_facts *f, const hone_tokenizer *tokenizer, hone_arena *a,
                          const hone_limit **out, size_t *n, hone_err *err);

/* The same from a document that was read. */
hone_code hone_limits_of(const json_t *doc, const char *consumer, const hone_facts *f, const hone_tokenizer *tokenizer, hone_arena *a,
                         const hone_limit **out, size_t *n, hone_err *err);

/* Whether the model has what a consumer lacks.  feature is one of:
 * "window"    sliding-window layers, and llama.cpp's graph for the family has none
 * "longrope"  rope factors that transformers chooses by the length of the text
 * "dynamic"   rope scaling that sets in behind the trained context
 * "mlx_window"   sliding-window layers, and mlx_lm's module has none or cannot be told of them
 * "mlx_longrope" as "longrope"     "mlx_gelu"  the other GELU is built into mlx_lm's module     "mlx_experts"  a mixture of experts
 * "attn_softcap"  scores of attention are soft-capped
 * "encoder"   the model generates nothing
 * *known is false for other words. */
bool hone_facts_need(const hone_facts *f, const char *feature, bool *known);
#endif
