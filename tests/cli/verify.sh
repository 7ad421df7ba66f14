#!/usr/bin/env bash
# hone verify as a user meets it: every output of hone convert is what its source and its recipe give, what is not is named, and what cannot be
# told is refused.  (Any flipped bit: tests/unit/flow/test_verify.c.)
# ctest: timeout 300
set -u
. "$HONE_SOURCE_DIR/tests/cli/_verify.sh"
model=$HONE_SOURCE_DIR/examples/models/tale-8m
tiny=$HONE_SOURCE_DIR/tests/golden/tiny

# --- all formats, all options that change bytes; from any number of threads; under another name
convert "$model" --to gguf,onnx,openvino,mlx --quant int4,int8,f16 -o "$tmp/a"
convert "$model" --to onnx,openvino,mlx --quant int4 --group 64 -o "$tmp/g64"
convert "$model" --to onnx,openvino --quant int4,int8 --sym -o "$tmp/sym"
convert "$model" --to openvino --quant int4 --group row --ratio 0.6 -o "$tmp/row"
convert "$model" --to onnx --quant int4 --onnx-ops standard -o "$tmp/std"
convert "$model" --to gguf,mlx --quant gguf=q3_k_m,mlx=int4 --keep 'blk.*.ffn_down.weight=f16' --keep '*.v_proj.weight=int8' --name other -o "$tmp/keep"
convert "$model" --quant q8_0,iq4_xs --split-bytes 2500k -o "$tmp/parts"
n=0
for a in "$tmp"/*/*; do
    [ -e "$a" ] || continue
    n=$((n + 1))
    expect 0 '"identical": true' "$a" "$model" --threads $((n % 3 + 1))
done
[ $n -ge 25 ] || fail "only $n artefacts were verified"
for f in "$tmp"/*/*/hone.json; do "$validate" recipe "$f" || failed=1; done
sha=$("$HONE" convert "$model" --to mlx --quant int4 -o "$tmp/a" --json 2>/dev/null | sed -n 's/.*"sha256": "\(.*\)".*/\1/p')
expect 0 "$sha" "$tmp/a/tale-8m-int4-mlx" "$model"
expect 0 '"identical": true' "$tmp/a/tale-8m-int4-onnx/model.onnx" "$model"
expect 0 '"identical": true' "$tmp/parts/tale-8m-q8_0-gguf/tale-8m-q8_0-00002-of-00004.gguf" "$model"
# The source's folder may be called otherwise: the model's name is in the recipe.
ln -s "$model" "$tmp/elsewhere"
mv "$tmp/keep/other-q3_k_m.gguf" "$tmp/renamed.gguf"
expect 0 '"identical": true' "$tmp/renamed.gguf" "$tmp/elsewhere"
"$HONE" verify "$tmp/renamed.gguf" --source "$model" >"$tmp/out" 2>/dev/null || fail "verify exits $?"
grep -q "^identical: .*renamed.gguf, q3_k_m as gguf" "$tmp/out" || fail "the answer is not told: $(cat "$tmp/out")"

# --- one bit of one weight: which, and what it means
cp "$tmp/a/tale-8m-q8_0.gguf" "$tmp/bad.gguf"
/usr/bin/python3 - "$tmp/bad.gguf" <<'PY'
import sys
f = open(sys.argv[1], "r+b")
f.seek(0, 2)
at = f.tell() - 34 * 8 - 20  # in the codes of a block near the end
f.seek(at)
b = f.read(1)[0]
f.seek(at)
f.write(bytes([b ^ 4]))
PY
expect 1 '"kind": "tensor"' "$tmp/bad.gguf" "$model"
/usr/bin/python3 - "$tmp/doc" <<'PY' || failed=1
import json, sys
d = json.load(open(sys.argv[1]))
f, n = d["first"], d["differences"]
assert (n["tensors"], n["blocks"], n["bytes"]) == (1, 1, 1), n
assert int(f["expected"][:2], 16) ^ int(f["found"][:2], 16) == 4 and f["expected"][2:] == f["found"][2:], f
assert f["tensor"].startswith("blk.") and f["stream"] == "values" and f["encoding"] == "q8_0", f
v = f["values"]
assert v["column"] // 32 == f["block"] and v["expected"] != v["found"], f
assert d["error"]["code"] == "no" and f["tensor"] in d["error"]["cause"], d["error"]
PY
"$HONE" verify "$tmp/bad.gguf" --source "$model" --quiet >"$tmp/out" 2>"$tmp/err" && fail "a flipped bit: exit 0"
grep -q "^First difference" "$tmp/out" && grep -q "as numbers" "$tmp/out" || fail "the difference is not shown: $(cat "$tmp/out")"

# --- keys: the same length and another one
LC_ALL=C sed 's/tale-8m/tale-9m/2' "$tmp/a/tale-8m-q8_0.gguf" >"$tmp/key.gguf"
LC_ALL=C sed '0,/llama.context_length/s//llama.kontext_length/' "$tmp/a/tale-8m-q8_0.gguf" >"$tmp/key2.gguf"
expect 1 '"key": "llama.kontext_length"' "$tmp/key2.gguf" "$model"
grep -q '"tensors": 0' "$tmp/doc" || fail "a changed key is no changed tensor"
/usr/bin/python3 - "$tmp/a/tale-8m-q8_0.gguf" "$tmp/longer.gguf" <<'PY'
import struct, sys
raw = open(sys.argv[1], "rb").read()
key = struct.pack("<Q", 12) + b"general.name" + struct.pack("<I", 8)
at = raw.index(key) + len(key)
n = struct.unpack_from("<Q", raw, at)[0]
name = b"tale-8m" + b" in its second life, with a name that moves the data by some blocks of the alignment"[:64]
assert raw[at + 8:at + 8 + n] == b"tale-8m" and (len(name) - n) % 32 == 0
open(sys.argv[2], "wb").write(raw[:at] + struct.pack("<Q", len(name)) + name + raw[at + 8 + n:])
PY
expect 1 'general.name of ' "$tmp/longer.gguf" "$model"
grep -q '"tensors": 0' "$tmp/doc" || fail "tensors that moved with a key are told as other tensors"
cp -r "$tmp/a/tale-8m-int4-mlx" "$tmp/json" && sed -i 's/"rope_theta": 10000/"rope_theta": 10001/' "$tmp/json/config.json"
expect 1 '"key": "rope_theta"' "$tmp/json" "$model"

# --- recipes: damaged, gone; formats that say nothing without one
sed -i 's/"quantization": "int4"/"quantization": "int8"/' "$tmp/json/hone.json"
expect 1 'the recipe is damaged' "$tmp/json" "$model"
"$HONE" verify "$tmp/json" --source "$model" >"$tmp/out" 2>/dev/null
grep -q "nothing was compared" "$tmp/out" && ! grep -q "as gguf" "$tmp/out" || fail "an MLX folder whose recipe is damaged: $(cat "$tmp/out")"
"$HONE" verify "$tmp/json" --source "$model" --json 2>/dev/null | grep -q '"format": null' || fail "a folder whose recipe is damaged has a format"
sed 's/"quantization":"q8_0"/"quantization":"q8_1"/' "$tmp/a/tale-8m-q8_0.gguf" >"$tmp/lies.gguf"
expect 1 '"format": "gguf"' "$tmp/lies.gguf" "$model"
rm "$tmp/json/hone.json"
expect 4 "has no hone.json: nothing says how it was made" "$tmp/json" "$model"

# --- another source, no source, no artefact
expect 1 "is this the source that it was made from?" "$tmp/a/tale-8m-q8_0.gguf" "$tiny/llama"
expect 1 "is this the source that it was made from?" "$tmp/a/tale-8m-int4-openvino" "$tiny/llama"
expect 3 "there is no '$tmp/none'" "$tmp/none" "$model"
expect 3 "none" "$tmp/a/tale-8m-q8_0.gguf" "$tmp/none"
expect 4 "is no checkpoint folder" "$tmp/a/tale-8m-q8_0.gguf" "$tmp/err"
"$HONE" verify "$tmp/bad.gguf" >/dev/null 2>"$tmp/err"
[ $? -eq 2 ] && grep -q "add --source SRC" "$tmp/err" || fail "no source: $(cat "$tmp/err")"
[ -z "$(find "$tmp" -name '*.tmp')" ] || fail "something was written: $(find "$tmp" -name '*.tmp')"

# --- what llama-quantize makes of our bf16 file is compared by its tensors
quantize=${HONE_LLAMACPP:-/nowhere}/bin/llama-quantize
if [ -x "$quantize" ] && [ -z "${HONE_SANITIZE:-}" ]; then
    convert "$model" --quant bf16 -o "$tmp/peer"
    for q in Q4_K_M Q6_K; do
        "$quantize" "$tmp/peer/tale-8m-bf16.gguf" "$tmp/peer/$q.gguf" $q >"$tmp/log" 2>&1 || fail "llama-quantize: $(tail -2 "$tmp/log")"
        expect 0 '"metadata": "not compared"' "$tmp/peer/$q.gguf" "$model"
    done
    "$HONE" calibrate "$model" --data "$model/eval/calibration.txt" --max-tokens 512 -o "$tmp/stats.gguf" --quiet >/dev/null 2>"$tmp/err" || fail "calibrate: $(cat "$tmp/err")"
    "$quantize" --imatrix "$tmp/stats.gguf" "$tmp/peer/tale-8m-bf16.gguf" "$tmp/peer/weighted.gguf" Q3_K_M >"$tmp/log" 2>&1 || fail "llama-quantize: $(tail -2 "$tmp/log")"
    expect 3 "give the file with --calibration" "$tmp/peer/weighted.gguf" "$model"
    expect 0 '"metadata": "not compared"' "$tmp/peer/weighted.gguf" "$model" --calibration "$tmp/stats.gguf"
    # Ours with the same statistics: by their sha256 only.
    convert "$model" --quant q3_k_m --imatrix "$tmp/stats.gguf" -o "$tmp/weighted"
    expect 3 "$(sha256sum <"$tmp/stats.gguf" | cut -d' ' -f1)" "$tmp/weighted/tale-8m-q3_k_m.gguf" "$model"
    expect 0 '"identical": true' "$tmp/weighted/tale-8m-q3_k_m.gguf" "$model" --calibration "$tmp/stats.gguf"
    cp "$tmp/stats.gguf" "$tmp/other.gguf" && printf x >>"$tmp/other.gguf"
    expect 3 "the recipe names" "$tmp/weighted/tale-8m-q3_k_m.gguf" "$model" --calibration "$tmp/other.gguf"
    expect 2 "was made without statistics of activations" "$tmp/a/tale-8m-q8_0.gguf" "$model" --calibration "$tmp/stats.gguf"
    /usr/bin/python3 -c "
import sys
f = open(sys.argv[1], 'r+b'); f.seek(-2000, 2); b = f.read(1)[0]; f.seek(-2000, 2); f.write(bytes([b ^ 1]))" "$tmp/peer/Q4_K_M.gguf"
    expect 1 '"kind": "tensor"' "$tmp/peer/Q4_K_M.gguf" "$model"
fi
exit $failed
