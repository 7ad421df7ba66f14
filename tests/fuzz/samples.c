/* samples - any bytes as an array file, an archive or an image: refused with a cause, or every number that is promised can be read. */
#include "formats/samples/image.h"
#include "formats/samples/npy.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_array(hone_bytes b)
{
    hone_samples_array x;
    uint64_t           off = 0, all = 0;
    hone_err           err = { 0 };
    if (hone_npy_parse(b, b.len, &x, &off, &err) != HONE_OK) {
        if (!err.cause[0]) abort();
        return;
    }
    if (x.rank == 0 || x.rank > HONE_BACKEND_RANK_MAX || off > b.len) abort();
    if (!hone_size_mul(x.sample_bytes, (uint64_t)x.dims[0], &all) || all > b.len - off) abort();
}

static void check_archive(hone_bytes b)
{
    hone_arena       a = { 0 };
    hone_npz_member *m = NULL;
    size_t           n = 0;
    uint32_t         sum = 0;
    hone_err         err = { 0 };
    if (hone_npz_parse(b, &a, &m, &n, &err) == HONE_OK)
        for (size_t i = 0; i < n; i++) {
            for (size_t k = 0; k < m[i].bytes.len; k++) sum += m[i].bytes.ptr[k];
            check_array(m[i].bytes);
        }
    else if (!err.cause[0]) abort();
    hone_arena_release(&a);
    if (sum == 0xfeedface) abort(); /* so that the sum is computed */
}

static void check_image(hone_bytes b, uint32_t channels)
{
    const hone_image_how how = { .channels = channels, .width = 5, .height = 3, .std = { 1, 1, 1 } };
    hone_image           i = { 0 };
    hone_err             err = { 0 };
    float                out[5 * 3 * 3];
    if (hone_image_decode(b, channels, &i, &err) != HONE_OK) {
        if (!err.cause[0]) abort();
        return;
    }
    hone_image_values(&i, &how, out);
    for (size_t k = 0; k < 15 * channels; k++)
        if (!(out[k] >= 0 && out[k] <= 1.0001f)) abort();
    hone_image_release(&i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    const hone_bytes b = { data + 1, size - 1 };
    switch (data[0] % 4) {
    case 0: check_array(b); break;
    case 1: check_archive(b); break;
    default:
        /* A header may promise 16384 x 16384 pixels in a few bytes: legal, and slow to fuzz. */
        if (b.len > 24 && memcmp(b.ptr, "\x89PNG", 4) == 0 && (b.ptr[16] || b.ptr[17] || b.ptr[18] > 4 || b.ptr[20] || b.ptr[21] || b.ptr[22] > 4)) return 0;
        check_image(b, data[0] % 4 == 2 ? 1 : 3);
    }
    return 0;
}
