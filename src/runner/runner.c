#include "runner/runner.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/reply.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum {
    SAID_CAP = 16 * 1024, /* of what the child printed during a request, this much of the end is kept */
    SAID_SHOWN = 320,     /* and this much is shown */
    TICK_MS = 100,        /* how often we look at the clock, the cancel flag and the child's memory */
    TICK_TIGHT_MS = 20,   /* ... when there is a limit to its memory */
    LOOK_MS = 250,        /* how often its memory is looked at when there is none */
    READ_ROOM = 64 * 1024
};
static const double DEFAULT_TIMEOUT_S = 300;

struct hone_runner {
    const hone_ctx *ctx;
    char            backend[64];
    double          timeout_s;
    uint64_t        max_rss;
    pid_t           pid;   /* 0: reaped */
    int             sock;  /* to the child, non-blocking; -1: closed */
    int             out;   /* read end of its stdout and stderr, non-blocking; -1: closed */
    uint64_t        id;    /* of the last request */
    size_t          row_len;
    uint8_t        *in;    /* bytes received and not yet taken: in[in_at .. in_len) */
    size_t          in_at, in_len, in_cap;
    hone_packer     pack;
    char            said[SAID_CAP];
    size_t          said_len;
    uint64_t        peak_rss, last_rss;
    double          looked_s; /* when */
    double          user_s, sys_s; /* as last heard */
    hone_err        dead;          /* code != 0: the child is gone, and why */
};

static const char *op_name(hone_msg op)
{
    switch (op) {
    case HONE_MSG_PROBE: return "probe";
    case HONE_MSG_OPEN: return "open";
    case HONE_MSG_TOKENIZE: return "tokenize";
    case HONE_MSG_DETOKENIZE: return "detokenize";
    case HONE_MSG_FORWARD: return "forward";
    case HONE_MSG_NLL: return "nll";
    case HONE_MSG_REWIND: return "rewind";
    case HONE_MSG_GENERATE: return "generate";
    case HONE_MSG_RENDER: return "render";
    case HONE_MSG_CAPTURE: return "capture";
    case HONE_MSG_USAGE: return "usage";
    case HONE_MSG_LAYERS: return "layers";
    case HONE_MSG_INPUTS: return "inputs";
    case HONE_MSG_SIGNATURE: return "signature";
    case HONE_MSG_INFER: return "infer";
    case HONE_MSG_TRANSLATE: return "translate";
    default: return "start";
    }
}

/* --- what the child printed ------------------------------------------------------------------------------------- */
static void drain_output(hone_runner *r)
{
    char buf[4096];
    while (r->out >= 0) {
        ssize_t n = read(r->out, buf, sizeof buf);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            (void)close(r->out);
            r->out = -1;
            return;
        }
        size_t got = (size_t)n;
        if (r->said_len + got > SAID_CAP) { /* keep the end: got is at most a quarter of the room */
            size_t drop = r->said_len + got - SAID_CAP;
            memmove(r->said, r->said + drop, r->said_len - drop);
            r->said_len -= drop;
        }
        memcpy(r->said + r->said_len, buf, got);
        r->said_len += got;
    }
}

/* Adds "; runtime said: <last lines>" to the cause; nothing when nothing was printed. */
static void add_said(hone_runner *r, hone_err *err)
{
    char   line[SAID_SHOWN + 1], shown[SAID_SHOWN + 8];
    size_t end = r->said_len, n = 0;
    while (end > 0 && isspace((unsigned char)r->said[end - 1])) end--;
    size_t from = end > SAID_SHOWN ? end - SAID_SHOWN : 0;
    /* Whole lines only, unless the last one alone is too long. */
    if (from > 0) {
        const char *nl = memchr(r->said + from, '\n', end - from);
        if (nl) from = (size_t)(nl - r->said) + 1;
    }
    while (from < end && isspace((unsigned char)r->said[from])) from++;
    for (size_t i = from; i < end && n < SAID_SHOWN; i++) {
        char c = r->said[i];
        if (c == '\r') continue;
        if (c == '\n' && i + 1 < end && r->said[i + 1] == '\n') continue;
        line[n++] = c == '\n' || c == '\t' ? ' ' : c;
    }
    line[n] = '\0';
    if (n == 0) return;
    (void)hone_text_show(line, n, shown, sizeof shown);
    size_t have = strlen(err->cause);
    if (have + 40 < sizeof err->cause)
        (void)snprintf(err->cause + have, sizeof err->cause - have, "; runtime said: %s", shown);
}

/* --- the process --------------------------------------------------------------------------------------------------- */
/* A value of /proc/PID/status in bytes ("VmHWM:   1234 kB"); 0 when it cannot be had.  Not ru_maxrss of wait4: that starts with the
 * resident size of the parent that started the child (fs/exec.c, setmax_mm_hiwater_rss). */
static uint64_t status_bytes(pid_t pid, const char *key)
{
    char path[64], buf[8192];
    (void)snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, buf, sizeof buf - 1);
    (void)close(fd);
    if (n <= 0) return 0;
    buf[n] = '\0';
    const char *at = strstr(buf, key);
    uint64_t    kib = 0, bytes = 0;
    if (at) kib = strtoull(at + strlen(key), NULL, 10);
    return hone_size_mul(kib, 1024, &bytes) ? bytes : 0;
}

static void look_at_memory(hone_runner *r)
{
    if (r->pid == 0) return;
    r->looked_s = hone_now_s();
    uint64_t peak = status_bytes(r->pid, "\nVmHWM:"), rss = status_bytes(r->pid, "\nVmRSS:");
    if (peak > r->peak_rss) r->peak_rss = peak;
    if (rss) r->last_rss = rss;
}

/* Waits for the child's end up to some time, then kills it.  Returns its wait status, or -1 when that was not to be had. */
static int reap(hone_runner *r, double grace_s)
{
    int    status = -1;
    double until = hone_now_s() + grace_s;
    if (r->pid == 0) return -1;
    for (;;) {
        pid_t got = waitpid(r->pid, &status, WNOHANG);
        if (got == r->pid) break;
        if (got < 0 && errno != EINTR) {
            status = -1;
            break;
        }
        if (hone_now_s() >= until) {
            (void)kill(r->pid, SIGKILL);
            while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR) continue;
            break;
        }
        (void)nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    }
    r->pid = 0;
    return status;
}

static void shut(hone_runner *r)
{
    drain_output(r);
    if (r->sock >= 0) (void)close(r->sock);
    if (r->out >= 0) (void)close(r->out);
    r->sock = r->out = -1;
}

/* The child is gone or was killed by us: remembers *err as the reason for this and all further requests. */
static hone_code bury(hone_runner *r, hone_err *why, hone_err *err)
{
    shut(r);
    r->dead = *why;
    if (err) *err = *why;
    return why->code;
}

/* We kill it.  *why says why. */
static hone_code put_down(hone_runner *r, hone_err *why, bool with_output, hone_err *err)
{
    look_at_memory(r);
    (void)reap(r, 0);
    drain_output(r);
    if (with_output) add_said(r, why);
    return bury(r, why, err);
}

/* It went by itself: the socket is closed. */
static hone_code died(hone_runner *r, hone_msg op, hone_err *err)
{
    hone_err why = { 0 };
    int      status = reap(r, 5);
    if (status != -1 && WIFSIGNALED(status)) {
        int         sig = WTERMSIG(status);
        const char *name = sigabbrev_np(sig);
        const char *remedy = "";
        if (sig == SIGKILL) remedy = "the kernel kills like this when memory runs out: free memory, or use a smaller context or encoding";
        if (sig == SIGILL) remedy = "the runtime was built for another processor: run deps/llamacpp.sh and build hone again here";
        (void)HONE_FAIL(&why, HONE_ERUNTIME, remedy,
                        "runtime '%s' was killed by signal %d (%s%s) during %s", r->backend, sig, name ? "SIG" : "", name ? name : "?",
                        op_name(op));
    } else if (status != -1 && WIFEXITED(status)) {
        (void)HONE_FAIL(&why, HONE_ERUNTIME, "", "runtime '%s' exited with status %d during %s", r->backend, WEXITSTATUS(status),
                        op_name(op));
    } else {
        (void)HONE_FAIL(&why, HONE_ERUNTIME, "", "runtime '%s' is gone during %s", r->backend, op_name(op));
    }
    drain_output(r);
    add_said(r, &why);
    return bury(r, &why, err);
}

/* --- one request ------------------------------------------------------------------------------------------------------- */
/* Looks after the child while we wait; not HONE_OK when it was killed for it. */
static hone_code watch(hone_runner *r, hone_msg op, double heard, hone_err *err)
{
    hone_err why = { 0 };
    if (hone_ctx_cancelled(r->ctx)) {
        (void)HONE_INTERRUPTED(&why);
        return put_down(r, &why, false, err);
    }
    double now = hone_now_s();
    if ((now - r->looked_s) * 1e3 >= (r->max_rss ? TICK_TIGHT_MS : LOOK_MS)) look_at_memory(r);
    if (r->max_rss && r->last_rss > r->max_rss) {
        char a[32], b[32];
        (void)HONE_FAIL(&why, HONE_ERESOURCE, "use a smaller context or encoding, or raise the limit",
                        "runtime '%s' used %s of memory during %s, the limit is %s", r->backend,
                        hone_text_bytes(r->last_rss, a, sizeof a), op_name(op), hone_text_bytes(r->max_rss, b, sizeof b));
        return put_down(r, &why, false, err);
    }
    if (now - heard > r->timeout_s) {
        (void)HONE_FAIL(&why, HONE_ERUNTIME, "", "runtime '%s' gave no answer for %.3g s during %s and was stopped", r->backend,
                        r->timeout_s, op_name(op));
        return put_down(r, &why, true, err);
    }
    return HONE_OK;
}

/* Makes room and receives what is there.  *got: bytes, 0 for none yet; *eof: the child closed its end. */
static hone_code receive(hone_runner *r, size_t need, size_t *got, bool *eof, hone_err *err)
{
    *got = 0;
    *eof = false;
    if (r->in_at > 0 && (r->in_at == r->in_len || r->in_cap - r->in_at < need || r->in_cap - r->in_len < READ_ROOM / 2)) {
        memmove(r->in, r->in + r->in_at, r->in_len - r->in_at);
        r->in_len -= r->in_at;
        r->in_at = 0;
    }
    size_t want = need > r->in_len + READ_ROOM ? need : r->in_len + READ_ROOM; /* need <= HONE_FRAME_MAX + HONE_FRAME_HEAD */
    if (want > r->in_cap) {
        uint8_t *more = realloc(r->in, want);
        if (!more) return HONE_NOMEM(err, "an answer of the runtime");
        r->in = more;
        r->in_cap = want;
    }
    ssize_t n = recv(r->sock, r->in + r->in_len, r->in_cap - r->in_len, 0);
    if (n > 0) {
        r->in_len += (size_t)n;
        *got = (size_t)n;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        *eof = true;
    }
    return HONE_OK;
}

/* Sends what is packed (if anything) and takes frames until the answer is complete. */
static hone_code converse(hone_runner *r, hone_reply *reply, hone_err *err)
{
    size_t   sent = 0, need = HONE_FRAME_HEAD;
    double   heard = hone_now_s();
    hone_err why = { 0 };
    for (;;) {
        /* Frames that are there already. */
        while (!reply->done) {
            hone_frame f;
            size_t     used;
            hone_bytes there = { r->in ? r->in + r->in_at : NULL, r->in_len - r->in_at };
            hone_code  code = hone_frame_take(there, &f, &used, &need, &why);
            if (code == HONE_OK && used == 0) break;
            if (code == HONE_OK) code = hone_reply_take(reply, &f, &why);
            if (code != HONE_OK && reply->said) { /* its own words: the request failed, the child lives */
                r->in_at += used;
                drain_output(r);
                if (code != HONE_ENO) add_said(r, &why);
                if (err) *err = why;
                return code;
            }
            if (code != HONE_OK) return put_down(r, &why, true, err);
            r->in_at += used;
        }
        if (reply->done) return HONE_OK;
        HONE_TRY(watch(r, reply->op, heard, err));

        bool          sending = sent < r->pack.len;
        struct pollfd p[2] = { { .fd = r->sock, .events = (short)(POLLIN | (sending ? POLLOUT : 0)) },
                               { .fd = r->out, .events = POLLIN } };
        int           n = poll(p, 2, r->max_rss ? TICK_TIGHT_MS : TICK_MS);
        if (n < 0 && errno != EINTR) {
            (void)HONE_FAIL(&why, HONE_ERESOURCE, "", "cannot wait for the runtime: error %d", errno);
            return put_down(r, &why, false, err);
        }
        if (n <= 0) continue;
        if (p[1].revents) drain_output(r);
        bool gone = false;
        if (sending && (p[0].revents & POLLOUT)) {
            ssize_t put = send(r->sock, r->pack.ptr + sent, r->pack.len - sent, MSG_NOSIGNAL);
            if (put > 0) {
                sent += (size_t)put;
                heard = hone_now_s();
            }
            /* A failed send is no verdict: the child may have answered before it went. */
            if (put < 0 && errno != EAGAIN && errno != EINTR) sent = r->pack.len;
        }
        if (p[0].revents & (POLLIN | POLLHUP | POLLERR)) {
            size_t got;
            if (receive(r, need, &got, &gone, &why) != HONE_OK) return put_down(r, &why, false, err);
            if (got) heard = hone_now_s();
        }
        if (gone) return died(r, reply->op, err);
    }
}

/* Runs the request packed by the caller.  The caller releases *reply. */
static hone_code ask(hone_runner *r, hone_reply *reply, hone_err *err)
{
    hone_code code = hone_pack_end(&r->pack, err);
    if (code == HONE_OK) code = converse(r, reply, err);
    hone_pack_clear(&r->pack);
    return code;
}

/* Begins a request; the error of a dead child is repeated. */
static hone_code begin(hone_runner *r, hone_msg op, hone_reply *reply, hone_err *err)
{
    if (r->dead.code) {
        if (err) *err = r->dead;
        return r->dead.code;
    }
    drain_output(r);
    r->said_len = 0;
    reply->op = op;
    reply->id = ++r->id;
    hone_pack_clear(&r->pack);
    hone_pack_begin(&r->pack, op, reply->id);
    return HONE_OK;
}

/* --- start and stop ------------------------------------------------------------------------------------------------------ */
const char *hone_runner_install(const char *backend)
{
    static const char *const fetched[] = { "llamacpp", "onnxruntime", "openvino", "mlx" };
    for (size_t i = 0; i < HONE_COUNT(fetched); i++)
        if (strcmp(fetched[i], backend) == 0) return "run `make deps`, then build hone again";
    return "build or install hone again: hone-runner and hone-backend-*.so belong together";
}

static hone_code find_programs(const hone_ctx *ctx, const hone_runner_options *opt, hone_arena *a, const char **runner, const char **dir,
                               hone_err *err)
{
    if (!ctx || !ctx->libexec_dir)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, hone_runner_install(""), "it is not known where hone-runner lies");
    *dir = opt->plugin_dir ? opt->plugin_dir : ctx->libexec_dir;
    *runner = hone_arena_printf(a, "%s/hone-runner", ctx->libexec_dir);
    const char *plugin = hone_arena_printf(a, "%s/hone-backend-%s.so", *dir, opt->backend);
    if (!*runner || !plugin) return HONE_NOMEM(err, "paths");
    if (access(*runner, X_OK) != 0) return HONE_FAIL(err, HONE_EUNSUPPORTED, hone_runner_install(""), "no program '%s'", *runner);
    if (!hone_file_exists(plugin))
        return HONE_FAIL(err, HONE_EUNSUPPORTED, hone_runner_install(opt->backend),
                         "runtime '%s' is not installed: no plug-in '%s'", opt->backend, plugin);
    return HONE_OK;
}

/* posix_spawn and not fork: hone has threads.  The child gets stdin from nowhere, its own process group (Ctrl-C on the terminal is for
 * hone, which then stops the child), default signals, and nothing else of ours open. */
static hone_code spawn(hone_runner *r, const char *runner, const char *dir, int child_sock, int child_out, hone_err *err)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t          at;
    sigset_t                   none, all;
    char                      *argv[] = { (char *)(uintptr_t)"hone-runner", (char *)(uintptr_t)"--backend", r->backend,
                                          (char *)(uintptr_t)"--dir",       (char *)(uintptr_t)dir,         (char *)(uintptr_t)"--fd",
                                          (char *)(uintptr_t)"3",           NULL };
    if (posix_spawn_file_actions_init(&fa) != 0) return HONE_NOMEM(err, "a process");
    if (posix_spawnattr_init(&at) != 0) {
        (void)posix_spawn_file_actions_destroy(&fa);
        return HONE_NOMEM(err, "a process");
    }
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    int rc = posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    if (!rc) rc = posix_spawn_file_actions_adddup2(&fa, child_out, 1);
    if (!rc) rc = posix_spawn_file_actions_adddup2(&fa, child_out, 2);
    if (!rc) rc = posix_spawn_file_actions_adddup2(&fa, child_sock, 3);
    if (!rc) rc = posix_spawnattr_setsigmask(&at, &none);
    if (!rc) rc = posix_spawnattr_setsigdefault(&at, &all);
    if (!rc) rc = posix_spawnattr_setpgroup(&at, 0);
    if (!rc) rc = posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    if (!rc) rc = posix_spawn(&r->pid, runner, &fa, &at, argv, environ);
    (void)posix_spawnattr_destroy(&at);
    (void)posix_spawn_file_actions_destroy(&fa);
    if (rc) {
        r->pid = 0;
        return HONE_FAIL(err, HONE_ERESOURCE, "", "cannot start '%s': %s", runner, strerrordesc_np(rc) ? strerrordesc_np(rc) : "?");
    }
    return HONE_OK;
}

/* A descriptor above those that spawn gives a meaning to, so that no dup2 there overwrites another's source. */
static int lift(int fd)
{
    if (fd < 0 || fd > 9) return fd;
    int up = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    (void)close(fd);
    return up;
}

static hone_code connect_child(hone_runner *r, const char *runner, const char *dir, hone_err *err)
{
    int       pair[2] = { -1, -1 }, pipe_fd[2] = { -1, -1 };
    hone_code code = HONE_OK;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 || pipe2(pipe_fd, O_CLOEXEC) != 0)
        code = HONE_FAIL(err, HONE_ERESOURCE, "close other programs or raise the limit of open files (ulimit -n)",
                         "cannot open a channel to the runtime");
    pair[1] = lift(pair[1]);
    pipe_fd[1] = lift(pipe_fd[1]);
    if (code == HONE_OK && (pair[1] < 0 || pipe_fd[1] < 0))
        code = HONE_FAIL(err, HONE_ERESOURCE, "raise the limit of open files (ulimit -n)", "cannot open a channel to the runtime");
    if (code == HONE_OK && (fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0 || fcntl(pipe_fd[0], F_SETFL, O_NONBLOCK) != 0))
        code = HONE_FAIL(err, HONE_ERESOURCE, "", "cannot prepare a channel to the runtime");
    if (code == HONE_OK) code = spawn(r, runner, dir, pair[1], pipe_fd[1], err);
    if (pair[1] >= 0) (void)close(pair[1]);
    if (pipe_fd[1] >= 0) (void)close(pipe_fd[1]);
    r->sock = pair[0];
    r->out = pipe_fd[0];
    return code;
}

hone_code hone_runner_start(const hone_ctx *ctx, const hone_runner_options *opt, hone_runner **out, hone_err *err)
{
    HONE_TRY(hone_ctx_cancelled(ctx) ? HONE_INTERRUPTED(err) : HONE_OK);
    hone_arena   a = { 0 };
    const char  *runner = NULL, *dir = NULL;
    hone_runner *r = calloc(1, sizeof *r);
    if (!r) return HONE_NOMEM(err, "a runtime");
    r->ctx = ctx;
    r->sock = r->out = -1;
    r->timeout_s = opt->timeout_s > 0 ? opt->timeout_s : DEFAULT_TIMEOUT_S;
    r->max_rss = opt->max_rss_bytes;
    (void)snprintf(r->backend, sizeof r->backend, "%s", opt->backend);
    hone_reply reply = { .op = HONE_MSG_HELLO, .id = 0 };
    hone_code  code = find_programs(ctx, opt, &a, &runner, &dir, err);
    if (code == HONE_OK) code = connect_child(r, runner, dir, err);
    if (code == HONE_OK) code = converse(r, &reply, err);
    hone_reply_release(&reply);
    hone_arena_release(&a);
    if (code != HONE_OK) {
        if (code == HONE_EUNSUPPORTED && err && !err->remedy[0]) hone_err_set_remedy(err, hone_runner_install(opt->backend));
        hone_runner_stop(r);
        return code;
    }
    *out = r;
    return HONE_OK;
}

void hone_runner_stop(hone_runner *r)
{
    if (!r) return;
    (void)reap(r, 0);
    shut(r);
    free(r->in);
    hone_pack_release(&r->pack);
    free(r);
}

/* --- the requests ---------------------------------------------------------------------------------------------------------- */
hone_code hone_runner_probe(hone_runner *r, char *version, size_t version_cap, char *devices, size_t devices_cap, hone_err *err)
{
    hone_reply reply = { .version = version, .version_cap = version_cap, .devices = devices, .devices_cap = devices_cap };
    HONE_TRY(begin(r, HONE_MSG_PROBE, &reply, err));
    return ask(r, &reply, err);
}

/* Order and flags as do_open of runner_main.c reads them. */
static void pack_how(hone_packer *p, const hone_backend_open *how)
{
    const char *device = how->device ? how->device : "cpu";
    hone_pack_bytes(p, how->path, strlen(how->path));
    hone_pack_bytes(p, device, strlen(device));
    hone_pack_u32(p, how->threads ? how->threads : 1);
    hone_pack_u32(p, how->context);
    hone_pack_u32(p, how->batch);
    hone_pack_u32(p, (how->vocab_only ? 1u : 0) | (how->embeddings ? 2u : 0) | (how->hidden ? 4u : 0) | (how->exact ? 8u : 0) |
                         (how->graph ? 16u : 0));
    hone_pack_u32(p, (uint32_t)how->n_outputs);
    for (size_t i = 0; i < how->n_outputs; i++) hone_pack_bytes(p, how->outputs[i], strlen(how->outputs[i]));
}

hone_code hone_runner_open(hone_runner *r, const hone_backend_open *how, hone_backend_info *info, double *load_ms, hone_err *err)
{
    hone_reply reply = { 0 };
    HONE_TRY(begin(r, HONE_MSG_OPEN, &reply, err));
    pack_how(&r->pack, how);
    HONE_TRY(ask(r, &reply, err));
    r->row_len = how->embeddings ? reply.info.n_embd : reply.info.n_vocab;
    if (info) *info = reply.info;
    if (load_ms) *load_ms = reply.ms;
    return HONE_OK;
}

hone_code hone_runner_tokenize(hone_runner *r, const char *text, size_t len, bool add_special, bool parse_special, hone_arena *a,
                               int32_t **ids, size_t *n, hone_err *err)
{
    hone_reply reply = { .arena = a };
    HONE_TRY(begin(r, HONE_MSG_TOKENIZE, &reply, err));
    hone_pack_u8(&r->pack, add_special);
    hone_pack_u8(&r->pack, parse_special);
    hone_pack_bytes(&r->pack, text, len);
    HONE_TRY(ask(r, &reply, err));
    *ids = reply.ids;
    *n = reply.n_ids;
    return HONE_OK;
}

hone_code hone_runner_detokenize(hone_runner *r, const int32_t *ids, size_t n, bool remove_special, bool unparse_special, hone_arena *a,
                                 char **text, size_t *len, hone_err *err)
{
    hone_reply reply = { .arena = a };
    HONE_TRY(begin(r, HONE_MSG_DETOKENIZE, &reply, err));
    hone_pack_u8(&r->pack, remove_special);
    hone_pack_u8(&r->pack, unparse_special);
    hone_pack_ids(&r->pack, ids, n);
    HONE_TRY(ask(r, &reply, err));
    *text = reply.text;
    *len = reply.text_len;
    return HONE_OK;
}

hone_code hone_runner_forward(hone_runner *r, const int32_t *ids, size_t n, uint32_t pos, const uint8_t *want,
                              void (*row)(void *user, size_t index, const float *values, size_t n_values), void *user, double *ms,
                              hone_err *err)
{
    hone_reply reply = { .n = n, .row_len = r->row_len, .row = row, .user = user };
    HONE_TRY(begin(r, HONE_MSG_FORWARD, &reply, err));
    hone_pack_u32(&r->pack, pos);
    hone_pack_ids(&r->pack, ids, n);
    hone_pack_bytes(&r->pack, want, want ? n : 0);
    hone_code code = ask(r, &reply, err);
    hone_reply_release(&reply);
    if (code == HONE_OK && ms) *ms = reply.ms;
    return code;
}

hone_code hone_runner_nll(hone_runner *r, const int32_t *ids, size_t n, float *nll, hone_err *err)
{
    hone_reply reply = { .n = n, .nll = nll };
    HONE_TRY(begin(r, HONE_MSG_NLL, &reply, err));
    hone_pack_ids(&r->pack, ids, n);
    return ask(r, &reply, err);
}

hone_code hone_runner_rewind(hone_runner *r, uint32_t pos, hone_err *err)
{
    hone_reply reply = { 0 };
    HONE_TRY(begin(r, HONE_MSG_REWIND, &reply, err));
    hone_pack_u32(&r->pack, pos);
    return ask(r, &reply, err);
}

hone_code hone_runner_generate(hone_runner *r, hone_generate *g, hone_err *err)
{
    hone_reply reply = { .gen = g };
    g->n_out = 0;
    g->prefill_ms = g->decode_ms = 0;
    HONE_TRY(begin(r, HONE_MSG_GENERATE, &reply, err));
    hone_pack_ids(&r->pack, g->prompt, g->n_prompt);
    hone_pack_u32(&r->pack, g->max_new);
    hone_pack_u8(&r->pack, g->stop_at_eos);
    return ask(r, &reply, err);
}

hone_code hone_runner_render(hone_runner *r, const char *messages, const char *options, hone_arena *a, char **text, size_t *len, hone_err *err)
{
    hone_reply reply = { .arena = a };
    HONE_TRY(begin(r, HONE_MSG_RENDER, &reply, err));
    hone_pack_bytes(&r->pack, messages, strlen(messages));
    hone_pack_bytes(&r->pack, options, options ? strlen(options) : 0);
    HONE_TRY(ask(r, &reply, err));
    *text = reply.text;
    *len = reply.text_len;
    return HONE_OK;
}

hone_code hone_runner_capture(hone_runner *r, const int32_t *ids, size_t n,
                              void (*sink)(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts),
                              void *user, hone_err *err)
{
    hone_reply reply = { .n = n, .sink = sink, .user = user };
    HONE_TRY(begin(r, HONE_MSG_CAPTURE, &reply, err));
    hone_pack_ids(&r->pack, ids, n);
    hone_code code = ask(r, &reply, err);
    hone_reply_release(&reply);
    return code;
}

hone_code hone_runner_layers(hone_runner *r, const int32_t *ids, size_t n,
                             void (*layer)(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd), void *user, hone_err *err)
{
    hone_reply reply = { .n = n, .layer = layer, .user = user };
    HONE_TRY(begin(r, HONE_MSG_LAYERS, &reply, err));
    hone_pack_ids(&r->pack, ids, n);
    hone_code code = ask(r, &reply, err);
    hone_reply_release(&reply);
    return code;
}

hone_code hone_runner_signature(hone_runner *r, hone_arena *a, hone_signature *out, hone_err *err)
{
    hone_reply reply = { .arena = a };
    HONE_TRY(begin(r, HONE_MSG_SIGNATURE, &reply, err));
    HONE_TRY(ask(r, &reply, err));
    *out = reply.signature;
    return HONE_OK;
}

hone_code hone_runner_infer(hone_runner *r, const hone_backend_value *in, size_t n_in, void (*value)(void *user, const hone_backend_value *value),
                            void *user, double *ms, hone_err *err)
{
    hone_reply reply = { .value = value, .user = user };
    HONE_TRY(begin(r, HONE_MSG_INFER, &reply, err));
    hone_pack_u32(&r->pack, (uint32_t)n_in);
    for (size_t i = 0; i < n_in; i++) {
        hone_pack_bytes(&r->pack, in[i].name, strlen(in[i].name));
        hone_pack_u32(&r->pack, (uint32_t)in[i].type);
        hone_pack_u32(&r->pack, in[i].rank);
        for (uint32_t k = 0; k < in[i].rank; k++) hone_pack_u64(&r->pack, (uint64_t)in[i].dims[k]);
        hone_pack_bytes(&r->pack, in[i].data, in[i].bytes);
    }
    hone_code code = ask(r, &reply, err);
    hone_reply_release(&reply);
    if (code == HONE_OK && ms) *ms = reply.ms;
    return code;
}

hone_code hone_runner_translate(hone_runner *r, const char *from, const char *to, bool f16, hone_err *err)
{
    hone_reply reply = { 0 };
    HONE_TRY(begin(r, HONE_MSG_TRANSLATE, &reply, err));
    hone_pack_bytes(&r->pack, from, strlen(from));
    hone_pack_bytes(&r->pack, to, strlen(to));
    hone_pack_u8(&r->pack, f16);
    return ask(r, &reply, err);
}

hone_code hone_runner_inputs(hone_runner *r, const int32_t *ids, size_t n, const char *const *names, size_t n_names,
                             void (*rows)(void *user, size_t name, const float *rows, size_t n_rows, size_t n_cols, size_t n_mats, const uint32_t *mats),
                             void *user, hone_err *err)
{
    hone_reply reply = { .n = n, .n_names = n_names, .rows = rows, .user = user };
    HONE_TRY(begin(r, HONE_MSG_INPUTS, &reply, err));
    hone_pack_ids(&r->pack, ids, n);
    hone_pack_u32(&r->pack, (uint32_t)n_names);
    for (size_t i = 0; i < n_names; i++) hone_pack_bytes(&r->pack, names[i], strlen(names[i]));
    hone_code code = ask(r, &reply, err);
    hone_reply_release(&reply);
    return code;
}

hone_code hone_runner_usage_get(hone_runner *r, hone_runner_usage *out, hone_err *err)
{
    if (r->dead.code == HONE_OK) {
        hone_reply reply = { 0 };
        HONE_TRY(begin(r, HONE_MSG_USAGE, &reply, err));
        HONE_TRY(ask(r, &reply, err));
        r->user_s = reply.user_s;
        r->sys_s = reply.sys_s;
        look_at_memory(r);
    }
    *out = (hone_runner_usage){ r->peak_rss, r->last_rss, r->user_s, r->sys_s };
    return HONE_OK;
}

long hone_runner_pid(const hone_runner *r) { return (long)r->pid; }
