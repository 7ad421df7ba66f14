/* coverage.c - what the text did not reach: experts that saw few rows or none, in all and in each text. */
#include "base/text.h"
#include "flow/calibrate/parts.h"
#include <stdlib.h>

enum { NAMED = 6 /* cold experts that a warning names */, FEW_TOKENS = 4096 };

static uint32_t cold_rows(const hone_calib *c) { return c->opt->cold_rows ? c->opt->cold_rows : 100; }

/* The experts of a layer are counted where rows come in: what goes into the down projection are the same rows. */
static bool counts_experts(const hone_calib_input *in)
{
    return in->n_mats > 1 && (in->role == HONE_R_FFN_GATE_EXPS || in->role == HONE_R_FFN_UP_EXPS);
}

static json_t *integer(uint64_t v) { return json_integer((json_int_t)v); }

static bool add_expert(const hone_calib *c, const hone_calib_input *in, uint32_t expert, uint64_t all, json_t *list)
{
    json_t *o = json_object(), *texts = json_array();
    bool    ok = hone_json_put(o, "expert", integer(expert)) && hone_json_put(o, "rows", integer(in->counts[expert])) &&
              hone_json_put(o, "share", hone_json_real(all ? (double)in->counts[expert] / (double)all : 0));
    for (size_t t = 0; ok && t < c->opt->n_texts; t++) ok = json_array_append_new(texts, integer(in->by_text[t * in->n_mats + expert])) == 0;
    ok = hone_json_put(o, "texts", texts) && ok;
    return json_array_append_new(list, o) == 0 && ok;
}

static bool add_layer(const hone_calib *c, const hone_calib_input *in, json_t *layers, json_t *cold)
{
    json_t  *o = json_object(), *experts = json_array();
    uint64_t all = 0;
    for (uint32_t k = 0; k < in->n_mats; k++) all += in->counts[k];
    bool ok = hone_json_put(o, "layer", integer((uint64_t)in->layer));
    for (uint32_t k = 0; ok && k < in->n_mats; k++) {
        ok = add_expert(c, in, k, all, experts);
        if (in->counts[k] >= cold_rows(c)) continue;
        json_t *e = json_object();
        ok = hone_json_put(e, "layer", integer((uint64_t)in->layer)) && hone_json_put(e, "expert", integer(k)) &&
             hone_json_put(e, "rows", integer(in->counts[k])) && ok;
        ok = json_array_append_new(cold, e) == 0 && ok;
    }
    ok = hone_json_put(o, "experts", experts) && ok;
    return json_array_append_new(layers, o) == 0 && ok;
}

/* Experts of all layers that saw no row of one text. */
static uint64_t unseen(const hone_calib *c, size_t text)
{
    uint64_t n = 0;
    for (size_t i = 0; i < c->n_inputs; i++)
        for (uint32_t k = 0; counts_experts(&c->inputs[i]) && k < c->inputs[i].n_mats; k++)
            if (c->inputs[i].by_text[text * c->inputs[i].n_mats + k] == 0) n++;
    return n;
}

static json_t *texts_of(const hone_calib *c, bool experts)
{
    json_t *list = json_array();
    bool    ok = list != NULL;
    for (size_t i = 0; ok && i < c->opt->n_texts; i++) {
        const hone_calib_text *t = &c->texts[i];
        json_t                *o = json_object();
        ok = hone_json_put(o, "name", t->name ? json_string(t->name) : json_null()) && hone_json_put(o, "path", json_string(t->path)) &&
             hone_json_put(o, "bytes", integer(t->bytes)) && hone_json_put(o, "tokens", integer(t->used)) &&
             hone_json_put(o, "tokens_in_text", integer(t->n_ids)) && hone_json_put(o, "chunks", integer(t->n_chunks)) &&
             hone_json_put(o, "experts_unseen", experts ? integer(unseen(c, i)) : json_null());
        ok = json_array_append_new(list, o) == 0 && ok;
    }
    if (ok) return list;
    json_decref(list);
    return NULL;
}

/* "layer 0 expert 3 (none), layer 2 expert 1 (17)" */
static void name_some(const json_t *cold, hone_text *t)
{
    size_t  i;
    json_t *e;
    json_array_foreach((json_t *)(uintptr_t)cold, i, e) {
        const json_int_t rows = json_integer_value(json_object_get(e, "rows"));
        if (i == NAMED) {
            hone_text_addf(t, " and %zu more", json_array_size(cold) - NAMED);
            break;
        }
        hone_text_addf(t, "%slayer %d expert %d (%s", i ? ", " : "", (int)json_integer_value(json_object_get(e, "layer")),
                       (int)json_integer_value(json_object_get(e, "expert")), rows ? "" : "none)");
        if (rows) hone_text_addf(t, "%lld)", (long long)rows);
    }
}

static hone_code warn(const hone_calib *c, json_t *list, const char *text, const char *remedy, hone_err *err)
{
    hone_event_warn(c->ctx, remedy, "%s", text);
    return json_array_append_new(list, json_string(text)) == 0 ? HONE_OK : HONE_NOMEM(err, "a warning");
}

static hone_code warnings(const hone_calib *c, const json_t *cold, json_t *list, hone_err *err)
{
    hone_text t = { 0 };
    hone_code code = HONE_OK;
    uint64_t  tokens = 0;
    for (size_t i = 0; i < c->opt->n_texts; i++) tokens += c->texts[i].used;
    if (json_array_size(cold)) {
        hone_text_addf(&t, "%zu cold expert%s, given fewer than %u rows: ", json_array_size(cold), json_array_size(cold) == 1 ? "" : "s", cold_rows(c));
        name_some(cold, &t);
        code = warn(c, list, t.failed ? "cold experts" : t.ptr, "add text of the kinds and languages that the model is for; an expert that saw nothing is treated as the mean of its layer", err);
    }
    if (code == HONE_OK && tokens < FEW_TOKENS) {
        hone_text_clear(&t);
        hone_text_addf(&t, "%llu tokens are few: statistics are rough below some %d", (unsigned long long)tokens, FEW_TOKENS);
        code = warn(c, list, t.failed ? "few tokens" : t.ptr, "give more text with --data", err);
    }
    hone_text_release(&t);
    return code;
}

hone_code hone_calib_coverage(const hone_calib *c, json_t *doc, hone_err *err)
{
    json_t *layers = json_array(), *cold = json_array(), *list = json_array(), *coverage = json_null();
    bool    experts = false, ok = layers && cold && list;
    for (size_t i = 0; ok && i < c->n_inputs; i++) {
        if (!counts_experts(&c->inputs[i])) continue;
        experts = true;
        ok = add_layer(c, &c->inputs[i], layers, cold);
    }
    hone_code code = ok ? warnings(c, cold, list, err) : HONE_NOMEM(err, "the coverage");
    if (ok && experts) {
        coverage = json_object();
        ok = hone_json_put(coverage, "experts", integer(c->model.facts.n_experts)) && hone_json_put(coverage, "experts_used", integer(c->model.facts.n_experts_used)) &&
             hone_json_put(coverage, "cold_rows", integer(cold_rows(c))) && hone_json_put(coverage, "layers", json_incref(layers)) &&
             hone_json_put(coverage, "cold", json_incref(cold));
    }
    json_t *texts = texts_of(c, experts);
    ok = hone_json_put(doc, "texts", texts) && ok;
    ok = hone_json_put(doc, "coverage", coverage) && ok;
    ok = hone_json_put(doc, "warnings", list) && ok;
    json_decref(layers);
    json_decref(cold);
    if (code == HONE_OK && !ok) code = HONE_NOMEM(err, "the coverage");
    return code;
}
