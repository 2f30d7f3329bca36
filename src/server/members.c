/* SPDX-License-Identifier: Apache-2.0 */
/* members.c - RAFT MEMBERS, ADD, PROMOTE, DEMOTE, REMOVE, REPLACE, MOVE, SET, PRIORITY, PLAN.
 *
 *   ADD id|AUTO [host:port] [VOTER|LEARNER|WITNESS]
 *   PROMOTE id   DEMOTE id   REMOVE id
 *   REPLACE old new|AUTO [host:port]          MOVE id host:port        PRIORITY id n
 *   SET id=host:port[/role] ...
 *   each with [IF index] [FORCE] [NOWAIT] behind it
 *   PLAN and any of these, or PLAN STOP id: what it would do
 *
 * Words become a change here and nothing is judged but their form; what it means is judged by the
 * leader, which also knows who knocks: AUTO is the next free id for one that has none, an address
 * left out that of the one that knocks. MEMBERS says what the node that is asked has in its log and
 * who knocks there; how the others are doing only the leader knows. */
#include "server/members.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "proto/resp_reply.h"
#include "server/client.h"
#include "server/commands.h"
#include "server/server.h"

#define MILLISECOND UINT64_C(1000000)
#define LINE_BYTES  512u

struct words {
    const struct kelp_bytes *at;
    size_t count, next;
    char *wrong;
};

static bool wrong(struct words *w, const char *what, const char *right)
{
    int len = 0;
    const char *word = "";
    if (w->next < w->count) {
        len = (int)(w->at[w->next].len < 60 ? w->at[w->next].len : 60);
        word = (const char *)w->at[w->next].data;
    }
    (void)snprintf(w->wrong, MEMBERS_WRONG_MAX, "%s '%.*s': %s", what, len, word, right);
    for (char *c = w->wrong; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~') *c = '?';
    }
    return false;
}

static bool id_word(struct words *w, struct kelp_bytes word, kelp_id *out)
{
    int64_t id = 0;
    if (!decimal_parse(word, &id) || id <= 0 || (uint64_t)id > WIRE_CHANGE_NUMBER_MAX)
        return wrong(w, "no id", "a number from 1 to 2^62");
    *out = (kelp_id)id;
    return true;
}

static bool id_next(struct words *w, kelp_id *out)
{
    if (w->next == w->count) return wrong(w, "an id is missing", "a number from 1 to 2^62");
    if (!id_word(w, w->at[w->next], out)) return false;
    w->next++;
    return true;
}

static bool address_word(struct words *w, struct kelp_bytes word, struct wire_address *out)
{
    bool fits = word.len > 0 && word.len < sizeof out->text;
    memset(out, 0, sizeof *out);
    if (fits) memcpy(out->text, word.data, word.len);
    if (!fits || memchr(word.data, '\0', word.len) != NULL || !wire_address_check(out->text))
        return wrong(w, "no address", "HOST:PORT of its peer side");
    return true;
}

static bool address_next(struct words *w, struct wire_address *out)
{
    if (w->next == w->count) return wrong(w, "an address is missing", "HOST:PORT of its peer side");
    if (!address_word(w, w->at[w->next], out)) return false;
    w->next++;
    return true;
}

/* One of the words that may stand behind any change: it is not a role. */
static bool is_option(struct kelp_bytes word)
{
    return word_is(word, "if") || word_is(word, "force") || word_is(word, "nowait");
}

/* Who comes: its id, or AUTO; its address, unless it knocks and that is enough. */
static bool newcomer_next(struct words *w, struct wire_edit *edit)
{
    bool automatic = w->next < w->count && word_is(w->at[w->next], "auto");
    if (automatic)
        w->next++;
    else if (!id_next(w, &edit->id))
        return false;
    struct kelp_bytes word = w->next < w->count ? w->at[w->next] : bytes_of("voter", 5);
    bool other = is_option(word) || word_is(word, "voter") || word_is(word, "learner") ||
                 word_is(word, "witness");
    return other || address_next(w, &edit->address);
}

static bool role_word(struct words *w, struct kelp_bytes word, uint8_t *out)
{
    if (word_is(word, "voter"))
        *out = KELP_VOTER;
    else if (word_is(word, "learner"))
        *out = KELP_LEARNER;
    else if (word_is(word, "witness"))
        *out = KELP_WITNESS;
    else
        return wrong(w, "no role", "voter, learner or witness");
    return true;
}

static struct wire_edit *edit_new(struct wire_change *out, enum kelp_edit_verb verb)
{
    struct wire_edit *edit = &out->edits[out->count++];
    *edit = (struct wire_edit){.verb = (uint8_t)verb};
    return edit;
}

static bool parse_add(struct words *w, struct wire_change *out)
{
    struct wire_edit *edit = edit_new(out, KELP_EDIT_ADD);
    edit->role = KELP_VOTER;
    if (!newcomer_next(w, edit)) return false;
    if (w->next == w->count || is_option(w->at[w->next])) return true;
    if (!role_word(w, w->at[w->next], &edit->role)) return false;
    w->next++;
    return true;
}

static bool parse_promote(struct words *w, struct wire_change *out)
{
    return id_next(w, &edit_new(out, KELP_EDIT_PROMOTE)->id);
}

static bool parse_demote(struct words *w, struct wire_change *out)
{
    return id_next(w, &edit_new(out, KELP_EDIT_DEMOTE)->id);
}

static bool parse_remove(struct words *w, struct wire_change *out)
{
    return id_next(w, &edit_new(out, KELP_EDIT_REMOVE)->id);
}

static bool parse_stop(struct words *w, struct wire_change *out)
{
    return id_next(w, &edit_new(out, KELP_EDIT_STOP)->id);
}

static bool parse_move(struct words *w, struct wire_change *out)
{
    struct wire_edit *edit = edit_new(out, KELP_EDIT_MOVE);
    return id_next(w, &edit->id) && address_next(w, &edit->address);
}

static bool parse_replace(struct words *w, struct wire_change *out)
{
    struct wire_edit *old = edit_new(out, KELP_EDIT_REMOVE);
    struct wire_edit *new = edit_new(out, KELP_EDIT_ADD);
    new->role = KELP_VOTER;
    return id_next(w, &old->id) && newcomer_next(w, new);
}

static bool parse_priority(struct words *w, struct wire_change *out)
{
    struct wire_edit *edit = edit_new(out, KELP_EDIT_PRIORITY);
    int64_t number = 0;
    if (!id_next(w, &edit->id)) return false;
    if (w->next == w->count) return wrong(w, "a priority is missing", "0 to 255; 0 never leads");
    if (!decimal_parse(w->at[w->next], &number) || number < 0 ||
        number > (int64_t)KELP_PRIORITY_MAX)
        return wrong(w, "no priority", "0 to 255; 0 never leads");
    w->next++;
    edit->priority = (uint8_t)number;
    return true;
}

/* 4=host:port/learner */
static bool parse_member(struct words *w, struct kelp_bytes word, struct wire_change *out)
{
    const uint8_t *equals = memchr(word.data, '=', word.len), *end = word.data + word.len;
    if (out->count == KELP_MEMBERS_MAX) return wrong(w, "too many members at", "32 are allowed");
    if (equals == NULL) return wrong(w, "no member", "ID=HOST:PORT or ID=HOST:PORT/role");
    struct wire_edit *edit = edit_new(out, KELP_EDIT_SET);
    edit->role = KELP_VOTER;
    const uint8_t *slash = memchr(equals, '/', (size_t)(end - equals));
    const uint8_t *stop = slash != NULL ? slash : end;
    if (slash != NULL && !role_word(w, bytes_of(slash + 1, (size_t)(end - slash - 1)), &edit->role))
        return false;
    return id_word(w, bytes_of(word.data, (size_t)(equals - word.data)), &edit->id) &&
           address_word(w, bytes_of(equals + 1, (size_t)(stop - equals - 1)), &edit->address);
}

static bool parse_set(struct words *w, struct wire_change *out)
{
    out->flags |= KELP_CHANGE_WHOLE;
    while (w->next < w->count && !is_option(w->at[w->next])) {
        if (!parse_member(w, w->at[w->next], out)) return false;
        w->next++;
    }
    return out->count > 0 || wrong(w, "members are missing", "ID=HOST:PORT[/role] ...");
}

static bool parse_options(struct words *w, struct wire_change *out)
{
    while (w->next < w->count) {
        struct kelp_bytes word = w->at[w->next];
        int64_t index = 0;
        if (word_is(word, "force")) {
            out->flags |= KELP_CHANGE_FORCE;
        } else if (word_is(word, "nowait")) {
            out->flags |= KELP_CHANGE_NOWAIT;
        } else if (word_is(word, "if")) {
            w->next++;
            bool number = w->next < w->count && decimal_parse(w->at[w->next], &index);
            if (!number || index <= 0 || (uint64_t)index > WIRE_CHANGE_NUMBER_MAX)
                return wrong(w, "no index", "that of the configuration it is made of");
            out->if_index = (kelp_index)index;
        } else {
            return wrong(w, "makes no sense here:", "IF index, FORCE and NOWAIT do");
        }
        w->next++;
    }
    return true;
}

bool members_parse(const struct kelp_bytes *words, size_t count, struct wire_change *out,
                   char words_wrong[MEMBERS_WRONG_MAX])
{
    static const struct {
        const char *verb;
        bool (*parse)(struct words *w, struct wire_change *out);
    } verbs[] = {{"add", parse_add},       {"promote", parse_promote},   {"demote", parse_demote},
                 {"remove", parse_remove}, {"move", parse_move},         {"replace", parse_replace},
                 {"set", parse_set},       {"priority", parse_priority}, {"stop", parse_stop}};
    struct words w = {.at = words, .count = count, .wrong = words_wrong};
    memset(out, 0, sizeof *out);
    for (size_t i = 0; count > 0 && i < sizeof verbs / sizeof verbs[0]; i++) {
        if (!word_is(words[0], verbs[i].verb)) continue;
        w.next = 1;
        return verbs[i].parse(&w, out) && parse_options(&w, out);
    }
    return wrong(&w, "no change of members",
                 "add, promote, demote, remove, move, replace, set or priority");
}

/* ---- MEMBERS ------------------------------------------------------------------------------- */

const char *members_role_name(uint8_t role)
{
    switch ((enum kelp_member_role)role) {
    case KELP_NONE: return "none";
    case KELP_VOTER: return "voter";
    case KELP_LEARNER: return "learner";
    case KELP_WITNESS: return "witness";
    case KELP_STAGING: return "staging";
    }
    return "unknown";
}

static const char *state_name(uint8_t flow)
{
    switch ((enum kelp_flow)flow) {
    case KELP_PROBE: return "probe";
    case KELP_STREAM: return "replicate";
    case KELP_NEEDS_SNAPSHOT: return "snapshot";
    }
    return "unknown";
}

static size_t text_put(char *out, size_t size, const char *words)
{
    int len = snprintf(out, size, "%s", words);
    return len > 0 ? (size_t)len : 0;
}

size_t members_line(const struct driver_status *status, size_t slot, kelp_ns now, char *out,
                    size_t size)
{
    const struct kelp_member *member = &status->latest.config.members[slot];
    const struct kelp_view *view = &status->view;
    int len = snprintf(
        out, size, "id:%" PRIu64 " role:%s address:%s incarnation:%016" PRIx64 " priority:%u",
        member->id, member->role == KELP_NONE ? "leaving" : members_role_name(member->role),
        status->latest.peer[slot].text, member->incarnation, kelp_priority_of(member));
    size_t at = len > 0 ? (size_t)len : 0;
    if (member->role == KELP_WITNESS && at < size)
        at += text_put(out + at, size - at,
                       (member->marks & KELP_MARK_IN) != 0 ? " in:yes" : " in:no");
    if ((member->marks & KELP_MARK_ABSENT) != 0 && at < size)
        at += text_put(out + at, size - at, " absent:yes");
    bool leads = status->state == DRIVER_RUNNING && view->role == KELP_LEADER;
    for (uint32_t i = 0; leads && at < size && i < view->peer_count; i++) {
        const struct kelp_peer_view *p = &view->peers[i];
        if (p->id != member->id) continue;
        bool self = p->id == view->self;
        kelp_index match = self ? view->durable : p->match;
        len = snprintf(out + at, size - at, " state:%s match:%" PRIu64 " lag:%" PRIu64,
                       self ? "leader" : state_name(p->flow), match,
                       view->last > match ? view->last - match : 0);
        at += len > 0 ? (size_t)len : 0;
        if ((self || p->contact != 0) && at < size) {
            uint64_t contact = self || p->contact > now ? 0 : (now - p->contact) / MILLISECOND;
            len = snprintf(out + at, size - at, " contact_ms:%" PRIu64, contact);
            at += len > 0 ? (size_t)len : 0;
        }
        if (p->apart && at < size) at += text_put(out + at, size - at, " quarantined:yes");
        if ((p->drained && !p->apart) || (self && view->drained)) {
            len = snprintf(out + at, size - at, " drained:yes");
            at += len > 0 ? (size_t)len : 0;
        }
        if (member->role == KELP_STAGING && at < size) {
            len = snprintf(out + at, size - at, " rounds:%" PRIu32, p->rounds);
            at += len > 0 ? (size_t)len : 0;
        }
    }
    return at;
}

size_t members_knock(const struct driver_knock *knock, kelp_ns now, char *out, size_t size)
{
    char id[24] = "auto";
    if (knock->id < KELP_ID_WAITING) (void)snprintf(id, sizeof id, "%" PRIu64, knock->id);
    uint64_t heard = knock->heard > now ? 0 : (now - knock->heard) / MILLISECOND;
    int len =
        snprintf(out, size, "knocks:%s address:%s incarnation:%016" PRIx64 " heard_ms:%" PRIu64, id,
                 knock->peer.text, knock->incarnation, heard);
    return len > 0 ? (size_t)len : 0;
}

void run_raft_members(const struct call *call)
{
    struct server *s = call->server;
    char line[LINE_BYTES];
    struct driver_status *status = malloc(sizeof *status);
    if (status == NULL) {
        (void)resp_error(call->reply, "ERR out of memory");
        return;
    }
    driver_status(node_driver(s->node), status);
    (void)resp_array(call->reply, 1 + status->latest.config.count + status->knock_count);
    (void)snprintf(line, sizeof line, "committed=%" PRIu64 " latest=%" PRIu64 "%s",
                   status->committed.config.index, status->latest.config.index,
                   status->latest.config.joint != 0 ? " joint" : "");
    (void)resp_bulk_text(call->reply, line);
    for (size_t slot = 0; slot < status->latest.config.count; slot++) {
        size_t at = members_line(status, slot, node_now(s->node), line, sizeof line);
        const char *client = server_client_address(s, status->latest.config.members[slot].id);
        if (client != NULL && at < sizeof line)
            (void)snprintf(line + at, sizeof line - at, " client:%s", client);
        (void)resp_bulk_text(call->reply, line);
    }
    for (size_t i = 0; i < status->knock_count; i++) {
        (void)members_knock(&status->knocks[i], node_now(s->node), line, sizeof line);
        (void)resp_bulk_text(call->reply, line);
    }
    free(status);
}

/* ---- BOOTSTRAP ----------------------------------------------------------------------------- */

void run_raft_bootstrap(const struct call *call)
{
    bool if_empty = call->argc == 3 && word_is(call->argv[2], "ifempty");
    if (call->argc > 2 && !if_empty) {
        (void)resp_error(call->reply, "ERR BAD_REQUEST: it is RAFT BOOTSTRAP [IFEMPTY]");
        return;
    }
    client_found(call->client, if_empty, call->reply);
}

/* ---- changes ------------------------------------------------------------------------------- */

void run_raft_change(const struct call *call)
{
    struct wire_change change;
    char words[MEMBERS_WRONG_MAX];
    if (!members_parse(call->argv + 1, call->argc - 1, &change, words))
        (void)resp_error(call->reply, "ERR BAD_REQUEST: %s", words);
    else
        client_change(call->client, &change, CHANGE_MAKE, call->reply);
}

void run_raft_drain(const struct call *call)
{
    client_drain(call->client, word_is(call->argv[1], "drain") ? DRIVER_DRAIN : DRIVER_UNDRAIN,
                 call->reply);
}

void run_raft_plan(const struct call *call)
{
    struct wire_change change;
    char words[MEMBERS_WRONG_MAX];
    if (!members_parse(call->argv + 2, call->argc - 2, &change, words))
        (void)resp_error(call->reply, "ERR BAD_REQUEST: %s", words);
    else
        client_change(call->client, &change, CHANGE_PLAN, call->reply);
}
