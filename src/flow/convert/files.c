/* files.c - the files of a conversion: all under temporary names until all of them are written, synced and read back. */
#include "base/text.h"
#include "base/pool.h"
#include "flow/convert/conversion.h"
#include "hw/hw.h"
#include <inttypes.h>
#include <stdlib.h>

#define COPY_BYTES (1u << 20)

/* Tiles are all we hold, so this fails only where there is hardly any memory, or with very many threads. */
static hone_code check_memory(const hone_conversion *j, uint64_t needed, const char *folder, hone_err *err)
{
    json_t *memory = NULL;
    HONE_TRY(hone_hw_memory(&(hone_hw_query){ .ctx = j->ctx, .roots = &hone_hw_machine, .folder = folder }, &memory, err));
    const json_t *v = json_object_get(memory, "available_bytes");
    uint64_t      have = json_is_integer(v) ? (uint64_t)json_integer_value(v) : 0;
    json_decref(memory);
    if (have && needed > have)
        return HONE_FAIL(err, HONE_ERESOURCE, "use fewer --threads, or free memory", "the conversion needs %" PRIu64 " bytes of memory, %" PRIu64
                         " are available", needed, have);
    return HONE_OK;
}

hone_code hone_conversion_put_head(hone_planned_file *f, hone_err *err)
{
    HONE_TRY(hone_out_write(&f->out, 0, f->head.ptr, f->head.len, err));
    if (!f->copy) return HONE_OK;
    hone_file in = HONE_FILE_CLOSED;
    HONE_TRY(hone_file_open(f->copy, &in, err));
    uint8_t  *buf = malloc(COPY_BYTES);
    hone_code code = buf ? HONE_OK : HONE_NOMEM(err, "a copy");
    for (uint64_t at = 0; code == HONE_OK && at < f->total; at += COPY_BYTES) {
        size_t n = f->total - at < COPY_BYTES ? (size_t)(f->total - at) : COPY_BYTES;
        code = hone_file_read(&in, at, buf, n, err);
        if (code == HONE_OK) code = hone_out_write(&f->out, at, buf, n, err);
    }
    free(buf);
    hone_file_close(&in);
    return code;
}

/* Where rows of output k will lie: its files' digests wait for them. */
static void expect_rows(hone_output *o)
{
    for (size_t i = 0; i < o->n_weights; i++) {
        const hone_planned *p = &o->plan[i];
        uint64_t            rows = hone_weight_rows(&o->weights[i]);
        for (uint32_t s = 0; s < p->n_streams; s++) {
            const hone_place *at = &p->at[s];
            hone_digest      *d = o->files[at->file].out.digest;
            uint64_t          one = at->row_bits / 8;
            if (p->step < 2) hone_digest_expect(d, at->offset, (rows * at->row_bits + 7) / 8);
            for (uint64_t r = 0; p->step > 1 && r < rows; r++) hone_digest_expect(d, at->offset + r * p->step * one, one);
        }
    }
}

/* Opens one file of output k, takes its bytes on disk, and writes what is not rows of weights. */
static hone_code begin_file(hone_conversion *j, size_t k, hone_planned_file *f, hone_err *err)
{
    const hone_output *o = &j->outputs[k];
    const char        *path = f->name ? hone_arena_printf(&j->arena, "%s/%s", j->folders[k].tmp, f->name) : o->path;
    if (!path) return HONE_NOMEM(err, "a path");
    HONE_TRY(hone_out_open(path, f->total, &f->out, err));
    HONE_TRY(hone_out_digest(&f->out, f->total, err));
    hone_digest_expect(f->out.digest, 0, f->head.len);
    if (f->copy) hone_digest_expect(f->out.digest, 0, f->total);
    return HONE_OK;
}

static hone_code begin_output(hone_conversion *j, size_t k, hone_err *err)
{
    hone_output *o = &j->outputs[k];
    if (o->folder) HONE_TRY(hone_folder_open(o->path, o->format->owns, &j->folders[k], err));
    for (size_t i = 0; i < o->n_files; i++) HONE_TRY(begin_file(j, k, &o->files[i], err));
    expect_rows(o);
    for (size_t i = 0; i < o->n_files; i++) HONE_TRY(hone_conversion_put_head(&o->files[i], err));
    return HONE_OK;
}

/* The reader shares no code with the writer: what it finds under the temporary name must be what was planned. */
static hone_code reread(void *user, const char *tmp, hone_err *err)
{
    const hone_output *o = user;
    if (o->format->reread(o, tmp, err) == HONE_OK) return HONE_OK;
    hone_err_wrap(err, "the file just written cannot be read back");
    if (err) err->code = HONE_EBUG;
    return HONE_EBUG;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const hone_planned_file *)a)->name, ((const hone_planned_file *)b)->name);
}

/* A folder's digest is that of its list of digests: `sha256sum * | sha256sum` in the folder, names in byte order. */
static hone_code digest_folder(hone_output *o, char hex[65], hone_err *err)
{
    hone_text list = { 0 };
    hone_code code = HONE_OK;
    qsort(o->files, o->n_files, sizeof *o->files, by_name);
    for (size_t i = 0; i < o->n_files; i++) hone_text_addf(&list, "%s  %s\n", o->files[i].sha256, o->files[i].name);
    if (list.failed) code = HONE_NOMEM(err, "a digest");
    if (code == HONE_OK) code = hone_sha256((hone_bytes){ (const uint8_t *)list.ptr, list.len }, hex, err);
    hone_text_release(&list);
    return code;
}

typedef struct ending { hone_conversion *j; hone_convert_result *res; } ending;

/* A job of base/pool.h: while one output is synced, another's last chunks are hashed.  After it the output is whole, under its temporary name. */
static hone_code seal_output(void *user, size_t k, unsigned worker, hone_err *err)
{
    const ending   *e = user;
    hone_conversion *j = e->j;
    hone_output    *o = &j->outputs[k];
    char           *hex = e->res->outputs[k].sha256;
    (void)worker;
    for (size_t i = 0; i < o->n_files; i++) HONE_TRY(hone_digest_finish(o->files[i].out.digest, o->files[i].sha256, err));
    if (!o->folder) {
        memcpy(hex, o->files->sha256, sizeof o->files->sha256);
        return hone_out_seal(&o->files->out, reread, o, err);
    }
    for (size_t i = 0; i < o->n_files; i++) HONE_TRY(hone_out_commit(&o->files[i].out, NULL, NULL, err));
    HONE_TRY(reread(o, j->folders[k].tmp, err));
    return digest_folder(o, hex, err);
}

static hone_code name_output(hone_conversion *j, size_t k, hone_err *err)
{
    return j->outputs[k].folder ? hone_folder_name(&j->folders[k], err) : hone_out_name(&j->outputs[k].files->out, err);
}

/* What cannot be taken back is said: the answer is no, and yet something new is there. */
static void take_back(hone_conversion *j, size_t k, hone_err *err)
{
    bool done = j->outputs[k].folder ? hone_folder_take_back(&j->folders[k]) : hone_out_take_back(&j->outputs[k].files->out);
    if (!done) hone_err_wrap(err, "'%s' is new and stays, not all is", j->outputs[k].path);
}

/* All or none: names are given when every output is whole, one after another, and a name that cannot be given takes the others back.  Only the
 * end of the process between two names leaves some of them; the run that follows takes what has none. */
static hone_code name_all(hone_conversion *j, const char *folder, hone_err *err)
{
    if (hone_ctx_cancelled(j->ctx)) return HONE_INTERRUPTED(err);
    for (size_t k = 0; k < j->n_outputs; k++) {
        hone_code code = name_output(j, k, err);
        if (code == HONE_OK) continue;
        while (k-- > 0) take_back(j, k, err);
        return code;
    }
    hone_dir_sync(folder);
    return HONE_OK;
}

/* After every job; a file that another thread is hashing is left to it. */
static hone_code run_job(void *user, size_t index, unsigned worker, hone_err *err)
{
    hone_conversion *j = user;
    HONE_TRY(hone_conversion_run_job(j, index, worker, err));
    for (size_t k = 0; k < j->n_outputs; k++)
        for (size_t i = 0; i < j->outputs[k].n_files; i++) HONE_TRY(hone_digest_advance(j->outputs[k].files[i].out.digest, err));
    return HONE_OK;
}

hone_code hone_conversion_take_memory(hone_conversion *j, const char *folder, hone_err *err)
{
    HONE_TRY(check_memory(j, j->threads * j->scratch_each + j->arena.total + j->m->arena.total, folder, err));
    j->scratch = aligned_alloc(64, j->threads * j->scratch_each);
    return j->scratch ? HONE_OK : HONE_NOMEM(err, "tiles");
}

hone_code hone_conversion_write(hone_conversion *j, const hone_convert_options *opt, hone_convert_result *res, hone_err *err)
{
    uint64_t have;
    HONE_TRY(hone_conversion_take_memory(j, opt->out_dir, err));
    HONE_TRY(hone_dir_make(opt->out_dir, err));
    HONE_TRY(hone_disk_free(opt->out_dir, &have, err));
    if (have < res->disk_needed)
        return HONE_FAIL(err, HONE_ERESOURCE, "free disk space, choose another folder or fewer encodings",
                         "the output needs %" PRIu64 " bytes, '%s' has %" PRIu64 " free", res->disk_needed, opt->out_dir, have);
    for (size_t k = 0; k < j->n_outputs; k++) HONE_TRY(begin_output(j, k, err));
    HONE_TRY(hone_conversion_run(j, run_job, err));
    HONE_TRY(hone_conversion_put_kept(j, err));
    HONE_TRY(hone_pool_run(j->ctx, j->n_outputs, seal_output, &(ending){ j, res }, err));
    return name_all(j, opt->out_dir, err);
}

void hone_conversion_discard(hone_conversion *j)
{
    for (size_t k = 0; k < HONE_MAX_OUTPUTS; k++) {
        for (size_t i = 0; i < j->outputs[k].n_files; i++) hone_out_discard(&j->outputs[k].files[i].out);
        hone_folder_discard(&j->folders[k]);
    }
}
