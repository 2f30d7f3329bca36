/* SPDX-License-Identifier: Apache-2.0 */
/* exhaust_cell.c - one node of an explored world: its core, its disk, and what an action does.
 *
 * A core lives at one address per node, so its pointers never change, and a cell keeps only the
 * words in which its core, in normal form, differs from the node's first one. To play a move the
 * core is put back, given its input and taken empty; what it sends becomes packets, what it saves
 * waits on the disk, what it applies or looks up is done at once. Since core and disk are
 * deterministic, each move is played once and remembered.
 *
 * The disk performs saves in order; a save's parts (vote, end of log, each entry) reach it in
 * order too, so a crash keeps a prefix of all parts. Rules that one node can break alone are
 * judged here: the core's own (kelp_check), I02 to I05, I14, I15 and I25. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/min.h"
#include "core/normal.h"
#include "sim/exhaust.h"

#define PIECE_BYTES  (1u << 20) /* images are allocated in pieces of this size */
#define TAKES_MAX    64u
#define LOOKUPS_MAX  (NODES_MAX + 1u)
#define DIFFERS_SIZE (sizeof(uint16_t) + sizeof(uint64_t))

struct cells {
    const struct kelp_sim_scope *scope;
    struct kelp_config config;
    struct kelp_options options[NODES_MAX];
    uint64_t *memory[NODES_MAX]; /* where each node's core lives */
    uint64_t *first[NODES_MAX];  /* its normal form at the beginning */
    size_t words;
    uint8_t *scratch; /* an image being made */
    uint8_t **pieces;
    uint32_t piece_count;
    size_t piece_used;
    struct hoard cells, packets, moves;
    uint64_t bytes;
    struct verdict verdict;
};

/* A move being played. */
struct play {
    struct cells *s;
    struct kelp_core *core;
    kelp_ns now;
    uint64_t number; /* of the core's next save */
    struct cell to;
    struct move *move;
    bool no_memory;
};

static void broken(struct play *p, unsigned rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void broken(struct play *p, unsigned rule, const char *format, ...)
{
    if (!rules_apply(p->s->scope, rule) || (p->move->flags & MOVE_BROKEN) != 0) return;
    p->move->flags |= MOVE_BROKEN;
    p->s->verdict.rule = rule;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(p->s->verdict.words, sizeof p->s->verdict.words, format, args);
    va_end(args);
}

/* ---- birth ---- */

static void options_make(struct cells *s)
{
    s->config.count = (uint8_t)s->scope->nodes;
    s->config.id_highest = s->scope->nodes;
    for (uint32_t node = 0; node < s->scope->nodes; node++) {
        s->config.members[node].id = node + 1;
        s->config.members[node].role = KELP_VOTER;
        struct kelp_options *o = &s->options[node];
        *o = kelp_options_default(node + 1, node + 1);
        o->stall_limit =
            UINT64_MAX / 64; /* slow disks are not in the scope, unreported saves are */
        if (!s->scope->protections) o->off = KELP_PRE_VOTE | KELP_CHECK_QUORUM | KELP_STICKINESS;
        o->limits = kelp_limits_small();
        o->limits.members_max = s->scope->nodes;
        o->limits.proposals_max = 8;
        o->limits.reads_max = 1;
        o->limits.tail_entries_max = 16;
        o->limits.runs_max = TERMS_MAX + 1;
        o->limits.window_messages_max = 2;
        o->limits.strangers_max = 1;
        o->limits.message_entries_max = s->scope->batch;
    }
    _Static_assert(LOG_MAX < 16, "the core knows the size of every entry it was given");
}

static struct kelp_core *core_start(struct cells *s, uint32_t node, const struct disk *disk)
{
    struct kelp_run runs[LOG_MAX];
    struct kelp_boot boot = {.term = kelp_term_of(disk->term),
                             .vote = disk->vote,
                             .last = disk->log.last,
                             .commit = disk->commit,
                             .runs = runs,
                             .run_count = disk->log.last,
                             .runs_from = 1,
                             .config = &s->config};
    for (uint32_t i = 0; i < disk->log.last; i++)
        runs[i] = (struct kelp_run){.last = i + 1, .term = kelp_term_of(disk->log.terms[i + 1])};
    struct kelp_fault fault = {0};
    struct kelp_core *core =
        kelp_core_init(s->memory[node], &s->options[node], &boot, NORMAL_NOW, &fault);
    ASSERT(core != NULL); /* the options are ours, and what the disk holds came from a core */
    return core;
}

struct cells *cells_open(const struct kelp_sim_scope *scope)
{
    struct cells *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->scope = scope;
    options_make(s);
    size_t bytes = (kelp_core_memory(&s->options[0].limits) + 7u) & ~(size_t)7u;
    s->words = bytes / sizeof(uint64_t);
    ASSERT(s->words <= UINT16_MAX);
    s->scratch = malloc(s->words * DIFFERS_SIZE);
    bool all = s->scratch != NULL;
    for (uint32_t node = 0; node < scope->nodes; node++) {
        s->memory[node] = calloc(1, bytes);
        s->first[node] = calloc(1, bytes);
        all = all && s->memory[node] != NULL && s->first[node] != NULL;
    }
    s->cells = hoard_open(sizeof(struct cell), offsetof(struct cell, role));
    s->packets = hoard_open(sizeof(struct packet), sizeof(struct packet));
    s->moves = hoard_open(sizeof(struct move), offsetof(struct move, next));
    if (all) return s;
    cells_close(s);
    return NULL;
}

void cells_close(struct cells *s)
{
    if (s == NULL) return;
    for (uint32_t node = 0; node < NODES_MAX; node++) {
        free(s->memory[node]);
        free(s->first[node]);
    }
    for (uint32_t i = 0; i < s->piece_count; i++)
        free(s->pieces[i]);
    free(s->pieces);
    free(s->scratch);
    hoard_close(&s->cells);
    hoard_close(&s->packets);
    hoard_close(&s->moves);
    free(s);
}

/* ---- images ---- */

static void image_load(const struct cells *s, const struct cell *cell)
{
    uint64_t *memory = s->memory[cell->node];
    memcpy(memory, s->first[cell->node], s->words * sizeof *memory);
    for (uint32_t at = 0; at < cell->image_bytes; at += DIFFERS_SIZE) {
        uint16_t word;
        memcpy(&word, cell->image + at, sizeof word);
        memcpy(&memory[word], cell->image + at + sizeof word, sizeof *memory);
    }
}

static uint32_t image_make(struct cells *s, uint32_t node)
{
    uint32_t used = 0;
    for (size_t i = 0; i < s->words; i++) {
        if (s->memory[node][i] == s->first[node][i]) continue;
        uint16_t word = (uint16_t)i;
        memcpy(s->scratch + used, &word, sizeof word);
        memcpy(s->scratch + used + sizeof word, &s->memory[node][i], sizeof s->memory[node][i]);
        used += DIFFERS_SIZE;
    }
    return used;
}

static const uint8_t *image_keep(struct cells *s, uint32_t bytes)
{
    if (s->piece_count == 0 || s->piece_used + bytes > PIECE_BYTES) {
        uint8_t **pieces = realloc(s->pieces, (s->piece_count + 1) * sizeof *pieces);
        if (pieces == NULL) return NULL;
        s->pieces = pieces;
        pieces[s->piece_count] = malloc(PIECE_BYTES);
        if (pieces[s->piece_count] == NULL) return NULL;
        s->piece_count++;
        s->piece_used = 0;
        s->bytes += PIECE_BYTES;
    }
    uint8_t *kept = s->pieces[s->piece_count - 1] + s->piece_used;
    memcpy(kept, s->scratch, bytes);
    s->piece_used += bytes;
    return kept;
}

/* The number of the cell whose core lies normal in its memory; 0: no memory. */
static uint32_t cell_keep(struct cells *s, struct cell *cell)
{
    cell->image_bytes = image_make(s, cell->node);
    cell->image_hash = hash_bytes(bytes_of(s->scratch, cell->image_bytes), 0);
    uint32_t known = hoard_find(&s->cells, cell);
    if (known != 0) {
        /* the key holds a hash of the image only; should two ever agree, say so */
        ASSERT(memcmp(cells_at(s, known)->image, s->scratch, cell->image_bytes) == 0);
        return known;
    }
    cell->image = image_keep(s, cell->image_bytes);
    bool fresh;
    return cell->image != NULL ? hoard_put(&s->cells, cell, &fresh) : 0;
}

/* ---- the disk ---- */

/* One save, or the first parts of it; returns how many parts it has. */
static uint32_t disk_write(struct disk *disk, const struct open_write *w, uint32_t parts)
{
    uint32_t done = 0;
    if ((w->flags & KELP_SAVE_VOTE) != 0 && done++ < parts) {
        disk->term = w->term;
        disk->vote = w->vote;
    }
    if ((w->flags & KELP_SAVE_TRUNCATE) != 0 && done++ < parts) {
        for (uint8_t i = w->end; i < disk->log.last; i++)
            disk->log.terms[i + 1] = 0;
        disk->log.last = (uint8_t)min_u64(disk->log.last, w->end);
    }
    for (uint8_t i = w->first; i != 0 && i <= w->last; i++) {
        if (done++ >= parts) continue;
        disk->log.terms[i] = w->terms[i];
        disk->log.last = i;
    }
    if (done <= parts) disk->commit = w->commit;
    disk->commit = (uint8_t)min_u64(disk->commit, disk->log.last);
    return done;
}

uint32_t cells_parts(const struct cell *cell)
{
    uint32_t parts = 0;
    struct disk unused = cell->disk;
    for (uint8_t i = 0; i < cell->disk.open_count; i++)
        parts += disk_write(&unused, &cell->disk.open[i], 0);
    return parts;
}

static void writes_forget(struct disk *disk, uint32_t count)
{
    uint32_t left = disk->open_count - count;
    memmove(disk->open, disk->open + count, left * sizeof *disk->open);
    memset(disk->open + left, 0, count * sizeof *disk->open);
    disk->open_count = (uint8_t)left;
}

/* The oldest save reaches the disk whole. */
static void write_done(struct play *p)
{
    struct disk *disk = &p->to.disk;
    const struct open_write *w = &disk->open[0];
    if ((w->flags & KELP_SAVE_VOTE) != 0) {
        if (w->term < disk->term)
            broken(p, 4, "node %u saves term %u after term %u", p->to.node + 1, w->term,
                   disk->term);
        if (w->term == disk->term && disk->vote != 0 && w->vote != disk->vote)
            broken(p, 2, "node %u votes for %u and %u in term %u", p->to.node + 1, disk->vote,
                   w->vote, w->term);
    }
    uint8_t kept = (w->flags & KELP_SAVE_TRUNCATE) != 0 ? w->end : disk->log.last;
    if (w->first != 0) ASSERT(w->first == kept + 1); /* a save never leaves a gap */
    (void)disk_write(disk, w, UINT32_MAX);
    if (disk->log.terms[disk->log.last] > disk->term)
        broken(p, 5, "node %u: entry %u of term %u is durable, term %u is not", p->to.node + 1,
               disk->log.last, disk->log.terms[disk->log.last], disk->log.terms[disk->log.last]);
    writes_forget(disk, 1);
}

static void disk_crash(struct play *p, uint32_t parts)
{
    struct disk *disk = &p->to.disk;
    for (uint8_t i = 0; i < disk->open_count && parts > 0; i++)
        parts -= (uint32_t)min_u64(parts, disk_write(disk, &disk->open[i], parts));
    writes_forget(disk, disk->open_count);
    switch (p->s->scope->broken) {
    case KELP_SIM_SCOPE_SOUND:
    case KELP_SIM_SCOPE_EARLY_SAVED: break;
    case KELP_SIM_SCOPE_FORGET_VOTE: disk->vote = 0; break;
    case KELP_SIM_SCOPE_LOSE_TAIL:
        if (disk->log.last > 0) disk->log.terms[disk->log.last--] = 0;
        disk->commit = (uint8_t)min_u64(disk->commit, disk->log.last);
        break;
    }
    if (p->to.acked_match > disk->log.last)
        broken(p, 15, "node %u acknowledged 1..%u in term %u and lost %u", p->to.node + 1,
               p->to.acked_match, p->to.acked_term, disk->log.last + 1);
}

/* ---- what a take asks for ---- */

static struct log_terms log_of(const struct kelp_core *core)
{
    struct log_terms log = {0};
    struct kelp_view view;
    kelp_view(core, &view);
    ASSERT(view.last <= LOG_MAX);
    log.last = (uint8_t)view.last;
    for (uint8_t i = 1; i <= log.last; i++)
        log.terms[i] = (uint8_t)kelp_log_term(core, i).v;
    return log;
}

static void take_save(struct play *p, const struct kelp_save *save, const struct log_terms *log)
{
    struct disk *disk = &p->to.disk;
    ASSERT(disk->open_count < SAVES_MAX);
    struct open_write *w = &disk->open[disk->open_count++];
    w->flags = (uint8_t)save->flags;
    w->term = (uint8_t)save->term.v;
    w->vote = (uint8_t)save->vote;
    if ((save->flags & KELP_SAVE_TRUNCATE) != 0) w->end = (uint8_t)save->end.index;
    if ((save->flags & KELP_SAVE_APPEND) != 0) {
        w->first = (uint8_t)save->first;
        w->last = (uint8_t)save->last;
        memcpy(&w->terms[w->first], &log->terms[w->first], (size_t)w->last - w->first + 1);
    }
    w->commit = (uint8_t)save->commit;
    bool instant = p->s->scope->instant && p->s->scope->broken != KELP_SIM_SCOPE_EARLY_SAVED;
    if (instant) write_done(p);
    if (!instant && p->s->scope->broken != KELP_SIM_SCOPE_EARLY_SAVED) return;
    (void)kelp_step(p->core, p->now,
                    &(struct kelp_input){.type = KELP_IN_SAVED, .number = save->number});
}

/* What leaves a node: its term is durable, and so is what it promises. */
static void take_message(struct play *p, const struct kelp_message *m, const struct log_terms *log)
{
    const struct disk *disk = &p->to.disk;
    struct packet packet = packet_of(m, log);
    unsigned self = p->to.node + 1u;
    if (packet.term > disk->term)
        broken(p, 4, "node %u speaks in term %u, durable is term %u", self, packet.term,
               disk->term);
    bool grants = packet.type == KELP_MSG_VOTE_ANSWER && packet.flags == KELP_MF_GRANTED;
    if (grants && (disk->term != packet.term || disk->vote != packet.to))
        broken(p, 3, "node %u grants %u its vote in term %u, durable is %u in term %u", self,
               packet.to, packet.term, disk->vote, disk->term);
    if (packet.type == KELP_MSG_ANSWER && packet.match > 0) {
        if (packet.match > disk->log.last)
            broken(p, 14, "node %u acknowledges 1..%u, durable is 1..%u", self, packet.match,
                   disk->log.last);
        if (p->to.acked_term != packet.term) p->to.acked_match = 0;
        p->to.acked_term = packet.term;
        p->to.acked_match = (uint8_t)max_u64(p->to.acked_match, packet.match);
    }
    bool fresh;
    uint32_t number = hoard_put(&p->s->packets, &packet, &fresh);
    if (number == 0) p->no_memory = true;
    ASSERT(p->move->sent_count < SENT_MAX);
    p->move->sent[p->move->sent_count++] = number;
}

static void take_answer(struct play *p, const struct kelp_answer *answer,
                        const struct log_terms *log)
{
    struct kelp_view view;
    kelp_view(p->core, &view);
    bool same =
        answer->pos.index <= log->last && log->terms[answer->pos.index] == answer->pos.term.v;
    bool committed = answer->pos.index <= view.commit;
    bool done = answer->outcome == KELP_DONE, lost = answer->outcome == KELP_LOST;
    bool passed = !committed && log->terms[view.commit] > answer->pos.term.v;
    if ((done && !(committed && same)) || (lost && !(committed && !same) && !passed))
        broken(p, 25, "node %u says %s of entry %llu of term %llu, which is not so", p->to.node + 1,
               kelp_outcome_name(answer->outcome), (unsigned long long)answer->pos.index,
               (unsigned long long)answer->pos.term.v);
}

/* The log is read at once: the entries that fit behind the one that was asked for. */
static void take_lookup(struct play *p, const struct kelp_lookup *lookup,
                        const struct log_terms *log)
{
    ASSERT(lookup->index <= log->last);
    kelp_index last = min_u64(log->last, lookup->index + lookup->entries_max);
    struct kelp_input input = {.type = KELP_IN_FOUND};
    input.found.revision = lookup->revision;
    input.found.pos = kelp_pos_of(lookup->index, log->terms[lookup->index]);
    input.found.last = kelp_pos_of(last, log->terms[last]);
    input.found.bytes = (last - lookup->index) * ENTRY_BYTES;
    (void)kelp_step(p->core, p->now, &input);
}

/* One take's work. What it points to is the core's until the next step, so lookups are copied
 * before any of them is answered. */
static void take_all(struct play *p, const struct kelp_work *work)
{
    struct log_terms log = log_of(p->core);
    struct kelp_lookup lookups[LOOKUPS_MAX];
    uint32_t lookup_count = work->lookup_count;
    ASSERT(lookup_count <= LOOKUPS_MAX);
    if (lookup_count > 0) memcpy(lookups, work->lookups, lookup_count * sizeof *lookups);
    if (work->faulted) broken(p, 0, "node %u faulted: %s", p->to.node + 1, work->fault.what);
    for (uint32_t i = 0; i < work->message_count; i++)
        take_message(p, &work->messages[i], &log);
    for (uint32_t i = 0; i < work->answer_count; i++)
        take_answer(p, &work->answers[i], &log);
    if (work->save.number != 0) {
        if (p->to.disk.open_count == SAVES_MAX) {
            p->move->flags |= MOVE_OUTSIDE;
            return;
        }
        take_save(p, &work->save, &log);
    }
    for (uint32_t i = 0; i < lookup_count; i++)
        take_lookup(p, &lookups[i], &log);
    if (work->apply_last == 0) return;
    (void)kelp_step(p->core, p->now,
                    &(struct kelp_input){.type = KELP_IN_APPLIED, .index = work->apply_last});
}

static void drain(struct play *p)
{
    struct kelp_work work;
    for (unsigned takes = 0; kelp_take(p->core, p->now, &work); takes++) {
        ASSERT(takes < TAKES_MAX); /* a core that never ends giving work is a bug of its own */
        take_all(p, &work);
        if ((p->move->flags & (MOVE_OUTSIDE | MOVE_BROKEN)) != 0) return;
    }
}

/* ---- what an action puts in ---- */

static void give_saved(struct play *p, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        write_done(p);
    if (p->s->scope->broken == KELP_SIM_SCOPE_EARLY_SAVED) return; /* it was told long ago */
    (void)kelp_step(p->core, p->now, &(struct kelp_input){.type = KELP_IN_SAVED, .number = count});
}

static void give_command(struct play *p, const struct cell *from)
{
    struct kelp_input input = {.type = KELP_IN_PROPOSE};
    input.propose.token = (uint64_t)from->term << 8 | (from->log.last + 1u);
    input.propose.deadline = KELP_NEVER;
    input.propose.bytes = ENTRY_BYTES;
    (void)kelp_step(p->core, p->now, &input);
}

static void give_packet(struct play *p, uint32_t packet)
{
    struct kelp_entry_info entries[LOG_MAX];
    struct kelp_message m = packet_message(cells_packet(p->s, packet), entries);
    (void)kelp_step(p->core, p->now, &(struct kelp_input){.type = KELP_IN_MESSAGE, .message = &m});
}

/* How far time moves, so that one timer and nothing beyond it is due. */
static kelp_ns pause_of(const struct play *p, enum act act, const struct cell *from)
{
    const struct kelp_options *o = &p->s->options[from->node];
    if (act == ACT_LAPSE) return o->election_min;
    if (act == ACT_BEAT) return (from->role == KELP_LEADER ? 1 : 2) * o->heartbeat;
    if (from->role != KELP_LEADER) return o->election_max;
    return o->election_min + (p->s->scope->protections ? 1 : 0);
}

static void give(struct play *p, const struct cell *from, struct action a)
{
    switch (a.act) {
    case ACT_DELIVER:
    case ACT_REPEAT: give_packet(p, a.argument); break;
    case ACT_TIMEOUT:
    case ACT_BEAT:
    case ACT_LAPSE:
        p->now += pause_of(p, a.act, from);
        (void)kelp_step(p->core, p->now, &(struct kelp_input){.type = KELP_IN_TICK});
        break;
    case ACT_PROPOSE: give_command(p, from); break;
    case ACT_SAVED: give_saved(p, a.argument); break;
    case ACT_CRASH:
        disk_crash(p, a.argument);
        p->core = core_start(p->s, from->node, &p->to.disk);
        break;
    case ACT_START:
    case ACT_DROP: UNREACHABLE();
    }
}

/* ---- a move ---- */

static uint8_t common(const struct log_terms *a, const struct log_terms *b)
{
    uint8_t last = (uint8_t)min_u64(a->last, b->last);
    for (uint8_t i = 1; i <= last; i++) {
        if (a->terms[i] != b->terms[i]) return (uint8_t)(i - 1);
    }
    return last;
}

static void compare(struct play *p, const struct cell *from, enum act act)
{
    struct move *move = p->move;
    struct cell *to = &p->to;
    bool crash = act == ACT_CRASH;
    if (to->role == KELP_LEADER && from->role != KELP_LEADER) move->flags |= MOVE_LED;
    move->commit_from = crash ? 0 : from->commit;
    if (to->commit > move->commit_from) move->flags |= MOVE_COMMIT;
    uint8_t same = common(&from->log, &to->log);
    if (to->log.last > same) move->flags |= MOVE_GREW;
    move->cut_to = crash ? common(&from->disk.log, &to->disk.log) : same;
    if (move->cut_to < (crash ? from->disk.log.last : from->log.last)) move->flags |= MOVE_CUT;
    if (crash || (move->flags & MOVE_CUT) == 0 || same >= from->acked_match) return;
    if (to->term == from->acked_term)
        broken(p, 15, "node %u acknowledged 1..%u in term %u and cuts to %u in it", to->node + 1,
               from->acked_match, from->acked_term, same);
    /* what was acknowledged to an earlier leader is gone, unless this move acknowledged anew */
    bool anew = to->acked_term != from->acked_term;
    if (!anew) to->acked_term = to->acked_match = 0;
}

static void look(struct play *p)
{
    struct kelp_view view;
    struct kelp_fault fault = {0};
    if (kelp_check(p->core, &fault) != KELP_OK)
        broken(p, 0, "node %u: %s", p->to.node + 1, fault.what);
    core_normalise(p->core);
    kelp_view(p->core, &view);
    p->to.role = (uint8_t)view.role;
    p->to.term = (uint8_t)view.term.v;
    p->to.commit = (uint8_t)view.commit;
    p->to.log = log_of(p->core);
    p->to.contact = p->s->scope->protections && view.leader_contact != 0;
    if (view.term.v > p->s->scope->terms) p->move->flags |= MOVE_OUTSIDE;
}

static bool perform(struct cells *s, struct move *move, struct action action)
{
    const struct cell *from = cells_at(s, move->cell);
    image_load(s, from);
    struct play p = {.s = s,
                     .core = (struct kelp_core *)(void *)s->memory[from->node],
                     .now = NORMAL_NOW,
                     .to = *from,
                     .move = move};
    give(&p, from, action);
    drain(&p);
    if ((move->flags & (MOVE_OUTSIDE | MOVE_BROKEN)) != 0) return !p.no_memory;
    look(&p);
    compare(&p, from, action.act);
    if ((move->flags & (MOVE_OUTSIDE | MOVE_BROKEN)) != 0) return !p.no_memory;
    move->next = cell_keep(s, &p.to);
    return move->next != 0 && !p.no_memory;
}

const struct move *cells_move(struct cells *s, uint32_t cell, struct action action)
{
    if (action.act == ACT_REPEAT) action.act = ACT_DELIVER; /* the same to a node */
    struct move move = {.cell = cell, .action = action_pack(action)};
    uint32_t known = hoard_find(&s->moves, &move);
    bool fresh;
    if (known == 0) known = perform(s, &move, action) ? hoard_put(&s->moves, &move, &fresh) : 0;
    return known != 0 ? hoard_at(&s->moves, known) : NULL;
}

uint32_t cells_first(struct cells *s, uint32_t node)
{
    struct disk empty = {0};
    struct move move = {0};
    struct play p = {.s = s, .now = NORMAL_NOW, .to = {.node = (uint8_t)node}, .move = &move};
    p.core = core_start(s, node, &empty);
    drain(&p);
    look(&p);
    ASSERT(move.flags == 0 && move.sent_count == 0 && p.to.disk.open_count == 0);
    memcpy(s->first[node], s->memory[node], s->words * sizeof *s->first[node]);
    return cell_keep(s, &p.to);
}

/* ---- looking at them ---- */

const struct cell *cells_at(const struct cells *s, uint32_t cell)
{
    return hoard_at(&s->cells, cell);
}

const struct packet *cells_packet(const struct cells *s, uint32_t packet)
{
    return hoard_at(&s->packets, packet);
}

const struct verdict *cells_verdict(const struct cells *s)
{
    return &s->verdict;
}

uint64_t cells_bytes(const struct cells *s)
{
    return s->bytes + s->cells.bytes + s->packets.bytes + s->moves.bytes;
}

uint32_t cells_count(const struct cells *s)
{
    return s->cells.count;
}

uint32_t cells_moves(const struct cells *s)
{
    return s->moves.count;
}

void cells_describe(struct cells *s, uint32_t cell, char *out, size_t size)
{
    const struct cell *c = cells_at(s, cell);
    image_load(s, c);
    (void)kelp_describe((const struct kelp_core *)(const void *)s->memory[c->node], out, size);
}
