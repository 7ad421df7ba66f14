/* rows.c - the encoders of grouped rows, as they are at one width of lanes. */
#include "quant/grouped/scheme.h"

const hone_grouped_rows HONE_LANED(hone_grouped_rows_plain) = { HONE_LANED(hone_affine_encode), HONE_LANED(hone_nbits_encode), HONE_LANED(hone_nncf_encode),
                                                               HONE_LANED(hone_mlx_float_encode), HONE_LANED(hone_mlx_float_decode) };
