/* test_read.c - MLX folders as checkpoints: names, stacks, codes; what does not fit by exact cause. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "arch/arch.h"
#include "flow/convert.h"
#include "formats/hf.h"
#include "formats/mlx/read.h"
#include "formats/safetensors.h"
#include "formats/scratch.h"
#include "quant/weight.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const hone_mlx_arch moe = { .model = "mixtral", .renames = { { "experts.%.w1.", "switch_mlp.gate_proj." }, { "experts.%.w2.", "switch_mlp.down_proj." } } };
static const hone_mlx_arch neox = { .model = "gpt_neox", .renames = { { "gpt_neox.layers.", "model.h." }, { "gpt_neox.", "model." }, { "embed_out.", "model.embed_out." } } };

#define T(name, dtype, shape, from, to) "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #from "," #to "]}"
#define INT4 "{\"quantization\":{\"bits\":4,\"group_size\":32,\"mode\":\"affine\"}}"

typedef struct opened { hone_code code; hone_err err; hone_arena a; hone_source *s; } opened;

static opened view(const char *tensors, size_t n_data, const uint8_t *data, const char *config_text, const hone_mlx_arch *m)
{
    opened       o = { 0 };
    scratch      s;
    char         path[256];
    size_t       n;
    hone_source *raw = NULL;
    uint8_t     *bytes = scratch_safetensors(tensors, n_data, &n);
    json_t      *config = json_loads(config_text, 0, NULL);
    assert_non_null(config);
    if (data) memcpy(bytes + n - n_data, data, n_data);
    scratch_open(&s);
    scratch_put(&s, "model.safetensors", bytes, n);
    free(bytes);
    if (hone_safetensors_open(scratch_path(&s, "model.safetensors", path), &o.a, &raw, &o.err) != HONE_OK) fail_msg("%s", o.err.cause);
    o.code = hone_mlx_view(raw, config, m, &o.a, &o.s, &o.err);
    if (o.code != HONE_OK) raw->close(raw);
    json_decref(config);
    scratch_close(&s);
    return o;
}

static void done(opened *o)
{
    if (o->s) o->s->close(o->s);
    hone_arena_release(&o->a);
}

static void names_lead_back_to_the_checkpoint(void **state)
{
    (void)state;
    opened o = view("{" T("model.embed_out.weight", "F32", "1,2", 0, 8) "," T("model.h.7.mlp.weight", "F32", "2", 8, 16) "," T("model.norm.bias", "F32", "2", 16, 24) "}", 24,
                    NULL, "{}", &neox);
    assert_int_equal(o.code, HONE_OK);
    assert_int_equal(o.s->n_tensors, 3);
    assert_true(o.s->upright);
    assert_string_equal(o.s->tensors[0].name, "embed_out.weight");
    assert_string_equal(o.s->tensors[1].name, "gpt_neox.layers.7.mlp.weight");
    assert_string_equal(o.s->tensors[2].name, "gpt_neox.norm.bias");
    done(&o);
    o = view("{" T("model.h.0.weight", "F32", "1,2", 0, 8) "}", 8, NULL, "{}", NULL);
    assert_string_equal(o.s->tensors[0].name, "model.h.0.weight");
    assert_false(o.s->upright);
    done(&o);
}

static void a_stack_of_experts_comes_apart(void **state)
{
    hone_err err = { 0 };
    uint8_t  b[8];
    (void)state;
    opened o = view("{" T("l.switch_mlp.down_proj.weight", "F16", "2,2,2", 0, 16) "}", 16, NULL, "{}", &moe);
    assert_int_equal(o.s->n_tensors, 2);
    const hone_tensor *t = hone_source_find(o.s, "l.experts.1.w2.weight");
    assert_non_null(t);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->bytes, 8);
    assert_int_equal(o.s->read(o.s, t, 2, b, 6, &err), HONE_OK);
    assert_memory_equal(b, ((uint8_t[]){ 10, 11, 12, 13, 14, 15 }), 6);
    assert_int_equal(hone_mlx_part_of(o.s, t)->row0, 2);
    assert_string_equal(hone_mlx_part_of(o.s, t)->weight->name, "l.switch_mlp.down_proj.weight");
    done(&o);
}

/* Two experts of one row of 32 codes of 4 bits each: value = code * scale + bias. */
static void codes_are_decoded_where_they_are_asked_for(void **state)
{
    uint8_t  data[2 * 16 + 8 + 8] = { 0 };
    float    scales[2] = { 0.5f, 2 }, biases[2] = { -1, 100 }, x[20];
    hone_err err = { 0 };
    (void)state;
    for (int i = 0; i < 32; i++) data[i] = (uint8_t)(i * 37);
    memcpy(data + 32, biases, 8);
    memcpy(data + 40, scales, 8);
    opened o = view("{" T("l.switch_mlp.gate_proj.weight", "U32", "2,1,4", 0, 32) "," T("l.switch_mlp.gate_proj.biases", "F32", "2,1,1", 32, 40) ","
                    T("l.switch_mlp.gate_proj.scales", "F32", "2,1,1", 40, 48) "}", sizeof data, data, INT4, &moe);
    if (o.code != HONE_OK) fail_msg("%s", o.err.cause);
    assert_int_equal(o.s->n_tensors, 2);
    const hone_tensor *t = hone_source_find(o.s, "l.experts.1.w1.weight");
    assert_true(t->dtype == HONE_DTYPE_F32 && t->n_dims == 2 && t->dims[0] == 1 && t->dims[1] == 32 && t->bytes == 128);
    assert_int_equal(o.s->read(o.s, t, 12, x, sizeof x, &err), HONE_OK); /* columns 3 .. 22 */
    for (int i = 0; i < 20; i++) {
        int code = data[16 + (i + 3) / 2] >> (4 * ((i + 3) % 2)) & 15;
        assert_true(x[i] == (float)code * 2 + 100);
    }
    done(&o);
}

static void refused(const char *tensors, size_t n, const char *config, hone_code code, const char *cause)
{
    opened o = view(tensors, n, NULL, config, &moe);
    assert_string_equal(o.err.cause, cause);
    assert_int_equal(o.code, code);
    assert_null(o.s);
    done(&o);
}

static void what_does_not_fit_is_refused_by_name(void **state)
{
#define CODES "{" T("m.weight", "U32", "2,4", 0, 32) "," T("m.scales", "F16", "2,1", 32, 36) "," T("m.biases", "F16", "2,1", 36, 40) "}"
    (void)state;
    refused(CODES, 40, "{}", HONE_EINPUT, "module 'm' has scales, but config.json has no \"quantization\"");
    refused(CODES, 40, "{\"quantization\":{\"bits\":4,\"group_size\":32,\"m\":false}}", HONE_EINPUT, "module 'm' has scales, but config.json says it is not quantised");
    refused(CODES, 40, "{\"quantization\":{\"bits\":4,\"group_size\":32,\"mode\":\"gptq\"}}", HONE_EUNSUPPORTED, "module 'm' is quantised in mode \"gptq\"");
    refused(CODES, 40, "{\"quantization\":{\"group_size\":32}}", HONE_EINPUT, "config.json: \"quantization\" of m: \"bits\" is missing");
    refused(CODES, 40, "{\"quantization\":{\"bits\":7,\"group_size\":32}}", HONE_EINPUT, "tensor 'm.weight' has codes of 7 bits in groups of 32");
    refused(CODES, 40, "{\"quantization\":{\"bits\":4,\"group_size\":0}}", HONE_EINPUT, "tensor 'm.weight' has codes of 4 bits in groups of 0");
    refused(CODES, 40, "{\"quantization\":{\"bits\":4,\"group_size\":64}}", HONE_EINPUT, "a row of 'm.weight' has 4 words, no whole groups of 64 codes of 4 bits");
    refused(CODES, 40, "{\"quantization\":{\"bits\":2,\"group_size\":32}}", HONE_EINPUT, "tensor 'm.weight' has 1 scales in a row, needs 2 (64 columns in groups of 32)");
    refused(CODES, 40, "{\"quantization\":{\"bits\":4,\"group_size\":32,\"mode\":\"mxfp4\"}}", HONE_EINPUT, "the scales of 'm.weight' are f16");
    refused("{" T("m.weight", "U32", "2,4", 0, 32) "," T("m.scales", "F16", "2,1", 32, 36) "}", 36, INT4, HONE_EINPUT, "tensor 'm.weight' has scales, but no biases");
    refused("{" T("m.weight", "U32", "2,4", 0, 32) "," T("m.scales", "F16", "2,1", 32, 36) "," T("m.biases", "F32", "2,1", 36, 44) "}", 44, INT4, HONE_EINPUT,
            "scales and biases of 'm.weight' differ in type or shape");
    refused("{" T("m.weight", "U32", "0,4", 0, 0) "," T("m.scales", "F16", "0,1", 0, 0) "," T("m.biases", "F16", "0,1", 0, 0) "}", 0, INT4, HONE_EINPUT,
            "tensor 'm.weight' has no size");
    refused("{" T("m.weight", "U32", "4", 0, 16) "," T("m.scales", "F16", "1", 16, 18) "," T("m.biases", "F16", "1", 18, 20) "}", 20, INT4, HONE_EINPUT,
            "tensor 'm.weight' has codes in 1 dimensions, needs 2 or 3");
    refused("{" T("switch_mlp.gate_proj.weight", "F32", "2", 0, 8) "}", 8, "{}", HONE_EINPUT, "tensor 'switch_mlp.gate_proj.weight' is no stack of 1 to 65536 matrices");
    refused("{" T("experts.0.w1.weight", "F32", "1,2", 0, 8) "," T("switch_mlp.gate_proj.weight", "F32", "1,1,2", 8, 16) "}", 16, "{}", HONE_EINPUT,
            "tensor 'experts.0.w1.weight' is there twice, stacked and apart");
}

/* --- what hone has written comes back -------------------------------------------------------------------------- */
static void open_written(const char *dir, hone_model *m)
{
    json_t          *config = NULL;
    hone_source     *raw = NULL;
    const hone_arch *arch = NULL;
    hone_err         err = { 0 };
    *m = (hone_model){ .path = dir };
    assert_int_equal(hone_hf_config_load(dir, &config, &err), HONE_OK);
    assert_int_equal(hone_arch_find(config, &arch, &err), HONE_OK);
    assert_int_equal(hone_safetensors_open(dir, &m->arena, &raw, &err), HONE_OK);
    assert_true(hone_mlx_is(raw, config));
    if (hone_mlx_view(raw, config, &arch->mlx, &m->arena, &m->source, &err) != HONE_OK) fail_msg("%s: %s", dir, err.cause);
    assert_ptr_equal(hone_mlx_raw(m->source), raw);
    hone_mlx_config_plain(config);
    if (hone_arch_bind(arch, config, m, &err) != HONE_OK) fail_msg("%s: %s", dir, err.cause);
    json_decref(config);
}

static float *all_of(const hone_model *m, const hone_weight *w)
{
    uint64_t rows = hone_weight_rows(w);
    hone_err err = { 0 };
    float   *x = malloc(hone_weight_elems(w) * sizeof *x);
    void    *room = malloc(hone_weight_scratch(w, rows));
    assert_true(x && room);
    if (hone_weight_read(m->source, w, 0, rows, x, room, &err) != HONE_OK) fail_msg("%s", err.cause);
    free(room);
    return x;
}

/* Relative error of the matrices, in the mean over squares; everything else must be equal. */
static double error_of(const hone_model *a, const hone_model *b, bool exact)
{
    double worst = 0;
    assert_int_equal(a->n_weights, b->n_weights);
    for (size_t i = 0; i < a->n_weights; i++) {
        const hone_weight *wa = &a->weights[i], *wb = &b->weights[i];
        uint64_t           n = hone_weight_elems(wa);
        double             diff = 0, size = 0;
        assert_true(wa->role == wb->role && wa->part == wb->part && wa->layer == wb->layer && n == hone_weight_elems(wb));
        float *x = all_of(a, wa), *y = all_of(b, wb);
        for (uint64_t k = 0; k < n; k++) {
            diff += ((double)x[k] - (double)y[k]) * ((double)x[k] - (double)y[k]);
            size += (double)x[k] * (double)x[k];
        }
        if (exact || wa->n_dims == 1) assert_true(diff == 0);
        else worst = fmax(worst, sqrt(diff / (size > 0 ? size : 1)));
        free(x);
        free(y);
    }
    return worst;
}

static void written_folders_are_the_checkpoint_again(void **state)
{
    static const struct {
        const char *model, *quant;
        double      error; /* at most; 0: equal */
    } cases[] = {
        { "llama", "mlx=f32", 0 },          { "gpt2", "mlx=f32", 0 },           { "gpt_neox", "mlx=bf16", 0 },      { "phi3", "mlx=f32", 0 },
        { "mixtral", "mlx=f32", 0 },        { "qwen3_moe", "mlx=bf16", 0 },     { "olmoe", "mlx=f32", 0 },          { "gemma3", "mlx=f32", 0 },
        { "gpt2", "mlx=int8", 0.01 },       { "gpt_neox", "mlx=int6", 0.03 },   { "qwen3_moe", "mlx=int4", 0.12 },  { "mixtral", "mlx=int5", 0.06 },
        { "llama", "mlx=int3", 0.25 },      { "mixtral", "mlx=mxfp4", 0.2 },    { "olmoe", "mlx=nvfp4", 0.15 },     { "gpt_neox", "mlx=mxfp8", 0.05 },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(cases); i++) {
        scratch                    s;
        char                       dir[1024];
        hone_ctx                   ctx = { .data_dir = HONE_TEST_SOURCE_DIR };
        hone_model                 from, back;
        hone_convert_result        res = { 0 };
        hone_err                   err = { 0 };
        const char                *quants[] = { cases[i].quant };
        hone_convert_options opt = { .quants = quants, .n_quants = 1, .name = "m" };
        scratch_open(&s);
        opt.out_dir = s.dir;
        (void)snprintf(dir, sizeof dir, "%s/tests/golden/tiny/%s", HONE_TEST_SOURCE_DIR, cases[i].model);
        if (hone_model_open(&ctx, dir, &from, &err) != HONE_OK) fail_msg("%s", err.cause);
        if (hone_convert(&ctx, &from, &opt, &res, &err) != HONE_OK) fail_msg("%s", err.cause);
        open_written(res.outputs[0].path, &back);
        double error = error_of(&from, &back, cases[i].error == 0);
        printf("%-10s %-10s relative error %.3g\n", cases[i].model, cases[i].quant, error);
        assert_true(error <= cases[i].error && (cases[i].error == 0 || error > cases[i].error / 20));
        hone_model_close(&back);
        hone_model_close(&from);
        hone_convert_result_release(&res);
        scratch_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_lead_back_to_the_checkpoint),
        cmocka_unit_test(a_stack_of_experts_comes_apart),
        cmocka_unit_test(codes_are_decoded_where_they_are_asked_for),
        cmocka_unit_test(what_does_not_fit_is_refused_by_name),
        cmocka_unit_test(written_folders_are_the_checkpoint_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
