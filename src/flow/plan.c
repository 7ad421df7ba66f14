/* plan.c - which line of a plan holds for a weight. */
#include "flow/plan.h"
#include "arch/arch.h"
#include "flow/convert/output.h"
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>

#define NAME 256

bool hone_plan_covers(const hone_weight *w)
{
    return w->part == HONE_PART_WEIGHT && w->n_dims >= 2 && !w->values && !hone_role_is_norm(w->role);
}

static bool is_glob(const char *s) { return strpbrk(s, "*?[") != NULL; }

/* How closely a line names the weight; 0: not at all.  A line without role, layer and tensor is the rest. */
static unsigned closeness(const hone_plan_line *l, const hone_weight *w, const char *name)
{
    if (l->tensor) {
        if (!is_glob(l->tensor)) return strcmp(l->tensor, name) == 0 ? 9 : 0;
        return fnmatch(l->tensor, name, 0) == 0 ? 2 : 0;
    }
    if (l->role != HONE_R_COUNT && l->role != w->role) return 0;
    if (l->first >= 0 && (w->layer < l->first || w->layer > l->last)) return 0;
    if (l->role != HONE_R_COUNT && !hone_role_per_layer(l->role)) return 8;
    unsigned layers = l->first < 0 ? 0 : l->first == l->last ? 4 : 2;
    return 1 + layers + (l->role != HONE_R_COUNT ? 3 : 0);
}

const char *hone_plan_selector(const hone_plan_line *l, char *out, size_t cap)
{
    char layer[40] = "";
    if (l->first >= 0 && l->first == l->last) (void)snprintf(layer, sizeof layer, "layer: %d", (int)l->first);
    else if (l->first >= 0) (void)snprintf(layer, sizeof layer, "layer: %d-%d", (int)l->first, (int)l->last);
    if (l->tensor) {
        char shown[200];
        (void)snprintf(out, cap, "tensor: %s", hone_text_show(l->tensor, strlen(l->tensor), shown, sizeof shown));
    } else if (l->role != HONE_R_COUNT)
        (void)snprintf(out, cap, "role: %s%s%s", hone_role_name(l->role), layer[0] ? ", " : "", layer);
    else
        (void)snprintf(out, cap, "%s", layer[0] ? layer : "the rest");
    return out;
}

static hone_code name_of(const hone_model *m, const hone_weight *w, char *name, hone_err *err)
{
    return hone_arch_weight_name(m->arch, w->role, w->part, w->layer, name, NAME, err);
}

static const char *says(const hone_plan_line *l, size_t format, char *out, size_t cap)
{
    if (l->word[format]) (void)snprintf(out, cap, "%s", l->word[format]);
    else (void)snprintf(out, cap, "%" PRIu32 " bits", l->bits);
    return out;
}

static bool agree(const hone_plan_line *x, const hone_plan_line *y, size_t format)
{
    if (!x->word[format] || !y->word[format]) return !x->word[format] && !y->word[format] && x->bits == y->bits;
    return strcmp(x->word[format], y->word[format]) == 0;
}

static hone_code disagree(const hone_plan *p, const hone_plan_line *x, const hone_plan_line *y, const char *name, size_t format, hone_err *err)
{
    char a[64], b[64], shown[200], where[300] = "the plan";
    if (p->path) (void)snprintf(where, sizeof where, "%s", hone_text_show(p->path, strlen(p->path), shown, sizeof shown));
    return HONE_FAIL(err, HONE_EINPUT, "leave one of them out, or name the weight itself: tensor, or role and layer",
                     "%s: lines %" PRIu32 " and %" PRIu32 " disagree about '%s' in %s: %s and %s", where, x->at, y->at, name, hone_convert_format(format)->name,
                     says(x, format, a, sizeof a), says(y, format, b, sizeof b));
}

hone_code hone_plan_find(const hone_plan *p, const hone_model *m, const hone_weight *w, size_t format, hone_plan_said *out, hone_err *err)
{
    const hone_plan_line *best = NULL;
    unsigned              at = 0;
    char                  name[NAME];
    *out = (hone_plan_said){ 0 };
    hone_weight head = *w;
    if (!hone_plan_covers(w)) return HONE_OK;
    if (w->role == HONE_R_OUTPUT && m->facts.tied) { /* a format that writes a tied head twice */
        head.role = HONE_R_TOK_EMBD;
        w = &head;
    }
    HONE_TRY(name_of(m, w, name, err));
    for (size_t i = 0; i < p->n_lines; i++) {
        const hone_plan_line *l = &p->lines[i];
        unsigned              c = l->word[format] || l->bits ? closeness(l, w, name) : 0;
        if (c == 0 || c < at) continue;
        if (c == at && !agree(best, l, format)) return disagree(p, best, l, name, format, err);
        if (c > at) best = l;
        at = c;
    }
    if (best) *out = (hone_plan_said){ best, best->word[format], at >= 8 };
    return HONE_OK;
}

/* ---- lines that name nothing ---- */

static hone_code unknown(const hone_plan *p, const hone_model *m, const hone_plan_line *l, bool vector, hone_err *err)
{
    char     selector[280], shown[200], where[300] = "the plan", near[400] = "hone convert --dry-run --json lists the weights", name[NAME];
    unsigned best = 12;
    if (p->path) (void)snprintf(where, sizeof where, "%s", hone_text_show(p->path, strlen(p->path), shown, sizeof shown));
    (void)hone_plan_selector(l, selector, sizeof selector);
    if (vector)
        return HONE_FAIL(err, HONE_EINPUT, "leave the line out", "%s: line %" PRIu32 ": '%s' names no matrix: norms and biases stay as they are", where, l->at, selector);
    if (l->role == HONE_R_OUTPUT && m->facts.tied)
        return HONE_FAIL(err, HONE_EINPUT, "name role: tok_embd", "%s: line %" PRIu32 ": the model has no weight 'role: output': its head is the embedding", where, l->at);
    for (size_t i = 0; l->tensor && !is_glob(l->tensor) && i < m->n_weights; i++) {
        if (!hone_plan_covers(&m->weights[i])) continue;
        HONE_TRY(name_of(m, &m->weights[i], name, err));
        unsigned d = hone_text_distance(l->tensor, name);
        if (d >= best) continue;
        best = d;
        (void)snprintf(near, sizeof near, "did you mean %.250s?", name);
    }
    return HONE_FAIL(err, HONE_EINPUT, near, "%s: line %" PRIu32 ": the model has no weight '%s'", where, l->at, selector);
}

hone_code hone_plan_check(const hone_plan *p, const hone_model *m, hone_err *err)
{
    for (size_t k = 0; k < p->n_lines; k++) {
        bool matrix = false, vector = false;
        for (size_t i = 0; !matrix && i < m->n_weights; i++) {
            const hone_weight *w = &m->weights[i];
            char               name[NAME];
            if (w->values) continue;
            HONE_TRY(name_of(m, w, name, err));
            if (closeness(&p->lines[k], w, name) == 0) continue;
            if (hone_plan_covers(w)) matrix = true;
            else vector = true;
        }
        if (!matrix) return unknown(p, m, &p->lines[k], vector, err);
    }
    return HONE_OK;
}
