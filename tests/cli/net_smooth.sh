#!/usr/bin/env bash
# convert --method smooth of networks: channels that are much larger than the others cost less, in ONNX Runtime and in OpenVINO; the recipe is enough for
# verification; the same bytes on any number of threads; a network without a place is what it is without the option; what is refused.
# ctest: runtime
set -u
. "$HONE_SOURCE_DIR/tests/cli/_verify.sh"
golden=$HONE_SOURCE_DIR/tests/golden
outlier=$golden/net/outlier.onnx
digits=$golden/digits/model.onnx
[ -e "$HONE_BUILD_DIR/hone-backend-onnxruntime.so" ] || { echo "skipped: no plug-in 'onnxruntime'"; exit 77; }
to=onnx
[ -e "$HONE_BUILD_DIR/hone-backend-openvino.so" ] && to=onnx,openvino
samples() { # FILE SEED SHAPE...
    /usr/bin/python3 - "$@" <<'PY'
import math, random, struct, sys
random.seed(int(sys.argv[2]))
shape = tuple(map(int, sys.argv[3:]))
head = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).encode()
head += b" " * (-(10 + len(head) + 1) % 64) + b"\n"
n = math.prod(shape)
open(sys.argv[1], "wb").write(b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + struct.pack(f"<{n}f", *(random.gauss(0, 1) for _ in range(n))))
PY
}
samples "$tmp/seen.npy" 1 64 8 8 8
samples "$tmp/other.npy" 2 32 8 8 8

# a third of the error, or less, on samples that calibration has not seen
convert "$outlier" --to $to --quant int8 --calibration "$tmp/seen.npy" -o "$tmp/plain"
convert "$outlier" --to $to --quant int8-dynamic -o "$tmp/plain"
"$HONE" convert "$outlier" --to $to --quant int8,int8-dynamic --calibration "$tmp/seen.npy" --method smooth -o "$tmp/smooth" --threads 1 --json >"$tmp/doc" 2>"$tmp/err" ||
    fail "convert: exit $?: $(cat "$tmp/err")"
"$validate" convert "$tmp/doc" || failed=1
grep -q "onnx=int8: smooth: smoothed: 3 of the 7 values that layers read" "$tmp/err" || fail "how many are smoothed is not told: $(cat "$tmp/err")"
grep -q "onnx=int8: smooth: 'f2' is not smoothed: Gelu is in front of it" "$tmp/err" || fail "why one is not smoothed is not told: $(cat "$tmp/err")"
for q in int8 int8-dynamic; do
    for f in ${to//,/ }; do
        "$HONE" eval "$tmp/plain/outlier-$q-$f" "$tmp/smooth/outlier-$q-$f" --data "$tmp/other.npy" --reference "$outlier" --json >"$tmp/eval" 2>"$tmp/err" || fail "eval: $(cat "$tmp/err")"
        /usr/bin/python3 - "$tmp/eval" <<'PY' || failed=1
import json, sys
plain, smooth = json.load(open(sys.argv[1]))["results"]
assert "smooth" in smooth["path"] and smooth["not_finite"] == 0
assert smooth["mean_abs"] < plain["mean_abs"] / 3 and smooth["cosine_min"] > 0.999, (plain, smooth)
PY
    done
done
/usr/bin/python3 - "$tmp/smooth/outlier-int8-onnx/hone.json" "$tmp/smooth/outlier-int8-dynamic-onnx/hone.json" "$tmp/doc" <<'PY' || failed=1
import json, sys
static, dynamic, doc = (json.load(open(f)) for f in sys.argv[1:])
by = {s["value"]: s["factors"] for s in static["static"]["smooth"]}
assert {k: len(v) for k, v in by.items()} == {"k3": 16, "n": 32, "f4": 32}, by
assert [s["value"] for s in dynamic["smooth"]] == ["k3", "n", "f4"] and "static" not in dynamic and static["static"]["calibration"]["smooth_alpha"] == 0.5
middle = sorted(by["n"])[16]
assert by["n"][3] > 10 * middle and by["n"][17] > 10 * middle, by["n"]  # the channels that are large
told = {(p["output"], p["pass"]): p["changed"] for p in doc["passes"]}
assert told[("onnx=int8", "smooth")] == 3 and told[("onnx=int8-dynamic", "smooth")] == 3, told
assert doc["static"][0]["smooth"]["places"] == 3 and doc["static"][0]["smooth"]["left"] == 4
PY

# made again from the recipe alone; every flipped byte is found, and a factor that was changed
for f in "$tmp"/smooth/*; do
    "$validate" recipe_network "$f/hone.json" || failed=1
    expect 0 '"identical": true' "$f" "$outlier"
done
for q in int8 int8-dynamic; do
    folder=$tmp/smooth/outlier-$q-onnx
    for at in 200 3000 9000; do
        cp -r "$folder" "$tmp/flipped"
        /usr/bin/python3 -c "
import sys
f = open(sys.argv[1], 'r+b')
f.seek($at)
b = f.read(1)[0]
f.seek($at)
f.write(bytes([b ^ 16]))" "$tmp/flipped/model.onnx"
        expect 1 "\"offset\": $at" "$tmp/flipped" "$outlier"
        rm -r "$tmp/flipped"
    done
done
resealed() { # CODE, WORDS, A CHANGE OF s, the list of factors of int8
    cp -r "$tmp/smooth/outlier-int8-onnx" "$tmp/sealed"
    /usr/bin/python3 - "$HONE" "$tmp/sealed" "$outlier" "$3" <<'PY' || fail "no recipe was changed"
import json, re, subprocess, sys
hone, folder, source, change = sys.argv[1:]
d = json.load(open(folder + "/hone.json"))
s = d["static"]["smooth"]
exec(change)
json.dump(d, open(folder + "/hone.json", "w"))
said = subprocess.run([hone, "verify", folder, "--source", source], capture_output=True, text=True).stderr
d["digest"] = re.search("that of its text is ([0-9a-f]{64})", said)[1]
json.dump(d, open(folder + "/hone.json", "w"))
PY
    expect "$1" "$2" "$tmp/sealed" "$outlier"
    rm -r "$tmp/sealed"
}
resealed 1 '"file": "hone.json"' 's[1]["factors"][5] = 1.5'
/usr/bin/python3 -c "
import json, sys
assert json.load(open(sys.argv[1]))['differences']['tensors'] >= 4" "$tmp/doc" || fail "scale, bias and two weights do not differ by a factor that was changed"
resealed 3 "a factor of 'n' is 0, outside" 's[1]["factors"][5] = 0'
resealed 3 "'n' has 32 channels, and factors for 31" 's[1]["factors"].pop()'
resealed 3 "'f2' cannot be smoothed" 's[1]["value"] = "f2"'
resealed 3 "'n' has factors twice" 's += [s[1]] * 20000' # products of products would take all memory there is
resealed 3 'factors of channels (\"smooth\") are not what they should be' 's[1]["factors"] = ["a"] * 32'

# threads, other options, the accuracy gate; a network without a place
"$HONE" convert "$outlier" --quant int8,int8-dynamic --calibration "$tmp/seen.npy" --method smooth -o "$tmp/again" --threads 2 -q >/dev/null 2>&1 || fail "two threads: exit $?"
for q in int8 int8-dynamic; do
    for file in model.onnx hone.json; do cmp "$tmp/smooth/outlier-$q-onnx/$file" "$tmp/again/outlier-$q-onnx/$file" || fail "other bytes of $q on two threads"; done
done
convert "$outlier" --quant int8 --calibration "$tmp/seen.npy" --method smooth --smooth-alpha 0.7 --no-bias-correction --exclude q --activations s8-sym --per-tensor -o "$tmp/more"
expect 0 '"identical": true' "$tmp/more/outlier-int8-onnx" "$outlier"
/usr/bin/python3 -c "
import json, sys
assert [s['value'] for s in json.load(open(sys.argv[1]))['static']['smooth']] == ['k3', 'f4']" "$tmp/more/outlier-int8-onnx/hone.json" || fail "the weights of an excluded reader are changed"
convert "$digits" --quant int8 --calibration "$golden/digits/calibration.safetensors" --samples 40 --method smooth --accuracy "$golden/digits/test.safetensors" --max-drop 0.01 -o "$tmp/digits"
expect 0 '"identical": true' "$tmp/digits/digits-int8-onnx" "$digits"
samples "$tmp/rows.npy" 3 8 5 12
for m in "" "--method smooth"; do
    # shellcheck disable=SC2086  # none or two words
    "$HONE" convert "$golden/net/recurrent.onnx" --quant int8 --calibration "$tmp/rows.npy" $m -o "$tmp/none${m:+-smooth}" -q >"$tmp/out" 2>"$tmp/err" || fail "recurrent $m: exit $?: $(cat "$tmp/err")"
done
"$HONE" convert "$golden/net/recurrent.onnx" --quant int8 --calibration "$tmp/rows.npy" --method smooth --dry-run 2>&1 | grep -q "nothing is smoothed: no value that a layer reads can be" ||
    fail "that nothing was done is not told"
cmp "$tmp/none/recurrent-int8-onnx/model.onnx" "$tmp/none-smooth/recurrent-int8-onnx/model.onnx" || fail "nothing to smooth, and other bytes"
expect 0 '"identical": true' "$tmp/none-smooth/recurrent-int8-onnx" "$golden/net/recurrent.onnx"

refused() { # code, words, arguments...
    local code=$1 words=$2
    shift 2
    "$HONE" "$@" -q >"$tmp/out" 2>&1
    [ $? = "$code" ] || fail "$*: exit $?, not $code: $(cat "$tmp/out")"
    grep -q -- "$words" "$tmp/out" || fail "$*: says '$(cat "$tmp/out")', not '$words'"
    [ "$(grep -c "^hone" "$tmp/out")" = 1 ] || fail "$*: not one error: $(cat "$tmp/out")"
}
for q in int8-weights int4 f16 f32; do
    refused 2 "method smooth is about int8 and int8-dynamic, and neither is asked for" convert "$outlier" --quant $q --calibration "$tmp/seen.npy" --method smooth -o "$tmp/no"
done
refused 2 "needs samples to see the channels" convert "$outlier" --quant int8-dynamic --method smooth -o "$tmp/no"
refused 2 "calibration is about int8" convert "$outlier" --quant int8-dynamic --calibration "$tmp/seen.npy" -o "$tmp/no"
refused 2 "calibrator is about int8" convert "$outlier" --quant int8-dynamic --calibration "$tmp/seen.npy" --method smooth --calibrator mse -o "$tmp/no"
refused 2 "method gptq is for language models" convert "$outlier" --quant int8 --calibration "$tmp/seen.npy" --method smooth,gptq -o "$tmp/no"
refused 2 "smooth-alpha is about another method" convert "$outlier" --quant int8 --calibration "$tmp/seen.npy" --smooth-alpha 0.4 -o "$tmp/no"
for alpha in 1.5 -0.1; do refused 2 "smooth-alpha is $alpha, needs a number from 0 to 1" convert "$outlier" --quant int8 --calibration "$tmp/seen.npy" --method smooth --smooth-alpha=$alpha -o "$tmp/no"; done
[ -e "$tmp/no" ] && [ -n "$(ls -A "$tmp/no")" ] && fail "what was refused left something behind"
exit $failed
