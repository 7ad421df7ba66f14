#!/usr/bin/env bash
# hone optimize of a network with --calibration: static int8 of every calibrator is made of those samples, measured, judged by the gates and shown in the
# report; f16 looks at the same samples.
# ctest: timeout 300
# ctest: plain
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
d=$HONE_SOURCE_DIR/tests/golden/digits
wide=$HONE_SOURCE_DIR/tests/golden/net/wide.onnx
validate=$HONE_SOURCE_DIR/tests/tools/validate
for b in onnxruntime openvino; do
    [ -f "$HONE_BUILD_DIR/hone-backend-$b.so" ] || { echo "skipped: no plug-in '$b'"; exit 77; }
done
# Gates that hold on any machine, and one that holds on none: how fast this one is, is not the question.
gates=memory=5,variation=50,speed

optimize() { # EXIT DOC OPTIONS...
    "$HONE" optimize "${@:3}" --json >"$2" 2>"$tmp/err"
    local rc=$?
    [ $rc -eq "$1" ] || fail "optimize ${*:3}: exit $rc, not $1: $(cat "$tmp/err")"
    "$validate" optimize "$2" || failed=1
}
samples=$d/calibration.safetensors
optimize 1 "$tmp/doc" "$d/model.onnx" --data "$d/test.safetensors" --calibration "$samples" --target intel-core --gates $gates=100000 --repeat 10 -o "$tmp/opt"
/usr/bin/python3 - "$tmp/doc" "$tmp/opt" "$samples" <<'PY' || failed=1
import json, os, sys
d, out = json.load(open(sys.argv[1])), sys.argv[2]
assert d["calibration"] == sys.argv[3], d["calibration"]
c = {k["name"]: k for k in d["candidates"]}
static = [f"{f} int8 {r}" for r in ("minmax", "percentile", "mse") for f in ("onnx", "openvino")]
assert set(c) == {f"{f} {q}" for f in ("onnx", "openvino") for q in ("f32", "f16")} | {"onnx int8-dynamic"} | set(static), sorted(c)
for k in c.values():
    e, b = k["eval"], k["bench"]
    assert k["failure"] is None and os.path.exists(k["path"]), k
    assert e["samples"] == 100 and e["not_finite"] == 0 and e["accuracy"] >= 0.96 and e["cosine_min"] > 0.99, (k["name"], e)
    assert b["failed"] is False and b["latency_ms"]["p50"] > 0 and b["run"]["rounds"] == 10 and k["score"] > 0, (k["name"], b)
# Static int8 is another model, not the float one under its name.
assert all(c[s]["eval"]["mean_abs"] > 0.001 and c[s]["calibrator"] == s.split()[-1] for s in static)
gates = {g["name"]: g["verdict"] for g in d["gates"]}
assert gates == {"accuracy": "pass", "speed": "fail", "memory": "pass", "consistent latency": "pass"} and d["gates_pass"] is False, d["gates"]
assert [k["path"] for k in d["candidates"] if k["chosen"]] == [d["chosen"]["path"]], d["chosen"]
page = open(d["report"]).read()
assert d["report"] == f"{out}/report.html" and page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
assert all(s in page for s in static) and sys.argv[3] in page, "the report does not name static int8 and its samples"
assert [(k["name"], k["sha256"]) for k in json.load(open(f"{out}/report.json"))["candidates"]] == [(k["name"], k["sha256"]) for k in d["candidates"]]
PY

# The candidates are what hone convert makes of these samples: no other ranges, no other samples.
for k in minmax percentile mse; do
    "$HONE" convert "$d/model.onnx" --quant int8 --calibration "$samples" --calibrator $k --name digits -o "$tmp/$k" -q >/dev/null 2>"$tmp/err" || fail "$k: $(cat "$tmp/err")"
    diff -r "$tmp/$k/digits-int8-onnx" "$tmp/opt/candidates/$k/digits-int8-onnx" || fail "$k: optimize makes another artefact than convert"
done
"$HONE" verify "$tmp/opt/candidates/mse/digits-int8-openvino" --source "$d/model.onnx" -q >"$tmp/out" 2>&1 || fail "verify: $(cat "$tmp/out")"

# wide.onnx has values beyond f16: what the samples show of them stays f32 (whether a runtime computes f16 in f16 depends on the processor: the recipe tells)
/usr/bin/python3 - "$tmp/wide.npz" "$tmp/bare.npz" <<'PY'
import random, struct, sys, zipfile
random.seed(3)
n = 12
def npy(descr, shape, raw):
    head = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    head += b" " * (-(10 + len(head) + 1) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + raw
with zipfile.ZipFile(sys.argv[1], "w") as z:
    z.writestr("x.npy", npy("<f4", (n, 3, 8, 8), struct.pack(f"<{192 * n}f", *(random.gauss(0, 1) for _ in range(192 * n)))))
    z.writestr("labels.npy", npy("<i8", (n,), struct.pack(f"<{n}q", *[0] * n)))
with zipfile.ZipFile(sys.argv[2], "w") as z:
    z.writestr("x.npy", npy("<f4", (n, 3, 8, 8), bytes(768 * n)))
PY
# no labels: said at once, before a candidate is made
"$HONE" optimize "$wide" --data "$tmp/bare.npz" -o "$tmp/bare" >"$tmp/out" 2>"$tmp/err"
[ $? -eq 3 ] && grep -q "bare.npz' has no labels to judge accuracy by" "$tmp/err" || fail "data without labels: $(cat "$tmp/err")"
[ ! -e "$tmp/bare" ] && ! grep -q "making the candidates" "$tmp/err" || fail "candidates were made before labels were missed: $(cat "$tmp/err")"
optimize 0 "$tmp/doc" "$wide" --data "$tmp/wide.npz" --calibration "$tmp/wide.npz" --gates $gates=.01 --repeat 10 -o "$tmp/wide"
grep -q "activations were not looked at" "$tmp/err" && fail "f16 asks for the samples that it has"
/usr/bin/python3 - "$tmp/doc" "$tmp/wide/candidates/wide-f16-onnx/hone.json" <<'PY' || failed=1
import json, sys
assert set(json.load(open(sys.argv[2])).get("wide", [])) == {"c2", "r2"}, "f16 without a look at the samples"
d = json.load(open(sys.argv[1]))
assert d["gates_pass"] is True, d["gates"]
f16 = next(c for c in d["candidates"] if c["name"] == "onnx f16")
assert f16["eval"]["not_finite"] == 0 and f16["eval"]["cosine_min"] > 0.999, f16["eval"]
PY
exit $failed
