/* vocab.h - the tokenizer of a GGUF file.  What such a file does not tell (white space around added tokens, NFC) is as llama.cpp has it.
 * Source: llama.cpp src/llama-vocab.cpp, llama_vocab::impl::load; the way back from formats/gguf/tokenizer.c. */
#ifndef HONE_FORMATS_GGUF_VOCAB_H
#define HONE_FORMATS_GGUF_VOCAB_H
#include "formats/gguf.h"

/* n_vocab: rows of the embedding.  Everything in the arena; merges are borrowed from g.  A file without a vocabulary gives HONE_TOK_NONE.
 * Errors: HONE_EINPUT names the key that is missing, of a wrong type or length; HONE_EUNSUPPORTED a kind of tokenizer or a pre-tokenizer that hone
 * does not know. */
hone_code hone_gguf_tokenizer_read(const hone_gguf *g, uint32_t n_vocab, hone_arena *a, hone_tokenizer *out, hone_err *err);
#endif
