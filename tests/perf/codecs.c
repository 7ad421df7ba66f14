/* codecs.c - how fast each encoding is on one core and on several, beside what the memory of this machine gives: for `make bench`.
 * Usage: codecs [SECONDS-EACH [THREADS [NAME]]]      (0.5 s, all cores, every encoding)
 * Prints one JSON document: {"read_gb_s":{"one":..,"all":..,"threads":..},"codecs":[{"name","lanes","one_gb_s","all_gb_s"}]}.
 * GB/s count the float32 that go in, read from a buffer that no cache holds; rows have 4096 columns.  Reading and every encoding are measured alike
 * (hw/bandwidth.c): in huge pages where they can be had, three passes over the buffer at each of fifteen turns, and the best counts: a neighbour on the
 * same machine only slows, and for minutes at times. */
#include "base/clock.h"
#include "base/pool.h"
#include "hw/bandwidth.h"
#include "quant/codec.h"
#include "quant/grouped.h"
#include "quant/half.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { COLS = 4096, ROWS_AT_ONCE = 32, ROUNDS = 15, PASSES = 3 };
#define FLOATS ((size_t)64 << 20) /* 256 MiB */

typedef struct subject {
    char              name[32];
    int               lanes;
    const hone_codec *codec; /* NULL: grouped */
    hone_grouped      grouped;
} subject;

typedef struct work {
    const subject *s;
    const float   *x;
    uint8_t       *out; /* [threads][ROWS_AT_ONCE * COLS * 8] */
    double         longest; /* seconds: a slow encoding does not get around the buffer in one pass */
    unsigned       threads;
    double         from_s[64], to_s[64], cpu_s[64]; /* by worker */
    size_t         floats[64], at[64]; /* of the last pass; where the next one begins */
} work;

static void encode(const subject *s, const float *x, uint8_t *out)
{
    if (s->codec) {
        const hone_dtype_info *i = hone_dtype_get(s->codec->dtype);
        for (size_t r = 0; r < ROWS_AT_ONCE; r++)
            s->codec->encode_row(x + r * COLS, out + r * (COLS / i->block_elems * i->block_bytes), COLS, NULL);
        return;
    }
    uint8_t *at[HONE_STREAMS] = { out };
    for (uint32_t k = 1; k < hone_grouped_streams(&s->grouped); k++)
        at[k] = at[k - 1] + (hone_grouped_bytes(&s->grouped, k - 1, ROWS_AT_ONCE, COLS) + 63) / 64 * 64;
    (void)hone_grouped_encode_width(s->lanes, &s->grouped, x, ROWS_AT_ONCE, COLS, at);
}

static double cpu_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A worker goes over its share of the buffer once, or for as long as it may. */
static hone_code pass(void *user, size_t index, unsigned worker, hone_err *err)
{
    work        *w = user;
    const size_t step = (size_t)ROWS_AT_ONCE * COLS, share = FLOATS / w->threads / step * step;
    const double cpu = cpu_s(), from = hone_now_s();
    double       to = from;
    size_t       done = 0;
    (void)worker;
    (void)err;
    for (; done < share && to - from < w->longest; done += step) {
        encode(w->s, w->x + index * share + w->at[index], w->out + index * step * 8);
        w->at[index] = (w->at[index] + step) % share;
        to = hone_now_s();
    }
    w->cpu_s[index] = cpu_s() - cpu;
    w->from_s[index] = from;
    w->to_s[index] = to;
    w->floats[index] = done;
    return HONE_OK;
}

/* One thread: per second of processor time, which other programs disturb little.  Several: per second from the first one's start to the last
 * one's end. */
static double speed(const subject *s, const float *x, uint8_t *out, unsigned threads, double seconds)
{
    hone_ctx ctx = { .threads = threads };
    hone_err err = { 0 };
    double   best = 0;
    work     w = { .s = s, .x = x, .out = out, .longest = seconds / PASSES, .threads = threads };
    for (int p = 0; p < PASSES; p++) {
        if (hone_pool_run(&ctx, threads, pass, &w, &err) != HONE_OK) exit(1);
        double from = w.from_s[0], to = w.to_s[0], floats = 0;
        for (unsigned i = 0; i < threads; i++) {
            from = fmin(from, w.from_s[i]);
            to = fmax(to, w.to_s[i]);
            floats += (double)w.floats[i];
        }
        best = fmax(best, floats * sizeof(float) / (threads > 1 ? to - from : w.cpu_s[0]) / 1e9);
    }
    return best;
}

static size_t list(subject *out, size_t cap)
{
    static const struct { const char *name; hone_grouped g; } grouped[] = {
        { "mlx int4 g64", { .scheme = HONE_SCHEME_MLX_AFFINE, .bits = 4, .group = 64, .scale = HONE_DTYPE_BF16 } },
        { "mlx int8 g64", { .scheme = HONE_SCHEME_MLX_AFFINE, .bits = 8, .group = 64, .scale = HONE_DTYPE_BF16 } },
        { "mlx int2 g64", { .scheme = HONE_SCHEME_MLX_AFFINE, .bits = 2, .group = 64, .scale = HONE_DTYPE_BF16 } },
        { "mlx int3 g64", { .scheme = HONE_SCHEME_MLX_AFFINE, .bits = 3, .group = 64, .scale = HONE_DTYPE_BF16 } },
        { "mlx int5 g64", { .scheme = HONE_SCHEME_MLX_AFFINE, .bits = 5, .group = 64, .scale = HONE_DTYPE_BF16 } },
        { "mlx int6 g64", { .scheme = HONE_SCHEME_MLX_AFFINE, .bits = 6, .group = 64, .scale = HONE_DTYPE_BF16 } },
        { "mlx mxfp4", { .scheme = HONE_SCHEME_MLX_MXFP4, .bits = 4, .group = 32, .scale = HONE_DTYPE_BF16 } },
        { "onnx int4 b32", { .scheme = HONE_SCHEME_ONNX, .bits = 4, .group = 32, .scale = HONE_DTYPE_F32 } },
        { "onnx int4 b32 sym", { .scheme = HONE_SCHEME_ONNX, .bits = 4, .group = 32, .scale = HONE_DTYPE_F32, .sym = true } },
        { "onnx int8 b32", { .scheme = HONE_SCHEME_ONNX, .bits = 8, .group = 32, .scale = HONE_DTYPE_F32 } },
        { "onnx int8 b32 sym", { .scheme = HONE_SCHEME_ONNX, .bits = 8, .group = 32, .scale = HONE_DTYPE_F32, .sym = true } },
        { "openvino int4 g128", { .scheme = HONE_SCHEME_NNCF, .bits = 4, .group = 128, .scale = HONE_DTYPE_F16 } },
        { "openvino int8 row", { .scheme = HONE_SCHEME_NNCF, .bits = 8, .group = 0, .scale = HONE_DTYPE_F16 } },
    };
    size_t n = 0;
    for (hone_dtype t = 0; t < HONE_DTYPE_COUNT; t++) {
        for (int lanes = 4; lanes <= 16 && n < cap; lanes *= 2) {
            const hone_codec *c = hone_codec_find_width(t, lanes);
            if (!c || !c->encode_row || COLS % hone_dtype_get(t)->block_elems) continue;
            out[n] = (subject){ .lanes = lanes, .codec = c };
            (void)snprintf(out[n++].name, sizeof out->name, "%s", hone_dtype_name(t));
        }
    }
    for (size_t i = 0; i < sizeof grouped / sizeof *grouped; i++) {
        for (int lanes = 4; lanes <= 16 && n < cap; lanes *= 2) {
            uint8_t *nothing[HONE_STREAMS] = { 0 };
            if (!hone_grouped_encode_width(lanes, &grouped[i].g, NULL, 0, COLS, nothing)) continue; /* not on this processor */
            out[n] = (subject){ .lanes = lanes, .grouped = grouped[i].g };
            (void)snprintf(out[n++].name, sizeof out->name, "%s", grouped[i].name);
        }
    }
    return n;
}

int main(int argc, char **argv)
{
    double         seconds = argc > 1 ? strtod(argv[1], NULL) : 0.5;
    long           cores = argc > 2 ? strtol(argv[2], NULL, 10) : sysconf(_SC_NPROCESSORS_ONLN);
    const char    *only = argc > 3 ? argv[3] : NULL;
    unsigned       threads = cores > 0 && cores <= 64 ? (unsigned)cores : 1;
    static subject subjects[256];
    size_t         n = list(subjects, 256);
    hone_ctx       ctx = { .threads = threads };
    hone_err       err = { 0 };
    hone_bandwidth b = { 0 };
    float         *x = mmap(NULL, FLOATS * sizeof *x, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t       *out = aligned_alloc(64, (size_t)threads * ROWS_AT_ONCE * COLS * 8);
    uint32_t       state = 1;
    if (x == MAP_FAILED || !out) return 1;
    (void)madvise(x, FLOATS * sizeof *x, MADV_HUGEPAGE);
    for (size_t i = 0; i < FLOATS; i++) { /* a sum of four: nearly normal, as weights are, and in bfloat16, as most checkpoints are */
        float sum = 0;
        for (int k = 0; k < 4; k++) sum += (float)((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24f - 0.5f;
        x[i] = hone_f32_from_bf16(hone_bf16_from_f32(0.02f * sum));
    }
    static double one[256], all[256];
    for (int round = 0; round < ROUNDS; round++) {
        hone_bandwidth now;
        if (hone_bandwidth_measure(&ctx, 0, (uint64_t)8 << 30, threads, &now, &err) != HONE_OK) return 1;
        b.one_gb_s = fmax(b.one_gb_s, now.one_gb_s);
        b.all_gb_s = fmax(b.all_gb_s, now.all_gb_s);
        for (size_t i = 0; i < n; i++) {
            if (only && !strstr(subjects[i].name, only)) continue;
            one[i] = fmax(one[i], speed(&subjects[i], x, out, 1, seconds / ROUNDS));
            all[i] = fmax(all[i], speed(&subjects[i], x, out, threads, seconds / ROUNDS));
        }
    }
    printf("{\"read_gb_s\":{\"one\":%.2f,\"all\":%.2f,\"threads\":%u},\n \"codecs\":[", b.one_gb_s, b.all_gb_s, threads);
    for (size_t i = 0, shown = 0; i < n; i++) {
        if (only && !strstr(subjects[i].name, only)) continue;
        printf("%s\n  {\"name\":\"%s\",\"lanes\":%d,\"one_gb_s\":%.3f,\"all_gb_s\":%.3f}", shown++ ? "," : "", subjects[i].name, subjects[i].lanes, one[i], all[i]);
    }
    printf("]}\n");
    (void)munmap(x, FLOATS * sizeof *x);
    free(out);
    return 0;
}
