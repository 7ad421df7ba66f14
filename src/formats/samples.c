#include "formats/samples.h"
#include "base/file.h"
#include "base/text.h"
#include "formats/safetensors.h"
#include "formats/samples/image.h"
#include "formats/samples/npy.h"
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), k = strlen(with);
    return n >= k && strcasecmp(s + n - k, with) == 0;
}

static hone_code no_samples(const char *path, hone_err *err) { return HONE_FAIL(err, HONE_EINPUT, "give at least one sample", "'%s' has no samples", path); }

/* Every array has the same number of samples, and there is at least one of both. */
static hone_code same_number(hone_samples *s, hone_err *err)
{
    if (s->n_arrays == 0 || s->arrays[0].dims[0] == 0) return no_samples(s->path, err);
    for (size_t i = 1; i < s->n_arrays; i++)
        if (s->arrays[i].dims[0] != s->arrays[0].dims[0])
            return HONE_FAIL(err, HONE_EINPUT, "the first dimension counts samples", "'%s': '%s' has %" PRId64 " samples, '%s' has %" PRId64, s->path, s->arrays[0].name,
                             s->arrays[0].dims[0], s->arrays[i].name, s->arrays[i].dims[0]);
    s->n = (uint64_t)s->arrays[0].dims[0];
    return HONE_OK;
}

/* --- safetensors ------------------------------------------------------------------------------------------------- */
static int type_of(hone_dtype t)
{
    static const struct { hone_dtype from; int to; } rows[] = {
        { HONE_DTYPE_F32, HONE_BACKEND_F32 }, { HONE_DTYPE_F16, HONE_BACKEND_F16 }, { HONE_DTYPE_BF16, HONE_BACKEND_BF16 }, { HONE_DTYPE_F64, HONE_BACKEND_F64 },
        { HONE_DTYPE_I8, HONE_BACKEND_I8 },   { HONE_DTYPE_I16, HONE_BACKEND_I16 }, { HONE_DTYPE_I32, HONE_BACKEND_I32 },   { HONE_DTYPE_I64, HONE_BACKEND_I64 },
        { HONE_DTYPE_U8, HONE_BACKEND_U8 },   { HONE_DTYPE_U16, HONE_BACKEND_U16 }, { HONE_DTYPE_U32, HONE_BACKEND_U32 },   { HONE_DTYPE_U64, HONE_BACKEND_U64 },
        { HONE_DTYPE_BOOL, HONE_BACKEND_BOOL },
    };
    for (size_t i = 0; i < HONE_COUNT(rows); i++)
        if (rows[i].from == t) return rows[i].to;
    return 0;
}

static hone_code read_st(const hone_samples *s, const hone_samples_array *a, uint64_t first, uint64_t count, void *out, hone_err *err)
{
    const hone_source *src = s->self;
    return src->read(src, a->from, first * a->sample_bytes, out, (size_t)(count * a->sample_bytes), err);
}

static void close_st(hone_samples *s)
{
    hone_source *src = (hone_source *)(uintptr_t)s->self;
    src->close(src);
}

static hone_code open_st(hone_arena *a, hone_samples *s, hone_err *err)
{
    hone_source *src = NULL;
    HONE_TRY(hone_safetensors_open(s->path, a, &src, err));
    s->self = src;
    s->read = read_st;
    s->close = close_st;
    s->arrays = HONE_ARENA_NEW(a, hone_samples_array, src->n_tensors);
    if (!s->arrays) return HONE_NOMEM(err, "the list of arrays");
    for (size_t i = 0; i < src->n_tensors; i++) {
        const hone_tensor  *t = &src->tensors[i];
        hone_samples_array *to = &s->arrays[s->n_arrays];
        *to = (hone_samples_array){ .name = t->name, .type = type_of(t->dtype), .rank = t->n_dims, .from = t };
        if (to->type == 0 || t->n_dims == 0) continue; /* nothing that a network takes */
        for (uint32_t d = 0; d < t->n_dims; d++) to->dims[d] = (int64_t)t->dims[d];
        to->sample_bytes = t->dims[0] ? t->bytes / t->dims[0] : 0;
        s->n_arrays++;
    }
    return HONE_OK;
}

/* --- npy and npz ---------------------------------------------------------------------------------------------------- */
typedef struct npy_file {
    hone_file f;
    uint64_t  data_off;
} npy_file;

static hone_code read_npy(const hone_samples *s, const hone_samples_array *a, uint64_t first, uint64_t count, void *out, hone_err *err)
{
    const npy_file *n = s->self;
    return hone_file_read(&n->f, n->data_off + first * a->sample_bytes, out, (size_t)(count * a->sample_bytes), err);
}

static void close_npy(hone_samples *s) { hone_file_close(&((npy_file *)(uintptr_t)s->self)->f); }

static hone_code open_npy(hone_arena *a, hone_samples *s, hone_err *err)
{
    npy_file *n = HONE_ARENA_NEW(a, npy_file, 1);
    s->arrays = HONE_ARENA_NEW(a, hone_samples_array, 1);
    if (!n || !s->arrays) return HONE_NOMEM(err, "an array");
    n->f = HONE_FILE_CLOSED;
    HONE_TRY(hone_file_open(s->path, &n->f, err));
    s->self = n;
    s->read = read_npy;
    s->close = close_npy;
    size_t   len = n->f.size < HONE_NPY_HEAD_MAX ? (size_t)n->f.size : HONE_NPY_HEAD_MAX;
    uint8_t *head = hone_arena_alloc(a, len);
    if (!head) return HONE_NOMEM(err, "the header of an array");
    HONE_TRY(hone_file_read(&n->f, 0, head, len, err));
    if (hone_npy_parse((hone_bytes){ head, len }, n->f.size, s->arrays, &n->data_off, err) != HONE_OK) return hone_err_wrap(err, "'%s'", s->path);
    s->n_arrays = 1;
    return HONE_OK;
}

static hone_code read_memory(const hone_samples *s, const hone_samples_array *a, uint64_t first, uint64_t count, void *out, hone_err *err)
{
    (void)s;
    (void)err;
    if (count && a->sample_bytes) memcpy(out, (const uint8_t *)a->from + first * a->sample_bytes, (size_t)(count * a->sample_bytes));
    return HONE_OK;
}

static hone_code open_npz(hone_arena *a, hone_samples *s, hone_err *err)
{
    hone_bytes       bytes;
    hone_npz_member *m = NULL;
    size_t           n = 0;
    HONE_TRY(hone_file_slurp(s->path, HONE_NPZ_MAX, a, &bytes, err));
    if (hone_npz_parse(bytes, a, &m, &n, err) != HONE_OK) return hone_err_wrap(err, "'%s'", s->path);
    s->read = read_memory;
    s->arrays = HONE_ARENA_NEW(a, hone_samples_array, n);
    if (!s->arrays) return HONE_NOMEM(err, "the list of arrays");
    for (size_t i = 0; i < n; i++) {
        hone_bytes head = m[i].bytes;
        uint64_t   off = 0;
        if (head.len > HONE_NPY_HEAD_MAX) head.len = HONE_NPY_HEAD_MAX;
        if (hone_npy_parse(head, m[i].bytes.len, &s->arrays[i], &off, err) != HONE_OK) return hone_err_wrap(err, "'%s', '%s'", s->path, m[i].name);
        s->arrays[i].name = m[i].name;
        s->arrays[i].from = m[i].bytes.ptr + off;
    }
    s->n_arrays = n;
    return HONE_OK;
}

/* --- images ------------------------------------------------------------------------------------------------------------- */
typedef struct pictures {
    hone_image_how how;
    const char   **files; /* [n], in the order of the folder's names */
    size_t         n, cap;
    int64_t       *labels; /* [n]; NULL: no folders of classes */
    size_t         n_classes;
} pictures;

static bool is_image(const char *name) { return ends(name, ".png") || ends(name, ".jpg") || ends(name, ".jpeg"); }
static int  by_name(const struct dirent **x, const struct dirent **y) { return strcmp((*x)->d_name, (*y)->d_name); }
static int  visible(const struct dirent *d) { return d->d_name[0] != '.'; }

static hone_code add_picture(pictures *p, const char *path, int64_t label, hone_arena *a, hone_err *err)
{
    if (p->n == p->cap) {
        size_t       cap = p->cap ? 2 * p->cap : 256;
        const char **files = HONE_ARENA_NEW(a, const char *, cap);
        int64_t     *labels = HONE_ARENA_NEW(a, int64_t, cap);
        if (!files || !labels) return HONE_NOMEM(err, "the list of images");
        if (p->n) memcpy(files, p->files, p->n * sizeof *files);
        if (p->n) memcpy(labels, p->labels, p->n * sizeof *labels);
        p->files = files;
        p->labels = labels;
        p->cap = cap;
    }
    p->files[p->n] = path;
    p->labels[p->n++] = label;
    return HONE_OK;
}

/* Images of one folder; at the top, folders of classes too. */
static hone_code list_pictures(const char *dir, bool top, int64_t label, pictures *p, hone_arena *a, hone_err *err)
{
    struct dirent **list = NULL;
    int             n = scandir(dir, &list, visible, by_name);
    hone_code       code = n < 0 ? HONE_FAIL(err, HONE_EINPUT, "", "cannot look into the folder '%s'", dir) : HONE_OK;
    for (int i = 0; code == HONE_OK && i < n; i++) {
        const char *path = hone_arena_printf(a, "%s/%s", dir, list[i]->d_name);
        if (!path) code = HONE_NOMEM(err, "the list of images");
        else if (is_image(list[i]->d_name)) code = add_picture(p, path, label, a, err);
        else if (top && hone_dir_exists(path)) code = list_pictures(path, false, (int64_t)p->n_classes++, p, a, err);
    }
    for (int i = 0; i < n; i++) free(list[i]);
    free(list);
    return code;
}

static hone_code load_picture(const char *path, uint32_t channels, hone_image *out, hone_err *err)
{
    hone_arena a = { 0 };
    hone_bytes bytes;
    hone_code  code = hone_file_slurp(path, HONE_IMAGE_FILE_MAX, &a, &bytes, err);
    if (code == HONE_OK && (code = hone_image_decode(bytes, channels, out, err)) != HONE_OK) (void)hone_err_wrap(err, "'%s'", path);
    hone_arena_release(&a);
    return code;
}

static hone_code read_pictures(const hone_samples *s, const hone_samples_array *a, uint64_t first, uint64_t count, void *out, hone_err *err)
{
    const pictures *p = s->self;
    if (a->from) return read_memory(s, a, first, count, out, err); /* the labels */
    for (uint64_t i = 0; i < count; i++) {
        hone_image img = { 0 };
        HONE_TRY(load_picture(p->files[first + i], p->how.channels, &img, err));
        hone_code code = HONE_OK;
        if (!p->how.width) code = HONE_FAIL(err, HONE_EBUG, "", "no size of images");
        else hone_image_values(&img, &p->how, (float *)out + i * (a->sample_bytes / sizeof(float)));
        hone_image_release(&img);
        HONE_TRY(code);
    }
    return HONE_OK;
}

/* Where the network leaves the size open, all images have that of the first. */
static hone_code size_of_first(pictures *p, hone_err *err)
{
    hone_image img = { 0 };
    if (p->how.width && p->how.height) return HONE_OK;
    HONE_TRY(load_picture(p->files[0], p->how.channels, &img, err));
    p->how.width = img.width;
    p->how.height = img.height;
    hone_image_release(&img);
    return HONE_OK;
}

static hone_code open_pictures(const hone_image_how *how, hone_arena *a, hone_samples *s, hone_err *err)
{
    if (!how) return HONE_FAIL(err, HONE_EUSAGE, "give the samples as .npy, .npz or .safetensors", "'%s': the network takes no images", s->path);
    pictures *p = HONE_ARENA_NEW(a, pictures, 1);
    s->arrays = HONE_ARENA_NEW(a, hone_samples_array, 2);
    if (!p || !s->arrays) return HONE_NOMEM(err, "the list of images");
    p->how = *how;
    HONE_TRY(hone_dir_exists(s->path) ? list_pictures(s->path, true, 0, p, a, err) : add_picture(p, s->path, 0, a, err));
    if (p->n == 0) return no_samples(s->path, err);
    HONE_TRY(size_of_first(p, err));
    int64_t w = p->how.width, h = p->how.height, c = p->how.channels;
    s->self = p;
    s->read = read_pictures;
    s->arrays[0] = (hone_samples_array){ .name = "", .type = HONE_BACKEND_F32, .rank = 4, .dims = { (int64_t)p->n, c, h, w }, .sample_bytes = (uint64_t)(w * h * c) * 4 };
    if (how->channels_last) memcpy(s->arrays[0].dims, (const int64_t[]){ (int64_t)p->n, h, w, c }, 4 * sizeof(int64_t));
    s->arrays[1] = (hone_samples_array){ .name = "labels", .type = HONE_BACKEND_I64, .rank = 1, .dims = { (int64_t)p->n }, .sample_bytes = 8, .from = p->labels };
    s->n_arrays = p->n_classes ? 2 : 1;
    return HONE_OK;
}

/* --- all ------------------------------------------------------------------------------------------------------------------ */
hone_code hone_samples_open(const char *path, const hone_image_how *how, hone_arena *a, hone_samples *out, hone_err *err)
{
    hone_samples s = { .path = hone_arena_strdup(a, path) };
    hone_code    code;
    if (!s.path) return HONE_NOMEM(err, "a path");
    if (hone_dir_exists(path) || is_image(path)) code = open_pictures(how, a, &s, err);
    else if (ends(path, ".safetensors")) code = open_st(a, &s, err);
    else if (ends(path, ".npy")) code = open_npy(a, &s, err);
    else if (ends(path, ".npz")) code = open_npz(a, &s, err);
    else if (!hone_file_exists(path)) return HONE_FAIL(err, HONE_EINPUT, "check the path", "no file '%s'", path);
    else return HONE_FAIL(err, HONE_EINPUT, "known are .safetensors, .npy, .npz, .png, .jpg and folders of images", "'%s' is of no kind that holds samples", path);
    if (code == HONE_OK) code = same_number(&s, err);
    if (code == HONE_OK) *out = s;
    else hone_samples_close(&s);
    return code;
}

void hone_samples_close(hone_samples *s)
{
    if (s && s->close) s->close(s);
    if (s) s->close = NULL;
}

hone_code hone_samples_read(const hone_samples *s, const hone_samples_array *a, uint64_t first, uint64_t count, void *out, hone_err *err)
{
    return s->read(s, a, first, count, out, err);
}

const hone_samples_array *hone_samples_find(const hone_samples *s, const char *name)
{
    for (size_t i = 0; i < s->n_arrays; i++)
        if (strcmp(s->arrays[i].name, name) == 0) return &s->arrays[i];
    return NULL;
}
