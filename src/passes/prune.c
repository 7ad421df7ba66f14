#include "passes/prune.h"
#include "passes/prune/scores.h"
#include <math.h>
#include <stdlib.h>

static const char *const names[HONE_PRUNE_COUNT] = { "magnitude", "wanda", "2:4", "heads", "ffn", "layers", "experts" };

const char *hone_prune_name(hone_prune_method m) { return names[m]; }

bool hone_prune_find(const char *name, hone_prune_method *out)
{
    for (int i = 0; i < HONE_PRUNE_COUNT; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (hone_prune_method)i;
            return true;
        }
    return false;
}

typedef struct pruner {
    const hone_ctx   *ctx;
    const hone_model *m;
    hone_prune_method method;
    double            share;
    const hone_stats *stats;
    hone_arena       *a;
    hone_pruned      *out;
    uint32_t          units, keep; /* of each layer; of LAYERS: of the model */
    uint32_t         *kept;        /* [n_layers, keep] ascending; of LAYERS: [keep] */
} pruner;

/* ---- single weights ---- */

/* The matrices that calibrated pruning prunes: the linear layers of the blocks.  Embeddings, head, router and norms stay. */
static bool may_mask(const hone_weight *w)
{
    if (w->part != HONE_PART_WEIGHT) return false;
    switch (w->role) {
    case HONE_R_ATTN_Q: case HONE_R_ATTN_K: case HONE_R_ATTN_V: case HONE_R_ATTN_QKV: case HONE_R_ATTN_OUT:
    case HONE_R_FFN_GATE: case HONE_R_FFN_UP: case HONE_R_FFN_GATE_UP: case HONE_R_FFN_DOWN:
    case HONE_R_FFN_GATE_EXPS: case HONE_R_FFN_UP_EXPS: case HONE_R_FFN_DOWN_EXPS: return true;
    default: return false;
    }
}

/* Norms of the inputs, [matrices, columns]; NULL where nothing was seen. */
static hone_code input_norms(const pruner *p, const hone_weight *w, const float **out, hone_err *err)
{
    const hone_input_stats *in = hone_stats_find(p->stats, w->role, w->layer);
    uint64_t                cols = hone_weight_cols(w);
    uint32_t                mats = w->n_dims == 3 ? (uint32_t)w->dims[0] : 1;
    *out = NULL;
    if (!in || in->n_cols != cols || (in->n_mats != mats && in->n_mats != 1)) {
        if (p->method == HONE_PRUNE_2_4) return HONE_OK;
        return HONE_FAIL(err, HONE_EINPUT, "hone calibrate SRC --data FILE -o stats.gguf makes them; without, take --prune-method magnitude",
                         "wanda needs statistics of the input of %s in layer %d, there are none", hone_role_name(w->role), (int)w->layer);
    }
    float *norms = HONE_ARENA_NEW(p->a, float, mats * cols + 1);
    if (!norms) return HONE_NOMEM(err, "statistics");
    for (uint32_t e = 0; e < mats; e++) {
        float *n = norms + e * cols;
        hone_stats_mean_sq(in, in->n_mats == mats ? e : 0, n);
        for (uint64_t j = 0; j < cols; j++) n[j] = sqrtf(n[j]);
    }
    *out = norms;
    return HONE_OK;
}

static hone_code mask_all(pruner *p, hone_err *err)
{
    for (size_t i = 0; i < p->out->n; i++) {
        hone_change *c = &p->out->changes[i];
        if (!may_mask(c->from)) continue;
        c->mask = p->method == HONE_PRUNE_2_4 ? HONE_MASK_2_4 : HONE_MASK_ROW;
        c->share = p->share;
        if (p->method == HONE_PRUNE_WANDA || (p->method == HONE_PRUNE_2_4 && p->stats)) HONE_TRY(input_norms(p, c->from, &c->importance, err));
    }
    p->out->share = p->method == HONE_PRUNE_2_4 ? 0.5 : p->share;
    return HONE_OK;
}

/* ---- how much of what is cut ---- */

static const char *unit_name(hone_prune_method m)
{
    return m == HONE_PRUNE_HEADS ? "key-value heads" : m == HONE_PRUNE_FFN ? "feed-forward channels" : m == HONE_PRUNE_LAYERS ? "layers" : "experts";
}

static uint32_t units_of(const pruner *p) { return p->method == HONE_PRUNE_LAYERS ? p->m->facts.n_layers : hone_prune_units(&p->m->facts, p->method); }

/* Channels stay a multiple of what block codecs and groups want: the largest that the model has now and that moves the cut by no more than 2 %. */
static uint32_t channels_to_keep(const pruner *p, uint32_t all)
{
    static const uint32_t blocks[] = { 256, 128, 64, 32 };
    double                want = (1 - p->share) * all;
    for (size_t i = 0; i < HONE_COUNT(blocks); i++) {
        double near = floor(want / blocks[i] + 0.5) * blocks[i];
        if (all % blocks[i] == 0 && fabs(near - want) <= 0.02 * all && near > 0 && near < all) return (uint32_t)near;
    }
    double near = all % 32 == 0 ? floor(want / 32 + 0.5) * 32 : floor(want + 0.5);
    return near < 1 ? 0 : (uint32_t)near;
}

static hone_code decide(pruner *p, hone_err *err)
{
    const hone_facts *f = &p->m->facts;
    uint32_t          all = units_of(p), least = p->method == HONE_PRUNE_EXPERTS ? f->n_experts_used : p->method == HONE_PRUNE_FFN && all % 32 == 0 ? 32 : 1;
    if (p->method == HONE_PRUNE_EXPERTS && !f->n_experts) return HONE_FAIL(err, HONE_EUNSUPPORTED, "take ffn, heads or layers", "the model has no experts");
    if (p->method == HONE_PRUNE_FFN && f->n_experts)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "take experts", "the feed-forward is made of experts: whole ones can leave, not channels");
    double   want = (1 - p->share) * all;
    uint32_t keep = p->method == HONE_PRUNE_FFN ? channels_to_keep(p, all) : (uint32_t)floor(want + 0.5);
    if (keep < least) keep = least;
    if (keep >= all) {
        char remedy[80];
        uint32_t step = p->method == HONE_PRUNE_FFN ? 32 : 1;
        (void)snprintf(remedy, sizeof remedy, all > least ? "the least is --prune %.3g" : "take another method", (double)step / all);
        return HONE_FAIL(err, HONE_EUSAGE, remedy, "%g of %u %s is not one of them that may leave", p->share, all, unit_name(p->method));
    }
    if (fabs(keep - want) > 0.5 / all || keep != want) {
        p->out->note = hone_arena_printf(p->a, "--prune %g of %u %s was rounded: %u stay", p->share, all, unit_name(p->method), keep);
        if (!p->out->note) return HONE_NOMEM(err, "a note");
    }
    p->keep = keep;
    p->out->was = all;
    p->out->is = keep;
    p->out->share = 1 - (double)keep / all;
    return HONE_OK;
}

/* ---- which stay ---- */

typedef struct scored { double score; uint32_t unit; } scored;

static int best_first(const void *x, const void *y)
{
    const scored *a = x, *b = y;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return a->unit < b->unit ? -1 : a->unit > b->unit;
}

static int ascending(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return a < b ? -1 : a > b;
}

static hone_code choose_units(pruner *p, const double *scores, hone_err *err)
{
    uint32_t layers = p->m->facts.n_layers;
    scored  *order = HONE_ARENA_NEW(p->a, scored, p->units);
    p->kept = HONE_ARENA_NEW(p->a, uint32_t, (size_t)layers * p->keep);
    if (!order || !p->kept) return HONE_NOMEM(err, "scores");
    for (uint32_t l = 0; l < layers; l++) {
        uint32_t *kept = p->kept + (size_t)l * p->keep;
        for (uint32_t k = 0; k < p->units; k++) order[k] = (scored){ scores[(size_t)l * p->units + k], k };
        qsort(order, p->units, sizeof *order, best_first);
        for (uint32_t k = 0; k < p->keep; k++) kept[k] = order[k].unit;
        qsort(kept, p->keep, sizeof *kept, ascending);
    }
    return HONE_OK;
}

/* What tells layers of one model apart: window and rotation. */
static unsigned kind_of(const hone_facts *f, uint32_t l)
{
    return (f->window && (!f->windowed || f->windowed[l]) ? 1u : 0u) | (f->no_rope && f->no_rope[l] ? 2u : 0u);
}

static bool layers_differ(const hone_facts *f)
{
    for (uint32_t l = 1; l < f->n_layers; l++)
        if (kind_of(f, l) != kind_of(f, 0)) return true;
    return false;
}

/* True when the layers after a gap of n at `at` come to stand where layers of their own kind stood. */
static bool pattern_survives(const hone_facts *f, uint32_t at, uint32_t n)
{
    for (uint32_t l = at; l + n < f->n_layers; l++)
        if (kind_of(f, l) != kind_of(f, l + n)) return false;
    return true;
}

/* The n layers one after another that matter least, so that a pattern of windows goes on as it was. */
static hone_code choose_run(pruner *p, const double *scores, uint32_t *n, uint32_t *at, hone_err *err)
{
    const hone_facts *f = &p->m->facts;
    for (; *n > 0; --*n) {
        double best = 0;
        bool   found = false;
        for (uint32_t i = 1; i + *n < f->n_layers; i++) {
            double sum = 0;
            for (uint32_t k = 0; k < *n; k++) sum += scores[i + k];
            if (!pattern_survives(f, i, *n) || (found && sum >= best)) continue;
            found = true;
            best = sum;
            *at = i;
        }
        if (found) return HONE_OK;
    }
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "a larger --prune may take a whole period of the pattern; or take ffn or heads",
                     "layers differ (window, rotation) in a pattern that no cut of up to %u layers leaves whole", p->out->was - p->keep);
}

/* ShortGPT's relative magnitude needs the scale of the stream: what all layers up to here have added. */
static void make_relative(double *scores, uint32_t n)
{
    double stream = 0;
    for (uint32_t l = 0; l < n; l++) {
        stream += scores[l];
        scores[l] = stream > 0 ? scores[l] / stream : 0;
    }
}

static hone_code choose_layers(pruner *p, double *scores, hone_err *err)
{
    const hone_facts *f = &p->m->facts;
    uint32_t          gone = f->n_layers - p->keep, at = 0;
    scored           *order = HONE_ARENA_NEW(p->a, scored, f->n_layers);
    p->kept = HONE_ARENA_NEW(p->a, uint32_t, f->n_layers);
    if (!order || !p->kept) return HONE_NOMEM(err, "scores");
    if (p->stats || f->norm_post) make_relative(scores, f->n_layers);
    if (layers_differ(f)) {
        HONE_TRY(choose_run(p, scores, &gone, &at, err));
        if (f->n_layers - gone != p->keep) {
            p->keep = p->out->is = f->n_layers - gone;
            p->out->share = (double)gone / f->n_layers;
            p->out->note = hone_arena_printf(p->a, "--prune %g of %u layers was rounded to %u, so that the pattern of windows and rotation goes on", p->share, f->n_layers, gone);
            if (!p->out->note) return HONE_NOMEM(err, "a note");
        }
        for (uint32_t l = 0; l < p->keep; l++) p->kept[l] = l < at ? l : l + gone;
        return HONE_OK;
    }
    /* The first layer and the last turn tokens into a stream and a stream into tokens: they leave last of all. */
    for (uint32_t l = 0; l < f->n_layers; l++) order[l] = (scored){ l == 0 || l + 1 == f->n_layers ? INFINITY : scores[l], l };
    qsort(order, f->n_layers, sizeof *order, best_first);
    for (uint32_t k = 0; k < p->keep; k++) p->kept[k] = order[k].unit;
    qsort(p->kept, p->keep, sizeof *p->kept, ascending);
    return HONE_OK;
}

/* ---- the cut as changes ---- */

/* Indices of `runs` runs of `each` elements, run kept[i] of a list that begins at `first`. */
static uint32_t *add_runs(uint32_t *to, uint64_t first, const uint32_t *kept, uint32_t runs, uint64_t each)
{
    for (uint32_t i = 0; i < runs; i++)
        for (uint64_t k = 0; k < each; k++) *to++ = (uint32_t)(first + kept[i] * each + k);
    return to;
}

/* A list of the elements that stay along one dimension goes to the rows of a matrix or to the columns of a vector. */
static void select_outer(hone_change *c, const uint32_t *list, uint64_t n)
{
    uint32_t dims = c->from->n_dims;
    if (dims == 1) c->cols = list;
    else c->rows = list;
    c->dims[dims == 1 ? 0 : dims - 2] = n;
}

static void select_inner(hone_change *c, const uint32_t *list, uint64_t n)
{
    c->cols = list;
    c->dims[c->from->n_dims - 1] = n;
}

static hone_code cut_heads(const pruner *p, hone_change *c, const uint32_t *kept, hone_err *err)
{
    const hone_facts *f = &p->m->facts;
    uint64_t          dim = f->head_dim, group = f->n_heads / f->n_kv_heads * dim, q = f->n_heads * dim, kv = f->n_kv_heads * dim;
    uint64_t          new_q = p->keep * group, new_kv = p->keep * dim;
    uint32_t         *list = HONE_ARENA_NEW(p->a, uint32_t, new_q + 2 * new_kv), *end;
    if (!list) return HONE_NOMEM(err, "a selection");
    bool norm = c->from->role == HONE_R_ATTN_Q_NORM || c->from->role == HONE_R_ATTN_K_NORM;
    if (norm && c->from->n_dims == 1 && !f->qk_norm_full) return HONE_OK; /* one for all heads */
    switch (c->from->role) {
    case HONE_R_ATTN_Q:
    case HONE_R_ATTN_Q_NORM:
        if (norm && c->from->n_dims == 2) { /* a row for each head */
            select_outer(c, list, (uint64_t)(add_runs(list, 0, kept, p->keep, group / dim) - list));
            return HONE_OK;
        }
        add_runs(list, 0, kept, p->keep, group);
        select_outer(c, list, new_q);
        return HONE_OK;
    case HONE_R_ATTN_K:
    case HONE_R_ATTN_V:
    case HONE_R_ATTN_K_NORM:
        if (norm && c->from->n_dims == 2) {
            add_runs(list, 0, kept, p->keep, 1);
            select_outer(c, list, p->keep);
            return HONE_OK;
        }
        add_runs(list, 0, kept, p->keep, dim);
        select_outer(c, list, new_kv);
        return HONE_OK;
    case HONE_R_ATTN_QKV:
        end = add_runs(list, 0, kept, p->keep, group);
        end = add_runs(end, q, kept, p->keep, dim);
        (void)add_runs(end, q + kv, kept, p->keep, dim);
        select_outer(c, list, new_q + 2 * new_kv);
        return HONE_OK;
    case HONE_R_ATTN_OUT:
        if (c->from->part == HONE_PART_BIAS) return HONE_OK;
        add_runs(list, 0, kept, p->keep, group);
        select_inner(c, list, new_q);
        return HONE_OK;
    default: return HONE_OK;
    }
}

static hone_code cut_channels(const pruner *p, hone_change *c, const uint32_t *kept, hone_err *err)
{
    uint32_t *list;
    switch (c->from->role) {
    case HONE_R_FFN_GATE:
    case HONE_R_FFN_UP: select_outer(c, kept, p->keep); return HONE_OK;
    case HONE_R_FFN_GATE_UP:
        list = HONE_ARENA_NEW(p->a, uint32_t, 2 * (size_t)p->keep);
        if (!list) return HONE_NOMEM(err, "a selection");
        (void)add_runs(add_runs(list, 0, kept, p->keep, 1), p->m->facts.ffn, kept, p->keep, 1);
        select_outer(c, list, 2 * (uint64_t)p->keep);
        return HONE_OK;
    case HONE_R_FFN_DOWN:
        if (c->from->part == HONE_PART_WEIGHT) select_inner(c, kept, p->keep);
        return HONE_OK;
    default: return HONE_OK;
    }
}

static hone_code cut_experts(const pruner *p, hone_change *c, const uint32_t *kept, hone_err *err)
{
    switch (c->from->role) {
    case HONE_R_FFN_ROUTER: select_outer(c, kept, p->keep); return HONE_OK;
    case HONE_R_FFN_GATE_EXPS:
    case HONE_R_FFN_UP_EXPS:
    case HONE_R_FFN_DOWN_EXPS: {
        uint64_t  each = c->from->n_dims == 3 ? c->from->dims[1] : 1;
        uint32_t *list = HONE_ARENA_NEW(p->a, uint32_t, p->keep * each);
        if (!list) return HONE_NOMEM(err, "a selection");
        (void)add_runs(list, 0, kept, p->keep, each);
        c->rows = list;
        c->dims[0] = p->keep;
        return HONE_OK;
    }
    default: return HONE_OK;
    }
}

static hone_code cut_all(pruner *p, hone_err *err)
{
    hone_pruned *o = p->out;
    size_t       n = 0;
    for (size_t i = 0; i < o->n; i++) {
        hone_change     c = o->changes[i];
        const uint32_t *kept = c.layer >= 0 && p->method != HONE_PRUNE_LAYERS ? p->kept + (size_t)c.layer * p->keep : NULL;
        if (p->method == HONE_PRUNE_LAYERS && c.layer >= 0) {
            uint32_t at = 0;
            while (at < p->keep && p->kept[at] != (uint32_t)c.layer) at++;
            if (at == p->keep) continue;
            c.layer = (int32_t)at;
        } else if (kept && p->method == HONE_PRUNE_HEADS) HONE_TRY(cut_heads(p, &c, kept, err));
        else if (kept && p->method == HONE_PRUNE_FFN) HONE_TRY(cut_channels(p, &c, kept, err));
        else if (kept && p->method == HONE_PRUNE_EXPERTS) HONE_TRY(cut_experts(p, &c, kept, err));
        o->changes[n++] = c;
    }
    o->n = n;
    if (p->method == HONE_PRUNE_HEADS) {
        o->n_heads = p->keep * (o->n_heads / o->n_kv_heads);
        o->n_kv_heads = p->keep;
    }
    if (p->method == HONE_PRUNE_FFN) o->ffn = p->keep;
    if (p->method == HONE_PRUNE_EXPERTS) o->n_experts = p->keep;
    if (p->method != HONE_PRUNE_LAYERS) return HONE_OK;
    o->layers = p->kept;
    o->n_layers = p->keep;
    return HONE_OK;
}

static hone_code cut(pruner *p, hone_err *err)
{
    double *scores;
    HONE_TRY(decide(p, err));
    p->units = hone_prune_units(&p->m->facts, p->method);
    HONE_TRY(hone_prune_scores(p->ctx, p->m, p->method, p->stats, p->a, &scores, err));
    HONE_TRY(p->method == HONE_PRUNE_LAYERS ? choose_layers(p, scores, err) : choose_units(p, scores, err));
    return cut_all(p, err);
}

hone_code hone_prune(const hone_ctx *ctx, const hone_model *m, hone_prune_method method, double share, const hone_stats *stats, hone_arena *a,
                     hone_pruned *out, hone_err *err)
{
    const hone_facts *f = &m->facts;
    hone_pruned       made = { .n = m->n_weights, .n_layers = f->n_layers, .n_heads = f->n_heads, .n_kv_heads = f->n_kv_heads, .ffn = f->ffn,
                               .n_experts = f->n_experts };
    pruner            p = { .ctx = ctx, .m = m, .method = method, .share = share, .stats = stats, .a = a, .out = &made };
    uint32_t         *layers = HONE_ARENA_NEW(a, uint32_t, (size_t)f->n_layers + 1);
    made.changes = HONE_ARENA_NEW(a, hone_change, m->n_weights + 1);
    if (!layers || !made.changes) return HONE_NOMEM(err, "the weight list");
    for (uint32_t l = 0; l < f->n_layers; l++) layers[l] = l;
    made.layers = layers;
    for (size_t i = 0; i < m->n_weights; i++) made.changes[i] = hone_change_none(&m->weights[i]);
    HONE_TRY(hone_prune_is_structural(method) ? cut(&p, err) : mask_all(&p, err));
    *out = made;
    return HONE_OK;
}
