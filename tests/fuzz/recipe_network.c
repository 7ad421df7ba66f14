/* recipe_network - any bytes as the recipe of a network, once as they are and once with a digest that holds: refused with a cause, or a recipe that says the
 * same again; what it says of static int8, or of factors of channels, is done to a small model. */
#include "flow/net/recipe.h"
#include "flow/net/static.h"
#include "formats/onnx/net.h"
#include "resealed.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char MODEL[] = HONE_SOURCE_DATA_DIR "/tests/golden/net/mlp.onnx";

static void smooth(const hone_net_recipe *r)
{
    hone_net net;
    hone_err err = { 0 };
    if (hone_onnx_net_open(MODEL, &net, &err) != HONE_OK || hone_net_infer(&net, &err) != HONE_OK) abort();
    if (hone_net_smooth_again(&net, r->options.factors, &err) != HONE_OK) must_say_why(&err);
    hone_net_close(&net);
}

static void quantise(const hone_net_recipe *r)
{
    hone_net net;
    hone_err err = { 0 };
    if (hone_net_static_again(MODEL, r->known, r->options.no_fold, &net, &err) == HONE_OK) hone_net_close(&net);
    else must_say_why(&err);
}

/* What is written of it is read as the same. */
static void again(const hone_net_recipe *r, hone_arena *a)
{
    hone_bytes      text, second;
    hone_net_recipe other;
    hone_err        err = { 0 };
    if (hone_net_recipe_text(r, a, &text, &err) != HONE_OK) {
        must_say_why(&err);
        return;
    }
    if (hone_net_recipe_read(text, a, &other, &err) != HONE_OK || hone_net_recipe_text(&other, a, &second, &err) != HONE_OK) abort();
    if (text.len != second.len || memcmp(text.ptr, second.ptr, text.len) != 0) abort();
    hone_net_recipe_release(&other);
}

static void read_one(hone_bytes text, hone_arena *a)
{
    hone_net_recipe r;
    hone_err        err = { 0 };
    (void)hone_net_recipe_is(text);
    if (hone_net_recipe_read(text, a, &r, &err) != HONE_OK) {
        must_say_why(&err);
        return;
    }
    again(&r, a);
    if (r.known) quantise(&r);
    if (r.options.factors) smooth(&r);
    hone_net_recipe_release(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_resealed(data, size, read_one);
    return 0;
}
