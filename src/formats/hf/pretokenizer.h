/* pretokenizer.h - recognises how tokenizer.json splits text before byte-level BPE, by its definition. */
#ifndef HONE_FORMATS_HF_PRETOKENIZER_H
#define HONE_FORMATS_HF_PRETOKENIZER_H
#include "base/arena.h"
#include "base/json.h"

/* The rule that the word "gpt2" stands for. */
#define HONE_HF_GPT2_RULE "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* llama.cpp's name for a BPE that merges plain text by rank, spaces as U+2581, without splitting (Gemma without scores). */
#define HONE_HF_PLAIN_BPE "sarvam-moe"

typedef struct hone_hf_pretokenizer { /* a row of pretokenizers.def */
    const char *name;
    bool        ignore_merges, clean_spaces;
    const char *definition;
} hone_hf_pretokenizer;

extern const hone_hf_pretokenizer hone_hf_pretokenizers[];
extern const size_t               hone_hf_n_pretokenizers;

/* Spells a pre_tokenizer in the words of pretokenizers.def; *bytes: it turns bytes into letters.
 * HONE_EUNSUPPORTED for a step the words have no name for; the cause prints the definition. */
hone_code hone_hf_pretokenizer_spell(const json_t *pre, hone_arena *a, const char **out, bool *bytes, hone_err *err);
/* The row that splits like definition.  A row with the same ignore_merges is taken before others, then one with the same
 * clean_spaces (-1: not said), then the first; NULL when there is none.  *exact: ignore_merges is the same. */
const hone_hf_pretokenizer *hone_hf_pretokenizer_find(const char *definition, bool ignore_merges, int clean_spaces, bool *exact);
/* The first row of a name of llama.cpp's, NULL when there is none: its spelling of the rule is the plainest. */
const hone_hf_pretokenizer *hone_hf_pretokenizer_named(const char *name);
/* HONE_EUNSUPPORTED with the definition, shortened, and where a row would be added. */
hone_code hone_hf_pretokenizer_unknown(const json_t *pre, hone_err *err);
#endif
