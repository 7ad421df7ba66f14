#include "flow/assess/fit.h"
#include "arch/arch.h"
#include "flow/convert/output.h"
#include "flow/recipe.h"
#include "formats/gguf.h"
#include "formats/gguf/meta.h"
#include "formats/gguf/names.h"
#include "passes/gguf_layout.h"
#include "quant/codec.h"
#include <stdio.h>
#include <string.h>

/* llama.cpp src/llama-context.cpp: the context is padded to 256 tokens; hone's plug-in evaluates batches of at most 512. */
enum { CONTEXT_PAD = 256, BATCH = 512, GGUF_ALIGN = 32 };

static uint64_t row_bytes(hone_dtype t, uint64_t cols)
{
    const hone_dtype_info *i = hone_dtype_get(t);
    return cols / i->block_elems * i->block_bytes;
}

static bool by_expert(hone_role r) { return r == HONE_R_FFN_GATE_EXPS || r == HONE_R_FFN_UP_EXPS || r == HONE_R_FFN_DOWN_EXPS; }
static bool by_row(hone_role r) { return r == HONE_R_TOK_EMBD || r == HONE_R_POS_EMBD || r == HONE_R_TOKEN_TYPES; }

/* The part of n (bytes or elements of w) that one token needs.  The embedding table is read whole when it is the head as well. */
static uint64_t per_token(const hone_facts *f, const hone_weight *w, uint64_t n, bool embd_is_head)
{
    if (by_expert(w->role) && f->n_experts) return n / f->n_experts * f->n_experts_used;
    if (w->role == HONE_R_TOK_EMBD && embd_is_head) return n;
    if (by_row(w->role) && hone_weight_rows(w)) return n / hone_weight_rows(w);
    return n;
}

static void count(const hone_model *m, hone_counts *out)
{
    *out = (hone_counts){ 0 };
    bool embd_is_head = m->facts.kind == HONE_KIND_DECODER && m->facts.tied;
    for (size_t i = 0; i < m->n_weights; i++) {
        if (m->weights[i].values) continue; /* computed from config.json: no parameter */
        uint64_t n = hone_weight_elems(&m->weights[i]);
        out->parameters += n;
        out->parameters_active += per_token(&m->facts, &m->weights[i], n, embd_is_head);
    }
}

static uint64_t kv_of(const hone_facts *f, uint64_t tokens) { return tokens * f->n_kv_heads * f->head_dim * 2 /* K, V */ * 2 /* f16 */; }

/* Buffers of the largest step of a graph over one batch, in floats a token: the logits beside two hidden states, or a layer's feed-forward
 * (gate, up, their product) beside the hidden state and the queries; and the f16 attention mask.  Fitted on, and within a fifth of, what
 * llama.cpp reports for the small test models of seven families at contexts of 256 and 512. */
static uint64_t compute_of(const hone_facts *f, uint64_t batch, uint64_t context)
{
    uint64_t ffn = f->n_experts ? (uint64_t)f->expert_ffn * f->n_experts_used : f->ffn;
    uint64_t head = f->kind == HONE_KIND_DECODER ? (uint64_t)f->vocab + 2 * (uint64_t)f->hidden : 0;
    uint64_t layer = (f->ffn_gated ? 3 : 2) * ffn + f->hidden + (uint64_t)f->n_heads * f->head_dim;
    return batch * (4 * (head > layer ? head : layer) + 2 * context);
}

static void measure_cache(const hone_facts *f, hone_fit_inputs *in)
{
    uint64_t c = (in->context + (uint64_t)CONTEXT_PAD - 1) / CONTEXT_PAD * CONTEXT_PAD;
    in->context_padded = (uint32_t)c;
    in->batch = c < BATCH ? (uint32_t)c : BATCH;
    in->compute_bytes = compute_of(f, in->batch, c);
    if (f->kind != HONE_KIND_DECODER) return; /* an encoder keeps nothing */
    for (uint32_t i = 0; i < f->n_layers; i++) {
        bool windowed = f->window && (!f->windowed || f->windowed[i]);
        /* llama.cpp src/llama-kv-cache-iswa.cpp: a window's cache holds the window and one batch, padded. */
        uint64_t some = ((uint64_t)f->window + in->batch + CONTEXT_PAD - 1) / CONTEXT_PAD * CONTEXT_PAD;
        in->kv_bytes += kv_of(f, c);
        in->kv_windowed_bytes += kv_of(f, windowed && some < c ? some : c);
    }
}

typedef struct plan {
    hone_weight        *weights; /* as GGUF tensors */
    const hone_weight **order;
    size_t              n;
    hone_dtype         *types;
    uint64_t            elems;
    bool                embd_is_head;
} plan;

/* Everything before the first tensor, as flow/convert/gguf.c puts it; values of fixed width do not matter. */
static hone_code put_head(const hone_model *m, const plan *p, const hone_mix *mix, hone_arena *a, uint64_t *out, hone_err *err)
{
    hone_convert_options usual = { .name = m->facts.name };
    hone_gguf_writer    *w;
    hone_bytes           head, recipe;
    uint64_t             total, *offsets = HONE_ARENA_NEW(a, uint64_t, p->n + 1);
    char                 name[HONE_GGUF_NAME];
    if (!offsets) return HONE_NOMEM(err, "the plan");
    HONE_TRY(hone_gguf_writer_new(a, &w, err));
    HONE_TRY(hone_gguf_put_general(w, m, m->arch->gguf.name, 0, err));
    HONE_TRY(hone_recipe_text(m, &usual, &hone_format_gguf, mix->name, true, a, &recipe, err));
    HONE_TRY(hone_gguf_put_strn(w, HONE_RECIPE_KEY, (const char *)recipe.ptr, recipe.len, err));
    HONE_TRY(hone_gguf_put_facts(w, &m->facts, m->arch->gguf.name, err));
    HONE_TRY(hone_gguf_put_tokenizer(w, &m->tokenizer, m->facts.vocab, err));
    for (size_t i = 0; i < p->n; i++) {
        HONE_TRY(hone_gguf_tensor_name(p->weights[i].role, p->weights[i].part, p->weights[i].layer, name, sizeof name, err));
        HONE_TRY(hone_gguf_put_tensor(w, name, HONE_DTYPE_F32, p->weights[i].n_dims, p->weights[i].dims, err));
    }
    HONE_TRY(hone_gguf_layout(w, offsets, &total, &head, err));
    *out = head.len;
    return HONE_OK;
}

/* Its bytes; a vocabulary takes megabytes, so nothing of it stays. */
static hone_code head_of(const hone_model *m, const plan *p, const hone_mix *mix, uint64_t *out, hone_err *err)
{
    hone_arena a = { 0 };
    hone_code  code = put_head(m, p, mix, &a, out, err);
    hone_arena_release(&a);
    return code;
}

static int within(uint64_t need, uint64_t have) { return have == 0 ? -1 : need <= have; }

static bool can_encode(const hone_fit *f, const hone_dtype *types, size_t n, char *why, size_t cap)
{
    for (size_t i = 0; i < n; i++) {
        const hone_codec *c = hone_codec_find(types[i]);
        if (c && c->encode_row) continue;
        (void)snprintf(why, cap, "hone cannot encode %s, which %s uses", hone_dtype_name(types[i]), f->mix->name);
        return false;
    }
    return true;
}

static hone_code fit_one(const hone_model *m, const plan *p, const hone_fit_inputs *in, hone_fit *f, hone_err *err)
{
    hone_err  why = { 0 };
    hone_code code = hone_mix_assign(f->mix, &m->facts, p->order, p->n, false, p->types, &f->fallbacks, &why);
    if (code == HONE_EUNSUPPORTED) { /* an importance matrix is needed */
        (void)snprintf(f->why, sizeof f->why, "%s", why.cause);
        return HONE_OK;
    }
    if (code != HONE_OK) {
        if (err) *err = why;
        return code;
    }
    if (!can_encode(f, p->types, p->n, f->why, sizeof f->why)) return HONE_OK;
    HONE_TRY(head_of(m, p, f->mix, &f->file_bytes, err));
    for (size_t i = 0; i < p->n; i++) {
        const hone_weight *w = &p->weights[i];
        uint64_t           bytes = hone_weight_rows(w) * row_bytes(p->types[i], hone_weight_cols(w)), aligned = bytes;
        f->weights_bytes += bytes;
        f->touched_bytes += per_token(&m->facts, w, bytes, p->embd_is_head);
        f->n_matrices += w->n_dims > 1;
        if (!hone_size_align(bytes, GGUF_ALIGN, &aligned)) return HONE_FAIL(err, HONE_EINPUT, "", "a tensor has %llu bytes", (unsigned long long)bytes);
        f->file_bytes += aligned;
    }
    f->ok = true;
    f->bpw = p->elems ? 8.0 * (double)f->weights_bytes / (double)p->elems : 0;
    f->kv_bytes = in->kv_bytes;
    f->compute_bytes = in->compute_bytes;
    f->ram_bytes = f->weights_bytes + f->kv_bytes + f->compute_bytes;
    f->fits = within(f->ram_bytes, in->ram_bytes);
    f->fits_storage = within(f->file_bytes, in->storage_bytes);
    f->fits_package = within(f->file_bytes, in->package_bytes);
    if (in->gb_s > 0 && m->facts.kind == HONE_KIND_DECODER) {
        double bytes = (double)f->touched_bytes + (double)f->kv_bytes / 2;
        f->decode_tok_s = 1 / (bytes / (in->gb_s * 1e9) + (double)m->facts.n_layers * in->layer_overhead_us * 1e-6);
    }
    return HONE_OK;
}

hone_code hone_fit_all(const hone_model *m, hone_arena *a, hone_fit_inputs *in, hone_fit **out, size_t *n, hone_err *err)
{
    plan      p = { 0 };
    uint64_t  any;
    hone_err  why = { 0 };
    hone_fit *fits = HONE_ARENA_NEW(a, hone_fit, hone_mix_count);
    if (!fits) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < hone_mix_count; i++) fits[i].mix = &hone_mix_list[i];
    count(m, &in->counts);
    measure_cache(&m->facts, in);
    *out = fits;
    *n = hone_mix_count;
    /* What hone_gguf_can says of the facts, and then whether the file can hold names and tokenizer. */
    hone_code code = hone_gguf_rewrite(m, a, &p.weights, &p.n, &why);
    if (code == HONE_OK) code = head_of(m, &p, &hone_mix_list[0], &any, &why);
    if (code == HONE_EUNSUPPORTED) {
        for (size_t i = 0; i < hone_mix_count; i++) (void)snprintf(fits[i].why, sizeof fits[i].why, "%s", why.cause);
        return HONE_OK;
    }
    if (code != HONE_OK) {
        if (err) *err = why;
        return code;
    }
    p.order = HONE_ARENA_NEW(a, const hone_weight *, p.n + 1);
    p.types = HONE_ARENA_NEW(a, hone_dtype, p.n + 1);
    if (!p.order || !p.types) return HONE_NOMEM(err, "the plan");
    p.embd_is_head = m->facts.kind == HONE_KIND_DECODER;
    for (size_t i = 0; i < p.n; i++) {
        p.order[i] = &p.weights[i];
        p.elems += hone_weight_elems(&p.weights[i]);
        if (p.weights[i].role == HONE_R_OUTPUT) p.embd_is_head = false;
    }
    for (size_t i = 0; i < hone_mix_count; i++) HONE_TRY(fit_one(m, &p, in, &fits[i], err));
    return HONE_OK;
}
