/* scored.h - what check, eval and bench share on the command line: artefacts that failed, the winners, the page. */
#ifndef HONE_CLI_SCORED_H
#define HONE_CLI_SCORED_H
#include "cli/cli.h"
#include "flow/scorecard.h"

#define HONE_OPT_DEVICE { "device", 0, HONE_OPT_TEXT, "DEV", "cpu|gpu|npu|auto", "where to run (default cpu); where it is not to be had the CPU takes over and the reason is shown" }
#define HONE_OPT_HTML   { "html", 0, HONE_OPT_TEXT, "FILE", NULL, "write everything that was found as one page too" }

/* results[] of the part, winners when judged, and the page of --html; s is released. code: what the measurement said; it is returned when nothing else goes wrong. */
hone_code hone_scored_finish(hone_cli *c, hone_scorecard *s, const char *part, json_t *doc, hone_code code, hone_err *err);
/* A line for each artefact without a result. */
void hone_scored_failures(hone_cli *c, const json_t *results);
/* A line for each artefact that ran on another device than asked for. */
void hone_scored_devices(hone_cli *c, const json_t *results);
void hone_scored_winners(hone_cli *c, const json_t *winners);
/* Lines about layers, of results that have them. */
void hone_scored_layers(hone_cli *c, const json_t *results);
#endif
