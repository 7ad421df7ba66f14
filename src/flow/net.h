/* net.h - models that are no language models, as ONNX files: assess, convert.  A .onnx that hone wrote of a language model goes the way of flow/open. */
#ifndef HONE_FLOW_NET_H
#define HONE_FLOW_NET_H
#include "base/ctx.h"
#include "base/json.h"
#include "ir/net.h"

/* True when path is (or is a folder that holds nothing but) an ONNX model that is not one of hone's language models. */
bool hone_net_is(const char *path);
/* The .onnx file that path means ("m.onnx", "folder/"), in the arena. */
hone_code hone_net_path(const char *path, hone_arena *a, const char **out, hone_err *err);
/* Opens it and infers its shapes.  hone_net_close(out) after. */
hone_code hone_net_load(const hone_ctx *ctx, const char *path, hone_net *out, hone_err *err);

typedef enum hone_net_quant {
    HONE_NETQ_F32,          /* as it is, folded */
    HONE_NETQ_F16,
    HONE_NETQ_INT8,         /* static: weights and activations, by calibration */
    HONE_NETQ_INT8_DYNAMIC, /* activations are quantised as they come */
    HONE_NETQ_INT8_WEIGHTS,
    HONE_NETQ_INT4_WEIGHTS,
    HONE_NETQ_COUNT
} hone_net_quant;
const char *hone_net_quant_name(hone_net_quant q); /* f32 f16 int8 int8-dynamic int8-weights int4-weights */
bool        hone_net_quant_find(const char *name, hone_net_quant *out);

typedef struct hone_net_target { const char *format /* "onnx", "openvino" */; hone_net_quant quant; } hone_net_target;
#define HONE_NET_MAX_TARGETS 16

typedef struct hone_net_convert_options {
    const hone_net_target *targets; size_t n_targets;
    const char        *out_dir, *name; /* name: stem of the folders' names; NULL: the file's, or its folder's when that is model.onnx */
    bool               keep_io;       /* f16: inputs and outputs become f16 too, without Casts */
    bool               standard;      /* --onnx-ops standard: operators of ai.onnx only */
    bool               no_fold;       /* no folding of BatchNormalization, no removal of Identity and Dropout */
    uint32_t           group;         /* int4-weights: rows of a column that share a scale; 0: 32 */
    bool               dry_run;
    const char *const *keep; size_t n_keep; /* --exclude: globs over names of nodes and of operators that stay as they are (int8 static has them in statics) */
    const struct hone_static_how *statics; /* int8: calibration and what belongs to it (flow/net/static.h); NULL: int8 is refused */
    const json_t      *wide;    /* f16: array of the names of values that stay f32, for f16 has no room for them; NULL: found on the samples of statics, if there are some */
    const json_t      *factors; /* int8-dynamic: what evens out channels (flow/net/static.h); NULL: found on the samples of statics when these are to smooth, else none */
    const json_t      *known;   /* int8: what a calibration found out (flow/net/static.h), instead of running it; NULL: statics */
    const char        *made_by; /* of the recipe; NULL: this hone */
    const struct hone_net_judge *judge; /* NULL: files are written */
} hone_net_convert_options;

/* `hone verify`: sees what would be written instead.  net: as it becomes model.onnx; NULL for formats that a runtime writes: then dir has the files.
 * recipe: as it becomes hone.json. */
typedef struct hone_net_judge {
    void *self;
    hone_code (*look)(void *self, const hone_net *net, const char *dir, hone_bytes recipe, hone_err *err);
} hone_net_judge;

typedef struct hone_net_output { const char *format, *quant; char path[1024] /* the folder */, opened[1100] /* what a runtime is given */, sha256[65]; uint64_t bytes; } hone_net_output;
typedef struct hone_net_convert_result {
    hone_net_output outputs[HONE_NET_MAX_TARGETS]; size_t n_outputs;
    double   seconds; uint64_t peak_rss_bytes;
    uint64_t parameters, read_bytes;
    uint64_t disk_needed, ram_needed; /* at their most, by what is planned; ram: of this process, not of a runtime that it starts */
    json_t  *passes;   /* array of {output, pass, changed, notes[]}; owned */
    json_t  *statics;  /* array: the report of each static int8 output (flow/net/static.h); owned */
    json_t  *warnings; /* array of strings; owned */
} hone_net_convert_result;
/* Files of such folders. */
#define HONE_NET_MODEL      "model.onnx"
#define HONE_NET_MODEL_DATA "model.onnx.data"
#define HONE_NET_IR_XML     "openvino_model.xml"
#define HONE_NET_IR_BIN     "openvino_model.bin"
/* Writes one folder per target into out_dir: NAME-QUANT-onnx/model.onnx, NAME-QUANT-openvino/openvino_model.xml; hone.json in each says how it was made
 * (flow/net/recipe.h). */
hone_code hone_net_convert(const hone_ctx *ctx, const char *path, const hone_net_convert_options *opt, hone_net_convert_result *res, hone_err *err);
void      hone_net_convert_result_release(hone_net_convert_result *r);

/* *out (owned): an array of all operators in order, `network` of docs/schema/graph.json. */
hone_code hone_net_graph(const hone_ctx *ctx, const char *path, json_t **out, hone_err *err);
/* *out (owned): docs/schema/assess.json, what is told of a network. */
typedef struct hone_net_assess_options { const char *target; uint64_t max_ram; bool offline; /* no runtime is asked */ } hone_net_assess_options;
hone_code hone_net_assess(const hone_ctx *ctx, const char *path, const hone_net_assess_options *opt, json_t **out, hone_err *err);
#endif
