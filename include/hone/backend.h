/* backend.h - the plug-in interface of a runtime: what hone-backend-NAME.so exports.  Versioned C ABI, C11-clean.
 * A plug-in lives in a child process of its own (hone-runner), is called from one thread, and may crash without harm.
 * All strings are UTF-8, all arrays borrowed for the call unless said otherwise.  Token ids are int32. */
#ifndef HONE_BACKEND_H
#define HONE_BACKEND_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define HONE_BACKEND_ABI 3 /* raised by any change below that an old plug-in would not survive */

/* 0 ok; else the numbers of hone_code (1 the answer is no, 3 bad input, 4 unsupported, 5 runtime failed, 6 resources).
 * why: caller's buffer, filled on failure: a cause as in base/err.h (what happened to which object, no full stop). */
typedef struct hone_backend_error { char why[512]; } hone_backend_error;

typedef struct hone_backend_open {
    const char *path;     /* the artefact */
    const char *device;   /* "cpu", "gpu", "npu", "auto" */
    uint32_t    threads;
    uint32_t    context;  /* tokens; 0: the model's own */
    uint32_t    batch;    /* most tokens in one forward call; 0: the backend's choice */
    bool        vocab_only; /* tokenizer and template only: forward and generate will fail */
    bool        embeddings; /* forward returns embeddings instead of logits: one row for the whole text (index n-1, pooled as the
                             * model says, not normalised), or one per token where the model does not pool */
    bool        hidden;     /* with embeddings: no pooling, the last hidden state of every token */
    bool        exact;      /* for parity with a reference: f32 KV cache, no flash attention, no weight repacking */
    bool        graph;      /* any network, by the names of its inputs and outputs: signature and infer work, nothing of a language model does */
    const char *const *outputs; /* with graph: [n_outputs] values inside the network that infer shows too, behind its outputs, in this order */
    size_t             n_outputs;
} hone_backend_open;

/* Types of elements: the numbers of TensorProto.DataType (onnx/onnx.proto). */
typedef enum hone_backend_type {
    HONE_BACKEND_F32 = 1, HONE_BACKEND_U8 = 2, HONE_BACKEND_I8 = 3, HONE_BACKEND_U16 = 4, HONE_BACKEND_I16 = 5, HONE_BACKEND_I32 = 6,
    HONE_BACKEND_I64 = 7, HONE_BACKEND_BOOL = 9, HONE_BACKEND_F16 = 10, HONE_BACKEND_F64 = 11, HONE_BACKEND_U32 = 12, HONE_BACKEND_U64 = 13,
    HONE_BACKEND_BF16 = 16
} hone_backend_type;

enum { HONE_BACKEND_RANK_MAX = 8 };

/* Bytes of an element; 0 for other numbers. */
static inline size_t hone_backend_type_size(int type)
{
    switch (type) {
    case HONE_BACKEND_U8:
    case HONE_BACKEND_I8:
    case HONE_BACKEND_BOOL: return 1;
    case HONE_BACKEND_U16:
    case HONE_BACKEND_I16:
    case HONE_BACKEND_F16:
    case HONE_BACKEND_BF16: return 2;
    case HONE_BACKEND_F32:
    case HONE_BACKEND_I32:
    case HONE_BACKEND_U32: return 4;
    case HONE_BACKEND_I64:
    case HONE_BACKEND_F64:
    case HONE_BACKEND_U64: return 8;
    default: return 0;
    }
}

/* An input or output of a network. */
typedef struct hone_backend_port {
    const char *name;
    int         type; /* hone_backend_type, or another number of TensorProto.DataType that infer refuses */
    uint32_t    rank;
    int64_t     dims[HONE_BACKEND_RANK_MAX];     /* outermost first; -1: any */
    const char *symbols[HONE_BACKEND_RANK_MAX];  /* what the model calls that dimension ("batch"); "" where it has no name */
} hone_backend_port;

typedef struct hone_backend_value { /* a tensor: outermost dimension first, without gaps, little-endian */
    const char *name;
    int         type;
    uint32_t    rank;
    int64_t     dims[HONE_BACKEND_RANK_MAX];
    const void *data; /* aligned for its type */
    size_t      bytes;
} hone_backend_value;

typedef struct hone_backend_info { /* filled by open; bytes as the runtime itself reports them, 0 when it does not say */
    uint32_t n_vocab, n_ctx, n_embd, n_ctx_train;
    uint64_t n_params, weights_bytes, kv_bytes, compute_bytes;
    char     runtime[64], version[64], device[64], description[128];
    int32_t  bos, eos, eot; /* -1: none */
    bool     add_bos, add_eos; /* what tokenize with add_special puts around the text */
    char     fallback[160];    /* why device is not the one that was asked for ("no GPU plug-in: ..."), or "" */
    bool     text;             /* tokenize, detokenize and render work for this artefact; false: the caller takes them from elsewhere */
} hone_backend_info;

typedef struct hone_backend_model hone_backend_model; /* the plug-in's own */

typedef struct hone_backend {
    uint32_t    abi; /* HONE_BACKEND_ABI the plug-in was built with: checked before anything else is read */
    const char *name; /* "llamacpp" */
    /* Version text and device names of the runtime as found, without loading a model. Buffer sizes in bytes; devices_cap 1: nobody wants to
     * know the devices, do not load what finds them. */
    int (*probe)(char *version, size_t version_cap, char *devices, size_t devices_cap, hone_backend_error *e);
    int (*open)(const hone_backend_open *how, hone_backend_model **out, hone_backend_info *info, hone_backend_error *e);
    void (*close)(hone_backend_model *m);
    /* The three text functions may be NULL in a runtime without a tokenizer (info.text is then false).
     * Text -> ids. add_special: BOS/EOS as the model wants; parse_special: names of control tokens in the text become those tokens.
     * Returns the count through *n; when *n > cap nothing is written and the call is repeated with room. */
    int (*tokenize)(hone_backend_model *m, const char *text, size_t len, bool add_special, bool parse_special, int32_t *ids, size_t cap,
                    size_t *n, hone_backend_error *e);
    int (*detokenize)(hone_backend_model *m, const int32_t *ids, size_t n, bool remove_special, bool unparse_special, char *text, size_t cap,
                      size_t *len, hone_backend_error *e);
    /* Evaluates ids at positions pos, pos+1, ...; the cache must hold exactly pos tokens (pos 0 clears it), else 70.  More ids than the batch
     * are split.  row: called once per token whose flag in want is set (NULL: all), in order, with its logits [n_vocab] (or embedding [n_embd]). */
    int (*forward)(hone_backend_model *m, const int32_t *ids, size_t n, uint32_t pos, const uint8_t *want,
                   void (*row)(void *user, size_t index, const float *values, size_t n_values), void *user, hone_backend_error *e);
    /* Forgets cached tokens from position pos on. */
    int (*rewind)(hone_backend_model *m, uint32_t pos, hone_backend_error *e);
    /* Renders messages (JSON array of {role, content, ...}) through the model's chat template with a real Jinja engine.
     * options: JSON object or NULL.  "template": text instead of the model's own; every other key is a variable of the template:
     * "add_generation_prompt":bool, "tools":[...], "bos_token": ... (bos_token and eos_token are the model's own when not given; null: undefined).
     * Same cap/len rule as detokenize.  1 when the template itself refuses (raise_exception); why is then its message and nothing else. */
    int (*render)(hone_backend_model *m, const char *messages, const char *options, char *text, size_t cap, size_t *len, hone_backend_error *e);
    /* (may be NULL) Activation statistics for calibration: for each weight matrix that is multiplied while ids run, once per call of sink, name, [n_cols] sums of
     * squares of the inputs (per expert: n_mats rows), and how many rows were seen. */
    int (*capture)(hone_backend_model *m, const int32_t *ids, size_t n,
                   void (*sink)(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts),
                   void *user, hone_backend_error *e);
    /* (may be NULL) The residual stream behind every layer, at position 0 with an empty cache (which it leaves empty): sink once per layer, in
     * order, values [n, n_embd].  4 when this artefact does not let one see it. */
    int (*layers)(hone_backend_model *m, const int32_t *ids, size_t n,
                  void (*sink)(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd), void *user, hone_backend_error *e);
    /* (The next three may be NULL) What a network opened with `graph` takes and gives; the arrays live until close.  Outputs come before the values that
     * open asked for. */
    int (*signature)(hone_backend_model *m, const hone_backend_port **in, size_t *n_in, const hone_backend_port **out, size_t *n_out,
                     hone_backend_error *e);
    /* Runs the network once.  in: every input once, in any order.  sink: once per output, in the signature's order; the value is borrowed for the call. */
    int (*infer)(hone_backend_model *m, const hone_backend_value *in, size_t n_in, void (*sink)(void *user, const hone_backend_value *value),
                 void *user, hone_backend_error *e);
    /* Reads a model of another format with the runtime's own reader and writes it in the runtime's own (OpenVINO: .onnx to .xml and .bin).
     * f16: weights of f32 are stored as f16.  Needs no open model. */
    int (*translate)(const char *from, const char *to, bool f16, hone_backend_error *e);
    /* (may be NULL) The rows themselves that weight matrices are multiplied with while ids run, at position 0 with an empty cache (which it leaves empty).
     * names: [n_names] as capture gives them.  sink: while the model computes, for names[name] a run of rows [n_rows, n_cols], each name's in the order of
     * ids; mats: [n_rows] which of n_mats matrices (experts) a row is multiplied with, in the order of ids and, for one id, as the router chose them;
     * NULL: the only one.  3 when a name is none that is multiplied. */
    int (*inputs)(hone_backend_model *m, const int32_t *ids, size_t n, const char *const *names, size_t n_names,
                  void (*sink)(void *user, size_t name, const float *rows, size_t n_rows, size_t n_cols, size_t n_mats, const uint32_t *mats), void *user,
                  hone_backend_error *e);
} hone_backend;

/* The one symbol a plug-in exports. */
const hone_backend *hone_backend_entry(void);
typedef const hone_backend *(*hone_backend_entry_fn)(void);

#ifdef __cplusplus
}
#endif
#endif
