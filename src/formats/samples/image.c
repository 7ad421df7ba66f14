#include "formats/samples/image.h"
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <turbojpeg.h>

static const char AGAIN[] = "open it with a picture viewer; save it again as PNG";

static hone_code make_room(uint32_t width, uint32_t height, uint32_t channels, hone_image *out, hone_err *err)
{
    if (width == 0 || height == 0 || width > HONE_IMAGE_SIDE_MAX || height > HONE_IMAGE_SIDE_MAX)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "make it smaller", "the image has %u x %u pixels, at most %u a side are taken", width, height, HONE_IMAGE_SIDE_MAX);
    out->pixels = malloc((size_t)width * height * channels);
    if (!out->pixels) return HONE_NOMEM(err, "an image");
    out->width = width;
    out->height = height;
    out->channels = channels;
    return HONE_OK;
}

static hone_code decode_png(hone_bytes file, uint32_t channels, hone_image *out, hone_err *err)
{
    png_image p = { .version = PNG_IMAGE_VERSION };
    if (!png_image_begin_read_from_memory(&p, file.ptr, file.len)) {
        hone_code code = HONE_FAIL(err, HONE_EINPUT, AGAIN, "libpng: %s", p.message);
        png_image_free(&p);
        return code;
    }
    p.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
    hone_code   code = make_room(p.width, p.height, channels, out, err);
    png_color   black = { 0, 0, 0 };
    if (code == HONE_OK && !png_image_finish_read(&p, &black, out->pixels, 0, NULL)) code = HONE_FAIL(err, HONE_EINPUT, AGAIN, "libpng: %s", p.message);
    png_image_free(&p);
    return code;
}

static hone_code decode_jpeg(hone_bytes file, uint32_t channels, hone_image *out, hone_err *err)
{
    tjhandle  t = tjInitDecompress();
    int       width = 0, height = 0, sub = 0, space = 0;
    hone_code code = t ? HONE_OK : HONE_NOMEM(err, "an image");
    if (code == HONE_OK && tjDecompressHeader3(t, file.ptr, (unsigned long)file.len, &width, &height, &sub, &space) != 0)
        code = HONE_FAIL(err, HONE_EINPUT, AGAIN, "libjpeg-turbo: %s", tjGetErrorStr2(t));
    if (code == HONE_OK && (width <= 0 || height <= 0)) code = HONE_FAIL(err, HONE_EINPUT, AGAIN, "the image has no pixels");
    if (code == HONE_OK) code = make_room((uint32_t)width, (uint32_t)height, channels, out, err);
    if (code == HONE_OK && tjDecompress2(t, file.ptr, (unsigned long)file.len, out->pixels, width, 0, height, channels == 1 ? TJPF_GRAY : TJPF_RGB,
                                         TJFLAG_STOPONWARNING | TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS) != 0)
        code = HONE_FAIL(err, HONE_EINPUT, AGAIN, "libjpeg-turbo: %s", tjGetErrorStr2(t));
    if (t) (void)tjDestroy(t);
    return code;
}

hone_code hone_image_decode(hone_bytes file, uint32_t channels, hone_image *out, hone_err *err)
{
    hone_image i = { 0 };
    hone_code  code;
    if (file.len >= 8 && memcmp(file.ptr, "\x89PNG\r\n\x1a\n", 8) == 0) code = decode_png(file, channels, &i, err);
    else if (file.len >= 3 && memcmp(file.ptr, "\xff\xd8\xff", 3) == 0) code = decode_jpeg(file, channels, &i, err);
    else return HONE_FAIL(err, HONE_EINPUT, "save it as one of them", "the file is neither PNG nor JPEG");
    if (code == HONE_OK) *out = i;
    else hone_image_release(&i);
    return code;
}

void hone_image_release(hone_image *i)
{
    if (!i) return;
    free(i->pixels);
    *i = (hone_image){ 0 };
}

/* Where pixel i of n comes from in a line of `from` pixels: two neighbours and how much of the second. */
static void place(uint32_t i, uint32_t n, uint32_t from, uint32_t *a, uint32_t *b, float *part)
{
    double at = ((double)i + 0.5) * (double)from / (double)n - 0.5;
    if (at < 0) at = 0;
    if (at > (double)(from - 1)) at = (double)(from - 1);
    *a = (uint32_t)at;
    *b = *a + 1 < from ? *a + 1 : *a;
    *part = (float)(at - (double)*a);
}

static float pixel(const hone_image *i, uint32_t y, uint32_t x, uint32_t c) { return (float)i->pixels[((size_t)y * i->width + x) * i->channels + c]; }

void hone_image_values(const hone_image *i, const hone_image_how *how, float *out)
{
    uint32_t w = how->width ? how->width : i->width, h = how->height ? how->height : i->height;
    for (uint32_t y = 0; y < h; y++) {
        uint32_t y0, y1, x0, x1;
        float    fy, fx;
        place(y, h, i->height, &y0, &y1, &fy);
        for (uint32_t x = 0; x < w; x++) {
            place(x, w, i->width, &x0, &x1, &fx);
            for (uint32_t c = 0; c < i->channels; c++) {
                float top = pixel(i, y0, x0, c) * (1 - fx) + pixel(i, y0, x1, c) * fx, low = pixel(i, y1, x0, c) * (1 - fx) + pixel(i, y1, x1, c) * fx;
                float v = (top * (1 - fy) + low * fy) / 255.0f;
                v = (v - how->mean[c]) / how->std[c];
                out[how->channels_last ? ((size_t)y * w + x) * i->channels + c : ((size_t)c * h + y) * w + x] = v;
            }
        }
    }
}
