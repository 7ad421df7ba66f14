/* outputs.h - the table of files that convert and plan tell of. */
#ifndef HONE_CLI_OUTPUTS_H
#define HONE_CLI_OUTPUTS_H
#include "cli/cli.h"

enum { /* columns beside size and bits per weight, from left to right */
    HONE_OUTPUTS_FORMAT = 1,
    HONE_OUTPUTS_ENCODING = 2,
    HONE_OUTPUTS_KLD = 4,   /* predicted; bits per weight then have three decimals */
    HONE_OUTPUTS_FILE = 8,  /* the path, titled "file" */
    HONE_OUTPUTS_FOLDER = 16 /* the same, titled "folder" */
};
/* list: [{format, quantization, bytes, bpw, predicted_kld, path, parts}], as far as the columns need them. */
void hone_say_outputs(hone_cli *c, const json_t *list, unsigned columns);
#endif
