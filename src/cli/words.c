/* words.c - words of the command line: option values that are lists of name=number, and the whole of it as it can be typed again. */
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>

hone_code hone_cli_words(hone_cli *c, const char *option, const char *remedy, const char *text, const hone_cli_word *known, size_t n_known, hone_err *err)
{
    char *words = hone_arena_strdup(&c->arena, text);
    if (!words) return HONE_NOMEM(err, "the command line");
    for (char *p = words; *p;) {
        size_t n = strcspn(p, ",");
        bool   more = p[n] == ',', hit = false;
        p[n] = '\0';
        char *eq = strchr(p, '=');
        for (size_t i = 0; eq && i < n_known; i++) {
            if ((size_t)(eq - p) != strlen(known[i].name) || memcmp(p, known[i].name, (size_t)(eq - p)) != 0) continue;
            char  *end;
            double v = strtod(eq + 1, &end);
            hit = end != eq + 1 && *end == '\0' && v >= 0 && v <= 1e6;
            *known[i].to = v;
        }
        if (!hit) return HONE_FAIL(err, HONE_EUSAGE, remedy, "--%s has '%.60s'", option, p);
        p += n + more;
    }
    return HONE_OK;
}

hone_code hone_cli_preferences(hone_cli *c, double *speed, double *accuracy, double *memory, hone_err *err)
{
    const char         *prefer = hone_cli_text(c, "prefer", NULL);
    const hone_cli_word weights[] = { { "speed", speed }, { "accuracy", accuracy }, { "memory", memory } };
    *speed = prefer ? 0 : 0.5;
    *accuracy = prefer ? 0 : 0.3;
    *memory = prefer ? 0 : 0.2;
    if (!prefer) return HONE_OK;
    HONE_TRY(hone_cli_words(c, "prefer", "as in --prefer speed=.5,accuracy=.3,memory=.2", prefer, weights, HONE_COUNT(weights), err));
    if (*speed + *accuracy + *memory > 0) return HONE_OK;
    return HONE_FAIL(err, HONE_EUSAGE, "give one of them a weight above 0", "--prefer '%.60s' weighs nothing", prefer);
}

/* A word as a shell takes it. */
static void add_word(hone_text *t, const char *s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./=,:@%+-";
    hone_text_add(t, " ");
    if (*s && !s[strspn(s, plain)]) {
        hone_text_add(t, s);
        return;
    }
    hone_text_add(t, "'");
    for (; *s; s++) {
        if (*s == '\'') hone_text_add(t, "'\\''");
        else hone_text_add_bytes(t, s, 1);
    }
    hone_text_add(t, "'");
}

hone_code hone_cli_command(const hone_cli *c, hone_text *out, hone_err *err)
{
    hone_text_addf(out, "hone %s", c->cmd->name);
    for (unsigned i = 0; i < c->n_args; i++) add_word(out, c->args[i]);
    for (const hone_opt_value *v = c->values; v; v = v->next) {
        hone_text_addf(out, " --%s", v->opt->name);
        if (v->text[0]) add_word(out, v->text);
    }
    return out->failed ? HONE_NOMEM(err, "the command line") : HONE_OK;
}
