#!/usr/bin/env bash
# hone convert to all formats at once: the files are those that each format gets alone, and options reach the formats that take them.
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
model=$HONE_SOURCE_DIR/examples/models/tale-8m
neox=$HONE_SOURCE_DIR/tests/golden/tiny/gpt_neox
validate=$HONE_SOURCE_DIR/tests/tools/validate

for m in "$model" "$neox"; do
    "$HONE" convert "$m" --to gguf,onnx,openvino,mlx --quant int4 --name m --threads 3 -o "$tmp/all" --json >"$tmp/doc" 2>/dev/null || fail "all: exit $?"
    "$validate" convert "$tmp/doc" || failed=1
    for f in gguf onnx openvino mlx; do
        "$HONE" convert "$m" --to $f --quant int4 --name m --threads 1 -o "$tmp/one" --quiet >/dev/null 2>&1 || fail "$f: exit $?"
    done
    diff -r "$tmp/all" "$tmp/one" || fail "$(basename "$m"): a format's files differ when others are written too"
    rm -r "$tmp/all" "$tmp/one"
done
/usr/bin/python3 - "$tmp/doc" "$(stat -c %s "$neox/model.safetensors")" <<'PY' || failed=1
import json, sys
doc, size = json.load(open(sys.argv[1])), int(sys.argv[2])
assert [(o["format"], o["quantization"]) for o in doc["outputs"]] == [("gguf", "q4_k_m"), ("onnx", "int4"), ("openvino", "int4"), ("mlx", "int4")], doc
assert doc["read_bytes"] < size, "the weights are read once"
PY

plan() { "$HONE" convert "$model" --dry-run --json "$@" 2>/dev/null; }
expect() { # CODE TEXT ARGUMENTS...
    local code=$1 text=$2 rc
    shift 2
    plan "$@" >"$tmp/doc"
    rc=$?
    [ $rc -eq "$code" ] || fail "$*: exit $rc, needs $code"
    grep -qF -- "$text" "$tmp/doc" || fail "$*: '$text' is not in: $(cat "$tmp/doc")"
}
for q in int8 f16 f32; do
    [ "$(plan --to gguf,onnx,openvino,mlx --quant $q | grep -c '"quantization"')" -eq 4 ] || fail "$q is not to be had in every format"
done
expect 0 '"format": "openvino"' --to gguf,onnx,openvino,mlx --group 64 --sym --ratio 0.5
expect 2 "onnx has no encoding 'bf16'" --to gguf,onnx --quant bf16
expect 2 "--sym says nothing about gguf, mlx" --to gguf,mlx --sym
expect 2 "--ratio says nothing about onnx" --to onnx --ratio 0.5
expect 2 "--ratio is '1.5', needs a number above 0 and up to 1" --to openvino --ratio 1.5
expect 2 "--onnx-ops is 'all'" --to onnx --onnx-ops all
expect 2 "--onnx-ops says nothing about gguf" --onnx-ops standard
expect 2 "mlx has no groups of 16" --to onnx,mlx --group 16
exit $failed
