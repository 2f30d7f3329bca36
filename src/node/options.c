/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - what the user asked for: copied, completed, checked; the error names what and why.
 *
 * Lists are "ID=HOST:PORT,ID=HOST:PORT". Rules about the members themselves (no id twice, self
 * among them) are the driver's; here is only what text can be wrong about. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "node/room.h"

/* reads that may reach a leader in one turn: a burst of every member */
#define READS_A_TURN 16384u

struct kelp_node_options kelp_node_options_default(kelp_id id, const char *data)
{
    struct kelp_options raft = kelp_options_default(id, 0);
    raft.limits.answers_max = READS_A_TURN;
    return (struct kelp_node_options){
        .size = sizeof(struct kelp_node_options),
        .id = id,
        .data = data,
        .peer = "127.0.0.1:7101",
        .raft = raft,
        .request_timeout = 5 * SECOND,
        .segment_bytes = 64u * 1024 * 1024,
        .cache_bytes_max = 64u * 1024 * 1024,
        .forward_bytes_max = 64u * 1024 * 1024,
        .answer_bytes_max = 256u * 1024 * 1024,
        .snapshot_log_bytes = 64u * 1024 * 1024,
        .snapshot_log_ratio = 4,
        .snapshots_kept = 2,
        .forward = true,
        .log_level = KELP_INFO,
    };
}

static enum kelp_error wrong(struct kelp_fault *fault, const char *option, const char *value,
                             const char *rule)
{
    return fault_set(fault, KELP_E_ARGUMENT, option, "%s %s: %s", option, value, rule);
}

static enum kelp_error address_take(struct wire_address *out, const char *option, const char *text,
                                    struct kelp_fault *fault)
{
    if (strlen(text) >= sizeof out->text || !wire_address_check(text))
        return wrong(fault, option, text, "this is not HOST:PORT");
    (void)snprintf(out->text, sizeof out->text, "%s", text);
    return KELP_OK;
}

/* One "ID=HOST:PORT" up to the comma or the end; returns what follows, NULL on error. */
static const char *member_take(const char *at, struct driver_member *out)
{
    char *end;
    size_t len = strcspn(at, ",");
    uint64_t id = strtoull(at, &end, 10);
    if (at[0] < '0' || at[0] > '9' || id == 0 || id > WIRE_CHANGE_NUMBER_MAX || *end != '=')
        return NULL;
    const char *address = end + 1;
    if (address > at + len) return NULL;
    size_t address_len = (size_t)(at + len - address);
    if (address_len >= sizeof out->peer.text) return NULL;
    *out = (struct driver_member){.id = id};
    memcpy(out->peer.text, address, address_len);
    if (!wire_address_check(out->peer.text)) return NULL;
    return at[len] == ',' ? at + len + 1 : at + len;
}

static enum kelp_error members_take(struct driver_member *out, size_t *count, const char *option,
                                    const char *text, struct kelp_fault *fault)
{
    *count = 0;
    if (text == NULL) return KELP_OK;
    const char *at = text;
    do {
        if (*count == KELP_MEMBERS_MAX) return wrong(fault, option, text, "more than 32 members");
        at = member_take(at, &out[*count]);
        if (at == NULL)
            return wrong(fault, option, text, "this is not ID=HOST:PORT,... with ids of 1 to 2^62");
        ++*count;
    } while (*at != '\0');
    return KELP_OK;
}

/* "HOST:PORT,HOST:PORT"; the own address may be among them, so that all may have the same list. */
static enum kelp_error join_take(struct node *n, const char *text, struct kelp_fault *fault)
{
    n->join_count = 0;
    for (const char *at = text; at != NULL; at = strchr(at, ',')) {
        if (at != text) at++;
        struct wire_address one = {.text = ""};
        size_t len = strcspn(at, ",");
        if (len >= sizeof one.text) return wrong(fault, "join", text, "an address is too long");
        memcpy(one.text, at, len);
        if (!wire_address_check(one.text))
            return wrong(fault, "join", text, "this is not HOST:PORT,...");
        if (strcmp(one.text, n->peer.text) == 0 || strcmp(one.text, n->listen.text) == 0) continue;
        if (n->join_count == KELP_MEMBERS_MAX)
            return wrong(fault, "join", text, "more than 32 addresses");
        n->join[n->join_count++] = one;
    }
    return KELP_OK;
}

/* The host of an address; a wildcard or a name leaves the choice to the system. */
static void source_take(struct node *n, const char *address)
{
    const char *colon = strrchr(address, ':');
    size_t len = (size_t)(colon - address);
    if (address[0] == '[') {
        address++;
        len -= 2;
    }
    memcpy(n->source, address, len);
    n->source[len] = '\0';
}

static bool source_wildcard(const struct node *n)
{
    return strcmp(n->source, "0.0.0.0") == 0 || strcmp(n->source, "::") == 0;
}

static enum kelp_error addresses_take(struct node *n, const struct kelp_node_options *o,
                                      struct kelp_fault *fault)
{
    if (o->peer == NULL) return wrong(fault, "peer", "-", "an address to listen on is needed");
    enum kelp_error error = address_take(&n->listen, "peer", o->peer, fault);
    if (error != KELP_OK) return error;
    source_take(n, o->peer);
    if (o->advertise_peer != NULL)
        error = address_take(&n->peer, "advertise-peer", o->advertise_peer, fault);
    else if (source_wildcard(n))
        error = wrong(fault, "peer", o->peer, "a wildcard needs an advertised address beside it");
    else
        n->peer = n->listen;
    if (error == KELP_OK && o->advertise_client != NULL)
        error = address_take(&n->client, "advertise-client", o->advertise_client, fault);
    if (error == KELP_OK && o->advertise_http != NULL)
        error = address_take(&n->http, "advertise-http", o->advertise_http, fault);
    return error;
}

static enum kelp_error numbers_check(const struct kelp_node_options *o, struct kelp_fault *fault)
{
    if (o->id > WIRE_CHANGE_NUMBER_MAX)
        return wrong(fault, "id", "above 2^62", "no member can have such an id");
    if (o->id == 0 && o->bootstrap != NULL)
        return wrong(fault, "id", "0", "who founds a cluster with others needs an id above 0");
    if (o->join != NULL && o->bootstrap != NULL)
        return wrong(fault, "join", o->join, "who joins does not bootstrap: give one of the two");
    if (o->data == NULL || o->data[0] == '\0')
        return wrong(fault, "data", "-", "a directory is needed");
    if (o->request_timeout == 0) return wrong(fault, "request-timeout", "0", "it must be above 0");
    if (o->segment_bytes % 4096 != 0 || o->segment_bytes < UINT64_C(4) * 4096) {
        char text[24];
        (void)snprintf(text, sizeof text, "%" PRIu64, o->segment_bytes);
        return wrong(fault, "segment-bytes", text, "a multiple of 4096, at least 16384, is needed");
    }
    return KELP_OK;
}

enum kelp_error options_take(struct node *n, const struct kelp_node_options *options,
                             struct kelp_fault *fault)
{
    if (options->size == 0 || options->size > sizeof *options)
        return fault_set(fault, KELP_E_VERSION, "options",
                         "made for another version of the library");
    struct kelp_node_options o = kelp_node_options_default(options->id, options->data);
    memcpy(&o, options, options->size); /* what an older caller does not know keeps its default */
    enum kelp_error error = numbers_check(&o, fault);
    if (error == KELP_OK) error = addresses_take(n, &o, fault);
    if (error == KELP_OK)
        error = members_take(n->bootstrap, &n->bootstrap_count, "bootstrap", o.bootstrap, fault);
    if (error == KELP_OK)
        error = members_take(n->peer_at, &n->peer_at_count, "peer-at", o.peer_at, fault);
    if (error == KELP_OK) error = join_take(n, o.join, fault);
    if (error != KELP_OK) return error;
    o.raft.self = o.id;
    while (o.raft.seed == 0)
        o.raft.seed = node_random(n);
    o.size = sizeof o;
    o.peer = o.advertise_peer = o.advertise_client = o.advertise_http = NULL;
    o.data = o.bootstrap = o.join = o.peer_at = NULL; /* borrowed during the call only */
    n->options = o;
    return KELP_OK;
}
