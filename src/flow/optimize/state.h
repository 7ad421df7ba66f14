/* state.h - what one optimize run holds while it goes through its stages. */
#ifndef HONE_FLOW_OPTIMIZE_STATE_H
#define HONE_FLOW_OPTIMIZE_STATE_H
#include "flow/convert.h"
#include "flow/history.h"
#include "flow/optimize.h"

typedef enum hone_opt_role { HONE_OPT_BASELINE, HONE_OPT_FORMAT, HONE_OPT_CANDIDATE } hone_opt_role;

typedef struct hone_candidate {
    const char   *quant, *path, *sha256;
    hone_opt_role role;
    uint64_t      bytes;
    double        bpw;
    json_t       *check, *eval, *bench; /* records as stored in history; NULL: not run */
    char          failure[512];         /* "" unless the candidate is out */
    char          excluded[256];        /* why it may not be chosen: a constraint, or "" */
    double        speed, accuracy, kld, memory; /* decode tok/s, task accuracy (or -1), mean KLD (or -1), weights+KV+compute bytes */
    double        score;
    bool          pareto;
} hone_candidate;

typedef struct hone_opt_state {
    const hone_ctx              *ctx;
    const hone_optimize_options *opt;
    hone_arena      arena;
    hone_model      model;
    hone_history   *history;
    int64_t         run_id;
    json_t         *machine, *target, *warnings;
    const char     *text, *tasks;
    char            text_sha256[65], tasks_sha256[65], source_sha256[65];
    char            tool_digest[65]; /* of the llama.cpp plug-in: a new runtime is a new measurement */
    hone_candidate  c[HONE_MAX_OUTPUTS]; /* c[0] is the baseline */
    size_t          n;
    hone_candidate *chosen;
    uint64_t        max_ram, max_bytes; /* in force: asked for, or the target's own; 0: none */
    json_t         *sweep, *sweep_best;
    unsigned        threads; /* of the chosen configuration */
    json_t         *final_base, *final_chosen; /* stage 5: both, interleaved */
    double          stage_s[5], convert_seconds, seconds;
    uint64_t        convert_rss;
    size_t          reused; /* records taken from history */
} hone_opt_state;

/* Hex digest of everything that decides a result: kind, artefact, options, this machine, this hone and its plug-in. */
hone_code hone_opt_key(hone_opt_state *s, const char *kind, const char *artefact_sha256, const char *what, char key[65], hone_err *err);
/* Loads the named target's facts into s->target and fills the limits in force. */
hone_code hone_opt_target(hone_opt_state *s, hone_err *err);
/* Number under a path of at most one dot ("ttft_ms.p95"); otherwise when absent or null. NULL obj is fine. */
double    hone_doc_number(const json_t *obj, const char *path, double otherwise);
/* Interval of a metric ("ci": {path: [lo, hi]}); false when there is none. */
bool      hone_doc_interval(const json_t *obj, const char *path, double *lo, double *hi);
void      hone_opt_state_release(hone_opt_state *s);
/* document.c: fills the result document. */
hone_code hone_opt_document(hone_opt_state *s, json_t *doc, hone_err *err);
#endif
