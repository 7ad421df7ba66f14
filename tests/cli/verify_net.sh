#!/usr/bin/env bash
# hone verify of networks: every encoding in ONNX and OpenVINO is what its source and its recipe give; a flipped bit anywhere is found and named; what the
# recipe of static int8 holds is enough, without samples.
set -u
. "$HONE_SOURCE_DIR/tests/cli/_verify.sh"
golden=$HONE_SOURCE_DIR/tests/golden
digits=$golden/digits/model.onnx
# flipped FOLDER SOURCE N: one bit at N places of every file, one at a time, and at both ends
flipped() {
    /usr/bin/python3 - "$HONE" "$@" <<'PY' || failed=1
import json, os, subprocess, sys
hone, folder, source, n = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
bad = named = 0
for name in sorted(os.listdir(folder)):
    path = f"{folder}/{name}"
    whole = open(path, "rb").read()
    for at in sorted({0, len(whole) - 1} | {len(whole) * (2 * i + 1) // (2 * n) for i in range(n)}):
        open(path, "wb").write(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1:])
        p = subprocess.run([hone, "verify", folder, "--source", source, "--json"], capture_output=True)
        d = json.loads(p.stdout)
        f = d.get("first") or {}
        good = p.returncode == 1 and f.get("file", "").split("/")[-1] == name
        if name != "hone.json":
            good = good and f["offset"] == at and int(f["expected"][:2], 16) ^ int(f["found"][:2], 16) == 1 << at % 8 and d["differences"]["bytes"] == 1
            if good and f["kind"] == "tensor":
                named += 1
                good = f["tensor"] != "" and d["differences"]["tensors"] == 1 and f["tensor"] in d["error"]["cause"]
        if not good:
            bad += 1
            print(f"FAIL: bit at byte {at} of {path}: exit {p.returncode}, {f}, {d.get('error')}")
    open(path, "wb").write(whole)
if n > 4 and not named:
    print(f"FAIL: {folder}: no flipped bit was in a constant")
    bad += 1
sys.exit(bad > 0)
PY
}

quants=f32,f16,int8-dynamic,int8-weights,int4-weights
convert "$digits" --quant $quants -o "$tmp/a"
convert "$digits" --quant $quants --no-fold --keep-io --onnx-ops standard --group 16 --exclude fc --name other -o "$tmp/b"
convert "$golden/net/mlp.onnx" --quant f32,int4-weights -o "$tmp/c"
for f in "$tmp"/[ab]/*; do
    expect 0 '"identical": true' "$f" "$digits"
    "$validate" recipe_network "$f/hone.json" || failed=1
done
for f in "$tmp"/c/*; do expect 0 '"identical": true' "$f" "$golden/net/mlp.onnx"; done
for q in ${quants//,/ }; do flipped "$tmp/a/digits-$q-onnx" "$digits" 8; done
sha=$("$HONE" convert "$digits" --quant f16 -o "$tmp/a" --json 2>/dev/null | sed -n 's/.*"sha256": "\(.*\)".*/\1/p')
expect 0 "$sha" "$tmp/a/digits-f16-onnx/model.onnx" "$digits"
grep -q keep_io "$tmp/b/other-f16-onnx/hone.json" || fail "--keep-io is not in the recipe"
# the source under another name, its data too; another source; one that fits no more
cp "$golden/net/mlp.onnx" "$tmp/renamed.onnx" && cp "$golden/net/mlp.bin" "$tmp/"
expect 0 '"identical": true' "$tmp/c/mlp-f32-onnx" "$tmp/renamed.onnx"
printf '\1' | dd of="$tmp/mlp.bin" bs=1 seek=40 conv=notrunc status=none
expect 1 '"key": "source"' "$tmp/c/mlp-f32-onnx" "$tmp/renamed.onnx"
expect 1 "is this the source that it was made from?" "$tmp/a/digits-f16-onnx" "$golden/net/mlp.onnx"
# files that lack, are too short, too long or too many; no recipe
cp -r "$tmp/a/digits-f16-onnx" "$tmp/x"
echo more >"$tmp/x/more.txt"
expect 1 "'more.txt' does not belong there" "$tmp/x" "$digits"
rm "$tmp/x/more.txt" && echo more >"$tmp/x/zz"$'\xff'
expect 1 "'zz\\\\xff' does not belong there" "$tmp/x" "$digits"
rm "$tmp/x/zz"* && printf x >>"$tmp/x/model.onnx"
expect 1 '"what": "longer"' "$tmp/x" "$digits"
truncate -s 5000 "$tmp/x/model.onnx"
expect 1 '"what": "truncated"' "$tmp/x" "$digits"
rm "$tmp/x/model.onnx"
expect 1 "'model.onnx' is missing" "$tmp/x" "$digits"
rm -r "$tmp/x" && cp -r "$tmp/a/digits-f16-onnx" "$tmp/x" && rm "$tmp/x/hone.json"
expect 4 "has no hone.json" "$tmp/x" "$digits"
"$HONE" verify "$tmp/a/digits-f16-onnx" --source "$digits" >"$tmp/out" 2>/dev/null || fail "verify exits $?"
grep -q "^identical: .*, f16 as onnx" "$tmp/out" || fail "the answer is not told: $(cat "$tmp/out")"

if [ -e "$HONE_BUILD_DIR/hone-backend-onnxruntime.so" ]; then
    set -- --calibration "$golden/digits/calibration.safetensors" --samples 40
    convert "$digits" --quant int8 "$@" -o "$tmp/s"
    convert "$digits" --quant int8 "$@" --calibrator mse --activations s8-sym --weight-bits 7 --per-tensor --exclude 'r?.add,fc' --no-bias-correction --no-fold -o "$tmp/t"
    convert "$digits" --quant int8 "$@" --calibrator percentile --percentile 0.95 --accuracy "$golden/digits/test.safetensors" --max-drop 0.02 -o "$tmp/u"
    grep -q '"put_back": \[$' "$tmp/u/digits-int8-onnx/hone.json" || fail "no layer was put back: $(grep put_back "$tmp/u/digits-int8-onnx/hone.json")"
    for f in "$tmp"/[stu]/*; do
        expect 0 '"identical": true' "$f" "$digits"
        "$validate" recipe_network "$f/hone.json" || failed=1
    done
    flipped "$tmp/s/digits-int8-onnx" "$digits" 8
    expect 2 "leave --calibration out" "$tmp/s/digits-int8-onnx" "$digits" --calibration "$golden/digits/calibration.safetensors"
fi
if [ -e "$HONE_BUILD_DIR/hone-backend-openvino.so" ]; then
    convert "$digits" --to openvino --quant f16,int8-weights,int4-weights -o "$tmp/ov"
    [ -e "$HONE_BUILD_DIR/hone-backend-onnxruntime.so" ] && convert "$digits" --to onnx,openvino --quant int8 "$@" -o "$tmp/ov"
    for f in "$tmp"/ov/*; do expect 0 '"identical": true' "$f" "$digits"; done
    grep -q '"runtime": "openvino 20' "$tmp/ov/digits-f16-openvino/hone.json" || fail "OpenVINO's version is not in the recipe"
    flipped "$tmp/ov/digits-int8-weights-openvino" "$digits" 5
    # an IR of another OpenVINO: its graph cannot be told, its constants can
    cp -r "$tmp/ov/digits-int8-weights-openvino" "$tmp/other"
    /usr/bin/python3 - "$tmp/other" <<'PY' || fail "no IR of another version was made"
import hashlib, json, re, sys
d = json.load(open(sys.argv[1] + "/hone.json"))
def seal(): return hashlib.sha256(json.dumps({k: v for k, v in d.items() if k != "digest"}, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
assert d["digest"] == seal()
d["runtime"] = "openvino 2022.1.0"
d["digest"] = seal()
json.dump(d, open(sys.argv[1] + "/hone.json", "w"), indent=2, sort_keys=True)
open(sys.argv[1] + "/hone.json", "a").write("\n")
xml = open(sys.argv[1] + "/openvino_model.xml").read()
open(sys.argv[1] + "/openvino_model.xml", "w").write(re.sub('version="11"', 'version="10"', xml, count=1))
PY
    expect 1 '"key": "runtime"' "$tmp/other" "$digits"
    n=$(/usr/bin/python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["compared"]["tensors"])' "$tmp/doc")
    "$HONE" verify "$tmp/other" --source "$digits" >/dev/null 2>"$tmp/err"
    grep -q "written by \"openvino 2022.1.0\", and \"openvino 20.*\" is here: the graph cannot be compared, its $n constants are what source and recipe give" "$tmp/err" || fail "another OpenVINO: $(cat "$tmp/err")"
    printf 'x' | dd of="$tmp/other/openvino_model.bin" bs=1 seek=99 conv=notrunc status=none
    "$HONE" verify "$tmp/other" --source "$digits" >/dev/null 2>"$tmp/err"
    grep -q "and up to 1 of $n constants differ or lie elsewhere" "$tmp/err" || fail "another OpenVINO, and a byte: $(cat "$tmp/err")"
fi
exit $failed
