#!/usr/bin/env bash
# A checkpoint that is damaged, lying or hostile: the promised exit code, one clear error, and nothing under the output's name.
# ctest: timeout 300
set -u
src=$HONE_SOURCE_DIR/tests/golden/tiny/llama
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }

# fresh: a good copy in $tmp/m
fresh() { rm -rf "$tmp/m" && cp -r "$src" "$tmp/m"; }

# edit PYTHON: runs it with head (the JSON of model.safetensors), data (bytes), config (a dict), put(), index() and save() at hand
edit() {
    python3 - "$tmp/m" "$1" <<'PY' || fail "cannot prepare: $1"
import json, os, struct, sys
folder, code = sys.argv[1:3]
path = os.path.join(folder, "model.safetensors")
raw = open(path, "rb").read()
n = struct.unpack("<Q", raw[:8])[0]
head, data = json.loads(raw[8:8 + n]), raw[8 + n:]
config = json.load(open(os.path.join(folder, "config.json")))
def put(name, blob): open(os.path.join(folder, name), "wb").write(blob)
def file_of(head, data):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + data
def save(): put("model.safetensors", file_of(head, data)), put("config.json", json.dumps(config).encode())
def index(m): os.remove(path), put("model.safetensors.index.json", json.dumps({"weight_map": m}).encode())
exec(code)
PY
}

# refuses EXIT CAUSE: hone convert of $tmp/m must end so; CAUSE is a grep -E pattern of the whole cause
refuses() {
    local out rc cause count
    rm -rf "$tmp/out"
    out=$("$HONE" convert "$tmp/m" --to gguf --quant q8_0 -o "$tmp/out" --json 2>"$tmp/err")
    rc=$?
    cause=$(printf '%s' "$out" | python3 -c 'import json,sys; d=json.load(sys.stdin); assert d["ok"] is False; assert "\n" not in d["error"]["cause"]; print(d["error"]["cause"])') ||
        { fail "no JSON error for '$2': ${out:0:200}"; return; }
    [ "$rc" = "$1" ] || fail "exit $rc instead of $1: $cause"
    printf '%s\n' "$cause" | grep -Eqx -- "$2" || fail "cause '$cause', wanted '$2'"
    count=$(grep -c '^hone convert: ' "$tmp/err")
    [ "$count" = 1 ] || fail "$count error lines for '$2'"
    if [ -d "$tmp/out" ] && [ -n "$(ls -A "$tmp/out")" ]; then fail "left behind: $(ls -A "$tmp/out")"; fi
}

fresh
"$HONE" convert "$tmp/m" --to gguf --quant q8_0 -o "$tmp/good" --json >/dev/null 2>&1 || fail "the good copy is refused"

# --- bytes missing or too many
size=$(stat -c %s "$src/model.safetensors")
for cut in 0 1 7 8 9 100 1000 $((size / 2)) $((size - 1)); do
    fresh && truncate -s "$cut" "$tmp/m/model.safetensors"
    refuses 3 ".*m/model.safetensors.*: (file has .* bytes, needs 9|header ends at byte .*|tensor '.*' lies at .*)"
done
fresh && printf 'x' >>"$tmp/m/model.safetensors"
refuses 3 ".*: tensors end at byte [0-9]+ of the data, it has [0-9]+"
fresh && edit 'put("model.safetensors", struct.pack("<Q", 2**63) + raw[8:])'
refuses 3 ".*: header length 9223372036854775808 is outside 1..100000000"

# --- headers that lie
fresh && edit 'next(iter(v for k, v in head.items() if k != "__metadata__"))["shape"] = [2**32, 2**32]; save()'
refuses 3 ".*: tensor '.*': its shape needs more than 2\^64 bytes"
fresh && edit 'next(iter(v for k, v in head.items() if k != "__metadata__"))["dtype"] = "F128"; save()'
refuses 4 ".*: tensor '.*' has unknown dtype 'F128'"
fresh && edit 'text = json.dumps(head).encode(); put("model.safetensors", file_of(text[:-1] + b", " + text[1:], data))'
refuses 3 ".*: header: line 1, column [0-9]+: duplicate object key near '.*'"
fresh && edit 'put("model.safetensors", file_of(b"{\"a\":" * 100000, data))'
refuses 3 ".*: header: JSON is nested more than 512 levels deep"

# --- an index that points elsewhere
fresh && edit 'index({"w": "../config.json"})'
refuses 3 ".*: file name '\.\./config.json' points outside its folder"
fresh && edit 'index({"w": "/etc/passwd"})'
refuses 3 ".*: file name '/etc/passwd' points outside its folder"
fresh && edit 'index({"w": "model-00001-of-00002.safetensors"})'
refuses 3 ".*: shard 'model-00001-of-00002.safetensors' is missing"
fresh && edit 'put("a.safetensors", raw); index({k: "a.safetensors" for k in [*head, "ghost.weight"] if k != "__metadata__"})'
refuses 3 "\"weight_map\" puts tensor 'ghost.weight' into 'a.safetensors', which lacks it"
fresh && rm "$tmp/m/model.safetensors"
refuses 3 "folder '.*/m' has neither model.safetensors nor model.safetensors.index.json"
fresh && rm "$tmp/m/model.safetensors" && printf 'PK' >"$tmp/m/pytorch_model.bin"
refuses 4 "folder '.*/m' has 'pytorch_model.bin' and no model.safetensors"

# --- tensors that are not those of the family
fresh && edit 'head["model.layers.0.mlp.surprise.weight"] = {"dtype": "F32", "shape": [1], "data_offsets": [len(data), len(data) + 4]}; data += bytes(4); save()'
refuses 3 ".*model.layers.0.mlp.surprise.weight.*"
fresh && edit 'head["model.layers.0.mlp.other.weight"] = head.pop("model.layers.0.mlp.up_proj.weight"); save()'
refuses 3 ".*model.layers.0.mlp.(other|up_proj).weight.*"
fresh && edit 't = head["model.layers.0.mlp.up_proj.weight"]; t["shape"] = [t["shape"][0] * 2, t["shape"][1] // 2]; save()'
refuses 3 ".*model.layers.0.mlp.up_proj.weight.*\[.*\].*\[.*\].*"

# --- weights that are no numbers: bf16 NaN and infinity
for bits in c07f 807f; do
    fresh && edit "b = head['model.layers.1.mlp.up_proj.weight']['data_offsets'][0]; data = data[:b + 20] + bytes.fromhex('$bits') + data[b + 22:]; save()"
    refuses 3 ".*model.layers.1.mlp.up_proj.weight.*(NaN|Inf).*"
done

# --- config.json
fresh && edit 'config["architectures"] = ["WonderForCausalLM"]; save()'
refuses 4 ".*WonderForCausalLM.*"
fresh && edit 'put("config.json", b"{\"a\":" * 5000)'
refuses 3 ".*config.json.*: JSON is nested more than 512 levels deep"
fresh && edit 'put("config.json", b"{\"hidden_size\":1,\"hidden_size\":2}")'
refuses 3 ".*config.json.*duplicate object key.*"
fresh && edit 'config["hidden_size"] = -1; save()'
refuses 3 ".*hidden_size.* is -1.*"
fresh && rm "$tmp/m/config.json"
refuses 3 ".*config.json.*"

exit $failed
