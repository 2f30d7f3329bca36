/* SPDX-License-Identifier: Apache-2.0 */
/* message_fuzz.c - any bytes as frames, messages, entries, configurations, snapshot heads,
 * forwards, messages of founding, questions for snapshots and their pieces, what a state was.
 *
 * The first byte chooses the format (low bits) and whether checksums are put right first (the high
 * bit leaves them), since no fuzzer guesses a good one. What a decoder accepts must be encoded into
 * the bytes it came from, and nothing may be read beyond the input, which the sanitizers watch. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/min.h"
#include "wire/change.h"
#include "wire/entry.h"
#include "wire/fetch.h"
#include "wire/forward.h"
#include "wire/found.h"
#include "wire/frame.h"
#include "wire/mark.h"
#include "wire/message.h"
#include "wire/snaphead.h"

#define INPUT_MAX       (128u * 1024)
#define INFO_MAX        64u
#define LEAVE_CHECKSUMS 0x80u
#define FORMATS         0x0fu

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t again[WIRE_ENTRY_MAX];

static void seal(uint8_t *data, size_t summed)
{
    put_u64(data + summed, hash_bytes(bytes_of(data, summed), 0));
}

static void seal_entries(uint8_t *data, size_t len)
{
    size_t at = 0;
    while (len - at >= 40) {
        size_t content = load_u32(data + at);
        if (content > len - at) return;
        size_t summed = (content + 7) & ~(size_t)7;
        if (summed > len - at - 8) return;
        seal(data + at, summed);
        at += summed + 8;
    }
}

/* Of a self-sized part: a longer one comes from a newer node, and we write less than we read. */
static void check_part(struct kelp_bytes in, size_t written)
{
    ASSERT(load_u16(in.data) >= written);
    if (load_u16(in.data) == written) ASSERT(memcmp(in.data, again, written) == 0);
}

static void fuzz_entry(uint8_t *data, size_t len, bool mend)
{
    if (mend) seal_entries(data, len);
    struct kelp_bytes in = bytes_of(data, len);
    struct wire_entry e, opened;
    struct kelp_pos pos;
    struct kelp_fault fault = {.error = KELP_OK};
    uint8_t type;
    size_t used, bytes;
    enum kelp_error error = wire_entry_decode(in, &e, &used, &fault);
    enum kelp_error peeked = wire_entry_peek(in, &pos, &type, &bytes);
    ASSERT(used == bytes);
    ASSERT(error == KELP_E_CORRUPT || error == peeked);
    ASSERT(wire_entry_open(in, &opened, &bytes, NULL) == peeked && bytes == used);
    if (error != KELP_OK) return;
    ASSERT(used <= len && used == wire_entry_size(&e));
    ASSERT(kelp_pos_equal(pos, e.pos) && type == e.type);
    wire_entry_encode(&e, again);
    ASSERT(memcmp(again, data, used) == 0);
    ASSERT(wire_entry_checksum(in) == load_u64(data + used - 8));
}

static void fuzz_frame(uint8_t *data, size_t len, bool mend)
{
    if (mend && len >= WIRE_FRAME_HEAD) {
        size_t hashed = min_u64(load_u32(data + 20), len - WIRE_FRAME_HEAD);
        put_u64(data + 24, hash_bytes(bytes_of(data + WIRE_FRAME_HEAD, hashed), 0));
        seal(data, 32);
    }
    struct wire_frame f;
    struct kelp_fault fault = {.error = KELP_OK};
    size_t used;
    enum kelp_error error = wire_frame_decode(bytes_of(data, len), INPUT_MAX, &f, &used, &fault);
    ASSERT((fault.error != KELP_OK) == (error != KELP_OK && error != KELP_E_MORE));
    if (error == KELP_E_MORE) ASSERT(used == 0 || used > len);
    if (error != KELP_OK) return;
    ASSERT(used == WIRE_FRAME_HEAD + f.body.len && used <= len);
    ASSERT(f.hashed == f.body.len || (f.hashed < f.body.len && f.kind == WIRE_MESSAGE));
    if (f.hashed == f.body.len)
        wire_frame_head(again, (enum wire_kind)f.kind, f.group, &f.body, 1);
    else
        wire_frame_head_entries(again, f.group, bytes_of(f.body.data, f.hashed),
                                f.body.len - f.hashed);
    ASSERT(memcmp(again, data, WIRE_FRAME_HEAD) == 0);
}

static void fuzz_message(uint8_t *data, size_t len, bool mend)
{
    if (mend && len >= 2 && load_u16(data) <= len)
        seal_entries(data + load_u16(data), len - load_u16(data));
    static struct wire_config configs[2];
    struct kelp_entry_info infos[INFO_MAX];
    struct kelp_message m;
    struct kelp_bytes in = bytes_of(data, len), entries;
    size_t hashed = len < 2 ? 0 : load_u16(data);
    enum kelp_error error =
        wire_message_decode(in, hashed, &m, infos, INFO_MAX, &entries, configs, NULL);
    ASSERT(error != KELP_E_MORE);
    if (error != KELP_OK) return;
    check_part(in, wire_message_encode(&m, again));
    if (m.type != KELP_MSG_APPEND) return;
    size_t bytes = 0;
    for (kelp_index i = m.append.prev.index; i < m.append.last; i++)
        bytes += infos[i - m.append.prev.index].bytes;
    ASSERT(bytes == entries.len && bytes == m.append.bytes);
}

static void fuzz_config(const uint8_t *data, size_t len)
{
    struct wire_config c;
    if (wire_config_decode(bytes_of(data, len), 1, &c, NULL) != KELP_OK) return;
    ASSERT(wire_config_encode(&c, again) == len);
    ASSERT(memcmp(again, data, len) == 0);
}

static void fuzz_snaphead(uint8_t *data, size_t len, bool mend)
{
    if (mend && len >= 16 && len % 8 == 0) seal(data, len - 8);
    struct wire_snaphead h;
    size_t used;
    if (wire_snaphead_decode(bytes_of(data, len), &h, &used, NULL) != KELP_OK) return;
    ASSERT(wire_snaphead_encode(&h, again, sizeof again) == used);
    ASSERT(memcmp(again, data, used) == 0);
}

static void fuzz_forward(const uint8_t *data, size_t len)
{
    struct wire_forward f;
    struct kelp_bytes in = bytes_of(data, len);
    if (wire_forward_decode(in, &f, NULL) != KELP_OK) return;
    check_part(in, wire_forward_encode(&f, again));
    ASSERT(load_u16(data) + f.user.len + f.extension.len + f.command.len == len);
    struct wire_change c;
    if (f.kind != WIRE_FORWARD_CHANGE || wire_change_decode(f.command, &c, NULL) != KELP_OK) return;
    size_t written = wire_change_encode(&c, again);
    ASSERT(written <= f.command.len);
    if (written == f.command.len) ASSERT(memcmp(f.command.data, again, written) == 0);
}

static void fuzz_forward_answer(const uint8_t *data, size_t len)
{
    struct wire_forward_answer a;
    struct kelp_bytes in = bytes_of(data, len);
    if (wire_forward_answer_decode(in, &a, NULL) != KELP_OK) return;
    check_part(in, wire_forward_answer_encode(&a, again));
    ASSERT(load_u16(data) + a.result.len == len);
}

static void fuzz_found(uint8_t *data, size_t len, bool mend)
{
    if (mend && len >= 2 && load_u16(data) <= len)
        seal_entries(data + load_u16(data), len - load_u16(data));
    struct wire_found f;
    struct kelp_bytes in = bytes_of(data, len);
    if (wire_found_decode(in, &f, NULL) != KELP_OK) return;
    check_part(in, wire_found_encode(&f, again));
    ASSERT(load_u16(data) + f.entry.len == len);
}

static void fuzz_fetch(const uint8_t *data, size_t len)
{
    struct wire_fetch f;
    struct kelp_bytes in = bytes_of(data, len);
    if (wire_fetch_decode(in, &f, NULL) != KELP_OK) return;
    check_part(in, wire_fetch_encode(&f, again));
    ASSERT(load_u16(data) == len && f.ask > 0);
}

static void fuzz_piece(const uint8_t *data, size_t len)
{
    struct wire_piece p;
    struct kelp_bytes in = bytes_of(data, len);
    if (wire_piece_decode(in, &p, NULL) != KELP_OK) return;
    check_part(in, wire_piece_encode(&p, again));
    ASSERT(load_u16(data) + p.bytes.len == len);
    if (p.state == WIRE_PIECE_BYTES) ASSERT(p.offset + p.bytes.len <= p.size);
}

static void fuzz_marks(const uint8_t *data, size_t len)
{
    struct wire_mark marks[WIRE_MARK_KEPT];
    struct kelp_bytes in = bytes_of(data, len);
    size_t count = 0;
    enum kelp_error error = wire_marks_decode(in, marks, &count, NULL);
    ASSERT((error == KELP_OK) == (count > 0));
    if (error == KELP_OK) check_part(in, wire_marks_encode(marks, count, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > INPUT_MAX) return 0;
    bool mend = (data[0] & LEAVE_CHECKSUMS) == 0;
    size_t len = size - 1;
    uint8_t *copy = malloc(len + (len == 0)); /* of its exact size, for the sanitizer */
    if (copy == NULL) return 0;
    memcpy(copy, data + 1, len);
    switch (data[0] & FORMATS) {
    case 0: fuzz_frame(copy, len, mend); break;
    case 1: fuzz_message(copy, len, mend); break;
    case 2: fuzz_entry(copy, len, mend); break;
    case 3: fuzz_config(copy, len); break;
    case 4: fuzz_snaphead(copy, len, mend); break;
    case 5: fuzz_forward(copy, len); break;
    case 6: fuzz_forward_answer(copy, len); break;
    case 7: fuzz_found(copy, len, mend); break;
    case 8: fuzz_fetch(copy, len); break;
    case 9: fuzz_piece(copy, len); break;
    case 10: fuzz_marks(copy, len); break;
    }
    free(copy);
    return 0;
}
