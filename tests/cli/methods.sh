#!/usr/bin/env bash
# hone convert --method as a user meets it: every method gives every format other numbers than every other method, hone verify makes them again from the
# same statistics, and sees one byte that is not theirs.  (What a method does to a row: tests/unit/quant.  awq: prune.sh.)
# ctest: timeout 300
set -u
. "$HONE_SOURCE_DIR/tests/cli/_verify.sh"
model=$HONE_SOURCE_DIR/examples/models/tale-8m
text=$model/eval/calibration.txt
[ -f "$HONE_BUILD_DIR/hone-backend-llamacpp.so" ] || { echo "skipped: no llama.cpp"; exit 77; }

calibrate() { "$HONE" calibrate "$model" --data "$text" --context 64 --max-tokens 256 "$@" --quiet >/dev/null 2>"$tmp/err" || fail "calibrate $*: exit $?: $(cat "$tmp/err")"; }
calibrate -o "$tmp/sums.gguf"
calibrate --hessian -o "$tmp/hessians.gguf"

# gptq takes its time: it gets the last layer, whose codes are the last bytes of a GGUF file, and the embedding, which has no input of its own.
cat >"$tmp/part.yaml" <<'YAML'
schema: hone.plan_file/1
weights:
  - bits: 16
  - {layer: 7, bits: 4}
  - {tensor: "model.embed_tokens.weight", bits: 4}
YAML
# statistics_of METHOD: sets $with to the option that gives them
statistics_of() {
    case $1 in
    rtn | hqq) with=() ;;
    gptq) with=(--calibration "$tmp/hessians.gguf") ;;
    *) with=(--calibration "$tmp/sums.gguf") ;;
    esac
}
# numbers FOLDER METHOD FORMAT: the digest of weights alone, since recipes name the method
numbers() {
    case $3 in
    gguf) tail -c 300000 "$1/$2-plan.gguf" ;;
    onnx) cat "$1/$2-plan-onnx/model.onnx.data" ;;
    openvino) cat "$1/$2-plan-openvino/openvino_model.bin" ;;
    mlx) cat "$1/$2-plan-mlx/model.safetensors" ;;
    esac | sha256sum
}

methods="rtn hqq search scale gptq"
for m in $methods; do
    statistics_of $m
    convert "$model" --to gguf,onnx,openvino,mlx --plan "$tmp/part.yaml" --method $m "${with[@]}" --name $m -o "$tmp/part"
    n=0
    for a in "$tmp/part/$m"-*; do
        n=$((n + 1))
        expect 0 '"identical": true' "$a" "$model" "${with[@]}" --threads $n
    done
    [ $n -eq 4 ] || fail "$m: $n outputs, not 4"
    for f in "$tmp/part/$m"-*/hone.json; do
        [ $m = rtn ] || grep -q "\"method\": \"$m\"" "$f" || fail "$f does not say $m"
    done
done
for f in "$tmp"/part/gptq-*/hone.json; do "$validate" recipe "$f" || failed=1; done
for format in gguf onnx openvino mlx; do
    n=$(for m in $methods; do numbers "$tmp/part" $m $format; done | sort -u | wc -l)
    [ "$n" -eq 5 ] || fail "five methods give $n kinds of numbers in $format"
done

# --- without --method: what the statistics allow
convert "$model" --plan "$tmp/part.yaml" --calibration "$tmp/hessians.gguf" --name gptq -o "$tmp/usual"
convert "$model" --plan "$tmp/part.yaml" --calibration "$tmp/sums.gguf" --name search -o "$tmp/usual"
for m in gptq search; do cmp "$tmp/part/$m-plan.gguf" "$tmp/usual/$m-plan.gguf" || fail "without --method it is not $m"; done

# --- search and scale without statistics: every column counts alike
for m in search scale; do convert "$model" --to gguf,mlx --plan "$tmp/part.yaml" --method $m --name alike-$m -o "$tmp/alike"; done
for f in "$tmp"/alike/*; do expect 0 '"identical": true' "$f" "$model"; done
n=$(for m in search scale; do numbers "$tmp/alike" alike-$m gguf; numbers "$tmp/part" $m gguf; done | sort -u | wc -l)
[ "$n" -eq 4 ] || fail "search and scale, with and without statistics, give $n kinds of numbers"

# --- a whole model, every weight of it
convert "$model" --quant q4_k_m --method hqq --name hqq -o "$tmp/whole"
expect 0 '"identical": true' "$tmp/whole/hqq-q4_k_m.gguf" "$model"

# --- one byte of the codes that gptq chose
flip() { # FILE OFFSET
    /usr/bin/python3 -c "
import sys
f = open(sys.argv[1], 'r+b')
f.seek(int(sys.argv[2]))
b = f.read(1)[0]
f.seek(-1, 1)
f.write(bytes([b ^ 255]))" "$@"
}
cp "$tmp/part/gptq-plan.gguf" "$tmp/bad.gguf"
flip "$tmp/bad.gguf" $(($(stat -c %s "$tmp/bad.gguf") - 150000))
expect 1 '"tensor": "blk.7.' "$tmp/bad.gguf" "$model" --calibration "$tmp/hessians.gguf"
/usr/bin/python3 - "$tmp/doc" <<'PY' || failed=1
import json, sys
d = json.load(open(sys.argv[1]))
f, n = d["first"], d["differences"]
assert d["identical"] is False and f["kind"] == "tensor" and f["tensor"] in d["error"]["cause"], d
assert (n["tensors"], n["blocks"], n["bytes"]) == (1, 1, 1), n
PY
cp -r "$tmp/part/gptq-plan-mlx" "$tmp/bad"
flip "$tmp/bad/model.safetensors" $(($(stat -c %s "$tmp/bad/model.safetensors") / 2))
expect 1 '"kind": "tensor"' "$tmp/bad" "$model" --calibration "$tmp/hessians.gguf"

# --- points of a grid: one word of warning where nothing says what matters; made again from the statistics
warned() { "$HONE" convert "$model" --quant iq2_m,q4_0,iq3_xxs "$@" -o "$tmp/grid" --json --quiet 2>"$tmp/err" | grep -cF 'iq2_* and iq3_* have few codes'; }
[ "$(warned)" = 1 ] || fail "iq2_m without statistics: no warning, or several: $(cat "$tmp/err")"
[ "$(warned --method rtn --calibration "$tmp/sums.gguf")" = 1 ] || fail "iq2_m by rtn: no warning, or several: $(cat "$tmp/err")"
[ "$(warned --method search --calibration "$tmp/sums.gguf")" = 0 ] || fail "iq2_m with statistics: a warning, or none of the files: $(cat "$tmp/err")"
for quant in iq2_m iq3_xxs; do expect 0 '"identical": true' "$tmp/grid/tale-8m-$quant.gguf" "$model" --calibration "$tmp/sums.gguf"; done
cp "$tmp/grid/tale-8m-iq2_m.gguf" "$tmp/bad.gguf"
flip "$tmp/bad.gguf" $(($(stat -c %s "$tmp/bad.gguf") - 1000))
expect 1 '"kind": "tensor"' "$tmp/bad.gguf" "$model" --calibration "$tmp/sums.gguf"

# --- statistics that are not there, are others, or say too little
expect 3 "$(sha256sum <"$tmp/hessians.gguf" | cut -d' ' -f1)" "$tmp/part/gptq-plan.gguf" "$model"
expect 3 "the recipe names" "$tmp/part/gptq-plan-onnx" "$model" --calibration "$tmp/sums.gguf"
refuse() { # CODE TEXT OPTIONS...
    "$HONE" convert "$model" "${@:3}" -o "$tmp/no" --quiet >/dev/null 2>"$tmp/err"
    local rc=$?
    [ $rc -eq "$1" ] && grep -qF -- "$2" "$tmp/err" || fail "convert ${*:3}: exit $rc, wanted $1 and '$2': $(cat "$tmp/err")"
    [ ! -e "$tmp/no" ] || fail "convert ${*:3}: something was written"
}
refuse 3 "method gptq needs Hessians, and there are none" --method gptq --calibration "$tmp/sums.gguf"
refuse 2 "method gptq needs Hessians, and there are none" --method gptq
refuse 2 "there is no method 'best'" --method best
exit $failed
