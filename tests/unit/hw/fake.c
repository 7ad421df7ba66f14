#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/scratch.h"
#include "hw/fake.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static scratch       here;
static char          proc[256], sys[256], dev[256];
static hone_hw_roots roots;

void fake_open(void)
{
    scratch_open(&here);
    roots = (hone_hw_roots){ .proc = scratch_path(&here, "proc", proc), .sys = scratch_path(&here, "sys", sys),
                             .dev = scratch_path(&here, "dev", dev) };
}

void fake_close(void) { scratch_close(&here); }

const hone_hw_roots *fake_roots(void) { return &roots; }

void fake_put(const char *path, const char *text) { scratch_put(&here, path, text, strlen(text)); }

void fake_link(const char *path, const char *target)
{
    char at[256], beside[256];
    /* A file beside it makes the folders. */
    (void)snprintf(beside, sizeof beside, "%.200s.made", path);
    scratch_put(&here, beside, "", 0);
    (void)unlink(scratch_path(&here, beside, at));
    if (symlink(target, scratch_path(&here, path, at)) != 0) {
        perror(at);
        exit(70);
    }
}

json_t *fake_probe(hone_hw_probe_fn run)
{
    json_t  *out = NULL;
    hone_err err = { 0 };
    assert_int_equal(run(&(hone_hw_query){ .roots = &roots, .folder = here.dir }, &out, &err), HONE_OK);
    assert_non_null(out);
    return out;
}

void fake_is_str(const json_t *o, const char *key, const char *want)
{
    const char *s = json_string_value(json_object_get(o, key));
    assert_non_null(s);
    assert_string_equal(s, want);
}

void fake_is_int(const json_t *o, const char *key, long long want)
{
    assert_true(json_is_integer(json_object_get(o, key)));
    assert_int_equal(json_integer_value(json_object_get(o, key)), want);
}

void fake_is_absent(const json_t *o, const char *key, const char *why)
{
    assert_true(json_is_null(json_object_get(o, key)));
    fake_is_str(json_object_get(o, "not_measured"), key, why);
}
