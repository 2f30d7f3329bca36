/* SPDX-License-Identifier: Apache-2.0 */
/* room.c - the growing tables behind the checker.
 *
 * Everything is indexed by log index, term or value and only grows during a run. Lack of memory
 * ends the run as failed: a checker that forgets would pass what it should not. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/min.h"
#include "sim/checker_room.h"

#define ROOM_MIN  1024u
#define TERM_BITS 24u

/* Grow an array of elements, zeroed, so that slot exists; NULL: no memory, the run has failed. */
static void *array_grow(struct checker *c, void *array, size_t *room, size_t size, uint64_t slot)
{
    if (slot < *room) return array;
    size_t wanted = *room > 0 ? *room : ROOM_MIN;
    while (wanted <= slot)
        wanted *= 2;
    char *grown = realloc(array, wanted * size);
    if (grown == NULL) {
        checker_fail(c, RULE_W02, "out of memory");
        return NULL;
    }
    memset(grown + *room * size, 0, (wanted - *room) * size);
    *room = wanted;
    return grown;
}

#define RETURN_RESERVED(c, array, room, slot)                                                      \
    do {                                                                                           \
        void *grown_ = array_grow(c, array, &(room), sizeof *(array), slot);                       \
        if (grown_ != NULL) (array) = grown_;                                                      \
        return grown_ != NULL;                                                                     \
    } while (0)

bool checker_log_reserve(struct checker *c, struct held_log *log, kelp_index last)
{
    RETURN_RESERVED(c, log->held, log->room, last);
}

bool checker_term_reserve(struct checker *c, uint64_t term)
{
    RETURN_RESERVED(c, c->leader_of, c->leader_room, term);
}

bool checker_vote_reserve(struct checker *c, struct checked_node *n, uint64_t term)
{
    RETURN_RESERVED(c, n->votes, n->vote_room, term);
}

bool checker_commit_reserve(struct checker *c, kelp_index index)
{
    RETURN_RESERVED(c, c->commits, c->commit_room, index);
}

bool checker_register_reserve(struct checker *c, uint32_t name)
{
    RETURN_RESERVED(c, c->registers, c->register_room, name);
}

static bool entries_reserve(struct checker *c, struct checked_node *n, size_t slot)
{
    RETURN_RESERVED(c, n->entries, n->entry_room, slot);
}

static bool saves_reserve(struct checker *c, struct checked_node *n, size_t slot)
{
    RETURN_RESERVED(c, n->saves, n->save_room, slot);
}

bool checker_pending_reserve(struct checker *c, struct checked_node *n, size_t entries)
{
    return saves_reserve(c, n, n->save_count) && entries_reserve(c, n, n->entry_count + entries);
}

/* ---- two hash tables with open addresses ---- */

static uint64_t known_key(kelp_index index, uint64_t term)
{
    ASSERT(term < (uint64_t)1 << TERM_BITS);
    return index << TERM_BITS | term;
}

static struct known_entry *known_slot(struct known_entry *table, size_t room, uint64_t key)
{
    size_t slot = (size_t)hash_mix(0, key) & (room - 1);
    while (table[slot].key != 0 && table[slot].key != key)
        slot = (slot + 1) & (room - 1);
    return &table[slot];
}

struct known_entry *checker_known(struct checker *c, kelp_index index, uint64_t term)
{
    if (c->known_room == 0) return NULL;
    struct known_entry *e = known_slot(c->known, c->known_room, known_key(index, term));
    return e->key != 0 ? e : NULL;
}

struct known_entry *checker_know(struct checker *c, kelp_index index, uint64_t term)
{
    if (2 * (c->known_count + 1) > c->known_room) {
        size_t room = c->known_room > 0 ? c->known_room * 2 : 4 * ROOM_MIN;
        struct known_entry *table = calloc(room, sizeof *table);
        if (table == NULL) {
            checker_fail(c, RULE_W02, "out of memory");
            return NULL;
        }
        for (size_t i = 0; i < c->known_room; i++) {
            if (c->known[i].key != 0) *known_slot(table, room, c->known[i].key) = c->known[i];
        }
        free(c->known);
        c->known = table;
        c->known_room = room;
    }
    struct known_entry *e = known_slot(c->known, c->known_room, known_key(index, term));
    if (e->key == 0) {
        e->key = known_key(index, term);
        c->known_count++;
    }
    return e;
}

static struct write_record *write_slot(struct write_record *table, size_t room, uint64_t value)
{
    size_t slot = (size_t)hash_mix(1, value) & (room - 1);
    while (table[slot].value != 0 && table[slot].value != value)
        slot = (slot + 1) & (room - 1);
    return &table[slot];
}

struct write_record *checker_write(struct checker *c, uint64_t value)
{
    ASSERT(value != 0);
    if (2 * (c->write_count + 1) > c->write_room) {
        size_t room = c->write_room > 0 ? c->write_room * 2 : 4 * ROOM_MIN;
        struct write_record *table = calloc(room, sizeof *table);
        if (table == NULL) {
            checker_fail(c, RULE_W02, "out of memory");
            return NULL;
        }
        for (size_t i = 0; i < c->write_room; i++) {
            if (c->writes[i].value != 0)
                *write_slot(table, room, c->writes[i].value) = c->writes[i];
        }
        free(c->writes);
        c->writes = table;
        c->write_room = room;
    }
    struct write_record *w = write_slot(c->writes, c->write_room, value);
    if (w->value == 0) {
        w->value = value;
        c->write_count++;
    }
    return w;
}

/* ---- life ---- */

struct checker *checker_new(unsigned nodes)
{
    ASSERT(nodes >= 1 && nodes <= CHECKER_NODES_MAX);
    struct checker *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->node_count = nodes;
    bool made = checker_commit_reserve(c, 0) && checker_term_reserve(c, 0);
    for (unsigned i = 0; i < nodes; i++) {
        made = made && checker_log_reserve(c, &c->nodes[i].memory, 0) &&
               checker_log_reserve(c, &c->nodes[i].ahead, 0) &&
               checker_log_reserve(c, &c->nodes[i].durable, 0);
    }
    if (made) return c;
    checker_free(c);
    return NULL;
}

void checker_free(struct checker *c)
{
    if (c == NULL) return;
    for (unsigned i = 0; i < c->node_count; i++) {
        struct checked_node *n = &c->nodes[i];
        free(n->memory.held);
        free(n->ahead.held);
        free(n->durable.held);
        free(n->saves);
        free(n->entries);
        free(n->votes);
    }
    free(c->leader_of);
    free(c->commits);
    free(c->known);
    free(c->writes);
    free(c->registers);
    free(c->sessions);
    free(c->absences);
    free(c);
}

static const char *const rule_words[] = {"nothing",
#define X(id, name) #id " " #name,
                                         CHECKER_RULES(X)
#undef X
};

void checker_fail(struct checker *c, enum checker_rule rule, const char *format, ...)
{
    ASSERT(rule != RULE_NONE && rule < COUNT_OF(rule_words));
    if (c->rule != RULE_NONE) return;
    c->rule = rule;
    (void)snprintf(c->invariant, sizeof c->invariant, "%s", rule_words[rule]);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(c->message, sizeof c->message, format, args);
    va_end(args);
}

bool checker_failed(const struct checker *c)
{
    return c->rule != RULE_NONE;
}

const char *checker_invariant(const struct checker *c)
{
    return c->invariant;
}

const char *checker_message(const struct checker *c)
{
    return c->message;
}
