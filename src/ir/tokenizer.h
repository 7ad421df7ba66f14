/* tokenizer.h - a tokenizer in memory, whatever file it came from.  Strings may hold any byte; lengths count. */
#ifndef HONE_IR_TOKENIZER_H
#define HONE_IR_TOKENIZER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum hone_tok_kind {
    HONE_TOK_NONE,     /* the checkpoint has no tokenizer */
    HONE_TOK_BPE,      /* byte-level BPE (GPT-2 byte alphabet) */
    HONE_TOK_SPM,      /* SentencePiece BPE (merge order by score), with byte fallback */
    HONE_TOK_UNIGRAM,  /* SentencePiece Unigram */
    HONE_TOK_WORDPIECE /* BERT */
} hone_tok_kind;

/* Values are GGUF's tokenizer.ggml.token_type. */
typedef enum hone_token_type {
    HONE_TOKEN_NORMAL = 1, HONE_TOKEN_UNKNOWN = 2, HONE_TOKEN_CONTROL = 3, HONE_TOKEN_USER = 4, HONE_TOKEN_UNUSED = 5, HONE_TOKEN_BYTE = 6
} hone_token_type;

typedef struct hone_token {
    const char     *text; /* as the vocabulary spells it (GPT-2 byte alphabet, U+2581 for SentencePiece spaces, ...) */
    size_t          len;
    float           score; /* SPM, UNIGRAM; else 0 */
    hone_token_type type;
    bool            lstrip, rstrip, normalized; /* of an added token */
    bool            special;                    /* of an added token: decoding leaves it out when asked to */
    bool            unreached;                  /* of BPE with whole_words: the merges do not make it, only a whole word is it */
} hone_token;

typedef struct hone_merge { /* byte ranges as spelled in the vocabulary */
    const char *left, *right;
    size_t      left_len, right_len;
} hone_merge;

typedef struct hone_chat_template {
    const char *name; /* "default", "tool_use", ... */
    const char *text; /* Jinja */
} hone_chat_template;

typedef struct hone_tokenizer {
    hone_tok_kind kind;
    const char   *pre; /* BPE: the pre-tokenizer's name in llama.cpp's vocabulary of names ("llama-bpe", "qwen2", ...), recognised
                          from its definition; NULL otherwise */
    const char   *gguf_model; /* tokenizer.ggml.model: "gpt2", "llama", "t5", "bert", "gemma4", ... */
    hone_token   *tokens; /* [n_tokens]; padded with unused tokens up to the model's vocab by the flow */
    size_t        n_tokens;
    hone_merge   *merges; /* BPE, in rank order */
    size_t        n_merges;
    int64_t       bos, eos, unk, sep, pad, cls, mask, eot, eom; /* -1: none */
    bool          add_bos, add_eos, add_sep;
    bool          add_space_prefix, remove_extra_whitespaces, escape_whitespaces; /* SentencePiece */
    const uint8_t *charsmap; /* SentencePiece precompiled normaliser, or NULL */
    size_t        charsmap_len;
    const hone_chat_template *templates; /* [n_templates]; the default one first */
    size_t        n_templates;
    bool          nfc;          /* text is brought to NFC before it is split */
    bool          prefix_once;  /* SentencePiece: the space prefix goes before the first text only, and not before a space */
    bool          prefix_not_double; /* SentencePiece: ... before every text, but not before a space (Metaspace "always") */
    bool          whole_words;  /* BPE: a word that is a token is taken whole, and some are unreached */
    uint32_t      max_length;   /* tokens of a text, as tokenizer_config.json limits them; 0: not said */
    bool          keeps_end_space; /* Unigram: spaces are merged, but one at the end stays */
    int           clean_spaces; /* decoding removes the spaces before punctuation (clean_up_tokenization_spaces): 0, 1, or -1: not said */
    bool          pre_cleans;   /* ... and llama.cpp does so under the name in pre */
    int           lowercase, strip_accents; /* WordPiece normaliser: 0, 1, or -1: not said */
    uint32_t      max_word;     /* WordPiece: longer words (in characters) become unk; 0: no limit */
    uint32_t      n_token_types; /* of an encoder (config.json type_vocab_size), 0: not said */
    size_t        n_dropped;    /* added tokens that have no row in the embedding and were left out */
} hone_tokenizer;

/* Whether the tokenizer needs something that a consumer may lack (data/limits.json: "tokenizer:<feature>").  feature is one of
 * "nfc", "prefix_once", "lstrip", "rstrip" (of an added token), "rstrip_unlike_phi3" (and not just as Phi-3's tokens do),
 * "keeps_spaces" (when decoding, and pre_cleans), "wordpiece", "strip_accents", "max_word", "unigram",
 * "unigram_spaces", "unigram_bytes", "charsmap", "lowercase", "dropped", "pre=<name>"; false for other words. */
bool hone_tokenizer_needs(const hone_tokenizer *t, const char *feature);
/* Phi-3's rule for white space behind added tokens: all special ones swallow it but <unk>, <s> and <|endoftext|>.  *has: the tokens whose
 * names the rule needs exist.  Returns how many special tokens it is right about minus how many it is wrong about. */
long hone_tokenizer_like_phi3(const hone_tokenizer *t, bool *has);
#endif
