/* lanes.c - hashes of what the code of src/quant makes of every kind of row, one line each: encoders, decoders, reading, sums of x x^T, methods of
 * rounding, ranges.  tests/judges/arm.sh compares those of an Arm processor (NEON lanes) with this machine's plain ones. */
#include "quant/gram.h"
#include "quant/grouped.h"
#include "quant/half.h"
#include "quant/range.h"
#include "quant/rows.h"
#include "quant/treat.h"
#include "quant/weight.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FNV 0xcbf29ce484222325u
static uint64_t add(uint64_t hash, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    return hash;
}
/* Every NaN is one: its sign and its bits differ between processors, and no byte that is written comes from them. */
static uint64_t add_floats(uint64_t hash, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = isnan(x[i]) ? 0x7fc00000u : hone_f32_bits(x[i]);
        hash = add(hash, &bits, sizeof bits);
    }
    return hash;
}

static void must(bool good, const char *what)
{
    if (good) return;
    fprintf(stderr, "lanes: %s\n", what);
    exit(2);
}
static void *room(size_t n)
{
    void *p = aligned_alloc(64, (n + 63) / 64 * 64);
    must(p, "out of memory");
    return p;
}

/* ---- encoders ---- */

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
/* The row, and the row with all the bits of a float32, of which a 16-bit scale keeps some. */
static size_t by_group_twice(void *ctx, const float *x, uint8_t *out, size_t n, const float *importance)
{
    static float full[4096];
    size_t       bytes = by_group(ctx, x, out, n, importance);
    must(n <= sizeof full / sizeof *full, "a row is too long");
    for (size_t i = 0; i < n; i++) full[i] = x[i] * 1.0001f;
    return bytes + by_group(ctx, full, out + bytes, n, importance);
}

/* ---- every encoding ---- */

typedef void each_encoding(const hone_encoding *e, const char *name);

static void every_group(each_encoding *what)
{
    static const uint32_t bits[] = { 2, 3, 4, 5, 6, 8 }, groups[] = { 16, 32, 64, 128, 256, 0 };
    for (int scheme = HONE_SCHEME_MLX_AFFINE; scheme <= HONE_SCHEME_NNCF; scheme++)
        for (size_t b = 0; b < sizeof bits / sizeof *bits; b++)
            for (size_t k = 0; k < sizeof groups / sizeof *groups; k++)
                for (hone_dtype t = 0; t < HONE_DTYPE_COUNT; t++)
                    for (int kind = 0; kind < 4; kind++) {
                        hone_encoding e = { .grouped = { (hone_scheme)scheme, bits[b], groups[k], t, kind & 1, kind & 2 } };
                        char          name[80];
                        if (!hone_grouped_valid(&e.grouped)) continue;
                        snprintf(name, sizeof name, "scheme %d int%u group %u %s%s%s", scheme, bits[b], groups[k], hone_dtype_name(t), kind & 1 ? " sym" : "",
                                 kind & 2 ? " flat" : "");
                        what(&e, name);
                    }
}

static void every_type(each_encoding *what)
{
    for (hone_dtype t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_codec *c = hone_codec_find_width(t, 4);
        if (c && c->encode_row) what(&(hone_encoding){ .dtype = t }, hone_dtype_name(t));
    }
}

static void encodes(const hone_encoding *e, const char *name)
{
    if (e->grouped.scheme != HONE_SCHEME_NONE) {
        hone_grouped g = e->grouped;
        printf("%s: %016" PRIx64 "\n", name, rows_hash(by_group_twice, &g, false, ROW_NORMAL, ROW_COUNT - 1));
        return;
    }
    hone_codec copy = *hone_codec_find_width(e->dtype, 4);
    for (int with = 0; with < 2; with++)
        printf("%s importance %d: %016" PRIx64 "\n", name, with, rows_hash(by_codec, &copy, with, ROW_NORMAL, ROW_COUNT - 1));
}

/* ---- reading: any bytes, as they lie and turned ---- */

enum { READ_ROWS = 6, READ_COLS = 512, TRIALS = 12 };
static uint8_t stored[READ_ROWS * READ_COLS * 8];

static hone_code read_stored(const hone_source *s, const hone_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err)
{
    (void)s;
    (void)t;
    (void)err;
    must(off <= sizeof stored && n <= sizeof stored - off, "a read goes beyond what is stored");
    memcpy(buf, stored + off, n);
    return HONE_OK;
}

/* Bytes that mean nothing in particular: what is refused says so in words that are compared too. */
static void reads(hone_dtype t, bool turned, float scale)
{
    const hone_dtype_info *i = hone_dtype_get(t);
    const hone_source      source = { .read = read_stored };
    hone_tensor            tensor = { .name = "m", .dtype = t, .n_dims = 2, .dims = { READ_ROWS, READ_COLS }, .bytes = sizeof stored };
    hone_slice             slice = { .tensor = &tensor, .n_rows = turned ? READ_COLS : READ_ROWS, .transposed = turned };
    hone_weight            w = { .n_dims = 2, .dims = { slice.n_rows, turned ? READ_ROWS : READ_COLS }, .slices = &slice, .n_slices = 1, .scale = scale, .add = scale - 1, .dtype = t };
    static float           out[READ_ROWS * READ_COLS];
    void                  *scratch = room(hone_weight_scratch(&w, slice.n_rows));
    uint64_t               hash = FNV;
    unsigned               refused = 0;
    for (uint32_t trial = 0; trial < TRIALS; trial++) {
        for (uint32_t k = 0; k < sizeof stored; k++) stored[k] = (uint8_t)((k + trial * sizeof stored + 1) * 2654435761u >> 24);
        if (trial % 2) /* else NaN and Inf of float types are certain in so many bytes */
            for (uint32_t k = 1; k < sizeof stored; k++) stored[k] &= 0x3b;
        hone_err  err = { 0 };
        hone_code code = hone_weight_read(&source, &w, 0, slice.n_rows, out, scratch, &err);
        refused += code != HONE_OK;
        hash = code == HONE_OK ? add_floats(hash, out, sizeof out / sizeof *out) : add(hash, err.cause, strlen(err.cause));
    }
    free(scratch);
    printf("read %s%s scale %g, %u of %d refused: %016" PRIx64 "\n", i->name, turned ? " turned" : "", (double)scale, refused, TRIALS, hash);
}

static void every_reading(void)
{
    for (hone_dtype t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_codec *c = hone_codec_find_width(t, 4);
        if (!c || !c->decode_row) continue;
        reads(t, false, 1);
        reads(t, false, 1.1f);
        if (hone_dtype_get(t)->block_elems == 1) reads(t, true, 1);
    }
}

/* ---- statistics ---- */

enum { COLS = 256, SEEN = 300, ROWS = ROW_COUNT + 3 };
static hone_curve whole, diagonal, ones, broken;

/* Sums of x x^T over inputs that move together, a few columns of them large. */
static float *sums(uint32_t n)
{
    hone_ctx  ctx = { .threads = 2 };
    hone_err  err = { 0 };
    hone_gram g = { 0 };
    float    *x = room(2 * n * sizeof *x), *cause = x + n, *h = malloc((size_t)n * n * sizeof *h);
    must(h && hone_gram_init(&g, n, &err) == HONE_OK, "no sums");
    for (uint64_t t = 0; t < SEEN; t++) {
        rows_fill(ROW_NORMAL, t, x, n);
        rows_fill(ROW_HEAVY, t % 7, cause, n);
        for (uint32_t i = 0; i < n; i++) x[i] = (0.5f * x[i] + 0.3f * cause[i] * x[t % 5]) * (i % 61 == 7 ? 5.0f : 1.0f);
        must(hone_gram_add(&g, &ctx, x, &err) == HONE_OK, "no sums");
    }
    must(hone_gram_take(&g, &ctx, h, &err) == HONE_OK, "no sums");
    hone_gram_release(&g);
    free(x);
    printf("sums of %u columns: %016" PRIx64 "\n", n, add_floats(FNV, h, (size_t)n * n));
    return h;
}

static void show_curve(const char *name, const hone_curve *c)
{
    uint64_t hash = add_floats(FNV, c->alone, c->n);
    if (c->h) hash = add_floats(add_floats(hash, c->h, c->n * c->n), c->ahead, c->n * (c->n + 1) / 2);
    printf("curve, %s%s: %016" PRIx64 "\n", name, c->h ? "" : " (diagonal)", hash);
}

static void every_curve(void)
{
    hone_err err = { 0 };
    float    one[COLS], squares[COLS], *h = sums(COLS), *bad = malloc(COLS * COLS * sizeof *bad);
    must(bad, "out of memory");
    free(sums(530)); /* wide enough for threads */
    memcpy(bad, h, COLS * COLS * sizeof *bad);
    bad[5] = -INFINITY;
    for (size_t i = 0; i < COLS; i++) one[i] = 1;
    rows_importance(3, squares, COLS);
    must(hone_curve_make(&whole, COLS, h, 0.01, &err) == HONE_OK && whole.h, "no Hessian");
    must(hone_curve_make(&broken, COLS, bad, 0.01, &err) == HONE_OK && !broken.h, "a broken Hessian is taken");
    must(hone_curve_make_diagonal(&diagonal, COLS, squares, &err) == HONE_OK && hone_curve_make_diagonal(&ones, COLS, one, &err) == HONE_OK, "no diagonal");
    show_curve("whole", &whole);
    show_curve("broken", &broken);
    show_curve("squares", &diagonal);
    show_curve("ones", &ones);
}

/* ---- methods of rounding ---- */

static void treat(const hone_encoding *e, const char *name, const hone_treatment *t, const char *with)
{
    static float   x[ROWS * COLS];
    static uint8_t bytes[HONE_STREAMS][ROWS * COLS * 5];
    uint8_t       *at[HONE_STREAMS] = { bytes[0], bytes[1], bytes[2] };
    void          *scratch = room(hone_treat_scratch(t->method, e, COLS));
    uint64_t       hash = FNV;
    for (uint64_t r = 0; r < ROWS; r++) rows_fill(r < ROW_COUNT ? (row_kind)r : ROW_WEIGHTS, r, x + r * COLS, COLS);
    memset(bytes, 0xa5, sizeof bytes);
    hone_treat_rows(e, t, x, ROWS, COLS, at, scratch);
    free(scratch);
    for (uint32_t s = 0; s < HONE_STREAMS; s++) hash = add(hash, bytes[s], sizeof bytes[s]);
    printf("%s of %s, %s: %016" PRIx64 "\n", hone_method_name(t->method), name, with, hash);
}

/* One type of scales for each number of bits, and groups of 64 or a whole row: the arithmetic of rounding is the same for all. */
static void treats(const hone_encoding *e, const char *name)
{
    static const hone_dtype types[] = { HONE_DTYPE_F32, HONE_DTYPE_F16, HONE_DTYPE_BF16 };
    static float            squares[COLS];
    const hone_grouped     *g = &e->grouped;
    if (g->scheme != HONE_SCHEME_NONE && (g->scale != types[g->bits % 3] || (g->group != 64 && g->group != 0) || g->flat)) return;
    rows_importance(3, squares, COLS);
    for (int m = HONE_METHOD_SEARCH; m < HONE_METHOD_COUNT; m++) {
        if (!hone_treat_applies((hone_method)m, e, COLS)) continue;
        if (m == HONE_METHOD_SEARCH || m == HONE_METHOD_HQQ) treat(e, name, &(hone_treatment){ (hone_method)m, NULL, &ones }, "every column alike");
        if (m == HONE_METHOD_SEARCH || m == HONE_METHOD_SCALE) treat(e, name, &(hone_treatment){ (hone_method)m, squares, &diagonal }, "squares");
        if (m == HONE_METHOD_GPTQ) treat(e, name, &(hone_treatment){ (hone_method)m, squares, &whole }, "Hessian"); /* without one it is search */
    }
}

/* ---- ranges of activations ---- */

static void every_range(void)
{
    enum { N = 4096 };
    static float x[2][N];
    for (int kind = ROW_NORMAL; kind < ROW_COUNT; kind++) {
        hone_range_seen r = { 0 };
        uint64_t        hash = FNV;
        for (int s = 0; s < 2; s++) {
            rows_fill((row_kind)kind, (uint64_t)s, x[s], N);
            hone_range_see(&r, x[s], N);
        }
        for (int s = 0; s < 2; s++) hone_range_count(&r, x[s], N);
        for (int m = 0; m < HONE_RANGE_COUNT; m++)
            for (int how = 0; how < 4; how++) {
                float   of[3]; /* lo, hi, scale */
                int32_t zero;
                hone_range_choose(&r, (hone_range_method)m, 0.999, how & 1 ? 128 : 256, &of[0], &of[1]);
                hone_range_codes(of[0], of[1], how & 1 ? -64 : 0, how & 1 ? 63 : 255, how & 2, &of[2], &zero);
                hash = add(add_floats(hash, of, 3), &zero, sizeof zero);
            }
        printf("ranges, %s: %016" PRIx64 "\n", row_kind_text((row_kind)kind), hash);
    }
}

int main(void)
{
    every_type(encodes);
    every_group(encodes);
    every_reading();
    every_curve();
    every_type(treats);
    every_group(treats);
    every_range();
    hone_curve_release(&whole);
    hone_curve_release(&diagonal);
    hone_curve_release(&ones);
    hone_curve_release(&broken);
    return 0;
}
