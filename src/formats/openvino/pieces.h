/* pieces.h - texts on their way through a tokenizer model, in the form the extension's layers hand on: rows of pieces, each a range of
 * one byte array.  Source: openvino_tokenizers src/utils.cpp (check_string_input, check_ragged_string_input). */
#ifndef HONE_FORMATS_OPENVINO_PIECES_H
#define HONE_FORMATS_OPENVINO_PIECES_H
#include "base/text.h"
#include "formats/openvino/ir.h"
#include "ir/tokenizer.h"

typedef struct hone_ov_pieces {
    hone_ov_port row_begins, row_ends;  /* i32 [rows]: the pieces of each row */
    hone_ov_port begins, ends, chars;   /* i32 [pieces], i32 [pieces], u8 [bytes] */
    hone_ov_port skips;                 /* boolean [pieces]: leave this piece alone */
    bool         has_rows, has_skips;
} hone_ov_pieces;

/* Shapes that occur everywhere. */
extern const hone_ov_shape hone_ov_vec_i32, hone_ov_vec_u8, hone_ov_vec_bool, hone_ov_one_i32, hone_ov_one_i64, hone_ov_one_bool;

/* Constants: one string as u8 [len]; many as begins, ends, chars (written to out[3]). */
hone_ov_port hone_ov_string(hone_ov_ir *ir, const char *s, size_t len);
hone_code    hone_ov_strings(hone_ov_ir *ir, hone_arena *a, const hone_bytes *s, size_t n, hone_ov_port *out, hone_err *err);
/* An i32 vector. */
hone_ov_port hone_ov_i32(hone_ov_ir *ir, const int32_t *v, size_t n);

/* s for a pattern: nothing in it means anything. */
void hone_ov_quote(hone_text *pattern, const char *s, size_t len);
/* A layer of the extension over p: its inputs are p (rows when with_rows and there are some, text, skips when there are some) and then
 * more; its outputs replace p.  attrs: pairs. */
void hone_ov_on_pieces(hone_ov_ir *ir, const char *type, bool with_rows, const hone_ov_attr *attrs, size_t n_attrs, const hone_ov_port *more, size_t n_more,
                       hone_ov_pieces *p);
/* Every match of a PCRE2 pattern becomes replacement ($1: what group 1 matched). */
void hone_ov_replace(hone_ov_ir *ir, hone_ov_pieces *p, const char *pattern, const char *replacement, bool everywhere);
/* Cuts pieces: behaviour "isolate" (matches and what is between them), "remove" (what is between them), ... */
void hone_ov_split(hone_ov_ir *ir, hone_ov_pieces *p, const char *pattern, size_t len, const char *behaviour);
/* Gives each text a row of its own. */
void hone_ov_add_rows(hone_ov_ir *ir, hone_ov_pieces *p);

/* ---- vocab.c ---- */

/* The texts by which BPETokenizer and VocabDecoder know the tokens, and what BPE joins.  See vocab.c for the differences to hone_tokenizer. */
typedef struct hone_ov_vocab {
    hone_bytes *encode, *decode; /* [n] */
    size_t      n;
    hone_bytes *left, *right;    /* [n_merges] in rank order, in the words of encode */
    size_t      n_merges;
    const char *words;           /* pattern of the pieces that are tokens only as a whole; NULL: there are none */
    hone_bytes *alias;           /* [n_alias] how those tokens are spelt then, and their ids */
    int32_t    *alias_ids;
    size_t      n_alias;
} hone_ov_vocab;
#define HONE_OV_WHOLE "\xf4\x8f\xbf\xbd" /* U+10FFFD, of private use: put before a piece that is a token as a whole */

/* encode is the text looked for in pieces, decode what the token adds to a text.  Arena. */
hone_code hone_ov_vocab_make(const hone_tokenizer *t, hone_arena *a, hone_ov_vocab *out, hone_err *err);
/* Whether a token is looked for in the text before anything else is done with it. */
bool hone_ov_is_added(const hone_token *t);

/* ---- chat.c ---- */

/* The same template for openvino_genai's renderer; NULL when memory is gone. */
const char *hone_ov_chat_template(hone_arena *a, const char *text);

/* ---- detokenizer.c ---- */

hone_code hone_ov_detokenizer(const hone_tokenizer *t, const hone_ov_vocab *v, hone_arena *a, hone_ov_ir **out, hone_err *err);
#endif
