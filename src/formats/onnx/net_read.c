/* net_read.c - a model.onnx becomes a net: ModelProto and GraphProto.  Source of field numbers: onnx/onnx.proto. */
#include "base/text.h"
#include "formats/onnx/net_parts.h"
#include <stdlib.h>

static hone_code files_read(void *self, uint32_t file, uint64_t off, void *buf, size_t n, hone_err *err)
{
    const hone_net_files *f = self;
    return hone_file_read(&f->file[file], off, buf, n, err);
}

static void files_close(void *self)
{
    hone_net_files *f = self;
    for (size_t i = 0; i < f->n; i++) hone_file_close(&f->file[i]);
    f->n = 0;
}

/* ---- values: ValueInfoProto, TypeProto ---- */

static hone_code read_dim(hone_net_reader *r, hone_wire w, hone_net_dim *d)
{
    hone_wire_field f;
    bool            more;
    *d = (hone_net_dim){ .n = -1 };
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "shape of a value", r->err));
        if (!more) return HONE_OK;
        if (f.number == 1 && f.wire == 0) *d = (hone_net_dim){ .n = f.value <= INT64_MAX ? (int64_t)f.value : -1 };
        if (f.number == 2) {
            d->n = -1;
            HONE_TRY(hone_wire_text(&w, &f, r->a, &d->name, r->err));
            if (!*d->name) d->name = NULL;
        }
    }
}

static hone_code read_shape(hone_net_reader *r, hone_wire w, hone_net_value *v)
{
    hone_wire_field f;
    bool            more;
    size_t          n = 0;
    for (hone_wire again = w;;) {
        HONE_TRY(hone_wire_next(&again, &f, &more, "shape of a value", r->err));
        if (!more) break;
        n += f.number == 1;
    }
    hone_net_dim *dims = HONE_ARENA_NEW(r->a, hone_net_dim, n + 1);
    if (!dims || n > INT32_MAX) return HONE_NOMEM(r->err, "a shape");
    v->dims = dims;
    v->n_dims = (int32_t)n;
    for (size_t i = 0;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "shape of a value", r->err));
        if (!more) return HONE_OK;
        if (f.number != 1) continue;
        if (f.wire != 2) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the shape of a value is broken");
        HONE_TRY(read_dim(r, hone_wire_in(&w, &f), &dims[i++]));
    }
}

/* TypeProto (level 0) and its Tensor (level 1); other types of values stay unknown. */
static hone_code read_type(hone_net_reader *r, hone_wire w, hone_net_value *v, unsigned level)
{
    hone_wire_field f;
    bool            more;
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "type of a value", r->err));
        if (!more) return HONE_OK;
        if (level == 0 && f.number == 1 && f.wire == 2) HONE_TRY(read_type(r, hone_wire_in(&w, &f), v, 1));
        if (level == 1 && f.number == 1 && f.wire == 0) v->type = f.value <= INT32_MAX ? (int32_t)f.value : 0;
        if (level == 1 && f.number == 2 && f.wire == 2) HONE_TRY(read_shape(r, hone_wire_in(&w, &f), v));
    }
}

/* port: an input or output of the graph, which says more than value_info does, where a file has both. */
static hone_code read_value(hone_net_reader *r, hone_wire w, bool port, hone_net_value **out)
{
    hone_wire_field f;
    hone_net_value  said = { .n_dims = -1 }, *v = NULL;
    bool            more;
    HONE_TRY(hone_wire_bytes(&w, w.pos, w.end - w.pos, false, r->a, &said.info, r->err));
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "description of a value", r->err));
        if (!more) break;
        if (f.number == 1) {
            const char *name;
            HONE_TRY(hone_wire_text(&w, &f, r->a, &name, r->err));
            v = *name ? hone_net_value_get(r->net, name) : NULL;
            if (*name && !v) return HONE_NOMEM(r->err, "a value");
        }
        if (f.number == 2 && f.wire == 2) HONE_TRY(read_type(r, hone_wire_in(&w, &f), &said, 0));
    }
    *out = v;
    if (!v || (!port && (v->input || v->output))) return HONE_OK;
    v->type = said.type;
    v->n_dims = said.n_dims;
    v->dims = said.dims;
    v->told = true;
    v->info = said.info;
    return HONE_OK;
}

static hone_code add_port(hone_net_reader *r, hone_wire w, bool input)
{
    hone_net        *net = r->net;
    hone_net_value  *v, ***list = input ? &net->inputs : &net->outputs;
    size_t          *n = input ? &net->n_inputs : &net->n_outputs;
    char             shown[96];
    HONE_TRY(read_value(r, w, true, &v));
    if (!v) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "an %s of the graph has no name", input ? "input" : "output");
    if (input ? v->input : v->output)
        return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "'%s' is an %s of the graph twice", hone_text_show(v->name, strlen(v->name), shown, sizeof shown),
                         input ? "input" : "output");
    if (input) v->input = true;
    else v->output = true;
    if ((*n & (*n - 1)) == 0) { /* full at powers of two */
        hone_net_value **more = HONE_ARENA_NEW(r->a, hone_net_value *, *n ? 2 * *n : 1);
        if (!more) return HONE_NOMEM(r->err, "the inputs of the graph");
        if (*n) memcpy(more, *list, *n * sizeof *more);
        *list = more;
    }
    (*list)[(*n)++] = v;
    return HONE_OK;
}

/* ---- constants ---- */

static hone_code add_constant(hone_net_reader *r, hone_wire w)
{
    const char      *name;
    char             shown[96];
    hone_net_tensor *t = HONE_ARENA_NEW(r->a, hone_net_tensor, 1);
    if (!t) return HONE_NOMEM(r->err, "a constant");
    HONE_TRY(hone_net_read_tensor(r, w, &name, t));
    if (!*name) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "a constant has no name");
    if (r->net->n_constants >= HONE_NET_MAX_ITEMS) return HONE_FAIL(r->err, HONE_EUNSUPPORTED, "", "the model has more than %u constants", HONE_NET_MAX_ITEMS);
    hone_net_value *v = hone_net_value_get(r->net, name);
    if (!v || !hone_net_constant_list(r->net, v)) return HONE_NOMEM(r->err, "a constant");
    if (v->tensor) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "constant '%s' is there twice", hone_text_show(name, strlen(name), shown, sizeof shown));
    v->tensor = t;
    return HONE_OK;
}

/* A constant knows its own shape better than what is told of it. */
static hone_code settle_constant(hone_net_reader *r, hone_net_value *v)
{
    const hone_net_tensor *t = v->tensor;
    hone_net_dim          *dims = HONE_ARENA_NEW(r->a, hone_net_dim, (size_t)t->n_dims + 1);
    if (!dims) return HONE_NOMEM(r->err, "a shape");
    for (uint32_t d = 0; d < t->n_dims; d++) dims[d] = (hone_net_dim){ .n = (int64_t)t->dims[d] };
    v->type = t->type;
    v->n_dims = (int32_t)t->n_dims;
    v->dims = dims;
    return HONE_OK;
}

/* SparseTensorProto.values.name */
static hone_code note_sparse(hone_net_reader *r, hone_wire w, unsigned level)
{
    hone_wire_field f;
    bool            more;
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "sparse constant", r->err));
        if (!more) return HONE_OK;
        if (level == 0 && f.number == 1 && f.wire == 2) HONE_TRY(note_sparse(r, hone_wire_in(&w, &f), 1));
        if (level == 1 && f.number == 8) {
            const char *name;
            HONE_TRY(hone_wire_text(&w, &f, r->a, &name, r->err));
            hone_net_value *v = hone_net_value_get(r->net, name);
            if (!v) return HONE_NOMEM(r->err, "a constant");
            v->sparse = true;
        }
    }
}

/* ---- the graph ---- */

static hone_code graph_field(hone_net_reader *r, const hone_wire *w, const hone_wire_field *f, hone_net_gather *kept)
{
    hone_wire       in = hone_wire_in(w, f);
    hone_net_value *v;
    bool            message = f->number == 1 || f->number == 5 || f->number == 11 || f->number == 12 || f->number == 13;
    if (message && f->wire != 2) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the graph is broken at byte %llu", (unsigned long long)f->start);
    switch (f->number) {
    case 1: return HONE_OK; /* nodes: when all else is known */
    case 2: return hone_wire_text(w, f, r->a, &r->net->name, r->err);
    case 5: return add_constant(r, in);
    case 11: return add_port(r, in, true);
    case 12: return add_port(r, in, false);
    case 13: return read_value(r, in, false, &v);
    case 15: if (f->wire == 2) HONE_TRY(note_sparse(r, in, 0)); break;
    default: break;
    }
    return hone_net_keep(r, w, f, kept);
}

static hone_code check_outputs(hone_net_reader *r)
{
    char shown[96];
    for (size_t i = 0; i < r->net->n_outputs; i++) {
        const hone_net_value *v = r->net->outputs[i];
        if (!v->from && !v->tensor && !v->input && !v->sparse)
            return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "nothing makes the output '%s'", hone_text_show(v->name, strlen(v->name), shown, sizeof shown));
    }
    return HONE_OK;
}

static hone_code read_graph(hone_net_reader *r, hone_wire w)
{
    hone_net_gather kept = { 0 };
    hone_wire_field f;
    bool            more;
    for (hone_wire again = w;;) {
        HONE_TRY(hone_wire_next(&again, &f, &more, "graph", r->err));
        if (!more) break;
        HONE_TRY(graph_field(r, &w, &f, &kept));
    }
    r->net->graph_kept = hone_net_gathered(&kept);
    for (size_t i = 0; i < r->net->n_constants; i++) HONE_TRY(settle_constant(r, r->net->constants[i]));
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "graph", r->err));
        if (!more) break;
        if (f.number == 1) HONE_TRY(hone_net_read_node(r, hone_wire_in(&w, &f)));
        if (r->net->n_nodes > HONE_NET_MAX_ITEMS) return HONE_FAIL(r->err, HONE_EUNSUPPORTED, "", "the model has more than %u nodes", HONE_NET_MAX_ITEMS);
    }
    return check_outputs(r);
}

/* ---- the model ---- */

static hone_code read_opset(hone_net_reader *r, hone_wire w)
{
    const char     *domain = "";
    int64_t         version = 0;
    hone_wire_field f;
    bool            more;
    for (;;) {
        HONE_TRY(hone_wire_next(&w, &f, &more, "list of operator sets", r->err));
        if (!more) break;
        if (f.number == 1) HONE_TRY(hone_wire_text(&w, &f, r->a, &domain, r->err));
        if (f.number == 2 && f.wire == 0) version = f.value <= INT64_MAX ? (int64_t)f.value : 0;
    }
    if (strcmp(domain, "ai.onnx") == 0) domain = "";
    return hone_net_opset_set(r->net, domain, version) ? HONE_OK : HONE_NOMEM(r->err, "the operator sets");
}

static hone_code model_field(hone_net_reader *r, const hone_wire *w, const hone_wire_field *f, hone_net_gather *kept, hone_wire_field *graph)
{
    bool message = f->number == 7 || f->number == 8;
    if (message && f->wire != 2) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the model is broken at byte %llu", (unsigned long long)f->start);
    switch (f->number) {
    case 1: r->net->ir_version = f->wire == 0 && f->value <= INT64_MAX ? (int64_t)f->value : 0; return HONE_OK;
    case 2: HONE_TRY(hone_wire_text(w, f, r->a, &r->net->producer, r->err)); break;
    case 7:
        if (graph->number) return HONE_FAIL(r->err, HONE_EUNSUPPORTED, "save the model again with its exporter", "the file has two graphs, which stand for one");
        *graph = *f;
        return HONE_OK;
    case 8: return read_opset(r, hone_wire_in(w, f));
    case 25: r->net->functions = true; break;
    default: break;
    }
    return hone_net_keep(r, w, f, kept);
}

static hone_code read_model(hone_net_reader *r, hone_wire w)
{
    hone_net_gather kept = { 0 };
    hone_wire_field f, graph = { 0 };
    bool            more;
    for (hone_wire again = w;;) {
        HONE_TRY(hone_wire_next(&again, &f, &more, "model", r->err));
        if (!more) break;
        HONE_TRY(model_field(r, &w, &f, &kept, &graph));
    }
    r->net->model_kept = hone_net_gathered(&kept);
    if (!graph.number) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the file has no graph");
    int64_t opset = hone_net_opset_of(r->net, "");
    if (opset && (opset < HONE_NET_OPSET_MIN || opset > HONE_NET_OPSET_MAX))
        return HONE_FAIL(r->err, HONE_EUNSUPPORTED, "export it with an opset between them, or pass it through onnx.version_converter",
                         "the model is of opset %lld, hone knows %d to %d", (long long)opset, HONE_NET_OPSET_MIN, HONE_NET_OPSET_MAX);
    HONE_TRY(read_graph(r, hone_wire_in(&w, &graph)));
    if (!opset)
        for (const hone_net_node *n = r->net->first; n; n = n->next)
            if (!*n->domain) return HONE_FAIL(r->err, HONE_EINPUT, HONE_ONNX_AGAIN, "the model has operators of ai.onnx and does not say of which version");
    return HONE_OK;
}

static hone_code start(hone_net *out, hone_net_reader *r, hone_err *err)
{
    *out = (hone_net){ .name = "", .producer = "", .path = "" };
    *r = (hone_net_reader){ .net = out, .a = &out->arena, .err = err };
    return HONE_OK;
}

hone_code hone_onnx_net_parse(hone_bytes file, hone_net *out, hone_err *err)
{
    hone_net_reader r;
    hone_wire_place p = { .mem = file };
    HONE_TRY(start(out, &r, err));
    hone_code code = read_model(&r, (hone_wire){ &p, 0, file.len });
    if (code != HONE_OK) hone_net_close(out);
    return code;
}

static hone_code open_in(hone_net_reader *r, const char *path)
{
    hone_net   *net = r->net;
    const char *slash;
    net->path = hone_arena_strdup(r->a, path);
    r->files = HONE_ARENA_NEW(r->a, hone_net_files, 1);
    hone_wire_place p = { .window = hone_arena_alloc(r->a, HONE_WIRE_WINDOW) };
    if (!net->path || !r->files || !p.window) return HONE_NOMEM(r->err, "the model");
    slash = strrchr(net->path, '/');
    r->dir = slash ? hone_arena_strndup(r->a, net->path, (size_t)(slash - net->path) + (slash == net->path)) : ".";
    if (!r->dir) return HONE_NOMEM(r->err, "a path");
    HONE_TRY(hone_file_open(net->path, &r->files->file[0], r->err));
    r->files->name[0] = net->path;
    r->files->n = 1;
    net->self = r->files;
    net->read = files_read;
    net->close = files_close;
    p.file = &r->files->file[0];
    return read_model(r, (hone_wire){ &p, 0, p.file->size });
}

hone_code hone_onnx_net_open(const char *path, hone_net *out, hone_err *err)
{
    hone_net_reader r;
    HONE_TRY(start(out, &r, err));
    hone_code code = open_in(&r, path);
    if (code != HONE_OK) {
        if (code == HONE_EINPUT || code == HONE_EUNSUPPORTED) (void)hone_err_wrap(err, "'%s'", path);
        hone_net_close(out);
    }
    return code;
}

static int by_name(const void *x, const void *y) { return strcmp(*(const char *const *)x, *(const char *const *)y); }

hone_code hone_onnx_net_sha256(const hone_net *net, char hex[65], hone_err *err)
{
    const hone_net_files *f = net->self;
    const char           *dir = net->path, *names[HONE_NET_MAX_FILES];
    hone_text             list = { 0 }, path = { 0 };
    char                  one[65];
    HONE_TRY(hone_sha256_file(net->path, hex, err));
    if (!f || f->n < 2) return HONE_OK;
    const char *slash = strrchr(dir, '/');
    memcpy(names, f->name, f->n * sizeof *names);
    qsort(names + 1, f->n - 1, sizeof *names, by_name);
    hone_text_addf(&list, "%s  -\n", hex); /* it may be called otherwise */
    hone_code code = HONE_OK;
    for (size_t i = 1; code == HONE_OK && i < f->n; i++) {
        hone_text_clear(&path);
        hone_text_addf(&path, "%.*s%s", slash ? (int)(slash + 1 - dir) : 0, dir, names[i]);
        code = path.failed ? HONE_NOMEM(err, "a path") : hone_sha256_file(path.ptr, one, err);
        hone_text_addf(&list, "%s  %s\n", one, names[i]);
    }
    if (code == HONE_OK && list.failed) code = HONE_NOMEM(err, "a digest");
    if (code == HONE_OK) code = hone_sha256((hone_bytes){ (const uint8_t *)list.ptr, list.len }, hex, err);
    hone_text_release(&list);
    hone_text_release(&path);
    return code;
}

hone_code hone_onnx_net_producer(const char *path, char *out, size_t cap, hone_err *err)
{
    hone_arena      a = { 0 };
    hone_file       file = HONE_FILE_CLOSED;
    hone_wire_field f;
    const char     *name = "";
    bool            more = true;
    HONE_TRY(hone_file_open(path, &file, err));
    hone_wire_place p = { .file = &file, .window = hone_arena_alloc(&a, HONE_WIRE_WINDOW) };
    hone_wire       w = { &p, 0, file.size };
    hone_code       code = p.window ? HONE_OK : HONE_NOMEM(err, "the model");
    while (code == HONE_OK && more) {
        code = hone_wire_next(&w, &f, &more, "model", err);
        if (code == HONE_OK && more && f.number == 2 && f.len < 4096) code = hone_wire_text(&w, &f, &a, &name, err);
    }
    if (code == HONE_OK) (void)snprintf(out, cap, "%s", name);
    hone_arena_release(&a);
    hone_file_close(&file);
    return code;
}
