/* samples.h - inputs and labels for networks: arrays whose first dimension counts samples, out of .safetensors, .npy, .npz, images or a folder of
 * images.  Knows files; knows no network.
 * Sources: numpy, "numpy/lib/format.py" (versions 1 to 3); PKWARE APPNOTE 4.4 (zip, stored and deflated); images by libpng and libjpeg-turbo. */
#ifndef HONE_FORMATS_SAMPLES_H
#define HONE_FORMATS_SAMPLES_H
#include "base/arena.h"
#include "hone/backend.h"

typedef struct hone_image_how { /* how a picture becomes numbers: (value / 255 - mean) / std per channel, as floats */
    uint32_t channels;          /* 1: grey, 3: RGB */
    uint32_t width, height;     /* other sizes are stretched to this one (bilinear, centres of pixels aligned); 0: all images must have one size */
    bool     channels_last;     /* [height, width, channels] instead of [channels, height, width] */
    float    mean[3], std[3];   /* std > 0 */
} hone_image_how;

typedef struct hone_samples_array {
    const char *name;   /* "" for a file that names nothing (.npy, images) */
    int         type;   /* hone_backend_type */
    uint32_t    rank;   /* at least 1 */
    int64_t     dims[HONE_BACKEND_RANK_MAX]; /* dims[0]: samples */
    uint64_t    sample_bytes;
    const void *from;   /* private: where its bytes are */
} hone_samples_array;

typedef struct hone_samples {
    hone_samples_array *arrays; /* [n_arrays], in the arena; all have n samples */
    size_t              n_arrays;
    uint64_t            n;
    const char         *path;
    const void         *self; /* private */
    hone_code (*read)(const struct hone_samples *s, const hone_samples_array *a, uint64_t first, uint64_t count, void *out, hone_err *err);
    void (*close)(struct hone_samples *s);
} hone_samples;

/* Opens path.  how is for images; NULL: they are refused.  A folder of images may have one folder per class: these, in the order of their names, are
 * then the labels ("labels", i64).  All of *out lives in the arena, but call hone_samples_close for files.
 * HONE_EINPUT: damaged, of no kind that is known, no samples, or arrays that disagree on their number. */
hone_code hone_samples_open(const char *path, const hone_image_how *how, hone_arena *a, hone_samples *out, hone_err *err);
void      hone_samples_close(hone_samples *s); /* zeroed is fine */
/* Samples first .. first + count - 1 of one array into out[count * a->sample_bytes]. */
hone_code hone_samples_read(const hone_samples *s, const hone_samples_array *a, uint64_t first, uint64_t count, void *out, hone_err *err);
/* NULL when there is none. */
const hone_samples_array *hone_samples_find(const hone_samples *s, const char *name);
#endif
