/* SPDX-License-Identifier: Apache-2.0 */
/* stage.h - a restore through the log: what is put aside beside the state, until one entry makes it
 * the state. */
#ifndef RSM_STAGE_H
#define RSM_STAGE_H

#include "kelp/fsm.h"
#include "kelp/restore.h"
#include "wire/entry.h"

struct stage {
    const struct kelp_fsm_ops *ops;
    void *fsm;
    uint32_t group;
    void *restore; /* the machine's, while status.id is not 0 */
    struct kelp_restore_status status;
    struct kelp_restore_step begun; /* the BEGIN, without its bytes .. */
    uint64_t own_hash;              /* .. but for this */
    kelp_index touched;             /* of its last BEGIN or new PART .. */
    uint64_t touched_ns;            /* .. and its stamp */
};

void stage_init(struct stage *s, const struct kelp_fsm_ops *ops, void *fsm, uint32_t group);

/* stage_takes - can the machine be restored while commands are applied? */
bool stage_takes(const struct stage *s);

/* stage_lapse - an entry at index, with this cluster time, is about to be applied: what has been
 * quiet for too long by then ends first. */
void stage_lapse(struct stage *s, kelp_index index, uint64_t time_ns);

struct stage_verdict {
    enum kelp_reason refused; /* NONE: it was done */
    bool switched;            /* the state is another one now */
};

/* stage_apply - an entry of type RESTORE; the machine has applied all before it. Errors stop the
 * machine for good: KELP_E_VERSION, it is not known what it means; KELP_E_NO_MEMORY. */
enum kelp_error stage_apply(struct stage *s, const struct wire_entry *e, uint64_t time_ns,
                            struct stage_verdict *out, struct kelp_fault *fault);

/* stage_drop - nothing is staged any more; index: by which entry. Nothing is: nothing to do. */
void stage_drop(struct stage *s, enum kelp_restore_end end, kelp_index index);

static inline bool stage_open(const struct stage *s)
{
    return s->status.id != 0;
}

#endif
