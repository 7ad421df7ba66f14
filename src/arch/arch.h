/* arch.h - one row per family: which tensor plays which role, in what shape, and what config.json says about the rest.
 * Knows no format; the gguf column is data that formats read. */
#ifndef HONE_ARCH_ARCH_H
#define HONE_ARCH_ARCH_H
#include "base/json.h"
#include "ir/model.h"

typedef enum hone_rule_flags {
    HONE_RULE_OPTIONAL = 1,  /* absent is fine (biases some checkpoints lack) */
    HONE_RULE_TRANSPOSED = 2, /* stored [in, out]; the shape column is logical ([out, in]) */
    HONE_RULE_UNLESS_TIED = 4 /* present only when the head is not tied; when tied and present it must be ignored (equal copy) */
} hone_rule_flags;

typedef struct hone_tensor_rule {
    const char *name;  /* in the checkpoint; first % = layer number, second % = expert number; a missing "model."/"transformer." prefix is tried too */
    hone_role   role;
    const char *shape; /* "[vocab, hidden]": names of facts and products, outermost first (arch.c has the words); per expert when the role is stacked */
    unsigned    flags;
    hone_part   part;
} hone_tensor_rule;

typedef struct hone_arch_gguf {
    const char *name; /* general.architecture */
    bool        interleave_qk;  /* llama.cpp rotates neighbours (LLAMA_ROPE_TYPE_NORM): q and k rows are permuted */
} hone_arch_gguf;

typedef struct hone_arch {
    const char             *name, *hf_class, *source; /* source: paper or model card */
    const hone_tensor_rule *rules;
    size_t                  n_rules;
    /* Fills facts from config.json (already checked for the class).  Arrays go to the arena. */
    hone_code (*config)(const json_t *config, hone_arena *a, hone_facts *facts, hone_err *err);
    /* Optional: rewrites of the weight list after matching (split an interleaved qkv, scale q, computed rope factors).  NULL: none. */
    hone_code (*finish)(hone_model *m, hone_err *err);
    hone_arch_gguf gguf;
} hone_arch;

extern const hone_arch *const hone_arch_list[]; /* from list.def */
extern const size_t           hone_arch_count;

/* By architectures[0]; HONE_EUNSUPPORTED names the class and lists what is known. */
hone_code hone_arch_find(const json_t *config, const hone_arch **out, hone_err *err);
/* facts from config.json, then every tensor of m->source gets its role and shape check, m->weights is filled; m->source and m->arena must be set.
 * Errors HONE_EINPUT: missing tensor, surplus tensor, shape mismatch (names both shapes). */
hone_code hone_arch_bind(const hone_arch *arch, const json_t *config, hone_model *m, hone_err *err);
#endif
