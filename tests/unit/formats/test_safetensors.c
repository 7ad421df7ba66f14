#include "formats/safetensors.h"
#include "formats/scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define ONE_U8(name) "{\"" name "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}"

static void put_tensors(const scratch *s, const char *name, const char *json, size_t data_len)
{
    size_t   n;
    uint8_t *f = scratch_safetensors(json, data_len, &n);
    scratch_put(s, name, f, n);
    free(f);
}

static void put_text(const scratch *s, const char *name, const char *text) { scratch_put(s, name, text, strlen(text)); }

/* The cause must be want with %s standing for the scratch folder. */
static void refused(const scratch *s, const char *name, hone_code want_code, const char *want)
{
    char         path[256], cause[600] = "";
    hone_arena   a = { 0 };
    hone_err     err = { 0 };
    hone_source *src = NULL;
    const char  *at = strstr(want, "%s");
    if (at) (void)snprintf(cause, sizeof cause, "%.*s%s%s", (int)(at - want), want, s->dir, at + 2);
    else (void)snprintf(cause, sizeof cause, "%s", want);
    hone_code code = hone_safetensors_open(scratch_path(s, name, path), &a, &src, &err);
    assert_string_equal(err.cause, cause);
    assert_int_equal(code, want_code);
    assert_null(src);
    hone_arena_release(&a);
}

static void a_checkpoint_folder_opens_and_its_bytes_are_read(void **state)
{
    const scratch *s = *state;
    hone_arena     a = { 0 };
    hone_err       err = { 0 };
    hone_source   *src = NULL;
    uint8_t        two[2] = { 0 };
    char           path[256];
    put_tensors(s, "model.safetensors",
                "{\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[4,7]}}", 7);
    assert_int_equal(hone_safetensors_open(scratch_path(s, "", path), &a, &src, &err), HONE_OK);
    assert_int_equal(src->n_tensors, 2);
    assert_string_equal(src->tensors[0].name, "a"); /* sorted by name */
    const hone_tensor *t = hone_source_find(src, "a");
    assert_ptr_equal(t, &src->tensors[0]);
    assert_int_equal(src->read(src, t, 1, two, 2, &err), HONE_OK);
    assert_int_equal(two[0], 5);
    assert_int_equal(two[1], 6);
    assert_int_equal(src->n_files, 1);
    src->close(src);
    hone_arena_release(&a);
}

static void a_file_that_shrinks_while_it_is_read_is_bad_input(void **state)
{
    const scratch *s = *state;
    hone_arena     a = { 0 };
    hone_err       err = { 0 };
    hone_source   *src = NULL;
    uint8_t        four[4];
    char           path[256];
    put_tensors(s, "model.safetensors", ONE_U8("w"), 4);
    assert_int_equal(hone_safetensors_open(scratch_path(s, "model.safetensors", path), &a, &src, &err), HONE_OK);
    assert_int_equal(truncate(path, 20), 0);
    assert_int_equal(src->read(src, &src->tensors[0], 0, four, 4, &err), HONE_EINPUT);
    src->close(src);
    hone_arena_release(&a);
}

static void shards_of_an_index_make_one_source(void **state)
{
    const scratch *s = *state;
    hone_arena     a = { 0 };
    hone_err       err = { 0 };
    hone_source   *src = NULL;
    char           path[256];
    uint8_t        b = 0;
    put_tensors(s, "parts/x-00001-of-00002.safetensors", ONE_U8("w"), 4);
    put_tensors(s, "x-00002-of-00002.safetensors", ONE_U8("v"), 4);
    put_text(s, "model.safetensors.index.json",
             "{\"metadata\":{\"total_size\":8},\"weight_map\":{\"w\":\"parts/x-00001-of-00002.safetensors\",\"v\":\"x-00002-of-00002.safetensors\"}}");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hone_safetensors_open(scratch_path(s, i ? "" : "model.safetensors.index.json", path), &a, &src, &err), HONE_OK);
        assert_int_equal(src->n_files, 2);
        assert_int_equal(src->n_tensors, 2);
        const hone_tensor *w = hone_source_find(src, "w");
        assert_non_null(strstr(src->files[w->file], "x-00001-of-00002.safetensors"));
        assert_int_equal(src->read(src, w, 3, &b, 1, &err), HONE_OK);
        assert_int_equal(b, 3);
        src->close(src);
    }
    hone_arena_release(&a);
}

/* The hub's cache folder: names are links into ../../blobs. */
static void links_into_a_blob_store_are_followed(void **state)
{
    const scratch *s = *state;
    hone_arena     a = { 0 };
    hone_err       err = { 0 };
    hone_source   *src = NULL;
    char           path[256];
    put_tensors(s, "blobs/0123abcd", ONE_U8("w"), 4);
    put_text(s, "snapshots/main/config.json", "{}");
    assert_int_equal(symlink("../../blobs/0123abcd", scratch_path(s, "snapshots/main/model.safetensors", path)), 0);
    assert_int_equal(hone_safetensors_open(scratch_path(s, "snapshots/main", path), &a, &src, &err), HONE_OK);
    assert_int_equal(src->n_tensors, 1);
    src->close(src);
    hone_arena_release(&a);
}

static void an_index_cannot_point_outside_its_folder(void **state)
{
    const scratch *s = *state;
    put_tensors(s, "secret.safetensors", ONE_U8("w"), 4);
    put_text(s, "m/a.index.json", "{\"weight_map\":{\"w\":\"../secret.safetensors\"}}");
    refused(s, "m/a.index.json", HONE_EINPUT, "'%s/m/a.index.json': file name '../secret.safetensors' points outside its folder");
    put_text(s, "m/b.index.json", "{\"weight_map\":{\"w\":\"/etc/passwd\"}}");
    refused(s, "m/b.index.json", HONE_EINPUT, "'%s/m/b.index.json': file name '/etc/passwd' points outside its folder");
    put_text(s, "m/c.index.json", "{\"weight_map\":{\"w\":\"x/../../secret.safetensors\"}}");
    refused(s, "m/c.index.json", HONE_EINPUT, "'%s/m/c.index.json': file name 'x/../../secret.safetensors' points outside its folder");
    put_text(s, "m/d.index.json", "{\"weight_map\":{\"w\":\"\"}}");
    refused(s, "m/d.index.json", HONE_EINPUT, "'%s/m/d.index.json': file name '' points outside its folder");
}

static void index_and_shards_must_agree(void **state)
{
    const scratch *s = *state;
    put_tensors(s, "one.safetensors", ONE_U8("w"), 4);
    put_tensors(s, "two.safetensors", ONE_U8("v"), 4);
    put_tensors(s, "twin.safetensors", ONE_U8("w"), 4);
    put_text(s, "a.json", "{\"weight_map\":{\"w\":\"two.safetensors\",\"v\":\"one.safetensors\"}}");
    refused(s, "a.json", HONE_EINPUT, "\"weight_map\" puts tensor 'w' into 'two.safetensors', which lacks it");
    put_text(s, "b.json", "{\"weight_map\":{\"w\":\"one.safetensors\",\"u\":\"one.safetensors\"}}");
    refused(s, "b.json", HONE_EINPUT, "\"weight_map\" puts tensor 'u' into 'one.safetensors', which lacks it");
    put_text(s, "c.json", "{\"weight_map\":{\"w\":\"one.safetensors\",\"z\":\"twin.safetensors\"}}");
    refused(s, "c.json", HONE_EINPUT, "tensor 'w' stands in 'one.safetensors' and in 'twin.safetensors'");
    put_tensors(s, "more.safetensors",
                "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"extra\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2);
    put_text(s, "d.json", "{\"weight_map\":{\"w\":\"more.safetensors\"}}");
    refused(s, "d.json", HONE_EINPUT, "'more.safetensors' holds tensor 'extra', which \"weight_map\" does not name");
    put_text(s, "e.json", "{\"weight_map\":{\"w\":\"one.safetensors\",\"v\":\"gone.safetensors\"}}");
    refused(s, "e.json", HONE_EINPUT, "'%s/e.json': shard 'gone.safetensors' is missing");
}

static void a_bad_index_is_refused(void **state)
{
    const scratch *s = *state;
    put_text(s, "a.json", "{\"metadata\":{}}");
    refused(s, "a.json", HONE_EINPUT, "'%s/a.json': has no object \"weight_map\"");
    put_text(s, "b.json", "{\"weight_map\":{}}");
    refused(s, "b.json", HONE_EINPUT, "'%s/b.json': \"weight_map\" is empty");
    put_text(s, "c.json", "{\"weight_map\":{\"w\":3}}");
    refused(s, "c.json", HONE_EINPUT, "'%s/c.json': \"weight_map\" gives no file name for 'w'");
    put_text(s, "d.json", "{\"weight_map\":{\"w\":\"a\\u0000b\"}}");
    refused(s, "d.json", HONE_EINPUT, "'%s/d.json': \"weight_map\" gives no file name for 'w'");
    put_text(s, "e.json", "[]");
    refused(s, "e.json", HONE_EINPUT, "'%s/e.json': has no object \"weight_map\"");
}

static void folders_without_safetensors_say_what_is_missing(void **state)
{
    const scratch *s = *state;
    put_text(s, "empty/config.json", "{}");
    refused(s, "empty", HONE_EINPUT, "folder '%s/empty' has neither model.safetensors nor model.safetensors.index.json");
    put_text(s, "old/pytorch_model.bin", "PK");
    refused(s, "old", HONE_EUNSUPPORTED, "folder '%s/old' has 'pytorch_model.bin' and no model.safetensors");
    refused(s, "nowhere", HONE_EINPUT, "cannot open '%s/nowhere': No such file or directory");
}

static void a_bad_shard_is_named(void **state)
{
    const scratch *s = *state;
    put_tensors(s, "model.safetensors", ONE_U8("w"), 3);
    refused(s, "", HONE_EINPUT, "'%s/model.safetensors': tensor 'w' lies at 0..4, the data has 3 bytes");
    put_text(s, "model.safetensors", "");
    refused(s, "", HONE_EINPUT, "'%s/model.safetensors': file has 0 bytes, needs 9");
}

static void real_checkpoints_open(void **state)
{
    static const char *const names[] = { "llama", "bert", "phi3", "qwen3_moe", "gpt2" };
    (void)state;
    for (size_t i = 0; i < HONE_COUNT(names); i++) {
        char         path[512];
        hone_arena   a = { 0 };
        hone_err     err = { 0 };
        hone_source *src = NULL;
        (void)snprintf(path, sizeof path, "%s/tests/golden/tiny/%s", HONE_TEST_SOURCE_DIR, names[i]);
        if (hone_safetensors_open(path, &a, &src, &err) != HONE_OK) fail_msg("%s: %s", names[i], err.cause);
        uint64_t total = 0;
        for (size_t k = 0; k < src->n_tensors; k++) total += src->tensors[k].bytes;
        assert_true(src->n_tensors > 10 && total > 100000);
        src->close(src);
        hone_arena_release(&a);
    }
}

int main(void)
{
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_checkpoint_folder_opens_and_its_bytes_are_read),
        WITH_FOLDER(a_file_that_shrinks_while_it_is_read_is_bad_input),
        WITH_FOLDER(shards_of_an_index_make_one_source),
        WITH_FOLDER(links_into_a_blob_store_are_followed),
        WITH_FOLDER(an_index_cannot_point_outside_its_folder),
        WITH_FOLDER(index_and_shards_must_agree),
        WITH_FOLDER(a_bad_index_is_refused),
        WITH_FOLDER(folders_without_safetensors_say_what_is_missing),
        WITH_FOLDER(a_bad_shard_is_named),
        cmocka_unit_test(real_checkpoints_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
