/* make.c - from sensitivities to a plan: a knapsack for each format, checked against the sizes that the format's own planner comes to. */
#include "flow/plan/make.h"
#include "flow/assess/fit.h"
#include "flow/plan/whole.h"
#include "passes/allot.h"
#include "passes/mix.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS     8
#define HEARINGS   6 /* measurements of a whole plan, until its KLD is the one that was asked for */
#define CLOSE      0.85 /* of it: near enough */
#define MAX_TRIALS 160
#define BIG_BYTES  8000000000ull /* weights that are not written again and again for measurements, unless asked */

typedef struct solver { /* of one format */
    const hone_ctx          *ctx;
    hone_ctx                 quiet;
    const hone_model        *m;
    const hone_plan_request *r;
    hone_arena              *a;
    hone_plan_made          *out;
    size_t                   f;
    const char              *quant; /* "gguf=q4_k_m" */
    hone_allot_item         *items; /* [n_items] */
    uint32_t                *item_of; /* [sense.n] UINT32_MAX: none */
    size_t                   n_items;
    uint64_t                 kv_bytes; /* max_ram: cache and buffers */
    double                   aim;    /* target_kld: the prediction that is asked for, set right by measurements of the whole */
    uint8_t                 *chosen; /* [sense.n] */
} solver;

/* ---- items ---- */

static bool of_experts(hone_role r) { return r == HONE_R_FFN_GATE_EXPS || r == HONE_R_FFN_UP_EXPS || r == HONE_R_FFN_DOWN_EXPS; }

/* ONNX Runtime computes the experts of a layer in one operator when they are encoded alike: they are one item there. */
static bool together(const solver *s, const hone_sense_weight *x, const hone_sense_weight *y)
{
    if (hone_convert_format(s->f) != &hone_format_onnx || x->w->layer != y->w->layer || !of_experts(x->w->role) || !of_experts(y->w->role)) return false;
    if (x->n[s->f] != y->n[s->f]) return false;
    for (size_t k = 0; k < x->n[s->f]; k++)
        if (!hone_choice_same(&x->of[s->f][k].choice, &y->of[s->f][k].choice)) return false;
    return true;
}

static hone_code add_item(solver *s, size_t i, hone_err *err)
{
    const hone_sense_weight *w = &s->out->sense.weights[i];
    size_t                   k = 0;
    s->item_of[i] = UINT32_MAX;
    if (w->n[s->f] == 0) return HONE_OK;
    while (k < i && (s->item_of[k] == UINT32_MAX || !together(s, &s->out->sense.weights[k], w))) k++;
    s->item_of[i] = k < i ? s->item_of[k] : (uint32_t)s->n_items++;
    hone_allot_item   *it = &s->items[s->item_of[i]];
    hone_allot_option *o = (hone_allot_option *)(uintptr_t)it->options;
    if (!o) {
        o = HONE_ARENA_NEW(s->a, hone_allot_option, w->n[s->f]);
        if (!o) return HONE_NOMEM(err, "the plan");
        *it = (hone_allot_item){ o, w->n[s->f] };
    }
    for (size_t j = 0; j < w->n[s->f]; j++) {
        o[j].bytes += w->of[s->f][j].bytes;
        o[j].cost += w->of[s->f][j].error * w->kld_per_error;
    }
    return HONE_OK;
}

static hone_code solver_new(solver *s, hone_err *err)
{
    size_t n = s->out->sense.n;
    s->items = HONE_ARENA_NEW(s->a, hone_allot_item, n + 1);
    s->item_of = HONE_ARENA_NEW(s->a, uint32_t, n + 1);
    s->chosen = HONE_ARENA_NEW(s->a, uint8_t, n + 1);
    if (!s->items || !s->item_of || !s->chosen) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < n; i++) HONE_TRY(add_item(s, i, err));
    s->out->chosen[s->f] = s->chosen;
    return HONE_OK;
}

static double predicted(const solver *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->out->sense.n; i++) {
        const hone_sense_weight *w = &s->out->sense.weights[i];
        if (w->n[s->f]) sum += w->of[s->f][s->chosen[i]].error * w->kld_per_error;
    }
    return sum;
}

static uint64_t option_bytes(const solver *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->out->sense.n; i++) {
        const hone_sense_weight *w = &s->out->sense.weights[i];
        if (w->n[s->f]) sum += w->of[s->f][s->chosen[i]].bytes;
    }
    return sum;
}

static void take(solver *s, const uint32_t *picks)
{
    for (size_t i = 0; i < s->out->sense.n; i++)
        if (s->item_of[i] != UINT32_MAX) s->chosen[i] = (uint8_t)picks[s->item_of[i]];
}

/* ---- lines ---- */

static hone_code put_words(const solver *s, hone_plan_line *lines, hone_err *err)
{
    for (size_t i = 0; i < s->out->sense.n; i++) {
        const hone_sense_weight *w = &s->out->sense.weights[i];
        if (w->n[s->f] == 0) continue;
        lines[i].word[s->f] = hone_choice_word(hone_convert_format(s->f), &w->of[s->f][s->chosen[i]].choice, s->a);
        if (!lines[i].word[s->f]) return HONE_NOMEM(err, "the plan");
    }
    return HONE_OK;
}

static hone_plan_line *new_lines(const hone_sense *sense, hone_arena *a)
{
    hone_plan_line *lines = HONE_ARENA_NEW(a, hone_plan_line, sense->n + 1);
    for (size_t i = 0; lines && i < sense->n; i++)
        lines[i] = (hone_plan_line){ .role = sense->weights[i].w->role, .first = sense->weights[i].w->layer, .last = sense->weights[i].w->layer };
    return lines;
}

/* ---- sizes as they will be ---- */

typedef struct size { uint64_t bytes, weights; double bpw; } size;

static hone_code plan_size(const solver *s, size *out, hone_err *err)
{
    hone_plan_line      *lines = new_lines(&s->out->sense, s->a);
    hone_plan            p = { .lines = lines, .n_lines = s->out->sense.n };
    hone_convert_options o = *s->r->as;
    hone_convert_result  res = { 0 };
    if (!lines) return HONE_NOMEM(err, "the plan");
    HONE_TRY(put_words(s, lines, err));
    o.quants = &s->quant;
    o.n_quants = 1;
    o.lines = &p;
    o.plan = NULL;
    o.dry_run = true;
    hone_code code = hone_convert(&s->quiet, s->m, &o, &res, err);
    if (code == HONE_OK) *out = (size){ res.outputs[0].bytes, res.outputs[0].weights_bytes, res.outputs[0].bpw };
    hone_convert_result_release(&res);
    return code;
}

/* What the limit is about, and the limit. */
static uint64_t counted(const solver *s, const size *z)
{
    if (s->r->target_bytes) return z->bytes;
    return z->weights + (s->r->max_ram ? s->kv_bytes : 0);
}

static uint64_t limit_of(const solver *s, const size *z)
{
    if (s->r->target_bytes) return s->r->target_bytes;
    if (s->r->max_ram) return s->r->max_ram;
    return (uint64_t)(s->r->target_bpw * (double)z->weights / z->bpw);
}

/* ---- under a limit of bytes ---- */

static hone_code too_narrow(const solver *s, const size *z, hone_err *err)
{
    const char *name = hone_convert_format(s->f)->name;
    if (s->r->target_bpw > 0)
        return HONE_FAIL(err, HONE_ENO, "allow more", "the narrowest %s plan has %.3f bits per weight, %.3f are allowed", name, z->bpw, s->r->target_bpw);
    return HONE_FAIL(err, HONE_ENO, "allow more", "the narrowest %s plan takes %" PRIu64 " bytes%s, %" PRIu64 " are allowed", name, counted(s, z),
                     s->r->max_ram ? " with its cache and buffers" : "", limit_of(s, z));
}

/* The smallest plan there is: what it chooses into picks, bytes of those options, and its size as the format's planner has it. */
static hone_code narrowest(solver *s, uint32_t *picks, uint64_t *least, size *z, hone_err *err)
{
    *least = 0;
    for (size_t i = 0; i < s->n_items; i++) {
        picks[i] = 0;
        for (uint32_t k = 0; k < s->items[i].n; k++)
            if (s->items[i].options[k].bytes < s->items[i].options[picks[i]].bytes) picks[i] = k;
        *least += s->items[i].options[picks[i]].bytes;
    }
    take(s, picks);
    HONE_TRY(plan_size(s, z, err));
    return counted(s, z) > limit_of(s, z) ? too_narrow(s, z, err) : HONE_OK;
}

/* The knapsack does not know of headers and alignment: its budget is corrected by what the format's planner says, and the best that fits is kept. */
static hone_code solve_bytes(solver *s, size *z, hone_err *err)
{
    uint32_t *picks = HONE_ARENA_NEW(s->a, uint32_t, s->n_items + 1);
    uint8_t  *best = HONE_ARENA_NEW(s->a, uint8_t, s->out->sense.n + 1);
    double    best_cost = INFINITY;
    uint64_t  least = 0;
    if (!picks || !best) return HONE_NOMEM(err, "the plan");
    HONE_TRY(narrowest(s, picks, &least, z, err));
    uint64_t limit = limit_of(s, z), now = counted(s, z);
    uint64_t budget = least + (limit - now);
    for (int round = 0, over = 0; round < ROUNDS; round++) {
        size try;
        if (hone_allot(s->items, s->n_items, budget < least ? least : budget, picks, err) != HONE_OK) return HONE_FAIL(err, HONE_EBUG, "", "no choice fits a budget that is there");
        take(s, picks);
        HONE_TRY(plan_size(s, &try, err));
        now = counted(s, &try);
        if (now <= limit && predicted(s) < best_cost) {
            best_cost = predicted(s);
            memcpy(best, s->chosen, s->out->sense.n);
            *z = try;
        }
        uint64_t used = option_bytes(s);
        if (now > limit) { /* an output whose headers change with the choice can stay a few bytes above for ever: then it is asked for clearly less */
            uint64_t less = now - limit + (++over > 3 ? limit / 2000 : 0);
            budget = used > less ? used - less : least;
        } else if (limit - now < limit / 2000 || used < budget / 2) break;
        else budget += limit - now < budget - used ? limit - now : limit - now - (budget - used) + 1;
    }
    if (isinf(best_cost)) return too_narrow(s, z, err);
    memcpy(s->chosen, best, s->out->sense.n);
    return HONE_OK;
}

static hone_code solve_kld(solver *s, size *z, hone_err *err)
{
    uint32_t *picks = HONE_ARENA_NEW(s->a, uint32_t, s->n_items + 1);
    hone_err  why = { 0 };
    if (!picks) return HONE_NOMEM(err, "the plan");
    hone_code code = hone_allot_cost(s->items, s->n_items, s->aim, picks, &why);
    if (code == HONE_ENO)
        return HONE_FAIL(err, HONE_ENO, "allow more", "no plan for %s is predicted to have a KLD of %g: %.200s", hone_convert_format(s->f)->name, s->r->target_kld, why.cause);
    if (code != HONE_OK) {
        if (err) *err = why;
        return code;
    }
    take(s, picks);
    return plan_size(s, z, err);
}

static hone_code solve(solver *s, hone_err *err)
{
    size z;
    HONE_TRY(s->r->target_kld > 0 ? solve_kld(s, &z, err) : solve_bytes(s, &z, err));
    s->out->about.of[s->f].bytes = z.bytes;
    s->out->about.of[s->f].bpw = z.bpw;
    s->out->about.of[s->f].kld = predicted(s);
    s->out->about.of[s->f].has_kld = true;
    return HONE_OK;
}

/* ---- all formats ---- */

static hone_code cache_bytes(const hone_model *m, const hone_plan_request *r, hone_arena *a, uint64_t *out, hone_err *err)
{
    hone_fit_inputs in = { .context = r->context ? r->context : m->facts.context };
    hone_fit       *fits;
    size_t          n;
    HONE_TRY(hone_fit_all(m, a, &in, &fits, &n, err));
    *out = in.kv_bytes + in.compute_bytes;
    return HONE_OK;
}

static hone_code find_formats(const hone_plan_request *r, const char *quants[HONE_PLAN_FORMATS], hone_plan *p, hone_arena *a, hone_err *err)
{
    for (size_t i = 0; i < r->as->n_quants; i++) {
        const char *eq = strchr(r->as->quants[i], '=');
        for (size_t f = 0; eq && f < HONE_PLAN_FORMATS; f++) {
            const char *name = hone_convert_format(f)->name;
            if (strlen(name) != (size_t)(eq - r->as->quants[i]) || strncmp(name, r->as->quants[i], strlen(name)) != 0) continue;
            if (quants[f]) return HONE_FAIL(err, HONE_EUSAGE, "name one encoding of each format: what the plan leaves out has it", "a plan makes one %s output, and two are asked for", name);
            quants[f] = r->as->quants[i];
            p->named[f] = true;
            p->base[f] = hone_arena_strdup(a, eq + 1);
            if (!p->base[f]) return HONE_NOMEM(err, "the plan");
        }
    }
    return HONE_OK;
}

static hone_usual usual_of(const hone_convert_options *o, const hone_format *f, const hone_model *m, const char *base)
{
    const hone_weight *w = hone_model_find(m, HONE_R_TOK_EMBD, HONE_PART_WEIGHT, -1);
    hone_dtype         own = w && (w->dtype == HONE_DTYPE_BF16 || w->dtype == HONE_DTYPE_F16) ? w->dtype : HONE_DTYPE_F32;
    hone_usual         u = { .group = o->group ? o->group : 32, .sym = o->sym, .plain = own };
    if (f == &hone_format_onnx) u.plain = base && strcmp(base, "f16") == 0 ? HONE_DTYPE_F16 : HONE_DTYPE_F32;
    if (f == &hone_format_openvino) u.plain = HONE_DTYPE_F16;
    return u;
}

static hone_code check(const hone_plan_request *r, hone_err *err)
{
    int n = (r->target_bytes > 0) + (r->max_ram > 0) + (r->target_bpw > 0) + (r->target_kld > 0);
    if (n != 1)
        return HONE_FAIL(err, HONE_EUSAGE, "as in --target-bytes 4.5M", n ? "a plan has one target, %d are given" : "a plan needs a target: --target-bytes, --target-bpw, --target-kld or --max-ram", n);
    if (r->how == HONE_PLAN_MEASURED && !r->text)
        return HONE_FAIL(err, HONE_EUSAGE, "add --text FILE: a calibration text", "sensitivity is measured over a text, and there is none");
    return HONE_OK;
}

static hone_sense_trial trial_of(const hone_plan_request *r)
{
    return (hone_sense_trial){ .text = r->text, .max_tokens = r->max_tokens ? r->max_tokens : 4096, .stats = r->as->stats, .method = r->as->method,
                               .bias_correction = r->as->bias_correction, .work_dir = r->work_dir, .max_trials = MAX_TRIALS };
}

/* Nobody has asked for it in so many words: then it may be left out. */
static hone_code try_weights(const hone_ctx *ctx, const hone_model *m, const hone_plan_request *r, const hone_sense_trial *t, hone_plan_made *out, hone_err *err)
{
    hone_err  why = { 0 };
    hone_code code = hone_sense_measure(ctx, m, t, &out->sense, &out->tried, &why);
    if (code == HONE_OK) return HONE_OK;
    out->tried = 0;
    if (code == HONE_EUNSUPPORTED && r->how == HONE_PLAN_AUTO) {
        hone_event_warn(ctx, why.remedy[0] ? why.remedy : NULL, "sensitivity is not measured but guessed: %s", why.cause);
        return HONE_OK;
    }
    if (err) *err = why;
    return code;
}

static hone_code try_encodings(const hone_ctx *ctx, const hone_model *m, const hone_plan_request *r, hone_arena *a, hone_plan_made *out, hone_err *err)
{
    hone_sense_request ask = { .stats = r->as->stats };
    for (size_t f = 0; f < HONE_PLAN_FORMATS; f++) {
        ask.formats[f] = out->plan.named[f];
        ask.usual[f] = usual_of(r->as, hone_convert_format(f), m, out->plan.base[f]);
    }
    return hone_sense_errors(ctx, m, &ask, a, &out->sense, err);
}

/* Is there a plan at all?  Better asked before minutes of measurements. */
static hone_code check_limits(const solver *like, const char *const quants[HONE_PLAN_FORMATS], hone_err *err)
{
    for (size_t f = 0; f < HONE_PLAN_FORMATS && !(like->r->target_kld > 0); f++) {
        solver   s = *like;
        uint64_t least;
        size     z;
        s.f = f;
        s.quant = quants[f];
        if (!quants[f]) continue;
        HONE_TRY(solver_new(&s, err));
        uint32_t *picks = HONE_ARENA_NEW(s.a, uint32_t, s.n_items + 1);
        if (!picks) return HONE_NOMEM(err, "the plan");
        HONE_TRY(narrowest(&s, picks, &least, &z, err));
    }
    return HONE_OK;
}

static hone_code feel(const hone_ctx *ctx, const hone_model *m, const hone_plan_request *r, hone_arena *a, hone_plan_made *out, hone_err *err)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->source->n_tensors; i++) bytes += m->source->tensors[i].bytes;
    bool measured = r->how == HONE_PLAN_MEASURED || (r->how == HONE_PLAN_AUTO && r->text && bytes <= BIG_BYTES && m->facts.kind == HONE_KIND_DECODER);
    hone_sense_trial t = trial_of(r);
    if (measured) HONE_TRY(try_weights(ctx, m, r, &t, out, err));
    if (!out->tried && r->target_kld > 0)
        return HONE_FAIL(err, HONE_EUSAGE, "add --text FILE, a calibration text, or give --target-bytes", "a KLD can be aimed at only where sensitivity is measured");
    const char *weighed = out->sense.weighed ? "errors weighed by statistics" : "no statistics: every column counts alike";
    out->about.sensitivity = out->tried ? hone_arena_printf(a, "measured on %zu weights or groups over %u tokens; %s", out->tried, t.max_tokens, weighed)
                                        : hone_arena_printf(a, "guessed by role: KLDs put weights in order and predict nothing; %s", weighed);
    return out->about.sensitivity ? HONE_OK : HONE_NOMEM(err, "the plan");
}

static hone_code finish(const hone_model *m, const hone_plan_request *r, hone_arena *a, hone_plan_made *out, hone_plan_line *lines, hone_err *err)
{
    for (size_t i = 0; i < out->sense.n; i++) {
        const hone_sense_weight *w = &out->sense.weights[i];
        size_t                   f = 0;
        while (f < HONE_PLAN_FORMATS && !w->n[f]) f++;
        if (f == HONE_PLAN_FORMATS) continue;
        const hone_sense_option *o = &w->of[f][out->chosen[f][i]];
        lines[i].note = hone_arena_printf(a, "%" PRIu64 " bytes, KLD %.2g in %s", o->bytes, o->error * w->kld_per_error, hone_convert_format(f)->name);
        if (!lines[i].note) return HONE_NOMEM(err, "the plan");
    }
    size_t n = 0; /* weights that no format takes have no line */
    for (size_t i = 0; i < out->sense.n; i++)
        if (lines[i].note) lines[n++] = lines[i];
    out->plan.lines = lines;
    out->plan.n_lines = n;
    out->about.source = m->facts.name;
    out->about.hf_class = m->facts.hf_class;
    for (size_t i = 0; i < m->n_weights; i++) out->about.parameters += m->weights[i].values ? 0 : hone_weight_elems(&m->weights[i]);
    out->about.target = r->target_bytes     ? hone_arena_printf(a, "%" PRIu64 " bytes", r->target_bytes)
                        : r->max_ram        ? hone_arena_printf(a, "%" PRIu64 " bytes of memory", r->max_ram)
                        : r->target_bpw > 0 ? hone_arena_printf(a, "%g bits per weight", r->target_bpw)
                                            : hone_arena_printf(a, "KLD %g", r->target_kld);
    return out->about.target ? HONE_OK : HONE_NOMEM(err, "the plan");
}

/* ---- whole plans ---- */

static void note(struct hone_plan_about_format *a, const hone_metric *kld, const char *by)
{
    a->measured = true;
    a->measured_kld = kld->value;
    a->low = kld->lo;
    a->high = kld->hi;
    (void)snprintf(a->by, sizeof a->by, "%s", by);
}

/* Of two measured plans the better: the smaller of those that meet the target, before one that does not; else the one that is nearer. */
static bool better(const solver *s, const struct hone_plan_about_format *x, const struct hone_plan_about_format *y)
{
    bool meets = x->measured_kld <= s->r->target_kld, met = y->measured_kld <= s->r->target_kld;
    if (meets != met) return meets;
    return meets ? x->bytes < y->bytes : x->measured_kld < y->measured_kld;
}

/* What to ask for next.  met and missed: the largest prediction whose plan met the target and the smallest whose did not, 0: none yet.  Measured over
 * predicted differs from plan to plan, so past the bounds the middle is taken. */
static double next_aim(const solver *s, const struct hone_plan_about_format *now, double *met, double *missed)
{
    bool   meets = now->measured_kld <= s->r->target_kld;
    double aim = now->kld * s->r->target_kld / now->measured_kld;
    if (meets) *met = fmax(*met, now->kld);
    else *missed = *missed > 0 ? fmin(*missed, now->kld) : now->kld;
    if (!meets) aim = 0.95 * fmin(aim, now->kld);
    if (*met > 0 && *missed > 0 && (aim <= *met || aim >= *missed)) aim = sqrt(*met * *missed);
    return aim;
}

/* Measures the plan; where a KLD is aimed at, the plan is made again with what was found, until it is near. */
static hone_code hear_out(solver *s, hone_whole *w, const hone_plan *p, hone_plan_line *lines, hone_err *err)
{
    size_t                         n = s->out->sense.n;
    struct hone_plan_about_format *now = &s->out->about.of[s->f], best = { 0 };
    uint8_t                       *kept = HONE_ARENA_NEW(s->a, uint8_t, n + 1);
    double                         target = s->r->target_kld, met = 0, missed = 0;
    hone_metric                    kld;
    if (!kept) return HONE_NOMEM(err, "the plan");
    for (int round = 0; round < HEARINGS; round++) {
        hone_event_step(s->ctx, "measuring the %s plan", hone_convert_format(s->f)->name);
        HONE_TRY(hone_whole_measure(w, p, s->quant, &kld, err));
        note(now, &kld, w->by);
        bool same = round > 0 && memcmp(kept, s->chosen, n) == 0;
        if (round == 0 || better(s, now, &best)) {
            best = *now;
            memcpy(kept, s->chosen, n);
        }
        if (!(target > 0) || same || (kld.value <= target && kld.value > CLOSE * target) || !(now->kld > 0)) break;
        s->aim = next_aim(s, now, &met, &missed);
        hone_err  why = { 0 };
        hone_code code = solve(s, &why);
        if (code == HONE_ENO) break; /* nothing is that good: the best so far stands */
        if (code != HONE_OK && err) *err = why;
        HONE_TRY(code);
        HONE_TRY(put_words(s, lines, err));
    }
    memcpy(s->chosen, kept, n);
    *now = best;
    if (target > 0 && best.measured_kld > target)
        return HONE_FAIL(err, HONE_ENO, "allow more", "no plan for %s has a KLD of %g: the nearest takes %" PRIu64 " bytes and has %.3g", hone_convert_format(s->f)->name, target,
                         best.bytes, best.measured_kld);
    return put_words(s, lines, err);
}

static hone_code judge(solver *s, const hone_plan *p, hone_plan_line *lines, hone_err *err)
{
    hone_sense_trial t = trial_of(s->r);
    hone_whole       w = { 0 };
    hone_err         why = { 0 };
    hone_code        code = hone_whole_open(&s->quiet, s->m, &t, s->f, &w, &why);
    if (code == HONE_OK) code = hear_out(s, &w, p, lines, &why);
    hone_whole_close(&w);
    if (code == HONE_EUNSUPPORTED) {
        hone_event_warn(s->ctx, why.remedy[0] ? why.remedy : NULL, "the KLD of the %s plan is predicted, and not measured: %s", hone_convert_format(s->f)->name, why.cause);
        return HONE_OK;
    }
    if (code != HONE_OK && err) *err = why;
    return code;
}

static hone_code make_all(const solver *like, const char *const quants[HONE_PLAN_FORMATS], hone_plan_line *lines, hone_err *err)
{
    const hone_plan p = { .lines = lines, .n_lines = like->out->sense.n };
    for (size_t f = 0; f < HONE_PLAN_FORMATS; f++) {
        solver s = *like;
        s.f = f;
        s.quant = quants[f];
        if (!quants[f]) continue;
        HONE_TRY(solver_new(&s, err));
        HONE_TRY(solve(&s, err));
        HONE_TRY(put_words(&s, lines, err));
        if (s.out->tried && (s.r->judge || s.r->target_kld > 0)) HONE_TRY(judge(&s, &p, lines, err));
    }
    return HONE_OK;
}

hone_code hone_plan_make(const hone_ctx *ctx, const hone_model *m, const hone_plan_request *r, hone_arena *a, hone_plan_made *out, hone_err *err)
{
    const char *quants[HONE_PLAN_FORMATS] = { 0 };
    solver      s = { .ctx = ctx, .m = m, .r = r, .a = a, .out = out, .aim = r->target_kld };
    *out = (hone_plan_made){ 0 };
    HONE_TRY(check(r, err));
    HONE_TRY(find_formats(r, quants, &out->plan, a, err));
    if (ctx) s.quiet = (hone_ctx){ .threads = ctx->threads, .cancel = ctx->cancel, .libexec_dir = ctx->libexec_dir };
    if (r->max_ram) HONE_TRY(cache_bytes(m, r, a, &s.kv_bytes, err));
    HONE_TRY(try_encodings(ctx, m, r, a, out, err));
    HONE_TRY(check_limits(&s, quants, err));
    HONE_TRY(feel(ctx, m, r, a, out, err));
    hone_plan_line *lines = new_lines(&out->sense, a);
    if (!lines) return HONE_NOMEM(err, "the plan");
    HONE_TRY(make_all(&s, quants, lines, err));
    return finish(m, r, a, out, lines, err);
}
