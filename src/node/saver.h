/* SPDX-License-Identifier: Apache-2.0 */
/* saver.h - what saver.c and logwork.c share: a job for the log, and who owns what; see saver.c. */
#ifndef NODE_SAVER_H
#define NODE_SAVER_H

#include <sys/queue.h>

#include "node/room.h"

enum job_kind {
    JOB_SAVE,
    JOB_READ,
    JOB_SNAPSHOT,
    JOB_PLEDGE,
    JOB_IDLE,
    JOB_SPACE,
    JOB_FORGET,
    JOB_APART,
};

struct job {
    STAILQ_ENTRY(job) link;
    enum job_kind kind;
    uint32_t group;
    uint64_t given_at; /* uv_hrtime */
    uint64_t bytes;
    union {
        struct kelp_save save;
        struct {
            uint64_t tag, bytes_max;
            kelp_index first;
            uint32_t entries_max;
        } read;
        struct kelp_pos pos;
        bool apart;
        struct {
            struct kelp_cluster_id cluster;
            uint64_t epoch;
            kelp_id node; /* that it was given; 0: it has one */
        } pledge;
        struct {
            enum kelp_space level;
            uint32_t mib;
        } space;
    };
    /* what came of it */
    enum kelp_error error;
    bool ends_log;    /* the saver's fault says why */
    bool dropped;     /* it came after the failure */
    uint64_t sync_ns; /* on the first save of a batch: the whole store_save */
    struct kelp_pos before;
    kelp_index last;
    uint8_t *out;
    size_t out_len;
    size_t part_count, head_len;
    struct kelp_bytes parts[]; /* SAVE; a snapshot's head lies behind */
};

STAILQ_HEAD(job_list, job);

#define SAVER_BATCH 256u /* saves in one store_save */
#define SAVER_SLOW                                                                                 \
    8u /* two slow syncs close together, until as many quick ones as make up for them */

/* The two threads that share a loop and a store. */
enum seat { SEAT_FIRST, SEAT_SECOND };

struct saver {
    struct store *store;
    struct disk disk;
    struct kelp_store_done done;
    struct keeper *keeper; /* NULL: no snapshots with objects */
    uv_loop_t *loop;
    uv_thread_t first, second;
    uv_async_t async;
    bool started, broken; /* broken: a job could not even be queued */
    void (*stopped)(void *ctx);
    void *stopped_ctx;
    struct node_histograms *measured; /* the loop's */

    uv_mutex_t lock;
    uv_cond_t wake;
    struct job_list queue, ended; /* below the lock, like what follows */
    bool stop, finished;
    struct saver_figures figures;
    bool runs;        /* both threads are there for the loop: its owner may save by itself */
    bool apart;       /* the store belongs to the thread that does not own the loop */
    bool lent;        /* the loop's owner is in the store; if it stays there, the other goes on */
    bool upkeep;      /* the store is apart so that a piece of housekeeping is done */
    bool dozes;       /* the thread beside the loop would not notice that the owner is late */
    bool over;        /* the loop has run dry */
    enum seat looper; /* who owns the loop */
    uint64_t busy_at; /* when the loop was last lent, or the store last worked on */

    /* the store's owner's */
    struct store_save_item items[SAVER_BATCH]; /* of the batch at work; too much for a stack */
    struct job_list jobs;                      /* taken, not done: the first found no room */
    bool failed, work_due;
    struct kelp_fault fault; /* written once, before the job that ends the log is handed over */
    uint64_t work_bytes;     /* written since the last piece of housekeeping */
    uint64_t space_at;
    enum kelp_space space; /* as it was told last */
    uint32_t space_mib;
    bool short_of_room; /* some work found no room and is to be tried again */
    bool stuck;         /* the saves at the head found none */
    unsigned slow;      /* how slow the last syncs were; from SAVER_SLOW on the log is kept apart */
};

/* logwork.c: by the store's owner, without the lock. What is done goes to the end of `ended`. */
void jobs_perform(struct saver *s, struct job_list *ended);
void work_perform(struct saver *s, struct job_list *ended);
void figures_take(struct saver *s, struct job_list *ended);

#endif
