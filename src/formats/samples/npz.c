/* npz.c - a zip archive of .npy files, by its central directory; APPNOTE 4.3.7 (local header), 4.3.12 (directory), 4.3.16 (end of it). */
#include "base/text.h"
#include "formats/samples/npy.h"
#include <inttypes.h>
#include <zlib.h>

static const char AGAIN[] = "write it again with numpy.savez";
enum { END = 22, ENTRY = 46, LOCAL = 30, STORED = 0, DEFLATED = 8, ENCRYPTED = 1, MEMBERS_MAX = 4096 };

static hone_code cut(hone_err *err, const char *what) { return HONE_FAIL(err, HONE_EINPUT, AGAIN, "the archive is damaged: %s", what); }

/* The record at the end of the archive, behind which only a comment may stand. */
static hone_code find_end(hone_bytes b, const uint8_t **end, hone_err *err)
{
    if (b.len < END) return cut(err, "it is shorter than an empty one");
    size_t far = b.len - END < 65535 ? b.len - END : 65535;
    for (size_t back = 0; back <= far; back++) {
        const uint8_t *p = b.ptr + (b.len - END - back);
        if (hone_le32(p) == 0x06054b50u) {
            *end = p;
            return HONE_OK;
        }
    }
    return cut(err, "it has no end");
}

typedef struct entry {
    uint64_t packed, size, local; /* bytes, bytes, offset */
    uint32_t crc, method, flags;
    hone_bytes name;
} entry;

/* Sizes of 4 GiB and more stand in a field of their own (APPNOTE 4.5.3), each that is 0xffffffff in the entry. */
static bool wide_sizes(hone_bytes extra, entry *e)
{
    uint64_t *const to[] = { &e->size, &e->packed, &e->local };
    while (extra.len >= 4) {
        size_t n = hone_le16(extra.ptr + 2);
        if (n > extra.len - 4) return false;
        if (hone_le16(extra.ptr) == 1)
            for (size_t i = 0, at = 4; i < HONE_COUNT(to); i++) {
                if (*to[i] != UINT32_MAX) continue;
                if (at + 8 > n + 4) return false;
                *to[i] = hone_le64(extra.ptr + at);
                at += 8;
            }
        extra.ptr += n + 4;
        extra.len -= n + 4;
    }
    return true;
}

static hone_code read_entry(hone_bytes *dir, entry *e, hone_err *err)
{
    if (dir->len < ENTRY || hone_le32(dir->ptr) != 0x02014b50u) return cut(err, "its directory is cut");
    const uint8_t *p = dir->ptr;
    size_t         name = hone_le16(p + 28), extra = hone_le16(p + 30), comment = hone_le16(p + 32), all = ENTRY + name + extra + comment;
    if (all > dir->len) return cut(err, "its directory is cut");
    *e = (entry){ .flags = hone_le16(p + 8), .method = hone_le16(p + 10), .crc = hone_le32(p + 16), .packed = hone_le32(p + 20), .size = hone_le32(p + 24),
                  .local = hone_le32(p + 42), .name = { p + ENTRY, name } };
    if (!wide_sizes((hone_bytes){ p + ENTRY + name, extra }, e)) return cut(err, "an entry's sizes are cut");
    dir->ptr += all;
    dir->len -= all;
    return HONE_OK;
}

static hone_code inflate_all(hone_bytes packed, uint8_t *out, size_t n, hone_err *err)
{
    z_stream z = { .next_in = (uint8_t *)(uintptr_t)packed.ptr, .avail_in = (uInt)packed.len, .next_out = out, .avail_out = (uInt)n };
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) return HONE_NOMEM(err, "a member of an archive");
    int rc = inflate(&z, Z_FINISH);
    (void)inflateEnd(&z);
    return rc == Z_STREAM_END && z.avail_out == 0 ? HONE_OK : cut(err, "a member does not inflate to its size");
}

static hone_code read_member(hone_bytes b, const entry *e, hone_arena *a, uint64_t *total, hone_bytes *out, hone_err *err)
{
    if (e->flags & ENCRYPTED) return HONE_FAIL(err, HONE_EUNSUPPORTED, AGAIN, "a member of the archive is encrypted");
    if (e->method != STORED && e->method != DEFLATED) return HONE_FAIL(err, HONE_EUNSUPPORTED, AGAIN, "a member is packed by method %" PRIu32, e->method);
    if (e->local > b.len || b.len - e->local < LOCAL || hone_le32(b.ptr + e->local) != 0x04034b50u) return cut(err, "a member is not where its entry says");
    uint64_t at = e->local + LOCAL + hone_le16(b.ptr + e->local + 26) + hone_le16(b.ptr + e->local + 28);
    if (at > b.len || e->packed > b.len - at) return cut(err, "a member ends past its end");
    hone_bytes packed = { b.ptr + at, (size_t)e->packed };
    if (e->size > UINT32_MAX || e->packed > UINT32_MAX || !hone_size_add(*total, e->size, total) || *total > HONE_NPZ_MAX)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "save less in one file, or as .npy", "the archive unpacks to more than %llu bytes", HONE_NPZ_MAX);
    if (e->method == STORED && e->packed != e->size) return cut(err, "a stored member has two sizes");
    /* deflate's best is 1032 to 1 (zlib, "Maximum Compression Factor"): more is a lie that would cost memory. */
    if (e->size / 1032 > e->packed + 64) return cut(err, "a member claims to unpack to more than is possible");
    uint8_t *room = e->method == DEFLATED ? hone_arena_alloc(a, (size_t)e->size + 1) : NULL;
    if (e->method == DEFLATED && !room) return HONE_NOMEM(err, "a member of an archive");
    if (room) HONE_TRY(inflate_all(packed, room, (size_t)e->size, err));
    *out = room ? (hone_bytes){ room, (size_t)e->size } : packed;
    if (crc32(0, out->ptr, (uInt)out->len) != e->crc) return cut(err, "a member's checksum is wrong");
    return HONE_OK;
}

hone_code hone_npz_parse(hone_bytes b, hone_arena *a, hone_npz_member **out, size_t *n, hone_err *err)
{
    const uint8_t *end = NULL;
    uint64_t       total = 0;
    HONE_TRY(find_end(b, &end, err));
    uint32_t count = hone_le16(end + 10), off = hone_le32(end + 16), len = hone_le32(end + 12);
    if (count > MEMBERS_MAX || off > b.len || len > b.len - off) return cut(err, "its directory is not where its end says");
    hone_bytes       dir = { b.ptr + off, len };
    hone_npz_member *m = HONE_ARENA_NEW(a, hone_npz_member, count);
    if (!m) return HONE_NOMEM(err, "an archive");
    size_t k = 0;
    for (uint32_t i = 0; i < count; i++) {
        entry e;
        HONE_TRY(read_entry(&dir, &e, err));
        if (e.name.len < 4 || memcmp(e.name.ptr + e.name.len - 4, ".npy", 4) != 0) continue;
        if (!hone_utf8_valid((const char *)e.name.ptr, e.name.len) || memchr(e.name.ptr, 0, e.name.len)) return cut(err, "a member's name is no text");
        m[k].name = hone_arena_strndup(a, (const char *)e.name.ptr, e.name.len - 4);
        if (!m[k].name) return HONE_NOMEM(err, "an archive");
        for (size_t j = 0; j < k; j++)
            if (strcmp(m[j].name, m[k].name) == 0) return cut(err, "two members have one name");
        HONE_TRY(read_member(b, &e, a, &total, &m[k].bytes, err));
        k++;
    }
    *out = m;
    *n = k;
    return HONE_OK;
}
