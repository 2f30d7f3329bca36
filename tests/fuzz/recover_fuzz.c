/* SPDX-License-Identifier: Apache-2.0 */
/* recover_fuzz.c - a whole data directory, damaged and forged by the input, must open or be
 * refused.
 *
 * A good directory is made once; the input is a list of blows of eight bytes to a copy of it: bytes
 * changed, files cut, moved and dropped, blocks copied, and checksums made good again afterwards,
 * so that what lies behind them is reached too. Opening must neither crash nor trip an assertion; a
 * log that opens must be readable or say why not; the dump must get through everything. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/min.h"
#include "base/prng.h"
#include "store/room.h"
#include "tests/store/fakedisk.c" /* a fuzz target is one file and the rooms */
#include "wire/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEGMENT_BYTES (8u * STORE_BLOCK)
#define BLOWS_MAX     64u

static const char *const names[] = {
    "log/00000000000000000001.seg",
    "log/00000000000000000002.seg",
    "log/00000000000000000003.seg",
    "log/00000000000000000004.seg",
    "vote",
    "identity",
    "snap/00000000000000000004-00000000000000000001.snap",
    "log/spare-1.seg",
};

static uint64_t random_of(void *ctx)
{
    return prng_next(ctx);
}

static struct store *open_store(struct fakedisk *d, struct prng *prng)
{
    struct store_options options = {.node = 1,
                                    .segment_bytes = SEGMENT_BYTES,
                                    .spares_max = 2,
                                    .zero_piece_bytes = 16384,
                                    .random = random_of,
                                    .random_ctx = prng};
    struct store *s = NULL;
    struct kelp_fault fault = {0};
    enum kelp_error error = store_open(fakedisk_port(d), &options, &s, &fault);
    if (error == KELP_OK) return s;
    ASSERT(fault.error == error); /* every refusal says where and why */
    ASSERT(fault.what[0] != '\0');
    return NULL;
}

static enum kelp_error append(struct store *s, struct kelp_pos pos, size_t payload)
{
    uint8_t bytes[16384], words[12000] = {0};
    ASSERT(payload <= sizeof words);
    struct wire_entry entry = {
        .pos = pos, .type = KELP_ENTRY_COMMAND, .payload = bytes_of(words, payload)};
    wire_entry_encode(&entry, bytes);
    struct kelp_bytes part = bytes_of(bytes, wire_entry_size(&entry));
    struct store_save_item item = {.save = {.number = pos.index,
                                            .flags = KELP_SAVE_APPEND | KELP_SAVE_VOTE,
                                            .vote = 1,
                                            .term = pos.term,
                                            .first = pos.index,
                                            .last = pos.index,
                                            .commit = pos.index - 1},
                                   .parts = &part,
                                   .part_count = 1};
    return store_save(s, &item, 1, NULL);
}

/* Twelve writes in four segments, one of them a truncation, a snapshot at 4, no mark at the end. */
static struct fakedisk *good_directory(void)
{
    struct fakedisk *d = fakedisk_new(1);
    struct prng prng = {.state = 1};
    struct store *s = open_store(d, &prng);
    ASSERT(s != NULL);
    for (kelp_index i = 1; i <= 9; i++) {
        enum kelp_error error = append(s, kelp_pos_of(i, 1), i % 4 == 0 ? 9000 : 60);
        ASSERT(error == KELP_OK);
    }
    struct store_save_item cut = {.save = {.number = 10,
                                           .flags = KELP_SAVE_TRUNCATE | KELP_SAVE_VOTE,
                                           .term = {2},
                                           .vote = 1,
                                           .end = kelp_pos_of(7, 1)}};
    enum kelp_error error = store_save(s, &cut, 1, NULL);
    ASSERT(error == KELP_OK);
    uint8_t head[4096];
    struct wire_snaphead *snap = calloc(1, sizeof *snap);
    ASSERT(snap != NULL);
    snap->pos = kelp_pos_of(4, 1);
    snap->config.config = (struct kelp_config){.index = 1, .id_highest = 1, .count = 1};
    snap->config.config.members[0] = (struct kelp_member){.id = 1, .role = KELP_VOTER};
    (void)snprintf(snap->config.peer[0].text, WIRE_ADDRESS_MAX, "127.0.0.1:7101");
    size_t len = wire_snaphead_encode(snap, head, sizeof head);
    free(snap);
    ASSERT(len > 0);
    error = store_snapshot(s, kelp_pos_of(4, 1), bytes_of(head, len), NULL);
    ASSERT(error == KELP_OK);
    for (kelp_index i = 8; i <= 9; i++) {
        error = append(s, kelp_pos_of(i, 2), 60);
        ASSERT(error == KELP_OK);
    }
    store_close(s);
    fakedisk_cut(d, CUT_KEEPS_ALL);
    return d;
}

/* Make the checksums of the write at a block good again, its records' and entries' included. */
static void forge_write(uint8_t *bytes, size_t size, size_t at)
{
    struct segment_head head;
    if (size < STORE_BLOCK || at + WRITE_HEAD_BYTES > size) return;
    if (segment_decode(bytes_of(bytes, STORE_BLOCK), 0, &head) != KELP_OK) return;
    uint8_t *write = bytes + at;
    uint64_t number = load_u64(write + 8), room = size - at;
    uint64_t records = min_u64(load_u32(write + 40), (room - WRITE_HEAD_BYTES) / RECORD_BYTES);
    uint64_t content =
        content_start(bytes_of(write + WRITE_HEAD_BYTES, (size_t)records * RECORD_BYTES), number);
    put_u64(write + 120, content);
    size_t entry = WRITE_HEAD_BYTES + (size_t)records * RECORD_BYTES;
    uint64_t end = min_u64(room, load_u64(write + 32));
    while (entry < end) {
        struct kelp_pos pos;
        uint8_t type;
        size_t bytes_used;
        struct kelp_bytes in = bytes_of(write + entry, (size_t)end - entry);
        if (wire_entry_peek(in, &pos, &type, &bytes_used) != KELP_OK) break;
        put_u64(write + entry + bytes_used - 8, hash_bytes(bytes_of(in.data, bytes_used - 8), 0));
        content = content_add(content, wire_entry_checksum(in));
        entry += bytes_used;
    }
    put_u64(write + 48, content);
    put_u64(write + WRITE_HEAD_BYTES - 8, hash_bytes(bytes_of(write, WRITE_HEAD_BYTES - 8),
                                                     write_seed(head.number, head.salt, at)));
}

static void forge_twin(uint8_t *bytes, size_t size, size_t at)
{
    if (at + STORE_BLOCK > size) return;
    size_t len = load_u32(bytes + at + 16);
    if (len > TWIN_PAYLOAD_MAX) return;
    put_u64(bytes + at + 24 + len, hash_bytes(bytes_of(bytes + at, 24 + len), 0));
}

static void forge_segment(uint8_t *bytes, size_t size, size_t at)
{
    if (at + STORE_BLOCK > size) return;
    put_u64(bytes + at + SEGMENT_HEAD_BYTES - 8,
            hash_bytes(bytes_of(bytes + at, SEGMENT_HEAD_BYTES - 8), 0));
}

static void blow(struct fakedisk *d, const uint8_t *in)
{
    const char *name = names[in[1] % 8], *other = names[in[2] % 8];
    uint32_t offset = load_u32(in + 4);
    size_t size = 0;
    uint8_t *bytes = fakedisk_bytes(d, name, &size);
    if (bytes == NULL || size == 0) return;
    size_t at = offset % size, block = at / STORE_BLOCK * STORE_BLOCK;
    switch (in[0] % 10) {
    case 0: bytes[at] = in[3]; break;
    case 1: bytes[at] ^= in[3]; break;
    case 2: fakedisk_resize(d, name, at); break;
    case 3: memset(bytes + at, in[3], min_u64(512, size - at)); break;
    case 4:
        if (block + STORE_BLOCK <= size && in[3] * STORE_BLOCK + STORE_BLOCK <= size) {
            memmove(bytes + in[3] * STORE_BLOCK, bytes + block, STORE_BLOCK);
        }
        break;
    case 5: fakedisk_drop(d, name); break;
    case 6:
        if (strcmp(name, other) != 0) fakedisk_move(d, name, other);
        break;
    case 7: forge_write(bytes, size, block); break;
    case 8: forge_twin(bytes, size, block); break;
    case 9: forge_segment(bytes, size, block); break;
    }
}

static void ignore_line(void *ctx, const char *line)
{
    size_t *lines = ctx;
    ASSERT(line[0] != '\0');
    ++*lines;
}

static void use(struct store *s)
{
    const struct store_found *f = store_found(s);
    ASSERT(f->base.index <= f->last);
    ASSERT(f->commit <= f->last);
    uint8_t *out = NULL;
    size_t size = 0, len;
    for (kelp_index next = f->base.index + 1; next <= f->last;) {
        struct kelp_pos before;
        kelp_index last;
        if (store_read(s, next, 3, 4096, &out, &size, &len, &before, &last, NULL) != KELP_OK) break;
        ASSERT(last >= next);
        next = last + 1;
    }
    free(out);
    uint64_t term = max_u64(f->term.v, f->base.term.v) + 1;
    if (f->last < STORE_INDEX_MAX && term < STORE_INDEX_MAX) {
        (void)append(s, kelp_pos_of(f->last + 1, term), 100);
    }
    bool more;
    (void)store_idle_work(s, &more, NULL);
    (void)store_mark_idle(s, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fakedisk *good;
    if (good == NULL) good = good_directory();
    struct fakedisk *d = fakedisk_copy(good);
    for (size_t i = 0; i + 8 <= size && i < BLOWS_MAX * 8; i += 8)
        blow(d, data + i);
    size_t lines = 0;
    (void)store_dump(fakedisk_port(d), ignore_line, &lines, NULL);
    ASSERT(lines > 0);
    struct prng prng = {.state = 2};
    for (int start = 0; start < 2; start++) { /* what one start repaired the next one must accept */
        struct store *s = open_store(d, &prng);
        if (s == NULL) break;
        use(s);
        store_close(s);
    }
    ASSERT(fakedisk_open_files(d) == 0);
    fakedisk_free(d);
    return 0;
}
