/* seen.c - the rows that weight matrices are multiplied with, as sums, maxima and Hessians.  Every sum is taken in the order of the text, so that
 * threads do not show. */
#include "flow/calibrate/parts.h"
#include "formats/gguf/names.h"
#include <math.h>
#include <stdlib.h>

enum { PROBE_TOKENS = 16 };

/* --- which weights, and what they share ---------------------------------------------------------------------------------- */
static hone_code keep_weight(hone_calib *c, const hone_calib_weight *w, hone_err *err)
{
    if (c->n_weights == c->weights_cap) {
        size_t             cap = c->weights_cap ? 2 * c->weights_cap : 64;
        hone_calib_weight *more = HONE_ARENA_NEW(&c->arena, hone_calib_weight, cap); /* the old list stays in the arena: at most as much again */
        if (!more) return HONE_NOMEM(err, "the list of weights");
        if (c->n_weights) memcpy(more, c->weights, c->n_weights * sizeof *more);
        c->weights = more;
        c->weights_cap = cap;
    }
    c->weights[c->n_weights++] = *w;
    return HONE_OK;
}

static void found(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts)
{
    hone_calib       *c = user;
    hone_calib_weight w = { .n_mats = (uint32_t)n_mats, .n_cols = (uint32_t)n_cols };
    hone_part         part;
    if (c->failed.code || !hone_gguf_tensor_role(name, &w.role, &part, &w.layer) || part != HONE_PART_WEIGHT) return;
    if (n_mats > UINT32_MAX || n_cols > UINT32_MAX) {
        (void)HONE_FAIL(&c->failed, HONE_ERUNTIME, "", "the runtime shows an input of an impossible shape");
        return;
    }
    const size_t n = n_mats * n_cols;
    float       *sums = HONE_ARENA_NEW(&c->arena, float, n);
    uint64_t    *rows = HONE_ARENA_NEW(&c->arena, uint64_t, n_mats);
    w.name = hone_arena_strdup(&c->arena, name);
    if (!sums || !rows || !w.name) {
        (void)HONE_NOMEM(&c->failed, "statistics");
        return;
    }
    memcpy(sums, sum_sq, n * sizeof *sums);
    memcpy(rows, counts, n_mats * sizeof *rows);
    w.probe = sums;
    w.probe_counts = rows;
    if (w.role == HONE_R_TOK_EMBD) { /* it is multiplied only where it stands for the output */
        w.role = HONE_R_OUTPUT;
        c->tied = true;
    }
    (void)keep_weight(c, &w, &c->failed);
}

static int by_place(const void *x, const void *y)
{
    const hone_calib_weight *a = x, *b = y;
    if (a->layer != b->layer) return a->layer < b->layer ? -1 : 1;
    return (a->role > b->role) - (a->role < b->role);
}

/* Whether the roles say that two weights share an input; the file that is written says so by the same rule. */
static bool same_input(const hone_calib_weight *a, const hone_calib_weight *b)
{
    return a->layer == b->layer && hone_role_shares_input(a->role, b->role) && a->n_mats == b->n_mats && a->n_cols == b->n_cols;
}

/* ... and the runtime must agree. */
static hone_code check_same(const hone_calib_weight *a, const hone_calib_weight *b, hone_err *err)
{
    if (memcmp(a->probe, b->probe, (size_t)a->n_mats * a->n_cols * sizeof *a->probe) == 0 &&
        memcmp(a->probe_counts, b->probe_counts, a->n_mats * sizeof *a->probe_counts) == 0)
        return HONE_OK;
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "llama.cpp multiplies '%s' and '%s' with different rows, hone takes them for the same", a->name, b->name);
}

static hone_code new_input(hone_calib *c, const hone_calib_weight *w, hone_err *err)
{
    const size_t      n = (size_t)w->n_mats * w->n_cols;
    hone_calib_input *in = &c->inputs[c->n_inputs++];
    *in = (hone_calib_input){ .name = w->name, .role = w->role, .layer = w->layer, .n_mats = w->n_mats, .n_cols = w->n_cols, .unit0 = c->n_units };
    c->n_units += w->n_mats;
    in->sum_sq = HONE_ARENA_NEW(&c->arena, double, n);
    in->sum_abs = HONE_ARENA_NEW(&c->arena, double, n);
    in->sum = HONE_ARENA_NEW(&c->arena, double, n);
    in->max_abs = HONE_ARENA_NEW(&c->arena, float, n);
    in->counts = HONE_ARENA_NEW(&c->arena, uint64_t, w->n_mats);
    in->by_text = HONE_ARENA_NEW(&c->arena, uint64_t, c->opt->n_texts * w->n_mats);
    return in->sum_sq && in->sum_abs && in->sum && in->max_abs && in->counts && in->by_text ? HONE_OK : HONE_NOMEM(err, "statistics");
}

/* ids: of one chunk, as it goes to the runtime. */
static void chunk_ids(const hone_calib *c, const hone_calib_text *t, uint32_t chunk, int32_t *ids, size_t *n)
{
    const hone_backend_info *i = &c->child.info;
    const size_t             at = (size_t)chunk * c->context;
    *n = t->used - at < c->context ? t->used - at : c->context;
    memcpy(ids, t->ids + at, *n * sizeof *ids);
    if (i->add_bos && i->bos >= 0) ids[0] = i->bos; /* imatrix.cpp, compute_imatrix: it takes the place of a token */
    if (i->add_eos && i->eos >= 0) ids[*n - 1] = i->eos;
}

hone_code hone_calib_discover(hone_calib *c, hone_err *err)
{
    int32_t *ids = HONE_ARENA_NEW(&c->arena, int32_t, c->context);
    size_t   n = 0;
    if (!ids) return HONE_NOMEM(err, "tokens");
    chunk_ids(c, &c->texts[0], 0, ids, &n);
    HONE_TRY(hone_runner_capture(c->child.runner, ids, n < PROBE_TOKENS ? n : PROBE_TOKENS, found, c, err));
    if (c->failed.code) {
        if (err) *err = c->failed;
        return c->failed.code;
    }
    if (c->n_weights == 0) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "llama.cpp shows no weight of this model that hone knows");
    qsort(c->weights, c->n_weights, sizeof *c->weights, by_place);
    c->inputs = HONE_ARENA_NEW(&c->arena, hone_calib_input, c->n_weights);
    c->asked = HONE_ARENA_NEW(&c->arena, size_t, c->n_weights);
    if (!c->inputs || !c->asked) return HONE_NOMEM(err, "statistics");
    for (size_t i = 0; i < c->n_weights; i++) {
        size_t like = 0;
        while (like < i && !same_input(&c->weights[like], &c->weights[i])) like++;
        c->weights[i].input = like < i ? c->weights[like].input : c->n_inputs;
        if (like == i) HONE_TRY(new_input(c, &c->weights[i], err));
        else HONE_TRY(check_same(&c->weights[like], &c->weights[i], err));
    }
    return HONE_OK;
}

uint64_t hone_calib_hessian_bytes(const hone_calib *c)
{
    uint64_t all = 0;
    for (size_t i = 0; i < c->n_inputs; i++) all += c->inputs[i].n_mats * ((uint64_t)c->inputs[i].n_cols * ((uint64_t)c->inputs[i].n_cols + 1) / 2) * sizeof(float);
    return all;
}

/* --- rows ------------------------------------------------------------------------------------------------------------------ */
static bool add_sums(hone_calib_input *in, size_t mat, const float *x, uint64_t *by_text)
{
    double *sq = in->sum_sq + mat * in->n_cols, *mag = in->sum_abs + mat * in->n_cols, *sum = in->sum + mat * in->n_cols;
    float  *top = in->max_abs + mat * in->n_cols;
    float   check = 0;
    for (size_t j = 0; j < in->n_cols; j++) {
        const float v = x[j], m = fabsf(v);
        sq[j] += (double)v * (double)v;
        mag[j] += (double)m;
        sum[j] += (double)v;
        top[j] = m > top[j] ? m : top[j];
        check += v - v; /* 0, or NaN when a value is no finite number */
    }
    in->counts[mat]++;
    by_text[mat]++;
    return check == 0;
}

static void take(void *user, size_t name, const float *rows, size_t n_rows, size_t n_cols, size_t n_mats, const uint32_t *mats)
{
    hone_calib *c = user;
    if (c->failed.code || name >= c->n_asked) return;
    hone_calib_input *in = &c->inputs[c->asked[name]];
    uint64_t         *by_text = in->by_text + c->text * in->n_mats;
    if (n_cols != in->n_cols || n_mats != in->n_mats) {
        (void)HONE_FAIL(&c->failed, HONE_ERUNTIME, "", "'%s' has %zu inputs of %zu columns, had %u of %u before", in->name, n_mats, n_cols, in->n_mats, in->n_cols);
        return;
    }
    for (size_t r = 0; r < n_rows; r++) {
        const size_t mat = mats ? mats[r] : 0, unit = in->unit0 + mat;
        const float *x = rows + r * n_cols;
        if (c->summing && !add_sums(in, mat, x, by_text)) {
            (void)HONE_FAIL(&c->failed, HONE_ERUNTIME, "the model may be too large for its own number type: try a source in bf16 or f32",
                            "an input of '%s' is not finite", in->name);
            return;
        }
        if (unit >= c->unit_from && unit < c->unit_to && hone_gram_add(&c->grams[unit - c->unit_from], c->ctx, x, &c->failed) != HONE_OK) return;
    }
}

/* --- passes ------------------------------------------------------------------------------------------------------------------ */
static uint32_t cols_of_unit(const hone_calib *c, size_t unit, size_t *input)
{
    size_t i = c->n_inputs;
    while (c->inputs[--i].unit0 > unit) continue;
    *input = i;
    return c->inputs[i].n_cols;
}

static void drop_grams(hone_calib *c)
{
    for (size_t i = 0; c->grams && i < c->unit_to - c->unit_from; i++) hone_gram_release(&c->grams[i]);
    free(c->grams);
    c->grams = NULL;
    c->unit_from = c->unit_to = 0;
}

/* As many Hessians from `unit` on as fit the budget, one at least. */
static hone_code hold_grams(hone_calib *c, size_t unit, hone_err *err)
{
    size_t   end = unit, input;
    uint64_t bytes = 0;
    drop_grams(c);
    while (end < c->n_units) {
        uint64_t more = hone_gram_bytes(cols_of_unit(c, end, &input));
        if (end > unit && more > c->budget - bytes) break;
        bytes += more;
        end++;
        if (bytes > c->budget) break;
    }
    c->grams = calloc(end - unit, sizeof *c->grams);
    if (!c->grams) return HONE_NOMEM(err, "Hessians");
    c->unit_from = unit;
    c->unit_to = end;
    for (size_t i = unit; i < end; i++) HONE_TRY(hone_gram_init(&c->grams[i - unit], cols_of_unit(c, i, &input), err));
    return HONE_OK;
}

/* All texts once. */
static hone_code pass(hone_calib *c, hone_err *err)
{
    const char **names = HONE_ARENA_NEW(&c->arena, const char *, c->n_inputs);
    int32_t     *ids = HONE_ARENA_NEW(&c->arena, int32_t, c->context);
    uint64_t     done = 0, total = 0;
    if (!names || !ids) return HONE_NOMEM(err, "a pass over the text");
    c->n_asked = 0;
    for (size_t i = 0; i < c->n_inputs; i++) {
        const hone_calib_input *in = &c->inputs[i];
        if (!c->summing && (in->unit0 + in->n_mats <= c->unit_from || in->unit0 >= c->unit_to)) continue;
        names[c->n_asked] = in->name;
        c->asked[c->n_asked++] = i;
    }
    for (size_t i = 0; i < c->opt->n_texts; i++) total += c->texts[i].used;
    c->passes++;
    if (c->passes_expected > 1) hone_event_step(c->ctx, "running %llu tokens, pass %u", (unsigned long long)total, c->passes);
    else hone_event_step(c->ctx, "running %llu tokens", (unsigned long long)total);
    for (c->text = 0; c->text < c->opt->n_texts; c->text++) {
        for (uint32_t k = 0; k < c->texts[c->text].n_chunks; k++) {
            size_t n = 0;
            chunk_ids(c, &c->texts[c->text], k, ids, &n);
            HONE_TRY(hone_runner_inputs(c->child.runner, ids, n, names, c->n_asked, take, c, err));
            if (c->failed.code) {
                if (err) *err = c->failed;
                return c->failed.code;
            }
            done += n;
            hone_event_progress(c->ctx, "tokens", done, total);
        }
    }
    return HONE_OK;
}

hone_code hone_calib_run(hone_calib *c, hone_err *err)
{
    uint64_t all = 0;
    size_t   input;
    c->summing = true;
    for (size_t u = 0; c->opt->hessian && u < c->n_units; u++) all += hone_gram_bytes(cols_of_unit(c, u, &input));
    c->passes_expected = all > c->budget ? 2 : 1;
    if (c->opt->hessian) HONE_TRY(hold_grams(c, 0, err));
    hone_code code = pass(c, err);
    c->summing = false;
    return code;
}

/* hone_stats.hessian: asked for in the order of the file, so that a new pass begins where the last one had to end. */
static hone_code hessian(const hone_stats *s, const hone_input_stats *of, uint32_t mat, float *out, hone_err *err)
{
    hone_calib             *c = s->self;
    const hone_calib_input *in = &c->inputs[c->weights[of - s->inputs].input];
    const size_t            unit = in->unit0 + mat;
    if (unit < c->unit_from || unit >= c->unit_to) {
        HONE_TRY(hold_grams(c, unit, err));
        HONE_TRY(pass(c, err));
    }
    hone_gram *g = &c->grams[unit - c->unit_from];
    if (g->rows != in->counts[mat])
        return HONE_FAIL(err, HONE_ERUNTIME, "", "'%s' was given %llu rows in one pass over the text and %llu in another", in->name,
                         (unsigned long long)in->counts[mat], (unsigned long long)g->rows);
    return hone_gram_take(g, c->ctx, out, err);
}

static const float *narrow(hone_calib *c, const double *v, size_t n)
{
    float *out = HONE_ARENA_NEW(&c->arena, float, n);
    for (size_t i = 0; out && i < n; i++) out[i] = (float)v[i];
    return out;
}

hone_code hone_calib_stats(hone_calib *c, hone_stats *out, hone_err *err)
{
    hone_input_stats *list = HONE_ARENA_NEW(&c->arena, hone_input_stats, c->n_weights);
    if (!list) return HONE_NOMEM(err, "statistics");
    for (size_t i = 0; i < c->n_weights; i++) {
        const hone_calib_weight *w = &c->weights[i];
        const hone_calib_input  *in = &c->inputs[w->input];
        const size_t             n = (size_t)in->n_mats * in->n_cols;
        size_t                   first = 0;
        while (c->weights[first].input != w->input) first++;
        list[i] = (hone_input_stats){ .role = w->role, .layer = w->layer, .n_mats = in->n_mats, .n_cols = in->n_cols, .max_abs = in->max_abs,
                                      .counts = in->counts, .hessian = c->opt->hessian };
        list[i].sum_sq = first < i ? list[first].sum_sq : narrow(c, in->sum_sq, n);
        list[i].sum_abs = first < i ? list[first].sum_abs : narrow(c, in->sum_abs, n);
        list[i].sum = first < i ? list[first].sum : narrow(c, in->sum, n);
        if (!list[i].sum_sq || !list[i].sum_abs || !list[i].sum) return HONE_NOMEM(err, "statistics");
    }
    *out = (hone_stats){ .inputs = list, .n_inputs = c->n_weights, .hessian = c->opt->hessian ? hessian : NULL, .self = c };
    return HONE_OK;
}
