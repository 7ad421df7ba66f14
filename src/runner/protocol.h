/* protocol.h - framed messages between hone and a runtime's child process, over a stream socket.
 * Frame: u32 length of the payload, u32 type, u64 id of the request, payload.  All numbers are little-endian, floats IEEE 754, so
 * that the same bytes may cross machines.  Knows bytes; knows neither sockets nor runtimes.  Nothing read here is trusted. */
#ifndef HONE_RUNNER_PROTOCOL_H
#define HONE_RUNNER_PROTOCOL_H
#include "base/bytes.h"
#include "base/err.h"

#define HONE_PROTOCOL_VERSION 3u
#define HONE_FRAME_HEAD       16u
#define HONE_FRAME_MAX        (64u << 20) /* bytes of payload: a row of 16 M floats, a prompt of 64 MiB */

typedef enum hone_msg {
    /* Requests.  The child answers each with any number of events and then one DONE or FAIL of the same id. */
    HONE_MSG_PROBE = 1,      /* - */
    HONE_MSG_OPEN = 2,       /* how: see pack_how in runner.c */
    HONE_MSG_TOKENIZE = 3,   /* u8 add_special, u8 parse_special, bytes text */
    HONE_MSG_DETOKENIZE = 4, /* u8 remove_special, u8 unparse_special, ids */
    HONE_MSG_FORWARD = 5,    /* u32 pos, ids, bytes want (empty: all rows) */
    HONE_MSG_NLL = 6,        /* ids */
    HONE_MSG_REWIND = 7,     /* u32 pos */
    HONE_MSG_GENERATE = 8,   /* ids prompt, u32 max_new, u8 stop_at_eos */
    HONE_MSG_RENDER = 9,     /* bytes messages, bytes options (empty: none) */
    HONE_MSG_CAPTURE = 10,   /* ids */
    HONE_MSG_USAGE = 11,     /* - */
    HONE_MSG_LAYERS = 12,    /* ids */
    HONE_MSG_INPUTS = 13,    /* ids, u32 count, then names: bytes */
    HONE_MSG_SIGNATURE = 20, /* - */
    HONE_MSG_INFER = 21,     /* u32 count, then values: bytes name, u32 type, u32 rank, u64[rank] dims, bytes data */
    HONE_MSG_TRANSLATE = 22, /* bytes from, bytes to, u8 f16 */

    /* Events. */
    HONE_MSG_ROW = 64,   /* u64 index, f32... to the end */
    HONE_MSG_TOKEN = 65, /* u32 id, f64 ms */
    HONE_MSG_STAT = 66,  /* bytes name, u64 n_mats, u64 n_cols, f32[n_mats*n_cols], u64[n_mats] */
    HONE_MSG_BEAT = 67,  /* -: still working */
    HONE_MSG_LAYER = 68, /* u32 layer, u64 first row, u64 n_embd, f32... to the end: rows of one layer, in order */
    HONE_MSG_ROWS = 69,  /* u32 name, u64 n_rows, u64 n_cols, u64 n_mats, u32[n_rows] matrices (n_mats > 1 only), f32[n_rows*n_cols] */
    HONE_MSG_VALUE = 72, /* bytes name, u32 type, u32 rank, u64[rank] dims, u64 bytes: a value begins */
    HONE_MSG_CHUNK = 73, /* u64 offset, bytes to the end of the frame: more of the value that began */

    /* Answers. */
    HONE_MSG_HELLO = 128, /* u32 HONE_PROTOCOL_VERSION, bytes name of the plug-in: the first frame, id 0 (or FAIL) */
    HONE_MSG_DONE = 129,  /* by request */
    HONE_MSG_FAIL = 130   /* u32 code, bytes why */
} hone_msg;

/* --- writing: payload bytes grow in one buffer, which may hold several frames -------------------------------- */
typedef struct hone_packer { /* zero-initialise; owned heap */
    uint8_t *ptr;
    size_t   len, cap;
    size_t   frame;  /* where the open frame begins */
    bool     failed; /* memory ran out: further calls do nothing */
} hone_packer;

void hone_pack_begin(hone_packer *p, hone_msg type, uint64_t id);
void hone_pack_u8(hone_packer *p, uint8_t v);
void hone_pack_u32(hone_packer *p, uint32_t v);
void hone_pack_u64(hone_packer *p, uint64_t v);
void hone_pack_f64(hone_packer *p, double v);
void hone_pack_bytes(hone_packer *p, const void *ptr, size_t n); /* u64 length, bytes */
void hone_pack_raw(hone_packer *p, const void *ptr, size_t n);   /* without a length */
void hone_pack_f32s(hone_packer *p, const float *v, size_t n);   /* without a length */
void hone_pack_ids(hone_packer *p, const int32_t *ids, size_t n); /* u64 count, u32... */
/* Closes the frame.  HONE_ERESOURCE when memory ran out or the payload is larger than HONE_FRAME_MAX: the frame is then dropped,
 * earlier ones stay. */
hone_code hone_pack_end(hone_packer *p, hone_err *err);
void      hone_pack_clear(hone_packer *p);   /* no frames, keeps the memory */
void      hone_pack_release(hone_packer *p); /* NULL and zeroed are fine */

/* --- reading: a cursor that turns bad instead of running over the end ------------------------------------------ */
typedef struct hone_unpacker {
    const uint8_t *ptr;
    size_t         left;
    bool           bad; /* something was asked for that is not there; all values since are 0 */
} hone_unpacker;

static inline hone_unpacker hone_unpack(hone_bytes payload) { return (hone_unpacker){ payload.ptr, payload.len, false }; }
uint8_t    hone_unpack_u8(hone_unpacker *u);
uint32_t   hone_unpack_u32(hone_unpacker *u);
uint64_t   hone_unpack_u64(hone_unpacker *u);
double     hone_unpack_f64(hone_unpacker *u);
hone_bytes hone_unpack_bytes(hone_unpacker *u); /* borrowed from the payload */
/* n numbers of size bytes each, undecoded and borrowed; { NULL, 0 } and bad when they are not all there. */
hone_bytes hone_unpack_array(hone_unpacker *u, uint64_t n, size_t size);
/* u64 count, then as hone_unpack_array of 4 bytes each. */
hone_bytes hone_unpack_ids(hone_unpacker *u);
/* True when everything was there and nothing is left over. */
bool hone_unpack_done(const hone_unpacker *u);
/* Decode borrowed arrays; src.len is a multiple of the element's size. */
void hone_get_f32s(hone_bytes src, float *out);
void hone_get_u32s(hone_bytes src, uint32_t *out);
void hone_get_u64s(hone_bytes src, uint64_t *out);

typedef struct hone_frame {
    uint32_t   type; /* any number: not yet known to be a hone_msg */
    uint64_t   id;
    hone_bytes payload; /* borrowed from the input */
} hone_frame;

/* Finds the first frame in the bytes received so far.  *used is its whole size, or 0 when it is not complete yet; *need is then how
 * many bytes it will have (HONE_FRAME_HEAD while that is not known).  HONE_ERUNTIME when the length is above HONE_FRAME_MAX. */
hone_code hone_frame_take(hone_bytes in, hone_frame *out, size_t *used, size_t *need, hone_err *err);
#endif
