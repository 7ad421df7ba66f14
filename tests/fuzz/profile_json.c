/* profile_json.c - a target profile and a decision file from anyone: refused with a cause, or whole documents. */
#include "flow/assess/decide.h"
#include "hw/profile.h"
#include "hw/target.h"
#include <stdlib.h>

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
    return 0;
}
