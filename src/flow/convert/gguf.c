/* gguf.c - the plan of a GGUF file, or of the parts of one: names, types, places, headers. */
#include "arch/arch.h"
#include "flow/convert/choice.h"
#include "flow/convert/output.h"
#include "flow/convert/treatment.h"
#include "flow/recipe.h"
#include "formats/gguf.h"
#include "formats/gguf/meta.h"
#include "formats/gguf/names.h"
#include "passes/gguf_layout.h"
#include "passes/mix.h"
#include "quant/codec.h"
#include <fnmatch.h>
#include <inttypes.h>

/* --keep: the last pattern that matches a tensor's output name wins. */
static hone_code apply_keep(hone_output *o, const hone_keep *keep, size_t n_keep, hone_err *err)
{
    for (size_t k = 0; k < n_keep; k++) {
        size_t            hits = 0, fixed = 0;
        hone_dtype        t = HONE_DTYPE_COUNT;
        const hone_codec *codec = hone_dtype_from_name(keep[k].dtype, &t) ? hone_codec_find(t) : NULL;
        for (size_t i = 0; i < o->n_weights; i++) {
            if (fnmatch(keep[k].pattern, o->plan[i].name, 0) != 0) continue;
            if (!codec || !codec->encode_row || hone_dtype_get(t)->gguf_id < 0)
                return HONE_FAIL(err, HONE_EUSAGE, "as in f16, q8_0, q6_k", "gguf has no type '%s' that hone can write", keep[k].dtype);
            if (t != HONE_DTYPE_F32 && !hone_mix_may_quantize(&o->weights[i])) {
                fixed++;
                continue;
            }
            hits++;
            uint64_t cols = hone_weight_cols(&o->weights[i]);
            uint32_t block = hone_dtype_get(t)->block_elems;
            if (cols % block != 0)
                return HONE_FAIL(err, HONE_EUSAGE, "choose a type with a smaller block, as q8_0 or f16",
                                 "tensor '%s' has %" PRIu64 " columns, %s needs a multiple of %u", o->plan[i].name, cols, keep[k].dtype, block);
            o->plan[i].dtype = t;
        }
        if (hits == 0 && fixed)
            return HONE_FAIL(err, HONE_EUSAGE, "give them f32, or name matrices, as in 'blk.*.ffn_down.weight'",
                             "--keep '%s' matches %zu tensors that llama.cpp takes only as they are, none that could be %s", keep[k].pattern, fixed,
                             keep[k].dtype);
        *keep[k].hits += hits;
    }
    return HONE_OK;
}

/* Weights and names are the same for every encoding. */
static hone_code list_weights(const hone_model *m, const hone_output *like, hone_arena *a, hone_output *o, hone_err *err)
{
    hone_weight *weights = NULL;
    if (like) {
        o->weights = like->weights;
        o->n_weights = like->n_weights;
    } else {
        HONE_TRY(hone_gguf_rewrite(m, a, &weights, &o->n_weights, err));
        o->weights = weights;
    }
    o->plan = HONE_ARENA_NEW(a, hone_planned, o->n_weights + 1);
    if (!o->plan) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < o->n_weights; i++) {
        const hone_weight *w = &o->weights[i];
        char               name[64];
        if (like) o->plan[i].name = like->plan[i].name;
        else {
            HONE_TRY(hone_gguf_tensor_name(w->role, w->part, w->layer, name, sizeof name, err));
            o->plan[i].name = hone_arena_strdup(a, name);
        }
        if (!o->plan[i].name) return HONE_NOMEM(err, "the plan");
    }
    return HONE_OK;
}

/* What a plan leaves to the mix stays; what llama.cpp takes only as it is (a router, positions) is left alone, unless a line names it. */
static hone_code apply_plan(const hone_model *m, const hone_convert_options *opt, hone_output *o, hone_err *err)
{
    for (size_t i = 0; opt->lines && i < o->n_weights; i++) {
        const hone_weight *w = &o->weights[i];
        hone_choice        c;
        bool               given, by_name;
        hone_usual         u = { .plain = w->dtype == HONE_DTYPE_BF16 || w->dtype == HONE_DTYPE_F16 ? w->dtype : HONE_DTYPE_F32 };
        HONE_TRY(hone_choice_planned(opt->lines, m, &hone_format_gguf, w, &u, &c, &given, &by_name, err));
        if (!given || (!hone_mix_may_quantize(w) && !by_name)) continue;
        if (!hone_mix_may_quantize(w) && c.dtype != HONE_DTYPE_F32)
            return HONE_FAIL(err, HONE_EINPUT, "leave it out of the plan, or say gguf: f32", "the plan gives '%s' the type %s, and llama.cpp takes it as f32 only",
                             o->plan[i].name, hone_dtype_name(c.dtype));
        o->plan[i].dtype = c.dtype;
    }
    return HONE_OK;
}

/* general.file_type: of a plan, the first mix that rests on the type that most numbers have. */
static const hone_mix *told_mix(const hone_output *o, const hone_mix *asked, const hone_convert_options *opt)
{
    uint64_t   elems[HONE_DTYPE_COUNT] = { 0 };
    hone_dtype most = HONE_DTYPE_F32;
    if (!opt->lines) return asked;
    for (size_t i = 0; i < o->n_weights; i++) elems[o->plan[i].dtype] += hone_weight_elems(&o->weights[i]);
    for (size_t t = 0; t < HONE_DTYPE_COUNT; t++)
        if (elems[t] > elems[most]) most = (hone_dtype)t;
    for (size_t i = 0; i < hone_mix_count; i++)
        if (hone_mix_list[i].base == most) return &hone_mix_list[i];
    return asked;
}

static hone_code choose_types(const hone_model *m, const hone_mix *mix, const hone_convert_options *opt, hone_arena *a, hone_output *o, hone_err *err)
{
    const hone_weight **order = HONE_ARENA_NEW(a, const hone_weight *, o->n_weights + 1);
    hone_dtype         *types = HONE_ARENA_NEW(a, hone_dtype, o->n_weights + 1);
    if (!order || !types) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < o->n_weights; i++) order[i] = &o->weights[i];
    HONE_TRY(hone_mix_assign(mix, &m->facts, order, o->n_weights, hone_method_weighs(opt), types, &o->fallbacks, err));
    for (size_t i = 0; i < o->n_weights; i++) o->plan[i].dtype = types[i];
    HONE_TRY(apply_plan(m, opt, o, err));
    HONE_TRY(apply_keep(o, opt->keep, opt->n_keep, err));
    for (size_t i = 0; i < o->n_weights; i++) {
        o->plan[i].encoding = hone_dtype_name(o->plan[i].dtype);
        if (!hone_method_weighs(opt) && hone_treat_by_codec(HONE_METHOD_GPTQ, &(hone_encoding){ .dtype = o->plan[i].dtype })) /* points of a grid */
            o->warning = "iq2_* and iq3_* have few codes, and nothing says which columns matter: --calibration FILE (or --imatrix FILE) makes them better";
    }
    return HONE_OK;
}

/* ---- files ---- */

static hone_code put_metadata(hone_gguf_writer *w, const hone_model *m, const hone_mix *mix, const hone_convert_options *opt, const hone_output *o, hone_arena *a,
                              hone_err *err)
{
    hone_bytes recipe;
    HONE_TRY(hone_gguf_put_general(w, m, m->arch->gguf.name, told_mix(o, mix, opt)->file_type, err));
    HONE_TRY(hone_recipe_text(m, opt, &hone_format_gguf, mix->name, true, a, &recipe, err));
    HONE_TRY(hone_gguf_put_strn(w, HONE_RECIPE_KEY, (const char *)recipe.ptr, recipe.len, err));
    HONE_TRY(hone_gguf_put_facts(w, &m->facts, m->arch->gguf.name, err));
    return hone_gguf_put_tokenizer(w, &m->tokenizer, m->facts.vocab, err);
}

/* With the types that llama.cpp's tools/gguf-split gives them. */
static hone_code put_split_keys(hone_gguf_writer *w, size_t no, size_t count, size_t n_tensors, hone_err *err)
{
    HONE_TRY(hone_gguf_put_u16(w, "split.no", (uint16_t)no, err));
    HONE_TRY(hone_gguf_put_u16(w, "split.count", (uint16_t)count, err));
    return hone_gguf_put_i32(w, "split.tensors.count", (int32_t)n_tensors, err);
}

/* Weights [from, to) become file no of count; count 1: the file is whole. */
static hone_code plan_file(const hone_model *m, const hone_mix *mix, const hone_convert_options *opt, hone_output *o, size_t no, size_t count, size_t from,
                           size_t to, hone_arena *a, hone_err *err)
{
    hone_planned_file *f = &o->files[no];
    hone_gguf_writer  *w;
    uint64_t          *offsets = HONE_ARENA_NEW(a, uint64_t, to - from + 1);
    if (!offsets) return HONE_NOMEM(err, "the plan");
    HONE_TRY(hone_gguf_writer_new(a, &w, err));
    if (no == 0) HONE_TRY(put_metadata(w, m, mix, opt, o, a, err));
    if (count > 1) HONE_TRY(put_split_keys(w, no, count, o->n_weights, err));
    for (size_t i = from; i < to; i++)
        HONE_TRY(hone_gguf_put_tensor(w, o->plan[i].name, o->plan[i].dtype, o->weights[i].n_dims, o->weights[i].dims, err));
    HONE_TRY(hone_gguf_layout(w, offsets, &f->total, &f->head, err));
    for (size_t i = from; i < to; i++) {
        hone_planned *p = &o->plan[i];
        p->n_streams = 1;
        p->at[0] = (hone_place){ .file = (uint32_t)no, .offset = offsets[i - from],
                                 .row_bits = 8 * hone_row_bytes(p->dtype, hone_weight_cols(&o->weights[i])) };
    }
    o->total += f->total;
    return HONE_OK;
}

#define MAX_PARTS 999u /* our reader and five digits hold more; who wants more has asked for the wrong size */
#define ALIGN     32u  /* of data in GGUF */
typedef struct parts { size_t n, end[MAX_PARTS]; } parts; /* part i ends before weight end[i] */

/* Where to cut so that no file is longer than limit: a file is its keys, 24 bytes and name and dimensions for each tensor, and their data. */
static hone_code cut(const hone_model *m, const hone_mix *mix, const hone_convert_options *opt, const hone_output *o, hone_arena *a, parts *out, hone_err *err)
{
    const uint64_t    bare = 24 + 3 * 40 /* split keys */ + ALIGN, limit = opt->split_bytes;
    uint64_t          used;
    hone_bytes        head;
    hone_gguf_writer *w;
    HONE_TRY(hone_gguf_writer_new(a, &w, err));
    HONE_TRY(put_metadata(w, m, mix, opt, o, a, err));
    HONE_TRY(hone_gguf_layout(w, NULL, &used, &head, err));
    used += bare;
    if (used > limit)
        return HONE_FAIL(err, HONE_EUSAGE, "allow longer files", "the metadata of the model needs a file of %" PRIu64 " bytes, --split-bytes is %" PRIu64,
                         used, limit);
    out->n = 1;
    for (size_t i = 0; i < o->n_weights; i++) {
        const hone_weight *x = &o->weights[i];
        uint64_t           data = hone_weight_rows(x) * hone_row_bytes(o->plan[i].dtype, hone_weight_cols(x));
        uint64_t           need = 24 + strlen(o->plan[i].name) + 8 * (uint64_t)x->n_dims + (data + ALIGN - 1) / ALIGN * ALIGN;
        if (need > limit - bare)
            return HONE_FAIL(err, HONE_EUSAGE, "allow longer files, or give it a smaller type with --keep",
                             "tensor '%s' alone needs a file of %" PRIu64 " bytes, --split-bytes is %" PRIu64, o->plan[i].name, need + bare, limit);
        if (need > limit - used) {
            if (out->n == MAX_PARTS)
                return HONE_FAIL(err, HONE_EUSAGE, "allow longer files", "with --split-bytes %" PRIu64 " there would be more than %u files", limit, MAX_PARTS);
            out->end[out->n++] = i;
            used = bare;
        }
        used += need;
        out->end[out->n - 1] = i + 1;
    }
    return HONE_OK;
}

static hone_code plan_parts(const hone_model *m, const hone_mix *mix, const hone_convert_options *opt, hone_output *o, const parts *p, hone_arena *a,
                            hone_err *err)
{
    o->folder = true;
    o->path = hone_arena_printf(a, "%s/%s-%s-gguf", opt->out_dir, opt->name, o->label);
    for (size_t i = 0, from = 0; i < p->n; from = p->end[i++]) {
        /* llama.cpp finds the parts by these names (llama_split_path). */
        o->files[i].name = hone_arena_printf(a, "%s-%s-%05zu-of-%05zu.gguf", opt->name, o->label, i + 1, p->n);
        if (!o->files[i].name) return HONE_NOMEM(err, "a path");
        HONE_TRY(plan_file(m, mix, opt, o, i, p->n, from, p->end[i], a, err));
    }
    o->opened = o->path ? hone_arena_printf(a, "%s/%s", o->path, o->files[0].name) : NULL;
    return o->opened ? HONE_OK : HONE_NOMEM(err, "a path");
}

static hone_code plan(const hone_model *m, const hone_convert_options *opt, const char *quant, const hone_output *like, hone_arena *a,
                      hone_output *o, hone_err *err)
{
    const hone_mix *mix = hone_mix_find(quant);
    parts           p = { .n = 1 };
    if (!mix) return HONE_FAIL(err, HONE_EUSAGE, "hone convert --help lists them", "gguf has no encoding '%.40s'", quant);
    o->quant = mix->name;
    o->label = opt->lines ? "plan" : mix->name;
    o->fallback_reason = "their rows are no multiple of the block";
    HONE_TRY(list_weights(m, like, a, o, err));
    HONE_TRY(choose_types(m, mix, opt, a, o, err));
    if (opt->split_bytes) HONE_TRY(cut(m, mix, opt, o, a, &p, err));
    o->files = HONE_ARENA_NEW(a, hone_planned_file, p.n);
    if (!o->files) return HONE_NOMEM(err, "the plan");
    o->n_files = p.n;
    for (size_t i = 0; i < p.n; i++) o->files[i].out.fd = -1;
    if (p.n > 1) return plan_parts(m, mix, opt, o, &p, a, err);
    o->path = hone_arena_printf(a, "%s/%s-%s.gguf", opt->out_dir, opt->name, o->label);
    hone_convert_options whole = *opt;
    whole.split_bytes = 0; /* what fits is the same file as without the option */
    return o->path ? plan_file(m, mix, &whole, o, 0, 1, 0, o->n_weights, a, err) : HONE_NOMEM(err, "a path");
}

static hone_code reread(const hone_output *o, const char *path, hone_err *err)
{
    hone_arena  a = { 0 };
    hone_gguf   g;
    const char *file = o->folder ? hone_arena_printf(&a, "%s/%s", path, o->files[0].name) : path;
    hone_code   code = file ? hone_gguf_open(file, &a, &g, err) : HONE_NOMEM(err, "a path");
    if (code != HONE_OK) {
        hone_arena_release(&a);
        return code;
    }
    if (g.source->n_tensors != o->n_weights || g.source->n_files != o->n_files)
        code = HONE_FAIL(err, HONE_EBUG, "", "'%s' holds %zu tensors in %zu files, planned were %zu in %zu", path, g.source->n_tensors, g.source->n_files,
                         o->n_weights, o->n_files);
    for (size_t i = 0; code == HONE_OK && i < o->n_weights; i++) {
        const hone_weight  *w = &o->weights[i];
        const hone_planned *p = &o->plan[i];
        const hone_tensor  *t = hone_source_find(g.source, p->name);
        bool                same = t && t->dtype == p->dtype && t->n_dims == w->n_dims && t->file == p->at[0].file && t->offset == p->at[0].offset;
        for (uint32_t d = 0; same && d < w->n_dims; d++) same = t->dims[d] == w->dims[d];
        if (!same) code = HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' of '%s' reads back differently from its plan", p->name, path);
    }
    g.source->close(g.source);
    hone_arena_release(&a);
    return code;
}

/* A folder of ours holds parts and nothing else. */
static bool owns(const char *file) { return fnmatch("*-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9].gguf", file, 0) == 0; }

static const char *quant_name(size_t i) { return i < hone_mix_count ? hone_mix_list[i].name : NULL; }

const hone_format hone_format_gguf = {
    .name = "gguf", .consumer = "llama.cpp", .quant = quant_name, .plain = { { "auto", "q4_k_m" }, { "int4", "q4_k_m" }, { "int8", "q8_0" } },
    .takes = HONE_TAKES_KEEP | HONE_TAKES_SPLIT, .plan = plan, .reread = reread, .owns = owns,
};
