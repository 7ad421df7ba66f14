/* Our writer and reader against ggml's own: what one writes the other must read, byte for byte. */
#include "formats/gguf.h"
#include "formats/scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <cmocka.h>
#include <ggml.h>
#include <gguf.h>

static void block_sizes_are_ggmls(void **state)
{
    (void)state;
    unsigned seen = 0;
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        const hone_dtype_info *info = hone_dtype_get((hone_dtype)t);
        if (info->gguf_id < 0) continue;
        enum ggml_type g = (enum ggml_type)info->gguf_id;
        assert_int_equal(strcasecmp(ggml_type_name(g), info->name), 0); /* "q4_K" there */
        assert_int_equal(ggml_blck_size(g), info->block_elems);
        assert_int_equal(ggml_type_size(g), info->block_bytes);
        seen++;
    }
    for (int g = 0; g < GGML_TYPE_COUNT; g++) { /* and none is missing; Q8_1 and Q8_K live in memory only */
        hone_dtype t;
        if (ggml_blck_size((enum ggml_type)g) == 0 || g == GGML_TYPE_Q8_1 || g == GGML_TYPE_Q8_K) continue;
        if (!hone_dtype_from_gguf((uint32_t)g, &t)) fail_msg("ggml type %d (%s) is missing", g, ggml_type_name((enum ggml_type)g));
        seen--;
    }
    assert_int_equal(seen, 0);
}

static uint8_t pattern(size_t tensor, size_t i) { return (uint8_t)(tensor * 31 + i * 7); }

static void ggml_reads_what_we_write(void **state)
{
    const scratch    *s = *state;
    char              path[256];
    hone_arena        a = { 0 };
    hone_err          err = { 0 };
    hone_gguf_writer *w;
    uint64_t          offsets[HONE_DTYPE_COUNT], total;
    hone_bytes        head;
    hone_dtype        types[HONE_DTYPE_COUNT];
    size_t            n = 0;
    const float       floats[] = { 1.5f, -0.1f };
    const uint8_t     flags[] = { 1, 0 };
    hone_gguf_str     strings[] = { { "a", 1 }, { NULL, 0 }, { "b\0c", 3 } };
    assert_int_equal(hone_gguf_writer_new(&a, &w, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_str(w, "general.architecture", "llama", &err), HONE_OK);
    assert_int_equal(hone_gguf_put_u32(w, "u32", 77, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_u64(w, "u64", 1ull << 40, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_i32(w, "i32", -7, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_f32(w, "f32", 0.1f, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_bool(w, "bool", true, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_array(w, "floats", HONE_GGUF_F32, floats, 2, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_array(w, "flags", HONE_GGUF_BOOL, flags, 2, &err), HONE_OK);
    assert_int_equal(hone_gguf_put_array(w, "strings", HONE_GGUF_STRING, strings, 3, &err), HONE_OK);
    for (int t = 0; t < HONE_DTYPE_COUNT; t++) {
        if (hone_dtype_get((hone_dtype)t)->gguf_id < 0) continue;
        char name[32];
        (void)snprintf(name, sizeof name, "blk.%zu.w", n);
        assert_int_equal(hone_gguf_put_tensor(w, name, (hone_dtype)t, 3, (uint64_t[]){ 2, 3, 256 }, &err), HONE_OK);
        types[n++] = (hone_dtype)t;
    }
    assert_int_equal(hone_gguf_layout(w, offsets, &total, &head, &err), HONE_OK);
    uint8_t *file = calloc(1, (size_t)total);
    assert_non_null(file);
    memcpy(file, head.ptr, head.len);
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes = 0;
        assert_true(hone_dtype_bytes(types[i], 2 * 3 * 256, &bytes));
        for (size_t k = 0; k < bytes; k++) file[offsets[i] + k] = pattern(i, k);
    }
    scratch_put(s, "m.gguf", file, (size_t)total);

    struct ggml_context *data = NULL;
    struct gguf_context *g = gguf_init_from_file(scratch_path(s, "m.gguf", path), (struct gguf_init_params){ .no_alloc = false, .ctx = &data });
    assert_non_null(g);
    assert_int_equal(gguf_get_version(g), 3);
    assert_int_equal(gguf_get_n_kv(g), 9);
    assert_int_equal(gguf_get_data_offset(g), head.len);
    assert_string_equal(gguf_get_val_str(g, gguf_find_key(g, "general.architecture")), "llama");
    assert_int_equal(gguf_get_val_u32(g, gguf_find_key(g, "u32")), 77);
    assert_true(gguf_get_val_u64(g, gguf_find_key(g, "u64")) == 1ull << 40);
    assert_int_equal(gguf_get_val_i32(g, gguf_find_key(g, "i32")), -7);
    assert_true(gguf_get_val_f32(g, gguf_find_key(g, "f32")) == 0.1f);
    assert_true(gguf_get_val_bool(g, gguf_find_key(g, "bool")));
    assert_memory_equal(gguf_get_arr_data(g, gguf_find_key(g, "floats")), floats, sizeof floats);
    assert_memory_equal(gguf_get_arr_data(g, gguf_find_key(g, "flags")), flags, sizeof flags);
    assert_int_equal(gguf_get_arr_n(g, gguf_find_key(g, "strings")), 3);
    assert_string_equal(gguf_get_arr_str(g, gguf_find_key(g, "strings"), 0), "a");
    assert_int_equal(gguf_get_n_tensors(g), n);
    for (size_t i = 0; i < n; i++) {
        const struct ggml_tensor *t = ggml_get_tensor(data, gguf_get_tensor_name(g, (int64_t)i));
        assert_non_null(t);
        assert_int_equal(t->type, hone_dtype_get(types[i])->gguf_id);
        assert_int_equal(t->ne[0], 256); /* fastest first */
        assert_int_equal(t->ne[1], 3);
        assert_int_equal(t->ne[2], 2);
        assert_int_equal(gguf_get_data_offset(g) + gguf_get_tensor_offset(g, (int64_t)i), offsets[i]);
        assert_memory_equal(t->data, file + offsets[i], ggml_nbytes(t));
    }
    gguf_free(g);
    ggml_free(data);
    free(file);
    hone_arena_release(&a);
}

static void we_read_what_ggml_writes(void **state)
{
    const scratch       *s = *state;
    char                 path[256];
    struct ggml_context *data = ggml_init((struct ggml_init_params){ .mem_size = 1 << 20 });
    struct gguf_context *g = gguf_init_empty();
    assert_true(data && g);
    gguf_set_val_str(g, "general.architecture", "llama");
    gguf_set_val_u8(g, "u8", 200);
    gguf_set_val_i8(g, "i8", -100);
    gguf_set_val_u16(g, "u16", 60000);
    gguf_set_val_i16(g, "i16", -30000);
    gguf_set_val_i64(g, "i64", -(1ll << 40));
    gguf_set_val_f64(g, "f64", 0.1);
    gguf_set_arr_str(g, "strings", (const char *[]){ "one", "", "two" }, 3);
    gguf_set_arr_data(g, "shorts", GGUF_TYPE_INT16, (int16_t[]){ -1, 2 }, 2);
    struct ggml_tensor *q = ggml_new_tensor_2d(data, GGML_TYPE_Q4_0, 64, 3), *f = ggml_new_tensor_1d(data, GGML_TYPE_F32, 5);
    ggml_set_name(q, "q");
    ggml_set_name(f, "f");
    for (size_t i = 0; i < ggml_nbytes(q); i++) ((uint8_t *)q->data)[i] = pattern(0, i);
    for (size_t i = 0; i < ggml_nbytes(f); i++) ((uint8_t *)f->data)[i] = pattern(1, i);
    gguf_add_tensor(g, q);
    gguf_add_tensor(g, f);
    assert_true(gguf_write_to_file(g, scratch_path(s, "m.gguf", path), false));

    hone_arena a = { 0 };
    hone_err   err = { 0 };
    hone_gguf  mine;
    if (hone_gguf_open(path, &a, &mine, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(mine.n_kv, 9);
    assert_true(hone_gguf_find(&mine, "u8")->as.u == 200);
    assert_true(hone_gguf_find(&mine, "i8")->as.i == -100);
    assert_true(hone_gguf_find(&mine, "u16")->as.u == 60000);
    assert_true(hone_gguf_find(&mine, "i16")->as.i == -30000);
    assert_true(hone_gguf_find(&mine, "i64")->as.i == -(1ll << 40));
    assert_true(hone_gguf_find(&mine, "f64")->as.f == 0.1);
    const hone_gguf_str *strings = hone_gguf_find(&mine, "strings")->as.array;
    assert_int_equal(strings[1].len, 0);
    assert_memory_equal(strings[2].ptr, "two", 3);
    const hone_tensor *t = hone_source_find(mine.source, "q");
    assert_non_null(t);
    assert_int_equal(t->dtype, HONE_DTYPE_Q4_0);
    assert_int_equal(t->dims[0], 3);
    assert_int_equal(t->dims[1], 64);
    uint8_t buf[256];
    assert_int_equal(t->bytes, ggml_nbytes(q));
    assert_int_equal(mine.source->read(mine.source, t, 0, buf, (size_t)t->bytes, &err), HONE_OK);
    assert_memory_equal(buf, q->data, t->bytes);
    t = hone_source_find(mine.source, "f");
    assert_int_equal(mine.source->read(mine.source, t, 4, buf, 16, &err), HONE_OK);
    assert_memory_equal(buf, (uint8_t *)f->data + 4, 16);
    mine.source->close(mine.source);
    hone_arena_release(&a);
    gguf_free(g);
    ggml_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_sizes_are_ggmls),
        cmocka_unit_test_setup_teardown(ggml_reads_what_we_write, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(we_read_what_ggml_writes, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
