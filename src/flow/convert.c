/* convert.c - the pipeline: read a tile of rows once, encode it for every output, write each at its place.
 * Memory is tiles x threads: no tensor is ever held whole, so peak RSS does not grow with the model. */
#include "flow/convert.h"
#include "arch/arch.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/pool.h"
#include "formats/gguf.h"
#include "formats/gguf/meta.h"
#include "formats/gguf/names.h"
#include "hw/hw.h"
#include "passes/gguf_layout.h"
#include "passes/limits.h"
#include "passes/mix.h"
#include "quant/codec.h"
#include "quant/weight.h"
#include <fnmatch.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* Floats in a tile.  1 MiB of source at two bytes a weight: large enough to keep system calls rare, small enough that two
 * tiles for each thread stay in the outer caches.  Measured flat between 256 Ki and 2 Mi floats. */
#define TILE_ELEMS (512u * 1024u)

typedef struct output {
    const hone_mix *mix;
    hone_dtype     *types;   /* [n_weights] */
    uint64_t       *offsets; /* [n_weights] absolute in the file */
    uint64_t        total;
    hone_bytes      head;
    size_t          fallbacks;
    hone_out        file;
    const char     *path;
} output;

typedef struct tiling { uint64_t first, step; } tiling; /* of a weight: its first tile among all, and rows in a full tile */

typedef struct job {
    const hone_ctx    *ctx;
    const hone_model  *m;
    hone_arena         arena;
    hone_weight       *weights; /* in output form, in file order */
    size_t             n_weights;
    char             (*names)[64];
    output             outputs[HONE_MAX_OUTPUTS];
    size_t             n_outputs;
    tiling            *tiles;   /* [n_weights] */
    size_t             n_tiles; /* of all weights */
    unsigned           threads; /* no more than there are tiles */
    uint8_t           *scratch; /* [threads][scratch_each] */
    size_t             scratch_each, floats_bytes, read_bytes;
    uint64_t           source_bytes;
    _Atomic uint64_t   done;
} job;

static uint64_t row_bytes(hone_dtype t, uint64_t cols)
{
    const hone_dtype_info *i = hone_dtype_get(t);
    return cols / i->block_elems * i->block_bytes;
}

/* --keep: the last pattern that matches a tensor's output name wins. */
static hone_code apply_keep(job *j, output *o, const hone_keep *keep, size_t n_keep, hone_err *err)
{
    for (size_t k = 0; k < n_keep; k++) {
        size_t     hits = 0, fixed = 0;
        hone_dtype t;
        if (!hone_dtype_from_name(keep[k].dtype, &t)) return HONE_FAIL(err, HONE_EUSAGE, "", "there is no type '%s'", keep[k].dtype);
        const hone_codec *codec = hone_codec_find(t);
        if (!codec || !codec->encode_row || hone_dtype_get(t)->gguf_id < 0)
            return HONE_FAIL(err, HONE_EUSAGE, "as in f16, q8_0, q6_k", "hone cannot write '%s' tensors", keep[k].dtype);
        for (size_t i = 0; i < j->n_weights; i++) {
            if (fnmatch(keep[k].pattern, j->names[i], 0) != 0) continue;
            if (t != HONE_DTYPE_F32 && !hone_mix_may_quantize(&j->weights[i])) {
                fixed++;
                continue;
            }
            hits++;
            uint64_t cols = hone_weight_cols(&j->weights[i]);
            uint32_t block = hone_dtype_get(t)->block_elems;
            if (cols % block != 0)
                return HONE_FAIL(err, HONE_EUSAGE, "choose a type with a smaller block, as q8_0 or f16",
                                 "tensor '%s' has %" PRIu64 " columns, %s needs a multiple of %u", j->names[i], cols, keep[k].dtype, block);
            o->types[i] = t;
        }
        if (hits == 0 && fixed)
            return HONE_FAIL(err, HONE_EUSAGE, "give them f32, or name matrices, as in 'blk.*.ffn_down.weight'",
                             "--keep '%s' matches %zu tensors that llama.cpp takes only as they are, none that could be %s", keep[k].pattern, fixed,
                             keep[k].dtype);
        if (hits == 0)
            return HONE_FAIL(err, HONE_EUSAGE, "--dry-run --json lists the tensor names", "--keep '%s' matches no tensor", keep[k].pattern);
    }
    return HONE_OK;
}

/* The file's name comes from --name or from the folder's; it stays inside the output folder. */
static hone_code choose_stem(const job *j, const hone_convert_options *opt, const char **stem, hone_err *err)
{
    *stem = opt->name ? opt->name : j->m->facts.name;
    if (strchr(*stem, '/'))
        return HONE_FAIL(err, HONE_EUSAGE, "name a folder with -o DIR", "the file name '%s' has a '/'", *stem);
    if (!**stem) *stem = "model";
    return HONE_OK;
}

static hone_code plan_output(job *j, output *o, const char *quant, const hone_convert_options *opt, hone_err *err)
{
    hone_arena         *a = &j->arena;
    const hone_arch    *arch = j->m->arch;
    const hone_weight **order = HONE_ARENA_NEW(a, const hone_weight *, j->n_weights + 1);
    hone_gguf_writer   *w;
    o->mix = hone_mix_find(quant);
    if (!o->mix) return HONE_FAIL(err, HONE_EUSAGE, "hone convert --help lists them", "gguf has no encoding '%.40s'", quant);
    o->types = HONE_ARENA_NEW(a, hone_dtype, j->n_weights + 1);
    o->offsets = HONE_ARENA_NEW(a, uint64_t, j->n_weights + 1);
    if (!order || !o->types || !o->offsets) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < j->n_weights; i++) order[i] = &j->weights[i];
    HONE_TRY(hone_mix_assign(o->mix, &j->m->facts, order, j->n_weights, false, o->types, &o->fallbacks, err));
    HONE_TRY(apply_keep(j, o, opt->keep, opt->n_keep, err));
    HONE_TRY(hone_gguf_writer_new(a, &w, err));
    HONE_TRY(hone_gguf_put_general(w, j->m, arch->gguf.name, o->mix->file_type, err));
    HONE_TRY(hone_gguf_put_facts(w, &j->m->facts, arch->gguf.name, err));
    HONE_TRY(hone_gguf_put_tokenizer(w, &j->m->tokenizer, j->m->facts.vocab, err));
    for (size_t i = 0; i < j->n_weights; i++)
        HONE_TRY(hone_gguf_put_tensor(w, j->names[i], o->types[i], j->weights[i].n_dims, j->weights[i].dims, err));
    HONE_TRY(hone_gguf_layout(w, o->offsets, &o->total, &o->head, err));
    const char *stem = NULL;
    HONE_TRY(choose_stem(j, opt, &stem, err));
    o->path = hone_arena_printf(a, "%s/%s-%s.gguf", opt->out_dir, stem, quant);
    return o->path ? HONE_OK : HONE_NOMEM(err, "a path");
}

static size_t whole_lines(uint64_t n) { return (size_t)((n + 63) & ~(uint64_t)63); }

/* Nothing here wraps: check_size has seen to it. */
static hone_code plan_tiles(job *j, hone_err *err)
{
    j->tiles = HONE_ARENA_NEW(&j->arena, tiling, j->n_weights + 1);
    if (!j->tiles) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < j->n_weights; i++) {
        const hone_weight *w = &j->weights[i];
        uint64_t           rows = hone_weight_rows(w), cols = hone_weight_cols(w), step = cols && cols < TILE_ELEMS ? TILE_ELEMS / cols : 1;
        if (cols == 0) rows = 0;
        if (step > rows) step = rows ? rows : 1;
        j->tiles[i] = (tiling){ j->n_tiles, step };
        j->n_tiles += (size_t)((rows + step - 1) / step);
        if (rows == 0) continue;
        size_t raw = whole_lines(hone_weight_scratch(w, step)), floats = whole_lines(step * cols * sizeof(float)), out = 0;
        for (size_t k = 0; k < j->n_outputs; k++) {
            size_t n = whole_lines(step * row_bytes(j->outputs[k].types[i], cols));
            if (n > out) out = n;
        }
        if (floats > j->floats_bytes) j->floats_bytes = floats;
        if (raw > j->read_bytes) j->read_bytes = raw;
        if (out > j->scratch_each) j->scratch_each = out;
    }
    j->scratch_each += j->floats_bytes + j->read_bytes;
    j->threads = hone_ctx_threads(j->ctx);
    if (j->threads > j->n_tiles) j->threads = j->n_tiles ? (unsigned)j->n_tiles : 1;
    return HONE_OK;
}

/* The weight that tile number index belongs to: the last one that begins at or before it (empty ones begin where the next does). */
static size_t weight_of_tile(const job *j, uint64_t index)
{
    size_t lo = 0, hi = j->n_weights;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (j->tiles[mid].first <= index) lo = mid;
        else hi = mid;
    }
    return lo;
}

static hone_code run_tile(void *user, size_t index, unsigned worker, hone_err *err)
{
    job               *j = user;
    size_t             i = weight_of_tile(j, index);
    const hone_weight *w = &j->weights[i];
    uint8_t           *mine = j->scratch + worker * j->scratch_each;
    float             *x = (float *)(void *)mine;
    uint8_t           *raw = mine + j->floats_bytes, *enc = raw + j->read_bytes;
    uint64_t           cols = hone_weight_cols(w), row0 = (index - j->tiles[i].first) * j->tiles[i].step, left = hone_weight_rows(w) - row0;
    uint64_t           rows = left < j->tiles[i].step ? left : j->tiles[i].step;
    HONE_TRY(hone_weight_read(j->m->source, w, row0, rows, x, raw, err));
    for (size_t k = 0; k < j->n_outputs; k++) {
        output           *o = &j->outputs[k];
        hone_dtype        type = o->types[i];
        const hone_codec *c = hone_codec_find(type);
        uint64_t          stride = row_bytes(type, cols);
        for (uint64_t r = 0; r < rows; r++) c->encode_row(x + r * cols, enc + r * stride, (size_t)cols, NULL);
        HONE_TRY(hone_out_write(&o->file, o->offsets[i] + row0 * stride, enc, (size_t)(rows * stride), err));
    }
    uint64_t done = atomic_fetch_add(&j->done, rows * cols) + rows * cols;
    /* Source bytes, near enough for a bar: computed weights (rope factors) are a few hundred bytes. */
    uint64_t esize = hone_dtype_get(w->dtype)->block_bytes / hone_dtype_get(w->dtype)->block_elems;
    hone_event_progress(j->ctx, "bytes", done * (esize ? esize : 1) < j->source_bytes ? done * (esize ? esize : 1) : j->source_bytes,
                        j->source_bytes);
    return HONE_OK;
}

/* The reader shares no code with the writer: what it finds in the temporary file must be what was planned. */
typedef struct expectation { const job *j; const output *o; } expectation;
static hone_code reread(void *user, const char *tmp, hone_err *err)
{
    const expectation *e = user;
    hone_arena         a = { 0 };
    hone_gguf          g;
    hone_code          code = hone_gguf_open(tmp, &a, &g, err);
    if (code != HONE_OK) {
        hone_arena_release(&a);
        hone_err_wrap(err, "the file just written cannot be read back");
        if (err) err->code = HONE_EBUG;
        return HONE_EBUG;
    }
    if (g.source->n_tensors != e->j->n_weights)
        code = HONE_FAIL(err, HONE_EBUG, "", "'%s' holds %zu tensors, planned were %zu", tmp, g.source->n_tensors, e->j->n_weights);
    for (size_t i = 0; code == HONE_OK && i < e->j->n_weights; i++) {
        const hone_weight *w = &e->j->weights[i];
        const hone_tensor *t = hone_source_find(g.source, e->j->names[i]);
        bool               same = t && t->dtype == e->o->types[i] && t->n_dims == w->n_dims && t->offset == e->o->offsets[i];
        for (uint32_t d = 0; same && d < w->n_dims; d++) same = t->dims[d] == w->dims[d];
        if (!same) code = HONE_FAIL(err, HONE_EBUG, "", "tensor '%s' of '%s' reads back differently from its plan", e->j->names[i], tmp);
    }
    g.source->close(g.source);
    hone_arena_release(&a);
    return code;
}

static bool put_plan(const job *j, json_t *plan)
{
    for (size_t i = 0; i < j->n_weights; i++) {
        const hone_weight *w = &j->weights[i];
        json_t            *row = json_object(), *dims = json_array(), *enc = json_object();
        bool               good = row && dims && enc;
        for (uint32_t d = 0; good && d < w->n_dims; d++) good = json_array_append_new(dims, json_integer((json_int_t)w->dims[d])) == 0;
        for (size_t k = 0; good && k < j->n_outputs; k++)
            good = hone_json_put(enc, j->outputs[k].mix->name, json_string(hone_dtype_name(j->outputs[k].types[i])));
        if (!good || !hone_json_put(row, "name", json_string(j->names[i])) || !hone_json_put(row, "role", json_string(hone_role_name(w->role))) ||
            !hone_json_put(row, "dims", dims) || !hone_json_put(row, "encodings", enc) || json_array_append_new(plan, row) != 0)
            return false;
    }
    return true;
}

/* What the consumer cannot do with this model: the user hears it before the work, and finds it in the result. */
static hone_code warn_of_limits(job *j, json_t *warnings, hone_err *err)
{
    const hone_limit *limits = NULL;
    size_t            n = 0;
    if (!j->ctx->data_dir) return HONE_OK;
    HONE_TRY(hone_limits_for(j->ctx->data_dir, "llama.cpp", &j->m->facts, &j->m->tokenizer, &j->arena, &limits, &n, err));
    for (size_t i = 0; i < n; i++) {
        const char *text = hone_arena_printf(&j->arena, "in llama.cpp: %s: %s (%s)", limits[i].feature, limits[i].consequence, limits[i].cause);
        if (!text || json_array_append_new(warnings, json_string(text)) != 0) return HONE_NOMEM(err, "the warnings");
        if (limits[i].harmless) hone_event_note(j->ctx, "%s", text);
        else hone_event_warn(j->ctx, NULL, "%s", text);
    }
    return HONE_OK;
}

/* Sizes are the file's word (and a file may be mostly holes).  With this many weights at most, no product below wraps: a weight takes at
 * most 8 bytes in a file and 24 in all buffers of a thread, and there are at most 1024 threads. */
#define MAX_WEIGHTS ((uint64_t)1 << 48)
static hone_code check_size(const job *j, uint64_t *elems, hone_err *err)
{
    *elems = 0;
    for (size_t i = 0; i < j->n_weights; i++) {
        const hone_weight *w = &j->weights[i];
        uint64_t           n = 1;
        bool               fits = true;
        for (uint32_t d = 0; fits && d < w->n_dims; d++) fits = hone_size_mul(n, w->dims[d], &n);
        if (!fits || n > MAX_WEIGHTS || *elems + n > MAX_WEIGHTS)
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "the model has more than 2^48 weights with tensor '%s'", j->names[i]);
        *elems += n;
    }
    return HONE_OK;
}

static hone_code prepare(job *j, const hone_convert_options *opt, hone_convert_result *res, hone_err *err)
{
    hone_arena *a = &j->arena;
    HONE_TRY(hone_gguf_rewrite(j->m, a, &j->weights, &j->n_weights, err));
    j->names = hone_arena_calloc(a, j->n_weights + 1, sizeof *j->names);
    if (!j->names) return HONE_NOMEM(err, "the plan");
    uint64_t elems = 0;
    for (size_t i = 0; i < j->n_weights; i++) {
        const hone_weight *w = &j->weights[i];
        HONE_TRY(hone_gguf_tensor_name(w->role, w->part, w->layer, j->names[i], sizeof j->names[i], err));
    }
    HONE_TRY(check_size(j, &elems, err));
    for (size_t i = 0; i < j->m->source->n_tensors; i++) j->source_bytes += j->m->source->tensors[i].bytes;
    for (j->n_outputs = 0; j->n_outputs < opt->n_quants; j->n_outputs++) {
        for (size_t k = 0; k < j->n_outputs; k++)
            if (strcmp(opt->quants[k], opt->quants[j->n_outputs]) == 0)
                return HONE_FAIL(err, HONE_EUSAGE, "name it once", "encoding '%s' is asked for twice", opt->quants[k]);
        j->outputs[j->n_outputs].file.fd = -1;
        HONE_TRY(plan_output(j, &j->outputs[j->n_outputs], opt->quants[j->n_outputs], opt, err));
    }
    HONE_TRY(plan_tiles(j, err));
    res->plan = json_array();
    res->warnings = json_array();
    if (!res->plan || !res->warnings || !put_plan(j, res->plan)) return HONE_NOMEM(err, "the plan");
    HONE_TRY(warn_of_limits(j, res->warnings, err));
    for (size_t k = 0; k < j->n_outputs; k++) {
        output              *o = &j->outputs[k];
        hone_convert_output *r = &res->outputs[k];
        (void)snprintf(r->format, sizeof r->format, "gguf");
        (void)snprintf(r->quantization, sizeof r->quantization, "%s", o->mix->name);
        if ((size_t)snprintf(r->path, sizeof r->path, "%s", o->path) >= sizeof r->path)
            return HONE_FAIL(err, HONE_EUSAGE, "use a shorter folder", "output path has %zu bytes, %zu fit", strlen(o->path), sizeof r->path - 1);
        r->bytes = o->total;
        uint64_t weight_bytes = 0;
        for (size_t i = 0; i < j->n_weights; i++)
            weight_bytes += hone_weight_rows(&j->weights[i]) * row_bytes(o->types[i], hone_weight_cols(&j->weights[i]));
        r->bpw = elems ? 8.0 * (double)weight_bytes / (double)elems : 0;
        res->disk_needed += o->total;
        if (o->fallbacks)
            hone_event_note(j->ctx, "%s: %zu tensor%s kept wider, their rows are no multiple of the block", o->mix->name, o->fallbacks,
                            o->fallbacks == 1 ? "" : "s");
    }
    res->n_outputs = j->n_outputs;
    res->ram_needed = j->threads * j->scratch_each + j->arena.total + j->m->arena.total;
    res->read_bytes = j->source_bytes;
    return HONE_OK;
}

/* What --dry-run says about time: one tile of every encoding in use is read and encoded here and now, the rest is arithmetic. */
static hone_code estimate_time(job *j, double *seconds, hone_err *err)
{
    double per_elem[HONE_DTYPE_COUNT] = { 0 }, read_s = 0, read_elems = 0, total = 0;
    *seconds = 0;
    if (j->n_tiles == 0) return HONE_OK;
    j->scratch = aligned_alloc(64, j->scratch_each);
    if (!j->scratch) return HONE_NOMEM(err, "a tile");
    float   *x = (float *)(void *)j->scratch;
    uint8_t *raw = j->scratch + j->floats_bytes, *enc = raw + j->read_bytes;
    for (size_t k = 0; k < j->n_outputs; k++)
        for (size_t i = 0; i < j->n_weights; i++) {
            const hone_weight *w = &j->weights[i];
            hone_dtype         type = j->outputs[k].types[i];
            uint64_t           cols = hone_weight_cols(w), rows = j->tiles[i].step; /* its first tile */
            if (per_elem[type] > 0 || hone_weight_elems(w) == 0) continue;
            double t0 = hone_now_s();
            HONE_TRY(hone_weight_read(j->m->source, w, 0, rows, x, raw, err));
            double t1 = hone_now_s();
            for (uint64_t r = 0; r < rows; r++) hone_codec_find(type)->encode_row(x + r * cols, enc, (size_t)cols, NULL);
            per_elem[type] = (hone_now_s() - t1) / (double)(rows * cols);
            read_s += t1 - t0;
            read_elems += (double)(rows * cols);
        }
    for (size_t i = 0; i < j->n_weights; i++) {
        double n = (double)hone_weight_elems(&j->weights[i]);
        total += read_elems > 0 ? n * read_s / read_elems : 0;
        for (size_t k = 0; k < j->n_outputs; k++) total += n * per_elem[j->outputs[k].types[i]];
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *seconds = total / (cores > 0 && (unsigned long)cores < j->threads ? (double)cores : (double)j->threads);
    return HONE_OK;
}

/* Tiles are all we hold, so this fails only where there is hardly any memory, or with very many threads. */
static hone_code check_memory(const job *j, uint64_t needed, const char *folder, hone_err *err)
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

static hone_code write_all(job *j, const hone_convert_options *opt, hone_convert_result *res, hone_err *err)
{
    uint64_t have;
    HONE_TRY(check_memory(j, res->ram_needed, opt->out_dir, err));
    HONE_TRY(hone_dir_make(opt->out_dir, err));
    HONE_TRY(hone_disk_free(opt->out_dir, &have, err));
    if (have < res->disk_needed)
        return HONE_FAIL(err, HONE_ERESOURCE, "free disk space, choose another folder or fewer encodings",
                         "the output needs %" PRIu64 " bytes, '%s' has %" PRIu64 " free", res->disk_needed, opt->out_dir, have);
    j->scratch = aligned_alloc(64, j->threads * j->scratch_each);
    if (!j->scratch) return HONE_NOMEM(err, "tiles");
    for (size_t k = 0; k < j->n_outputs; k++) {
        output *o = &j->outputs[k];
        HONE_TRY(hone_out_open(o->path, o->total, &o->file, err));
        HONE_TRY(hone_out_write(&o->file, 0, o->head.ptr, o->head.len, err));
    }
    HONE_TRY(hone_pool_run(j->ctx, j->n_tiles, run_tile, j, err));
    for (size_t k = 0; k < j->n_outputs; k++) {
        output *o = &j->outputs[k];
        HONE_TRY(hone_out_commit(&o->file, reread, &(expectation){ j, o }, err));
        HONE_TRY(hone_sha256_file(o->path, res->outputs[k].sha256, err));
    }
    return HONE_OK;
}

hone_code hone_convert(const hone_ctx *ctx, const hone_model *m, const hone_convert_options *opt, hone_convert_result *res, hone_err *err)
{
    double begin = hone_now_s();
    job   *j = calloc(1, sizeof *j);
    if (!j) return HONE_NOMEM(err, "the conversion");
    j->ctx = ctx;
    j->m = m;
    *res = (hone_convert_result){ 0 };
    hone_code code = prepare(j, opt, res, err);
    if (code == HONE_OK) code = opt->dry_run ? estimate_time(j, &res->estimated_s, err) : write_all(j, opt, res, err);
    for (size_t k = 0; k < HONE_MAX_OUTPUTS; k++) hone_out_discard(&j->outputs[k].file);
    free(j->scratch);
    hone_arena_release(&j->arena);
    free(j);
    struct rusage ru;
    if (getrusage(RUSAGE_SELF, &ru) == 0) res->peak_rss_bytes = (uint64_t)ru.ru_maxrss * 1024u;
    res->seconds = hone_now_s() - begin;
    if (code != HONE_OK) hone_convert_result_release(res);
    return code;
}

void hone_convert_result_release(hone_convert_result *r)
{
    if (!r) return;
    json_decref(r->plan);
    json_decref(r->warnings);
    r->plan = r->warnings = NULL;
}
