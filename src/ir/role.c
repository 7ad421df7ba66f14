#include "ir/role.h"

static const struct {
    const char *name;
    bool        per_layer;
} table[HONE_R_COUNT] = {
#define HONE_X(e, n, l) [HONE_R_##e] = { n, l },
    HONE_ROLES(HONE_X)
#undef HONE_X
};

const char *hone_role_name(hone_role r) { return table[r].name; }
bool        hone_role_per_layer(hone_role r) { return table[r].per_layer; }

bool hone_role_is_norm(hone_role r)
{
    switch (r) {
    case HONE_R_TOK_EMBD_NORM:
    case HONE_R_OUTPUT_NORM:
    case HONE_R_ATTN_NORM:
    case HONE_R_ATTN_Q_NORM:
    case HONE_R_ATTN_K_NORM:
    case HONE_R_ATTN_POST_NORM:
    case HONE_R_ATTN_OUT_NORM:
    case HONE_R_FFN_NORM:
    case HONE_R_FFN_POST_NORM:
    case HONE_R_LAYER_OUT_NORM: return true;
    default: return false;
    }
}
