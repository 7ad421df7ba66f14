/* convert.c - a network becomes folders, one per target: read, folded, quantised, written under a temporary name, read back. */
#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/temp.h"
#include "base/text.h"
#include "flow/net/recipe.h"
#include "flow/net/static.h"
#include "flow/recipe.h"
#include "formats/onnx/net.h"
#include "passes/net_fold.h"
#include "passes/net_quant.h"
#include "runner/runner.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct run {
    const hone_ctx                 *ctx;
    const char                     *file; /* the .onnx */
    const hone_net_convert_options *opt;
    hone_net_convert_result        *res;
    const hone_net_target          *t; /* the one at hand */
    hone_arena                     *a;
    char                            source[65]; /* its digest; "": not asked yet */
    const json_t                   *known;      /* what calibration found out for int8; NULL: nothing yet.  `made` owns it, or the caller */
    json_t                         *made;
    json_t                         *factors, *smooth_report; /* of int8-dynamic; NULL: not looked, or the caller's options know */
    json_t                         *wide;       /* what the samples showed to be beyond f16; NULL: not looked, or the caller's options know */
    const char                     *runtime;    /* what translated the one at hand, or NULL */
    hone_folder                     folders[HONE_NET_MAX_TARGETS]; /* of the result's outputs: none has its name before all are whole */
    hone_err                       *err;
} run;

static bool owns(const char *file)
{
    static const char *const names[] = { HONE_RECIPE_FILE, HONE_NET_MODEL, HONE_NET_MODEL_DATA, HONE_NET_IR_XML, HONE_NET_IR_BIN };
    for (size_t i = 0; i < HONE_COUNT(names); i++)
        if (strcmp(file, names[i]) == 0) return true;
    return false;
}

/* "m.onnx" is m; "folder/model.onnx" is folder. */
static hone_code stem_of(const run *r, hone_arena *a, const char **out)
{
    if (r->opt->name) {
        *out = r->opt->name;
        return HONE_OK;
    }
    const char *slash = strrchr(r->file, '/'), *base = slash ? slash + 1 : r->file;
    size_t      n = strlen(base) - (strlen(base) > 5 ? 5 : 0);
    if (slash && strcmp(base, HONE_NET_MODEL) == 0) {
        const char *end = slash, *from = end;
        while (from > r->file && from[-1] != '/') from--;
        if (end > from && strncmp(from, ".", (size_t)(end - from)) != 0 && strncmp(from, "..", (size_t)(end - from)) != 0) {
            base = from;
            n = (size_t)(end - from);
        }
    }
    *out = hone_arena_strndup(a, base, n);
    return *out ? HONE_OK : HONE_NOMEM(r->err, "a name");
}

/* ---- what happened, for people ---- */

static hone_code tell(const run *r, const char *pass, uint64_t changed, const char *const *notes, size_t n)
{
    char    output[48];
    json_t *list = json_array();
    bool    good = list != NULL;
    (void)snprintf(output, sizeof output, "%s=%s", r->t->format, hone_net_quant_name(r->t->quant));
    for (size_t i = 0; i < n; i++) {
        good = good && json_array_append_new(list, json_string(notes[i])) == 0;
        hone_event_note(r->ctx, "%s: %s: %s", output, pass, notes[i]);
    }
    json_t *o = good ? json_pack("{s:s, s:s, s:I, s:O}", "output", output, "pass", pass, "changed", (json_int_t)changed, "notes", list) : NULL;
    json_decref(list);
    return o && json_array_append_new(r->res->passes, o) == 0 ? HONE_OK : HONE_NOMEM(r->err, "the result");
}

static hone_code tell_quanted(const run *r, const char *pass, const hone_net_quanted *q) { return tell(r, pass, q->changed, q->notes, q->n_notes); }

/* ---- the passes ---- */

static hone_code fold(const run *r, hone_net *net, hone_err *err)
{
    hone_net_folded f;
    if (r->opt->no_fold) return HONE_OK;
    HONE_TRY(hone_net_fold(net, &f, err));
    const char *why[1] = { f.why };
    HONE_TRY(tell(r, "fold", f.batch_norms + f.affines + f.gone, why, f.why != NULL));
    return hone_net_infer(net, err);
}

/* Which values stay f32, as names in the arena. */
static hone_code find_wide(run *r, hone_net_quant_options *how)
{
    if (!r->opt->wide && r->opt->statics && !r->wide) {
        hone_static_how samples = *r->opt->statics;
        samples.no_fold = samples.no_fold || r->opt->no_fold;
        HONE_TRY(hone_net_wide(r->ctx, r->file, &samples, &r->wide, r->err));
    }
    const json_t *list = r->opt->wide ? r->opt->wide : r->wide;
    const char  **names = HONE_ARENA_NEW(r->a, const char *, json_array_size(list) + 1);
    if (!names) return HONE_NOMEM(r->err, "names");
    for (size_t i = 0; i < json_array_size(list); i++) names[how->n_wide++] = json_string_value(json_array_get(list, i));
    how->wide = names;
    return HONE_OK;
}

static hone_code tell_f16(const run *r, const hone_net_quanted *q)
{
    if (r->opt->wide || r->wide) return tell_quanted(r, "f16", q);
    const char **notes = HONE_ARENA_NEW(r->a, const char *, q->n_notes + 1);
    if (!notes) return HONE_NOMEM(r->err, "notes");
    if (q->n_notes) memcpy(notes, q->notes, q->n_notes * sizeof *notes);
    notes[q->n_notes] = "activations were not looked at: one beyond 65504 becomes infinite; with --calibration, operators that have such stay f32";
    return tell(r, "f16", q->changed, notes, q->n_notes + 1);
}

/* {places, left, notes} of flow/net/static.h. */
static hone_code tell_smooth(const run *r, const json_t *report)
{
    const json_t *list = json_object_get(report, "notes");
    size_t        n = json_array_size(list);
    const char  **notes = HONE_ARENA_NEW(r->a, const char *, n + 1);
    if (!report) return HONE_OK;
    for (size_t i = 0; notes && i < n; i++) notes[i] = json_string_value(json_array_get(list, i));
    return notes ? tell(r, "smooth", (uint64_t)json_integer_value(json_object_get(report, "places")), notes, n) : HONE_NOMEM(r->err, "the result");
}

static hone_code dynamically(run *r, hone_net *net, const hone_net_quant_options *how)
{
    hone_net_quanted q = { 0 };
    if (r->opt->statics && r->opt->statics->smooth && !r->opt->factors && !r->factors) {
        hone_static_how samples = *r->opt->statics;
        samples.no_fold = samples.no_fold || r->opt->no_fold;
        HONE_TRY(hone_net_smooth(r->ctx, r->file, &samples, &r->factors, &r->smooth_report, r->err));
    }
    const json_t *factors = r->opt->factors ? r->opt->factors : r->factors;
    if (factors) HONE_TRY(hone_net_smooth_again(net, factors, r->err));
    HONE_TRY(tell_smooth(r, r->smooth_report));
    HONE_TRY(hone_net_dynamic(net, how, &q, r->err));
    return tell_quanted(r, "dynamic", &q);
}

static hone_code quantise(run *r, hone_net *net)
{
    const hone_net_convert_options *o = r->opt;
    bool                   openvino = strcmp(r->t->format, "openvino") == 0;
    hone_net_quanted       q = { 0 };
    hone_net_quant_options how = { .bits = r->t->quant == HONE_NETQ_INT4_WEIGHTS ? 4 : 8, .group = o->group ? o->group : 32, .standard = o->standard || openvino, .whole_groups = openvino,
                                   .keep_io = o->keep_io, .exclude = o->keep, .n_exclude = o->n_keep };
    switch (r->t->quant) {
    case HONE_NETQ_F16:
        if (openvino) return HONE_OK; /* OpenVINO stores f16 itself */
        HONE_TRY(find_wide(r, &how));
        HONE_TRY(hone_net_to_f16(net, &how, &q, r->err));
        return tell_f16(r, &q);
    case HONE_NETQ_INT8_DYNAMIC: return dynamically(r, net, &how);
    case HONE_NETQ_INT8_WEIGHTS: case HONE_NETQ_INT4_WEIGHTS:
        HONE_TRY(hone_net_weights(net, &how, &q, r->err));
        return tell_quanted(r, "weights", &q);
    default: return HONE_OK;
    }
}

static uint64_t parameters(const hone_net *net)
{
    uint64_t n = 0;
    for (size_t i = 0; i < net->n_constants; i++)
        if (net->constants[i]) n += net->constants[i]->tensor->n;
    return n;
}

static hone_code statically(run *r, hone_net *net)
{
    hone_static_how how;
    json_t         *report = NULL;
    if (r->opt->known) {
        r->known = r->opt->known;
        return hone_net_static_again(r->file, r->known, r->opt->no_fold, net, r->err);
    }
    if (!r->opt->statics)
        return HONE_FAIL(r->err, HONE_EUSAGE, "add --calibration FILE, or take int8-dynamic or int8-weights", "int8 needs samples of the model's inputs to find the ranges of its values");
    how = *r->opt->statics;
    how.no_fold = how.no_fold || r->opt->no_fold;
    json_decref(r->made);
    r->made = NULL;
    HONE_TRY(hone_net_static(r->ctx, r->file, &how, net, &report, &r->made, r->err));
    r->known = r->made;
    r->res->parameters = parameters(net);
    const json_t *left = json_object_get(report, "left");
    const char  **notes = HONE_ARENA_NEW(r->a, const char *, json_array_size(left) + 1);
    for (size_t i = 0; notes && i < json_array_size(left); i++) notes[i] = json_string_value(json_array_get(left, i));
    hone_code code = tell_smooth(r, json_object_get(report, "smooth"));
    if (code == HONE_OK) code = notes ? tell(r, "static", 1, notes, json_array_size(left)) : HONE_NOMEM(r->err, "the result");
    if (json_array_append_new(r->res->statics, report) != 0 && code == HONE_OK) code = HONE_NOMEM(r->err, "the result");
    if (code != HONE_OK) hone_net_close(net);
    return code;
}

/* Of a Gemm whose bias is "", OpenVINO 2026.4 writes an IR that it cannot read: what it is given has none.  Static int8 is the same ONNX model for both. */
static hone_code make_net(run *r, hone_net *net)
{
    if (r->t->quant == HONE_NETQ_INT8) {
        HONE_TRY(statically(r, net));
        hone_net_trim(net);
        return HONE_OK;
    }
    HONE_TRY(hone_net_load(r->ctx, r->file, net, r->err));
    r->res->parameters = parameters(net);
    hone_code code = fold(r, net, r->err);
    if (code == HONE_OK) code = quantise(r, net);
    if (strcmp(r->t->format, "openvino") == 0) hone_net_trim(net);
    if (code != HONE_OK) hone_net_close(net);
    return code;
}

/* ---- writing ---- */

static hone_code reread(const run *r, const char *path)
{
    hone_net again;
    hone_err why = { 0 };
    if (hone_onnx_net_open(path, &again, &why) != HONE_OK)
        return HONE_FAIL(r->err, HONE_EBUG, "", "the file just written cannot be read back: %s", why.cause);
    hone_net_close(&again);
    return HONE_OK;
}

static hone_code to_ir(run *r, const char *onnx, const char *xml)
{
    hone_runner *child = NULL;
    char         version[128], devices[8];
    HONE_TRY(hone_runner_start(r->ctx, &(hone_runner_options){ .backend = "openvino" }, &child, r->err));
    hone_code code = hone_runner_probe(child, version, sizeof version, devices, sizeof devices, r->err);
    if (code == HONE_OK) code = hone_runner_translate(child, onnx, xml, r->t->quant == HONE_NETQ_F16, r->err);
    hone_runner_stop(child);
    HONE_TRY(code);
    if (!hone_file_exists(xml)) return HONE_FAIL(r->err, HONE_ERUNTIME, "", "OpenVINO wrote no '%s'", HONE_NET_IR_XML);
    r->runtime = hone_arena_printf(r->a, "openvino %s", version);
    return r->runtime ? HONE_OK : HONE_NOMEM(r->err, "a recipe");
}

static hone_code recipe_text(run *r, hone_bytes *out)
{
    hone_net_recipe recipe = { .target = *r->t, .made_by = r->opt->made_by ? r->opt->made_by : HONE_VERSION, .source = r->source, .runtime = r->runtime,
                                     .options = *r->opt, .known = r->t->quant == HONE_NETQ_INT8 ? r->known : NULL };
    if (!recipe.options.wide) recipe.options.wide = r->wide;
    if (!recipe.options.factors) recipe.options.factors = r->factors;
    return hone_net_recipe_text(&recipe, r->a, out, r->err);
}

static hone_code put_recipe(run *r, const char *dir)
{
    hone_bytes text;
    char       path[4400];
    (void)snprintf(path, sizeof path, "%s/" HONE_RECIPE_FILE, dir);
    HONE_TRY(recipe_text(r, &text));
    return hone_out_put(path, text.ptr, text.len, r->err);
}

static hone_code file_bytes(const char *path, uint64_t *total, hone_text *digests, const char *name, hone_err *err)
{
    hone_file f = HONE_FILE_CLOSED;
    char      hex[65];
    HONE_TRY(hone_file_open(path, &f, err));
    *total += f.size;
    hone_file_close(&f);
    HONE_TRY(hone_sha256_file(path, hex, err));
    hone_text_addf(digests, "%s  %s\n", hex, name);
    return HONE_OK;
}

/* `sha256sum * | sha256sum` in the folder, as flow/convert/files.c has it. */
static hone_code measure(const run *r, const char *dir, hone_net_output *o)
{
    static const char *const names[] = { HONE_RECIPE_FILE, HONE_NET_MODEL, HONE_NET_MODEL_DATA, HONE_NET_IR_BIN, HONE_NET_IR_XML }; /* in byte order */
    hone_text                list = { 0 };
    char                     path[4400];
    hone_code                code = HONE_OK;
    for (size_t i = 0; i < HONE_COUNT(names) && code == HONE_OK; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        if (hone_file_exists(path)) code = file_bytes(path, &o->bytes, &list, names[i], r->err);
    }
    if (code == HONE_OK && list.failed) code = HONE_NOMEM(r->err, "a digest");
    if (code == HONE_OK) code = hone_sha256((hone_bytes){ (const uint8_t *)list.ptr, list.len }, o->sha256, r->err);
    hone_text_release(&list);
    return code;
}

static hone_code fill_folder(run *r, const hone_net *net, const char *dir)
{
    hone_onnx_net_written w;
    char                  onnx[4400], xml[4400], data[4400];
    bool                  openvino = strcmp(r->t->format, "openvino") == 0;
    (void)snprintf(onnx, sizeof onnx, "%s/" HONE_NET_MODEL, dir);
    (void)snprintf(data, sizeof data, "%s/" HONE_NET_MODEL_DATA, dir);
    (void)snprintf(xml, sizeof xml, "%s/" HONE_NET_IR_XML, dir);
    HONE_TRY(hone_onnx_net_write(r->ctx, net, dir, HONE_NET_MODEL, HONE_ONNX_INLINE_MAX, &w, r->err));
    HONE_TRY(reread(r, onnx));
    if (!openvino) return put_recipe(r, dir);
    hone_code code = to_ir(r, onnx, xml);
    if (code == HONE_EUNSUPPORTED && net->functions)
        return HONE_FAIL(r->err, code, "inline its functions: onnx.inliner.inline_local_functions", "OpenVINO does not read this model, which has functions of its own");
    HONE_TRY(code);
    (void)unlink(onnx);
    if (w.external) (void)unlink(data);
    return put_recipe(r, dir);
}

/* Static int8 for OpenVINO is what was written for ONNX Runtime a moment ago, if it was: the samples are run once. */
static const hone_folder *static_twin(const run *r)
{
    if (r->t->quant != HONE_NETQ_INT8 || strcmp(r->t->format, "openvino") != 0 || r->opt->dry_run || r->opt->judge) return NULL;
    for (size_t i = 0; i < r->res->n_outputs; i++)
        if (strcmp(r->res->outputs[i].format, "onnx") == 0 && strcmp(r->res->outputs[i].quant, hone_net_quant_name(HONE_NETQ_INT8)) == 0) return &r->folders[i];
    return NULL;
}

static hone_code from_twin(run *r, const hone_folder *twin, hone_net_output *o)
{
    hone_folder *folder = &r->folders[r->res->n_outputs];
    char         onnx[4400], xml[4400];
    HONE_TRY(hone_folder_open(o->path, owns, folder, r->err));
    (void)snprintf(onnx, sizeof onnx, "%s/" HONE_NET_MODEL, twin->tmp);
    (void)snprintf(xml, sizeof xml, "%s/" HONE_NET_IR_XML, folder->tmp);
    HONE_TRY(to_ir(r, onnx, xml));
    HONE_TRY(put_recipe(r, folder->tmp));
    const json_t *twins = json_array_get(r->res->statics, json_array_size(r->res->statics) - 1), *smooth = json_object_get(twins, "smooth");
    if (smooth) HONE_TRY(tell(r, "smooth", (uint64_t)json_integer_value(json_object_get(smooth, "places")), NULL, 0));
    HONE_TRY(tell(r, "static", 1, NULL, 0));
    return measure(r, folder->tmp, o);
}

static hone_code judged(run *r, const hone_net *net)
{
    const hone_net_judge *j = r->opt->judge;
    hone_temp  dir = { 0 };
    hone_bytes text;
    bool       onnx = strcmp(r->t->format, "onnx") == 0;
    if (!onnx) HONE_TRY(hone_temp_open(NULL, "hone-verify-", &dir, r->err));
    hone_code code = onnx ? HONE_OK : fill_folder(r, net, dir.path);
    if (code == HONE_OK) code = recipe_text(r, &text);
    if (code == HONE_OK) code = j->look(j->self, onnx ? net : NULL, onnx ? NULL : dir.path, text, r->err);
    hone_temp_close(&dir);
    return code;
}

static hone_code written(run *r, const hone_net *net, hone_net_output *o)
{
    hone_folder *folder = &r->folders[r->res->n_outputs];
    HONE_TRY(hone_dir_make(r->opt->out_dir, r->err));
    HONE_TRY(hone_folder_open(o->path, owns, folder, r->err));
    HONE_TRY(fill_folder(r, net, folder->tmp));
    return measure(r, folder->tmp, o);
}

/* All or none, as in flow/convert/files.c. */
static hone_code name_all(run *r)
{
    if (r->opt->dry_run || r->opt->judge) return HONE_OK;
    if (hone_ctx_cancelled(r->ctx)) return HONE_INTERRUPTED(r->err);
    for (size_t i = 0; i < r->res->n_outputs; i++) {
        hone_code code = hone_folder_name(&r->folders[i], r->err);
        if (code == HONE_OK) continue;
        while (i-- > 0)
            if (!hone_folder_take_back(&r->folders[i])) hone_err_wrap(r->err, "'%s' is new and stays, not all is", r->res->outputs[i].path);
        return code;
    }
    hone_dir_sync(r->opt->out_dir);
    return HONE_OK;
}

/* What is made of a constant stands beside its floats, and both beside what they were read from. */
static uint64_t ram_of(const hone_net *net)
{
    uint64_t most = 0;
    for (size_t i = 0; i < net->n_constants; i++) {
        const hone_net_tensor *t = net->constants[i] ? net->constants[i]->tensor : NULL;
        uint64_t               bytes = t && t->make ? t->bytes + 2 * sizeof(float) * t->n : 0;
        if (bytes > most) most = bytes;
    }
    return most + (16u << 20);
}

/* --dry-run: exactly what model.onnx and hone.json would have.  OpenVINO's XML is its own: the IR is told by its constants, and a note says so. */
static hone_code plan_sizes(run *r, const hone_net *net, hone_net_output *o)
{
    hone_onnx_net_written w;
    hone_bytes            recipe;
    bool                  openvino = strcmp(o->format, "openvino") == 0;
    uint64_t              ram = ram_of(net);
    if (!r->source[0]) memset(r->source, '0', sizeof r->source - 1); /* its digest has as many letters */
    HONE_TRY(hone_onnx_net_size(net, HONE_NET_MODEL, HONE_ONNX_INLINE_MAX, &w, r->err));
    HONE_TRY(recipe_text(r, &recipe));
    o->bytes = w.bytes + recipe.len;
    for (size_t i = 0; openvino && i < net->n_constants; i++) {
        const hone_net_tensor *t = net->constants[i] ? net->constants[i]->tensor : NULL;
        if (i == 0) o->bytes = recipe.len;
        if (t) o->bytes += r->t->quant == HONE_NETQ_F16 && t->type == HONE_NET_F32 ? t->bytes / 2 : t->bytes;
    }
    r->res->disk_needed += o->bytes + (openvino ? w.bytes : 0);
    if (ram > r->res->ram_needed) r->res->ram_needed = ram;
    if (!openvino) return HONE_OK;
    const char *note = "openvino: the size is that of its constants; how long its XML becomes is known when OpenVINO has written it";
    size_t      i;
    json_t     *had;
    json_array_foreach(r->res->warnings, i, had)
        if (strcmp(json_string_value(had), note) == 0) return HONE_OK;
    return json_array_append_new(r->res->warnings, json_string(note)) == 0 ? HONE_OK : HONE_NOMEM(r->err, "the result");
}

static hone_code one_target(run *r, const char *stem)
{
    hone_net         net;
    hone_net_output *o = &r->res->outputs[r->res->n_outputs];
    bool             openvino = strcmp(r->t->format, "openvino") == 0;
    *o = (hone_net_output){ .format = r->t->format, .quant = hone_net_quant_name(r->t->quant) };
    if ((size_t)snprintf(o->path, sizeof o->path, "%s/%s-%s-%s", r->opt->out_dir, stem, o->quant, o->format) >= sizeof o->path)
        return HONE_FAIL(r->err, HONE_EUSAGE, "choose a shorter one", "the output's path is too long");
    (void)snprintf(o->opened, sizeof o->opened, "%s/%s-%s-%s/%s", r->opt->out_dir, stem, o->quant, r->t->format, openvino ? HONE_NET_IR_XML : HONE_NET_MODEL);
    hone_event_step(r->ctx, "%s %s", o->format, o->quant);
    r->runtime = NULL;
    const hone_folder *twin = static_twin(r);
    if (twin) {
        HONE_TRY(from_twin(r, twin, o));
        r->res->n_outputs++;
        return HONE_OK;
    }
    HONE_TRY(make_net(r, &net));
    hone_code code = r->source[0] || r->opt->dry_run ? HONE_OK : hone_onnx_net_sha256(&net, r->source, r->err);
    if (code == HONE_OK && !r->opt->dry_run) code = r->opt->judge ? judged(r, &net) : written(r, &net, o);
    if (code == HONE_OK && r->opt->dry_run) code = plan_sizes(r, &net, o);
    hone_net_close(&net);
    r->res->n_outputs += code == HONE_OK;
    return code;
}

/* A glob that names nothing is a slip of the keyboard, and what should have stayed floats would not. */
static hone_code check_excluded(const run *r)
{
    hone_net  net;
    hone_code code = HONE_OK;
    if (!r->opt->n_keep || r->opt->judge) return HONE_OK;
    HONE_TRY(hone_net_load(r->ctx, r->file, &net, r->err));
    for (size_t i = 0; i < r->opt->n_keep && code == HONE_OK; i++) {
        bool hit = false;
        for (const hone_net_node *n = net.first; n && !hit; n = n->next) hit = hone_net_matches(n, &r->opt->keep[i], 1);
        if (!hit) code = HONE_FAIL(r->err, HONE_EUSAGE, "hone graph lists the nodes and their operators", "--exclude '%.100s' names no node and no operator of the model", r->opt->keep[i]);
    }
    hone_net_close(&net);
    return code;
}

static hone_code all_targets(run *r, hone_arena *a, const char *path)
{
    const char *stem;
    HONE_TRY(hone_net_path(path, a, &r->file, r->err));
    HONE_TRY(stem_of(r, a, &stem));
    HONE_TRY(check_excluded(r));
    if (r->opt->n_targets > HONE_NET_MAX_TARGETS)
        return HONE_FAIL(r->err, HONE_EUSAGE, "ask for some of them in another run", "more than %d outputs asked of one run", HONE_NET_MAX_TARGETS);
    for (size_t i = 0; i < r->opt->n_targets; i++) {
        if (hone_ctx_cancelled(r->ctx)) return HONE_INTERRUPTED(r->err);
        r->t = &r->opt->targets[i];
        HONE_TRY(one_target(r, stem));
    }
    return name_all(r);
}

hone_code hone_net_convert(const hone_ctx *ctx, const char *path, const hone_net_convert_options *opt, hone_net_convert_result *res, hone_err *err)
{
    double        begin = hone_now_s();
    hone_arena    a = { 0 };
    struct rusage ru;
    run           r = { .ctx = ctx, .opt = opt, .res = res, .a = &a, .err = err };
    *res = (hone_net_convert_result){ .passes = json_array(), .statics = json_array(), .warnings = json_array() };
    hone_code code = res->passes && res->statics && res->warnings ? all_targets(&r, &a, path) : HONE_NOMEM(err, "the result");
    hone_file f = HONE_FILE_CLOSED;
    if (code == HONE_OK && hone_file_open(r.file, &f, err) == HONE_OK) {
        res->read_bytes = f.size;
        hone_file_close(&f);
    }
    for (size_t i = 0; i < HONE_NET_MAX_TARGETS; i++) hone_folder_discard(&r.folders[i]);
    json_decref(r.made);
    json_decref(r.wide);
    json_decref(r.factors);
    json_decref(r.smooth_report);
    hone_arena_release(&a);
    res->seconds = hone_now_s() - begin;
    if (getrusage(RUSAGE_SELF, &ru) == 0) res->peak_rss_bytes = (uint64_t)ru.ru_maxrss * 1024u;
    if (code != HONE_OK) hone_net_convert_result_release(res);
    return code;
}

void hone_net_convert_result_release(hone_net_convert_result *r)
{
    json_decref(r->passes);
    json_decref(r->statics);
    json_decref(r->warnings);
    *r = (hone_net_convert_result){ 0 };
}
