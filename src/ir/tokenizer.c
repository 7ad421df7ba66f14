#include "ir/tokenizer.h"
#include <string.h>

bool hone_tokenizer_needs(const hone_tokenizer *t, const char *feature)
{
    if (strcmp(feature, "nfc") == 0) return t->nfc;
    if (strcmp(feature, "prefix_once") == 0) return t->prefix_once;
    if (strcmp(feature, "max_word") == 0) return t->max_word > 0;
    if (strcmp(feature, "dropped") == 0) return t->n_dropped > 0;
    bool left = strcmp(feature, "lstrip") == 0, right = strcmp(feature, "rstrip") == 0;
    if (!left && !right) return false;
    for (size_t i = 0; i < t->n_tokens; i++)
        if ((left && t->tokens[i].lstrip) || (right && t->tokens[i].rstrip)) return true;
    return false;
}
