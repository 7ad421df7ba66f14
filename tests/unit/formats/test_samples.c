/* Samples for networks: .npy, .npz, images and folders of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include "formats/samples.h"
#include "formats/samples/npy.h"
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <turbojpeg.h>
#include <unistd.h>
#include <zlib.h>

static char dir[256];

static const char *put(const char *name, const void *bytes, size_t n)
{
    static char path[400];
    hone_err    err = { 0 };
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    if (hone_out_put(path, bytes, n, &err) != HONE_OK) fail_msg("%s", err.cause);
    return path;
}

/* A .npy of version 1 with this dict and these bytes behind it. */
static size_t make_npy(uint8_t *out, const char *dict, const void *data, size_t n)
{
    size_t len = strlen(dict);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    hone_put_le16(out + 8, (uint16_t)len);
    memcpy(out + 10, dict, len);
    memcpy(out + 10 + len, data, n);
    return 10 + len + n;
}

static const char DICT[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n";
static const float SIX[] = { 1, 2, 3, 4, 5, 6 };

static void an_array_file_is_samples_by_its_first_dimension(void **state)
{
    uint8_t      b[256];
    hone_arena   a = { 0 };
    hone_samples s;
    hone_err     err = { 0 };
    float        x[2] = { 0 };
    (void)state;
    const char *path = put("x.npy", b, make_npy(b, DICT, SIX, sizeof SIX));
    if (hone_samples_open(path, NULL, &a, &s, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.n_arrays, 1);
    assert_int_equal(s.arrays[0].type, HONE_BACKEND_F32);
    assert_int_equal(s.arrays[0].sample_bytes, 8);
    assert_int_equal(hone_samples_read(&s, &s.arrays[0], 1, 1, x, &err), HONE_OK);
    assert_true(x[0] == 3 && x[1] == 4);
    hone_samples_close(&s);
    hone_arena_release(&a);
}

static void a_bad_array_file_says_what_is_wrong(void **state)
{
    static const struct { const char *dict; hone_code code; const char *cause; } cases[] = {
        { "{'descr': '>f4', 'fortran_order': False, 'shape': (3, 2), }\n", HONE_EUNSUPPORTED, "the elements are big-endian" },
        { "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }\n", HONE_EUNSUPPORTED, "the array is in Fortran order" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", HONE_EUNSUPPORTED, "the array has no dimensions" },
        { "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n", HONE_EUNSUPPORTED, "elements of type '|O' are not known" },
        { "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }\n", HONE_EUNSUPPORTED, "the elements are records" },
        { "{'fortran_order': False, 'shape': (3,), }\n", HONE_EINPUT, "the header says no 'descr'" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 99), }\n", HONE_EINPUT, "the shape needs 1188 bytes, the file has 24 behind its header" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 99999999999999999999), }\n", HONE_EINPUT, "a dimension does not fit 63 bits" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4611686018427387904, 8), }\n", HONE_EINPUT, "the size of the array does not fit 64 bits" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t            b[256];
        hone_err           err = { 0 };
        hone_samples_array out = { .rank = 77 };
        uint64_t           off = 0;
        size_t             n = make_npy(b, cases[i].dict, SIX, sizeof SIX);
        assert_int_equal(hone_npy_parse((hone_bytes){ b, n }, n, &out, &off, &err), cases[i].code);
        assert_string_equal(err.cause, cases[i].cause);
        assert_int_equal(out.rank, 77);
    }
}

/* A zip with one member, stored or deflated. */
static size_t make_zip(uint8_t *out, const char *name, const uint8_t *data, size_t n, bool packed)
{
    uint8_t  room[4096];
    size_t   len = strlen(name), m = n;
    uint32_t crc = (uint32_t)crc32(0, data, (uInt)n);
    if (packed) {
        z_stream z = { 0 };
        assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
        z.next_in = (uint8_t *)(uintptr_t)data;
        z.avail_in = (uInt)n;
        z.next_out = room;
        z.avail_out = sizeof room;
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        m = sizeof room - z.avail_out;
        assert_int_equal(deflateEnd(&z), Z_OK);
    } else {
        memcpy(room, data, n);
    }
    uint8_t *p = out;
    memset(p, 0, 30);
    hone_put_le32(p, 0x04034b50u);
    hone_put_le16(p + 26, (uint16_t)len);
    memcpy(p + 30, name, len);
    memcpy(p + 30 + len, room, m);
    uint8_t *d = p + 30 + len + m;
    memset(d, 0, 46);
    hone_put_le32(d, 0x02014b50u);
    hone_put_le16(d + 10, packed ? 8 : 0);
    hone_put_le32(d + 16, crc);
    hone_put_le32(d + 20, (uint32_t)m);
    hone_put_le32(d + 24, (uint32_t)n);
    hone_put_le16(d + 28, (uint16_t)len);
    memcpy(d + 46, name, len);
    uint8_t *e = d + 46 + len;
    memset(e, 0, 22);
    hone_put_le32(e, 0x06054b50u);
    hone_put_le16(e + 8, 1);
    hone_put_le16(e + 10, 1);
    hone_put_le32(e + 12, (uint32_t)(46 + len));
    hone_put_le32(e + 16, (uint32_t)(d - p));
    return (size_t)(e + 22 - out);
}

static void an_archive_is_read_stored_or_deflated(void **state)
{
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        uint8_t      npy[256], zip[1024];
        hone_arena   a = { 0 };
        hone_samples s;
        hone_err     err = { 0 };
        float        x[6];
        const char  *path = put("x.npz", zip, make_zip(zip, "inputs.npy", npy, make_npy(npy, DICT, SIX, sizeof SIX), packed));
        if (hone_samples_open(path, NULL, &a, &s, &err) != HONE_OK) fail_msg("%s", err.cause);
        const hone_samples_array *in = hone_samples_find(&s, "inputs");
        assert_non_null(in);
        assert_int_equal(hone_samples_read(&s, in, 0, 3, x, &err), HONE_OK);
        assert_memory_equal(x, SIX, sizeof SIX);
        hone_samples_close(&s);
        hone_arena_release(&a);
    }
}

static void a_flipped_bit_in_an_archive_is_found(void **state)
{
    uint8_t          npy[256], zip[1024];
    hone_arena       a = { 0 };
    hone_npz_member *m = NULL;
    size_t           k = 0, n = make_zip(zip, "inputs.npy", npy, make_npy(npy, DICT, SIX, sizeof SIX), false);
    hone_err         err = { 0 };
    (void)state;
    zip[30 + 10 + 60] ^= 1;
    assert_int_equal(hone_npz_parse((hone_bytes){ zip, n }, &a, &m, &k, &err), HONE_EINPUT);
    assert_string_equal(err.cause, "the archive is damaged: a member's checksum is wrong");
    assert_int_equal(hone_npz_parse((hone_bytes){ zip, n - 30 }, &a, &m, &k, &err), HONE_EINPUT);
    hone_arena_release(&a);
}

/* 2 x 1 pixels: red and black. */
static size_t make_png(uint8_t *out, size_t cap)
{
    static const uint8_t pixels[] = { 255, 0, 0, 0, 0, 0 };
    png_image            p = { .version = PNG_IMAGE_VERSION, .width = 2, .height = 1, .format = PNG_FORMAT_RGB };
    png_alloc_size_t     n = cap;
    assert_true(png_image_write_to_memory(&p, out, &n, 0, pixels, 0, NULL));
    return n;
}

static void images_become_numbers_in_the_order_asked_for(void **state)
{
    uint8_t        png[1024];
    hone_arena     a = { 0 };
    hone_samples   s;
    hone_err       err = { 0 };
    float          x[6];
    hone_image_how how = { .channels = 3, .mean = { 0.5f, 0, 0 }, .std = { 0.5f, 1, 1 } };
    (void)state;
    const char *path = put("x.png", png, make_png(png, sizeof png));
    if (hone_samples_open(path, &how, &a, &s, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(s.arrays[0].dims[1], 3);
    assert_int_equal(s.arrays[0].dims[3], 2);
    assert_int_equal(hone_samples_read(&s, &s.arrays[0], 0, 1, x, &err), HONE_OK);
    assert_true(x[0] == 1 && x[1] == -1 && x[2] == 0 && x[5] == 0); /* red plane, then green and blue */
    how.channels_last = true;
    assert_int_equal(hone_samples_open(path, &how, &a, &s, &err), HONE_OK);
    assert_int_equal(hone_samples_read(&s, &s.arrays[0], 0, 1, x, &err), HONE_OK);
    assert_true(x[0] == 1 && x[1] == 0 && x[3] == -1);
    how = (hone_image_how){ .channels = 1, .width = 4, .height = 4, .std = { 1, 1, 1 } };
    float y[16];
    assert_int_equal(hone_samples_open(path, &how, &a, &s, &err), HONE_OK);
    assert_int_equal(hone_samples_read(&s, &s.arrays[0], 0, 1, y, &err), HONE_OK);
    assert_true(y[0] > y[1] && y[1] > y[2] && y[3] == 0 && y[12] == y[0]); /* stretched, edges kept */
    assert_int_equal(hone_samples_open(path, NULL, &a, &s, &err), HONE_EUSAGE);
    hone_arena_release(&a);
}

static void a_folder_of_folders_has_labels(void **state)
{
    uint8_t         png[1024], gray[64 * 64];
    unsigned char  *jpeg = NULL;
    unsigned long   jpeg_n = 0;
    char            sub[300];
    hone_arena      a = { 0 };
    hone_samples    s;
    hone_err        err = { 0 };
    int64_t         labels[3] = { -1, -1, -1 };
    const hone_image_how how = { .channels = 1, .width = 2, .height = 2, .std = { 1, 1, 1 } };
    (void)state;
    memset(gray, 200, sizeof gray);
    tjhandle t = tjInitCompress();
    assert_int_equal(tjCompress2(t, gray, 64, 64, 64, TJPF_GRAY, &jpeg, &jpeg_n, TJSAMP_GRAY, 90, 0), 0);
    for (int k = 0; k < 2; k++) {
        (void)snprintf(sub, sizeof sub, "%s/classes/%s", dir, k ? "dog" : "cat");
        assert_int_equal(hone_dir_make(sub, &err), HONE_OK);
    }
    size_t n = make_png(png, sizeof png);
    (void)put("classes/dog/a.png", png, n);
    (void)put("classes/dog/b.jpg", jpeg, jpeg_n);
    (void)put("classes/cat/c.png", png, n);
    tjFree(jpeg);
    (void)tjDestroy(t);
    (void)snprintf(sub, sizeof sub, "%s/classes", dir);
    if (hone_samples_open(sub, &how, &a, &s, &err) != HONE_OK) fail_msg("%s", err.cause);
    assert_int_equal(s.n, 3);
    const hone_samples_array *l = hone_samples_find(&s, "labels");
    assert_non_null(l);
    assert_int_equal(hone_samples_read(&s, l, 0, 3, labels, &err), HONE_OK);
    assert_true(labels[0] == 0 && labels[1] == 1 && labels[2] == 1); /* cat, dog, dog */
    float x[4];
    assert_int_equal(hone_samples_read(&s, &s.arrays[0], 2, 1, x, &err), HONE_OK);
    assert_true(x[0] > 0.77f && x[0] < 0.8f);
    (void)put("classes/cat/c.png", "no picture", 10);
    assert_int_equal(hone_samples_read(&s, &s.arrays[0], 0, 1, x, &err), HONE_EINPUT);
    assert_non_null(strstr(err.cause, "neither PNG nor JPEG"));
    hone_samples_close(&s);
    hone_arena_release(&a);
}

static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/hone-samples-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const names[] = { "x.npy", "x.npz", "x.png", "classes/dog/a.png", "classes/dog/b.jpg", "classes/cat/c.png", "classes/dog", "classes/cat", "classes", "" };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[400];
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)remove(path);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_array_file_is_samples_by_its_first_dimension), cmocka_unit_test(a_bad_array_file_says_what_is_wrong),
        cmocka_unit_test(an_archive_is_read_stored_or_deflated),           cmocka_unit_test(a_flipped_bit_in_an_archive_is_found),
        cmocka_unit_test(images_become_numbers_in_the_order_asked_for),    cmocka_unit_test(a_folder_of_folders_has_labels),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
