#!/usr/bin/env bash
# onnxruntime-genai and onnxruntime judge three families' folders (make judges-all: all of them); see tests/judges/genai_folders.py.
# ctest: plain
# ctest: timeout 600
set -u
python=$("$HONE_SOURCE_DIR/tools/judge" --find genai) || { echo "skipped: no environment 'genai': tools/judge genai makes it"; exit 77; }
tiny=$HONE_SOURCE_DIR/tests/golden/tiny
exec "$python" "$HONE_SOURCE_DIR/tests/judges/genai_folders.py" "$HONE" "$tiny/llama" "$tiny/gemma3" "$tiny/olmoe" "$tiny/bert"
