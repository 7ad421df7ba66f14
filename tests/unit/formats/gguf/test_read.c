#include "formats/gguf.h"
#include "formats/gguf/read.h"
#include "formats/scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void begin(blob *b, uint64_t tensors, uint64_t keys)
{
    blob_bytes(b, "GGUF", 4);
    blob_u32(b, 3);
    blob_u64(b, tensors);
    blob_u64(b, keys);
}

static void key_u32(blob *b, const char *key, uint32_t v)
{
    blob_str(b, key);
    blob_u32(b, 4);
    blob_u32(b, v);
}

static void tensor(blob *b, const char *name, uint64_t elems, uint32_t type, uint64_t offset)
{
    blob_str(b, name);
    blob_u32(b, 1);
    blob_u64(b, elems);
    blob_u32(b, type);
    blob_u64(b, offset);
}

static void refused_as(hone_code want, blob *b, const char *cause)
{
    /* A copy of exactly this size: the sanitizer sees the first byte read past the end. */
    uint8_t     *exact = malloc(b->len ? b->len : 1);
    hone_arena   a = { 0 };
    hone_err     err = { 0 };
    hone_gguf    g = { .version = 77 };
    hone_tensor *t = NULL;
    size_t       n = 99;
    assert_non_null(exact);
    if (b->len) memcpy(exact, b->ptr, b->len);
    hone_code code = hone_gguf_parse((hone_bytes){ exact, b->len }, b->len, &a, &g, &t, &n, &err);
    assert_string_equal(err.cause, cause);
    assert_int_equal(code, want);
    assert_int_equal(g.version, 77); /* out is untouched on failure */
    assert_int_equal(n, 99);
    assert_null(t);
    hone_arena_release(&a);
    free(exact);
    free(b->ptr);
    *b = (blob){ 0 };
}

static void refused(blob *b, const char *cause) { refused_as(HONE_EINPUT, b, cause); }

static void other_files_and_other_versions_are_told_apart(void **state)
{
    blob b = { 0 };
    (void)state;
    blob_bytes(&b, "PK\3\4etc.", 8);
    refused(&b, "file begins with 'PK\\x03\\x04', not with 'GGUF'");
    blob_bytes(&b, "GG", 2);
    refused(&b, "the magic at byte 0 needs 4 bytes, the file ends after 2");
    begin(&b, 0, 0);
    hone_put_le32(b.ptr + 4, 1);
    refused_as(HONE_EUNSUPPORTED, &b, "the file is GGUF version 1, hone reads 2 and 3");
    begin(&b, 0, 0);
    hone_put_le32(b.ptr + 4, 4);
    refused_as(HONE_EUNSUPPORTED, &b, "the file is GGUF version 4, hone reads 2 and 3");
    begin(&b, 0, 0);
    hone_put_le32(b.ptr + 4, 0x03000000);
    refused_as(HONE_EUNSUPPORTED, &b, "the file is big-endian (version reads as 0x03000000)");
}

static void lying_counts_and_lengths_are_refused(void **state)
{
    blob b = { 0 };
    (void)state;
    begin(&b, UINT64_MAX, 0);
    refused(&b, "the header announces 0 keys and 18446744073709551615 tensors, the file has 24 bytes");
    begin(&b, 0, 2);
    blob_zeros(&b, 20);
    refused(&b, "the header announces 2 keys and 0 tensors, the file has 44 bytes");
    begin(&b, 0, 1);
    blob_u64(&b, UINT64_MAX);
    blob_zeros(&b, 16);
    refused(&b, "key 0 at byte 32 needs 18446744073709551615 bytes, the file ends after 16");
    begin(&b, 0, 1);
    blob_str(&b, "k");
    blob_u32(&b, 9);
    blob_u32(&b, 4);
    blob_u64(&b, (uint64_t)1 << 62);
    refused(&b, "key 'k' is an array of 4611686018427387904 elements, more than 2^64 bytes");
    begin(&b, 0, 1);
    blob_str(&b, "k");
    blob_u32(&b, 9);
    blob_u32(&b, 0);
    blob_u64(&b, 5);
    blob_zeros(&b, 4);
    refused(&b, "key 'k' at byte 49 needs 5 bytes, the file ends after 4");
    begin(&b, 0, 1);
    blob_str(&b, "k");
    blob_u32(&b, 9);
    blob_u32(&b, 8);
    blob_u64(&b, 3);
    blob_zeros(&b, 16);
    refused(&b, "key 'k' is an array of 3 strings, the file ends after 16 bytes");
}

static void keys_are_unique_text_of_a_known_type(void **state)
{
    blob b = { 0 };
    (void)state;
    begin(&b, 0, 3);
    key_u32(&b, "a", 1);
    key_u32(&b, "b", 1);
    key_u32(&b, "a", 1);
    refused(&b, "key 'a' stands twice");
    begin(&b, 0, 1);
    key_u32(&b, "", 1);
    refused(&b, "key 0 has 0 bytes, GGUF holds 1..65535");
    begin(&b, 0, 1);
    key_u32(&b, "\xff\x1b", 1);
    refused(&b, "key 0 '\\xff\\x1b' is not text");
    begin(&b, 0, 1);
    blob_str(&b, "k");
    blob_u32(&b, 13);
    blob_zeros(&b, 8);
    refused(&b, "key 'k' has the unknown type 13");
    begin(&b, 0, 1);
    blob_str(&b, "k");
    blob_u32(&b, 9);
    blob_u32(&b, 99);
    blob_u64(&b, 0);
    refused(&b, "key 'k' is an array of the unknown type 99");
    begin(&b, 0, 1);
    blob_str(&b, "k");
    blob_u32(&b, 9);
    blob_u32(&b, 9);
    blob_u64(&b, 0);
    refused_as(HONE_EUNSUPPORTED, &b, "key 'k' is an array of arrays");
    begin(&b, 0, 1);
    blob_str(&b, "k");
    blob_u32(&b, 7);
    blob_u8(&b, 2);
    refused(&b, "key 'k' holds the truth value 2");
}

static void alignment_is_a_power_of_two(void **state)
{
    blob b = { 0 };
    (void)state;
    begin(&b, 0, 1);
    key_u32(&b, "general.alignment", 24);
    refused(&b, "alignment 24 is not a power of two from 8");
    begin(&b, 0, 1);
    key_u32(&b, "general.alignment", 0);
    refused(&b, "alignment 0 is not a power of two from 8");
    begin(&b, 0, 1);
    blob_str(&b, "general.alignment");
    blob_u32(&b, 10);
    blob_u64(&b, 32);
    refused(&b, "key 'general.alignment' is of type 10, needs u32 (4)");
}

static void another_alignment_moves_the_data(void **state)
{
    blob         b = { 0 };
    hone_arena   a = { 0 };
    hone_err     err = { 0 };
    hone_gguf    g;
    hone_tensor *t;
    size_t       n;
    (void)state;
    begin(&b, 2, 1);
    key_u32(&b, "general.alignment", 256);
    tensor(&b, "x", 1, 0, 256);
    tensor(&b, "y", 2, 0, 0);
    blob_align(&b, 256);
    blob_zeros(&b, 260);
    if (hone_gguf_parse((hone_bytes){ b.ptr, b.len }, b.len, &a, &g, &t, &n, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(g.alignment, 256);
    assert_int_equal(t[0].offset, 512);
    assert_int_equal(t[1].offset, 256);
    hone_arena_release(&a);
    free(b.ptr);
}

static void tensors_must_be_named_shaped_and_placed_well(void **state)
{
    blob b = { 0 };
    (void)state;
    begin(&b, 1, 0);
    tensor(&b, "0123456789012345678901234567890123456789012345678901234567890123x", 1, 0, 0);
    blob_zeros(&b, 64);
    refused(&b, "the name of tensor 0 has 65 bytes, GGUF holds 1..64");
    begin(&b, 2, 0);
    tensor(&b, "w", 1, 0, 0);
    tensor(&b, "w", 1, 0, 32);
    blob_align(&b, 32);
    blob_zeros(&b, 64);
    refused(&b, "tensor 'w' stands twice");
    begin(&b, 1, 0);
    blob_str(&b, "w");
    blob_u32(&b, 5);
    blob_zeros(&b, 64);
    refused(&b, "tensor 'w' has 5 dimensions, GGUF holds up to 4");
    begin(&b, 1, 0);
    tensor(&b, "w", 1, 31, 0);
    blob_zeros(&b, 64);
    refused_as(HONE_EUNSUPPORTED, &b, "tensor 'w' has the unknown type 31");
    begin(&b, 1, 0);
    tensor(&b, "w", 100, 12, 0);
    blob_zeros(&b, 64);
    refused(&b, "tensor 'w' has 100 columns, q4_k needs a multiple of 256");
    begin(&b, 1, 0);
    blob_str(&b, "w");
    blob_u32(&b, 2);
    blob_u64(&b, (uint64_t)1 << 32);
    blob_u64(&b, (uint64_t)1 << 32);
    blob_u32(&b, 0);
    blob_u64(&b, 0);
    refused(&b, "tensor 'w': its shape needs more than 2^64 bytes");
    begin(&b, 1, 0);
    tensor(&b, "w", 9, 0, 0);
    blob_align(&b, 32);
    blob_zeros(&b, 35);
    refused(&b, "tensor 'w' has 36 bytes at 0, the data has 35 bytes");
    begin(&b, 1, 0);
    tensor(&b, "w", 1, 0, UINT64_MAX - 31);
    blob_zeros(&b, 64);
    refused(&b, "tensor 'w' has 4 bytes at 18446744073709551584, the data has 57 bytes");
    begin(&b, 1, 0);
    tensor(&b, "w", 1, 0, 4);
    blob_zeros(&b, 64);
    refused(&b, "tensor 'w' lies at 4, not a multiple of the alignment 32");
    begin(&b, 2, 0);
    tensor(&b, "v", 16, 0, 32);
    tensor(&b, "w", 9, 0, 0);
    blob_align(&b, 32);
    blob_zeros(&b, 96);
    refused(&b, "tensors 'w' and 'v' overlap at byte 32 of the data");
    begin(&b, 1, 0);
    tensor(&b, "w", 0, 0, 0); /* no bytes, but where the data would begin there is no file any more */
    refused(&b, "the data begins at byte 64, the file has 57");
}

static blob small_file(void)
{
    blob b = { 0 };
    begin(&b, 2, 4);
    key_u32(&b, "one", 1);
    blob_str(&b, "text");
    blob_u32(&b, 8);
    blob_str(&b, "hello");
    blob_str(&b, "list");
    blob_u32(&b, 9);
    blob_u32(&b, 8);
    blob_u64(&b, 2);
    blob_str(&b, "x");
    blob_str(&b, "yz");
    blob_str(&b, "numbers");
    blob_u32(&b, 9);
    blob_u32(&b, 3);
    blob_u64(&b, 3);
    blob_zeros(&b, 6);
    tensor(&b, "v", 8, 0, 0);
    tensor(&b, "w", 5, 0, 32);
    blob_align(&b, 32);
    blob_zeros(&b, 32 + 20);
    return b;
}

static void truncation_at_every_length_is_refused(void **state)
{
    blob b = small_file();
    (void)state;
    for (size_t len = 0; len <= b.len; len++) {
        uint8_t     *cut = malloc(len ? len : 1);
        hone_arena   a = { 0 };
        hone_err     err = { 0 };
        hone_gguf    g;
        hone_tensor *t;
        size_t       n;
        assert_non_null(cut);
        memcpy(cut, b.ptr, len);
        hone_code code = hone_gguf_parse((hone_bytes){ cut, len }, len, &a, &g, &t, &n, &err);
        assert_int_equal(code, len < b.len ? HONE_EINPUT : HONE_OK);
        if (code != HONE_OK) assert_true(err.cause[0] != '\0' && err.remedy[0] != '\0');
        hone_arena_release(&a);
        free(cut);
    }
    free(b.ptr);
}

/* The opener reads more and more until the header is whole: whatever it has read so far, it must learn how to go on. */
static void the_length_of_the_header_is_found_from_any_prefix(void **state)
{
    blob     b = small_file();
    uint64_t whole = 0, need = 1;
    hone_err err = { 0 };
    (void)state;
    assert_int_equal(hone_gguf_head_len((hone_bytes){ b.ptr, b.len }, b.len, &whole, &need, &err), HONE_OK);
    assert_int_equal(need, 0);
    for (size_t len = 0; len < whole; len++) {
        uint64_t got = 4711;
        assert_int_equal(hone_gguf_head_len((hone_bytes){ b.ptr, len }, b.len, &got, &need, &err), HONE_OK);
        assert_true(need > len && need <= whole);
        assert_int_equal(got, 4711);
    }
    free(b.ptr);
}

static void version_2_is_read_like_version_3(void **state)
{
    blob         b = small_file();
    hone_arena   a = { 0 };
    hone_err     err = { 0 };
    hone_gguf    g;
    hone_tensor *t;
    size_t       n;
    (void)state;
    hone_put_le32(b.ptr + 4, 2);
    assert_int_equal(hone_gguf_parse((hone_bytes){ b.ptr, b.len }, b.len, &a, &g, &t, &n, &err), HONE_OK);
    assert_int_equal(g.version, 2);
    const hone_gguf_str *list = hone_gguf_find(&g, "list")->as.array;
    assert_int_equal(list[1].len, 2);
    assert_memory_equal(list[1].ptr, "yz", 2);
    hone_arena_release(&a);
    free(b.ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_files_and_other_versions_are_told_apart),
        cmocka_unit_test(lying_counts_and_lengths_are_refused),
        cmocka_unit_test(keys_are_unique_text_of_a_known_type),
        cmocka_unit_test(alignment_is_a_power_of_two),
        cmocka_unit_test(another_alignment_moves_the_data),
        cmocka_unit_test(tensors_must_be_named_shaped_and_placed_well),
        cmocka_unit_test(truncation_at_every_length_is_refused),
        cmocka_unit_test(the_length_of_the_header_is_found_from_any_prefix),
        cmocka_unit_test(version_2_is_read_like_version_3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
