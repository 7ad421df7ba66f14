#include "base/digest.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (1u << 20)

static void hex_of(const unsigned char md[32], char hex[65])
{
    static const char digit[] = "0123456789abcdef";
    for (int i = 0; i < 32; i++) {
        hex[2 * i] = digit[md[i] >> 4];
        hex[2 * i + 1] = digit[md[i] & 15];
    }
    hex[64] = '\0';
}

hone_code hone_sha256(hone_bytes b, char hex[65], hone_err *err)
{
    unsigned char md[32];
    unsigned int  n = sizeof md;
    if (EVP_Digest(b.ptr, b.len, md, &n, EVP_sha256(), NULL) != 1 || n != sizeof md)
        return HONE_FAIL(err, HONE_EBUG, "", "the crypto library cannot compute SHA-256");
    hex_of(md, hex);
    return HONE_OK;
}

hone_code hone_sha256_file(const char *path, char hex[65], hone_err *err)
{
    hone_file f = HONE_FILE_CLOSED;
    HONE_TRY(hone_file_open(path, &f, err));
    hone_code     code = HONE_OK;
    EVP_MD_CTX   *md = EVP_MD_CTX_new();
    uint8_t      *buf = malloc(CHUNK);
    unsigned char out[32];
    unsigned int  n = sizeof out;
    if (!md || !buf)
        code = HONE_NOMEM(err, "a hash");
    else if (EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
        code = HONE_FAIL(err, HONE_EBUG, "", "the crypto library has no SHA-256");
    for (uint64_t off = 0; code == HONE_OK && off < f.size;) {
        size_t want = f.size - off < CHUNK ? (size_t)(f.size - off) : CHUNK;
        code = hone_file_read(&f, off, buf, want, err);
        if (code == HONE_OK && EVP_DigestUpdate(md, buf, want) != 1)
            code = HONE_FAIL(err, HONE_EBUG, "", "the crypto library failed on '%s'", path);
        off += want;
    }
    if (code == HONE_OK && EVP_DigestFinal_ex(md, out, &n) != 1)
        code = HONE_FAIL(err, HONE_EBUG, "", "the crypto library failed on '%s'", path);
    if (code == HONE_OK) hex_of(out, hex);
    EVP_MD_CTX_free(md);
    free(buf);
    hone_file_close(&f);
    return code;
}

/* ---- behind many writers ---- */

#define MOST_CHUNKS 4 /* in one call of advance: a writer that hashes should soon write again */

struct hone_digest {
    int               fd;
    uint64_t          size, done; /* bytes of the file, bytes hashed */
    EVP_MD_CTX       *md;
    pthread_mutex_t   turn; /* held while hashing: md and done are the holder's */
    atomic_bool       wrong;
    _Atomic uint32_t *left; /* [chunks]: announced bytes that are not written yet */
};

hone_code hone_digest_new(int fd, uint64_t size, hone_digest **out, hone_err *err)
{
    uint64_t     chunks = size / CHUNK + 1;
    hone_digest *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d) return HONE_NOMEM(err, "a hash");
    (void)pthread_mutex_init(&d->turn, NULL);
    d->fd = fd;
    d->size = size;
    d->md = EVP_MD_CTX_new();
    d->left = chunks <= SIZE_MAX / sizeof *d->left ? calloc((size_t)chunks, sizeof *d->left) : NULL;
    hone_code code = d->md && d->left ? HONE_OK : HONE_NOMEM(err, "a hash");
    if (code == HONE_OK && EVP_DigestInit_ex(d->md, EVP_sha256(), NULL) != 1) code = HONE_FAIL(err, HONE_EBUG, "", "the crypto library has no SHA-256");
    if (code != HONE_OK) {
        hone_digest_free(d);
        return code;
    }
    *out = d;
    return HONE_OK;
}

/* The part of n bytes at *off that lies in one chunk; moves on to what follows it.  What lies behind the file's end is nobody's. */
static uint32_t next_part(const hone_digest *d, uint64_t *off, uint64_t *n, size_t *chunk)
{
    if (*off >= d->size || *n > d->size - *off) return 0;
    uint64_t part = CHUNK - *off % CHUNK;
    if (part > *n) part = *n;
    *chunk = (size_t)(*off / CHUNK);
    *off += part;
    *n -= part;
    return (uint32_t)part;
}

void hone_digest_expect(hone_digest *d, uint64_t off, uint64_t n)
{
    size_t   chunk;
    uint32_t part;
    while (n && (part = next_part(d, &off, &n, &chunk))) (void)atomic_fetch_add_explicit(&d->left[chunk], part, memory_order_relaxed);
    if (n) atomic_store(&d->wrong, true);
}

void hone_digest_wrote(hone_digest *d, uint64_t off, uint64_t n)
{
    size_t   chunk;
    uint32_t part;
    while (n && (part = next_part(d, &off, &n, &chunk)))
        if (atomic_fetch_sub_explicit(&d->left[chunk], part, memory_order_acq_rel) < part) atomic_store(&d->wrong, true);
    if (n) atomic_store(&d->wrong, true);
}

static hone_code hash_chunk(hone_digest *d, hone_err *err)
{
    uint8_t buf[65536];
    size_t  n = d->size - d->done < CHUNK ? (size_t)(d->size - d->done) : CHUNK;
    for (size_t got = 0; got < n;) {
        ssize_t k = pread(d->fd, buf, n - got < sizeof buf ? n - got : sizeof buf, (off_t)(d->done + got));
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0)
            return HONE_FAIL(err, HONE_ERESOURCE, "check the disk", "what was just written cannot be read at byte %" PRIu64 ": %s", d->done + got,
                             k < 0 ? strerror(errno) : "the file ends there");
        if (EVP_DigestUpdate(d->md, buf, (size_t)k) != 1) return HONE_FAIL(err, HONE_EBUG, "", "the crypto library cannot compute SHA-256");
        got += (size_t)k;
    }
    /* Only a hint: what it starts early, the sync at the end need not wait for. */
    (void)sync_file_range(d->fd, (off_t)d->done, (off_t)n, SYNC_FILE_RANGE_WRITE);
    d->done += n;
    return HONE_OK;
}

hone_code hone_digest_advance(hone_digest *d, hone_err *err)
{
    if (pthread_mutex_trylock(&d->turn) != 0) return HONE_OK;
    hone_code code = HONE_OK;
    for (int i = 0; code == HONE_OK && i < MOST_CHUNKS && d->done < d->size; i++) {
        if (atomic_load_explicit(&d->left[d->done / CHUNK], memory_order_acquire)) break;
        code = hash_chunk(d, err);
    }
    (void)pthread_mutex_unlock(&d->turn);
    return code;
}

hone_code hone_digest_finish(hone_digest *d, char hex[65], hone_err *err)
{
    unsigned char md[32];
    unsigned int  n = sizeof md;
    for (uint64_t chunk = d->done / CHUNK; chunk * CHUNK < d->size; chunk++)
        if (atomic_load(&d->left[chunk])) atomic_store(&d->wrong, true);
    if (atomic_load(&d->wrong)) return HONE_FAIL(err, HONE_EBUG, "", "a file was not written as it was planned: a byte twice, never, or one that has no place");
    while (d->done < d->size) HONE_TRY(hash_chunk(d, err));
    if (EVP_DigestFinal_ex(d->md, md, &n) != 1 || n != sizeof md) return HONE_FAIL(err, HONE_EBUG, "", "the crypto library cannot compute SHA-256");
    hex_of(md, hex);
    return HONE_OK;
}

void hone_digest_free(hone_digest *d)
{
    if (!d) return;
    EVP_MD_CTX_free(d->md);
    free(d->left);
    (void)pthread_mutex_destroy(&d->turn);
    free(d);
}
