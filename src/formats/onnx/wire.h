/* wire.h - walking over the fields of a protobuf message that lies in memory or in a file, without taking more of it in than is looked at.
 * Source: protobuf.dev/programming-guides/encoding. */
#ifndef HONE_FORMATS_ONNX_WIRE_H
#define HONE_FORMATS_ONNX_WIRE_H
#include "base/file.h"

#define HONE_WIRE_WINDOW 65536u

typedef struct hone_wire_place { /* all bytes that there are */
    const hone_file *file; /* NULL: mem */
    hone_bytes       mem;
    uint8_t         *window; /* [HONE_WIRE_WINDOW] of the file; unused for mem */
    uint64_t         at;     /* of the window in the file */
    size_t           filled;
} hone_wire_place;

typedef struct hone_wire { /* a message inside it */
    hone_wire_place *place;
    uint64_t         pos, end;
} hone_wire;

typedef struct hone_wire_field {
    uint32_t number, wire;  /* wire: 0 varint, 1 eight bytes, 2 bytes, 5 four bytes */
    uint64_t value;         /* of wire 0; of 1 and 5 the bits */
    uint64_t start, at, len; /* from the tag on, payload, length of the payload */
} hone_wire_field;

/* Reads the next field.  *more: false at the end.  HONE_EINPUT names `what` when the message is broken. */
hone_code hone_wire_next(hone_wire *w, hone_wire_field *f, bool *more, const char *what, hone_err *err);
/* Bytes [at, at + len) of the place: borrowed from mem, or read into the arena.  A NUL follows them only when terminate. */
hone_code hone_wire_bytes(const hone_wire *w, uint64_t at, uint64_t len, bool terminate, hone_arena *a, hone_bytes *out, hone_err *err);
/* A string of the file in the arena.  HONE_EINPUT when it is none. */
hone_code hone_wire_text(const hone_wire *w, const hone_wire_field *f, hone_arena *a, const char **out, hone_err *err);
static inline hone_wire hone_wire_in(const hone_wire *w, const hone_wire_field *f) { return (hone_wire){ w->place, f->at, f->at + f->len }; }
/* One varint at w->pos; false: broken. */
bool hone_wire_varint(hone_wire *w, uint64_t *out);

extern const char HONE_ONNX_AGAIN[]; /* the remedy for a broken file */
#endif
