#include "cli/cli.h"
#include "base/text.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

const hone_opt hone_common_opts[] = {
    { "json", 0, HONE_OPT_FLAG, NULL, NULL, "print exactly one JSON document on stdout (schema in docs/schema)" },
    { "threads", 't', HONE_OPT_COUNT, "N", NULL, "use at most N threads (default: the cores this process may use)" },
    { "quiet", 'q', HONE_OPT_FLAG, NULL, NULL, "no progress, no notes; warnings and errors only" },
    { "verbose", 'v', HONE_OPT_FLAG, NULL, NULL, "say more, and where in the source an error was raised" },
    { "help", 'h', HONE_OPT_FLAG, NULL, NULL, "show this help" },
};
const size_t hone_common_count = HONE_COUNT(hone_common_opts);

static const hone_opt *opt_at(const hone_cmd *cmd, size_t i)
{
    if (i < cmd->n_opts) return &cmd->opts[i];
    i -= cmd->n_opts;
    return i < hone_common_count ? &hone_common_opts[i] : NULL;
}

static const hone_opt *find_opt(const hone_cmd *cmd, const char *name, size_t len, char letter)
{
    const hone_opt *o;
    for (size_t i = 0; (o = opt_at(cmd, i)) != NULL; i++) {
        if (letter ? o->letter == letter : strlen(o->name) == len && memcmp(o->name, name, len) == 0) return o;
    }
    return NULL;
}

static hone_code unknown_opt(const hone_cmd *cmd, const char *word, hone_err *err)
{
    const hone_opt *o, *best = NULL;
    unsigned        least = 4;
    char            shown[80], remedy[128];
    for (size_t i = 0; (o = opt_at(cmd, i)) != NULL; i++) {
        unsigned d = hone_text_distance(word, o->name);
        if (d < least) {
            least = d;
            best = o;
        }
    }
    if (best) (void)snprintf(remedy, sizeof remedy, "did you mean --%s?", best->name);
    else (void)snprintf(remedy, sizeof remedy, "hone %s --help lists the options", cmd->name);
    return HONE_FAIL(err, HONE_EUSAGE, remedy, "hone %s has no option '--%s'", cmd->name,
                     hone_text_show(word, strlen(word), shown, sizeof shown));
}

static bool read_count(const char *s, uint32_t *out)
{
    char *end;
    errno = 0;
    unsigned long v = strtoul(s, &end, 10);
    if (errno || s[0] < '0' || s[0] > '9' || *end || v > UINT32_MAX) return false; /* strtoul would take " -1" too */
    *out = (uint32_t)v;
    return true;
}

static bool read_real(const char *s, double *out)
{
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    if (errno || end == s || *end || !isfinite(v)) return false;
    *out = v;
    return true;
}

static bool read_bytes(const char *s, uint64_t *out)
{
    static const struct { const char *unit; double times; } units[] = {
        { "", 1 }, { "B", 1 }, { "k", 1e3 }, { "kB", 1e3 }, { "K", 1e3 }, { "KB", 1e3 }, { "M", 1e6 }, { "MB", 1e6 },
        { "G", 1e9 }, { "GB", 1e9 }, { "T", 1e12 }, { "TB", 1e12 }, { "KiB", 1024 }, { "MiB", 1048576 },
        { "GiB", 1073741824.0 }, { "TiB", 1099511627776.0 },
    };
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    if (errno || end == s || !(v >= 0)) return false;
    for (size_t i = 0; i < HONE_COUNT(units); i++)
        if (strcmp(end, units[i].unit) == 0 && v * units[i].times < 9e18) {
            *out = (uint64_t)(v * units[i].times);
            return true;
        }
    return false;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t n = strlen(value);
    for (const char *p = choices; *p;) {
        size_t k = strcspn(p, "|");
        if (k == n && memcmp(p, value, n) == 0) return true;
        p += k;
        if (*p == '|') p++;
    }
    return false;
}

static hone_code check_value(const hone_opt *o, const char *value, hone_err *err)
{
    uint32_t    u;
    uint64_t    b;
    double      d;
    bool        ok = true;
    const char *needs = "";
    char        shown[80];
    switch (o->type) {
    case HONE_OPT_COUNT: ok = read_count(value, &u); needs = "a whole number, as in 8"; break;
    case HONE_OPT_REAL: ok = read_real(value, &d); needs = "a number, as in 0.95"; break;
    case HONE_OPT_BYTES: ok = read_bytes(value, &b); needs = "a size, as in 400M, 1.5GB or 2GiB"; break;
    case HONE_OPT_TEXT:
    case HONE_OPT_LIST: ok = value[0] != '\0'; needs = "a value"; break;
    case HONE_OPT_FLAG: break;
    }
    (void)hone_text_show(value, strlen(value), shown, sizeof shown);
    if (!ok) return HONE_FAIL(err, HONE_EUSAGE, "", "--%s is '%s', needs %s", o->name, shown, needs);
    if (o->choices && o->type == HONE_OPT_TEXT && !is_choice(o->choices, value))
        return HONE_FAIL(err, HONE_EUSAGE, "", "--%s is '%s', needs one of %s", o->name, shown, o->choices);
    return HONE_OK;
}

static hone_code add_value(hone_cli *c, const hone_opt *o, const char *text, hone_err *err)
{
    HONE_TRY(check_value(o, text, err));
    hone_opt_value *v = HONE_ARENA_NEW(&c->arena, hone_opt_value, 1);
    if (!v) return HONE_NOMEM(err, "the command line");
    *v = (hone_opt_value){ .opt = o, .text = text };
    hone_opt_value **tail = &c->values;
    while (*tail) tail = &(*tail)->next;
    *tail = v;
    return HONE_OK;
}

/* --name, --name=value, --name value.  *i moves over what was used. */
static hone_code parse_long(hone_cli *c, int argc, char **argv, int *i, hone_err *err)
{
    const char     *word = argv[*i] + 2;
    size_t          n = strcspn(word, "=");
    const char     *value = word[n] == '=' ? word + n + 1 : NULL;
    const hone_opt *o = find_opt(c->cmd, word, n, 0);
    if (!o) {
        char *name = hone_arena_strndup(&c->arena, word, n);
        return name ? unknown_opt(c->cmd, name, err) : HONE_NOMEM(err, "the command line");
    }
    if (o->type == HONE_OPT_FLAG) {
        if (value) return HONE_FAIL(err, HONE_EUSAGE, "", "--%s takes no value", o->name);
        return add_value(c, o, "", err);
    }
    if (!value) {
        if (*i + 1 >= argc) return HONE_FAIL(err, HONE_EUSAGE, "", "--%s needs a value: --%s %s", o->name, o->name, o->arg);
        value = argv[++*i];
    }
    return add_value(c, o, value, err);
}

static hone_code parse_short(hone_cli *c, int argc, char **argv, int *i, hone_err *err)
{
    const char *word = argv[*i];
    for (size_t k = 1; word[k]; k++) {
        const hone_opt *o = find_opt(c->cmd, NULL, 0, word[k]);
        char            shown[16];
        if (!o)
            return HONE_FAIL(err, HONE_EUSAGE, "hone VERB --help lists the options", "hone %s has no option '-%s'", c->cmd->name,
                             hone_text_show(word + k, 1, shown, sizeof shown));
        if (o->type == HONE_OPT_FLAG) {
            HONE_TRY(add_value(c, o, "", err));
            continue;
        }
        const char *value = word[k + 1] ? word + k + 1 : *i + 1 < argc ? argv[++*i] : NULL;
        if (!value) return HONE_FAIL(err, HONE_EUSAGE, "", "-%c needs a value: -%c %s", o->letter, o->letter, o->arg);
        return add_value(c, o, value, err);
    }
    return HONE_OK;
}

hone_code hone_cli_parse(hone_cli *c, int argc, char **argv, hone_err *err)
{
    bool only_args = false;
    c->args = hone_arena_calloc(&c->arena, (size_t)argc + 1, sizeof *c->args);
    if (!c->args) return HONE_NOMEM(err, "the command line");
    for (int i = 0; i < argc; i++) {
        char shown[120];
        /* Paths end up in JSON and in the names inside of artefacts, which are UTF-8; an escaped one would name no file. */
        if (!hone_utf8_valid(argv[i], strlen(argv[i])))
            return HONE_FAIL(err, HONE_EUSAGE, "rename it, or reach it through a symbolic link", "'%s' is not UTF-8",
                             hone_text_show(argv[i], strlen(argv[i]), shown, sizeof shown));
    }
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];
        if (only_args || a[0] != '-' || a[1] == '\0') c->args[c->n_args++] = a;
        else if (strcmp(a, "--") == 0) only_args = true;
        else if (a[1] == '-') HONE_TRY(parse_long(c, argc, argv, &i, err));
        else HONE_TRY(parse_short(c, argc, argv, &i, err));
    }
    if (hone_cli_has(c, "help")) return HONE_OK;
    char remedy[160];
    (void)snprintf(remedy, sizeof remedy, "usage: hone %s [options] %s", c->cmd->name, c->cmd->args);
    if (c->n_args < c->cmd->min_args)
        return HONE_FAIL(err, HONE_EUSAGE, remedy, "hone %s needs %s, got %u argument%s", c->cmd->name, c->cmd->args, c->n_args,
                         c->n_args == 1 ? "" : "s");
    if (c->n_args > c->cmd->max_args) {
        char shown[80];
        const char *extra = c->args[c->cmd->max_args];
        return HONE_FAIL(err, HONE_EUSAGE, remedy, "hone %s does not know what to do with '%s'", c->cmd->name,
                         hone_text_show(extra, strlen(extra), shown, sizeof shown));
    }
    return HONE_OK;
}

static const char *last(const hone_cli *c, const char *name)
{
    const char *text = NULL;
    assert(find_opt(c->cmd, name, strlen(name), 0) != NULL);
    for (const hone_opt_value *v = c->values; v; v = v->next)
        if (strcmp(v->opt->name, name) == 0) text = v->text;
    return text;
}

bool        hone_cli_has(const hone_cli *c, const char *name) { return last(c, name) != NULL; }
const char *hone_cli_text(const hone_cli *c, const char *name, const char *otherwise)
{
    const char *s = last(c, name);
    return s ? s : otherwise;
}
uint32_t hone_cli_count(const hone_cli *c, const char *name, uint32_t otherwise)
{
    const char *s = last(c, name);
    uint32_t    v = otherwise;
    return s && read_count(s, &v) ? v : otherwise;
}
double hone_cli_real(const hone_cli *c, const char *name, double otherwise)
{
    const char *s = last(c, name);
    double      v = otherwise;
    return s && read_real(s, &v) ? v : otherwise;
}
uint64_t hone_cli_bytes(const hone_cli *c, const char *name, uint64_t otherwise)
{
    const char *s = last(c, name);
    uint64_t    v = otherwise;
    return s && read_bytes(s, &v) ? v : otherwise;
}

const char **hone_cli_list(hone_cli *c, const char *name, size_t *n)
{
    size_t most = 0, k = 0;
    for (const hone_opt_value *v = c->values; v; v = v->next)
        if (strcmp(v->opt->name, name) == 0) most += strlen(v->text) / 2 + 1;
    const char **out = hone_arena_calloc(&c->arena, most + 1, sizeof *out);
    *n = 0;
    if (!out) return NULL;
    for (const hone_opt_value *v = c->values; v; v = v->next) {
        if (strcmp(v->opt->name, name) != 0) continue;
        for (const char *p = v->text; *p;) {
            size_t len = strcspn(p, ",");
            if (len && !(out[k++] = hone_arena_strndup(&c->arena, p, len))) return NULL;
            p += len;
            if (*p == ',') p++;
        }
    }
    *n = k;
    return out;
}
