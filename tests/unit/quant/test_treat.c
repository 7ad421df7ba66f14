/* test_treat.c - methods of rounding: each lowers what it minimises, gives the same bytes however rows come and at every width of lanes, and
 * survives any row and any statistics.  And the error bound of every encoding (tests/golden/codes/bounds.tsv). */
#include "base/file.h"
#include "quant/codec.h"
#include "quant/rows.h"
#include "quant/treat.h"
#include "quant/treat/solve.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { COLS = 256, ROWS = 19, SEEN = 600, STREAM = ROWS * COLS * 5 };

#define MLX(b, g, t) { .grouped = { HONE_SCHEME_MLX_AFFINE, b, g, HONE_DTYPE_##t, false, false } }
#define ONNX(b, g, t, s, f) { .grouped = { HONE_SCHEME_ONNX, b, g, HONE_DTYPE_##t, s, f } }
#define NNCF(b, g, s) { .grouped = { HONE_SCHEME_NNCF, b, g, HONE_DTYPE_F16, s, false } }
static const struct coded { const char *name; hone_encoding e; } codes[] = {
    { "q2_k", { .dtype = HONE_DTYPE_Q2_K } },     { "q3_k", { .dtype = HONE_DTYPE_Q3_K } },     { "q4_k", { .dtype = HONE_DTYPE_Q4_K } },
    { "q5_k", { .dtype = HONE_DTYPE_Q5_K } },     { "q6_k", { .dtype = HONE_DTYPE_Q6_K } },     { "iq4_xs", { .dtype = HONE_DTYPE_IQ4_XS } },
    { "iq4_nl", { .dtype = HONE_DTYPE_IQ4_NL } }, { "q4_0", { .dtype = HONE_DTYPE_Q4_0 } },     { "q4_1", { .dtype = HONE_DTYPE_Q4_1 } },
    { "q5_0", { .dtype = HONE_DTYPE_Q5_0 } },     { "q5_1", { .dtype = HONE_DTYPE_Q5_1 } },     { "q8_0", { .dtype = HONE_DTYPE_Q8_0 } },
    { "mlx2", MLX(2, 64, BF16) },                 { "mlx3", MLX(3, 64, BF16) },                 { "mlx4", MLX(4, 64, F16) },
    { "mlx5", MLX(5, 128, F32) },                 { "mlx6", MLX(6, 32, BF16) },                 { "mlx8", MLX(8, 64, BF16) },
    { "onnx4", ONNX(4, 32, F32, false, false) },  { "onnx4_sym", ONNX(4, 16, F16, true, false) }, { "onnx4_flat", ONNX(4, 32, F32, false, true) },
    { "onnx4_flat_sym", ONNX(4, 128, F32, true, true) }, { "onnx8", ONNX(8, 256, F32, false, false) },
    { "onnx8_sym", ONNX(8, 32, F32, true, false) },  { "onnx8_flat", ONNX(8, 32, F32, false, true) }, { "onnx8_flat_sym", ONNX(8, 32, F32, true, true) },
    { "nncf4", NNCF(4, 128, false) },             { "nncf4_sym", NNCF(4, 64, true) },           { "nncf8", NNCF(8, 0, false) },
    { "nncf8_sym", NNCF(8, 0, true) },
};
/* No method of columns has numbers that are themselves floats, or points of a grid: of these there are bounds alone. */
static const struct coded others[] = {
    { "iq2_xxs", { .dtype = HONE_DTYPE_IQ2_XXS } }, { "iq2_xs", { .dtype = HONE_DTYPE_IQ2_XS } }, { "iq2_s", { .dtype = HONE_DTYPE_IQ2_S } },
    { "iq3_xxs", { .dtype = HONE_DTYPE_IQ3_XXS } }, { "iq3_s", { .dtype = HONE_DTYPE_IQ3_S } },
    { "mxfp4", { .grouped = { HONE_SCHEME_MLX_MXFP4, 4, 32, HONE_DTYPE_BF16, false, false } } },
    { "nvfp4", { .grouped = { HONE_SCHEME_MLX_NVFP4, 4, 16, HONE_DTYPE_BF16, false, false } } },
    { "mxfp8", { .grouped = { HONE_SCHEME_MLX_MXFP8, 8, 32, HONE_DTYPE_BF16, false, false } } },
};

static uint64_t seed = 0x9e3779b97f4a7c15u;
static float bell(void) /* sum of twelve: close enough to a Gaussian, and exact */
{
    float sum = -6;
    for (int i = 0; i < 12; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        sum += (float)(seed >> 40) * 0x1p-24f;
    }
    return sum;
}

/* Inputs that move together, a few of them large, as a layer's are. */
static void sums_of_inputs(size_t n, float *h)
{
    enum { CAUSES = 24 };
    float *mix = malloc(CAUSES * n * sizeof *mix), *x = malloc(n * sizeof *x);
    assert_true(mix && x);
    for (size_t i = 0; i < CAUSES * n; i++) mix[i] = bell();
    memset(h, 0, n * n * sizeof *h);
    for (int t = 0; t < SEEN; t++) {
        float cause[CAUSES];
        for (size_t k = 0; k < CAUSES; k++) cause[k] = bell();
        for (size_t i = 0; i < n; i++) {
            x[i] = 0.5f * bell();
            for (size_t k = 0; k < CAUSES; k++) x[i] += 0.2f * cause[k] * mix[k * n + i];
            if (i % 61 == 7) x[i] *= 5;
        }
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) h[i * n + j] += x[i] * x[j];
    }
    free(mix);
    free(x);
}

typedef struct scene { float h[COLS * COLS], sq[COLS], w[ROWS * COLS]; hone_curve whole, diagonal; } scene;
static scene s;

static int set_up(void **state)
{
    (void)state;
    hone_err err = { 0 };
    float   *own = malloc(sizeof s.h);
    if (!own) return 1;
    sums_of_inputs(COLS, s.h);
    memcpy(own, s.h, sizeof s.h);
    for (size_t i = 0; i < COLS; i++) s.sq[i] = s.h[i * COLS + i] / SEEN;
    for (size_t i = 0; i < ROWS * COLS; i++) s.w[i] = 0.02f * bell();
    if (hone_curve_make(&s.whole, COLS, own, 0.01, &err) != HONE_OK || hone_curve_make_diagonal(&s.diagonal, COLS, s.sq, &err) != HONE_OK) return 1;
    return s.whole.h ? 0 : 1;
}
static int tear_down(void **state)
{
    (void)state;
    hone_curve_release(&s.whole);
    hone_curve_release(&s.diagonal);
    return 0;
}

static hone_treatment treatment(hone_method m)
{
    return (hone_treatment){ m, m == HONE_METHOD_RTN ? NULL : s.sq, m == HONE_METHOD_GPTQ ? &s.whole : &s.diagonal };
}

typedef struct coding { uint8_t bytes[HONE_STREAMS][STREAM]; } coding;

/* at[] of a row's streams: rows are whole bytes at multiples of two. */
static void streams(coding *c, const hone_encoding *e, size_t cols, uint64_t row, uint8_t *at[HONE_STREAMS])
{
    bool one = e->grouped.scheme == HONE_SCHEME_NONE;
    for (uint32_t k = 0; k < HONE_STREAMS; k++) at[k] = c->bytes[k];
    if (one) at[0] += row * (cols / hone_dtype_get(e->dtype)->block_elems * hone_dtype_get(e->dtype)->block_bytes);
    for (uint32_t k = 0; !one && k < hone_grouped_streams(&e->grouped); k++) at[k] += row * hone_grouped_row_bits(&e->grouped, k, cols) / 8;
}

static void encode(int width, const hone_encoding *e, const hone_treatment *t, const float *x, size_t rows, size_t cols, uint64_t first, coding *c)
{
    void    *scratch = aligned_alloc(64, hone_treat_scratch(t->method, e, cols));
    uint8_t *at[HONE_STREAMS];
    assert_non_null(scratch);
    streams(c, e, cols, first, at);
    if (width == 0) hone_treat_rows(e, t, x, rows, cols, at, scratch);
    else assert_true(hone_treat_rows_width(width, e, t, x, rows, cols, at, scratch));
    free(scratch);
}

static void decode(const hone_encoding *e, coding *c, size_t rows, size_t cols, float *x)
{
    uint8_t *at[HONE_STREAMS];
    streams(c, e, cols, 0, at);
    if (e->grouped.scheme != HONE_SCHEME_NONE) hone_grouped_decode(&e->grouped, (const uint8_t *const *)at, rows, cols, x);
    for (size_t r = 0; e->grouped.scheme == HONE_SCHEME_NONE && r < rows; r++) {
        streams(c, e, cols, r, at);
        hone_codec_find(e->dtype)->decode_row(at[0], x + r * cols, cols);
    }
}

static double cost_of(const hone_curve *c, const float *e)
{
    double sum = 0;
    for (size_t i = 0; i < COLS; i++) {
        double t = c->h ? 0 : (double)(c->alone[i] * e[i]);
        for (size_t j = 0; c->h && j < COLS; j++) t += (double)c->h[i * COLS + j] * (double)e[j];
        sum += t * (double)e[i];
    }
    return sum;
}

/* Sum of costs; each[r] of every row. */
static double costs(const hone_encoding *e, hone_method m, const hone_curve *by, double *each)
{
    static coding  c;
    static float   back[ROWS * COLS], rest[COLS];
    hone_treatment t = treatment(m);
    double         sum = 0;
    encode(0, e, &t, s.w, ROWS, COLS, 0, &c);
    decode(e, &c, ROWS, COLS, back);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < COLS; i++) rest[i] = s.w[r * COLS + i] - back[r * COLS + i];
        sum += each[r] = cost_of(by, rest);
    }
    return sum;
}

static void every_method_lowers_what_it_minimises(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        const hone_encoding *e = &codes[i].e;
        double plain[ROWS], treated[ROWS], searched[ROWS];
        double rtn = costs(e, HONE_METHOD_RTN, &s.diagonal, plain), scale = costs(e, HONE_METHOD_SCALE, &s.diagonal, treated);
        double search = costs(e, HONE_METHOD_SEARCH, &s.diagonal, searched);
        if (!(scale <= rtn * 1.0001) || !(search <= rtn * 1.0001)) fail_msg("%s: rtn %g, scale %g, search %g", codes[i].name, rtn, scale, search);
        search = costs(e, HONE_METHOD_SEARCH, &s.whole, searched);
        rtn = costs(e, HONE_METHOD_RTN, &s.whole, plain);
        double gptq = costs(e, HONE_METHOD_GPTQ, &s.whole, treated);
        if (!(gptq < 0.5 * search) || !(gptq < 0.5 * rtn)) fail_msg("%s: rtn %g, search %g, gptq %g", codes[i].name, rtn, search, gptq);
    }
}

static void offsets_without_data_leave_many_small_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        const hone_encoding *e = &codes[i].e;
        static coding        c;
        static float         back[ROWS * COLS];
        hone_treatment       t = treatment(HONE_METHOD_HQQ), p = treatment(HONE_METHOD_RTN);
        double               small[2] = { 0 };
        for (int k = 0; k < 2; k++) {
            encode(0, e, k ? &t : &p, s.w, ROWS, COLS, 0, &c);
            decode(e, &c, ROWS, COLS, back);
            for (size_t j = 0; j < ROWS * COLS; j++) small[k] += sqrt(fabs((double)s.w[j] - (double)back[j]));
        }
        if (!(small[1] < 1.1 * small[0])) fail_msg("%s: %g without, %g with", codes[i].name, small[0], small[1]);
    }
}

static void bytes_do_not_depend_on_how_rows_come_or_on_lanes(void **state)
{
    (void)state;
    static coding whole, other;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        for (int m = 0; m < HONE_METHOD_COUNT; m++) {
            const hone_encoding *e = &codes[i].e;
            hone_treatment       t = treatment((hone_method)m);
            memset(&whole, 0xa5, sizeof whole);
            encode(4, e, &t, s.w, ROWS, COLS, 0, &whole);
            memset(&other, 0xa5, sizeof other);
            encode(0, e, &t, s.w, 6, COLS, 0, &other);
            encode(0, e, &t, s.w + 6 * COLS, 2, COLS, 6, &other);
            encode(0, e, &t, s.w + 8 * COLS, ROWS - 8, COLS, 8, &other);
            if (memcmp(&whole, &other, sizeof whole) != 0) fail_msg("%s, %s: in parts", codes[i].name, hone_method_name((hone_method)m));
            for (int width = 8; width <= 16; width *= 2) {
                if (!hone_solver_find_width(width)) continue;
                memset(&other, 0xa5, sizeof other);
                encode(width, e, &t, s.w, ROWS, COLS, 0, &other);
                if (memcmp(&whole, &other, sizeof whole) != 0) fail_msg("%s, %s: %d lanes", codes[i].name, hone_method_name((hone_method)m), width);
            }
        }
}

/* All rows of all kinds that are numbers: what comes back is as finite as without a method, and where a method has a measure it is no worse. */
static void degenerate_rows_survive_every_method(void **state)
{
    (void)state;
    static coding c, d;
    static float  x[ROWS * COLS], back[ROWS * COLS], plain[ROWS * COLS];
    for (size_t r = 0; r < ROWS; r++) rows_fill((row_kind)(r <= ROW_ANY ? r : ROW_OUTLIERS), r + 1, x + r * COLS, COLS);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        const hone_encoding *e = &codes[i].e;
        hone_treatment       p = treatment(HONE_METHOD_RTN);
        encode(0, e, &p, x, ROWS, COLS, 0, &c);
        decode(e, &c, ROWS, COLS, plain);
        for (int m = 1; m < HONE_METHOD_COUNT; m++) {
            hone_treatment t = treatment((hone_method)m);
            memset(&c, 0xa5, sizeof c);
            memset(&d, 0xa5, sizeof d);
            encode(0, e, &t, x, ROWS, COLS, 0, &c);
            encode(4, e, &t, x, ROWS, COLS, 0, &d);
            assert_memory_equal(&c, &d, sizeof c);
            decode(e, &c, ROWS, COLS, back);
            for (size_t k = 0; k < ROWS * COLS; k++)
                if (isfinite(plain[k]) && !isfinite(back[k]) && k / COLS != ROW_ANY)
                    fail_msg("%s, %s: %s becomes %g where %g was", codes[i].name, hone_method_name((hone_method)m), row_kind_text((row_kind)(k / COLS)),
                             (double)back[k], (double)x[k]);
        }
    }
}

/* Rows that end inside a block (ONNX), or are longer than what is looked at in one go. */
static void odd_widths_are_encoded_whole(void **state)
{
    (void)state;
    static const struct { hone_encoding e; size_t cols; } odd[] = {
        { ONNX(4, 32, F32, false, false), 200 }, { ONNX(8, 64, F16, true, false), 72 }, { ONNX(4, 16, F32, false, true), 40 }, { NNCF(4, 0, false), 700 },
        { NNCF(4, 350, true), 700 },             { MLX(3, 32, BF16), 96 },
    };
    static float  x[3 * 700], back[3 * 700];
    static coding c;
    hone_err      err = { 0 };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        size_t     n = odd[i].cols;
        float     *h = malloc(n * n * sizeof *h);
        hone_curve curve;
        assert_non_null(h);
        sums_of_inputs(n, h);
        assert_int_equal(hone_curve_make(&curve, n, h, 0.01, &err), HONE_OK);
        for (size_t k = 0; k < 3 * n; k++) x[k] = bell();
        hone_treatment t = { HONE_METHOD_GPTQ, NULL, &curve };
        encode(0, &odd[i].e, &t, x, 3, n, 0, &c);
        decode(&odd[i].e, &c, 3, n, back);
        double rest = 0, all = 0;
        for (size_t k = 0; k < 3 * n; k++) {
            rest += pow((double)x[k] - (double)back[k], 2);
            all += pow((double)x[k], 2);
        }
        if (!(rest < 0.12 * all)) fail_msg("%zu: %g of %g is left", i, rest, all);
        hone_curve_release(&curve);
    }
}

static void the_triangle_makes_the_hessian(void **state)
{
    (void)state;
    for (size_t i = 0; i < COLS; i += 5)
        for (size_t j = i; j < COLS; j += 3) {
            double sum = 0; /* H[i][j] = sum over k >= j of U[i][k] U[j][k] */
            for (size_t k = j; k < COLS; k++) {
                const float *row = s.whole.ahead + k * (k + 1) / 2;
                sum += (double)s.whole.alone[k] * (double)row[i] * (double)(k == j ? 1 : row[j]);
            }
            assert_true(fabs(sum - (double)s.whole.h[i * COLS + j]) < 2e-4 * sqrt((double)s.whole.h[i * COLS + i] * (double)s.whole.h[j * COLS + j]));
        }
}

static void statistics_that_are_none_leave_the_diagonal(void **state)
{
    (void)state;
    static const float wrong[] = { NAN, INFINITY, -1, 0 };
    hone_err           err = { 0 };
    for (size_t k = 0; k < 6; k++) {
        hone_curve c;
        float     *h = malloc(sizeof s.h);
        assert_non_null(h);
        memcpy(h, s.h, sizeof s.h);
        if (k < 2) h[3 * COLS + 5] = wrong[k];
        else if (k < 4) memset(h, 0, sizeof s.h);
        else for (size_t i = 0; i < COLS; i++) /* far from positive: columns that would have to be larger than themselves */
                for (size_t j = 0; j < COLS; j++) h[i * COLS + j] = i == j ? (k == 4 ? 1.0f : 0.0f) : -50.0f;
        assert_int_equal(hone_curve_make(&c, COLS, h, 0.01, &err), HONE_OK);
        assert_null(c.h);
        for (size_t i = 0; i < COLS; i++) assert_true(c.alone[i] >= 0 && isfinite(c.alone[i]));
        hone_curve_release(&c);
    }
    hone_curve c;
    float      sq[COLS] = { NAN, -3, INFINITY, 0, 2 };
    assert_int_equal(hone_curve_make_diagonal(&c, COLS, sq, &err), HONE_OK);
    assert_true(c.alone[0] == 0 && c.alone[1] == 0 && c.alone[2] == 0 && c.alone[4] == COLS);
    hone_curve_release(&c);
}

static void dead_columns_and_zero_importance_break_nothing(void **state)
{
    (void)state;
    static coding c;
    static float  back[ROWS * COLS];
    hone_err      err = { 0 };
    hone_curve    curve, diagonal;
    float        *h = malloc(sizeof s.h), sq[COLS];
    assert_non_null(h);
    memcpy(h, s.h, sizeof s.h);
    for (size_t i = 32; i < COLS; i++)
        for (size_t j = 0; j < COLS; j++) h[i * COLS + j] = h[j * COLS + i] = 0;
    for (size_t i = 0; i < COLS; i++) sq[i] = i < 32 ? s.sq[i] : 0;
    assert_int_equal(hone_curve_make(&curve, COLS, h, 0.01, &err), HONE_OK);
    assert_int_equal(hone_curve_make_diagonal(&diagonal, COLS, sq, &err), HONE_OK);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        for (int m = HONE_METHOD_SEARCH; m < HONE_METHOD_COUNT; m++) {
            hone_treatment t = { (hone_method)m, sq, m == HONE_METHOD_GPTQ ? &curve : &diagonal };
            encode(0, &codes[i].e, &t, s.w, ROWS, COLS, 0, &c);
            decode(&codes[i].e, &c, ROWS, COLS, back);
            for (size_t k = 0; k < ROWS * COLS; k++)
                if (!isfinite(back[k])) fail_msg("%s, %s: %g", codes[i].name, hone_method_name((hone_method)m), (double)back[k]);
        }
    hone_curve_release(&curve);
    hone_curve_release(&diagonal);
}

/* ---- bounds ---- */

static double relative_error(const hone_encoding *e, const hone_treatment *t, const float *x)
{
    static coding c;
    static float  back[COLS * ROWS];
    double        rest = 0, all = 0;
    encode(0, e, t, x, ROWS, COLS, 0, &c);
    decode(e, &c, ROWS, COLS, back);
    for (size_t i = 0; i < ROWS * COLS; i++) {
        rest += pow((double)x[i] - (double)back[i], 2);
        all += pow((double)x[i], 2);
    }
    return sqrt(rest / all);
}

static const struct coded *coded_find(const char *name)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(codes[i].name, name) == 0) return &codes[i];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(others[i].name, name) == 0) return &others[i];
    return NULL;
}

/* bounds.tsv: encoding, then the error of rtn and of search on bell-shaped rows and on heavy-tailed ones: no more than is written there. */
static void errors_stay_within_their_bounds(void **state)
{
    (void)state;
    static float x[2][ROWS * COLS];
    FILE        *f = fopen(HONE_TEST_SOURCE_DIR "/tests/golden/codes/bounds.tsv", "r");
    char         line[200], name[32];
    double       bound[4];
    size_t       seen = 0;
    hone_curve   ones;
    float        one[COLS];
    hone_err     err = { 0 };
    assert_non_null(f);
    for (size_t i = 0; i < COLS; i++) one[i] = 1;
    assert_int_equal(hone_curve_make_diagonal(&ones, COLS, one, &err), HONE_OK);
    for (size_t r = 0; r < ROWS; r++) rows_fill(ROW_WEIGHTS, 100 + r, x[0] + r * COLS, COLS);
    for (size_t r = 0; r < ROWS; r++) rows_fill(ROW_HEAVY, 200 + r, x[1] + r * COLS, COLS);
    while (fgets(line, sizeof line, f)) {
        if (*line == '#') continue;
        assert_int_equal(sscanf(line, "%31s %lf %lf %lf %lf", name, &bound[0], &bound[1], &bound[2], &bound[3]), 5);
        const struct coded *c = coded_find(name);
        if (!c) continue;
        seen++;
        for (int k = 0; k < 4; k++) {
            hone_treatment t = { k % 2 ? HONE_METHOD_SCALE : HONE_METHOD_RTN, NULL, &ones };
            double         is = relative_error(&c->e, &t, x[k / 2]);
            if (getenv("HONE_SHOW_BOUNDS")) printf("%s%s%.5f%s", k ? "" : name, "\t", is, k == 3 ? "\n" : "");
            else if (!(is <= bound[k] * 1.0005 + 5e-6)) /* as written: five digits */ fail_msg("%s, column %d: %.6f is more than %.6f", name, k + 1, is, bound[k]);
        }
    }
    fclose(f);
    hone_curve_release(&ones);
    assert_int_equal(seen, sizeof codes / sizeof *codes + sizeof others / sizeof *others);
}

/* Points of a grid cannot be moved one by one: what has statistics is searched by the codec, whatever the method is called. */
static void points_of_grids_are_searched_with_the_importance(void **state)
{
    (void)state;
    static const hone_dtype grids[] = { HONE_DTYPE_IQ2_XXS, HONE_DTYPE_IQ2_XS, HONE_DTYPE_IQ2_S, HONE_DTYPE_IQ3_XXS, HONE_DTYPE_IQ3_S };
    static const hone_method methods[] = { HONE_METHOD_SEARCH, HONE_METHOD_SCALE, HONE_METHOD_GPTQ };
    static coding   got;
    static uint8_t  want[2][STREAM];
    for (size_t i = 0; i < HONE_COUNT(grids); i++) {
        const hone_encoding e = { .dtype = grids[i] };
        const hone_codec   *c = hone_codec_find(grids[i]);
        const size_t        bytes = COLS / 256 * hone_dtype_get(grids[i])->block_bytes;
        for (size_t r = 0; r < ROWS; r++) {
            c->encode_row(s.w + COLS * r, want[0] + bytes * r, COLS, NULL);
            c->encode_row(s.w + COLS * r, want[1] + bytes * r, COLS, s.sq);
        }
        assert_memory_not_equal(want[0], want[1], bytes * ROWS);
        for (size_t m = 0; m < HONE_COUNT(methods); m++) {
            hone_treatment t = treatment(methods[m]);
            t.curve = NULL;
            assert_true(hone_treat_by_codec(methods[m], &e) && hone_treat_applies(methods[m], &e, COLS));
            encode(0, &e, &t, s.w, ROWS, COLS, 0, &got);
            assert_memory_equal(got.bytes[0], want[1], bytes * ROWS);
        }
        assert_false(hone_treat_by_codec(HONE_METHOD_HQQ, &e) || hone_treat_applies(HONE_METHOD_HQQ, &e, COLS));
    }
    assert_false(hone_treat_by_codec(HONE_METHOD_GPTQ, &(hone_encoding){ .dtype = HONE_DTYPE_Q4_K }));
    assert_false(hone_treat_by_codec(HONE_METHOD_GPTQ, &(hone_encoding){ .dtype = HONE_DTYPE_MXFP4 }));
}

static void names_are_known_both_ways(void **state)
{
    (void)state;
    hone_method m;
    for (int i = 0; i < HONE_METHOD_COUNT; i++) {
        assert_true(hone_method_from_name(hone_method_name((hone_method)i), &m));
        assert_int_equal(m, i);
    }
    assert_false(hone_method_from_name("awq", &m));
    assert_false(hone_treat_applies(HONE_METHOD_GPTQ, &(hone_encoding){ .dtype = HONE_DTYPE_F16 }, COLS));
    assert_false(hone_treat_applies(HONE_METHOD_SEARCH, &(hone_encoding){ .dtype = HONE_DTYPE_Q8_0 }, COLS));
    assert_true(hone_treat_applies(HONE_METHOD_GPTQ, &(hone_encoding){ .dtype = HONE_DTYPE_Q8_0 }, COLS));
    assert_false(hone_treat_applies(HONE_METHOD_RTN, &(hone_encoding){ .dtype = HONE_DTYPE_Q4_K }, COLS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_lowers_what_it_minimises),
        cmocka_unit_test(offsets_without_data_leave_many_small_errors),
        cmocka_unit_test(bytes_do_not_depend_on_how_rows_come_or_on_lanes),
        cmocka_unit_test(degenerate_rows_survive_every_method),
        cmocka_unit_test(odd_widths_are_encoded_whole),
        cmocka_unit_test(the_triangle_makes_the_hessian),
        cmocka_unit_test(statistics_that_are_none_leave_the_diagonal),
        cmocka_unit_test(dead_columns_and_zero_importance_break_nothing),
        cmocka_unit_test(errors_stay_within_their_bounds),
        cmocka_unit_test(points_of_grids_are_searched_with_the_importance),
        cmocka_unit_test(names_are_known_both_ways),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
