/* power.c - what feeds the machine, what may slow it down, and whether its energy can be read. */
#include "base/text.h"
#include "hw/energy.h"
#include "hw/hw.h"
#include <stdio.h>
#include <string.h>

/* Source: Linux Documentation/ABI/testing/sysfs-class-power. */
static void put_supplies(const hone_hw_roots *roots, hone_hw_out *o)
{
    hone_arena         a = { 0 };
    const char *const *names;
    size_t             n = hone_tree_list(&a, &names, roots->sys, "class/power_supply", "");
    json_t            *battery = NULL;
    int                mains = -1; /* unknown, offline, online */
    bool               discharging = false;
    for (size_t i = 0; i < n; i++) {
        char     type[32], scope[32], status[32];
        uint64_t v;
        if (!hone_tree_text(type, sizeof type, roots->sys, "class/power_supply/%s/type", names[i])) continue;
        /* A mouse or a keyboard has a battery too: scope Device. */
        if (hone_tree_text(scope, sizeof scope, roots->sys, "class/power_supply/%s/scope", names[i]) && strcmp(scope, "Device") == 0)
            continue;
        if ((strcmp(type, "Mains") == 0 || strncmp(type, "USB", 3) == 0) &&
            hone_tree_u64(&v, roots->sys, "class/power_supply/%s/online", names[i])) {
            if (v) mains = 1;
            else if (mains < 0 && strcmp(type, "Mains") == 0) mains = 0;
        }
        if (strcmp(type, "Battery") != 0 || battery) continue;
        bool present = !hone_tree_u64(&v, roots->sys, "class/power_supply/%s/present", names[i]) || v == 1;
        if (!present) continue;
        hone_hw_out b;
        hone_hw_begin(&b);
        hone_hw_str(&b, "name", names[i]);
        if (hone_tree_u64(&v, roots->sys, "class/power_supply/%s/capacity", names[i]) && v <= 100) hone_hw_u64(&b, "percent", v);
        else hone_hw_none(&b, "percent", "the battery does not say");
        if (hone_tree_text(status, sizeof status, roots->sys, "class/power_supply/%s/status", names[i])) {
            hone_hw_str(&b, "status", status);
            discharging = strcmp(status, "Discharging") == 0;
        } else {
            hone_hw_none(&b, "status", "the battery does not say");
        }
        if (hone_tree_u64(&v, roots->sys, "class/power_supply/%s/energy_full", names[i])) hone_hw_real(&b, "full_wh", (double)v / 1e6);
        else hone_hw_none(&b, "full_wh", "the battery does not give energy_full");
        if (hone_hw_done(&b, "a battery", &battery, NULL) != HONE_OK) o->broken = true;
    }
    if (battery) hone_hw_put(o, "battery", battery);
    else hone_hw_none(o, "battery", n ? "no power supply is a battery of the machine" : "the kernel shows no power supply");
    if (mains >= 0) hone_hw_bool(o, "ac_online", mains == 1);
    else hone_hw_none(o, "ac_online", n ? "no power supply is a mains adapter" : "the kernel shows no power supply");
    if (discharging) hone_hw_str(o, "source", "battery");
    else if (mains == 1 || battery) hone_hw_str(o, "source", "mains");
    else hone_hw_none(o, "source", "the kernel shows no power supply in use");
    hone_arena_release(&a);
}

/* Source: Linux Documentation/driver-api/thermal/sysfs-api.rst.  Millidegrees. */
static void put_thermal(const hone_hw_roots *roots, hone_hw_out *o)
{
    hone_arena         a = { 0 };
    const char *const *zones;
    size_t             n = hone_tree_list(&a, &zones, roots->sys, "class/thermal", "thermal_zone");
    json_t            *list = json_array();
    bool               ok = list != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        char    type[64], kind[32];
        int64_t now, limit = 0, trip;
        bool    limited = false;
        if (!hone_tree_i64(&now, roots->sys, "class/thermal/%s/temp", zones[i])) continue;
        (void)hone_tree_text(type, sizeof type, roots->sys, "class/thermal/%s/type", zones[i]);
        /* From the first "passive" trip on, the kernel slows the machine down. */
        for (int k = 0; k < 16; k++) {
            if (!hone_tree_text(kind, sizeof kind, roots->sys, "class/thermal/%s/trip_point_%d_type", zones[i], k)) continue;
            if (strcmp(kind, "passive") != 0) continue;
            if (!hone_tree_i64(&trip, roots->sys, "class/thermal/%s/trip_point_%d_temp", zones[i], k)) continue;
            if (!limited || trip < limit) limit = trip;
            limited = true;
        }
        json_t *z = json_pack("{s:s, s:o, s:o}", "type", type, "celsius", hone_json_real((double)now / 1000), "throttles_at_celsius",
                              limited ? hone_json_real((double)limit / 1000) : json_null());
        ok = z && json_array_append_new(list, z) == 0;
    }
    if (!ok) {
        json_decref(list);
        o->broken = true;
    } else if (json_array_size(list) > 0) {
        hone_hw_put(o, "thermal", list);
    } else {
        json_decref(list);
        hone_hw_none(o, "thermal", "the kernel shows no thermal zone");
    }
    hone_arena_release(&a);
}

static void put_governor(const hone_hw_roots *roots, hone_hw_out *o)
{
    char text[32];
    if (hone_tree_text(text, sizeof text, roots->sys, "devices/system/cpu/cpu0/cpufreq/scaling_governor") && text[0])
        hone_hw_str(o, "governor", text);
    else hone_hw_none(o, "governor", "the kernel gives this process no cpufreq");
}

hone_code hone_hw_power(const hone_hw_query *q, json_t **out, hone_err *err)
{
    hone_hw_out  o;
    hone_energy *e = NULL;
    hone_err     why = { 0 };
    hone_hw_begin(&o);
    put_supplies(q->roots, &o);
    if (hone_energy_open(q->roots, &e, &why) == HONE_OK) hone_hw_str(&o, "energy_counter", hone_energy_what(e));
    else hone_hw_none(&o, "energy_counter", "%s", why.cause);
    hone_energy_close(e);
    put_thermal(q->roots, &o);
    put_governor(q->roots, &o);
    return hone_hw_done(&o, "power facts", out, err);
}
