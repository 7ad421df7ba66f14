/* yaml.h - YAML from files we do not trust, through libyaml, as the same tree that JSON gives: every JSON document is one too.
 * One document; plain scalars are null, true, false, numbers and strings as in YAML's core schema (yes and on are words); anchors, aliases and
 * tags are refused: they let a small file stand for a huge one.  Source: YAML 1.2.2, 10.3. */
#ifndef HONE_BASE_YAML_H
#define HONE_BASE_YAML_H
#include "base/json.h"
#include "base/text.h"

/* Every mapping gets this member: the line it begins at, from 1.  No key of a file may be called so. */
#define HONE_YAML_LINE "%line"

/* Parses text; what names it in errors.  *out is owned: json_decref.  HONE_EINPUT names the line: bad YAML, nesting over 64, keys that are no plain
 * words or stand twice, NUL in strings, several documents. */
hone_code hone_yaml_parse(hone_bytes text, const char *what, json_t **out, hone_err *err);
/* Adds s as a scalar that reads back as this string: plain where that is safe, else in double quotes.  s is well-formed UTF-8. */
void      hone_yaml_put(hone_text *t, const char *s);
#endif
