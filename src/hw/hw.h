/* hw.h - what a machine has: one probe per file, each a row of list.def and a key of the document.
 * A probe reads what the kernel says and measures little; what it cannot find it says, with the reason. */
#ifndef HONE_HW_HW_H
#define HONE_HW_HW_H
#include "base/ctx.h"
#include "hw/tree.h"

typedef enum hone_hw_measure { HONE_HW_MEMORY_SPEED = 1, HONE_HW_DISK_SPEED = 2 } hone_hw_measure;

typedef struct hone_hw_query {
    const hone_ctx      *ctx;
    const hone_hw_roots *roots;   /* hone_hw_machine for this one */
    const char          *folder;  /* storage: the folder that results will be written to */
    unsigned             measure; /* hone_hw_measure flags: which of the short measurements to run (about a second each) */
} hone_hw_query;

/* *out is owned: json_decref.  Fails only when memory is gone: what is missing is an answer, not an error. */
typedef hone_code (*hone_hw_probe_fn)(const hone_hw_query *q, json_t **out, hone_err *err);

typedef struct hone_hw_probe {
    const char      *name; /* "cpu" */
    hone_hw_probe_fn run;
} hone_hw_probe;

#define X(name) hone_code hone_hw_##name(const hone_hw_query *q, json_t **out, hone_err *err);
#include "hw/list.def"
#undef X

extern const hone_hw_probe hone_hw_list[];
extern const size_t        hone_hw_count;

/* All probes: {"cpu":{..},"memory":{..},...}; owned. */
hone_code hone_hw_all(const hone_hw_query *q, json_t **out, hone_err *err);
#endif
