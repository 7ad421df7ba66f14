#!/usr/bin/env bash
# deps/llamacpp.sh: a finished folder is used as it is, silently; one with a changed library is not trusted.
set -u
root=${HONE_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
script=$root/deps/llamacpp.sh
prefix=$("$script" --prefix) || { echo "FAIL: --prefix exits $?"; exit 1; }
[ -f "$prefix/SHA256SUMS" ] || { echo "skipped: llama.cpp is not built"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }

# A copy in a cache of its own, and a PATH without the programs that a build needs: any attempt to build ends at once.
mkdir "$tmp/cache" "$tmp/bin"
mkdir "$tmp/cache/${prefix##*/}"
for d in include lib LICENSE VERSION SHA256SUMS; do cp -a "$prefix/$d" "$tmp/cache/${prefix##*/}/"; done
for p in bash gcc g++ sha256sum head cut nproc mkdir flock rm cat as ld; do ln -s "$(command -v $p)" "$tmp/bin/$p"; done
try() { env -i PATH="$tmp/bin" HOME="$tmp" HONE_CACHE="$tmp/cache" "$script" "$@" 2>&1; }

out=$(try) || fail "a whole folder: exit $?"
[ -z "$out" ] || fail "a whole folder: says '$out'"
[ "$(try --prefix)" = "$tmp/cache/${prefix##*/}" ] || fail "the cache is not where HONE_CACHE says: $(try --prefix)"

printf 'x' >>"$tmp/cache/${prefix##*/}/lib/libllama.so.0" || exit 1
out=$(try) && fail "a changed library is accepted"
[[ $out == *"'python3' is missing; run tools/setup"* ]] || fail "a changed library: says '$out'"

out=$(try --nonsense); rc=$?
[ $rc -eq 2 ] || fail "a wrong option: exit $rc"
exit $failed
