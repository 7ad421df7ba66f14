/* meta.h - the metadata keys of a model: general.* and <arch>.*, the same ones that llama.cpp's converter writes.
 * Knows facts and the gguf column that came with them; knows no family.
 * Source: llama.cpp conversion/base.py (TextModel.set_gguf_parameters) and conversion/<family>.py; src/llama-arch.cpp for spellings. */
#ifndef HONE_FORMATS_GGUF_META_H
#define HONE_FORMATS_GGUF_META_H
#include "formats/gguf.h"

/* general.{architecture,type,name,size_label,file_type,quantization_version}.  file_type: llama.h's LLAMA_FTYPE_* (15 is q4_k_m). */
hone_code hone_gguf_put_general(hone_gguf_writer *w, const hone_model *m, const char *arch_name, uint32_t file_type, hone_err *err);

/* <arch_name>.* from the facts; facts->gguf says which optional keys (NULL: those every file needs). */
hone_code hone_gguf_put_facts(hone_gguf_writer *w, const hone_facts *f, const char *arch_name, hone_err *err);

/* "7.3M", "8x7B": parameters for people, as gguf-py/gguf/utility.py size_label rounds them.  out has cap bytes (16 are enough); returns out. */
const char *hone_gguf_size_label(const hone_weight *weights, size_t n, char *out, size_t cap);
#endif
