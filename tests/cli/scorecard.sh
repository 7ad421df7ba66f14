#!/usr/bin/env bash
# Artefacts of all formats in one call of check, eval and bench: one table, one document, one page; who ignores a sliding window is found out;
# a runtime that is missing costs its own artefacts only.
# ctest: timeout 600
# ctest: plain
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
tiny=$HONE_SOURCE_DIR/tests/golden/tiny
eval=$HONE_SOURCE_DIR/examples/models/tale-8m/eval
validate=$HONE_SOURCE_DIR/tests/tools/validate
[ -e "$HONE_BUILD_DIR/hone-backend-llamacpp.so" ] || { echo "skipped: no llama.cpp plug-in"; exit 77; }
formats=gguf
for f in onnx:onnxruntime openvino:openvino mlx:mlx; do # those whose runtimes start here
    "$HONE" probe --json 2>/dev/null | /usr/bin/python3 -c "
import json, sys
sys.exit(not any(r['name'] == sys.argv[1] and r['available'] for r in json.load(sys.stdin)['runtimes']))" "${f#*:}" && formats=$formats,${f%:*}
done
n=$(tr ',' '\n' <<<"$formats" | wc -l)
echo "formats: $formats"

# holds NAME 'python expression over d'
holds() {
    /usr/bin/python3 -c "import json, sys; d = json.load(open(sys.argv[1])); n = $n; sys.exit(not ($2))" "$tmp/$1" || fail "$1: not so: $2"
}
# json NAME CODE VERB ARGS...
json() {
    local name=$1 code=$2 verb=$3 rc
    shift 3
    "$HONE" "$verb" "$@" -t 1 --json -q >"$tmp/$name" 2>"$tmp/err"
    rc=$?
    [ $rc -eq "$code" ] || fail "hone $verb $*: exit $rc, needs $code: $(cat "$tmp/err")"
    "$validate" "$verb" "$tmp/$name" || failed=1
}
make_in() { # DIR MODEL QUANT
    "$HONE" convert "$2" --to "$formats" --quant "$3" -o "$tmp/$1" -q >/dev/null 2>"$tmp/err" || fail "convert $2: $(cat "$tmp/err")"
}
# page FILE: whole, and nothing in it asks for anything from elsewhere
page() {
    [ -s "$1" ] || { fail "no page $1"; return; }
    head -c 15 "$1" | grep -q '<!doctype html>' && tail -c 20 "$1" | grep -q '</html>' || fail "$1 is not whole"
    ! grep -qE '<script|<link|src=|href=|url\(|@import' "$1" || fail "$1 is not self-contained"
    grep -q 'prefers-color-scheme:dark' "$1" || fail "$1 has no dark side"
}

make_in llama "$tiny/llama" f32
make_in llama "$tiny/llama" int8
all=("$tmp"/llama/*)
json check 0 check "${all[@]}" --against "$tiny/llama" --html "$tmp/check.html"
holds check "d['ok'] and len(d['results']) == 2 * n and all(r['verdict'] == 'pass' and r['tokenizer']['mismatches'] == 0 for r in d['results'])"
holds check "all(r['logits']['kld_mean'] <= 1e-5 for r in d['results'] if r['precision'] == 'f32') and sum(r['precision'] == 'f32' for r in d['results']) == n"
holds check "all(r['tokenizer']['by'] == ('openvino_tokenizers' if r['format'] == 'openvino' else 'llama.cpp') for r in d['results'])"
page "$tmp/check.html"
[ -z "$(ls "${TMPDIR:-/tmp}"/hone-vocab-* 2>/dev/null)" ] || fail "a temporary vocabulary stays behind"

json layers 0 check "$tmp/llama/llama-f32.gguf" "${all[@]}" --layers --html "$tmp/layers.html"
holds layers "all(r['layers']['parts_at'] is None for r in d['results'] if r.get('layers') and r['precision'] == 'f32')"
holds layers "all(r['layers']['bound'] is None and r['layers']['parts_at'] is not None for r in d['results'] if r.get('layers') and r['precision'] == 'quantised')"
holds layers "sum('layers' in r for r in d['results']) >= 1 and all('layers' in r or 'layers_missing' in r or r['label'].endswith('f32') for r in d['results'])"
page "$tmp/layers.html"
grep -q '<polyline' "$tmp/layers.html" || fail "no picture of the layers"
json alone 2 check "$tmp/llama/llama-f32.gguf" --layers

json bench 0 bench "${all[@]}" --against "$tiny/llama" --text "$eval/heldout.txt" --tasks "$eval/tasks.jsonl" --max-tokens 256 --max-items 1 --prompt 16 --gen 8 --repeat 3 --html "$tmp/bench.html"
holds bench "len(d['results']) == 2 * n and all(r['decode_tok_s'] > 0 and r['eval']['perplexity'] > 1 and r['check']['verdict'] == 'pass' for r in d['results'])"
holds bench "max(p := [r['eval']['perplexity'] for r in d['results'] if r['precision'] == 'f32']) < min(p) * 1.005 and all(d['winners'][w]['path'] for w in ('speed', 'accuracy', 'memory', 'balanced'))"
holds bench "len({(r['memory_basis']) for r in d['results']}) == 1 and sum(r['pareto'] for r in d['results']) >= 1"
page "$tmp/bench.html"
"$HONE" bench "${all[@]}" --prompt 16 --gen 8 --repeat 3 -t 1 -q >"$tmp/table" 2>"$tmp/err" || fail "bench exits $?"
grep -q 'best balance' "$tmp/table" || fail "no winners in the table"
json eval 0 eval "${all[@]}" --text "$eval/heldout.txt" --max-tokens 256 --reference "$tmp/llama/llama-f32.gguf"
holds eval "len(d['results']) == 2 * n and all(r['kld_mean'] < 0.05 for r in d['results']) and d['winners']['accuracy']['path']"

# Sliding window: texts behind it are told apart.  llama.cpp ignores it; a runtime of our graph does not.
make_in mistral "$tiny/mistral" f32
json window 1 check "$tmp"/mistral/* --against "$tiny/mistral"
holds window "all(r['verdict'] == 'fail' and r['beyond']['differs'] for r in d['results'] if r['format'] == 'gguf')"
holds window "all(r['verdict'] == 'pass' and r['logits']['positions_skipped'] == 0 and r['logits']['kld_mean'] <= 1e-5 for r in d['results'] if r['format'] != 'gguf')"
holds window "all(r['beyond']['deployed_up_to'] == 8 for r in d['results'] if r['format'] == 'mlx')"

# An encoder: its embeddings are compared and timed; it foretells nothing.
formats=${formats%,mlx} # mlx_lm has no such family
make_in bert "$tiny/bert" f32
json embed 0 bench "$tmp"/bert/* --prompt 16 --repeat 3
holds embed "all(r['encoder'] and r['prefill_tok_s'] > 0 and r['decode_tok_s'] is None and 'generates no tokens' in r['states']['decode_tok_s']['reason'] for r in d['results'])"
json same 0 check "$tmp"/bert/* --against "$tiny/bert"
holds same "all(r['logits']['cosine'] > 1 - 1e-5 for r in d['results'])"
json nothing 4 eval "$tmp"/bert/* --text "$eval/heldout.txt"
holds nothing "'encoder' in d['error']['cause']"

# Without a runtime the others go on, and the word for it is said.  A device that is not there: the processor, and why.
mkdir "$tmp/bin"
ln -s "$HONE_BUILD_DIR/hone" "$HONE_BUILD_DIR/hone-runner" "$HONE_BUILD_DIR/hone-backend-llamacpp.so" "$tmp/bin"
cp --remove-destination "$HONE_BUILD_DIR/hone" "$tmp/bin/hone"
if [ -d "$tmp/llama/llama-f32-onnx" ]; then
    HONE=$tmp/bin/hone json missing 0 bench "$tmp/llama/llama-f32-onnx" "$tmp/llama/llama-f32.gguf" --prompt 16 --gen 8 --repeat 3
    holds missing "d['results'][0]['failed'] and 'onnxruntime' in d['results'][0]['failure'] and d['results'][0]['remedy'] and d['results'][1]['decode_tok_s'] > 0"
    HONE=$tmp/bin/hone json gone 4 bench "$tmp/llama/llama-f32-onnx" --prompt 16 --gen 8 --repeat 3
fi
json device 0 bench "$tmp/llama/llama-f32.gguf" --device npu --prompt 16 --gen 8 --repeat 3
holds device "d['results'][0]['device'] == 'cpu' and 'NPU' in d['results'][0]['fallback']"
json checkpoint 4 check "$tiny/llama" --against "$tiny/llama"
holds checkpoint "'is a checkpoint, not an artefact' in d['error']['cause']"
exit $failed
