#include "runner/protocol.h"
#include <inttypes.h>
#include <stdlib.h>

static const bool LITTLE = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;

/* Room for n more bytes, or NULL. */
static uint8_t *grow(hone_packer *p, uint64_t n)
{
    uint64_t need;
    if (p->failed) return NULL;
    if (!hone_size_add(p->len, n, &need) || need > SIZE_MAX / 2) {
        p->failed = true;
        return NULL;
    }
    if (need > p->cap) {
        size_t cap = p->cap ? p->cap : 256;
        while (cap < need) cap *= 2;
        uint8_t *more = realloc(p->ptr, cap);
        if (!more) {
            p->failed = true;
            return NULL;
        }
        p->ptr = more;
        p->cap = cap;
    }
    uint8_t *at = p->ptr + p->len;
    p->len = (size_t)need;
    return at;
}

void hone_pack_begin(hone_packer *p, hone_msg type, uint64_t id)
{
    p->frame = p->len;
    uint8_t *b = grow(p, HONE_FRAME_HEAD);
    if (!b) return;
    hone_put_le32(b, 0);
    hone_put_le32(b + 4, (uint32_t)type);
    hone_put_le64(b + 8, id);
}

void hone_pack_u8(hone_packer *p, uint8_t v)
{
    uint8_t *b = grow(p, 1);
    if (b) *b = v;
}

void hone_pack_u32(hone_packer *p, uint32_t v)
{
    uint8_t *b = grow(p, 4);
    if (b) hone_put_le32(b, v);
}

void hone_pack_u64(hone_packer *p, uint64_t v)
{
    uint8_t *b = grow(p, 8);
    if (b) hone_put_le64(b, v);
}

void hone_pack_f64(hone_packer *p, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    hone_pack_u64(p, bits);
}

void hone_pack_bytes(hone_packer *p, const void *ptr, size_t n)
{
    hone_pack_u64(p, n);
    uint8_t *b = grow(p, n);
    if (b && n) memcpy(b, ptr, n);
}

void hone_pack_raw(hone_packer *p, const void *ptr, size_t n)
{
    uint8_t *b = grow(p, n);
    if (b && n) memcpy(b, ptr, n);
}

static void pack_words(hone_packer *p, const void *v, size_t n)
{
    uint64_t size;
    if (!hone_size_mul(n, 4, &size)) {
        p->failed = true;
        return;
    }
    uint8_t *b = grow(p, size);
    if (!b || n == 0) return;
    memcpy(b, v, (size_t)size);
    if (LITTLE) return;
    for (size_t i = 0; i < n; i++) {
        uint32_t w;
        memcpy(&w, b + 4 * i, 4);
        hone_put_le32(b + 4 * i, w);
    }
}

void hone_pack_f32s(hone_packer *p, const float *v, size_t n) { pack_words(p, v, n); }

void hone_pack_ids(hone_packer *p, const int32_t *ids, size_t n)
{
    hone_pack_u64(p, n);
    pack_words(p, ids, n);
}

hone_code hone_pack_end(hone_packer *p, hone_err *err)
{
    if (p->failed) {
        p->failed = false;
        p->len = p->frame;
        return HONE_FAIL(err, HONE_ERESOURCE, "free memory", "out of memory for a message to or from the runtime");
    }
    size_t n = p->len - p->frame - HONE_FRAME_HEAD;
    if (n > HONE_FRAME_MAX) {
        p->len = p->frame;
        return HONE_FAIL(err, HONE_ERESOURCE, "use a shorter text, or fewer samples at a time", "a message of %zu bytes to or from the runtime, at most %u fit", n,
                         HONE_FRAME_MAX);
    }
    hone_put_le32(p->ptr + p->frame, (uint32_t)n);
    return HONE_OK;
}

void hone_pack_clear(hone_packer *p)
{
    p->len = p->frame = 0;
    p->failed = false;
}

void hone_pack_release(hone_packer *p)
{
    if (!p) return;
    free(p->ptr);
    *p = (hone_packer){ 0 };
}

hone_bytes hone_unpack_array(hone_unpacker *u, uint64_t n, size_t size)
{
    if (u->bad || n > u->left / size) {
        u->bad = true;
        return (hone_bytes){ NULL, 0 };
    }
    hone_bytes out = { u->ptr, (size_t)n * size };
    if (out.len) u->ptr += out.len;
    u->left -= out.len;
    return out;
}

uint8_t hone_unpack_u8(hone_unpacker *u)
{
    hone_bytes b = hone_unpack_array(u, 1, 1);
    return b.len ? b.ptr[0] : 0;
}

uint32_t hone_unpack_u32(hone_unpacker *u)
{
    hone_bytes b = hone_unpack_array(u, 1, 4);
    return b.len ? hone_le32(b.ptr) : 0;
}

uint64_t hone_unpack_u64(hone_unpacker *u)
{
    hone_bytes b = hone_unpack_array(u, 1, 8);
    return b.len ? hone_le64(b.ptr) : 0;
}

double hone_unpack_f64(hone_unpacker *u)
{
    uint64_t bits = hone_unpack_u64(u);
    double   v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

hone_bytes hone_unpack_bytes(hone_unpacker *u)
{
    uint64_t n = hone_unpack_u64(u);
    return hone_unpack_array(u, n, 1);
}

hone_bytes hone_unpack_ids(hone_unpacker *u)
{
    uint64_t n = hone_unpack_u64(u);
    return hone_unpack_array(u, n, 4);
}

bool hone_unpack_done(const hone_unpacker *u) { return !u->bad && u->left == 0; }

void hone_get_u32s(hone_bytes src, uint32_t *out)
{
    if (src.len == 0) return;
    if (LITTLE) {
        memcpy(out, src.ptr, src.len);
        return;
    }
    for (size_t i = 0; i < src.len / 4; i++) out[i] = hone_le32(src.ptr + 4 * i);
}

void hone_get_f32s(hone_bytes src, float *out)
{
    if (src.len == 0) return;
    if (LITTLE) {
        memcpy(out, src.ptr, src.len);
        return;
    }
    for (size_t i = 0; i < src.len / 4; i++) {
        uint32_t w = hone_le32(src.ptr + 4 * i);
        memcpy(&out[i], &w, 4);
    }
}

void hone_get_u64s(hone_bytes src, uint64_t *out)
{
    for (size_t i = 0; i < src.len / 8; i++) out[i] = hone_le64(src.ptr + 8 * i);
}

hone_code hone_frame_take(hone_bytes in, hone_frame *out, size_t *used, size_t *need, hone_err *err)
{
    *used = 0;
    *need = HONE_FRAME_HEAD;
    if (in.len < HONE_FRAME_HEAD) return HONE_OK;
    uint32_t n = hone_le32(in.ptr);
    if (n > HONE_FRAME_MAX)
        return HONE_FAIL(err, HONE_ERUNTIME, "", "a frame of %" PRIu32 " bytes, at most %u are allowed", n, HONE_FRAME_MAX);
    *need = (size_t)HONE_FRAME_HEAD + n;
    if (in.len < *need) return HONE_OK;
    *out = (hone_frame){ .type = hone_le32(in.ptr + 4), .id = hone_le64(in.ptr + 8), .payload = { in.ptr + HONE_FRAME_HEAD, n } };
    *used = *need;
    return HONE_OK;
}
