#!/usr/bin/env bash
# hone assess: every small model on every target, as a person and as a document; what it says of bytes is what convert does.
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
validate=$HONE_SOURCE_DIR/tests/tools/validate
model=$HONE_SOURCE_DIR/examples/models/tale-8m
field() { /usr/bin/python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$tmp/doc" "$1"; }

"$HONE" assess "$model" --json >"$tmp/doc" 2>/dev/null || fail "assess exits $?"
"$validate" assess "$tmp/doc" || failed=1
[ "$(field 'd["model"]["parameters"]')" = 7344384 ] || fail "parameters"
[ "$(field 'd["target"]["kind"]')" = host ] || fail "the target is no host"
[ "$(field 'any(f["est_decode_tok_s"] for f in d["fit"])')" = True ] || fail "no estimate on this machine"
bytes=$(field '[f["file_bytes"] for f in d["fit"] if f["encoding"] == "q4_k_m"][0]')
"$HONE" convert "$model" --quant q4_k_m -o "$tmp/out" --quiet >/dev/null 2>&1 || fail "convert exits $?"
[ "$(stat -c %s "$tmp/out/tale-8m-q4_k_m.gguf")" = "$bytes" ] || fail "assess says $bytes bytes, convert wrote $(stat -c %s "$tmp/out/tale-8m-q4_k_m.gguf")"

for m in "$HONE_SOURCE_DIR"/tests/golden/tiny/*/ "$HONE_SOURCE_DIR/tests/golden/tale-moe"; do
    [ -f "$m/config.json" ] || continue
    "$HONE" assess "$m" --target android --json >"$tmp/doc" || fail "$m exits $?"
    "$validate" assess "$tmp/doc" || failed=1
    [ "$(field 'd["recommendation"]["framework"]')" = llama.cpp ] || fail "$m on android: $(field 'd["recommendation"]["framework"]')"
done
for t in ios apple-m-series intel-core intel-npu nvidia-gpu edge-tpu embedded-arm browser cloud-edge raspberry-pi-5 jetson-orin; do
    "$HONE" assess "$model" --target $t --explain --json >"$tmp/doc" || fail "$t exits $?"
    "$validate" assess "$tmp/doc" || failed=1
    [ "$(field 'd["recommendation"]["now"]["format"]')" = gguf ] || fail "$t: what can be done now is not gguf"
    [ "$(field 'sum(r["taken"] for r in d["decision"]["tree"])')" = 1 ] || fail "$t: not one rule taken"
done
"$HONE" assess "$model" --target intel-npu --explain >"$tmp/text" || fail "for people exits $?"
for words in "What fits" "Recommendation" "Decision tree" "Apple only" "Intel CPU/GPU" "hone convert --to openvino writes it" "est. tok/s"; do
    grep -q "$words" "$tmp/text" || fail "the text lacks '$words'"
done
awk 'length($0) > 120 { print "too wide: " $0; exit 1 }' "$tmp/text" || failed=1
"$HONE" assess "$model" --target android --max-ram 12.5M --json >"$tmp/doc" || fail "--max-ram exits $?"
[ "$(field 'd["recommendation"]["now"]["fits"] and d["recommendation"]["now"]["quantization"] != "q4_k_m"')" = True ] || fail "--max-ram is not kept"

# expect CODE 'TEXT' ARGS...
expect() {
    local code=$1 text=$2 rc
    shift 2
    "$HONE" assess "$@" --json >"$tmp/doc" 2>/dev/null
    rc=$?
    [ $rc -eq "$code" ] || fail "assess $*: exit $rc, needs $code"
    "$validate" assess "$tmp/doc" || failed=1
    field 'd["error"]["cause"]' | grep -qF -- "$text" || fail "assess $*: the cause lacks '$text': $(field 'd["error"]["cause"]')"
}
expect 2 "a context of 1024 tokens was asked for, the model has 512" "$model" --target android --context 1024
expect 2 "there is no target 'nowhere'" "$model" --target nowhere
expect 2 "--workflow" "$model" --workflow fun
expect 3 "there is no '$tmp/none'" "$tmp/none"
mkdir "$tmp/data" "$tmp/data/data"
echo '{"schema":"hone.decision/1"}' >"$tmp/data/data/decision.json"
HONE_DATA_DIR=$tmp/data expect 3 "\"strategy\" is no list of rules" "$model"
exit $failed
