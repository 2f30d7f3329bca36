/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - the table of settings, parsing one, checking all; see config.h. */
#include "server/config.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/decimal.h"
#include "base/min.h"
#include "kelp/core.h"
#include "server/endpoint.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

#define NUMBER(key_, flags_, unit_, standard_, low_, high_, field_, sentence_)                     \
    {                                                                                              \
        .key = (key_), .type = SETTING_NUMBER, .flags = (flags_), .unit = (unit_),                 \
        .standard = (standard_), .low = (low_), .high = (high_),                                   \
        .offset = offsetof(struct settings, field_), .sentence = (sentence_)                       \
    }
#define TEXT(key_, flags_, form_, standard_, field_, sentence_)                                    \
    {                                                                                              \
        .key = (key_), .type = SETTING_TEXT, .flags = (flags_), .unit = (form_),                   \
        .standard = (standard_), .offset = offsetof(struct settings, field_),                      \
        .sentence = (sentence_)                                                                    \
    }
#define CHOICE(key_, flags_, words_, standard_, field_, sentence_)                                 \
    {                                                                                              \
        .key = (key_), .type = SETTING_CHOICE, .flags = (flags_), .unit = "",                      \
        .standard = (standard_), .words = (words_), .offset = offsetof(struct settings, field_),   \
        .sentence = (sentence_)                                                                    \
    }

/* clang-format off */
const struct setting settings_table[] = {
    {.key = "id", .type = SETTING_NUMBER, .flags = SETTING_FLAG, .unit = "", .standard = "0",
     .low = 1, .high = INT64_MAX, .words = "auto", .offset = offsetof(struct settings, id),
     .sentence = "This node's number, never used again once it was removed; auto: the one in its "
                 "directory, or the next free one, given when it is added"},
    TEXT("data", SETTING_FLAG, "DIR", "", data,
         "Directory of this node's log and identity; made with its parents"),
    TEXT("client", SETTING_FLAG, "HOST:PORT", "127.0.0.1:7001", client,
         "Where Redis clients connect"),
    TEXT("peer", SETTING_FLAG, "HOST:PORT", "127.0.0.1:7101", peer,
         "Where other members connect"),
    TEXT("http", SETTING_FLAG, "HOST:PORT", "127.0.0.1:7201", http,
         "Where HTTP clients connect"),
    TEXT("advertise-client", SETTING_FLAG, "HOST:PORT", "", advertise_client,
         "What clients are told to connect to; the client address if empty"),
    TEXT("advertise-peer", SETTING_FLAG, "HOST:PORT", "", advertise_peer,
         "What other members dial; the peer address if empty"),
    TEXT("advertise-http", SETTING_FLAG, "HOST:PORT", "", advertise_http,
         "What HTTP clients are sent to; the http address if empty"),
    TEXT("bootstrap", SETTING_FLAG, "ID=HOST:PORT,...", "", bootstrap,
         "Everybody who founds the cluster together; may stay for ever"),
    TEXT("join", SETTING_FLAG, "HOST:PORT,...", "", join,
         "Peers of a running cluster: an empty node says there that it waits to be added"),
    TEXT("peer-at", SETTING_FLAG, "ID=HOST:PORT,...", "", peer_at,
         "Dial these members there, whatever the configuration says, and have it say where this "
         "node is"),
    CHOICE("log-level", SETTING_FLAG | SETTING_LIVE, "error|warn|info|debug", "info", log_level,
           "How much is logged; events of consensus at debug only if set at start"),
    CHOICE("log-format", SETTING_FLAG | SETTING_LIVE, "text|json", "text", log_format,
           "How log lines are written"),
    CHOICE("on-follower", SETTING_LIVE, "forward|moved", "forward", on_follower,
           "What a follower does with a request: pass it on, or name the leader"),
    NUMBER("request-timeout-ms", SETTING_LIVE, "ms", "5000", 10, 600000, request_timeout_ms,
           "The whole deadline of a request"),
    NUMBER("change-timeout-ms", SETTING_LIVE, "ms", "60000", 10, 86400000, change_timeout_ms,
           "The whole deadline of a change of the members; a new voter must catch up within it"),
    NUMBER("heartbeat-ms", 0, "ms", "100", 1, 60000, heartbeat_ms,
           "Leader to followers when there is nothing else to send"),
    NUMBER("election-ms", 0, "ms", "1000", 10, 600000, election_ms,
           "A follower that hears no leader for so long stands for election, at the earliest"),
    NUMBER("election-max-ms", 0, "ms", "0", 0, 1200000, election_max_ms,
           "The same at the latest; 0: twice election-ms"),
    NUMBER("disk-stall-ms", 0, "ms", "0", 0, 600000, disk_stall_ms,
           "A leader whose save takes so long hands over, twice as long: steps down; 0: "
           "election-ms, at least 1000"),
    NUMBER("remove-unseen-s", 0, "s", "0", 0, 31536000, remove_unseen_s,
           "A leader removes a voter not heard for so long, if enough stay and a quorum of those "
           "answers; 0: never"),
    NUMBER("remove-voters-min", 0, "voters", "3", 1, 32, remove_voters_min,
           "So many voters stay when one is removed because it was not heard"),
    NUMBER("join-healthy-ms", 0, "ms", "0", 0, 86400000, join_healthy_ms,
           "A new voter that has caught up must be well for so long before its vote"),
    CHOICE("when-removed", 0, "stay|stop", "stay", when_removed,
           "What a node does that was removed: say so in its status, or stop with status 0"),
    NUMBER("lease-ms", 0, "ms", "0", 0, 600000, lease_ms,
           "A leader serves reads of level lease so long after a quorum heard it; 0: never"),
    NUMBER("drift-ppm", 0, "ppm", "1000", 0, 1000000, drift_ppm,
           "No two members' clocks drift further apart; leases rely on it"),
    CHOICE("pre-vote", 0, "off|on", "on", pre_vote,
           "Elections start with the question whether they could be won"),
    CHOICE("check-quorum", 0, "off|on", "on", check_quorum,
           "A leader that hears no quorum steps down"),
    CHOICE("stickiness", 0, "off|on", "on", stickiness,
           "No vote is given while a leader is heard"),
    NUMBER("entry-bytes-max", 0, "bytes", "8519680", 256 * KIB, 8519680, entry_bytes_max,
           "The largest log entry, 128 KiB of envelope included"),
    NUMBER("inflight-bytes", 0, "bytes", "16777216", 64 * KIB, GIB, inflight_bytes,
           "Unanswered entry bytes on the way to one member"),
    NUMBER("inflight-messages", 0, "messages", "256", 1, 4096, inflight_messages,
           "Unanswered appends on the way to one member"),
    NUMBER("uncommitted-bytes", 0, "bytes", "67108864", MIB, 16 * GIB, uncommitted_bytes,
           "Appended and not yet committed; beyond it writes are refused"),
    NUMBER("unapplied-bytes", 0, "bytes", "33554432", MIB, 16 * GIB, unapplied_bytes,
           "Committed and not yet applied; beyond it writes are refused"),
    NUMBER("cache-bytes", 0, "bytes", "67108864", MIB, 64 * GIB, cache_bytes,
           "Log entries kept in memory"),
    NUMBER("forward-bytes", 0, "bytes", "67108864", MIB, 16 * GIB, forward_bytes,
           "Requests that wait for a leader or are forwarded to it"),
    NUMBER("segment-bytes", 0, "bytes", "67108864", MIB, GIB, segment_bytes,
           "One file of the log"),
    NUMBER("snapshot-log-bytes", SETTING_LIVE, "bytes", "67108864", 0, 1024 * GIB,
           snapshot_log_bytes,
           "A snapshot is taken when the log has grown by so much since the last; 0: not for that"),
    NUMBER("snapshot-log-ratio", SETTING_LIVE, "times", "4", 0, 1000, snapshot_log_ratio,
           ".. and by so many times the size of the last snapshot"),
    NUMBER("snapshot-entries", SETTING_LIVE, "entries", "0", 0, INT64_MAX, snapshot_entries,
           "A snapshot is taken after so many entries; 0: not for that"),
    NUMBER("snapshot-interval-ms", SETTING_LIVE, "ms", "0", 0, 31536000000, snapshot_interval_ms,
           "A snapshot is taken after so long if anything was written; 0: not for that"),
    NUMBER("snapshots-kept", 0, "snapshots", "2", 1, 16, snapshots_kept,
           "The newest snapshots that stay on disk"),
    NUMBER("trailing-entries", 0, "entries", "4096", 0, INT64_MAX, trailing_entries,
           "Log entries that stay below a snapshot for members that are a little behind"),
    NUMBER("log-hold-bytes", 0, "bytes", "1073741824", 0, 1024 * GIB, log_hold_bytes,
           "Log that stays besides for members that are heard and further behind; beyond it they "
           "get a snapshot"),
    NUMBER("snapshot-send-bytes", SETTING_LIVE, "bytes/s", "0", 0, 1024 * GIB, snapshot_send_bytes,
           "Bytes a second of snapshots that are sent to all members together; 0: no limit"),
    NUMBER("connections-max", SETTING_LIVE, "connections", "10000", 1, 1000000, connections_max,
           "Redis clients at once, fewer where the system allows few open files; more are refused"),
    NUMBER("requests-max", SETTING_LIVE, "requests", "4096", 1, 16384, requests_max,
           "Open requests of all clients; beyond it their connections are not read; live up to "
           "what it was at the start"),
    NUMBER("request-bytes", SETTING_LIVE, "bytes", "33554432", MIB, 16 * GIB, request_bytes,
           "Bytes of open requests of all clients; beyond it their connections are not read"),
    NUMBER("client-requests-max", SETTING_LIVE, "requests", "1024", 1, 16384, client_requests_max,
           "Open requests of one client; beyond it its connection is not read"),
    NUMBER("client-output-bytes", SETTING_LIVE, "bytes", "67108864", MIB, GIB,
           client_output_bytes, "Answers a client has not taken; beyond it it is disconnected"),
    NUMBER("client-stall-ms", SETTING_LIVE, "ms", "30000", 1000, 3600000, client_stall_ms,
           "A client that takes none of its answers for so long is disconnected"),
    NUMBER("answer-bytes", 0, "bytes", "268435456", MIB, 64 * GIB, answer_bytes,
           "Answers of all clients that are not taken; beyond it reads wait"),
    NUMBER("http-body-bytes-max", SETTING_LIVE, "bytes", "8388608", 0, 8388608, http_body_bytes_max,
           "The largest body of an HTTP request"),
    NUMBER("http-connections-max", 0, "connections", "256", 1, 100000, http_connections_max,
           "HTTP clients connected at once; the idlest gives way to a new one"),
};
/* clang-format on */

const size_t settings_count = sizeof settings_table / sizeof settings_table[0];
_Static_assert(sizeof settings_table / sizeof settings_table[0] <= SETTINGS_MAX, "room for all");

/* ---- one setting ------------------------------------------------------------------------- */

static void *place(struct settings *s, const struct setting *row)
{
    return (char *)s + row->offset;
}

static const void *place_const(const struct settings *s, const struct setting *row)
{
    return (const char *)s + row->offset;
}

const struct setting *settings_find(struct kelp_bytes key)
{
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *row = &settings_table[i];
        if (strlen(row->key) == key.len &&
            strncasecmp(row->key, (const char *)key.data, key.len) == 0)
            return row;
    }
    return NULL;
}

/* The place of a word in "one|two|three", or -1. */
static int choice_find(const char *words, const char *value)
{
    size_t len = strlen(value);
    int at = 0;
    for (const char *word = words; word != NULL; at++) {
        const char *end = strchr(word, '|');
        size_t word_len = end != NULL ? (size_t)(end - word) : strlen(word);
        if (word_len == len && strncasecmp(word, value, len) == 0) return at;
        word = end != NULL ? end + 1 : NULL;
    }
    return -1;
}

static struct kelp_bytes choice_word(const char *words, uint64_t at)
{
    const char *word = words;
    for (; at > 0 && word != NULL; at--) {
        word = strchr(word, '|');
        if (word != NULL) word++;
    }
    ASSERT(word != NULL); /* only settings_set writes choices */
    return bytes_of(word, strcspn(word, "|"));
}

bool settings_set(struct settings *s, const struct setting *row, const char *value, char *error)
{
    int64_t number = 0;
    char *text = NULL;
    switch (row->type) {
    case SETTING_NUMBER:
        if (row->words != NULL && strcasecmp(value, row->words) == 0) {
            *(uint64_t *)place(s, row) = row->high + 1;
            return true;
        }
        if (!decimal_parse(bytes_of(value, strlen(value)), &number) || number < 0 ||
            (uint64_t)number < row->low || (uint64_t)number > row->high) {
            const char *more = row->words != NULL ? row->words : row->unit;
            (void)snprintf(error, SETTINGS_ERROR_MAX, "%s %.100s: must be %llu..%llu%s%s", row->key,
                           value, (unsigned long long)row->low, (unsigned long long)row->high,
                           row->words != NULL ? " or " : (more[0] != '\0' ? " " : ""), more);
            return false;
        }
        *(uint64_t *)place(s, row) = (uint64_t)number;
        return true;
    case SETTING_CHOICE:
        number = choice_find(row->words, value);
        if (number < 0) {
            (void)snprintf(error, SETTINGS_ERROR_MAX, "%s %.100s: must be one of %s", row->key,
                           value, row->words);
            return false;
        }
        *(uint64_t *)place(s, row) = (uint64_t)number;
        return true;
    case SETTING_TEXT:
        text = strdup(value);
        if (text == NULL) {
            (void)snprintf(error, SETTINGS_ERROR_MAX, "%s: %s", row->key,
                           kelp_strerror(KELP_E_NO_MEMORY));
            return false;
        }
        free(*(char **)place(s, row));
        *(char **)place(s, row) = text;
        return true;
    }
    UNREACHABLE();
}

size_t settings_value(const struct settings *s, const struct setting *row, char *out, size_t size)
{
    int len = 0;
    struct kelp_bytes word;
    switch (row->type) {
    case SETTING_NUMBER: {
        uint64_t number = *(const uint64_t *)place_const(s, row);
        if (number > row->high)
            len = snprintf(out, size, "%s", row->words);
        else
            len = snprintf(out, size, "%llu", (unsigned long long)number);
        break;
    }
    case SETTING_TEXT: len = snprintf(out, size, "%s", *(char *const *)place_const(s, row)); break;
    case SETTING_CHOICE:
        word = choice_word(row->words, *(const uint64_t *)place_const(s, row));
        len = snprintf(out, size, "%.*s", (int)word.len, (const char *)word.data);
        break;
    }
    return (size_t)len < size ? (size_t)len : size - 1;
}

/* Peers, also those that nobody asked for; what the store, its reader and the libraries hold. */
#define PEERS_DESCRIPTORS 320u
#define FILES_DESCRIPTORS 64u

uint64_t settings_clients_room(const struct settings *s, uint64_t descriptors)
{
    uint64_t own = PEERS_DESCRIPTORS + FILES_DESCRIPTORS + s->http_connections_max;
    uint64_t left = descriptors > own ? descriptors - own : 0;
    return min_u64(s->connections_max, max_u64(left, max_u64(descriptors / 8, 1)));
}

struct setting_source settings_source(const struct settings *s, const struct setting *row)
{
    ASSERT(row >= settings_table && row < settings_table + settings_count);
    return s->sources[row - settings_table];
}

void settings_say(struct settings *s, const struct setting *row, struct setting_source source)
{
    ASSERT(row >= settings_table && row < settings_table + settings_count);
    s->sources[row - settings_table] = source;
}

/* ---- all of them ------------------------------------------------------------------------- */

bool settings_init(struct settings *s)
{
    char error[SETTINGS_ERROR_MAX];
    *s = (struct settings){0};
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *row = &settings_table[i];
        /* what must be given has a standard that is none of its values; settings_check asks */
        if (row->offset == offsetof(struct settings, id)) continue;
        if (!settings_set(s, row, row->standard, error)) return false;
    }
    return true;
}

void settings_close(struct settings *s)
{
    for (size_t i = 0; i < settings_count; i++) {
        if (settings_table[i].type != SETTING_TEXT) continue;
        char **text = place(s, &settings_table[i]);
        free(*text);
        *text = NULL;
    }
}

bool settings_copy(const struct settings *from, struct settings *to)
{
    *to = *from;
    bool all = true;
    for (size_t i = 0; i < settings_count; i++) {
        if (settings_table[i].type != SETTING_TEXT) continue;
        char **text = place(to, &settings_table[i]);
        *text = strdup(*text);
        if (*text == NULL) all = false;
    }
    if (!all) settings_close(to);
    return all;
}

/* A listening address must be right, and one that nobody can dial needs another that is told. */
static bool listen_check(const char *key, const char *value, const char *advertised, char *error)
{
    struct endpoint at;
    if (!endpoint_split(value, &at)) {
        (void)snprintf(error, SETTINGS_ERROR_MAX, "%s %.100s: must be HOST:PORT, port 1..65535",
                       key, value);
        return false;
    }
    if (advertised[0] == '\0') {
        if (!endpoint_any(&at)) return true;
        (void)snprintf(error, SETTINGS_ERROR_MAX,
                       "%s %.100s: nobody can dial that; advertise-%s must be set", key, value,
                       key);
        return false;
    }
    if (endpoint_split(advertised, &at) && !endpoint_any(&at)) return true;
    (void)snprintf(error, SETTINGS_ERROR_MAX,
                   "advertise-%s %.100s: must be HOST:PORT that others can dial", key, advertised);
    return false;
}

static bool list_check(const char *key, const char *list, kelp_id self, bool *has_self, char *error)
{
    char words[256];
    const char *wrong = endpoint_list_check(list, self, has_self, words, sizeof words);
    if (wrong == NULL) return true;
    (void)snprintf(error, SETTINGS_ERROR_MAX, "%s: %s", key, wrong);
    return false;
}

static bool join_check(const char *list, char *error)
{
    for (const char *item = list; item != NULL;) {
        size_t len = strcspn(item, ",");
        char text[ENDPOINT_TEXT_MAX] = "";
        struct endpoint at;
        if (len < sizeof text) memcpy(text, item, len);
        if (!endpoint_split(text, &at)) {
            (void)snprintf(error, SETTINGS_ERROR_MAX, "join %.*s: must be HOST:PORT,...",
                           (int)(len < 160 ? len : 160), item);
            return false;
        }
        item = item[len] == ',' ? item + len + 1 : NULL;
    }
    return true;
}

static bool members_check(const struct settings *s, char *error)
{
    bool has_self = false;
    if (s->join[0] != '\0' && !join_check(s->join, error)) return false;
    if (s->join[0] != '\0' && s->bootstrap[0] != '\0') {
        (void)snprintf(error, SETTINGS_ERROR_MAX,
                       "join %.100s: who joins a cluster does not found it; must stand without "
                       "bootstrap",
                       s->join);
        return false;
    }
    if (s->peer_at[0] != '\0' && !list_check("peer-at", s->peer_at, s->id, &has_self, error))
        return false;
    if (s->bootstrap[0] == '\0') return true;
    if (!list_check("bootstrap", s->bootstrap, s->id, &has_self, error)) return false;
    if (has_self) return true;
    (void)snprintf(error, SETTINGS_ERROR_MAX, "bootstrap %.200s: must name this node, id %llu",
                   s->bootstrap, (unsigned long long)s->id);
    return false;
}

/* One rule between two numbers: what low demands must not be above high. */
static bool order_check(const char *low_key, uint64_t low, uint64_t demands, const char *demand,
                        const char *high_key, uint64_t high, char *error)
{
    if (demands <= high) return true;
    (void)snprintf(error, SETTINGS_ERROR_MAX, "%s %llu: %s must be at most %s, which is %llu",
                   low_key, (unsigned long long)low, demand, high_key, (unsigned long long)high);
    return false;
}

/* Over on the slowest clock before a voter with the fastest may vote again; the arithmetic is
 * shown, since any of the three may be the wrong one. */
static bool lease_check(const struct settings *s, char *error)
{
    const kelp_ns ms = 1000000;
    kelp_ns max = kelp_lease_max(s->election_ms * ms, (uint32_t)s->drift_ppm);
    if (s->lease_ms > 0 && s->stickiness == 0) {
        (void)snprintf(error, SETTINGS_ERROR_MAX,
                       "lease-ms %llu: a lease relies on stickiness, which is off",
                       (unsigned long long)s->lease_ms);
        return false;
    }
    if (s->lease_ms * ms <= max) return true;
    (void)snprintf(error, SETTINGS_ERROR_MAX,
                   "lease-ms %llu: must be at most election-ms / (1 + drift-ppm / 1000000) = "
                   "%llu / (1 + %llu / 1000000) = %llu",
                   (unsigned long long)s->lease_ms, (unsigned long long)s->election_ms,
                   (unsigned long long)s->drift_ppm, (unsigned long long)(max / ms));
    return false;
}

static bool numbers_check(const struct settings *s, char *error)
{
    uint64_t election_max = s->election_max_ms != 0 ? s->election_max_ms : 2 * s->election_ms;
    return order_check("heartbeat-ms", s->heartbeat_ms, 2 * s->heartbeat_ms, "twice it",
                       "election-ms", s->election_ms, error) &&
           order_check("election-ms", s->election_ms, s->election_ms + 1, "it and 1 more",
                       "election-max-ms", election_max, error) &&
           (s->remove_unseen_s == 0 ||
            order_check("election-max-ms", election_max, 10 * election_max, "ten times it",
                        "remove-unseen-s in ms", 1000 * s->remove_unseen_s, error)) &&
           lease_check(s, error) &&
           order_check("entry-bytes-max", s->entry_bytes_max, 2 * s->entry_bytes_max, "twice it",
                       "uncommitted-bytes", s->uncommitted_bytes, error) &&
           order_check("entry-bytes-max", s->entry_bytes_max, 2 * s->entry_bytes_max, "twice it",
                       "cache-bytes", s->cache_bytes, error) &&
           order_check("entry-bytes-max", s->entry_bytes_max, s->entry_bytes_max, "it",
                       "forward-bytes", s->forward_bytes, error) &&
           order_check("entry-bytes-max", s->entry_bytes_max, s->entry_bytes_max, "it",
                       "unapplied-bytes", s->unapplied_bytes, error) &&
           order_check("client-requests-max", s->client_requests_max, s->client_requests_max, "it",
                       "requests-max", s->requests_max, error);
}

bool settings_check(const struct settings *s, char *error)
{
    if (s->id == 0) {
        (void)snprintf(error, SETTINGS_ERROR_MAX, "id 0: must be 1..%lld or auto (--id N)",
                       (long long)INT64_MAX);
        return false;
    }
    if (s->data[0] == '\0') {
        (void)snprintf(error, SETTINGS_ERROR_MAX, "data: must name a directory (--data DIR)");
        return false;
    }
    return listen_check("client", s->client, s->advertise_client, error) &&
           listen_check("peer", s->peer, s->advertise_peer, error) &&
           listen_check("http", s->http, s->advertise_http, error) && members_check(s, error) &&
           numbers_check(s, error);
}

/* ---- while a server runs ------------------------------------------------------------------- */

static bool same(const struct settings *a, const struct settings *b, const struct setting *row)
{
    if (row->type == SETTING_TEXT)
        return strcmp(*(char *const *)place_const(a, row), *(char *const *)place_const(b, row)) ==
               0;
    return *(const uint64_t *)place_const(a, row) == *(const uint64_t *)place_const(b, row);
}

/* "id: auto" is answered by whatever id the server has by now. */
static bool given_id(const struct settings *next, const struct setting *row)
{
    return row->offset == offsetof(struct settings, id) && next->id > row->high;
}

static void restart_add(char *error, const struct settings *force, const struct settings *next,
                        const struct setting *row)
{
    char old[64], now[64], above[64] = "";
    size_t len = strlen(error);
    if ((row->flags & SETTING_LIVE) != 0)
        (void)snprintf(above, sizeof above, ", above the %llu it was started with",
                       (unsigned long long)force->requests_room);
    (void)settings_value(force, row, old, sizeof old);
    (void)settings_value(next, row, now, sizeof now);
    (void)snprintf(error + len, SETTINGS_ERROR_MAX - len, "%s%s (\"%s\" -> \"%s\"%s)",
                   len > 0 ? ", " : "a restart is needed to change ", row->key, old, now, above);
}

/* The tables of the core were made for the requests-max of the start (server_node_options). Above
 * it clients would be read whose requests the core refuses as BUSY, instead of made to wait. */
static bool beyond_room(const struct settings *force, const struct settings *next,
                        const struct setting *row)
{
    return row->offset == offsetof(struct settings, requests_max) && force->requests_room != 0 &&
           next->requests_max > force->requests_room;
}

bool settings_changes(const struct settings *force, const struct settings *next,
                      struct setting_change out[SETTINGS_MAX], size_t *count, char *error)
{
    bool fine = true;
    *count = 0;
    error[0] = '\0';
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *row = &settings_table[i];
        if (same(force, next, row) || given_id(next, row)) continue;
        if ((row->flags & SETTING_LIVE) == 0 || beyond_room(force, next, row)) {
            restart_add(error, force, next, row);
            fine = false;
            continue;
        }
        struct setting_change *change = &out[(*count)++];
        change->row = row;
        (void)settings_value(force, row, change->old, sizeof change->old);
        (void)settings_value(next, row, change->now, sizeof change->now);
    }
    if (!fine) *count = 0;
    return fine;
}

void settings_print(FILE *out)
{
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *row = &settings_table[i];
        (void)fprintf(out, "%-22s %s%s", row->key, row->sentence,
                      (row->flags & SETTING_LIVE) != 0 ? " (live)" : "");
        switch (row->type) {
        case SETTING_NUMBER:
            (void)fprintf(out, " [%s%s%s, %llu..%llu]\n", row->standard,
                          row->unit[0] != '\0' ? " " : "", row->unit, (unsigned long long)row->low,
                          (unsigned long long)row->high);
            break;
        case SETTING_TEXT: (void)fprintf(out, " [%s]\n", row->standard); break;
        case SETTING_CHOICE: (void)fprintf(out, " [%s of %s]\n", row->standard, row->words); break;
        }
    }
}
