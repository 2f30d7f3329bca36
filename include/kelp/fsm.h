/* SPDX-License-Identifier: Apache-2.0 */
/* fsm.h - what Kelp asks of a replicated state machine.
 *
 * A state machine is a table of functions and a pointer. It is called by one owner at a time (the
 * node's loop or
 * its applier; the simulator's world), never concurrently. It must be deterministic: the same
 * commands at the same
 * positions with the same cluster times give the same replies and the same hash on every member, so
 * no wall clock,
 * no pointer order, no hash-seed order, no floating point decides anything. */
#ifndef KELP_FSM_H
#define KELP_FSM_H

#include "kelp/types.h"

#define KELP_FSM_OWN_BYTES_MAX 32768u     /* the machine's own bytes in a snapshot's head */
#define KELP_FSM_NO_DEADLINE   UINT64_MAX /* nothing has one */
#define KELP_FSM_EXTEND_MAX    64u        /* bytes that a leader's machine puts beside a command */

enum kelp_fsm_flag {
    /* its state is gone with the process; may be fed before this node's disk is done */
    KELP_FSM_IN_MEMORY = 1,
    /* its whole state is at most KELP_FSM_OWN_BYTES_MAX own bytes and no objects */
    KELP_FSM_DISPOSABLE = 2,
};

/* One committed command. */
struct kelp_command {
    struct kelp_pos pos;
    uint64_t time_ns;            /* cluster clock, monotone, stamped by the leader */
    struct kelp_bytes extension; /* opaque bytes beside the payload, often empty */
    struct kelp_bytes payload;
};

/* kelp_reply_fn - how a state machine answers command number i of a batch, or a query (i = 0).
 * bytes are borrowed
 * during the call; a command that is not answered has an empty reply; at most one call per command.
 * */
typedef void (*kelp_reply_fn)(void *sink, size_t i, struct kelp_bytes bytes);

/* What a machine replies that executed a command and has no memory to say with what result: its
 * outcome is UNKNOWN, and if the command is to be executed once the node stops, since nobody could
 * be told what it did (session.h). */
#define KELP_REPLY_LOST ((struct kelp_bytes){NULL, SIZE_MAX})
static inline bool kelp_reply_is_lost(struct kelp_bytes reply)
{
    return reply.data == NULL && reply.len == SIZE_MAX;
}

enum kelp_query {
    KELP_QUERY_DONE = 0, /* it has replied */
    KELP_QUERY_MORE = 1, /* it has begun and goes on at the next call */
    KELP_QUERY_BUSY = 2, /* it would take long and may not begin now: ask again */
};

/* What a restore through the log begins with (kelp/restore.h). */
struct kelp_stage {
    size_t size;           /* sizeof(struct kelp_stage), so that it may grow */
    uint64_t then_ns;      /* the cluster clock when the file was made; 0: not known */
    uint64_t now_ns;       /* the cluster clock of the entry that begins; it goes on from there */
    uint64_t wall_unix_ms; /* the time of day then, about; 0: not known. To be told only */
    struct kelp_bytes own; /* the machine's own bytes, of the file */
};

struct kelp_fsm_ops {
    size_t size;    /* sizeof(struct kelp_fsm_ops), so that it may grow */
    uint32_t flags; /* enum kelp_fsm_flag */

    /* Apply a batch in order; must succeed: a command the machine dislikes is answered with its own
     * error reply. */
    void (*apply)(void *fsm, uint32_t group, const struct kelp_command *commands, size_t count,
                  kelp_reply_fn reply, void *sink);

    /* Answer a question without changing anything replicated. time_ns is the last applied stamp. */
    void (*query)(void *fsm, uint32_t group, struct kelp_bytes question, kelp_reply_fn reply,
                  void *sink);

    /* A snapshot: own bytes for the head (at most KELP_FSM_OWN_BYTES_MAX, written to own, *own_len
     * set), then objects until *last. begin captures the state at the last applied command and is
     * cheap; commands are applied between two reads and must not show in it. *len: room, at most
     * 64 KiB, then the object's bytes; 0: none this time, which is how a long search is cut. A
     * read should take half a millisecond. end: once after every begin that succeeded, also when
     * it is given up. Disposable machines need begin only. */
    enum kelp_error (*snapshot_begin)(void *fsm, uint32_t group, uint8_t *own, size_t *own_len,
                                      void **snapshot);
    enum kelp_error (*snapshot_read)(void *fsm, void *snapshot, uint8_t *out, size_t *len,
                                     bool *last);
    void (*snapshot_end)(void *fsm, void *snapshot);

    /* Replace the whole state; until commit the old state stays, after abort it is as before. At a
     * start, and at any time in a member that lacked what the others had compacted: then one object
     * is given in a turn, so an object should not take longer than half a millisecond, and queries
     * come between these calls and see the old state; no command, no query that goes on and no
     * snapshot is open from begin to commit. See also stage_begin. */
    enum kelp_error (*restore_begin)(void *fsm, uint32_t group, struct kelp_pos pos,
                                     uint64_t time_ns, struct kelp_bytes own, void **restore);
    enum kelp_error (*restore_object)(void *fsm, void *restore, struct kelp_bytes object);
    enum kelp_error (*restore_commit)(void *fsm, void *restore);
    void (*restore_abort)(void *fsm, void *restore);

    /* A hash of the replicated state; equal at the same position on every member. Asked for at
     * every 256th entry and for status, between batches: keep it up to date with each command
     * instead of walking the state. A member whose hash is not that of a majority is quarantined
     * and serves no reads until its state is replaced, or it starts anew. So versions that run
     * together must have the same hash for the same state. */
    uint64_t (*hash)(void *fsm, uint32_t group);

    void (*close)(void *fsm);

    /* Can this command only make the state smaller? Such commands go on while others are refused
     * for want of disk room. Asked before it is proposed, changes nothing; NULL: none can. */
    bool (*frees)(void *fsm, uint32_t group, struct kelp_bytes command);

    /* Optional, both or none: query for a machine with questions that take longer than a
     * millisecond. Asked again with the same token and question until it is DONE; a piece should
     * take half a millisecond. While one goes on nothing is applied, so that it sees one state;
     * other questions are asked in between, but only where may_begin is not 0 one that would go
     * on may begin. query_end: the one that goes on is not wanted any more. */
    enum kelp_query (*query_part)(void *fsm, uint32_t group, uint64_t token,
                                  struct kelp_bytes question, int may_begin, kelp_reply_fn reply,
                                  void *sink);
    void (*query_end)(void *fsm, uint32_t group, uint64_t token);

    /* Optional: does the machine want a snapshot to be taken now, whatever its log has grown to?
     * Asked between batches, changes nothing; cheap. */
    bool (*wants_snapshot)(void *fsm, uint32_t group);

    /* Optional, deadline and pass or neither: what passes by itself. The cluster clock is the stamp
     * of the last applied entry and stands still between two entries. deadline: the earliest moment
     * of it at which the state is another one, KELP_FSM_NO_DEADLINE: there is none; the leader
     * appends a clock entry when its own running clock is past it. pass: the clock stands at
     * time_ns now, by an entry that is no command; not alone: nothing but the clock may change.
     * Alone: by a clock entry, so that up to a millisecond's worth may be cleared away; the same on
     * every member. */
    uint64_t (*deadline)(void *fsm, uint32_t group);
    void (*pass)(void *fsm, uint32_t group, uint64_t time_ns, int alone);

    /* Optional: would this question be answered in another way if the clock stood at time_ns, which
     * is not yet so? Then it waits for an entry that says so. Changes nothing. */
    bool (*lapses)(void *fsm, uint32_t group, struct kelp_bytes question, uint64_t time_ns);

    /* Optional: in front of a question, where the cluster clock is about now, as it runs on here.
     * For answers that tell a time; it must decide nothing. */
    void (*tell_time)(void *fsm, uint32_t group, uint64_t time_ns);

    /* Optional: bytes to put beside a command, as its extension, asked of the leader's machine
     * once, when it is proposed, at most KELP_FSM_EXTEND_MAX; 0: none. wall_unix_ms is the
     * leader's time of day at the moment of the entry's stamp. Decides by the command alone. */
    size_t (*extend)(void *fsm, uint32_t group, struct kelp_bytes command, uint64_t wall_unix_ms,
                     uint8_t *out);

    /* Optional: begin a restore that goes through the log, in the place of restore_begin; object,
     * commit and abort are those of above, with what this gave. Commands, questions, snapshots and
     * the restore of an installed snapshot may come between its calls, and none may see or touch
     * what is put aside; a snapshot that was begun before may be open at commit, and shows the old
     * state to its end. commit checks by the bytes alone whether all is there, and keeps the
     * cluster clock that the machine has. Deadlines are moved by now_ns - then_ns, so that they
     * keep the time that they had left; then_ns 0: they stay. NULL: the machine cannot do that. */
    enum kelp_error (*stage_begin)(void *fsm, uint32_t group, const struct kelp_stage *from,
                                   void **restore);
};

#endif
