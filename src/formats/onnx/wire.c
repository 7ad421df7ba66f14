#include "formats/onnx/wire.h"

const char HONE_ONNX_AGAIN[] = "it is no ONNX model, or it was cut: export or download it again";

/* n bytes at pos, or NULL: they lie inside the message. */
static const uint8_t *look(const hone_wire *w, uint64_t pos, size_t n)
{
    hone_wire_place *p = w->place;
    if (pos > w->end || n > w->end - pos) return NULL;
    if (!p->file) return p->mem.ptr + pos;
    if (pos < p->at || pos + n > p->at + p->filled) {
        uint64_t left = p->file->size - pos;
        size_t   want = left < HONE_WIRE_WINDOW ? (size_t)left : HONE_WIRE_WINDOW;
        if (hone_file_read(p->file, pos, p->window, want, NULL) != HONE_OK) return NULL;
        p->at = pos;
        p->filled = want;
    }
    return p->window + (pos - p->at);
}

bool hone_wire_varint(hone_wire *w, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 10; i++) {
        const uint8_t *b = look(w, w->pos + i, 1);
        if (!b) return false;
        v |= (uint64_t)(*b & 0x7f) << (7 * i);
        if (*b & 0x80) continue;
        w->pos += i + 1;
        *out = v;
        return true;
    }
    return false;
}

static bool payload(hone_wire *w, hone_wire_field *f)
{
    f->at = w->pos;
    if (f->wire == 0) {
        if (!hone_wire_varint(w, &f->value)) return false;
        f->len = w->pos - f->at;
        return true;
    }
    if (f->wire == 2) {
        if (!hone_wire_varint(w, &f->len)) return false;
        f->at = w->pos;
    } else if (f->wire == 1 || f->wire == 5) {
        f->len = f->wire == 1 ? 8 : 4;
        const uint8_t *b = look(w, f->at, (size_t)f->len);
        if (!b) return false;
        f->value = f->wire == 1 ? hone_le64(b) : hone_le32(b);
    } else return false; /* groups: ONNX has none */
    if (f->len > w->end - w->pos) return false;
    w->pos += f->len;
    return true;
}

hone_code hone_wire_next(hone_wire *w, hone_wire_field *f, bool *more, const char *what, hone_err *err)
{
    uint64_t key;
    *more = w->pos < w->end;
    if (!*more) return HONE_OK;
    *f = (hone_wire_field){ .start = w->pos };
    if (hone_wire_varint(w, &key) && key >> 3 != 0 && key >> 3 <= 0x1fffffff) {
        f->number = (uint32_t)(key >> 3);
        f->wire = (uint32_t)(key & 7);
        if (payload(w, f)) return HONE_OK;
    }
    return HONE_FAIL(err, HONE_EINPUT, HONE_ONNX_AGAIN, "the %s is broken at byte %llu", what, (unsigned long long)f->start);
}

hone_code hone_wire_bytes(const hone_wire *w, uint64_t at, uint64_t len, bool terminate, hone_arena *a, hone_bytes *out, hone_err *err)
{
    const hone_wire_place *p = w->place;
    if (!p->file && !terminate) {
        *out = (hone_bytes){ p->mem.ptr + at, (size_t)len };
        return HONE_OK;
    }
    uint8_t *copy = len < SIZE_MAX ? hone_arena_alloc(a, (size_t)len + 1) : NULL;
    if (!copy) return HONE_NOMEM(err, "a part of the model");
    const uint8_t *seen = len <= HONE_WIRE_WINDOW ? look(w, at, (size_t)len) : NULL;
    if (seen && len) memcpy(copy, seen, (size_t)len);
    else if (p->file) HONE_TRY(hone_file_read(p->file, at, copy, (size_t)len, err));
    else if (len) memcpy(copy, p->mem.ptr + at, (size_t)len);
    copy[len] = 0;
    *out = (hone_bytes){ copy, (size_t)len };
    return HONE_OK;
}

hone_code hone_wire_text(const hone_wire *w, const hone_wire_field *f, hone_arena *a, const char **out, hone_err *err)
{
    hone_bytes b;
    if (f->wire != 2) return HONE_FAIL(err, HONE_EINPUT, HONE_ONNX_AGAIN, "a name is told in no text");
    HONE_TRY(hone_wire_bytes(w, f->at, f->len, true, a, &b, err));
    if (memchr(b.ptr, 0, b.len)) return HONE_FAIL(err, HONE_EINPUT, HONE_ONNX_AGAIN, "a name has a NUL in it");
    *out = (const char *)b.ptr;
    return HONE_OK;
}
