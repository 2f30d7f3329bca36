/* SPDX-License-Identifier: Apache-2.0 */
/* trace.h - where records of a run are made: one call for each thing that happens.
 *
 * Nobody who calls these looks at what becomes of it, and without a reader each of them is one
 * comparison. What changes slowly (which nodes run, which links are cut) is not reported by those
 * who change it: it is compared after each event with what was last told, so that a new fault
 * needs no call of its own. */
#ifndef SIM_TRACE_H
#define SIM_TRACE_H

#include "sim/world.h"

/* trace_make - w->tracer, NULL when the options name no reader; false: out of memory. */
bool trace_make(struct world *w);
void trace_unmake(struct world *w);
void trace_began(struct world *w);

/* An event of the world has its turn at a node. */
void trace_turn_told(struct world *w, enum event_kind kind, unsigned node, uint64_t what);
static inline void trace_turn(struct world *w, enum event_kind kind, unsigned node, uint64_t what)
{
    if (w->tracer != NULL) trace_turn_told(w, kind, node, what);
}

/* Whatever changed slowly during the event that ends now. */
void trace_settle_told(struct world *w);
static inline void trace_settle(struct world *w)
{
    if (w->tracer != NULL) trace_settle_told(w);
}

/* A frame is SENT, LOST, RECEIVED or DROPPED; arrives: when, KELP_NEVER: it does not. */
void trace_frame_told(struct world *w, enum kelp_sim_kind kind, const struct packet *p,
                      kelp_ns arrives, const char *why);
static inline void trace_frame(struct world *w, enum kelp_sim_kind kind, const struct packet *p,
                               kelp_ns arrives, const char *why)
{
    if (w->tracer != NULL) trace_frame_told(w, kind, p, arrives, why);
}

void trace_event_told(struct node *n, const struct kelp_event *event);
static inline void trace_event(struct node *n, const struct kelp_event *event)
{
    if (n->world->tracer != NULL) trace_event_told(n, event);
}

/* ASKED or ANSWERED: token names the request, and words follow "client 3". */
void trace_client_told(struct world *w, enum kelp_sim_kind kind, unsigned node, uint32_t client,
                       uint64_t token, const char *words);

/* Anything else, in words; node KELP_SIM_NODES_MAX: the world. */
void trace_words_told(struct world *w, enum kelp_sim_kind kind, unsigned node, const char *words);
static inline void trace_words(struct world *w, enum kelp_sim_kind kind, unsigned node,
                               const char *words)
{
    if (w->tracer != NULL) trace_words_told(w, kind, node, words);
}

#endif
