#include "flow/plan/whole.h"
#include "base/file.h"
#include "flow/convert/output.h"
#include "measure/measure.h"
#include <stdio.h>

static bool by_weights(const hone_whole *w) { return hone_convert_format(w->format) == &hone_format_mlx; }

hone_code hone_whole_open(const hone_ctx *ctx, const hone_model *m, const hone_sense_trial *t, size_t format, hone_whole *out, hone_err *err)
{
    hone_whole  w = { .ctx = ctx, .m = m, .t = t, .format = format };
    char        quant[32];
    const char *name = hone_convert_format(format)->name;
    HONE_TRY(hone_dir_make(t->work_dir, err));
    HONE_TRY(hone_temp_open(t->work_dir, ".hone-plan-", &w.dir, err));
    (void)snprintf(quant, sizeof quant, "%s=f32", by_weights(&w) ? "gguf" : name);
    hone_code code = hone_trial_file(ctx, m, t, &w.dir, "reference", quant, NULL, w.reference, sizeof w.reference, err);
    if (code != HONE_OK) hone_whole_close(&w);
    else *out = w;
    return code;
}

typedef struct heard { hone_metric kld; char runtime[64]; } heard;

static hone_code hear(void *user, size_t i, const hone_eval_result *res, const hone_err *failed, hone_err *err)
{
    heard *h = user;
    (void)i;
    if (!res) {
        if (err) *err = *failed;
        return failed->code;
    }
    h->kld = res->kld_mean;
    (void)snprintf(h->runtime, sizeof h->runtime, "%s", res->runtime);
    if (hone_metric_known(&h->kld)) return HONE_OK;
    return HONE_FAIL(err, HONE_ERUNTIME, "give a longer text", "no KLD: %s", h->kld.why);
}

/* The folder's numbers as float32 in a GGUF file. */
static hone_code spell_out(const hone_whole *w, const char *folder, char *path, size_t cap, hone_err *err)
{
    hone_model m = { 0 };
    HONE_TRY(hone_model_open(w->ctx, folder, &m, err));
    hone_code code = hone_trial_file(w->ctx, &m, w->t, &w->dir, "weights", "gguf=f32", NULL, path, cap, err);
    hone_model_close(&m);
    return code;
}

hone_code hone_whole_measure(hone_whole *w, const hone_plan *p, const char *quant, hone_metric *kld, hone_err *err)
{
    char              path[1200], plain[1200] = "";
    const char       *run[] = { by_weights(w) ? plain : path };
    hone_eval_options o = { .text = w->t->text, .reference = w->reference, .max_tokens = w->t->max_tokens, .threads = 1 };
    heard             h = { 0 };
    hone_code         code = hone_trial_file(w->ctx, w->m, w->t, &w->dir, "whole", quant, p, path, sizeof path, err);
    if (code == HONE_OK && by_weights(w)) code = spell_out(w, path, plain, sizeof plain, err);
    if (code == HONE_OK) code = hone_eval_group(w->ctx, &o, run, 1, hear, &h, err);
    hone_trial_drop(path);
    hone_trial_drop(plain);
    if (code != HONE_OK) return code;
    *kld = h.kld;
    (void)snprintf(w->by, sizeof w->by, "%s%s", h.runtime, by_weights(w) ? ", by its weights in float32" : "");
    return HONE_OK;
}

void hone_whole_close(hone_whole *w)
{
    if (!w || !w->dir.path[0]) return;
    hone_trial_drop(w->reference);
    hone_temp_close(&w->dir);
    *w = (hone_whole){ 0 };
}
