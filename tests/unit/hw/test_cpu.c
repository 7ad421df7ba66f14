#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hw/cpu.h"
#include "hw/fake.h"
#include <string.h>

static int setup(void **state)
{
    (void)state;
    fake_open();
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    fake_close();
    return 0;
}

static bool has(const json_t *list, const char *word)
{
    size_t  i;
    json_t *v;
    json_array_foreach((json_t *)(uintptr_t)list, i, v)
        if (strcmp(json_string_value(v), word) == 0) return true;
    return false;
}

#define X86_CORE(n, phys, core)                                                                                        \
    "processor\t: " n "\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz\nphysical id\t: " phys       \
    "\ncore id\t\t: " core "\nflags\t\t: fpu lm ssse3 sse4_2 fma avx f16c avx2 avx512f avx512_vnni hypervisor\n\n"

static void an_x86_machine_of_two_packages_is_counted(void **state)
{
    (void)state;
    fake_put("proc/cpuinfo", X86_CORE("0", "0", "0") X86_CORE("1", "0", "1") X86_CORE("2", "1", "0") X86_CORE("3", "1", "0"));
    json_t *o = fake_probe(hone_hw_cpu);
    fake_is_str(o, "arch", "x86_64");
    fake_is_str(o, "vendor", "intel");
    fake_is_str(o, "model", "Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz");
    fake_is_int(o, "cores", 3);
    fake_is_int(o, "threads", 4);
    fake_is_int(o, "packages", 2);
    assert_true(has(json_object_get(o, "features"), "avx512_vnni"));
    assert_true(has(json_object_get(o, "features"), "fma"));
    assert_false(has(json_object_get(o, "features"), "amx_int8"));
    assert_true(json_is_true(json_object_get(o, "virtual")));
    fake_is_absent(o, "hypervisor", "the hypervisor does not give its name");
    json_decref(o);
}

#define ARM_CORE(n, part)                                                                                              \
    "processor\t: " n "\nFeatures\t: fp asimd evtstrm asimdhp asimddp i8mm bf16\nCPU implementer\t: 0x41\nCPU part\t: " part "\n\n"

static void a_hybrid_arm_chip_names_its_kinds_of_core(void **state)
{
    (void)state;
    fake_put("proc/cpuinfo", ARM_CORE("0", "0xd46") ARM_CORE("1", "0xd46") ARM_CORE("2", "0xd4d") ARM_CORE("3", "0xfff"));
    fake_put("proc/device-tree/model", "Some Board Rev 1.0");
    fake_put("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "1800000\n");
    fake_put("sys/devices/system/cpu/cpu2/cpufreq/cpuinfo_max_freq", "2400000\n");
    json_t *o = fake_probe(hone_hw_cpu);
    fake_is_str(o, "arch", "arm64");
    fake_is_str(o, "vendor", "arm");
    fake_is_str(o, "model", "2 x Cortex-A510 + 1 x Cortex-A715 + 1 x implementer 0x41 part 0xfff");
    fake_is_str(o, "board", "Some Board Rev 1.0");
    fake_is_int(o, "max_mhz", 2400);
    const json_t *f = json_object_get(o, "features");
    assert_int_equal(json_array_size(f), 5);
    assert_true(has(f, "neon") && has(f, "fp16") && has(f, "dotprod") && has(f, "i8mm") && has(f, "bf16"));
    json_decref(o);
}

static void a_hybrid_topology_shows_both_kinds_and_each_size_of_cache(void **state)
{
    (void)state;
    hone_hw_roots roots = *fake_roots();
    json_t       *o = NULL;
    hone_err      err = { 0 };
    roots.topology = HONE_TEST_SOURCE_DIR "/tests/golden/hw/hybrid.xml";
    assert_int_equal(hone_hw_cpu(&(hone_hw_query){ .roots = &roots }, &o, &err), HONE_OK);
    fake_is_int(o, "cores", 4);
    fake_is_int(o, "threads", 6);
    fake_is_int(o, "packages", 1);
    const json_t *kinds = json_object_get(o, "kinds"), *caches = json_object_get(o, "caches");
    assert_int_equal(json_array_size(kinds), 2);
    fake_is_str(json_array_get(kinds, 0), "type", "IntelAtom");
    fake_is_int(json_array_get(kinds, 0), "threads", 2);
    fake_is_int(json_array_get(kinds, 0), "max_mhz", 3400);
    fake_is_str(json_array_get(kinds, 1), "type", "IntelCore");
    fake_is_int(json_array_get(kinds, 1), "threads", 4);
    assert_int_equal(json_array_size(caches), 2);
    fake_is_int(json_array_get(caches, 0), "level", 2);
    fake_is_int(json_array_get(caches, 0), "count", 4);
    fake_is_int(json_array_get(caches, 1), "bytes", 12582912);
    assert_int_equal(hone_cpu_llc_bytes(&roots), 12582912);
    json_decref(o);
}

static void a_topology_that_cannot_be_read_is_said(void **state)
{
    (void)state;
    hone_hw_roots roots = *fake_roots();
    json_t       *o = NULL;
    hone_err      err = { 0 };
    fake_put("sys/bad.xml", "<topology");
    char path[300];
    (void)snprintf(path, sizeof path, "%s/bad.xml", roots.sys);
    roots.topology = path;
    assert_int_equal(hone_hw_cpu(&(hone_hw_query){ .roots = &roots }, &o, &err), HONE_OK);
    fake_is_absent(o, "cores", "hwloc cannot read the topology");
    json_decref(o);
}

static void the_smallest_of_machine_mask_and_quota_is_usable(void **state)
{
    (void)state;
    fake_put("sys/devices/system/cpu/online", "0-7\n");
    assert_int_equal(hone_cpu_effective(fake_roots()), 8);
    fake_put("proc/self/status", "Name:\tx\nCpus_allowed:\t3f\nCpus_allowed_list:\t0-3,6,7\n");
    assert_int_equal(hone_cpu_effective(fake_roots()), 6);
    fake_put("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    fake_put("proc/self/cgroup", "0::/\n");
    fake_put("sys/fs/cgroup/cpu.max", "250000 100000\n");
    assert_int_equal(hone_cpu_effective(fake_roots()), 3);
    json_t *o = fake_probe(hone_hw_cpu);
    fake_is_int(o, "threads_allowed", 6);
    fake_is_int(o, "threads_usable", 3);
    assert_true(json_real_value(json_object_get(o, "quota_cores")) == 2.5);
    fake_is_str(o, "limited_by", "/sys/fs/cgroup");
    json_decref(o);
}

static void an_empty_machine_gives_reasons_instead_of_numbers(void **state)
{
    char why[512];
    (void)state;
    json_t *o = fake_probe(hone_hw_cpu);
    (void)snprintf(why, sizeof why, "%s/cpuinfo cannot be read", fake_roots()->proc);
    fake_is_absent(o, "arch", why);
    fake_is_absent(o, "cores", "no topology was given for this tree");
    fake_is_absent(o, "quota_cores", "no CPU controller is mounted");
    fake_is_int(o, "threads_usable", 1);
    json_decref(o);
}

static void this_processor_and_its_kernel_name_the_same_features(void **state)
{
    json_t    *o = NULL;
    hone_err   err = { 0 };
    hone_arena a = { 0 };
    char       words[8192];
    (void)state;
    const char *info = hone_tree_slurp(&a, "/proc", "cpuinfo");
    if (!info) skip();
    bool arm = !hone_tree_field(info, "flags", ':', words, sizeof words);
    if (arm && !hone_tree_field(info, "Features", ':', words, sizeof words)) skip();
    assert_int_equal(hone_hw_cpu(&(hone_hw_query){ .roots = &hone_hw_machine }, &o, &err), HONE_OK);
    json_t *named = hone_cpu_features_named(words, arm);
    size_t  i;
    json_t *v;
    /* A kernel older than the processor lacks words; what it has, the processor must have. */
    json_array_foreach(named, i, v) assert_true(has(json_object_get(o, "features"), json_string_value(v)));
    assert_true(json_integer_value(json_object_get(o, "cores")) >= 1);
    json_decref(named);
    json_decref(o);
    hone_arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_x86_machine_of_two_packages_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hybrid_arm_chip_names_its_kinds_of_core, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hybrid_topology_shows_both_kinds_and_each_size_of_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(a_topology_that_cannot_be_read_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(the_smallest_of_machine_mask_and_quota_is_usable, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_machine_gives_reasons_instead_of_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(this_processor_and_its_kernel_name_the_same_features, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
