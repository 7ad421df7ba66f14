#!/usr/bin/env bash
# hone convert --bias-correction as a user meets it: a model with biases comes nearer to itself, hone verify makes the same biases again, alone and together with other
# methods and with pruning, and what cannot be corrected is refused.  (That mean errors vanish, and in which order rows lie: tests/unit/flow/test_correction.c.)
# ctest: timeout 300
set -u
. "$HONE_SOURCE_DIR/tests/cli/_verify.sh"
model=$HONE_SOURCE_DIR/tests/golden/tiny/gpt2
text=$HONE_SOURCE_DIR/examples/models/tale-8m/eval
[ -f "$HONE_BUILD_DIR/hone-backend-llamacpp.so" ] || { echo "skipped: no llama.cpp"; exit 77; }
"$HONE" calibrate "$model" --data "$text/calibration.txt" --context 128 --max-tokens 2048 --hessian -o "$tmp/stats.gguf" --quiet >/dev/null 2>"$tmp/err" || fail "calibrate: $(cat "$tmp/err")"
with=(--calibration "$tmp/stats.gguf")

# made FOLDER: every output of it is what its source and its recipe give, and is told so by any number of threads
made() {
    local n=0
    for a in "$1"/*; do
        n=$((n + 1))
        expect 0 '"identical": true' "$a" "$model" "${with[@]}" --threads $n
    done
    [ $n -eq "$2" ] || fail "$1: $n outputs, not $2"
    for f in "$1"/*/hone.json; do
        grep -q '"bias_correction": true' "$f" || fail "$f does not say that biases are corrected"
        "$validate" recipe "$f" || failed=1
    done
}
convert "$model" --to gguf,onnx,openvino,mlx --quant gguf=q4_0,onnx=int4,openvino=int4,mlx=int4 --group 32 --method rtn "${with[@]}" --bias-correction --name gpt2 -o "$tmp/rtn" --threads 1
convert "$model" --to gguf,onnx,openvino,mlx --quant gguf=q4_0,onnx=int4,openvino=int4,mlx=int4 --group 32 --method rtn "${with[@]}" --bias-correction --name gpt2 -o "$tmp/two" --threads 2
diff -r "$tmp/rtn" "$tmp/two" >/dev/null || fail "two threads give other bytes than one"
made "$tmp/rtn" 4
convert "$model" --to gguf,onnx,openvino,mlx --quant int4 --method gptq "${with[@]}" --bias-correction --name gpt2 -o "$tmp/gptq"
made "$tmp/gptq" 4
convert "$model" --to gguf,onnx --quant int8 --method awq,rtn --prune 0.25 --prune-method ffn "${with[@]}" --bias-correction --name gpt2 -o "$tmp/cut"
made "$tmp/cut" 2

# --- nearer to the model that it was made from
convert "$model" --quant f32 --name whole -o "$tmp"
convert "$model" --quant q4_0 --method rtn "${with[@]}" --name plain -o "$tmp"
"$HONE" eval "$tmp/plain-q4_0.gguf" "$tmp/rtn/gpt2-q4_0.gguf" --reference "$tmp/whole-f32.gguf" --text "$text/heldout.txt" --max-tokens 1000 --json --quiet >"$tmp/eval" 2>"$tmp/err" ||
    fail "eval: $(cat "$tmp/err")"
/usr/bin/python3 - "$tmp/eval" <<'PY' || failed=1
import json, sys
plain, corrected = (r["kld_mean"] for r in json.load(open(sys.argv[1]))["results"])
print(f"mean KLD {plain:.4f}, corrected {corrected:.4f}")
assert corrected < 0.85 * plain
PY

# --- a KLD that is asked for is that of the file with its biases corrected
aim=(--to gguf --method rtn "${with[@]}" --target-kld 0.02 --text "$text/calibration.txt" --tokens 1024 --quiet --json)
for b in "" --bias-correction; do
    "$HONE" convert "$model" "${aim[@]}" $b -o "$tmp/aim$b" >"$tmp/aim.json" 2>"$tmp/err" || fail "--target-kld $b: $(cat "$tmp/err")"
    "$HONE" eval "$tmp/aim$b/gpt2-plan.gguf" --reference "$tmp/whole-f32.gguf" --text "$text/calibration.txt" --max-tokens 1024 --json --quiet >"$tmp/eval" 2>"$tmp/err" ||
        fail "eval: $(cat "$tmp/err")"
    /usr/bin/python3 - "$tmp/aim.json" "$tmp/eval" <<'PY' || failed=1
import json, sys
plan, found = (json.load(open(f)) for f in sys.argv[1:])
said, is_ = plan["made_plan"]["formats"][0]["measured"]["kld"], found["results"][0]["kld_mean"]
assert abs(said - is_) < 1e-3 * is_, f"the plan says {said}, the file has {is_}"
PY
done
[ "$(stat -c %s "$tmp/aim--bias-correction/gpt2-plan.gguf")" -lt "$(stat -c %s "$tmp/aim/gpt2-plan.gguf")" ] || fail "what correction gains is not used to make the file smaller"

# --- one byte of one bias
bias=model.h.1.mlp.c_fc.bias
cp -r "$tmp/rtn/gpt2-int4-mlx" "$tmp/bad"
/usr/bin/python3 - "$tmp/bad/model.safetensors" $bias <<'PY'
import json, struct, sys
f = open(sys.argv[1], "r+b")
n, = struct.unpack("<Q", f.read(8))
f.seek(8 + n + json.loads(f.read(n))[sys.argv[2]]["data_offsets"][0] + 6)
b = f.read(1)[0]
f.seek(-1, 1)
f.write(bytes([b ^ 1]))
PY
expect 1 "\"tensor\": \"$bias\"" "$tmp/bad" "$model" "${with[@]}"

# --- what it needs
expect 3 "$(sha256sum <"$tmp/stats.gguf" | cut -d' ' -f1)" "$tmp/rtn/gpt2-int4-onnx" "$model"
refuse() { # CODE TEXT SOURCE OPTIONS...
    "$HONE" convert "$3" "${@:4}" --bias-correction -o "$tmp/no" --quiet >/dev/null 2>"$tmp/err"
    local rc=$?
    [ $rc -eq "$1" ] && grep -qF -- "$2" "$tmp/err" || fail "convert $3: exit $rc, wanted $1 and '$2': $(cat "$tmp/err")"
    [ ! -e "$tmp/no" ] || fail "convert $3: something was written"
}
refuse 2 "there are no statistics" "$model"
refuse 4 "no matrix of this llama model has a bias" "$HONE_SOURCE_DIR/examples/models/tale-8m" --imatrix "$HONE_SOURCE_DIR/tests/golden/imatrix/tale-8m.gguf"
refuse 2 "--bias-correction is for language models" "$HONE_SOURCE_DIR/tests/golden/digits/model.onnx" --quant f16
exit $failed
