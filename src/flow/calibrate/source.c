/* source.c - the model in its runtime, and the texts as tokens. */
#include "base/file.h"
#include "base/text.h"
#include "flow/calibrate/parts.h"
#include "flow/convert.h"
#include "formats/files.h"
#include <stdlib.h>

#define TEXT_MAX ((uint64_t)32 << 20) /* bytes: its tokens fit one frame of the runner's protocol */
enum { CONTEXT = 512 /* llama-imatrix's own */ };

/* --- the model as GGUF ------------------------------------------------------------------------------------------------ */
static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

/* The float type that holds most of the weights; codes are decoded to f16. */
static const char *own_type(const hone_model *m)
{
    uint64_t f32 = 0, f16 = 0, bf16 = 0;
    for (size_t i = 0; i < m->source->n_tensors; i++) {
        const hone_tensor *t = &m->source->tensors[i];
        if (t->dtype == HONE_DTYPE_F32 || t->dtype == HONE_DTYPE_F64) f32 += t->bytes;
        if (t->dtype == HONE_DTYPE_F16) f16 += t->bytes;
        if (t->dtype == HONE_DTYPE_BF16) bf16 += t->bytes;
    }
    if (m->quantized) return "f16";
    if (f32 > f16 && f32 > bf16) return "f32";
    return bf16 > f16 ? "bf16" : "f16";
}

/* Beside the output: where the user wants gigabytes, there is room for them. */
static hone_code make_gguf(hone_calib *c, hone_err *err)
{
    const char *base = hone_path_base(c->opt->out), *quant = hone_arena_printf(&c->arena, "gguf=%s", c->dtype);
    int         n = (int)(base - c->opt->out); /* with the slash, which is all of the root's name */
    const char *beside = n ? hone_arena_printf(&c->arena, "%.*s", n > 1 ? n - 1 : n, c->opt->out) : ".";
    if (!quant || !beside) return HONE_NOMEM(err, "a path");
    HONE_TRY(hone_temp_open(beside, ".hone-calibrate-", &c->folder, err));
    const hone_convert_options o = { .quants = &quant, .n_quants = 1, .out_dir = c->folder.path, .name = "model" };
    hone_convert_result        r = { 0 };
    hone_ctx                   quiet = *c->ctx; /* what it warns of concerns those who deploy the file */
    quiet.on_event = NULL;
    hone_event_step(c->ctx, "writing the model as %s GGUF for llama.cpp", c->dtype);
    hone_code code = hone_convert(&quiet, &c->model, &o, &r, err);
    if (code == HONE_OK && !(c->gguf = hone_arena_strdup(&c->arena, r.outputs[0].path))) code = HONE_NOMEM(err, "a path");
    hone_convert_result_release(&r);
    return code;
}

static hone_code choose_context(hone_calib *c, hone_err *err)
{
    const uint32_t most = c->model.facts.context;
    c->context = c->opt->context ? c->opt->context : most && most < CONTEXT ? most : CONTEXT;
    if (most && c->context > most)
        return HONE_FAIL(err, HONE_EUSAGE, "use a smaller --context", "chunks of %u tokens are longer than the model's context of %u", c->context, most);
    return HONE_OK;
}

static hone_code open_model(hone_calib *c, hone_err *err)
{
    HONE_TRY(hone_model_open(c->ctx, c->opt->source, &c->model, err));
    if (c->model.tokenizer.kind == HONE_TOK_NONE)
        return HONE_FAIL(err, HONE_EINPUT, "put tokenizer.json, or the file that the family has, beside the weights", "'%s' has no tokenizer: text cannot become tokens",
                         c->opt->source);
    HONE_TRY(choose_context(c, err));
    const char *first = c->model.source->n_files ? c->model.source->files[0] : "";
    c->dtype = c->model.quantized ? c->model.quantized : own_type(&c->model);
    if (ends_with(first, ".gguf")) {
        c->gguf = first;
    } else {
        c->dtype = own_type(&c->model);
        HONE_TRY(make_gguf(c, err));
    }
    const bool              encoder = c->model.facts.kind == HONE_KIND_ENCODER;
    const hone_backend_open how = { .path = c->gguf, .device = "cpu", .threads = hone_ctx_threads(c->ctx), .context = c->context, .embeddings = encoder, .hidden = encoder };
    hone_event_step(c->ctx, "opening the model in llama.cpp");
    hone_code code = hone_child_open(c->ctx, "llamacpp", &how, &c->child, err);
    hone_temp_close(&c->folder); /* the runtime has it mapped */
    return code;
}

/* --- texts -------------------------------------------------------------------------------------------------------------- */
static hone_code slurp_text(const char *path, hone_arena *a, hone_bytes *all, uint64_t *bytes, hone_err *err)
{
    HONE_TRY(hone_file_slurp(path, TEXT_MAX, a, all, err));
    *bytes = all->len;
    if (all->len && all->ptr[all->len - 1] == '\n') all->len--; /* as llama.cpp's common/arg.cpp does with -f */
    if (all->len == 0) return HONE_FAIL(err, HONE_EINPUT, "give a text of some thousand words", "'%s' is empty", path);
    if (!hone_utf8_valid((const char *)all->ptr, all->len)) return HONE_FAIL(err, HONE_EINPUT, "give plain text in UTF-8", "'%s' is not UTF-8 text", path);
    return HONE_OK;
}

/* Before gigabytes are written for the runtime: are these texts? */
static hone_code look_at_texts(const hone_calib *c, hone_err *err)
{
    for (size_t i = 0; i < c->opt->n_texts; i++) {
        hone_arena a = { 0 };
        hone_bytes all;
        uint64_t   bytes;
        hone_code  code = slurp_text(c->opt->texts[i].path, &a, &all, &bytes, err);
        hone_arena_release(&a);
        HONE_TRY(code);
    }
    return HONE_OK;
}

static hone_code read_text(hone_calib *c, hone_calib_text *t, hone_err *err)
{
    hone_arena a = { 0 };
    hone_bytes all;
    hone_code  code = slurp_text(t->path, &a, &all, &t->bytes, err);
    if (code == HONE_OK) code = hone_runner_tokenize(c->child.runner, (const char *)all.ptr, all.len, true, false, &c->arena, &t->ids, &t->n_ids, err);
    hone_arena_release(&a);
    return code;
}

static hone_code read_texts(hone_calib *c, hone_err *err)
{
    c->texts = HONE_ARENA_NEW(&c->arena, hone_calib_text, c->opt->n_texts);
    if (!c->texts) return HONE_NOMEM(err, "texts");
    hone_event_step(c->ctx, "reading %zu text%s", c->opt->n_texts, c->opt->n_texts == 1 ? "" : "s");
    for (size_t i = 0; i < c->opt->n_texts; i++) {
        hone_calib_text *t = &c->texts[i];
        t->name = c->opt->texts[i].name;
        t->path = c->opt->texts[i].path;
        HONE_TRY(read_text(c, t, err));
        if (t->n_ids == 0) return HONE_FAIL(err, HONE_EINPUT, "give a text of some thousand words", "'%s' has no tokens", t->path);
        size_t most = c->opt->max_tokens && c->opt->max_tokens < t->n_ids ? c->opt->max_tokens : t->n_ids;
        t->n_chunks = most < c->context ? 1 : (uint32_t)(most / c->context);
        t->used = most < c->context ? most : (size_t)t->n_chunks * c->context;
    }
    return HONE_OK;
}

hone_code hone_calib_open(hone_calib *c, hone_err *err)
{
    HONE_TRY(look_at_texts(c, err));
    HONE_TRY(open_model(c, err));
    return read_texts(c, err);
}

void hone_calib_close(hone_calib *c)
{
    for (size_t i = 0; c->grams && i < c->unit_to - c->unit_from; i++) hone_gram_release(&c->grams[i]);
    free(c->grams);
    hone_temp_close(&c->folder);
    hone_child_close(&c->child);
    hone_model_close(&c->model);
    hone_arena_release(&c->arena);
}
