/* SPDX-License-Identifier: Apache-2.0 */
/* quarantine.h - what this node does while its state is not that of the others. See quarantine.c */
#ifndef DRIVER_QUARANTINE_H
#define DRIVER_QUARANTINE_H

#include "driver/compare.h"
#include "kelp/transport.h"

struct driver;

struct told_marks {      /* of a peer */
    bool takes;          /* as its last hello showed */
    uint64_t connection; /* on which it was told .. */
    kelp_index upto;     /* .. so far */
};

struct quarantine {
    struct compare compare;
    struct compare_result result; /* as last judged */
    kelp_index looked;            /* all marks of this node up to it were taken */
    kelp_index newest;            /* of them; 0: its state has none */
    bool apart;                   /* it is in quarantine */
    bool judge_due, tell_due;
    kelp_ns tell_at; /* a peer's queue was full */
};

/* quarantine_goes_on - this node was in quarantine when it last ran. */
void quarantine_goes_on(struct driver *d);
/* quarantine_applied - the machine stands at upto: what are its newest marks? */
void quarantine_applied(struct driver *d, kelp_index upto);
/* quarantine_restored - the whole state was replaced. */
void quarantine_restored(struct driver *d);
/* quarantine_judge - if anything was said since; before anything is served. */
void quarantine_judge(struct driver *d);
/* quarantine_tell - who was not told yet; before the flush. quarantine_next: when to look again. */
void quarantine_tell(struct driver *d);
kelp_ns quarantine_next(const struct driver *d);
enum kelp_error quarantine_arrived(struct driver *d, kelp_id from, struct kelp_bytes body,
                                   struct kelp_fault *fault);

#endif
