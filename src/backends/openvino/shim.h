/* shim.h - what the OpenVINO plug-in needs from OpenVINO's C++ side, as C functions.  No exception leaves them.
 * OpenVINO's own C functions end where a language model begins: no states of a request, no change of a graph, no strings out of a tensor.
 * Their handles cannot be turned into C++ objects either, so everything from the file on goes through here.
 * All functions that can fail return the numbers of hone_backend.h and fill *e; what OpenVINO itself said goes to stderr. */
#ifndef HONE_BACKENDS_OPENVINO_SHIM_H
#define HONE_BACKENDS_OPENVINO_SHIM_H
#include "hone/backend.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Version, and "CPU: <name>; GPU: <name>", for which the libraries of all devices are loaded (not with devices_cap 1). */
int hone_ovrt_probe(char *version, size_t version_cap, char *devices, size_t devices_cap, hone_backend_error *e);

/* --- a model: read, compiled, run ---------------------------------------------------------------------------------- */
typedef struct hone_ovrt_model hone_ovrt_model;

typedef struct hone_ovrt_facts {
    uint64_t weights_bytes; /* constants, each once */
    uint32_t n_vocab;       /* last dimension of the logits; 0: no logits, or not said */
    uint32_t width;         /* of a hidden state; 0: not said */
    bool     logits, hidden, pooled; /* what hone_ovrt_compile can be asked for */
    bool     cached;        /* has states: remembers what it was given */
    char     name[64];      /* as the file calls the network */
} hone_ovrt_facts;

typedef enum hone_ovrt_kind {
    HONE_OVRT_LOGITS, /* [rows, vocab] */
    HONE_OVRT_HIDDEN, /* [rows, width]: behind the last norm */
    HONE_OVRT_POOLED  /* [1, width] */
} hone_ovrt_kind;

typedef struct hone_ovrt_how {
    hone_ovrt_kind kind;
    const char    *device; /* of hone_backend_open */
    uint32_t       threads;
    bool           exact;
} hone_ovrt_how;

/* Reads xml and the .bin beside it.  3: damaged or not there; 4: an input that is not one of a language model, an operator that is not known. */
int  hone_ovrt_read(const char *xml, hone_ovrt_model **out, hone_ovrt_facts *facts, hone_backend_error *e);
void hone_ovrt_free(hone_ovrt_model *m);
/* Compiles for a device, for the processor where that fails.  info: device, fallback, description.  Once per model. */
int  hone_ovrt_compile(hone_ovrt_model *m, const hone_ovrt_how *how, hone_backend_info *info, hone_backend_error *e);
/* Evaluates ids behind past remembered tokens.  rows: numbers of the ids whose rows are wanted, ascending; n_rows > 0 (pooled: ignored).
 * After a failure the memory is in no certain state: hone_ovrt_reset. */
int  hone_ovrt_run(hone_ovrt_model *m, const int32_t *ids, size_t n, size_t past, const int64_t *rows, size_t n_rows, hone_backend_error *e);
/* The values of the i-th wanted row of the last run; valid until the next. */
const float *hone_ovrt_row(const hone_ovrt_model *m, size_t i, size_t *n_values);
void hone_ovrt_reset(hone_ovrt_model *m);
/* Forgets all but the first pos of past tokens; 4: these states cannot be cut (then as after a failure). */
int  hone_ovrt_trim(hone_ovrt_model *m, size_t pos, size_t past, hone_backend_error *e);
/* hone_backend.layers, in a request of its own. */
int  hone_ovrt_layers(hone_ovrt_model *m, const int32_t *ids, size_t n,
                      void (*sink)(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd), void *user, hone_backend_error *e);

/* --- any network, by the names of its inputs and outputs ---------------------------------------------------------------- */
typedef struct hone_ovrt_net hone_ovrt_net;

/* how->path: an .xml or .onnx file, or a folder with openvino_model.xml, model.xml or model.onnx.  Compiled for how->device, for the processor where that fails. */
int  hone_ovrt_net_open(const hone_backend_open *how, hone_ovrt_net **out, hone_backend_info *info, hone_backend_error *e);
void hone_ovrt_net_free(hone_ovrt_net *n); /* NULL is fine */
/* The arrays live until free. */
void hone_ovrt_net_signature(const hone_ovrt_net *n, const hone_backend_port **in, size_t *n_in, const hone_backend_port **out, size_t *n_out);
int  hone_ovrt_net_infer(hone_ovrt_net *n, const hone_backend_value *in, size_t n_in, void (*sink)(void *user, const hone_backend_value *value),
                         void *user, hone_backend_error *e);
/* hone_backend.translate */
int  hone_ovrt_translate(const char *from, const char *to, bool f16, hone_backend_error *e);

/* --- text: openvino_tokenizer.xml and openvino_detokenizer.xml, whose operators come from libopenvino_tokenizers.so --------- */
typedef struct hone_ovrt_text hone_ovrt_text;

/* 4: the library of the operators is not beside libopenvino.so. */
int  hone_ovrt_text_open(const char *tokenizer_xml, const char *detokenizer_xml, hone_ovrt_text **out, hone_backend_error *e);
void hone_ovrt_text_free(hone_ovrt_text *t);
/* A value of the tokenizer's rt_info, or NULL; lives as long as t. */
const char *hone_ovrt_text_info(hone_ovrt_text *t, const char *key);
/* ids is valid until the next call.  Without parse_special no added token is looked for in the text. */
int  hone_ovrt_tokenize(hone_ovrt_text *t, const char *text, size_t len, bool add_special, bool parse_special, const int64_t **ids, size_t *n,
                        hone_backend_error *e);
/* text is valid until the next call.  special: control tokens are written as their names, else left out. */
int  hone_ovrt_detokenize(hone_ovrt_text *t, const int32_t *ids, size_t n, bool special, const char **text, size_t *len, hone_backend_error *e);

#ifdef __cplusplus
}
#endif
#endif
