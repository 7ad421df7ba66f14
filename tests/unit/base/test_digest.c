/* ctest: threads
 * The digest that follows a file's writers is the digest of the file, and a file that was not written as announced has none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/pool.h"
#include "formats/scratch.h"
#include <stdlib.h>
#include <string.h>

enum { PIECE = 70001, PIECES = 97, GAP = 13 }; /* pieces end in the middle of chunks, and bytes between them are never written */
#define SIZE ((uint64_t)PIECES * (PIECE + GAP))

static scratch here;
static char    path[256];

static int make_dir(void **state)
{
    (void)state;
    scratch_open(&here);
    (void)scratch_path(&here, "file", path);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    scratch_close(&here);
    return 0;
}

static hone_code write_piece(void *user, size_t index, unsigned worker, hone_err *err)
{
    hone_out *o = user;
    uint8_t  *piece = malloc(PIECE);
    size_t    k = index * 31 % PIECES; /* in no order */
    (void)worker;
    assert_non_null(piece);
    for (size_t i = 0; i < PIECE; i++) piece[i] = (uint8_t)(i * 7 + k);
    hone_code code = hone_out_write(o, k * (PIECE + GAP), piece, PIECE, err);
    free(piece);
    return code == HONE_OK ? hone_digest_advance(o->digest, err) : code;
}

static void open_out(hone_out *o)
{
    hone_err err = { 0 };
    assert_int_equal(hone_out_open(path, SIZE, o, &err), HONE_OK);
    assert_int_equal(hone_out_digest(o, SIZE, &err), HONE_OK);
    for (size_t k = 0; k < PIECES; k++) hone_digest_expect(o->digest, k * (PIECE + GAP), PIECE);
}

static void follows_threads_in_any_order(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 4; threads++) {
        hone_ctx ctx = { .threads = threads };
        hone_out o;
        hone_err err = { 0 };
        char     followed[65], whole[65];
        open_out(&o);
        assert_int_equal(hone_pool_run(&ctx, PIECES, write_piece, &o, &err), HONE_OK);
        assert_int_equal(hone_digest_finish(o.digest, followed, &err), HONE_OK);
        assert_int_equal(hone_out_commit(&o, NULL, NULL, &err), HONE_OK);
        assert_int_equal(hone_sha256_file(path, whole, &err), HONE_OK);
        assert_string_equal(followed, whole);
    }
}

/* skip: a piece that is not written, or -1; n bytes at off: written on top, or 0. */
static hone_code finish_after(int skip, uint64_t off, size_t n)
{
    static const uint8_t more[PIECE];
    hone_out o;
    hone_err err = { 0 };
    char     hex[65];
    open_out(&o);
    for (size_t k = 0; k < PIECES; k++)
        if ((int)(k * 31 % PIECES) != skip) assert_int_equal(write_piece(&o, k, 0, &err), HONE_OK);
    if (n) assert_int_equal(hone_out_write(&o, off, more, n, &err), HONE_OK);
    hone_code code = hone_digest_finish(o.digest, hex, &err);
    hone_out_discard(&o);
    return code;
}

static void what_was_not_announced_is_our_bug(void **state)
{
    (void)state;
    assert_int_equal(finish_after(-1, 0, 0), HONE_OK);
    assert_int_equal(finish_after(50, 0, 0), HONE_EBUG);            /* never */
    assert_int_equal(finish_after(-1, PIECE + GAP, 1), HONE_EBUG);   /* twice */
    assert_int_equal(finish_after(-1, SIZE - 1, 2), HONE_EBUG);      /* behind the end */
}

static void empty_files_have_a_digest(void **state)
{
    (void)state;
    hone_out o;
    hone_err err = { 0 };
    char     hex[65];
    assert_int_equal(hone_out_open(path, 0, &o, &err), HONE_OK);
    assert_int_equal(hone_out_digest(&o, 0, &err), HONE_OK);
    assert_int_equal(hone_digest_advance(o.digest, &err), HONE_OK);
    assert_int_equal(hone_digest_finish(o.digest, hex, &err), HONE_OK);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"); /* FIPS 180-4's of no bytes */
    hone_out_discard(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(follows_threads_in_any_order, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(what_was_not_announced_is_our_bug, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(empty_files_have_a_digest, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
