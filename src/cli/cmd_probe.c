/* cmd_probe.c - hone probe: what this machine, or a named target, has. */
#include "base/text.h"
#include "cli/cli.h"
#include "flow/probe.h"
#include "hw/profile.h"
#include <stdlib.h>

static const hone_opt opts[] = {
    { "target", 't', HONE_OPT_TEXT, "T", NULL, "a named target, or a profile of your own (FILE.json); default: host, this machine" },
    { "list", 'l', HONE_OPT_FLAG, NULL, NULL, "show the named targets" },
    { "folder", 0, HONE_OPT_TEXT, "DIR", NULL, "look at the disk of this folder (default: the current one)" },
    { "quick", 0, HONE_OPT_FLAG, NULL, NULL, "measure nothing: no memory and disk bandwidth" },
    { "sources", 0, HONE_OPT_FLAG, NULL, NULL, "show what each fact of a named target rests on" },
};

static hone_code run(hone_cli *c, json_t *doc, hone_err *err)
{
    json_t   *got = NULL;
    hone_code code;
    if (hone_cli_has(c, "list")) {
        HONE_TRY(hone_profile_list(&c->ctx, &got, err));
        return hone_json_put(doc, "targets", got) ? HONE_OK : HONE_NOMEM(err, "the targets");
    }
    code = hone_probe_in(&c->ctx, hone_cli_text(c, "target", NULL), hone_cli_text(c, "folder", NULL), !hone_cli_has(c, "quick"), &got, err);
    if (code == HONE_OK && json_object_update(doc, got) != 0) code = HONE_NOMEM(err, "the facts");
    json_decref(got);
    return code;
}

/* Caches are built in powers of two, and everyone names them so. */
static const char *cache_size(double bytes, char *out, size_t cap)
{
    if (bytes >= 1048576) (void)snprintf(out, cap, "%.4g MiB", bytes / 1048576);
    else (void)snprintf(out, cap, "%.4g KiB", bytes / 1024);
    return out;
}

static const char *bytes_at(const json_t *o, const char *key, char *out, size_t cap)
{
    return hone_text_bytes((uint64_t)hone_doc_num(o, key, 0), out, cap);
}

/* "not measured: why" in the same place where the value would stand. */
static void absent(hone_cli *c, const char *name, const json_t *section, const char *key)
{
    hone_say_field(c, name, "not measured: %s", hone_doc_str(json_object_get(section, "not_measured"), key, "no reason was given"));
}

static void say_text(hone_cli *c, const char *name, const json_t *section, const char *key)
{
    const char *s = hone_doc_str(section, key, NULL);
    if (s) hone_say_field(c, name, "%s", s);
    else absent(c, name, section, key);
}

static void say_words(hone_cli *c, const char *name, const json_t *words)
{
    hone_text t = { 0 };
    size_t    i, line = 0;
    json_t   *w;
    bool      first = true;
    json_array_foreach((json_t *)(uintptr_t)words, i, w) {
        const char *s = json_string_value(w);
        if (line && line + strlen(s) + 20 > (size_t)c->width) {
            hone_say_field(c, first ? name : "", "%s", t.ptr);
            hone_text_clear(&t);
            first = false;
            line = 0;
        }
        hone_text_addf(&t, "%s%s", line ? " " : "", s);
        line += strlen(s) + 1;
    }
    hone_say_field(c, first ? name : "", "%s", t.len ? t.ptr : "none");
    hone_text_release(&t);
}

static void print_cpu(hone_cli *c, const json_t *cpu, bool host)
{
    char   a[32];
    size_t i;
    json_t *k;
    hone_say_head(c, "Processor");
    say_text(c, "model", cpu, "model");
    hone_say_field(c, "architecture", "%s%s%s", hone_doc_str(cpu, "arch", "unknown"),
                   json_is_true(json_object_get(cpu, "virtual")) ? ", virtual machine on " : "",
                   json_is_true(json_object_get(cpu, "virtual")) ? hone_doc_str(cpu, "hypervisor", "an unnamed hypervisor") : "");
    if (hone_doc_has_num(cpu, "cores"))
        hone_say_field(c, "cores", "%.0f, %.0f threads%s", hone_doc_num(cpu, "cores", 0), hone_doc_num(cpu, "threads", 0),
                       hone_doc_num(cpu, "packages", 1) > 1 ? ", several packages" : "");
    else absent(c, "cores", cpu, "cores");
    if (json_array_size(json_object_get(cpu, "kinds")) > 1)
        json_array_foreach(json_object_get(cpu, "kinds"), i, k)
            hone_say_field(c, i ? "" : "kinds of core", "%s: %.0f threads", hone_doc_str(k, "type", "?"), hone_doc_num(k, "threads", 0));
    if (hone_doc_has_num(cpu, "performance_cores")) hone_say_field(c, "fast cores", "%.0f", hone_doc_num(cpu, "performance_cores", 0));
    if (host) {
        if (hone_doc_has_num(cpu, "quota_cores"))
            hone_say_field(c, "usable", "%.0f threads: a quota of %.1f cores (%s)", hone_doc_num(cpu, "threads_usable", 1),
                           hone_doc_num(cpu, "quota_cores", 0), hone_doc_str(cpu, "limited_by", "control group"));
        else hone_say_field(c, "usable", "%.0f threads", hone_doc_num(cpu, "threads_usable", 1));
    }
    if (hone_doc_has_num(cpu, "max_mhz")) hone_say_field(c, "clock", "up to %.0f MHz", hone_doc_num(cpu, "max_mhz", 0));
    say_words(c, "features", json_object_get(cpu, "features"));
    json_array_foreach(json_object_get(cpu, "caches"), i, k) {
        const char *type = hone_doc_str(k, "type", "");
        hone_say_field(c, i ? "" : "caches", "L%.0f%s  %.0f x %s", hone_doc_num(k, "level", 0),
                       strcmp(type, "data") == 0 ? "d" : strcmp(type, "instruction") == 0 ? "i" : " ", hone_doc_num(k, "count", 1),
                       cache_size(hone_doc_num(k, "bytes", 0), a, sizeof a));
    }
}

static void print_memory(hone_cli *c, const json_t *doc, bool host)
{
    const json_t *m = json_object_get(doc, "memory");
    char          a[32];
    hone_say_head(c, "Memory");
    hone_say_field(c, "installed", "%s", bytes_at(m, "total_bytes", a, sizeof a));
    if (host && hone_doc_num(m, "limit_bytes", 0) < hone_doc_num(m, "total_bytes", 0))
        hone_say_field(c, "limit", "%s (%s)", bytes_at(m, "limit_bytes", a, sizeof a), hone_doc_str(m, "limited_by", ""));
    if (hone_doc_has_num(m, "available_bytes"))
        hone_say_field(c, host ? "available" : "for a model", "%s", bytes_at(m, "available_bytes", a, sizeof a));
    else absent(c, "available", m, "available_bytes");
    if (!hone_doc_has_num(m, "read_gb_s")) absent(c, "read", m, "read_gb_s");
    else if (host)
        hone_say_field(c, "read", "%.1f GB/s on %.0f thread%s, %.1f on one%s", hone_doc_num(m, "read_gb_s", 0), hone_doc_num(m, "read_threads", 1),
                       hone_doc_num(m, "read_threads", 1) > 1 ? "s" : "", hone_doc_num(m, "read_gb_s_one_thread", 0),
                       json_is_true(json_object_get(m, "read_beyond_cache")) ? "" : " (the caches may have helped)");
    else
        hone_say_field(c, "read", "%.1f GB/s (%s, not measured)", hone_doc_num(m, "read_gb_s", 0),
                       hone_doc_str(json_object_get(doc, "basis"), "memory.read_gb_s", "nominal"));
}

static void print_accelerators(hone_cli *c, const json_t *list, bool host)
{
    size_t  i;
    json_t *d;
    char    a[32];
    hone_say_head(c, "Accelerators");
    if (json_array_size(list) == 0) hone_say(c, HONE_PLAIN, "  none found\n");
    json_array_foreach((json_t *)(uintptr_t)list, i, d) {
        const char *why = hone_doc_str(d, "reason", ""), *note = hone_doc_str(d, "note", "");
        hone_say_field(c, hone_doc_str(d, "kind", "?"), "%s%s%s%s%s", hone_doc_str(d, "name", "?"),
                       hone_doc_has_num(d, "memory_bytes") ? ", " : "",
                       hone_doc_has_num(d, "memory_bytes") ? bytes_at(d, "memory_bytes", a, sizeof a) : "",
                       !host ? "" : json_is_true(json_object_get(d, "usable")) ? ": usable" : ": not usable, ", why);
        if (note[0]) hone_say_wrapped(c, 19, note);
    }
}

static void print_rest(hone_cli *c, const json_t *doc, bool host)
{
    const json_t *s = json_object_get(doc, "storage"), *p = json_object_get(doc, "power"), *n = json_object_get(doc, "network"),
                 *b = json_object_get(p, "battery");
    char    a[32], t[32];
    size_t  i;
    json_t *r;
    hone_say_head(c, "Storage");
    if (host) {
        hone_say_field(c, "folder", "%s", hone_doc_str(s, "folder", "?"));
        hone_say_field(c, "free", "%s of %s, %s", bytes_at(s, "free_bytes", a, sizeof a), bytes_at(s, "total_bytes", t, sizeof t),
                       hone_doc_str(s, "filesystem", "unknown file system"));
    } else hone_say_field(c, "budget", "%s", bytes_at(s, "free_bytes", a, sizeof a));
    say_text(c, "type", s, "type");
    if (hone_doc_has_num(s, "read_mb_s"))
        hone_say_field(c, "read", "%.0f MB/s (small sample: %s)", hone_doc_num(s, "read_mb_s", 0), bytes_at(s, "read_sample_bytes", a, sizeof a));
    else if (host) absent(c, "read", s, "read_mb_s");

    hone_say_head(c, "Power");
    say_text(c, "source", p, "source");
    if (json_is_object(b) && hone_doc_has_num(b, "percent"))
        hone_say_field(c, "battery", "%.0f %%, %s", hone_doc_num(b, "percent", 0), hone_doc_str(b, "status", "?"));
    if (hone_doc_has_num(p, "watts")) hone_say_field(c, "power", "%.0f W", hone_doc_num(p, "watts", 0));
    if (host) {
        say_text(c, "energy", p, "energy_counter");
        say_text(c, "governor", p, "governor");
        if (!json_is_array(json_object_get(p, "thermal"))) absent(c, "temperature", p, "thermal");
        json_array_foreach(json_object_get(p, "thermal"), i, r)
            hone_say_field(c, i ? "" : "temperature", "%s: %.0f °C%s", hone_doc_str(r, "type", "?"), hone_doc_num(r, "celsius", 0),
                           hone_doc_has_num(r, "throttles_at_celsius") && hone_doc_num(r, "celsius", 0) >= hone_doc_num(r, "throttles_at_celsius", 1e9)
                               ? " (slowing down)"
                               : "");
    }

    hone_say_head(c, "Network");
    const char *state = hone_doc_str(n, "state", NULL), *route = hone_doc_str(n, "default_route", NULL);
    if (state && host) hone_say_field(c, "state", "%s%s%s (judged from routes, nothing was sent)", state, route ? " through " : "", route ? route : "");
    else if (state) hone_say_field(c, "state", "%s", state);
    else absent(c, "state", n, "state");
    json_array_foreach(json_object_get(n, "interfaces"), i, r) {
        if (!json_is_true(json_object_get(r, "carrier"))) continue;
        char speed[48] = "link speed not shown";
        if (hone_doc_has_num(r, "link_mbit_s")) (void)snprintf(speed, sizeof speed, "%.0f Mbit/s link", hone_doc_num(r, "link_mbit_s", 0));
        hone_say_field(c, "", "%s: %s, %s", hone_doc_str(r, "name", "?"), hone_doc_str(r, "kind", "?"), speed);
    }
}

static void print_list(hone_cli *c, const json_t *list)
{
    size_t      i, k;
    json_t     *p, *a;
    hone_table *t = hone_table_new(c, 3);
    hone_table_col(t, 0, "target", "", false);
    hone_table_col(t, 1, "what it stands for", "", false);
    hone_table_col(t, 2, "also called", "", false);
    json_array_foreach((json_t *)(uintptr_t)list, i, p) {
        hone_text also = { 0 };
        json_array_foreach(json_object_get(p, "aliases"), k, a) hone_text_addf(&also, "%s%s", k ? ", " : "", json_string_value(a));
        hone_table_cell(t, i, 0, HONE_BOLD, "%s", hone_doc_str(p, "name", "?"));
        hone_table_cell(t, i, 1, HONE_PLAIN, "%s", hone_doc_str(p, "title", ""));
        hone_table_cell(t, i, 2, HONE_DIM, "%s", also.len ? also.ptr : "");
        hone_text_release(&also);
    }
    hone_table_print(c, t);
}

static void print(hone_cli *c, const json_t *doc)
{
    const json_t *target = json_object_get(doc, "target"), *policy = json_object_get(doc, "policy");
    size_t        i;
    json_t       *r;
    char          a[32];
    if (json_object_get(doc, "targets")) {
        print_list(c, json_object_get(doc, "targets"));
        return;
    }
    bool host = strcmp(hone_doc_str(target, "kind", ""), "host") == 0;
    hone_say(c, HONE_BOLD, "%s\n", hone_doc_str(target, "title", "?"));
    if (!host) hone_say(c, HONE_DIM, "a named target: its facts come from datasheets and from policy, none was measured (--sources)\n");
    print_cpu(c, json_object_get(doc, "cpu"), host);
    print_memory(c, doc, host);
    print_accelerators(c, json_object_get(doc, "accelerators"), host);
    print_rest(c, doc, host);
    if (!host) {
        hone_say_head(c, "Policy");
        hone_say_field(c, "format", "%s, %s", hone_doc_str(policy, "format", "?"), hone_doc_str(policy, "quantization", "?"));
        hone_say_field(c, "threads", "%.0f", hone_doc_num(policy, "threads", 0));
        hone_say_field(c, "context", "%.0f tokens", hone_doc_num(policy, "context", 0));
        if (hone_doc_has_num(policy, "package_bytes")) hone_say_field(c, "package", "at most %s", bytes_at(policy, "package_bytes", a, sizeof a));
    } else {
        hone_say_head(c, "Runtimes");
        json_array_foreach(json_object_get(doc, "runtimes"), i, r) {
            bool    have = json_is_true(json_object_get(r, "available"));
            size_t  k;
            json_t *d;
            hone_say_field(c, hone_doc_str(r, "name", "?"), "%s", have ? hone_doc_str(r, "version", "?") : "not available");
            if (!have) hone_say_wrapped(c, 19, hone_doc_str(r, "reason", ""));
            json_array_foreach(json_object_get(r, "devices"), k, d) hone_say_field(c, "", "%s", json_string_value(d));
        }
    }
    if (hone_cli_has(c, "sources") && !host) {
        const char *key;
        hone_say_head(c, "Sources");
        json_object_foreach(json_object_get(doc, "sources"), key, r) {
            hone_say(c, HONE_DIM, "  %s (%s)\n", key, hone_doc_str(json_object_get(doc, "basis"), key, "?"));
            hone_say_wrapped(c, 6, json_string_value(r));
        }
    }
}

const hone_cmd hone_cmd_probe = {
    .name = "probe",
    .summary = "show what this machine, or a named target, has to run a model on",
    .args = "",
    .about = "Reads processor, memory, accelerators, storage, power, network and runtimes from the kernel and the hardware, within the limits that "
             "control groups set, and measures how fast memory and disk are read (about two seconds and a nameless file of 64 MiB; --quick leaves "
             "that out). What cannot be found is said, with the reason. A named target's facts come from datasheets; each has its source.",
    .example = "hone probe\nhone probe --target raspberry-pi-5 --sources\nhone probe --list",
    .opts = opts, .n_opts = HONE_COUNT(opts), .min_args = 0, .max_args = 0, .run = run, .print = print,
};
