/* history.h - every measurement as a row, in SQLite: what was run, on what, what came out.  Reports are views of these rows. */
#ifndef HONE_FLOW_HISTORY_H
#define HONE_FLOW_HISTORY_H
#include "base/json.h"

typedef struct hone_history hone_history;

/* Opens or makes the database file (rollback journal, synchronous=EXTRA: a row that was added survives kill -9 and a power cut, and the
 * file can be copied and read where nothing can be written).  HONE_EINPUT when the file is no database of ours, or a damaged one. */
hone_code hone_history_open(const char *path, hone_history **out, hone_err *err);
/* Opens an existing one for reading: nothing is made or changed.  HONE_EINPUT also when it is empty. */
hone_code hone_history_read(const char *path, hone_history **out, hone_err *err);
void      hone_history_close(hone_history *h);
/* A run: one command on one source.  *run_id is its row. */
hone_code hone_history_begin(hone_history *h, const char *command, const char *source, const char *target, const json_t *machine, int64_t *run_id,
                             hone_err *err);
hone_code hone_history_end(hone_history *h, int64_t run_id, const char *verdict, const json_t *summary, hone_err *err);
/* One finished measurement.  key: hex digest over everything that decides the result (kind, artefact digest, options, runtime version, machine, hone version). */
hone_code hone_history_add(hone_history *h, int64_t run_id, const char *key, const char *kind, const char *artefact, const char *artefact_sha256,
                           const json_t *result, hone_err *err);
/* Rows added from hold to settle appear together (code is HONE_OK) or not at all (any other code, or the process ends before).
 * settle returns code, or why the rows could not be saved. */
hone_code hone_history_hold(hone_history *h, hone_err *err);
hone_code hone_history_settle(hone_history *h, hone_code code, hone_err *err);
/* The newest result under key; *out NULL when there is none (HONE_OK).  Owned: json_decref. */
hone_code hone_history_find(hone_history *h, const char *key, json_t **out, hone_err *err);
/* Runs, newest first, with their measurements: {runs:[{id,started,ended,command,source,target,verdict,summary,measurements:[...]}]}. */
hone_code hone_history_list(hone_history *h, uint32_t most, bool with_results, json_t **out, hone_err *err);
#endif
