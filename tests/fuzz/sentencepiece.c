/* sentencepiece.c - any bytes as tokenizer.model: an error or a tokenizer, never a crash. */
#include "formats/hf/reader.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_err   err = { 0 };
    hone_arena a = { 0 };
    hone_sp    sp;
    hone_code  code = hone_sp_parse((hone_bytes){ data, size }, &a, &sp, &err);
    if (code == HONE_OK) {
        hone_hf_reader r;
        assert(sp.n > 0 && sp.unk < (int64_t)sp.n && sp.pad < (int64_t)sp.n);
        for (size_t i = 0; i < sp.n; i++) assert(sp.pieces[i].len > 0 && (const uint8_t *)sp.pieces[i].text >= data && (const uint8_t *)sp.pieces[i].text + sp.pieces[i].len <= data + size);
        hone_hf_reader_init(&r, &a, 4096);
        code = hone_hf_read_sentencepiece(&r, &sp, NULL, &err);
        if (code == HONE_OK) code = hone_hf_vocab_fill(&r.v, &a, &err);
        if (code == HONE_OK) code = hone_hf_read_special(&r, NULL, NULL, NULL, &err);
    }
    assert(code == HONE_OK || code == HONE_EINPUT || code == HONE_EUNSUPPORTED || code == HONE_ERESOURCE);
    assert(code == HONE_OK || err.cause[0]);
    hone_arena_release(&a);
    return 0;
}
