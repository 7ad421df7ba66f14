#!/usr/bin/env bash
# The sum at the end of `make test` counts what ctest really saw: a failure, a time-out, a crash and a program that was
# never built are failures; only a test that said "skipped" is skipped.
set -u
root=${HONE_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cat >"$tmp/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.22)
project(counting NONE)
enable_testing()
add_test(NAME good COMMAND true)
add_test(NAME good_too COMMAND true)
add_test(NAME bad COMMAND false)
add_test(NAME skipped COMMAND sh -c "exit 77")
set_tests_properties(skipped PROPERTIES SKIP_RETURN_CODE 77)
add_test(NAME never_built COMMAND /nowhere/program)
add_test(NAME hangs COMMAND sleep 60)
set_tests_properties(hangs PROPERTIES TIMEOUT 1)
add_test(NAME crashes COMMAND sh -c "kill -s SEGV $$")
CMAKE
cmake -S "$tmp" -B "$tmp/b" >/dev/null || exit 1
ctest --test-dir "$tmp/b" --output-junit "$tmp/junit.xml" >/dev/null 2>&1
got=$("$root/tools/junit-count" "$tmp/junit.xml")
if [ "$got" != "2 4 1" ]; then echo "FAIL: counted '$got', wanted '2 4 1'"; exit 1; fi
[ "$("$root/tools/junit-count" --failed "$tmp/junit.xml" | sort | tr '\n' ' ')" = "bad crashes hangs never_built " ] || { echo "FAIL: names of failed tests"; exit 1; }
if "$root/tools/junit-count" "$tmp/missing.xml" 2>/dev/null; then echo "FAIL: counts a file that is not there"; exit 1; fi
