/* cli.h - a verb is a file (cmd_NAME.c) and a row (list.def): X(name).  This is the only room that prints or exits.
 * A command fills one JSON document; --json prints it, otherwise the command's print() shows the same facts to a person. */
#ifndef HONE_CLI_CLI_H
#define HONE_CLI_CLI_H
#include "base/arena.h"
#include "base/ctx.h"
#include "base/json.h"
#include "base/text.h"
#include <stdio.h>

typedef enum hone_opt_type { HONE_OPT_FLAG, HONE_OPT_TEXT, HONE_OPT_COUNT, HONE_OPT_REAL, HONE_OPT_BYTES, HONE_OPT_LIST } hone_opt_type;

/* One option: --name.  Help, man page, completion and parsing all come from this row. */
typedef struct hone_opt {
    const char   *name;   /* without the dashes */
    char          letter; /* 0: none */
    hone_opt_type type;   /* COUNT: whole number; BYTES: 400M, 1.5G (10^3 steps), 2GiB; LIST: may be repeated, each value may hold commas */
    const char   *arg;    /* shown as the value: "DIR"; NULL for flags */
    const char   *choices; /* "a|b|c" for completion and checking, or NULL */
    const char   *help;   /* one sentence, lower case, no full stop */
} hone_opt;

typedef struct hone_cli hone_cli;

typedef struct hone_cmd {
    const char     *name, *summary; /* summary: one line for `hone --help` */
    const char     *args;           /* "SRC", "ARTEFACT..." */
    const char     *about;          /* one paragraph */
    const char     *example;        /* one or more command lines, separated by \n */
    const hone_opt *opts;           /* besides the common ones */
    size_t          n_opts;
    unsigned        min_args, max_args; /* max_args 0: none; UINT_MAX: any number */
    /* Does the work; adds its keys to doc (an object; "schema" and "ok" are added by main).  HONE_ENO with *err filled is the
     * answer no: the document is printed in full as well. */
    hone_code (*run)(hone_cli *c, json_t *doc, hone_err *err);
    /* Shows doc to a person on stdout. */
    void (*print)(hone_cli *c, const json_t *doc);
} hone_cmd;

typedef struct hone_opt_value { const hone_opt *opt; const char *text; struct hone_opt_value *next; } hone_opt_value;

struct hone_cli {
    hone_ctx        ctx;   /* events go to the progress printer */
    hone_arena      arena; /* of this run */
    const hone_cmd *cmd;
    const char    **args;  /* [n_args] positional */
    unsigned        n_args;
    hone_opt_value *values; /* in command-line order */
    bool            json, quiet, verbose, color; /* color: of stdout */
    int             width; /* columns of the terminal, 100 when stdout is no terminal */
};

extern const hone_cmd *const hone_cmd_list[];
extern const size_t          hone_cmd_count;
extern const hone_opt        hone_common_opts[];
extern const size_t          hone_common_count;

/* --- option values; name must be an option of the command (or common): anything else is our bug --- */
bool        hone_cli_has(const hone_cli *c, const char *name);
const char *hone_cli_text(const hone_cli *c, const char *name, const char *otherwise); /* the last one given */
uint32_t    hone_cli_count(const hone_cli *c, const char *name, uint32_t otherwise);
double      hone_cli_real(const hone_cli *c, const char *name, double otherwise);
uint64_t    hone_cli_bytes(const hone_cli *c, const char *name, uint64_t otherwise);
/* All values of a LIST option, split at commas, in the arena; NULL on no memory. */
const char **hone_cli_list(hone_cli *c, const char *name, size_t *n);

/* An option's value "speed=.5,accuracy=.3" (words.c): any subset of the words; numbers from 0 to a million. */
typedef struct hone_cli_word { const char *name; double *to; } hone_cli_word;
hone_code hone_cli_words(hone_cli *c, const char *option, const char *remedy, const char *text, const hone_cli_word *known, size_t n_known, hone_err *err);
/* The weights of --prefer; without it .5, .3 and .2. */
hone_code hone_cli_preferences(hone_cli *c, double *speed, double *accuracy, double *memory, hone_err *err);
/* The verb, what it was given and its options, quoted so that a shell takes them; out is the caller's to release. */
hone_code hone_cli_command(const hone_cli *c, hone_text *out, hone_err *err);

/* Parses argv into c (options.c).  HONE_EUSAGE names the word and the nearest match. */
hone_code hone_cli_parse(hone_cli *c, int argc, char **argv, hone_err *err);
void      hone_cli_help(const hone_cli *c, FILE *to);                   /* `hone --help` */
void      hone_cli_help_cmd(const hone_cli *c, const hone_cmd *cmd, FILE *to); /* `hone VERB --help` */
void      hone_cli_man(const hone_cmd *cmd, FILE *to);                  /* mdoc page of a verb; NULL: of hone itself */
bool      hone_cli_completion(const char *shell, FILE *to);             /* bash, zsh, fish; false: unknown shell */

/* --- printing for people --- */
/* A terminal that moves its cursor (TERM is set and not "dumb"); ... and colour is wanted there (NO_COLOR is unset or empty). */
bool hone_term_moves(int fd);
bool hone_term_color(int fd);
typedef enum hone_style { HONE_PLAIN, HONE_BOLD, HONE_DIM, HONE_GREEN, HONE_YELLOW, HONE_RED, HONE_CYAN } hone_style;
void hone_say(const hone_cli *c, hone_style s, const char *fmt, ...) HONE_PRINTF(3, 4); /* no newline added */
/* "name:      value" lines with the names in one column */
void hone_say_field(const hone_cli *c, const char *name, const char *fmt, ...) HONE_PRINTF(3, 4);
void hone_say_head(const hone_cli *c, const char *fmt, ...) HONE_PRINTF(2, 3); /* a section title */

/* A table: fill cell by cell, then print.  Columns are as wide as their widest cell; numbers right, words left.  Cells may hold names
 * from outside: they are escaped here. */
typedef struct hone_table hone_table;
hone_table *hone_table_new(hone_cli *c, size_t n_cols);
void        hone_table_col(hone_table *t, size_t col, const char *title, const char *unit, bool right); /* unit: second header line, or "" */
void        hone_table_cell(hone_table *t, size_t row, size_t col, hone_style s, const char *fmt, ...) HONE_PRINTF(5, 6);
void        hone_table_fold(hone_table *t); /* what is wider than the terminal goes on below, with the first column again */
void        hone_table_print(hone_cli *c, hone_table *t);
/* Prints a paragraph wrapped to the terminal with this indent. */
void hone_say_wrapped(const hone_cli *c, unsigned indent, const char *text);
void hone_say_bullet(const hone_cli *c, const char *text); /* "  - ...", the lines that follow under the text */
/* Display columns of a UTF-8 string. */
size_t hone_display_width(const char *s);

/* JSON helpers for print(): absent or null gives the fallback. */
const char *hone_doc_str(const json_t *o, const char *key, const char *otherwise);
double      hone_doc_num(const json_t *o, const char *key, double otherwise);
bool        hone_doc_has_num(const json_t *o, const char *key);

/* Progress on stderr (progress.c): a bar when stderr is a terminal in the foreground and not --quiet; steps, notes and warnings as lines. */
void hone_progress_event(void *user, const hone_event *ev);
void hone_progress_end(void);
#endif
