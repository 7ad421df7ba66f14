/* json.h - JSON from files we do not trust, through jansson, with errors that name the key.
 * What jansson leaves to us: duplicate keys are refused; integers beyond 64 bits (seen: model_max_length
 * 1000000000000000019884624838656) are read as reals; NUL inside strings is allowed (seen in vocabularies). */
#ifndef HONE_BASE_JSON_H
#define HONE_BASE_JSON_H
#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include <jansson.h>

/* Parses text; what names it in errors.  *out is owned: json_decref.  HONE_EINPUT on bad JSON, nesting over 512, duplicate keys. */
hone_code hone_json_parse(hone_bytes text, const char *what, json_t **out, hone_err *err);
/* Reads and parses a file of at most 256 MiB. */
hone_code hone_json_load(const char *path, json_t **out, hone_err *err);

/* Typed lookups: absent or null leaves *out untouched and is HONE_OK; a wrong type or range is HONE_EINPUT naming the key.
 * hone_json_need_*: absent is HONE_EINPUT too. */
hone_code hone_json_u32(const json_t *obj, const char *key, uint32_t *out, hone_err *err);
hone_code hone_json_need_u32(const json_t *obj, const char *key, uint32_t *out, hone_err *err);
hone_code hone_json_f64(const json_t *obj, const char *key, double *out, hone_err *err);
hone_code hone_json_bool(const json_t *obj, const char *key, bool *out, hone_err *err);
/* The string is borrowed from obj. */
hone_code hone_json_str(const json_t *obj, const char *key, const char **out, hone_err *err);

/* json_real refuses NaN and Inf: those become null here. */
json_t *hone_json_real(double v);
/* Adds v (stolen) under key; a NULL v or a failed add marks the whole object broken by returning false. */
bool hone_json_put(json_t *obj, const char *key, json_t *v);
#endif
