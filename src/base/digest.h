/* digest.h - SHA-256 (FIPS 180-4, by the crypto library) of bytes, of files, and of a file while it is written. */
#ifndef HONE_BASE_DIGEST_H
#define HONE_BASE_DIGEST_H
#include "base/bytes.h"
#include "base/err.h"

/* Lower-case hex SHA-256 of a whole file / of bytes; hex has room for 65. */
hone_code hone_sha256_file(const char *path, char hex[65], hone_err *err);
hone_code hone_sha256(hone_bytes b, char hex[65], hone_err *err);

/* --- a file that threads write in whatever order: as soon as every byte that was announced for a chunk is written, the chunk is
 * read back and hashed, so that the digest is there soon after the last byte is.  What is hashed is what the file holds, not
 * what was meant to be written. */
typedef struct hone_digest hone_digest;

/* fd: open for reading and writing, borrowed; size: bytes the file will have.  Takes 4 bytes for each MiB of the file. */
hone_code hone_digest_new(int fd, uint64_t size, hone_digest **out, hone_err *err);
/* n bytes at off will be written, each once.  All announcements come before the first write; bytes that are not announced (padding) are zeros already. */
void      hone_digest_expect(hone_digest *d, uint64_t off, uint64_t n);
/* n bytes at off are written.  Thread-safe. */
void      hone_digest_wrote(hone_digest *d, uint64_t off, uint64_t n);
/* Hashes some chunks that are complete and asks the system to start storing them; at once done when another thread is at it.  Thread-safe.
 * HONE_ERESOURCE when the file cannot be read. */
hone_code hone_digest_advance(hone_digest *d, hone_err *err);
/* The rest, then the digest in lower-case hex.  HONE_EBUG when bytes were written that nobody announced, or twice. */
hone_code hone_digest_finish(hone_digest *d, char hex[65], hone_err *err);
/* NULL is fine. */
void      hone_digest_free(hone_digest *d);
#endif
