/* accelerators.c - GPUs, NPUs, TPUs, VPUs: what sits on PCI, USB and the board, which driver has it, and whether this user may
 * open it.  A device without a driver is shown too, with the reason why nothing can use it. */
#include "hw/hw.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOUND_MAX = 32 };

typedef struct found {
    char     kind[8], vendor[24], name[96], driver[32], node[64], bus[16], address[32], why[160];
    unsigned pci_vendor, pci_device;
    uint64_t memory_bytes; /* 0: unknown */
    bool     usable;       /* its node can be opened for reading and writing */
} found;

typedef struct finds {
    const hone_hw_roots *roots;
    found                list[FOUND_MAX];
    size_t               n;
} finds;

static found *add(finds *f, const char *kind, const char *bus, const char *address)
{
    if (f->n == FOUND_MAX) return NULL;
    found *d = &f->list[f->n++];
    *d = (found){ 0 };
    (void)snprintf(d->kind, sizeof d->kind, "%s", kind);
    (void)snprintf(d->bus, sizeof d->bus, "%s", bus);
    (void)snprintf(d->address, sizeof d->address, "%s", address);
    return d;
}

/* Source of the numbers: the PCI ID database (pci.ids), usb.ids, and the drivers' own id tables named in each row. */
static const struct { unsigned id; const char *name; } pci_vendors[] = {
    { 0x10de, "nvidia" }, { 0x1002, "amd" },      { 0x1022, "amd" },      { 0x8086, "intel" },   { 0x106b, "apple" },
    { 0x1ac1, "google" }, { 0x1e60, "hailo" },    { 0x17cb, "qualcomm" }, { 0x1da3, "habana" },  { 0x1af4, "virtio" },
    { 0x1234, "qemu" },   { 0x1013, "cirrus" },   { 0x1a03, "aspeed" },   { 0x102b, "matrox" },  { 0x15ad, "vmware" },
    { 0x1414, "microsoft" }, { 0x1db4, "axelera" }, { 0x1e52, "tenstorrent" }, { 0x1ed5, "moore threads" },
};
static const struct { unsigned vendor, device; const char *kind, *name; } pci_devices[] = {
    { 0x1ac1, 0x089a, "tpu", "Coral Edge TPU" },                    /* drivers/staging/gasket/apex_driver.c */
    { 0x1e60, 0x2864, "npu", "Hailo-8" },                           /* hailo-ai/hailort-drivers */
    { 0x1e60, 0x45c4, "npu", "Hailo-10H" },
    { 0x8086, 0x7d1d, "npu", "Intel NPU (Meteor Lake)" },           /* drivers/accel/ivpu/ivpu_drv.h */
    { 0x8086, 0xad1d, "npu", "Intel NPU (Arrow Lake)" },
    { 0x8086, 0x643e, "npu", "Intel NPU (Lunar Lake)" },
    { 0x8086, 0xb03e, "npu", "Intel NPU (Panther Lake)" },
    { 0x1022, 0x1502, "npu", "AMD XDNA NPU (Phoenix)" },            /* drivers/accel/amdxdna */
    { 0x1022, 0x17f0, "npu", "AMD XDNA 2 NPU (Strix)" },
    { 0x17cb, 0xa100, "npu", "Qualcomm Cloud AI 100" },             /* drivers/accel/qaic/qaic_drv.c */
};
static const struct { unsigned vendor, product; const char *kind, *maker, *name; } usb_devices[] = {
    { 0x1a6e, 0x089a, "tpu", "google", "Coral USB Accelerator (not yet initialised)" }, /* coral.ai, USB Accelerator: before and after */
    { 0x18d1, 0x9302, "tpu", "google", "Coral USB Accelerator" },                       /* the first firmware download */
    { 0x03e7, 0x2150, "vpu", "intel", "Movidius Neural Compute Stick" },
    { 0x03e7, 0x2485, "vpu", "intel", "Movidius Neural Compute Stick 2" },
};

static const char *pci_vendor_name(unsigned id)
{
    for (size_t i = 0; i < HONE_COUNT(pci_vendors); i++)
        if (pci_vendors[i].id == id) return pci_vendors[i].name;
    return "other";
}

/* A display controller that only shows pictures: virtual machines and servers' management chips. */
static bool display_only(unsigned vendor)
{
    return vendor == 0x1af4 || vendor == 0x1234 || vendor == 0x1013 || vendor == 0x1a03 || vendor == 0x102b || vendor == 0x15ad ||
           vendor == 0x1414;
}

/* The device node that compute goes through, and whether we may open it.  dev: sysfs folder of the device. */
static void find_node(finds *f, found *d, const char *dev)
{
    const hone_hw_roots *r = f->roots;
    hone_arena           a = { 0 };
    const char *const   *names;
    char                 node[48] = "";
    size_t               n;
    if (strcmp(d->driver, "nvidia") == 0) {
        /* Minor numbers are in /proc/driver/nvidia/gpus/<address>/information; on a machine with one GPU it is 0. */
        char *info = hone_tree_slurp(&a, r->proc, "driver/nvidia/gpus/%s/information", d->address), text[96];
        if (info && hone_tree_field(info, "Model", ':', text, sizeof text)) (void)snprintf(d->name, sizeof d->name, "%s", text);
        if (info && hone_tree_field(info, "Device Minor", ':', text, sizeof text)) (void)snprintf(node, sizeof node, "nvidia%.20s", text);
        else (void)snprintf(node, sizeof node, "nvidia0");
    } else if ((n = hone_tree_list(&a, &names, r->sys, dev, "accel")) > 0) {
        char sub[256];
        (void)snprintf(sub, sizeof sub, "%.200s/%.40s", dev, names[0]);
        if (hone_tree_list(&a, &names, r->sys, sub, "accel") > 0) (void)snprintf(node, sizeof node, "accel/%.32s", names[0]);
    } else {
        char sub[256];
        (void)snprintf(sub, sizeof sub, "%.200s/drm", dev);
        if (hone_tree_list(&a, &names, r->sys, sub, "renderD") > 0) (void)snprintf(node, sizeof node, "dri/%.32s", names[0]);
        else if (strcmp(d->kind, "tpu") == 0) (void)snprintf(node, sizeof node, "apex_0");
        else if (strcmp(d->vendor, "hailo") == 0) (void)snprintf(node, sizeof node, "hailo0");
    }
    hone_arena_release(&a);
    if (!node[0]) {
        (void)snprintf(d->why, sizeof d->why, d->driver[0] ? "its driver offers no compute device" : "no driver is bound to it");
        return;
    }
    (void)snprintf(d->node, sizeof d->node, "/dev/%s", node);
    if (!hone_tree_exists(r->dev, "%s", node)) {
        (void)snprintf(d->why, sizeof d->why, "%s does not exist%s", d->node, d->driver[0] ? "" : ": no driver is bound to it");
    } else if (!hone_tree_usable(r->dev, "%s", node)) {
        (void)snprintf(d->why, sizeof d->why, "this user may not open %s", d->node);
    } else if (strcmp(d->vendor, "amd") == 0 && strcmp(d->kind, "gpu") == 0 && !hone_tree_usable(r->dev, "kfd")) {
        /* Graphics would work; computing needs both nodes. */
        (void)snprintf(d->why, sizeof d->why, "/dev/kfd %s", hone_tree_exists(r->dev, "kfd") ? "may not be opened by this user" : "does not exist");
    } else {
        d->usable = true;
    }
}

static void scan_pci(finds *f)
{
    const hone_hw_roots *r = f->roots;
    hone_arena           a = { 0 };
    const char *const   *names;
    size_t               n = hone_tree_list(&a, &names, r->sys, "bus/pci/devices", "");
    for (size_t i = 0; i < n; i++) {
        uint64_t    vendor, device, class = 0, bytes;
        const char *kind = NULL, *name = NULL;
        if (strlen(names[i]) >= sizeof f->list[0].address || !hone_tree_u64(&vendor, r->sys, "bus/pci/devices/%s/vendor", names[i]) ||
            !hone_tree_u64(&device, r->sys, "bus/pci/devices/%s/device", names[i]))
            continue;
        (void)hone_tree_u64(&class, r->sys, "bus/pci/devices/%s/class", names[i]);
        for (size_t k = 0; k < HONE_COUNT(pci_devices); k++)
            if (pci_devices[k].vendor == vendor && pci_devices[k].device == device) {
                kind = pci_devices[k].kind;
                name = pci_devices[k].name;
            }
        /* Class codes: PCI Code and ID Assignment Specification.  03 display (00 VGA, 02 3D, 80 other), 12 processing accelerator. */
        if (!kind && class >> 16 == 0x03) kind = "gpu";
        if (!kind && class >> 16 == 0x12) kind = "npu";
        if (!kind) continue;
        found *d = add(f, kind, "pci", names[i]);
        if (!d) break;
        char dev[96];
        (void)snprintf(dev, sizeof dev, "bus/pci/devices/%.40s", names[i]);
        d->pci_vendor = (unsigned)vendor;
        d->pci_device = (unsigned)device;
        (void)snprintf(d->vendor, sizeof d->vendor, "%s", pci_vendor_name(d->pci_vendor));
        if (name) (void)snprintf(d->name, sizeof d->name, "%s", name);
        else (void)snprintf(d->name, sizeof d->name, "%s %04x:%04x", d->vendor, d->pci_vendor, d->pci_device);
        (void)hone_tree_link(d->driver, sizeof d->driver, r->sys, "%s/driver", dev);
        if (hone_tree_u64(&bytes, r->sys, "%s/mem_info_vram_total", dev)) d->memory_bytes = bytes; /* amdgpu */
        if (strcmp(kind, "gpu") == 0 && display_only(d->pci_vendor)) {
            (void)snprintf(d->kind, sizeof d->kind, "display");
            (void)snprintf(d->why, sizeof d->why, "a display adapter without compute");
        } else {
            find_node(f, d, dev);
        }
    }
    hone_arena_release(&a);
}

static void scan_usb(finds *f)
{
    const hone_hw_roots *r = f->roots;
    hone_arena           a = { 0 };
    const char *const   *names;
    size_t               n = hone_tree_list(&a, &names, r->sys, "bus/usb/devices", "");
    for (size_t i = 0; i < n; i++) {
        char vendor[8], product[8];
        if (!hone_tree_text(vendor, sizeof vendor, r->sys, "bus/usb/devices/%s/idVendor", names[i]) ||
            !hone_tree_text(product, sizeof product, r->sys, "bus/usb/devices/%s/idProduct", names[i]))
            continue;
        unsigned v = (unsigned)strtoul(vendor, NULL, 16), p = (unsigned)strtoul(product, NULL, 16);
        for (size_t k = 0; k < HONE_COUNT(usb_devices); k++) {
            uint64_t bus, dev;
            if (usb_devices[k].vendor != v || usb_devices[k].product != p) continue;
            found *d = add(f, usb_devices[k].kind, "usb", names[i]);
            if (!d) break;
            (void)snprintf(d->vendor, sizeof d->vendor, "%s", usb_devices[k].maker);
            (void)snprintf(d->name, sizeof d->name, "%s", usb_devices[k].name);
            if (!hone_tree_u64(&bus, r->sys, "bus/usb/devices/%s/busnum", names[i]) ||
                !hone_tree_u64(&dev, r->sys, "bus/usb/devices/%s/devnum", names[i])) {
                (void)snprintf(d->why, sizeof d->why, "its USB address is not shown");
                break;
            }
            char node[40];
            (void)snprintf(node, sizeof node, "bus/usb/%03u/%03u", (unsigned)bus, (unsigned)dev);
            (void)snprintf(d->node, sizeof d->node, "/dev/%s", node);
            d->usable = hone_tree_usable(r->dev, "%s", node);
            if (!d->usable) (void)snprintf(d->why, sizeof d->why, "this user may not open %s", d->node);
            break;
        }
    }
    hone_arena_release(&a);
}

/* Chips that sit on the board: their DRM or accel device hangs off the platform bus, not off PCI. */
static void scan_class(finds *f, const char *folder, const char *prefix, const char *dev_folder)
{
    static const struct { const char *driver, *kind, *vendor, *name; } known[] = {
        { "v3d", "gpu", "broadcom", "VideoCore" },     { "panfrost", "gpu", "arm", "Mali (Midgard/Bifrost)" },
        { "panthor", "gpu", "arm", "Mali (Valhall)" }, { "lima", "gpu", "arm", "Mali (Utgard)" },
        { "msm", "gpu", "qualcomm", "Adreno" },        { "msm_dpu", "gpu", "qualcomm", "Adreno" },
        { "etnaviv", "gpu", "vivante", "Vivante GPU" },{ "tegra", "gpu", "nvidia", "Tegra GPU" },
        { "nvgpu", "gpu", "nvidia", "Tegra GPU" },     { "gk20a", "gpu", "nvidia", "Tegra GPU" },
        { "asahi", "gpu", "apple", "Apple GPU" },      { "rocket", "npu", "rockchip", "RKNN NPU" },
        { "RKNPU", "npu", "rockchip", "RKNN NPU" },    { "ethosu", "npu", "arm", "Ethos-U NPU" },
        { "intel_vpu", "npu", "intel", "Intel NPU" },  { "qaic", "npu", "qualcomm", "Cloud AI" },
        { "habanalabs", "npu", "intel", "Gaudi" },     { "amdxdna", "npu", "amd", "AMD XDNA NPU" },
    };
    const hone_hw_roots *r = f->roots;
    hone_arena           a = { 0 };
    const char *const   *names;
    size_t               n = hone_tree_list(&a, &names, r->sys, folder, prefix);
    for (size_t i = 0; i < n; i++) {
        char driver[32], address[64], bus[16];
        if (strlen(names[i]) > 20 || !hone_tree_link(driver, sizeof driver, r->sys, "%s/%s/device/driver", folder, names[i])) continue;
        (void)hone_tree_link(bus, sizeof bus, r->sys, "%s/%s/device/subsystem", folder, names[i]);
        if (strcmp(bus, "pci") == 0) continue; /* seen by scan_pci */
        if (!hone_tree_link(address, sizeof address, r->sys, "%s/%s/device", folder, names[i])) address[0] = '\0';
        for (size_t k = 0; k < HONE_COUNT(known); k++) {
            if (strcmp(known[k].driver, driver) != 0) continue;
            found *d = add(f, known[k].kind, bus[0] ? bus : "platform", "");
            if (!d) break;
            (void)snprintf(d->address, sizeof d->address, "%.31s", address);
            (void)snprintf(d->vendor, sizeof d->vendor, "%s", known[k].vendor);
            (void)snprintf(d->name, sizeof d->name, "%s", known[k].name);
            (void)snprintf(d->driver, sizeof d->driver, "%s", driver);
            (void)snprintf(d->node, sizeof d->node, "/dev/%s/%.20s", dev_folder, names[i]);
            d->usable = hone_tree_usable(r->dev, "%s/%s", dev_folder, names[i]);
            if (!d->usable) (void)snprintf(d->why, sizeof d->why, "this user may not open %s", d->node);
            break;
        }
    }
    hone_arena_release(&a);
}

/* Drivers of vendors that show themselves by a device node alone. */
static void scan_nodes(finds *f)
{
    static const struct { const char *node, *kind, *vendor, *name; } nodes[] = {
        { "mali0", "gpu", "arm", "Mali" },           { "kgsl-3d0", "gpu", "qualcomm", "Adreno" },
        { "nvhost-gpu", "gpu", "nvidia", "Tegra GPU" }, { "galcore", "gpu", "vivante", "Vivante GPU or NPU" },
        { "ethosu0", "npu", "arm", "Ethos-U NPU" },  { "apex_0", "tpu", "google", "Coral Edge TPU" },
        { "hailo0", "npu", "hailo", "Hailo" },       { "dxg", "gpu", "microsoft", "GPU of the Windows host (WSL)" },
        { "nvidia0", "gpu", "nvidia", "NVIDIA GPU" },
    };
    for (size_t i = 0; i < HONE_COUNT(nodes); i++) {
        char node[64];
        bool seen = false;
        (void)snprintf(node, sizeof node, "/dev/%s", nodes[i].node);
        for (size_t k = 0; k < f->n; k++)
            seen |= strcmp(f->list[k].node, node) == 0 ||
                    /* nvidia0 and the Tegra node may be one chip; PCI already named every NVIDIA GPU there is */
                    (strcmp(nodes[i].vendor, "nvidia") == 0 && strcmp(f->list[k].vendor, "nvidia") == 0);
        if (seen || !hone_tree_exists(f->roots->dev, "%s", nodes[i].node)) continue;
        found *d = add(f, nodes[i].kind, "node", "");
        if (!d) return;
        (void)snprintf(d->vendor, sizeof d->vendor, "%s", nodes[i].vendor);
        (void)snprintf(d->name, sizeof d->name, "%s", nodes[i].name);
        (void)snprintf(d->node, sizeof d->node, "%s", node);
        d->usable = hone_tree_usable(f->roots->dev, "%s", nodes[i].node);
        if (!d->usable) (void)snprintf(d->why, sizeof d->why, "this user may not open %s", node);
    }
}

static json_t *show(const found *d)
{
    hone_hw_out o;
    json_t     *out = NULL;
    hone_hw_begin(&o);
    hone_hw_str(&o, "kind", d->kind);
    hone_hw_str(&o, "vendor", d->vendor);
    hone_hw_str(&o, "name", d->name);
    if (d->driver[0]) hone_hw_str(&o, "driver", d->driver);
    else hone_hw_none(&o, "driver", strcmp(d->bus, "pci") == 0 ? "no driver is bound to it" : "not shown for this bus");
    hone_hw_str(&o, "bus", d->bus);
    if (d->address[0]) hone_hw_str(&o, "address", d->address);
    if (d->pci_vendor) {
        char id[16];
        (void)snprintf(id, sizeof id, "%04x:%04x", d->pci_vendor, d->pci_device);
        hone_hw_str(&o, "pci_id", id);
    }
    if (d->node[0]) hone_hw_str(&o, "node", d->node);
    else hone_hw_none(&o, "node", "%s", d->why);
    if (d->memory_bytes) hone_hw_u64(&o, "memory_bytes", d->memory_bytes);
    else hone_hw_none(&o, "memory_bytes", "its driver does not say in sysfs");
    hone_hw_bool(&o, "usable", d->usable);
    hone_hw_str(&o, "reason", d->usable ? "" : d->why);
    return hone_hw_done(&o, "an accelerator", &out, NULL) == HONE_OK ? out : NULL;
}

hone_code hone_hw_accelerators(const hone_hw_query *q, json_t **out, hone_err *err)
{
    finds   f = { .roots = q->roots };
    json_t *list = json_array();
    scan_pci(&f);
    scan_usb(&f);
    scan_class(&f, "class/drm", "renderD", "dri");
    scan_class(&f, "class/accel", "accel", "accel");
    scan_nodes(&f);
    for (size_t i = 0; i < f.n; i++)
        if (!list || json_array_append_new(list, show(&f.list[i])) != 0) {
            json_decref(list);
            return HONE_NOMEM(err, "the accelerators");
        }
    if (!list) return HONE_NOMEM(err, "the accelerators");
    *out = list;
    return HONE_OK;
}
