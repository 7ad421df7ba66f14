#!/usr/bin/env bash
# Every header compiles on its own; the public ones as strict C11.
set -u
root=${HONE_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
cc=${CC:-cc}
failed=0
cd "$root" || exit 1

# alone STD HEADER: compiles a file that includes nothing else
alone() {
    printf '#include "%s"\n' "$2" |
        "$cc" "-std=$1" -D_GNU_SOURCE= -Wall -Wextra -Wpedantic -Werror -Isrc -Iinclude \
            ${HONE_BUILD_DIR:+-isystem "$HONE_BUILD_DIR/onnx_proto"} -fsyntax-only -x c - || {
        echo "FAIL: $2 does not compile on its own as $1"
        failed=1
    }
}
shopt -s globstar nullglob
for h in include/hone/*.h; do alone c11 "${h#include/}"; done
for h in src/**/*.h; do
    case $h in src/backends/*) continue ;; esac # plug-ins see headers of their runtime
    alone c17 "${h#src/}"
done
# And the check can fail.
if printf 'int f(void) { return not_declared; }\n' | "$cc" -std=c11 -fsyntax-only -x c - 2>/dev/null; then
    echo "FAIL: the compiler accepts anything"
    failed=1
fi
exit $failed
