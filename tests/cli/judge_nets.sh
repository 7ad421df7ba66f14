#!/usr/bin/env bash
# onnx's checker and ONNX Runtime judge networks in every encoding; see tests/judges/nets.py.
# ctest: plain
# ctest: timeout 300
set -u
python=$("$HONE_SOURCE_DIR/tools/judge" --find genai) || { echo "skipped: no environment 'genai': tools/judge genai makes it"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"$python" "$HONE_SOURCE_DIR/tests/judges/nets.py" "$HONE" "$HONE_SOURCE_DIR/tests/golden" "$tmp"
