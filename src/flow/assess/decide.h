/* decide.h - which framework, by the rules of data/decision.json: strategy, decision tree, quantisation, matrices.
 * The rules are data; this is the reader that applies them and says which facts led to each answer. */
#ifndef HONE_FLOW_ASSESS_DECIDE_H
#define HONE_FLOW_ASSESS_DECIDE_H
#include "base/arena.h"
#include "base/ctx.h"
#include "base/json.h"

typedef struct hone_case { /* what is decided about; all borrowed */
    const char *vendor, *platform; /* of the target (hw/target.h) */
    const char *kind;              /* of the model: llm, embedding, multimodal, vision, audio */
    const char *workflow;          /* prototype, enterprise, or NULL: not said */
    uint64_t    parameters;
} hone_case;

typedef struct hone_decision { /* strings borrowed from the data, or in the arena given */
    const char *strategy, *strategy_framework, *strategy_because;
    const char *rule, *framework, *format, *because; /* of the tree */
    const char *facts;                               /* "vendor is intel": what made the rule hold; "" when it holds always */
    const char *quantization, *quantization_because;
    uint32_t    group;                               /* of the quantisation, 0: none said */
    const char *gguf_quantization, *gguf_because;    /* the same list's answer when llama.cpp runs the model */
    const char *platform_title, *primary, *secondary; /* of the platform matrix; NULL when it has no such row */
    const char *compare[4];                          /* frameworks to be compared by measurement */
    size_t      n_compare;
    const char *workflow_first;                      /* head of the asked workflow's ranking, or NULL */
} hone_decision;

typedef struct hone_estimates { /* assumptions of the decode-speed estimate */
    double share_measured, share_nominal; /* of the read bandwidth, 0..1 */
    double layer_overhead_us;             /* per layer and token */
} hone_estimates;
void hone_decision_estimates(const json_t *data, hone_estimates *out);

/* data/decision.json of ctx->data_dir, checked; *out owned.  HONE_EUNSUPPORTED when the folder is not known. */
hone_code hone_decision_load(const hone_ctx *ctx, json_t **out, hone_err *err);
/* The same from text. HONE_EINPUT names the list, the entry and the key: unknown condition, unknown framework, a list without a last answer. */
hone_code hone_decision_parse(hone_bytes text, const char *what, json_t **out, hone_err *err);
hone_code hone_decide(const json_t *data, const hone_case *c, hone_arena *a, hone_decision *out, hone_err *err);
/* Everything `assess --explain` shows: tree[{id,question,holds,taken,framework,because}], strategy[], quantization[],
 * requirement_matrix{}, platform_matrix[], workflows[]; owned. */
hone_code hone_decision_explain(const json_t *data, const hone_case *c, const hone_decision *d, json_t **out, hone_err *err);
#endif
