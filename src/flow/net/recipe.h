/* recipe.h - what has to be known besides the source to make a network's output again, byte for byte: hone.json in its folder, as flow/recipe.h has it
 * for language models.  Static int8: what calibration and the accuracy gate decided (ranges, corrections, factors of channels, layers put back) is in it, so
 * that nothing has to be run again; the samples are named by their digest for people.  docs/schema/recipe_network.json. */
#ifndef HONE_FLOW_NET_RECIPE_H
#define HONE_FLOW_NET_RECIPE_H
#include "flow/net.h"

#define HONE_NET_RECIPE_SCHEMA "hone.recipe.network/1"

typedef struct hone_net_recipe {
    hone_net_target          target;
    const char              *made_by; /* version of hone */
    const char              *source;  /* its digest: hone_onnx_net_sha256 */
    const char              *runtime; /* what translated it: "openvino 2026.4.1-..."; NULL: nobody */
    hone_net_convert_options options; /* keep_io, standard, no_fold, group, keep, wide, factors; all else is the caller's */
    const json_t            *known;   /* static int8: flow/net/static.h; NULL: not static.  Borrowed */
    json_t                  *doc;     /* of a recipe that was read: owned, hone_net_recipe_release */
} hone_net_recipe;

/* As hone.json; options that say nothing about this target are left out.  Text in the arena. */
hone_code hone_net_recipe_text(const hone_net_recipe *r, hone_arena *a, hone_bytes *out, hone_err *err);
/* True when the text is such a recipe by its own word, damaged or not. */
bool      hone_net_recipe_is(hone_bytes text);
/* HONE_ENO: damaged.  HONE_EINPUT: keys are missing or of the wrong kind.  HONE_EUNSUPPORTED: of a newer hone.  Strings are borrowed from out->doc. */
hone_code hone_net_recipe_read(hone_bytes text, hone_arena *a, hone_net_recipe *out, hone_err *err);
void      hone_net_recipe_release(hone_net_recipe *r);
#endif
