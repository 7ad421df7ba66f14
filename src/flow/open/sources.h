/* sources.h - what can be converted besides a checkpoint folder.  Each opener fills m; the caller closes it, also after a failure. */
#ifndef HONE_FLOW_OPEN_SOURCES_H
#define HONE_FLOW_OPEN_SOURCES_H
#include "flow/convert.h"

/* A .gguf file, or the first of its parts: weights as a checkpoint has them (quantised ones are decoded when they are read), with the config.json and
 * the tokenizer files that its metadata stand for. */
hone_code hone_open_gguf(const char *path, hone_model *m, hone_err *err);
#endif
