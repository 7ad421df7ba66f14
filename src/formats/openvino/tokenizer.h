/* tokenizer.h - a tokenizer and its detokenizer as OpenVINO models: IR v11 whose layers are those of the openvino_tokenizers
 * extension.  openvino_genai and every program that loads the extension run them; no Python is needed for either.
 * Knows hone_tokenizer; knows no tokenizer file.
 * Source: openvino_tokenizers 2026.4.1.0, src/<operator>.cpp for what each layer does with its inputs; openvino.genai 2026.4.1
 * src/cpp/src/tokenizer/{tokenizer_impl,make_tokenizer_stateful,add_second_input_pass}.cpp for what is looked for in the model. */
#ifndef HONE_FORMATS_OPENVINO_TOKENIZER_H
#define HONE_FORMATS_OPENVINO_TOKENIZER_H
#include "base/arena.h"
#include "base/bytes.h"
#include "ir/facts.h"
#include "ir/tokenizer.h"

#define HONE_OV_TOKENIZERS_VERSION "2026.4.1.0" /* whose layers these are; openvino_genai wants one to be named */

/* The two models, each the text of its .xml and the bytes of its .bin.
 *   tokenizer    string [batch] -> input_ids, attention_mask (and token_type_ids for WordPiece), i64 [batch, longest]; special tokens
 *                are recognised in the text, and the tokens the model wants around it are added
 *   detokenizer  i64 [batch, tokens] -> string [batch], without special tokens */
typedef struct hone_ov_tokenizer_files {
    hone_bytes tokenizer_xml, tokenizer_bin, detokenizer_xml, detokenizer_bin;
    bool       no_chat; /* the chat template has bytes that XML cannot hold: it is left out */
} hone_ov_tokenizer_files;

/* Everything of out lives in the arena.  f: a decoder pads and cuts on the left, as generation wants it; its context is the limit of a
 * text for which t gives none.
 * Errors: HONE_EUNSUPPORTED when the extension cannot do what t does (the cause says what); HONE_ERESOURCE. */
hone_code hone_ov_tokenizer(const hone_tokenizer *t, const hone_facts *f, hone_arena *a, hone_ov_tokenizer_files *out, hone_err *err);
#endif
