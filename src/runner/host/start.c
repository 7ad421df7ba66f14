/* start.c - before the first request: the plug-in, and what its crash or its parent's may do to the machine. */
#include "runner/host/host.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* PR_SET_PDEATHSIG would do this job only as long as the parent's *thread* that started us lives (prctl(2)), and hone starts
 * runners from worker threads.  A socket whose other end is gone says the same of the process. */
void *hone_host_watch(void *arg)
{
    struct pollfd p = { .fd = *(const int *)arg, .events = POLLRDHUP };
    for (;;) {
        int n = poll(&p, 1, -1);
        if (n > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL))) hone_host_leave(0);
    }
    return NULL;
}

/* What a crash of a vendor library may do to the machine. */
void hone_host_tame(void)
{
    /* 1 and not 0: a core_pattern that is a pipe ignores 0 but takes 1 as "none" (fs/coredump.c). */
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 });
    /* When memory runs out, this process goes before the one that can report it. */
    char now[16] = "";
    int  fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, now, sizeof now - 1) > 0 && strtol(now, NULL, 10) < 500 && pwrite(fd, "500", 3, 0) != 3)
            (void)fputs("oom_score_adj cannot be raised\n", stderr);
        (void)close(fd);
    }
    /* ggml_abort starts a debugger otherwise (ggml/src/ggml.c, ggml_print_backtrace). */
    (void)setenv("GGML_NO_BACKTRACE", "1", 1);
    /* A thread that waits at a barrier spins this often, then sleeps.  libgomp's own 300000 (libgomp env.c) is milliseconds: on a machine
     * that does other things too, two threads then ran a hundred times slower than one.  What the user set wins. */
    (void)setenv("GOMP_SPINCOUNT", "20000", 0);
    /* What the library prints before it dies must not die in a buffer. */
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
}

bool hone_host_load(hone_host *h, const char *dir)
{
    char path[4096], why[sizeof path + 160];
    if (snprintf(path, sizeof path, "%s/hone-backend-%s.so", dir, h->name) >= (int)sizeof path) {
        hone_host_fail(h, HONE_EUNSUPPORTED, "the path of the plug-in is too long");
        return false;
    }
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        const char *e = dlerror();
        (void)snprintf(why, sizeof why, "cannot load the plug-in: %s", e ? e : path);
        hone_host_fail(h, HONE_EUNSUPPORTED, why);
        return false;
    }
    void                 *sym = dlsym(lib, "hone_backend_entry");
    hone_backend_entry_fn entry = NULL;
    memcpy(&entry, &sym, sizeof entry); /* POSIX allows what ISO C calls a conversion */
    h->b = entry ? entry() : NULL;
    if (!h->b) {
        (void)snprintf(why, sizeof why, "'%s' is not a plug-in of hone", path);
    } else if (h->b->abi != HONE_BACKEND_ABI) {
        (void)snprintf(why, sizeof why, "'%s' was built for version %u of the plug-in interface, this is version %d", path, h->b->abi,
                       HONE_BACKEND_ABI);
    } else if (!h->b->probe || !h->b->open || !h->b->close || !h->b->forward || !h->b->rewind) {
        (void)snprintf(why, sizeof why, "'%s' lacks a function that every plug-in has", path);
    } else {
        /* A runtime whose library is not there says so now, and not with the first model.  No room for devices: they need not be looked for. */
        char               version[256], devices[1];
        hone_backend_error e = { "" };
        int                rc = h->b->probe(version, sizeof version, devices, sizeof devices, &e);
        if (rc == 0) return true;
        hone_host_fail_with(h, rc, &e);
        return false;
    }
    hone_host_fail(h, HONE_EUNSUPPORTED, why);
    return false;
}
