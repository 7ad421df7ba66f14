/* embeddings.c - does an encoder give the reference's vectors? */
#include "measure/check/parts.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct taken {
    const hone_reference *ref;
    size_t                row;
    float                *pooled; /* [width] the last row that came */
    float                *theirs; /* [width] */
    size_t                rows;   /* how many came */
    double                max_abs;
    bool                  width_differs, not_finite;
    size_t                width;
    hone_err              err;
} taken;

static void on_pooled(void *user, size_t index, const float *values, size_t n)
{
    taken *t = user;
    (void)index;
    t->rows++;
    t->width = n;
    if ((t->width_differs = n != t->ref->width)) return;
    memcpy(t->pooled, values, n * sizeof *values);
}

static void on_hidden(void *user, size_t index, const float *values, size_t n)
{
    taken *t = user;
    t->rows++;
    t->width = n;
    if ((t->width_differs = n != t->ref->width) || t->err.code != HONE_OK) return;
    if (hone_reference_read(t->ref, t->ref->hidden, t->row, index, t->theirs, &t->err) != HONE_OK) return;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)values[i] - (double)t->theirs[i]);
        if (!isfinite(d)) t->not_finite = true;
        else t->max_abs = fmax(t->max_abs, d);
    }
}

static double cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb); /* NaN for a zero vector: no number is made of that */
}

static hone_code each_row(hone_child *c, taken *t, void (*row)(void *, size_t, const float *, size_t), hone_err *err)
{
    t->rows = 0;
    HONE_TRY(hone_runner_forward(c->runner, t->ref->ids + t->row * t->ref->cols, t->ref->counts[t->row], 0, NULL, row, t, NULL, err));
    if (t->width_differs)
        return HONE_FAIL(err, HONE_EINPUT, "use the reference that was made from this checkpoint",
                         "the reference's vectors have %zu numbers, the artefact's %zu", t->ref->width, t->width);
    if (t->err.code != HONE_OK) {
        if (err) *err = t->err;
        return t->err.code;
    }
    return HONE_OK;
}

static hone_code compare(hone_child *c, const hone_backend_open *how, taken *t, hone_check_result *res, hone_err *err)
{
    hone_backend_open open = *how;
    const size_t      rows = t->ref->rows;
    double            worst = 1;
    open.embeddings = true;
    HONE_TRY(hone_runner_open(c->runner, &open, &c->info, &c->load_ms, err));
    res->cosine = hone_metric_of(1, rows);
    for (t->row = 0; t->row < rows; t->row++) {
        HONE_TRY(each_row(c, t, on_pooled, err));
        if (t->rows != 1) {
            res->cosine = hone_metric_none("the artefact does not pool: it gives one vector per token");
            break;
        }
        HONE_TRY(hone_reference_read(t->ref, t->ref->embeddings, t->row, 0, t->theirs, err));
        double v = cosine(t->pooled, t->theirs, t->ref->width);
        if (!isfinite(v)) res->not_finite++;
        else worst = fmin(worst, v);
        res->positions++;
    }
    if (hone_metric_known(&res->cosine)) res->cosine = hone_metric_of(worst, rows);
    res->max_abs = hone_metric_none("the reference has no last_hidden_state");
    if (!t->ref->hidden) return HONE_OK;
    uint64_t n = 0;
    open.hidden = true;
    HONE_TRY(hone_runner_open(c->runner, &open, &c->info, &c->load_ms, err));
    for (t->row = 0; t->row < rows; t->row++) {
        HONE_TRY(each_row(c, t, on_hidden, err));
        n += t->rows;
    }
    res->not_finite += t->not_finite;
    res->positions = n;
    res->max_abs = hone_metric_of(t->max_abs, n);
    return HONE_OK;
}

hone_code hone_check_embeddings(hone_child *c, const hone_backend_open *how, const hone_reference *ref, hone_check_result *res, hone_err *err)
{
    taken t = { .ref = ref };
    t.pooled = malloc(ref->width * sizeof *t.pooled);
    t.theirs = malloc(ref->width * sizeof *t.theirs);
    hone_code code = t.pooled && t.theirs ? compare(c, how, &t, res, err) : HONE_NOMEM(err, "comparing embeddings");
    res->kld_mean = res->kld_max = res->top1 = res->greedy_steps = hone_metric_none("an encoder has no logits");
    free(t.pooled);
    free(t.theirs);
    return code;
}
