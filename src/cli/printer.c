#include "cli/cli.h"
#include "base/text.h"
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const code_of[] = { [HONE_PLAIN] = "",       [HONE_BOLD] = "\033[1m",   [HONE_DIM] = "\033[2m",
                                       [HONE_GREEN] = "\033[32m", [HONE_YELLOW] = "\033[33m", [HONE_RED] = "\033[31m",
                                       [HONE_CYAN] = "\033[36m" };

bool hone_term_moves(int fd)
{
    const char *term = getenv("TERM");
    return isatty(fd) && term && term[0] && strcmp(term, "dumb") != 0;
}

bool hone_term_color(int fd)
{
    const char *no_color = getenv("NO_COLOR");
    return hone_term_moves(fd) && (!no_color || !no_color[0]);
}

void hone_say(const hone_cli *c, hone_style s, const char *fmt, ...)
{
    va_list ap;
    if (c->color && s != HONE_PLAIN) (void)fputs(code_of[s], stdout);
    va_start(ap, fmt);
    (void)vprintf(fmt, ap);
    va_end(ap);
    if (c->color && s != HONE_PLAIN) (void)fputs("\033[0m", stdout);
}

void hone_say_head(const hone_cli *c, const char *fmt, ...)
{
    char    text[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    hone_say(c, HONE_BOLD, "\n%s\n", text);
}

void hone_say_field(const hone_cli *c, const char *name, const char *fmt, ...)
{
    char    text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    hone_say(c, HONE_DIM, "  %-16s", name);
    /* Words that fit stand beside the name, the others below them. */
    const size_t indent = 19, room = c->width > (int)indent + 20 ? (size_t)c->width - indent : 20;
    char         head[sizeof text], *space;
    memcpy(head, text, strlen(text) + 1);
    while (hone_display_width(head) > room && (space = strrchr(head, ' ')) != NULL) *space = '\0';
    hone_say(c, HONE_PLAIN, " %s\n", head);
    if (text[strlen(head)]) hone_say_wrapped(c, (unsigned)indent, text + strlen(head) + 1);
}

size_t hone_display_width(const char *s)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)s; *p; p++) n += (*p & 0xc0) != 0x80;
    return n;
}

static void wrap(const hone_cli *c, const char *first, unsigned indent, const char *text)
{
    size_t room = c->width > (int)indent + 20 ? (size_t)c->width - indent : 20, at = 0;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, " \n");
        char   word[512];
        (void)snprintf(word, sizeof word, "%.*s", (int)n, p);
        size_t w = hone_display_width(word);
        if (at && at + 1 + w > room) {
            (void)putchar('\n');
            at = 0;
        }
        if (at == 0) (void)printf("%*s", (int)indent, first);
        else (void)putchar(' ');
        (void)fputs(word, stdout);
        at += (at != 0) + w;
        first = "";
        p += n;
        if (*p == '\n') {
            (void)putchar('\n');
            at = 0;
        }
        while (*p == ' ' || *p == '\n') p++;
    }
    if (at) (void)putchar('\n');
}

void hone_say_wrapped(const hone_cli *c, unsigned indent, const char *text) { wrap(c, "", indent, text); }
void hone_say_bullet(const hone_cli *c, const char *text) { wrap(c, "- ", 4, text); }

/* A table is what is left to do when all work is done: there is nobody to hand an error to. */
static _Noreturn void no_memory(void)
{
    (void)fputs("hone: out of memory for the answer\n", stderr);
    exit(HONE_ERESOURCE);
}

typedef struct cell { char *text; hone_style style; } cell;
struct hone_table {
    hone_cli    *c;
    size_t       n_cols, n_rows, cap_rows;
    const char **title, **unit;
    bool        *right, folds;
    cell        *cells; /* [cap_rows * n_cols] */
};

hone_table *hone_table_new(hone_cli *c, size_t n_cols)
{
    hone_table *t = HONE_ARENA_NEW(&c->arena, hone_table, 1);
    if (!t) no_memory();
    *t = (hone_table){ .c = c, .n_cols = n_cols, .cap_rows = 8 };
    t->title = hone_arena_calloc(&c->arena, n_cols, sizeof *t->title);
    t->unit = hone_arena_calloc(&c->arena, n_cols, sizeof *t->unit);
    t->right = hone_arena_calloc(&c->arena, n_cols, sizeof *t->right);
    t->cells = hone_arena_calloc(&c->arena, n_cols * t->cap_rows, sizeof *t->cells);
    if (!t->title || !t->unit || !t->right || !t->cells) no_memory();
    return t;
}

void hone_table_col(hone_table *t, size_t col, const char *title, const char *unit, bool right)
{
    t->title[col] = title;
    t->unit[col] = unit;
    t->right[col] = right;
}

void hone_table_cell(hone_table *t, size_t row, size_t col, hone_style s, const char *fmt, ...)
{
    char    text[1280], shown[sizeof text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (row >= t->cap_rows) {
        size_t cap = t->cap_rows;
        while (cap <= row) cap *= 2;
        cell *more = hone_arena_calloc(&t->c->arena, cap * t->n_cols, sizeof *more);
        if (!more) no_memory();
        memcpy(more, t->cells, t->n_rows * t->n_cols * sizeof *more);
        t->cells = more;
        t->cap_rows = cap;
    }
    if (row >= t->n_rows) t->n_rows = row + 1;
    cell *k = &t->cells[row * t->n_cols + col];
    k->text = hone_arena_strdup(&t->c->arena, hone_text_show(text, strlen(text), shown, sizeof shown));
    k->style = s;
    if (!k->text) no_memory();
}

static void put_padded(const hone_cli *c, hone_style s, const char *text, size_t width, bool right, bool last_col)
{
    size_t w = hone_display_width(text), pad = width > w ? width - w : 0;
    if (right) (void)printf("%*s", (int)pad, "");
    hone_say(c, s, "%s", text);
    if (!right && !last_col) (void)printf("%*s", (int)pad, "");
}

void hone_table_fold(hone_table *t) { t->folds = true; }

static size_t width_of(const hone_table *t, size_t col)
{
    size_t title = hone_display_width(t->title[col] ? t->title[col] : ""), unit = hone_display_width(t->unit[col] ? t->unit[col] : "");
    size_t width = title > unit ? title : unit;
    for (size_t i = 0; i < t->n_rows; i++) {
        const char *s = t->cells[i * t->n_cols + col].text;
        size_t      w = s ? hone_display_width(s) : 0;
        if (w > width) width = w;
    }
    return width;
}

/* One line of columns 0 and first .. end - 1: a header (row NULL) or a row. */
static void print_line(const hone_cli *c, const hone_table *t, const size_t *width, size_t first, size_t end, const char *const *header, hone_style style, const cell *row)
{
    for (size_t j = 0; j < end; j = j ? j + 1 : first) {
        const char *s = row ? row[j].text : header[j];
        (void)fputs("  ", stdout);
        put_padded(c, row ? row[j].style : style, s ? s : "", width[j], t->right[j], j + 1 == end);
    }
    (void)putchar('\n');
}

void hone_table_print(hone_cli *c, hone_table *t)
{
    size_t *width = HONE_ARENA_NEW(&c->arena, size_t, t->n_cols), first = 1, end;
    if (!width) no_memory();
    for (size_t j = 0; j < t->n_cols; j++) width[j] = width_of(t, j);
    do {
        size_t sum = 2 + width[0];
        for (end = first; end < t->n_cols && (!t->folds || end == first || sum + 2 + width[end] <= (size_t)c->width); end++) sum += 2 + width[end];
        bool units = t->unit[0] && t->unit[0][0];
        for (size_t j = first; j < end; j++) units = units || (t->unit[j] && t->unit[j][0]);
        if (first > 1) (void)putchar('\n');
        print_line(c, t, width, first, end, t->title, HONE_BOLD, NULL);
        if (units) print_line(c, t, width, first, end, t->unit, HONE_DIM, NULL);
        for (size_t i = 0; i < t->n_rows; i++) print_line(c, t, width, first, end, NULL, HONE_PLAIN, &t->cells[i * t->n_cols]);
        first = end;
    } while (first < t->n_cols);
}

const char *hone_doc_str(const json_t *o, const char *key, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : otherwise;
}
bool   hone_doc_has_num(const json_t *o, const char *key) { return json_is_number(json_object_get(o, key)); }
double hone_doc_num(const json_t *o, const char *key, double otherwise)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : otherwise;
}
