/* output.h - what the pipeline of convert.c asks of a format: a plan of files and of the rows in them; and the plan itself.
 * A format is one file here and one row in convert.c. */
#ifndef HONE_FLOW_CONVERT_OUTPUT_H
#define HONE_FLOW_CONVERT_OUTPUT_H
#include "base/file.h"
#include "flow/convert.h"
#include "quant/grouped.h"

typedef struct hone_place { /* where the rows of one weight go: row r to bit r * row_bits from byte offset on */
    uint32_t file;
    uint64_t offset, row_bits;
} hone_place;

typedef struct hone_planned { /* one weight of one output */
    const char  *name;     /* as the format spells it */
    const char  *encoding; /* for people: "q4_k", "int4 g64" */
    hone_dtype   dtype;    /* of the elements when grouped.scheme is HONE_SCHEME_NONE */
    hone_grouped grouped;
    uint32_t     n_streams; /* hone_grouped_streams(), or 1 */
    hone_place   at[HONE_STREAMS]; /* row_bits: hone_grouped_row_bits(), or those of dtype */
    uint32_t     step; /* n > 1: row r goes where row n * r would, the rows between belong to other weights; rows are whole bytes then */
} hone_planned;

typedef struct hone_planned_file {
    const char *name;  /* inside the folder; NULL: the output is this one file */
    const char *copy;  /* a file to copy as it is, or NULL */
    hone_bytes  head;  /* bytes from 0 on: a header, or the whole file */
    uint64_t    total; /* bytes */
    hone_out    out;
    char        sha256[65]; /* hex, once all is written */
} hone_planned_file;

struct hone_format;
typedef struct hone_output {
    const struct hone_format *format;
    const char         *quant;     /* the format's own word */
    const char         *label;     /* what names of files and results say: quant, or "plan" where a plan changes it */
    const char         *path;      /* the file, or the folder */
    bool                folder;    /* a folder of files */
    const char         *opened;    /* what a runtime opens when that is not path; NULL: path */
    const hone_weight  *weights;   /* [n_weights] in output form */
    size_t              n_weights;
    hone_planned       *plan;      /* [n_weights] */
    hone_planned_file  *files;     /* [n_files] */
    size_t              n_files;
    uint64_t            total;     /* bytes of all files */
    size_t              fallbacks; /* weights kept wider than asked */
    const char         *fallback_reason;
    const hone_ctx     *ctx;       /* of the run, for plans that take long */
    const char         *warning;   /* what the user should hear about it, or NULL */
} hone_output;

enum { /* options that say something to a format */
    HONE_TAKES_GROUP = 1,
    HONE_TAKES_ROW = 2, /* --group row */
    HONE_TAKES_SYM = 4,
    HONE_TAKES_RATIO = 8,
    HONE_TAKES_KEEP = 16,
    HONE_TAKES_SPLIT = 32,
    HONE_TAKES_OPS = 64,
};

typedef struct hone_format {
    const char *name, *consumer; /* "gguf"; consumer of data/limits.json */
    const char *words_by;        /* the consumer that reads the tokenizer when it is another one, or NULL */
    const char *(*quant)(size_t i);        /* its encodings for --quant; NULL past the last */
    struct { const char *word, *means; } plain[4]; /* other words for them; the first is "auto" */
    unsigned takes;                        /* HONE_TAKES_... */
    /* Fills o but for format and ctx: everything lives in the arena.  opt->name is the stem of names.  like: an output of the same format that is planned already, or NULL. */
    hone_code (*plan)(const hone_model *m, const hone_convert_options *opt, const char *quant, const hone_output *like, hone_arena *a,
                      hone_output *o, hone_err *err);
    /* What lies at path must be what was planned; read by code that shares nothing with the writer. */
    hone_code (*reread)(const hone_output *o, const char *path, hone_err *err);
    bool (*owns)(const char *file); /* true for names of files that a folder of this format holds; NULL: it is never a folder */
} hone_format;

/* True when one of the format's encodings has this name (words of .plain are none). */
bool hone_format_knows(const hone_format *f, const char *quant);

extern const hone_format hone_format_gguf, hone_format_onnx, hone_format_openvino, hone_format_mlx;

/* Adds a file that is these bytes to o->files, which has room for it. */
hone_planned_file *hone_plan_bytes(hone_output *o, const char *name, hone_bytes bytes);
/* Adds to o->files (there is room for n more) those of these names that lie beside the source's weights, or what stands in for them. */
hone_code hone_plan_sides(const hone_model *m, const char *const *names, size_t n, hone_arena *a, hone_output *o, hone_err *err);
/* Adds hone.json (flow/recipe.h) to o->files, which has room for it; o->quant is set and types are chosen. */
hone_code hone_plan_recipe(const hone_model *m, const hone_convert_options *opt, hone_arena *a, hone_output *o, hone_err *err);
/* A JSON document of the source ("config.json"); *out owned, left alone when there is none. */
hone_code hone_source_document(const hone_model *m, const char *name, json_t **out, hone_err *err);

/* Bytes of a row of n_cols elements. */
static inline uint64_t hone_row_bytes(hone_dtype t, uint64_t n_cols)
{
    const hone_dtype_info *i = hone_dtype_get(t);
    return n_cols / i->block_elems * i->block_bytes;
}
#endif
