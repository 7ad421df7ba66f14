/* mlx.c - the plan of an MLX folder: modules and how each is quantised, shards, index, config.json, files that are copied. */
#include "formats/mlx.h"
#include "arch/arch.h"
#include "flow/convert/choice.h"
#include "flow/convert/output.h"
#include "formats/hf.h"
#include "formats/safetensors.h"
#include "passes/mlx_layout.h"
#include <fnmatch.h>

typedef struct planner {
    const hone_model     *m;
    const hone_mlx_quant *quant;
    uint32_t              group;
    hone_arena           *a;
    hone_output          *o;
    json_t               *config, *overrides; /* owned */
    hone_st_entry        *entries; /* [n_entries] tensors of all shards, in order */
    hone_place          **places;  /* [n_entries] */
    uint32_t             *shard;   /* [n_entries] */
    size_t                n_entries, n_shards;
    const hone_keep      *keep; /* [n_keep] */
    size_t                n_keep;
    const hone_plan      *lines; /* or NULL */
    const hone_mlx_quant *first; /* of --keep, that differs from quant */
} planner;

static bool is_float(const planner *p) { return p->quant->scheme == HONE_SCHEME_NONE; }

/* Columns that share a scale under q. */
static uint32_t group_of(const planner *p, const hone_mlx_quant *q) { return q->group ? q->group : p->group; }

/* The type of what is not quantised, and of scales: as mlx_lm.convert, the "torch_dtype" of config.json, else the type it is stored in. */
static hone_dtype plain_type(const planner *p, const hone_weight *w)
{
    hone_dtype t = p->quant->dtype;
    if (is_float(p) || hone_mlx_config_dtype(p->config, &t)) return t;
    if (w->dtype == HONE_DTYPE_F32 || w->dtype == HONE_DTYPE_F16 || w->dtype == HONE_DTYPE_BF16) return w->dtype;
    return w->dtype == HONE_DTYPE_F64 ? HONE_DTYPE_F32 : HONE_DTYPE_BF16;
}

/* --keep: the last pattern that matches the parameter's name wins; *kept NULL: none does. */
static hone_code kept_as(const planner *p, const hone_weight *w, const char *name, const hone_mlx_quant **kept, hone_err *err)
{
    *kept = NULL;
    for (size_t k = 0; k < p->n_keep; k++) {
        if (fnmatch(p->keep[k].pattern, name, 0) != 0) continue;
        const hone_mlx_quant *q = hone_mlx_quant_find(p->keep[k].dtype);
        if (!q) return HONE_FAIL(err, HONE_EUSAGE, "as in f16, int8, mxfp4", "mlx has no type '%s'", p->keep[k].dtype);
        if (q->scheme != HONE_SCHEME_NONE && !hone_mlx_is_module(w)) continue; /* norms and biases stay what they are */
        ++*p->keep[k].hits;
        *kept = q;
    }
    return HONE_OK;
}

static hone_code add_override(planner *p, const char *name, const hone_grouped *g, const char *mode, hone_err *err)
{
    const char *path = hone_arena_strndup(p->a, name, strlen(name) - strlen(".weight"));
    json_t     *o = json_pack("{s:i,s:i}", "group_size", (int)g->group, "bits", (int)g->bits);
    bool        good = path && o && (!mode || hone_json_put(o, "mode", json_string(mode))) && hone_json_put(p->overrides, path, json_incref(o));
    json_decref(o);
    return good ? HONE_OK : HONE_NOMEM(err, "the plan");
}

static const hone_mlx_quant *quant_of(const hone_grouped *g)
{
    for (size_t i = 0; i < hone_mlx_quant_count; i++)
        if (hone_mlx_quants[i].scheme == g->scheme && hone_mlx_quants[i].bits == g->bits) return &hone_mlx_quants[i];
    return &hone_mlx_quants[0]; /* the words of a plan are those of the list */
}

/* What the plan says of a module; mlx_lm reads it from the override of its path. */
static hone_code as_planned(planner *p, const hone_weight *w, hone_planned *plan, bool *given, hone_err *err)
{
    hone_choice c;
    bool        by_name;
    hone_usual  u = { .group = p->group, .plain = plan->dtype };
    *given = false;
    if (!hone_mlx_is_module(w)) return HONE_OK;
    HONE_TRY(hone_choice_planned(p->lines, p->m, &hone_format_mlx, w, &u, &c, given, &by_name, err));
    if (!*given) return HONE_OK;
    plan->encoding = hone_choice_word(&hone_format_mlx, &c, p->a);
    if (!plan->encoding) return HONE_NOMEM(err, "the plan");
    if (c.grouped.scheme == HONE_SCHEME_NONE) {
        plan->dtype = c.dtype;
        return HONE_OK;
    }
    const hone_mlx_quant *q = quant_of(&c.grouped);
    bool                  usual = q == p->quant && c.grouped.group == group_of(p, q);
    plan->grouped = c.grouped;
    plan->grouped.scale = plan->dtype;
    p->first = p->first ? p->first : q;
    if (usual && !hone_mlx_wants_eight_bits(&p->m->facts, w->role)) return HONE_OK;
    bool modes = q->scheme != HONE_SCHEME_MLX_AFFINE || (!is_float(p) && p->quant->scheme != HONE_SCHEME_MLX_AFFINE) || p->first->scheme != HONE_SCHEME_MLX_AFFINE;
    return add_override(p, plan->name, &plan->grouped, modes ? q->mode : NULL, err);
}

static hone_code choose_encoding(planner *p, const hone_weight *w, hone_planned *plan, hone_err *err)
{
    uint64_t              cols = hone_weight_cols(w);
    const hone_mlx_quant *kept, *q;
    bool                  planned = false;
    HONE_TRY(kept_as(p, w, plan->name, &kept, err));
    q = kept ? kept : p->quant;
    plan->dtype = kept && kept->scheme == HONE_SCHEME_NONE ? kept->dtype : plain_type(p, w);
    plan->encoding = hone_dtype_name(plan->dtype);
    if (!kept) HONE_TRY(as_planned(p, w, plan, &planned, err));
    if (planned) return HONE_OK;
    if (q->scheme == HONE_SCHEME_NONE || !hone_mlx_is_module(w)) return HONE_OK;
    if (cols % group_of(p, q) != 0) {
        p->o->fallbacks++;
        return HONE_OK;
    }
    hone_grouped x = { .scheme = q->scheme, .bits = q->bits, .group = group_of(p, q), .scale = plan->dtype };
    if (kept && kept != p->quant) {
        HONE_TRY(add_override(p, plan->name, &x, q->mode, err));
        p->first = p->first ? p->first : kept;
    } else if (!kept && hone_mlx_wants_eight_bits(&p->m->facts, w->role) && cols % 64 == 0) {
        x = (hone_grouped){ .scheme = HONE_SCHEME_MLX_AFFINE, .bits = 8, .group = 64, .scale = plan->dtype };
        HONE_TRY(add_override(p, plan->name, &x, NULL, err)); /* as mlx_lm's quant_predicate says it */
    }
    plan->grouped = x;
    plan->encoding = x.scheme == HONE_SCHEME_MLX_AFFINE ? hone_arena_printf(p->a, "int%u g%u", x.bits, x.group) : q->name;
    return plan->encoding ? HONE_OK : HONE_NOMEM(err, "the plan");
}

/* The parameter that holds stream s of a module's weight: its name in the arena, its type, and its columns. */
typedef struct parameter { const char *name; hone_dtype dtype; uint64_t cols; } parameter;

static hone_code parameter_of(const hone_planned *plan, uint32_t s, uint64_t cols, hone_arena *a, parameter *out, hone_err *err)
{
    static const char *const suffix[HONE_STREAMS] = { "weight", "scales", "biases" };
    const hone_grouped      *g = &plan->grouped;
    *out = (parameter){ plan->name, plan->dtype, cols };
    if (g->scheme == HONE_SCHEME_NONE) return HONE_OK;
    if (s == HONE_STREAM_CODES) out->dtype = HONE_DTYPE_U32;
    else if (g->scheme != HONE_SCHEME_MLX_AFFINE) out->dtype = HONE_DTYPE_U8;
    out->cols = hone_grouped_row_bits(g, s, cols) / (8 * hone_dtype_get(out->dtype)->block_bytes);
    out->name = hone_arena_printf(a, "%.*s%s", (int)(strlen(plan->name) - strlen("weight")), plan->name, suffix[s]);
    return out->name ? HONE_OK : HONE_NOMEM(err, "the plan");
}

static hone_code plan_weight(planner *p, const hone_weight *w, hone_planned *plan, hone_err *err)
{
    char     checkpoint[256], name[256];
    uint64_t cols = hone_weight_cols(w);
    HONE_TRY(hone_arch_weight_name(p->m->arch, w->role, w->part, w->layer, checkpoint, sizeof checkpoint, err));
    HONE_TRY(hone_mlx_name(p->m->facts.mlx, checkpoint, name, sizeof name, err));
    plan->name = hone_arena_strdup(p->a, name);
    if (!plan->name) return HONE_NOMEM(err, "the plan");
    HONE_TRY(choose_encoding(p, w, plan, err));
    plan->n_streams = plan->grouped.scheme == HONE_SCHEME_NONE ? 1 : hone_grouped_streams(&plan->grouped);
    for (uint32_t s = 0; s < plan->n_streams; s++) {
        hone_st_entry *e = &p->entries[p->n_entries];
        parameter      t;
        HONE_TRY(parameter_of(plan, s, cols, p->a, &t, err));
        *e = (hone_st_entry){ .name = t.name, .dtype = t.dtype, .n_dims = w->n_dims };
        for (uint32_t d = 0; d < w->n_dims; d++) e->dims[d] = w->dims[d];
        e->dims[w->n_dims - 1] = t.cols;
        plan->at[s].row_bits = 8 * hone_row_bytes(t.dtype, t.cols);
        e->bytes = hone_weight_rows(w) * plan->at[s].row_bits / 8;
        p->places[p->n_entries++] = &plan->at[s];
    }
    return HONE_OK;
}

/* Shards in the order of the modules; inside a shard the format's writer places the tensors. */
static hone_code place_entries(planner *p, hone_err *err)
{
    uint64_t      *bytes = HONE_ARENA_NEW(p->a, uint64_t, p->n_entries + 1);
    hone_st_entry *part = HONE_ARENA_NEW(p->a, hone_st_entry, p->n_entries + 1);
    p->shard = HONE_ARENA_NEW(p->a, uint32_t, p->n_entries + 1);
    if (!bytes || !part || !p->shard) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < p->n_entries; i++) bytes[i] = p->entries[i].bytes;
    p->n_shards = hone_mlx_shards(bytes, p->n_entries, HONE_MLX_SHARD_BYTES, p->shard);
    p->o->files = HONE_ARENA_NEW(p->a, hone_planned_file, p->n_shards + hone_mlx_side_file_count + 3);
    if (!p->o->files) return HONE_NOMEM(err, "the plan");
    for (size_t s = 0, begin = 0; s < p->n_shards; s++) {
        hone_planned_file *f = &p->o->files[p->o->n_files++];
        size_t             n = 0;
        while (begin + n < p->n_entries && p->shard[begin + n] == s) n++;
        memcpy(part, p->entries + begin, n * sizeof *part);
        f->name = hone_mlx_shard_name(p->a, s, p->n_shards);
        if (!f->name) return HONE_NOMEM(err, "the plan");
        HONE_TRY(hone_safetensors_layout(part, n, "mlx", p->a, &f->head, &f->total, err));
        for (size_t i = 0; i < n; i++) {
            p->places[begin + i]->file = (uint32_t)s;
            p->places[begin + i]->offset = part[i].offset;
        }
        begin += n;
    }
    return HONE_OK;
}

static hone_code add_document(planner *p, const char *name, const json_t *doc, bool sorted, hone_err *err)
{
    hone_planned_file *f = &p->o->files[p->o->n_files++];
    f->name = name;
    HONE_TRY(hone_mlx_dump(doc, sorted, p->a, &f->head, err));
    f->total = f->head.len;
    return HONE_OK;
}

static hone_code add_index(planner *p, hone_err *err)
{
    uint64_t bytes = 0, params = 0;
    json_t  *map = json_object();
    bool     good = map != NULL;
    for (size_t i = 0; good && i < p->n_entries; i++) {
        bytes += p->entries[i].bytes;
        good = hone_json_put(map, p->entries[i].name, json_string(p->o->files[p->shard[i]].name));
    }
    for (size_t i = 0; i < p->o->n_weights; i++) params += hone_weight_elems(&p->o->weights[i]);
    json_t *doc = good ? json_pack("{s:{s:I,s:I},s:O}", "metadata", "total_size", (json_int_t)bytes, "total_parameters", (json_int_t)params,
                                   "weight_map", map)
                       : NULL;
    hone_code code = doc ? add_document(p, "model.safetensors.index.json", doc, true, err) : HONE_NOMEM(err, "the index");
    json_decref(doc);
    json_decref(map);
    return code;
}

/* config.json comes last: without it nothing takes the folder for a model. */
static hone_code add_config(planner *p, hone_err *err)
{
    HONE_TRY(hone_mlx_config(p->config, &p->m->facts, err));
    const hone_mlx_quant *q = is_float(p) ? p->first : p->quant; /* mlx_lm wants settings for all when there are some for one */
    if (is_float(p)) HONE_TRY(hone_mlx_config_set_dtype(p->config, p->quant->dtype, err));
    if (q) HONE_TRY(hone_mlx_config_quantized(p->config, q, group_of(p, q), p->overrides, err));
    return add_document(p, "config.json", p->config, true, err);
}

static hone_code plan_folder(planner *p, const hone_output *like, const hone_convert_options *opt, hone_err *err)
{
    hone_output *o = p->o;
    hone_weight *weights = NULL;
    o->folder = true;
    if (like) {
        o->weights = like->weights;
        o->n_weights = like->n_weights;
    } else {
        HONE_TRY(hone_mlx_rewrite(p->m, p->a, &weights, &o->n_weights, err));
        o->weights = weights;
    }
    o->plan = HONE_ARENA_NEW(p->a, hone_planned, o->n_weights + 1);
    p->entries = HONE_ARENA_NEW(p->a, hone_st_entry, HONE_STREAMS * o->n_weights + 1);
    p->places = HONE_ARENA_NEW(p->a, hone_place *, HONE_STREAMS * o->n_weights + 1);
    if (!o->plan || !p->entries || !p->places) return HONE_NOMEM(err, "the plan");
    HONE_TRY(hone_source_document(p->m, "config.json", &p->config, err));
    for (size_t i = 0; i < o->n_weights; i++) HONE_TRY(plan_weight(p, &o->weights[i], &o->plan[i], err));
    HONE_TRY(place_entries(p, err));
    HONE_TRY(add_index(p, err));
    HONE_TRY(hone_plan_sides(p->m, hone_mlx_side_files, hone_mlx_side_file_count, p->a, o, err));
    HONE_TRY(hone_plan_recipe(p->m, opt, p->a, o, err));
    HONE_TRY(add_config(p, err));
    for (size_t i = 0; i < o->n_files; i++) {
        o->files[i].out.fd = -1;
        o->total += o->files[i].total;
    }
    o->path = hone_arena_printf(p->a, "%s/%s-%s-mlx", opt->out_dir, opt->name, o->label);
    return o->path ? HONE_OK : HONE_NOMEM(err, "a path");
}

static hone_code plan(const hone_model *m, const hone_convert_options *opt, const char *quant, const hone_output *like, hone_arena *a,
                      hone_output *o, hone_err *err)
{
    planner p = { .m = m, .quant = hone_mlx_quant_find(quant), .group = opt->group ? opt->group : 64, .a = a, .o = o, .keep = opt->keep, .n_keep = opt->n_keep, .lines = opt->lines };
    if (!p.quant) return HONE_FAIL(err, HONE_EUSAGE, "hone convert --help lists them", "mlx has no encoding '%.40s'", quant);
    if (p.group != 32 && p.group != 64 && p.group != 128)
        return HONE_FAIL(err, HONE_EUSAGE, "mlx knows 32, 64 and 128", "mlx has no groups of %u", p.group);
    if (opt->group && p.quant->group && opt->group != p.quant->group)
        return HONE_FAIL(err, HONE_EUSAGE, "leave --group out", "mlx has %s in groups of %u only, --group is %u", p.quant->name, p.quant->group, opt->group);
    p.overrides = json_object();
    o->quant = p.quant->name;
    o->label = opt->lines ? "plan" : o->quant;
    o->fallback_reason = "their rows are no multiple of the group";
    hone_code code = p.overrides ? plan_folder(&p, like, opt, err) : HONE_NOMEM(err, "the plan");
    json_decref(p.overrides);
    json_decref(p.config);
    return code;
}

typedef struct found { const hone_source *s; const char *path; } found;

static hone_code compare(const found *f, const hone_output *o, const hone_place *at, const char *name, hone_dtype dtype, const hone_weight *w,
                         uint64_t cols, hone_err *err)
{
    const hone_tensor *t = hone_source_find(f->s, name);
    /* The index names shards in sorted order, which is ours. */
    bool same = t && t->dtype == dtype && t->n_dims == w->n_dims && t->offset == at->offset && t->file == at->file &&
                t->dims[t->n_dims - 1] == cols && t->bytes == hone_weight_rows(w) * at->row_bits / 8;
    for (uint32_t d = 0; same && d + 1 < w->n_dims; d++) same = t->dims[d] == w->dims[d];
    (void)o;
    return same ? HONE_OK : HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' of '%s' reads back differently from its plan", name, f->path);
}

static hone_code check_tensors(const found *f, const hone_output *o, hone_arena *a, hone_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n_weights; i++) {
        const hone_planned *p = &o->plan[i];
        const hone_weight  *w = &o->weights[i];
        uint64_t            cols = hone_weight_cols(w);
        n += p->n_streams;
        for (uint32_t k = 0; k < p->n_streams; k++) {
            parameter t;
            HONE_TRY(parameter_of(p, k, cols, a, &t, err));
            HONE_TRY(compare(f, o, &p->at[k], t.name, t.dtype, w, t.cols, err));
        }
    }
    if (n != f->s->n_tensors) return HONE_FAIL(err, HONE_EBUG, "", "'%s' holds %zu tensors, planned were %zu", f->path, f->s->n_tensors, n);
    return HONE_OK;
}

static hone_code reread(const hone_output *o, const char *path, hone_err *err)
{
    hone_arena   a = { 0 };
    hone_source *s = NULL;
    json_t      *config = NULL;
    hone_code    code = hone_safetensors_open(path, &a, &s, err);
    if (code == HONE_OK) code = check_tensors(&(found){ s, path }, o, &a, err);
    if (code == HONE_OK) code = hone_hf_config_load(path, &config, err);
    json_decref(config);
    if (s) s->close(s);
    hone_arena_release(&a);
    return code;
}

static const char *quant_name(size_t i) { return i < hone_mlx_quant_count ? hone_mlx_quants[i].name : NULL; }

const hone_format hone_format_mlx = {
    .name = "mlx", .consumer = "mlx_lm", .quant = quant_name, .plain = { { "auto", "int4" } }, .takes = HONE_TAKES_GROUP | HONE_TAKES_KEEP, .plan = plan,
    .reread = reread, .owns = hone_mlx_owns,
};
