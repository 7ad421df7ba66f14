/* bytes.h - a borrowed run of bytes, little-endian loads and stores, and sizes that do not wrap. */
#ifndef HONE_BASE_BYTES_H
#define HONE_BASE_BYTES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HONE_COUNT(a) (sizeof(a) / sizeof((a)[0]))

typedef struct hone_bytes { /* borrowed: says nothing about who frees it */
    const uint8_t *ptr;
    size_t         len;
} hone_bytes;

static inline uint16_t hone_le16(const void *p) { const uint8_t *b = p; return (uint16_t)(b[0] | (b[1] << 8)); }
static inline uint32_t hone_le32(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] | ((uint32_t)b[1] << 8) | ((uint32_t)b[2] << 16) | ((uint32_t)b[3] << 24);
}
static inline uint64_t hone_le64(const void *p)
{
    const uint8_t *b = p;
    return (uint64_t)hone_le32(b) | ((uint64_t)hone_le32(b + 4) << 32);
}
static inline void hone_put_le16(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}
static inline void hone_put_le32(void *p, uint32_t v)
{
    uint8_t *b = p;
    for (int i = 0; i < 4; i++) b[i] = (uint8_t)(v >> (8 * i));
}
static inline void hone_put_le64(void *p, uint64_t v)
{
    uint8_t *b = p;
    for (int i = 0; i < 8; i++) b[i] = (uint8_t)(v >> (8 * i));
}

/* *out = a*b or a+b; false (and *out untouched) when the true result does not fit. */
static inline bool hone_size_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    if (a != 0 && b > UINT64_MAX / a) return false;
    *out = a * b;
    return true;
}
static inline bool hone_size_add(uint64_t a, uint64_t b, uint64_t *out)
{
    if (b > UINT64_MAX - a) return false;
    *out = a + b;
    return true;
}
/* Rounds n up to a multiple of align (align > 0); false when that would wrap. */
static inline bool hone_size_align(uint64_t n, uint64_t align, uint64_t *out)
{
    uint64_t rest = n % align;
    return hone_size_add(n, rest ? align - rest : 0, out);
}
#endif
