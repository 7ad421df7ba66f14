#!/usr/bin/env bash
# hone graph: as a table, a document, a picture.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
validate=$HONE_SOURCE_DIR/tests/tools/validate
tiny=$HONE_SOURCE_DIR/tests/golden/tiny

for family in gemma3 olmoe bert; do
    "$HONE" graph "$tiny/$family" --svg "$tmp/$family.svg" --json >"$tmp/$family.json" || fail "$family exits $?"
    "$validate" graph "$tmp/$family.json" || failed=1
    "$HONE" graph "$tiny/$family" >"$tmp/$family.txt" || fail "$family for people exits $?"
done
/usr/bin/python3 - "$tmp" <<'PY' || failed=1
import json, re, sys
import xml.etree.ElementTree as ET
tmp, ok = sys.argv[1], True
for family in ("gemma3", "olmoe", "bert"):
    doc = json.load(open(f"{tmp}/{family}.json"))
    names = [n["name"] for n in doc["nodes"]]
    for i, n in enumerate(doc["nodes"]):
        ok &= all(x in names[:i] for x in n["inputs"])
    # Every operator outside of layers, and of one layer of each kind, stands in the picture; nothing is outside of it or on top of another.
    svg = ET.parse(f"{tmp}/{family}.svg").getroot()
    w, h = map(float, svg.get("viewBox").split()[2:])
    drawn = [t.text for t in svg.iter("{http://www.w3.org/2000/svg}text") if t.get("class") == "name"]
    for n in doc["nodes"]:
        if n["op"] in ("mask", "positions", "types"): continue
        if n["layer"] is None or n["layer"] in [k[0] for k in doc["layer_kinds"]]:
            short = re.sub(r"^layers\.\d+\.", "", n["name"])
            if short not in drawn: print(f"FAIL: {family}: {n['name']} is not drawn"); ok = False
    # Small text of over 30 characters is wider than its box in most fonts, unless it is told to fit.
    for t in svg.iter("{http://www.w3.org/2000/svg}text"):
        if t.get("class") == "soft" and len(t.text) > 30 and not t.get("textLength"): print(f"FAIL: {family}: '{t.text}' leaves its box"); ok = False
    boxes = [tuple(float(r.get(k)) for k in ("x", "y", "width", "height")) for r in svg.iter("{http://www.w3.org/2000/svg}rect")
             if r.get("class") in ("weights", "big", "norm", "plain")]
    for i, (x, y, bw, bh) in enumerate(boxes):
        ok &= x >= 0 and y >= 0 and x + bw <= w and y + bh <= h
        for (x2, y2, _, _) in boxes[:i]:
            if abs(x - x2) < bw - 1 and abs(y - y2) < bh - 1: print(f"FAIL: {family}: boxes at {x},{y} and {x2},{y2} overlap"); ok = False
sys.exit(not ok)
PY
grep -q "^Layer 0, and 5 more like it" "$tmp/gemma3.txt" || fail "gemma3: kinds of layers: $(grep '^Layer' "$tmp/gemma3.txt")"
grep -q "window 8" "$tmp/gemma3.txt" || fail "gemma3: no window in the table"
[ "$(grep -c '^Layer' <("$HONE" graph "$tiny/gemma3" --all))" -eq 7 ] || fail "--all does not show 7 layers"
awk 'length($0) > 160 { exit 1 }' "$tmp/olmoe.txt" || fail "a line of over 160 bytes"
"$HONE" graph "$tmp" >"$tmp/out" 2>"$tmp/err"
[ $? -eq 3 ] || fail "a folder without a model is not exit 3: $(cat "$tmp/err")"
"$HONE" graph "$tiny/bert" --svg "$tmp/no/such/x.svg" >/dev/null 2>"$tmp/err"
[ $? -eq 6 ] || fail "a picture that cannot be written is not exit 6: $(cat "$tmp/err")"
exit $failed
