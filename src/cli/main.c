/* main.c - find the verb, run it, print one answer, exit with its code. */
#include "base/file.h"
#include "base/text.h"
#include "cli/cli.h"
#include "hw/cpu.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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

/* Text that may hold names from files or from the command line, as it may be shown and as JSON can hold it. */
#define SHOWN (4 * sizeof((hone_err *)0)->cause + 1)
static const char *safe(const char *text, char buf[SHOWN]) { return hone_text_show(text, strlen(text), buf, SHOWN); }

static void print_error(const hone_cli *c, const char *verb, const hone_err *err)
{
    const char *red = hone_term_color(STDERR_FILENO) ? "\033[31m" : "", *plain = red[0] ? "\033[0m" : "";
    char        text[SHOWN];
    hone_progress_end();
    (void)fprintf(stderr, "%shone%s%s: %s%s\n", red, verb ? " " : "", verb ? verb : "", safe(err->cause, text), plain);
    if (err->remedy[0]) (void)fprintf(stderr, "      %s\n", safe(err->remedy, text));
    if (c->verbose && err->file) (void)fprintf(stderr, "      raised at %s:%d\n", err->file, err->line);
}

/* The one document of --json as text, to be freed; NULL when memory is gone. */
static char *document_text(const char *verb, json_t *doc, hone_code code, const hone_err *err)
{
    char    schema[64], text[SHOWN];
    json_t *whole = json_object();
    (void)snprintf(schema, sizeof schema, "hone.%s/1", verb);
    bool good = whole && hone_json_put(whole, "schema", json_string(schema)) && hone_json_put(whole, "ok", json_boolean(code == HONE_OK));
    if (good && code != HONE_OK) {
        json_t *e = json_object();
        good = e && hone_json_put(e, "code", json_string(hone_code_name(code))) && hone_json_put(e, "exit", json_integer(code)) &&
               hone_json_put(e, "cause", json_string(safe(err->cause, text))) && hone_json_put(e, "remedy", json_string(safe(err->remedy, text)));
        if (good) good = hone_json_put(whole, "error", e);
        else json_decref(e);
    }
    if (good && doc && (code == HONE_OK || code == HONE_ENO)) good = json_object_update(whole, doc) == 0;
    char *out = good ? json_dumps(whole, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(whole);
    return out;
}

static int finish(const hone_cli *c, const char *verb, json_t *doc, hone_code code, const hone_err *err)
{
    hone_err none = { 0 };
    errno = 0;
    if (c->json) {
        char *text = document_text(verb, doc, code, err);
        if (!text) { /* the promise of one document holds without memory too */
            code = HONE_NOMEM(&none, "the JSON document");
            err = &none;
        }
        (void)printf("%s\n", text ? text
                                  : "{\"schema\": \"hone.error/1\", \"ok\": false, \"error\": {\"code\": \"resources\", \"exit\": 6, "
                                    "\"cause\": \"out of memory for the JSON document\", \"remedy\": \"free memory or use a smaller model\"}}");
        free(text);
    } else if (doc && (code == HONE_OK || code == HONE_ENO) && c->cmd && c->cmd->print)
        c->cmd->print((hone_cli *)(uintptr_t)c, doc);
    bool lost = fflush(stdout) != 0 || ferror(stdout);
    int  why = errno;
    if (code != HONE_OK && !(c->json && code == HONE_ENO)) print_error(c, c->cmd ? c->cmd->name : NULL, err);
    if (lost) {
        (void)HONE_FAIL(&none, HONE_ERESOURCE, "", "cannot write the result to standard output: %s", strerror(why));
        print_error(c, c->cmd ? c->cmd->name : NULL, &none);
        if (code == HONE_OK || code == HONE_ENO) code = HONE_ERESOURCE;
    }
    return (int)code;
}

/* bin/hone finds ../share/hone and ../libexec/hone when installed, its neighbours and the source folder in a build tree. */
static hone_code find_home(hone_cli *c, hone_err *err)
{
    static const char AGAIN[] = "install hone again, or set HONE_DATA_DIR to the folder that holds its data/ and profiles/";
    char              exe[PATH_MAX];
    ssize_t           n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(exe, '/');
    if (!slash) return HONE_FAIL(err, HONE_EUNSUPPORTED, "mount /proc", "/proc/self/exe does not say where hone lies");
    *slash = '\0';
    char *beside = hone_arena_printf(&c->arena, "%s/hone-runner", exe);
    char *libexec = hone_arena_printf(&c->arena, "%s/../" HONE_INSTALL_LIBEXEC, exe);
    char *share = hone_arena_printf(&c->arena, "%s/../" HONE_INSTALL_DATA, exe);
    if (!beside || !libexec || !share) return HONE_NOMEM(err, "paths");
    c->ctx.libexec_dir = hone_file_exists(beside) ? hone_arena_strdup(&c->arena, exe) : libexec;
    c->ctx.data_dir = hone_dir_exists(share) ? share : HONE_SOURCE_DATA_DIR;
    const char *env = getenv("HONE_DATA_DIR");
    if (env && env[0]) c->ctx.data_dir = env;
    const char *data = hone_arena_printf(&c->arena, "%s/data", c->ctx.data_dir);
    if (!data) return HONE_NOMEM(err, "paths");
    if (!hone_dir_exists(data)) return HONE_FAIL(err, HONE_EUNSUPPORTED, AGAIN, "hone's own data are missing: there is no folder '%s'", data);
    return HONE_OK;
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

static hone_code find_cmd_or_name(const char *word, const hone_cmd **out, hone_err *err)
{
    *out = word ? find_cmd(word) : NULL;
    return word && !*out ? unknown_verb(word, err) : HONE_OK;
}

/* help, man, completion, --version: about hone itself.  They print text; only their errors become JSON.  -1: none of these. */
static int about_hone(hone_cli *c, int argc, char **argv, hone_err *err)
{
    const char     *word = NULL, *arg = NULL;
    const hone_cmd *cmd = NULL;
    hone_code       code = HONE_OK;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) continue;
        if (!word) word = argv[i];
        else if (!arg) arg = argv[i];
    }
    if (!word) word = c->json ? "--json" : "--help"; /* --json alone is no verb */
    if (strcmp(word, "--version") == 0 || strcmp(word, "version") == 0) (void)printf("hone " HONE_VERSION "\n");
    else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        code = find_cmd_or_name(arg, &cmd, err);
        if (cmd) hone_cli_help_cmd(c, cmd, stdout);
        else if (code == HONE_OK) hone_cli_help(c, stdout);
    } else if (strcmp(word, "man") == 0) {
        code = find_cmd_or_name(arg, &cmd, err);
        if (code == HONE_OK) hone_cli_man(cmd, stdout);
    } else if (strcmp(word, "completion") == 0) {
        if (!arg || !hone_cli_completion(arg, stdout))
            code = HONE_FAIL(err, HONE_EUSAGE, "usage: hone completion bash|zsh|fish", "hone completion needs the name of a shell");
    } else return -1;
    if (code == HONE_OK) c->json = false;
    return finish(c, "error", NULL, code, err);
}

/* A closed stdin, stdout or stderr would give its number to the next file we open, and messages would end up in an artefact.
 * What stands there instead refuses reading and writing. */
static void fill_standard_files(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) _exit(HONE_ERESOURCE);
}

/* A page that cannot be written would be told when everything has been measured. */
static hone_code try_pages(const hone_cli *c, hone_err *err)
{
    for (const hone_opt_value *v = c->values; v; v = v->next)
        if (strcmp(v->opt->name, "html") == 0 || strcmp(v->opt->name, "svg") == 0) HONE_TRY(hone_out_try(v->text, err));
    return HONE_OK;
}

static void catch_signals(void)
{
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
    if (signal(SIGHUP, SIG_IGN) != SIG_IGN) (void)signal(SIGHUP, on_signal); /* under nohup it stays ignored */
}

int main(int argc, char **argv)
{
    hone_cli c = { .width = 100 };
    hone_err err = { 0 };
    fill_standard_files();
    c.color = hone_term_color(STDOUT_FILENO);
    struct winsize ws;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col >= 40) c.width = ws.ws_col;
    c.ctx = (hone_ctx){ .on_event = hone_progress_event, .user = &c, .cancel = &interrupted, .threads = hone_cpu_effective(&hone_hw_machine) };
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, reported below; */
    (void)signal(SIGXFSZ, SIG_IGN); /* so is a file over the limit (ulimit -f) */
    /* A wrong command line that asks for --json gets its error as JSON too. */
    for (int i = 1; i < argc; i++) c.json = c.json || strcmp(argv[i], "--json") == 0;

    int rc = about_hone(&c, argc, argv, &err);
    if (rc >= 0) {
        hone_arena_release(&c.arena);
        return rc;
    }
    c.cmd = find_cmd(argv[1]);
    if (!c.cmd) {
        rc = finish(&c, "error", NULL, unknown_verb(argv[1], &err), &err);
        hone_arena_release(&c.arena);
        return rc;
    }
    hone_code code = hone_cli_parse(&c, argc - 2, argv + 2, &err);
    if (code == HONE_OK && hone_cli_has(&c, "help")) {
        hone_cli_help_cmd(&c, c.cmd, stdout);
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
        if (code == HONE_OK) code = find_home(&c, &err);
        catch_signals();
        if (code == HONE_OK) code = try_pages(&c, &err);
        if (code == HONE_OK && !(doc = json_object())) code = HONE_NOMEM(&err, "the result");
        if (code == HONE_OK) code = c.cmd->run(&c, doc, &err);
    }
    hone_progress_end();
    rc = finish(&c, c.cmd->name, doc, code, &err);
    json_decref(doc);
    hone_arena_release(&c.arena);
    return rc;
}
