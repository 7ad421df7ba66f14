#!/usr/bin/env bash
# The same bytes at any number of threads, and no data race among them.
# ctest: threads
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
for n in 1 3 64; do
    "$HONE" convert "$HONE_SOURCE_DIR/examples/models/tale-8m" --quant q4_k_m,q8_0,f16 --threads $n -o "$tmp/$n" --quiet >/dev/null ||
        { echo "FAIL: convert with $n threads exits $?"; exit 1; }
    (cd "$tmp/$n" && sha256sum -- *.gguf) >"$tmp/$n.sums"
    [ "$(wc -l <"$tmp/$n.sums")" = 3 ] || { echo "FAIL: $n threads wrote $(wc -l <"$tmp/$n.sums") files, wanted 3"; failed=1; }
    cmp "$tmp/1.sums" "$tmp/$n.sums" || { echo "FAIL: $n threads give other bytes than one"; failed=1; }
done
exit $failed
