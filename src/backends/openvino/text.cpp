// text.cpp - tokenizer and detokenizer as OpenVINO models.  What openvino-genai steers through states it adds to the graph
// (src/cpp/src/tokenizer/make_tokenizer_stateful.cpp) is here a variant of the graph for each way of asking, made when first asked for.
#include "backends/openvino/guard.hpp"
#include "backends/openvino/shim.h"

#include <openvino/opsets/opset13.hpp>

#include <cstring>
#include <dlfcn.h>
#include <map>
#include <unistd.h>

using namespace hone_ovrt;

struct hone_ovrt_text {
    std::shared_ptr<ov::Model>         tokenizer, detokenizer;
    std::map<int, ov::InferRequest>    tokenize, detokenize; // by the flags of the variant
    std::map<std::string, std::string> infos;
    ov::Tensor                         out;
    std::vector<int64_t>               ids;
};

namespace {

const ov::AnyMap ONE_THREAD = { ov::inference_num_threads(1), ov::num_streams(1), ov::hint::enable_cpu_pinning(false) };

// The operators lie where OpenVINO itself lies: deps/openvino.sh puts them there, an installation too.
void load_operators()
{
    static bool loaded;
    Dl_info     at;
    if (loaded) return;
    if (!dladdr(reinterpret_cast<const void *>(&ov::get_openvino_version), &at) || !at.dli_fname)
        throw refusal{ UNSUPPORTED, "it is not known where OpenVINO lies" };
    std::string path = at.dli_fname;
    path = path.substr(0, path.find_last_of('/') + 1) + "libopenvino_tokenizers.so";
    if (access(path.c_str(), R_OK) != 0) throw refusal{ UNSUPPORTED, "there is no '" + path + "', which knows the operators of tokenizers" };
    core().add_extension(path);
    loaded = true;
}

template <class Do>
void each_of_type(const ov::Model &m, const char *type, Do act)
{
    for (const auto &n : m.get_ordered_ops())
        if (std::strcmp(n->get_type_name(), type) == 0) act(n);
}

// Segments (begins, ends, data) whose bounds are constants are the special tokens around the text: they end where they begin.
void leave_special_out(const ov::Model &m)
{
    each_of_type(m, "CombineSegments", [](const std::shared_ptr<ov::Node> &n) {
        for (size_t i = 0; i + 3 < n->get_input_size(); i += 3) {
            const auto begin = n->input_value(i), end = n->input_value(i + 1);
            if (ov::is_type<ov::opset13::Constant>(begin.get_node()) && ov::is_type<ov::opset13::Constant>(end.get_node()))
                n->input(i + 1).replace_source_output(begin);
        }
    });
}

// A pattern that nothing matches in place of the names of added tokens.
void look_for_no_names(const ov::Model &m)
{
    static const char NEVER[] = "(?!)";
    each_of_type(m, "SpecialTokensSplit", [](const std::shared_ptr<ov::Node> &n) {
        n->input(n->get_input_size() - 1).replace_source_output(
            ov::opset13::Constant::create(ov::element::u8, ov::Shape{ sizeof NEVER - 1 }, reinterpret_cast<const uint8_t *>(NEVER)));
    });
}

// Input 4 of VocabDecoder are the ids that are left out.
void write_special(const ov::Model &m)
{
    each_of_type(m, "VocabDecoder", [](const std::shared_ptr<ov::Node> &n) {
        if (n->get_input_size() > 4)
            n->input(4).replace_source_output(ov::opset13::Constant::create(ov::element::i32, ov::Shape{ 0 }, std::vector<int32_t>{}));
    });
}

ov::InferRequest ready(const std::shared_ptr<ov::Model> &m) { return core().compile_model(m, "CPU", ONE_THREAD).create_infer_request(); }

// For the ids themselves the other outputs (attention mask, types) are no use.
ov::Tensor output_named(ov::InferRequest &r, const char *name)
{
    for (const auto &port : r.get_compiled_model().outputs())
        if (port.get_names().count(name)) return r.get_tensor(port);
    return r.get_output_tensor(0);
}

} // namespace

int hone_ovrt_text_open(const char *tokenizer_xml, const char *detokenizer_xml, hone_ovrt_text **out, hone_backend_error *e)
{
    auto *t = new (std::nothrow) hone_ovrt_text;
    if (!t) return fail(e, RESOURCE, "out of memory");
    int rc = guarded(e, UNSUPPORTED, "OpenVINO cannot load the operators of tokenizers", load_operators);
    if (rc == OK)
        rc = guarded(e, INPUT, std::string("OpenVINO cannot read '") + tokenizer_xml + "'", [&] { t->tokenizer = core().read_model(tokenizer_xml); });
    if (rc == OK)
        rc = guarded(e, INPUT, std::string("OpenVINO cannot read '") + detokenizer_xml + "'",
                     [&] { t->detokenizer = core().read_model(detokenizer_xml); });
    if (rc == OK) *out = t;
    else delete t;
    return rc;
}

void hone_ovrt_text_free(hone_ovrt_text *t) { delete t; }

const char *hone_ovrt_text_info(hone_ovrt_text *t, const char *key)
{
    try {
        if (!t->tokenizer->has_rt_info(key)) return nullptr;
        return (t->infos[key] = t->tokenizer->get_rt_info<std::string>(key)).c_str();
    } catch (const std::exception &) {
        return nullptr;
    }
}

int hone_ovrt_tokenize(hone_ovrt_text *t, const char *text, size_t len, bool add_special, bool parse_special, const int64_t **ids, size_t *n,
                       hone_backend_error *e)
{
    return guarded(e, RUNTIME, "openvino_tokenizers cannot tokenize " + std::to_string(len) + " bytes", [&] {
        const int variant = add_special + 2 * parse_special;
        if (!t->tokenize.count(variant)) {
            const auto m = t->tokenizer->clone();
            if (!add_special) leave_special_out(*m);
            if (!parse_special) look_for_no_names(*m);
            t->tokenize[variant] = ready(m);
        }
        ov::InferRequest &r = t->tokenize[variant];
        ov::Tensor        in(ov::element::string, ov::Shape{ 1 });
        in.data<std::string>()[0].assign(text, len);
        r.set_input_tensor(0, in);
        r.infer();
        const ov::Tensor got = output_named(r, "input_ids");
        t->ids.resize(got.get_size());
        for (size_t i = 0; i < t->ids.size(); i++)
            t->ids[i] = got.get_element_type() == ov::element::i32 ? got.data<const int32_t>()[i] : got.data<const int64_t>()[i];
        *ids = t->ids.data();
        *n = t->ids.size();
    });
}

int hone_ovrt_detokenize(hone_ovrt_text *t, const int32_t *ids, size_t n, bool special, const char **text, size_t *len, hone_backend_error *e)
{
    *text = "";
    *len = 0;
    if (n == 0) return OK;
    return guarded(e, RUNTIME, "openvino_tokenizers cannot turn " + std::to_string(n) + " tokens into text", [&] {
        if (!t->detokenize.count(special)) {
            const auto m = t->detokenizer->clone();
            if (special) write_special(*m);
            t->detokenize[special] = ready(m);
        }
        ov::InferRequest &r = t->detokenize[special];
        const auto        type = r.get_compiled_model().input(0).get_element_type();
        ov::Tensor        in(type, ov::Shape{ 1, n });
        for (size_t i = 0; i < n; i++) {
            if (type == ov::element::i32) in.data<int32_t>()[i] = ids[i];
            else in.data<int64_t>()[i] = ids[i];
        }
        r.set_input_tensor(0, in);
        r.infer();
        t->out = r.get_output_tensor(0);
        if (t->out.get_element_type() != ov::element::string || t->out.get_size() != 1)
            throw refusal{ RUNTIME, "openvino_detokenizer.xml gives no text" };
        *text = t->out.data<const std::string>()->data();
        *len = t->out.data<const std::string>()->size();
    });
}
