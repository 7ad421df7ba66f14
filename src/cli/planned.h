/* planned.h - what hone plan and hone convert --target-... have in common: options, the making of a plan, and what is said of it. */
#ifndef HONE_CLI_PLANNED_H
#define HONE_CLI_PLANNED_H
#include "cli/cli.h"
#include "flow/plan/make.h"

#define HONE_OPT_TARGETS \
    { "target-bytes", 0, HONE_OPT_BYTES, "SIZE", NULL, "mixed precision: the best encodings whose files take SIZE at most, in each format (docs/PLAN.md)" }, \
    { "target-bpw", 0, HONE_OPT_REAL, "BITS", NULL, "... whose weights have so many bits on average" }, \
    { "target-kld", 0, HONE_OPT_REAL, "KLD", NULL, "... that take least and whose KL divergence from the unquantised model is KLD at most" }, \
    { "max-ram", 0, HONE_OPT_BYTES, "SIZE", NULL, "... whose weights, KV cache and buffers take SIZE at most" }, \
    { "context", 0, HONE_OPT_COUNT, "N", NULL, "tokens of KV cache for --max-ram (default: the model's own)" }, \
    { "sensitivity", 0, HONE_OPT_TEXT, "HOW", "auto|measured|proxy", "measured: each weight is made coarse in turn and the model compared with itself in llama.cpp; proxy: from errors of the " \
                                                                    "weights alone; auto: measured where there is a text and the model is not too large" }, \
    { "text", 0, HONE_OPT_TEXT, "FILE", NULL, "calibration text that sensitivity is measured on (default: SRC/eval/calibration.txt)" }, \
    { "tokens", 0, HONE_OPT_COUNT, "N", NULL, "of that text (default 4096)" }

bool hone_cli_has_target(const hone_cli *c);
/* Makes the plan that the options ask for and writes it as path (NULL: nowhere).  out lives in c->arena. */
hone_code hone_cli_make_plan(hone_cli *c, const hone_model *m, const hone_convert_options *as, const char *path, const char *work_dir, bool judge, hone_plan_made *out,
                             hone_err *err);
/* Its document: target, formats[], sensitivity{}, measured{} of docs/schema/plan.json; with weights[] when asked. */
hone_code hone_cli_put_plan(json_t *doc, const hone_plan_made *p, const char *path, bool weights, hone_err *err);
/* Lines for a person from that document. */
void      hone_cli_say_plan(hone_cli *c, const json_t *doc);
#endif
