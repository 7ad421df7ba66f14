/* openvino.c - the plan of an OpenVINO folder: the model as IR, how each weight is compressed, tokenizer models, files that are copied. */
#include "formats/openvino.h"
#include "arch/arch.h"
#include "flow/convert/choice.h"
#include "base/text.h"
#include "flow/convert/openvino/ratio.h"
#include "flow/convert/output.h"
#include "formats/hf.h"
#include "formats/openvino/tokenizer.h"
#include <inttypes.h>

#define MODEL_XML "openvino_model.xml"
#define MODEL_BIN "openvino_model.bin"
#define USUAL_GROUP 128 /* optimum-cli's default for int4 */

typedef struct planner {
    const hone_model           *m;
    const hone_convert_options *opt;
    const hone_ov_quant        *quant;
    uint32_t                    group; /* of 4-bit weights; 0: the row */
    hone_arena                 *a;
    hone_output                *o;
    hone_ov_slot               *slots;
    size_t                      n_slots;
    hone_ov_files               model;
} planner;

/* ---- how each weight is stored ---- */

static hone_grouped eight_bits(bool sym) { return (hone_grouped){ .scheme = HONE_SCHEME_NNCF, .bits = 8, .scale = HONE_DTYPE_F16, .sym = sym }; }

static hone_grouped four_bits(const planner *p)
{
    return (hone_grouped){ .scheme = HONE_SCHEME_NNCF, .bits = 4, .group = p->group, .scale = HONE_DTYPE_F16, .sym = p->opt->sym };
}

/* As NNCF compresses: every matrix; at 4 bits embeddings, the last matrix, what does not divide into groups, and what --ratio leaves get 8
 * bits, with zero points. */
static void choose(planner *p, hone_ov_slot *s)
{
    s->dtype = HONE_DTYPE_F32;
    if (!(s->use & HONE_OV_MATRIX)) return;
    if (!p->quant->bits) {
        s->dtype = p->quant->dtype;
        return;
    }
    hone_grouped four = four_bits(p);
    bool         outer = (s->use & (HONE_OV_EMBEDDING | HONE_OV_HEAD)) != 0, fits = hone_grouped_fits(&four, hone_weight_cols(&s->weight));
    s->grouped = p->quant->bits == 8 ? eight_bits(p->opt->sym) : outer || !fits ? eight_bits(false) : four;
    if (p->quant->bits == 4 && !outer && !fits) p->o->fallbacks++;
}

/* A plan may give four bits to embedding and head too. */
static hone_code as_planned(planner *p, hone_ov_slot *s, hone_err *err)
{
    hone_usual  u = { .group = p->group, .sym = p->opt->sym, .plain = p->quant->bits ? HONE_DTYPE_F16 : p->quant->dtype };
    hone_choice c;
    bool        given, by_name;
    if (!p->opt->lines || !(s->use & HONE_OV_MATRIX)) return HONE_OK;
    HONE_TRY(hone_choice_planned(p->opt->lines, p->m, &hone_format_openvino, &s->weight, &u, &c, &given, &by_name, err));
    if (!given) return HONE_OK;
    s->grouped = c.grouped;
    s->dtype = c.grouped.scheme == HONE_SCHEME_NONE ? c.dtype : HONE_DTYPE_F32;
    s->planned = true;
    return HONE_OK;
}

static hone_code choose_all(planner *p, hone_err *err)
{
    char name[256];
    for (size_t i = 0; i < p->n_slots; i++) {
        hone_ov_slot *s = &p->slots[i];
        HONE_TRY(hone_arch_weight_name(p->m->arch, s->weight.role, s->weight.part, s->weight.layer, name, sizeof name, err));
        s->name = hone_arena_strdup(p->a, name);
        if (!s->name) return HONE_NOMEM(err, "the plan");
        HONE_TRY(as_planned(p, s, err));
        if (!s->planned) choose(p, s);
    }
    if (p->quant->bits != 4 || p->opt->ratio <= 0 || p->opt->ratio >= 1) return HONE_OK;
    hone_grouped backup = eight_bits(false);
    return hone_ov_apply_ratio(p->o->ctx, p->m, p->slots, p->n_slots, p->opt->ratio, &backup, p->a, err);
}

static const char *encoding_name(const planner *p, const hone_ov_slot *s)
{
    const hone_grouped *g = &s->grouped;
    if (g->scheme == HONE_SCHEME_NONE) return hone_dtype_name(s->dtype);
    if (!g->group) return hone_arena_printf(p->a, "int%u %s per row", g->bits, g->sym ? "sym" : "asym");
    return hone_arena_printf(p->a, "int%u %s g%u", g->bits, g->sym ? "sym" : "asym", g->group);
}

static hone_code place(planner *p, uint32_t file, hone_err *err)
{
    hone_output *o = p->o;
    hone_weight *weights = HONE_ARENA_NEW(p->a, hone_weight, p->n_slots + 1);
    o->plan = HONE_ARENA_NEW(p->a, hone_planned, p->n_slots + 1);
    if (!weights || !o->plan) return HONE_NOMEM(err, "the plan");
    o->weights = weights;
    o->n_weights = p->n_slots;
    for (size_t i = 0; i < p->n_slots; i++) {
        const hone_ov_slot *s = &p->slots[i];
        hone_planned       *plan = &o->plan[i];
        uint64_t            cols = hone_weight_cols(&s->weight);
        weights[i] = s->weight;
        *plan = (hone_planned){ .name = s->name, .encoding = encoding_name(p, s), .dtype = s->dtype, .grouped = s->grouped, .n_streams = s->n_streams };
        if (!plan->encoding) return HONE_NOMEM(err, "the plan");
        for (uint32_t k = 0; k < s->n_streams; k++)
            plan->at[k] = (hone_place){ file, s->offset[k],
                                        s->grouped.scheme ? hone_grouped_row_bits(&s->grouped, k, cols) : 8 * hone_row_bytes(s->dtype, cols) };
    }
    return HONE_OK;
}

/* ---- what the model says of itself ---- */

/* As optimum-intel and NNCF note it: hints for the runtime, and how the weights were compressed.  Keys and values end with NULL. */
static hone_code describe(const planner *p, const char **info, hone_err *err)
{
    const bool  decoder = p->m->facts.kind == HONE_KIND_DECODER, sym = p->opt->sym;
    size_t      n = 0;
    const char *group = p->quant->bits == 4 && p->group ? hone_arena_printf(p->a, "%u", p->group) : "-1", *ratio = "1.0";
    if (p->quant->bits == 4 && p->opt->ratio > 0 && p->opt->ratio < 1) ratio = hone_arena_printf(p->a, "%g", p->opt->ratio);
    if (!group || !ratio) return HONE_NOMEM(err, "the plan");
    const struct { bool say; const char *path, *value; } rows[] = {
        { true, "conversion_parameters/framework", "hone" },
        { decoder, "runtime_options/ACTIVATIONS_SCALE_FACTOR", "8.0" },
        { decoder && !p->quant->bits, "runtime_options/KV_CACHE_PRECISION", "f16" },
        { p->quant->bits, "nncf/friendly_names_were_updated", "True" },
        { p->quant->bits, "nncf/weight_compression/mode", p->quant->bits == 8 ? (sym ? "int8_sym" : "int8_asym") : sym ? "int4_sym" : "int4_asym" },
        { p->quant->bits, "nncf/weight_compression/ratio", ratio },
        { p->quant->bits, "nncf/weight_compression/group_size", group },
        { p->quant->bits, "nncf/weight_compression/all_layers", "False" },
        { p->quant->bits, "nncf/weight_compression/backup_mode", "int8_asym" },
        { p->quant->bits, "nncf/weight_compression/compression_format", "dequantize" },
        { p->quant->bits, "nncf/weight_compression/sensitivity_metric", "weight_quantization_error" },
        { p->quant->bits, "nncf/weight_compression/awq", "False" },
        { p->quant->bits, "nncf/weight_compression/scale_estimation", "False" },
        { p->quant->bits, "nncf/weight_compression/gptq", "False" },
        { p->quant->bits, "nncf/weight_compression/lora_correction", "False" },
    };
    for (size_t i = 0; i < HONE_COUNT(rows); i++)
        if (rows[i].say) {
            info[n++] = rows[i].path;
            info[n++] = rows[i].value;
        }
    info[n] = NULL;
    return HONE_OK;
}

/* ---- files ---- */

static hone_code add_document(planner *p, const char *name, json_t *doc, hone_err *err)
{
    char       *text = doc ? json_dumps(doc, JSON_INDENT(2)) : NULL;
    const char *kept = text ? hone_arena_printf(p->a, "%s\n", text) : NULL;
    json_decref(doc);
    free(text);
    if (!kept) return HONE_NOMEM(err, name);
    (void)hone_plan_bytes(p->o, name, (hone_bytes){ (const uint8_t *)kept, strlen(kept) });
    return HONE_OK;
}

/* openvino-genai takes the ends of a text from generation_config.json. */
static hone_code add_generation(planner *p, hone_err *err)
{
    const hone_tokenizer *t = &p->m->tokenizer;
    json_t               *doc = json_object();
    const struct { const char *key; int64_t id; } ids[] = { { "bos_token_id", t->bos }, { "eos_token_id", t->eos }, { "pad_token_id", t->pad } };
    bool good = doc != NULL;
    for (size_t i = 0; good && i < HONE_COUNT(ids); i++)
        if (ids[i].id >= 0) good = hone_json_put(doc, ids[i].key, json_integer((json_int_t)ids[i].id));
    if (good) return add_document(p, "generation_config.json", doc, err);
    json_decref(doc);
    return HONE_NOMEM(err, "generation_config.json");
}

static bool has_file(const planner *p, const char *name)
{
    for (size_t i = 0; i < p->o->n_files; i++)
        if (strcmp(p->o->files[i].name, name) == 0) return true;
    return false;
}

static hone_code add_tokenizer(planner *p, hone_err *err)
{
    hone_ov_tokenizer_files t;
    if (p->m->tokenizer.kind == HONE_TOK_NONE) return HONE_OK;
    HONE_TRY(hone_ov_tokenizer(&p->m->tokenizer, &p->m->facts, p->a, &t, err));
    if (t.no_chat)
        p->o->warning = "the chat template has control bytes, which the XML of OpenVINO cannot hold: openvino_tokenizer.xml has no chat template";
    (void)hone_plan_bytes(p->o, "openvino_tokenizer.xml", t.tokenizer_xml);
    (void)hone_plan_bytes(p->o, "openvino_tokenizer.bin", t.tokenizer_bin);
    (void)hone_plan_bytes(p->o, "openvino_detokenizer.xml", t.detokenizer_xml);
    (void)hone_plan_bytes(p->o, "openvino_detokenizer.bin", t.detokenizer_bin);
    return HONE_OK;
}

static hone_code plan_files(planner *p, hone_err *err)
{
    hone_output *o = p->o;
    o->files = HONE_ARENA_NEW(p->a, hone_planned_file, hone_ov_side_file_count + 10);
    if (!o->files) return HONE_NOMEM(err, "the plan");
    hone_plan_bytes(p->o, MODEL_BIN, p->model.bin)->total = p->model.bin_total;
    HONE_TRY(place(p, 0, err));
    HONE_TRY(add_tokenizer(p, err));
    HONE_TRY(hone_plan_sides(p->m, hone_ov_side_files, hone_ov_side_file_count, p->a, p->o, err));
    if (p->m->facts.kind == HONE_KIND_DECODER && !has_file(p, "generation_config.json")) HONE_TRY(add_generation(p, err));
    HONE_TRY(hone_plan_recipe(p->m, p->opt, p->a, p->o, err));
    /* Last: without it nothing takes the folder for a model. */
    (void)hone_plan_bytes(p->o, MODEL_XML, p->model.xml);
    for (size_t i = 0; i < o->n_files; i++) {
        o->files[i].out.fd = -1;
        o->total += o->files[i].total;
    }
    o->path = hone_arena_printf(p->a, "%s/%s-%s-openvino", p->opt->out_dir, p->opt->name, o->label);
    return o->path ? HONE_OK : HONE_NOMEM(err, "a path");
}

static hone_code check_options(planner *p, hone_err *err)
{
    hone_grouped four = four_bits(p);
    if (p->quant->bits == 4 && !hone_grouped_valid(&four))
        return HONE_FAIL(err, HONE_EUSAGE, "32, 64, 128 or row", "openvino has no groups of %u", p->group);
    if (p->opt->ratio < 0 || p->opt->ratio > 1)
        return HONE_FAIL(err, HONE_EUSAGE, "as in --ratio 0.8", "a ratio of %g is outside 0..1", p->opt->ratio);
    return HONE_OK;
}

static hone_code plan(const hone_model *m, const hone_convert_options *opt, const char *quant, const hone_output *like, hone_arena *a,
                      hone_output *o, hone_err *err)
{
    planner     p = { .m = m, .opt = opt, .quant = hone_ov_quant_find(quant), .a = a, .o = o };
    hone_graph  g;
    const char *info[64];
    (void)like;
    if (!p.quant) return HONE_FAIL(err, HONE_EUSAGE, "hone convert --help lists them", "openvino has no encoding '%.40s'", quant);
    p.group = opt->per_row ? 0 : opt->group ? opt->group : USUAL_GROUP;
    HONE_TRY(check_options(&p, err));
    o->quant = p.quant->name;
    o->label = opt->lines ? "plan" : o->quant;
    o->folder = true;
    o->fallback_reason = "their rows are no multiple of the group";
    HONE_TRY(hone_graph_build(m, a, &g, err));
    HONE_TRY(hone_ov_slots(&g, a, &p.slots, &p.n_slots, err));
    HONE_TRY(choose_all(&p, err));
    HONE_TRY(describe(&p, info, err));
    HONE_TRY(hone_ov_lower(&g, p.slots, p.n_slots, info, a, &p.model, err));
    return plan_files(&p, err);
}

/* ---- reading back ---- */

typedef struct expected { const char *type; uint64_t bytes; } expected;

static expected stream_of(const hone_planned *p, const hone_weight *w, uint32_t s)
{
    static const char *const codes[2][2] = { { "u8", "i8" }, { "u4", "i4" } };
    uint64_t                 rows = hone_weight_rows(w), cols = hone_weight_cols(w);
    if (!p->grouped.scheme) return (expected){ hone_dtype_name(p->dtype), rows * hone_row_bytes(p->dtype, cols) };
    return (expected){ s == HONE_STREAM_SCALES ? "f16" : codes[p->grouped.bits == 4][p->grouped.sym],
                       hone_grouped_bytes(&p->grouped, s, rows, cols) };
}

static hone_code check_weight(const hone_output *o, size_t i, const hone_ov_found *consts, size_t n, hone_arena *a, hone_err *err)
{
    static const char *const suffix[HONE_STREAMS] = { "", "/scale", "/zero_point" };
    const hone_planned      *p = &o->plan[i];
    for (uint32_t s = 0; s < p->n_streams; s++) {
        const char *name = hone_arena_printf(a, "%s%s", p->name, suffix[s]);
        if (!name) return HONE_NOMEM(err, "a name");
        const hone_ov_found *c = hone_ov_find_const(consts, n, name);
        expected             e = stream_of(p, &o->weights[i], s);
        if (!c || strcmp(c->type, e.type) != 0 || c->bytes != e.bytes || c->offset != p->at[s].offset ||
            c->offset + c->bytes > o->files[p->at[s].file].total)
            return HONE_FAIL(err, HONE_EBUG, "", "constant '%s' reads back differently from its plan", name);
    }
    return HONE_OK;
}

static hone_code read_xml(const char *folder, const char *name, hone_arena *a, hone_ov_found **out, size_t *n, hone_err *err)
{
    const char *path = hone_arena_printf(a, "%s/%s", folder, name);
    hone_bytes  xml;
    if (!path) return HONE_NOMEM(err, "a path");
    HONE_TRY(hone_file_slurp(path, (uint64_t)1 << 30, a, &xml, err));
    if (hone_ov_read_consts(xml, a, out, n, err) == HONE_OK) return HONE_OK;
    return hone_err_wrap(err, "'%s'", path);
}

static hone_code reread(const hone_output *o, const char *path, hone_err *err)
{
    static const char *const others[] = { "openvino_tokenizer.xml", "openvino_detokenizer.xml" };
    hone_arena     a = { 0 };
    hone_ov_found *consts = NULL, *ignored;
    size_t         n = 0, k;
    hone_code      code = read_xml(path, MODEL_XML, &a, &consts, &n, err);
    for (size_t i = 0; code == HONE_OK && i < o->n_weights; i++) code = check_weight(o, i, consts, n, &a, err);
    for (size_t i = 0; code == HONE_OK && i < o->n_files; i++)
        for (size_t x = 0; code == HONE_OK && x < HONE_COUNT(others); x++)
            if (strcmp(o->files[i].name, others[x]) == 0) code = read_xml(path, others[x], &a, &ignored, &k, err);
    hone_arena_release(&a);
    return code;
}

static const char *quant_name(size_t i) { return i < hone_ov_quant_count ? hone_ov_quants[i].name : NULL; }

const hone_format hone_format_openvino = {
    .name = "openvino", .consumer = "openvino", .words_by = "openvino_tokenizers", .quant = quant_name, .plain = { { "auto", "int4" } },
    .takes = HONE_TAKES_GROUP | HONE_TAKES_ROW | HONE_TAKES_SYM | HONE_TAKES_RATIO, .plan = plan, .reread = reread, .owns = hone_ov_owns,
};
