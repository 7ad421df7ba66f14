#include "flow/optimize/state.h"
#include "base/file.h"
#include "base/text.h"
#include "flow/probe.h"
#include "passes/mix.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

static void pass_on(void *user, const hone_event *ev)
{
    const hone_opt_state *s = user;
    hone_event            e = *ev;
    if (e.kind == HONE_EV_STEP || e.kind == HONE_EV_NOTE) e.kind = HONE_EV_DETAIL;
    if (s->ctx->on_event) s->ctx->on_event(s->ctx->user, &e);
}

hone_opt_state *hone_opt_state_new(const hone_ctx *ctx, const hone_optimize_options *opt)
{
    hone_opt_state *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->ctx = ctx;
    s->opt = opt;
    s->lock = -1;
    s->inner = *ctx;
    s->inner.on_event = pass_on;
    s->inner.user = s;
    s->sweep = json_array();
    s->warnings = json_array();
    s->memory_basis = "reported";
    if (s->sweep && s->warnings) return s;
    hone_opt_state_release(s);
    return NULL;
}

void hone_opt_state_release(hone_opt_state *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) {
        json_decref(s->c[i].check);
        json_decref(s->c[i].eval);
        json_decref(s->c[i].bench);
    }
    json_decref(s->machine);
    json_decref(s->target_doc);
    json_decref(s->warnings);
    json_decref(s->sweep);
    json_decref(s->sweep_best);
    json_decref(s->final_base);
    json_decref(s->final_chosen);
    hone_history_close(s->history);
    hone_model_close(&s->model);
    hone_arena_release(&s->arena);
    if (s->lock >= 0) (void)close(s->lock);
    free(s);
}

hone_code hone_opt_lock(hone_opt_state *s, hone_err *err)
{
    const char *dir = s->opt->out_dir;
    s->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->lock < 0) return HONE_FAIL(err, HONE_ERESOURCE, "choose a folder that you may read and write", "cannot open folder '%s': %s", dir, strerror(errno));
    if (flock(s->lock, LOCK_EX | LOCK_NB) == 0) return HONE_OK;
    if (errno == EWOULDBLOCK)
        return HONE_FAIL(err, HONE_ERESOURCE, "wait for it to end, or choose another -o folder", "another hone optimize is at work in '%s'", dir);
    return HONE_OK; /* a file system without locks: two runs there are the user's own care */
}

/* Program files of this hone: what they compute is theirs, so their bytes are part of every key. */
static hone_code tool_digest(hone_opt_state *s, hone_err *err)
{
    static const char *const parts[] = { "hone-runner", "hone-backend-llamacpp.so", "hone-backend-onnxruntime.so", "hone-backend-openvino.so", "hone-backend-mlx.so" };
    hone_text                t = { 0 };
    char                     hex[65];
    hone_code                code = HONE_OK;
    hone_text_addf(&t, "%s\n", hone_sha256_file("/proc/self/exe", hex, NULL) == HONE_OK ? hex : HONE_VERSION);
    for (size_t i = 0; code == HONE_OK && i < HONE_COUNT(parts); i++) {
        const char *p = hone_arena_printf(&s->arena, "%s/%s", s->ctx->libexec_dir ? s->ctx->libexec_dir : ".", parts[i]);
        if (!p) code = HONE_NOMEM(err, "a path");
        else if (hone_file_exists(p)) code = hone_sha256_file(p, hex, err);
        else memcpy(hex, "none", 5);
        hone_text_addf(&t, "%s\n", hex);
    }
    if (code == HONE_OK) code = t.failed ? HONE_NOMEM(err, "a key") : hone_sha256((hone_bytes){ (const uint8_t *)t.ptr, t.len }, s->tool_digest, err);
    hone_text_release(&t);
    return code;
}

hone_code hone_opt_key(hone_opt_state *s, const char *kind, const char *artefact_sha256, const char *what, char key[65], hone_err *err)
{
    if (!s->tool_digest[0]) HONE_TRY(tool_digest(s, err));
    const json_t *cpu = json_object_get(s->machine, "cpu");
    const char   *model = json_string_value(json_object_get(cpu, "model"));
    hone_text     t = { 0 };
    hone_text_addf(&t, "%s\n%s\n%s\n%s\n%lld\n" HONE_VERSION "\n%s\n", kind, artefact_sha256, what, model ? model : "?",
                   (long long)json_integer_value(json_object_get(cpu, "threads")), s->tool_digest);
    hone_code code = t.failed ? HONE_NOMEM(err, "a key") : hone_sha256((hone_bytes){ (const uint8_t *)t.ptr, t.len }, key, err);
    hone_text_release(&t);
    return code;
}

double hone_doc_number(const json_t *obj, const char *path, double otherwise)
{
    const char   *dot = strchr(path, '.');
    const json_t *v;
    if (dot) {
        char head[64];
        if ((size_t)(dot - path) >= sizeof head) return otherwise;
        memcpy(head, path, (size_t)(dot - path));
        head[dot - path] = '\0';
        v = json_object_get(json_object_get(obj, head), dot + 1);
    } else v = json_object_get(obj, path);
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

bool hone_doc_interval(const json_t *obj, const char *path, double *lo, double *hi)
{
    const json_t *ci = json_object_get(json_object_get(obj, "ci"), path);
    if (json_array_size(ci) != 2) return false;
    *lo = json_number_value(json_array_get(ci, 0));
    *hi = json_number_value(json_array_get(ci, 1));
    return true;
}

const hone_candidate *hone_opt_base_of(const hone_opt_state *s, const hone_candidate *c)
{
    for (size_t i = 1; c->format && i < s->n; i++)
        if (s->c[i].role == HONE_OPT_RUNTIME_BASE && s->c[i].format && strcmp(s->c[i].format, c->format) == 0) return &s->c[i];
    return &s->c[0];
}

const char *hone_opt_gguf_quant(const char *name)
{
    const hone_mix *mix = hone_mix_find(name);
    if (mix) return mix->name;
    if (strcmp(name, "int8") == 0) return "q8_0";
    if (strcmp(name, "int4") == 0) return "q4_k_m";
    return NULL;
}

hone_code hone_opt_target(hone_opt_state *s, hone_err *err)
{
    HONE_TRY(hone_probe_facts(s->ctx, s->opt->target, s->opt->out_dir, 0, &s->target_doc, err));
    HONE_TRY(hone_target_read(s->target_doc, &s->target, err));
    const hone_target *t = &s->target;
    /* A profile knows what the device has, not what is free on it: half of it is what one program may count on. */
    double total = hone_doc_number(json_object_get(s->target_doc, "memory"), "total_bytes", 0);
    s->max_ram = s->opt->max_ram ? s->opt->max_ram : t->ram_bytes ? t->ram_bytes : (uint64_t)(total / 2);
    s->max_ram_from = !s->max_ram ? NULL : s->opt->max_ram ? "--max-ram" : t->ram_bytes ? "what the target has available" : "half of the target's memory";
    s->max_bytes = s->opt->max_bytes ? s->opt->max_bytes : t->package_bytes ? t->package_bytes : t->host ? 0 : t->storage_bytes;
    s->max_bytes_from = !s->max_bytes ? NULL : s->opt->max_bytes ? "--max-bytes" : t->package_bytes ? "the target's package budget" : "the target's free storage";
    s->strategy_quant = t->quantization ? hone_opt_gguf_quant(t->quantization) : NULL;
    /* The KV cache is measured at the context that the target's policy asks for, at most the model's own. */
    uint32_t need = (s->opt->prompt + s->opt->gen + 255) / 256 * 256, own = s->model.facts.context;
    s->context = t->context > need ? t->context : need;
    if (own && s->context > own) s->context = own > need ? own : need;
    return HONE_OK;
}
