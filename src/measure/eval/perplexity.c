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
        t->sizes[i] = w->len - w->skip;
        t->scored[i] = (double)t->sizes[i];
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

typedef struct lockstep {
    const hone_eval_text *x;
    hone_child           *ours, *ref;
    totals               *t;
    chunk                *chunks;
    size_t                n_chunks, step; /* step s: the reference computes chunk s, the artefact chunk s - 1 */
    float                *rows[2];        /* the reference's rows of an even and an odd chunk */
    int32_t              *input[2];       /* one for each side */
    uint8_t              *want[2];
    size_t                width, got;
    bool                  width_differs, not_finite;
} lockstep;

static void keep_row(void *user, size_t index, const float *values, size_t n)
{
    lockstep *l = user;
    if (n != l->width) l->width_differs = true;
    else memcpy(l->rows[l->step & 1] + index * n, values, n * sizeof *values);
}

static void compare_row(void *user, size_t index, const float *ours, size_t n)
{
    lockstep    *l = user;
    const chunk *k = &l->chunks[l->step - 1];
    if (n != l->width) {
        l->width_differs = true;
        return;
    }
    const float *theirs = l->rows[(l->step - 1) & 1] + index * n;
    hone_row     r = hone_row_scan(theirs, n), o = hone_row_scan(ours, n);
    if (!r.finite || !o.finite) {
        l->not_finite = true;
        return;
    }
    int32_t       target = l->input[1][k->at + index + 1];
    hone_row_diff d = hone_row_compare(theirs, &r, ours, &o, n);
    l->t->nll[k->window] += o.lse - (double)ours[target];
    l->t->kld_sum[k->window] += d.kld;
    l->t->kld[l->t->n_kld++] = d.kld;
    l->t->sizes[k->window]++;
    l->t->agree[k->window] += r.best == o.best;
    l->t->rows++;
}

static hone_code one_side(void *user, size_t side, unsigned worker, hone_err *err)
{
    lockstep *l = user;
    (void)worker;
    if (side == 0 ? l->step >= l->n_chunks : l->step == 0) return HONE_OK; /* first and last step: one side has nothing */
    const chunk       *k = &l->chunks[side == 0 ? l->step : l->step - 1];
    const hone_window *w = &l->x->windows[k->window];
    hone_child        *c = side == 0 ? l->ref : l->ours;
    size_t             head = input_of(l->x, w, l->ours->info.bos, l->input[side]) - w->len;
    for (size_t i = 0; i < k->n; i++) { /* row r scores the window's id r + 1 - head */
        size_t id = k->at + i + 1 - head;
        l->want[side][i] = id >= w->skip && id < w->len;
    }
    return hone_runner_forward(c->runner, l->input[side] + k->at, k->n, (uint32_t)k->at, l->want[side], side == 0 ? keep_row : compare_row, l, NULL,
                               err);
}

static hone_code walk(const hone_ctx *ctx, bool at_once, lockstep *l, hone_err *err)
{
    hone_ctx both = ctx ? *ctx : (hone_ctx){ 0 };
    both.threads = at_once ? 2 : 1;
    for (l->step = 0; l->step <= l->n_chunks; l->step++) {
        HONE_TRY(hone_pool_run(&both, 2, one_side, l, err));
        if (l->width_differs)
            return HONE_FAIL(err, HONE_EINPUT, "give the unquantised artefact of the same checkpoint", "artefact and reference have vocabularies of different sizes");
        if (l->not_finite)
            return HONE_FAIL(err, HONE_ERUNTIME, "run `hone check` on both files", "the artefact or its reference gives logits that are NaN or infinite");
        hone_event_progress(ctx, "tokens", l->t->rows, l->x->n_ids);
    }
    return HONE_OK;
}

static hone_code against(const hone_ctx *ctx, hone_child *c, hone_child *ref, bool at_once, const hone_eval_text *x, totals *t, hone_err *err)
{
    lockstep l = { .x = x, .ours = c, .ref = ref, .t = t, .width = c->info.n_vocab };
    size_t   longest = x->windows[0].len + 1, per = CHUNK_BYTES / (l.width * sizeof(float));
    if (c->info.n_vocab != ref->info.n_vocab)
        return HONE_FAIL(err, HONE_EINPUT, "give the unquantised artefact of the same checkpoint", "the artefact has %u tokens, the reference %u",
                         c->info.n_vocab, ref->info.n_vocab);
    if (per == 0) per = 1;
    if (per > longest) per = longest;
    l.chunks = calloc(x->n_windows * (longest / per + 1), sizeof *l.chunks);
    bool good = l.chunks;
    for (size_t s = 0; s < 2; s++) {
        l.rows[s] = malloc(per * l.width * sizeof(float));
        l.input[s] = malloc(longest * sizeof(int32_t));
        l.want[s] = malloc(longest);
        good = good && l.rows[s] && l.input[s] && l.want[s];
    }
    hone_code code = good ? HONE_OK : HONE_NOMEM(err, "the reference's logits");
    for (size_t i = 0; good && i < x->n_windows; i++) {
        size_t rows = x->windows[i].len + (c->info.bos >= 0) - 1; /* the last id foretells nothing that we score */
        for (size_t at = 0; at < rows; at += per) l.chunks[l.n_chunks++] = (chunk){ i, at, rows - at < per ? rows - at : per };
    }
    if (code == HONE_OK) code = walk(ctx, at_once, &l, err);
    for (size_t i = 0; i < x->n_windows; i++) t->scored[i] = (double)t->sizes[i];
    free(l.chunks);
    for (size_t s = 0; s < 2; s++) {
        free(l.rows[s]);
        free(l.input[s]);
        free(l.want[s]);
    }
    return code;
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

hone_code hone_eval_perplexity(const hone_ctx *ctx, hone_child *c, hone_child *ref, bool at_once, const hone_eval_text *x, hone_eval_result *res,
                               hone_err *err)
{
    totals   t;
    int32_t *input = malloc((x->windows[0].len + 1) * sizeof *input);
    hone_code code = totals_new(&t, x, ref) && input ? HONE_OK : HONE_NOMEM(err, "the likelihoods");
    if (code == HONE_OK) code = ref ? against(ctx, c, ref, at_once, x, &t, err) : plain(ctx, c, x, &t, input, err);
    if (code == HONE_OK) {
        uint64_t n = 0;
        for (size_t i = 0; i < x->n_windows; i++) n += t.sizes[i];
        hone_metric mean = hone_metric_ratio(t.nll, t.scored, x->n_windows, n);
        res->perplexity = hone_metric_known(&mean) ? hone_metric_ci(exp(mean.value), exp(mean.lo), exp(mean.hi), n) : mean;
        res->tokens = n;
        if (ref) {
            res->kld_mean = hone_metric_ratio(t.kld_sum, t.scored, x->n_windows, n);
            if (res->kld_mean.lo < 0) res->kld_mean.lo = 0;
            res->kld_p99 = hone_metric_block_percentile(t.kld, t.sizes, x->n_windows, 0.99, HONE_EVAL_SEED);
            res->top1 = agreement(&t, x->n_windows);
        }
    }
    totals_release(&t);
    free(input);
    return code;
}
