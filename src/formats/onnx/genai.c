/* genai.c - genai_config.json as onnxruntime-genai 0.18 reads it (src/config.cpp) and its builder writes it (builders/base.py, make_genai_config). */
#include "formats/onnx.h"

/* model.type says nothing but "a decoder with this layout" to the runtime, and names it does not know it refuses (src/models/model_type.h).
 * One has a way of its own: phi3 computes its cache anew when a text grows over 4096 tokens, which is what two sets of rope factors want. */
static const char *type_of(const hone_facts *f)
{
    static const char *const same[] = { "llama", "mistral", "qwen2", "qwen3", "gemma2", "granite", "smollm3" };
    if (f->rope.scaling == HONE_ROPE_SCALE_LONGROPE && f->rope.original_context == 4096) return "phi3";
    for (size_t i = 0; i < HONE_COUNT(same); i++)
        if (strcmp(f->family, same[i]) == 0) return same[i];
    return "decoder";
}

static const json_t *said(const json_t *first, const json_t *second, const char *key)
{
    const json_t *v = json_object_get(first, key);
    if (!v || json_is_null(v)) v = json_object_get(second, key);
    return v && !json_is_null(v) ? v : NULL;
}

static bool ids_have(const json_t *ids, int64_t id)
{
    for (size_t i = 0; i < json_array_size(ids); i++)
        if (json_integer_value(json_array_get(ids, i)) == id) return true;
    return false;
}

/* Every token that ends a text: of generation_config.json, else of config.json, and the tokenizer's own word, which ends a chat turn. */
static json_t *ends(const hone_model *m, const json_t *config, const json_t *generation)
{
    const json_t *v = said(generation, config, "eos_token_id");
    json_t       *ids = json_array();
    bool          good = ids != NULL;
    int64_t       own = m->tokenizer.eos;
    for (size_t i = 0; good && i < json_array_size(v); i++)
        if (json_is_integer(json_array_get(v, i))) good = json_array_append_new(ids, json_integer(json_integer_value(json_array_get(v, i)))) == 0;
    if (good && json_is_integer(v)) good = json_array_append_new(ids, json_integer(json_integer_value(v))) == 0;
    if (good && own >= 0 && !ids_have(ids, own)) good = json_array_append_new(ids, json_integer(own)) == 0;
    if (good && json_array_size(ids) == 0) good = json_array_append_new(ids, json_integer(0)) == 0;
    if (good) return ids;
    json_decref(ids);
    return NULL;
}

static bool put_token_ids(json_t *model, const hone_model *m, const json_t *config, const json_t *generation)
{
    json_t       *eos = ends(m, config, generation);
    const json_t *bos = said(config, generation, "bos_token_id"), *pad = said(config, generation, "pad_token_id");
    json_int_t    first = json_integer_value(json_array_get(eos, 0)), begin = m->tokenizer.bos >= 0 ? m->tokenizer.bos : first;
    bool          good = eos != NULL;
    if (json_is_integer(bos)) begin = json_integer_value(bos);
    good = good && hone_json_put(model, "bos_token_id", json_integer(begin));
    good = good && hone_json_put(model, "eos_token_id", json_array_size(eos) == 1 ? json_integer(first) : json_incref(eos));
    good = good && hone_json_put(model, "pad_token_id", json_integer(json_is_integer(pad) ? json_integer_value(pad) : first));
    json_decref(eos);
    return good;
}

static json_t *decoder(const hone_facts *f, uint32_t n_caches)
{
    return json_pack("{s:{s:s,s:[]},s:s,s:i,s:i,s:{s:s,s:s,s:s,s:s},s:{s:s,s:s,s:s},s:i,s:i,s:i}",                         /**/
                     "session_options", "log_id", "onnxruntime-genai", "provider_options", "filename", HONE_ONNX_MODEL,      /**/
                     "head_size", (int)f->head_dim, "hidden_size", (int)f->hidden, "inputs", "input_ids", "input_ids",       /**/
                     "attention_mask", "attention_mask", "past_key_names", "past_key_values.%d.key", "past_value_names",     /**/
                     "past_key_values.%d.value", "outputs", "logits", "logits", "present_key_names", "present.%d.key",       /**/
                     "present_value_names", "present.%d.value", "num_attention_heads", (int)f->n_heads, "num_hidden_layers", /**/
                     (int)n_caches, "num_key_value_heads", (int)f->n_kv_heads);
}

static bool put_setting(json_t *search, const json_t *generation, const char *key, json_t *usual)
{
    const json_t *v = json_object_get(generation, key);
    bool          same = v && (json_is_number(usual) ? json_is_number(v) : json_typeof(v) == json_typeof(usual) || (json_is_boolean(v) && json_is_boolean(usual)));
    if (!same) return hone_json_put(search, key, usual);
    json_decref(usual);
    return hone_json_put(search, key, json_deep_copy(v));
}

static json_t *search(const hone_facts *f, const json_t *generation, bool shared_buffer)
{
    json_t *s = json_object();
    bool    good = s && hone_json_put(s, "diversity_penalty", json_real(0)) && put_setting(s, generation, "do_sample", json_false()) &&
                hone_json_put(s, "early_stopping", json_true()) && put_setting(s, generation, "length_penalty", json_real(1)) &&
                hone_json_put(s, "max_length", json_integer(f->context)) && hone_json_put(s, "min_length", json_integer(0)) &&
                put_setting(s, generation, "no_repeat_ngram_size", json_integer(0)) && hone_json_put(s, "num_beams", json_integer(1)) &&
                hone_json_put(s, "num_return_sequences", json_integer(1)) && hone_json_put(s, "past_present_share_buffer", json_boolean(shared_buffer)) &&
                put_setting(s, generation, "repetition_penalty", json_real(1)) && put_setting(s, generation, "temperature", json_real(1)) &&
                put_setting(s, generation, "top_k", json_integer(50)) && put_setting(s, generation, "top_p", json_real(1));
    if (good) return s;
    json_decref(s);
    return NULL;
}

hone_code hone_onnx_genai(const hone_model *m, const hone_onnx_model *lowered, const json_t *config, const json_t *generation, json_t **out, hone_err *err)
{
    const hone_facts *f = &m->facts;
    json_t           *doc = json_object(), *model = json_object();
    bool              good = doc && model && put_token_ids(model, m, config, generation) &&
                hone_json_put(model, "context_length", json_integer(f->context)) && hone_json_put(model, "decoder", decoder(f, f->n_layers)) &&
                hone_json_put(model, "type", json_string(type_of(f))) && hone_json_put(model, "vocab_size", json_integer(f->vocab)) &&
                hone_json_put(doc, "model", json_incref(model)) && hone_json_put(doc, "search", search(f, generation, lowered->shared_buffer));
    json_decref(model);
    if (!good) {
        json_decref(doc);
        return HONE_NOMEM(err, HONE_ONNX_GENAI);
    }
    *out = doc;
    return HONE_OK;
}
