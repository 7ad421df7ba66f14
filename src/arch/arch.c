#include "arch/arch.h"
#include "arch/config.h"
#include "base/text.h"
#include <inttypes.h>
#include <stdio.h>

#define X(name) extern const hone_arch hone_arch_##name;
#include "arch/list.def"
#undef X

const hone_arch *const hone_arch_list[] = {
#define X(name) &hone_arch_##name,
#include "arch/list.def"
#undef X
};
const size_t hone_arch_count = HONE_COUNT(hone_arch_list);

#define NAME_MAX_BYTES 256

/* ---- finding ---- */

hone_code hone_arch_find(const json_t *config, const hone_arch **out, hone_err *err)
{
    const json_t *list = json_object_get(config, "architectures");
    const char   *name = json_string_value(json_is_array(list) ? json_array_get(list, 0) : list);
    if (!name)
        return HONE_FAIL(err, HONE_EINPUT, "\"architectures\" of config.json names the model's class: take it from the publisher's file",
                         "config.json has no \"architectures\"");
    for (size_t i = 0; i < hone_arch_count; i++) {
        const hone_arch *a = hone_arch_list[i];
        if (strcmp(name, a->hf_class) == 0 || (a->hf_also && strcmp(name, a->hf_also) == 0)) {
            *out = a;
            return HONE_OK;
        }
    }
    char known[400] = "", shown[80];
    for (size_t i = 0, at = 0; i < hone_arch_count; i++) {
        int n = snprintf(known + at, sizeof known - at, "%s%s", i ? " " : "", hone_arch_list[i]->name);
        if (n < 0 || (size_t)n >= sizeof known - at) break;
        at += (size_t)n;
    }
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "a new family is one file src/arch/<name>.c and one row in src/arch/list.def",
                     "model class \"%s\" is not known; known are %s", hone_text_show(name, strlen(name), shown, sizeof shown), known);
}

/* Packed weights (GPTQ, AWQ, FP8, bitsandbytes) come in tensors of their own; their values are no longer the model's. */
static hone_code not_quantized(const json_t *config, hone_err *err)
{
    const json_t *q = json_object_get(config, "quantization_config");
    if (!q || json_is_null(q)) return HONE_OK;
    const char *method = json_string_value(json_object_get(q, "quant_method"));
    char        shown[64];
    if (!method) method = "something unnamed";
    return HONE_FAIL(err, HONE_EUNSUPPORTED, "take the checkpoint that this one was made from",
                     "\"quantization_config\" says the weights are quantised by %s",
                     hone_text_show(method, strlen(method), shown, sizeof shown));
}

hone_code hone_arch_facts(const hone_arch *arch, const json_t *config, hone_arena *a, hone_facts *out, hone_err *err)
{
    hone_facts f = {
        .family = arch->name, .hf_class = arch->hf_class, .name = "", .gguf = &arch->gguf, .mlx = &arch->mlx, .kind = HONE_KIND_DECODER,
        .embedding_scale = 1, .residual_scale = 1, .logit_scale = 1, .rope = { .factor = 1 }, .bos = -1, .eos = -1, .pad = -1,
    };
    hone_code code = not_quantized(config, err);
    if (code == HONE_OK) code = arch->config(config, a, &f, err);
    if (code == HONE_OK) code = hone_config_check(&f, err);
    if (code != HONE_OK) {
        hone_err_wrap(err, "config.json");
        return code;
    }
    *out = f;
    return HONE_OK;
}

hone_code hone_arch_weight_name(const hone_arch *arch, hone_role role, hone_part part, int32_t layer, char *buf, size_t size, hone_err *err)
{
    for (size_t i = 0; i < arch->n_rules; i++) {
        const hone_tensor_rule *r = &arch->rules[i];
        if (r->role != role || r->part != part) continue;
        const char *slot = layer >= 0 ? strchr(r->name, '%') : NULL;
        int         head = slot ? (int)(slot - r->name) : (int)strlen(r->name);
        int         n = slot ? snprintf(buf, size, "%.*s%d%s", head, r->name, (int)layer, slot + 1) : snprintf(buf, size, "%s", r->name);
        if (n < 0 || (size_t)n >= size) break;
        return HONE_OK;
    }
    return HONE_FAIL(err, HONE_EBUG, "", "family %s has no name for %s of layer %d", arch->name, hone_role_name(role), (int)layer);
}

/* ---- shapes: "[" sum ("," sum)* "]", sum = product ("+" product)*, product = atom ("*" atom)*, atom = word | number | "(" sum ")" ---- */

typedef struct shape_text {
    const char       *at;
    const hone_facts *f;
    bool              bad; /* a table is wrong or a product overflows */
} shape_text;

static const struct {
    const char *word;
    size_t      offset;
} words[] = {
    { "vocab", offsetof(hone_facts, vocab) },
    { "hidden", offsetof(hone_facts, hidden) },
    { "heads", offsetof(hone_facts, n_heads) },
    { "kv_heads", offsetof(hone_facts, n_kv_heads) },
    { "head_dim", offsetof(hone_facts, head_dim) },
    { "ffn", offsetof(hone_facts, ffn) },
    { "expert_ffn", offsetof(hone_facts, expert_ffn) },
    { "experts", offsetof(hone_facts, n_experts) },
    { "context", offsetof(hone_facts, context) },
    { "types", offsetof(hone_facts, n_token_types) },
};

static void blanks(shape_text *t)
{
    while (*t->at == ' ') t->at++;
}

static uint64_t sum(shape_text *t);

static uint64_t atom(shape_text *t)
{
    blanks(t);
    if (*t->at == '(') {
        t->at++;
        uint64_t v = sum(t);
        blanks(t);
        if (*t->at++ != ')') t->bad = true;
        return v;
    }
    if (*t->at >= '0' && *t->at <= '9') {
        uint64_t v = 0;
        while (*t->at >= '0' && *t->at <= '9') v = v * 10 + (uint64_t)(*t->at++ - '0');
        return v;
    }
    size_t n = strspn(t->at, "abcdefghijklmnopqrstuvwxyz_");
    for (size_t i = 0; i < HONE_COUNT(words); i++)
        if (strlen(words[i].word) == n && memcmp(words[i].word, t->at, n) == 0) {
            uint32_t v;
            memcpy(&v, (const char *)t->f + words[i].offset, sizeof v);
            t->at += n;
            return v;
        }
    t->bad = true;
    return 0;
}

static uint64_t product(shape_text *t)
{
    uint64_t v = atom(t);
    for (blanks(t); *t->at == '*' && !t->bad; blanks(t)) {
        t->at++;
        if (!hone_size_mul(v, atom(t), &v)) t->bad = true;
    }
    return v;
}

static uint64_t sum(shape_text *t)
{
    uint64_t v = product(t);
    for (blanks(t); *t->at == '+' && !t->bad; blanks(t)) {
        t->at++;
        if (!hone_size_add(v, product(t), &v)) t->bad = true;
    }
    return v;
}

static bool shape_eval(const char *text, const hone_facts *f, uint64_t *dims, uint32_t *n_dims)
{
    shape_text t = { .at = text, .f = f };
    uint32_t   n = 0;
    if (*t.at++ != '[') return false;
    for (;;) {
        if (n == 4) return false;
        dims[n++] = sum(&t);
        blanks(&t);
        if (t.bad || *t.at != ',') break;
        t.at++;
    }
    *n_dims = n;
    return !t.bad && t.at[0] == ']' && t.at[1] == '\0';
}

static const char *shape_show(const uint64_t *dims, uint32_t n, char *out, size_t cap)
{
    size_t at = (size_t)snprintf(out, cap, "[");
    for (uint32_t i = 0; i < n && at < cap; i++) at += (size_t)snprintf(out + at, cap - at, "%s%" PRIu64, i ? ", " : "", dims[i]);
    if (at < cap) snprintf(out + at, cap - at, "]");
    return out;
}

/* ---- binding ---- */

typedef struct binder {
    const hone_arch *arch;
    hone_model      *m;
    const hone_facts *f;
    bool            *claimed; /* [n_tensors] */
    bool             bare;    /* saved without the row's prefix */
    hone_weight     *out;     /* room for every rule in every layer */
    size_t           n;
    hone_role_finder by_role; /* find NULL: by name */
    hone_err        *err;
} binder;

/* Puts layer and expert in place of the two % of a rule's name. */
static const char *rule_name(const binder *b, const char *pattern, uint32_t layer, uint32_t expert, char *out)
{
    size_t skip = strlen(b->arch->prefix), at = 0;
    int    seen = 0;
    if (b->bare && skip && strncmp(pattern, b->arch->prefix, skip) == 0) pattern += skip;
    for (; *pattern && at + 12 < NAME_MAX_BYTES; pattern++)
        if (*pattern == '%') at += (size_t)snprintf(out + at, NAME_MAX_BYTES - at, "%" PRIu32, seen++ ? expert : layer);
        else out[at++] = *pattern;
    out[at] = '\0';
    return out;
}

static const hone_tensor *find(const binder *b, const char *pattern, uint32_t layer, uint32_t expert, char *name)
{
    return hone_source_find(b->m->source, rule_name(b, pattern, layer, expert, name));
}

static bool per_layer(const hone_tensor_rule *r) { return strchr(r->name, '%') != NULL; }

static bool per_expert(const hone_tensor_rule *r)
{
    const char *first = strchr(r->name, '%');
    return first && strchr(first + 1, '%');
}

/* How many tensors the second % of a name counts. */
static uint32_t copies(const hone_tensor_rule *r, const hone_facts *f)
{
    if (!per_expert(r)) return 1;
    return r->role == HONE_R_ATTN_Q_NORM ? f->n_heads : r->role == HONE_R_ATTN_K_NORM ? f->n_kv_heads : f->n_experts;
}

static bool awake(const hone_tensor_rule *r, const hone_facts *f)
{
    switch (r->role) {
    case HONE_R_ATTN_Q_NORM:
    case HONE_R_ATTN_K_NORM: return f->qk_norm;
    case HONE_R_FFN_NORM:
        if (f->parallel_shared_norm) return false;
        break;
    default: break;
    }
    if (r->part != HONE_PART_BIAS) return true;
    switch (r->role) {
    case HONE_R_ATTN_Q:
    case HONE_R_ATTN_QKV: return f->bias_q;
    case HONE_R_ATTN_K: return f->bias_k;
    case HONE_R_ATTN_V: return f->bias_v;
    case HONE_R_ATTN_OUT: return f->bias_o;
    case HONE_R_FFN_GATE:
    case HONE_R_FFN_UP:
    case HONE_R_FFN_GATE_UP:
    case HONE_R_FFN_DOWN: return f->bias_ffn;
    case HONE_R_ATTN_NORM:
    case HONE_R_FFN_NORM:
    case HONE_R_OUTPUT_NORM: return f->bias_norm;
    default: return true;
    }
}

static void claim(binder *b, const hone_tensor *t) { b->claimed[t - b->m->source->tensors] = true; }

static hone_code shape_check(binder *b, const hone_tensor *t, const uint64_t *dims, uint32_t n_dims, bool turned)
{
    uint64_t want[4];
    char     shown[NAME_MAX_BYTES], have_text[96], want_text[96];
    bool     same = t->n_dims == n_dims;
    for (uint32_t i = 0; i < n_dims; i++) want[i] = turned ? dims[n_dims - 1 - i] : dims[i];
    for (uint32_t i = 0; i < n_dims && same; i++) same = t->dims[i] == want[i];
    if (same) return HONE_OK;
    return HONE_FAIL(b->err, HONE_EINPUT, "config.json and the tensors belong to different models: fetch both again",
                     "tensor '%s' is %s, config.json makes it %s", hone_text_show(t->name, strlen(t->name), shown, sizeof shown),
                     shape_show(t->dims, t->n_dims, have_text, sizeof have_text), shape_show(want, n_dims, want_text, sizeof want_text));
}

static hone_code missing(binder *b, const char *name)
{
    return HONE_FAIL(b->err, HONE_EINPUT, "fetch the checkpoint again, all of its files", "tensor '%s' is missing (a %s model has it)",
                     name, b->arch->name);
}

/* One rule in one layer: claims its tensors and appends the weight. */
static hone_code take(binder *b, const hone_tensor_rule *r, uint32_t layer)
{
    uint64_t dims[4];
    uint32_t n_dims, n_slices = copies(r, b->f);
    char     name[NAME_MAX_BYTES];
    bool     turned = (r->flags & HONE_RULE_TRANSPOSED) && !b->m->source->upright;
    if (!shape_eval(r->shape, b->f, dims, &n_dims) || (turned && n_dims != 2) || (per_expert(r) && n_dims == 4) ||
        (r->pieces && (n_dims < 2 || dims[n_dims - 2] % r->pieces)))
        return HONE_FAIL(b->err, HONE_EBUG, "", "shape '%s' of rule '%s' does not fit the facts", r->shape, r->name);

    /* Pieces of a stacked tensor: one slice per outermost index, each a run of rows. */
    uint32_t blocks = r->pieces && n_dims == 3 ? (uint32_t)dims[0] : 1;
    hone_slice *s = HONE_ARENA_NEW(&b->m->arena, hone_slice, (size_t)n_slices * blocks);
    if (!s) return HONE_NOMEM(b->err, "the weight list");
    hone_weight w = { .role = r->role, .part = r->part, .layer = per_layer(r) ? (int32_t)layer : -1, .slices = s,
                      .n_slices = (size_t)n_slices * blocks, .scale = 1 };
    for (uint32_t i = 0; i < n_slices; i++) {
        const hone_tensor *t = find(b, r->name, layer, i, name);
        if (!t) return missing(b, name);
        HONE_TRY(shape_check(b, t, dims, n_dims, turned));
        claim(b, t);
        if (i && t->dtype != w.dtype)
            return HONE_FAIL(b->err, HONE_EUNSUPPORTED, "convert the checkpoint to one dtype first", "tensor '%s' is %s, its siblings are %s",
                             name, hone_dtype_name(t->dtype), hone_dtype_name(w.dtype));
        w.dtype = t->dtype;
        uint64_t rows = n_dims == 1 ? (per_expert(r) ? 1 : dims[0]) : 1;
        for (uint32_t d = 0; n_dims > 1 && d + 1 < n_dims; d++) rows *= dims[d];
        uint64_t run = r->pieces ? dims[n_dims - 2] / r->pieces : rows;
        for (uint32_t k = 0; k < blocks; k++)
            s[i * blocks + k] = (hone_slice){ .tensor = t, .row0 = r->pieces ? k * dims[n_dims - 2] + r->piece * run : 0, .n_rows = run,
                                              .transposed = turned };
    }
    if (r->pieces) dims[n_dims - 2] /= r->pieces;
    if (per_expert(r)) w.dims[w.n_dims++] = n_slices;
    for (uint32_t i = 0; i < n_dims; i++) w.dims[w.n_dims++] = dims[i];
    b->out[b->n++] = w;
    return HONE_OK;
}

/* One weight whose tensor is found by its role, whole. */
static hone_code take_whole(binder *b, const hone_tensor_rule *r, const hone_tensor *t, uint32_t layer)
{
    uint64_t    dims[5] = { 0 };
    uint32_t    n_dims, at = per_expert(r) ? 1 : 0;
    hone_slice *s = HONE_ARENA_NEW(&b->m->arena, hone_slice, 1);
    if (!s) return HONE_NOMEM(b->err, "the weight list");
    if (!shape_eval(r->shape, b->f, dims + at, &n_dims) || n_dims + at > 4)
        return HONE_FAIL(b->err, HONE_EBUG, "", "shape '%s' of rule '%s' does not fit the facts", r->shape, r->name);
    if (at) dims[0] = copies(r, b->f);
    n_dims += at;
    if (r->pieces) dims[n_dims - 2] /= r->pieces;
    HONE_TRY(shape_check(b, t, dims, n_dims, false));
    claim(b, t);
    hone_weight w = { .role = r->role, .part = r->part, .layer = per_layer(r) ? (int32_t)layer : -1, .n_dims = n_dims, .slices = s, .n_slices = 1,
                      .scale = 1, .dtype = t->dtype };
    memcpy(w.dims, dims, sizeof w.dims);
    *s = (hone_slice){ .tensor = t, .n_rows = n_dims == 1 ? dims[0] : hone_weight_rows(&w) };
    b->out[b->n++] = w;
    return HONE_OK;
}

static hone_code bind_role(binder *b, const hone_tensor_rule *r, uint32_t layer)
{
    const hone_tensor *t = b->by_role.find(b->by_role.self, r->role, r->part, per_layer(r) ? (int32_t)layer : -1);
    if (!awake(r, b->f)) return HONE_OK;
    if ((r->flags & HONE_RULE_UNLESS_TIED) && b->f->tied) {
        if (t) claim(b, t);
        return HONE_OK;
    }
    if (t) return take_whole(b, r, t, layer);
    if ((r->flags & HONE_RULE_OPTIONAL) || r->role == HONE_R_POOLER) return HONE_OK;
    return HONE_FAIL(b->err, HONE_EINPUT, "fetch the file again", "the tensor for %s%s of layer %u is missing (a %s model has it)", hone_role_name(r->role),
                     r->part == HONE_PART_BIAS ? " (bias)" : "", layer, b->arch->name);
}

/* All rules of one role and part: the first alternative that is there.  first is the index of the first such rule. */
static hone_code bind_group(binder *b, size_t first, uint32_t layer)
{
    const hone_tensor_rule *head = &b->arch->rules[first], *chosen = NULL;
    char                    name[NAME_MAX_BYTES];
    if (b->by_role.find) return bind_role(b, head, layer);
    if (!awake(head, b->f)) return HONE_OK;
    if ((head->flags & HONE_RULE_UNLESS_TIED) && b->f->tied) {
        const hone_tensor *t = find(b, head->name, layer, 0, name);
        if (t) claim(b, t);
        return HONE_OK;
    }
    for (size_t i = first; i < b->arch->n_rules && !chosen; i++) {
        const hone_tensor_rule *r = &b->arch->rules[i];
        if (r->role == head->role && r->part == head->part && find(b, r->name, layer, 0, name)) chosen = r;
    }
    if (chosen) return take(b, chosen, layer);
    if (head->flags & HONE_RULE_OPTIONAL) return HONE_OK;
    return missing(b, rule_name(b, head->name, layer, 0, name));
}

/* True when an earlier rule of the same role and part speaks for this one. */
static bool is_alternative(const hone_arch *a, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (a->rules[k].role == a->rules[i].role && a->rules[k].part == a->rules[i].part) return true;
    return false;
}

static hone_code bind_all(binder *b)
{
    const hone_arch *a = b->arch;
    char             name[NAME_MAX_BYTES];
    for (int pass = 0; pass < 2; pass++) /* globals, then layer by layer */
        for (uint32_t layer = 0; layer < (pass ? b->f->n_layers : 1); layer++)
            for (int role = 0; role < HONE_R_COUNT; role++)
                for (int part = 0; part < 2; part++)
                    for (size_t i = 0; i < a->n_rules; i++) {
                        const hone_tensor_rule *r = &a->rules[i];
                        if ((int)r->role != role || (int)r->part != part || per_layer(r) != (pass == 1)) continue;
                        if (r->role == HONE_R_IGNORED) {
                            const hone_tensor *t = b->by_role.find ? NULL : find(b, r->name, layer, 0, name);
                            if (t) claim(b, t);
                        } else if (!is_alternative(a, i)) HONE_TRY(bind_group(b, i, layer));
                    }
    return HONE_OK;
}

static hone_code surplus(binder *b)
{
    const hone_source *s = b->m->source;
    char               shown[NAME_MAX_BYTES], more[48] = "";
    size_t             n = 0, first = 0;
    for (size_t i = 0; i < s->n_tensors; i++)
        if (!b->claimed[i] && n++ == 0) first = i;
    if (n == 0) return HONE_OK;
    if (n > 1) snprintf(more, sizeof more, " (and %zu more)", n - 1);
    return HONE_FAIL(b->err, HONE_EINPUT, "config.json and the tensors belong to different models, or the family's table lacks a row",
                     "tensor '%s' has no place in a %s model with this config.json%s",
                     hone_text_show(s->tensors[first].name, strlen(s->tensors[first].name), shown, sizeof shown), b->arch->name, more);
}

/* Constants that follow from the facts have no place in the list. */
static void claim_constants(binder *b)
{
    static const hone_role roles[] = { HONE_R_ROPE_FREQS, HONE_R_ROPE_FACTORS_LONG, HONE_R_ROPE_FACTORS_SHORT };
    for (size_t i = 0; i < HONE_COUNT(roles); i++) {
        const hone_tensor *t = b->by_role.find(b->by_role.self, roles[i], HONE_PART_WEIGHT, -1);
        if (t) claim(b, t);
    }
}

static hone_code bind(const hone_arch *arch, const json_t *config, hone_role_finder by_role, hone_model *m, hone_err *err)
{
    hone_facts f;
    HONE_TRY(hone_arch_facts(arch, config, &m->arena, &f, err));
    binder b = { .arch = arch, .m = m, .f = &f, .by_role = by_role, .err = err };
    b.claimed = HONE_ARENA_NEW(&m->arena, bool, m->source->n_tensors);
    /* Each weight takes a tensor of its own at least, except pieces: so tensors * rules is far too many, and this is enough. */
    size_t layers = f.n_layers, most = 0;
    for (size_t i = 0; i < arch->n_rules; i++) most += per_layer(&arch->rules[i]) ? layers : 1;
    size_t room = m->source->n_tensors * 4 < most ? m->source->n_tensors * 4 : most;
    b.out = HONE_ARENA_NEW(&m->arena, hone_weight, room + 1);
    if (!b.claimed || !b.out) return HONE_NOMEM(err, "the weight list");
    /* Base models are saved without the prefix; the embedding tells, and every row of the list has one. */
    for (size_t i = 0; i < arch->n_rules && !by_role.find; i++)
        if (arch->rules[i].role == HONE_R_TOK_EMBD && arch->rules[i].part == HONE_PART_WEIGHT) {
            char name[NAME_MAX_BYTES];
            if (!find(&b, arch->rules[i].name, 0, 0, name)) {
                b.bare = true;
                if (!find(&b, arch->rules[i].name, 0, 0, name)) b.bare = false;
            }
            break;
        }
    if (by_role.find) claim_constants(&b);
    HONE_TRY(bind_all(&b));
    HONE_TRY(surplus(&b));
    m->facts = f;
    m->arch = arch;
    m->weights = b.out;
    m->n_weights = b.n;
    return arch->finish && !by_role.find ? arch->finish(m, err) : HONE_OK;
}

hone_code hone_arch_bind(const hone_arch *arch, const json_t *config, hone_model *m, hone_err *err)
{
    return bind(arch, config, (hone_role_finder){ 0 }, m, err);
}

hone_code hone_arch_bind_roles(const hone_arch *arch, const json_t *config, hone_role_finder by_role, hone_model *m, hone_err *err)
{
    return bind(arch, config, by_role, m, err);
}
