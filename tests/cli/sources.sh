#!/usr/bin/env bash
# hone convert from what is no checkpoint: GGUF files, MLX folders and our ONNX folders give what the checkpoint gives, and what is lost is told.
# ctest: timeout 600
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
tiny=$HONE_SOURCE_DIR/tests/golden/tiny
model=$HONE_SOURCE_DIR/examples/models/tale-8m
validate=$HONE_SOURCE_DIR/tests/tools/validate
conv() { "$HONE" convert "$@" --threads 1 --quiet >/dev/null 2>"$tmp/err" || fail "convert $*: exit $?: $(cat "$tmp/err")"; }
same() { cmp "$1" "$2" >"$tmp/cmp" 2>&1 || fail "$3: $(cat "$tmp/cmp")"; }

# --- every family: checkpoint -> GGUF and MLX; GGUF -> the same GGUF and MLX; MLX -> the same GGUF
for m in "$tiny"/*/; do
    n=$(basename "$m")
    to=gguf,mlx
    [ "$n" = bert ] && to=gguf # mlx_lm does not know it
    conv "$m" --to $to --quant f32 --name "$n" -o "$tmp/a"
    conv "$tmp/a/$n-f32.gguf" --to $to --quant f32 --name "$n" -o "$tmp/b"
    if [ "$n" = mistral ]; then # in GGUF it is a llama, whose head size is told
        conv "$tmp/b/$n-f32.gguf" --quant f32 --name "$n" -o "$tmp/c"
        same "$tmp/b/$n-f32.gguf" "$tmp/c/$n-f32.gguf" "$n: GGUF from GGUF from GGUF"
    else
        same "$tmp/a/$n-f32.gguf" "$tmp/b/$n-f32.gguf" "$n: GGUF from GGUF"
    fi
    [ "$n" = bert ] && continue
    # Gemma 2's own scale of q is inside q in GGUF; elsewhere nothing is left of the way through it.
    [ "$n" = gemma2 ] || same "$tmp/a/$n-f32-mlx/model.safetensors" "$tmp/b/$n-f32-mlx/model.safetensors" "$n: MLX from GGUF"
    ln -s "$tmp/a/$n-f32-mlx" "$tmp/$n" # the folder's name becomes the model's
    conv "$tmp/$n" --quant f32 --name "$n" -o "$tmp/d"
    same "$tmp/a/$n-f32.gguf" "$tmp/d/$n-f32.gguf" "$n: GGUF from MLX"
done
# The tokenizer.json that a GGUF file stands for splits and merges as before: read again, it gives the vocabulary that it came from.
for n in llama qwen2 gpt2 smollm3; do
    rm "$tmp/$n" && ln -s "$tmp/b/$n-f32-mlx" "$tmp/$n"
    conv "$tmp/$n" --quant f32 --name "$n" -o "$tmp/e"
    same "$tmp/a/$n-f32.gguf" "$tmp/e/$n-f32.gguf" "$n: the tokenizer made from a GGUF file"
done

# --- every family: a folder for ONNX Runtime -> the GGUF that the checkpoint gives
for m in "$tiny"/*/; do
    n=$(basename "$m")
    conv "$m" --to onnx --quant f32 --name "$n" -o "$tmp/a"
    ln -sfn "$tmp/a/$n-f32-onnx" "$tmp/$n"
    conv "$tmp/$n" --quant f32 --name "$n" -o "$tmp/f"
    same "$tmp/a/$n-f32.gguf" "$tmp/f/$n-f32.gguf" "$n: GGUF from ONNX"
done
# Codes with zero points: written again at the same settings, a weight may move by a step where its block lost its ends, no more.
conv "$model" --to onnx --quant int4 --name m -o "$tmp/q"
"$HONE" convert "$tmp/q/m-int4-onnx/model.onnx" --to onnx --quant int4 --name m -o "$tmp/r" --json 2>/dev/null >"$tmp/doc" || fail "ONNX int4 again: exit $?"
grep -q "the source is quantised (int4)" "$tmp/doc" || fail "an ONNX source's codes are not told"
/usr/bin/python3 - "$tmp/q/m-int4-onnx/model.onnx.data" "$tmp/r/m-int4-onnx/model.onnx.data" <<'PY' || failed=1
import sys
a, b = (open(f, "rb").read() for f in sys.argv[1:])
assert len(a) == len(b)
same = sum(x == y for x, y in zip(a, b)) / len(a)
assert same > 0.9, f"only {same:.2%} of the bytes are those of the first time"
PY

# --- graphs: the same operators and weights
for n in llama gpt_neox phi3 qwen3_moe; do
    conv "$tiny/$n" --to openvino --quant f32 --name "$n" -o "$tmp/a"
    conv "$tmp/a/$n-f32.gguf" --to onnx,openvino --quant f32 --name "$n" -o "$tmp/b"
    for f in onnx/model.onnx onnx/model.onnx.data openvino/openvino_model.xml openvino/openvino_model.bin; do
        same "$tmp/a/$n-f32-$f" "$tmp/b/$n-f32-$f" "$n: $f from GGUF"
    done
done

# --- quantised sources: blocks that stay what they are are copied, the rest is told
conv "$model" --quant q4_k_m,q8_0 --name m -o "$tmp/q"
for q in q4_k_m q8_0; do
    "$HONE" convert "$tmp/q/m-$q.gguf" --quant $q --name m -o "$tmp/r" --json >"$tmp/doc" 2>/dev/null || fail "$q again: exit $?"
    "$validate" convert "$tmp/doc" || failed=1
    grep -q "the source is quantised (q" "$tmp/doc" || fail "$q again: nothing is told: $(cat "$tmp/doc")"
    # The name of the model is that of the file's metadata, so nothing differs.
    same "$tmp/q/m-$q.gguf" "$tmp/r/m-$q.gguf" "$q again"
done
# Copied blocks are looked at: in the middle of the file there is nothing but weights.
cp "$tmp/q/m-q8_0.gguf" "$tmp/q/nan.gguf"
head -c 4096 /dev/zero | tr '\0' '\377' | dd of="$tmp/q/nan.gguf" bs=4096 seek=$(($(stat -c %s "$tmp/q/nan.gguf") / 8192)) conv=notrunc status=none
"$HONE" convert "$tmp/q/nan.gguf" --quant q8_0 --name m -o "$tmp/nan" --quiet >/dev/null 2>"$tmp/err"
[ $? -eq 3 ] && grep -q "holds NaN at row" "$tmp/err" || fail "a copied block with NaN: $(cat "$tmp/err")"
[ -e "$tmp/nan/m-q8_0.gguf" ] && fail "a file with NaN was written"
conv "$tmp/q/m-q8_0.gguf" --to mlx --quant int8 --name m -o "$tmp/r"
conv "$model" --to mlx --quant int4 --name m -o "$tmp/q"
"$HONE" convert "$tmp/q/m-int4-mlx" --quant f16 --name m -o "$tmp/r" --json 2>/dev/null | grep -q "quantised (affine, 4 bits in groups of 64)" ||
    fail "an MLX source's codes are not told"
/usr/bin/python3 - "$tmp/r/m-int8-mlx/config.json" <<'PY' || failed=1
import json, sys
c = json.load(open(sys.argv[1]))
assert c["architectures"] == ["LlamaForCausalLM"] and c["model_type"] == "llama" and c["rms_norm_eps"] == 1e-05, c
assert "n_embd" not in c and c["quantization"]["bits"] == 8, c
PY

# --- what is no source
refuse() { # CODE TEXT SOURCE
    "$HONE" convert "$3" --quant q8_0 -o "$tmp/no" --quiet >/dev/null 2>"$tmp/err"
    local rc=$?
    [ $rc -eq "$1" ] || fail "convert $3: exit $rc, needs $1: $(cat "$tmp/err")"
    grep -qF -- "$2" "$tmp/err" || fail "convert $3: stderr lacks '$2': $(cat "$tmp/err")"
}
small=$tmp/a/llama-f32.gguf
refuse 4 "is a folder for OpenVINO, which hone writes but does not read back" "$tmp/a/llama-f32-openvino"
refuse 4 "is a folder for OpenVINO, which hone writes but does not read back" "$tmp/a/llama-f32-openvino/openvino_model.xml"
LC_ALL=C sed 's/llama\./lmama./g; 0,/\(general.architecture............\)llama/s//\1lmama/' "$small" >"$tmp/unknown.gguf"
refuse 4 'the architecture "lmama" of GGUF is no family that hone knows' "$tmp/unknown.gguf"
LC_ALL=C sed 's/llama\.block_count/llama.block_cound/' "$small" >"$tmp/nokey.gguf"
refuse 3 "the key 'llama.block_count' is missing or no number" "$tmp/nokey.gguf"
LC_ALL=C sed 's/blk\.1\.ffn_up\.weight/blk.1.ffn_uq.weight/' "$small" >"$tmp/notensor.gguf"
refuse 3 "the tensor for ffn_up of layer 1 is missing (a llama model has it)" "$tmp/notensor.gguf"
head -c 1000 "$small" >"$tmp/short.gguf"
refuse 3 "short.gguf" "$tmp/short.gguf"
refuse 3 "there is no '$tmp/absent.gguf'" "$tmp/absent.gguf"
conv "$tiny/mixtral" --to onnx --quant int8 --name mixtral -o "$tmp/a"
refuse 4 "the experts stand apart in this model" "$tmp/a/mixtral-int8-onnx"
cp -r "$tmp/a/llama-f32-onnx" "$tmp/cutonnx" && truncate -s 5000 "$tmp/cutonnx/model.onnx.data"
refuse 3 "does not lie inside 'model.onnx.data'" "$tmp/cutonnx"
[ -e "$tmp/no" ] && fail "a refused conversion left $(find "$tmp/no")"
exit $failed
