#include "formats/openvino/tokenizer.h"
#include "formats/hf/pretokenizer.h"
#include "formats/openvino/pieces.h"
#include <stdlib.h>
#include <string.h>

#define SPACE "\xe2\x96\x81" /* U+2581: how SentencePiece spells a space */

typedef struct builder {
    const hone_tokenizer *t;
    const hone_facts     *f;
    hone_arena           *a;
    hone_ov_ir           *ir;
    hone_ov_vocab         vocab;
} builder;

/* ---- added tokens -------------------------------------------------------------------------------------------------- */

/* Longer texts before those they begin with: the first alternative that matches wins. */
static int longest_first(const void *x, const void *y)
{
    const hone_token *const *a = x, *const *b = y;
    size_t n = (*a)->len < (*b)->len ? (*a)->len : (*b)->len;
    int    c = memcmp((*b)->text, (*a)->text, n);
    return c ? c : (*a)->len < (*b)->len ? 1 : (*a)->len > (*b)->len ? -1 : 0;
}

/* All added tokens, sorted; NULL when memory is gone. */
static const hone_token **added_tokens(const builder *b, size_t *n)
{
    const hone_token **list = HONE_ARENA_NEW(b->a, const hone_token *, b->t->n_tokens);
    *n = 0;
    for (size_t i = 0; list && i < b->t->n_tokens; i++)
        if (hone_ov_is_added(&b->t->tokens[i]) && b->t->tokens[i].len) list[(*n)++] = &b->t->tokens[i];
    if (list && *n) qsort(list, *n, sizeof *list, longest_first);
    return list;
}

/* Finds the added tokens: the group is the token, white space beside it that it swallows is matched outside.  Neighbours that swallow
 * alike share a group; the layer asks each group for its match. */
static void add_alternatives(hone_text *p, const hone_token **list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool first = i == 0 || list[i]->lstrip != list[i - 1]->lstrip || list[i]->rstrip != list[i - 1]->rstrip;
        bool last = i + 1 == n || list[i]->lstrip != list[i + 1]->lstrip || list[i]->rstrip != list[i + 1]->rstrip;
        if (first) hone_text_addf(p, "%s%s(", i ? "|" : "", list[i]->lstrip ? "\\s*" : "");
        else hone_text_add(p, "|");
        hone_ov_quote(p, list[i]->text, list[i]->len);
        if (last) hone_text_addf(p, ")%s", list[i]->rstrip ? "\\s*" : "");
    }
}

static hone_code find_added(builder *b, hone_ov_pieces *p, hone_err *err)
{
    size_t             n = 0;
    const hone_token **list = added_tokens(b, &n);
    hone_text          pattern = { 0 };
    if (list && n) add_alternatives(&pattern, list, n);
    hone_ov_port c = pattern.len && !pattern.failed ? hone_ov_string(b->ir, pattern.ptr, pattern.len) : (hone_ov_port){ 0, 0 };
    bool         failed = !list || pattern.failed;
    hone_text_release(&pattern);
    if (failed) return HONE_NOMEM(err, "the added tokens");
    if (n == 0) return HONE_OK;
    const hone_ov_port  in[] = { p->row_begins, p->row_ends, p->begins, p->ends, p->chars, c };
    const hone_ov_shape out[] = { hone_ov_vec_i32, hone_ov_vec_i32, hone_ov_vec_i32, hone_ov_vec_i32, hone_ov_vec_u8, hone_ov_vec_bool };
    uint32_t            l = hone_ov_add(b->ir, &(hone_ov_layer){ .type = "SpecialTokensSplit", .version = "extension", .in = in, .n_in = HONE_COUNT(in),
                                                                 .out = out, .n_out = HONE_COUNT(out) });
    *p = (hone_ov_pieces){ { l, 0 }, { l, 1 }, { l, 2 }, { l, 3 }, { l, 4 }, { l, 5 }, .has_rows = true, .has_skips = true };
    return HONE_OK;
}

/* ---- normalising and splitting ------------------------------------------------------------------------------------- */

static void charsmap(builder *b, hone_ov_pieces *p, const char *form, bool fold)
{
    const hone_ov_attr attrs[] = { { "add_dummy_prefix", "false" },      { "remove_extra_whitespaces", "false" }, { "escape_whitespaces", "false" },
                                   { "normalization_form", form }, { "case_fold", fold ? "true" : "false" }, { "nmt", "false" } };
    hone_ov_port map = { 0, 0 };
    bool         own = !*form;
    if (own) map = hone_ov_string(b->ir, (const char *)b->t->charsmap, b->t->charsmap_len);
    hone_ov_on_pieces(b->ir, "CharsMapNormalization", false, attrs, HONE_COUNT(attrs), &map, own, p);
}

/* A space before the first text: decided on the whole text, before added tokens are cut out of it. */
static hone_code prefix_once(builder *b, hone_ov_pieces *p, hone_err *err)
{
    size_t             n = 0;
    const hone_token **list = added_tokens(b, &n);
    hone_text          pattern = { 0 };
    hone_text_add(&pattern, "^(?![ " SPACE "]|\\z");
    for (size_t i = 0; list && i < n; i++) {
        hone_text_add(&pattern, list[i]->lstrip ? "|\\s*" : "|");
        hone_ov_quote(&pattern, list[i]->text, list[i]->len);
    }
    hone_text_add(&pattern, ")");
    if (list && !pattern.failed) hone_ov_replace(b->ir, p, pattern.ptr, SPACE, false);
    hone_code code = list && !pattern.failed ? HONE_OK : HONE_NOMEM(err, "the added tokens");
    hone_text_release(&pattern);
    return code;
}

static void sentencepiece_spaces(builder *b, hone_ov_pieces *p)
{
    const hone_tokenizer *t = b->t;
    if (t->charsmap_len) charsmap(b, p, "", false);
    if (t->remove_extra_whitespaces && t->keeps_end_space) hone_ov_replace(b->ir, p, " {2,}", " ", true);
    else if (t->remove_extra_whitespaces) {
        hone_ov_replace(b->ir, p, "(?|^\\s+()|\\s+\\z())", "$1", true);
        hone_ov_replace(b->ir, p, "\\s+", " ", true);
    }
    if (t->add_space_prefix && !t->prefix_once) hone_ov_replace(b->ir, p, t->prefix_not_double ? "^([^ " SPACE "])" : "^([\\s\\S])", SPACE "$1", false);
    hone_ov_replace(b->ir, p, " ", SPACE, true);
}

/* Empty matches end a layer's search, so the one rule that has them is said in another way: a digit group ends where a whole number
 * of three-digit groups is left. */
static const char THOUSANDS[] = "(?=(\\d{3})+(?!\\d))", THOUSANDS_OV[] = "\\d{1,3}(?=(?:\\d{3})*(?!\\d))";

static hone_code split_words(builder *b, hone_ov_pieces *p, hone_err *err)
{
    const hone_hf_pretokenizer *rule = b->t->pre ? hone_hf_pretokenizer_named(b->t->pre) : NULL;
    if (!rule)
        return HONE_FAIL(err, HONE_EUNSUPPORTED, "add the rule to src/formats/hf/pretokenizers.def", "how pre-tokenizer '%s' splits text is not known",
                         b->t->pre ? b->t->pre : "");
    for (const char *line = rule->definition; *line;) {
        size_t n = strcspn(line, "\n");
        if (n == 4 && memcmp(line, "gpt2", n) == 0) hone_ov_split(b->ir, p, HONE_HF_GPT2_RULE, strlen(HONE_HF_GPT2_RULE), "isolate");
        else if (n == 6 && memcmp(line, "digits", n) == 0) hone_ov_split(b->ir, p, "\\p{N}", 5, "isolate");
        else if (n == 7 && memcmp(line, "numbers", n) == 0) hone_ov_split(b->ir, p, "\\p{N}+", 6, "isolate");
        else if (n == 6 + strlen(THOUSANDS) && memcmp(line + 6, THOUSANDS, strlen(THOUSANDS)) == 0)
            hone_ov_split(b->ir, p, THOUSANDS_OV, strlen(THOUSANDS_OV), "isolate");
        else hone_ov_split(b->ir, p, line + 6, n - 6, "isolate"); /* "split REGEX" */
        line += n + (line[n] == '\n');
    }
    if (b->vocab.words) hone_ov_replace(b->ir, p, b->vocab.words, HONE_OV_WHOLE "$1", false);
    return HONE_OK;
}

/* Source: tokenizers src/normalizers/bert.rs and src/pre_tokenizers/bert.rs: ASCII marks and symbols, all other punctuation, Chinese
 * characters each alone.  */
#define CHINESE "\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{20000}-\\x{2A6DF}\\x{2A700}-\\x{2B73F}\\x{2B740}-\\x{2B81F}\\x{2B920}-\\x{2CEAF}\\x{F900}-\\x{FAFF}\\x{2F800}-\\x{2FA1F}"
#define MARKS   "!-\\/:-@\\[-`{-~\\p{P}"
#define UNKNOWN_CHARACTER "\xf3\xbf\xbf\xbd" /* U+FFFFD, of private use: normalising took such characters out of the text */

static hone_code bert_words(builder *b, hone_ov_pieces *p, hone_err *err)
{
    const hone_tokenizer *t = b->t;
    bool strip = t->strip_accents == 1 || (t->strip_accents < 0 && t->lowercase == 1), lower = t->lowercase == 1;
    hone_ov_replace(b->ir, p, "([^\\P{Cc}\\t\\n\\r]|\\p{Cf}|\\p{Co}|\\x{FFFD})()", "$2", true);
    hone_ov_replace(b->ir, p, "\\s", " ", true);
    hone_ov_replace(b->ir, p, "([" CHINESE "])", " $1 ", true);
    if (strip || lower) charsmap(b, p, strip ? "nfd" : "identity", lower);
    if (strip) hone_ov_replace(b->ir, p, "\\p{Mn}()", "$1", true);
    if (t->max_word) { /* one character without a token stands for a word that is too long: both become unk */
        char *pattern = hone_arena_printf(b->a, "[^\\s" MARKS "]{%u,}", t->max_word < 65535 ? t->max_word + 1 : 65535);
        if (!pattern) return HONE_NOMEM(err, "a pattern");
        hone_ov_replace(b->ir, p, pattern, UNKNOWN_CHARACTER, true);
    }
    hone_ov_split(b->ir, p, "\\s+", 3, "remove");
    hone_ov_split(b->ir, p, "[" MARKS "]", strlen("[" MARKS "]"), "isolate");
    return HONE_OK;
}

/* ---- the model ----------------------------------------------------------------------------------------------------- */

/* A layer that turns pieces into ids: begins, ends, elements of ragged rows. */
static void tokens_of(builder *b, const char *type, const hone_ov_attr *attrs, size_t n_attrs, const hone_ov_pieces *p, const hone_ov_port *more, size_t n_more,
                      hone_ov_port *out)
{
    hone_ov_port        in[20] = { p->row_begins, p->row_ends, p->begins, p->ends, p->chars };
    const hone_ov_shape shapes[] = { hone_ov_vec_i32, hone_ov_vec_i32, hone_ov_vec_i32 };
    for (size_t i = 0; i < n_more; i++) in[5 + i] = more[i];
    uint32_t l = hone_ov_add(b->ir, &(hone_ov_layer){ .type = type, .version = "extension", .attrs = attrs, .n_attrs = n_attrs, .in = in, .n_in = 5 + n_more,
                                                      .out = shapes, .n_out = 3 });
    for (uint32_t i = 0; i < 3; i++) out[i] = (hone_ov_port){ l, i };
}

static hone_code bpe(builder *b, const hone_ov_pieces *p, hone_ov_port *out, hone_err *err)
{
    const hone_tokenizer *t = b->t;
    const hone_ov_vocab  *v = &b->vocab;
    hone_ov_port          more[13];
    size_t                n = 9;
    HONE_TRY(hone_ov_strings(b->ir, b->a, v->encode, v->n, &more[0], err));
    HONE_TRY(hone_ov_strings(b->ir, b->a, v->left, v->n_merges, &more[3], err));
    HONE_TRY(hone_ov_strings(b->ir, b->a, v->right, v->n_merges, &more[6], err));
    if (v->n_alias) { /* the layer knows them as added tokens */
        HONE_TRY(hone_ov_strings(b->ir, b->a, v->alias, v->n_alias, &more[9], err));
        more[12] = hone_ov_i32(b->ir, v->alias_ids, v->n_alias);
        n = 13;
    }
    size_t cache = t->n_tokens / 5 > 20000 ? t->n_tokens / 5 : 20000; /* words, as convert_tokenizer sizes it */
    char  *cache_text = hone_arena_printf(b->a, "%zu", cache);
    char  *unk = t->unk >= 0 && hone_ov_is_added(&t->tokens[t->unk]) ? hone_arena_strndup(b->a, t->tokens[t->unk].text, t->tokens[t->unk].len)
                                                                     : hone_arena_strdup(b->a, "");
    if (!cache_text || !unk) return HONE_NOMEM(err, "the vocabulary");
    /* Bytes are tokens of the vocabulary here (vocab.c), so the layer need not fall back to them. */
    const hone_ov_attr attrs[] = { { "unk_token", unk }, { "fuse_unk", t->escape_whitespaces ? "true" : "false" }, { "suffix_indicator", "" },
                                   { "end_suffix", "" }, { "byte_fallback", "false" }, { "cache_capacity", cache_text } };
    tokens_of(b, "BPETokenizer", attrs, HONE_COUNT(attrs), p, more, n, out);
    return HONE_OK;
}

static hone_code unigram(builder *b, const hone_ov_pieces *p, hone_ov_port *out, hone_err *err)
{
    const hone_tokenizer *t = b->t;
    hone_ov_port          more[4];
    float                *scores = HONE_ARENA_NEW(b->a, float, t->n_tokens);
    char                 *unk = hone_arena_printf(b->a, "%lld", (long long)t->unk);
    float                 least = 0;
    if (!scores || !unk) return HONE_NOMEM(err, "the scores");
    for (size_t i = 0; i < t->n_tokens; i++)
        if (t->tokens[i].type == HONE_TOKEN_NORMAL && t->tokens[i].score < least) least = t->tokens[i].score;
    for (size_t i = 0; i < t->n_tokens; i++) { /* an added token is a piece by itself and wins there; a byte costs what an unknown character costs */
        const hone_token *k = &t->tokens[i];
        scores[i] = k->type == HONE_TOKEN_NORMAL ? k->score : k->type == HONE_TOKEN_BYTE ? least - 10.0f : hone_ov_is_added(k) ? 0.0f : least;
    }
    HONE_TRY(hone_ov_strings(b->ir, b->a, b->vocab.encode, b->vocab.n, more, err));
    more[3] = hone_ov_const(b->ir, NULL, &(hone_ov_shape){ HONE_OV_F32, 1, { (int64_t)t->n_tokens }, NULL }, scores, t->n_tokens * sizeof *scores);
    const hone_ov_attr attrs[] = { { "byte_fallback", "false" }, { "unk_token_id", unk }, { "fuse_unk", "true" } };
    tokens_of(b, "UnigramTokenizer", attrs, HONE_COUNT(attrs), p, more, HONE_COUNT(more), out);
    return HONE_OK;
}

static hone_code wordpiece(builder *b, const hone_ov_pieces *p, hone_ov_port *out, hone_err *err)
{
    hone_ov_port more[4];
    if (b->t->unk < 0) return HONE_FAIL(err, HONE_EUNSUPPORTED, "add the unk_token to the vocabulary, or convert to gguf, onnx or mlx", "the WordPiece vocabulary has no unknown token");
    HONE_TRY(hone_ov_strings(b->ir, b->a, b->vocab.encode, b->vocab.n, more, err));
    more[3] = hone_ov_scalar_i32(b->ir, (int32_t)b->t->unk);
    const hone_ov_attr attrs[] = { { "suffix_indicator", "##" }, { "max_bytes_per_word", "2147483647" } }; /* see bert_words */
    tokens_of(b, "WordpieceTokenizer", attrs, HONE_COUNT(attrs), p, more, HONE_COUNT(more), out);
    return HONE_OK;
}

/* ---- around the ids ------------------------------------------------------------------------------------------------ */

static void truncate_rows(builder *b, size_t n_added, hone_ov_port *rows)
{
    const hone_tokenizer *t = b->t;
    const hone_ov_attr    variable[] = { { "variable_id", "truncation" }, { "variable_type", "dynamic" }, { "variable_shape", "..." } };
    const char            no = 0;
    uint32_t              max = t->max_length ? t->max_length : b->f->context;
    int32_t               limit = max > n_added && max < INT32_MAX ? (int32_t)(max - n_added) : (int32_t)(INT32_MAX - n_added);
    hone_ov_port          off = hone_ov_const(b->ir, NULL, &hone_ov_one_bool, &no, 1);
    uint32_t read = hone_ov_add(b->ir, &(hone_ov_layer){ .type = "ReadValue", .version = "opset6", .attrs = variable, .n_attrs = 3, .in = &off, .n_in = 1,
                                                         .out = &hone_ov_one_bool, .n_out = 1 });
    hone_ov_port on = { read, 0 };
    hone_ov_add(b->ir, &(hone_ov_layer){ .type = "Assign", .version = "opset6", .attrs = variable, .n_attrs = 1, .in = &on, .n_in = 1 });
    /* Off: the largest limit that survives the way through the layer (openvino_tokenizers tokenizer_pipeline.py TruncationStep). */
    hone_ov_port max_length = hone_ov_op(b->ir, NULL, "Select", "opset1", (hone_ov_port[]){ on, hone_ov_scalar_i32(b->ir, limit), hone_ov_scalar_i32(b->ir, INT32_MAX - 64) },
                                         3, &hone_ov_one_i32, "auto_broadcast", "numpy", NULL);
    const char         *side = b->f->kind == HONE_KIND_DECODER ? "left" : "right";
    hone_ov_port        in[] = { rows[0], rows[1], rows[2], max_length, hone_ov_string(b->ir, side, strlen(side)), hone_ov_string(b->ir, "longest_first", 13) };
    const hone_ov_attr  one[] = { { "m_num_inputs", "1" } };
    const hone_ov_shape out[] = { hone_ov_vec_i32, hone_ov_vec_i32, hone_ov_vec_i32 };
    uint32_t l = hone_ov_add(b->ir, &(hone_ov_layer){ .type = "Truncate", .version = "extension", .attrs = one, .n_attrs = 1, .in = in, .n_in = HONE_COUNT(in), .out = out, .n_out = 3 });
    for (uint32_t i = 0; i < 3; i++) rows[i] = (hone_ov_port){ l, i };
}

/* One token before or behind the text. */
static void one_token(builder *b, int64_t id, hone_ov_port *in)
{
    const int32_t v = (int32_t)id;
    in[0] = hone_ov_scalar_i32(b->ir, 0);
    in[1] = hone_ov_scalar_i32(b->ir, 1);
    in[2] = hone_ov_i32(b->ir, &v, 1);
}

/* rows[0..2] ids, rows[3..5] segment numbers. */
static void combine(builder *b, hone_ov_port *rows)
{
    const hone_tokenizer *t = b->t;
    const int32_t         zero[3] = { 0 };
    hone_ov_port          in[10];
    size_t                n = 0;
    if (t->add_bos) one_token(b, t->bos, &in[n]), n += 3;
    for (size_t i = 0; i < 3; i++) in[n++] = rows[i];
    if (t->add_eos) one_token(b, t->eos, &in[n]), n += 3;
    in[n] = hone_ov_i32(b->ir, zero, n / 3);
    const hone_ov_shape out[] = { hone_ov_vec_i32, hone_ov_vec_i32, hone_ov_vec_i32, hone_ov_vec_i32, hone_ov_vec_i32, hone_ov_vec_i32 };
    uint32_t l = hone_ov_add(b->ir, &(hone_ov_layer){ .type = "CombineSegments", .version = "extension", .in = in, .n_in = n + 1, .out = out, .n_out = 6 });
    for (uint32_t i = 0; i < 6; i++) rows[i] = (hone_ov_port){ l, i };
}

/* Rows as a matrix as wide as the longest, and which elements are real. */
static void dense(builder *b, const hone_ov_port *rows, hone_ov_port width, int32_t fill, hone_ov_port *matrix, hone_ov_port *mask)
{
    const hone_ov_shape out[] = { { HONE_OV_I32, 2, { HONE_OV_DYN, HONE_OV_DYN }, NULL }, { HONE_OV_BOOL, 2, { HONE_OV_DYN, HONE_OV_DYN }, NULL } };
    const hone_ov_attr  attrs[] = { { "pad_right", b->f->kind == HONE_KIND_DECODER ? "false" : "true" }, { "m_pad_max_length", "false" } };
    const hone_ov_port  in[] = { rows[0], rows[1], rows[2], width, hone_ov_scalar_i32(b->ir, fill) };
    uint32_t l = hone_ov_add(b->ir, &(hone_ov_layer){ .type = "RaggedToDense", .version = "extension", .attrs = attrs, .n_attrs = 2, .in = in, .n_in = 5, .out = out, .n_out = 2 });
    *matrix = (hone_ov_port){ l, 0 };
    *mask = (hone_ov_port){ l, 1 };
}

static void result(builder *b, const char *name, hone_ov_port p)
{
    const hone_ov_shape out = { HONE_OV_I64, 2, { HONE_OV_DYN, HONE_OV_DYN }, name };
    (void)hone_ov_result(b->ir, NULL, hone_ov_op(b->ir, name, "Convert", "opset1", &p, 1, &out, "destination_type", "i64", NULL));
}

static void results(builder *b, const hone_ov_port *rows)
{
    const hone_ov_shape matrix = { HONE_OV_I32, 2, { HONE_OV_DYN, HONE_OV_DYN }, NULL };
    hone_ov_port ids, mask, types, unused;
    hone_ov_port lengths = hone_ov_op(b->ir, NULL, "Subtract", "opset1", (hone_ov_port[]){ rows[1], rows[0] }, 2, &hone_ov_vec_i32, "auto_broadcast", "numpy", NULL);
    hone_ov_port width = hone_ov_op(b->ir, NULL, "ReduceMax", "opset1", (hone_ov_port[]){ lengths, hone_ov_scalar_i32(b->ir, 0) }, 2, &hone_ov_one_i32, "keep_dims", "false", NULL);
    dense(b, rows, width, b->t->pad >= 0 ? (int32_t)b->t->pad : 0, &ids, &mask);
    result(b, "input_ids", ids);
    if (b->t->kind == HONE_TOK_WORDPIECE) {
        dense(b, rows + 3, width, 0, &types, &unused);
        result(b, "token_type_ids", types);
    }
    result(b, "attention_mask", hone_ov_op(b->ir, NULL, "Convert", "opset1", &mask, 1, &matrix, "destination_type", "i32", NULL));
}

/* ---- what programs ask the model for ------------------------------------------------------------------------------- */

/* {"ids": [bos, -1, eos], "type_ids": [...]}: what is put around one text and around two; -1 and -2 are the texts. */
static void add_template(const hone_tokenizer *t, hone_text *out, bool pair)
{
    hone_text types = { 0 };
    int       second = t->kind == HONE_TOK_WORDPIECE || (!t->add_sep && (t->add_bos || t->add_eos)) ? 1 : 0;
    hone_text_addf(out, "\"%s\": {\"ids\": [", pair ? "pair" : "single");
    if (t->add_bos) hone_text_addf(out, "%lld, ", (long long)t->bos), hone_text_add(&types, "0, ");
    hone_text_add(out, "-1");
    hone_text_add(&types, "0");
    if (t->add_eos) hone_text_addf(out, ", %lld", (long long)t->eos), hone_text_add(&types, ", 0");
    if (pair) {
        if (t->add_sep && t->sep >= 0) hone_text_addf(out, ", %lld", (long long)t->sep), hone_text_addf(&types, ", %d", second);
        else if (t->add_bos && t->kind != HONE_TOK_WORDPIECE) hone_text_addf(out, ", %lld", (long long)t->bos), hone_text_addf(&types, ", %d", second);
        hone_text_add(out, ", -2");
        hone_text_addf(&types, ", %d", second);
        if (t->add_eos) hone_text_addf(out, ", %lld", (long long)t->eos), hone_text_addf(&types, ", %d", second);
    }
    hone_text_addf(out, "], \"type_ids\": [%s]}", types.ptr ? types.ptr : "");
    out->failed = out->failed || types.failed;
    hone_text_release(&types);
}

static void inform_id(hone_ov_ir *ir, const char *key, int64_t id)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)id);
    if (id >= 0) hone_ov_info(ir, key, text);
}

static hone_code inform(const hone_tokenizer *t, hone_arena *a, hone_ov_ir *ir, hone_err *err)
{
    const char *chat = t->n_templates ? hone_ov_chat_template(a, t->templates[0].text) : "";
    if (!chat) return HONE_NOMEM(err, "the chat template");
    if (t->kind != HONE_TOK_WORDPIECE) { /* its [CLS] and [SEP] are no beginning and end of a text that is generated */
        inform_id(ir, "bos_token_id", t->bos);
        inform_id(ir, "eos_token_id", t->eos);
    }
    inform_id(ir, "pad_token_id", t->pad);
    if (t->n_templates && hone_ov_spells(chat)) hone_ov_info(ir, "chat_template", chat);
    hone_ov_info(ir, "openvino_tokenizers_version", HONE_OV_TOKENIZERS_VERSION);
    hone_text around = { 0 };
    hone_text_add(&around, "{");
    add_template(t, &around, false);
    hone_text_add(&around, ", ");
    add_template(t, &around, true);
    hone_text_add(&around, "}");
    if (!around.failed) hone_ov_info(ir, "processed_post_processor_template", around.ptr);
    hone_code code = around.failed ? HONE_NOMEM(err, "the post-processor") : HONE_OK;
    hone_text_release(&around);
    return code;
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

static hone_code build(builder *b, hone_err *err)
{
    const hone_tokenizer *t = b->t;
    const hone_ov_shape   strings = { HONE_OV_STRING, 1, { HONE_OV_DYN }, "string_input" };
    const hone_ov_shape   unpacked[] = { hone_ov_vec_i32, hone_ov_vec_i32, hone_ov_vec_u8 };
    hone_ov_port          text = hone_ov_parameter(b->ir, "string_input", &strings), rows[6];
    uint32_t       l = hone_ov_add(b->ir, &(hone_ov_layer){ .type = "StringTensorUnpack", .version = "opset15", .in = &text, .n_in = 1, .out = unpacked, .n_out = 3 });
    hone_ov_pieces p = { .begins = { l, 0 }, .ends = { l, 1 }, .chars = { l, 2 } };
    if (t->escape_whitespaces && t->add_space_prefix && t->prefix_once) HONE_TRY(prefix_once(b, &p, err));
    hone_ov_add_rows(b->ir, &p);
    HONE_TRY(find_added(b, &p, err));
    if (t->nfc) charsmap(b, &p, "nfc", false);
    if (t->escape_whitespaces) sentencepiece_spaces(b, &p);
    switch (t->kind) {
    case HONE_TOK_BPE:
        if (!t->escape_whitespaces) HONE_TRY(split_words(b, &p, err));
        HONE_TRY(bpe(b, &p, rows, err));
        break;
    case HONE_TOK_SPM: HONE_TRY(bpe(b, &p, rows, err)); break;
    case HONE_TOK_UNIGRAM: HONE_TRY(unigram(b, &p, rows, err)); break;
    case HONE_TOK_WORDPIECE:
        HONE_TRY(bert_words(b, &p, err));
        HONE_TRY(wordpiece(b, &p, rows, err));
        break;
    case HONE_TOK_NONE: return HONE_FAIL(err, HONE_EUNSUPPORTED, "put tokenizer.json beside the model", "there is no tokenizer to write");
    }
    truncate_rows(b, (size_t)t->add_bos + (size_t)t->add_eos, rows);
    combine(b, rows);
    results(b, rows);
    return inform(t, b->a, b->ir, err);
}

hone_code hone_ov_tokenizer(const hone_tokenizer *t, const hone_facts *f, hone_arena *a, hone_ov_tokenizer_files *out, hone_err *err)
{
    builder                 b = { .t = t, .f = f, .a = a, .ir = hone_ov_new(a, "tokenizer") };
    hone_ov_ir             *back = NULL;
    hone_ov_tokenizer_files files = { .no_chat = t->n_templates && !hone_ov_spells(t->templates[0].text) };
    uint64_t                total;
    if (!b.ir) return HONE_NOMEM(err, "the tokenizer");
    if (t->kind != HONE_TOK_NONE) HONE_TRY(hone_ov_vocab_make(t, a, &b.vocab, err));
    HONE_TRY(build(&b, err));
    HONE_TRY(hone_ov_detokenizer(t, &b.vocab, a, &back, err));
    HONE_TRY(inform(t, a, back, err));
    HONE_TRY(hone_ov_finish(b.ir, &files.tokenizer_xml, &files.tokenizer_bin, &total, err));
    HONE_TRY(hone_ov_finish(back, &files.detokenizer_xml, &files.detokenizer_bin, &total, err));
    *out = files;
    return HONE_OK;
}
