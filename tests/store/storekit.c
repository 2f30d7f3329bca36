/* SPDX-License-Identifier: Apache-2.0 */
/* storekit.c - see storekit.h. */
#include "tests/store/storekit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "wire/entry.h"

static uint64_t kit_random(void *ctx)
{
    return prng_next(ctx);
}

struct store_options kit_options(void)
{
    static struct prng prng = {.state = 7}; /* salts must differ between uses, nothing else */
    return (struct store_options){.node = KIT_NODE,
                                  .segment_bytes = KIT_SEGMENT,
                                  .spares_max = 2,
                                  .zero_piece_bytes = 8192,
                                  .random = kit_random,
                                  .random_ctx = &prng};
}

struct store *kit_open(struct fakedisk *d)
{
    struct store_options options = kit_options();
    struct store *s = NULL;
    struct kelp_fault fault = {0};
    enum kelp_error error = store_open(fakedisk_port(d), &options, &s, &fault);
    if (error != KELP_OK) {
        fail_msg("the store does not open: %s: %s: %s", kelp_strerror(error), fault.where,
                 fault.what);
    }
    return s;
}

struct store *kit_start(struct fakedisk *d)
{
    struct store *s = kit_open(d);
    if (store_found(s)->term.v == 0) kit_vote(s, 0, 1, 0);
    return s;
}

void kit_idle(struct store *s)
{
    bool more = true;
    for (int i = 0; more; i++) {
        assert_true(i < 1000);
        assert_int_equal(store_idle_work(s, &more, NULL), KELP_OK);
    }
}

enum kelp_error kit_try(struct fakedisk *d, struct kelp_fault *fault)
{
    struct store_options options = kit_options();
    struct store *s = NULL;
    *fault = (struct kelp_fault){0};
    enum kelp_error error = store_open(fakedisk_port(d), &options, &s, fault);
    if (error == KELP_OK) store_close(s);
    return error;
}

struct kelp_bytes kit_entry(struct kelp_pos pos, size_t payload)
{
    uint8_t *data = malloc(payload + 1);
    assert_non_null(data);
    struct prng prng = {.state = pos.index * 1000003 + pos.term.v};
    for (size_t i = 0; i < payload; i++)
        data[i] = (uint8_t)prng_next(&prng);
    struct wire_entry entry = {.pos = pos,
                               .type = KELP_ENTRY_COMMAND,
                               .time_ns = pos.index,
                               .payload = bytes_of(data, payload)};
    size_t size = wire_entry_size(&entry);
    uint8_t *out = malloc(size);
    assert_non_null(out);
    wire_entry_encode(&entry, out);
    free(data);
    return bytes_of(out, size);
}

static void save(struct store *s, const struct kelp_save *what, const struct kelp_bytes *parts,
                 size_t count)
{
    struct store_save_item item = {.save = *what, .parts = parts, .part_count = count};
    struct kelp_fault fault = {0};
    enum kelp_error error = store_save(s, &item, 1, &fault);
    if (error != KELP_OK) fail_msg("save: %s: %s", fault.where, fault.what);
}

static void release(struct kelp_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

void kit_append(struct store *s, uint64_t number, kelp_index first, kelp_index last, uint64_t term)
{
    struct kelp_bytes parts[64];
    size_t count = 0;
    assert_true(last - first < 64);
    for (kelp_index i = first; i <= last; i++)
        parts[count++] = kit_entry(kelp_pos_of(i, term), 100);
    struct kelp_save what = {
        .number = number, .flags = KELP_SAVE_APPEND, .first = first, .last = last};
    save(s, &what, parts, count);
    for (size_t i = 0; i < count; i++)
        release(parts[i]);
}

void kit_append_sized(struct store *s, uint64_t number, struct kelp_pos pos, size_t payload)
{
    struct kelp_bytes part = kit_entry(pos, payload);
    struct kelp_save what = {
        .number = number, .flags = KELP_SAVE_APPEND, .first = pos.index, .last = pos.index};
    save(s, &what, &part, 1);
    release(part);
}

void kit_truncate(struct store *s, uint64_t number, struct kelp_pos end)
{
    struct kelp_save what = {.number = number, .flags = KELP_SAVE_TRUNCATE, .end = end};
    save(s, &what, NULL, 0);
}

void kit_vote(struct store *s, uint64_t number, uint64_t term, kelp_id vote)
{
    struct kelp_save what = {
        .number = number, .flags = KELP_SAVE_VOTE, .term = {term}, .vote = vote};
    save(s, &what, NULL, 0);
}

void kit_compact(struct store *s, uint64_t number, kelp_index keep)
{
    struct kelp_save what = {.number = number, .flags = KELP_SAVE_COMPACT, .keep = keep};
    save(s, &what, NULL, 0);
}

struct kelp_bytes kit_head(struct kelp_pos pos)
{
    struct wire_snaphead *head = calloc(1, sizeof *head);
    uint8_t *out = malloc(WIRE_SNAPHEAD_BYTES_MAX);
    assert_non_null(head);
    assert_non_null(out);
    head->pos = pos;
    head->time_ns = pos.index;
    head->config.config = (struct kelp_config){.index = 1, .id_highest = 1, .count = 1};
    head->config.config.members[0] = (struct kelp_member){.id = 1, .role = KELP_VOTER};
    (void)snprintf(head->config.peer[0].text, WIRE_ADDRESS_MAX, "127.0.0.1:7101");
    head->own = BYTES_LITERAL("own bytes");
    size_t len = wire_snaphead_encode(head, out, WIRE_SNAPHEAD_BYTES_MAX);
    free(head);
    assert_int_not_equal(len, 0);
    return bytes_of(out, len);
}

void kit_snapshot(struct store *s, struct kelp_pos pos)
{
    struct kelp_bytes head = kit_head(pos);
    struct kelp_fault fault = {0};
    enum kelp_error error = store_snapshot(s, pos, head, &fault);
    if (error != KELP_OK) fail_msg("snapshot: %s: %s", fault.where, fault.what);
    release(head);
}

uint64_t kit_read(struct store *s, kelp_index index, size_t payload)
{
    uint8_t *out = NULL;
    size_t size = 0, len = 0, bytes = 0;
    struct kelp_pos before, pos;
    kelp_index last = 0;
    uint8_t type = 0;
    struct kelp_fault fault = {0};
    enum kelp_error error = store_read(s, index, 1, 0, &out, &size, &len, &before, &last, &fault);
    if (error != KELP_OK) fail_msg("read: %s: %s", fault.where, fault.what);
    assert_int_equal(last, index);
    assert_int_equal(wire_entry_peek(bytes_of(out, len), &pos, &type, &bytes), KELP_OK);
    assert_int_equal(pos.index, index);
    struct kelp_bytes expected = kit_entry(pos, payload);
    assert_int_equal(len, expected.len);
    assert_memory_equal(out, expected.data, len);
    release(expected);
    free(out);
    return pos.term.v;
}

void kit_expect(struct store *s, kelp_index last, uint64_t term)
{
    const struct store_found *found = store_found(s);
    assert_int_equal(found->last, last);
    for (kelp_index i = found->base.index + 1; i <= last; i++) {
        assert_int_equal(kit_read(s, i, 100), term);
    }
}
