/* gguf.c - a GGUF file as a source. */
#include "arch/arch.h"
#include "flow/open/sources.h"
#include "formats/gguf/config.h"
#include "formats/gguf/names.h"
#include "formats/gguf/vocab.h"
#include "formats/hf/write.h"
#include "passes/gguf_layout.h"
#include "quant/codec.h"
#include "base/text.h"
#include <stdlib.h>

static bool has_experts(const hone_arch *a)
{
    for (size_t i = 0; i < a->n_rules; i++)
        if (a->rules[i].role == HONE_R_FFN_ROUTER) return true;
    return false;
}

/* Several families may be one architecture in llama.cpp; those without experts compute alike there, so the first is right. */
static hone_code find_family(const hone_gguf *g, const char *name, const hone_arch **out, hone_err *err)
{
    double n = 0;
    char   shown[64];
    (void)hone_gguf_number(g, name, "expert_count", &n);
    for (size_t i = 0; i < hone_arch_count; i++)
        if (hone_arch_list[i]->gguf.name && strcmp(hone_arch_list[i]->gguf.name, name) == 0 && has_experts(hone_arch_list[i]) == (n > 0)) {
            *out = hone_arch_list[i];
            return HONE_OK;
        }
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "a new family is one file src/arch/<name>.c and one row in src/arch/list.def",
                     "the architecture \"%s\"%s of GGUF is no family that hone knows", hone_text_show(name, strlen(name), shown, sizeof shown),
                     n > 0 ? " with experts" : "");
}

static const hone_tensor *find_role(void *self, hone_role role, hone_part part, int32_t layer)
{
    const hone_gguf *g = self;
    char             name[HONE_GGUF_NAME];
    if (role == HONE_R_POOLER || role == HONE_R_IGNORED || hone_gguf_tensor_name(role, part, layer, name, sizeof name, NULL) != HONE_OK) return NULL;
    return hone_source_find(g->source, name);
}

/* What hone cannot decode is told before anything is read.  *quantized: the type that holds most of the weights, if it is a block type. */
static hone_code check_types(const hone_source *s, const char **quantized, hone_err *err)
{
    uint64_t bytes[HONE_DTYPE_COUNT] = { 0 };
    for (size_t i = 0; i < s->n_tensors; i++) {
        const hone_tensor *t = &s->tensors[i];
        const hone_codec  *c = hone_codec_find(t->dtype);
        char               shown[96];
        if (!c || !c->decode_row || (hone_dtype_get(t->dtype)->block_elems == 1 && !hone_dtype_is_float(t->dtype)))
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "take a file with other types, as f16, q8_0 or q4_k_m",
                             "tensor '%s' is %s, which hone cannot decode", hone_text_show(t->name, strlen(t->name), shown, sizeof shown), hone_dtype_name(t->dtype));
        bytes[t->dtype] += t->bytes;
    }
    uint64_t most = 0;
    for (int d = 0; d < HONE_DTYPE_COUNT; d++)
        if (hone_dtype_get((hone_dtype)d)->block_elems > 1 && bytes[d] > most) {
            most = bytes[d];
            *quantized = hone_dtype_name((hone_dtype)d);
        }
    return HONE_OK;
}

/* ---- the files that a folder would have ---- */

/* Takes doc. */
static hone_code add_side(hone_model *m, hone_side_file *list, const char *name, json_t *doc, hone_err *err)
{
    char       *text = doc ? json_dumps(doc, JSON_INDENT(2)) : NULL;
    const char *kept = text ? hone_arena_strdup(&m->arena, text) : NULL;
    free(text);
    json_decref(doc);
    if (!kept) return HONE_NOMEM(err, name);
    list[m->n_sides++] = (hone_side_file){ name, { (const uint8_t *)kept, strlen(kept) } };
    return HONE_OK;
}

static hone_code add_sides(hone_model *m, json_t *config, hone_err *err)
{
    hone_side_file *list = HONE_ARENA_NEW(&m->arena, hone_side_file, 4);
    json_t         *doc = NULL;
    if (!list) return HONE_NOMEM(err, "the small files");
    m->sides = list;
    HONE_TRY(add_side(m, list, "config.json", json_incref(config), err));
    if (m->tokenizer.kind == HONE_TOK_NONE) return HONE_OK;
    HONE_TRY(hone_hf_tokenizer_json(&m->tokenizer, &m->arena, &doc, err));
    HONE_TRY(add_side(m, list, "tokenizer.json", doc, err));
    HONE_TRY(hone_hf_tokenizer_config(&m->tokenizer, &doc, err));
    HONE_TRY(add_side(m, list, "tokenizer_config.json", doc, err));
    HONE_TRY(hone_hf_generation_config(&m->tokenizer, &doc, err));
    return add_side(m, list, "generation_config.json", doc, err);
}

/* The model's own name, else the file's without its ending. */
static hone_code choose_name(hone_model *m, const hone_gguf *g, const char *path, hone_err *err)
{
    const hone_gguf_value *v = hone_gguf_find(g, "general.name");
    const char            *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
    size_t                 n = strlen(file);
    char                  *name = v && v->type == HONE_GGUF_STRING && v->as.s.len && hone_utf8_valid(v->as.s.ptr, (size_t)v->as.s.len)
                                      ? hone_arena_strndup(&m->arena, v->as.s.ptr, (size_t)v->as.s.len)
                                      : hone_arena_strndup(&m->arena, file, n > 5 ? n - 5 : n);
    if (!name) return HONE_NOMEM(err, "a name");
    for (char *p = name; *p; p++)
        if (*p == '/' || (uint8_t)*p < 32) *p = '-'; /* it becomes a file name */
    m->facts.name = hone_utf8_valid(name, strlen(name)) ? name : "model";
    return HONE_OK;
}

static hone_code fill(const hone_gguf *g, const char *path, hone_model *m, json_t **config, hone_err *err)
{
    const hone_arch *arch = NULL;
    const char      *quantized = NULL;
    char             name[64];
    if (!hone_gguf_architecture(g, name, sizeof name))
        return HONE_FAIL(err, HONE_EINPUT, "fetch the file again", "the key 'general.architecture' is missing or no text of up to %zu bytes", sizeof name - 1);
    HONE_TRY(find_family(g, name, &arch, err));
    HONE_TRY(check_types(g->source, &quantized, err));
    hone_gguf_family family = { arch->hf_class, arch->mlx.model ? arch->mlx.model : arch->name, arch->words, &arch->gguf };
    HONE_TRY(hone_gguf_config(g, &family, config, err));
    hone_gguf borrowed = *g;
    HONE_TRY(hone_arch_bind_roles(arch, *config, (hone_role_finder){ find_role, &borrowed }, m, err));
    if (m->facts.kind == HONE_KIND_ENCODER) m->facts.pooling = hone_gguf_pooling(g, name);
    HONE_TRY(hone_gguf_restore(m, err));
    HONE_TRY(hone_gguf_tokenizer_read(g, m->facts.vocab, &m->arena, &m->tokenizer, err));
    HONE_TRY(choose_name(m, g, path, err));
    m->quantized = quantized;
    m->path = hone_arena_strdup(&m->arena, path);
    if (!m->path) return HONE_NOMEM(err, "a path");
    return add_sides(m, *config, err);
}

hone_code hone_open_gguf(const char *path, hone_model *m, hone_err *err)
{
    hone_gguf g = { 0 };
    json_t   *config = NULL;
    HONE_TRY(hone_gguf_open(path, &m->arena, &g, err));
    m->source = g.source;
    hone_code code = fill(&g, path, m, &config, err);
    json_decref(config);
    return code == HONE_OK ? code : hone_err_wrap(err, "'%s'", path);
}
