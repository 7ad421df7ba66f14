#include "quant/codec.h"

static const hone_codec_family *const families[] = {
#define X(file) &hone_codecs_##file,
#include "quant/list.def"
#undef X
};
#ifdef HONE_WIDE_CODECS
static const hone_codec_family *const by_8[] = {
#define X(file) &hone_codecs_##file##_x8,
#include "quant/wide.def"
#undef X
};
static const hone_codec_family *const by_16[] = {
#define X(file) &hone_codecs_##file##_x16,
#include "quant/wide.def"
#undef X
};
#endif

static const hone_codec *find(const hone_codec_family *const *family, size_t n, hone_dtype t)
{
    for (size_t f = 0; f < n; f++)
        for (size_t i = 0; i < family[f]->n; i++)
            if (family[f]->codecs[i].dtype == t) return &family[f]->codecs[i];
    return NULL;
}

const hone_codec *hone_codec_find_width(hone_dtype t, int width)
{
    switch (width) {
    case 4: return find(families, sizeof families / sizeof families[0], t);
#ifdef HONE_WIDE_CODECS
    case 8: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") ? find(by_8, sizeof by_8 / sizeof by_8[0], t) : NULL;
    case 16:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2")
                   ? find(by_16, sizeof by_16 / sizeof by_16[0], t)
                   : NULL;
#endif
    default: return NULL;
    }
}

const hone_codec *hone_codec_find(hone_dtype t)
{
    const hone_codec *c = hone_codec_find_width(t, 16);
    if (!c) c = hone_codec_find_width(t, 8);
    return c ? c : hone_codec_find_width(t, 4);
}
