/* weights.h - int8 codes of the constants of one operator: symmetric weights, and a bias in int32 whose step is input step times weight step. */
#ifndef HONE_PASSES_NET_STATIC_WEIGHTS_H
#define HONE_PASSES_NET_STATIC_WEIGHTS_H
#include "passes/net_static/choice.h"

typedef struct hone_static_weights_how {
    bool          per_channel;
    uint32_t      most;       /* largest code of a weight */
    float         input_step; /* scale of the operator's activation */
    const double *shift;      /* [channels] onto the bias; NULL: none.  An operator without a bias gets one */
} hone_static_weights_how;

/* Gives op's node DequantizeLinear of new constants as its inputs 1 and 2.  HONE_EINPUT: a weight or bias that is not finite. */
hone_code hone_static_weights(hone_net *net, const hone_static_op *op, const hone_static_weights_how *how, hone_err *err);
#endif
