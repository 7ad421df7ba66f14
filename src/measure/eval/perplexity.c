/* perplexity.c - how surprised is the artefact by a text, and how far is it from its reference on the same text? */
#include "base/pool.h"
#include "measure/eval/parts.h"
#include "measure/logits.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define CHUNK_BYTES (32u << 20) /* of the reference's rows; two chunks are alive at a time */

typedef struct totals { /* per window, then per scored id */
    double *nll, *scored; /* [n_windows] sum of -ln p, ids scored */
    double *kld_sum;      /* [n_windows] */
    size_t *sizes;        /* [n_windows] ids scored */
    double *kld;          /* [n_ids] */
    size_t  n_kld;
    double *agree;        /* [n_windows] ids whose best token is the reference's */
    uint64_t rows;
} totals;

static bool totals_new(totals *t, const hone_eval_text *x, bool kld)
{
    *t = (totals){ 0 };
    t->nll = calloc(x->n_windows, sizeof(double));
    t->scored = calloc(x->n_windows, sizeof(double));
    t->kld_sum = calloc(x->n_windows, sizeof(double));
    t->sizes = calloc(x->n_windows, sizeof(size_t));
    t->agree = calloc(x->n_windows, sizeof(double));
    t->kld = kld ? malloc(x->n_ids * sizeof(double)) : NULL;
    return t->nll && t->scored && t->kld_sum && t->sizes && t->agree && (t->kld || !kld);
}

static void totals_release(totals *t)
{
    free(t->nll);
    free(t->scored);
    free(t->kld_sum);
    free(t->sizes);
    free(t->agree);
    free(t->kld);
}

/* [BOS] + window into input; returns the length. */
static size_t input_of(const hone_eval_text *x, const hone_window *w, int32_t bos, int32_t *input)
{
    size_t head = bos >= 0;
    if (head) input[0] = bos;
    memcpy(input + head, x->ids + w->start, w->len * sizeof *input);
    return head + w->len;
}

static hone_code plain(const hone_ctx *ctx, hone_child *c, const hone_eval_text *x, totals *t, int32_t *input, hone_err *err)
{
    float    *nll = malloc((x->windows[0].len + 1) * sizeof *nll); /* no window is longer than the first */
    hone_code code = nll ? HONE_OK : HONE_NOMEM(err, "the likelihoods");
    uint64_t  done = 0;
    for (size_t i = 0; code == HONE_OK && i < x->n_windows; i++) {
        const hone_window *w = &x->windows[i];
        size_t             n = input_of(x, w, c->info.bos, input), head = n - w->len;
        code = hone_ctx_cancelled(ctx) ? HONE_INTERRUPTED(err) : hone_runner_nll(c->runner, input, n, nll, err);
        if (code != HONE_OK) break;
        for (size_t k = w->skip; k < w->len; k++) t->nll[i] += (double)nll[k + head - 1];
        if (!isfinite(t->nll[i])) code = HONE_FAIL(err, HONE_ERUNTIME, "run `hone check` on the artefact", "the artefact gives logits that are NaN or infinite");
        t->sizes[i] = w->len - w->skip;
        done += t->sizes[i];
        hone_event_progress(ctx, "tokens", done, x->n_ids);
    }
    free(nll);
    return code;
}

/* ---- lockstep ---- */

typedef struct chunk { /* rows at..at+n of a window's input: row r foretells input[r + 1] */
    size_t window, at, n;
} chunk;

typedef struct lockstep lockstep;
typedef struct follower { /* what a side needs besides its child */
    const lockstep *l;
    hone_eval_side *side;
    totals          t;
    int32_t        *input;
    uint8_t        *want;
    bool            width_differs, not_finite;
} follower;

struct lockstep {
    const hone_ctx       *ctx;
    const hone_eval_text *x;
    hone_child           *ref;
    follower             *all;
    size_t                n;
    chunk                *chunks;
    size_t                n_chunks, step; /* step s: the reference computes chunk s, the sides compare chunk s - 1 */
    float                *rows[2];        /* the reference's rows of an even and an odd chunk, */
    hone_row             *facts[2];       /* and what is known of each */
    int32_t              *input;          /* the reference's */
    uint8_t              *want;
    size_t                width;
    bool                  width_differs;  /* the reference's rows */
};

static void keep_row(void *user, size_t index, const float *values, size_t n)
{
    lockstep *l = user;
    if (n != l->width) l->width_differs = true;
    else {
        memcpy(l->rows[l->step & 1] + index * n, values, n * sizeof *values);
        l->facts[l->step & 1][index] = hone_row_scan(values, n);
    }
}

static void compare_row(void *user, size_t index, const float *ours, size_t n)
{
    follower       *f = user;
    const lockstep *l = f->l;
    const chunk    *k = &l->chunks[l->step - 1];
    if (n != l->width) {
        f->width_differs = true;
        return;
    }
    const float *theirs = l->rows[(l->step - 1) & 1] + index * n;
    hone_row     r = l->facts[(l->step - 1) & 1][index], o = hone_row_scan(ours, n);
    if (!r.finite || !o.finite) {
        f->not_finite = true;
        return;
    }
    int32_t       target = f->input[k->at + index + 1];
    hone_row_diff d = hone_row_compare(theirs, &r, ours, &o, n);
    f->t.nll[k->window] += o.lse - (double)ours[target];
    f->t.kld_sum[k->window] += d.kld;
    f->t.kld[f->t.n_kld++] = d.kld;
    f->t.sizes[k->window]++;
    f->t.agree[k->window] += r.best == o.best;
    f->t.rows++;
}

static hone_code advance(const lockstep *l, hone_child *c, const chunk *k, int32_t *input, uint8_t *want,
                         void (*row)(void *, size_t, const float *, size_t), void *user, hone_err *err)
{
    const hone_window *w = &l->x->windows[k->window];
    size_t             head = input_of(l->x, w, c->info.bos, input) - w->len;
    for (size_t i = 0; i < k->n; i++) { /* row r scores the window's id r + 1 - head */
        size_t id = k->at + i + 1 - head;
        want[i] = id >= w->skip && id < w->len;
    }
    return hone_runner_forward(c->runner, input + k->at, k->n, (uint32_t)k->at, want, row, user, NULL, err);
}

/* Job 0 is the reference, job i the side i - 1. */
static hone_code one_side(void *user, size_t job, unsigned worker, hone_err *err)
{
    lockstep *l = user;
    (void)worker;
    if (job == 0) {
        if (l->step >= l->n_chunks) return HONE_OK;
        hone_code code = advance(l, l->ref, &l->chunks[l->step], l->input, l->want, keep_row, l, err);
        return code == HONE_OK || hone_ctx_cancelled(l->ctx) ? code : hone_err_wrap(err, "the reference");
    }
    follower *f = &l->all[job - 1];
    hone_err  why = { 0 };
    if (l->step == 0 || f->side->err.code != HONE_OK) return HONE_OK;
    hone_code code = advance(l, &f->side->child, &l->chunks[l->step - 1], f->input, f->want, compare_row, f, &why);
    if (code == HONE_OK && f->width_differs)
        code = HONE_FAIL(&why, HONE_EINPUT, "give the unquantised artefact of the same checkpoint", "artefact and reference have vocabularies of different sizes");
    if (code == HONE_OK && f->not_finite)
        code = HONE_FAIL(&why, HONE_ERUNTIME, "run `hone check` on both files", "the artefact or its reference gives logits that are NaN or infinite");
    if (code == HONE_OK) return HONE_OK;
    if (hone_ctx_cancelled(l->ctx)) return HONE_INTERRUPTED(err);
    f->side->err = why;
    return HONE_OK;
}

static hone_code walk(const hone_ctx *ctx, unsigned threads, lockstep *l, hone_err *err)
{
    hone_ctx all = ctx ? *ctx : (hone_ctx){ 0 };
    all.threads = threads;
    for (l->step = 0; l->step <= l->n_chunks; l->step++) {
        bool     alive = false;
        uint64_t rows = 0;
        HONE_TRY(hone_pool_run(&all, l->n + 1, one_side, l, err));
        if (l->width_differs) return HONE_FAIL(err, HONE_ERUNTIME, "", "the reference's logits are not as wide as its vocabulary");
        for (size_t i = 0; i < l->n; i++) {
            alive = alive || l->all[i].side->err.code == HONE_OK;
            if (l->all[i].t.rows > rows) rows = l->all[i].t.rows;
        }
        if (!alive) return HONE_OK;
        hone_event_progress(ctx, "tokens", rows, l->x->n_ids);
    }
    return HONE_OK;
}

static hone_code lockstep_new(lockstep *l, hone_eval_side *sides, size_t per, size_t longest, hone_err *err)
{
    const hone_eval_text *x = l->x;
    l->chunks = calloc(x->n_windows * (longest / per + 1), sizeof *l->chunks);
    l->rows[0] = malloc(per * l->width * sizeof(float));
    l->rows[1] = malloc(per * l->width * sizeof(float));
    l->facts[0] = calloc(per, sizeof(hone_row));
    l->facts[1] = calloc(per, sizeof(hone_row));
    l->input = malloc(longest * sizeof(int32_t));
    l->want = malloc(longest);
    l->all = calloc(l->n, sizeof *l->all);
    bool good = l->chunks && l->rows[0] && l->rows[1] && l->facts[0] && l->facts[1] && l->input && l->want && l->all;
    for (size_t i = 0; good && i < l->n; i++) {
        follower *f = &l->all[i];
        *f = (follower){ .l = l, .side = &sides[i], .input = malloc(longest * sizeof(int32_t)), .want = malloc(longest) };
        good = totals_new(&f->t, x, true) && f->input && f->want;
    }
    if (!good) return HONE_NOMEM(err, "the reference's logits");
    for (size_t i = 0; i < x->n_windows; i++) {
        size_t rows = x->windows[i].len + (l->ref->info.bos >= 0) - 1; /* the last id foretells nothing that we score */
        for (size_t at = 0; at < rows; at += per) l->chunks[l->n_chunks++] = (chunk){ i, at, rows - at < per ? rows - at : per };
    }
    return HONE_OK;
}

static void lockstep_release(lockstep *l)
{
    for (size_t i = 0; l->all && i < l->n; i++) {
        totals_release(&l->all[i].t);
        free(l->all[i].input);
        free(l->all[i].want);
    }
    free(l->all);
    free(l->chunks);
    free(l->rows[0]);
    free(l->rows[1]);
    free(l->facts[0]);
    free(l->facts[1]);
    free(l->input);
    free(l->want);
}

/* Tokens of a window are not independent, but equal windows would give an interval of width zero: the wider of both intervals. */
static hone_metric agreement(const totals *t, size_t n_windows)
{
    double k = 0;
    for (size_t i = 0; i < n_windows; i++) k += t->agree[i];
    hone_metric m = hone_metric_share((uint64_t)k, t->rows), by_window = hone_metric_ratio(t->agree, t->scored, n_windows, t->rows);
    m.lo = fmax(0, fmin(m.lo, by_window.lo));
    m.hi = fmin(1, fmax(m.hi, by_window.hi));
    return m;
}

/* The mean KLD of each window, in the side's arena. */
static hone_code keep_windows(const totals *t, const hone_eval_text *x, hone_eval_side *side, hone_err *err)
{
    hone_eval_window *w = hone_arena_calloc(&side->a, x->n_windows, sizeof *w);
    if (!w) return HONE_NOMEM(err, "the windows");
    for (size_t i = 0; i < x->n_windows; i++) w[i] = (hone_eval_window){ t->sizes[i], t->sizes[i] ? t->kld_sum[i] / (double)t->sizes[i] : 0 };
    side->res->windows = w;
    side->res->n_windows = x->n_windows;
    return HONE_OK;
}

static void conclude(totals *t, const hone_eval_text *x, bool compared, hone_eval_result *res)
{
    uint64_t n = 0;
    for (size_t i = 0; i < x->n_windows; i++) {
        n += t->sizes[i];
        t->scored[i] = (double)t->sizes[i];
    }
    hone_metric mean = hone_metric_ratio(t->nll, t->scored, x->n_windows, n);
    res->perplexity = hone_metric_known(&mean) ? hone_metric_ci(exp(mean.value), exp(mean.lo), exp(mean.hi), n) : mean;
    res->tokens = n;
    if (!compared) return;
    res->kld_mean = hone_metric_ratio(t->kld_sum, t->scored, x->n_windows, n);
    if (res->kld_mean.lo < 0) res->kld_mean.lo = 0;
    res->kld_p99 = hone_metric_block_percentile(t->kld, t->sizes, x->n_windows, 0.99, HONE_EVAL_SEED);
    res->top1 = agreement(t, x->n_windows);
}

static hone_code against(const hone_ctx *ctx, hone_eval_side *sides, size_t n, hone_child *ref, unsigned threads, const hone_eval_text *x, hone_err *err)
{
    lockstep l = { .ctx = ctx, .x = x, .ref = ref, .n = n, .width = ref->info.n_vocab };
    size_t   longest = x->windows[0].len + 1, per = CHUNK_BYTES / (l.width * sizeof(float));
    for (size_t i = 0; i < n; i++)
        if (sides[i].err.code == HONE_OK && sides[i].child.info.n_vocab != ref->info.n_vocab)
            (void)HONE_FAIL(&sides[i].err, HONE_EINPUT, "give the unquantised artefact of the same checkpoint",
                            "the artefact has %u tokens, the reference %u", sides[i].child.info.n_vocab, ref->info.n_vocab);
    if (per == 0) per = 1;
    if (per > longest) per = longest;
    hone_code code = lockstep_new(&l, sides, per, longest, err);
    if (code == HONE_OK) code = walk(ctx, threads, &l, err);
    for (size_t i = 0; code == HONE_OK && i < n; i++)
        if (sides[i].err.code == HONE_OK) {
            conclude(&l.all[i].t, x, true, sides[i].res);
            (void)keep_windows(&l.all[i].t, x, &sides[i], &sides[i].err);
        }
    lockstep_release(&l);
    return code;
}

typedef struct alone {
    const hone_ctx       *ctx;
    const hone_eval_text *x;
    hone_eval_side       *sides;
} alone;

static hone_code one_alone(void *user, size_t i, unsigned worker, hone_err *err)
{
    const alone    *a = user;
    hone_eval_side *s = &a->sides[i];
    totals          t;
    (void)worker;
    if (s->err.code != HONE_OK) return HONE_OK;
    int32_t  *input = malloc((a->x->windows[0].len + 1) * sizeof *input);
    hone_code code = totals_new(&t, a->x, false) && input ? HONE_OK : HONE_NOMEM(&s->err, "the likelihoods");
    if (code == HONE_OK) code = plain(a->ctx, &s->child, a->x, &t, input, &s->err);
    if (code == HONE_OK) conclude(&t, a->x, false, s->res);
    totals_release(&t);
    free(input);
    return code != HONE_OK && hone_ctx_cancelled(a->ctx) ? HONE_INTERRUPTED(err) : HONE_OK;
}

hone_code hone_eval_perplexity(const hone_ctx *ctx, hone_eval_side *sides, size_t n, hone_child *ref, unsigned threads, const hone_eval_text *x,
                               hone_err *err)
{
    if (ref) return against(ctx, sides, n, ref, threads, x, err);
    hone_ctx all = ctx ? *ctx : (hone_ctx){ 0 };
    all.threads = threads;
    return hone_pool_run(&all, n, one_alone, &(alone){ ctx, x, sides }, err);
}
