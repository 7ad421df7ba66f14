/* measured.h - how measured numbers look: value ± half of its 95 % interval, and the reason where there is none.
 * Reads the result objects of src/measure (docs/schema: field, "ci", "states"). */
#ifndef HONE_CLI_MEASURED_H
#define HONE_CLI_MEASURED_H
#include "cli/cli.h"

/* The number under path ("ttft_ms.p95"); false when it is null. */
bool hone_measured(const json_t *result, const char *path, double *value);
/* A cell: value * scale with `digits` decimals, " ±x" when it has an interval and with_ci; "-" when not measured, "few" when unresolved. */
void hone_measured_cell(hone_table *t, size_t row, size_t col, const json_t *result, const char *path, double scale, int digits, bool with_ci);
/* Lines that say why: each reason once, for the fields of results[] that are null. skip: space-separated paths that need no word. */
void hone_measured_reasons(hone_cli *c, const json_t *results, const char *skip);
/* "tale-8m-q4_k_m" of "out/tale-8m-q4_k_m.gguf", safe to show. */
const char *hone_measured_name(const json_t *result, char *out, size_t cap);
#endif
