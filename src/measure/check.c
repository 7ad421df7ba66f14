#include "measure/measure.h"
#include "base/file.h"
#include "base/text.h"
#include "formats/gguf.h"
#include "measure/check/parts.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

void hone_check_bounds(const char *precision, double *max_kld, double *min_gap)
{
    static const struct { const char *precision; double max_kld, min_gap; } bounds[] = {
        { "f32", 1e-5, 0.01 },
        { "f16", 1e-3, 0.03 },
        { "bf16", 1e-3, 0.1 },
    };
    *max_kld = 0;
    *min_gap = 0.1;
    for (size_t i = 0; i < HONE_COUNT(bounds); i++)
        if (strcmp(precision, bounds[i].precision) == 0) {
            *max_kld = bounds[i].max_kld;
            *min_gap = bounds[i].min_gap;
        }
}

/* The roughest type among the matrices of an artefact. */
static hone_code precision_of(const char *path, char *out, size_t cap, hone_err *err)
{
    hone_arena a = { 0 };
    hone_gguf  g;
    int        worst = 0;
    static const char *const names[] = { "f32", "f16", "bf16", "quantised" };
    hone_code  code = hone_gguf_open(path, &a, &g, err);
    if (code == HONE_OK) {
        for (size_t i = 0; i < g.source->n_tensors; i++) {
            const hone_tensor *t = &g.source->tensors[i];
            if (t->n_dims < 2) continue;
            int loss = t->dtype == HONE_DTYPE_F32 || t->dtype == HONE_DTYPE_F64 ? 0
                       : t->dtype == HONE_DTYPE_F16                             ? 1
                       : t->dtype == HONE_DTYPE_BF16                            ? 2
                                                                                : 3;
            if (loss > worst) worst = loss;
        }
        (void)snprintf(out, cap, "%s", names[worst]);
        g.source->close(g.source);
    }
    hone_arena_release(&a);
    return code;
}

typedef struct plan { /* what there is to compare with; paths in the arena */
    const char      *cases, *reference; /* NULL: none */
    bool             self;
    hone_check_limit limit;
} plan;

static const char RUNTIME[] = "llama.cpp"; /* whose limits are looked up: the one consumer of GGUF here */

static hone_code beside(hone_arena *a, const char *dir, const char *name, const char **out, hone_err *err)
{
    const char *path = dir ? hone_arena_printf(a, "%s/%s", dir, name) : NULL;
    if (dir && !path) return HONE_NOMEM(err, "a path");
    *out = path && hone_file_exists(path) ? path : NULL;
    return HONE_OK;
}

static hone_code find_what_there_is(const hone_check_options *opt, hone_arena *a, plan *p, hone_err *err)
{
    p->cases = opt->cases;
    p->reference = opt->reference;
    if (opt->source && !hone_dir_exists(opt->source))
        return HONE_FAIL(err, HONE_EINPUT, "name the checkpoint's folder", "'%s' is no folder", opt->source);
    if (!p->cases) HONE_TRY(beside(a, opt->source, "tokenizer_cases.json", &p->cases, err));
    /* Two sets of rope factors: the runtime's contexts are long, so a reference over a long text is the comparable one. */
    if (!p->reference && p->limit.long_from) HONE_TRY(beside(a, opt->source, "reference_long.safetensors", &p->reference, err));
    if (!p->reference) HONE_TRY(beside(a, opt->source, "reference.safetensors", &p->reference, err));
    if (p->reference) {
        size_t len = strlen(p->reference);
        p->self = len > 5 && strcmp(p->reference + len - 5, ".gguf") == 0;
    }
    return HONE_OK;
}

static void note_runtime(hone_check_result *res, const hone_backend_info *info)
{
    memcpy(res->runtime, info->runtime, sizeof res->runtime);
    memcpy(res->version, info->version, sizeof res->version);
}

static hone_code compare_logits(const hone_ctx *ctx, hone_child *c, hone_backend_open *how, const plan *p, hone_arena *a, hone_reference *ref,
                                hone_check_result *res, hone_err *err)
{
    if (!p->reference) {
        (void)snprintf(res->logits_reference, sizeof res->logits_reference, "none");
        res->max_abs = res->kld_mean = res->kld_max = res->top1 = res->greedy_steps = hone_metric_none("no reference logits");
        return hone_check_finite(c, res, err);
    }
    (void)snprintf(res->logits_reference, sizeof res->logits_reference, "%s", p->self ? "self_converted" : "file");
    (void)snprintf(res->reference_path, sizeof res->reference_path, "%s", p->reference);
    if (p->self && how->embeddings)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "give a reference.safetensors with embeddings that another implementation made",
                         "an encoder cannot be compared with the artefact '%s'", p->reference);
    if (p->self) {
        hone_backend_open other = *how;
        other.path = p->reference;
        HONE_TRY(hone_check_self_reference(ctx, &other, a, ref, err));
    }
    if (!p->self && !ref->logits) {
        HONE_TRY(hone_check_embeddings(c, how, ref, res, err));
        return HONE_OK;
    }
    res->cosine = hone_metric_none("a decoder: its logits are compared");
    return hone_check_logits(ctx, c, ref, &p->limit, res, err);
}

#define FAIL_BECAUSE(...) (res->verdict = HONE_VERDICT_FAIL, (void)snprintf(res->why, sizeof res->why, __VA_ARGS__))
#define UNPROVEN(...) (res->verdict = HONE_VERDICT_NOT_MEASURED, (void)snprintf(res->why, sizeof res->why, __VA_ARGS__))

static void judge(hone_check_result *res, const plan *p)
{
    bool   proof = res->max_kld > 0; /* of the conversion, by logits */
    double off = hone_metric_known(&res->cosine) ? 1 - res->cosine.value : res->kld_mean.value;
    bool   compared = hone_metric_known(&res->cosine) || hone_metric_known(&res->kld_mean);
    res->verdict = HONE_VERDICT_PASS;
    if (res->tok_mismatches)
        FAIL_BECAUSE("%llu of %llu strings get other token ids; %s", (unsigned long long)res->tok_mismatches, (unsigned long long)res->tok_cases,
                     res->tok_first);
    else if (res->tpl_mismatches)
        FAIL_BECAUSE("%llu of %llu chats render differently; %s", (unsigned long long)res->tpl_mismatches, (unsigned long long)res->tpl_cases,
                     res->tpl_first);
    else if (res->not_finite)
        FAIL_BECAUSE("%llu of %llu rows hold NaN or infinity", (unsigned long long)res->not_finite, (unsigned long long)res->positions);
    else if (proof && compared && !(off <= res->max_kld))
        FAIL_BECAUSE("%s is %.3g, the bound for %s is %.3g", hone_metric_known(&res->cosine) ? "1 - cosine" : "mean KLD", off, res->precision,
                     res->max_kld);
    else if (proof && res->top1_wrong)
        FAIL_BECAUSE("the best token differs at %llu of %llu positions where the reference's lead is over %g", (unsigned long long)res->top1_wrong,
                     (unsigned long long)res->top1_decided, res->min_gap);
    else if (proof && res->greedy_wrong)
        FAIL_BECAUSE("the greedy continuation differs at %llu of %llu steps where the reference's lead is over %g",
                     (unsigned long long)res->greedy_wrong, (unsigned long long)res->greedy_decided, res->min_gap);
    else if (!p->cases)
        UNPROVEN("no tokenizer cases: put tokenizer_cases.json into the checkpoint's folder or name it with --cases");
    else if (proof && !p->reference)
        UNPROVEN("no reference logits: put reference.safetensors into the checkpoint's folder or name it with --reference");
    else if (proof && p->self)
        UNPROVEN("the reference is an artefact of ours: it shows a distance, no conversion; name logits of another implementation with --reference");
    else if (proof && !compared)
        UNPROVEN("no position of the reference is comparable: %s", res->skipped_why[0] ? res->skipped_why : res->cosine.why);
    res->ok = res->verdict == HONE_VERDICT_PASS;
}

static hone_code check(const hone_ctx *ctx, const hone_check_options *opt, hone_arena *a, hone_child *c, hone_reference *ref,
                       hone_check_result *res, hone_err *err)
{
    plan   p = { 0 };
    double max_kld, min_gap;
    HONE_TRY(precision_of(opt->artefact, res->precision, sizeof res->precision, err));
    hone_check_bounds(res->precision, &max_kld, &min_gap);
    res->max_kld = opt->max_kld > 0 ? opt->max_kld : max_kld;
    res->min_gap = opt->min_gap > 0 ? opt->min_gap : min_gap;
    HONE_TRY(hone_check_limits(ctx, opt->source, RUNTIME, a, &p.limit, res, err));
    HONE_TRY(find_what_there_is(opt, a, &p, err));
    if (p.reference && !p.self) HONE_TRY(hone_reference_open(p.reference, a, ref, err));

    /* Room for the longest row and its continuation. */
    uint32_t          context = (uint32_t)(ref->cols + ref->greedy_n);
    hone_backend_open how = {
        .path = opt->artefact, .device = "cpu", .threads = opt->threads ? opt->threads : 1, .context = context < 256 ? 256 : context, .exact = true,
        .embeddings = p.limit.encoder || (ref->embeddings && !ref->logits)
    };
    hone_event_step(ctx, "opening %s", opt->artefact);
    HONE_TRY(hone_child_open(ctx, NULL, &how, c, err));
    note_runtime(res, &c->info);
    if (p.cases) {
        hone_cases cases;
        HONE_TRY(hone_cases_load(p.cases, a, &cases, err));
        HONE_TRY(hone_check_tokens(ctx, c->runner, &cases, &p.limit, res, err));
    } else
        (void)snprintf(res->tokenizer_source, sizeof res->tokenizer_source, "none");
    HONE_TRY(compare_logits(ctx, c, &how, &p, a, ref, res, err));
    judge(res, &p);
    return HONE_OK;
}

hone_code hone_check(const hone_ctx *ctx, const hone_check_options *opt, hone_check_result *out, hone_err *err)
{
    hone_arena        a = { 0 };
    hone_child        c = { 0 };
    hone_reference    ref = { 0 };
    hone_check_result res = { 0 };
    (void)snprintf(res.path, sizeof res.path, "%s", opt->artefact);
    hone_code code = check(ctx, opt, &a, &c, &ref, &res, err);
    hone_child_close(&c);
    hone_reference_close(&ref);
    hone_arena_release(&a);
    if (code == HONE_OK) *out = res;
    return code;
}

static json_t *count(uint64_t n) { return json_integer((json_int_t)n); }

json_t *hone_check_json(const hone_check_result *r)
{
    static const char *const verdicts[] = { "not_measured", "pass", "fail" };
    json_t *o = json_object(), *tok = json_object(), *tpl = json_object(), *lg = json_object(), *dec = json_object();
    bool    good = o && tok && tpl && lg && dec;
    good = good && hone_metric_put_text(dec, "first", r->decode_first) && hone_json_put(dec, "cases", count(r->decode_cases)) &&
           hone_json_put(dec, "mismatches", count(r->decode_mismatches));
    good = good && hone_metric_put_text(tok, "source", r->tokenizer_source) && hone_json_put(tok, "cases", count(r->tok_cases)) &&
           hone_json_put(tok, "mismatches", count(r->tok_mismatches)) && hone_metric_put_text(tok, "first", r->tok_first) &&
           hone_json_put(tok, "excused", count(r->tok_excused)) &&
           hone_json_put(tok, "decoding", json_incref(dec));
    good = good && hone_json_put(tpl, "cases", count(r->tpl_cases)) && hone_json_put(tpl, "mismatches", count(r->tpl_mismatches)) &&
           hone_metric_put_text(tpl, "first", r->tpl_first);
    good = good && hone_metric_put_text(lg, "reference", r->logits_reference) && hone_metric_put_text(lg, "reference_path", r->reference_path) &&
           hone_metric_put(lg, "max_abs", &r->max_abs) && hone_metric_put(lg, "kld_mean", &r->kld_mean) &&
           hone_metric_put(lg, "kld_max", &r->kld_max) && hone_metric_put(lg, "top1", &r->top1) && hone_metric_put(lg, "cosine", &r->cosine) &&
           hone_metric_put(lg, "greedy", &r->greedy_steps) && hone_json_put(lg, "top1_decided", count(r->top1_decided)) &&
           hone_json_put(lg, "top1_wrong", count(r->top1_wrong)) && hone_json_put(lg, "greedy_decided", count(r->greedy_decided)) &&
           hone_json_put(lg, "greedy_wrong", count(r->greedy_wrong)) && hone_json_put(lg, "positions", count(r->positions)) &&
           hone_json_put(lg, "positions_skipped", count(r->positions_skipped)) && hone_metric_put_text(lg, "skipped_why", r->skipped_why) &&
           hone_json_put(lg, "not_finite", count(r->not_finite)) &&
           hone_json_put(lg, "max_kld", r->max_kld > 0 ? json_real(r->max_kld) : json_null()) &&
           hone_json_put(lg, "min_gap", hone_json_real(r->min_gap));
    good = good && hone_metric_put_text(o, "path", r->path) && hone_metric_put_text(o, "runtime", r->runtime) && hone_metric_put_text(o, "version", r->version) &&
           hone_metric_put_text(o, "precision", r->precision) && hone_json_put(o, "tokenizer", json_incref(tok)) &&
           hone_json_put(o, "template", json_incref(tpl)) && hone_json_put(o, "logits", json_incref(lg)) &&
           hone_json_put(o, "verdict", json_string(verdicts[r->verdict])) && hone_metric_put_text(o, "why", r->why);
    json_t *limits = json_array();
    for (size_t i = 0; good && i < r->n_limits; i++) {
        json_t *l = json_object();
        good = l && hone_metric_put_text(l, "condition", r->limits[i].condition) && hone_metric_put_text(l, "consequence", r->limits[i].consequence) &&
               hone_metric_put_text(l, "cause", r->limits[i].cause);
        if (json_array_append_new(limits, l) != 0) good = false;
    }
    good = good && hone_json_put(o, "limits", json_incref(limits));
    json_decref(limits);
    json_decref(tok);
    json_decref(tpl);
    json_decref(lg);
    json_decref(dec);
    if (good) return o;
    json_decref(o);
    return NULL;
}
