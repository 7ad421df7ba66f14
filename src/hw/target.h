/* target.h - the few facts of a machine or profile that decisions rest on, typed.  Reads what `hone probe` prints. */
#ifndef HONE_HW_TARGET_H
#define HONE_HW_TARGET_H
#include "base/json.h"
#include <stdbool.h>

typedef struct hone_target { /* strings borrowed from the document */
    const char *name, *title;
    const char *vendor;   /* apple intel nvidia arm amd qualcomm google browser generic */
    const char *platform; /* intel nvidia_gpu apple_silicon arm_mobile edge_tpu embedded_arm browser generic: a row of MISSION's platform matrix, or none of its */
    const char *arch;     /* arm64 x86_64 wasm32 ... or "" */
    bool        host;     /* this machine, not a profile */
    unsigned    cores, threads; /* 0: unknown; threads: what the policy or the quota allows a model to use */
    uint64_t    ram_bytes;      /* what a model may take: available memory, or the profile's budget; 0: unknown */
    uint64_t    storage_bytes;  /* 0: unknown */
    uint64_t    package_bytes;  /* budget of the deployed unit, 0: none */
    double      read_gb_s;      /* 10^9 bytes per second, 0: unknown */
    bool        read_measured;  /* else nominal */
    uint64_t    cache_bytes;    /* last-level cache, 0: unknown */
    const char *format, *quantization; /* the policy's, or NULL */
    uint32_t    context;               /* the policy's, 0: none */
} hone_target;

/* doc: of hone_profile_parse, or of hone_probe for this machine.  HONE_EBUG when it is neither. */
hone_code hone_target_read(const json_t *doc, hone_target *out, hone_err *err);

/* vendor and platform of a machine from its probe document: Apple, then an NVIDIA GPU or Edge TPU that can be used, then the processor. */
void hone_target_classify(const json_t *doc, const char **vendor, const char **platform);
#endif
