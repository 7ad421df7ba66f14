#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hw/cgroup.h"
#include "hw/fake.h"

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

static hone_cgroup read_all(void)
{
    hone_cgroup g;
    hone_cgroup_read(fake_roots(), &g);
    return g;
}

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

static void without_control_groups_nothing_is_limited(void **state)
{
    (void)state;
    hone_cgroup g = read_all();
    assert_int_equal(g.memory_version, 0);
    assert_false(g.memory_limited);
    assert_false(g.cpu_limited);
}

static void the_tightest_limit_of_all_levels_counts_in_version_2(void **state)
{
    (void)state;
    fake_put("proc/self/mountinfo", V2_MOUNT);
    fake_put("proc/self/cgroup", "0::/pod/app/worker\n");
    fake_put("sys/fs/cgroup/pod/app/worker/memory.max", "max\n");
    fake_put("sys/fs/cgroup/pod/app/memory.max", "1073741824\n");
    fake_put("sys/fs/cgroup/pod/app/memory.current", "400000000\n");
    fake_put("sys/fs/cgroup/pod/app/memory.stat", "anon 100000000\nfile 300000000\ninactive_file 150000000\nactive_file 150000000\n");
    fake_put("sys/fs/cgroup/pod/memory.max", "2147483648\n");
    fake_put("sys/fs/cgroup/pod/memory.current", "2000000000\n");
    fake_put("sys/fs/cgroup/pod/app/worker/cpu.max", "max 100000\n");
    fake_put("sys/fs/cgroup/pod/app/cpu.max", "150000 100000\n");
    fake_put("sys/fs/cgroup/pod/cpu.max", "400000 100000\n");
    hone_cgroup g = read_all();
    assert_int_equal(g.memory_version, 2);
    assert_true(g.memory_limited);
    assert_int_equal(g.memory_limit, 1073741824);
    assert_string_equal(g.memory_at, "/sys/fs/cgroup/pod/app");
    /* the outer group is nearly full: it leaves less room than the inner one, whose file cache can go */
    assert_int_equal(g.memory_room, 2147483648 - 2000000000);
    assert_true(g.cpu_limited);
    assert_true(g.cpu_cores > 1.49 && g.cpu_cores < 1.51);
    assert_string_equal(g.cpu_at, "/sys/fs/cgroup/pod/app");
}

static void file_cache_that_can_go_is_room(void **state)
{
    (void)state;
    fake_put("proc/self/mountinfo", V2_MOUNT);
    fake_put("proc/self/cgroup", "0::/a\n");
    fake_put("sys/fs/cgroup/a/memory.max", "1000000000\n");
    fake_put("sys/fs/cgroup/a/memory.current", "900000000\n");
    fake_put("sys/fs/cgroup/a/memory.stat", "inactive_file 600000000\n");
    assert_int_equal(read_all().memory_room, 700000000);
}

static void version_1_has_a_hierarchy_for_each_controller(void **state)
{
    (void)state;
    fake_put("proc/self/mountinfo", "31 30 0:27 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory\n"
                                    "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:6 - cgroup cgroup rw,cpu,cpuacct\n");
    fake_put("proc/self/cgroup", "5:memory:/job/42\n4:cpu,cpuacct:/job/42\n0::/\n");
    fake_put("sys/fs/cgroup/memory/job/42/memory.limit_in_bytes", "9223372036854771712\n");
    fake_put("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "536870912\n");
    fake_put("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "136870912\n");
    fake_put("sys/fs/cgroup/memory/job/memory.stat", "cache 1\ntotal_inactive_file 36870912\n");
    fake_put("sys/fs/cgroup/cpu,cpuacct/job/42/cpu.cfs_quota_us", "-1\n");
    fake_put("sys/fs/cgroup/cpu,cpuacct/job/42/cpu.cfs_period_us", "100000\n");
    fake_put("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "50000\n");
    fake_put("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
    hone_cgroup g = read_all();
    assert_int_equal(g.memory_version, 1);
    assert_int_equal(g.memory_limit, 536870912);
    assert_int_equal(g.memory_room, 536870912 - 100000000);
    assert_true(g.cpu_limited);
    assert_true(g.cpu_cores == 0.5);
}

static void the_number_that_means_no_limit_in_version_1_is_none(void **state)
{
    (void)state;
    fake_put("proc/self/mountinfo", "31 30 0:27 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory\n");
    fake_put("proc/self/cgroup", "5:memory:/\n");
    fake_put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    hone_cgroup g = read_all();
    assert_int_equal(g.memory_version, 1);
    assert_false(g.memory_limited);
}

static void a_container_whose_mount_shows_only_its_own_group_finds_the_limit(void **state)
{
    (void)state;
    fake_put("proc/self/mountinfo", "31 30 0:27 /docker/c0ffee /sys/fs/cgroup/memory ro shared:5 - cgroup cgroup rw,memory\n");
    fake_put("proc/self/cgroup", "5:memory:/docker/c0ffee\n");
    fake_put("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
    fake_put("sys/fs/cgroup/memory/memory.usage_in_bytes", "0\n");
    hone_cgroup g = read_all();
    assert_int_equal(g.memory_limit, 268435456);
    assert_string_equal(g.memory_at, "/sys/fs/cgroup/memory");
}

static void a_mount_point_with_spaces_is_read(void **state)
{
    (void)state;
    fake_put("proc/self/mountinfo", "30 23 0:26 / /sys/fs/c\\040group rw - cgroup2 cgroup2 rw\n");
    fake_put("proc/self/cgroup", "0::/\n");
    fake_put("sys/fs/c group/memory.max", "1000\n");
    assert_int_equal(read_all().memory_limit, 1000);
}

static void nonsense_limits_nothing(void **state)
{
    (void)state;
    fake_put("proc/self/mountinfo", "x\n30 23\n - cgroup2\n" V2_MOUNT);
    fake_put("proc/self/cgroup", "::\n0\n0::/../../escape\n");
    fake_put("sys/fs/cgroup/memory.max", "-5\n");
    fake_put("sys/fs/cgroup/cpu.max", "0 0\n");
    hone_cgroup g = read_all();
    assert_false(g.memory_limited);
    assert_false(g.cpu_limited);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_control_groups_nothing_is_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(the_tightest_limit_of_all_levels_counts_in_version_2, setup, teardown),
        cmocka_unit_test_setup_teardown(file_cache_that_can_go_is_room, setup, teardown),
        cmocka_unit_test_setup_teardown(version_1_has_a_hierarchy_for_each_controller, setup, teardown),
        cmocka_unit_test_setup_teardown(the_number_that_means_no_limit_in_version_1_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(a_container_whose_mount_shows_only_its_own_group_finds_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mount_point_with_spaces_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_limits_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
