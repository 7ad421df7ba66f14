/* scratch.h - a temporary folder for one test, and small files in it. */
#ifndef HONE_TEST_FORMATS_SCRATCH_H
#define HONE_TEST_FORMATS_SCRATCH_H
#include "base/bytes.h"

typedef struct scratch {
    char dir[176];
} scratch;

/* Ends the test program when the folder cannot be made. */
void scratch_open(scratch *s);
/* Removes the folder and everything in it. */
void scratch_close(scratch *s);
/* For cmocka: *state becomes a scratch of the test's own. */
int scratch_setup(void **state);
int scratch_teardown(void **state);
/* "dir/name" in a buffer of the caller. */
const char *scratch_path(const scratch *s, const char *name, char out[256]);
/* Writes a file; name may have folders, which are made. */
void scratch_put(const scratch *s, const char *name, const void *bytes, size_t n);

/* A safetensors file: length, json, then data_len bytes 0, 1, 2, ...  Owned: free(). */
uint8_t *scratch_safetensors(const char *json, size_t data_len, size_t *n);

/* Grows a run of bytes by hand: for GGUF files that no writer would make.  Zero-initialise; free(b.ptr). */
typedef struct blob {
    uint8_t *ptr;
    size_t   len, cap;
} blob;
void blob_bytes(blob *b, const void *p, size_t n);
void blob_u8(blob *b, uint8_t v);
void blob_u32(blob *b, uint32_t v);
void blob_u64(blob *b, uint64_t v);
void blob_str(blob *b, const char *s); /* u64 length, bytes */
void blob_zeros(blob *b, size_t n);
void blob_align(blob *b, size_t to);
#endif
