/* page.h - pieces of the report page that its sections share. */
#ifndef HONE_FLOW_REPORT_PAGE_H
#define HONE_FLOW_REPORT_PAGE_H
#include "base/json.h"
#include "base/text.h"

/* All up to <main>; kind: what the title says behind the name, " - hone report".  close: the end; HONE_ERESOURCE when memory was gone on the way. */
void      hone_page_open(hone_text *t, const char *title, const char *kind);
hone_code hone_page_close(hone_text *t, hone_err *err);

/* The string under key, or "". */
const char *hone_page_str(const json_t *o, const char *key);
/* Adds s with & < > " ' escaped: every word that came from a file or a document goes through here. */
void hone_page_text(hone_text *t, const char *s);
/* Adds "12.3 MB", or a dash with the reason as a tooltip when obj has no number at path. */
void hone_page_bytes(hone_text *t, const json_t *obj, const char *path);
/* Adds a number with this printf format for one double ("%.1f"; NULL: bytes, as above), or the dash. */
void hone_page_num(hone_text *t, const json_t *obj, const char *path, const char *fmt, double times);

/* A figure with its label, inside <div class=cards>; fmt NULL: bytes. */
void hone_page_card(hone_text *t, const char *label, const json_t *obj, const char *path, const char *fmt, double times, const char *unit);
/* A name and its value, inside <dl>; "" is "not known". */
void hone_page_pair(hone_text *t, const char *name, const char *value);
/* The section with the gates of hone optimize. */
void hone_page_gates(hone_text *t, const json_t *gates);
/* The candidate that was chosen, or NULL. */
const json_t *hone_page_chosen(const json_t *doc);

/* charts.c.  candidates: the document's array. */
void hone_chart_pareto(hone_text *t, const json_t *doc);   /* memory against decode speed, front drawn */
void hone_chart_quality(hone_text *t, const json_t *doc);  /* file size against KL divergence, log scale */
void hone_chart_stages(hone_text *t, const json_t *doc);   /* the five stages, one small bar chart for each figure */
void hone_chart_threads(hone_text *t, const json_t *doc);  /* stage 4 */
void hone_chart_scores(hone_text *t, const json_t *doc);   /* weighted parts of every score */
/* layers.c: a section of its own, with its heading; nothing when no row has "layers" or "layers_missing". */
void hone_chart_layers(hone_text *t, const json_t *rows);
#endif
