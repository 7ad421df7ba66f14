/* runner.h - the parent's side of a runtime in a child process: start, ask, measure, survive its death.
 * The child is `hone-runner`, which loads hone-backend-NAME.so and answers framed messages on a socket pair (protocol.h).
 * One runner belongs to one thread at a time.  The child's stdout and stderr never reach ours; their last lines end up in the cause
 * ("...; runtime said: ...").  After a death every further call fails with the same reason: start another.
 * A cancelled ctx kills the child and gives "interrupted".
 * Any call fails with HONE_ERUNTIME "…killed by signal 9…" when the child died, or "…no answer for N s" when it hangs (then it is killed). */
#ifndef HONE_RUNNER_RUNNER_H
#define HONE_RUNNER_RUNNER_H
#include "base/arena.h"
#include "base/ctx.h"
#include "hone/backend.h"

typedef struct hone_runner hone_runner;

typedef struct hone_runner_options {
    const char *backend;   /* "llamacpp", "onnxruntime", "openvino", "mlx" */
    double      timeout_s; /* longest silence before the child is taken for hung; 0: 300 */
    const char *plugin_dir; /* where hone-backend-*.so lies; NULL: ctx->libexec_dir, as hone-runner itself */
    uint64_t    max_rss_bytes; /* RLIMIT_AS is useless for mapped weights: the parent watches RSS and kills above this; 0: no limit */
} hone_runner_options;

typedef struct hone_runner_usage { /* of the child, from the OS; of a dead child: as last seen */
    uint64_t peak_rss_bytes, rss_bytes;
    double   cpu_user_s, cpu_sys_s;
} hone_runner_usage;

/* Starts the child and loads the plug-in.  ctx is borrowed until hone_runner_stop.  HONE_EUNSUPPORTED with an install word when plug-in or runtime is missing. */
hone_code hone_runner_start(const hone_ctx *ctx, const hone_runner_options *opt, hone_runner **out, hone_err *err);
/* What makes a missing runtime available, for a remedy: "run `make deps`, then build hone again". */
const char *hone_runner_install(const char *backend);
/* Kills and reaps; NULL is fine. */
void hone_runner_stop(hone_runner *r);

hone_code hone_runner_probe(hone_runner *r, char *version, size_t version_cap, char *devices, size_t devices_cap, hone_err *err);
/* load_ms: wall time in the child from the call to a usable model (first graph included).  info->device is where it runs, info->fallback
 * why that is not the device of `how`.  Where info->text is false the next three and render are HONE_EUNSUPPORTED. */
hone_code hone_runner_open(hone_runner *r, const hone_backend_open *how, hone_backend_info *info, double *load_ms, hone_err *err);
/* ids in the arena. */
hone_code hone_runner_tokenize(hone_runner *r, const char *text, size_t len, bool add_special, bool parse_special, hone_arena *a,
                               int32_t **ids, size_t *n, hone_err *err);
hone_code hone_runner_detokenize(hone_runner *r, const int32_t *ids, size_t n, bool remove_special, bool unparse_special, hone_arena *a,
                                 char **text, size_t *len, hone_err *err);
/* rows as in backend.h; row may be called while the child still computes. ms (or NULL): time of the evaluation in the child. */
hone_code hone_runner_forward(hone_runner *r, const int32_t *ids, size_t n, uint32_t pos, const uint8_t *want,
                              void (*row)(void *user, size_t index, const float *values, size_t n_values), void *user, double *ms,
                              hone_err *err);
/* One open model per runner: opening again closes the one before. */
/* Computed in the child, so that no logits cross: nll[i] = -ln p(ids[i+1] | ids[0..i]) for i in 0..n-2, at pos 0. */
hone_code hone_runner_nll(hone_runner *r, const int32_t *ids, size_t n, float *nll, hone_err *err);
hone_code hone_runner_rewind(hone_runner *r, uint32_t pos, hone_err *err);

typedef struct hone_generate { /* greedy, lowest id among equals; timings measured in the child with CLOCK_MONOTONIC, without the
                                * way to the parent.  Ends early at the end of the context; the end-of-text token is part of out. */
    const int32_t *prompt; size_t n_prompt;
    uint32_t       max_new;
    bool           stop_at_eos;
    int32_t       *out;      /* [max_new] */
    double        *token_ms; /* [max_new]: token_ms[0] is the time to first token (prefill + sampling), then per-token times */
    size_t         n_out;    /* filled */
    double         prefill_ms, decode_ms; /* filled: whole prompt; all further tokens */
    void (*on_token)(void *user, int32_t id, double ms); void *user; /* stream; NULL: none */
} hone_generate;
hone_code hone_runner_generate(hone_runner *r, hone_generate *g, hone_err *err);

/* HONE_ENO when the template itself refuses (raise_exception): the cause is then its message and nothing else. */
hone_code hone_runner_render(hone_runner *r, const char *messages, const char *options, hone_arena *a, char **text, size_t *len, hone_err *err);
hone_code hone_runner_capture(hone_runner *r, const int32_t *ids, size_t n,
                              void (*sink)(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts),
                              void *user, hone_err *err);
/* The residual stream behind every layer (backend.h): layer is called once per layer, in order, values [n, n_embd]. */
hone_code hone_runner_layers(hone_runner *r, const int32_t *ids, size_t n,
                             void (*layer)(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd), void *user, hone_err *err);
/* The rows that the named weight matrices (as capture names them) are multiplied with (backend.h): rows is called while the child computes. */
hone_code hone_runner_inputs(hone_runner *r, const int32_t *ids, size_t n, const char *const *names, size_t n_names,
                             void (*rows)(void *user, size_t name, const float *rows, size_t n_rows, size_t n_cols, size_t n_mats, const uint32_t *mats),
                             void *user, hone_err *err);
/* --- networks that are no language models: opened with how.graph ---------------------------------------------------------------- */
enum { HONE_VALUE_NAME_MAX = 1024 /* with its NUL */ };

typedef struct hone_signature { /* in the arena it was asked with */
    const hone_backend_port *in, *out;
    size_t                   n_in, n_out;
} hone_signature;

hone_code hone_runner_signature(hone_runner *r, hone_arena *a, hone_signature *out, hone_err *err);
/* Runs the network once on in (every input, any order; together at most 64 MiB: send fewer samples at a time).  value is called once per output in the
 * signature's order, its data borrowed for the call.  ms (or NULL): the time of the run in the child. */
hone_code hone_runner_infer(hone_runner *r, const hone_backend_value *in, size_t n_in, void (*value)(void *user, const hone_backend_value *value),
                            void *user, double *ms, hone_err *err);
/* The runtime's own reader and writer turn one file into another (backend.h); no open model is needed. */
hone_code hone_runner_translate(hone_runner *r, const char *from, const char *to, bool f16, hone_err *err);
/* Bytes of a value of that type and shape; false when a dimension is negative or the product does not fit. */
bool      hone_backend_value_bytes(int type, const int64_t *dims, uint32_t rank, uint64_t *bytes);

hone_code hone_runner_usage_get(hone_runner *r, hone_runner_usage *out, hone_err *err);
long      hone_runner_pid(const hone_runner *r);
#endif
