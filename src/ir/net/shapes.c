/* shapes.c - the walk over a net that finds types and shapes; elementwise operators; small integers that are shapes themselves. */
#include "ir/net/shapes.h"

hone_net_shape hone_net_shape_in(const hone_net_node *n, uint32_t i)
{
    hone_net_shape        s = { .n = -1 };
    const hone_net_value *v = hone_net_in(n, i);
    if (!v || v->n_dims < 0 || v->n_dims > HONE_NET_MAX_RANK) return s;
    s.n = v->n_dims;
    for (int32_t d = 0; d < s.n; d++) s.d[d] = v->dims[d];
    return s;
}

int32_t hone_net_type_in(const hone_net_node *n, uint32_t i) { return hone_net_in(n, i) ? hone_net_in(n, i)->type : 0; }

bool hone_net_say(hone_net *net, hone_net_node *n, uint32_t i, int32_t type, const hone_net_shape *s)
{
    hone_net_value *v = hone_net_out(n, i);
    if (!v) return true;
    if (!v->type) v->type = type;
    if (s->n < 0 || (v->n_dims >= 0 && v->n_dims != s->n)) return true;
    hone_net_dim *dims = HONE_ARENA_NEW(&net->arena, hone_net_dim, (size_t)s->n + 1);
    if (!dims) return false;
    for (int32_t d = 0; d < s->n; d++) {
        dims[d] = v->n_dims >= 0 ? v->dims[d] : s->d[d];
        if (dims[d].n < 0 && s->d[d].n >= 0) dims[d].n = s->d[d].n;
        if (dims[d].n < 0 && !dims[d].name) dims[d].name = s->d[d].name;
    }
    v->n_dims = s->n;
    v->dims = dims;
    return true;
}

hone_net_shape hone_net_broadcast(const hone_net_shape *a, const hone_net_shape *b)
{
    hone_net_shape r = { .n = -1 };
    if (a->n < 0 || b->n < 0) return r;
    r.n = a->n > b->n ? a->n : b->n;
    for (int32_t d = 0; d < r.n; d++) {
        int32_t      i = d - (r.n - a->n), k = d - (r.n - b->n);
        hone_net_dim x = i < 0 ? hone_net_dim_of(1) : a->d[i], y = k < 0 ? hone_net_dim_of(1) : b->d[k];
        bool         same = x.n < 0 && y.n < 0 && x.name && y.name && strcmp(x.name, y.name) == 0;
        if (x.n == 1) r.d[d] = y;
        else if (y.n == 1 || same || x.n == y.n) r.d[d] = x.n == y.n && !same && x.n < 0 ? hone_net_any : x;
        else if (x.n < 0 && y.n < 0) r.d[d] = hone_net_any;
        else if (x.n < 0) r.d[d] = y;
        else if (y.n < 0) r.d[d] = x;
        else return (hone_net_shape){ .n = -1 }; /* they do not fit: the runtime will say so */
    }
    return r;
}

/* ---- integers ---- */

const int64_t *hone_net_ints_in(hone_net *net, const hone_net_node *n, uint32_t i, size_t *count)
{
    hone_net_value *v = hone_net_in(n, i);
    if (!v) return NULL;
    const hone_net_tensor *t = v->tensor ? v->tensor : hone_net_constant(v);
    if (!v->known && t && t->n <= HONE_NET_MAX_KNOWN) {
        int64_t *x = HONE_ARENA_NEW(&net->arena, int64_t, (size_t)t->n + 1);
        size_t   found;
        if (x && hone_net_tensor_ints(net, t, x, HONE_NET_MAX_KNOWN, &found)) {
            v->known = x;
            v->n_known = (uint32_t)found;
        }
    }
    *count = v->n_known;
    return v->known;
}

const int64_t *hone_net_axes(hone_net *net, const hone_net_node *n, const char *attr, uint32_t input, size_t *count)
{
    static const int64_t none[1];
    const hone_net_attr *a = hone_net_attr_find(n, attr);
    if (a && a->kind == HONE_NET_ATTR_INTS) {
        *count = a->n;
        return a->ints ? a->ints : none;
    }
    return hone_net_ints_in(net, n, input, count);
}

static int64_t *know(hone_net *net, hone_net_value *v, size_t n)
{
    int64_t *x = v && n <= HONE_NET_MAX_KNOWN ? HONE_ARENA_NEW(&net->arena, int64_t, n + 1) : NULL;
    if (!x) return NULL;
    v->known = x;
    v->n_known = (uint32_t)n;
    return x;
}

static void know_shape(hone_net *net, hone_net_node *n)
{
    hone_net_shape s = hone_net_shape_in(n, 0);
    int64_t        from = hone_net_attr_int(n, "start", 0), to = hone_net_attr_int(n, "end", s.n);
    if (s.n < 0) return;
    from = from < 0 ? from + s.n : from;
    to = to < 0 ? to + s.n : to > s.n ? s.n : to;
    from = from < 0 ? 0 : from;
    int64_t *x = to >= from ? know(net, n->out[0], (size_t)(to - from)) : NULL;
    for (int64_t d = from; x && d < to; d++) x[d - from] = s.d[d].n < 0 ? HONE_NET_ANY : s.d[d].n;
}

static void know_gather(hone_net *net, hone_net_node *n)
{
    size_t         na, ni;
    const int64_t *a = hone_net_ints_in(net, n, 0, &na), *idx = hone_net_ints_in(net, n, 1, &ni);
    hone_net_shape s = hone_net_shape_in(n, 0);
    if (!a || !idx || s.n != 1) return;
    int64_t *x = know(net, n->out[0], ni);
    for (size_t i = 0; x && i < ni; i++) {
        int64_t k = idx[i] == HONE_NET_ANY ? -1 : idx[i] < 0 ? idx[i] + (int64_t)na : idx[i];
        x[i] = k >= 0 && k < (int64_t)na ? a[k] : HONE_NET_ANY;
    }
}

static void know_concat(hone_net *net, hone_net_node *n)
{
    size_t         total = 0, at = 0, k;
    const int64_t *a;
    for (uint32_t i = 0; i < n->n_in; i++) {
        if (!hone_net_ints_in(net, n, i, &k)) return;
        total += k;
    }
    int64_t *x = know(net, n->out[0], total);
    for (uint32_t i = 0; x && i < n->n_in; i++) {
        a = hone_net_ints_in(net, n, i, &k);
        if (k) memcpy(x + at, a, k * sizeof *x);
        at += k;
    }
}

static void know_slice(hone_net *net, hone_net_node *n)
{
    size_t         na, n1, n2, n4;
    const int64_t *a = hone_net_ints_in(net, n, 0, &na), *from = hone_net_axes(net, n, "starts", 1, &n1), *to = hone_net_axes(net, n, "ends", 2, &n2),
                  *step = hone_net_ints_in(net, n, 4, &n4);
    if (!a || !from || !to || n1 != 1 || n2 != 1 || from[0] == HONE_NET_ANY || to[0] == HONE_NET_ANY || (step && (n4 != 1 || step[0] != 1))) return;
    int64_t len = (int64_t)na, b = from[0] < 0 ? from[0] + len : from[0], e = to[0] < 0 ? to[0] + len : to[0] > len ? len : to[0];
    b = b < 0 ? 0 : b;
    int64_t *x = know(net, n->out[0], (size_t)(e > b ? e - b : 0));
    for (int64_t i = b; x && i < e; i++) x[i - b] = a[i];
}

static int64_t arithmetic(char op, int64_t a, int64_t b)
{
    const int64_t most = INT64_C(1) << 31; /* sizes: what is larger is no shape */
    if (a == HONE_NET_ANY || b == HONE_NET_ANY || a > most || b > most || a < -most || b < -most) return HONE_NET_ANY;
    switch (op) {
    case 'A': return a + b;
    case 'S': return a - b;
    case 'M': return a * b;
    default: return b ? a / b : HONE_NET_ANY;
    }
}

static void know_arithmetic(hone_net *net, hone_net_node *n)
{
    size_t         na, nb;
    const int64_t *a = hone_net_ints_in(net, n, 0, &na), *b = hone_net_ints_in(net, n, 1, &nb);
    if (!a || !b || (na != nb && na != 1 && nb != 1)) return;
    size_t   len = na > nb ? na : nb;
    int64_t *x = know(net, n->out[0], len);
    for (size_t i = 0; x && i < len; i++) x[i] = arithmetic(n->op[0], a[na == 1 ? 0 : i], b[nb == 1 ? 0 : i]);
}

static void know_same(hone_net *net, hone_net_node *n)
{
    size_t         k;
    const int64_t *a = hone_net_ints_in(net, n, 0, &k);
    int64_t       *x = a ? know(net, n->out[0], k) : NULL;
    if (x && k) memcpy(x, a, k * sizeof *x);
}

/* Operators that shapes are computed with. */
static void find_known(hone_net *net, hone_net_node *n)
{
    static const struct { const char *op; void (*know)(hone_net *net, hone_net_node *n); } rows[] = {
        { "Shape", know_shape },    { "Gather", know_gather },     { "Concat", know_concat },   { "Slice", know_slice },     { "Add", know_arithmetic },
        { "Sub", know_arithmetic }, { "Mul", know_arithmetic },    { "Div", know_arithmetic },  { "Cast", know_same },       { "Identity", know_same },
        { "Unsqueeze", know_same }, { "Squeeze", know_same },      { "Reshape", know_same },
    };
    const hone_net_value *out = hone_net_out(n, 0);
    if (!out || (out->type != HONE_NET_I64 && out->type != HONE_NET_I32)) return;
    for (size_t i = 0; i < HONE_COUNT(rows); i++)
        if (strcmp(n->op, rows[i].op) == 0) rows[i].know(net, n);
}

/* ---- elementwise ---- */

enum { SAME, BROADCAST, TRUTH, WHERE, CAST, CONSTANT, FILLED, SHAPE_OF, SIZE_OF, QUANTIZE, DEQUANTIZE, DYNAMIC, LIKE_IN1, NORM };

static bool infer_broadcast(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape s = hone_net_shape_in(n, 0);
    for (uint32_t i = 1; i < n->n_in; i++) {
        hone_net_shape more = hone_net_shape_in(n, i);
        s = hone_net_broadcast(&s, &more);
    }
    return hone_net_say(net, n, 0, kind == TRUTH ? HONE_NET_BOOL : hone_net_type_in(n, kind == WHERE ? 1 : 0), &s);
}

static bool infer_constant(hone_net *net, hone_net_node *n)
{
    const hone_net_tensor *t = n->n_out && n->out[0] ? hone_net_constant(n->out[0]) : NULL;
    hone_net_shape         s = { .n = -1 };
    if (!t || t->n_dims > HONE_NET_MAX_RANK) return true;
    s.n = (int32_t)t->n_dims;
    for (int32_t d = 0; d < s.n; d++) s.d[d] = hone_net_dim_of((int64_t)t->dims[d]);
    return hone_net_say(net, n, 0, t->type, &s);
}

static bool infer_filled(hone_net *net, hone_net_node *n)
{
    size_t               k;
    const int64_t       *dims = hone_net_ints_in(net, n, 0, &k);
    const hone_net_attr *v = hone_net_attr_find(n, "value");
    hone_net_shape       s = { .n = -1 };
    if (dims && k <= HONE_NET_MAX_RANK) {
        s.n = (int32_t)k;
        for (size_t d = 0; d < k; d++) s.d[d] = hone_net_dim_of(dims[d] == HONE_NET_ANY ? -1 : dims[d]);
    }
    return hone_net_say(net, n, 0, v && v->t ? v->t->type : HONE_NET_F32, &s);
}

static bool infer_quantize(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape s = hone_net_shape_in(n, 0), one = { .n = 0 };
    if (kind == DYNAMIC)
        return hone_net_say(net, n, 0, HONE_NET_U8, &s) && hone_net_say(net, n, 1, HONE_NET_F32, &one) && hone_net_say(net, n, 2, HONE_NET_U8, &one);
    if (kind == DEQUANTIZE) return hone_net_say(net, n, 0, hone_net_type_in(n, 1), &s);
    int32_t type = hone_net_type_in(n, 2);
    return hone_net_say(net, n, 0, type ? type : (int32_t)hone_net_attr_int(n, "output_dtype", HONE_NET_U8), &s);
}

static bool infer_simple(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape s = hone_net_shape_in(n, 0), line = { .n = 1, .d = { { .n = s.n } } };
    int32_t        stash = (int32_t)hone_net_attr_int(n, "stash_type", HONE_NET_F32); /* of a norm's mean and deviation */
    switch (kind) {
    case CAST: return hone_net_say(net, n, 0, (int32_t)hone_net_attr_int(n, "to", 0), &s);
    case CONSTANT: return infer_constant(net, n);
    case FILLED: return infer_filled(net, n);
    case SHAPE_OF:
        if (hone_net_attr_find(n, "start") || hone_net_attr_find(n, "end")) line.d[0].n = -1;
        return hone_net_say(net, n, 0, HONE_NET_I64, &line);
    case SIZE_OF: return hone_net_say(net, n, 0, HONE_NET_I64, &(hone_net_shape){ .n = 0 });
    case LIKE_IN1: return hone_net_say(net, n, 0, hone_net_type_in(n, 1), &s);
    case TRUTH: return hone_net_say(net, n, 0, HONE_NET_BOOL, &s);
    case NORM:
        line.n = -1;
        if (!hone_net_say(net, n, 1, stash, &line) || !hone_net_say(net, n, 2, stash, &line)) return false;
        return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
    default: return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
    }
}

static const hone_net_rule rules[] = {
    { "Abs", SAME, infer_simple }, { "Acos", SAME, infer_simple }, { "Acosh", SAME, infer_simple }, { "Asin", SAME, infer_simple },
    { "Asinh", SAME, infer_simple }, { "Atan", SAME, infer_simple }, { "Atanh", SAME, infer_simple }, { "BatchNormalization", SAME, infer_simple },
    { "Ceil", SAME, infer_simple }, { "Celu", SAME, infer_simple }, { "Clip", SAME, infer_simple }, { "Cos", SAME, infer_simple }, { "Cosh", SAME, infer_simple },
    { "CumSum", SAME, infer_simple }, { "Dropout", SAME, infer_simple }, { "Elu", SAME, infer_simple }, { "Erf", SAME, infer_simple }, { "Exp", SAME, infer_simple },
    { "Floor", SAME, infer_simple }, { "Gelu", SAME, infer_simple }, { "GroupNormalization", SAME, infer_simple }, { "HardSigmoid", SAME, infer_simple },
    { "HardSwish", SAME, infer_simple }, { "Hardmax", SAME, infer_simple }, { "Identity", SAME, infer_simple }, { "InstanceNormalization", SAME, infer_simple },
    { "LRN", SAME, infer_simple }, { "LayerNormalization", NORM, infer_simple }, { "LeakyRelu", SAME, infer_simple }, { "Log", SAME, infer_simple },
    { "LogSoftmax", SAME, infer_simple }, { "LpNormalization", SAME, infer_simple }, { "MeanVarianceNormalization", SAME, infer_simple }, { "Mish", SAME, infer_simple },
    { "Neg", SAME, infer_simple }, { "Not", SAME, infer_simple }, { "PRelu", SAME, infer_simple }, { "Reciprocal", SAME, infer_simple }, { "Relu", SAME, infer_simple },
    { "ReverseSequence", SAME, infer_simple }, { "Round", SAME, infer_simple }, { "ScatterElements", SAME, infer_simple }, { "ScatterND", SAME, infer_simple },
    { "Selu", SAME, infer_simple }, { "Shrink", SAME, infer_simple }, { "Sigmoid", SAME, infer_simple }, { "Sign", SAME, infer_simple }, { "Sin", SAME, infer_simple },
    { "Sinh", SAME, infer_simple }, { "Softmax", SAME, infer_simple }, { "Softplus", SAME, infer_simple }, { "Softsign", SAME, infer_simple }, { "Sqrt", SAME, infer_simple },
    { "Tan", SAME, infer_simple }, { "Tanh", SAME, infer_simple }, { "ThresholdedRelu", SAME, infer_simple }, { "Trilu", SAME, infer_simple },
    { "IsNaN", TRUTH, infer_simple }, { "IsInf", TRUTH, infer_simple }, { "Cast", CAST, infer_simple }, { "CastLike", LIKE_IN1, infer_simple },
    { "Constant", CONSTANT, infer_simple }, { "ConstantOfShape", FILLED, infer_simple }, { "Shape", SHAPE_OF, infer_simple }, { "Size", SIZE_OF, infer_simple },
    { "Add", BROADCAST, infer_broadcast }, { "Sub", BROADCAST, infer_broadcast }, { "Mul", BROADCAST, infer_broadcast }, { "Div", BROADCAST, infer_broadcast },
    { "Pow", BROADCAST, infer_broadcast }, { "Mod", BROADCAST, infer_broadcast }, { "Min", BROADCAST, infer_broadcast }, { "Max", BROADCAST, infer_broadcast },
    { "Sum", BROADCAST, infer_broadcast }, { "Mean", BROADCAST, infer_broadcast }, { "And", TRUTH, infer_broadcast }, { "Or", TRUTH, infer_broadcast },
    { "Xor", TRUTH, infer_broadcast }, { "Equal", TRUTH, infer_broadcast }, { "Greater", TRUTH, infer_broadcast }, { "GreaterOrEqual", TRUTH, infer_broadcast },
    { "Less", TRUTH, infer_broadcast }, { "LessOrEqual", TRUTH, infer_broadcast }, { "Where", WHERE, infer_broadcast }, { "BitShift", BROADCAST, infer_broadcast },
    { "QuantizeLinear", QUANTIZE, infer_quantize }, { "DequantizeLinear", DEQUANTIZE, infer_quantize }, { "DynamicQuantizeLinear", DYNAMIC, infer_quantize },
};

static bool infer_in(hone_net *net, hone_net_node *n, const hone_net_rule *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].op, n->op) == 0) return list[i].infer(net, n, list[i].kind);
    return true;
}

hone_code hone_net_infer(hone_net *net, hone_err *err)
{
    for (hone_net_node *n = net->first; n; n = n->next) {
        if (*n->domain) continue;
        bool good = infer_in(net, n, rules, HONE_COUNT(rules)) && infer_in(net, n, hone_net_layer_rules, hone_net_layer_rule_count) &&
                    infer_in(net, n, hone_net_move_rules, hone_net_move_rule_count);
        if (!good) return HONE_NOMEM(err, "shapes");
        find_known(net, n);
    }
    return HONE_OK;
}
