/* measure.h - prove that an artefact is still the same model, and measure it, in its real runtime (a child process each). */
#ifndef HONE_MEASURE_MEASURE_H
#define HONE_MEASURE_MEASURE_H
#include "base/arena.h"
#include "base/ctx.h"
#include "measure/metric.h"

/* ---- check: tokens, template, logits ---- */
typedef struct hone_check_options {
    const char *artefact;   /* .gguf */
    const char *source;     /* the checkpoint folder (tokenizer_cases.json, reference.json and reference.safetensors are used when they lie there) */
    const char *reference;  /* --reference F.safetensors (input_ids, logits); NULL: source/reference.safetensors when present */
    const char *cases;      /* tokenizer cases; NULL: source/tokenizer_cases.json when present */
    double      max_kld, min_gap; /* pass bounds: mean KLD (1e-5 for f32), top-1 must agree where the reference's best two differ by more than min_gap (0.01) */
    unsigned    threads;
} hone_check_options;

typedef struct hone_check_result {
    char     tokenizer_source[24]; /* "cases" or "none" */
    uint64_t tok_cases, tok_mismatches; char tok_first[400];   /* first difference, for people */
    uint64_t tpl_cases, tpl_mismatches; char tpl_first[400];
    char     logits_reference[24]; /* file | other_runtime | self_converted | none */
    hone_metric max_abs, kld_mean, kld_max, top1; /* top1: share of positions whose best token agrees */
    uint64_t top1_decided, top1_wrong; /* positions with a gap over min_gap, and wrong ones among them */
    uint64_t positions, positions_skipped; char skipped_why[200]; /* limits of the consumer, named */
    hone_metric greedy_steps; /* greedy continuation steps that agree with reference.json (up to the first small gap, then re-fed) */
    bool     ok;
    char     runtime[64], version[64];
} hone_check_result;
/* HONE_OK when the comparison ran (res->ok tells the verdict). */
hone_code hone_check(const hone_ctx *ctx, const hone_check_options *opt, hone_check_result *res, hone_err *err);
json_t   *hone_check_json(const hone_check_result *r);

/* ---- eval: perplexity, tasks, KLD and top-1 against a reference artefact in lockstep ---- */
typedef struct hone_eval_options {
    const char *artefact;
    const char *text;       /* file for perplexity; NULL: skip */
    const char *tasks;      /* tasks.jsonl; NULL: skip */
    const char *reference;  /* unquantised artefact for KLD/top-1 over the same text; NULL: skip */
    uint32_t    window, stride; /* perplexity protocol; 0: from eval/reference.json beside text, else 512/256 as documented there */
    uint32_t    max_tokens; /* cut of the text for KLD and perplexity, 0: all */
    uint32_t    max_items;  /* per task, 0: all */
    unsigned    threads;
} hone_eval_options;
#define HONE_MAX_TASKS 32
typedef struct hone_task_score { char name[48]; hone_metric accuracy; } hone_task_score;
typedef struct hone_eval_result {
    char        path[1024], runtime[64], version[64];
    hone_metric perplexity, kld_mean, kld_p99, top1, accuracy; /* accuracy: mean over tasks; ci by bootstrap over items (fixed seed) */
    hone_task_score tasks[HONE_MAX_TASKS]; size_t n_tasks;
    uint64_t    tokens;
    char        protocol[200], reference_kind[24]; /* self_converted when the reference artefact is ours */
    double      seconds;
} hone_eval_result;
hone_code hone_eval(const hone_ctx *ctx, const hone_eval_options *opt, hone_eval_result *res, hone_err *err);
json_t   *hone_eval_json(const hone_eval_result *r);

/* ---- bench: side by side, interleaved ---- */
typedef struct hone_bench_options {
    const char *const *artefacts; size_t n_artefacts;
    const char *const *backends;  /* [n_artefacts] or NULL: by file type */
    uint32_t prompt, gen, repeat; /* tokens, tokens, rounds; 0: 128, 32, 10 */
    uint32_t context;             /* 0: prompt + gen rounded up to 256 */
    unsigned threads, warmup;     /* warmup rounds, default 1 */
    uint32_t seed;                /* of the prompt tokens */
} hone_bench_options;
typedef struct hone_bench_result {
    char        path[1024], runtime[64], version[64], device[64];
    bool        failed; char failure[512]; /* the candidate died or refused: everything else is not measured */
    uint64_t    file_bytes, weights_bytes, kv_bytes, compute_bytes, n_params;
    hone_metric load_ms, ttft_p50, ttft_p95, ttft_p99, latency_p50, latency_p95, latency_p99; /* latency: per generated token, ms */
    hone_metric prefill_tok_s, decode_tok_s, cv; /* cv: of the per-round decode speed */
    hone_metric peak_rss_bytes, cpu_utilization, energy_j_per_token;
} hone_bench_result;
/* results: [n_artefacts], caller's.  HONE_OK even when some candidates failed; HONE_ERUNTIME when all did. */
hone_code hone_bench(const hone_ctx *ctx, const hone_bench_options *opt, hone_bench_result *results, hone_err *err);
json_t   *hone_bench_json(const hone_bench_result *r);
#endif
