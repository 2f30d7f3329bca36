/* SPDX-License-Identifier: Apache-2.0 */
/* fixture.c - one core on a table: see fixture.h. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 1024u

/* ---- text ---- */

static struct kelp_pos pos_of_text(const char **at)
{
    char *end;
    struct kelp_pos pos = {0};
    pos.index = strtoull(*at, &end, 10);
    assert_int_equal(*end, '@');
    pos.term.v = strtoull(end + 1, &end, 10);
    while (*end == ' ')
        end++;
    *at = end;
    return pos;
}

static struct kelp_pos pos_text(const char *text)
{
    if (text == NULL || *text == '\0') return (struct kelp_pos){0};
    return pos_of_text(&text);
}

struct log_text log_text(const char *base, const char *positions)
{
    struct log_text log = {.base = pos_text(base)};
    log.last = log.base.index;
    log.terms[0] = log.base.term;
    for (const char *at = positions; at != NULL && *at != '\0';) {
        struct kelp_pos pos = pos_of_text(&at);
        assert_int_equal(pos.index, log.last + 1);
        log.last = pos.index;
        assert_true(log.last - log.base.index <= LOG_MAX);
        log.terms[log.last - log.base.index] = pos.term;
        if (log.run_count > 0 && log.runs[log.run_count - 1].term.v == pos.term.v)
            log.runs[log.run_count - 1].last = pos.index;
        else
            log.runs[log.run_count++] = (struct kelp_run){.last = pos.index, .term = pos.term};
    }
    return log;
}

struct kelp_config voters(uint32_t count)
{
    struct kelp_options usual = kelp_options_default(1, 0);
    struct kelp_config config = {.count = (uint8_t)count,
                                 .id_highest = count,
                                 .drift_ppm = usual.drift_ppm,
                                 .election_min = usual.election_min};
    for (uint32_t slot = 0; slot < count; slot++)
        config.members[slot] = (struct kelp_member){.id = slot + 1, .role = KELP_VOTER};
    return config;
}

/* ---- making ---- */

static uint64_t or_else(uint64_t value, uint64_t dull)
{
    return value != 0 ? value : dull;
}

static struct kelp_options options_of(const struct spec *s)
{
    struct kelp_options o = kelp_options_default(or_else(s->self, 1), or_else(s->seed, 7));
    o.limits = kelp_limits_small();
    struct kelp_limits *l = &o.limits;
    o.off = s->off;
    o.apply_durable_only = s->apply_durable_only;
    o.stall_limit = s->stall_limit;
    o.lease = s->lease;
    o.election_min = or_else(s->election_min, o.election_min);
    o.trailing_entries = s->trailing_none ? 0 : or_else(s->trailing, o.trailing_entries);
    o.hold_bytes = s->hold_none ? 0 : or_else(s->hold, o.hold_bytes);
    l->members_max = 9;
    l->events_max = EVENTS_MAX; /* so that a test sees them all */
    l->window_messages_max = (uint32_t)or_else(s->window, l->window_messages_max);
    l->tail_entries_max = (uint32_t)or_else(s->tail, l->tail_entries_max);
    l->runs_max = (uint32_t)or_else(s->runs, l->runs_max);
    l->proposals_max = (uint32_t)or_else(s->proposals, l->proposals_max);
    l->reads_max = (uint32_t)or_else(s->reads, l->reads_max);
    l->answers_max = (uint32_t)or_else(s->answers, l->answers_max);
    l->message_entries_max = (uint32_t)or_else(s->message_entries, l->message_entries_max);
    l->message_bytes_max = or_else(s->message_bytes, l->message_bytes_max);
    l->window_bytes_max = or_else(s->window_bytes, l->window_bytes_max);
    l->uncommitted_bytes_max = or_else(s->uncommitted_bytes, l->uncommitted_bytes_max);
    l->unapplied_bytes_max = or_else(s->unapplied_bytes, l->unapplied_bytes_max);
    l->entry_bytes_max = or_else(s->entry_bytes, l->entry_bytes_max);
    return o;
}

static void look(struct fixture *f)
{
    struct kelp_fault fault = {0};
    if (kelp_check(f->core, &fault) != KELP_OK) {
        char line[256];
        (void)kelp_describe(f->core, line, sizeof line);
        fail_msg("%s: %s", fault.what, line);
    }
    kelp_view(f->core, &f->view);
    f->faulted = f->view.faulted;
}

static struct kelp_pos snapshot_of(const struct log_text *log, kelp_index index)
{
    if (index == 0) return kelp_pos_of(0, 0);
    assert_true(index >= log->base.index && index <= log->last);
    return (struct kelp_pos){.term = log->terms[index - log->base.index], .index = index};
}

struct fixture *fixture_node(const struct spec *s)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->options = options_of(s);
    f->now = 1000u * MS;
    size_t bytes = (kelp_core_memory(&f->options.limits) + 15u) & ~(size_t)15u;
    f->memory = aligned_alloc(16, bytes);
    assert_non_null(f->memory);
    struct kelp_config config = voters((uint32_t)or_else(s->voters, 3) + s->learners);
    for (uint32_t slot = config.count - s->learners; slot < config.count; slot++)
        config.members[slot].role = KELP_LEARNER;
    struct log_text log = log_text(s->base, s->log);
    struct kelp_boot boot = {
        .term = log.terms[log.last - log.base.index],
        .vote = s->vote,
        .base = log.base,
        .last = log.last,
        .commit = or_else(s->commit, log.base.index),
        .applied = or_else(s->applied, log.base.index),
        .snapshot = snapshot_of(&log, s->snapshot),
        .everyone = s->everyone,
        .runs = log.runs,
        .run_count = log.run_count,
        .runs_from = log.base.index + 1,
        .config = s->config != NULL ? s->config : &config,
        .config_before = s->config_before,
        .ran_before = s->ran_before,
    };
    if (boot.term.v < or_else(s->term, 1)) boot.term.v = or_else(s->term, 1);
    struct kelp_fault fault = {0};
    f->core = kelp_core_init(f->memory, &f->options, &boot, f->now, &fault);
    if (f->core == NULL) fail_msg("%s", fault.what);
    f->base = log.base.index;
    memcpy(f->terms, log.terms, sizeof f->terms);
    look(f);
    return f;
}

struct fixture *fixture_leader(const struct spec *s)
{
    struct fixture *f = fixture_node(s);
    campaign(f);
    for (int round = 0; round < 2 && f->view.role != KELP_LEADER; round++) {
        save_all(f); /* a candidate asks once its term is saved */
        for (uint32_t slot = 0; slot < f->view.peer_count; slot++) {
            kelp_id id = f->view.peers[slot].id;
            if (id != f->options.self && f->view.role != KELP_LEADER) receive(f, granted_of(f, id));
        }
    }
    save_all(f);
    assert_int_equal(f->view.role, KELP_LEADER);
    fixture_forget(f);
    return f;
}

void fixture_close(struct fixture *f)
{
    free(f->memory);
    free(f);
}

/* ---- feeding ---- */

void step(struct fixture *f, const struct kelp_input *input)
{
    f->taken = kelp_step(f->core, f->now, input);
    for (kelp_index index = f->taken.first; index != 0 && index <= f->taken.last; index++) {
        assert_true(index - f->base <= LOG_MAX);
        f->terms[index - f->base] =
            input->type == KELP_IN_PROPOSE
                ? f->taken.term
                : input->message->append.entries[index - input->message->append.prev.index - 1]
                      .term;
    }
    look(f);
}

void receive(struct fixture *f, struct kelp_message message)
{
    step(f, &(struct kelp_input){.type = KELP_IN_MESSAGE, .message = &message});
}

void pass(struct fixture *f, kelp_ns span)
{
    f->now += span;
    step(f, &(struct kelp_input){.type = KELP_IN_TICK});
}

void saved_up_to(struct fixture *f, uint64_t number)
{
    f->saved = number;
    step(f, &(struct kelp_input){.type = KELP_IN_SAVED, .number = number});
}

void applied(struct fixture *f, kelp_index index)
{
    step(f, &(struct kelp_input){.type = KELP_IN_APPLIED, .index = index});
}

void campaign(struct fixture *f)
{
    step(f, &(struct kelp_input){.type = KELP_IN_CAMPAIGN});
}

void link_new(struct fixture *f, kelp_id peer)
{
    step(f, &(struct kelp_input){.type = KELP_IN_LINK, .peer = peer});
}

void looked_up(struct fixture *f, enum kelp_input_type type, const struct kelp_lookup *lookup,
               struct kelp_pos pos, struct kelp_pos last)
{
    struct kelp_input input = {.type = type};
    input.found.revision = lookup->revision;
    input.found.pos = pos;
    input.found.last = last;
    input.found.bytes = 100 * (last.index - pos.index);
    step(f, &input);
}

static struct kelp_pos held_at(const struct fixture *f, kelp_index index)
{
    return (struct kelp_pos){.term = f->terms[index - f->base], .index = index};
}

void look_up(struct fixture *f)
{
    while (f->looked_up < f->lookup_count) {
        struct kelp_lookup lookup = f->lookups[f->looked_up++];
        if (lookup.revision != f->view.revision) continue; /* the core asks anew */
        assert_true(lookup.index >= f->base && lookup.index <= f->view.last);
        kelp_index last = lookup.index + lookup.entries_max;
        if (last > f->view.last) last = f->view.last;
        looked_up(f, KELP_IN_FOUND, &lookup, held_at(f, lookup.index), held_at(f, last));
    }
}

bool client_writes(struct fixture *f, uint64_t token, uint32_t bytes, kelp_ns deadline)
{
    struct kelp_input input = {.type = KELP_IN_PROPOSE};
    input.propose.token = token;
    input.propose.bytes = bytes;
    input.propose.deadline = deadline;
    step(f, &input);
    return f->taken.first != 0;
}

void client_reads(struct fixture *f, uint64_t token, kelp_ns deadline)
{
    struct kelp_input input = {.type = KELP_IN_READ};
    input.read.token = token;
    input.read.deadline = deadline;
    step(f, &input);
}

static void keep(struct fixture *f, const struct kelp_work *w)
{
    assert_true(f->message_count + w->message_count <= FIXTURE_KEPT);
    assert_true(f->answer_count + w->answer_count <= FIXTURE_KEPT);
    assert_true(f->lookup_count + w->lookup_count <= FIXTURE_KEPT);
    assert_true(f->save_count < FIXTURE_KEPT);
    for (uint32_t i = 0; i < w->message_count; i++)
        f->messages[f->message_count++] = w->messages[i];
    for (uint32_t i = 0; i < w->answer_count; i++)
        f->answers[f->answer_count++] = w->answers[i];
    for (uint32_t i = 0; i < w->lookup_count; i++)
        f->lookups[f->lookup_count++] = w->lookups[i];
    if (w->made_count > 0) {
        f->made = w->made[0].pos;
        f->terms[f->made.index - f->base] = f->made.term;
    }
    if (w->save.number != 0) {
        if (f->save_count > 0)
            assert_int_equal(w->save.number, f->saves[f->save_count - 1].number + 1);
        f->saves[f->save_count++] = w->save;
    }
    if (w->fetch.index != 0) {
        f->fetch = w->fetch;
        f->fetch_from = w->fetch_from;
        f->fetch_count++;
    }
    if (w->apply_last == 0) return;
    if (f->apply_last != 0) assert_int_equal(w->apply_first, f->apply_last + 1); /* each once */
    f->apply_last = w->apply_last;
}

void take(struct fixture *f)
{
    struct kelp_work work;
    bool more = true;
    for (int round = 0; kelp_take(f->core, f->now, &work); round++) {
        if (round > 100) fail_msg("kelp_take never ends");
        assert_true(more); /* what the take before this one said */
        more = work.more;
        keep(f, &work);
        look(f);
    }
    f->deadline = work.deadline;
    look(f);
}

void save_all(struct fixture *f)
{
    for (int round = 0;; round++) {
        if (round > 20) fail_msg("there is always something to save");
        take(f);
        if (f->save_count == 0 || f->saves[f->save_count - 1].number == f->saved) return;
        saved_up_to(f, f->saves[f->save_count - 1].number);
    }
}

void fixture_forget(struct fixture *f)
{
    f->message_count = f->answer_count = f->lookup_count = f->looked_up = 0;
    f->fetch = kelp_pos_of(0, 0);
    f->fetch_from = 0;
    f->fetch_count = 0;
    if (f->save_count > 1) f->saves[0] = f->saves[f->save_count - 1];
    if (f->save_count > 1) f->save_count = 1; /* the last stays: numbers are checked */
    struct kelp_event recent[EVENTS_MAX];
    f->events_before = kelp_recent(f->core, recent, EVENTS_MAX);
}

/* ---- messages from others ---- */

static struct kelp_message from_other(struct fixture *f, enum kelp_message_type type, kelp_id from,
                                      uint64_t term)
{
    return (struct kelp_message){.type = (uint8_t)type,
                                 .from = from,
                                 .to = f->options.self,
                                 .term = {term},
                                 .id = 1000 + ++f->vote_id};
}

void fixture_append(struct fixture *f, const struct append_text *text)
{
    struct kelp_message m =
        from_other(f, KELP_MSG_APPEND, or_else(text->from, 2), or_else(text->term, f->view.term.v));
    struct kelp_pos prev = pos_text(text->prev);
    struct kelp_entry_info entries[LOG_MAX];
    size_t count = 0;
    kelp_index expected = prev.index;
    for (const char *at = text->entries; at != NULL && *at != '\0';) {
        struct kelp_pos pos = pos_of_text(&at);
        assert_int_equal(pos.index, ++expected);
        assert_true(count < LOG_MAX);
        entries[count++] =
            (struct kelp_entry_info){.term = pos.term, .bytes = 100, .type = KELP_ENTRY_COMMAND};
    }
    m.attempt = or_else(text->attempt, 1);
    m.round = text->round;
    m.append.prev = prev;
    m.append.last = prev.index + count;
    m.append.commit = text->commit;
    m.append.everyone = text->everyone;
    m.append.entries = entries;
    m.append.config = text->config;
    m.append.config_before = text->config_before;
    step(f, &(struct kelp_input){.type = KELP_IN_MESSAGE, .message = &m});
}

void deliver(struct fixture *from, struct fixture *to, const struct kelp_message *message)
{
    struct kelp_entry_info entries[LOG_MAX];
    struct kelp_message m = *message;
    if (m.type == KELP_MSG_APPEND) {
        for (kelp_index index = m.append.prev.index + 1; index <= m.append.last; index++)
            entries[index - m.append.prev.index - 1] = (struct kelp_entry_info){
                .term = from->terms[index - from->base], .bytes = 100, .type = KELP_ENTRY_COMMAND};
        m.append.entries = entries;
    }
    receive(to, m);
}

struct kelp_message heartbeat_of(struct fixture *f, kelp_id from, uint64_t term)
{
    return from_other(f, KELP_MSG_HEARTBEAT, from, term);
}

struct kelp_message vote_of(struct fixture *f, kelp_id from, uint64_t term, const char *last)
{
    struct kelp_message m = from_other(f, KELP_MSG_VOTE, from, term);
    m.vote.term.v = term;
    m.vote.last = pos_text(last);
    return m;
}

struct kelp_message pre_vote_of(struct fixture *f, kelp_id from, uint64_t term, const char *last)
{
    struct kelp_message m = vote_of(f, from, term, last);
    m.flags = KELP_MF_PRE_VOTE;
    m.vote.term.v = term + 1;
    return m;
}

struct kelp_message refused_of(struct fixture *f, kelp_id from)
{
    bool pre = f->view.role == KELP_PRE_CANDIDATE;
    struct kelp_message m = from_other(f, KELP_MSG_VOTE_ANSWER, from, f->view.term.v);
    if (pre) m.flags = KELP_MF_PRE_VOTE;
    m.vote.term.v = f->view.term.v + (pre ? 1 : 0);
    return m;
}

struct kelp_message granted_of(struct fixture *f, kelp_id from)
{
    struct kelp_message m = refused_of(f, from);
    m.flags = (uint8_t)(m.flags | KELP_MF_GRANTED);
    return m;
}

struct kelp_message answer_of(struct fixture *f, kelp_id from, kelp_index match)
{
    struct kelp_message m = from_other(f, KELP_MSG_ANSWER, from, f->view.term.v);
    m.answer.match = match;
    m.answer.durable = match;
    return m;
}

void ack(struct fixture *f, kelp_id peer, kelp_index match)
{
    const struct kelp_message *append = sent(f, KELP_MSG_APPEND, peer);
    struct kelp_message m = answer_of(f, peer, match);
    if (append != NULL) {
        m.id = append->id;
        m.attempt = append->attempt;
        m.round = append->round;
    }
    receive(f, m);
}

/* ---- looking ---- */

const struct kelp_message *sent(const struct fixture *f, enum kelp_message_type type, kelp_id to)
{
    for (size_t i = f->message_count; i > 0; i--) {
        const struct kelp_message *m = &f->messages[i - 1];
        if (m->type == (uint8_t)type && m->to == to) return m;
    }
    return NULL;
}

size_t sent_count(const struct fixture *f, enum kelp_message_type type, kelp_id to)
{
    size_t count = 0;
    for (size_t i = 0; i < f->message_count; i++) {
        const struct kelp_message *m = &f->messages[i];
        if (m->type == (uint8_t)type && (to == 0 || m->to == to)) count++;
    }
    return count;
}

size_t answers_to(const struct fixture *f, uint64_t token)
{
    size_t count = 0;
    for (size_t i = 0; i < f->answer_count; i++)
        count += f->answers[i].token == token;
    return count;
}

struct kelp_answer answer_to(const struct fixture *f, uint64_t token)
{
    assert_int_equal(answers_to(f, token), 1);
    size_t i = 0;
    while (f->answers[i].token != token)
        i++;
    return f->answers[i];
}

const struct kelp_peer_view *peer_view(const struct fixture *f, kelp_id id)
{
    for (uint32_t slot = 0; slot < f->view.peer_count; slot++) {
        if (f->view.peers[slot].id == id) return &f->view.peers[slot];
    }
    fail_msg("no peer %llu", (unsigned long long)id);
    return NULL;
}

uint32_t hits(const struct fixture *f, enum kelp_event_type type)
{
    struct kelp_event recent[EVENTS_MAX];
    size_t held = kelp_recent(f->core, recent, EVENTS_MAX);
    uint32_t count = 0;
    assert_true(held < EVENTS_MAX); /* none was forgotten */
    for (size_t i = f->events_before; i < held; i++)
        count += recent[i].type == type;
    return count;
}

void assert_log(const struct fixture *f, const char *positions)
{
    char text[LOG_MAX * 16] = "";
    size_t len = 0;
    for (kelp_index index = f->view.first; index <= f->view.last; index++) {
        kelp_term term = kelp_log_term(f->core, index);
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%llu@%llu", len > 0 ? " " : "",
                                (unsigned long long)index, (unsigned long long)term.v);
        assert_true(len < sizeof text);
    }
    assert_string_equal(text, positions);
}

void assert_pos(struct kelp_pos pos, const char *text)
{
    char ours[64];
    (void)snprintf(ours, sizeof ours, "%llu@%llu", (unsigned long long)pos.index,
                   (unsigned long long)pos.term.v);
    assert_string_equal(ours, text);
}
