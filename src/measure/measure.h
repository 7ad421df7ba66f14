/* measure.h - prove that an artefact is still the same model, and measure it, in its real runtime (a child process each). */
#ifndef HONE_MEASURE_MEASURE_H
#define HONE_MEASURE_MEASURE_H
#include "base/arena.h"
#include "base/ctx.h"
#include "measure/metric.h"

/* ---- check: tokens, template, logits ---- */
typedef struct hone_check_options {
    const char *artefact;   /* of any format (measure/artefact.h) */
    const char *source;     /* the checkpoint folder (config.json, tokenizer_cases.json, reference.safetensors/.json are used when they lie there) */
    const char *reference;  /* --reference: F.safetensors (input_ids, logits made by another implementation, F.json beside it with a greedy
                             * continuation), or an unquantised artefact of any format; NULL: source/reference.safetensors when present, and
                             * source/reference_long.safetensors after it */
    const char *device;     /* "cpu", "gpu", "npu", "auto"; NULL: "cpu" */
    uint32_t    context;    /* texts are no longer than this, what the runtime does with longer ones is left out; 0: any length.  A difference behind
                             * a known limit of the runtime that texts can reach is a failure */
    const char *cases;      /* tokenizer cases; NULL: source/tokenizer_cases.json when present */
    double      max_kld;    /* pass bound on the mean KLD; 0: by the artefact's own precision, see hone_check_bounds */
    double      min_gap;    /* top-1 must agree where the reference's best two differ by more than this; 0: likewise */
    unsigned    threads;    /* 0: 1 */
} hone_check_options;

typedef enum hone_verdict { HONE_VERDICT_NOT_MEASURED = 0, HONE_VERDICT_PASS, HONE_VERDICT_FAIL } hone_verdict;

typedef struct hone_check_note { char consumer[32], condition[48], consequence[400], cause[400]; } hone_check_note; /* a row of data/limits.json */

typedef struct hone_check_beyond { /* positions behind a limit that the runtime is known to have: a sliding window, a switch of rope factors */
    uint64_t    positions, decided, wrong; /* compared; lead over min_gap; of those, another best token */
    hone_metric kld_mean, max_abs, top1;
    char        why[200];  /* the limit */
    bool        differs;   /* further off than the bound; of a quantised artefact, than three times what lies before the limit */
} hone_check_beyond;

typedef struct hone_check_result {
    char     path[1024], runtime[64], version[64];
    char     format[16], device[64], fallback[160]; /* fallback: why the device is not the one asked for, or "" */
    char     words_by[32], words_from[64]; /* who made the token ids that were judged, and from what */
    char     precision[16];        /* widest loss among the weight matrices: "f32", "f16", "bf16", or "quantised" */
    char     tokenizer_source[24]; /* "cases" or "none" */
    uint64_t tok_cases, tok_mismatches; char tok_first[400];       /* ids; first difference, for people */
    uint64_t tok_excused;          /* further differences, each explained by a known limit of the runtime */
    hone_check_note limits[24]; size_t n_limits; /* known limits of the runtime, and of what deploys such files, that concern this model */
    uint32_t up_to, deployed_up_to; /* texts of up to so many tokens are computed as the model says, by the runtime and by what deploys it; 0: all */
    hone_check_beyond beyond;
    uint64_t decode_cases, decode_mismatches; char decode_first[400]; /* ids back to text; shown, no part of the verdict: runtimes tidy spaces their own way */
    uint64_t tpl_cases, tpl_mismatches; char tpl_first[400];
    char     logits_reference[24]; /* file | other_runtime (an artefact of ours in another one) | self_converted (in the same) | none */
    char     reference_path[1024];
    double   max_kld, min_gap;     /* the bounds that were applied; max_kld 0: none (a quantised artefact proves no conversion) */
    hone_metric max_abs, kld_mean, kld_max, top1; /* top1: share of positions whose best token agrees */
    hone_metric cosine;            /* encoders: smallest cosine between our embedding and the reference's; bound: 1 - cosine <= max_kld */
    uint64_t top1_decided, top1_wrong; /* positions with a gap over min_gap, and wrong ones among them */
    uint64_t positions, positions_skipped; char skipped_why[200]; /* limits of the consumer, named */
    uint64_t not_finite;           /* rows with NaN or infinity */
    hone_metric greedy_steps;      /* share of greedy steps that agree; each step goes on from the reference's own token */
    uint64_t greedy_decided, greedy_wrong; /* steps with a gap over min_gap, and wrong ones among them */
    hone_verdict verdict;
    char     why[500];             /* of a verdict that is not PASS */
    bool     ok;                   /* verdict == PASS */
} hone_check_result;

/* Bounds by precision: f32 1e-5 and 0.01; f16 1e-3 and 0.03; bf16 1e-3 and 0.1 (the runtime rounds activations to the weights' type);
 * quantised: max_kld 0 = none, min_gap 0.1. */
void hone_check_bounds(const char *precision, double *max_kld, double *min_gap);
/* HONE_OK when the comparison ran (res->verdict tells what it found).
 *   PASS          token ids, templates and logits agree within the bounds (a quantised artefact: logits need only be finite); where a known
 *                 limit of the runtime concerns the model, everything that it does not explain agrees
 *   FAIL          any of them does not, or behind a known limit the runtime gives other answers (and texts may be that long)
 *   NOT_MEASURED  nothing disagrees, but what would prove it is missing: res->why names the file */
hone_code hone_check(const hone_ctx *ctx, const hone_check_options *opt, hone_check_result *res, hone_err *err);
json_t   *hone_check_json(const hone_check_result *r); /* docs/schema/check.json */

/* ---- eval: perplexity, tasks, KLD and top-1 against a reference artefact in lockstep ---- */
typedef struct hone_eval_options {
    const char *artefact;
    const char *text;       /* file for perplexity; NULL: skip */
    const char *tasks;      /* tasks.jsonl; NULL: skip */
    const char *reference;  /* unquantised artefact for KLD/top-1 over the same text; NULL: skip */
    uint32_t    window, stride; /* perplexity protocol, in ids: 0 as reference.json beside the text states, else 511 and 256; a window alone: no overlap */
    uint32_t    max_tokens; /* cut of the text for KLD and perplexity, 0: all */
    uint32_t    max_items;  /* per task, 0: all */
    const char *device;     /* "cpu", "gpu", "npu", "auto"; NULL: "cpu" */
    unsigned    threads;    /* of each child; 0: 1 */
    unsigned    at_once;    /* children that compute at the same time; 0: as many as the context's threads suffice for */
    hone_arena *keep;       /* where the results' outcomes live; NULL: they are left out */
    bool        windows;    /* keep what kld_mean rests on too */
} hone_eval_options;
#define HONE_MAX_TASKS 32
typedef struct hone_eval_window { /* of the text, in its order: for paired comparisons of artefacts measured apart */
    uint64_t ids; /* scored */
    double   kld; /* mean over them */
} hone_eval_window;
typedef struct hone_task_score {
    char        name[48];
    hone_metric accuracy;
    const char *outcomes; /* "1101...": right or wrong, item by item in file order, for paired comparisons; NULL: not kept */
} hone_task_score;
typedef struct hone_eval_result {
    char        path[1024], runtime[64], version[64];
    char        format[16], device[64], fallback[160], words_by[32];
    hone_metric perplexity; /* interval: Student-t over the windows' mean negative log-likelihood */
    hone_metric kld_mean, kld_p99; /* over scored positions, reference against artefact; intervals by windows */
    hone_metric top1;       /* share of scored positions whose best token agrees */
    const hone_eval_window *windows; size_t n_windows; /* what kld_mean rests on; NULL: not asked for, or no reference */
    hone_metric accuracy;   /* mean over tasks; interval by bootstrap over items (fixed seed) */
    hone_task_score tasks[HONE_MAX_TASKS]; size_t n_tasks;
    uint64_t    tokens;     /* ids scored */
    char        protocol[200], reference_kind[24], reference_path[1024]; /* kind: self_converted (an artefact of ours), or none */
    double      seconds;
} hone_eval_result;
/* Choices: ids = [BOS] + tokens(context) + tokens(choice), cut apart; the choice with the largest sum of ln p is the answer. */
hone_code hone_eval(const hone_ctx *ctx, const hone_eval_options *opt, hone_eval_result *res, hone_err *err);
/* The same for n artefacts of one checkpoint (opt->artefact is not used): the reference computes each piece of the text once for all of
 * them, and as many children as there are cores for work at the same time.  done is called once for each artefact, as soon as it is
 * finished, one call at a time, from any thread: res is valid during the call; failed (then res is NULL) says why there is no result.
 * What done returns, when not HONE_OK, ends the whole.  So do an interruption and the death of the reference; otherwise an artefact
 * that fails costs itself only. */
typedef hone_code (*hone_eval_done)(void *user, size_t i, const hone_eval_result *res, const hone_err *failed, hone_err *err);
hone_code hone_eval_group(const hone_ctx *ctx, const hone_eval_options *opt, const char *const *artefacts, size_t n, hone_eval_done done,
                          void *user, hone_err *err);
json_t   *hone_eval_json(const hone_eval_result *r); /* one entry of results[]: docs/schema/eval.json */

/* ---- bench: side by side, interleaved ---- */
typedef struct hone_bench_options {
    const char *const *artefacts; size_t n_artefacts;
    const char *const *backends;  /* [n_artefacts] or NULL: by what lies there */
    const char *device;           /* "cpu", "gpu", "npu", "auto"; NULL: "cpu" */
    uint32_t prompt, gen, repeat; /* tokens, tokens, rounds; 0: 128, 32, 10 */
    uint32_t context;             /* 0: prompt + gen rounded up to 256 */
    unsigned threads, warmup;     /* of each child, 0: 1; rounds that are run and not counted, 0: 1 */
    uint32_t seed;                /* of the prompt tokens: drawn at random from the vocabulary, the same for all artefacts */
    double   budget_s;            /* a candidate that spent so many seconds in rounds sits out the others, after three; 0: none does */
    bool     reopen;              /* open each artefact anew in each round, one at a time; done anyway when all of them together would take
                                   * more than half of the available memory */
} hone_bench_options;
typedef struct hone_bench_result {
    char        path[1024], runtime[64], version[64], device[64];
    char        format[16], fallback[160]; /* fallback: why the device is not the one asked for, or "" */
    bool        encoder; /* embeds the prompt and generates nothing: prefill and time to first token are those of one embedding */
    bool        failed; char failure[512], remedy[256]; hone_code code; /* the candidate died or refused: everything else is not measured */
    uint64_t    file_bytes, weights_bytes, kv_bytes, compute_bytes, n_params;
    uint32_t    prompt, gen, rounds, context; unsigned threads; bool reopened; /* what was run */
    hone_metric load_ms;    /* to a usable model, file in the page cache */
    hone_metric ttft_p50, ttft_p95, ttft_p99; /* ms, one sample a round */
    hone_metric latency_p50, latency_p95, latency_p99; /* per generated token after the first, ms */
    hone_metric prefill_tok_s, decode_tok_s, cv; /* means over rounds; cv: of the per-round decode speed */
    hone_metric peak_rss_bytes; /* of the child, file pages included */
    hone_metric cpu_utilization; /* share of the threads' time that was spent computing */
    hone_metric energy_j_per_token; /* of prompt and generation, per generated token; the counter covers the whole package */
} hone_bench_result;
/* Rounds visit every artefact once, A B C, B C A, ...: what drifts, drifts for all.  Three loads of each come first (after one not counted).
 * results: [n_artefacts], caller's.  HONE_OK even when some candidates failed; the first failure's code when all did. */
hone_code hone_bench(const hone_ctx *ctx, const hone_bench_options *opt, hone_bench_result *results, hone_err *err);
json_t   *hone_bench_json(const hone_bench_result *r); /* one entry of results[]: docs/schema/bench.json */
#endif
