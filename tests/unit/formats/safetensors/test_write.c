/* test_write.c - headers that our own reader, which shares no code with the writer, takes for what was meant. */
#include "formats/safetensors.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void wide_elements_come_first_and_everything_is_aligned(void **state)
{
    hone_arena    a = { 0 };
    hone_err      err = { 0 };
    hone_bytes    head;
    uint64_t      total = 0;
    hone_st_entry e[] = { { .name = "a.scales", .dtype = HONE_DTYPE_BF16, .n_dims = 2, .dims = { 3, 1 } },
                          { .name = "a.weight", .dtype = HONE_DTYPE_U32, .n_dims = 2, .dims = { 3, 8 } },
                          { .name = "norm", .dtype = HONE_DTYPE_F16, .n_dims = 1, .dims = { 5 } },
                          { .name = "b\xc3\xa9", .dtype = HONE_DTYPE_U8, .n_dims = 0 } };
    hone_tensor  *t;
    size_t        n;
    (void)state;
    assert_int_equal(hone_safetensors_layout(e, 4, "mlx", &a, &head, &total, &err), HONE_OK);
    assert_int_equal(head.len % 8, 0);
    assert_non_null(strstr((const char *)head.ptr + 8, "\"__metadata__\":{\"format\":\"mlx\"}"));
    assert_int_equal(total, head.len + 96 + 6 + 10 + 1);
    assert_int_equal(e[1].offset, head.len);
    assert_int_equal(e[0].offset, head.len + 96);
    assert_int_equal(e[2].offset, head.len + 96 + 6);
    assert_int_equal(e[3].offset, head.len + 96 + 6 + 10);
    assert_int_equal(hone_safetensors_parse(head, total, &a, &t, &n, &err), HONE_OK);
    assert_int_equal(n, 4);
    assert_string_equal(t[0].name, "a.weight");
    assert_int_equal(t[0].dtype, HONE_DTYPE_U32);
    assert_int_equal(t[0].dims[1], 8);
    assert_int_equal(t[0].offset, e[1].offset);
    assert_string_equal(t[3].name, "b\xc3\xa9");
    assert_int_equal(t[3].n_dims, 0);
    hone_arena_release(&a);
}

static void what_is_aligned_as_it_comes_stays_in_its_order(void **state)
{
    hone_arena    a = { 0 };
    hone_err      err = { 0 };
    hone_bytes    head;
    uint64_t      total = 0;
    hone_st_entry e[] = { { .name = "b.scales", .dtype = HONE_DTYPE_BF16, .n_dims = 2, .dims = { 4, 1 } },
                          { .name = "a.weight", .dtype = HONE_DTYPE_U32, .n_dims = 2, .dims = { 4, 8 } },
                          { .name = "norm", .dtype = HONE_DTYPE_F16, .n_dims = 1, .dims = { 5 } } };
    hone_tensor  *t;
    size_t        n;
    (void)state;
    assert_int_equal(hone_safetensors_layout(e, 3, "mlx", &a, &head, &total, &err), HONE_OK);
    assert_int_equal(e[0].offset, head.len);
    assert_int_equal(e[1].offset, head.len + 8);
    assert_int_equal(e[2].offset, head.len + 8 + 128);
    assert_int_equal(total, head.len + 8 + 128 + 10);
    assert_int_equal(hone_safetensors_parse(head, total, &a, &t, &n, &err), HONE_OK);
    assert_int_equal(n, 3);
    assert_string_equal(t[0].name, "b.scales");
    assert_int_equal(t[1].offset, e[1].offset);
    hone_arena_release(&a);
}

static void what_does_not_fit_is_our_bug_not_a_file(void **state)
{
    hone_arena    a = { 0 };
    hone_err      err = { 0 };
    hone_bytes    head;
    uint64_t      total = 77;
    hone_st_entry e = { .name = "huge", .dtype = HONE_DTYPE_F32, .n_dims = 2, .dims = { 1ull << 40, 1ull << 40 } };
    (void)state;
    assert_int_equal(hone_safetensors_layout(&e, 1, "mlx", &a, &head, &total, &err), HONE_EBUG);
    assert_string_equal(err.cause, "tensor 'huge' does not fit into a file");
    e = (hone_st_entry){ .name = "packed", .dtype = HONE_DTYPE_Q4_0, .n_dims = 1, .dims = { 32 } };
    assert_int_equal(hone_safetensors_layout(&e, 1, "mlx", &a, &head, &total, &err), HONE_EBUG);
    assert_string_equal(err.cause, "tensor 'packed' is q4_0, which has no elements of whole bytes");
    assert_int_equal(total, 77);
    hone_arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wide_elements_come_first_and_everything_is_aligned),
        cmocka_unit_test(what_is_aligned_as_it_comes_stays_in_its_order),
        cmocka_unit_test(what_does_not_fit_is_our_bug_not_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
