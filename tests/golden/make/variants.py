#!/usr/bin/env python3
"""variants.py OUT [NAME...], or variants.py --check OUT: what the tiny checkpoints do not show: other rope scalings, window patterns, biases, tied and untied heads.

OUT/<name>/variant.json      base (a folder of the repository whose tokenizer, and weights unless there are own ones, are used), the changed
                             keys of config.json (null: goes away), versions
OUT/<name>/model.safetensors only where shapes change: small random weights
OUT/<name>/reference.safetensors  input_ids, logits by transformers: float32 arithmetic on the stored weights, eager attention

With --check nothing is written to OUT: everything is made elsewhere and compared with it; exit 1 when something differs. Weights and ids
must be equal, logits to within 1e-4 (processors add in different orders).

Runs in the judge environment "convert" (torch, transformers 4.57)."""

import json
import os
import shutil
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_utils import no_init_weights

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
TINY = "tests/golden/tiny/"
ramp = lambda n, step: [round(1 + i * step, 4) for i in range(n)]

# Same weights, another config.json.
PATCHED = {
    "llama-plain": ("llama", {"rope_scaling": None, "rope_theta": 10000.0}),
    "llama-linear": ("llama", {"rope_scaling": {"type": "linear", "factor": 4.0}}),
    "llama-yarn": ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}),
    "llama-yarn-factor": ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16,
                                                     "attention_factor": 0.9}}),
    "llama-yarn-mscale": ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32,
                                                     "mscale": 0.8, "mscale_all_dim": 0.5}}),
    "llama-longrope": ("llama", {"max_position_embeddings": 8192, "original_max_position_embeddings": 4096,
                                 "rope_scaling": {"rope_type": "longrope", "short_factor": ramp(32, 0.02), "long_factor": ramp(32, 0.3)}}),
    "llama-dynamic": ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}),
    "mistral-whole": ("mistral", {"sliding_window": None}),
    "qwen2-yarn": ("qwen2", {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}),
    "phi3-part": ("phi3", {"rope_scaling": None, "sliding_window": None, "partial_rotary_factor": 0.5}),
    "gemma2-layers": ("gemma2", {"layer_types": ["full_attention", "sliding_attention"]}),
    "gemma3-pattern": ("gemma3", {"sliding_window_pattern": 3}),
    "gemma3-layers": ("gemma3", {"layer_types": ["sliding_attention", "full_attention", "full_attention", "sliding_attention",
                                                 "full_attention", "sliding_attention", "sliding_attention"],
                                 "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "final_logit_softcapping": 20.0,
                                 "query_pre_attn_scalar": 100}),
    "smollm3-yarn": ("smollm3", {"rope_scaling": {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16}}),
    "granite-llama3": ("granite", {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                                    "original_max_position_embeddings": 64}}),
    "stablelm-half": ("stablelm", {"partial_rotary_factor": 0.5}),
    "starcoder2-whole": ("starcoder2", {"sliding_window": None}),
    "gpt_neox-sequential": ("gpt_neox", {"use_parallel_residual": False, "rotary_pct": 1.0}),
}

# What a row of data/limits.json says llama.cpp cannot do: the test insists that it cannot.
BEYOND = {
    "beyond-llama-dynamic": ("llama", {"max_position_embeddings": 12, "rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}),
    "beyond-qwen2-window": ("qwen2", {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}),
}

small = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
# Other shapes: small weights of their own.
OWN = {
    "llama-bias": ("llama", {**small, "head_dim": 32, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "mistral-heads": ("mistral", {**small, "head_dim": 32, "sliding_window": None}),
    "qwen2-untied": ("qwen2", {**small, "tie_word_embeddings": False}),
    "phi3-groups": ("phi3", {**small, "rope_scaling": None, "sliding_window": None, "tie_word_embeddings": True,
                             "partial_rotary_factor": 0.75}),
    "olmo2-groups": ("olmo2", {**small, "tie_word_embeddings": True}),
    "granite-bias": ("granite", {**small, "attention_bias": True, "mlp_bias": True}),
    "stablelm-parallel": ("stablelm", {**small, "use_parallel_residual": True, "qk_layernorm": True, "use_qkv_bias": False}),
    "starcoder2-untied": ("starcoder2", {**small, "sliding_window": None, "tie_word_embeddings": False}),
    "gpt2-untied": ("gpt2", {"n_embd": 64, "n_inner": 96, "n_head": 4, "tie_word_embeddings": False}),
}


def run(name, base, patch, own):
    folder = os.path.join(root, TINY, base)
    config = json.load(open(os.path.join(folder, "config.json"), encoding="utf-8"))
    for key, value in patch.items():
        config[key] = value
    out = os.path.join(OUT, name)
    os.makedirs(out, exist_ok=True)
    torch.manual_seed(1000 + len(name) + sum(map(ord, name)))
    with tempfile.TemporaryDirectory() as tmp:
        json.dump(config, open(os.path.join(tmp, "config.json"), "w", encoding="utf-8"))
        if own:
            with no_init_weights():  # every parameter is drawn below
                model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp), attn_implementation="eager")
            with torch.no_grad():
                for key, p in model.named_parameters():
                    if "norm" in key or "ln_" in key:
                        p.copy_((1 if key.endswith("weight") else 0) + 0.15 * torch.randn_like(p))
                    elif p.ndim == 1:
                        p.copy_(0.1 * torch.randn_like(p))
                    else:
                        p.copy_(torch.randn_like(p) * (0.11 if "embed" in key or "wte" in key or "head" in key else 1.3 / p.shape[-1] ** 0.5))
            model.to(torch.bfloat16).save_pretrained(tmp, safe_serialization=True)
            save_file(load_file(os.path.join(tmp, "model.safetensors")), os.path.join(out, "model.safetensors"), {"format": "pt"})
            json.dump(config, open(os.path.join(tmp, "config.json"), "w", encoding="utf-8"))
        else:
            shutil.copy(os.path.join(folder, "model.safetensors"), tmp)
        model = AutoModelForCausalLM.from_pretrained(tmp, dtype=torch.float32, attn_implementation="eager").eval()
        ids = torch.randint(8, config["vocab_size"] - 8, (1, 24))
        with torch.no_grad():
            logits = model(ids, use_cache=False).logits
    save_file({"input_ids": ids, "logits": logits.float().contiguous()}, os.path.join(out, "reference.safetensors"))
    made = {"transformers": transformers.__version__, "torch": torch.__version__}
    json.dump({"base": TINY + base, "own_weights": own, "config": patch, "made_with": made},
              open(os.path.join(out, "variant.json"), "w", encoding="utf-8"), indent=1)
    print(name, float(logits.std()), flush=True)


def differs(name, was, now):
    """What is not the same in the folders was/name and now/name, or None."""
    was, now = os.path.join(was, name), os.path.join(now, name)
    if not os.path.isdir(was):
        return "is not there"
    if sorted(os.listdir(was)) != sorted(os.listdir(now)):
        return f"has {sorted(os.listdir(was))}, made now: {sorted(os.listdir(now))}"
    for file in os.listdir(now):
        a, b = os.path.join(was, file), os.path.join(now, file)
        if not file.endswith(".safetensors"):
            if json.load(open(a, encoding="utf-8")) != json.load(open(b, encoding="utf-8")):
                return f"{file} differs"
            continue
        x, y = load_file(a), load_file(b)
        if x.keys() != y.keys():
            return f"{file} holds {sorted(x)}, made now: {sorted(y)}"
        for key in x:
            if x[key].shape != y[key].shape or x[key].dtype != y[key].dtype:
                return f"{file}: '{key}' has another shape or type"
            far = float((x[key].double() - y[key].double()).abs().max())
            if far > (1e-4 if key == "logits" else 0):
                return f"{file}: '{key}' is up to {far:g} off"
    return None


CHECK, args = "--check" in sys.argv[1:], [a for a in sys.argv[1:] if a != "--check"]
OUT, chosen = args[0], args[1:]
ALL = {**PATCHED, **OWN, **BEYOND}
bad = []
with tempfile.TemporaryDirectory() as fresh:
    committed, OUT = OUT, fresh if CHECK else OUT
    for name, (base, patch) in ALL.items():
        if chosen and name not in chosen:
            continue
        run(name, base, patch, name in OWN)
        why = differs(name, committed, fresh) if CHECK else None
        if why:
            bad.append(name)
            print(f"{name}: DIFFERS: {why}", flush=True)
if CHECK and not chosen:
    for name in sorted(set(os.listdir(committed)) - set(ALL)):
        bad.append(name)
        print(f"{name}: nothing here makes it")
if bad:
    sys.exit(f"{len(bad)} differ: {' '.join(bad)}")
