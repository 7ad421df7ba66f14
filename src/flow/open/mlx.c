/* mlx.c - a folder of mlx_lm as a source. */
#include "base/text.h"
#include "flow/open/sources.h"
#include "formats/mlx/read.h"
#include <stdlib.h>

/* "affine, 4 bits in groups of 64". */
static hone_code say_quantized(const json_t *q, hone_model *m, hone_err *err)
{
    const char *mode = json_string_value(json_object_get(q, "mode"));
    char        shown[64];
    if (!json_is_object(q)) return HONE_OK;
    if (!mode) mode = "affine";
    m->quantized = hone_arena_printf(&m->arena, "%s, %d bits in groups of %d", hone_text_show(mode, strlen(mode), shown, sizeof shown), (int)json_integer_value(json_object_get(q, "bits")),
                                     (int)json_integer_value(json_object_get(q, "group_size")));
    return m->quantized ? HONE_OK : HONE_NOMEM(err, "a name");
}

hone_code hone_open_mlx(json_t *config, const hone_mlx_arch *family, hone_model *m, hone_err *err)
{
    hone_source *view = NULL;
    HONE_TRY(hone_mlx_view(m->source, config, family, &m->arena, &view, err));
    m->source = view;
    HONE_TRY(say_quantized(json_object_get(config, "quantization"), m, err));
    hone_mlx_config_plain(config);
    char           *text = json_dumps(config, JSON_INDENT(2));
    const char     *kept = text ? hone_arena_strdup(&m->arena, text) : NULL;
    hone_side_file *side = HONE_ARENA_NEW(&m->arena, hone_side_file, 1);
    free(text);
    if (!kept || !side) return HONE_NOMEM(err, "config.json");
    *side = (hone_side_file){ "config.json", { (const uint8_t *)kept, strlen(kept) } };
    m->sides = side;
    m->n_sides = 1;
    return HONE_OK;
}
