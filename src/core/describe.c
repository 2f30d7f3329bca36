/* SPDX-License-Identifier: Apache-2.0 */
/* describe.c - every struct as one line of text: the form used by logs, scenarios, dumps and failed
 * assertions.
 *
 * A position is 3@4. Nothing here allocates or fails: a line that does not fit is cut, and the
 * length it needed is returned, as snprintf does. */
#include <stdarg.h>
#include <stdio.h>

#include "core/core.h"

struct line {
    char *out;
    size_t size, len;
};

static void say(struct line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct line *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t left = l->len < l->size ? l->size - l->len : 0;
    int wrote = vsnprintf(left > 0 ? l->out + l->len : NULL, left, format, args);
    va_end(args);
    if (wrote > 0) l->len += (size_t)wrote;
}

static struct line line_of(char *out, size_t size)
{
    if (size > 0) out[0] = '\0';
    return (struct line){.out = out, .size = size};
}

static unsigned long long u(uint64_t v)
{
    return (unsigned long long)v;
}

static void say_pos(struct line *l, struct kelp_pos pos)
{
    say(l, "%llu@%llu", u(pos.index), u(pos.term.v));
}

size_t kelp_describe(const struct kelp_core *r, char *out, size_t size)
{
    static const char *const names[] = {"FOLLOWER", "PRE_CANDIDATE", "CANDIDATE", "LEADER"};
    struct line l = line_of(out, size);
    say(&l, "%llu %s t%llu", u(r->options.self), names[r->role], u(r->term.v));
    if (r->saved_term.v != r->term.v) say(&l, " (saved t%llu)", u(r->saved_term.v));
    if (r->vote != 0) say(&l, " vote %llu", u(r->vote));
    if (r->leader != 0 && r->role != KELP_LEADER) say(&l, " leader %llu", u(r->leader));
    say(&l, " commit %llu applied %llu last ", u(r->commit), u(r->applied));
    say_pos(&l, log_tail(&r->log));
    if (r->durable != r->log.last) say(&l, " durable %llu", u(r->durable));
    if (r->log.base.index != 0) say(&l, " first %llu", u(r->log.base.index + 1));
    if (transfer_open(r)) say(&l, " hands over to %llu", u(r->transfer.target));
    if (r->stalled) say(&l, " stalled");
    if (member_removed(r)) say(&l, " removed");
    if (r->space != KELP_SPACE_OK) say(&l, " disk room %s", kelp_space_name(r->space));
    if (r->faulted) say(&l, " FAULTED: %s", r->fault.what);
    return l.len;
}

static void say_vote(struct line *l, const struct kelp_message *m)
{
    bool pre = (m->flags & KELP_MF_PRE_VOTE) != 0;
    if (m->type == KELP_MSG_VOTE) {
        say(l, "%s t%llu for t%llu last ", pre ? "pre-vote?" : "vote?", u(m->term.v),
            u(m->vote.term.v));
        say_pos(l, m->vote.last);
        if ((m->flags & KELP_MF_TRANSFER) != 0) say(l, " transfer");
        return;
    }
    say(l, "%s t%llu for t%llu %s", pre ? "pre-vote" : "vote", u(m->term.v), u(m->vote.term.v),
        (m->flags & KELP_MF_GRANTED) != 0 ? "granted" : "refused");
    if ((m->flags & KELP_MF_REMOVED) != 0) say(l, " removed");
}

static void say_append(struct line *l, const struct kelp_message *m)
{
    say(l, "append t%llu prev ", u(m->term.v));
    say_pos(l, m->append.prev);
    if (m->append.last > m->append.prev.index)
        say(l, " entries %llu..%llu", u(m->append.prev.index + 1), u(m->append.last));
    say(l, " commit %llu", u(m->append.commit));
}

size_t kelp_describe_message(const struct kelp_message *m, char *out, size_t size)
{
    struct line l = line_of(out, size);
    say(&l, "%llu -> %llu ", u(m->from), u(m->to));
    switch ((enum kelp_message_type)m->type) {
    case KELP_MSG_VOTE:
    case KELP_MSG_VOTE_ANSWER: say_vote(&l, m); return l.len;
    case KELP_MSG_APPEND: say_append(&l, m); break;
    case KELP_MSG_HEARTBEAT:
        say(&l, "heartbeat t%llu commit %llu", u(m->term.v), u(m->append.commit));
        break;
    case KELP_MSG_ANSWER:
        say(&l, "answer t%llu match %llu", u(m->term.v), u(m->answer.match));
        if ((m->flags & KELP_MF_REJECT) != 0) {
            say(&l, " refused ");
            say_pos(&l, m->answer.refused);
            say(&l, " hint ");
            say_pos(&l, m->answer.hint);
        }
        break;
    case KELP_MSG_TIMEOUT_NOW:
        say(&l, "timeout-now t%llu required %llu%s", u(m->term.v), u(m->timeout_now.required),
            (m->flags & KELP_MF_FINAL) != 0 ? " final" : "");
        break;
    case KELP_MSG_SNAPSHOT:
        say(&l, "snapshot t%llu at ", u(m->term.v));
        say_pos(&l, m->snapshot.pos);
        break;
    }
    if (m->round != 0) say(&l, " round %llu", u(m->round));
    return l.len;
}

static void say_found(struct line *l, const struct kelp_input *input, const char *word)
{
    say(l, "%s ", word);
    say_pos(l, input->found.pos);
    if (input->type == KELP_IN_FOUND) {
        say(l, " to ");
        say_pos(l, input->found.last);
        say(l, " %llu bytes", u(input->found.bytes));
    }
    say(l, " revision %llu", u(input->found.revision));
}

static void say_change(struct line *l, const struct kelp_input *input)
{
    static const char *const verbs[] = {"?",    "add", "promote", "demote",   "remove",
                                        "move", "set", "stop",    "priority", "?"};
    _Static_assert(COUNT_OF(verbs) == KELP_EDIT_PRIORITY + 2, "one for each, and for none");
    static const char *const roles[] = {"", " voter", " learner", " witness"};
    const struct kelp_change *what = input->change.what;
    say(l, "change token %llu", u(input->change.token));
    for (uint32_t i = 0; i < what->count; i++) {
        const struct kelp_edit *edit = &what->edits[i];
        say(l, " %s %llu%s", verbs[min_u64(edit->verb, COUNT_OF(verbs) - 1)], u(edit->id),
            roles[edit->role & 3u]);
        if (edit->verb == KELP_EDIT_PRIORITY) say(l, " %u", edit->priority);
    }
    if (what->if_index != 0) say(l, " if %llu", u(what->if_index));
    if ((what->flags & KELP_CHANGE_NOWAIT) != 0) say(l, " nowait");
    if ((what->flags & KELP_CHANGE_FORCE) != 0) say(l, " force");
    if ((what->flags & KELP_CHANGE_WHOLE) != 0) say(l, " whole");
}

size_t kelp_describe_input(const struct kelp_input *input, char *out, size_t size)
{
    static const char *const proofs[] = {"", " by lease", " by lease or round", ""};
    struct line l = line_of(out, size);
    switch (input->type) {
    case KELP_IN_TICK: say(&l, "tick"); break;
    case KELP_IN_MESSAGE: return kelp_describe_message(input->message, out, size);
    case KELP_IN_PROPOSE:
        say(&l, "propose token %llu %u bytes", u(input->propose.token), input->propose.bytes);
        if ((input->propose.flags & KELP_PROPOSE_FREES) != 0) say(&l, " frees");
        break;
    case KELP_IN_READ:
        say(&l, "read token %llu%s", u(input->read.token),
            proofs[(uint32_t)input->read.proof & 3u]);
        break;
    case KELP_IN_SHOWN:
        say(&l, "%llu shows election_min %llu drift %llu", u(input->shown.peer),
            u(input->shown.election_min), u(input->shown.drift_ppm));
        break;
    case KELP_IN_SAVED: say(&l, "saved %llu", u(input->number)); break;
    case KELP_IN_APPLIED: say(&l, "applied %llu", u(input->index)); break;
    case KELP_IN_FOUND: say_found(&l, input, "found"); break;
    case KELP_IN_GONE: say_found(&l, input, "gone"); break;
    case KELP_IN_FAILED: say_found(&l, input, "failed"); break;
    case KELP_IN_LINK: say(&l, "link %llu", u(input->peer)); break;
    case KELP_IN_SNAPSHOT:
        say(&l, "snapshot ");
        say_pos(&l, input->pos);
        break;
    case KELP_IN_INSTALLED:
        say(&l, "installed ");
        say_pos(&l, input->installed.pos);
        if (input->installed.term.v > input->installed.pos.term.v)
            say(&l, " committed in term %llu", u(input->installed.term.v));
        break;
    case KELP_IN_SENDING: say(&l, "%llu fetches", u(input->peer)); break;
    case KELP_IN_HEALTH:
        say(&l, "health %u room %u MiB", input->health.health, input->health.room);
        break;
    case KELP_IN_FAULT: say(&l, "fault"); break;
    case KELP_IN_CANCEL: say(&l, "cancel token %llu", u(input->token)); break;
    case KELP_IN_SHUTDOWN: say(&l, "shutdown"); break;
    case KELP_IN_CAMPAIGN: say(&l, "campaign"); break;
    case KELP_IN_CHANGE: say_change(&l, input); break;
    case KELP_IN_REMOVED: say(&l, "removed, says %llu", u(input->peer)); break;
    case KELP_IN_DRAIN:
        say(&l, "%s token %llu", input->drain.on ? "drain" : "undrain", u(input->drain.token));
        break;
    case KELP_IN_TRANSFER:
        say(&l, "transfer token %llu", u(input->transfer.token));
        if (input->transfer.target != 0) say(&l, " to %llu", u(input->transfer.target));
        break;
    }
    return l.len;
}

size_t kelp_describe_save(const struct kelp_save *save, char *out, size_t size)
{
    struct line l = line_of(out, size);
    say(&l, "save %llu:", u(save->number));
    if ((save->flags & KELP_SAVE_VOTE) != 0)
        say(&l, " term %llu vote %llu", u(save->term.v), u(save->vote));
    if ((save->flags & KELP_SAVE_RESET) != 0) {
        say(&l, " reset to ");
        say_pos(&l, save->end);
    }
    if ((save->flags & KELP_SAVE_TRUNCATE) != 0) {
        say(&l, " ends at ");
        say_pos(&l, save->end);
    }
    if ((save->flags & KELP_SAVE_APPEND) != 0)
        say(&l, " append %llu..%llu", u(save->first), u(save->last));
    if ((save->flags & KELP_SAVE_COMPACT) != 0) say(&l, " keep from %llu", u(save->keep));
    return l.len;
}

size_t kelp_describe_answer(const struct kelp_answer *answer, char *out, size_t size)
{
    struct line l = line_of(out, size);
    say(&l, "token %llu %s", u(answer->token), kelp_outcome_name(answer->outcome));
    if (answer->reason != KELP_R_NONE) say(&l, " %s", kelp_reason_name(answer->reason));
    if (answer->pos.index != 0) {
        say(&l, " ");
        say_pos(&l, answer->pos);
    }
    if (answer->leader != 0) say(&l, " leader %llu", u(answer->leader));
    if (answer->member != 0) say(&l, " member %llu", u(answer->member));
    return l.len;
}

size_t kelp_describe_config(const struct kelp_config *config, char *out, size_t size)
{
    static const char letters[] = "-vLWS???";
    struct line l = line_of(out, size);
    for (uint32_t slot = 0; slot < config->count; slot++) {
        const struct kelp_member *member = &config->members[slot];
        say(&l, "%s%llu%c", slot > 0 ? " " : "", u(member->id), letters[member->role & 7u]);
        if (member->preference != 0) say(&l, "p%u", kelp_priority_of(member));
        if (config->joint && member->role_old != KELP_NONE)
            say(&l, "/%c", letters[member->role_old & 7u]);
        if ((member->marks & KELP_MARK_IN) != 0) say(&l, "+");
        if ((member->marks & KELP_MARK_ABSENT) != 0) say(&l, "!");
    }
    say(&l, " @%llu", u(config->index));
    return l.len;
}

static void say_side(struct line *l, const struct kelp_plan_side *side)
{
    say(l, "%u live %u%s spare %u", (unsigned)side->voters, (unsigned)side->live,
        side->works ? "" : "!", (unsigned)side->spare);
}

size_t kelp_describe_plan(const struct kelp_plan *plan, char *out, size_t size)
{
    struct line l = line_of(out, size);
    say(&l, "%s @%llu voters ", kelp_plan_way_name((enum kelp_plan_way)plan->way), u(plan->index));
    say_side(&l, &plan->before);
    say(&l, " -> ");
    say_side(&l, &plan->after);
    say(&l, ", %llu leads, then %llu", u(plan->leader), u(plan->leader_next));
    for (uint32_t left = plan->warnings; left != 0; left &= left - 1) { /* the lowest first */
        uint32_t bit = left & (~left + 1);
        say(&l, " %s", kelp_plan_warning_name((enum kelp_plan_warning)bit));
    }
    if (plan->reason == KELP_R_NONE) return l.len;
    say(&l, ", %s %s", plan->refused ? "refused" : "forced", kelp_reason_name(plan->reason));
    if (plan->member != 0) say(&l, " %llu", u(plan->member));
    return l.len;
}

size_t kelp_describe_event(const struct kelp_event *event, char *out, size_t size)
{
    struct line l = line_of(out, size);
    say(&l, "%s", kelp_event_name((enum kelp_event_type)event->type));
    if (event->peer != 0) say(&l, " peer %llu", u(event->peer));
    if (event->pos.index != 0 || event->pos.term.v != 0) {
        say(&l, " ");
        say_pos(&l, event->pos);
    }
    if (event->value != 0) say(&l, " %llu", u(event->value));
    return l.len;
}
