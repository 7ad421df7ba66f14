/* document.c - the result document: what report.json holds, report.html shows and `hone optimize --json` prints. */
#include "base/text.h"
#include "flow/optimize/judge.h"
#include <stdarg.h>

static json_t *real_or_null(double v, bool known) { return known ? hone_json_real(v) : json_null(); }
static json_t *record_or_null(json_t *r) { return r ? json_incref(r) : json_null(); }

static json_t *source_json(const hone_opt_state *s)
{
    uint64_t params = 0, bytes = 0;
    for (size_t i = 0; i < s->model.n_weights; i++) params += hone_weight_elems(&s->model.weights[i]);
    for (size_t i = 0; i < s->model.source->n_tensors; i++) bytes += s->model.source->tensors[i].bytes;
    const hone_facts *f = &s->model.facts;
    return json_pack("{s:s,s:s,s:s,s:I,s:I,s:s,s:I,s:I,s:I,s:s}", "path", s->opt->source, "name", f->name, "architecture", f->family, "parameters",
                     (json_int_t)params, "bytes", (json_int_t)bytes, "dtype", s->c[0].quant, "layers", (json_int_t)f->n_layers, "context",
                     (json_int_t)f->context, "vocab", (json_int_t)f->vocab, "sha256", s->source_sha256);
}

static json_t *candidate_json(const hone_opt_state *s, const hone_candidate *c)
{
    static const char *const role[] = { "baseline", "format", "candidate", "runtime_baseline" };
    const hone_candidate    *base = &s->c[0];
    bool                     acc = c->accuracy >= 0 && base->accuracy > 0;
    json_t                  *o = json_pack("{s:s,s:s,s:s,s:s,s:I,s:f}", "quantization", c->quant, "role", role[c->role], "path", c->path ? c->path : "",
                                           "sha256", c->sha256 ? c->sha256 : "", "bytes", (json_int_t)c->bytes, "bpw", c->bpw);
    bool good = o && hone_json_put(o, "format", json_string(c->format ? c->format : "gguf")) && hone_json_put(o, "encoding", json_string(c->encoding ? c->encoding : c->quant)) &&
                hone_json_put(o, "absent", json_boolean(c->absent)) && hone_json_put(o, "brief_tokens", c->brief ? json_integer(c->brief) : json_null()) &&
                hone_json_put(o, "ram_bytes", real_or_null(c->memory, c->memory > 0)) && hone_json_put(o, "speed_ratio",
                real_or_null(c->speed / base->speed, c->speed > 0 && base->speed > 0)) &&
                hone_json_put(o, "memory_ratio", real_or_null(c->memory / base->memory, c->memory > 0 && base->memory > 0)) &&
                hone_json_put(o, "accuracy_ratio", real_or_null(acc ? c->accuracy / base->accuracy : 0, acc)) &&
                hone_json_put(o, "score", real_or_null(c->score, c->score > 0)) && hone_json_put(o, "pareto", json_boolean(c->pareto)) &&
                hone_json_put(o, "chosen", json_boolean(c == s->chosen)) &&
                hone_json_put(o, "excluded", c->excluded[0] ? json_string(c->excluded) : json_null()) &&
                hone_json_put(o, "failure", c->failure[0] ? json_string(c->failure) : json_null()) &&
                hone_json_put(o, "gates", c->role == HONE_OPT_BASELINE || c->role == HONE_OPT_RUNTIME_BASE || c->absent ? json_null() : hone_opt_candidate_gates(s, c)) &&
                hone_json_put(o, "check", record_or_null(c->check)) && hone_json_put(o, "eval", record_or_null(c->eval)) &&
                hone_json_put(o, "bench", record_or_null(c->bench));
    if (good) return o;
    json_decref(o);
    return NULL;
}

/* The figures that every stage shows, so that the stages can be laid side by side. */
static json_t *figures(const hone_candidate *c, const json_t *bench, const json_t *base_bench)
{
    double speed = hone_doc_number(bench, "decode_tok_s", -1), base = hone_doc_number(base_bench, "decode_tok_s", -1);
    double w = hone_doc_number(bench, "weights_bytes", 0), kv = hone_doc_number(bench, "kv_bytes", 0), k = hone_doc_number(bench, "compute_bytes", 0);
    double ppl = hone_doc_number(c->eval, "perplexity", -1);
    return json_pack("{s:s,s:I,s:f,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "quantization", c->quant, "bytes", (json_int_t)c->bytes, "bpw", c->bpw,
                     "ram_bytes", real_or_null(w + kv + k, w > 0), "decode_tok_s", real_or_null(speed, speed > 0), "speed_ratio",
                     real_or_null(speed / base, speed > 0 && base > 0), "prefill_tok_s",
                     real_or_null(hone_doc_number(bench, "prefill_tok_s", 0), hone_doc_number(bench, "prefill_tok_s", 0) > 0), "perplexity",
                     real_or_null(ppl, ppl > 0), "kld_mean", real_or_null(c->kld, c->kld >= 0), "accuracy", real_or_null(c->accuracy, c->accuracy >= 0),
                     "peak_rss_bytes", real_or_null(hone_doc_number(bench, "peak_rss_bytes", 0), hone_doc_number(bench, "peak_rss_bytes", 0) > 0));
}

static bool add_stage(json_t *stages, const hone_opt_state *s, int n, const char *name, const char *what, json_t *fig, json_t *extra)
{
    json_t *o = json_pack("{s:i,s:s,s:s,s:s,s:f}", "stage", n, "name", name, "what", what, "status", fig ? "measured" : "not_measured", "seconds",
                          s->stage_s[n - 1]);
    bool good = o && hone_json_put(o, "figures", fig ? fig : json_null());
    if (good && extra) good = hone_json_put(o, "detail", extra);
    return good && json_array_append_new(stages, o) == 0;
}

static json_t *stages_json(const hone_opt_state *s)
{
    const hone_candidate *base = &s->c[0], *format = base, *win = s->chosen;
    const json_t         *bb = base->bench;
    json_t               *st = json_array();
    char                  text[5][300];
    size_t absent = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->c[i].role == HONE_OPT_FORMAT) format = &s->c[i];
        absent += s->c[i].absent;
    }
    (void)snprintf(text[0], sizeof text[0], "the source in its own type (%s), unquantised, in llama.cpp on 1 thread: quality is measured against it; speed and memory too, in other runtimes against the source there",
                   base->quant);
    (void)snprintf(text[1], sizeof text[1], "GGUF in %s, other formats unquantised: token ids, chat template and logits compared with the source's own reference", format->quant);
    if (win) (void)snprintf(text[2], sizeof text[2], "%zu encodings evaluated and benchmarked side by side; %s is chosen", s->n - absent, win->quant);
    else (void)snprintf(text[2], sizeof text[2], "%zu encodings evaluated and benchmarked side by side; none meets the constraints", s->n - absent);
    (void)snprintf(text[3], sizeof text[3], "%s on 1 thread and more; %u thread%s is fastest (3 %% counts as a tie)", win ? win->quant : "-", s->threads,
                   s->threads == 1 ? "" : "s");
    (void)snprintf(text[4], sizeof text[4], "%s against the source in the same runtime on %u thread%s, twice the rounds, gates applied", win ? win->quant : "-", s->threads,
                   s->threads == 1 ? "" : "s");
    json_t *proof = json_pack("{s:o,s:o}", "baseline_check", record_or_null(base->check), "format_check", record_or_null(format->check));
    bool good = st && proof && add_stage(st, s, 1, "baseline", text[0], figures(base, bb, bb), NULL) &&
                add_stage(st, s, 2, "format conversion", text[1], figures(format, format->bench, bb), proof) &&
                add_stage(st, s, 3, "quantisation", text[2], win ? figures(win, win->bench, bb) : NULL, NULL) &&
                add_stage(st, s, 4, "hardware acceleration", text[3], win ? figures(win, s->sweep_best, bb) : NULL,
                          json_pack("{s:O,s:I}", "sweep", s->sweep, "threads", (json_int_t)s->threads)) &&
                add_stage(st, s, 5, "production validation", text[4], win ? figures(win, s->final_chosen, s->final_base) : NULL,
                          json_pack("{s:o,s:o}", "baseline", record_or_null(s->final_base), "chosen", record_or_null(s->final_chosen)));
    if (good) return st;
    json_decref(st);
    return NULL;
}

static bool say(json_t *list, const char *fmt, ...) HONE_PRINTF(2, 3);
static bool say(json_t *list, const char *fmt, ...)
{
    char    text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return json_array_append_new(list, json_string(text)) == 0;
}

static size_t out_of_bounds(const hone_opt_state *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) n += s->c[i].excluded[0] != '\0' && s->c[i].failure[0] == '\0';
    return n;
}

static bool say_limits(json_t *l, const hone_opt_state *s)
{
    char a[32], b[32], ram[120] = "", file[120] = "";
    if (s->max_ram) (void)snprintf(ram, sizeof ram, "%s of memory (%s), ", hone_text_bytes(s->max_ram, a, sizeof a), s->max_ram_from);
    if (s->max_bytes) (void)snprintf(file, sizeof file, "a file of %s (%s), ", hone_text_bytes(s->max_bytes, b, sizeof b), s->max_bytes_from);
    size_t out = out_of_bounds(s);
    return say(l, "limits: %s%s%.0f %% of the baseline's accuracy; %zu of %zu encodings %s outside them", ram, file, 100 * s->opt->min_accuracy, out, s->n,
               out == 1 ? "lies" : "lie");
}

/* Why this one: each sentence rests on a figure of the document. */
static json_t *because_json(const hone_opt_state *s)
{
    const hone_candidate *c = s->chosen, *base = &s->c[0];
    json_t               *l = json_array();
    char                  x[32], y[32];
    size_t                eligible = 0, better = 0;
    for (size_t i = 1; i < s->n; i++) {
        eligible += !s->c[i].excluded[0];
        better += !s->c[i].excluded[0] && s->c[i].score > c->score;
    }
    bool good = l && (!s->strategy_why[0] || say(l, "%s", s->strategy_why)) && (!s->tree_why[0] || say(l, "%s", s->tree_why)) &&
                say(l, "score %.3f, number %zu of %zu eligible encodings (weights: speed %.2f, accuracy %.2f, memory %.2f)", c->score, better + 1, eligible,
                    s->opt->prefer_speed, s->opt->prefer_accuracy, s->opt->prefer_memory);
    if (base->speed > 0) good = good && say(l, "decodes %.0f tokens/s, %.2f x the baseline on the same thread", c->speed, c->speed / base->speed);
    if (base->memory > 0)
        good = good && say(l, strcmp(s->memory_basis, "reported") == 0 ? "needs %s for weights, KV cache of %u tokens and compute buffers, %.0f %% of the baseline's %s"
                                                                       : "takes %s of memory at its peak, runtime and KV cache of %u tokens included, %.0f %% of the baseline's %s",
                           hone_text_bytes((uint64_t)c->memory, x, sizeof x), s->context, 100 * c->memory / base->memory,
                           hone_text_bytes((uint64_t)base->memory, y, sizeof y));
    if (c->accuracy >= 0 && base->accuracy > 0)
        good = good && say(l, "keeps %.1f %% of the baseline's task accuracy", 100 * c->accuracy / base->accuracy);
    if (c->kld >= 0) good = good && say(l, "mean KL divergence from the baseline %.4f nats per token", c->kld);
    if (!s->tasks) good = good && say(l, "no tasks were given: accuracy stands on the KL divergence alone");
    good = good && say(l, c->pareto ? "on the Pareto front of speed, accuracy and memory" : "not on the Pareto front; the weights prefer it all the same") &&
           say_limits(l, s);
    if (good) return l;
    json_decref(l);
    return NULL;
}

static bool say_threads(json_t *l, const hone_opt_state *s)
{
    const hone_target *t = &s->target;
    const char        *pay = hone_ctx_threads(s->ctx) > s->threads ? "more did not pay" : "as many as were allowed";
    if (t->host || !t->threads)
        return say(l, "run it on %u thread%s: %s on this machine", s->threads, s->threads == 1 ? "" : "s", pay);
    return say(l, "on the device begin with %u thread%s (the target's policy) and measure there; on this machine %u %s best", t->threads,
               t->threads == 1 ? "" : "s", s->threads, s->threads == 1 ? "was" : "were");
}

static bool say_room(json_t *l, const hone_opt_state *s)
{
    const hone_target *t = &s->target;
    char               a[32], b[32];
    double ram = hone_doc_number(s->final_chosen, "weights_bytes", 0) + hone_doc_number(s->final_chosen, "kv_bytes", 0) +
                 hone_doc_number(s->final_chosen, "compute_bytes", 0);
    bool good = true;
    if (ram > 0)
        good = say(l, "reserve %s of memory for a context of %u tokens%s; a longer context grows the KV cache", hone_text_bytes((uint64_t)ram, a, sizeof a),
                   s->context, t->context && t->context == s->context ? " (the target's policy)" : t->context ? " (the model's own: the target's policy has room for more)" : "");
    if (ram > 0 && t->ram_bytes)
        good = good && say(l, "that is %.2g %% of the %s that %s has for it", 100 * ram / (double)t->ram_bytes, hone_text_bytes(t->ram_bytes, b, sizeof b),
                           t->host ? "this machine" : "the target");
    if (t->package_bytes)
        good = good && say(l, "the file takes %.2g %% of the package budget of %s: %s are left for the runtime and everything else",
                           100 * (double)s->chosen->bytes / (double)t->package_bytes, hone_text_bytes(t->package_bytes, a, sizeof a),
                           hone_text_bytes(t->package_bytes > s->chosen->bytes ? t->package_bytes - s->chosen->bytes : 0, b, sizeof b));
    return good;
}

/* What the target has besides its processor, and what that means today. */
static bool say_device(json_t *l, const hone_opt_state *s)
{
    size_t      i;
    json_t     *d;
    hone_text   t = { 0 };
    bool        good = true;
    const char *power = json_string_value(json_object_get(json_object_get(s->target_doc, "power"), "source"));
    if (s->target.host) return true;
    json_array_foreach(json_object_get(s->target_doc, "accelerators"), i, d) {
        const char *name = json_string_value(json_object_get(d, "name"));
        if (name) hone_text_addf(&t, "%s%s", t.len ? ", " : "", name);
    }
    if (t.len) good = say(l, "unused on the target: %s; hone drives its CPU only", t.ptr);
    hone_text_release(&t);
    if (power && strcmp(power, "battery") == 0) {
        const char *no_energy = json_string_value(json_object_get(json_object_get(json_object_get(s->final_chosen, "states"), "energy_j_per_token"), "reason"));
        if (no_energy) good = good && say(l, "the target runs on a battery, and energy was not measured here (%s): measure it on the device", no_energy);
    }
    return good && say(l, "all speed figures are of this machine, not of the target: they rank the encodings, they do not promise the device's speed");
}

static json_t *guidance_json(const hone_opt_state *s)
{
    const hone_candidate *c = s->chosen;
    json_t               *l = json_array();
    size_t                i;
    json_t               *w;
    if (!l) return NULL;
    bool good;
    if (!c) good = say(l, "nothing to deploy: no encoding meets the constraints") && say_limits(l, s);
    else {
        const char *runtime = json_string_value(json_object_get(s->final_chosen, "runtime")), *version = json_string_value(json_object_get(s->final_chosen, "version"));
        good = say(l, "deploy %s (sha256 %.16s...) with the runtime it was measured in: %s %s", c->path, c->sha256, runtime ? runtime : "llama.cpp", version ? version : "") &&
               say_threads(l, s) && say_room(l, s) && say_device(l, s);
    }
    json_array_foreach(s->warnings, i, w) good = good && json_array_append(l, w) == 0;
    if (good) return l;
    json_decref(l);
    return NULL;
}

static bool watch(json_t *l, const char *metric, const char *rule, double threshold, const char *unit, const char *why)
{
    return json_array_append_new(l, json_pack("{s:s,s:s,s:f,s:s,s:s}", "metric", metric, "rule", rule, "threshold", threshold, "unit", unit, "why", why)) == 0;
}

/* Alert thresholds are set from what was measured here; a metric that was not measured gets no invented threshold. */
static json_t *monitoring_json(const hone_opt_state *s)
{
    json_t       *l = json_array();
    const json_t *f = s->final_chosen;
    bool          good = l != NULL;
    double        v;
    if (!s->chosen) return l;
    if ((v = hone_doc_number(f, "ttft_ms.p95", -1)) > 0 || (v = hone_doc_number(f, "ttft_ms.p50", -1)) > 0)
        good = good && watch(l, "time to first token, p95", "above", 1.5 * v, "ms", "1.5 x the measured value");
    if ((v = hone_doc_number(f, "latency_ms.p99", -1)) > 0 || (v = hone_doc_number(f, "latency_ms.p95", -1)) > 0)
        good = good && watch(l, "latency per token, p99", "above", 1.5 * v, "ms", "1.5 x the measured tail");
    if ((v = hone_doc_number(f, "decode_tok_s", -1)) > 0)
        good = good && watch(l, "decode speed", "below", 0.8 * v, "tokens/s", "80 % of the measured mean");
    if ((v = hone_doc_number(f, "peak_rss_bytes", -1)) > 0)
        good = good && watch(l, "resident memory", "above", 1.2 * v, "bytes", "1.2 x the measured peak");
    if ((v = hone_doc_number(s->chosen->eval, "perplexity", -1)) > 0)
        good = good && watch(l, "perplexity of sampled traffic", "above", 1.25 * v, "", "input drift: 1.25 x the held-out perplexity");
    good = good && watch(l, "share of failed requests", "above", 0.01, "", "the usual error budget of 1 %");
    if (good) return l;
    json_decref(l);
    return NULL;
}

static json_t *strategy_json(const hone_opt_state *s)
{
    static const char *const verdict[] = { "none", "confirmed", "overruled", "impossible" };
    const hone_target       *t = &s->target;
    return json_pack("{s:s?,s:s?,s:s?,s:s,s:s}", "format", t->format, "quantization", t->quantization, "encoding", s->strategy_quant, "verdict",
                     verdict[s->strategy], "why", s->strategy_why);
}

static json_t *tree_json(const hone_opt_state *s)
{
    static const char *const verdict[] = { "none", "confirmed", "overruled", "impossible" };
    return json_pack("{s:s,s:s?,s:s,s:s}", "pick", s->tree_pick, "candidate", s->tree ? s->tree->quant : NULL, "verdict", verdict[s->tree_verdict], "why", s->tree_why);
}

static json_t *target_json(const hone_opt_state *s)
{
    const hone_target *t = &s->target;
    json_t            *o = json_pack("{s:s,s:s,s:s,s:s,s:s}", "name", t->name, "title", t->title, "kind", t->host ? "host" : "profile", "vendor", t->vendor, "platform",
                                     t->platform);
    bool good = o && hone_json_put(o, "policy", record_or_null(json_object_get(s->target_doc, "policy"))) &&
                hone_json_put(o, "memory", record_or_null(json_object_get(s->target_doc, "memory")));
    if (good) return o;
    json_decref(o);
    return NULL;
}

static json_t *constraints_json(const hone_opt_state *s)
{
    return json_pack("{s:o,s:s?,s:o,s:s?,s:f}", "max_ram_bytes", s->max_ram ? json_integer((json_int_t)s->max_ram) : json_null(), "max_ram_from",
                     s->max_ram_from, "max_bytes", s->max_bytes ? json_integer((json_int_t)s->max_bytes) : json_null(), "max_bytes_from", s->max_bytes_from,
                     "min_accuracy", s->opt->min_accuracy);
}

static json_t *chosen_json(const hone_opt_state *s)
{
    if (!s->chosen) return json_null();
    json_t *because = because_json(s);
    if (!because) return NULL;
    return json_pack("{s:s,s:s,s:s,s:I,s:I,s:f,s:o}", "quantization", s->chosen->quant, "path", s->chosen->path, "sha256", s->chosen->sha256, "bytes",
                     (json_int_t)s->chosen->bytes, "threads", (json_int_t)s->threads, "score", s->chosen->score, "because", because);
}

hone_code hone_opt_document(hone_opt_state *s, json_t *doc, hone_err *err)
{
    json_t *candidates = json_array(), *pareto = json_array(), *gates = NULL;
    bool    pass = false, good = candidates && pareto;
    for (size_t i = 0; good && i < s->n; i++) {
        good = json_array_append_new(candidates, candidate_json(s, &s->c[i])) == 0;
        if (good && s->c[i].pareto) good = json_array_append_new(pareto, json_string(s->c[i].quant)) == 0;
    }
    if (good && hone_opt_gates(s, &gates, &pass, err) != HONE_OK) good = false;
    good = good && hone_json_put(doc, "source", source_json(s)) && hone_json_put(doc, "target", target_json(s)) &&
           hone_json_put(doc, "machine", record_or_null(s->machine)) && hone_json_put(doc, "command", json_string(s->opt->command)) &&
           hone_json_put(doc, "hone", json_string(HONE_VERSION)) && hone_json_put(doc, "seconds", hone_json_real(s->seconds)) &&
           hone_json_put(doc, "convert", json_pack("{s:f,s:I}", "seconds", s->convert_seconds, "peak_rss_bytes", (json_int_t)s->convert_rss)) &&
           hone_json_put(doc, "measured", json_integer((json_int_t)s->measured)) && hone_json_put(doc, "reused", json_integer((json_int_t)s->reused)) &&
           hone_json_put(doc, "settings", json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:s?}", "prompt", (json_int_t)s->opt->prompt, "gen",
                                                    (json_int_t)s->opt->gen, "repeat", (json_int_t)s->opt->repeat, "context", (json_int_t)s->context, "seed",
                                                    (json_int_t)s->opt->seed, "max_tokens", (json_int_t)s->opt->max_tokens, "max_items",
                                                    (json_int_t)s->opt->max_items, "text", s->text, "tasks", s->tasks)) &&
           hone_json_put(doc, "preferences", json_pack("{s:f,s:f,s:f}", "speed", s->opt->prefer_speed, "accuracy", s->opt->prefer_accuracy, "memory",
                                                       s->opt->prefer_memory)) &&
           hone_json_put(doc, "constraints", constraints_json(s)) && hone_json_put(doc, "strategy", strategy_json(s)) &&
           hone_json_put(doc, "decision_tree", tree_json(s)) && hone_json_put(doc, "memory_basis", json_string(s->memory_basis)) &&
           hone_json_put(doc, "baseline", json_string(s->c[0].quant)) && hone_json_put(doc, "stages", stages_json(s)) &&
           hone_json_put(doc, "candidates", json_incref(candidates)) && hone_json_put(doc, "pareto", json_incref(pareto)) &&
           hone_json_put(doc, "chosen", chosen_json(s)) && hone_json_put(doc, "gates", json_incref(gates)) &&
           hone_json_put(doc, "gates_pass", json_boolean(pass)) && hone_json_put(doc, "guidance", guidance_json(s)) &&
           hone_json_put(doc, "monitoring", monitoring_json(s));
    json_decref(candidates);
    json_decref(pareto);
    json_decref(gates);
    return good ? HONE_OK : HONE_NOMEM(err, "the result document");
}
