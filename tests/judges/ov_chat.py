#!/usr/bin/env python3
"""ov_chat.py FOLDER CHATS.jsonl ANSWERS.jsonl: openvino_genai chats with a folder of `hone convert --to openvino` as it is, template, tokenizer,
model and detokenizer, and must say what transformers says, greedily.  Then the same texts at once, one after another, and piece by piece
as they come must agree with each other.  Runs in the judge environment "ovgenai"."""
import json
import sys

import openvino_genai as genai

MAX_TOKENS = 64


def main():
    folder, chats, answers = sys.argv[1:4]
    read = lambda path: [json.loads(line) for line in open(path, encoding="utf-8")]
    pipe = genai.LLMPipeline(folder, "CPU", INFERENCE_PRECISION_HINT="f32")
    config = pipe.get_generation_config()
    config.max_new_tokens, config.do_sample = MAX_TOKENS, False
    wrong, n = [], 0
    for chat, answer in zip(read(chats), read(answers), strict=True):
        n += 1
        got = pipe.generate(genai.ChatHistory(chat["messages"]), config).texts[0]
        if got.strip() != answer["answer"].strip():
            wrong.append(f"{chat['messages'][-1]['content']!r}: wanted {answer['answer']!r}, got {got!r}")
    config.apply_chat_template = False  # plain texts from here
    texts = ["Once upon a time", "The river", "Long ago there was a miller who lived by the river and"]
    single = [pipe.generate(t, config) for t in texts]
    if pipe.generate(texts, config).texts != single:
        wrong.append("several texts at once are not continued as each alone")
    pieces = []
    pipe.generate(texts[0], config, lambda piece: bool(pieces.append(piece)))
    if "".join(pieces) != single[0]:
        wrong.append(f"piece by piece {''.join(pieces)!r}, at once {single[0]!r}")
    for line in wrong:
        print(line)
    print(f"openvino_genai: {n} chats, {len(wrong)} wrong")
    return 1 if wrong or n == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
