/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - one data directory as an object: what is opened and made in which order, and what a
 * failure means afterwards.
 *
 * A new directory is made in the order vote, log, identity, each synced, so that the identity, once
 * there, promises the others: an identity without a vote file or without a log is a directory that
 * lost something, and a log with a write in it but no identity likewise. Nobody may vote from such
 * a directory, so the start is refused. An old directory is read and judged whole before a byte of
 * it is changed, save for the lock and the probe.
 *
 * Any error of a save, of a read from disk or of a sync is final: the store answers every later
 * call with that same fault. What the page cache holds after a failed sync is anyone's guess. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/min.h"
#include "store/room.h"
#include "wire/entry.h"
#include "wire/wire.h"

struct store {
    struct disk disk;
    struct store_options options;
    struct file *lock;
    struct twin identity_file, vote_file;
    struct store_identity identity;
    struct vote vote;
    struct wal wal;
    struct snapfile snapshot;
    kelp_index opened; /* the newest good one at the start: since then all were written here */
    kelp_index kept;   /* the oldest snapshot that is kept to be started from ends there; 0: none */
    kelp_index asked;  /* nothing below is needed but for that one */
    struct store_found found;
    struct kelp_run *runs; /* found.runs: as it was at opening */
    uint64_t save_offset;  /* the core counts from 1; on disk the numbers go on */
    struct kelp_fault failed;
};

/* ---- failure is final ------------------------------------------------------------------------ */

static enum kelp_error refuse(const struct store *s, struct kelp_fault *fault)
{
    if (s->failed.error == KELP_OK) return KELP_OK;
    if (fault != NULL && fault->error == KELP_OK) *fault = s->failed;
    return s->failed.error;
}

static enum kelp_error end(struct store *s, enum kelp_error error, const struct kelp_fault *cause,
                           struct kelp_fault *fault)
{
    if (error == KELP_OK) return KELP_OK;
    s->failed = *cause;
    s->failed.error = error;
    return refuse(s, fault);
}

/* An error after which the store goes on: nothing was changed. */
static enum kelp_error report(enum kelp_error error, const struct kelp_fault *cause,
                              struct kelp_fault *fault)
{
    if (fault != NULL && fault->error == KELP_OK) {
        *fault = *cause;
        fault->error = error;
    }
    return error;
}

/* ---- what is there --------------------------------------------------------------------------- */

struct inventory {
    bool identity, vote, log, snapshots;
};

static enum kelp_error inventory_take(struct disk disk, struct inventory *out,
                                      struct kelp_fault *fault)
{
    *out = (struct inventory){false, false, false, false};
    struct file_entry *rows;
    size_t count;
    enum kelp_error error = room_list(disk, "", &rows, &count, fault);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].name, IDENTITY_NAME) == 0) out->identity = true;
        if (strcmp(rows[i].name, VOTE_NAME) == 0) out->vote = true;
        if (strcmp(rows[i].name, "log") == 0) out->log = true;
    }
    free(rows);
    if (error != KELP_OK) return error;
    error = room_list(disk, "snap", &rows, &count, fault);
    for (size_t i = 0; i < count; i++) {
        struct kelp_pos pos;
        if (snapfile_parse(rows[i].name, &pos)) out->snapshots = true;
    }
    free(rows);
    return error;
}

/* ---- a new directory ------------------------------------------------------------------------- */

/* Without an identity a directory is new only if nothing in it can have been promised to
 * anybody. */
static enum kelp_error new_judge(struct store *s, const struct inventory *there,
                                 struct kelp_fault *fault)
{
    bool holds = false;
    enum kelp_error error = log_holds_write(s->disk, &holds, fault);
    if (error != KELP_OK) return error;
    if (holds || there->snapshots) {
        return fault_set(fault, KELP_E_WIPED, IDENTITY_NAME,
                         "it is missing, but the directory holds a %s", holds ? "log" : "snapshot");
    }
    if (s->options.node == 0 && !s->options.waits) {
        return fault_set(fault, KELP_E_NOT_FOUND, IDENTITY_NAME, "this is no data directory");
    }
    if (!there->vote) return KELP_OK;
    struct twin twin;
    struct twin_copy copy;
    error = twin_open(&twin, s->disk, VOTE_NAME, VOTE_MAGIC, &copy, fault);
    twin_close(&twin);
    struct vote vote;
    if (error == KELP_OK) error = vote_decode(bytes_of(copy.payload, copy.len), &vote, fault);
    if (error == KELP_OK && (vote.term.v != 0 || vote.vote != 0)) {
        error = fault_set(fault, KELP_E_WIPED, IDENTITY_NAME,
                          "it is missing, but the vote file holds term %" PRIu64, vote.term.v);
    }
    return error;
}

/* What a start that was cut short left behind: files in which nothing was promised. */
static enum kelp_error leftovers_remove(struct store *s, struct kelp_fault *fault)
{
    enum kelp_error error = room_remove(s->disk, VOTE_NAME, fault);
    struct file_entry *rows = NULL;
    size_t count = 0;
    if (error == KELP_OK) error = room_list(s->disk, "log", &rows, &count, fault);
    for (size_t i = 0; i < count && error == KELP_OK; i++) {
        uint64_t number;
        unsigned spare;
        char name[FILE_NAME_MAX];
        if (segment_parse(rows[i].name, &number))
            segment_name(name, number);
        else if (spare_parse(rows[i].name, &spare))
            spare_name(name, spare);
        else
            continue;
        error = room_remove(s->disk, name, fault);
    }
    free(rows);
    return error;
}

static enum kelp_error create(struct store *s, struct kelp_fault *fault)
{
    uint64_t name = s->options.waits ? s->options.random(s->options.random_ctx) : 0;
    s->identity = (struct store_identity){
        .node = s->options.waits ? name | KELP_ID_WAITING : s->options.node,
        .incarnation = s->options.random(s->options.random_ctx),
    };
    struct vote vote = {.node = s->identity.node, .incarnation = s->identity.incarnation};
    uint8_t vote_bytes[VOTE_BYTES], identity_bytes[IDENTITY_BYTES];
    struct wal wal = {.disk = s->disk, .options = &s->options, .identity = &s->identity};
    enum kelp_error error = leftovers_remove(s, fault);
    if (error == KELP_OK) {
        error = twin_create(s->disk, VOTE_NAME, VOTE_MAGIC, vote_encode(&vote, vote_bytes), fault);
    }
    if (error == KELP_OK) error = wal_create(&wal, fault);
    wal_close(&wal);
    if (error == KELP_OK) error = s->disk.ops->make_dir(s->disk.state, "snap", fault);
    if (error == KELP_OK) {
        error = twin_create(s->disk, IDENTITY_NAME, IDENTITY_MAGIC,
                            identity_encode(&s->identity, identity_bytes), fault);
    }
    s->found.created = error == KELP_OK;
    return error;
}

/* ---- an old directory ------------------------------------------------------------------------ */

static enum kelp_error identity_open(struct store *s, struct kelp_fault *fault)
{
    struct twin_copy copy;
    enum kelp_error error =
        twin_open(&s->identity_file, s->disk, IDENTITY_NAME, IDENTITY_MAGIC, &copy, fault);
    if (error != KELP_OK) return error;
    error = identity_decode(bytes_of(copy.payload, copy.len), &s->identity, fault);
    if (error != KELP_OK) return error;
    if (s->options.node != 0 && s->options.node != s->identity.node) {
        return fault_set(fault, KELP_E_FOREIGN, IDENTITY_NAME,
                         "the directory belongs to node %" PRIu64 ", not to node %" PRIu64,
                         s->identity.node, s->options.node);
    }
    if (s->identity.recovery.unfinished && !s->options.recovers) {
        return fault_set(fault, KELP_E_WIPED, IDENTITY_NAME,
                         "a recovery of this directory was cut short: give the same `kelp recover` "
                         "again, it goes on where it stopped");
    }
    return KELP_OK;
}

static enum kelp_error vote_open(struct store *s, struct kelp_fault *fault)
{
    struct twin_copy copy;
    enum kelp_error error = twin_open(&s->vote_file, s->disk, VOTE_NAME, VOTE_MAGIC, &copy, fault);
    if (error != KELP_OK) return error;
    error = vote_decode(bytes_of(copy.payload, copy.len), &s->vote, fault);
    if (error != KELP_OK) return error;
    bool before = s->vote.node >= KELP_ID_WAITING; /* written before the id was given */
    if ((!before && s->vote.node != s->identity.node) ||
        s->vote.incarnation != s->identity.incarnation) {
        return fault_set(fault, KELP_E_FOREIGN, VOTE_NAME,
                         "it belongs to node %" PRIu64 ", incarnation %016" PRIx64
                         "; the directory to node %" PRIu64 ", incarnation %016" PRIx64,
                         s->vote.node, s->vote.incarnation, s->identity.node,
                         s->identity.incarnation);
    }
    s->vote.node = s->identity.node;
    return KELP_OK;
}

static enum kelp_error vote_write(struct store *s, struct kelp_fault *fault)
{
    uint8_t bytes[VOTE_BYTES];
    enum kelp_error error = twin_write(&s->vote_file, vote_encode(&s->vote, bytes), fault);
    s->wal.stats.syncs += 2;
    return error;
}

static enum kelp_error identity_write(struct store *s, struct kelp_fault *fault)
{
    uint8_t bytes[IDENTITY_BYTES];
    enum kelp_error error =
        twin_write(&s->identity_file, identity_encode(&s->identity, bytes), fault);
    s->wal.stats.syncs += 2;
    return error;
}

static enum kelp_error reset_write(struct store *s, struct kelp_pos pos, struct kelp_fault *fault)
{
    struct store_save_item item = {.save = {.flags = KELP_SAVE_RESET,
                                            .end = pos,
                                            .commit = pos.index,
                                            .everyone = s->wal.everyone}};
    return wal_save(&s->wal, &item, 1, s->wal.save_number, fault);
}

/* A snapshot that was named just now may have filled the disk, and the reset to it needs a few
 * blocks. It is good from beginning to end, so nobody goes back to what it replaces: those below it
 * and, where all of the log is below it, the log but for the tail. A start that is killed in the
 * middle of this finds the same once more, with less of it. */
static enum kelp_error void_remove(struct store *s, struct kelp_pos pos, struct kelp_fault *fault)
{
    struct places *p = &s->wal.places;
    room_note(&s->options, KELP_WARN,
              "log: no room to be reset: older snapshots, and what is below %" PRIu64
              ", are removed",
              pos.index);
    enum kelp_error error = snapfile_remove_below(s->disk, pos, fault);
    if (error != KELP_OK || p->last.index >= pos.index) return error;
    places_compact(p, p->last.index + 1);
    return wal_let_go(&s->wal, fault);
}

#define ADVICE "give it a good one (snapshot fetch), or remove it and add it again, empty"

/* This node may have said that it holds all up to where the damaged snapshot ended: with a log that
 * was not reset to it yet it must not serve as if it had never had it. */
static enum kelp_error damaged_judge(const struct store *s, struct kelp_pos damaged,
                                     struct kelp_fault *fault)
{
    const struct places *p = &s->wal.places;
    if (damaged.index <= p->base.index) return KELP_OK; /* none; or more is missing, see below */
    if (damaged.index <= p->last.index && places_term(p, damaged.index).v == damaged.term.v)
        return KELP_OK;
    char name[FILE_NAME_MAX];
    snapfile_name(name, damaged);
    return room_fault(fault, KELP_E_CORRUPT, name, 0, damaged.index,
                      "it is damaged, the log ends at %" PRIu64 "@%" PRIu64
                      " without what it held: " ADVICE,
                      p->last.index, p->last.term.v);
}

/* A snapshot beyond the log, or that contradicts it, was installed just before the log could be
 * reset to it: do that now. A log that knows another entry to be committed there is damage. */
static enum kelp_error snapshot_fit(struct store *s, struct kelp_fault *fault)
{
    const struct places *p = &s->wal.places;
    struct kelp_pos pos = s->snapshot.head.pos;
    if (p->base.index > pos.index) {
        return room_fault(fault, KELP_E_CORRUPT, "log", 0, pos.index + 1,
                          "the log starts after %" PRIu64 "@%" PRIu64
                          ", the newest good snapshot ends at %" PRIu64 "@%" PRIu64 ": " ADVICE,
                          p->base.index, p->base.term.v, pos.index, pos.term.v);
    }
    bool inside = pos.index <= p->last.index;
    if (inside && places_term(p, pos.index).v == pos.term.v) return KELP_OK;
    if (inside && pos.index <= s->wal.commit) {
        return room_fault(fault, KELP_E_CORRUPT, s->snapshot.name, 0, pos.index,
                          "the snapshot ends at %" PRIu64 "@%" PRIu64
                          ", the log committed that entry in term %" PRIu64,
                          pos.index, pos.term.v, places_term(p, pos.index).v);
    }
    room_note(&s->options, KELP_WARN, "log: reset to the snapshot at %" PRIu64 "@%" PRIu64,
              pos.index, pos.term.v);
    struct kelp_fault cause = {0};
    enum kelp_error error = reset_write(s, pos, &cause);
    if (error == KELP_E_NO_SPACE && s->wal.refused) {
        cause = (struct kelp_fault){0};
        error = void_remove(s, pos, &cause);
        if (error == KELP_OK) error = reset_write(s, pos, &cause);
    }
    if (error != KELP_OK) *fault = cause;
    return error == KELP_OK ? wal_mark(&s->wal, fault) : error;
}

static enum kelp_error old_open(struct store *s, const struct inventory *there,
                                struct recovered *recovered, struct kelp_fault *fault)
{
    enum kelp_error error = identity_open(s, fault);
    if (error != KELP_OK) return error;
    if (!there->vote) {
        return fault_set(fault, KELP_E_WIPED, VOTE_NAME,
                         "it is missing, but the directory has an identity");
    }
    if (!there->log) {
        return fault_set(fault, KELP_E_WIPED, "log",
                         "it is missing, but the directory has an identity");
    }
    error = vote_open(s, fault);
    s->wal = (struct wal){.disk = s->disk, .options = &s->options, .identity = &s->identity};
    struct kelp_pos damaged = {0};
    if (error == KELP_OK) {
        error = snapfile_open(s->disk, &s->options, &s->identity, &s->snapshot, &damaged, fault);
    }
    if (error == KELP_OK) error = wal_recover(&s->wal, recovered, fault);
    if (error == KELP_OK) error = damaged_judge(s, damaged, fault);
    if (error == KELP_OK) error = snapshot_fit(s, fault);
    if (error == KELP_OK) error = identity_write(s, fault);
    if (s->vote.term.v < s->snapshot.head.pos.term.v) { /* installed before its term was saved */
        s->vote.term = s->snapshot.head.pos.term;
        s->vote.vote = 0;
    }
    s->vote.start_count++;
    return error == KELP_OK ? vote_write(s, fault) : error;
}

/* ---- what was found -------------------------------------------------------------------------- */

static enum kelp_error config_load(struct store *s, kelp_index index, struct wire_config *out,
                                   struct kelp_fault *fault)
{
    uint8_t *bytes = NULL;
    size_t size = 0, len, used;
    struct kelp_pos before;
    kelp_index last;
    enum kelp_error error =
        wal_read(&s->wal, index, 1, 0, &bytes, &size, &len, &before, &last, fault);
    struct wire_entry entry;
    if (error == KELP_OK) error = wire_entry_decode(bytes_of(bytes, len), &entry, &used, fault);
    if (error == KELP_OK) error = wire_config_decode(entry.payload, index, out, fault);
    free(bytes);
    if (error == KELP_E_MALFORMED) {
        error = KELP_E_CORRUPT;
        fault->index = index;
    }
    return error;
}

/* The newest configuration and the one before it, from the log and from the snapshot's head. */
static enum kelp_error configs_find(struct store *s, struct kelp_fault *fault)
{
    const struct places *p = &s->wal.places;
    struct wire_config *out[2] = {&s->found.config, &s->found.config_before};
    const struct wire_config *snap = s->snapshot.len > 0 ? &s->snapshot.head.config : NULL;
    if (snap != NULL && snap->config.count == 0) snap = NULL;
    size_t left = p->config_count;
    for (size_t i = 0; i < 2; i++) {
        kelp_index index = left > 0 ? p->configs[left - 1] : 0;
        if (index != 0 && (snap == NULL || index > snap->config.index)) {
            enum kelp_error error = config_load(s, index, out[i], fault);
            if (error != KELP_OK) return error;
            left--;
        } else if (snap !=
                   NULL) { /* entries at or below the snapshot's own are the same or older */
            *out[i] = *snap;
            return KELP_OK;
        }
    }
    return KELP_OK;
}

/* What is kept, and from where on: should those above the oldest one be damaged, a start needs all
 * of the log behind it. A list that could not be had changes nothing. */
static void snapshots_note(struct store *s)
{
    struct store_stats *stats = &s->wal.stats;
    snapfile_list(s->disk, s->snapshot.head.pos, s->opened, stats);
    uint64_t left = max_u64(s->options.snapshots_kept, 1);
    for (uint32_t i = 0; i < stats->snapshot_count && left > 0; i++) {
        if (stats->snapshots[i].damaged) continue;
        s->kept = stats->snapshots[i].pos.index;
        left--;
    }
}

static enum kelp_error found_fill(struct store *s, const struct recovered *recovered,
                                  struct kelp_fault *fault)
{
    struct store_found *f = &s->found;
    const struct places *p = &s->wal.places;
    kelp_index snapshot = s->snapshot.head.pos.index;
    f->identity = s->identity;
    f->start_count = s->vote.start_count;
    f->term = s->vote.term;
    f->vote = s->vote.vote;
    f->apart = s->vote.apart;
    f->base = p->base;
    f->last = p->last.index;
    f->commit = min_u64(p->last.index, max_u64(s->wal.commit, max_u64(snapshot, p->base.index)));
    f->everyone = min_u64(p->last.index, s->wal.everyone);
    s->opened = snapshot;
    snapshots_note(s);
    f->snapshot = s->snapshot.head;
    f->snapshot_bytes = s->snapshot.len + s->snapshot.head.object_bytes;
    f->has_entries = f->last > 0 || snapshot > 0;
    f->save_number = s->wal.save_number;
    f->torn_bytes = recovered->torn_bytes;
    f->rewritten_bytes = recovered->rewritten_bytes;
    s->save_offset = s->wal.save_number;
    s->runs = calloc(p->run_count + 1, sizeof *s->runs);
    if (s->runs == NULL) return fault_set(fault, KELP_E_NO_MEMORY, "log", "out of memory");
    if (p->run_count > 0) memcpy(s->runs, p->runs, p->run_count * sizeof *s->runs);
    f->runs = s->runs;
    f->run_count = p->run_count;
    if (f->last > f->base.index && f->term.v < p->last.term.v) {
        return fault_set(fault, KELP_E_CORRUPT, VOTE_NAME,
                         "it holds term %" PRIu64 ", the log ends in term %" PRIu64, f->term.v,
                         p->last.term.v);
    }
    enum kelp_error error = configs_find(s, fault);
    struct kelp_cluster_id its = f->config.cluster, own = s->identity.cluster;
    if (error == KELP_OK && f->config.config.count > 0 && !wire_cluster_zero(its) &&
        !wire_cluster_zero(own) && !wire_cluster_equal(its, own)) {
        return fault_set(fault, KELP_E_FOREIGN, "log",
                         "its configuration is of cluster %016" PRIx64 "%016" PRIx64
                         ", the identity of %016" PRIx64 "%016" PRIx64,
                         its.hi, its.lo, own.hi, own.lo);
    }
    return error;
}

/* ---- open, close ----------------------------------------------------------------------------- */

static enum kelp_error options_check(const struct store_options *o, struct kelp_fault *fault)
{
    if (o->segment_bytes % STORE_BLOCK != 0 ||
        o->segment_bytes < SEGMENT_BLOCKS_MIN * STORE_BLOCK || o->segment_bytes > STORE_INDEX_MAX) {
        return fault_set(fault, KELP_E_ARGUMENT, "segment_bytes",
                         "%" PRIu64 " is no multiple of 4096 of at least 4 blocks",
                         o->segment_bytes);
    }
    if (o->random == NULL) return fault_set(fault, KELP_E_ARGUMENT, "random", "it is missing");
    return KELP_OK;
}

static enum kelp_error open_steps(struct store *s, struct kelp_fault *fault)
{
    enum kelp_error error = s->disk.ops->lock(s->disk.state, "lock", &s->lock, fault);
    if (error == KELP_OK) error = probe_directory(s->disk, &s->options, fault);
    struct inventory there;
    if (error == KELP_OK) error = inventory_take(s->disk, &there, fault);
    if (error != KELP_OK) return error;
    if (!there.identity) {
        error = new_judge(s, &there, fault);
        if (error == KELP_OK) error = create(s, fault);
        there.vote = true;
        there.log = true;
    }
    struct recovered recovered = {0};
    if (error == KELP_OK) error = old_open(s, &there, &recovered, fault);
    return error == KELP_OK ? found_fill(s, &recovered, fault) : error;
}

enum kelp_error store_open(struct disk disk, const struct store_options *options,
                           struct store **out, struct kelp_fault *fault)
{
    struct kelp_fault cause = {0};
    enum kelp_error error = options_check(options, &cause);
    struct store *s = error == KELP_OK ? calloc(1, sizeof *s) : NULL;
    if (error == KELP_OK && s == NULL) {
        error = fault_set(&cause, KELP_E_NO_MEMORY, "store", "out of memory");
    }
    if (error != KELP_OK) return report(error, &cause, fault);
    s->disk = disk;
    s->options = *options;
    error = open_steps(s, &cause);
    if (error != KELP_OK) {
        store_close(s);
        return report(error, &cause, fault);
    }
    *out = s;
    return KELP_OK;
}

void store_close(struct store *s)
{
    if (s == NULL) return;
    wal_close(&s->wal);
    twin_close(&s->vote_file);
    twin_close(&s->identity_file);
    snapfile_free(&s->snapshot);
    s->disk.ops->close(s->disk.state, s->lock);
    free(s->runs);
    free(s);
}

const struct store_found *store_found(const struct store *s)
{
    return &s->found;
}

bool store_failed(const struct store *s)
{
    return s->failed.error != KELP_OK;
}

/* ---- work ------------------------------------------------------------------------------------ */

enum kelp_error store_pledge(struct store *s, struct kelp_cluster_id cluster, uint64_t epoch,
                             struct kelp_fault *fault)
{
    enum kelp_error error = refuse(s, fault);
    if (error != KELP_OK) return error;
    ASSERT(!wire_cluster_zero(cluster));
    struct kelp_cluster_id own = s->identity.cluster;
    if (wire_cluster_equal(own, cluster)) return KELP_OK;
    struct kelp_fault cause = {0};
    if (!wire_cluster_zero(own)) {
        error = fault_set(&cause, KELP_E_FOREIGN, IDENTITY_NAME,
                          "it is pledged to cluster %016" PRIx64 "%016" PRIx64 " already", own.hi,
                          own.lo);
        return report(error, &cause, fault);
    }
    s->identity.cluster = cluster;
    s->identity.epoch = epoch;
    s->found.identity = s->identity;
    return end(s, identity_write(s, &cause), &cause, fault);
}

enum kelp_error store_name(struct store *s, kelp_id node, struct kelp_cluster_id cluster,
                           uint64_t epoch, struct kelp_fault *fault)
{
    enum kelp_error error = refuse(s, fault);
    if (error != KELP_OK) return error;
    ASSERT(!wire_cluster_zero(cluster) && node != 0 && node < KELP_ID_WAITING);
    struct kelp_fault cause = {0};
    if (s->identity.node < KELP_ID_WAITING || !wire_cluster_zero(s->identity.cluster)) {
        error = fault_set(&cause, KELP_E_FOREIGN, IDENTITY_NAME,
                          "it is node %" PRIu64 "'s already and cannot become node %" PRIu64 "'s",
                          s->identity.node, node);
        return report(error, &cause, fault);
    }
    s->identity.cluster = cluster;
    s->identity.epoch = epoch;
    s->identity.node = s->vote.node = node;
    s->found.identity = s->identity;
    return end(s, identity_write(s, &cause), &cause, fault);
}

enum kelp_error store_apart(struct store *s, bool apart, struct kelp_fault *fault)
{
    enum kelp_error error = refuse(s, fault);
    if (error != KELP_OK || s->vote.apart == apart) return error;
    s->vote.apart = apart;
    struct kelp_fault cause = {0};
    return end(s, vote_write(s, &cause), &cause, fault);
}

static enum kelp_error identity_renew(struct store *s, uint64_t epoch,
                                      const struct store_recovery *recovery, bool unfinished,
                                      struct kelp_fault *fault)
{
    s->identity.epoch = epoch;
    s->identity.recovery = *recovery;
    s->identity.recovery.unfinished = unfinished;
    s->found.identity = s->identity;
    struct kelp_fault cause = {0};
    return end(s, identity_write(s, &cause), &cause, fault);
}

/* The vote of that term is given, to itself: its entry has no leader, and nobody is to become one
 * who could write another in its place.
 * The identity comes first: from then on the directory is neither of the old epoch nor, until the
 * end, of the new one, so nobody can start it in between and count on half of it. */
enum kelp_error store_renew(struct store *s, uint64_t epoch, const struct store_recovery *recovery,
                            struct kelp_bytes entry, struct kelp_fault *fault)
{
    enum kelp_error error = refuse(s, fault);
    if (error != KELP_OK) return error;
    kelp_index index = recovery->kept.index + 1;
    ASSERT(s->options.recovers && recovery->term.v > recovery->kept.term.v);
    s->vote.apart = false; /* there are no others any more; with the vote */
    ASSERT(s->wal.places.last.index == index || kelp_pos_equal(s->wal.places.last, recovery->kept));
    if (!s->identity.recovery.unfinished) error = identity_renew(s, epoch, recovery, true, fault);
    if (error == KELP_OK && s->wal.places.last.index < index) {
        struct store_save_item item = {.save = {.number = 1,
                                                .flags = KELP_SAVE_VOTE | KELP_SAVE_APPEND,
                                                .term = recovery->term,
                                                .vote = s->identity.node,
                                                .first = index,
                                                .last = index,
                                                .commit = s->wal.commit,
                                                .everyone = s->wal.everyone},
                                       .parts = &entry,
                                       .part_count = 1};
        error = store_save(s, &item, 1, fault);
    }
    return error == KELP_OK ? identity_renew(s, epoch, recovery, false, fault) : error;
}

/* Term and vote of a batch are its last ones; they are durable before a byte of the log is
 * written. A batch that found no room for its entries comes again, with votes that are in the file
 * already. */
static enum kelp_error votes_save(struct store *s, const struct store_save_item *items,
                                  size_t count, struct kelp_fault *fault)
{
    const struct kelp_save *last = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct kelp_save *save = &items[i].save;
        if ((save->flags & KELP_SAVE_VOTE) == 0) continue;
        ASSERT(last == NULL || save->term.v > last->term.v ||
               (save->term.v == last->term.v && (last->vote == 0 || save->vote == last->vote)));
        last = save;
    }
    if (last == NULL || (last->term.v == s->vote.term.v && last->vote == s->vote.vote))
        return KELP_OK;
    ASSERT(last->term.v > s->vote.term.v || (last->term.v == s->vote.term.v && s->vote.vote == 0));
    s->vote.term = last->term;
    s->vote.vote = last->vote;
    return vote_write(s, fault);
}

/* A log that begins where no snapshot ends could not be opened again: a snapshot that found no room
 * must not be followed by its reset. */
static enum kelp_error resets_judge(const struct store *s, const struct store_save_item *items,
                                    size_t count, struct kelp_fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        const struct kelp_save *save = &items[i].save;
        if ((save->flags & KELP_SAVE_RESET) == 0) continue;
        if (save->end.index <= s->snapshot.head.pos.index) continue;
        return fault_set(fault, KELP_E_ARGUMENT, "log",
                         "a reset to %" PRIu64 "@%" PRIu64 ", the newest snapshot ends at %" PRIu64,
                         save->end.index, save->end.term.v, s->snapshot.head.pos.index);
    }
    return KELP_OK;
}

enum kelp_error store_save(struct store *s, const struct store_save_item *items, size_t count,
                           struct kelp_fault *fault)
{
    enum kelp_error error = refuse(s, fault);
    if (error != KELP_OK || count == 0) return error;
    struct kelp_fault cause = {0};
    error = resets_judge(s, items, count, &cause);
    if (error == KELP_OK) error = votes_save(s, items, count, &cause);
    bool voted = error == KELP_OK;
    if (voted) error = wal_save(&s->wal, items, count, s->save_offset, &cause);
    if (voted && error == KELP_E_NO_SPACE && s->wal.refused) return report(error, &cause, fault);
    if (error != KELP_OK) return end(s, error, &cause, fault);
    for (size_t i = 0; i < count; i++) {
        if ((items[i].save.flags & KELP_SAVE_COMPACT) != 0) store_compact(s, items[i].save.keep);
    }
    return KELP_OK;
}

void store_compact(struct store *s, kelp_index keep)
{
    if (store_failed(s)) return;
    s->asked = max_u64(s->asked, keep);
    /* Never above what every snapshot that is kept holds: a directory without the others could not
     * be opened again. Nor above the log, which may wait for room. */
    keep = min_u64(keep, min_u64(s->kept, s->wal.places.last.index) + 1);
    places_compact(&s->wal.places, keep);
}

enum kelp_error store_read(struct store *s, kelp_index first, uint32_t entries_max,
                           uint64_t bytes_max, uint8_t **out, size_t *out_size, size_t *out_len,
                           struct kelp_pos *before, kelp_index *last, struct kelp_fault *fault)
{
    enum kelp_error error = refuse(s, fault);
    if (error != KELP_OK) return error;
    struct kelp_fault cause = {0};
    error = wal_read(&s->wal, first, entries_max, bytes_max, out, out_size, out_len, before, last,
                     &cause);
    if (error == KELP_E_GONE || error == KELP_E_NOT_FOUND || error == KELP_E_NO_MEMORY) {
        return report(error, &cause, fault);
    }
    return end(s, error, &cause, fault);
}

enum kelp_error store_snapshot(struct store *s, struct kelp_pos pos, struct kelp_bytes head,
                               struct kelp_fault *fault)
{
    enum kelp_error error = refuse(s, fault);
    if (error != KELP_OK) return error;
    if (kelp_pos_equal(pos, s->snapshot.head.pos)) return KELP_OK; /* it is there already */
    struct kelp_fault cause = {0};
    error = snapfile_write(s->disk, &s->options, &s->snapshot, pos, head, &cause);
    s->wal.stats.syncs += 2;
    if (error == KELP_OK) snapshots_note(s);
    if (error == KELP_OK) store_compact(s, s->asked);
    s->found.snapshot = s->snapshot.head;
    s->found.snapshot_bytes = s->snapshot.len + s->snapshot.head.object_bytes;
    if (error == KELP_E_ARGUMENT || error == KELP_E_NO_SPACE || error == KELP_E_NO_MEMORY) {
        return report(error, &cause, fault); /* the snapshot before it still stands */
    }
    return end(s, error, &cause, fault);
}

void store_forget(struct store *s, struct kelp_pos pos)
{
    struct kelp_fault left = {0};
    if (s->failed.error != KELP_OK || pos.index > s->snapshot.head.pos.index) return;
    if (snapfile_remove_below(s->disk, pos, &left) != KELP_OK)
        room_note(&s->options, KELP_WARN,
                  "older snapshots, which may show a wrong state, were not removed: %s: %s",
                  left.where, left.what);
    snapshots_note(s);
}

enum kelp_error store_snapshot_objects(struct store *s, store_object_fn give, void *ctx,
                                       struct kelp_fault *fault)
{
    enum kelp_error error = refuse(s, fault);
    if (error != KELP_OK) return error;
    struct kelp_fault cause = {0};
    error = snapobjects_walk(s->disk, &s->snapshot, give, ctx, &cause);
    return error == KELP_OK ? error : report(error, &cause, fault);
}

enum kelp_error store_snapshot_read(struct store *s, uint8_t **out, size_t *out_size,
                                    size_t *out_len, struct kelp_fault *fault)
{
    enum kelp_error error = refuse(s, fault);
    if (error != KELP_OK) return error;
    struct kelp_fault cause = {0};
    if (s->snapshot.len == 0) {
        error = fault_set(&cause, KELP_E_NOT_FOUND, "snap", "there is no snapshot");
        return report(error, &cause, fault);
    }
    error = snapfile_read(s->disk, s->snapshot.name, out, out_size, out_len, &cause);
    if (error == KELP_E_NO_MEMORY) return report(error, &cause, fault);
    return end(s, error, &cause, fault);
}

enum kelp_error store_mark_idle(struct store *s, struct kelp_fault *fault)
{
    enum kelp_error error = refuse(s, fault);
    if (error != KELP_OK) return error;
    struct kelp_fault cause = {0};
    return end(s, wal_mark(&s->wal, &cause), &cause, fault);
}

enum kelp_error store_idle_work(struct store *s, bool *more, struct kelp_fault *fault)
{
    *more = false;
    enum kelp_error error = refuse(s, fault);
    if (error != KELP_OK) return error;
    struct kelp_fault cause = {0};
    return end(s, spare_work(&s->wal, more, &cause), &cause, fault);
}

void store_space(struct store *s, struct store_space *out)
{
    wal_space(&s->wal, out);
}

struct store_files store_files(const struct store *s)
{
    const struct wal *w = &s->wal;
    return (struct store_files){w->segment_count, w->spare_count, w->no_room};
}

void store_stats(const struct store *s, struct store_stats *out)
{
    const struct wal *w = &s->wal;
    struct store_files files = store_files(s);
    *out = w->stats;
    out->short_of_room = files.short_of_room;
    out->segments = files.segments;
    out->spares = files.spares;
    out->spares_ready = 0;
    for (size_t i = 0; i < w->spare_count; i++) {
        if (w->spares[i].written >= s->options.segment_bytes) out->spares_ready++;
    }
    out->log_bytes = 0;
    for (size_t i = 0; i < w->segment_count; i++)
        out->log_bytes += w->segments[i].bytes;
}
