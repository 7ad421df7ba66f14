/* network.c - the output of a model that is no language model: converted once more, and compared.  ONNX is compared while it would be written; what a
 * runtime writes (OpenVINO's IR) is written by it to a temporary folder first. */
#include "flow/net/recipe.h"
#include "flow/verify/parts.h"
#include "formats/onnx/net.h"
#include "formats/openvino.h"
#include <stdlib.h>
#include <sys/stat.h>

#define MAX_XML ((uint64_t)1 << 28)
#define TILE    (1u << 20)

typedef struct look {
    hone_comparison       *c;
    const hone_ctx        *ctx;
    const hone_net_recipe *recipe;
    hone_onnx_net_check    check; /* of ONNX; of other files only .file is used */
    const hone_net        *net;   /* NULL: not ONNX */
    const hone_ov_found   *consts; /* [n_consts] of the IR's .bin */
    size_t                 n_consts;
} look;

/* A constant in a file. */
typedef struct place {
    const char *name, *type;
    uint64_t    begin, bytes, per_row; /* per_row: elements of one step of the first dimension; 0: no rows */
    uint32_t    bits;
    int32_t     onnx_type; /* to read its numbers; 0: cannot */
    size_t      number;
} place;

/* ---- which constant ---- */

static bool in_onnx(const look *l, place *p)
{
    if (!l->net || l->check.constant == HONE_ONNX_NO_CONSTANT) return false;
    const hone_net_value  *v = l->net->constants[l->check.constant];
    const hone_net_tensor *t = v->tensor;
    *p = (place){ .name = v->name, .type = hone_net_type_name(t->type), .begin = l->check.begin, .bytes = t->bytes, .bits = hone_net_type_bits(t->type), .onnx_type = t->type,
                  .number = l->check.constant, .per_row = t->n_dims > 1 && t->dims[0] ? t->n / t->dims[0] : 0 };
    return true;
}

/* Names of OpenVINO's element types that ONNX has too. */
static int32_t onnx_type(const char *name)
{
    if (strcmp(name, "boolean") == 0) return HONE_NET_BOOL;
    for (int32_t t = 1; t <= HONE_NET_I4; t++)
        if (strcmp(hone_net_type_name(t), name) == 0) return t;
    return 0;
}

static uint64_t elements_per_row(const char *shape)
{
    const char *p = strchr(shape, ',');
    uint64_t    n = 1;
    if (!p) return 0;
    for (char *end; p && *p == ','; p = end) {
        uint64_t d = strtoull(p + 1, &end, 10);
        if (!hone_size_mul(n, d, &n)) return 0;
    }
    return n;
}

static bool in_ir(const look *l, uint64_t from, place *p)
{
    for (size_t i = 0; i < l->n_consts; i++) {
        const hone_ov_found *f = &l->consts[i];
        if (from < f->offset || from - f->offset >= f->bytes) continue;
        int32_t type = onnx_type(f->type);
        *p = (place){ .name = f->name, .type = f->type, .begin = f->offset, .bytes = f->bytes, .bits = hone_net_type_bits(type), .onnx_type = type, .number = i,
                      .per_row = elements_per_row(f->shape) };
        return true;
    }
    return false;
}

/* ---- differences ---- */

/* An element of the constant, from bytes that begin at `off` of the file.  False: it is not there, or no number. */
static bool number_at(const place *p, uint64_t element, uint64_t off, const uint8_t *bytes, size_t n, double *out)
{
    uint64_t       bit = element * p->bits, from = p->begin + bit / 8;
    hone_net_tensor one = { .type = p->onnx_type, .n = 1, .bytes = (p->bits + 7) / 8 };
    uint8_t        value[16];
    float         *x = NULL;
    if (!p->onnx_type || !p->bits || one.bytes > sizeof value || from < off || from - off + one.bytes > n) return false;
    memcpy(value, bytes + (from - off), (size_t)one.bytes);
    if (p->bits < 8) value[0] = (uint8_t)(value[0] >> (bit % 8));
    one.data = value;
    const hone_net none = { 0 };
    if (hone_net_tensor_floats(&none, &one, &x, NULL) != HONE_OK) return false;
    *out = (double)x[0];
    free(x);
    return true;
}

static hone_code keep_first(look *l, const place *p, const hone_difference *d, uint64_t element, uint64_t off, const uint8_t *want, const uint8_t *found, size_t n, size_t n_found)
{
    hone_comparison *c = l->c;
    double           x, y;
    c->tensor = hone_arena_strdup(c->a, p->name);
    c->encoding = hone_arena_strdup(c->a, p->type);
    c->stream = "values";
    json_decref(c->values);
    c->values = NULL;
    if (number_at(p, element, off, want, n, &x) && number_at(p, element, off, found, n_found, &y))
        c->values = json_pack("{s:I,s:o,s:o}", "column", (json_int_t)d->block, "expected", hone_json_real(x), "found", hone_json_real(y));
    return c->tensor && c->encoding ? HONE_OK : HONE_ERESOURCE;
}

static void note_tensor(look *l, const place *p, const char *file, uint64_t off, const uint8_t *want, const uint8_t *found, size_t n, size_t n_found)
{
    hone_comparison *c = l->c;
    hone_difference  d = { .kind = HONE_DIFFERS_TENSOR, .file = file, .weight = p->number };
    uint64_t         last = UINT64_MAX, bits = p->bits ? p->bits : 8, first = 0;
    bool             any = false;
    for (size_t i = 0; i < n; i++) {
        uint8_t x = i < n_found ? want[i] ^ found[i] : 0xff;
        for (unsigned half = 0; x && half < 2; half++) {
            if (!(x >> (4 * half) & 15)) continue;
            uint64_t element = (8 * (off + i - p->begin) + 4 * half) / bits;
            c->blocks_differ += element != last;
            last = element;
            if (!any) {
                d.offset = off + i;
                first = element;
            }
            any = true;
        }
        c->bytes_differ += x != 0;
        if (any && d.n_want < HONE_SAMPLE) {
            d.want[d.n_want++] = want[i];
            if (i < n_found) d.found[d.n_found++] = found[i];
        }
    }
    d.row = p->per_row ? first / p->per_row : 0;
    d.block = p->per_row ? first % p->per_row : first;
    if (p->number < c->n_weights) c->touched[p->number] = 1;
    hone_comparison_note(c, &d);
    if (c->first.kind == d.kind && c->first.file == d.file && c->first.offset == d.offset && keep_first(l, p, &d, first, off, want, found, n, n_found) != HONE_OK)
        c->tensor = c->encoding = "";
}

static void note_bytes(hone_comparison *c, const char *file, uint64_t off, const uint8_t *want, const uint8_t *found, size_t n, size_t n_found)
{
    hone_difference d = { .kind = HONE_DIFFERS_HEADER, .file = file };
    for (size_t i = 0; i < n; i++) {
        bool same = i < n_found && want[i] == found[i];
        if (same && !d.n_want) continue;
        if (!d.n_want) d.offset = off + i;
        c->bytes_differ += !same;
        if (d.n_want == HONE_SAMPLE) continue;
        d.want[d.n_want++] = want[i];
        if (i < n_found) d.found[d.n_found++] = found[i];
    }
    hone_comparison_note(c, &d);
}

static void onnx_differs(void *user, const hone_out *o, uint64_t off, const uint8_t *want, const uint8_t *found, size_t n, size_t n_found)
{
    look       *l = user;
    place       p;
    const char *file = strcmp(l->check.file, HONE_NET_MODEL) == 0 ? HONE_NET_MODEL : HONE_NET_MODEL_DATA;
    (void)o;
    if (in_onnx(l, &p)) note_tensor(l, &p, file, off, want, found, n, n_found);
    else note_bytes(l->c, file, off, want, found, n, n_found);
}

/* Constant by constant: a tile may hold many. */
static void ir_differs(void *user, const hone_out *o, uint64_t off, const uint8_t *want, const uint8_t *found, size_t n, size_t n_found)
{
    look *l = user;
    (void)o;
    for (size_t i = 0; i < n;) {
        place  p;
        bool   inside = in_ir(l, off + i, &p);
        size_t part = l->n_consts ? 1 : n, there;
        if (inside) part = p.begin + p.bytes - (off + i) < n - i ? (size_t)(p.begin + p.bytes - (off + i)) : n - i;
        there = n_found > i ? (n_found - i < part ? n_found - i : part) : 0;
        if (there < part || memcmp(want + i, found + i, part) != 0) {
            if (inside) note_tensor(l, &p, l->check.file, off + i, want + i, found + i, part, there);
            else note_bytes(l->c, l->check.file, off + i, want + i, found + i, part, there);
        }
        i += part;
    }
}

/* ---- files ---- */

static hone_code check_size(look *l, const char *name, uint64_t want, hone_err *err)
{
    hone_comparison *c = l->c;
    struct stat      st;
    const char      *path = hone_arena_printf(c->a, "%s/%s", c->found->dir, name);
    if (!path) return HONE_NOMEM(err, "a path");
    c->n_files++;
    c->n_bytes += want;
    if (!hone_file_exists(path) && c->first.kind != HONE_DIFFERS_NOT && strcmp(c->first.file, name) == 0) c->first = (hone_difference){ 0 }; /* nothing of it is there */
    if (!hone_file_exists(path)) return hone_comparison_note_file(c, name, HONE_DIFFERS_MISSING, want, 0, err);
    if (stat(path, &st) != 0) return HONE_FAIL(err, HONE_ERESOURCE, "", "cannot ask for the size of '%s'", path);
    uint64_t size = (uint64_t)st.st_size;
    if (size == want) return HONE_OK;
    return hone_comparison_note_file(c, name, size < want ? HONE_DIFFERS_TRUNCATED : HONE_DIFFERS_LONGER, want, size, err);
}

static hone_code check_extra(const look *l, const char *const *names, size_t n, hone_err *err)
{
    const hone_found *f = l->c->found;
    for (size_t i = 0; i < f->n_names; i++) {
        size_t k = 0;
        while (k < n && strcmp(names[k], f->names[i]) != 0) k++;
        if (k == n) HONE_TRY(hone_comparison_note_extra(l->c, f->names[i], err));
    }
    return HONE_OK;
}

static hone_code check_recipe(look *l, hone_bytes want, hone_err *err)
{
    hone_comparison *c = l->c;
    hone_bytes       found = c->found->recipe;
    size_t           n = want.len < found.len ? want.len : found.len;
    c->n_files++;
    c->n_bytes += want.len;
    if (want.len == found.len && memcmp(want.ptr, found.ptr, n) == 0) return HONE_OK;
    note_bytes(c, HONE_RECIPE_FILE, 0, want.ptr, found.ptr, want.len, n);
    if (c->first.kind == HONE_DIFFERS_NOT) /* the same, and more behind it */
        return hone_comparison_note_file(c, HONE_RECIPE_FILE, HONE_DIFFERS_LONGER, want.len, found.len, err);
    return hone_metadata_json(c, HONE_RECIPE_FILE, want, found, err);
}

static hone_code take_constants(look *l, size_t n, uint64_t values, hone_err *err)
{
    l->c->n_weights = n;
    l->c->n_blocks = values;
    l->c->touched = HONE_ARENA_NEW(l->c->a, uint8_t, n + 1);
    return l->c->touched ? HONE_OK : HONE_NOMEM(err, "the comparison");
}

static hone_code check_onnx(look *l, const hone_net *net, hone_err *err)
{
    static const char *const names[] = { HONE_RECIPE_FILE, HONE_NET_MODEL, HONE_NET_MODEL_DATA };
    hone_onnx_net_written    w;
    uint64_t                 values = 0;
    l->net = net;
    l->check.judge = (hone_out_judge){ onnx_differs, l };
    for (size_t i = 0; i < net->n_constants; i++) values += net->constants[i] ? net->constants[i]->tensor->n : 0;
    HONE_TRY(take_constants(l, net->n_constants, values, err));
    HONE_TRY(hone_onnx_net_compare(l->ctx, net, l->c->found->dir, HONE_NET_MODEL, HONE_ONNX_INLINE_MAX, &l->check, &w, err));
    HONE_TRY(check_size(l, HONE_NET_MODEL, w.bytes - w.data_bytes, err));
    if (w.external) HONE_TRY(check_size(l, HONE_NET_MODEL_DATA, w.data_bytes, err));
    return check_extra(l, names, w.external ? 3 : 2, err);
}

/* What is in dir against what is there. */
static hone_code check_file(look *l, const char *dir, const char *name, hone_err *err)
{
    hone_file   want = HONE_FILE_CLOSED;
    hone_out    there = { 0 };
    const char *from = hone_arena_printf(l->c->a, "%s/%s", dir, name), *path = hone_arena_printf(l->c->a, "%s/%s", l->c->found->dir, name);
    uint8_t    *tile = malloc(TILE);
    hone_code   code = from && path && tile ? hone_file_open(from, &want, err) : HONE_NOMEM(err, "a comparison");
    l->check.file = name;
    if (code == HONE_OK) code = hone_out_compare(path, &l->check.judge, &there, err);
    for (uint64_t off = 0; code == HONE_OK && off < want.size; off += TILE) {
        size_t n = want.size - off < TILE ? (size_t)(want.size - off) : TILE;
        if (hone_ctx_cancelled(l->ctx)) code = HONE_INTERRUPTED(err);
        else code = hone_file_read(&want, off, tile, n, err);
        if (code == HONE_OK) code = hone_out_write(&there, off, tile, n, err);
    }
    if (code == HONE_OK) code = check_size(l, name, want.size, err);
    hone_out_discard(&there);
    hone_file_close(&want);
    free(tile);
    return code;
}

static hone_code check_ir(look *l, const char *dir, hone_err *err)
{
    static const char *const names[] = { HONE_RECIPE_FILE, HONE_NET_IR_BIN, HONE_NET_IR_XML };
    hone_bytes               xml;
    hone_ov_found           *consts;
    uint64_t                 values = 0;
    const char              *path = hone_arena_printf(l->c->a, "%s/" HONE_NET_IR_XML, dir);
    if (!path) return HONE_NOMEM(err, "a path");
    HONE_TRY(hone_file_slurp(path, MAX_XML, l->c->a, &xml, err));
    HONE_TRY(hone_ov_read_consts(xml, l->c->a, &consts, &l->n_consts, err));
    l->consts = consts;
    for (size_t i = 0; i < l->n_consts; i++) {
        uint32_t bits = hone_net_type_bits(onnx_type(consts[i].type));
        values += bits ? consts[i].bytes * 8 / bits : 0;
    }
    HONE_TRY(take_constants(l, l->n_consts, values, err));
    l->check.judge = (hone_out_judge){ ir_differs, l };
    HONE_TRY(check_file(l, dir, HONE_NET_IR_BIN, err));
    l->n_consts = 0; /* the rest is text */
    HONE_TRY(check_file(l, dir, HONE_NET_IR_XML, err));
    return check_extra(l, names, HONE_COUNT(names), err);
}

static hone_code see(void *self, const hone_net *net, const char *dir, hone_bytes recipe, hone_err *err)
{
    look *l = self;
    HONE_TRY(check_recipe(l, recipe, err));
    return net ? check_onnx(l, net, err) : check_ir(l, dir, err);
}

/* ---- all of it ---- */

static bool is_source(const char *source, const char *sha256)
{
    hone_arena  a = { 0 };
    hone_net    net = { 0 };
    const char *file;
    char        hex[65];
    bool        same = hone_net_path(source, &a, &file, NULL) == HONE_OK && hone_onnx_net_open(file, &net, NULL) == HONE_OK && hone_onnx_net_sha256(&net, hex, NULL) == HONE_OK &&
                strcmp(hex, sha256) == 0;
    hone_net_close(&net);
    hone_arena_release(&a);
    return same;
}

hone_code hone_comparison_network(hone_comparison *c, const hone_ctx *ctx, const hone_net_recipe *recipe, const char *source, uint64_t *peak_rss, hone_err *err)
{
    look                     l = { .c = c, .ctx = ctx, .recipe = recipe };
    const hone_net_judge     judge = { &l, see };
    hone_net_convert_options opt = recipe->options;
    hone_net_convert_result  res = { 0 };
    hone_err                 why = { 0 };
    opt.targets = &recipe->target;
    opt.n_targets = 1;
    opt.out_dir = ".";
    opt.name = "model";
    opt.known = recipe->known;
    opt.made_by = recipe->made_by;
    opt.judge = &judge;
    hone_code code = hone_net_convert(ctx, source, &opt, &res, &why);
    *peak_rss = res.peak_rss_bytes;
    if (code == HONE_OK) hone_net_convert_result_release(&res);
    bool other = (code == HONE_EINPUT || code == HONE_EUNSUPPORTED) && hone_net_is(source) && !is_source(source, recipe->source);
    if (other) {
        hone_err_wrap(&why, "the recipe does not fit this source");
        why.code = code = HONE_ENO;
    }
    if (code != HONE_OK && err) *err = why;
    return code;
}
