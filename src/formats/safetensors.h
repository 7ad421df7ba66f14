/* safetensors.h - open a safetensors checkpoint (one file, or a folder with model.safetensors / an index and its shards);
 * plan a file to be written.
 * Knows bytes and names; knows no model.  Source: huggingface/safetensors README "Format". */
#ifndef HONE_FORMATS_SAFETENSORS_H
#define HONE_FORMATS_SAFETENSORS_H
#include "ir/model.h"

/* Opens path (a .safetensors file, an .index.json, or a folder holding either).  All of *out lives in the arena, but call
 * (*out)->close for the file descriptors.  Every header of every shard is checked here: lengths, dtypes, shapes x dtype = bytes, the
 * buffer fully covered without overlap, no duplicate names within or across shards, weight_map and shards agree, no path outside the folder. */
hone_code hone_safetensors_open(const char *path, hone_arena *a, hone_source **out, hone_err *err);
/* The __metadata__ string map of file 0 is not kept: nothing needs it yet. */

/* Parses one header held in memory (for the fuzz target and for tests): file is the whole file or its first bytes,
 * file_size its true size.  Appends nothing; *tensors lives in the arena, in file order. */
hone_code hone_safetensors_parse(hone_bytes head, uint64_t file_size, hone_arena *a, hone_tensor **tensors, size_t *n, hone_err *err);

/* --- writing --------------------------------------------------------------------------------------------- */
typedef struct hone_st_entry { /* one tensor of a file to be written */
    const char *name; /* valid UTF-8; borrowed */
    hone_dtype  dtype;
    uint32_t    n_dims;
    uint64_t    dims[4];
    uint64_t    offset, bytes; /* filled: from the start of the file */
} hone_st_entry;

/* Places n tensors in one file and makes its header: length, JSON with {"__metadata__":{"format":format}}, blanks up to a multiple of 8.
 * Every tensor begins at a multiple of its elements' size: in the order given where that holds, else those of 8, 4, 2 and 1 bytes in this order.
 * *head lives in the arena. */
hone_code hone_safetensors_layout(hone_st_entry *e, size_t n, const char *format, hone_arena *a, hone_bytes *head, uint64_t *total, hone_err *err);
#endif
