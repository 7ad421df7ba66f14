/* logits.c - does the runtime compute what the reference computed? */
#include "measure/logits.h"
#include "measure/check/parts.h"
#include "measure/metric/rng.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SEED 20240607u /* of random ids: fixed, so that a check can be repeated */

typedef struct tally { /* of the rows on one side of a limit */
    double  *kld; /* n filled, room for cap */
    size_t   n, cap;
    double   kld_max, max_abs;
    uint64_t agree, decided, wrong;
} tally;

typedef struct compare { /* what the rows add to while they come in */
    const hone_reference *ref;
    hone_check_result    *res;
    size_t                row;     /* of the reference */
    size_t                within;  /* positions of this row that come before every limit */
    float                *theirs;  /* [width] */
    uint8_t              *want;    /* [cols] 1 for positions that the reference holds; NULL: all */
    tally                 before, behind;
    hone_err              err;     /* the first trouble inside a callback */
} compare;

static void on_row(void *user, size_t index, const float *ours, size_t n_values)
{
    compare *c = user;
    tally   *t = index < c->within ? &c->before : &c->behind;
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
    if (t == &c->before) c->res->positions++;
    else c->res->beyond.positions++;
    if (!o.finite) {
        c->res->not_finite++;
        return;
    }
    hone_row_diff d = hone_row_compare(c->theirs, &r, ours, &o, n_values);
    t->kld[t->n++] = d.kld;
    t->kld_max = fmax(t->kld_max, d.kld);
    t->max_abs = fmax(t->max_abs, d.max_abs);
    t->agree += r.best == o.best;
    if (r.gap > c->res->min_gap) {
        t->decided++;
        t->wrong += r.best != o.best;
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
static hone_code greedy(const hone_child *c, const hone_reference *ref, const hone_check_limit *limit, uint64_t *steps, uint64_t *agree,
                        const char **why, hone_check_result *res, hone_err *err)
{
    uint8_t    *want = calloc(ref->cols, 1);
    if (!want) return HONE_NOMEM(err, "the greedy continuation");
    hone_code code = HONE_OK;
    for (size_t row = 0; code == HONE_OK && row < ref->rows; row++) {
        size_t         n = ref->counts[row];
        const int32_t *chosen = ref->greedy + row * ref->greedy_n;
        for (size_t s = 0; code == HONE_OK && s < ref->greedy_n; s++) {
            /* A step looks at position n-1+s; beyond the consumer's limit it proves nothing. */
            if (hone_check_comparable(limit, n + s, c->info.n_ctx, why) < n + s || (limit->context && n + s > limit->context)) break;
            last l = { 0 };
            if (s == 0) {
                for (size_t i = 0; i < n; i++) want[i] = i + 1 == n;
                code = hone_runner_forward(c->runner, ref->ids + row * ref->cols, n, 0, want, on_last, &l, NULL, err);
            } else
                code = hone_runner_forward(c->runner, &chosen[s - 1], 1, (uint32_t)(n + s - 1), NULL, on_last, &l, NULL, err);
            if (code != HONE_OK) break;
            bool same = l.finite && l.best == (size_t)chosen[s];
            ++*steps;
            *agree += same;
            if (ref->gaps[row * ref->greedy_n + s] > res->min_gap) {
                res->greedy_decided++;
                res->greedy_wrong += !same;
            }
        }
    }
    free(want);
    return code;
}

static hone_code fits(const hone_child *child, const hone_reference *ref, hone_err *err)
{
    static const char THIS[] = "use the reference that was made from this checkpoint";
    if (ref->width != child->info.n_vocab)
        return HONE_FAIL(err, HONE_EINPUT, THIS, "the reference has logits of %zu tokens, the artefact of %u", ref->width, child->info.n_vocab);
    for (size_t i = 0; i < ref->rows * ref->cols; i++)
        if ((uint32_t)ref->ids[i] >= child->info.n_vocab)
            return HONE_FAIL(err, HONE_EINPUT, THIS, "the reference has token id %d, the artefact has %u tokens", ref->ids[i], child->info.n_vocab);
    return HONE_OK;
}

static hone_code one_row(const hone_child *child, compare *c, const hone_check_limit *limit, hone_err *err)
{
    const char *why = NULL;
    size_t      all = c->ref->counts[c->row], n = all;
    c->within = hone_check_comparable(limit, all, child->info.n_ctx, &why);
    if (limit->context && limit->context < n) n = limit->long_from ? 0 : limit->context; /* a longer text has other rope factors from its first token on */
    if (n < c->within) c->within = n;
    if (n < all) {
        c->res->positions_skipped += all - n;
        if (why) (void)snprintf(c->res->skipped_why, sizeof c->res->skipped_why, "%s", why);
        else (void)snprintf(c->res->skipped_why, sizeof c->res->skipped_why, "texts are no longer than %u tokens here", limit->context);
    }
    if (n > c->within && why) (void)snprintf(c->res->beyond.why, sizeof c->res->beyond.why, "%s", why);
    if (n == 0) return HONE_OK;
    HONE_TRY(hone_runner_forward(child->runner, c->ref->ids + c->row * c->ref->cols, n, 0, c->want, on_row, c, NULL, err));
    if (c->err.code == HONE_OK) return HONE_OK;
    if (err) *err = c->err;
    return c->err.code;
}

static hone_code one_reference(const hone_ctx *ctx, const hone_child *child, compare *c, const hone_check_limit *limit, hone_err *err)
{
    const hone_reference *ref = c->ref;
    HONE_TRY(fits(child, ref, err));
    hone_event_step(ctx, "comparing logits of %zu x %zu positions", ref->rows, ref->every > 1 ? ref->cols / ref->every : ref->cols);
    c->theirs = malloc(ref->width * sizeof *c->theirs);
    c->want = ref->every > 1 ? calloc(ref->cols, 1) : NULL;
    for (size_t i = ref->every - 1; c->want && i < ref->cols; i += ref->every) c->want[i] = 1;
    hone_code code = c->theirs && (c->want || ref->every < 2) ? HONE_OK : HONE_NOMEM(err, "comparing logits");
    for (c->row = 0; code == HONE_OK && c->row < ref->rows; c->row++) {
        code = hone_ctx_cancelled(ctx) ? HONE_INTERRUPTED(err) : one_row(child, c, limit, err);
        hone_event_progress(ctx, "rows", c->row + 1, ref->rows);
    }
    free(c->theirs);
    free(c->want);
    c->theirs = NULL;
    c->want = NULL;
    return code;
}

static void conclude(const compare *c, hone_check_result *res)
{
    const tally *t = &c->before, *b = &c->behind;
    if (t->n) {
        res->kld_mean = hone_metric_mean(t->kld, t->n);
        if (res->kld_mean.lo < 0) res->kld_mean.lo = 0;
        res->kld_max = hone_metric_of(t->kld_max, t->n);
        res->max_abs = hone_metric_of(t->max_abs, t->n);
        res->top1 = hone_metric_share(t->agree, t->n);
    } else
        res->kld_mean = res->kld_max = res->max_abs = res->top1 = hone_metric_none(res->not_finite ? "no row of finite logits" : "no position is comparable");
    res->top1_decided = t->decided;
    res->top1_wrong = t->wrong;
    if (b->n == 0) return;
    hone_check_beyond *y = &res->beyond;
    y->kld_mean = hone_metric_mean(b->kld, b->n);
    if (y->kld_mean.lo < 0) y->kld_mean.lo = 0;
    y->max_abs = hone_metric_of(b->max_abs, b->n);
    y->top1 = hone_metric_share(b->agree, b->n);
    y->decided = b->decided;
    y->wrong = b->wrong;
    if (res->max_kld > 0) y->differs = !(y->kld_mean.value <= res->max_kld) || y->wrong > 0;
    else y->differs = t->n && y->kld_mean.value > 3 * res->kld_mean.value + 1e-3;
}

hone_code hone_check_logits(const hone_ctx *ctx, const hone_child *child, const hone_reference *refs, size_t n, const hone_check_limit *limit,
                            hone_check_result *res, hone_err *err)
{
    static const char NONE[] = "no reference reaches behind a known limit";
    compare   c = { .res = res };
    hone_code code = HONE_OK;
    uint64_t  steps = 0, agree = 0;
    size_t    most = 0;
    const char *why = "the reference has no greedy continuation";
    for (size_t i = 0; i < n; i++) most += refs[i].rows * refs[i].cols;
    c.before.kld = malloc(most * sizeof *c.before.kld);
    c.behind.kld = malloc(most * sizeof *c.behind.kld);
    if (!c.before.kld || !c.behind.kld) code = HONE_NOMEM(err, "comparing logits");
    res->beyond.kld_mean = res->beyond.max_abs = res->beyond.top1 = hone_metric_none(NONE);
    for (size_t i = 0; code == HONE_OK && i < n; i++) {
        c.ref = &refs[i];
        code = one_reference(ctx, child, &c, limit, err);
    }
    if (code == HONE_OK) conclude(&c, res);
    for (size_t i = 0; code == HONE_OK && i < n; i++)
        if (refs[i].greedy_n) code = greedy(child, &refs[i], limit, &steps, &agree, &why, res, err);
    if (code == HONE_OK) res->greedy_steps = steps ? hone_metric_share(agree, steps) : hone_metric_none(why);
    free(c.before.kld);
    free(c.behind.kld);
    return code;
}

void hone_check_random_ids(int32_t *ids, size_t n, uint32_t n_vocab)
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
    hone_check_random_ids(ids, HONE_COUNT(ids), c->info.n_vocab);
    return hone_runner_forward(c->runner, ids, HONE_COUNT(ids), 0, NULL, on_finite, res, NULL, err);
}

typedef struct keep {
    float *to;
    size_t width, every, n;
} keep;

static void on_keep(void *user, size_t index, const float *values, size_t n)
{
    keep *k = user;
    if (n == k->width) memcpy(k->to + index / k->every * n, values, n * sizeof *values);
    k->n += n == k->width;
}

#define SELF_ROWS  2
#define SELF_BYTES ((uint64_t)256 << 20) /* of logits that are held */

size_t hone_check_self_every(size_t cols, size_t width)
{
    uint64_t each = (uint64_t)SELF_ROWS * width * sizeof(float), most = SELF_BYTES / each;
    if (most >= cols) return 1;
    return most ? (cols + (size_t)most - 1) / (size_t)most : cols;
}

hone_code hone_check_self_reference(const hone_ctx *ctx, const hone_backend_open *how, size_t cols, hone_arena *a, hone_reference *out, hone_err *err)
{
    hone_child c = { 0 };
    HONE_TRY(hone_child_open(ctx, NULL, how, &c, err));
    size_t         every = hone_check_self_every(cols, c.info.n_vocab), held = cols / every;
    hone_reference r = { .rows = SELF_ROWS, .cols = held * every, .width = c.info.n_vocab, .every = every };
    uint8_t       *want = HONE_ARENA_NEW(a, uint8_t, cols);
    int32_t       *ids = HONE_ARENA_NEW(a, int32_t, SELF_ROWS * cols);
    size_t        *counts = HONE_ARENA_NEW(a, size_t, SELF_ROWS);
    cols = r.cols;
    r.memory = calloc(SELF_ROWS * held, r.width * sizeof *r.memory);
    hone_code code = ids && counts && want && r.memory ? HONE_OK : HONE_NOMEM(err, "the reference artefact's logits");
    if (code == HONE_OK) hone_check_random_ids(ids, SELF_ROWS * cols, c.info.n_vocab);
    for (size_t i = every - 1; code == HONE_OK && i < cols; i += every) want[i] = 1;
    for (size_t i = 0; code == HONE_OK && i < SELF_ROWS; i++) {
        keep k = { r.memory + i * held * r.width, r.width, every, 0 };
        counts[i] = cols;
        code = hone_runner_forward(c.runner, ids + i * cols, cols, 0, want, on_keep, &k, NULL, err);
        if (code == HONE_OK && k.n != held)
            code = HONE_FAIL(err, HONE_ERUNTIME, "", "the reference artefact gave %zu rows of %zu logits, needs %zu", k.n, r.width, held);
    }
    hone_child_close(&c);
    r.ids = ids;
    r.counts = counts;
    if (code == HONE_OK) *out = r;
    else free(r.memory);
    return code;
}
