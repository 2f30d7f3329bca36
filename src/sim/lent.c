/* SPDX-License-Identifier: Apache-2.0 */
/* lent.c - what a register holds for a while only, by a few lines of our own.
 *
 * A value that was lent is gone from the first committed entry on whose stamp is its deadline or
 * later, whatever that entry is; every other write of its register ends the loan. So a register is
 * 0 more than once: before its first value, and in each of its absences. Who reads 0 may have read
 * any of them, and is taken to have seen the earliest that it may still have seen. */
#include <stdlib.h>

#include "base/min.h"
#include "sim/checker_room.h"

#define NS_A_MS 1000000u

static bool absence_reserve(struct checker *c)
{
    if (c->absence_count < c->absence_room) return true;
    size_t room = max_u64(2 * c->absence_room, 64);
    struct absence *absences = realloc(c->absences, room * sizeof *absences);
    if (absences == NULL) {
        checker_fail(c, RULE_W02, "no memory for absences");
        return false;
    }
    c->absences = absences;
    c->absence_room = room;
    return true;
}

void checker_lent_ends(struct checker *c, uint32_t name, kelp_index index)
{
    const struct register_state *r = &c->registers[name];
    if (r->value == 0 && r->absent != 0) c->absences[r->absent - 1].to = index;
    for (uint32_t i = 0; i < c->lent_count; i++) {
        if (c->lent[i].name != name) continue;
        c->lent[i] = c->lent[--c->lent_count];
        return;
    }
}

void checker_lend(struct checker *c, uint32_t name, uint32_t lasts_ms)
{
    if (c->lent_count == MACHINE_LENT_MAX) return;
    uint64_t due = c->commit_time + (uint64_t)lasts_ms * NS_A_MS;
    struct write_record *version = checker_version(c, name, c->registers[name].value);
    if (version != NULL) version->due = due;
    c->lent[c->lent_count++] = (struct checked_lent){name, due};
}

static void lapse(struct checker *c, uint32_t name, kelp_index index)
{
    struct register_state *r = &c->registers[name];
    struct write_record *version = checker_version(c, name, r->value);
    if (version == NULL || !absence_reserve(c)) return;
    version->next = index;
    r->value = 0;
    c->absences[c->absence_count++] = (struct absence){.from = index, .before = r->absent};
    r->absent = (uint32_t)c->absence_count;
    c->lapsed++;
}

void checker_time_passes(struct checker *c, kelp_index index)
{
    for (uint32_t i = 0; i < c->lent_count;) {
        struct checked_lent due = c->lent[i];
        if (due.due > c->commit_time) {
            i++;
            continue;
        }
        c->lent[i] = c->lent[--c->lent_count];
        lapse(c, due.name, index);
    }
}

struct span checker_absence(const struct checker *c, uint32_t name, kelp_index seen)
{
    const struct register_state *r = &c->registers[name];
    struct span found = {0, r->first};
    if (found.next == 0 || found.next > seen) return found;
    for (uint32_t i = r->absent; i != 0; i = c->absences[i - 1].before) {
        const struct absence *a = &c->absences[i - 1];
        if (a->to == a->from) continue; /* written anew by the entry that ended it */
        if (a->to != 0 && a->to <= seen && found.at != 0) return found;
        found = (struct span){a->from, a->to};
        if (a->to != 0 && a->to <= seen) return found; /* none that it may have seen */
    }
    return found;
}

uint64_t checker_lapsed(const struct checker *c)
{
    return c->lapsed;
}
