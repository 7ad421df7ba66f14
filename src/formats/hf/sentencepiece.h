/* sentencepiece.h - reads tokenizer.model, a protobuf message ModelProto.  Three fields of it matter, so it is read on the wire.
 * Source: google/sentencepiece src/sentencepiece_model.proto; protobuf encoding guide. */
#ifndef HONE_FORMATS_HF_SENTENCEPIECE_H
#define HONE_FORMATS_HF_SENTENCEPIECE_H
#include "base/arena.h"
#include "base/bytes.h"
#include "ir/tokenizer.h"

typedef enum hone_sp_model { HONE_SP_UNIGRAM = 1, HONE_SP_BPE = 2, HONE_SP_WORD = 3, HONE_SP_CHAR = 4 } hone_sp_model;

typedef struct hone_sp_piece {
    const char     *text; /* borrowed from the file's bytes */
    size_t          len;
    float           score;
    hone_token_type type; /* the message numbers its types as GGUF does */
} hone_sp_piece;

typedef struct hone_sp {
    hone_sp_model  model;
    hone_sp_piece *pieces; /* [n], arena */
    size_t         n;
    int64_t        unk, bos, eos, pad; /* trainer_spec; -1: none */
    bool           byte_fallback, whitespace_suffix;
    hone_bytes     charsmap;     /* normalizer_spec.precompiled_charsmap, borrowed */
    hone_bytes     normalizer;   /* normalizer_spec.name, borrowed */
    bool           add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces;
} hone_sp;

/* Errors: HONE_EINPUT for a truncated or malformed message, a piece that is empty, no UTF-8 or of an unknown type, a score that is no
 * number, or a file without pieces. */
hone_code hone_sp_parse(hone_bytes file, hone_arena *a, hone_sp *out, hone_err *err);
#endif
