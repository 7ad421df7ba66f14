/* gguf.h - GGUF v3: read (one file or splits) and write.  Knows bytes, keys and names; knows no family.
 * GGUF stores dimensions fastest first; that is flipped here, at the border, and nowhere else.
 * Source: ggml docs/gguf.md; ggml/src/gguf.cpp; llama.cpp tools/gguf-split for the split.* keys. */
#ifndef HONE_FORMATS_GGUF_H
#define HONE_FORMATS_GGUF_H
#include "base/file.h"
#include "ir/model.h"

typedef enum hone_gguf_type {
    HONE_GGUF_U8 = 0, HONE_GGUF_I8, HONE_GGUF_U16, HONE_GGUF_I16, HONE_GGUF_U32, HONE_GGUF_I32, HONE_GGUF_F32, HONE_GGUF_BOOL,
    HONE_GGUF_STRING, HONE_GGUF_ARRAY, HONE_GGUF_U64, HONE_GGUF_I64, HONE_GGUF_F64
} hone_gguf_type;

typedef struct hone_gguf_str { const char *ptr; uint64_t len; } hone_gguf_str;
typedef struct hone_gguf_value {
    hone_gguf_type type, elem; /* elem: of an array */
    uint64_t       n;          /* array length */
    union { uint64_t u; int64_t i; double f; bool b; hone_gguf_str s; const void *array; } as; /* array: packed little-endian scalars, or hone_gguf_str[n] */
} hone_gguf_value;
typedef struct hone_gguf_kv { hone_gguf_str key; hone_gguf_value value; } hone_gguf_kv;

/* ---- reading ---- */
typedef struct hone_gguf { /* all memory in the arena given at opening */
    hone_gguf_kv *kv;      /* in file order; keys unique */
    size_t        n_kv;
    uint32_t      version, alignment;
    hone_source  *source;  /* the tensors of all splits */
} hone_gguf;
/* Opens a .gguf file; a split file (-00001-of-0000N) opens its siblings too.  Everything is checked: counts, key and string lengths, types, names unique and
 * <= 64 bytes, dims without overflow, alignment, offsets in range without overlap. */
hone_code hone_gguf_open(const char *path, hone_arena *a, hone_gguf *out, hone_err *err);
/* One header in memory, for the fuzz target: file_size is the true size of the file whose first bytes head holds. */
hone_code hone_gguf_parse(hone_bytes head, uint64_t file_size, hone_arena *a, hone_gguf *out, hone_tensor **tensors, size_t *n, hone_err *err);
const hone_gguf_value *hone_gguf_find(const hone_gguf *g, const char *key); /* NULL when absent */

/* ---- writing ---- */
typedef struct hone_gguf_writer hone_gguf_writer; /* builds the header in memory, in the arena given */
hone_code hone_gguf_writer_new(hone_arena *a, hone_gguf_writer **out, hone_err *err);
/* Keys in call order; a second use of a key replaces the first.  All return HONE_ERESOURCE only. */
hone_code hone_gguf_put_str(hone_gguf_writer *w, const char *key, const char *value, hone_err *err);
hone_code hone_gguf_put_strn(hone_gguf_writer *w, const char *key, const char *value, size_t len, hone_err *err);
hone_code hone_gguf_put_u16(hone_gguf_writer *w, const char *key, uint16_t v, hone_err *err);
hone_code hone_gguf_put_u32(hone_gguf_writer *w, const char *key, uint32_t v, hone_err *err);
hone_code hone_gguf_put_u64(hone_gguf_writer *w, const char *key, uint64_t v, hone_err *err);
hone_code hone_gguf_put_i32(hone_gguf_writer *w, const char *key, int32_t v, hone_err *err);
hone_code hone_gguf_put_f32(hone_gguf_writer *w, const char *key, float v, hone_err *err);
hone_code hone_gguf_put_bool(hone_gguf_writer *w, const char *key, bool v, hone_err *err);
/* elem is a scalar type: values is packed native; HONE_GGUF_STRING: values is hone_gguf_str[n]; BOOL: uint8_t[n].  Copied. */
hone_code hone_gguf_put_array(hone_gguf_writer *w, const char *key, hone_gguf_type elem, const void *values, uint64_t n, hone_err *err);
/* Declares the next tensor; dims outermost first.  HONE_EBUG on a name over 63 bytes or used twice, or a row that holds no whole blocks. */
hone_code hone_gguf_put_tensor(hone_gguf_writer *w, const char *name, hone_dtype t, uint32_t n_dims, const uint64_t *dims, hone_err *err);
/* Fixes the layout: offsets[i] (absolute, in the file) for each declared tensor, the total size, and the header's bytes (arena; ends where
 * the first tensor begins).  Gaps between tensors are zero. */
hone_code hone_gguf_layout(hone_gguf_writer *w, uint64_t *offsets, uint64_t *total, hone_bytes *head, hone_err *err);

/* general.name for a model with this tokenizer (or NULL): llama.cpp lets added tokens swallow white space when the name says "phi-3" or "phi3",
 * and only then, so a model that needs it gets that behind its name and one that must not have it gets a space inside the word.
 * buf[cap] holds the result when it is not name itself. */
const char *hone_gguf_name_for(const hone_tokenizer *t, const char *name, char *buf, size_t cap);
/* Puts tokenizer.* keys for a tokenizer (formats/gguf/tokenizer.c).  n_vocab: rows of the embedding; missing tokens are padded as llama.cpp's converter does ("[PAD%d]", unused). */
hone_code hone_gguf_put_tokenizer(hone_gguf_writer *w, const hone_tokenizer *t, uint32_t n_vocab, hone_err *err);
#endif
