#include "formats/safetensors/head.h"
#include <inttypes.h>

static const char AGAIN[] = "download it again and compare its sha256 with the publisher's";

hone_code hone_st_head_find(hone_bytes head, uint64_t file_size, hone_st_head *out, hone_err *err)
{
    if (head.len < 9 || file_size < 9)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "file has %" PRIu64 " bytes, needs 9", file_size < head.len ? file_size : (uint64_t)head.len);
    uint64_t n = hone_le64(head.ptr);
    if (n == 0 || n > HONE_ST_HEAD_MAX)
        return HONE_FAIL(err, HONE_EINPUT, "check that this is safetensors, not .bin or .gguf",
                         "header length %" PRIu64 " is outside 1..%u", n, HONE_ST_HEAD_MAX);
    /* Subtract on our side: n is the file's word, and this holds even if the limit above moves. */
    if (n > file_size - 8)
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "header ends at byte %" PRIu64 ", file has %" PRIu64, 8 + n, file_size);
    if (head.ptr[8] != '{')
        return HONE_FAIL(err, HONE_EINPUT, AGAIN, "header begins with 0x%02x, not with '{'", head.ptr[8]);
    *out = (hone_st_head){ .json_len = n, .data_off = 8 + n };
    return HONE_OK;
}
