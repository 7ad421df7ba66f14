#include "flow/plan/trial.h"
#include "base/file.h"
#include "flow/convert.h"
#include <stdio.h>
#include <unistd.h>

const char *hone_trial_plain(const hone_model *m)
{
    uint64_t f32 = 0, bf16 = 0, other = 0;
    for (size_t i = 0; i < m->n_weights; i++) {
        uint64_t n = hone_weight_elems(&m->weights[i]);
        if (m->weights[i].dtype == HONE_DTYPE_F32) f32 += n;
        else if (m->weights[i].dtype == HONE_DTYPE_BF16) bf16 += n;
        else other += n;
    }
    return f32 >= bf16 && f32 >= other ? "f32" : bf16 >= other ? "bf16" : "f16";
}

hone_code hone_trial_file(const hone_ctx *ctx, const hone_model *m, const hone_sense_trial *t, const hone_temp *dir, const char *name, const char *quant, const hone_plan *p,
                          char *path, size_t cap, hone_err *err)
{
    hone_convert_options o = { .quants = &quant, .n_quants = 1, .out_dir = dir->path, .name = name, .lines = p, .stats = p ? t->stats : NULL, .method = p ? t->method : NULL,
                               .bias_correction = p && t->bias_correction };
    hone_convert_result  res = { 0 };
    path[0] = 0;
    hone_code code = hone_convert(ctx, m, &o, &res, err);
    if (code == HONE_OK) (void)snprintf(path, cap, "%s", res.outputs[0].path);
    hone_convert_result_release(&res);
    return code;
}

void hone_trial_drop(char *path)
{
    if (path[0] && hone_dir_exists(path)) {
        hone_temp folder = { .lock = -1 };
        (void)snprintf(folder.path, sizeof folder.path, "%s", path);
        hone_temp_close(&folder);
    } else if (path[0])
        (void)unlink(path);
    path[0] = 0;
}
