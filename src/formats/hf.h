/* hf.h - the small files of a Hugging Face checkpoint folder: config.json, generation_config.json, tokenizer.json, tokenizer.model,
 * vocab.txt, tokenizer_config.json, special_tokens_map.json, chat_template.jinja / chat_templates/.  Knows no family. */
#ifndef HONE_FORMATS_HF_H
#define HONE_FORMATS_HF_H
#include "base/arena.h"
#include "base/json.h"
#include "ir/facts.h"
#include "ir/tokenizer.h"

/* config.json of the folder; *out owned: json_decref.  HONE_EINPUT when missing or not an object. */
hone_code hone_hf_config_load(const char *dir, json_t **out, hone_err *err);
/* Shows `read` the files by which sentence-transformers tells how token vectors are pooled: 1_Pooling/config.json and modules.json.  Each is NULL when
 * the folder has none, as a plain encoder.  read: hone_arch_pooling, which sets the facts. */
hone_code hone_hf_pooling_load(const char *dir, hone_code (*read)(const json_t *pooling, const json_t *modules, hone_facts *facts, hone_err *err),
                               hone_facts *facts, hone_err *err);
/* The tokenizer of the folder, in the arena.  A folder without any tokenizer file gives kind HONE_TOK_NONE.
 * n_vocab: rows of the embedding (more tokens than rows is HONE_EINPUT).
 * Errors: HONE_EINPUT for bad files; HONE_EUNSUPPORTED for a pre-tokenizer, normaliser or model that is not recognised: the cause prints its definition. */
hone_code hone_hf_tokenizer_load(const char *dir, uint32_t n_vocab, hone_arena *a, hone_tokenizer *out, hone_err *err);
#endif
