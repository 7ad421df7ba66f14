"""Tokenizers of the forms that the tiny checkpoints do not have: one byte-level BPE for each rule of src/formats/hf/pretokenizers.def, SentencePiece
Unigram, and a BPE on plain UTF-8 whose merges no score order can say.  Usage: python forms.py ../hf ../../../src/formats/hf/pretokenizers.def"""
import ast
import io
import json
import os
import re
import sys

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as spb
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import toks

MORE = ["3333333333 12,345,678 1.5e10 ½²³ Ⅷ", "HTTPServer parseXMLFile iPhone eBay McDonald ÄÖÜäöü ÉCOLE École", "don't DON'T Don'T it'S we'LL 's 'S", "a\n\n\n  b\r\n\r\n\tc   \n", "x=[1,2];y={a:b}//c/d\\e", "нПРИВЕТ Привет ПриветМир",
        "中文123字カタカナひらがな한국어", "e\u0301le\u0300ve नमस्ते क्ष", "。！？、，；：‘’“”…—", "$100 €5 +3=8 <a> ^_^ ~x |y| `z`", "   trailing   ", "\t\ttabs \t mixed\n \n", "word.Word,word!word?word…", "#include <stdio.h>\n\nint main() {\n  return 0;\n}\n"]


def write(d, t, vocab, config=None):
    os.makedirs(d, exist_ok=True)
    t.save(os.path.join(d, "tokenizer.json"))
    dump = lambda name, x: json.dump(x, open(os.path.join(d, name), "w"))
    dump("config.json", {"vocab_size": vocab})
    dump("tokenizer_config.json", config or {})
    added = [a["content"] for a in json.loads(t.to_str())["added_tokens"] if a["special"] and a["content"] != "<unk>"]
    cases = [dict(text=s, ids=t.encode(s, add_special_tokens=False).ids, ids_with_special=t.encode(s).ids, decoded=t.decode(t.encode(s, add_special_tokens=False).ids, skip_special_tokens=False))
             for s in toks.case_strings(added) + MORE]
    json.dump(dict(cases=cases), open(os.path.join(d, "tokenizer_cases.json"), "w"), ensure_ascii=True, indent=0)


def rows(path):
    """(name, ignore_merges, cleans, [step]) of pretokenizers.def."""
    for m in re.finditer(r'^X\("([^"]+)", ([01]), ([01]),\n((?:  ".*"\)?\n?)+)', open(path, encoding="utf-8").read(), re.M):
        text = "".join(ast.literal_eval(x) for x in re.findall(r'^  (".*")\)?$', m[4], re.M))
        yield m[1], m[2] == "1", m[3] == "1", text.split("\n")


def one_vocabulary():
    """Byte-level BPE trained on the test texts without any splitting: its tokens cross every boundary that a rule may draw, so that a wrong one shows."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    t.decoder = decoders.ByteLevel()
    text = [x for s in toks.case_strings([]) + MORE for x in (s, s[1:], s[2:], s[:-1]) if len(set(s)) > 1]
    t.train_from_iterator(text, trainers.BpeTrainer(vocab_size=1400, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return json.loads(t.to_str())


def set_rule(j, steps, ignore_merges):
    pre = []
    for s in steps:
        if s == "gpt2":
            pre.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))
        elif s == "digits":
            pre.append(pre_tokenizers.Digits(individual_digits=True))
        else:
            pre.append(pre_tokenizers.Split(Regex(s[len("split "):]), "isolated"))
    if steps[-1] != "gpt2":
        pre.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    t = Tokenizer.from_str(json.dumps(j))
    t.pre_tokenizer = pre_tokenizers.Sequence(pre)
    j = json.loads(t.to_str())
    j["model"]["ignore_merges"] = ignore_merges
    return Tokenizer.from_str(json.dumps(j)), j["pre_tokenizer"]


def unigram(style, text):
    lines = [x for d in text for x in d.split("\n") if x]
    buf = io.BytesIO()
    spm.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=buf, model_type="unigram", vocab_size=520, normalization_rule_name="nmt_nfkc", character_coverage=0.999,
                                   num_threads=1, minloglevel=2, pad_id=0, eos_id=1, unk_id=2, bos_id=3)
    m = spb.ModelProto()
    m.ParseFromString(buf.getvalue())
    t = Tokenizer(models.Unigram([(p.piece, p.score) for p in m.pieces], unk_id=2))
    charsmap = normalizers.Precompiled(m.normalizer_spec.precompiled_charsmap)
    if style == "t5":
        t.normalizer = normalizers.Sequence([charsmap])
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")])
        t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    else:
        t.normalizer = normalizers.Sequence([charsmap, normalizers.Replace(Regex(" {2,}"), " ")])
        t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
        t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 3), ("</s>", 1)])
    t.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="always")
    t.add_special_tokens([AddedToken(x, special=True, normalized=False) for x in ("<pad>", "</s>", "<unk>", "<s>")])
    return t, buf.getvalue()


def plain_bpe(text):
    t = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    t.normalizer = normalizers.Replace(" ", "\u2581")
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>"]
    lines = [x for d in text for x in d.split("\n") if x]
    words = [w for x in lines for w in re.findall(r" ?[^ ]+", x)]  # what may be merged; the tokenizer itself splits nothing
    t.train_from_iterator(words, trainers.BpeTrainer(vocab_size=600, special_tokens=special + [f"<0x{i:02X}>" for i in range(256)], limit_alphabet=90, show_progress=False))
    j = json.loads(t.to_str())
    j["added_tokens"] = [a for a in j["added_tokens"] if a["id"] < 3]
    t = Tokenizer.from_str(json.dumps(j))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    return t


def bpe_words(base):
    """ignore_merges, and words that the merges cannot make: they are tokens when they stand alone, and only then."""
    j = json.loads(json.dumps(base))
    j["model"]["ignore_merges"] = True
    rule = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
    j["pre_tokenizer"] = dict(type="Sequence", pretokenizers=[dict(type="Split", pattern=dict(Regex=rule), behavior="Isolated", invert=False),
                                                             dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)])
    for word in ("zqx", "\u0120vwz"):
        j["model"]["vocab"][word] = max(list(j["model"]["vocab"].values()) + [a["id"] for a in j["added_tokens"]]) + 1
    return Tokenizer.from_str(json.dumps(j))


def unigram_bytes(j):
    """A Unigram model that falls back to bytes."""
    j = json.loads(json.dumps(j))
    j["model"]["byte_fallback"] = True
    least = min(score for _, score in j["model"]["vocab"])
    j["model"]["vocab"] += [[f"<0x{i:02X}>", least] for i in range(256)]
    j["decoder"] = dict(type="Sequence", decoders=[dict(type="ByteFallback"), j["decoder"]])
    return Tokenizer.from_str(json.dumps(j))


def derived(out):
    """What can be made from the other files."""
    load = lambda *names: json.load(open(os.path.join(out, *names)))
    for name, t in (("bpe-words", bpe_words(load("pre", "tokenizer.json"))), ("unigram-bytes", unigram_bytes(load("unigram-xlmr", "tokenizer.json")))):
        write(os.path.join(out, name), t, t.get_vocab_size())
    path = os.path.join(out, "bpe-words", "tokenizer_cases.json")
    cases, t = json.load(open(path)), Tokenizer.from_file(os.path.join(out, "bpe-words", "tokenizer.json"))
    for s in ("zqx", "a zqx b", "azqx", "zqxa", "a vwz", "a vwzs", "1zqx!", "Zqx"):
        ids = t.encode(s, add_special_tokens=False).ids
        cases["cases"].append(dict(text=s, ids=ids, ids_with_special=ids, decoded=t.decode(ids, skip_special_tokens=False)))
    json.dump(cases, open(path, "w"), ensure_ascii=True, indent=0)
    t = Tokenizer.from_file(os.path.join(out, "..", "tiny", "bert", "tokenizer.json"))
    folds = [[s, t.encode(s, add_special_tokens=False).ids] for s in ("\u017f", "\u00b5", "\u1f88", "\u1e9e", "\u0130", "stra\u00dfe", "\u0898a")]
    json.dump(dict(cases=folds), open(os.path.join(out, "bert-folds.case.json"), "w"), ensure_ascii=True, indent=0)


def main():
    out, table = sys.argv[1:3]
    text = toks.corpus(size=60_000) + toks.FOREIGN * 3 + MORE * 2
    os.makedirs(os.path.join(out, "pre"), exist_ok=True)
    base = one_vocabulary()
    json.dump(base, open(os.path.join(out, "pre", "tokenizer.json"), "w"))
    seen = {}
    for name, ignore_merges, cleans, steps in rows(table):
        n = seen[name] = seen.get(name, 0) + 1
        t, pre = set_rule(base, steps, ignore_merges)
        cases = [[s, t.encode(s).ids] for s in toks.case_strings(["<|end|>"]) + MORE]
        json.dump(dict(name=name, ignore_merges=ignore_merges, clean_up_tokenization_spaces=cleans, pre_tokenizer=pre, cases=cases),
                  open(os.path.join(out, "pre", (name if n == 1 else f"{name}-{n}") + ".case.json"), "w"))
    for style in ("t5", "xlmr"):
        t, blob = unigram(style, text)
        d = os.path.join(out, "unigram-" + style)
        write(d, t, t.get_vocab_size())
        if style == "t5":
            open(os.path.join(d, "spiece.model"), "wb").write(blob)
    derived(out)
    t = plain_bpe(text)
    write(os.path.join(out, "bpe-plain"), t, t.get_vocab_size())


if __name__ == "__main__":
    main()
