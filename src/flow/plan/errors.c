/* errors.c - one read of a model, every encoding of every matrix tried on each tile. */
#include "base/pool.h"
#include "flow/plan/sense.h"
#include "passes/mix.h"
#include "quant/codec.h"
#include "quant/weight.h"
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#define TILE_ELEMS ((uint64_t)256 << 10)
#define MAX_TILES  16384u /* of huge models they grow instead */
#define MAX_TRIED  64     /* encodings of a weight in all formats */

/* ---- which weights, which encodings ---- */

static bool takes(const hone_format *f, const hone_weight *w)
{
    switch (w->role) {
    case HONE_R_POS_EMBD:
    case HONE_R_TOKEN_TYPES:
    case HONE_R_POOLER:
    case HONE_R_IGNORED: return false;
    case HONE_R_FFN_ROUTER: return false; /* a few numbers that decide much: as the format's planner has it */
    default: return f != &hone_format_gguf || hone_mix_may_quantize(w);
    }
}

static uint64_t bytes_of(const hone_choice *c, const hone_weight *w)
{
    uint64_t rows = hone_weight_rows(w), cols = hone_weight_cols(w), n = 0;
    if (c->grouped.scheme == HONE_SCHEME_NONE) return rows * hone_row_bytes(c->dtype, cols);
    for (uint32_t s = 0; s < hone_grouped_streams(&c->grouped); s++) n += hone_grouped_bytes(&c->grouped, s, rows, cols);
    return n;
}

static hone_code list_options(const hone_sense_request *r, hone_sense_weight *s, hone_arena *a, hone_err *err)
{
    uint64_t cols = hone_weight_cols(s->w);
    for (size_t f = 0; f < HONE_PLAN_FORMATS; f++) {
        const hone_format *format = hone_convert_format(f);
        hone_choice        c;
        if (!r->formats[f] || !takes(format, s->w)) continue;
        s->of[f] = HONE_ARENA_NEW(a, hone_sense_option, MAX_TRIED);
        if (!s->of[f]) return HONE_NOMEM(err, "the plan");
        for (size_t i = 0; hone_choice_at(format, i, &r->usual[f], &c) && s->n[f] < MAX_TRIED; i++)
            if (hone_choice_fits(&c, cols, NULL) == HONE_OK) s->of[f][s->n[f]++] = (hone_sense_option){ c, bytes_of(&c, s->w), 0 };
    }
    hone_usual plain = { .plain = HONE_DTYPE_F16 };
    s->coarse.choice = hone_choice_of_bits(&hone_format_gguf, 3, &plain, cols);
    s->coarse.bytes = bytes_of(&s->coarse.choice, s->w);
    return HONE_OK;
}

static hone_code list_weights(const hone_model *m, const hone_sense_request *r, hone_arena *a, hone_sense *out, hone_err *err)
{
    out->weights = HONE_ARENA_NEW(a, hone_sense_weight, m->n_weights + 1);
    if (!out->weights) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < m->n_weights; i++) {
        const hone_weight *w = &m->weights[i];
        if (!hone_plan_covers(w) || !takes(&hone_format_mlx, w) || hone_weight_elems(w) == 0) continue;
        hone_sense_weight *s = &out->weights[out->n++];
        s->w = w;
        HONE_TRY(list_options(r, s, a, err));
    }
    return HONE_OK;
}

/* ---- what a column's error weighs ---- */

typedef struct scales { /* of one weight: [n_mats, cols], and rows of a matrix */
    float   *h;
    uint32_t n_mats;
    uint64_t rows_each;
} scales;

/* Mean square of the input of each column per token: an expert counts by the tokens that it gets. */
static hone_code weigh(const hone_model *m, const hone_stats *stats, const hone_weight *w, hone_arena *a, scales *out, bool *weighed, hone_err *err)
{
    bool                    tied = w->role == HONE_R_TOK_EMBD && m->facts.tied;
    const hone_input_stats *in = hone_stats_find(stats, tied ? HONE_R_OUTPUT : w->role, w->layer);
    size_t                  cols = (size_t)hone_weight_cols(w);
    uint64_t                rows = hone_weight_rows(w), seen = 0;
    if (in && (in->n_cols != cols || in->n_mats == 0 || rows % in->n_mats != 0)) in = NULL;
    *out = (scales){ .n_mats = in ? in->n_mats : 1 };
    out->rows_each = rows / out->n_mats;
    out->h = HONE_ARENA_NEW(a, float, (size_t)out->n_mats * cols);
    if (!out->h) return HONE_NOMEM(err, "an importance");
    for (uint32_t e = 0; in && e < in->n_mats; e++) seen += in->counts[e];
    for (uint32_t e = 0; e < out->n_mats; e++) {
        float *h = out->h + e * cols, part = w->role == HONE_R_TOK_EMBD && !tied ? 1 / (float)rows : 1;
        if (!in) {
            for (size_t c = 0; c < cols; c++) h[c] = part;
            continue;
        }
        hone_stats_mean_sq(in, e, h);
        if (in->n_mats > 1 && seen)
            part = (float)(((double)in->counts[e] + 1) / ((double)seen + in->n_mats)) * (float)(m->facts.n_experts_used ? m->facts.n_experts_used : 1);
        for (size_t c = 0; c < cols; c++) h[c] = h[c] * part + (tied ? 1 / (float)rows : 0);
    }
    *weighed = *weighed || in;
    return HONE_OK;
}

/* ---- tiles ---- */

typedef struct pass {
    const hone_ctx   *ctx;
    const hone_model *m;
    hone_sense       *s;
    scales           *scales; /* [n] */
    uint64_t         *first, *step; /* [n + 1] its first tile; [n] rows of a full one */
    double           *sums;   /* [tiles][MAX_TRIED + 2]: errors in the order of visit(), then coarse, then power */
    uint8_t          *scratch;
    size_t            floats, raw, codes; /* bytes of each worker's parts: x, y, raw, codes */
    _Atomic uint64_t  done;
} pass;

/* The options of a weight one after the other; NULL past the last. */
static hone_sense_option *visit(hone_sense_weight *s, size_t i)
{
    for (size_t f = 0; f < HONE_PLAN_FORMATS; f++) {
        if (i < s->n[f]) return &s->of[f][i];
        i -= s->n[f];
    }
    return i == 0 ? &s->coarse : NULL;
}

static void recode(const hone_choice *c, const float *x, float *y, uint64_t rows, size_t cols, uint8_t *codes, const float *importance)
{
    if (c->grouped.scheme == HONE_SCHEME_NONE) {
        const hone_codec *codec = hone_codec_find(c->dtype);
        for (uint64_t r = 0; r < rows; r++) {
            codec->encode_row(x + r * cols, codes, cols, codec->wants_importance ? importance : NULL);
            codec->decode_row(codes, y + r * cols, cols);
        }
        return;
    }
    uint8_t       *out[HONE_STREAMS] = { 0 };
    const uint8_t *in[HONE_STREAMS] = { 0 };
    for (uint32_t s = 0; s < hone_grouped_streams(&c->grouped); s++) {
        in[s] = out[s] = codes;
        codes += (hone_grouped_bytes(&c->grouped, s, rows, cols) + 63) / 64 * 64;
    }
    hone_grouped_encode(&c->grouped, x, rows, cols, out);
    hone_grouped_decode(&c->grouped, in, rows, cols, y);
}

static double weighed_sum(const float *x, const float *y, const float *h, uint64_t rows, size_t cols)
{
    double sum = 0;
    for (uint64_t r = 0; r < rows; r++) {
        double row = 0;
        for (size_t c = 0; c < cols; c++) {
            double e = (double)x[r * cols + c] - (y ? (double)y[r * cols + c] : 0);
            row += e * e * (double)h[c];
        }
        sum += row;
    }
    return sum;
}

/* Rows of one matrix of the weight. */
static void try_rows(pass *p, size_t at, uint64_t mat, const float *x, float *y, uint64_t rows, uint8_t *codes, double *sums)
{
    hone_sense_weight *s = &p->s->weights[at];
    size_t             cols = (size_t)hone_weight_cols(s->w), i = 0;
    const float       *h = p->scales[at].h + mat * cols, *importance = p->s->weighed ? h : NULL;
    for (hone_sense_option *o; (o = visit(s, i)) != NULL; i++) {
        recode(&o->choice, x, y, rows, cols, codes, importance);
        sums[i] += weighed_sum(x, y, h, rows, cols);
    }
    sums[i] += weighed_sum(x, NULL, h, rows, cols);
}

static hone_code one_tile(void *user, size_t index, unsigned worker, hone_err *err)
{
    pass  *p = user;
    size_t at = 0;
    while (p->first[at + 1] <= index) at++;
    const hone_weight *w = p->s->weights[at].w;
    uint64_t rows = hone_weight_rows(w), cols = hone_weight_cols(w), row0 = (index - p->first[at]) * p->step[at], n = rows - row0 < p->step[at] ? rows - row0 : p->step[at];
    uint8_t *mine = p->scratch + worker * (2 * p->floats + p->raw + p->codes);
    float   *x = (float *)(void *)mine, *y = (float *)(void *)(mine + p->floats);
    HONE_TRY(hone_ctx_cancelled(p->ctx) ? HONE_INTERRUPTED(err) : hone_weight_read(p->m->source, w, row0, n, x, mine + 2 * p->floats, err));
    for (uint64_t r = 0; r < n;) {
        uint64_t mat = (row0 + r) / p->scales[at].rows_each, left = (mat + 1) * p->scales[at].rows_each - (row0 + r), k = left < n - r ? left : n - r;
        try_rows(p, at, mat, x + r * cols, y, k, mine + 2 * p->floats + p->raw, p->sums + index * (MAX_TRIED + 2));
        r += k;
    }
    hone_event_progress(p->ctx, "tiles", atomic_fetch_add(&p->done, 1) + 1, p->first[p->s->n]);
    return HONE_OK;
}

static size_t lines(uint64_t n) { return (size_t)((n + 63) / 64 * 64); }

static hone_code plan_pass(pass *p, hone_arena *a, hone_err *err)
{
    uint64_t elems = 0, each = TILE_ELEMS;
    size_t   n = p->s->n;
    for (size_t i = 0; i < n; i++) elems += hone_weight_elems(p->s->weights[i].w);
    if (elems / each > MAX_TILES) each = elems / MAX_TILES;
    p->first = HONE_ARENA_NEW(a, uint64_t, n + 1);
    p->step = HONE_ARENA_NEW(a, uint64_t, n + 1);
    if (!p->first || !p->step) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < n; i++) {
        hone_sense_weight *s = &p->s->weights[i];
        uint64_t rows = hone_weight_rows(s->w), cols = hone_weight_cols(s->w), step = cols < each ? each / cols : 1;
        p->step[i] = step = step < rows ? step : rows;
        p->first[i + 1] = p->first[i] + (rows + step - 1) / step;
        if (lines(step * cols * sizeof(float)) > p->floats) p->floats = lines(step * cols * sizeof(float));
        if (lines(hone_weight_scratch(s->w, step)) > p->raw) p->raw = lines(hone_weight_scratch(s->w, step));
        for (size_t k = 0; visit(s, k); k++) {
            uint64_t most = step * (hone_choice_row_bits(&visit(s, k)->choice, cols) / 8 + 1) + 64 * (HONE_STREAMS + 1);
            if (lines(most) > p->codes) p->codes = lines(most);
        }
    }
    return HONE_OK;
}

/* Sums of tiles in their order: the same whoever computed them. */
static void add_up(pass *p)
{
    for (size_t i = 0; i < p->s->n; i++) {
        hone_sense_weight *s = &p->s->weights[i];
        for (uint64_t t = p->first[i]; t < p->first[i + 1]; t++) {
            const double *sums = p->sums + t * (MAX_TRIED + 2);
            size_t        k = 0;
            for (hone_sense_option *o; (o = visit(s, k)) != NULL; k++) o->error += sums[k];
            s->power += sums[k];
        }
    }
}

/* Without a measurement: the KLD that an error as large as the output would bring, in proportion.  Set by hand after what is known of such
 * models (the head most, then the embedding, values and what they go through): they put weights in order, and are no prediction. */
static double guess(hone_role r)
{
    switch (r) {
    case HONE_R_OUTPUT: return 2.5;
    case HONE_R_TOK_EMBD: return 1.5;
    case HONE_R_ATTN_V:
    case HONE_R_ATTN_OUT: return 0.5;
    case HONE_R_ATTN_Q:
    case HONE_R_ATTN_K: return 0.2;
    case HONE_R_FFN_DOWN:
    case HONE_R_FFN_DOWN_EXPS: return 0.5;
    default: return 0.4;
    }
}

hone_code hone_sense_errors(const hone_ctx *ctx, const hone_model *m, const hone_sense_request *r, hone_arena *a, hone_sense *out, hone_err *err)
{
    pass p = { .ctx = ctx, .m = m, .s = out };
    *out = (hone_sense){ 0 };
    HONE_TRY(list_weights(m, r, a, out, err));
    p.scales = HONE_ARENA_NEW(a, scales, out->n + 1);
    if (!p.scales) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < out->n; i++) HONE_TRY(weigh(m, r->stats, out->weights[i].w, a, &p.scales[i], &out->weighed, err));
    HONE_TRY(plan_pass(&p, a, err));
    size_t tiles = (size_t)p.first[out->n], each = 2 * p.floats + p.raw + p.codes;
    p.sums = calloc(tiles + 1, (MAX_TRIED + 2) * sizeof *p.sums);
    p.scratch = each ? aligned_alloc(64, each * hone_ctx_threads(ctx)) : NULL;
    hone_event_step(ctx, "trying encodings on %zu matrices", out->n);
    hone_code code = p.sums && (p.scratch || !each) ? hone_pool_run(ctx, tiles, one_tile, &p, err) : HONE_NOMEM(err, "a tile");
    if (code == HONE_OK) add_up(&p);
    for (size_t i = 0; i < out->n; i++) out->weights[i].kld_per_error = guess(out->weights[i].w->role) / (out->weights[i].power > 0 ? out->weights[i].power : 1);
    free(p.scratch);
    free(p.sums);
    return code;
}
