#!/usr/bin/env bash
# A checkpoint that is damaged, lying or hostile: the promised exit code, one clear error as JSON and as text, and nothing under the
# output's name.  What each reader refuses in detail stands in tests/unit/formats; here is what reaches the user.
# ctest: timeout 300
exec /usr/bin/python3 - <<'PY'
import json, os, re, shutil, struct, subprocess, sys, tempfile

hone, source = os.environ["HONE"], os.path.join(os.environ["HONE_SOURCE_DIR"], "tests/golden/tiny/llama")
tmp = tempfile.mkdtemp()
folder, out = os.path.join(tmp, "m"), os.path.join(tmp, "out")
failed = 0
UP, NORM = "model.layers.0.mlp.up_proj.weight", "model.norm.weight"


def fail(text):
    global failed
    failed = 1
    print("FAIL:", text)


class Checkpoint:
    """A fresh copy of the tiny llama to spoil: tensors, config and tokenizer in memory; save() writes what was changed."""

    def __init__(self):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        self.raw = self.read("model.safetensors")
        n = struct.unpack("<Q", self.raw[:8])[0]
        self.head, self.data = json.loads(self.raw[8:8 + n]), bytearray(self.raw[8 + n:])

    def path(self, name): return os.path.join(folder, name)
    def read(self, name): return open(self.path(name), "rb").read()
    def put(self, name, blob): open(self.path(name), "wb").write(blob)
    def weights(self, head, data): self.put("model.safetensors", struct.pack("<Q", len(head)) + head + data)
    def save(self): self.weights(json.dumps(self.head).encode(), self.data)
    def config(self, **new): self.json("config.json", lambda c: c.update(new))
    def index(self, m): os.remove(self.path("model.safetensors")), self.put("model.safetensors.index.json", json.dumps({"weight_map": m}).encode())

    def json(self, name, change):
        doc = json.loads(self.read(name))
        change(doc)
        self.put(name, json.dumps(doc).encode())

    def value(self, tensor, at, bits):  # a bf16 element
        begin = self.head[tensor]["data_offsets"][0] + 2 * at
        self.data[begin:begin + 2] = bits
        self.save()

    def drop(self, tensor):
        begin, end = self.head.pop(tensor)["data_offsets"]
        del self.data[begin:end]
        for t in self.head.values():
            if "data_offsets" in t and t["data_offsets"][0] >= end: t["data_offsets"] = [x - (end - begin) for x in t["data_offsets"]]
        self.save()

    def add(self, tensor):
        self.head[tensor] = {"dtype": "F32", "shape": [1], "data_offsets": [len(self.data), len(self.data) + 4]}
        self.data += bytes(4)
        self.save()

    def change(self, tensor, **new):
        self.head[tensor].update(new)
        self.save()


def refuses(code, cause, spoil):
    """hone convert must end with this exit code and a cause that matches in whole."""
    c = Checkpoint()
    spoil(c)
    shutil.rmtree(out, ignore_errors=True)
    r = subprocess.run([hone, "convert", folder, "--quant", "q8_0", "-o", out, "--json", "--quiet"], capture_output=True, text=True)
    try:
        doc = json.loads(r.stdout)
        got = doc["error"]["cause"]
    except (ValueError, KeyError):
        return fail(f"no JSON error for '{cause}': exit {r.returncode}, {r.stdout[:200]!r} {r.stderr[-2000:]}")
    if doc["ok"] or doc["error"]["exit"] != r.returncode or r.returncode != code: fail(f"exit {r.returncode} instead of {code}: {got}")
    if not re.fullmatch(cause.replace("{m}", re.escape(folder)), got): fail(f"cause '{got}', wanted '{cause}'")
    if r.stderr.count("hone convert: ") != 1 or not r.stderr.startswith("hone convert: " + got): fail(f"stderr for '{cause}': {r.stderr}")
    if os.path.isdir(out) and os.listdir(out): fail(f"left behind by '{cause}': {os.listdir(out)}")


shard = "model-00001-of-00002.safetensors"
cases = [
    # bytes missing or too many
    *[(3, "'{m}/model.safetensors': (file has .* bytes, needs 9|header ends at byte .*|tensor '.*' lies at .*)",
       lambda c, cut=cut: c.put("model.safetensors", c.raw[:cut])) for cut in (0, 8, 1000, -1)],
    (3, "'{m}/model.safetensors': tensors end at byte [0-9]+ of the data, it has [0-9]+", lambda c: c.put("model.safetensors", c.raw + b"x")),
    (3, "'{m}/model.safetensors': header length 9223372036854775808 is outside 1..100000000",
     lambda c: c.put("model.safetensors", struct.pack("<Q", 2**63) + c.raw[8:])),
    # headers that lie
    (3, ".*: tensor '.*': its shape needs more than 2\\^64 bytes", lambda c: c.change(UP, shape=[2**32, 2**32])),
    (4, ".*: tensor '.*' has unknown dtype 'F128'", lambda c: c.change(UP, dtype="F128")),
    (3, ".*: header: line 1, column [0-9]+: duplicate object key near '.*'",
     lambda c: c.weights((lambda t: t[:-1] + b", " + t[1:])(json.dumps(c.head).encode()), c.data)),
    (3, ".*: header: JSON is nested more than 512 levels deep", lambda c: c.weights(b'{"a":' * 100000, c.data)),
    # an index that points elsewhere
    (3, ".*: file name '\\.\\./config.json' points outside its folder", lambda c: c.index({"w": "../config.json"})),
    (3, ".*: file name '/etc/passwd' points outside its folder", lambda c: c.index({"w": "/etc/passwd"})),
    (3, f".*: shard '{shard}' is missing", lambda c: c.index({"w": shard})),
    (3, "\"weight_map\" puts tensor 'ghost.weight' into 'a.safetensors', which lacks it",
     lambda c: (c.put("a.safetensors", c.raw), c.index({k: "a.safetensors" for k in [*c.head, "ghost.weight"] if k != "__metadata__"}))),
    (3, "folder '{m}' has neither model.safetensors nor model.safetensors.index.json", lambda c: os.remove(c.path("model.safetensors"))),
    (4, "folder '{m}' has 'pytorch_model.bin' and no model.safetensors",
     lambda c: (os.remove(c.path("model.safetensors")), c.put("pytorch_model.bin", b"PK"))),
    # tensors that are not those of the family
    (3, ".*model.layers.0.mlp.surprise.weight.*", lambda c: c.add("model.layers.0.mlp.surprise.weight")),
    (3, f".*{UP}.*", lambda c: c.drop(UP)),
    (3, f".*{UP}.*\\[.*\\].*\\[.*\\].*", lambda c: c.change(UP, shape=[c.head[UP]["shape"][0] * 2, c.head[UP]["shape"][1] // 2])),
    # weights that are no numbers
    (3, f"tensor '{UP}' holds NaN at row 0, column 10", lambda c: c.value(UP, 10, b"\xc0\x7f")),
    (3, f"tensor '{NORM}' holds Inf at row 0, column 1", lambda c: c.value(NORM, 1, b"\x80\x7f")),
    (4, f"'{{m}}': tensor '{UP}' is stored as i16, which is no weight without scales", lambda c: c.change(UP, dtype="I16")),
    # config.json and the tokenizer
    (4, ".*WonderForCausalLM.*", lambda c: c.config(architectures=["WonderForCausalLM"])),
    (4, ".*spiral.*", lambda c: c.config(rope_parameters=None, rope_scaling={"rope_type": "spiral", "factor": 2.0})),
    (3, ".*num_attention_heads.*", lambda c: c.config(num_attention_heads=0)),
    (3, ".*hidden_size.* is -1.*", lambda c: c.config(hidden_size=-1)),
    (3, ".*config.json.*: line 1, .*", lambda c: c.put("config.json", b'{"a":')),
    (3, ".*config.json.*: JSON is nested more than 512 levels deep", lambda c: c.put("config.json", b'{"a":' * 5000)),
    (3, ".*config.json.*duplicate object key.*", lambda c: c.put("config.json", b'{"hidden_size":1,"hidden_size":2}')),
    (3, ".*config.json.*", lambda c: os.remove(c.path("config.json"))),
    (4, ".*abc\\+.*", lambda c: c.json("tokenizer.json", lambda t: t.update(pre_tokenizer={
        "type": "Split", "pattern": {"Regex": "abc+"}, "behavior": "Isolated", "invert": False}))),
]
try:
    Checkpoint().save()  # so that what refuses is the damage, not the tool
    good = subprocess.run([hone, "convert", folder, "--quant", "q8_0", "-o", os.path.join(tmp, "good"), "--quiet"], capture_output=True, text=True)
    if good.returncode: fail(f"the good copy is refused: {good.stderr}")
    for case in cases: refuses(*case)
    # numbers that an encoding has no room for: told before anything is written, and no matter for one that has
    c = Checkpoint()
    c.value(UP, 10, b"\xc3\x47")
    c.save()
    for quant, ok in (("f16", False), ("onnx=f16", False), ("mlx=f16", False), ("bf16", True), ("q8_0", True)):
        out = os.path.join(tmp, "wide")
        p = subprocess.run([hone, "convert", folder, "--quant", quant, "-o", out, "--quiet"], capture_output=True, text=True)
        left = [f for _, _, files in os.walk(out) for f in files]
        if ok and p.returncode: fail(f"99840 in {quant}: exit {p.returncode}: {p.stderr}")
        if not ok and (p.returncode != 4 or f"tensor '{UP}' holds 99840 at row 0, column 10, more than the 65504 that f16 leaves room for" not in p.stderr or left):
            fail(f"99840 in {quant}: exit {p.returncode}, left {left}: {p.stderr}")
finally:
    shutil.rmtree(tmp)
sys.exit(failed)
PY
