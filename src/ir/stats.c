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

bool hone_role_shares_input(hone_role a, hone_role b) { return a == b || (input_of(a) && input_of(a) == input_of(b)); }

void hone_stats_mean_sq(const hone_input_stats *in, uint32_t mat, float *out)
{
    const size_t n = in->n_cols;
    if (in->counts[mat]) {
        for (size_t i = 0; i < n; i++) out[i] = in->sum_sq[mat * n + i] / (float)in->counts[mat];
        return;
    }
    uint64_t rows = 0;
    for (uint32_t k = 0; k < in->n_mats; k++) rows += in->counts[k];
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (uint32_t k = 0; k < in->n_mats; k++)
            if (in->counts[k]) sum += (double)in->sum_sq[k * n + i];
        out[i] = rows ? (float)(sum / (double)rows) : 1.0f;
    }
}
