/* reference.h - logits or embeddings that another implementation computed: F.safetensors with input_ids and logits (or
 * embeddings, last_hidden_state, attention_mask), and F.json beside it with a greedy continuation.  Knows no runtime. */
#ifndef HONE_MEASURE_CHECK_REFERENCE_H
#define HONE_MEASURE_CHECK_REFERENCE_H
#include "base/arena.h"
#include "base/json.h"
#include "ir/model.h"

typedef struct hone_reference { /* close when done; memory in the arena given */
    hone_source       *source;
    const hone_tensor *logits;     /* f32 [rows, cols, width] or NULL */
    const hone_tensor *embeddings; /* f32 [rows, width] or NULL; one of the two is there */
    const hone_tensor *hidden;     /* f32 [rows, cols, width] or NULL */
    float             *memory;     /* logits [rows, cols / every, width] that a reference artefact computed, owned; NULL: from the file */
    size_t             every;      /* n > 1: memory holds the last position of every n; cols is a multiple of it */
    size_t             rows, cols, width;
    const int32_t     *ids;    /* [rows, cols] */
    const size_t      *counts; /* [rows] ids of a row that are no padding */
    /* From the .json; greedy_n 0: none. */
    const int32_t     *greedy; /* [rows, greedy_n] arg-max continuation of each row */
    const double      *gaps;   /* [rows, greedy_n] lead of the best logit over the second at each step */
    size_t             greedy_n;
} hone_reference;

/* path: the .safetensors.  HONE_EINPUT names tensor, shapes or key. */
hone_code hone_reference_open(const char *path, hone_arena *a, hone_reference *out, hone_err *err);
/* Reads the row-th, col-th vector (col 0 for embeddings) of t into out[width].  t NULL: from memory, which has to hold it. */
hone_code hone_reference_read(const hone_reference *r, const hone_tensor *t, size_t row, size_t col, float *out, hone_err *err);
void      hone_reference_close(hone_reference *r);
/* The greedy part of the .json, for tests: rows as in *r. */
hone_code hone_reference_greedy(const json_t *root, const char *what, hone_arena *a, hone_reference *r, hone_err *err);
#endif
