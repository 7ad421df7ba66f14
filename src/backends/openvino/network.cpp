// network.cpp - any network in OpenVINO, by the names of its inputs and outputs; and OpenVINO's own reader of ONNX as a way to IR.
#include "backends/openvino/guard.hpp"
#include "backends/openvino/shim.h"

#include <openvino/opsets/opset13.hpp>

#include <algorithm>
#include <cstring>
#include <set>
#include <sys/stat.h>

using namespace hone_ovrt;

struct hone_ovrt_net {
    std::shared_ptr<ov::Model>     model;
    ov::CompiledModel              compiled;
    ov::InferRequest               request;
    std::string                    device;
    std::vector<std::string>       names; // what the ports below point into: filled first, never changed after
    std::vector<hone_backend_port> in, out;
};

namespace {

const std::pair<ov::element::Type_t, int> types[] = {
    { ov::element::Type_t::f32, HONE_BACKEND_F32 }, { ov::element::Type_t::u8, HONE_BACKEND_U8 },   { ov::element::Type_t::i8, HONE_BACKEND_I8 },
    { ov::element::Type_t::u16, HONE_BACKEND_U16 }, { ov::element::Type_t::i16, HONE_BACKEND_I16 }, { ov::element::Type_t::i32, HONE_BACKEND_I32 },
    { ov::element::Type_t::i64, HONE_BACKEND_I64 }, { ov::element::Type_t::boolean, HONE_BACKEND_BOOL }, { ov::element::Type_t::f16, HONE_BACKEND_F16 },
    { ov::element::Type_t::f64, HONE_BACKEND_F64 }, { ov::element::Type_t::u32, HONE_BACKEND_U32 }, { ov::element::Type_t::u64, HONE_BACKEND_U64 },
    { ov::element::Type_t::bf16, HONE_BACKEND_BF16 },
};

int number_of(const ov::element::Type &t)
{
    for (const auto &row : types)
        if (t == row.first) return row.second;
    return 0;
}

ov::element::Type type_of(int number)
{
    for (const auto &row : types)
        if (number == row.second) return row.first;
    throw refusal{ INPUT, "a value of type " + std::to_string(number) + ", which OpenVINO has no element for" };
}

std::string name_of(const ov::Output<const ov::Node> &port)
{
    // A port of several names is asked for by any of them; the least is the same in every run.
    const auto &names = port.get_names();
    return names.empty() ? port.get_node()->get_friendly_name() : *std::min_element(names.begin(), names.end());
}

bool is_file(const std::string &path)
{
    struct stat st;
    return stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

std::string locate(const std::string &path)
{
    struct stat st;
    if (stat(path.c_str(), &st) != 0) throw refusal{ INPUT, "no file '" + path + "'" };
    if (!S_ISDIR(st.st_mode)) return path;
    for (const char *name : { "openvino_model.xml", "model.xml", "model.onnx" })
        if (is_file(path + "/" + name)) return path + "/" + name;
    throw refusal{ INPUT, "there is no openvino_model.xml, model.xml or model.onnx in '" + path + "'" };
}

std::shared_ptr<ov::Model> read(const std::string &file)
{
    try {
        return core().read_model(file);
    } catch (const std::exception &x) {
        // ir_deserializer.cpp; frontends/onnx/frontend/src/frontend.cpp
        const char *const unknown[] = { "unsupported opset", "doesn't contain the operation", "No conversion rule found for operations", "not supported" };
        for (const char *w : unknown)
            if (std::strstr(x.what(), w)) throw refusal{ UNSUPPORTED, "OpenVINO does not know an operator of '" + file + "': " + last_words(x) };
        throw;
    }
}

uint64_t constant_bytes(const ov::Model &m)
{
    std::set<const void *> seen;
    uint64_t               sum = 0;
    for (const auto &n : m.get_ops()) {
        const auto c = ov::as_type_ptr<ov::opset13::Constant>(n);
        if (c && seen.insert(c->get_data_ptr()).second) sum += c->get_byte_size();
    }
    return sum;
}

ov::AnyMap properties(const std::string &device, const hone_backend_open &how)
{
    ov::AnyMap p = { ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY) };
    if (device == "CPU") {
        p.insert(ov::inference_num_threads(static_cast<int32_t>(how.threads ? how.threads : 1)));
        p.insert(ov::num_streams(1));
        p.insert(ov::hint::enable_cpu_pinning(false));
    }
    if (how.exact) p.insert(ov::hint::inference_precision(ov::element::f32));
    return p;
}

void compile_on(hone_ovrt_net *n, const std::string &device, const hone_backend_open &how)
{
    n->compiled = core().compile_model(n->model, device, properties(device, how));
    n->request = n->compiled.create_infer_request();
    n->device = device;
}

// On the device that is asked for, else on the processor; the reason.
std::string compile(hone_ovrt_net *n, const hone_backend_open &how)
{
    const std::string asked = how.device ? how.device : "cpu";
    std::string       why;
    if (asked != "cpu" && asked != "gpu" && asked != "npu" && asked != "auto") throw refusal{ UNSUPPORTED, "OpenVINO has no device '" + asked + "'" };
    if (asked != "cpu") {
        const std::string device = asked == "npu" ? "NPU" : "GPU";
        try {
            compile_on(n, device, how);
        } catch (const std::exception &x) {
            if (asked != "auto") why = device + " cannot take the model: " + last_words(x);
        }
    }
    if (n->device.empty()) compile_on(n, "CPU", how);
    return why;
}

std::vector<hone_backend_port> ports_of(hone_ovrt_net *n, const std::vector<ov::Output<const ov::Node>> &ports)
{
    std::vector<hone_backend_port> all;
    for (const auto &port : ports) {
        hone_backend_port p = {};
        const auto        shape = port.get_partial_shape();
        if (shape.rank().is_dynamic() || shape.size() > HONE_BACKEND_RANK_MAX)
            throw refusal{ UNSUPPORTED, "'" + name_of(port) + "' has no rank that is known, or one above " + std::to_string(HONE_BACKEND_RANK_MAX) };
        n->names.push_back(name_of(port));
        p.name = n->names.back().c_str();
        p.type = number_of(port.get_element_type());
        p.rank = static_cast<uint32_t>(shape.size());
        for (size_t i = 0; i < shape.size(); i++) {
            const auto &d = shape[static_cast<std::ptrdiff_t>(i)];
            p.dims[i] = d.is_static() ? d.get_length() : -1;
            p.symbols[i] = "";
        }
        all.push_back(p);
    }
    return all;
}

// The number of the port of that name, or -1.
int find(const std::vector<ov::Output<const ov::Node>> &ports, const char *name)
{
    for (size_t i = 0; i < ports.size(); i++)
        if (ports[i].get_names().count(name) || ports[i].get_node()->get_friendly_name() == name) return static_cast<int>(i);
    return -1;
}

void give(hone_ovrt_net *n, const hone_backend_value *in, size_t n_in)
{
    const auto        ports = n->compiled.inputs();
    std::vector<bool> given(ports.size(), false);
    for (size_t i = 0; i < n_in; i++) {
        const int k = find(ports, in[i].name);
        if (k < 0) continue; // more than it wants is no mistake
        const auto      &port = ports[static_cast<size_t>(k)];
        const ov::Shape  shape(in[i].dims, in[i].dims + in[i].rank);
        const auto       type = type_of(in[i].type);
        if (type != port.get_element_type())
            throw refusal{ INPUT, std::string("input '") + in[i].name + "' is given as " + type.to_string() + ", the network wants " + port.get_element_type().to_string() };
        if (ov::shape_size(shape) * type.size() != in[i].bytes)
            throw refusal{ INPUT, std::string("input '") + in[i].name + "' is given with " + std::to_string(in[i].bytes) + " bytes, its shape needs another number" };
        // Inputs are not written to.
        n->request.set_input_tensor(static_cast<size_t>(k), ov::Tensor(type, shape, const_cast<void *>(in[i].data)));
        given[static_cast<size_t>(k)] = true;
    }
    for (size_t k = 0; k < ports.size(); k++)
        if (!given[k]) throw refusal{ INPUT, "nothing is given for the input '" + name_of(ports[k]) + "'" };
}

} // namespace

int hone_ovrt_net_open(const hone_backend_open *how, hone_ovrt_net **out, hone_backend_info *info, hone_backend_error *e)
{
    auto *n = new (std::nothrow) hone_ovrt_net;
    if (!n) return fail(e, RESOURCE, "out of memory");
    int rc = guarded(e, INPUT, std::string("OpenVINO cannot read '") + how->path + "'", [&] {
        n->model = read(locate(how->path));
        for (size_t i = 0; i < how->n_outputs; i++) n->model->add_output(how->outputs[i]);
        info->weights_bytes = constant_bytes(*n->model);
    });
    if (rc == OK)
        rc = guarded(e, RUNTIME, std::string("OpenVINO cannot compile '") + how->path + "'", [&] {
            const std::string why = compile(n, *how);
            n->names.reserve(n->compiled.inputs().size() + n->compiled.outputs().size());
            n->in = ports_of(n, n->compiled.inputs());
            n->out = ports_of(n, n->compiled.outputs());
            std::string lower = n->device;
            std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
            const auto precision = n->compiled.get_property(ov::hint::inference_precision.name()).as<std::string>();
            (void)std::snprintf(info->device, sizeof info->device, "%s", lower.c_str());
            (void)std::snprintf(info->fallback, sizeof info->fallback, "%s", why.c_str());
            (void)std::snprintf(info->version, sizeof info->version, "%s", ov::get_openvino_version().buildNumber);
            (void)std::snprintf(info->description, sizeof info->description, "%s, floats in %s", n->model->get_friendly_name().c_str(), precision.c_str());
        });
    if (rc == OK) *out = n;
    else delete n;
    return rc;
}

void hone_ovrt_net_free(hone_ovrt_net *n) { delete n; }

void hone_ovrt_net_signature(const hone_ovrt_net *n, const hone_backend_port **in, size_t *n_in, const hone_backend_port **out, size_t *n_out)
{
    *in = n->in.data();
    *n_in = n->in.size();
    *out = n->out.data();
    *n_out = n->out.size();
}

int hone_ovrt_net_infer(hone_ovrt_net *n, const hone_backend_value *in, size_t n_in, void (*sink)(void *user, const hone_backend_value *value),
                        void *user, hone_backend_error *e)
{
    return guarded(e, RUNTIME, "OpenVINO cannot run '" + n->model->get_friendly_name() + "'", [&] {
        give(n, in, n_in);
        n->request.infer();
        for (size_t i = 0; i < n->out.size(); i++) {
            const ov::Tensor   t = n->request.get_output_tensor(i);
            const ov::Shape    shape = t.get_shape();
            hone_backend_value v = {};
            v.name = n->out[i].name;
            v.type = number_of(t.get_element_type());
            v.rank = static_cast<uint32_t>(shape.size());
            for (size_t k = 0; k < shape.size(); k++) v.dims[k] = static_cast<int64_t>(shape[static_cast<std::ptrdiff_t>(k)]);
            v.data = t.data();
            v.bytes = t.get_byte_size();
            if (v.type == 0) throw refusal{ UNSUPPORTED, std::string("output '") + v.name + "' is of type " + t.get_element_type().to_string() };
            sink(user, &v);
        }
    });
}

int hone_ovrt_translate(const char *from, const char *to, bool f16, hone_backend_error *e)
{
    const int rc = guarded(e, UNSUPPORTED, "OpenVINO cannot turn the model into IR", [&] { ov::save_model(read(from), to, f16); });
    // What its own reader does not take is no output: it has been seen to write nodes that it does not know.
    return rc != OK ? rc : guarded(e, RUNTIME, "OpenVINO does not read the IR that it has written", [&] { (void)read(to); });
}
