/* grouped_decode - any bytes, as rows of any grouped encoding: codes, scales and zero points in buffers of exactly their sizes are decoded without
 * undefined behaviour, and a run of rows from the middle is what it is in the whole.  As hone verify does with the bytes of an artefact.
 * The first six bytes choose encoding, columns and rows; the rest fills the streams, over and over. */
#include "quant/grouped.h"
#include "base/bytes.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every group that MLX and ONNX have; of NNCF's the ends, and odd ones, after which the next row's codes begin inside a byte. */
static const uint32_t   groups[] = { 0, 2, 3, 5, 7, 16, 31, 32, 33, 64, 127, 128, 255, 256, 350, 65535, 65536 };
static const hone_dtype scales[] = { HONE_DTYPE_F32, HONE_DTYPE_F16, HONE_DTYPE_BF16 };

static hone_grouped all[512];

/* The combinations of grouped.h's table, by trying all; returns how many. */
static size_t list_all(void)
{
    size_t n = 0;
    for (int scheme = HONE_SCHEME_MLX_AFFINE; scheme <= HONE_SCHEME_NNCF; scheme++)
        for (uint32_t bits = 1; bits <= 8; bits++)
            for (size_t g = 0; g < HONE_COUNT(groups); g++)
                for (size_t s = 0; s < HONE_COUNT(scales); s++)
                    for (unsigned how = 0; how < 4; how++) {
                        const hone_grouped one = { (hone_scheme)scheme, bits, groups[g], scales[s], how & 1, how & 2 };
                        if (!hone_grouped_valid(&one)) continue;
                        if (n == HONE_COUNT(all)) abort();
                        all[n++] = one;
                    }
    return n;
}

static uint8_t *filled(uint64_t bytes, const uint8_t *data, size_t size, size_t *at)
{
    uint8_t *p = malloc((size_t)bytes);
    if (!p) abort();
    for (uint64_t i = 0; i < bytes; i++) p[i] = size ? data[(*at)++ % size] : 0;
    return p;
}

/* Rows from `first` on, copied to where nothing lies behind them. */
static void decode_run(const hone_grouped *g, uint8_t *const whole[HONE_STREAMS], uint64_t first, uint64_t n_rows, uint64_t n_cols, float *x)
{
    uint8_t       *own[HONE_STREAMS] = { 0 };
    const uint8_t *in[HONE_STREAMS] = { 0 };
    for (uint32_t s = 0; s < hone_grouped_streams(g); s++) {
        size_t bytes = (size_t)hone_grouped_bytes(g, s, n_rows, n_cols), before = (size_t)(first * hone_grouped_row_bits(g, s, n_cols) / 8);
        in[s] = own[s] = malloc(bytes);
        if (!own[s]) abort();
        memcpy(own[s], whole[s] + before, bytes);
    }
    hone_grouped_decode(g, in, n_rows, n_cols, x);
    for (uint32_t s = 0; s < HONE_STREAMS; s++) free(own[s]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static size_t n_all;
    uint8_t      *whole[HONE_STREAMS] = { 0 };
    size_t        at = 0;
    if (size < 6) return 0;
    if (!n_all) n_all = list_all();
    const hone_grouped g = all[hone_le16(data) % n_all];
    uint64_t n_cols = hone_le16(data + 2) % 1024u + 1, n_rows = data[4] % 5u + 1;
    if (!hone_grouped_fits(&g, n_cols)) n_cols = g.group * (g.group < 1024 ? n_cols % 5 + 1 : 1);
    if (!hone_grouped_fits(&g, n_cols)) abort();

    for (uint32_t s = 0; s < hone_grouped_streams(&g); s++) whole[s] = filled(hone_grouped_bytes(&g, s, n_rows, n_cols), data + 6, size - 6, &at);
    float *x = malloc((size_t)(n_rows * n_cols) * sizeof *x), *y = malloc((size_t)(n_rows * n_cols) * sizeof *y);
    if (!x || !y) abort();
    hone_grouped_decode(&g, (const uint8_t *const *)whole, n_rows, n_cols, x);

    uint64_t first = data[5] % n_rows / hone_grouped_align(&g, n_cols) * hone_grouped_align(&g, n_cols);
    decode_run(&g, whole, first, n_rows - first, n_cols, y);
    if (memcmp(x + first * n_cols, y, (size_t)((n_rows - first) * n_cols) * sizeof *y) != 0) abort();
    free(x);
    free(y);
    for (uint32_t s = 0; s < HONE_STREAMS; s++) free(whole[s]);
    return 0;
}
