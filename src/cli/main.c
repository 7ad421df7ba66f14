/* main.c - find the verb, run it, print one answer, exit with its code. */
#include "base/file.h"
#include "base/text.h"
#include "cli/cli.h"
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define HONE_X(name) extern const hone_cmd hone_cmd_##name;
#define X(name) HONE_X(name)
#include "cli/list.def"
#undef X
const hone_cmd *const hone_cmd_list[] = {
#define X(name) &hone_cmd_##name,
#include "cli/list.def"
#undef X
};
const size_t hone_cmd_count = HONE_COUNT(hone_cmd_list);

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    /* The second one means it: the default action ends the process (outputs are atomic, so nothing is half-written). */
    interrupted = 1;
    (void)signal(sig, SIG_DFL);
}

static void print_error(const hone_cli *c, const char *verb, const hone_err *err)
{
    const char *red = isatty(STDERR_FILENO) && c->color ? "\033[31m" : "", *plain = red[0] ? "\033[0m" : "";
    char        cause[2 * sizeof err->cause];
    hone_progress_end();
    (void)hone_text_show(err->cause, strlen(err->cause), cause, sizeof cause);
    (void)fprintf(stderr, "%shone%s%s: %s%s\n", red, verb ? " " : "", verb ? verb : "", cause, plain);
    if (err->remedy[0]) (void)fprintf(stderr, "      %s\n", err->remedy);
    if (c->verbose && err->file) (void)fprintf(stderr, "      raised at %s:%d\n", err->file, err->line);
}

static bool valid_utf8_or_escaped(json_t *o, const char *key, const char *text)
{
    char shown[2048];
    return hone_json_put(o, key, json_string(hone_text_show(text, strlen(text), shown, sizeof shown)));
}

static int finish(const hone_cli *c, const char *verb, json_t *doc, hone_code code, const hone_err *err)
{
    if (c->json) {
        char schema[64];
        bool good = true;
        (void)snprintf(schema, sizeof schema, "hone.%s/1", verb);
        json_t *whole = json_object();
        good = whole && hone_json_put(whole, "schema", json_string(schema)) && hone_json_put(whole, "ok", json_boolean(code == HONE_OK));
        if (good && code != HONE_OK) {
            json_t *e = json_object();
            good = e && hone_json_put(e, "code", json_string(hone_code_name(code))) && hone_json_put(e, "exit", json_integer(code)) &&
                   valid_utf8_or_escaped(e, "cause", err->cause) && valid_utf8_or_escaped(e, "remedy", err->remedy) &&
                   hone_json_put(whole, "error", e);
        }
        if (good && doc && (code == HONE_OK || code == HONE_ENO)) good = json_object_update(whole, doc) == 0;
        if (!good || json_dumpf(whole, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12)) != 0) {
            (void)fprintf(stderr, "hone: out of memory for the JSON document\n");
            code = HONE_ERESOURCE;
        } else
            (void)putchar('\n');
        json_decref(whole);
    } else if (doc && (code == HONE_OK || code == HONE_ENO) && c->cmd && c->cmd->print)
        c->cmd->print((hone_cli *)(uintptr_t)c, doc);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)fprintf(stderr, "hone: cannot write the result to standard output: %s\n", strerror(errno));
        if (code == HONE_OK || code == HONE_ENO) code = HONE_ERESOURCE;
    } else if (code != HONE_OK && !(c->json && code == HONE_ENO))
        print_error(c, c->cmd ? c->cmd->name : NULL, err);
    return (int)code;
}

/* Cores this process may run on; a container's quota is honoured by hw/, this is the affinity mask. */
static unsigned default_threads(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}

/* bin/hone finds ../share/hone and ../libexec/hone when installed, its neighbours and the source folder in a build tree. */
static void find_home(hone_cli *c)
{
    char    exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0) return;
    exe[n] = '\0';
    char *slash = strrchr(exe, '/');
    if (!slash) return;
    *slash = '\0';
    char *beside = hone_arena_printf(&c->arena, "%s/hone-runner", exe);
    char *libexec = hone_arena_printf(&c->arena, "%s/../" HONE_INSTALL_LIBEXEC, exe);
    char *share = hone_arena_printf(&c->arena, "%s/../" HONE_INSTALL_DATA, exe);
    if (!beside || !libexec || !share) return;
    c->ctx.libexec_dir = hone_file_exists(beside) ? hone_arena_strdup(&c->arena, exe) : libexec;
    c->ctx.data_dir = hone_dir_exists(share) ? share : HONE_SOURCE_DATA_DIR;
    const char *env = getenv("HONE_DATA_DIR");
    if (env && env[0]) c->ctx.data_dir = env;
}

static const hone_cmd *find_cmd(const char *name)
{
    for (size_t i = 0; i < hone_cmd_count; i++)
        if (strcmp(hone_cmd_list[i]->name, name) == 0) return hone_cmd_list[i];
    return NULL;
}

static hone_code unknown_verb(const char *word, hone_err *err)
{
    static const char *const others[] = { "help", "man", "completion" };
    const char              *best = NULL;
    unsigned                 least = 4;
    char                     shown[80], remedy[96];
    for (size_t i = 0; i < hone_cmd_count + HONE_COUNT(others); i++) {
        const char *name = i < hone_cmd_count ? hone_cmd_list[i]->name : others[i - hone_cmd_count];
        unsigned    d = hone_text_distance(word, name);
        if (d < least) {
            least = d;
            best = name;
        }
    }
    if (best) (void)snprintf(remedy, sizeof remedy, "did you mean hone %s?", best);
    else (void)snprintf(remedy, sizeof remedy, "hone --help lists the verbs");
    return HONE_FAIL(err, HONE_EUSAGE, remedy, "there is no verb '%s'", hone_text_show(word, strlen(word), shown, sizeof shown));
}

/* help, man, completion, --version: about hone itself; they take no model and no --json.  -1: none of these. */
static int about_hone(hone_cli *c, int argc, char **argv, hone_err *err)
{
    const char *word = argc > 1 ? argv[1] : "--help", *arg = argc > 2 ? argv[2] : NULL;
    if (strcmp(word, "--version") == 0 || strcmp(word, "version") == 0) (void)printf("hone " HONE_VERSION "\n");
    else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        const hone_cmd *cmd = arg ? find_cmd(arg) : NULL;
        if (arg && !cmd) return finish(c, "help", NULL, unknown_verb(arg, err), err);
        if (cmd) hone_cli_help_cmd(cmd, stdout, c->color);
        else hone_cli_help(c, stdout);
    } else if (strcmp(word, "man") == 0) {
        const hone_cmd *cmd = arg ? find_cmd(arg) : NULL;
        if (arg && !cmd) return finish(c, "man", NULL, unknown_verb(arg, err), err);
        hone_cli_man(cmd, stdout);
    } else if (strcmp(word, "completion") == 0) {
        if (!arg || !hone_cli_completion(arg, stdout))
            return finish(c, "completion", NULL,
                          HONE_FAIL(err, HONE_EUSAGE, "usage: hone completion bash|zsh|fish", "hone completion needs the name of a shell"), err);
    } else return -1;
    return finish(c, "help", NULL, HONE_OK, err);
}

int main(int argc, char **argv)
{
    hone_cli    c = { .width = 100 };
    hone_err    err = { 0 };
    const char *no_color = getenv("NO_COLOR");
    c.color = isatty(STDOUT_FILENO) && (!no_color || !no_color[0]);
    struct winsize ws;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col >= 40) c.width = ws.ws_col;
    c.ctx = (hone_ctx){ .on_event = hone_progress_event, .user = &c, .cancel = &interrupted, .threads = default_threads() };
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, reported below */

    int rc = about_hone(&c, argc, argv, &err);
    if (rc >= 0) {
        hone_arena_release(&c.arena);
        return rc;
    }
    /* A wrong command line that asks for --json gets its error as JSON too. */
    for (int i = 1; i < argc; i++) c.json = c.json || strcmp(argv[i], "--json") == 0;
    c.cmd = find_cmd(argv[1]);
    if (!c.cmd) {
        rc = finish(&c, "error", NULL, unknown_verb(argv[1], &err), &err);
        hone_arena_release(&c.arena);
        return rc;
    }
    hone_code code = hone_cli_parse(&c, argc - 2, argv + 2, &err);
    if (code == HONE_OK && hone_cli_has(&c, "help")) {
        hone_cli_help_cmd(c.cmd, stdout, c.color);
        c.json = false;
        rc = finish(&c, c.cmd->name, NULL, HONE_OK, &err);
        hone_arena_release(&c.arena);
        return rc;
    }
    json_t *doc = NULL;
    if (code == HONE_OK) {
        c.json = hone_cli_has(&c, "json");
        c.quiet = hone_cli_has(&c, "quiet");
        c.verbose = hone_cli_has(&c, "verbose");
        c.ctx.threads = hone_cli_count(&c, "threads", c.ctx.threads);
        if (c.ctx.threads == 0 || c.ctx.threads > 1024)
            code = HONE_FAIL(&err, HONE_EUSAGE, "", "--threads is %u, needs 1..1024", c.ctx.threads);
        find_home(&c);
        (void)signal(SIGINT, on_signal);
        (void)signal(SIGTERM, on_signal);
        if (code == HONE_OK && !(doc = json_object())) code = HONE_NOMEM(&err, "the result");
        if (code == HONE_OK) code = c.cmd->run(&c, doc, &err);
    }
    hone_progress_end();
    rc = finish(&c, c.cmd->name, doc, code, &err);
    json_decref(doc);
    hone_arena_release(&c.arena);
    return rc;
}
