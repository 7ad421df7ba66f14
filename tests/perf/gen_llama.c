/* gen_llama.c - writes a Llama checkpoint with random bf16 weights, for `make bench`.
 * Usage: gen_llama OUT-FOLDER LAYERS [160m|1b|7b]      (160m with 5 layers: 0.1 G parameters, 0.2 GB; 1b, which is meant when nothing is
 * said, with 22: 1.1 G, 2.2 GB; 7b with 32: 6.7 G, 13.5 GB)
 * Writes config.json and model.safetensors, or shards of at most 5 GB with their index; the caller puts a tokenizer beside them.  The same
 * bytes on every run.  Shapes: config.json of JackFram/llama-160m,
 * TinyLlama/TinyLlama-1.1B and meta-llama/Llama-2-7b.  Layout: safetensors README, "Format". */
#include "base/bytes.h"
#include "base/err.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK       65536u
#define SHARD_BYTES 5000000000u

typedef struct shape { const char *name; unsigned hidden, ffn, vocab, heads, kv_heads; } shape;
static const shape shapes[] = { { "160m", 768, 3072, 32000, 12, 12 }, { "1b", 2048, 5632, 32000, 32, 4 }, { "7b", 4096, 11008, 32000, 32, 32 } };

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

static tensor *list_tensors(const shape *s, unsigned long layers, size_t *n)
{
    unsigned head_dim = s->hidden / s->heads;
    tensor  *list = calloc(3 + 9 * layers, sizeof *list);
    if (!list) die("memory");
    *n = 0;
    add(list, n, s->vocab, s->hidden, "model.embed_tokens.weight");
    for (unsigned long l = 0; l < layers; l++) {
        add(list, n, 0, s->hidden, "model.layers.%lu.input_layernorm.weight", l);
        add(list, n, s->heads * head_dim, s->hidden, "model.layers.%lu.self_attn.q_proj.weight", l);
        add(list, n, s->kv_heads * head_dim, s->hidden, "model.layers.%lu.self_attn.k_proj.weight", l);
        add(list, n, s->kv_heads * head_dim, s->hidden, "model.layers.%lu.self_attn.v_proj.weight", l);
        add(list, n, s->hidden, s->heads * head_dim, "model.layers.%lu.self_attn.o_proj.weight", l);
        add(list, n, 0, s->hidden, "model.layers.%lu.post_attention_layernorm.weight", l);
        add(list, n, s->ffn, s->hidden, "model.layers.%lu.mlp.gate_proj.weight", l);
        add(list, n, s->ffn, s->hidden, "model.layers.%lu.mlp.up_proj.weight", l);
        add(list, n, s->hidden, s->ffn, "model.layers.%lu.mlp.down_proj.weight", l);
    }
    add(list, n, 0, s->hidden, "model.norm.weight");
    add(list, n, s->vocab, s->hidden, "lm_head.weight");
    return list;
}

/* Tensors first .. end of the list in one file; tensor i has seed i + 1 wherever it lies. */
static void write_shard(const char *dir, const char *name, const tensor *list, size_t first, size_t end)
{
    size_t   room = 128 + (end - first) * 256, len = 0;
    uint64_t off = 0;
    uint8_t  word[8];
    char    *head = malloc(room);
    if (!head) die("memory");
    len += (size_t)snprintf(head + len, room - len, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = first; i < end; i++) {
        const tensor *t = &list[i];
        uint64_t      to = off + 2 * elements(t);
        char          dims[64];
        if (t->rows) (void)snprintf(dims, sizeof dims, "%" PRIu64 ",%" PRIu64, t->rows, t->cols);
        else (void)snprintf(dims, sizeof dims, "%" PRIu64, t->cols);
        len += (size_t)snprintf(head + len, room - len, ",\"%s\":{\"dtype\":\"BF16\",\"shape\":[%s],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                                t->name, dims, off, to);
        off = to;
    }
    len += (size_t)snprintf(head + len, room - len, "}");
    while (len % 8) head[len++] = ' ';
    FILE *f = create(dir, name);
    hone_put_le64(word, len);
    if (fwrite(word, 1, 8, f) != 8 || fwrite(head, 1, len, f) != len) die(name);
    for (size_t i = first; i < end; i++) write_tensor(f, &list[i], i + 1);
    if (fclose(f) != 0) die(name);
    free(head);
}

/* Greedy: a shard ends before the tensor that would make it too long.  Returns the end of the shard that begins at first. */
static size_t shard_end(const tensor *list, size_t n, size_t first)
{
    uint64_t bytes = 0;
    size_t   i = first;
    while (i < n && (i == first || bytes + 2 * elements(&list[i]) <= SHARD_BYTES)) bytes += 2 * elements(&list[i++]);
    return i;
}

static void write_weights(const char *dir, const tensor *list, size_t n, uint64_t bytes)
{
    size_t shards = 0, at = 0;
    char   name[64];
    for (size_t i = 0; i < n; i = shard_end(list, n, i)) shards++;
    if (shards == 1) {
        write_shard(dir, "model.safetensors", list, 0, n);
        return;
    }
    FILE *index = create(dir, "model.safetensors.index.json");
    fprintf(index, "{\"metadata\":{\"total_size\":%" PRIu64 "},\"weight_map\":{", bytes);
    for (size_t k = 1; k <= shards; k++) {
        size_t end = shard_end(list, n, at);
        (void)snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", k, shards);
        write_shard(dir, name, list, at, end);
        for (; at < end; at++) fprintf(index, "%s\n\"%s\":\"%s\"", at ? "," : "", list[at].name, name);
    }
    fprintf(index, "}}\n");
    if (fclose(index) != 0) die("model.safetensors.index.json");
}

static void write_config(const char *dir, const shape *s, unsigned long layers)
{
    FILE *f = create(dir, "config.json");
    fprintf(f,
            "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",\n  \"hidden_size\": %u,\n"
            "  \"intermediate_size\": %u,\n  \"num_hidden_layers\": %lu,\n  \"num_attention_heads\": %u,\n"
            "  \"num_key_value_heads\": %u,\n  \"head_dim\": %u,\n  \"max_position_embeddings\": 2048,\n"
            "  \"rope_theta\": 10000.0,\n  \"rms_norm_eps\": 1e-05,\n  \"hidden_act\": \"silu\",\n"
            "  \"attention_bias\": false,\n  \"mlp_bias\": false,\n  \"tie_word_embeddings\": false,\n"
            "  \"vocab_size\": %u,\n  \"bos_token_id\": 1,\n  \"eos_token_id\": 0,\n  \"torch_dtype\": \"bfloat16\"\n}\n",
            s->hidden, s->ffn, layers, s->heads, s->kv_heads, s->hidden / s->heads, s->vocab);
    if (fclose(f) != 0) die("config.json");
}

int main(int argc, char **argv)
{
    const char  *name = argc == 4 ? argv[3] : "1b";
    const shape *s = shapes, *end = shapes + sizeof shapes / sizeof *shapes;
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: gen_llama OUT-FOLDER LAYERS [160m|1b|7b]\n");
        return 2;
    }
    unsigned long layers = strtoul(argv[2], NULL, 10);
    if (layers < 1 || layers > 100) {
        fprintf(stderr, "gen_llama: layers is '%s', must be 1..100\n", argv[2]);
        return 2;
    }
    while (s < end && strcmp(name, s->name) != 0) s++;
    if (s == end) {
        fprintf(stderr, "gen_llama: shape is '%s', must be 160m, 1b or 7b\n", name);
        return 2;
    }
    if (mkdir(argv[1], 0777) != 0 && errno != EEXIST) die(argv[1]);
    size_t   n;
    uint64_t parameters = 0;
    tensor  *list = list_tensors(s, layers, &n);
    for (size_t i = 0; i < n; i++) parameters += elements(&list[i]);
    write_weights(argv[1], list, n, 2 * parameters);
    write_config(argv[1], s, layers);
    printf("%" PRIu64 " parameters, %" PRIu64 " bytes\n", parameters, 2 * parameters);
    free(list);
    return 0;
}
