/* mlx_folder.c - any config.json and any tensors as an MLX folder: text up to a NUL, then a safetensors file.  It is refused with a cause, or every
 * tensor reads, and a piece of it is what the whole has at that place. */
#include "arch/arch.h"
#include "formats/mlx/read.h"
#include "formats/safetensors.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hone_code read_memory(const hone_source *s, const hone_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err)
{
    const hone_bytes *file = s->self;
    if (t->offset > file->len || off > t->bytes || n > t->bytes - off || t->offset + off + n > file->len) abort();
    (void)err;
    memcpy(buf, file->ptr + t->offset + off, n);
    return HONE_OK;
}

static void close_nothing(hone_source *s) { (void)s; }

static int by_name(const void *x, const void *y) { return strcmp(((const hone_tensor *)x)->name, ((const hone_tensor *)y)->name); }

static void read_all(const hone_source *s)
{
    size_t left = 1 << 20;
    for (size_t i = 0; i < s->n_tensors; i++) {
        const hone_tensor *t = &s->tensors[i];
        hone_err           err = { 0 };
        if (i && strcmp(s->tensors[i - 1].name, t->name) >= 0) abort();
        if (t->bytes == 0 || t->bytes > left) continue;
        left -= (size_t)t->bytes;
        uint8_t *whole = malloc((size_t)t->bytes), *part = malloc((size_t)t->bytes);
        uint64_t off = t->bytes / 3, n = (t->bytes - off) / 2 + 1;
        if (!whole || !part) exit(70);
        if (n > t->bytes - off) n = t->bytes - off;
        if (s->read(s, t, 0, whole, (size_t)t->bytes, &err) != HONE_OK || s->read(s, t, off, part, (size_t)n, &err) != HONE_OK) abort();
        if (memcmp(whole + off, part, (size_t)n) != 0) abort();
        free(whole);
        free(part);
    }
}

static void view(const hone_bytes *file, const json_t *config, const hone_mlx_arch *m)
{
    hone_arena   a = { 0 };
    hone_err     err = { 0 };
    hone_tensor *tensors = NULL;
    size_t       n = 0;
    if (hone_safetensors_parse(*file, file->len, &a, &tensors, &n, &err) == HONE_OK) {
        hone_bytes   own = *file;
        hone_source  raw = { .read = read_memory, .close = close_nothing, .self = &own }, *s = NULL;
        if (n) qsort(tensors, n, sizeof *tensors, by_name);
        raw.tensors = tensors;
        raw.n_tensors = n;
        hone_code code = hone_mlx_view(&raw, config, m, &a, &s, &err);
        if (code == HONE_OK) {
            read_all(s);
            s->close(s);
        } else if (err.code != code || !err.cause[0])
            abort();
    }
    hone_arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data ? data : (const uint8_t *)"", 0, size);
    json_t        *config = NULL;
    hone_err       err = { 0 };
    if (!end || hone_json_parse((hone_bytes){ data, (size_t)(end - data) }, "config.json", &config, &err) != HONE_OK) return 0;
    hone_bytes file = { end + 1, size - (size_t)(end - data) - 1 };
    view(&file, config, NULL);
    for (size_t i = 0; i < hone_arch_count; i++)
        if (hone_arch_list[i]->mlx.renames[0].from) view(&file, config, &hone_arch_list[i]->mlx);
    hone_mlx_config_plain(config);
    json_decref(config);
    return 0;
}
