/* tokenizer_json.c - any bytes as tokenizer.json: an error or a tokenizer that can be written to GGUF, never a crash. */
#include "formats/gguf.h"
#include "formats/hf/reader.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t    *root = NULL;
    hone_err   err = { 0 };
    hone_arena a = { 0 };
    if (size > 1u << 20 || hone_json_parse((hone_bytes){ data, size }, "tokenizer.json", &root, &err) != HONE_OK) return 0;
    hone_hf_reader r;
    hone_hf_reader_init(&r, &a, 4096);
    hone_code code = hone_hf_read_json(&r, root, NULL, &err);
    if (code == HONE_OK) code = hone_hf_vocab_fill(&r.v, &a, &err);
    if (code == HONE_OK) code = hone_hf_read_special(&r, root, root, root, &err);
    if (code == HONE_OK) {
        hone_tokenizer    t;
        hone_gguf_writer *w = NULL;
        uint64_t          offset = 0, total = 0;
        hone_bytes        head;
        hone_hf_reader_done(&r, &t);
        assert(t.kind != HONE_TOK_NONE && t.n_tokens <= 4096);
        for (size_t i = 0; i < t.n_tokens; i++) assert(t.tokens[i].text && t.tokens[i].type >= HONE_TOKEN_NORMAL && t.tokens[i].type <= HONE_TOKEN_BYTE);
        assert(t.bos < (int64_t)t.n_tokens && t.eos < (int64_t)t.n_tokens && t.eot < (int64_t)t.n_tokens);
        if (hone_gguf_writer_new(&a, &w, &err) == HONE_OK && hone_gguf_put_tokenizer(w, &t, 4096, &err) == HONE_OK)
            (void)hone_gguf_layout(w, &offset, &total, &head, &err);
    }
    assert(code == HONE_OK || code == HONE_EINPUT || code == HONE_EUNSUPPORTED || code == HONE_ERESOURCE);
    assert(code == HONE_OK || err.cause[0]);
    json_decref(root);
    hone_arena_release(&a);
    return 0;
}
