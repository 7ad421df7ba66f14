#!/usr/bin/env bash
# hone convert --split-bytes: parts no longer than asked, together the very tensors and keys of the one file, which the real runtime loads;
# a folder that appears whole or not at all.
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
model=$HONE_SOURCE_DIR/examples/models/tale-8m
validate=$HONE_SOURCE_DIR/tests/tools/validate

"$HONE" convert "$model" --quant q8_0,f32 -o "$tmp/one" --quiet >/dev/null || fail "one file exits $?"
"$HONE" convert "$model" --quant q8_0,f32 --split-bytes 2500k -o "$tmp/s" --json >"$tmp/doc" 2>/dev/null || fail "--split-bytes exits $?"
"$validate" convert "$tmp/doc" || failed=1
/usr/bin/python3 - "$tmp/doc" "$tmp/one" "$tmp/s" <<'PY' || failed=1
import hashlib, json, os, struct, sys
doc, one, split = json.load(open(sys.argv[1])), sys.argv[2], sys.argv[3]
SIZES = [1, 1, 2, 2, 4, 4, 4, 1, None, None, 8, 8, 8]

def read(path):
    """Keys (raw bytes) and tensors (type, dims, bytes) of a GGUF file, by a reader of our own."""
    raw, at = open(path, "rb").read(), 4
    def take(f):
        nonlocal at
        v = struct.unpack_from("<" + f, raw, at)[0]
        at += struct.calcsize("<" + f)
        return v
    def text():
        nonlocal at
        n = take("Q")
        at += n
        return raw[at - n:at]
    def skip(kind):
        nonlocal at
        if kind == 8: text()
        elif kind == 9:
            elem, n = take("I"), take("Q")
            for _ in range(n): skip(elem)
        else: at += SIZES[kind]
    assert raw[:4] == b"GGUF" and take("I") == 3
    n_tensors, n_keys, keys, infos = take("Q"), take("Q"), {}, []
    for _ in range(n_keys):
        name, kind, begin = text(), take("I"), at
        skip(kind)
        keys[name] = (kind, raw[begin:at])
    for _ in range(n_tensors):
        name, dims = text(), [take("Q") for _ in range(take("I"))]
        infos.append((name, dims, take("I"), take("Q")))
    data = (at + 31) // 32 * 32
    ends = [i[3] for i in infos[1:]] + [len(raw) - data]
    return keys, {i[0]: (i[1], i[2], raw[data + i[3]:data + e].rstrip(b"\0")) for i, e in zip(infos, ends)}

for o in doc["outputs"]:
    q, folder = o["quantization"], os.path.join(split, f"tale-8m-{o['quantization']}-gguf")
    files = sorted(os.listdir(folder))
    n = o["parts"]
    assert n > 2 and len(files) == n, files
    assert files == [f"tale-8m-{q}-{i + 1:05}-of-{n:05}.gguf" for i in range(n)], files
    assert o["path"] == os.path.join(folder, files[0]), o
    sizes = [os.path.getsize(os.path.join(folder, f)) for f in files]
    assert max(sizes) <= 2500000 and sum(sizes) == o["bytes"], sizes
    lines = "".join(f"{hashlib.sha256(open(os.path.join(folder, f), 'rb').read()).hexdigest()}  {f}\n" for f in files)
    assert hashlib.sha256(lines.encode()).hexdigest() == o["sha256"]
    keys, tensors = read(os.path.join(one, f"tale-8m-{q}.gguf"))
    found = {}
    for i, f in enumerate(files):
        k, t = read(os.path.join(folder, f))
        own = {name: k.pop(name) for name in list(k) if name.startswith(b"split.")}
        assert own == {b"split.no": (2, struct.pack("<H", i)), b"split.count": (2, struct.pack("<H", n)),
                       b"split.tensors.count": (5, struct.pack("<i", len(tensors)))}, own
        if i == 0:  # the recipes differ in what makes the parts, and in nothing else
            mine, whole = (json.loads(x.pop(b"hone.recipe")[1][8:]) for x in (k, keys))
            assert mine.pop("split_bytes") == 2500000 and mine.pop("digest") != whole.pop("digest") and mine == whole, (mine, whole)
        assert k == (keys if i == 0 else {}), f"{f}: other keys"
        assert not found.keys() & t.keys()
        found.update(t)
    assert list(found) == list(tensors) and found == tensors, f"{q}: other tensors"
PY

# The real runtime opens all parts by the first.
first=$tmp/s/tale-8m-f32-gguf/tale-8m-f32-00001-of-
if [ -f "$HONE_BUILD_DIR/hone-backend-llamacpp.so" ]; then
    "$HONE" check "$first"*.gguf --against "$model" --threads 1 --quiet >"$tmp/out" || fail "check of parts exits $?: $(cat "$tmp/out")"
    grep -q "^same model" "$tmp/out" || fail "check of parts does not say 'same model'"
fi

# Other parts take the place of the old ones as a whole; a folder with anything else in it stays.
"$HONE" convert "$model" --quant q8_0 --split-bytes 5M -o "$tmp/s" --quiet >/dev/null || fail "a second time exits $?"
[ "$(find "$tmp/s/tale-8m-q8_0-gguf" -type f | wc -l)" -eq 2 ] || fail "old parts are left: $(ls "$tmp/s/tale-8m-q8_0-gguf")"
touch "$tmp/s/tale-8m-q8_0-gguf/mine"
"$HONE" convert "$model" --quant q8_0 --split-bytes 3M -o "$tmp/s" --quiet >/dev/null 2>"$tmp/err"
[ $? -eq 2 ] || fail "a foreign file: exit $?"
grep -q "holds 'mine', which hone did not write" "$tmp/err" || fail "a foreign file is not named: $(cat "$tmp/err")"
[ -f "$tmp/s/tale-8m-q8_0-gguf/tale-8m-q8_0-00002-of-00002.gguf" ] || fail "the old parts are gone"
# What fits is one file, the same as without the option.
"$HONE" convert "$model" --quant q8_0 --split-bytes 1G -o "$tmp/whole" --quiet >/dev/null || fail "1G exits $?"
cmp "$tmp/whole/tale-8m-q8_0.gguf" "$tmp/one/tale-8m-q8_0.gguf" || fail "a file that need not be cut differs"
# The metadata may fill the first part.
"$HONE" convert "$model" --quant q2_k --split-bytes 450k -o "$tmp/small" --quiet >/dev/null 2>"$tmp/err" || fail "450k exits $?: $(cat "$tmp/err")"
[ -z "$(find "$tmp/small" -name '*.gguf' -size +450000c)" ] || fail "a part is too long"

# expect CAUSE ARGS...
expect() {
    local cause=$1 rc
    shift
    "$HONE" convert "$model" "$@" -o "$tmp/no" --json >"$tmp/doc" 2>/dev/null
    rc=$?
    [ $rc -eq 2 ] || fail "$*: exit $rc"
    "$validate" convert "$tmp/doc" || failed=1
    grep -q "$cause" "$tmp/doc" || fail "$*: the cause lacks '$cause': $(cat "$tmp/doc")"
    [ ! -e "$tmp/no" ] || fail "$*: something was written"
}
expect "the metadata of the model needs a file of [0-9]* bytes, --split-bytes is 10000" --quant q8_0 --split-bytes 10000
expect "tensor 'token_embd.weight' alone needs a file of 2097[0-9]* bytes, --split-bytes is 300000" --quant f32 --split-bytes 300000
expect "split-bytes says nothing about mlx" --to mlx --quant int4 --split-bytes 5M
exit $failed
