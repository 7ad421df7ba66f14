#include "runner/reply.h"
#include "base/text.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define HONE_VALUE_MAX (1ull << 30) /* bytes of one value of a network */

static hone_code broken(hone_err *err, const char *what)
{
    return HONE_FAIL(err, HONE_ERUNTIME, "", "the runtime's process does not keep the protocol: %s", what);
}

/* Text of a frame into a fixed buffer, made safe to show. */
static void put_text(hone_bytes b, char *out, size_t cap)
{
    if (cap) (void)hone_text_show(b.len ? (const char *)b.ptr : "", b.len, out, cap);
}

static float *scratch(hone_reply *r, size_t n)
{
    if (n > r->scratch_len) {
        float *more = realloc(r->scratch, n * sizeof *more);
        if (!more) return NULL;
        r->scratch = more;
        r->scratch_len = n;
    }
    return r->scratch;
}

static hone_code take_row(hone_reply *r, hone_unpacker *u, hone_err *err)
{
    uint64_t index = hone_unpack_u64(u);
    if (r->op != HONE_MSG_FORWARD || u->bad || u->left % 4 != 0) return broken(err, "a row nobody asked for");
    size_t n = u->left / 4;
    if (index < r->next_row || index >= r->n) return broken(err, "a row out of order");
    if (n == 0 || (r->row_len && n != r->row_len))
        return HONE_FAIL(err, HONE_ERUNTIME, "", "the runtime's process does not keep the protocol: a row of %zu values, not %zu", n,
                         r->row_len);
    float *v = scratch(r, n);
    if (!v) return HONE_NOMEM(err, "a row of logits");
    hone_get_f32s(hone_unpack_array(u, n, 4), v);
    r->next_row = (size_t)index + 1;
    if (r->row) r->row(r->user, (size_t)index, v, n);
    return HONE_OK;
}

static hone_code take_token(hone_reply *r, hone_unpacker *u, hone_err *err)
{
    uint32_t id = hone_unpack_u32(u);
    double   ms = hone_unpack_f64(u);
    if (r->op != HONE_MSG_GENERATE || !hone_unpack_done(u)) return broken(err, "a token nobody asked for");
    hone_generate *g = r->gen;
    if (g->n_out >= g->max_new || id > INT32_MAX || !isfinite(ms) || ms < 0) return broken(err, "a token out of range");
    if (g->out) g->out[g->n_out] = (int32_t)id;
    if (g->token_ms) g->token_ms[g->n_out] = ms;
    g->n_out++;
    if (g->on_token) g->on_token(g->user, (int32_t)id, ms);
    return HONE_OK;
}

static hone_code take_stat(hone_reply *r, hone_unpacker *u, hone_err *err)
{
    hone_bytes name = hone_unpack_bytes(u);
    uint64_t   n_mats = hone_unpack_u64(u), n_cols = hone_unpack_u64(u), n, total;
    char       shown[256];
    if (r->op != HONE_MSG_CAPTURE || u->bad) return broken(err, "statistics nobody asked for");
    /* Room for values and counts in one piece: the counts come first, they want the stricter alignment. */
    if (n_mats == 0 || n_cols == 0 || n_mats > HONE_FRAME_MAX || !hone_size_mul(n_mats, n_cols, &n) || n > HONE_FRAME_MAX ||
        !hone_size_add(n, 2 * n_mats, &total))
        return broken(err, "statistics of an impossible shape");
    hone_bytes values = hone_unpack_array(u, n, 4), counts = hone_unpack_array(u, n_mats, 8);
    if (!hone_unpack_done(u) || name.len == 0 || name.len >= sizeof shown || memchr(name.ptr, 0, name.len))
        return broken(err, "statistics that do not fit their frame");
    memcpy(shown, name.ptr, name.len);
    shown[name.len] = '\0';
    float *v = scratch(r, (size_t)total);
    if (!v) return HONE_NOMEM(err, "activation statistics");
    uint64_t *c = (uint64_t *)(void *)v; /* malloc's memory: aligned for both, each part used as one type only */
    v += 2 * n_mats;
    hone_get_u64s(counts, c);
    hone_get_f32s(values, v);
    if (r->sink) r->sink(r->user, shown, v, (size_t)n_mats, (size_t)n_cols, c);
    return HONE_OK;
}

/* Rows of one layer; the sink sees it when all of them are there. */
static hone_code take_layer(hone_reply *r, hone_unpacker *u, hone_err *err)
{
    uint32_t layer = hone_unpack_u32(u);
    uint64_t first = hone_unpack_u64(u), width = hone_unpack_u64(u), total;
    if (r->op != HONE_MSG_LAYERS || u->bad) return broken(err, "a layer nobody asked for");
    if (layer != r->next_layer || first != r->next_row) return broken(err, "a layer out of order");
    if (width == 0 || width > HONE_FRAME_MAX || (r->row_len && width != r->row_len) || u->left == 0 || u->left % (4 * width) != 0 ||
        u->left / (4 * width) > r->n - first || !hone_size_mul(r->n, width, &total) || total > SIZE_MAX / sizeof(float))
        return broken(err, "a layer of an impossible shape");
    r->row_len = (size_t)width;
    float *v = scratch(r, (size_t)total);
    if (!v) return HONE_NOMEM(err, "the values behind a layer");
    size_t rows = u->left / (4 * (size_t)width);
    hone_get_f32s(hone_unpack_array(u, rows * width, 4), v + first * width);
    r->next_row += rows;
    if (r->next_row < r->n) return HONE_OK;
    r->next_row = 0;
    r->next_layer++;
    if (r->layer) r->layer(r->user, layer, v, r->n, r->row_len);
    return HONE_OK;
}

bool hone_backend_value_bytes(int type, const int64_t *dims, uint32_t rank, uint64_t *bytes)
{
    uint64_t n = hone_backend_type_size(type);
    if (n == 0 || rank > HONE_BACKEND_RANK_MAX) return false;
    for (uint32_t i = 0; i < rank; i++)
        if (dims[i] < 0 || !hone_size_mul(n, (uint64_t)dims[i], &n)) return false;
    *bytes = n;
    return true;
}

/* Name, type, rank and dimensions, as VALUE and SIGNATURE have them. */
static bool unpack_name(hone_unpacker *u, char *out, size_t cap)
{
    hone_bytes name = hone_unpack_bytes(u);
    if (u->bad || name.len >= cap || (name.len && memchr(name.ptr, 0, name.len)) || !hone_utf8_valid((const char *)name.ptr, name.len)) return false;
    if (name.len) memcpy(out, name.ptr, name.len);
    out[name.len] = '\0';
    return true;
}

/* The value is whole: its reader sees it. */
static void value_whole(hone_reply *r)
{
    r->now.data = r->scratch;
    if (r->value) r->value(r->user, &r->now);
    r->now = (hone_backend_value){ 0 };
}

static hone_code take_value(hone_reply *r, hone_unpacker *u, hone_err *err)
{
    uint64_t bytes = 0;
    if (r->op != HONE_MSG_INFER || r->now.name) return broken(err, "a value nobody asked for");
    if (!unpack_name(u, r->now_name, sizeof r->now_name)) return broken(err, "a value without a name");
    hone_backend_value v = { .name = r->now_name, .type = (int)hone_unpack_u32(u), .rank = hone_unpack_u32(u) };
    if (v.rank > HONE_BACKEND_RANK_MAX) return broken(err, "a value of too many dimensions");
    for (uint32_t i = 0; i < v.rank; i++) {
        uint64_t d = hone_unpack_u64(u);
        if (d > INT64_MAX) return broken(err, "a value of an impossible shape");
        v.dims[i] = (int64_t)d;
    }
    uint64_t said = hone_unpack_u64(u);
    if (!hone_unpack_done(u) || !hone_backend_value_bytes(v.type, v.dims, v.rank, &bytes) || bytes != said || bytes > SIZE_MAX - 8)
        return broken(err, "a value of an impossible shape");
    /* A float is not aligned for 8-byte elements, malloc's memory is. */
    if (bytes > HONE_VALUE_MAX) return HONE_FAIL(err, HONE_ERESOURCE, "send fewer samples at a time", "a value of the network has %" PRIu64 " bytes", bytes);
    if (!scratch(r, (size_t)bytes / sizeof(float) + 2)) return HONE_NOMEM(err, "a value of a network");
    v.bytes = (size_t)bytes;
    r->now = v;
    r->now_have = 0;
    if (bytes == 0) value_whole(r);
    return HONE_OK;
}

static hone_code take_chunk(hone_reply *r, hone_unpacker *u, hone_err *err)
{
    uint64_t at = hone_unpack_u64(u);
    if (r->op != HONE_MSG_INFER || u->bad || !r->now.name || at != r->now_have || u->left == 0 || u->left > r->now.bytes - r->now_have)
        return broken(err, "a piece of a value nobody asked for");
    hone_bytes part = hone_unpack_array(u, u->left, 1);
    memcpy((uint8_t *)r->scratch + r->now_have, part.ptr, part.len);
    r->now_have += part.len;
    if (r->now_have == r->now.bytes) value_whole(r);
    return HONE_OK;
}

static hone_code take_ports(hone_reply *r, hone_unpacker *u, const hone_backend_port **out, size_t *n_out, hone_err *err)
{
    char     name[HONE_VALUE_NAME_MAX];
    uint32_t n = hone_unpack_u32(u);
    if (u->bad || n > u->left / 16) return broken(err, "a signature that does not fit its frame"); /* the least that a port takes */
    hone_backend_port *p = HONE_ARENA_NEW(r->arena, hone_backend_port, n);
    if (!p) return HONE_NOMEM(err, "a signature");
    for (uint32_t i = 0; i < n; i++) {
        if (!unpack_name(u, name, sizeof name)) return broken(err, "an input or output without a name");
        if (!(p[i].name = hone_arena_strdup(r->arena, name))) return HONE_NOMEM(err, "a signature");
        p[i].type = (int)(hone_unpack_u32(u) & 0xffff);
        p[i].rank = hone_unpack_u32(u);
        if (p[i].rank > HONE_BACKEND_RANK_MAX) return broken(err, "an input or output of too many dimensions");
        for (uint32_t k = 0; k < p[i].rank; k++) {
            uint64_t d = hone_unpack_u64(u);
            p[i].dims[k] = d > INT64_MAX ? -1 : (int64_t)d;
            if (!unpack_name(u, name, sizeof name)) return broken(err, "a dimension with a bad name");
            if (!(p[i].symbols[k] = hone_arena_strdup(r->arena, name))) return HONE_NOMEM(err, "a signature");
        }
    }
    *out = p;
    *n_out = n;
    return HONE_OK;
}

static hone_code take_signature(hone_reply *r, hone_unpacker *u, hone_err *err)
{
    HONE_TRY(take_ports(r, u, &r->signature.in, &r->signature.n_in, err));
    HONE_TRY(take_ports(r, u, &r->signature.out, &r->signature.n_out, err));
    return hone_unpack_done(u) ? HONE_OK : broken(err, "a signature that does not fit its frame");
}

/* A run of rows of one input; which experts they went to stands in front of them, as in their memory here. */
static hone_code take_rows(hone_reply *r, hone_unpacker *u, hone_err *err)
{
    uint32_t name = hone_unpack_u32(u);
    uint64_t n_rows = hone_unpack_u64(u), n_cols = hone_unpack_u64(u), n_mats = hone_unpack_u64(u), n, total;
    if (r->op != HONE_MSG_INPUTS || u->bad || name >= r->n_names) return broken(err, "rows nobody asked for");
    if (n_rows == 0 || n_cols == 0 || n_mats == 0 || n_mats > UINT32_MAX || !hone_size_mul(n_rows, n_cols, &n) || n > HONE_FRAME_MAX ||
        !hone_size_add(n, n_rows, &total))
        return broken(err, "rows of an impossible shape");
    hone_bytes mats = hone_unpack_array(u, n_mats > 1 ? n_rows : 0, 4), values = hone_unpack_array(u, n, 4);
    if (!hone_unpack_done(u)) return broken(err, "rows that do not fit their frame");
    float *v = scratch(r, (size_t)total);
    if (!v) return HONE_NOMEM(err, "the inputs of a weight matrix");
    uint32_t *m = (uint32_t *)(void *)(v + n); /* each part of the memory is used as one type only */
    hone_get_f32s(values, v);
    hone_get_u32s(mats, m);
    for (size_t i = 0; i < mats.len / 4; i++)
        if (m[i] >= n_mats) return broken(err, "a row of an expert that does not exist");
    if (r->rows) r->rows(r->user, name, v, (size_t)n_rows, (size_t)n_cols, (size_t)n_mats, n_mats > 1 ? m : NULL);
    return HONE_OK;
}

static hone_code take_info(hone_reply *r, hone_unpacker *u, hone_err *err)
{
    hone_backend_info i = { 0 };
    double            ms = hone_unpack_f64(u);
    uint32_t         *small[] = { &i.n_vocab, &i.n_ctx, &i.n_embd, &i.n_ctx_train };
    uint64_t         *big[] = { &i.n_params, &i.weights_bytes, &i.kv_bytes, &i.compute_bytes };
    int32_t          *ids[] = { &i.bos, &i.eos, &i.eot };
    for (size_t k = 0; k < HONE_COUNT(small); k++) *small[k] = hone_unpack_u32(u);
    for (size_t k = 0; k < HONE_COUNT(big); k++) *big[k] = hone_unpack_u64(u);
    for (size_t k = 0; k < HONE_COUNT(ids); k++) {
        uint32_t v = hone_unpack_u32(u);
        *ids[k] = v < i.n_vocab ? (int32_t)v : -1;
    }
    i.add_bos = hone_unpack_u8(u);
    i.add_eos = hone_unpack_u8(u);
    put_text(hone_unpack_bytes(u), i.runtime, sizeof i.runtime);
    put_text(hone_unpack_bytes(u), i.version, sizeof i.version);
    put_text(hone_unpack_bytes(u), i.device, sizeof i.device);
    put_text(hone_unpack_bytes(u), i.description, sizeof i.description);
    put_text(hone_unpack_bytes(u), i.fallback, sizeof i.fallback);
    i.text = hone_unpack_u8(u);
    if (!hone_unpack_done(u) || !isfinite(ms) || ms < 0 || i.n_vocab > INT32_MAX)
        return broken(err, "facts of a model that do not fit their frame");
    r->info = i;
    r->ms = ms;
    return HONE_OK;
}

static hone_code take_ids(hone_reply *r, hone_unpacker *u, hone_err *err)
{
    hone_bytes raw = hone_unpack_ids(u);
    if (!hone_unpack_done(u)) return broken(err, "token ids that do not fit their frame");
    int32_t *ids = HONE_ARENA_NEW(r->arena, int32_t, raw.len / 4);
    if (!ids) return HONE_NOMEM(err, "token ids");
    hone_get_u32s(raw, (uint32_t *)ids);
    for (size_t i = 0; i < raw.len / 4; i++)
        if (ids[i] < 0) return broken(err, "a negative token id");
    r->ids = ids;
    r->n_ids = raw.len / 4;
    return HONE_OK;
}

static hone_code take_text(hone_reply *r, hone_unpacker *u, hone_err *err)
{
    hone_bytes raw = hone_unpack_bytes(u);
    if (!hone_unpack_done(u)) return broken(err, "a text that does not fit its frame");
    char *text = hone_arena_alloc(r->arena, raw.len + 1);
    if (!text) return HONE_NOMEM(err, "a text");
    if (raw.len) memcpy(text, raw.ptr, raw.len);
    text[raw.len] = '\0';
    r->text = text;
    r->text_len = raw.len;
    return HONE_OK;
}

static hone_code take_done(hone_reply *r, hone_unpacker *u, hone_err *err)
{
    switch (r->op) {
    case HONE_MSG_PROBE: {
        hone_bytes version = hone_unpack_bytes(u), devices = hone_unpack_bytes(u);
        if (!hone_unpack_done(u)) return broken(err, "a version that does not fit its frame");
        put_text(version, r->version, r->version_cap);
        put_text(devices, r->devices, r->devices_cap);
        return HONE_OK;
    }
    case HONE_MSG_OPEN: return take_info(r, u, err);
    case HONE_MSG_SIGNATURE: return take_signature(r, u, err);
    case HONE_MSG_TOKENIZE: return take_ids(r, u, err);
    case HONE_MSG_DETOKENIZE:
    case HONE_MSG_RENDER: return take_text(r, u, err);
    case HONE_MSG_INFER:
    case HONE_MSG_FORWARD: {
        if (r->now.name) return broken(err, "a value that is not whole");
        double ms = hone_unpack_f64(u);
        if (!hone_unpack_done(u) || !isfinite(ms)) return broken(err, "a time that is none");
        r->ms = ms > 0 ? ms : 0;
        return HONE_OK;
    }
    case HONE_MSG_NLL: {
        hone_bytes raw = hone_unpack_ids(u);
        if (!hone_unpack_done(u) || r->n == 0 || raw.len / 4 != r->n - 1) return broken(err, "likelihoods that are too few or too many");
        hone_get_f32s(raw, r->nll);
        return HONE_OK;
    }
    case HONE_MSG_GENERATE: {
        uint64_t n = hone_unpack_u64(u);
        double   prefill = hone_unpack_f64(u), decode = hone_unpack_f64(u);
        if (!hone_unpack_done(u) || n != r->gen->n_out || !isfinite(prefill) || !isfinite(decode) || prefill < 0 || decode < 0)
            return broken(err, "a sum of tokens that is not theirs");
        r->gen->prefill_ms = prefill;
        r->gen->decode_ms = decode;
        return HONE_OK;
    }
    case HONE_MSG_USAGE: {
        double user = hone_unpack_f64(u), sys = hone_unpack_f64(u);
        if (!hone_unpack_done(u) || !isfinite(user) || !isfinite(sys) || user < 0 || sys < 0) return broken(err, "a time that is none");
        r->user_s = user;
        r->sys_s = sys;
        return HONE_OK;
    }
    case HONE_MSG_LAYERS:
        return hone_unpack_done(u) && r->next_row == 0 && r->next_layer > 0 ? HONE_OK : broken(err, "layers that are not whole");
    case HONE_MSG_TRANSLATE:
    case HONE_MSG_REWIND:
    case HONE_MSG_INPUTS:
    case HONE_MSG_CAPTURE: return hone_unpack_done(u) ? HONE_OK : broken(err, "an answer that is too long");
    default: return broken(err, "an answer nobody asked for");
    }
}

static hone_code take_fail(hone_reply *r, hone_unpacker *u, hone_err *err)
{
    uint32_t   code = hone_unpack_u32(u);
    hone_bytes why = hone_unpack_bytes(u);
    char       shown[480];
    if (!hone_unpack_done(u)) return broken(err, "a failure without a reason");
    /* Usage is ours to check before we ask; 0 would be no failure. */
    if (code != HONE_ENO && code != HONE_EINPUT && code != HONE_EUNSUPPORTED && code != HONE_ERESOURCE && code != HONE_EBUG)
        code = HONE_ERUNTIME;
    if (code == HONE_ENO && why.len < sizeof shown && hone_utf8_valid((const char *)why.ptr, why.len) &&
        !memchr(why.ptr, 0, why.len)) { /* a template's own message: compared word by word, so not a byte is changed */
        memcpy(shown, why.ptr, why.len);
        shown[why.len] = '\0';
    } else {
        put_text(why, shown, sizeof shown);
    }
    r->said = true;
    return HONE_FAIL(err, (hone_code)code, "", "%s", shown);
}

hone_code hone_reply_take(hone_reply *r, const hone_frame *f, hone_err *err)
{
    hone_unpacker u = hone_unpack(f->payload);
    if (f->id != r->id) return broken(err, "an answer to another request");
    switch (f->type) {
    case HONE_MSG_ROW: return take_row(r, &u, err);
    case HONE_MSG_TOKEN: return take_token(r, &u, err);
    case HONE_MSG_STAT: return take_stat(r, &u, err);
    case HONE_MSG_LAYER: return take_layer(r, &u, err);
    case HONE_MSG_ROWS: return take_rows(r, &u, err);
    case HONE_MSG_VALUE: return take_value(r, &u, err);
    case HONE_MSG_CHUNK: return take_chunk(r, &u, err);
    case HONE_MSG_BEAT: return hone_unpack_done(&u) ? HONE_OK : broken(err, "a sign of life with a load");
    case HONE_MSG_FAIL: return take_fail(r, &u, err);
    case HONE_MSG_HELLO: {
        uint32_t version = hone_unpack_u32(&u);
        (void)hone_unpack_bytes(&u);
        if (r->op != HONE_MSG_HELLO || !hone_unpack_done(&u)) return broken(err, "a greeting nobody asked for");
        if (version != HONE_PROTOCOL_VERSION)
            return HONE_FAIL(err, HONE_EUNSUPPORTED, "install hone again: its programs are of different versions",
                             "hone-runner speaks version %" PRIu32 " of the protocol, hone version %u", version, HONE_PROTOCOL_VERSION);
        r->done = true;
        return HONE_OK;
    }
    case HONE_MSG_DONE:
        HONE_TRY(take_done(r, &u, err));
        r->done = true;
        return HONE_OK;
    default: return broken(err, "a frame of an unknown type");
    }
}

void hone_reply_release(hone_reply *r)
{
    if (!r) return;
    free(r->scratch);
    r->scratch = NULL;
    r->scratch_len = 0;
}
