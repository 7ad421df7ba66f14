#include "flow/assess.h"
#include "arch/arch.h"
#include "base/text.h"
#include "flow/assess/decide.h"
#include "flow/assess/fit.h"
#include "flow/probe.h"
#include "hw/hw.h"
#include "hw/target.h"
#include "ir/graph.h"
#include "passes/gguf_layout.h"
#include "passes/limits.h"
#include "passes/mix.h"
#include "passes/mlx_layout.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Formats beside GGUF, which is assessed in full.  Encodings: the names DESIGN's --quant uses for them. */
static const struct { const char *format, *encoding; } others[] = {
    { "onnx", "int8" }, { "onnx", "int4" }, { "openvino", "int8" }, { "openvino", "int4" }, { "mlx", "int8" }, { "mlx", "int4" },
};

/* Whether hone can write this model in this format; err says why not.  ONNX and OpenVINO have operators for every graph there is. */
static hone_code can_write(const char *format, const hone_model *m, hone_err *err)
{
    hone_arena a = { 0 };
    hone_graph g;
    if (strcmp(format, "gguf") == 0) return hone_gguf_can(&m->facts, err);
    if (strcmp(format, "mlx") == 0) return hone_mlx_can(&m->facts, err);
    hone_code code = hone_graph_build(m, &a, &g, err);
    hone_arena_release(&a);
    return code;
}

static const char *tok_name(hone_tok_kind k)
{
    switch (k) {
    case HONE_TOK_NONE: return "none";
    case HONE_TOK_BPE: return "byte-level BPE";
    case HONE_TOK_SPM: return "SentencePiece BPE";
    case HONE_TOK_UNIGRAM: return "SentencePiece Unigram";
    case HONE_TOK_WORDPIECE: return "WordPiece";
    }
    return "unknown";
}

static const char *kind_name(const hone_model *m) { return m->facts.kind == HONE_KIND_ENCODER ? "embedding" : "llm"; }

/* --- the model's facts ----------------------------------------------------------------------------------------- */

static hone_code put_model(const hone_model *m, const hone_counts *n, json_t *doc, hone_err *err)
{
    const hone_facts *f = &m->facts;
    uint64_t          bytes[HONE_DTYPE_COUNT] = { 0 }, total = 0;
    size_t            most = 0;
    for (size_t i = 0; i < m->source->n_tensors; i++) {
        bytes[m->source->tensors[i].dtype] += m->source->tensors[i].bytes;
        total += m->source->tensors[i].bytes;
    }
    json_t *dtypes = json_object();
    bool    ok = dtypes != NULL;
    for (size_t i = 0; ok && i < HONE_DTYPE_COUNT; i++) {
        if (bytes[i] > bytes[most]) most = i;
        if (bytes[i]) ok = hone_json_put(dtypes, hone_dtype_name((hone_dtype)i), json_integer((json_int_t)bytes[i]));
    }
    uint32_t windowed = 0;
    for (uint32_t i = 0; f->window && i < f->n_layers; i++) windowed += !f->windowed || f->windowed[i];
    json_t *o = json_object();
    ok = ok && o && hone_json_put(o, "name", json_string(f->name && f->name[0] ? f->name : "model")) &&
         hone_json_put(o, "architecture", json_string(f->family)) && hone_json_put(o, "class", json_string(f->hf_class)) &&
         hone_json_put(o, "kind", json_string(kind_name(m))) && hone_json_put(o, "parameters", json_integer((json_int_t)n->parameters)) &&
         hone_json_put(o, "parameters_per_token", json_integer((json_int_t)n->parameters_active)) &&
         hone_json_put(o, "bytes", json_integer((json_int_t)total)) && hone_json_put(o, "files", json_integer((json_int_t)m->source->n_files)) &&
         hone_json_put(o, "dtype", json_string(hone_dtype_name((hone_dtype)most))) && json_object_set(o, "dtypes", dtypes) == 0 &&
         hone_json_put(o, "layers", json_integer(f->n_layers)) && hone_json_put(o, "hidden", json_integer(f->hidden)) &&
         hone_json_put(o, "heads", json_integer(f->n_heads)) && hone_json_put(o, "kv_heads", json_integer(f->n_kv_heads)) &&
         hone_json_put(o, "head_dim", json_integer(f->head_dim)) && hone_json_put(o, "ffn", json_integer(f->ffn)) &&
         hone_json_put(o, "vocab", json_integer(f->vocab)) && hone_json_put(o, "context", json_integer(f->context)) &&
         hone_json_put(o, "experts", json_integer(f->n_experts)) && hone_json_put(o, "experts_used", json_integer(f->n_experts_used)) &&
         hone_json_put(o, "window", f->window ? json_integer(f->window) : json_null()) &&
         hone_json_put(o, "windowed_layers", json_integer(windowed)) && hone_json_put(o, "tied", json_boolean(f->tied)) &&
         hone_json_put(o, "tokenizer", json_string(tok_name(m->tokenizer.kind)));
    json_decref(dtypes);
    if (!ok) {
        json_decref(o);
        return HONE_NOMEM(err, "the model's facts");
    }
    return hone_json_put(doc, "model", o) ? HONE_OK : HONE_NOMEM(err, "the model's facts");
}

/* --- compatibility and fit -------------------------------------------------------------------------------------- */

static hone_code put_compatibility(const hone_model *m, const hone_fit *fits, size_t n, json_t *doc, hone_err *err)
{
    json_t *list = json_array();
    bool    ok = list != NULL;
    char    reason[512];
    for (size_t i = 0; ok && i < n; i++) {
        const hone_fit *f = &fits[i];
        if (!f->ok) (void)snprintf(reason, sizeof reason, "%s", f->why);
        else if (f->fallbacks)
            (void)snprintf(reason, sizeof reason, "%zu of %zu matrices kept wider: their rows are no multiple of the block", f->fallbacks, f->n_matrices);
        else reason[0] = '\0';
        ok = json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s, s:I, s:I}", "format", "gguf", "encoding", f->mix->name, "ok", f->ok, "reason",
                                                   reason, "matrices", (json_int_t)f->n_matrices, "fallbacks", (json_int_t)f->fallbacks)) == 0;
    }
    for (size_t i = 0; ok && i < HONE_COUNT(others); i++) {
        hone_err  why = { 0 };
        hone_code code = can_write(others[i].format, m, &why);
        if (code != HONE_OK && code != HONE_EUNSUPPORTED) {
            json_decref(list);
            if (err) *err = why;
            return code;
        }
        ok = json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s}", "format", others[i].format, "encoding", others[i].encoding, "ok",
                                                   code == HONE_OK, "reason", why.cause)) == 0;
    }
    if (!ok || !hone_json_put(doc, "compatibility", list)) return HONE_NOMEM(err, "the compatibility");
    return HONE_OK;
}

static json_t *yes_no_unknown(int v) { return v < 0 ? json_null() : json_boolean(v); }

static json_t *fit_json(const hone_fit *f)
{
    json_t *o = json_object();
    bool    ok = o && hone_json_put(o, "format", json_string("gguf")) && hone_json_put(o, "encoding", json_string(f->mix->name)) &&
              hone_json_put(o, "bpw", hone_json_real(f->bpw)) && hone_json_put(o, "weights_bytes", json_integer((json_int_t)f->weights_bytes)) &&
              hone_json_put(o, "file_bytes", json_integer((json_int_t)f->file_bytes)) &&
              hone_json_put(o, "kv_bytes", json_integer((json_int_t)f->kv_bytes)) &&
              hone_json_put(o, "compute_bytes", json_integer((json_int_t)f->compute_bytes)) &&
              hone_json_put(o, "ram_bytes", json_integer((json_int_t)f->ram_bytes)) &&
              hone_json_put(o, "est_decode_tok_s", f->decode_tok_s > 0 ? hone_json_real(f->decode_tok_s) : json_null()) &&
              hone_json_put(o, "fits", yes_no_unknown(f->fits)) && hone_json_put(o, "fits_package", yes_no_unknown(f->fits_package)) &&
              hone_json_put(o, "fits_storage", yes_no_unknown(f->fits_storage));
    if (ok) return o;
    json_decref(o);
    return NULL;
}

static hone_code put_fit(const hone_fit *fits, size_t n, json_t *doc, hone_err *err)
{
    json_t *list = json_array();
    bool    ok = list != NULL;
    for (size_t i = 0; ok && i < n; i++)
        if (fits[i].ok) ok = json_array_append_new(list, fit_json(&fits[i])) == 0;
    if (!ok || !hone_json_put(doc, "fit", list)) return HONE_NOMEM(err, "the fit");
    return HONE_OK;
}

/* --- recommendation ---------------------------------------------------------------------------------------------- */

static const char *title_of(const json_t *data, const char *framework)
{
    size_t  i;
    json_t *f;
    json_array_foreach(json_object_get(data, "frameworks"), i, f)
        if (strcmp(json_string_value(json_object_get(f, "name")), framework) == 0) return json_string_value(json_object_get(f, "title"));
    return framework;
}

static bool all_fit(const hone_fit *f) { return f->fits != 0 && f->fits_package != 0 && f->fits_storage != 0; }

/* The wished encoding when it fits; else the widest narrower one that does; else the narrowest of all, which then does not fit. */
static const hone_fit *pick(const hone_fit *fits, size_t n, const char *wish)
{
    const hone_fit *w = NULL, *best = NULL, *least = NULL;
    for (size_t i = 0; i < n; i++)
        if (fits[i].ok && strcmp(fits[i].mix->name, wish) == 0) w = &fits[i];
    if (w && all_fit(w)) return w;
    for (size_t i = 0; i < n; i++) {
        const hone_fit *f = &fits[i];
        if (!f->ok) continue;
        if (!least || f->weights_bytes < least->weights_bytes) least = f;
        if (all_fit(f) && (!w || f->weights_bytes < w->weights_bytes) && (!best || f->weights_bytes > best->weights_bytes)) best = f;
    }
    return best ? best : least;
}

typedef struct reasons {
    json_t *list;
    bool    broken;
} reasons;

static void because(reasons *r, const char *fmt, ...) HONE_PRINTF(2, 3);
static void because(reasons *r, const char *fmt, ...)
{
    char    text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!r->list || json_array_append_new(r->list, json_string(text)) != 0) r->broken = true;
}

static void because_of_target(reasons *r, const hone_decision *d, const hone_target *t, const json_t *data)
{
    because(r, "%s%s%s%s", d->because, d->facts[0] ? " (" : "", d->facts, d->facts[0] ? ")" : "");
    if (strcmp(d->strategy_framework, d->framework) == 0)
        because(r, "strategy %s agrees: %s", d->strategy, d->strategy_because);
    else
        because(r, "by size alone the strategy would be %s (%s): the more specific rule about the target goes first", d->strategy,
                title_of(data, d->strategy_framework));
    if (d->primary)
        because(r, "platform matrix, %s: %s first, %s second", d->platform_title, title_of(data, d->primary), title_of(data, d->secondary));
    else
        because(r, "platform matrix: no row for '%s'", t->platform);
    if (d->workflow_first && strcmp(d->workflow_first, d->framework) != 0)
        because(r, "the ranking of the workflow asked for begins with %s; the rule about the target goes first", title_of(data, d->workflow_first));
    because(r, "%s", d->quantization_because);
}

static void because_of_fit(reasons *r, const hone_decision *d, const hone_err *why, const hone_fit *f, const hone_fit *wish, const hone_target *t,
                           uint64_t ram, uint32_t context)
{
    char a[32], b[32];
    if (why->cause[0]) because(r, "%s: what it can do now is GGUF for llama.cpp", why->cause);
    else if (strcmp(d->format, "gguf") != 0)
        because(r, "hone convert --to %s writes it; the sizes below are those of GGUF in llama.cpp", d->format);
    if (strcmp(f->mix->name, d->gguf_quantization) == 0) {
        if (d->gguf_because != d->quantization_because) because(r, "%s", d->gguf_because); /* else it was said above */
    } else if (!wish) because(r, "%s is not possible for this model", d->gguf_quantization);
    else if (all_fit(f)) because(r, "%s does not fit: %s is the widest encoding below it that does", d->gguf_quantization, f->mix->name);
    else because(r, "no encoding fits: %s is the smallest", f->mix->name);
    if (f->fits >= 0)
        because(r, "%s needs %s of memory at %u tokens of context (weights, KV cache, compute buffers); %s has %s for it", f->mix->name,
                hone_text_bytes(f->ram_bytes, a, sizeof a), context, t->host ? "this machine" : t->name, hone_text_bytes(ram, b, sizeof b));
    else because(r, "the memory of the target is not known");
    if (f->fits_package >= 0)
        because(r, "its file of %s %s the package budget of %s", hone_text_bytes(f->file_bytes, a, sizeof a),
                f->fits_package ? "keeps within" : "is over", hone_text_bytes(t->package_bytes, b, sizeof b));
    if (f->fits_storage == 0)
        because(r, "its file of %s is over the %s of storage", hone_text_bytes(f->file_bytes, a, sizeof a), hone_text_bytes(t->storage_bytes, b, sizeof b));
    because(r, "hone optimize measures the candidates; what is measured overrules this");
}

static hone_code put_recommendation(const hone_model *m, const hone_fit *fits, size_t n, const hone_decision *d, const hone_target *t, const json_t *data,
                                    uint64_t ram, uint32_t context, json_t *doc, hone_err *err)
{
    hone_err        why = { 0 };
    bool            writable = can_write(d->format, m, &why) == HONE_OK, gguf = strcmp(d->format, "gguf") == 0;
    reasons         r = { .list = json_array() };
    const hone_fit *f = pick(fits, n, d->gguf_quantization), *wish = NULL;
    json_t         *o = json_object(), *compare = json_array(), *now = NULL;
    for (size_t i = 0; i < n; i++)
        if (fits[i].ok && strcmp(fits[i].mix->name, d->gguf_quantization) == 0) wish = &fits[i];
    because_of_target(&r, d, t, data);
    if (f) because_of_fit(&r, d, &why, f, wish, t, ram, context);
    else if (n) because(&r, "llama.cpp cannot run this model: %s", fits[0].why);
    bool ok = o && compare;
    for (size_t i = 0; ok && i < d->n_compare; i++) ok = json_array_append_new(compare, json_string(d->compare[i])) == 0;
    if (f) {
        now = json_pack("{s:s, s:s, s:s, s:b, s:I, s:I}", "framework", "llama.cpp", "format", "gguf", "quantization", f->mix->name, "fits", all_fit(f),
                        "file_bytes", (json_int_t)f->file_bytes, "ram_bytes", (json_int_t)f->ram_bytes);
        ok = ok && now;
    }
    /* Where the tree's framework is the one hone drives, its encoding is the one that fits. */
    const char *quantization = gguf && f ? f->mix->name : d->quantization;
    ok = ok && hone_json_put(o, "framework", json_string(d->framework)) &&
         hone_json_put(o, "framework_title", json_string(title_of(data, d->framework))) && hone_json_put(o, "format", json_string(d->format)) &&
         hone_json_put(o, "quantization", json_string(quantization)) &&
         hone_json_put(o, "group", d->group && !gguf ? json_integer(d->group) : json_null()) && hone_json_put(o, "writable", json_boolean(writable)) &&
         hone_json_put(o, "now", now ? json_incref(now) : json_null()) &&
         hone_json_put(o, "strategy", json_pack("{s:s, s:s}", "name", d->strategy, "framework", d->strategy_framework)) &&
         hone_json_put(o, "platform",
                       d->primary ? json_pack("{s:s, s:s, s:s}", "name", t->platform, "primary", d->primary, "secondary", d->secondary) : json_null()) &&
         json_object_set(o, "compare", compare) == 0 && !r.broken && json_object_set(o, "because", r.list) == 0;
    json_decref(now);
    json_decref(compare);
    json_decref(r.list);
    if (!ok) {
        json_decref(o);
        return HONE_NOMEM(err, "the recommendation");
    }
    return hone_json_put(doc, "recommendation", o) ? HONE_OK : HONE_NOMEM(err, "the recommendation");
}

/* --- the rest of the document ----------------------------------------------------------------------------------- */

static hone_code put_warnings(const hone_ctx *ctx, const hone_model *m, hone_arena *a, json_t *doc, hone_err *err)
{
    const hone_limit *limits = NULL;
    size_t            n = 0;
    if (ctx->data_dir) HONE_TRY(hone_limits_for(ctx->data_dir, "llama.cpp", &m->facts, &m->tokenizer, a, &limits, &n, err));
    json_t *list = json_array();
    bool    ok = list != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        char text[1024];
        if (limits[i].harmless) continue; /* convert and check tell it as a note */
        (void)snprintf(text, sizeof text, "in %s: %s: %s", limits[i].consumer, limits[i].feature, limits[i].consequence);
        ok = json_array_append_new(list, json_string(text)) == 0;
    }
    return ok && hone_json_put(doc, "warnings", list) ? HONE_OK : HONE_NOMEM(err, "the warnings");
}

static hone_code put_target(const json_t *probe, const hone_target *t, uint64_t ram, json_t *doc, hone_err *err)
{
    json_t *o = json_object();
    bool    ok = o && hone_json_put(o, "name", json_string(t->name)) && hone_json_put(o, "title", json_string(t->title)) &&
              hone_json_put(o, "kind", json_string(t->host ? "host" : "profile")) && hone_json_put(o, "vendor", json_string(t->vendor)) &&
              hone_json_put(o, "platform", json_string(t->platform)) && hone_json_put(o, "arch", json_string(t->arch)) &&
              hone_json_put(o, "threads", t->threads ? json_integer(t->threads) : json_null()) &&
              hone_json_put(o, "ram_bytes", ram ? json_integer((json_int_t)ram) : json_null()) &&
              hone_json_put(o, "storage_bytes", t->storage_bytes ? json_integer((json_int_t)t->storage_bytes) : json_null()) &&
              hone_json_put(o, "package_bytes", t->package_bytes ? json_integer((json_int_t)t->package_bytes) : json_null()) &&
              hone_json_put(o, "read_gb_s", t->read_gb_s > 0 ? hone_json_real(t->read_gb_s) : json_null()) &&
              hone_json_put(o, "read_gb_s_basis",
                            json_string(t->read_gb_s <= 0 ? "not measured" : t->read_measured ? "measured"
                                        : json_string_value(json_object_get(json_object_get(probe, "basis"), "memory.read_gb_s"))));
    if (!ok) {
        json_decref(o);
        return HONE_NOMEM(err, "the target");
    }
    return hone_json_put(doc, "target", o) ? HONE_OK : HONE_NOMEM(err, "the target");
}

static hone_code put_estimates(const hone_model *m, const hone_target *t, const hone_estimates *e, const hone_fit_inputs *in, json_t *doc, hone_err *err)
{
    reasons r = { .list = json_array() };
    char    a[32];
    because(&r, "weights_bytes and file_bytes are exact: the sum over the plan of every tensor");
    if (m->facts.kind == HONE_KIND_DECODER)
        because(&r, "kv_bytes is for %u tokens in 16-bit floats, every layer at full length, as llama.cpp allocates it by default", in->context_padded);
    if (in->kv_windowed_bytes && in->kv_windowed_bytes < in->kv_bytes)
        because(&r, "a runtime that keeps only the window in sliding-window layers would need %s of KV cache",
                hone_text_bytes(in->kv_windowed_bytes, a, sizeof a));
    because(&r, "compute_bytes is an estimate for batches of %u tokens, within about a fifth of what llama.cpp reported for small models", in->batch);
    if (m->facts.kind != HONE_KIND_DECODER) because(&r, "est_decode_tok_s does not exist for an encoder: it generates nothing");
    else if (t->read_gb_s > 0)
        because(&r,
                "est_decode_tok_s is an estimate: bytes of the weights used per token and of a half-full KV cache, over %.0f %% of the %s read "
                "bandwidth of %.1f GB/s, plus %.0f us a layer",
                100 * (t->read_measured ? e->share_measured : e->share_nominal), t->read_measured ? "measured" : "nominal", t->read_gb_s,
                e->layer_overhead_us);
    else because(&r, "est_decode_tok_s is not estimated: the target's memory bandwidth is not known");
    if (!r.broken && hone_json_put(doc, "estimates", r.list)) return HONE_OK;
    return HONE_NOMEM(err, "the estimates");
}

static hone_code choose_context(const hone_model *m, const hone_assess_options *opt, const hone_target *t, uint32_t *out, hone_err *err)
{
    uint32_t own = m->facts.context;
    if (opt->context && own && opt->context > own)
        return HONE_FAIL(err, HONE_EUSAGE, "ask for a shorter one", "a context of %u tokens was asked for, the model has %u", opt->context, own);
    uint32_t c = opt->context ? opt->context : t->context ? t->context : 4096;
    *out = own && c > own ? own : c;
    return HONE_OK;
}

static hone_code assess(const hone_ctx *ctx, const hone_model *m, const hone_assess_options *opt, const json_t *probe, const json_t *data,
                        hone_arena *a, json_t *doc, hone_err *err)
{
    hone_target     t;
    hone_decision   d;
    hone_estimates  e;
    uint32_t        context = 0;
    hone_fit       *fits = NULL;
    size_t          n = 0;
    hone_fit_inputs in = { 0 };
    HONE_TRY(hone_target_read(probe, &t, err));
    HONE_TRY(choose_context(m, opt, &t, &context, err));
    hone_decision_estimates(data, &e);
    uint64_t ram = opt->max_ram ? opt->max_ram : t.ram_bytes;
    in = (hone_fit_inputs){ .context = context, .ram_bytes = ram, .storage_bytes = t.storage_bytes, .package_bytes = t.package_bytes,
                            .gb_s = t.read_gb_s * (t.read_measured ? e.share_measured : e.share_nominal), .layer_overhead_us = e.layer_overhead_us };
    HONE_TRY(hone_fit_all(m, a, &in, &fits, &n, err));
    hone_case c = { .vendor = t.vendor, .platform = t.platform, .kind = kind_name(m), .workflow = opt->workflow, .parameters = in.counts.parameters };
    HONE_TRY(hone_decide(data, &c, a, &d, err));
    if (!hone_json_put(doc, "source", json_string(m->path ? m->path : ""))) return HONE_NOMEM(err, "the assessment");
    HONE_TRY(put_target(probe, &t, ram, doc, err));
    HONE_TRY(put_model(m, &in.counts, doc, err));
    if (!hone_json_put(doc, "context", json_integer(context))) return HONE_NOMEM(err, "the assessment");
    HONE_TRY(put_compatibility(m, fits, n, doc, err));
    HONE_TRY(put_fit(fits, n, doc, err));
    HONE_TRY(put_recommendation(m, fits, n, &d, &t, data, ram, context, doc, err));
    HONE_TRY(put_warnings(ctx, m, a, doc, err));
    HONE_TRY(put_estimates(m, &t, &e, &in, doc, err));
    if (!opt->explain) return HONE_OK;
    json_t *explained = NULL;
    HONE_TRY(hone_decision_explain(data, &c, &d, &explained, err));
    return hone_json_put(doc, "decision", explained) ? HONE_OK : HONE_NOMEM(err, "the explanation");
}

hone_code hone_assess(const hone_ctx *ctx, const hone_model *m, const hone_assess_options *opt, json_t **out, hone_err *err)
{
    json_t    *probe = NULL, *data = NULL, *doc = NULL;
    hone_arena a = { 0 };
    hone_code  code = hone_decision_load(ctx, &data, err);
    if (code == HONE_OK) code = hone_probe_facts(ctx, opt->target, NULL, opt->quick ? 0 : HONE_HW_MEMORY_SPEED, &probe, err);
    if (code == HONE_OK && !(doc = json_object())) code = HONE_NOMEM(err, "the assessment");
    if (code == HONE_OK) code = assess(ctx, m, opt, probe, data, &a, doc, err);
    if (code == HONE_OK) *out = doc;
    else json_decref(doc);
    json_decref(probe);
    json_decref(data);
    hone_arena_release(&a);
    return code;
}
