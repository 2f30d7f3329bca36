/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - a configuration as bytes: the payload of a configuration entry, and a field of a
 * snapshot's head.
 *
 *   offset  size  field
 *        0     2  version       1, or 2 if some priority is not 1; another one is KELP_E_VERSION
 *        2     1  joint         0 or 1
 *        3     1  count         members, 1..32
 *        4     4  drift         bound on clock drift between members, parts in a million
 *        8     8  id_highest    the highest id ever given out, at most 2^62
 *       16    16  cluster       hi, lo
 *       32     8  created       the founder's wall clock, Unix ms
 *       40     8  election_min  minimum election timeout, ns
 *       48        the members, ascending by id, each
 *              8  id            not 0
 *              8  incarnation   0: not known
 *              1  role          enum kelp_member_role in the four lowest bits, 0 only where joint
 *                               is 1; enum kelp_member_mark in the others
 *              1  role_old      the same in the outgoing half; 0 where joint is 0
 *              1  priority      version 2 only; 0 never leads, the highest is preferred
 *            1+n  peer address  a text as in wire.c
 *
 * Nothing follows: whoever does not understand all of a configuration must not count by it, so a
 * new field is a new version. What must hold of one is checked in one place, asserted before the
 * bytes are written and demanded after they are read. */
#include "wire/config.h"

#include "wire/wire.h"

#define CONFIG_VERSION_USUAL    1u /* every priority is the usual one and not written */
#define CONFIG_VERSION_PRIORITY 2u

_Static_assert(48 + KELP_MEMBERS_MAX * (8 + 8 + 1 + 1 + 1 + WIRE_ADDRESS_MAX) <=
                   WIRE_CONFIG_BYTES_MAX,
               "the largest configuration fits");

/* NULL, or the rule that is broken. */
static const char *config_wrong(const struct kelp_config *c)
{
    if (c->count == 0 || c->count > KELP_MEMBERS_MAX) return "a configuration has 1 to 32 members";
    if (c->joint > 1) return "a configuration is joint or not";
    kelp_id before = 0;
    unsigned voters = 0, voters_old = 0, leaders = 0;
    for (size_t slot = 0; slot < c->count; slot++) {
        const struct kelp_member *m = &c->members[slot];
        if (m->id <= before) return "a configuration's ids do not ascend";
        if (m->role > KELP_STAGING || m->role_old > KELP_WITNESS) return "a role is not known";
        if (m->marks > (KELP_MARK_IN | KELP_MARK_ABSENT)) return "a mark is not known";
        if (c->joint == 0 && (m->role == KELP_NONE || m->role_old != KELP_NONE))
            return "a simple configuration has a member of a joint one";
        before = m->id;
        voters += m->role == KELP_VOTER;
        voters_old += m->role_old == KELP_VOTER;
        leaders += m->role == KELP_VOTER && kelp_priority_of(m) > 0;
    }
    if (c->id_highest < before || c->id_highest > WIRE_NUMBER_MAX)
        return "a configuration's highest id is out of range";
    if (c->election_min > UINT64_MAX / 64) return "a configuration's election timeout is absurd";
    if (voters == 0 || (c->joint != 0 && voters_old == 0)) return "a configuration has no voter";
    if (leaders == 0) return "a configuration has no voter that may lead";
    return NULL;
}

/* Written only where it says something, so that a program that knows no priorities goes on in a
 * cluster that uses none. */
static bool priorities_written(const struct kelp_config *config)
{
    for (size_t slot = 0; slot < config->count; slot++) {
        if (kelp_priority_of(&config->members[slot]) != KELP_PRIORITY_USUAL) return true;
    }
    return false;
}

void write_config(struct writer *w, const struct wire_config *c)
{
    const struct kelp_config *config = &c->config;
    ASSERT(config_wrong(config) == NULL);
    bool priorities = priorities_written(config);
    write_u16(w, priorities ? CONFIG_VERSION_PRIORITY : CONFIG_VERSION_USUAL);
    write_u8(w, config->joint);
    write_u8(w, config->count);
    write_u32(w, config->drift_ppm);
    write_u64(w, config->id_highest);
    write_cluster(w, c->cluster);
    write_u64(w, c->created_unix_ms);
    write_u64(w, config->election_min);
    for (size_t slot = 0; slot < config->count; slot++) {
        const struct kelp_member *m = &config->members[slot];
        write_u64(w, m->id);
        write_u64(w, m->incarnation);
        write_u8(w, (uint8_t)(m->role | (unsigned)m->marks << 4));
        write_u8(w, m->role_old);
        if (priorities) write_u8(w, kelp_priority_of(m));
        write_address(w, &c->peer[slot]);
    }
}

size_t wire_config_encode(const struct wire_config *c, uint8_t *out)
{
    struct writer w = writer_of(out, WIRE_CONFIG_BYTES_MAX);
    write_config(&w, c);
    ASSERT(!w.failed);
    return writer_len(&w);
}

enum kelp_error wire_config_decode(struct kelp_bytes in, kelp_index index, struct wire_config *out,
                                   struct kelp_fault *fault)
{
    struct reader r = reader_of(in);
    struct kelp_config *config = &out->config;
    memset(out, 0, sizeof *out);
    unsigned version = read_u16(&r);
    bool priorities = version == CONFIG_VERSION_PRIORITY;
    if (!r.failed && !priorities && version != CONFIG_VERSION_USUAL) {
        return fault_set(fault, KELP_E_VERSION, NULL,
                         "a configuration of version %u; this program knows versions %u and %u",
                         version, CONFIG_VERSION_USUAL, CONFIG_VERSION_PRIORITY);
    }
    config->index = index;
    config->joint = read_u8(&r);
    config->count = read_u8(&r);
    config->drift_ppm = read_u32(&r);
    config->id_highest = read_u64(&r);
    out->cluster = read_cluster(&r);
    out->created_unix_ms = read_u64(&r);
    config->election_min = read_u64(&r);
    if (config->count > KELP_MEMBERS_MAX)
        return wire_malformed(fault, "a configuration has more than 32 members");
    for (size_t slot = 0; slot < config->count; slot++) {
        struct kelp_member *m = &config->members[slot];
        m->id = read_u64(&r);
        m->incarnation = read_u64(&r);
        uint8_t role = read_u8(&r);
        m->role = role & 15u;
        m->marks = (uint8_t)(role >> 4);
        m->role_old = read_u8(&r);
        m->preference = priorities ? kelp_preference_of(read_u8(&r)) : 0;
        read_address(&r, &out->peer[slot]);
    }
    if (r.failed) return wire_malformed(fault, "a configuration is cut, or an address is wrong");
    if (reader_left(&r) != 0) return wire_malformed(fault, "bytes follow a configuration");
    const char *wrong = config_wrong(config);
    return wrong == NULL ? KELP_OK : wire_malformed(fault, wrong);
}
