/* moves.c - shapes of operators that move, pick or sum up elements. */
#include "ir/net/shapes.h"
#include <math.h>
#include <stdlib.h>

enum { SUM_UP, ARG };

static bool no_shape(hone_net *net, hone_net_node *n) { return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &(hone_net_shape){ .n = -1 }); }

/* Product of all dimensions; -1 unknown. */
static int64_t all_of(const hone_net_shape *s, int32_t from, int32_t to)
{
    uint64_t p = 1;
    for (int32_t d = from; d < to; d++)
        if (s->d[d].n < 0 || !hone_size_mul(p, (uint64_t)s->d[d].n, &p) || p > INT64_MAX) return -1;
    return (int64_t)p;
}

static bool infer_reshape(hone_net *net, hone_net_node *n, int32_t kind)
{
    size_t         k;
    const int64_t *want = hone_net_axes(net, n, "shape", 1, &k);
    hone_net_shape x = hone_net_shape_in(n, 0), s = { .n = -1 }, line = hone_net_shape_in(n, 1);
    int32_t        open = -1, unknown = 0;
    (void)kind;
    if (!want) { /* at least how many there are */
        if (line.n == 1 && line.d[0].n >= 0 && line.d[0].n <= HONE_NET_MAX_RANK) {
            s.n = (int32_t)line.d[0].n;
            for (int32_t d = 0; d < s.n; d++) s.d[d] = hone_net_any;
        }
        return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
    }
    if (k > HONE_NET_MAX_RANK) return no_shape(net, n);
    s.n = (int32_t)k;
    for (int32_t d = 0; d < s.n; d++) {
        if (want[d] == 0 && !hone_net_attr_int(n, "allowzero", 0)) s.d[d] = x.n > d ? x.d[d] : hone_net_any;
        else s.d[d] = hone_net_dim_of(want[d] == HONE_NET_ANY ? -1 : want[d]);
        if (want[d] == -1) open = d;
        unknown += s.d[d].n < 0;
    }
    int64_t all = x.n >= 0 ? all_of(&x, 0, x.n) : -1, rest = 1;
    if (open >= 0 && unknown == 1 && all >= 0) {
        s.d[open].n = 1;
        rest = all_of(&s, 0, s.n);
        s.d[open] = rest > 0 ? hone_net_dim_of(all / rest) : hone_net_any;
    }
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static bool infer_flatten(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape x = hone_net_shape_in(n, 0), s = { .n = 2, .d = { hone_net_any, hone_net_any } };
    int64_t        axis = hone_net_attr_int(n, "axis", 1);
    (void)kind;
    if (x.n >= 0 && axis >= -x.n && axis <= x.n) {
        int32_t a = (int32_t)(axis < 0 ? axis + x.n : axis);
        s.d[0] = a == 1 ? x.d[0] : hone_net_dim_of(all_of(&x, 0, a));
        s.d[1] = hone_net_dim_of(all_of(&x, a, x.n));
    }
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static bool infer_transpose(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape       x = hone_net_shape_in(n, 0), s = x;
    const hone_net_attr *p = hone_net_attr_find(n, "perm");
    (void)kind;
    for (int32_t d = 0; d < x.n; d++) {
        int64_t from = p && p->kind == HONE_NET_ATTR_INTS && d < (int32_t)p->n ? p->ints[d] : x.n - 1 - d;
        if (from < 0 || from >= x.n) return no_shape(net, n);
        s.d[d] = x.d[from];
    }
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static bool infer_concat(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape s = hone_net_shape_in(n, 0);
    int32_t        axis;
    (void)kind;
    if (s.n < 0 || !hone_net_axis(hone_net_attr_int(n, "axis", 1), s.n, &axis)) return no_shape(net, n);
    for (uint32_t i = 1; i < n->n_in; i++) {
        hone_net_shape x = hone_net_shape_in(n, i);
        if (x.n != s.n) return no_shape(net, n);
        for (int32_t d = 0; d < s.n; d++) {
            if (d == axis) s.d[d] = s.d[d].n < 0 || x.d[d].n < 0 || s.d[d].n > INT64_MAX - x.d[d].n ? hone_net_any : hone_net_dim_of(s.d[d].n + x.d[d].n);
            else if (s.d[d].n < 0 && x.d[d].n >= 0) s.d[d] = x.d[d];
        }
    }
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static int64_t clamp(int64_t v, int64_t low, int64_t high) { return v < low ? low : v > high ? high : v; }

/* docs/Operators.md, Slice: negative places count from the end, all are clamped. */
static hone_net_dim sliced(int64_t len, int64_t from, int64_t to, int64_t step)
{
    if (len < 0 || len > INT64_MAX / 2 || from == HONE_NET_ANY || to == HONE_NET_ANY || step == 0 || step == HONE_NET_ANY) return hone_net_any;
    if (from < 0) from += len;
    if (to < 0) to = to < -len ? -1 : to + len;
    int64_t b = step > 0 ? clamp(from, 0, len) : clamp(from, 0, len - 1), e = step > 0 ? clamp(to, 0, len) : clamp(to, -1, len - 1);
    int64_t count = step > 0 ? (e - b + step - 1) / step : (b - e - step - 1) / -step;
    return hone_net_dim_of(count < 0 ? 0 : count);
}

static bool infer_slice(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape s = hone_net_shape_in(n, 0);
    size_t         n1, n2, n3, n4;
    const int64_t *from = hone_net_axes(net, n, "starts", 1, &n1), *to = hone_net_axes(net, n, "ends", 2, &n2), *axes = hone_net_axes(net, n, "axes", 3, &n3),
                  *step = hone_net_ints_in(net, n, 4, &n4);
    bool all = hone_net_in(n, 3) && !axes; /* which axes is not known */
    (void)kind;
    if (s.n < 0 || !from || !to || n1 != n2 || (axes && n3 != n1) || (step && n4 != n1) || all) {
        for (int32_t d = 0; d < s.n; d++) s.d[d] = hone_net_any;
        return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
    }
    for (size_t i = 0; i < n1; i++) {
        int32_t d;
        if (!hone_net_axis(axes ? axes[i] : (int64_t)i, s.n, &d)) return no_shape(net, n);
        int64_t st = step ? step[i] : hone_net_in(n, 4) ? HONE_NET_ANY : 1;
        if (st < -INT32_MAX || st > INT32_MAX) st = HONE_NET_ANY;
        s.d[d] = sliced(s.d[d].n, from[i], to[i], st);
    }
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static bool infer_split(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape x = hone_net_shape_in(n, 0);
    size_t         k = 0;
    int32_t        axis;
    const int64_t *parts = hone_net_axes(net, n, "split", 1, &k);
    (void)kind;
    if (x.n < 0 || !hone_net_axis(hone_net_attr_int(n, "axis", 0), x.n, &axis)) x.n = -1;
    int64_t len = x.n >= 0 && x.d[axis].n < INT64_MAX / 2 ? x.d[axis].n : -1, each = n->n_out ? (len + n->n_out - 1) / n->n_out : 0;
    for (uint32_t i = 0; i < n->n_out; i++) {
        hone_net_shape s = x;
        if (x.n >= 0) {
            int64_t last = len - each * (n->n_out - 1);
            s.d[axis] = parts && i < k ? hone_net_dim_of(parts[i]) : hone_net_in(n, 1) || len < 0 ? hone_net_any : hone_net_dim_of(i + 1 == n->n_out ? last : each);
        }
        if (!hone_net_say(net, n, i, hone_net_type_in(n, 0), &s)) return false;
    }
    return true;
}

static bool infer_squeeze(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape x = hone_net_shape_in(n, 0), s = { .n = 0 };
    size_t         k;
    const int64_t *axes = hone_net_axes(net, n, "axes", 1, &k);
    bool           gone[HONE_NET_MAX_RANK] = { 0 };
    int32_t        d;
    (void)kind;
    if (x.n < 0 || (!axes && hone_net_in(n, 1))) return no_shape(net, n);
    for (size_t i = 0; axes && i < k; i++) {
        if (!hone_net_axis(axes[i], x.n, &d)) return no_shape(net, n);
        gone[d] = true;
    }
    for (d = 0; d < x.n; d++) {
        if (!axes && x.d[d].n < 0) return no_shape(net, n);
        if (!axes) gone[d] = x.d[d].n == 1;
        if (!gone[d]) s.d[s.n++] = x.d[d];
    }
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static bool infer_unsqueeze(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape x = hone_net_shape_in(n, 0), s = { .n = 0 };
    size_t         k;
    const int64_t *axes = hone_net_axes(net, n, "axes", 1, &k);
    bool           made[HONE_NET_MAX_RANK] = { 0 };
    int32_t        d;
    (void)kind;
    if (x.n < 0 || !axes || x.n + (int64_t)k > HONE_NET_MAX_RANK) return no_shape(net, n);
    s.n = x.n + (int32_t)k;
    for (size_t i = 0; i < k; i++) {
        if (!hone_net_axis(axes[i], s.n, &d) || made[d]) return no_shape(net, n);
        made[d] = true;
    }
    for (int32_t from = d = 0; d < s.n; d++) s.d[d] = made[d] ? hone_net_dim_of(1) : x.d[from++];
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static bool infer_gather(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape x = hone_net_shape_in(n, 0), idx = hone_net_shape_in(n, 1), s = { .n = 0 };
    int32_t        axis;
    (void)kind;
    if (x.n < 0 || idx.n < 0 || x.n + idx.n > HONE_NET_MAX_RANK || !hone_net_axis(hone_net_attr_int(n, "axis", 0), x.n, &axis)) return no_shape(net, n);
    for (int32_t d = 0; d < axis; d++) s.d[s.n++] = x.d[d];
    for (int32_t d = 0; d < idx.n; d++) s.d[s.n++] = idx.d[d];
    for (int32_t d = axis + 1; d < x.n; d++) s.d[s.n++] = x.d[d];
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static bool infer_like_index(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape s = hone_net_shape_in(n, 1);
    (void)kind;
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static bool infer_reduce(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape x = hone_net_shape_in(n, 0), s = { .n = 0 };
    int64_t        keep = hone_net_attr_int(n, "keepdims", 1), one = hone_net_attr_int(n, "axis", 0);
    size_t         k = 0;
    const int64_t *axes = kind == ARG ? (k = 1, &one) : hone_net_axes(net, n, "axes", 1, &k);
    int32_t        type = kind == ARG ? HONE_NET_I64 : hone_net_type_in(n, 0), d;
    bool           gone[HONE_NET_MAX_RANK] = { 0 }, none = (!axes && !hone_net_in(n, 1)) || (axes && k == 0);
    if (x.n < 0 || (!axes && !none)) return hone_net_say(net, n, 0, type, &(hone_net_shape){ .n = -1 });
    for (size_t i = 0; axes && i < k; i++) {
        if (!hone_net_axis(axes[i], x.n, &d)) return no_shape(net, n);
        gone[d] = true;
    }
    if (none && hone_net_attr_int(n, "noop_with_empty_axes", 0)) s = x;
    else
        for (d = 0; d < x.n; d++) {
            if (!gone[d] && !none) s.d[s.n++] = x.d[d];
            else if (keep) s.d[s.n++] = hone_net_dim_of(1);
        }
    return hone_net_say(net, n, 0, type, &s);
}

static bool infer_expand(hone_net *net, hone_net_node *n, int32_t kind)
{
    size_t         k;
    const int64_t *want = hone_net_ints_in(net, n, 1, &k);
    hone_net_shape x = hone_net_shape_in(n, 0), w = { .n = -1 };
    (void)kind;
    if (want && k <= HONE_NET_MAX_RANK) {
        w.n = (int32_t)k;
        for (size_t d = 0; d < k; d++) w.d[d] = hone_net_dim_of(want[d] == HONE_NET_ANY ? -1 : want[d]);
    }
    hone_net_shape s = hone_net_broadcast(&x, &w);
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static bool infer_tile(hone_net *net, hone_net_node *n, int32_t kind)
{
    size_t         k;
    const int64_t *times = hone_net_ints_in(net, n, 1, &k);
    hone_net_shape s = hone_net_shape_in(n, 0);
    (void)kind;
    for (int32_t d = 0; d < s.n; d++) {
        uint64_t v;
        bool     known = times && d < (int32_t)k && times[d] >= 0 && s.d[d].n >= 0 && hone_size_mul((uint64_t)s.d[d].n, (uint64_t)times[d], &v) && v <= INT64_MAX;
        s.d[d] = known ? hone_net_dim_of((int64_t)v) : hone_net_any;
    }
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static bool infer_pad(hone_net *net, hone_net_node *n, int32_t kind)
{
    size_t         k;
    const int64_t *pads = hone_net_axes(net, n, "pads", 1, &k);
    hone_net_shape s = hone_net_shape_in(n, 0);
    bool           whole = pads && !hone_net_in(n, 3) && (int64_t)k == 2 * (int64_t)s.n;
    (void)kind;
    for (int32_t d = 0; d < s.n; d++) {
        int64_t a = whole ? pads[d] : HONE_NET_ANY, b = whole ? pads[d + s.n] : HONE_NET_ANY;
        if (a == 0 && b == 0) continue;
        bool    sane = a > -INT32_MAX && a < INT32_MAX && b > -INT32_MAX && b < INT32_MAX && s.d[d].n >= 0 && s.d[d].n < INT64_MAX / 2;
        s.d[d] = sane ? hone_net_dim_of(s.d[d].n + a + b) : hone_net_any;
    }
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

/* Upsample and Resize: scales (input 1, or 2 since opset 11, or an attribute) or sizes (input 3). */
static bool infer_resize(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape         s = hone_net_shape_in(n, 0);
    size_t                 k = 0;
    const int64_t         *sizes = hone_net_ints_in(net, n, 3, &k);
    const hone_net_value  *v = hone_net_in(n, n->n_in > 2 ? 2 : 1);
    const hone_net_tensor *t = v ? (v->tensor ? v->tensor : hone_net_constant(v)) : NULL;
    const hone_net_attr   *given = hone_net_attr_find(n, "scales"); /* Upsample before opset 9 */
    float                 *scale = NULL;
    bool                   stretch = strcmp(hone_net_attr_str(n, "keep_aspect_ratio_policy", "stretch"), "stretch") == 0 && !hone_net_attr_find(n, "axes");
    (void)kind;
    if (t && t->n && t->n == (uint64_t)(s.n < 0 ? 0 : s.n) && hone_net_tensor_floats(net, t, &scale, NULL) != HONE_OK) scale = NULL;
    if (given && given->kind == HONE_NET_ATTR_FLOATS && s.n > 0 && given->n == (size_t)s.n && (scale = malloc(given->n * sizeof *scale)))
        memcpy(scale, given->floats, given->n * sizeof *scale);
    for (int32_t d = 0; d < s.n; d++) {
        double v_d = scale && s.d[d].n >= 0 ? floor((double)s.d[d].n * (double)scale[d]) : -1;
        if (!stretch) s.d[d] = hone_net_any;
        else if (sizes && (int64_t)k == s.n) s.d[d] = hone_net_dim_of(sizes[d] == HONE_NET_ANY ? -1 : sizes[d]);
        else if (scale && scale[d] == 1.0f) continue;
        else s.d[d] = v_d >= 0 && v_d < 1e15 ? hone_net_dim_of((int64_t)v_d) : hone_net_any;
    }
    free(scale);
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static bool infer_blocks(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape s = hone_net_shape_in(n, 0);
    int64_t        b = hone_net_attr_int(n, "blocksize", 0);
    if (s.n != 4 || b <= 0 || b > 1024) return no_shape(net, n);
    for (int32_t d = 1; d < 4; d++) {
        int64_t v = s.d[d].n, by = d == 1 ? b * b : b;
        bool    grow = (d == 1) == (kind != 0); /* kind 0: DepthToSpace */
        s.d[d] = v < 0 || v > INT64_MAX / (1 << 21) ? hone_net_any : hone_net_dim_of(grow ? v * by : v / by);
    }
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s);
}

static bool infer_topk(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape s = hone_net_shape_in(n, 0);
    size_t         k = 0;
    const int64_t *count = hone_net_ints_in(net, n, 1, &k);
    int64_t        old = hone_net_attr_int(n, "k", -1);
    int32_t        axis;
    (void)kind;
    if (s.n < 0 || !hone_net_axis(hone_net_attr_int(n, "axis", -1), s.n, &axis)) s.n = -1;
    else s.d[axis] = hone_net_dim_of(count && k == 1 && count[0] != HONE_NET_ANY ? count[0] : old);
    return hone_net_say(net, n, 0, hone_net_type_in(n, 0), &s) && hone_net_say(net, n, 1, HONE_NET_I64, &s);
}

static bool infer_nonzero(hone_net *net, hone_net_node *n, int32_t kind)
{
    hone_net_shape x = hone_net_shape_in(n, 0), s = { .n = 2, .d = { { .n = x.n }, { .n = -1 } } };
    (void)kind;
    return hone_net_say(net, n, 0, HONE_NET_I64, &s);
}

static bool infer_type_only(hone_net *net, hone_net_node *n, int32_t kind)
{
    return hone_net_say(net, n, 0, hone_net_type_in(n, (uint32_t)kind), &(hone_net_shape){ .n = -1 });
}

const hone_net_rule hone_net_move_rules[] = {
    { "Reshape", 0, infer_reshape }, { "Flatten", 0, infer_flatten }, { "Transpose", 0, infer_transpose }, { "Concat", 0, infer_concat },
    { "Slice", 0, infer_slice }, { "Split", 0, infer_split }, { "Squeeze", 0, infer_squeeze }, { "Unsqueeze", 0, infer_unsqueeze },
    { "Gather", 0, infer_gather }, { "GatherElements", 0, infer_like_index }, { "GatherND", 0, infer_type_only }, { "Expand", 0, infer_expand },
    { "Tile", 0, infer_tile }, { "Pad", 0, infer_pad }, { "Resize", 0, infer_resize }, { "Upsample", 0, infer_resize },
    { "DepthToSpace", 0, infer_blocks }, { "SpaceToDepth", 1, infer_blocks }, { "TopK", 0, infer_topk }, { "NonZero", 0, infer_nonzero },
    { "Einsum", 0, infer_type_only }, { "Range", 0, infer_type_only }, { "OneHot", 2, infer_type_only }, { "Compress", 0, infer_type_only },
    { "ReduceSum", SUM_UP, infer_reduce }, { "ReduceMean", SUM_UP, infer_reduce }, { "ReduceMax", SUM_UP, infer_reduce }, { "ReduceMin", SUM_UP, infer_reduce },
    { "ReduceProd", SUM_UP, infer_reduce }, { "ReduceL1", SUM_UP, infer_reduce }, { "ReduceL2", SUM_UP, infer_reduce }, { "ReduceLogSum", SUM_UP, infer_reduce },
    { "ReduceLogSumExp", SUM_UP, infer_reduce }, { "ReduceSumSquare", SUM_UP, infer_reduce }, { "ArgMax", ARG, infer_reduce }, { "ArgMin", ARG, infer_reduce },
};
const size_t hone_net_move_rule_count = HONE_COUNT(hone_net_move_rules);
