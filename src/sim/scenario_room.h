/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_room.h - what the files of the scenario interpreter share.
 *
 *   scenario.c         blocks, transcript, comparison, the verb
 *   scenario_words.c   reading a command line
 *   scenario_setup.c   commands before the nodes start
 *   scenario_act.c     commands that make something happen
 *   scenario_change.c  changes of the membership
 *   scenario_try.c     what a node must not start with
 *   scenario_world.c   nodes: their log, disk and clock; performing what a core asks for
 *   scenario_post.c    messages between them
 *   scenario_rules.c   what must hold after every step
 *   scenario_step.c    telling it one command at a time
 *   scenario_expect.c  what a story says must hold now
 *
 * Everything a run allocates lies in one list and is freed at its end. Whatever goes wrong (a word
 * that makes no sense, a broken invariant, an assertion of the core, no memory) ends the run
 * through scenario_stop, which jumps out: a script of one thread needs no other path for errors. */
#ifndef SIM_SCENARIO_ROOM_H
#define SIM_SCENARIO_ROOM_H

#include <setjmp.h>

#include "base/buf.h"
#include "base/min.h"
#include "kelp/core.h"
#include "sim/scenario.h"

#define SCENARIO_NODES_MAX 9u
#define SCENARIO_SAVES_MAX 32u
#define SCENARIO_WORDS_MAX 256u
#define SCENARIO_STEPS_MAX 200000u /* more, and the story does not come to rest */
#define SCENARIO_LINE_MAX  400u
#define SCENARIO_STATE_MAX 256u

/* An entry is the same everywhere exactly if its term and its name are: the name is 0 for what a
 * story gives at the start and unique for every entry that a leader makes later. */
struct entry {
    kelp_term term;
    uint32_t bytes;
    uint8_t type;
    uint64_t name;
    const struct kelp_config *config; /* of a configuration entry */
};

struct entries { /* from index 1 on; at or below base nothing is known */
    struct entry *at;
    size_t count, room;
    struct kelp_pos base;
};

struct disk { /* what survives a crash */
    kelp_term term;
    kelp_id vote;
    struct entries log;
    kelp_index commit, applied, snapshot, everyone;
    struct entries shown; /* what the snapshot holds: from entry 1 to its end */
};

struct pending { /* a save that was emitted and not reported */
    struct kelp_save save;
    struct entry *entries; /* save.first..save.last */
};

enum manual {
    MANUAL_SAVES = 0,
    MANUAL_APPLIES = 1,
    MANUAL_LOOKUPS = 2,
    MANUAL_TAKES = 3,
    MANUAL_FETCHES = 4,
    MANUAL_COUNT
};

struct node {
    kelp_id id;
    bool up, ran, manual[MANUAL_COUNT];
    struct kelp_options options;
    const struct kelp_config *members; /* before any configuration entry */
    struct kelp_core *core;
    kelp_ns now, deadline;
    struct entries log;
    struct disk disk;
    struct pending saves[SCENARIO_SAVES_MAX];
    size_t save_count;
    struct kelp_lookup lookups[SCENARIO_NODES_MAX + 1];
    size_t lookup_count;
    struct kelp_pos fetch; /* a snapshot that it needs, 0@0: none .. */
    kelp_id fetch_from;    /* .. and who offers it */
    bool installs;         /* once its core has looked something up */
    kelp_index apply_given, applied;
    kelp_index commit_seen; /* the rules have looked at commits up to here */
    bool fault_told;
    bool tells_inputs; /* each input is a line of the transcript */
    uint32_t seen_block[KELP_EVENT_COUNT], seen_ever[KELP_EVENT_COUNT];
    char told[SCENARIO_STATE_MAX]; /* --step: how it was when last told */
};

struct letter { /* a message on its way, with the entries it names */
    struct kelp_message message;
    struct entry *entries;
    struct kelp_entry_info *infos;
    const struct kelp_config *config, *config_before;
};

struct held { /* a message kept for later, under a name */
    const char *name;
    const struct letter *letter;
};

enum token_kind { TOKEN_PROPOSAL, TOKEN_READ, TOKEN_TRANSFER, TOKEN_CHANGE, TOKEN_DRAIN };

struct token { /* a request of a client */
    uint64_t number;
    struct node *node;
    enum token_kind kind;
    bool answered;
    kelp_term term;       /* of its node when a transfer was asked for */
    uint64_t name;        /* of the entry it became (a change: the newest), 0: none */
    kelp_index committed; /* the highest index committed anywhere when a read was asked */
    struct kelp_answer answer;
    struct kelp_edit edits[KELP_MEMBERS_MAX]; /* of a change */
    uint32_t edit_count;
    bool whole;
    bool on; /* a drain, and not its end */
};

struct fact { /* what is committed at an index */
    bool known;
    kelp_term term; /* of the entry */
    uint64_t name;
    kelp_term when; /* of the node that first saw it */
};

struct chunk { /* of the run's memory */
    struct chunk *next;
};

struct words {
    char *at[SCENARIO_WORDS_MAX];
    size_t count, next;
};

struct scenario {
    jmp_buf stop;
    struct chunk *memory;
    struct scenario_report *report;
    struct buf lines;                 /* of the current block's transcript */
    const struct scenario_step *step; /* NULL: nobody reads along */
    size_t step_count;                /* told so far */
    size_t step_lines, step_failure;  /* where this step's share of lines and failures begins */
    bool step_open;
    bool hidden; /* `quietly`: nothing goes into the transcript */
    size_t line;
    struct words words;
    uint64_t steps, names, forged;

    struct node nodes[SCENARIO_NODES_MAX];
    size_t node_count;
    kelp_ns election_min; /* what configurations say: the cluster's settings; 0: nothing */
    uint32_t drift_ppm;
    bool started, wiped;
    bool cut[SCENARIO_NODES_MAX + 1][SCENARIO_NODES_MAX + 1]; /* from, to */

    const struct letter **post; /* in flight, oldest first */
    size_t post_count, post_room;
    struct held *held;
    size_t held_count, held_room;
    struct token *tokens;
    size_t token_count, token_room;
    struct fact *facts; /* by index - 1 */
    size_t fact_count, fact_room;
    kelp_id *leaders; /* by term, 0: none yet */
    size_t leader_count, leader_room;
};

/* ---- scenario.c ---- */
_Noreturn void scenario_stop(struct scenario *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void scenario_failed(struct scenario *s, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* noted; the story goes on */
/* scenario_say - a line of the transcript: the node's time, a column that says who, the words. */
void scenario_say(struct scenario *s, const struct node *node, const char *who, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));
/* scenario_note - a line without time. */
void scenario_note(struct scenario *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void *scenario_memory(struct scenario *s, size_t bytes); /* zeroed, never NULL */
/* scenario_grow - the array, moved if need be, with room for one more than count. */
void *scenario_grow(struct scenario *s, void *at, size_t count, size_t *room, size_t size);

/* ---- scenario_words.c ---- */
void words_split(struct scenario *s, char *line);
bool words_left(const struct scenario *s);
const char *words_peek(const struct scenario *s); /* "" at the end */
const char *words_next(struct scenario *s);
bool words_take(struct scenario *s, const char *word); /* the next word, if it is this one */
void words_end(struct scenario *s);                    /* stops if there are more */
uint64_t words_number(struct scenario *s);
uint64_t words_prefixed(struct scenario *s, char prefix); /* "t5" for 't' */
kelp_ns words_span(struct scenario *s);                   /* 150ms, 2s, 250us */
kelp_ns words_span_of(struct scenario *s, const char *word);
uint64_t words_number_of(struct scenario *s, const char *word);
struct kelp_pos words_pos(struct scenario *s); /* 3@2 */
struct kelp_pos words_pos_of(struct scenario *s, const char *word);
struct node *words_node(struct scenario *s);
struct node *words_node_up(struct scenario *s);
/* words_nodes - "1,3:" or "1,3" or "*" as a bit per slot; all nodes if there is no such word. */
uint32_t words_nodes(struct scenario *s);
bool words_link(struct scenario *s, const char *arrow, kelp_id *from,
                kelp_id *to);                                           /* 1->2, 0: any */
struct kelp_config *words_config(struct scenario *s, const char *word); /* 1v,2v,3L; see there */
enum kelp_event_type words_event(struct scenario *s);
/* words_entries - 1@1 2..4@2 5@2=1v,2v,3v 6@2:5000 appended to a log while such words come. */
void words_entries(struct scenario *s, struct entries *log);

/* ---- scenario_setup.c ---- */
bool setup_command(struct scenario *s, const char *word);
bool setup_is(const struct scenario *s, const char *line); /* would it be a command of the setup? */
void setup_start(struct scenario *s); /* starts all nodes at the first other command */
void setup_option(struct scenario *s, struct node *node, const char *word); /* window=1 */

/* ---- scenario_act.c ---- */
bool act_command(struct scenario *s, const char *word);
void act_state(struct scenario *s, struct node *only); /* NULL: all */

/* act_token - a new one. */
struct token *act_token(struct scenario *s, struct node *node, uint64_t number,
                        enum token_kind kind);

/* ---- scenario_change.c ---- */
void change_command(struct scenario *s);
void plan_command(struct scenario *s);
/* change_made - a configuration that a core made: what must hold of it, kept with its entry. */
void change_made(struct scenario *s, const struct node *node, const struct kelp_made *made,
                 struct entry *entry);
void change_rule(struct scenario *s, const struct node *node, const struct token *token);

/* ---- scenario_try.c ---- */
void try_command(struct scenario *s);

/* ---- scenario_world.c ---- */
struct node *world_node(struct scenario *s, kelp_id id); /* NULL: none */
/* world_boot - what the store of this node would find on its disk. */
void world_boot(struct scenario *s, struct node *node, struct kelp_boot *boot);
/* world_shows - the disk's snapshot shows a log up to index. */
void world_shows(struct scenario *s, struct disk *disk, const struct entries *log,
                 kelp_index index);
void world_fetch(struct scenario *s, struct node *node); /* what it needs, and install it */
void world_install(struct scenario *s, struct node *node);
void world_start(struct scenario *s, struct node *node);
void world_crash(struct scenario *s, struct node *node);
/* world_step - one input into a core, its log kept, the rules looked at; letter: of a message. */
void world_step(struct scenario *s, struct node *node, const struct kelp_input *input,
                const struct letter *letter);
void world_take(struct scenario *s,
                struct node *node); /* take and perform until there is no more */
void world_pump(struct scenario *s, struct node *node); /* the same, unless takes are manual */
void world_saved(struct scenario *s, struct node *node, uint64_t number);
void world_perform(struct scenario *s, struct node *node,
                   uint64_t number); /* on disk, unreported */
void world_applied(struct scenario *s, struct node *node, kelp_index index);
void world_lookup(struct scenario *s, struct node *node, const struct kelp_lookup *lookup);
void world_tick(struct scenario *s, struct node *node, kelp_ns span);
void scenario_world_run(struct scenario *s, kelp_ns span); /* all clocks, delivering everything */
void entries_push(struct scenario *s, struct entries *log, struct entry entry);
void entries_copy(struct scenario *s, struct entries *to, const struct entries *from);
const struct entry *entries_at(const struct entries *log, kelp_index index); /* NULL: not held */
struct kelp_pos entries_tail(const struct entries *log);
void entries_text(const struct entries *log, char *out, size_t size); /* 1..2@1 3@2 */
void world_newest_configs(const struct entry *entries, size_t count,
                          const struct kelp_config **newest, const struct kelp_config **before);

/* ---- scenario_post.c ---- */
void post_send(struct scenario *s, struct node *from, const struct kelp_message *message);
bool post_deliver_next(struct scenario *s); /* false: nothing in flight */
bool post_command(struct scenario *s, const char *word);
size_t post_matching(struct scenario *s); /* how many match the selector that follows */
void post_text(const struct kelp_message *message, char *out, size_t size);
void post_cut(struct scenario *s); /* what is in flight on a cut link is lost */

/* ---- scenario_rules.c ---- */
void rules_check(struct scenario *s, struct node *node);
void rules_message(struct scenario *s, const struct node *from, const struct letter *letter);
void rules_answer(struct scenario *s, const struct node *node, const struct kelp_answer *answer);
kelp_index rules_committed(const struct scenario *s);
bool rules_passed(const struct scenario *s, struct kelp_pos pos); /* by a later term below it? */

/* ---- scenario_expect.c ---- */
void expect_command(struct scenario *s);
struct token *expect_token(struct scenario *s, uint64_t number); /* NULL: none */

/* ---- scenario_step.c ---- */
void step_text(struct scenario *s, const char *line); /* a comment, an empty line */
void step_started(struct scenario *s);                /* how the nodes are now is no news */
/* step_begin - tell the command, and ask if it waits and somebody is there; false: enough. */
bool step_begin(struct scenario *s, const char *line, bool waits);
/* step_end - tell what the command did; expected: it is an expectation. */
void step_end(struct scenario *s, bool expected);

#endif
