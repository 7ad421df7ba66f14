/* networks.h - what eval, check and bench do when they are given --data: networks that are no language models. */
#ifndef HONE_CLI_NETWORKS_H
#define HONE_CLI_NETWORKS_H
#include "cli/cli.h"
#include "measure/network.h"

#define HONE_OPT_DATA   { "data", 0, HONE_OPT_TEXT, "FILE", NULL, "of a network without tokens: its samples, .npy, .npz, .safetensors, an image or a folder of images; 'labels' in it are the right answers" }
#define HONE_OPT_IMAGES                                                                                                                                     \
    { "mean", 0, HONE_OPT_TEXT, "M", NULL, "of images: taken off each channel, numbers of 0..1, one or three: .485,.456,.406 (default 0)" },                \
    { "std", 0, HONE_OPT_TEXT, "S", NULL, "of images: what is left is divided by this (default 1)" },                                                       \
    { "layout", 0, HONE_OPT_TEXT, "L", "nchw|nhwc", "of images: where the channels stand (default: as the network says)" },                                 \
    { "size", 0, HONE_OPT_TEXT, "WxH", NULL, "of images: stretched to this (default: as the network says, else as the first image)" }

/* Reads --mean, --std, --layout and --size. */
hone_code hone_cli_images(hone_cli *c, hone_image_how *out, hone_err *err);
/* Each of the artefacts on --data; doc gets results[].  With a reference, one more row of what it costs to be another. */
hone_code hone_cli_networks_eval(hone_cli *c, const char *reference, json_t *doc, hone_err *err);
void      hone_cli_networks_eval_print(hone_cli *c, const json_t *doc);
hone_code hone_cli_networks_bench(hone_cli *c, json_t *doc, hone_err *err);
void      hone_cli_networks_bench_print(hone_cli *c, const json_t *doc);
/* True when a document is about networks. */
bool      hone_cli_networks_doc(const json_t *doc);
#endif
