/* imatrix.h - what calibration saw (ir/stats.h) as a file: llama.cpp's importance matrix, in GGUF, with what hone adds.
 *
 *   general.type "imatrix", imatrix.datasets [str], imatrix.chunk_count u32, imatrix.chunk_size u32 (tokens)
 *   NAME.in_sum2  f32 [n_mats, n_cols]   sums of squares         } llama-imatrix and llama-quantize know these two
 *   NAME.counts   f32 [n_mats, 1]        rows                    }
 *   NAME.in_abs   f32 [n_mats, n_cols]   sums of magnitudes      } they pass over the rest
 *   NAME.in_max   f32 [n_mats, n_cols]   largest magnitudes      }
 *   NAME.in_sum   f32 [n_mats, n_cols]   sums, with signs (the name that llama.cpp's pull request 14891 has for them)
 *   NAME.hessian  f32 [n_mats, n_cols*(n_cols+1)/2]  sums of x x^T: of row i the columns 0..i, row after row; of weights that share an input
 *                                        it stands under the first name only
 *   hone.calibration.names [str], hone.calibration.tokens [u64]: beside imatrix.datasets, one for each text
 *
 * NAME is the weight's name in a GGUF model.  Source: llama.cpp tools/imatrix/imatrix.cpp (save_imatrix), common/imatrix-loader.cpp. */
#ifndef HONE_FORMATS_GGUF_IMATRIX_H
#define HONE_FORMATS_GGUF_IMATRIX_H
#include "formats/gguf.h"
#include "ir/stats.h"

typedef struct hone_stats_text { /* what was run */
    const char *path; /* as imatrix.datasets holds it */
    const char *name; /* a language, say; NULL: not known */
    uint64_t    tokens; /* 0: not known */
} hone_stats_text;

typedef struct hone_stats_origin {
    const hone_stats_text *texts; /* [n_texts] */
    size_t                 n_texts;
    uint32_t               chunk_count, chunk_size; /* chunks of so many tokens; 0: not known */
    bool                   tied;   /* HONE_R_OUTPUT is the embedding: the file calls it token_embd.weight */
    bool                   legacy; /* the old form (.dat): counts are chunks, not rows, and cold experts cannot be told */
} hone_stats_origin;

/* Opens a file of llama-imatrix (GGUF, or the form before it) or of hone.  Everything but the Hessians is read into the arena; *out keeps the file open
 * until hone_stats_close.  Inputs are in the order of layers and roles; weights that hone knows no role for are passed over.
 * Errors: HONE_EINPUT for a file that is damaged, holds something else (a model), or nothing that hone knows; HONE_ERESOURCE. */
hone_code hone_stats_open(const char *path, hone_arena *a, hone_stats *out, hone_err *err);
/* NULL, zeroed and closed ones are fine; so are those that no file is behind. */
void hone_stats_close(hone_stats *s);
/* Of what hone_stats_open has opened; lives as long as its arena. */
const hone_stats_origin *hone_stats_origin_of(const hone_stats *s);

/* Writes s as path, whole or not at all, and reads it back with another code before it gets its name.  s->hessian is asked for one matrix after the
 * other, in the order of s->inputs, so that it may compute them then.  Memory: the largest Hessian.
 * Errors: HONE_ERESOURCE, those of s->hessian. */
hone_code hone_stats_write(const char *path, const hone_stats *s, const hone_stats_origin *origin, hone_err *err);

/* The parts of hone_stats_open, for the fuzz target: from a parsed GGUF whose source stays the caller's, and from the bytes of the old form. */
hone_code hone_stats_from_gguf(const hone_gguf *g, hone_arena *a, hone_stats *out, hone_err *err);
hone_code hone_stats_from_legacy(hone_bytes file, hone_arena *a, hone_stats *out, hone_err *err);
#endif
