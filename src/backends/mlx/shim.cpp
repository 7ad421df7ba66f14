#include "backends/mlx/shim.h"
#include <cstdio>
#include <cstring>
#include <limits>
#include <mlx/mlx.h>
#include <mlx/version.h>
#include <string>
#include <unordered_map>

namespace mx = mlx::core;

struct hone_mx_session {
    std::vector<std::optional<mx::array>>      swept{ 1 }; // number 0 is none
    std::vector<std::optional<mx::array>>      kept;
    std::unordered_map<std::string, mx::array> files;
    std::string                                failure;
    bool                                       failed = false, memory = false;
};

namespace {

constexpr uint32_t KEPT = 1u << 31;

std::optional<mx::array> &place(hone_mx_session *s, hone_mx x)
{
    return x & KEPT ? s->kept.at(x & ~KEPT) : s->swept.at(x);
}

const mx::array &get(hone_mx_session *s, hone_mx x)
{
    std::optional<mx::array> &a = place(s, x);
    if (!a) throw std::runtime_error("an array is used after its end");
    return *a;
}

std::optional<mx::array> maybe(hone_mx_session *s, hone_mx x)
{
    return x ? std::optional<mx::array>(get(s, x)) : std::nullopt;
}

template <class F> void guard(hone_mx_session *s, F f)
{
    if (s->failed) return;
    try {
        f();
    } catch (const std::bad_alloc &) {
        s->failed = s->memory = true;
        s->failure = "out of memory";
    } catch (const std::exception &e) {
        s->failed = true;
        s->failure = e.what();
        s->memory = s->failure.find("allocate") != std::string::npos;
    } catch (...) {
        s->failed = true;
        s->failure = "an unknown exception";
    }
}

// What f gives becomes an array of the session.
template <class F> hone_mx make(hone_mx_session *s, F f)
{
    hone_mx out = 0;
    guard(s, [&] {
        s->swept.emplace_back(f());
        out = static_cast<hone_mx>(s->swept.size() - 1);
    });
    return out;
}

mx::Dtype type_of(hone_mx_type t)
{
    switch (t) {
    case HONE_MX_F16: return mx::float16;
    case HONE_MX_BF16: return mx::bfloat16;
    case HONE_MX_I32: return mx::int32;
    case HONE_MX_BOOL: return mx::bool_;
    case HONE_MX_F32: break;
    }
    return mx::float32;
}

mx::Shape shape_of(const int *dims, size_t n) { return mx::Shape(dims, dims + n); }

// A scalar in x's own type: it must not widen the other side.
mx::array number_like(const mx::array &x, double v) { return mx::array(static_cast<float>(v), x.dtype()); }

template <class T> const T *read_as(hone_mx_session *s, hone_mx x, mx::Dtype t)
{
    const T *out = nullptr;
    guard(s, [&] {
        mx::array a = mx::contiguous(mx::astype(get(s, x), t));
        a.eval();
        place(s, x) = a;
        out = a.data<T>();
    });
    return out;
}

template <class T> hone_mx copied(hone_mx_session *s, const T *values, const int *dims, size_t n, mx::Dtype t)
{
    return make(s, [&] { return mx::array(values, shape_of(dims, n), t); });
}

} // namespace

// --- the session

const char *hone_mx_version(void) { return mx::version(); }

bool hone_mx_gpu(char *name, size_t cap)
{
    try {
        if (!mx::is_available(mx::Device(mx::Device::gpu)) || mx::device_count(mx::Device::gpu) < 1) return false;
        const auto &info = mx::device_info(mx::Device(mx::Device::gpu));
        auto        at = info.find("device_name");
        bool        known = at != info.end() && std::holds_alternative<std::string>(at->second);
        (void)std::snprintf(name, cap, "%s", known ? std::get<std::string>(at->second).c_str() : "gpu");
        return true;
    } catch (...) {
        return false;
    }
}

hone_mx_session *hone_mx_open(bool gpu)
{
    try {
        mx::set_default_device(mx::Device(gpu ? mx::Device::gpu : mx::Device::cpu));
        return new hone_mx_session;
    } catch (...) {
        return nullptr;
    }
}

void hone_mx_close(hone_mx_session *s) { delete s; }

const char *hone_mx_failure(const hone_mx_session *s, bool *memory)
{
    *memory = s->memory;
    return s->failed ? s->failure.c_str() : nullptr;
}

void hone_mx_forget_failure(hone_mx_session *s) { s->failed = s->memory = false; }

hone_mx_memory hone_mx_memory_of(bool reset_peak)
{
    hone_mx_memory m = { mx::get_active_memory(), mx::get_peak_memory() };
    if (reset_peak) mx::reset_peak_memory();
    return m;
}

// --- life of arrays

hone_mx hone_mx_keep(hone_mx_session *s, hone_mx x)
{
    hone_mx out = 0;
    guard(s, [&] {
        s->kept.emplace_back(get(s, x));
        out = static_cast<hone_mx>(s->kept.size() - 1) | KEPT;
    });
    return out;
}

void hone_mx_assign(hone_mx_session *s, hone_mx kept, hone_mx x)
{
    guard(s, [&] { place(s, kept) = get(s, x); });
}

void hone_mx_drop(hone_mx_session *s, hone_mx x)
{
    if (x) place(s, x).reset();
}

void hone_mx_sweep(hone_mx_session *s) { s->swept.resize(1); }

void hone_mx_eval(hone_mx_session *s, const hone_mx *x, size_t n)
{
    guard(s, [&] {
        std::vector<mx::array> all;
        for (size_t i = 0; i < n; i++)
            if (x[i]) all.push_back(get(s, x[i]));
        mx::eval(all);
    });
}

const float *hone_mx_read(hone_mx_session *s, hone_mx x) { return read_as<float>(s, x, mx::float32); }
const int32_t *hone_mx_read_i32(hone_mx_session *s, hone_mx x) { return read_as<int32_t>(s, x, mx::int32); }

// --- where arrays come from

void hone_mx_file_open(hone_mx_session *s, const char *path)
{
    guard(s, [&] {
        // Load runs on the CPU whatever the device is.
        auto loaded = mx::load_safetensors(std::string(path), mx::Device(mx::Device::cpu));
        for (auto &[name, a] : loaded.first) s->files.insert_or_assign(name, a);
    });
}

hone_mx hone_mx_file_tensor(hone_mx_session *s, const char *name)
{
    return make(s, [&] { return s->files.at(name); });
}

void hone_mx_files_close(hone_mx_session *s) { s->files.clear(); }

hone_mx hone_mx_f32(hone_mx_session *s, const float *values, const int *dims, size_t n_dims) { return copied(s, values, dims, n_dims, mx::float32); }
hone_mx hone_mx_i32(hone_mx_session *s, const int32_t *values, const int *dims, size_t n_dims) { return copied(s, values, dims, n_dims, mx::int32); }
hone_mx hone_mx_bool(hone_mx_session *s, const uint8_t *values, const int *dims, size_t n_dims) { return copied(s, values, dims, n_dims, mx::bool_); }

hone_mx hone_mx_zeros(hone_mx_session *s, const int *dims, size_t n_dims, hone_mx_type t)
{
    return make(s, [&] { return mx::zeros(shape_of(dims, n_dims), type_of(t)); });
}

// --- operations

hone_mx hone_mx_cast(hone_mx_session *s, hone_mx x, hone_mx_type t)
{
    return make(s, [&] { return mx::astype(get(s, x), type_of(t)); });
}

hone_mx hone_mx_like(hone_mx_session *s, hone_mx x, hone_mx model)
{
    return make(s, [&] { return mx::astype(get(s, x), get(s, model).dtype()); });
}

hone_mx hone_mx_reshape(hone_mx_session *s, hone_mx x, const int *dims, size_t n_dims)
{
    return make(s, [&] { return mx::reshape(get(s, x), shape_of(dims, n_dims)); });
}

hone_mx hone_mx_transpose(hone_mx_session *s, hone_mx x, const int *axes, size_t n_axes)
{
    return make(s, [&] { return mx::transpose(get(s, x), std::vector<int>(axes, axes + n_axes)); });
}

hone_mx hone_mx_slice(hone_mx_session *s, hone_mx x, int axis, int from, int to)
{
    return make(s, [&] {
        const mx::array &a = get(s, x);
        size_t           d = axis < 0 ? a.ndim() - static_cast<size_t>(-axis) : static_cast<size_t>(axis);
        mx::Shape        start(a.ndim(), 0), stop = a.shape();
        start.at(d) = from;
        stop.at(d) = to;
        return mx::slice(a, start, stop);
    });
}

hone_mx hone_mx_put(hone_mx_session *s, hone_mx x, hone_mx part, int axis, int from)
{
    return make(s, [&] {
        const mx::array &a = get(s, x), &p = get(s, part);
        size_t           d = static_cast<size_t>(axis);
        mx::Shape        start(a.ndim(), 0), stop = a.shape();
        start.at(d) = from;
        stop.at(d) = from + p.shape(axis);
        return mx::slice_update(a, p, start, stop);
    });
}

hone_mx hone_mx_concat(hone_mx_session *s, const hone_mx *x, size_t n, int axis)
{
    return make(s, [&] {
        std::vector<mx::array> all;
        for (size_t i = 0; i < n; i++) all.push_back(get(s, x[i]));
        return mx::concatenate(all, axis);
    });
}

hone_mx hone_mx_take(hone_mx_session *s, hone_mx x, hone_mx indices, int axis)
{
    return make(s, [&] { return mx::take(get(s, x), get(s, indices), axis); });
}

hone_mx hone_mx_take_along(hone_mx_session *s, hone_mx x, hone_mx indices, int axis)
{
    return make(s, [&] { return mx::take_along_axis(get(s, x), get(s, indices), axis); });
}

hone_mx hone_mx_apply(hone_mx_session *s, hone_mx_unary op, hone_mx x)
{
    return make(s, [&] {
        const mx::array &a = get(s, x);
        switch (op) {
        case HONE_MX_SIGMOID: return mx::sigmoid(a);
        case HONE_MX_TANH: return mx::tanh(a);
        case HONE_MX_ERF: return mx::erf(a);
        case HONE_MX_RELU: return mx::maximum(a, number_like(a, 0));
        case HONE_MX_SQRT: break;
        }
        return mx::sqrt(a);
    });
}

hone_mx hone_mx_combine(hone_mx_session *s, hone_mx_binary op, hone_mx x, hone_mx y)
{
    return make(s, [&] {
        const mx::array &a = get(s, x), &b = get(s, y);
        switch (op) {
        case HONE_MX_ADD: return mx::add(a, b);
        case HONE_MX_MUL: return mx::multiply(a, b);
        case HONE_MX_MAX: return mx::maximum(a, b);
        case HONE_MX_DIV: break;
        }
        return mx::divide(a, b);
    });
}

hone_mx hone_mx_scale(hone_mx_session *s, hone_mx x, double number)
{
    return make(s, [&] { return mx::multiply(get(s, x), number_like(get(s, x), number)); });
}

hone_mx hone_mx_offset(hone_mx_session *s, hone_mx x, double number)
{
    return make(s, [&] { return mx::add(get(s, x), number_like(get(s, x), number)); });
}

hone_mx hone_mx_where(hone_mx_session *s, hone_mx mask, hone_mx x, double otherwise)
{
    return make(s, [&] { return mx::where(get(s, mask), get(s, x), number_like(get(s, x), otherwise)); });
}

hone_mx hone_mx_sum(hone_mx_session *s, hone_mx x, int axis, bool keep)
{
    return make(s, [&] { return mx::sum(get(s, x), axis, keep); });
}

hone_mx hone_mx_softmax(hone_mx_session *s, hone_mx x)
{
    return make(s, [&] { return mx::softmax(get(s, x), std::vector<int>{ -1 }, true); });
}

hone_mx hone_mx_descending(hone_mx_session *s, hone_mx x)
{
    return make(s, [&] { return mx::argsort(mx::negative(get(s, x)), -1); });
}

hone_mx hone_mx_matmul(hone_mx_session *s, hone_mx x, hone_mx y)
{
    return make(s, [&] { return mx::matmul(get(s, x), get(s, y)); });
}

hone_mx hone_mx_linear(hone_mx_session *s, hone_mx x, const hone_mx_matrix *m)
{
    return make(s, [&] {
        if (!m->scales) return mx::matmul(get(s, x), mx::swapaxes(get(s, m->w), -1, -2));
        return mx::quantized_matmul(get(s, x), get(s, m->w), get(s, m->scales), maybe(s, m->biases), true, m->group, m->bits, m->mode);
    });
}

hone_mx hone_mx_gather(hone_mx_session *s, hone_mx x, const hone_mx_matrix *m, hone_mx which)
{
    return make(s, [&] {
        if (!m->scales) return mx::gather_mm(get(s, x), mx::swapaxes(get(s, m->w), -1, -2), std::nullopt, get(s, which));
        return mx::gather_qmm(get(s, x), get(s, m->w), get(s, m->scales), maybe(s, m->biases), std::nullopt, get(s, which), true, m->group, m->bits,
                              m->mode);
    });
}

hone_mx hone_mx_rows(hone_mx_session *s, const hone_mx_matrix *m, hone_mx indices, hone_mx_type t)
{
    return make(s, [&] {
        const mx::array &at = get(s, indices);
        mx::array        w = mx::take(get(s, m->w), at, 0);
        if (!m->scales) return mx::astype(w, type_of(t));
        std::optional<mx::array> biases = maybe(s, m->biases);
        if (biases) biases = mx::take(*biases, at, 0);
        return mx::dequantize(w, mx::take(get(s, m->scales), at, 0), biases, m->group, m->bits, m->mode, std::nullopt, type_of(t));
    });
}

hone_mx hone_mx_rms_norm(hone_mx_session *s, hone_mx x, hone_mx weight, double eps)
{
    return make(s, [&] { return mx::fast::rms_norm(get(s, x), maybe(s, weight), static_cast<float>(eps)); });
}

hone_mx hone_mx_layer_norm(hone_mx_session *s, hone_mx x, hone_mx weight, hone_mx bias, double eps)
{
    return make(s, [&] { return mx::fast::layer_norm(get(s, x), maybe(s, weight), maybe(s, bias), static_cast<float>(eps)); });
}

hone_mx hone_mx_rope(hone_mx_session *s, hone_mx x, int dim, int first, hone_mx period)
{
    return make(s, [&] { return mx::fast::rope(get(s, x), dim, false, std::nullopt, 1.0f, first, get(s, period)); });
}

hone_mx hone_mx_attention(hone_mx_session *s, hone_mx q, hone_mx k, hone_mx v, double scale, hone_mx mask, bool causal)
{
    return make(s, [&] {
        return mx::fast::scaled_dot_product_attention(get(s, q), get(s, k), get(s, v), static_cast<float>(scale), causal && !mask ? "causal" : "",
                                                      maybe(s, mask));
    });
}
