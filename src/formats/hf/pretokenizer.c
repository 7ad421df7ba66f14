#include "formats/hf/pretokenizer.h"
#include "base/text.h"

const hone_hf_pretokenizer hone_hf_pretokenizers[] = {
#define X(name_, ignores_merges, cleans_spaces, definition_) { name_, ignores_merges, cleans_spaces, definition_ },
#include "formats/hf/pretokenizers.def"
#undef X
};
const size_t hone_hf_n_pretokenizers = HONE_COUNT(hone_hf_pretokenizers);

/* Two spellings of one rule; the second is how tools without (?i:) write it. */
static const char CONTRACTIONS[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
static const char CONTRACTIONS_LONG[] = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
static const char GPT2_SPLIT[] = "split " HONE_HF_GPT2_RULE;

hone_code hone_hf_pretokenizer_unknown(const json_t *pre, hone_err *err)
{
    char *dump = pre ? json_dumps(pre, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    char  shown[400];
    hone_text_show(dump ? dump : "null", strlen(dump ? dump : "null"), shown, sizeof shown);
    free(dump);
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "add a row to src/formats/hf/pretokenizers.def that names an equal rule of llama.cpp",
                     "pre-tokenizer is not known: %s", shown);
}

static const char *type_of(const json_t *step)
{
    const char *s = json_string_value(json_object_get(step, "type"));
    return s ? s : "";
}

/* Control characters as escapes and one spelling for the contractions, so that equal rules compare equal. */
static void add_regex(hone_text *t, const char *s)
{
    while (*s) {
        if (strncmp(s, CONTRACTIONS_LONG, sizeof CONTRACTIONS_LONG - 1) == 0) {
            hone_text_add(t, CONTRACTIONS);
            s += sizeof CONTRACTIONS_LONG - 1;
            continue;
        }
        if (*s == '\r') hone_text_add(t, "\\r");
        else if (*s == '\n') hone_text_add(t, "\\n");
        else if (*s == '\t') hone_text_add(t, "\\t");
        else hone_text_add_bytes(t, s, 1);
        s++;
    }
}

/* Whether some alternative takes whatever the others leave, so that keeping only the matches loses nothing. */
static bool takes_everything(const char *regex)
{
    size_t n = strlen(regex);
    return n > 4 && strcmp(regex + n - 4, "|\\s+") == 0 && strstr(regex, "[^\\s") && strstr(regex, "\\p{L}") && strstr(regex, "\\p{N}");
}

/* One step; false when there is no word for it. */
static bool spell_step(const json_t *step, hone_text *t, bool *bytes)
{
    const char *type = type_of(step);
    if (*bytes) return false; /* letters for bytes come last, or the later steps would split other text than they say */
    if (strcmp(type, "ByteLevel") == 0) {
        const json_t *rule = json_object_get(step, "use_regex"); /* absent: true */
        if (json_is_true(json_object_get(step, "add_prefix_space"))) return false;
        *bytes = true;
        if (!json_is_false(rule)) hone_text_add(t, "gpt2\n");
        return true;
    }
    if (strcmp(type, "Digits") == 0) {
        hone_text_add(t, json_is_true(json_object_get(step, "individual_digits")) ? "digits\n" : "numbers\n");
        return true;
    }
    if (strcmp(type, "Split") == 0) {
        const char *regex = json_string_value(json_object_get(json_object_get(step, "pattern"), "Regex"));
        const char *behavior = json_string_value(json_object_get(step, "behavior"));
        bool        invert = json_is_true(json_object_get(step, "invert"));
        if (!regex || !behavior) return false;
        bool keeps = strcmp(behavior, "Isolated") == 0; /* alone, matched or not: inverting changes nothing */
        if (!keeps && !(strcmp(behavior, "Removed") == 0 && invert && takes_everything(regex))) return false;
        size_t from = t->len;
        hone_text_add(t, "split ");
        add_regex(t, regex);
        if (t->ptr && strcmp(t->ptr + from, GPT2_SPLIT) == 0) {
            t->len = from;
            hone_text_add(t, "gpt2");
        }
        hone_text_add(t, "\n");
        return true;
    }
    return false;
}

hone_code hone_hf_pretokenizer_spell(const json_t *pre, hone_arena *a, const char **out, bool *bytes, hone_err *err)
{
    hone_text     t = { 0 };
    const json_t *list = strcmp(type_of(pre), "Sequence") == 0 ? json_object_get(pre, "pretokenizers") : NULL;
    bool          ok = true, b = false;
    if (list) {
        size_t i;
        json_t *step;
        json_array_foreach(list, i, step) ok = ok && spell_step(step, &t, &b);
    } else
        ok = spell_step(pre, &t, &b);
    hone_code code = HONE_OK;
    if (!ok) code = hone_hf_pretokenizer_unknown(pre, err);
    else {
        if (t.len && t.ptr[t.len - 1] == '\n') t.len--;
        const char *s = t.failed ? NULL : hone_arena_strndup(a, t.ptr ? t.ptr : "", t.len);
        if (!s) code = HONE_NOMEM(err, "the pre-tokenizer");
        else {
            *out = s;
            *bytes = b;
        }
    }
    hone_text_release(&t);
    return code;
}

const hone_hf_pretokenizer *hone_hf_pretokenizer_find(const char *definition, bool ignore_merges, int clean_spaces, bool *exact)
{
    const hone_hf_pretokenizer *best = NULL;
    int                         best_score = -1;
    for (size_t i = 0; i < hone_hf_n_pretokenizers; i++) {
        const hone_hf_pretokenizer *r = &hone_hf_pretokenizers[i];
        if (strcmp(r->definition, definition) != 0) continue;
        int score = 2 * (r->ignore_merges == ignore_merges) + (clean_spaces == (int)r->clean_spaces);
        if (score > best_score) {
            best = r;
            best_score = score;
        }
    }
    *exact = best && best->ignore_merges == ignore_merges;
    return best;
}

const hone_hf_pretokenizer *hone_hf_pretokenizer_named(const char *name)
{
    for (size_t i = 0; i < hone_hf_n_pretokenizers; i++)
        if (strcmp(hone_hf_pretokenizers[i].name, name) == 0) return &hone_hf_pretokenizers[i];
    return NULL;
}
