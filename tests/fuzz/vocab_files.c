/* vocab_files.c - the tokenizer files of old releases from anyone: vocab.txt, or vocab.json and merges.txt, with tokenizer_config.json and
 * added_tokens.json.  The first byte picks the form; \f parts the files.  An error, or a tokenizer that can be written to GGUF. */
#include "formats/gguf.h"
#include "formats/hf/reader.h"
#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes up to the next \f. */
static hone_bytes part(hone_bytes *rest)
{
    const uint8_t *end = rest->len ? memchr(rest->ptr, '\f', rest->len) : NULL;
    hone_bytes     out = { rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len };
    rest->ptr += out.len + (end != NULL);
    rest->len -= out.len + (end != NULL);
    return out;
}

static json_t *object(hone_bytes text)
{
    json_t *o = NULL;
    if (hone_json_parse(text, "fuzz", &o, NULL) != HONE_OK) return NULL;
    if (json_is_object(o)) return o;
    json_decref(o);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_err       err = { 0 };
    hone_arena     a = { 0 };
    hone_hf_reader r;
    if (size < 1 || size > 1u << 20) return 0;
    hone_bytes rest = { data + 1, size - 1 };
    hone_bytes words = part(&rest), merges = part(&rest);
    json_t    *config = object(part(&rest)), *added = object(part(&rest)), *vocab = data[0] & 1 ? object(words) : NULL;
    hone_hf_reader_init(&r, &a, data[0] & 2 ? 4096 : 64); /* without a bound, one far id costs seconds */
    r.config = config;
    hone_code code = data[0] & 1 ? hone_hf_read_vocab_json(&r, vocab, merges, added, &err) : hone_hf_read_vocab_txt(&r, words, &err);
    if (code == HONE_OK) code = hone_hf_vocab_fill(&r.v, &a, &err);
    if (code == HONE_OK) code = hone_hf_read_special(&r, added, config, config, &err);
    if (code == HONE_OK) {
        hone_tokenizer    t;
        hone_gguf_writer *w = NULL;
        uint64_t          offset = 0, total = 0;
        hone_bytes        head;
        hone_hf_reader_done(&r, &t);
        assert(t.kind == HONE_TOK_BPE || t.kind == HONE_TOK_WORDPIECE);
        for (size_t i = 0; i < t.n_tokens; i++) assert(t.tokens[i].text && t.tokens[i].type >= HONE_TOKEN_NORMAL && t.tokens[i].type <= HONE_TOKEN_BYTE);
        assert(t.bos < (int64_t)t.n_tokens && t.eos < (int64_t)t.n_tokens && t.eot < (int64_t)t.n_tokens);
        assert(t.n_tokens <= 4096);
        if (hone_gguf_writer_new(&a, &w, &err) == HONE_OK && hone_gguf_put_tokenizer(w, &t, 4096, &err) == HONE_OK)
            (void)hone_gguf_layout(w, &offset, &total, &head, &err);
    }
    assert(code == HONE_OK || code == HONE_EINPUT || code == HONE_EUNSUPPORTED || code == HONE_ERESOURCE);
    assert(code == HONE_OK || err.cause[0]);
    json_decref(config);
    json_decref(added);
    json_decref(vocab);
    hone_arena_release(&a);
    return 0;
}
