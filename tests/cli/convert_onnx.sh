#!/usr/bin/env bash
# hone convert --to onnx: what the folder holds, the same bytes at any number of threads, what is refused.  What the models compute is judged in
# judge_genai.sh.
# ctest: threads
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
tiny=$HONE_SOURCE_DIR/tests/golden/tiny
validate=$HONE_SOURCE_DIR/tests/tools/validate
convert() { "$HONE" convert "$@" --quiet >"$tmp/out" 2>"$tmp/err" || fail "$*: exit $?: $(cat "$tmp/err")"; }
digest() { (cd "$1" && LC_ALL=C && export LC_ALL && sha256sum -- * | sha256sum | cut -d" " -f1); }

# experts lie in turns, so that threads write between each other's rows; the digest is that of the result
for ops in genai standard; do
    "$HONE" convert "$tiny/mixtral" --to onnx --quant int4,f16 --onnx-ops $ops --threads 1 -o "$tmp/one" --json >"$tmp/doc" 2>/dev/null || fail "$ops exits $?"
    "$validate" convert "$tmp/doc" || failed=1
    convert "$tiny/mixtral" --to onnx --quant int4,f16 --onnx-ops $ops --threads 3 -o "$tmp/three"
done
for d in "$tmp"/one/*; do
    [ "$(digest "$d")" = "$(digest "$tmp/three/$(basename "$d")")" ] || fail "$(basename "$d"): other bytes with three threads"
done
[ "$(ls "$tmp/one" | tr '\n' ' ')" = "mixtral-f16-onnx mixtral-f16-onnx-standard mixtral-int4-onnx mixtral-int4-onnx-standard " ] || fail "folders: $(ls "$tmp/one")"
grep -q "$(digest "$tmp/one/mixtral-f16-onnx-standard")" "$tmp/doc" || fail "the digest of the folder is not in the result"
for d in "$tmp"/one/*-standard; do grep -q com.microsoft "$d/model.onnx" && fail "$d has operators of com.microsoft"; done
for d in "$tmp"/one/*-onnx; do grep -q com.microsoft "$d/model.onnx" || fail "$d has no operators of com.microsoft"; done
for f in model.onnx model.onnx.data genai_config.json tokenizer.json tokenizer_config.json generation_config.json config.json; do
    [ -s "$tmp/one/mixtral-int4-onnx/$f" ] || fail "the folder lacks $f"
done
/usr/bin/python3 - "$tmp/one/mixtral-int4-onnx/genai_config.json" "$tiny/mixtral/config.json" <<'PY' || failed=1
import json, sys
genai, config = (json.load(open(p)) for p in sys.argv[1:])
model = genai["model"]
assert model["type"] == "decoder" and model["decoder"]["filename"] == "model.onnx", model
assert model["vocab_size"] == config["vocab_size"] and model["context_length"] == config["max_position_embeddings"], model
assert model["bos_token_id"] == config["bos_token_id"] and model["eos_token_id"] == config["eos_token_id"], model
assert genai["search"]["past_present_share_buffer"] is True, genai["search"]
PY
convert "$tiny/bert" --to onnx --quant f32 -o "$tmp/bert"
[ -e "$tmp/bert/bert-f32-onnx/genai_config.json" ] && fail "an encoder has a genai_config.json"

# expect CODE 'TEXT' ARGS...
expect() {
    local code=$1 text=$2 rc
    shift 2
    "$HONE" convert "$@" --json >"$tmp/doc" 2>/dev/null
    rc=$?
    [ $rc -eq "$code" ] || fail "convert $*: exit $rc, needs $code"
    grep -qF -- "$text" "$tmp/doc" || fail "convert $*: the cause lacks '$text': $(cat "$tmp/doc")"
}
expect 2 "onnx has no groups of 48" "$tiny/llama" --to onnx --quant int4 --group 48 -o "$tmp/no"
expect 2 "bf16" "$tiny/llama" --to onnx --quant bf16 -o "$tmp/no"
expect 2 "--onnx-ops is 'some'" "$tiny/llama" --to onnx --onnx-ops some -o "$tmp/no"
[ -e "$tmp/no" ] && fail "a refused conversion made $(ls "$tmp/no")"
mkdir -p "$tmp/yours/llama-f32-onnx" && echo mine >"$tmp/yours/llama-f32-onnx/notes.txt"
expect 2 "notes.txt" "$tiny/llama" --to onnx --quant f32 -o "$tmp/yours"
[ "$(cat "$tmp/yours/llama-f32-onnx/notes.txt")" = mine ] || fail "a folder with other files was replaced"
exit $failed
