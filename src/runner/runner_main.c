/* runner_main.c - hone-runner: the child process that a runtime lives in.  Loads hone-backend-NAME.so from a folder, then answers
 * the requests of protocol.h on the socket it was given, one after another, until the other side goes away.
 * Usage (by runner.c only): hone-runner --backend NAME --dir FOLDER --fd N
 * It may crash, be killed or hang at any time inside the plug-in; nothing here tries to survive that. */
#include "runner/host/host.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

static void do_probe(hone_host *h)
{
    char               version[256] = "", devices[1024] = "";
    hone_backend_error e = { "" };
    int                rc = h->b->probe(version, sizeof version, devices, sizeof devices, &e);
    if (rc) {
        hone_host_fail_with(h, rc, &e);
        return;
    }
    hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
    hone_pack_bytes(&h->out, version, strnlen(version, sizeof version));
    hone_pack_bytes(&h->out, devices, strnlen(devices, sizeof devices));
    hone_host_done(h);
}

static void do_usage(hone_host *h)
{
    struct rusage r = { 0 };
    (void)getrusage(RUSAGE_SELF, &r);
    hone_pack_begin(&h->out, HONE_MSG_DONE, h->id);
    hone_pack_f64(&h->out, (double)r.ru_utime.tv_sec + (double)r.ru_utime.tv_usec / 1e6);
    hone_pack_f64(&h->out, (double)r.ru_stime.tv_sec + (double)r.ru_stime.tv_usec / 1e6);
    hone_host_done(h);
}

static void answer(hone_host *h, const hone_frame *f)
{
    hone_unpacker u = hone_unpack(f->payload);
    h->id = f->id;
    h->sent_ms = hone_host_now_ms();
    h->away_ms = 0;
    h->err = (hone_err){ 0 };
    switch (f->type) {
    case HONE_MSG_PROBE: do_probe(h); break;
    case HONE_MSG_OPEN: hone_host_open(h, &u); break;
    case HONE_MSG_TOKENIZE: hone_host_tokenize(h, &u); break;
    case HONE_MSG_DETOKENIZE: hone_host_detokenize(h, &u); break;
    case HONE_MSG_FORWARD: hone_host_forward(h, &u); break;
    case HONE_MSG_NLL: hone_host_nll(h, &u); break;
    case HONE_MSG_REWIND: hone_host_rewind(h, &u); break;
    case HONE_MSG_GENERATE: hone_host_generate(h, &u); break;
    case HONE_MSG_RENDER: hone_host_render(h, &u); break;
    case HONE_MSG_CAPTURE: hone_host_capture(h, &u); break;
    case HONE_MSG_USAGE: do_usage(h); break;
    case HONE_MSG_LAYERS: hone_host_layers(h, &u); break;
    case HONE_MSG_INPUTS: hone_host_inputs(h, &u); break;
    case HONE_MSG_SIGNATURE: hone_host_signature(h); break;
    case HONE_MSG_INFER: hone_host_infer(h, &u); break;
    case HONE_MSG_TRANSLATE: hone_host_translate(h, &u); break;
    default: hone_host_leave(HONE_EBUG);
    }
}

static void read_exactly(int fd, uint8_t *to, size_t n)
{
    while (n > 0) {
        ssize_t got = recv(fd, to, n, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) hone_host_leave(0);
        to += got;
        n -= (size_t)got;
    }
}

static bool good_name(const char *s)
{
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_' && *s != '-') return false;
    return true;
}

int main(int argc, char **argv)
{
    hone_host   h = { .fd = -1 };
    const char *dir = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--backend") == 0) h.name = argv[i + 1];
        if (strcmp(argv[i], "--dir") == 0) dir = argv[i + 1];
        if (strcmp(argv[i], "--fd") == 0) h.fd = (int)strtol(argv[i + 1], NULL, 10);
    }
    if (!h.name || !*h.name || !good_name(h.name) || !dir || h.fd < 3 || fcntl(h.fd, F_SETFD, FD_CLOEXEC) != 0) {
        (void)fputs("hone-runner is started by hone and not meant to be run by hand\n", stderr);
        return HONE_EUSAGE;
    }
    hone_host_tame();
    pthread_t watcher;
    if (pthread_create(&watcher, NULL, hone_host_watch, &h.fd) != 0) return HONE_ERESOURCE;
    if (!hone_host_load(&h, dir)) return 0;
    const char *name = h.b->name ? h.b->name : h.name;
    hone_pack_begin(&h.out, HONE_MSG_HELLO, 0);
    hone_pack_u32(&h.out, HONE_PROTOCOL_VERSION);
    hone_pack_bytes(&h.out, name, strnlen(name, 64));
    hone_host_done(&h);

    uint8_t *payload = NULL;
    size_t   room = 0;
    for (;;) {
        uint8_t    head[HONE_FRAME_HEAD];
        hone_frame f = { 0 };
        size_t     used, need;
        read_exactly(h.fd, head, sizeof head);
        uint32_t n = hone_le32(head);
        if (n > HONE_FRAME_MAX) hone_host_leave(HONE_EBUG);
        need = (size_t)HONE_FRAME_HEAD + n;
        if (need > room) {
            uint8_t *more = realloc(payload, need);
            if (!more) hone_host_leave(HONE_ERESOURCE);
            payload = more;
            room = need;
        }
        memcpy(payload, head, sizeof head);
        read_exactly(h.fd, payload + sizeof head, n);
        if (hone_frame_take((hone_bytes){ payload, need }, &f, &used, &need, NULL) != HONE_OK || used == 0) hone_host_leave(HONE_EBUG);
        answer(&h, &f);
    }
}
