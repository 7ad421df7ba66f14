#include "cli/outputs.h"
#include "base/text.h"

static void path_cell(hone_table *t, size_t row, size_t col, const json_t *o)
{
    double more = hone_doc_num(o, "parts", 1) - 1;
    if (more > 0) hone_table_cell(t, row, col, HONE_PLAIN, "%s and %.0f more", hone_doc_str(o, "path", ""), more);
    else hone_table_cell(t, row, col, HONE_PLAIN, "%s", hone_doc_str(o, "path", ""));
}

static void row_of(hone_table *t, size_t row, const json_t *o, unsigned columns)
{
    char   size[32];
    size_t col = 0;
    if (columns & HONE_OUTPUTS_FORMAT) hone_table_cell(t, row, col++, columns & HONE_OUTPUTS_ENCODING ? HONE_PLAIN : HONE_BOLD, "%s", hone_doc_str(o, "format", ""));
    if (columns & HONE_OUTPUTS_ENCODING) hone_table_cell(t, row, col++, HONE_BOLD, "%s", hone_doc_str(o, "quantization", ""));
    hone_table_cell(t, row, col++, HONE_PLAIN, "%s", hone_text_bytes((uint64_t)hone_doc_num(o, "bytes", 0), size, sizeof size));
    hone_table_cell(t, row, col++, HONE_PLAIN, "%.*f", columns & HONE_OUTPUTS_KLD ? 3 : 2, hone_doc_num(o, "bpw", 0));
    if (columns & HONE_OUTPUTS_KLD && hone_doc_has_num(o, "predicted_kld")) hone_table_cell(t, row, col++, HONE_PLAIN, "%.3f", 1000 * hone_doc_num(o, "predicted_kld", 0));
    else if (columns & HONE_OUTPUTS_KLD) hone_table_cell(t, row, col++, HONE_DIM, "-");
    if (columns & (HONE_OUTPUTS_FILE | HONE_OUTPUTS_FOLDER)) path_cell(t, row, col, o);
}

void hone_say_outputs(hone_cli *c, const json_t *list, unsigned columns)
{
    const struct { const char *title, *unit; bool right, shown; } cols[] = {
        { "format", "", false, columns & HONE_OUTPUTS_FORMAT }, { "encoding", "", false, columns & HONE_OUTPUTS_ENCODING }, { "size", "", true, true },
        { "bits/weight", "", true, true },                      { "predicted KLD", "nat/1000", true, columns & HONE_OUTPUTS_KLD },
        { "file", "", false, columns & HONE_OUTPUTS_FILE },     { "folder", "", false, columns & HONE_OUTPUTS_FOLDER },
    };
    size_t  n = 0, i;
    json_t *o;
    for (size_t k = 0; k < HONE_COUNT(cols); k++) n += cols[k].shown;
    hone_table *t = hone_table_new(c, n);
    n = 0;
    for (size_t k = 0; k < HONE_COUNT(cols); k++)
        if (cols[k].shown) hone_table_col(t, n++, cols[k].title, cols[k].unit, cols[k].right);
    json_array_foreach(list, i, o) row_of(t, i, o, columns);
    hone_table_print(c, t);
}
