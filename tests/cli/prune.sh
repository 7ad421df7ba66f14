#!/usr/bin/env bash
# hone convert --prune and --method awq: smaller models that every runtime runs alike, the same bytes for any number of threads, and verify can make them again.
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
model=$HONE_SOURCE_DIR/examples/models/tale-8m
moe=$HONE_SOURCE_DIR/tests/golden/tale-moe
tiny=$HONE_SOURCE_DIR/tests/golden/tiny
validate=$HONE_SOURCE_DIR/tests/tools/validate
text=$model/eval/heldout.txt
[ -e "$HONE_BUILD_DIR/hone-backend-llamacpp.so" ] || { echo "skipped: no llama.cpp plug-in"; exit 77; }

"$HONE" calibrate "$model" --data "$text" --max-tokens 256 -o "$tmp/stats.gguf" --quiet >/dev/null || fail "calibrate exits $?"
"$HONE" calibrate "$moe" --data "$text" --max-tokens 256 -o "$tmp/moe.gguf" --quiet >/dev/null || fail "calibrate of experts exits $?"

# make NAME ARGS...: its document goes to $tmp/NAME.json
make() {
    local name=$1
    shift
    "$HONE" convert "$@" --name "$name" -o "$tmp" --json >"$tmp/$name.json" 2>"$tmp/err" || fail "convert $*: exit $?: $(cat "$tmp/err")"
    "$validate" convert "$tmp/$name.json" || failed=1
}
# holds FILE 'PYTHON EXPRESSION ABOUT d'
holds() {
    /usr/bin/python3 -c "import json, sys; d = json.load(open(sys.argv[1])); sys.exit(not ($2))" "$tmp/$1" || fail "$1: not so: $2"
}

# --- cuts: new shapes in every format, and all runtimes agree on what is left
make whole "$model" --quant f16
make cut "$model" --to gguf,onnx,openvino,mlx --quant f32 --prune 0.25 --prune-method ffn
make experts "$moe" --to gguf,onnx,openvino,mlx --quant f32 --prune 0.25 --prune-method experts --calibration "$tmp/moe.gguf"
make heads "$model" --quant f16 --prune 0.25 --prune-method heads --calibration "$tmp/stats.gguf"
make layers "$model" --quant f16 --prune 0.25 --prune-method layers
make least "$model" --quant f16 --prune 0.99 --prune-method ffn
holds least.json "d['rewrites'][0]['is'] == 32"
holds cut.json "d['rewrites'][0]['was'] == 768 and d['rewrites'][0]['is'] == 576 and d['rewrites'][0]['share'] == 0.25"
holds experts.json "d['rewrites'][0]['was'] == 8 and d['rewrites'][0]['is'] == 6 and d['rewrites'][0]['statistics']"
holds cut-f32-mlx/config.json "d['intermediate_size'] == 576 and d['num_hidden_layers'] == 8"
holds experts-f32-onnx/config.json "d['num_experts'] == 6 and d['num_experts_per_tok'] == 2"
for m in heads layers; do
    [ "$(stat -c %s "$tmp/$m-f16.gguf")" -lt "$(stat -c %s "$tmp/whole-f16.gguf")" ] || fail "$m: the file is no smaller"
done
for name in cut experts; do
    runs="$tmp/$name-f32.gguf"
    [ -e "$HONE_BUILD_DIR/hone-backend-onnxruntime.so" ] && runs="$runs $tmp/$name-f32-onnx"
    [ -e "$HONE_BUILD_DIR/hone-backend-openvino.so" ] && runs="$runs $tmp/$name-f32-openvino"
    [ -e "$HONE_BUILD_DIR/hone-backend-mlx.so" ] && runs="$runs $tmp/$name-f32-mlx"
    # shellcheck disable=SC2086
    "$HONE" eval $runs --text "$text" --reference "$tmp/$name-f32.gguf" --max-tokens 100 --window 100 -t 1 --json >"$tmp/eval" 2>"$tmp/err" || fail "$name: eval exits $?: $(cat "$tmp/err")"
    # OpenVINO's graph computes in its own order, with a cache in f16
    holds eval "len(d['results']) == $(echo "$runs" | wc -w) and all((r['kld_mean'] or 0) < 1e-4 for r in d['results'])"
done

# --- single weights: the share that was asked for is zero, and stays zero in codes that have a zero
zeros() { # FILE: share of zeros in blk.3.ffn_down.weight, read as f16
    "$HONE" convert "$1" --to mlx --quant f32 --name zeros -o "$tmp" --quiet >/dev/null 2>&1
    /usr/bin/python3 - "$tmp/zeros-f32-mlx" <<'PY'
import array, json, struct, sys, glob
f = open(glob.glob(sys.argv[1] + '/*.safetensors')[0], 'rb')
n = struct.unpack('<Q', f.read(8))[0]
begin, end = json.loads(f.read(n))['model.layers.3.mlp.down_proj.weight']['data_offsets']
f.seek(8 + n + begin)
x = array.array('f', f.read(end - begin))
print(round(sum(v == 0 for v in x) / len(x), 2))
PY
}
make some "$model" --quant q8_0,f16 --prune 0.2 --prune-method wanda --calibration "$tmp/stats.gguf"
make half "$model" --quant f16 --prune-method 2:4 --calibration "$tmp/stats.gguf"
[ "$(zeros "$tmp/some-f16.gguf")" = 0.2 ] || fail "wanda: not one weight in five is zero"
awk -v z="$(zeros "$tmp/some-q8_0.gguf")" 'BEGIN { exit !(z >= 0.2) }' || fail "q8_0: what was pruned is no longer zero"
[ "$(zeros "$tmp/half-f16.gguf")" = 0.5 ] || fail "2:4: not half of the weights are zero"

# --- the same bytes on any number of threads, and verify makes them again
make awq "$model" --to gguf,mlx --quant int4 --prune 0.1 --method awq --calibration "$tmp/stats.gguf" -t 3
holds awq.json "[r['rewrite'] for r in d['rewrites']] == ['prune', 'fold'] and d['rewrites'][1]['folds'] > 0"
"$HONE" convert "$model" --to gguf,mlx --quant int4 --prune 0.1 --method awq --calibration "$tmp/stats.gguf" --name awq -o "$tmp/one" -t 1 --quiet >/dev/null 2>&1 || fail "awq: exit $?"
cmp "$tmp/awq-q4_k_m.gguf" "$tmp/one/awq-q4_k_m.gguf" || fail "awq: other bytes on another number of threads"
diff -r "$tmp/awq-int4-mlx" "$tmp/one/awq-int4-mlx" || fail "awq: another folder on another number of threads"
for a in "$tmp/awq-q4_k_m.gguf" "$tmp/awq-int4-mlx" "$tmp/heads-f16.gguf"; do
    "$HONE" verify "$a" --source "$model" --calibration "$tmp/stats.gguf" --quiet >/dev/null 2>"$tmp/err" || fail "verify $a: exit $?: $(cat "$tmp/err")"
done

# --- refusals.  refuse CODE 'TEXT' ARGS...
refuse() {
    local code=$1 text=$2 rc
    shift 2
    "$HONE" convert "$@" --quant q8_0 -o "$tmp/none" --quiet >/dev/null 2>"$tmp/err"
    rc=$?
    [ $rc -eq "$code" ] || fail "convert $*: exit $rc, needs $code: $(cat "$tmp/err")"
    grep -qF -- "$text" "$tmp/err" || fail "convert $*: stderr lacks '$text': $(cat "$tmp/err")"
    [ ! -e "$tmp/none" ] || fail "convert $*: refused, yet wrote"
}
refuse 2 "needs a number above 0 and below 1" "$model" --prune 1.5
refuse 2 "--prune-method without --prune" "$model" --prune-method heads
refuse 2 "2:4 prunes one half" "$model" --prune-method 2:4 --prune 0.1
refuse 2 "--prune-method is 'taylor'" "$model" --prune-method taylor --prune 0.1
refuse 2 "0.05 of 4 key-value heads is not one of them" "$model" --prune-method heads --prune 0.05
refuse 3 "wanda needs statistics" "$model" --prune-method wanda --prune 0.1
refuse 2 "awq needs statistics" "$model" --method awq
refuse 4 "the model has no experts" "$model" --prune-method experts --prune 0.5
refuse 4 "the feed-forward is made of experts" "$moe" --prune-method ffn --prune 0.5
refuse 4 "a gpt2 model cannot have \"head_dim\" 64" "$tiny/gpt2" --prune-method heads --prune 0.5
refuse 4 "a gpt_neox model cannot be cut that way" "$tiny/gpt_neox" --prune-method heads --prune 0.5
refuse 4 "no cut of up to" "$tiny/gemma2" --prune-method layers --prune 0.5
exit $failed
