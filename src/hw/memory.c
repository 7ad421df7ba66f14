/* memory.c - how much memory there is, how much of it this process may still take, and how fast it is read. */
#include "hw/bandwidth.h"
#include "hw/cgroup.h"
#include "hw/cpu.h"
#include "hw/hw.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* "24684084 kB" */
static bool kilobytes(const char *meminfo, const char *key, uint64_t *out)
{
    char text[64], *end;
    if (!hone_tree_field(meminfo, key, ':', text, sizeof text)) return false;
    uint64_t v = strtoull(text, &end, 10), bytes;
    if (end == text || strcmp(end, " kB") != 0 || !hone_size_mul(v, 1024, &bytes)) return false;
    *out = bytes;
    return true;
}

static void put_bandwidth(const hone_hw_query *q, hone_hw_out *o, uint64_t room)
{
    const char    *why = NULL;
    hone_bandwidth b;
    hone_err       err = { 0 };
    if (!(q->measure & HONE_HW_MEMORY_SPEED)) why = "not asked to measure";
    else if (!hone_hw_is_real(q->roots)) why = "this is not the machine that was read";
    else {
        hone_event_step(q->ctx, "measuring how fast memory is read");
        if (hone_bandwidth_measure(q->ctx, hone_cpu_llc_bytes(q->roots), room, hone_cpu_effective(q->roots), &b, &err) != HONE_OK)
            why = err.cause;
    }
    if (why) {
        hone_hw_none(o, "read_gb_s", "%s", why);
        hone_hw_none(o, "read_gb_s_one_thread", "%s", why);
        return;
    }
    hone_hw_real(o, "read_gb_s", b.all_gb_s);
    hone_hw_real(o, "read_gb_s_one_thread", b.one_gb_s);
    hone_hw_u64(o, "read_threads", b.threads);
    hone_hw_u64(o, "read_buffer_bytes", b.buffer_bytes);
    hone_hw_bool(o, "read_beyond_cache", b.beyond_cache);
}

hone_code hone_hw_memory(const hone_hw_query *q, json_t **out, hone_err *err)
{
    hone_hw_out o;
    hone_arena  a = { 0 };
    hone_cgroup g;
    uint64_t    total = 0, available = 0, swap;
    hone_hw_begin(&o);
    hone_cgroup_read(q->roots, &g);
    const char *meminfo = hone_tree_slurp(&a, q->roots->proc, "meminfo");
    bool        has_total = meminfo && kilobytes(meminfo, "MemTotal", &total);
    /* MemAvailable came with Linux 3.14; MemFree alone would call every busy machine full. */
    bool has_available = meminfo && kilobytes(meminfo, "MemAvailable", &available);

    if (has_total) hone_hw_u64(&o, "total_bytes", total);
    else hone_hw_none(&o, "total_bytes", "%s/meminfo has no MemTotal", q->roots->proc);
    if (g.memory_limited && has_total && g.memory_limit < total) {
        hone_hw_u64(&o, "limit_bytes", g.memory_limit);
        hone_hw_str(&o, "limited_by", g.memory_at);
    } else if (has_total) {
        hone_hw_u64(&o, "limit_bytes", total);
        hone_hw_str(&o, "limited_by", "memory installed");
    } else {
        hone_hw_none(&o, "limit_bytes", "%s/meminfo has no MemTotal", q->roots->proc);
    }
    if (g.memory_limited && has_available && g.memory_room < available) available = g.memory_room;
    if (has_available) hone_hw_u64(&o, "available_bytes", available);
    else hone_hw_none(&o, "available_bytes", "%s/meminfo has no MemAvailable", q->roots->proc);
    if (meminfo && kilobytes(meminfo, "SwapTotal", &swap)) hone_hw_u64(&o, "swap_bytes", swap);
    if (g.memory_version) hone_hw_u64(&o, "cgroup_version", (uint64_t)g.memory_version);
    else hone_hw_none(&o, "cgroup_version", "no memory controller is mounted");
    put_bandwidth(q, &o, has_available ? available : 0);
    hone_arena_release(&a);
    return hone_hw_done(&o, "memory facts", out, err);
}
