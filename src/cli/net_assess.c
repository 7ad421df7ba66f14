/* net_assess.c - hone assess of an ONNX model that is no language model. */
#include "base/text.h"
#include "cli/net.h"
#include "flow/net.h"

hone_code hone_cli_net_assess(hone_cli *c, json_t *doc, hone_err *err)
{
    static const char *const others[] = { "context", "workflow", "explain" };
    json_t                  *got = NULL;
    for (size_t i = 0; i < HONE_COUNT(others); i++)
        if (hone_cli_has(c, others[i])) return HONE_FAIL(err, HONE_EUSAGE, "leave it out", "--%s is for language models", others[i]);
    HONE_TRY(hone_net_assess(&c->ctx, c->args[0],
                             &(hone_net_assess_options){ .target = hone_cli_text(c, "target", NULL), .max_ram = hone_cli_bytes(c, "max-ram", 0), .offline = hone_cli_has(c, "quick") },
                             &got, err));
    hone_code code = json_object_update(doc, got) == 0 ? HONE_OK : HONE_NOMEM(err, "the assessment");
    json_decref(got);
    return code;
}

/* 1.86 M */
static const char *count(double v, char *out, size_t cap)
{
    if (v >= 1e9) (void)snprintf(out, cap, "%.3g G", v / 1e9);
    else if (v >= 1e6) (void)snprintf(out, cap, "%.3g M", v / 1e6);
    else if (v >= 1e4) (void)snprintf(out, cap, "%.3g k", v / 1e3);
    else (void)snprintf(out, cap, "%.0f", v);
    return out;
}

static void print_ports(hone_cli *c, const char *title, const json_t *ports)
{
    size_t  i, d;
    json_t *p, *x;
    json_array_foreach((json_t *)(uintptr_t)ports, i, p) {
        hone_text shape = { 0 };
        char      shown[96];
        json_array_foreach(json_object_get(p, "shape"), d, x) {
            const char *name = json_is_string(x) ? json_string_value(x) : "?";
            if (json_is_integer(x)) hone_text_addf(&shape, "%s%lld", d ? ", " : "", (long long)json_integer_value(x));
            else hone_text_addf(&shape, "%s%s", d ? ", " : "", hone_text_show(name, strlen(name), shown, sizeof shown));
        }
        const char *name = hone_doc_str(p, "name", "?");
        hone_say_field(c, i ? "" : title, "%s: %s [%s]", hone_text_show(name, strlen(name), shown, sizeof shown), hone_doc_str(p, "type", "?"), shape.len ? shape.ptr : "");
        hone_text_release(&shape);
    }
}

static void print_operators(hone_cli *c, const json_t *n)
{
    size_t      i;
    json_t     *o;
    char        a[32], b[32];
    double      all = hone_doc_num(n, "macs", 0);
    hone_table *t = hone_table_new(c, 5);
    hone_say_head(c, "Operators");
    hone_table_col(t, 0, "operator", "", false);
    hone_table_col(t, 1, "nodes", "", true);
    hone_table_col(t, 2, "parameters", "", true);
    hone_table_col(t, 3, "MACs", "", true);
    hone_table_col(t, 4, "share", "%", true);
    json_array_foreach(json_object_get(n, "operators"), i, o) {
        const char *domain = hone_doc_str(o, "domain", "");
        bool        known = hone_doc_has_num(o, "macs");
        hone_table_cell(t, i, 0, HONE_BOLD, "%s%s%s", domain, *domain ? "." : "", hone_doc_str(o, "op", "?"));
        hone_table_cell(t, i, 1, HONE_PLAIN, "%.0f", hone_doc_num(o, "count", 0));
        hone_table_cell(t, i, 2, HONE_PLAIN, "%s", count(hone_doc_num(o, "parameters", 0), a, sizeof a));
        hone_table_cell(t, i, 3, known ? HONE_PLAIN : HONE_YELLOW, "%s", known ? count(hone_doc_num(o, "macs", 0), b, sizeof b) : "not known");
        hone_table_cell(t, i, 4, HONE_PLAIN, "%.1f", known && all > 0 ? 100 * hone_doc_num(o, "macs", 0) / all : 0.0);
    }
    hone_table_print(c, t);
}

static void print_runtimes(hone_cli *c, const json_t *doc)
{
    size_t  i;
    json_t *r;
    hone_say_head(c, "Runtimes");
    json_array_foreach(json_object_get(doc, "compatibility"), i, r) {
        const json_t *ok = json_object_get(r, "ok");
        if (json_is_true(ok)) hone_say_field(c, hone_doc_str(r, "runtime", "?"), "loads it (%s)", hone_doc_str(r, "version", ""));
        else hone_say_field(c, hone_doc_str(r, "runtime", "?"), "%s%s", json_is_null(ok) ? "" : "no: ", hone_doc_str(r, "reason", ""));
    }
}

static void print_fit(hone_cli *c, const json_t *doc)
{
    size_t        i;
    json_t       *f;
    char          a[32], b[32];
    const json_t *target = json_object_get(doc, "fits_on");
    hone_table   *t = hone_table_new(c, 4);
    hone_say_head(c, "What fits on %s", hone_doc_str(target, "title", "?"));
    hone_table_col(t, 0, "encoding", "", false);
    hone_table_col(t, 1, "weights", "est.", true);
    hone_table_col(t, 2, "memory", "est.", true);
    hone_table_col(t, 3, "fits", "memory", false);
    json_array_foreach(json_object_get(doc, "fit"), i, f) {
        const json_t *fits = json_object_get(f, "fits");
        hone_table_cell(t, i, 0, HONE_PLAIN, "%s", hone_doc_str(f, "encoding", "?"));
        hone_table_cell(t, i, 1, HONE_PLAIN, "%s", hone_text_bytes((uint64_t)hone_doc_num(f, "weights_bytes", 0), a, sizeof a));
        hone_table_cell(t, i, 2, HONE_PLAIN, "%s", hone_text_bytes((uint64_t)hone_doc_num(f, "ram_bytes", 0), b, sizeof b));
        hone_table_cell(t, i, 3, json_is_true(fits) ? HONE_GREEN : json_is_null(fits) ? HONE_DIM : HONE_RED, "%s",
                        json_is_null(fits) ? "-" : json_is_true(fits) ? "yes" : "no");
    }
    hone_table_print(c, t);
    json_array_foreach(json_object_get(doc, "estimates"), i, f) hone_say_bullet(c, json_string_value(f));
}

void hone_cli_net_assess_print(hone_cli *c, const json_t *doc)
{
    const json_t *n = json_object_get(doc, "network"), *v;
    char          a[32], b[32];
    const char   *key;
    hone_text     opsets = { 0 };
    hone_say(c, HONE_BOLD, "%s\n", hone_doc_str(n, "name", "?"));
    hone_say_head(c, "Network");
    json_object_foreach(json_object_get(n, "opsets"), key, v) hone_text_addf(&opsets, "%s%s %lld", opsets.len ? ", " : "", key, (long long)json_integer_value(v));
    hone_say_field(c, "opset", "%s (IR version %.0f, by %s)", opsets.len ? opsets.ptr : "none", hone_doc_num(n, "ir_version", 0), hone_doc_str(n, "producer", "?"));
    hone_text_release(&opsets);
    print_ports(c, "inputs", json_object_get(n, "inputs"));
    print_ports(c, "outputs", json_object_get(n, "outputs"));
    hone_say_field(c, "parameters", "%s in %s", count(hone_doc_num(n, "parameters", 0), a, sizeof a), hone_text_bytes((uint64_t)hone_doc_num(n, "weights_bytes", 0), b, sizeof b));
    hone_say_field(c, "work", "%s multiplications, %s operations for one sample", count(hone_doc_num(n, "macs", 0), a, sizeof a), count(hone_doc_num(n, "flops", 0), b, sizeof b));
    if (hone_doc_num(n, "macs_unknown_nodes", 0) > 0)
        hone_say_field(c, "", "without those of %.0f nodes, whose shapes or operators are not known", hone_doc_num(n, "macs_unknown_nodes", 0));
    print_operators(c, n);
    print_runtimes(c, doc);
    print_fit(c, doc);
}
