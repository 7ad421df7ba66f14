/* net_write.c - a net becomes model.onnx: what was read and not edited goes out as the bytes it was; constants are streamed, one at a time in memory.
 * Everything but their data is gathered first, so that all lengths are known before the first byte is written. */
#include "base/file.h"
#include "base/text.h"
#include "formats/onnx/net.h"
#include <inttypes.h>
#include <stdlib.h>

#define EXTERNAL_MIN 1024u  /* bytes: smaller constants stay in model.onnx, as shapes must */
#define EXTERNAL_ALIGN 4096u /* docs/ExternalData.md: so that a reader can map them */
#define TILE (1u << 20)

/* ---- the wire ---- */

static void put_varint(hone_text *t, uint64_t v)
{
    uint8_t b[10];
    size_t  n = 0;
    do {
        b[n] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
        n++;
    } while (v);
    hone_text_add_bytes(t, b, n);
}

static void put_key(hone_text *t, uint32_t number, uint32_t wire) { put_varint(t, (uint64_t)number << 3 | wire); }

static void put_int(hone_text *t, uint32_t number, int64_t v)
{
    put_key(t, number, 0);
    put_varint(t, (uint64_t)v);
}

static void put_bytes(hone_text *t, uint32_t number, const void *p, size_t n)
{
    put_key(t, number, 2);
    put_varint(t, n);
    if (n) hone_text_add_bytes(t, p, n);
}

static void put_str(hone_text *t, uint32_t number, const char *s) { put_bytes(t, number, s, strlen(s)); }

static void put_fixed32(hone_text *t, float f)
{
    uint32_t bits;
    uint8_t  b[4];
    memcpy(&bits, &f, 4);
    hone_put_le32(b, bits);
    hone_text_add_bytes(t, b, 4);
}

/* A message as a field; from is emptied. */
static void put_message(hone_text *t, uint32_t number, hone_text *from)
{
    put_bytes(t, number, from->ptr, from->len);
    t->failed = t->failed || from->failed;
    hone_text_clear(from);
}

/* ---- the writer's plan ---- */

typedef struct stored { /* a constant whose data is streamed */
    const hone_net_tensor *t;
    size_t                 head;     /* its data comes behind this many bytes of the graph */
    uint64_t               external; /* or at this byte of the data file */
    size_t                 constant; /* its number */
    bool                   outside;
} stored;

typedef struct plan {
    const hone_net *net;
    hone_text       graph, part, inner; /* graph: all of it but the streamed data */
    stored         *stored;
    size_t          n_stored;
    uint64_t        inside, data_bytes; /* of streamed data in model.onnx and in the data file */
    const char     *data_name;
    bool            external;
    hone_onnx_net_check *check; /* NULL: files are written */
} plan;

static void put_shape(const hone_net_value *v, hone_text *out)
{
    hone_text shape = { 0 }, dim = { 0 }, tensor = { 0 };
    if (v->type) put_int(&tensor, 1, v->type);
    for (int32_t d = 0; d < v->n_dims; d++) {
        if (v->dims[d].n >= 0) put_int(&dim, 1, v->dims[d].n);
        else if (v->dims[d].name) put_str(&dim, 2, v->dims[d].name);
        put_message(&shape, 1, &dim);
    }
    if (v->n_dims >= 0) put_message(&tensor, 2, &shape);
    put_message(out, 1, &tensor);
    hone_text_release(&shape);
    hone_text_release(&dim);
    hone_text_release(&tensor);
}

static void put_value(plan *p, uint32_t number, const hone_net_value *v)
{
    if (v->info.ptr) {
        put_bytes(&p->graph, number, v->info.ptr, v->info.len);
        return;
    }
    put_str(&p->part, 1, v->name);
    if (v->type) {
        put_shape(v, &p->inner);
        put_message(&p->part, 2, &p->inner);
    }
    put_message(&p->graph, number, &p->part);
}

/* ---- nodes ---- */

static void put_tensor_head(hone_text *t, const char *name, const hone_net_tensor *x)
{
    for (uint32_t d = 0; d < x->n_dims; d++) put_int(t, 1, (int64_t)x->dims[d]);
    put_int(t, 2, x->type);
    if (*name) put_str(t, 8, name);
    if (x->kept.len) hone_text_add_bytes(t, x->kept.ptr, x->kept.len);
}

/* Number of AttributeProto.type. */
static int64_t attr_type(hone_net_kind k)
{
    static const uint8_t types[] = { [HONE_NET_ATTR_FLOAT] = 1, [HONE_NET_ATTR_INT] = 2, [HONE_NET_ATTR_STRING] = 3, [HONE_NET_ATTR_TENSOR] = 4,
                                     [HONE_NET_ATTR_FLOATS] = 6, [HONE_NET_ATTR_INTS] = 7, [HONE_NET_ATTR_STRINGS] = 8 };
    return types[k];
}

static hone_code put_attr_tensor(plan *p, const hone_net_tensor *t, hone_text *out, hone_err *err)
{
    hone_text tensor = { 0 };
    uint8_t  *data = malloc(t->bytes ? (size_t)t->bytes : 1);
    hone_code code = data ? hone_net_tensor_read(p->net, t, 0, data, (size_t)t->bytes, err) : HONE_NOMEM(err, "a constant");
    if (code == HONE_OK) {
        put_tensor_head(&tensor, "", t);
        if (t->type != HONE_NET_STRING) put_bytes(&tensor, 9, data, (size_t)t->bytes);
        put_message(out, 5, &tensor);
    }
    hone_text_release(&tensor);
    free(data);
    return code;
}

static hone_code put_attr(plan *p, const hone_net_attr *a, hone_text *node, hone_err *err)
{
    hone_text *t = &p->inner;
    if (a->raw.ptr) {
        put_bytes(node, 5, a->raw.ptr, a->raw.len);
        return HONE_OK;
    }
    put_str(t, 1, a->name);
    switch (a->kind) {
    case HONE_NET_ATTR_INT: put_int(t, 3, a->i); break;
    case HONE_NET_ATTR_FLOAT: put_key(t, 2, 5), put_fixed32(t, a->f); break;
    case HONE_NET_ATTR_STRING: put_bytes(t, 4, a->strings[0].ptr, a->strings[0].len); break;
    case HONE_NET_ATTR_TENSOR: HONE_TRY(put_attr_tensor(p, a->t, t, err)); break;
    case HONE_NET_ATTR_INTS: for (size_t i = 0; i < a->n; i++) put_int(t, 8, a->ints[i]); break;
    case HONE_NET_ATTR_FLOATS: for (size_t i = 0; i < a->n; i++) put_key(t, 7, 5), put_fixed32(t, a->floats[i]); break;
    case HONE_NET_ATTR_STRINGS: for (size_t i = 0; i < a->n; i++) put_bytes(t, 9, a->strings[i].ptr, a->strings[i].len); break;
    default: return HONE_FAIL(err, HONE_EBUG, "", "attribute '%s' of no kind", a->name);
    }
    put_int(t, 20, attr_type(a->kind));
    put_message(node, 5, t);
    return HONE_OK;
}

static hone_code put_node(plan *p, const hone_net_node *n, hone_err *err)
{
    hone_text *t = &p->part;
    for (uint32_t i = 0; i < n->n_in; i++) put_str(t, 1, n->in[i] ? n->in[i]->name : "");
    for (uint32_t i = 0; i < n->n_out; i++) put_str(t, 2, n->out[i] ? n->out[i]->name : "");
    if (*n->name) put_str(t, 3, n->name);
    put_str(t, 4, n->op);
    for (uint32_t i = 0; i < n->n_attrs; i++) HONE_TRY(put_attr(p, &n->attrs[i], t, err));
    if (*n->domain) put_str(t, 7, n->domain);
    if (n->kept.len) hone_text_add_bytes(t, n->kept.ptr, n->kept.len);
    put_message(&p->graph, 1, t);
    return HONE_OK;
}

/* ---- constants ---- */

static void put_external(plan *p, hone_text *t, const stored *s)
{
    char number[24];
    const struct { const char *key, *value; } rows[] = { { "location", p->data_name }, { "offset", NULL }, { "length", NULL } };
    for (size_t i = 0; i < HONE_COUNT(rows); i++) {
        (void)snprintf(number, sizeof number, "%" PRIu64, i == 1 ? s->external : s->t->bytes);
        put_str(&p->inner, 1, rows[i].key);
        put_str(&p->inner, 2, rows[i].value ? rows[i].value : number);
        put_message(t, 13, &p->inner);
    }
    put_int(t, 14, 1);
}

static hone_code put_constant(plan *p, size_t constant, hone_err *err)
{
    const hone_net_value  *v = p->net->constants[constant];
    const hone_net_tensor *x = v->tensor;
    hone_text             *t = &p->part;
    uint64_t               end;
    stored                *s = &p->stored[p->n_stored++];
    *s = (stored){ .t = x, .constant = constant, .outside = p->external && x->type != HONE_NET_STRING && x->bytes >= EXTERNAL_MIN };
    put_tensor_head(t, v->name, x);
    if (s->outside) {
        if (!hone_size_align(p->data_bytes, EXTERNAL_ALIGN, &s->external) || !hone_size_add(s->external, x->bytes, &end))
            return HONE_FAIL(err, HONE_ERESOURCE, "", "the constants are larger than any file");
        p->data_bytes = end;
        put_external(p, t, s);
        put_message(&p->graph, 5, t);
        return HONE_OK;
    }
    if (x->type == HONE_NET_STRING) {
        p->n_stored--;
        put_message(&p->graph, 5, t);
        return HONE_OK;
    }
    put_key(t, 9, 2);
    put_varint(t, x->bytes);
    put_key(&p->graph, 5, 2);
    put_varint(&p->graph, t->len + x->bytes);
    hone_text_add_bytes(&p->graph, t->ptr, t->len);
    p->graph.failed = p->graph.failed || t->failed;
    hone_text_clear(t);
    s->head = p->graph.len;
    p->inside += x->bytes;
    return HONE_OK;
}

static hone_code plan_graph(plan *p, hone_err *err)
{
    const hone_net *net = p->net;
    for (const hone_net_node *n = net->first; n; n = n->next) HONE_TRY(put_node(p, n, err));
    put_str(&p->graph, 2, net->name);
    for (size_t i = 0; i < net->n_constants; i++)
        if (net->constants[i]) HONE_TRY(put_constant(p, i, err));
    for (size_t i = 0; i < net->n_inputs; i++) put_value(p, 11, net->inputs[i]);
    for (size_t i = 0; i < net->n_outputs; i++) put_value(p, 12, net->outputs[i]);
    for (const hone_net_node *n = net->first; n; n = n->next)
        for (uint32_t k = 0; k < n->n_out; k++)
            if (n->out[k] && n->out[k]->told && !n->out[k]->output && n->out[k]->info.ptr) put_value(p, 13, n->out[k]);
    for (size_t i = 0; i < net->n_constants; i++) {
        const hone_net_value *v = net->constants[i];
        if (v && v->told && !v->input && !v->output && v->info.ptr) put_value(p, 13, v);
    }
    if (net->graph_kept.len) hone_text_add_bytes(&p->graph, net->graph_kept.ptr, net->graph_kept.len);
    return p->graph.failed || p->part.failed || p->inner.failed ? HONE_NOMEM(err, "model.onnx") : HONE_OK;
}

static void put_model_head(const hone_net *net, hone_text *t)
{
    hone_text opset = { 0 };
    put_int(t, 1, net->ir_version);
    if (net->model_kept.len) hone_text_add_bytes(t, net->model_kept.ptr, net->model_kept.len);
    for (size_t i = 0; i < net->n_opsets; i++) {
        put_str(&opset, 1, net->opsets[i].domain);
        put_int(&opset, 2, net->opsets[i].version);
        put_message(t, 8, &opset);
    }
    hone_text_release(&opset);
}

/* ---- writing ---- */

/* What comes next is bytes of that constant, at `begin` of the file. */
static void now_at(const plan *p, size_t constant, uint64_t begin)
{
    if (!p->check) return;
    p->check->constant = constant;
    p->check->begin = begin;
}

static hone_code open_file(const plan *p, const char *path, const char *name, uint64_t size, hone_out *out, hone_err *err)
{
    if (!p->check) return hone_out_open(path, size, out, err);
    p->check->file = name;
    now_at(p, HONE_ONNX_NO_CONSTANT, 0);
    return hone_out_compare(path, &p->check->judge, out, err);
}

static hone_code close_file(const plan *p, hone_out *out, hone_err *err)
{
    if (!p->check) return hone_out_commit(out, NULL, NULL, err);
    hone_out_discard(out);
    return HONE_OK;
}

static hone_code copy_tensor(const plan *p, const stored *s, hone_out *out, uint64_t at, hone_err *err)
{
    const hone_net_tensor *t = s->t;
    bool      whole = t->make != NULL; /* what is made is made at once */
    size_t    room = (size_t)(whole || t->bytes < TILE ? t->bytes : TILE);
    uint8_t  *buf = malloc(room ? room : 1);
    hone_code code = buf ? HONE_OK : HONE_NOMEM(err, "a constant");
    now_at(p, s->constant, at);
    for (uint64_t off = 0; code == HONE_OK && off < t->bytes; off += room) {
        size_t n = t->bytes - off < room ? (size_t)(t->bytes - off) : room;
        code = hone_net_tensor_read(p->net, t, off, buf, n, err);
        if (code == HONE_OK) code = hone_out_write(out, at + off, buf, n, err);
    }
    now_at(p, HONE_ONNX_NO_CONSTANT, 0);
    free(buf);
    return code;
}

static hone_code write_model(const hone_ctx *ctx, const plan *p, const hone_text *head, hone_out *out, hone_err *err)
{
    uint64_t at = head->len;
    size_t   done = 0;
    HONE_TRY(hone_out_write(out, 0, head->ptr, head->len, err));
    for (size_t i = 0; i < p->n_stored; i++) {
        const stored *s = &p->stored[i];
        if (s->outside) continue;
        if (hone_ctx_cancelled(ctx)) return HONE_INTERRUPTED(err);
        HONE_TRY(hone_out_write(out, at, p->graph.ptr + done, s->head - done, err));
        at += s->head - done;
        done = s->head;
        HONE_TRY(copy_tensor(p, s, out, at, err));
        at += s->t->bytes;
    }
    return hone_out_write(out, at, p->graph.ptr + done, p->graph.len - done, err);
}

static hone_code write_data(const hone_ctx *ctx, const plan *p, const char *path, hone_err *err)
{
    static const uint8_t zeros[EXTERNAL_ALIGN];
    hone_out  out = { 0 };
    uint64_t  end = 0;
    HONE_TRY(open_file(p, path, p->data_name, p->data_bytes, &out, err));
    hone_code code = HONE_OK;
    for (size_t i = 0; code == HONE_OK && i < p->n_stored; i++) {
        const stored *s = &p->stored[i];
        if (!s->outside) continue;
        if (hone_ctx_cancelled(ctx)) code = HONE_INTERRUPTED(err);
        if (code == HONE_OK) code = hone_out_write(&out, end, zeros, (size_t)(s->external - end), err);
        if (code == HONE_OK) code = copy_tensor(p, s, &out, s->external, err);
        end = s->external + s->t->bytes;
    }
    if (code == HONE_OK) code = close_file(p, &out, err);
    hone_out_discard(&out);
    return code;
}

/* All that comes before the graph, and what the files will have. */
static hone_code plan_files(const plan *p, hone_text *head, hone_onnx_net_written *res, hone_err *err)
{
    uint64_t graph = p->graph.len + p->inside, total = 0;
    put_model_head(p->net, head);
    put_key(head, 7, 2);
    put_varint(head, graph);
    if (head->failed || !hone_size_add(head->len, graph, &total)) return HONE_NOMEM(err, "model.onnx");
    if (total > INT32_MAX) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "model.onnx would have %" PRIu64 " bytes, protobuf ends at %d", total, INT32_MAX);
    *res = (hone_onnx_net_written){ .bytes = total + p->data_bytes, .data_bytes = p->data_bytes, .external = p->data_bytes > 0 };
    return HONE_OK;
}

static hone_code write_files(const hone_ctx *ctx, const plan *p, const char *dir, const char *file, hone_onnx_net_written *res, hone_err *err)
{
    hone_text head = { 0 }, path = { 0 };
    hone_out  out = { 0 };
    hone_onnx_net_written w = { 0 };
    hone_code code = plan_files(p, &head, &w, err);
    hone_text_addf(&path, "%s/%s", dir, p->data_name);
    if (code == HONE_OK && path.failed) code = HONE_NOMEM(err, "a path");
    if (code == HONE_OK && p->data_bytes) code = write_data(ctx, p, path.ptr, err);
    hone_text_clear(&path);
    hone_text_addf(&path, "%s/%s", dir, file);
    if (code == HONE_OK) code = path.failed ? HONE_NOMEM(err, "a path") : open_file(p, path.ptr, file, w.bytes - w.data_bytes, &out, err);
    if (code == HONE_OK) code = write_model(ctx, p, &head, &out, err);
    if (code == HONE_OK) code = close_file(p, &out, err);
    hone_out_discard(&out);
    if (code == HONE_OK) *res = w;
    hone_text_release(&head);
    hone_text_release(&path);
    return code;
}

/* data has room for the name of the data file; plan_release in any case. */
static hone_code plan_all(plan *p, const hone_net *net, const char *file, uint64_t inline_max, char data[256], hone_err *err)
{
    uint64_t all = 0;
    *p = (plan){ .net = net, .data_name = data };
    if (snprintf(data, 256, "%s.data", file) >= 256) return HONE_FAIL(err, HONE_EUSAGE, "", "the name '%.40s...' is too long", file);
    if (net->elsewhere)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "save the model with all constants in one file: onnx.load, then onnx.save",
                         "a subgraph has constants in another file, and subgraphs are kept as they are");
    for (size_t i = 0; i < net->n_constants; i++)
        if (net->constants[i] && !hone_size_add(all, net->constants[i]->tensor->bytes, &all)) all = UINT64_MAX;
    p->external = all > inline_max;
    p->stored = calloc(net->n_constants + 1, sizeof *p->stored);
    return p->stored ? plan_graph(p, err) : HONE_NOMEM(err, "model.onnx");
}

static void plan_release(plan *p)
{
    hone_text_release(&p->graph);
    hone_text_release(&p->part);
    hone_text_release(&p->inner);
    free(p->stored);
}

hone_code hone_onnx_net_size(const hone_net *net, const char *file, uint64_t inline_max, hone_onnx_net_written *out, hone_err *err)
{
    char      data[256];
    plan      p;
    hone_text head = { 0 };
    hone_code code = plan_all(&p, net, file, inline_max, data, err);
    if (code == HONE_OK) code = plan_files(&p, &head, out, err);
    hone_text_release(&head);
    plan_release(&p);
    return code;
}

hone_code hone_onnx_net_compare(const hone_ctx *ctx, const hone_net *net, const char *dir, const char *file, uint64_t inline_max, hone_onnx_net_check *check,
                                hone_onnx_net_written *out, hone_err *err)
{
    char      data[256];
    plan      p;
    hone_code code = plan_all(&p, net, file, inline_max, data, err);
    p.check = check;
    if (code == HONE_OK) code = write_files(ctx, &p, dir, file, out, err);
    plan_release(&p);
    return code;
}

hone_code hone_onnx_net_write(const hone_ctx *ctx, const hone_net *net, const char *dir, const char *file, uint64_t inline_max, hone_onnx_net_written *out,
                              hone_err *err)
{
    return hone_onnx_net_compare(ctx, net, dir, file, inline_max, NULL, out, err);
}
