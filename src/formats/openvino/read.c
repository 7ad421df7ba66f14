/* read.c - the constants of an IR file, through expat. */
#include "formats/openvino.h"
#include <expat.h>
#include <inttypes.h>
#include <stdlib.h>

#define MAX_DEPTH 32 /* elements inside each other: IR without sub-graphs needs 7, with them 12 for each level */

typedef struct reader {
    XML_Parser     parser;
    hone_arena    *a;
    hone_err      *err;
    hone_code      code;
    uint32_t       depth;
    bool           is_net;
    const char    *layer, *type; /* of the layer we are in; arena */
    uint64_t       max_id;
    bool           have_id;
    hone_ov_found *found;
    size_t         n, cap;
} reader;

static void fail(reader *r, const char *what)
{
    if (r->code != HONE_OK) return;
    r->code = HONE_FAIL(r->err, HONE_EINPUT, "write it again", "line %" PRIu64 ": %s", (uint64_t)XML_GetCurrentLineNumber(r->parser), what);
    (void)XML_StopParser(r->parser, XML_FALSE);
}

static void lost(reader *r)
{
    if (r->code != HONE_OK) return;
    r->code = HONE_NOMEM(r->err, "an OpenVINO model");
    (void)XML_StopParser(r->parser, XML_FALSE);
}

static const char *attr(const char **attrs, const char *key)
{
    for (size_t i = 0; attrs[i]; i += 2)
        if (strcmp(attrs[i], key) == 0) return attrs[i + 1];
    return NULL;
}

static bool number(const char *text, uint64_t *out)
{
    uint64_t v = 0;
    if (!text || !*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || !hone_size_mul(v, 10, &v) || !hone_size_add(v, (uint64_t)(*text - '0'), &v)) return false;
    }
    *out = v;
    return true;
}

static const char *keep(reader *r, const char *text)
{
    const char *s = hone_arena_strdup(r->a, text ? text : "");
    if (!s) lost(r);
    return s ? s : "";
}

static void begin_layer(reader *r, const char **attrs)
{
    uint64_t id;
    if (!number(attr(attrs, "id"), &id)) {
        fail(r, "a layer without a number");
        return;
    }
    if (!r->have_id || id > r->max_id) r->max_id = id;
    r->have_id = true;
    r->layer = keep(r, attr(attrs, "name"));
    r->type = keep(r, attr(attrs, "type"));
}

static void add_const(reader *r, const char **attrs)
{
    uint64_t offset, size;
    if (!attr(attrs, "element_type") || !number(attr(attrs, "offset"), &offset) || !number(attr(attrs, "size"), &size) ||
        !hone_size_add(offset, size, &(uint64_t){ 0 })) {
        fail(r, "a constant without element_type, offset and size");
        return;
    }
    if (r->n == r->cap) {
        size_t         cap = r->cap ? 2 * r->cap : 128;
        hone_ov_found *more = HONE_ARENA_NEW(r->a, hone_ov_found, cap);
        if (!more) {
            lost(r);
            return;
        }
        if (r->n) memcpy(more, r->found, r->n * sizeof *more);
        r->found = more;
        r->cap = cap;
    }
    r->found[r->n++] = (hone_ov_found){ r->layer, keep(r, attr(attrs, "element_type")), keep(r, attr(attrs, "shape")), offset, size };
}

static void check_edge(reader *r, const char **attrs)
{
    uint64_t from, to;
    if (!number(attr(attrs, "from-layer"), &from) || !number(attr(attrs, "to-layer"), &to) || !r->have_id || from > r->max_id || to > r->max_id)
        fail(r, "an edge between layers that are not there");
}

static void on_start(void *user, const char *name, const char **attrs)
{
    reader *r = user;
    if (r->code != HONE_OK) return;
    if (r->depth++ >= MAX_DEPTH) {
        fail(r, "elements nest too deep");
        return;
    }
    if (r->depth == 1) {
        const char *version = attr(attrs, "version");
        r->is_net = strcmp(name, "net") == 0 && version && strcmp(version, "11") == 0;
        if (!r->is_net) fail(r, "not a <net version=\"11\">");
    } else if (r->depth == 3 && strcmp(name, "layer") == 0) begin_layer(r, attrs);
    else if (r->depth == 3 && strcmp(name, "edge") == 0) check_edge(r, attrs);
    else if (r->depth == 4 && strcmp(name, "data") == 0 && r->type && strcmp(r->type, "Const") == 0) add_const(r, attrs);
}

static void on_end(void *user, const char *name)
{
    reader *r = user;
    if (r->depth == 3 && strcmp(name, "layer") == 0) r->type = NULL;
    r->depth--;
}

/* IR has no document type; one that declares entities could grow without end. */
static void on_doctype(void *user, const char *name, const char *system, const char *public, int internal)
{
    (void)name;
    (void)system;
    (void)public;
    (void)internal;
    fail(user, "a document type, which IR does not have");
}

static int by_name(const void *a, const void *b) { return strcmp(((const hone_ov_found *)a)->name, ((const hone_ov_found *)b)->name); }

hone_code hone_ov_read_consts(hone_bytes xml, hone_arena *a, hone_ov_found **out, size_t *n, hone_err *err)
{
    reader r = { .parser = XML_ParserCreate(NULL), .a = a, .err = err };
    if (!r.parser) return HONE_NOMEM(err, "an XML parser");
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    enum XML_Status status = XML_STATUS_OK;
    for (size_t at = 0; r.code == HONE_OK && status == XML_STATUS_OK;) {
        size_t part = xml.len - at < ((size_t)1 << 20) ? xml.len - at : (size_t)1 << 20;
        bool   last = at + part == xml.len;
        status = XML_Parse(r.parser, (const char *)xml.ptr + at, (int)part, last);
        at += part;
        if (last) break;
    }
    if (r.code == HONE_OK && status != XML_STATUS_OK) fail(&r, XML_ErrorString(XML_GetErrorCode(r.parser)));
    XML_ParserFree(r.parser);
    if (r.code != HONE_OK) return r.code;
    if (r.n) qsort(r.found, r.n, sizeof *r.found, by_name);
    *out = r.found;
    *n = r.n;
    return HONE_OK;
}

const hone_ov_found *hone_ov_find_const(const hone_ov_found *consts, size_t n, const char *name)
{
    hone_ov_found key = { .name = name };
    return n ? bsearch(&key, consts, n, sizeof *consts, by_name) : NULL;
}
