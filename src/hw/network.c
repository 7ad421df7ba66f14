/* network.c - is the machine connected, judged from the kernel's tables alone: nothing is ever sent. */
#include "hw/hw.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Interface of the IPv4 default route: "eth0 00000000 0100000A 0003 ..." (Destination and Mask 0, flag RTF_UP). */
static bool default_v4(const char *text, char *iface, size_t cap)
{
    for (const char *p = text; p && *p;) {
        char     name[32], dest[16], gate[16], flags[16], mask[16];
        unsigned f;
        if (sscanf(p, "%31s %15s %15s %15s %*s %*s %*s %15s", name, dest, gate, flags, mask) == 5 && strcmp(dest, "00000000") == 0 &&
            strcmp(mask, "00000000") == 0) {
            f = (unsigned)strtoul(flags, NULL, 16);
            if (f & 1u) {
                (void)snprintf(iface, cap, "%s", name);
                return true;
            }
        }
        p += strcspn(p, "\n");
        if (*p) p++;
    }
    return false;
}

/* "0000...0 00 0000...0 00 <gateway> metric refcnt use flags eth0"; lo and RTF_REJECT (0x200) are the kernel's own "no route". */
static bool default_v6(const char *text, char *iface, size_t cap)
{
    for (const char *p = text; p && *p;) {
        char dest[40], len[8], flags[16], name[32];
        if (sscanf(p, "%39s %7s %*s %*s %*s %*s %*s %*s %15s %31s", dest, len, flags, name) == 4 && strspn(dest, "0") == 32 &&
            strcmp(len, "00") == 0 && strcmp(name, "lo") != 0 && !(strtoul(flags, NULL, 16) & 0x200u)) {
            (void)snprintf(iface, cap, "%s", name);
            return true;
        }
        p += strcspn(p, "\n");
        if (*p) p++;
    }
    return false;
}

static json_t *interface_of(const hone_hw_roots *roots, const char *name)
{
    hone_hw_out o;
    json_t     *out = NULL;
    char        state[32];
    int64_t     speed;
    uint64_t    carrier;
    hone_hw_begin(&o);
    hone_hw_str(&o, "name", name);
    hone_hw_str(&o, "kind",
                hone_tree_exists(roots->sys, "class/net/%s/wireless", name) || hone_tree_exists(roots->sys, "class/net/%s/phy80211", name)
                    ? "wifi"
                : strncmp(name, "wwan", 4) == 0 || strncmp(name, "rmnet", 5) == 0 ? "cellular"
                : hone_tree_exists(roots->sys, "class/net/%s/device", name)       ? "ethernet"
                                                                                  : "virtual");
    if (hone_tree_text(state, sizeof state, roots->sys, "class/net/%s/operstate", name)) hone_hw_str(&o, "state", state);
    else hone_hw_none(&o, "state", "the kernel does not say");
    if (hone_tree_u64(&carrier, roots->sys, "class/net/%s/carrier", name)) hone_hw_bool(&o, "carrier", carrier == 1);
    else hone_hw_none(&o, "carrier", "the interface is down");
    if (hone_tree_i64(&speed, roots->sys, "class/net/%s/speed", name) && speed > 0) hone_hw_u64(&o, "link_mbit_s", (uint64_t)speed);
    else hone_hw_none(&o, "link_mbit_s", "the interface does not say");
    return hone_hw_done(&o, "an interface", &out, NULL) == HONE_OK ? out : NULL;
}

hone_code hone_hw_network(const hone_hw_query *q, json_t **out, hone_err *err)
{
    const hone_hw_roots *roots = q->roots;
    hone_hw_out          o;
    hone_arena           a = { 0 };
    const char *const   *names;
    char                 iface[32], state[32] = "";
    uint64_t             carrier = 0;
    hone_hw_begin(&o);
    size_t  n = hone_tree_list(&a, &names, roots->sys, "class/net", "");
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++) {
        uint64_t type;
        if (hone_tree_u64(&type, roots->sys, "class/net/%s/type", names[i]) && type == 772) continue; /* ARPHRD_LOOPBACK */
        if (json_array_append_new(list, interface_of(roots, names[i])) != 0) o.broken = true;
    }
    hone_hw_put(&o, "interfaces", list);

    char *v4 = hone_tree_slurp(&a, roots->proc, "net/route"), *v6 = hone_tree_slurp(&a, roots->proc, "net/ipv6_route");
    bool  routed = default_v4(v4, iface, sizeof iface) || default_v6(v6, iface, sizeof iface);
    if (!v4 && !v6) {
        hone_hw_none(&o, "default_route", "%s/net/route cannot be read", roots->proc);
        hone_hw_none(&o, "state", "%s/net/route cannot be read", roots->proc);
    } else if (!routed) {
        hone_hw_none(&o, "default_route", "there is none");
        hone_hw_str(&o, "state", "offline");
    } else {
        /* A cable that was pulled leaves the route of a static set-up behind. */
        bool down = (hone_tree_text(state, sizeof state, roots->sys, "class/net/%s/operstate", iface) && strcmp(state, "down") == 0) ||
                    (hone_tree_u64(&carrier, roots->sys, "class/net/%s/carrier", iface) && carrier == 0);
        hone_hw_str(&o, "default_route", iface);
        hone_hw_str(&o, "state", down ? "offline" : "online");
    }
    hone_hw_none(&o, "bandwidth_mbit_s", "nothing is sent");
    hone_arena_release(&a);
    return hone_hw_done(&o, "network facts", out, err);
}
