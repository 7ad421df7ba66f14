/* networks.h - what eval, check and bench do when they are given --data: networks that are no language models. */
#ifndef HONE_CLI_NETWORKS_H
#define HONE_CLI_NETWORKS_H
#include "cli/cli.h"
#include "flow/net/static.h"
#include "measure/network.h"

#define HONE_OPT_DATA   { "data", 0, HONE_OPT_TEXT, "FILE", NULL, "of a network without tokens: its samples, .npy, .npz, .safetensors, an image or a folder of images; 'labels' in it are the right answers" }
#define HONE_OPT_IMAGES                                                                                                                                     \
    { "mean", 0, HONE_OPT_TEXT, "M", NULL, "of images: taken off each channel, numbers of 0..1, one or three: .485,.456,.406 (default 0)" },                \
    { "std", 0, HONE_OPT_TEXT, "S", NULL, "of images: what is left is divided by this (default 1)" },                                                       \
    { "layout", 0, HONE_OPT_TEXT, "L", "nchw|nhwc", "of images: where the channels stand (default: as the network says)" },                                 \
    { "size", 0, HONE_OPT_TEXT, "WxH", NULL, "of images: stretched to this (default: as the network says, else as the first image)" }

/* Of static int8; --calibration and --exclude are rows of the command's own. */
#define HONE_OPT_STATIC                                                                                                                                     \
    { "calibrator", 0, HONE_OPT_TEXT, "C", "minmax|average|percentile|entropy|mse", "networks, int8: how ranges come from the samples (default minmax)" },   \
    { "percentile", 0, HONE_OPT_REAL, "P", NULL, "networks, int8: the share that stays inside with --calibrator percentile (default 0.9999)" },              \
    { "no-bias-correction", 0, HONE_OPT_FLAG, NULL, NULL, "networks, int8: biases stay as they are" },                                                       \
    { "per-tensor", 0, HONE_OPT_FLAG, NULL, NULL, "networks, int8: one scale for a whole weight, not one a channel" },                                       \
    { "activations", 0, HONE_OPT_TEXT, "A", "u8|u8-sym|s8|s8-sym", "networks, int8: codes of activations, sym with the zero in their middle (default u8)" }, \
    { "weight-bits", 0, HONE_OPT_COUNT, "N", NULL, "networks, int8: 7 for processors without VNNI, whose 8-bit products overflow in 16 bits (default 8)" },   \
    { "accuracy", 0, HONE_OPT_TEXT, "FILE", NULL, "networks, int8: labelled samples; layers go back to floats, the worst first, until --max-drop holds" },   \
    { "max-drop", 0, HONE_OPT_REAL, "D", NULL, "networks, int8: the share of right answers may fall by so much (default 0.01)" },                            \
    { "samples", 0, HONE_OPT_COUNT, "N", NULL, "networks, int8: use the first N samples of --calibration only" }

/* Reads them; calibration: --calibration's value; exclude: --exclude's.  All borrowed from c's arena. */
hone_code hone_cli_static(hone_cli *c, const char *calibration, const char *const *exclude, size_t n_exclude, hone_static_how *out, hone_err *err);

/* Reads --mean, --std, --layout and --size. */
hone_code hone_cli_images(hone_cli *c, hone_image_how *out, hone_err *err);
/* Each of the artefacts on --data; doc gets results[].  With a reference, one more row of what it costs to be another. */
/* The page of --html, when asked for; code: the verb's own answer, which is returned when nothing else goes wrong. */
hone_code hone_cli_networks_page(hone_cli *c, json_t *doc, hone_code code, hone_err *err);
hone_code hone_cli_networks_eval(hone_cli *c, const char *reference, json_t *doc, hone_err *err);
void      hone_cli_networks_eval_print(hone_cli *c, const json_t *doc);
hone_code hone_cli_networks_bench(hone_cli *c, json_t *doc, hone_err *err);
void      hone_cli_networks_bench_print(hone_cli *c, const json_t *doc);
/* hone optimize MODEL.onnx. */
hone_code hone_cli_networks_optimize(hone_cli *c, double gate_speed, double gate_memory, double gate_variation, json_t *doc, hone_err *err);
void      hone_cli_networks_optimize_print(hone_cli *c, const json_t *doc);
/* An ONNX model that is nobody's language model. */
bool      hone_cli_is_network(const char *path);
/* HONE_EUNSUPPORTED when the first argument is a network and the verb is for language models only; instead: what to do with one. */
hone_code hone_cli_networks_refuse(const hone_cli *c, const char *instead, hone_err *err);
/* HONE_EUSAGE when the first artefact is a network, which cannot be judged without --data. */
hone_code hone_cli_networks_need_data(const hone_cli *c, hone_err *err);
/* True when a document is about networks. */
bool      hone_cli_networks_doc(const json_t *doc);
#endif
