#include "passes/net_scaled.h"
#include <stdlib.h>

static hone_code make(const hone_net *net, const hone_net_tensor *t, uint8_t *out, hone_err *err)
{
    const hone_net_scaled *s = t->from;
    float                 *w;
    HONE_TRY(hone_net_tensor_floats(net, s->of, &w, err));
    for (uint64_t o = 0, k = 0; o < s->outer; o++)
        for (uint64_t c = 0; c < s->channels; c++) {
            double a = s->a[(s->period ? o / s->period * s->channels : 0) + c];
            for (uint64_t i = 0; i < s->inner; i++, k++) {
                float    v = (float)((double)w[k] * a);
                uint32_t bits;
                memcpy(&bits, &v, 4);
                hone_put_le32(out + 4 * k, bits);
            }
        }
    free(w);
    return HONE_OK;
}

hone_net_value *hone_net_scaled_new(hone_net *net, const char *stem, const hone_net_scaled *how)
{
    hone_net_scaled *kept = HONE_ARENA_NEW(&net->arena, hone_net_scaled, 1);
    hone_net_value  *v = kept && stem ? hone_net_constant_new(net, stem, HONE_NET_F32, how->of->dims, how->of->n_dims, NULL) : NULL;
    if (!v) return NULL;
    *kept = *how;
    v->tensor->make = make;
    v->tensor->from = kept;
    return v;
}
