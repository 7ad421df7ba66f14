/* ctx.h - what one operation carries: where its events go, how many threads it may use, whether it was cancelled.
 * The library never prints: it reports here, and cli/ decides what a person sees. */
#ifndef HONE_BASE_CTX_H
#define HONE_BASE_CTX_H
#include "base/err.h"
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum hone_event_kind {
    HONE_EV_STEP,     /* a phase begins: text */
    HONE_EV_PROGRESS, /* done of total in unit ("bytes", "tokens", "candidates"); comes often */
    HONE_EV_NOTE,     /* something worth knowing */
    HONE_EV_WARN,     /* something the user should act on; text and, when honest, remedy */
    HONE_EV_DETAIL    /* a step or note of something smaller than what was asked for: shown with --verbose */
} hone_event_kind;

typedef struct hone_event {
    hone_event_kind kind;
    const char     *text;   /* valid during the call only */
    const char     *remedy; /* or NULL */
    const char     *unit;   /* HONE_EV_PROGRESS */
    uint64_t        done, total;
} hone_event;

typedef struct hone_ctx { /* zero-initialised: silent, 1 thread, never cancelled */
    void (*on_event)(void *user, const hone_event *ev); /* may be called from any thread; NULL: silent */
    void                        *user;
    unsigned                     threads; /* 0 means 1 */
    const volatile sig_atomic_t *cancel;  /* borrowed; non-zero: stop soon with HONE_ERESOURCE "interrupted" */
    const char                  *data_dir;     /* borrowed: profiles/, data/ live here; NULL when unknown */
    const char                  *libexec_dir;  /* borrowed: hone-runner and hone-backend-*.so live here */
} hone_ctx;

void hone_event_step(const hone_ctx *c, const char *fmt, ...) HONE_PRINTF(2, 3);
void hone_event_note(const hone_ctx *c, const char *fmt, ...) HONE_PRINTF(2, 3);
void hone_event_warn(const hone_ctx *c, const char *remedy, const char *fmt, ...) HONE_PRINTF(3, 4);
void hone_event_progress(const hone_ctx *c, const char *unit, uint64_t done, uint64_t total);
static inline bool hone_ctx_cancelled(const hone_ctx *c) { return c && c->cancel && *c->cancel; }
static inline unsigned hone_ctx_threads(const hone_ctx *c) { return c && c->threads ? c->threads : 1; }
#define HONE_INTERRUPTED(err) HONE_FAIL((err), HONE_ERESOURCE, "run the same command again", "interrupted")
#endif
