#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "flow/variant.h"
#include <dirent.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void variant_assemble(const char *name, const char *to)
{
    char         path[1024], link[1024];
    json_error_t e;
    snprintf(path, sizeof path, VARIANT_FOLDER "/%s/variant.json", name);
    json_t *variant = json_load_file(path, 0, &e);
    assert_non_null(variant);
    char base[512];
    snprintf(base, sizeof base, "%s/%s", HONE_TEST_SOURCE_DIR, json_string_value(json_object_get(variant, "base")));
    assert_int_equal(mkdir(to, 0755), 0);
    DIR *d = opendir(base);
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));) {
        bool weights = strcmp(f->d_name, "model.safetensors") == 0;
        if (f->d_name[0] == '.' || strcmp(f->d_name, "config.json") == 0) continue;
        if (weights && json_is_true(json_object_get(variant, "own_weights"))) snprintf(path, sizeof path, VARIANT_FOLDER "/%s/model.safetensors", name);
        else snprintf(path, sizeof path, "%s/%s", base, f->d_name);
        snprintf(link, sizeof link, "%s/%s", to, f->d_name);
        assert_int_equal(symlink(path, link), 0);
    }
    closedir(d);
    snprintf(path, sizeof path, "%s/config.json", base);
    json_t *config = json_load_file(path, 0, &e);
    assert_non_null(config);
    assert_int_equal(json_object_update(config, json_object_get(variant, "config")), 0);
    snprintf(path, sizeof path, "%s/config.json", to);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    json_decref(variant);
}
