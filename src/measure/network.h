/* network.h - networks that are no language models, in their real runtime: run over samples, compared with each other, judged by labels. */
#ifndef HONE_MEASURE_NETWORK_H
#define HONE_MEASURE_NETWORK_H
#include "base/ctx.h"
#include "formats/samples.h"
#include "measure/metric.h"
#include "runner/runner.h"

typedef struct hone_network_how {
    const char *backend; /* "onnxruntime", "openvino"; NULL: by what lies there (.xml and folders with one: openvino; else onnxruntime) */
    const char *device;  /* NULL: "cpu" */
    unsigned    threads; /* 0: 1 */
    bool        exact;   /* floats are computed as float32 */
    const char *const *outputs; size_t n_outputs; /* values inside it that are shown too (onnxruntime: any; openvino: those that its reader keeps) */
} hone_network_how;

typedef struct hone_network { /* zero-initialise; hone_network_close is always safe */
    hone_arena        arena;
    hone_runner      *runner;
    hone_backend_info info;
    double            load_ms;
    hone_signature    sig; /* in the arena */
    const char       *path; /* borrowed */
} hone_network;

hone_code hone_network_open(const hone_ctx *ctx, const char *path, const hone_network_how *how, hone_network *out, hone_err *err);
void      hone_network_close(hone_network *n);
/* How images become the network's only image input, its sizes filled in where that says them; false: it takes none. */
bool      hone_network_image(const hone_network *n, hone_image_how *how);

/* Which array feeds which input: by name; where one input and one array are left over, these.  Labels and what is called as an output feed nothing. */
typedef struct hone_feed {
    const hone_samples_array **from; /* [n_in], in the arena given */
    uint64_t                   batch; /* samples of one run */
    bool                       fixed; /* the network takes no other number */
} hone_feed;
/* batch 0: 32, less where samples are large.  HONE_EINPUT names the input that nothing fits, and what was found. */
hone_code hone_feed_make(const hone_network *n, const hone_samples *s, uint64_t batch, hone_arena *a, hone_feed *out, hone_err *err);

/* One run on samples first .. first + count - 1 (at most f->batch).  value: every output, its first dimension count where it counts samples. */
hone_code hone_network_run(hone_network *n, const hone_samples *s, const hone_feed *f, uint64_t first, uint64_t count,
                           void (*value)(void *user, const hone_backend_value *value), void *user, double *ms, hone_err *err);

/* n floats out of a value of any float or integer type; false: it has another type. */
bool hone_value_floats(const hone_backend_value *v, float *out, size_t n);
/* Elements of a value. */
size_t hone_value_elems(const hone_backend_value *v);

typedef struct hone_network_scores { /* of one artefact on one set of samples */
    char        path[1024], runtime[64], version[64], device[64], fallback[160], format[16], description[128];
    uint64_t    samples;
    hone_metric accuracy;  /* share of samples whose largest number of the first output stands at their label */
    hone_metric top1;      /* share of samples whose largest number stands where the reference has it */
    hone_metric max_abs, mean_abs, mean_square; /* difference from the reference over all outputs' numbers */
    hone_metric cosine_mean, cosine_min; /* of a sample's numbers with the reference's */
    uint64_t    not_finite; /* numbers */
    const char *outcomes;   /* "1101...": right or wrong by the labels, in order; NULL: no labels.  In the arena given */
} hone_network_scores;

typedef struct hone_network_eval {
    const char      *artefact;
    hone_network_how how;
    const char      *reference;  /* a float model of the same inputs and outputs, in ONNX Runtime or OpenVINO by its kind; NULL: none */
    const char      *data;
    hone_image_how   image;      /* of images; sizes are the network's own where it says them */
    const char      *labels;     /* name of the array; NULL: "labels", "label" or "y" */
    uint64_t         max_samples; /* 0: all */
    hone_arena      *keep;       /* where outcomes live; NULL: none are kept */
} hone_network_eval;
/* Both models see the same samples batch by batch; memory is one batch's. */
hone_code hone_network_score(const hone_ctx *ctx, const hone_network_eval *opt, hone_network_scores *out, hone_err *err);
json_t   *hone_network_scores_json(const hone_network_scores *s); /* one entry of results[], kind "network": docs/schema/eval.json */
/* --- speed, side by side and in turns -------------------------------------------------------------------------------------- */
typedef struct hone_network_bench_options {
    const char *const *artefacts; size_t n_artefacts;
    const char *const *backends;  /* [n_artefacts] or NULL: by what lies there */
    const char    *data;          /* samples; NULL: random numbers in the shapes that the network says, unknown dimensions of the first place 1 */
    hone_image_how image;
    const char    *device;
    uint64_t       batch;         /* samples of one run; 0: 1, or what the network is made for */
    uint32_t       repeat, warmup; /* rounds; 0: 500 and 10, cut short where budget_s runs out (never under 20) */
    double         budget_s;      /* of one candidate's rounds; 0: 10 */
    unsigned       threads;
} hone_network_bench_options;

typedef struct hone_network_speed {
    char        path[1024], runtime[64], version[64], device[64], fallback[160], format[16];
    bool        failed; char failure[512], remedy[256]; hone_code code;
    uint64_t    file_bytes, weights_bytes, batch; uint32_t rounds; unsigned threads;
    hone_metric load_ms, first_ms;       /* opening; the first run of a fresh process */
    hone_metric latency_p50, latency_p95, latency_p99; /* ms of one run in the child */
    hone_metric samples_s, cv, peak_rss_bytes, cpu_utilization;
} hone_network_speed;
hone_code hone_network_bench(const hone_ctx *ctx, const hone_network_bench_options *opt, hone_network_speed *results, hone_err *err);
json_t   *hone_network_speed_json(const hone_network_speed *r); /* one entry of results[], kind "network": docs/schema/bench.json */

/* Bytes of the .onnx or .xml and of what lies beside it for it (.onnx.data, .bin). */
uint64_t  hone_network_file_bytes(const char *path);
/* True when path is, or holds, an .onnx or .xml file (and so may be a network). */
bool      hone_network_kind(const char *path, const char **backend);
#endif
