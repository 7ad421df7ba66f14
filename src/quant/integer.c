/* integer.c - integers and booleans to the nearest float32.  Decode only: tables of indexes are not weights. */
#include "quant/codec.h"
#include "base/bytes.h"

#define DECODER(name, stride, expression)                                                                              \
    static void decode_##name(const void *in, float *x, size_t n_cols)                                                 \
    {                                                                                                                  \
        const uint8_t *restrict from = in;                                                                             \
        for (size_t i = 0; i < n_cols; i++) {                                                                          \
            const uint8_t *p = from + (stride) * i;                                                                    \
            x[i] = (float)(expression);                                                                                \
        }                                                                                                              \
    }
DECODER(i8, 1, (int8_t)*p)
DECODER(i16, 2, (int16_t)hone_le16(p))
DECODER(i32, 4, (int32_t)hone_le32(p))
DECODER(i64, 8, (int64_t)hone_le64(p))
DECODER(u8, 1, *p)
DECODER(u16, 2, hone_le16(p))
DECODER(u32, 4, hone_le32(p))
DECODER(u64, 8, hone_le64(p))
DECODER(bool, 1, *p != 0)

static const hone_codec codecs[] = {
    { HONE_DTYPE_I8, NULL, decode_i8, false, NULL },   { HONE_DTYPE_I16, NULL, decode_i16, false, NULL },
    { HONE_DTYPE_I32, NULL, decode_i32, false, NULL }, { HONE_DTYPE_I64, NULL, decode_i64, false, NULL },
    { HONE_DTYPE_U8, NULL, decode_u8, false, NULL },   { HONE_DTYPE_U16, NULL, decode_u16, false, NULL },
    { HONE_DTYPE_U32, NULL, decode_u32, false, NULL }, { HONE_DTYPE_U64, NULL, decode_u64, false, NULL },
    { HONE_DTYPE_BOOL, NULL, decode_bool, false, NULL },
};
HONE_CODEC_FAMILY(integer, codecs);
