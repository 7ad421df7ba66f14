/* cases.h - tokenizer_cases.json: strings, the ids they must become, and chats with the text they must render to.
 * Knows the file; knows no runtime.  The file's meaning: "ids" - special tokens inside the text are recognised, none added;
 * "ids_with_special" - the post-processor's tokens added; "decoded" - from ids; "decoded_skip_special" - from ids_with_special,
 * special tokens left out; chat "ids" - from the rendered text, none added; chat "error" - what the template raises on purpose. */
#ifndef HONE_MEASURE_CHECK_CASES_H
#define HONE_MEASURE_CHECK_CASES_H
#include "base/arena.h"
#include "base/json.h"

typedef struct hone_ids { const int32_t *ptr; size_t n; } hone_ids;
typedef struct hone_str { const char *ptr; size_t len; } hone_str; /* ptr NULL: the file has no such key */

typedef struct hone_token_case {
    hone_str text;
    hone_ids ids, with_special; /* with_special.ptr NULL: not given */
    hone_str decoded, decoded_skip;
} hone_token_case;

typedef struct hone_chat_case {
    const char *messages, *options; /* JSON text for the template: every key of the case but the expected results is an option */
    hone_str    rendered, error;    /* exactly one is given */
    hone_ids    ids;
} hone_chat_case;

typedef struct hone_cases { /* all memory in the arena */
    const hone_token_case *tokens; size_t n_tokens;
    const hone_chat_case  *chats;  size_t n_chats;
} hone_cases;

/* what names the file in errors.  HONE_EINPUT names case and key. */
hone_code hone_cases_parse(const json_t *root, const char *what, hone_arena *a, hone_cases *out, hone_err *err);
hone_code hone_cases_load(const char *path, hone_arena *a, hone_cases *out, hone_err *err);
#endif
