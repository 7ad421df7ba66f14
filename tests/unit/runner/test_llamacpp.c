/* What the llama.cpp plug-in promises beyond conformance: exactness against transformers, memory figures, embeddings, statistics of
 * activations.  Everything through the child process, on artefacts made by our own convert.
 * ctest: timeout 600 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/json.h"
#include "runner/fixture.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static fixture     f;
static const char *tale, *moe, *bert;

#define SRC(path) HONE_TEST_SOURCE_DIR "/" path
enum { LAYERS = 8, HIDDEN = 256, KV_WIDTH = 128, VOCAB = 2048, REF_LEN = 64 }; /* examples/models/tale-8m/config.json */

static int32_t *narrow(const int64_t *wide, size_t n)
{
    int32_t *ids = hone_arena_calloc(&f.a, n, sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)wide[i];
    return ids;
}

typedef struct judge {
    const float *want; /* [rows, n] */
    size_t       rows, n;
    double       worst;
} judge;

static void compare(void *user, size_t index, const float *values, size_t n_values)
{
    judge *j = user;
    assert_int_equal(n_values, j->n);
    for (size_t i = 0; i < n_values; i++) j->worst = fmax(j->worst, fabs((double)values[i] - (double)j->want[index * j->n + i]));
    j->rows++;
}

static void exact_logits_are_those_of_transformers(void **state)
{
    const char    *file = SRC("examples/models/tale-8m/reference.safetensors");
    const int32_t *ids = narrow(fixture_tensor(&f, file, "input_ids", 2 * REF_LEN, 8), 2 * REF_LEN);
    const float   *want = fixture_tensor(&f, file, "logits", 2 * REF_LEN * VOCAB, 4);
    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        hone_err     err = { 0 };
        hone_runner *r = fixture_run(&f, "llamacpp", (hone_backend_open){ .path = tale, .exact = exact }, NULL);
        judge        j = { .n = VOCAB };
        for (size_t b = 0; b < 2; b++) {
            j.want = want + b * REF_LEN * VOCAB;
            if (hone_runner_forward(r, ids + b * REF_LEN, REF_LEN, 0, NULL, compare, &j, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
        }
        assert_int_equal(j.rows, 2 * REF_LEN);
        /* Logits lie within +-20.  The f16 cache is visible, the exact mode leaves the order of sums. */
        if (exact)
            assert_true(j.worst < 1e-4);
        else
            assert_true(j.worst > 1e-4 && j.worst < 0.05);
        hone_runner_stop(r);
    }
}

static void long_texts_are_split_and_stay_the_same(void **state)
{
    enum { N = 120 };
    hone_err err = { 0 };
    float    whole[N], split[N], worst = 0;
    int32_t  ids[N];
    (void)state;
    for (int i = 0; i < N; i++) ids[i] = (i * 37 + 11) % VOCAB;
    hone_runner *r = fixture_run(&f, "llamacpp", (hone_backend_open){ .path = tale, .exact = true }, NULL);
    assert_int_equal(hone_runner_nll(r, ids, N, whole, &err), HONE_OK);
    assert_int_equal(hone_runner_open(r, &(hone_backend_open){ .path = tale, .exact = true, .batch = 7, .threads = 1 }, NULL, NULL, &err), HONE_OK);
    assert_int_equal(hone_runner_nll(r, ids, N, split, &err), HONE_OK);
    for (int i = 0; i + 1 < N; i++) worst = fmaxf(worst, fabsf(whole[i] - split[i]));
    assert_true(worst < 1e-3f);
    hone_runner_stop(r);
}

static void memory_figures_are_those_of_the_shape(void **state)
{
    hone_backend_info f16 = { 0 }, f32 = { 0 }, q8 = { 0 };
    const char       *q8_path = fixture_gguf(&f, "examples/models/tale-8m", "q8_0");
    (void)state;
    hone_runner_stop(fixture_run(&f, "llamacpp", (hone_backend_open){ .path = tale, .context = 512 }, &f16));
    hone_runner_stop(fixture_run(&f, "llamacpp", (hone_backend_open){ .path = tale, .context = 512, .exact = true }, &f32));
    hone_runner_stop(fixture_run(&f, "llamacpp", (hone_backend_open){ .path = q8_path, .context = 512 }, &q8));
    assert_int_equal(f16.n_ctx, 512);
    assert_int_equal(f16.kv_bytes, 2ull * LAYERS * 512 * KV_WIDTH * 2);
    assert_int_equal(f32.kv_bytes, 2 * f16.kv_bytes);
    assert_int_equal(f16.weights_bytes, 4 * f16.n_params);
    assert_true(q8.weights_bytes < f16.weights_bytes / 3);
    assert_true(f16.compute_bytes > VOCAB * sizeof(float));
    assert_int_equal(f16.n_params, 7344384);
    assert_string_equal(f16.runtime, "llama.cpp");
}

static void the_models_own_template_and_tokenizer_give_the_reference_ids(void **state)
{
    hone_err     err = { 0 };
    json_t      *cases = NULL, *one;
    size_t       k, n_chats = 0;
    hone_runner *r = fixture_run(&f, "llamacpp", (hone_backend_open){ .path = tale, .vocab_only = true }, NULL);
    (void)state;
    assert_int_equal(hone_json_load(SRC("examples/models/tale-8m/tokenizer_cases.json"), &cases, &err), HONE_OK);
    json_array_foreach (json_object_get(cases, "chat"), k, one) {
        char    *messages = json_dumps(json_object_get(one, "messages"), JSON_COMPACT), *text = NULL;
        bool     prompt = json_is_true(json_object_get(one, "add_generation_prompt"));
        size_t   len = 0, n = 0;
        int32_t *ids = NULL;
        json_t  *want = json_object_get(one, "ids");
        if (hone_runner_render(r, messages, prompt ? "{\"add_generation_prompt\":true}" : NULL, &f.a, &text, &len, &err) != HONE_OK)
            fail_msg("%s", err.cause);
        assert_string_equal(text, json_string_value(json_object_get(one, "rendered")));
        assert_int_equal(hone_runner_tokenize(r, text, len, false, true, &f.a, &ids, &n, &err), HONE_OK);
        assert_int_equal(n, json_array_size(want));
        for (size_t i = 0; i < n; i++) assert_int_equal(ids[i], json_integer_value(json_array_get(want, i)));
        free(messages);
        n_chats++;
    }
    assert_int_equal(n_chats, 12);
    json_decref(cases);
    hone_runner_stop(r);
}

/* --- embeddings ---------------------------------------------------------------------------------------------------------- */
enum { BERT_LEN = 24, BERT_UNMASKED = 18 }; /* tests/golden/tiny/README.md: row 1 is padded after 18 ids */

typedef struct vectors {
    float  v[BERT_LEN][256];
    size_t n, last;
} vectors;

static void take_vector(void *user, size_t index, const float *values, size_t n_values)
{
    vectors *s = user;
    assert_int_equal(n_values, 256);
    assert_true(index < BERT_LEN);
    memcpy(s->v[index], values, n_values * sizeof *values);
    s->last = index;
    s->n++;
}

static void an_encoder_gives_hidden_states_and_one_pooled_vector(void **state)
{
    const char    *file = SRC("tests/golden/tiny/bert/reference.safetensors");
    const int32_t *ids = narrow(fixture_tensor(&f, file, "input_ids", 2 * BERT_LEN, 8), 2 * BERT_LEN);
    const float   *hidden = fixture_tensor(&f, file, "last_hidden_state", 2 * BERT_LEN * 256, 4);
    const float   *pooled = fixture_tensor(&f, file, "embeddings", 2 * 256, 4);
    const size_t   len[2] = { BERT_LEN, BERT_UNMASKED };
    hone_err       err = { 0 };
    (void)state;
    hone_runner *states = fixture_run(&f, "llamacpp", (hone_backend_open){ .path = bert, .exact = true, .embeddings = true, .hidden = true }, NULL);
    hone_runner *pool = fixture_run(&f, "llamacpp", (hone_backend_open){ .path = bert, .exact = true, .embeddings = true }, NULL);
    for (size_t b = 0; b < 2; b++) {
        vectors s = { .n = 0 };
        double  worst = 0, norm = 0;
        if (hone_runner_forward(states, ids + b * BERT_LEN, len[b], 0, NULL, take_vector, &s, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
        assert_int_equal(s.n, len[b]);
        for (size_t i = 0; i < len[b]; i++)
            for (size_t k = 0; k < 256; k++) worst = fmax(worst, fabs((double)s.v[i][k] - (double)hidden[(b * BERT_LEN + i) * 256 + k]));
        /* ggml's GELU is a table of f16 values of the tanh form (ggml-cpu/vec.h, GGML_GELU_FP16); measured here: 1.5e-3. */
        assert_true(worst < 4e-3);
        s = (vectors){ .n = 0 };
        if (hone_runner_forward(pool, ids + b * BERT_LEN, len[b], 0, NULL, take_vector, &s, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
        assert_int_equal(s.n, 1);
        assert_int_equal(s.last, len[b] - 1);
        for (size_t k = 0; k < 256; k++) norm += (double)s.v[s.last][k] * (double)s.v[s.last][k];
        worst = 0;
        for (size_t k = 0; k < 256; k++) worst = fmax(worst, fabs((double)s.v[s.last][k] / sqrt(norm) - (double)pooled[b * 256 + k]));
        assert_true(worst < 4e-4);
    }
    hone_runner_stop(states);
    hone_runner_stop(pool);
    /* Asked for logits it says what it is. */
    assert_int_equal(hone_runner_start(&f.ctx, &(hone_runner_options){ .backend = "llamacpp", .timeout_s = 60 }, &pool, &err), HONE_OK);
    assert_int_equal(hone_runner_open(pool, &(hone_backend_open){ .path = bert, .device = "cpu" }, NULL, NULL, &err), HONE_EUNSUPPORTED);
    assert_non_null(strstr(err.cause, "is an encoder: it has embeddings but no logits"));
    hone_runner_stop(pool);
}

/* --- behind every layer -------------------------------------------------------------------------------------------------- */
typedef struct last_layer {
    float  v[REF_LEN][HIDDEN]; /* of the layer that came last */
    size_t n, n_layers;
} last_layer;

static void take_layer(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd)
{
    last_layer *l = user;
    assert_int_equal(layer, l->n_layers++);
    assert_int_equal(n_embd, HIDDEN);
    assert_true(n <= REF_LEN);
    l->n = n;
    memcpy(l->v, values, n * n_embd * sizeof *values);
}

static float bf16(uint16_t v)
{
    uint32_t bits = (uint32_t)v << 16;
    float    x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The last one through the checkpoint's own final norm and head must be the reference's logits. */
static void behind_the_last_layer_stands_what_the_logits_are_made_of(void **state)
{
    const char     *file = SRC("examples/models/tale-8m/reference.safetensors"), *model = SRC("examples/models/tale-8m/model.safetensors");
    const int32_t  *ids = narrow(fixture_tensor(&f, file, "input_ids", 2 * REF_LEN, 8), 2 * REF_LEN);
    const float    *want = fixture_tensor(&f, file, "logits", 2 * REF_LEN * VOCAB, 4);
    const uint16_t *norm = fixture_tensor(&f, model, "model.norm.weight", HIDDEN, 2);
    const uint16_t *head = fixture_tensor(&f, model, "lm_head.weight", (size_t)VOCAB * HIDDEN, 2);
    hone_err        err = { 0 };
    double          worst = 0;
    (void)state;
    for (uint32_t batch = 0; batch < 8; batch += 7) { /* in one piece, and in pieces of 7 */
        hone_runner *r = fixture_run(&f, "llamacpp", (hone_backend_open){ .path = tale, .exact = true, .batch = batch }, NULL);
        last_layer   l = { .n = 0 };
        if (hone_runner_layers(r, ids, REF_LEN, take_layer, &l, &err) != HONE_OK) fail_msg("%s", err.cause);
        assert_int_equal(l.n_layers, LAYERS);
        assert_int_equal(l.n, REF_LEN);
        for (size_t i = 0; i < REF_LEN; i += 9) {
            double square = 0;
            for (size_t k = 0; k < HIDDEN; k++) square += (double)l.v[i][k] * (double)l.v[i][k];
            double scale = 1 / sqrt(square / HIDDEN + 1e-5);
            for (size_t j = 0; j < VOCAB; j += 17) {
                double sum = 0;
                for (size_t k = 0; k < HIDDEN; k++) sum += (double)l.v[i][k] * scale * (double)bf16(norm[k]) * (double)bf16(head[j * HIDDEN + k]);
                worst = fmax(worst, fabs(sum - (double)want[i * VOCAB + j]));
            }
        }
        hone_runner_stop(r);
    }
    assert_true(worst < 1e-4);
}

static void behind_the_last_layer_of_an_encoder_stand_its_hidden_states(void **state)
{
    const char    *file = SRC("tests/golden/tiny/bert/reference.safetensors");
    const int32_t *ids = narrow(fixture_tensor(&f, file, "input_ids", 2 * BERT_LEN, 8), 2 * BERT_LEN);
    const float   *hidden = fixture_tensor(&f, file, "last_hidden_state", 2 * BERT_LEN * 256, 4);
    hone_err       err = { 0 };
    last_layer     l = { .n = 0 };
    double         worst = 0;
    (void)state;
    hone_runner *r = fixture_run(&f, "llamacpp", (hone_backend_open){ .path = bert, .exact = true, .embeddings = true }, NULL);
    if (hone_runner_layers(r, ids, BERT_LEN, take_layer, &l, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(l.n, BERT_LEN);
    for (size_t i = 0; i < BERT_LEN; i++)
        for (size_t k = 0; k < 256; k++) worst = fmax(worst, fabs((double)l.v[i][k] - (double)hidden[i * 256 + k]));
    assert_true(worst < 4e-3); /* as above */
    hone_runner_stop(r);
}

/* --- activation statistics ------------------------------------------------------------------------------------------------- */
typedef struct stats {
    size_t   n, n_experts, n_dense;
    float    attn_q[HIDDEN];
    uint64_t expert_rows; /* of blk.0.ffn_up_exps */
    bool     output, router;
} stats;

static void take_stat(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts)
{
    stats *s = user;
    s->n++;
    s->n_dense += n_mats == 1;
    s->n_experts += n_mats > 1;
    for (size_t i = 0; i < n_mats; i++) {
        double sum = 0;
        for (size_t k = 0; k < n_cols; k++) {
            assert_true(isfinite(sum_sq[i * n_cols + k]) && sum_sq[i * n_cols + k] >= 0);
            sum += (double)sum_sq[i * n_cols + k];
        }
        assert_true((sum > 0) == (counts[i] > 0));
        if (strcmp(name, "blk.0.ffn_up_exps.weight") == 0) s->expert_rows += counts[i];
        if (n_mats == 1) assert_int_equal(counts[i], 40);
    }
    if (strcmp(name, "blk.0.attn_q.weight") == 0 && n_cols == HIDDEN) memcpy(s->attn_q, sum_sq, sizeof s->attn_q);
    if (strcmp(name, "blk.0.ffn_gate_inp.weight") == 0) s->router = true;
    if (strcmp(name, "output.weight") == 0) s->output = true;
}

static float from_bf16(uint16_t v)
{
    uint32_t bits = (uint32_t)v << 16;
    float    out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

static void capture_sums_the_squares_of_what_each_matrix_sees(void **state)
{
    enum { N = 40 };
    const char     *file = SRC("examples/models/tale-8m/model.safetensors");
    const uint16_t *embd = fixture_tensor(&f, file, "model.embed_tokens.weight", VOCAB * HIDDEN, 2);
    const uint16_t *norm = fixture_tensor(&f, file, "model.layers.0.input_layernorm.weight", HIDDEN, 2);
    hone_err        err = { 0 };
    stats           s = { .n = 0 };
    double          want[HIDDEN] = { 0 };
    int32_t         ids[N];
    (void)state;
    for (int i = 0; i < N; i++) ids[i] = (i * 53 + 6) % VOCAB;
    hone_runner *r = fixture_run(&f, "llamacpp", (hone_backend_open){ .path = tale, .batch = 16 }, NULL); /* three graphs */
    if (hone_runner_capture(r, ids, N, take_stat, &s, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(s.n, LAYERS * 7 + 1);
    assert_true(s.output);
    /* The first matrix sees the normalised embeddings: x / sqrt(mean(x^2) + eps) * weight (arXiv:1910.07467). */
    for (int i = 0; i < N; i++) {
        double mean = 0;
        for (size_t k = 0; k < HIDDEN; k++) mean += pow((double)from_bf16(embd[(size_t)ids[i] * HIDDEN + k]), 2) / HIDDEN;
        for (size_t k = 0; k < HIDDEN; k++)
            want[k] += pow((double)from_bf16(embd[(size_t)ids[i] * HIDDEN + k]) / sqrt(mean + 1e-5) * (double)from_bf16(norm[k]), 2);
    }
    for (size_t k = 0; k < HIDDEN; k++) assert_true(fabs((double)s.attn_q[k] - want[k]) <= 1e-4 * want[k] + 1e-6);
    /* Other requests do not notice. */
    assert_int_equal(hone_runner_forward(r, ids, 3, 0, NULL, NULL, NULL, NULL, &err), HONE_OK);
    assert_int_equal(hone_runner_capture(r, ids, N, take_stat, &s, &err), HONE_OK);
    assert_int_equal(hone_runner_forward(r, ids, 3, 3, NULL, NULL, NULL, NULL, &err), HONE_OK);
    hone_runner_stop(r);
}

static void capture_counts_the_rows_of_each_expert(void **state)
{
    enum { N = 40, USED = 2 }; /* tests/golden/tale-moe/config.json: num_experts_per_tok */
    hone_err err = { 0 };
    stats    s = { .n = 0 };
    int32_t  ids[N];
    (void)state;
    for (int i = 0; i < N; i++) ids[i] = (i * 53 + 6) % VOCAB;
    hone_runner *r = fixture_run(&f, "llamacpp", (hone_backend_open){ .path = moe }, NULL);
    if (hone_runner_capture(r, ids, N, take_stat, &s, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_true(s.router);
    assert_true(s.n_experts > 0 && s.n_experts % 3 == 0);
    assert_int_equal(s.expert_rows, N * USED);
    hone_runner_stop(r);
}

/* --- the rows themselves ----------------------------------------------------------------------------------------------------- */
typedef struct summed { /* one weight, by capture and by its rows */
    const char *name;
    size_t      n_mats, n_cols;
    float       by_capture[8 * 1024];
    double      by_rows[8 * 1024];
    uint64_t    counts[8], rows[8];
} summed;

static void keep_named(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts)
{
    summed *s = user;
    if (strcmp(name, s->name) != 0) return;
    assert_true(n_mats <= 8 && n_mats * n_cols <= 8 * 1024);
    s->n_mats = n_mats;
    s->n_cols = n_cols;
    memcpy(s->by_capture, sum_sq, n_mats * n_cols * sizeof *sum_sq);
    memcpy(s->counts, counts, n_mats * sizeof *counts);
}

static void add_rows(void *user, size_t name, const float *rows, size_t n_rows, size_t n_cols, size_t n_mats, const uint32_t *mats)
{
    summed *s = user;
    if (name != 1) return;
    assert_int_equal(n_cols, s->n_cols);
    assert_int_equal(n_mats, s->n_mats);
    for (size_t i = 0; i < n_rows; i++) {
        const size_t mat = mats ? mats[i] : 0;
        for (size_t j = 0; j < n_cols; j++) s->by_rows[mat * n_cols + j] += (double)rows[i * n_cols + j] * (double)rows[i * n_cols + j];
        s->rows[mat]++;
    }
}

static void compare_rows(const char *path, const char *name, uint64_t rows)
{
    enum { N = 40 };
    const char *names[] = { "blk.1.attn_output.weight", name };
    hone_err    err = { 0 };
    uint64_t    all = 0;
    int32_t     ids[N];
    summed     *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->name = name;
    for (int i = 0; i < N; i++) ids[i] = (i * 53 + 6) % VOCAB;
    hone_runner *r = fixture_run(&f, "llamacpp", (hone_backend_open){ .path = path, .batch = 16 }, NULL);
    if (hone_runner_capture(r, ids, N, keep_named, s, &err) != HONE_OK) fail_msg("%s", err.cause);
    if (hone_runner_inputs(r, ids, N, names, 2, add_rows, s, &err) != HONE_OK) fail_msg("%s", err.cause);
    for (size_t k = 0; k < s->n_mats; k++) {
        assert_int_equal(s->rows[k], s->counts[k]);
        all += s->rows[k];
        for (size_t j = 0; j < s->n_cols; j++) assert_true(s->by_capture[k * s->n_cols + j] == (float)s->by_rows[k * s->n_cols + j]);
    }
    assert_int_equal(all, rows);
    names[0] = "blk.0.attn_norm.weight"; /* it is added, not multiplied */
    assert_int_equal(hone_runner_inputs(r, ids, N, names, 2, NULL, NULL, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "no weight 'blk.0.attn_norm.weight' is multiplied with rows of f32");
    /* The cache is empty now. */
    assert_int_equal(hone_runner_forward(r, ids, 3, 0, NULL, NULL, NULL, NULL, &err), HONE_OK);
    hone_runner_stop(r);
    free(s);
}

static void inputs_are_the_rows_that_capture_sums(void **state)
{
    (void)state;
    compare_rows(tale, "blk.2.ffn_down.weight", 40);
    compare_rows(tale, "output.weight", 40);
    compare_rows(moe, "blk.0.ffn_up_exps.weight", 2 * 40);
    compare_rows(moe, "blk.3.ffn_down_exps.weight", 2 * 40);
}

int main(void)
{
    fixture_open(&f);
    if (!fixture_have(&f, "llamacpp")) {
        fixture_close(&f);
        return 77;
    }
    tale = fixture_gguf(&f, "examples/models/tale-8m", "f32");
    moe = fixture_gguf(&f, "tests/golden/tale-moe", "f32");
    bert = fixture_gguf(&f, "tests/golden/tiny/bert", "f32");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_logits_are_those_of_transformers),
        cmocka_unit_test(long_texts_are_split_and_stay_the_same),
        cmocka_unit_test(memory_figures_are_those_of_the_shape),
        cmocka_unit_test(the_models_own_template_and_tokenizer_give_the_reference_ids),
        cmocka_unit_test(an_encoder_gives_hidden_states_and_one_pooled_vector),
        cmocka_unit_test(behind_the_last_layer_stands_what_the_logits_are_made_of),
        cmocka_unit_test(behind_the_last_layer_of_an_encoder_stand_its_hidden_states),
        cmocka_unit_test(capture_sums_the_squares_of_what_each_matrix_sees),
        cmocka_unit_test(capture_counts_the_rows_of_each_expert),
        cmocka_unit_test(inputs_are_the_rows_that_capture_sums),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    fixture_close(&f);
    return rc;
}
