/* SPDX-License-Identifier: Apache-2.0 */
/* golden.h - what the tests of the formats share: golden bytes, random values, configurations.
 *
 * A golden test holds the exact bytes of one fixed value, so that no change of a format goes
 * unnoticed: where it fails, either the code is wrong or the format has a new version. */
#ifndef TESTS_WIRE_GOLDEN_H
#define TESTS_WIRE_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "wire/config.h"

/* The bytes are those of hex: pairs of digits, spaces anywhere. */
static inline void golden_check(const uint8_t *bytes, size_t len, const char *hex)
{
    char want[8192], have[8192];
    size_t at = 0;
    for (; *hex != '\0'; hex++) {
        if (*hex != ' ') want[at++] = *hex;
        assert_true(at < sizeof want);
    }
    want[at] = '\0';
    assert_true(len * 2 < sizeof have);
    for (size_t i = 0; i < len; i++)
        (void)snprintf(have + 2 * i, 3, "%02x", (unsigned)bytes[i]);
    assert_string_equal(have, want);
}

/* A number of random size, so that small and huge ones are equally common. */
static inline uint64_t random_u64(struct prng *p)
{
    return prng_next(p) >> prng_below(p, 64);
}

static inline uint64_t random_number(struct prng *p) /* an index or a term */
{
    return 1 + (prng_next(p) >> prng_between(p, 3, 63));
}

static inline void random_fill(struct prng *p, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)prng_next(p);
}

static inline void random_address(struct prng *p, struct wire_address *out)
{
    memset(out, 0, sizeof *out);
    if (prng_chance(p, 1, 4)) return;
    (void)snprintf(out->text, sizeof out->text, "host%u.example:%u", (unsigned)prng_below(p, 1000),
                   (unsigned)prng_between(p, 1, 65535));
}

static inline struct kelp_cluster_id random_cluster(struct prng *p)
{
    struct kelp_cluster_id id = {.hi = prng_next(p)};
    id.lo = prng_next(p);
    return id;
}

/* Any configuration that wire_config_decode may accept. */
static inline void random_config(struct prng *p, struct wire_config *c)
{
    memset(c, 0, sizeof *c);
    c->config.joint = (uint8_t)prng_below(p, 2);
    c->config.count = (uint8_t)prng_between(p, 1, KELP_MEMBERS_MAX);
    kelp_id id = 0;
    for (size_t i = 0; i < c->config.count; i++) {
        struct kelp_member *m = &c->config.members[i];
        m->id = id += prng_between(p, 1, 1000);
        m->incarnation = random_u64(p);
        m->role =
            (uint8_t)prng_between(p, c->config.joint != 0 ? KELP_NONE : KELP_VOTER, KELP_WITNESS);
        m->role_old = c->config.joint != 0 ? (uint8_t)prng_below(p, 4) : KELP_NONE;
        if (prng_below(p, 4) == 0) m->preference = (uint8_t)prng_below(p, 256);
        random_address(p, &c->peer[i]);
    }
    struct kelp_member *last = &c->config.members[c->config.count - 1];
    last->role = KELP_VOTER;
    if (last->preference == KELP_PREFERENCE_NEVER) last->preference = 0;
    if (c->config.joint != 0) last->role_old = KELP_VOTER;
    c->config.id_highest = id + prng_below(p, 5);
    c->config.index = random_number(p);
    c->created_unix_ms = random_u64(p);
    c->config.election_min = random_u64(p) / 64;
    c->config.drift_ppm = (uint32_t)random_u64(p);
    c->cluster = random_cluster(p);
}

/* Three voters, 1 to 3, with incarnations 0x11, 0x22, 0x33 and addresses a:7101, b:7102, c:7103. */
static inline void sample_config(struct wire_config *c)
{
    memset(c, 0, sizeof *c);
    c->config.index = 1;
    c->config.count = 3;
    c->config.id_highest = 3;
    for (size_t i = 0; i < 3; i++) {
        c->config.members[i] =
            (struct kelp_member){.id = i + 1, .incarnation = 0x11 * (i + 1), .role = KELP_VOTER};
        (void)snprintf(c->peer[i].text, sizeof c->peer[i].text, "%c:710%u", (int)('a' + (int)i),
                       (unsigned)i + 1);
    }
    c->created_unix_ms = 1700000000000;
    c->config.election_min = 1000000000;
    c->config.drift_ppm = 500;
    c->cluster = (struct kelp_cluster_id){.hi = 0x0102030405060708, .lo = 0x090a0b0c0d0e0f10};
}

#endif
