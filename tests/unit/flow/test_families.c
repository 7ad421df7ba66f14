/* test_families.c - every family, converted to f32, says in llama.cpp what transformers says: logits against files made by transformers.
 * ctest: plain */
#include "base/file.h"
#include "flow/convert.h"
#include "formats/safetensors.h"
#include "ir/stats.h"
#include "flow/variant.h"
#include "formats/scratch.h"
#include <dirent.h>
#include <jansson.h>
#include <llama.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

typedef struct reference {
    hone_arena a;
    uint64_t   rows, len, vocab;
    int64_t   *ids;    /* [rows, len] */
    float     *logits; /* [rows, len, vocab]; embeddings: [rows, hidden] */
} reference;

static void *read_tensor(reference *r, hone_source *s, const char *name, const hone_tensor **t)
{
    hone_err err = { 0 };
    *t = hone_source_find(s, name);
    assert_non_null(*t);
    void *p = hone_arena_alloc(&r->a, (size_t)(*t)->bytes);
    assert_non_null(p);
    assert_int_equal(s->read(s, *t, 0, p, (size_t)(*t)->bytes, &err), HONE_OK);
    return p;
}

static void reference_open(reference *r, const char *dir, const char *file, const char *values)
{
    hone_err           err = { 0 };
    hone_source       *s = NULL;
    const hone_tensor *t;
    char               path[1024];
    *r = (reference){ 0 };
    snprintf(path, sizeof path, "%s/%s/%s", HONE_TEST_SOURCE_DIR, dir, file);
    if (hone_safetensors_open(path, &r->a, &s, &err) != HONE_OK) fail_msg("%s: %s", path, err.cause);
    r->ids = read_tensor(r, s, "input_ids", &t);
    r->rows = t->dims[0];
    r->len = t->dims[1];
    r->logits = read_tensor(r, s, values, &t);
    r->vocab = t->dims[t->n_dims - 1];
    s->close(s);
}

/* Inputs of every matrix of a layer, a few columns much larger than the others, as in trained models; expert 1 is cold.  In m's arena. */
static const hone_stats *made_up_stats(hone_model *m, hone_stats *out)
{
    hone_input_stats *in = HONE_ARENA_NEW(&m->arena, hone_input_stats, m->n_weights);
    uint32_t          seed = 1;
    *out = (hone_stats){ .inputs = in };
    for (size_t i = 0; i < m->n_weights; i++) {
        const hone_weight *w = &m->weights[i];
        if (w->layer < 0 || w->part == HONE_PART_BIAS || w->n_dims < 2) continue;
        uint32_t  mats = w->n_dims == 3 ? (uint32_t)w->dims[0] : 1, cols = (uint32_t)hone_weight_cols(w);
        float    *sq = HONE_ARENA_NEW(&m->arena, float, (size_t)mats * cols), *sizes = HONE_ARENA_NEW(&m->arena, float, (size_t)mats * cols);
        uint64_t *counts = HONE_ARENA_NEW(&m->arena, uint64_t, mats);
        for (uint32_t k = 0; k < mats * cols; k++) {
            seed = seed * 1664525u + 1013904223u;
            float x = (float)(seed >> 8) / 0x1p24f * (k % 37 == 5 ? 60.0f : 1.0f);
            sq[k] = x * x * 100;
            sizes[k] = x;
        }
        for (uint32_t e = 0; e < mats; e++) counts[e] = mats > 1 && e == 1 ? 0 : 100;
        in[out->n_inputs++] = (hone_input_stats){ .role = w->role, .layer = w->layer, .n_mats = mats, .n_cols = cols, .sum_sq = sq, .max_abs = sizes, .counts = counts };
    }
    return out;
}

/* BERT-like families aside, every family has places where scales may move. */
static void count_folds(const char *dir, const json_t *rewrites)
{
    const json_t *row = json_array_get(rewrites, 0);
    if (json_integer_value(json_object_get(row, "folds")) < 1) fail_msg("%s: no scales were moved", dir);
}

/* dir is in the source tree, or absolute.  fold: "awq" or "smooth" with statistics that are made up, or NULL. */
static void convert(const char *dir, const char *quant, const char *fold, const scratch *out, char path[1100])
{
    hone_err             err = { 0 };
    hone_ctx             ctx = { .data_dir = HONE_TEST_SOURCE_DIR };
    hone_model           m;
    hone_convert_result  res = { 0 };
    hone_convert_options opt = { .quants = &quant, .n_quants = 1, .out_dir = out->dir, .name = "model", .fold = fold };
    hone_stats           stats;
    char                 from[1024];
    if (dir[0] == '/') snprintf(from, sizeof from, "%s", dir);
    else snprintf(from, sizeof from, "%s/%s", HONE_TEST_SOURCE_DIR, dir);
    if (hone_model_open(&ctx, from, &m, &err) != HONE_OK) fail_msg("%s: %s", dir, err.cause);
    if (fold) opt.stats = made_up_stats(&m, &stats);
    if (hone_convert(&ctx, &m, &opt, &res, &err) != HONE_OK) fail_msg("%s: %s", dir, err.cause);
    snprintf(path, 1100, "%s", res.outputs[0].path);
    if (fold) count_folds(dir, res.rewrites);
    hone_convert_result_release(&res);
    hone_model_close(&m);
}

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

typedef struct engine {
    struct llama_model   *model;
    struct llama_context *ctx;
} engine;

static void engine_open(engine *e, const char *path, uint32_t n_ctx, bool embeddings)
{
    struct llama_model_params mp = llama_model_default_params();
    mp.n_gpu_layers = 0;
    e->model = llama_model_load_from_file(path, mp);
    if (!e->model) fail_msg("llama.cpp does not load %s", path);
    struct llama_context_params cp = llama_context_default_params();
    cp.n_ctx = cp.n_batch = cp.n_ubatch = n_ctx;
    cp.n_threads = cp.n_threads_batch = 1;
    cp.type_k = cp.type_v = GGML_TYPE_F32;
    cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    cp.embeddings = embeddings;
    e->ctx = llama_init_from_model(e->model, cp);
    assert_non_null(e->ctx);
}

static void engine_close(engine *e)
{
    llama_free(e->ctx);
    llama_model_free(e->model);
}

static void run(engine *e, const int64_t *ids, uint64_t n)
{
    struct llama_batch b = llama_batch_init((int32_t)n, 0, 1);
    for (uint64_t i = 0; i < n; i++) {
        b.token[i] = (llama_token)ids[i];
        b.pos[i] = (llama_pos)i;
        b.n_seq_id[i] = 1;
        b.seq_id[i][0] = 0;
        b.logits[i] = 1;
    }
    b.n_tokens = (int32_t)n;
    llama_memory_t memory = llama_get_memory(e->ctx);
    if (memory) llama_memory_clear(memory, true);
    assert_int_equal(llama_decode(e->ctx, b), 0);
    llama_batch_free(b);
}

typedef struct verdict {
    double   kld_mean, kld_max;
    uint64_t differing, close; /* top-1 differs where the gap is over 0.01; positions with a smaller gap */
} verdict;

static double divergence(const float *p, const float *q, uint64_t n, bool *same, double *gap)
{
    uint64_t bp = 0, bq = 0, second;
    for (uint64_t i = 1; i < n; i++) {
        if (p[i] > p[bp]) bp = i;
        if (q[i] > q[bq]) bq = i;
    }
    second = bp == 0 ? 1 : 0;
    for (uint64_t i = 0; i < n; i++)
        if (i != bp && p[i] > p[second]) second = i;
    double zp = 0, zq = 0, kld = 0;
    for (uint64_t i = 0; i < n; i++) {
        zp += exp((double)p[i] - p[bp]);
        zq += exp((double)q[i] - q[bq]);
    }
    double lp = log(zp) + p[bp], lq = log(zq) + q[bq];
    for (uint64_t i = 0; i < n; i++) kld += exp(p[i] - lp) * ((p[i] - lp) - (q[i] - lq));
    *same = bp == bq;
    *gap = (double)p[bp] - p[second];
    return kld;
}

/* Positions [from, to) of every row. */
static verdict compare(engine *e, const reference *r, uint64_t from, uint64_t to)
{
    verdict  v = { 0 };
    uint64_t n = 0;
    if (to > r->len) to = r->len;
    assert_int_equal(llama_vocab_n_tokens(llama_model_get_vocab(e->model)), r->vocab);
    for (uint64_t row = 0; row < r->rows; row++) {
        run(e, r->ids + row * r->len, r->len);
        for (uint64_t i = from; i < to; i++, n++) {
            bool   same;
            double gap, kld = divergence(r->logits + (row * r->len + i) * r->vocab, llama_get_logits_ith(e->ctx, (int32_t)i), r->vocab, &same, &gap);
            v.kld_mean += kld;
            if (!(kld <= v.kld_max)) v.kld_max = kld;
            if (gap <= 0.01) v.close++;
            else if (!same) v.differing++;
        }
    }
    v.kld_mean /= (double)n;
    return v;
}

typedef struct family {
    const char *dir, *file;
    uint64_t    exact; /* positions from 0 on that must agree; 0: all */
    uint32_t    n_ctx;
} family;

#define TINY "tests/golden/tiny/"
static const family families[] = {
    { TINY "llama", "reference.safetensors", 0, 256 },
    { TINY "mistral", "reference.safetensors", 8, 256 }, /* data/limits.json: no-sliding-window */
    { TINY "qwen2", "reference.safetensors", 0, 256 },
    { TINY "qwen3", "reference.safetensors", 0, 256 },
    { TINY "phi3", "reference_long.safetensors", 0, 256 }, /* data/limits.json: rope-factors-by-context */
    { TINY "gemma2", "reference.safetensors", 0, 256 },
    { TINY "gemma3", "reference.safetensors", 0, 256 },
    { TINY "smollm3", "reference.safetensors", 0, 256 },
    { TINY "olmo2", "reference.safetensors", 0, 256 },
    { TINY "granite", "reference.safetensors", 0, 256 },
    { TINY "stablelm", "reference.safetensors", 0, 256 },
    { TINY "starcoder2", "reference.safetensors", 16, 256 }, /* data/limits.json: no-sliding-window */
    { TINY "gpt2", "reference.safetensors", 0, 256 },
    { TINY "gpt_neox", "reference.safetensors", 0, 256 },
    { TINY "mixtral", "reference.safetensors", 0, 256 },
    { TINY "qwen3_moe", "reference.safetensors", 0, 256 },
    { TINY "olmoe", "reference.safetensors", 0, 256 },
    { "examples/models/tale-8m", "reference.safetensors", 0, 512 },
    { "tests/golden/tale-moe", "reference.safetensors", 0, 512 },
};

static void check_families(const char *fold)
{
    int bad = 0;
    for (size_t i = 0; i < HONE_COUNT(families); i++) {
        const family *f = &families[i];
        scratch       out;
        reference     r;
        engine        e;
        char          path[1100];
        if (fold && strcmp(fold, "smooth") == 0 && strcmp(f->dir, TINY "olmo2") == 0) continue; /* its norms are behind the blocks */
        scratch_open(&out);
        convert(f->dir, "f32", fold, &out, path);
        reference_open(&r, f->dir, f->file, "logits");
        engine_open(&e, path, f->n_ctx, false);
        verdict v = compare(&e, &r, 0, f->exact ? f->exact : r.len);
        bool    ok = v.kld_mean <= 1e-5 && v.differing == 0;
        printf("%-32s kld mean %.3g max %.3g, top-1 differs at %u%s\n", f->dir, v.kld_mean, v.kld_max, (unsigned)v.differing, ok ? "" : "  <-- BAD");
        bad += !ok;
        engine_close(&e);
        hone_arena_release(&r.a);
        scratch_close(&out);
    }
    assert_int_equal(bad, 0);
}

static void logits_are_those_of_transformers(void **state)
{
    (void)state;
    check_families(NULL);
}

/* The model computes the same when scales have moved: passes/fold.h. */
static void logits_stay_when_awq_moves_scales(void **state)
{
    (void)state;
    check_families("awq");
}

static void logits_stay_when_smoothquant_moves_scales(void **state)
{
    (void)state;
    check_families("smooth");
}

/* ---- tests/golden/variants: what the tiny checkpoints do not show ---- */

#define VARIANTS VARIANT_FOLDER

static void variants_are_those_of_transformers(void **state)
{
    int  bad = 0, n = 0;
    DIR *d = opendir(VARIANTS);
    (void)state;
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));) {
        scratch   out;
        reference r;
        engine    e;
        char      folder[256], dir[512], path[1100];
        if (f->d_name[0] == '.') continue;
        scratch_open(&out);
        variant_assemble(f->d_name, scratch_path(&out, "checkpoint", folder));
        convert(folder, "f32", NULL, &out, path);
        snprintf(dir, sizeof dir, "tests/golden/variants/%s", f->d_name);
        reference_open(&r, dir, "reference.safetensors", "logits");
        engine_open(&e, path, 256, false);
        verdict v = compare(&e, &r, 0, r.len);
        bool    ok = v.kld_mean <= 1e-5 && v.differing == 0;
        if (strncmp(f->d_name, "beyond-", 7) == 0) ok = v.kld_mean > 1e-4; /* a row of data/limits.json: must still be true */
        printf("%-32s kld mean %.3g max %.3g, top-1 differs at %u%s\n", f->d_name, v.kld_mean, v.kld_max, (unsigned)v.differing, ok ? "" : "  <-- BAD");
        bad += !ok;
        n++;
        engine_close(&e);
        hone_arena_release(&r.a);
        scratch_close(&out);
    }
    closedir(d);
    assert_int_equal(bad, 0);
    assert_true(n >= 29);
}

/* The rows of data/limits.json, one by one: each must still be true, or it and its warning can go. */
static verdict beyond(const char *dir, const char *file, uint64_t from)
{
    scratch   out;
    reference r;
    engine    e;
    char      path[1100];
    scratch_open(&out);
    convert(dir, "f32", NULL, &out, path);
    reference_open(&r, dir, file, "logits");
    engine_open(&e, path, 256, false);
    verdict v = compare(&e, &r, from, r.len);
    engine_close(&e);
    hone_arena_release(&r.a);
    scratch_close(&out);
    return v;
}

static void llamacpp_has_no_window_for_mistral_and_starcoder2(void **state)
{
    (void)state;
    assert_true(beyond(TINY "mistral", "reference.safetensors", 8).kld_mean > 1e-4);
    assert_true(beyond(TINY "starcoder2", "reference.safetensors", 16).kld_mean > 1e-4);
}

static void llamacpp_takes_the_long_rope_factors_by_context_size(void **state)
{
    (void)state;
    assert_true(beyond(TINY "phi3", "reference.safetensors", 0).kld_mean > 1e-4);
}

static void bert_embeddings_are_those_of_transformers(void **state)
{
    scratch   out;
    reference r;
    engine    e;
    char      path[1100];
    double    worst = 0;
    (void)state;
    scratch_open(&out);
    convert(TINY "bert", "f32", NULL, &out, path);
    reference_open(&r, TINY "bert", "reference.safetensors", "embeddings");
    engine_open(&e, path, 256, true);
    assert_int_equal(llama_pooling_type(e.ctx), LLAMA_POOLING_TYPE_MEAN);
    for (uint64_t row = 0; row < r.rows; row++) {
        uint64_t n = row == 1 ? 18 : r.len; /* row 1 is padded after 18 ids */
        run(&e, r.ids + row * r.len, n);
        const float *got = llama_get_embeddings_seq(e.ctx, 0), *want = r.logits + row * r.vocab;
        double       norm = 0;
        assert_non_null(got);
        for (uint64_t i = 0; i < r.vocab; i++) norm += (double)got[i] * got[i];
        norm = sqrt(norm);
        for (uint64_t i = 0; i < r.vocab; i++)
            if (fabs(got[i] / norm - want[i]) > worst) worst = fabs(got[i] / norm - want[i]);
    }
    printf("embeddings differ by %.3g at most\n", worst);
    assert_true(worst < 1e-4); /* GELU through ggml's f16 table */
    engine_close(&e);
    hone_arena_release(&r.a);
    scratch_close(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_transformers),
        cmocka_unit_test(logits_stay_when_awq_moves_scales),
        cmocka_unit_test(logits_stay_when_smoothquant_moves_scales),
        cmocka_unit_test(variants_are_those_of_transformers),
        cmocka_unit_test(llamacpp_has_no_window_for_mistral_and_starcoder2),
        cmocka_unit_test(llamacpp_takes_the_long_rope_factors_by_context_size),
        cmocka_unit_test(bert_embeddings_are_those_of_transformers),
    };
    llama_log_set(quiet, NULL);
    llama_backend_init();
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    llama_backend_free();
    return rc;
}
