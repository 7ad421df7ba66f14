/* convert.c - what `hone convert` will write, planned before a byte is read; tiles.c and files.c do it. */
#include "flow/convert.h"
#include "base/clock.h"
#include "flow/convert/conversion.h"
#include "flow/plan.h"
#include "flow/rewrite.h"
#include "passes/limits.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static const hone_format *const formats[] = { &hone_format_gguf, &hone_format_onnx, &hone_format_openvino, &hone_format_mlx };

const hone_format *hone_convert_format(size_t i) { return i < HONE_COUNT(formats) ? formats[i] : NULL; }

const hone_format *hone_convert_format_find(const char *name, size_t n)
{
    for (size_t i = 0; i < HONE_COUNT(formats); i++)
        if (strlen(formats[i]->name) == n && memcmp(formats[i]->name, name, n) == 0) return formats[i];
    return NULL;
}

bool hone_format_knows(const hone_format *f, const char *quant)
{
    const char *name;
    for (size_t i = 0; (name = f->quant(i)); i++)
        if (strcmp(name, quant) == 0) return true;
    return false;
}

/* ---- the plan ---- */

static bool first_of_its_format(const hone_conversion *j, size_t k)
{
    for (size_t i = 0; i < k; i++)
        if (j->outputs[i].format == j->outputs[k].format) return false;
    return true;
}

static bool put_row(const hone_conversion *j, size_t k, size_t i, json_t *plan)
{
    const hone_output *o = &j->outputs[k];
    const hone_weight *w = &o->weights[i];
    json_t            *row = json_object(), *dims = json_array(), *enc = json_object();
    bool               good = row && dims && enc;
    for (uint32_t d = 0; good && d < w->n_dims; d++) good = json_array_append_new(dims, json_integer((json_int_t)w->dims[d])) == 0;
    for (size_t q = k; good && q < j->n_outputs; q++)
        if (j->outputs[q].format == o->format) good = hone_json_put(enc, j->outputs[q].label, json_string(j->outputs[q].plan[i].encoding));
    good = good && hone_json_put(row, "format", json_string(o->format->name)) && hone_json_put(row, "name", json_string(o->plan[i].name)) &&
           hone_json_put(row, "role", json_string(hone_role_name(w->role))) && hone_json_put(row, "dims", json_incref(dims)) &&
           hone_json_put(row, "encodings", json_incref(enc)) && json_array_append(plan, row) == 0;
    json_decref(dims);
    json_decref(enc);
    json_decref(row);
    return good;
}

static bool put_plan(const hone_conversion *j, json_t *plan)
{
    for (size_t k = 0; k < j->n_outputs; k++)
        for (size_t i = 0; first_of_its_format(j, k) && i < j->outputs[k].n_weights; i++)
            if (!put_row(j, k, i, plan)) return false;
    return true;
}

/* What the consumer cannot do with this model: the user hears it before the work, and finds it in the result. */
static hone_code warn_of_limits(hone_conversion *j, const char *consumer, json_t *warnings, hone_err *err)
{
    const hone_limit *limits = NULL;
    size_t            n = 0;
    if (!j->ctx->data_dir) return HONE_OK;
    HONE_TRY(hone_limits_for(j->ctx->data_dir, consumer, &j->m->facts, &j->m->tokenizer, &j->arena, &limits, &n, err));
    for (size_t i = 0; i < n; i++) {
        const char *text = hone_arena_printf(&j->arena, "in %s: %s: %s (%s)", consumer, limits[i].feature, limits[i].consequence, limits[i].cause);
        if (!text || json_array_append_new(warnings, json_string(text)) != 0) return HONE_NOMEM(err, "the warnings");
        if (limits[i].harmless) hone_event_note(j->ctx, "%s", text);
        else hone_event_warn(j->ctx, NULL, "%s", text);
    }
    return HONE_OK;
}

/* "q4_k_m" and "gguf=q4_k_m" are GGUF, "mlx=int4" is MLX. */
static hone_code find_format(const char *asked, const hone_format **format, const char **quant, hone_err *err)
{
    const char *eq = strchr(asked, '=');
    *format = &hone_format_gguf;
    *quant = asked;
    if (!eq) return HONE_OK;
    *format = hone_convert_format_find(asked, (size_t)(eq - asked));
    *quant = eq + 1;
    if (*format) return HONE_OK;
    return HONE_FAIL(err, HONE_EUSAGE, "as in mlx=int4", "hone cannot write the format of '%.60s'", asked);
}

/* Weights that have been rounded once are rounded again on another grid. */
static hone_code warn_of_quantized(hone_conversion *j, json_t *warnings, hone_err *err)
{
    if (!j->m->quantized) return HONE_OK;
    const char *text = hone_arena_printf(&j->arena, "the source is quantised (%s): what is quantised again from it loses quality twice; convert the checkpoint that "
                                                    "it was made from if you have it", j->m->quantized);
    if (!text || json_array_append_new(warnings, json_string(text)) != 0) return HONE_NOMEM(err, "the warnings");
    hone_event_warn(j->ctx, NULL, "%s", text);
    return HONE_OK;
}

/* Logits are the same without; a chat is not to be had. */
static hone_code warn_of_tokenizer(hone_conversion *j, json_t *warnings, hone_err *err)
{
    static const char text[] = "the source has no tokenizer: what is made of it takes token ids, and no text";
    if (j->m->tokenizer.kind != HONE_TOK_NONE) return HONE_OK;
    if (json_array_append_new(warnings, json_string(text)) != 0) return HONE_NOMEM(err, "the warnings");
    hone_event_warn(j->ctx, "put tokenizer.json, or the file that the family has, beside the weights", "%s", text);
    return HONE_OK;
}

static bool told_already(const hone_conversion *j, size_t k)
{
    for (size_t i = 0; i < k; i++)
        if (j->outputs[i].warning && strcmp(j->outputs[i].warning, j->outputs[k].warning) == 0) return true;
    return false;
}

static hone_code warn_of_outputs(const hone_conversion *j, json_t *warnings, hone_err *err)
{
    for (size_t k = 0; k < j->n_outputs; k++) {
        const hone_output *o = &j->outputs[k];
        if (!o->warning || told_already(j, k)) continue;
        if (json_array_append_new(warnings, json_string(o->warning)) != 0) return HONE_NOMEM(err, "the warnings");
        hone_event_warn(j->ctx, NULL, "%s", o->warning);
    }
    return HONE_OK;
}

/* While an output is planned, hits of a --keep are those in it: its recipe (flow/recipe.h) names no others. */
static hone_code plan_counting_keeps(hone_conversion *j, const hone_convert_options *opt, const char *quant, const hone_output *like, hone_output *o,
                                     hone_err *err)
{
    size_t *before = HONE_ARENA_NEW(&j->arena, size_t, opt->n_keep + 1);
    if (!before) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < opt->n_keep; i++) {
        before[i] = *opt->keep[i].hits;
        *opt->keep[i].hits = 0;
    }
    hone_code code = o->format->plan(j->m, opt, quant, like, &j->arena, o, err);
    for (size_t i = 0; i < opt->n_keep; i++) *opt->keep[i].hits += before[i];
    return code;
}

static size_t number_of(const hone_format *f)
{
    size_t i = 0;
    while (formats[i] != f) i++;
    return i;
}

static hone_code plan_output(hone_conversion *j, const hone_convert_options *opt, hone_err *err)
{
    hone_output       *o = &j->outputs[j->n_outputs];
    const hone_output *like = NULL;
    const char        *quant;
    HONE_TRY(find_format(opt->quants[j->n_outputs], &o->format, &quant, err));
    for (size_t k = 0; k < j->n_outputs; k++) {
        if (j->outputs[k].format != o->format) continue;
        like = &j->outputs[k];
        if (opt->lines) return HONE_FAIL(err, HONE_EUSAGE, "ask for one encoding of each format", "a plan makes one %s output, and two are asked for", o->format->name);
        if (strcmp(like->quant, quant) == 0)
            return HONE_FAIL(err, HONE_EUSAGE, "name it once", "encoding '%s' is asked for twice", opt->quants[j->n_outputs]);
    }
    o->ctx = j->ctx;
    hone_convert_options own = *opt; /* the recipe holds of a plan what this format takes from it */
    if (opt->lines) HONE_TRY(hone_plan_document(opt->lines, number_of(o->format), &j->plans[j->n_outputs], err));
    own.plan = j->plans[j->n_outputs];
    hone_code code = plan_counting_keeps(j, &own, quant, like, o, err);
    if (code == HONE_EUNSUPPORTED && opt->n_quants > 1 && err) { /* nothing is written: fewer formats than asked for are not what was asked for */
        char remedy[128];
        (void)snprintf(remedy, sizeof remedy, "leave %s out of --to to get the other formats; nothing was written", o->format->name);
        hone_err_set_remedy(err, remedy);
    }
    j->n_outputs += code == HONE_OK;
    return code;
}

static hone_code describe(const hone_conversion *j, size_t k, hone_convert_output *r, hone_err *err)
{
    const hone_output *o = &j->outputs[k];
    uint64_t           bytes = 0, elems = 0;
    (void)snprintf(r->format, sizeof r->format, "%s", o->format->name);
    (void)snprintf(r->quantization, sizeof r->quantization, "%s", o->label);
    const char *path = o->opened ? o->opened : o->path;
    if ((size_t)snprintf(r->path, sizeof r->path, "%s", path) >= sizeof r->path)
        return HONE_FAIL(err, HONE_EUSAGE, "use a shorter folder", "output path has %zu bytes, %zu fit", strlen(path), sizeof r->path - 1);
    r->parts = o->opened ? (uint32_t)o->n_files : 1;
    r->bytes = o->total;
    for (size_t i = 0; i < o->n_weights; i++) {
        bytes += hone_planned_bytes(&o->plan[i], hone_weight_rows(&o->weights[i]));
        elems += hone_weight_elems(&o->weights[i]);
    }
    r->weights_bytes = bytes;
    r->bpw = elems ? 8.0 * (double)bytes / (double)elems : 0;
    if (o->fallbacks)
        hone_event_note(j->ctx, "%s: %zu tensor%s kept wider, %s", o->quant, o->fallbacks, o->fallbacks == 1 ? "" : "s", o->fallback_reason);
    return HONE_OK;
}

/* Sizes are the file's word (and a file may be mostly holes).  With this many weights at most, no product below wraps: a weight takes at
 * most 8 bytes in a file and 32 in all buffers of a thread, and there are at most 1024 threads. */
#define MAX_WEIGHTS ((uint64_t)1 << 48)
static hone_code check_size(const hone_model *m, hone_err *err)
{
    uint64_t elems = 0;
    for (size_t i = 0; i < m->n_weights; i++) {
        const hone_weight *w = &m->weights[i];
        uint64_t           n = 1;
        bool               fits = true;
        for (uint32_t d = 0; fits && d < w->n_dims; d++) fits = hone_size_mul(n, w->dims[d], &n);
        if (!fits || n > MAX_WEIGHTS || elems + n > MAX_WEIGHTS)
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "the model has more than 2^48 weights with %s of layer %d", hone_role_name(w->role),
                             (int)w->layer);
        elems += n;
    }
    return HONE_OK;
}

/* The file's name comes from --name or from the folder's; it stays inside the output folder. */
static hone_code choose_stem(hone_conversion *j, const hone_convert_options *opt, const char **stem, hone_err *err)
{
    *stem = opt->name ? opt->name : j->m->facts.name;
    if (strchr(*stem, '/'))
        return HONE_FAIL(err, HONE_EUSAGE, "name a folder with -o DIR", "the file name '%s' has a '/'", *stem);
    if (!**stem) *stem = "model";
    if (opt->name || !(opt->prune > 0)) return HONE_OK;
    *stem = hone_arena_printf(&j->arena, "%s-pruned", *stem); /* another model: it does not take the place of the whole one */
    return *stem ? HONE_OK : HONE_NOMEM(err, "a name");
}

/* A pattern means the tensors of one format or of several: it has to match somewhere. */
static hone_code count_keeps(hone_conversion *j, hone_convert_options *opt, hone_err *err)
{
    hone_keep *keep = HONE_ARENA_NEW(&j->arena, hone_keep, opt->n_keep + 1);
    size_t    *hits = HONE_ARENA_NEW(&j->arena, size_t, opt->n_keep + 1);
    if (!keep || !hits) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < opt->n_keep; i++) keep[i] = (hone_keep){ opt->keep[i].pattern, opt->keep[i].dtype, &hits[i] };
    opt->keep = keep;
    return HONE_OK;
}

static hone_code check_keeps(const hone_convert_options *opt, hone_err *err)
{
    for (size_t i = 0; i < opt->n_keep; i++)
        if (*opt->keep[i].hits == 0)
            return HONE_FAIL(err, HONE_EUSAGE, "--dry-run --json lists the tensor names", "--keep '%s' matches no tensor", opt->keep[i].pattern);
    return HONE_OK;
}

/* A plan comes as its lines or, from a recipe, as a document of them. */
static hone_code read_plan(hone_conversion *j, hone_convert_options *opt, hone_err *err)
{
    hone_plan *read = HONE_ARENA_NEW(&j->arena, hone_plan, 1);
    if (!read) return HONE_NOMEM(err, "the plan");
    if (!opt->plan && !opt->lines) return HONE_OK;
    if (!opt->lines) {
        HONE_TRY(hone_plan_from_document(opt->plan, &j->arena, read, err));
        opt->lines = read;
    }
    return hone_plan_check(opt->lines, j->m, err);
}

/* The largest weight that this encoding can hold, where an f16 is what ends it; 0: any.  Block types: their scale is the largest weight over that. */
static float most_of(const hone_planned *p)
{
    const hone_grouped *g = &p->grouped;
    if (g->scheme != HONE_SCHEME_NONE) return g->scheme == HONE_SCHEME_MLX_AFFINE && g->scale == HONE_DTYPE_F16 ? 65504.0f : 0;
    switch (p->dtype) {
    case HONE_DTYPE_F16:
    case HONE_DTYPE_TQ1_0:
    case HONE_DTYPE_TQ2_0: return 65504.0f;
    case HONE_DTYPE_Q4_0: return 8 * 65504.0f;
    case HONE_DTYPE_Q5_0: return 16 * 65504.0f;
    case HONE_DTYPE_Q8_0: return 127 * 65504.0f;
    default: return 0;
    }
}

/* Read once, a weight has to suit all that is made of it. */
static void limit_values(hone_conversion *j)
{
    for (size_t i = 0; i < j->n_items; i++)
        for (const hone_use *u = j->items[i].uses; u; u = u->next) {
            float most = most_of(&j->outputs[u->output].plan[u->weight]), *held = &j->items[i].w.most;
            if (most > 0 && (*held == 0 || most < *held)) *held = most;
        }
}

static hone_code prepare(hone_conversion *j, const hone_convert_options *asked, hone_convert_result *res, hone_err *err)
{
    hone_convert_options named = *asked, *opt = &named;
    HONE_TRY(check_size(j->m, err));
    HONE_TRY(choose_stem(j, asked, &named.name, err));
    HONE_TRY(read_plan(j, &named, err));
    HONE_TRY(count_keeps(j, &named, err));
    while (j->n_outputs < opt->n_quants) HONE_TRY(plan_output(j, opt, err));
    HONE_TRY(check_keeps(opt, err));
    if (opt->judge) HONE_TRY(opt->judge->planned(opt->judge->self, j, err));
    HONE_TRY(hone_conversion_tiles(j, opt, err));
    limit_values(j);
    res->plan = json_array();
    res->warnings = json_array();
    if (!res->plan || !res->warnings || !put_plan(j, res->plan)) return HONE_NOMEM(err, "the plan");
    HONE_TRY(warn_of_quantized(j, res->warnings, err));
    HONE_TRY(warn_of_tokenizer(j, res->warnings, err));
    HONE_TRY(warn_of_outputs(j, res->warnings, err));
    for (size_t k = 0; k < j->n_outputs; k++) {
        const hone_format *f = j->outputs[k].format;
        if (!first_of_its_format(j, k)) continue;
        HONE_TRY(warn_of_limits(j, f->consumer, res->warnings, err));
        if (f->words_by) HONE_TRY(warn_of_limits(j, f->words_by, res->warnings, err));
    }
    for (size_t k = 0; k < j->n_outputs; k++) {
        HONE_TRY(describe(j, k, &res->outputs[k], err));
        res->disk_needed += j->outputs[k].total;
    }
    res->n_outputs = j->n_outputs;
    res->ram_needed = j->threads * j->scratch_each + j->arena.total + j->m->arena.total + hone_treatments_ram(j->treat);
    res->read_bytes = j->source_bytes;
    return HONE_OK;
}
/* What a recipe says of it: a name, or nothing where there is nothing to say. */
static hone_code choose_method(hone_convert_options *opt, hone_err *err)
{
    const char *name;
    HONE_TRY(hone_method_choose(opt->method, opt->stats, &name, err));
    opt->method = !opt->stats && strcmp(name, "rtn") == 0 ? NULL : name;
    return HONE_OK;
}

/* m: of the source; what is converted is j->m, the same or rewritten. */
static hone_code run(hone_conversion *j, const hone_model *m, hone_convert_options *opt, hone_convert_result *res, hone_err *err)
{
    for (size_t i = 0; i < m->source->n_tensors; i++) j->source_bytes += m->source->tensors[i].bytes;
    HONE_TRY(choose_method(opt, err));
    HONE_TRY(prepare(j, opt, res, err));
    if (opt->dry_run) return hone_conversion_estimate(j, &res->estimated_s, err);
    return opt->judge ? opt->judge->run(opt->judge->self, j, err) : hone_conversion_write(j, opt, res, err);
}

hone_code hone_convert(const hone_ctx *ctx, const hone_model *m, const hone_convert_options *asked, hone_convert_result *res, hone_err *err)
{
    double begin = hone_now_s();
    hone_conversion     *j = calloc(1, sizeof *j);
    hone_rewritten       rewritten;
    hone_convert_options opt = *asked;
    *res = (hone_convert_result){ 0 };
    if (!j) return HONE_NOMEM(err, "the conversion");
    if (asked->stats && hone_stats_check(asked->stats, m, err) != HONE_OK) {
        free(j);
        return HONE_EINPUT;
    }
    hone_code code = hone_model_rewrite(ctx, m, asked, &rewritten, err);
    j->ctx = ctx;
    j->m = rewritten.m;
    opt.stats = rewritten.stats;
    if (code == HONE_OK) code = run(j, m, &opt, res, err);
    hone_conversion_discard(j);
    hone_treatments_free(j->treat);
    free(j->scratch);
    hone_arena_release(&j->arena);
    for (size_t k = 0; k < HONE_MAX_OUTPUTS; k++) json_decref(j->plans[k]);
    free(j);
    res->rewrites = json_incref(rewritten.done);
    hone_rewritten_release(&rewritten);
    struct rusage ru;
    if (getrusage(RUSAGE_SELF, &ru) == 0) res->peak_rss_bytes = (uint64_t)ru.ru_maxrss * 1024u;
    res->seconds = hone_now_s() - begin;
    if (code != HONE_OK) hone_convert_result_release(res);
    return code;
}

void hone_convert_result_release(hone_convert_result *r)
{
    if (!r) return;
    json_decref(r->plan);
    json_decref(r->warnings);
    json_decref(r->rewrites);
    r->plan = r->warnings = r->rewrites = NULL;
}
