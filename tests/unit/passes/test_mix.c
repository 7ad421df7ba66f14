/* test_mix.c - which type each tensor gets, against what llama-quantize --dry-run says (tests/golden/peer/mix.json). */
#include "arch/arch.h"
#include "formats/gguf/names.h"
#include "passes/mix.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define MIX HONE_TEST_SOURCE_DIR "/tests/golden/peer/mix.json"

static const hone_gguf_arch *gguf_of(const char *name)
{
    for (size_t i = 0; i < hone_arch_count; i++)
        if (strcmp(hone_arch_list[i]->gguf.name, name) == 0) return &hone_arch_list[i]->gguf;
    fail_msg("no family is called '%s' in GGUF", name);
    return NULL;
}

/* The role whose tensor has this name in layer 0 (or no layer). */
static hone_role role_of(const char *name, int32_t *layer)
{
    for (int r = 0; r < HONE_R_COUNT; r++) {
        char     n[HONE_GGUF_NAME];
        hone_err err = { 0 };
        *layer = hone_role_per_layer((hone_role)r) ? 0 : -1;
        if (hone_gguf_tensor_name((hone_role)r, HONE_PART_WEIGHT, *layer, n, sizeof n, &err) == HONE_OK && strcmp(n, name) == 0) return (hone_role)r;
    }
    fail_msg("no role is called '%s'", name);
    return HONE_R_IGNORED;
}

typedef struct shape_case {
    hone_facts          f;
    hone_weight        *w;
    const hone_weight **list;
    const char        **tails; /* name without its layer */
    size_t              n;
} shape_case;

static uint32_t number(const json_t *c, const char *key) { return (uint32_t)json_integer_value(json_object_get(c, key)); }

static void case_open(const json_t *c, shape_case *s)
{
    const char *name;
    json_t     *dims;
    *s = (shape_case){ 0 };
    s->f.gguf = gguf_of(json_string_value(json_object_get(c, "arch")));
    s->f.n_layers = number(c, "layers");
    s->f.n_heads = number(c, "heads");
    s->f.n_kv_heads = number(c, "kv_heads");
    s->f.n_experts = number(c, "experts");
    size_t most = json_object_size(json_object_get(c, "tensors")) * s->f.n_layers;
    s->w = calloc(most, sizeof *s->w);
    s->list = calloc(most, sizeof *s->list);
    s->tails = calloc(most, sizeof *s->tails);
    assert_true(s->w && s->list && s->tails);
    json_object_foreach(json_object_get(c, "tensors"), name, dims)
    {
        int32_t     layer;
        hone_weight w = { .role = role_of(name, &layer), .scale = 1, .n_dims = (uint32_t)json_array_size(dims) };
        for (uint32_t i = 0; i < w.n_dims; i++) w.dims[i] = (uint64_t)json_integer_value(json_array_get(dims, i));
        for (int32_t i = layer; i < (layer < 0 ? 0 : (int32_t)s->f.n_layers); i++) {
            s->w[s->n] = w;
            s->w[s->n].layer = i;
            s->list[s->n] = &s->w[s->n];
            s->tails[s->n++] = layer < 0 ? name : name + strlen("blk.0.");
        }
    }
}

static void case_close(shape_case *s)
{
    free(s->w);
    free(s->list);
    free(s->tails);
}

/* Type number at of "q6_k*2 q4_k q6_k", or the whole text when it is one type. */
static const char *nth(const char *runs, uint32_t at, char out[16])
{
    uint32_t seen = 0;
    for (const char *p = runs;;) {
        size_t   len = strcspn(p, " *");
        uint32_t times = p[len] == '*' ? (uint32_t)strtoul(p + len + 1, NULL, 10) : 1;
        const char *next = strchr(p, ' ');
        seen += times;
        if (at < seen || !next) {
            snprintf(out, 16, "%.*s", (int)len, p);
            return out;
        }
        p = next + 1;
    }
}

static int check_mix(const shape_case *s, const char *what, const char *name, const json_t *want, bool has_imatrix)
{
    hone_err    err = { 0 };
    size_t      fallbacks = 0;
    int         bad = 0;
    hone_dtype *types = calloc(s->n, sizeof *types);
    assert_non_null(types);
    assert_non_null(hone_mix_find(name));
    if (hone_mix_assign(hone_mix_find(name), &s->f, s->list, s->n, has_imatrix, types, &fallbacks, &err) != HONE_OK)
        fail_msg("%s %s: %s", what, name, err.cause);
    for (size_t i = 0; i < s->n; i++) {
        char        t[16];
        const char *expected = nth(json_string_value(json_object_get(want, s->tails[i])), s->w[i].layer < 0 ? 0 : (uint32_t)s->w[i].layer, t);
        if (strcmp(hone_dtype_name(types[i]), expected) != 0 && bad++ < 5)
            printf("%s, %s%s: %s of layer %d is %s, llama-quantize says %s\n", what, name, has_imatrix ? " with importance" : "", s->tails[i],
                   (int)s->w[i].layer, hone_dtype_name(types[i]), expected);
    }
    free(types);
    return bad;
}

static void types_are_those_of_llama_quantize(void **state)
{
    json_error_t e;
    json_t      *doc = json_load_file(MIX, 0, &e), *c, *want;
    size_t       i, n = 0;
    int          bad = 0;
    const char  *mix;
    (void)state;
    assert_non_null(doc);
    json_array_foreach(json_object_get(doc, "cases"), i, c)
    {
        shape_case s;
        case_open(c, &s);
        const char *what = json_string_value(json_object_get(c, "name"));
        json_object_foreach(json_object_get(c, "mixes"), mix, want) bad += check_mix(&s, what, mix, want, false), n++;
        json_object_foreach(json_object_get(c, "mixes_with_imatrix"), mix, want) bad += check_mix(&s, what, mix, want, true), n++;
        case_close(&s);
    }
    json_decref(doc);
    assert_int_equal(bad, 0);
    assert_true(n >= 12 * 22);
}

static void plain_types_leave_norms_and_routers_wide(void **state)
{
    static const char *const plain[] = { "f32", "f16", "bf16" };
    hone_weight              w[] = {
        { .role = HONE_R_TOK_EMBD, .layer = -1, .n_dims = 2, .dims = { 512, 256 }, .scale = 1 },
        { .role = HONE_R_ATTN_NORM, .layer = 0, .n_dims = 1, .dims = { 256 }, .scale = 1 },
        { .role = HONE_R_ATTN_Q_NORM, .layer = 0, .n_dims = 2, .dims = { 4, 64 }, .scale = 1 },
        { .role = HONE_R_FFN_ROUTER, .layer = 0, .n_dims = 2, .dims = { 8, 256 }, .scale = 1 },
        { .role = HONE_R_ATTN_Q, .part = HONE_PART_BIAS, .layer = 0, .n_dims = 1, .dims = { 256 }, .scale = 1 },
    };
    const hone_weight *list[HONE_COUNT(w)];
    hone_facts         f = { .n_layers = 1, .n_heads = 4, .n_kv_heads = 4 };
    hone_dtype         types[HONE_COUNT(w)];
    size_t             fallbacks = 7;
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(w); i++) list[i] = &w[i];
    for (size_t k = 0; k < HONE_COUNT(plain); k++) {
        assert_int_equal(hone_mix_assign(hone_mix_find(plain[k]), &f, list, HONE_COUNT(w), false, types, &fallbacks, NULL), HONE_OK);
        assert_string_equal(hone_dtype_name(types[0]), plain[k]);
        for (size_t i = 1; i < HONE_COUNT(w); i++) assert_int_equal(types[i], HONE_DTYPE_F32);
        assert_int_equal(fallbacks, 0);
    }
}

static void rows_that_hold_no_whole_blocks_fall_back_and_are_counted(void **state)
{
    hone_weight w[] = {
        { .role = HONE_R_OUTPUT, .layer = -1, .n_dims = 2, .dims = { 512, 256 }, .scale = 1 },
        { .role = HONE_R_FFN_UP, .layer = 0, .n_dims = 2, .dims = { 96, 96 }, .scale = 1 }, /* 96 = 3 * 32 */
        { .role = HONE_R_FFN_GATE, .layer = 0, .n_dims = 2, .dims = { 40, 40 }, .scale = 1 },
    };
    const hone_weight *list[] = { &w[0], &w[1], &w[2] };
    hone_facts         f = { .n_layers = 1, .n_heads = 4, .n_kv_heads = 4 };
    hone_dtype         types[3];
    size_t             fallbacks;
    (void)state;
    assert_int_equal(hone_mix_assign(hone_mix_find("q4_k_m"), &f, list, 3, false, types, &fallbacks, NULL), HONE_OK);
    assert_int_equal(types[0], HONE_DTYPE_Q6_K);
    assert_int_equal(types[1], HONE_DTYPE_Q5_0);
    assert_int_equal(types[2], HONE_DTYPE_F16);
    assert_int_equal(fallbacks, 2);
}

static void two_bits_throughout_need_an_importance_matrix(void **state)
{
    hone_err   err = { 0 };
    hone_facts f = { .n_layers = 1, .n_heads = 4, .n_kv_heads = 4 };
    size_t     fallbacks = 3;
    (void)state;
    assert_int_equal(hone_mix_assign(hone_mix_find("q2_k_s"), &f, NULL, 0, false, NULL, &fallbacks, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "q2_k_s needs an importance matrix");
    assert_int_equal(fallbacks, 3);
}

static void names_are_found_exactly(void **state)
{
    (void)state;
    for (size_t i = 0; i < hone_mix_count; i++) assert_ptr_equal(hone_mix_find(hone_mix_list[i].name), &hone_mix_list[i]);
    assert_null(hone_mix_find("q4_k"));
    assert_null(hone_mix_find("Q4_K_M"));
    assert_null(hone_mix_find(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_are_those_of_llama_quantize),
        cmocka_unit_test(plain_types_leave_norms_and_routers_wide),
        cmocka_unit_test(rows_that_hold_no_whole_blocks_fall_back_and_are_counted),
        cmocka_unit_test(two_bits_throughout_need_an_importance_matrix),
        cmocka_unit_test(names_are_found_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
