#!/usr/bin/env bash
# arm.sh: the encoders on Arm, whose lanes are NEON: the same bytes as here?  `make judges-all` runs it where Debian's cross compiler and QEMU are
# installed (gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user); else it says what is missing.  Exit 1 when a byte differs.
set -euo pipefail
cd "$(dirname "$0")/../.."
for program in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$program" >/dev/null || { echo "arm: not measured: $program is not installed (apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)"; exit 0; }
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
build() { # COMPILER NAME
    mapfile -t sources < <(find src/quant -maxdepth 1 -name '*.c' ! -name weight.c ! -name treat.c ! -name gram.c; find src/quant/grouped -name '*.c')
    "$1" -std=c17 -O3 -ffp-contract=off -fno-math-errno -D_GNU_SOURCE -static -Isrc -Iinclude -Itests/unit -include src/banned.h \
        tests/judges/lanes.c tests/unit/quant/rows.c src/ir/dtype.c "${sources[@]}" -lm -o "$tmp/$2"
}
build aarch64-linux-gnu-gcc arm
build "${CC:-gcc}" here
"$tmp/here" >"$tmp/here.txt"
qemu-aarch64 "$tmp/arm" >"$tmp/arm.txt"
neon=$(aarch64-linux-gnu-objdump -d "$tmp/arm" | grep -cE '\s(fmul|fadd|fdiv|fmin|fmax)\s+v[0-9]+\.4s' || true)
[ "$neon" -gt 100 ] || { echo "arm: only $neon vector instructions in the program"; exit 1; }
diff "$tmp/here.txt" "$tmp/arm.txt" >"$tmp/diff" || { grep "^<" "$tmp/diff"; echo "arm: the bytes of these differ"; exit 1; }
echo "arm: $(wc -l <"$tmp/arm.txt") encoders give the same bytes on aarch64 ($neon NEON instructions of four floats)"
