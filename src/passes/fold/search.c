/* search.c - scales of one site.  Powers are products of square roots, which IEEE 754 rounds alike everywhere; pow() is not the same on every
 * processor. */
#include "passes/fold/site.h"
#include "quant/grouped.h"
#include "quant/weight.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>

#define STEPS       16   /* alpha = 0/16 .. 16/16 */
#define ROWS        128u /* rows of each matrix that the search looks at, evenly spaced */
#define EXPERT_ROWS 32u  /* the same where each expert is searched alone */

/* ---- what comes in ---- */

typedef struct inputs { double *mean_sq, *size; bool seen; } inputs; /* [cols]; size: mean magnitude, or the root of mean_sq */

/* Of matrix mat, or of all that read the same rows. */
static void gather(const hone_fold_site *s, uint32_t mat, inputs *x)
{
    const hone_input_stats *in = s->in;
    uint32_t                first = s->mats > 1 ? mat : 0, end = s->mats > 1 ? mat + 1 : in->n_mats;
    uint64_t                count = 0;
    for (uint32_t j = 0; j < s->cols; j++) x->mean_sq[j] = x->size[j] = 0;
    for (uint32_t e = first; e < end; e++) {
        if (!in->counts[e]) continue;
        count += in->counts[e];
        for (uint32_t j = 0; j < s->cols; j++) {
            x->mean_sq[j] += (double)in->sum_sq[(size_t)e * s->cols + j];
            if (in->sum_abs) x->size[j] += (double)in->sum_abs[(size_t)e * s->cols + j];
        }
    }
    x->seen = count > 0;
    for (uint32_t j = 0; x->seen && j < s->cols; j++) {
        x->mean_sq[j] /= (double)count;
        x->size[j] = in->sum_abs ? x->size[j] / (double)count : sqrt(x->mean_sq[j]);
    }
}

/* Columns that must share a scale share their size. */
static void share_sizes(const hone_fold_site *s, double *size)
{
    uint32_t block = s->share * s->width;
    for (uint32_t at = 0; s->share > 1 && at + block <= s->cols; at += block)
        for (uint32_t k = 0; k < s->width; k++) {
            double sum = 0;
            for (uint32_t h = 0; h < s->share; h++) sum += size[at + h * s->width + k];
            for (uint32_t h = 0; h < s->share; h++) size[at + h * s->width + k] = sum / s->share;
        }
}

/* x to the power of sixteenths/16. */
static double power(double x, unsigned sixteenths)
{
    double y = sixteenths >= 16 ? x : 1, root = x;
    for (unsigned bit = 8; bit; bit /= 2) {
        root = sqrt(root);
        if (sixteenths < 16 && sixteenths & bit) y *= root;
    }
    return y;
}

/* Around 1: divided by the geometric middle of the largest and the smallest, as llm-awq does. */
static void scales_of(const hone_fold_site *s, const double *size, unsigned alpha, float *out)
{
    double lo = DBL_MAX, hi = 0;
    for (uint32_t j = 0; j < s->cols; j++) {
        double v = power(size[j] > 1e-4 ? size[j] : 1e-4, alpha);
        lo = v < lo ? v : lo;
        hi = v > hi ? v : hi;
    }
    double middle = sqrt(lo) * sqrt(hi);
    for (uint32_t j = 0; j < s->cols; j++) out[j] = (float)(power(size[j] > 1e-4 ? size[j] : 1e-4, alpha) / middle);
}

/* ---- what it is multiplied with ---- */

typedef struct sample {
    float   *w, *y;   /* [rows, cols]; one row, scaled and rounded */
    uint64_t rows;
    uint8_t *codes[HONE_STREAMS]; /* of one row */
    void    *block;
} sample;

static uint64_t rows_of(const hone_fold_site *s, const hone_weight *w) { return s->mats > 1 ? hone_weight_rows(w) / s->mats : hone_weight_rows(w); }

static uint64_t take_of(const hone_fold_site *s, const hone_weight *w)
{
    uint64_t most = s->mats > 1 ? EXPERT_ROWS : ROWS, n = rows_of(s, w);
    return n < most ? n : most;
}

static hone_grouped grid(uint32_t cols)
{
    return (hone_grouped){ .scheme = HONE_SCHEME_ONNX, .bits = 4, .group = cols % 64 == 0 ? 64 : 32, .scale = HONE_DTYPE_F32 };
}

static hone_code sample_open(const hone_fold_site *s, sample *x, hone_err *err)
{
    hone_grouped g = grid(s->cols);
    size_t       scratch = 0, row = ((size_t)s->cols * sizeof(float) + 63) & ~(size_t)63;
    x->rows = 0;
    for (size_t i = 0; i < s->n_consumers; i++) {
        size_t n = hone_weight_scratch(s->consumers[i], 1);
        scratch = n > scratch ? n : scratch;
        x->rows += take_of(s, s->consumers[i]);
    }
    scratch = (scratch + 63) & ~(size_t)63;
    /* A row's codes and scales are fewer bytes than its numbers, each stream rounded up. */
    size_t codes = row + HONE_STREAMS * 64;
    x->block = aligned_alloc(64, (size_t)(x->rows + 1) * row + scratch + HONE_STREAMS * codes);
    if (!x->block) return HONE_NOMEM(err, "the search for scales");
    x->y = x->block;
    x->w = (float *)(void *)((uint8_t *)x->block + row);
    uint8_t *at = (uint8_t *)x->block + (x->rows + 1) * row + scratch;
    for (uint32_t k = 0; k < hone_grouped_streams(&g); k++) x->codes[k] = at + k * codes;
    return HONE_OK;
}

static void *scratch_of(const hone_fold_site *s, const sample *x)
{
    return (uint8_t *)x->w + x->rows * (((size_t)s->cols * sizeof(float) + 63) & ~(size_t)63);
}

static float *row_of(const hone_fold_site *s, const sample *x, uint64_t r)
{
    return (float *)(void *)((uint8_t *)x->w + r * (((size_t)s->cols * sizeof(float) + 63) & ~(size_t)63));
}

static hone_code sample_read(const hone_model *m, const hone_fold_site *s, uint32_t mat, sample *x, hone_err *err)
{
    uint64_t at = 0;
    for (size_t i = 0; i < s->n_consumers; i++) {
        const hone_weight *w = s->consumers[i];
        uint64_t           all = rows_of(s, w), n = take_of(s, w);
        for (uint64_t k = 0; k < n; k++)
            HONE_TRY(hone_weight_read(m->source, w, mat * all + k * all / n, 1, row_of(s, x, at++), scratch_of(s, x), err));
    }
    return HONE_OK;
}

/* What rounding W * s costs at the output: the mean squares of the input weigh the error of W. */
static double loss(const hone_fold_site *s, const sample *x, const inputs *in, const float *scale)
{
    hone_grouped g = grid(s->cols);
    double       sum = 0;
    for (uint64_t r = 0; r < x->rows; r++) {
        const float *w = row_of(s, x, r);
        for (uint32_t j = 0; j < s->cols; j++) x->y[j] = w[j] * scale[j];
        hone_grouped_encode(&g, x->y, 1, s->cols, (uint8_t *const *)x->codes);
        hone_grouped_decode(&g, (const uint8_t *const *)x->codes, 1, s->cols, x->y);
        for (uint32_t j = 0; j < s->cols; j++) {
            double e = (double)x->y[j] / (double)scale[j] - (double)w[j];
            sum += e * e * in->mean_sq[j];
        }
    }
    return sum;
}

/* ---- AWQ ---- */

static hone_code search(const hone_model *m, hone_fold_site *s, uint32_t mat, inputs *in, sample *x, float *try, hone_err *err)
{
    float   *best = s->scale + (size_t)mat * s->cols;
    unsigned alpha = 0;
    for (uint32_t j = 0; j < s->cols; j++) best[j] = 1;
    gather(s, mat, in);
    if (!in->seen) return HONE_OK; /* a cold expert */
    HONE_TRY(sample_read(m, s, mat, x, err));
    double least = loss(s, x, in, best);
    share_sizes(s, in->size);
    for (unsigned k = 1; k <= STEPS; k++) {
        scales_of(s, in->size, k, try);
        double l = loss(s, x, in, try);
        if (!(l < least)) continue;
        least = l;
        alpha = k;
    }
    if (!alpha) return HONE_OK;
    scales_of(s, in->size, alpha, best);
    s->moved = true;
    return HONE_OK;
}

hone_code hone_fold_awq(const hone_model *m, hone_fold_site *s, hone_err *err)
{
    sample    x = { 0 };
    inputs    in;
    double   *numbers = calloc((size_t)s->cols * 2, sizeof *numbers);
    float    *try = calloc(s->cols, sizeof *try);
    hone_code code = numbers && try ? sample_open(s, &x, err) : HONE_NOMEM(err, "the search for scales");
    in = (inputs){ .mean_sq = numbers, .size = numbers ? numbers + s->cols : NULL };
    for (uint32_t mat = 0; code == HONE_OK && mat < s->mats; mat++) code = search(m, s, mat, &in, &x, try, err);
    free(x.block);
    free(try);
    free(numbers);
    return code;
}

/* ---- SmoothQuant ---- */

static hone_code widest(const hone_model *m, const hone_weight *w, float *most, hone_err *err)
{
    uint64_t rows = hone_weight_rows(w), cols = hone_weight_cols(w), some = cols < 65536 ? 65536 / cols : 1;
    size_t   floats = (size_t)(some * cols * sizeof(float) + 63) & ~(size_t)63;
    float   *x = aligned_alloc(64, (floats + hone_weight_scratch(w, some) + 127) & ~(size_t)63);
    if (!x) return HONE_NOMEM(err, "rows of a weight");
    hone_code code = HONE_OK;
    for (uint64_t r = 0; code == HONE_OK && r < rows; r += some) {
        uint64_t n = rows - r < some ? rows - r : some;
        code = hone_weight_read(m->source, w, r, n, x, (uint8_t *)x + floats, err);
        for (uint64_t i = 0; code == HONE_OK && i < n * cols; i++) most[i % cols] = fabsf(x[i]) > most[i % cols] ? fabsf(x[i]) : most[i % cols];
    }
    free(x);
    return code;
}

hone_code hone_fold_smooth(const hone_model *m, hone_fold_site *s, hone_err *err)
{
    float    *most = calloc(s->cols, sizeof *most);
    hone_code code = most ? HONE_OK : HONE_NOMEM(err, "the search for scales");
    for (size_t i = 0; code == HONE_OK && i < s->n_consumers; i++) code = widest(m, s->consumers[i], most, err);
    for (uint32_t j = 0; code == HONE_OK && j < s->cols; j++) {
        float seen = 0;
        for (uint32_t e = 0; e < s->in->n_mats; e++) seen = fmaxf(seen, s->in->max_abs[(size_t)e * s->cols + j]);
        double v = sqrt(seen > 1e-5f ? (double)seen : 1e-5) / sqrt(most[j] > 1e-5f ? (double)most[j] : 1e-5);
        s->scale[j] = (float)(v < 0x1p-10 ? 0x1p-10 : v > 0x1p10 ? 0x1p10 : v);
    }
    s->moved = code == HONE_OK;
    free(most);
    return code;
}
