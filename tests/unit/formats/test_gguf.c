#include "formats/gguf.h"
#include "formats/scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

typedef struct part { /* of a file put together by our writer; every tensor holds 8 bytes of its number */
    const char *file;
    const char *tensors[4];
    uint32_t    no, count, promised; /* count 0: not a split */
    size_t      pad_key;             /* bytes of a filler string, for long headers */
} part;

static void put_part(const scratch *s, const part *p)
{
    hone_arena        a = { 0 };
    hone_err          err = { 0 };
    hone_gguf_writer *w;
    uint64_t          offsets[4] = { 0 }, total;
    hone_bytes        head;
    size_t            n = 0;
    assert_int_equal(hone_gguf_writer_new(&a, &w, &err), HONE_OK);
    if (p->no == 0) assert_int_equal(hone_gguf_put_str(w, "general.architecture", "llama", &err), HONE_OK);
    if (p->pad_key) {
        char *fill = malloc(p->pad_key);
        assert_non_null(fill);
        memset(fill, 'x', p->pad_key);
        assert_int_equal(hone_gguf_put_strn(w, "fill", fill, p->pad_key, &err), HONE_OK);
        free(fill);
    }
    if (p->count) {
        assert_int_equal(hone_gguf_put_u32(w, "split.no", p->no, &err), HONE_OK);
        assert_int_equal(hone_gguf_put_u32(w, "split.count", p->count, &err), HONE_OK);
        assert_int_equal(hone_gguf_put_i32(w, "split.tensors.count", (int32_t)p->promised, &err), HONE_OK);
    }
    for (; n < 4 && p->tensors[n]; n++) assert_int_equal(hone_gguf_put_tensor(w, p->tensors[n], HONE_DTYPE_F32, 1, (uint64_t[]){ 2 }, &err), HONE_OK);
    assert_int_equal(hone_gguf_layout(w, offsets, &total, &head, &err), HONE_OK);
    uint8_t *file = calloc(1, (size_t)total);
    assert_non_null(file);
    memcpy(file, head.ptr, head.len);
    for (size_t i = 0; i < n; i++) memset(file + offsets[i], (int)(16 * p->no + i + 1), 8);
    scratch_put(s, p->file, file, (size_t)total);
    free(file);
    hone_arena_release(&a);
}

/* The cause must be want with each %s standing for the scratch folder. */
static void refused(const scratch *s, const char *name, const char *want)
{
    char       path[256], cause[600];
    hone_arena a = { 0 };
    hone_err   err = { 0 };
    hone_gguf  g = { .version = 77 };
    size_t     len = 0;
    for (const char *p = want; *p;) {
        bool here = p[0] == '%' && p[1] == 's';
        int  put = here ? snprintf(cause + len, sizeof cause - len, "%s", s->dir) : snprintf(cause + len, sizeof cause - len, "%c", *p);
        len += (size_t)put;
        p += here ? 2 : 1;
    }
    hone_code code = hone_gguf_open(scratch_path(s, name, path), &a, &g, &err);
    assert_string_equal(err.cause, cause);
    assert_int_equal(code, HONE_EINPUT);
    assert_int_equal(g.version, 77);
    hone_arena_release(&a);
}

static void expect_byte(const hone_gguf *g, const char *name, uint8_t want)
{
    const hone_tensor *t = hone_source_find(g->source, name);
    uint8_t            b[8] = { 0 };
    hone_err           err = { 0 };
    assert_non_null(t);
    assert_int_equal(g->source->read(g->source, t, 0, b, 8, &err), HONE_OK);
    assert_int_equal(b[0], want);
    assert_int_equal(b[7], want);
}

static void a_file_opens_and_its_tensors_are_read(void **state)
{
    char       path[256];
    hone_arena a = { 0 };
    hone_err   err = { 0 };
    hone_gguf  g;
    put_part(*state, &(part){ .file = "m.gguf", .tensors = { "w", "v" } });
    if (hone_gguf_open(scratch_path(*state, "m.gguf", path), &a, &g, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(g.source->n_tensors, 2);
    assert_string_equal(g.source->tensors[0].name, "v"); /* sorted */
    expect_byte(&g, "w", 1);
    expect_byte(&g, "v", 2);
    g.source->close(g.source);
    hone_arena_release(&a);
}

static void a_header_longer_than_the_first_read_is_found(void **state)
{
    char       path[256];
    hone_arena a = { 0 };
    hone_err   err = { 0 };
    hone_gguf  g;
    put_part(*state, &(part){ .file = "m.gguf", .tensors = { "w" }, .pad_key = 20u << 20 });
    if (hone_gguf_open(scratch_path(*state, "m.gguf", path), &a, &g, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(hone_gguf_find(&g, "fill")->as.s.len, 20u << 20);
    expect_byte(&g, "w", 1);
    g.source->close(g.source);
    hone_arena_release(&a);
}

static void any_part_of_a_split_opens_all(void **state)
{
    static const char *const names[] = { "m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf" };
    put_part(*state, &(part){ .file = names[0], .tensors = { "a", "z" }, .no = 0, .count = 3, .promised = 4 });
    put_part(*state, &(part){ .file = names[1], .tensors = { "m" }, .no = 1, .count = 3, .promised = 4 });
    put_part(*state, &(part){ .file = names[2], .tensors = { "b" }, .no = 2, .count = 3, .promised = 4 });
    for (int i = 0; i < 3; i++) {
        char       path[256];
        hone_arena a = { 0 };
        hone_err   err = { 0 };
        hone_gguf  g;
        if (hone_gguf_open(scratch_path(*state, names[i], path), &a, &g, &err) != HONE_OK) fail_msg("%s", err.cause);
        assert_int_equal(g.source->n_tensors, 4);
        assert_int_equal(g.source->n_files, 3);
        assert_non_null(hone_gguf_find(&g, "general.architecture")); /* keys are those of the first part */
        expect_byte(&g, "a", 1);
        expect_byte(&g, "z", 2);
        expect_byte(&g, "m", 17);
        expect_byte(&g, "b", 33);
        g.source->close(g.source);
        hone_arena_release(&a);
    }
}

static void bad_splits_are_refused(void **state)
{
    const scratch *s = *state;
    put_part(s, &(part){ .file = "m.gguf", .tensors = { "a" }, .no = 0, .count = 2, .promised = 2 });
    refused(s, "m.gguf", "'%s/m.gguf' says that it is part 1 of 2, its name does not end in '-00001-of-00002.gguf'");
    put_part(s, &(part){ .file = "n-00001-of-00002.gguf", .tensors = { "a" }, .no = 0, .count = 2, .promised = 2 });
    refused(s, "n-00001-of-00002.gguf", "cannot open '%s/n-00002-of-00002.gguf': No such file or directory");
    put_part(s, &(part){ .file = "n-00002-of-00002.gguf", .tensors = { "a" }, .no = 1, .count = 2, .promised = 2 });
    refused(s, "n-00001-of-00002.gguf", "tensor 'a' stands in 'n-00001-of-00002.gguf' and in 'n-00002-of-00002.gguf'");
    put_part(s, &(part){ .file = "n-00002-of-00002.gguf", .tensors = { "b", "c" }, .no = 1, .count = 2, .promised = 2 });
    refused(s, "n-00001-of-00002.gguf", "'%s/n-00001-of-00002.gguf' promises 2 tensors, its 2 parts hold 3");
    put_part(s, &(part){ .file = "n-00002-of-00002.gguf", .tensors = { "b" }, .no = 0, .count = 2, .promised = 2 });
    refused(s, "n-00001-of-00002.gguf", "'%s/n-00002-of-00002.gguf' says that it is part 1 of 2, its name says 2 of 2");
    put_part(s, &(part){ .file = "h.gguf", .tensors = { "a" }, .no = 0, .count = 4000000000u, .promised = 2 });
    refused(s, "h.gguf", "'%s/h.gguf' says that it is part 1 of 4000000000, hone opens up to 1000");
    put_part(s, &(part){ .file = "k.gguf", .tensors = { "a" }, .no = 5, .count = 2, .promised = 2 });
    refused(s, "k.gguf", "'%s/k.gguf' says that it is part 6 of 2, hone opens up to 1000");
}

static void a_lying_length_does_not_make_us_read_forever(void **state)
{
    const scratch *s = *state;
    blob           b = { 0 };
    blob_bytes(&b, "GGUF", 4);
    blob_u32(&b, 3);
    blob_u64(&b, 0);
    blob_u64(&b, 1);
    blob_str(&b, "k");
    blob_u32(&b, 8);
    blob_u64(&b, 1u << 30);
    scratch_put(s, "m.gguf", b.ptr, b.len);
    refused(s, "m.gguf", "'%s/m.gguf': key 'k' at byte 45 needs 1073741824 bytes, the file ends after 0");
    free(b.ptr);
}

/* gguf-split writes the numbers of a split as u16. */
static void a_split_number_may_have_any_width(void **state)
{
    char       path[256];
    hone_arena a = { 0 };
    hone_err   err = { 0 };
    hone_gguf  g;
    for (uint32_t no = 0; no < 2; no++) {
        blob b = { 0 };
        blob_bytes(&b, "GGUF", 4);
        blob_u32(&b, 3);
        blob_u64(&b, 0);
        blob_u64(&b, 2);
        blob_str(&b, "split.count");
        blob_u32(&b, 2); /* u16 */
        blob_bytes(&b, "\2", 2);
        blob_str(&b, "split.no");
        blob_u32(&b, 0); /* u8 */
        blob_u8(&b, (uint8_t)no);
        scratch_put(*state, no ? "m-00002-of-00002.gguf" : "m-00001-of-00002.gguf", b.ptr, b.len);
        free(b.ptr);
    }
    if (hone_gguf_open(scratch_path(*state, "m-00002-of-00002.gguf", path), &a, &g, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(g.source->n_files, 2);
    assert_int_equal(g.source->n_tensors, 0);
    g.source->close(g.source);
    hone_arena_release(&a);
}

static void an_empty_file_is_refused(void **state)
{
    scratch_put(*state, "m.gguf", "", 0);
    refused(*state, "m.gguf", "'%s/m.gguf': the magic at byte 0 needs 4 bytes, the file ends after 0");
}

int main(void)
{
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_file_opens_and_its_tensors_are_read),
        WITH_FOLDER(a_header_longer_than_the_first_read_is_found),
        WITH_FOLDER(any_part_of_a_split_opens_all),
        WITH_FOLDER(bad_splits_are_refused),
        WITH_FOLDER(a_lying_length_does_not_make_us_read_forever),
        WITH_FOLDER(a_split_number_may_have_any_width),
        WITH_FOLDER(an_empty_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
