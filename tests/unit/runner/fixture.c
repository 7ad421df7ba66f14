#include "runner/fixture.h"
#include "base/file.h"
#include "flow/convert.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static _Noreturn void give_up(const char *what, const char *why)
{
    (void)fprintf(stderr, "fixture: %s: %s\n", what, why);
    exit(1);
}

void fixture_open(fixture *f)
{
    const char *build = getenv("HONE_BUILD_DIR");
    *f = (fixture){ .ctx = { .libexec_dir = build, .threads = 1 } };
    if (!build) give_up("HONE_BUILD_DIR is not set", "run this through ctest");
    (void)snprintf(f->dir, sizeof f->dir, "%s/tests/fixture.XXXXXX", build);
    if (!mkdtemp(f->dir)) give_up(f->dir, "cannot be made");
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

void fixture_close(fixture *f)
{
    (void)nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    hone_arena_release(&f->a);
}

const char *fixture_gguf(fixture *f, const char *checkpoint, const char *quant)
{
    hone_err                   err = { 0 };
    hone_model                 m = { 0 };
    hone_convert_result        res = { 0 };
    const char                *quants[] = { quant }, *slash = strrchr(checkpoint, '/');
    const char                *src = hone_arena_printf(&f->a, HONE_TEST_SOURCE_DIR "/%s", checkpoint);
    const hone_convert_options opt = { .quants = quants, .n_quants = 1, .out_dir = f->dir, .name = slash ? slash + 1 : checkpoint };
    if (hone_model_open(&f->ctx, src, &m, &err) != HONE_OK) give_up(checkpoint, err.cause);
    if (hone_convert(&f->ctx, &m, &opt, &res, &err) != HONE_OK) give_up(checkpoint, err.cause);
    const char *path = hone_arena_strdup(&f->a, res.outputs[0].path);
    hone_convert_result_release(&res);
    hone_model_close(&m);
    return path;
}

bool fixture_have(fixture *f, const char *backend)
{
    const char  *path = hone_arena_printf(&f->a, "%s/hone-backend-%s.so", f->ctx.libexec_dir, backend);
    hone_runner *r = NULL;
    hone_err     err = { 0 };
    if (!hone_file_exists(path)) {
        printf("skipped: no plug-in '%s'\n", path);
        return false;
    }
    /* One that is there and does not load is a failure, not a reason to skip. */
    if (hone_runner_start(&f->ctx, &(hone_runner_options){ .backend = backend }, &r, &err) != HONE_OK) give_up(backend, err.cause);
    hone_runner_stop(r);
    return true;
}

hone_runner *fixture_run(fixture *f, const char *backend, hone_backend_open how, hone_backend_info *info)
{
    hone_runner *r = NULL;
    hone_err     err = { 0 };
    double       load_ms = -1;
    if (!how.device) how.device = "cpu";
    if (!how.threads) how.threads = 1; /* spinning barriers: two threads on a busy machine are many times slower than one */
    if (hone_runner_start(&f->ctx, &(hone_runner_options){ .backend = backend, .timeout_s = 120 }, &r, &err) != HONE_OK)
        give_up(backend, err.cause);
    if (hone_runner_open(r, &how, info, &load_ms, &err) != HONE_OK) give_up(how.path, err.cause);
    if (!(load_ms > 0)) give_up(how.path, "no time to load");
    return r;
}

const void *fixture_tensor(fixture *f, const char *file, const char *name, size_t n, size_t size)
{
    hone_err   err = { 0 };
    hone_bytes all;
    json_t    *head = NULL;
    if (hone_file_slurp(file, 1u << 30, &f->a, &all, &err) != HONE_OK) give_up(file, err.cause);
    uint64_t len = all.len > 8 ? hone_le64(all.ptr) : 0;
    if (len > all.len - 8 || hone_json_parse((hone_bytes){ all.ptr + 8, (size_t)len }, file, &head, &err) != HONE_OK)
        give_up(file, "no safetensors file");
    const json_t *at = json_object_get(json_object_get(head, name), "data_offsets");
    json_int_t    from = json_integer_value(json_array_get(at, 0)), to = json_integer_value(json_array_get(at, 1));
    json_decref(head);
    if (from < 0 || to - from != (json_int_t)(n * size) || (uint64_t)to > all.len - 8 - len) give_up(file, name);
    void *copy = hone_arena_alloc(&f->a, n * size); /* aligned */
    if (!copy) give_up(file, "out of memory");
    memcpy(copy, all.ptr + 8 + len + from, n * size);
    return copy;
}
