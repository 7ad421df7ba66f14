/* recipe - any bytes as the recipe of a language model, once as they are and once with a digest that holds: refused with a cause, or a recipe that says
 * the same again; the conversion that it asks for is planned for a small model. */
#include "flow/convert/output.h"
#include "ir/stats.h"
#include "resealed.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Opened once: no plan changes anything of it. */
static const hone_model *small_model(void)
{
    static hone_model m;
    static bool       open;
    hone_err          err = { 0 };
    if (!open && hone_model_open(NULL, HONE_SOURCE_DATA_DIR "/tests/golden/tiny/starcoder2", &m, &err) != HONE_OK) {
        (void)fprintf(stderr, "%s\n", err.cause);
        abort();
    }
    open = true;
    return &m;
}

/* What hone verify does with a recipe, up to the first byte of an output. */
static void plan(const hone_recipe *r, hone_arena *a)
{
    const hone_ctx       ctx = { .data_dir = HONE_SOURCE_DATA_DIR };
    const char          *quant = hone_arena_printf(a, "%s=%s", r->format->name, r->quant);
    hone_model           m = *small_model();
    hone_convert_options options = r->options;
    hone_convert_result  res = { 0 };
    hone_err             err = { 0 };
    if (!quant) abort();
    if (r->model) m.facts.name = r->model;
    options.quants = &quant;
    options.n_quants = 1;
    options.out_dir = ".";
    options.name = "model";
    options.dry_run = true;
    if (hone_convert(&ctx, &m, &options, &res, &err) != HONE_OK) must_say_why(&err);
    hone_convert_result_release(&res);
}

static hone_code written(const hone_recipe *r, hone_arena *a, hone_bytes *out, hone_err *err)
{
    hone_model           m = { .facts = { .name = r->model } };
    hone_stats           stats = { 0 };
    hone_convert_options options = r->options;
    if (r->statistics) { /* sha256 in hexadecimal; a longer text is that of no file */
        (void)snprintf(stats.sha256, sizeof stats.sha256, "%s", r->statistics);
        options.stats = &stats;
    }
    return hone_recipe_text(&m, &options, r->format, r->quant, true, a, out, err);
}

/* What is written of it is read as the same. */
static void again(const hone_recipe *r, hone_arena *a)
{
    hone_bytes  text, second;
    hone_recipe other;
    hone_err    err = { 0 };
    if (written(r, a, &text, &err) != HONE_OK) {
        must_say_why(&err);
        return;
    }
    if (hone_recipe_read(text, a, &other, &err) != HONE_OK || written(&other, a, &second, &err) != HONE_OK) abort();
    if (text.len != second.len || memcmp(text.ptr, second.ptr, text.len) != 0) abort();
    hone_recipe_release(&other);
}

static void read_one(hone_bytes text, hone_arena *a)
{
    hone_recipe r;
    hone_err    err = { 0 };
    if (hone_recipe_read(text, a, &r, &err) != HONE_OK) {
        must_say_why(&err);
        return;
    }
    again(&r, a);
    plan(&r, a);
    hone_recipe_release(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_resealed(data, size, read_one);
    return 0;
}
