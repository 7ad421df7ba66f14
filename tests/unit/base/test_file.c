#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/file.h"
#include "formats/scratch.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static scratch     here;
static const char *dir = here.dir;

static const char *at(const char *name)
{
    static char path[2][256];
    static int  turn;
    turn ^= 1;
    return scratch_path(&here, name, path[turn]);
}

static int make_dir(void **state)
{
    (void)state;
    scratch_open(&here);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    scratch_close(&here);
    return 0;
}

static void put(const char *name, const char *text)
{
    hone_err err = { 0 };
    assert_int_equal(hone_out_put(at(name), text, strlen(text), &err), HONE_OK);
}

static void a_file_that_shrank_is_bad_input_not_a_signal(void **state)
{
    hone_file f = HONE_FILE_CLOSED;
    hone_err  err = { 0 };
    char      buf[16];
    (void)state;
    put("shrinks", "0123456789");
    const char *path = at("shrinks");
    assert_int_equal(hone_file_open(path, &f, &err), HONE_OK);
    assert_int_equal(f.size, 10);
    assert_int_equal(truncate(path, 4), 0);
    assert_int_equal(hone_file_read(&f, 0, buf, 10, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "ends at byte 4, needed 10"));
    hone_file_close(&f);
}

static void folders_fifos_and_nothing_are_named(void **state)
{
    hone_file f = HONE_FILE_CLOSED;
    hone_err  err = { 0 };
    (void)state;
    assert_int_equal(hone_file_open(dir, &f, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "is not a regular file"));
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    assert_int_equal(hone_file_open(at("fifo"), &f, &err), HONE_EINPUT);
    assert_int_equal(hone_file_open(at("missing"), &f, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "No such file"));
    assert_int_equal(f.fd, -1);
}

static void names_that_leave_the_folder_are_refused(void **state)
{
    static const char *const bad[] = { "/etc/passwd", "../x", "a/../../x", "a//b", "./x", "", "a/..", "a\\b" };
    hone_arena               a = { 0 };
    hone_err                 err = { 0 };
    const char              *out = NULL;
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(bad); i++) {
        assert_int_equal(hone_path_inside(&a, "d", bad[i], &out, &err), HONE_EINPUT);
        assert_non_null(strstr(err.cause, "points outside its folder"));
        assert_null(out);
    }
    assert_int_equal(hone_path_inside(&a, "d", "sub/model-00001.safetensors", &out, &err), HONE_OK);
    assert_string_equal(out, "d/sub/model-00001.safetensors");
    hone_arena_release(&a);
}

static hone_code says_no(void *user, const char *tmp, hone_err *err)
{
    *(int *)user += hone_file_exists(tmp);
    return HONE_FAIL(err, HONE_EBUG, "", "looked at and refused");
}

static void a_refused_output_leaves_the_old_file_and_no_tmp(void **state)
{
    hone_out o = { .fd = -1 };
    hone_err err = { 0 };
    int      seen = 0;
    char     buf[4] = "";
    (void)state;
    put("kept", "old");
    assert_int_equal(hone_out_open(at("kept"), 3, &o, &err), HONE_OK);
    assert_int_equal(hone_out_write(&o, 0, "new", 3, &err), HONE_OK);
    assert_int_equal(hone_out_commit(&o, says_no, &seen, &err), HONE_EBUG);
    assert_int_equal(seen, 1);
    hone_file f = HONE_FILE_CLOSED;
    assert_int_equal(hone_file_open(at("kept"), &f, &err), HONE_OK);
    assert_int_equal(hone_file_read(&f, 0, buf, 3, &err), HONE_OK);
    assert_string_equal(buf, "old");
    hone_file_close(&f);
    assert_false(hone_file_exists(at("kept.tmp")));
}

static void two_writers_of_one_path_do_not_mix(void **state)
{
    hone_out one = { .fd = -1 }, two = { .fd = -1 };
    hone_err err = { 0 };
    (void)state;
    assert_int_equal(hone_out_open(at("one"), 0, &one, &err), HONE_OK);
    assert_int_equal(hone_out_open(at("one"), 0, &two, &err), HONE_ERESOURCE);
    assert_non_null(strstr(err.cause, "is being written by another process"));
    assert_int_equal(hone_out_write(&one, 0, "x", 1, &err), HONE_OK);
    assert_int_equal(hone_out_commit(&one, NULL, NULL, &err), HONE_OK);
    assert_true(hone_file_exists(at("one")));
    hone_out_discard(&one);
    hone_out_discard(NULL);
}

/* Stands before the system's own: lets another writer end between our open and our lock. */
static bool another_ends_first;
int         flock(int fd, int operation)
{
    if (another_ends_first) {
        another_ends_first = false;
        assert_int_equal(write(fd, "whole", 5), 5);
        assert_int_equal(rename(at("raced.tmp"), at("raced")), 0);
    }
    return (int)syscall(SYS_flock, fd, operation);
}

static void a_finished_file_is_never_emptied_by_the_next_writer(void **state)
{
    hone_out    o = { .fd = -1 };
    hone_err    err = { 0 };
    struct stat st;
    (void)state;
    another_ends_first = true;
    assert_int_equal(hone_out_open(at("raced"), 0, &o, &err), HONE_OK);
    assert_false(another_ends_first);
    assert_int_equal(stat(at("raced"), &st), 0);
    assert_int_equal(st.st_size, 5);
    assert_int_equal(hone_out_write(&o, 0, "next", 4, &err), HONE_OK);
    assert_int_equal(hone_out_commit(&o, NULL, NULL, &err), HONE_OK);
    assert_int_equal(stat(at("raced"), &st), 0);
    assert_int_equal(st.st_size, 4);
}

static void what_stands_in_the_way_of_an_output_is_named_before_the_work(void **state)
{
    hone_out o = { .fd = -1 };
    hone_err err = { 0 };
    (void)state;
    assert_int_equal(hone_dir_make(at("taken"), &err), HONE_OK);
    assert_int_equal(hone_out_open(at("taken"), 0, &o, &err), HONE_ERESOURCE);
    assert_non_null(strstr(err.cause, "taken' is a folder, a file has to go there"));
    assert_int_equal(mkfifo(at("pipe.tmp"), 0600), 0);
    assert_int_equal(hone_out_open(at("pipe"), 0, &o, &err), HONE_ERESOURCE);
    assert_non_null(strstr(err.cause, "pipe.tmp' is not a regular file"));
    assert_int_equal(o.fd, -1);
}

static void what_was_never_written_reads_as_zero(void **state)
{
    hone_out  o = { .fd = -1 };
    hone_err  err = { 0 };
    hone_file f = HONE_FILE_CLOSED;
    uint8_t   buf[100];
    (void)state;
    /* a stale tmp of a killed run, with other bytes in it */
    FILE *stale = fopen(at("gaps.tmp"), "wb");
    for (int i = 0; i < 500; i++) (void)fputc('!', stale);
    (void)fclose(stale);
    assert_int_equal(hone_out_open(at("gaps"), 100, &o, &err), HONE_OK);
    assert_int_equal(hone_out_write(&o, 10, "x", 1, &err), HONE_OK);
    assert_int_equal(hone_out_commit(&o, NULL, NULL, &err), HONE_OK);
    assert_int_equal(hone_file_open(at("gaps"), &f, &err), HONE_OK);
    assert_int_equal(f.size, 100);
    assert_int_equal(hone_file_read(&f, 0, buf, 100, &err), HONE_OK);
    for (int i = 0; i < 100; i++) assert_int_equal(buf[i], i == 10 ? 'x' : 0);
    hone_file_close(&f);
}

static void digests_are_those_of_the_standard(void **state)
{
    char     hex[65];
    hone_err err = { 0 };
    (void)state;
    put("abc", "abc");
    /* FIPS 180-4, example SHA-256("abc") */
    assert_int_equal(hone_sha256_file(at("abc"), hex, &err), HONE_OK);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(hone_sha256((hone_bytes){ (const uint8_t *)"", 0 }, hex, &err), HONE_OK);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void a_path_under_a_file_cannot_be_made(void **state)
{
    hone_err err = { 0 };
    (void)state;
    put("plain", "x");
    assert_int_equal(hone_dir_make(at("plain/sub"), &err), HONE_ERESOURCE);
    assert_int_equal(hone_dir_make(at("a/b/c"), &err), HONE_OK);
    assert_true(hone_dir_exists(at("a/b/c")));
    uint64_t n = 0;
    assert_int_equal(hone_disk_free(at("not/there/yet"), &n, &err), HONE_OK);
    assert_true(n > 0);
}

static void folders_that_were_made_for_nothing_go_again(void **state)
{
    hone_err err = { 0 };
    (void)state;
    assert_int_equal(hone_dir_make(at("here"), &err), HONE_OK);
    size_t base = strlen(at("here"));
    assert_int_equal(hone_dir_missing(at("here")), 0);
    assert_int_equal(hone_dir_missing(at("here//")), 0);
    assert_int_equal(hone_dir_missing(at("here/one/two")), base + 4);
    assert_int_equal(hone_dir_missing(at("here//one//two//")), base + 5);
    assert_int_equal(hone_dir_make(at("here//one//two//"), &err), HONE_OK);
    hone_dir_unmake(at("here//one//two//"), base + 5);
    assert_true(hone_dir_exists(at("here")));
    assert_false(hone_dir_exists(at("here/one")));
    /* what holds something stays, and so does what is above it */
    assert_int_equal(hone_dir_make(at("here/one/two"), &err), HONE_OK);
    put("here/one/file", "x");
    hone_dir_unmake(at("here/one/two"), base + 4);
    assert_false(hone_dir_exists(at("here/one/two")));
    assert_true(hone_file_exists(at("here/one/file")));
    /* a name without a slash */
    assert_int_equal(hone_dir_missing("no-such-folder-anywhere"), strlen("no-such-folder-anywhere"));
    hone_dir_unmake("no-such-folder-anywhere", strlen("no-such-folder-anywhere"));
}

static void holds(const char *name, const char *want)
{
    char      buf[16] = "";
    hone_file f = HONE_FILE_CLOSED;
    assert_int_equal(hone_file_open(at(name), &f, NULL), HONE_OK);
    assert_true(f.size < sizeof buf);
    assert_int_equal(hone_file_read(&f, 0, buf, (size_t)f.size, NULL), HONE_OK);
    assert_string_equal(buf, want);
    hone_file_close(&f);
}

static void one_thread_at_a_time_enters_a_file(void **state)
{
    (void)state;
    hone_out       out;
    hone_out_judge judge = { NULL, NULL };
    assert_int_equal(hone_out_open(at("shared"), 4, &out, NULL), HONE_OK);
    assert_true(hone_out_enter(&out));
    assert_false(hone_out_enter(&out));
    assert_int_equal(hone_out_write(&out, 0, "here", 4, NULL), HONE_OK); /* who will wait may write all the same */
    hone_out_leave(&out);
    assert_true(hone_out_enter(&out));
    hone_out_leave(&out);
    assert_int_equal(hone_out_commit(&out, NULL, NULL, NULL), HONE_OK);
    holds("shared", "here");
    assert_int_equal(hone_out_compare(at("shared"), &judge, &out, NULL), HONE_OK);
    assert_true(hone_out_enter(&out));
    assert_true(hone_out_enter(&out)); /* comparing is reading */
    assert_int_equal(hone_out_write(&out, 0, "here", 4, NULL), HONE_OK);
    hone_out_discard(&out);
}

static void what_is_named_can_be_taken_back(void **state)
{
    hone_out o = { .fd = -1 }, second = { .fd = -1 };
    hone_err err = { 0 };
    (void)state;
    for (int there = 0; there < 2; there++) {
        if (there) put("back", "old");
        assert_int_equal(hone_out_open(at("back"), 0, &o, &err), HONE_OK);
        assert_int_equal(hone_out_write(&o, 0, "new", 3, &err), HONE_OK);
        assert_int_equal(hone_out_seal(&o, NULL, NULL, &err), HONE_OK);
        assert_int_equal(hone_out_name(&o, &err), HONE_OK);
        holds("back", "new");
        if (there) { /* what it replaced waits under the temporary name, and is nobody's to take over */
            assert_int_equal(hone_out_open(at("back"), 0, &second, &err), HONE_ERESOURCE);
            holds("back.tmp", "old");
        }
        assert_true(hone_out_take_back(&o));
        hone_out_discard(&o);
        assert_false(hone_file_exists(at("back.tmp")));
        if (there) holds("back", "old");
        else assert_false(hone_file_exists(at("back")));
    }
}

static void what_a_killed_run_replaced_keeps_its_other_names(void **state)
{
    hone_out o = { .fd = -1 };
    hone_err err = { 0 };
    (void)state;
    put("backup", "old");
    assert_int_equal(link(at("backup"), at("again.tmp")), 0);
    assert_int_equal(chmod(at("backup"), 0444), 0);
    assert_int_equal(hone_out_open(at("again"), 2, &o, &err), HONE_OK);
    assert_int_equal(hone_out_write(&o, 0, "it", 2, &err), HONE_OK);
    assert_int_equal(hone_out_commit(&o, NULL, NULL, &err), HONE_OK);
    holds("again", "it");
    holds("backup", "old");
}

static void a_folder_that_came_in_between_stays(void **state)
{
    hone_out o = { .fd = -1 };
    hone_err err = { 0 };
    (void)state;
    assert_int_equal(hone_out_open(at("came"), 0, &o, &err), HONE_OK);
    assert_int_equal(hone_dir_make(at("came"), &err), HONE_OK);
    assert_int_equal(hone_out_commit(&o, NULL, NULL, &err), HONE_ERESOURCE);
    assert_non_null(strstr(err.cause, "came': Is a directory"));
    assert_true(hone_dir_exists(at("came")));
    assert_false(hone_file_exists(at("came.tmp")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_shrank_is_bad_input_not_a_signal),
        cmocka_unit_test(folders_fifos_and_nothing_are_named),
        cmocka_unit_test(names_that_leave_the_folder_are_refused),
        cmocka_unit_test(a_refused_output_leaves_the_old_file_and_no_tmp),
        cmocka_unit_test(two_writers_of_one_path_do_not_mix),
        cmocka_unit_test(a_finished_file_is_never_emptied_by_the_next_writer),
        cmocka_unit_test(what_stands_in_the_way_of_an_output_is_named_before_the_work),
        cmocka_unit_test(what_was_never_written_reads_as_zero),
        cmocka_unit_test(one_thread_at_a_time_enters_a_file),
        cmocka_unit_test(what_is_named_can_be_taken_back),
        cmocka_unit_test(what_a_killed_run_replaced_keeps_its_other_names),
        cmocka_unit_test(a_folder_that_came_in_between_stays),
        cmocka_unit_test(digests_are_those_of_the_standard),
        cmocka_unit_test(a_path_under_a_file_cannot_be_made),
        cmocka_unit_test(folders_that_were_made_for_nothing_go_again),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
