/* rules.h - short spellings for the rows of a family's table. */
#ifndef HONE_ARCH_RULES_H
#define HONE_ARCH_RULES_H
#include "arch/arch.h"

#define WEIGHT(name_, role_, shape_) { .name = name_, .role = HONE_R_##role_, .shape = shape_ }
#define BIAS(name_, role_, shape_)   { .name = name_, .role = HONE_R_##role_, .shape = shape_, .part = HONE_PART_BIAS }
#define HEAD(name_)                  { .name = name_, .role = HONE_R_OUTPUT, .shape = "[vocab, hidden]", .flags = HONE_RULE_UNLESS_TIED }
/* Stored [in, out], as GPT-2's Conv1D keeps it; the shape is the logical one. */
#define TURNED(name_, role_, shape_) \
    { .name = name_, .role = HONE_R_##role_, .shape = shape_, .flags = HONE_RULE_TRANSPOSED }
/* Piece number piece_ of pieces_ equal ones of a tensor that holds several weights. */
#define PIECE(name_, role_, shape_, piece_, pieces_) \
    { .name = name_, .role = HONE_R_##role_, .shape = shape_, .piece = piece_, .pieces = pieces_ }
/* A buffer that older versions saved: it follows from config.json. */
#define IGNORED(name_) { .name = name_, .role = HONE_R_IGNORED, .flags = HONE_RULE_OPTIONAL }

/* For .words: what hone_config_decoder reads in every family. */
#define HONE_WORDS_COMMON "vocab_size hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim intermediate_size " \
                          "max_position_embeddings tie_word_embeddings "
#define HONE_WORDS_ROPE   "rope_theta rope_scaling partial_rotary_factor "
#endif
