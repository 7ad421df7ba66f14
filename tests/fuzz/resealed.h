/* resealed.h - what the fuzz targets of recipes share: an input is read as it is, and once more with a digest that holds, behind which the parser lies. */
#ifndef HONE_FUZZ_RESEALED_H
#define HONE_FUZZ_RESEALED_H
#include "flow/recipe.h"
#include <stdlib.h>

static inline void must_say_why(const hone_err *err)
{
    if (err->code == HONE_OK || err->cause[0] == '\0') abort();
}

static inline void read_resealed(const uint8_t *data, size_t size, void (*read_one)(hone_bytes text, hone_arena *a))
{
    hone_arena a = { 0 };
    hone_bytes text = { data, size };
    json_t    *doc = NULL;
    read_one(text, &a);
    if (hone_json_parse(text, "recipe", &doc, NULL) == HONE_OK && json_is_object(doc)) {
        (void)json_object_del(doc, "digest");
        if (hone_recipe_seal(doc, true, &a, &text, NULL) == HONE_OK) read_one(text, &a);
    }
    json_decref(doc);
    hone_arena_release(&a);
}
#endif
