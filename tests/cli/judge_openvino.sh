#!/usr/bin/env bash
# OpenVINO and openvino-genai judge four families' folders (make judges-all: all of them); see tests/judges/ov_folders.py.
# ctest: plain
# ctest: timeout 600
set -u
python=$("$HONE_SOURCE_DIR/tools/judge" --find ovgenai) || { echo "skipped: no environment 'ovgenai': tools/judge ovgenai makes it"; exit 77; }
tiny=$HONE_SOURCE_DIR/tests/golden/tiny
exec "$python" "$HONE_SOURCE_DIR/tests/judges/ov_folders.py" "$HONE" "$tiny/llama" "$tiny/mistral" "$tiny/olmoe" "$tiny/bert"
