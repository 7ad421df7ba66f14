/* test_ggml.c - our bytes and our numbers are those of the libggml-base that llama.cpp runs with. */
#include "quant/codec.h"
#include "quant/golden.h"
#include "quant/rows.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <ggml.h>

enum { COLS = 4096 };

static const size_t widths[] = { 256, 512, 768, 1280, COLS };

/* ggml converts floats out of range for these; only on x86 do we know what comes out. */
#if defined(__x86_64__)
enum { ROWS_JUDGED = ROW_COUNT };
#else
enum { ROWS_JUDGED = ROW_LAST_USUAL + 1 };
#endif

static size_t row_bytes(hone_dtype t, size_t n)
{
    uint64_t bytes = 0;
    assert_true(hone_dtype_bytes(t, n, &bytes));
    return (size_t)bytes;
}
static enum ggml_type type_of(hone_dtype t) { return (enum ggml_type)hone_dtype_get(t)->gguf_id; }

static size_t encode_by_ggml(void *ctx, const float *x, uint8_t *out, size_t n, const float *importance)
{
    return ggml_quantize_chunk(type_of(*(hone_dtype *)ctx), x, out, 0, 1, (int64_t)n, importance);
}

/* Its bytes are not ggml's: quant/grid_fit.h. */
static bool searches_by_itself(hone_dtype t)
{
    for (size_t i = 0; i < sizeof quant_own_goldens / sizeof quant_own_goldens[0]; i++)
        if (strcmp(quant_own_goldens[i].name, hone_dtype_get(t)->name) == 0) return true;
    return false;
}

static void decode_by_ggml(void *ctx, const uint8_t *in, float *x, size_t n)
{
    ggml_get_type_traits(type_of(*(hone_dtype *)ctx))->to_float(in, x, (int64_t)n);
}

static void block_sizes_are_those_of_ggml(void **state)
{
    (void)state;
    int n = 0;
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_dtype_info *info = hone_dtype_get((hone_dtype)t);
        if (info->gguf_id < 0) continue;
        assert_int_equal(ggml_blck_size(type_of((hone_dtype)t)), info->block_elems);
        assert_int_equal(ggml_type_size(type_of((hone_dtype)t)), info->block_bytes);
        assert_int_equal(strcasecmp(ggml_type_name(type_of((hone_dtype)t)), info->name), 0);
        n++;
    }
    assert_true(n == 33);
}

/* Where the binary16 scales of a block are.  ggml's NaN has the sign that the CPU and the compiler gave it, ours has none. */
static void drop_sign_of_nan_scales(hone_dtype t, uint8_t *row, size_t bytes)
{
    static const struct {
        hone_dtype t;
        int        at[2]; /* byte offsets, -1: none */
    } scales[] = {
        { HONE_DTYPE_Q4_0, { 0, -1 } },    { HONE_DTYPE_Q4_1, { 0, 2 } },   { HONE_DTYPE_Q5_0, { 0, -1 } },
        { HONE_DTYPE_Q5_1, { 0, 2 } },     { HONE_DTYPE_Q8_0, { 0, -1 } },  { HONE_DTYPE_Q2_K, { 80, 82 } },
        { HONE_DTYPE_Q3_K, { 108, -1 } },  { HONE_DTYPE_Q4_K, { 0, 2 } },   { HONE_DTYPE_Q5_K, { 0, 2 } },
        { HONE_DTYPE_Q6_K, { 208, -1 } },  { HONE_DTYPE_IQ4_NL, { 0, -1 } }, { HONE_DTYPE_IQ4_XS, { 0, -1 } },
    };
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++)
        for (size_t b = 0; scales[i].t == t && b < bytes; b += hone_dtype_get(t)->block_bytes)
            for (int k = 0; k < 2; k++) {
                uint8_t *p = row + b + scales[i].at[k];
                if (scales[i].at[k] >= 0 && p[0] == 0 && p[1] == 0xfe) p[1] = 0x7e;
            }
}

static void encoded_rows_are_those_of_ggml(void **state)
{
    (void)state;
    float *x = malloc(2 * COLS * sizeof *x), *w = x + COLS;
    uint8_t *ours = malloc(4 * COLS), *theirs = malloc(4 * COLS);
    assert_true(x && ours && theirs);
    int n = 0;
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_codec *c = hone_codec_find((hone_dtype)t);
        if (!c || !c->encode_row || searches_by_itself((hone_dtype)t)) continue;
        n++;
        bool importance_matters = false;
        for (int kind = 0; kind < ROWS_JUDGED; kind++)
            for (uint64_t seed = 0; seed < 40; seed++) {
                size_t cols = widths[seed % (sizeof widths / sizeof widths[0])], bytes = row_bytes(c->dtype, cols);
                rows_fill((row_kind)kind, seed, x, cols);
                rows_importance(seed, w, cols);
                for (int with = 0; with < 2; with++) {
                    memset(ours, 0xa5, bytes);
                    memset(theirs, 0x5a, bytes);
                    c->encode_row(x, ours, cols, with ? w : NULL);
                    assert_int_equal(encode_by_ggml(&(hone_dtype){ c->dtype }, x, theirs, cols, with ? w : NULL), bytes);
                    if (kind > ROW_LAST_USUAL) drop_sign_of_nan_scales(c->dtype, theirs, bytes);
                    if (memcmp(ours, theirs, bytes) != 0)
                        fail_msg("%s, %zu columns, %s, %s importance, seed %u", hone_dtype_name(c->dtype), cols,
                                 row_kind_text((row_kind)kind), with ? "with" : "without", (unsigned)seed);
                    if (with) c->encode_row(x, theirs, cols, NULL);
                    if (with && memcmp(ours, theirs, bytes) != 0) importance_matters = true;
                }
            }
        assert_int_equal(importance_matters, c->wants_importance);
    }
    assert_int_equal(n, 15);
    free(x);
    free(ours);
    free(theirs);
}

/* Sums over one row of squared errors weighted by the importance; and, with the weights of ggml's encoder, of what is left of them when the 256 numbers
 * of each block are brought to the length that suits them best: where the points were chosen well. */
static void errors_of(const hone_codec *c, const uint8_t *bytes, const float *x, const float *w, double sum[2])
{
    static float back[COLS];
    c->decode_row(bytes, back, COLS);
    for (size_t b = 0; b < COLS; b += 256) {
        double square = 0, xx = 0, xy = 0, yy = 0;
        for (size_t i = b; i < b + 256; i++) square += (double)x[i] * (double)x[i] / 256;
        for (size_t i = b; i < b + 256; i++) {
            double off = (double)x[i] - (double)back[i], weight = (double)w[i] * sqrt(square + (double)x[i] * (double)x[i]);
            sum[0] += (double)w[i] * off * off;
            xx += weight * (double)x[i] * (double)x[i];
            xy += weight * (double)x[i] * (double)back[i];
            yy += weight * (double)back[i] * (double)back[i];
        }
        sum[1] += xy > 0 ? xx - xy * xy / yy : xx;
    }
}

static void our_own_searches_leave_no_larger_errors_than_those_of_ggml(void **state)
{
    (void)state;
    static float   x[COLS], w[COLS];
    static uint8_t bytes[4 * COLS];
    int            n = 0;
    bool           good = true;
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_codec *c = hone_codec_find((hone_dtype)t);
        if (!c || !c->encode_row || !searches_by_itself((hone_dtype)t)) continue;
        n++;
        ggml_quantize_init(type_of(c->dtype));
        for (int kind = 0; kind <= ROW_LAST_USUAL; kind++)
            for (int with = 0; with < 2; with++) {
                double ours[2] = { 0 }, theirs[2] = { 0 };
                for (uint64_t seed = 0; seed < 6; seed++) {
                    rows_fill((row_kind)kind, seed, x, COLS);
                    rows_importance(seed, w, COLS);
                    for (int i = 0; i < COLS && !with; i++) w[i] = 1; /* iq2_xxs and iq2_xs: ggml does not encode without */
                    c->encode_row(x, bytes, COLS, with ? w : NULL);
                    errors_of(c, bytes, x, w, ours);
                    encode_by_ggml(&(hone_dtype){ c->dtype }, x, bytes, COLS, w);
                    errors_of(c, bytes, x, w, theirs);
                }
                /* Ours are lengthened on purpose (hone_grid_longer), which costs some of the plain error where that is large: a few outliers, or nothing weighs. */
                double share[2] = { ours[0] / (theirs[0] + 1e-300), ours[1] / (theirs[1] + 1e-300) }, most = kind == ROW_WEIGHTS && with ? 0.9 : 1.000001;
                double plain = kind == ROW_HEAVY || kind == ROW_SPARSE ? 1.12 : with ? most : 1.06;
                if ((ours[0] > 0 && share[0] > plain) || (ours[1] > 0 && share[1] > most)) {
                    print_error("%s, %s, %s importance: %.4f of ggml's errors, %.4f with lengths that suit\n", hone_dtype_name(c->dtype),
                                row_kind_text((row_kind)kind), with ? "with" : "without", share[0], share[1]);
                    good = false;
                }
            }
    }
    ggml_quantize_free();
    assert_int_equal(n, 5);
    assert_true(good);
}

static void decoded_numbers_are_those_of_ggml(void **state)
{
    (void)state;
    enum { BLOCKS = 4096 };
    uint8_t *in = malloc((size_t)BLOCKS * 256);
    float *ours = malloc((size_t)BLOCKS * 256 * sizeof *ours), *theirs = malloc((size_t)BLOCKS * 256 * sizeof *theirs);
    assert_true(in && ours && theirs);
    uint64_t s = 42;
    for (size_t i = 0; i < (size_t)BLOCKS * 256; i++) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        in[i] = (uint8_t)(s >> 56);
    }
    int n = 0;
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_codec *c = hone_codec_find((hone_dtype)t);
        const hone_dtype_info *info = hone_dtype_get((hone_dtype)t);
        if (!c || !c->decode_row || info->gguf_id < 0) continue;
        ggml_to_float_t to_float = ggml_get_type_traits(type_of(c->dtype))->to_float;
        if (!to_float) continue; /* f32, f64 and the integers */
        n++;
        size_t elems = (size_t)BLOCKS * info->block_elems;
        c->decode_row(in, ours, elems);
        to_float(in, theirs, (int64_t)elems);
        for (size_t i = 0; i < elems; i++) {
            uint32_t a, b;
            memcpy(&a, ours + i, 4);
            memcpy(&b, theirs + i, 4);
            /* Which NaN comes out of a sum of two is the compiler's choice; that it is one is not. */
            bool both_nan = (a & 0x7fffffffu) > 0x7f800000u && (b & 0x7fffffffu) > 0x7f800000u;
            if (a != b && !both_nan)
                fail_msg("%s, element %zu: %a, ggml has %a", info->name, i, (double)ours[i], (double)theirs[i]);
        }
    }
    assert_int_equal(n, 25);
    free(in);
    free(ours);
    free(theirs);
}

static void golden_hashes_are_those_of_ggml(void **state)
{
    (void)state;
    bool good = true;
    for (size_t i = 0; i < QUANT_GOLDEN_COUNT; i++) {
        const quant_golden *g = &quant_goldens[i];
        hone_dtype t;
        assert_true(hone_dtype_from_name(g->name, &t));
        for (int with = 0; with < 2; with++) {
            uint64_t got = rows_hash(encode_by_ggml, &t, with, ROW_NORMAL, ROW_LAST_USUAL), want = with ? g->with_importance : g->without;
            if (got != want) {
                print_error("%s, importance %d: 0x%016llx\n", g->name, with, (unsigned long long)got);
                good = false;
            }
        }
    }
    for (size_t i = 0; i < sizeof quant_decoded_goldens / sizeof quant_decoded_goldens[0]; i++) {
        hone_dtype t;
        assert_true(hone_dtype_from_name(quant_decoded_goldens[i].name, &t));
        uint64_t got = rows_decoded_hash(decode_by_ggml, &t, hone_dtype_get(t)->block_bytes, hone_dtype_get(t)->block_elems);
        if (got != quant_decoded_goldens[i].hash) {
            print_error("%s, decoded: 0x%016llx\n", quant_decoded_goldens[i].name, (unsigned long long)got);
            good = false;
        }
    }
    assert_true(good);
}

int main(void)
{
    /* Older versions fill their table of f16 values here. */
    struct ggml_context *ctx = ggml_init((struct ggml_init_params){ .mem_size = 1024, .no_alloc = true });
    ggml_free(ctx);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_sizes_are_those_of_ggml),
        cmocka_unit_test(encoded_rows_are_those_of_ggml),
        cmocka_unit_test(our_own_searches_leave_no_larger_errors_than_those_of_ggml),
        cmocka_unit_test(decoded_numbers_are_those_of_ggml),
        cmocka_unit_test(golden_hashes_are_those_of_ggml),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
