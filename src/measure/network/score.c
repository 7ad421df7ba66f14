/* score.c - an artefact against labels and against a float model, batch by batch. */
#include "measure/network.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct outputs { /* of one run, one after another */
    float   *x;      /* [n] */
    size_t   n, cap, first; /* first: numbers of the first output */
    size_t   n_values;
    bool     bad, full;     /* a type without numbers; no memory */
} outputs;

static void keep(void *user, const hone_backend_value *v)
{
    outputs *o = user;
    size_t   n = hone_value_elems(v);
    if (o->n + n > o->cap) {
        size_t cap = (o->n + n) * 2 + 1024;
        float *more = cap < SIZE_MAX / sizeof *more ? realloc(o->x, cap * sizeof *more) : NULL;
        if (!more) {
            o->full = true;
            return;
        }
        o->x = more;
        o->cap = cap;
    }
    if (!hone_value_floats(v, o->x + o->n, n)) o->bad = true;
    o->n += n;
    if (o->n_values++ == 0) o->first = n;
}

typedef struct tally {
    uint64_t samples, right, agree, labelled, compared, not_finite, numbers;
    double   max_abs, sum_abs, sum_square, cosine_sum, cosine_min;
    uint64_t cosines;
    char    *outcomes; /* [all samples] or NULL */
} tally;

static size_t best_of(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static hone_code take_labels(tally *t, const outputs *o, uint64_t count, const int64_t *labels, uint64_t first, hone_err *err)
{
    size_t width = o->first / count;
    for (uint64_t i = 0; i < count; i++) {
        if (labels[i] < 0 || (uint64_t)labels[i] >= width)
            return HONE_FAIL(err, HONE_EINPUT, "labels are classes from 0 on", "label %" PRId64 " of sample %" PRIu64 " is outside the %zu numbers of the first output", labels[i],
                             first + i, width);
        bool right = best_of(o->x + i * width, width) == (size_t)labels[i];
        t->right += right;
        t->labelled++;
        if (t->outcomes) t->outcomes[first + i] = right ? '1' : '0';
    }
    return HONE_OK;
}

static void take_cosine(tally *t, const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    double c = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : aa == bb ? 1 : 0;
    if (!isfinite(c)) return;
    t->cosine_sum += c;
    t->cosine_min = t->cosines == 0 || c < t->cosine_min ? c : t->cosine_min;
    t->cosines++;
}

static hone_code compare(tally *t, const outputs *o, const outputs *r, uint64_t count, hone_err *err)
{
    if (o->n != r->n || o->first != r->first)
        return HONE_FAIL(err, HONE_EINPUT, "compare it with the model it was made from", "the outputs have %zu numbers, the reference's have %zu", o->n, r->n);
    size_t width = o->first / count;
    for (size_t i = 0; i < o->n; i++) {
        double d = fabs((double)o->x[i] - (double)r->x[i]);
        if (!isfinite(d)) continue;
        if (d > t->max_abs) t->max_abs = d;
        t->sum_abs += d;
        t->sum_square += d * d;
        t->numbers++;
    }
    for (uint64_t i = 0; i < count; i++) {
        t->agree += best_of(o->x + i * width, width) == best_of(r->x + i * width, width);
        take_cosine(t, o->x + i * width, r->x + i * width, width);
    }
    t->compared += count;
    return HONE_OK;
}

typedef struct scoring {
    hone_arena                a;
    hone_network              net, ref;
    hone_samples              data;
    hone_feed                 feed, ref_feed;
    const hone_samples_array *labels;
    outputs                   out, ref_out;
    tally                     t;
    uint64_t                  n;
} scoring;

static void scoring_release(scoring *s)
{
    hone_network_close(&s->net);
    hone_network_close(&s->ref);
    hone_samples_close(&s->data);
    free(s->out.x);
    free(s->ref_out.x);
    hone_arena_release(&s->a);
}

static hone_code run_one(hone_network *n, const scoring *s, const hone_feed *f, outputs *o, uint64_t first, uint64_t count, hone_err *err)
{
    o->n = o->first = o->n_values = 0;
    HONE_TRY(hone_network_run(n, &s->data, f, first, count, keep, o, NULL, err));
    if (o->full) return HONE_NOMEM(err, "the outputs of a network");
    if (o->bad || o->first == 0 || o->first % count != 0)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "", "the first output of '%s' has no numbers for each sample", n->path);
    return HONE_OK;
}

static hone_code one_batch(scoring *s, uint64_t first, uint64_t count, hone_err *err)
{
    int64_t labels[4096];
    HONE_TRY(run_one(&s->net, s, &s->feed, &s->out, first, count, err));
    for (size_t i = 0; i < s->out.n; i++) s->t.not_finite += isfinite(s->out.x[i]) ? 0 : 1;
    if (s->ref.runner) {
        HONE_TRY(run_one(&s->ref, s, &s->ref_feed, &s->ref_out, first, count, err));
        HONE_TRY(compare(&s->t, &s->out, &s->ref_out, count, err));
    }
    if (s->labels) {
        HONE_TRY(hone_samples_read(&s->data, s->labels, first, count, labels, err));
        HONE_TRY(take_labels(&s->t, &s->out, count, labels, first, err));
    }
    s->t.samples += count;
    return HONE_OK;
}

static hone_code find_labels(scoring *s, const hone_network_eval *opt, hone_err *err)
{
    static const char *const names[] = { "labels", "label", "y" };
    if (opt->labels && !(s->labels = hone_samples_find(&s->data, opt->labels)))
        return HONE_FAIL(err, HONE_EINPUT, "", "'%s' has no array '%s'", opt->data, opt->labels);
    for (size_t i = 0; !s->labels && i < HONE_COUNT(names); i++) s->labels = hone_samples_find(&s->data, names[i]);
    if (s->labels && (s->labels->type != HONE_BACKEND_I64 || s->labels->sample_bytes != 8))
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "store them as int64, one a sample", "the labels in '%s' are not one int64 for each sample", opt->data);
    return HONE_OK;
}

static hone_code prepare(const hone_ctx *ctx, const hone_network_eval *opt, scoring *s, hone_err *err)
{
    hone_image_how   image = opt->image;
    hone_network_how float_how = { .device = opt->how.device, .threads = opt->how.threads, .exact = true };
    HONE_TRY(hone_network_open(ctx, opt->artefact, &opt->how, &s->net, err));
    if (opt->reference) HONE_TRY(hone_network_open(ctx, opt->reference, &float_how, &s->ref, err));
    bool pictures = hone_network_image(&s->net, &image);
    HONE_TRY(hone_samples_open(opt->data, pictures ? &image : NULL, &s->a, &s->data, err));
    HONE_TRY(find_labels(s, opt, err));
    HONE_TRY(hone_feed_make(&s->net, &s->data, 0, &s->a, &s->feed, err));
    if (opt->reference) HONE_TRY(hone_feed_make(&s->ref, &s->data, s->feed.batch, &s->a, &s->ref_feed, err));
    if (opt->reference && s->ref_feed.batch < s->feed.batch && !s->feed.fixed) s->feed.batch = s->ref_feed.batch;
    if (opt->reference && s->ref_feed.batch != s->feed.batch)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "export both for the same batch", "the reference takes %" PRIu64 " samples at a time, the artefact %" PRIu64, s->ref_feed.batch, s->feed.batch);
    if (s->feed.batch > 4096) return HONE_FAIL(err, HONE_EUNSUPPORTED, "export it with a smaller batch", "the network takes %" PRIu64 " samples at a time", s->feed.batch);
    s->n = opt->max_samples && opt->max_samples < s->data.n ? opt->max_samples : s->data.n;
    s->t.outcomes = opt->keep && s->labels ? hone_arena_alloc(opt->keep, (size_t)s->n + 1) : NULL;
    return HONE_OK;
}

static void fill(const scoring *s, const hone_network_eval *opt, hone_network_scores *r)
{
    const tally      *t = &s->t;
    const char       *backend = NULL;
    const hone_metric no_ref = hone_metric_none("no --reference was given"), no_labels = hone_metric_none("the data has no labels");
    bool              ref = opt->reference != NULL && t->numbers > 0;
    *r = (hone_network_scores){ .samples = t->samples, .not_finite = t->not_finite, .outcomes = t->outcomes };
    (void)hone_network_kind(opt->artefact, &backend);
    (void)snprintf(r->path, sizeof r->path, "%s", opt->artefact);
    (void)snprintf(r->format, sizeof r->format, "%s", strcmp(backend, "openvino") == 0 ? "openvino" : "onnx");
    memcpy(r->runtime, s->net.info.runtime, sizeof r->runtime);
    memcpy(r->version, s->net.info.version, sizeof r->version);
    memcpy(r->device, s->net.info.device, sizeof r->device);
    memcpy(r->fallback, s->net.info.fallback, sizeof r->fallback);
    memcpy(r->description, s->net.info.description, sizeof r->description);
    r->accuracy = t->labelled ? hone_metric_share(t->right, t->labelled) : no_labels;
    r->top1 = ref ? hone_metric_share(t->agree, t->compared) : no_ref;
    r->max_abs = ref ? hone_metric_of(t->max_abs, t->numbers) : no_ref;
    r->mean_abs = ref ? hone_metric_of(t->sum_abs / (double)t->numbers, t->numbers) : no_ref;
    r->mean_square = ref ? hone_metric_of(t->sum_square / (double)t->numbers, t->numbers) : no_ref;
    r->cosine_mean = ref && t->cosines ? hone_metric_of(t->cosine_sum / (double)t->cosines, t->cosines) : no_ref;
    r->cosine_min = ref && t->cosines ? hone_metric_of(t->cosine_min, t->cosines) : no_ref;
}

hone_code hone_network_score(const hone_ctx *ctx, const hone_network_eval *opt, hone_network_scores *out, hone_err *err)
{
    scoring   s = { .n = 0 };
    hone_code code = prepare(ctx, opt, &s, err);
    for (uint64_t at = 0; code == HONE_OK && at < s.n; at += s.feed.batch) {
        code = one_batch(&s, at, s.n - at < s.feed.batch ? s.n - at : s.feed.batch, err);
        hone_event_progress(ctx, "samples", at, s.n);
    }
    if (code == HONE_OK) fill(&s, opt, out);
    scoring_release(&s);
    return code;
}

json_t *hone_network_scores_json(const hone_network_scores *s)
{
    json_t *j = json_object();
    bool    good = j && hone_json_put(j, "kind", json_string("network")) && hone_metric_put_text(j, "path", s->path) && hone_metric_put_text(j, "format", s->format) &&
                hone_metric_put_text(j, "runtime", s->runtime) && hone_metric_put_text(j, "version", s->version) && hone_metric_put_text(j, "device", s->device) &&
                hone_metric_put_text(j, "fallback", s->fallback) && hone_metric_put_text(j, "description", s->description) &&
                hone_json_put(j, "samples", json_integer((json_int_t)s->samples)) && hone_json_put(j, "not_finite", json_integer((json_int_t)s->not_finite)) &&
                hone_metric_put(j, "accuracy", &s->accuracy) && hone_metric_put(j, "top1", &s->top1) && hone_metric_put(j, "max_abs", &s->max_abs) &&
                hone_metric_put(j, "mean_abs", &s->mean_abs) && hone_metric_put(j, "mean_square", &s->mean_square) &&
                hone_metric_put(j, "cosine_mean", &s->cosine_mean) && hone_metric_put(j, "cosine_min", &s->cosine_min);
    if (good) return j;
    json_decref(j);
    return NULL;
}
