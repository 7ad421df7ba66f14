#!/usr/bin/env bash
# The whole way of a chat in openvino_genai: template, tokenizer, model and detokenizer of `hone convert --to openvino` answer the 100 chats of
# the example model as transformers does.
# ctest: plain
# ctest: timeout 900
set -euo pipefail
python=$(tools/judge --find ovgenai) || { echo "skipped: no environment 'ovgenai'; tools/judge ovgenai makes it"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
model=examples/models/tale-8m
"$HONE" convert "$model" --to openvino --quant f32 --threads 1 -o "$tmp" --quiet
PYTHONDONTWRITEBYTECODE=1 "$python" tests/judges/ov_chat.py "$tmp/tale-8m-f32-openvino" "$model/eval/prompts.jsonl" "$model/eval/prompts_greedy.jsonl"
