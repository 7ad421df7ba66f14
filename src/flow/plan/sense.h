/* sense.h - what an encoding of a weight costs: in bytes exactly, and in KLD as far as it can be told without trying every mix.
 *
 * A weight W in encoding q gives outputs that are off by (W - Q) x.  Rounding errors of columns are as good as independent, so the mean square of
 * that is the sum over rows and columns of (W - Q)^2 h, h: the mean square of the column's input (ir/stats.h; GPTQ's errors are not independent, but
 * smaller by a factor that differs little between encodings).  The KLD of the whole model rises with it in proportion, while it is small: the factor
 * is measured for each weight, or guessed. */
#ifndef HONE_FLOW_PLAN_SENSE_H
#define HONE_FLOW_PLAN_SENSE_H
#include "flow/convert/choice.h"
#include "ir/stats.h"

typedef struct hone_sense_option {
    hone_choice choice;
    uint64_t    bytes;
    double      error; /* mean square of a token's outputs, all rows together */
} hone_sense_option;

typedef struct hone_sense_weight {
    const hone_weight *w;
    hone_sense_option *of[HONE_PLAN_FORMATS]; /* [n[f]] encodings that fit, for formats that were asked for; n 0: the format's planner has its own idea */
    size_t             n[HONE_PLAN_FORMATS];
    hone_sense_option  coarse; /* GGUF: the encoding that it is tried with */
    double             power;  /* mean square of a token's outputs */
    double             kld_per_error, kld_coarse; /* kld_coarse 0: not measured */
} hone_sense_weight;

typedef struct hone_sense {
    hone_sense_weight *weights; /* [n] matrices of the model, in its order; arena */
    size_t             n;
    bool               weighed; /* statistics had a say */
} hone_sense;

typedef struct hone_sense_request {
    bool                        formats[HONE_PLAN_FORMATS];
    hone_usual                  usual[HONE_PLAN_FORMATS];
    const hone_stats           *stats; /* or NULL: every column counts alike */
} hone_sense_request;

/* One read of the model: errors of all encodings of all weights, tile by tile.  Same numbers for any number of threads.  kld_per_error is the guess:
 * by role, relative to the weight's own output. */
hone_code hone_sense_errors(const hone_ctx *ctx, const hone_model *m, const hone_sense_request *r, hone_arena *a, hone_sense *out, hone_err *err);

typedef struct hone_sense_trial {
    const char       *text;       /* of the kind that the model is used on; not the one it is judged by */
    uint32_t          max_tokens; /* of it, 0: all */
    const hone_stats *stats;      /* with which the weights are encoded, and how; as the plan's output will be */
    const char       *method;
    bool              bias_correction; /* biases then take up what rounding does, as in hone_convert_options */
    const char       *work_dir;   /* for unquantised GGUF files, a few at a time; made, and removed again */
    size_t            max_trials; /* more weights than that: weights of one role in neighbouring layers are tried together and share a factor */
} hone_sense_trial;

/* Measures kld_per_error: one weight after the other coarse in an unquantised GGUF, the KLD to which that leads in llama.cpp.  *tried: measurements.
 * HONE_EUNSUPPORTED when llama.cpp does not run the model or is not here. */
hone_code hone_sense_measure(const hone_ctx *ctx, const hone_model *m, const hone_sense_trial *t, hone_sense *s, size_t *tried, hone_err *err);
#endif
