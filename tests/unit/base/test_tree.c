/* The digest of a folder is that of its list, whatever order the file system gives; that of a file is its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "base/tree.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/hone-tree-XXXXXX";

static void put(const char *name, const char *text)
{
    char     path[96];
    hone_err err = { 0 };
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    if (hone_out_put(path, text, strlen(text), &err) != HONE_OK) fail_msg("%s", err.cause);
}

static void a_folder_is_the_list_of_its_files(void **state)
{
    char       hex[65], one[65], want[65], list[400] = "", path[96];
    hone_err   err = { 0 };
    static const char *const names[] = { "B", "a", "c/d" }; /* in byte order */
    (void)state;
    (void)snprintf(path, sizeof path, "%s/c", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 3; i-- > 0;) put(names[i], names[i]);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(hone_sha256((hone_bytes){ (const uint8_t *)names[i], strlen(names[i]) }, one, &err), HONE_OK);
        (void)snprintf(list + strlen(list), sizeof list - strlen(list), "%s  %s\n", one, names[i]);
    }
    assert_int_equal(hone_sha256((hone_bytes){ (const uint8_t *)list, strlen(list) }, want, &err), HONE_OK);
    assert_int_equal(hone_sha256_tree(dir, hex, &err), HONE_OK);
    assert_string_equal(hex, want);
    put("a", "other");
    assert_int_equal(hone_sha256_tree(dir, hex, &err), HONE_OK);
    assert_string_not_equal(hex, want);
}

static void a_file_is_its_own(void **state)
{
    char     path[96], hex[65], want[65];
    hone_err err = { 0 };
    (void)state;
    (void)snprintf(path, sizeof path, "%s/B", dir);
    assert_int_equal(hone_sha256_tree(path, hex, &err), HONE_OK);
    assert_int_equal(hone_sha256_file(path, want, &err), HONE_OK);
    assert_string_equal(hex, want);
    (void)snprintf(path, sizeof path, "%s/none", dir);
    assert_int_equal(hone_sha256_tree(path, hex, &err), HONE_EINPUT);
}

static int make(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int clean(void **state)
{
    static const char *const names[] = { "a", "B", "c/d", "c", "." };
    char                     path[96];
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)(i < 3 ? unlink(path) : rmdir(i == 4 ? dir : path));
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_folder_is_the_list_of_its_files), cmocka_unit_test(a_file_is_its_own) };
    return cmocka_run_group_tests(tests, make, clean);
}
