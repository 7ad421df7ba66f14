/* image.h - one PNG or JPEG from bytes as floats.  Source: libpng's simplified interface, libjpeg-turbo's TurboJPEG interface. */
#ifndef HONE_FORMATS_SAMPLES_IMAGE_H
#define HONE_FORMATS_SAMPLES_IMAGE_H
#include "formats/samples.h"

#define HONE_IMAGE_FILE_MAX (256ull << 20) /* bytes of a file */
#define HONE_IMAGE_SIDE_MAX 16384u         /* pixels */

typedef struct hone_image { /* 8-bit pixels, [height, width, channels]; owned: hone_image_release */
    uint8_t *pixels;
    uint32_t width, height, channels;
} hone_image;

/* channels: 1 (grey) or 3 (RGB); what the file has is turned into that, transparency is put on black. */
hone_code hone_image_decode(hone_bytes file, uint32_t channels, hone_image *out, hone_err *err);
void      hone_image_release(hone_image *i);
/* Stretches to how's size (0: stays) and scales; out[height * width * channels]. */
void      hone_image_values(const hone_image *i, const hone_image_how *how, float *out);
#endif
