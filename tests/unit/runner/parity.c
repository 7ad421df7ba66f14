#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "runner/parity.h"
#include "base/file.h"
#include "flow/convert.h"
#include "measure/check/reference.h"
#include "measure/logits.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define TINY "tests/golden/tiny/"
const parity_model parity_models[] = {
    { TINY "llama", "reference.safetensors" },      { TINY "mistral", "reference.safetensors" },
    { TINY "qwen2", "reference.safetensors" },      { TINY "qwen3", "reference.safetensors" },
    { TINY "phi3", "reference.safetensors" },       { TINY "phi3", "reference_long.safetensors" },
    { TINY "gemma2", "reference.safetensors" },     { TINY "gemma3", "reference.safetensors" },
    { TINY "smollm3", "reference.safetensors" },    { TINY "olmo2", "reference.safetensors" },
    { TINY "granite", "reference.safetensors" },    { TINY "stablelm", "reference.safetensors" },
    { TINY "starcoder2", "reference.safetensors" }, { TINY "gpt2", "reference.safetensors" },
    { TINY "gpt_neox", "reference.safetensors" },   { TINY "mixtral", "reference.safetensors" },
    { TINY "qwen3_moe", "reference.safetensors" },  { TINY "olmoe", "reference.safetensors" },
    { "examples/models/tale-8m", "reference.safetensors" }, { "tests/golden/tale-moe", "reference.safetensors" },
};
const size_t parity_n_models = HONE_COUNT(parity_models);

const char *parity_convert(fixture *f, const char *checkpoint, const char *format, const char *quant)
{
    static unsigned            n;
    hone_err                   err = { 0 };
    hone_model                 m;
    hone_convert_result        res = { 0 };
    char                      *from = hone_arena_printf(&f->a, "%s%s%s", checkpoint[0] == '/' ? "" : HONE_TEST_SOURCE_DIR, checkpoint[0] == '/' ? "" : "/", checkpoint);
    char                      *dir = hone_arena_printf(&f->a, "%s/parity%u", f->dir, n++);
    const char                *encoding = hone_arena_printf(&f->a, "%s=%s", format, quant);
    const hone_convert_options opt = { .quants = &encoding, .n_quants = 1, .out_dir = dir, .name = "m" };
    assert_int_equal(mkdir(dir, 0777), 0);
    if (hone_model_open(&f->ctx, from, &m, &err) != HONE_OK) fail_msg("%s: %s", checkpoint, err.cause);
    if (hone_convert(&f->ctx, &m, &opt, &res, &err) != HONE_OK) fail_msg("%s: %s", checkpoint, err.cause);
    const char *path = hone_arena_strdup(&f->a, res.outputs[0].path);
    hone_convert_result_release(&res);
    hone_model_close(&m);
    return path;
}

typedef struct judging {
    const hone_reference *ref;
    size_t                row;
    float                *theirs;
    double                gap;
    parity_verdict        v;
} judging;

static void compare(void *user, size_t index, const float *ours, size_t n)
{
    judging *j = user;
    hone_err err = { 0 };
    if (n != j->ref->width || hone_reference_read(j->ref, j->ref->logits, j->row, index, j->theirs, &err) != HONE_OK) {
        j->v.wrong++;
        return;
    }
    hone_row      a = hone_row_scan(j->theirs, n), b = hone_row_scan(ours, n);
    hone_row_diff d = hone_row_compare(j->theirs, &a, ours, &b, n);
    j->v.n++;
    j->v.kld += d.kld;
    j->v.worst = b.finite ? fmax(j->v.worst, d.kld) : INFINITY;
    j->v.wrong += a.gap > j->gap && a.best != b.best;
}

parity_verdict parity_judge(hone_runner *r, const char *artefact, const char *reference, double gap, hone_backend_open how, hone_backend_info *info)
{
    hone_arena     a = { 0 };
    hone_reference ref;
    hone_err       err = { 0 };
    if (hone_reference_open(hone_arena_printf(&a, "%s/%s", HONE_TEST_SOURCE_DIR, reference), &a, &ref, &err) != HONE_OK) fail_msg("%s", err.cause);
    judging j = { .ref = &ref, .gap = gap, .theirs = malloc(ref.width * sizeof(float)) };
    assert_non_null(j.theirs);
    how.path = artefact;
    how.device = "cpu";
    how.threads = 1;
    if (hone_runner_open(r, &how, info, NULL, &err) != HONE_OK) fail_msg("%s: %s", artefact, err.cause);
    for (j.row = 0; j.row < ref.rows; j.row++)
        if (hone_runner_forward(r, ref.ids + j.row * ref.cols, ref.counts[j.row], 0, NULL, compare, &j, NULL, &err) != HONE_OK)
            fail_msg("%s: %s", artefact, err.cause);
    j.v.kld /= (double)j.v.n;
    free(j.theirs);
    hone_reference_close(&ref);
    hone_arena_release(&a);
    return j.v;
}

int parity_judge_all(fixture *f, hone_runner *r, const char *format, const char *quant, double kld, double gap, bool exact)
{
    int         bad = 0;
    const char *artefact = NULL;
    for (size_t i = 0; i < parity_n_models; i++) {
        const parity_model *m = &parity_models[i];
        hone_backend_info   info;
        if (i == 0 || strcmp(m->dir, parity_models[i - 1].dir) != 0) artefact = parity_convert(f, m->dir, format, quant);
        parity_verdict v = parity_judge(r, artefact, hone_arena_printf(&f->a, "%s/%s", m->dir, m->reference), gap, (hone_backend_open){ .exact = exact }, &info);
        bool           ok = v.kld <= kld && v.wrong == 0 && v.n > 0;
        printf("%-28s %s=%s%s: kld mean %.2g max %.2g, %zu other best tokens of %zu%s\n", m->dir, format, quant, exact ? " exact" : "", v.kld, v.worst, v.wrong,
               v.n, ok ? "" : "  <-- BAD");
        bad += !ok;
    }
    return bad;
}
