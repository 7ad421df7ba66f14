#include "flow/convert/correction.h"
#include "flow/convert/conversion.h"
#include "quant/codec.h"
#include <float.h>
#include <math.h>

static const char MAKE[] = "hone calibrate SRC --data FILE -o stats.gguf makes them; then add --calibration stats.gguf";

typedef struct tally { size_t biases, corrected; } tally;

static const hone_planned *planned(const hone_conversion *j, const hone_use *u) { return &j->outputs[u->output].plan[u->weight]; }
static const hone_weight  *wanted(const hone_conversion *j, const hone_use *u) { return &j->outputs[u->output].weights[u->weight]; }

/* Of a linear layer: norms have biases too, and round nothing. */
static bool is_bias(const hone_weight *w) { return w->part == HONE_PART_BIAS && w->n_dims == 1 && !hone_role_is_norm(w->role); }

/* The use that writes the matrix of this bias in the same output; NULL: there is none, or it is stored in several ways, which one bias cannot suit. */
static hone_use *matrix_of(const hone_conversion *j, const hone_use *bias)
{
    const hone_weight *b = wanted(j, bias);
    hone_use          *found = NULL;
    for (size_t i = 0; i < j->n_items; i++)
        for (hone_use *u = j->items[i].uses; u; u = u->next) {
            const hone_weight *w = wanted(j, u);
            if (u->output != bias->output || w->role != b->role || w->layer != b->layer || w->part != HONE_PART_WEIGHT) continue;
            if (found || w->n_dims != 2 || hone_weight_rows(w) != hone_weight_elems(b)) return NULL;
            found = u;
        }
    return found;
}

static hone_code mean_of(const hone_input_stats *in, hone_arena *a, const float **out, hone_err *err)
{
    float *mean = HONE_ARENA_NEW(a, float, in->n_cols);
    if (!mean) return HONE_NOMEM(err, "the mean of an input");
    for (uint32_t i = 0; i < in->n_cols; i++) mean[i] = (float)((double)in->sum[i] / (double)in->counts[0]);
    *out = mean;
    return HONE_OK;
}

static hone_code plan_one(hone_conversion *j, const hone_stats *stats, hone_use *bias, tally *t, hone_err *err)
{
    hone_use *u = matrix_of(j, bias);
    t->biases++;
    if (!u) return HONE_OK;
    const hone_weight      *w = wanted(j, u);
    const hone_planned     *p = planned(j, u);
    const hone_input_stats *in = hone_stats_find(stats, w->role, w->layer);
    if (!in || in->n_mats != 1 || in->n_cols != hone_weight_cols(w) || !in->counts[0]) return HONE_OK;
    if (!in->sum)
        return HONE_FAIL(err, HONE_EINPUT, "make them again with `hone calibrate`, whose files have them since it corrects biases; llama-imatrix does not write them",
                         "the statistics have no means (.in_sum) of the input of %s in layer %d, and biases are corrected by means", hone_role_name(w->role), (int)w->layer);
    if (!p->grouped.scheme && !hone_codec_find(p->dtype)->decode_row) return HONE_OK;
    t->corrected++;
    if (!u->rounded) { /* a bias that is stored twice has one correction */
        u->rounded = HONE_ARENA_NEW(&j->arena, hone_correction, 1);
        if (!u->rounded) return HONE_NOMEM(err, "the plan");
        u->rounded->change = HONE_ARENA_NEW(&j->arena, double, hone_weight_rows(w));
        if (!u->rounded->change) return HONE_NOMEM(err, "the plan");
        HONE_TRY(mean_of(in, &j->arena, &u->rounded->mean, err));
    }
    bias->corrected = u->rounded;
    return HONE_OK;
}

/* Items whose bytes wait for those of others go to the end. */
static hone_code put_late(hone_conversion *j, hone_err *err)
{
    hone_item *late = HONE_ARENA_NEW(&j->arena, hone_item, j->n_items);
    size_t     n = 0, n_late = 0;
    if (!late) return HONE_NOMEM(err, "the plan");
    for (size_t i = 0; i < j->n_items; i++) {
        bool waits = false;
        for (const hone_use *u = j->items[i].uses; u; u = u->next) waits = waits || u->corrected;
        if (waits) late[n_late++] = j->items[i];
        else j->items[n++] = j->items[i];
    }
    if (n_late) memcpy(j->items + n, late, n_late * sizeof *late);
    j->late_item = n;
    return HONE_OK;
}

hone_code hone_corrections_plan(hone_conversion *j, const hone_convert_options *opt, hone_err *err)
{
    tally t = { 0 };
    j->late_item = j->n_items;
    if (!opt->bias_correction) return HONE_OK;
    if (!opt->stats) return HONE_FAIL(err, HONE_EUSAGE, MAKE, "biases are corrected by the means of the activations, and there are no statistics");
    for (size_t i = 0; i < j->n_items; i++)
        for (hone_use *u = j->items[i].uses; u; u = u->next)
            if (is_bias(wanted(j, u))) HONE_TRY(plan_one(j, opt->stats, u, &t, err));
    if (!t.biases)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "leave --bias-correction out", "no matrix of this %s model has a bias that could take up what rounding does", j->m->facts.family);
    if (!t.corrected) return HONE_FAIL(err, HONE_EINPUT, MAKE, "the statistics say nothing of the inputs of matrices that have biases");
    if (t.corrected < t.biases)
        hone_event_note(j->ctx, "%zu of %zu biases stay as they are: nothing is known of what their matrices are given", t.biases - t.corrected, t.biases);
    return put_late(j, err);
}

void hone_planned_decode(const hone_planned *p, const uint8_t *const in[HONE_STREAMS], uint64_t n_rows, uint64_t cols, float *x)
{
    if (p->grouped.scheme != HONE_SCHEME_NONE) {
        hone_grouped_decode(&p->grouped, in, n_rows, cols, x);
        return;
    }
    const hone_codec *codec = hone_codec_find(p->dtype);
    for (uint64_t r = 0; r < n_rows; r++) codec->decode_row(in[0] + r * (p->at[0].row_bits / 8), x + r * cols, (size_t)cols);
}

void hone_correction_see(hone_correction *c, const float *x, const float *stored, uint64_t row0, const uint32_t *to, uint64_t n_rows, uint64_t cols)
{
    for (uint64_t r = 0; r < n_rows; r++) {
        const float *w = x + r * cols, *q = stored + r * cols;
        double       sum = 0;
        for (uint64_t i = 0; i < cols; i++) sum += ((double)w[i] - (double)q[i]) * (double)c->mean[i];
        c->change[to ? to[row0 + r] : row0 + r] = sum;
    }
}

hone_code hone_correction_add(const hone_correction *c, const hone_weight *w, hone_dtype as, const float *bias, uint64_t n, float *out, hone_err *err)
{
    const double most = as == HONE_DTYPE_F16 ? 65504 : as == HONE_DTYPE_BF16 ? 0x1.fep127 : (double)FLT_MAX;
    for (uint64_t i = 0; i < n; i++) {
        const double b = (double)bias[i] + c->change[i];
        if (!(fabs(b) <= most))
            return HONE_FAIL(err, HONE_EINPUT, "give statistics of this model: hone calibrate makes them; or leave --bias-correction out",
                             "by these statistics entry %llu of the bias of %s in layer %d would be %g, and %s ends at %g", (unsigned long long)i, hone_role_name(w->role),
                             (int)w->layer, b, hone_dtype_get(as)->name, most);
        out[i] = (float)b;
    }
    return HONE_OK;
}
