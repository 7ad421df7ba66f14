/* gguf_layout.h - rewrite a model's weights into the form llama.cpp computes with.
 * Source: conversion/<family>.py (modify_tensors, generate_extra_tensors) and src/models/<arch>.cpp of the pinned llama.cpp. */
#ifndef HONE_PASSES_GGUF_LAYOUT_H
#define HONE_PASSES_GGUF_LAYOUT_H
#include "ir/model.h"

/* HONE_OK when llama.cpp can run a model with these facts; else HONE_EUNSUPPORTED naming the fact and what llama.cpp does instead. */
hone_code hone_gguf_can(const hone_facts *f, hone_err *err);

/* The weights as GGUF tensors, in the arena: globals (computed ones first, as the converter writes them), then layer by layer in role order.
 *   q and k rows in neighbour order where llama.cpp rotates neighbours; norms plus one (Gemma); the query scale folded where llama.cpp has its
 *   own (gguf_layout.c); rope divisors and factors as constants; a tied head written twice where the loader insists; BERT's pooler left out.
 * Weights are copies: m is not changed.  Calls hone_gguf_can first. */
hone_code hone_gguf_rewrite(const hone_model *m, hone_arena *a, hone_weight **out, size_t *n, hone_err *err);

/* Undoes it for a model whose source is a GGUF file, in place: q and k rows in the order of checkpoints, norms without the one.  (The query's
 * scale cannot be told apart from the weights; the facts of such a model say the built-in one.) */
hone_code hone_gguf_restore(hone_model *m, hone_err *err);

/* The norms of a source that holds them plus one (Gemma): the weights say minus one. */
void hone_norms_without_one(hone_model *m);

/* The divisors of llama3 scaling, [dim / 2], as rope_freqs.weight holds them. */
void hone_gguf_llama3_divisors(const hone_rope *r, float *out);

/* What the query is multiplied with so that llama.cpp's built-in scale becomes the model's; 1 when it already is. */
double hone_gguf_query_scale(const hone_facts *f);
#endif
