/* report.h - report.json's document as one self-contained HTML page: no scripts from elsewhere, no fonts, no pictures by link. */
#ifndef HONE_FLOW_REPORT_H
#define HONE_FLOW_REPORT_H
#include "base/json.h"
#include "base/text.h"

/* Appends the page to out.  doc: the document of hone_optimize (docs/schema/optimize.json).  All text from doc is escaped.
 * HONE_ERESOURCE when memory is gone, HONE_EBUG when doc lacks a key that the schema demands. */
hone_code hone_report_html(const json_t *doc, hone_text *out, hone_err *err);
#endif
