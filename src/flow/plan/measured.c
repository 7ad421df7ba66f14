/* measured.c - what coarse encodings of single weights do to a model in llama.cpp. */
#include "base/file.h"
#include "flow/plan/trial.h"
#include "measure/measure.h"
#include "passes/mix.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define AT_ONCE 6 /* files on disk beside the reference */

typedef struct trial_group { /* weights that are tried together: one role, layers first..last */
    hone_role role;
    int32_t   first, last;
    double    kld;
} trial_group;

typedef struct lab {
    const hone_ctx         *ctx;
    hone_ctx                quiet; /* for what is done many times */
    const hone_model       *m;
    const hone_sense_trial *t;
    const char             *plain; /* "bf16": the unquantised GGUF */
    hone_temp               dir;
    char                    reference[1200];
} lab;

/* ---- the folder ---- */

static hone_code lab_open(lab *l, hone_err *err)
{
    HONE_TRY(hone_dir_make(l->t->work_dir, err));
    return hone_temp_open(l->t->work_dir, ".hone-plan-", &l->dir, err);
}

static hone_code make_file(const lab *l, const char *name, const hone_plan *p, char *path, size_t cap, hone_err *err)
{
    return hone_trial_file(&l->quiet, l->m, l->t, &l->dir, name, l->plain, p, path, cap, err);
}

/* ---- measuring ---- */

typedef struct heard { hone_metric kld[AT_ONCE]; } heard;

static hone_code hear(void *user, size_t i, const hone_eval_result *res, const hone_err *failed, hone_err *err)
{
    heard *h = user;
    if (!res) {
        if (err) *err = *failed;
        return failed->code;
    }
    h->kld[i] = res->kld_mean;
    if (hone_metric_known(&res->kld_mean)) return HONE_OK;
    return HONE_FAIL(err, HONE_ERUNTIME, "give a longer text", "no KLD: %s", res->kld_mean.why);
}

static hone_code ask(const lab *l, const char *const *paths, size_t n, heard *h, hone_err *err)
{
    hone_eval_options o = { .text = l->t->text, .reference = l->reference, .max_tokens = l->t->max_tokens, .threads = 1 };
    return hone_eval_group(&l->quiet, &o, paths, n, hear, h, err);
}

static hone_code start(lab *l, hone_err *err)
{
    l->plain = hone_trial_plain(l->m);
    HONE_TRY(lab_open(l, err));
    return make_file(l, "reference", NULL, l->reference, sizeof l->reference, err);
}

/* Groups [at, at + n) coarse, each in a file of its own. */
static hone_code try_some(const lab *l, trial_group *g, size_t n, hone_err *err)
{
    char        path[AT_ONCE][1200], name[32];
    const char *paths[AT_ONCE];
    heard       h;
    hone_code   code = HONE_OK;
    for (size_t i = 0; i < n; i++) path[i][0] = 0;
    for (size_t i = 0; code == HONE_OK && i < n; i++) {
        hone_plan_line line = { .role = g[i].role, .first = g[i].first, .last = g[i].last, .bits = 3 };
        hone_plan      p = { .lines = &line, .n_lines = 1 };
        (void)snprintf(name, sizeof name, "trial%zu", i);
        paths[i] = path[i];
        code = make_file(l, name, &p, path[i], sizeof path[i], err);
    }
    if (code == HONE_OK) code = ask(l, paths, n, &h, err);
    for (size_t i = 0; code == HONE_OK && i < n; i++) g[i].kld = h.kld[i].value;
    for (size_t i = 0; i < n; i++) hone_trial_drop(path[i]);
    return code;
}

/* ---- groups ---- */

static bool in_group(const trial_group *g, const hone_weight *w) { return g->role == w->role && (g->first < 0 || (w->layer >= g->first && w->layer <= g->last)); }

/* Every weight alone when that is not too many; else `pieces` runs of layers for each role, as many as fit. */
static size_t make_groups(const hone_model *m, const hone_sense *s, size_t most, trial_group *out)
{
    uint32_t layers = m->facts.n_layers ? m->facts.n_layers : 1, pieces = layers;
    size_t   roles = 0, globals = 0, n = 0;
    bool     seen[HONE_R_COUNT] = { false };
    for (size_t i = 0; i < s->n; i++) {
        const hone_weight *w = s->weights[i].w;
        globals += w->layer < 0;
        roles += w->layer >= 0 && !seen[w->role];
        seen[w->role] = true;
    }
    while (pieces > 1 && globals + roles * pieces > most) pieces--;
    for (size_t i = 0; i < s->n; i++) {
        const hone_weight *w = s->weights[i].w;
        bool               have = false;
        uint32_t           at = w->layer < 0 ? 0 : (uint32_t)w->layer * pieces / layers;
        for (size_t k = 0; k < n; k++) have = have || in_group(&out[k], w);
        if (have) continue;
        trial_group g = { .role = w->role, .first = -1, .last = -1 };
        if (w->layer >= 0) { /* the layers l with l * pieces / layers == at */
            g.first = (int32_t)(((uint64_t)at * layers + pieces - 1) / pieces);
            g.last = (int32_t)((((uint64_t)at + 1) * layers + pieces - 1) / pieces) - 1;
        }
        out[n++] = g;
    }
    return n;
}

/* A group's KLD over its error is the factor of all in it. */
static void conclude(hone_sense *s, const trial_group *g)
{
    double error = 0;
    for (size_t i = 0; i < s->n; i++)
        if (in_group(g, s->weights[i].w)) error += s->weights[i].coarse.error;
    for (size_t i = 0; error > 0 && i < s->n; i++) {
        hone_sense_weight *w = &s->weights[i];
        if (!in_group(g, w->w)) continue;
        w->kld_coarse = fmax(g->kld, 1e-9);
        w->kld_per_error = w->kld_coarse / error;
    }
}

static hone_code run_all(lab *l, hone_sense *s, trial_group *g, size_t n, hone_err *err)
{
    HONE_TRY(start(l, err));
    for (size_t at = 0; at < n; at += AT_ONCE) {
        if (hone_ctx_cancelled(l->ctx)) return HONE_INTERRUPTED(err);
        HONE_TRY(try_some(l, g + at, n - at < AT_ONCE ? n - at : AT_ONCE, err));
        hone_event_progress(l->ctx, "weights", at + AT_ONCE < n ? at + AT_ONCE : n, n);
    }
    for (size_t i = 0; i < n; i++) conclude(s, &g[i]);
    return HONE_OK;
}

static lab lab_of(const hone_ctx *ctx, const hone_model *m, const hone_sense_trial *t)
{
    lab l = { .ctx = ctx, .m = m, .t = t };
    if (ctx) l.quiet = *ctx;
    l.quiet.on_event = NULL;
    return l;
}

hone_code hone_sense_measure(const hone_ctx *ctx, const hone_model *m, const hone_sense_trial *t, hone_sense *s, size_t *tried, hone_err *err)
{
    lab          l = lab_of(ctx, m, t);
    trial_group *g = calloc(s->n + 1, sizeof *g);
    if (!g) return HONE_NOMEM(err, "the plan");
    *tried = make_groups(m, s, t->max_trials, g);
    hone_event_step(ctx, "measuring what %zu coarse %s to the model", *tried, *tried == s->n ? "weights do" : "groups of weights do");
    hone_code code = run_all(&l, s, g, *tried, err);
    hone_temp_close(&l.dir);
    free(g);
    return code;
}
