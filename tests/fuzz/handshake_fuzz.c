/* SPDX-License-Identifier: Apache-2.0 */
/* handshake_fuzz.c - any bytes as hello, refusal and table of addresses, chosen by the first byte.
 *
 * What a decoder accepts must be encoded into the bytes it came from, and every hello is judged:
 * by a member, by a node that knows nothing yet, and with and without an expected id. A refusal
 * must be one that can be sent and read. */
#include "base/assert.h"
#include "base/bytes.h"
#include "wire/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t again[WIRE_ADDRESSES_MAX];

static void check_part(struct kelp_bytes in, size_t written)
{
    ASSERT(load_u16(in.data) >= written);
    if (load_u16(in.data) == written) ASSERT(memcmp(in.data, again, written) == 0);
}

static void judge_hello(const struct wire_judge *judge, const struct wire_hello *h)
{
    struct wire_refuse refuse, read;
    enum wire_refusal reason = wire_hello_judge(judge, h, &refuse);
    ASSERT(refuse.reason == reason);
    if (reason == (enum wire_refusal)0) return;
    size_t len = wire_refuse_encode(&refuse, again);
    ASSERT(wire_refuse_decode(bytes_of(again, len), &read, NULL) == KELP_OK);
    ASSERT(memcmp(&refuse, &read, sizeof read) == 0);
}

static void fuzz_hello(struct kelp_bytes in)
{
    struct wire_hello h;
    if (wire_hello_decode(in, &h, NULL) != KELP_OK) return;
    check_part(in, wire_hello_encode(&h, again));
    struct wire_config committed;
    memset(&committed, 0, sizeof committed);
    committed.config.count = 2;
    committed.config.id_highest = 4;
    for (uint8_t i = 0; i < 2; i++) {
        committed.config.members[i] =
            (struct kelp_member){.id = 1u + i, .incarnation = 0x11u * (i + 1u), .role = KELP_VOTER};
    }
    struct wire_judge judge = {.self = 1, .incarnation = 0x11};
    judge_hello(&judge, &h);
    judge.committed = &committed;
    judge.cluster = (struct kelp_cluster_id){.hi = 0x0102030405060708, .lo = 0x090a0b0c0d0e0f10};
    judge.epoch = 4;
    judge_hello(&judge, &h);
    judge.expected = 2;
    judge_hello(&judge, &h);
}

static void fuzz_refuse(struct kelp_bytes in)
{
    struct wire_refuse r;
    struct kelp_fault fault = {.error = KELP_OK};
    enum kelp_error error = wire_refuse_decode(in, &r, &fault);
    ASSERT(error == fault.error);
    if (error == KELP_OK) check_part(in, wire_refuse_encode(&r, again));
}

static void fuzz_addresses(struct kelp_bytes in)
{
    struct wire_member_addresses rows[KELP_MEMBERS_MAX], read[KELP_MEMBERS_MAX];
    size_t count, count_read;
    if (wire_addresses_decode(in, rows, KELP_MEMBERS_MAX, &count, NULL) != KELP_OK) return;
    size_t len = wire_addresses_encode(rows, count, again);
    ASSERT(len <= in.len);
    if (len == in.len) ASSERT(memcmp(again, in.data, len) == 0);
    ASSERT(wire_addresses_decode(bytes_of(again, len), read, KELP_MEMBERS_MAX, &count_read, NULL) ==
           KELP_OK);
    ASSERT(count == count_read && memcmp(rows, read, count * sizeof rows[0]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct kelp_bytes in = bytes_of(data + 1, size - 1);
    switch (data[0] % 3) {
    case 0: fuzz_hello(in); break;
    case 1: fuzz_refuse(in); break;
    case 2: fuzz_addresses(in); break;
    }
    return 0;
}
