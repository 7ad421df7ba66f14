/* openvino.h - a model as OpenVINO IR v11, in the form optimum-intel exports and openvino-genai loads: the operator graph lowered to OpenVINO's
 * operations, weights compressed in the pattern that its plug-ins recognise.  Knows no family.
 * Source: optimum-intel optimum/exporters/openvino (stateful.py, convert.py, model_patcher.py); openvino.genai src/cpp/src/gguf_utils/building_blocks.cpp;
 * patterns: openvino src/common/transformations (RMSFusion, RoPEFusion, SDPAToPagedAttention), NNCF openvino_backend.py.  Format: docs/formats/openvino.md. */
#ifndef HONE_FORMATS_OPENVINO_H
#define HONE_FORMATS_OPENVINO_H
#include "base/json.h"
#include "formats/openvino/ir.h"
#include "ir/graph.h"
#include "quant/grouped.h"

typedef struct hone_ov_quant { /* what --quant can ask for */
    const char *name;
    uint32_t    bits;  /* 8 or 4: compressed weights; 0: not compressed ... */
    hone_dtype  dtype; /* ... but stored as this */
} hone_ov_quant;
extern const hone_ov_quant hone_ov_quants[];
extern const size_t        hone_ov_quant_count;
const hone_ov_quant       *hone_ov_quant_find(const char *name); /* NULL: there is no such encoding */

typedef enum hone_ov_use { HONE_OV_PLAIN /* norm, bias: never compressed */, HONE_OV_EMBEDDING = 1, HONE_OV_HEAD = 2, HONE_OV_MATRIX = 4 } hone_ov_use;

/* One weight of the output.  The list comes from hone_ov_slots; the caller names it and chooses its encoding; hone_ov_lower places it. */
typedef struct hone_ov_slot {
    hone_weight        weight;  /* in output form: a norm that is stored minus one has the one added */
    const hone_weight *source;  /* of the graph */
    bool               plus_one;
    unsigned           use;     /* hone_ov_use, or-ed: a tied embedding is the head too */
    const char        *name;    /* set by the caller; unique */
    hone_dtype         dtype;   /* set by the caller: F32 or F16, unless ... */
    hone_grouped       grouped; /* ... it is compressed (scheme NNCF) */
    bool               planned; /* the caller's: a plan chose it */
    uint32_t           n_streams;
    uint64_t           offset[HONE_STREAMS], bytes[HONE_STREAMS]; /* in the .bin, after hone_ov_lower */
} hone_ov_slot;

/* The weights that the graph reads, each once, in the order in which it first does.  *out in the arena. */
hone_code hone_ov_slots(const hone_graph *g, hone_arena *a, hone_ov_slot **out, size_t *n, hone_err *err);

typedef struct hone_ov_files {
    hone_bytes xml, bin; /* bin: what comes before the weights */
    uint64_t   bin_total;
} hone_ov_files;

/* Lowers the graph.  info: pairs of path and value for the net's rt_info, ending with NULL; may be NULL.
 * Decoder: inputs input_ids, attention_mask, position_ids i64 [?, ?], beam_idx i32 [?], keys and values as state, output logits.
 * Encoder: inputs input_ids, attention_mask, token_type_ids i64 [?, ?], output last_hidden_state; how it pools in rt_info.
 * HONE_EUNSUPPORTED: too many weights for 64 bits.  HONE_EBUG: the graph breaks its own promises. */
hone_code hone_ov_lower(const hone_graph *g, hone_ov_slot *slots, size_t n_slots, const char *const *info, hone_arena *a, hone_ov_files *out,
                        hone_err *err);

/* A weight as an IR file has it, read back by code that shares nothing with the writer (expat). */
typedef struct hone_ov_found {
    const char *name, *type, *shape; /* "u4", "64,8,32"; arena */
    uint64_t    offset, bytes;
} hone_ov_found;
/* Parses an IR file: well-formed, one <net version="11">, edges between layers that exist.  The constants, sorted by name, in the arena.
 * HONE_EINPUT names the line and what is wrong. */
hone_code hone_ov_read_consts(hone_bytes xml, hone_arena *a, hone_ov_found **out, size_t *n, hone_err *err);
const hone_ov_found *hone_ov_find_const(const hone_ov_found *consts, size_t n, const char *name);

/* Files beside the model that are copied as they are, and all that such a folder may hold. */
extern const char *const hone_ov_side_files[];
extern const size_t      hone_ov_side_file_count;
bool                     hone_ov_owns(const char *file);
#endif
