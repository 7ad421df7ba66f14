/* run.h - what the parts of one static quantisation share: the float model as a file, its plan, what was found out so far. */
#ifndef HONE_FLOW_NET_STATIC_RUN_H
#define HONE_FLOW_NET_STATIC_RUN_H
#include "base/temp.h"
#include "flow/net/static.h"
#include "measure/network.h"

typedef struct hone_static_run {
    const hone_ctx        *ctx;
    const hone_static_how *how;
    const char            *path;
    hone_arena             a;
    hone_temp              dir;      /* of our own, for float.onnx and int8.onnx */
    char                   float_path[1100], int8_path[1100];
    hone_net               net;      /* the float one, which the plan's names live in */
    hone_static_options    codes;    /* how's, and the layers put back among the exclusions */
    hone_static_plan       plan;
    hone_samples           data;
    hone_static_range     *ranges;   /* [plan.n_values] */
    hone_range_seen       *seen;     /* [plan.n_values] */
    double               **shift;    /* [plan.n_layers] each [channels], or NULL */
    size_t                 n_ranges; /* = plan.n_values, once they are known */
    json_t                *smooth;   /* factors of channels; NULL: not asked for.  Owned */
    json_t                *smooth_report; /* owned */
    uint64_t               samples;  /* of the calibration */
    bool                   pictures; /* they were images */
} hone_static_run;

/* static.c: the folder, r->net as float.onnx in it, the samples. */
hone_code hone_static_start(hone_static_run *r, hone_err *err);
/* Frees all that it has. */
void      hone_static_end(hone_static_run *r);
/* calibrate.c: fills seen and ranges. */
hone_code hone_static_calibrate(hone_static_run *r, hone_err *err);
/* smooth.c: fills smooth and smooth_report; r->net is smoothed. */
hone_code hone_static_smooth(hone_static_run *r, hone_err *err);
/* bias.c: fills shift. */
hone_code hone_static_correct(hone_static_run *r, hone_err *err);
/* aware.c: adds exclusions until the gate holds; *doc: what was done. */
hone_code hone_static_put_back(hone_static_run *r, json_t **doc, hone_err *err);
/* recipe.c: all that decides bytes, *out owned; hone_net_static_again reads it. */
hone_code hone_static_recipe(const hone_static_run *r, json_t **out, hone_err *err);
/* The float model as it is quantised: folded, shapes inferred. */
hone_code hone_static_open_float(const char *path, bool no_fold, hone_net *out, hone_err *err);
/* The model at path as convert folds it, in r->net: names are those that f16 and dynamic int8 meet. */
hone_code hone_static_open_folded(hone_static_run *r, hone_err *err);
/* Reads the model, prepares and quantises it with what is known; hone_net_close after. */
hone_code hone_static_build(const hone_static_run *r, hone_net *out, hone_err *err);
/* ... and writes it to r->int8_path. */
hone_code hone_static_write(const hone_static_run *r, hone_err *err);

/* Runs the network at path over the calibration data with values inside it shown: each sees, per batch, the values of `names` (inputs of the graph too). */
typedef void (*hone_static_see)(void *user, size_t name, const float *x, uint64_t samples, size_t per_sample, const hone_backend_value *v);
hone_code hone_static_walk(const hone_static_run *r, const char *path, const char *const *names, size_t n_names, const char *what, hone_static_see see, void *user,
                           hone_err *err);
#endif
