/* test_folder.c - a folder that appears whole or not at all, and takes nothing of the user's away. */
#include "base/folder.h"
#include "base/file.h"
#include "formats/scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static scratch s;
static char    path[1100], tmp[1110];

static bool owns(const char *file) { return strcmp(file, "a") == 0 || strcmp(file, "b") == 0; }

static const char *in(const char *folder, const char *name)
{
    static char out[1200];
    snprintf(out, sizeof out, "%s/%s", folder, name);
    return out;
}

static void put(const char *folder, const char *name) { assert_int_equal(hone_out_put(in(folder, name), name, 1, NULL), HONE_OK); }

static int setup(void **state)
{
    (void)state;
    scratch_open(&s);
    snprintf(path, sizeof path, "%s/out", s.dir);
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_close(&s);
    return 0;
}

static void the_new_folder_takes_the_place_of_the_old_one(void **state)
{
    hone_folder f = { 0 };
    hone_err    err = { 0 };
    (void)state;
    assert_int_equal(hone_folder_open(path, owns, &f, &err), HONE_OK);
    put(tmp, "a");
    assert_false(hone_dir_exists(path));
    assert_int_equal(hone_folder_commit(&f, &err), HONE_OK);
    assert_true(hone_file_exists(in(path, "a")));
    assert_false(hone_dir_exists(tmp));
    assert_int_equal(hone_folder_open(path, owns, &f, &err), HONE_OK);
    put(tmp, "b");
    assert_true(hone_file_exists(in(path, "a")));
    assert_int_equal(hone_folder_commit(&f, &err), HONE_OK);
    assert_true(hone_file_exists(in(path, "b")));
    assert_false(hone_file_exists(in(path, "a")));
    assert_false(hone_dir_exists(tmp));
}

static void a_discarded_one_leaves_the_old_one(void **state)
{
    hone_folder f = { 0 };
    (void)state;
    assert_int_equal(hone_dir_make(path, NULL), HONE_OK);
    put(path, "a");
    assert_int_equal(hone_folder_open(path, owns, &f, NULL), HONE_OK);
    put(tmp, "b");
    hone_folder_discard(&f);
    hone_folder_discard(&f);
    hone_folder_discard(NULL);
    assert_true(hone_file_exists(in(path, "a")));
    assert_false(hone_dir_exists(tmp));
}

static void what_a_killed_run_left_is_cleared(void **state)
{
    hone_folder f = { 0 };
    (void)state;
    assert_int_equal(hone_dir_make(tmp, NULL), HONE_OK);
    put(tmp, "a");
    put(tmp, "a.tmp");
    assert_int_equal(hone_folder_open(path, owns, &f, NULL), HONE_OK);
    assert_false(hone_file_exists(in(tmp, "a")));
    assert_false(hone_file_exists(in(tmp, "a.tmp")));
    hone_folder_discard(&f);
}

static void foreign_files_are_never_removed(void **state)
{
    hone_folder f = { 0 };
    hone_err    err = { 0 };
    char        cause[1200];
    (void)state;
    assert_int_equal(hone_dir_make(path, NULL), HONE_OK);
    put(path, "mine");
    assert_int_equal(hone_folder_open(path, owns, &f, &err), HONE_EUSAGE);
    snprintf(cause, sizeof cause, "'%s' holds 'mine', which hone did not write: not replaced", path);
    assert_string_equal(err.cause, cause);
    assert_true(hone_file_exists(in(path, "mine")));
    assert_false(hone_dir_exists(tmp));
}

static void a_second_writer_is_refused(void **state)
{
    hone_folder one = { 0 }, two = { 0 };
    hone_err    err = { 0 };
    (void)state;
    assert_int_equal(hone_folder_open(path, owns, &one, NULL), HONE_OK);
    put(tmp, "a");
    assert_int_equal(hone_folder_open(path, owns, &two, &err), HONE_ERESOURCE);
    assert_non_null(strstr(err.cause, "is being written by another process"));
    assert_true(hone_file_exists(in(tmp, "a")));
    assert_int_equal(hone_folder_commit(&one, NULL), HONE_OK);
}

static void what_is_named_can_be_taken_back(void **state)
{
    hone_folder f = { 0 }, second = { 0 };
    hone_err    err = { 0 };
    (void)state;
    assert_int_equal(hone_folder_open(path, owns, &f, NULL), HONE_OK);
    put(tmp, "a");
    assert_int_equal(hone_folder_name(&f, &err), HONE_OK);
    assert_true(hone_file_exists(in(path, "a")));
    assert_true(hone_folder_take_back(&f));
    assert_false(hone_dir_exists(path));
    hone_folder_discard(&f);
    assert_false(hone_dir_exists(tmp));

    assert_int_equal(hone_dir_make(path, NULL), HONE_OK);
    put(path, "a");
    assert_int_equal(hone_folder_open(path, owns, &f, NULL), HONE_OK);
    put(tmp, "b");
    assert_int_equal(hone_folder_name(&f, &err), HONE_OK);
    assert_true(hone_file_exists(in(path, "b")));
    /* What it replaced waits under the temporary name, and is nobody's to take over. */
    assert_int_equal(hone_folder_open(path, owns, &second, &err), HONE_ERESOURCE);
    assert_non_null(strstr(err.cause, "is being written by another process"));
    assert_true(hone_folder_take_back(&f));
    assert_true(hone_folder_take_back(&f));
    assert_true(hone_file_exists(in(path, "a")));
    assert_false(hone_file_exists(in(path, "b")));
    hone_folder_discard(&f);
    assert_false(hone_dir_exists(tmp));
    assert_true(hone_file_exists(in(path, "a")));
}

static void a_link_is_not_replaced_and_not_followed(void **state)
{
    hone_folder f = { 0 };
    hone_err    err = { 0 };
    char        target[1150];
    (void)state;
    snprintf(target, sizeof target, "%s/elsewhere", s.dir);
    assert_int_equal(hone_dir_make(target, NULL), HONE_OK);
    put(target, "a");
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(hone_folder_open(path, owns, &f, &err), HONE_EUSAGE);
    assert_non_null(strstr(err.cause, "/out' is a link: not replaced"));
    assert_true(hone_file_exists(in(target, "a")));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(hone_folder_open(path, owns, &f, &err), HONE_OK);
    assert_int_equal(symlink(target, path), 0); /* put there while the run was on */
    assert_int_equal(hone_folder_commit(&f, &err), HONE_EUSAGE);
    assert_true(hone_file_exists(in(target, "a")));
    assert_false(hone_dir_exists(tmp));
}

/* Where two folders cannot change places in one step, the old one is out.tmp.old for a moment. */
static void a_replacement_that_was_killed_half_way_is_finished(void **state)
{
    hone_folder f = { 0 };
    char        parked[1120];
    (void)state;
    snprintf(parked, sizeof parked, "%s.old", tmp);
    assert_int_equal(hone_dir_make(parked, NULL), HONE_OK);
    put(parked, "a");
    assert_int_equal(hone_folder_open(path, owns, &f, NULL), HONE_OK);
    assert_true(hone_file_exists(in(path, "a"))); /* it had no name: it has it again */
    hone_folder_discard(&f);

    assert_int_equal(hone_dir_make(parked, NULL), HONE_OK);
    put(parked, "b");
    assert_int_equal(hone_folder_open(path, owns, &f, NULL), HONE_OK);
    assert_false(hone_dir_exists(parked)); /* another has the name */
    assert_true(hone_file_exists(in(path, "a")));
    hone_folder_discard(&f);

    assert_int_equal(hone_dir_make(parked, NULL), HONE_OK);
    put(parked, "mine");
    assert_int_equal(hone_folder_open(path, owns, &f, NULL), HONE_OK);
    assert_true(hone_file_exists(in(parked, "mine")));
    hone_folder_discard(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_new_folder_takes_the_place_of_the_old_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_discarded_one_leaves_the_old_one, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_killed_run_left_is_cleared, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_files_are_never_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_writer_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_named_can_be_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_link_is_not_replaced_and_not_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_replacement_that_was_killed_half_way_is_finished, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
