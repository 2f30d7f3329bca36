/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - the settings of a server: one table that everything else is made from.
 *
 * Flags, --set, the YAML file, CONFIG GET and SET, and the documentation all read settings_table. A
 * value is text until settings_set has parsed and ranged it; what several settings must fulfil
 * together is in settings_check. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include <stdio.h>

#include "kelp/types.h"

#define SETTINGS_MAX       64u  /* more than the table has */
#define SETTINGS_ERROR_MAX 512u /* one line that says what is wrong */

/* Where a value in force was said. */
enum setting_origin {
    ORIGIN_DEFAULT = 0,
    ORIGIN_FILE,
    ORIGIN_FLAG,
    ORIGIN_CLIENT /* CONFIG SET */
};

struct setting_source {
    enum setting_origin origin;
    unsigned line; /* of the file; 0: not known */
};

enum on_follower { ON_FOLLOWER_FORWARD = 0, ON_FOLLOWER_MOVED = 1 };

struct settings {
    uint64_t id;
    char *data, *client, *peer, *http; /* text is owned */
    char *advertise_client, *advertise_peer, *advertise_http;
    char *bootstrap, *join, *peer_at;
    uint64_t log_level, log_format, on_follower; /* places in the setting's words */
    uint64_t request_timeout_ms, change_timeout_ms, heartbeat_ms, election_ms, election_max_ms,
        disk_stall_ms, lease_ms, drift_ppm;
    uint64_t remove_unseen_s, remove_voters_min, join_healthy_ms;
    uint64_t when_removed;                       /* 1: stop */
    uint64_t pre_vote, check_quorum, stickiness; /* 0: off */
    uint64_t entry_bytes_max, inflight_bytes, inflight_messages, uncommitted_bytes, unapplied_bytes;
    uint64_t cache_bytes, forward_bytes, segment_bytes;
    uint64_t snapshot_log_bytes, snapshot_log_ratio, snapshot_entries, snapshot_interval_ms;
    uint64_t snapshots_kept, trailing_entries, log_hold_bytes, snapshot_send_bytes;
    uint64_t connections_max, requests_max, request_bytes, client_requests_max, client_output_bytes;
    uint64_t client_stall_ms, answer_bytes;
    uint64_t http_connections_max, http_body_bytes_max;
    /* what requests_max was when the tables of the core were made, which are never made larger; 0:
     * they are not made yet. No setting: who runs carries it over. */
    uint64_t requests_room;
    struct setting_source sources[SETTINGS_MAX]; /* by place in the table */
};

enum setting_type { SETTING_NUMBER, SETTING_TEXT, SETTING_CHOICE };

enum setting_flag {
    SETTING_FLAG = 1, /* has a flag of its own on the command line */
    SETTING_LIVE = 2, /* CONFIG SET and a reload may change it */
};

struct setting {
    const char *key;
    enum setting_type type;
    unsigned flags;
    const char *unit;     /* ms, bytes, ..; of text: how it is written */
    const char *standard; /* the default */
    uint64_t low, high;   /* of a number */
    const char *words; /* of a choice: "one|two"; of a number: the one word it may be, high + 1 */
    size_t offset;     /* in struct settings */
    const char *sentence;
};

extern const struct setting settings_table[];
extern const size_t settings_count;

/* settings_init - the defaults; false: no memory. settings_close frees. */
bool settings_init(struct settings *s);
void settings_close(struct settings *s);

/* settings_copy - an independent copy; false: no memory. */
bool settings_copy(const struct settings *from, struct settings *to);

const struct setting *settings_find(struct kelp_bytes key); /* in any case; NULL: there is none */

/* settings_set - parse a value into its place. false: *s is as it was and error says key, value and
 * range. */
bool settings_set(struct settings *s, const struct setting *row, const char *value, char *error);

/* settings_value - the value as text that settings_set takes; returns its length, cut to size. */
size_t settings_value(const struct settings *s, const struct setting *row, char *out, size_t size);

/* settings_check - every rule that concerns several settings, or what a server cannot start
 * without. */
bool settings_check(const struct settings *s, char *error);

/* settings_clients_room - so many Redis clients may be there at once where the system lets this
 * process open so many descriptors: connections-max, or what peers, HTTP and the files of the log
 * leave. Clients must not be able to take the descriptor that the log needs next. */
uint64_t settings_clients_room(const struct settings *s, uint64_t descriptors);

/* settings_source - where the value was said; settings_say writes it down. */
struct setting_source settings_source(const struct settings *s, const struct setting *row);
void settings_say(struct settings *s, const struct setting *row, struct setting_source source);

#define SETTING_TEXT_MAX 32u /* a number or the word of a choice */

struct setting_change { /* of a live setting, which is never text */
    const struct setting *row;
    char old[SETTING_TEXT_MAX], now[SETTING_TEXT_MAX];
};

/* settings_changes - what differs between the settings in force and others that were checked.
 * false: one or more need a restart, also requests-max above force->requests_room; error names them
 * all, as far as it has room. The id that a server was given is kept by next. */
bool settings_changes(const struct settings *force, const struct settings *next,
                      struct setting_change out[SETTINGS_MAX], size_t *count, char *error);

/* settings_print - the table for people, for the manual. */
void settings_print(FILE *out);

#endif
