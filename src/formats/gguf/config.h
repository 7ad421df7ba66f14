/* config.h - a GGUF file's metadata as the config.json of the checkpoint that it was made from.  Knows no family: the words a family reads and what
 * llama.cpp has built in come as data.  Source: llama.cpp conversion/base.py and conversion/<family>.py, read backwards. */
#ifndef HONE_FORMATS_GGUF_CONFIG_H
#define HONE_FORMATS_GGUF_CONFIG_H
#include "base/json.h"
#include "formats/gguf.h"

typedef struct hone_gguf_family { /* what to write */
    const char           *hf_class, *model_type; /* "LlamaForCausalLM", "llama" */
    const char           *words;                 /* keys of config.json that the family reads */
    const hone_gguf_arch *arch;
} hone_gguf_family;

/* config.json for the file; *out owned.  Errors: HONE_EINPUT names a key that is missing or of a wrong type; HONE_EUNSUPPORTED a rotation whose
 * scaling cannot be told in the words of config.json. */
hone_code hone_gguf_config(const hone_gguf *g, const hone_gguf_family *family, json_t **out, hone_err *err);

/* general.architecture in buf; false when it is missing, no text or longer. */
bool hone_gguf_architecture(const hone_gguf *g, char *buf, size_t cap);
/* "<architecture>.<tail>" as a whole number; false when it is not there or no number. */
bool hone_gguf_number(const hone_gguf *g, const char *arch, const char *tail, double *out);
/* "mean", "cls", "last" or NULL by <architecture>.pooling_type. */
hone_pooling hone_gguf_pooling(const hone_gguf *g, const char *arch);
#endif
