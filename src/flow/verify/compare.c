/* compare.c - the end of a conversion that looks instead of writing: every byte of every file against what is there. */
#include "base/text.h"
#include "flow/verify/parts.h"
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

static const hone_output *output(const hone_comparison *c) { return &c->j->outputs[0]; }

const char *hone_comparison_file(const hone_comparison *c, size_t file)
{
    const char *name = output(c)->files[file].name;
    return name ? name : c->paths[file];
}

static bool before(const hone_difference *a, const hone_difference *b)
{
    if (b->kind == HONE_DIFFERS_NOT) return true;
    int k = strcmp(a->file, b->file);
    return k < 0 || (k == 0 && a->offset < b->offset);
}

void hone_comparison_note(hone_comparison *c, const hone_difference *d)
{
    (void)pthread_mutex_lock(&c->lock);
    if (before(d, &c->first)) c->first = *d;
    (void)pthread_mutex_unlock(&c->lock);
}

/* ---- bytes ---- */

typedef struct tally { uint64_t bytes, blocks; size_t first; } tally; /* first: of the bytes that differ */

/* Blocks are told apart in bits: those of four-bit codes may begin inside a byte. */
static tally count(const hone_comparison *c, const hone_difference *d, uint64_t off, const uint8_t *want, const uint8_t *found, size_t n, size_t n_found)
{
    const hone_planned *p = d->kind == HONE_DIFFERS_TENSOR ? &c->plan[d->weight] : NULL;
    uint64_t            cols = p ? hone_weight_cols(&output(c)->weights[d->weight]) : 0, bits = p ? hone_comparison_block_bits(p, d->stream, cols) : 0;
    uint64_t            row_bits = p ? p->at[d->stream].row_bits : 0, gap = p && p->step > 1 ? p->step : 1, last = UINT64_MAX;
    tally               t = { .first = n };
    for (size_t i = 0; i < n; i++) {
        uint8_t x = i < n_found ? want[i] ^ found[i] : 0xff;
        if (!x) continue;
        if (t.first == n) t.first = i;
        t.bytes++;
        for (unsigned half = 0; p && half < 2; half++) {
            if (!(x >> (4 * half) & 15)) continue;
            uint64_t at = 8 * (off + i - p->at[d->stream].offset) + 4 * half;
            uint64_t row = at / (row_bits * gap), in = at % (row_bits * gap), block = row * ((row_bits + bits - 1) / bits) + in / bits;
            t.blocks += block != last;
            last = block;
        }
    }
    return t;
}

static void differs(void *user, const hone_out *o, uint64_t off, const uint8_t *want, const uint8_t *found, size_t n, size_t n_found)
{
    hone_comparison *c = user;
    size_t           file = 0;
    while (&output(c)->files[file].out != o) file++;
    const hone_planned_file *f = &output(c)->files[file];
    hone_difference          d = { .kind = HONE_DIFFERS_HEADER, .file = hone_comparison_file(c, file) };
    if (off >= f->head.len && !f->copy)
        d.kind = hone_comparison_place(c, file, off, &d.weight, &d.stream, &d.row, &d.block) ? HONE_DIFFERS_TENSOR : HONE_DIFFERS_PADDING;
    tally t = count(c, &d, off, want, found, n, n_found);
    d.offset = off + t.first;
    if (d.kind == HONE_DIFFERS_TENSOR) (void)hone_comparison_place(c, file, d.offset, &d.weight, &d.stream, &d.row, &d.block);
    for (size_t i = t.first; i < n && d.n_want < HONE_SAMPLE; i++) d.want[d.n_want++] = want[i];
    for (size_t i = t.first; i < n_found && d.n_found < HONE_SAMPLE; i++) d.found[d.n_found++] = found[i];
    (void)pthread_mutex_lock(&c->lock);
    if (before(&d, &c->first)) c->first = d;
    c->bytes_differ += t.bytes;
    c->blocks_differ += t.blocks;
    if (d.kind == HONE_DIFFERS_TENSOR) c->touched[d.weight] = 1;
    (void)pthread_mutex_unlock(&c->lock);
}

/* ---- files ---- */

hone_code hone_comparison_note_file(hone_comparison *c, const char *name, hone_differs kind, uint64_t want, uint64_t found, hone_err *err)
{
    static const char *const words[] = { [HONE_DIFFERS_MISSING] = "missing", [HONE_DIFFERS_EXTRA] = "extra", [HONE_DIFFERS_TRUNCATED] = "truncated",
                                         [HONE_DIFFERS_LONGER] = "longer" };
    hone_difference d = { .kind = kind, .file = name, .offset = want < found ? want : found };
    bool            has_want = kind != HONE_DIFFERS_EXTRA, has_found = kind != HONE_DIFFERS_MISSING;
    json_t         *row = json_pack("{s:s,s:s,s:o,s:o}", "file", name, "what", words[kind], "expected_bytes", has_want ? json_integer((json_int_t)want) : json_null(),
                                    "found_bytes", has_found ? json_integer((json_int_t)found) : json_null());
    hone_comparison_note(c, &d);
    return row && json_array_append_new(c->files, row) == 0 ? HONE_OK : HONE_NOMEM(err, "the comparison");
}

static hone_code check_size(hone_comparison *c, size_t file, hone_err *err)
{
    const hone_planned_file *f = &output(c)->files[file];
    struct stat              st;
    const char              *name = hone_comparison_file(c, file);
    if (f->out.fd < 0) return hone_comparison_note_file(c, name, HONE_DIFFERS_MISSING, f->total, 0, err);
    if (fstat(f->out.fd, &st) != 0) return HONE_FAIL(err, HONE_ERESOURCE, "", "cannot ask for the size of '%s'", c->paths[file]);
    uint64_t size = (uint64_t)st.st_size;
    if (size == f->total) return HONE_OK;
    return hone_comparison_note_file(c, name, size < f->total ? HONE_DIFFERS_TRUNCATED : HONE_DIFFERS_LONGER, f->total, size, err);
}

/* What is no rows of weights; a difference in it is told by the names of its keys. */
static hone_code check_head(hone_comparison *c, size_t file, hone_err *err)
{
    hone_planned_file *f = &c->j->outputs[0].files[file];
    hone_difference    kept = c->first;
    uint64_t           bytes = c->bytes_differ;
    c->first = (hone_difference){ 0 };
    HONE_TRY(hone_conversion_put_head(f, err));
    hone_difference here = c->first;
    c->first = kept;
    if (here.kind == HONE_DIFFERS_NOT) return HONE_OK;
    hone_comparison_note(c, &here);
    /* A file that is cut or missing is told so; the keys of the rest say nothing. */
    return f->out.fd >= 0 && c->bytes_differ > bytes ? hone_metadata_file(c, file, here.offset, err) : HONE_OK;
}

hone_code hone_comparison_note_extra(hone_comparison *c, const char *file, hone_err *err)
{
    char        shown[300];
    struct stat st;
    const char *path = hone_arena_printf(c->a, "%s/%s", c->found->dir, file), *name = hone_arena_strdup(c->a, hone_text_show(file, strlen(file), shown, sizeof shown));
    if (!path || !name) return HONE_NOMEM(err, "a path");
    return hone_comparison_note_file(c, name, HONE_DIFFERS_EXTRA, 0, lstat(path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0, err);
}

static hone_code check_extra(hone_comparison *c, hone_err *err)
{
    const hone_found *f = c->found;
    for (size_t i = 0; f->dir && i < f->n_names; i++) {
        bool known = false;
        for (size_t k = 0; !known && k < output(c)->n_files; k++) known = strcmp(output(c)->files[k].name, f->names[i]) == 0;
        if (known) continue;
        HONE_TRY(hone_comparison_note_extra(c, f->names[i], err));
    }
    return HONE_OK;
}

/* The files that the plan speaks of, as they are called here: parts may have another prefix than the one that they were made with. */
static hone_code name_files(hone_comparison *c, hone_err *err)
{
    hone_output       *o = &c->j->outputs[0];
    const hone_found  *f = c->found;
    const char       **paths = HONE_ARENA_NEW(c->a, const char *, o->n_files + 1);
    if (!paths) return HONE_NOMEM(err, "a path");
    if (o->folder != (f->dir != NULL))
        return HONE_FAIL(err, HONE_ENO, "is this the source that it was made from?", "'%s' is %s, the source and the recipe give %s", f->path,
                         f->dir ? "a folder of files" : "one file", o->folder ? "a folder of files" : "one file");
    for (size_t i = 0; i < o->n_files; i++) {
        if (f->prefix) o->files[i].name = hone_arena_printf(c->a, "%s-%05zu-of-%05zu.gguf", f->prefix, i + 1, o->n_files);
        paths[i] = f->dir ? hone_arena_printf(c->a, "%s/%s", f->dir, o->files[i].name) : f->path;
        if (!paths[i] || (f->prefix && !o->files[i].name)) return HONE_NOMEM(err, "a path");
    }
    c->paths = paths;
    return HONE_OK;
}

static hone_code planned(void *self, hone_conversion *j, hone_err *err)
{
    hone_comparison *c = self;
    c->j = j;
    HONE_TRY(name_files(c, err));
    if (c->found->gguf) HONE_TRY(hone_comparison_gguf(c, err));
    c->plan = output(c)->plan;
    c->n_weights = output(c)->n_weights;
    c->touched = HONE_ARENA_NEW(c->a, uint8_t, c->n_weights + 1);
    return c->touched ? HONE_OK : HONE_NOMEM(err, "the comparison");
}

static void count_compared(hone_comparison *c)
{
    const hone_output *o = output(c);
    for (size_t i = 0; i < o->n_weights; i++) {
        const hone_planned *p = &o->plan[i];
        uint64_t            rows = hone_weight_rows(&o->weights[i]), cols = hone_weight_cols(&o->weights[i]);
        for (uint32_t s = 0; cols && s < p->n_streams; s++) {
            uint64_t bits = hone_comparison_block_bits(p, s, cols);
            c->n_blocks += rows * ((p->at[s].row_bits + bits - 1) / bits);
        }
        if (c->by_name) c->n_bytes += hone_planned_bytes(p, rows);
    }
    for (size_t i = 0; !c->by_name && i < o->n_files; i++) c->n_bytes += o->files[i].total;
    c->n_files = o->n_files;
}

static const char *stream_name(const hone_planned *p, uint32_t stream)
{
    if (p->grouped.scheme == HONE_SCHEME_NONE) return "values";
    return stream == HONE_STREAM_CODES ? "codes" : stream == HONE_STREAM_SCALES ? "scales" : "zeros";
}

/* The plan and its names go with the conversion. */
static hone_code keep_names(hone_comparison *c, hone_err *err)
{
    hone_difference *d = &c->first;
    if (d->kind == HONE_DIFFERS_NOT) return HONE_OK;
    d->file = hone_arena_strdup(c->a, d->file);
    if (!d->file) return HONE_NOMEM(err, "the comparison");
    if (d->kind != HONE_DIFFERS_TENSOR) return HONE_OK;
    const hone_planned *p = &c->plan[d->weight];
    c->tensor = hone_arena_strdup(c->a, p->name);
    c->encoding = hone_arena_strdup(c->a, p->encoding);
    c->stream = stream_name(p, d->stream);
    return c->tensor && c->encoding ? HONE_OK : HONE_NOMEM(err, "the comparison");
}

static hone_code run(void *self, hone_conversion *j, hone_err *err)
{
    hone_comparison *c = self;
    hone_output     *o = &j->outputs[0];
    for (size_t i = 0; i < o->n_files; i++) {
        HONE_TRY(hone_out_compare(c->paths[i], &c->sink, &o->files[i].out, err));
        if (c->by_name) continue;
        HONE_TRY(check_size(c, i, err));
        HONE_TRY(check_head(c, i, err));
    }
    HONE_TRY(hone_conversion_take_memory(j, c->found->path, err));
    HONE_TRY(hone_conversion_run(j, hone_conversion_run_job, err));
    HONE_TRY(hone_conversion_put_kept(j, err));
    if (!c->by_name) HONE_TRY(hone_comparison_gaps(c, err));
    if (!c->by_name && (c->found->whole_dir || c->found->prefix)) HONE_TRY(check_extra(c, err));
    count_compared(c);
    HONE_TRY(hone_comparison_values(c, err));
    return keep_names(c, err);
}

hone_code hone_comparison_init(hone_comparison *c, hone_err *err)
{
    c->judge = (hone_judge){ .self = c, .planned = planned, .run = run };
    c->sink = (hone_out_judge){ .differs = differs, .user = c };
    c->metadata = json_array();
    c->files = json_array();
    if (!c->metadata || !c->files) return HONE_NOMEM(err, "the comparison");
    return pthread_mutex_init(&c->lock, NULL) == 0 ? HONE_OK : HONE_FAIL(err, HONE_ERESOURCE, "", "cannot make a lock");
}

void hone_comparison_release(hone_comparison *c)
{
    if (c->metadata && c->files) (void)pthread_mutex_destroy(&c->lock);
    json_decref(c->metadata);
    json_decref(c->files);
    json_decref(c->values);
    c->metadata = c->files = c->values = NULL;
}
