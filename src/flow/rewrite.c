#include "flow/rewrite.h"
#include "arch/arch.h"
#include "flow/convert/output.h"
#include "passes/fold.h"
#include "passes/prune.h"
#include <stdlib.h>

bool hone_rewrite_wanted(const hone_convert_options *opt) { return opt->prune > 0 || opt->fold; }

/* ---- config.json of the new model ---- */

/* A fact and the keys that families have for it; the first is written where config.json has none of them. */
static const struct { const char *keys[3]; size_t at; } sizes[] = {
    { { "num_hidden_layers", "n_layer" }, offsetof(hone_facts, n_layers) },
    { { "num_attention_heads", "n_head" }, offsetof(hone_facts, n_heads) },
    { { "num_key_value_heads" }, offsetof(hone_facts, n_kv_heads) },
    { { "head_dim" }, offsetof(hone_facts, head_dim) },
    { { "intermediate_size", "n_inner" }, offsetof(hone_facts, ffn) },
    { { "num_experts", "num_local_experts", "n_routed_experts" }, offsetof(hone_facts, n_experts) },
};

static uint32_t number_at(const hone_facts *f, size_t at)
{
    uint32_t v;
    memcpy(&v, (const char *)f + at, sizeof v);
    return v;
}

/* Lists with an entry for each layer lose those of the layers that left. */
static hone_code cut_lists(json_t *config, const hone_facts *was, const hone_pruned *p, hone_err *err)
{
    static const char *const keys[] = { "layer_types", "no_rope_layers" };
    for (size_t k = 0; k < HONE_COUNT(keys); k++) {
        const json_t *old = json_object_get(config, keys[k]);
        if (!json_is_array(old) || json_array_size(old) != was->n_layers) continue;
        json_t *list = json_array();
        bool    good = list != NULL;
        for (uint32_t l = 0; good && l < p->n_layers; l++) good = json_array_append(list, json_array_get(old, p->layers[l])) == 0;
        if (!good || !hone_json_put(config, keys[k], json_incref(list))) {
            json_decref(list);
            return HONE_NOMEM(err, "config.json");
        }
        json_decref(list);
    }
    return HONE_OK;
}

static hone_code edit_config(json_t *config, const hone_facts *was, const hone_facts *is, const hone_pruned *p, hone_err *err)
{
    bool heads = was->n_heads != is->n_heads;
    for (size_t i = 0; i < HONE_COUNT(sizes); i++) {
        const char *const *keys = sizes[i].keys, *key = keys[0];
        bool               changed = number_at(was, sizes[i].at) != number_at(is, sizes[i].at);
        /* The size of a head follows from the number of heads unless it is said. */
        if (!changed && !(heads && (sizes[i].at == offsetof(hone_facts, head_dim) || sizes[i].at == offsetof(hone_facts, n_kv_heads)))) continue;
        for (size_t k = 0; k < HONE_COUNT(sizes[i].keys) && keys[k]; k++)
            if (json_object_get(config, keys[k])) key = keys[k];
        if (!hone_json_put(config, key, json_integer(number_at(is, sizes[i].at)))) return HONE_NOMEM(err, "config.json");
    }
    return p ? cut_lists(config, was, p, err) : HONE_OK;
}

/* ---- binding ---- */

static const hone_tensor *find_role(void *self, hone_role role, hone_part part, int32_t layer)
{
    char name[HONE_REWRITE_NAME];
    return hone_source_find(self, hone_rewrite_name(role, part, layer, name));
}

/* What config.json cannot say for this family must not change silently. */
static hone_code check_facts(const hone_facts *want, const hone_facts *got, hone_err *err)
{
    for (size_t i = 0; i < HONE_COUNT(sizes); i++)
        if (number_at(want, sizes[i].at) != number_at(got, sizes[i].at))
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "take another --prune-method", "a %s model cannot have \"%s\" %u: config.json gives %u", want->family, sizes[i].keys[0],
                             number_at(want, sizes[i].at), number_at(got, sizes[i].at));
    return HONE_OK;
}

static hone_code check_layers(const hone_facts *was, const hone_facts *is, const uint32_t *layers, hone_err *err)
{
    for (uint32_t l = 0; l < is->n_layers; l++) {
        uint32_t old = layers ? layers[l] : l;
        bool     window = was->window && (!was->windowed || was->windowed[old]), now = is->window && (!is->windowed || is->windowed[l]);
        bool     still = was->no_rope && was->no_rope[old], not_now = is->no_rope && is->no_rope[l];
        if (window != now || still != not_now)
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "take heads or ffn", "layer %u of a %s model would get the window or the rotation of another layer", l, is->family);
    }
    return HONE_OK;
}

static hone_code add_sides(const hone_model *m, const json_t *config, hone_model *out, hone_err *err)
{
    hone_side_file *sides = HONE_ARENA_NEW(&out->arena, hone_side_file, m->n_sides + 1);
    char           *text = json_dumps(config, JSON_INDENT(2));
    const char     *kept = text ? hone_arena_strdup(&out->arena, text) : NULL;
    free(text);
    if (!sides || !kept) return HONE_NOMEM(err, "config.json");
    sides[out->n_sides++] = (hone_side_file){ "config.json", { (const uint8_t *)kept, strlen(kept) } };
    for (size_t i = 0; i < m->n_sides; i++)
        if (strcmp(m->sides[i].name, "config.json") != 0) sides[out->n_sides++] = m->sides[i];
    out->sides = sides;
    return HONE_OK;
}

/* What config.json does not say comes from the model below. */
static void inherit(const hone_model *m, hone_model *out)
{
    out->facts.name = m->facts.name;
    out->facts.pooling = m->facts.pooling;
    out->facts.normalize_embedding = m->facts.normalize_embedding;
    out->tokenizer = m->tokenizer;
    out->path = m->path;
    out->quantized = m->quantized;
}

/* A family whose shapes cannot follow the cut (GPT-NeoX: q, k and v are 3 * hidden) says so by a tensor. */
static hone_code bind_cut(const hone_model *m, const json_t *config, hone_model *out, hone_err *err)
{
    hone_err  e = { 0 };
    hone_code code = hone_arch_bind_roles(m->arch, config, (hone_role_finder){ find_role, out->source }, out, &e);
    if (code == HONE_EINPUT) return HONE_FAIL(err, HONE_EUNSUPPORTED, "take another --prune-method", "a %s model cannot be cut that way: %s", m->facts.family, e.cause);
    if (code != HONE_OK && err) *err = e;
    return code;
}

static hone_code bind_new(const hone_model *m, const hone_facts *want, const hone_pruned *p, const hone_change *list, size_t n, json_t *config, hone_model *out,
                          hone_err *err)
{
    HONE_TRY(edit_config(config, &m->facts, want, p, err));
    HONE_TRY(hone_rewrite_source(m, list, n, &out->arena, &out->source, err));
    hone_facts got;
    HONE_TRY(hone_arch_facts(m->arch, config, &out->arena, &got, err));
    HONE_TRY(check_facts(want, &got, err));
    HONE_TRY(bind_cut(m, config, out, err));
    HONE_TRY(check_layers(&m->facts, &out->facts, p ? p->layers : NULL, err));
    for (size_t i = 0; i < out->n_weights; i++)
        for (size_t k = 0; k < n; k++) { /* what is not quantised keeps the type that it had */
            const hone_weight *w = &out->weights[i], *from = list[k].from;
            if (w->role == from->role && w->part == from->part && w->layer == list[k].layer) out->weights[i].dtype = from->dtype;
        }
    inherit(m, out);
    return add_sides(m, config, out, err);
}

/* ---- the steps ---- */

static hone_code finish_step(hone_rewritten *r, const hone_facts *want, const hone_pruned *p, const hone_change *list, size_t n, hone_err *err)
{
    hone_model *out = &r->steps[r->n_steps];
    json_t     *config = NULL;
    HONE_TRY(hone_source_document(r->m, "config.json", &config, err));
    if (!config) return HONE_FAIL(err, HONE_EINPUT, "put it beside the weights", "there is no config.json to rewrite");
    hone_code code = bind_new(r->m, want, p, list, n, config, out, err);
    json_decref(config);
    HONE_TRY(code);
    if (r->stats) {
        HONE_TRY(hone_rewrite_stats(r->stats, list, n, &out->arena, &r->step_stats[r->n_steps], err));
        r->stats = &r->step_stats[r->n_steps];
    }
    r->m = out;
    r->n_steps++;
    return HONE_OK;
}

/* A text for people, in the event stream and in the last row of the result. */
static hone_code say(const hone_ctx *ctx, hone_rewritten *r, const char *text, hone_err *err)
{
    json_t *row = json_array_get(r->done, json_array_size(r->done) - 1);
    if (!text) return HONE_OK;
    if (json_array_append_new(json_object_get(row, "notes"), json_string(text)) != 0) return HONE_NOMEM(err, "a note");
    hone_event_note(ctx, "%s", text);
    return HONE_OK;
}

static hone_code describe_prune(const hone_ctx *ctx, hone_rewritten *r, hone_prune_method method, const hone_pruned *p, bool stats, hone_arena *a, hone_err *err)
{
    json_t *row = json_pack("{s:s,s:s,s:f,s:b,s:[]}", "rewrite", "prune", "method", hone_prune_name(method), "share", p->share, "statistics", stats, "notes");
    bool    good = row && (!p->was || (hone_json_put(row, "was", json_integer(p->was)) && hone_json_put(row, "is", json_integer(p->is))));
    if (!good || json_array_append(r->done, row) != 0) {
        json_decref(row);
        return HONE_NOMEM(err, "the result");
    }
    json_decref(row);
    HONE_TRY(say(ctx, r, p->note, err));
    const char *text = p->was ? hone_arena_printf(a, "pruned %s: %u of %u stay%s", hone_prune_name(method), p->is, p->was, p->was == r->m->facts.n_layers ? "" : " in each layer")
                              : hone_arena_printf(a, "pruned by %s: %.3g of the weights of the layers' matrices are zero", hone_prune_name(method), p->share);
    return text ? say(ctx, r, text, err) : HONE_NOMEM(err, "a note");
}

static hone_code prune(const hone_ctx *ctx, const hone_convert_options *opt, hone_rewritten *r, hone_err *err)
{
    hone_prune_method method = HONE_PRUNE_MAGNITUDE;
    hone_pruned       p;
    hone_arena       *a = &r->steps[r->n_steps].arena;
    if (opt->prune_method && !hone_prune_find(opt->prune_method, &method))
        return HONE_FAIL(err, HONE_EUSAGE, "magnitude, wanda, 2:4, heads, ffn, layers or experts", "there is no --prune-method '%.40s'", opt->prune_method);
    if (!(opt->prune < 1)) return HONE_FAIL(err, HONE_EUSAGE, "as in 0.1", "--prune is %g, needs a number above 0 and below 1", opt->prune);
    hone_event_step(ctx, "pruning by %s", hone_prune_name(method));
    HONE_TRY(hone_prune(ctx, r->m, method, opt->prune, r->stats, a, &p, err));
    hone_facts want = r->m->facts;
    want.n_layers = p.n_layers;
    want.n_heads = p.n_heads;
    want.n_kv_heads = p.n_kv_heads;
    want.ffn = p.ffn;
    want.n_experts = p.n_experts;
    HONE_TRY(describe_prune(ctx, r, method, &p, r->stats != NULL, a, err));
    return finish_step(r, &want, &p, p.changes, p.n, err);
}

static hone_code fold(const hone_ctx *ctx, const hone_convert_options *opt, hone_rewritten *r, hone_err *err)
{
    hone_fold_method method = HONE_FOLD_AWQ;
    hone_folded      f;
    hone_arena      *a = &r->steps[r->n_steps].arena;
    if (strcmp(opt->fold, "awq") != 0 && strcmp(opt->fold, "smooth") != 0)
        return HONE_FAIL(err, HONE_EUSAGE, "awq or smooth", "there is no way to fold scales called '%.40s'", opt->fold);
    if (strcmp(opt->fold, "smooth") == 0) method = HONE_FOLD_SMOOTH;
    if (!r->stats)
        return HONE_FAIL(err, HONE_EUSAGE, "hone calibrate SRC --data FILE -o stats.gguf makes them; then add --calibration stats.gguf",
                         "%s needs statistics of the activations", opt->fold);
    hone_event_step(ctx, "searching scales (%s)", opt->fold);
    HONE_TRY(hone_fold(ctx, r->m, method, r->stats, a, &f, err));
    json_t *row = json_pack("{s:s,s:s,s:i,s:i,s:[]}", "rewrite", "fold", "method", opt->fold, "folds", (int)f.n_folds, "skipped", (int)f.n_skipped, "notes");
    if (!row || json_array_append_new(r->done, row) != 0) return HONE_NOMEM(err, "the result");
    for (size_t i = 0; i < f.n_notes; i++) HONE_TRY(say(ctx, r, f.notes[i], err));
    return finish_step(r, &r->m->facts, NULL, f.changes, f.n, err);
}

hone_code hone_model_rewrite(const hone_ctx *ctx, const hone_model *m, const hone_convert_options *opt, hone_rewritten *out, hone_err *err)
{
    *out = (hone_rewritten){ .m = m, .stats = opt->stats };
    if (!hone_rewrite_wanted(opt)) return HONE_OK;
    out->done = json_array();
    hone_code code = out->done ? HONE_OK : HONE_NOMEM(err, "the result");
    if (code == HONE_OK && opt->prune > 0) code = prune(ctx, opt, out, err);
    if (code == HONE_OK && opt->fold) code = fold(ctx, opt, out, err);
    if (code != HONE_OK) hone_rewritten_release(out);
    return code;
}

void hone_rewritten_release(hone_rewritten *r)
{
    if (!r) return;
    for (size_t i = HONE_COUNT(r->steps); i-- > 0;) hone_model_close(&r->steps[i]);
    json_decref(r->done);
    *r = (hone_rewritten){ 0 };
}
