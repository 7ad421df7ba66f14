#!/usr/bin/env bash
# hone convert: the same bytes on any number of threads, bad input in one clear line, nothing half-written, ever.
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'umount "$tmp/small" 2>/dev/null; chmod -R u+w "$tmp" 2>/dev/null; rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
model=$HONE_SOURCE_DIR/examples/models/tale-8m
tiny=$HONE_SOURCE_DIR/tests/golden/tiny
validate=$HONE_SOURCE_DIR/tests/tools/validate

"$HONE" convert "$model" --quant q4_k_m,q8_0 -o "$tmp/one" --threads 1 --json >"$tmp/doc" 2>/dev/null || fail "convert exits $?"
"$validate" convert "$tmp/doc" || failed=1
"$HONE" convert "$model" --quant q8_0 -o "$tmp/four" --threads 4 --quiet >/dev/null || fail "convert on 4 threads exits $?"
"$HONE" convert "$model" --quant q4_k_m -o "$tmp/four" --threads 7 --quiet >/dev/null || fail "convert on 7 threads exits $?"
for q in q4_k_m q8_0; do
    cmp "$tmp/one/tale-8m-$q.gguf" "$tmp/four/tale-8m-$q.gguf" || fail "$q: other bytes on other threads"
    grep -q "$(sha256sum "$tmp/one/tale-8m-$q.gguf" | cut -d' ' -f1)" "$tmp/doc" || fail "$q: the document has another sha256"
done
# A relative path, a trailing slash and a file inside name the same model.
(cd "$model" && "$HONE" convert . --quant q8_0 -o "$tmp/dot" --quiet >/dev/null) || fail "convert . exits $?"
"$HONE" convert "$model/" --quant q8_0 -o "$tmp/slash" --quiet >/dev/null || fail "convert DIR/ exits $?"
"$HONE" convert "$model/model.safetensors" --quant q8_0 -o "$tmp/file" --quiet >/dev/null || fail "convert FILE exits $?"
for d in dot slash file; do cmp "$tmp/one/tale-8m-q8_0.gguf" "$tmp/$d/tale-8m-q8_0.gguf" || fail "$d: other bytes"; done

"$HONE" convert "$model" --dry-run --json >"$tmp/doc" || fail "--dry-run exits $?"
"$validate" convert "$tmp/doc" || failed=1
[ -e tale-8m-q4_k_m.gguf ] && fail "--dry-run wrote a file"
"$HONE" convert "$model" --quant q4_k_m --keep 'blk.*.ffn_down.weight=f16' -o "$tmp/keep" --json 2>/dev/null |
    /usr/bin/python3 -c "
import json, sys
plan = {t['name']: t['encodings']['q4_k_m'] for t in json.load(sys.stdin)['plan']}
assert plan['blk.3.ffn_down.weight'] == 'f16', plan['blk.3.ffn_down.weight']
assert plan['blk.3.ffn_up.weight'] == 'q4_k', plan['blk.3.ffn_up.weight']" || fail "--keep"

# expect CODE 'TEXT' ARGS...: also, nothing may appear under a final name
expect() {
    local code=$1 text=$2 rc
    shift 2
    rm -rf "$tmp/no"
    "$HONE" convert "$@" -o "$tmp/no" >"$tmp/out" 2>"$tmp/err"
    rc=$?
    [ $rc -eq "$code" ] || fail "convert $*: exit $rc, needs $code: $(cat "$tmp/err")"
    grep -qF -- "$text" "$tmp/err" || fail "convert $*: stderr lacks '$text': $(cat "$tmp/err")"
    [ -z "$(find "$tmp/no" -type f 2>/dev/null)" ] || fail "convert $*: left $(find "$tmp/no" -type f)"
}
bad() { # bad NAME: a fresh copy of the tiny llama to spoil
    rm -rf "$tmp/$1"
    cp -r "$tiny/llama" "$tmp/$1"
}
edit() { /usr/bin/python3 - "$@" <<'PY'
import json, sys
path, code = sys.argv[1:3]
c = json.load(open(path))
exec(code)
json.dump(c, open(path, "w"))
PY
}
retensor() { # retensor DIR 'python over tensors{name:(dtype,shape,bytes)}'
    /usr/bin/python3 - "$1/model.safetensors" "$2" <<'PY'
import json, struct, sys
path, code = sys.argv[1:3]
raw = open(path, "rb").read()
n = struct.unpack("<Q", raw[:8])[0]
head = json.loads(raw[8:8 + n])
t = {k: [v["dtype"], v["shape"], bytearray(raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]])] for k, v in head.items() if k != "__metadata__"}
exec(code)
out, at, blob = {}, 0, b""
for k, (d, s, b) in t.items():
    out[k] = {"dtype": d, "shape": s, "data_offsets": [at, at + len(b)]}
    at += len(b)
    blob += bytes(b)
h = json.dumps(out).encode()
open(path, "wb").write(struct.pack("<Q", len(h)) + h + blob)
PY
}
bad truncated; truncate -s -1 "$tmp/truncated/model.safetensors"
expect 3 "model.safetensors" "$tmp/truncated"
bad nan; retensor "$tmp/nan" "t['model.layers.0.mlp.up_proj.weight'][2][0:2] = b'\xc0\x7f'"
expect 3 "tensor 'model.layers.0.mlp.up_proj.weight' holds NaN at row 0, column 0" "$tmp/nan"
bad inf; retensor "$tmp/inf" "t['model.norm.weight'][2][2:4] = b'\x80\x7f'"
expect 3 "tensor 'model.norm.weight' holds Inf at row 0, column 1" "$tmp/inf"
bad missing; retensor "$tmp/missing" "del t['model.layers.0.mlp.up_proj.weight']"
expect 3 "model.layers.0.mlp.up_proj.weight" "$tmp/missing"
bad surplus; retensor "$tmp/surplus" "t['model.layers.0.mlp.extra.weight'] = ['F32', [1], bytearray(4)]"
expect 3 "model.layers.0.mlp.extra.weight" "$tmp/surplus"
bad shape; retensor "$tmp/shape" "x = t['model.layers.0.mlp.up_proj.weight']; x[1] = x[1][::-1]"
expect 3 "model.layers.0.mlp.up_proj.weight" "$tmp/shape"
bad family; edit "$tmp/family/config.json" "c['architectures'] = ['Zamba9ForCausalLM']"
expect 4 "Zamba9ForCausalLM" "$tmp/family"
bad rope; edit "$tmp/rope/config.json" "c.pop('rope_parameters', None); c['rope_scaling'] = {'rope_type': 'spiral', 'factor': 2.0}"
expect 4 "spiral" "$tmp/rope"
bad heads; edit "$tmp/heads/config.json" "c['num_attention_heads'] = 0"
expect 3 "num_attention_heads" "$tmp/heads"
bad nojson; printf '{"a":' >"$tmp/nojson/config.json"
expect 3 "config.json" "$tmp/nojson"
bad pre; edit "$tmp/pre/tokenizer.json" "c['pre_tokenizer'] = {'type': 'Split', 'pattern': {'Regex': 'abc+'}, 'behavior': 'Isolated', 'invert': False}"
expect 4 "abc+" "$tmp/pre"
bad index; mv "$tmp/index/model.safetensors" "$tmp/index/outside.safetensors"
printf '{"metadata":{},"weight_map":{"model.norm.weight":"../../../etc/passwd"}}' >"$tmp/index/model.safetensors.index.json"
expect 3 "points outside its folder" "$tmp/index"
mkdir -p "$tmp/empty"; expect 3 "config.json" "$tmp/empty"

# A folder one may not write to.
mkdir "$tmp/locked"
if [ "$(id -u)" -ne 0 ]; then chmod a-w "$tmp/locked"; ro=$tmp/locked; else ro=/proc/hone; fi
"$HONE" convert "$model" -o "$ro" 2>"$tmp/err"
[ $? -eq 6 ] || fail "read-only output: $(cat "$tmp/err")"
# A full disk: a filesystem of 2 MB where this user may mount one, else a file size limit.
mkdir "$tmp/small"
if mount -t tmpfs -o size=2m tmpfs "$tmp/small" 2>/dev/null; then
    "$HONE" convert "$model" -o "$tmp/small" 2>"$tmp/err"
    rc=$?
    [ $rc -eq 6 ] || fail "full disk: exit $rc: $(cat "$tmp/err")"
    grep -q "needs .* bytes, .* has .* free" "$tmp/err" || fail "full disk is not named: $(cat "$tmp/err")"
    [ -z "$(find "$tmp/small" -type f)" ] || fail "full disk: left $(find "$tmp/small" -type f)"
    umount "$tmp/small"
fi
(
    trap '' XFSZ
    ulimit -f 1024
    "$HONE" convert "$model" -o "$tmp/limit" 2>"$tmp/err.limit"
)
rc=$?
[ $rc -eq 6 ] || fail "file size limit: exit $rc: $(cat "$tmp/err.limit")"
[ -z "$(find "$tmp/limit" -name '*.gguf')" ] || fail "file size limit: a file has its final name"

# kill -9 at many moments: a final name only ever holds the whole file.
want=$(sha256sum "$tmp/one/tale-8m-q4_k_m.gguf" | cut -d' ' -f1)
killed=0
for ms in 5 10 20 30 45 60 80 100 130 160 200; do
    "$HONE" convert "$model" --quant q4_k_m -o "$tmp/kill" --threads 1 --quiet >/dev/null 2>&1 &
    pid=$!
    sleep "$(printf '0.%03d' "$ms")"
    kill -9 $pid 2>/dev/null && killed=$((killed + 1))
    wait $pid 2>/dev/null
    f=$tmp/kill/tale-8m-q4_k_m.gguf
    if [ -e "$f" ]; then
        [ "$(sha256sum "$f" | cut -d' ' -f1)" = "$want" ] || fail "killed after $ms ms: the final name holds other bytes"
        rm -f "$f"
    fi
done
[ $killed -gt 0 ] || fail "no run was killed in time"
"$HONE" convert "$model" --quant q4_k_m -o "$tmp/kill" --quiet >/dev/null || fail "convert after a kill exits $?"
[ "$(sha256sum "$tmp/kill/tale-8m-q4_k_m.gguf" | cut -d' ' -f1)" = "$want" ] || fail "other bytes after a kill"
[ -z "$(find "$tmp/kill" -name '*.tmp')" ] || fail "a temporary stays after a good run"
exit $failed
