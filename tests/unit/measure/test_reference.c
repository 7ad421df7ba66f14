/* test_reference.c - reference.safetensors: bad ones by exact cause, cut at every length; numbers that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/scratch.h"
#include "measure/check/parts.h"
#include "measure/check/reference.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define T(name, dtype, shape, from, to) "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #from "," #to "]}"
#define IDS    T("input_ids", "I32", "2,2", 0, 16)
#define LOGITS T("logits", "F32", "2,2,3", 16, 64)

typedef struct opened { hone_code code; hone_err err; hone_arena a; hone_reference r; char path[256]; } opened;

/* data: the bytes behind the header; the numbers 0, 0, ... where NULL. */
static opened open_with(const scratch *s, const char *json, size_t n_data, const void *data)
{
    opened   o = { .r = { .rows = 77 } };
    size_t   n;
    uint8_t *bytes = scratch_safetensors(json, n_data, &n);
    if (data) memcpy(bytes + n - n_data, data, n_data);
    else memset(bytes + n - n_data, 0, n_data);
    scratch_put(s, "f.safetensors", bytes, n);
    free(bytes);
    o.code = hone_reference_open(scratch_path(s, "f.safetensors", o.path), &o.a, &o.r, &o.err);
    return o;
}

static void refused(const char *json, size_t n_data, const void *data, const char *cause)
{
    scratch s;
    scratch_open(&s);
    opened o = open_with(&s, json, n_data, data);
    size_t skip = strncmp(o.err.cause, o.path, strlen(o.path)) == 0 ? strlen(o.path) : 0;
    assert_string_equal(o.err.cause + skip, cause);
    assert_int_equal(o.code, HONE_EINPUT);
    assert_int_equal(o.r.rows, 77);
    hone_arena_release(&o.a);
    scratch_close(&s);
}

static void a_reference_without_what_it_needs_is_refused(void **state)
{
    static const int32_t negative[16] = { 1, 2, 3, -4 };
    (void)state;
    refused("{" LOGITS "," T("x", "U8", "16", 0, 16) "}", 64, NULL, ": tensor \"input_ids\" is missing");
    refused("{" IDS "}", 16, NULL, ": neither \"logits\" nor \"embeddings\" is there");
    refused("{" T("input_ids", "F32", "2,2", 0, 16) "," LOGITS "}", 64, NULL, ": \"input_ids\" is f32, needs i64 or i32");
    refused("{" T("input_ids", "I32", "4", 0, 16) "," LOGITS "}", 64, NULL, ": \"input_ids\" has 1 dimensions, needs 2");
    refused("{" T("input_ids", "I32", "0,2", 0, 0) "," T("logits", "F32", "2,2,3", 0, 48) "}", 48, NULL, ": \"input_ids\" is 0 x 2, each must be 1..4096");
    refused("{" T("input_ids", "I32", "1,5000", 0, 20000) "," T("logits", "F32", "1,1,1", 20000, 20004) "}", 20004, NULL,
            ": \"input_ids\" is 1 x 5000, each must be 1..4096");
    refused("{" IDS "," LOGITS "}", 64, negative, ": input_ids[1, 1] is -4");
    refused("{" T("input_ids", "I64", "2,2", 0, 32) "," T("embeddings", "F32", "2,1", 32, 40) "}", 40,
            (const uint8_t[40]){ [0] = 1, [27] = 0x80 }, ": input_ids[1, 1] is 2147483648");
    refused("{" IDS "," T("logits", "F32", "2,2", 16, 32) "}", 32, NULL, ": \"logits\" has 2 dimensions, needs 3");
    refused("{" IDS "," T("logits", "BF16", "2,2,3", 16, 40) "}", 40, NULL, ": \"logits\" is bf16, needs f32");
    refused("{" IDS "," T("logits", "F32", "2,3,2", 16, 64) "}", 64, NULL, ": \"logits\" is for 2 x 3 ids, input_ids has 2 x 2");
    refused("{" IDS "," T("logits", "F32", "2,2,0", 16, 16) "}", 16, NULL, ": its vectors are empty");
    refused("{" IDS "," T("embeddings", "F32", "3,1", 16, 28) "}", 28, NULL, ": \"embeddings\" has 3 rows, input_ids has 2");
    refused("{" IDS "," T("embeddings", "F32", "2,1", 16, 24) "," T("last_hidden_state", "F32", "2,2,2", 24, 56) "}", 56, NULL,
            ": last_hidden_state is 2 wide, embeddings 1");
    refused("{" IDS "," T("attention_mask", "I32", "1,4", 16, 32) "," T("logits", "F32", "2,2,1", 32, 48) "}", 48, NULL,
            ": \"attention_mask\" has another shape than \"input_ids\"");
    refused("{" IDS "," T("attention_mask", "I32", "2,2", 16, 32) "," T("logits", "F32", "2,2,1", 32, 48) "}", 48,
            (const int32_t[12]){ [4] = 1, [5] = 1, [6] = 0, [7] = 1 }, ": attention_mask row 1 does not pad at its end only");
}

static void a_reference_cut_at_every_length_is_refused(void **state)
{
    scratch s;
    (void)state;
    scratch_open(&s);
    opened whole = open_with(&s, "{" IDS "," LOGITS "}", 64, NULL);
    assert_int_equal(whole.code, HONE_OK);
    assert_int_equal(whole.r.width, 3);
    hone_reference_close(&whole.r);
    hone_arena_release(&whole.a);
    size_t   n;
    uint8_t *bytes = scratch_safetensors("{" IDS "," LOGITS "}", 64, &n);
    for (size_t cut = 0; cut < n; cut++) {
        hone_arena     a = { 0 };
        hone_err       err = { 0 };
        hone_reference r = { .rows = 77 };
        scratch_put(&s, "f.safetensors", bytes, cut);
        assert_int_equal(hone_reference_open(whole.path, &a, &r, &err), HONE_EINPUT);
        assert_true(err.cause[0] && r.rows == 77);
        hone_arena_release(&a);
    }
    free(bytes);
    scratch_close(&s);
}

static void a_file_that_shrinks_after_it_was_opened_is_bad_input(void **state)
{
    scratch s;
    float   row[3] = { 7, 7, 7 };
    (void)state;
    scratch_open(&s);
    opened o = open_with(&s, "{" IDS "," LOGITS "}", 64, NULL);
    assert_int_equal(o.code, HONE_OK);
    assert_int_equal(hone_reference_read(&o.r, o.r.logits, 1, 1, row, &o.err), HONE_OK);
    assert_true(row[0] == 0 && row[2] == 0);
    assert_int_equal(truncate(o.path, 40), 0);
    assert_int_equal(hone_reference_read(&o.r, o.r.logits, 1, 1, row, &o.err), HONE_EINPUT);
    hone_reference_close(&o.r);
    hone_arena_release(&o.a);
    scratch_close(&s);
}

static void a_long_reference_in_memory_is_thinned_to_what_fits(void **state)
{
    static const struct { size_t cols, width, every; } cases[] = {
        { 64, 32000, 1 }, { 1024, 32768, 1 }, { 1024, 32769, 2 }, { 1024, 262144, 8 }, { 1000, 262144, 8 }, { 64, 40000000, 64 }, { 64, (size_t)UINT32_MAX, 64 },
    };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(cases); i++) {
        size_t every = hone_check_self_every(cases[i].cols, cases[i].width);
        assert_int_equal(every, cases[i].every);
        assert_true(cases[i].cols / every >= 1);
        if (every < cases[i].cols) assert_true((uint64_t)2 * (cases[i].cols / every) * cases[i].width * 4 <= (uint64_t)256 << 20);
    }
    /* The last position of each four is held. */
    float          memory[] = { 1, 2, 3, 4 }, v = 0;
    hone_err       err = { 0 };
    hone_reference r = { .memory = memory, .rows = 2, .cols = 8, .width = 1, .every = 4 };
    assert_int_equal(hone_reference_read(&r, NULL, 1, 3, &v, &err), HONE_OK);
    assert_true(v == 3);
    assert_int_equal(hone_reference_read(&r, NULL, 1, 7, &v, &err), HONE_OK);
    assert_true(v == 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reference_without_what_it_needs_is_refused),
        cmocka_unit_test(a_reference_cut_at_every_length_is_refused),
        cmocka_unit_test(a_long_reference_in_memory_is_thinned_to_what_fits),
        cmocka_unit_test(a_file_that_shrinks_after_it_was_opened_is_bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
