/* What was added survives, what was held back does not, and a file of somebody else is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "flow/history.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/hone-history.XXXXXX", path[64];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir)) return 1;
    (void)snprintf(path, sizeof path, "%s/history.db", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static int fresh(void **state)
{
    (void)state;
    (void)unlink(path);
    return 0;
}

static hone_history *open_it(void)
{
    hone_history *h = NULL;
    hone_err      err = { 0 };
    if (hone_history_open(path, &h, &err) != HONE_OK) fail_msg("%s", err.cause);
    return h;
}

static int64_t begin(hone_history *h)
{
    int64_t  run = 0;
    hone_err err = { 0 };
    json_t  *machine = json_pack("{s:s}", "cpu", "test");
    assert_int_equal(hone_history_begin(h, "hone optimize 'it''s'", "src \"quoted\"", "host", machine, &run, &err), HONE_OK);
    json_decref(machine);
    return run;
}

static void add(hone_history *h, int64_t run, const char *key, int value)
{
    hone_err err = { 0 };
    json_t  *r = json_pack("{s:i}", "value", value);
    if (hone_history_add(h, run, key, "eval", "a.gguf", "00", r, &err) != HONE_OK) fail_msg("%s", err.cause);
    json_decref(r);
}

/* -1: there is none */
static int find(hone_history *h, const char *key)
{
    hone_err err = { 0 };
    json_t  *r = NULL;
    if (hone_history_find(h, key, &r, &err) != HONE_OK) fail_msg("%s", err.cause);
    int v = r ? (int)json_integer_value(json_object_get(r, "value")) : -1;
    json_decref(r);
    return v;
}

static void the_newest_result_under_a_key_is_found(void **state)
{
    (void)state;
    hone_history *h = open_it();
    int64_t       run = begin(h);
    assert_int_equal(find(h, "k"), -1);
    add(h, run, "k", 1);
    add(h, run, "other", 2);
    add(h, run, "k", 3);
    assert_int_equal(find(h, "k"), 3);
    assert_int_equal(find(h, "other"), 2);
    hone_history_close(h);
    h = open_it();
    assert_int_equal(find(h, "k"), 3);
    hone_history_close(h);
}

static void a_row_survives_the_death_of_its_process(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        hone_history *h = open_it();
        int64_t       run = begin(h);
        add(h, run, "kept", 7);
        if (hone_history_hold(h, NULL) != HONE_OK) _exit(1);
        add(h, run, "held", 8);
        (void)kill(getpid(), SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    hone_history *h = open_it();
    assert_int_equal(find(h, "kept"), 7);
    assert_int_equal(find(h, "held"), -1); /* a set is stored whole or not at all */
    hone_history_close(h);
    char journal[80];
    (void)snprintf(journal, sizeof journal, "%s-journal", path);
    (void)unlink(journal);
}

static void a_set_that_fails_leaves_no_row_and_the_next_one_works(void **state)
{
    (void)state;
    hone_err      err = { 0 };
    hone_history *h = open_it();
    int64_t       run = begin(h);
    assert_int_equal(hone_history_hold(h, &err), HONE_OK);
    add(h, run, "a", 1);
    assert_int_equal(hone_history_settle(h, HONE_ERUNTIME, &err), HONE_ERUNTIME);
    assert_int_equal(find(h, "a"), -1);
    assert_int_equal(hone_history_hold(h, &err), HONE_OK);
    add(h, run, "a", 2);
    add(h, run, "b", 3);
    assert_int_equal(hone_history_settle(h, HONE_OK, &err), HONE_OK);
    assert_int_equal(find(h, "a"), 2);
    assert_int_equal(find(h, "b"), 3);
    hone_history_close(h);
}

static void runs_are_listed_newest_first_with_what_they_measured(void **state)
{
    (void)state;
    hone_err      err = { 0 };
    json_t       *list = NULL, *summary = json_pack("{s:s}", "quantization", "q4_k_m"), *nothing = json_null();
    hone_history *h = open_it();
    int64_t       one = begin(h), two = begin(h), three = begin(h);
    add(h, one, "k", 1);
    add(h, two, "l", 2);
    add(h, two, "m", 3);
    assert_int_equal(hone_history_end(h, one, "pass", summary, &err), HONE_OK);
    assert_int_equal(hone_history_end(h, two, "no", nothing, &err), HONE_OK); /* nothing was chosen */
    json_decref(summary);
    assert_int_equal(hone_history_list(h, 2, true, &list, &err), HONE_OK);
    json_t *runs = json_object_get(list, "runs"), *second = json_array_get(runs, 1), *m = json_object_get(second, "measurements");
    assert_int_equal(json_array_size(runs), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(runs, 0), "id")), three);
    assert_true(json_is_null(json_object_get(json_array_get(runs, 0), "ended")));
    assert_true(json_is_null(json_object_get(json_array_get(runs, 0), "verdict")));
    assert_string_equal(json_string_value(json_object_get(second, "verdict")), "no");
    assert_string_equal(json_string_value(json_object_get(second, "command")), "hone optimize 'it''s'");
    assert_string_equal(json_string_value(json_object_get(second, "source")), "src \"quoted\"");
    assert_true(json_is_null(json_object_get(second, "summary")));
    assert_int_equal(json_array_size(m), 2);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json_array_get(m, 1), "result"), "value")), 3);
    json_decref(list);
    assert_int_equal(hone_history_list(h, 20, false, &list, &err), HONE_OK);
    json_t *first = json_array_get(json_object_get(list, "runs"), 2);
    assert_string_equal(json_string_value(json_object_get(json_object_get(first, "summary"), "quantization")), "q4_k_m");
    assert_null(json_object_get(json_array_get(json_object_get(first, "measurements"), 0), "result"));
    json_decref(list);
    hone_history_close(h);
}

static void refuse(hone_code code, const char *cause)
{
    hone_err      err = { 0 };
    hone_history *h = NULL;
    assert_int_equal(hone_history_open(path, &h, &err), code);
    assert_null(h);
    if (!strstr(err.cause, cause)) fail_msg("'%s' holds no '%s'", err.cause, cause);
}

static void run_sql(const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_file_of_somebody_else_is_refused_and_untouched(void **state)
{
    (void)state;
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 300; i++) (void)fputs("no database at all, ", f);
    assert_int_equal(fclose(f), 0);
    refuse(HONE_EINPUT, "file is not a database");
    (void)unlink(path);
    run_sql("CREATE TABLE cookies (x)");
    refuse(HONE_EINPUT, "is a database of another program");
    run_sql("DROP TABLE cookies"); /* it was still there */
}

static void a_history_of_another_version_is_refused(void **state)
{
    (void)state;
    hone_history_close(open_it());
    run_sql("PRAGMA user_version=99");
    refuse(HONE_EUNSUPPORTED, "has version 99, this hone reads 1");
}

static void a_row_that_is_no_json_is_bad_input(void **state)
{
    (void)state;
    hone_err      err = { 0 };
    json_t       *r = NULL;
    hone_history *h = open_it();
    add(h, begin(h), "k", 1);
    hone_history_close(h);
    run_sql("UPDATE measurement SET result='{\"value\": '");
    h = open_it();
    assert_int_equal(hone_history_find(h, "k", &r, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "a row of the history"));
    assert_null(r);
    hone_history_close(h);
}

static void a_folder_that_cannot_be_written_is_a_matter_of_resources(void **state)
{
    (void)state;
    hone_err      err = { 0 };
    hone_history *h = NULL;
    assert_int_equal(hone_history_open("/proc/history.db", &h, &err), HONE_ERESOURCE);
    assert_non_null(strstr(err.cause, "'/proc/history.db'"));
}

static void reading_makes_and_changes_nothing(void **state)
{
    hone_err      err = { 0 };
    hone_history *h = NULL;
    (void)state;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(hone_history_read(path, &h, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "is empty: no run was stored there"));
    f = fopen(path, "rb");
    assert_int_equal(fgetc(f), EOF);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(remove(path), 0);
    assert_int_equal(hone_history_read(path, &h, &err), HONE_ERESOURCE);
    assert_null(h);
    assert_null(fopen(path, "rb"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_newest_result_under_a_key_is_found, fresh),
        cmocka_unit_test_setup(a_row_survives_the_death_of_its_process, fresh),
        cmocka_unit_test_setup(a_set_that_fails_leaves_no_row_and_the_next_one_works, fresh),
        cmocka_unit_test_setup(runs_are_listed_newest_first_with_what_they_measured, fresh),
        cmocka_unit_test_setup(a_file_of_somebody_else_is_refused_and_untouched, fresh),
        cmocka_unit_test_setup(a_history_of_another_version_is_refused, fresh),
        cmocka_unit_test_setup(a_row_that_is_no_json_is_bad_input, fresh),
        cmocka_unit_test_setup(a_folder_that_cannot_be_written_is_a_matter_of_resources, fresh),
        cmocka_unit_test_setup(reading_makes_and_changes_nothing, fresh),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
