/* quant_decode.c - any bytes, as blocks of any type: decoded without undefined behaviour, and what comes out (NaN and infinity
 * too) encoded into any type without it.  The first two bytes choose the types. */
#include "quant/codec.h"
#include "base/bytes.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const hone_codec *from = hone_codec_find((hone_dtype)(data[0] % HONE_DTYPE_COUNT));
    const hone_codec *to = hone_codec_find((hone_dtype)(data[1] % HONE_DTYPE_COUNT));
    if (!from || !from->decode_row) return 0;
    const hone_dtype_info *info = hone_dtype_get(from->dtype);
    size_t n = (size - 2) / info->block_bytes * info->block_elems;
    if (n == 0) return 0;
    float *x = malloc(n * sizeof *x);
    if (!x) abort();
    from->decode_row(data + 2, x, n);

    uint64_t bytes;
    if (to && to->encode_row) {
        size_t block = hone_dtype_get(to->dtype)->block_elems, cols = n / block * block;
        if (cols && hone_dtype_bytes(to->dtype, cols, &bytes)) {
            uint8_t *out = malloc((size_t)bytes);
            if (!out) abort();
            to->encode_row(x, out, cols, NULL);
            to->encode_row(x, out, cols, x); /* importance that no imatrix would hold */
            free(out);
        }
    }
    free(x);
    return 0;
}
