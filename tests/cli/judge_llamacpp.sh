#!/usr/bin/env bash
# llama.cpp's own llama-completion judges four families' GGUF files (make judges-all: all of them); see tests/judges/llamacpp_cli.py.
# ctest: plain
# ctest: timeout 300
set -u
bin=${HONE_LLAMACPP:-}/bin
[ -x "$bin/llama-completion" ] || { echo "skipped: llama.cpp's own programs are not built: deps/llamacpp.sh --tools makes them"; exit 77; }
tiny=$HONE_SOURCE_DIR/tests/golden/tiny
exec python3 "$HONE_SOURCE_DIR/tests/judges/llamacpp_cli.py" "$HONE" "$bin" "$tiny/llama" "$tiny/gemma3" "$tiny/olmoe" "$tiny/mistral"
