#include "backends/openvino/guard.hpp"

#include <cstdio>
#include <sstream>

namespace hone_ovrt {

int fail(hone_backend_error *e, int code, const std::string &cause)
{
    (void)std::snprintf(e->why, sizeof e->why, "%s", cause.c_str());
    return code;
}

static bool starts(const std::string &s, const char *with) { return s.rfind(with, 0) == 0; }

std::string last_words(const std::exception &e)
{
    // "Exception from FILE:LINE:" or "Check 'CONDITION' failed at FILE:LINE:" each on a line of its own, then the words (openvino
    // src/core/src/except.cpp, make_what).  A check may have no words.  A front end ends with a summary (src/frontends/common_translators/src/
    // unconverted_ops_report.cpp).
    std::istringstream in(e.what());
    std::string        line, check, words, summary;
    while (std::getline(in, line)) {
        const size_t from = line.find_first_not_of(" \t\r"), to = line.find_last_not_of(" \t\r");
        if (from == std::string::npos) continue;
        line = line.substr(from, to - from + 1);
        if (starts(line, "Exception from ")) continue;
        if (!summary.empty()) { // of a front end's report: one line for each kind of failure, after a log that may be long
            summary += (summary.back() == ':' ? " " : "; ") + line.substr(starts(line, "-- ") ? 3 : 0);
        } else if (line == "Summary:") {
            summary = line;
        } else if (starts(line, "Check '") && words.empty()) {
            check = line;
        } else if (words.empty()) {
            words = line;
        }
    }
    if (!summary.empty()) return words + " " + summary;
    if (!words.empty()) return words;
    return check.empty() ? e.what() : check;
}

ov::Core &core()
{
    static ov::Core *const one = new ov::Core;
    return *one;
}

} // namespace hone_ovrt
