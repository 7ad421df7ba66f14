/* optimize.h - `hone optimize MODEL.onnx`: a network's candidates made, judged on labelled samples, raced in turns, gated, reported. */
#ifndef HONE_FLOW_NET_OPTIMIZE_H
#define HONE_FLOW_NET_OPTIMIZE_H
#include "base/text.h"
#include "flow/net/static.h"

typedef struct hone_net_optimize_options {
    const char *source, *target, *out_dir, *command;
    const char *data;            /* labelled samples; needed */
    hone_static_how statics;     /* calibration NULL: no static int8 among the candidates */
    double      min_accuracy;    /* share of the baseline's right answers */
    double      prefer_speed, prefer_accuracy, prefer_memory;
    double      gate_speed, gate_memory, gate_variation; /* 0: the mission's 2, .5, .2 */
    uint64_t    max_bytes;       /* 0: the target's package budget */
    uint32_t    repeat;          /* rounds; 0: 500 */
    bool        fresh;           /* measure again what history.db holds */
} hone_net_optimize_options;

/* doc gets docs/schema/optimize.json of kind "network"; DIR/report.json, DIR/report.html and DIR/history.db are written.
 * HONE_ENO (with the document whole) when a blocking gate is not `pass`. */
hone_code hone_net_optimize(const hone_ctx *ctx, const hone_net_optimize_options *opt, json_t *doc, hone_err *err);
/* report.c: the page of such a document. */
hone_code hone_net_report_html(const json_t *doc, hone_text *out, hone_err *err);
#endif
