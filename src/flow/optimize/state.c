#include "flow/optimize/state.h"
#include "base/file.h"
#include "base/text.h"
#include "flow/probe.h"
#include <stdlib.h>

hone_code hone_opt_key(hone_opt_state *s, const char *kind, const char *artefact_sha256, const char *what, char key[65], hone_err *err)
{
    if (!s->tool_digest[0]) {
        const char *plugin = hone_arena_printf(&s->arena, "%s/hone-backend-llamacpp.so", s->ctx->libexec_dir ? s->ctx->libexec_dir : ".");
        if (!plugin) return HONE_NOMEM(err, "a path");
        if (hone_file_exists(plugin)) HONE_TRY(hone_sha256_file(plugin, s->tool_digest, err));
        else memcpy(s->tool_digest, "none", 5);
    }
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

void hone_opt_state_release(hone_opt_state *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) {
        json_decref(s->c[i].check);
        json_decref(s->c[i].eval);
        json_decref(s->c[i].bench);
    }
    json_decref(s->machine);
    json_decref(s->target);
    json_decref(s->warnings);
    json_decref(s->sweep);
    json_decref(s->sweep_best);
    json_decref(s->final_base);
    json_decref(s->final_chosen);
    hone_history_close(s->history);
    hone_model_close(&s->model);
    hone_arena_release(&s->arena);
    free(s);
}

hone_code hone_opt_target(hone_opt_state *s, hone_err *err)
{
    json_t *whole = NULL;
    HONE_TRY(hone_probe(s->ctx, s->opt->target, false, &whole, err));
    const json_t *about = json_object_get(whole, "target"), *memory = json_object_get(whole, "memory"), *policy = json_object_get(whole, "policy");
    double        total = hone_doc_number(memory, "total_bytes", 0), free_now = hone_doc_number(memory, "available_bytes", 0);
    double        package = hone_doc_number(policy, "package_bytes", 0);
    /* A profile knows what the device has, not what is free on it: half of it is what one program may count on. */
    s->max_ram = s->opt->max_ram ? s->opt->max_ram : (uint64_t)(free_now > 0 ? free_now : total / 2);
    s->max_bytes = s->opt->max_bytes ? s->opt->max_bytes : (uint64_t)package;
    const char *name = json_string_value(json_object_get(about, "name")), *title = json_string_value(json_object_get(about, "title"));
    s->target = json_pack("{s:s,s:s,s:O?,s:O?}", "name", name ? name : s->opt->target, "title", title ? title : "", "policy", policy, "memory", memory);
    json_decref(whole);
    return s->target ? HONE_OK : HONE_NOMEM(err, "the target");
}
