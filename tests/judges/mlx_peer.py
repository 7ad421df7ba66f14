#!/usr/bin/env python3
"""mlx_peer.py JOBS.json: mlx_lm runs the folders that hone wrote and ran; in the environment "mlx" of tools/judge.

JOBS.json is a list of {"folder", "reference", "logits", "quantised"}:
  folder     mlx_lm loads it, strictly, and its tokenizer;
  reference  reference.safetensors of the checkpoint, with reference.json beside it: mlx_lm's own generation must give its greedy continuation,
             up to the first step where the two best are no more than 0.01 apart and mlx_lm takes the other; from there the reference's tokens are
             fed again.  Not asked of a quantised folder, which is another model;
  logits     float32 [rows, columns, vocabulary] that hone computed on the same folder for the reference's input_ids: mlx_lm, in float32, must
             agree with a mean KLD of at most 1e-5 (GELU by another formula is within that).
Prints a line for each, exit 0 when all hold.  mlx_folders.py takes greedy() from here."""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
import mlx.core as mx  # noqa: E402
import numpy as np  # noqa: E402
from mlx_lm.generate import generate_step  # noqa: E402
from mlx_lm.utils import load_model, load_tokenizer  # noqa: E402
from safetensors import safe_open  # noqa: E402


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def divergence(reference, got):
    p, q = log_softmax(reference), log_softmax(got)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def tokens_after(model, prompt, n):
    for token, _ in generate_step(mx.array(prompt), model, max_tokens=n):
        yield int(token)


def greedy(model, reference):
    """Steps that agree, steps that may differ and do, and the first that must not."""
    about = json.loads(reference.with_suffix(".json").read_text())
    with safe_open(reference, "numpy") as f:
        prompts = f.get_tensor("input_ids").tolist()
    same = near = 0
    for prompt, chosen, gaps in zip(prompts, about["greedy"], about["greedy_top2_gap"]):
        at = 0
        while at < len(chosen):
            for token in tokens_after(model, prompt + chosen[:at], len(chosen) - at):
                right, close = token == chosen[at], gaps[at] <= 0.01
                same, near, at = same + right, near + (not right and close), at + 1
                if not right and not close:
                    return same, near, f"step {at} is {token}, the reference has {chosen[at - 1]} (its two best are {gaps[at - 1]:.3f} apart)"
                if not right or at == len(chosen):
                    break
    return same, near, None


def one(job):
    folder, reference = Path(job["folder"]), Path(job["reference"])
    model, _ = load_model(folder, strict=True)
    load_tokenizer(folder)
    model.set_dtype(mx.float32)
    with safe_open(reference, "numpy") as f:
        ids = f.get_tensor("input_ids")
    theirs = np.array(model(mx.array(ids)))
    ours = np.fromfile(job["logits"], np.float32).reshape(theirs.shape)
    kld = divergence(theirs, ours)
    said, bad = [f"KLD of hone's logits from mlx_lm's {kld:.1e}"], not kld <= 1e-5
    if not job["quantised"]:
        same, near, wrong = greedy(model, reference)
        said.append(f"{same} greedy steps as the reference, {near} near ties" + (f", {wrong}" if wrong else ""))
        bad = bad or wrong or same == 0
    print(f"{'FAIL: ' if bad else ''}{job['name']}: {'; '.join(said)}")
    return not bad


if __name__ == "__main__":
    results = [one(job) for job in json.loads(Path(sys.argv[1]).read_text())]
    sys.exit(0 if results and all(results) else 1)
