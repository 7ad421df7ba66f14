/* artefacts.c - the files to be measured: what is missing is made from one read of the source; what an earlier run made is taken when its
 * digest still holds. */
#include "base/file.h"
#include "base/text.h"
#include "flow/optimize/state.h"
#include "measure/artefact.h"
#include "passes/mix.h"

hone_code hone_opt_own_dtype(const hone_model *m, const char **quant, hone_err *err)
{
    uint64_t bytes[HONE_DTYPE_COUNT] = { 0 };
    size_t   best = 0;
    for (size_t i = 0; i < m->source->n_tensors; i++) bytes[m->source->tensors[i].dtype] += m->source->tensors[i].bytes;
    for (size_t i = 1; i < HONE_DTYPE_COUNT; i++)
        if (bytes[i] > bytes[best]) best = i;
    *quant = hone_dtype_name((hone_dtype)best);
    /* Weights in other float types (f64, f8) are held exactly, or as near as llama.cpp can run them, by f32 and f16. */
    if (best == HONE_DTYPE_F64) *quant = "f32";
    if (best == HONE_DTYPE_F8_E4M3 || best == HONE_DTYPE_F8_E5M2) *quant = "f16";
    if (!hone_mix_find(*quant)) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "most weights are %s, which has no unquantised GGUF form", *quant);
    return HONE_OK;
}

/* "name digest" of each file of the checkpoint's folder that is there. */
static hone_code add_files(hone_opt_state *s, const char *const *names, size_t n, hone_text *t, hone_err *err)
{
    char hex[65];
    for (size_t i = 0; i < n; i++) {
        const char *p = hone_arena_printf(&s->arena, "%s/%s", s->model.path, names[i]);
        if (!p) return HONE_NOMEM(err, "a path");
        if (!hone_file_exists(p)) continue;
        HONE_TRY(hone_sha256_file(p, hex, err));
        hone_text_addf(t, "%s %s\n", names[i], hex);
    }
    return HONE_OK;
}

static hone_code digest_of(hone_code code, hone_text *t, char hex[65], hone_err *err)
{
    if (code == HONE_OK && t->failed) code = HONE_NOMEM(err, "a digest");
    if (code == HONE_OK) code = hone_sha256((hone_bytes){ (const uint8_t *)(t->ptr ? t->ptr : ""), t->len }, hex, err);
    hone_text_release(t);
    return code;
}

static hone_code file_digest(const char *path, char hex[65], hone_err *err)
{
    if (path) return hone_sha256_file(path, hex, err);
    memcpy(hex, "-", 2);
    return HONE_OK;
}

/* The source: what decides the bytes of every artefact.  The proof: what hone check compares them with. */
hone_code hone_opt_digests(hone_opt_state *s, hone_err *err)
{
    static const char *const source[] = { "config.json",       "generation_config.json",  "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
                                          "spiece.model",      "special_tokens_map.json", "vocab.json",     "merges.txt",            "vocab.txt",
                                          "added_tokens.json", "chat_template.jinja",     "chat_template.json" };
    static const char *const proof[] = { "tokenizer_cases.json", "reference.safetensors", "reference.json", "reference_long.safetensors", "reference_long.json" };
    hone_text                t = { 0 }, p = { 0 };
    char                     hex[65];
    hone_code                code = HONE_OK;
    for (size_t i = 0; code == HONE_OK && i < s->model.source->n_files; i++) {
        code = hone_sha256_file(s->model.source->files[i], hex, err);
        if (code == HONE_OK) hone_text_addf(&t, "%s\n", hex);
        if (code == HONE_OK && hone_ctx_cancelled(s->ctx)) code = HONE_INTERRUPTED(err);
    }
    if (code == HONE_OK) code = add_files(s, source, HONE_COUNT(source), &t, err);
    code = digest_of(code, &t, s->source_sha256, err);
    if (code == HONE_OK) code = digest_of(add_files(s, proof, HONE_COUNT(proof), &p, err), &p, s->proof_sha256, err);
    if (code == HONE_OK) code = file_digest(s->text, s->text_sha256, err);
    if (code == HONE_OK) code = file_digest(s->tasks, s->tasks_sha256, err);
    return code;
}

/* The record says where the file is and what it holds; the file itself must still agree. */
static hone_code take(hone_opt_state *s, hone_candidate *c, const json_t *record, bool *taken, hone_err *err)
{
    const char *path = json_string_value(json_object_get(record, "path")), *sha = json_string_value(json_object_get(record, "sha256"));
    char        hex[65];
    hone_artefact x;
    hone_arena    a = { 0 };
    *taken = path && sha && hone_artefact_open(path, &a, &x, NULL) == HONE_OK && hone_artefact_digest(&x, hex, NULL) == HONE_OK && strcmp(hex, sha) == 0;
    hone_arena_release(&a);
    if (!*taken) return HONE_OK;
    c->path = hone_arena_strdup(&s->arena, path);
    c->sha256 = hone_arena_strdup(&s->arena, sha);
    c->bytes = (uint64_t)json_integer_value(json_object_get(record, "bytes"));
    c->bpw = json_number_value(json_object_get(record, "bpw"));
    return c->path && c->sha256 ? HONE_OK : HONE_NOMEM(err, "a path");
}

/* What the converter warned of is part of the record: a resumed run warns of it too. */
static bool keep_warnings(hone_opt_state *s, const json_t *record)
{
    const json_t *w = json_object_get(record, "warnings");
    return json_array_size(s->warnings) > 0 || !json_is_array(w) || json_array_extend(s->warnings, (json_t *)(uintptr_t)w) == 0;
}

/* What the converter made of list[0..n), which n outputs of res are, in order. */
static hone_code keep_made(hone_opt_state *s, hone_candidate *const *list, char (*keys)[65], size_t n, const hone_convert_result *res, hone_err *err)
{
    hone_code code = hone_history_hold(s->history, err); /* one read, one transaction */
    bool      held = code == HONE_OK;
    for (size_t i = 0; code == HONE_OK && i < n; i++) {
        const hone_convert_output *o = &res->outputs[i];
        bool                       taken = false;
        json_t *record = json_pack("{s:s,s:s,s:I,s:f,s:O}", "path", o->path, "sha256", o->sha256, "bytes", (json_int_t)o->bytes, "bpw", o->bpw, "warnings",
                                   res->warnings);
        if (!record || !keep_warnings(s, record)) code = HONE_NOMEM(err, "a record");
        if (code == HONE_OK) code = take(s, list[i], record, &taken, err);
        if (code == HONE_OK && !taken) code = HONE_FAIL(err, HONE_EINPUT, "leave the folder alone while hone works in it", "'%s' changed after it was written", o->path);
        if (code == HONE_OK) code = hone_history_add(s->history, s->run_id, keys[i], "convert", o->path, o->sha256, record, err);
        json_decref(record);
    }
    return held ? hone_history_settle(s->history, code, err) : code;
}

static hone_code convert(hone_opt_state *s, hone_candidate *const *list, char (*keys)[65], size_t n, const hone_convert_options *opt, hone_err *err)
{
    hone_convert_result res = { 0 };
    hone_code           code = hone_convert(&s->inner, &s->model, opt, &res, err);
    if (code == HONE_OK) code = keep_made(s, list, keys, n, &res, err);
    s->convert_seconds += res.seconds;
    if (res.peak_rss_bytes > s->convert_rss) s->convert_rss = res.peak_rss_bytes;
    if (code == HONE_OK) s->measured += n;
    hone_convert_result_release(&res);
    return code;
}

/* Another model: a run of its own.  Channels or experts leave, for single zeros make nothing smaller or faster (docs/PRUNING.md). */
static hone_code make_pruned(hone_opt_state *s, hone_candidate *c, char (*key)[65], const char *dir, hone_err *err)
{
    const char *name = hone_arena_printf(&s->arena, "%s-prune%g", s->model.facts.name && *s->model.facts.name ? s->model.facts.name : "model", c->prune);
    hone_err    why = { 0 };
    if (!name) return HONE_NOMEM(err, "a name");
    hone_code code = convert(s, &c, key, 1, &(hone_convert_options){ .quants = &c->made_as, .n_quants = 1, .out_dir = dir, .name = name, .prune = c->prune,
                                                                     .prune_method = s->model.facts.n_experts ? "experts" : "ffn" }, &why);
    if (code == HONE_EUNSUPPORTED || code == HONE_EUSAGE) { /* a cut that this model does not allow */
        c->absent = true;
        (void)snprintf(c->failure, sizeof c->failure, "%.400s", why.cause);
        (void)snprintf(c->excluded, sizeof c->excluded, "not measured: %.200s", why.cause);
        return HONE_OK;
    }
    if (code != HONE_OK && err) *err = why;
    return code;
}

static hone_code make(hone_opt_state *s, hone_candidate *const *missing, char (*keys)[65], size_t n, const char *dir, hone_err *err)
{
    const char *quants[HONE_MAX_OUTPUTS];
    size_t      whole = 0;
    while (whole < n && !(missing[whole]->prune > 0)) whole++; /* the pruned ones are the last (formats.c) */
    for (size_t i = 0; i < whole; i++) quants[i] = missing[i]->quant;
    s->convert_seconds = 0;
    if (whole) HONE_TRY(convert(s, missing, keys, whole, &(hone_convert_options){ .quants = quants, .n_quants = whole, .out_dir = dir }, err));
    for (size_t i = whole; i < n; i++) HONE_TRY(make_pruned(s, missing[i], &keys[i], dir, err));
    return HONE_OK;
}

hone_code hone_opt_artefacts(hone_opt_state *s, hone_err *err)
{
    hone_candidate *missing[HONE_MAX_OUTPUTS];
    char            keys[HONE_MAX_OUTPUTS][65];
    size_t          n = 0;
    const char     *dir = hone_arena_printf(&s->arena, "%s/candidates", s->opt->out_dir);
    if (!dir) return HONE_NOMEM(err, "a path");
    for (size_t i = 0; i < s->n; i++) {
        json_t *record = NULL;
        bool    taken = false;
        if (s->c[i].absent) continue;
        HONE_TRY(hone_opt_key(s, "convert", s->source_sha256, s->c[i].quant, keys[n], err));
        HONE_TRY(hone_history_find(s->history, keys[n], &record, err));
        hone_code code = record && !s->opt->fresh ? take(s, &s->c[i], record, &taken, err) : HONE_OK;
        if (code == HONE_OK && taken && !keep_warnings(s, record)) code = HONE_NOMEM(err, "a record");
        if (code == HONE_OK && record && !taken && !s->opt->fresh)
            hone_event_warn(s->ctx, NULL, "the %s file of an earlier run is gone or was changed: it is made again", s->c[i].quant);
        json_decref(record);
        if (code != HONE_OK) return code;
        if (taken) s->reused++;
        else missing[n++] = &s->c[i];
    }
    return n ? make(s, missing, keys, n, dir, err) : HONE_OK;
}
