"""chunks.py - the calibration text as every peer gets it: token ids in chunks of 512, the first of each the model's BOS, the rest at the end left out.
llama-imatrix cuts a text in the same way when it is told -c 512."""

import json
import os

from tokenizers import Tokenizer

CHUNK = 512


def calibration_chunks(model, text, most=0):
    """Lists of 512 ids from the file text, in the words of the checkpoint folder model; at most `most` of them, evenly over the text (0: all)."""
    with open(os.path.join(model, "config.json"), encoding="utf-8") as f:
        bos = json.load(f)["bos_token_id"]
    with open(text, encoding="utf-8") as f:
        ids = Tokenizer.from_file(os.path.join(model, "tokenizer.json")).encode(f.read(), add_special_tokens=False).ids
    step = CHUNK - 1
    whole = [[bos] + ids[i * step:(i + 1) * step] for i in range(len(ids) // step)]
    if not most or most >= len(whole):
        return whole
    return [whole[i * len(whole) // most] for i in range(most)]
