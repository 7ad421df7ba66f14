/* help.c - help, man pages and completions, all from the same rows. */
#include "cli/cli.h"
#include <ctype.h>
#include <limits.h>

static const struct { int code; const char *meaning; } exits[] = {
    { 0, "done, and the answer is yes" },
    { 1, "the answer is no: a gate failed, a check found a difference" },
    { 2, "the command line is wrong" },
    { 3, "an input file is bad" },
    { 4, "not supported, or a runtime is missing" },
    { 5, "a runtime failed" },
    { 6, "not enough disk, memory or permission; or interrupted" },
    { 70, "a bug in hone" },
};

static void usage_of(const hone_opt *o, char *out, size_t cap)
{
    char letter[8] = "    ";
    if (o->letter) (void)snprintf(letter, sizeof letter, "-%c, ", o->letter);
    (void)snprintf(out, cap, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
}

/* What an option does, with the values that it takes where its words do not name them all. */
static const char *help_of(const hone_opt *o, char *out, size_t cap)
{
    bool   told = true;
    size_t n = 0;
    char   word[32];
    for (const char *p = o->choices ? o->choices : ""; *p; p += n + (p[n] == '|')) {
        n = strcspn(p, "|");
        (void)snprintf(word, sizeof word, "%.*s", (int)n, p);
        told = told && strstr(o->help, word) != NULL;
    }
    if (told) return o->help;
    size_t at = (size_t)snprintf(out, cap, "%s: ", o->help);
    for (const char *p = o->choices; *p && at + 1 < cap; p++)
        at += (size_t)snprintf(out + at, cap - at, *p == '|' ? ", " : "%c", *p);
    return out;
}

/* From column indent on, where the cursor is, in lines of at most width. */
static void print_wrapped(const char *text, size_t indent, size_t width, FILE *to)
{
    size_t at = indent;
    for (const char *p = text; *p;) {
        size_t k = strcspn(p, " ");
        if (at > indent && at + 1 + k > width) {
            (void)fprintf(to, "\n%*s", (int)indent, "");
            at = indent;
        }
        (void)fprintf(to, "%s%.*s", at > indent ? " " : "", (int)k, p);
        at += (at > indent) + k;
        p += k + (p[k] == ' ');
    }
    (void)fputc('\n', to);
}

static void print_opts(const hone_opt *opts, size_t n, size_t width, FILE *to)
{
    for (size_t i = 0; i < n; i++) {
        char left[64], help[600];
        usage_of(&opts[i], left, sizeof left);
        (void)fprintf(to, "  %-28s  ", left);
        if (strlen(left) > 28) (void)fprintf(to, "\n%32s", "");
        print_wrapped(help_of(&opts[i], help, sizeof help), 32, width, to);
    }
}

void hone_cli_help(const hone_cli *c, FILE *to)
{
    const char *bold = c->color ? "\033[1m" : "", *plain = c->color ? "\033[0m" : "";
    (void)fprintf(to, "hone takes a model checkpoint to a measured, gated edge deployment.\n\n"
                      "%susage%s  hone VERB [options] ...\n\n%sverbs%s\n", bold, plain, bold, plain);
    for (size_t i = 0; i < hone_cmd_count; i++)
        (void)fprintf(to, "  %-10s %s\n", hone_cmd_list[i]->name, hone_cmd_list[i]->summary);
    (void)fprintf(to, "\n%sstart here%s\n"
                      "  hone optimize examples/models/tale-8m --target android -o out/android\n\n"
                      "hone VERB --help shows what a verb does, an example, options and exit codes.\n"
                      "hone --version shows the version.  Every verb takes --json.\n", bold, plain);
}

void hone_cli_help_cmd(const hone_cli *c, const hone_cmd *cmd, FILE *to)
{
    const char  *bold = c->color ? "\033[1m" : "", *plain = c->color ? "\033[0m" : "";
    const size_t width = c->width < 98 ? (size_t)c->width : 98;
    (void)fprintf(to, "hone %s - %s\n\n%susage%s  hone %s [options] %s\n\n", cmd->name, cmd->summary, bold, plain, cmd->name, cmd->args);
    print_wrapped(cmd->about, 0, width, to);
    (void)fprintf(to, "\n%sexample%s\n", bold, plain);
    for (const char *p = cmd->example; *p;) {
        size_t k = strcspn(p, "\n");
        (void)fprintf(to, "  %.*s\n", (int)k, p);
        p += k + (p[k] == '\n');
    }
    if (cmd->n_opts) {
        (void)fprintf(to, "\n%soptions%s\n", bold, plain);
        print_opts(cmd->opts, cmd->n_opts, width, to);
    }
    (void)fprintf(to, "\n%scommon options%s\n", bold, plain);
    print_opts(hone_common_opts, hone_common_count, width, to);
    (void)fprintf(to, "\n%sexit codes%s\n", bold, plain);
    for (size_t i = 0; i < HONE_COUNT(exits); i++) (void)fprintf(to, "  %2d  %s\n", exits[i].code, exits[i].meaning);
}

/* --- man pages, in mdoc(7) ------------------------------------------------------------------------------------- */

/* A leading dot or quote would be a request; a backslash an escape; each sentence begins a line, as mdoc wants it. */
static void roff(const char *s, FILE *to)
{
    if (*s == '.' || *s == '\'') (void)fputs("\\&", to);
    for (; *s; s++)
        if (strchr(".:", *s) && s[1] == ' ' && (*s == '.' || isupper((unsigned char)s[2]))) {
            (void)fprintf(to, "%c\n", *s);
            s++;
            if (s[1] == '.' || s[1] == '\'') (void)fputs("\\&", to);
        } else if (*s == '\\') (void)fputs("\\e", to);
        else if (*s == '-') (void)fputs("\\-", to);
        else (void)fputc(*s, to);
}

static void man_opts(const hone_opt *opts, size_t n, FILE *to)
{
    for (size_t i = 0; i < n; i++) {
        char help[600];
        (void)fputs(".It ", to);
        if (opts[i].letter) (void)fprintf(to, "Fl %c , ", opts[i].letter);
        (void)fputs("Fl \\-", to);
        roff(opts[i].name, to);
        if (opts[i].arg) {
            (void)fputs(" Ar ", to);
            roff(opts[i].arg, to);
        }
        (void)fputc('\n', to);
        roff(help_of(&opts[i], help, sizeof help), to);
        (void)fputs(".\n", to);
    }
}

static void man_exits(FILE *to)
{
    (void)fputs(".Sh EXIT STATUS\n.Bl -tag -width 4n\n", to);
    for (size_t i = 0; i < HONE_COUNT(exits); i++) {
        (void)fprintf(to, ".It %d\n", exits[i].code);
        roff(exits[i].meaning, to);
        (void)fputs(".\n", to);
    }
    (void)fputs(".El\n", to);
}

void hone_cli_man(const hone_cmd *cmd, FILE *to)
{
    char title[64] = "HONE";
    if (cmd) (void)snprintf(title, sizeof title, "HONE-%s", cmd->name);
    for (char *p = title; *p; p++) *p = (char)toupper((unsigned char)*p);
    (void)fprintf(to, ".Dd $Mdocdate$\n.Dt %s 1\n.Os\n.Sh NAME\n.Nm hone%s%s\n.Nd ", title, cmd ? "-" : "", cmd ? cmd->name : "");
    roff(cmd ? cmd->summary : "take a model checkpoint to a measured, gated edge deployment", to);
    (void)fputs("\n.Sh SYNOPSIS\n.Nm hone\n", to);
    if (!cmd) {
        (void)fputs(".Ar verb\n.Op Ar options\n.Ar ...\n.Sh DESCRIPTION\nThe verbs are:\n.Bl -tag -width 10n\n", to);
        for (size_t i = 0; i < hone_cmd_count; i++) {
            (void)fprintf(to, ".It Xr hone-%s 1\n", hone_cmd_list[i]->name);
            roff(hone_cmd_list[i]->summary, to);
            (void)fputs(".\n", to);
        }
        (void)fputs(".El\n", to);
        man_exits(to);
        return;
    }
    (void)fprintf(to, ".Cm %s\n.Op Ar options\n.Ar ", cmd->name);
    roff(cmd->args[0] ? cmd->args : "", to);
    (void)fputs("\n.Sh DESCRIPTION\n", to);
    roff(cmd->about, to);
    (void)fputs("\n.Pp\nThe options are:\n.Bl -tag -width Ds\n", to);
    man_opts(cmd->opts, cmd->n_opts, to);
    man_opts(hone_common_opts, hone_common_count, to);
    (void)fputs(".El\n", to);
    man_exits(to);
    (void)fputs(".Sh EXAMPLES\n.Bd -literal\n", to);
    for (const char *p = cmd->example; *p; p++) {
        if (*p == '-') (void)fputs("\\-", to);
        else (void)fputc(*p, to);
    }
    (void)fputs("\n.Ed\n.Sh SEE ALSO\n.Xr hone 1\n", to);
}

/* --- completion ------------------------------------------------------------------------------------------------ */

static void words(const hone_cmd *cmd, FILE *to)
{
    for (size_t i = 0; i < cmd->n_opts; i++) (void)fprintf(to, " --%s", cmd->opts[i].name);
    for (size_t i = 0; i < hone_common_count; i++) (void)fprintf(to, " --%s", hone_common_opts[i].name);
}

static void completion_bash(FILE *to)
{
    (void)fputs("# bash completion for hone: hone completion bash > /etc/bash_completion.d/hone\n"
                "_hone() {\n    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]} words=\n"
                "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W \"", to);
    for (size_t i = 0; i < hone_cmd_count; i++) (void)fprintf(to, "%s ", hone_cmd_list[i]->name);
    (void)fputs("--help --version\" -- \"$cur\")); return\n    fi\n    case \"$verb $prev\" in\n", to);
    for (size_t i = 0; i < hone_cmd_count; i++)
        for (size_t j = 0; j < hone_cmd_list[i]->n_opts; j++) {
            const hone_opt *o = &hone_cmd_list[i]->opts[j];
            if (!o->choices) continue;
            (void)fprintf(to, "    \"%s --%s\") words=\"", hone_cmd_list[i]->name, o->name);
            for (const char *p = o->choices; *p; p++) (void)fputc(*p == '|' ? ' ' : *p, to);
            (void)fputs("\" ;;\n", to);
        }
    (void)fputs("    esac\n    if [ -n \"$words\" ]; then COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")); return; fi\n    case $verb in\n", to);
    for (size_t i = 0; i < hone_cmd_count; i++) {
        (void)fprintf(to, "    %s) words=\"", hone_cmd_list[i]->name);
        words(hone_cmd_list[i], to);
        (void)fputs("\" ;;\n", to);
    }
    (void)fputs("    esac\n    case $cur in\n    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
                "    *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n    esac\n}\ncomplete -o filenames -F _hone hone\n", to);
}

static void quoted(const char *s, const char *special, FILE *to) /* inside '...' of zsh or fish; special: what wants a backslash besides */
{
    for (; *s; s++)
        if (*s == '\'') (void)fputs("'\\''", to);
        else (void)fprintf(to, "%s%c", strchr(special, *s) ? "\\" : "", *s);
}

static void completion_zsh(FILE *to)
{
    (void)fputs("#compdef hone\n_hone() {\n  local -a verbs\n  verbs=(\n", to);
    for (size_t i = 0; i < hone_cmd_count; i++) {
        (void)fprintf(to, "    '%s:", hone_cmd_list[i]->name);
        quoted(hone_cmd_list[i]->summary, "[]:", to);
        (void)fputs("'\n", to);
    }
    (void)fputs("  )\n  if (( CURRENT == 2 )); then _describe verb verbs; return; fi\n  case $words[2] in\n", to);
    for (size_t i = 0; i < hone_cmd_count; i++) {
        const hone_cmd *cmd = hone_cmd_list[i];
        (void)fprintf(to, "  %s) _arguments", cmd->name);
        for (size_t j = 0; j < cmd->n_opts + hone_common_count; j++) {
            const hone_opt *o = j < cmd->n_opts ? &cmd->opts[j] : &hone_common_opts[j - cmd->n_opts];
            (void)fprintf(to, " '--%s[", o->name);
            quoted(o->help, "[]:", to);
            (void)fputs("]", to);
            if (o->arg) {
                (void)fprintf(to, ":%s:", o->arg);
                if (o->choices) {
                    (void)fputc('(', to);
                    for (const char *p = o->choices; *p; p++) (void)fputc(*p == '|' ? ' ' : *p, to);
                    (void)fputc(')', to);
                } else (void)fputs("_files", to);
            }
            (void)fputc('\'', to);
        }
        (void)fputs(" '*:file:_files' ;;\n", to);
    }
    (void)fputs("  esac\n}\n_hone \"$@\"\n", to);
}

static void completion_fish(FILE *to)
{
    for (size_t i = 0; i < hone_cmd_count; i++) {
        const hone_cmd *cmd = hone_cmd_list[i];
        (void)fprintf(to, "complete -c hone -n __fish_use_subcommand -a %s -d '", cmd->name);
        quoted(cmd->summary, "\\", to);
        (void)fputs("'\n", to);
        for (size_t j = 0; j < cmd->n_opts + hone_common_count; j++) {
            const hone_opt *o = j < cmd->n_opts ? &cmd->opts[j] : &hone_common_opts[j - cmd->n_opts];
            (void)fprintf(to, "complete -c hone -n '__fish_seen_subcommand_from %s' -l %s%s -d '", cmd->name, o->name, o->arg ? " -r" : "");
            quoted(o->help, "\\", to);
            (void)fputc('\'', to);
            if (o->choices) {
                (void)fputs(" -x -a '", to);
                for (const char *p = o->choices; *p; p++) (void)fputc(*p == '|' ? ' ' : *p, to);
                (void)fputc('\'', to);
            }
            (void)fputc('\n', to);
        }
    }
}

bool hone_cli_completion(const char *shell, FILE *to)
{
    if (strcmp(shell, "bash") == 0) completion_bash(to);
    else if (strcmp(shell, "zsh") == 0) completion_zsh(to);
    else if (strcmp(shell, "fish") == 0) completion_fish(to);
    else return false;
    return true;
}
