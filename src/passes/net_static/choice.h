/* choice.h - which operators of a net become integer ones, and what their inputs and outputs are; found anew for the plan and for its execution. */
#ifndef HONE_PASSES_NET_STATIC_CHOICE_H
#define HONE_PASSES_NET_STATIC_CHOICE_H
#include "passes/net_static.h"

typedef enum hone_static_kind { HONE_STATIC_LEAVE, HONE_STATIC_WEIGHTS, HONE_STATIC_VALUES, HONE_STATIC_MOVES } hone_static_kind;

typedef struct hone_static_op {
    hone_net_node   *node;
    hone_static_kind kind;
    uint32_t         n_data;  /* the first inputs, which are activations ... */
    hone_net_value **data;    /* [n_data] ... as they were when the choice was made */
    hone_net_value  *weight, *bias; /* HONE_STATIC_WEIGHTS; bias NULL: none */
    uint32_t         weight_axis;   /* of the output channels */
    hone_net_value  *out;     /* what is quantised: behind the activation that follows at once */
    float            lo, hi;  /* that activation's bounds */
    hone_net_node   *activation; /* NULL: none */
} hone_static_op;

typedef struct hone_static_choice { /* in the net's arena */
    hone_static_op *ops; /* [n] all but LEAVE, in the order of execution */
    size_t          n;
} hone_static_choice;

hone_code hone_static_choose(hone_net *net, const hone_static_options *opt, hone_static_choice *out, hone_err *err);
/* The op that makes v (through its activation), or NULL. */
const hone_static_op *hone_static_maker(const hone_static_choice *c, const hone_net_value *v);
/* An operator that moves values and changes none. */
bool hone_static_moves(const hone_net_node *n);
/* Why a convolution, product or recurrent layer that is not in the choice is not; NULL: it is none of these. */
const char *hone_static_why_float(const hone_net_node *n);
/* The name by which people and options call a node. */
const char *hone_static_name(const hone_net_node *n);
/* v is quantised: made by an integer operator or read by one. */
bool hone_static_wanted(const hone_static_choice *c, const hone_net_value *v);
/* The value whose range v has: the source of one that was only moved, else v itself. */
const hone_net_value *hone_static_root(const hone_static_choice *c, const hone_net_value *v);
#endif
