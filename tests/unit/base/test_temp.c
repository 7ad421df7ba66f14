/* test_temp.c - temporary folders: gone with their run, or with the next run in the same place when theirs was killed. */
#include "base/temp.h"
#include "base/file.h"
#include "formats/scratch.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static const char *in(const char *folder, const char *name)
{
    static char out[1300];
    snprintf(out, sizeof out, "%s/%s", folder, name);
    return out;
}

static void it_is_ours_alone_and_goes_with_its_files(void **state)
{
    const scratch *s = *state;
    hone_temp      t = { 0 };
    struct stat    st;
    assert_int_equal(hone_temp_open(s->dir, "hone-test-", &t, NULL), HONE_OK);
    assert_int_equal(stat(t.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(hone_out_put(in(t.path, "weights"), "x", 1, NULL), HONE_OK);
    assert_int_equal(hone_out_put(in(t.path, ".hidden"), "x", 1, NULL), HONE_OK);
    hone_temp_close(&t);
    assert_int_equal(stat(in(s->dir, "."), &st), 0);
    assert_int_equal(st.st_nlink, 2); /* no folder in it */
    assert_string_equal(t.path, "");
    hone_temp_close(&t);
    hone_temp_close(NULL);
}

/* What a run leaves when it is killed; its path. */
static void leave_one(const char *dir, char path[1024])
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        hone_temp t;
        if (hone_temp_open(dir, "hone-test-", &t, NULL) != HONE_OK || hone_out_put(in(t.path, "weights"), "x", 1, NULL) != HONE_OK) _exit(1);
        /* a model of several files, half made */
        if (hone_dir_make(in(t.path, "whole.tmp"), NULL) != HONE_OK || hone_out_put(in(t.path, "whole.tmp/weights"), "x", 1, NULL) != HONE_OK) _exit(1);
        if (write(ends[1], t.path, sizeof t.path) != (ssize_t)sizeof t.path) _exit(1);
        for (;;) pause();
    }
    assert_true(child > 0);
    close(ends[1]);
    assert_int_equal(read(ends[0], path, 1024), 1024);
    close(ends[0]);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(hone_file_exists(in(path, "whole.tmp/weights")));
}

static void what_a_killed_run_left_goes_with_the_next_one(void **state)
{
    const scratch *s = *state;
    hone_temp      t = { 0 }, other = { 0 };
    char           left[1024];
    leave_one(s->dir, left);
    assert_int_equal(hone_temp_open(s->dir, "hone-other-", &other, NULL), HONE_OK); /* another's word: not its business */
    assert_true(hone_dir_exists(left));
    assert_int_equal(hone_temp_open(s->dir, "hone-test-", &t, NULL), HONE_OK);
    assert_false(hone_dir_exists(left));
    assert_true(hone_dir_exists(other.path));
    hone_temp_close(&t);
    hone_temp_close(&other);
}

static void what_a_run_holds_stays(void **state)
{
    const scratch *s = *state;
    hone_temp      a = { 0 }, b = { 0 };
    assert_int_equal(hone_temp_open(s->dir, "hone-test-", &a, NULL), HONE_OK);
    assert_int_equal(hone_out_put(in(a.path, "weights"), "x", 1, NULL), HONE_OK);
    assert_int_equal(hone_temp_open(s->dir, "hone-test-", &b, NULL), HONE_OK);
    assert_string_not_equal(a.path, b.path);
    assert_true(hone_file_exists(in(a.path, "weights")));
    hone_temp_close(&b);
    assert_true(hone_file_exists(in(a.path, "weights")));
    hone_temp_close(&a);
}

static void what_only_looks_like_one_stays(void **state)
{
    const scratch *s = *state;
    hone_temp      t = { 0 };
    char           path[256];
    scratch_put(s, "hone-test-abcdef", "a file", 6);
    scratch_put(s, "hone-test-results/kept", "x", 1);
    scratch_put(s, "hone-test-a-b-c-/kept", "x", 1);
    scratch_put(s, "elsewhere/kept", "x", 1);
    assert_int_equal(symlink("elsewhere", scratch_path(s, "hone-test-ABCDEF", path)), 0);
    scratch_put(s, "hone-test-ABC123/folder/more/kept", "x", 1); /* hone's own are not as deep */
    assert_int_equal(hone_temp_open(s->dir, "hone-test-", &t, NULL), HONE_OK);
    hone_temp_close(&t);
    static const char *const kept[] = { "hone-test-abcdef", "hone-test-results/kept", "hone-test-a-b-c-/kept", "elsewhere/kept", "hone-test-ABCDEF/kept",
                                        "hone-test-ABC123/folder/more/kept" };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) assert_true(hone_file_exists(scratch_path(s, kept[i], path)));
}

static void where_nothing_can_be_made_is_said_with_a_remedy(void **state)
{
    const scratch *s = *state;
    hone_temp      t = { .path = "untouched" };
    hone_err       err = { 0 };
    char           path[256], cause[400];
    assert_int_equal(hone_temp_open(scratch_path(s, "none", path), "hone-test-", &t, &err), HONE_ERESOURCE);
    snprintf(cause, sizeof cause, "cannot make a folder in '%s': No such file or directory", path);
    assert_string_equal(err.cause, cause);
    assert_string_equal(err.remedy, "choose a folder that exists and that you may write to");
    assert_string_equal(t.path, "untouched");
    assert_int_equal(setenv("TMPDIR", path, 1), 0);
    assert_int_equal(hone_temp_open(NULL, "hone-test-", &t, &err), HONE_ERESOURCE);
    assert_string_equal(err.remedy, "set TMPDIR to a folder that you may write to");
    assert_int_equal(setenv("TMPDIR", s->dir, 1), 0);
    assert_int_equal(hone_temp_open(NULL, "hone-test-", &t, NULL), HONE_OK);
    assert_memory_equal(t.path, s->dir, strlen(s->dir));
    hone_temp_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_ours_alone_and_goes_with_its_files, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(what_a_killed_run_left_goes_with_the_next_one, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(what_a_run_holds_stays, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(what_only_looks_like_one_stays, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(where_nothing_can_be_made_is_said_with_a_remedy, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
