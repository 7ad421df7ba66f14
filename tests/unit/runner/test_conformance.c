/* What every plug-in must do, asked of each one that is here.  For a plug-in of your own:
 *   HONE_CONFORMANCE=name=/path/to/model ctest -R conformance       (docs/BACKENDS.md)
 * ctest: timeout 600
 * ctest: runtime */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "runner/fixture.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_TEXT = 40, TOLERANCE_PPM = 10000 /* of the spread of a row: the same sums in another order, at the precision of bf16 and an 8-bit cache */ };

static fixture           f;
static const char       *backend, *model;
static hone_runner      *r;
static hone_backend_info info;
static int32_t          *ids; /* a text that fits any context */
static size_t            n_ids;

static const char TEXT[] = "Once upon a time there was a small fox who lived near the river, and every day it went to see the town.";

typedef struct rows {
    float  *values; /* [n_ids, row_len] */
    size_t  n, first, row_len;
    uint8_t seen[MAX_TEXT];
} rows;

static void keep(void *user, size_t index, const float *values, size_t n_values)
{
    rows *k = user;
    assert_int_equal(n_values, k->row_len);
    assert_true(k->first + index < MAX_TEXT);
    assert_int_equal(k->seen[k->first + index], 0);
    k->seen[k->first + index] = 1;
    memcpy(k->values + (k->first + index) * k->row_len, values, n_values * sizeof *values);
    k->n++;
}

static rows new_rows(void)
{
    rows k = { .row_len = info.n_vocab };
    k.values = calloc(MAX_TEXT * k.row_len, sizeof(float));
    assert_non_null(k.values);
    return k;
}

static void evaluate(rows *k, size_t from, size_t n, const uint8_t *want)
{
    hone_err err = { 0 };
    double   ms = -1;
    k->first = from;
    if (hone_runner_forward(r, ids + from, n, (uint32_t)from, want, keep, k, &ms, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_true(ms >= 0);
}

/* Largest difference of two rows in millionths of the row's spread. */
static double difference_ppm(const float *a, const float *b, size_t n)
{
    double low = a[0], high = a[0], worst = 0;
    for (size_t i = 0; i < n; i++) {
        low = fmin(low, a[i]);
        high = fmax(high, a[i]);
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    }
    assert_true(high > low);
    return worst / (high - low) * 1e6;
}

static void the_facts_of_a_model_make_sense(void **state)
{
    (void)state;
    assert_true(info.n_vocab > 1 && info.n_ctx > 0 && info.n_embd > 0);
    assert_true(info.n_params == 0 || info.n_params > info.n_vocab);
    assert_true(info.weights_bytes > 0);
    assert_true(info.bos < (int32_t)info.n_vocab && info.eos < (int32_t)info.n_vocab && info.eot < (int32_t)info.n_vocab);
    assert_true(info.runtime[0] && info.version[0] && info.device[0]);
    char     version[256], devices[1024];
    hone_err err = { 0 };
    assert_int_equal(hone_runner_probe(r, version, sizeof version, devices, sizeof devices, &err), HONE_OK);
    assert_true(version[0] && devices[0]);
    assert_true(strcmp(info.device, "cpu") != 0 || !info.fallback[0]); /* that was asked for */
}

/* A device that is not here is the processor instead, with the reason; "auto" is content with what there is. */
static void another_device_falls_back_with_a_reason(void **state)
{
    static const char *const devices[] = { "auto", "gpu", "npu" };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(devices); i++) {
        hone_backend_info v = { 0 };
        hone_runner_stop(fixture_run(&f, backend, (hone_backend_open){ .path = model, .device = devices[i], .context = 64 }, &v));
        assert_true(v.device[0]);
        if (i > 0) assert_int_equal(strcmp(v.device, "cpu") == 0, v.fallback[0] != '\0');
    }
}

typedef struct stream { /* what is behind the layers */
    float *values;      /* [n_layers, MAX_TEXT, width] */
    size_t n_layers, width;
} stream;

static void keep_layer(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd)
{
    stream *s = user;
    assert_int_equal(layer, s->n_layers);
    assert_true(n <= MAX_TEXT && n_embd > 0 && (s->width == 0 || s->width == n_embd));
    s->width = n_embd;
    s->values = realloc(s->values, (s->n_layers + 1) * MAX_TEXT * n_embd * sizeof(float));
    assert_non_null(s->values);
    memcpy(s->values + s->n_layers++ * MAX_TEXT * n_embd, values, n * n_embd * sizeof(float));
}

static void layers_show_a_causal_stream_and_leave_the_cache_empty(void **state)
{
    hone_err  err = { 0 };
    stream    all = { 0 }, head = { 0 };
    hone_code code = hone_runner_layers(r, ids, n_ids, keep_layer, &all, &err);
    (void)state;
    if (code == HONE_EUNSUPPORTED) { /* allowed, with a reason */
        assert_true(err.cause[0]);
        return;
    }
    if (code != HONE_OK) fail_msg("%s", err.cause);
    assert_true(all.n_layers > 0);
    assert_int_not_equal(hone_runner_forward(r, ids, 1, (uint32_t)n_ids, NULL, NULL, NULL, NULL, &err), HONE_OK);
    assert_int_equal(hone_runner_layers(r, ids, 5, keep_layer, &head, &err), HONE_OK);
    assert_int_equal(head.n_layers, all.n_layers);
    for (size_t l = 0; l < all.n_layers; l++) {
        for (size_t i = 0; i < n_ids * all.width; i++) assert_true(isfinite(all.values[l * MAX_TEXT * all.width + i]));
        for (size_t i = 0; i < 5; i++) /* what comes later does not change what was */
            assert_true(difference_ppm(all.values + (l * MAX_TEXT + i) * all.width, head.values + (l * MAX_TEXT + i) * all.width, all.width) <
                        TOLERANCE_PPM);
        const float *here = all.values + (l * MAX_TEXT + n_ids - 1) * all.width, *before = here - MAX_TEXT * all.width;
        if (l > 0) assert_true(difference_ppm(here, before, all.width) > TOLERANCE_PPM); /* a layer does something */
    }
    free(all.values);
    free(head.values);
}

static void text_comes_back_from_its_tokens(void **state)
{
    static const char *const texts[] = { "Hello, world!", "a  b\n\nc\td", "caf\xc3\xa9 \xf0\x9f\x99\x82 \xe6\x97\xa5\xe6\x9c\xac", "1234567890",
                                        "no , yes . really ?  she 's ; ha !", "" };
    (void)state;
    if (!info.text) {
        hone_err err = { 0 };
        int32_t *t;
        size_t   n;
        assert_int_equal(hone_runner_tokenize(r, "a", 1, false, false, &f.a, &t, &n, &err), HONE_EUNSUPPORTED);
        return;
    }
    for (size_t i = 0; i < HONE_COUNT(texts); i++) {
        hone_err err = { 0 };
        int32_t *t = NULL;
        char    *back = NULL;
        size_t   n = 0, len = 0;
        assert_int_equal(hone_runner_tokenize(r, texts[i], strlen(texts[i]), false, false, &f.a, &t, &n, &err), HONE_OK);
        for (size_t k = 0; k < n; k++) assert_true(t[k] >= 0 && (uint32_t)t[k] < info.n_vocab);
        assert_int_equal(hone_runner_detokenize(r, t, n, false, true, &f.a, &back, &len, &err), HONE_OK);
        assert_string_equal(back, texts[i]);
        assert_int_equal(len, strlen(texts[i]));
    }
}

static void the_same_request_gives_the_same_logits(void **state)
{
    rows a = new_rows(), b = new_rows();
    (void)state;
    evaluate(&a, 0, n_ids, NULL);
    evaluate(&b, 0, n_ids, NULL);
    assert_int_equal(a.n, n_ids);
    assert_memory_equal(a.values, b.values, n_ids * a.row_len * sizeof(float));
    for (size_t i = 0; i < n_ids * a.row_len; i++) assert_true(isfinite(a.values[i]));
    free(a.values);
    free(b.values);
}

static void only_wanted_rows_come(void **state)
{
    rows    all = new_rows(), some = new_rows();
    uint8_t want[MAX_TEXT] = { 0 };
    (void)state;
    want[0] = want[3] = want[n_ids - 1] = 1;
    evaluate(&all, 0, n_ids, NULL);
    evaluate(&some, 0, n_ids, want);
    assert_int_equal(some.n, 3);
    for (size_t i = 0; i < n_ids; i++) {
        assert_int_equal(some.seen[i], want[i]);
        if (want[i]) assert_true(difference_ppm(all.values + i * all.row_len, some.values + i * all.row_len, all.row_len) < TOLERANCE_PPM);
    }
    free(all.values);
    free(some.values);
}

static void a_text_in_pieces_is_the_text(void **state)
{
    rows whole = new_rows(), parts = new_rows();
    (void)state;
    evaluate(&whole, 0, n_ids, NULL);
    evaluate(&parts, 0, 5, NULL);
    evaluate(&parts, 5, 1, NULL);
    evaluate(&parts, 6, n_ids - 6, NULL);
    for (size_t i = 0; i < n_ids; i++)
        assert_true(difference_ppm(whole.values + i * whole.row_len, parts.values + i * whole.row_len, whole.row_len) < TOLERANCE_PPM);
    free(whole.values);
    free(parts.values);
}

static void rewinding_forgets_what_came_after(void **state)
{
    hone_err err = { 0 };
    rows     whole = new_rows(), other = new_rows(), again = new_rows();
    int32_t *own = ids, detour[MAX_TEXT];
    (void)state;
    evaluate(&whole, 0, n_ids, NULL);
    memcpy(detour, ids, n_ids * sizeof *ids);
    for (size_t i = 7; i < n_ids; i++) detour[i] = ids[n_ids - 1 - i];
    ids = detour;
    evaluate(&other, 0, n_ids, NULL);
    ids = own;
    assert_int_equal(hone_runner_rewind(r, 7, &err), HONE_OK);
    evaluate(&again, 7, n_ids - 7, NULL);
    for (size_t i = 7; i < n_ids; i++)
        assert_true(difference_ppm(whole.values + i * whole.row_len, again.values + i * whole.row_len, whole.row_len) < TOLERANCE_PPM);
    assert_true(difference_ppm(whole.values + 9 * whole.row_len, other.values + 9 * whole.row_len, whole.row_len) > TOLERANCE_PPM);
    free(whole.values);
    free(other.values);
    free(again.values);
}

static void a_position_that_does_not_follow_is_refused(void **state)
{
    hone_err err = { 0 };
    (void)state;
    assert_int_equal(hone_runner_rewind(r, 0, &err), HONE_OK);
    assert_int_not_equal(hone_runner_forward(r, ids, 2, 3, NULL, NULL, NULL, NULL, &err), HONE_OK);
    assert_int_equal(hone_runner_forward(r, ids, 2, 0, NULL, NULL, NULL, NULL, &err), HONE_OK);
    assert_int_not_equal(hone_runner_rewind(r, 3, &err), HONE_OK);
}

static size_t argmax(const float *v, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (v[i] > v[best]) best = i;
    return best;
}

static size_t n_streamed;
static void   on_token(void *user, int32_t id, double ms)
{
    const hone_generate *g = user;
    assert_int_equal(g->out[n_streamed], id);
    assert_true(ms > 0);
    n_streamed++;
}

static void generation_follows_the_largest_logit(void **state)
{
    enum { NEW = 8, PROMPT = 6 };
    hone_err      err = { 0 };
    int32_t       out[NEW], *own = ids, all[PROMPT + NEW];
    double        ms[NEW], sum = 0;
    hone_generate g = { .prompt = ids, .n_prompt = PROMPT, .max_new = NEW, .out = out, .token_ms = ms, .on_token = on_token, .user = &g };
    (void)state;
    n_streamed = 0;
    if (hone_runner_generate(r, &g, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(g.n_out, NEW);
    assert_int_equal(n_streamed, NEW);
    memcpy(all, ids, PROMPT * sizeof *ids);
    memcpy(all + PROMPT, out, sizeof out);
    rows k = new_rows();
    ids = all;
    evaluate(&k, 0, PROMPT, NULL);
    for (size_t i = 0; i < NEW; i++) {
        const float *v = k.values + (PROMPT - 1 + i) * k.row_len;
        size_t       best = argmax(v, k.row_len);
        /* Another batch, another order of sums: a near tie may fall the other way. */
        if ((int32_t)best != out[i]) assert_true((double)(v[best] - v[out[i]]) < 1e-2);
        evaluate(&k, PROMPT + i, 1, NULL);
        if (i > 0) sum += ms[i];
    }
    ids = own;
    assert_true(fabs(g.prefill_ms - ms[0]) < 1e-9);
    assert_true(fabs(g.decode_ms - sum) < 1e-6);
    free(k.values);
}

static void generation_stops_at_the_end_of_the_context(void **state)
{
    hone_err err = { 0 };
    (void)state;
    if (info.n_ctx > 4096) return; /* too long a text for a test */
    uint32_t      left = 3;
    size_t        n = info.n_ctx - left;
    int32_t      *prompt = malloc(n * sizeof *prompt), *out = calloc(left + 10, sizeof *out);
    hone_generate g = { .prompt = prompt, .n_prompt = n, .max_new = left + 10, .out = out };
    for (size_t i = 0; i < n; i++) prompt[i] = ids[i % n_ids];
    if (hone_runner_generate(r, &g, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(g.n_out, left + 1); /* the last one needs no place of its own */
    free(prompt);
    free(out);
    prompt = calloc(info.n_ctx + 1, sizeof *prompt);
    assert_int_equal(hone_runner_forward(r, prompt, info.n_ctx + 1, 0, NULL, NULL, NULL, NULL, &err), HONE_EINPUT);
    free(prompt);
}

static void likelihoods_are_those_of_the_logits(void **state)
{
    hone_err err = { 0 };
    float    nll[MAX_TEXT];
    rows     k = new_rows();
    (void)state;
    if (hone_runner_nll(r, ids, n_ids, nll, &err) != HONE_OK) fail_msg("%s", err.cause);
    evaluate(&k, 0, n_ids, NULL);
    for (size_t i = 0; i + 1 < n_ids; i++) {
        const float *v = k.values + i * k.row_len;
        double       sum = 0, top = v[argmax(v, k.row_len)];
        for (size_t j = 0; j < k.row_len; j++) sum += exp((double)v[j] - top);
        assert_true(nll[i] >= 0);
        assert_true(fabs(log(sum) + top - (double)v[ids[i + 1]] - (double)nll[i]) < 1e-2);
    }
    free(k.values);
    assert_int_equal(hone_runner_nll(r, ids, 1, nll, &err), HONE_OK);
}

static void usage_counts_this_process(void **state)
{
    hone_err          err = { 0 };
    hone_runner_usage a = { 0 }, b = { 0 };
    float             nll[MAX_TEXT];
    (void)state;
    assert_int_equal(hone_runner_usage_get(r, &a, &err), HONE_OK);
    assert_true(a.peak_rss_bytes >= a.rss_bytes && a.rss_bytes > 1000000);
    for (int i = 0; i < 5; i++) assert_int_equal(hone_runner_nll(r, ids, n_ids, nll, &err), HONE_OK);
    assert_int_equal(hone_runner_usage_get(r, &b, &err), HONE_OK);
    assert_true(b.cpu_user_s + b.cpu_sys_s > a.cpu_user_s + a.cpu_sys_s);
    assert_true(b.peak_rss_bytes >= a.peak_rss_bytes);
}

/* The first half of a file. */
static void cut_file(const char *from, const char *to)
{
    hone_err  err = { 0 };
    hone_file in = HONE_FILE_CLOSED;
    assert_int_equal(hone_file_open(from, &in, &err), HONE_OK);
    size_t n = (size_t)in.size / 2;
    void  *half = hone_arena_alloc(&f.a, n + 1);
    assert_non_null(half);
    assert_int_equal(hone_file_read(&in, 0, half, n, &err), HONE_OK);
    hone_file_close(&in);
    assert_int_equal(hone_out_put(to, half, n, &err), HONE_OK);
}

/* Every file of a folder, cut. */
static void cut_folder(const char *from, const char *to)
{
    DIR *d = opendir(from);
    assert_non_null(d);
    assert_int_equal(mkdir(to, 0777), 0);
    for (struct dirent *e; (e = readdir(d));) {
        const char *path = hone_arena_printf(&f.a, "%s/%s", from, e->d_name);
        if (hone_file_exists(path)) cut_file(path, hone_arena_printf(&f.a, "%s/%s", to, e->d_name));
    }
    (void)closedir(d);
}

static void bad_files_are_bad_input(void **state)
{
    hone_err     err = { 0 };
    hone_runner *own = NULL;
    (void)state;
    const char *junk = hone_arena_printf(&f.a, "%s/junk.bin", f.dir), *cut = hone_arena_printf(&f.a, "%s/%s.cut", f.dir, backend);
    char        noise[5000];
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (char)(i * 2654435761u >> 7);
    assert_int_equal(hone_out_put(junk, noise, sizeof noise, &err), HONE_OK);
    if (hone_dir_exists(model))
        cut_folder(model, cut);
    else
        cut_file(model, cut);
    const char *paths[] = { "/nonexistent/model", f.dir, junk, cut };
    assert_int_equal(hone_runner_start(&f.ctx, &(hone_runner_options){ .backend = backend, .timeout_s = 60 }, &own, &err), HONE_OK);
    for (size_t i = 0; i < HONE_COUNT(paths); i++) {
        hone_code code = hone_runner_open(own, &(hone_backend_open){ .path = paths[i], .device = "cpu", .threads = 1 }, NULL, NULL, &err);
        if (code != HONE_EINPUT) fail_msg("'%s': code %d: %s", paths[i], (int)code, err.cause);
        assert_non_null(strstr(err.cause, paths[i]));
    }
    hone_code code = hone_runner_open(own, &(hone_backend_open){ .path = model, .device = "abacus" }, NULL, NULL, &err);
    assert_int_equal(code, HONE_EUNSUPPORTED);
    /* And after all that the same process opens a good one, twice. */
    for (int i = 0; i < 2; i++)
        assert_int_equal(hone_runner_open(own, &(hone_backend_open){ .path = model, .device = "cpu", .context = 64 }, NULL, NULL, &err), HONE_OK);
    assert_int_equal(hone_runner_forward(own, ids, 2, 0, NULL, NULL, NULL, NULL, &err), HONE_OK);
    hone_runner_stop(own);
}

static void a_vocabulary_alone_tokenizes_and_nothing_more(void **state)
{
    hone_err          err = { 0 };
    hone_backend_info v = { 0 };
    int32_t          *t = NULL;
    size_t            n = 0;
    (void)state;
    if (!info.text) {
        hone_runner *bare = NULL;
        assert_int_equal(hone_runner_start(&f.ctx, &(hone_runner_options){ .backend = backend, .timeout_s = 60 }, &bare, &err), HONE_OK);
        assert_int_equal(hone_runner_open(bare, &(hone_backend_open){ .path = model, .vocab_only = true }, NULL, NULL, &err), HONE_EUNSUPPORTED);
        hone_runner_stop(bare);
        return;
    }
    hone_runner *own = fixture_run(&f, backend, (hone_backend_open){ .path = model, .vocab_only = true }, &v);
    assert_int_equal(v.n_vocab, info.n_vocab);
    assert_int_equal(hone_runner_tokenize(own, TEXT, sizeof TEXT - 1, false, false, &f.a, &t, &n, &err), HONE_OK);
    assert_int_equal(n < MAX_TEXT ? n : MAX_TEXT, n_ids);
    assert_memory_equal(t, ids, n_ids * sizeof *ids);
    assert_int_not_equal(hone_runner_forward(own, t, 2, 0, NULL, NULL, NULL, NULL, &err), HONE_OK);
    hone_runner_stop(own);
}

static int run_all(void)
{
    hone_err err = { 0 };
    r = fixture_run(&f, backend, (hone_backend_open){ .path = model, .context = 256 }, &info);
    if (!info.text) { /* any ids will do */
        ids = HONE_ARENA_NEW(&f.a, int32_t, MAX_TEXT / 2);
        for (n_ids = 0; n_ids < MAX_TEXT / 2; n_ids++) ids[n_ids] = (int32_t)((n_ids * 37 + 11) % info.n_vocab);
    } else if (hone_runner_tokenize(r, TEXT, sizeof TEXT - 1, false, false, &f.a, &ids, &n_ids, &err) != HONE_OK) {
        printf("%s\n", err.cause);
        return 1;
    }
    if (n_ids > MAX_TEXT) n_ids = MAX_TEXT;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_facts_of_a_model_make_sense),
        cmocka_unit_test(another_device_falls_back_with_a_reason),
        cmocka_unit_test(text_comes_back_from_its_tokens),
        cmocka_unit_test(the_same_request_gives_the_same_logits),
        cmocka_unit_test(only_wanted_rows_come),
        cmocka_unit_test(a_text_in_pieces_is_the_text),
        cmocka_unit_test(rewinding_forgets_what_came_after),
        cmocka_unit_test(a_position_that_does_not_follow_is_refused),
        cmocka_unit_test(generation_follows_the_largest_logit),
        cmocka_unit_test(generation_stops_at_the_end_of_the_context),
        cmocka_unit_test(likelihoods_are_those_of_the_logits),
        cmocka_unit_test(layers_show_a_causal_stream_and_leave_the_cache_empty),
        cmocka_unit_test(usage_counts_this_process),
        cmocka_unit_test(bad_files_are_bad_input),
        cmocka_unit_test(a_vocabulary_alone_tokenizes_and_nothing_more),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    hone_runner_stop(r);
    return rc;
}

int main(void)
{
    static const struct {
        const char *backend, *quant; /* what hone writes for it */
    } here[] = { { "llamacpp", "f32" }, { "onnxruntime", "onnx=f32" }, { "openvino", "openvino=f32" }, { "mlx", "mlx=f32" } };
    char *spec = getenv("HONE_CONFORMANCE");
    int   rc = 0, ran = 0;
    fixture_open(&f);
    if (spec && *spec) {
        char *own = hone_arena_strdup(&f.a, spec), *eq = strchr(own, '=');
        if (!eq) {
            printf("HONE_CONFORMANCE is name=/path/to/model\n");
            return 1;
        }
        *eq = '\0';
        backend = own;
        model = eq + 1;
        rc = fixture_have(&f, backend) ? run_all() : 77;
        fixture_close(&f);
        return rc;
    }
    for (size_t i = 0; i < HONE_COUNT(here); i++) {
        backend = here[i].backend;
        if (!fixture_have(&f, backend)) continue;
        printf("%s\n", backend);
        model = fixture_gguf(&f, "examples/models/tale-8m", here[i].quant);
        rc |= run_all() != 0;
        ran++;
    }
    fixture_close(&f);
    return ran ? rc : 77;
}
