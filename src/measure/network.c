#include "measure/network.h"
#include "base/file.h"
#include "quant/half.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 32 };
#define BATCH_BYTES (48u << 20) /* of inputs: a message holds 64 MiB */

/* --- open and close -------------------------------------------------------------------------------------------------- */
static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), k = strlen(with);
    return n > k && strcmp(s + n - k, with) == 0;
}

static bool holds(const char *dir, const char *name)
{
    char path[4096];
    return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path && hone_file_exists(path);
}

bool hone_network_kind(const char *path, const char **backend)
{
    bool ov = ends(path, ".xml") || (hone_dir_exists(path) && (holds(path, "openvino_model.xml") || holds(path, "model.xml")));
    bool ort = ends(path, ".onnx") || (hone_dir_exists(path) && holds(path, "model.onnx"));
    if (backend) *backend = ov ? "openvino" : "onnxruntime";
    return ov || ort;
}

hone_code hone_network_open(const hone_ctx *ctx, const char *path, const hone_network_how *how, hone_network *out, hone_err *err)
{
    hone_network n = { .path = path };
    const char  *backend = how->backend;
    if (!hone_network_kind(path, backend ? NULL : &backend))
        return HONE_FAIL(err, HONE_EINPUT, "name an .onnx or .xml file", "'%s' is no ONNX model and no OpenVINO IR", path);
    hone_backend_open open = { .path = path, .device = how->device ? how->device : "cpu", .threads = how->threads ? how->threads : 1, .graph = true,
                               .exact = how->exact, .outputs = how->outputs, .n_outputs = how->n_outputs };
    hone_code         code = hone_runner_start(ctx, &(hone_runner_options){ .backend = backend }, &n.runner, err);
    if (code == HONE_OK) code = hone_runner_open(n.runner, &open, &n.info, &n.load_ms, err);
    if (code == HONE_OK) code = hone_runner_signature(n.runner, &n.arena, &n.sig, err);
    if (code == HONE_OK) *out = n;
    else hone_network_close(&n);
    return code;
}

void hone_network_close(hone_network *n)
{
    if (!n) return;
    hone_runner_stop(n->runner);
    hone_arena_release(&n->arena);
    *n = (hone_network){ 0 };
}

bool hone_network_image(const hone_network *n, hone_image_how *how)
{
    const hone_backend_port *image = NULL;
    for (size_t i = 0; i < n->sig.n_in; i++)
        if (n->sig.in[i].rank == 4 && n->sig.in[i].type == HONE_BACKEND_F32) {
            if (image) return false;
            image = &n->sig.in[i];
        }
    if (!image) return false;
    const int64_t *d = image->dims;
    bool           first = d[1] == 1 || d[1] == 3, last = d[3] == 1 || d[3] == 3;
    if (!how->channels_last && !first && last) how->channels_last = true;
    int64_t c = how->channels_last ? d[3] : d[1], h = how->channels_last ? d[1] : d[2], w = how->channels_last ? d[2] : d[3];
    if (how->channels == 0) how->channels = c == 1 ? 1 : 3;
    if (h > 0 && h <= UINT16_MAX) how->height = (uint32_t)h;
    if (w > 0 && w <= UINT16_MAX) how->width = (uint32_t)w;
    return true;
}

/* --- what feeds what ---------------------------------------------------------------------------------------------------- */
static bool is_spoken_for(const hone_network *n, const char *name)
{
    static const char *const labels[] = { "labels", "label", "y" };
    for (size_t i = 0; i < HONE_COUNT(labels); i++)
        if (strcmp(name, labels[i]) == 0) return true;
    for (size_t i = 0; i < n->sig.n_out; i++)
        if (strcmp(name, n->sig.out[i].name) == 0) return true;
    return false;
}

static bool fits(const hone_backend_port *p, const hone_samples_array *a)
{
    if (p->type != a->type || p->rank != a->rank) return false;
    for (uint32_t d = 1; d < p->rank; d++)
        if (p->dims[d] >= 0 && p->dims[d] != a->dims[d]) return false;
    return true;
}

static void shape_text(const int64_t *dims, uint32_t rank, char *out, size_t cap)
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t d = 0; d < rank && at + 24 < cap; d++) at += (size_t)snprintf(out + at, cap - at, dims[d] < 0 ? "%s?" : "%s%" PRId64, d ? "," : "", dims[d]);
}

static hone_code nothing_fits(const hone_network *n, const hone_backend_port *p, const hone_samples *s, hone_err *err)
{
    char want[80], have[80] = "nothing";
    shape_text(p->dims, p->rank, want, sizeof want);
    for (size_t i = 0; i < s->n_arrays; i++)
        if (!is_spoken_for(n, s->arrays[i].name)) shape_text(s->arrays[i].dims, s->arrays[i].rank, have, sizeof have);
    return HONE_FAIL(err, HONE_EINPUT, "give an array of that name, type and shape", "'%s' has nothing for the input '%.60s' [%s] of type %d: there is [%s]", s->path, p->name,
                     want, p->type, have);
}

static hone_code choose_array(const hone_network *n, size_t in, const hone_samples *s, const hone_samples_array **out, hone_err *err)
{
    const hone_backend_port  *p = &n->sig.in[in];
    const hone_samples_array *one = hone_samples_find(s, p->name);
    size_t                    free_arrays = 0;
    for (size_t i = 0; !one && i < s->n_arrays; i++) {
        bool other = false;
        for (size_t k = 0; k < n->sig.n_in; k++) other = other || strcmp(n->sig.in[k].name, s->arrays[i].name) == 0;
        if (!other && !is_spoken_for(n, s->arrays[i].name) && fits(p, &s->arrays[i])) {
            free_arrays++;
            *out = &s->arrays[i];
        }
    }
    if (one) *out = one;
    if ((one && fits(p, one)) || (!one && free_arrays == 1)) return HONE_OK;
    return nothing_fits(n, p, s, err);
}

hone_code hone_feed_make(const hone_network *n, const hone_samples *s, uint64_t batch, hone_arena *a, hone_feed *out, hone_err *err)
{
    hone_feed f = { .from = HONE_ARENA_NEW(a, const hone_samples_array *, n->sig.n_in), .batch = batch ? batch : BATCH };
    uint64_t  bytes = 1;
    if (!f.from) return HONE_NOMEM(err, "inputs");
    if (n->sig.n_in == 0) return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "the network has no inputs");
    for (size_t i = 0; i < n->sig.n_in; i++) {
        HONE_TRY(choose_array(n, i, s, &f.from[i], err));
        bytes += f.from[i]->sample_bytes;
        if (n->sig.in[i].dims[0] > 0) {
            f.batch = (uint64_t)n->sig.in[i].dims[0];
            f.fixed = true;
        }
    }
    if (!f.fixed && f.batch > BATCH_BYTES / bytes) f.batch = BATCH_BYTES / bytes ? BATCH_BYTES / bytes : 1;
    *out = f;
    return HONE_OK;
}

/* --- running ------------------------------------------------------------------------------------------------------------- */
typedef struct visit {
    void (*value)(void *user, const hone_backend_value *value);
    void    *user;
    uint64_t batch, count;
} visit;

/* Of a run that was filled up, the first count samples. */
static void cut(void *user, const hone_backend_value *v)
{
    const visit       *w = user;
    hone_backend_value shown = *v;
    if (w->count < w->batch && v->rank > 0 && v->dims[0] == (int64_t)w->batch) {
        shown.dims[0] = (int64_t)w->count;
        shown.bytes = v->bytes / w->batch * w->count;
    }
    w->value(w->user, &shown);
}

static void nobody(void *user, const hone_backend_value *value)
{
    (void)user;
    (void)value;
}

hone_code hone_network_run(hone_network *n, const hone_samples *s, const hone_feed *f, uint64_t first, uint64_t count,
                           void (*value)(void *user, const hone_backend_value *value), void *user, double *ms, hone_err *err)
{
    hone_arena          a = { 0 };
    visit               w = { value ? value : nobody, user, f->fixed ? f->batch : count, count };
    hone_backend_value *in = HONE_ARENA_NEW(&a, hone_backend_value, n->sig.n_in);
    hone_code           code = in ? HONE_OK : HONE_NOMEM(err, "inputs");
    for (size_t i = 0; code == HONE_OK && i < n->sig.n_in; i++) {
        const hone_samples_array *from = f->from[i];
        uint64_t                  bytes = 0;
        in[i] = (hone_backend_value){ .name = n->sig.in[i].name, .type = from->type, .rank = from->rank };
        memcpy(in[i].dims, from->dims, sizeof in[i].dims);
        in[i].dims[0] = (int64_t)w.batch;
        uint8_t *room = hone_size_mul(from->sample_bytes, w.batch, &bytes) && bytes <= BATCH_BYTES + from->sample_bytes ? hone_arena_alloc(&a, (size_t)bytes) : NULL;
        if (!room) code = HONE_NOMEM(err, "a batch of samples");
        if (code == HONE_OK) code = hone_samples_read(s, from, first, count, room, err);
        /* A network of a fixed batch gets the last sample as often as it takes. */
        for (uint64_t k = count; code == HONE_OK && k < w.batch; k++)
            memcpy(room + k * from->sample_bytes, room + (count - 1) * from->sample_bytes, (size_t)from->sample_bytes);
        in[i].data = room;
        in[i].bytes = (size_t)bytes;
    }
    if (code == HONE_OK) code = hone_runner_infer(n->runner, in, n->sig.n_in, cut, &w, ms, err);
    hone_arena_release(&a);
    return code;
}

size_t hone_value_elems(const hone_backend_value *v)
{
    size_t size = hone_backend_type_size(v->type);
    return size ? v->bytes / size : 0;
}

bool hone_value_floats(const hone_backend_value *v, float *out, size_t n)
{
    const uint8_t *p = v->data;
    for (size_t i = 0; i < n; i++) {
        switch (v->type) {
        case HONE_BACKEND_F32: memcpy(&out[i], p + 4 * i, 4); break;
        case HONE_BACKEND_F16: out[i] = hone_f16_load(p + 2 * i); break;
        case HONE_BACKEND_BF16: out[i] = hone_f32_from_bf16(hone_le16(p + 2 * i)); break;
        case HONE_BACKEND_F64: {
            double d;
            memcpy(&d, p + 8 * i, 8);
            out[i] = (float)d;
            break;
        }
        case HONE_BACKEND_BOOL:
        case HONE_BACKEND_U8: out[i] = p[i]; break;
        case HONE_BACKEND_I8: out[i] = (float)(int8_t)p[i]; break;
        case HONE_BACKEND_I32: out[i] = (float)(int32_t)hone_le32(p + 4 * i); break;
        case HONE_BACKEND_I64: out[i] = (float)(int64_t)hone_le64(p + 8 * i); break;
        default: return false;
        }
    }
    return true;
}
