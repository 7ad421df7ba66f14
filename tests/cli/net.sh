#!/usr/bin/env bash
# hone assess and convert of ONNX models that are no language models: what they say, what they write, what they refuse.  What the outputs compute is
# judged in judge_nets.sh; static int8 in its own tests.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
golden=$HONE_SOURCE_DIR/tests/golden
validate=$HONE_SOURCE_DIR/tests/tools/validate
digits=$golden/digits/model.onnx
refused() { # EXIT TEXT ARGS...
    local want=$1 text=$2
    shift 2
    "$HONE" "$@" >"$tmp/out" 2>"$tmp/err"
    local rc=$?
    [ $rc = "$want" ] || fail "$*: exit $rc, not $want: $(cat "$tmp/err")"
    grep -qF -- "$text" "$tmp/err" || fail "$*: '$text' is not in: $(cat "$tmp/err")"
}

# assess: numbers that can be worked out by hand from the layers of digits-cnn
"$HONE" assess "$digits" --quick --max-ram 100k --json >"$tmp/doc" 2>/dev/null || fail "assess exits $?"
"$validate" assess "$tmp/doc" || failed=1
/usr/bin/python3 - "$tmp/doc" <<'PY' || failed=1
import json, sys
d = json.load(open(sys.argv[1]))
n = d["network"]
ops = {o["op"]: o for o in n["operators"]}
assert n["opsets"] == {"ai.onnx": 17} and n["inputs"] == [{"name": "input", "type": "f32", "shape": ["batch", 1, 32, 32]}], n["inputs"]
assert ops["Conv"]["count"] == 10 and ops["BatchNormalization"]["count"] == 9 and ops["Gemm"]["macs"] == 640, ops
assert n["macs"] == sum(o["macs"] for o in n["operators"]) and n["macs_unknown_nodes"] == 0 and n["values_without_shape"] == 0, n
assert n["weights_by_type"] == {"f32": n["weights_bytes"]} and n["weights_bytes"] == 4 * n["parameters"], n
assert [f["fits"] for f in d["fit"]] == [False, True, True, True], d["fit"]
assert {c["format"]: c["ok"] for c in d["compatibility"]} == {"onnx": None, "openvino": None, "gguf": False, "mlx": False}, d["compatibility"]
PY
"$HONE" assess "$golden/net/control.onnx" --quick --json >"$tmp/doc" 2>/dev/null || fail "assess control exits $?"
"$validate" assess "$tmp/doc" || failed=1
grep -q '"macs_unknown_nodes": *[1-9]' "$tmp/doc" || fail "what If and Loop cost is said to be known"
"$HONE" assess "$digits" --quick 2>/dev/null | grep -q 'batch, 1, 32, 32' || fail "the page does not show the input"

# graph: every operator, what subgraphs read from outside, and no picture
"$HONE" graph "$golden/net/control.onnx" --json >"$tmp/doc" 2>/dev/null || fail "graph exits $?"
"$validate" graph "$tmp/doc" || failed=1
/usr/bin/python3 -c "
import json, sys
n = {x['name'] if x['op'] not in ('If', 'Loop') else x['op']: x for x in json.load(open(sys.argv[1]))['network']}
assert sorted(n['If']['captures']) == ['c', 'n1', 'scale'] and n['If']['macs'] is None and n['c']['shape'] == ['n', 8, 8, 8] and n['c']['macs'] == 8 * 64 * 27, n" "$tmp/doc" || failed=1
refused 4 "pictures are drawn of language models" graph "$digits" --svg "$tmp/x.svg"
script -qec "stty cols 80; NO_COLOR=1 '$HONE' graph '$digits'" /dev/null </dev/null | tr -d '\r' >"$tmp/out"
awk 'length($0) > 80' "$tmp/out" | grep . && fail "graph is wider than 80 columns"
for shown in "pw.norm  *BatchNormalization" "pw.norm  *pw.out, pw.norm.weight, pw.norm.bias, 2 more" "fc  *640"; do
    grep -q "^  $shown" "$tmp/out" || fail "graph on 80 columns lacks '$shown': $(cat "$tmp/out")"
done

# convert: a call that is refused after its first output leaves nothing, not even the folders that it made
mkdir "$tmp/was"
for out in "$tmp/new/folder/" "$tmp/was"; do refused 2 "int8 needs samples" convert "$digits" --quant f32,int8 -o "$out"; done
[ ! -e "$tmp/new" ] && [ -d "$tmp/was" ] && [ -z "$(ls -A "$tmp/was")" ] || fail "a refused call left: $(ls -AR "$tmp/new" "$tmp/was" 2>&1)"

# convert: the same bytes again, the document, names; an existing folder is replaced, one with other files is not
"$HONE" convert "$digits" --quant f32,f16,int8-dynamic,int8-weights,int4-weights -o "$tmp/a" --json >"$tmp/doc" 2>/dev/null || fail "convert exits $?"
"$validate" convert "$tmp/doc" || failed=1
"$HONE" convert "$golden/digits" --quant f32,f16,int8-dynamic,int8-weights,int4-weights -o "$tmp/b" --quiet >/dev/null || fail "convert of the folder exits $?"
diff -r "$tmp/a" "$tmp/b" || fail "other bytes the second time"
[ "$(ls "$tmp/a" | tr '\n' ' ')" = "digits-f16-onnx digits-f32-onnx digits-int4-weights-onnx digits-int8-dynamic-onnx digits-int8-weights-onnx " ] || fail "folders: $(ls "$tmp/a")"
sum=$(cd "$tmp/a/digits-f16-onnx" && sha256sum -- * | sha256sum | cut -d" " -f1)
grep -q "$sum" "$tmp/doc" || fail "the digest of a folder is not in the result"
"$HONE" convert "$digits" --quant f16 -o "$tmp/a" --quiet >/dev/null || fail "a folder of ours is not replaced"
echo mine >"$tmp/a/digits-f16-onnx/notes.txt"
rm -r "$tmp/a/digits-f32-onnx"
refused 2 notes.txt convert "$digits" --quant f32,f16 -o "$tmp/a"
[ -z "$(find "$tmp/a" -name '*f32-onnx*')" ] || fail "the second output is refused, and the first has its name"
"$HONE" convert "$golden/net/mlp.onnx" --dry-run --quant int8-weights --json >"$tmp/doc" 2>/dev/null || fail "--dry-run exits $?"
"$validate" convert "$tmp/doc" || failed=1
"$HONE" convert "$digits" --dry-run --quant f32,f16,int8-dynamic,int8-weights,int4-weights --json >"$tmp/plan" 2>/dev/null || fail "--dry-run exits $?"
"$HONE" convert "$digits" --quant f32,f16,int8-dynamic,int8-weights,int4-weights -o "$tmp/dry" --json >"$tmp/doc" 2>/dev/null || fail "convert exits $?"
/usr/bin/python3 - "$tmp/plan" "$tmp/doc" <<'PY' || failed=1
import json, sys
p, d = (json.load(open(f)) for f in sys.argv[1:])
assert [o["bytes"] for o in p["outputs"]] == [o["bytes"] for o in d["outputs"]], "--dry-run tells other sizes"
assert p["disk_needed_bytes"] == sum(o["bytes"] for o in d["outputs"]) and p["ram_needed_bytes"] >= 16 << 20, p
PY
"$HONE" convert "$golden/net/old7.onnx" --quant int4 --exclude MatMul --name it -o "$tmp/c" --quiet >/dev/null || fail "--exclude exits $?"
grep -q MatMulNBits "$tmp/c/it-int4-weights-onnx/model.onnx" && fail "--exclude MatMul was quantised"

# refusals name the object, the reason and the way on; nothing is left behind
refused 4 "llama.cpp runs language models" convert "$digits" --to gguf -o "$tmp/n"
refused 2 "--prune is for language models" convert "$digits" --prune 0.1 -o "$tmp/n"
refused 2 "target-bytes is for language models" convert "$digits" --target-bytes 100k -o "$tmp/n"
refused 2 "group is about int4-weights, and that is not asked for" convert "$digits" --quant int8-weights --group 64 -o "$tmp/n"
refused 2 "keep-io is about f16" convert "$digits" --keep-io -o "$tmp/n"
refused 4 "is a network without tokens: hone calibrate is for language models" calibrate "$digits" --data "$digits" -o "$tmp/n"
refused 4 "is a network without tokens: hone plan is for language models" plan "$digits" --target-bpw 4
refused 2 "needs samples" convert "$digits" --quant int8 -o "$tmp/n"
refused 2 "networks have no encoding 'q4_k_m'" convert "$digits" --quant q4_k_m -o "$tmp/n"
refused 2 "is for ONNX models that are no language models" convert "$golden/tiny/llama" --no-fold -o "$tmp/n"
refused 2 "exclude 'MatMull' names no node and no operator of the model" convert "$digits" --quant int8-weights --exclude fc,MatMull -o "$tmp/n"
refused 4 "kept as they are" convert "$golden/net/control.onnx" --quant int4-weights --onnx-ops standard -o "$tmp/n"
head -c 1000 "$digits" >"$tmp/cut.onnx"
refused 3 "broken at byte" convert "$tmp/cut.onnx" -o "$tmp/n"
cp "$golden/net/mlp.onnx" "$tmp/alone.onnx"
refused 3 "mlp.bin" convert "$tmp/alone.onnx" -o "$tmp/n"
head -c 100 "$golden/net/mlp.bin" >"$tmp/mlp.bin"
refused 3 "of a file of 100" convert "$tmp/alone.onnx" -o "$tmp/n"
[ -e "$tmp/n" ] && [ -n "$(ls "$tmp/n")" ] && fail "left behind: $(ls "$tmp/n")"

# the real runtimes load what was written, and OpenVINO's own form of it
if [ -e "$HONE_BUILD_DIR/hone-backend-onnxruntime.so" ]; then
    "$HONE" assess "$tmp/a/digits-int4-weights-onnx" --json >"$tmp/doc" 2>/dev/null || fail "assess of int4-weights exits $?"
    "$validate" assess "$tmp/doc" || failed=1
    /usr/bin/python3 -c "import json,sys; c=json.load(open(sys.argv[1]))['compatibility'][0]; assert c['ok'] is True and c['version'], c" "$tmp/doc" || failed=1
fi
if [ -e "$HONE_BUILD_DIR/hone-backend-openvino.so" ]; then
    "$HONE" convert "$digits" --to openvino --quant f16,int8-dynamic,int8-weights,int4-weights -o "$tmp/ov" --quiet >/dev/null 2>"$tmp/err" || fail "OpenVINO: $(cat "$tmp/err")"
    for q in f16 int8-dynamic int8-weights int4-weights; do
        [ "$(ls "$tmp/ov/digits-$q-openvino" | tr '\n' ' ')" = "hone.json openvino_model.bin openvino_model.xml " ] || fail "$q: $(ls "$tmp/ov/digits-$q-openvino")"
    done
    "$HONE" eval "$tmp/ov/digits-int4-weights-openvino" --data "$golden/digits/test.safetensors" --json >"$tmp/doc" 2>/dev/null || fail "eval of OpenVINO's form exits $?"
    /usr/bin/python3 -c "import json,sys; r=json.load(open(sys.argv[1]))['results'][0]; assert r['accuracy'] >= 0.96, r" "$tmp/doc" || failed=1
    # dynamic int8: the integers are there (a fourth of the floats' bytes), and the answers are the float model's, up to what rounding and bf16 make of them
    dynamic=$tmp/ov/digits-int8-dynamic-openvino
    "$HONE" check "$dynamic" --against "$digits" --data "$golden/digits/test.safetensors" --json >"$tmp/doc" 2>"$tmp/err" || fail "check of int8-dynamic: exit $?: $(cat "$tmp/err")"
    "$validate" check "$tmp/doc" || failed=1
    "$HONE" eval "$dynamic" --reference "$digits" --data "$golden/digits/test.safetensors" --json >"$tmp/doc" 2>"$tmp/err" || fail "eval of int8-dynamic: exit $?: $(cat "$tmp/err")"
    /usr/bin/python3 - "$tmp/doc" "$dynamic/openvino_model.bin" "$digits" <<'PY' || failed=1
import json, os, sys
r = json.load(open(sys.argv[1]))["results"][0]
assert r["format"] == "openvino" and r["runtime"] == "OpenVINO" and r["samples"] == 100 and r["not_finite"] == 0, r
assert r["accuracy"] >= 0.97 and r["top1"] >= 0.99 and r["cosine_min"] > 0.999 and 0.001 < r["mean_abs"] < 0.15, r
assert os.path.getsize(sys.argv[2]) * 3 < os.path.getsize(sys.argv[3]), "weights are no integers"
PY
    "$HONE" verify "$dynamic" --source "$digits" -q >"$tmp/out" 2>&1 || fail "verify of int8-dynamic: $(cat "$tmp/out")"
fi
# constants in other files: of a Constant node they come along; a subgraph stays as it is, so its own cannot
"$HONE" convert "$golden/net/elsewhere/constant.onnx" --quant f32 -o "$tmp/else" --quiet >/dev/null 2>"$tmp/err" || fail "a Constant in another file: exit $?: $(cat "$tmp/err")"
! grep -q m.data "$tmp/else/constant-f32-onnx/model.onnx" || fail "the new model names a file of the old one"
/usr/bin/python3 -c "
import struct, sys
assert struct.pack('<128f', *[0.25] * 128) in open(sys.argv[1], 'rb').read()" "$tmp/else/constant-f32-onnx/model.onnx" || fail "the numbers of a Constant in another file are not in the new one"
for m in if if_constant; do
    refused 4 "a subgraph has constants in another file" convert "$golden/net/elsewhere/$m.onnx" --quant f32 -o "$tmp/else"
    "$HONE" assess "$golden/net/elsewhere/$m.onnx" --quick >/dev/null 2>"$tmp/err" || fail "assess $m: exit $?: $(cat "$tmp/err")"
done

exit $failed
