#include "ir/dtype.h"
#include "base/bytes.h"

static const hone_dtype_info table[HONE_DTYPE_COUNT] = {
#define HONE_X(e, name, block, bytes, gguf) [HONE_DTYPE_##e] = { name, block, bytes, gguf },
    HONE_DTYPES(HONE_X)
#undef HONE_X
};

const hone_dtype_info *hone_dtype_get(hone_dtype t) { return &table[t]; }

bool hone_dtype_from_name(const char *name, hone_dtype *out)
{
    for (int i = 0; i < HONE_DTYPE_COUNT; i++)
        if (strcmp(table[i].name, name) == 0) {
            *out = (hone_dtype)i;
            return true;
        }
    return false;
}

bool hone_dtype_from_gguf(uint32_t gguf_id, hone_dtype *out)
{
    if (gguf_id > INT32_MAX) return false;
    for (int i = 0; i < HONE_DTYPE_COUNT; i++)
        if (table[i].gguf_id == (int)gguf_id) {
            *out = (hone_dtype)i;
            return true;
        }
    return false;
}

bool hone_dtype_bytes(hone_dtype t, uint64_t n, uint64_t *bytes)
{
    const hone_dtype_info *info = &table[t];
    if (n % info->block_elems != 0) return false;
    return hone_size_mul(n / info->block_elems, info->block_bytes, bytes);
}

bool hone_dtype_is_float(hone_dtype t)
{
    switch (t) {
    case HONE_DTYPE_F32:
    case HONE_DTYPE_F16:
    case HONE_DTYPE_BF16:
    case HONE_DTYPE_F64:
    case HONE_DTYPE_F8_E4M3:
    case HONE_DTYPE_F8_E5M2: return true;
    default: return false;
    }
}
