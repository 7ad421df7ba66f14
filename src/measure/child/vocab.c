#include "measure/child/vocab.h"
#include "formats/gguf.h"
#include "formats/hf.h"

/* llama.cpp reads general.architecture before the vocabulary, and the name for one rule (hone_gguf_name_for); with vocab_only nothing else
 * (src/llama-model.cpp, load_hparams returns early). */
static hone_code put_head(hone_gguf_writer *w, const char *arch, const char *name, const hone_tokenizer *t, hone_err *err)
{
    char buf[160];
    HONE_TRY(hone_gguf_put_str(w, "general.architecture", arch, err));
    HONE_TRY(hone_gguf_put_str(w, "general.type", "model", err));
    return hone_gguf_put_str(w, "general.name", hone_gguf_name_for(t, name, buf, sizeof buf), err);
}

hone_code hone_vocab_gguf(const hone_artefact *x, uint32_t n_vocab, hone_arena *a, hone_bytes *out, hone_err *err)
{
    hone_facts        f = { 0 };
    hone_tokenizer    t = { 0 };
    hone_gguf_writer *w;
    uint64_t          total;
    hone_err          why = { 0 };
    bool              known = false;
    hone_code         code = hone_artefact_facts(x, a, &f, &known, &why);
    if (code != HONE_OK && code != HONE_EUNSUPPORTED) { /* a family that is not ours may still have a tokenizer that is */
        if (err) *err = why;
        return code;
    }
    if (known && f.vocab) n_vocab = f.vocab;
    HONE_TRY(hone_hf_tokenizer_load(x->folder, n_vocab, a, &t, err));
    if (t.kind == HONE_TOK_NONE)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "copy tokenizer.json and tokenizer_config.json of the checkpoint into it", "folder '%s' has no tokenizer files", x->folder);
    HONE_TRY(hone_gguf_writer_new(a, &w, err));
    HONE_TRY(put_head(w, known && f.gguf && f.gguf->name ? f.gguf->name : "llama", known && f.name && f.name[0] ? f.name : "model", &t, err));
    HONE_TRY(hone_gguf_put_tokenizer(w, &t, n_vocab, err));
    return hone_gguf_layout(w, NULL, &total, out, err);
}
