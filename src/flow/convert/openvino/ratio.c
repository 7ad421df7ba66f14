#include "flow/convert/openvino/ratio.h"
#include "base/pool.h"
#include "quant/weight.h"
#include <stdatomic.h>
#include <stdlib.h>

#define TILE_ELEMS ((uint64_t)256 << 10)

typedef struct scored { hone_ov_slot *slot; double error; size_t at; } scored;

typedef struct desk { /* room for a tile */
    float   *x, *y;
    void    *raw;
    uint8_t *codes[HONE_STREAMS];
} desk;

/* The largest mean over a row of the squared difference that 8 bits make. */
static void tile_error(const hone_grouped *q, const desk *d, uint64_t rows, uint64_t cols, double *worst)
{
    const uint8_t *in[HONE_STREAMS] = { d->codes[0], d->codes[1], d->codes[2] };
    hone_grouped_encode(q, d->x, rows, cols, d->codes);
    hone_grouped_decode(q, in, rows, cols, d->y);
    for (uint64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (uint64_t c = 0; c < cols; c++) {
            double e = (double)d->y[r * cols + c] - (double)d->x[r * cols + c];
            sum += e * e;
        }
        if (sum / (double)cols > *worst) *worst = sum / (double)cols;
    }
}

static hone_code weight_error(const hone_ctx *ctx, const hone_model *m, const hone_weight *w, const hone_grouped *q, double *out, hone_err *err)
{
    uint64_t rows = hone_weight_rows(w), cols = hone_weight_cols(w), step = cols && cols < TILE_ELEMS ? TILE_ELEMS / cols : 1;
    if (step > rows) step = rows ? rows : 1;
    size_t    floats = step * cols * sizeof(float);
    desk      d = { .x = malloc(floats), .y = malloc(floats), .raw = malloc(hone_weight_scratch(w, step) + 1) };
    hone_code code = HONE_OK;
    *out = 0;
    for (uint32_t s = 0; s < HONE_STREAMS; s++) d.codes[s] = malloc(hone_grouped_bytes(q, s, step, cols) + 1);
    if (!d.x || !d.y || !d.raw || !d.codes[0] || !d.codes[1] || !d.codes[2]) code = HONE_NOMEM(err, "a tile");
    for (uint64_t r = 0; code == HONE_OK && cols && r < rows; r += step) {
        uint64_t n = rows - r < step ? rows - r : step;
        code = hone_ctx_cancelled(ctx) ? HONE_INTERRUPTED(err) : hone_weight_read(m->source, w, r, n, d.x, d.raw, err);
        if (code == HONE_OK) tile_error(q, &d, n, cols, out);
    }
    for (uint32_t s = 0; s < HONE_STREAMS; s++) free(d.codes[s]);
    free(d.raw);
    free(d.y);
    free(d.x);
    return code;
}

typedef struct search {
    const hone_ctx     *ctx;
    const hone_model   *m;
    const hone_grouped *q;
    scored             *list;
    size_t              n;
    _Atomic uint64_t    done;
} search;

static hone_code score_one(void *user, size_t i, unsigned worker, hone_err *err)
{
    search *s = user;
    (void)worker;
    HONE_TRY(weight_error(s->ctx, s->m, &s->list[i].slot->weight, s->q, &s->list[i].error, err));
    hone_event_progress(s->ctx, "matrices", atomic_fetch_add(&s->done, 1) + 1, s->n);
    return HONE_OK;
}

/* Rising score is falling error; equals keep their order. */
static int by_score(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->error != y->error) return x->error > y->error ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

hone_code hone_ov_apply_ratio(const hone_ctx *ctx, const hone_model *m, hone_ov_slot *slots, size_t n, double ratio, const hone_grouped *backup,
                              hone_arena *a, hone_err *err)
{
    scored      *list = HONE_ARENA_NEW(a, scored, n + 1);
    size_t       count = 0;
    double       all = 0, four = 0;
    hone_grouped q = *backup;
    bool         full = false;
    if (!list) return HONE_NOMEM(err, "the plan");
    q.scale = HONE_DTYPE_F32; /* the criterion looks at scales before they are rounded */
    for (size_t i = 0; i < n; i++) {
        if (slots[i].grouped.scheme == HONE_SCHEME_NONE || slots[i].grouped.bits != 4 || slots[i].planned) continue;
        list[count] = (scored){ .slot = &slots[i], .at = count };
        count++;
        all += (double)hone_weight_elems(&slots[i].weight);
    }
    hone_event_step(ctx, "choosing which of %zu matrices keep 8 bits", count);
    HONE_TRY(hone_pool_run(ctx, count, score_one, &(search){ .ctx = ctx, .m = m, .q = &q, .list = list, .n = count }, err));
    qsort(list, count, sizeof *list, by_score);
    for (size_t i = 0; i < count; i++) {
        double size = (double)hone_weight_elems(&list[i].slot->weight);
        full = full || (four + size) / all >= ratio;
        if (full) list[i].slot->grouped = *backup;
        else four += size;
    }
    return HONE_OK;
}
