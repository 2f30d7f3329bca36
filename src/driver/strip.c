/* SPDX-License-Identifier: Apache-2.0 */
/* strip.c - what of the log's entries goes to a witness: positions, and configurations whole.
 *
 * The core says "entries 7..31 to node 3"; if 3 is a witness each of them but a configuration is
 * sent as an entry of type POSITION with the same index, term and time, and its own checksum. The
 * witness keeps those bytes like any others, so everything below it is the same code. Nothing of a
 * stripped entry ever comes back: a witness never leads, and hands on entry 1 only, which is a
 * configuration.
 *
 * Not before the configuration that makes it a witness is committed: until then that entry may be
 * taken back and the same node be added with data, and its log of positions would match any other
 * by index and term while it holds nothing. Afterwards every leader knows it for a witness, which
 * becomes nothing else, and its id is never given again. */
#include "driver/room.h"

/* false: it is no member; else *is says whether it is a witness. */
bool strip_witness_in(const struct kelp_config *config, kelp_id id, bool *is)
{
    for (size_t slot = 0; slot < config->count; slot++) {
        const struct kelp_member *member = &config->members[slot];
        if (member->id != id) continue;
        *is = member->role == KELP_WITNESS || member->role_old == KELP_WITNESS;
        return true;
    }
    return false;
}

bool strip_witness(const struct driver *d, kelp_id id)
{
    bool is = false;
    for (size_t i = d->config_count; i > 0; i--) {
        if (strip_witness_in(&d->configs[i - 1].config, id, &is)) return is;
    }
    return false;
}

bool strip_wanted(const struct driver *d, kelp_id to)
{
    struct kelp_config committed;
    bool is = false;
    if (!strip_witness(d, to)) return false;
    kelp_core_config(d->core, NULL, &committed); /* d->configs is behind the messages of a take */
    return strip_witness_in(&committed, to, &is) && is;
}

/* The bytes of one entry as a witness gets it, written to out unless that is NULL. */
static size_t strip_entry(struct kelp_bytes encoded, uint8_t *out, size_t *used)
{
    struct wire_entry e;
    enum kelp_error error = wire_entry_open(encoded, &e, used, NULL);
    ASSERT(error == KELP_OK); /* verified before it came into the cache or out of the store */
    if (e.type == KELP_ENTRY_CONFIG) {
        if (out != NULL) memcpy(out, encoded.data, *used);
        return *used;
    }
    struct wire_entry position = {.pos = e.pos, .type = KELP_ENTRY_POSITION, .time_ns = e.time_ns};
    if (out != NULL) wire_entry_encode(&position, out);
    return wire_entry_size(&position);
}

static size_t strip_all(const struct kelp_bytes *parts, size_t count, uint8_t *out)
{
    size_t bytes = 0, used = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < parts[i].len; at += used) {
            struct kelp_bytes left = bytes_of(parts[i].data + at, parts[i].len - at);
            bytes += strip_entry(left, out != NULL ? out + bytes : NULL, &used);
        }
    }
    return bytes;
}

bool strip_entries(struct driver *d, const struct kelp_bytes *parts, size_t count,
                   struct kelp_bytes *out)
{
    size_t bytes = strip_all(parts, count, NULL);
    uint8_t *room = scratch_take(d, bytes);
    if (room == NULL) return false;
    *out = bytes_of(room, strip_all(parts, count, room));
    return true;
}
