/* SPDX-License-Identifier: Apache-2.0 */
/* instructions_kv.c - the key-value machine alone: a command from its payload to its reply, with
 * few keys and with a million, and every single command that makes the table grow. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "bench/instructions.h"
#include "kv/codec.h"
#include "kv/kv.h"

#define KEY_BYTES   11u
#define FEW_KEYS    1000u
#define MANY_KEYS   1000000u
#define VALUE_BYTES 16u /* where a million keys have one */
#define COMMANDS    2000u
#define PAYLOAD_MAX (COUNT_VALUE_BYTES + 64u)

struct machine {
    struct kv *kv;
    struct prng prng;
    kelp_index applied;
    uint64_t reply_bytes;
    uint8_t *drawn; /* room for COMMANDS payloads */
    struct kelp_bytes commands[COMMANDS];
};

static void replied(void *sink, size_t i, struct kelp_bytes bytes)
{
    struct machine *m = sink;
    (void)i;
    m->reply_bytes += bytes.len;
}

/* The payload of SET or GET of key number, in out; its length. */
static size_t payload(const char *verb, uint64_t number, size_t value_bytes, uint8_t *out)
{
    static const uint8_t value[COUNT_VALUE_BYTES] = {'v'};
    char key[KEY_BYTES] = {'k'};
    for (size_t i = KEY_BYTES - 1; i > 0; i--, number /= 10)
        key[i] = (char)('0' + number % 10);
    struct kelp_bytes argv[3] = {bytes_of(verb, 3), bytes_of(key, KEY_BYTES),
                                 bytes_of(value, value_bytes)};
    const struct kv_command *command = kv_command_find(argv[0]);
    size_t argc = (command->flags & KV_FLAG_WRITE) != 0 ? 3 : 2;
    kv_command_encode(command, argv, argc, out);
    return kv_command_size(argv, argc);
}

static void apply(struct machine *m, struct kelp_bytes bytes)
{
    struct kelp_command command = {.pos = kelp_pos_of(++m->applied, 1), .payload = bytes};
    kv_fsm_ops.apply(m->kv, 0, &command, 1, replied, m);
}

static void set(struct machine *m, uint64_t number, size_t value_bytes)
{
    uint8_t bytes[PAYLOAD_MAX];
    apply(m, bytes_of(bytes, payload("SET", number, value_bytes, bytes)));
}

/* Commands on keys drawn from all of them, encoded before anything is counted. */
static void draw(struct machine *m, const char *verb, uint64_t keys, size_t value_bytes)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        uint8_t *out = m->drawn + i * PAYLOAD_MAX;
        m->commands[i] = bytes_of(out, payload(verb, prng_below(&m->prng, keys), value_bytes, out));
    }
}

static void machine_open(struct machine *m)
{
    *m = (struct machine){.kv = kv_new(), .prng = {.state = 1}};
    m->drawn = malloc((size_t)COMMANDS * PAYLOAD_MAX);
    must(m->kv != NULL && m->drawn != NULL, "no memory");
}

static void machine_close(struct machine *m)
{
    must(kv_failed(m->kv) == KELP_OK, "out of memory");
    kv_fsm_ops.close(m->kv);
    free(m->drawn);
}

/* Values are there already: what is counted replaces and reads them. */
static void measure(uint64_t keys, size_t value_bytes, const char *set_name, const char *get_name)
{
    static struct machine m;
    machine_open(&m);
    for (uint64_t i = 0; i < keys; i++)
        set(&m, i, value_bytes);
    must(kv_key_count(m.kv) == keys, "keys are missing");
    draw(&m, "SET", keys, value_bytes);
    count_begin();
    for (size_t i = 0; i < COMMANDS; i++)
        apply(&m, m.commands[i]);
    count_end(set_name, COMMANDS);
    draw(&m, "GET", keys, 0);
    uint64_t before = m.reply_bytes;
    count_begin();
    for (size_t i = 0; i < COMMANDS; i++)
        kv_fsm_ops.query(m.kv, 0, m.commands[i], replied, &m);
    count_end(get_name, COMMANDS);
    must(m.reply_bytes - before > COMMANDS * value_bytes, "GET does not answer the value");
    must(kv_key_count(m.kv) == keys, "keys have come or gone");
    machine_close(&m);
}

void count_kv(void)
{
    measure(FEW_KEYS, COUNT_VALUE_BYTES, "kv/set", "kv/get");
}

void count_kv_many(void)
{
    measure(FEW_KEYS, VALUE_BYTES, "kv/set keys=1000", "kv/get keys=1000");
    measure(MANY_KEYS, VALUE_BYTES, "kv/set keys=1000000", "kv/get keys=1000000");
}

/* ---- growth -------------------------------------------------------------------------------- */

/* One key after the other, each counted for itself, from one before the table is due to grow until
 * it has grown. */
static void grow(struct machine *m, uint64_t from, uint64_t to, const char *name)
{
    for (uint64_t i = kv_key_count(m->kv); i < from; i++)
        set(m, i, VALUE_BYTES);
    count_begin();
    for (uint64_t i = from; i < to; i++) {
        count_pause();
        uint8_t bytes[PAYLOAD_MAX];
        size_t len = payload("SET", i, VALUE_BYTES, bytes);
        count_resume();
        apply(m, bytes_of(bytes, len));
        if (i + 1 < to) count_part(name, 1);
    }
    count_end(name, 1);
    must(kv_key_count(m->kv) == to, "keys are missing");
}

/* From 2^13 buckets to 2^14 every insert; then, at 2^20, those around the beginning of the move,
 * when the new array is made, and around its end, when the old one is given back. Four buckets
 * move a command, so the move of 2^20 ends 2^18 commands after it began. */
void count_kv_growth(void)
{
    static struct machine m;
    const uint64_t small = 1u << 13, large = 1u << 20;
    machine_open(&m);
    grow(&m, small - 8, small + small / 4 + 64, "kv/insert growing=8192");
    grow(&m, large - 8, large + 64, "kv/insert growing=1048576");
    grow(&m, large + large / 4 - 64, large + large / 4 + 64, "kv/insert growing=1048576");
    machine_close(&m);
}
