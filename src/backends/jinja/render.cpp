#include "backends/jinja/render.h"

#include "json.h"
#include "jinja/lexer.h"
#include "jinja/parser.h"
#include "jinja/runtime.h"

#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>

bool hone_jinja_here(void) { return true; }

static int say(char *why, size_t cap, int code, const char *what, const char *detail)
{
    (void)std::snprintf(why, cap, "%s%s", what, detail);
    return code;
}

/* The engine's own messages begin with a picture of the place in the source; the last line says what is wrong. */
static std::string last_line(std::string s)
{
    static const std::string mark = "Error: ";
    size_t                   at = s.rfind(mark);
    if (at != std::string::npos) return s.substr(at + mark.size());
    at = s.find_first_not_of('\n');
    s = at == std::string::npos ? "" : s.substr(at);
    return s.substr(0, s.find('\n'));
}

int hone_jinja_render(const char *source, const char *messages, const char *options, const char *bos, const char *eos, char *text, size_t cap,
                      size_t *len, char *why, size_t why_cap)
{
    bool        refused = false; /* the template called raise_exception */
    std::string message;
    const char *stage = "messages are no JSON: ";
    try {
        common_json vars = common_json::object();
        vars["messages"] = common_json::parse(messages);
        if (!vars["messages"].is_array()) return say(why, why_cap, 3, "messages are no JSON array", "");
        vars["tools"] = common_json();
        vars["documents"] = common_json();
        vars["add_generation_prompt"] = false;
        if (bos) vars["bos_token"] = std::string(bos);
        if (eos) vars["eos_token"] = std::string(eos);
        std::string tmpl = source ? source : "";
        bool        given = source != nullptr;
        if (options) {
            stage = "options are no JSON: ";
            common_json opts = common_json::parse(options);
            if (!opts.is_object()) return say(why, why_cap, 3, "options are no JSON object", "");
            for (const auto &item : opts.items()) {
                if (item.key() == "template") {
                    tmpl = item.value().get<std::string>();
                    given = true;
                } else if (item.value().is_null() && (item.key() == "bos_token" || item.key() == "eos_token")) {
                    if (vars.contains(item.key())) vars.erase(item.key());
                } else {
                    vars[item.key()] = item.value();
                }
            }
        }
        if (!given) return say(why, why_cap, 4, "the model has no chat template", "");

        stage = "the chat template does not parse: ";
        jinja::lexer         lexer;
        jinja::lexer_result  tokens = lexer.tokenize(tmpl);
        const jinja::program prog = jinja::parse_from_tokens(tokens);

        stage = "the chat template fails: ";
        jinja::context ctx(tokens.source);
        jinja::global_from_json(ctx, vars, false);
        /* In place of the engine's own, which puts words around the message. */
        ctx.set_val("raise_exception", jinja::mk_val<jinja::value_func>("raise_exception", [&](const jinja::func_args &args) -> jinja::value {
                        args.ensure_vals<jinja::value_string>();
                        message = args.get_pos(0)->as_string().str();
                        refused = true;
                        throw jinja::raised_exception(message);
                    }));
        jinja::runtime    runtime(ctx);
        const std::string out = jinja::runtime::gather_string_parts(runtime.execute(prog))->as_string().str();
        *len = out.size();
        if (out.size() <= cap) std::memcpy(text, out.data(), out.size());
        return 0;
    } catch (const std::bad_alloc &) {
        return say(why, why_cap, 6, "out of memory for a chat template", "");
    } catch (const std::exception &e) {
        if (refused) return say(why, why_cap, 1, message.c_str(), "");
        return say(why, why_cap, 3, stage, last_line(e.what()).c_str());
    } catch (...) {
        return say(why, why_cap, 5, stage, "an exception of an unknown kind");
    }
}
