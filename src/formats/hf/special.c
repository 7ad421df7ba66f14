/* special.c - which ids are bos, eos, unk, ... and what is put around a text.
 * Sources: transformers tokenization_utils_base.py (SPECIAL_TOKENS_ATTRIBUTES, special_tokens_map.json), generation_config.json;
 * llama.cpp gguf-py/gguf/vocab.py SpecialVocab (precedence), src/llama-vocab.cpp (texts it takes for an end by itself). */
#include "formats/hf/reader.h"

/* The id of obj[key], a string or an object with "content"; -1 when it is absent or names no token. */
static int64_t named(const hone_hf_reader *r, const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    if (json_is_object(v)) v = json_object_get(v, "content");
    return json_is_string(v) ? hone_hf_vocab_find(&r->v, json_string_value(v), json_string_length(v)) : -1;
}

/* The id of obj[key], a number or the first of a list of numbers. */
static int64_t numbered(const hone_hf_reader *r, const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    if (json_is_array(v)) v = json_array_get(v, 0);
    json_int_t i = json_is_integer(v) ? json_integer_value(v) : -1;
    return i >= 0 && i < (json_int_t)r->v.n ? i : -1;
}

static int64_t look_up(const hone_hf_reader *r, const json_t *map, const json_t *model, const char *name)
{
    char key[32];
    (void)snprintf(key, sizeof key, "%s_token", name);
    int64_t id = named(r, r->config, key);
    if (id < 0) id = named(r, map, key);
    (void)snprintf(key, sizeof key, "%s_token_id", name);
    if (id < 0) id = numbered(r, model, key);
    if (id < 0) id = numbered(r, json_object_get(model, "text_config"), key);
    return id;
}

static hone_code asked(const hone_hf_reader *r, const char *key, bool *out, hone_err *err)
{
    return r->config ? hone_json_bool(r->config, key, out, err) : HONE_OK;
}

/* llama.cpp ends a generation at these texts without being told. */
static bool known_end(const hone_token *t)
{
    static const char *const ends[] = { "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
                                        "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
                                        "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
                                        ("<\xef\xbd\x9c" "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"), "[e~[" };
    for (size_t i = 0; i < HONE_COUNT(ends); i++)
        if (t->len == strlen(ends[i]) && memcmp(t->text, ends[i], t->len) == 0) return true;
    return false;
}

/* All ids that generation_config.json lets end a text should end it: eos takes one, eot and eom two more, and the runtime knows
 * some by their text.  Those it does not know come first. */
static void read_ends(hone_hf_reader *r, const json_t *generation)
{
    const json_t *list = json_object_get(generation, "eos_token_id"), *v;
    size_t        i;
    if (json_is_integer(list)) {
        int64_t id = numbered(r, generation, "eos_token_id");
        if (r->t.eos < 0) r->t.eos = id;
        else if (id >= 0 && id != r->t.eos && r->t.eot < 0) r->t.eot = id;
        return;
    }
    for (int known = 0; known < 2; known++) {
        json_array_foreach(list, i, v) {
            json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
            if (id < 0 || id >= (json_int_t)r->v.n) continue;
            if (r->t.eos < 0) r->t.eos = id;
            if (id == r->t.eos || id == r->t.eot || id == r->t.eom || known_end(&r->v.tokens[id]) != (known == 1)) continue;
            if (r->t.eot < 0) r->t.eot = id;
            else if (r->t.eom < 0 && known == 0) r->t.eom = id;
        }
    }
}

hone_code hone_hf_read_special(hone_hf_reader *r, const json_t *map, const json_t *generation, const json_t *model, hone_err *err)
{
    hone_tokenizer *t = &r->t;
    const struct { const char *name; int64_t *id; } all[] = { { "bos", &t->bos }, { "eos", &t->eos }, { "unk", &t->unk }, { "sep", &t->sep },
                                                              { "pad", &t->pad }, { "cls", &t->cls }, { "mask", &t->mask } };
    for (size_t i = 0; i < HONE_COUNT(all); i++) { /* what the vocabulary itself said stays when nobody else says anything */
        int64_t id = look_up(r, map, model, all[i].name);
        if (id >= 0) *all[i].id = id;
    }
    if (t->bos < 0) t->bos = t->cls; /* encoders: the same places by other names */
    if (t->eos < 0) t->eos = t->sep;
    if (r->have_post) {
        /* The tokens that are really put there are the ones a runtime must put. */
        t->add_bos = r->first >= 0;
        t->add_eos = r->last >= 0;
        if (r->first >= 0) t->bos = r->first;
        if (r->last >= 0 && r->last != t->eos) {
            t->eot = t->eos;
            t->eos = r->last;
        }
        if (t->sep < 0 && (r->pair_sep || t->kind == HONE_TOK_WORDPIECE)) t->sep = t->eos;
        t->add_sep = r->pair_sep;
    } else {
        HONE_TRY(asked(r, "add_bos_token", &t->add_bos, err));
        HONE_TRY(asked(r, "add_eos_token", &t->add_eos, err));
    }
    if (t->bos < 0) t->add_bos = false;
    if (t->eos < 0) t->add_eos = false;
    read_ends(r, generation);
    json_int_t max = json_integer_value(json_object_get(r->config, "model_max_length")); /* "no limit" is written as 10^30 */
    if (max > 0 && max < INT32_MAX) t->max_length = (uint32_t)max;
    if (json_is_boolean(json_object_get(r->config, "clean_up_tokenization_spaces")))
        t->clean_spaces = json_is_true(json_object_get(r->config, "clean_up_tokenization_spaces"));
    if (t->kind == HONE_TOK_WORDPIECE || t->kind == HONE_TOK_UNIGRAM)
        if (model) HONE_TRY(hone_json_u32(model, "type_vocab_size", &t->n_token_types, err));
    return HONE_OK;
}
