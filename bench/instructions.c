/* SPDX-License-Identifier: Apache-2.0 */
/* instructions.c - the parts of Kelp that are pure, one operation after the other, to be counted.
 *
 *     valgrind --tool=callgrind --instr-atstart=no bench-instructions CASE DIR
 *
 * Each case is a process of its own, so that none depends on what ran before it.
 * bench/instructions.py runs them all, reads what callgrind wrote and compares it with
 * bench/bounds.json. */
#include "bench/instructions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "base/bytes.h"
#include "proto/resp.h"
#include "proto/resp_reply.h"
#include "wire/entry.h"
#include "wire/frame.h"
#include "wire/message.h"

#define ROUNDS 500u

void must(bool good, const char *what)
{
    if (good) return;
    (void)fprintf(stderr, "bench-instructions: %s\n", what);
    exit(1);
}

void count_begin(void)
{
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
}

void count_pause(void)
{
    CALLGRIND_TOGGLE_COLLECT;
}

void count_resume(void)
{
    CALLGRIND_TOGGLE_COLLECT;
}

void count_part(const char *name, uint64_t operations)
{
    char label[96];
    count_pause();
    (void)snprintf(label, sizeof label, "%s %llu", name, (unsigned long long)operations);
    CALLGRIND_DUMP_STATS_AT(label);
    CALLGRIND_ZERO_STATS;
    count_resume();
}

void count_end(const char *name, uint64_t operations)
{
    count_part(name, operations);
    CALLGRIND_STOP_INSTRUMENTATION;
}

/* ---- proto: a request out of a receive buffer, a reply into a send buffer ------------------ */

static size_t parse(uint8_t *data, size_t len)
{
    static const struct resp_limits limits = {.args_max = 8,
                                              .bulk_bytes_max = 1u << 20,
                                              .inline_bytes_max = 65536,
                                              .request_bytes_max = 1u << 20};
    struct kelp_bytes argv[8];
    struct resp_parser parser = {0};
    struct resp_request request;
    must(resp_parse(&parser, &limits, data, len, argv, &request) == RESP_REQUEST &&
             request.used == len,
         "a request is not one");
    return request.argc;
}

void count_proto(void)
{
    static const char get[] = "*2\r\n$3\r\nGET\r\n$5\r\nkey42\r\n";
    uint8_t set[COUNT_VALUE_BYTES + 64], asked[sizeof get], value[COUNT_VALUE_BYTES];
    memset(value, 'v', sizeof value);
    memcpy(asked, get, sizeof get);
    int head = snprintf((char *)set, sizeof set, "*3\r\n$3\r\nSET\r\n$5\r\nkey42\r\n$%u\r\n",
                        COUNT_VALUE_BYTES);
    size_t len = (size_t)head;
    memcpy(set + len, value, sizeof value);
    memcpy(set + len + sizeof value, "\r\n", 2);
    len += sizeof value + 2;
    struct buf out;
    buf_init(&out, 1u << 20);
    must(buf_reserve(&out, 1u << 18) == KELP_OK, "no memory");
    count_begin();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        must(parse(set, len) == 3, "SET has three words");
        (void)resp_simple(&out, "OK");
    }
    count_part("proto/set", ROUNDS);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        must(parse(asked, sizeof get - 1) == 2, "GET has two words");
        (void)resp_bulk(&out, bytes_of(value, sizeof value));
    }
    count_end("proto/get", ROUNDS);
    must(out.error == KELP_OK && out.len > ROUNDS * sizeof value, "replies are missing");
    buf_close(&out);
}

/* ---- wire: an entry, and the frame that carries it ----------------------------------------- */

static struct wire_entry entry_at(kelp_index index, uint8_t *out)
{
    struct wire_entry e = {.pos = {.term = {3}, .index = index},
                           .type = KELP_ENTRY_COMMAND,
                           .time_ns = index,
                           .payload = {.len = COUNT_VALUE_BYTES}};
    e.payload.data = wire_entry_payload(&e, out);
    return e;
}

static void decode(struct kelp_bytes in)
{
    struct wire_frame frame;
    struct kelp_message m;
    struct kelp_entry_info infos[4];
    struct kelp_bytes entries;
    static struct wire_config configs[2];
    size_t used;
    must(wire_frame_decode(in, WIRE_FRAME_BODY_MAX, &frame, &used, NULL) == KELP_OK,
         "a frame is not one");
    must(wire_message_decode(frame.body, frame.hashed, &m, infos, 4, &entries, configs, NULL) ==
                 KELP_OK &&
             m.append.last == m.append.prev.index + 1,
         "a message is not one");
}

void count_wire(void)
{
    static uint8_t entry[1024], frame[2048];
    struct wire_entry e = entry_at(1, entry), read;
    size_t size = wire_entry_size(&e), used;
    must(size < sizeof entry, "the entry is too large");
    memset(wire_entry_payload(&e, entry), 'v', COUNT_VALUE_BYTES);
    count_begin();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        e = entry_at(i + 1, entry);
        wire_entry_encode(&e, entry);
    }
    count_part("wire/entry-encode", ROUNDS);
    for (uint32_t i = 0; i < ROUNDS; i++)
        must(wire_entry_decode(bytes_of(entry, size), &read, &used, NULL) == KELP_OK,
             "an entry is not one");
    count_part("wire/entry-decode", ROUNDS);
    struct kelp_message m = {.type = KELP_MSG_APPEND, .from = 1, .to = 2, .term = {3}, .id = 9};
    m.append.prev = (struct kelp_pos){.term = {3}, .index = e.pos.index - 1};
    m.append.last = e.pos.index;
    size_t len = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct kelp_bytes fixed =
            bytes_of(frame + WIRE_FRAME_HEAD, wire_message_encode(&m, frame + WIRE_FRAME_HEAD));
        wire_frame_head_entries(frame, 0, fixed, size);
        len = WIRE_FRAME_HEAD + fixed.len;
    }
    count_part("wire/append-encode", ROUNDS);
    count_pause();
    memcpy(frame + len, entry, size);
    count_resume();
    for (uint32_t i = 0; i < ROUNDS; i++)
        decode(bytes_of(frame, len + size));
    count_end("wire/append-decode", ROUNDS);
}

/* ---- which case ---------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(void);
    void (*run_in)(const char *dir);
} cases[] = {
    {"proto", count_proto, NULL},     {"wire", count_wire, NULL},
    {"core", count_core, NULL},       {"core-long", count_core_long, NULL},
    {"driver", count_driver, NULL},   {"kv", count_kv, NULL},
    {"kv-many", count_kv_many, NULL}, {"kv-growth", count_kv_growth, NULL},
    {"store", NULL, count_store},     {"store-long", NULL, count_store_long},
};

#define CASES (sizeof cases / sizeof cases[0])

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < CASES; i++)
            (void)printf("%s\n", cases[i].name);
        return 0;
    }
    for (size_t i = 0; argc == 3 && i < CASES; i++) {
        if (strcmp(argv[1], cases[i].name) != 0) continue;
        if (cases[i].run != NULL)
            cases[i].run();
        else
            cases[i].run_in(argv[2]);
        return 0;
    }
    (void)fprintf(stderr, "usage: bench-instructions --list\n"
                          "       bench-instructions CASE DIR, an empty directory in memory\n");
    return 2;
}
