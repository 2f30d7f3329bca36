/* SPDX-License-Identifier: Apache-2.0 */
/* adopt.c - a directory that no node runs on is given a snapshot of another member in place of its
 * own.
 *
 *   snap/new.tmp, whole and synced --tried on a ghost of the directory: it opens from that one-->
 *      INDEX-TERM.snap, the directory synced --> all others removed, the directory synced
 *
 * It is what a leader might have sent: the end of a committed part of the log of the same cluster
 * in the same epoch, so what the node acknowledged and it shows is in it. Identity, term, vote and
 * log stay as they are. Where the log holds the entry that the snapshot ends with, all entries
 * behind that stay and are applied on top, those too that are acknowledged and not yet committed.
 * Where it does not, what it holds can win nowhere any more, and the start lets the log begin
 * behind the snapshot, as it does for one that was installed just before a crash (store.c). A log
 * that begins above it would leave a gap, and one that knows another entry to be committed there
 * contradicts it: both are refused by the same start, on the ghost, before a name is given.
 *
 * The node may also have acknowledged all that an own snapshot shows which it was sent: one that
 * ends above the given one is given up only if the log holds the entry at its end.
 *
 * The own ones go even if they are older or newer: a newer one would be loaded in its place, and an
 * older one should it ever be damaged, and both may show what the node is to get rid of. They go
 * last, and then the note that the state is wrong. So a cut leaves the old ones, or both, of which
 * a start takes the newest, or the new one; while the note is there, the node serves no reads.
 *
 * Another epoch is refused although it is the same cluster: a forced recovery may have dropped what
 * a snapshot from before it shows. So is one that does not have this directory as a member: it was
 * removed, and its log is of no use to anybody. */
#include "store/adopt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/min.h"
#include "store/renew.h"
#include "store/room.h"
#include "wire/epoch.h"
#include "wire/wire.h"

#define COPY_BYTES (256u * 1024)

/* ---- what is there --------------------------------------------------------------------------- */

static bool keeps_no_state(const struct kelp_member *m)
{
    return m->role == KELP_WITNESS || m->role_old == KELP_WITNESS;
}

static const struct kelp_member *self_in(const struct wire_config *c,
                                         const struct store_identity *self)
{
    for (size_t slot = 0; slot < c->config.count; slot++) {
        if (c->config.members[slot].id == self->node) return &c->config.members[slot];
    }
    return NULL;
}

static struct store_options own_options(const struct store_options *options)
{
    struct store_options own = *options;
    own.node = 0;
    own.waits = false;
    own.recovers = false;
    return own;
}

/* Of a directory that cannot be opened whole. */
static enum kelp_error identity_look(struct disk disk, struct store_identity *out,
                                     struct kelp_fault *fault)
{
    struct twin twin = {.file = NULL};
    struct twin_copy copy;
    enum kelp_error error = twin_open(&twin, disk, IDENTITY_NAME, IDENTITY_MAGIC, &copy, fault);
    twin_close(&twin);
    return error == KELP_OK ? identity_decode(bytes_of(copy.payload, copy.len), out, fault) : error;
}

enum kelp_error adopt_look(struct disk ghost, const struct store_options *options,
                           struct adopt_report *out, struct kelp_fault *fault)
{
    struct store *s = NULL;
    struct store_options own = own_options(options);
    struct kelp_fault cause = {.error = KELP_OK};
    *out = (struct adopt_report){.opens = true};
    enum kelp_error error = store_open(ghost, &own, &s, &cause);
    if (error == KELP_E_CORRUPT) {
        out->opens = false;
        (void)snprintf(out->why, sizeof out->why, "%s", cause.what);
        return identity_look(ghost, &out->found, fault);
    }
    if (error != KELP_OK) {
        *fault = cause;
        return error;
    }
    const struct store_found *f = store_found(s);
    const struct kelp_member *self = self_in(&f->config, &f->identity);
    bool hollow = f->snapshot.hollow || (self != NULL && keeps_no_state(self));
    out->found = f->identity;
    out->base = f->base;
    out->last = f->run_count > 0 ? kelp_pos_of(f->last, f->runs[f->run_count - 1].term.v) : f->base;
    out->own = f->snapshot.pos;
    out->own_hash = f->snapshot.state_hash;
    out->term = f->term;
    bool holds = f->has_entries && !wire_cluster_zero(f->identity.cluster);
    store_close(s);
    if (!holds)
        return fault_set(fault, KELP_E_WIPED, "log",
                         "it holds nothing of a cluster: start it, it is given all it needs");
    if (hollow)
        return fault_set(fault, KELP_E_WIPED, "log",
                         "it is a witness's: it keeps no state, and needs none");
    return KELP_OK;
}

/* ---- what it may be given -------------------------------------------------------------------- */

static enum kelp_error head_judge(const struct store_identity *own,
                                  const struct wire_snaphead *head, struct kelp_fault *fault)
{
    char its[EPOCH_TEXT_MAX], here[EPOCH_TEXT_MAX];
    if (!wire_cluster_equal(head->cluster, own->cluster))
        return fault_set(fault, KELP_E_FOREIGN, "snap",
                         "it is of cluster %016" PRIx64 "%016" PRIx64
                         ", the directory of %016" PRIx64 "%016" PRIx64,
                         head->cluster.hi, head->cluster.lo, own->cluster.hi, own->cluster.lo);
    if (head->epoch != own->epoch)
        return fault_set(fault, KELP_E_FOREIGN, "snap",
                         "it was taken in epoch %s, the directory is of epoch %s: a recovery lies "
                         "between; have a new one taken",
                         epoch_text(head->epoch, its), epoch_text(own->epoch, here));
    if (head->hollow)
        return fault_set(fault, KELP_E_ARGUMENT, "snap",
                         "it is a witness's: it holds positions alone");
    return KELP_OK;
}

enum kelp_error adopt_judge(const struct adopt_report *r, const struct wire_snaphead *head,
                            struct kelp_fault *fault)
{
    enum kelp_error error = head_judge(&r->found, head, fault);
    if (error != KELP_OK || !r->opens || head->pos.index >= r->base.index) return error;
    return fault_set(fault, KELP_E_ARGUMENT, "snap",
                     "it ends at %" PRIu64 ", the log begins behind %" PRIu64
                     ": have a newer one taken",
                     head->pos.index, r->base.index);
}

static enum kelp_error member_judge(const struct store_found *f, struct kelp_fault *fault)
{
    const struct kelp_member *self = self_in(&f->config, &f->identity);
    if (self == NULL)
        return fault_set(fault, KELP_E_ARGUMENT, "members",
                         "node %" PRIu64 " is no member there any more: add it anew, with an empty "
                         "directory",
                         f->identity.node);
    if (self->incarnation != 0 && self->incarnation != f->identity.incarnation)
        return fault_set(fault, KELP_E_FOREIGN, "members",
                         "another directory is node %" PRIu64 " there", f->identity.node);
    if (keeps_no_state(self))
        return fault_set(fault, KELP_E_ARGUMENT, "members",
                         "node %" PRIu64 " is a witness there: it keeps no state",
                         f->identity.node);
    return KELP_OK;
}

/* ---- begin, end, bring ----------------------------------------------------------------------- */

enum kelp_error adopt_begin(struct adopt *a, struct disk disk, struct kelp_fault *fault)
{
    struct file *identity = NULL;
    enum kelp_error error = disk.ops->open(disk.state, IDENTITY_NAME, FILE_READ, &identity, fault);
    if (error == KELP_E_NOT_FOUND)
        return fault_set(fault, error, IDENTITY_NAME, "this is no data directory");
    if (error == KELP_OK) {
        disk.ops->close(disk.state, identity);
        error = disk.ops->lock(disk.state, "lock", &a->lock, fault);
    }
    if (error == KELP_OK) a->disk = disk;
    return error;
}

void adopt_end(struct adopt *a)
{
    if (a->disk.ops != NULL) a->disk.ops->close(a->disk.state, a->lock);
    *a = (struct adopt){.lock = NULL};
}

enum kelp_error adopt_copy(struct adopt *a, struct disk from, const char *name,
                           struct kelp_fault *fault)
{
    struct snapwriter w = {.disk = a->disk};
    struct file *file = NULL;
    uint64_t size = 0, done = 0;
    bool last = false;
    uint8_t *room = malloc(COPY_BYTES);
    if (room == NULL) return fault_set(fault, KELP_E_NO_MEMORY, name, "out of memory");
    enum kelp_error error = from.ops->open(from.state, name, FILE_READ, &file, fault);
    if (error == KELP_OK) error = from.ops->size(from.state, file, &size, fault);
    while (error == KELP_OK && !last) {
        size_t got = 0;
        error = from.ops->read(from.state, file, done, room, COPY_BYTES, &got, fault);
        last = got < COPY_BYTES || done + got >= size;
        if (error == KELP_OK) error = snapwriter_write(&w, done, bytes_of(room, got), last, fault);
        done += got;
    }
    snapwriter_close(&w);
    from.ops->close(from.state, file);
    free(room);
    if (error != KELP_OK) {
        struct kelp_fault ignored = {.error = KELP_OK}; /* a start removes it */
        (void)room_remove(a->disk, SNAP_TEMPORARY, &ignored);
    }
    return error;
}

enum kelp_error adopt_bring(struct adopt *a, struct kelp_fault *fault)
{
    return a->disk.ops->rename(a->disk.state, ADOPT_NAME, SNAP_TEMPORARY, fault);
}

/* ---- in place of the own ones ---------------------------------------------------------------- */

static enum kelp_error name_give(struct disk disk, struct kelp_pos pos, struct kelp_fault *fault)
{
    char name[FILE_NAME_MAX];
    snapfile_name(name, pos);
    enum kelp_error error = disk.ops->rename(disk.state, SNAP_TEMPORARY, name, fault);
    return error == KELP_OK ? disk.ops->sync_dir(disk.state, "snap", fault) : error;
}

static enum kelp_error others_remove(struct disk disk, struct kelp_pos pos, uint32_t *removed,
                                     struct kelp_fault *fault)
{
    struct file_entry *rows = NULL;
    size_t count = 0;
    *removed = 0;
    enum kelp_error error = room_list(disk, "snap", &rows, &count, fault);
    for (size_t i = 0; i < count && error == KELP_OK; i++) {
        struct kelp_pos found;
        char name[FILE_NAME_MAX];
        if (!snapfile_parse(rows[i].name, &found) || kelp_pos_equal(found, pos)) continue;
        snapfile_name(name, found);
        error = room_remove(disk, name, fault);
        (*removed)++;
    }
    free(rows);
    return error == KELP_OK ? disk.ops->sync_dir(disk.state, "snap", fault) : error;
}

/* index <= last */
static kelp_term term_at(const struct store_found *f, kelp_index index)
{
    if (index <= f->base.index) return f->base.term;
    size_t run = 0;
    while (run + 1 < f->run_count && f->runs[run].last < index)
        run++;
    ASSERT(run < f->run_count);
    return f->runs[run].term;
}

/* Its own, whole or damaged: the node may have said that it holds all up to their ends. What the
 * other one does not show of that the log must hold. */
static enum kelp_error own_judge(struct disk disk, struct kelp_pos pos, const struct store_found *f,
                                 struct kelp_fault *fault)
{
    struct file_entry *rows = NULL;
    size_t count = 0;
    enum kelp_error error = room_list(disk, "snap", &rows, &count, fault);
    for (size_t i = 0; i < count && error == KELP_OK; i++) {
        struct kelp_pos own;
        if (!snapfile_parse(rows[i].name, &own) || own.index <= pos.index) continue;
        if (own.index <= f->last && term_at(f, own.index).v == own.term.v) continue;
        error = fault_set(fault, KELP_E_ARGUMENT, "snap",
                          "it ends at %" PRIu64 ", its own at %" PRIu64 "@%" PRIu64
                          ", which the log does not reach: have a newer one taken",
                          pos.index, own.index, own.term.v);
    }
    free(rows);
    return error;
}

/* What a start would make of it. */
static enum kelp_error opens_with(struct disk disk, struct disk ghost,
                                  const struct store_options *options,
                                  const struct wire_snaphead *head, struct adopt_report *out,
                                  struct kelp_fault *fault)
{
    struct store *s = NULL;
    struct store_options own = own_options(options);
    struct kelp_fault cause = {.error = KELP_OK};
    enum kelp_error error = store_open(ghost, &own, &s, &cause);
    if (error != KELP_OK)
        return fault_set(fault, error, cause.where, "it does not open with this snapshot: %.160s",
                         cause.what);
    const struct store_found *f = store_found(s);
    out->found = f->identity;
    out->behind = sub_sat(f->last, head->pos.index);
    if (!kelp_pos_equal(f->snapshot.pos, head->pos))
        error = fault_set(fault, KELP_E_CORRUPT, "snap", "a start would not load it");
    if (error == KELP_OK) error = head_judge(&f->identity, head, fault);
    if (error == KELP_OK) error = member_judge(f, fault);
    if (error == KELP_OK) error = own_judge(disk, head->pos, f, fault);
    store_close(s);
    return error;
}

static enum kelp_error try_it(struct disk disk, const struct store_options *options,
                              const struct wire_snaphead *head, struct adopt_report *out,
                              struct kelp_fault *fault)
{
    struct disk ghost = {.ops = NULL};
    uint32_t removed;
    enum kelp_error error = ghost_disk(disk, &ghost, fault);
    if (error == KELP_OK) error = name_give(ghost, head->pos, fault);
    if (error == KELP_OK) error = others_remove(ghost, head->pos, &removed, fault);
    if (error == KELP_OK) error = opens_with(disk, ghost, options, head, out, fault);
    ghost_disk_close(&ghost);
    return error;
}

/* What stood in quarantine is gone. */
static enum kelp_error quarantine_end(struct disk disk, struct kelp_fault *fault)
{
    struct twin twin = {.file = NULL};
    struct twin_copy copy;
    struct vote vote;
    uint8_t bytes[VOTE_BYTES];
    enum kelp_error error = twin_open(&twin, disk, VOTE_NAME, VOTE_MAGIC, &copy, fault);
    if (error == KELP_OK) error = vote_decode(bytes_of(copy.payload, copy.len), &vote, fault);
    if (error == KELP_OK && vote.apart) {
        vote.apart = false;
        error = twin_write(&twin, vote_encode(&vote, bytes), fault);
    }
    twin_close(&twin);
    return error;
}

enum kelp_error adopt_run(struct adopt *a, const struct store_options *options,
                          struct adopt_report *out, struct kelp_fault *fault)
{
    struct wire_snaphead *head = malloc(sizeof *head);
    uint8_t *bytes = NULL;
    if (head == NULL) return fault_set(fault, KELP_E_NO_MEMORY, "snap", "out of memory");
    enum kelp_error error =
        store_snapshot_check(a->disk, SNAP_TEMPORARY, true, head, &bytes, fault);
    if (error == KELP_OK) {
        out->pos = head->pos;
        out->hash = head->state_hash;
        error = try_it(a->disk, options, head, out, fault);
    }
    if (error != KELP_OK) {
        struct kelp_fault ignored = {.error = KELP_OK}; /* a start removes it */
        (void)room_remove(a->disk, SNAP_TEMPORARY, &ignored);
    } else {
        error = name_give(a->disk, head->pos, fault);
        if (error == KELP_OK) error = others_remove(a->disk, head->pos, &out->removed, fault);
        if (error == KELP_OK) error = quarantine_end(a->disk, fault);
    }
    free(bytes);
    free(head);
    return error;
}
