/* solve.h - the arithmetic of treat.h, for HONE_SIDE rows side by side: every lane is a row of its own, so sums have one order at
 * any width of lanes.  Built three times, as the codecs are (quant/lanes.h). */
#ifndef HONE_QUANT_TREAT_SOLVE_H
#define HONE_QUANT_TREAT_SOLVE_H
#include "quant/treat/curve.h"
#include "quant/treat/layout.h"

enum { HONE_SIDE = 16, HONE_PANEL = 256 /* columns at once where a block is longer */ };

typedef enum hone_start { HONE_START_RANGE, HONE_START_SEARCH, HONE_START_HALF_QUADRATIC } hone_start;

typedef struct hone_task {
    const hone_layout *layout;
    const hone_curve  *curve;
    hone_start         start;  /* where steps and offsets come from */
    bool               hand_on; /* errors go on to later columns (curve->h needed) */
    int                sweeps; /* how often every block is looked at again: codes, then steps and offsets, then codes */
} hone_task;

/* Rows side by side: [..][HONE_SIDE]. */
typedef struct hone_bundle {
    float   *w, *e;      /* [n] numbers; what the codes leave of them */
    uint8_t *code;       /* [n] */
    float   *d, *m;      /* [blocks] */
    float   *s, *z;      /* [sub-blocks] S and M */
    float   *step, *base; /* [sub-blocks] value = step * code + base, step * table[code] */
    float   *t, *u, *v;  /* [HONE_PANEL] */
} hone_bundle;

typedef struct hone_solver {
    /* Fills all of b but w, from w. */
    void (*solve)(const hone_task *t, hone_bundle *b);
    /* cost[HONE_SIDE]: e H e^T of every row, or the sum over the diagonal.  t: [HONE_PANEL][HONE_SIDE] */
    void (*cost)(const hone_curve *c, const float *e, float *t, float *cost);
    /* rows of the triangle a (row j: j + 1 floats from j * (j + 1) / 2 on, those of H) become U[i][j].  False: H is not positive. */
    bool (*factor)(float *a, size_t n);
} hone_solver;

/* At a width of lanes, as hone_codec_find_width; and the widest. */
const hone_solver *hone_solver_find_width(int width);
const hone_solver *hone_solver_find(void);
#endif
