/* read.h - walks the header of a GGUF file.  Shares no code with write.c: it is what checks the writer's work.
 * Source: ggml docs/gguf.md; ggml/src/gguf.cpp for what the reference reader refuses. */
#ifndef HONE_FORMATS_GGUF_READ_H
#define HONE_FORMATS_GGUF_READ_H
#include "formats/gguf.h"

/* Finds where the header ends (unaligned), allocating nothing.  head: the file's first bytes.
 *   *need  0 when the header ends inside head; else how many first bytes to come back with (HONE_OK, *len untouched)
 * Errors: those of hone_gguf_parse that show without the key "general.alignment". */
hone_code hone_gguf_head_len(hone_bytes head, uint64_t file_size, uint64_t *len, uint64_t *need, hone_err *err);
#endif
