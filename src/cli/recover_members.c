/* SPDX-License-Identifier: Apache-2.0 */
/* recover_members.c - lists of members for `kelp recover`: as words, as the JSON that `kelp members
 * --json` writes, and as the bare array of addresses that older tools wrote. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/decimal.h"
#include "cli/recover.h"

static bool id_parse(const char *text, size_t len, kelp_id *out)
{
    int64_t number;
    if (!decimal_parse(bytes_of(text, len), &number) || number <= 0) return false;
    *out = (kelp_id)number;
    return true;
}

static bool address_put(struct wire_address *to, const char *text, size_t len)
{
    if (len >= sizeof to->text) return false;
    (void)snprintf(to->text, sizeof to->text, "%.*s", (int)len, text);
    return wire_address_check(to->text);
}

static bool role_put(struct renew_member *m, const char *text, size_t len)
{
    static const struct {
        const char *name;
        uint8_t role;
    } roles[] = {{"voter", KELP_VOTER},
                 {"learner", KELP_LEARNER},
                 {"staging", KELP_LEARNER},
                 {"witness", KELP_WITNESS}};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strlen(roles[i].name) != len || strncmp(roles[i].name, text, len) != 0) continue;
        m->role = roles[i].role;
        return true;
    }
    return false;
}

/* ---- words ----------------------------------------------------------------------------------- */

static bool word_take(const struct verb *verb, const char *word, size_t len, struct renew_member *m,
                      int *status)
{
    const char *end = word + len, *slash = memchr(word, '/', len), *mark = memchr(word, '=', len);
    *m = (struct renew_member){.role = KELP_VOTER};
    if (slash != NULL && !role_put(m, slash + 1, (size_t)(end - slash - 1))) {
        *status =
            cli_error(verb, CLI_USAGE, "--members: \"%.*s\": the role must be voter or learner",
                      (int)len, word);
        return false;
    }
    const char *address_end = slash != NULL ? slash : end;
    const char *id_end = mark != NULL ? mark : address_end;
    bool sound =
        id_parse(word, (size_t)(id_end - word), &m->id) &&
        (mark == NULL || address_put(&m->address, mark + 1, (size_t)(address_end - mark - 1)));
    if (!sound)
        *status = cli_error(verb, CLI_USAGE,
                            "--members: \"%.*s\": must be ID=HOST:PORT[/role], or an ID alone",
                            (int)len, word);
    return sound;
}

bool recover_words(const struct verb *verb, const char *words, struct recover_list *out,
                   int *status)
{
    out->count = 0;
    for (const char *at = words;; at++) {
        size_t len = strcspn(at, ",");
        if (out->count == KELP_MEMBERS_MAX) {
            *status =
                cli_error(verb, CLI_USAGE, "--members: more than %u are named", KELP_MEMBERS_MAX);
            return false;
        }
        if (!word_take(verb, at, len, &out->members[out->count], status)) return false;
        out->count++;
        at += len;
        if (*at == '\0') return true;
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

/* NULL: *m is filled; else what is wrong with it. */
static const char *entry_take(const json_t *entry, struct renew_member *m)
{
    *m = (struct renew_member){.role = KELP_VOTER};
    if (json_is_string(entry)) {
        bool sound = address_put(&m->address, json_string_value(entry), json_string_length(entry));
        return sound ? NULL : "must be an address, HOST:PORT";
    }
    if (!json_is_object(entry))
        return "must be {\"id\": \"N\", \"address\": \"HOST:PORT\", \"non_voter\": false}";
    const json_t *id = json_object_get(entry, "id"), *role = json_object_get(entry, "role");
    const json_t *address = json_object_get(entry, "address");
    const json_t *non_voter = json_object_get(entry, "non_voter");
    bool known = false;
    if (json_is_integer(id)) {
        m->id = (kelp_id)json_integer_value(id);
        known = json_integer_value(id) > 0;
    } else if (json_is_string(id)) {
        known = id_parse(json_string_value(id), json_string_length(id), &m->id);
    }
    if (!known) return "\"id\" must be a node's number, not 0";
    if (!json_is_string(address) ||
        !address_put(&m->address, json_string_value(address), json_string_length(address)))
        return "\"address\" must be HOST:PORT";
    if (non_voter != NULL && !json_is_boolean(non_voter))
        return "\"non_voter\" must be true or false";
    if (json_is_true(non_voter)) m->role = KELP_LEARNER;
    if (role == NULL) return NULL;
    if (!json_is_string(role) || !role_put(m, json_string_value(role), json_string_length(role)))
        return "\"role\" must be voter or learner";
    return non_voter == NULL || json_is_true(non_voter) == (m->role != KELP_VOTER)
               ? NULL
               : "\"role\" and \"non_voter\" contradict each other";
}

static bool entries_take(const struct verb *verb, const char *path, const json_t *list,
                         struct recover_list *out, int *status)
{
    size_t count = json_array_size(list);
    out->count = 0;
    if (count == 0 || count > KELP_MEMBERS_MAX) {
        *status = cli_error(verb, CLI_USAGE, "%s: names %zu members; must be 1 to %u", path, count,
                            KELP_MEMBERS_MAX);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const char *wrong = entry_take(json_array_get(list, i), &out->members[i]);
        if (wrong != NULL) {
            *status = cli_error(verb, CLI_USAGE, "%s: entry %zu: %s", path, i + 1, wrong);
            return false;
        }
    }
    out->count = count;
    return true;
}

bool recover_file(const struct verb *verb, const char *path, struct recover_list *out, int *status)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        if (error.line > 0)
            *status = cli_error(verb, CLI_USAGE, "%s: line %d, column %d: %s", path, error.line,
                                error.column, error.text);
        else
            *status = cli_error(verb, CLI_USAGE, "%s", error.text);
        return false;
    }
    const json_t *list = json_is_object(root) ? json_object_get(root, "members") : root;
    bool sound = json_is_array(list);
    if (!sound)
        *status = cli_error(verb, CLI_USAGE, "%s: must be an array of members", path);
    else
        sound = entries_take(verb, path, list, out, status);
    json_decref(root);
    return sound;
}

/* ---- back again ------------------------------------------------------------------------------ */

static const char *role_name(const struct kelp_member *m)
{
    switch (m->role != KELP_NONE ? m->role : m->role_old) {
    case KELP_VOTER: return "voter";
    case KELP_LEARNER: return "learner";
    case KELP_WITNESS: return "witness";
    case KELP_STAGING: return "staging";
    default: return "none";
    }
}

const char *recover_members_text(const struct wire_config *c, char *out)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < c->config.count && at < RECOVER_TEXT_MAX; i++) {
        const struct kelp_member *m = &c->config.members[i];
        bool voter = m->role == KELP_VOTER;
        int len =
            snprintf(out + at, RECOVER_TEXT_MAX - at, "%s%" PRIu64 "=%s%s%s", i > 0 ? ", " : "",
                     m->id, c->peer[i].text, voter ? "" : "/", voter ? "" : role_name(m));
        at += len > 0 ? (size_t)len : 0;
    }
    return out;
}

json_t *recover_members_json(const struct wire_config *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->config.count; i++) {
        const struct kelp_member *m = &c->config.members[i];
        char id[24];
        (void)snprintf(id, sizeof id, "%" PRIu64, m->id);
        (void)json_array_append_new(
            list, json_pack("{ss,ss,sb,ss}", "id", id, "address", c->peer[i].text, "non_voter",
                            (int)(m->role != KELP_VOTER), "role", role_name(m)));
    }
    return list;
}
