/* SPDX-License-Identifier: Apache-2.0 */
/* fixture.h - one core on a table: put it into a state in one line, feed it, look at what it
 * gives.
 *
 * A log is written as its positions: "1@1 2@1 3@4". A node is made from what a test cares about;
 * everything else has a dull value: node 1 of three voters, term 1, nothing committed, 100 ms
 * heartbeat, election after 1 to 2 s, small limits. Nothing happens on its own: a test reports
 * saves, applies and time itself. After every step and take kelp_check() must hold; what takes
 * return is kept in arrays until fixture_forget(). */
#ifndef TESTS_CORE_FIXTURE_H
#define TESTS_CORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kelp/core.h"

#define MS           ((kelp_ns)1000000)
#define FIXTURE_KEPT 512u
#define LOG_MAX      128u /* entries above the base, ever */

/* A log as a value, and the boot runs made of it. */
struct log_text {
    struct kelp_pos base;
    kelp_index last;
    kelp_term terms[LOG_MAX + 1]; /* [i]: of base.index + i */
    struct kelp_run runs[LOG_MAX];
    size_t run_count;
};

struct spec {
    char dull;          /* so that node() is C11: an initializer is never empty */
    kelp_id self;       /* 1 */
    uint64_t term;      /* 1, or the last entry's */
    kelp_id vote;       /* nobody */
    const char *base;   /* "0@0" */
    const char *log;    /* empty */
    kelp_index commit;  /* base */
    kelp_index applied; /* base */
    kelp_index everyone, snapshot;
    uint32_t voters;   /* 3: members 1..voters */
    uint32_t learners; /* 0: the members after them */
    const struct kelp_config *config, *config_before;
    uint64_t seed;
    uint32_t off;    /* protections */
    uint32_t window; /* messages */
    uint32_t tail;   /* entries whose size is kept */
    uint32_t runs;
    uint32_t proposals, reads, answers, message_entries;
    uint64_t message_bytes, window_bytes, uncommitted_bytes, unapplied_bytes, entry_bytes;
    uint64_t trailing;
    bool trailing_none; /* trailing 0 */
    uint64_t hold;
    bool hold_none; /* hold_bytes 0 */
    bool apply_durable_only;
    kelp_ns stall_limit;
    kelp_ns lease, election_min; /* 0; 1 s */
    bool ran_before;
};

struct fixture {
    struct kelp_core *core;
    struct kelp_options options;
    kelp_ns now;
    kelp_ns deadline;
    uint64_t saved;       /* the last save reported */
    uint64_t vote_id;     /* of the messages made here */
    size_t events_before; /* in the flight recorder when fixture_forget() was called */
    struct kelp_message messages[FIXTURE_KEPT];
    struct kelp_answer answers[FIXTURE_KEPT];
    struct kelp_save saves[FIXTURE_KEPT];
    struct kelp_lookup lookups[FIXTURE_KEPT];
    size_t message_count, answer_count, save_count, lookup_count, looked_up;
    kelp_index apply_last;
    struct kelp_pos fetch; /* the last snapshot that was wanted, from fetch_from .. */
    kelp_id fetch_from;
    size_t fetch_count;           /* .. told so often */
    struct kelp_pos made;         /* the last empty entry the core made itself */
    struct kelp_taken taken;      /* of the last step */
    struct kelp_view view;        /* refreshed by every step and take */
    kelp_index base;              /* at boot */
    kelp_term terms[LOG_MAX + 1]; /* the log as its owner holds it: [i] is of base + i */
    bool faulted;
    void *memory;
};

/* ---- making ---- */

struct log_text log_text(const char *base, const char *positions);
struct kelp_config voters(uint32_t count);

/* fixture_node - a follower with this past, before its first take. */
struct fixture *fixture_node(const struct spec *spec);
#define node(...) fixture_node(&(struct spec){.dull = 0, __VA_ARGS__})

/* fixture_leader - the same node after it won the election of term + 1: the empty entry is in its
 * log and saved, nothing of it is acknowledged by anybody; what was sent so far is forgotten. */
struct fixture *fixture_leader(const struct spec *spec);
#define leader(...) fixture_leader(&(struct spec){.dull = 0, __VA_ARGS__})

void fixture_close(struct fixture *f);

/* ---- feeding ---- */

/* Every one of these is one kelp_step, checked; none of them takes. */
void step(struct fixture *f, const struct kelp_input *input);
void receive(struct fixture *f, struct kelp_message message);
void pass(struct fixture *f, kelp_ns span); /* time passes, then a tick */
void saved_up_to(struct fixture *f, uint64_t number);
void applied(struct fixture *f, kelp_index index);
void campaign(struct fixture *f);
void link_new(struct fixture *f, kelp_id peer);
void looked_up(struct fixture *f, enum kelp_input_type type, const struct kelp_lookup *lookup,
               struct kelp_pos pos, struct kelp_pos last);
bool client_writes(struct fixture *f, uint64_t token, uint32_t bytes,
                   kelp_ns deadline); /* taken? */
void client_reads(struct fixture *f, uint64_t token, kelp_ns deadline);

/* take - until there is no more to do; everything is kept. */
void take(struct fixture *f);

/* save_all - take, and report what was given to be saved, until nothing is left to save. */
void save_all(struct fixture *f);

/* look_up - answer every lookup the core asked for since the last time, from the log as its
 * owner holds it. */
void look_up(struct fixture *f);

/* deliver - what one core sent reaches another; an append takes its entries along. */
void deliver(struct fixture *from, struct fixture *to, const struct kelp_message *message);

void fixture_forget(struct fixture *f);

/* ---- messages from others, with what matters in them ---- */

struct append_text {
    char dull;
    kelp_id from;        /* 2 */
    uint64_t term;       /* the core's */
    const char *prev;    /* "0@0" */
    const char *entries; /* none */
    kelp_index commit, everyone;
    uint64_t round, attempt;
    const struct kelp_config *config, *config_before;
};
void fixture_append(struct fixture *f, const struct append_text *text);
#define append(f, ...) fixture_append((f), &(struct append_text){.dull = 0, __VA_ARGS__})

struct kelp_message heartbeat_of(struct fixture *f, kelp_id from, uint64_t term);
struct kelp_message vote_of(struct fixture *f, kelp_id from, uint64_t term, const char *last);
struct kelp_message pre_vote_of(struct fixture *f, kelp_id from, uint64_t term, const char *last);
struct kelp_message granted_of(struct fixture *f, kelp_id from); /* to what the core asks for now */
struct kelp_message refused_of(struct fixture *f, kelp_id from);
struct kelp_message answer_of(struct fixture *f, kelp_id from, kelp_index match);

/* ack - the newest append sent to peer is answered: accepted, and durable up to match. */
void ack(struct fixture *f, kelp_id peer, kelp_index match);

/* ---- looking ---- */

/* The newest message of a type to a node, NULL if none was sent. */
const struct kelp_message *sent(const struct fixture *f, enum kelp_message_type type, kelp_id to);
size_t sent_count(const struct fixture *f, enum kelp_message_type type, kelp_id to);

/* The answer a token got; fails if there is none, or more than one. */
struct kelp_answer answer_to(const struct fixture *f, uint64_t token);
size_t answers_to(const struct fixture *f, uint64_t token);

const struct kelp_peer_view *peer_view(const struct fixture *f, kelp_id id);
/* hits - how often an event happened since fixture_forget(). */
uint32_t hits(const struct fixture *f, enum kelp_event_type type);
#define MARK_HIT(f, NAME)  assert_int_not_equal(hits((f), KELP_EV_##NAME), 0)
#define MARK_MISS(f, NAME) assert_int_equal(hits((f), KELP_EV_##NAME), 0)

/* The log of a core as text, from the first entry it holds: "1@1 2@1". */
void assert_log(const struct fixture *f, const char *positions);

void assert_pos(struct kelp_pos pos, const char *text);

#endif
