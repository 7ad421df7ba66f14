#!/usr/bin/env bash
# hone convert --prune that cuts: every kind of cut gives config.json, metadata and matrices of all four formats their new sizes; the files load in their
# runtimes, in f32 as one model and in int4 nearer to it than the whole model is.  (Statistics, single weights, refusals: prune.sh.)
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
tiny=$HONE_SOURCE_DIR/tests/golden/tiny
text=$HONE_SOURCE_DIR/examples/models/tale-8m/eval/heldout.txt
[ -e "$HONE_BUILD_DIR/hone-backend-llamacpp.so" ] || { echo "skipped: no llama.cpp plug-in"; exit 77; }

# here STEM: those of its folders that a runtime of this build opens
here() {
    local pair
    for pair in onnxruntime:onnx openvino:openvino mlx:mlx; do
        [ ! -e "$HONE_BUILD_DIR/hone-backend-${pair%:*}.so" ] || echo "$1-${pair#*:}"
    done
}
make() { "$HONE" convert "$@" --to gguf,onnx,openvino,mlx --quant f32,int4 -o "$tmp" --quiet >/dev/null 2>"$tmp/err" || fail "convert $*: exit $?: $(cat "$tmp/err")"; }

# cut FAMILY METHOD KEY=WAS:IS...: halves the model; KEY is as in config.json, and nothing else there may change
cut() {
    local family=$1 method=$2 stem=$1-$2 runs
    shift 2
    [ -e "$tmp/$family-f32.gguf" ] || make "$tiny/$family" --name "$family"
    make "$tiny/$family" --prune 0.5 --prune-method "$method" --name "$stem"
    for n in "$family" "$stem"; do
        "$HONE" assess "$tmp/$n-f32.gguf" --target android-arm64 --json >"$tmp/$n.assess" 2>"$tmp/err" || fail "assess $n: exit $?: $(cat "$tmp/err")"
    done
    runs="$tmp/$stem-f32.gguf $(here "$tmp/$stem-f32") $tmp/$stem-q4_k_m.gguf $(here "$tmp/$stem-int4") $tmp/$family-f32.gguf"
    # shellcheck disable=SC2086
    "$HONE" eval $runs --text "$text" --reference "$tmp/$stem-f32.gguf" --max-tokens 60 --window 60 -t 1 --json >"$tmp/eval" 2>"$tmp/err" || fail "$stem: eval exits $?: $(cat "$tmp/err")"
    # shellcheck disable=SC2086
    /usr/bin/python3 - "$tmp" "$family" "$stem" "$(echo $runs | wc -w)" "$@" <<'PY' || fail "$stem: as said above"
import json, os, sys
tmp, family, stem, runs = *sys.argv[1:4], int(sys.argv[4])
wanted = {k: tuple(map(int, v.split(":"))) for k, v in (x.split("=") for x in sys.argv[5:])}

def load(*path):
    with open(os.path.join(tmp, *path)) as f:
        return json.load(f)

def changed(a, b):
    return {k: (a.get(k), b.get(k)) for k in {*a, *b} if a.get(k) != b.get(k)}

def size(path):
    path = os.path.join(tmp, path)
    return os.path.getsize(path) if os.path.isfile(path) else sum(os.path.getsize(os.path.join(path, f)) for f in os.listdir(path))

for fmt in ("onnx", "openvino", "mlx"):
    for quant in ("f32", "int4"):
        got = changed(load(f"{family}-{quant}-{fmt}", "config.json"), load(f"{stem}-{quant}-{fmt}", "config.json"))
        assert got == wanted, f"config.json of {quant} {fmt}: {got}, wanted {wanted}"
genai = [load(f"{n}-int4-onnx", "genai_config.json")["model"]["decoder"] for n in (family, stem)]
assert changed(*genai) == {k: v for k, v in wanted.items() if k in genai[0]}, f"genai_config.json: {changed(*genai)}"
names = {"layers": "num_hidden_layers", "heads": "num_attention_heads", "kv_heads": "num_key_value_heads", "ffn": "intermediate_size", "experts": "num_local_experts"}
gguf = [{names[k]: load(n + ".assess")["model"][k] for k in names} for n in (family, stem)]
assert changed(*gguf) == wanted, f"metadata of GGUF: {changed(*gguf)}, wanted {wanted}"
for end in ("f32.gguf", "q4_k_m.gguf", *(f"{q}-{f}" for q in ("f32", "int4") for f in ("onnx", "openvino", "mlx"))):
    assert size(f"{stem}-{end}") < 0.95 * size(f"{family}-{end}"), f"{end}: {size(f'{stem}-{end}')} bytes of {size(f'{family}-{end}')}"

results = load("eval")["results"]
assert len(results) == runs and not any(r["failed"] for r in results), results
kld = {os.path.basename(r["path"]): r["kld_mean"] for r in results}
whole = kld.pop(f"{family}-f32.gguf")
assert whole > 0.1, f"the cut changes no more than {whole}: too little to tell one cut from another"
for name, k in kld.items():
    # OpenVINO's graph computes in its own order, with a cache in f16
    most = whole / 2 if "int4" in name or "q4_k" in name else 1e-3 if "openvino" in name else 1e-4
    assert k is not None and k < most, f"{name}: KLD {k} from the same cut as f32 GGUF, wanted below {most}"
PY
}

cut llama ffn intermediate_size=512:256
cut llama heads num_attention_heads=4:2 num_key_value_heads=2:1
cut llama layers num_hidden_layers=2:1
cut gemma2 heads num_attention_heads=4:2 num_key_value_heads=2:1
cut mixtral experts num_local_experts=4:2
exit $failed
