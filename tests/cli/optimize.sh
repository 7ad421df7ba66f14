#!/usr/bin/env bash
# hone optimize: five stages to a chosen, gated artefact and a report; what is asked for and what the target has are limits; the
# documents keep their schemas and the page is sound.
# ctest: timeout 600
set -u
. "$HONE_SOURCE_DIR/tests/cli/_optimize.sh"

"$HONE" optimize "$model" --target android -o "$tmp/o" "${small[@]}" --json >"$tmp/doc" 2>"$tmp/err"
rc=$?
[ $rc -le 1 ] || { cat "$tmp/err"; fail "optimize exits $rc"; }
"$validate" optimize "$tmp/doc" || failed=1
"$validate" optimize "$tmp/o/report.json" || failed=1
holds "$tmp/doc" 'doc["ok"] == (doc["gates_pass"] and "error" not in doc)'
holds "$tmp/doc" '[c["quantization"] for c in doc["candidates"]] == ["bf16", "f16", "q8_0", "q4_k_m"]'
holds "$tmp/doc" 'all(c["failure"] is None and c["bench"] and c["eval"] for c in doc["candidates"])'
holds "$tmp/doc" 'doc["strategy"]["encoding"] == "q4_k_m" and doc["strategy"]["verdict"] in ("confirmed", "overruled")'
holds "$tmp/doc" '"android-arm64" in doc["chosen"]["because"][0]'
holds "$tmp/doc" 'doc["constraints"]["max_bytes"] == 100000000 and "package budget" in doc["constraints"]["max_bytes_from"]'
holds "$tmp/doc" 'any("100 MB" in g for g in doc["guidance"]) and any("4 threads" in g for g in doc["guidance"])'
holds "$tmp/doc" '[s["status"] for s in doc["stages"]] == ["measured"] * 5'
holds "$tmp/doc" '{g["name"]: g["verdict"] for g in doc["gates"]}["token parity"] == "pass"'
holds "$tmp/doc" 'len(doc["pareto"]) >= 1 and doc["chosen"]["path"].endswith(".gguf")'
# The accuracy gate stands on the same items, answered by both.
holds "$tmp/doc" 'all(set(t["items"]) <= {"0", "1"} and len(t["items"]) == t["n"] == 2 for c in doc["candidates"] for t in c["eval"]["tasks"].values())'
holds "$tmp/doc" 'next(g for g in doc["gates"] if g["name"] == "accuracy")["ci"][0] <= next(g for g in doc["gates"] if g["name"] == "accuracy")["value"]'
[ "$(ask "$tmp/o" 'select verdict from run')" = "$(if [ $rc = 0 ]; then echo pass; else echo no; fi)" ] || fail "verdict of the run"

# For people: within 100 columns, no colour in a file; the second run takes everything from history.
"$HONE" optimize "$model" --target android -o "$tmp/o" "${small[@]}" >"$tmp/out" 2>"$tmp/err"
grep -q 'Chosen: ' "$tmp/out" || fail "no choice shown"
grep -q "$tmp/o/report.html" "$tmp/out" || fail "no report named"
grep -q '0 records made, 18 from earlier runs' "$tmp/out" || { tail -1 "$tmp/out"; fail "a second run measures again"; }
grep -qP '\e\[' "$tmp/out" && fail "colour in a file"
sed "s#$tmp[^ ]*##" "$tmp/out" | awk 'length($0) > 100 { print; bad = 1 } END { exit bad }' || fail "wider than 100 columns"
[ "$(grep -c 'perplexity' "$tmp/err")" = 4 ] || fail "not one line for each evaluation"

"$HONE" history "$tmp/o" --json >"$tmp/h" || fail "history exits $?"
"$validate" history "$tmp/h" || failed=1
holds "$tmp/h" 'len(doc["runs"]) == 2 and len(doc["runs"][1]["measurements"]) == 18 and "result" not in doc["runs"][1]["measurements"][0]'
"$HONE" history "$tmp/o" --json --full --last 1 >"$tmp/h" || fail "history --full exits $?"
"$validate" history "$tmp/h" || failed=1
holds "$tmp/h" 'len(doc["runs"]) == 1 and doc["runs"][0]["id"] == 2'
"$HONE" history "$tmp/o" | grep -q q4_k_m || fail "history does not show the chosen encoding"

# A file that was changed or is gone is made again, and nothing else.
was=$(sha256sum <"$tmp/o/candidates/llama-q4_k_m.gguf")
printf x >>"$tmp/o/candidates/llama-q4_k_m.gguf"
rm "$tmp/o/candidates/llama-q8_0.gguf"
"$HONE" optimize "$model" --target android -o "$tmp/o" "${small[@]}" --json >"$tmp/doc" 2>"$tmp/err"
[ "$(grep -c 'is made again' "$tmp/err")" = 2 ] || fail "changed files are not told of"
holds "$tmp/doc" 'doc["measured"] == 2 and doc["reused"] == 16'
[ "$was" = "$(sha256sum <"$tmp/o/candidates/llama-q4_k_m.gguf")" ] || fail "the file made again differs"
[ "$(ask "$tmp/o" "$twice")" = 2 ] || fail "more than the two files were made twice"

# --fresh measures again.
"$HONE" optimize "$model" --target android -o "$tmp/o" "${small[@]}" --fresh --json >"$tmp/doc" 2>/dev/null
holds "$tmp/doc" 'doc["measured"] == 18 and doc["reused"] == 0'

# Thresholds are the user's; with easy ones the answer is yes.
"$HONE" optimize "$model" --target android -o "$tmp/o" "${small[@]}" --gates speed=.01,memory=2,variation=9 --min-accuracy .01 --json >"$tmp/doc" 2>/dev/null
[ $? = 0 ] || fail "easy gates do not pass"
"$validate" optimize "$tmp/doc" || failed=1
holds "$tmp/doc" 'doc["ok"] and doc["gates_pass"] and [g["threshold"] for g in doc["gates"]][2:] == [0.01, 0.01, 2, 9]'
"$validate" optimize "$tmp/o/report.json" || failed=1

# Limits that nothing meets: the answer is no, and the report says so.
for limit in "--max-bytes 100k" "--max-ram 1M"; do
    # shellcheck disable=SC2086
    "$HONE" optimize "$model" -o "$tmp/o" "${small[@]}" $limit --json >"$tmp/doc" 2>/dev/null
    rc=$?
    [ $rc = 1 ] || fail "$limit exits $rc"
    "$validate" optimize "$tmp/doc" || failed=1
    "$validate" optimize "$tmp/o/report.json" || failed=1
    holds "$tmp/doc" 'doc["error"]["cause"] == "no encoding meets the constraints" and doc["chosen"] is None and doc["gates"] == []'
    holds "$tmp/doc" "all('${limit%% *}' in c['excluded'] for c in doc['candidates'])"
    grep -q 'no candidate meets the constraints' "$tmp/o/report.html" || fail "$limit: not in the report"
    "$HONE" optimize "$model" -o "$tmp/o" "${small[@]}" $limit 2>/dev/null | grep -q 'no encoding meets the constraints' || fail "$limit: not told"
done

# Without tasks accuracy stands on the KL divergence, and that is said.
"$HONE" optimize "$model" -o "$tmp/kld" --threads 1 --text "$eval/heldout.txt" --max-tokens 512 --prompt 16 --gen 8 --repeat 3 -Q q8_0 --json >"$tmp/doc" 2>"$tmp/err"
[ $? = 1 ] || fail "a gate that is not measured passes"
"$validate" optimize "$tmp/doc" || failed=1
grep -q 'warning: no tasks' "$tmp/err" || fail "no word about missing tasks"
holds "$tmp/doc" 'any("KL divergence alone" in b for b in doc["chosen"]["because"])'
holds "$tmp/doc" '{g["name"]: g["verdict"] for g in doc["gates"]}["accuracy"] == "not_measured"'

# Names from outside stay text; the page needs nothing from elsewhere and all its tags are closed.
evil="$tmp/<script>alert(1)<&script>\"'"
mkdir "$evil" && cp "$model"/* "$evil"
"$HONE" optimize "$evil" -o "$tmp/evil" --threads 1 --text "$eval/heldout.txt" --max-tokens 256 --prompt 16 --gen 8 --repeat 3 -Q q8_0 --json >"$tmp/doc" 2>/dev/null
"$validate" optimize "$tmp/doc" || failed=1
for page in "$tmp/o/report.html" "$tmp/evil/report.html" "$tmp/kld/report.html"; do
    /usr/bin/python3 - "$page" <<'PY' || fail "$page is not sound"
import html.parser, sys
text = open(sys.argv[1], encoding="utf-8").read()
void = {"meta", "br", "hr", "link", "img", "input"}
class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.bad, self.words = [], [], []
    def handle_starttag(self, tag, attrs):
        if tag in ("script", "iframe", "img", "link", "object", "embed"): self.bad.append(f"<{tag}>")
        for k, v in attrs:
            if k in ("src", "href", "srcset", "action") or k.startswith("on") or "url(" in (v or ""): self.bad.append(f"{tag} {k}={v}")
        if tag not in void: self.open.append(tag)
    def handle_startendtag(self, tag, attrs): pass
    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag: self.bad.append(f"</{tag}> at {self.getpos()}")
    def handle_data(self, data): self.words.append(data)
p = Page()
p.feed(text)
p.close()
bad = p.bad + [f"<{t}> is never closed" for t in p.open] + (["@import"] if "@import" in text else []) + (["http"] if "http:" in text or "https:" in text else [])
if "evil" in sys.argv[1] and "<script>alert(1)" not in "".join(p.words): bad.append("the hostile name is not shown as text")
if "NaN" in text or "nan" in "".join(w for w in p.words if w.strip() in ("nan", "-nan", "inf")): bad.append("a NaN")
print("\n".join(bad[:8]))
sys.exit(bool(bad))
PY
done

# A history that is none.
mkdir "$tmp/bad"
expect() { # CODE TEXT ARGS...
    local code=$1 text=$2 rc
    shift 2
    "$HONE" "$@" >"$tmp/out" 2>"$tmp/err"
    rc=$?
    [ $rc = "$code" ] || fail "$* exits $rc, not $code"
    grep -qF -- "$text" "$tmp/err" || { cat "$tmp/err"; fail "$*: no '$text'"; }
}
head -c 8192 /dev/urandom >"$tmp/bad/history.db"
expect 3 "file is not a database" optimize "$model" -o "$tmp/bad" "${small[@]}"
expect 3 "file is not a database" history "$tmp/bad"
rm "$tmp/bad/history.db"
/usr/bin/python3 -c "
import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute('create table cookies (x)')" "$tmp/bad/history.db"
expect 3 "is a database of another program" optimize "$model" -o "$tmp/bad" "${small[@]}"
cp "$tmp/o/history.db" "$tmp/bad/history.db"
/usr/bin/python3 - "$tmp/bad/history.db" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f: # page 1 stays whole, the tables do not
    f.seek(0, 2); size = f.tell()
    f.seek(4096); f.write(b"\xa5" * (size - 4096))
PY
expect 3 "malformed" optimize "$model" -o "$tmp/bad" "${small[@]}"
expect 3 "malformed" history "$tmp/bad" --json --full
expect 3 "there is no history" history "$tmp/nowhere"
expect 2 "needs an output folder" optimize "$model"
expect 2 "no encoding 'q9_9'" optimize "$model" -o "$tmp/x" -Q q9_9
expect 2 "there is no target 'androd'" optimize "$model" -o "$tmp/x" --target androd
expect 2 "--prefer has 'speed=x'" optimize "$model" -o "$tmp/x" --prefer speed=x
expect 2 "--prefer 'speed=0' weighs nothing" optimize "$model" -o "$tmp/x" --prefer speed=0
expect 2 "--gates has 'speeed=3'" optimize "$model" -o "$tmp/x" --gates memory=.6,speeed=3
expect 2 "--gates memory=0 can never be met" optimize "$model" -o "$tmp/x" --gates memory=0
expect 2 "there is no text to judge quality on" optimize "$model" -o "$tmp/x"
expect 4 "is an encoder" optimize "$HONE_SOURCE_DIR/tests/golden/tiny/bert" -o "$tmp/x" "${small[@]}"
# All formats: each in its own runtime, against the source there; one whose runtime is missing is listed with the reason, the others go on.
mkdir -p "$tmp/bin"
cp "$HONE_BUILD_DIR/hone" "$tmp/bin/hone"
ln -sf "$HONE_BUILD_DIR/hone-runner" "$HONE_BUILD_DIR/hone-backend-llamacpp.so" "$tmp/bin"
HONE_DATA_DIR=$HONE_SOURCE_DIR "$tmp/bin/hone" optimize "$model" -o "$tmp/none" "${quick[@]}" -Q q8_0,onnx=int4 --json >"$tmp/doc" 2>"$tmp/err"
[ $? -le 1 ] || { cat "$tmp/err"; fail "optimize without ONNX Runtime fails"; }
"$validate" optimize "$tmp/doc" || failed=1
holds "$tmp/doc" 'all(c["absent"] and "onnxruntime" in c["failure"] and "not measured" in c["excluded"] for c in doc["candidates"] if c["format"] == "onnx")'
holds "$tmp/doc" 'sum(c["format"] == "onnx" for c in doc["candidates"]) == 2 and "onnx" not in doc["chosen"]["quantization"]'
if [ -e "$HONE_BUILD_DIR/hone-backend-onnxruntime.so" ]; then
    "$HONE" optimize "$model" -o "$tmp/all" "${quick[@]}" -Q q8_0,onnx=int4 --json >"$tmp/doc" 2>"$tmp/err"
    [ $? -le 1 ] || { cat "$tmp/err"; fail "optimize with ONNX fails"; }
    "$validate" optimize "$tmp/doc" || failed=1
    holds "$tmp/doc" '{"bf16": "baseline", "f16": "format", "q8_0": "candidate", "onnx=int4": "candidate", "onnx=f16": "runtime_baseline"}.items() <= {c["quantization"]: c["role"] for c in doc["candidates"]}.items()'
    holds "$tmp/doc" 'all(c["absent"] or (c["bench"]["decode_tok_s"] > 0 and c["eval"]["perplexity"] > 1) for c in doc["candidates"])'
    holds "$tmp/doc" 'doc["decision_tree"]["pick"] and doc["memory_basis"] in ("reported", "peak_rss")'
    "$HONE" optimize "$model" -o "$tmp/all" "${quick[@]}" -Q q8_0,onnx=int4 --json >"$tmp/doc" 2>"$tmp/err"
    holds "$tmp/doc" 'doc["measured"] == 0' # folders are recognised again by their digests
fi
exit $failed
