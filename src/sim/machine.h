/* SPDX-License-Identifier: Apache-2.0 */
/* machine.h - the built-in disposable state machine: registers and lists by number, whole in its
 * own bytes. */
#ifndef SIM_MACHINE_H
#define SIM_MACHINE_H

#include "kelp/sim.h"

#define MACHINE_REGISTERS     2048u
#define MACHINE_NAMES         (MACHINE_REGISTERS + (1u << 20)) /* the others are lists */
#define MACHINE_LISTS         24u                              /* kept at once */
#define MACHINE_LIST_MAX      60u                              /* elements */
#define MACHINE_TOGETHER_MAX  4u                               /* names of one request */
#define MACHINE_LENT_MAX      64u                              /* registers that are lent at once */
#define MACHINE_REQUEST_BYTES 36u                              /* at most, then any filling */
#define MACHINE_ANSWER_BYTES  (8u + 8u * MACHINE_LIST_MAX)

/* What is asked for as a command, and as a question. Every answer is 8 bytes a number. */
enum machine_kind {
    MACHINE_SET = 0, /* write: what stood there. Question: what stands there */
    MACHINE_SWAP,    /* write if `expected` stands there: what stood there. Question: as SET's */
    MACHINE_COUNT,   /* add one: the new number. Question: as SET's */
    MACHINE_APPEND,  /* to a list: its length, 0: full or too old. Question: length, elements */
    MACHINE_SEVERAL, /* write all names: what stood at the first. Question: what stands at each */
    MACHINE_LEND,    /* write for lasts_ms: what stood there. Question: as SET's */
    MACHINE_KINDS
};

struct machine_more { /* beside a name and a value; all zero: a plain register */
    uint8_t kind, others;
    uint32_t names[MACHINE_TOGETHER_MAX - 1];
    uint64_t expected;
    uint32_t lasts_ms; /* of the cluster clock, from the stamp of the command on */
};

struct machine_request {
    uint32_t name;  /* below MACHINE_REGISTERS a register, below MACHINE_NAMES a list */
    uint64_t value; /* a command: what to write, not 0; a count: any number, unique too */
    struct machine_more more;
};

/* A list whose place a later one has taken is gone: appends to it are answered 0, questions with
 * this length. */
#define MACHINE_GONE UINT64_MAX

static inline uint32_t machine_list_place(uint32_t name)
{
    return (name - MACHINE_REGISTERS) % MACHINE_LISTS;
}

/* A register that is lent is 0 again from the first entry on whose stamp is its deadline or later.
 * Any other write keeps what it writes; when so many are lent, one more is not, and stays. */

/* machine_encode - how many bytes it takes. */
size_t machine_encode(const struct machine_request *request, uint8_t out[MACHINE_REQUEST_BYTES]);

/* machine_decode - false: not a request of this machine. */
bool machine_decode(struct kelp_bytes in, struct machine_request *out);

/* The machine for kelp_sim_machine; ctx may point to a kelp_id whose machine is to be wrong on
 * purpose (KELP_SIM_BREAK_APPLY), or be NULL. */
extern const struct kelp_fsm_ops machine_ops;
extern const struct kelp_fsm_ops machine_objects_ops; /* its snapshots have objects */
void *machine_make(void *ctx, kelp_id node);

/* machine_turn - one bit of a register is another one from here on, and so is the hash. */
void machine_turn(void *fsm, uint32_t name, unsigned bit);

#endif
