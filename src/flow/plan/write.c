/* write.c - a plan as text: a head for people and programs, then a line for each weight. */
#include "base/yaml.h"
#include "flow/convert/output.h"
#include "flow/plan.h"
#include <inttypes.h>

static void put_pair(hone_text *t, const char *key, const char *value)
{
    hone_text_addf(t, "%s: ", key);
    hone_yaml_put(t, value);
}

static void put_head(const hone_plan *p, const hone_plan_about *about, hone_text *t)
{
    hone_text_add(t, "# Which encoding each weight of a model gets; edit it and give it to `hone convert --plan`.\n"
                     "# A line names weights by tensor (a name in the checkpoint, or a glob), or by role and layer (3, or 0-7), and says\n"
                     "# bits (the nearest that each format has) or words for formats.  The line that names a weight most closely holds.\n");
    put_pair(t, "schema", HONE_PLAN_SCHEMA);
    hone_text_add(t, "\n");
    put_pair(t, "made_by", "hone " HONE_VERSION);
    hone_text_add(t, "\n");
    if (about && about->source) {
        put_pair(t, "source: {name", about->source);
        put_pair(t, ", class", about->hf_class);
        hone_text_addf(t, ", parameters: %" PRIu64 "}\n", about->parameters);
    }
    if (about && about->target) {
        put_pair(t, "target", about->target);
        hone_text_add(t, "\n");
    }
    if (about && about->sensitivity) {
        put_pair(t, "sensitivity", about->sensitivity);
        hone_text_add(t, "\n");
    }
    hone_text_add(t, "formats:");
    size_t n = 0;
    for (size_t f = 0; f < HONE_PLAN_FORMATS; f++) {
        if (!p->named[f]) continue;
        hone_text_addf(t, "%s  %s: {", n++ ? "" : "\n", hone_convert_format(f)->name);
        if (p->base[f]) put_pair(t, "base", p->base[f]);
        if (about && about->of[f].bytes)
            hone_text_addf(t, "%sbytes: %" PRIu64 ", bpw: %.4f", p->base[f] ? ", " : "", about->of[f].bytes, about->of[f].bpw);
        if (about && about->of[f].has_kld) hone_text_addf(t, ", predicted_kld: %.6g", about->of[f].kld);
        if (about && about->of[f].measured) hone_text_addf(t, ", measured_kld: %.6g", about->of[f].measured_kld);
        hone_text_add(t, "}\n");
    }
    if (n == 0) hone_text_add(t, " {}\n");
}

static void put_line(const hone_plan_line *l, hone_text *t)
{
    const char *comma = "";
    hone_text_add(t, "  - {");
    if (l->tensor) {
        put_pair(t, "tensor", l->tensor);
        comma = ", ";
    }
    if (l->role != HONE_R_COUNT) {
        hone_text_addf(t, "role: %s", hone_role_name(l->role));
        comma = ", ";
    }
    if (l->first >= 0) {
        hone_text_addf(t, "%slayer: %d", comma, (int)l->first);
        if (l->last != l->first) hone_text_addf(t, "-%d", (int)l->last);
        comma = ", ";
    }
    if (l->bits) {
        hone_text_addf(t, "%sbits: %" PRIu32, comma, l->bits);
        comma = ", ";
    }
    for (size_t f = 0; f < HONE_PLAN_FORMATS; f++) {
        if (!l->word[f]) continue;
        hone_text_add(t, comma);
        put_pair(t, hone_convert_format(f)->name, l->word[f]);
        comma = ", ";
    }
    hone_text_add(t, "}");
    if (l->note) hone_text_addf(t, "  # %s", l->note);
    hone_text_add(t, "\n");
}

hone_code hone_plan_write(const hone_plan *p, const hone_plan_about *about, hone_text *out, hone_err *err)
{
    put_head(p, about, out);
    hone_text_add(out, p->n_lines ? "weights:\n" : "weights: []\n");
    for (size_t i = 0; i < p->n_lines; i++) put_line(&p->lines[i], out);
    return out->failed ? HONE_NOMEM(err, "the plan") : HONE_OK;
}
