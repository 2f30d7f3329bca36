/* SPDX-License-Identifier: Apache-2.0 */
/* kelp.h - everything. Most programs need one of: node.h (a ready-made member), core.h (the value
 * machine alone),
 * sim.h (test your state machine in simulated clusters). */
#ifndef KELP_KELP_H
#define KELP_KELP_H

#include "kelp/core.h"
#include "kelp/event.h"
#include "kelp/fsm.h"
#include "kelp/history.h"
#include "kelp/lead.h"
#include "kelp/node.h"
#include "kelp/plan.h"
#include "kelp/restore.h"
#include "kelp/session.h"
#include "kelp/sim.h"
#include "kelp/store.h"
#include "kelp/transport.h"
#include "kelp/types.h"

#endif
