"""quality_peers.py - what each peer is asked for, and with which of its own programs.  One table per format; a row is (maker, name, kind, settings)."""

import json
import os
import shutil

PRE = "llama-bpe"  # how the models' tokenizers cut a text (tokenizer.json says it); the converter, which knows tokenizers by a hash, is told
ALONE = ", onnxruntime's own"
MLX_SAMPLES = 16  # chunks of 512 ids for mlx_lm's AWQ, GPTQ and dynamic_quant (AWQ's own default is 128, of a larger text than ours)
GGUF_PLAIN = ("q2_k", "q3_k_s", "q3_k_m", "q3_k_l", "iq4_xs", "q4_0", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k")
GGUF_IMATRIX = ("iq2_xs", "iq2_m", "iq3_xxs", "iq3_s", "iq3_m") + GGUF_PLAIN


def gguf_rows():
    return [("llama-quantize", t, "quantize", {"type": t, "imatrix": False}) for t in GGUF_PLAIN] + \
           [("llama-quantize + llama-imatrix", f"{t} imatrix", "quantize", {"type": t, "imatrix": True}) for t in GGUF_IMATRIX]


def openvino_rows():
    rows = [("NNCF", "int8 asym", "compress", {"mode": "INT8_ASYM"})]
    for sym in ("asym", "sym"):
        for group in (64, 128):
            base = {"mode": f"INT4_{sym.upper()}", "group_size": group, "ratio": 1.0}
            name = f"int4 {sym} g{group}"
            rows.append(("NNCF", name, "compress", base))
            rows.append(("NNCF SE+AWQ", f"{name} SE+AWQ", "compress", {**base, "scale_estimation": True, "awq": True}))
            if name == "int4 asym g64":
                for what, more in (("SE", {"scale_estimation": True}), ("AWQ", {"awq": True}), ("GPTQ", {"gptq": True})):
                    rows.append(("NNCF calibrated", f"{name} {what}", "compress", {**base, **more}))
    return rows


def onnx_rows():
    rows = [("genai builder", "int8 rtn", "build", {"precision": "int8", "options": ["algo_config=rtn"]})]
    for algo, maker in (("default", "genai builder"), ("rtn", "genai builder RTN"), ("k_quant", "genai builder k_quant")):
        for block in (32, 128):
            rows.append((maker, f"int4 {algo} b{block}", "build", {"precision": "int4", "options": [f"algo_config={algo}", f"block_size={block}"]}))
    rows.append(("genai builder RTN", "int4 rtn b32 asym", "build", {"precision": "int4", "options": ["algo_config=rtn", "block_size=32", "is_symmetric=false"]}))
    for algo in ("rtn_last", "k_quant_last", "k_quant_mixed"):
        rows.append(("genai builder RTN" if algo.startswith("rtn") else "genai builder k_quant", f"int4 {algo} b32", "build",
                     {"precision": "int4", "options": [f"algo_config={algo}", "block_size=32"]}))
    rows.append(("genai builder", "int4 default b32 embeddings too", "build",
                 {"precision": "int4", "options": ["algo_config=default", "block_size=32", "op_types_to_quantize=MatMul/Gather"]}))
    for block in (32, 64):
        rows.append(("onnxruntime HQQ", f"int4 hqq b{block}", "hqq", {"method": "hqq", "block": block}))
    # The quantiser that the builder calls, on hone's own float32 graph in plain operators: what is left where the builder refuses the family.
    for method, maker in (("rtn", "onnxruntime RTN"), ("k_quant", "onnxruntime k_quant"), ("hqq", "onnxruntime HQQ")):
        rows += [(maker, f"int4 {method} b{block}{ALONE}", "ort", {"method": method, "block": block, "plain": True}) for block in (32, 128)]
    rows.append(("onnxruntime k_quant", f"int4 k_quant_mixed b32{ALONE}", "ort", {"method": "k_quant", "block": 32, "plain": True, "mixed": True}))
    rows.append(("onnxruntime default", f"int4 default b32 embeddings too{ALONE}", "ort", {"method": "default", "block": 32, "plain": True, "embeddings": True}))
    return rows


def mlx_rows():
    rows = []
    for bits, groups in ((2, (32, 64)), (3, (32, 64)), (4, (32, 64)), (5, (64,)), (6, (64,)), (8, (64,))):
        rows += [("mlx_lm convert", f"int{bits} g{g}", "mlx", {"method": "convert", "bits": bits, "group_size": g}) for g in groups]
    for recipe in ("mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"):
        rows.append(("mlx_lm convert", recipe, "mlx", {"method": "convert", "recipe": recipe, "bits": 4, "group_size": 64}))
    for low, high, target in ((2, 4, 3.2), (3, 4, 4.0), (3, 5, 4.0), (4, 5, 5.0), (4, 6, 5.5)):
        rows.append(("mlx_lm dynamic_quant", f"dynamic {low}/{high} {target} bpw", "mlx",
                     {"method": "dynamic_quant", "low_bits": low, "high_bits": high, "group_size": 64, "target_bpw": target, "samples": MLX_SAMPLES}))
    for bits in (2, 4):
        rows.append(("mlx_lm GPTQ", f"gptq int{bits} g64", "mlx", {"method": "gptq", "bits": bits, "group_size": 64, "samples": MLX_SAMPLES}))
    for bits in (2, 3, 4):
        rows.append(("mlx_lm AWQ", f"awq int{bits} g64", "mlx", {"method": "awq", "bits": bits, "group_size": 64, "samples": MLX_SAMPLES}))
    for bits in (2, 3, 4):
        rows.append(("mlx_lm DWQ", f"dwq int{bits} g64", "mlx", {"method": "dwq", "bits": bits, "group_size": 64, "samples": 72, "rate": 1e-5}))
    return rows


ROWS = {"gguf": gguf_rows, "openvino": openvino_rows, "onnx": onnx_rows, "mlx": mlx_rows}
DRIVER = {"compress": ("optimum", "nncf_compress.py"), "hqq": ("builder", "ort_quantise.py"), "ort": ("builder", "ort_quantise.py"), "mlx": ("mlx", "mlx_quantise.py")}


class Maker:
    """Makes one peer's artefact of one model.  tools: .judge(name), .run(command, log, env=None), .prefix (llama.cpp), .here, .root;
    reference: a call that gives hone's float32 artefact of a format"""

    def __init__(self, tools, model, text, folder, reference):
        self.t, self.model, self.text, self.folder, self.reference = tools, model, text, folder, reference
        self.refused = None

    def path(self, kind, out):
        return out + ".gguf" if kind == "quantize" else out

    def made_once(self, name, make):
        """A thing that several rows stand on; made under another name first, so that half of it is never taken for it."""
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            half = path + ".half" + os.path.splitext(name)[1]
            if os.path.isdir(half):
                shutil.rmtree(half)
            make(half)
            os.rename(half, path)
        return path

    def unquantised_gguf(self):
        return self.made_once(f"peer-f32-{PRE}.gguf", lambda out: self.t.run(
            [self.t.judge("convert"), os.path.join(self.t.root, "deps", "judges", "convert_hf.py"), "--pre", PRE, self.model, "--outtype", "f32", "--outfile", out]))

    def imatrix(self):
        return self.made_once(f"llama-imatrix-{PRE}.gguf", lambda out: self.t.run(
            [os.path.join(self.t.prefix, "bin", "llama-imatrix"), "-m", self.unquantised_gguf(), "-f", self.text, "-o", out, "-c", "512", "-t", "1",
             "--no-ppl"]))

    def exported(self):
        return self.made_once("optimum-f32", lambda out: self.t.run(
            [os.path.join(os.path.dirname(self.t.judge("optimum")), "optimum-cli"), "export", "openvino", "--model", self.model, "--task",
             "text-generation-with-past", "--weight-format", "fp32", out]))

    def build(self, out, precision, options):
        if self.refused:
            raise self.refused
        try:
            self.build_now(out, precision, options)
        except Exception as e:
            if "not currently supported" in str(e):
                self.refused = e  # the family, whatever the settings
            raise

    def build_now(self, out, precision, options):
        self.t.run([self.t.judge("builder"), "-m", "onnxruntime_genai.models.builder", "-i", self.model, "-o", out, "-p", precision, "-e", "cpu", "-c",
                    os.path.join(self.folder, "builder-cache")] + (["--extra_options"] + options if options else []))

    def built(self):
        return self.made_once("builder-f32", lambda out: self.build(out, "fp32", []))

    def make(self, kind, settings, out):
        if kind == "quantize":
            more = ["--imatrix", self.imatrix()] if settings["imatrix"] else []
            return self.t.run([os.path.join(self.t.prefix, "bin", "llama-quantize")] + more + [self.unquantised_gguf(), self.path(kind, out), settings["type"], "1"])
        if kind == "build":
            return self.build(out, settings["precision"], settings["options"])
        before = {"compress": lambda: [self.exported(), self.model, self.text], "hqq": lambda: [self.built()], "ort": lambda: [self.reference("onnx")], "mlx": lambda: [self.model, self.text]}[kind]()
        job = out + ".job.json"
        with open(job, "w", encoding="utf-8") as f:
            json.dump({"out": out, **settings}, f)
        judge, script = DRIVER[kind]
        try:
            return self.t.run([self.t.judge(judge), os.path.join(self.t.here, "peers", script)] + before + [job], self.t.fast if kind == "mlx" else None)
        finally:
            os.unlink(job)
