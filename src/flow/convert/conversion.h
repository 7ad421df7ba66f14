/* conversion.h - one run of `hone convert`: what convert.c plans, tiles.c computes and files.c writes. */
#ifndef HONE_FLOW_CONVERT_CONVERSION_H
#define HONE_FLOW_CONVERT_CONVERSION_H
#include "base/folder.h"
#include "base/pool.h"
#include "flow/convert/correction.h"
#include "flow/convert/output.h"
#include "flow/convert/treatment.h"
#include <stdatomic.h>

/* What one output does with a row that was read: row r of the item becomes row to[r] (NULL: r) of weight `weight` of output `output`. */
typedef struct hone_use {
    uint32_t         output, weight;
    const uint32_t  *to;
    const hone_known *known; /* how its rows are treated; NULL: encoded as they are */
    hone_correction  *rounded; /* of a matrix whose bias waits for its rows; NULL: none does */
    const hone_correction *corrected; /* of the bias; NULL: it stays as it is */
    struct hone_use *next;
} hone_use;

/* Rows that are read once, in the order in which they are stored, for all outputs that want them in whatever order and scale. */
typedef struct hone_item {
    hone_weight w; /* plain */
    hone_use   *uses;
    uint64_t    first, step; /* its first tile among all, and rows in a full tile */
} hone_item;

/* Encoded rows of one stream, and where they go. */
typedef struct hone_piece { hone_out *out; uint64_t offset; const uint8_t *bytes; size_t n; } hone_piece;
/* What is not written yet of a tile that was encoded for one output: another worker was writing to its file. */
typedef struct hone_kept { hone_piece piece[HONE_STREAMS]; uint32_t n; } hone_kept;
typedef struct hone_kept_tiles { hone_kept tile[2]; unsigned last; /* taken last: the younger where both are kept */ } hone_kept_tiles;

typedef struct hone_conversion {
    const hone_ctx    *ctx;
    const hone_model  *m;
    hone_arena         arena;
    hone_output        outputs[HONE_MAX_OUTPUTS];
    hone_folder        folders[HONE_MAX_OUTPUTS]; /* of outputs that are folders */
    size_t             n_outputs;
    hone_item         *items;
    size_t             n_items;
    size_t             n_tiles; /* of all items */
    size_t            *jobs, n_jobs; /* [n_jobs + 1]: job i is tiles jobs[i] .. jobs[i + 1] - 1 */
    size_t             late_item, late_job; /* from here on come biases that wait for their matrices; n_items, n_jobs: there are none */
    unsigned           threads; /* no more than there are jobs */
    /* [threads][scratch_each]: floats as read, floats as an output wants them, floats as they come back from its bytes, bytes read, order of rows, what
     * treatments need, encoded rows, bytes to write of two tiles */
    uint8_t           *scratch;
    size_t             scratch_each, floats_bytes, form_bytes, back_bytes, read_bytes, order_bytes, treat_bytes, treated_bytes, tile_bytes;
    hone_kept_tiles   *kept; /* [threads] */
    hone_treatments   *treat; /* NULL: nothing is known, or the method makes no use of it */
    uint64_t           source_bytes;
    json_t            *plans[HONE_MAX_OUTPUTS]; /* owned: of a plan's lines, for recipes */
    _Atomic uint64_t   done;
} hone_conversion;

/* What takes the place of files (flow/verify/compare.c): the same plan, the same tiles, and another end for the bytes. */
typedef struct hone_judge {
    void *self;
    /* All outputs are planned, tiles are not: the judge may change where rows lie, and in which type. */
    hone_code (*planned)(void *self, hone_conversion *j, hone_err *err);
    /* Opens j->outputs' files in its own way, runs the tiles and looks at the result; nothing is written. */
    hone_code (*run)(void *self, hone_conversion *j, hone_err *err);
} hone_judge;

/* ---- tiles.c ---- */
/* Bytes of n_rows rows in all streams. */
uint64_t  hone_planned_bytes(const hone_planned *p, uint64_t n_rows);
/* items from outputs, what is known of them, then tiles, threads and sizes of scratch from items. */
hone_code hone_conversion_tiles(hone_conversion *j, const hone_convert_options *opt, hone_err *err);
/* The tiles of job `index`, while the source fetches those of a later one: a job of base/pool.h.  Workers may keep rows to write them later:
 * after the last job comes hone_conversion_put_kept. */
hone_code hone_conversion_run_job(void *job, size_t index, unsigned worker, hone_err *err);
/* Reads tile `index` and puts its rows where every output wants them, or keeps some for a moment in which their file is free.  Comparing outputs are
 * told at once. */
hone_code hone_conversion_run_tile(void *job, size_t index, unsigned worker, hone_err *err);
/* All jobs, those of biases that are corrected when the others are done, each by `run`: hone_conversion_run_job or what calls it. */
hone_code hone_conversion_run(hone_conversion *j, hone_job run, hone_err *err);
/* Writes what workers have kept.  No job may be running. */
hone_code hone_conversion_put_kept(hone_conversion *j, hone_err *err);
/* What --dry-run says about time: one tile of every encoding in use is read and encoded here and now, the rest is arithmetic. */
hone_code hone_conversion_estimate(hone_conversion *j, double *seconds, hone_err *err);

/* ---- files.c ---- */
/* Checks disk and memory, runs all tiles, and gives every file its name; res->outputs get their digests. */
hone_code hone_conversion_write(hone_conversion *j, const hone_convert_options *opt, hone_convert_result *res, hone_err *err);
/* The bytes of a file that are not rows of weights, into f->out: its head, or the file that it is a copy of. */
hone_code hone_conversion_put_head(hone_planned_file *f, hone_err *err);
/* Memory for all threads' tiles; checked before against what the machine has. */
hone_code hone_conversion_take_memory(hone_conversion *j, const char *folder, hone_err *err);
/* What a failed run leaves: nothing under a temporary name. */
void      hone_conversion_discard(hone_conversion *j);
#endif
