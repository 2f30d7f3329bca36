/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_act.c - commands that make something happen, and those that look at it.
 *
 *   timeout 3             node 3's clock runs until it stands for election, or would
 *   campaign 3            the same without the clock;  lead 3: a whole election, not shown
 *   tick 3 150ms          its clock runs, timers fire, nothing is delivered;  tick * 1s: all
 *   jump 3 5s             its clock jumps, as after a pause
 *   run, run 2s           everything is delivered until nothing moves, while all clocks run 2 s
 *   saves 3 manual|auto   applies, lookups the same; then saved 3 [NUMBER], applied 3 [INDEX],
 *                         found 3, gone 3, failed 3 answer the oldest lookup; found 3 4@2 to 6@3
 *                         answers it with these words
 *   takes 3 manual|auto   what arrives is one wake-up until take 3 asks what is to be done
 *   crash 3 [keep N]      what is not on disk is gone; saves up to N got there unreported
 *   start 3   restart 3   wipe 3 (an empty disk)
 *   propose 1 7 8 [bytes N] [within 2s] [frees]   read 1 9 [within 2s]   cancel 1 9
 *   change 1 7 add 4v     the membership: see scenario_change.c
 *   link 1 2   snapshot 1 INDEX   health 1 ROOM HEALTH   fault 1   shutdown 1
 *   sending 1 3           node 3 fetches from node 1: a piece has left
 *   removed 3 2           the handshake of node 2 refuses node 3: it was removed
 *   installed 3 4@2 [in t3] [with 1v,2v@3]   a snapshot that is no such thing is told of: committed
 *                         in a term, with a configuration
 *   try 3 window=0 found commit=9   would it start so? See scenario_try.c
 *   state [1]   log 1   disk 1   peers 1   config 1 [committed]   recent 1 [COUNT]
 *   inputs 3 shown|hidden   each input of the node as a line
 *   quietly ...           the command without its transcript */
#include <stdio.h>

#include "sim/scenario_room.h"

static unsigned long long u(uint64_t v)
{
    return (unsigned long long)v;
}

static void input(struct scenario *s, struct node *node, struct kelp_input in)
{
    world_step(s, node, &in, NULL);
    world_pump(s, node);
}

/* ---- elections and time ---- */

static uint32_t timers_fired(const struct node *node)
{
    return node->seen_ever[KELP_EV_ELECTION_TIMEOUT] + node->seen_ever[KELP_EV_ELECTION_REPEAT] +
           node->seen_ever[KELP_EV_CAMPAIGN_NOT_VOTER] + node->seen_ever[KELP_EV_CAMPAIGN_WAITS] +
           node->seen_ever[KELP_EV_CAMPAIGN_NEVER] +
           node->seen_ever[KELP_EV_CAMPAIGN_HELD_STALLED] +
           node->seen_ever[KELP_EV_CAMPAIGN_HELD_UNSAVED] +
           node->seen_ever[KELP_EV_CAMPAIGN_HELD_NO_SPACE];
}

static void act_timeout(struct scenario *s)
{
    struct node *node = words_node_up(s);
    uint32_t fired = timers_fired(node);
    for (int rounds = 0; timers_fired(node) == fired; rounds++) {
        if (rounds == 1000 || node->deadline == KELP_NEVER)
            scenario_stop(s, "node %llu has no election timeout", u(node->id));
        node->now = max_u64(node->now, node->deadline);
        input(s, node, (struct kelp_input){.type = KELP_IN_TICK});
    }
}

static void act_campaign(struct scenario *s)
{
    input(s, words_node_up(s), (struct kelp_input){.type = KELP_IN_CAMPAIGN});
}

static void act_lead(struct scenario *s)
{
    struct node *node = words_node_up(s);
    bool hidden = s->hidden;
    s->hidden = true;
    input(s, node, (struct kelp_input){.type = KELP_IN_CAMPAIGN});
    scenario_world_run(s, node->options.heartbeat);
    s->hidden = hidden;
    struct kelp_view view;
    kelp_view(node->core, &view);
    if (view.role != KELP_LEADER) scenario_stop(s, "node %llu does not lead", u(node->id));
    act_state(s, NULL);
}

static void act_tick(struct scenario *s)
{
    if (words_take(s, "*")) {
        kelp_ns span = words_span(s);
        for (size_t slot = 0; slot < s->node_count; slot++)
            world_tick(s, &s->nodes[slot], span);
        return;
    }
    struct node *node = words_node(s);
    world_tick(s, node, words_span(s));
}

static void act_jump(struct scenario *s)
{
    struct node *node = words_node_up(s);
    node->now += words_span(s);
    input(s, node, (struct kelp_input){.type = KELP_IN_TICK});
}

static void act_run(struct scenario *s)
{
    scenario_world_run(s, words_left(s) ? words_span(s) : 0);
}

/* ---- disk and state machine ---- */

static void set_manual(struct scenario *s, enum manual which)
{
    struct node *node = words_node_up(s);
    node->manual[which] = words_take(s, "manual");
    if (!node->manual[which] && !words_take(s, "auto")) scenario_stop(s, "manual or auto?");
    if (node->manual[which]) return;
    if (which == MANUAL_SAVES && node->save_count > 0)
        world_saved(s, node, node->saves[node->save_count - 1].save.number);
    if (which == MANUAL_APPLIES && node->apply_given > node->applied)
        world_applied(s, node, node->apply_given);
    world_pump(s, node);
}

static void act_takes(struct scenario *s)
{
    set_manual(s, MANUAL_TAKES);
}

static void act_take(struct scenario *s)
{
    world_take(s, words_node_up(s));
}

static void act_saves(struct scenario *s)
{
    set_manual(s, MANUAL_SAVES);
}

static void act_applies(struct scenario *s)
{
    set_manual(s, MANUAL_APPLIES);
}

static void act_lookups(struct scenario *s)
{
    set_manual(s, MANUAL_LOOKUPS);
}

static void act_saved(struct scenario *s)
{
    struct node *node = words_node_up(s);
    if (node->save_count == 0) scenario_stop(s, "no save of node %llu is open", u(node->id));
    uint64_t number = node->saves[0].save.number;
    if (words_left(s)) number = words_number(s);
    if (number > node->saves[node->save_count - 1].save.number)
        scenario_stop(s, "node %llu has no save %llu", u(node->id), u(number));
    world_saved(s, node, number);
    world_pump(s, node);
}

static void act_applied(struct scenario *s)
{
    struct node *node = words_node_up(s);
    world_applied(s, node, words_left(s) ? words_number(s) : node->apply_given);
    world_pump(s, node);
}

static struct kelp_lookup oldest_lookup(struct scenario *s, struct node *node)
{
    if (node->lookup_count == 0) scenario_stop(s, "node %llu looks nothing up", u(node->id));
    struct kelp_lookup lookup = node->lookups[0];
    node->lookup_count--;
    memmove(node->lookups, node->lookups + 1, node->lookup_count * sizeof *node->lookups);
    return lookup;
}

static void act_found(struct scenario *s)
{
    struct node *node = words_node_up(s);
    struct kelp_lookup lookup = oldest_lookup(s, node);
    if (words_left(s)) {
        struct kelp_input in = {.type = KELP_IN_FOUND};
        in.found.revision = lookup.revision;
        in.found.pos = words_pos(s);
        if (!words_take(s, "to")) scenario_stop(s, "found 3 4@2 to 6@3");
        in.found.last = words_pos(s);
        input(s, node, in);
        return;
    }
    world_lookup(s, node, &lookup);
    world_pump(s, node);
}

static void not_found(struct scenario *s, enum kelp_input_type type)
{
    struct node *node = words_node_up(s);
    struct kelp_lookup lookup = oldest_lookup(s, node);
    struct kelp_input in = {.type = type};
    in.found.pos.index = lookup.index;
    in.found.revision = lookup.revision;
    input(s, node, in);
}

static void act_gone(struct scenario *s)
{
    not_found(s, KELP_IN_GONE);
}

static void act_lookup_failed(struct scenario *s)
{
    not_found(s, KELP_IN_FAILED);
}

/* ---- life and death ---- */

static void crash(struct scenario *s, struct node *node)
{
    if (words_take(s, "keep")) world_perform(s, node, words_number(s));
    world_crash(s, node);
}

static void act_crash(struct scenario *s)
{
    crash(s, words_node_up(s));
}

static void start(struct scenario *s, struct node *node)
{
    char text[SCENARIO_LINE_MAX], who[24];
    if (node->up) scenario_stop(s, "node %llu is up", u(node->id));
    (void)snprintf(who, sizeof who, "%llu", u(node->id));
    entries_text(&node->disk.log, text, sizeof text);
    scenario_say(s, node, who, "starts: term %llu vote %llu log %s", u(node->disk.term.v),
                 u(node->disk.vote), text);
    world_start(s, node);
}

static void act_start(struct scenario *s)
{
    start(s, words_node(s));
}

static void act_restart(struct scenario *s)
{
    struct node *node = words_node_up(s);
    crash(s, node);
    start(s, node);
}

static void act_wipe(struct scenario *s)
{
    struct node *node = words_node(s);
    if (node->up) world_crash(s, node);
    node->disk = (struct disk){0};
    s->wiped = true;
}

/* ---- requests ---- */

struct ask {
    struct node *node;
    uint32_t bytes, flags;
    kelp_ns deadline;
    enum kelp_proof proof;
};

/* The options behind the tokens; the tokens are read again afterwards. */
static struct ask ask_of(struct scenario *s, size_t *first, size_t *end)
{
    struct ask ask = {.node = words_node_up(s), .bytes = 100, .deadline = KELP_NEVER};
    *first = s->words.next;
    while (words_left(s) && words_peek(s)[0] >= '0' && words_peek(s)[0] <= '9')
        (void)words_next(s);
    *end = s->words.next;
    if (*first == *end) scenario_stop(s, "a token is missing");
    while (words_left(s)) {
        if (words_take(s, "within"))
            ask.deadline = ask.node->now + words_span(s);
        else if (words_take(s, "bytes"))
            ask.bytes = (uint32_t)min_u64(words_number(s), UINT32_MAX);
        else if (words_take(s, "frees"))
            ask.flags = KELP_PROPOSE_FREES;
        else if (words_take(s, "lease"))
            ask.proof = KELP_PROOF_LEASE;
        else if (words_take(s, "either"))
            ask.proof = KELP_PROOF_EITHER;
        else
            words_end(s);
    }
    return ask;
}

struct token *act_token(struct scenario *s, struct node *node, uint64_t number,
                        enum token_kind kind)
{
    if (number == 0 || expect_token(s, number) != NULL)
        scenario_stop(s, "token %llu was used", u(number));
    s->tokens = scenario_grow(s, s->tokens, s->token_count, &s->token_room, sizeof *s->tokens);
    struct token *token = &s->tokens[s->token_count++];
    *token = (struct token){
        .number = number, .node = node, .kind = kind, .committed = rules_committed(s)};
    return token;
}

static void ask(struct scenario *s, bool read)
{
    size_t first, end;
    struct ask asked = ask_of(s, &first, &end);
    for (size_t i = first; i < end; i++) {
        struct kelp_input in = {.type = read ? KELP_IN_READ : KELP_IN_PROPOSE};
        uint64_t token = words_number_of(s, s->words.at[i]);
        (void)act_token(s, asked.node, token, read ? TOKEN_READ : TOKEN_PROPOSAL);
        if (read) {
            in.read.token = token;
            in.read.deadline = asked.deadline;
            in.read.proof = asked.proof;
        } else {
            in.propose.token = token;
            in.propose.deadline = asked.deadline;
            in.propose.bytes = asked.bytes;
            in.propose.flags = asked.flags;
        }
        world_step(s, asked.node, &in, NULL);
    }
    world_pump(s, asked.node);
}

static void act_propose(struct scenario *s)
{
    ask(s, false);
}

static void act_read(struct scenario *s)
{
    ask(s, true);
}

/* hello 2, hello *: what its handshake shows of its settings reaches everybody else */
static void act_hello(struct scenario *s)
{
    uint32_t set = words_take(s, "*") ? UINT32_MAX : 1u << (words_node(s)->id - 1);
    for (size_t from = 0; from < s->node_count; from++) {
        const struct node *node = &s->nodes[from];
        struct kelp_input in = {.type = KELP_IN_SHOWN};
        in.shown.peer = node->id;
        in.shown.election_min = node->options.election_min;
        in.shown.drift_ppm = node->options.drift_ppm;
        for (size_t to = 0; to < s->node_count; to++) {
            bool told = (set >> from & 1u) != 0 && to != from && s->nodes[to].up;
            if (told) input(s, &s->nodes[to], in);
        }
    }
}

/* drain 1 7 [within 2s], undrain 1 8 */
static void drain(struct scenario *s, bool on)
{
    struct node *node = words_node_up(s);
    struct kelp_input in = {.type = KELP_IN_DRAIN};
    in.drain.token = words_number(s);
    in.drain.deadline = KELP_NEVER;
    in.drain.on = on;
    if (on && words_take(s, "within")) in.drain.deadline = node->now + words_span(s);
    act_token(s, node, in.drain.token, TOKEN_DRAIN)->on = on;
    world_step(s, node, &in, NULL);
    world_pump(s, node);
}

static void act_drain(struct scenario *s)
{
    drain(s, true);
}

static void act_undrain(struct scenario *s)
{
    drain(s, false);
}

/* transfer 1 7 [to 2] [within 2s] */
static void act_transfer(struct scenario *s)
{
    struct node *node = words_node_up(s);
    struct kelp_input in = {.type = KELP_IN_TRANSFER};
    in.transfer.token = words_number(s);
    in.transfer.deadline = KELP_NEVER;
    while (words_left(s)) {
        if (words_take(s, "to"))
            in.transfer.target = words_number(s);
        else if (words_take(s, "within"))
            in.transfer.deadline = node->now + words_span(s);
        else
            words_end(s);
    }
    (void)act_token(s, node, in.transfer.token, TOKEN_TRANSFER);
    struct kelp_view view;
    kelp_view(node->core, &view);
    s->tokens[s->token_count - 1].term = view.term;
    input(s, node, in);
}

static void act_cancel(struct scenario *s)
{
    struct node *node = words_node_up(s);
    input(s, node, (struct kelp_input){.type = KELP_IN_CANCEL, .token = words_number(s)});
}

/* ---- what else can happen to a node ---- */

static void act_fetches(struct scenario *s)
{
    set_manual(s, MANUAL_FETCHES);
}

static void act_fetch(struct scenario *s)
{
    struct node *node = words_node_up(s);
    if (node->fetch.index == 0) scenario_stop(s, "node %llu fetches nothing", u(node->id));
    world_fetch(s, node);
    world_pump(s, node);
}

/* installed 3 4@2 [in t3] [with 1v,2v@3]: nothing was fetched, no state machine restored. A core
 * that takes such a thing for true would live on in no state at all, so the story ends there. */
static void act_installed(struct scenario *s)
{
    struct node *node = words_node_up(s);
    struct kelp_input in = {.type = KELP_IN_INSTALLED};
    struct kelp_view view;
    in.installed.pos = words_pos(s);
    if (words_take(s, "in")) in.installed.term = kelp_term_of(words_prefixed(s, 't'));
    in.installed.config = words_take(s, "with") ? words_config(s, words_next(s)) : node->members;
    kelp_view(node->core, &view);
    if (in.installed.pos.index <= view.applied) scenario_stop(s, "that is applied already");
    input(s, node, in);
    kelp_view(node->core, &view);
    if (in.installed.pos.index <= view.applied)
        scenario_stop(s, "node %llu believes it: see fetch", u(node->id));
}

/* sending 1 3, removed 3 2: what a node is told about another */
static void told_of(struct scenario *s, enum kelp_input_type type)
{
    struct node *node = words_node_up(s);
    input(s, node, (struct kelp_input){.type = type, .peer = words_number(s)});
}

static void act_sending(struct scenario *s)
{
    told_of(s, KELP_IN_SENDING);
}

static void act_removed(struct scenario *s)
{
    told_of(s, KELP_IN_REMOVED);
}

static void act_link(struct scenario *s)
{
    told_of(s, KELP_IN_LINK);
}

static void act_snapshot(struct scenario *s)
{
    struct node *node = words_node_up(s);
    kelp_index index = words_number(s);
    if (index == 0 || index > node->apply_given)
        scenario_stop(s, "a snapshot of what nobody applies");
    struct kelp_pos pos = {.index = index, .term = node->log.at[index - 1].term};
    if (index > node->disk.snapshot) world_shows(s, &node->disk, &node->log, index);
    input(s, node, (struct kelp_input){.type = KELP_IN_SNAPSHOT, .pos = pos});
}

static void act_health(struct scenario *s)
{
    struct node *node = words_node_up(s);
    struct kelp_input in = {.type = KELP_IN_HEALTH};
    in.health.room = (uint32_t)min_u64(words_number(s), UINT32_MAX);
    in.health.health = (uint32_t)min_u64(words_number(s), UINT32_MAX);
    input(s, node, in);
}

static void act_fault(struct scenario *s)
{
    input(s, words_node_up(s), (struct kelp_input){.type = KELP_IN_FAULT});
}

static void act_shutdown(struct scenario *s)
{
    input(s, words_node_up(s), (struct kelp_input){.type = KELP_IN_SHUTDOWN});
}

/* ---- looking ---- */

void act_state(struct scenario *s, struct node *only)
{
    char text[SCENARIO_LINE_MAX];
    for (size_t slot = 0; slot < s->node_count; slot++) {
        struct node *node = &s->nodes[slot];
        if (only != NULL && only != node) continue;
        if (!node->up) {
            scenario_note(s, "%llu down", u(node->id));
            continue;
        }
        (void)kelp_describe(node->core, text, sizeof text);
        scenario_note(s, "%s", text);
    }
}

static void show_state(struct scenario *s)
{
    act_state(s, words_left(s) ? words_node(s) : NULL);
}

static void show_log(struct scenario *s)
{
    char text[SCENARIO_LINE_MAX];
    const struct node *node = words_node(s);
    entries_text(&node->log, text, sizeof text);
    scenario_note(s, "%llu log %s", u(node->id), text);
}

static void show_disk(struct scenario *s)
{
    char text[SCENARIO_LINE_MAX];
    const struct node *node = words_node(s);
    entries_text(&node->disk.log, text, sizeof text);
    scenario_note(s, "%llu disk term %llu vote %llu log %s commit %llu", u(node->id),
                  u(node->disk.term.v), u(node->disk.vote), text, u(node->disk.commit));
}

static void show_peers(struct scenario *s)
{
    static const char *const flows[] = {"probe", "stream", "needs snapshot"};
    const struct node *node = words_node_up(s);
    struct kelp_view view;
    kelp_view(node->core, &view);
    for (uint32_t slot = 0; slot < view.peer_count; slot++) {
        const struct kelp_peer_view *peer = &view.peers[slot];
        if (peer->id == node->id) continue;
        scenario_note(s, "%llu sees %llu: %s match %llu next %llu inflight %u", u(node->id),
                      u(peer->id), flows[peer->flow % COUNT_OF(flows)], u(peer->match),
                      u(peer->next), peer->inflight_messages);
    }
}

static void show_config(struct scenario *s)
{
    const struct node *node = words_node_up(s);
    struct kelp_config latest, committed;
    char now[SCENARIO_LINE_MAX], before[SCENARIO_LINE_MAX];
    bool only = words_take(s, "committed");
    kelp_core_config(node->core, only ? NULL : &latest, &committed);
    (void)kelp_describe_config(&committed, before, sizeof before);
    if (only) {
        scenario_note(s, "%llu config committed %s", u(node->id), before);
        return;
    }
    (void)kelp_describe_config(&latest, now, sizeof now);
    scenario_note(s, "%llu config %s  committed %s", u(node->id), now, before);
}

#define RECENT_MAX 64u

static void show_recent(struct scenario *s)
{
    struct kelp_event events[RECENT_MAX];
    char text[SCENARIO_LINE_MAX];
    const struct node *node = words_node_up(s);
    uint64_t most = words_left(s) ? words_number(s) : RECENT_MAX;
    size_t count = kelp_recent(node->core, events, (size_t)min_u64(most, RECENT_MAX));
    for (size_t i = 0; i < count; i++) {
        (void)kelp_describe_event(&events[i], text, sizeof text);
        scenario_note(s, "%llu recent %s", u(node->id), text);
    }
}

static void show_inputs(struct scenario *s)
{
    struct node *node = words_node(s);
    node->tells_inputs = words_take(s, "shown");
    if (!node->tells_inputs && !words_take(s, "hidden")) scenario_stop(s, "shown or hidden?");
}

bool act_command(struct scenario *s, const char *word)
{
    static const struct {
        const char *word;
        void (*run)(struct scenario *);
    } commands[] = {{"timeout", act_timeout},    {"campaign", act_campaign},
                    {"lead", act_lead},          {"tick", act_tick},
                    {"jump", act_jump},          {"run", act_run},
                    {"saves", act_saves},        {"applies", act_applies},
                    {"lookups", act_lookups},    {"saved", act_saved},
                    {"applied", act_applied},    {"found", act_found},
                    {"gone", act_gone},          {"failed", act_lookup_failed},
                    {"crash", act_crash},        {"start", act_start},
                    {"restart", act_restart},    {"wipe", act_wipe},
                    {"propose", act_propose},    {"read", act_read},
                    {"cancel", act_cancel},      {"link", act_link},
                    {"snapshot", act_snapshot},  {"health", act_health},
                    {"fault", act_fault},        {"shutdown", act_shutdown},
                    {"state", show_state},       {"log", show_log},
                    {"disk", show_disk},         {"peers", show_peers},
                    {"config", show_config},     {"recent", show_recent},
                    {"inputs", show_inputs},     {"takes", act_takes},
                    {"take", act_take},          {"try", try_command},
                    {"change", change_command},  {"transfer", act_transfer},
                    {"plan", plan_command},      {"hello", act_hello},
                    {"drain", act_drain},        {"undrain", act_undrain},
                    {"fetches", act_fetches},    {"fetch", act_fetch},
                    {"sending", act_sending},    {"removed", act_removed},
                    {"installed", act_installed}};
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strcmp(word, commands[i].word) != 0) continue;
        commands[i].run(s);
        return true;
    }
    return false;
}
