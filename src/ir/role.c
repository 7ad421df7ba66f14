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
