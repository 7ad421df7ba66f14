/* render.h - chat templates for every plug-in that has text: one Jinja engine, llama.cpp's, whatever the runtime.  No exception leaves. */
#ifndef HONE_BACKENDS_JINJA_RENDER_H
#define HONE_BACKENDS_JINJA_RENDER_H
#include <stdbool.h>
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

/* Whether the engine is built in: it is not where llama.cpp could not be had.  hone_jinja_render then gives 4. */
bool hone_jinja_here(void);

/* Renders messages through the template source (NULL: the model has none), set up as transformers does it (apply_chat_template: messages,
 * tools, documents and add_generation_prompt are always defined).  options may be NULL; bos and eos are NULL when the model has none.
 * Returns the numbers of hone_backend.h; on 0 the text is written when *len <= cap.  why[cap] is filled on failure. */
int hone_jinja_render(const char *source, const char *messages, const char *options, const char *bos, const char *eos, char *text, size_t cap,
                      size_t *len, char *why, size_t why_cap);

#ifdef __cplusplus
}
#endif
#endif
