#include "flow/history.h"
#include "base/file.h"
#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <time.h>

#define APPLICATION_ID 0x686f6e65 /* "hone": PRAGMA application_id, so that another program's database is never touched */
#define SCHEMA_VERSION 1

struct hone_history {
    sqlite3 *db;
    char     path[1024];
};

static const char SCHEMA[] =
    "CREATE TABLE run (id INTEGER PRIMARY KEY, started TEXT NOT NULL, ended TEXT, command TEXT NOT NULL, source TEXT NOT NULL,"
    " target TEXT NOT NULL, machine TEXT NOT NULL, verdict TEXT, summary TEXT);"
    "CREATE TABLE measurement (id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run(id), at TEXT NOT NULL, key TEXT NOT NULL,"
    " kind TEXT NOT NULL, artefact TEXT NOT NULL, artefact_sha256 TEXT NOT NULL, result TEXT NOT NULL);"
    "CREATE INDEX measurement_key ON measurement(key, id);"
    "CREATE INDEX measurement_run ON measurement(run);";

static hone_code db_fail(hone_history *h, hone_err *err, const char *doing)
{
    int  rc = sqlite3_errcode(h->db);
    bool bad = rc == SQLITE_NOTADB || rc == SQLITE_CORRUPT;
    return HONE_FAIL(err, bad ? HONE_EINPUT : HONE_ERESOURCE,
                     bad ? "move the file away: a new history is begun" : "check that the folder can be written and has room",
                     "history '%s': %s: %s", h->path, doing, sqlite3_errmsg(h->db));
}

static hone_code run_sql(hone_history *h, const char *sql, const char *doing, hone_err *err)
{
    return sqlite3_exec(h->db, sql, NULL, NULL, NULL) == SQLITE_OK ? HONE_OK : db_fail(h, err, doing);
}

static hone_code pragma_int(hone_history *h, const char *sql, int *out, hone_err *err)
{
    sqlite3_stmt *s = NULL;
    hone_code     code = HONE_OK;
    if (sqlite3_prepare_v2(h->db, sql, -1, &s, NULL) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW) code = db_fail(h, err, "reading it");
    else *out = sqlite3_column_int(s, 0);
    (void)sqlite3_finalize(s);
    return code;
}

static hone_code prepare_file(hone_history *h, bool write, hone_err *err)
{
    int app = 0, version = 0, tables = 0;
    (void)sqlite3_busy_timeout(h->db, 10000);
    HONE_TRY(pragma_int(h, "PRAGMA application_id", &app, err));
    HONE_TRY(pragma_int(h, "PRAGMA user_version", &version, err));
    HONE_TRY(pragma_int(h, "SELECT count(*) FROM sqlite_master", &tables, err));
    if (app != APPLICATION_ID && tables != 0)
        return HONE_FAIL(err, HONE_EINPUT, "choose another folder", "'%s' is a database of another program", h->path);
    if (app == APPLICATION_ID && version != SCHEMA_VERSION)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "use the hone that wrote it, or move it away", "history '%s' has version %d, this hone reads %d",
                         h->path, version, SCHEMA_VERSION);
    if (!write && app != APPLICATION_ID)
        return HONE_FAIL(err, HONE_EINPUT, "name the -o folder of hone optimize", "'%s' is empty: no run was stored there", h->path);
    if (!write) return HONE_OK;
    HONE_TRY(run_sql(h, "PRAGMA journal_mode=DELETE; PRAGMA synchronous=EXTRA; PRAGMA foreign_keys=ON", "setting it up", err));
    if (app == APPLICATION_ID) return HONE_OK;
    HONE_TRY(run_sql(h, "BEGIN IMMEDIATE", "beginning it", err));
    hone_code code = run_sql(h, SCHEMA, "making its tables", err);
    if (code == HONE_OK) code = run_sql(h, "PRAGMA application_id=1752133221; PRAGMA user_version=1", "marking it", err);
    if (code == HONE_OK) return run_sql(h, "COMMIT", "saving it", err);
    (void)sqlite3_exec(h->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

static hone_code open_as(const char *path, bool write, hone_history **out, hone_err *err)
{
    _Static_assert(APPLICATION_ID == 1752133221, "the number in the SQL text above");
    hone_history *h = calloc(1, sizeof *h);
    if (!h) return HONE_NOMEM(err, "the history");
    if (strlen(path) >= sizeof h->path) {
        free(h);
        return HONE_FAIL(err, HONE_EUSAGE, "", "history path has %zu bytes, %zu fit", strlen(path), sizeof h->path - 1);
    }
    memcpy(h->path, path, strlen(path) + 1);
    hone_code code = HONE_OK;
    if (sqlite3_open_v2(path, &h->db, write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        code = h->db ? db_fail(h, err, "opening it") : HONE_NOMEM(err, "the history");
    if (code == HONE_OK) code = prepare_file(h, write, err);
    if (code != HONE_OK) {
        hone_history_close(h);
        return code;
    }
    *out = h;
    return HONE_OK;
}

hone_code hone_history_open(const char *path, hone_history **out, hone_err *err) { return open_as(path, true, out, err); }
hone_code hone_history_read(const char *path, hone_history **out, hone_err *err) { return open_as(path, false, out, err); }

void hone_history_close(hone_history *h)
{
    if (!h) return;
    (void)sqlite3_close(h->db);
    free(h);
}

hone_code hone_history_hold(hone_history *h, hone_err *err) { return run_sql(h, "BEGIN IMMEDIATE", "beginning a set of rows", err); }

hone_code hone_history_settle(hone_history *h, hone_code code, hone_err *err)
{
    if (code == HONE_OK) code = run_sql(h, "COMMIT", "saving a set of rows", err);
    if (code != HONE_OK) (void)sqlite3_exec(h->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

static const char *now_text(char out[32])
{
    time_t    t = time(NULL);
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) out[0] = '\0';
    return out;
}

/* Binds texts in order (NULL: SQL null) after an optional leading integer, then runs the statement. */
static hone_code write_row(hone_history *h, const char *sql, const int64_t *first, const char *const *texts, int n, const int64_t *last, hone_err *err)
{
    sqlite3_stmt *s = NULL;
    hone_code     code = HONE_OK;
    int           at = 1;
    bool          good = sqlite3_prepare_v2(h->db, sql, -1, &s, NULL) == SQLITE_OK;
    if (good && first) good = sqlite3_bind_int64(s, at++, *first) == SQLITE_OK;
    for (int i = 0; good && i < n; i++) good = sqlite3_bind_text(s, at++, texts[i], -1, SQLITE_TRANSIENT) == SQLITE_OK;
    if (good && last) good = sqlite3_bind_int64(s, at++, *last) == SQLITE_OK;
    if (!good || sqlite3_step(s) != SQLITE_DONE) code = db_fail(h, err, "adding a row");
    (void)sqlite3_finalize(s);
    return code;
}

static hone_code to_text(const json_t *j, char **out, hone_err *err)
{
    bool none = !j || json_is_null(j);
    *out = none ? NULL : json_dumps(j, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(17));
    return !none && !*out ? HONE_NOMEM(err, "a history row") : HONE_OK;
}

hone_code hone_history_begin(hone_history *h, const char *command, const char *source, const char *target, const json_t *machine, int64_t *run_id,
                             hone_err *err)
{
    char  at[32];
    char *m;
    HONE_TRY(to_text(machine, &m, err));
    hone_code code = write_row(h, "INSERT INTO run(started,command,source,target,machine) VALUES(?,?,?,?,?)", NULL,
                               (const char *[]){ now_text(at), command, source, target, m ? m : "{}" }, 5, NULL, err);
    free(m);
    if (code == HONE_OK) *run_id = sqlite3_last_insert_rowid(h->db);
    return code;
}

hone_code hone_history_end(hone_history *h, int64_t run_id, const char *verdict, const json_t *summary, hone_err *err)
{
    char  at[32];
    char *s;
    HONE_TRY(to_text(summary, &s, err));
    hone_code code = write_row(h, "UPDATE run SET ended=?, verdict=?, summary=? WHERE id=?", NULL, (const char *[]){ now_text(at), verdict, s }, 3,
                               &run_id, err);
    free(s);
    return code;
}

hone_code hone_history_add(hone_history *h, int64_t run_id, const char *key, const char *kind, const char *artefact, const char *artefact_sha256,
                           const json_t *result, hone_err *err)
{
    char  at[32];
    char *r;
    HONE_TRY(to_text(result, &r, err));
    hone_code code = write_row(h, "INSERT INTO measurement(run,at,key,kind,artefact,artefact_sha256,result) VALUES(?,?,?,?,?,?,?)", &run_id,
                               (const char *[]){ now_text(at), key, kind, artefact, artefact_sha256, r ? r : "null" }, 6, NULL, err);
    free(r);
    return code;
}

static hone_code column_json(hone_history *h, sqlite3_stmt *s, int col, json_t **out, hone_err *err)
{
    const char *text = (const char *)sqlite3_column_text(s, col);
    *out = NULL;
    if (!text) return HONE_OK;
    if (hone_json_parse((hone_bytes){ (const uint8_t *)text, strlen(text) }, h->path, out, err) == HONE_OK) return HONE_OK;
    return hone_err_wrap(err, "a row of the history");
}

hone_code hone_history_find(hone_history *h, const char *key, json_t **out, hone_err *err)
{
    sqlite3_stmt *s = NULL;
    hone_code     code = HONE_OK;
    json_t       *found = NULL;
    if (sqlite3_prepare_v2(h->db, "SELECT result FROM measurement WHERE key=? ORDER BY id DESC LIMIT 1", -1, &s, NULL) != SQLITE_OK ||
        sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC) != SQLITE_OK)
        code = db_fail(h, err, "looking up a row");
    if (code == HONE_OK) {
        int rc = sqlite3_step(s);
        if (rc == SQLITE_ROW) code = column_json(h, s, 0, &found, err);
        else if (rc != SQLITE_DONE) code = db_fail(h, err, "looking up a row");
    }
    (void)sqlite3_finalize(s);
    if (code == HONE_OK) *out = found;
    return code;
}

static bool put_text_column(json_t *o, const char *key, sqlite3_stmt *s, int col)
{
    const char *t = (const char *)sqlite3_column_text(s, col);
    return hone_json_put(o, key, t ? json_string(t) : json_null());
}

static hone_code list_measurements(hone_history *h, int64_t run, bool with_results, json_t *into, hone_err *err)
{
    sqlite3_stmt *s = NULL;
    hone_code     code = HONE_OK;
    int           rc = SQLITE_OK;
    if (sqlite3_prepare_v2(h->db, "SELECT at,kind,artefact,artefact_sha256,result FROM measurement WHERE run=? ORDER BY id", -1, &s, NULL) !=
            SQLITE_OK ||
        sqlite3_bind_int64(s, 1, run) != SQLITE_OK)
        code = db_fail(h, err, "listing it");
    while (code == HONE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        json_t *o = json_object(), *result = NULL;
        bool    good = o && put_text_column(o, "at", s, 0) && put_text_column(o, "kind", s, 1) && put_text_column(o, "artefact", s, 2) &&
                    put_text_column(o, "artefact_sha256", s, 3);
        if (with_results) {
            code = column_json(h, s, 4, &result, err);
            good = good && code == HONE_OK && hone_json_put(o, "result", result ? result : json_null());
        }
        if (code == HONE_OK && (!good || json_array_append_new(into, o) != 0)) code = HONE_NOMEM(err, "the history");
    }
    if (code == HONE_OK && rc != SQLITE_DONE) code = db_fail(h, err, "listing it");
    (void)sqlite3_finalize(s);
    return code;
}

hone_code hone_history_list(hone_history *h, uint32_t most, bool with_results, json_t **out, hone_err *err)
{
    sqlite3_stmt *s = NULL;
    hone_code     code = HONE_OK;
    int           rc = SQLITE_OK;
    json_t       *doc = json_object(), *runs = json_array();
    if (!doc || !hone_json_put(doc, "runs", runs)) code = HONE_NOMEM(err, "the history");
    if (code == HONE_OK &&
        (sqlite3_prepare_v2(h->db, "SELECT id,started,ended,command,source,target,verdict,summary,machine FROM run ORDER BY id DESC LIMIT ?", -1, &s,
                            NULL) != SQLITE_OK ||
         sqlite3_bind_int64(s, 1, most) != SQLITE_OK))
        code = db_fail(h, err, "listing it");
    while (code == HONE_OK && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        json_t *o = json_object(), *summary = NULL, *machine = NULL, *list = json_array();
        code = column_json(h, s, 7, &summary, err);
        if (code == HONE_OK) code = column_json(h, s, 8, &machine, err);
        int64_t id = sqlite3_column_int64(s, 0);
        bool    good = o && hone_json_put(o, "id", json_integer(id)) && put_text_column(o, "started", s, 1) && put_text_column(o, "ended", s, 2) &&
                    put_text_column(o, "command", s, 3) && put_text_column(o, "source", s, 4) && put_text_column(o, "target", s, 5) &&
                    put_text_column(o, "verdict", s, 6) && hone_json_put(o, "summary", summary ? summary : json_null()) &&
                    hone_json_put(o, "machine", machine ? machine : json_null()) && hone_json_put(o, "measurements", list);
        if (code == HONE_OK && (!good || json_array_append_new(runs, o) != 0)) code = HONE_NOMEM(err, "the history");
        if (code == HONE_OK) code = list_measurements(h, id, with_results, list, err);
    }
    if (code == HONE_OK && rc != SQLITE_DONE) code = db_fail(h, err, "listing it");
    (void)sqlite3_finalize(s);
    if (code == HONE_OK) *out = doc;
    else json_decref(doc);
    return code;
}
