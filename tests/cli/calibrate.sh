#!/usr/bin/env bash
# hone calibrate: what it writes and what it reports; judge_imatrix.sh has llama.cpp's own programs look at it.
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
validate=$HONE_SOURCE_DIR/tests/tools/validate
tale=$HONE_SOURCE_DIR/examples/models/tale-8m moe=$HONE_SOURCE_DIR/tests/golden/tale-moe tiny=$HONE_SOURCE_DIR/tests/golden/tiny/llama
text=$tale/eval/calibration.txt drifted=$tale/eval/drifted.txt
[ -f "$HONE_BUILD_DIR/hone-backend-llamacpp.so" ] || { echo "skipped: no llama.cpp"; exit 77; }

# expect CODE 'TEXT IN STDERR' ARGS...
expect() {
    local code=$1 say=$2 rc
    shift 2
    "$HONE" calibrate "$@" >"$tmp/out" 2>"$tmp/err"
    rc=$?
    [ $rc -eq "$code" ] || fail "hone calibrate $*: exit $rc, needs $code: $(cat "$tmp/err")"
    grep -qF -- "$say" "$tmp/err" || fail "hone calibrate $*: stderr lacks '$say': $(cat "$tmp/err")"
}
printf '' >"$tmp/empty.txt"
printf 'a\377b' >"$tmp/latin.txt"
expect 2 "hone calibrate needs a text" "$tiny" -o "$tmp/x.gguf"
expect 2 "hone calibrate needs an output file" "$tiny" --data "$text"
expect 2 "--data 'de=' names no file" "$tiny" --data de= -o "$tmp/x.gguf"
expect 2 "chunks of 4096 tokens are longer than the model's context of 2048" "$tiny" --data "$text" --context 4096 -o "$tmp/x.gguf"
expect 3 "there is no" "$tmp/nowhere" --data "$text" -o "$tmp/x.gguf"
expect 3 "$tmp/none.txt" "$tiny" --data de="$tmp/none.txt" -o "$tmp/x.gguf"
expect 3 "empty.txt' is empty" "$tiny" --data "$tmp/empty.txt" -o "$tmp/x.gguf"
expect 3 "latin.txt' is not UTF-8 text" "$tiny" --data "$tmp/latin.txt" -o "$tmp/x.gguf"
expect 6 "cannot create '$tmp/no/x.gguf.tmp'" "$tiny" --data "$text" -o "$tmp/no/x.gguf"
[ -z "$(find "$tmp" -name '*calibrate*' -o -name '*.gguf*')" ] || fail "left behind: $(ls -A "$tmp")"

# The bytes depend neither on threads nor on how many passes the Hessians take.
few="--context 64 --max-tokens 128 --hessian --json"
"$HONE" calibrate "$tiny" --data de="$text" $few -t 1 -o "$tmp/one.gguf" >"$tmp/one.json" 2>"$tmp/err" || fail "$(cat "$tmp/err")"
"$HONE" calibrate "$tiny" --data de="$text" $few -t 3 --max-ram 3M -o "$tmp/many.gguf" >"$tmp/many.json" 2>"$tmp/err" || fail "$(cat "$tmp/err")"
cmp "$tmp/one.gguf" "$tmp/many.gguf" || fail "threads or passes show in the bytes"
for f in one many; do "$validate" calibrate "$tmp/$f.json" || failed=1; done

# Two languages through a model of experts: what each of them reached.
"$HONE" calibrate "$moe" --data de="$text" --data "en=$drifted" --context 64 --max-tokens 128 --cold 40 -o "$tmp/moe.gguf" --json >"$tmp/moe.json" 2>"$tmp/err" || fail "$(cat "$tmp/err")"
grep -q "cold expert" "$tmp/err" || fail "no warning of cold experts: $(cat "$tmp/err")"
"$validate" calibrate "$tmp/moe.json" || failed=1
printf 'One line.\n' >"$tmp/short.txt"
"$HONE" calibrate "$moe" --data "$tmp/short.txt" -o "$tmp/short.gguf" >"$tmp/short.txt.out" 2>"$tmp/err" || fail "$(cat "$tmp/err")"
grep -q "tokens are few" "$tmp/err" || fail "no warning of few tokens: $(cat "$tmp/err")"
grep -q "layer.*least used" "$tmp/short.txt.out" || fail "no table of experts: $(cat "$tmp/short.txt.out")"
# An encoder.
"$HONE" calibrate "$HONE_SOURCE_DIR/tests/golden/tiny/bert" --data "$text" --context 64 --max-tokens 128 -o "$tmp/bert.gguf" --json >"$tmp/bert.json" 2>"$tmp/err" || fail "$(cat "$tmp/err")"

/usr/bin/python3 - "$tmp" <<'PY' || failed=1
import json, sys
tmp, ok = sys.argv[1], True
def check(what, holds):
    global ok
    if not holds: print("FAIL:", what); ok = False
one, many, moe, bert = (json.load(open(f"{tmp}/{n}.json")) for n in ("one", "many", "moe", "bert"))
check("passes", one["passes"] == 1 and many["passes"] > 2)
check("a dense model", one["coverage"] is None and one["texts"][0]["experts_unseen"] is None)
check("Q, K, V and gate, up share their inputs", one["weights"] == 2 * 7 + 1 and one["inputs"] == 2 * 4 + 1 == one["hessians"]["matrices"])
check("chunks", one["chunks"] == 2 and one["tokens"] == 128 and one["texts"][0]["name"] == "de")
check("texts", [t["name"] for t in moe["texts"]] == ["de", "en"] and moe["tokens"] == 256)
cov = moe["coverage"]
cold = {(c["layer"], c["expert"]) for c in cov["cold"]}
for l in cov["layers"]:
    check("every row reached an expert", sum(e["rows"] for e in l["experts"]) == moe["tokens"] * cov["experts_used"])
    check("shares", abs(sum(e["share"] for e in l["experts"]) - 1) < 1e-9)
    for t in range(2):
        check("rows of one text", sum(e["texts"][t] for e in l["experts"]) == 128 * cov["experts_used"])
    for e in l["experts"]:
        check("a sum over texts", sum(e["texts"]) == e["rows"])
        check("cold", (e["rows"] < 40) == ((l["layer"], e["expert"]) in cold))
for t in range(2):
    check("unseen", moe["texts"][t]["experts_unseen"] == sum(e["texts"][t] == 0 for l in cov["layers"] for e in l["experts"]))
check("somebody is cold", cold and any("cold expert" in w for w in moe["warnings"]))
check("an encoder", bert["weights"] > 0 and bert["coverage"] is None)
sys.exit(not ok)
PY

# A run that is killed leaves its model behind; the next one in the same place takes it away, and not that of one which still runs.
mkdir "$tmp/kill"
copies() { find "$tmp/kill" -name '.hone-calibrate-*' | wc -l; }
"$HONE" calibrate "$tale" --data "$text" -o "$tmp/kill/a.gguf" >/dev/null 2>&1 &
for _ in $(seq 500); do [ "$(copies)" -gt 0 ] && break; sleep 0.01; done
kill -STOP $!
[ "$(copies)" -eq 1 ] || fail "no folder of a run to kill"
"$HONE" calibrate "$tiny" --data "$text" $few -o "$tmp/kill/b.gguf" >/dev/null 2>"$tmp/err" || fail "$(cat "$tmp/err")"
[ "$(copies)" -eq 1 ] || fail "a run that only stands still has lost its folder"
kill -KILL $!
wait $! 2>/dev/null
[ "$(copies)" -eq 1 ] || fail "what removed the folder of a killed run?"
"$HONE" calibrate "$tiny" --data "$text" $few -o "$tmp/kill/b.gguf" >/dev/null 2>"$tmp/err" || fail "$(cat "$tmp/err")"
[ "$(copies)" -eq 0 ] || fail "the folder of a killed run stays: $(find "$tmp/kill")"

# What is wrong with texts or the output is told before the model is written for the runtime, or run.
early() {
    local code=$1 text=$2 rc
    shift 2
    "$HONE" calibrate "$tiny" "$@" >/dev/null 2>"$tmp/err"
    rc=$?
    [ $rc -eq "$code" ] && grep -qF -- "$text" "$tmp/err" && [ "$(wc -l <"$tmp/err")" -le 2 ] || fail "calibrate $*: exit $rc: $(cat "$tmp/err")"
}
early 3 "cannot open '$tmp/none'" --data "$text" --data "$tmp/none" -o "$tmp/a.gguf"
early 3 "is not UTF-8 text" --data "$tiny/model.safetensors" -o "$tmp/a.gguf"
early 6 "cannot create '$tmp/none/a.gguf.tmp'" --data "$text" -o "$tmp/none/a.gguf"

mkdir "$tmp/bare" && cp "$tiny/config.json" "$tiny/model.safetensors" "$tmp/bare"
"$HONE" calibrate "$tmp/bare" --data "$text" -o "$tmp/a.gguf" >/dev/null 2>"$tmp/err"
[ $? -eq 3 ] && grep -qF "'$tmp/bare' has no tokenizer: text cannot become tokens" "$tmp/err" || fail "no tokenizer: $(cat "$tmp/err")"

# Statistics of another model are told.
"$HONE" convert "$moe" --quant q4_k_m --imatrix "$tmp/one.gguf" -n >/dev/null 2>"$tmp/err"
[ $? -eq 3 ] || fail "statistics of another model are taken: $(cat "$tmp/err")"
grep -q "the statistics have" "$tmp/err" || fail "statistics of another model: $(cat "$tmp/err")"
exit $failed
