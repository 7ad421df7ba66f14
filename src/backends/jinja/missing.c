/* missing.c - in place of render.cpp where llama.cpp, whose Jinja engine it is, could not be had. */
#include "backends/jinja/render.h"
#include <stdio.h>

bool hone_jinja_here(void) { return false; }

int hone_jinja_render(const char *source, const char *messages, const char *options, const char *bos, const char *eos, char *text, size_t cap,
                      size_t *len, char *why, size_t why_cap)
{
    (void)source, (void)messages, (void)options, (void)bos, (void)eos, (void)text, (void)cap, (void)len;
    (void)snprintf(why, why_cap, "chat templates are rendered by llama.cpp's engine, which is not here: run deps/llamacpp.sh and build again");
    return 4;
}
