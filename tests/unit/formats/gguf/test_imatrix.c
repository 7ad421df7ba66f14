/* Statistics as a file: round trips, both forms of llama.cpp's, files that are wrong. */
#include "formats/gguf/imatrix.h"
#include "formats/scratch.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { COLS = 5, EXPERTS = 3 };

typedef struct made { /* Q and K that share an input, experts, and the output */
    float            q[COLS], abs[COLS], max[COLS], sum[COLS], exps[EXPERTS * COLS], out[COLS];
    uint64_t         rows[1], per[EXPERTS];
    hone_input_stats in[4];
    hone_stats       s;
    unsigned         asked;
} made;

/* The Hessian of matrix mat of an input: 100*mat + 10*(i+j) + i*j, symmetric. */
static float element(uint32_t mat, size_t i, size_t j) { return 100.0f * (float)mat + 10.0f * (float)(i + j) + (float)(i * j) + 0.5f; }

static hone_code give(const hone_stats *s, const hone_input_stats *in, uint32_t mat, float *out, hone_err *err)
{
    (void)err;
    ((made *)s->self)->asked++;
    for (size_t i = 0; i < in->n_cols; i++)
        for (size_t j = 0; j < in->n_cols; j++) out[i * in->n_cols + j] = element(mat, i, j);
    return HONE_OK;
}

static void make(made *m, bool hessians)
{
    *m = (made){ 0 };
    for (size_t i = 0; i < COLS; i++) {
        m->q[i] = 1.5f * (float)(i + 1);
        m->abs[i] = (float)i;
        m->max[i] = 0.25f * (float)i;
        m->sum[i] = 2.0f - (float)i;
        m->out[i] = 7.0f;
    }
    for (size_t i = 0; i < COLS * EXPERTS; i++) m->exps[i] = i < COLS ? 0 : (float)i;
    m->rows[0] = 48;
    m->per[1] = 10;
    m->per[2] = 86;
    m->in[0] = (hone_input_stats){ .role = HONE_R_OUTPUT, .layer = -1, .n_mats = 1, .n_cols = COLS, .sum_sq = m->out, .counts = m->rows };
    m->in[1] = (hone_input_stats){ .role = HONE_R_ATTN_Q, .layer = 0, .n_mats = 1, .n_cols = COLS, .sum_sq = m->q, .sum_abs = m->abs, .max_abs = m->max, .sum = m->sum, .counts = m->rows, .hessian = hessians };
    m->in[2] = m->in[1];
    m->in[2].role = HONE_R_ATTN_K;
    m->in[3] = (hone_input_stats){ .role = HONE_R_FFN_DOWN_EXPS, .layer = 0, .n_mats = EXPERTS, .n_cols = COLS, .sum_sq = m->exps, .counts = m->per, .hessian = hessians };
    m->s = (hone_stats){ .inputs = m->in, .n_inputs = 4, .hessian = hessians ? give : NULL, .self = m };
}

static const hone_stats_text   texts[] = { { .path = "texts/de.txt", .name = "de", .tokens = 1024 }, { .path = "other.txt" } };
static const hone_stats_origin origin = { .texts = texts, .n_texts = 2, .chunk_count = 3, .chunk_size = 512 };

static void what_was_written_is_read(void **state)
{
    char              path[256];
    made              m;
    hone_arena        a = { 0 };
    hone_err          err = { 0 };
    hone_stats        s = { 0 };
    float             h[COLS * COLS];
    make(&m, true);
    scratch_path(*state, "a.gguf", path);
    assert_int_equal(hone_stats_write(path, &m.s, &origin, &err), HONE_OK);
    assert_int_equal(m.asked, 1 + EXPERTS); /* one for Q and K together */
    assert_int_equal(hone_stats_open(path, &a, &s, &err), HONE_OK);
    assert_int_equal(s.n_inputs, 4);
    assert_int_equal(s.inputs[0].role, HONE_R_OUTPUT);
    assert_int_equal(strlen(s.sha256), 64);
    assert_string_equal(s.path, path);
    const hone_input_stats *q = hone_stats_find(&s, HONE_R_ATTN_Q, 0), *v = hone_stats_find(&s, HONE_R_ATTN_V, 0), *e = hone_stats_find(&s, HONE_R_FFN_DOWN_EXPS, 0);
    assert_non_null(q);
    assert_non_null(v);
    assert_non_null(e);
    assert_null(hone_stats_find(&s, HONE_R_ATTN_Q, 1));
    assert_memory_equal(q->sum_sq, m.q, sizeof m.q);
    assert_memory_equal(q->sum_abs, m.abs, sizeof m.abs);
    assert_memory_equal(q->max_abs, m.max, sizeof m.max);
    assert_memory_equal(q->sum, m.sum, sizeof m.sum);
    assert_int_equal(q->counts[0], 48);
    assert_int_equal(e->n_mats, EXPERTS);
    assert_null(e->sum_abs);
    assert_null(e->sum);
    assert_memory_equal(e->counts, m.per, sizeof m.per);
    for (size_t k = 0; k < 2; k++) {
        assert_true(k ? v->hessian : q->hessian);
        assert_int_equal(s.hessian(&s, k ? v : q, 0, h, &err), HONE_OK);
        for (size_t i = 0; i < COLS * COLS; i++) assert_true(h[i] == element(0, i / COLS, i % COLS));
    }
    assert_int_equal(s.hessian(&s, e, 2, h, &err), HONE_OK);
    assert_true(h[COLS + 3] == element(2, 1, 3) && h[3 * COLS + 1] == element(2, 3, 1));
    assert_int_equal(s.hessian(&s, &s.inputs[0], 0, h, &err), HONE_EBUG);
    const hone_stats_origin *o = hone_stats_origin_of(&s);
    assert_int_equal(o->n_texts, 2);
    assert_int_equal(o->chunk_count, 3);
    assert_int_equal(o->chunk_size, 512);
    assert_string_equal(o->texts[0].name, "de");
    assert_string_equal(o->texts[0].path, "texts/de.txt");
    assert_int_equal(o->texts[0].tokens, 1024);
    assert_null(o->texts[1].name);
    assert_false(o->tied || o->legacy);
    hone_stats_close(&s);
    hone_stats_close(&s);
    hone_arena_release(&a);
}

static void a_tied_output_goes_by_the_name_of_the_embedding(void **state)
{
    char              path[256];
    made              m;
    hone_arena        a = { 0 };
    hone_err          err = { 0 };
    hone_stats        s = { 0 };
    hone_gguf         g = { 0 };
    hone_stats_origin tied = origin;
    make(&m, false);
    tied.tied = true;
    scratch_path(*state, "tied.gguf", path);
    assert_int_equal(hone_stats_write(path, &m.s, &tied, &err), HONE_OK);
    assert_int_equal(hone_gguf_open(path, &a, &g, &err), HONE_OK);
    assert_non_null(hone_source_find(g.source, "token_embd.weight.in_sum2"));
    assert_null(hone_source_find(g.source, "output.weight.in_sum2"));
    assert_null(hone_source_find(g.source, "blk.0.attn_q.weight.hessian"));
    g.source->close(g.source);
    assert_int_equal(hone_stats_open(path, &a, &s, &err), HONE_OK);
    assert_non_null(hone_stats_find(&s, HONE_R_OUTPUT, -1));
    assert_null(hone_stats_find(&s, HONE_R_TOK_EMBD, -1));
    assert_true(hone_stats_origin_of(&s)->tied);
    assert_null(s.hessian);
    hone_stats_close(&s);
    hone_arena_release(&a);
}

static void a_cold_expert_is_the_mean_of_its_layer(void **state)
{
    made  m;
    float mean[COLS];
    (void)state;
    make(&m, false);
    hone_stats_mean_sq(&m.in[3], 2, mean);
    for (size_t i = 0; i < COLS; i++) assert_true(mean[i] == m.exps[2 * COLS + i] / 86.0f);
    hone_stats_mean_sq(&m.in[3], 0, mean);
    for (size_t i = 0; i < COLS; i++) assert_true(fabsf(mean[i] - (m.exps[COLS + i] + m.exps[2 * COLS + i]) / 96.0f) < 1e-6f);
    memset(m.per, 0, sizeof m.per);
    hone_stats_mean_sq(&m.in[3], 0, mean);
    for (size_t i = 0; i < COLS; i++) assert_true(mean[i] == 1.0f);
}

/* --- the form before GGUF, spelled out by hand from imatrix.cpp (save_imatrix_legacy) ---------------------------------------- */
static void old_entry(blob *b, const char *name, uint32_t calls, size_t n, float first)
{
    blob_u32(b, (uint32_t)strlen(name));
    blob_bytes(b, name, strlen(name));
    blob_u32(b, calls);
    blob_u32(b, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        float f = first + (float)i;
        blob_bytes(b, &f, sizeof f);
    }
}

static void the_old_form_is_read_and_its_experts_come_apart(void **state)
{
    char       path[256];
    hone_arena a = { 0 };
    hone_err   err = { 0 };
    hone_stats s = { 0 };
    blob       b = { 0 };
    blob_u32(&b, 5);
    old_entry(&b, "blk.0.ffn_down_exps.weight", 2, 9, 0);
    old_entry(&b, "blk.0.ffn_gate_inp.weight", 2, 4, 5);
    old_entry(&b, "blk.0.ffn_up_exps.weight", 2, 12, 1);
    old_entry(&b, "blk.0.attn_q.weight", 2, 4, 3);
    old_entry(&b, "blk.0.something_new.weight", 2, 4, 3);
    blob_u32(&b, 2);
    blob_u32(&b, 5);
    blob_bytes(&b, "a.txt", 5);
    scratch_put(*state, "old.dat", b.ptr, b.len);
    scratch_path(*state, "old.dat", path);
    assert_int_equal(hone_stats_open(path, &a, &s, &err), HONE_OK);
    assert_int_equal(s.n_inputs, 4);
    const hone_input_stats *up = hone_stats_find(&s, HONE_R_FFN_GATE_EXPS, 0), *down = hone_stats_find(&s, HONE_R_FFN_DOWN_EXPS, 0);
    assert_int_equal(up->n_mats, 3);
    assert_int_equal(up->n_cols, 4);
    assert_int_equal(down->n_mats, 3);
    assert_int_equal(down->n_cols, 3);
    assert_int_equal(down->counts[2], 2);
    assert_true(down->sum_sq[8] == 8.0f);
    assert_true(hone_stats_origin_of(&s)->legacy);
    assert_int_equal(hone_stats_origin_of(&s)->chunk_count, 2);
    assert_string_equal(hone_stats_origin_of(&s)->texts[0].path, "a.txt");
    hone_stats_close(&s);
    hone_arena_release(&a);
    free(b.ptr);
}

/* A Hessian over all experts as one matrix says nothing of any of them. */
static void experts_that_come_apart_have_no_hessian(void **state)
{
    static const struct { const char *name; uint64_t cols; } tensors[] = {
        { "blk.0.attn_q.weight.in_sum2", 4 },        { "blk.0.attn_q.weight.counts", 1 },        { "blk.0.attn_q.weight.hessian", 10 },
        { "blk.0.ffn_up_exps.weight.in_sum2", 12 },  { "blk.0.ffn_up_exps.weight.counts", 1 },   { "blk.0.ffn_up_exps.weight.hessian", 78 },
    };
    char              path[256];
    hone_arena        a = { 0 };
    hone_err          err = { 0 };
    hone_gguf_writer *g = NULL;
    hone_stats        s = { 0 };
    uint64_t          offsets[HONE_COUNT(tensors)], total = 0;
    hone_bytes        head;
    blob              b = { 0 };
    float             q[16];
    assert_int_equal(hone_gguf_writer_new(&a, &g, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_str(g, "general.type", "imatrix", &err), HONE_OK);
    for (size_t i = 0; i < HONE_COUNT(tensors); i++)
        assert_int_equal(hone_gguf_put_tensor(g, tensors[i].name, HONE_DTYPE_F32, 2, (uint64_t[]){ 1, tensors[i].cols }, &err), HONE_OK);
    assert_int_equal(hone_gguf_layout(g, offsets, &total, &head, &err), HONE_OK);
    blob_bytes(&b, head.ptr, head.len);
    blob_zeros(&b, (size_t)total - head.len);
    scratch_put(*state, "whole.gguf", b.ptr, b.len);
    scratch_path(*state, "whole.gguf", path);
    assert_int_equal(hone_stats_open(path, &a, &s, &err), HONE_OK);
    const hone_input_stats *up = hone_stats_find(&s, HONE_R_FFN_UP_EXPS, 0), *in = hone_stats_find(&s, HONE_R_ATTN_Q, 0);
    assert_int_equal(up->n_mats, 3);
    assert_int_equal(up->n_cols, 4);
    assert_false(up->hessian);
    assert_true(in->hessian);
    assert_int_equal(s.hessian(&s, in, 0, q, &err), HONE_OK);
    hone_stats_close(&s);
    hone_arena_release(&a);
    free(b.ptr);
}

/* --- files that are wrong -------------------------------------------------------------------------------------------------------- */
typedef struct wrong {
    const char *name; /* of the second tensor, beside blk.0.attn_q.weight.in_sum2 [2, 4] */
    uint64_t    rows, cols;
    float       value; /* everywhere in it */
    const char *cause;
} wrong;

static void refuse(void **state, const wrong *w)
{
    char              path[256];
    hone_arena        a = { 0 };
    hone_err          err = { 0 };
    hone_gguf_writer *g = NULL;
    hone_stats        s = { .n_inputs = 77 };
    uint64_t          offsets[3], total = 0;
    hone_bytes        head;
    blob              b = { 0 };
    const uint64_t    sums[] = { 2, 4 }, counts[] = { 2, 1 }, own[] = { w->rows, w->cols };
    const bool        third = strstr(w->name, "counts") == NULL;
    assert_int_equal(hone_gguf_writer_new(&a, &g, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_str(g, "general.type", "imatrix", &err), HONE_OK);
    assert_int_equal(hone_gguf_put_tensor(g, "blk.0.attn_q.weight.in_sum2", HONE_DTYPE_F32, 2, sums, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_tensor(g, w->name, HONE_DTYPE_F32, 2, own, &err), HONE_OK);
    if (third) assert_int_equal(hone_gguf_put_tensor(g, "blk.0.attn_q.weight.counts", HONE_DTYPE_F32, 2, counts, &err), HONE_OK);
    assert_int_equal(hone_gguf_layout(g, offsets, &total, &head, &err), HONE_OK);
    blob_bytes(&b, head.ptr, head.len);
    blob_zeros(&b, (size_t)total - head.len);
    for (size_t i = 0; i < w->rows * w->cols; i++) memcpy(b.ptr + offsets[1] + 4 * i, &w->value, sizeof w->value);
    scratch_put(*state, "wrong.gguf", b.ptr, b.len);
    scratch_path(*state, "wrong.gguf", path);
    assert_int_equal(hone_stats_open(path, &a, &s, &err), HONE_EINPUT);
    if (!strstr(err.cause, w->cause)) fail_msg("'%s' lacks '%s'", err.cause, w->cause);
    assert_non_null(strstr(err.cause, "wrong.gguf"));
    assert_int_equal(s.n_inputs, 77);
    free(b.ptr);
    hone_arena_release(&a);
}

static void wrong_files_are_refused_with_what_is_wrong(void **state)
{
    static const wrong list[] = {
        { "blk.0.attn_k.weight.counts", 1, 1, 1, "'blk.0.attn_k.weight' has counts but no sums" },
        { "blk.0.attn_q.weight.counts", 3, 1, 1, "'blk.0.attn_q.weight' has 8 sums and 3 counts of f32" },
        { "blk.0.attn_q.weight.counts", 2, 1, -1, "'blk.0.attn_q.weight.counts' holds -1 at 0, needs a finite number that is not negative" },
        { "blk.0.attn_q.weight.counts", 2, 1, 1e30f, "'blk.0.attn_q.weight.counts' counts 1e+30 rows" },
        { "blk.0.attn_q.weight.in_abs", 2, 3, 1, "tensor 'blk.0.attn_q.weight.in_abs' has 6 values of f32, needs 8" },
        { "blk.0.attn_q.weight.in_max", 2, 4, -2, "'blk.0.attn_q.weight.in_max' holds -2 at 0" },
        { "blk.0.attn_q.weight.in_sum", 2, 3, -1, "tensor 'blk.0.attn_q.weight.in_sum' has 6 values of f32, needs 8" },
        { "blk.0.attn_q.weight.in_sum", 2, 4, INFINITY, "'blk.0.attn_q.weight.in_sum' holds inf at 0, needs a finite number" },
        { "blk.0.attn_q.weight.hessian", 2, 9, 1, "tensor 'blk.0.attn_q.weight.hessian' has 18 values of f32, 2 triangles of 4 columns need 20" },
        { "blk.1.attn_q.weight.in_sum2", 2, 4, 1, "'blk.1.attn_q.weight' has sums but no counts" },
    };
    for (size_t i = 0; i < HONE_COUNT(list); i++) refuse(state, &list[i]);
}

static void other_files_are_told_by_what_they_are(void **state)
{
    char              path[256];
    hone_arena        a = { 0 };
    hone_err          err = { 0 };
    hone_gguf_writer *g = NULL;
    hone_stats        s = { 0 };
    uint64_t          total = 0;
    hone_bytes        head;
    assert_int_equal(hone_gguf_writer_new(&a, &g, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_str(g, "general.type", "model", &err), HONE_OK);
    assert_int_equal(hone_gguf_layout(g, &total, &total, &head, &err), HONE_OK);
    scratch_put(*state, "model.gguf", head.ptr, head.len);
    scratch_path(*state, "model.gguf", path);
    assert_int_equal(hone_stats_open(path, &a, &s, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "this GGUF is no importance matrix (general.type is not \"imatrix\")"));
    scratch_put(*state, "text.txt", "It was a dark and stormy night", 30);
    scratch_path(*state, "text.txt", path);
    assert_int_equal(hone_stats_open(path, &a, &s, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "this is neither GGUF nor the old form of an importance matrix"));
    scratch_path(*state, "nothing.gguf", path);
    assert_int_equal(hone_stats_open(path, &a, &s, &err), HONE_EINPUT);
    hone_arena_release(&a);
}

/* A Hessian that cannot be had leaves no file. */
static hone_code refuse_hessian(const hone_stats *s, const hone_input_stats *in, uint32_t mat, float *out, hone_err *err)
{
    (void)s, (void)in, (void)mat, (void)out;
    return HONE_FAIL(err, HONE_ERUNTIME, "", "the engine is gone");
}

static void a_failure_leaves_no_file(void **state)
{
    char     path[256];
    made     m;
    hone_err err = { 0 };
    make(&m, true);
    m.s.hessian = refuse_hessian;
    scratch_path(*state, "none.gguf", path);
    assert_int_equal(hone_stats_write(path, &m.s, &origin, &err), HONE_ERUNTIME);
    assert_string_equal(err.cause, "the engine is gone");
    assert_false(hone_file_exists(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_is_read, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_tied_output_goes_by_the_name_of_the_embedding, scratch_setup, scratch_teardown),
        cmocka_unit_test(a_cold_expert_is_the_mean_of_its_layer),
        cmocka_unit_test_setup_teardown(the_old_form_is_read_and_its_experts_come_apart, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(experts_that_come_apart_have_no_hessian, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(wrong_files_are_refused_with_what_is_wrong, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(other_files_are_told_by_what_they_are, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_failure_leaves_no_file, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
