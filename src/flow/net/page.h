/* page.h - hone eval, check and bench of networks as one page: --html. */
#ifndef HONE_FLOW_NET_PAGE_H
#define HONE_FLOW_NET_PAGE_H
#include "base/ctx.h"
#include "base/json.h"
#include "base/text.h"

typedef struct hone_net_page_about {
    const char   *verb;    /* "eval", "check", "bench" */
    const char   *command; /* as it was typed */
    const char   *answer;  /* check: why the answer is no; NULL: it is yes */
    const json_t *machine; /* as hone probe tells it; NULL: not known */
} hone_net_page_about;

/* doc: the verb's document with "results".  Every word of it is text on the page. */
hone_code hone_net_page_html(const json_t *doc, const hone_net_page_about *about, hone_text *out, hone_err *err);
/* The same into a file; machine is asked for. */
hone_code hone_net_page_write(const hone_ctx *ctx, const json_t *doc, const hone_net_page_about *about, const char *path, hone_err *err);
#endif
