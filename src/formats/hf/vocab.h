/* vocab.h - a token table while it is being read: each id is given once, texts can be found, gaps are filled at the end. */
#ifndef HONE_FORMATS_HF_VOCAB_H
#define HONE_FORMATS_HF_VOCAB_H
#include "base/arena.h"
#include "ir/tokenizer.h"

#define HONE_HF_TOKENS_MAX (1u << 24) /* far above the largest vocabulary there is; a lying id cannot ask for more memory */

typedef struct hone_hf_vocab {
    hone_token *tokens; /* [n]; text NULL: nobody has named this id yet */
    size_t      n;
    uint32_t   *slots;  /* open addressing, id + 1; 0: free */
    size_t      n_slots;
} hone_hf_vocab;

/* Room for ids 0..n-1. */
hone_code hone_hf_vocab_new(hone_arena *a, size_t n, hone_hf_vocab *out, hone_err *err);
/* Gives id < v->n its text (borrowed).  HONE_EINPUT when the id has another text already, or the text another id. */
hone_code hone_hf_vocab_add(hone_hf_vocab *v, uint32_t id, const char *text, size_t len, hone_err *err);
/* Like _add, but the new text takes the place of another one (an added token that renames a piece). */
hone_code hone_hf_vocab_set(hone_hf_vocab *v, uint32_t id, const char *text, size_t len, hone_err *err);
/* The id of a text, or -1. */
int64_t hone_hf_vocab_find(const hone_hf_vocab *v, const char *text, size_t len);
/* Names the ids that nobody named "[PAD<id>]", unused. */
hone_code hone_hf_vocab_fill(hone_hf_vocab *v, hone_arena *a, hone_err *err);
#endif
