/* head.h - find the header of a safetensors file.  Knows bytes; knows no model.
 * Source: huggingface/safetensors README, "Format": u64 LE N, N bytes of JSON, then the data. */
#ifndef HONE_FORMATS_SAFETENSORS_HEAD_H
#define HONE_FORMATS_SAFETENSORS_HEAD_H
#include "base/bytes.h"
#include "base/err.h"

#define HONE_ST_HEAD_MAX 100000000u /* bytes; the reference reader's own limit (safetensors/src/tensor.rs, MAX_HEADER_SIZE) */

typedef struct hone_st_head {
    uint64_t json_len; /* bytes of JSON, from byte 8 of the file */
    uint64_t data_off; /* bytes from the start of the file to the first tensor */
} hone_st_head;

/* Locates the JSON header.  Reads 9 bytes, allocates nothing, thread-safe.
 *   head  the file's first bytes, all of it or at least 9     file_size  its true size     out  written on HONE_OK only
 * Errors: HONE_EINPUT when the file is short, N is outside 1..HONE_ST_HEAD_MAX, N runs past the end of the file, or the
 * header does not begin with '{'. */
hone_code hone_st_head_find(hone_bytes head, uint64_t file_size, hone_st_head *out, hone_err *err);
#endif
