#include "passes/prune/scores.h"
#include "base/pool.h"
#include "quant/weight.h"
#include <stdlib.h>

typedef struct job {
    const hone_model *m;
    hone_prune_method method;
    const hone_stats *stats;
    uint32_t          units;
    double           *out;
} job;

uint32_t hone_prune_units(const hone_facts *f, hone_prune_method method)
{
    switch (method) {
    case HONE_PRUNE_HEADS: return f->n_kv_heads;
    case HONE_PRUNE_FFN: return f->ffn;
    case HONE_PRUNE_EXPERTS: return f->n_experts;
    default: return 1;
    }
}

/* Sums of squares of the rows of w, and of the columns of each of its matrices; NULL: not wanted. */
static hone_code energies(const hone_model *m, const hone_weight *w, double *rows, double *cols, hone_err *err)
{
    uint64_t n = hone_weight_rows(w), width = hone_weight_cols(w), per_mat = w->n_dims == 3 && w->dims[0] ? n / w->dims[0] : n;
    uint64_t some = width && width < 65536 ? 65536 / width : 1;
    size_t   floats = (size_t)(some * width * sizeof(float) + 63) & ~(size_t)63;
    float   *x = aligned_alloc(64, (floats + hone_weight_scratch(w, some) + 127) & ~(size_t)63);
    if (!x) return HONE_NOMEM(err, "rows of a weight");
    hone_code code = HONE_OK;
    for (uint64_t row = 0; code == HONE_OK && row < n; row += some) {
        uint64_t count = n - row < some ? n - row : some;
        code = hone_weight_read(m->source, w, row, count, x, (uint8_t *)x + floats, err);
        for (uint64_t i = 0; code == HONE_OK && i < count; i++)
            for (uint64_t j = 0; j < width; j++) {
                double v = x[i * width + j];
                if (rows) rows[row + i] += v * v;
                if (cols) cols[(row + i) / per_mat * width + j] += v * v;
            }
    }
    free(x);
    return code;
}

static const hone_weight *weight_of(const hone_model *m, hone_role role, uint32_t layer) { return hone_model_find(m, role, HONE_PART_WEIGHT, (int32_t)layer); }

/* Times the mean square of column j of matrix mat, or of all tokens when of_all. */
static void times_input(double *cols, const hone_input_stats *in, uint32_t mats, uint64_t n, bool of_all)
{
    uint64_t most = 1;
    for (uint32_t e = 0; e < in->n_mats; e++) most = in->counts[e] > most ? in->counts[e] : most;
    for (uint32_t e = 0; e < mats; e++)
        for (uint64_t j = 0; j < n; j++) {
            uint32_t mat = in->n_mats == mats ? e : 0;
            uint64_t count = of_all ? most : in->counts[mat];
            cols[e * n + j] *= count ? (double)in->sum_sq[(uint64_t)mat * n + j] / (double)count : 0;
        }
}

static bool usable(const hone_input_stats *in, uint64_t cols, uint32_t mats) { return in && in->n_cols == cols && (in->n_mats == mats || in->n_mats == 1); }

/* Energy of every column of the attention's last matrix times that of its input. */
static hone_code attention(const job *j, uint32_t layer, hone_arena *a, double **out, uint64_t *n, hone_err *err)
{
    const hone_facts       *f = &j->m->facts;
    const hone_weight      *o = weight_of(j->m, HONE_R_ATTN_OUT, layer), *v = weight_of(j->m, HONE_R_ATTN_V, layer), *qkv = weight_of(j->m, HONE_R_ATTN_QKV, layer);
    const hone_input_stats *in = hone_stats_find(j->stats, HONE_R_ATTN_OUT, (int32_t)layer);
    uint64_t                group = f->n_heads / f->n_kv_heads, dim = f->head_dim;
    if (!o || (!v && !qkv)) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "layer %u has no attention as hone knows it", layer);
    *n = hone_weight_cols(o);
    double *cols = HONE_ARENA_NEW(a, double, *n), *rows = HONE_ARENA_NEW(a, double, hone_weight_rows(v ? v : qkv));
    if (!cols || !rows) return HONE_NOMEM(err, "scores");
    HONE_TRY(energies(j->m, o, NULL, cols, err));
    *out = cols;
    if (usable(in, *n, 1)) {
        times_input(cols, in, 1, *n, false);
        return HONE_OK;
    }
    HONE_TRY(energies(j->m, v ? v : qkv, rows, NULL, err));
    const double *values = v ? rows : rows + (f->n_heads + (uint64_t)f->n_kv_heads) * dim;
    for (uint64_t k = 0; k < *n; k++) cols[k] *= values[k / dim / group * dim + k % dim];
    return HONE_OK;
}

static hone_code times_rows(const job *j, const hone_weight *w, uint64_t first, uint64_t n, double *cols, hone_arena *a, hone_err *err)
{
    if (!w) return HONE_OK;
    double *rows = HONE_ARENA_NEW(a, double, hone_weight_rows(w));
    if (!rows) return HONE_NOMEM(err, "scores");
    HONE_TRY(energies(j->m, w, rows, NULL, err));
    for (uint64_t k = 0; k < n; k++) cols[k] *= rows[first + k];
    return HONE_OK;
}

/* The same of the feed-forward's last matrix, or of each expert's. */
static hone_code feed_forward(const job *j, uint32_t layer, hone_arena *a, double **out, uint32_t *mats, uint64_t *n, hone_err *err)
{
    bool                    moe = weight_of(j->m, HONE_R_FFN_DOWN_EXPS, layer) != NULL;
    const hone_weight      *down = weight_of(j->m, moe ? HONE_R_FFN_DOWN_EXPS : HONE_R_FFN_DOWN, layer);
    const hone_input_stats *in = hone_stats_find(j->stats, moe ? HONE_R_FFN_DOWN_EXPS : HONE_R_FFN_DOWN, (int32_t)layer);
    if (!down) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "layer %u has no feed-forward as hone knows it", layer);
    *n = hone_weight_cols(down);
    *mats = moe ? (uint32_t)down->dims[0] : 1;
    double *cols = HONE_ARENA_NEW(a, double, *mats * *n);
    if (!cols) return HONE_NOMEM(err, "scores");
    HONE_TRY(energies(j->m, down, NULL, cols, err));
    *out = cols;
    if (usable(in, *n, *mats)) {
        times_input(cols, in, *mats, *n, moe);
        return HONE_OK;
    }
    HONE_TRY(times_rows(j, weight_of(j->m, moe ? HONE_R_FFN_GATE_EXPS : HONE_R_FFN_GATE, layer), 0, *mats * *n, cols, a, err));
    HONE_TRY(times_rows(j, weight_of(j->m, moe ? HONE_R_FFN_UP_EXPS : HONE_R_FFN_UP, layer), 0, *mats * *n, cols, a, err));
    HONE_TRY(times_rows(j, weight_of(j->m, HONE_R_FFN_GATE_UP, layer), 0, *n, cols, a, err));
    return times_rows(j, weight_of(j->m, HONE_R_FFN_GATE_UP, layer), *n, *n, cols, a, err);
}

/* What a norm behind a half of a layer lets through does not depend on the matrices: rows of root mean square 1 times its weights. */
static hone_code norm_energy(const job *j, hone_role role, uint32_t layer, hone_arena *a, double *sum, hone_err *err)
{
    const hone_weight *w = weight_of(j->m, role, layer);
    if (!w) return HONE_OK;
    float *x = HONE_ARENA_NEW(a, float, hone_weight_cols(w)), *scratch = HONE_ARENA_NEW(a, float, hone_weight_scratch(w, 1) / sizeof(float) + 1);
    if (!x || !scratch) return HONE_NOMEM(err, "scores");
    HONE_TRY(hone_weight_read(j->m->source, w, 0, 1, x, scratch, err));
    double one = j->m->facts.norm_plus_one ? 1 : 0;
    for (uint64_t k = 0; k < hone_weight_cols(w); k++) *sum += ((double)x[k] + one) * ((double)x[k] + one);
    return HONE_OK;
}

static double sum_of(const double *x, uint64_t n)
{
    double s = 0;
    for (uint64_t i = 0; i < n; i++) s += x[i];
    return s;
}

static hone_code whole_layer(const job *j, uint32_t layer, hone_arena *a, double *out, hone_err *err)
{
    double  *cols;
    uint64_t n;
    uint32_t mats;
    *out = 0;
    if (j->m->facts.norm_post) {
        HONE_TRY(norm_energy(j, HONE_R_ATTN_POST_NORM, layer, a, out, err));
        return norm_energy(j, HONE_R_FFN_POST_NORM, layer, a, out, err);
    }
    HONE_TRY(attention(j, layer, a, &cols, &n, err));
    *out += sum_of(cols, n);
    HONE_TRY(feed_forward(j, layer, a, &cols, &mats, &n, err));
    *out += sum_of(cols, mats * n);
    return HONE_OK;
}

static hone_code score_layer(const job *j, uint32_t layer, hone_arena *a, hone_err *err)
{
    const hone_facts *f = &j->m->facts;
    double           *out = j->out + (size_t)layer * j->units, *cols;
    uint64_t          n, group = (uint64_t)f->n_heads / f->n_kv_heads * f->head_dim;
    uint32_t          mats;
    if (j->method == HONE_PRUNE_LAYERS) return whole_layer(j, layer, a, out, err);
    if (j->method == HONE_PRUNE_HEADS) {
        HONE_TRY(attention(j, layer, a, &cols, &n, err));
        for (uint32_t k = 0; k < j->units; k++) out[k] = sum_of(cols + k * group, group);
        return HONE_OK;
    }
    HONE_TRY(feed_forward(j, layer, a, &cols, &mats, &n, err));
    for (uint32_t k = 0; k < j->units; k++) out[k] = j->method == HONE_PRUNE_EXPERTS ? sum_of(cols + k * n, n) : cols[k];
    return HONE_OK;
}

static hone_code run(void *user, size_t index, unsigned worker, hone_err *err)
{
    hone_arena a = { 0 };
    (void)worker;
    hone_code code = score_layer(user, (uint32_t)index, &a, err);
    hone_arena_release(&a);
    return code;
}

hone_code hone_prune_scores(const hone_ctx *ctx, const hone_model *m, hone_prune_method method, const hone_stats *stats, hone_arena *a, double **out,
                            hone_err *err)
{
    job j = { .m = m, .method = method, .stats = stats, .units = hone_prune_units(&m->facts, method) };
    j.out = HONE_ARENA_NEW(a, double, (size_t)m->facts.n_layers * j.units + 1);
    if (!j.out) return HONE_NOMEM(err, "scores");
    HONE_TRY(hone_pool_run(ctx, m->facts.n_layers, run, &j, err));
    *out = j.out;
    return HONE_OK;
}
