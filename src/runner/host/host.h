/* host.h - what a runtime's child process (runner_main.c) has in hand, and its answers to the requests of protocol.h.
 * A request that breaks the protocol ends the process: only hone itself asks. */
#ifndef HONE_RUNNER_HOST_HOST_H
#define HONE_RUNNER_HOST_HOST_H
#include "hone/backend.h"
#include "runner/protocol.h"

enum { HONE_HOST_CHUNK = 1 << 20 /* bytes of values in one frame, about */ };

typedef struct hone_host {
    int                 fd;
    const char         *name;
    const hone_backend *b;
    hone_backend_model *m;    /* NULL: nothing is open */
    bool                vocab_only, graph;
    hone_backend_info   info;
    hone_packer         out;
    uint64_t            id;   /* of the request being answered */
    double              sent_ms; /* when something was last sent */
    double              away_ms; /* time spent in callbacks and sending, not in the runtime */
    hone_err            err;  /* first failure inside a callback */
} hone_host;

/* start.c.  watch: a thread's body; arg: the socket's descriptor.  load: answers and returns false on failure. */
void *hone_host_watch(void *arg);
void  hone_host_tame(void);
bool  hone_host_load(hone_host *h, const char *dir);

/* answer.c: frames */
double         hone_host_now_ms(void);
_Noreturn void hone_host_leave(int status); /* the other side is gone, or this process is of no use any more */
void           hone_host_flush(hone_host *h);
void           hone_host_end_frame(hone_host *h);
void           hone_host_beat(hone_host *h); /* a sign of life when none was given for a while */

/* answer.c: the end of an answer */
void hone_host_fail(hone_host *h, int code, const char *why);
void hone_host_fail_with(hone_host *h, int code, const hone_backend_error *e);
void hone_host_done(hone_host *h); /* of one that was begun with HONE_MSG_DONE */
void hone_host_done_empty(hone_host *h);
void hone_host_done_plain(hone_host *h, int rc, const hone_backend_error *e);            /* its failure, that of a callback, or nothing */
void hone_host_done_timed(hone_host *h, int rc, const hone_backend_error *e, double ms); /* the same, or how long it took */

/* answer.c: arguments.  Copies are to be freed. */
int32_t *hone_host_copy_ids(hone_host *h, hone_bytes raw, size_t *n); /* aligned; NULL: out of memory, answered */
char    *hone_host_copy_text(hone_bytes b);                           /* with a NUL; NULL: out of memory */
bool     hone_host_check_ids(hone_host *h, const int32_t *ids, size_t n); /* false: answered, as below */
bool     hone_host_need_model(hone_host *h, bool weights);

/* The requests: each is answered when its function returns. */
void hone_host_open(hone_host *h, hone_unpacker *u);
void hone_host_tokenize(hone_host *h, hone_unpacker *u);
void hone_host_detokenize(hone_host *h, hone_unpacker *u);
void hone_host_render(hone_host *h, hone_unpacker *u);
void hone_host_forward(hone_host *h, hone_unpacker *u);
void hone_host_nll(hone_host *h, hone_unpacker *u);
void hone_host_rewind(hone_host *h, hone_unpacker *u);
void hone_host_generate(hone_host *h, hone_unpacker *u);
void hone_host_capture(hone_host *h, hone_unpacker *u);
void hone_host_layers(hone_host *h, hone_unpacker *u);
void hone_host_inputs(hone_host *h, hone_unpacker *u);
void hone_host_signature(hone_host *h);
void hone_host_infer(hone_host *h, hone_unpacker *u);
void hone_host_translate(hone_host *h, hone_unpacker *u);
#endif
