#include "measure/measure.h"
#include "base/file.h"
#include "base/text.h"
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

#define MAX_REFERENCES 2

typedef struct plan { /* what there is to compare with; paths in the arena */
    hone_artefact    artefact;
    const char      *cases;
    const char      *references[MAX_REFERENCES]; size_t n_references;
    bool             self;  /* the reference is an artefact */
    hone_artefact    other; /* then: which */
    hone_check_limit limit;
    hone_reference   refs[MAX_REFERENCES];
} plan;

static hone_code beside(hone_arena *a, const char *dir, const char *name, const char **out, hone_err *err)
{
    const char *path = dir ? hone_arena_printf(a, "%s/%s", dir, name) : NULL;
    if (dir && !path) return HONE_NOMEM(err, "a path");
    *out = path && hone_file_exists(path) ? path : NULL;
    return HONE_OK;
}

static hone_code find_what_there_is(const hone_check_options *opt, hone_arena *a, plan *p, hone_err *err)
{
    /* The long one lies behind the switch of rope factors. */
    static const char *const names[MAX_REFERENCES] = { "reference.safetensors", "reference_long.safetensors" };
    p->cases = opt->cases;
    if (opt->source && !hone_dir_exists(opt->source))
        return HONE_FAIL(err, HONE_EINPUT, "name the checkpoint's folder", "'%s' is no folder", opt->source);
    if (!p->cases) HONE_TRY(beside(a, opt->source, "tokenizer_cases.json", &p->cases, err));
    if (opt->reference) {
        size_t len = strlen(opt->reference);
        p->references[p->n_references++] = opt->reference;
        p->self = !(len > 12 && strcmp(opt->reference + len - 12, ".safetensors") == 0);
        return p->self ? hone_artefact_open(opt->reference, a, &p->other, err) : HONE_OK;
    }
    for (size_t i = 0; i < MAX_REFERENCES; i++) {
        const char *found = NULL;
        HONE_TRY(beside(a, opt->source, names[i], &found, err));
        if (found) p->references[p->n_references++] = found;
    }
    return HONE_OK;
}

static void note_runtime(hone_check_result *res, const hone_child *c)
{
    memcpy(res->runtime, c->info.runtime, sizeof res->runtime);
    memcpy(res->version, c->info.version, sizeof res->version);
    memcpy(res->device, c->info.device, sizeof res->device);
    memcpy(res->fallback, c->fallback, sizeof res->fallback);
}

/* Long enough to look behind what limits the model's attention, as far as that is a matter of seconds. */
static size_t self_cols(const hone_check_limit *limit)
{
    enum { COLS = 64, MOST = 1024 };
    size_t n = COLS;
    if (limit->facts.window && limit->facts.window * 2u > n) n = limit->facts.window * 2u;
    if (limit->facts.rope.original_context && limit->facts.rope.original_context + COLS > n) n = limit->facts.rope.original_context + COLS;
    if (limit->facts.context && n > limit->facts.context) n = limit->facts.context;
    return n < MOST ? n : MOST;
}

static hone_code compare_logits(const hone_ctx *ctx, hone_child *c, hone_backend_open *how, plan *p, hone_arena *a, hone_check_result *res, hone_err *err)
{
    if (!p->n_references) {
        (void)snprintf(res->logits_reference, sizeof res->logits_reference, "none");
        res->max_abs = res->kld_mean = res->kld_max = res->top1 = res->greedy_steps = hone_metric_none("no reference logits");
        return hone_check_finite(c, res, err);
    }
    (void)snprintf(res->logits_reference, sizeof res->logits_reference, "%s",
                   !p->self ? "file" : strcmp(p->other.backend, p->artefact.backend) == 0 ? "self_converted" : "other_runtime");
    (void)snprintf(res->reference_path, sizeof res->reference_path, "%s", p->references[0]);
    if (p->self && how->embeddings)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "give a reference.safetensors with embeddings that another implementation made",
                         "an encoder cannot be compared with the artefact '%s'", p->references[0]);
    if (p->self) {
        hone_backend_open other = *how;
        other.path = p->references[0];
        HONE_TRY(hone_check_self_reference(ctx, &other, self_cols(&p->limit), a, &p->refs[0], err));
    }
    if (!p->self && !p->refs[0].logits) return hone_check_embeddings(c, how, &p->refs[0], res, err);
    res->cosine = hone_metric_none("a decoder: its logits are compared");
    return hone_check_logits(ctx, c, p->refs, p->n_references, &p->limit, res, err);
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
    else if (res->beyond.differs)
        FAIL_BECAUSE("%s gives other answers behind a known limit (%s): mean KLD %.3g at %llu positions, best token wrong at %llu of %llu where the lead is over %g; "
                     "--context N leaves out texts of over N tokens", res->runtime, res->beyond.why, res->beyond.kld_mean.value, (unsigned long long)res->beyond.positions,
                     (unsigned long long)res->beyond.wrong, (unsigned long long)res->beyond.decided, res->min_gap);
    else if (!p->cases)
        UNPROVEN("no tokenizer cases: put tokenizer_cases.json into the checkpoint's folder or name it with --cases");
    else if (proof && !p->n_references)
        UNPROVEN("no reference logits: put reference.safetensors into the checkpoint's folder or name it with --reference");
    else if (proof && p->self)
        UNPROVEN("the reference is an artefact of ours%s: it shows a distance, no conversion; name logits of another implementation with --reference",
                 strcmp(res->logits_reference, "other_runtime") == 0 ? " in another runtime" : "");
    else if (proof && !compared)
        UNPROVEN("no position of the reference is comparable: %s", res->skipped_why[0] ? res->skipped_why : res->cosine.why);
    res->ok = res->verdict == HONE_VERDICT_PASS;
}

static hone_code compare_words(const hone_ctx *ctx, hone_child *c, plan *p, hone_arena *a, hone_check_result *res, hone_err *err)
{
    hone_cases cases;
    (void)snprintf(res->tokenizer_source, sizeof res->tokenizer_source, "none");
    if (!p->cases) return HONE_OK;
    HONE_TRY(hone_child_words(ctx, p->artefact.path, c, err));
    (void)snprintf(res->words_by, sizeof res->words_by, "%s", c->words_by);
    (void)snprintf(res->words_from, sizeof res->words_from, "%s", c->words_from);
    HONE_TRY(hone_check_word_limits(ctx, c->words_by, a, &p->limit, res, err));
    HONE_TRY(hone_cases_load(p->cases, a, &cases, err));
    HONE_TRY(hone_check_tokens(ctx, c->words, &cases, &p->limit, res, err));
    hone_child_words_close(c);
    return HONE_OK;
}

static hone_code check(const hone_ctx *ctx, const hone_check_options *opt, hone_arena *a, hone_child *c, plan *p, hone_check_result *res, hone_err *err)
{
    double   max_kld, min_gap;
    uint32_t context = 256;
    HONE_TRY(hone_artefact_open(opt->artefact, a, &p->artefact, err));
    (void)snprintf(res->format, sizeof res->format, "%s", p->artefact.format);
    HONE_TRY(hone_artefact_precision(&p->artefact, res->precision, sizeof res->precision, err));
    hone_check_bounds(res->precision, &max_kld, &min_gap);
    res->max_kld = opt->max_kld > 0 ? opt->max_kld : max_kld;
    res->min_gap = opt->min_gap > 0 ? opt->min_gap : min_gap;
    p->limit.context = opt->context;
    HONE_TRY(hone_check_limits(ctx, opt->source, &p->artefact, a, &p->limit, res, err));
    HONE_TRY(find_what_there_is(opt, a, p, err));
    bool embeddings = p->limit.encoder;
    for (size_t i = 0; i < p->n_references && !p->self; i++) {
        HONE_TRY(hone_reference_open(p->references[i], a, &p->refs[i], err));
        uint32_t need = (uint32_t)(p->refs[i].cols + p->refs[i].greedy_n); /* room for the longest row and its continuation */
        if (need > context) context = need;
        embeddings = embeddings || (p->refs[i].embeddings && !p->refs[i].logits);
    }
    if (p->self && self_cols(&p->limit) > context) context = (uint32_t)self_cols(&p->limit);

    hone_backend_open how = {
        .path = opt->artefact, .device = opt->device ? opt->device : "cpu", .threads = opt->threads ? opt->threads : 1, .context = context,
        .exact = true, .embeddings = embeddings
    };
    hone_event_step(ctx, "opening %s", opt->artefact);
    HONE_TRY(hone_child_open(ctx, NULL, &how, c, err));
    note_runtime(res, c);
    HONE_TRY(compare_words(ctx, c, p, a, res, err));
    HONE_TRY(compare_logits(ctx, c, &how, p, a, res, err));
    judge(res, p);
    return HONE_OK;
}

hone_code hone_check(const hone_ctx *ctx, const hone_check_options *opt, hone_check_result *out, hone_err *err)
{
    hone_arena        a = { 0 };
    hone_child        c = { 0 };
    plan              p = { 0 };
    hone_check_result res = { 0 };
    (void)snprintf(res.path, sizeof res.path, "%s", opt->artefact);
    res.beyond.kld_mean = res.beyond.max_abs = res.beyond.top1 = hone_metric_none("no reference reaches behind a known limit");
    hone_code code = check(ctx, opt, &a, &c, &p, &res, err);
    hone_child_close(&c);
    for (size_t i = 0; i < MAX_REFERENCES; i++) hone_reference_close(&p.refs[i]);
    hone_arena_release(&a);
    if (code == HONE_OK) *out = res;
    return code;
}

static json_t *count(uint64_t n) { return json_integer((json_int_t)n); }

json_t *hone_check_json(const hone_check_result *r)
{
    static const char *const verdicts[] = { "not_measured", "pass", "fail" };
    json_t *o = json_object(), *tok = json_object(), *tpl = json_object(), *lg = json_object(), *dec = json_object(), *be = json_object();
    bool    good = o && tok && tpl && lg && dec && be;
    good = good && hone_json_put(be, "positions", count(r->beyond.positions)) && hone_metric_put(be, "kld_mean", &r->beyond.kld_mean) &&
           hone_metric_put(be, "max_abs", &r->beyond.max_abs) && hone_metric_put(be, "top1", &r->beyond.top1) &&
           hone_json_put(be, "decided", count(r->beyond.decided)) && hone_json_put(be, "wrong", count(r->beyond.wrong)) &&
           hone_metric_put_text(be, "why", r->beyond.why) && hone_json_put(be, "differs", json_boolean(r->beyond.differs)) && hone_json_put(be, "up_to", r->up_to ? count(r->up_to) : json_null()) &&
           hone_json_put(be, "deployed_up_to", r->deployed_up_to ? count(r->deployed_up_to) : json_null());
    good = good && hone_metric_put_text(dec, "first", r->decode_first) && hone_json_put(dec, "cases", count(r->decode_cases)) &&
           hone_json_put(dec, "mismatches", count(r->decode_mismatches));
    good = good && hone_metric_put_text(tok, "source", r->tokenizer_source) &&
           hone_metric_put_text(tok, "by", r->words_by) && hone_metric_put_text(tok, "from", r->words_from) && hone_json_put(tok, "cases", count(r->tok_cases)) &&
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
           hone_metric_put_text(o, "format", r->format) && hone_metric_put_text(o, "device", r->device) &&
           hone_metric_put_text(o, "fallback", r->fallback) && hone_metric_put_text(o, "precision", r->precision) && hone_json_put(o, "tokenizer", json_incref(tok)) &&
           hone_json_put(o, "template", json_incref(tpl)) && hone_json_put(o, "logits", json_incref(lg)) &&
           hone_json_put(o, "beyond", json_incref(be)) &&
           hone_json_put(o, "verdict", json_string(verdicts[r->verdict])) && hone_metric_put_text(o, "why", r->why);
    json_t *limits = json_array();
    for (size_t i = 0; good && i < r->n_limits; i++) {
        json_t *l = json_object();
        good = l && hone_metric_put_text(l, "consumer", r->limits[i].consumer) && hone_metric_put_text(l, "condition", r->limits[i].condition) && hone_metric_put_text(l, "consequence", r->limits[i].consequence) &&
               hone_metric_put_text(l, "cause", r->limits[i].cause);
        if (json_array_append_new(limits, l) != 0) good = false;
    }
    good = good && hone_json_put(o, "limits", json_incref(limits));
    json_decref(limits);
    json_decref(tok);
    json_decref(tpl);
    json_decref(lg);
    json_decref(dec);
    json_decref(be);
    if (good) return o;
    json_decref(o);
    return NULL;
}
