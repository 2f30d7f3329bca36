/* SPDX-License-Identifier: Apache-2.0 */
/* restore.h - steps of a restore through the log, as the driver carries them. See restore.c */
#ifndef DRIVER_RESTORE_H
#define DRIVER_RESTORE_H

#include "kelp/restore.h"

struct driver;
struct driver_line;

struct restoring {            /* a leader ends what is staged when its disk gets full */
    struct driver_line *line; /* NULL: none yet */
    bool open;
    kelp_ns at; /* not before */
};

/* restore_gate - why this node, which leads, does not propose the step; NONE: it does. member: of
 * whom it speaks, or 0. */
enum kelp_reason restore_gate(struct driver *d, struct kelp_bytes command, kelp_id *member);
/* restore_frees - does the step end what keeps the log from being shortened? */
bool restore_frees(struct kelp_bytes command);
/* restore_known - has that node shown that it knows such entries? */
bool restore_known(struct driver *d, kelp_id id);
/* restoring_run - end what is staged, if this node leads and its disk is nearly full. */
void restoring_run(struct driver *d);
/* restore_staged - the machine has something staged: no snapshot is begun. */
bool restore_staged(const struct driver *d);

#endif
