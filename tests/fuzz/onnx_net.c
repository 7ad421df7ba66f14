/* onnx_net - any bytes as an ONNX model of any kind: refused with a cause, or a net whose uses and makers agree, whose shapes can be inferred, that can be
 * folded, that is the same net when it is written and read again, and that every quantising pass makes another such net of, or refuses. */
#include "formats/onnx/net.h"
#include "passes/net_fold.h"
#include "passes/net_quant.h"
#include "passes/net_static.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_value(const hone_net_value *v)
{
    size_t captures = 0;
    for (size_t i = 0; i < v->n_uses; i++) {
        const hone_net_use *u = &v->uses[i];
        captures += u->slot == HONE_NET_CAPTURE;
        if (u->slot != HONE_NET_CAPTURE && (u->slot >= u->node->n_in || u->node->in[u->slot] != v)) abort();
    }
    if (captures != v->n_captures) abort();
    if (v->from && (v->from_slot >= v->from->n_out || v->from->out[v->from_slot] != v)) abort();
}

static void check_net(const hone_net *net)
{
    size_t n = 0;
    for (size_t i = 0; i < net->values.cap; i++)
        if (net->values.at[i]) check_value(net->values.at[i]);
    for (const hone_net_node *k = net->first; k; k = k->next, n++) {
        if (k->next && k->next->prev != k) abort();
        for (uint32_t i = 0; i < k->n_in; i++)
            if (k->in[i] && !hone_net_find(net, k->in[i]->name)) abort();
    }
    if (n != net->n_nodes) abort();
    for (size_t i = 0; i < net->n_constants; i++) {
        const hone_net_tensor *t = net->constants[i] ? net->constants[i]->tensor : NULL;
        uint8_t                last;
        if (t && t->bytes && t->data && hone_net_tensor_read(net, t, t->bytes - 1, &last, 1, NULL) != HONE_OK) abort();
    }
}

static const char *dir(void)
{
    static char path[64];
    if (path[0]) return path;
    (void)snprintf(path, sizeof path, "/tmp/hone-fuzz-net-XXXXXX");
    if (!mkdtemp(path)) abort();
    return path;
}

static void remove_dir(void)
{
    char file[96];
    (void)snprintf(file, sizeof file, "%s/m.onnx", dir());
    (void)unlink(file);
    (void)rmdir(dir());
}

static bool all_in_memory(const hone_net *net)
{
    for (size_t i = 0; i < net->n_constants; i++)
        if (net->constants[i] && !net->constants[i]->tensor->data && net->constants[i]->tensor->in_file) return false;
    for (const hone_net_node *n = net->first; n; n = n->next)
        for (uint32_t i = 0; i < n->n_attrs; i++)
            if (n->attrs[i].t && n->attrs[i].t->in_file) return false;
    return true;
}

static void write_and_read(const hone_net *net)
{
    static bool           registered;
    char                  file[96];
    hone_net              again;
    hone_err              err = { 0 };
    hone_onnx_net_written w;
    if (!registered) registered = atexit(remove_dir) == 0;
    if (net->elsewhere) return; /* refused */
    if (hone_onnx_net_write(&(hone_ctx){ 0 }, net, dir(), "m.onnx", UINT64_MAX, &w, &err) != HONE_OK) abort();
    (void)snprintf(file, sizeof file, "%s/m.onnx", dir());
    if (hone_onnx_net_open(file, &again, &err) != HONE_OK || again.n_nodes != net->n_nodes || again.n_inputs != net->n_inputs || again.n_outputs != net->n_outputs) abort();
    check_net(&again);
    hone_net_close(&again);
}

/* ---- passes ---- */

static hone_code quantise_static(hone_net *net, const hone_static_options *opt, hone_err *err)
{
    hone_static_plan p;
    HONE_TRY(hone_static_plan_make(net, opt, &p, err));
    hone_static_range *r = calloc(p.n_values + 1, sizeof *r);
    if (!r) abort();
    for (size_t i = 0; i < p.n_values; i++) r[i] = (hone_static_range){ p.values[i], fmaxf(-2, p.clip_lo[i]), fminf(8, p.clip_hi[i]) };
    hone_code code = hone_static_apply(net, opt, r, p.n_values, NULL, 0, err);
    free(r);
    return code;
}

static hone_code pass(hone_net *net, unsigned number, hone_err *err)
{
    static const hone_net_quant_options eight = { .bits = 8 }, four = { .bits = 4, .group = 32 }, standard = { .bits = 4, .group = 32, .standard = true },
                                        half = { .keep_io = true };
    hone_net_quanted                    q;
    switch (number) {
    case 0: return hone_net_weights(net, &eight, &q, err);
    case 1: return hone_net_weights(net, &four, &q, err);
    case 2: return hone_net_weights(net, &standard, &q, err);
    case 3: return hone_net_dynamic(net, &eight, &q, err);
    case 4: return hone_net_to_f16(net, &eight, &q, err);
    case 5: return hone_net_to_f16(net, &half, &q, err);
    case 6: return quantise_static(net, &(hone_static_options){ .weight_max = 127 }, err);
    default: return quantise_static(net, &(hone_static_options){ .weight_max = 63, .per_tensor = true, .sym = true, .signed_codes = true }, err);
    }
}

enum { PASSES = 8 };

/* Each on a net of its own; odd rounds fold first, as is usual. */
static void run_passes(const uint8_t *data, size_t size)
{
    for (unsigned i = 0; i < 2 * PASSES; i++) {
        hone_net        net;
        hone_err        err = { 0 };
        hone_net_folded folded;
        if (hone_onnx_net_parse((hone_bytes){ data, size }, &net, &err) != HONE_OK) abort();
        (void)hone_net_demote_inputs(&net);
        hone_code code = i % 2 ? hone_net_fold(&net, &folded, &err) : HONE_OK;
        if (code == HONE_OK) code = hone_net_infer(&net, &err);
        if (code == HONE_OK) code = pass(&net, i / 2, &err);
        if (code == HONE_ERESOURCE || code == HONE_EBUG) abort(); /* nothing here needs much */
        if (code == HONE_OK) {
            check_net(&net);
            if (i % 2) write_and_read(&net);
        }
        hone_net_close(&net);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_net        net;
    hone_err        err = { 0 };
    hone_net_folded folded;
    if (hone_onnx_net_parse((hone_bytes){ data, size }, &net, &err) != HONE_OK) {
        if (err.code == HONE_OK || err.cause[0] == '\0') abort();
        return 0;
    }
    check_net(&net);
    if (size < 4096 && all_in_memory(&net)) {
        write_and_read(&net);
        run_passes(data, size);
    }
    if (hone_net_infer(&net, &err) != HONE_OK) abort();
    for (const hone_net_node *n = net.first; n; n = n->next) {
        uint64_t macs;
        (void)hone_net_macs(n, &macs);
    }
    (void)hone_net_demote_inputs(&net);
    if (hone_net_fold(&net, &folded, &err) == HONE_OK) check_net(&net);
    hone_net_close(&net);
    return 0;
}
