/* SPDX-License-Identifier: Apache-2.0 */
/* message.c - a Raft message: the body of a WIRE_MESSAGE frame.
 *
 *   offset  size  field
 *        0     2  length    of the fixed part, a multiple of 8, at most 256
 *        2     1  type      enum kelp_message_type
 *        3     1  flags     enum kelp_message_flag, those of the type only
 *        4     4  reserved  0
 *        8     8  from      not 0, not to
 *       16     8  to        not 0
 *       24     8  term      the sender's saved term; not 0 in what a leader says
 *       32     8  id        not 0
 *       40     8  attempt
 *       48     8  round
 *   vote, vote answer:                          append:
 *       56     8  term  of the election, 1..        56     8  prev index
 *       64     8  last index                        64     8  prev term, at most term
 *       72     8  last term                         72     8  last      not below prev index
 *   heartbeat:                                      80     8  commit
 *       56     8  commit                            88     8  everyone
 *       64     8  everyone                          96        last - prev index entries (entry.c)
 *   answer:
 *       56     8  match
 *       64     8  hint index                        96     8  durable
 *       72     8  hint term, 0: it matches there   104     8  applied
 *       80     8  refused index                    112     4  room      MiB
 *       88     8  refused term                     116     4  health
 *
 *   timeout now:                                snapshot:
 *       56     8  required   the end of        56     8  index
 *                            the leader's log   64     8  term, at most term
 *
 * Indexes and terms are at most 2^62. The group is in the frame's head. Fields behind these, up to
 * length, are a newer sender's and are skipped. Since length, like the frame's head, is a multiple
 * of 8, entries keep their alignment. The frame's hash covers exactly length bytes, and each entry
 * its own. What must hold of a message is checked in one place, asserted before the bytes are
 * written and demanded after they are read. */
#include "wire/message.h"

#include "wire/entry.h"
#include "wire/wire.h"

#define ENTRY_BYTES_MIN 40u /* so a count of entries is measured before it is believed */

static unsigned flags_allowed(unsigned type)
{
    switch ((enum kelp_message_type)type) {
    case KELP_MSG_VOTE: return KELP_MF_PRE_VOTE | KELP_MF_TRANSFER;
    case KELP_MSG_VOTE_ANSWER: return KELP_MF_PRE_VOTE | KELP_MF_GRANTED | KELP_MF_REMOVED;
    case KELP_MSG_ANSWER: return KELP_MF_REJECT;
    case KELP_MSG_TIMEOUT_NOW: return KELP_MF_FINAL;
    case KELP_MSG_APPEND:
    case KELP_MSG_HEARTBEAT:
    case KELP_MSG_SNAPSHOT: return 0;
    }
    return 0;
}

static bool type_known(unsigned type)
{
    return type >= KELP_MSG_VOTE && type <= KELP_MSG_SNAPSHOT;
}

static bool number_sound(uint64_t v)
{
    return v <= WIRE_NUMBER_MAX;
}

static const char *vote_wrong(const struct kelp_message *m)
{
    kelp_term term = m->vote.term;
    if (term.v == 0 || !number_sound(term.v)) return "an election's term is out of range";
    if (!wire_pos_sound(m->vote.last)) return "the end of a candidate's log is out of range";
    if (m->type == KELP_MSG_VOTE && (term.v < m->term.v || m->vote.last.term.v > term.v))
        return "a candidate's election is behind its own term or log";
    return NULL;
}

static const char *append_wrong(const struct kelp_message *m)
{
    struct kelp_pos prev = m->append.prev;
    if (m->term.v == 0) return "a leader's term is 0";
    if (!number_sound(m->append.commit) || !number_sound(m->append.everyone))
        return "a leader's commit index is out of range";
    if (m->type == KELP_MSG_HEARTBEAT) return NULL;
    if (!wire_pos_sound(prev) || !number_sound(m->append.last))
        return "the positions of an append are out of range";
    if (m->append.last < prev.index) return "an append ends before it begins";
    if (prev.term.v > m->term.v) return "an append follows an entry of a later term";
    return NULL;
}

static const char *answer_wrong(const struct kelp_message *m)
{
    struct kelp_pos hint = m->answer.hint;
    if (!wire_pos_sound(m->answer.refused)) return "the refused position is out of range";
    if (!number_sound(hint.index) || !number_sound(hint.term.v) ||
        (hint.index == 0 && hint.term.v != 0))
        return "the hint of an answer is out of range";
    if (!number_sound(m->answer.match) || !number_sound(m->answer.durable) ||
        !number_sound(m->answer.applied))
        return "an index of an answer is out of range";
    return NULL;
}

static const char *timeout_now_wrong(const struct kelp_message *m)
{
    if (m->term.v == 0) return "a leader's term is 0";
    if (!number_sound(m->timeout_now.required)) return "the required index is out of range";
    return NULL;
}

static const char *snapshot_wrong(const struct kelp_message *m)
{
    struct kelp_pos pos = m->snapshot.pos;
    if (m->term.v == 0) return "a leader's term is 0";
    if (!wire_pos_sound(pos) || pos.index == 0 || pos.term.v > m->term.v)
        return "the end of a snapshot is out of range";
    return NULL;
}

/* NULL, or the rule that is broken. */
static const char *message_wrong(const struct kelp_message *m)
{
    if ((m->flags & ~flags_allowed(m->type)) != 0) return "a flag does not belong to this message";
    if (m->from == 0 || m->to == 0 || m->from == m->to)
        return "a message needs a sender and another receiver";
    if (m->id == 0) return "a message's id is 0";
    if (!number_sound(m->term.v)) return "a message's term is out of range";
    switch ((enum kelp_message_type)m->type) {
    case KELP_MSG_VOTE:
    case KELP_MSG_VOTE_ANSWER: return vote_wrong(m);
    case KELP_MSG_APPEND:
    case KELP_MSG_HEARTBEAT: return append_wrong(m);
    case KELP_MSG_ANSWER: return answer_wrong(m);
    case KELP_MSG_TIMEOUT_NOW: return timeout_now_wrong(m);
    case KELP_MSG_SNAPSHOT: return snapshot_wrong(m);
    }
    return "a message's type is not known";
}

size_t wire_message_encode(const struct kelp_message *m, uint8_t *out)
{
    ASSERT(message_wrong(m) == NULL);
    struct writer w = part_begin(out, WIRE_MESSAGE_MAX);
    write_u8(&w, m->type);
    write_u8(&w, m->flags);
    write_u32(&w, 0);
    write_u64(&w, m->from);
    write_u64(&w, m->to);
    write_u64(&w, m->term.v);
    write_u64(&w, m->id);
    write_u64(&w, m->attempt);
    write_u64(&w, m->round);
    switch ((enum kelp_message_type)m->type) {
    case KELP_MSG_VOTE:
    case KELP_MSG_VOTE_ANSWER:
        write_u64(&w, m->vote.term.v);
        write_pos(&w, m->vote.last);
        break;
    case KELP_MSG_APPEND:
        write_pos(&w, m->append.prev);
        write_u64(&w, m->append.last);
        write_u64(&w, m->append.commit);
        write_u64(&w, m->append.everyone);
        break;
    case KELP_MSG_HEARTBEAT:
        write_u64(&w, m->append.commit);
        write_u64(&w, m->append.everyone);
        break;
    case KELP_MSG_ANSWER:
        write_u64(&w, m->answer.match);
        write_pos(&w, m->answer.hint);
        write_pos(&w, m->answer.refused);
        write_u64(&w, m->answer.durable);
        write_u64(&w, m->answer.applied);
        write_u32(&w, m->answer.room);
        write_u32(&w, m->answer.health);
        break;
    case KELP_MSG_TIMEOUT_NOW: write_u64(&w, m->timeout_now.required); break;
    case KELP_MSG_SNAPSHOT: write_pos(&w, m->snapshot.pos); break;
    }
    return part_end(&w);
}

static void fields_read(struct reader *r, struct kelp_message *m)
{
    switch ((enum kelp_message_type)m->type) {
    case KELP_MSG_VOTE:
    case KELP_MSG_VOTE_ANSWER:
        m->vote.term = kelp_term_of(read_u64(r));
        m->vote.last = read_pos(r);
        break;
    case KELP_MSG_APPEND:
        m->append.prev = read_pos(r);
        m->append.last = read_u64(r);
        m->append.commit = read_u64(r);
        m->append.everyone = read_u64(r);
        break;
    case KELP_MSG_HEARTBEAT:
        m->append.commit = read_u64(r);
        m->append.everyone = read_u64(r);
        break;
    case KELP_MSG_ANSWER:
        m->answer.match = read_u64(r);
        m->answer.hint = read_pos(r);
        m->answer.refused = read_pos(r);
        m->answer.durable = read_u64(r);
        m->answer.applied = read_u64(r);
        m->answer.room = read_u32(r);
        m->answer.health = read_u32(r);
        break;
    case KELP_MSG_TIMEOUT_NOW: m->timeout_now.required = read_u64(r); break;
    case KELP_MSG_SNAPSHOT: m->snapshot.pos = read_pos(r); break;
    }
}

/* The fixed part, if the frame's hash covered all of it; *rest: what follows it. */
static enum kelp_error fixed_read(struct kelp_bytes in, size_t hashed, struct kelp_message *m,
                                  struct kelp_bytes *rest, struct kelp_fault *fault)
{
    memset(m, 0, sizeof *m);
    struct reader r = part_open(in, rest);
    size_t length = in.len - rest->len;
    m->type = read_u8(&r);
    m->flags = read_u8(&r);
    uint32_t reserved = read_u32(&r);
    if (r.failed) return wire_malformed(fault, "a message is shorter than its head");
    if (length % 8 != 0 || length > WIRE_MESSAGE_MAX)
        return wire_malformed(fault, "the length of a message is out of range");
    if (hashed != length)
        return wire_malformed(fault, "a frame's hash covers more or less than its message");
    if (!type_known(m->type)) {
        return fault_set(fault, KELP_E_VERSION, NULL, "a message of type %u is not known", m->type);
    }
    if (reserved != 0) return wire_malformed(fault, "a reserved field of a message is not 0");
    m->from = read_u64(&r);
    m->to = read_u64(&r);
    m->term = kelp_term_of(read_u64(&r));
    m->id = read_u64(&r);
    m->attempt = read_u64(&r);
    m->round = read_u64(&r);
    fields_read(&r, m);
    if (r.failed) return wire_malformed(fault, "a message is shorter than its fields");
    const char *wrong = message_wrong(m);
    return wrong == NULL ? KELP_OK : wire_malformed(fault, wrong);
}

/* One entry of an append; before: the position in front of it. */
static enum kelp_error entry_read(struct kelp_bytes in, struct kelp_pos before, kelp_term highest,
                                  struct wire_entry *entry, size_t *used, struct kelp_fault *fault)
{
    enum kelp_error error = wire_entry_decode(in, entry, used, fault);
    if (error == KELP_E_MORE) return wire_malformed(fault, "the last entry of an append is cut");
    if (error != KELP_OK) return error;
    if (entry->pos.index != before.index + 1)
        return wire_malformed(fault, "the entries of an append do not follow each other");
    if (entry->pos.term.v < before.term.v)
        return wire_malformed(fault, "the terms of an append's entries fall");
    if (entry->pos.term.v > highest.v)
        return wire_malformed(fault, "an entry is of a later term than its append");
    return KELP_OK;
}

static enum kelp_error entries_read(struct kelp_bytes in, struct kelp_message *m,
                                    struct kelp_entry_info *infos, size_t info_max,
                                    struct wire_config configs[2], struct kelp_fault *fault)
{
    uint64_t count = m->append.last - m->append.prev.index;
    if (count > in.len / ENTRY_BYTES_MIN)
        return wire_malformed(fault, "an append names more entries than it carries");
    if (count > info_max) {
        return fault_set(fault, KELP_E_LIMIT, NULL, "an append of %llu entries; %zu are accepted",
                         (unsigned long long)count, info_max);
    }
    struct kelp_pos before = m->append.prev;
    size_t at = 0, config_count = 0;
    struct wire_entry entry; /* outside: it is cleared where it is declared */
    for (size_t i = 0; i < count; i++) {
        size_t used;
        struct kelp_bytes left = bytes_of(in.data + at, in.len - at);
        enum kelp_error error = entry_read(left, before, m->term, &entry, &used, fault);
        if (error != KELP_OK) return error;
        if (entry.type == KELP_ENTRY_CONFIG) {
            if (config_count++ > 0) configs[1] = configs[0];
            error = wire_config_decode(entry.payload, entry.pos.index, &configs[0], fault);
            if (error != KELP_OK) return error;
        }
        infos[i] = (struct kelp_entry_info){
            .term = entry.pos.term, .bytes = (uint32_t)used, .type = entry.type};
        before = entry.pos;
        at += used;
    }
    if (at != in.len) return wire_malformed(fault, "bytes follow the entries of an append");
    m->append.bytes = in.len;
    m->append.entries = count > 0 ? infos : NULL;
    m->append.config = config_count > 0 ? &configs[0].config : NULL;
    m->append.config_before = config_count > 1 ? &configs[1].config : NULL;
    return KELP_OK;
}

enum kelp_error wire_message_decode(struct kelp_bytes in, size_t hashed, struct kelp_message *m,
                                    struct kelp_entry_info *infos, size_t info_max,
                                    struct kelp_bytes *entries, struct wire_config configs[2],
                                    struct kelp_fault *fault)
{
    *entries = bytes_of(NULL, 0);
    struct kelp_bytes rest;
    enum kelp_error error = fixed_read(in, hashed, m, &rest, fault);
    if (error != KELP_OK) return error;
    if (m->type != KELP_MSG_APPEND)
        return rest.len == 0 ? KELP_OK : wire_malformed(fault, "bytes follow a message");
    error = entries_read(rest, m, infos, info_max, configs, fault);
    if (error == KELP_OK && rest.len > 0) *entries = rest;
    return error;
}
