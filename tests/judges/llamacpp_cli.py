#!/usr/bin/env python3
"""llamacpp_cli.py HONE BIN MODELS...: llama.cpp's own command line program judges the GGUF files that `hone convert` writes.
BIN is the folder with llama-completion (deps/llamacpp.sh --tools).  Run by `make judges-all` over all families and by
tests/cli/judge_llamacpp.sh over a few; needs no package.

For every checkpoint folder in MODELS, f32 (with an f32 cache) and f16 (with llama.cpp's own defaults): llama-completion loads the file as
it is and continues both rows of input_ids as reference.json does, 16 tokens; where the gap of the reference's two best is too small it may
differ, is given the reference's token and goes on.  q8_0 and q4_k_m files load and answer.
  row 0   is given as text (-f), which llama.cpp must tokenise into exactly input_ids;
  row 1   is random ids, which are no text's: they are given through --prompt-cache.  A cache file is a list of ids and the state behind all
          but the last, which the program computes when it starts; so it is started once per id, each time with the file that it wrote
          itself and the next id at the end of the list.  What it says behind each is the best token of the reference's logits.
  A continuation is read from the cache file too: ids, not text.  Behind a token that ends a text the program says nothing; it is given
  the reference's next token and goes on.
Limits of llama.cpp (data/limits.json), which hone must tell: a sliding window that it ignores (within the window both rows' best tokens are
the reference's; behind it they must differ, else the limit is gone); of two sets of rope factors it has one, by the size of the context, so
such a model is judged by reference_long.*.
An encoder generates nothing: this program is no judge of it, tests/unit/flow/test_families.c is.
Exit 0 when all holds."""

import heapq
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT = {"f32": 0.01, "f16": 0.03}
CACHE = {"f32": ["-ctk", "f32", "-ctv", "f32", "-fa", "off"]}
CONTEXT = 256
failed = started = 0


def fail(text):
    global failed
    failed += 1
    print("FAIL:", text, flush=True)


def convert(program, source, out):
    command = [program, "convert", source, "--to", "gguf", "--quant", "f32,f16,q8_0,q4_k_m", "--json", "--threads", "1", "-o", out]
    r = subprocess.run(command, capture_output=True, text=True)
    if r.returncode:
        raise SystemExit(f"FAIL: {source.name}: hone convert: exit {r.returncode}: {r.stderr.strip()[-400:]}")
    doc = json.loads(r.stdout)
    return {o["quantization"]: Path(o["path"]) for o in doc["outputs"]}, [w for w in doc["warnings"] if w.startswith("in llama.cpp: ")]


class Reference:
    """The rows of a reference: ids, how they go on, and the logits behind every id."""

    def __init__(self, source, name):
        raw, told = (source / f"{name}.safetensors").read_bytes(), json.loads((source / f"{name}.json").read_text())
        head = 8 + struct.unpack_from("<Q", raw)[0]
        about = json.loads(raw[8:head])
        first, last = about["logits"]["data_offsets"]
        self.name, self.greedy, self.gaps = name, told["greedy"], told["greedy_top2_gap"]
        self.logits, self.vocab = memoryview(raw[head + first : head + last]).cast("f"), about["logits"]["shape"][2]
        (rows, self.length), first = about["input_ids"]["shape"], head + about["input_ids"]["data_offsets"][0]
        self.rows = [list(struct.unpack_from(f"<{self.length}q", raw, first + 8 * self.length * r)) for r in range(rows)]

    def best(self, row, at):
        """The best token behind id `at`, and its lead over the second."""
        start = (row * self.length + at) * self.vocab
        (best, token), (second, _) = heapq.nlargest(2, ((v, i) for i, v in enumerate(self.logits[start : start + self.vocab])))
        return token, best - second


def special_ids(source):
    return {t["id"] for t in json.loads((source / "tokenizer.json").read_text())["added_tokens"] if t["special"]}


def text_of(source, ids):
    """The English text that ids stand for: the tokens' own texts, spaces as the two kinds of vocabulary write them; special ones left out."""
    told = json.loads((source / "tokenizer.json").read_text())
    special = special_ids(source)
    piece = {i: t for t, i in told["model"]["vocab"].items()}
    return "".join(piece[i] for i in ids if i not in special).replace("\u0120", " ").replace("\u2581", " ").lstrip(" ")


class Program:
    """llama-completion with one GGUF file."""

    def __init__(self, binary, model, quant, tmp):
        self.cache, self.prompt = tmp / "cache", tmp / "prompt"
        self.command = [binary, "-m", model, "-c", str(CONTEXT), "-t", "1", "--temp", "0", "--seed", "1", "-no-cnv", "--no-warmup", "--fit", "off"]
        self.command += ["--prompt-cache", self.cache, "--prompt-cache-all", "--simple-io", *CACHE.get(quant, [])]

    def start(self, count, *more):
        global started
        started += 1
        command = [*self.command, "-n", str(count), *more]
        r = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
        return r.returncode, r.stderr.decode(errors="replace")[-800:]

    def read(self):
        """The ids in the cache file, and the state behind them; the file's first two words are kept as they are."""
        raw = self.cache.read_bytes()
        self.words, (n,) = raw[:8], struct.unpack_from("<I", raw, 8)
        return list(struct.unpack_from(f"<{n}i", raw, 12)), raw[12 + 4 * n :]

    def write(self, ids, state):
        self.cache.write_bytes(self.words + struct.pack(f"<I{len(ids)}i", len(ids), *ids) + state)

    def text(self, text, count):
        """The ids of a text and up to count more."""
        self.cache.unlink(missing_ok=True)
        self.prompt.write_text(text)
        status, said = self.start(count, "-f", self.prompt)
        if status:
            raise SystemExit(f"FAIL: {self.command[2]}: llama-completion: exit {status}: {said}")
        return self.read()[0]

    def empty(self, first):
        """Leaves a cache file of one id and nothing before it: the name of the architecture, then one or two caches without a cell."""
        self.text("a", 1)
        state = self.read()[1]
        name = state[: 4 + struct.unpack_from("<I", state)[0]]
        for caches in (1, 2):  # the second is that of the layers with a window
            self.write([first], name + struct.pack("<II", 1, 0) * caches)
            status, said = self.start(1)
            if status == 0:
                return
        raise SystemExit(f"FAIL: {self.command[2]}: llama-completion takes no empty cache: {said}")

    def ids(self, ids, count, seen=None):
        """ids and up to count more, ids being no text.  seen(n, token) hears of what the program says behind the first n."""
        self.empty(ids[0])
        for n in range(2, len(ids) + 1):
            self.write(ids[:n], self.read()[1])
            status, said = self.start(1 if n < len(ids) else count)
            if status:
                raise SystemExit(f"FAIL: {self.command[2]}: llama-completion: exit {status} at id {n}: {said}")
            got = self.read()[0]
            if seen and got[n : 2 * n] != ids[:n]:
                seen(n, got[n])
        # Behind an end token the program leaves at once, and its list of ids is the prompt twice.
        return ids if got[len(ids) : 2 * len(ids)] == ids else got


class Judgement:
    """One encoding of one model against a reference."""

    def __init__(self, name, program, reference, quant, special):
        self.name, self.program, self.reference, self.special = f"{name} {quant}", program, reference, special
        self.limit, self.equal, self.given, self.prompts, self.wrong = LIMIT[quant], 0, 0, 0, []

    def prompt(self, r, count, window=None):
        """Row r through the cache, and the program's best token behind each id that sees no more than a window."""
        row = self.reference.rows[r]

        def seen(n, token):
            want, gap = self.reference.best(r, n - 1)
            if n <= (window or len(row)) and gap > self.limit:
                self.prompts += token == want
                if token != want:
                    fail(f"{self.name}: behind {n} ids of row {r} {token} is best, in the reference {want} with a lead of {gap:.4f}")

        return self.program.ids(row, count, seen)

    def go_on(self, r, got):
        """got: what the program put behind row r."""
        row, want, gaps = self.reference.rows[r], self.reference.greedy[r], self.reference.gaps[r]
        at = 0
        while True:
            same = 0
            while same < min(len(got), len(want) - at) and got[same] == want[at + same]:
                same += 1
            self.equal, at = self.equal + same, at + same
            if at == len(want):
                return
            if same < len(got) and gaps[at] > self.limit:
                self.wrong.append(f"step {at} of row {r} gives {got[same]}, the reference {want[at]} with a gap of {gaps[at]}")
                return
            if same == len(got) and (row + want[:at])[-1] not in self.special:
                self.wrong.append(f"stops at step {at} of row {r} behind a token that ends nothing")
                return
            self.given, at = self.given + 1, at + 1
            if at == len(want):
                return
            behind = row + want[:at]
            got = self.program.ids(behind, len(want) - at)[len(behind) :]

    def as_text(self, text, count):
        """Row 0 as text; what follows it."""
        row, got = self.reference.rows[0], self.program.text(text, count)
        if got[: len(row)] != row:
            fail(f"{self.name}: the text of row 0 becomes {got[: len(row)]}, not {row}")
        return got[len(row) :]

    def result(self, window):
        """What differs counts, unless llama.cpp cannot do the model's window: then it must differ."""
        if window and not self.wrong:
            fail(f"{self.name}: the same behind the window too: the row of data/limits.json can go")
        for w in [] if window else self.wrong:
            fail(f"{self.name}: {w}")
        behind = "behind the window other tokens, as hone tells" if window else f"{self.equal} tokens equal, {self.given} given"
        return f"{self.name.split()[-1]}: {self.prompts} best tokens in prompts equal, {behind}"


def one_model(hone, binary, source, tmp):
    name, config = source.name, json.loads((source / "config.json").read_text())
    if "bert" in config["model_type"]:
        return print(f"{name}: an encoder generates nothing: not judged by llama-completion", flush=True)
    files, told = convert(hone, source, tmp)
    reference = Reference(source, "reference_long" if (source / "reference_long.json").exists() else "reference")
    count, text, special = len(reference.greedy[0]), text_of(source, reference.rows[0]), special_ids(source)
    ignored = any("(sliding window)" in w for w in told) and config["sliding_window"] < reference.length + count
    window, result = config["sliding_window"] if ignored else None, []
    for quant in LIMIT:
        j = Judgement(name, Program(binary, files[quant], quant, tmp), reference, quant, special)
        j.go_on(0, j.as_text(text, count))
        if window:
            j.prompt(0, 1, window)
        j.go_on(1, j.prompt(1, count, window)[reference.length :])
        result.append(j.result(window))
    for quant in ("q8_0", "q4_k_m"):
        ids = Program(binary, files[quant], quant, tmp).text(text, count)
        if ids[: reference.length] != reference.rows[0] or len(ids) == reference.length:
            fail(f"{name} {quant}: llama-completion makes {ids} of the text")
    print(f"{name} ({reference.name}, 2 x {reference.length} ids): {'; '.join(result)}; q8_0, q4_k_m answer", flush=True)


def main():
    hone, binary, models = sys.argv[1], Path(sys.argv[2]) / "llama-completion", [Path(m) for m in sys.argv[3:]]
    for m in models:
        with tempfile.TemporaryDirectory() as tmp:
            one_model(hone, binary, m, Path(tmp))
    print(f"llama-completion: {len(models)} models, {started} runs, {failed} failures")
    return 1 if failed or not models else 0


if __name__ == "__main__":
    sys.exit(main())
