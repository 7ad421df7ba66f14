#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "quant/weight.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A source in memory: the tensor's name is the number of the blob. */
static const void *blobs[4];

static hone_code read_blob(const hone_source *s, const hone_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err)
{
    (void)s;
    (void)err;
    assert_true(off <= t->bytes && n <= t->bytes - off);
    memcpy(buf, (const uint8_t *)blobs[t->file] + off, n);
    return HONE_OK;
}

static const hone_source source = { .read = read_blob };

enum { ROWS = 12, COLS = 8 };
static float stored[ROWS * COLS];

static hone_tensor matrix(uint32_t file, uint64_t rows, uint64_t cols)
{
    blobs[file] = stored;
    for (size_t i = 0; i < HONE_COUNT(stored); i++) stored[i] = (float)i;
    return (hone_tensor){ .name = "m", .dtype = HONE_DTYPE_F32, .n_dims = 2, .dims = { rows, cols }, .file = file, .bytes = rows * cols * 4 };
}

/* Reads w whole and in tiles of every height; all must agree.  out: [rows, cols] */
static void read_all_ways(const hone_weight *w, float *out)
{
    hone_err err = { 0 };
    uint64_t rows = hone_weight_rows(w), cols = hone_weight_cols(w);
    void    *scratch = malloc(hone_weight_scratch(w, rows));
    float   *tile = malloc(rows * cols * sizeof *tile);
    assert_int_equal(hone_weight_read(&source, w, 0, rows, out, scratch, &err), HONE_OK);
    for (uint64_t step = 1; step < rows; step++) {
        void *less = malloc(hone_weight_scratch(w, step)); /* of its own: a sanitizer sees when it is too small */
        for (uint64_t r = 0; r < rows; r += step) {
            uint64_t n = rows - r < step ? rows - r : step;
            assert_int_equal(hone_weight_read(&source, w, r, n, tile, less, &err), HONE_OK);
            assert_memory_equal(tile, out + r * cols, n * cols * sizeof *tile);
        }
        free(less);
    }
    free(tile);
    free(scratch);
}

static void slices_follow_one_another_and_maps_pick_rows(void **state)
{
    hone_tensor    t = matrix(0, ROWS, COLS);
    const uint32_t map[] = { 3, 0, 1, 2, 5 };
    hone_slice     s[] = { { .tensor = &t, .row0 = 9, .n_rows = 2 }, { .tensor = &t, .row0 = 2, .n_rows = 5, .row_map = map } };
    hone_weight    w = { .n_dims = 2, .dims = { 7, COLS }, .slices = s, .n_slices = 2, .scale = 2, .add = 1, .dtype = HONE_DTYPE_F32 };
    float          out[7 * COLS];
    const int      want[] = { 9, 10, 5, 2, 3, 4, 7 };
    (void)state;
    read_all_ways(&w, out);
    for (int r = 0; r < 7; r++)
        for (int c = 0; c < COLS; c++) assert_true(out[r * COLS + c] == (float)(want[r] * COLS + c) * 2 + 1);
}

static void a_transposed_tensor_gives_its_columns_as_rows(void **state)
{
    hone_tensor t = matrix(0, ROWS, COLS); /* stored [in, out] */
    hone_slice  s = { .tensor = &t, .row0 = 2, .n_rows = 5, .transposed = true };
    hone_weight w = { .n_dims = 2, .dims = { 5, ROWS }, .slices = &s, .n_slices = 1, .scale = 1, .dtype = HONE_DTYPE_F32 };
    float       out[5 * ROWS];
    (void)state;
    read_all_ways(&w, out);
    for (int r = 0; r < 5; r++)
        for (int c = 0; c < ROWS; c++) assert_true(out[r * ROWS + c] == stored[c * COLS + r + 2]);
}

static void vectors_are_picked_by_element(void **state)
{
    hone_tensor    t = matrix(0, 1, 16);
    const uint32_t map[] = { 7, 6, 5, 0 };
    hone_slice     s[] = { { .tensor = &t, .row0 = 4, .n_rows = 4, .row_map = map }, { .tensor = &t, .row0 = 1, .n_rows = 2 } };
    hone_weight    w = { .n_dims = 1, .dims = { 6 }, .slices = s, .n_slices = 2, .scale = 1, .dtype = HONE_DTYPE_F32 };
    float          out[6];
    const float    want[] = { 11, 10, 9, 4, 1, 2 };
    (void)state;
    read_all_ways(&w, out);
    assert_memory_equal(out, want, sizeof want);
}

static void what_is_no_number_is_named_by_its_stored_place(void **state)
{
    hone_tensor t = matrix(0, ROWS, COLS);
    hone_slice  s[] = { { .tensor = &t, .row0 = 0, .n_rows = 1 }, { .tensor = &t, .row0 = 4, .n_rows = 3 } };
    hone_weight w = { .n_dims = 2, .dims = { 4, COLS }, .slices = s, .n_slices = 2, .scale = 1, .dtype = HONE_DTYPE_F32 };
    float       out[4 * COLS];
    hone_err    err = { 0 };
    void       *scratch = malloc(hone_weight_scratch(&w, 4));
    (void)state;
    stored[5 * COLS + 3] = (float)-INFINITY;
    assert_int_equal(hone_weight_read(&source, &w, 0, 4, out, scratch, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "tensor 'm' holds Inf at row 5, column 3");
    s[1].n_rows = 2;
    stored[5 * COLS + 3] = 0;
    assert_int_equal(hone_weight_read(&source, &w, 0, 4, out, scratch, &err), HONE_EBUG);
    assert_string_equal(err.cause, "weight tok_embd of layer 0 has 3 rows in its slices, needs 4");
    free(scratch);
}

static void blocks_that_lie_in_two_units_are_refused_before_reading(void **state)
{
    hone_tensor t = { .name = "packed", .dtype = HONE_DTYPE_F4, .n_dims = 1, .dims = { 16 }, .bytes = 8 };
    hone_slice  s = { .tensor = &t, .n_rows = 16 };
    hone_weight w = { .n_dims = 1, .dims = { 16 }, .slices = &s, .n_slices = 1, .scale = 1, .dtype = HONE_DTYPE_F4 };
    float       out[16];
    hone_err    err = { 0 };
    void       *scratch = malloc(hone_weight_scratch(&w, 1));
    (void)state;
    assert_int_equal(hone_weight_read(&source, &w, 0, 1, out, scratch, &err), HONE_EUNSUPPORTED);
    assert_string_equal(err.cause, "tensor 'packed' is f4 in units of 1, needs a multiple of 2");
    free(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_follow_one_another_and_maps_pick_rows),
        cmocka_unit_test(a_transposed_tensor_gives_its_columns_as_rows),
        cmocka_unit_test(vectors_are_picked_by_element),
        cmocka_unit_test(what_is_no_number_is_named_by_its_stored_place),
        cmocka_unit_test(blocks_that_lie_in_two_units_are_refused_before_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
