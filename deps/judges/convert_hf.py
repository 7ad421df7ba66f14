#!/usr/bin/env python3
"""convert_hf.py [--pre NAME] [--no-vocab] ARGUMENT...: llama.cpp's convert_hf_to_gguf.py with one refusal lifted.

It recognises byte-level BPE tokenizers by a hash over known models and refuses all others.  Here an unknown one gets the
pre-tokenizer NAME (default gpt-2).  --no-vocab leaves the tokenizer out.  Everything else is the converter's own code, found through HONE_LLAMACPP."""

import os
import sys

folder = os.path.join(os.environ["HONE_LLAMACPP"], "share", "llama.cpp")
sys.path.insert(0, os.path.join(folder, "gguf-py"))
sys.path.insert(0, folder)
arguments = sys.argv[1:]
pre = "gpt-2"
if arguments[:1] == ["--pre"]:
    pre, arguments = arguments[1], arguments[2:]

no_vocab = arguments[:1] == ["--no-vocab"]
if no_vocab:
    arguments = arguments[1:]

import convert_hf_to_gguf as converter  # noqa: E402
from conversion.base import TextModel  # noqa: E402

known = TextModel.get_vocab_base_pre


def known_or_named(self, tokenizer):
    try:
        return known(self, tokenizer)
    except NotImplementedError:
        return pre


TextModel.get_vocab_base_pre = known_or_named
if no_vocab:
    from conversion import llama as _  # noqa: E402,F401  families override set_vocab: loaded before it is replaced

    def none(self):
        self.gguf_writer.add_tokenizer_model("none")

    for family in [TextModel] + list(TextModel.__subclasses__()):
        family.set_vocab = none
sys.argv = [converter.__file__] + arguments
converter.main()
