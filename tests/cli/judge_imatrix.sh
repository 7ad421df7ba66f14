#!/usr/bin/env bash
# llama-imatrix and llama-quantize judge what hone calibrate writes and what hone convert makes of it; see tests/judges/llamacpp_imatrix.py.
# ctest: plain
# ctest: timeout 300
set -u
bin=${HONE_LLAMACPP:-}/bin
[ -x "$bin/llama-imatrix" ] || { echo "skipped: llama.cpp's own programs are not built: deps/llamacpp.sh --tools makes them"; exit 77; }
tale=$HONE_SOURCE_DIR/examples/models/tale-8m
exec python3 "$HONE_SOURCE_DIR/tests/judges/llamacpp_imatrix.py" "$HONE" "$bin" "$tale/eval/calibration.txt" "$tale" "$HONE_SOURCE_DIR/tests/golden/tale-moe"
