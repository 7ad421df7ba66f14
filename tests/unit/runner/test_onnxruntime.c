/* What the ONNX Runtime plug-in promises beyond conformance: every family as transformers computes it, with the cache in place and with
 * one that the graph copies; encoders; what is behind each layer; memory figures; folders that are broken.
 * ctest: timeout 900
 * ctest: runtime */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "flow/convert.h"
#include "formats/onnx.h"
#include "runner/parity.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static fixture     f;
static const char *tale, *plain, *bert; /* plain: operators of the standard only */

#define SRC(path) HONE_TEST_SOURCE_DIR "/" path
enum { LAYERS = 8, HIDDEN = 256, KV_WIDTH = 128, VOCAB = 2048, REF_LEN = 64 }; /* examples/models/tale-8m/config.json */
enum { BERT_LEN = 24, BERT_UNMASKED = 18 }; /* tests/golden/tiny/README.md: row 1 is padded after 18 ids */

static const char *convert(const char *checkpoint, const char *encoding, bool standard)
{
    static unsigned            n;
    hone_err                   err = { 0 };
    hone_model                 m = { 0 };
    hone_convert_result        res = { 0 };
    const char                *dir = hone_arena_printf(&f.a, "%s/onnx%u", f.dir, n++), *from = hone_arena_printf(&f.a, SRC("%s"), checkpoint);
    const hone_convert_options opt = { .quants = &encoding, .n_quants = 1, .out_dir = dir, .name = "m", .onnx_standard = standard };
    assert_int_equal(mkdir(dir, 0777), 0);
    if (hone_model_open(&f.ctx, from, &m, &err) != HONE_OK || hone_convert(&f.ctx, &m, &opt, &res, &err) != HONE_OK) fail_msg("%s: %s", checkpoint, err.cause);
    const char *path = hone_arena_strdup(&f.a, res.outputs[0].path);
    hone_convert_result_release(&res);
    hone_model_close(&m);
    return path;
}

static int32_t *narrow(const int64_t *wide, size_t n)
{
    int32_t *ids = hone_arena_calloc(&f.a, n, sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)wide[i];
    return ids;
}

static hone_runner *start(void)
{
    hone_err     err = { 0 };
    hone_runner *r = NULL;
    if (hone_runner_start(&f.ctx, &(hone_runner_options){ .backend = "onnxruntime", .timeout_s = 120 }, &r, &err) != HONE_OK) fail_msg("%s", err.cause);
    return r;
}

/* --- exactness --------------------------------------------------------------------------------------------------------- */
static void every_family_is_as_transformers_computes_it(void **state)
{
    hone_runner *r = start();
    (void)state;
    int bad = parity_judge_all(&f, r, "onnx", "f32", 1e-5, 0.01, true) + parity_judge_all(&f, r, "onnx", "f16", 1e-3, 0.03, true);
    hone_runner_stop(r);
    assert_int_equal(bad, 0);
}

/* The reference once more, in pieces: what is kept between calls is what the whole text has, in place and when the graph copies it. */
static void every_family_continues_from_its_cache(void **state)
{
    hone_runner *r = start();
    int          bad = 0;
    (void)state;
    for (size_t i = 0; i < parity_n_models; i++) {
        const parity_model *p = &parity_models[i];
        /* Keys that were rotated by the short table stay so when a text grows into the long one; a text evaluated at once has none of those. */
        if (strcmp(p->reference, "reference.safetensors") != 0) continue;
        for (int standard = 0; standard < 2; standard++) {
            const char       *artefact = convert(p->dir, "onnx=f32", standard), *reference = hone_arena_printf(&f.a, "%s/%s", p->dir, p->reference);
            hone_backend_info info = { 0 };
            for (uint32_t batch = 1; batch <= 7; batch += 6) {
                parity_verdict v = parity_judge(r, artefact, reference, 0.01, (hone_backend_open){ .batch = batch }, &info);
                if (v.kld <= 1e-9 && v.wrong == 0 && v.n > 0) continue;
                printf("%s, %s, %u at a time: kld mean %.2g max %.2g, %zu wrong of %zu\n", p->dir, info.description, batch, v.kld, v.worst, v.wrong, v.n);
                bad++;
            }
        }
    }
    hone_runner_stop(r);
    assert_int_equal(bad, 0);
}

/* nll of a long text whole, in batches of 7, and after a detour that is rewound. */
static void long_texts_are_split_and_rewound_and_stay_the_same(void **state)
{
    enum { N = 120, BACK = 50 };
    const char *const artefacts[] = { tale, plain };
    hone_err          err = { 0 };
    float             whole[N], split[N], worst = 0;
    int32_t           ids[N];
    (void)state;
    for (int i = 0; i < N; i++) ids[i] = (i * 37 + 11) % VOCAB;
    for (size_t k = 0; k < HONE_COUNT(artefacts); k++) {
        hone_backend_info info = { 0 };
        hone_runner      *r = fixture_run(&f, "onnxruntime", (hone_backend_open){ .path = artefacts[k] }, &info);
        assert_non_null(strstr(info.description, k == 0 ? "cache in place" : "cache copied by the graph"));
        if (hone_runner_nll(r, ids, N, whole, &err) != HONE_OK) fail_msg("%s", err.cause);
        if (hone_runner_open(r, &(hone_backend_open){ .path = artefacts[k], .batch = 7, .threads = 1 }, NULL, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
        assert_int_equal(hone_runner_nll(r, ids, N, split, &err), HONE_OK);
        for (int i = 0; i + 1 < N; i++) worst = fmaxf(worst, fabsf(whole[i] - split[i]));
        /* Two tokens behind a rewound cache continue as they do in the whole text. */
        assert_int_equal(hone_runner_rewind(r, BACK, &err), HONE_OK);
        assert_int_equal(hone_runner_forward(r, ids + BACK + 9, 5, BACK, NULL, NULL, NULL, NULL, &err), HONE_OK);
        assert_int_equal(hone_runner_rewind(r, BACK, &err), HONE_OK);
        assert_int_equal(hone_runner_forward(r, ids + BACK, N - BACK, BACK, NULL, NULL, NULL, NULL, &err), HONE_OK);
        assert_int_equal(hone_runner_forward(r, ids, 1, N + 1, NULL, NULL, NULL, NULL, &err), HONE_EBUG);
        hone_runner_stop(r);
    }
    assert_true(worst < 1e-3f);
}

static void memory_figures_are_those_of_the_shape(void **state)
{
    hone_backend_info shared = { 0 }, copied = { 0 };
    struct stat       st;
    (void)state;
    hone_runner_stop(fixture_run(&f, "onnxruntime", (hone_backend_open){ .path = tale, .context = 256 }, &shared));
    hone_runner_stop(fixture_run(&f, "onnxruntime", (hone_backend_open){ .path = plain, .context = 100000 }, &copied));
    assert_int_equal(stat(hone_arena_printf(&f.a, "%s/" HONE_ONNX_DATA, tale), &st), 0);
    assert_true(shared.weights_bytes >= 4 * 7344384 && shared.weights_bytes <= (uint64_t)st.st_size + 65536);
    assert_int_equal(shared.n_ctx, 256);
    assert_int_equal(copied.n_ctx, 512); /* tables of positions end with the model's own context */
    assert_int_equal(shared.kv_bytes, 2ull * LAYERS * 256 * KV_WIDTH * 4);
    assert_int_equal(copied.kv_bytes, 2 * 2 * shared.kv_bytes); /* twice the context, two buffers */
    assert_string_equal(shared.runtime, "ONNX Runtime");
    assert_int_equal(shared.n_embd, HIDDEN);
    assert_int_equal(shared.bos, 1);
    assert_int_equal(shared.eos, 0);
    assert_false(shared.text);
}

/* --- encoders ---------------------------------------------------------------------------------------------------------- */
typedef struct vectors {
    float  v[BERT_LEN][HIDDEN];
    size_t n, last;
} vectors;

static void take_vector(void *user, size_t index, const float *values, size_t n_values)
{
    vectors *s = user;
    assert_int_equal(n_values, HIDDEN);
    assert_true(index < BERT_LEN);
    memcpy(s->v[index], values, n_values * sizeof *values);
    s->last = index;
    s->n++;
}

static void an_encoder_gives_hidden_states_and_one_pooled_vector(void **state)
{
    const char    *file = SRC("tests/golden/tiny/bert/reference.safetensors");
    const int32_t *ids = narrow(fixture_tensor(&f, file, "input_ids", 2 * BERT_LEN, 8), 2 * BERT_LEN);
    const float   *hidden = fixture_tensor(&f, file, "last_hidden_state", 2 * BERT_LEN * HIDDEN, 4);
    const float   *pooled = fixture_tensor(&f, file, "embeddings", 2 * HIDDEN, 4);
    const size_t   len[2] = { BERT_LEN, BERT_UNMASKED };
    hone_err       err = { 0 };
    (void)state;
    hone_runner *states = fixture_run(&f, "onnxruntime", (hone_backend_open){ .path = bert, .embeddings = true, .hidden = true }, NULL);
    hone_runner *pool = fixture_run(&f, "onnxruntime", (hone_backend_open){ .path = bert, .embeddings = true }, NULL);
    for (size_t b = 0; b < 2; b++) {
        vectors s = { .n = 0 };
        double  worst = 0;
        if (hone_runner_forward(states, ids + b * BERT_LEN, len[b], 0, NULL, take_vector, &s, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
        assert_int_equal(s.n, len[b]);
        for (size_t i = 0; i < len[b]; i++)
            for (size_t k = 0; k < HIDDEN; k++) worst = fmax(worst, fabs((double)s.v[i][k] - (double)hidden[(b * BERT_LEN + i) * HIDDEN + k]));
        assert_true(worst < 1e-4);
        s = (vectors){ .n = 0 };
        worst = 0;
        if (hone_runner_forward(pool, ids + b * BERT_LEN, len[b], 0, NULL, take_vector, &s, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
        assert_int_equal(s.n, 1);
        assert_int_equal(s.last, len[b] - 1);
        for (size_t k = 0; k < HIDDEN; k++) worst = fmax(worst, fabs((double)s.v[s.last][k] - (double)pooled[b * HIDDEN + k]));
        assert_true(worst < 1e-5);
    }
    hone_runner_stop(states);
    hone_runner_stop(pool);
    hone_runner *r = start();
    assert_int_equal(hone_runner_open(r, &(hone_backend_open){ .path = bert, .device = "cpu" }, NULL, NULL, &err), HONE_EUNSUPPORTED);
    assert_non_null(strstr(err.cause, "is an encoder: it has embeddings but no logits"));
    assert_int_equal(hone_runner_open(r, &(hone_backend_open){ .path = tale, .embeddings = true }, NULL, NULL, &err), HONE_EUNSUPPORTED);
    assert_non_null(strstr(err.cause, "has no output 'last_hidden_state'"));
    hone_runner_stop(r);
}

/* --- behind every layer -------------------------------------------------------------------------------------------------- */
typedef struct stream {
    float  v[LAYERS][REF_LEN][HIDDEN];
    size_t n, n_layers;
} stream;

static void take_layer(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd)
{
    stream *s = user;
    assert_int_equal(layer, s->n_layers++);
    assert_int_equal(n_embd, HIDDEN);
    assert_true(n <= REF_LEN && layer < LAYERS);
    s->n = n;
    memcpy(s->v[layer], values, n * n_embd * sizeof *values);
}

static stream *stream_of(const char *backend, const char *artefact, const int32_t *ids, size_t n, bool encoder)
{
    hone_err     err = { 0 };
    stream      *s = hone_arena_alloc(&f.a, sizeof *s);
    hone_runner *r = fixture_run(&f, backend, (hone_backend_open){ .path = artefact, .exact = true, .embeddings = encoder }, NULL);
    assert_non_null(s);
    if (hone_runner_layers(r, ids, n, take_layer, s, &err) != HONE_OK) fail_msg("%s", err.cause);
    hone_runner_stop(r);
    return s;
}

/* llama.cpp's own names for the same places, through code that shares nothing with ours: every layer must agree. */
static void every_layer_is_as_llama_cpp_has_it(void **state)
{
    const char    *file = SRC("examples/models/tale-8m/reference.safetensors");
    const int32_t *ids = narrow(fixture_tensor(&f, file, "input_ids", 2 * REF_LEN, 8), 2 * REF_LEN);
    (void)state;
    if (!fixture_have(&f, "llamacpp")) skip();
    const stream *theirs = stream_of("llamacpp", fixture_gguf(&f, "examples/models/tale-8m", "f32"), ids, REF_LEN, false);
    const char *const artefacts[] = { tale, plain };
    for (size_t k = 0; k < HONE_COUNT(artefacts); k++) {
        const stream *ours = stream_of("onnxruntime", artefacts[k], ids, REF_LEN, false);
        double        worst = 0;
        assert_int_equal(ours->n_layers, LAYERS);
        assert_int_equal(ours->n, REF_LEN);
        for (size_t l = 0; l < LAYERS; l++)
            for (size_t i = 0; i < REF_LEN; i++)
                for (size_t c = 0; c < HIDDEN; c++) worst = fmax(worst, fabs((double)ours->v[l][i][c] - (double)theirs->v[l][i][c]));
        assert_true(worst < 1e-3);
    }
}

static void behind_the_last_layer_of_an_encoder_stand_its_hidden_states(void **state)
{
    const char    *file = SRC("tests/golden/tiny/bert/reference.safetensors");
    const int32_t *ids = narrow(fixture_tensor(&f, file, "input_ids", 2 * BERT_LEN, 8), 2 * BERT_LEN);
    const float   *hidden = fixture_tensor(&f, file, "last_hidden_state", 2 * BERT_LEN * HIDDEN, 4);
    double         worst = 0;
    (void)state;
    const stream *s = stream_of("onnxruntime", bert, ids, BERT_LEN, true);
    assert_int_equal(s->n_layers, 2);
    for (size_t i = 0; i < BERT_LEN; i++)
        for (size_t c = 0; c < HIDDEN; c++) worst = fmax(worst, fabs((double)s->v[1][i][c] - (double)hidden[i * HIDDEN + c]));
    assert_true(worst < 1e-4);
}

/* --- broken folders ------------------------------------------------------------------------------------------------------ */
/* A copy of tale's folder: its small files and model.onnx of its own, the weights linked. */
static const char *copy_folder(const char *name, bool data)
{
    static const char *const files[] = { HONE_ONNX_GENAI, "config.json", HONE_ONNX_MODEL };
    hone_err    err = { 0 };
    const char *dir = hone_arena_printf(&f.a, "%s/%s", f.dir, name);
    assert_int_equal(mkdir(dir, 0777), 0);
    for (size_t i = 0; i < HONE_COUNT(files); i++) {
        hone_bytes b;
        assert_int_equal(hone_file_slurp(hone_arena_printf(&f.a, "%s/%s", tale, files[i]), 1u << 24, &f.a, &b, &err), HONE_OK);
        assert_int_equal(hone_out_put(hone_arena_printf(&f.a, "%s/%s", dir, files[i]), b.ptr, b.len, &err), HONE_OK);
    }
    if (data) assert_int_equal(link(hone_arena_printf(&f.a, "%s/" HONE_ONNX_DATA, tale), hone_arena_printf(&f.a, "%s/" HONE_ONNX_DATA, dir)), 0);
    return dir;
}

static void put(const char *dir, const char *file, const void *bytes, size_t n)
{
    hone_err err = { 0 };
    assert_int_equal(hone_out_put(hone_arena_printf(&f.a, "%s/%s", dir, file), bytes, n, &err), HONE_OK);
}

static void put_text(const char *dir, const char *file, const char *text) { put(dir, file, text, strlen(text)); }

/* Opens dir and wants this end; one line, which names the folder. */
static void refused(hone_runner *r, const char *dir, hone_code code, const char *cause)
{
    hone_err  err = { 0 };
    hone_code got = hone_runner_open(r, &(hone_backend_open){ .path = dir }, NULL, NULL, &err);
    if (got != code || !strstr(err.cause, cause) || !strstr(err.cause, dir) || strchr(err.cause, '\n'))
        fail_msg("%s: code %d: %s\nwanted: %d: %s", dir, (int)got, err.cause, (int)code, cause);
}

/* Both of one length: a name in the file is replaced where it lies. */
static void rename_in(uint8_t *b, size_t len, const char *from, const char *to)
{
    size_t n = strlen(from), found = 0;
    for (size_t i = 0; i + n <= len; i++) {
        if (memcmp(b + i, from, n) != 0) continue;
        memcpy(b + i, to, n);
        found++;
    }
    assert_true(found > 0);
}

static void a_broken_folder_is_one_clear_error(void **state)
{
    hone_err     err = { 0 };
    hone_bytes   model, genai;
    hone_runner *r = start();
    char        *text;
    (void)state;
    assert_int_equal(hone_file_slurp(hone_arena_printf(&f.a, "%s/" HONE_ONNX_MODEL, tale), 1u << 24, &f.a, &model, &err), HONE_OK);
    assert_int_equal(hone_file_slurp(hone_arena_printf(&f.a, "%s/" HONE_ONNX_GENAI, tale), 1u << 24, &f.a, &genai, &err), HONE_OK);

    const char *cut = copy_folder("cut-model", true);
    put(cut, HONE_ONNX_MODEL, model.ptr, model.len / 2);
    refused(r, cut, HONE_EINPUT, "bytes before its end");
    put(cut, HONE_ONNX_MODEL, "", 0);
    refused(r, cut, HONE_EINPUT, "the model has no graph");
    assert_int_equal(unlink(hone_arena_printf(&f.a, "%s/" HONE_ONNX_MODEL, cut)), 0);
    refused(r, cut, HONE_EINPUT, "there is no '");

    const char *no_data = copy_folder("no-data", false);
    refused(r, no_data, HONE_EINPUT, HONE_ONNX_DATA);
    put(no_data, HONE_ONNX_DATA, "short", 5);
    refused(r, no_data, HONE_EINPUT, "has 5 bytes, tensor '");

    const char *config = copy_folder("bad-config", true);
    put(config, HONE_ONNX_GENAI, genai.ptr, genai.len / 2);
    refused(r, config, HONE_EINPUT, HONE_ONNX_GENAI);
    put_text(config, HONE_ONNX_GENAI, "{\"model\":{\"type\":\"clip\"}}");
    refused(r, config, HONE_EINPUT, "no model.decoder");
    put_text(config, HONE_ONNX_GENAI, "{\"model\":{\"decoder\":{\"filename\":\"../cut-model/model.onnx\"}}}");
    refused(r, config, HONE_EINPUT, "..");
    put_text(config, HONE_ONNX_GENAI, "{\"model\":{\"decoder\":{\"outputs\":{\"logits\":\"oracle\"}}}}");
    refused(r, config, HONE_EUNSUPPORTED, "has no output 'oracle'");
    put_text(config, HONE_ONNX_GENAI, "{\"model\":{\"decoder\":{\"inputs\":{\"past_key_names\":\"before.%d\"}}}}");
    refused(r, config, HONE_EUNSUPPORTED, "has no input 'before.%d': it keeps no cache");
    put_text(config, HONE_ONNX_GENAI, "{\"model\":{\"decoder\":{\"inputs\":{\"past_key_names\":\"%s%n%d\"}}}}");
    refused(r, config, HONE_EUNSUPPORTED, "has no input '%s%n%d'");

    const char *names = copy_folder("other-names", true);
    text = hone_arena_alloc(&f.a, model.len);
    memcpy(text, model.ptr, model.len);
    rename_in((uint8_t *)text, model.len, "attention_mask", "attention_fact");
    put(names, HONE_ONNX_MODEL, text, model.len);
    refused(r, names, HONE_EUNSUPPORTED, "wants an input 'attention_fact', which is not known");
    memcpy(text, model.ptr, model.len);
    rename_in((uint8_t *)text, model.len, "GroupQueryAttention", "GroupQueryIntention");
    put(names, HONE_ONNX_MODEL, text, model.len);
    refused(r, names, HONE_EUNSUPPORTED, "GroupQueryIntention");

    assert_int_equal(hone_runner_open(r, &(hone_backend_open){ .path = tale }, NULL, NULL, &err), HONE_OK); /* and the process lives */
    hone_runner_stop(r);
}

/* Without any config beside it a model is opened by the names that exporters agree on. */
static void a_model_file_alone_opens_when_its_context_is_said(void **state)
{
    hone_err          err = { 0 };
    hone_backend_info info = { 0 };
    hone_runner      *r = start();
    const char       *dir = copy_folder("alone", true), *file = hone_arena_printf(&f.a, "%s/" HONE_ONNX_MODEL, dir);
    (void)state;
    assert_int_equal(unlink(hone_arena_printf(&f.a, "%s/" HONE_ONNX_GENAI, dir)), 0);
    assert_int_equal(unlink(hone_arena_printf(&f.a, "%s/config.json", dir)), 0);
    refused(r, file, HONE_EINPUT, "says how many tokens fit");
    if (hone_runner_open(r, &(hone_backend_open){ .path = file, .context = 64 }, &info, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(info.n_ctx, 64);
    assert_int_equal(info.n_vocab, VOCAB);
    assert_non_null(strstr(info.description, "cache copied by the graph")); /* nobody said that it may be in place */
    assert_int_equal(hone_runner_forward(r, (const int32_t[]){ 1, 2, 3 }, 3, 0, NULL, NULL, NULL, NULL, &err), HONE_OK);
    assert_int_equal(hone_runner_forward(r, (const int32_t[]){ 4 }, 1, 3, NULL, NULL, NULL, NULL, &err), HONE_OK);
    hone_runner_stop(r);
}

int main(void)
{
    fixture_open(&f);
    if (!fixture_have(&f, "onnxruntime")) return 77;
    tale = convert("examples/models/tale-8m", "onnx=f32", false);
    plain = convert("examples/models/tale-8m", "onnx=f32", true);
    bert = convert("tests/golden/tiny/bert", "onnx=f32", false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_is_as_transformers_computes_it),
        cmocka_unit_test(every_family_continues_from_its_cache),
        cmocka_unit_test(long_texts_are_split_and_rewound_and_stay_the_same),
        cmocka_unit_test(memory_figures_are_those_of_the_shape),
        cmocka_unit_test(an_encoder_gives_hidden_states_and_one_pooled_vector),
        cmocka_unit_test(every_layer_is_as_llama_cpp_has_it),
        cmocka_unit_test(behind_the_last_layer_of_an_encoder_stand_its_hidden_states),
        cmocka_unit_test(a_broken_folder_is_one_clear_error),
        cmocka_unit_test(a_model_file_alone_opens_when_its_context_is_said),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    fixture_close(&f);
    return rc;
}
