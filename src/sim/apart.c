/* SPDX-License-Identifier: Apache-2.0 */
/* apart.c - one node's state becomes another than the others', must be found out, and rejoins.
 *
 * A run that has healed whole, with everybody there and equal, may go on for a while: one bit of
 * one node's machine is turned, so that its state and its hash are others from there on. Barriers
 * go through the log until indexes have passed at which states are compared. Then, with T the
 * longest election timeout,
 *
 *   L15 within 20 T of that the node is in quarantine, or of two nodes both say that they differ;
 *       nobody else is ever judged, the node leads no longer, and whatever level of read it is
 *       asked for, it answers nothing; nor after a start, until what it read is a majority's
 *   L16 told to rejoin, of two nodes by force, it has within the time to heal another state, which
 *       is the others' from there on (I28), and agrees with all of them at an index behind that;
 *       its term goes on, its vote in the same term and its log stay
 *
 * The clients have stopped before, so nothing that was answered in between is judged. */
#include "base/min.h"
#include "core/look.h"
#include "sim/machine.h"
#include "sim/trace.h"
#include "sim/world.h"

#define TIMEOUTS   20u
#define SLOW_TIMES 5u /* the time to heal, for all that to be written */
#define OPEN_MAX   16u
#define BITS       32u
#define ONE_IN     2u
#define LEVELS     3u
#define BIT_FIRST  20u /* a register and its own number, one more, have no hash: none is so large */
#define NAMES_HIT  64u /* of the registers: those that clients write are low */

static bool all_there(const struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        const struct node *n = &w->nodes[i];
        if (n->outside || n->state != NODE_UP || node_paused(n) || n->closed) return false;
        if (driver_core(n->driver) == NULL || checker_witness(w->checker, i)) return false;
        for (unsigned k = 0; k < w->node_count; k++) {
            if (w->net.cut[i][k]) return false;
        }
    }
    return true;
}

/* How many snapshots of others took the place of a state. */
static uint64_t fetched(const struct world *w)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < w->node_count; i++) {
        struct driver_status s;
        if (w->nodes[i].state != NODE_UP) continue;
        driver_status(w->nodes[i].driver, &s);
        sum += s.fetch.fetched;
    }
    return sum;
}

bool apart_begins(struct world *w)
{
    struct apart *a = &w->apart;
    bool built_in = w->machine.make == machine_make && w->swarm.weights[FAULT_CHANGE] == 0;
    if (!w->swarm.ordered) return false; /* what overtakes a hello is lost, and told no more */
    if (w->options.broken != KELP_SIM_BREAK_NOTHING || !built_in || w->node_count < 2 ||
        !all_there(w))
        return false;
    struct draw *draw = stream(w, STREAM_NODE);
    if (!draw_chance(draw, 1, ONE_IN)) return false;
    struct node *n = &w->nodes[draw_below(draw, w->node_count)];
    uint32_t name = (uint32_t)draw_below(draw, NAMES_HIT);
    unsigned bit = BIT_FIRST + (unsigned)draw_below(draw, BITS);
    *a = (struct apart){.state = APART_WRITES, .node = n->slot, .life = n->life, .at = w->now};
    a->target = checker_commit(w->checker) + 2 * WIRE_MARK_EVERY;
    a->fetched = fetched(w);
    n->apart = true;
    machine_turn(n->machine, name, bit);
    trace_words(w, KELP_SIM_FAULT, n->slot, "its state is another from here on");
    w->report->rotted++;
    return true;
}

/* ---- barriers ---- */

static void barrier_told(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct world *w = ctx;
    (void)token;
    (void)o; /* refused by a leader that hands over: another one follows */
    w->apart.open--;
}

static bool line_there(struct world *w)
{
    struct apart *a = &w->apart;
    const struct node *by = &w->nodes[a->by];
    if (a->line != NULL && by->life == a->by_life && by->state == NODE_UP) return true;
    a->line = NULL; /* it went with its node */
    a->open = 0;
    a->by = (a->node + 1) % w->node_count;
    struct node *n = &w->nodes[a->by];
    if (n->state != NODE_UP) return false;
    a->by_life = n->life;
    a->line = driver_line_open(n->driver, barrier_told, w);
    return a->line != NULL;
}

static void barriers_go(struct world *w)
{
    struct apart *a = &w->apart;
    if (checker_commit(w->checker) >= a->target || !line_there(w) || a->open > 0) return;
    struct node *n = &w->nodes[a->by];
    for (; a->open < OPEN_MAX; a->open++) {
        const struct driver_question q = {.bare = true,
                                          .how = {.level = KELP_READ_LOG},
                                          .deadline = node_clock(n) + w->demand.timeout,
                                          .forward = true};
        if (driver_read(n->driver, node_clock(n), a->line, ++a->token, &q)) continue;
        checker_fail(w->checker, RULE_W02, "no memory for a barrier");
        return;
    }
    node_run(n);
}

/* ---- the judgement ---- */

static enum compare_verdict verdict_of(const struct node *n)
{
    struct driver_status s;
    driver_status(n->driver, &s);
    return s.compared.verdict;
}

/* Everybody says what they must; nobody may ever say anything else of themselves. */
static bool found_out(struct world *w)
{
    const struct apart *a = &w->apart;
    enum compare_verdict want = w->node_count == 2 ? COMPARE_SPLIT : COMPARE_APART;
    bool all = true;
    for (unsigned i = 0; i < w->node_count; i++) {
        enum compare_verdict is = verdict_of(&w->nodes[i]);
        bool judged = is == COMPARE_APART;
        if (judged && (i != a->node || w->node_count == 2))
            checker_fail(w->checker, RULE_L15, "node %u is in quarantine, node %u is wrong", i + 1,
                         a->node + 1);
        bool concerned = i == a->node || w->node_count == 2;
        all = all && (!concerned || is == want);
    }
    return all;
}

static void read_told(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct world *w = ctx;
    struct apart *a = &w->apart;
    a->told++;
    bool refused = o->outcome == KELP_REFUSED && o->reason == KELP_R_QUARANTINED;
    if (!refused && o->outcome != KELP_REFUSED)
        checker_fail(w->checker, RULE_L15, "node %u in quarantine served read %llu: %s",
                     a->node + 1, (unsigned long long)token, kelp_outcome_name(o->outcome));
}

static void reads_ask(struct world *w, struct node *n)
{
    static const enum kelp_read_level levels[LEVELS] = {KELP_READ_ANY, KELP_READ_STALE,
                                                        KELP_READ_LINEARIZABLE};
    struct apart *a = &w->apart;
    uint8_t bytes[MACHINE_REQUEST_BYTES];
    struct machine_request request = {.name = 0, .value = 1};
    size_t len = machine_encode(&request, bytes);
    struct driver_line *line = driver_line_open(n->driver, read_told, w);
    a->state = APART_READS;
    a->told = 0;
    for (unsigned i = 0; i < LEVELS && line != NULL; i++) {
        const struct driver_question q = {.bytes = {bytes, len},
                                          .how = {.level = levels[i], .stale_max = KELP_NEVER},
                                          .deadline = node_clock(n) + w->demand.timeout,
                                          .forward = true};
        if (!driver_read(n->driver, node_clock(n), line, i + 1u, &q)) line = NULL;
    }
    if (line == NULL) {
        checker_fail(w->checker, RULE_W02, "no memory for a read");
        return;
    }
    node_run(n);
}

static bool leads(const struct node *n)
{
    return core_led_term(driver_core(n->driver), false) != 0;
}

/* ---- it starts again ---- */

/* Once that it is wrong is durable. */
static bool starts_again(struct world *w, struct node *n)
{
    struct apart *a = &w->apart;
    if (a->started_at != 0 || n->job_count > 0) return false;
    a->started_at = w->now;
    if (!draw_chance(stream(w, STREAM_NODE), 1, 3)) return false;
    a->state = APART_STARTS;
    a->life = n->life + 1;
    node_crash(n, SIM_CRASH_POWER, n->world->demand.timeout);
    return true;
}

/* True: it is as the others are, by a snapshot that it needed, or since what it read was not what
 * had been turned in memory. */
static bool started(struct world *w, struct node *n)
{
    struct apart *a = &w->apart;
    struct driver_status s = {.fetch = {.fetched = 0}};
    if (n->state == NODE_UP && driver_core(n->driver) != NULL) driver_status(n->driver, &s);
    if (s.fetch.fetched > 0 || s.compared.verdict == COMPARE_AGREED) {
        n->apart = false;
        return true;
    }
    bool loads = n->state != NODE_UP || driver_core(n->driver) == NULL ||
                 rsm_applied(n->rsm).index < checker_commit(w->checker);
    if (loads && w->now > a->started_at + SLOW_TIMES * w->options.heal)
        checker_fail(w->checker, RULE_L15, "node %u, in quarantine, does not start again",
                     a->node + 1);
    if (loads) return false;
    if (verdict_of(n) != COMPARE_APART)
        checker_fail(w->checker, RULE_L15, "node %u has forgotten its quarantine with a start",
                     a->node + 1);
    else
        reads_ask(w, n);
    return false;
}

/* ---- it rejoins ---- */

static void rejoin_begins(struct world *w)
{
    struct apart *a = &w->apart;
    a->state = APART_REJOINS;
    a->rejoin_at = w->now;
    a->passed_at = 0;
    kelp_view(driver_core(w->nodes[a->node].driver), &a->held);
}

/* What a node promised is no part of its state. */
static void promises_kept(struct world *w, const struct node *n)
{
    const struct kelp_view *was = &w->apart.held;
    struct kelp_view is;
    kelp_view(driver_core(n->driver), &is);
    bool vote = is.term.v > was->term.v || was->vote == 0 || is.vote == was->vote;
    if (is.term.v < was->term.v || !vote || is.durable < was->durable || is.commit < was->commit)
        checker_fail(w->checker, RULE_L16, "node %u has lost its term, its vote or its log",
                     w->apart.node + 1);
}

static bool all_agree(const struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        struct driver_status s;
        driver_status(w->nodes[i].driver, &s);
        if (s.compared.verdict != COMPARE_AGREED || s.compared.index <= w->apart.back_at ||
            s.compared.with_most != s.compared.members)
            return false;
    }
    return true;
}

/* All have applied what there is to compare. */
static bool passed(const struct world *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        if (rsm_applied(w->nodes[i].rsm).index < w->apart.target) return false;
    }
    return true;
}

/* True: it has, and all have compared what is behind that; or it is the leader of a pair, which may
 * not. */
static bool rejoined(struct world *w, struct node *n)
{
    struct apart *a = &w->apart;
    struct driver_status s;
    driver_status(n->driver, &s);
    promises_kept(w, n);
    if (w->now > a->rejoin_at + SLOW_TIMES * w->options.heal) {
        checker_fail(w->checker, RULE_L16, "node %u has not rejoined: %s, %llu done, verdict %u",
                     a->node + 1, s.rejoin != NULL ? s.rejoin : "nothing is under way",
                     (unsigned long long)s.rejoined, (unsigned)s.compared.verdict);
        return true;
    }
    if (s.rejoined == 0 && s.rejoin == NULL) {
        bool pair = w->node_count == 2;
        enum kelp_reason reason = driver_rejoin(n->driver, node_clock(n), 0, pair);
        if (reason != KELP_R_NONE && reason != KELP_R_NO_HEALTHY) {
            if (!pair || reason != KELP_R_LEADS)
                checker_fail(w->checker, RULE_L16, "node %u may not rejoin: %s", a->node + 1,
                             kelp_reason_name(reason));
            return true;
        }
        node_run(n);
        return false;
    }
    if (s.rejoined == 0) return false;
    if (n->apart) { /* from here on its state is one that others have had, index by index */
        n->apart = false;
        a->back_at = checker_commit(w->checker);
        a->target = a->back_at + 2 * WIRE_MARK_EVERY;
        w->report->rejoined++;
        return false;
    }
    if (all_agree(w)) return true;
    if (a->open == 0 && passed(w)) { /* a snapshot may have taken one of them over a mark */
        if (a->passed_at == 0) a->passed_at = w->now;
        if (w->now > a->passed_at + w->demand.timeout) {
            a->target += WIRE_MARK_EVERY;
            a->passed_at = 0;
        }
    }
    barriers_go(w);
    return false;
}

/* True: it is over. Where logs are cut short the state may travel before it is found out. */
bool apart_over(struct world *w)
{
    struct apart *a = &w->apart;
    struct node *n = &w->nodes[a->node];
    if (a->state == APART_STARTS && n->life <= a->life) return started(w, n);
    if (n->life != a->life || n->state != NODE_UP) return true; /* it was to end anyway */
    if (a->state == APART_REJOINS) return rejoined(w, n);
    if (fetched(w) > a->fetched) return true; /* all may be as it is, or it as they are */
    if (a->passed_at == 0 && passed(w)) a->passed_at = w->now;
    bool late = a->passed_at != 0 && w->now > a->passed_at + TIMEOUTS * w->demand.timeout;
    late = late || w->now > a->at + SLOW_TIMES * w->options.heal;
    bool found = found_out(w), pair = w->node_count == 2;
    if (a->state == APART_WRITES) {
        if (found && (pair || !leads(n))) {
            if (pair)
                rejoin_begins(w);
            else
                reads_ask(w, n);
        } else if (late) {
            checker_fail(w->checker, RULE_L15, "node %u is not found out after %u timeouts%s",
                         a->node + 1, TIMEOUTS, found ? ": it leads" : "");
        } else if (!found) {
            barriers_go(w);
        }
        return false;
    }
    if (a->told == LEVELS && n->job_count == 0 && !starts_again(w, n)) rejoin_begins(w);
    return false;
}
