/* progress.c - what happens while a verb works, on stderr. */
#include "base/clock.h"
#include "base/text.h"
#include "cli/cli.h"
#include <pthread.h>
#include <unistd.h>

static struct { /* the terminal is one, so its line is one: guarded by lock */
    pthread_mutex_t lock;
    bool            shown;    /* a bar is on the screen */
    double          drawn_s, began_s;
    uint64_t        last_total;
} bar = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool on_terminal(void)
{
    /* In the background a bar would be written over the shell's line. */
    return hone_term_moves(STDERR_FILENO) && tcgetpgrp(STDERR_FILENO) == getpgrp();
}

static void wipe(void)
{
    if (bar.shown) (void)fputs("\r\033[K", stderr);
    bar.shown = false;
}

static void draw(const hone_event *ev)
{
    double now = hone_now_s();
    if (ev->total != bar.last_total || ev->done == 0) {
        bar.began_s = now;
        bar.last_total = ev->total;
    }
    if (ev->done < ev->total && now - bar.drawn_s < 0.1) return;
    bar.drawn_s = now;
    double part = ev->total ? (double)ev->done / (double)ev->total : 0, spent = now - bar.began_s;
    char   done[32], total[32], rate[32] = "", eta[32] = "";
    bool   bytes = ev->unit && strcmp(ev->unit, "bytes") == 0;
    if (bytes) {
        (void)hone_text_bytes(ev->done, done, sizeof done);
        (void)hone_text_bytes(ev->total, total, sizeof total);
        if (spent > 0.2) (void)hone_text_bytes((uint64_t)((double)ev->done / spent), rate, sizeof rate);
    } else {
        (void)snprintf(done, sizeof done, "%llu", (unsigned long long)ev->done);
        (void)snprintf(total, sizeof total, "%llu %s", (unsigned long long)ev->total, ev->unit ? ev->unit : "");
        if (spent > 0.2) (void)snprintf(rate, sizeof rate, "%.3g", (double)ev->done / spent);
    }
    if (part > 0.02 && spent > 0.5) (void)snprintf(eta, sizeof eta, "  %.0f s left", spent / part - spent);
    char   cells[25];
    size_t full = (size_t)(part * 24 + 0.5);
    for (size_t i = 0; i < 24; i++) cells[i] = i < full ? '#' : '.';
    cells[24] = '\0';
    (void)fprintf(stderr, "\r\033[K  [%s] %3.0f %%  %s of %s", cells, part * 100, done, total);
    if (rate[0]) (void)fprintf(stderr, "  %s/s", rate);
    (void)fputs(eta, stderr);
    (void)fflush(stderr);
    bar.shown = true;
}

static void show_line(const hone_cli *c, const hone_event *ev)
{
    static const char *const colors[] = { [HONE_EV_STEP] = "\033[36m", [HONE_EV_WARN] = "\033[33m", [HONE_EV_DETAIL] = "" };
    char                     text[2048]; /* events carry names that came from files */
    const char              *color = hone_term_color(STDERR_FILENO) ? colors[ev->kind] : NULL;
    bool                     warning = ev->kind == HONE_EV_WARN;
    if (!warning && (c->quiet || (ev->kind == HONE_EV_DETAIL && !c->verbose))) return;
    wipe();
    (void)fprintf(stderr, "%s%s%s%s\n", color ? color : "", warning ? "hone: warning: " : ev->kind == HONE_EV_STEP ? "" : "  ",
                  hone_text_show(ev->text, strlen(ev->text), text, sizeof text), color && color[0] ? "\033[0m" : "");
    if (warning && ev->remedy && ev->remedy[0])
        (void)fprintf(stderr, "      %s\n", hone_text_show(ev->remedy, strlen(ev->remedy), text, sizeof text));
}

void hone_progress_event(void *user, const hone_event *ev)
{
    const hone_cli *c = user;
    (void)pthread_mutex_lock(&bar.lock);
    if (ev->kind != HONE_EV_PROGRESS) show_line(c, ev);
    else if (!c->quiet && on_terminal()) draw(ev);
    (void)pthread_mutex_unlock(&bar.lock);
}

void hone_progress_end(void)
{
    (void)pthread_mutex_lock(&bar.lock);
    wipe();
    (void)fflush(stderr);
    (void)pthread_mutex_unlock(&bar.lock);
}
