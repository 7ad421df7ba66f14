#include "formats/gguf/names.h"
#include <stdio.h>
#include <string.h>

/* NULL: GGUF has no place for it.  llama.cpp reads no BERT pooler in embedding models (conversion/bert.py drops it); its
 * "cls" tensors are the heads of rankers. */
static const char *const names[HONE_R_COUNT] = {
    [HONE_R_TOK_EMBD] = "token_embd",
    [HONE_R_POS_EMBD] = "position_embd",
    [HONE_R_TOKEN_TYPES] = "token_types",
    [HONE_R_TOK_EMBD_NORM] = "token_embd_norm",
    [HONE_R_OUTPUT_NORM] = "output_norm",
    [HONE_R_OUTPUT] = "output",
    [HONE_R_ROPE_FREQS] = "rope_freqs",
    [HONE_R_ROPE_FACTORS_LONG] = "rope_factors_long",
    [HONE_R_ROPE_FACTORS_SHORT] = "rope_factors_short",
    [HONE_R_ATTN_NORM] = "attn_norm",
    [HONE_R_ATTN_Q] = "attn_q",
    [HONE_R_ATTN_K] = "attn_k",
    [HONE_R_ATTN_V] = "attn_v",
    [HONE_R_ATTN_QKV] = "attn_qkv",
    [HONE_R_ATTN_OUT] = "attn_output",
    [HONE_R_ATTN_Q_NORM] = "attn_q_norm",
    [HONE_R_ATTN_K_NORM] = "attn_k_norm",
    [HONE_R_ATTN_POST_NORM] = "post_attention_norm",
    [HONE_R_ATTN_OUT_NORM] = "attn_output_norm",
    [HONE_R_FFN_NORM] = "ffn_norm",
    [HONE_R_FFN_POST_NORM] = "post_ffw_norm",
    [HONE_R_LAYER_OUT_NORM] = "layer_output_norm",
    [HONE_R_FFN_GATE] = "ffn_gate",
    [HONE_R_FFN_UP] = "ffn_up",
    [HONE_R_FFN_GATE_UP] = "ffn_up", /* phi3 reads [gate; up] under this name: src/models/phi3.cpp, LLM_FFN_SWIGLU */
    [HONE_R_FFN_DOWN] = "ffn_down",
    [HONE_R_FFN_ROUTER] = "ffn_gate_inp",
    [HONE_R_FFN_GATE_EXPS] = "ffn_gate_exps",
    [HONE_R_FFN_UP_EXPS] = "ffn_up_exps",
    [HONE_R_FFN_DOWN_EXPS] = "ffn_down_exps",
};

hone_code hone_gguf_tensor_name(hone_role role, hone_part part, int32_t layer, char *out, size_t cap, hone_err *err)
{
    const char *base = names[role], *tail = part == HONE_PART_BIAS ? "bias" : "weight";
    if (!base) return HONE_FAIL(err, HONE_EBUG, "", "GGUF has no tensor for the role %s", hone_role_name(role));
    if (hone_role_per_layer(role) != (layer >= 0))
        return HONE_FAIL(err, HONE_EBUG, "", "role %s came with layer %d", hone_role_name(role), (int)layer);
    int n = layer >= 0 ? snprintf(out, cap, "blk.%d.%s.%s", (int)layer, base, tail) : snprintf(out, cap, "%s.%s", base, tail);
    if (n < 0 || (size_t)n >= cap) return HONE_FAIL(err, HONE_EBUG, "", "the name of role %s needs %d bytes, %zu are there", hone_role_name(role), n + 1, cap);
    return HONE_OK;
}

/* A layer's number as it is written: no sign, no leading zero. */
static const char *layer_digits(const char *s, int32_t *out)
{
    int32_t v = 0;
    size_t  n = 0;
    for (; s[n] >= '0' && s[n] <= '9' && n < 6; n++) v = v * 10 + (s[n] - '0');
    if (n == 0 || (n > 1 && s[0] == '0')) return NULL;
    *out = v;
    return s + n;
}

bool hone_gguf_tensor_role(const char *name, hone_role *role, hone_part *part, int32_t *layer)
{
    const char *base = name;
    int32_t     at = -1;
    if (strncmp(name, "blk.", 4) == 0) {
        base = layer_digits(name + 4, &at);
        if (!base || *base++ != '.') return false;
    }
    const char *tail = strchr(base, '.');
    if (!tail || (strcmp(tail, ".weight") != 0 && strcmp(tail, ".bias") != 0)) return false;
    size_t n = (size_t)(tail - base);
    for (int r = 0; r < HONE_R_COUNT; r++) {
        if (r == HONE_R_FFN_GATE_UP || !names[r] || strlen(names[r]) != n || memcmp(names[r], base, n) != 0) continue;
        if (hone_role_per_layer((hone_role)r) != (at >= 0)) return false;
        *role = (hone_role)r;
        *part = strcmp(tail, ".bias") == 0 ? HONE_PART_BIAS : HONE_PART_WEIGHT;
        *layer = at;
        return true;
    }
    return false;
}
