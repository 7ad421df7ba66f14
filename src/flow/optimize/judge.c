#include "flow/optimize/judge.h"
#include "base/text.h"
#include "measure/metric.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define SEED 0x686f6e65u /* of the bootstrap: a verdict repeats */

static double memory_of(const json_t *bench)
{
    double w = hone_doc_number(bench, "weights_bytes", 0), kv = hone_doc_number(bench, "kv_bytes", 0), c = hone_doc_number(bench, "compute_bytes", 0);
    return w > 0 ? w + kv + c : -1;
}

/* Runtimes are compared by what all of them report; else by what the system saw of each. */
static const char *memory_basis(const hone_opt_state *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const hone_candidate *c = &s->c[i];
        if (!c->bench || c->failure[0] || !c->format) continue; /* llama.cpp reports all of it */
        if (hone_doc_number(c->bench, "weights_bytes", -1) < 0 || hone_doc_number(c->bench, "kv_bytes", -1) < 0 || hone_doc_number(c->bench, "compute_bytes", -1) < 0)
            return "peak_rss";
    }
    return "reported";
}

/* Accuracy for the comparison of two: tasks when both have them, else closeness to the baseline (which is closest of all). */
static int accuracy_order(const hone_candidate *a, const hone_candidate *b)
{
    bool   tasks = a->accuracy >= 0 && b->accuracy >= 0;
    double x = tasks ? a->accuracy : a->role == HONE_OPT_BASELINE ? 0 : a->kld >= 0 ? -a->kld : NAN;
    double y = tasks ? b->accuracy : b->role == HONE_OPT_BASELINE ? 0 : b->kld >= 0 ? -b->kld : NAN;
    return (x > y) - (x < y); /* 0 when one of them was not measured: left out of the comparison */
}

/* a is at least as good everywhere and better somewhere. */
static bool dominates(const hone_candidate *a, const hone_candidate *b)
{
    int acc = accuracy_order(a, b);
    if (a->speed < b->speed || a->memory > b->memory || acc < 0) return false;
    return a->speed > b->speed || a->memory < b->memory || acc > 0;
}

static bool check_failed(const hone_candidate *c)
{
    /* Token ids and the template are the model's identity; a quantised file's logits are judged by KLD and accuracy instead. */
    return hone_doc_number(json_object_get(c->check, "tokenizer"), "mismatches", 0) > 0 ||
           hone_doc_number(json_object_get(c->check, "template"), "mismatches", 0) > 0;
}

/* Texts that the target must hold, and what the runtimes make of them: all artefacts of one format share the finding of the one that was checked. */
static bool wrong_in_long_texts(const hone_opt_state *s, const hone_candidate *c, char *why, size_t cap)
{
    const json_t *check = c->check ? c->check : hone_opt_base_of(s, c)->check, *beyond = json_object_get(check, "beyond");
    const char   *runtime = json_string_value(json_object_get(check, "runtime")), *limit = json_string_value(json_object_get(beyond, "why"));
    double        to = hone_doc_number(beyond, "deployed_up_to", 0);
    if (json_is_true(json_object_get(beyond, "differs"))) {
        (void)snprintf(why, cap, "wrong in %.30s for texts that the target must hold (%u tokens): %.120s", runtime ? runtime : "its runtime", s->context, limit ? limit : "");
        return true;
    }
    if (to > 0 && to < s->context) {
        (void)snprintf(why, cap, "what runs it where it is deployed is right for texts of up to %.0f tokens only, the target must hold %u", to, s->context);
        return true;
    }
    return false;
}

static void exclude(const hone_opt_state *s, hone_candidate *c)
{
    const hone_candidate *base = &s->c[0];
    char                  have[32], limit[32];
    double                ratio = base->accuracy > 0 && c->accuracy >= 0 ? c->accuracy / base->accuracy : -1;
    c->excluded[0] = '\0';
    if (c->absent) (void)snprintf(c->excluded, sizeof c->excluded, "not measured: %.230s", c->failure);
    else if (c->failure[0]) (void)snprintf(c->excluded, sizeof c->excluded, "failed: %.200s", c->failure);
    else if (c->speed <= 0 || c->memory <= 0) (void)snprintf(c->excluded, sizeof c->excluded, "speed or memory not measured");
    else if (check_failed(c)) (void)snprintf(c->excluded, sizeof c->excluded, "token ids or chat template differ from the source");
    else if (s->max_ram && c->memory > (double)s->max_ram)
        (void)snprintf(c->excluded, sizeof c->excluded, "needs %s of memory, the limit is %s (%s)",
                       hone_text_bytes((uint64_t)c->memory, have, sizeof have), hone_text_bytes(s->max_ram, limit, sizeof limit), s->max_ram_from);
    else if (s->max_bytes && c->bytes > s->max_bytes)
        (void)snprintf(c->excluded, sizeof c->excluded, "the file has %s, the limit is %s (%s)", hone_text_bytes(c->bytes, have, sizeof have),
                       hone_text_bytes(s->max_bytes, limit, sizeof limit), s->max_bytes_from);
    else if (wrong_in_long_texts(s, c, c->excluded, sizeof c->excluded)) return;
    else if (c->brief && c->role != HONE_OPT_RUNTIME_BASE)
        (void)snprintf(c->excluded, sizeof c->excluded, "too slow here to measure its quality (%.0f tokens/s in the prompt): %u tokens of the text only, no tasks",
                       hone_doc_number(c->bench, "prefill_tok_s", 0), c->brief);
    else if (ratio >= 0 && ratio < s->opt->min_accuracy)
        (void)snprintf(c->excluded, sizeof c->excluded, "keeps %.1f %% of the baseline's accuracy, needed %.1f %%", 100 * ratio,
                       100 * s->opt->min_accuracy);
}

/* Each term is 1 for the best: speed against the fastest, memory against the leanest, accuracy against the baseline.
 * Without tasks the closeness of the distributions stands in: exp(-KLD) is 1 for no divergence. */
static double score_of(const hone_opt_state *s, const hone_candidate *c, double fastest, double leanest)
{
    const hone_candidate *base = &s->c[0];
    double                kept = base->accuracy > 0 && c->accuracy >= 0 ? fmin(1, c->accuracy / base->accuracy) : c == base ? 1 : c->kld >= 0 ? exp(-c->kld) : 0;
    return s->opt->prefer_speed * c->speed / fastest + s->opt->prefer_accuracy * kept + s->opt->prefer_memory * leanest / c->memory;
}

/* Half of the 95 % interval of a score difference, as far as it comes from the speeds (memory is exact, tasks are the same items). */
static double uncertainty(const hone_opt_state *s, const hone_candidate *a, const hone_candidate *b, double fastest)
{
    double lo, hi, sum = 0;
    if (hone_doc_interval(a->bench, "decode_tok_s", &lo, &hi)) sum += pow((hi - lo) / 2, 2);
    if (hone_doc_interval(b->bench, "decode_tok_s", &lo, &hi)) sum += pow((hi - lo) / 2, 2);
    return s->opt->prefer_speed * sqrt(sum) / fastest;
}

static void weigh_strategy(hone_opt_state *s, double fastest)
{
    const hone_target *t = &s->target;
    hone_candidate    *p = NULL;
    char               name[200], *why = s->strategy_why;
    size_t             cap = sizeof s->strategy_why;
    s->strategy = HONE_OPT_NO_STRATEGY;
    why[0] = '\0';
    for (size_t i = 0; s->strategy_quant && i < s->n; i++)
        if (strcmp(s->c[i].quant, s->strategy_quant) == 0) p = &s->c[i];
    if (!p) return;
    if (strcmp(t->quantization, p->quant) == 0) (void)snprintf(name, sizeof name, "the strategy for %.60s, %s in %s,", t->name, p->quant, t->format ? t->format : "gguf");
    else
        (void)snprintf(name, sizeof name, "%s, the GGUF encoding nearest to the strategy for %.60s (%s in %s),", p->quant, t->name, t->quantization,
                       t->format ? t->format : "its own format");
    if (p->excluded[0] || !s->chosen) {
        s->strategy = HONE_OPT_IMPOSSIBLE;
        (void)snprintf(why, cap, "%s is ruled out: %.150s", name, p->excluded[0] ? p->excluded : "nothing is eligible");
        return;
    }
    double lead = s->chosen->score - p->score, noise = uncertainty(s, s->chosen, p, fastest);
    if (s->chosen == p) {
        s->strategy = HONE_OPT_CONFIRMED;
        (void)snprintf(why, cap, "%s is confirmed by measurement: no eligible encoding scores higher", name);
    } else if (lead <= noise) {
        s->strategy = HONE_OPT_CONFIRMED;
        (void)snprintf(why, cap, "%s stands: the lead of %s (score %.3f against %.3f) is within the uncertainty of the speeds (%.3f)", name, s->chosen->quant,
                       s->chosen->score, p->score, noise);
        s->chosen = p;
    } else {
        const hone_candidate *c = s->chosen;
        s->strategy = HONE_OPT_OVERRULED;
        int at = snprintf(why, cap, "%s is overruled by measurement: %s scores %.3f against %.3f, with %.2f x the speed and %.0f %% of the memory", name,
                          c->quant, c->score, p->score, c->speed / p->speed, 100 * c->memory / p->memory);
        if (at > 0 && (size_t)at < cap && c->accuracy >= 0 && p->accuracy >= 0)
            (void)snprintf(why + at, cap - (size_t)at, ", at %.1f %% task accuracy against %.1f %%", 100 * c->accuracy, 100 * p->accuracy);
    }
}

/* What the decision tree would have taken, beside what measurement took. */
static void weigh_tree(hone_opt_state *s, double fastest)
{
    const hone_candidate *p = s->tree, *c = s->chosen;
    char                 *why = s->tree_why;
    size_t                cap = sizeof s->tree_why;
    s->tree_verdict = HONE_OPT_NO_STRATEGY;
    why[0] = '\0';
    if (!p) return;
    if (p->excluded[0] || !c) {
        s->tree_verdict = HONE_OPT_IMPOSSIBLE;
        (void)snprintf(why, cap, "the decision tree's pick, %s, as %s, is ruled out: %.150s", s->tree_pick, p->quant, p->excluded[0] ? p->excluded : "nothing is eligible");
        return;
    }
    double lead = c->score - p->score, noise = uncertainty(s, c, p, fastest);
    s->tree_verdict = c == p || lead <= noise ? HONE_OPT_CONFIRMED : HONE_OPT_OVERRULED;
    if (c == p) (void)snprintf(why, cap, "the decision tree's pick, %s, is confirmed by measurement", s->tree_pick);
    else if (lead <= noise)
        (void)snprintf(why, cap, "the decision tree's pick, %s, as %s, is as good: its score %.3f against %.3f is within the uncertainty of the speeds", s->tree_pick, p->quant,
                       p->score, c->score);
    else
        (void)snprintf(why, cap, "the decision tree's pick, %s, as %s, is overruled by measurement: %s scores %.3f against %.3f, with %.2f x the speed and %.0f %% of the memory",
                       s->tree_pick, p->quant, c->quant, c->score, p->score, c->speed / p->speed, 100 * c->memory / p->memory);
}

void hone_opt_choose(hone_opt_state *s)
{
    double fastest = 0, leanest = INFINITY;
    s->chosen = NULL;
    s->memory_basis = memory_basis(s);
    for (size_t i = 0; i < s->n; i++) {
        hone_candidate *c = &s->c[i];
        bool            ran = !c->failure[0] && c->bench;
        c->speed = ran ? hone_doc_number(c->bench, "decode_tok_s", -1) : -1;
        c->memory = !ran ? -1 : strcmp(s->memory_basis, "peak_rss") == 0 ? hone_doc_number(c->bench, "peak_rss_bytes", -1) : memory_of(c->bench);
        c->accuracy = hone_doc_number(c->eval, "accuracy", -1);
        c->kld = hone_doc_number(c->eval, "kld_mean", -1);
        c->score = 0;
        if (c->speed > fastest) fastest = c->speed;
        if (c->memory > 0 && c->memory < leanest) leanest = c->memory;
    }
    for (size_t i = 0; i < s->n; i++) {
        hone_candidate *c = &s->c[i];
        exclude(s, c);
        c->pareto = c->speed > 0 && c->memory > 0;
        for (size_t k = 0; c->pareto && k < s->n; k++)
            if (k != i && s->c[k].speed > 0 && s->c[k].memory > 0 && dominates(&s->c[k], c)) c->pareto = false;
        if (c->speed <= 0 || c->memory <= 0) continue;
        c->score = score_of(s, c, fastest, leanest);
        if (!c->excluded[0] && c->role != HONE_OPT_BASELINE && c->role != HONE_OPT_RUNTIME_BASE && (!s->chosen || c->score > s->chosen->score)) s->chosen = c;
    }
    weigh_strategy(s, fastest);
    weigh_tree(s, fastest);
}

/* ---- gates ---- */

typedef struct gate {
    const char *name, *unit;
    bool        blocking, at_most; /* at_most: value <= threshold passes; else value >= threshold */
    double      threshold, value, lo, hi; /* lo < hi: 95 % interval of value */
    bool        measured;
    char        why[240];
} gate;

static const char *verdict_of(const gate *g)
{
    bool pass = g->at_most ? g->value <= g->threshold : g->value >= g->threshold;
    bool straddles = g->lo < g->hi && g->lo < g->threshold && g->threshold < g->hi;
    if (!g->measured) return "not_measured";
    if (straddles) return "unresolved";
    return pass ? "pass" : "fail";
}

static bool put_gate(json_t *gates, const gate *g, bool *all_pass)
{
    const char *verdict = verdict_of(g);
    if (g->blocking && strcmp(verdict, "pass") != 0) *all_pass = false;
    json_t *o = json_pack("{s:s,s:s,s:b,s:o,s:f,s:s,s:b,s:s}", "name", g->name, "verdict", verdict, "blocking", g->blocking, "value",
                          g->measured ? hone_json_real(g->value) : json_null(), "threshold", g->threshold, "unit", g->unit, "at_most", g->at_most, "why",
                          g->why);
    if (o && g->measured && g->lo < g->hi && !hone_json_put(o, "ci", json_pack("[f,f]", g->lo, g->hi))) return false;
    return o && json_array_append_new(gates, o) == 0;
}

/* Ratio a/b with the interval that follows from both intervals, taken as independent (first-order propagation). */
static void ratio_of(const json_t *a, const json_t *b, const char *path, gate *g)
{
    double va = hone_doc_number(a, path, -1), vb = hone_doc_number(b, path, -1), lo, hi, rel = 0;
    g->measured = va > 0 && vb > 0;
    if (!g->measured) return;
    g->value = va / vb;
    bool known = false;
    if (hone_doc_interval(a, path, &lo, &hi)) {
        rel += pow((hi - lo) / 2 / va, 2);
        known = true;
    }
    if (hone_doc_interval(b, path, &lo, &hi)) {
        rel += pow((hi - lo) / 2 / vb, 2);
        known = true;
    }
    if (known && rel > 0) {
        g->lo = g->value * (1 - sqrt(rel));
        g->hi = g->value * (1 + sqrt(rel));
    }
}

/* Both answered the same items: the interval of the mean difference, task by task, items drawn again in pairs. */
static hone_metric paired(const json_t *ours, const json_t *base)
{
    hone_metric   m = hone_metric_none("the items of both were not kept");
    const char   *name;
    const json_t *task;
    size_t        n = 0, groups = 0, *sizes;
    double       *delta;
    json_object_foreach((json_t *)(uintptr_t)json_object_get(ours, "tasks"), name, task) {
        const char *a = json_string_value(json_object_get(task, "items"));
        const char *b = json_string_value(json_object_get(json_object_get(json_object_get(base, "tasks"), name), "items"));
        if (!a || !b || strlen(a) != strlen(b) || !*a) return m;
        n += strlen(a);
        groups++;
    }
    delta = calloc(n + 1, sizeof *delta);
    sizes = calloc(groups + 1, sizeof *sizes);
    size_t k = 0, g = 0;
    if (delta && sizes && n)
        json_object_foreach((json_t *)(uintptr_t)json_object_get(ours, "tasks"), name, task) {
            const char *a = json_string_value(json_object_get(task, "items"));
            const char *b = json_string_value(json_object_get(json_object_get(json_object_get(base, "tasks"), name), "items"));
            sizes[g] = strlen(a);
            for (size_t i = 0; i < sizes[g]; i++) delta[k++] = (double)(a[i] == '1') - (double)(b[i] == '1');
            g++;
        }
    if (k) m = hone_metric_groups(delta, sizes, groups, SEED);
    free(delta);
    free(sizes);
    return m;
}

static void gate_accuracy(const hone_opt_state *s, const hone_candidate *c, gate *g)
{
    const hone_candidate *b = &s->c[0];
    *g = (gate){ .name = "accuracy", .unit = "of the baseline", .blocking = true, .threshold = s->opt->min_accuracy };
    if (b->accuracy <= 0 || c->accuracy < 0) {
        if (c->kld >= 0) (void)snprintf(g->why, sizeof g->why, "no task accuracy was measured: give --tasks; KL divergence alone is %.4f nats per token", c->kld);
        else (void)snprintf(g->why, sizeof g->why, "no task accuracy was measured: give --tasks");
        return;
    }
    g->measured = true;
    g->value = c->accuracy / b->accuracy;
    hone_metric d = paired(c->eval, b->eval);
    if (d.n) {
        /* Where hardly any pair differs a bootstrap sees no spread; of n items that agree, up to 3/n may differ in truth (rule of three). */
        double three = 3.0 / (double)d.n;
        g->lo = 1 + fmin(d.lo, d.value - three) / b->accuracy;
        g->hi = 1 + fmax(d.hi, d.value + three) / b->accuracy;
    }
    (void)snprintf(g->why, sizeof g->why, "%.1f %% against %.1f %%, the same %" PRIu64 " items", 100 * c->accuracy,
                   100 * b->accuracy, d.n);
    if (!d.n) (void)snprintf(g->why, sizeof g->why, "%.1f %% against %.1f %%", 100 * c->accuracy, 100 * b->accuracy);
}

static void gate_speed(const json_t *ours, const json_t *base, unsigned threads, double least, gate *g)
{
    *g = (gate){ .name = "speed", .unit = "x the baseline", .blocking = true, .threshold = least };
    ratio_of(ours, base, "decode_tok_s", g);
    if (g->measured)
        (void)snprintf(g->why, sizeof g->why, "decode %.0f tokens/s against %.0f, %u thread%s",
                       hone_doc_number(ours, "decode_tok_s", 0), hone_doc_number(base, "decode_tok_s", 0), threads, threads == 1 ? "" : "s");
    else (void)snprintf(g->why, sizeof g->why, "the decode speed of one of them was not measured");
}

static void gate_memory(const json_t *ours, const json_t *base, double most, gate *g)
{
    double a = memory_of(ours), b = memory_of(base);
    char   x[32], y[32];
    *g = (gate){ .name = "memory", .unit = "of the baseline", .blocking = true, .at_most = true, .threshold = most };
    g->measured = a > 0 && b > 0;
    if (!g->measured) {
        (void)snprintf(g->why, sizeof g->why, "the runtime did not report its buffers");
        return;
    }
    g->value = a / b;
    (void)snprintf(g->why, sizeof g->why, "%s against %s: weights, KV, buffers", hone_text_bytes((uint64_t)a, x, sizeof x),
                   hone_text_bytes((uint64_t)b, y, sizeof y));
}

static void gate_variation(const json_t *ours, double most, gate *g)
{
    *g = (gate){ .name = "consistent latency", .unit = "coefficient of variation", .blocking = true, .at_most = true, .threshold = most };
    g->value = hone_doc_number(ours, "cv", -1);
    g->measured = g->value >= 0;
    (void)snprintf(g->why, sizeof g->why, g->measured ? "spread of the decode speed over the rounds" : "too few rounds");
}

static void gate_parity(const hone_opt_state *s, const char *section, const char *name, gate *g)
{
    const json_t *o = json_object_get(s->chosen->check, section);
    double        cases = hone_doc_number(o, "cases", 0);
    *g = (gate){ .name = name, .unit = "mismatches", .blocking = true, .at_most = true, .threshold = 0 };
    g->value = hone_doc_number(o, "mismatches", -1);
    g->measured = cases > 0 && g->value >= 0;
    if (g->measured) (void)snprintf(g->why, sizeof g->why, "%.0f cases in the real runtime", cases);
    else {
        (void)snprintf(g->why, sizeof g->why, "the checkpoint brings no cases");
        g->blocking = false; /* nothing to compare with: said, not held against the model */
    }
}

hone_code hone_opt_gates(const hone_opt_state *s, json_t **gates, bool *all_pass, hone_err *err)
{
    gate    g[6];
    json_t *list = json_array();
    bool    good = list != NULL;
    *all_pass = s->chosen != NULL;
    if (s->chosen) {
        gate_parity(s, "tokenizer", "token parity", &g[0]);
        gate_parity(s, "template", "template parity", &g[1]);
        gate_accuracy(s, s->chosen, &g[2]);
        gate_speed(s->final_chosen, s->final_base, s->threads, s->opt->gate_speed, &g[3]);
        gate_memory(s->final_chosen, s->final_base, s->opt->gate_memory, &g[4]);
        gate_variation(s->final_chosen, s->opt->gate_variation, &g[5]);
        for (size_t i = 0; good && i < HONE_COUNT(g); i++) good = put_gate(list, &g[i], all_pass);
    }
    if (!good) {
        json_decref(list);
        return HONE_NOMEM(err, "the gates");
    }
    *gates = list;
    return HONE_OK;
}

json_t *hone_opt_candidate_gates(const hone_opt_state *s, const hone_candidate *c)
{
    gate g[4];
    gate_accuracy(s, c, &g[0]);
    gate_speed(c->bench, hone_opt_base_of(s, c)->bench, 1, s->opt->gate_speed, &g[1]);
    gate_memory(c->bench, hone_opt_base_of(s, c)->bench, s->opt->gate_memory, &g[2]);
    gate_variation(c->bench, s->opt->gate_variation, &g[3]);
    return json_pack("{s:s,s:s,s:s,s:s}", "accuracy", verdict_of(&g[0]), "speed", verdict_of(&g[1]), "memory", verdict_of(&g[2]), "consistent latency",
                     verdict_of(&g[3]));
}

hone_code hone_opt_verdict(const hone_opt_state *s, const json_t *doc, hone_err *err)
{
    hone_text t = { 0 };
    size_t    i;
    json_t   *g;
    if (!s->chosen)
        return HONE_FAIL(err, HONE_ENO, "loosen --max-ram, --max-bytes or --min-accuracy, or add wider encodings with --quant",
                         "no encoding meets the constraints");
    json_array_foreach(json_object_get(doc, "gates"), i, g) {
        const char *verdict = json_string_value(json_object_get(g, "verdict"));
        if (json_is_true(json_object_get(g, "blocking")) && verdict && strcmp(verdict, "pass") != 0)
            hone_text_addf(&t, "%s%s (%s)", t.len ? ", " : "", json_string_value(json_object_get(g, "name")), verdict);
    }
    hone_code code = HONE_FAIL(err, HONE_ENO, "the report says what was measured; the artefacts are kept", "%s does not pass: %s", s->chosen->quant,
                               t.ptr ? t.ptr : "");
    hone_text_release(&t);
    return code;
}
