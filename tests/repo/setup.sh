#!/usr/bin/env bash
# tools/setup: does nothing when nothing is missing; without root and sudo one line names what is missing.
set -u
root=${HONE_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }

# A Debian of our own: programs that setup may see, and nothing else.
mkdir "$tmp/bin"
for p in bash sed cat dirname env mktemp rm tail; do ln -s "$(command -v $p)" "$tmp/bin/$p"; done
printf '#!/bin/sh\necho "$UID_TO_SHOW"\n' >"$tmp/bin/id"
# shellcheck disable=SC2016  # for the fake programs
printf '#!/bin/sh\nfor a; do :; done\ncase " $MISSING " in *" $a "*) exit 1 ;; esac\nprintf installed\n' >"$tmp/bin/dpkg-query"
printf '#!/bin/sh\necho "${ARCH:-amd64}"\n' >"$tmp/bin/dpkg"
printf '#!/bin/sh\necho "$@" >>"%s/apt.log"\nexit "${APT_RC:-0}"\n' "$tmp" >"$tmp/bin/apt-get"
chmod +x "$tmp/bin/"*
# setup VARIABLE=VALUE...: prints what it says
setup() { env -i PATH="$tmp/bin" "$@" "$root/tools/setup" 2>&1 </dev/null; }

out=$(setup UID_TO_SHOW=1000 MISSING=) || fail "nothing missing, but exit $?"
[ -z "$out" ] || fail "nothing missing, but it says '$out'"

out=$(setup UID_TO_SHOW=1000 MISSING="cmake clang") && fail "cmake is missing and there is no root, but exit 0"
want="setup: neither root nor sudo here; install these and run again: cmake clang"
[ "$out" = "$want" ] || fail "said '$out', wanted '$want'"
[ ! -e "$tmp/apt.log" ] || fail "ran apt-get without root: $(cat "$tmp/apt.log")"

setup UID_TO_SHOW=0 MISSING="cmake" >/dev/null || fail "root cannot install: exit $?"
[ "$(tail -n 1 "$tmp/apt.log" 2>/dev/null)" = "-q -y install --no-install-recommends cmake" ] || fail "apt-get got: $(cat "$tmp/apt.log")"

out=$(setup UID_TO_SHOW=1000 MISSING="qemu-user") && fail "what amd64 alone needs is missing, but exit 0"
[[ $out == *" qemu-user" ]] || fail "what amd64 alone needs is missing, and it says '$out'"
out=$(setup UID_TO_SHOW=1000 MISSING="qemu-user" ARCH=arm64) || fail "arm64 asks for what amd64 alone needs: '$out'"

out=$(setup UID_TO_SHOW=0 MISSING="cmake" APT_RC=100) && fail "apt-get failed, but exit 0"
[[ $out == *"apt-get failed; install by hand and run again: cmake" ]] || fail "apt-get failed and it says '$out'"
exit $failed
