#include "base/text.h"
#include "formats/safetensors.h"
#include "formats/scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void refused_as(hone_code want, const char *json, size_t data_len, const char *cause)
{
    size_t       n, count = 99;
    uint8_t     *f = scratch_safetensors(json, data_len, &n);
    hone_arena   a = { 0 };
    hone_err     err = { 0 };
    hone_tensor *t = (hone_tensor *)&n;
    hone_code    code = hone_safetensors_parse((hone_bytes){ f, n }, n, &a, &t, &count, &err);
    if (code != want) fail_msg("%s: code %d, cause '%s'", json, code, err.cause);
    assert_string_equal(err.cause, cause);
    assert_ptr_equal(t, &n); /* out is untouched on failure */
    assert_int_equal(count, 99);
    hone_arena_release(&a);
    assert_int_equal(hone_safetensors_parse((hone_bytes){ f, n }, n, &a, &t, &count, NULL), want);
    hone_arena_release(&a);
    free(f);
}

static void refused(const char *json, size_t data_len, const char *cause) { refused_as(HONE_EINPUT, json, data_len, cause); }

typedef struct opened {
    uint8_t     *file;
    hone_arena   arena;
    hone_tensor *t;
    size_t       n;
    size_t       head; /* bytes before the data */
} opened;

static opened accepted(const char *json, size_t data_len)
{
    opened   o = { 0 };
    size_t   len;
    hone_err err = { 0 };
    o.file = scratch_safetensors(json, data_len, &len);
    o.head = len - data_len;
    if (hone_safetensors_parse((hone_bytes){ o.file, len }, len, &o.arena, &o.t, &o.n, &err) != HONE_OK) fail_msg("%s: %s", json, err.cause);
    return o;
}

static void opened_free(opened *o)
{
    free(o->file);
    hone_arena_release(&o->arena);
}

static void every_dtype_of_the_format_is_read_with_its_size(void **state)
{
    static const struct {
        const char *name;
        hone_dtype  dtype;
        unsigned    bytes; /* of 8 elements */
    } types[] = {
        { "BOOL", HONE_DTYPE_BOOL, 8 },       { "U8", HONE_DTYPE_U8, 8 },           { "I8", HONE_DTYPE_I8, 8 },
        { "F8_E5M2", HONE_DTYPE_F8_E5M2, 8 }, { "F8_E4M3", HONE_DTYPE_F8_E4M3, 8 }, { "I16", HONE_DTYPE_I16, 16 },
        { "U16", HONE_DTYPE_U16, 16 },        { "F16", HONE_DTYPE_F16, 16 },        { "BF16", HONE_DTYPE_BF16, 16 },
        { "I32", HONE_DTYPE_I32, 32 },        { "U32", HONE_DTYPE_U32, 32 },        { "F32", HONE_DTYPE_F32, 32 },
        { "C64", HONE_DTYPE_C64, 64 },        { "F64", HONE_DTYPE_F64, 64 },        { "I64", HONE_DTYPE_I64, 64 },
        { "U64", HONE_DTYPE_U64, 64 },        { "F8_E8M0", HONE_DTYPE_F8_E8M0, 8 }, { "F8_E4M3FNUZ", HONE_DTYPE_F8_E4M3FNUZ, 8 },
        { "F8_E5M2FNUZ", HONE_DTYPE_F8_E5M2FNUZ, 8 }, { "F4", HONE_DTYPE_F4, 4 },   { "F6_E2M3", HONE_DTYPE_F6_E2M3, 6 },
        { "F6_E3M2", HONE_DTYPE_F6_E3M2, 6 },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(types); i++) {
        char json[160];
        (void)snprintf(json, sizeof json, "{\"w\":{\"dtype\":\"%s\",\"shape\":[2,4],\"data_offsets\":[0,%u]}}", types[i].name, types[i].bytes);
        opened o = accepted(json, types[i].bytes);
        assert_int_equal(o.n, 1);
        assert_int_equal(o.t[0].dtype, types[i].dtype);
        assert_int_equal(o.t[0].bytes, types[i].bytes);
        assert_int_equal(o.t[0].offset, o.head);
        assert_int_equal(o.t[0].n_dims, 2);
        assert_int_equal(o.t[0].dims[0], 2);
        assert_int_equal(o.t[0].dims[1], 4);
        opened_free(&o);
    }
}

static void tensors_come_in_file_order_whatever_the_json_order(void **state)
{
    (void)state;
    opened o = accepted("{\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[4,7]},\"__metadata__\":{\"format\":\"pt\"},"
                        "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                        "\"none\":{\"dtype\":\"F32\",\"shape\":[0,9],\"data_offsets\":[7,7]}}   ",
                        7);
    assert_int_equal(o.n, 3);
    assert_string_equal(o.t[0].name, "a");
    assert_int_equal(o.t[0].n_dims, 0); /* a scalar has one element */
    assert_int_equal(o.t[0].bytes, 4);
    assert_string_equal(o.t[1].name, "b");
    assert_int_equal(o.t[1].offset, o.head + 4);
    assert_string_equal(o.t[2].name, "none");
    assert_int_equal(o.t[2].bytes, 0);
    opened_free(&o);
}

static void a_file_without_tensors_is_fine(void **state)
{
    (void)state;
    opened o = accepted("{}", 0);
    assert_int_equal(o.n, 0);
    opened_free(&o);
}

static void shape_and_dtype_must_make_the_bytes(void **state)
{
    (void)state;
    refused("{\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,20]}}", 20,
            "tensor 'w' has 20 bytes of data, its shape and dtype need 24");
    refused("{\"w\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2, "tensor 'w' has 3 elements, f4 needs a multiple of 2");
}

static void overflowing_shapes_are_refused(void **state)
{
    (void)state;
    refused("{\"w\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
            "tensor 'w': its shape needs more than 2^64 bytes");
    refused("{\"w\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0,
            "tensor 'w': its shape needs more than 2^64 bytes");
    /* No elements, whatever the other dimensions say. */
    opened o = accepted("{\"w\":{\"dtype\":\"F64\",\"shape\":[4294967296,4294967296,0],\"data_offsets\":[0,0]}}", 0);
    assert_int_equal(o.t[0].bytes, 0);
    opened_free(&o);
}

static void numbers_that_are_no_sizes_are_refused(void **state)
{
    (void)state;
    refused("{\"w\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,0]}}", 0, "tensor 'w': \"shape\"[0] is not a whole number below 2^63");
    refused("{\"w\":{\"dtype\":\"U8\",\"shape\":[1,1.5],\"data_offsets\":[0,1]}}", 1, "tensor 'w': \"shape\"[1] is not a whole number below 2^63");
    refused("{\"w\":{\"dtype\":\"U8\",\"shape\":[\"1\"],\"data_offsets\":[0,1]}}", 1, "tensor 'w': \"shape\"[0] is not a whole number below 2^63");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
            "\"w\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[1,1]}}",
            1, "tensor 'w': \"shape\"[0] is not a whole number below 2^63"); /* 'a' is read as reals then, and is still fine */
    refused("{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1,
            "tensor 'w': \"data_offsets\" is not a pair of whole numbers below 2^63");
    refused("{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[-1,1]}}", 1,
            "tensor 'w': \"data_offsets\" is not a pair of whole numbers below 2^63");
}

static void data_must_lie_in_the_file(void **state)
{
    (void)state;
    refused("{\"w\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[0,5]}}", 4, "tensor 'w' lies at 0..5, the data has 4 bytes");
    refused("{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,1]}}", 4, "tensor 'w' lies at 2..1, the data has 4 bytes");
    refused("{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[9223372036854775806,9223372036854775807]}}", 4,
            "tensor 'w' lies at 9223372036854775806..9223372036854775807, the data has 4 bytes");
}

static void holes_overlaps_and_leftovers_are_refused(void **state)
{
    (void)state;
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]}}", 5,
            "no tensor covers bytes 2..3 of the data, before 'b'");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[2,5]}}", 5,
            "tensors 'a' and 'b' overlap at byte 2 of the data");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 5, "tensors end at byte 2 of the data, it has 5");
    refused("{}", 1, "tensors end at byte 0 of the data, it has 1");
}

static void entries_of_the_wrong_kind_are_refused(void **state)
{
    (void)state;
    refused("{\"w\":[]}", 0, "entry of tensor 'w' is not an object");
    refused("{\"w\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor 'w' has no string \"dtype\"");
    refused("{\"w\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "tensor 'w' has no array \"shape\"");
    refused("{\"w\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "tensor 'w': \"data_offsets\" is not a pair of whole numbers below 2^63");
    refused("{\"__metadata__\":7}", 0, "\"__metadata__\" is not an object");
    refused("{\"__metadata__\":{\"format\":1}}", 0, "\"__metadata__\" holds a value that is not a string under 'format'");
}

static void an_unknown_dtype_is_unsupported_and_named_safely(void **state)
{
    (void)state;
    refused_as(HONE_EUNSUPPORTED, "{\"w\\u001b[31m\":{\"dtype\":\"Q9\\u0007\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
               "tensor 'w\\x1b[31m' has unknown dtype 'Q9\\x07'");
    refused_as(HONE_EUNSUPPORTED, "{\"w\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1,
               "tensor 'w' has 9 dimensions, hone reads up to 8");
}

static void duplicate_names_are_refused(void **state)
{
    (void)state;
    refused("{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
            "header: line 1, column 56: duplicate object key near '\"w\"'");
}

static void bad_json_is_refused(void **state)
{
    hone_text deep = { 0 };
    (void)state;
    refused("{\"w\":", 0, "header: line 1, column 5: unexpected token near end of file");
    refused("{} x", 0, "header: line 1, column 4: end of file expected near 'x'");
    refused("{\"a\\u0000b\":1}", 0, "header: line 1, column 11: NUL byte in object key not supported near '\"a\\u0000b\"'");
    refused("{\"\xff\":1}", 0, "header: line 1, column 2: unable to decode byte 0xff near '\"'");
    for (int i = 0; i < 513; i++) hone_text_add(&deep, "{\"a\":");
    refused(deep.ptr, 0, "header: JSON is nested more than 512 levels deep");
    hone_text_release(&deep);
}

/* A download that broke off: whatever the length, one clear error and nothing read past the end. */
static void truncation_at_every_length_is_refused(void **state)
{
    size_t   n;
    uint8_t *f = scratch_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":[8,11]}}",
                                     11, &n);
    (void)state;
    for (size_t len = 0; len < n; len++) {
        uint8_t     *cut = malloc(len ? len : 1); /* of exactly this size, for the sanitizer */
        hone_arena   a = { 0 };
        hone_err     err = { 0 };
        hone_tensor *t;
        size_t       count;
        assert_non_null(cut);
        memcpy(cut, f, len);
        assert_int_equal(hone_safetensors_parse((hone_bytes){ cut, len }, len, &a, &t, &count, &err), HONE_EINPUT);
        assert_true(err.cause[0] != '\0' && err.remedy[0] != '\0');
        hone_arena_release(&a);
        free(cut);
    }
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype_of_the_format_is_read_with_its_size),
        cmocka_unit_test(tensors_come_in_file_order_whatever_the_json_order),
        cmocka_unit_test(a_file_without_tensors_is_fine),
        cmocka_unit_test(shape_and_dtype_must_make_the_bytes),
        cmocka_unit_test(overflowing_shapes_are_refused),
        cmocka_unit_test(numbers_that_are_no_sizes_are_refused),
        cmocka_unit_test(data_must_lie_in_the_file),
        cmocka_unit_test(holes_overlaps_and_leftovers_are_refused),
        cmocka_unit_test(entries_of_the_wrong_kind_are_refused),
        cmocka_unit_test(an_unknown_dtype_is_unsupported_and_named_safely),
        cmocka_unit_test(duplicate_names_are_refused),
        cmocka_unit_test(bad_json_is_refused),
        cmocka_unit_test(truncation_at_every_length_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
