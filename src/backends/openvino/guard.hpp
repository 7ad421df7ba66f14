// guard.hpp - from OpenVINO's exceptions to numbers and one line of text; and the one ov::Core of the process.
#ifndef HONE_BACKENDS_OPENVINO_GUARD_HPP
#define HONE_BACKENDS_OPENVINO_GUARD_HPP
#include "hone/backend.h"

#include <openvino/openvino.hpp>

#include <string>

namespace hone_ovrt {

enum { OK = 0, INPUT = 3, UNSUPPORTED = 4, RUNTIME = 5, RESOURCE = 6 };

// Thrown by our own code: number and cause are known.
struct refusal {
    int         code;
    std::string cause;
};

int fail(hone_backend_error *e, int code, const std::string &cause);

// The line of an exception's text that says what is wrong: OpenVINO puts the places in its source before it.
std::string last_words(const std::exception &e);

// Never destroyed: its libraries are not made to be unloaded at exit.
ov::Core &core();

// Runs body; an exception of OpenVINO becomes code with the cause what, and its text goes to stderr.
template <class Body>
int guarded(hone_backend_error *e, int code, const std::string &what, Body body)
{
    try {
        body();
        return OK;
    } catch (const refusal &r) {
        return fail(e, r.code, r.cause);
    } catch (const std::bad_alloc &) {
        return fail(e, RESOURCE, "OpenVINO has no memory: " + what);
    } catch (const std::exception &x) {
        std::fprintf(stderr, "%s\n", last_words(x).c_str());
        return fail(e, code, what);
    } catch (...) {
        return fail(e, code, what + " (an exception of an unknown kind)");
    }
}

} // namespace hone_ovrt
#endif
