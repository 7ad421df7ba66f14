/* gram.c - a block of rows waits until it is full; then each element of the triangle gets the block's products: SPAN rows in float, one after the
 * other, the spans in double.  A lane is an element, never a part of a sum, so the width of the vectors does not show. */
#include "quant/gram.h"
#include "base/arena.h"
#include "base/pool.h"
#include <stdlib.h>

enum { SPAN = 64, HEIGHT = 4 /* rows of the triangle at once */, SMALL = 512 /* columns up to which threads cost more than they bring */ };

uint64_t hone_gram_bytes(uint32_t n)
{
    const uint64_t panels = ((uint64_t)n + HONE_GRAM_COLS - 1) / HONE_GRAM_COLS;
    return (uint64_t)n * ((uint64_t)n + 1) / 2 * sizeof(double) + panels * HONE_GRAM_ROWS * HONE_GRAM_COLS * sizeof(float);
}

hone_code hone_gram_init(hone_gram *g, uint32_t n, hone_err *err)
{
    const size_t panels = ((size_t)n + HONE_GRAM_COLS - 1) / HONE_GRAM_COLS;
    *g = (hone_gram){ .n = n };
    g->block = calloc(panels, (size_t)HONE_GRAM_ROWS * HONE_GRAM_COLS * sizeof *g->block);
    g->sum = calloc((size_t)((uint64_t)n * ((uint64_t)n + 1) / 2), sizeof *g->sum);
    if (g->block && g->sum) return HONE_OK;
    hone_gram_release(g);
    return HONE_NOMEM(err, "a Hessian");
}

void hone_gram_release(hone_gram *g)
{
    if (!g) return;
    free(g->block);
    free(g->sum);
    *g = (hone_gram){ 0 };
}

/* Eight floats; two registers where there is no AVX. */
typedef float wide __attribute__((vector_size(32)));

/* acc[i][j] += sum over the held rows of a[row][i] * b[row][j]; a and b: panels of a block. */
static inline __attribute__((always_inline)) void tile(const float *restrict a, const float *restrict b, uint32_t held,
                                                       double acc[HEIGHT][HONE_GRAM_COLS])
{
    for (uint32_t at = 0; at < held; at += SPAN) {
        wide     lo[HEIGHT] = { { 0 } }, hi[HEIGHT] = { { 0 } };
        uint32_t end = held - at < SPAN ? held : at + SPAN;
        for (uint32_t r = at; r < end; r++) {
            wide first, second;
            memcpy(&first, b + r * HONE_GRAM_COLS, sizeof first);
            memcpy(&second, b + r * HONE_GRAM_COLS + 8, sizeof second);
#pragma GCC unroll 4
            for (uint32_t i = 0; i < HEIGHT; i++) {
                const wide x = a[r * HONE_GRAM_COLS + i] - (wide){ 0 };
                lo[i] += x * first;
                hi[i] += x * second;
            }
        }
        for (int i = 0; i < HEIGHT; i++)
            for (int j = 0; j < 8; j++) {
                acc[i][j] += (double)lo[i][j];
                acc[i][j + 8] += (double)hi[i][j];
            }
    }
}

typedef void tile_fn(const float *restrict a, const float *restrict b, uint32_t held, double acc[HEIGHT][HONE_GRAM_COLS]);

static void tile_plain(const float *restrict a, const float *restrict b, uint32_t held, double acc[HEIGHT][HONE_GRAM_COLS]) { tile(a, b, held, acc); }

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void tile_avx2(const float *restrict a, const float *restrict b, uint32_t held, double acc[HEIGHT][HONE_GRAM_COLS])
{
    tile(a, b, held, acc);
}
static tile_fn *choose(void) { return __builtin_cpu_supports("avx2") ? tile_avx2 : tile_plain; }
#else
static tile_fn *choose(void) { return tile_plain; }
#endif

typedef struct work {
    hone_gram *g;
    tile_fn   *tile;
} work;

/* One panel of the triangle's rows. */
static hone_code panel(void *user, size_t index, unsigned worker, hone_err *err)
{
    const work  *w = user;
    hone_gram   *g = w->g;
    const size_t size = (size_t)HONE_GRAM_ROWS * HONE_GRAM_COLS, n = g->n;
    (void)worker;
    (void)err;
    for (size_t i0 = index * HONE_GRAM_COLS; i0 < (index + 1) * HONE_GRAM_COLS && i0 < n; i0 += HEIGHT) {
        for (size_t b = 0; b <= index; b++) {
            double acc[HEIGHT][HONE_GRAM_COLS] = { { 0 } };
            w->tile(g->block + index * size + (i0 - index * HONE_GRAM_COLS), g->block + b * size, g->held, acc);
            for (size_t i = i0; i < i0 + HEIGHT && i < n; i++) {
                double *row = g->sum + i * (i + 1) / 2;
                for (size_t j = b * HONE_GRAM_COLS; j < (b + 1) * HONE_GRAM_COLS && j <= i; j++) row[j] += acc[i - i0][j - b * HONE_GRAM_COLS];
            }
        }
    }
    return HONE_OK;
}

static hone_code flush(hone_gram *g, const hone_ctx *ctx, hone_err *err)
{
    hone_ctx     alone = { 0 };
    const size_t panels = ((size_t)g->n + HONE_GRAM_COLS - 1) / HONE_GRAM_COLS;
    work         w = { g, choose() };
    if (ctx) alone.cancel = ctx->cancel;
    if (g->held) HONE_TRY(hone_pool_run(g->n > SMALL && ctx ? ctx : &alone, panels, panel, &w, err));
    g->held = 0;
    return HONE_OK;
}

hone_code hone_gram_add(hone_gram *g, const hone_ctx *ctx, const float *row, hone_err *err)
{
    if (g->held == HONE_GRAM_ROWS) HONE_TRY(flush(g, ctx, err));
    for (size_t at = 0, p = 0; at < g->n; at += HONE_GRAM_COLS, p++) {
        size_t k = g->n - at < HONE_GRAM_COLS ? g->n - at : HONE_GRAM_COLS;
        memcpy(g->block + (p * HONE_GRAM_ROWS + g->held) * HONE_GRAM_COLS, row + at, k * sizeof *row);
    }
    g->held++;
    g->rows++;
    return HONE_OK;
}

hone_code hone_gram_take(hone_gram *g, const hone_ctx *ctx, float *out, hone_err *err)
{
    const size_t n = g->n;
    HONE_TRY(flush(g, ctx, err));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) out[i * n + j] = out[j * n + i] = (float)g->sum[i * (i + 1) / 2 + j];
    return HONE_OK;
}
