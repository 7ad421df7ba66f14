#!/usr/bin/env bash
# The command line as a person meets it: help, slips of the keyboard, errors as JSON, man pages, completions.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
validate=$HONE_SOURCE_DIR/tests/tools/validate

# expect CODE 'TEXT IN STDERR' ARGS...
expect() {
    local code=$1 text=$2 rc
    shift 2
    "$HONE" "$@" >"$tmp/out" 2>"$tmp/err"
    rc=$?
    [ $rc -eq "$code" ] || fail "hone $*: exit $rc, needs $code: $(cat "$tmp/err")"
    grep -qF -- "$text" "$tmp/err" || fail "hone $*: stderr lacks '$text': $(cat "$tmp/err")"
    [ "$(wc -l <"$tmp/err")" -le 3 ] || fail "hone $*: more than three lines for one error"
}
expect 2 "there is no verb 'covnert'" covnert
expect 2 "did you mean hone convert?" covnert
expect 2 "hone convert has no option '--qant'" convert x --qant q4_0
expect 2 "did you mean --quant?" convert x --qant q4_0
expect 3 "there is no 'not-there'" convert not-there -n --quant openvino=int4,mlx=int4
expect 2 "openvino has no encoding 'q4_0'" convert x -n --quant mlx=int4,openvino=q4_0
expect 2 "--quant 'mlx=int4' is for a format that --to does not name" convert x -n --to gguf --quant mlx=int4
expect 2 "--quant 'mlx=int4' is for a format that --to does not name" convert x -n --quant int8,mlx=int4
expect 2 "--quant 'tflite=int4' is for a format that --to does not name" convert x -n --quant tflite=int4
expect 2 "hone convert needs SRC, got 0 arguments" convert
expect 2 "does not know what to do with 'y'" convert x y
expect 2 "--threads is 'many', needs a whole number" convert x --threads many
expect 2 "--threads is 0, needs 1..1024" convert x --threads 0
expect 2 "--output needs a value" convert x --output
expect 2 "--to names no format" convert x --to , -o y
expect 2 "--quant names no encoding" convert x --quant , -o y
expect 2 "--dry-run takes no value" convert x --dry-run=yes
expect 2 "gguf has no encoding 'q9'" convert x --quant q9 -o y
expect 2 "--max-ram is 'lots', needs a size" optimize x --max-ram lots
expect 2 "--prefer has 'haste=1'" optimize x -o y --prefer haste=1
expect 2 "hone convert needs an output folder" convert x
expect 3 "there is no 'not-there'" convert not-there -o "$tmp/x"
expect 4 "hone cannot write 'tflite' files" convert x --to tflite -o y
# A page that cannot be written is told before anything is measured.
for verb in check eval bench; do expect 6 "cannot create '$tmp/none/p.html.tmp'" $verb x --html "$tmp/none/p.html"; done

"$HONE" convert not-there -o "$tmp/x" --json >"$tmp/doc" 2>/dev/null
[ $? -eq 3 ] || fail "--json changes the exit code"
"$validate" convert "$tmp/doc" || failed=1
# What is no verb has its errors as JSON too, in a document that every verb's readers know.
for words in nothing "help nothing" "man nothing" "completion tcsh" ""; do
    # shellcheck disable=SC2086  # words are words
    "$HONE" $words --json >"$tmp/doc" 2>/dev/null
    [ $? -eq 2 ] || fail "hone $words --json is not exit 2"
    "$validate" error "$tmp/doc" || failed=1
done
"$HONE" --help --json | cmp -s - <("$HONE" --help) || fail "--help --json is no help"
# Not every argument can be written down in JSON.
"$HONE" convert x -o "$(printf 'a\377b')" --json >"$tmp/doc" 2>"$tmp/err"
[ $? -eq 2 ] && grep -qF "'a\\xffb' is not UTF-8" "$tmp/err" || fail "an argument that is not UTF-8: $(cat "$tmp/err")"
"$validate" convert "$tmp/doc" || failed=1
bad=$(printf 'a\377b')
for words in "graph $bad" "graph x --svg $bad" "check x --html $bad" "eval x --html $bad" "convert $bad -n" "probe -- $bad"; do
    # shellcheck disable=SC2086  # words are words
    expect 2 "'a\xffb' is not UTF-8" $words
done
HONE_DATA_DIR=$tmp/nowhere expect 4 "hone's own data are missing: there is no folder '$tmp/nowhere/data'" convert x -o y
expect 2 "--threads is ' 4', needs a whole number" convert x --threads " 4"

# Colours and bars are for terminals that know them: escapes TERM NO_COLOR counts the escape bytes of a help page and of an error there.
escapes() { TERM=$1 NO_COLOR=$2 script -qec "'$HONE' --help; '$HONE' nothing" /dev/null </dev/null | tr -dc '\033' | wc -c; }
if command -v script >/dev/null; then
    [ "$(escapes xterm '')" -gt 0 ] || fail "no colour on a terminal"
    [ "$(escapes xterm 1)" -eq 0 ] || fail "colour in spite of NO_COLOR"
    [ "$(escapes dumb '')" -eq 0 ] || fail "colour on a dumb terminal"
fi

# Help fits the terminal, and names the values that an option takes.
if command -v script >/dev/null; then
    script -qec "stty cols 80; NO_COLOR=1 '$HONE' convert --help; '$HONE' --help; '$HONE' convert $HONE_SOURCE_DIR/examples/models/tale-8m -n -q" /dev/null </dev/null | tr -d '\r' >"$tmp/out"
    [ "$(wc -l <"$tmp/out")" -gt 100 ] && [ "$(wc -L <"$tmp/out")" -le 80 ] || fail "help at 80 columns has a line of $(wc -L <"$tmp/out")"
fi
for words in "convert u8, u8-sym, s8, s8-sym" "convert minmax, average, percentile, entropy, mse" "assess prototype, enterprise" "plan rtn, search, hqq, scale, gptq"; do
    "$HONE" "${words%% *}" --help | tr -s ' \n' ' ' | grep -qF "${words#* }" || fail "help of ${words%% *} does not say '${words#* }'"
done

# An escape sequence in a name from outside never reaches the terminal.
"$HONE" convert "$(printf 'a\033[31mb')" -o "$tmp/x" 2>"$tmp/err"
grep -q "$(printf '\033')" "$tmp/err" && fail "an escape byte was printed as it is"

# A result that cannot be written is an error.
"$HONE" --help >/dev/full 2>"$tmp/err" && fail "a full stdout is not noticed"
grep -q "cannot write the result" "$tmp/err" || fail "a full stdout is not named"

for verb in $("$HONE" --help | awk '/^verbs/{on=1;next} /^$/{on=0} on{print $1}'); do
    "$HONE" "$verb" --help >"$tmp/help" || fail "hone $verb --help exits $?"
    "$HONE" help "$verb" | cmp -s - "$tmp/help" || fail "hone help $verb differs from hone $verb --help"
    for part in "^usage" "^example" "^common options" "^exit codes"; do
        grep -q "$part" "$tmp/help" || fail "hone $verb --help has no '$part'"
    done
    awk -v v="$verb" 'length($0) > 110 && !/^  hone / { print "hone " v " --help: a line of " length($0) " columns"; bad = 1 } END { exit bad }' "$tmp/help" || failed=1
    "$HONE" man "$verb" >"$tmp/page.1"
    if command -v mandoc >/dev/null; then
        mandoc -T lint -W warning "$tmp/page.1" | grep -v "missing date" >"$tmp/lint"
        [ -s "$tmp/lint" ] && fail "man page of $verb: $(head -3 "$tmp/lint")"
    fi
    [ -f "$HONE_SOURCE_DIR/docs/schema/$verb.json" ] || fail "docs/schema/$verb.json is missing"
done
"$HONE" --help | awk '/^verbs/{on=1;next} /^$/{on=0} on{print $1}' >"$tmp/verbs"
[ -s "$tmp/verbs" ] || fail "hone --help lists no verbs"

"$HONE" completion bash >"$tmp/hone.bash" && bash -n "$tmp/hone.bash" || fail "bash completion"
got=$(bash -c ". '$tmp/hone.bash'; COMP_WORDS=(hone con); COMP_CWORD=1; _hone; echo \"\${COMPREPLY[*]}\"")
[ "$got" = convert ] || fail "completing 'hone con' gives '$got'"
got=$(bash -c ". '$tmp/hone.bash'; COMP_WORDS=(hone convert --dr); COMP_CWORD=2; _hone; echo \"\${COMPREPLY[*]}\"")
[ "$got" = "--dry-run" ] || fail "completing 'hone convert --dr' gives '$got'"
"$HONE" completion fish | grep "__fish_seen_subcommand_from convert' -l quant" >/dev/null || fail "fish completion"
"$HONE" completion zsh | grep "^#compdef hone" >/dev/null || fail "zsh completion"
"$HONE" completion tcsh >/dev/null 2>&1
[ $? -eq 2 ] || fail "an unknown shell is not refused"
exit $failed
