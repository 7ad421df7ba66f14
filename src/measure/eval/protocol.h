/* protocol.h - how a text is cut into windows and which of its ids are scored.
 * A perplexity is only comparable under the same protocol, so the one that was used is always shown in words. */
#ifndef HONE_MEASURE_EVAL_PROTOCOL_H
#define HONE_MEASURE_EVAL_PROTOCOL_H
#include "base/arena.h"
#include "base/ctx.h"
#include "base/json.h"

/* Without any word from the user or a reference.json: windows of 511 ids, each starting 256 after the one before. */
#define HONE_WINDOW_DEFAULT 511u
#define HONE_STRIDE_DEFAULT 256u

typedef struct hone_protocol {
    uint32_t window, stride; /* ids; the input of a window is [BOS] (where the model has one) and its ids */
    bool     stated;         /* by the reference.json beside the text */
} hone_protocol;

/* What the text of "perplexity_protocol" and the "context" of a reference.json say; false when hone does not know that protocol. */
bool hone_protocol_from(const json_t *reference, hone_protocol *out);
/* window, stride: the user's word, 0 for none.  Reads reference.json beside the text.  A protocol there that hone does not know is
 * warned of and the default taken. */
hone_code hone_protocol_find(const hone_ctx *ctx, const char *text_path, uint32_t window, uint32_t stride, hone_protocol *out, hone_err *err);
/* In words, for results. */
void hone_protocol_words(const hone_protocol *p, bool bos, uint32_t max_tokens, char *out, size_t cap);

typedef struct hone_window { size_t start, len, skip; } hone_window; /* ids start..start+len of the text; the first skip of them are context only */
/* The windows of n ids (n > 0), each id scored once.  bos false: an id with nothing before it in its window is not scored.
 * *count may be 0: one id without BOS. */
hone_code hone_protocol_windows(const hone_protocol *p, size_t n, bool bos, hone_arena *a, hone_window **out, size_t *count, hone_err *err);
#endif
