/* SPDX-License-Identifier: Apache-2.0 */
/* machine.h - the built-in disposable state machine: registers by number, whole in its own
 * bytes. */
#ifndef SIM_MACHINE_H
#define SIM_MACHINE_H

#include "kelp/sim.h"

#define MACHINE_REGISTERS     2048u
#define MACHINE_REQUEST_BYTES 16u /* then any filling */

/* A command sets a register and answers with the value it had; a question answers with the
 * value. */
struct machine_request {
    uint32_t name;  /* below MACHINE_REGISTERS */
    uint64_t value; /* a command: what to write, not 0 */
};

/* machine_encode - MACHINE_REQUEST_BYTES bytes. */
void machine_encode(const struct machine_request *request, uint8_t *out);

/* machine_decode - false: not a request of this machine. */
bool machine_decode(struct kelp_bytes in, struct machine_request *out);

/* The registers for kelp_sim_machine; ctx may point to a kelp_id whose machine is to be wrong on
 * purpose (KELP_SIM_BREAK_APPLY), or be NULL. */
extern const struct kelp_fsm_ops machine_ops;
void *machine_make(void *ctx, kelp_id node);

#endif
