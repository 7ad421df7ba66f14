/* assess.c - what a network is: operators, shapes, parameters, multiplications; whether the real runtimes load it; whether it fits a target. */
#include "base/file.h"
#include "base/text.h"
#include "flow/net.h"
#include "flow/probe.h"
#include "formats/onnx/net.h"
#include "hw/target.h"
#include "runner/runner.h"
#include <stdlib.h>
#include <sys/stat.h>

typedef struct op_row { /* all nodes of one operator */
    const char *op, *domain;
    uint64_t    count, parameters, macs, unknown; /* unknown: nodes whose multiplications are not known */
} op_row;

typedef struct facts {
    op_row  *ops;
    size_t   n_ops;
    uint64_t parameters, bytes, macs, unknown, elementwise, peak; /* peak: largest sum of a node's inputs and outputs, in bytes */
    uint64_t by_type[32];
    size_t   unshaped; /* values whose shape is not known */
} facts;

static op_row *row_of(facts *f, hone_arena *a, const hone_net_node *n)
{
    for (size_t i = 0; i < f->n_ops; i++)
        if (strcmp(f->ops[i].op, n->op) == 0 && strcmp(f->ops[i].domain, n->domain) == 0) return &f->ops[i];
    if ((f->n_ops & (f->n_ops - 1)) == 0) {
        op_row *more = HONE_ARENA_NEW(a, op_row, f->n_ops ? 2 * f->n_ops : 1);
        if (!more) return NULL;
        if (f->n_ops) memcpy(more, f->ops, f->n_ops * sizeof *more);
        f->ops = more;
    }
    f->ops[f->n_ops] = (op_row){ .op = n->op, .domain = n->domain };
    return &f->ops[f->n_ops++];
}

static uint64_t bytes_of(const hone_net_value *v) { return hone_net_elems(v, 1) * hone_net_type_bits(v->type) / 8; }

/* Parameters are counted at the first node that reads them. */
static hone_code look_at(facts *f, hone_net *net, const hone_net_node *n, hone_err *err)
{
    uint64_t macs, live = 0;
    op_row  *r = row_of(f, &net->arena, n);
    if (!r) return HONE_NOMEM(err, "the operators");
    r->count++;
    if (hone_net_macs(n, &macs)) {
        r->macs += macs;
        f->macs += macs;
        if (!macs && n->n_out && n->out[0]) f->elementwise += hone_net_elems(n->out[0], 1);
    } else r->unknown++, f->unknown++;
    for (uint32_t i = 0; i < n->n_in; i++) {
        if (!n->in[i]) continue;
        const hone_net_tensor *t = n->in[i]->tensor;
        if (!t) live += bytes_of(n->in[i]);
        else if (n->in[i]->uses[0].node == n) r->parameters += t->n;
    }
    for (uint32_t i = 0; i < n->n_out; i++) {
        if (!n->out[i]) continue;
        live += bytes_of(n->out[i]);
        f->unshaped += n->out[i]->n_dims < 0;
    }
    if (live > f->peak) f->peak = live;
    return HONE_OK;
}

static hone_code gather(facts *f, hone_net *net, hone_err *err)
{
    for (const hone_net_node *n = net->first; n; n = n->next) HONE_TRY(look_at(f, net, n, err));
    for (size_t i = 0; i < net->n_constants; i++) {
        const hone_net_tensor *t = net->constants[i] ? net->constants[i]->tensor : NULL;
        if (!t) continue;
        f->parameters += t->n;
        f->bytes += t->bytes;
        f->by_type[t->type > 0 && t->type < 32 ? t->type : 0] += t->bytes;
    }
    return HONE_OK;
}

/* ---- as JSON ---- */

static json_t *shape_json(const hone_net_value *v)
{
    json_t *list = json_array();
    for (int32_t d = 0; list && d < v->n_dims; d++) {
        json_t *x = v->dims[d].n >= 0 ? json_integer(v->dims[d].n) : v->dims[d].name ? json_string(v->dims[d].name) : json_null();
        if (json_array_append_new(list, x ? x : json_null()) != 0) return NULL;
    }
    return v->n_dims < 0 ? (json_decref(list), json_null()) : list;
}

static json_t *ports_json(hone_net_value *const *v, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        (void)json_array_append_new(list, json_pack("{s:s%, s:s, s:o}", "name", v[i]->name, strlen(v[i]->name), "type", hone_net_type_name(v[i]->type), "shape", shape_json(v[i])));
    return list;
}

static int by_macs(const void *a, const void *b)
{
    const op_row *x = a, *y = b;
    if (x->macs != y->macs) return x->macs < y->macs ? 1 : -1;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : strcmp(x->op, y->op);
}

static json_t *operators_json(facts *f)
{
    json_t *list = json_array();
    if (f->n_ops) qsort(f->ops, f->n_ops, sizeof *f->ops, by_macs);
    for (size_t i = 0; list && i < f->n_ops; i++) {
        const op_row *o = &f->ops[i];
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:o, s:I}", "op", o->op, "domain", o->domain, "count", (json_int_t)o->count, "parameters",
                                                    (json_int_t)o->parameters, "macs", o->unknown ? json_null() : json_integer((json_int_t)o->macs), "unknown", (json_int_t)o->unknown));
    }
    return list;
}

static json_t *network_json(const hone_net *net, facts *f, const char *name, uint64_t file_bytes)
{
    json_t *types = json_object(), *opsets = json_object(), *o = json_object();
    bool    good = types && opsets && o;
    for (int32_t t = 1; good && t < 32; t++)
        if (f->by_type[t]) good = hone_json_put(types, hone_net_type_name(t), json_integer((json_int_t)f->by_type[t]));
    for (size_t i = 0; good && i < net->n_opsets; i++)
        good = hone_json_put(opsets, *net->opsets[i].domain ? net->opsets[i].domain : "ai.onnx", json_integer(net->opsets[i].version));
    uint64_t flops = 2 * f->macs + f->elementwise;
    good = good && hone_json_put(o, "name", json_string(name)) && hone_json_put(o, "producer", json_string(net->producer)) && hone_json_put(o, "ir_version", json_integer(net->ir_version)) &&
           json_object_set(o, "opsets", opsets) == 0 && hone_json_put(o, "nodes", json_integer((json_int_t)net->n_nodes)) &&
           hone_json_put(o, "parameters", json_integer((json_int_t)f->parameters)) && hone_json_put(o, "weights_bytes", json_integer((json_int_t)f->bytes)) &&
           hone_json_put(o, "file_bytes", json_integer((json_int_t)file_bytes)) && json_object_set(o, "weights_by_type", types) == 0 &&
           hone_json_put(o, "macs", json_integer((json_int_t)f->macs)) && hone_json_put(o, "flops", json_integer((json_int_t)flops)) &&
           hone_json_put(o, "macs_unknown_nodes", json_integer((json_int_t)f->unknown)) && hone_json_put(o, "values_without_shape", json_integer((json_int_t)f->unshaped)) &&
           hone_json_put(o, "activation_bytes", json_integer((json_int_t)f->peak)) && hone_json_put(o, "inputs", ports_json(net->inputs, net->n_inputs)) &&
           hone_json_put(o, "outputs", ports_json(net->outputs, net->n_outputs)) && hone_json_put(o, "operators", operators_json(f));
    json_decref(types);
    json_decref(opsets);
    if (good) return o;
    json_decref(o);
    return NULL;
}

/* ---- runtimes ---- */

/* "" : it loads. */
static void ask(const hone_ctx *ctx, const char *backend, const char *path, char *reason, size_t cap, char *version, size_t version_cap)
{
    hone_runner      *child = NULL;
    hone_err          err = { 0 };
    hone_backend_info info = { 0 };
    double            ms;
    hone_code         code = hone_runner_start(ctx, &(hone_runner_options){ .backend = backend }, &child, &err);
    reason[0] = version[0] = '\0';
    if (code == HONE_OK) code = hone_runner_open(child, &(hone_backend_open){ .path = path, .device = "cpu", .threads = hone_ctx_threads(ctx), .graph = true }, &info, &ms, &err);
    if (code == HONE_OK) (void)snprintf(version, version_cap, "%s", info.version);
    else (void)snprintf(reason, cap, "%s", err.cause);
    hone_runner_stop(child);
}

static hone_code put_compatibility(const hone_ctx *ctx, const char *file, bool offline, json_t *doc, hone_err *err)
{
    static const struct { const char *format, *runtime, *backend, *why; } rows[] = {
        { "onnx", "ONNX Runtime", "onnxruntime", NULL },
        { "openvino", "OpenVINO", "openvino", NULL },
        { "gguf", "llama.cpp", NULL, "llama.cpp runs language models that it knows by name" },
        { "mlx", "MLX", NULL, "mlx_lm runs language models that it knows by name" },
    };
    json_t *list = json_array();
    for (size_t i = 0; list && i < HONE_COUNT(rows); i++) {
        char    reason[600] = "", version[64] = "";
        json_t *ok = NULL;
        if (rows[i].why) (void)snprintf(reason, sizeof reason, "%s", rows[i].why), ok = json_false();
        else if (offline) (void)snprintf(reason, sizeof reason, "not measured: no runtime was asked (--quick)"), ok = json_null();
        else {
            hone_event_step(ctx, "asking %s", rows[i].runtime);
            ask(ctx, rows[i].backend, file, reason, sizeof reason, version, sizeof version);
            ok = json_boolean(!reason[0]);
        }
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:o, s:s}", "format", rows[i].format, "encoding", "as it is", "runtime", rows[i].runtime, "version", version, "ok", ok,
                                                    "reason", reason));
    }
    return hone_json_put(doc, "compatibility", list) ? HONE_OK : HONE_NOMEM(err, "the compatibility");
}

/* ---- target ---- */

static hone_code put_fit(const hone_net_assess_options *opt, const hone_target *t, const facts *f, json_t *doc, hone_err *err)
{
    static const struct { const char *encoding; double share; } rows[] = { { "f32", 1 }, { "f16", .5 }, { "int8", .25 }, { "int4-weights", .15625 } };
    json_t  *list = json_array();
    uint64_t have = opt->max_ram ? opt->max_ram : t->ram_bytes, floats = f->by_type[HONE_NET_F32];
    for (size_t i = 0; list && i < HONE_COUNT(rows); i++) {
        uint64_t weights = f->bytes - floats + (uint64_t)((double)floats * rows[i].share), ram = weights + f->peak;
        (void)json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:o}", "encoding", rows[i].encoding, "weights_bytes", (json_int_t)weights, "ram_bytes", (json_int_t)ram, "fits",
                                                    have ? json_boolean(ram <= have) : json_null()));
    }
    return hone_json_put(doc, "fit", list) ? HONE_OK : HONE_NOMEM(err, "what fits");
}

static hone_code put_target(const hone_ctx *ctx, const hone_net_assess_options *opt, const facts *f, json_t *doc, hone_err *err)
{
    json_t     *probe = NULL;
    hone_target t;
    HONE_TRY(hone_probe_facts(ctx, opt->target, NULL, 0, &probe, err));
    hone_code code = hone_target_read(probe, &t, err);
    if (code == HONE_OK) {
        json_t *o = json_pack("{s:s, s:s, s:o}", "name", t.name, "title", t.title, "ram_bytes",
                              opt->max_ram || t.ram_bytes ? json_integer((json_int_t)(opt->max_ram ? opt->max_ram : t.ram_bytes)) : json_null());
        code = hone_json_put(doc, "fits_on", o) ? put_fit(opt, &t, f, doc, err) : HONE_NOMEM(err, "the target");
    }
    json_decref(probe);
    return code;
}

static hone_code put_all(const hone_ctx *ctx, hone_net *net, const hone_net_assess_options *opt, json_t *doc, hone_err *err)
{
    facts       f = { 0 };
    struct stat st;
    HONE_TRY(gather(&f, net, err));
    uint64_t file_bytes = stat(net->path, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
    if (!hone_json_put(doc, "network", network_json(net, &f, net->path, file_bytes)) || !hone_json_put(doc, "source", json_string(net->path)))
        return HONE_NOMEM(err, "the network's facts");
    HONE_TRY(put_compatibility(ctx, net->path, opt->offline, doc, err));
    HONE_TRY(put_target(ctx, opt, &f, doc, err));
    json_t *estimates = json_pack("[s, s]", "unknown dimensions (batch) count as 1 in multiplications, activations and memory",
                                  "memory is the weights in that encoding and the largest inputs and outputs of one operator: a runtime needs more for its own buffers");
    return hone_json_put(doc, "estimates", estimates) ? HONE_OK : HONE_NOMEM(err, "the estimates");
}

hone_code hone_net_assess(const hone_ctx *ctx, const char *path, const hone_net_assess_options *opt, json_t **out, hone_err *err)
{
    hone_net net;
    HONE_TRY(hone_net_load(ctx, path, &net, err));
    json_t   *doc = json_object();
    hone_code code = doc ? put_all(ctx, &net, opt, doc, err) : HONE_NOMEM(err, "the assessment");
    hone_net_close(&net);
    if (code == HONE_OK) *out = doc;
    else json_decref(doc);
    return code;
}
