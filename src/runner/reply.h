/* reply.h - what the parent makes of the frames that answer one request.  The child is not trusted: every number is checked
 * against what was asked.  Knows no socket, so that a fuzzer can play the child. */
#ifndef HONE_RUNNER_REPLY_H
#define HONE_RUNNER_REPLY_H
#include "runner/protocol.h"
#include "runner/runner.h"

typedef struct hone_reply { /* what one request expects; the fields its op needs are set by the asker */
    hone_msg    op;
    uint64_t    id;
    hone_arena *arena;   /* TOKENIZE, DETOKENIZE, RENDER: where the answer goes */
    size_t      n;       /* ids in the request */
    size_t      row_len; /* FORWARD: values per row; LAYERS: per token */
    void (*row)(void *user, size_t index, const float *values, size_t n_values);
    void (*sink)(void *user, const char *name, const float *sum_sq, size_t n_mats, size_t n_cols, const uint64_t *counts);
    void (*layer)(void *user, uint32_t layer, const float *values, size_t n, size_t n_embd);
    void (*rows)(void *user, size_t name, const float *rows, size_t n_rows, size_t n_cols, size_t n_mats, const uint32_t *mats); /* INPUTS */
    size_t n_names; /* INPUTS */
    void (*value)(void *user, const hone_backend_value *value); /* INFER */
    void          *user;  /* of row, sink, layer, rows and value */
    hone_generate *gen;   /* GENERATE */
    float         *nll;   /* NLL: [n-1] */
    char          *version, *devices; /* PROBE */
    size_t         version_cap, devices_cap;

    /* filled */
    bool              done; /* the answer is complete; else more frames must come */
    bool              said; /* the child answered FAIL: its own words, not a broken protocol */
    double            ms;   /* OPEN, FORWARD */
    hone_backend_info info; /* OPEN */
    int32_t          *ids;  /* TOKENIZE: [n_ids] */
    size_t            n_ids;
    char             *text; /* DETOKENIZE, RENDER: NUL-terminated */
    size_t            text_len;
    double            user_s, sys_s; /* USAGE */
    size_t            next_row;      /* FORWARD, LAYERS: rows come in order */
    uint32_t          next_layer;    /* LAYERS: so do they */
    hone_backend_value now;          /* INFER: the value that comes; .bytes 0 and .name NULL: none */
    char              now_name[HONE_VALUE_NAME_MAX];
    size_t            now_have;      /* bytes of it that are here */
    hone_signature    signature;     /* SIGNATURE: in the arena */
    float            *scratch;       /* owned: hone_reply_release */
    size_t            scratch_len;
} hone_reply;

/* Takes one frame.  An error with r->said is the child's answer (its code and reason); any other error means that the child does
 * not keep the protocol (HONE_ERUNTIME) or that memory is gone, and the child is of no further use. */
hone_code hone_reply_take(hone_reply *r, const hone_frame *f, hone_err *err);
void      hone_reply_release(hone_reply *r);
#endif
