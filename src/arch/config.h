/* config.h - what most families read from config.json in the same way, with the defaults of transformers' configuration classes.
 * A key that is absent takes the class's default; a key that is null means "none", as in transformers. */
#ifndef HONE_ARCH_CONFIG_H
#define HONE_ARCH_CONFIG_H
#include "arch/arch.h"

typedef struct hone_config_defaults { /* of the family's configuration class; 0 where the class derives the value */
    uint32_t       vocab, hidden, ffn, layers, heads;
    uint32_t       kv_heads; /* 0: heads */
    uint32_t       head_dim; /* 0: hidden / heads */
    uint32_t       context;
    double         eps, theta;
    bool           tied;
    hone_act       act;
    const char    *eps_key; /* "rms_norm_eps" */
    const char    *act_key; /* "hidden_act" */
    hone_norm_kind norm;
    double         rope_fraction; /* partial_rotary_factor when absent */
} hone_config_defaults;

/* Sizes, norm, activation, rope (both spellings), token ids; a plain pre-norm gated decoder otherwise. */
hone_code hone_config_decoder(const json_t *c, const hone_config_defaults *d, hone_arena *a, hone_facts *f, hone_err *err);

/* Sets *out to the activation that c[key] names; absent or null leaves it.  HONE_EUNSUPPORTED names key and value. */
hone_code hone_config_act(const json_t *c, const char *key, hone_act *out, hone_err *err);
/* Rope from rope_parameters or rope_scaling, rope_theta, partial_rotary_factor; f->rope.dim is set from f->head_dim and fraction. */
hone_code hone_config_rope(const json_t *c, double theta, double fraction, hone_arena *a, hone_facts *f, hone_err *err);

/* The window named by "sliding_window": absent gives fallback, null and 0 give none. */
hone_code hone_config_window(const json_t *c, uint32_t fallback, uint32_t *out, hone_err *err);
/* Which layers have the window.  layer_types of config.json wins; else layer i has it when rule(i, arg).  rule NULL: all.
 * Sets window, windowed, window_pattern; window becomes 0 when no layer has it. */
hone_code hone_config_windowed(const json_t *c, uint32_t window, bool (*rule)(uint32_t layer, uint32_t arg), uint32_t arg, hone_arena *a,
                               hone_facts *f, hone_err *err);
/* rule: every arg-th layer is global. */
bool hone_window_pattern(uint32_t layer, uint32_t arg);
/* rule: layers from arg on have the window. */
bool hone_window_from(uint32_t layer, uint32_t arg);

/* HONE_EUNSUPPORTED when c[key] is true (absent is false): why says what it would need. */
hone_code hone_config_refuse(const json_t *c, const char *key, const char *why, hone_err *err);
/* A number that null and absence leave alone, and that must be finite and within lo..hi. */
hone_code hone_config_number(const json_t *c, const char *key, double lo, double hi, double *out, hone_err *err);
/* A token id, or the first of a list; null and absence leave *out. */
hone_code hone_config_token(const json_t *c, const char *key, int64_t *out, hone_err *err);
/* True when the key is there and not null. */
bool hone_config_has(const json_t *c, const char *key);
/* Sense of the whole: called by hone_arch_facts after the family filled facts. */
hone_code hone_config_check(const hone_facts *f, hone_err *err);
#endif
