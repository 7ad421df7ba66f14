/* verify.c - an artefact, its source and its recipe: the conversion once more, and what comes out of the comparison. */
#include "flow/verify.h"
#include "base/clock.h"
#include "base/text.h"
#include "flow/net/recipe.h"
#include "flow/verify/parts.h"
#include "formats/gguf/imatrix.h"
#include "passes/mix.h"
#include <inttypes.h>
#include <stdlib.h>

static const char ANOTHER_SOURCE[] = "is this the source that it was made from?";

typedef struct verification {
    const hone_verify_options *opt;
    hone_arena                 arena;
    hone_ctx                   ctx, *outer; /* ctx: only progress goes on to outer */
    hone_found                 found;
    hone_recipe                recipe;
    hone_net_recipe            network; /* doc not NULL: of a model that is no language model; recipe is empty then */
    bool                       has_recipe;
    const char                *quant; /* of the recipe, or of general.file_type */
    hone_stats                 stats;
    hone_comparison            c;
    char                       sha256[65]; /* "": not identical */
    double                     seconds;
    uint64_t                   peak_rss;
} verification;

/* What a conversion tells of formats and limits was told when the artefact was made. */
static void pass_progress(void *user, const hone_event *ev)
{
    const hone_ctx *outer = user;
    if (ev->kind == HONE_EV_PROGRESS && outer->on_event) outer->on_event(outer->user, ev);
}

/* ---- how it was made ---- */

static hone_code open_gguf(verification *v, hone_gguf *g, hone_err *err)
{
    const hone_found *f = &v->found;
    const char       *path = f->dir ? hone_arena_printf(&v->arena, "%s/%s", f->dir, f->names[0]) : f->path;
    return path ? hone_gguf_open(path, &v->arena, g, err) : HONE_NOMEM(err, "a path");
}

/* Somebody has quantised again what hone made, and kept its keys: general.file_type is not that of the recipe, nor has most of the file its type.
 * One of them alone is damage. */
static bool is_rewritten(verification *v)
{
    const hone_mix *mix = hone_mix_find(v->quant);
    hone_gguf       g;
    uint64_t        all = 0, same = 0;
    if (!v->found.gguf || !mix || v->recipe.options.n_keep || json_object_get(v->recipe.doc, "plan")) return false;
    if (open_gguf(v, &g, NULL) != HONE_OK) return false;
    const hone_gguf_value *type = hone_gguf_find(&g, "general.file_type");
    for (size_t i = 0; i < g.source->n_tensors; i++) {
        all += g.source->tensors[i].bytes;
        same += g.source->tensors[i].dtype == mix->base ? g.source->tensors[i].bytes : 0;
    }
    bool other = type && type->type == HONE_GGUF_U32 && type->as.u != mix->file_type;
    g.source->close(g.source);
    return other && 2 * same < all;
}

/* Without a recipe, a GGUF file's own words: its types are taken as they are, the mix is what plans. */
static hone_code take_file_type(verification *v, hone_err *err)
{
    const hone_found *f = &v->found;
    hone_gguf         g;
    HONE_TRY(open_gguf(v, &g, err));
    const hone_gguf_value *type = hone_gguf_find(&g, "general.file_type"), *imatrix = hone_gguf_find(&g, "quantize.imatrix.file");
    v->quant = "f16";
    for (size_t i = 0; type && i < hone_mix_count; i++)
        if (type->as.u == hone_mix_list[i].file_type) v->quant = hone_mix_list[i].name;
    bool weighted = imatrix != NULL;
    g.source->close(g.source);
    if (weighted && !v->opt->calibration)
        return HONE_FAIL(err, HONE_EINPUT, "give the file with --calibration", "'%s' was quantised with an importance matrix, and none was given", f->path);
    return HONE_OK;
}

static hone_code read_recipe(verification *v, hone_err *err)
{
    const hone_found *f = &v->found;
    if (!f->recipe.len && f->gguf) return take_file_type(v, err);
    if (!f->recipe.len)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "convert the source again with hone, and compare that", "'%s' has no hone.json: nothing says how it was made", f->path);
    HONE_TRY(hone_recipe_read(f->recipe, &v->arena, &v->recipe, err));
    v->has_recipe = true;
    v->quant = v->recipe.quant;
    if (!is_rewritten(v)) return HONE_OK;
    v->has_recipe = false;
    hone_recipe_release(&v->recipe);
    return take_file_type(v, err);
}

static hone_code read_stats(verification *v, hone_err *err)
{
    const char *needed = v->recipe.statistics, *given = v->opt->calibration;
    if (needed && !given) {
        char remedy[160];
        (void)snprintf(remedy, sizeof remedy, "name the file whose sha256 is %.64s with --calibration", needed);
        return HONE_FAIL(err, HONE_EINPUT, remedy, "'%s' was made with statistics of activations, and none were given", v->found.path);
    }
    if (!given) return HONE_OK;
    if (v->has_recipe && !needed)
        return HONE_FAIL(err, HONE_EUSAGE, "leave --calibration out", "'%s' was made without statistics of activations", v->found.path);
    HONE_TRY(hone_stats_open(given, &v->arena, &v->stats, err));
    if (needed && strcmp(v->stats.sha256, needed) != 0)
        return HONE_FAIL(err, HONE_EINPUT, "name the file that it was made with", "the sha256 of '%s' is %s, the recipe names %.64s", given, v->stats.sha256, needed);
    return HONE_OK;
}

/* ---- the run ---- */

static hone_code compare(verification *v, hone_model *m, hone_err *err)
{
    hone_convert_options opt = v->recipe.options;
    hone_convert_result  res = { 0 };
    const char          *quant = hone_arena_printf(&v->arena, "%s=%s", v->has_recipe ? v->recipe.format->name : "gguf", v->quant);
    if (!quant) return HONE_NOMEM(err, "the plan");
    if (v->recipe.model) m->facts.name = v->recipe.model;
    opt.quants = &quant;
    opt.n_quants = 1;
    opt.out_dir = ".";
    opt.name = "model";
    if (v->opt->calibration) opt.stats = &v->stats;
    if (v->opt->calibration && !v->has_recipe) opt.method = "search"; /* what llama-quantize does with an importance matrix */
    opt.judge = &v->c.judge;
    hone_code code = hone_convert(&v->ctx, m, &opt, &res, err);
    v->seconds = res.seconds;
    v->peak_rss = res.peak_rss_bytes;
    hone_convert_result_release(&res);
    if (code != HONE_OK) v->c.first = (hone_difference){ 0 }; /* its names are gone */
    if (code != HONE_EUSAGE || !err) return code;
    /* Nobody has typed these options here: the recipe and the source do not go together. */
    hone_err_wrap(err, "the recipe does not fit this source");
    hone_err_set_remedy(err, ANOTHER_SOURCE);
    err->code = HONE_ENO;
    return HONE_ENO;
}

/* As hone convert tells it: of a folder, the digest of the list of digests. */
static hone_code digest(verification *v, hone_err *err)
{
    const hone_found *f = &v->found;
    if (!f->dir) return hone_sha256_file(f->path, v->sha256, err);
    hone_text list = { 0 };
    hone_code code = HONE_OK;
    for (size_t i = 0; code == HONE_OK && i < f->n_names; i++) {
        char        one[65];
        const char *path = hone_arena_printf(&v->arena, "%s/%s", f->dir, f->names[i]);
        code = path ? hone_sha256_file(path, one, err) : HONE_NOMEM(err, "a path");
        if (code == HONE_OK) hone_text_addf(&list, "%s  %s\n", one, f->names[i]);
    }
    if (code == HONE_OK && list.failed) code = HONE_NOMEM(err, "a digest");
    if (code == HONE_OK) code = hone_sha256((hone_bytes){ (const uint8_t *)list.ptr, list.len }, v->sha256, err);
    hone_text_release(&list);
    return code;
}

/* ---- what came out ---- */

static size_t tensors_touched(const hone_comparison *c)
{
    size_t n = 0;
    for (size_t i = 0; c->touched && i < c->n_weights; i++) n += c->touched[i];
    return n;
}

static const char *hex_of(const uint8_t *p, size_t n, char out[2 * HONE_SAMPLE + 1])
{
    for (size_t i = 0; i < n; i++) (void)snprintf(out + 2 * i, 3, "%02x", p[i]);
    out[2 * n] = '\0';
    return out;
}

static const char *const kind_names[] = { "", "tensor", "header", "padding", "missing", "extra", "truncated", "longer", "shape" };

static json_t *first_of(const hone_comparison *c)
{
    const hone_difference *d = &c->first;
    char                   want[2 * HONE_SAMPLE + 1], found[2 * HONE_SAMPLE + 1];
    if (d->kind == HONE_DIFFERS_NOT) return json_null();
    json_t *o = json_pack("{s:s,s:s,s:I,s:s,s:s}", "kind", kind_names[d->kind], "file", d->file, "offset", (json_int_t)d->offset, "expected",
                          hex_of(d->want, d->n_want, want), "found", hex_of(d->found, d->n_found, found));
    if (!o || d->kind != HONE_DIFFERS_TENSOR) return o;
    bool good = hone_json_put(o, "tensor", json_string(c->tensor)) && hone_json_put(o, "encoding", json_string(c->encoding)) &&
                hone_json_put(o, "stream", json_string(c->stream)) && hone_json_put(o, "row", json_integer((json_int_t)d->row)) &&
                hone_json_put(o, "block", json_integer((json_int_t)d->block)) && hone_json_put(o, "values", c->values ? json_incref(c->values) : json_null());
    if (good) return o;
    json_decref(o);
    return NULL;
}

static json_t *document(const verification *v, bool identical)
{
    const hone_comparison *c = &v->c;
    const char            *format = v->network.doc ? v->network.target.format : v->has_recipe ? v->recipe.format->name : v->found.gguf ? "gguf" : NULL, *metadata = c->foreign ? "not compared" : "compared";
    json_t                *doc = json_pack("{s:s,s:s,s:s?,s:s,s:b,s:s,s:f,s:I}", "artefact", v->opt->artefact, "source", v->opt->source, "format", format, "quantization",
                                           v->quant, "identical", identical, "metadata", metadata, "seconds", v->seconds, "peak_rss_bytes", (json_int_t)v->peak_rss);
    json_t *compared = json_pack("{s:I,s:I,s:I,s:I}", "files", (json_int_t)c->n_files, "tensors", (json_int_t)c->n_weights, "blocks", (json_int_t)c->n_blocks, "bytes",
                                 (json_int_t)c->n_bytes);
    json_t *differ = json_pack("{s:I,s:I,s:I,s:O,s:O}", "tensors", (json_int_t)tensors_touched(c), "blocks", (json_int_t)c->blocks_differ, "bytes",
                               (json_int_t)c->bytes_differ, "files", c->files, "keys", c->metadata);
    bool    good = doc && compared && differ && hone_json_put(doc, "compared", json_incref(compared)) && hone_json_put(doc, "differences", json_incref(differ)) &&
                hone_json_put(doc, "first", first_of(c)) && hone_json_put(doc, "sha256", v->sha256[0] ? json_string(v->sha256) : json_null()) &&
                hone_json_put(doc, "recipe", v->network.doc ? json_incref(v->network.doc) : v->has_recipe ? json_incref(v->recipe.doc) : json_null());
    json_decref(compared);
    json_decref(differ);
    if (good) return doc;
    json_decref(doc);
    return NULL;
}

static hone_code say_tensor(const hone_comparison *c, hone_err *err)
{
    const hone_difference *d = &c->first;
    size_t                 n = tensors_touched(c);
    char                   want[2 * HONE_SAMPLE + 1], found[2 * HONE_SAMPLE + 1], name[96];
    return HONE_FAIL(err, HONE_ENO, "", "tensor '%s' differs in row %" PRIu64 ", block %" PRIu64 ", at byte %" PRIu64
                     " of '%s': %s instead of %s; %zu of %zu tensors and %" PRIu64 " blocks differ", hone_text_show(c->tensor, strlen(c->tensor), name, sizeof name), d->row, d->block,
                     d->offset, d->file, d->n_found ? hex_of(d->found, d->n_found < 4 ? d->n_found : 4, found) : "the end of the file",
                     hex_of(d->want, d->n_want < 4 ? d->n_want : 4, want), n, c->n_weights, c->blocks_differ);
}

static hone_code say_metadata(const hone_comparison *c, hone_err *err)
{
    const hone_difference *d = &c->first;
    char                   want[2 * HONE_SAMPLE + 1], found[2 * HONE_SAMPLE + 1];
    const json_t          *row = NULL;
    for (size_t i = 0; !row && i < json_array_size(c->metadata); i++)
        if (strcmp(json_string_value(json_object_get(json_array_get(c->metadata, i), "file")), d->file) == 0) row = json_array_get(c->metadata, i);
    const char *is = json_string_value(json_object_get(row, "found")), *should = json_string_value(json_object_get(row, "expected"));
    if (row)
        return HONE_FAIL(err, HONE_ENO, d->kind == HONE_DIFFERS_SHAPE ? ANOTHER_SOURCE : "", "%s of '%s' is %s, source and recipe give %s",
                         json_string_value(json_object_get(row, "key")), d->file, is ? is : "missing", should ? should : "none");
    return HONE_FAIL(err, HONE_ENO, "", "'%s' differs from byte %" PRIu64 " on: %s instead of %s", d->file, d->offset,
                     d->n_found ? hex_of(d->found, d->n_found < 4 ? d->n_found : 4, found) : "its end", hex_of(d->want, d->n_want < 4 ? d->n_want : 4, want));
}

static hone_code say_difference(const hone_comparison *c, hone_err *err)
{
    const hone_difference *d = &c->first;
    const json_t          *row = NULL;
    size_t                 i;
    json_t                *f;
    json_array_foreach(c->files, i, f)
        if (!row && strcmp(json_string_value(json_object_get(f, "file")), d->file) == 0) row = f;
    long long want = json_integer_value(json_object_get(row, "expected_bytes")), found = json_integer_value(json_object_get(row, "found_bytes"));
    switch (d->kind) {
    case HONE_DIFFERS_TENSOR: return say_tensor(c, err);
    case HONE_DIFFERS_MISSING: return HONE_FAIL(err, HONE_ENO, "", "'%s' is missing", d->file);
    case HONE_DIFFERS_EXTRA: return HONE_FAIL(err, HONE_ENO, "move it away", "'%s' does not belong there", d->file);
    case HONE_DIFFERS_TRUNCATED: return HONE_FAIL(err, HONE_ENO, "", "'%s' ends after %lld bytes, source and recipe give %lld", d->file, found, want);
    case HONE_DIFFERS_LONGER: return HONE_FAIL(err, HONE_ENO, "", "'%s' has %lld bytes, source and recipe give %lld", d->file, found, want);
    case HONE_DIFFERS_PADDING: return HONE_FAIL(err, HONE_ENO, "", "byte %" PRIu64 " of '%s', between tensors, is %02x, source and recipe give 00", d->offset, d->file, d->found[0]);
    case HONE_DIFFERS_HEADER:
    case HONE_DIFFERS_SHAPE:
    case HONE_DIFFERS_NOT: break;
    }
    return say_metadata(c, err);
}

static hone_code say_first(const hone_comparison *c, hone_err *err)
{
    hone_code code = say_difference(c, err);
    if (2 * tensors_touched(c) > c->n_weights) hone_err_set_remedy(err, ANOTHER_SOURCE);
    return code;
}

/* ---- all of it ---- */

static hone_code with_source(verification *v, hone_err *err)
{
    hone_model m = { 0 };
    HONE_TRY(hone_model_open(&v->ctx, v->opt->source, &m, err));
    hone_code code = compare(v, &m, err);
    hone_model_close(&m);
    HONE_TRY(code);
    return v->c.first.kind == HONE_DIFFERS_NOT ? digest(v, err) : say_first(&v->c, err);
}

/* What of the recipe itself is not as it was: the entry of this key, or NULL; *n: entries of all keys. */
static const json_t *recipe_differs(const hone_comparison *c, const char *key, size_t *n)
{
    size_t        i;
    json_t       *row;
    const json_t *its = NULL;
    *n = 0;
    json_array_foreach(c->metadata, i, row) {
        if (strcmp(json_string_value(json_object_get(row, "file")), HONE_RECIPE_FILE) != 0) continue;
        ++*n;
        if (strcmp(json_string_value(json_object_get(row, "key")), key) == 0) its = row;
    }
    return its;
}

/* The IR is what a runtime makes of a network: another version of it gives another graph, and usually the same constants at the same places. */
static hone_code say_other_runtime(const hone_comparison *c, const json_t *row, hone_err *err)
{
    static const char WITH[] = "verify with the runtime that it was made with";
    const char       *was = json_string_value(json_object_get(row, "found")), *is = json_string_value(json_object_get(row, "expected"));
    size_t            n = tensors_touched(c), i;
    json_t           *f;
    json_array_foreach(c->files, i, f)
        if (strcmp(json_string_value(json_object_get(f, "file")), HONE_NET_IR_BIN) == 0) n = c->n_weights;
    if (n == 0)
        return HONE_FAIL(err, HONE_ENO, WITH, "written by %s, and %s is here: the graph cannot be compared, its %zu constants are what source and recipe give", was ? was : "nobody",
                         is ? is : "none", c->n_weights);
    return HONE_FAIL(err, HONE_ENO, WITH, "written by %s, and %s is here: the graph cannot be compared, and up to %zu of %zu constants differ or lie elsewhere", was ? was : "nobody",
                     is ? is : "none", n, c->n_weights);
}

static hone_code of_network(verification *v, hone_err *err)
{
    v->quant = hone_net_quant_name(v->network.target.quant);
    if (v->opt->calibration)
        return HONE_FAIL(err, HONE_EUSAGE, "leave --calibration out", "the recipe of '%s' holds what calibration found out", v->found.path);
    hone_code code = hone_comparison_network(&v->c, &v->ctx, &v->network, v->opt->source, &v->peak_rss, err);
    if (code == HONE_ENO) hone_err_set_remedy(err, ANOTHER_SOURCE);
    HONE_TRY(code);
    if (v->c.first.kind == HONE_DIFFERS_NOT) return digest(v, err);
    size_t        n;
    const json_t *runtime = recipe_differs(&v->c, "runtime", &n);
    if (runtime && n == 1 + (recipe_differs(&v->c, "digest", &n) != NULL)) return say_other_runtime(&v->c, runtime, err);
    code = say_first(&v->c, err);
    if (recipe_differs(&v->c, "source", &n)) hone_err_set_remedy(err, ANOTHER_SOURCE);
    return code;
}

/* A recipe that cannot be trusted is the first difference. */
static hone_code damaged(verification *v, hone_err *err)
{
    const char *file = v->found.dir && !v->found.gguf ? HONE_RECIPE_FILE : v->found.path;
    v->quant = "";
    hone_comparison_note(&v->c, &(hone_difference){ .kind = HONE_DIFFERS_HEADER, .file = file });
    hone_code code = hone_metadata_add(&v->c, file, v->found.gguf ? HONE_RECIPE_KEY : "digest", NULL, err ? err->cause : NULL, NULL);
    return code == HONE_OK ? HONE_ENO : code;
}

static hone_code verify(verification *v, hone_err *err)
{
    HONE_TRY(hone_found_open(v->opt->artefact, &v->arena, &v->found, err));
    HONE_TRY(hone_comparison_init(&v->c, err));
    bool      network = hone_net_recipe_is(v->found.recipe);
    hone_code code = network ? hone_net_recipe_read(v->found.recipe, &v->arena, &v->network, err) : read_recipe(v, err);
    if (code == HONE_ENO) return damaged(v, err);
    HONE_TRY(code);
    if (network) return of_network(v, err);
    if (v->has_recipe) v->c.recipe = &v->recipe;
    HONE_TRY(read_stats(v, err));
    return with_source(v, err);
}

hone_code hone_verify(const hone_ctx *ctx, const hone_verify_options *opt, json_t **doc, hone_err *err)
{
    double       begin = hone_now_s();
    hone_ctx     outer = *ctx;
    hone_err     e = { 0 };
    verification v = { .opt = opt, .ctx = *ctx, .outer = &outer };
    v.ctx.on_event = pass_progress;
    v.ctx.user = &outer;
    v.c.found = &v.found;
    v.c.a = &v.arena;
    hone_code code = verify(&v, &e);
    v.seconds = hone_now_s() - begin;
    if (code == HONE_OK || code == HONE_ENO) {
        *doc = document(&v, code == HONE_OK);
        if (!*doc) code = HONE_NOMEM(&e, "the result");
    }
    if (err && code != HONE_OK) *err = e;
    hone_comparison_release(&v.c);
    hone_stats_close(&v.stats);
    hone_recipe_release(&v.recipe);
    hone_net_recipe_release(&v.network);
    hone_arena_release(&v.arena);
    return code;
}
