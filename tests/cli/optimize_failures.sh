#!/usr/bin/env bash
# hone optimize when things go wrong: kill -9 and Ctrl-C lose no finished measurement and leave no process behind; two runs do not share
# a folder; a runtime that dies costs its candidate only.
# ctest: timeout 600
set -u
. "$HONE_SOURCE_DIR/tests/cli/_optimize.sh"

# start ARGS...: a run in a session of its own, its id in $sid.
start() {
    setsid "$HONE" optimize "$@" >"$tmp/out" 2>"$tmp/err" &
    sid=$!
}
# No process of the session may be left; the last ones get a moment to notice.
alone() {
    for _ in $(seq 50); do
        [ -z "$(ps -o pid= -s "$sid")" ] && return
        sleep 0.1
    done
    ps -o pid,args -s "$sid"
    fail "$1 leaves processes behind"
}

# Waits until the run in DIR is in its history.
begun() {
    for _ in $(seq 200); do
        [ -e "$1/history.db" ] && [ "$(ask "$1" 'select count(*) from run' 2>/dev/null)" = 1 ] && return
        sleep 0.05
    done
    cat "$tmp/err"
    fail "the run does not begin"
}

# kill -9, each time a little later, until a run gets through.
moment=0.05 kills=0
while :; do
    start "$model" -o "$tmp/o" "${small[@]}"
    (sleep $moment; kill -9 $sid 2>/dev/null) &
    wait $sid
    rc=$?
    wait
    [ $rc = 137 ] || break
    kills=$((kills + 1))
    alone "kill -9"
    moment=$(/usr/bin/python3 -c "print($moment + 0.12)")
done
[ $rc -le 1 ] || { cat "$tmp/err"; fail "after $kills kills the run exits $rc"; }
[ $kills -ge 2 ] || fail "only $kills runs were killed: the model is too small for this test"
[ "$(ask "$tmp/o" "$twice")" = 0 ] || fail "a finished measurement was made twice"
[ "$(ask "$tmp/o" 'select count(*) from measurement')" = 18 ] || fail "$(ask "$tmp/o" 'select count(*) from measurement') measurements, not 18"
[ "$(ask "$tmp/o" 'select count(*) from run where ended is null')" -le $kills ] || fail "the killed runs do not show as unfinished"
holds "$tmp/o/report.json" 'doc["chosen"]["quantization"] in ("f16", "q8_0", "q4_k_m") and doc["measured"] + doc["reused"] == 18'
find "$tmp/o" -name '*.tmp' | grep . && fail "temporary files are left"
[ "$(ask "$tmp/o" 'select count(*) from run where ended is null')" -ge 1 ] && { "$HONE" history "$tmp/o" | grep -q unfinished || fail "history does not show unfinished runs"; }
echo "survived kill -9 at $kills moments"

# Ctrl-C reaches the whole group of a terminal, the runtimes too.
for moment in 0 0.4 1.2; do
    rm -rf "$tmp/c"
    start "$model" -o "$tmp/c" "${small[@]}" --json --repeat 200
    begun "$tmp/c"
    sleep $moment
    kill -INT -- -$sid
    wait $sid
    rc=$?
    [ $rc = 6 ] || { cat "$tmp/err"; fail "Ctrl-C after $moment s exits $rc, not 6"; }
    "$validate" optimize "$tmp/out" || failed=1
    holds "$tmp/out" 'doc["error"]["cause"] == "interrupted" and "measurements are kept" in doc["error"]["remedy"]'
    alone "Ctrl-C"
    [ "$(ask "$tmp/c" "select count(*) from run where verdict = 'interrupted'")" = 1 ] || fail "the run does not show as interrupted"
    [ "$(ask "$tmp/c" "select count(*) from measurement where result like '%\"failed\":true%'")" = 0 ] || fail "Ctrl-C counts as a failure of a candidate"
done

# Two at once in one folder: the second is refused, the first goes on.
start "$model" -o "$tmp/two" "${small[@]}" --repeat 200
first=$sid
begun "$tmp/two"
"$HONE" optimize "$model" -o "$tmp/two" "${small[@]}" >"$tmp/out2" 2>"$tmp/err2"
[ $? = 6 ] || fail "a second run in the same folder is not refused"
grep -q 'another hone optimize is at work' "$tmp/err2" || { cat "$tmp/err2"; fail "refused with other words"; }
kill -0 $first 2>/dev/null || fail "the first run was over too early to tell"
kill -INT $first
wait $first

# A runtime that dies while one candidate is measured.
mkdir "$tmp/bin"
cp "$HONE" "$HONE_RUNNER" "$tmp/bin" && cp "$HONE_BUILD_DIR/tests/plugins/hone-backend-dies.so" "$tmp/bin/hone-backend-llamacpp.so"
export HONE_TEST_REAL=$HONE_BUILD_DIR/hone-backend-llamacpp.so
for op in open forward; do
    HONE_TEST_DEED=$op:q4_k_m "$tmp/bin/hone" optimize "$model" -o "$tmp/$op" "${small[@]}" --json >"$tmp/doc" 2>"$tmp/err"
    rc=$?
    [ $rc -le 1 ] || { cat "$tmp/err"; fail "a runtime that dies in $op: exit $rc"; }
    "$validate" optimize "$tmp/doc" || failed=1
    holds "$tmp/doc" '{c["quantization"]: "killed by signal 6" in (c["failure"] or "") for c in doc["candidates"]} == {"bf16": False, "f16": False, "q8_0": False, "q4_k_m": True}'
    holds "$tmp/doc" 'doc["chosen"]["quantization"] != "q4_k_m" and doc["strategy"]["verdict"] == "impossible"'
    grep -q 'q4_k_m is out: ' "$tmp/err" || fail "$op: nobody says that it is out"
    # Once the runtime behaves, only what failed is measured: its evaluation, and the rounds that its set had missed.
    "$tmp/bin/hone" optimize "$model" -o "$tmp/$op" "${small[@]}" --json >"$tmp/doc" 2>"$tmp/err"
    holds "$tmp/doc" 'all(c["failure"] is None for c in doc["candidates"])'
    [ "$(ask "$tmp/$op" "$twice")" = 0 ] || fail "$op: a finished measurement was made twice"
done
grep -q 'roof is on fire' "$tmp/open/report.json" && fail "the failure outlived its repair"
# Without its baseline there is nothing to compare with.
HONE_TEST_DEED=open:bf16 "$tmp/bin/hone" optimize "$model" -o "$tmp/base" "${small[@]}" >"$tmp/out" 2>"$tmp/err"
[ $? = 5 ] || fail "a dead baseline exits $?"
grep -q 'the baseline cannot be evaluated' "$tmp/err" || { cat "$tmp/err"; fail "a dead baseline: other words"; }
exit $failed
