/* recipe.h - what has to be known besides the source to make an output again, byte for byte: written into every output, read by `hone verify`.
 * GGUF: string key "hone.recipe" (of parts: in the first); folders: file hone.json.  Canonical: sorted keys, no time, no path, options that have
 * their usual value are left out.  "digest" is the sha256 of the same text without it, so that damage to the recipe itself is seen.
 * docs/schema/recipe.json.  An option that changes bytes is one row of the table in recipe.c. */
#ifndef HONE_FLOW_RECIPE_H
#define HONE_FLOW_RECIPE_H
#include "flow/convert.h"

#define HONE_RECIPE_KEY    "hone.recipe"
#define HONE_RECIPE_FILE   "hone.json"
#define HONE_RECIPE_SCHEMA "hone.recipe/1"

/* The recipe of one output that is being planned: options that its format does not take are left out, and of opt->keep those that have matched
 * nothing in it.  Call when types are chosen.  compact: one line, as in GGUF; else as hone.json.  Text in the arena, NUL behind it. */
hone_code hone_recipe_text(const hone_model *m, const hone_convert_options *opt, const struct hone_format *f, const char *quant, bool compact,
                           hone_arena *a, hone_bytes *out, hone_err *err);

typedef struct hone_recipe { /* all text in the arena given or borrowed from doc */
    const struct hone_format *format;
    const char               *quant;
    const char               *made_by;    /* version of hone */
    const char               *model;      /* general.name of GGUF, or NULL */
    const char               *statistics; /* sha256 of the file of statistics that it needs, or NULL */
    hone_convert_options      options;    /* made_by and what the rows say; the caller adds quants, out_dir, name and stats */
    json_t                   *doc;        /* owned: hone_recipe_release */
} hone_recipe;

/* HONE_ENO when the text is damaged (no JSON, or its digest is another), HONE_EINPUT when it is none of ours, HONE_EUNSUPPORTED when a newer hone
 * wrote it. */
hone_code hone_recipe_read(hone_bytes text, hone_arena *a, hone_recipe *out, hone_err *err);
void      hone_recipe_release(hone_recipe *r);

/* ---- what recipes of every kind share (flow/net/recipe.h has the other one) ---- */
/* Gives doc its digest and writes it down: one line when compact.  Text in the arena, NUL behind it. */
hone_code hone_recipe_seal(json_t *doc, bool compact, hone_arena *a, hone_bytes *out, hone_err *err);
/* HONE_ENO when the digest in doc is not that of the rest. */
hone_code hone_recipe_check(const json_t *doc, hone_err *err);
#endif
