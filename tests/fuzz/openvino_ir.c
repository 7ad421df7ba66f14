/* openvino_ir - any bytes as an OpenVINO IR file: refused with a cause, or its constants are sorted and end within 64 bits. */
#include "formats/openvino.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_arena     a = { 0 };
    hone_err       err = { 0 };
    hone_ov_found *found = NULL;
    size_t         n = 0;
    if (hone_ov_read_consts((hone_bytes){ data, size }, &a, &found, &n, &err) == HONE_OK) {
        for (size_t i = 0; i < n; i++) {
            if (!found[i].name || !found[i].type || !found[i].shape || found[i].bytes > UINT64_MAX - found[i].offset) abort();
            if (i && strcmp(found[i - 1].name, found[i].name) > 0) abort();
            if (!hone_ov_find_const(found, n, found[i].name)) abort();
        }
    } else if (err.code == HONE_OK || err.cause[0] == '\0')
        abort();
    hone_arena_release(&a);
    return 0;
}
