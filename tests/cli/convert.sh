#!/usr/bin/env bash
# hone convert as a user meets it: one name for a model however it is spelled, files that stay where they belong, nothing half-written, ever.
# (Bad checkpoints: bad_checkpoint.sh.  Any number of threads: convert_threads.sh.)
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'umount "$tmp/small" 2>/dev/null; chmod -R u+w "$tmp" 2>/dev/null; rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
model=$HONE_SOURCE_DIR/examples/models/tale-8m
tiny=$HONE_SOURCE_DIR/tests/golden/tiny/llama
validate=$HONE_SOURCE_DIR/tests/tools/validate
sum() { sha256sum <"$1" | cut -d" " -f1; }

# --- the result, and its document
"$HONE" convert "$model" --quant q4_k_m,q8_0 -o "$tmp/one" --json >"$tmp/doc" 2>/dev/null || fail "convert exits $?"
"$validate" convert "$tmp/doc" || failed=1
for q in q4_k_m q8_0; do grep -q "$(sum "$tmp/one/tale-8m-$q.gguf")" "$tmp/doc" || fail "$q: the document has another sha256"; done
"$HONE" convert "$model" --dry-run --json >"$tmp/doc" 2>/dev/null || fail "--dry-run exits $?"
"$validate" convert "$tmp/doc" || failed=1
[ -e tale-8m-q4_k_m.gguf ] && fail "--dry-run wrote a file"
"$HONE" convert "$model" --quant q4_k_m --keep '*=q6_k' --keep 'blk.*.ffn_down.weight=f16' --dry-run --json 2>/dev/null |
    /usr/bin/python3 -c "
import json, sys
plan = {t['name']: t['encodings']['q4_k_m'] for t in json.load(sys.stdin)['plan']}
assert plan['blk.3.ffn_down.weight'] == 'f16' and plan['blk.3.ffn_up.weight'] == 'q6_k', plan
assert plan['blk.3.ffn_norm.weight'] == 'f32', 'llama.cpp aborts on norms that are not f32'" || fail "--keep"

# --- names: of the source, of the folder, of the file
mkdir "$tmp/src" && cp -r "$tiny" "$tmp/src/llama"
ln -s llama "$tmp/src/link"
conv() { "$HONE" convert "$@" --quant q8_0 --quiet >/dev/null 2>"$tmp/err" || fail "convert $*: exit $?: $(cat "$tmp/err")"; }
conv "$tmp/src/llama" -o "$tmp/plain"
want=$(sum "$tmp/plain/llama-q8_0.gguf")
(cd "$tmp/src/llama" && conv . -o .)
same() { [ "$(sum "$1" 2>/dev/null)" = "$want" ] || fail "$1 is missing or has other bytes"; }
same "$tmp/src/llama/llama-q8_0.gguf"
for spelling in "$tmp/src/llama/" "$tmp/src/llama/model.safetensors" "$tmp/src/llama/config.json" "$tmp/src/link/../llama/."; do
    conv "$spelling" -o "$tmp/spelled"
    same "$tmp/spelled/llama-q8_0.gguf"
    rm -f "$tmp/spelled/llama-q8_0.gguf"
done
conv "$tmp/src/link" -o "$tmp/linked" && [ -e "$tmp/linked/link-q8_0.gguf" ] || fail "a link does not give its own name"
odd=$tmp/$'a b\u00fc\n\033[31m'
conv "$tmp/src/llama" -o "$odd" --name $'x y\n' && same "$odd/"$'x y\n-q8_0.gguf'
"$HONE" convert "$tmp/src/llama" --quant q8_0 -o "$odd" >"$tmp/out" 2>&1 || fail "an odd folder: exit $?"
grep -q "$(printf '\033')" "$tmp/out" && fail "an escape byte of a folder's name was printed as it is"
"$HONE" convert "$tmp/src/llama" --quant q8_0 -o "$odd" --json 2>/dev/null | /usr/bin/python3 -c "
import json, os, sys
assert os.path.isfile(json.load(sys.stdin)['outputs'][0]['path'])" || fail "the document's path names no file"

# refuse CODE 'TEXT' ARGS...
refuse() {
    local code=$1 text=$2 rc
    shift 2
    "$HONE" convert "$tmp/src/llama" --quant q8_0 --quiet "$@" >/dev/null 2>"$tmp/err"
    rc=$?
    [ $rc -eq "$code" ] || fail "convert $*: exit $rc, needs $code: $(cat "$tmp/err")"
    grep -qF -- "$text" "$tmp/err" || fail "convert $*: stderr lacks '$text': $(cat "$tmp/err")"
}
refuse 2 "the file name '../up' has a '/'" -o "$tmp/in" --name ../up
[ -e "$tmp/up-q8_0.gguf" ] && fail "--name led out of the folder"
refuse 6 ": File name too long" -o "$tmp/in" --name "$(printf 'a%.0s' {1..300})"
refuse 2 "matches 5 tensors that llama.cpp takes only as they are" -o "$tmp/in" --keep '*norm*=q8_0'
refuse 6 "is a folder, a file has to go there" -o "$tmp/in" --name "$(mkdir -p "$tmp/in/taken-q8_0.gguf" && echo taken)"
[ -z "$(find "$tmp/in" -type f)" ] || fail "refused, yet wrote $(find "$tmp/in" -type f)"

# --- a forgotten tokenizer is no error, and is told even to those who want it quiet
mkdir "$tmp/bare" && cp "$tmp/src/llama/config.json" "$tmp/src/llama/model.safetensors" "$tmp/bare"
"$HONE" convert "$tmp/bare" --to gguf,mlx --quant f16 -o "$tmp/bare/out" --quiet >/dev/null 2>"$tmp/err" || fail "no tokenizer: exit $?: $(cat "$tmp/err")"
[ "$(grep -c "the source has no tokenizer" "$tmp/err")" -eq 1 ] || fail "a missing tokenizer is not told: $(cat "$tmp/err")"

# --- places that cannot hold the result
refuse 6 "config.json' is no folder, a folder has to go there" -o "$tmp/src/llama/config.json/x"
mkdir "$tmp/locked"
if [ "$(id -u)" -ne 0 ]; then chmod a-w "$tmp/locked"; ro=$tmp/locked; else ro=/proc/hone; fi
refuse 6 "cannot " -o "$ro"
mkdir "$tmp/small"
if mount -t tmpfs -o size=200k tmpfs "$tmp/small" 2>/dev/null; then # where this user may mount one
    refuse 6 " free" -o "$tmp/small"
    grep -q "needs .* bytes, .* has .* free" "$tmp/err" || fail "full disk is not named: $(cat "$tmp/err")"
    [ -z "$(find "$tmp/small" -type f)" ] || fail "full disk: left $(find "$tmp/small" -type f)"
    umount "$tmp/small"
fi
(ulimit -f 100 && refuse 6 "File too large" -o "$tmp/limit"; exit $failed) || failed=1
[ -z "$(find "$tmp/limit" -name '*.gguf*')" ] || fail "file size limit: left $(ls "$tmp/limit")"

# --- closed descriptors: their numbers must not become the artefact's, with messages in it
"$HONE" convert "$tmp/src/llama" --quant f32,f16,q8_0 -o "$tmp/closed" <&- >&- 2>&-
[ $? -eq 6 ] || fail "a closed stdout is not noticed"
same "$tmp/closed/llama-q8_0.gguf"

# --- interrupted, killed, run twice.  begin: a slow run is writing, and stopped
begin() {
    rm -rf "$tmp/busy"
    "$HONE" convert "$model" --quant q4_k_m,f32,q6_k,q3_k_m -o "$tmp/busy" --threads 1 --quiet >/dev/null 2>"$tmp/err" &
    pid=$!
    for _ in $(seq 2000); do
        [ -s "$tmp/busy/tale-8m-q4_k_m.gguf.tmp" ] && break
        sleep 0.005
    done
    kill -STOP $pid
}
begin
"$HONE" convert "$model" --quant q4_k_m -o "$tmp/busy" --quiet >/dev/null 2>"$tmp/err2"
[ $? -eq 6 ] && grep -q "is being written by another process" "$tmp/err2" || fail "two writers of one file: $(cat "$tmp/err2")"
"$HONE" convert "$model" --quant q8_0 -o "$tmp/busy" --quiet >/dev/null 2>&1 || fail "another file in the same folder: exit $?"
kill -CONT $pid
wait $pid || fail "the first of two writers: exit $?: $(cat "$tmp/err")"
for q in q4_k_m q8_0; do cmp "$tmp/one/tale-8m-$q.gguf" "$tmp/busy/tale-8m-$q.gguf" || fail "$q: two runs in one folder gave other bytes"; done
begin
kill -TERM $pid
kill -CONT $pid
wait $pid
[ $? -eq 6 ] && grep -q "interrupted" "$tmp/err" && ! grep -q "kept" "$tmp/err" || fail "interrupted: $(cat "$tmp/err")"
[ -z "$(ls -A "$tmp/busy")" ] || fail "interrupted: left $(ls "$tmp/busy")"
begin
kill -KILL $pid
wait $pid 2>/dev/null
[ -z "$(find "$tmp/busy" -name '*.gguf')" ] || fail "killed: a final name is there"
# kill -9 at any moment: a final name only ever holds the whole file.
for ms in 10 40 100 200; do
    "$HONE" convert "$model" --quant q4_k_m -o "$tmp/busy" --quiet >/dev/null 2>&1 &
    pid=$!
    sleep "$(printf '0.%03d' "$ms")"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    f=$tmp/busy/tale-8m-q4_k_m.gguf
    [ ! -e "$f" ] || cmp "$f" "$tmp/one/tale-8m-q4_k_m.gguf" || fail "killed after $ms ms: the final name holds other bytes"
    rm -f "$f"
done
"$HONE" convert "$model" --quant q4_k_m,f32,q6_k,q3_k_m -o "$tmp/busy" --quiet >/dev/null 2>&1 || fail "convert after a kill exits $?"
cmp "$tmp/one/tale-8m-q4_k_m.gguf" "$tmp/busy/tale-8m-q4_k_m.gguf" || fail "other bytes after a kill"
[ -z "$(find "$tmp/busy" -name '*.tmp')" ] || fail "a temporary stays after a good run"
exit $failed
