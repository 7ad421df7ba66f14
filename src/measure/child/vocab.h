/* vocab.h - a GGUF that holds a tokenizer and nothing else, so that llama.cpp can tokenise for runtimes that cannot. */
#ifndef HONE_MEASURE_CHILD_VOCAB_H
#define HONE_MEASURE_CHILD_VOCAB_H
#include "base/bytes.h"
#include "measure/artefact.h"

/* From config.json, tokenizer.json, ... in x->folder; n_vocab: rows of the embedding (0: as config.json says).  The bytes live in the arena.
 * HONE_EUNSUPPORTED: the folder has no tokenizer, or one that is not recognised; HONE_EINPUT: bad files. */
hone_code hone_vocab_gguf(const hone_artefact *x, uint32_t n_vocab, hone_arena *a, hone_bytes *out, hone_err *err);
#endif
