#include "hw/hw.h"

const hone_hw_probe hone_hw_list[] = {
#define X(name) { #name, hone_hw_##name },
#include "hw/list.def"
#undef X
};
const size_t hone_hw_count = HONE_COUNT(hone_hw_list);

hone_code hone_hw_all(const hone_hw_query *q, json_t **out, hone_err *err)
{
    json_t *all = json_object();
    if (!all) return HONE_NOMEM(err, "the machine's facts");
    for (size_t i = 0; i < hone_hw_count; i++) {
        json_t   *one = NULL;
        hone_code code = hone_hw_list[i].run(q, &one, err);
        if (code == HONE_OK && !hone_json_put(all, hone_hw_list[i].name, one)) code = HONE_NOMEM(err, "the machine's facts");
        if (code != HONE_OK) {
            json_decref(all);
            return code;
        }
    }
    *out = all;
    return HONE_OK;
}
