#include "ir/graph.h"
#include <math.h>

/* base ^ (2i / dim), rounded to float32 once: torch's own rounding differs between processors by an ulp. */
static float power_at(double base, uint32_t i, uint32_t dim) { return (float)pow(base, (double)((float)(2 * i) / (float)dim)); }

static float llama3(const hone_rope *r, float freq)
{
    const float pi2 = 6.283185307179586f;
    float       context = (float)r->original_context, low = (float)r->low_freq, high = (float)r->high_freq, wave = pi2 / freq;
    if (wave < context / high) return freq;
    if (wave > context / low) return freq / (float)r->factor;
    float smooth = (context / wave - low) / (high - low);
    return (1.0f - smooth) * freq / (float)r->factor + smooth * freq;
}

/* The pair whose wave turns `turns` times within the original context. */
static double yarn_pair(const hone_rope *r, double turns)
{
    const double pi2 = 6.283185307179586;
    return r->dim * log(r->original_context / (turns * pi2)) / (2 * log(r->base));
}

static float yarn(const hone_rope *r, uint32_t i, float power)
{
    double low = floor(yarn_pair(r, r->beta_fast)), high = ceil(yarn_pair(r, r->beta_slow));
    if (low < 0) low = 0;
    if (high > r->dim - 1) high = r->dim - 1;
    if (high == low) high += 0.001;
    float ramp = ((float)i - (float)low) / (float)(high - low);
    ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
    float keep = 1.0f - ramp;
    return 1.0f / ((float)r->factor * power) * (1.0f - keep) + 1.0f / power * keep;
}

static float attention_factor(const hone_rope *r)
{
    if (r->scaling != HONE_ROPE_SCALE_YARN && r->scaling != HONE_ROPE_SCALE_LONGROPE) return 1;
    if (r->attn_factor > 0) return (float)r->attn_factor;
    return r->scaling == HONE_ROPE_SCALE_YARN && r->factor > 1 ? (float)(0.1 * log(r->factor) + 1) : 1;
}

void hone_rope_table(const hone_rope *r, bool local, float *out, float *out_long, bool *has_long, float *scale)
{
    hone_rope_scaling kind = local ? HONE_ROPE_SCALE_NONE : r->scaling;
    *has_long = kind == HONE_ROPE_SCALE_LONGROPE;
    *scale = local ? 1 : attention_factor(r);
    for (uint32_t i = 0; i < r->dim / 2; i++) {
        float power = power_at(local ? r->local_base : r->base, i, r->dim);
        switch (kind) {
        case HONE_ROPE_SCALE_LINEAR: out[i] = 1.0f / power / (float)r->factor; break;
        case HONE_ROPE_SCALE_LLAMA3: out[i] = llama3(r, 1.0f / power); break;
        case HONE_ROPE_SCALE_YARN: out[i] = yarn(r, i, power); break;
        case HONE_ROPE_SCALE_LONGROPE:
            out[i] = 1.0f / (r->short_factors[i] * power);
            out_long[i] = 1.0f / (r->long_factors[i] * power);
            break;
        case HONE_ROPE_SCALE_NONE:
        case HONE_ROPE_SCALE_DYNAMIC: out[i] = 1.0f / power; break;
        }
    }
}
