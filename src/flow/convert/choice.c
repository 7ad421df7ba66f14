#include "flow/convert/choice.h"
#include "base/text.h"
#include "quant/codec.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static bool is(const hone_format *f, const hone_format *g) { return f == g; }

static hone_scheme scheme_of(const hone_format *f)
{
    if (is(f, &hone_format_mlx)) return HONE_SCHEME_MLX_AFFINE;
    if (is(f, &hone_format_onnx)) return HONE_SCHEME_ONNX;
    return is(f, &hone_format_openvino) ? HONE_SCHEME_NNCF : HONE_SCHEME_NONE;
}

/* Before the planner has its say about it. */
static hone_dtype scale_of(const hone_format *f)
{
    if (is(f, &hone_format_mlx)) return HONE_DTYPE_BF16;
    return is(f, &hone_format_onnx) ? HONE_DTYPE_F32 : HONE_DTYPE_F16;
}

/* ---- words ---- */

static const struct { const char *word; hone_grouped g; } mlx_words[] = {
    { "mxfp4", { .scheme = HONE_SCHEME_MLX_MXFP4, .bits = 4, .group = 32, .scale = HONE_DTYPE_BF16 } },
    { "nvfp4", { .scheme = HONE_SCHEME_MLX_NVFP4, .bits = 4, .group = 16, .scale = HONE_DTYPE_BF16 } },
    { "mxfp8", { .scheme = HONE_SCHEME_MLX_MXFP8, .bits = 8, .group = 32, .scale = HONE_DTYPE_BF16 } },
};

/* "word" at the cursor, up to the next space; false: something else is there. */
static bool take(const char **at, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*at, word, n) != 0 || (*at)[n] > ' ') return false;
    *at += n;
    while (**at == ' ') (*at)++;
    return true;
}

static bool take_number(const char **at, const char *before, uint32_t most, uint32_t *out)
{
    size_t n = strlen(before);
    char  *end;
    if (strncmp(*at, before, n) != 0 || (*at)[n] < '1' || (*at)[n] > '9') return false;
    unsigned long v = strtoul(*at + n, &end, 10);
    if (v > most || *end > ' ') return false;
    *out = (uint32_t)v;
    *at = end;
    while (**at == ' ') (*at)++;
    return true;
}

/* int4 [sym|asym] [g32|per row] */
static bool parse_integer(const hone_format *f, const char *word, const hone_usual *u, hone_grouped *out)
{
    hone_grouped g = { .scheme = scheme_of(f), .scale = scale_of(f), .group = u->group, .sym = u->sym };
    const char  *at = word;
    if (g.scheme == HONE_SCHEME_NONE || !take_number(&at, "int", 8, &g.bits)) return false;
    /* What NNCF has: 8 bits by the row, with zero points. */
    if (is(f, &hone_format_openvino) && g.bits == 8) g.group = 0;
    if (take(&at, "asym")) g.sym = false;
    else if (take(&at, "sym")) g.sym = true;
    if (take(&at, "per")) {
        if (!take(&at, "row")) return false;
        g.group = 0;
    } else (void)take_number(&at, "g", 65536, &g.group);
    if (*at || !hone_grouped_valid(&g)) return false;
    *out = g;
    return true;
}

static bool parse_dtype(const hone_format *f, const char *word, const hone_usual *u, hone_dtype *out)
{
    hone_dtype t;
    if (is(f, &hone_format_onnx) && strcmp(word, "none") == 0) {
        *out = u->plain;
        return true;
    }
    if (!hone_dtype_from_name(word, &t)) return false;
    *out = t;
    if (is(f, &hone_format_gguf)) {
        const hone_codec *c = hone_codec_find(t);
        bool              plain = t == HONE_DTYPE_F32 || t == HONE_DTYPE_F16 || t == HONE_DTYPE_BF16;
        return hone_dtype_get(t)->gguf_id >= 0 && c && c->encode_row && (plain || hone_dtype_get(t)->block_elems > 1);
    }
    if (is(f, &hone_format_onnx)) return t == u->plain;
    return t == HONE_DTYPE_F32 || t == HONE_DTYPE_F16 || (t == HONE_DTYPE_BF16 && is(f, &hone_format_mlx));
}

hone_code hone_choice_parse(const hone_format *f, const char *word, const hone_usual *u, hone_choice *out, hone_err *err)
{
    hone_choice c = { .dtype = HONE_DTYPE_F32 };
    char        shown[80];
    for (size_t i = 0; is(f, &hone_format_mlx) && i < HONE_COUNT(mlx_words); i++)
        if (strcmp(word, mlx_words[i].word) == 0) {
            c.grouped = mlx_words[i].g;
            *out = c;
            return HONE_OK;
        }
    if (parse_integer(f, word, u, &c.grouped) || parse_dtype(f, word, u, &c.dtype)) {
        *out = c;
        return HONE_OK;
    }
    const char *remedy = is(f, &hone_format_gguf)       ? "as in q4_k, iq4_xs, q8_0, f16"
                         : is(f, &hone_format_mlx)      ? "as in int4 g64, with 2 3 4 5 6 or 8 bits and groups of 32, 64 or 128; mxfp4, nvfp4, mxfp8, bf16"
                         : is(f, &hone_format_onnx)     ? "as in int4 asym g32, int8 sym g128, with groups of 16 to 256; none"
                                                        : "as in int4 asym g64, int4 sym per row, int8 asym per row, f16";
    return HONE_FAIL(err, HONE_EUSAGE, remedy, "%s has no encoding '%s'", f->name, hone_text_show(word, strlen(word), shown, sizeof shown));
}

const char *hone_choice_word(const hone_format *f, const hone_choice *c, hone_arena *a)
{
    const hone_grouped *g = &c->grouped;
    if (g->scheme == HONE_SCHEME_NONE) return hone_dtype_name(c->dtype);
    for (size_t i = 0; i < HONE_COUNT(mlx_words); i++)
        if (g->scheme == mlx_words[i].g.scheme) return mlx_words[i].word;
    if (is(f, &hone_format_mlx)) return hone_arena_printf(a, "int%u g%u", g->bits, g->group);
    if (!g->group) return hone_arena_printf(a, "int%u %s per row", g->bits, g->sym ? "sym" : "asym");
    return hone_arena_printf(a, "int%u %s g%u", g->bits, g->sym ? "sym" : "asym", g->group);
}

/* ---- what fits ---- */

hone_code hone_choice_fits(const hone_choice *c, uint64_t n_cols, hone_err *err)
{
    const hone_grouped *g = &c->grouped;
    uint32_t            unit = g->scheme == HONE_SCHEME_NONE ? hone_dtype_get(c->dtype)->block_elems : g->group ? g->group : 1;
    if (n_cols && n_cols % unit == 0) return HONE_OK;
    return HONE_FAIL(err, HONE_EUSAGE, g->scheme == HONE_SCHEME_NONE ? "choose a type with a smaller block, as q8_0 or f16" : "choose a smaller group",
                     "rows have %" PRIu64 " columns, needs a multiple of %u", n_cols, unit);
}

static bool fits(const hone_choice *c, uint64_t n_cols) { return hone_choice_fits(c, n_cols, NULL) == HONE_OK; }

uint64_t hone_choice_row_bits(const hone_choice *c, uint64_t n_cols)
{
    uint64_t n = 0;
    if (c->grouped.scheme == HONE_SCHEME_NONE) return 8 * hone_row_bytes(c->dtype, n_cols);
    for (uint32_t s = 0; s < hone_grouped_streams(&c->grouped); s++) n += hone_grouped_row_bits(&c->grouped, s, n_cols);
    return n;
}

bool hone_choice_same(const hone_choice *x, const hone_choice *y)
{
    const hone_grouped *a = &x->grouped, *b = &y->grouped;
    if (a->scheme != b->scheme) return false;
    if (a->scheme == HONE_SCHEME_NONE) return x->dtype == y->dtype;
    return a->bits == b->bits && a->group == b->group && a->sym == b->sym;
}

/* ---- widths ---- */

/* Widths of GGUF: the type of blocks of 256, and what rows get that hold none (as llama.cpp falls back). */
static const struct { uint32_t bits; hone_dtype type, narrow; } gguf_levels[] = {
    { 2, HONE_DTYPE_Q2_K, HONE_DTYPE_Q4_0 }, { 3, HONE_DTYPE_Q3_K, HONE_DTYPE_Q4_0 }, { 4, HONE_DTYPE_Q4_K, HONE_DTYPE_Q4_0 },
    { 5, HONE_DTYPE_Q5_K, HONE_DTYPE_Q5_0 }, { 6, HONE_DTYPE_Q6_K, HONE_DTYPE_Q8_0 }, { 8, HONE_DTYPE_Q8_0, HONE_DTYPE_Q8_0 },
};

static hone_choice gguf_of_bits(uint32_t bits, const hone_usual *u, uint64_t n_cols)
{
    hone_choice c = { .dtype = bits == 32 ? HONE_DTYPE_F32 : u->plain };
    for (size_t i = 0; i < HONE_COUNT(gguf_levels); i++) {
        if (gguf_levels[i].bits != bits) continue;
        hone_choice wide = { .dtype = gguf_levels[i].type }, narrow = { .dtype = gguf_levels[i].narrow };
        if (fits(&wide, n_cols)) return wide;
        if (fits(&narrow, n_cols)) return narrow;
    }
    return c;
}

/* The group that the format usually has, or the widest below that divides the row. */
static uint32_t group_for(const hone_format *f, const hone_usual *u, uint64_t n_cols)
{
    uint32_t g = u->group, least = is(f, &hone_format_mlx) ? 32 : 16;
    while (g > least && n_cols % g != 0) g /= 2;
    return g;
}

hone_choice hone_choice_of_bits(const hone_format *f, uint32_t bits, const hone_usual *u, uint64_t n_cols)
{
    hone_choice plain = { .dtype = bits == 32 && !is(f, &hone_format_onnx) ? HONE_DTYPE_F32 : u->plain }, c = plain;
    if (is(f, &hone_format_gguf)) return gguf_of_bits(bits, u, n_cols);
    if (bits > 8) return plain;
    c.grouped = (hone_grouped){ .scheme = scheme_of(f), .scale = scale_of(f), .bits = bits, .group = group_for(f, u, n_cols), .sym = u->sym };
    if (!is(f, &hone_format_mlx)) c.grouped.bits = bits <= 5 ? 4 : 8;
    if (is(f, &hone_format_openvino) && c.grouped.bits == 8) c.grouped.group = 0;
    return hone_grouped_valid(&c.grouped) && fits(&c, n_cols) ? c : plain;
}

/* ---- all of them ---- */

/* What hone encodes and llama.cpp computes with on every backend, narrow first; f16 for whoever can afford it. */
static const hone_dtype gguf_types[] = { HONE_DTYPE_Q2_K, HONE_DTYPE_Q3_K, HONE_DTYPE_IQ4_XS, HONE_DTYPE_IQ4_NL, HONE_DTYPE_Q4_0, HONE_DTYPE_Q4_K, HONE_DTYPE_Q5_0,
                                         HONE_DTYPE_Q5_K, HONE_DTYPE_Q6_K,   HONE_DTYPE_Q8_0 };
static const struct { uint32_t bits, group; } mlx_grid[] = {
    { 2, 128 }, { 2, 64 }, { 2, 32 }, { 3, 128 }, { 3, 64 }, { 3, 32 }, { 4, 128 }, { 4, 64 }, { 4, 32 },
    { 5, 128 }, { 5, 64 }, { 5, 32 }, { 6, 128 }, { 6, 64 }, { 6, 32 }, { 8, 128 }, { 8, 64 }, { 8, 32 },
};
static const struct { uint32_t bits, group; bool sym; } onnx_grid[] = {
    { 4, 256, true }, { 4, 128, true }, { 4, 64, true },   { 4, 32, true },  { 4, 16, true },   { 4, 256, false }, { 4, 128, false },
    { 4, 64, false }, { 4, 32, false }, { 4, 16, false },  { 8, 256, true }, { 8, 128, true },  { 8, 32, true },   { 8, 128, false }, { 8, 32, false },
}, ov_grid[] = {
    { 4, 0, true },  { 4, 128, true },  { 4, 64, true },   { 4, 32, true },  { 4, 16, true },   { 4, 0, false },   { 4, 128, false },
    { 4, 64, false }, { 4, 32, false }, { 4, 16, false },  { 8, 0, true },   { 8, 0, false },
};

bool hone_choice_at(const hone_format *f, size_t i, const hone_usual *u, hone_choice *out)
{
    size_t n = is(f, &hone_format_gguf)   ? HONE_COUNT(gguf_types)
               : is(f, &hone_format_mlx)  ? HONE_COUNT(mlx_grid) + 1 /* mxfp4 */
               : is(f, &hone_format_onnx) ? HONE_COUNT(onnx_grid)
                                          : HONE_COUNT(ov_grid);
    if (i > n) return false;
    *out = (hone_choice){ .dtype = u->plain };
    if (i == n) return true;
    if (is(f, &hone_format_gguf)) out->dtype = gguf_types[i];
    else if (is(f, &hone_format_mlx) && i == HONE_COUNT(mlx_grid)) out->grouped = mlx_words[0].g;
    else if (is(f, &hone_format_mlx))
        out->grouped = (hone_grouped){ .scheme = HONE_SCHEME_MLX_AFFINE, .bits = mlx_grid[i].bits, .group = mlx_grid[i].group, .scale = u->plain };
    else if (is(f, &hone_format_onnx))
        out->grouped = (hone_grouped){ .scheme = HONE_SCHEME_ONNX, .bits = onnx_grid[i].bits, .group = onnx_grid[i].group, .sym = onnx_grid[i].sym, .scale = HONE_DTYPE_F32 };
    else
        out->grouped = (hone_grouped){ .scheme = HONE_SCHEME_NNCF, .bits = ov_grid[i].bits, .group = ov_grid[i].group, .sym = ov_grid[i].sym, .scale = HONE_DTYPE_F16 };
    return true;
}

/* ---- the plan's word ---- */

hone_code hone_choice_planned(const hone_plan *p, const hone_model *m, const hone_format *f, const hone_weight *w, const hone_usual *u, hone_choice *out,
                              bool *given, bool *by_name, hone_err *err)
{
    hone_plan_said said;
    size_t         at = 0;
    char           selector[280];
    *given = *by_name = false;
    while (hone_convert_format(at) != f) at++;
    if (!p) return HONE_OK;
    HONE_TRY(hone_plan_find(p, m, w, at, &said, err));
    if (!said.line) return HONE_OK;
    *given = true;
    *by_name = said.by_name;
    if (!said.word) {
        *out = hone_choice_of_bits(f, said.line->bits, u, hone_weight_cols(w));
        return HONE_OK;
    }
    hone_code code = hone_choice_parse(f, said.word, u, out, err);
    if (code == HONE_OK) {
        code = hone_choice_fits(out, hone_weight_cols(w), err);
        if (code != HONE_OK) (void)hone_err_wrap(err, "%s in %s", said.word, f->name);
    }
    if (code == HONE_OK) return HONE_OK;
    (void)hone_err_wrap(err, "%s: line %" PRIu32 ": %s", p->path ? p->path : "the plan", said.line->at, hone_plan_selector(said.line, selector, sizeof selector));
    if (err) err->code = HONE_EINPUT;
    return HONE_EINPUT;
}
