#!/usr/bin/env python3
"""Loads tokenizer models in openvino_genai (that is, the openvino_tokenizers extension) and compares ids, texts and rendered chats with
those of the original tokenizer.  Runs in the judge environment "ovgenai".

  ov_tokenizers.py JOBS.json      [{"name", "ir": folder, "cases": tokenizer_cases.json, "encoder": bool,
                                          "ids", "decoded", "chats": how many may and must differ}]
Prints each unexpected difference and one line for each tokenizer; exit 1 when a number is not the one of the job."""
import json
import sys

import numpy as np
import openvino as ov
import openvino_genai as genai
import openvino_tokenizers  # noqa: F401 - makes every Core know the extension


def texts(cases):
    for case in cases["cases"]:
        if isinstance(case, list):  # tests/golden/hf/pre: text, ids
            yield {"text": case[0], "ids": case[1]}
        else:
            yield case
    for chat in cases.get("chat", []):
        if "rendered" in chat:
            yield {"text": chat["rendered"], "ids": chat["ids"]}


def encode(tokenizer, text, special):
    # A text of which nothing is left gives a matrix without columns.
    return np.asarray(tokenizer.encode(text, add_special_tokens=special).input_ids.data).reshape(-1).tolist()


def differences(tokenizer, cases):
    """(what, text, wanted, got) wherever they differ."""
    for case in texts(cases):
        wanted = [("ids", case["ids"], lambda: encode(tokenizer, case["text"], False))]
        if "ids_with_special" in case:
            wanted.append(("ids", case["ids_with_special"], lambda: encode(tokenizer, case["text"], True)))
        for what, ids, skip in (("decoded", "ids", False), ("decoded_skip_special", "ids_with_special", True)):
            if what in case and case[ids]:
                wanted.append(("decoded", case[what], lambda i=case[ids], s=skip: tokenizer.decode(i, skip_special_tokens=s)))
        for what, want, get in wanted:
            got = get()
            if got != want:
                yield what, case["text"], want, got
    for chat in cases.get("chat", []):
        try:
            got = tokenizer.apply_chat_template(chat["messages"], chat["add_generation_prompt"], **chat.get("arguments", {}))
        except Exception as e:  # the template itself may refuse, and must when the case says so
            got = None if "error" in chat else "refused: " + str(e)[:300]
        if got != chat.get("rendered"):
            yield "chats", json.dumps(chat["messages"]), chat.get("rendered"), got


def check_batch(core, job, cases):
    """Two texts at once: the shorter one is filled up on the side the model wants, with what is masked."""
    model = core.compile_model(job["ir"] + "/openvino_tokenizer.xml", "CPU")
    some = [c for c in texts(cases) if "ids_with_special" in c and len(c["ids"]) > 1]
    pair = [some[0], max(some[:40], key=lambda c: len(c["ids"]))] if some else []
    if not pair:
        return []
    out = model([c["text"] for c in pair])
    wrong = []
    for row, case in enumerate(pair):
        want, mask = case["ids_with_special"], out["attention_mask"][row].tolist()
        ids, width = out["input_ids"][row].tolist(), len(mask)
        real = slice(0, len(want)) if job["encoder"] else slice(width - len(want), width)
        if ids[real] != want or sum(mask) != len(want) or not all(mask[real]):
            wrong.append(f"row {row} of a batch: {ids} masked {mask}, wanted {want}")
    if job["encoder"] and not (out["token_type_ids"] == 0).all():
        wrong.append("token_type_ids of single texts are not all 0")
    return wrong


def main():
    core, failed = ov.Core(), 0
    for job in json.load(open(sys.argv[1])):
        cases = json.load(open(job["cases"]))
        found = list(differences(genai.Tokenizer(job["ir"]), cases))
        counts = {what: sum(f[0] == what for f in found) for what in ("ids", "decoded", "chats")}
        wrong = check_batch(core, job, cases)
        if wrong or any(counts[what] != job.get(what, 0) for what in counts):
            failed += 1
            for what, text, want, got in found[:12]:
                print(f"{job['name']}: {what} of {text[:200]!r}:\n    wanted {str(want)[:200]!r}\n    got    {str(got)[:200]!r}")
            for line in wrong:
                print(f"{job['name']}: {line[:400]}")
        print(f"{job['name']}: {sum(1 for _ in texts(cases))} texts, {len(cases.get('chat', []))} chats, differ: {counts}", flush=True)
    print("openvino_tokenizers:", "all as expected" if not failed else f"{failed} NOT as expected")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
