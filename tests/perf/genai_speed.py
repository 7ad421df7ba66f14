#!/usr/bin/env python3
"""genai_speed.py THEIRS OURS...: tokens a second of model folders in onnxruntime-genai, in turns, in the environment "genai" of tools/judge.

One thread; processor time, not the clock, so that a busy machine does not decide.  Prefill of 128 tokens, decode of 160: the order changes with every
step.  Prints medians and the ratio to the first folder.  Ours: hone convert --to onnx; theirs: onnxruntime_genai.models.builder -p int4 -e cpu
(environment "builder") of the same checkpoint (perf-gen_llama OUT 22 makes one of 1.1 G parameters)."""

import sys
import time

import numpy as np
import onnxruntime_genai as og

PREFILL, DECODE, REPEAT = 128, 160, 6


def open_model(folder):
    config = og.Config(folder)
    config.overlay('{"model":{"decoder":{"session_options":{"intra_op_num_threads":1}}}}')
    return og.Model(config)


def generator(model):
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=PREFILL + DECODE + 8, min_length=PREFILL + DECODE + 4, do_sample=False)
    return og.Generator(model, params)


def seconds(work, *arguments):
    begin = time.process_time()
    work(*arguments)
    return time.process_time() - begin


def main():
    folders = sys.argv[1:]
    if not folders:
        raise SystemExit(__doc__)
    models = [open_model(f) for f in folders]
    ids = np.random.default_rng(0).integers(3, 30000, (1, PREFILL)).astype(np.int32)
    prefill, decode = np.zeros((REPEAT, len(models))), np.zeros((DECODE, len(models)))
    for i in range(REPEAT):
        for k in sorted(range(len(models)), reverse=i % 2):
            prefill[i, k] = seconds(generator(models[k]).append_tokens, ids)
    running = [generator(m) for m in models]
    for g in running:
        g.append_tokens(ids)
        g.generate_next_token()
    for i in range(DECODE):
        for k in sorted(range(len(models)), reverse=i % 2):
            decode[i, k] = seconds(running[k].generate_next_token)
    p, d = PREFILL / np.median(prefill, 0), 1 / np.median(decode, 0)
    for k, folder in enumerate(folders):
        print(f"{folder}: prefill {p[k]:.1f} tokens/s ({p[k] / p[0]:.3f}), decode {d[k]:.1f} tokens/s ({d[k] / d[0]:.3f})")


main()
