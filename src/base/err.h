/* err.h - how hone says that something failed: a code for scripts, a cause and a remedy for people.
 * Knows nothing else.  No heap, no globals: it still works when memory is gone. */
#ifndef HONE_BASE_ERR_H
#define HONE_BASE_ERR_H

typedef enum hone_code { /* also the exit codes: add, never renumber */
    HONE_OK = 0,
    HONE_ENO = 1,          /* the answer is no: a gate failed, a verification failed */
    HONE_EUSAGE = 2,       /* the command line is wrong */
    HONE_EINPUT = 3,       /* a file is bad */
    HONE_EUNSUPPORTED = 4, /* understood but not supported, or a runtime is missing */
    HONE_ERUNTIME = 5,     /* a runtime failed */
    HONE_ERESOURCE = 6,    /* disk, memory, permission */
    HONE_EBUG = 70         /* our bug */
} hone_code;

typedef struct hone_err { /* caller-owned; zero-initialise */
    hone_code   code;
    const char *file; /* where raised, static string; --verbose shows it */
    int         line;
    char        cause[512];  /* what happened to which object, with the two values that disagree */
    char        remedy[256]; /* what the reader can do; "" when we have no honest advice */
} hone_err;

#if defined(__GNUC__)
#define HONE_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))
#else
#define HONE_PRINTF(fmt_at, args_at)
#endif

/* Fills *err (NULL allowed) and returns code.  remedy is a plain string (no format), "" for none.  A cause that is too long (of
 * long paths) loses its middle, so that what failed and why both stay. */
hone_code hone_err_raise(hone_err *err, const char *file, int line, hone_code code,
                         const char *remedy, const char *fmt, ...) HONE_PRINTF(6, 7);
#define HONE_FAIL(err, code, remedy, ...) hone_err_raise((err), __FILE__, __LINE__, (code), (remedy), __VA_ARGS__)

/* Puts context in front of the cause on the way up: "<context>: <cause>".  Returns err->code (HONE_EBUG when err is NULL). */
hone_code hone_err_wrap(hone_err *err, const char *fmt, ...) HONE_PRINTF(2, 3);

/* Replaces the remedy; used by a caller that knows better advice. */
void hone_err_set_remedy(hone_err *err, const char *remedy);

/* Static names: "bad_input", "unsupported", ...: the error.code of --json documents. */
const char *hone_code_name(hone_code code);

#define HONE_TRY(expr)                                                                                                 \
    do {                                                                                                               \
        hone_code try_code_ = (expr);                                                                                  \
        if (try_code_ != HONE_OK) return try_code_;                                                                    \
    } while (0)

#endif
