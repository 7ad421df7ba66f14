/* net_parts.h - what the files that read a net share: net_read.c walks the model and its graph; net_tensor.c reads constants, net_node.c nodes
 * and what their subgraphs take from outside. */
#ifndef HONE_FORMATS_ONNX_NET_PARTS_H
#define HONE_FORMATS_ONNX_NET_PARTS_H
#include "formats/onnx/net.h"
#include "formats/onnx/wire.h"
#include "ir/net/build.h"

#define HONE_NET_MAX_FILES 1024
#define HONE_NET_MAX_ITEMS (1u << 20) /* nodes, constants: far above any model, far below what would fill memory from a small file */

typedef struct hone_net_files { /* behind hone_net.self */
    hone_file   file[HONE_NET_MAX_FILES]; /* 0: the model */
    const char *name[HONE_NET_MAX_FILES];
    size_t      n;
} hone_net_files;

typedef struct hone_net_reader {
    hone_net       *net;
    hone_arena     *a;
    hone_net_files *files; /* NULL: read from memory */
    const char     *dir;
    hone_err       *err;
} hone_net_reader;

/* A TensorProto in w.  name: "" when it has none.  in_model: raw bytes that are not taken in lie in file 0. */
hone_code hone_net_read_tensor(hone_net_reader *r, hone_wire w, const char **name, hone_net_tensor *t);
/* A NodeProto; it is linked behind the last one, and its values are checked to be there. */
hone_code hone_net_read_node(hone_net_reader *r, hone_wire w);

/* Bytes gathered in pieces, in the arena: fields that are kept. */
typedef struct hone_net_gather { uint8_t *p; size_t n, cap; } hone_net_gather;
hone_code hone_net_keep(hone_net_reader *r, const hone_wire *w, const hone_wire_field *f, hone_net_gather *g);
static inline hone_bytes hone_net_gathered(const hone_net_gather *g) { return (hone_bytes){ g->p, g->n }; }
#endif
