#include "formats/gguf.h"
#include "formats/scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

typedef struct made {
    hone_arena        arena;
    hone_gguf_writer *w;
    hone_err          err;
} made;

static void made_open(made *m)
{
    *m = (made){ 0 };
    assert_int_equal(hone_gguf_writer_new(&m->arena, &m->w, &m->err), HONE_OK);
}
static void made_close(made *m) { hone_arena_release(&m->arena); }

/* The whole file spelled out by hand from docs/gguf.md. */
static void a_small_file_is_exactly_these_bytes(void **state)
{
    (void)state;
    blob want = { 0 };
    blob_bytes(&want, "GGUF", 4);
    blob_u32(&want, 3);
    blob_u64(&want, 2); /* tensors */
    blob_u64(&want, 3); /* keys */
    blob_str(&want, "general.architecture");
    blob_u32(&want, 8);
    blob_str(&want, "llama");
    blob_str(&want, "llama.block_count");
    blob_u32(&want, 4);
    blob_u32(&want, 7);
    blob_str(&want, "tokenizer.ggml.tokens");
    blob_u32(&want, 9);
    blob_u32(&want, 8);
    blob_u64(&want, 2);
    blob_str(&want, "a");
    blob_str(&want, "");
    blob_str(&want, "w"); /* [3, 32] f16: 192 bytes */
    blob_u32(&want, 2);
    blob_u64(&want, 32);
    blob_u64(&want, 3);
    blob_u32(&want, 1);
    blob_u64(&want, 0);
    blob_str(&want, "q"); /* [64] q4_0: 36 bytes, padded to 64 */
    blob_u32(&want, 1);
    blob_u64(&want, 64);
    blob_u32(&want, 2);
    blob_u64(&want, 192);
    blob_align(&want, 32);

    made          m;
    uint64_t      offsets[2], total;
    hone_bytes    head;
    hone_gguf_str tokens[] = { { "a", 1 }, { NULL, 0 } };
    made_open(&m);
    assert_int_equal(hone_gguf_put_str(m.w, "general.architecture", "llama", &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_u32(m.w, "llama.block_count", 7, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_array(m.w, "tokenizer.ggml.tokens", HONE_GGUF_STRING, tokens, 2, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_tensor(m.w, "w", HONE_DTYPE_F16, 2, (uint64_t[]){ 3, 32 }, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_tensor(m.w, "q", HONE_DTYPE_Q4_0, 1, (uint64_t[]){ 64 }, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_layout(m.w, offsets, &total, &head, &m.err), HONE_OK);
    assert_int_equal(head.len, want.len);
    assert_memory_equal(head.ptr, want.ptr, want.len);
    assert_int_equal(offsets[0], want.len);
    assert_int_equal(offsets[1], want.len + 192);
    assert_int_equal(total, want.len + 192 + 64);
    made_close(&m);
    free(want.ptr);
}

static void what_is_written_reads_back(void **state)
{
    made               m;
    uint64_t           offsets[2], total;
    hone_bytes         head;
    hone_gguf          g;
    hone_tensor       *t;
    size_t             n;
    const float        scores[] = { 0.5f, -1.25f };
    const int32_t      types[] = { 1, -3 };
    const uint8_t      flags[] = { 1, 0, 1 };
    const uint16_t     shorts[] = { 0x1234, 0xffff };
    const uint64_t     wide[] = { 1, UINT64_MAX };
    (void)state;
    made_open(&m);
    assert_int_equal(hone_gguf_put_strn(m.w, "s", "a\0b", 3, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_u64(m.w, "u64", UINT64_MAX, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_i32(m.w, "i32", -5, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_f32(m.w, "f32", 0.1f, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_bool(m.w, "yes", true, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_array(m.w, "scores", HONE_GGUF_F32, scores, 2, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_array(m.w, "types", HONE_GGUF_I32, types, 2, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_array(m.w, "flags", HONE_GGUF_BOOL, flags, 3, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_array(m.w, "shorts", HONE_GGUF_U16, shorts, 2, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_array(m.w, "wide", HONE_GGUF_U64, wide, 2, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_array(m.w, "none", HONE_GGUF_STRING, NULL, 0, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_tensor(m.w, "b", HONE_DTYPE_Q6_K, 3, (uint64_t[]){ 2, 3, 256 }, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_tensor(m.w, "a", HONE_DTYPE_F32, 1, (uint64_t[]){ 5 }, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_layout(m.w, offsets, &total, &head, &m.err), HONE_OK);
    if (hone_gguf_parse(head, total, &m.arena, &g, &t, &n, &m.err) != HONE_OK) fail_msg("%s", m.err.cause);

    assert_int_equal(g.version, 3);
    assert_int_equal(g.alignment, 32);
    assert_int_equal(g.n_kv, 11);
    const hone_gguf_value *v = hone_gguf_find(&g, "s");
    assert_int_equal(v->as.s.len, 3);
    assert_memory_equal(v->as.s.ptr, "a\0b", 3);
    assert_true(hone_gguf_find(&g, "u64")->as.u == UINT64_MAX);
    assert_true(hone_gguf_find(&g, "i32")->as.i == -5);
    assert_true((float)hone_gguf_find(&g, "f32")->as.f == 0.1f);
    assert_true(hone_gguf_find(&g, "yes")->as.b);
    v = hone_gguf_find(&g, "scores");
    assert_int_equal(v->elem, HONE_GGUF_F32);
    assert_int_equal(v->n, 2);
    assert_memory_equal(v->as.array, scores, sizeof scores);
    assert_memory_equal(hone_gguf_find(&g, "types")->as.array, types, sizeof types);
    assert_memory_equal(hone_gguf_find(&g, "flags")->as.array, flags, sizeof flags);
    assert_memory_equal(hone_gguf_find(&g, "shorts")->as.array, shorts, sizeof shorts);
    assert_memory_equal(hone_gguf_find(&g, "wide")->as.array, wide, sizeof wide);
    assert_int_equal(hone_gguf_find(&g, "none")->n, 0);
    assert_null(hone_gguf_find(&g, "scor"));

    assert_int_equal(n, 2);
    assert_string_equal(t[0].name, "b");
    assert_int_equal(t[0].dtype, HONE_DTYPE_Q6_K);
    assert_int_equal(t[0].n_dims, 3);
    assert_int_equal(t[0].dims[0], 2); /* outermost first again */
    assert_int_equal(t[0].dims[2], 256);
    assert_int_equal(t[0].bytes, 2 * 3 * 210);
    assert_int_equal(t[0].offset, offsets[0]);
    assert_int_equal(t[1].offset, offsets[1]);
    made_close(&m);
}

static void a_second_put_replaces_the_first_in_place(void **state)
{
    made        m;
    uint64_t    total;
    hone_bytes  head;
    hone_gguf   g;
    hone_tensor *t;
    size_t      n;
    (void)state;
    made_open(&m);
    assert_int_equal(hone_gguf_put_u32(m.w, "a", 1, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_u32(m.w, "b", 2, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_put_str(m.w, "a", "three", &m.err), HONE_OK);
    assert_int_equal(hone_gguf_layout(m.w, NULL, &total, &head, &m.err), HONE_OK);
    assert_int_equal(hone_gguf_parse(head, total, &m.arena, &g, &t, &n, &m.err), HONE_OK);
    assert_int_equal(g.n_kv, 2);
    assert_int_equal(g.kv[0].value.type, HONE_GGUF_STRING);
    made_close(&m);
}

static void refused(hone_gguf_writer *w, const char *name, hone_dtype type, uint32_t n_dims, const uint64_t *dims, const char *cause)
{
    hone_err err = { 0 };
    assert_int_equal(hone_gguf_put_tensor(w, name, type, n_dims, dims, &err), HONE_EBUG);
    assert_string_equal(err.cause, cause);
}

static void what_gguf_cannot_hold_is_our_bug(void **state)
{
    made m;
    (void)state;
    made_open(&m);
    assert_int_equal(hone_gguf_put_tensor(m.w, "w", HONE_DTYPE_F32, 1, (uint64_t[]){ 1 }, &m.err), HONE_OK);
    refused(m.w, "w", HONE_DTYPE_F32, 1, (uint64_t[]){ 1 }, "tensor 'w' is declared twice");
    refused(m.w, "", HONE_DTYPE_F32, 1, (uint64_t[]){ 1 }, "tensor name '' has 0 bytes, GGUF holds 1..63");
    refused(m.w, "0123456789012345678901234567890123456789012345678901234567890123", HONE_DTYPE_F32, 1, (uint64_t[]){ 1 },
            "tensor name '0123456789012345678901234567890123456789012345678901234567890123' has 64 bytes, GGUF holds 1..63");
    refused(m.w, "x", HONE_DTYPE_C64, 1, (uint64_t[]){ 1 }, "tensor 'x' is c64, which GGUF does not have");
    refused(m.w, "x", HONE_DTYPE_Q4_K, 2, (uint64_t[]){ 4, 4095 }, "tensor 'x' has 4095 columns, q4_k needs a multiple of 256");
    refused(m.w, "x", HONE_DTYPE_F32, 5, (uint64_t[]){ 1, 1, 1, 1, 1 }, "tensor 'x' has 5 dimensions, GGUF holds 1..4");
    refused(m.w, "x", HONE_DTYPE_F32, 2, (uint64_t[]){ 4294967296u, 4294967296u }, "tensor 'x' has more than 2^64 elements");
    refused(m.w, "x", HONE_DTYPE_F32, 1, (uint64_t[]){ UINT64_MAX / 2 }, "tensor 'x' has more than 2^64 bytes");
    made_close(&m);
}

static void many_tensors_keep_their_order_and_stay_unique(void **state)
{
    made       m;
    uint64_t   total;
    hone_bytes head;
    (void)state;
    made_open(&m);
    for (int i = 0; i < 1000; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "blk.%d.w", i);
        assert_int_equal(hone_gguf_put_tensor(m.w, name, HONE_DTYPE_F32, 1, (uint64_t[]){ 1 }, &m.err), HONE_OK);
    }
    for (int i = 0; i < 1000; i += 37) {
        char name[32];
        (void)snprintf(name, sizeof name, "blk.%d.w", i);
        assert_int_equal(hone_gguf_put_tensor(m.w, name, HONE_DTYPE_F32, 1, (uint64_t[]){ 1 }, &m.err), HONE_EBUG);
    }
    uint64_t *offsets = malloc(1000 * sizeof *offsets);
    assert_non_null(offsets);
    assert_int_equal(hone_gguf_layout(m.w, offsets, &total, &head, &m.err), HONE_OK);
    for (size_t i = 0; i < 1000; i++) assert_true(offsets[i] == head.len + 32 * i);
    assert_true(total == head.len + 32000);
    free(offsets);
    made_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_file_is_exactly_these_bytes),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(a_second_put_replaces_the_first_in_place),
        cmocka_unit_test(what_gguf_cannot_hold_is_our_bug),
        cmocka_unit_test(many_tensors_keep_their_order_and_stay_unique),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
