#!/usr/bin/env bash
# Where writing is slow, workers keep tiles until their file is free: the bytes are those of one thread, and a disk that is full by then is told.
# (tests/plugins/faults.c makes each write last longer than encoding a tile.)
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0 # faults.so comes before a sanitizer's library

# convert FOLDER TO QUANT THREADS [NAME=VALUE...]
convert() {
    env "${@:5}" "$HONE" convert "$HONE_SOURCE_DIR/examples/models/tale-8m" --to "$2" --quant "$3" --threads "$4" --name m --quiet -o "$tmp/$1" >/dev/null 2>"$tmp/err"
}
sums() { (cd "$tmp/$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

for what in "mlx int4" "gguf,mlx gguf=q4_k_m,gguf=f16,mlx=f16"; do
    read -r to quant <<<"$what"
    rm -rf "$tmp/one" "$tmp/slow" "$tmp/full"
    convert one "$to" "$quant" 1 || fail "$to: one thread exits $?: $(cat "$tmp/err")"
    convert slow "$to" "$quant" 3 HONE_FAULT_SLOW=4 LD_PRELOAD="$HONE_BUILD_DIR/tests/plugins/faults.so" || fail "$to: slow writes exit $?: $(cat "$tmp/err")"
    [ "$(sums one | wc -l)" -gt 1 ] || fail "$to: one thread left $(sums one | wc -l) files"
    diff <(sums one) <(sums slow) || fail "$to: slow writes give other bytes"
    convert full "$to" "$quant" 3 HONE_FAULT_SLOW=4 HONE_FAULT=fail:60 HONE_FAULT_HIT="$tmp/hit" LD_PRELOAD="$HONE_BUILD_DIR/tests/plugins/faults.so"
    rc=$?
    [ $rc -eq 6 ] || fail "$to: a full disk exits $rc, wanted 6: $(cat "$tmp/err")"
    [ "$(cat "$tmp/hit")" = pwrite ] || fail "$to: call 60 is $(cat "$tmp/hit"), wanted a pwrite"
    [ -z "$(find "$tmp/full" -type f)" ] || fail "$to: a full disk leaves $(find "$tmp/full" -type f)"
done
exit $failed
