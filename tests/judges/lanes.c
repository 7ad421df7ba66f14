/* lanes.c - hashes of what every encoder of src/quant makes of every kind of row, one line each: tests/judges/arm.sh compares those of an Arm
 * processor (NEON lanes) with this machine's plain ones. */
#include "ir/dtype.h"
#include "quant/grouped.h"
#include "quant/rows.h"
#include <inttypes.h>
#include <stdio.h>

static size_t by_codec(void *ctx, const float *x, uint8_t *out, size_t n, const float *importance)
{
    const hone_codec      *c = ctx;
    const hone_dtype_info *i = hone_dtype_get(c->dtype);
    c->encode_row(x, out, n, importance);
    return n / i->block_elems * i->block_bytes;
}

static size_t by_group(void *ctx, const float *x, uint8_t *out, size_t n, const float *importance)
{
    const hone_grouped *g = ctx;
    uint8_t            *at[HONE_STREAMS] = { out };
    size_t              bytes = 0;
    (void)importance;
    for (uint32_t s = 0; s < hone_grouped_streams(g); s++) {
        at[s] = out + bytes;
        bytes += (size_t)hone_grouped_bytes(g, s, 1, n);
    }
    (void)hone_grouped_encode_width(4, g, x, 1, n, at);
    return bytes;
}

static void show_grouped(void)
{
    static const uint32_t bits[] = { 2, 3, 4, 5, 6, 8 }, groups[] = { 16, 32, 64, 128, 256, 0 };
    for (int scheme = HONE_SCHEME_MLX_AFFINE; scheme <= HONE_SCHEME_NNCF; scheme++)
        for (size_t b = 0; b < sizeof bits / sizeof *bits; b++)
            for (size_t k = 0; k < sizeof groups / sizeof *groups; k++)
                for (hone_dtype t = 0; t < HONE_DTYPE_COUNT; t++)
                    for (int sym = 0; sym < 2; sym++) {
                        hone_grouped g = { .scheme = (hone_scheme)scheme, .bits = bits[b], .group = groups[k], .scale = t, .sym = sym };
                        if (!hone_grouped_valid(&g)) continue;
                        printf("scheme %d int%u group %u %s sym %d: %016" PRIx64 "\n", scheme, g.bits, g.group, hone_dtype_name(t), sym,
                               rows_hash(by_group, &g, false, ROW_NORMAL, ROW_LAST_USUAL)); /* grouped rows hold finite numbers */
                    }
}

int main(void)
{
    for (hone_dtype t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_codec *c = hone_codec_find_width(t, 4);
        if (!c || !c->encode_row) continue;
        hone_codec copy = *c;
        for (int with = 0; with < 2; with++)
            printf("%s importance %d: %016" PRIx64 "\n", hone_dtype_name(t), with, rows_hash(by_codec, &copy, with, ROW_NORMAL, ROW_COUNT - 1));
    }
    show_grouped();
    return 0;
}
