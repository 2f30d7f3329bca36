/* SPDX-License-Identifier: Apache-2.0 */
/* bytes.h - one bounds-checked reader and one bounds-checked writer for every decoder and encoder.
 *
 * A read or write past the end sets failed, yields zeros, and changes nothing else, so a decoder
 * may read a whole
 * struct and look at failed once. Little-endian. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <string.h>

#include "base/endian.h"
#include "kelp/types.h"

#define BYTES_LITERAL(s) ((struct kelp_bytes){(const uint8_t *)(s), sizeof(s) - 1})

static inline struct kelp_bytes bytes_of(const void *data, size_t len)
{
    return (struct kelp_bytes){.data = data, .len = len};
}

static inline bool bytes_equal(struct kelp_bytes a, struct kelp_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

struct reader {
    const uint8_t *at, *end;
    bool failed;
};

static inline struct reader reader_of(struct kelp_bytes b)
{
    return (struct reader){.at = b.data, .end = b.len > 0 ? b.data + b.len : b.data};
}

static inline size_t reader_left(const struct reader *r)
{
    return r->at == NULL ? 0 : (size_t)(r->end - r->at);
}

static inline const uint8_t *reader_skip(struct reader *r, size_t len)
{
    if (r->failed || reader_left(r) < len) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *at = r->at;
    r->at += len;
    return at;
}

static inline uint8_t read_u8(struct reader *r)
{
    const uint8_t *at = reader_skip(r, 1);
    return at != NULL ? at[0] : 0;
}

static inline uint16_t read_u16(struct reader *r)
{
    const uint8_t *at = reader_skip(r, 2);
    return at != NULL ? load_u16(at) : 0;
}

static inline uint32_t read_u32(struct reader *r)
{
    const uint8_t *at = reader_skip(r, 4);
    return at != NULL ? load_u32(at) : 0;
}

static inline uint64_t read_u64(struct reader *r)
{
    const uint8_t *at = reader_skip(r, 8);
    return at != NULL ? load_u64(at) : 0;
}

static inline struct kelp_bytes read_bytes(struct reader *r, size_t len)
{
    const uint8_t *at = reader_skip(r, len);
    return at != NULL ? bytes_of(at, len) : bytes_of(NULL, 0);
}

struct writer {
    uint8_t *begin, *at, *end;
    bool failed;
};

static inline struct writer writer_of(void *data, size_t len)
{
    uint8_t *begin = data;
    return (struct writer){.begin = begin, .at = begin, .end = len > 0 ? begin + len : begin};
}

static inline size_t writer_len(const struct writer *w)
{
    return w->at == NULL ? 0 : (size_t)(w->at - w->begin);
}

static inline uint8_t *writer_skip(struct writer *w, size_t len)
{
    if (w->failed || w->at == NULL || (size_t)(w->end - w->at) < len) {
        w->failed = true;
        return NULL;
    }
    uint8_t *at = w->at;
    w->at += len;
    return at;
}

static inline void write_u8(struct writer *w, uint8_t v)
{
    uint8_t *at = writer_skip(w, 1);
    if (at != NULL) at[0] = v;
}

static inline void write_u16(struct writer *w, uint16_t v)
{
    uint8_t *at = writer_skip(w, 2);
    if (at != NULL) put_u16(at, v);
}

static inline void write_u32(struct writer *w, uint32_t v)
{
    uint8_t *at = writer_skip(w, 4);
    if (at != NULL) put_u32(at, v);
}

static inline void write_u64(struct writer *w, uint64_t v)
{
    uint8_t *at = writer_skip(w, 8);
    if (at != NULL) put_u64(at, v);
}

static inline void write_bytes(struct writer *w, struct kelp_bytes b)
{
    uint8_t *at = writer_skip(w, b.len);
    if (at != NULL && b.len > 0) memcpy(at, b.data, b.len);
}

#endif
