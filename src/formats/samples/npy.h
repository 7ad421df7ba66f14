/* npy.h - the header of a .npy, and the members of a .npz, from bytes.  Source: numpy/lib/format.py; PKWARE APPNOTE 4.3, 4.4. */
#ifndef HONE_FORMATS_SAMPLES_NPY_H
#define HONE_FORMATS_SAMPLES_NPY_H
#include "formats/samples.h"

#define HONE_NPY_HEAD_MAX 65536u /* bytes that are looked at for a header */
#define HONE_NPZ_MAX (2ull << 30) /* bytes of an archive, and of all that is inflated from it */

/* type, rank, dims of an array whose file begins with head and has size bytes in all; *data_off: where its elements begin.
 * HONE_EINPUT: no .npy, a header that is cut, elements that are cut.  HONE_EUNSUPPORTED: big-endian, Fortran order, objects, strings, no dimension. */
hone_code hone_npy_parse(hone_bytes head, uint64_t size, hone_samples_array *out, uint64_t *data_off, hone_err *err);

typedef struct hone_npz_member { const char *name; hone_bytes bytes; } hone_npz_member; /* name without ".npy" */
/* The members of an archive that end in .npy; deflated ones are inflated into the arena, others are borrowed from bytes.  Checksums are verified. */
hone_code hone_npz_parse(hone_bytes bytes, hone_arena *a, hone_npz_member **out, size_t *n, hone_err *err);
#endif
