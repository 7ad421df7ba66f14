/* shapes.h - what the files that infer shapes share: shapes.c has the walk, broadcasting and integers that are shapes; layers.c convolutions and
 * products; moves.c operators that only move elements.  Source: docs/Operators.md of onnx. */
#ifndef HONE_IR_NET_SHAPES_H
#define HONE_IR_NET_SHAPES_H
#include "ir/net.h"

#define HONE_NET_MAX_RANK 32
#define HONE_NET_MAX_KNOWN 256 /* elements of a tensor that is looked into */

typedef struct hone_net_shape { /* n < 0: unknown rank */
    int32_t      n;
    hone_net_dim d[HONE_NET_MAX_RANK];
} hone_net_shape;

typedef struct hone_net_rule { /* fills in what it can of the outputs */
    const char *op;
    int32_t     kind; /* the rule's own */
    bool (*infer)(hone_net *net, hone_net_node *n, int32_t kind);
} hone_net_rule;
extern const hone_net_rule hone_net_layer_rules[], hone_net_move_rules[];
extern const size_t        hone_net_layer_rule_count, hone_net_move_rule_count;

static const hone_net_dim hone_net_any = { .n = -1 };
static inline hone_net_dim hone_net_dim_of(int64_t n) { return (hone_net_dim){ .n = n < 0 ? -1 : n }; }

/* The shape of input i; rank unknown when it is left out. */
hone_net_shape hone_net_shape_in(const hone_net_node *n, uint32_t i);
int32_t        hone_net_type_in(const hone_net_node *n, uint32_t i);
/* Output i has this type and shape, where the file does not say otherwise.  False: no memory. */
bool hone_net_say(hone_net *net, hone_net_node *n, uint32_t i, int32_t type, const hone_net_shape *s);
/* The elements of input i, when they are known; *count how many. */
const int64_t *hone_net_ints_in(hone_net *net, const hone_net_node *n, uint32_t i, size_t *count);
/* An attribute's list, or since some opset that input; NULL: neither is known. */
const int64_t *hone_net_axes(hone_net *net, const hone_net_node *n, const char *attr, uint32_t input, size_t *count);
/* -rank..rank-1 to 0..rank-1; false: outside. */
static inline bool hone_net_axis(int64_t axis, int32_t rank, int32_t *out)
{
    if (axis < -rank || axis >= rank) return false;
    *out = (int32_t)(axis < 0 ? axis + rank : axis);
    return true;
}
/* a and b stretched over each other, as numpy does. */
hone_net_shape hone_net_broadcast(const hone_net_shape *a, const hone_net_shape *b);
#endif
