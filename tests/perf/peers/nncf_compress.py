#!/usr/bin/env python3
"""nncf_compress.py EXPORTED MODEL TEXT JOB.json: nncf.compress_weights on a folder that optimum-cli exported, with our calibration text as its data set.
JOB.json: {"out": folder, "mode": "INT4_ASYM", and any of "group_size", "ratio", "all_layers", "awq", "scale_estimation", "gptq"}.
Environment "optimum" of tools/judge."""

import json
import logging
import shutil
import sys
from pathlib import Path

import nncf
import numpy as np
import openvino as ov

from chunks import calibration_chunks

nncf.set_log_level(logging.ERROR)


def fed(ids):
    n = len(ids)
    return {"input_ids": np.array([ids], np.int64), "attention_mask": np.ones((1, n), np.int64), "position_ids": np.arange(n, dtype=np.int64)[None],
            "beam_idx": np.zeros(1, np.int32)}


def main():
    exported, model, text = map(Path, sys.argv[1:4])
    job = json.loads(Path(sys.argv[4]).read_text())
    out = Path(job.pop("out"))
    settings = {"mode": nncf.CompressWeightsMode[job.pop("mode")], **job}
    core = ov.Core()
    graph = core.read_model(exported / "openvino_model.xml")
    if any(settings.get(k) for k in ("awq", "scale_estimation", "gptq")):
        names = {i.any_name for i in graph.inputs}
        data = [{k: v for k, v in fed(ids).items() if k in names} for ids in calibration_chunks(model, text)]
        settings.update(dataset=nncf.Dataset(data), subset_size=len(data))
    graph = nncf.compress_weights(graph, **settings)
    shutil.copytree(exported, out, ignore=shutil.ignore_patterns("openvino_model.*"))
    ov.save_model(graph, out / "openvino_model.xml", compress_to_fp16=False)  # as optimum saves it


if __name__ == "__main__":
    main()
