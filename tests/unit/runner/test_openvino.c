/* OpenVINO on the folders that hone writes: the logits of transformers for every family, in float32 and float16; encoders; states that are
 * cut, and states that cannot be; what stands behind the layers; damaged folders.
 * ctest: timeout 900
 * ctest: runtime */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "runner/parity.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static fixture      f;
static hone_runner *r;
static const char  *llama; /* TINY "llama" as f32 */

enum { VOCAB_MAX = 4096, TOKENS = 60 };

static void float32_gives_the_logits_of_transformers(void **state)
{
    (void)state;
    assert_int_equal(parity_judge_all(&f, r, "openvino", "f32", 1e-5, 0.01, true), 0);
}

static void float16_gives_nearly_the_logits_of_transformers(void **state)
{
    (void)state;
    assert_int_equal(parity_judge_all(&f, r, "openvino", "f16", 1e-3, 0.03, true), 0);
}

static void compressed_weights_run_as_well_as_their_bits_allow(void **state)
{
    static const struct {
        const char *quant;
        double      kld; /* at most; at least a hundredth of it: it is not the source that was run */
    } modes[] = { { "int8", 3e-2 }, { "int4", 3e-1 } };
    static const char *const dirs[] = { "examples/models/tale-8m", "tests/golden/tale-moe" };
    int                      bad = 0;
    (void)state;
    for (size_t d = 0; d < HONE_COUNT(dirs); d++)
        for (size_t i = 0; i < HONE_COUNT(modes); i++) {
            hone_backend_info info;
            const char       *reference = hone_arena_printf(&f.a, "%s/reference.safetensors", dirs[d]);
            parity_verdict    v = parity_judge(r, parity_convert(&f, dirs[d], "openvino", modes[i].quant), reference, 1e9, (hone_backend_open){ 0 }, &info);
            bool              ok = v.n > 0 && v.kld <= modes[i].kld && v.kld >= modes[i].kld / 1000 && isfinite(v.worst);
            printf("%-28s %s: kld mean %.2g max %.2g%s\n", dirs[d], modes[i].quant, v.kld, v.worst, ok ? "" : "  <-- BAD");
            bad += !ok;
        }
    assert_int_equal(bad, 0);
}

/* --- encoders ------------------------------------------------------------------------------------------------------------ */
typedef struct vectors {
    float *values; /* [TOKENS, width] */
    size_t n, width;
} vectors;

static void keep(void *user, size_t index, const float *values, size_t n)
{
    vectors *v = user;
    assert_true(n == v->width && index < TOKENS);
    memcpy(v->values + index * n, values, n * sizeof *values);
    v->n++;
}

static vectors new_vectors(size_t width)
{
    vectors v = { .values = calloc(TOKENS * width, sizeof(float)), .width = width };
    assert_non_null(v.values);
    return v;
}

static void an_encoder_gives_the_vectors_of_transformers(void **state)
{
    enum { ROWS = 2, COLS = 24, WIDTH = 256 };
    const char    *file = HONE_TEST_SOURCE_DIR "/tests/golden/tiny/bert/reference.safetensors", *artefact = parity_convert(&f, "tests/golden/tiny/bert", "openvino", "f32");
    const int64_t *ids = fixture_tensor(&f, file, "input_ids", ROWS * COLS, 8), *mask = fixture_tensor(&f, file, "attention_mask", ROWS * COLS, 8);
    const float   *hidden = fixture_tensor(&f, file, "last_hidden_state", ROWS * COLS * WIDTH, 4), *pooled = fixture_tensor(&f, file, "embeddings", ROWS * WIDTH, 4);
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        hone_err          err = { 0 };
        hone_backend_open how = { .path = artefact, .device = "cpu", .threads = 1, .embeddings = true, .hidden = !whole, .exact = true };
        hone_backend_info info;
        if (hone_runner_open(r, &how, &info, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
        assert_int_equal(info.n_embd, WIDTH);
        for (size_t row = 0; row < ROWS; row++) {
            int32_t own[COLS];
            size_t  n = 0;
            vectors v = new_vectors(WIDTH);
            for (; n < COLS && mask[row * COLS + n]; n++) own[n] = (int32_t)ids[row * COLS + n];
            if (hone_runner_forward(r, own, n, 0, NULL, keep, &v, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
            assert_int_equal(v.n, whole ? 1 : n);
            double norm = 0, worst = 0;
            if (whole) {
                for (size_t k = 0; k < WIDTH; k++) norm += pow(v.values[(n - 1) * WIDTH + k], 2);
                for (size_t k = 0; k < WIDTH; k++)
                    worst = fmax(worst, fabs(v.values[(n - 1) * WIDTH + k] / sqrt(norm) - (double)pooled[row * WIDTH + k]));
            } else {
                for (size_t k = 0; k < n * WIDTH; k++) worst = fmax(worst, fabs((double)v.values[k] - (double)hidden[row * COLS * WIDTH + k]));
            }
            assert_true(worst < 1e-4);
            free(v.values);
        }
    }
    hone_err err = { 0 };
    assert_int_equal(hone_runner_open(r, &(hone_backend_open){ .path = artefact, .device = "cpu" }, NULL, NULL, &err), HONE_EUNSUPPORTED);
    assert_non_null(strstr(err.cause, "is an encoder"));
}

/* --- states --------------------------------------------------------------------------------------------------------------- */
static void open_exact(const char *path, uint32_t batch)
{
    hone_err          err = { 0 };
    hone_backend_open how = { .path = path, .device = "cpu", .threads = 1, .batch = batch, .exact = true };
    hone_backend_info info;
    if (hone_runner_open(r, &how, &info, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_true(info.n_vocab <= VOCAB_MAX);
}

static void evaluate(const int32_t *ids, size_t from, size_t to, vectors *v)
{
    hone_err err = { 0 };
    vectors  part = { .values = v->values + from * v->width, .width = v->width };
    if (hone_runner_forward(r, ids + from, to - from, (uint32_t)from, NULL, keep, &part, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
}

static void assert_close(const vectors *a, const vectors *b, size_t from, size_t to)
{
    for (size_t i = from * a->width; i < to * a->width; i++) assert_true(fabs((double)a->values[i] - (double)b->values[i]) < 1e-4);
}

static uint32_t vocab_of(const char *path)
{
    hone_err          err = { 0 };
    hone_backend_info info = { 0 };
    if (hone_runner_open(r, &(hone_backend_open){ .path = path, .device = "cpu", .exact = true }, &info, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
    return info.n_vocab;
}

/* A text whole, in batches of 7, with a detour that is rewound, in the three ways the same. */
static void one_text_by_many_ways(const char *path)
{
    int32_t  ids[TOKENS], detour[TOKENS];
    hone_err err = { 0 };
    uint32_t n_vocab = vocab_of(path);
    vectors  whole = new_vectors(n_vocab), pieces = new_vectors(n_vocab), back = new_vectors(n_vocab);
    for (size_t i = 0; i < TOKENS; i++) {
        ids[i] = (int32_t)(3 + i * 7 % (n_vocab - 3));
        detour[i] = i < 20 ? ids[i] : (int32_t)(i % 11);
    }
    open_exact(path, 0);
    evaluate(ids, 0, TOKENS, &whole);
    open_exact(path, 7);
    evaluate(ids, 0, TOKENS, &pieces);
    assert_close(&whole, &pieces, 0, TOKENS);
    for (int times = 0; times < 2; times++) { /* a state that was cut can be cut again */
        evaluate(detour, 0, 40, &back);
        assert_int_equal(hone_runner_rewind(r, 20, &err), HONE_OK);
        evaluate(ids, 20, TOKENS - 1, &back);
        assert_int_equal(hone_runner_rewind(r, 1, &err), HONE_OK);
        evaluate(ids, 1, TOKENS, &back);
        assert_close(&whole, &back, 0, TOKENS);
    }
    free(whole.values);
    free(pieces.values);
    free(back.values);
}

static void states_are_cut_where_a_text_is_rewound(void **state)
{
    (void)state;
    one_text_by_many_ways(llama);
}

/* The folder with every `from` in its .xml changed to `to`, of the same length or not. */
static const char *changed(const char *name, const char *from, const char *to)
{
    hone_err   err = { 0 };
    hone_bytes xml = { 0 };
    char      *dir = hone_arena_printf(&f.a, "%s/%s", f.dir, name), *out, *at;
    size_t     n = 0;
    assert_int_equal(mkdir(dir, 0777), 0);
    assert_int_equal(hone_file_slurp(hone_arena_printf(&f.a, "%s/openvino_model.xml", llama), 1u << 24, &f.a, &xml, &err), HONE_OK);
    out = at = hone_arena_alloc(&f.a, 4 * xml.len + 1);
    for (size_t i = 0; i < xml.len;) {
        if (i + strlen(from) <= xml.len && memcmp(xml.ptr + i, from, strlen(from)) == 0) {
            at = stpcpy(at, to);
            i += strlen(from);
            n++;
        } else *at++ = (char)xml.ptr[i++];
    }
    assert_true(n > 0);
    assert_int_equal(hone_out_put(hone_arena_printf(&f.a, "%s/openvino_model.xml", dir), out, (size_t)(at - out), &err), HONE_OK);
    assert_int_equal(symlink(hone_arena_printf(&f.a, "%s/openvino_model.bin", llama), hone_arena_printf(&f.a, "%s/openvino_model.bin", dir)), 0);
    assert_int_equal(symlink(hone_arena_printf(&f.a, "%s/config.json", llama), hone_arena_printf(&f.a, "%s/config.json", dir)), 0);
    return dir;
}

static void states_that_do_not_say_where_their_tokens_are_are_made_anew(void **state)
{
    (void)state;
    one_text_by_many_ways(changed("unsaid", "variable_shape=\"?,2,?,64\"", "variable_shape=\"?,2,?,?\""));
}

/* --- layers ------------------------------------------------------------------------------------------------------------------- */
typedef struct stream {
    float *values;
    size_t n_layers, n;
} stream;

static void keep_layer(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd)
{
    stream *s = user;
    assert_int_equal(layer, s->n_layers);
    s->n = n * n_embd;
    s->values = realloc(s->values, (s->n_layers + 1) * s->n * sizeof(float));
    assert_non_null(s->values);
    memcpy(s->values + s->n_layers++ * s->n, values, s->n * sizeof(float));
}

static void layers_are_those_of_llama_cpp(void **state)
{
    static const char *const dirs[] = { "llama", "gemma3", "gpt2", "gpt_neox", "olmo2", "qwen3_moe" };
    (void)state;
    if (!fixture_have(&f, "llamacpp")) skip();
    for (size_t i = 0; i < HONE_COUNT(dirs); i++) {
        hone_err          err = { 0 };
        int32_t           ids[12];
        stream            ours = { 0 }, theirs = { 0 };
        hone_backend_info info;
        const char       *dir = hone_arena_printf(&f.a, "tests/golden/tiny/%s", dirs[i]);
        for (int32_t k = 0; k < 12; k++) ids[k] = 20 + 17 * k;
        open_exact(parity_convert(&f, dir, "openvino", "f32"), 0);
        if (hone_runner_layers(r, ids, 12, keep_layer, &ours, &err) != HONE_OK) fail_msg("%s: %s", dirs[i], err.cause);
        hone_runner *other = fixture_run(&f, "llamacpp", (hone_backend_open){ .path = parity_convert(&f, dir, "gguf", "f32"), .exact = true }, &info);
        if (hone_runner_layers(other, ids, 12, keep_layer, &theirs, &err) != HONE_OK) fail_msg("%s: %s", dirs[i], err.cause);
        assert_int_equal(ours.n_layers, theirs.n_layers);
        assert_int_equal(ours.n, theirs.n);
        double worst = 0, most = 0;
        for (size_t k = 0; k < ours.n_layers * ours.n; k++) {
            worst = fmax(worst, fabs((double)ours.values[k] - (double)theirs.values[k]));
            most = fmax(most, fabs((double)theirs.values[k]));
        }
        printf("%-12s %zu layers: differ by %.2g of %.2g\n", dirs[i], ours.n_layers, worst, most);
        assert_true(most > 0 && worst < 2e-3 * most);
        hone_runner_stop(other);
        free(ours.values);
        free(theirs.values);
    }
}

/* --- damaged folders --------------------------------------------------------------------------------------------------------------- */
static void refuses(const char *path, hone_code code, const char *cause)
{
    hone_err  err = { 0 };
    hone_code got = hone_runner_open(r, &(hone_backend_open){ .path = path, .device = "cpu", .threads = 1 }, NULL, NULL, &err);
    if (got != code || !strstr(err.cause, cause)) fail_msg("'%s': code %d: %s", path, (int)got, err.cause);
}

static void damaged_folders_are_refused_and_the_process_lives(void **state)
{
    hone_err    err = { 0 };
    struct stat st;
    (void)state;
    const char *missing = changed("missing", "FP32", "FP32"), *cut = changed("cut", "FP32", "FP32"), *half = changed("half", "FP32", "FP32");
    const char *bin = hone_arena_printf(&f.a, "%s/openvino_model.bin", cut), *xml = hone_arena_printf(&f.a, "%s/openvino_model.xml", half);
    hone_bytes  b = { 0 };
    assert_int_equal(unlink(hone_arena_printf(&f.a, "%s/openvino_model.bin", missing)), 0);
    assert_int_equal(hone_file_slurp(bin, 1u << 26, &f.a, &b, &err), HONE_OK);
    assert_int_equal(unlink(bin), 0);
    assert_int_equal(hone_out_put(bin, b.ptr, b.len / 2, &err), HONE_OK);
    assert_int_equal(stat(xml, &st), 0);
    assert_int_equal(truncate(xml, st.st_size / 2), 0);
    refuses(missing, HONE_EINPUT, "OpenVINO cannot read");
    refuses(cut, HONE_EINPUT, "OpenVINO cannot read");
    refuses(half, HONE_EINPUT, "OpenVINO cannot read");
    refuses(changed("operator", "type=\"ScaledDotProductAttention\"", "type=\"ScaledDotProductAbacus\""), HONE_EUNSUPPORTED, "ScaledDotProductAbacus");
    refuses(changed("input", "position_ids", "perception_ids"), HONE_EUNSUPPORTED, "has an input 'perception_ids'");
    refuses(changed("output", "names=\"logits\"", "names=\"tigols\""), HONE_EUNSUPPORTED, "has no output 'logits'");
    refuses(f.dir, HONE_EINPUT, "there is no openvino_model.xml in");
    open_exact(llama, 0);
}

int main(void)
{
    hone_err err = { 0 };
    fixture_open(&f);
    if (!fixture_have(&f, "openvino")) return 77;
    if (hone_runner_start(&f.ctx, &(hone_runner_options){ .backend = "openvino", .timeout_s = 120 }, &r, &err) != HONE_OK) {
        printf("%s\n", err.cause);
        return 1;
    }
    llama = parity_convert(&f, "tests/golden/tiny/llama", "openvino", "f32");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float32_gives_the_logits_of_transformers),
        cmocka_unit_test(float16_gives_nearly_the_logits_of_transformers),
        cmocka_unit_test(compressed_weights_run_as_well_as_their_bits_allow),
        cmocka_unit_test(an_encoder_gives_the_vectors_of_transformers),
        cmocka_unit_test(states_are_cut_where_a_text_is_rewound),
        cmocka_unit_test(states_that_do_not_say_where_their_tokens_are_are_made_anew),
        cmocka_unit_test(layers_are_those_of_llama_cpp),
        cmocka_unit_test(damaged_folders_are_refused_and_the_process_lives),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    hone_runner_stop(r);
    fixture_close(&f);
    return rc;
}
