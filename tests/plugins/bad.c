/* bad.c - a plug-in that misbehaves on demand, to prove that the parent lives on.  The path of the model it is asked to open is
 * "<op>:<deed>": what to do at "open" or at "forward".  "fine" does nothing wrong.  Built again with another ABI number, without text
 * functions, and as a runtime whose library is not there. */
#include "hone/backend.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef BAD_ABI
#define BAD_ABI HONE_BACKEND_ABI
#endif
enum { VOCAB = 16, CONTEXT = 64, WIDTH = 3, LAYERS = 2 };

struct hone_backend_model {
    char     deed[64]; /* at forward; "" for none */
    uint32_t past, calls;
};

static void eat_memory(void)
{
    for (;;) {
        size_t n = (size_t)4 << 20;
        char  *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) _exit(9);
        memset(p, 1, n);
        (void)usleep(1000);
    }
}

static int do_deed(const char *deed, hone_backend_error *e)
{
    if (strcmp(deed, "abort") == 0) {
        (void)fputs("bad.c:1: ASSERT(weather == good) failed\n", stderr);
        abort();
    }
    if (strcmp(deed, "segv") == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer would make it an exit */
        (void)raise(SIGSEGV);
    }
    if (strcmp(deed, "ill") == 0) {
        (void)signal(SIGILL, SIG_DFL);
        (void)raise(SIGILL);
    }
    if (strcmp(deed, "kill") == 0) (void)raise(SIGKILL);
    if (strcmp(deed, "hang") == 0) {
        (void)fputs("waiting for Godot\n", stderr);
        for (;;) (void)pause();
    }
    if (strcmp(deed, "spin") == 0)
        for (volatile unsigned long i = 0;; i = i + 1) continue;
    if (strcmp(deed, "exit") == 0) exit(0);
    if (strcmp(deed, "eat") == 0) eat_memory();
    if (strcmp(deed, "garbage") == 0) { /* 3 is the socket: hone-runner was told so on its command line */
        static const char junk[64] = "GET / HTTP/1.1\r\n\r\n";
        ssize_t           n = write(3, junk, sizeof junk);
        (void)n;
    }
    if (strcmp(deed, "hangup") == 0) {
        (void)shutdown(3, SHUT_RDWR);
        for (;;) (void)pause();
    }
    if (strcmp(deed, "shout") == 0) {
        for (int i = 0; i < 20000; i++) (void)printf("line %d of a very long story \033[31m\n", i);
        for (int i = 0; i < 20000; i++) (void)fprintf(stderr, "%d bottles\n", i);
    }
    if (strcmp(deed, "fail") == 0) {
        (void)fputs("\n\nthe \033[31mreal\033[0m reason\n\n", stderr);
        (void)snprintf(e->why, sizeof e->why, "it went wrong");
        return 5;
    }
    if (strcmp(deed, "silent") == 0) return 4;
    return 0;
}

static int probe(char *version, size_t version_cap, char *devices, size_t devices_cap, hone_backend_error *e)
{
#ifdef BAD_PROBE
    (void)snprintf(e->why, sizeof e->why, "the library 'libbad.so' is not there");
    return 4;
#endif
    (void)e;
    (void)snprintf(version, version_cap, "0.bad");
    (void)snprintf(devices, devices_cap, "none");
    return 0;
}

static int open_model(const hone_backend_open *how, hone_backend_model **out, hone_backend_info *info, hone_backend_error *e)
{
    const char *colon = strchr(how->path, ':');
    bool        now = strncmp(how->path, "open:", 5) == 0;
    int         rc = now ? do_deed(colon + 1, e) : 0;
    if (rc) return rc;
    hone_backend_model *m = calloc(1, sizeof *m);
    if (!m) return 6;
    if (colon && !now) (void)snprintf(m->deed, sizeof m->deed, "%s", colon + 1);
    info->n_vocab = VOCAB;
    info->n_ctx = CONTEXT;
    info->n_embd = WIDTH;
    info->text = true;
    (void)snprintf(info->device, sizeof info->device, "cpu");
    if (strcmp(how->device, "cpu") != 0) (void)snprintf(info->fallback, sizeof info->fallback, "no %s\033 here", how->device);
    *out = m;
    return 0;
}

static void close_model(hone_backend_model *m) { free(m); }

#ifndef BAD_TEXT
static int tokenize(hone_backend_model *m, const char *text, size_t len, bool add, bool parse, int32_t *ids, size_t cap, size_t *n,
                    hone_backend_error *e)
{
    (void)m;
    (void)add;
    (void)parse;
    (void)e;
    *n = len * 3; /* more than anybody's first guess: the second call is part of the interface */
    if (*n <= cap)
        for (size_t i = 0; i < *n; i++) ids[i] = text[i / 3] % VOCAB;
    return 0;
}

static int detokenize(hone_backend_model *m, const int32_t *ids, size_t n, bool remove, bool unparse, char *text, size_t cap, size_t *len,
                      hone_backend_error *e)
{
    (void)m;
    (void)ids;
    (void)remove;
    (void)unparse;
    (void)e;
    *len = n * 100;
    if (*len <= cap) memset(text, 'x', *len);
    return 0;
}
#endif

static int forward(hone_backend_model *m, const int32_t *ids, size_t n, uint32_t pos, const uint8_t *want,
                   void (*row)(void *, size_t, const float *, size_t), void *user, hone_backend_error *e)
{
    float values[VOCAB + 1];
    if (pos == 0) m->past = 0;
    if (m->calls++ > 0) { /* the first is the host's own, while it opens the model */
        int rc = do_deed(m->deed, e);
        if (rc) return rc;
    }
    bool nan_rows = strcmp(m->deed, "nan") == 0 && m->calls > 1;
    for (size_t i = 0; i < n; i++) {
        if (want && !want[i]) continue;
        for (int k = 0; k <= VOCAB; k++) values[k] = nan_rows ? (float)(0.0 / (double)(k * 0)) : (float)((ids[i] + k) % VOCAB);
        if (m->calls > 1 && strcmp(m->deed, "wide") == 0) {
            row(user, i, values, VOCAB + 1);
        } else if (m->calls > 1 && strcmp(m->deed, "backwards") == 0) {
            row(user, n - 1 - i, values, VOCAB);
        } else {
            row(user, i, values, VOCAB);
        }
    }
    m->past = pos + (uint32_t)n;
    return 0;
}

static int rewind_to(hone_backend_model *m, uint32_t pos, hone_backend_error *e)
{
    (void)e;
    m->past = pos;
    return 0;
}

#ifndef BAD_TEXT
/* Value: 100 * layer + id + column. */
static int layers(hone_backend_model *m, const int32_t *ids, size_t n, void (*sink)(void *, uint32_t, const float *, size_t, size_t), void *user,
                  hone_backend_error *e)
{
    bool torn = strcmp(m->deed, "torn") == 0, order = strcmp(m->deed, "order") == 0;
    (void)e;
    for (uint32_t l = 0; l < LAYERS; l++) {
        float *v = calloc(n, WIDTH * sizeof *v);
        if (!v) return 6;
        for (size_t i = 0; i < n * WIDTH; i++) v[i] = (float)(100 * l + (uint32_t)ids[i / WIDTH] + i % WIDTH);
        sink(user, order ? LAYERS - 1 - l : l, v, torn && l > 0 ? n - 1 : n, WIDTH);
        free(v);
    }
    return 0;
}
#endif

__attribute__((visibility("default"))) const hone_backend *hone_backend_entry(void)
{
    static const hone_backend table = {
        .abi = BAD_ABI,
        .name = "bad",
        .probe = probe,
        .open = open_model,
        .close = close_model,
#ifndef BAD_TEXT
        .tokenize = tokenize,
        .detokenize = detokenize,
        .layers = layers,
#endif
        .forward = forward,
        .rewind = rewind_to,
    };
    return &table;
}
