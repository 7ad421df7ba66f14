/* net.h - what convert, assess and graph do when they are given an ONNX model that is no language model. */
#ifndef HONE_CLI_NET_H
#define HONE_CLI_NET_H
#include "cli/cli.h"
#include "cli/networks.h"

#define HONE_OPT_NET                                                                                                                                        \
    { "exclude", 0, HONE_OPT_LIST, "GLOB", NULL, "networks: nodes or operators that stay as they are: --exclude 'Gemm,head.*'" },                            \
    { "keep-io", 0, HONE_OPT_FLAG, NULL, NULL, "networks, f16: inputs and outputs become f16 too, without a Cast" },                                         \
    { "no-fold", 0, HONE_OPT_FLAG, NULL, NULL, "networks: BatchNormalization, Identity and Dropout stay" },                                                  \
    { "smooth-alpha", 0, HONE_OPT_REAL, "A", NULL, "networks, --method smooth: how much of a channel's size goes from the activations into the weights, 0 to 1 (default 0.5)" }, \
    HONE_OPT_STATIC, HONE_OPT_IMAGES

/* HONE_EUSAGE when an option is given that only networks have. */
hone_code hone_cli_net_only(const hone_cli *c, hone_err *err);
hone_code hone_cli_net_convert(hone_cli *c, json_t *doc, hone_err *err);
void      hone_cli_net_convert_print(hone_cli *c, const json_t *doc);
hone_code hone_cli_net_assess(hone_cli *c, json_t *doc, hone_err *err);
void      hone_cli_net_assess_print(hone_cli *c, const json_t *doc);
hone_code hone_cli_net_graph(hone_cli *c, json_t *doc, hone_err *err);
void      hone_cli_net_graph_print(hone_cli *c, const json_t *doc);
/* True when the document of convert, graph or assess is about a network. */
bool      hone_cli_net_doc(const json_t *doc);
#endif
