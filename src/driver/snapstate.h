/* SPDX-License-Identifier: Apache-2.0 */
/* snapstate.h - what the driver remembers of snapshots: the one that it takes, a piece that is
 * read from its disk, one that comes from elsewhere, and how far it told that it is with that.
 * Rules and transitions stand in the files that are named; only they write here. */
#ifndef DRIVER_SNAPSTATE_H
#define DRIVER_SNAPSTATE_H

#include <sys/queue.h>

#include "driver/clock.h"
#include "driver/driver.h"
#include "wire/snapchunk.h"
#include "wire/snaphead.h"

/* ---- snapshots: snapshot.c ---- */

enum taking_phase { TAKING_NONE = 0, TAKING_READS, TAKING_WAITS, TAKING_WRITES, TAKING_DROPS };

struct taking {
    enum taking_phase phase;
    struct kelp_pos pos; /* of the one that is taken, 0@0: none is */
    bool machine_open;   /* the machine's begin was called and its end was not */
    size_t head_len;
    uint64_t offset, objects; /* behind the head: given to the store */
    uint8_t *rooms[2];        /* one is filled while the other is at the disk */
    uint8_t *head;            /* likewise */
    unsigned at;              /* the one that is filled */
    size_t filled;
    uint32_t in_chunk;               /* objects in it */
    bool sealed, all_read;           /* it waits for the disk; there are no more objects */
    bool pieces, last_given;         /* some were given; the last one was */
    unsigned answers_open, answered; /* of the store: outstanding; come and not looked at */
    enum kelp_error piece_error;
    bool done; /* the head is durable, or not */
    kelp_index done_index;
    enum kelp_error done_error;
    kelp_ns began, after; /* not before: the last one failed; KELP_NEVER: there will be none */
    kelp_ns waits_since;
    unsigned failed_in_a_row;

    bool asked;                              /* by an operator, for the next one .. */
    bool promised;                           /* .. and the one that is taken */
    uint64_t grown, grown_begin, grown_last; /* bytes of log, counted from the start */
    kelp_index boot_last;                    /* up to here the log was there at the start */
    uint32_t first_scale;                    /* in 65536ths */
    struct kelp_pos last;                    /* the newest durable one */
    struct kelp_pos lost;                    /* it was that, and cannot be read; 0@0: none */
    unsigned lost_count;                     /* so many of this process were */
    struct driver_line *renew_line;          /* for a barrier behind that one; NULL: none yet */
    bool renew_open;
    kelp_ns renew_at;
    uint64_t last_bytes, taken, failed;
    kelp_ns last_at, last_took;
};

/* A piece of a snapshot that is read from the own disk, for a peer or a client, or to restore from
 * it. */
enum piece_purpose { PIECE_NONE = 0, PIECE_SERVE, PIECE_RESTORE, PIECE_COPY, PIECE_CLOSE };
struct piece_read {
    enum piece_purpose purpose;
    kelp_id peer;
    struct kelp_pos pos;
    uint64_t offset;
    bool done;
    enum kelp_error error;
    uint64_t size; /* of the file */
    uint8_t *data; /* owned */
    size_t len;
    bool open;                   /* RESTORE: its objects are being given .. */
    struct wire_snapchunk chunk; /* .. and these are left */
};

/* ---- for clients: copy.c ---- */

struct copying {
    struct request_list waiting; /* COPYING, by change_link; the first one is read, or is next */
    uint64_t reads;              /* the handle of the one that is read */
    struct kelp_pos last;        /* of the piece that was read last .. */
    uint64_t next;               /* .. and where the one behind it begins */
    kelp_ns asked_at;            /* the newest question; 0: there was none */
    bool had_turn;               /* the last piece was a client's: now a peer's, if one waits */
};

/* ---- a snapshot from elsewhere: fetch.c ---- */

enum fetch_phase {
    FETCH_NONE = 0,
    FETCH_CLEARS, /* an own one is given up first */
    FETCH_ASKS,   /* pieces come and go to the disk */
    FETCH_NAMES,  /* all are there: the head is put in front, under its name */
    FETCH_DROPS,
    FETCH_RESTORES, /* from here on nothing is applied */
    FETCH_STARTS,   /* a node without a log: the first save is under way */
    FETCH_INSTALLS,
};

struct arrived {
    STAILQ_ENTRY(arrived) link;
    size_t len;
    uint8_t data[];
};

struct fetching {
    enum fetch_phase phase;
    bool birth; /* this node has no log yet */
    struct kelp_pos pos;
    kelp_id from;
    uint64_t connection, ask;
    uint64_t next;     /* in the file: behind what has come .. */
    uint64_t at;       /* .. and behind what was given to the disk */
    uint64_t size;     /* known once the head is there */
    uint64_t asked_to; /* .. the window of the last question */
    uint8_t *head;
    size_t head_len;
    struct wire_snaphead *shown; /* the same, decoded; borrows */
    STAILQ_HEAD(, arrived) arrived;
    struct arrived *written_piece;    /* at the disk */
    unsigned answers_open;            /* of the store */
    bool given;                       /* something is in the file */
    bool gone, again, gap;            /* not there any more; begin anew at once; a piece was lost */
    const char *wrong;                /* with what came */
    kelp_term term;                   /* the highest of its senders: it is committed in that */
    kelp_ns heard, asked_at, slowest; /* the longest time without a piece that came */
    kelp_ns lenient; /* so long a silence is borne, after fetches that ended in one; 0: none did */
    bool told, restoring; /* that this node takes none; its machine has begun and not ended */
    uint64_t restored;
    struct kelp_pos offer; /* the newest; 0@0: none since the last look */
    kelp_id offer_from;
    kelp_ns offered_at, after;
    unsigned failed_in_a_row;
    uint64_t fetched, failed;
};

/* How far this node ever was with the newest snapshot that it fetched: headway.c. */
struct headway {
    struct kelp_pos pos;
    unsigned stage;
    uint64_t bytes;
    kelp_ns moved, told_at;
    bool news; /* since it was told */
};

#endif
