/* SPDX-License-Identifier: Apache-2.0 */
/* renew.c - recovery by hand: a data directory goes on without the quorum that its cluster lost.
 *
 *   the log as it is, to its very end      entries that are not known to be committed may have been
 *     + one entry of a new term            acknowledged, so they stay; the entry is the new list of
 *                                          members and commits by the usual rule among them
 *   the identity in a new epoch            whoever was not part of this is refused at the handshake
 *
 * The same log and the same members make the same entry, byte for byte. So a second survivor whose
 * log ends at the same position holds the same log [§3.5, log matching], and takes part by making
 * that entry itself: with the token of the first, which says where the log ended, in which term the
 * entry stands and what its bytes are. Whose log ends elsewhere cannot prove that it agrees: its
 * directory is set aside, and the node added with an empty one. Nobody of the new epoch is without
 * the entry: those recovered have it, those added later get the log from them, so an old
 * configuration elects nobody in it. Each votes for itself in the entry's term, so nobody leads in
 * that and writes something else in its place.
 *
 *   store_renew: identity, unfinished --> term --> entry --> identity, finished
 *
 * Cut short behind the first step, a start is refused and the same command goes on. Of the members
 * only those of the directory's own configuration can be named: the directory of any other is not
 * known, so it could vote twice. It must itself be a voter, or nobody could be counted on to hold
 * the log. */
#include "store/renew.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/min.h"
#include "store/room.h"
#include "wire/entry.h"
#include "wire/epoch.h"
#include "wire/wire.h"

/* ---- the token ------------------------------------------------------------------------------- */

const char *renew_token_text(const struct renew_token *t, char out[RENEW_TOKEN_MAX])
{
    char epoch[EPOCH_TEXT_MAX], parent[EPOCH_TEXT_MAX];
    (void)snprintf(out, RENEW_TOKEN_MAX, "%s-%s-%" PRIu64 "@%" PRIu64 "-%" PRIu64 "-%016" PRIx64,
                   epoch_text(t->epoch, epoch), epoch_text(t->recovery.parent, parent),
                   t->recovery.kept.index, t->recovery.kept.term.v, t->recovery.term.v,
                   t->recovery.digest);
    return out;
}

/* Digits of a base up to the mark behind them, which is passed over. */
static bool number_parse(const char **at, unsigned base, char mark, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    const char *begin = *at;
    for (; **at != mark; (*at)++) {
        unsigned digit = base;
        if (**at >= '0' && **at <= '9') digit = (unsigned)(**at - '0');
        if (**at >= 'a' && **at <= 'f') digit = (unsigned)(**at - 'a') + 10;
        if (digit >= base || value > (max - digit) / base) return false;
        value = value * base + digit;
    }
    if (*at == begin) return false;
    if (mark != '\0') (*at)++;
    *out = value;
    return true;
}

static bool epoch_parse(const char **at, uint64_t *out)
{
    uint64_t number, check;
    if ((*at)[0] == '0' && (*at)[1] == '-') {
        *at += 2;
        *out = 0;
        return true;
    }
    if (!number_parse(at, 10, '.', EPOCH_NUMBER_MAX, &number) ||
        !number_parse(at, 16, '-', EPOCH_CHECK_MAX, &check))
        return false;
    *out = number << EPOCH_CHECK_BITS | check;
    return number != 0 && check != 0;
}

bool renew_token_parse(const char *text, struct renew_token *out)
{
    struct store_recovery *r = &out->recovery;
    *out = (struct renew_token){.epoch = 0};
    if (!epoch_parse(&text, &out->epoch) || !epoch_parse(&text, &r->parent) ||
        !number_parse(&text, 10, '@', STORE_INDEX_MAX - 1, &r->kept.index) ||
        !number_parse(&text, 10, '-', STORE_INDEX_MAX - 1, &r->kept.term.v) ||
        !number_parse(&text, 10, '-', STORE_INDEX_MAX - 1, &r->term.v) ||
        !number_parse(&text, 16, '\0', UINT64_MAX, &r->digest))
        return false;
    return r->kept.index != 0 && r->kept.term.v != 0 && r->term.v > r->kept.term.v &&
           epoch_number(out->epoch) == epoch_number(r->parent) + 1;
}

/* ---- what the directory holds ---------------------------------------------------------------- */

/* The last entry's cluster time; hollow: it is all that a witness keeps of one. */
static enum kelp_error last_look(struct store *s, struct renew_report *out, uint64_t *time_ns,
                                 struct kelp_fault *fault)
{
    const struct store_found *f = store_found(s);
    *time_ns = f->snapshot.time_ns;
    out->hollow = f->snapshot.hollow;
    if (f->last == f->base.index) return KELP_OK;
    uint8_t *bytes = NULL;
    size_t size = 0, len, used;
    struct kelp_pos before;
    kelp_index last;
    struct wire_entry entry;
    enum kelp_error error =
        store_read(s, f->last, 1, 0, &bytes, &size, &len, &before, &last, fault);
    if (error == KELP_OK) error = wire_entry_decode(bytes_of(bytes, len), &entry, &used, fault);
    if (error == KELP_OK) {
        *time_ns = max_u64(*time_ns, entry.time_ns);
        out->hollow = out->hollow || entry.type == KELP_ENTRY_POSITION;
    }
    free(bytes);
    return error;
}

static const struct kelp_member *member_of(const struct wire_config *c, kelp_id id)
{
    for (size_t slot = 0; slot < c->config.count; slot++) {
        if (c->config.members[slot].id == id) return &c->config.members[slot];
    }
    return NULL;
}

static enum kelp_error found_report(struct store *s, struct renew_report *out, uint64_t *time_ns,
                                    struct kelp_fault *fault)
{
    const struct store_found *f = store_found(s);
    memset(out, 0, sizeof *out);
    out->found = f->identity;
    out->base = f->base;
    out->snapshot = f->snapshot.pos;
    out->last = f->run_count > 0 ? kelp_pos_of(f->last, f->runs[f->run_count - 1].term.v) : f->base;
    out->commit = f->commit;
    out->term = f->term;
    out->torn_bytes = f->torn_bytes;
    out->before = f->config;
    enum kelp_error error = last_look(s, out, time_ns, fault);
    const struct kelp_member *self = member_of(&f->config, f->identity.node);
    if (self != NULL && (self->role == KELP_WITNESS || self->role_old == KELP_WITNESS))
        out->hollow = true;
    return error;
}

static enum kelp_error directory_open(struct disk disk, const struct store_options *options,
                                      struct store **out, struct kelp_fault *fault)
{
    struct store_options own = *options;
    own.node = 0;
    own.waits = false;
    own.recovers = true;
    return store_open(disk, &own, out, fault);
}

enum kelp_error renew_look(struct disk disk, const struct store_options *options,
                           struct renew_report *out, struct kelp_fault *fault)
{
    struct store *s = NULL;
    uint64_t time_ns;
    enum kelp_error error = directory_open(disk, options, &s, fault);
    if (error == KELP_OK) error = found_report(s, out, &time_ns, fault);
    if (error == KELP_OK && out->found.recovery.unfinished) out->step = RENEW_UNFINISHED;
    store_close(s);
    return error;
}

/* ---- the members ----------------------------------------------------------------------------- */

static enum kelp_error wrong(struct kelp_fault *fault, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static enum kelp_error wrong(struct kelp_fault *fault, const char *format, ...)
{
    char words[sizeof fault->what];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof words, format, args);
    va_end(args);
    return fault_set(fault, KELP_E_ARGUMENT, "members", "%s", words);
}

/* The slot of a named member in the configuration it is to be taken from; count: there is none. */
static size_t slot_of(const struct wire_config *c, const struct renew_member *m)
{
    size_t slot = 0;
    for (; slot < c->config.count; slot++) {
        if (m->id != 0 ? c->config.members[slot].id == m->id
                       : strcmp(c->peer[slot].text, m->address.text) == 0)
            break;
    }
    return slot;
}

static enum kelp_error member_add(struct wire_config *to, const struct wire_config *from,
                                  const struct renew_member *m, struct kelp_fault *fault)
{
    size_t slot = slot_of(from, m);
    if (slot == from->config.count) {
        if (m->id == 0)
            return wrong(fault, "%.80s is no member's address here: name it as ID=HOST:PORT",
                         m->address.text);
        return wrong(fault,
                     "node %" PRIu64 " is no member of the configuration at %" PRIu64
                     ": leave it out and add it afterwards",
                     m->id, from->config.index);
    }
    const struct kelp_member *old = &from->config.members[slot];
    if (m->role != KELP_VOTER && m->role != KELP_LEARNER)
        return wrong(fault,
                     "node %" PRIu64 ": its role must be voter or learner; add witnesses "
                     "afterwards",
                     old->id);
    struct kelp_config *c = &to->config;
    size_t at = c->count;
    const struct wire_address *address =
        m->address.text[0] != '\0' ? &m->address : &from->peer[slot];
    for (size_t i = 0; i < c->count; i++) {
        if (c->members[i].id == old->id)
            return wrong(fault, "node %" PRIu64 " is named twice", old->id);
        if (strcmp(to->peer[i].text, address->text) == 0)
            return wrong(fault, "nodes %" PRIu64 " and %" PRIu64 " have the same address %.60s",
                         c->members[i].id, old->id, address->text);
    }
    while (at > 0 && c->members[at - 1].id > old->id) {
        c->members[at] = c->members[at - 1];
        to->peer[at] = to->peer[at - 1];
        at--;
    }
    c->members[at] =
        (struct kelp_member){.id = old->id, .incarnation = old->incarnation, .role = m->role};
    to->peer[at] = *address;
    c->count++;
    return KELP_OK;
}

/* The list of members as a configuration behind the log: what is not asked for stays as it was,
 * save that nobody has a priority any more. */
static enum kelp_error config_build(struct renew_report *r, const struct renew_ask *ask,
                                    struct kelp_fault *fault)
{
    if (ask->count == 0 || ask->count > KELP_MEMBERS_MAX)
        return wrong(fault, "%zu are named; 1 to 32 can be", ask->count);
    const struct wire_config *from = &r->before;
    r->after =
        (struct wire_config){.created_unix_ms = from->created_unix_ms, .cluster = from->cluster};
    r->after.config.id_highest = from->config.id_highest;
    r->after.config.drift_ppm = from->config.drift_ppm;
    r->after.config.election_min = from->config.election_min;
    for (size_t i = 0; i < ask->count; i++) {
        enum kelp_error error = member_add(&r->after, from, &ask->members[i], fault);
        if (error != KELP_OK) return error;
    }
    const struct kelp_member *self = member_of(&r->after, r->found.node);
    if (self == NULL || self->role != KELP_VOTER)
        return wrong(fault,
                     "node %" PRIu64 ", whose directory this is, must be a voter: it alone is "
                     "known to hold the log",
                     r->found.node);
    if (self->incarnation != 0 && self->incarnation != r->found.incarnation)
        return fault_set(fault, KELP_E_FOREIGN, IDENTITY_NAME,
                         "the configuration knows another directory for node %" PRIu64,
                         r->found.node);
    return KELP_OK;
}

static bool same_members(const struct wire_config *a, const struct wire_config *b)
{
    if (a->config.count != b->config.count || a->config.joint != b->config.joint) return false;
    for (size_t i = 0; i < a->config.count; i++) {
        const struct kelp_member *x = &a->config.members[i], *y = &b->config.members[i];
        if (x->id != y->id || x->role != y->role || x->incarnation != y->incarnation ||
            strcmp(a->peer[i].text, b->peer[i].text) != 0)
            return false;
    }
    return true;
}

/* ---- the entry ------------------------------------------------------------------------------- */

/* Encoded, the caller's. */
static enum kelp_error entry_build(struct renew_report *r, uint64_t time_ns, uint8_t **out,
                                   size_t *len, struct kelp_fault *fault)
{
    uint8_t *payload = malloc(WIRE_CONFIG_BYTES_MAX);
    if (payload == NULL) return fault_set(fault, KELP_E_NO_MEMORY, "recover", "out of memory");
    const struct store_recovery *recovery = &r->token.recovery;
    struct wire_entry e = {.pos = {.index = recovery->kept.index + 1, .term = recovery->term},
                           .type = KELP_ENTRY_CONFIG,
                           .time_ns = time_ns};
    r->after.config.index = e.pos.index;
    e.payload = bytes_of(payload, wire_config_encode(&r->after, payload));
    *len = wire_entry_size(&e);
    *out = malloc(*len);
    if (*out != NULL) wire_entry_encode(&e, *out);
    free(payload);
    return *out != NULL ? KELP_OK : fault_set(fault, KELP_E_NO_MEMORY, "recover", "out of memory");
}

/* ---- which recovery it is -------------------------------------------------------------------- */

static enum kelp_error holds_something(const struct renew_report *r, struct kelp_fault *fault)
{
    if (r->last.index == 0 || r->before.config.count == 0 || wire_cluster_zero(r->found.cluster))
        return fault_set(fault, KELP_E_WIPED, "log",
                         "it holds nothing of a cluster: there is nothing to recover from");
    if (r->hollow)
        return fault_set(fault, KELP_E_WIPED, "log",
                         "it is a witness's: it knows where entries stood, but holds none");
    return KELP_OK;
}

/* The first survivor of a log: a new epoch, and a term above all that it has seen. */
static enum kelp_error token_make(struct renew_report *r, const struct store_options *options,
                                  struct kelp_fault *fault)
{
    uint64_t parent = r->found.epoch;
    if (epoch_number(parent) == EPOCH_NUMBER_MAX)
        return fault_set(fault, KELP_E_LIMIT, IDENTITY_NAME, "it was recovered too often");
    r->token.epoch = epoch_after(parent, options->random(options->random_ctx));
    r->token.recovery =
        (struct store_recovery){.parent = parent,
                                .kept = r->last,
                                .term = kelp_term_of(max_u64(r->term.v, r->last.term.v) + 1)};
    return KELP_OK;
}

/* Another survivor: its log must be the one that the token was made of, and its promises of before
 * must not reach into the new term. */
static enum kelp_error token_fits(const struct renew_report *r, const struct renew_token *with,
                                  struct kelp_fault *fault)
{
    const struct store_recovery *t = &with->recovery;
    char own[EPOCH_TEXT_MAX], its[EPOCH_TEXT_MAX];
    if (r->found.epoch != t->parent)
        return fault_set(fault, KELP_E_FOREIGN, IDENTITY_NAME,
                         "the token was made of epoch %s, this directory is in epoch %s",
                         epoch_text(t->parent, its), epoch_text(r->found.epoch, own));
    if (!kelp_pos_equal(r->last, t->kept))
        return fault_set(fault, KELP_E_FOREIGN, "log",
                         "it ends at %" PRIu64 "@%" PRIu64 ", the token's at %" PRIu64 "@%" PRIu64
                         ": not known to agree; keep this directory, join with an empty one",
                         r->last.index, r->last.term.v, t->kept.index, t->kept.term.v);
    if (r->term.v >= t->term.v)
        return fault_set(fault, KELP_E_FOREIGN, VOTE_NAME,
                         "it has promised in term %" PRIu64 ", the token's is %" PRIu64
                         ": keep this directory, join with an empty one",
                         r->term.v, t->term.v);
    return KELP_OK;
}

static enum kelp_error other_members(const struct renew_report *r, struct kelp_fault *fault)
{
    return fault_set(fault, KELP_E_FOREIGN, "members",
                     "recovery %" PRIu64 " was begun with other members, roles or addresses, or is "
                     "another cluster's: name exactly the same",
                     epoch_number(r->token.epoch));
}

/* The same entry as was said? */
static enum kelp_error digest_fits(struct renew_report *r, struct kelp_bytes entry,
                                   struct kelp_fault *fault)
{
    uint64_t digest = hash_bytes(entry, r->token.epoch);
    uint64_t *said = &r->token.recovery.digest;
    if (*said == 0) *said = digest != 0 ? digest : 1;
    return *said == (digest != 0 ? digest : 1) ? KELP_OK : other_members(r, fault);
}

/* Recovered already, to the same members, and nothing was written since: asked twice. */
static bool is_done(const struct renew_report *r, const struct renew_ask *ask)
{
    const struct store_recovery *own = &r->found.recovery;
    if (own->unfinished || own->kept.index == 0) return false;
    if (ask->with != NULL && ask->with->epoch != r->found.epoch) return false;
    return r->last.index == own->kept.index + 1 && same_members(&r->before, &r->after);
}

static enum kelp_error token_choose(struct renew_report *r, const struct store_options *options,
                                    const struct renew_ask *ask, struct kelp_fault *fault)
{
    const struct renew_token *with = ask->with;
    if (is_done(r, ask)) {
        r->step = RENEW_DONE;
    } else if (r->found.recovery.unfinished) {
        r->step = RENEW_UNFINISHED;
        if (with != NULL && with->epoch != r->found.epoch)
            return fault_set(fault, KELP_E_FOREIGN, IDENTITY_NAME,
                             "another recovery than the token's is unfinished in it");
    } else {
        r->step = RENEW_NEW;
        if (with == NULL) return token_make(r, options, fault);
        r->token = *with;
        return token_fits(r, with, fault);
    }
    r->token = (struct renew_token){.epoch = r->found.epoch, .recovery = r->found.recovery};
    return KELP_OK;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* One that was cut short goes on where its log ended, or one entry behind it. Anything else was put
 * there from a copy, and nobody knows what it is. */
static enum kelp_error log_fits(const struct renew_report *r, struct kelp_fault *fault)
{
    const struct store_recovery *t = &r->token.recovery;
    bool before = kelp_pos_equal(r->last, t->kept);
    bool behind = r->last.index == t->kept.index + 1 && r->last.term.v == t->term.v;
    if (before || behind) return KELP_OK;
    return fault_set(fault, KELP_E_FOREIGN, "log",
                     "it ends at %" PRIu64 "@%" PRIu64 ", the recovery that was cut short found "
                     "%" PRIu64 "@%" PRIu64 ": it was put back from a copy",
                     r->last.index, r->last.term.v, t->kept.index, t->kept.term.v);
}

/* The entry is there already: what was configured before it is not needed any more. */
static bool entry_there(const struct renew_report *r)
{
    return r->last.index == r->token.recovery.kept.index + 1;
}

static enum kelp_error run(struct store *s, const struct store_options *options,
                           const struct renew_ask *ask, struct renew_report *r,
                           struct kelp_fault *fault)
{
    uint64_t time_ns;
    enum kelp_error error = found_report(s, r, &time_ns, fault);
    if (error == KELP_OK) error = holds_something(r, fault);
    if (error == KELP_OK) error = config_build(r, ask, fault);
    if (error == KELP_OK) error = token_choose(r, options, ask, fault);
    if (error == KELP_OK && r->step == RENEW_UNFINISHED) error = log_fits(r, fault);
    if (error != KELP_OK || r->step == RENEW_DONE) return error;
    uint8_t *entry = NULL;
    size_t len = 0;
    if (r->step == RENEW_UNFINISHED && entry_there(r)) {
        r->after.config.index = r->last.index;
        if (!same_members(&r->before, &r->after)) error = other_members(r, fault);
    } else {
        error = entry_build(r, time_ns, &entry, &len, fault);
        if (error == KELP_OK) error = digest_fits(r, bytes_of(entry, len), fault);
    }
    if (error == KELP_OK) {
        error = store_renew(s, r->token.epoch, &r->token.recovery, bytes_of(entry, len), fault);
    }
    free(entry);
    return error;
}

enum kelp_error renew_run(struct disk disk, const struct store_options *options,
                          const struct renew_ask *ask, struct renew_report *out,
                          struct kelp_fault *fault)
{
    struct store *s = NULL;
    enum kelp_error error = directory_open(disk, options, &s, fault);
    if (error == KELP_OK) error = run(s, options, ask, out, fault);
    store_close(s);
    return error;
}
