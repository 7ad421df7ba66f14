#include "formats/scratch.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void give_up(const char *what)
{
    perror(what);
    exit(70);
}

void scratch_open(scratch *s)
{
    (void)snprintf(s->dir, sizeof s->dir, "%.140s/hone-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(s->dir)) give_up(s->dir);
}

static int drop(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

void scratch_close(scratch *s) { (void)nftw(s->dir, drop, 8, FTW_DEPTH | FTW_PHYS); }

int scratch_setup(void **state)
{
    scratch *s = malloc(sizeof *s);
    if (!s) return -1;
    scratch_open(s);
    *state = s;
    return 0;
}

int scratch_teardown(void **state)
{
    scratch_close(*state);
    free(*state);
    return 0;
}

const char *scratch_path(const scratch *s, const char *name, char out[256])
{
    (void)snprintf(out, 256, "%s/%s", s->dir, name);
    return out;
}

void scratch_put(const scratch *s, const char *name, const void *bytes, size_t n)
{
    char path[256];
    scratch_path(s, name, path);
    for (char *p = path + strlen(s->dir) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        (void)mkdir(path, 0777);
    }
    (void)unlink(path); /* a file that is cut to nothing and written again is flushed at once by ext4: slow */
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) give_up(path);
}

uint8_t *scratch_safetensors(const char *json, size_t data_len, size_t *n)
{
    size_t   head = strlen(json);
    uint8_t *p = malloc(8 + head + data_len);
    if (!p) give_up("malloc");
    hone_put_le64(p, head);
    memcpy(p + 8, json, head);
    for (size_t i = 0; i < data_len; i++) p[8 + head + i] = (uint8_t)i;
    *n = 8 + head + data_len;
    return p;
}

void blob_bytes(blob *b, const void *p, size_t n)
{
    if (n > b->cap - b->len) {
        b->cap = 2 * b->cap + n;
        b->ptr = realloc(b->ptr, b->cap);
        if (!b->ptr) give_up("realloc");
    }
    if (n) memcpy(b->ptr + b->len, p, n);
    b->len += n;
}
void blob_u8(blob *b, uint8_t v) { blob_bytes(b, &v, 1); }
void blob_u32(blob *b, uint32_t v)
{
    uint8_t p[4];
    hone_put_le32(p, v);
    blob_bytes(b, p, 4);
}
void blob_u64(blob *b, uint64_t v)
{
    uint8_t p[8];
    hone_put_le64(p, v);
    blob_bytes(b, p, 8);
}
void blob_str(blob *b, const char *s)
{
    blob_u64(b, strlen(s));
    blob_bytes(b, s, strlen(s));
}
void blob_zeros(blob *b, size_t n)
{
    for (size_t i = 0; i < n; i++) blob_u8(b, 0);
}
void blob_align(blob *b, size_t to) { blob_zeros(b, (to - b->len % to) % to); }
