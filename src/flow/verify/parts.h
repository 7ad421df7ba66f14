/* parts.h - what verify.c, found.c, compare.c, metadata.c, places.c and network.c share. */
#ifndef HONE_FLOW_VERIFY_PARTS_H
#define HONE_FLOW_VERIFY_PARTS_H
#include "flow/convert/conversion.h"
#include "flow/recipe.h"
#include "formats/gguf.h"
#include <pthread.h>

/* ---- found.c: what lies at the path ---- */
typedef struct hone_found {
    const char        *path;   /* as given */
    const char        *dir;    /* of a folder of files; NULL: one file */
    bool               gguf;
    const char        *prefix; /* of GGUF parts: what stands before -00001-of-00003.gguf; NULL: not parts */
    const char *const *names;  /* [n_names] of a folder: all files in it, of parts: those of this prefix; sorted.  One file: its path */
    size_t             n_names;
    hone_bytes         recipe; /* text; len 0: none was found */
    bool               whole_dir; /* dir was named (or a file that is nothing without it): files that do not belong there are extra */
} hone_found;
hone_code hone_found_open(const char *path, hone_arena *a, hone_found *out, hone_err *err);

/* ---- differences ---- */
#define HONE_SAMPLE 16 /* bytes shown */
typedef enum hone_differs {
    HONE_DIFFERS_NOT,
    HONE_DIFFERS_TENSOR,    /* rows of a weight */
    HONE_DIFFERS_HEADER,    /* bytes that are no rows: metadata, a copied file */
    HONE_DIFFERS_PADDING,   /* bytes between tensors, which are zero */
    HONE_DIFFERS_MISSING,   /* a file that is not there */
    HONE_DIFFERS_EXTRA,     /* a file that does not belong there */
    HONE_DIFFERS_TRUNCATED, /* the file ends before its time */
    HONE_DIFFERS_LONGER,
    HONE_DIFFERS_SHAPE,     /* the artefact's tensors are not those that the source gives */
} hone_differs;

typedef struct hone_difference { /* the first, by name of file and place in it */
    hone_differs kind;
    const char  *file;   /* name inside the folder, or the path of a single file */
    uint64_t     offset; /* in the file */
    size_t       weight; /* TENSOR: index in the plan */
    uint32_t     stream;
    uint64_t     row, block; /* TENSOR; block: in the row */
    uint8_t      want[HONE_SAMPLE], found[HONE_SAMPLE];
    size_t       n_want, n_found; /* n_found 0: the file ends before */
} hone_difference;

typedef struct hone_comparison {
    const hone_found  *found;
    const hone_recipe *recipe; /* NULL: the artefact has none */
    hone_arena        *a;
    hone_judge         judge;   /* for hone_convert_options */
    hone_out_judge     sink;
    hone_conversion   *j;       /* while it runs */
    bool               by_name; /* tensors are compared where the artefact has them */
    bool               foreign; /* and nothing else is */
    const char *const *paths;   /* [n_files] of the output's files */
    const hone_planned *plan;   /* the output's, while it runs */
    const char        *tensor, *encoding, *stream; /* of the first difference, in the arena: what outlives the conversion */
    size_t             n_weights;
    pthread_mutex_t    lock;    /* guards first, touched and the counts of differences */
    hone_difference    first;
    uint8_t           *touched; /* [n_weights] has differences */
    uint64_t           bytes_differ, blocks_differ;
    uint64_t           n_bytes, n_blocks, n_files; /* compared */
    json_t            *metadata; /* array of {file, key, expected, found}; owned */
    json_t            *files;    /* array of {file, what, expected_bytes, found_bytes}; owned */
    json_t            *values;   /* {column, expected, found} of the first difference, or NULL; owned */
} hone_comparison;

/* ---- compare.c ---- */
/* found, recipe and arena are set. */
hone_code hone_comparison_init(hone_comparison *c, hone_err *err);
void      hone_comparison_release(hone_comparison *c);
/* Takes the difference when it comes before the first one so far. */
void hone_comparison_note(hone_comparison *c, const hone_difference *d);
const char *hone_comparison_file(const hone_comparison *c, size_t file); /* as hone_difference.file */
/* A file that is missing, extra, truncated or longer: a difference, and an entry of c->files. */
hone_code hone_comparison_note_file(hone_comparison *c, const char *name, hone_differs kind, uint64_t want, uint64_t found, hone_err *err);
/* A file of the artefact's folder that does not belong there; its name may be any bytes. */
hone_code hone_comparison_note_extra(hone_comparison *c, const char *file, hone_err *err);

/* ---- network.c ---- */
/* The artefact of a model that is no language model; found and arena of c are set.  HONE_ENO: the recipe is of another source. */
struct hone_net_recipe;
hone_code hone_comparison_network(hone_comparison *c, const hone_ctx *ctx, const struct hone_net_recipe *recipe, const char *source, uint64_t *peak_rss, hone_err *err);

/* ---- places.c ---- */
/* A GGUF artefact whose header is not the planned one: its tensors are found by their names. */
hone_code hone_comparison_gguf(hone_comparison *c, hone_err *err);
/* The weight, stream, row, and block in the row that a byte of a file belongs to; false: none. */
bool hone_comparison_place(const hone_comparison *c, size_t file, uint64_t offset, size_t *weight, uint32_t *stream, uint64_t *row, uint64_t *block);
/* Bits of a block in a stream. */
uint64_t hone_comparison_block_bits(const hone_planned *p, uint32_t stream, uint64_t cols);
/* Bytes that no row lies in must be zero. */
hone_code hone_comparison_gaps(hone_comparison *c, hone_err *err);
/* What the first difference means in numbers: c->values. */
hone_code hone_comparison_values(hone_comparison *c, hone_err *err);

/* ---- metadata.c: what people call a difference in a header; entries of c->metadata ---- */
hone_code hone_metadata_add(hone_comparison *c, const char *file, const char *key, const char *want, const char *found, hone_err *err);
hone_code hone_metadata_gguf(hone_comparison *c, const char *file, const hone_gguf *want, const hone_gguf *found, hone_err *err);
/* Two JSON documents; texts that are none say nothing. */
hone_code hone_metadata_json(hone_comparison *c, const char *file, hone_bytes want, hone_bytes found, hone_err *err);
/* The header of output file `file` is not what it should be: which keys.  A GGUF header that cannot be read is told by the key at `offset`. */
hone_code hone_metadata_file(hone_comparison *c, size_t file, uint64_t offset, hone_err *err);
#endif
