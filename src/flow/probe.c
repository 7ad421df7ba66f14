#include "flow/probe.h"
#include "base/file.h"
#include "base/text.h"
#include "hw/cpu.h"
#include "hw/hw.h"
#include "hw/profile.h"
#include "hw/target.h"
#include "runner/runner.h"
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* The four frameworks of the mission, and the plug-in through which hone drives each. */
static const struct { const char *name, *backend; } runtimes[] = {
    { "llama.cpp", "llamacpp" },
    { "onnxruntime", "onnxruntime" },
    { "openvino", "openvino" },
    { "mlx", "mlx" },
};

/* "CPU: AMD EPYC; CUDA0: ...": as the plug-in gives them. */
static json_t *devices_of(const char *text)
{
    json_t *list = json_array();
    for (const char *p = text; list && *p;) {
        size_t n = strcspn(p, "\n;");
        while (n && *p == ' ') p++, n--;
        char shown[256];
        if (n && json_array_append_new(list, json_string(hone_text_show(p, n, shown, sizeof shown))) != 0) {
            json_decref(list);
            return NULL;
        }
        p += n;
        if (*p) p++;
    }
    return list;
}

/* One that cannot be used: what is wrong, and what helps. */
static json_t *unavailable(const char *name, const char *cause, const char *remedy)
{
    char reason[sizeof((hone_err *)0)->cause + sizeof((hone_err *)0)->remedy + 4];
    (void)snprintf(reason, sizeof reason, remedy[0] ? "%s: %s" : "%s%s", cause, remedy);
    return json_pack("{s:s, s:n, s:b, s:[], s:s}", "name", name, "version", "available", 0, "devices", "reason", reason);
}

static json_t *runtime_of(const hone_ctx *ctx, size_t i)
{
    char         version[128] = "", devices[1024] = "", path[4096];
    hone_err     why = { 0 };
    hone_runner *r = NULL;
    int          n = snprintf(path, sizeof path, "%s/hone-backend-%s.so", ctx->libexec_dir ? ctx->libexec_dir : "", runtimes[i].backend);
    if (!ctx->libexec_dir || n < 0 || (size_t)n >= sizeof path || !hone_file_exists(path)) {
        char cause[80];
        (void)snprintf(cause, sizeof cause, "hone-backend-%s.so is not installed", runtimes[i].backend);
        return unavailable(runtimes[i].name, cause, hone_runner_install(runtimes[i].backend));
    }
    hone_code code = hone_runner_start(ctx, &(hone_runner_options){ .backend = runtimes[i].backend, .timeout_s = 30 }, &r, &why);
    if (code == HONE_OK) code = hone_runner_probe(r, version, sizeof version, devices, sizeof devices, &why);
    hone_runner_stop(r);
    if (code != HONE_OK)
        return unavailable(runtimes[i].name, why.cause, why.remedy);
    char shown[sizeof version];
    return json_pack("{s:s, s:s, s:b, s:o, s:s}", "name", runtimes[i].name, "version", hone_text_show(version, strlen(version), shown, sizeof shown), "available", 1, "devices", devices_of(devices),
                     "reason", "");
}

hone_code hone_probe_runtimes(const hone_ctx *ctx, json_t **out, hone_err *err)
{
    json_t *list = json_array();
    bool    ok = list != NULL;
    for (size_t i = 0; ok && i < HONE_COUNT(runtimes); i++) ok = json_array_append_new(list, runtime_of(ctx, i)) == 0;
    if (!ok) {
        json_decref(list);
        return HONE_NOMEM(err, "the runtimes");
    }
    *out = list;
    return HONE_OK;
}

/* A named target was not asked what it has installed. */
static json_t *nothing_asked(void)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < HONE_COUNT(runtimes); i++)
        if (json_array_append_new(list, json_pack("{s:s, s:n, s:b, s:[], s:s}", "name", runtimes[i].name, "version", "available", 0, "devices",
                                                  "reason", "a named profile is not a machine: nothing was asked")) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *host_target(const json_t *doc)
{
    const char    *vendor, *platform;
    char           name[80] = "this machine";
    struct utsname u;
    bool           known = uname(&u) == 0;
    hone_target_classify(doc, &vendor, &platform);
    if (known) (void)snprintf(name, sizeof name, "this machine (%.60s)", u.nodename);
    return json_pack("{s:s, s:s, s:s, s:[], s:s, s:s, s:s}", "name", "host", "title", name, "kind", "host", "aliases", "vendor", vendor, "platform",
                     platform, "os", known ? u.sysname : "unknown");
}

static hone_code probe_host(const hone_ctx *ctx, const char *folder, unsigned measure, json_t **out, hone_err *err)
{
    json_t *all = NULL;
    char    here[4096];
    if (!folder) folder = getcwd(here, sizeof here) ? here : "/";
    HONE_TRY(hone_hw_all(&(hone_hw_query){ .ctx = ctx, .roots = &hone_hw_machine, .folder = folder, .measure = measure }, &all, err));
    json_t *doc = json_object();
    bool    ok = doc && hone_json_put(doc, "target", host_target(all)) && json_object_update(doc, all) == 0 &&
              hone_json_put(doc, "policy",
                            json_pack("{s:s, s:s, s:I, s:n}", "format", "gguf", "quantization", "q4_k_m", "threads",
                                      (json_int_t)hone_cpu_effective(&hone_hw_machine), "package_bytes"));
    json_decref(all);
    if (!ok) {
        json_decref(doc);
        return HONE_NOMEM(err, "the machine's facts");
    }
    *out = doc;
    return HONE_OK;
}

hone_code hone_probe_facts(const hone_ctx *ctx, const char *target, const char *folder, unsigned measure, json_t **out, hone_err *err)
{
    if (!target || strcmp(target, "host") == 0) return probe_host(ctx, folder, measure, out, err);
    return hone_profile_load(ctx, target, out, err);
}

hone_code hone_probe_in(const hone_ctx *ctx, const char *target, const char *folder, bool measure, json_t **out, hone_err *err)
{
    json_t *doc = NULL, *found = NULL;
    HONE_TRY(hone_probe_facts(ctx, target, folder, measure ? HONE_HW_MEMORY_SPEED | HONE_HW_DISK_SPEED : 0, &doc, err));
    bool      host = strcmp(json_string_value(json_object_get(json_object_get(doc, "target"), "kind")), "host") == 0;
    hone_code code = host ? hone_probe_runtimes(ctx, &found, err) : HONE_OK;
    if (code == HONE_OK && !hone_json_put(doc, "runtimes", host ? found : nothing_asked())) code = HONE_NOMEM(err, "the target's facts");
    if (code != HONE_OK) json_decref(doc);
    else *out = doc;
    return code;
}

hone_code hone_probe(const hone_ctx *ctx, const char *target, bool measure, json_t **out, hone_err *err)
{
    return hone_probe_in(ctx, target, NULL, measure, out, err);
}
