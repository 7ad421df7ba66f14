#include "quant/codec.h"

static const hone_codec_family *const families[] = {
#define X(file) &hone_codecs_##file,
#include "quant/list.def"
#undef X
};

const hone_codec *hone_codec_find(hone_dtype t)
{
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++)
        for (size_t i = 0; i < families[f]->n; i++)
            if (families[f]->codecs[i].dtype == t) return &families[f]->codecs[i];
    return NULL;
}
