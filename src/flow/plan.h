/* plan.h - a plan says which encoding each weight gets in each format.  It is a file that a person can read and edit (YAML; docs/PLAN.md), made
 * by `hone plan` and taken by `hone convert --plan`.  Knows which formats there are, and nothing of what they can do: flow/convert/choice.h does. */
#ifndef HONE_FLOW_PLAN_H
#define HONE_FLOW_PLAN_H
#include "base/json.h"
#include "base/text.h"
#include "ir/model.h"

#define HONE_PLAN_SCHEMA  "hone.plan_file/1"
#define HONE_PLAN_FORMATS 4 /* gguf, onnx, openvino, mlx: in the order of hone_convert_format */

typedef struct hone_plan_line { /* strings live in the arena given at reading */
    const char *tensor;         /* a name in the checkpoint, or a glob over them; NULL: by role and layer */
    hone_role   role;           /* HONE_R_COUNT: any */
    int32_t     first, last;    /* layers; -1 and -1: any, and what is of no layer */
    uint32_t    bits;           /* 2 3 4 5 6 8 16 32: the nearest that each format has; 0: not said */
    const char *word[HONE_PLAN_FORMATS]; /* the encoding as --dry-run --json calls it: "q4_k", "int4 asym g32"; NULL: not said */
    uint32_t    at;             /* line of the file, 0: none */
    const char *note;           /* written behind the line as a comment; NULL: none */
} hone_plan_line;

typedef struct hone_plan {
    const hone_plan_line *lines; /* [n_lines] */
    size_t                n_lines;
    const char           *base[HONE_PLAN_FORMATS]; /* encoding of what no line names, a word for --quant; NULL: the format's usual one */
    bool                  named[HONE_PLAN_FORMATS]; /* "formats" has it: what is written when nobody says --to */
    const char           *path;  /* where it was read, or NULL */
} hone_plan;

/* Reads a plan.  what names the text in errors.  HONE_EINPUT names the line, the key and what is wrong with it. */
hone_code hone_plan_parse(hone_bytes text, const char *what, hone_arena *a, hone_plan *out, hone_err *err);
hone_code hone_plan_load(const char *path, hone_arena *a, hone_plan *out, hone_err *err);
/* What of a plan decides the bytes of an output of a format (by number), in a canonical form: {"weights": [...]}.  *out owned.  And back. */
hone_code hone_plan_document(const hone_plan *p, size_t format, json_t **out, hone_err *err);
hone_code hone_plan_from_document(const json_t *doc, hone_arena *a, hone_plan *out, hone_err *err);

typedef struct hone_plan_said { /* about one weight in one format */
    const hone_plan_line *line; /* NULL: nothing */
    const char           *word; /* NULL: line->bits */
    bool                  by_name; /* the line names this weight and no other */
} hone_plan_said;

/* The line that holds for w of m in a format (by number): the one that names it most closely; a name before role and layer, both before one of them,
 * any before a glob.  HONE_EINPUT when two that name it as closely disagree.  Biases, norms and constants have none. */
hone_code hone_plan_find(const hone_plan *p, const hone_model *m, const hone_weight *w, size_t format, hone_plan_said *out, hone_err *err);
/* Every line names at least one matrix of m: else HONE_EINPUT with the line and the nearest name. */
hone_code hone_plan_check(const hone_plan *p, const hone_model *m, hone_err *err);
/* True for matrices: what a plan can speak about. */
bool hone_plan_covers(const hone_weight *w);

/* One line of a plan as the file spells it: "tensor: ...", "role: attn_q, layer: 3". */
const char *hone_plan_selector(const hone_plan_line *l, char *out, size_t cap);

/* What stands in the head of a file, for people and programs; nothing of it decides bytes. */
typedef struct hone_plan_about {
    const char *source;   /* the model's name */
    const char *hf_class;
    uint64_t    parameters;
    const char *target;   /* "bytes 4900000", "bpw 4.5", "kld 0.01", "ram 2000000000"; NULL: none */
    const char *sensitivity; /* how the costs were found, in one line; NULL */
    struct hone_plan_about_format {
        uint64_t bytes;
        double   bpw, kld; /* kld: predicted, if has_kld */
        bool     has_kld, measured;
        double   measured_kld, low, high; /* of the whole plan, on the calibration text; 95 % interval */
        char     by[80];   /* where that was measured */
    } of[HONE_PLAN_FORMATS];
} hone_plan_about;

/* Writes the file's text.  HONE_ERESOURCE when memory is gone. */
hone_code hone_plan_write(const hone_plan *p, const hone_plan_about *about, hone_text *out, hone_err *err);
#endif
