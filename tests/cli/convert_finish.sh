#!/usr/bin/env bash
# Outputs of one run get their names all or none: whichever call to the system fails, or is the last one before a signal.
# (tests/plugins/faults.c counts the calls; those that finish outputs are tried one by one, those before in steps.)
# ctest: timeout 300
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
# A sanitizer's library wants to be the first; this one may be before it.
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0
# run NAME=VALUE... -- old|new FOLDER: what $kind converts, to $outputs
run() {
    local settings=() how
    while [ "$1" != -- ]; do settings+=("$1"); shift; done
    case $kind,$2 in
    model,old) how=(tiny/qwen3 --to gguf,mlx --quant gguf=q8_0,gguf=f16,mlx=f16) ;;
    model,new) how=(tiny/llama --to gguf,mlx --quant gguf=q8_0,gguf=f16,mlx=f16) ;;
    network,old) how=(digits/model.onnx --quant f32,f16,int8-weights --no-fold) ;;
    network,new) how=(digits/model.onnx --quant f32,f16,int8-weights) ;;
    esac
    env "${settings[@]}" HONE_FAULT_HIT="$tmp/hit" LD_PRELOAD="$HONE_BUILD_DIR/tests/plugins/faults.so" "$HONE" convert "$HONE_SOURCE_DIR/tests/golden/${how[0]}" \
        "${how[@]:1}" --name m --threads 3 --quiet -o "$3" >/dev/null 2>"$tmp/err"
}
# begin KIND OUTPUTS...
begin() {
    kind=$1 outputs=${*:2}
    rm -rf "$tmp/old" "$tmp/new"
    for k in old new; do run -- $k "$tmp/$k" || fail "convert: exit $?: $(cat "$tmp/err")"; done
}

# state FOLDER: of every output n (new), o (old), - (not there) or X (neither); then t when something else lies there
state() {
    local o s=
    for o in $outputs; do
        if [ ! -e "$1/$o" ]; then s+=-
        elif diff -rq "$1/$o" "$tmp/new/$o" >/dev/null 2>&1; then s+=n
        elif diff -rq "$1/$o" "$tmp/old/$o" >/dev/null 2>&1; then s+=o
        else s+=X; fi
    done
    [ "$(ls -A "$1" | grep -vxF "$(printf '%s\n' $outputs)")" ] && s+=t
    echo "$s"
}

# one WHAT N BEFORE [SETTING]: the N-th call is hit; BEFORE is "ooo" or "---".  False when there are not that many calls.
one() {
    local what=$1 n=$2 before=$3 rc got place
    shift 3
    rm -rf "$tmp/w" "$tmp/hit"
    if [ "$before" = ooo ]; then cp -al "$tmp/old" "$tmp/w"; else mkdir "$tmp/w"; fi
    run HONE_FAULT="$what:$n" "$@" -- new "$tmp/w" 2>/dev/null
    rc=$?
    got=$(state "$tmp/w")
    [ -e "$tmp/hit" ] || { [ $rc -eq 0 ] && [ "$got" = nnn ] || fail "nothing was hit: exit $rc, $got"; return 1; }
    place="$* $what:$n at $(cat "$tmp/hit"), $before"
    case "$what,$rc,$got" in
    kill,137,*X*) fail "$place: a final name holds what is not whole: $got" ;;
    kill,137,*) # whatever it left goes with the next run
        run -- new "$tmp/w" || fail "$place: the next run exits $?: $(cat "$tmp/err")"
        [ "$(state "$tmp/w")" = nnn ] || fail "$place: $got, after the next run $(state "$tmp/w"): $(ls -A "$tmp/w")" ;;
    *,0,nnn | fail,6,"$before" | term,6,"$before" | int,6,"$before") ;;
    fail,6,*[Xt]*) fail "$place: $got: $(ls -A "$tmp/w")" ;;
    fail,6,*n*) # told, and only where the system cannot take it back
        [ "$*" ] && grep -q "is new and stays" "$tmp/err" || fail "$place: exit 6, and yet $got: $(cat "$tmp/err")" ;;
    *) fail "$place: exit $rc, $got: $(cat "$tmp/err")" ;;
    esac
    return 0
}

every=${HONE_SANITIZE:+4} # they take long
every=${every:-1}
# sweep WHAT BEFORE [SETTING]
sweep() {
    local n=1 step=23
    while one "$1" $n "$2" "${@:3}"; do
        if [ $step -eq 23 ] && [ "$(cat "$tmp/hit")" != pwrite ] && [ $n -gt 20 ]; then n=$((n - step)) step=$every; fi
        n=$((n + step))
    done
    calls=$((n - 1))
    [ $calls -gt 40 ] || fail "$*: only $calls calls were counted"
}
begin network m-f32-onnx m-f16-onnx m-int8-weights-onnx
one_in=$every
every=$((4 * every)) # few: most of the code is that of models
sweep fail ooo
sweep kill ooo
every=$one_in
begin model m-q8_0.gguf m-f16.gguf m-f16-mlx
sweep fail ooo
sweep kill ooo
last=$((calls - 18)) # from here on names are given, and what they replace is removed
for n in $(seq $last "$every" $calls); do
    one fail "$n" ooo HONE_FAULT_PLAIN=1
    one kill "$n" ooo HONE_FAULT_PLAIN=1
    case $((n / every % 3)) in
    0) one fail "$n" --- ;;
    1) one term "$n" ooo ;;
    2) one int "$n" --- ;;
    esac
done
exit $failed
