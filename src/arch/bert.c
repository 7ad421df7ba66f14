/* bert.c - BERT as a maker of embeddings.
 * Defaults: transformers configuration_bert.py. */
#include "arch/config.h"
#include "arch/rules.h"
#include "base/text.h"

static const hone_tensor_rule rules[] = {
    WEIGHT("bert.embeddings.word_embeddings.weight", TOK_EMBD, "[vocab, hidden]"),
    WEIGHT("bert.embeddings.position_embeddings.weight", POS_EMBD, "[context, hidden]"),
    WEIGHT("bert.embeddings.token_type_embeddings.weight", TOKEN_TYPES, "[types, hidden]"),
    WEIGHT("bert.embeddings.LayerNorm.weight", TOK_EMBD_NORM, "[hidden]"),
    BIAS("bert.embeddings.LayerNorm.bias", TOK_EMBD_NORM, "[hidden]"),
    WEIGHT("bert.embeddings.LayerNorm.gamma", TOK_EMBD_NORM, "[hidden]"),
    BIAS("bert.embeddings.LayerNorm.beta", TOK_EMBD_NORM, "[hidden]"),
    WEIGHT("bert.encoder.layer.%.attention.self.query.weight", ATTN_Q, "[hidden, hidden]"),
    BIAS("bert.encoder.layer.%.attention.self.query.bias", ATTN_Q, "[hidden]"),
    WEIGHT("bert.encoder.layer.%.attention.self.key.weight", ATTN_K, "[hidden, hidden]"),
    BIAS("bert.encoder.layer.%.attention.self.key.bias", ATTN_K, "[hidden]"),
    WEIGHT("bert.encoder.layer.%.attention.self.value.weight", ATTN_V, "[hidden, hidden]"),
    BIAS("bert.encoder.layer.%.attention.self.value.bias", ATTN_V, "[hidden]"),
    WEIGHT("bert.encoder.layer.%.attention.output.dense.weight", ATTN_OUT, "[hidden, hidden]"),
    BIAS("bert.encoder.layer.%.attention.output.dense.bias", ATTN_OUT, "[hidden]"),
    WEIGHT("bert.encoder.layer.%.attention.output.LayerNorm.weight", ATTN_OUT_NORM, "[hidden]"),
    BIAS("bert.encoder.layer.%.attention.output.LayerNorm.bias", ATTN_OUT_NORM, "[hidden]"),
    WEIGHT("bert.encoder.layer.%.attention.output.LayerNorm.gamma", ATTN_OUT_NORM, "[hidden]"),
    BIAS("bert.encoder.layer.%.attention.output.LayerNorm.beta", ATTN_OUT_NORM, "[hidden]"),
    WEIGHT("bert.encoder.layer.%.intermediate.dense.weight", FFN_UP, "[ffn, hidden]"),
    BIAS("bert.encoder.layer.%.intermediate.dense.bias", FFN_UP, "[ffn]"),
    WEIGHT("bert.encoder.layer.%.output.dense.weight", FFN_DOWN, "[hidden, ffn]"),
    BIAS("bert.encoder.layer.%.output.dense.bias", FFN_DOWN, "[hidden]"),
    WEIGHT("bert.encoder.layer.%.output.LayerNorm.weight", LAYER_OUT_NORM, "[hidden]"),
    BIAS("bert.encoder.layer.%.output.LayerNorm.bias", LAYER_OUT_NORM, "[hidden]"),
    WEIGHT("bert.encoder.layer.%.output.LayerNorm.gamma", LAYER_OUT_NORM, "[hidden]"),
    BIAS("bert.encoder.layer.%.output.LayerNorm.beta", LAYER_OUT_NORM, "[hidden]"),
    { .name = "bert.pooler.dense.weight", .role = HONE_R_POOLER, .shape = "[hidden, hidden]", .flags = HONE_RULE_OPTIONAL },
    { .name = "bert.pooler.dense.bias", .role = HONE_R_POOLER, .shape = "[hidden]", .flags = HONE_RULE_OPTIONAL, .part = HONE_PART_BIAS },
    IGNORED("bert.embeddings.position_ids"),
    /* The masked-word head of BertForMaskedLM and BertForPreTraining: an embedding has no use for it. */
    IGNORED("cls.predictions.bias"),
    IGNORED("cls.predictions.decoder.weight"),
    IGNORED("cls.predictions.decoder.bias"),
    IGNORED("cls.predictions.transform.dense.weight"),
    IGNORED("cls.predictions.transform.dense.bias"),
    IGNORED("cls.predictions.transform.LayerNorm.weight"),
    IGNORED("cls.predictions.transform.LayerNorm.bias"),
    IGNORED("cls.predictions.transform.LayerNorm.gamma"),
    IGNORED("cls.predictions.transform.LayerNorm.beta"),
    IGNORED("cls.seq_relationship.weight"),
    IGNORED("cls.seq_relationship.bias"),
};

static hone_code config(const json_t *c, hone_arena *a, hone_facts *f, hone_err *err)
{
    static const hone_config_defaults d = {
        .vocab = 30522, .hidden = 768, .ffn = 3072, .layers = 12, .heads = 12, .context = 512, .eps = 1e-12,
        .act = HONE_ACT_GELU, .eps_key = "layer_norm_eps", .act_key = "hidden_act", .norm = HONE_NORM_LAYER,
    };
    HONE_TRY(hone_config_decoder(c, &d, a, f, err));
    const char *position = "absolute";
    char        shown[64];
    HONE_TRY(hone_json_str(c, "position_embedding_type", &position, err));
    if (strcmp(position, "absolute") != 0)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "\"position_embedding_type\" is \"%s\", supported is \"absolute\"",
                         hone_text_show(position, strlen(position), shown, sizeof shown));
    HONE_TRY(hone_config_refuse(c, "is_decoder", "BERT is supported as an encoder", err));
    HONE_TRY(hone_config_refuse(c, "add_cross_attention", "cross attention is not supported", err));
    f->kind = HONE_KIND_ENCODER;
    f->norm_pre = f->ffn_gated = f->tied = false;
    f->n_kv_heads = f->n_heads;
    f->bias_q = f->bias_k = f->bias_v = f->bias_o = f->bias_ffn = f->bias_norm = true;
    f->pooling = HONE_POOL_MEAN;
    f->n_token_types = 2;
    HONE_TRY(hone_json_u32(c, "type_vocab_size", &f->n_token_types, err));
    return HONE_OK;
}

const hone_arch hone_arch_bert = {
    .name = "bert", .hf_class = "BertModel", .hf_also = "BertForMaskedLM", .source = "arXiv:1810.04805",
    .prefix = "bert.", .rules = rules, .n_rules = HONE_COUNT(rules), .config = config,
    .words = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings layer_norm_eps type_vocab_size",
    .gguf = { .name = "bert", .act = HONE_ACT_GELU,
              .keys = HONE_GGUF_KEY_NO_KV_HEADS,
              .flags = HONE_GGUF_BIAS_QKV | HONE_GGUF_BIAS_O | HONE_GGUF_BIAS_FFN },
};

/* ---- sentence-transformers ---- */

static bool module_is(const json_t *module, const char *word)
{
    const char *type = json_string_value(json_object_get(module, "type"));
    const char *tail = type ? strrchr(type, '.') : NULL;
    return type && strcmp(tail ? tail + 1 : type, word) == 0;
}

hone_code hone_arch_pooling(const json_t *pooling_config, const json_t *modules, hone_facts *facts, hone_err *err)
{
    static const struct {
        const char  *key, *name; /* the boolean of old files, the value of "pooling_mode" in new ones */
        hone_pooling pooling;
    } modes[] = {
        { "pooling_mode_cls_token", "cls", HONE_POOL_CLS },
        { "pooling_mode_mean_tokens", "mean", HONE_POOL_MEAN },
        { "pooling_mode_lasttoken", "lasttoken", HONE_POOL_LAST },
        { "pooling_mode_max_tokens", "max", HONE_POOL_NONE },
        { "pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", HONE_POOL_NONE },
        { "pooling_mode_weightedmean_tokens", "weightedmean", HONE_POOL_NONE },
    };
    hone_pooling pooling = facts->pooling;
    bool         normalize = facts->normalize_embedding, chosen = false;
    const char  *mode = NULL;
    if (pooling_config) HONE_TRY(hone_json_str(pooling_config, "pooling_mode", &mode, err));
    for (size_t i = 0; pooling_config && i < HONE_COUNT(modes); i++) {
        bool on = mode && strcmp(mode, modes[i].name) == 0;
        if (!mode) HONE_TRY(hone_json_bool(pooling_config, modes[i].key, &on, err));
        if (!on) continue;
        if (modes[i].pooling == HONE_POOL_NONE)
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "supported are the cls token, the mean and the last token",
                             "1_Pooling/config.json: \"%s\" is not supported", modes[i].key);
        if (chosen)
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "1_Pooling/config.json asks for two poolings side by side, \"%s\" is the second",
                             modes[i].key);
        chosen = true;
        pooling = modes[i].pooling;
    }
    for (size_t i = 0; i < json_array_size(modules); i++) {
        const json_t *module = json_array_get(modules, i);
        if (module_is(module, "Normalize")) normalize = true;
        else if (!module_is(module, "Transformer") && !module_is(module, "Pooling")) {
            const char *type = json_string_value(json_object_get(module, "type"));
            char        shown[96];
            if (!type) type = "(no type)";
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "supported are Transformer, Pooling and Normalize", "modules.json: module %zu is \"%s\"",
                             i, hone_text_show(type, strlen(type), shown, sizeof shown));
        }
    }
    facts->pooling = pooling;
    facts->normalize_embedding = normalize;
    return HONE_OK;
}
