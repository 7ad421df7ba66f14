/* layers.c - shapes and multiplications of convolutions, pools, products and recurrent layers. */
#include "ir/net/shapes.h"

enum { PLAIN, INTEGER, QLINEAR, GLOBAL };

/* Element d of a list attribute, or `otherwise`. */
static int64_t of_list(const hone_net_node *n, const char *name, size_t d, int64_t otherwise)
{
    const hone_net_attr *a = hone_net_attr_find(n, name);
    const int64_t        most = INT64_C(1) << 41, v = a && a->kind == HONE_NET_ATTR_INTS && d < a->n ? a->ints[d] : otherwise;
    return v > most ? most : v < -most ? -most : v; /* so that sums of them fit */
}

/* What of `in` remains along axis d of n_axes: docs/Operators.md, Conv and MaxPool. */
static hone_net_dim window(const hone_net_node *n, int64_t in, int64_t kernel, size_t d, size_t n_axes)
{
    const char *pad = hone_net_attr_str(n, "auto_pad", "NOTSET");
    int64_t     stride = of_list(n, "strides", d, 1), dilation = of_list(n, "dilations", d, 1);
    const int64_t most = INT64_C(1) << 40;
    if (in < 0 || kernel <= 0 || stride <= 0 || dilation <= 0 || in > most || kernel > most || dilation > 65536 || stride > most) return hone_net_any;
    int64_t span = dilation * (kernel - 1) + 1;
    if (strncmp(pad, "SAME", 4) == 0) return hone_net_dim_of((in + stride - 1) / stride);
    int64_t pads = strcmp(pad, "VALID") == 0 ? 0 : of_list(n, "pads", d, 0) + of_list(n, "pads", d + n_axes, 0), rest = in + pads - span;
    if (rest < 0 || pads > most || pads < -most) return hone_net_any;
    int64_t out = (hone_net_attr_int(n, "ceil_mode", 0) ? (rest + stride - 1) / stride : rest / stride) + 1;
    /* A last window that would begin in the padding behind is left out. */
    if (hone_net_attr_int(n, "ceil_mode", 0) && (out - 1) * stride >= in + of_list(n, "pads", d, 0)) out--;
    return hone_net_dim_of(out);
}

static bool infer_conv(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape x = hone_net_shape_in(n, 0), w = hone_net_shape_in(n, kind == QLINEAR ? 3 : 1), s = { .n = -1 };
    int32_t        type = kind == INTEGER ? HONE_NET_I32 : kind == QLINEAR ? hone_net_type_in(n, 7) : hone_net_type_in(n, 0);
    if (x.n >= 3 && w.n == x.n) {
        s.n = x.n;
        s.d[0] = x.d[0];
        s.d[1] = w.d[0];
        for (int32_t d = 2; d < x.n; d++) s.d[d] = window(n, x.d[d].n, w.d[d].n, (size_t)d - 2, (size_t)x.n - 2);
    }
    return hone_net_say(net, n, 0, type, &s);
}

static bool infer_deconv(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape x = hone_net_shape_in(n, 0), w = hone_net_shape_in(n, 1), s = { .n = -1 };
    const char    *pad = hone_net_attr_str(n, "auto_pad", "NOTSET");
    int64_t        group = hone_net_attr_int(n, "group", 1);
    (void)kind;
    if (x.n < 3 || w.n != x.n || group <= 0 || group > 1 << 20) return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
    s.n = x.n;
    s.d[0] = x.d[0];
    s.d[1] = w.d[1].n < 0 || w.d[1].n > INT32_MAX ? hone_net_any : hone_net_dim_of(w.d[1].n * group);
    for (int32_t d = 2; d < x.n; d++) {
        size_t  i = (size_t)d - 2, axes = (size_t)x.n - 2;
        int64_t stride = of_list(n, "strides", i, 1), dilation = of_list(n, "dilations", i, 1), in = x.d[d].n, k = w.d[d].n, out = -1;
        bool    sane = in > 0 && k > 0 && stride > 0 && dilation > 0 && in < 1 << 30 && k < 1 << 20 && stride < 1 << 20 && dilation < 1 << 20;
        if (of_list(n, "output_shape", i, -1) >= 0) out = of_list(n, "output_shape", i, -1);
        else if (sane && strncmp(pad, "SAME", 4) == 0) out = in * stride;
        else if (sane) out = stride * (in - 1) + of_list(n, "output_padding", i, 0) + (k - 1) * dilation + 1 - of_list(n, "pads", i, 0) - of_list(n, "pads", i + axes, 0);
        s.d[d] = hone_net_dim_of(out);
    }
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static bool infer_pool(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape s = hone_net_shape_in(n, 0);
    for (int32_t d = 2; d < s.n; d++)
        s.d[d] = kind == GLOBAL ? hone_net_dim_of(1) : window(n, s.d[d].n, of_list(n, "kernel_shape", (size_t)d - 2, -1), (size_t)d - 2, (size_t)s.n - 2);
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s) && hone_net_say(net, n, 1, HONE_NET_I64, &s);
}

static bool infer_matmul(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape a = hone_net_shape_in(n, 0), b = hone_net_shape_in(n, kind == QLINEAR ? 3 : 1), s = { .n = -1 };
    int32_t        type = kind == INTEGER ? HONE_NET_I32 : kind == QLINEAR ? hone_net_type_in(n, 7) : hone_net_type_in(n, 0);
    if (a.n >= 1 && b.n >= 1 && a.n < HONE_NET_MAX_RANK && b.n < HONE_NET_MAX_RANK) {
        bool           row = a.n == 1, col = b.n == 1;
        hone_net_dim   m = row ? hone_net_dim_of(1) : a.d[a.n - 2], k = col ? hone_net_dim_of(1) : b.d[b.n - 1];
        hone_net_shape fa = a, fb = b;
        fa.n = row ? 0 : a.n - 2;
        fb.n = col ? 0 : b.n - 2;
        s = hone_net_broadcast(&fa, &fb);
        if (s.n >= 0 && !row) s.d[s.n++] = m;
        if (s.n >= 0 && !col) s.d[s.n++] = k;
    }
    return hone_net_say(net, n, 0, type, &s);
}

static bool infer_gemm(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape a = hone_net_shape_in(n, 0), b = hone_net_shape_in(n, 1), s = { .n = 2, .d = { hone_net_any, hone_net_any } };
    (void)kind;
    if (a.n == 2) s.d[0] = a.d[hone_net_attr_int(n, "transA", 0) ? 1 : 0];
    if (b.n == 2) s.d[1] = b.d[hone_net_attr_int(n, "transB", 0) ? 0 : 1];
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

/* LSTM, GRU, RNN: Y [seq, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden]. */
static bool infer_recurrent(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape x = hone_net_shape_in(n, 0), r = hone_net_shape_in(n, 2), y = { .n = -1 }, h = { .n = -1 };
    (void)kind;
    if (x.n == 3 && r.n == 3 && hone_net_attr_int(n, "layout", 0) == 0) {
        y = (hone_net_shape){ .n = 4, .d = { x.d[0], r.d[0], x.d[1], r.d[2] } };
        h = (hone_net_shape){ .n = 3, .d = { r.d[0], x.d[1], r.d[2] } };
    }
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &y) && hone_net_say(net, n, 1, hone_net_type_in(n, 0), &h) &&
           hone_net_say(net, n, 2, hone_net_type_in(n, 0), &h);
}

const hone_net_rule hone_net_layer_rules[] = {
    { "Conv", PLAIN, infer_conv },          { "ConvInteger", INTEGER, infer_conv },     { "QLinearConv", QLINEAR, infer_conv },
    { "ConvTranspose", PLAIN, infer_deconv }, { "MaxPool", PLAIN, infer_pool },         { "AveragePool", PLAIN, infer_pool },
    { "LpPool", PLAIN, infer_pool },        { "GlobalAveragePool", GLOBAL, infer_pool }, { "GlobalMaxPool", GLOBAL, infer_pool },
    { "GlobalLpPool", GLOBAL, infer_pool }, { "MatMul", PLAIN, infer_matmul },          { "MatMulInteger", INTEGER, infer_matmul },
    { "QLinearMatMul", QLINEAR, infer_matmul }, { "Gemm", PLAIN, infer_gemm },          { "LSTM", PLAIN, infer_recurrent },
    { "GRU", PLAIN, infer_recurrent },      { "RNN", PLAIN, infer_recurrent },
};
const size_t hone_net_layer_rule_count = HONE_COUNT(hone_net_layer_rules);

/* ---- multiplications ---- */

static uint64_t size_of(hone_net_dim d) { return d.n < 0 ? 1 : (uint64_t)d.n; }

/* elems * the product of dims[from..] */
static bool times(uint64_t elems, const hone_net_shape *s, int32_t from, uint64_t *out)
{
    for (int32_t d = from; d < s->n; d++)
        if (!hone_size_mul(elems, size_of(s->d[d]), &elems)) return false;
    *out = elems;
    return true;
}

static bool recurrent_macs(const hone_net_node *n, uint64_t *out)
{
    hone_net_shape x = hone_net_shape_in(n, 0), w = hone_net_shape_in(n, 1), r = hone_net_shape_in(n, 2);
    uint64_t       steps, a, b;
    if (x.n != 3 || w.n != 3 || r.n != 3 || !hone_size_mul(size_of(x.d[0]), size_of(x.d[1]), &steps)) return false;
    return times(steps, &w, 0, &a) && times(steps, &r, 0, &b) && hone_size_add(a, b, out);
}

bool hone_net_macs(const hone_net_node *n, uint64_t *macs)
{
    static const char *const unknown[] = { "If", "Loop", "Scan", "Einsum", "DeformConv", "RoiAlign", "Attention", "STFT", "DFT" };
    const hone_net_value    *out = hone_net_out(n, 0);
    hone_net_shape           a, w;
    uint64_t                 elems = out ? hone_net_elems(out, 1) : 0;
    *macs = 0;
    if (strcmp(n->domain, "com.microsoft") == 0 && strcmp(n->op, "MatMulNBits") == 0) {
        uint64_t k = (uint64_t)hone_net_attr_int(n, "K", 0);
        return out && out->n_dims >= 0 && hone_size_mul(elems, k, macs);
    }
    if (*n->domain) return false;
    for (size_t i = 0; i < HONE_COUNT(unknown); i++)
        if (strcmp(n->op, unknown[i]) == 0) return false;
    bool conv = strcmp(n->op, "Conv") == 0 || strcmp(n->op, "ConvInteger") == 0, qconv = strcmp(n->op, "QLinearConv") == 0;
    bool mul = strcmp(n->op, "MatMul") == 0 || strcmp(n->op, "MatMulInteger") == 0 || strcmp(n->op, "QLinearMatMul") == 0, gemm = strcmp(n->op, "Gemm") == 0;
    if (strcmp(n->op, "LSTM") == 0 || strcmp(n->op, "GRU") == 0 || strcmp(n->op, "RNN") == 0) return recurrent_macs(n, macs);
    if (strcmp(n->op, "ConvTranspose") == 0) { /* each input element meets [C/group... , k] weights of its channel */
        a = hone_net_shape_in(n, 0), w = hone_net_shape_in(n, 1);
        return a.n >= 0 && w.n >= 0 && times(hone_net_elems(n->in[0], 1), &w, 1, macs);
    }
    if (!conv && !qconv && !mul && !gemm) return true;
    if (!out || out->n_dims < 0) return false;
    if (conv || qconv) {
        w = hone_net_shape_in(n, qconv ? 3 : 1);
        return w.n >= 0 && times(elems, &w, 1, macs);
    }
    a = hone_net_shape_in(n, 0);
    if (a.n < 1) return false;
    return hone_size_mul(elems, size_of(a.d[gemm && hone_net_attr_int(n, "transA", 0) ? 0 : a.n - 1]), macs);
}
