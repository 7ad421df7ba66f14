#!/usr/bin/env bash
# hone probe: this machine and every named target, as a person and as a document; limits of control groups hold.
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
validate=$HONE_SOURCE_DIR/tests/tools/validate
field() { /usr/bin/python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$tmp/doc" "$1"; }

"$HONE" probe --json >"$tmp/doc" 2>/dev/null || fail "probe exits $?"
"$validate" probe "$tmp/doc" || failed=1
[ "$(field 'd["target"]["kind"]')" = host ] || fail "the target is no host"
[ "$(field 'd["cpu"]["cores"] >= 1 and d["cpu"]["threads_usable"] >= 1')" = True ] || fail "no cores"
[ "$(field 'd["memory"]["read_gb_s"] is None or d["memory"]["read_gb_s"] > 0.1')" = True ] || fail "memory bandwidth"
[ "$(field 'd["memory"]["limit_bytes"] <= d["memory"]["total_bytes"]')" = True ] || fail "the limit is over what is installed"
# Every null has its reason, in every section.
[ "$(field '[(s, k) for s, o in d.items() if isinstance(o, dict) for k, v in o.items() if v is None and not o.get("not_measured", {}).get(k)
             and (s, k) != ("policy", "package_bytes")]')" = "[]" ] || fail "a null without a reason: $(field '[(s, k) for s, o in d.items() if isinstance(o, dict) for k, v in o.items() if v is None and not o.get("not_measured", {}).get(k)]')"
if [ "$(nproc)" = "$(getconf _NPROCESSORS_ONLN)" ] && [ "$(nproc)" -gt 1 ]; then
    taskset -c 0 "$HONE" probe --quick --json >"$tmp/doc" 2>/dev/null || fail "probe on one CPU exits $?"
    [ "$(field 'd["cpu"]["threads_usable"]')" = 1 ] || fail "an affinity mask of one CPU is not seen"
fi
"$HONE" probe --quick --json >"$tmp/doc" 2>"$tmp/err" || fail "probe --quick exits $?"
"$validate" probe "$tmp/doc" || failed=1
[ "$(field 'd["memory"]["not_measured"]["read_gb_s"]')" = "not asked to measure" ] || fail "--quick measures"
[ "$(field '[r["name"] for r in d["runtimes"]]')" = "['llama.cpp', 'onnxruntime', 'openvino', 'mlx']" ] || fail "not four runtimes"
n=0
for plugin in llamacpp onnxruntime openvino mlx; do # what is not built says how it comes; what is built is there, with its devices
    if [ -e "$HONE_BUILD_DIR/hone-backend-$plugin.so" ]; then
        [ "$(field "d['runtimes'][$n]['available'] and len(d['runtimes'][$n]['devices']) > 0 and d['runtimes'][$n]['reason'] == ''")" = True ] ||
            fail "$plugin is built but not found: $(field "d['runtimes'][$n]")"
    else
        [ "$(field "d['runtimes'][$n]['available'] or 'make deps' not in d['runtimes'][$n]['reason']")" = False ] || fail "$plugin without a plug-in"
    fi
    n=$((n + 1))
done
"$HONE" probe --quick >"$tmp/out" 2>/dev/null || fail "probe for people exits $?"
grep -q "^Processor" "$tmp/out" || fail "no section Processor"
grep -q "Memory" "$tmp/out" || fail "no section Memory"
awk 'length($0) > 200 { exit 1 }' "$tmp/out" || fail "a line of over 200 bytes"

"$HONE" probe --list --json >"$tmp/doc" || fail "--list exits $?"
"$validate" probe "$tmp/doc" || failed=1
for t in $(field '" ".join([t["name"] for t in d["targets"]] + [a for t in d["targets"] for a in t["aliases"]])'); do
    "$HONE" probe --target "$t" --json >"$tmp/t" || fail "--target $t exits $?"
    "$validate" probe "$tmp/t" || failed=1
    "$HONE" probe --target "$t" --sources >"$tmp/out" || fail "--target $t for people exits $?"
    grep -q "none was measured" "$tmp/out" || fail "$t does not say that nothing was measured"
done
for p in "$HONE_SOURCE_DIR"/profiles/*.json; do "$validate" profile "$p" || failed=1; done

# A profile of one's own, and what is wrong with it.
cp "$HONE_SOURCE_DIR/profiles/embedded-arm.json" "$tmp/mine.json"
"$HONE" probe --target "$tmp/mine.json" >/dev/null || fail "a file of one's own exits $?"
sed -i 's/"value": 4,/"value": "four",/' "$tmp/mine.json"
"$HONE" probe --target "$tmp/mine.json" --json >"$tmp/doc" 2>/dev/null
[ $? -eq 3 ] || fail "a bad profile is not exit 3"
"$validate" probe "$tmp/doc" || failed=1
[ "$(field '"is not a whole number" in d["error"]["cause"]')" = True ] || fail "a bad profile: $(field 'd["error"]["cause"]')"
"$HONE" probe --target rasberry-pi-5 2>"$tmp/err"
[ $? -eq 2 ] || fail "an unknown target is not exit 2"
grep -q "did you mean 'raspberry-pi-5'" "$tmp/err" || fail "no nearest target: $(cat "$tmp/err")"
"$HONE" probe somewhere 2>/dev/null
[ $? -eq 2 ] || fail "an argument is not exit 2"
# A full device for the answer is an error, not silence.
[ -e /dev/full ] && { "$HONE" probe --quick --json >/dev/full 2>/dev/null; [ $? -eq 6 ] || fail "/dev/full is not exit 6"; }
exit $failed
