/* model.h - an open model of the MLX plug-in: what weights.c fills and exec.c runs. */
#ifndef HONE_BACKENDS_MLX_MODEL_H
#define HONE_BACKENDS_MLX_MODEL_H
#include "backends/mlx/shim.h"
#include "formats/mlx/read.h"
#include "hone/backend.h"
#include "ir/graph.h"

struct hone_backend_model {
    hone_model       model;
    hone_graph       graph;
    hone_mx_session *s;
    hone_mx_matrix  *weights; /* [model.n_weights] kept, computed */
    hone_mx_type     type;    /* of activations */
    bool             gather;  /* a stack of experts can be multiplied at once */
    hone_mx         *periods; /* [2 * n_ropes] kept: short, long or 0, of each rope table */
    hone_mx         *cache;   /* [2 * n_caches] kept: k and v [1, kv_heads, n_room, head_dim] */
    uint32_t        *last_use; /* [n_nodes] the last node that reads this one */
    uint32_t         n_ctx, n_batch, n_past, n_room;
    bool             embeddings, hidden;
};

/* Every weight of the graph as MLX arrays, computed.  source: a view (formats/mlx.h) of safetensors files. */
hone_code hone_mlx_load(hone_backend_model *m, hone_err *err);

/* What one pass computes: n tokens at position n_past, or a whole text of an encoder. */
typedef struct hone_mlx_pass {
    const int32_t *ids;
    uint32_t       n;
    uint32_t       target;    /* the node to compute */
    const int32_t *rows;      /* [n_rows] of the n rows, those that are wanted behind the last layer; NULL: all */
    uint32_t       n_rows;
    hone_mx       *layers;    /* [n_layers] filled with the nodes of graph.layers, or NULL */
} hone_mlx_pass;

/* The target's array, recorded, not computed; 0 after a failure (hone_mx_failure).  Caches hold the n tokens when it has been computed;
 * n_past is for the caller to move.  Arrays live until hone_mx_sweep. */
hone_mx hone_mlx_run(hone_backend_model *m, const hone_mlx_pass *pass);
#endif
