/* write.h - a tokenizer as the files of a checkpoint folder, for sources that have none: tokenizer.json, tokenizer_config.json,
 * generation_config.json.  The reader of this folder makes the same tokenizer of them.
 * Source: huggingface/tokenizers src/{models,normalizers,pre_tokenizers,processors,decoders}; transformers convert_slow_tokenizer.py. */
#ifndef HONE_FORMATS_HF_WRITE_H
#define HONE_FORMATS_HF_WRITE_H
#include "base/arena.h"
#include "base/json.h"
#include "ir/tokenizer.h"

/* tokenizer.json; *out owned.  HONE_EUNSUPPORTED for a pre-tokenizer without a row in pretokenizers.def. */
hone_code hone_hf_tokenizer_json(const hone_tokenizer *t, hone_arena *a, json_t **out, hone_err *err);
/* tokenizer_config.json: special tokens, chat templates, what is put around a text. */
hone_code hone_hf_tokenizer_config(const hone_tokenizer *t, json_t **out, hone_err *err);
/* generation_config.json: the ids that end a text. */
hone_code hone_hf_generation_config(const hone_tokenizer *t, json_t **out, hone_err *err);
#endif
