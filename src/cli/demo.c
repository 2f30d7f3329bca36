/* SPDX-License-Identifier: Apache-2.0 */
/* demo.c - `kelp demo`: three real processes agree, lose their leader, and carry on.
 *
 * The run is a row of acts; each waits for what it is about, not for a time: a leader, half of the
 * writes, an election, the last write, a follower that has caught up. What is shown is what the
 * nodes themselves say and what the clients were answered. At the end everything is read back
 * (reckon.c); the exit status is 0 only if nothing that was acknowledged is missing anywhere. */
#include "cli/demo.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/min.h"

#define PER_SECOND  3000u  /* slow enough to be seen */
#define BURST       50000u /* while the leader is about to be killed: much should be on its way */
#define BURST_OPEN  32u
#define LIMIT_MS    26000u /* for the whole run; reading back must fit below 30 s */
#define STEP_MS     10u
#define BAR_CELLS   40u
#define BAR_MS      50u
#define WAIT_ALL_MS 8000u

struct demo {
    const struct verb *verb;
    bool json, explain, bar; /* bar: a progress bar stands on the terminal's last line */
    struct fleet fleet;
    struct load load;
    struct load_view seen[FLEET_NODES_MAX + 1];
    uint64_t began_ms, bar_ms, killed_ms, elected_ms, out_ms;
    uint64_t killed_term;
    unsigned killed, quarter; /* quarter: the last progress line where there is no bar */
};

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* ---- what is shown ----------------------------------------------------------------------- */

static void bar_clear(struct demo *d)
{
    if (d->bar) (void)fputs("\r\033[K", stdout);
    d->bar = false;
}

/* An event: the time since the start, what happened, and with --explain what it means. */
static void tell(struct demo *d, const char *explanation, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void tell(struct demo *d, const char *explanation, const char *format, ...)
{
    char words[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof words, format, args);
    va_end(args);
    uint64_t ms = print_now_ms() - d->began_ms;
    if (d->json) {
        json_t *event = json_pack("{sI ss}", "ms", (json_int_t)ms, "event", words);
        if (d->explain) (void)json_object_set_new(event, "explanation", json_string(explanation));
        (void)print_json(d->verb, event);
        return;
    }
    bar_clear(d);
    (void)printf("%s%3u.%02u s%s  %s\n", print_colour(PRINT_DIM), (unsigned)(ms / 1000),
                 (unsigned)(ms % 1000 / 10), print_end(), words);
    if (d->explain)
        (void)printf("         %s%s%s\n", print_colour(PRINT_DIM), explanation, print_end());
    (void)fflush(stdout);
}

static void show_progress(struct demo *d)
{
    char number[PRINT_NUMBER_MAX];
    unsigned done = d->load.ok + d->load.uncertain, count = d->load.key_count;
    if (d->json) return;
    if (!print_terminal()) {
        if (done * 4 / count == d->quarter) return;
        d->quarter = done * 4 / count;
        tell(d, "Answered OK means: it is on the disks of a majority.", "%s keys written",
             print_thousands(d->load.ok, number));
        return;
    }
    uint64_t now = print_now_ms();
    if (now - d->bar_ms < BAR_MS) return;
    d->bar_ms = now;
    char cells[BAR_CELLS + 1];
    unsigned full = done * BAR_CELLS / count;
    for (unsigned i = 0; i < BAR_CELLS; i++)
        cells[i] = i < full ? '#' : '.';
    cells[BAR_CELLS] = '\0';
    bool waits = now - d->load.ok_ms > 150 && d->load.open > 0;
    (void)printf("\r\033[K          [%s%s%s] %3u %%  %s keys%s", print_colour(PRINT_GREEN), cells,
                 print_end(), done * 100 / count, print_thousands(d->load.ok, number),
                 waits ? "  (writes wait for a leader)" : "");
    (void)fflush(stdout);
    d->bar = true;
}

static void explain_roles(struct demo *d, unsigned id, const struct load_view *now)
{
    if (strcmp(now->role, "pre-candidate") == 0)
        tell(d,
             "It heard nothing from a leader for a random time. Before it disturbs anybody it asks "
             "whether it could win at all.",
             "node %u hears no leader and asks whether it could win", id);
    else if (strcmp(now->role, "candidate") == 0)
        tell(d,
             "It votes for itself and asks the others. One vote a node and term, written to disk.",
             "node %u stands for election in term %" PRIu64, id, now->term);
    else if (strcmp(now->role, "leader") == 0)
        tell(d,
             "A majority voted for it, and a majority overlaps with every other: it has everything "
             "that was ever acknowledged.",
             "node %u leads term %" PRIu64, id, now->term);
}

/* Roles and terms that changed since the last look. */
static void show_views(struct demo *d)
{
    for (unsigned id = 1; id <= d->fleet.count; id++) {
        const struct load_view *now = &d->load.views[id];
        if (!now->known) continue;
        bool role = strcmp(now->role, d->seen[id].role) != 0;
        bool term = now->term != d->seen[id].term;
        bool leads = strcmp(now->role, "leader") == 0;
        if (role || (term && leads)) explain_roles(d, id, now);
        d->seen[id] = *now;
    }
}

/* ---- the acts ---------------------------------------------------------------------------- */

static int fail(struct demo *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct demo *d, const char *format, ...)
{
    char words[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof words, format, args);
    va_end(args);
    bar_clear(d);
    return cli_error(d->verb, CLI_FAILED, "%s; data and logs stay in %s", words, d->fleet.dir);
}

/* A node that ended without being killed ends the demo; false: it was said. */
static bool still_well(struct demo *d, const char *waiting_for, uint64_t deadline_ms)
{
    unsigned id = fleet_reap(&d->fleet);
    char ending[64], last[512];
    if (id != 0) {
        (void)fail(d, "node %u ended with %s: %s", id,
                   fleet_ending(d->fleet.nodes[id].ended, ending, sizeof ending),
                   fleet_last_words(&d->fleet, id, last, sizeof last));
        return false;
    }
    if (interrupted != 0) {
        (void)fail(d, "interrupted");
        return false;
    }
    if (print_now_ms() < deadline_ms) return true;
    (void)fail(d, "ran out of time while waiting for %s (%u OK, %u open, last refusal: %s)",
               waiting_for, d->load.ok, d->load.open,
               d->load.refusal[0] != '\0' ? d->load.refusal : "none");
    return false;
}

static void turn(struct demo *d)
{
    load_step(&d->load, STEP_MS);
    show_views(d);
    if (d->load.per_second > 0) show_progress(d);
}

static bool act_start(struct demo *d)
{
    char template[CLI_PATH_MAX];
    const char *base = getenv("TMPDIR");
    (void)snprintf(template, sizeof template, "%s/kelp-demo-XXXXXX",
                   base != NULL && base[0] == '/' && strlen(base) < 2048 ? base : "/tmp");
    if (mkdtemp(template) == NULL)
        return cli_error(d->verb, CLI_FAILED, "%s: %s", template, strerror(errno)) == CLI_DONE;
    fleet_init(&d->fleet, DEMO_NODES, template);
    if (!fleet_ports_free(&d->fleet))
        return fail(d, "no free ports: %s", strerror(errno)) == CLI_DONE;
    for (unsigned id = 1; id <= d->fleet.count; id++) {
        if (!fleet_start(&d->fleet, id))
            return fail(d, "node %u: %s", id, strerror(errno)) == CLI_DONE;
    }
    tell(d, "Each is a process of its own with its own directory, as on three machines.",
         "three nodes start in %s: pids %d, %d, %d", template, (int)d->fleet.nodes[1].pid,
         (int)d->fleet.nodes[2].pid, (int)d->fleet.nodes[3].pid);
    load_open(&d->load, &d->fleet, DEMO_KEYS);
    uint64_t deadline = d->began_ms + WAIT_ALL_MS;
    while (load_leader(&d->load) == 0) {
        if (!still_well(d, "the first leader", deadline)) return false;
        turn(d);
    }
    return true;
}

static void kill_leader(struct demo *d, unsigned leader)
{
    char number[PRINT_NUMBER_MAX];
    d->killed = leader;
    d->killed_term = d->load.views[leader].term;
    d->killed_ms = print_now_ms();
    d->load.gap_ms = 0;
    d->load.per_second = PER_SECOND;
    fleet_kill(&d->fleet, leader);
    tell(d,
         "No goodbye, no flush: the process is gone with all it had in memory. Writes that were on "
         "their way have no answer.",
         "%skill -9 node %u%s, the leader: %s keys are acknowledged, %u on their way",
         print_colour(PRINT_RED), leader, print_end(), print_thousands(d->load.ok, number),
         d->load.open);
}

/* Once the new leader is seen and a write was answered after that: how long nothing was. */
static void note_recovery(struct demo *d)
{
    unsigned leader = load_leader(&d->load);
    if (d->elected_ms == 0 && leader != 0 && leader != d->killed &&
        d->load.views[leader].term > d->killed_term)
        d->elected_ms = print_now_ms();
    if (d->elected_ms == 0 || d->out_ms != 0 || d->load.ok_ms < d->elected_ms) return;
    d->out_ms = d->load.gap_ms;
    tell(d, "The clients of the other two nodes only waited; nobody had to be told anything.",
         "writes go on: they were out for %s%u.%02u s%s", print_colour(PRINT_BOLD),
         (unsigned)(d->out_ms / 1000), (unsigned)(d->out_ms % 1000 / 10), print_end());
}

static bool restart_killed(struct demo *d)
{
    if (!fleet_start(&d->fleet, d->killed))
        return fail(d, "starting node %u again: %s", d->killed, strerror(errno)) == CLI_DONE;
    tell(d, "It reads its own log, learns who leads now, and is sent what it missed.",
         "node %u starts again", d->killed);
    return true;
}

static bool act_write(struct demo *d)
{
    uint64_t deadline = d->began_ms + LIMIT_MS;
    bool restarted = false;
    tell(d,
         "Six connections, two a node; a node that does not lead passes a write on to the leader.",
         "clients begin to write 10,000 keys");
    load_begin(&d->load, PER_SECOND);
    while (d->load.ok + d->load.uncertain < d->load.key_count || !restarted || d->out_ms == 0) {
        if (!still_well(d, "the writes", deadline)) return false;
        turn(d);
        unsigned leader = load_leader(&d->load);
        if (d->killed == 0 && d->load.ok >= d->load.key_count / 2) {
            d->load.per_second = BURST;
            if (leader != 0 && d->load.open >= BURST_OPEN) kill_leader(d, leader);
        }
        if (d->killed != 0) note_recovery(d);
        if (d->out_ms != 0 && !restarted && d->load.ok >= d->load.key_count * 3 / 4) {
            restarted = restart_killed(d);
            if (!restarted) return false;
        }
    }
    tell(d, "Refused means: never happened, and was sent again. Uncertain: nobody can know yet.",
         "all keys are sent: %u acknowledged, %u uncertain", d->load.ok, d->load.uncertain);
    return true;
}

static bool act_catch_up(struct demo *d)
{
    uint64_t deadline = d->began_ms + LIMIT_MS;
    for (unsigned id = 1; id <= d->fleet.count; id++)
        d->load.views[id].known = false; /* what counts is what they say from now on */
    for (;;) {
        unsigned leader = load_leader(&d->load);
        const struct load_view *v = d->load.views, *back = &v[d->killed];
        if (leader != 0 && back->known && back->applied > 0 && back->applied >= v[leader].commit)
            break;
        if (!still_well(d, "the restarted node to catch up", deadline)) return false;
        turn(d);
    }
    tell(d, "It holds what the others hold, entry for entry.",
         "node %u has caught up at index %" PRIu64, d->killed, d->load.views[d->killed].applied);
    return true;
}

/* ---- the summary ------------------------------------------------------------------------- */

static bool all_well(const struct demo *d, const struct reckoning *r)
{
    for (unsigned id = 1; id <= DEMO_NODES; id++) {
        if (r->found[id] != d->load.ok) return false;
    }
    return r->error[0] == '\0' && r->lost == 0 && r->split == 0 && r->equal && d->load.ok > 0;
}

static void print_summary_json(const struct demo *d, const struct reckoning *r, bool well)
{
    json_t *found = json_array(), *hashes = json_array();
    for (unsigned id = 1; id <= DEMO_NODES; id++) {
        (void)json_array_append_new(found, json_integer(r->found[id]));
        (void)json_array_append_new(hashes, json_string(r->hash[id]));
    }
    (void)print_json(d->verb,
                     json_pack("{sb si si si si si si so so sI sI sI}", "ok", well, "acknowledged",
                               (int)d->load.ok, "refused", (int)d->load.refused, "uncertain",
                               (int)d->load.uncertain, "uncertain_happened", (int)r->happened,
                               "lost", (int)r->lost, "killed", (int)d->killed, "found", found,
                               "hashes", hashes, "hash_index", (json_int_t)r->index, "election_ms",
                               (json_int_t)(d->elected_ms - d->killed_ms), "writes_out_ms",
                               (json_int_t)d->out_ms));
}

static void print_summary(const struct demo *d, const struct reckoning *r, bool well)
{
    char number[PRINT_NUMBER_MAX];
    const char *bold = print_colour(PRINT_BOLD), *end = print_end();
    (void)printf("\n  %s%9s%s acknowledged   read back through", bold,
                 print_thousands(d->load.ok, number), end);
    for (unsigned id = 1; id <= DEMO_NODES; id++)
        (void)printf("%s node %u: %s%s%s", id > 1 ? "," : "", id,
                     print_colour(r->found[id] == d->load.ok ? PRINT_GREEN : PRINT_RED),
                     print_thousands(r->found[id], number), end);
    (void)printf("\n  %s%9u%s uncertain      their answers were lost with the leader: %u happened, "
                 "%u did not, the same on every node\n",
                 bold, d->load.uncertain, end, r->happened, d->load.uncertain - r->happened);
    (void)printf("  %s%9u%s refused        %s\n", bold, d->load.refused, end,
                 d->load.refused == 0 ? "nobody was turned away"
                                      : "never happened, and sent again");
    (void)printf("  %s%6u.%02u s%s without writes: a new leader after %u.%02u s\n", bold,
                 (unsigned)(d->out_ms / 1000), (unsigned)(d->out_ms % 1000 / 10), end,
                 (unsigned)((d->elected_ms - d->killed_ms) / 1000),
                 (unsigned)((d->elected_ms - d->killed_ms) % 1000 / 10));
    (void)printf("  state hash at index %" PRIu64
                 ": %s%s%s on node 1, %s on node 2, %s on node 3\n\n",
                 r->index, bold, r->hash[1], end,
                 strcmp(r->hash[2], r->hash[1]) == 0 ? "the same" : r->hash[2],
                 strcmp(r->hash[3], r->hash[1]) == 0 ? "the same" : r->hash[3]);
    if (well)
        (void)printf("%sNothing that was acknowledged is lost.%s Now try: kelp dev\n",
                     print_colour(PRINT_GREEN), end);
    else
        (void)printf("%sThis is wrong:%s %u acknowledged keys are missing or changed, %u uncertain "
                     "ones differ between nodes, hashes %s.\n",
                     print_colour(PRINT_RED), end, r->lost, r->split,
                     r->equal ? "agree" : "differ");
}

static int act_reckon(struct demo *d)
{
    struct reckoning r;
    tell(d, "Every read is linearizable: it sees all that was acknowledged before it.",
         "reading everything back through every node");
    reckon(&d->load, d->began_ms + LIMIT_MS + 2000, &r);
    if (r.error[0] != '\0') return fail(d, "reading back: %s", r.error);
    bool well = all_well(d, &r);
    if (d->json)
        print_summary_json(d, &r, well);
    else
        print_summary(d, &r, well);
    return well ? CLI_DONE : fail(d, "what was acknowledged is not all there");
}

static int run(struct demo *d)
{
    struct sigaction on = {.sa_handler = interrupt};
    (void)sigaction(SIGINT, &on, NULL);
    (void)sigaction(SIGTERM, &on, NULL);
    d->began_ms = print_now_ms();
    if (!d->json)
        (void)printf("%sKelp demo%s: three nodes, 10,000 writes, and kill -9 for the leader.\n\n",
                     print_colour(PRINT_BOLD), print_end());
    int status = CLI_FAILED;
    if (act_start(d) && act_write(d) && act_catch_up(d)) status = act_reckon(d);
    if (d->load.fleet != NULL) load_close(&d->load);
    fleet_stop(&d->fleet);
    if (status != CLI_DONE) return status;
    if (!fleet_forget(&d->fleet) || rmdir(d->fleet.dir) != 0)
        return cli_error(d->verb, CLI_FAILED, "%s: %s", d->fleet.dir, strerror(errno));
    return CLI_DONE;
}

int demo_verb(const struct verb *verb, int argc, char **argv)
{
    static struct demo d;
    d.verb = verb;
    const struct flag flags[] = {
        {.name = "explain",
         .kind = FLAG_SWITCH,
         .to.on = &d.explain,
         .words = "what each event means, in a sentence"},
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &d.json, .words = "a JSON object an event"},
    };
    int status;
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status) ||
        !flags_words_check(verb, argc, argv, 0, 0, &status))
        return status;
    return run(&d);
}
