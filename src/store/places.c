/* SPDX-License-Identifier: Apache-2.0 */
/* places.c - where each entry lies and which term it has: the log as the store knows it in memory.
 *
 * Terms are kept as runs. Places are kept as extents: entries that lie back to back, at most about
 * 64 KiB of them, so the memory is bounded by the bytes of the log (32 bytes for every write, at
 * least 4 KiB on disk) and a read walks over little before it finds its entry. An entry belongs to
 * the last extent that starts at or below it; truncation only drops extents and lowers the end.
 * Invariant: extents and runs ascend; the first extent starts at or below base + 1 whenever the log
 * is not empty; no extent starts above last. */
#include <stdlib.h>

#include "base/assert.h"
#include "store/room.h"

/* Room for one more of each, so that nothing fails after the first change. */
static bool reserve(struct places *p)
{
    void *runs = p->runs, *extents = p->extents, *configs = p->configs;
    bool ok = room_grow(&runs, &p->run_room, p->run_count + 1, sizeof *p->runs);
    p->runs = runs;
    ok = ok && room_grow(&extents, &p->extent_room, p->extent_count + 1, sizeof *p->extents);
    p->extents = extents;
    ok = ok && room_grow(&configs, &p->config_room, p->config_count + 1, sizeof *p->configs);
    p->configs = configs;
    return ok;
}

enum kelp_error places_append(struct places *p, struct kelp_pos pos, uint8_t type, uint64_t segment,
                              uint64_t offset, uint64_t bytes)
{
    if (pos.index != p->last.index + 1 || pos.term.v < p->last.term.v) return KELP_E_CORRUPT;
    if (!reserve(p)) return KELP_E_NO_MEMORY;
    if (p->run_count == 0 || p->runs[p->run_count - 1].term.v != pos.term.v) {
        p->runs[p->run_count++] = (struct kelp_run){.term = pos.term};
    }
    p->runs[p->run_count - 1].last = pos.index;
    struct extent *top = p->extent_count > 0 ? &p->extents[p->extent_count - 1] : NULL;
    if (top != NULL && !p->closed && top->segment == segment &&
        top->offset + top->bytes == offset && top->bytes < EXTENT_BYTES) {
        top->bytes += bytes;
    } else {
        p->extents[p->extent_count++] = (struct extent){
            .first = pos.index, .segment = segment, .offset = offset, .bytes = bytes};
    }
    if (type == KELP_ENTRY_CONFIG) p->configs[p->config_count++] = pos.index;
    p->closed = false;
    p->last = pos;
    return KELP_OK;
}

void places_reset(struct places *p, struct kelp_pos end)
{
    p->base = end;
    p->last = end;
    p->run_count = 0;
    p->extent_count = 0;
    p->config_count = 0;
    p->closed = true;
}

/* A truncation may lie below the oldest segment still held: what it kept was compacted since, what
 * it cut is no longer there, and the log starts where it ended. */
enum kelp_error places_truncate(struct places *p, struct kelp_pos end)
{
    if (end.index > p->last.index) return KELP_E_CORRUPT;
    if (end.index < p->base.index) {
        places_reset(p, end);
        return KELP_OK;
    }
    if (places_term(p, end.index).v != end.term.v) return KELP_E_CORRUPT;
    while (p->extent_count > 0 && p->extents[p->extent_count - 1].first > end.index) {
        p->extent_count--;
    }
    while (p->run_count > 0) {
        kelp_index before = p->run_count > 1 ? p->runs[p->run_count - 2].last : p->base.index;
        if (before < end.index) break;
        p->run_count--;
    }
    if (p->run_count > 0) p->runs[p->run_count - 1].last = end.index;
    while (p->config_count > 0 && p->configs[p->config_count - 1] > end.index)
        p->config_count--;
    p->last = end;
    p->closed = true; /* cut entries lie between the last extent's end and what follows */
    return KELP_OK;
}

void places_compact(struct places *p, kelp_index keep)
{
    ASSERT(keep <= p->last.index + 1);
    if (keep <= p->base.index + 1) return;
    p->base = (struct kelp_pos){.term = places_term(p, keep - 1), .index = keep - 1};
    size_t runs = 0, extents = 0, configs = 0;
    while (runs < p->run_count && p->runs[runs].last < keep)
        runs++;
    while (extents + 1 < p->extent_count && p->extents[extents + 1].first <= keep)
        extents++;
    if (keep > p->last.index) extents = p->extent_count;
    while (configs < p->config_count && p->configs[configs] < keep)
        configs++;
    p->run_count -= runs;
    p->extent_count -= extents;
    p->config_count -= configs;
    if (runs > 0) memmove(p->runs, p->runs + runs, p->run_count * sizeof *p->runs);
    if (extents > 0)
        memmove(p->extents, p->extents + extents, p->extent_count * sizeof *p->extents);
    if (configs > 0)
        memmove(p->configs, p->configs + configs, p->config_count * sizeof *p->configs);
    ASSERT(p->base.index <= p->last.index);
}

kelp_term places_term(const struct places *p, kelp_index index)
{
    ASSERT(index >= p->base.index && index <= p->last.index);
    if (index == p->base.index) return p->base.term;
    size_t low = 0, high = p->run_count; /* the first run that ends at or above index */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->runs[middle].last < index)
            low = middle + 1;
        else
            high = middle;
    }
    ASSERT(low < p->run_count);
    return p->runs[low].term;
}

const struct extent *places_find(const struct places *p, kelp_index index)
{
    ASSERT(index > p->base.index && index <= p->last.index);
    size_t low = 0, high = p->extent_count; /* the first extent that starts above index */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->extents[middle].first <= index)
            low = middle + 1;
        else
            high = middle;
    }
    ASSERT(low > 0);
    return &p->extents[low - 1];
}

void places_free(struct places *p)
{
    free(p->runs);
    free(p->extents);
    free(p->configs);
    *p = (struct places){0};
}
