#include "base/ctx.h"
#include <stdarg.h>
#include <stdio.h>

static void send(const hone_ctx *c, hone_event_kind kind, const char *remedy, const char *fmt, va_list ap)
{
    char text[1024];
    if (!c || !c->on_event) return;
    (void)vsnprintf(text, sizeof text, fmt, ap);
    c->on_event(c->user, &(hone_event){ .kind = kind, .text = text, .remedy = remedy });
}

void hone_event_step(const hone_ctx *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send(c, HONE_EV_STEP, NULL, fmt, ap);
    va_end(ap);
}

void hone_event_note(const hone_ctx *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send(c, HONE_EV_NOTE, NULL, fmt, ap);
    va_end(ap);
}

void hone_event_warn(const hone_ctx *c, const char *remedy, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send(c, HONE_EV_WARN, remedy, fmt, ap);
    va_end(ap);
}

void hone_event_progress(const hone_ctx *c, const char *unit, uint64_t done, uint64_t total)
{
    if (c && c->on_event)
        c->on_event(c->user, &(hone_event){ .kind = HONE_EV_PROGRESS, .unit = unit, .done = done, .total = total });
}
