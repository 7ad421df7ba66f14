/* state.h - what one optimize run holds while it goes through its stages. */
#ifndef HONE_FLOW_OPTIMIZE_STATE_H
#define HONE_FLOW_OPTIMIZE_STATE_H
#include "flow/convert.h"
#include "flow/history.h"
#include "flow/optimize.h"
#include "hw/target.h"

typedef enum hone_opt_role {
    HONE_OPT_BASELINE, /* the source in its own type, GGUF: quality is measured against it */
    HONE_OPT_FORMAT,
    HONE_OPT_CANDIDATE,
    HONE_OPT_RUNTIME_BASE /* the same in another format, for speed and memory in that runtime */
} hone_opt_role;

typedef struct hone_candidate {
    const char   *quant; /* the word for --quant: "q4_k_m" of GGUF, "onnx=int4" */
    const char   *format, *encoding; /* "onnx", "int4"; NULL: GGUF, quant */
    const char   *path, *sha256;
    const char   *made_as;              /* what hone convert is asked for when that is not quant: of "q8_0+prune0.1" "q8_0" */
    double        prune;                /* share that is pruned first; 0: none */
    hone_opt_role role;
    bool          absent;               /* it cannot be made or run here: failure says why; nothing of it was measured */
    uint32_t      brief;                /* tokens that stood for its quality because the runtime is slow here; 0: all that the others got */
    uint64_t      bytes;
    double        bpw;
    json_t       *check, *eval, *bench; /* records as stored in history; NULL: not run */
    char          failure[512];         /* "" unless the candidate is out */
    char          excluded[256];        /* why it may not be chosen: a constraint, or "" */
    double        speed, accuracy, kld, memory; /* decode tok/s, task accuracy (or -1), mean KLD (or -1), bytes by s->memory_basis */
    double        score;
    bool          pareto;
} hone_candidate;

typedef enum hone_opt_strategy { HONE_OPT_NO_STRATEGY, HONE_OPT_CONFIRMED, HONE_OPT_OVERRULED, HONE_OPT_IMPOSSIBLE } hone_opt_strategy;

typedef struct hone_opt_state {
    const hone_ctx              *ctx;
    hone_ctx                     inner; /* of the measurements: their steps are details here, everything else passes */
    const hone_optimize_options *opt;
    hone_arena      arena;
    hone_model      model;
    int             lock; /* the output folder's; -1: not held */
    hone_history   *history;
    int64_t         run_id;
    json_t         *machine, *target_doc, *warnings;
    hone_target     target;      /* strings borrowed from target_doc */
    const char     *text, *tasks;
    char            text_sha256[65], tasks_sha256[65], source_sha256[65], proof_sha256[65];
    char            tool_digest[65]; /* of this hone and its plug-ins: a new program is a new measurement */
    hone_candidate  c[HONE_MAX_OUTPUTS]; /* c[0] is the baseline */
    size_t          n;
    hone_candidate *chosen;
    const char       *strategy_quant;    /* the GGUF encoding that the target's policy means, or NULL */
    hone_opt_strategy strategy;          /* what measurement says to it */
    char              strategy_why[400];
    hone_candidate   *tree;              /* what the decision tree of hone assess picks; NULL: it is not among the candidates */
    hone_opt_strategy tree_verdict;
    char              tree_pick[160], tree_why[400]; /* in its own words; what measurement says */
    const char       *memory_basis;      /* "reported": weights, KV cache and buffers by the runtimes; "peak_rss" when one of them does not say */
    uint64_t        max_ram, max_bytes; /* in force: asked for, or the target's own; 0: none */
    const char     *max_ram_from, *max_bytes_from; /* where they come from; NULL: none */
    uint32_t        context;            /* tokens of KV cache in every benchmark */
    json_t         *sweep, *sweep_best;
    unsigned        threads; /* of the chosen configuration */
    json_t         *final_base, *final_chosen; /* stage 5: both, interleaved */
    double          stage_s[5], convert_seconds, seconds;
    uint64_t        convert_rss;
    size_t          measured, reused; /* records made now, and taken from history */
} hone_opt_state;

/* NULL when memory is gone.  opt is borrowed. */
hone_opt_state *hone_opt_state_new(const hone_ctx *ctx, const hone_optimize_options *opt);
void      hone_opt_state_release(hone_opt_state *s);
/* Hex digest of everything that decides a result: kind, artefact, options, this machine, this hone and its plug-in. */
hone_code hone_opt_key(hone_opt_state *s, const char *kind, const char *artefact_sha256, const char *what, char key[65], hone_err *err);
/* Loads the target's facts, and fills the limits in force, the strategy's encoding and the context. */
hone_code hone_opt_target(hone_opt_state *s, hone_err *err);
/* One run at a time in an output folder: the lock goes with the process, however it ends.  HONE_ERESOURCE when another holds it. */
hone_code hone_opt_lock(hone_opt_state *s, hone_err *err);
/* The unquantised artefact in c's runtime that its speed and memory are measured against: c[0] for GGUF. */
const hone_candidate *hone_opt_base_of(const hone_opt_state *s, const hone_candidate *c);
/* formats.c: adds the candidates of all formats; those that cannot be made or run here are absent, with the reason. */
hone_code hone_opt_candidates(hone_opt_state *s, hone_err *err);
/* The nearest GGUF encoding of a quantisation name of any format: "int8" is q8_0, "int4" is q4_k_m; NULL: none known. */
const char *hone_opt_gguf_quant(const char *name);

/* artefacts.c: the files to be measured, made from one read or taken from an earlier run whose digests still hold. */
hone_code hone_opt_own_dtype(const hone_model *m, const char **quant, hone_err *err); /* the type that holds most of the weights */
hone_code hone_opt_digests(hone_opt_state *s, hone_err *err);
hone_code hone_opt_artefacts(hone_opt_state *s, hone_err *err);

/* records.c: one measurement each, from history or done now and stored before the next begins.  A runtime that fails costs its candidate
 * (c->failure), which is HONE_OK here; lack of disk, an interruption and our own bugs end the run. */
hone_code hone_opt_check(hone_opt_state *s, hone_candidate *c, hone_err *err);
/* Evaluates which[0..n); against the baseline's artefact unless it is the baseline itself (then alone).  brief: only so many tokens of the text and no
 * tasks; 0: what the options say. */
hone_code hone_opt_eval(hone_opt_state *s, hone_candidate *const *which, size_t n, uint32_t brief, hone_err *err);
/* Benchmarks which[0..n) together, interleaved; out[i] owned by the caller, also of a failed one. */
hone_code hone_opt_bench(hone_opt_state *s, hone_candidate *const *which, size_t n, unsigned threads, uint32_t repeat, const char *stage, json_t **out,
                         hone_err *err);

/* Number under a path of at most one dot ("ttft_ms.p95"); otherwise when absent or null. NULL obj is fine. */
double    hone_doc_number(const json_t *obj, const char *path, double otherwise);
/* Interval of a metric ("ci": {path: [lo, hi]}); false when there is none. */
bool      hone_doc_interval(const json_t *obj, const char *path, double *lo, double *hi);
/* document.c: fills the result document. */
hone_code hone_opt_document(hone_opt_state *s, json_t *doc, hone_err *err);
#endif
