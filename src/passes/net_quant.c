/* net_quant.c - what the quantising passes of a network share: which weights there are, and notes. */
#include "passes/net_quant/shared.h"
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>

bool hone_net_matches(const hone_net_node *n, const char *const *globs, size_t count)
{
    const hone_net_value *out = hone_net_out(n, 0);
    for (size_t i = 0; i < count; i++)
        if (fnmatch(globs[i], n->name, 0) == 0 || fnmatch(globs[i], n->op, 0) == 0 || (out && fnmatch(globs[i], out->name, 0) == 0)) return true;
    return false;
}

void hone_net_note(hone_net *net, hone_net_quanted *q, const char *fmt, ...)
{
    char    text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (size_t i = 0; i < q->n_notes; i++)
        if (strcmp(q->notes[i], text) == 0) return;
    const char **more = HONE_ARENA_NEW(&net->arena, const char *, q->n_notes + 1);
    char        *copy = hone_arena_strdup(&net->arena, text);
    if (!more || !copy) return; /* a note less */
    if (q->n_notes) memcpy(more, q->notes, q->n_notes * sizeof *more);
    more[q->n_notes] = copy;
    q->notes = more;
    q->n_notes++;
}

const char *hone_net_called(const hone_net_node *n) { return *n->name ? n->name : n->n_out && n->out[0] ? n->out[0]->name : n->op; }

/* Splits dims at an axis: outer x channels x inner. */
static void around(hone_net_weight *w, uint32_t axis)
{
    w->axis = axis;
    w->outer = w->inner = 1;
    for (uint32_t d = 0; d < axis; d++) w->outer *= w->t->dims[d];
    for (uint32_t d = axis + 1; d < w->t->n_dims; d++) w->inner *= w->t->dims[d];
    w->channels = w->t->dims[axis];
}

bool hone_net_weight_of(hone_net_node *n, uint32_t slot, hone_net_weight *w)
{
    hone_net_value *v = hone_net_in(n, slot);
    *w = (hone_net_weight){ .node = n, .slot = slot, .value = v, .t = hone_net_constant(v) };
    if (!w->t || w->t->type != HONE_NET_F32 || w->t->n == 0 || *n->domain) return false;
    uint32_t rank = w->t->n_dims;
    if (strcmp(n->op, "Conv") == 0 && slot == 1 && rank >= 3) w->kind = HONE_NETW_CONV, around(w, 0);
    else if (strcmp(n->op, "ConvTranspose") == 0 && slot == 1 && rank >= 3 && hone_net_attr_int(n, "group", 1) == 1) w->kind = HONE_NETW_DECONV, around(w, 1);
    else if (strcmp(n->op, "Gemm") == 0 && slot == 1 && rank == 2) w->kind = HONE_NETW_GEMM, around(w, hone_net_attr_int(n, "transB", 0) ? 0 : 1);
    else if (strcmp(n->op, "MatMul") == 0 && slot == 1 && rank >= 2) w->kind = HONE_NETW_MATMUL, around(w, rank - 1);
    else if (strcmp(n->op, "Gather") == 0 && slot == 0 && rank == 2 && hone_net_attr_int(n, "axis", 0) == 0) w->kind = HONE_NETW_TABLE, around(w, 0);
    else if ((strcmp(n->op, "LSTM") == 0 || strcmp(n->op, "GRU") == 0 || strcmp(n->op, "RNN") == 0) && (slot == 1 || slot == 2) && rank == 3)
        w->kind = HONE_NETW_RECURRENT, around(w, 1);
    else return false;
    if (w->kind == HONE_NETW_RECURRENT) return true;
    return hone_net_out(n, 0) && hone_net_in(n, 1 - slot); /* a file may leave out what every such operator has */
}

hone_code hone_net_channel_scales(hone_net *net, const hone_net_weight *w, float **out, hone_err *err)
{
    float *x, *scale = HONE_ARENA_NEW(&net->arena, float, w->channels);
    if (!scale) return HONE_NOMEM(err, "scales");
    HONE_TRY(hone_net_tensor_floats(net, w->t, &x, err));
    bool finite = true;
    for (uint64_t o = 0, k = 0; o < w->outer; o++)
        for (uint64_t c = 0; c < w->channels; c++)
            for (uint64_t i = 0; i < w->inner; i++, k++) {
                float a = fabsf(x[k]);
                finite = finite && isfinite(a);
                if (a > scale[c]) scale[c] = a;
            }
    free(x);
    for (uint64_t c = 0; c < w->channels; c++) {
        scale[c] /= 127.0f;
        if (!(scale[c] >= 1.17549435e-38f)) scale[c] = 1; /* all zero, or next to it */
    }
    *out = finite ? scale : NULL;
    return HONE_OK;
}

/* ---- codes of 8 bits, made when they are written ---- */

typedef struct coded { hone_net_weight w; const float *scale; int offset; } coded;

static hone_code make_codes(const hone_net *net, const hone_net_tensor *t, uint8_t *out, hone_err *err)
{
    const coded *c = t->from;
    float       *x;
    HONE_TRY(hone_net_tensor_floats(net, c->w.t, &x, err));
    for (uint64_t o = 0, k = 0; o < c->w.outer; o++)
        for (uint64_t ch = 0; ch < c->w.channels; ch++)
            for (uint64_t i = 0; i < c->w.inner; i++, k++) {
                long q = lrintf(x[k] / c->scale[ch]);
                q = q > 127 ? 127 : q < -127 ? -127 : q;
                out[k] = (uint8_t)(q + c->offset);
            }
    free(x);
    return HONE_OK;
}

hone_net_value *hone_net_codes8(hone_net *net, const hone_net_weight *w, const float *scale, int32_t type)
{
    coded          *c = HONE_ARENA_NEW(&net->arena, coded, 1);
    const char     *stem = hone_arena_printf(&net->arena, "%s.codes", w->value->name);
    hone_net_value *had = stem ? hone_net_find(net, stem) : NULL;
    const coded    *of = had && had->tensor && had->tensor->make == make_codes ? had->tensor->from : NULL;
    if (of && of->w.t == w->t && of->w.axis == w->axis && had->tensor->type == type) return had; /* for another node that reads the weight */
    hone_net_value *v = c && stem ? hone_net_constant_new(net, stem, type, w->t->dims, w->t->n_dims, NULL) : NULL;
    if (!v) return NULL;
    *c = (coded){ .w = *w, .scale = scale, .offset = type == HONE_NET_U8 ? 128 : 0 };
    v->tensor->make = make_codes;
    v->tensor->from = c;
    return v;
}

hone_net_value *hone_net_floats_new(hone_net *net, const char *stem, const uint64_t *dims, uint32_t n_dims, const float *x)
{
    uint64_t n = 1;
    for (uint32_t d = 0; d < n_dims; d++) n *= dims[d];
    uint8_t *raw = hone_arena_calloc(&net->arena, (size_t)n, 4);
    for (uint64_t i = 0; raw && i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], 4);
        hone_put_le32(raw + 4 * i, bits);
    }
    return raw ? hone_net_constant_same(net, stem, HONE_NET_F32, dims, n_dims, raw) : NULL;
}
