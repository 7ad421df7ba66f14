#!/usr/bin/env bash
# hone plan and hone convert --plan: sizes by stat of the files, edits that are honoured, all formats load, bad plans are refused.
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
model=$HONE_SOURCE_DIR/examples/models/tale-8m
tiny=$HONE_SOURCE_DIR/tests/golden/tiny/llama
validate=$HONE_SOURCE_DIR/tests/tools/validate
folder_bytes() { find "$1" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }'; }
# encoding DOC FORMAT NAME: what the plan of a conversion says of a tensor
encoding() { /usr/bin/python3 -c 'import json,sys
d=json.load(open(sys.argv[1]))
print(*[v for r in d["plan"] if r["format"]==sys.argv[2] and r["name"]==sys.argv[3] for v in r["encodings"].values()])' "$@"; }

# --- a target of bytes for every format: met, and within 1 %
"$HONE" plan "$model" --to gguf,onnx,openvino,mlx --target-bytes 5.5M --sensitivity proxy -o "$tmp/p.yaml" --json >"$tmp/doc" 2>"$tmp/err" || fail "plan: exit $?: $(cat "$tmp/err")"
"$validate" plan "$tmp/doc" || failed=1
"$HONE" convert "$model" --plan "$tmp/p.yaml" --name t -o "$tmp/out" --json >"$tmp/conv" 2>"$tmp/err" || fail "convert --plan: exit $?: $(cat "$tmp/err")"
"$validate" convert "$tmp/conv" || failed=1
for f in t-plan.gguf t-plan-onnx t-plan-openvino t-plan-mlx; do
    n=$(folder_bytes "$tmp/out/$f")
    [ "$n" -le 5500000 ] && [ "$n" -ge 5445000 ] || fail "$f has $n bytes, 5500000 are the target"
done
/usr/bin/python3 - "$tmp/doc" "$tmp/conv" <<'PY' || failed=1
import json, sys
plan, made = (json.load(open(f)) for f in sys.argv[1:])
for f, o in zip(plan["formats"], made["outputs"]):
    assert (f["format"], f["bytes"]) == (o["format"], o["bytes"]), (f, o)
    assert abs(f["bpw"] - o["bpw"]) < 1e-9 and f["predicted_kld"] is None
assert plan["measurements"] == 0 and all(f["measured"] is None for f in plan["formats"]) and len(plan["weights"]) == 58
PY
[ "$(find "$tmp" -name '.hone-plan-*')" = "" ] || fail "files of measurements stay behind"

# --- a graph whose headers change with the choice stayed a few bytes above this target, round after round
"$HONE" plan "$HONE_SOURCE_DIR/tests/golden/tale-moe" --to onnx --target-bytes 7346699 --sensitivity proxy -o "$tmp/m.yaml" --json >"$tmp/doc" 2>"$tmp/err" || fail "a plan that was there was not found: $(cat "$tmp/err")"
n=$(/usr/bin/python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["formats"][0]["bytes"])' "$tmp/doc")
[ "$n" -le 7346699 ] && [ "$n" -ge 7273000 ] || fail "tale-moe in ONNX would have $n bytes, 7346699 are the target"

# --- all of them load and are the same model
for f in t-plan.gguf t-plan-onnx t-plan-openvino t-plan-mlx; do
    "$HONE" check "$tmp/out/$f" --against "$model" --quiet >"$tmp/check" 2>&1
    rc=$?
    if [ $rc -eq 4 ]; then echo "note: $f is not checked: its runtime is not here"; elif [ $rc -ne 0 ]; then fail "hone check $f: exit $rc: $(cat "$tmp/check")"; fi
done

# --- a planned file is derived again from its source and its recipe
"$HONE" convert "$model" --plan "$tmp/p.yaml" --to gguf --threads 3 --name t -o "$tmp/again" --quiet >/dev/null 2>&1
cmp "$tmp/again/t-plan.gguf" "$tmp/out/t-plan.gguf" || fail "the bytes depend on the number of threads, or on the other formats"
"$HONE" verify "$tmp/out/t-plan.gguf" --source "$model" --quiet >"$tmp/verify" 2>&1
rc=$?
[ $rc -eq 0 ] || fail "hone verify of a planned file: exit $rc: $(cat "$tmp/verify")"

# --- a plan that a person wrote, and edits of one that hone made
cat >"$tmp/hand.yaml" <<'YAML'
schema: hone.plan_file/1
formats: {gguf: {base: q4_k_m}, mlx: {}, onnx: {base: int8}, openvino: {}}
weights:
  - bits: 4                                   # all that no other line names
  - {role: ffn_down, gguf: q6_k, mlx: int6 g32, bits: 8}
  - {role: ffn_down, layer: 1, bits: 3}       # closer than the line above
  - {tensor: "model.layers.0.self_attn.?_proj.weight", gguf: iq4_xs, mlx: mxfp4, onnx: int4 sym g128, openvino: int4 sym per row}
YAML
"$HONE" convert "$tiny" --plan "$tmp/hand.yaml" -o "$tmp/hand" --json >"$tmp/doc" 2>"$tmp/err" || fail "a plan by hand: exit $?: $(cat "$tmp/err")"
while read -r format name want; do
    got=$(encoding "$tmp/doc" "$format" "$name")
    [ "$got" = "$want" ] || fail "$format $name is '$got', the plan says '$want'"
done <<'ROWS'
gguf blk.0.ffn_down.weight q6_k
gguf blk.1.ffn_down.weight q3_k
gguf blk.0.attn_q.weight iq4_xs
gguf output.weight q4_k
mlx model.layers.0.mlp.down_proj.weight int6 g32
mlx model.layers.1.mlp.down_proj.weight int3 g64
mlx model.layers.0.self_attn.k_proj.weight mxfp4
onnx layers.0.ffn.down.weight int8 asym g32
onnx layers.0.attn.out.weight int4 sym g128
openvino model.layers.0.mlp.down_proj.weight int8 asym per row
openvino model.layers.0.self_attn.o_proj.weight int4 sym per row
ROWS
sed -i 's/role: output, gguf: [a-z0-9_]*/role: output, gguf: f16/' "$tmp/p.yaml"
"$HONE" convert "$model" --plan "$tmp/p.yaml" --to gguf -n --json >"$tmp/doc" 2>/dev/null
[ "$(encoding "$tmp/doc" gguf output.weight)" = f16 ] || fail "an edited line is not honoured"

# --- what is refused, and how
refuse() { # CODE 'TEXT' LINE-OF-WEIGHTS
    printf 'schema: hone.plan_file/1\nweights:\n- %s\n' "$3" >"$tmp/bad.yaml"
    "$HONE" convert "$tiny" --to gguf,mlx --plan "$tmp/bad.yaml" -o "$tmp/bad" >"$tmp/doc" 2>"$tmp/err"
    rc=$?
    [ $rc -eq "$1" ] && grep -qF -- "$2" "$tmp/err" || fail "exit $rc, wanted $1 and '$2': $(cat "$tmp/err")"
    [ ! -e "$tmp/bad" ] || fail "something was written"
}
refuse 3 "bad.yaml: line 3: the model has no weight 'role: ffn_gate_exps'" '{role: ffn_gate_exps, bits: 4}'
refuse 3 "bad.yaml: line 3: role: attn_q: gguf has no encoding 'q9_z'" '{role: attn_q, gguf: q9_z}'
refuse 3 "bad.yaml: line 3: role: output: mlx has no encoding 'int4 sym'" '{role: output, mlx: int4 sym}'
refuse 3 "lines 3 and 4 disagree about 'lm_head.weight' in gguf: q4_k and 6 bits" '{role: output, gguf: q4_k}
- {role: output, bits: 6}'
"$HONE" plan "$model" >/dev/null 2>"$tmp/err"; [ $? -eq 2 ] && grep -q "a plan needs a target" "$tmp/err" || fail "a plan without a target"
"$HONE" plan "$model" --target-bytes 1M --sensitivity proxy -o "$tmp/no.yaml" >"$tmp/said" 2>"$tmp/err"
[ $? -eq 1 ] && grep -q "the narrowest gguf plan takes [0-9]* bytes, 1000000 are allowed" "$tmp/err" && [ ! -e "$tmp/no.yaml" ] || fail "too small a target: $(cat "$tmp/err")"
[ "$(wc -c <"$tmp/said")" -eq 0 ] || fail "a table of nothing: $(cat "$tmp/said")"
# What cannot be is told before a measurement that takes minutes.
early() {
    local code=$1 text=$2 rc
    shift 2
    "$HONE" "$@" >"$tmp/said" 2>"$tmp/err"
    rc=$?
    [ $rc -eq "$code" ] && grep -qF -- "$text" "$tmp/err" && ! grep -q "^measuring" "$tmp/err" && [ ! -s "$tmp/said" ] || fail "hone $*: exit $rc: $(cat "$tmp/said" "$tmp/err")"
}
early 1 "the narrowest gguf plan has 2.642 bits per weight, 1.000 are allowed" plan "$model" --target-bpw 1
early 1 "the narrowest mlx plan takes" convert "$model" --to mlx --max-ram 1M -o "$tmp/no"
[ ! -e "$tmp/no" ] || fail "a folder was made for a plan that cannot be"
early 3 "cannot open '$tmp/none'" plan "$model" --target-bpw 4 --text "$tmp/none"
early 6 "cannot create '$tmp/none/p.yaml.tmp'" plan "$model" --target-bpw 4 -o "$tmp/none/p.yaml"
early 2 "--target-bpw is -3, needs a number above 0" plan "$model" --target-bpw -3
early 2 "--target-kld is 0, needs a number above 0" convert "$model" --target-kld 0 -o "$tmp/no"
early 2 "--target-bytes is 0, needs a size" plan "$model" --target-bytes 0
early 2 "--context is 513, needs 1..512" plan "$model" --max-ram 1G --context 513
early 2 "--context is about memory, and none is limited" plan "$model" --target-bpw 4 --context 64
early 2 "--sensitivity proxy measures nothing" plan "$model" --target-bpw 4 --sensitivity proxy --tokens 64
"$HONE" convert "$model" --target-bpw 4 --plan "$tmp/p.yaml" -o "$tmp/bad" >/dev/null 2>&1; [ $? -eq 2 ] || fail "a plan and a target together"

# measured OPTIONS...: a conversion to a plan that is made by measuring, its document in $tmp/doc; false where there is nothing to measure with
measured() {
    "$HONE" convert "$tiny" --text "$model/eval/calibration.txt" "$@" --json >"$tmp/doc" 2>"$tmp/err"
    local rc=$?
    [ $rc -ne 4 ] || { echo "note: nothing is measured: llama.cpp is not here"; return 1; }
    [ $rc -eq 0 ] || { fail "convert $*: exit $rc: $(cat "$tmp/err")"; return 1; }
    "$validate" convert "$tmp/doc" || failed=1
}

# --- measured: a target on the command line of convert, the plan beside the outputs, memory; what a killed run left beside them goes
mkdir -p "$tmp/m/.hone-plan-Ab12Cd/whole-int4-openvino.tmp" && touch "$tmp/m/.hone-plan-Ab12Cd/whole-int4-openvino.tmp/openvino_model.bin.tmp"
if measured --target-bpw 4.7 --tokens 64 --sensitivity measured --name m -o "$tmp/m"; then
    /usr/bin/python3 -c 'import json,sys
d=json.load(open(sys.argv[1])); o=d["outputs"][0]; p=d["made_plan"]
assert 4.6 < o["bpw"] <= 4.7 and p["measurements"] == 16 and p["formats"][0]["predicted_kld"] > 0, (o, p)' "$tmp/doc" || failed=1
    [ -s "$tmp/m/m-plan.yaml" ] && [ -s "$tmp/m/m-plan.gguf" ] || fail "plan or output is missing: $(ls "$tmp/m")"
    [ "$(find "$tmp" -name '.hone-plan-*')" = "" ] || fail "files of measurements stay behind"
fi

# --- a KLD that is asked for: in each format what the plan says it has is what hone eval finds in the files, and it is the one that was asked for
formats="gguf onnx openvino mlx"
if measured --to ${formats// /,} --target-kld 0.003 --tokens 128 --name k -o "$tmp/k"; then
    "$HONE" convert "$tmp/k/k-plan-mlx" --to gguf --quant f32 --name k-mlx -o "$tmp/k" --quiet >/dev/null 2>&1 || failed=1
    "$HONE" convert "$tiny" --to gguf,onnx,openvino --quant f32 --name r -o "$tmp/k" --quiet >/dev/null || failed=1
    for f in $formats; do
        case $f in gguf) art=k-plan.gguf ref=r-f32.gguf ;; mlx) art=k-mlx-f32.gguf ref=r-f32.gguf ;; *) art=k-plan-$f ref=r-f32-$f ;; esac
        "$HONE" eval "$tmp/k/$art" --reference "$tmp/k/$ref" --text "$model/eval/calibration.txt" --max-tokens 128 --json --quiet >"$tmp/eval" 2>/dev/null
        rc=$?
        [ $rc -eq 0 ] || [ $rc -eq 4 ] || fail "hone eval of the $f plan: exit $rc"
        /usr/bin/python3 - "$tmp/doc" "$tmp/eval" $f $rc <<'PY' || failed=1
import json, sys
doc, found = (json.load(open(f)) for f in sys.argv[1:3])
f = next(x for x in doc["made_plan"]["formats"] if x["format"] == sys.argv[3])
if sys.argv[4] == "4":
    assert f["measured"] is None and f["predicted_kld"] <= 0.003, f
    sys.exit(print(f"note: the {f['format']} plan is not measured: its runtime is not here"))
said, is_ = f["measured"]["kld"], found["results"][0]["kld_mean"]
assert 0.5 * 0.003 < said <= 0.003, f
assert abs(said - is_) < 0.02 * is_, (f, is_)
PY
    done
    [ "$(find "$tmp" -name '.hone-plan-*')" = "" ] || fail "files of measurements stay behind"
fi
"$HONE" plan "$model" --max-ram 12M --context 512 --sensitivity proxy --json >"$tmp/doc" 2>"$tmp/err" || fail "--max-ram: exit $?: $(cat "$tmp/err")"
exit $failed
