/* calibrate.c - `hone calibrate`, from a source and texts to a file of statistics. */
#include "flow/calibrate.h"
#include "base/clock.h"
#include "base/file.h"
#include "flow/calibrate/parts.h"
#include "formats/files.h"
#include "hw/hw.h"
#include <inttypes.h>

static const uint64_t BUDGET_LEAST = (uint64_t)64 << 20; /* bytes */

/* What Hessians may take, and whether the largest fits at all. */
static hone_code find_budget(hone_calib *c, hone_err *err)
{
    json_t  *memory = NULL;
    uint64_t widest = 0, square = 0;
    for (size_t i = 0; i < c->n_inputs; i++) widest = c->inputs[i].n_cols > widest ? c->inputs[i].n_cols : widest;
    HONE_TRY(hone_hw_memory(&(hone_hw_query){ .ctx = c->ctx, .roots = &hone_hw_machine, .folder = "." }, &memory, err));
    const json_t  *v = json_object_get(memory, "available_bytes");
    const uint64_t have = json_is_integer(v) ? (uint64_t)json_integer_value(v) : 0;
    json_decref(memory);
    c->budget = c->opt->ram_bytes ? c->opt->ram_bytes : have / 2 > BUDGET_LEAST ? have / 2 : BUDGET_LEAST;
    if (!hone_size_mul(widest * widest, sizeof(float), &square)) square = UINT64_MAX;
    const uint64_t least = hone_gram_bytes((uint32_t)widest);
    if (have && (least > have || square > have - least))
        return HONE_FAIL(err, HONE_ERESOURCE, "leave out --hessian, or free memory", "one Hessian of %" PRIu64 " columns needs %" PRIu64 " bytes of memory, %" PRIu64
                         " are available", widest, least + square, have);
    c->budget = c->budget > square ? c->budget - square : 0; /* the one that is being written */
    return HONE_OK;
}

static hone_code check_disk(const hone_calib *c, hone_err *err)
{
    uint64_t free_bytes = 0, need = hone_calib_hessian_bytes(c);
    HONE_TRY(hone_disk_free(c->opt->out, &free_bytes, err));
    if (need > free_bytes)
        return HONE_FAIL(err, HONE_ERESOURCE, "leave out --hessian, or write to another disk", "the Hessians need %" PRIu64 " bytes, %" PRIu64 " are free where '%s' goes",
                         need, free_bytes, c->opt->out);
    return HONE_OK;
}

static hone_code write_file(hone_calib *c, hone_err *err)
{
    hone_stats        s = { 0 };
    hone_stats_origin o = { .n_texts = c->opt->n_texts, .chunk_size = c->context, .tied = c->tied };
    hone_stats_text  *texts = HONE_ARENA_NEW(&c->arena, hone_stats_text, o.n_texts);
    if (!texts) return HONE_NOMEM(err, "names of texts");
    for (size_t i = 0; i < o.n_texts; i++) {
        texts[i] = (hone_stats_text){ .path = c->texts[i].path, .name = c->texts[i].name, .tokens = c->texts[i].used };
        o.chunk_count += c->texts[i].n_chunks;
    }
    o.texts = texts;
    HONE_TRY(hone_calib_stats(c, &s, err));
    hone_event_step(c->ctx, "writing %s", c->opt->out);
    return hone_stats_write(c->opt->out, &s, &o, err);
}

static json_t *integer(uint64_t v) { return json_integer((json_int_t)v); }

static hone_code describe(const hone_calib *c, double seconds, json_t *doc, hone_err *err)
{
    json_t  *source = json_object(), *runtime = json_object(), *output = json_object(), *hessians = json_null();
    uint64_t tokens = 0, chunks = 0;
    char     sha256[65];
    hone_file f = HONE_FILE_CLOSED;
    for (size_t i = 0; i < c->opt->n_texts; i++) {
        tokens += c->texts[i].used;
        chunks += c->texts[i].n_chunks;
    }
    hone_code code = hone_sha256_file(c->opt->out, sha256, err);
    if (code == HONE_OK) code = hone_file_open(c->opt->out, &f, err);
    const uint64_t bytes = code == HONE_OK ? f.size : 0;
    hone_file_close(&f);
    bool ok = hone_json_put(source, "path", json_string(c->opt->source)) && hone_json_put(source, "architecture", json_string(c->model.facts.hf_class)) &&
              hone_json_put(source, "dtype", json_string(c->dtype));
    ok = hone_json_put(runtime, "name", json_string(c->child.info.runtime)) && hone_json_put(runtime, "version", json_string(c->child.info.version)) && ok;
    ok = hone_json_put(output, "path", json_string(c->opt->out)) && hone_json_put(output, "bytes", integer(bytes)) &&
         hone_json_put(output, "sha256", json_string(code == HONE_OK ? sha256 : "")) && ok;
    if (c->opt->hessian) {
        hessians = json_object();
        ok = hone_json_put(hessians, "matrices", integer(c->n_units)) && hone_json_put(hessians, "bytes", integer(hone_calib_hessian_bytes(c))) && ok;
    }
    ok = hone_json_put(doc, "source", source) && ok;
    ok = hone_json_put(doc, "runtime", runtime) && ok;
    ok = hone_json_put(doc, "output", output) && ok;
    ok = hone_json_put(doc, "hessians", hessians) && ok;
    ok = ok && hone_json_put(doc, "context", integer(c->context)) && hone_json_put(doc, "chunks", integer(chunks)) && hone_json_put(doc, "tokens", integer(tokens)) &&
         hone_json_put(doc, "passes", integer(c->passes)) && hone_json_put(doc, "weights", integer(c->n_weights)) &&
         hone_json_put(doc, "inputs", integer(c->n_inputs)) && hone_json_put(doc, "seconds", hone_json_real(seconds));
    if (code == HONE_OK && !ok) code = HONE_NOMEM(err, "the result");
    return code;
}

static hone_code calibrate(hone_calib *c, json_t *doc, hone_err *err)
{
    const double from = hone_now_s();
    HONE_TRY(hone_calib_open(c, err));
    HONE_TRY(hone_calib_discover(c, err));
    if (c->opt->hessian) HONE_TRY(find_budget(c, err));
    if (c->opt->hessian) HONE_TRY(check_disk(c, err));
    HONE_TRY(hone_calib_run(c, err));
    HONE_TRY(write_file(c, err));
    HONE_TRY(hone_calib_coverage(c, doc, err));
    return describe(c, hone_now_s() - from, doc, err);
}

hone_code hone_calibrate(const hone_ctx *ctx, const hone_calibrate_options *opt, json_t *doc, hone_err *err)
{
    hone_calib c = { .ctx = ctx, .opt = opt };
    hone_code  code = calibrate(&c, doc, err);
    hone_calib_close(&c);
    return code;
}
