#include "ir/stats.h"

/* Roles that multiply the same rows have the same number here; 0: only themselves. */
static int input_of(hone_role r)
{
    switch (r) {
    case HONE_R_ATTN_Q: case HONE_R_ATTN_K: case HONE_R_ATTN_V: case HONE_R_ATTN_QKV: return 1;
    case HONE_R_FFN_GATE: case HONE_R_FFN_UP: case HONE_R_FFN_GATE_UP: return 2;
    case HONE_R_FFN_GATE_EXPS: case HONE_R_FFN_UP_EXPS: return 3;
    default: return 0;
    }
}

const hone_input_stats *hone_stats_find(const hone_stats *s, hone_role role, int32_t layer)
{
    const hone_input_stats *like = NULL;
    for (size_t i = 0; s && i < s->n_inputs; i++) {
        const hone_input_stats *in = &s->inputs[i];
        if (in->layer != layer) continue;
        if (in->role == role) return in;
        if (!like && input_of(role) && input_of(in->role) == input_of(role)) like = in;
    }
    return like;
}
