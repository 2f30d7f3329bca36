/* SPDX-License-Identifier: Apache-2.0 */
/* instructions_store.c - the store on files in memory: saves of one entry and of 64, behind a log
 * that is short and one that has a million entries. What the kernel does for it is not counted. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "bench/instructions.h"
#include "store/store.h"
#include "wire/entry.h"

#define ENTRY_MAX   512u
#define BATCH_MAX   1000u
#define SMALL_BYTES 16u /* of a value, where there are a million */
#define SAVES       200u
#define BATCHES     50u

struct log {
    struct disk disk;
    struct store *store;
    struct prng prng;
    uint64_t number;
    kelp_index last;
    uint8_t *bytes; /* of one batch */
    struct kelp_bytes parts[BATCH_MAX];
};

static uint64_t random_of(void *ctx)
{
    return prng_next(ctx);
}

static void save(struct log *l, const struct kelp_save *what, size_t part_count)
{
    struct store_save_item item = {.save = *what, .parts = l->parts, .part_count = part_count};
    must(store_save(l->store, &item, 1, NULL) == KELP_OK, "a save failed");
}

/* The next entries, made outside of what is counted. */
static struct kelp_save batch(struct log *l, size_t count, size_t value_bytes)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t *out = l->bytes + i * ENTRY_MAX;
        struct wire_entry e = {.pos = kelp_pos_of(l->last + 1 + i, 1),
                               .type = KELP_ENTRY_COMMAND,
                               .time_ns = l->last + 1 + i,
                               .payload = {.len = value_bytes}};
        size_t size = wire_entry_size(&e);
        must(size <= ENTRY_MAX, "the entry is too large");
        e.payload.data = memset(wire_entry_payload(&e, out), 'v', value_bytes);
        wire_entry_encode(&e, out);
        l->parts[i] = bytes_of(out, size);
    }
    struct kelp_save what = {.number = ++l->number,
                             .flags = KELP_SAVE_APPEND,
                             .first = l->last + 1,
                             .last = l->last + count,
                             .commit = l->last};
    l->last += count;
    return what;
}

static void fill(struct log *l, kelp_index to)
{
    while (l->last < to) {
        struct kelp_save what = batch(l, BATCH_MAX, SMALL_BYTES);
        save(l, &what, BATCH_MAX);
        bool more = true;
        while (more)
            must(store_idle_work(l->store, &more, NULL) == KELP_OK, "housekeeping failed");
    }
}

static void log_open(struct log *l, const char *dir)
{
    *l = (struct log){.prng = {.state = 1}, .bytes = malloc((size_t)BATCH_MAX * ENTRY_MAX)};
    must(l->bytes != NULL && posix_disk(dir, &l->disk, NULL) == KELP_OK, "no directory");
    struct store_options options = {.node = 1,
                                    .segment_bytes = 64u << 20,
                                    .spares_max = 1,
                                    .zero_piece_bytes = 1u << 20,
                                    .random = random_of,
                                    .random_ctx = &l->prng};
    struct kelp_fault fault = {.error = KELP_OK};
    must(store_open(l->disk, &options, &l->store, &fault) == KELP_OK, "the store does not open");
    must(store_found(l->store)->created, "the directory is not empty");
    struct kelp_save vote = {
        .number = ++l->number, .flags = KELP_SAVE_VOTE, .term = {1}, .vote = 1};
    save(l, &vote, 0);
}

static void log_close(struct log *l)
{
    store_close(l->store);
    posix_disk_close(&l->disk);
    free(l->bytes);
}

/* So many saves of so many entries each; making the entries is not counted. */
static void measure(struct log *l, uint64_t count, size_t entries, const char *name)
{
    count_begin();
    for (uint64_t i = 0; i < count; i++) {
        count_pause();
        struct kelp_save what = batch(l, entries, COUNT_VALUE_BYTES);
        count_resume();
        save(l, &what, entries);
    }
    count_end(name, count * entries);
}

void count_store(const char *dir)
{
    struct log l;
    log_open(&l, dir);
    fill(&l, 1000);
    measure(&l, SAVES, 1, "store/save-1 log=1000");
    measure(&l, BATCHES, 64, "store/save-64 log=1000");
    log_close(&l);
}

void count_store_long(const char *dir)
{
    struct log l;
    log_open(&l, dir);
    fill(&l, 1000000);
    measure(&l, SAVES, 1, "store/save-1 log=1000000");
    measure(&l, BATCHES, 64, "store/save-64 log=1000000");
    log_close(&l);
}
