/* reader.h - what the readers of a tokenizer's several files share. */
#ifndef HONE_FORMATS_HF_READER_H
#define HONE_FORMATS_HF_READER_H
#include "base/json.h"
#include "formats/hf/sentencepiece.h"
#include "formats/hf/vocab.h"

typedef struct hone_hf_reader {
    hone_arena    *a;
    uint32_t       n_vocab; /* rows of the embedding; 0: not known */
    const json_t  *config;  /* tokenizer_config.json or NULL, borrowed */
    hone_hf_vocab  v;
    hone_tokenizer t;
    /* What the post-processor puts around one text; -1: nothing.  have_post: tokenizer.json says so, nobody else has a word. */
    bool           have_post;
    int64_t        first, last;
    bool           pair_sep; /* it puts one more separator between two texts */
} hone_hf_reader;

/* An empty reader; and its result (tokens still owned by the arena). */
void hone_hf_reader_init(hone_hf_reader *r, hone_arena *a, uint32_t n_vocab);
void hone_hf_reader_done(const hone_hf_reader *r, hone_tokenizer *out);

/* tokenizer.json; sp: the tokenizer.model beside it, or NULL. */
hone_code hone_hf_read_json(hone_hf_reader *r, const json_t *root, const hone_sp *sp, hone_err *err);
/* tokenizer.model alone, with added_tokens.json (or NULL) and tokenizer_config.json. */
hone_code hone_hf_read_sentencepiece(hone_hf_reader *r, const hone_sp *sp, const json_t *added, hone_err *err);
/* vocab.txt: one WordPiece to a line. */
hone_code hone_hf_read_vocab_txt(hone_hf_reader *r, hone_bytes text, hone_err *err);
/* vocab.json and merges.txt; the split rule is that of tokenizer_config.json's class. */
hone_code hone_hf_read_vocab_json(hone_hf_reader *r, const json_t *vocab, hone_bytes merges, const json_t *added, hone_err *err);
/* Shared by the readers of byte-level BPE: merges must join known tokens.  list: merges as "a b" or ["a","b"]. */
hone_code hone_hf_read_merges(hone_hf_reader *r, const json_t *list, hone_err *err);
/* Names the split of byte-level BPE. */
hone_code hone_hf_choose_pretokenizer(hone_hf_reader *r, const char *definition, bool ignore_merges, const json_t *shown, hone_err *err);
/* The tokens of tokenizer_config.json's added_tokens_decoder. */
hone_code hone_hf_read_decoder_tokens(hone_hf_reader *r, hone_err *err);
/* One added token: { content, special, lstrip, rstrip, normalized }.  Ids past the embedding are counted and left out. */
hone_code hone_hf_add_token(hone_hf_reader *r, uint32_t id, const json_t *token, hone_err *err);

/* Whether every token comes out of the merges when its own characters are put together (merges.c). */
hone_code hone_hf_merges_reach_all(const hone_hf_reader *r, bool *out, hone_err *err);
/* The same, told of each token (unreached) and of the tokenizer (whole_words): for one that takes words in the vocabulary whole (merges.c). */
hone_code hone_hf_mark_unreached(hone_hf_reader *r, hone_err *err);
/* Scores that make merging by score do what merging by rank does; *ok is false when there are none (merges.c). */
hone_code hone_hf_scores_from_merges(hone_hf_reader *r, bool *ok, hone_err *err);

typedef struct hone_hf_way { /* to put one token together from two others; ids */
    uint32_t left, right, whole;
    uint32_t left_chars, right_chars, seq;
    float    score; /* of whole */
} hone_hf_way;
/* Every way of a vocabulary that merges by score, in the order of the merges that say the same: the best score first, then longer parts.  v: texts, types
 * and scores; normal tokens count.  *out is owned: free.  Source: transformers convert_slow_tokenizer.py, generate_merges (merges.c). */
hone_code hone_hf_ways(const hone_hf_vocab *v, hone_hf_way **out, size_t *n, hone_err *err);

/* bos, eos, ... add_bos, eot from tokenizer_config.json, special_tokens_map.json, generation_config.json, config.json; each may be NULL (special.c). */
hone_code hone_hf_read_special(hone_hf_reader *r, const json_t *map, const json_t *generation, const json_t *model, hone_err *err);
/* chat_template.jinja, additional_chat_templates/, chat_template.json, tokenizer_config.json (template.c). */
hone_code hone_hf_read_templates(hone_hf_reader *r, const char *dir, hone_err *err);

/* Small help. */
const char *hone_hf_type(const json_t *obj);                 /* obj["type"], "" when there is none */
bool        hone_hf_is_byte_token(const char *s, size_t len); /* "<0xAB>" */
bool        hone_hf_is_space_run(const hone_token *t);
hone_code   hone_hf_copy(hone_hf_reader *r, const json_t *string, const char **text, size_t *len, hone_err *err);
#define HONE_HF_SPACE "\xe2\x96\x81" /* U+2581: how SentencePiece spells a space */
#endif
