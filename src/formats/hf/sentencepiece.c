#include "formats/hf/sentencepiece.h"
#include "base/text.h"
#include <inttypes.h>
#include <math.h>

static const char AGAIN[] = "download tokenizer.model again and compare its sha256 with the publisher's";

#define PIECES_MAX (1u << 24)

typedef struct wire { /* what is left of a message */
    const uint8_t *p, *end, *file;
} wire;

static hone_code broken(const wire *w, const char *what, hone_err *err)
{
    return HONE_FAIL(err, HONE_EINPUT, AGAIN, "byte %zu: %s", (size_t)(w->p - w->file), what);
}

static hone_code varint(wire *w, uint64_t *out, hone_err *err)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (w->p == w->end) return broken(w, "a number runs past the end of its message", err);
        uint8_t b = *w->p++;
        if (shift == 63 && b > 1) break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *out = v;
            return HONE_OK;
        }
    }
    return broken(w, "a number is longer than 64 bits", err);
}

typedef struct field {
    uint32_t   number;
    unsigned   type;  /* 0 varint, 1 fixed 64, 2 bytes, 5 fixed 32 */
    uint64_t   value; /* types 0, 1, 5 */
    hone_bytes bytes; /* type 2 */
} field;

static hone_code next(wire *w, field *f, hone_err *err)
{
    uint64_t key = 0;
    HONE_TRY(varint(w, &key, err));
    if (key >> 3 == 0 || key >> 3 > 0x1fffffff) return broken(w, "a field has no valid number", err);
    *f = (field){ .number = (uint32_t)(key >> 3), .type = (unsigned)(key & 7) };
    size_t left;
    switch (f->type) {
    case 0: return varint(w, &f->value, err);
    case 1:
    case 5:
        left = f->type == 1 ? 8 : 4;
        if ((size_t)(w->end - w->p) < left) return broken(w, "a number runs past the end of its message", err);
        f->value = left == 8 ? hone_le64(w->p) : hone_le32(w->p);
        w->p += left;
        return HONE_OK;
    case 2: {
        uint64_t n = 0;
        HONE_TRY(varint(w, &n, err));
        if (n > (uint64_t)(w->end - w->p))
            return HONE_FAIL(err, HONE_EINPUT, AGAIN, "byte %zu: field %u has %" PRIu64 " bytes, its message only %zu", (size_t)(w->p - w->file),
                             f->number, n, (size_t)(w->end - w->p));
        f->bytes = (hone_bytes){ w->p, (size_t)n };
        w->p += n;
        return HONE_OK;
    }
    default: return HONE_FAIL(err, HONE_EINPUT, AGAIN, "byte %zu: field %u has wire type %u", (size_t)(w->p - w->file), f->number, f->type);
    }
}

static hone_code wrong_type(const wire *w, const field *f, hone_err *err)
{
    return HONE_FAIL(err, HONE_EINPUT, "check that this is a SentencePiece model", "byte %zu: field %u has wire type %u",
                     (size_t)(w->p - w->file), f->number, f->type);
}
#define NEED_TYPE(want)                                                                                                                   \
    do {                                                                                                                                  \
        if (f.type != (want)) return wrong_type(&w, &f, err);                                                                             \
    } while (0)

/* message SentencePiece { string piece = 1; float score = 2; Type type = 3 [default = NORMAL]; } */
static hone_code read_piece(hone_bytes b, const uint8_t *file, size_t index, hone_sp_piece *out, hone_err *err)
{
    wire          w = { b.ptr, b.ptr + b.len, file };
    hone_sp_piece p = { .type = HONE_TOKEN_NORMAL };
    char          shown[80];
    while (w.p < w.end) {
        field f;
        HONE_TRY(next(&w, &f, err));
        if (f.number == 1) {
            NEED_TYPE(2);
            p.text = (const char *)f.bytes.ptr;
            p.len = f.bytes.len;
        } else if (f.number == 2) {
            NEED_TYPE(5);
            uint32_t bits = (uint32_t)f.value;
            memcpy(&p.score, &bits, 4);
        } else if (f.number == 3) {
            NEED_TYPE(0);
            if (f.value < 1 || f.value > 6) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "piece %zu has type %" PRIu64 ", known are 1..6", index, f.value);
            p.type = (hone_token_type)f.value;
        }
    }
    if (p.len == 0) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "piece %zu is empty", index);
    if (!hone_utf8_valid(p.text, p.len))
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "piece %zu '%s' is no UTF-8", index, hone_text_show(p.text, p.len, shown, sizeof shown));
    if (!isfinite(p.score))
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "piece %zu '%s' has the score %f", index, hone_text_show(p.text, p.len, shown, sizeof shown), (double)p.score);
    *out = p;
    return HONE_OK;
}

static hone_code read_trainer(hone_bytes b, const uint8_t *file, hone_sp *sp, hone_err *err)
{
    wire w = { b.ptr, b.ptr + b.len, file };
    while (w.p < w.end) {
        field f;
        HONE_TRY(next(&w, &f, err));
        switch (f.number) {
        case 3:
            NEED_TYPE(0);
            if (f.value < 1 || f.value > 4) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "model type is %" PRIu64 ", known are 1..4", f.value);
            sp->model = (hone_sp_model)f.value;
            break;
        case 24: NEED_TYPE(0); sp->whitespace_suffix = f.value != 0; break;
        case 35: NEED_TYPE(0); sp->byte_fallback = f.value != 0; break;
        case 40: NEED_TYPE(0); sp->unk = (int32_t)(uint32_t)f.value; break;
        case 41: NEED_TYPE(0); sp->bos = (int32_t)(uint32_t)f.value; break;
        case 42: NEED_TYPE(0); sp->eos = (int32_t)(uint32_t)f.value; break;
        case 43: NEED_TYPE(0); sp->pad = (int32_t)(uint32_t)f.value; break;
        default: break;
        }
    }
    return HONE_OK;
}

static hone_code read_normalizer(hone_bytes b, const uint8_t *file, hone_sp *sp, hone_err *err)
{
    wire w = { b.ptr, b.ptr + b.len, file };
    while (w.p < w.end) {
        field f;
        HONE_TRY(next(&w, &f, err));
        switch (f.number) {
        case 1: NEED_TYPE(2); sp->normalizer = f.bytes; break;
        case 2: NEED_TYPE(2); sp->charsmap = f.bytes; break;
        case 3: NEED_TYPE(0); sp->add_dummy_prefix = f.value != 0; break;
        case 4: NEED_TYPE(0); sp->remove_extra_whitespaces = f.value != 0; break;
        case 5: NEED_TYPE(0); sp->escape_whitespaces = f.value != 0; break;
        default: break;
        }
    }
    return HONE_OK;
}

static hone_code check_id(const char *what, int64_t *id, size_t n, hone_err *err)
{
    if (*id < 0) *id = -1;
    if (*id >= (int64_t)n) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "%s is piece %" PRId64 " of %zu", what, *id, n);
    return HONE_OK;
}

hone_code hone_sp_parse(hone_bytes file, hone_arena *a, hone_sp *out, hone_err *err)
{
    hone_sp sp = { .model = HONE_SP_UNIGRAM, .unk = 0, .bos = 1, .eos = 2, .pad = -1, /* the message's own defaults */
                   .add_dummy_prefix = true, .remove_extra_whitespaces = true, .escape_whitespaces = true };
    size_t  n = 0;
    wire    w = { file.ptr, file.ptr + file.len, file.ptr };
    while (w.p < w.end) { /* first round: count */
        field f;
        HONE_TRY(next(&w, &f, err));
        if (f.number == 1) {
            NEED_TYPE(2);
            n++;
        }
    }
    if (n == 0) return HONE_FAIL(err, HONE_EINPUT, "check that this is a SentencePiece model", "file of %zu bytes has no pieces", file.len);
    if (n > PIECES_MAX) return HONE_FAIL(err, HONE_EINPUT, AGAIN, "file has %zu pieces, the limit is %u", n, PIECES_MAX);
    sp.pieces = HONE_ARENA_NEW(a, hone_sp_piece, n);
    if (!sp.pieces) return HONE_NOMEM(err, "the pieces of tokenizer.model");
    for (w.p = file.ptr; w.p < w.end;) {
        field f;
        HONE_TRY(next(&w, &f, err));
        if (f.number == 1) {
            HONE_TRY(read_piece(f.bytes, file.ptr, sp.n, &sp.pieces[sp.n], err));
            sp.n++;
        } else if (f.number == 2) {
            NEED_TYPE(2);
            HONE_TRY(read_trainer(f.bytes, file.ptr, &sp, err));
        } else if (f.number == 3) {
            NEED_TYPE(2);
            HONE_TRY(read_normalizer(f.bytes, file.ptr, &sp, err));
        }
    }
    HONE_TRY(check_id("unk_id", &sp.unk, n, err));
    HONE_TRY(check_id("bos_id", &sp.bos, n, err));
    HONE_TRY(check_id("eos_id", &sp.eos, n, err));
    HONE_TRY(check_id("pad_id", &sp.pad, n, err));
    *out = sp;
    return HONE_OK;
}
