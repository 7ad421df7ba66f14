#!/usr/bin/env bash
# arm.sh: src/quant on Arm, whose lanes are NEON: the same bytes as here?  Encoders, decoders, reading of weights, sums of x x^T, methods of rounding
# and ranges, on rows with NaN, infinities, denormals, outliers, nothing but zeros.  QEMU runs them where this machine is no Arm; without the cross
# compiler (gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user) it is skipped.
# ctest: timeout 900
set -euo pipefail
cd "$(dirname "$0")/../.."
for program in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$program" >/dev/null || { echo "skipped: $program is not installed (apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)"; exit 77; }
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mapfile -t sources < <(find src/quant -name '*.c')
sources+=(src/base/{err,ctx,pool}.c src/ir/{dtype,role}.c tests/unit/quant/rows.c tests/judges/lanes.c)
build() { # COMPILER NAME: as CMakeLists.txt builds src/quant, but for the twins with wider lanes
    "$1" -std=c17 -O3 -ffp-contract=off -fno-math-errno -D_GNU_SOURCE -static -pthread -Isrc -Iinclude -Itests/unit -include src/banned.h "${sources[@]}" -lm -o "$tmp/$2"
}
build "${CC:-gcc}" here &
build aarch64-linux-gnu-gcc arm
wait $! # a failure of the other ends this too
"$tmp/here" >"$tmp/here.txt"
qemu-aarch64 "$tmp/arm" >"$tmp/arm.txt"
neon=$(aarch64-linux-gnu-objdump -d "$tmp/arm" | grep -cE '\s(fmul|fadd|fdiv|fmin|fmax)\s+v[0-9]+\.4s' || true)
[ "$neon" -gt 100 ] || { echo "arm: only $neon vector instructions in the program"; exit 1; }
[ "$(wc -l <"$tmp/arm.txt")" -gt 500 ] || { echo "arm: only $(wc -l <"$tmp/arm.txt") lines"; exit 1; }
diff "$tmp/here.txt" "$tmp/arm.txt" >"$tmp/diff" || { grep "^<" "$tmp/diff"; echo "arm: the bytes of these differ"; exit 1; }
echo "arm: $(wc -l <"$tmp/arm.txt") results are the same bytes on aarch64 ($neon NEON instructions of four floats)"
