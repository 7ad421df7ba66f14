#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hw/fake.h"
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

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

/* A PCI device with its three numbers and, unless NULL, its driver. */
static void pci(const char *address, const char *vendor, const char *device, const char *class, const char *driver)
{
    char path[160], text[96];
    (void)snprintf(path, sizeof path, "sys/bus/pci/devices/%s/vendor", address);
    fake_put(path, vendor);
    (void)snprintf(path, sizeof path, "sys/bus/pci/devices/%s/device", address);
    fake_put(path, device);
    (void)snprintf(path, sizeof path, "sys/bus/pci/devices/%s/class", address);
    fake_put(path, class);
    if (!driver) return;
    (void)snprintf(path, sizeof path, "sys/bus/pci/devices/%s/driver", address);
    (void)snprintf(text, sizeof text, "../../../bus/pci/drivers/%s", driver);
    fake_link(path, text);
}

static void no_accelerator_is_an_empty_list(void **state)
{
    (void)state;
    pci("0000:00:1f.3", "0x8086\n", "0x51ca\n", "0x040100\n", "snd_hda_intel");
    json_t *l = fake_probe(hone_hw_accelerators);
    assert_int_equal(json_array_size(l), 0);
    json_decref(l);
}

static void an_nvidia_gpu_is_usable_through_its_own_node(void **state)
{
    (void)state;
    pci("0000:01:00.0", "0x10de\n", "0x2684\n", "0x030000\n", "nvidia");
    fake_put("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA GeForce RTX 4090\nDevice Minor: \t 3\n");
    json_t *l = fake_probe(hone_hw_accelerators), *d = json_array_get(l, 0);
    fake_is_str(d, "kind", "gpu");
    fake_is_str(d, "vendor", "nvidia");
    fake_is_str(d, "name", "NVIDIA GeForce RTX 4090");
    fake_is_str(d, "pci_id", "10de:2684");
    fake_is_str(d, "reason", "/dev/nvidia3 does not exist");
    assert_true(json_is_false(json_object_get(d, "usable")));
    json_decref(l);
    fake_put("dev/nvidia3", "");
    fake_put("dev/nvidia0", ""); /* another's: no second device is made of it */
    l = fake_probe(hone_hw_accelerators);
    assert_int_equal(json_array_size(l), 1);
    assert_true(json_is_true(json_object_get(json_array_get(l, 0), "usable")));
    json_decref(l);
}

static void a_gpu_without_a_driver_is_shown_with_the_reason(void **state)
{
    (void)state;
    pci("0000:03:00.0", "0x1002\n", "0x744c\n", "0x030000\n", NULL);
    json_t *l = fake_probe(hone_hw_accelerators), *d = json_array_get(l, 0);
    fake_is_str(d, "vendor", "amd");
    fake_is_str(d, "name", "amd 1002:744c");
    fake_is_absent(d, "driver", "no driver is bound to it");
    fake_is_str(d, "reason", "no driver is bound to it");
    json_decref(l);
}

static void an_amd_gpu_needs_kfd_to_compute(void **state)
{
    (void)state;
    pci("0000:03:00.0", "0x1002\n", "0x744c\n", "0x030000\n", "amdgpu");
    fake_put("sys/bus/pci/devices/0000:03:00.0/mem_info_vram_total", "25753026560\n");
    fake_put("sys/bus/pci/devices/0000:03:00.0/drm/renderD128/dev", "226:128\n");
    fake_put("dev/dri/renderD128", "");
    json_t *l = fake_probe(hone_hw_accelerators), *d = json_array_get(l, 0);
    fake_is_int(d, "memory_bytes", 25753026560);
    fake_is_str(d, "reason", "/dev/kfd does not exist");
    json_decref(l);
    fake_put("dev/kfd", "");
    l = fake_probe(hone_hw_accelerators);
    assert_true(json_is_true(json_object_get(json_array_get(l, 0), "usable")));
    json_decref(l);
}

static void an_intel_npu_is_found_by_its_number_and_its_node(void **state)
{
    (void)state;
    pci("0000:00:0b.0", "0x8086\n", "0x7d1d\n", "0x120000\n", "intel_vpu");
    fake_put("sys/bus/pci/devices/0000:00:0b.0/accel/accel0/dev", "261:0\n");
    fake_put("dev/accel/accel0", "");
    pci("0000:00:02.0", "0x8086\n", "0x7d55\n", "0x030000\n", "i915");
    fake_put("sys/bus/pci/devices/0000:00:02.0/drm/renderD128/dev", "226:128\n");
    fake_put("dev/dri/renderD128", "");
    json_t *l = fake_probe(hone_hw_accelerators);
    assert_int_equal(json_array_size(l), 2);
    fake_is_str(json_array_get(l, 0), "kind", "gpu");
    fake_is_str(json_array_get(l, 0), "node", "/dev/dri/renderD128");
    fake_is_str(json_array_get(l, 1), "kind", "npu");
    fake_is_str(json_array_get(l, 1), "name", "Intel NPU (Meteor Lake)");
    fake_is_str(json_array_get(l, 1), "node", "/dev/accel/accel0");
    json_decref(l);
}

static void the_display_of_a_virtual_machine_does_not_compute(void **state)
{
    (void)state;
    pci("0000:00:02.0", "0x1af4\n", "0x1050\n", "0x038000\n", "virtio-pci");
    json_t *l = fake_probe(hone_hw_accelerators), *d = json_array_get(l, 0);
    fake_is_str(d, "kind", "display");
    fake_is_str(d, "reason", "a display adapter without compute");
    json_decref(l);
}

static void coral_and_hailo_are_found_on_usb_pci_and_as_nodes(void **state)
{
    (void)state;
    fake_put("sys/bus/usb/devices/2-1/idVendor", "18d1\n");
    fake_put("sys/bus/usb/devices/2-1/idProduct", "9302\n");
    fake_put("sys/bus/usb/devices/2-1/busnum", "2\n");
    fake_put("sys/bus/usb/devices/2-1/devnum", "7\n");
    fake_put("dev/bus/usb/002/007", "");
    pci("0000:04:00.0", "0x1ac1\n", "0x089a\n", "0x0880ff\n", "apex");
    fake_put("dev/apex_0", "");
    fake_put("dev/hailo0", "");
    json_t *l = fake_probe(hone_hw_accelerators);
    assert_int_equal(json_array_size(l), 3);
    fake_is_str(json_array_get(l, 0), "name", "Coral Edge TPU");
    fake_is_str(json_array_get(l, 0), "node", "/dev/apex_0");
    fake_is_str(json_array_get(l, 1), "name", "Coral USB Accelerator");
    fake_is_str(json_array_get(l, 1), "node", "/dev/bus/usb/002/007");
    assert_true(json_is_true(json_object_get(json_array_get(l, 1), "usable")));
    fake_is_str(json_array_get(l, 2), "vendor", "hailo");
    json_decref(l);
}

static void a_gpu_on_the_board_is_found_through_its_driver(void **state)
{
    (void)state;
    fake_link("sys/class/drm/renderD128/device/driver", "../../../bus/platform/drivers/v3d");
    fake_link("sys/class/drm/renderD128/device/subsystem", "../../../bus/platform");
    fake_put("dev/dri/renderD128", "");
    json_t *l = fake_probe(hone_hw_accelerators), *d = json_array_get(l, 0);
    assert_int_equal(json_array_size(l), 1);
    fake_is_str(d, "vendor", "broadcom");
    fake_is_str(d, "bus", "platform");
    assert_true(json_is_true(json_object_get(d, "usable")));
    json_decref(l);
}

/* --- power ------------------------------------------------------------------------------------------------------- */

static void a_notebook_on_battery_says_so(void **state)
{
    (void)state;
    fake_put("sys/class/power_supply/AC/type", "Mains\n");
    fake_put("sys/class/power_supply/AC/online", "0\n");
    fake_put("sys/class/power_supply/BAT0/type", "Battery\n");
    fake_put("sys/class/power_supply/BAT0/present", "1\n");
    fake_put("sys/class/power_supply/BAT0/capacity", "63\n");
    fake_put("sys/class/power_supply/BAT0/status", "Discharging\n");
    fake_put("sys/class/power_supply/BAT0/energy_full", "57020000\n");
    fake_put("sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n");
    fake_put("sys/class/thermal/thermal_zone0/temp", "71500\n");
    fake_put("sys/class/thermal/thermal_zone0/trip_point_0_type", "critical\n");
    fake_put("sys/class/thermal/thermal_zone0/trip_point_0_temp", "105000\n");
    fake_put("sys/class/thermal/thermal_zone0/trip_point_1_type", "passive\n");
    fake_put("sys/class/thermal/thermal_zone0/trip_point_1_temp", "95000\n");
    fake_put("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
    json_t       *o = fake_probe(hone_hw_power);
    const json_t *b = json_object_get(o, "battery"), *z = json_array_get(json_object_get(o, "thermal"), 0);
    fake_is_str(o, "source", "battery");
    assert_true(json_is_false(json_object_get(o, "ac_online")));
    fake_is_int(b, "percent", 63);
    assert_true(json_real_value(json_object_get(b, "full_wh")) == 57.02);
    assert_true(json_real_value(json_object_get(z, "celsius")) == 71.5);
    assert_true(json_real_value(json_object_get(z, "throttles_at_celsius")) == 95.0);
    fake_is_str(o, "governor", "powersave");
    json_decref(o);
}

static void a_mouse_with_a_battery_is_no_battery_of_the_machine(void **state)
{
    (void)state;
    fake_put("sys/class/power_supply/hidpp_battery_0/type", "Battery\n");
    fake_put("sys/class/power_supply/hidpp_battery_0/scope", "Device\n");
    fake_put("sys/class/power_supply/hidpp_battery_0/status", "Discharging\n");
    json_t *o = fake_probe(hone_hw_power);
    fake_is_absent(o, "battery", "no power supply is a battery of the machine");
    fake_is_absent(o, "source", "the kernel shows no power supply in use");
    json_decref(o);
}

static void a_server_without_anything_gives_reasons(void **state)
{
    char why[512];
    (void)state;
    json_t *o = fake_probe(hone_hw_power);
    fake_is_absent(o, "battery", "the kernel shows no power supply");
    fake_is_absent(o, "ac_online", "the kernel shows no power supply");
    fake_is_absent(o, "thermal", "the kernel shows no thermal zone");
    fake_is_absent(o, "governor", "the kernel gives this process no cpufreq");
    (void)snprintf(why, sizeof why, "no energy counter: %s/class/powercap does not exist", fake_roots()->sys);
    fake_is_absent(o, "energy_counter", why);
    json_decref(o);
}

/* --- network ------------------------------------------------------------------------------------------------------- */

#define ROUTES "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

static void a_default_route_through_a_live_interface_is_online(void **state)
{
    (void)state;
    fake_put("proc/net/route", ROUTES "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
                                      "eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n");
    fake_put("sys/class/net/lo/type", "772\n");
    fake_put("sys/class/net/eth0/type", "1\n");
    fake_put("sys/class/net/eth0/operstate", "up\n");
    fake_put("sys/class/net/eth0/carrier", "1\n");
    fake_put("sys/class/net/eth0/speed", "2500\n");
    fake_put("sys/class/net/eth0/device/vendor", "0x8086\n");
    json_t *o = fake_probe(hone_hw_network);
    fake_is_str(o, "state", "online");
    fake_is_str(o, "default_route", "eth0");
    const json_t *i = json_object_get(o, "interfaces");
    assert_int_equal(json_array_size(i), 1);
    fake_is_str(json_array_get(i, 0), "kind", "ethernet");
    fake_is_int(json_array_get(i, 0), "link_mbit_s", 2500);
    json_decref(o);
    /* the cable is pulled, the route stays */
    fake_put("sys/class/net/eth0/carrier", "0\n");
    o = fake_probe(hone_hw_network);
    fake_is_str(o, "state", "offline");
    json_decref(o);
}

static void no_default_route_is_offline_and_a_wifi_is_named(void **state)
{
    (void)state;
    fake_put("proc/net/route", ROUTES "wlan0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n");
    fake_put("proc/net/ipv6_route", "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
                                    "00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n");
    fake_put("sys/class/net/wlan0/wireless/x", "");
    fake_put("sys/class/net/wlan0/operstate", "down\n");
    fake_put("sys/class/net/wlan0/speed", "-1\n");
    json_t *o = fake_probe(hone_hw_network), *i = json_array_get(json_object_get(o, "interfaces"), 0);
    fake_is_str(o, "state", "offline");
    fake_is_absent(o, "default_route", "there is none");
    fake_is_str(i, "kind", "wifi");
    fake_is_absent(i, "link_mbit_s", "the interface does not say");
    json_decref(o);
}

static void a_route_of_ipv6_alone_counts(void **state)
{
    (void)state;
    fake_put("proc/net/route", ROUTES);
    fake_put("proc/net/ipv6_route", "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
                                    "fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth1\n");
    json_t *o = fake_probe(hone_hw_network);
    fake_is_str(o, "default_route", "eth1");
    fake_is_str(o, "state", "online");
    json_decref(o);
}

/* --- storage and memory ---------------------------------------------------------------------------------------------- */

/* The folder of the fake machine lies on a real file system: its device number is given a fake entry. */
static void disk(const char *target, const char *file, const char *text)
{
    struct stat st;
    char        path[96];
    assert_int_equal(stat(fake_roots()->sys, &st), 0);
    (void)snprintf(path, sizeof path, "sys/dev/block/%u:%u", major(st.st_dev), minor(st.st_dev));
    fake_link(path, target);
    (void)snprintf(path, sizeof path, "proc/self/mountinfo");
    char line[128];
    (void)snprintf(line, sizeof line, "36 35 %u:%u / / rw - ext4 /dev/x rw\n", major(st.st_dev), minor(st.st_dev));
    fake_put(path, line);
    fake_put(file, text);
}

static void the_kind_of_disk_comes_from_its_name_or_its_queue(void **state)
{
    (void)state;
    fake_put("sys/block/.keep", "");
    disk("../../block/sda", "sys/block/sda/queue/rotational", "1\n");
    fake_put("sys/block/sda/device/model", "ST4000DM004 \n");
    json_t *o = fake_probe(hone_hw_storage);
    fake_is_str(o, "type", "rotational");
    fake_is_str(o, "device", "sda");
    fake_is_str(o, "model", "ST4000DM004");
    fake_is_str(o, "filesystem", "ext4");
    fake_is_absent(o, "read_mb_s", "not asked to measure");
    assert_true(json_integer_value(json_object_get(o, "free_bytes")) > 0);
    json_decref(o);
    fake_put("sys/block/sda/queue/rotational", "0\n");
    o = fake_probe(hone_hw_storage);
    fake_is_str(o, "type", "ssd");
    json_decref(o);
}

static void a_partition_takes_the_facts_of_its_disk(void **state)
{
    (void)state;
    fake_put("sys/block/.keep", "");
    disk("../../block/nvme0n1/nvme0n1p2", "sys/block/nvme0n1/nvme0n1p2/partition", "2\n");
    fake_put("sys/block/nvme0n1/queue/rotational", "0\n");
    fake_put("sys/block/nvme0n1/device/model", "Samsung SSD 980 PRO 1TB");
    json_t *o = fake_probe(hone_hw_storage);
    fake_is_str(o, "type", "nvme");
    fake_is_str(o, "model", "Samsung SSD 980 PRO 1TB");
    json_decref(o);
}

static void memory_is_what_the_group_leaves_of_it(void **state)
{
    char why[512];
    (void)state;
    json_t *o = fake_probe(hone_hw_memory);
    (void)snprintf(why, sizeof why, "%s/meminfo has no MemTotal", fake_roots()->proc);
    fake_is_absent(o, "total_bytes", why);
    json_decref(o);
    fake_put("proc/meminfo", "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    9000000 kB\nSwapTotal:             0 kB\n");
    o = fake_probe(hone_hw_memory);
    fake_is_int(o, "total_bytes", 16384000000);
    fake_is_int(o, "limit_bytes", 16384000000);
    fake_is_int(o, "available_bytes", 9216000000);
    fake_is_str(o, "limited_by", "memory installed");
    fake_is_absent(o, "read_gb_s", "not asked to measure");
    json_decref(o);
    fake_put("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    fake_put("proc/self/cgroup", "0::/job\n");
    fake_put("sys/fs/cgroup/job/memory.max", "2000000000\n");
    fake_put("sys/fs/cgroup/job/memory.current", "500000000\n");
    o = fake_probe(hone_hw_memory);
    fake_is_int(o, "limit_bytes", 2000000000);
    fake_is_int(o, "available_bytes", 1500000000);
    fake_is_str(o, "limited_by", "/sys/fs/cgroup/job");
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_accelerator_is_an_empty_list, setup, teardown),
        cmocka_unit_test_setup_teardown(an_nvidia_gpu_is_usable_through_its_own_node, setup, teardown),
        cmocka_unit_test_setup_teardown(a_gpu_without_a_driver_is_shown_with_the_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(an_amd_gpu_needs_kfd_to_compute, setup, teardown),
        cmocka_unit_test_setup_teardown(an_intel_npu_is_found_by_its_number_and_its_node, setup, teardown),
        cmocka_unit_test_setup_teardown(the_display_of_a_virtual_machine_does_not_compute, setup, teardown),
        cmocka_unit_test_setup_teardown(coral_and_hailo_are_found_on_usb_pci_and_as_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_gpu_on_the_board_is_found_through_its_driver, setup, teardown),
        cmocka_unit_test_setup_teardown(a_notebook_on_battery_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mouse_with_a_battery_is_no_battery_of_the_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(a_server_without_anything_gives_reasons, setup, teardown),
        cmocka_unit_test_setup_teardown(a_default_route_through_a_live_interface_is_online, setup, teardown),
        cmocka_unit_test_setup_teardown(no_default_route_is_offline_and_a_wifi_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_route_of_ipv6_alone_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(the_kind_of_disk_comes_from_its_name_or_its_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(a_partition_takes_the_facts_of_its_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_what_the_group_leaves_of_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
