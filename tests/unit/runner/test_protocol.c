/* Frames and what is in them: round trips, and every way in which a frame can lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "runner/protocol.h"
#include "runner/reply.h"
#include <stdlib.h>

static const float   FLOATS[] = { 1.5f, -0.0f, 3e38f };
static const int32_t IDS[] = { 0, 7, 2147483647 };

static void pack_all(hone_packer *p)
{
    hone_pack_begin(p, HONE_MSG_STAT, 0x0102030405060708u);
    hone_pack_u8(p, 0xab);
    hone_pack_u32(p, 0xdeadbeef);
    hone_pack_u64(p, UINT64_MAX - 1);
    hone_pack_f64(p, -2.25);
    hone_pack_bytes(p, "hone", 4);
    hone_pack_bytes(p, NULL, 0);
    hone_pack_ids(p, IDS, 3);
    hone_pack_f32s(p, FLOATS, 3);
}

static void a_frame_comes_back_as_it_went(void **state)
{
    hone_err    err = { 0 };
    hone_packer p = { 0 };
    hone_frame  f = { 0 };
    size_t      used, need;
    float       floats[3];
    uint32_t    ids[3];
    (void)state;
    pack_all(&p);
    assert_int_equal(hone_pack_end(&p, &err), HONE_OK);
    const uint8_t head[] = { 0x49, 0, 0, 0, 66, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1 }; /* little-endian, whatever the host is */
    assert_memory_equal(p.ptr, head, sizeof head);
    assert_int_equal(hone_frame_take((hone_bytes){ p.ptr, p.len }, &f, &used, &need, &err), HONE_OK);
    assert_int_equal(used, p.len);
    assert_int_equal(f.type, HONE_MSG_STAT);
    assert_true(f.id == 0x0102030405060708u);
    hone_unpacker u = hone_unpack(f.payload);
    assert_int_equal(hone_unpack_u8(&u), 0xab);
    assert_true(hone_unpack_u32(&u) == 0xdeadbeef);
    assert_true(hone_unpack_u64(&u) == UINT64_MAX - 1);
    assert_true(hone_unpack_f64(&u) == -2.25);
    hone_bytes b = hone_unpack_bytes(&u);
    assert_int_equal(b.len, 4);
    assert_memory_equal(b.ptr, "hone", 4);
    assert_int_equal(hone_unpack_bytes(&u).len, 0);
    b = hone_unpack_ids(&u);
    assert_int_equal(b.len, 12);
    hone_get_u32s(b, ids);
    assert_memory_equal(ids, IDS, sizeof IDS);
    assert_false(hone_unpack_done(&u)); /* the floats are left */
    hone_get_f32s(hone_unpack_array(&u, 3, 4), floats);
    assert_memory_equal(floats, FLOATS, sizeof FLOATS);
    assert_true(hone_unpack_done(&u));
    hone_pack_release(&p);
}

static void a_frame_cut_anywhere_is_not_there_yet(void **state)
{
    hone_err    err = { 0 };
    hone_packer p = { 0 };
    (void)state;
    pack_all(&p);
    assert_int_equal(hone_pack_end(&p, &err), HONE_OK);
    for (size_t n = 0; n < p.len; n++) {
        hone_frame f = { .type = 99 };
        size_t     used = 1, need = 0;
        uint8_t   *cut = malloc(n + 1);
        memcpy(cut, p.ptr, n);
        assert_int_equal(hone_frame_take((hone_bytes){ cut, n }, &f, &used, &need, &err), HONE_OK);
        assert_int_equal(used, 0);
        assert_int_equal(need, n < HONE_FRAME_HEAD ? HONE_FRAME_HEAD : p.len);
        assert_int_equal(f.type, 99);
        free(cut);
    }
    hone_pack_release(&p);
}

static void a_length_above_the_limit_is_refused(void **state)
{
    hone_err   err = { 0 };
    hone_frame f;
    uint8_t    head[HONE_FRAME_HEAD] = { 1, 0, 0, 4 };
    size_t     used, need;
    (void)state;
    assert_int_equal(hone_frame_take((hone_bytes){ head, sizeof head }, &f, &used, &need, &err), HONE_ERUNTIME);
    assert_string_equal(err.cause, "a frame of 67108865 bytes, at most 67108864 are allowed");
    head[0] = 0;
    assert_int_equal(hone_frame_take((hone_bytes){ head, sizeof head }, &f, &used, &need, &err), HONE_OK);
    assert_int_equal(need, HONE_FRAME_MAX + HONE_FRAME_HEAD);
}

static void asking_for_more_than_is_there_turns_bad_and_stays_so(void **state)
{
    const uint8_t raw[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1 };
    (void)state;
    hone_unpacker u = hone_unpack((hone_bytes){ raw, sizeof raw });
    assert_null(hone_unpack_bytes(&u).ptr); /* a length of 2^64 - 1 */
    assert_true(u.bad);
    assert_int_equal(hone_unpack_u8(&u), 0);
    assert_false(hone_unpack_done(&u));
    u = hone_unpack((hone_bytes){ raw, sizeof raw });
    assert_int_equal(hone_unpack_ids(&u).len, 0); /* 4 * (2^64 - 1) wraps in 64 bits */
    assert_true(u.bad);
    u = hone_unpack((hone_bytes){ raw, 3 });
    assert_int_equal(hone_unpack_u32(&u), 0);
    assert_true(u.bad);
    u = hone_unpack((hone_bytes){ NULL, 0 });
    assert_true(hone_unpack_done(&u));
}

static void a_frame_too_large_is_dropped_and_the_others_stay(void **state)
{
    hone_err    err = { 0 };
    hone_packer p = { 0 };
    (void)state;
    hone_pack_begin(&p, HONE_MSG_BEAT, 1);
    assert_int_equal(hone_pack_end(&p, &err), HONE_OK);
    char *big = calloc(1, HONE_FRAME_MAX);
    hone_pack_begin(&p, HONE_MSG_RENDER, 2);
    hone_pack_bytes(&p, big, HONE_FRAME_MAX);
    assert_int_equal(hone_pack_end(&p, &err), HONE_ERESOURCE);
    assert_string_equal(err.cause, "a message of 67108872 bytes to or from the runtime, at most 67108864 fit");
    assert_int_equal(p.len, HONE_FRAME_HEAD);
    free(big);
    hone_pack_release(&p);
}

/* --- answers ------------------------------------------------------------------------------------------------------------ */
static hone_code take(hone_reply *r, hone_packer *p, hone_err *err)
{
    hone_frame f;
    size_t     used, need;
    assert_int_equal(hone_pack_end(p, err), HONE_OK);
    assert_int_equal(hone_frame_take((hone_bytes){ p->ptr, p->len }, &f, &used, &need, err), HONE_OK);
    hone_code code = hone_reply_take(r, &f, err);
    hone_pack_clear(p);
    return code;
}

#define BROKEN "the runtime's process does not keep the protocol: "

static void answers_nobody_asked_for_are_refused(void **state)
{
    hone_err    err = { 0 };
    hone_packer p = { 0 };
    (void)state;
    hone_reply r = { .op = HONE_MSG_REWIND, .id = 5 };
    hone_pack_begin(&p, HONE_MSG_DONE, 4);
    assert_int_equal(take(&r, &p, &err), HONE_ERUNTIME);
    assert_string_equal(err.cause, BROKEN "an answer to another request");
    static const struct { hone_msg type; const char *cause; } rows[] = {
        { HONE_MSG_ROW, BROKEN "a row nobody asked for" },        { HONE_MSG_TOKEN, BROKEN "a token nobody asked for" },
        { HONE_MSG_ROWS, BROKEN "rows nobody asked for" },
        { HONE_MSG_STAT, BROKEN "statistics nobody asked for" },  { HONE_MSG_HELLO, BROKEN "a greeting nobody asked for" },
        { HONE_MSG_FAIL, BROKEN "a failure without a reason" },   { (hone_msg)1234, BROKEN "a frame of an unknown type" },
    };
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        hone_pack_begin(&p, rows[i].type, 5);
        assert_int_equal(take(&r, &p, &err), HONE_ERUNTIME);
        assert_string_equal(err.cause, rows[i].cause);
        assert_false(r.said);
    }
    hone_pack_begin(&p, HONE_MSG_DONE, 5);
    hone_pack_u8(&p, 1);
    assert_int_equal(take(&r, &p, &err), HONE_ERUNTIME);
    assert_string_equal(err.cause, BROKEN "an answer that is too long");
    hone_pack_begin(&p, HONE_MSG_BEAT, 5);
    assert_int_equal(take(&r, &p, &err), HONE_OK);
    assert_false(r.done);
    hone_pack_begin(&p, HONE_MSG_DONE, 5);
    assert_int_equal(take(&r, &p, &err), HONE_OK);
    assert_true(r.done);
    hone_pack_release(&p);
}

static void tokens_beyond_what_was_asked_never_reach_the_array(void **state)
{
    hone_err      err = { 0 };
    hone_packer   p = { 0 };
    int32_t       out[1] = { -1 };
    double        ms[1];
    hone_generate g = { .max_new = 1, .out = out, .token_ms = ms };
    hone_reply    r = { .op = HONE_MSG_GENERATE, .id = 1, .gen = &g };
    (void)state;
    for (int i = 0; i < 2; i++) {
        hone_pack_begin(&p, HONE_MSG_TOKEN, 1);
        hone_pack_u32(&p, 42);
        hone_pack_f64(&p, 0.5);
        assert_int_equal(take(&r, &p, &err), i ? HONE_ERUNTIME : HONE_OK);
    }
    assert_string_equal(err.cause, BROKEN "a token out of range");
    assert_int_equal(out[0], 42);
    assert_int_equal(g.n_out, 1);
    hone_pack_begin(&p, HONE_MSG_DONE, 1);
    hone_pack_u64(&p, 2);
    hone_pack_f64(&p, 1);
    hone_pack_f64(&p, 1);
    assert_int_equal(take(&r, &p, &err), HONE_ERUNTIME);
    assert_string_equal(err.cause, BROKEN "a sum of tokens that is not theirs");
    hone_pack_release(&p);
}

static void likelihoods_must_be_exactly_as_many_as_asked(void **state)
{
    hone_err    err = { 0 };
    hone_packer p = { 0 };
    float       nll[2] = { -1, -1 };
    hone_reply  r = { .op = HONE_MSG_NLL, .id = 1, .n = 3, .nll = nll };
    (void)state;
    hone_pack_begin(&p, HONE_MSG_DONE, 1);
    hone_pack_u64(&p, 3);
    hone_pack_f32s(&p, FLOATS, 3);
    assert_int_equal(take(&r, &p, &err), HONE_ERUNTIME);
    assert_string_equal(err.cause, BROKEN "likelihoods that are too few or too many");
    assert_true(nll[0] == -1 && nll[1] == -1);
    hone_pack_begin(&p, HONE_MSG_DONE, 1);
    hone_pack_u64(&p, 2);
    hone_pack_f32s(&p, FLOATS, 2);
    assert_int_equal(take(&r, &p, &err), HONE_OK);
    assert_true(nll[0] == 1.5f);
    hone_pack_release(&p);
}

static size_t n_sunk;
static void   sink(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts)
{
    (void)user;
    assert_string_equal(name, "w");
    assert_int_equal(n_mats, 2);
    assert_int_equal(n_cols, 3);
    assert_true(sum_sq[5] == 6);
    assert_true(counts[1] == UINT64_MAX);
    n_sunk++;
}

static void statistics_of_impossible_shapes_are_refused(void **state)
{
    const float sums[] = { 1, 2, 3, 4, 5, 6 };
    hone_err    err = { 0 };
    hone_packer p = { 0 };
    hone_reply  r = { .op = HONE_MSG_CAPTURE, .id = 1, .sink = sink };
    (void)state;
    static const uint64_t shapes[][2] = { { 2, 3 }, { 0, 3 }, { 1u << 31, 1u << 31 }, { UINT64_MAX, UINT64_MAX }, { 3, 2 }, { 1u << 20, 64 } };
    for (size_t i = 0; i < HONE_COUNT(shapes); i++) {
        hone_pack_begin(&p, HONE_MSG_STAT, 1);
        hone_pack_bytes(&p, "w", 1);
        hone_pack_u64(&p, shapes[i][0]);
        hone_pack_u64(&p, shapes[i][1]);
        hone_pack_f32s(&p, sums, 6);
        hone_pack_u64(&p, 9);
        hone_pack_u64(&p, UINT64_MAX);
        assert_int_equal(take(&r, &p, &err), i == 0 ? HONE_OK : HONE_ERUNTIME);
    }
    assert_int_equal(n_sunk, 1);
    hone_reply_release(&r);
    hone_pack_release(&p);
}

static size_t n_rows_seen;
static void   on_rows(void *user, size_t name, const float *rows, size_t n_rows, size_t n_cols, size_t n_mats, const uint32_t *mats)
{
    (void)user;
    assert_int_equal(name, 1);
    assert_int_equal(n_rows, 2);
    assert_int_equal(n_cols, 3);
    assert_true(rows[5] == 6);
    assert_int_equal(mats != NULL, n_mats > 1);
    if (mats) assert_true(mats[0] == 0 && mats[1] == 3);
    n_rows_seen += n_rows;
}

static void rows_of_impossible_shapes_are_refused(void **state)
{
    static const struct { uint32_t name; uint64_t rows, cols, mats; uint32_t expert; const char *cause; } list[] = {
        { 1, 2, 3, 4, 3, NULL },
        { 1, 2, 3, 1, 3, NULL }, /* one matrix: nothing says which */
        { 2, 2, 3, 4, 3, BROKEN "rows nobody asked for" },
        { 1, 0, 3, 4, 3, BROKEN "rows of an impossible shape" },
        { 1, UINT64_MAX, 3, 4, 3, BROKEN "rows of an impossible shape" },
        { 1, 1u << 31, 1u << 31, 4, 3, BROKEN "rows of an impossible shape" },
        { 1, 2, 3, 0, 3, BROKEN "rows of an impossible shape" },
        { 1, 3, 2, 4, 3, BROKEN "rows that do not fit their frame" },
        { 1, 2, 3, 4, 4, BROKEN "a row of an expert that does not exist" },
    };
    const float values[] = { 1, 2, 3, 4, 5, 6 };
    hone_err    err = { 0 };
    hone_packer p = { 0 };
    hone_reply  r = { .op = HONE_MSG_INPUTS, .id = 1, .n_names = 2, .rows = on_rows };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(list); i++) {
        hone_pack_begin(&p, HONE_MSG_ROWS, 1);
        hone_pack_u32(&p, list[i].name);
        hone_pack_u64(&p, list[i].rows);
        hone_pack_u64(&p, list[i].cols);
        hone_pack_u64(&p, list[i].mats);
        for (uint32_t k = 0; list[i].mats != 1 && k < 2; k++) hone_pack_u32(&p, k ? list[i].expert : 0);
        hone_pack_f32s(&p, values, 6);
        assert_int_equal(take(&r, &p, &err), list[i].cause ? HONE_ERUNTIME : HONE_OK);
        if (list[i].cause) assert_string_equal(err.cause, list[i].cause);
    }
    assert_int_equal(n_rows_seen, 4);
    hone_reply_release(&r);
    hone_pack_release(&p);
}

static size_t n_layers;
static void   on_layer(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd)
{
    (void)user;
    assert_int_equal(layer, n_layers);
    assert_int_equal(n, 2);
    assert_int_equal(n_embd, 3);
    assert_true(values[5] == 6);
    n_layers++;
}

static void layers_of_impossible_shapes_are_refused(void **state)
{
    const float values[] = { 1, 2, 3, 4, 5, 6 };
    static const struct { uint32_t layer; uint64_t first, width; size_t n_values; bool good; } frames[] = {
        { 0, 0, 3, 3, true },  /* half of the layer; the others may not be its other half */
        { 1, 0, 3, 6, false }, { 0, 0, 3, 3, false }, { 0, 1, 0, 3, false }, { 0, 1, 2, 2, false }, { 0, 1, UINT64_MAX, 3, false },
        { 0, 1, 3, 6, false }, { 0, 1, 3, 2, false }, { 0, UINT64_MAX, 3, 3, false },
    };
    hone_err    err = { 0 };
    hone_packer p = { 0 };
    hone_reply  r = { .op = HONE_MSG_LAYERS, .id = 1, .n = 2, .layer = on_layer };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(frames); i++) {
        hone_pack_begin(&p, HONE_MSG_LAYER, 1);
        hone_pack_u32(&p, frames[i].layer);
        hone_pack_u64(&p, frames[i].first);
        hone_pack_u64(&p, frames[i].width);
        hone_pack_f32s(&p, values, frames[i].n_values);
        assert_int_equal(take(&r, &p, &err), frames[i].good ? HONE_OK : HONE_ERUNTIME);
    }
    hone_pack_begin(&p, HONE_MSG_DONE, 1);
    assert_int_equal(take(&r, &p, &err), HONE_ERUNTIME);
    assert_string_equal(err.cause, BROKEN "layers that are not whole");
    hone_pack_begin(&p, HONE_MSG_LAYER, 1);
    hone_pack_u32(&p, 0);
    hone_pack_u64(&p, 1);
    hone_pack_u64(&p, 3);
    hone_pack_f32s(&p, values + 3, 3);
    assert_int_equal(take(&r, &p, &err), HONE_OK);
    assert_int_equal(n_layers, 1);
    hone_pack_begin(&p, HONE_MSG_DONE, 1);
    assert_int_equal(take(&r, &p, &err), HONE_OK);
    hone_reply_release(&r);
    hone_pack_release(&p);
}

static void codes_and_words_of_a_failure_are_kept_within_bounds(void **state)
{
    hone_err    err = { 0 };
    hone_packer p = { 0 };
    (void)state;
    static const struct { uint32_t code; const char *why; hone_code want; const char *cause; } rows[] = {
        { 3, "bad \033[2J file", HONE_EINPUT, "bad \\x1b[2J file" },
        { 0, "zero is no failure", HONE_ERUNTIME, "zero is no failure" },
        { 2, "usage is not the child's to say", HONE_ERUNTIME, "usage is not the child's to say" },
        { 4000000000u, "", HONE_ERUNTIME, "" },
        { 1, "the template's\nown words \xc3\xa9", HONE_ENO, "the template's\nown words \xc3\xa9" },
        { 1, "not \xff UTF-8", HONE_ENO, "not \\xff UTF-8" },
    };
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        hone_reply r = { .op = HONE_MSG_OPEN, .id = 1 };
        hone_pack_begin(&p, HONE_MSG_FAIL, 1);
        hone_pack_u32(&p, rows[i].code);
        hone_pack_bytes(&p, rows[i].why, strlen(rows[i].why));
        assert_int_equal(take(&r, &p, &err), rows[i].want);
        assert_string_equal(err.cause, rows[i].cause);
        assert_true(r.said);
    }
    hone_pack_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_comes_back_as_it_went),
        cmocka_unit_test(a_frame_cut_anywhere_is_not_there_yet),
        cmocka_unit_test(a_length_above_the_limit_is_refused),
        cmocka_unit_test(asking_for_more_than_is_there_turns_bad_and_stays_so),
        cmocka_unit_test(a_frame_too_large_is_dropped_and_the_others_stay),
        cmocka_unit_test(answers_nobody_asked_for_are_refused),
        cmocka_unit_test(tokens_beyond_what_was_asked_never_reach_the_array),
        cmocka_unit_test(likelihoods_must_be_exactly_as_many_as_asked),
        cmocka_unit_test(statistics_of_impossible_shapes_are_refused),
        cmocka_unit_test(rows_of_impossible_shapes_are_refused),
        cmocka_unit_test(layers_of_impossible_shapes_are_refused),
        cmocka_unit_test(codes_and_words_of_a_failure_are_kept_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
