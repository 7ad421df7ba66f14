#include "flow/convert/treatment.h"
#include "quant/gram.h"
#include "quant/weight.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#define IDLE_BYTES ((uint64_t)512 << 20) /* Hessians that nobody works with are kept up to this much */
#define DAMPING 0.01 /* part of the mean of the diagonal; GPTQ's own */

/* One matrix's input, for all weights that see it. */
typedef struct hone_input {
    const hone_input_stats *in; /* NULL: nothing is known, every column counts alike */
    bool                    embedding; /* in NULL: what its rows are read by is known (read_embedding) */
    uint32_t                mat;
    size_t                  n;
    float                  *importance; /* [n] mean squares, NULL with in */
    hone_curve              curve;
    enum { INPUT_NONE, INPUT_MAKING, INPUT_MADE } state;
    unsigned                users;
    uint64_t                used_at;
} hone_input;

struct hone_treatments {
    hone_method        method;
    const hone_model  *m;
    const hone_stats  *stats;
    bool               tied; /* the embedding is the output */
    hone_arena        *a;
    hone_input       **inputs; /* [n_inputs], owned by the arena, list grows */
    size_t             n_inputs, cap;
    unsigned           threads;
    pthread_mutex_t    lock;
    pthread_cond_t     made;
    uint64_t           held, clock;
};

hone_code hone_method_choose(const char *name, const hone_stats *stats, const char **out, hone_err *err)
{
    hone_method m = stats ? HONE_METHOD_SEARCH : HONE_METHOD_RTN;
    for (size_t i = 0; stats && i < stats->n_inputs; i++)
        if (stats->inputs[i].hessian) m = HONE_METHOD_GPTQ;
    if (name && !hone_method_from_name(name, &m)) return HONE_FAIL(err, HONE_EUSAGE, "known: rtn search hqq scale gptq", "there is no method '%.40s'", name);
    bool hessians = false;
    for (size_t i = 0; stats && i < stats->n_inputs; i++) hessians = hessians || stats->inputs[i].hessian;
    if (m == HONE_METHOD_GPTQ && !hessians)
        return HONE_FAIL(err, stats ? HONE_EINPUT : HONE_EUSAGE, "hone calibrate SRC --hessian --data FILE -o stats.gguf makes them; then add --calibration stats.gguf",
                         "method gptq needs Hessians, and there are none");
    *out = hone_method_name(m);
    return HONE_OK;
}

static hone_method method_of(const hone_convert_options *opt)
{
    hone_method m = HONE_METHOD_RTN;
    if (opt->method) (void)hone_method_from_name(opt->method, &m);
    return m;
}

bool hone_method_weighs(const hone_convert_options *opt)
{
    hone_method m = method_of(opt);
    return opt->stats && m != HONE_METHOD_RTN && m != HONE_METHOD_HQQ;
}

hone_code hone_treatments_new(const hone_convert_options *opt, const hone_model *m, unsigned threads, hone_arena *a, hone_treatments **out, hone_err *err)
{
    hone_method method = method_of(opt);
    *out = NULL;
    if (method == HONE_METHOD_RTN) return HONE_OK;
    hone_treatments *t = calloc(1, sizeof *t);
    if (!t) return HONE_NOMEM(err, "the plan");
    *t = (hone_treatments){ .method = method, .m = m, .stats = opt->stats, .a = a, .threads = threads, .tied = !hone_model_find(m, HONE_R_OUTPUT, HONE_PART_WEIGHT, -1) };
    if (pthread_mutex_init(&t->lock, NULL) != 0 || pthread_cond_init(&t->made, NULL) != 0) {
        free(t);
        return HONE_FAIL(err, HONE_ERESOURCE, "", "no lock can be had");
    }
    *out = t;
    return HONE_OK;
}

void hone_treatments_free(hone_treatments *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->n_inputs; i++) hone_curve_release(&t->inputs[i]->curve);
    (void)pthread_cond_destroy(&t->made);
    (void)pthread_mutex_destroy(&t->lock);
    free(t->inputs);
    free(t);
}

static hone_encoding encoding_of(const hone_planned *p) { return (hone_encoding){ .dtype = p->dtype, .grouped = p->grouped }; }

/* A codec's own search needs no more than the mean squares. */
static bool wants_curve(const hone_treatments *t, const hone_planned *p)
{
    const hone_encoding e = encoding_of(p);
    return !hone_treat_by_codec(t->method, &e);
}

static hone_code input_for(hone_treatments *t, const hone_input_stats *in, bool embedding, uint32_t mat, size_t n, hone_input **out, hone_err *err)
{
    for (size_t i = 0; i < t->n_inputs; i++)
        if (t->inputs[i]->in == in && t->inputs[i]->embedding == embedding && t->inputs[i]->mat == mat && t->inputs[i]->n == n) {
            *out = t->inputs[i];
            return HONE_OK;
        }
    if (t->n_inputs == t->cap) {
        size_t       cap = t->cap ? 2 * t->cap : 64;
        hone_input **more = realloc(t->inputs, cap * sizeof *more);
        if (!more) return HONE_NOMEM(err, "the plan");
        t->inputs = more;
        t->cap = cap;
    }
    hone_input *k = HONE_ARENA_NEW(t->a, hone_input, 1);
    if (!k) return HONE_NOMEM(err, "the plan");
    *k = (hone_input){ .in = in, .embedding = embedding, .mat = mat, .n = n };
    if (in && !(k->importance = HONE_ARENA_NEW(t->a, float, n))) return HONE_NOMEM(err, "an importance");
    if (in) hone_stats_mean_sq(in, mat, k->importance);
    t->inputs[t->n_inputs++] = *out = k;
    return HONE_OK;
}

/* Of rows that the input's matrices divide, with as many columns; else nothing is known. */
static const hone_input_stats *find_input(const hone_treatments *t, const hone_weight *w, const hone_planned *p)
{
    hone_role               role = w->role == HONE_R_TOK_EMBD && t->tied ? HONE_R_OUTPUT : w->role;
    const hone_input_stats *in = t->method == HONE_METHOD_HQQ ? NULL : hone_stats_find(t->stats, role, w->layer);
    bool                    fits = in && in->n_cols == hone_weight_cols(w) && in->n_mats && hone_weight_rows(w) % in->n_mats == 0;
    for (uint32_t s = 0; fits && in->n_mats > 1 && s < p->n_streams; s++) /* a matrix begins at a whole byte */
        fits = hone_weight_rows(w) / in->n_mats % 8 * p->at[s].row_bits % 8 == 0;
    return fits ? in : NULL;
}

hone_code hone_treatments_add(hone_treatments *t, const hone_weight *w, const hone_planned *p, const hone_known **out, hone_err *err)
{
    hone_encoding e = encoding_of(p);
    uint64_t      cols = hone_weight_cols(w);
    *out = NULL;
    if (w->part != HONE_PART_WEIGHT || w->n_dims < 2 || !hone_treat_applies(t->method, &e, cols)) return HONE_OK;
    const hone_input_stats *in = find_input(t, w, p);
    uint32_t                n = in ? in->n_mats : 1;
    hone_known             *k = hone_arena_alloc(t->a, sizeof *k + n * sizeof(struct hone_input *));
    if (!k) return HONE_NOMEM(err, "the plan");
    k->n_mats = n;
    k->rows_each = hone_weight_rows(w) / n;
    bool embedding = !in && w->role == HONE_R_TOK_EMBD && t->method == HONE_METHOD_GPTQ && cols == t->m->facts.hidden;
    for (uint32_t i = 0; i < n; i++) HONE_TRY(input_for(t, in, embedding, i, (size_t)cols, &k->inputs[i], err));
    *out = k;
    return HONE_OK;
}

size_t hone_treatments_scratch(const hone_treatments *t, const hone_planned *p, uint64_t cols)
{
    hone_encoding e = encoding_of(p);
    return hone_treat_scratch(t->method, &e, cols);
}

/* ---- Hessians, one at a time for each thread ---- */

static bool has_hessian(const hone_treatments *t, const hone_input *k)
{
    return k->embedding || (t->method == HONE_METHOD_GPTQ && k->in && k->in->hessian && k->in->counts[k->mat] > 0);
}

static uint64_t curve_bytes(const hone_treatments *t, const hone_input *k) { return has_hessian(t, k) ? hone_curve_bytes(k->n) : k->n * sizeof(float); }

uint64_t hone_treatments_ram(const hone_treatments *t)
{
    uint64_t all = 0, most = 0;
    for (size_t i = 0; t && i < t->n_inputs; i++) {
        uint64_t n = curve_bytes(t, t->inputs[i]);
        all += n;
        most = most < n ? n : most;
    }
    uint64_t cap = t && t->threads * most > IDLE_BYTES ? t->threads * most : IDLE_BYTES;
    return all < cap ? all : cap;
}

/* Adds what rows of w say, times the gain of the norm before it. */
static hone_code add_reader(const hone_model *m, const hone_weight *w, const float *gain, hone_gram *g, hone_err *err)
{
    hone_ctx one = { .threads = 1 };
    enum { ROWS = 16 };
    uint64_t rows = hone_weight_rows(w), n = g->n;
    float   *x = malloc(ROWS * n * sizeof *x);
    void    *scratch = malloc(hone_weight_scratch(w, ROWS) + 1);
    hone_code code = x && scratch ? HONE_OK : HONE_NOMEM(err, "a weight");
    for (uint64_t r = 0; code == HONE_OK && r < rows; r += ROWS) {
        uint64_t some = rows - r < ROWS ? rows - r : ROWS;
        code = hone_weight_read(m->source, w, r, some, x, scratch, err);
        for (uint64_t k = 0; code == HONE_OK && k < some; k++) {
            for (uint64_t i = 0; i < n; i++) x[k * n + i] *= gain[i];
            code = hone_gram_add(g, &one, x + k * n, err);
        }
    }
    free(scratch);
    free(x);
    return code;
}

/* The gain of a layer's norm; ones when it has none. */
static hone_code read_gain(const hone_model *m, hone_role role, size_t n, float *gain, hone_err *err)
{
    const hone_weight *w = hone_model_find(m, role, HONE_PART_WEIGHT, 0);
    for (size_t i = 0; i < n; i++) gain[i] = 1;
    if (!w || hone_weight_elems(w) != n) return HONE_OK;
    void *scratch = malloc(hone_weight_scratch(w, 1) + 1);
    if (!scratch) return HONE_NOMEM(err, "a norm");
    hone_code code = hone_weight_read(m->source, w, 0, 1, gain, scratch, err);
    free(scratch);
    return code;
}

/* An embedding's rows are looked up, not multiplied: no input says which of its columns count.  But the first layer's matrices W read them behind a
 * norm with gains g, so an error d costs about |W (g d)|^2: H is the sum of g W^T W g over them.  A part of its mean on the diagonal stands for
 * the later layers, which read everything. */
#define LATER_LAYERS 0.25f
static hone_code read_embedding(const hone_model *m, size_t n, float *h, hone_err *err)
{
    static const hone_role readers[] = { HONE_R_ATTN_Q, HONE_R_ATTN_K, HONE_R_ATTN_V, HONE_R_ATTN_QKV, HONE_R_FFN_GATE, HONE_R_FFN_UP, HONE_R_FFN_GATE_UP,
                                         HONE_R_FFN_GATE_EXPS, HONE_R_FFN_UP_EXPS };
    enum { OF_ATTENTION = 4 };
    hone_gram  g = { 0 };
    hone_ctx   one = { .threads = 1 };
    float     *gain = malloc(n * sizeof *gain);
    hone_code  code = gain ? hone_gram_init(&g, (uint32_t)n, err) : HONE_NOMEM(err, "a norm");
    for (size_t i = 0; code == HONE_OK && i < HONE_COUNT(readers); i++) {
        const hone_weight *w = hone_model_find(m, readers[i], HONE_PART_WEIGHT, 0);
        if (!w || w->n_dims < 2 || hone_weight_cols(w) != n) continue;
        code = read_gain(m, i < OF_ATTENTION ? HONE_R_ATTN_NORM : HONE_R_FFN_NORM, n, gain, err);
        if (code == HONE_OK) code = add_reader(m, w, gain, &g, err);
    }
    if (code == HONE_OK) code = hone_gram_take(&g, &one, h, err);
    float mean = 0;
    for (size_t i = 0; code == HONE_OK && i < n; i++) mean += h[i * n + i] / (float)n;
    for (size_t i = 0; code == HONE_OK && i < n; i++) h[i * n + i] += LATER_LAYERS * mean;
    hone_gram_release(&g);
    free(gain);
    return code;
}

static hone_code make(const hone_treatments *t, hone_input *k, hone_err *err)
{
    if (!has_hessian(t, k)) {
        float *ones = k->importance ? k->importance : calloc(k->n, sizeof *ones);
        if (!ones) return HONE_NOMEM(err, "an importance");
        hone_code code = hone_curve_make_diagonal(&k->curve, k->n, ones, err);
        if (!k->importance) free(ones);
        return code;
    }
    float *h = calloc(k->n, k->n * sizeof *h);
    if (!h) return HONE_NOMEM(err, "a Hessian");
    hone_code code = k->embedding ? read_embedding(t->m, k->n, h, err) : t->stats->hessian(t->stats, k->in, k->mat, h, err);
    if (code != HONE_OK) {
        free(h);
        return code;
    }
    return hone_curve_make(&k->curve, k->n, h, DAMPING, err);
}

/* Under the lock: those that nobody uses go, the longest unused first, until `more` bytes fit. */
static void make_room(hone_treatments *t, uint64_t more)
{
    while (t->held + more > IDLE_BYTES) {
        hone_input *oldest = NULL;
        for (size_t i = 0; i < t->n_inputs; i++) {
            hone_input *k = t->inputs[i];
            if (k->state == INPUT_MADE && k->users == 0 && (!oldest || k->used_at < oldest->used_at)) oldest = k;
        }
        if (!oldest) return;
        t->held -= curve_bytes(t, oldest);
        hone_curve_release(&oldest->curve);
        oldest->state = INPUT_NONE;
    }
}

static hone_code acquire(hone_treatments *t, hone_input *k, hone_err *err)
{
    hone_code code = HONE_OK;
    (void)pthread_mutex_lock(&t->lock);
    while (k->state == INPUT_MAKING) (void)pthread_cond_wait(&t->made, &t->lock);
    if (k->state == INPUT_NONE) {
        make_room(t, curve_bytes(t, k));
        k->state = INPUT_MAKING;
        t->held += curve_bytes(t, k);
        (void)pthread_mutex_unlock(&t->lock);
        code = make(t, k, err);
        (void)pthread_mutex_lock(&t->lock);
        k->state = code == HONE_OK ? INPUT_MADE : INPUT_NONE;
        if (code != HONE_OK) t->held -= curve_bytes(t, k);
        (void)pthread_cond_broadcast(&t->made);
    }
    k->users += code == HONE_OK;
    (void)pthread_mutex_unlock(&t->lock);
    return code;
}

static void release(hone_treatments *t, hone_input *k)
{
    (void)pthread_mutex_lock(&t->lock);
    k->users--;
    k->used_at = ++t->clock;
    (void)pthread_mutex_unlock(&t->lock);
}

/* ---- rows ---- */

static hone_code rows_of_mat(hone_treatments *t, hone_input *k, const hone_planned *p, const float *x, uint64_t n_rows, uint64_t cols,
                             uint8_t *const out[HONE_STREAMS], void *scratch, hone_err *err)
{
    hone_encoding  e = encoding_of(p);
    hone_treatment how = { .method = t->method, .importance = k->importance };
    bool           curve = wants_curve(t, p);
    if (curve) HONE_TRY(acquire(t, k, err));
    if (curve) how.curve = &k->curve;
    hone_treat_rows(&e, &how, x, n_rows, cols, out, scratch);
    if (curve) release(t, k);
    return HONE_OK;
}

hone_code hone_treatments_rows(hone_treatments *t, const hone_known *k, const hone_planned *p, const float *x, uint64_t row0, const uint32_t *to, uint64_t n_rows,
                               uint64_t cols, uint8_t *const out[HONE_STREAMS], void *scratch, hone_err *err)
{
    for (uint64_t r = 0; r < n_rows;) {
        uint64_t row = to ? to[row0 + r] : row0 + r, mat = row / k->rows_each, n = 1;
        uint8_t *at[HONE_STREAMS] = { 0 };
        while (r + n < n_rows && (to ? to[row0 + r + n] : row0 + r + n) / k->rows_each == mat) n++;
        for (uint32_t s = 0; s < p->n_streams; s++) at[s] = out[s] + r * p->at[s].row_bits / 8;
        HONE_TRY(rows_of_mat(t, k->inputs[mat], p, x + r * cols, n, cols, at, scratch, err));
        r += n;
    }
    return HONE_OK;
}
