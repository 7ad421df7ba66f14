/* test_codec.c - what every codec promises, and how much each one loses. */
#include "quant/codec.h"
#include "quant/golden.h"
#include "quant/half.h"
#include "quant/rows.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { COLS = 4096 };

static size_t row_bytes(hone_dtype t, size_t n)
{
    uint64_t bytes = 0;
    assert_true(hone_dtype_bytes(t, n, &bytes));
    return (size_t)bytes;
}

static size_t encode_by_us(void *ctx, const float *x, uint8_t *out, size_t n, const float *importance)
{
    const hone_codec *c = ctx;
    c->encode_row(x, out, n, importance);
    return row_bytes(c->dtype, n);
}

static void types_without_a_codec_are_these(void **state)
{
    (void)state;
    static const hone_dtype none[] = { HONE_DTYPE_C64, HONE_DTYPE_F6_E2M3, HONE_DTYPE_F6_E3M2, HONE_DTYPE_IQ1_S, HONE_DTYPE_IQ1_M };
    int n_without = 0;
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_codec *c = hone_codec_find((hone_dtype)t);
        bool listed = false;
        for (size_t i = 0; i < HONE_COUNT(none); i++) listed |= none[i] == (hone_dtype)t;
        assert_int_equal(c == NULL, listed);
        n_without += listed;
        if (!c) continue;
        assert_int_equal(c->dtype, t);
        assert_non_null(c->decode_row);
        if (c->wants_importance) assert_non_null(c->encode_row);
    }
    assert_int_equal(n_without, HONE_COUNT(none));
}

static void bytes_are_the_golden_ones(void **state)
{
    (void)state;
    for (size_t i = 0; i < QUANT_GOLDEN_COUNT; i++)
        for (int width = 4; width <= 16; width *= 2) {
            hone_dtype t;
            assert_true(hone_dtype_from_name(quant_goldens[i].name, &t));
            const hone_codec *found = hone_codec_find_width(t, width);
            if (width == 4) assert_non_null(found);
            if (!found) continue;
            hone_codec c = *found;
            assert_true(rows_hash(encode_by_us, &c, false, ROW_NORMAL, ROW_LAST_USUAL) == quant_goldens[i].without);
            assert_true(rows_hash(encode_by_us, &c, true, ROW_NORMAL, ROW_LAST_USUAL) == quant_goldens[i].with_importance);
        }
}

static void bytes_of_our_own_searches_are_the_golden_ones(void **state)
{
    (void)state;
    bool good = true;
    for (size_t i = 0; i < HONE_COUNT(quant_own_goldens); i++)
        for (int width = 4; width <= 16; width *= 2) {
            hone_dtype t;
            assert_true(hone_dtype_from_name(quant_own_goldens[i].name, &t));
            const hone_codec *found = hone_codec_find_width(t, width);
            if (width == 4) assert_non_null(found);
            if (!found) continue;
            hone_codec c = *found;
            uint64_t   without = rows_hash(encode_by_us, &c, false, ROW_NORMAL, ROW_LAST_USUAL), with = rows_hash(encode_by_us, &c, true, ROW_NORMAL, ROW_LAST_USUAL),
                     odd = rows_hash(encode_by_us, &c, true, ROW_LAST_USUAL + 1, ROW_COUNT - 1);
            if (without == quant_own_goldens[i].without && with == quant_own_goldens[i].with_importance && odd == quant_own_goldens[i].odd) continue;
            print_error("{ \"%s\", 0x%016llx, 0x%016llx, 0x%016llx }, by %d lanes\n", quant_own_goldens[i].name, (unsigned long long)without,
                        (unsigned long long)with, (unsigned long long)odd, width);
            good = false;
        }
    assert_true(good);
}

static void decode_by_us(void *ctx, const uint8_t *in, float *x, size_t n) { ((const hone_codec *)ctx)->decode_row(in, x, n); }

static void numbers_out_of_tables_are_the_golden_ones(void **state)
{
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(quant_decoded_goldens); i++)
        for (int width = 4; width <= 16; width *= 2) {
            hone_dtype t;
            assert_true(hone_dtype_from_name(quant_decoded_goldens[i].name, &t));
            const hone_codec *found = hone_codec_find_width(t, width);
            if (width == 4) assert_non_null(found);
            if (!found) continue;
            hone_codec c = *found;
            uint64_t   got = rows_decoded_hash(decode_by_us, &c, hone_dtype_get(t)->block_bytes, hone_dtype_get(t)->block_elems);
            if (got != quant_decoded_goldens[i].hash)
                fail_msg("%s by %d lanes: 0x%016llx", quant_decoded_goldens[i].name, width, (unsigned long long)got);
        }
}

static void odd_rows_give_the_same_bytes_everywhere(void **state)
{
    (void)state;
    for (int width = 4; width <= 16; width *= 2) {
        uint64_t all = 0;
        for (size_t i = 0; i < QUANT_GOLDEN_COUNT; i++) {
            hone_dtype t;
            assert_true(hone_dtype_from_name(quant_goldens[i].name, &t));
            const hone_codec *found = hone_codec_find_width(t, width);
            hone_codec c = *(found ? found : hone_codec_find_width(t, 4));
            for (int with = 0; with < 2; with++)
                all = (all << 7 | all >> 57) ^ rows_hash(encode_by_us, &c, with, ROW_LAST_USUAL + 1, ROW_COUNT - 1);
        }
        if (all != quant_golden_odd)
            fail_msg("%d lanes: 0x%016llx, golden is 0x%016llx", width, (unsigned long long)all, (unsigned long long)quant_golden_odd);
    }
}

/* Root of the mean (weighted) square error over that of the numbers themselves, over a few rows. */
static double relative_error(const hone_codec *c, row_kind kind, bool encode_with, bool judge_with)
{
    static float x[COLS], back[COLS], w[COLS];
    static uint8_t bytes[4 * COLS];
    double error = 0, size = 0;
    for (uint64_t seed = 0; seed < 8; seed++) {
        rows_fill(kind, seed, x, COLS);
        rows_importance(seed, w, COLS);
        c->encode_row(x, bytes, COLS, encode_with ? w : NULL);
        c->decode_row(bytes, back, COLS);
        for (int i = 0; i < COLS; i++) {
            double weight = judge_with ? (double)w[i] : 1, diff = (double)x[i] - (double)back[i];
            error += weight * diff * diff;
            size += weight * (double)x[i] * (double)x[i];
        }
    }
    return sqrt(error / size);
}

static void error_stays_within_the_bound_of_its_width(void **state)
{
    (void)state;
    /* relative error of bell-shaped rows, measured, rounded up; one well below its bound is a changed codec too */
    static const struct {
        const char *name;
        double      bits, bound;
    } rows[] = {
        { "f32", 32, 0 },          { "bf16", 16, 0.0017 },    { "f16", 16, 0.00021 },   { "q8_0", 8.5, 0.0053 },
        { "q6_k", 6.5625, 0.0176 },     { "q5_1", 6, 0.0375 },          { "q5_0", 5.5, 0.0421 },       { "q5_k", 5.5, 0.0358 },
        { "q4_1", 5, 0.0779 },          { "q4_0", 4.5, 0.0851 },        { "q4_k", 4.5, 0.0711 },       { "iq4_nl", 4.5, 0.0759 },
        { "iq4_xs", 4.25, 0.0765 },     { "q3_k", 3.4375, 0.1494 },     { "q2_k", 2.625, 0.294 },
        { "iq3_s", 3.4375, 0.1325 },     { "iq3_xxs", 3.0625, 0.1843 },  { "iq2_s", 2.5625, 0.2502 },    { "iq2_xs", 2.3125, 0.3014 },
        { "iq2_xxs", 2.0625, 0.3526 },
    };
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        hone_dtype t;
        assert_true(hone_dtype_from_name(rows[i].name, &t));
        const hone_dtype_info *info = hone_dtype_get(t);
        assert_true(8.0 * info->block_bytes / info->block_elems == rows[i].bits);
        double got = relative_error(hone_codec_find(t), ROW_WEIGHTS, false, false);
        if (got > rows[i].bound || got < 0.95 * rows[i].bound)
            fail_msg("%s: relative error %.6f, bound %.6f", rows[i].name, got, rows[i].bound);
    }
}

static void importance_lowers_the_error_that_it_weighs(void **state)
{
    (void)state;
    int n = 0;
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_codec *c = hone_codec_find((hone_dtype)t);
        if (!c || !c->wants_importance) continue;
        n++;
        double without = relative_error(c, ROW_WEIGHTS, false, true), with = relative_error(c, ROW_WEIGHTS, true, true);
        if (!(with < without)) fail_msg("%s: %.6f with, %.6f without", hone_dtype_name(c->dtype), with, without);
    }
    assert_int_equal(n, 16);
}

static void zero_and_constant_rows_stay_what_they_are(void **state)
{
    (void)state;
    static float x[COLS], back[COLS], w[COLS];
    static uint8_t bytes[4 * COLS];
    rows_importance(1, w, COLS);
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_codec *c = hone_codec_find((hone_dtype)t);
        if (!c || !c->encode_row) continue;
        for (int with = 0; with < 2; with++) {
            rows_fill(ROW_ZERO, 1, x, COLS);
            c->encode_row(x, bytes, COLS, with ? w : NULL);
            c->decode_row(bytes, back, COLS);
            for (int i = 0; i < COLS; i++) assert_true(back[i] == 0);
            rows_fill(ROW_CONSTANT, 1, x, COLS); /* -2 */
            c->encode_row(x, bytes, COLS, with ? w : NULL);
            c->decode_row(bytes, back, COLS);
            for (int i = 0; i < COLS; i++)
                if (fabsf(back[i] + 2) > 0.04f) fail_msg("%s: -2 became %g", hone_dtype_name(c->dtype), (double)back[i]);
        }
    }
}

static void a_nan_scale_has_no_sign(void **state)
{
    (void)state;
    static float x[256], w[256];
    uint8_t out[256];
    for (uint32_t sign = 0; sign < 2; sign++) {
        for (int i = 0; i < 256; i++) {
            x[i] = (float)(i % 7) - 3;
            w[i] = hone_f32_of(sign << 31 | 0x7fc00000u);
        }
        hone_codec_find(HONE_DTYPE_Q4_0)->encode_row(x, out, 256, w);
        for (int b = 0; b < 8; b++) assert_int_equal(hone_le16(out + 18 * b), 0x7e00);
    }
}

/* Under UBSan this is also the proof that no conversion leaves its range. */
static void rows_of_nan_and_infinity_give_the_same_bytes_each_time(void **state)
{
    (void)state;
    static float x[COLS], back[COLS], w[COLS];
    static uint8_t once[4 * COLS], again[4 * COLS];
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_codec *c = hone_codec_find((hone_dtype)t);
        if (!c || !c->encode_row) continue;
        size_t bytes = row_bytes(c->dtype, COLS);
        for (int kind = ROW_LAST_USUAL + 1; kind < ROW_COUNT; kind++)
            for (int with = 0; with < 3; with++) {
                rows_fill((row_kind)kind, 7, x, COLS);
                rows_importance(7, w, COLS);
                if (with == 2) rows_fill((row_kind)kind, 8, w, COLS); /* importance that is no importance */
                memset(once, 0, bytes);
                memset(again, 0xff, bytes);
                c->encode_row(x, once, COLS, with ? w : NULL);
                c->encode_row(x, again, COLS, with ? w : NULL);
                assert_memory_equal(once, again, bytes);
                c->decode_row(once, back, COLS);
            }
    }
}

/* Every width that this CPU runs, on every kind of row, in widths that leave lanes without a block of their own. */
static void every_width_of_lanes_gives_the_plain_bytes(void **state)
{
    (void)state;
    static const size_t cols[] = { 32, 96, 256, 512, 768, 1280, COLS };
    static float x[COLS], other[COLS], w[COLS], back[COLS], back_plain[COLS];
    static uint8_t plain[4 * COLS], wide[4 * COLS];
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_codec *c = hone_codec_find_width((hone_dtype)t, 4);
        for (int width = 8; width <= 16; width *= 2) {
            const hone_codec *twin = hone_codec_find_width((hone_dtype)t, width);
            if (!twin) continue;
            assert_int_equal(twin->dtype, t);
            assert_true(twin->wants_importance == c->wants_importance && twin->encode_row != c->encode_row);
            for (int round = 0; round < ROW_COUNT * 6 * 4; round++) {
                row_kind kind = (row_kind)(round % ROW_COUNT);
                uint64_t seed = (uint64_t)(round / ROW_COUNT % 6);
                int with = round / ROW_COUNT / 6; /* none, usual, no importance at all, and zeros */
                size_t n = cols[(size_t)round % HONE_COUNT(cols)], block = hone_dtype_get(c->dtype)->block_elems;
                n = n / block * block;
                size_t bytes = row_bytes(c->dtype, n);
                rows_fill(kind, seed + 100, x, n);
                if (seed > 2) { /* two kinds in every block */
                    rows_fill((row_kind)(((uint64_t)kind + seed * 4) % ROW_COUNT), seed, other, n);
                    for (size_t i = 0; i < n; i++)
                        if (i / 16 % 2) x[i] = other[i];
                }
                rows_importance(seed, w, n);
                if (with == 2) rows_fill((row_kind)(seed * 3 % ROW_COUNT), seed, w, n);
                if (with == 3) memset(w, 0, sizeof w);
                memset(plain, 0xa5, bytes);
                memset(wide, 0x5a, bytes);
                c->encode_row(x, plain, n, with ? w : NULL);
                twin->encode_row(x, wide, n, with ? w : NULL);
                if (memcmp(plain, wide, bytes) != 0)
                    fail_msg("%s by %d lanes, %zu columns, %s, importance %d, seed %d", hone_dtype_name(c->dtype), width, n,
                             row_kind_text(kind), with, (int)seed);
                c->decode_row(plain, back_plain, n);
                twin->decode_row(plain, back, n);
                for (size_t i = 0; i < n; i++)
                    assert_true(hone_f32_bits(back[i]) == hone_f32_bits(back_plain[i]) || (isnan(back[i]) && isnan(back_plain[i])));
            }
        }
    }
}

/* Of any bits: NaN and infinities of both signs, subnormal numbers, zeros; at the row's ends too. */
static void the_largest_magnitude_is_that_of_the_numbers(void **state)
{
    (void)state;
    static uint8_t raw[4 * COLS];
    static float   x[COLS];
    size_t         looked = 0, nan = 0;
    for (int t = 0; t < HONE_DTYPE_COUNT; t++)
        for (int width = 4; width <= 16; width *= 2) {
            const hone_codec *c = hone_codec_find_width((hone_dtype)t, width);
            if (!c || !c->largest) continue;
            uint64_t bits = 88172645463325252u;
            for (int round = 0; round < 400; round++) {
                size_t n = 1 + (size_t)round % 67, bytes = row_bytes(c->dtype, n);
                for (size_t i = 0; i < bytes; i++) {
                    bits ^= bits << 13, bits ^= bits >> 7, bits ^= bits << 17;
                    raw[i] = (uint8_t)(bits >> 24);
                }
                if (round % 3 == 0) /* nothing that is large by its exponent */
                    for (size_t i = bytes / n - 1; i < bytes; i += bytes / n) raw[i] &= 0x83;
                uint32_t most = 0;
                c->decode_row(raw, x, n);
                for (size_t i = 0; i < n; i++) most = (hone_f32_bits(x[i]) & 0x7fffffff) > most ? hone_f32_bits(x[i]) & 0x7fffffff : most;
                uint32_t got = c->largest(raw, n);
                if (got != most && !(got > 0x7f800000 && most > 0x7f800000)) /* which NaN it is does not matter */
                    fail_msg("%s by %d lanes, %zu columns: 0x%08x, its numbers have 0x%08x", hone_dtype_name(c->dtype), width, n, got, most);
                looked++;
                nan += most > 0x7f800000;
            }
        }
    assert_true(looked >= 3 * 400 && nan > 100 && nan < looked - 100);
}

/* The widest that there is; a width that does not exist is none. */
static void the_widest_codec_is_found(void **state)
{
    (void)state;
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_codec *widest = hone_codec_find_width((hone_dtype)t, 16);
        if (!widest) widest = hone_codec_find_width((hone_dtype)t, 8);
        if (!widest) widest = hone_codec_find_width((hone_dtype)t, 4);
        assert_ptr_equal(hone_codec_find((hone_dtype)t), widest);
        assert_null(hone_codec_find_width((hone_dtype)t, 5));
    }
#if defined(__x86_64__)
    assert_true((hone_codec_find_width(HONE_DTYPE_Q4_K, 8) != NULL) == (__builtin_cpu_supports("avx2") != 0));
#else
    assert_null(hone_codec_find_width(HONE_DTYPE_Q4_K, 8));
#endif
}

static void a_row_is_encoded_block_by_block(void **state)
{
    (void)state;
    static float x[COLS];
    static uint8_t whole[4 * COLS], parts[4 * COLS];
    rows_fill(ROW_HEAVY, 3, x, COLS);
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_codec *c = hone_codec_find((hone_dtype)t);
        if (!c || !c->encode_row) continue;
        const hone_dtype_info *info = hone_dtype_get(c->dtype);
        c->encode_row(x, whole, COLS, NULL);
        for (size_t i = 0; i < COLS; i += info->block_elems)
            c->encode_row(x + i, parts + i / info->block_elems * info->block_bytes, info->block_elems, NULL);
        assert_memory_equal(whole, parts, row_bytes(c->dtype, COLS));
    }
}

static void decode(hone_dtype t, const void *bytes, float *x, size_t n) { hone_codec_find(t)->decode_row(bytes, x, n); }

static void small_floats_decode_to_their_table(void **state)
{
    (void)state;
    static const uint8_t e4m3[] = { 0x00, 0x80, 0x01, 0x07, 0x08, 0x38, 0x7e, 0xfe, 0x7f, 0xff };
    float x[16];
    decode(HONE_DTYPE_F8_E4M3, e4m3, x, 10);
    assert_true(x[0] == 0 && !signbit(x[0]) && x[1] == 0 && signbit(x[1]));
    assert_true(x[2] == 0x1p-9f && x[3] == 7 * 0x1p-9f && x[4] == 0x1p-6f && x[5] == 1 && x[6] == 448 && x[7] == -448);
    assert_true(isnan(x[8]) && isnan(x[9]));

    static const uint8_t e5m2[] = { 0x01, 0x04, 0x3c, 0x7b, 0x7c, 0xfc, 0x7d, 0x7f };
    decode(HONE_DTYPE_F8_E5M2, e5m2, x, 8);
    assert_true(x[0] == 0x1p-16f && x[1] == 0x1p-14f && x[2] == 1 && x[3] == 57344);
    assert_true(x[4] == INFINITY && x[5] == -INFINITY && isnan(x[6]) && isnan(x[7]));

    static const uint8_t uz[] = { 0x80, 0x01, 0x40, 0x7f, 0xff };
    decode(HONE_DTYPE_F8_E4M3FNUZ, uz, x, 5);
    assert_true(isnan(x[0]) && x[1] == 0x1p-10f && x[2] == 1 && x[3] == 240 && x[4] == -240);
    decode(HONE_DTYPE_F8_E5M2FNUZ, uz, x, 5);
    assert_true(isnan(x[0]) && x[1] == 0x1p-17f && x[2] == 1 && x[3] == 57344 && x[4] == -57344);

    static const uint8_t e8m0[] = { 0, 1, 127, 254, 255 };
    decode(HONE_DTYPE_F8_E8M0, e8m0, x, 5);
    assert_true(x[0] == 0x1p-127f && x[1] == 0x1p-126f && x[2] == 1 && x[3] == 0x1p127f && isnan(x[4]));

    static const uint8_t f4[] = { 0x10, 0x72, 0xf8 };
    decode(HONE_DTYPE_F4, f4, x, 6);
    assert_true(x[0] == 0 && x[1] == 0.5f && x[2] == 1 && x[3] == 6 && x[4] == 0 && signbit(x[4]) && x[5] == -6);
}

static void integers_decode_to_the_nearest_float(void **state)
{
    (void)state;
    static const uint8_t b[] = { 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    float x[8];
    decode(HONE_DTYPE_I8, b, x, 2);
    assert_true(x[0] == -2 && x[1] == -1);
    decode(HONE_DTYPE_U8, b, x, 2);
    assert_true(x[0] == 254 && x[1] == 255);
    decode(HONE_DTYPE_I16, b, x, 1);
    assert_true(x[0] == -2);
    decode(HONE_DTYPE_U16, b, x, 1);
    assert_true(x[0] == 65534);
    decode(HONE_DTYPE_I32, b, x, 1);
    assert_true(x[0] == -2);
    decode(HONE_DTYPE_U32, b, x, 1);
    assert_true(x[0] == 4294967296.0f);
    decode(HONE_DTYPE_I64, b, x, 1);
    assert_true(x[0] == -2);
    decode(HONE_DTYPE_U64, b, x, 1);
    assert_true(x[0] == 0x1p64f);
    decode(HONE_DTYPE_BOOL, (const uint8_t[]){ 0, 1, 7 }, x, 3);
    assert_true(x[0] == 0 && x[1] == 1 && x[2] == 1);
    static const uint8_t f64[] = { 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0xf0, 0x7e };
    decode(HONE_DTYPE_F64, f64, x, 2);
    assert_true(x[0] == 1 && x[1] == INFINITY); /* 2^1008 */
}

/* One block of each layout written by hand from the picture in its file. */
static void blocks_are_laid_out_as_drawn(void **state)
{
    (void)state;
    float x[256];
    uint8_t b[256] = { 0x00, 0x3c }; /* d = 1 */
    b[2 + 3] = 0xf1;
    decode(HONE_DTYPE_Q4_0, b, x, 32);
    assert_true(x[3] == 1 - 8 && x[19] == 15 - 8 && x[0] == -8);

    b[5] = 0;
    b[2 + 2] = 0x10; /* fifth bit of element 20 */
    b[6 + 4] = 0x32;
    decode(HONE_DTYPE_Q5_0, b, x, 32);
    assert_true(x[4] == 2 - 16 && x[20] == 3 + 16 - 16 && x[0] == -16);

    memset(b, 0, sizeof b);
    b[1] = 0x3c;     /* d = 1 */
    b[3] = 0x40;     /* dmin = 2 */
    b[4 + 1] = 5;    /* S[1] */
    b[4 + 5] = 3;    /* M[1] */
    b[4 + 8 + 2] = 0x97; /* S[6] = 7, M[6] = 9 */
    b[4 + 2] = 0x40;     /* S[6] += 16 */
    b[16 + 31] = 0xa0;   /* sub-block 1, element 31 */
    b[16 + 96] = 0x0b;   /* sub-block 6, element 0 */
    decode(HONE_DTYPE_Q4_K, b, x, 256);
    assert_true(x[63] == 5 * 10 - 2 * 3 && x[62] == -2 * 3 && x[192] == 23 * 11 - 2 * 9 && x[193] == -2 * 9 && x[0] == 0);

    memset(b, 0, sizeof b);
    b[209] = 0x3c;              /* d = 1 */
    b[192 + 13] = (uint8_t)-3;  /* S[13]: elements 208..223, second half, third quarter starts at 192 */
    b[64 + 16 + 2] = 0x50;      /* low bits of elements 146 (0) and 210 (5) */
    b[128 + 32 + 16 + 2] = 0x20; /* high bits of element 210: 2 */
    decode(HONE_DTYPE_Q6_K, b, x, 256);
    assert_true(x[210] == -3 * (5 + 32 - 32) && x[209] == -3 * -32 && x[0] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_without_a_codec_are_these),
        cmocka_unit_test(bytes_are_the_golden_ones),
        cmocka_unit_test(bytes_of_our_own_searches_are_the_golden_ones),
        cmocka_unit_test(numbers_out_of_tables_are_the_golden_ones),
        cmocka_unit_test(odd_rows_give_the_same_bytes_everywhere),
        cmocka_unit_test(error_stays_within_the_bound_of_its_width),
        cmocka_unit_test(importance_lowers_the_error_that_it_weighs),
        cmocka_unit_test(zero_and_constant_rows_stay_what_they_are),
        cmocka_unit_test(a_nan_scale_has_no_sign),
        cmocka_unit_test(rows_of_nan_and_infinity_give_the_same_bytes_each_time),
        cmocka_unit_test(every_width_of_lanes_gives_the_plain_bytes),
        cmocka_unit_test(the_largest_magnitude_is_that_of_the_numbers),
        cmocka_unit_test(the_widest_codec_is_found),
        cmocka_unit_test(a_row_is_encoded_block_by_block),
        cmocka_unit_test(small_floats_decode_to_their_table),
        cmocka_unit_test(integers_decode_to_the_nearest_float),
        cmocka_unit_test(blocks_are_laid_out_as_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
