/* imatrix.c - statistics of any form, as bytes: what is accepted is whole, and every value of it can be read. */
#include "formats/gguf/imatrix.h"
#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hone_bytes whole; /* what the source reads from */

static hone_code read_bytes(const hone_source *s, const hone_tensor *t, uint64_t off, void *buf, size_t n, hone_err *err)
{
    (void)s, (void)err;
    if (off > t->bytes || n > t->bytes - off || t->offset > whole.len || t->bytes > whole.len - t->offset) abort();
    if (n) memcpy(buf, whole.ptr + t->offset + off, n);
    return HONE_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(((const hone_tensor *)a)->name, ((const hone_tensor *)b)->name); }

static void look(const float *v, size_t n, bool with_sign, double *sum)
{
    for (size_t i = 0; v && i < n; i++) {
        if (!isfinite(v[i]) || (v[i] < 0 && !with_sign)) abort();
        *sum += (double)v[i];
    }
}

static void walk(hone_stats *s)
{
    double   sum = 0;
    hone_err err = { 0 };
    if (s->n_inputs == 0) abort();
    for (size_t i = 0; i < s->n_inputs; i++) {
        const hone_input_stats *in = &s->inputs[i];
        const size_t            n = (size_t)in->n_mats * in->n_cols;
        if (n == 0 || !in->sum_sq || !in->counts || hone_stats_find(s, in->role, in->layer) == NULL || (in->layer >= 0) != hone_role_per_layer(in->role)) abort();
        look(in->sum_sq, n, false, &sum);
        look(in->sum_abs, n, false, &sum);
        look(in->max_abs, n, false, &sum);
        look(in->sum, n, true, &sum);
        for (uint32_t k = 0; k < in->n_mats; k++) sum += (double)in->counts[k];
        if (!in->hessian || in->n_cols > 4096) continue;
        float *h = malloc((size_t)in->n_cols * in->n_cols * sizeof *h);
        if (!h) abort();
        for (uint32_t k = 0; k < in->n_mats; k++)
            if (s->hessian(s, in, k, h, &err) == HONE_OK)
                for (size_t r = 0; r < in->n_cols; r++) sum += (double)(h[r] - h[r * in->n_cols]);
        free(h);
    }
    for (size_t i = 0; i < hone_stats_origin_of(s)->n_texts; i++)
        if (!hone_stats_origin_of(s)->texts[i].path) abort();
    volatile double keep = sum;
    (void)keep;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_arena   a = { 0 };
    hone_err     err = { 0 };
    hone_gguf    g = { 0 };
    hone_tensor *t = NULL;
    size_t       n = 0;
    hone_stats   s = { 0 };
    hone_source  source = { .read = read_bytes };
    whole = (hone_bytes){ data, size };
    hone_code code = hone_stats_from_legacy(whole, &a, &s, &err);
    if (code == HONE_OK) walk(&s);
    else if (!err.cause[0]) abort();
    hone_stats_close(&s);
    err = (hone_err){ 0 };
    if (hone_gguf_parse(whole, size, &a, &g, &t, &n, &err) == HONE_OK) {
        if (n) qsort(t, n, sizeof *t, by_name);
        source.tensors = t;
        source.n_tensors = n;
        g.source = &source;
        code = hone_stats_from_gguf(&g, &a, &s, &err);
        if (code == HONE_OK) walk(&s);
        else if (!err.cause[0]) abort();
        hone_stats_close(&s);
    }
    hone_arena_release(&a);
    return 0;
}
