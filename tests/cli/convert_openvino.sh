#!/usr/bin/env bash
# hone convert --to openvino: the constants of the IR and how they are compressed, folders that appear whole or not at all, the same bytes at any
# number of threads.  What OpenVINO makes of them is for tests/cli/judge_openvino.sh.
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
model=$HONE_SOURCE_DIR/examples/models/tale-8m
tiny=$HONE_SOURCE_DIR/tests/golden/tiny
validate=$HONE_SOURCE_DIR/tests/tools/validate

# --- every family, every encoding, from one read each
for m in "$tiny"/*/; do
    "$HONE" convert "$m" --to openvino --quant f32,f16,int8,int4 --group 64 -o "$tmp/all" --quiet >/dev/null 2>"$tmp/err" || fail "$(basename "$m"): exit $?: $(cat "$tmp/err")"
done
"$HONE" convert "$tiny/llama" --to openvino --quant int8,int4 --sym --group row --name sym -o "$tmp/all" --quiet >/dev/null 2>"$tmp/err" || fail "--sym: exit $?"
"$HONE" convert "$tiny/llama" --to openvino --quant int4 --group 32 --ratio 0.5 --name half -o "$tmp/all" --json >"$tmp/doc" 2>/dev/null || fail "--ratio: exit $?"
"$validate" convert "$tmp/doc" || failed=1
/usr/bin/python3 - "$tmp/all" <<'PY' || failed=1
import json, struct, sys, xml.etree.ElementTree as tree
from pathlib import Path
BITS = {"f32": 32, "f16": 16, "i64": 64, "i32": 32, "boolean": 8, "u8": 8, "i8": 8, "u4": 4, "i4": 4}
made = Path(sys.argv[1])

def model(folder):
    net = tree.parse(folder / "openvino_model.xml").getroot()
    size, layers = (folder / "openvino_model.bin").stat().st_size, {l.get("id"): l for l in net.find("layers")}
    assert net.get("version") == "11" and len({l.get("name") for l in layers.values()}) == len(layers), folder
    consts, spans = {}, []
    for l in layers.values():
        if l.get("type") == "Const":
            d = l.find("data")
            dims, n = [int(x) for x in d.get("shape").split(",") if x], 1
            for x in dims:
                n *= x
            assert (n * BITS[d.get("element_type")] + 7) // 8 == int(d.get("size")), (folder, l.get("name"))
            consts[l.get("name")] = (d.get("element_type"), dims)
            spans.append((int(d.get("offset")), int(d.get("size"))))
    end = 0
    for at, n in sorted(spans):  # nothing overlaps, nothing lies behind the end
        assert at >= end and at + n <= size, folder
        end = at + n
    for e in net.find("edges"):
        assert e.get("from-layer") in layers and e.get("to-layer") in layers, folder
    inputs = [l.get("name") for l in layers.values() if l.get("type") == "Parameter"]
    return consts, inputs, net.find("rt_info"), [l.get("type") for l in layers.values()]

for folder in sorted(made.iterdir()):
    consts, inputs, info, types = model(folder)
    name, quant, _ = folder.name.rsplit("-", 2)
    if name == "bert":
        assert inputs == ["input_ids", "attention_mask", "token_type_ids"] and "ReadValue" not in types, inputs
        continue
    assert inputs == ["input_ids", "attention_mask", "position_ids", "beam_idx"], inputs
    n = json.loads((folder / "config.json").read_text())
    n = n.get("num_hidden_layers") or n["n_layer"]
    assert types.count("ReadValue") == types.count("Assign") == 2 * n, folder
    assert types.count("ScaledDotProductAttention") == (0 if name == "gemma2" else n), folder
    mode = info.find("nncf/weight_compression/mode")
    assert (mode is None) == (quant[0] == "f"), folder
    assert info.find("runtime_options/ACTIVATIONS_SCALE_FACTOR").get("value") == "8.0", folder
    assert json.loads((folder / "generation_config.json").read_text()).get("eos_token_id") is not None, folder
    for f in ("openvino_tokenizer.xml", "openvino_tokenizer.bin", "openvino_detokenizer.xml", "openvino_detokenizer.bin"):
        assert (folder / f).exists(), (folder, f)

up, embed, norm = "model.layers.0.mlp.up_proj.weight", "model.embed_tokens.weight", "model.norm.weight"
for quant, want in (("f32", "f32"), ("f16", "f16"), ("int8", "u8"), ("int4", "u4")):
    consts = model(made / f"llama-{quant}-openvino")[0]
    assert consts[up] == (want, [512, 256] if quant != "int4" else [512, 4, 64]), consts[up]
    assert consts[embed][0] == ("u8" if quant[0] == "i" else want) and consts[norm] == ("f32", [1, 1, 256]), quant
    assert (up + "/zero_point" in consts) == (quant[0] == "i"), quant
assert consts[up + "/scale"] == ("f16", [512, 4, 1]) and consts[up + "/zero_point"] == ("u4", [512, 4, 1]), consts
assert consts[embed + "/scale"] == ("f16", [512, 1]), consts
sym8, sym4 = (model(made / f"sym-{q}-openvino")[0] for q in ("int8", "int4"))
assert sym8[up] == ("i8", [512, 256]) and sym4[up] == ("i4", [512, 256]) and sym4[up + "/scale"] == ("f16", [512, 1]), (sym8[up], sym4[up])
assert up + "/zero_point" not in sym4 and sym4[embed + "/zero_point"] == ("u8", [512, 1])
consts, _, info, _ = model(made / "half-int4-openvino")
assert 0 < sum(t == "u4" for t, _ in consts.values()) < 28 and info.find("nncf/weight_compression/ratio").get("value") == "0.5"
# Gemma's norms are stored minus one; here the one is added.
raw = (Path("tests/golden/tiny/gemma2/model.safetensors")).read_bytes()
size = struct.unpack("<Q", raw[:8])[0]
at = json.loads(raw[8:8 + size])["model.norm.weight"]["data_offsets"][0] + 8 + size
stored = struct.unpack("<f", b"\0\0" + raw[at:at + 2])[0]
net = tree.parse(made / "gemma2-f32-openvino/openvino_model.xml").getroot()
d = next(l.find("data") for l in net.find("layers") if l.get("name") == "model.norm.weight")
got = struct.unpack_from("<f", (made / "gemma2-f32-openvino/openvino_model.bin").read_bytes(), int(d.get("offset")))[0]
assert abs(got - (stored + 1)) < 1e-6, (got, stored)
PY

# --- any number of threads, other formats beside it, dry run
"$HONE" convert "$model" --to openvino,gguf,mlx --quant int4 --threads 3 -o "$tmp/three" --json >"$tmp/doc" 2>/dev/null || fail "three formats: exit $?"
"$validate" convert "$tmp/doc" || failed=1
"$HONE" convert "$model" --to openvino --quant int4 --threads 1 -o "$tmp/one" --quiet >/dev/null || fail "one format: exit $?"
diff -r "$tmp/three/tale-8m-int4-openvino" "$tmp/one/tale-8m-int4-openvino" || fail "the folder depends on threads or on other formats"
"$HONE" convert "$model" --to openvino --dry-run -o "$tmp/dry" --json >"$tmp/doc" 2>/dev/null || fail "--dry-run exits $?"
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
expect 2 "openvino has no encoding 'q4_k_m'" "$model" --to openvino --quant q4_k_m -o "$tmp/no"
expect 2 "--keep says nothing about openvino" "$model" --to openvino --keep '*=f16' -o "$tmp/no"
expect 2 "--ratio" "$model" --to openvino --ratio 1.5 -o "$tmp/no"
[ -e "$tmp/no" ] && fail "a refused conversion left $(find "$tmp/no")"
"$HONE" convert "$tiny/gemma2" --to openvino --quant f32 -o "$tmp/limit" --json 2>/dev/null | grep -q "in openvino: scores of attention are soft-capped" || fail "the soft-cap is not told"

# --- a chat template that XML cannot hold is left out, and that is told
mkdir "$tmp/chat" && cp "$tiny/llama"/* "$tmp/chat" && rm -f "$tmp/chat/chat_template.jinja"
/usr/bin/python3 - "$tmp/chat/tokenizer_config.json" <<'PY'
import json, sys
c = json.load(open(sys.argv[1]))
c["chat_template"] = "{{ '\x01' }}"
json.dump(c, open(sys.argv[1], "w"))
PY
"$HONE" convert "$tmp/chat" --to openvino --quant f16,int8 --name chat -o "$tmp/chat.out" --json >"$tmp/doc" 2>/dev/null || fail "a control byte in the chat template: exit $?"
[ "$(grep -c "openvino_tokenizer.xml has no chat template" "$tmp/doc")" -eq 1 ] || fail "the chat template that was left out is not told once"
grep -q "<chat_template" "$tmp/chat.out/chat-int8-openvino/openvino_tokenizer.xml" && fail "the chat template was written"

# --- the search for what keeps 8 bits: the same on any number of threads
"$HONE" convert "$model" --to openvino --quant int4 --ratio 0.6 --threads 1 -o "$tmp/r1" --quiet >/dev/null || fail "--ratio: exit $?"
"$HONE" convert "$model" --to openvino --quant int4 --ratio 0.6 --threads 3 -o "$tmp/r3" --json 2>"$tmp/err" >/dev/null || fail "--ratio --threads 3: exit $?"
diff -r "$tmp/r1" "$tmp/r3" || fail "--ratio depends on threads"
grep -q "matrices keep 8 bits" "$tmp/err" || fail "the search of --ratio is not told: $(cat "$tmp/err")"

# --- a folder is replaced whole, and only when nothing of the user's is in it
touch "$tmp/one/tale-8m-int4-openvino/notes.txt"
expect 2 "holds 'notes.txt', which hone did not write" "$model" --to openvino --quant int4 -o "$tmp/one"
rm "$tmp/one/tale-8m-int4-openvino/notes.txt"
"$HONE" convert "$model" --to openvino --quant int4 -o "$tmp/one" --quiet >/dev/null || fail "again: exit $?"
diff -r "$tmp/three/tale-8m-int4-openvino" "$tmp/one/tale-8m-int4-openvino" || fail "the second run writes something else"
[ "$(ls "$tmp/one")" = tale-8m-int4-openvino ] || fail "left behind: $(ls "$tmp/one")"
exit $failed
