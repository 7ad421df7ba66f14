#!/usr/bin/env bash
# hone check, eval and bench: documents that keep their schemas, tables that fit a terminal, exit codes that scripts can trust.
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
model=$HONE_SOURCE_DIR/examples/models/tale-8m
tiny=$HONE_SOURCE_DIR/tests/golden/tiny
validate=$HONE_SOURCE_DIR/tests/tools/validate
[ -e "$HONE_BUILD_DIR/hone-backend-llamacpp.so" ] || { echo "skipped: no llama.cpp plug-in"; exit 77; }

"$HONE" convert "$model" --quant f32,q8_0,q4_k_m -o "$tmp" --quiet >/dev/null || fail "convert exits $?"
"$HONE" convert "$tiny/mistral" --quant f32 -o "$tmp" --quiet >/dev/null || fail "convert exits $?"
"$HONE" convert "$tiny/bert" --quant f32 -o "$tmp" --quiet >/dev/null || fail "convert exits $?"

# json NAME VERB CODE ARGS...: the document goes to $tmp/NAME
json() {
    local name=$1 verb=$2 code=$3 rc
    shift 3
    "$HONE" "$verb" "$@" -t 1 --json >"$tmp/$name" 2>"$tmp/err"
    rc=$?
    [ $rc -eq "$code" ] || fail "hone $verb $*: exit $rc, needs $code: $(cat "$tmp/err")"
    "$validate" "$verb" "$tmp/$name" || failed=1
}
# holds NAME 'PYTHON EXPRESSION ABOUT d'
holds() {
    /usr/bin/python3 -c "import json, sys; d = json.load(open(sys.argv[1])); sys.exit(not ($2))" "$tmp/$1" || fail "$1: not so: $2"
}
# table ARGS...: for people; no line wider than 100 columns
table() {
    "$HONE" "$@" -t 1 -q >"$tmp/table" 2>"$tmp/err" || fail "hone $*: exit $?: $(cat "$tmp/err")"
    /usr/bin/python3 -c "
import sys
for line in open(sys.argv[1], encoding='utf-8'):
    if len(line.rstrip()) > 100: sys.exit(f'{len(line)} columns: {line}')" "$tmp/table" || fail "hone $*: too wide"
}

json same check 0 "$tmp/tale-8m-f32.gguf" --against "$model"
holds same "d['ok'] and d['verdict'] == 'pass' and d['tokenizer']['cases'] == 264 and d['tokenizer']['mismatches'] == 0"
holds same "d['logits']['kld_mean'] < 1e-5 and d['logits']['reference'] == 'file' and d['logits']['top1_wrong'] == 0"
json limited check 0 "$tmp/mistral-f32.gguf" --against "$tiny/mistral" --context 8
holds limited "d['logits']['positions_skipped'] == 32 and d['logits']['skipped_why'] and d['tokenizer']['excused'] == 60"
json beyond check 1 "$tmp/mistral-f32.gguf" --against "$tiny/mistral"
holds beyond "d['beyond']['differs'] and d['beyond']['positions'] == 32 and d['beyond']['up_to'] == 8 and 'sliding window' in d['why']"
json encoder check 0 "$tmp/bert-f32.gguf" --against "$tiny/bert"
holds encoder "d['logits']['cosine'] > 0.999999 and d['logits']['states']['kld_mean']['reason'] == 'an encoder has no logits'"
json other check 1 "$tmp/tale-8m-f32.gguf" --against "$model" --cases "$tiny/llama/tokenizer_cases.json"
holds other "not d['ok'] and d['verdict'] == 'fail' and d['tokenizer']['mismatches'] > 0 and d['error']['code'] == 'no' and d['error']['exit'] == 1"
json unproven check 1 "$tmp/tale-8m-f32.gguf" --cases "$model/tokenizer_cases.json"
holds unproven "d['verdict'] == 'not_measured' and 'no reference logits' in d['why'] and d['logits']['kld_mean'] is None"
json nothing check 2 "$tmp/tale-8m-f32.gguf"
json missing check 3 "$tmp/not-there.gguf" --against "$model"
printf 'no model' >"$tmp/junk.gguf"
json junk check 3 "$tmp/junk.gguf" --against "$model"
holds junk "'junk.gguf' in d['error']['cause'] and 'results' not in d"
table check "$tmp/tale-8m-f32.gguf" --against "$model"
grep -q "same model" "$tmp/table" || fail "check does not say 'same model'"
table check "$tmp/tale-8m-q4_k_m.gguf" --against "$model"
! grep -q "same model" "$tmp/table" || fail "check calls a quantised model the same"
grep -q "^sound, quantised: token ids and chats agree, logits are finite; mean KLD 0\.0" "$tmp/table" || fail "check does not say what holds of a quantised model: $(tail -1 "$tmp/table")"
"$HONE" check "$tmp/tale-8m-f32.gguf" "$tmp/tale-8m-q4_k_m.gguf" --against "$model" -t 1 -q >"$tmp/table" 2>"$tmp/err" || fail "check of two: exit $?: $(cat "$tmp/err")"
grep -q "f32.*same model$" "$tmp/table" && grep -q "q4_k_m.*sound$" "$tmp/table" || fail "verdicts of two artefacts: $(cat "$tmp/table")"
cp "$tmp/tale-8m-q4_k_m.gguf" "$tmp/tale-8m-with-quite-a-long-name-of-forty-letters-q4_k_m.gguf"
for columns in 100 60; do # no table is wider than the terminal; what does not fit goes on below, under the artefact's name
    NO_COLOR=1 /usr/bin/python3 - $columns "$HONE" check "$tmp/tale-8m-f32.gguf" "$tmp"/tale-8m-with*.gguf --against "$model" -t 1 -q >"$tmp/table" 2>"$tmp/err" <<'PY' || fail "check of two: $(cat "$tmp/err")"
import fcntl, os, pty, struct, subprocess, sys, termios
ours, theirs = pty.openpty()
fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, int(sys.argv[1]), 0, 0))
p = subprocess.Popen(sys.argv[2:], stdout=theirs)
os.close(theirs)
text = b""
try:
    while part := os.read(ours, 4096): text += part
except OSError: pass  # the other end is closed
sys.stdout.write(text.decode().replace("\r", ""))
sys.exit(p.wait())
PY
    [ "$(awk '{ if (length($0) > n) n = length($0) } END { print n }' "$tmp/table")" -le $columns ] || fail "check of two is wider than $columns: $(cat "$tmp/table")"
done
[ "$(grep -c "q4_k_m" "$tmp/table")" -ge 2 ] && grep -q sound "$tmp/table" || fail "columns are lost: $(cat "$tmp/table")"
table check "$tmp/mistral-f32.gguf" --against "$tiny/mistral" --context 8
grep -q "known limits of llama.cpp" "$tmp/table" || fail "check does not name the runtime's limits"

few="--max-tokens 1022 --max-items 4"
json eval eval 0 "$tmp/tale-8m-q8_0.gguf" "$tmp/tale-8m-q4_k_m.gguf" --text "$model/eval/heldout.txt" --tasks "$model/eval/tasks.jsonl" \
    --reference "$tmp/tale-8m-f32.gguf" $few
holds eval "len(d['results']) == 2 and all(r['tokens'] == 1022 and len(r['tasks']) == 14 for r in d['results'])"
holds eval "d['results'][0]['kld_mean'] < d['results'][1]['kld_mean'] and d['results'][0]['reference'] == 'self_converted'"
holds eval "all(r['ppl_ci'][0] < r['perplexity'] < r['ppl_ci'][1] for r in d['results'])"
holds eval "all(abs(sum(i * k for i, k in zip(r['windows']['ids'], r['windows']['kld'])) / 1022 - r['kld_mean']) < 1e-9 and sum(r['windows']['ids']) == 1022 for r in d['results'])"
json text eval 0 "$tmp/tale-8m-q8_0.gguf" --text "$model/eval/heldout.txt" $few
holds text "d['results'][0]['accuracy'] is None and d['results'][0]['states']['accuracy']['reason'] == 'no tasks were given'"
json nowhere eval 2 "$tmp/tale-8m-q8_0.gguf"
printf '{"task":"a","context":"b","choices":["c","d"],"answer":2}\n' >"$tmp/bad.jsonl"
json badtask eval 3 "$tmp/tale-8m-q8_0.gguf" --tasks "$tmp/bad.jsonl"
holds badtask "'line 1: \"answer\" is 2, there are 2 choices' in d['error']['cause']"
json encoding eval 4 "$tmp/bert-f32.gguf" --text "$model/eval/heldout.txt"
table eval "$tmp/tale-8m-q8_0.gguf" "$tmp/tale-8m-q4_k_m.gguf" --text "$model/eval/heldout.txt" --tasks "$model/eval/tasks.jsonl" --reference "$tmp/tale-8m-f32.gguf" $few
[ "$(grep -c 'tale-8m-q4_k_m' "$tmp/table")" -eq 2 ] || fail "eval's tables do not name each artefact in both"

short="--prompt 16 --gen 8 --repeat 3"
json bench bench 0 "$tmp/tale-8m-q8_0.gguf" "$tmp/junk.gguf" "$tmp/tale-8m-q4_k_m.gguf" $short
holds bench "[r['failed'] for r in d['results']] == [False, True, False] and d['results'][1]['decode_tok_s'] is None"
holds bench "d['results'][0]['decode_tok_s'] > 0 and d['results'][0]['states']['latency_ms.p95']['state'] == 'unresolved' and d['results'][0]['latency_ms']['p95'] is None"
holds bench "d['results'][0]['run'] == {'prompt': 16, 'gen': 8, 'rounds': 3, 'context': 256, 'threads': 1, 'reopened': False}"
json none bench 3 "$tmp/not-there.gguf" $short
json zero bench 2 "$tmp/tale-8m-q8_0.gguf" --repeat 0
table bench "$tmp/tale-8m-q8_0.gguf" "$tmp/tale-8m-q4_k_m.gguf" "$tmp/tale-8m-f32.gguf" $short
grep -q "tok/s" "$tmp/table" || fail "bench's table has no units"
exit $failed
