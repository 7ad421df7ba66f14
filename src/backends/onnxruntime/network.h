/* network.h - any ONNX model in ONNX Runtime, by the names of its inputs and outputs; values inside it can be made outputs too. */
#ifndef HONE_BACKENDS_ONNXRUNTIME_NETWORK_H
#define HONE_BACKENDS_ONNXRUNTIME_NETWORK_H
#include "hone/backend.h"

typedef struct hone_ort_network hone_ort_network;

/* how->path: an .onnx file, or a folder with a model.onnx.  how->outputs: see backend.h; they are shown on the processor only.
 * 3: not there or damaged; 4: an operator, a type or a device that is not known. */
int  hone_ort_network_open(const hone_backend_open *how, hone_ort_network **out, hone_backend_info *info, hone_backend_error *e);
void hone_ort_network_close(hone_ort_network *n); /* NULL is fine */
/* The arrays live until close. */
void hone_ort_network_signature(const hone_ort_network *n, const hone_backend_port **in, size_t *n_in, const hone_backend_port **out, size_t *n_out);
/* hone_backend.infer.  3: an input that is missing, or not of the network's type or rank. */
int  hone_ort_network_infer(hone_ort_network *n, const hone_backend_value *in, size_t n_in, void (*sink)(void *user, const hone_backend_value *value),
                            void *user, hone_backend_error *e);
#endif
