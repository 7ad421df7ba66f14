/* logits.c - does the runtime compute what the reference computed? */
#include "measure/logits.h"
#include "measure/check/parts.h"
#include "measure/metric/rng.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SEED 20240607u /* of random ids: fixed, so that a check can be repeated */

typedef struct compare { /* what the rows add to while they come in */
    const hone_reference *ref;
    hone_check_result    *res;
    size_t                row;   /* of the reference */
    float                *theirs; /* [width] */
    double               *kld;   /* [rows * cols], n filled */
    size_t                n;
    double                kld_max, max_abs;
    uint64_t              agree;
    hone_err              err;   /* the first trouble inside a callback */
} compare;

static void on_row(void *user, size_t index, const float *ours, size_t n_values)
{
    compare *c = user;
    if (c->err.code != HONE_OK) return;
    if (n_values != c->ref->width) {
        (void)HONE_FAIL(&c->err, HONE_EINPUT, "use the reference that was made from this checkpoint",
                        "the reference has logits of %zu tokens, the artefact gives %zu", c->ref->width, n_values);
        return;
    }
    if (hone_reference_read(c->ref, c->ref->logits, c->row, index, c->theirs, &c->err) != HONE_OK) return;
    hone_row r = hone_row_scan(c->theirs, n_values), o = hone_row_scan(ours, n_values);
    if (!r.finite) {
        (void)HONE_FAIL(&c->err, HONE_EINPUT, "compute the reference again", "the reference's logits[%zu, %zu] hold NaN or infinity", c->row, index);
        return;
    }
    c->res->positions++;
    if (!o.finite) {
        c->res->not_finite++;
        return;
    }
    hone_row_diff d = hone_row_compare(c->theirs, &r, ours, &o, n_values);
    c->kld[c->n++] = d.kld;
    c->kld_max = fmax(c->kld_max, d.kld);
    c->max_abs = fmax(c->max_abs, d.max_abs);
    c->agree += r.best == o.best;
    if (r.gap > c->res->min_gap) {
        c->res->top1_decided++;
        c->res->top1_wrong += r.best != o.best;
    }
}

typedef struct last { /* arg-max of the last row */
    size_t best;
    bool   finite;
} last;

static void on_last(void *user, size_t index, const float *values, size_t n)
{
    last    *l = user;
    hone_row r = hone_row_scan(values, n);
    (void)index;
    *l = (last){ r.best, r.finite };
}

/* Each step is judged on its own: the reference's token is fed whatever the runtime chose. */
static hone_code greedy(const hone_child *c, const hone_reference *ref, const hone_check_limit *limit, hone_check_result *res, hone_err *err)
{
    uint64_t    steps = 0, agree = 0;
    const char *why = "the reference has no steps";
    uint8_t    *want = calloc(ref->cols, 1);
    if (!want) return HONE_NOMEM(err, "the greedy continuation");
    hone_code code = HONE_OK;
    for (size_t row = 0; code == HONE_OK && row < ref->rows; row++) {
        size_t         n = ref->counts[row];
        const int32_t *chosen = ref->greedy + row * ref->greedy_n;
        for (size_t s = 0; code == HONE_OK && s < ref->greedy_n; s++) {
            /* A step looks at position n-1+s; beyond the consumer's limit it proves nothing. */
            if (hone_check_comparable(limit, n + s, c->info.n_ctx, &why) < n + s) break;
            last l = { 0 };
            if (s == 0) {
                for (size_t i = 0; i < n; i++) want[i] = i + 1 == n;
                code = hone_runner_forward(c->runner, ref->ids + row * ref->cols, n, 0, want, on_last, &l, NULL, err);
            } else
                code = hone_runner_forward(c->runner, &chosen[s - 1], 1, (uint32_t)(n + s - 1), NULL, on_last, &l, NULL, err);
            if (code != HONE_OK) break;
            bool same = l.finite && l.best == (size_t)chosen[s];
            steps++;
            agree += same;
            if (ref->gaps[row * ref->greedy_n + s] > res->min_gap) {
                res->greedy_decided++;
                res->greedy_wrong += !same;
            }
        }
    }
    free(want);
    if (code == HONE_OK) res->greedy_steps = steps ? hone_metric_share(agree, steps) : hone_metric_none(why);
    return code;
}

hone_code hone_check_logits(const hone_ctx *ctx, const hone_child *child, const hone_reference *ref, const hone_check_limit *limit,
                            hone_check_result *res, hone_err *err)
{
    compare   c = { .ref = ref, .res = res };
    hone_code code = HONE_OK;
    c.theirs = malloc(ref->width * sizeof *c.theirs);
    c.kld = malloc(ref->rows * ref->cols * sizeof *c.kld);
    if (!c.theirs || !c.kld) code = HONE_NOMEM(err, "comparing logits");
    if (code == HONE_OK && ref->width != child->info.n_vocab)
        code = HONE_FAIL(err, HONE_EINPUT, "use the reference that was made from this checkpoint",
                         "the reference has logits of %zu tokens, the artefact of %u", ref->width, child->info.n_vocab);
    for (size_t i = 0; code == HONE_OK && i < ref->rows * ref->cols; i++)
        if ((uint32_t)ref->ids[i] >= child->info.n_vocab)
            code = HONE_FAIL(err, HONE_EINPUT, "use the reference that was made from this checkpoint",
                             "the reference has token id %d, the artefact has %u tokens", ref->ids[i], child->info.n_vocab);
    hone_event_step(ctx, "comparing logits of %zu x %zu positions", ref->rows, ref->cols);
    for (size_t row = 0; code == HONE_OK && row < ref->rows; row++) {
        const char *why = NULL;
        size_t      n = hone_check_comparable(limit, ref->counts[row], child->info.n_ctx, &why);
        if (why) (void)snprintf(res->skipped_why, sizeof res->skipped_why, "%s", why);
        c.row = row;
        res->positions_skipped += ref->counts[row] - n;
        if (n == 0) continue;
        code = hone_ctx_cancelled(ctx) ? HONE_INTERRUPTED(err)
                                       : hone_runner_forward(child->runner, ref->ids + row * ref->cols, n, 0, NULL, on_row, &c, NULL, err);
        if (code == HONE_OK && c.err.code != HONE_OK) {
            if (err) *err = c.err;
            code = c.err.code;
        }
        hone_event_progress(ctx, "rows", row + 1, ref->rows);
    }
    if (code == HONE_OK) {
        if (c.n) {
            res->kld_mean = hone_metric_mean(c.kld, c.n);
            if (res->kld_mean.lo < 0) res->kld_mean.lo = 0;
            res->kld_max = hone_metric_of(c.kld_max, c.n);
            res->max_abs = hone_metric_of(c.max_abs, c.n);
            res->top1 = hone_metric_share(c.agree, c.n);
        } else
            res->kld_mean = res->kld_max = res->max_abs = res->top1 = hone_metric_none(res->not_finite ? "no row of finite logits" : "no position is comparable");
        if (ref->greedy_n) code = greedy(child, ref, limit, res, err);
        else res->greedy_steps = hone_metric_none("the reference has no greedy continuation");
    }
    free(c.theirs);
    free(c.kld);
    return code;
}

static void random_ids(int32_t *ids, size_t n, uint32_t n_vocab)
{
    hone_rng rng = hone_rng_seeded(SEED);
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)hone_rng_below(&rng, n_vocab);
}

static void on_finite(void *user, size_t index, const float *values, size_t n)
{
    hone_check_result *res = user;
    (void)index;
    res->positions++;
    res->not_finite += !hone_row_scan(values, n).finite;
}

hone_code hone_check_finite(const hone_child *c, hone_check_result *res, hone_err *err)
{
    int32_t ids[32];
    random_ids(ids, HONE_COUNT(ids), c->info.n_vocab);
    return hone_runner_forward(c->runner, ids, HONE_COUNT(ids), 0, NULL, on_finite, res, NULL, err);
}

typedef struct keep {
    float *to;
    size_t width, n;
} keep;

static void on_keep(void *user, size_t index, const float *values, size_t n)
{
    keep *k = user;
    if (n == k->width) memcpy(k->to + index * n, values, n * sizeof *values);
    k->n += n == k->width;
}

#define SELF_ROWS 2
#define SELF_COLS 64

hone_code hone_check_self_reference(const hone_ctx *ctx, const hone_backend_open *how, hone_arena *a, hone_reference *out, hone_err *err)
{
    hone_child c = { 0 };
    HONE_TRY(hone_child_open(ctx, NULL, how, &c, err));
    hone_reference r = { .rows = SELF_ROWS, .cols = SELF_COLS, .width = c.info.n_vocab };
    int32_t       *ids = HONE_ARENA_NEW(a, int32_t, SELF_ROWS * SELF_COLS);
    size_t        *counts = HONE_ARENA_NEW(a, size_t, SELF_ROWS);
    r.memory = calloc(SELF_ROWS * SELF_COLS, r.width * sizeof *r.memory);
    hone_code code = ids && counts && r.memory ? HONE_OK : HONE_NOMEM(err, "the reference artefact's logits");
    if (code == HONE_OK) random_ids(ids, SELF_ROWS * SELF_COLS, c.info.n_vocab);
    for (size_t i = 0; code == HONE_OK && i < SELF_ROWS; i++) {
        keep k = { r.memory + i * SELF_COLS * r.width, r.width, 0 };
        counts[i] = SELF_COLS;
        code = hone_runner_forward(c.runner, ids + i * SELF_COLS, SELF_COLS, 0, NULL, on_keep, &k, NULL, err);
        if (code == HONE_OK && k.n != SELF_COLS)
            code = HONE_FAIL(err, HONE_ERUNTIME, "", "the reference artefact gave %zu rows of %zu logits, needs %d", k.n, r.width, SELF_COLS);
    }
    hone_child_close(&c);
    r.ids = ids;
    r.counts = counts;
    if (code == HONE_OK) *out = r;
    else free(r.memory);
    return code;
}
