#include "quant/codec.h"
#include "quant/treat/solve.h"

extern const hone_solver hone_row_solver;
#ifdef HONE_WIDE_CODECS
extern const hone_solver hone_row_solver_x8, hone_row_solver_x16;
#endif

/* Which widths this build and this CPU have is what the codecs know. */
const hone_solver *hone_solver_find_width(int width)
{
    if (!hone_codec_find_width(HONE_DTYPE_Q4_0, width)) return NULL;
#ifdef HONE_WIDE_CODECS
    if (width == 16) return &hone_row_solver_x16;
    if (width == 8) return &hone_row_solver_x8;
#endif
    return &hone_row_solver;
}

const hone_solver *hone_solver_find(void)
{
    const hone_solver *s = hone_solver_find_width(16);
    if (!s) s = hone_solver_find_width(8);
    return s ? s : hone_solver_find_width(4);
}
