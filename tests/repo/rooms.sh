#!/usr/bin/env bash
# The tree keeps the rules of ARCHITECTURE.md, and the check finds each way of breaking them.
set -u
root=${HONE_SOURCE_DIR:-$(dirname "$0")/../..}
rooms=$root/tools/rooms
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

"$rooms" "$root" || { echo "FAIL: the tree itself"; failed=1; }

# fresh: a small good tree in $tmp/t
fresh() {
    rm -rf "$tmp/t"
    mkdir -p "$tmp/t/src/"{cli,flow,hw,arch,ir,base} "$tmp/t/include/hone"
    # shellcheck disable=SC2016  # the backquotes are Markdown
    printf 'Words.\n\n`cli -> flow -> {arch hw} -> ir -> base`\n\nMore words -> here.\n' >"$tmp/t/ARCHITECTURE.md"
    printf '#include "hone/x.h"\n#include <stdio.h>\n' >"$tmp/t/src/base/b.h"
    printf '#include <stdint.h>\n' >"$tmp/t/include/hone/x.h"
    printf '#include "base/b.h"\n' >"$tmp/t/src/ir/i.h"
    printf '#include "ir/i.h"\n#include "base/b.h"\n' >"$tmp/t/src/arch/one.c"
    printf '#include "arch/list.def"\n' >"$tmp/t/src/arch/arch.c"
    printf '/* X(three) is only a comment */\nX(one)\n' >"$tmp/t/src/arch/list.def"
    printf '#include "ir/i.h"\n' >"$tmp/t/src/hw/h.h"
    printf '#include "hw/h.h"\n' >"$tmp/t/src/flow/f.h"
    printf '#include "flow/f.h"\n' >"$tmp/t/src/cli/cmd_go.c"
    printf 'X(go, "runs")\n' >"$tmp/t/src/cli/list.def"
    printf '/* #include "cli/p.h" */\nint main(void);\n' >"$tmp/t/src/cli/main.c"
    printf '\n' >"$tmp/t/src/cli/p.h"
}

# refuses NAME TEXT: the tree in $tmp/t must fail with exactly this text
refuses() {
    local out rc
    out=$("$rooms" "$tmp/t" 2>&1)
    rc=$?
    if [ $rc -ne 1 ] || [ "$out" != "$2" ]; then
        printf 'FAIL: %s\n  wanted exit 1: %s\n  got exit %s: %s\n' "$1" "$2" "$rc" "$out"
        failed=1
    fi
}

fresh
if ! out=$("$rooms" "$tmp/t" 2>&1) || [ -n "$out" ]; then echo "FAIL: a good tree is refused: $out"; failed=1; fi

fresh; printf '\n  #  include "ir/i.h"\n' >>"$tmp/t/src/base/b.h"
refuses "an include that points left" "src/base/b.h:4: room 'base' includes 'ir/i.h': 'ir' lies left of it"

fresh; printf '#include "../cli/p.h"\n' >>"$tmp/t/src/flow/f.h"
refuses "an include that points left by a relative path" "src/flow/f.h:2: room 'flow' includes '../cli/p.h': 'cli' lies left of it"

fresh; printf '#include <cli/p.h>\n' >>"$tmp/t/src/flow/f.h"
refuses "an include that points left in angle brackets" "src/flow/f.h:2: room 'flow' includes 'cli/p.h': 'cli' lies left of it"

fresh; printf '#include "hw/h.h"\n' >>"$tmp/t/src/arch/one.c"
refuses "an include of a neighbour" "src/arch/one.c:3: room 'arch' includes 'hw/h.h': they are neighbours and meet in ir"

fresh; printf '#include "ir/gone.h"\n' >>"$tmp/t/src/arch/one.c"
refuses "an include of nothing" "src/arch/one.c:3: includes 'ir/gone.h', which does not exist"

fresh; mkdir "$tmp/t/src/utils"
refuses "a room nobody talked about" "src/utils: room 'utils' is not on the dependency line"

fresh; printf '#include <unistd.h>\n' >>"$tmp/t/include/hone/x.h"
refuses "a platform header in the public ones" "include/hone/x.h:2: public header includes 'unistd.h'"

fresh; printf 'X(two)\n' >>"$tmp/t/src/arch/list.def"
refuses "a row without a file" "src/arch/list.def:3: row 'two' has no file two.c in src/arch/"

fresh; touch "$tmp/t/src/arch/two.c"
refuses "a file without a row" "src/arch/two.c: has no row in src/arch/list.def"

fresh; touch "$tmp/t/src/cli/cmd_stop.c"
refuses "a subcommand without a row" "src/cli/cmd_stop.c: has no row in src/cli/list.def"

fresh; printf 'X(one)\n' >>"$tmp/t/src/arch/list.def"
refuses "a row that stands twice" "src/arch/list.def:3: row 'one' stands in line 2 already"

fresh; printf 'nothing here\n' >"$tmp/t/ARCHITECTURE.md"
refuses "no dependency line" "rooms: $tmp/t/ARCHITECTURE.md has 0 dependency lines such as 'cli -> {a b} -> base', needs 1"

exit $failed
