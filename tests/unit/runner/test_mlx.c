/* MLX on the folders that hone writes: the logits of transformers for every family, in float32 and bfloat16; every way to quantise.
 * What is run is hone's own graph on libmlx, so windows and rope scalings that mlx_lm leaves out are judged too.
 * ctest: timeout 600
 * ctest: runtime */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "flow/convert.h"
#include "flow/variant.h"
#include "formats/scratch.h"
#include "measure/check/reference.h"
#include "measure/logits.h"
#include "runner/fixture.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define BEYOND_CONTEXT "beyond-llama-dynamic"

static fixture      f;
static hone_runner *r;

/* The folder that hone writes of the checkpoint; false when mlx_lm could not run the model. */
static bool try_convert(const char *checkpoint, const char *quant, const char *name, const scratch *out, char path[1100])
{
    hone_err                   err = { 0 };
    hone_model                 m;
    hone_convert_result        res = { 0 };
    char                       format[64];
    const char                *quants[] = { format };
    const hone_convert_options opt = { .quants = quants, .n_quants = 1, .out_dir = out->dir, .name = name };
    (void)snprintf(format, sizeof format, "mlx=%s", quant);
    if (hone_model_open(&f.ctx, checkpoint, &m, &err) != HONE_OK) fail_msg("%s: %s", checkpoint, err.cause);
    hone_code code = hone_convert(&f.ctx, &m, &opt, &res, &err);
    if (code == HONE_OK) (void)snprintf(path, 1100, "%s", res.outputs[0].path);
    else if (code != HONE_EUNSUPPORTED) fail_msg("%s: %s", checkpoint, err.cause);
    hone_convert_result_release(&res);
    hone_model_close(&m);
    return code == HONE_OK;
}

/* checkpoint: a path from the root of the repository. */
static void convert_as(const char *checkpoint, const char *quant, const char *name, const scratch *out, char path[1100])
{
    char from[1024];
    (void)snprintf(from, sizeof from, "%s/%s", HONE_TEST_SOURCE_DIR, checkpoint);
    if (!try_convert(from, quant, name, out, path)) fail_msg("%s is refused", checkpoint);
}

static void convert(const char *checkpoint, const char *quant, const scratch *out, char path[1100]) { convert_as(checkpoint, quant, "m", out, path); }

typedef struct verdict {
    const hone_reference *ref;
    size_t                row, n;
    float                *theirs;
    double                kld, worst, least_gap;
    size_t                wrong; /* other best tokens where the reference's two best are more than least_gap apart */
} verdict;

static void compare(void *user, size_t index, const float *ours, size_t n)
{
    verdict *v = user;
    hone_err err = { 0 };
    if (n != v->ref->width || hone_reference_read(v->ref, v->ref->logits, v->row, index, v->theirs, &err) != HONE_OK) {
        v->wrong++;
        return;
    }
    hone_row      a = hone_row_scan(v->theirs, n), b = hone_row_scan(ours, n);
    hone_row_diff d = hone_row_compare(v->theirs, &a, ours, &b, n);
    v->n++;
    v->kld += d.kld;
    v->worst = b.finite ? fmax(v->worst, d.kld) : INFINITY;
    v->wrong += a.gap > v->least_gap && a.best != b.best;
}

/* Opens the folder and evaluates the rows of the reference. */
static verdict judge(const char *folder, const char *reference, double least_gap, hone_backend_open how, hone_backend_info *info)
{
    hone_arena     a = { 0 };
    hone_reference ref;
    hone_err       err = { 0 };
    char           path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", HONE_TEST_SOURCE_DIR, reference);
    if (hone_reference_open(path, &a, &ref, &err) != HONE_OK) fail_msg("%s", err.cause);
    verdict v = { .ref = &ref, .least_gap = least_gap, .theirs = malloc(ref.width * sizeof(float)) };
    assert_non_null(v.theirs);
    how.path = folder;
    how.device = "cpu";
    how.threads = 1;
    if (hone_runner_open(r, &how, info, NULL, &err) != HONE_OK) fail_msg("%s: %s", folder, err.cause);
    for (v.row = 0; v.row < ref.rows; v.row++)
        if (hone_runner_forward(r, ref.ids + v.row * ref.cols, ref.counts[v.row], 0, NULL, compare, &v, NULL, &err) != HONE_OK)
            fail_msg("%s: %s", folder, err.cause);
    v.kld /= (double)v.n;
    free(v.theirs);
    hone_reference_close(&ref);
    hone_arena_release(&a);
    return v;
}

static const struct {
    const char *dir, *reference;
} models[] = {
    { "tests/golden/tiny/llama", "reference" },    { "tests/golden/tiny/mistral", "reference" },    { "tests/golden/tiny/qwen2", "reference" },
    { "tests/golden/tiny/qwen3", "reference" },    { "tests/golden/tiny/phi3", "reference" },       { "tests/golden/tiny/phi3", "reference_long" },
    { "tests/golden/tiny/gemma2", "reference" },   { "tests/golden/tiny/gemma3", "reference" },     { "tests/golden/tiny/smollm3", "reference" },
    { "tests/golden/tiny/olmo2", "reference" },    { "tests/golden/tiny/granite", "reference" },    { "tests/golden/tiny/stablelm", "reference" },
    { "tests/golden/tiny/starcoder2", "reference" }, { "tests/golden/tiny/gpt2", "reference" },     { "tests/golden/tiny/gpt_neox", "reference" },
    { "tests/golden/tiny/mixtral", "reference" },  { "tests/golden/tiny/qwen3_moe", "reference" },  { "tests/golden/tiny/olmoe", "reference" },
    { "examples/models/tale-8m", "reference" },    { "tests/golden/tale-moe", "reference" },
};

static int judge_all(const char *quant, double kld, double gap, bool exact)
{
    int bad = 0;
    for (size_t i = 0; i < HONE_COUNT(models); i++) {
        scratch           out;
        char              path[1100], reference[512];
        hone_backend_info info;
        scratch_open(&out);
        convert(models[i].dir, quant, &out, path);
        (void)snprintf(reference, sizeof reference, "%s/%s.safetensors", models[i].dir, models[i].reference);
        verdict v = judge(path, reference, gap, (hone_backend_open){ .exact = exact }, &info);
        bool    ok = v.kld <= kld && v.wrong == 0 && v.n > 0;
        printf("%-28s %s: kld mean %.2g max %.2g, %zu other best tokens of %zu%s\n", models[i].dir, quant, v.kld, v.worst, v.wrong, v.n, ok ? "" : "  <-- BAD");
        bad += !ok;
        scratch_close(&out);
    }
    return bad;
}

static void float32_gives_the_logits_of_transformers(void **state)
{
    (void)state;
    assert_int_equal(judge_all("f32", 1e-5, 0.01, false), 0);
}

/* As `hone check` opens it: the folder's bfloat16 weights, activations in float32. */
static void bfloat16_weights_give_the_logits_of_transformers(void **state)
{
    (void)state;
    assert_int_equal(judge_all("bf16", 1e-3, 0.1, true), 0);
}

/* Other words in config.json, windows and scalings beyond what a runtime's own graph has.  Where mlx_lm could not run the model, so that hone writes no
 * folder, the checkpoint itself is opened. */
static void variants_give_the_logits_of_transformers(void **state)
{
    DIR *d = opendir(VARIANT_FOLDER);
    int  bad = 0, n = 0;
    (void)state;
    assert_non_null(d);
    for (struct dirent *file; (file = readdir(d));) {
        scratch           out;
        char              source[256], path[1100], reference[512];
        hone_backend_info info;
        if (file->d_name[0] == '.' || strcmp(file->d_name, BEYOND_CONTEXT) == 0) continue;
        scratch_open(&out);
        variant_assemble(file->d_name, scratch_path(&out, "checkpoint", source));
        bool written = try_convert(source, "f32", "m", &out, path);
        (void)snprintf(reference, sizeof reference, "tests/golden/variants/%s/reference.safetensors", file->d_name);
        verdict v = judge(written ? path : source, reference, 0.01, (hone_backend_open){ .exact = true }, &info);
        bool    ok = v.kld <= 1e-5 && v.wrong == 0 && v.n > 0;
        printf("%-24s%s: kld mean %.2g max %.2g, %zu other best tokens of %zu%s\n", file->d_name, written ? "" : " (checkpoint)", v.kld, v.worst, v.wrong, v.n, ok ? "" : "  <-- BAD");
        bad += !ok;
        n++;
        scratch_close(&out);
    }
    (void)closedir(d);
    assert_int_equal(bad, 0);
    assert_true(n >= 28);
}

static void nothing(void *user, size_t index, const float *values, size_t n)
{
    (void)index;
    (void)values;
    (void)n;
    (*(size_t *)user)++;
}

/* Dynamic NTK turns all tokens anew when the text grows beyond the context: the graph does not, so such texts are refused. */
static void a_text_beyond_a_dynamic_context_is_refused(void **state)
{
    int32_t           ids[13] = { 0 };
    size_t            rows = 0;
    hone_backend_info info;
    hone_err          err = { 0 };
    scratch           out;
    char              source[256];
    (void)state;
    scratch_open(&out);
    variant_assemble(BEYOND_CONTEXT, scratch_path(&out, "checkpoint", source));
    if (hone_runner_open(r, &(hone_backend_open){ .path = source, .device = "cpu", .context = 64 }, &info, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(info.n_ctx, 12);
    assert_int_equal(hone_runner_forward(r, ids, 13, 0, NULL, nothing, &rows, NULL, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "no room in the context of 12 tokens for 13 at 0");
    assert_int_equal(rows, 0);
    assert_int_equal(hone_runner_forward(r, ids, 12, 0, NULL, nothing, &rows, NULL, &err), HONE_OK);
    assert_int_equal(rows, 12);
    scratch_close(&out);
}

static void a_type_without_kernels_is_refused_by_name(void **state)
{
    hone_bytes file, config;
    hone_err   err = { 0 };
    scratch    out;
    (void)state;
    scratch_open(&out);
    assert_int_equal(hone_file_slurp(HONE_TEST_SOURCE_DIR "/tests/golden/tiny/llama/model.safetensors", 1u << 30, &f.a, &file, &err), HONE_OK);
    assert_int_equal(hone_file_slurp(HONE_TEST_SOURCE_DIR "/tests/golden/tiny/llama/config.json", 1u << 20, &f.a, &config, &err), HONE_OK);
    char *header = (char *)(uintptr_t)file.ptr + 8; /* the arena's, ours to change */
    for (char *p = header; (p = memmem(p, hone_le64(file.ptr) - (size_t)(p - header), "\"BF16\"", 6)); p += 6) memcpy(p, "\"I16\" ", 6);
    scratch_put(&out, "model.safetensors", file.ptr, file.len);
    scratch_put(&out, "config.json", config.ptr, config.len);
    assert_int_equal(hone_runner_open(r, &(hone_backend_open){ .path = out.dir, .device = "cpu" }, NULL, NULL, &err), HONE_EUNSUPPORTED);
    if (!strstr(err.cause, "tensor 'model.embed_tokens.weight' is stored as i16, MLX has kernels for f32, f16 and bf16")) fail_msg("%s", err.cause);
    scratch_close(&out);
}

/* Activations in the folder's type, and codes: what is measured in use.  int8's divergence is that of mlx_lm on the same folder (0.0066 and 0.0072 for
 * tale-8m): its scales are bfloat16.  Where two experts are nearly equal one token can take another way; so the bounds of tale-moe are wider. */
static void folders_run_as_well_as_their_bits_allow(void **state)
{
    static const struct {
        const char *dir, *quant;
        double      kld; /* at most; and not less than a thousandth of it: it is not the source that runs */
    } cases[] = {
        { "tests/golden/tiny/llama", "bf16", 1e-3 },     { "tests/golden/tiny/llama", "f16", 1e-4 },    { "tests/golden/tiny/gemma2", "bf16", 1e-3 },
        { "tests/golden/tiny/gpt2", "bf16", 1e-3 },      { "tests/golden/tiny/gpt_neox", "int8", 1e-2 }, { "tests/golden/tiny/mixtral", "bf16", 1e-3 },
        { "tests/golden/tale-moe", "bf16", 5e-2 },       { "tests/golden/tale-moe", "int4", 2e-1 },     { "tests/golden/tiny/olmoe", "int8", 5e-2 },
        { "tests/golden/tiny/olmoe", "int6", 1e-1 },     { "tests/golden/tiny/olmoe", "int5", 3e-1 },   { "tests/golden/tiny/olmoe", "int3", 3 },
        { "tests/golden/tiny/olmoe", "mxfp4", 2 },       { "tests/golden/tiny/olmoe", "nvfp4", 2 },     { "tests/golden/tiny/olmoe", "mxfp8", 3e-1 },
    };
    int bad = 0;
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(cases); i++) {
        scratch           out;
        char              path[1100], reference[512];
        hone_backend_info info;
        scratch_open(&out);
        convert(cases[i].dir, cases[i].quant, &out, path);
        (void)snprintf(reference, sizeof reference, "%s/reference.safetensors", cases[i].dir);
        verdict v = judge(path, reference, 1e9, (hone_backend_open){ 0 }, &info);
        bool    ok = v.kld <= cases[i].kld && v.kld >= cases[i].kld / 1000 && isfinite(v.worst);
        printf("%-28s %-6s kld mean %.2g max %.2g, weights %.1f MB%s\n", cases[i].dir, cases[i].quant, v.kld, v.worst, (double)info.weights_bytes / 1e6,
               ok ? "" : "  <-- BAD");
        bad += !ok;
        scratch_close(&out);
    }
    assert_int_equal(bad, 0);
}

typedef struct vectors { /* of one text */
    const hone_reference *ref;
    const hone_tensor    *theirs;
    size_t                row, n, width;
    double                worst; /* largest difference of two elements, after both were made unit vectors */
} vectors;

static double length_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void compare_vectors(void *user, size_t index, const float *ours, size_t n)
{
    vectors *v = user;
    hone_err err = { 0 };
    float   *theirs = malloc(n * sizeof *theirs);
    bool     pooled = v->theirs == v->ref->embeddings;
    assert_non_null(theirs);
    assert_int_equal(n, v->ref->width);
    assert_int_equal(hone_reference_read(v->ref, v->theirs, v->row, pooled ? 0 : index, theirs, &err), HONE_OK);
    double a = length_of(ours, n), b = length_of(theirs, n);
    for (size_t i = 0; i < n; i++) v->worst = fmax(v->worst, fabs((double)ours[i] / a - (double)theirs[i] / b));
    v->n++;
    free(theirs);
}

/* An encoder, from the checkpoint itself: mlx_lm has none, so there is no folder of its making. */
static void bert_embeddings_are_those_of_transformers(void **state)
{
    hone_arena     a = { 0 };
    hone_reference ref;
    hone_err       err = { 0 };
    (void)state;
    assert_int_equal(hone_reference_open(HONE_TEST_SOURCE_DIR "/tests/golden/tiny/bert/reference.safetensors", &a, &ref, &err), HONE_OK);
    for (int hidden = 0; hidden < 2; hidden++) {
        hone_backend_info info;
        vectors           v = { .ref = &ref, .theirs = hidden ? ref.hidden : ref.embeddings };
        hone_backend_open how = { .path = HONE_TEST_SOURCE_DIR "/tests/golden/tiny/bert", .device = "cpu", .embeddings = true, .hidden = hidden, .exact = true };
        if (hone_runner_open(r, &how, &info, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
        for (v.row = 0; v.row < ref.rows; v.row++)
            if (hone_runner_forward(r, ref.ids + v.row * ref.cols, ref.counts[v.row], 0, NULL, compare_vectors, &v, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
        printf("bert, %s: %zu vectors differ by %.2g at most\n", hidden ? "tokens" : "texts", v.n, v.worst);
        assert_true(v.n >= ref.rows && v.worst < 1e-5);
    }
    hone_backend_open logits = { .path = HONE_TEST_SOURCE_DIR "/tests/golden/tiny/bert", .device = "cpu" };
    assert_int_equal(hone_runner_open(r, &logits, NULL, NULL, &err), HONE_EUNSUPPORTED);
    assert_non_null(strstr(err.cause, "an encoder: it has embeddings but no logits"));
    hone_reference_close(&ref);
    hone_arena_release(&a);
}

/* --- mlx_lm on the same folders: tests/judges/mlx_peer.py -------------------------------------------------------- */
static int shell(const char *command)
{
    int   status = 0;
    pid_t child = fork();
    if (child == 0) {
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

typedef struct dump { FILE *file; size_t next; } dump;

static void write_row(void *user, size_t index, const float *values, size_t n)
{
    dump *d = user;
    assert_int_equal(index, d->next++); /* rows come in order */
    assert_int_equal(fwrite(values, sizeof *values, n, d->file), n);
}

/* A folder, and what hone's own graph computes on it in float32. */
static json_t *make_job(const char *dir, const char *quant, const scratch *out)
{
    hone_arena     a = { 0 };
    hone_reference ref;
    hone_err       err = { 0 };
    char           path[1100], name[160], logits[256], reference[1024];
    dump           d = { 0 };
    const char    *slash = strrchr(dir, '/');
    (void)snprintf(name, sizeof name, "%s-%s", slash + 1, quant);
    convert_as(dir, quant, name, out, path);
    (void)snprintf(reference, sizeof reference, "%s/%s/reference.safetensors", HONE_TEST_SOURCE_DIR, dir);
    if (hone_reference_open(reference, &a, &ref, &err) != HONE_OK) fail_msg("%s", err.cause);
    if (hone_runner_open(r, &(hone_backend_open){ .path = path, .device = "cpu", .exact = true }, NULL, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
    d.file = fopen(scratch_path(out, name, logits), "wb");
    assert_non_null(d.file);
    for (size_t row = 0; row < ref.rows; row++, d.next = 0)
        if (hone_runner_forward(r, ref.ids + row * ref.cols, ref.cols, 0, NULL, write_row, &d, NULL, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(fclose(d.file), 0);
    hone_reference_close(&ref);
    hone_arena_release(&a);
    return json_pack("{s:s,s:s,s:s,s:s,s:b}", "name", name, "folder", path, "reference", reference, "logits", logits, "quantised",
                     strcmp(quant, "f32") != 0);
}

/* Not mistral, gemma2, phi3 and starcoder2, which mlx_lm does not compute as they are (data/limits.json): tests/judges/mlx_folders.py. */
static void mlx_lm_computes_the_same_on_the_same_folders(void **state)
{
    static const struct {
        const char *dir, *quant;
    } jobs[] = {
        { "tests/golden/tiny/llama", "f32" },     { "tests/golden/tiny/qwen2", "f32" },     { "tests/golden/tiny/qwen3", "f32" },
        { "tests/golden/tiny/gemma3", "f32" },    { "tests/golden/tiny/smollm3", "f32" },   { "tests/golden/tiny/olmo2", "f32" },
        { "tests/golden/tiny/granite", "f32" },   { "tests/golden/tiny/stablelm", "f32" },  { "tests/golden/tiny/gpt2", "f32" },
        { "tests/golden/tiny/gpt_neox", "f32" },  { "tests/golden/tiny/mixtral", "f32" },   { "tests/golden/tiny/qwen3_moe", "f32" },
        { "tests/golden/tiny/olmoe", "f32" },     { "examples/models/tale-8m", "int4" },    { "tests/golden/tiny/gpt_neox", "int3" },
        { "tests/golden/tale-moe", "int4" },      { "tests/golden/tiny/mixtral", "mxfp4" }, { "tests/golden/tiny/olmoe", "nvfp4" },
        { "tests/golden/tiny/qwen3_moe", "mxfp8" },
    };
    char    command[600], file[256];
    scratch out;
    (void)state;
    if (shell("tools/judge --find mlx >/dev/null 2>&1") != 0) {
        print_message("not judged: no environment 'mlx'; tools/judge mlx makes it\n");
        skip();
    }
    json_t *list = json_array();
    scratch_open(&out);
    for (size_t i = 0; i < HONE_COUNT(jobs); i++) assert_int_equal(json_array_append_new(list, make_job(jobs[i].dir, jobs[i].quant, &out)), 0);
    assert_int_equal(json_dump_file(list, scratch_path(&out, "jobs.json", file), 0), 0);
    (void)snprintf(command, sizeof command, "PYTHONDONTWRITEBYTECODE=1 \"$(tools/judge --find mlx)\" tests/judges/mlx_peer.py '%s' 2>&1", file);
    (void)fflush(stdout);
    assert_int_equal(shell(command), 0);
    json_decref(list);
    scratch_close(&out);
}

static int set_up(void **state)
{
    hone_err err = { 0 };
    (void)state;
    return hone_runner_start(&f.ctx, &(hone_runner_options){ .backend = "mlx", .timeout_s = 120 }, &r, &err) == HONE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    hone_runner_stop(r);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float32_gives_the_logits_of_transformers),
        cmocka_unit_test(bfloat16_weights_give_the_logits_of_transformers),
        cmocka_unit_test(variants_give_the_logits_of_transformers),
        cmocka_unit_test(a_text_beyond_a_dynamic_context_is_refused),
        cmocka_unit_test(a_type_without_kernels_is_refused_by_name),
        cmocka_unit_test(folders_run_as_well_as_their_bits_allow),
        cmocka_unit_test(bert_embeddings_are_those_of_transformers),
        cmocka_unit_test(mlx_lm_computes_the_same_on_the_same_folders),
    };
    fixture_open(&f);
    if (!fixture_have(&f, "mlx")) {
        fixture_close(&f);
        return 77;
    }
    int rc = cmocka_run_group_tests(tests, set_up, tear_down);
    fixture_close(&f);
    return rc;
}
