/* static.h - static int8 for a network: its ranges by running the float model over samples, its biases corrected, its worst layers put back. */
#ifndef HONE_FLOW_NET_STATIC_H
#define HONE_FLOW_NET_STATIC_H
#include "base/ctx.h"
#include "base/json.h"
#include "formats/samples.h"
#include "passes/net_static.h"
#include "quant/range.h"

typedef struct hone_static_how {
    hone_static_options codes;     /* exclude: globs of the user's */
    const char        *calibration; /* samples (formats/samples.h); needed */
    uint64_t           max_samples; /* 0: all */
    hone_image_how     image;
    hone_range_method  method;
    double             percentile;  /* 0: 0.9999 */
    bool               correct_bias;
    const char        *accuracy;    /* labelled samples; NULL: not accuracy-aware */
    double             max_drop;    /* the share of right answers may fall by so much */
    bool               no_fold;     /* BatchNormalization stays (passes/net_fold.h) */
    bool               smooth;      /* channels are evened out first (passes/net_smooth.h) ... */
    double             smooth_alpha; /* ... so far: 0 .. 1 */
} hone_static_how;

/* Reads the model at path and makes *out its quantised form: hone_net_close after.  *report (owned): docs/schema/convert.json, "static".
 * *known (owned): what was found out and decided, "static" of docs/schema/recipe_network.json.
 * HONE_ENO: accuracy-aware, and even with every layer put back the accuracy gate does not hold; out, report and known are then not touched. */
hone_code hone_net_static(const hone_ctx *ctx, const char *path, const hone_static_how *how, hone_net *out, json_t **report, json_t **known, hone_err *err);
/* The same from what was found out then: no samples, no runtime, the same bytes.  HONE_EINPUT: it is not what it should be, or of another model. */
hone_code hone_net_static_again(const char *path, const json_t *known, bool no_fold, hone_net *out, hone_err *err);
/* The factors that even out the channels of layers' inputs (passes/net_smooth.h), of the folded model: *out (owned) an array, "smooth" of
 * docs/schema/recipe_network.json; *report (owned): {places, left, notes}. */
hone_code hone_net_smooth(const hone_ctx *ctx, const char *path, const hone_static_how *how, json_t **out, json_t **report, hone_err *err);
/* Moves them: net is that folded model.  HONE_EINPUT: they are not what they should be, or of another model. */
hone_code hone_net_smooth_again(hone_net *net, const json_t *factors, hone_err *err);
/* The values that f16 has no room for, as the samples have them: *out (owned) their names, those that the folded model has. */
hone_code hone_net_wide(const hone_ctx *ctx, const char *path, const hone_static_how *how, json_t **out, hone_err *err);
#endif
