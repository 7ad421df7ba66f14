#include "hw/target.h"
#include <string.h>

static const json_t *at(const json_t *doc, const char *section, const char *key)
{
    return json_object_get(json_object_get(doc, section), key);
}

static uint64_t count_at(const json_t *doc, const char *section, const char *key)
{
    const json_t *v = at(doc, section, key);
    return json_is_integer(v) && json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v) : 0;
}

static const char *text_at(const json_t *doc, const char *section, const char *key)
{
    return json_string_value(at(doc, section, key));
}

static bool usable_device(const json_t *doc, const char *kind, const char *vendor)
{
    size_t  i;
    json_t *d;
    json_array_foreach(json_object_get(doc, "accelerators"), i, d) {
        const char *k = json_string_value(json_object_get(d, "kind")), *v = json_string_value(json_object_get(d, "vendor"));
        if (k && v && strcmp(k, kind) == 0 && strcmp(v, vendor) == 0 && json_is_true(json_object_get(d, "usable"))) return true;
    }
    return false;
}

void hone_target_classify(const json_t *doc, const char **vendor, const char **platform)
{
    const char *cpu = text_at(doc, "cpu", "vendor"), *arch = text_at(doc, "cpu", "arch");
    bool        arm = arch && strncmp(arch, "arm", 3) == 0;
    *vendor = "generic";
    *platform = "generic";
    if (cpu && strcmp(cpu, "apple") == 0) {
        *vendor = "apple";
        *platform = "apple_silicon";
    } else if (usable_device(doc, "gpu", "nvidia")) {
        *vendor = "nvidia";
        *platform = "nvidia_gpu";
    } else if (usable_device(doc, "tpu", "google")) {
        *vendor = "google";
        *platform = "edge_tpu";
    } else if (cpu && strcmp(cpu, "intel") == 0) {
        *vendor = "intel";
        *platform = "intel";
    } else if (cpu && strcmp(cpu, "amd") == 0) {
        *vendor = "amd";
    } else if (arm) {
        /* Phones have a battery; boards do not.  Servers on Arm are neither: more than 16 cores. */
        *vendor = cpu && strcmp(cpu, "qualcomm") == 0 ? "qualcomm" : "arm";
        if (json_is_object(at(doc, "power", "battery"))) *platform = "arm_mobile";
        else if (count_at(doc, "cpu", "cores") <= 16) *platform = "embedded_arm";
    }
}

hone_code hone_target_read(const json_t *doc, hone_target *out, hone_err *err)
{
    const char *kind = text_at(doc, "target", "kind");
    size_t      i;
    json_t     *c;
    hone_target t = { 0 };
    t.name = text_at(doc, "target", "name");
    t.title = text_at(doc, "target", "title");
    t.vendor = text_at(doc, "target", "vendor");
    t.platform = text_at(doc, "target", "platform");
    if (!kind || !t.name || !t.title || !t.vendor || !t.platform)
        return HONE_FAIL(err, HONE_EBUG, "", "the document of a target has no target{kind,name,title,vendor,platform}");
    t.host = strcmp(kind, "host") == 0;
    t.arch = text_at(doc, "cpu", "arch");
    if (!t.arch) t.arch = "";
    t.cores = (unsigned)count_at(doc, "cpu", "cores");
    t.threads = (unsigned)count_at(doc, "policy", "threads");
    if (!t.threads) t.threads = (unsigned)count_at(doc, "cpu", "threads_usable");
    t.ram_bytes = count_at(doc, "memory", "available_bytes");
    t.storage_bytes = count_at(doc, "storage", "free_bytes");
    t.package_bytes = count_at(doc, "policy", "package_bytes");
    const json_t *bw = at(doc, "memory", "read_gb_s");
    t.read_gb_s = json_is_number(bw) ? json_number_value(bw) : 0;
    t.read_measured = t.host;
    json_array_foreach((json_t *)(uintptr_t)at(doc, "cpu", "caches"), i, c) {
        uint64_t bytes = (uint64_t)json_integer_value(json_object_get(c, "bytes")) * (uint64_t)json_integer_value(json_object_get(c, "count"));
        if (json_integer_value(json_object_get(c, "level")) >= 2 && bytes > t.cache_bytes) t.cache_bytes = bytes;
    }
    t.format = text_at(doc, "policy", "format");
    t.quantization = text_at(doc, "policy", "quantization");
    t.context = (uint32_t)count_at(doc, "policy", "context");
    *out = t;
    return HONE_OK;
}
