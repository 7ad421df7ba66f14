/* profile_json.c - a target profile, a decision file and a list of limits from anyone: refused with a cause, or whole documents. */
#include "flow/assess/decide.h"
#include "hw/profile.h"
#include "hw/target.h"
#include "passes/limits.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_bytes text = { data, size };
    hone_err   err = { 0 };
    json_t    *doc = NULL;
    if (hone_profile_parse(text, "fuzz", &doc, &err) == HONE_OK) {
        hone_target t;
        /* what passed the checks must be readable as a target */
        if (hone_target_read(doc, &t, &err) != HONE_OK) abort();
        json_decref(doc);
    } else if (!err.cause[0]) {
        abort();
    }
    err = (hone_err){ 0 };
    doc = NULL;
    if (hone_decision_parse(text, "fuzz", &doc, &err) == HONE_OK) {
        hone_arena      a = { 0 };
        hone_decision   d;
        hone_estimates  e;
        json_t         *explained = NULL;
        const hone_case c = { .vendor = "arm", .platform = "arm_mobile", .kind = "llm", .workflow = "prototype", .parameters = 8000000000u };
        if (hone_decide(doc, &c, &a, &d, &err) != HONE_OK || !d.framework || !d.quantization) abort();
        if (hone_decision_explain(doc, &c, &d, &explained, &err) != HONE_OK) abort();
        hone_decision_estimates(doc, &e);
        json_decref(explained);
        json_decref(doc);
        hone_arena_release(&a);
    } else if (!err.cause[0]) {
        abort();
    }
    err = (hone_err){ 0 };
    doc = NULL;
    if (hone_json_parse(text, "fuzz", &doc, &err) == HONE_OK) {
        hone_arena        a = { 0 };
        const hone_facts  f = { .window = 7, .context = 512, .rope = { .scaling = HONE_ROPE_SCALE_DYNAMIC } };
        const hone_limit *l = NULL;
        size_t            n = 0;
        if (hone_limits_of(doc, "llama.cpp", &f, NULL, &a, &l, &n, &err) == HONE_OK) {
            for (size_t i = 0; i < n; i++)
                if (!l[i].feature || !l[i].consequence || !l[i].test || strcmp(l[i].consumer, "llama.cpp") != 0) abort();
        } else if (!err.cause[0]) {
            abort();
        }
        json_decref(doc);
        hone_arena_release(&a);
    }
    return 0;
}
