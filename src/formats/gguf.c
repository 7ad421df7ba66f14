#include "formats/gguf.h"
#include "formats/files.h"
#include "formats/gguf/read.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_READ (1u << 20)
#define HEAD_MAX ((uint64_t)1 << 30) /* bytes; the largest vocabularies need some 30 MB */
#define MAX_SPLITS 1000u

/* The header of an open file, in the arena. */
static hone_code read_head(const hone_file *f, hone_arena *a, hone_bytes *out, hone_err *err)
{
    uint64_t cap = f->size < FIRST_READ ? f->size : FIRST_READ, len = 0, need = 1;
    uint8_t *buf = NULL;
    while (need) {
        uint8_t *p = realloc(buf, cap ? (size_t)cap : 1);
        if (!p) {
            free(buf);
            return HONE_NOMEM(err, "a GGUF header");
        }
        buf = p;
        hone_code code = hone_file_read(f, 0, buf, (size_t)cap, err);
        if (code == HONE_OK) code = hone_gguf_head_len((hone_bytes){ buf, (size_t)cap }, f->size, &len, &need, err);
        if (code == HONE_OK && need > HEAD_MAX)
            code = HONE_FAIL(err, HONE_EINPUT, "download it again", "the header reaches byte %" PRIu64 ", hone reads up to %" PRIu64, need, HEAD_MAX);
        if (code != HONE_OK) {
            free(buf);
            return code;
        }
        cap = need > 8 * cap ? need : 8 * cap; /* need <= HEAD_MAX */
        if (cap > HEAD_MAX) cap = HEAD_MAX;
        if (cap > f->size) cap = f->size;
    }
    uint8_t *keep = hone_arena_alloc(a, (size_t)len);
    if (keep) memcpy(keep, buf, (size_t)len);
    free(buf);
    if (!keep) return HONE_NOMEM(err, "a GGUF header");
    *out = (hone_bytes){ keep, (size_t)len };
    return HONE_OK;
}

static hone_code read_file(const hone_source *s, size_t i, hone_arena *a, hone_gguf *g, hone_tensor **tensors, size_t *n, hone_err *err)
{
    const hone_file *f = hone_files_get(s, i);
    hone_bytes       head;
    hone_code        code = read_head(f, a, &head, err);
    if (code == HONE_OK) code = hone_gguf_parse(head, f->size, a, g, tensors, n, err);
    if (code != HONE_OK && code != HONE_ERESOURCE) hone_err_wrap(err, "'%s'", f->path);
    for (size_t k = 0; code == HONE_OK && k < *n; k++) (*tensors)[k].file = (uint32_t)i;
    return code;
}

/* A whole number under key, whatever its width: gguf-split writes split.count as u16, other programs as u32. */
static uint64_t number(const hone_gguf *g, const char *key, uint64_t absent)
{
    const hone_gguf_value *v = hone_gguf_find(g, key);
    if (!v) return absent;
    switch (v->type) {
    case HONE_GGUF_U8:
    case HONE_GGUF_U16:
    case HONE_GGUF_U32:
    case HONE_GGUF_U64: return v->as.u;
    case HONE_GGUF_I8:
    case HONE_GGUF_I16:
    case HONE_GGUF_I32:
    case HONE_GGUF_I64: return v->as.i >= 0 ? (uint64_t)v->as.i : absent;
    default: return absent;
    }
}

/* The paths of all splits, from the path of one: PREFIX-00001-of-00003.gguf. */
static hone_code split_paths(const char *path, uint64_t no, uint64_t count, hone_arena *a, const char ***out, hone_err *err)
{
    char tail[32];
    int  n = snprintf(tail, sizeof tail, "-%05u-of-%05u.gguf", (unsigned)no + 1, (unsigned)count);
    size_t len = strlen(path), cut = (size_t)n;
    if (n < 0 || len <= cut || strcmp(path + len - cut, tail) != 0)
        return HONE_FAIL(err, HONE_EINPUT, "give the parts their original names", "'%s' says that it is part %" PRIu64 " of %" PRIu64 ", its name does not end in '%s'",
                         path, no + 1, count, tail);
    const char **list = HONE_ARENA_NEW(a, const char *, (size_t)count);
    for (size_t i = 0; list && i < count; i++) {
        list[i] = hone_arena_printf(a, "%.*s-%05u-of-%05u.gguf", (int)(len - cut), path, (unsigned)i + 1, (unsigned)count);
        if (!list[i]) list = NULL;
    }
    if (!list) return HONE_NOMEM(err, "a path");
    *out = list;
    return HONE_OK;
}

static hone_code read_splits(hone_source *s, hone_arena *a, hone_gguf *g, hone_err *err)
{
    hone_tensor **part = HONE_ARENA_NEW(a, hone_tensor *, s->n_files);
    size_t       *count = HONE_ARENA_NEW(a, size_t, s->n_files), total = 0;
    if (!part || !count) return HONE_NOMEM(err, "the list of tensors");
    for (size_t i = 0; i < s->n_files; i++) {
        hone_gguf here;
        HONE_TRY(read_file(s, i, a, i ? &here : g, &part[i], &count[i], err));
        const hone_gguf *h = i ? &here : g;
        uint64_t         no = number(h, "split.no", 0), of = number(h, "split.count", 1);
        if (s->n_files > 1 && (no != i || of != s->n_files))
            return HONE_FAIL(err, HONE_EINPUT, "get all parts of one upload", "'%s' says that it is part %" PRIu64 " of %" PRIu64 ", its name says %zu of %zu",
                             s->files[i], no + 1, of, i + 1, s->n_files);
        total += count[i];
    }
    uint64_t promised = number(g, "split.tensors.count", total);
    if (s->n_files > 1 && promised != total)
        return HONE_FAIL(err, HONE_EINPUT, "get all parts of one upload", "'%s' promises %" PRIu64 " tensors, its %zu parts hold %zu", s->files[0], promised,
                         s->n_files, total);
    hone_tensor *all = HONE_ARENA_NEW(a, hone_tensor, total);
    if (!all) return HONE_NOMEM(err, "the list of tensors");
    for (size_t i = 0, at = 0; i < s->n_files; at += count[i++])
        if (count[i]) memcpy(all + at, part[i], count[i] * sizeof *all);
    return hone_files_adopt(s, all, total, err);
}

hone_code hone_gguf_open(const char *path, hone_arena *a, hone_gguf *out, hone_err *err)
{
    hone_source *s = NULL;
    hone_gguf    g = { 0 };
    hone_tensor *tensors;
    size_t       n;
    HONE_TRY(hone_files_open(a, &path, 1, &s, err));
    hone_code code = read_file(s, 0, a, &g, &tensors, &n, err);
    uint64_t  count = code == HONE_OK ? number(&g, "split.count", 1) : 1, no = code == HONE_OK ? number(&g, "split.no", 0) : 0;
    if (code == HONE_OK && count > 1) {
        const char **paths = NULL;
        s->close(s);
        s = NULL;
        if (count > MAX_SPLITS || no >= count)
            code = HONE_FAIL(err, HONE_EINPUT, "get all parts of one upload", "'%s' says that it is part %" PRIu64 " of %" PRIu64 ", hone opens up to %u", path,
                             no + 1, count, MAX_SPLITS);
        if (code == HONE_OK) code = split_paths(path, no, count, a, &paths, err);
        if (code == HONE_OK) code = hone_files_open(a, paths, (size_t)count, &s, err);
        if (code == HONE_OK) code = read_splits(s, a, &g, err);
    } else if (code == HONE_OK)
        code = hone_files_adopt(s, tensors, n, err);
    if (code != HONE_OK) {
        if (s) s->close(s);
        return code;
    }
    g.source = s;
    *out = g;
    return HONE_OK;
}
