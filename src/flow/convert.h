/* convert.h - one read of a checkpoint, every requested output: `hone convert`. */
#ifndef HONE_FLOW_CONVERT_H
#define HONE_FLOW_CONVERT_H
#include "base/json.h"
#include "ir/model.h"

struct hone_stats;
struct hone_judge;

/* Opens a checkpoint folder (or .safetensors inside one): config, family, tensors with roles, tokenizer.  hone_model_close(m) after. */
hone_code hone_model_open(const hone_ctx *ctx, const char *path, hone_model *m, hone_err *err);

typedef struct hone_keep { /* --keep 'blk.*.ffn_down*=f16': output tensor name glob -> type */
    const char *pattern, *dtype;
    size_t     *hits; /* hone_convert's own: tensors that it matched, over all outputs */
} hone_keep;

#define HONE_MAX_OUTPUTS 32
typedef struct hone_convert_options {
    const char *const *quants; size_t n_quants; /* "q4_k_m" or "gguf=q4_k_m": a GGUF file; "mlx=int4": an MLX folder; ...; all from one read */
    uint32_t           group;  /* columns that share a scale, for formats that let one choose (MLX: 32, 64, 128; ONNX: 16..256); 0: the format's usual */
    bool               per_row; /* OpenVINO: a whole row shares a scale (--group row) */
    bool               sym;    /* ONNX, OpenVINO: no zero points */
    double             ratio;  /* OpenVINO int4: the part of the weights that gets 4 bits, the rest 8; 0: all that may (1.0) */
    bool               onnx_standard; /* ONNX: operators of the standard's own domain only (--onnx-ops standard) */
    const char        *out_dir;
    const char        *name;   /* file stem; NULL: the model's folder name */
    const hone_keep   *keep; size_t n_keep; /* GGUF, MLX */
    uint64_t           split_bytes; /* GGUF: no file longer than this, an artefact that would be becomes a folder of parts; 0: one file */
    double             prune;        /* share of what prune_method cuts, 0..1; 0: nothing is pruned (passes/prune.h) */
    const char        *prune_method; /* NULL: "magnitude" */
    const char        *fold;         /* "awq", "smooth": scales move from activations into weights (passes/fold.h); NULL: they stay */
    const char        *method; /* how numbers are rounded, of quant/treat.h: "gptq" ...; NULL: gptq or search when stats have what they need, else rtn */
    bool               bias_correction; /* biases take up what rounding their matrices does to the mean output (flow/convert/correction.h); needs stats */
    const struct hone_stats *stats; /* ir/stats.h: what calibration saw; NULL: none; borrowed */
    const json_t      *plan;   /* hone_plan_document of flow/plan.h; NULL: none.  hone_convert reads it */
    const struct hone_plan *lines; /* ... unless it comes read already, with its lines of the file for errors */
    bool               dry_run;
    const char        *made_by; /* version that the recipe names; NULL: this one */
    const struct hone_judge *judge; /* flow/convert/conversion.h: takes the bytes instead of files; NULL: files are written */
} hone_convert_options;

/* What can be written, in the order of help texts; NULL past the last (flow/convert/output.h). */
const struct hone_format *hone_convert_format(size_t i);
/* By the first n bytes of name; NULL: no such format. */
const struct hone_format *hone_convert_format_find(const char *name, size_t n);

typedef struct hone_convert_output {
    char     format[16], quantization[32], path[1024], sha256[65]; /* path: what a runtime is given; of parts the first */
    uint32_t parts; /* files that belong together as parts; 1: none do */
    uint64_t bytes, weights_bytes; double bpw; /* of all files; of all tensors, and their bits per weight */
} hone_convert_output;
typedef struct hone_convert_result {
    hone_convert_output outputs[HONE_MAX_OUTPUTS]; size_t n_outputs;
    double   seconds; uint64_t peak_rss_bytes, read_bytes, disk_needed, ram_needed;
    double   estimated_s; /* dry run: wall time expected, from one tile of each encoding timed here; 0 otherwise */
    json_t  *plan;     /* array of {name, role, dims, encodings{quant:dtype}}; owned: json_decref */
    json_t  *warnings; /* array of strings: limits of the consumer */
    json_t  *rewrites; /* array: what was pruned and folded before planning (flow/rewrite.h) */
} hone_convert_result;
hone_code hone_convert(const hone_ctx *ctx, const hone_model *m, const hone_convert_options *opt, hone_convert_result *res, hone_err *err);
void      hone_convert_result_release(hone_convert_result *r);
#endif
