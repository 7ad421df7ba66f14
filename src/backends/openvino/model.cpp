// model.cpp - a language model in OpenVINO: its inputs and outputs found by name, its states, the residual stream.
#include "backends/openvino/guard.hpp"
#include "backends/openvino/shim.h"

#include <openvino/core/preprocess/pre_post_process.hpp>
#include <openvino/opsets/opset13.hpp>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

using namespace hone_ovrt;

namespace {

enum class feed { ids, mask, positions, types, beam, rows, unknown };

const char ROWS_INPUT[] = "hone_rows"; // ours, see take_rows_only

feed feed_of(const ov::Output<const ov::Node> &port)
{
    static const std::map<std::string, feed> known = { { "input_ids", feed::ids },           { "attention_mask", feed::mask },
                                                       { "position_ids", feed::positions },  { "token_type_ids", feed::types },
                                                       { "beam_idx", feed::beam },           { ROWS_INPUT, feed::rows } };
    for (const auto &name : port.get_names()) {
        const auto at = known.find(name);
        if (at != known.end()) return at->second;
    }
    return feed::unknown;
}

std::string name_of(const ov::Output<const ov::Node> &port)
{
    return port.get_names().empty() ? port.get_node()->get_friendly_name() : *port.get_names().begin();
}

// The output of that kind, or -1.  Names: optimum-intel, sentence-transformers, ours.
int find_output(const ov::Model &m, hone_ovrt_kind kind)
{
    static const std::set<std::string> names[] = { { "logits" },
                                                   { "last_hidden_state", "hidden_states" },
                                                   { "sentence_embedding", "pooled", "embeddings" } };
    const auto                         outputs = m.outputs();
    for (size_t i = 0; i < outputs.size(); i++)
        for (const auto &name : outputs[i].get_names())
            if (names[kind].count(name)) return static_cast<int>(i);
    return -1;
}

// How an encoder makes one vector of a text stands in the rt_info of our models (docs/formats/openvino.md): openvino-genai wants the last hidden state alone.
void add_pooling(ov::Model &m)
{
    using namespace ov::opset13;
    const int at = find_output(m, HONE_OVRT_HIDDEN);
    if (at < 0 || find_output(m, HONE_OVRT_POOLED) >= 0 || !m.has_rt_info("hone", "pooling")) return;
    const auto how = m.get_rt_info<std::string>("hone", "pooling");
    const auto number = [](auto v, const ov::Shape &shape = {}) { return Constant::create(ov::element::from<decltype(v)>(), shape, { v }); };
    const auto x = m.output(static_cast<size_t>(at)).get_node()->input_value(0), mask = m.input("attention_mask");
    const auto along = number(int64_t{ 1 }, { 1 }), last = number(int64_t{ -1 }, { 1 });
    ov::Output<ov::Node> y;
    if (how == "mean") {
        const auto seen = std::make_shared<Unsqueeze>(std::make_shared<Convert>(mask, ov::element::f32), number(int64_t{ 2 }));
        const auto sum = std::make_shared<ReduceSum>(std::make_shared<Multiply>(x, seen), along, false);
        y = std::make_shared<Divide>(sum, std::make_shared<Maximum>(std::make_shared<ReduceSum>(seen, along, false), number(1e-9f)));
    } else if (how == "last") {
        const auto end = std::make_shared<Subtract>(std::make_shared<ReduceSum>(mask, along, false), number(int64_t{ 1 }));
        y = std::make_shared<Gather>(x, end, number(int64_t{ 1 }), 1);
    } else if (how == "cls") {
        y = std::make_shared<Gather>(x, number(int64_t{ 0 }), number(int64_t{ 1 }));
    } else {
        throw refusal{ UNSUPPORTED, "'" + how + "' is no pooling that hone knows" };
    }
    if (m.has_rt_info("hone", "normalize"))
        y = std::make_shared<Divide>(y, std::make_shared<Maximum>(std::make_shared<ReduceL2>(y, last, true), number(1e-12f)));
    y.get_tensor().set_names({ "sentence_embedding" });
    m.add_results({ std::make_shared<Result>(y) });
}

bool is_constant(const ov::Output<ov::Node> &v)
{
    const auto *n = v.get_node();
    if (ov::is_type<ov::opset13::Constant>(n)) return true;
    if (ov::is_type<ov::opset13::Parameter>(n) || ov::is_type<ov::op::util::ReadValueBase>(n) || n->get_input_size() == 0) return false;
    for (const auto &in : n->input_values()) // a compressed weight: some operators on constants
        if (!is_constant(in)) return false;
    return true;
}

// The product with the vocabulary, which logits come from by element-wise operators only; NULL when the graph ends in another way.
std::shared_ptr<ov::Node> find_head(const ov::Model &m)
{
    const int at = find_output(m, HONE_OVRT_LOGITS);
    if (at < 0) return nullptr;
    auto n = m.output(static_cast<size_t>(at)).get_node_shared_ptr()->get_input_node_shared_ptr(0);
    while (!ov::is_type<ov::opset13::MatMul>(n)) {
        const bool element_wise = ov::is_type<ov::op::util::BinaryElementwiseArithmetic>(n) || ov::is_type<ov::op::util::UnaryElementwiseArithmetic>(n) ||
                                  ov::is_type<ov::opset13::Convert>(n);
        if (!element_wise) return nullptr;
        size_t live = 0;
        while (live < n->get_input_size() && is_constant(n->input_value(live))) live++;
        if (live == n->get_input_size()) return nullptr;
        n = n->get_input_node_shared_ptr(live);
    }
    return n->get_input_partial_shape(0).rank() == 3 ? n : nullptr; // [batch, tokens, width]
}

uint32_t last_dim(const ov::PartialShape &s)
{
    if (s.rank().is_dynamic() || s.size() == 0) return 0;
    const auto &d = *(s.end() - 1);
    return d.is_static() && d.get_length() > 0 && d.get_length() <= INT32_MAX ? static_cast<uint32_t>(d.get_length()) : 0;
}

void want_f32(const std::shared_ptr<ov::Model> &m)
{
    ov::preprocess::PrePostProcessor p(m);
    for (size_t i = 0; i < m->outputs().size(); i++)
        if (m->output(i).get_element_type() != ov::element::f32) p.output(i).tensor().set_element_type(ov::element::f32);
    p.build();
}

// One output and no other; ports: what it shows.
void show_only(const std::shared_ptr<ov::Model> &m, const ov::OutputVector &ports)
{
    for (const auto &r : ov::ResultVector(m->get_results())) m->remove_result(r);
    ov::ResultVector results;
    for (const auto &p : ports) results.push_back(std::make_shared<ov::opset13::Result>(p));
    m->add_results(results);
    want_f32(m);
}

// The vocabulary is by far the largest product and mostly wanted for one token of many: chosen rows go into it, as
// openvino.genai does it (src/cpp/src/utils.cpp, apply_gather_before_matmul_transformation).
bool take_rows_only(const std::shared_ptr<ov::Model> &m)
{
    const auto head = find_head(*m);
    if (!head) return false;
    auto rows = std::make_shared<ov::opset13::Parameter>(ov::element::i64, ov::PartialShape{ -1 });
    rows->set_friendly_name(ROWS_INPUT);
    rows->output(0).get_tensor().set_names({ ROWS_INPUT });
    auto axis = ov::opset13::Constant::create(ov::element::i64, ov::Shape{}, { 1 });
    head->input(0).replace_source_output(std::make_shared<ov::opset13::Gather>(head->input_value(0), rows, axis));
    m->add_parameters({ rows });
    m->validate_nodes_and_infer_types();
    return true;
}

uint64_t constant_bytes(const ov::Model &m)
{
    uint64_t                sum = 0;
    std::set<const void *>  seen; // one constant may stand in several layers
    for (const auto &n : m.get_ops()) {
        const auto c = ov::as_type_ptr<ov::opset13::Constant>(n);
        if (c && seen.insert(c->get_data_ptr()).second) sum += c->get_byte_size();
    }
    return sum;
}

// "layers.3.attn.q", "__module.model.layers.3/aten::add/Add_1", "__module.transformer.h.3.attn/...": 3.  -1: of no layer.
int layer_of(const std::string &name)
{
    static const char *const words[] = { "layers.", "layer.", "h.", "blocks." };
    for (const char *w : words)
        for (size_t at = name.find(w); at != std::string::npos; at = name.find(w, at + 1)) {
            const size_t digits = at + std::strlen(w), end = std::min(name.find_first_not_of("0123456789", digits), name.size());
            if ((at == 0 || name[at - 1] == '.' || name[at - 1] == '/') && end > digits && end - digits < 6)
                return std::stoi(name.substr(digits, end - digits));
        }
    return -1;
}

// What stands behind each layer: the last sum of width numbers whose name belongs to it.
ov::OutputVector find_layers(const ov::Model &m, uint32_t width)
{
    std::map<int, ov::Output<ov::Node>> last;
    for (const auto &n : m.get_ordered_ops()) {
        const int layer = layer_of(n->get_friendly_name());
        if (layer < 0 || !ov::is_type<ov::opset13::Add>(n) || !n->get_output_element_type(0).is_real() || is_constant(n->output(0))) continue;
        if (last_dim(n->get_output_partial_shape(0)) == width) last[layer] = n->output(0);
    }
    ov::OutputVector all;
    for (const auto &entry : last) {
        if (entry.first != static_cast<int>(all.size())) return {};
        all.push_back(entry.second);
    }
    return all;
}

ov::AnyMap properties(const std::string &device, const hone_ovrt_how &how)
{
    ov::AnyMap p = { ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY) };
    if (device == "CPU") {
        p.insert(ov::inference_num_threads(static_cast<int32_t>(how.threads ? how.threads : 1)));
        p.insert(ov::num_streams(1));
        p.insert(ov::hint::enable_cpu_pinning(false));
    }
    if (how.exact) {
        p.insert(ov::hint::inference_precision(ov::element::f32));
        p.insert(ov::hint::kv_cache_precision(ov::element::f32));
        p.insert(ov::hint::dynamic_quantization_group_size(0));
    }
    return p;
}

// Whether OpenVINO has the device here; if not, why.
bool have(const std::string &device, std::string *why)
{
    try {
        for (const auto &d : core().get_available_devices())
            if (d.rfind(device, 0) == 0) return true;
        (void)core().get_property(device, ov::available_devices); // says what is missing
        *why = "OpenVINO finds no " + device + " here";
    } catch (const std::exception &x) {
        const std::string words = last_words(x);
        const size_t      path = words.find("\": "); // Cannot load library "/.../libopenvino_intel_gpu_plugin.so": libOpenCL.so.1: cannot ...
        *why = "OpenVINO finds no " + device + " here: " + (path == std::string::npos ? words : words.substr(path + 3));
    }
    return false;
}

std::string property(const ov::CompiledModel &m, const char *name)
{
    try {
        return m.get_property(name).as<std::string>();
    } catch (const std::exception &) {
        return "";
    }
}

} // namespace

struct hone_ovrt_model {
    std::shared_ptr<ov::Model> model;
    hone_ovrt_facts            facts;
    hone_ovrt_how              how;
    std::string                device;
    ov::CompiledModel          compiled;
    ov::InferRequest           request;
    bool                       by_rows = false; // the graph gives the wanted rows and no others
    std::vector<int64_t>       rows;            // of the last run
    ov::Tensor                 out;
    std::vector<size_t>        widths; // of `out`: [rows, width]
};

namespace {

void put(ov::Tensor &t, size_t i, int64_t v)
{
    if (t.get_element_type() == ov::element::i32) t.data<int32_t>()[i] = static_cast<int32_t>(v);
    else t.data<int64_t>()[i] = v;
}

ov::Tensor new_ints(const ov::Output<const ov::Node> &port, const ov::Shape &shape)
{
    const auto type = port.get_element_type();
    if (type != ov::element::i64 && type != ov::element::i32)
        throw refusal{ UNSUPPORTED, "input '" + name_of(port) + "' is of type " + type.to_string() + ", expected are i64 and i32" };
    return ov::Tensor(type, shape);
}

void set_inputs(ov::InferRequest &request, const std::vector<ov::Output<const ov::Node>> &ports, const int32_t *ids, size_t n, size_t past,
                const std::vector<int64_t> &rows)
{
    for (size_t k = 0; k < ports.size(); k++) {
        const feed f = feed_of(ports[k]);
        size_t     len = f == feed::mask ? past + n : f == feed::beam ? 1 : f == feed::rows ? rows.size() : n;
        ov::Tensor t = new_ints(ports[k], f == feed::beam || f == feed::rows ? ov::Shape{ len } : ov::Shape{ 1, len });
        for (size_t i = 0; i < len; i++) {
            int64_t v = 0; // types, beam
            if (f == feed::ids) v = ids[i];
            if (f == feed::mask) v = 1;
            if (f == feed::positions) v = static_cast<int64_t>(past + i);
            if (f == feed::rows) v = rows[i];
            put(t, i, v);
        }
        request.set_input_tensor(k, t);
    }
}

void compile_on(hone_ovrt_model *m, const std::string &device)
{
    m->compiled = core().compile_model(m->model, device, properties(device, m->how));
    m->request = m->compiled.create_infer_request();
    m->device = device;
}

// The graph gives what is asked for, in f32, and nothing else.
void shape_graph(hone_ovrt_model *m)
{
    const int at = find_output(*m->model, m->how.kind);
    if (m->how.kind == HONE_OVRT_LOGITS) m->by_rows = take_rows_only(m->model);
    if (at >= 0) {
        show_only(m->model, { m->model->output(static_cast<size_t>(at)).get_node_shared_ptr()->input_value(0) });
        return;
    }
    const auto head = find_head(*m->model); // what goes into the vocabulary is the last hidden state
    show_only(m->model, { head->input_value(0) });
}

} // namespace

int hone_ovrt_probe(char *version, size_t version_cap, char *devices, size_t devices_cap, hone_backend_error *e)
{
    return guarded(e, RUNTIME, "OpenVINO does not start", [&] {
        (void)std::snprintf(version, version_cap, "%s", ov::get_openvino_version().buildNumber);
        std::string all;
        if (devices_cap <= 1) {
            (void)core();
            return;
        }
        for (const auto &d : core().get_available_devices())
            all += (all.empty() ? "" : "; ") + d + ": " + core().get_property(d, ov::device::full_name);
        (void)std::snprintf(devices, devices_cap, "%s", all.c_str());
    });
}

int hone_ovrt_read(const char *xml, hone_ovrt_model **out, hone_ovrt_facts *facts, hone_backend_error *e)
{
    auto *m = new (std::nothrow) hone_ovrt_model;
    if (!m) return fail(e, RESOURCE, "out of memory");
    const std::string what = std::string("OpenVINO cannot read '") + xml + "'";
    int               rc = guarded(e, INPUT, what, [&] {
        try {
            m->model = core().read_model(xml);
        } catch (const std::exception &x) {
            // ir_deserializer.cpp, for an operator of another version of OpenVINO or of an extension
            if (!std::strstr(x.what(), "unsupported opset") && !std::strstr(x.what(), "doesn't contain the operation")) throw;
            throw refusal{ UNSUPPORTED, std::string("'") + xml + "': " + last_words(x) };
        }
        add_pooling(*m->model);
        const auto &model = *m->model;
        for (const auto &port : m->model->inputs())
            if (feed_of(port) == feed::unknown)
                throw refusal{ UNSUPPORTED, std::string("'") + xml + "' has an input '" + name_of(port) + "', which hone has nothing for" };
        const auto head = find_head(model);
        const int  logits = find_output(model, HONE_OVRT_LOGITS), hidden = find_output(model, HONE_OVRT_HIDDEN);
        *facts = hone_ovrt_facts{};
        facts->logits = logits >= 0;
        facts->hidden = hidden >= 0 || head;
        facts->pooled = find_output(model, HONE_OVRT_POOLED) >= 0;
        facts->cached = !model.get_variables().empty();
        facts->weights_bytes = constant_bytes(model);
        if (facts->logits) facts->n_vocab = last_dim(model.output(static_cast<size_t>(logits)).get_partial_shape());
        if (head) facts->width = last_dim(head->get_input_partial_shape(0));
        if (hidden >= 0) facts->width = last_dim(model.output(static_cast<size_t>(hidden)).get_partial_shape());
        if (!facts->logits && !facts->hidden && !facts->pooled)
            throw refusal{ UNSUPPORTED, std::string("'") + xml + "' has no output 'logits' or 'last_hidden_state'" };
        (void)std::snprintf(facts->name, sizeof facts->name, "%s", model.get_friendly_name().c_str());
        m->facts = *facts;
    });
    if (rc == OK) *out = m;
    else delete m;
    return rc;
}

void hone_ovrt_free(hone_ovrt_model *m) { delete m; }

int hone_ovrt_compile(hone_ovrt_model *m, const hone_ovrt_how *how, hone_backend_info *info, hone_backend_error *e)
{
    return guarded(e, RUNTIME, "OpenVINO cannot compile '" + m->model->get_friendly_name() + "' for the processor", [&] {
        const std::string asked = how->device;
        std::string       device = asked == "npu" ? "NPU" : "GPU", why;
        m->how = *how;
        m->how.device = nullptr;
        shape_graph(m);
        // An NPU takes no dynamic shapes, so "auto" has no use for it.
        if (asked != "cpu" && have(device, &why)) {
            try {
                compile_on(m, device);
            } catch (const std::exception &x) {
                why = device + " cannot take the model: " + last_words(x);
            }
        } else if (asked == "auto") {
            why.clear(); // content with what there is
        }
        if (m->device.empty()) compile_on(m, "CPU");
        std::string lower = m->device;
        std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
        (void)std::snprintf(info->device, sizeof info->device, "%s", lower.c_str());
        (void)std::snprintf(info->fallback, sizeof info->fallback, "%s", why.c_str());
        (void)std::snprintf(info->version, sizeof info->version, "%s", ov::get_openvino_version().buildNumber);
        const std::string precision = property(m->compiled, ov::hint::inference_precision.name()),
                          cache = m->facts.cached ? property(m->compiled, ov::hint::kv_cache_precision.name()) : "";
        (void)std::snprintf(info->description, sizeof info->description, "%s%s%s%s%s", m->facts.name, precision.empty() ? "" : ", computes in ",
                            precision.c_str(), cache.empty() ? "" : ", KV cache ", cache.c_str());
    });
}

int hone_ovrt_run(hone_ovrt_model *m, const int32_t *ids, size_t n, size_t past, const int64_t *rows, size_t n_rows, hone_backend_error *e)
{
    return guarded(e, RUNTIME, "OpenVINO cannot evaluate " + std::to_string(n) + " tokens at " + std::to_string(past), [&] {
        m->rows.assign(rows, rows + n_rows);
        set_inputs(m->request, m->compiled.inputs(), ids, n, past, m->rows);
        m->request.infer();
        m->out = m->request.get_output_tensor(0);
        const auto shape = m->out.get_shape();
        const bool pooled = m->how.kind == HONE_OVRT_POOLED;
        const size_t want = pooled ? 1 : m->by_rows ? n_rows : n;
        if (shape.empty() || ov::shape_size(shape) != want * shape.back())
            throw refusal{ RUNTIME, "OpenVINO gave " + std::to_string(ov::shape_size(shape)) + " values for " + std::to_string(want) + " rows" };
    });
}

const float *hone_ovrt_row(const hone_ovrt_model *m, size_t i, size_t *n_values)
{
    const bool one = m->how.kind == HONE_OVRT_POOLED;
    *n_values = m->out.get_shape().back();
    return m->out.data<const float>() + (one ? 0 : m->by_rows ? i : static_cast<size_t>(m->rows[i])) * *n_values;
}

void hone_ovrt_reset(hone_ovrt_model *m)
{
    if (!m->facts.cached) return;
    try {
        m->request.reset_state();
    } catch (const std::exception &x) { // the next request starts empty too
        std::fprintf(stderr, "%s\n", last_words(x).c_str());
        m->request = m->compiled.create_infer_request();
    }
}

int hone_ovrt_trim(hone_ovrt_model *m, size_t pos, size_t past, hone_backend_error *e)
{
    return guarded(e, RUNTIME, "OpenVINO cannot cut its states", [&] {
        std::map<std::string, ov::PartialShape> declared;
        for (const auto &v : m->model->get_variables()) declared[v->get_info().variable_id] = v->get_info().data_shape;
        for (auto &state : m->request.query_state()) {
            const ov::Tensor       all = state.get_state();
            const ov::PartialShape d = declared[state.get_name()];
            ov::Shape              shape = all.get_shape();
            std::ptrdiff_t         axis = 0, open = 0;
            // [batch, heads, tokens, width] as a rule: the tokens are along the one dimension behind the batch that is not fixed.
            for (std::ptrdiff_t i = 1; i < static_cast<std::ptrdiff_t>(shape.size()) && d.rank().is_static() && d.size() == shape.size(); i++)
                if (d[i].is_dynamic()) axis = i, open++;
            if (open != 1 || shape[axis] != past) throw refusal{ UNSUPPORTED, "state '" + state.get_name() + "' cannot be cut" };
            shape[axis] = pos;
            ov::Tensor kept(all.get_element_type(), shape);
            ov::Tensor(all, ov::Coordinate(shape.size(), 0), ov::Coordinate(shape)).copy_to(kept);
            state.set_state(kept);
        }
    });
}

int hone_ovrt_layers(hone_ovrt_model *m, const int32_t *ids, size_t n,
                     void (*sink)(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd), void *user, hone_backend_error *e)
{
    return guarded(e, RUNTIME, "OpenVINO cannot show the layers of '" + m->model->get_friendly_name() + "'", [&] {
        const auto twin = m->model->clone();
        const auto ports = find_layers(*twin, m->facts.width);
        if (ports.empty()) throw refusal{ UNSUPPORTED, "no operators of '" + m->model->get_friendly_name() + "' are named after layers" };
        show_only(twin, ports);
        auto compiled = core().compile_model(twin, m->device, properties(m->device, m->how));
        auto request = compiled.create_infer_request();
        set_inputs(request, compiled.inputs(), ids, n, 0, { static_cast<int64_t>(n) - 1 });
        request.infer();
        for (size_t i = 0; i < ports.size(); i++) {
            const ov::Tensor t = request.get_output_tensor(i);
            if (t.get_size() != n * m->facts.width)
                throw refusal{ RUNTIME, "layer " + std::to_string(i) + " gave " + std::to_string(t.get_size()) + " values for " +
                                            std::to_string(n) + " tokens" };
            sink(user, static_cast<uint32_t>(i), t.data<const float>(), n, m->facts.width);
        }
    });
}
