/* arch.h - one row per family: which tensor plays which role, in what shape, and what config.json says about the rest.
 * Knows no format; the gguf column is data that formats read through hone_facts.gguf. */
#ifndef HONE_ARCH_ARCH_H
#define HONE_ARCH_ARCH_H
#include "base/json.h"
#include "ir/model.h"

typedef enum hone_rule_flags {
    HONE_RULE_OPTIONAL = 1,   /* absent is fine */
    HONE_RULE_TRANSPOSED = 2, /* stored [in, out]; the shape column is logical ([out, in]) */
    HONE_RULE_UNLESS_TIED = 4 /* present only when the head is not tied; when tied and present it is an equal copy, and ignored */
} hone_rule_flags;

/* Some rules wait for a fact, by role: a bias for bias_*, ATTN_Q_NORM and ATTN_K_NORM for qk_norm, FFN_NORM for a norm of its own
 * (not parallel_shared_norm).  A tensor whose rule sleeps is surplus.
 * Two rules with one role and part are alternatives: the first whose tensors are there is taken (experts apart or stacked). */
typedef struct hone_tensor_rule {
    const char *name;  /* in the checkpoint; first % = layer number, second % = expert (or head) number; the row's prefix may be missing */
    hone_role   role;
    const char *shape; /* "[heads*head_dim, hidden]": words, numbers, sums and products, outermost first; per expert when the name has a
                          second %.  Words: vocab hidden heads kv_heads head_dim ffn expert_ffn experts context types.  NULL: any shape */
    unsigned    flags;
    hone_part   part;
    uint8_t     piece, pieces; /* this weight is piece number `piece` of `pieces` equal ones along the last dimension but one; 0, 0: all of it */
} hone_tensor_rule;

typedef struct hone_arch {
    const char             *name, *hf_class, *source; /* source: paper or model card */
    const char             *hf_also; /* a second class with the same tensors, or NULL */
    const char             *prefix;  /* "model.": base models are saved without it */
    const hone_tensor_rule *rules;
    size_t                  n_rules;
    /* Fills facts from config.json (already checked for the class).  Arrays go to the arena. */
    hone_code (*config)(const json_t *config, hone_arena *a, hone_facts *facts, hone_err *err);
    /* Optional: rewrites of the weight list after matching (order of an interleaved qkv).  NULL: none. */
    hone_code (*finish)(hone_model *m, hone_err *err);
    const char    *words; /* of config.json: what has to be said there to tell models of the family apart; for those who write one */
    hone_gguf_arch gguf;
    hone_mlx_arch  mlx; /* zeroed: mlx_lm does not run the family */
} hone_arch;

extern const hone_arch *const hone_arch_list[]; /* from list.def */
extern const size_t           hone_arch_count;

/* By architectures[0]; HONE_EUNSUPPORTED names the class and lists what is known. */
hone_code hone_arch_find(const json_t *config, const hone_arch **out, hone_err *err);
/* Facts only: what config.json says, defaulted as transformers does, checked for sense (no tensor is looked at). */
hone_code hone_arch_facts(const hone_arch *arch, const json_t *config, hone_arena *a, hone_facts *out, hone_err *err);
/* facts from config.json, then every tensor of m->source gets its role and shape check, m->weights is filled; m->source and m->arena must be set.
 * Errors HONE_EINPUT: missing tensor, surplus tensor, shape mismatch (names both shapes). */
hone_code hone_arch_bind(const hone_arch *arch, const json_t *config, hone_model *m, hone_err *err);

/* The same for a source that tells tensors by their role and holds them as models compute with them: matrices upright, experts stacked, q before k
 * before v.  find: the tensor of a role, or NULL. */
typedef struct hone_role_finder {
    const hone_tensor *(*find)(void *self, hone_role role, hone_part part, int32_t layer);
    void *self;
} hone_role_finder;
hone_code hone_arch_bind_roles(const hone_arch *arch, const json_t *config, hone_role_finder by_role, hone_model *m, hone_err *err);

/* The name that checkpoints of this family give a weight: layer fills the first %, a second % (experts) stays.
 * Of alternatives the first is taken.  HONE_EBUG when the family has no such weight or buf is too short. */
hone_code hone_arch_weight_name(const hone_arch *arch, hone_role role, hone_part part, int32_t layer, char *buf, size_t size, hone_err *err);

/* sentence-transformers: pooling_config is 1_Pooling/config.json (NULL: none, facts stay), modules is modules.json (NULL: none).
 * Sets facts->pooling and facts->normalize_embedding; HONE_EUNSUPPORTED names a pooling mode no runtime here has. */
hone_code hone_arch_pooling(const json_t *pooling_config, const json_t *modules, hone_facts *facts, hone_err *err);
#endif
