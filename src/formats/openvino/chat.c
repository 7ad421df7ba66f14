/* chat.c - a chat template in words that minja renders as Jinja does.
 * openvino_genai renders with minja, which takes away the blanks between a line's beginning and any tag; transformers' Jinja
 * (lstrip_blocks) takes away those before {% and {# only.  So blanks before {{ are written as an expression of their own, as
 * openvino.genai's src/cpp/src/tokenizer/chat_template_fallback_map.hpp does by hand for two models.
 * Source: google/minja include/minja/minja.hpp parseTemplate (TextTemplateToken); transformers utils/chat_template_utils.py. */
#include "formats/openvino/pieces.h"
#include <string.h>

/* Behind the tag that begins at s: its own quotes may hold its end. */
static const char *past_tag(const char *s)
{
    const char end = s[1] == '{' ? '}' : s[1];
    char       quote = 0;
    for (s += 2; *s; s++) {
        if (quote && *s == '\\' && s[1]) s++;
        else if (quote) quote = *s == quote ? 0 : quote;
        else if ((*s == '\'' || *s == '"') && end != '#') quote = *s;
        else if (*s == end && s[1] == '}') return s + 2;
    }
    return s;
}

static bool is_tag(const char *s) { return s[0] == '{' && (s[1] == '{' || s[1] == '%' || s[1] == '#'); }

const char *hone_ov_chat_template(hone_arena *a, const char *text)
{
    hone_text out = { 0 };
    bool      eaten = false; /* the tag before says that white space behind it goes */
    if (strstr(text, "raw %}") || strstr(text, "raw -%}")) return text; /* tags that are none; no model of ours has them */
    for (const char *at = text; *at;) {
        const char *tag = at;
        while (*tag && !is_tag(tag)) tag++;
        const char *blank = tag;
        while (blank > at && (blank[-1] == ' ' || blank[-1] == '\t')) blank--;
        bool line = blank > at ? blank[-1] == '\n' : at == text;
        bool white = strspn(at, " \t\r\n") >= (size_t)(tag - at);
        if (*tag && tag[1] == '{' && tag[2] != '-' && blank < tag && line && !(eaten && white)) {
            hone_text_add_bytes(&out, at, (size_t)(blank - at));
            hone_text_addf(&out, "{{ '%.*s' }}", (int)(tag - blank), blank);
        } else
            hone_text_add_bytes(&out, at, (size_t)(tag - at));
        at = *tag ? past_tag(tag) : tag;
        hone_text_add_bytes(&out, tag, (size_t)(at - tag));
        eaten = at - tag >= 5 && at[-3] == '-';
    }
    const char *copy = out.failed ? NULL : hone_arena_strndup(a, out.ptr ? out.ptr : "", out.len);
    hone_text_release(&out);
    return copy;
}
