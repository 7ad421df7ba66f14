/* metadata.c - a difference in a header, told by the key that people know: GGUF keys, JSON keys (also in the header of safetensors). */
#include "base/text.h"
#include "flow/verify/parts.h"
#include <inttypes.h>
#include <stdlib.h>

#define SHOWN    120 /* characters of a value */
#define MOST     12  /* entries of one file */
#define MAX_TEXT ((uint64_t)1 << 28) /* bytes of a JSON document */

static bool is_full(const hone_comparison *c, const char *file)
{
    size_t  i, n = 0;
    json_t *row;
    json_array_foreach(c->metadata, i, row) n += strcmp(json_string_value(json_object_get(row, "file")), file) == 0;
    return n >= MOST;
}

hone_code hone_metadata_add(hone_comparison *c, const char *file, const char *key, const char *want, const char *found, hone_err *err)
{
    if (is_full(c, file)) return HONE_OK;
    json_t *row = json_pack("{s:s,s:s,s:o,s:o}", "file", file, "key", key, "expected", want ? json_string(want) : json_null(), "found",
                            found ? json_string(found) : json_null());
    return row && json_array_append_new(c->metadata, row) == 0 ? HONE_OK : HONE_NOMEM(err, "the comparison");
}

/* ---- GGUF ---- */

static const char *shown(hone_gguf_str s, char out[SHOWN]) { return hone_text_show(s.ptr, s.len < 4096 ? (size_t)s.len : 4096, out, SHOWN); }

static size_t element_bytes(hone_gguf_type t)
{
    static const uint8_t size[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return size[t];
}

static bool same_element(const hone_gguf_value *a, const hone_gguf_value *b, uint64_t i)
{
    if (a->elem == HONE_GGUF_STRING) {
        hone_gguf_str x = ((const hone_gguf_str *)a->as.array)[i], y = ((const hone_gguf_str *)b->as.array)[i];
        return x.len == y.len && memcmp(x.ptr, y.ptr, (size_t)x.len) == 0;
    }
    size_t n = element_bytes(a->elem);
    return memcmp((const uint8_t *)a->as.array + i * n, (const uint8_t *)b->as.array + i * n, n) == 0;
}

/* The first element that differs; n when none does.  Of the same element type. */
static uint64_t first_element(const hone_gguf_value *a, const hone_gguf_value *b)
{
    uint64_t n = a->n < b->n ? a->n : b->n, i = 0;
    while (i < n && same_element(a, b, i)) i++;
    return i;
}

static bool same_value(const hone_gguf_value *a, const hone_gguf_value *b)
{
    if (a->type != b->type) return false;
    if (a->type == HONE_GGUF_STRING) return a->as.s.len == b->as.s.len && memcmp(a->as.s.ptr, b->as.s.ptr, (size_t)a->as.s.len) == 0;
    if (a->type == HONE_GGUF_BOOL) return a->as.b == b->as.b;
    if (a->type != HONE_GGUF_ARRAY) return a->as.u == b->as.u;
    return a->elem == b->elem && a->n == b->n && first_element(a, b) == a->n;
}

static void say_element(const hone_gguf_value *v, uint64_t i, char out[SHOWN])
{
    const uint8_t *at = (const uint8_t *)v->as.array + i * element_bytes(v->elem);
    char           text[SHOWN - 40];
    if (v->elem == HONE_GGUF_STRING) {
        hone_gguf_str s = ((const hone_gguf_str *)v->as.array)[i];
        (void)snprintf(out, SHOWN, "[%" PRIu64 "] '%s'", i, hone_text_show(s.ptr, s.len < 4096 ? (size_t)s.len : 4096, text, sizeof text));
        return;
    }
    uint64_t bits = 0;
    memcpy(&bits, at, element_bytes(v->elem));
    if (v->elem == HONE_GGUF_F32) {
        float f;
        memcpy(&f, at, sizeof f);
        (void)snprintf(out, SHOWN, "[%" PRIu64 "] %.9g", i, (double)f);
    } else (void)snprintf(out, SHOWN, "[%" PRIu64 "] %" PRIu64, i, bits);
}

/* at: of an array, the element to show. */
static const char *say(const hone_gguf_value *v, uint64_t at, char out[SHOWN])
{
    switch (v->type) {
    case HONE_GGUF_STRING: return shown(v->as.s, out);
    case HONE_GGUF_BOOL: return v->as.b ? "true" : "false";
    case HONE_GGUF_F32:
    case HONE_GGUF_F64: (void)snprintf(out, SHOWN, "%.9g", v->as.f); return out;
    case HONE_GGUF_I8:
    case HONE_GGUF_I16:
    case HONE_GGUF_I32:
    case HONE_GGUF_I64: (void)snprintf(out, SHOWN, "%" PRId64, v->as.i); return out;
    case HONE_GGUF_ARRAY:
        if (at < v->n) say_element(v, at, out);
        else (void)snprintf(out, SHOWN, "%" PRIu64 " elements", v->n);
        return out;
    default: (void)snprintf(out, SHOWN, "%" PRIu64, v->as.u); return out;
    }
}

static const hone_gguf_value *find(const hone_gguf *g, hone_gguf_str key)
{
    for (size_t i = 0; i < g->n_kv; i++)
        if (g->kv[i].key.len == key.len && memcmp(g->kv[i].key.ptr, key.ptr, (size_t)key.len) == 0) return &g->kv[i].value;
    return NULL;
}

hone_code hone_metadata_gguf(hone_comparison *c, const char *file, const hone_gguf *want, const hone_gguf *found, hone_err *err)
{
    char key[SHOWN], one[SHOWN], two[SHOWN];
    for (size_t i = 0; i < want->n_kv; i++) {
        const hone_gguf_value *a = &want->kv[i].value, *b = find(found, want->kv[i].key);
        if (b && same_value(a, b)) continue;
        bool     arrays = b && a->type == HONE_GGUF_ARRAY && b->type == HONE_GGUF_ARRAY && a->elem == b->elem;
        uint64_t at = arrays ? first_element(a, b) : UINT64_MAX;
        HONE_TRY(hone_metadata_add(c, file, shown(want->kv[i].key, key), say(a, at, one), b ? say(b, at, two) : NULL, err));
    }
    for (size_t i = 0; i < found->n_kv; i++)
        if (!find(want, found->kv[i].key))
            HONE_TRY(hone_metadata_add(c, file, shown(found->kv[i].key, key), NULL, say(&found->kv[i].value, UINT64_MAX, two), err));
    return HONE_OK;
}

/* The key or the tensor whose bytes lie at `offset` of the header that should be there. */
static hone_code key_at(hone_comparison *c, const char *file, hone_bytes head, uint64_t total, uint64_t offset, hone_err *err)
{
    hone_gguf    g;
    hone_tensor *tensors;
    size_t       n;
    const char  *key = "GGUF";
    char         name[SHOWN], value[SHOWN];
    HONE_TRY(hone_gguf_parse(head, total, c->a, &g, &tensors, &n, err));
    const hone_gguf_kv *last = NULL;
    for (size_t i = 0; i < g.n_kv; i++)
        if ((uint64_t)((const uint8_t *)g.kv[i].key.ptr - 8 - head.ptr) <= offset) last = &g.kv[i];
    if (last) key = shown(last->key, name);
    /* Behind the keys: names, shapes and places of tensors. */
    const uint8_t *list = n ? memmem(head.ptr, head.len, tensors[0].name, strlen(tensors[0].name)) : NULL;
    for (const uint8_t *p = list; p; p = memmem(p + 1, head.len - (size_t)(p + 1 - head.ptr), tensors[0].name, strlen(tensors[0].name)))
        if (p - head.ptr >= 8 && hone_le64(p - 8) == strlen(tensors[0].name)) list = p;
    if (list && offset >= (uint64_t)(list - 8 - head.ptr)) return hone_metadata_add(c, file, "the list of tensors", NULL, NULL, err);
    return hone_metadata_add(c, file, key, last ? say(&last->value, UINT64_MAX, value) : "version, numbers of tensors and keys", "other bytes", err);
}

static hone_code gguf_file(hone_comparison *c, size_t file, uint64_t offset, hone_err *err)
{
    const hone_planned_file *f = &c->j->outputs[0].files[file];
    const char              *name = hone_comparison_file(c, file);
    hone_gguf                want, found;
    hone_tensor             *tensors;
    size_t                   n, before = json_array_size(c->metadata);
    hone_err                 e = { 0 };
    hone_file                in = HONE_FILE_CLOSED;
    HONE_TRY(hone_gguf_parse(f->head, f->total, c->a, &want, &tensors, &n, err));
    HONE_TRY(hone_file_open(c->paths[file], &in, err));
    size_t    len = in.size < f->head.len ? (size_t)in.size : f->head.len;
    uint8_t  *head = hone_arena_alloc(c->a, len + 1);
    hone_code code = head ? hone_file_read(&in, 0, head, len, err) : HONE_NOMEM(err, "a GGUF header");
    uint64_t  size = in.size;
    hone_file_close(&in);
    HONE_TRY(code);
    if (hone_gguf_parse((hone_bytes){ head, len }, size, c->a, &found, &tensors, &n, &e) == HONE_OK)
        HONE_TRY(hone_metadata_gguf(c, name, &want, &found, err));
    return json_array_size(c->metadata) > before ? HONE_OK : key_at(c, name, f->head, f->total, offset, err);
}

/* ---- JSON ---- */

typedef struct walk { hone_comparison *c; const char *file; hone_err *err; } walk;

static hone_code compare_json(walk *w, const json_t *a, const json_t *b, const char *path);

static hone_code differ(walk *w, const json_t *a, const json_t *b, const char *path)
{
    char *x = a ? json_dumps(a, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS) : NULL, *y = b ? json_dumps(b, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS) : NULL;
    char  one[SHOWN], two[SHOWN], where[SHOWN];
    bool  good = (!a || x) && (!b || y);
    hone_code code = good ? hone_metadata_add(w->c, w->file, hone_text_show(path, strlen(path), where, sizeof where), x ? hone_text_show(x, strlen(x), one, sizeof one) : NULL,
                                              y ? hone_text_show(y, strlen(y), two, sizeof two) : NULL, w->err)
                          : HONE_NOMEM(w->err, "the comparison");
    free(x);
    free(y);
    return code;
}

static hone_code compare_member(walk *w, const json_t *a, const json_t *b, const char *path, const char *key)
{
    const char *below = hone_arena_printf(w->c->a, "%s%s%s", path, *path ? "." : "", key);
    return below ? compare_json(w, a, b, below) : HONE_NOMEM(w->err, "the comparison");
}

static hone_code compare_json(walk *w, const json_t *a, const json_t *b, const char *path)
{
    const char   *key;
    const json_t *v;
    if (is_full(w->c, w->file) || json_equal(a, b)) return HONE_OK;
    if (json_is_object(a) && json_is_object(b)) {
        json_object_foreach((json_t *)(uintptr_t)a, key, v) HONE_TRY(compare_member(w, v, json_object_get(b, key), path, key));
        json_object_foreach((json_t *)(uintptr_t)b, key, v)
            if (!json_object_get(a, key)) HONE_TRY(compare_member(w, NULL, v, path, key));
        return HONE_OK;
    }
    if (json_is_array(a) && json_is_array(b) && json_array_size(a) == json_array_size(b)) {
        for (size_t i = 0; i < json_array_size(a); i++) {
            const char *below = hone_arena_printf(w->c->a, "%s[%zu]", path, i);
            if (!below) return HONE_NOMEM(w->err, "the comparison");
            HONE_TRY(compare_json(w, json_array_get(a, i), json_array_get(b, i), below));
        }
        return HONE_OK;
    }
    return differ(w, a, b, path);
}

hone_code hone_metadata_json(hone_comparison *c, const char *file, hone_bytes want, hone_bytes found, hone_err *err)
{
    json_t   *a = NULL, *b = NULL;
    hone_code code = HONE_OK;
    if (want.len && found.len && hone_json_parse(want, "", &a, NULL) == HONE_OK && hone_json_parse(found, "", &b, NULL) == HONE_OK)
        code = compare_json(&(walk){ c, file, err }, a, b, "");
    json_decref(a);
    json_decref(b);
    return code;
}

static bool ends_in(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

/* The JSON inside: all of a .json file, behind the length in a safetensors file.  Empty when there is none. */
static hone_bytes document_in(hone_bytes b, const char *name)
{
    if (ends_in(name, ".json")) return b;
    if (b.len < 8 || hone_le64(b.ptr) > b.len - 8) return (hone_bytes){ 0 };
    return (hone_bytes){ b.ptr + 8, (size_t)hone_le64(b.ptr) };
}

static hone_code json_file(hone_comparison *c, size_t file, hone_err *err)
{
    const hone_planned_file *f = &c->j->outputs[0].files[file];
    hone_file                in = HONE_FILE_CLOSED;
    hone_bytes               want = f->head, found = { 0 };
    if (f->copy) HONE_TRY(hone_file_slurp(f->copy, MAX_TEXT, c->a, &want, err));
    HONE_TRY(hone_file_open(c->paths[file], &in, err));
    size_t    len = ends_in(f->name, ".json") || in.size < want.len ? (size_t)(in.size < MAX_TEXT ? in.size : MAX_TEXT) : want.len;
    uint8_t  *buf = hone_arena_alloc(c->a, len + 1);
    hone_code code = buf ? hone_file_read(&in, 0, buf, len, err) : HONE_NOMEM(err, "a document");
    hone_file_close(&in);
    HONE_TRY(code);
    found = (hone_bytes){ buf, len };
    return hone_metadata_json(c, hone_comparison_file(c, file), document_in(want, f->name), document_in(found, f->name), err);
}

hone_code hone_metadata_file(hone_comparison *c, size_t file, uint64_t offset, hone_err *err)
{
    const char *name = c->j->outputs[0].files[file].name;
    if (c->found->gguf) return gguf_file(c, file, offset, err);
    if (name && (ends_in(name, ".json") || ends_in(name, ".safetensors"))) return json_file(c, file, err);
    return HONE_OK; /* told by its bytes */
}
