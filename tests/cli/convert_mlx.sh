#!/usr/bin/env bash
# hone convert --to mlx: the tensors that mlx_lm.convert makes (by the digests in tests/golden/mlx/folders.json), folders that appear whole or
# not at all, both formats from one read.
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
model=$HONE_SOURCE_DIR/examples/models/tale-8m
tiny=$HONE_SOURCE_DIR/tests/golden/tiny
validate=$HONE_SOURCE_DIR/tests/tools/validate
sum() { sha256sum <"$1" | cut -d" " -f1; }
digest() { (cd "$1" && LC_ALL=C && export LC_ALL && sha256sum -- * | sha256sum | cut -d" " -f1); }

# --- every family: the tensors, their names, and what config.json says of their quantisation
for m in "$tiny"/*/ "$model/" "$HONE_SOURCE_DIR/tests/golden/tale-moe/"; do
    name=$(basename "$m")
    [ "$name" = bert ] && continue
    "$HONE" convert "$m" --to mlx --quant int4,f32,mxfp4,nvfp4,mxfp8 -o "$tmp/all" --quiet >/dev/null 2>"$tmp/err" || fail "$name: exit $?: $(cat "$tmp/err")"
done
/usr/bin/python3 - "$HONE_SOURCE_DIR/tests/golden/mlx/folders.json" "$tmp/all" <<'PY' || failed=1
import hashlib, json, struct, sys
from pathlib import Path
golden, made, bad = json.load(open(sys.argv[1]))["models"], Path(sys.argv[2]), 0
for name, quants in golden.items():
    for quant, want in quants.items():
        folder = made / f"{name}-{quant}-mlx"
        raw = (folder / "model.safetensors").read_bytes()
        n = struct.unpack("<Q", raw[:8])[0]
        head = json.loads(raw[8:8 + n])
        assert head.pop("__metadata__") == {"format": "mlx"}
        part = lambda t: raw[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]]
        lines = [f"{k} {t['dtype']} {t['shape']} {hashlib.sha256(part(t)).hexdigest()}\n" for k, t in sorted(head.items())]
        if hashlib.sha256("".join(lines).encode()).hexdigest() != want:
            bad = print(f"FAIL: {name} {quant}: other tensors than mlx_lm makes") or 1
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        assert index["weight_map"] == {k: "model.safetensors" for k in head}, name
        assert index["metadata"]["total_size"] == len(raw) - 8 - n, name
        config = json.loads((folder / "config.json").read_text())
        assert config.get("quantization") == config.get("quantization_config"), name
        if quant != "f32":
            said = {"int4": (4, 64, "affine"), "mxfp4": (4, 32, "mxfp4"), "nvfp4": (4, 16, "nvfp4"), "mxfp8": (8, 32, "mxfp8")}[quant]
            assert tuple(config["quantization"][k] for k in ("bits", "group_size", "mode")) == said, (name, quant)
        else:
            assert "quantization" not in config and config["torch_dtype"] == "float32", name
moe = json.loads((made / "qwen3_moe-int4-mlx/config.json").read_text())["quantization"]
assert moe["model.layers.1.mlp.gate"] == {"group_size": 64, "bits": 8}, moe
sys.exit(bad)
PY
for f in tokenizer.json tokenizer_config.json generation_config.json; do cmp "$model/$f" "$tmp/all/tale-8m-int4-mlx/$f" || fail "$f is not copied"; done

# --- modules that are to have another type: mlx_lm reads what they have by their path (tests/judges/mlx_folders.py lets it)
"$HONE" convert "$tiny/llama" --to mlx --quant bf16 --keep '*.down_proj.weight=int8' --keep '*norm*=int8' --keep '*.1.*down_proj.weight=f16' -o "$tmp/kept" \
    --json >"$tmp/doc" 2>/dev/null && fail "norms cannot be int8"
"$HONE" convert "$tiny/llama" --to mlx,gguf --quant f32 --keep '*.down_proj.weight=int8' --keep '*.1.*down_proj.weight=f16' -o "$tmp/kept" --json \
    >"$tmp/doc" 2>"$tmp/err" || fail "--keep: exit $?: $(cat "$tmp/err")"
/usr/bin/python3 - "$tmp/doc" "$tmp/kept/llama-f32-mlx/config.json" <<'PY' || failed=1
import json, sys
doc, config = (json.load(open(f)) for f in sys.argv[1:])
plan = {t["name"]: t["encodings"]["f32"] for t in doc["plan"] if t["format"] == "mlx"}
assert plan["model.layers.0.mlp.down_proj.weight"] == "int8 g64" and plan["model.layers.1.mlp.down_proj.weight"] == "f16", plan
assert plan["model.layers.0.mlp.up_proj.weight"] == "f32", plan
assert config["quantization"]["model.layers.0.mlp.down_proj"] == {"group_size": 64, "bits": 8, "mode": "affine"}, config
PY

# --- two formats, one read, any number of threads, and the document
"$HONE" convert "$model" --to gguf,mlx --quant int4,gguf=q8_0,mlx=int3 --group 32 --threads 3 -o "$tmp/both" --json >"$tmp/doc" 2>/dev/null ||
    fail "gguf,mlx exits $?"
"$validate" convert "$tmp/doc" || failed=1
"$HONE" convert "$model" --quant q4_k_m,q8_0 -o "$tmp/gguf" --threads 1 --quiet >/dev/null || fail "gguf exits $?"
"$HONE" convert "$model" --to mlx --quant int4,int3 --group 32 -o "$tmp/mlx" --threads 1 --quiet >/dev/null || fail "mlx exits $?"
for q in q4_k_m q8_0; do cmp "$tmp/both/tale-8m-$q.gguf" "$tmp/gguf/tale-8m-$q.gguf" || fail "$q differs when mlx is written too"; done
for q in int4 int3; do diff -r "$tmp/both/tale-8m-$q-mlx" "$tmp/mlx/tale-8m-$q-mlx" || fail "$q differs when gguf is written too"; done
/usr/bin/python3 - "$tmp/doc" "$(digest "$tmp/both/tale-8m-int4-mlx")" "$(cat "$tmp/both/tale-8m-int4-mlx"/* | wc -c)" "$(stat -c %s "$model/model.safetensors")" <<'PY' || failed=1
import json, sys
doc, digest, size, source = json.load(open(sys.argv[1])), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
outputs = {(o["format"], o["quantization"]): o for o in doc["outputs"]}
assert list(outputs) == [("gguf", "q4_k_m"), ("mlx", "int4"), ("gguf", "q8_0"), ("mlx", "int3")], list(outputs)
o = outputs["mlx", "int4"]
assert o["sha256"] == digest and o["bytes"] == size, (o, digest, size)
assert 5.0 <= o["bpw"] < 5.1, o  # 4 bits, and 2 x 16 for each 32
assert doc["read_bytes"] < source, "the weights are read once"
plan = {(t["format"], t["name"]): t for t in doc["plan"]}
assert plan["mlx", "model.layers.0.mlp.up_proj.weight"]["encodings"] == {"int4": "int4 g32", "int3": "int3 g32"}
assert plan["gguf", "blk.0.ffn_up.weight"]["encodings"] == {"q4_k_m": "q4_k", "q8_0": "q8_0"}
PY
"$HONE" convert "$model" --to mlx --dry-run -o "$tmp/dry" --json >"$tmp/doc" 2>/dev/null || fail "--dry-run exits $?"
"$validate" convert "$tmp/doc" || failed=1
[ -e "$tmp/dry" ] && fail "--dry-run wrote something"

# --- what is not there, or makes no sense
expect() { # CODE TEXT ARGUMENTS...
    local code=$1 text=$2 rc
    shift 2
    "$HONE" convert "$@" >/dev/null 2>"$tmp/err"
    rc=$?
    [ $rc -eq "$code" ] || fail "convert $*: exit $rc, needs $code"
    grep -qF -- "$text" "$tmp/err" || fail "convert $*: '$text' is not in: $(cat "$tmp/err")"
}
expect 2 "mlx has no encoding 'q4_k_m'" "$model" --to gguf,mlx --quant q4_k_m -o "$tmp/no"
expect 2 "gguf has no encoding 'int3'" "$model" --to gguf,mlx --quant int3 -o "$tmp/no"
expect 2 "is for a format that --to does not name" "$model" --to gguf --quant mlx=int4 -o "$tmp/no"
expect 2 "--to names 'mlx' twice" "$model" --to mlx,mlx -o "$tmp/no"
expect 2 "is asked for twice" "$model" --to mlx --quant int4,auto -o "$tmp/no"
expect 2 "mlx has no groups of 48" "$model" --to mlx --group 48 -o "$tmp/no"
expect 2 "--group says nothing about gguf" "$model" --group 64 -o "$tmp/no"
expect 2 "--group is 'wide', needs a number of columns" "$model" --to mlx --group wide -o "$tmp/no"
expect 2 "only openvino has a scale for a whole row" "$model" --to mlx --group row -o "$tmp/no"
expect 2 "mlx has mxfp4 in groups of 32 only, --group is 64" "$model" --to mlx --quant mxfp4 --group 64 -o "$tmp/no"
expect 2 "mlx has no type 'q8_0'" "$model" --to mlx --keep '*=q8_0' -o "$tmp/no"
expect 2 "--keep 'blk.*' matches no tensor" "$model" --to mlx --keep 'blk.*=f16' -o "$tmp/no"
expect 2 "--split-bytes says nothing about mlx" "$model" --to mlx --split-bytes 2G -o "$tmp/no"
expect 4 "hone cannot write 'tflite' files" "$model" --to tflite -o "$tmp/no"
expect 4 "mlx_lm does not know the family bert" "$tiny/bert" --to mlx -o "$tmp/no"
expect 4 "leave mlx out of --to to get the other formats" "$tiny/bert" --to gguf,onnx,openvino,mlx --quant f32 -o "$tmp/no"
[ -e "$tmp/no" ] && fail "a refused conversion left $(find "$tmp/no")"
"$HONE" convert "$tiny/mistral" --to mlx -o "$tmp/limit" --quiet >/dev/null 2>"$tmp/err" || fail "mistral exits $?"
grep -q "in mlx_lm: attention looks back 8 tokens" "$tmp/err" || fail "the sliding window is not told: $(cat "$tmp/err")"

# --- a folder is replaced whole, and only when nothing of the user's is in it
"$HONE" convert "$model" --to mlx --quant int8 --name m -o "$tmp/again" --quiet >/dev/null || fail "first exits $?"
want=$(digest "$tmp/again/m-int8-mlx")
touch "$tmp/again/m-int8-mlx/model-00001-of-00002.safetensors"
"$HONE" convert "$model" --to mlx --quant int8 --name m -o "$tmp/again" --quiet >/dev/null || fail "second exits $?"
[ "$(digest "$tmp/again/m-int8-mlx")" = "$want" ] || fail "a stale shard stays: $(ls "$tmp/again/m-int8-mlx")"
touch "$tmp/again/m-int8-mlx/notes.txt"
expect 2 "holds 'notes.txt', which hone did not write" "$model" --to mlx --quant int8 --name m -o "$tmp/again"
rm "$tmp/again/m-int8-mlx/notes.txt"
touch "$tmp/again/m-int8-mlx/README.md" # of the user: hone writes none
expect 2 "holds 'README.md', which hone did not write" "$model" --to mlx --quant int8 --name m -o "$tmp/again"
rm "$tmp/again/m-int8-mlx/README.md"
killed=0
for ms in 5 15 30 50 80 120; do
    "$HONE" convert "$model" --to mlx --quant int8 --name m -o "$tmp/again" --threads 1 --quiet >/dev/null 2>&1 &
    pid=$!
    sleep "$(printf '0.%03d' "$ms")"
    kill -9 $pid 2>/dev/null && killed=$((killed + 1))
    wait $pid 2>/dev/null
    [ "$(digest "$tmp/again/m-int8-mlx")" = "$want" ] || fail "killed after $ms ms: the folder holds something else"
done
[ $killed -gt 0 ] || fail "no run was killed in time"
"$HONE" convert "$model" --to mlx --quant int8 --name m -o "$tmp/again" --quiet >/dev/null || fail "convert after a kill exits $?"
[ "$(ls "$tmp/again")" = m-int8-mlx ] || fail "left behind: $(ls "$tmp/again")"
exit $failed
