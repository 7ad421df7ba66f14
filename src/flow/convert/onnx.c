/* onnx.c - the plan of an ONNX folder: the model as operators, where each weight lies in its data file, what onnxruntime-genai reads, copies. */
#include "formats/onnx.h"
#include "base/text.h"
#include "flow/convert/choice.h"
#include <inttypes.h>
#include <stdlib.h>

#define USUAL_GROUP 32 /* block_size of onnxruntime-genai's builder */

typedef struct planner {
    const hone_model           *m;
    const hone_convert_options *opt;
    hone_onnx_options           lower;
    hone_arena                 *a;
    hone_output                *o;
    hone_onnx_model             model;
} planner;

static const char *encoding_name(const planner *p, const hone_onnx_stored *s)
{
    const hone_grouped *g = &s->grouped;
    if (g->scheme == HONE_SCHEME_NONE) return hone_dtype_name(s->dtype);
    return hone_arena_printf(p->a, "int%u %s g%u", g->bits, g->sym ? "sym" : "asym", g->group);
}

static hone_code plan_weights(planner *p, hone_err *err)
{
    hone_output *o = p->o;
    hone_weight *weights = HONE_ARENA_NEW(p->a, hone_weight, p->model.n_stored + 1);
    o->plan = HONE_ARENA_NEW(p->a, hone_planned, p->model.n_stored + 1);
    if (!weights || !o->plan) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < p->model.n_stored; i++) {
        const hone_onnx_stored *s = &p->model.stored[i];
        hone_planned           *x = &o->plan[i];
        weights[i] = s->w;
        *x = (hone_planned){ .name = s->name, .encoding = encoding_name(p, s), .dtype = s->dtype, .grouped = s->grouped, .n_streams = s->n_streams,
                             .step = s->step };
        if (!x->encoding) return HONE_NOMEM(err, "the plan");
        for (uint32_t k = 0; k < s->n_streams; k++)
            x->at[k] = (hone_place){ .file = 0, .offset = s->offset[k], .row_bits = s->row_bits[k] };
    }
    o->weights = weights;
    o->n_weights = p->model.n_stored;
    o->fallbacks = p->model.fallbacks;
    return HONE_OK;
}

/* Last: without it nothing takes the folder for a model of onnxruntime-genai. */
static hone_code add_genai(planner *p, hone_err *err)
{
    json_t   *config = NULL, *generation = NULL, *doc = NULL;
    hone_code code = hone_source_document(p->m, "config.json", &config, err);
    if (code == HONE_OK) code = hone_source_document(p->m, "generation_config.json", &generation, err);
    if (code == HONE_OK) code = hone_onnx_genai(p->m, &p->model, config, generation, &doc, err);
    char       *text = doc ? json_dumps(doc, JSON_INDENT(4)) : NULL;
    const char *kept = text ? hone_arena_printf(p->a, "%s\n", text) : NULL;
    if (code == HONE_OK && !kept) code = HONE_NOMEM(err, HONE_ONNX_GENAI);
    if (code == HONE_OK) (void)hone_plan_bytes(p->o, HONE_ONNX_GENAI, (hone_bytes){ (const uint8_t *)kept, strlen(kept) });
    free(text);
    json_decref(doc);
    json_decref(generation);
    json_decref(config);
    return code;
}

static hone_code plan_files(planner *p, hone_err *err)
{
    hone_output *o = p->o;
    o->files = HONE_ARENA_NEW(p->a, hone_planned_file, hone_onnx_side_file_count + 5);
    if (!o->files) return HONE_NOMEM(err, "the plan");
    hone_plan_bytes(p->o, HONE_ONNX_DATA, (hone_bytes){ 0 })->total = p->model.data_bytes;
    (void)hone_plan_bytes(p->o, HONE_ONNX_MODEL, p->model.topology);
    HONE_TRY(hone_plan_sides(p->m, hone_onnx_side_files, hone_onnx_side_file_count, p->a, p->o, err));
    HONE_TRY(hone_plan_recipe(p->m, p->opt, p->a, p->o, err));
    if (p->m->facts.kind == HONE_KIND_DECODER) HONE_TRY(add_genai(p, err));
    for (size_t i = 0; i < o->n_files; i++) {
        o->files[i].out.fd = -1;
        o->total += o->files[i].total;
    }
    o->path = hone_arena_printf(p->a, "%s/%s-%s-onnx%s", p->opt->out_dir, p->opt->name, o->label, p->lower.standard ? "-standard" : "");
    return o->path ? HONE_OK : HONE_NOMEM(err, "a path");
}

static hone_code as_planned(void *self, const hone_weight *w, bool *given, hone_grouped *out, hone_err *err)
{
    const planner *p = self;
    hone_usual     u = { .group = p->lower.group, .sym = p->lower.sym, .plain = p->lower.quant->dtype };
    hone_choice    c;
    bool           by_name;
    HONE_TRY(hone_choice_planned(p->opt->lines, p->m, &hone_format_onnx, w, &u, &c, given, &by_name, err));
    if (*given) *out = c.grouped;
    return HONE_OK;
}

static hone_code check_options(const planner *p, hone_err *err)
{
    hone_grouped g = { .scheme = HONE_SCHEME_ONNX, .bits = 4, .group = p->lower.group, .scale = HONE_DTYPE_F32, .sym = p->lower.sym };
    if (hone_grouped_valid(&g)) return HONE_OK;
    return HONE_FAIL(err, HONE_EUSAGE, "16, 32, 64, 128 or 256", "onnx has no groups of %u", p->lower.group);
}

static hone_code plan(const hone_model *m, const hone_convert_options *opt, const char *quant, const hone_output *like, hone_arena *a,
                      hone_output *o, hone_err *err)
{
    planner    p = { .m = m, .opt = opt, .a = a, .o = o };
    hone_graph g;
    (void)like;
    p.lower = (hone_onnx_options){ .quant = hone_onnx_quant_find(quant), .group = opt->group ? opt->group : USUAL_GROUP, .sym = opt->sym,
                                   .standard = opt->onnx_standard, .choose = opt->lines ? as_planned : NULL, .self = &p };
    if (!p.lower.quant && strcmp(quant, "bf16") == 0)
        return HONE_FAIL(err, HONE_EUSAGE, "take f16, or f32 for models made in bf16", "onnxruntime has no operators for bf16 on processors");
    if (!p.lower.quant) return HONE_FAIL(err, HONE_EUSAGE, "hone convert --help lists them", "onnx has no encoding '%.40s'", quant);
    HONE_TRY(check_options(&p, err));
    o->quant = p.lower.quant->name;
    o->label = opt->lines ? "plan" : o->quant;
    o->folder = true;
    o->fallback_reason = "their rows are no multiple of the group";
    HONE_TRY(hone_graph_build(m, a, &g, err));
    HONE_TRY(hone_onnx_lower(&g, &p.lower, a, &p.model, err));
    HONE_TRY(plan_weights(&p, err));
    return plan_files(&p, err);
}

/* ---- reading back ---- */

static int by_offset(const void *x, const void *y)
{
    const hone_onnx_tensor *a = x, *b = y;
    return a->offset != b->offset ? (a->offset < b->offset ? -1 : 1) : (a->length > b->length) - (a->length < b->length);
}

/* The tensors that begin at or before the offset, the last of them that reaches to end. */
static bool covered(const hone_onnx_file *f, uint64_t begin, uint64_t end)
{
    size_t lo = 0, hi = f->n_tensors;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (f->tensors[mid].offset <= begin) lo = mid + 1;
        else hi = mid;
    }
    /* Views of one region: the whole, or its parts one after another. */
    uint64_t reach = begin;
    for (size_t i = lo; i-- > 0 && reach < end;)
        if (f->tensors[i].location && f->tensors[i].offset + f->tensors[i].length > reach) reach = f->tensors[i].offset + f->tensors[i].length;
    for (size_t i = lo; i < f->n_tensors && reach < end && f->tensors[i].offset <= reach; i++)
        if (f->tensors[i].location && f->tensors[i].offset + f->tensors[i].length > reach) reach = f->tensors[i].offset + f->tensors[i].length;
    return reach >= end;
}

static hone_code check_tensors(const hone_output *o, hone_onnx_file *f, uint64_t data_bytes, hone_err *err)
{
    char shown[96];
    qsort(f->tensors, f->n_tensors, sizeof *f->tensors, by_offset);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const hone_onnx_tensor *t = &f->tensors[i];
        if (t->location && (strcmp(t->location, HONE_ONNX_DATA) != 0 || t->offset > data_bytes || t->length > data_bytes - t->offset))
            return HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' ends at byte %" PRIu64 ", '%s' has %" PRIu64,
                             hone_text_show(t->name, strlen(t->name), shown, sizeof shown), t->offset + t->length, HONE_ONNX_DATA, data_bytes);
    }
    for (size_t i = 0; i < o->n_weights; i++)
        for (uint32_t s = 0; s < o->plan[i].n_streams; s++) {
            const hone_place *at = &o->plan[i].at[s];
            uint64_t          rows = hone_weight_rows(&o->weights[i]), bits = (rows ? (rows - 1) * o->plan[i].step + 1 : 0) * at->row_bits;
            if (!covered(f, at->offset, at->offset + (bits + 7) / 8))
                return HONE_FAIL(err, HONE_EBUG, "", "no tensor covers the rows of '%s'", o->plan[i].name);
        }
    return HONE_OK;
}

static hone_code check_file(const hone_output *o, const char *path, hone_arena *a, hone_err *err)
{
    const char    *model = hone_arena_printf(a, "%s/%s", path, HONE_ONNX_MODEL), *data = hone_arena_printf(a, "%s/%s", path, HONE_ONNX_DATA);
    hone_bytes     bytes;
    hone_onnx_file f;
    hone_file      file = HONE_FILE_CLOSED;
    if (!model || !data) return HONE_NOMEM(err, "a path");
    HONE_TRY(hone_file_slurp(model, 1u << 30, a, &bytes, err));
    HONE_TRY(hone_onnx_read(bytes, a, &f, err));
    HONE_TRY(hone_file_open(data, &file, err));
    uint64_t size = file.size;
    hone_file_close(&file);
    return check_tensors(o, &f, size, err);
}

static hone_code reread(const hone_output *o, const char *path, hone_err *err)
{
    hone_arena a = { 0 };
    hone_code  code = check_file(o, path, &a, err);
    hone_arena_release(&a);
    return code;
}

static const char *quant_name(size_t i) { return i < hone_onnx_quant_count ? hone_onnx_quants[i].name : NULL; }

const hone_format hone_format_onnx = { .name = "onnx", .consumer = "onnxruntime", .words_by = "onnxruntime-genai", .quant = quant_name,
                                       .plain = { { "auto", "int4" } },
                                       .takes = HONE_TAKES_GROUP | HONE_TAKES_SYM | HONE_TAKES_OPS,
                                       .plan = plan, .reread = reread, .owns = hone_onnx_owns };
