#include "ir/model.h"

const hone_tensor *hone_source_find(const hone_source *s, const char *name)
{
    size_t lo = 0, hi = s->n_tensors;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int    c = strcmp(name, s->tensors[mid].name);
        if (c == 0) return &s->tensors[mid];
        if (c < 0) hi = mid;
        else lo = mid + 1;
    }
    return NULL;
}

uint64_t hone_weight_rows(const hone_weight *w)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i + 1 < w->n_dims; i++) n *= w->dims[i];
    return n;
}

uint64_t hone_weight_elems(const hone_weight *w) { return hone_weight_rows(w) * hone_weight_cols(w); }

const hone_weight *hone_model_find(const hone_model *m, hone_role role, hone_part part, int32_t layer)
{
    for (size_t i = 0; i < m->n_weights; i++) {
        const hone_weight *w = &m->weights[i];
        if (w->role == role && w->part == part && w->layer == layer) return w;
    }
    return NULL;
}

void hone_model_close(hone_model *m)
{
    if (!m) return;
    if (m->source && m->source->close) m->source->close(m->source);
    hone_arena a = m->arena;
    *m = (hone_model){ 0 };
    hone_arena_release(&a);
}
