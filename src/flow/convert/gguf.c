/* gguf.c - the plan of a GGUF file: names, types, places, header. */
#include "arch/arch.h"
#include "flow/convert/output.h"
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
        size_t     hits = 0, fixed = 0;
        hone_dtype t;
        if (!hone_dtype_from_name(keep[k].dtype, &t)) return HONE_FAIL(err, HONE_EUSAGE, "", "there is no type '%s'", keep[k].dtype);
        const hone_codec *codec = hone_codec_find(t);
        if (!codec || !codec->encode_row || hone_dtype_get(t)->gguf_id < 0)
            return HONE_FAIL(err, HONE_EUSAGE, "as in f16, q8_0, q6_k", "hone cannot write '%s' tensors", keep[k].dtype);
        for (size_t i = 0; i < o->n_weights; i++) {
            if (fnmatch(keep[k].pattern, o->plan[i].name, 0) != 0) continue;
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
        if (hits == 0)
            return HONE_FAIL(err, HONE_EUSAGE, "--dry-run --json lists the tensor names", "--keep '%s' matches no tensor", keep[k].pattern);
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

static hone_code choose_types(const hone_model *m, const hone_mix *mix, const hone_convert_options *opt, hone_arena *a, hone_output *o, hone_err *err)
{
    const hone_weight **order = HONE_ARENA_NEW(a, const hone_weight *, o->n_weights + 1);
    hone_dtype         *types = HONE_ARENA_NEW(a, hone_dtype, o->n_weights + 1);
    if (!order || !types) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < o->n_weights; i++) order[i] = &o->weights[i];
    HONE_TRY(hone_mix_assign(mix, &m->facts, order, o->n_weights, false, types, &o->fallbacks, err));
    for (size_t i = 0; i < o->n_weights; i++) o->plan[i].dtype = types[i];
    HONE_TRY(apply_keep(o, opt->keep, opt->n_keep, err));
    for (size_t i = 0; i < o->n_weights; i++) o->plan[i].encoding = hone_dtype_name(o->plan[i].dtype);
    return HONE_OK;
}

static hone_code plan(const hone_model *m, const hone_convert_options *opt, const char *quant, const hone_output *like, hone_arena *a,
                      hone_output *o, hone_err *err)
{
    const char       *arch = m->arch->gguf.name;
    hone_gguf_writer *w;
    const hone_mix   *mix = hone_mix_find(quant);
    if (!mix) return HONE_FAIL(err, HONE_EUSAGE, "hone convert --help lists them", "gguf has no encoding '%.40s'", quant);
    o->quant = mix->name;
    o->fallback_reason = "their rows are no multiple of the block";
    HONE_TRY(list_weights(m, like, a, o, err));
    HONE_TRY(choose_types(m, mix, opt, a, o, err));
    uint64_t *offsets = HONE_ARENA_NEW(a, uint64_t, o->n_weights + 1);
    o->files = HONE_ARENA_NEW(a, hone_planned_file, 1);
    if (!offsets || !o->files) return HONE_NOMEM(err, "the plan");
    o->n_files = 1;
    o->files->out.fd = -1;
    HONE_TRY(hone_gguf_writer_new(a, &w, err));
    HONE_TRY(hone_gguf_put_general(w, m, arch, mix->file_type, err));
    HONE_TRY(hone_gguf_put_facts(w, &m->facts, arch, err));
    HONE_TRY(hone_gguf_put_tokenizer(w, &m->tokenizer, m->facts.vocab, err));
    for (size_t i = 0; i < o->n_weights; i++)
        HONE_TRY(hone_gguf_put_tensor(w, o->plan[i].name, o->plan[i].dtype, o->weights[i].n_dims, o->weights[i].dims, err));
    HONE_TRY(hone_gguf_layout(w, offsets, &o->total, &o->files->head, err));
    o->files->total = o->total;
    for (size_t i = 0; i < o->n_weights; i++) {
        hone_planned *p = &o->plan[i];
        p->n_streams = 1;
        p->at[0] = (hone_place){ .offset = offsets[i], .stride = hone_row_bytes(p->dtype, hone_weight_cols(&o->weights[i])) };
    }
    o->path = hone_arena_printf(a, "%s/%s-%s.gguf", opt->out_dir, opt->name, quant);
    return o->path ? HONE_OK : HONE_NOMEM(err, "a path");
}

static hone_code reread(const hone_output *o, const char *path, hone_err *err)
{
    hone_arena a = { 0 };
    hone_gguf  g;
    hone_code  code = hone_gguf_open(path, &a, &g, err);
    if (code != HONE_OK) {
        hone_arena_release(&a);
        return code;
    }
    if (g.source->n_tensors != o->n_weights)
        code = HONE_FAIL(err, HONE_EBUG, "", "'%s' holds %zu tensors, planned were %zu", path, g.source->n_tensors, o->n_weights);
    for (size_t i = 0; code == HONE_OK && i < o->n_weights; i++) {
        const hone_weight  *w = &o->weights[i];
        const hone_planned *p = &o->plan[i];
        const hone_tensor  *t = hone_source_find(g.source, p->name);
        bool                same = t && t->dtype == p->dtype && t->n_dims == w->n_dims && t->offset == p->at[0].offset;
        for (uint32_t d = 0; same && d < w->n_dims; d++) same = t->dims[d] == w->dims[d];
        if (!same) code = HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' of '%s' reads back differently from its plan", p->name, path);
    }
    g.source->close(g.source);
    hone_arena_release(&a);
    return code;
}

const hone_format hone_format_gguf = { .name = "gguf", .consumer = "llama.cpp", .plan = plan, .reread = reread };
