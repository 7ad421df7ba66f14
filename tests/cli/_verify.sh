# What the tests of hone verify share: conversions that have to work, and verdicts with their documents.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
validate=$HONE_SOURCE_DIR/tests/tools/validate
convert() { "$HONE" convert "$@" --quiet >/dev/null 2>"$tmp/err" || fail "convert $*: exit $?: $(cat "$tmp/err")"; }
# expect CODE 'TEXT IN THE DOCUMENT' ARTEFACT SOURCE [OPTIONS]
expect() {
    local code=$1 text=$2 rc
    "$HONE" verify "$3" --source "$4" "${@:5}" --json >"$tmp/doc" 2>/dev/null
    rc=$?
    [ $rc -eq "$code" ] || fail "verify $3: exit $rc, needs $code: $(head -c 600 "$tmp/doc")"
    "$validate" verify "$tmp/doc" || failed=1
    grep -qF -- "$text" "$tmp/doc" || fail "verify $3: '$text' is not in $(head -c 1500 "$tmp/doc")"
}
