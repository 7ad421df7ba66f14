/* cpu.c - processor: name, instruction sets, cores, caches, and how much of it this process may use. */
#include "hw/cpu.h"
#include "hw/cgroup.h"
#include "hw/hw.h"
#include <hwloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

/* --- instruction sets ------------------------------------------------------------------------------------------ */

/* What the operating system must save on a context switch before the instructions may be used (XCR0 bits). */
enum { XCR_NONE = 0, XCR_AVX = 0x6, XCR_AVX512 = 0xe6, XCR_AMX = 0x60000 };
enum { EAX, EBX, ECX, EDX };

typedef struct x86_feature {
    const char *name, *word; /* ours; the word in /proc/cpuinfo */
    uint32_t    leaf, sub;
    int         reg, bit;
    uint32_t    xcr;
} x86_feature;

/* Source: Intel SDM vol. 2A, CPUID; the words: Linux arch/x86/include/asm/cpufeatures.h. */
static const x86_feature x86_features[] = {
    { "sse3", "pni", 1, 0, ECX, 0, XCR_NONE },
    { "ssse3", "ssse3", 1, 0, ECX, 9, XCR_NONE },
    { "sse4_1", "sse4_1", 1, 0, ECX, 19, XCR_NONE },
    { "sse4_2", "sse4_2", 1, 0, ECX, 20, XCR_NONE },
    { "avx", "avx", 1, 0, ECX, 28, XCR_AVX },
    { "f16c", "f16c", 1, 0, ECX, 29, XCR_AVX },
    { "fma", "fma", 1, 0, ECX, 12, XCR_AVX },
    { "bmi2", "bmi2", 7, 0, EBX, 8, XCR_NONE },
    { "avx2", "avx2", 7, 0, EBX, 5, XCR_AVX },
    { "avx_vnni", "avx_vnni", 7, 1, EAX, 4, XCR_AVX },
    { "avx512f", "avx512f", 7, 0, EBX, 16, XCR_AVX512 },
    { "avx512dq", "avx512dq", 7, 0, EBX, 17, XCR_AVX512 },
    { "avx512bw", "avx512bw", 7, 0, EBX, 30, XCR_AVX512 },
    { "avx512vl", "avx512vl", 7, 0, EBX, 31, XCR_AVX512 },
    { "avx512_vbmi", "avx512vbmi", 7, 0, ECX, 1, XCR_AVX512 },
    { "avx512_vnni", "avx512_vnni", 7, 0, ECX, 11, XCR_AVX512 },
    { "avx512_bf16", "avx512_bf16", 7, 1, EAX, 5, XCR_AVX512 },
    { "avx512_fp16", "avx512_fp16", 7, 0, EDX, 23, XCR_AVX512 },
    { "amx_tile", "amx_tile", 7, 0, EDX, 24, XCR_AMX },
    { "amx_int8", "amx_int8", 7, 0, EDX, 25, XCR_AMX },
    { "amx_bf16", "amx_bf16", 7, 0, EDX, 22, XCR_AMX },
    { "amx_fp16", "amx_fp16", 7, 1, EAX, 21, XCR_AMX },
};

typedef struct arm_feature {
    const char *name, *word;
    int         set, bit; /* AT_HWCAP or AT_HWCAP2, and the bit in it */
} arm_feature;

/* Source: Linux arch/arm64/include/uapi/asm/hwcap.h and Documentation/arch/arm64/elf_hwcaps.rst. */
static const arm_feature arm_features[] = {
    { "neon", "asimd", 1, 1 },      { "fp16", "asimdhp", 1, 10 }, { "dotprod", "asimddp", 1, 20 }, { "sve", "sve", 1, 22 },
    { "sve2", "sve2", 2, 1 },       { "i8mm", "i8mm", 2, 13 },    { "bf16", "bf16", 2, 14 },       { "sme", "sme", 2, 23 },
    { "sme2", "sme2", 2, 37 },
};

static bool has_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; *p;) {
        size_t m = strcspn(p, " \t");
        if (m == n && strncmp(p, word, n) == 0) return true;
        p += m;
        p += strspn(p, " \t");
    }
    return false;
}

json_t *hone_cpu_features_named(const char *words, bool arm)
{
    json_t *list = json_array();
    bool    ok = list != NULL;
    size_t  n = arm ? HONE_COUNT(arm_features) : HONE_COUNT(x86_features);
    for (size_t i = 0; ok && i < n; i++) {
        const char *word = arm ? arm_features[i].word : x86_features[i].word;
        const char *name = arm ? arm_features[i].name : x86_features[i].name;
        if (has_word(words, word)) ok = json_array_append_new(list, json_string(name)) == 0;
        /* 32-bit kernels say "neon". */
        else if (arm && i == 0 && has_word(words, "neon")) ok = json_array_append_new(list, json_string("neon")) == 0;
    }
    if (!ok) {
        json_decref(list);
        return NULL;
    }
    return list;
}

/* From the processor itself; NULL where we cannot ask it (then /proc/cpuinfo is read). */
static json_t *native_features(bool *asked)
{
    *asked = false;
#if defined(__x86_64__) || defined(__i386__)
    uint32_t r[4], xcr0 = 0;
    *asked = true;
    if (__get_cpuid_count(1, 0, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) && (r[ECX] >> 27 & 1)) {
        uint32_t high;
        __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
    }
    json_t *list = json_array();
    for (size_t i = 0; list && i < HONE_COUNT(x86_features); i++) {
        const x86_feature *f = &x86_features[i];
        if (!__get_cpuid_count(f->leaf, f->sub, &r[EAX], &r[EBX], &r[ECX], &r[EDX])) continue;
        if ((r[f->reg] >> f->bit & 1) && (xcr0 & f->xcr) == f->xcr && json_array_append_new(list, json_string(f->name)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
#elif defined(__aarch64__) && defined(__linux__)
    unsigned long caps[3] = { 0, getauxval(AT_HWCAP), getauxval(AT_HWCAP2) };
    json_t       *list = json_array();
    *asked = true;
    for (size_t i = 0; list && i < HONE_COUNT(arm_features); i++) {
        const arm_feature *f = &arm_features[i];
        if ((caps[f->set] >> f->bit & 1) && json_array_append_new(list, json_string(f->name)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
#else
    return NULL;
#endif
}

/* --- names ----------------------------------------------------------------------------------------------------- */

typedef struct arm_part {
    unsigned    implementer, part;
    const char *name;
} arm_part;

/* Source: Linux arch/arm64/include/asm/cputype.h; Arm's Technical Reference Manuals (MIDR_EL1). */
static const arm_part arm_parts[] = {
    { 0x41, 0xd03, "Cortex-A53" },  { 0x41, 0xd04, "Cortex-A35" },   { 0x41, 0xd05, "Cortex-A55" },  { 0x41, 0xd07, "Cortex-A57" },
    { 0x41, 0xd08, "Cortex-A72" },  { 0x41, 0xd09, "Cortex-A73" },   { 0x41, 0xd0a, "Cortex-A75" },  { 0x41, 0xd0b, "Cortex-A76" },
    { 0x41, 0xd0c, "Neoverse-N1" }, { 0x41, 0xd0d, "Cortex-A77" },   { 0x41, 0xd40, "Neoverse-V1" }, { 0x41, 0xd41, "Cortex-A78" },
    { 0x41, 0xd42, "Cortex-A78AE" },{ 0x41, 0xd44, "Cortex-X1" },    { 0x41, 0xd46, "Cortex-A510" }, { 0x41, 0xd47, "Cortex-A710" },
    { 0x41, 0xd48, "Cortex-X2" },   { 0x41, 0xd49, "Neoverse-N2" },  { 0x41, 0xd4b, "Cortex-A78C" }, { 0x41, 0xd4d, "Cortex-A715" },
    { 0x41, 0xd4e, "Cortex-X3" },   { 0x41, 0xd4f, "Neoverse-V2" },  { 0x41, 0xd80, "Cortex-A520" }, { 0x41, 0xd81, "Cortex-A720" },
    { 0x41, 0xd82, "Cortex-X4" },   { 0x41, 0xd85, "Cortex-X925" },  { 0x41, 0xd87, "Cortex-A725" }, { 0x46, 0x001, "A64FX" },
    { 0x4e, 0x004, "Carmel" },      { 0x51, 0x001, "Oryon" },        { 0x51, 0x802, "Kryo 3XX Gold" },{ 0x51, 0x804, "Kryo 4XX Gold" },
    { 0xc0, 0xac3, "Ampere-1" },    { 0xc0, 0xac4, "Ampere-1a" },
};

static const char *arm_vendor(unsigned implementer)
{
    switch (implementer) {
    case 0x41: return "arm";
    case 0x46: return "fujitsu";
    case 0x48: return "hisilicon";
    case 0x4e: return "nvidia";
    case 0x51: return "qualcomm";
    case 0x61: return "apple";
    case 0xc0: return "ampere";
    default: return "other";
    }
}

static const char *x86_vendor(const char *id)
{
    return strcmp(id, "GenuineIntel") == 0   ? "intel"
           : strcmp(id, "AuthenticAMD") == 0 ? "amd"
           : strcmp(id, "HygonGenuine") == 0 ? "hygon"
                                             : "other";
}

/* Names every distinct core type of an Arm /proc/cpuinfo: "4 x Cortex-A55 + 4 x Cortex-A76". */
static bool arm_name(const char *info, char *out, size_t cap, unsigned *implementer)
{
    struct { unsigned impl, part, n; } kinds[8] = { { 0 } };
    size_t   n_kinds = 0;
    unsigned impl = 0;
    for (const char *p = info; *p;) {
        char        text[32];
        const char *end = p + strcspn(p, "\n");
        if (strncmp(p, "CPU implementer", 15) == 0 && hone_tree_field(p, "CPU implementer", ':', text, sizeof text))
            impl = (unsigned)strtoul(text, NULL, 16);
        if (strncmp(p, "CPU part", 8) == 0 && hone_tree_field(p, "CPU part", ':', text, sizeof text)) {
            unsigned part = (unsigned)strtoul(text, NULL, 16);
            size_t   i = 0;
            while (i < n_kinds && (kinds[i].impl != impl || kinds[i].part != part)) i++;
            if (i == n_kinds && n_kinds < HONE_COUNT(kinds)) {
                kinds[i].impl = impl;
                kinds[i].part = part;
                n_kinds++;
            }
            if (i < n_kinds) kinds[i].n++;
        }
        p = *end ? end + 1 : end;
    }
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n_kinds; i++) {
        const char *name = NULL;
        for (size_t k = 0; k < HONE_COUNT(arm_parts); k++)
            if (arm_parts[k].implementer == kinds[i].impl && arm_parts[k].part == kinds[i].part) name = arm_parts[k].name;
        int m = name ? snprintf(out + at, cap - at, "%s%u x %s", i ? " + " : "", kinds[i].n, name)
                     : snprintf(out + at, cap - at, "%s%u x implementer 0x%02x part 0x%03x", i ? " + " : "", kinds[i].n, kinds[i].impl,
                                kinds[i].part);
        if (m < 0 || (size_t)m >= cap - at) break;
        at += (size_t)m;
    }
    *implementer = n_kinds ? kinds[0].impl : 0;
    return n_kinds > 0;
}

/* --- topology -------------------------------------------------------------------------------------------------- */

/* false: why has the reason. */
static bool load_topology(const hone_hw_roots *roots, hwloc_topology_t *out, char *why, size_t cap)
{
    hwloc_topology_t t;
    if (!hone_hw_is_real(roots) && !roots->topology) {
        (void)snprintf(why, cap, "no topology was given for this tree");
        return false;
    }
    if (hwloc_topology_init(&t) != 0) {
        (void)snprintf(why, cap, "hwloc cannot start");
        return false;
    }
    if ((roots->topology && hwloc_topology_set_xml(t, roots->topology) != 0) ||
        hwloc_topology_set_flags(t, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) != 0 || hwloc_topology_load(t) != 0) {
        (void)snprintf(why, cap, "hwloc cannot read the topology");
        hwloc_topology_destroy(t);
        return false;
    }
    *out = t;
    return true;
}

static unsigned count_of(hwloc_topology_t t, hwloc_obj_type_t type)
{
    int n = hwloc_get_nbobjs_by_type(t, type);
    return n > 0 ? (unsigned)n : 0;
}

static json_t *caches_of(hwloc_topology_t t)
{
    static const struct { hwloc_obj_type_t type; const char *kind; } rows[] = {
        { HWLOC_OBJ_L1CACHE, "data" },    { HWLOC_OBJ_L1ICACHE, "instruction" }, { HWLOC_OBJ_L2CACHE, "unified" },
        { HWLOC_OBJ_L3CACHE, "unified" }, { HWLOC_OBJ_L4CACHE, "unified" },
    };
    json_t *list = json_array();
    for (size_t i = 0; list && i < HONE_COUNT(rows); i++) {
        /* Hybrid processors have caches of several sizes at one level: one entry each. */
        hwloc_obj_t o = NULL;
        uint64_t    seen[8];
        size_t      n_seen = 0;
        while ((o = hwloc_get_next_obj_by_type(t, rows[i].type, o)) != NULL) {
            uint64_t size = o->attr->cache.size;
            size_t   k = 0, count = 0;
            while (k < n_seen && seen[k] != size) k++;
            if (k < n_seen || n_seen == HONE_COUNT(seen)) continue;
            seen[n_seen++] = size;
            for (hwloc_obj_t other = o; other; other = hwloc_get_next_obj_by_type(t, rows[i].type, other))
                if (other->attr->cache.size == size) count++;
            int     shared = hwloc_bitmap_weight(o->cpuset);
            json_t *c = json_pack("{s:i, s:s, s:I, s:I, s:i, s:i}", "level", (int)o->attr->cache.depth, "type", rows[i].kind, "bytes",
                                  (json_int_t)size, "count", (json_int_t)count, "line_bytes", (int)o->attr->cache.linesize,
                                  "threads_sharing", shared > 0 ? shared : 1);
            if (!c || json_array_append_new(list, c) != 0) {
                json_decref(list);
                return NULL;
            }
        }
    }
    return list;
}

static json_t *kinds_of(hwloc_topology_t t)
{
    json_t        *list = json_array();
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    int            n = hwloc_cpukinds_get_nr(t, 0);
    bool           ok = list && set;
    for (int i = 0; ok && i < n; i++) {
        struct hwloc_info_s *infos = NULL;
        unsigned             n_infos = 0;
        int                  efficiency = -1;
        char                 type[32] = "";
        json_int_t           mhz = 0;
        if (hwloc_cpukinds_get_info(t, (unsigned)i, set, &efficiency, &n_infos, &infos, 0) != 0) continue;
        for (unsigned k = 0; k < n_infos; k++) {
            if (strcmp(infos[k].name, "CoreType") == 0) (void)snprintf(type, sizeof type, "%s", infos[k].value);
            if (strcmp(infos[k].name, "FrequencyMaxMHz") == 0) mhz = (json_int_t)strtol(infos[k].value, NULL, 10);
        }
        /* hwloc orders kinds from the most power-saving to the fastest. */
        if (!type[0]) (void)snprintf(type, sizeof type, "%s", n == 1 ? "all" : i == 0 ? "efficiency" : i == n - 1 ? "performance" : "middle");
        json_t *k = json_pack("{s:s, s:i, s:o}", "type", type, "threads", hwloc_bitmap_weight(set), "max_mhz",
                              mhz > 0 ? json_integer(mhz) : json_null());
        ok = k && json_array_append_new(list, k) == 0;
    }
    hwloc_bitmap_free(set);
    if (!ok) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static uint64_t llc_of(hwloc_topology_t t)
{
    static const hwloc_obj_type_t levels[] = { HWLOC_OBJ_L4CACHE, HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L1CACHE };
    for (size_t i = 0; i < HONE_COUNT(levels); i++) {
        uint64_t sum = 0;
        for (hwloc_obj_t o = NULL; (o = hwloc_get_next_obj_by_type(t, levels[i], o)) != NULL;) sum += o->attr->cache.size;
        if (sum) return sum;
    }
    return 0;
}

uint64_t hone_cpu_llc_bytes(const hone_hw_roots *roots)
{
    hwloc_topology_t t;
    char             why[64];
    if (!load_topology(roots, &t, why, sizeof why)) return 0;
    uint64_t bytes = llc_of(t);
    hwloc_topology_destroy(t);
    return bytes;
}

/* --- what of it is ours ---------------------------------------------------------------------------------------- */

/* "0-3,8" -> 5; 0 when it is no such list. */
static unsigned count_list(const char *s)
{
    unsigned long n = 0;
    while (*s) {
        char         *end;
        unsigned long from = strtoul(s, &end, 10), to = from;
        if (end == s) return 0;
        if (*end == '-') {
            s = end + 1;
            to = strtoul(s, &end, 10);
            if (end == s || to < from) return 0;
        }
        n += to - from + 1;
        if (n > 1u << 20) return 0;
        s = *end == ',' ? end + 1 : end;
        if (*end && *end != ',') return 0;
    }
    return (unsigned)n;
}

static unsigned cpus_allowed(const hone_hw_roots *roots)
{
    hone_arena  a = { 0 };
    char        list[1024];
    const char *status = hone_tree_slurp(&a, roots->proc, "self/status");
    unsigned    n = status && hone_tree_field(status, "Cpus_allowed_list", ':', list, sizeof list) ? count_list(list) : 0;
    hone_arena_release(&a);
    return n;
}

static unsigned cpus_online(const hone_hw_roots *roots)
{
    char list[1024];
    return hone_tree_text(list, sizeof list, roots->sys, "devices/system/cpu/online") ? count_list(list) : 0;
}

unsigned hone_cpu_effective(const hone_hw_roots *roots)
{
    hone_cgroup g;
    hone_cgroup_read(roots, &g);
    unsigned n = cpus_online(roots), allowed = cpus_allowed(roots);
    if (allowed && (n == 0 || allowed < n)) n = allowed;
    if (n == 0) n = 1;
    if (g.cpu_limited && ceil(g.cpu_cores) < (double)n) n = (unsigned)ceil(g.cpu_cores);
    return n ? n : 1;
}

static void put_shares(const hone_hw_roots *roots, hone_hw_out *o)
{
    hone_cgroup g;
    hone_cgroup_read(roots, &g);
    unsigned allowed = cpus_allowed(roots);
    if (allowed) hone_hw_u64(o, "threads_allowed", allowed);
    else hone_hw_none(o, "threads_allowed", "%s/self/status has no Cpus_allowed_list", roots->proc);
    if (g.cpu_limited) {
        hone_hw_real(o, "quota_cores", g.cpu_cores);
        hone_hw_str(o, "limited_by", g.cpu_at);
    } else {
        hone_hw_none(o, "quota_cores", g.cpu_version ? "no CPU quota is set" : "no CPU controller is mounted");
    }
    hone_hw_u64(o, "threads_usable", hone_cpu_effective(roots));
}

static void put_hypervisor(const hone_hw_roots *roots, hone_hw_out *o, const char *flags, bool arm)
{
    char name[64] = "", text[128];
    bool virtual = !arm && has_word(flags, "hypervisor"), known = !arm;
#if defined(__x86_64__) || defined(__i386__)
    if (virtual && hone_hw_is_real(roots)) {
        uint32_t r[4];
        __cpuid(0x40000000, r[EAX], r[EBX], r[ECX], r[EDX]);
        char id[13];
        memcpy(id, &r[EBX], 12);
        id[12] = '\0';
        (void)snprintf(name, sizeof name, "%s",
                       strncmp(id, "KVMKVMKVM", 9) == 0        ? "KVM"
                       : strcmp(id, "Microsoft Hv") == 0       ? "Hyper-V"
                       : strcmp(id, "VMwareVMware") == 0       ? "VMware"
                       : strcmp(id, "XenVMMXenVMM") == 0       ? "Xen"
                       : strcmp(id, "TCGTCGTCGTCG") == 0       ? "QEMU (emulated)"
                       : strcmp(id, "bhyve bhyve ") == 0       ? "bhyve"
                                                               : "");
    }
#endif
    if (!name[0] && hone_tree_text(text, sizeof text, roots->proc, "device-tree/hypervisor/compatible")) {
        virtual = known = true;
        (void)snprintf(name, sizeof name, "%s", strstr(text, "xen") ? "Xen" : "KVM");
    }
    if (hone_tree_text(text, sizeof text, roots->sys, "class/dmi/id/sys_vendor") && text[0]) {
        static const char *const makers[] = { "QEMU", "Amazon EC2", "Google", "VMware", "innotek", "Xen", "Parallels", "Firecracker" };
        for (size_t i = 0; i < HONE_COUNT(makers); i++)
            if (arm && strstr(text, makers[i])) virtual = true;
        known = true;
        if (virtual && !name[0]) (void)snprintf(name, sizeof name, "%.60s", text);
    }
    if (known) hone_hw_bool(o, "virtual", virtual);
    else hone_hw_none(o, "virtual", "this kernel does not say");
    if (!virtual) hone_hw_none(o, "hypervisor", known ? "not a virtual machine" : "this kernel does not say");
    else if (name[0]) hone_hw_str(o, "hypervisor", name);
    else hone_hw_none(o, "hypervisor", "the hypervisor does not give its name");
}

/* --- the probe ------------------------------------------------------------------------------------------------- */

static void put_names(const hone_hw_roots *roots, const char *info, bool arm, hone_hw_out *o)
{
    char     text[256];
    unsigned implementer = 0;
    if (arm) {
        bool named = info && arm_name(info, text, sizeof text, &implementer);
        if (named) hone_hw_str(o, "vendor", arm_vendor(implementer));
        else hone_hw_none(o, "vendor", "%s/cpuinfo names no implementer", roots->proc);
        if (named) hone_hw_str(o, "model", text);
        else hone_hw_none(o, "model", "%s/cpuinfo names no part", roots->proc);
    } else {
        if (info && hone_tree_field(info, "vendor_id", ':', text, sizeof text)) hone_hw_str(o, "vendor", x86_vendor(text));
        else hone_hw_none(o, "vendor", "%s/cpuinfo has no vendor_id", roots->proc);
        if (info && hone_tree_field(info, "model name", ':', text, sizeof text)) hone_hw_str(o, "model", text);
        else hone_hw_none(o, "model", "%s/cpuinfo has no model name", roots->proc);
    }
    if (hone_tree_text(text, sizeof text, roots->proc, "device-tree/model") && text[0]) hone_hw_str(o, "board", text);
    else if (hone_tree_text(text, sizeof text, roots->sys, "class/dmi/id/product_name") && text[0]) hone_hw_str(o, "board", text);
    else hone_hw_none(o, "board", "neither a device tree nor DMI names it");
}

/* Distinct (physical id, core id) pairs and packages; false when the text does not have them. */
static bool count_cores(const char *info, unsigned *cores, unsigned *packages, unsigned *threads)
{
    enum { MAX = 4096 };
    unsigned (*seen)[2] = calloc(MAX, sizeof *seen);
    unsigned n = 0, phys = 0, n_threads = 0, max_phys = 0;
    bool     has = false;
    for (const char *p = info; seen && *p;) {
        const char *end = p + strcspn(p, "\n");
        char        text[32];
        if (strncmp(p, "processor", 9) == 0 && (p[9] == '\t' || p[9] == ' ' || p[9] == ':')) n_threads++;
        if (strncmp(p, "physical id", 11) == 0 && hone_tree_field(p, "physical id", ':', text, sizeof text)) {
            phys = (unsigned)strtoul(text, NULL, 10);
            if (phys > max_phys) max_phys = phys;
        }
        if (strncmp(p, "core id", 7) == 0 && hone_tree_field(p, "core id", ':', text, sizeof text)) {
            unsigned core = (unsigned)strtoul(text, NULL, 10), i = 0;
            while (i < n && (seen[i][0] != phys || seen[i][1] != core)) i++;
            if (i == n && n < MAX) {
                seen[n][0] = phys;
                seen[n++][1] = core;
            }
            has = true;
        }
        p = *end ? end + 1 : end;
    }
    free(seen);
    *threads = n_threads;
    *cores = n;
    *packages = max_phys + 1;
    return has;
}

static void put_topology(const hone_hw_roots *roots, const char *info, hone_hw_out *o)
{
    hwloc_topology_t t;
    char             why[128];
    unsigned         cores = 0, packages = 0, threads = 0;
    if (load_topology(roots, &t, why, sizeof why)) {
        hone_hw_u64(o, "cores", count_of(t, HWLOC_OBJ_CORE) ? count_of(t, HWLOC_OBJ_CORE) : count_of(t, HWLOC_OBJ_PU));
        hone_hw_u64(o, "threads", count_of(t, HWLOC_OBJ_PU));
        hone_hw_u64(o, "packages", count_of(t, HWLOC_OBJ_PACKAGE) ? count_of(t, HWLOC_OBJ_PACKAGE) : 1);
        hone_hw_u64(o, "numa_nodes", count_of(t, HWLOC_OBJ_NUMANODE));
        hone_hw_put(o, "caches", caches_of(t));
        hone_hw_put(o, "kinds", kinds_of(t));
        hwloc_topology_destroy(t);
        return;
    }
    bool has = info && count_cores(info, &cores, &packages, &threads);
    if (has) hone_hw_u64(o, "cores", cores);
    else hone_hw_none(o, "cores", "%s", why);
    if (threads) hone_hw_u64(o, "threads", threads);
    else hone_hw_none(o, "threads", "%s", why);
    if (has) hone_hw_u64(o, "packages", packages);
    else hone_hw_none(o, "packages", "%s", why);
    hone_hw_none(o, "numa_nodes", "%s", why);
    hone_hw_put(o, "caches", json_array());
    hone_hw_put(o, "kinds", json_array());
}

static void put_frequency(const hone_hw_roots *roots, hone_hw_out *o)
{
    hone_arena         a = { 0 };
    const char *const *names;
    uint64_t           best = 0, khz;
    size_t             n = hone_tree_list(&a, &names, roots->sys, "devices/system/cpu", "cpu");
    for (size_t i = 0; i < n; i++)
        if (hone_tree_u64(&khz, roots->sys, "devices/system/cpu/%s/cpufreq/cpuinfo_max_freq", names[i]) && khz > best) best = khz;
    if (best) hone_hw_u64(o, "max_mhz", best / 1000);
    else hone_hw_none(o, "max_mhz", "the kernel gives this process no cpufreq");
    hone_arena_release(&a);
}

hone_code hone_hw_cpu(const hone_hw_query *q, json_t **out, hone_err *err)
{
    const hone_hw_roots *roots = q->roots;
    hone_hw_out          o;
    hone_arena           a = { 0 };
    char                 flags[8192] = "";
    struct utsname       u;
    hone_hw_begin(&o);
    const char *info = hone_tree_slurp(&a, roots->proc, "cpuinfo");
    bool        arm = info && !hone_tree_field(info, "vendor_id", ':', flags, sizeof flags) &&
               hone_tree_field(info, "CPU implementer", ':', flags, sizeof flags);
    flags[0] = '\0';
    if (info) (void)hone_tree_field(info, arm ? "Features" : "flags", ':', flags, sizeof flags);

    if (hone_hw_is_real(roots) && uname(&u) == 0) {
        hone_hw_str(&o, "arch", strcmp(u.machine, "aarch64") == 0 ? "arm64" : u.machine);
        if (strncmp(u.machine, "aarch64", 7) == 0 || strncmp(u.machine, "arm", 3) == 0) arm = true;
    } else if (flags[0]) {
        hone_hw_str(&o, "arch", arm ? (has_word(flags, "asimd") ? "arm64" : "arm") : has_word(flags, "lm") ? "x86_64" : "x86");
    } else {
        hone_hw_none(&o, "arch", "%s/cpuinfo cannot be read", roots->proc);
    }
    put_names(roots, info, arm, &o);
    put_topology(roots, info, &o);
    put_frequency(roots, &o);
    bool    asked = false;
    json_t *features = hone_hw_is_real(roots) ? native_features(&asked) : NULL;
    hone_hw_put(&o, "features", asked ? features : hone_cpu_features_named(flags, arm));
    put_shares(roots, &o);
    put_hypervisor(roots, &o, flags, arm);
    hone_arena_release(&a);
    return hone_hw_done(&o, "processor facts", out, err);
}
