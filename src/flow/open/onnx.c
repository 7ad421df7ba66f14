/* onnx.c - a folder that `hone convert --to onnx` wrote as a source: its initializers have the names of the graph's operators (ir/graph). */
#include "arch/arch.h"
#include "base/file.h"
#include "flow/open/sources.h"
#include "formats/onnx/source.h"
#include "passes/gguf_layout.h"
#include <stdlib.h>

/* "%": the layer.  Encoders have their norms behind, so "attn.norm" is another role there. */
static const struct { hone_role role; const char *name; } names[] = {
    { HONE_R_TOK_EMBD, "embed" },
    { HONE_R_POS_EMBD, "embed.positions" },
    { HONE_R_TOKEN_TYPES, "embed.types" },
    { HONE_R_TOK_EMBD_NORM, "embed.norm" },
    { HONE_R_OUTPUT_NORM, "norm" },
    { HONE_R_OUTPUT, "logits" },
    { HONE_R_ATTN_NORM, "attn.norm" },
    { HONE_R_ATTN_Q, "attn.q" },
    { HONE_R_ATTN_K, "attn.k" },
    { HONE_R_ATTN_V, "attn.v" },
    { HONE_R_ATTN_QKV, "attn.qkv" },
    { HONE_R_ATTN_OUT, "attn.out" },
    { HONE_R_ATTN_Q_NORM, "attn.q_norm" },
    { HONE_R_ATTN_K_NORM, "attn.k_norm" },
    { HONE_R_ATTN_POST_NORM, "attn.post_norm" },
    { HONE_R_ATTN_OUT_NORM, "attn.norm" },
    { HONE_R_FFN_NORM, "ffn.norm" },
    { HONE_R_FFN_POST_NORM, "ffn.post_norm" },
    { HONE_R_LAYER_OUT_NORM, "residual" },
    { HONE_R_FFN_GATE, "ffn.gate" },
    { HONE_R_FFN_UP, "ffn.up" },
    { HONE_R_FFN_GATE_UP, "ffn.gate_up" },
    { HONE_R_FFN_DOWN, "ffn.down" },
    { HONE_R_FFN_ROUTER, "ffn.experts.router" },
    { HONE_R_FFN_GATE_EXPS, "ffn.experts.gate_up" }, /* row by row: gate, up, gate, up */
    { HONE_R_FFN_UP_EXPS, "ffn.experts.gate_up" },
    { HONE_R_FFN_DOWN_EXPS, "ffn.experts.down" },
};

typedef struct opener {
    const hone_arch      *arch;
    const hone_facts     *f;
    const hone_onnx_file *file;
    hone_arena           *a;
    hone_onnx_piece      *pieces;
    size_t                n, room;
} opener;

static bool has_rule(const hone_arch *a, hone_role role, hone_part part)
{
    for (size_t i = 0; i < a->n_rules; i++)
        if (a->rules[i].role == role && a->rules[i].part == part) return true;
    return false;
}

static uint64_t cols_of(const hone_facts *f, hone_role role)
{
    switch (role) {
    case HONE_R_ATTN_OUT: return (uint64_t)f->n_heads * f->head_dim;
    case HONE_R_FFN_DOWN: return f->ffn;
    case HONE_R_FFN_DOWN_EXPS: return f->expert_ffn;
    default: return f->hidden;
    }
}

static const char *initializer(const opener *o, const char *name, hone_role role, hone_part part, int32_t layer)
{
    bool        expert = role == HONE_R_FFN_ROUTER || role == HONE_R_FFN_GATE_EXPS || role == HONE_R_FFN_UP_EXPS || role == HONE_R_FFN_DOWN_EXPS;
    const char *tail = part == HONE_PART_BIAS ? ".bias" : expert ? "" : ".weight";
    return layer < 0 ? hone_arena_printf(o->a, "%s%s", name, tail) : hone_arena_printf(o->a, "layers.%d.%s%s", (int)layer, name, tail);
}

/* The name of a tensor of the source. */
static const char *key_of(hone_arena *a, hone_role role, hone_part part, int32_t layer)
{
    return hone_arena_printf(a, "%s.%d.%d", hone_role_name(role), (int)layer, (int)part);
}

/* Where a weight lies that is not an initializer of its own. */
static void place(const opener *o, hone_role role, hone_onnx_piece *p, const char **of)
{
    uint64_t q = (uint64_t)o->f->n_heads * o->f->head_dim, kv = (uint64_t)o->f->n_kv_heads * o->f->head_dim;
    p->step = 1;
    switch (role) {
    case HONE_R_ATTN_Q: *of = "attn.qkv", p->rows = q; break;
    case HONE_R_ATTN_K: *of = "attn.qkv", p->rows = kv, p->row0 = q; break;
    case HONE_R_ATTN_V: *of = "attn.qkv", p->rows = kv, p->row0 = q + kv; break;
    case HONE_R_FFN_GATE: *of = "ffn.gate_up", p->rows = o->f->ffn; break;
    case HONE_R_FFN_UP: *of = "ffn.gate_up", p->rows = o->f->ffn, p->row0 = o->f->ffn; break;
    case HONE_R_FFN_GATE_EXPS: *of = "ffn.experts.gate_up", p->rows = o->f->expert_ffn, p->step = 2; break;
    case HONE_R_FFN_UP_EXPS: *of = "ffn.experts.gate_up", p->rows = o->f->expert_ffn, p->row0 = 1, p->step = 2; break;
    default: *of = NULL;
    }
}

static hone_code add_role(opener *o, size_t row, hone_part part, int32_t layer, hone_err *err)
{
    hone_role       role = names[row].role;
    hone_onnx_piece p = { .cols = cols_of(o->f, role) }, placed = p;
    const char     *of = NULL;
    if (!has_rule(o->arch, role, part)) return HONE_OK;
    place(o, role, &placed, &of);
    bool stacked = role == HONE_R_FFN_GATE_EXPS || role == HONE_R_FFN_UP_EXPS;
    p.of = initializer(o, names[row].name, role, part, layer);
    if (!p.of) return HONE_NOMEM(err, "a name");
    if (stacked || (of && !hone_onnx_holds(o->file, p.of))) {
        p = placed;
        p.of = initializer(o, of, role, part, layer);
        if (!p.of) return HONE_NOMEM(err, "a name");
    }
    if (!hone_onnx_holds(o->file, p.of)) return HONE_OK;
    p.name = key_of(o->a, role, part, layer);
    if (!p.name) return HONE_NOMEM(err, "a name");
    o->pieces[o->n++] = p;
    return HONE_OK;
}

static hone_code list_pieces(opener *o, hone_err *err)
{
    o->room = 2 * HONE_COUNT(names) * ((size_t)o->f->n_layers + 1);
    o->pieces = HONE_ARENA_NEW(o->a, hone_onnx_piece, o->room);
    if (!o->pieces) return HONE_NOMEM(err, "the list of tensors");
    if (hone_onnx_holds(o->file, "layers.0.ffn.experts.gate.0"))
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "convert the checkpoint instead",
                         "the experts stand apart in this model, hone reads them only in one piece (f32, f16 and int4 for onnxruntime-genai)");
    for (size_t i = 0; i < HONE_COUNT(names); i++)
        for (int part = 0; part < 2; part++) {
            bool per_layer = hone_role_per_layer(names[i].role);
            for (uint32_t l = 0; l < (per_layer ? o->f->n_layers : 1); l++)
                HONE_TRY(add_role(o, i, (hone_part)part, per_layer ? (int32_t)l : -1, err));
        }
    return HONE_OK;
}

static const hone_tensor *find_role(void *self, hone_role role, hone_part part, int32_t layer)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%s.%d.%d", hone_role_name(role), (int)layer, (int)part);
    return hone_source_find(self, name);
}

hone_code hone_open_onnx(const char *dir, const json_t *config, const struct hone_arch *arch, hone_model *m, hone_err *err)
{
    const char    *model = hone_arena_printf(&m->arena, "%s/%s", dir, HONE_ONNX_MODEL), *data = hone_arena_printf(&m->arena, "%s/%s", dir, HONE_ONNX_DATA);
    hone_bytes     bytes;
    hone_onnx_file file;
    hone_facts     f;
    uint32_t       bits = 0;
    if (!model || !data) return HONE_NOMEM(err, "a path");
    HONE_TRY(hone_file_slurp(model, 1u << 30, &m->arena, &bytes, err));
    HONE_TRY(hone_onnx_read(bytes, &m->arena, &file, err));
    HONE_TRY(hone_arch_facts(arch, config, &m->arena, &f, err));
    opener o = { .arch = arch, .f = &f, .file = &file, .a = &m->arena };
    HONE_TRY(list_pieces(&o, err));
    HONE_TRY(hone_onnx_source(&file, data, o.pieces, o.n, &m->arena, &m->source, &bits, err));
    HONE_TRY(hone_arch_bind_roles(arch, config, (hone_role_finder){ find_role, m->source }, m, err));
    hone_norms_without_one(m);
    if (bits) m->quantized = bits == 4 ? "int4" : "int8";
    return HONE_OK;
}
