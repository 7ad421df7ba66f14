#include "ir/stats.h"
#include "ir/model.h"

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

static const char OTHER[] = "give statistics of this model: hone calibrate makes them";

/* The input of a weight, if s knows it: a tied output goes by the role of the output. */
static const hone_input_stats *input_of_weight(const hone_stats *s, const hone_model *m, const hone_weight *w)
{
    hone_role role = w->role == HONE_R_TOK_EMBD && !hone_model_find(m, HONE_R_OUTPUT, HONE_PART_WEIGHT, -1) ? HONE_R_OUTPUT : w->role;
    return w->part == HONE_PART_WEIGHT && w->n_dims >= 2 ? hone_stats_find(s, role, w->layer) : NULL;
}

/* Whether the model has a weight that multiplies this input. */
static bool has_input(const hone_model *m, const hone_input_stats *in)
{
    for (size_t i = 0; i < m->n_weights; i++) {
        const hone_weight *w = &m->weights[i];
        const hone_role    role = w->role == HONE_R_TOK_EMBD ? HONE_R_OUTPUT : w->role;
        if (w->part == HONE_PART_WEIGHT && w->layer == in->layer && hone_role_shares_input(role, in->role)) return true;
    }
    return false;
}

hone_code hone_stats_check(const hone_stats *s, const hone_model *m, hone_err *err)
{
    size_t known = 0;
    for (size_t i = 0; i < s->n_inputs; i++) {
        const hone_input_stats *in = &s->inputs[i];
        if (in->layer >= 0 && (uint32_t)in->layer >= m->facts.n_layers)
            return HONE_FAIL(err, HONE_EINPUT, OTHER, "the statistics have a layer %d, the model has %u layers", (int)in->layer, m->facts.n_layers);
        if (!has_input(m, in))
            return HONE_FAIL(err, HONE_EINPUT, OTHER, "the statistics have %s of layer %d, the model has no such weight", hone_role_name(in->role), (int)in->layer);
    }
    for (size_t i = 0; i < m->n_weights; i++) {
        const hone_weight      *w = &m->weights[i];
        const hone_input_stats *in = input_of_weight(s, m, w);
        const uint64_t          mats = w->n_dims == 3 ? w->dims[0] : 1;
        if (!in) continue;
        if (in->n_cols != hone_weight_cols(w) || in->n_mats != mats)
            return HONE_FAIL(err, HONE_EINPUT, OTHER, "the statistics have %u x %u inputs for %s of layer %d, the model has %llu x %llu", in->n_mats, in->n_cols,
                             hone_role_name(w->role), (int)w->layer, (unsigned long long)mats, (unsigned long long)hone_weight_cols(w));
        known++;
    }
    return known ? HONE_OK : HONE_FAIL(err, HONE_EINPUT, OTHER, "the statistics are of no weight that the model has");
}
