#include "cli/planned.h"
#include "base/file.h"
#include "cli/outputs.h"
#include <stdlib.h>

bool hone_cli_has_target(const hone_cli *c)
{
    return hone_cli_has(c, "target-bytes") || hone_cli_has(c, "target-bpw") || hone_cli_has(c, "target-kld") || hone_cli_has(c, "max-ram");
}

static hone_code find_text(hone_cli *c, const hone_model *m, const char **out, hone_err *err)
{
    hone_file f;
    *out = hone_cli_text(c, "text", NULL);
    if (*out) {
        HONE_TRY(hone_file_open(*out, &f, err));
        hone_file_close(&f);
        return HONE_OK;
    }
    const char *path = hone_arena_printf(&c->arena, "%s/eval/calibration.txt", m->path);
    if (!path) return HONE_NOMEM(err, "a path");
    if (hone_file_exists(path)) *out = path;
    return HONE_OK;
}

/* Targets that nothing can meet, and options that would say nothing. */
static hone_code check_request(const hone_cli *c, const hone_model *m, hone_err *err)
{
    static const char *const sizes[] = { "target-bytes", "max-ram" }, *const reals[] = { "target-bpw", "target-kld" }, *const of_texts[] = { "text", "tokens" };
    uint32_t                 context = hone_cli_count(c, "context", 0);
    for (size_t i = 0; i < HONE_COUNT(sizes); i++)
        if (hone_cli_has(c, sizes[i]) && hone_cli_bytes(c, sizes[i], 0) == 0) return HONE_FAIL(err, HONE_EUSAGE, "as in 4.5M", "--%s is 0, needs a size", sizes[i]);
    for (size_t i = 0; i < HONE_COUNT(reals); i++)
        if (hone_cli_has(c, reals[i]) && !(hone_cli_real(c, reals[i], 0) > 0))
            return HONE_FAIL(err, HONE_EUSAGE, "", "--%s is %g, needs a number above 0", reals[i], hone_cli_real(c, reals[i], 0));
    for (size_t i = 0; i < HONE_COUNT(of_texts); i++)
        if (hone_cli_has(c, of_texts[i]) && strcmp(hone_cli_text(c, "sensitivity", ""), "proxy") == 0)
            return HONE_FAIL(err, HONE_EUSAGE, "leave one of them out", "--%s is what sensitivity is measured on, and --sensitivity proxy measures nothing", of_texts[i]);
    if (hone_cli_has(c, "context") && !hone_cli_has(c, "max-ram"))
        return HONE_FAIL(err, HONE_EUSAGE, "leave it out, or add --max-ram", "--context is about memory, and none is limited");
    if (hone_cli_has(c, "context") && (context == 0 || (m->facts.context && context > m->facts.context)))
        return HONE_FAIL(err, HONE_EUSAGE, "", "--context is %u, needs 1..%u: the model's own", context, m->facts.context);
    return HONE_OK;
}

static hone_code read_request(hone_cli *c, const hone_model *m, hone_plan_request *r, hone_err *err)
{
    const char *how = hone_cli_text(c, "sensitivity", "auto");
    r->target_bytes = hone_cli_bytes(c, "target-bytes", 0);
    r->target_bpw = hone_cli_real(c, "target-bpw", 0);
    r->target_kld = hone_cli_real(c, "target-kld", 0);
    r->max_ram = hone_cli_bytes(c, "max-ram", 0);
    HONE_TRY(check_request(c, m, err));
    r->context = hone_cli_count(c, "context", 0);
    r->max_tokens = hone_cli_count(c, "tokens", 0);
    r->how = strcmp(how, "measured") == 0 ? HONE_PLAN_MEASURED : strcmp(how, "proxy") == 0 ? HONE_PLAN_PROXY : HONE_PLAN_AUTO;
    return r->how == HONE_PLAN_PROXY ? HONE_OK : find_text(c, m, &r->text, err);
}

static hone_code write_file(const hone_plan_made *p, const char *path, hone_err *err)
{
    hone_text t = { 0 };
    hone_code code = hone_plan_write(&p->plan, &p->about, &t, err);
    if (code == HONE_OK) code = hone_out_put(path, t.ptr, t.len, err);
    hone_text_release(&t);
    return code;
}

hone_code hone_cli_make_plan(hone_cli *c, const hone_model *m, const hone_convert_options *as, const char *path, const char *work_dir, bool judge, hone_plan_made *out,
                             hone_err *err)
{
    hone_plan_request r = { .as = as, .work_dir = work_dir, .judge = judge };
    HONE_TRY(read_request(c, m, &r, err));
    if (path) HONE_TRY(hone_out_try(path, err)); /* now, and not when everything has been measured */
    HONE_TRY(hone_plan_make(&c->ctx, m, &r, &c->arena, out, err));
    return path ? write_file(out, path, err) : HONE_OK;
}

/* ---- the document ---- */

static json_t *format_document(const hone_plan_made *p, size_t f)
{
    const struct hone_plan_about_format *a = &p->about.of[f];
    json_t *measured = a->measured ? json_pack("{s:f,s:o,s:s}", "kld", a->measured_kld, "ci", a->low < a->high ? json_pack("[f,f]", a->low, a->high) : json_null(), "by", a->by)
                                   : json_null();
    return json_pack("{s:s,s:s?,s:I,s:f,s:o,s:o}", "format", hone_convert_format(f)->name, "base", p->plan.base[f], "bytes", (json_int_t)a->bytes, "bpw", a->bpw,
                     "predicted_kld", p->tried ? hone_json_real(a->kld) : json_null(), "measured", measured);
}

static json_t *weight_document(const hone_plan_made *p, size_t i)
{
    const hone_sense_weight *w = &p->sense.weights[i];
    json_t                  *o = json_object(), *of = json_object();
    bool                     good = o && of && hone_json_put(o, "role", json_string(hone_role_name(w->w->role))) &&
                hone_json_put(o, "layer", w->w->layer < 0 ? json_null() : json_integer(w->w->layer)) &&
                hone_json_put(o, "kld_coarse", w->kld_coarse > 0 ? hone_json_real(w->kld_coarse) : json_null());
    hone_arena a = { 0 };
    for (size_t f = 0; good && f < HONE_PLAN_FORMATS; f++) {
        if (!w->n[f]) continue;
        const hone_sense_option *x = &w->of[f][p->chosen[f][i]];
        const char              *word = hone_choice_word(hone_convert_format(f), &x->choice, &a);
        good = word && hone_json_put(of, hone_convert_format(f)->name,
                                     json_pack("{s:s,s:I,s:o}", "encoding", word, "bytes", (json_int_t)x->bytes, "predicted_kld",
                                               p->tried ? hone_json_real(x->error * w->kld_per_error) : json_null()));
    }
    hone_arena_release(&a);
    good = good && hone_json_put(o, "encodings", json_incref(of));
    json_decref(of);
    if (good) return o;
    json_decref(o);
    return NULL;
}

hone_code hone_cli_put_plan(json_t *doc, const hone_plan_made *p, const char *path, bool weights, hone_err *err)
{
    json_t *formats = json_array(), *list = json_array();
    bool    good = formats && list;
    for (size_t f = 0; good && f < HONE_PLAN_FORMATS; f++)
        if (p->plan.named[f]) good = json_array_append_new(formats, format_document(p, f)) == 0;
    for (size_t i = 0; good && weights && i < p->sense.n; i++) good = json_array_append_new(list, weight_document(p, i)) == 0;
    good = good && hone_json_put(doc, "path", path ? json_string(path) : json_null()) && hone_json_put(doc, "target", json_string(p->about.target)) &&
           hone_json_put(doc, "formats", json_incref(formats)) && hone_json_put(doc, "sensitivity", json_string(p->about.sensitivity)) &&
           hone_json_put(doc, "measurements", json_integer((json_int_t)p->tried));
    if (good && weights) good = hone_json_put(doc, "weights", json_incref(list));
    json_decref(formats);
    json_decref(list);
    return good ? HONE_OK : HONE_NOMEM(err, "the result");
}

void hone_cli_say_plan(hone_cli *c, const json_t *doc)
{
    size_t  i;
    json_t *f;
    hone_say_outputs(c, json_object_get(doc, "formats"), HONE_OUTPUTS_FORMAT | HONE_OUTPUTS_KLD);
    hone_say(c, HONE_PLAIN, "\n");
    hone_say_field(c, "target", "%s", hone_doc_str(doc, "target", ""));
    hone_say_field(c, "sensitivity", "%s", hone_doc_str(doc, "sensitivity", ""));
    json_array_foreach(json_object_get(doc, "formats"), i, f)
    {
        const json_t *m = json_object_get(f, "measured"), *ci = json_object_get(m, "ci");
        char          range[48] = "";
        if (!json_is_object(m)) continue;
        if (json_is_array(ci))
            (void)snprintf(range, sizeof range, " (%.3f to %.3f)", 1000 * json_number_value(json_array_get(ci, 0)), 1000 * json_number_value(json_array_get(ci, 1)));
        hone_say_field(c, "measured", "%s: KLD %.3f%s nat/1000 for the whole plan, in %s", hone_doc_str(f, "format", ""), 1000 * hone_doc_num(m, "kld", 0), range,
                       hone_doc_str(m, "by", ""));
    }
    if (hone_doc_str(doc, "path", "")[0]) hone_say_field(c, "plan", "%s", hone_doc_str(doc, "path", ""));
}
