#!/usr/bin/env bash
# The arithmetic of `make quality`: intervals, pairs, equal bytes, what is met and what is red.
set -euo pipefail
cd "${HONE_SOURCE_DIR:-.}"
PYTHONDONTWRITEBYTECODE=1 python3 tests/perf/quality --self-test
# The checks can fail.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cp tests/perf/quality tests/perf/quality_*.py tests/perf/pages.py "$tmp"
sed -i 's/^EQUAL = 0.01/EQUAL = 0.5/' "$tmp/quality_numbers.py"
if PYTHONDONTWRITEBYTECODE=1 python3 "$tmp/quality" --self-test 2>"$tmp/err"; then echo "a file twice too large was taken for equal"; exit 1; fi
grep -q AssertionError "$tmp/err"
cp tests/perf/quality_*.py "$tmp"
sed -i 's/"met" if mine/"met" if True or mine/' "$tmp/quality_digits.py"
if PYTHONDONTWRITEBYTECODE=1 python3 "$tmp/quality" --self-test 2>"$tmp/err"; then echo "fewer right answers than a peer's were taken for enough"; exit 1; fi
grep -q AssertionError "$tmp/err"
