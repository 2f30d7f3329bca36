/* SPDX-License-Identifier: Apache-2.0 */
/* status.c - `kelp status`: every node that can be found, in one table or as JSON.
 *
 * The nodes are those of --at and, so that one address is enough, those that CLUSTER NODES of the
 * first one that answers names. Where nobody leads the line above the table says why
 * (leaderless.c). With --json the object of that first node is at the top, with the
 * names of RAFT STATUS, and all nodes are in its list "nodes". */
#include "cli/status.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/min.h"
#include "cli/client.h"
#include "cli/leaderless.h"

#define WATCH_MS  500u
#define EXACT_MAX (INT64_C(1) << 53) /* larger numbers are strings in JSON */

/* ---- asking ------------------------------------------------------------------------------ */

/* "peer_2:role=voter,state=replicate,...", or "knock_4:address=...", as an object; text is what
 * follows the colon. */
static json_t *parse_peer(const char *id, size_t id_len, const char *text, size_t len)
{
    json_t *peer = json_object();
    (void)json_object_set_new(peer, "id", json_stringn(id, id_len));
    const char *end = text + len;
    while (peer != NULL && text < end) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        size_t word = (size_t)((comma != NULL ? comma : end) - text);
        const char *split = memchr(text, '=', word);
        if (split != NULL) {
            char name[32];
            (void)snprintf(name, sizeof name, "%.*s", (int)(split - text), text);
            (void)json_object_set_new(peer, name,
                                      json_stringn(split + 1, (size_t)(text + word - split - 1)));
        }
        text += word + 1;
    }
    return peer;
}

json_t *status_parse(struct kelp_bytes lines)
{
    json_t *fields = json_object(), *peers = json_array(), *knocking = json_array();
    const char *at = (const char *)lines.data, *end = at + lines.len;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        size_t len = (size_t)(stop - at);
        if (len > 0 && at[len - 1] == '\r') len--;
        const char *colon = memchr(at, ':', len);
        if (colon != NULL && len > 5 && strncmp(at, "peer_", 5) == 0) {
            json_t *peer = parse_peer(at + 5, (size_t)(colon - at - 5), colon + 1,
                                      (size_t)(at + len - colon - 1));
            (void)json_array_append_new(peers, peer);
        } else if (colon != NULL && len > 6 && strncmp(at, "knock_", 6) == 0) {
            json_t *knock = parse_peer(at + 6, (size_t)(colon - at - 6), colon + 1,
                                       (size_t)(at + len - colon - 1));
            (void)json_array_append_new(knocking, knock);
        } else if (colon != NULL) {
            char name[64];
            (void)snprintf(name, sizeof name, "%.*s", (int)(colon - at), at);
            (void)json_object_set_new(fields, name,
                                      json_stringn(colon + 1, (size_t)(at + len - colon - 1)));
        }
        at = stop + 1;
    }
    if (json_array_size(peers) > 0) (void)json_object_set(fields, "peers", peers);
    if (json_array_size(knocking) > 0) (void)json_object_set(fields, "knocking", knocking);
    json_decref(peers);
    json_decref(knocking);
    return fields;
}

bool status_ask(const char *address, unsigned timeout_ms, struct status_node *node)
{
    *node = (struct status_node){0};
    (void)snprintf(node->client, sizeof node->client, "%s", address);
    struct client c;
    client_init(&c, timeout_ms);
    c.harmless = true;
    redisReply *reply = client_connect(&c, address) ? client_line(&c, "RAFT STATUS") : NULL;
    if (reply != NULL && reply->type == REDIS_REPLY_STRING) {
        node->fields = status_parse(bytes_of(reply->str, reply->len));
        if (node->fields == NULL) (void)snprintf(node->error, sizeof node->error, "out of memory");
    } else {
        const char *why = reply == NULL ? c.error : reply->str != NULL ? reply->str : "no status";
        size_t known = strlen(address); /* the table has the address already */
        if (strncmp(why, address, known) == 0 && why[known] == ':') why += known + 2;
        (void)snprintf(node->error, sizeof node->error, "%s", why);
    }
    if (reply != NULL) freeReplyObject(reply);
    client_close(&c);
    return node->fields != NULL;
}

void status_forget(struct status_node *node)
{
    json_decref(node->fields);
    node->fields = NULL;
}

const char *status_text(const struct status_node *node, const char *name)
{
    const char *text = json_string_value(json_object_get(node->fields, name));
    return text != NULL ? text : "";
}

uint64_t status_number(const struct status_node *node, const char *name)
{
    const char *text = status_text(node, name);
    int64_t number = 0;
    if (!decimal_parse(bytes_of(text, strlen(text)), &number) || number < 0) return 0;
    return (uint64_t)number;
}

/* ---- for people -------------------------------------------------------------------------- */

static void print_whole(FILE *out, const struct status_node *nodes, size_t count)
{
    const struct status_node *leader = NULL, *any = NULL;
    for (size_t i = 0; i < count; i++) {
        if (nodes[i].fields == NULL) continue;
        any = &nodes[i];
        if (strcmp(status_text(&nodes[i], "role"), "leader") != 0) continue;
        if (leader == NULL || status_number(leader, "term") < status_number(&nodes[i], "term"))
            leader = &nodes[i];
    }
    const struct status_node *of = leader != NULL ? leader : any;
    if (of == NULL) return;
    (void)fprintf(out, "cluster %s", status_text(of, "cluster_id"));
    if (leader == NULL) {
        struct leaderless why;
        leaderless_find(nodes, count, &why);
        (void)fprintf(out, ", no leader%s%s%s\n", why.so ? "" : " among the nodes asked",
                      why.words[0] != '\0' ? ": " : "", why.words);
        return;
    }
    uint64_t seconds = status_number(leader, "leader_since_ms") / 1000;
    (void)fprintf(out, ", node %s leads term %s for %" PRIu64 " s, may lose %s more\n",
                  status_text(leader, "node_id"), status_text(leader, "term"), seconds,
                  status_text(leader, "tolerates"));
}

/* Who follows, and is no voter, is called by what it is: it does not stand in for one. */
static const char *role_shown(const struct status_node *n)
{
    const char *role = status_text(n, "role"), *member = status_text(n, "member");
    bool other = strcmp(member, "witness") == 0 || strcmp(member, "learner") == 0 ||
                 strcmp(member, "staging") == 0;
    return other && strcmp(role, "follower") == 0 ? member : role;
}

/* Whoever was emptied and founded anew is no member of what the others are; cluster: theirs. */
static void print_row(FILE *out, const struct status_node *n, const char *cluster)
{
    bool colours = out == stdout;
    if (n->fields == NULL) {
        char id[24] = "?";
        if (n->id != 0) (void)snprintf(id, sizeof id, "%" PRIu64, n->id);
        (void)fprintf(out, "  %4s %s%-13s%s %s  %s\n", id, colours ? print_colour(PRINT_RED) : "",
                      "unreachable", colours ? print_end() : "", n->client, n->error);
        return;
    }
    const char *role = status_text(n, "role"), *health = status_text(n, "health");
    bool leads = strcmp(role, "leader") == 0, well = strcmp(health, "ok") == 0;
    char contact[32] = "-", other[64] = "";
    const char *own = status_text(n, "cluster_id");
    bool none = own[strspn(own, "0")] == '\0'; /* it waits to be added to one */
    if (!none && strcmp(own, cluster) != 0)
        (void)snprintf(other, sizeof other, "  of another cluster: %.32s", own);
    if (!leads && status_text(n, "last_contact_ms")[0] != '\0')
        (void)snprintf(contact, sizeof contact, "%s ms", status_text(n, "last_contact_ms"));
    (void)fprintf(
        out, "%s %4s %s%-13s%s %s%-9.9s%s %6s %9s %9s %9s %9s  %s%s%s%s%s\n", leads ? "*" : " ",
        status_text(n, "node_id"), colours && leads ? print_colour(PRINT_GREEN) : "", role_shown(n),
        colours && leads ? print_end() : "", colours && !well ? print_colour(PRINT_RED) : "",
        health, colours && !well ? print_end() : "", status_text(n, "term"),
        status_text(n, "last_index"), status_text(n, "commit_index"),
        status_text(n, "applied_index"), contact, n->client,
        strcmp(status_text(n, "drained"), "yes") == 0 ? "  drained:yes" : "", other,
        status_text(n, "reason")[0] != '\0' ? "  " : "", status_text(n, "reason"));
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* Has one of the nodes before `node` said so, too? */
static bool told_before(const struct status_node *nodes, size_t node, const char *address)
{
    for (size_t i = 0; i < node; i++) {
        const json_t *list = json_object_get(nodes[i].fields, "knocking");
        for (size_t k = 0; k < json_array_size(list); k++)
            if (strcmp(text_of(json_array_get(list, k), "address"), address) == 0) return true;
    }
    return false;
}

/* Who asks to join asks several of them. */
static void print_knocking(FILE *out, const struct status_node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *list = json_object_get(nodes[i].fields, "knocking");
        for (size_t k = 0; k < json_array_size(list); k++) {
            const json_t *knock = json_array_get(list, k);
            const char *id = text_of(knock, "id"), *address = text_of(knock, "address");
            bool named = strcmp(id, "auto") != 0;
            if (told_before(nodes, i, address)) continue;
            (void)fprintf(out, "%s%s at %s asks to join: kelp members add %s%s%s\n",
                          named ? "node " : "a node", named ? id : "", address, id,
                          named ? "" : " ", named ? "" : address);
        }
    }
}

void status_print(FILE *out, const struct status_node *nodes, size_t count)
{
    const char *cluster = "";
    for (size_t i = count; i > 0; i--)
        if (nodes[i - 1].fields != NULL) cluster = status_text(&nodes[i - 1], "cluster_id");
    print_whole(out, nodes, count);
    (void)fprintf(out, "  %4s %-13s %-9s %6s %9s %9s %9s %9s  %s\n", "node", "role", "health",
                  "term", "last", "commit", "applied", "contact", "client");
    for (size_t i = 0; i < count; i++)
        print_row(out, &nodes[i], cluster);
    print_knocking(out, nodes, count);
}

/* ---- for programs ------------------------------------------------------------------------ */

/* Texts that are exact numbers become numbers; what only looks like one stays text. */
static json_t *typed(const json_t *fields)
{
    static const char *const texts[] = {"version", "cluster_id", "epoch",    "incarnation",
                                        "reason",  "voters",     "witnesses"};
    json_t *out = json_object();
    const char *name;
    json_t *value;
    void *at = json_object_iter((json_t *)(uintptr_t)fields); /* jansson's iterators only read */
    for (; at != NULL; at = json_object_iter_next((json_t *)(uintptr_t)fields, at)) {
        name = json_object_iter_key(at);
        value = json_object_iter_value(at);
        const char *text = json_string_value(value);
        int64_t number;
        bool named = false;
        for (size_t i = 0; i < COUNT_OF(texts); i++)
            named = named || strcmp(name, texts[i]) == 0;
        if (json_is_array(value)) {
            json_t *list = json_array();
            for (size_t i = 0; i < json_array_size(value); i++)
                (void)json_array_append_new(list, typed(json_array_get(value, i)));
            (void)json_object_set_new(out, name, list);
        } else if (text != NULL && !named && decimal_parse(bytes_of(text, strlen(text)), &number) &&
                   number <= EXACT_MAX && number >= -EXACT_MAX) {
            (void)json_object_set_new(out, name, json_integer(number));
        } else {
            (void)json_object_set(out, name, value);
        }
    }
    return out;
}

json_t *status_id_json(uint64_t id)
{
    char text[24];
    if (id <= (uint64_t)EXACT_MAX) return json_integer((json_int_t)id);
    (void)snprintf(text, sizeof text, "%" PRIu64, id);
    return json_string(text);
}

json_t *status_json(const struct status_node *nodes, size_t count)
{
    struct leaderless why;
    json_t *top = NULL, *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *one;
        if (nodes[i].fields != NULL) {
            one = typed(nodes[i].fields);
            (void)json_object_set_new(one, "client", json_string(nodes[i].client));
            if (top == NULL) top = json_copy(one);
        } else {
            one = json_pack("{ss ss}", "client", nodes[i].client, "error", nodes[i].error);
            if (nodes[i].id != 0)
                (void)json_object_set_new(one, "node_id", status_id_json(nodes[i].id));
        }
        (void)json_array_append_new(list, one);
    }
    if (top == NULL) top = json_object();
    leaderless_find(nodes, count, &why);
    if (why.so) (void)json_object_set_new(top, "leaderless", leaderless_json(&why));
    (void)json_object_set_new(top, "nodes", list);
    return top;
}

/* ---- which nodes ------------------------------------------------------------------------- */

struct place {
    char at[CLI_ADDRESS_MAX];
    uint64_t id; /* 0: not known */
};

static size_t add_address(struct place *list, size_t count, const char *at, size_t len, uint64_t id)
{
    if (len == 0 || len >= CLI_ADDRESS_MAX) return count;
    for (size_t i = 0; i < count; i++) {
        if (strlen(list[i].at) != len || memcmp(list[i].at, at, len) != 0) continue;
        if (list[i].id == 0) list[i].id = id;
        return count;
    }
    if (count == STATUS_NODES_MAX) return count;
    (void)snprintf(list[count].at, sizeof list[count].at, "%.*s", (int)len, at);
    list[count].id = id;
    return count + 1;
}

/* A name in CLUSTER NODES ends with the node's id, in 16 hexadecimal digits. */
static uint64_t id_of(const char *name, size_t len)
{
    uint64_t id = 0;
    char digits[17];
    if (len < sizeof digits) return 0;
    (void)snprintf(digits, sizeof digits, "%.*s", 16, name + len - 16);
    return sscanf(digits, "%16" SCNx64, &id) == 1 ? id : 0;
}

/* Each line of CLUSTER NODES is "name host:port@bus flags ...". */
static size_t add_members(struct place *list, size_t count, const char *lines)
{
    while (*lines != '\0') {
        const char *from = lines + strcspn(lines, " \n");
        if (*from == ' ') {
            uint64_t id = id_of(lines, (size_t)(from - lines));
            from++;
            size_t len = strcspn(from, "@, \n");
            if (len > 0 && from[0] != ':' && from[len - 1] != ':')
                count = add_address(list, count, from, len, id);
        }
        lines += strcspn(lines, "\n");
        if (*lines == '\n') lines++;
    }
    return count;
}

static size_t find_nodes(const char *at, struct place *list)
{
    size_t count = 0;
    for (const char *from = at; *from != '\0';) {
        size_t len = strcspn(from, ",");
        count = add_address(list, count, from, len, 0);
        from += len + (from[len] == ',');
    }
    struct client c;
    client_init(&c, STATUS_TIMEOUT_MS);
    c.harmless = true;
    redisReply *reply = client_connect_any(&c, at) ? client_line(&c, "CLUSTER NODES") : NULL;
    if (reply != NULL && reply->type == REDIS_REPLY_STRING)
        count = add_members(list, count, reply->str);
    if (reply != NULL) freeReplyObject(reply);
    client_close(&c);
    return count;
}

/* ---- the verb ---------------------------------------------------------------------------- */

static int show_once(const struct verb *verb, const char *at, bool json, bool clear)
{
    static struct place list[STATUS_NODES_MAX];
    static struct status_node nodes[STATUS_NODES_MAX];
    size_t count = find_nodes(at, list), answered = 0;
    for (size_t i = 0; i < count; i++) {
        answered += status_ask(list[i].at, STATUS_TIMEOUT_MS, &nodes[i]);
        nodes[i].id = list[i].id;
    }
    int status = answered > 0 ? CLI_DONE : CLI_FAILED;
    if (clear) (void)fputs("\033[H\033[2J", stdout);
    if (json && answered > 0)
        status = print_json(verb, status_json(nodes, count));
    else if (answered > 0)
        status_print(stdout, nodes, count);
    else
        (void)cli_error(verb, CLI_FAILED, "no node answers: %s: %s", count > 0 ? list[0].at : at,
                        count > 0 ? nodes[0].error : "no address");
    (void)fflush(stdout);
    for (size_t i = 0; i < count; i++)
        status_forget(&nodes[i]);
    return status;
}

int status_verb(const struct verb *verb, int argc, char **argv)
{
    const char *at;
    bool json = false, watch = false;
    const struct flag flags[] = {
        client_flag(&at),
        {.name = "watch", .kind = FLAG_SWITCH, .to.on = &watch, .words = "again and again"},
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &json, .words = "one JSON object a time"},
    };
    int status;
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status) ||
        !flags_words_check(verb, argc, argv, 0, 0, &status) || !client_check(verb, at, &status))
        return status;
    do {
        status = show_once(verb, at, json, watch && !json && print_terminal());
        struct timespec pause = {.tv_nsec = WATCH_MS * 1000000};
        if (watch) (void)nanosleep(&pause, NULL);
    } while (watch && !ferror(stdout));
    return status;
}
