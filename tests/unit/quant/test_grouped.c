/* test_grouped.c - encodings of several streams against the peers' own bytes, the bound that rounding promises, and places inside streams.
 * Golden digests: the programs in tests/golden/codes made them (each names its peer and version), over the rows of hash_row.h. */
#include "base/file.h"
#include "quant/grouped.h"
#include "quant/hash_row.h"
#include "quant/rows.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { ROWS = 32, COLS_MAX = 480 };

static const struct golden {
    hone_grouped g;
    uint32_t     n_cols;
    const char  *sha256;
} golden[] = {
#include "quant/grouped_mlx.inc"
#include "quant/grouped_nncf.inc"
#include "quant/grouped_onnx.inc"
};

typedef struct made { uint8_t *bytes, *at[HONE_STREAMS]; size_t n; } made;

/* width 0: the widest. */
static made encode_width(int width, const hone_grouped *g, const float *x, uint64_t n_rows, uint64_t n_cols)
{
    made m = { 0 };
    for (uint32_t s = 0; s < hone_grouped_streams(g); s++) m.n += hone_grouped_bytes(g, s, n_rows, n_cols);
    m.bytes = malloc(m.n);
    assert_non_null(m.bytes);
    memset(m.bytes, 0xa5, m.n);
    uint8_t *to = m.bytes;
    for (uint32_t s = 0; s < hone_grouped_streams(g); s++) {
        m.at[s] = to;
        to += hone_grouped_bytes(g, s, n_rows, n_cols);
    }
    if (width == 0) hone_grouped_encode(g, x, n_rows, n_cols, m.at);
    else if (!hone_grouped_encode_width(width, g, x, n_rows, n_cols, m.at)) m.n = 0;
    return m;
}

static made encode(const hone_grouped *g, const float *x, uint64_t n_rows, uint64_t n_cols) { return encode_width(0, g, x, n_rows, n_cols); }

static void decode(const hone_grouped *g, const made *m, uint64_t n_rows, uint64_t n_cols, float *x)
{
    hone_grouped_decode(g, (const uint8_t *const[HONE_STREAMS]){ m->at[0], m->at[1], m->at[2] }, n_rows, n_cols, x);
}

static float *rows(uint32_t n_cols)
{
    float *x = malloc(ROWS * n_cols * sizeof *x);
    assert_non_null(x);
    for (uint32_t r = 0; r < ROWS; r++) hash_row(r, n_cols, x + r * n_cols);
    return x;
}

static void bytes_are_those_of_the_peers(void **state)
{
    (void)state;
    int bad = 0;
    for (size_t i = 0; i < HONE_COUNT(golden); i++) {
        const struct golden *k = &golden[i];
        char                 hex[65];
        float               *x = rows(k->n_cols);
        assert_true(hone_grouped_valid(&k->g));
        assert_true(hone_grouped_fits(&k->g, k->n_cols));
        made m = encode(&k->g, x, ROWS, k->n_cols);
        assert_int_equal(hone_sha256((hone_bytes){ m.bytes, m.n }, hex, NULL), HONE_OK);
        for (int width = 4; width <= 16; width *= 2) { /* those that this CPU runs */
            made other = encode_width(width, &k->g, x, ROWS, k->n_cols);
            assert_true(width != 4 || other.n == m.n);
            if (other.n && memcmp(other.bytes, m.bytes, m.n) != 0) fail_msg("golden %zu differs with %d lanes", i, width);
            free(other.bytes);
        }
        if (strcmp(hex, k->sha256) != 0) {
            printf("scheme %d int%u group %u %s sym %d, %u columns: %s\n", (int)k->g.scheme, k->g.bits, k->g.group, hone_dtype_name(k->g.scale), k->g.sym,
                   k->n_cols, hex);
            bad++;
        }
        free(m.bytes);
        free(x);
    }
    assert_int_equal(bad, 0);
}

/* Zeros of two signs, denormals, outliers, ties, a constant, infinities, NaN: the same bytes at every width.  The second time the numbers have all the bits of a
 * float32, of which a 16-bit scale keeps some. */
static void same_at_every_width(const hone_grouped *g, uint32_t n_cols)
{
    static float x[2 * COLS_MAX];
    for (int kind = ROW_NORMAL; kind < ROW_COUNT; kind++)
        for (int full = 0; full < 2; full++) {
            for (uint64_t r = 0; r < 2; r++) rows_fill((row_kind)kind, r, x + r * n_cols, n_cols);
            for (size_t j = 0; j < 2 * n_cols && full; j++) x[j] *= 1.0001f;
            made plain = encode_width(4, g, x, 2, n_cols);
            for (int width = 8; width <= 16; width *= 2) {
                made wide = encode_width(width, g, x, 2, n_cols);
                if (wide.n && memcmp(wide.bytes, plain.bytes, plain.n) != 0)
                    fail_msg("scheme %d int%u group %u %s, %s%s: %d lanes differ", (int)g->scheme, g->bits, g->group, hone_dtype_name(g->scale),
                             row_kind_text((row_kind)kind), full ? " of all bits" : "", width);
                free(wide.bytes);
            }
            free(plain.bytes);
        }
}
static void odd_rows_give_the_same_bytes_at_every_width(void **state)
{
    (void)state;
    static const uint32_t bits[] = { 2, 3, 4, 5, 6, 8 };
    for (size_t i = 0; i < HONE_COUNT(golden); i++) same_at_every_width(&golden[i].g, golden[i].n_cols);
    for (size_t b = 0; b < HONE_COUNT(bits); b++)
        for (uint32_t group = 32; group <= 128; group *= 2)
            for (hone_dtype t = HONE_DTYPE_F32; t <= HONE_DTYPE_BF16; t++)
                for (uint32_t n_cols = 128; n_cols <= COLS_MAX; n_cols += 256)
                    same_at_every_width(&(hone_grouped){ .scheme = HONE_SCHEME_MLX_AFFINE, .bits = bits[b], .group = group, .scale = t }, n_cols);
}

/* Half a step of the group's own range; the far end of a symmetric one may be cut by a step. */
static void integers_come_back_within_a_step(void **state)
{
    (void)state;
    static float y[ROWS * COLS_MAX];
    for (size_t i = 0; i < HONE_COUNT(golden); i++) {
        const struct golden *k = &golden[i];
        if (k->g.scheme != HONE_SCHEME_ONNX && k->g.scheme != HONE_SCHEME_NNCF) continue;
        float *x = rows(k->n_cols);
        made   m = encode(&k->g, x, ROWS, k->n_cols);
        decode(&k->g, &m, ROWS, k->n_cols, y);
        uint32_t group = k->g.group ? k->g.group : k->n_cols;
        for (uint32_t r = 0; r < ROWS; r++) {
            if (r == 7 || r == 8) continue; /* smaller than NNCF's smallest step, or than float16's */
            for (uint32_t c = 0; c < k->n_cols; c += group) {
                const float *v = x + r * k->n_cols + c, *w = y + r * k->n_cols + c;
                uint32_t     n = k->n_cols - c < group ? k->n_cols - c : group;
                float        low = 0, high = 0, most = 0;
                for (uint32_t e = 0; e < n; e++) {
                    low = fminf(low, v[e]);
                    high = fmaxf(high, v[e]);
                    most = fmaxf(most, fabsf(v[e] - w[e]));
                }
                float levels = (float)((1u << k->g.bits) - 1), range = k->g.sym ? 2 * fmaxf(high, -low) : high - low;
                float step = range / levels, rounding = range * (k->g.scale == HONE_DTYPE_F16 ? 0x1p-10f : 0x1p-22f);
                if (most > step * (k->g.sym ? 1.07f : 1.0f) + rounding + 1e-6f)
                    fail_msg("scheme %d int%u group %u sym %d row %u column %u: off by %g, step %g", (int)k->g.scheme, k->g.bits, k->g.group, k->g.sym, r, c,
                             (double)most, (double)step);
            }
        }
        free(m.bytes);
        free(x);
    }
}

static void small_floats_come_back_within_their_precision(void **state)
{
    (void)state;
    float x[64], y[64];
    for (int i = 0; i < 64; i++) x[i] = (i % 2 ? -1.0f : 1.0f) * (float)(64 - i) / 64.0f;
    static const struct { hone_scheme scheme; uint32_t bits, group; float bound; } kind[] = {
        { HONE_SCHEME_MLX_MXFP4, 4, 32, 0.26f }, { HONE_SCHEME_MLX_NVFP4, 4, 16, 0.19f }, { HONE_SCHEME_MLX_MXFP8, 8, 32, 0.033f }
    };
    for (size_t k = 0; k < HONE_COUNT(kind); k++) {
        hone_grouped g = { .scheme = kind[k].scheme, .bits = kind[k].bits, .group = kind[k].group, .scale = HONE_DTYPE_F32 };
        made         m = encode(&g, x, 1, 64);
        decode(&g, &m, 1, 64, y);
        for (int i = 0; i < 64; i++) assert_true(fabsf(x[i] - y[i]) <= kind[k].bound);
        assert_true(y[0] > 0.9f && y[1] < -0.8f);
        free(m.bytes);
    }
}

static void a_run_of_rows_is_a_piece_of_the_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(golden); i++) {
        const struct golden *k = &golden[i];
        float               *x = rows(k->n_cols);
        uint64_t             align = hone_grouped_align(&k->g, k->n_cols), first = 3 * align, n = 5;
        made                 whole = encode(&k->g, x, ROWS, k->n_cols), part = encode(&k->g, x + first * k->n_cols, n, k->n_cols);
        for (uint32_t s = 0; s < hone_grouped_streams(&k->g); s++) {
            uint64_t bits = hone_grouped_row_bits(&k->g, s, k->n_cols), from = first * bits / 8;
            assert_int_equal(first * bits % 8, 0);
            assert_memory_equal(whole.at[s] + from, part.at[s], n * bits / 8);
            if (n * bits % 8) assert_int_equal(whole.at[s][from + n * bits / 8] & 15, part.at[s][n * bits / 8]);
        }
        free(whole.bytes);
        free(part.bytes);
        free(x);
    }
}

static void flat_streams_hold_the_same_numbers_without_gaps(void **state)
{
    (void)state;
    static float y[ROWS * COLS_MAX], z[ROWS * COLS_MAX];
    enum { N = 377 }; /* odd: rows begin inside bytes */
    float *x = rows(N);
    for (uint32_t bits = 4; bits <= 8; bits += 4)
        for (int sym = 0; sym < 2; sym++) {
            hone_grouped padded = { .scheme = HONE_SCHEME_ONNX, .bits = bits, .group = 64, .scale = HONE_DTYPE_F32, .sym = sym }, flat = padded;
            flat.flat = true;
            made a = encode(&padded, x, ROWS, N), b = encode(&flat, x, ROWS, N);
            decode(&padded, &a, ROWS, N, y);
            decode(&flat, &b, ROWS, N, z);
            assert_memory_equal(y, z, sizeof(float) * ROWS * N);
            assert_int_equal(hone_grouped_bytes(&flat, HONE_STREAM_CODES, ROWS, N), ROWS * N * bits / 8);
            assert_int_equal(hone_grouped_align(&flat, N), bits == 4 ? 2 : 1);
            free(a.bytes);
            free(b.bytes);
        }
    free(x);
}

static void what_no_peer_has_is_not_valid(void **state)
{
    (void)state;
    static const hone_grouped bad[] = {
        { HONE_SCHEME_NONE, 4, 32, HONE_DTYPE_F32, false, false },       { HONE_SCHEME_MLX_AFFINE, 7, 64, HONE_DTYPE_F32, false, false },
        { HONE_SCHEME_MLX_AFFINE, 4, 64, HONE_DTYPE_F32, true, false },  { HONE_SCHEME_MLX_MXFP4, 4, 16, HONE_DTYPE_F32, false, false },
        { HONE_SCHEME_MLX_NVFP4, 4, 32, HONE_DTYPE_F32, false, false },  { HONE_SCHEME_MLX_MXFP8, 4, 32, HONE_DTYPE_F32, false, false },
        { HONE_SCHEME_ONNX, 4, 8, HONE_DTYPE_F32, false, false },        { HONE_SCHEME_ONNX, 4, 48, HONE_DTYPE_F32, false, false },
        { HONE_SCHEME_ONNX, 4, 0, HONE_DTYPE_F32, false, false },        { HONE_SCHEME_ONNX, 3, 32, HONE_DTYPE_F32, false, false },
        { HONE_SCHEME_NNCF, 5, 32, HONE_DTYPE_F16, false, false },       { HONE_SCHEME_NNCF, 4, 32, HONE_DTYPE_Q8_0, false, false },
        { HONE_SCHEME_NNCF, 4, 32, HONE_DTYPE_F16, false, true },
    };
    for (size_t i = 0; i < HONE_COUNT(bad); i++) assert_false(hone_grouped_valid(&bad[i]));
    hone_grouped onnx = { .scheme = HONE_SCHEME_ONNX, .group = 64 }, nncf = { .scheme = HONE_SCHEME_NNCF, .group = 64 };
    assert_true(hone_grouped_fits(&onnx, 100));
    assert_false(hone_grouped_fits(&nncf, 100));
    assert_false(hone_grouped_fits(&onnx, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_those_of_the_peers),
        cmocka_unit_test(odd_rows_give_the_same_bytes_at_every_width),
        cmocka_unit_test(integers_come_back_within_a_step),
        cmocka_unit_test(small_floats_come_back_within_their_precision),
        cmocka_unit_test(a_run_of_rows_is_a_piece_of_the_whole),
        cmocka_unit_test(flat_streams_hold_the_same_numbers_without_gaps),
        cmocka_unit_test(what_no_peer_has_is_not_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
