/* gen_llama.c - writes a Llama checkpoint of the shape of TinyLlama-1.1B with random bf16 weights, for `make bench`.
 * Usage: gen_llama OUT-FOLDER LAYERS      (22 layers: 1.1 G parameters, 2.2 GB)
 * Writes model.safetensors and config.json; the caller puts a tokenizer beside them.  The same bytes on every run.
 * Shape: TinyLlama/TinyLlama-1.1B config.json.  Layout: safetensors README, "Format". */
#include "base/bytes.h"
#include "base/err.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { HIDDEN = 2048, FFN = 5632, VOCAB = 32000, HEADS = 32, KV_HEADS = 4, HEAD_DIM = HIDDEN / HEADS };
#define CHUNK 65536u

typedef struct tensor {
    char     name[96];
    uint64_t rows, cols; /* [rows, cols]; rows 0: a vector of cols */
} tensor;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "gen_llama: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* splitmix64 (Steele, Lea, Flood 2014): a counter through a mixer, so any tensor can be made on its own. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Sum of four uniform numbers: near enough to a normal distribution, with the deviation usual for fresh weights (0.02). */
static float weight(uint64_t counter)
{
    uint64_t r = mix(counter);
    uint32_t sum = (uint32_t)(r & 0xffff) + (uint32_t)((r >> 16) & 0xffff) + (uint32_t)((r >> 32) & 0xffff) +
                   (uint32_t)(r >> 48);
    return ((float)sum / 65536.0f - 2.0f) * (0.02f / 0.57735f);
}

static uint16_t bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1)) >> 16); /* to nearest, ties to even */
}

static uint64_t elements(const tensor *t) { return t->rows ? t->rows * t->cols : t->cols; }

static void write_tensor(FILE *f, const tensor *t, uint64_t seed)
{
    static uint8_t buf[2 * CHUNK];
    uint64_t       n = elements(t);
    for (uint64_t i = 0; i < n;) {
        size_t some = n - i < CHUNK ? (size_t)(n - i) : CHUNK;
        for (size_t k = 0; k < some; k++) {
            float w = weight((seed << 40) + i + k);
            hone_put_le16(buf + 2 * k, bf16(t->rows ? w : 1.0f + w));
        }
        if (fwrite(buf, 2, some, f) != some) die("model.safetensors");
        i += some;
    }
}

HONE_PRINTF(5, 6)
static void add(tensor *list, size_t *n, uint64_t rows, uint64_t cols, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(list[*n].name, sizeof list[*n].name, fmt, ap);
    va_end(ap);
    list[*n].rows = rows;
    list[*n].cols = cols;
    ++*n;
}

static FILE *create(const char *dir, const char *name)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f) die(path);
    return f;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: gen_llama OUT-FOLDER LAYERS\n");
        return 2;
    }
    const char   *dir = argv[1];
    unsigned long layers = strtoul(argv[2], NULL, 10);
    if (layers < 1 || layers > 100) {
        fprintf(stderr, "gen_llama: layers is '%s', must be 1..100\n", argv[2]);
        return 2;
    }
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) die(dir);

    tensor *list = calloc(3 + 9 * layers, sizeof *list);
    if (!list) die("memory");
    size_t n = 0;
    add(list, &n, VOCAB, HIDDEN, "model.embed_tokens.weight");
    for (unsigned long l = 0; l < layers; l++) {
        add(list, &n, 0, HIDDEN, "model.layers.%lu.input_layernorm.weight", l);
        add(list, &n, HEADS * HEAD_DIM, HIDDEN, "model.layers.%lu.self_attn.q_proj.weight", l);
        add(list, &n, KV_HEADS * HEAD_DIM, HIDDEN, "model.layers.%lu.self_attn.k_proj.weight", l);
        add(list, &n, KV_HEADS * HEAD_DIM, HIDDEN, "model.layers.%lu.self_attn.v_proj.weight", l);
        add(list, &n, HIDDEN, HEADS * HEAD_DIM, "model.layers.%lu.self_attn.o_proj.weight", l);
        add(list, &n, 0, HIDDEN, "model.layers.%lu.post_attention_layernorm.weight", l);
        add(list, &n, FFN, HIDDEN, "model.layers.%lu.mlp.gate_proj.weight", l);
        add(list, &n, FFN, HIDDEN, "model.layers.%lu.mlp.up_proj.weight", l);
        add(list, &n, HIDDEN, FFN, "model.layers.%lu.mlp.down_proj.weight", l);
    }
    add(list, &n, 0, HIDDEN, "model.norm.weight");
    add(list, &n, VOCAB, HIDDEN, "lm_head.weight");

    size_t room = 128 + n * 256, len = 0;
    char  *head = malloc(room);
    if (!head) die("memory");
    uint64_t off = 0, parameters = 0;
    len += (size_t)snprintf(head + len, room - len, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < n; i++) {
        const tensor *t = &list[i];
        uint64_t      end = off + 2 * elements(t);
        char          shape[64];
        if (t->rows) (void)snprintf(shape, sizeof shape, "%" PRIu64 ",%" PRIu64, t->rows, t->cols);
        else (void)snprintf(shape, sizeof shape, "%" PRIu64, t->cols);
        len += (size_t)snprintf(head + len, room - len,
                                ",\"%s\":{\"dtype\":\"BF16\",\"shape\":[%s],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                                t->name, shape, off, end);
        off = end;
        parameters += elements(t);
    }
    len += (size_t)snprintf(head + len, room - len, "}");
    while (len % 8) head[len++] = ' ';

    uint8_t word[8];
    FILE   *f = create(dir, "model.safetensors");
    hone_put_le64(word, len);
    if (fwrite(word, 1, 8, f) != 8 || fwrite(head, 1, len, f) != len) die("model.safetensors");
    for (size_t i = 0; i < n; i++) write_tensor(f, &list[i], i + 1);
    if (fclose(f) != 0) die("model.safetensors");

    f = create(dir, "config.json");
    fprintf(f,
            "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",\n  \"hidden_size\": %d,\n"
            "  \"intermediate_size\": %d,\n  \"num_hidden_layers\": %lu,\n  \"num_attention_heads\": %d,\n"
            "  \"num_key_value_heads\": %d,\n  \"head_dim\": %d,\n  \"max_position_embeddings\": 2048,\n"
            "  \"rope_theta\": 10000.0,\n  \"rms_norm_eps\": 1e-05,\n  \"hidden_act\": \"silu\",\n"
            "  \"attention_bias\": false,\n  \"mlp_bias\": false,\n  \"tie_word_embeddings\": false,\n"
            "  \"vocab_size\": %d,\n  \"bos_token_id\": 1,\n  \"eos_token_id\": 0,\n  \"torch_dtype\": \"bfloat16\"\n}\n",
            HIDDEN, FFN, layers, HEADS, KV_HEADS, HEAD_DIM, VOCAB);
    if (fclose(f) != 0) die("config.json");
    printf("%" PRIu64 " parameters, %" PRIu64 " bytes\n", parameters, off);
    free(head);
    free(list);
    return 0;
}
