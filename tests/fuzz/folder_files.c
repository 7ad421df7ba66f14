/* folder_files.c - files that name or lean on others, from anyone: model.safetensors.index.json beside one good shard, or
 * reference.safetensors; the first byte picks.  Each is written into a folder of its own and opened by name. */
#include "formats/safetensors.h"
#include "measure/check/reference.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64], index_path[96], reference_path[96], shard_path[96];

static void leave(void)
{
    (void)unlink(index_path);
    (void)unlink(reference_path);
    (void)unlink(shard_path);
    (void)rmdir(folder);
}

static void put(const char *path, const void *bytes, size_t n)
{
    (void)unlink(path); /* not cut and written again, which ext4 flushes at once */
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) {
        perror(path);
        exit(70);
    }
}

static void make_folder(void)
{
    static const char shard[] = "\x36\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}} \1\2\3\4";
    if (folder[0]) return;
    (void)snprintf(folder, sizeof folder, "%.30s/hone-fuzz-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(folder)) exit(70);
    (void)snprintf(index_path, sizeof index_path, "%s/model.safetensors.index.json", folder);
    (void)snprintf(reference_path, sizeof reference_path, "%s/reference.safetensors", folder);
    (void)snprintf(shard_path, sizeof shard_path, "%s/w", folder);
    put(shard_path, shard, sizeof shard - 1);
    (void)atexit(leave);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_arena a = { 0 };
    hone_err   err = { 0 };
    hone_code  code;
    if (size < 1) return 0;
    make_folder();
    if (data[0] & 1) {
        hone_source *s = NULL;
        uint8_t      b[4];
        put(index_path, data + 1, size - 1);
        code = hone_safetensors_open(folder, &a, &s, &err);
        if (code == HONE_OK) { /* it can only have named the shard */
            assert(s->n_tensors == 1 && s->n_files == 1 && s->read(s, &s->tensors[0], 0, b, 4, &err) == HONE_OK && b[3] == 4);
            s->close(s);
        }
    } else {
        hone_reference r;
        put(reference_path, data + 1, size - 1);
        code = hone_reference_open(reference_path, &a, &r, &err);
        if (code == HONE_OK) {
            float *row = malloc(r.width * sizeof *row);
            assert(row && r.rows && r.cols && r.width && r.ids[r.rows * r.cols - 1] >= 0);
            for (size_t i = 0; i < r.rows; i++) assert(r.counts[i] > 0 && r.counts[i] <= r.cols);
            if (r.logits) assert(hone_reference_read(&r, r.logits, r.rows - 1, r.cols - 1, row, &err) == HONE_OK);
            if (r.embeddings && !r.logits) assert(hone_reference_read(&r, r.embeddings, r.rows - 1, 0, row, &err) == HONE_OK);
            free(row);
            hone_reference_close(&r);
        }
    }
    assert(code == HONE_OK || code == HONE_EINPUT || code == HONE_EUNSUPPORTED || code == HONE_ERESOURCE);
    assert(code == HONE_OK || err.cause[0]);
    hone_arena_release(&a);
    return 0;
}
