"""The tokenizer.* keys that llama.cpp's own converter writes for the test models: scalars as they are, arrays as length and SHA-256.
Usage: python converter_keys.py LLAMA_CPP_SOURCE OUT.json MODEL_FOLDER...   (numpy, transformers 5.23, sentencepiece; no torch: its parts are not reached)
Its refusal of tokenizers it has no hash for is overridden, so tokenizer.ggml.pre is left out."""
import hashlib
import importlib.machinery
import json
import logging
import os
import struct
import sys
from pathlib import Path
from unittest.mock import MagicMock

os.environ["USE_TORCH"] = "0"
import transformers  # noqa: E402,F401  before the stand-in for torch

for name in ("torch", "torch.utils", "torch.nn"):
    m = MagicMock()
    m.__spec__ = importlib.machinery.ModuleSpec(name, None)
    m.Tensor = type("Tensor", (), {})
    sys.modules[name] = m
source = sys.argv[1]
sys.path[:0] = [source + "/gguf-py", source]
logging.disable(logging.CRITICAL)
import conversion  # noqa: E402
import gguf  # noqa: E402
from conversion.base import TextModel  # noqa: E402

TextModel.get_vocab_base_pre = lambda self, tokenizer: "overridden"


def digest(values):
    h = hashlib.sha256()
    for v in values:
        if isinstance(v, (str, bytes)):
            b = v.encode() if isinstance(v, str) else v
            h.update(struct.pack("<Q", len(b)) + b)
        else:
            h.update(struct.pack("<f", v) if isinstance(v, float) else struct.pack("<i", int(v)))
    return {"n": len(values), "sha256": h.hexdigest()}


out = {}
for folder in sys.argv[3:]:
    d = Path(folder)
    config = json.load(open(d / "config.json"))
    cls = conversion.get_model_class(config["architectures"][0])
    m = cls.__new__(cls)  # only the vocabulary's part: no weights, no torch
    m.dir_model, m.hparams, m.model_arch = d, dict(config), cls.model_arch
    m.gguf_writer = gguf.GGUFWriter(None, "llama")
    m.is_mistral_format, m.origin_hf_arch, m.block_count, m.target_model_dir, m.is_eagle3 = False, config["architectures"][0], 1, None, False
    m.set_vocab()
    keys = {k: v.value for part in m.gguf_writer.kv_data for k, v in part.items() if k.startswith("tokenizer.") and k != "tokenizer.ggml.pre"}
    out[folder] = {k: digest(v) if isinstance(v, (list, tuple)) else v for k, v in sorted(keys.items())}
json.dump(out, open(sys.argv[2], "w"), indent=1, ensure_ascii=True)
