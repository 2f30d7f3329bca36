/* SPDX-License-Identifier: Apache-2.0 */
/* server.c - the life of `kelp server`: settings, node, listeners, signals, and the way out.
 *
 *   STARTING --listening--> RUNNING --signal, refused--> STOPPING --node stopped, clients
 *                                                            dismissed (farewell.c)--> loop ends
 *
 * The loop runs on the node's threads, where signals are blocked; the first one waits for its end,
 * and a signal finds it there whatever a disk does to the others.
 *
 * The flush handles are started before the node's own, so that libuv, which calls the newest first,
 * flushes the answers of a turn in the same turn. Should that order ever change, the wake handle
 * keeps the loop from sleeping on them. */
#include "server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/min.h"
#include "server/endpoint.h"
#include "server/http.h"
#include "server/log.h"
#include "server/options.h"
#include "server/reload.h"

#define TICK_MS        250u
#define TICKS_A_SECOND 4u
#define PATIENCE_MS    2500u /* for the node to stop; it takes longer only when the disk hangs */
#define FREE_SLICE     2000u /* flushed entries freed in one turn */
#define REPORT_BYTES   (64u * 1024)
#define REPORT_EVENTS  64u
#define OPEN_PER_MEMBER                                                                            \
    8u /* proposals the leader has room for, times what one node's clients may have open */

static void server_stop(struct server *s, int exit_status);

/* ---- addresses ----------------------------------------------------------------------------- */

static const char *told(const char *advertised, const char *listened)
{
    return advertised[0] != '\0' ? advertised : listened;
}

const char *server_client_address(const struct server *s, kelp_id id)
{
    if (id == s->settings.id) return told(s->settings.advertise_client, s->settings.client);
    const struct wire_member_addresses *a = id != 0 ? node_addresses(s->node, id) : NULL;
    return a != NULL && a->client.text[0] != '\0' ? a->client.text : NULL;
}

const char *server_http_address(const struct server *s, kelp_id id)
{
    if (id == s->settings.id) return told(s->settings.advertise_http, s->settings.http);
    const struct wire_member_addresses *a = id != 0 ? node_addresses(s->node, id) : NULL;
    return a != NULL && a->http.text[0] != '\0' ? a->http.text : NULL;
}

void server_address_text(const struct sockaddr_storage *from, char *out, size_t size)
{
    char host[48] = "";
    unsigned port = 0;
    if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)from;
        (void)uv_ip6_name(v6, host, sizeof host);
        port = ntohs(v6->sin6_port);
        (void)snprintf(out, size, "[%s]:%u", host, port);
        return;
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;
    (void)uv_ip4_name(v4, host, sizeof host);
    port = ntohs(v4->sin_port);
    (void)snprintf(out, size, "%s:%u", host, port);
}

int server_listen_address(uv_loop_t *loop, const char *text, struct sockaddr_storage *out)
{
    struct endpoint at;
    if (!endpoint_split(text, &at)) return UV_EINVAL;
    char port[8];
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    uv_getaddrinfo_t request;
    (void)snprintf(port, sizeof port, "%u", (unsigned)at.port);
    int status = uv_getaddrinfo(loop, &request, NULL, at.host, port, &hints);
    if (status != 0) return status;
    size_t len = request.addrinfo->ai_addrlen;
    if (len <= sizeof *out) memcpy(out, request.addrinfo->ai_addr, len);
    uv_freeaddrinfo(request.addrinfo);
    return len <= sizeof *out ? 0 : UV_EINVAL;
}

/* ---- turns --------------------------------------------------------------------------------- */

static void on_wake(uv_idle_t *wake)
{
    struct server *s = wake->data;
    if (s->freeing) s->freeing = kv_free_slice(s->kv, FREE_SLICE);
    if (!s->go_on) return;
    s->go_on = false;
    http_run(s);
    clients_resume(s);
}

void server_flush_soon(struct server *s)
{
    (void)uv_idle_start(&s->wake, on_wake); /* always 0 */
}

void server_wake(struct server *s)
{
    s->go_on = true;
    server_flush_soon(s);
}

static void answers_flush(struct server *s)
{
    clients_flush(s);
    if (!s->go_on && !s->freeing) (void)uv_idle_stop(&s->wake);
}

static void on_flush(uv_prepare_t *flush)
{
    answers_flush(flush->data);
}

/* Before the node saves what came in with the same turn. */
static void on_flush_early(uv_check_t *flush)
{
    answers_flush(flush->data);
}

/* A machine without memory for a committed command would differ from the others: its node must not
 * go on. */
static void machine_watch(struct server *s)
{
    struct kelp_fault fault = {0};
    enum kelp_error error = kv_failed(s->kv);
    if (error == KELP_OK || s->faulted) return;
    (void)fault_set(&fault, error, "state machine", "no memory for a committed command");
    driver_machine_fault(node_driver(s->node), &fault);
}

static void node_watch(struct server *s)
{
    const char *words = "";
    if (s->settings.id != node_id(s->node)) { /* it was given one */
        s->settings.id = node_id(s->node);
        log_node(s->settings.id);
    }
    int status = node_exit_status(s->node, &words);
    if (status == EXIT_REFUSED) {
        log_line(KELP_ERROR, "%s", words);
        server_stop(s, EXIT_REFUSED);
    } else if (status == EXIT_FAULTED && !s->faulted) {
        s->faulted = true;
        log_line(KELP_ERROR, "faulted, answers status only: %s", words);
    }
    if (s->settings.when_removed != 0 && node_removed(s->node)) {
        log_line(KELP_WARN, "stopping: was removed from the cluster");
        server_stop(s, EXIT_DONE);
    }
}

static void on_tick(uv_timer_t *tick)
{
    struct server *s = tick->data;
    struct clients *all = &s->clients;
    if (s->stage != SERVER_RUNNING) return;
    machine_watch(s);
    node_watch(s);
    if (++s->tick_count % TICKS_A_SECOND == 0) {
        all->commands_a_second = all->commands - all->commands_before;
        all->commands_before = all->commands;
        clients_watch(s);
    }
    s->freeing = kv_free_slice(s->kv, FREE_SLICE);
    if (s->freeing) server_flush_soon(s);
}

/* ---- signals ------------------------------------------------------------------------------- */

static void on_terminate(uv_signal_t *handle, int number)
{
    struct server *s = handle->data;
    log_line(KELP_INFO, "stopping: %s", number == SIGINT ? "interrupted" : "asked to terminate");
    server_stop(s, s->faulted ? EXIT_FAULTED : EXIT_DONE);
}

/* SIGUSR1: status and flight recorder, for a node that answers nobody. */
static void on_report(uv_signal_t *handle, int number)
{
    struct server *s = handle->data;
    struct kelp_event events[REPORT_EVENTS];
    char line[256], *text = malloc(REPORT_BYTES), *rest = NULL;
    (void)number;
    if (text == NULL || s->stage != SERVER_RUNNING) {
        free(text);
        return;
    }
    (void)node_status_lines(s->node, text, REPORT_BYTES);
    for (char *at = strtok_r(text, "\n", &rest); at != NULL; at = strtok_r(NULL, "\n", &rest))
        log_line(KELP_ERROR, "status %s", at);
    free(text);
    const struct kelp_core *core = driver_core(node_driver(s->node));
    size_t count = core != NULL ? kelp_recent(core, events, REPORT_EVENTS) : 0;
    for (size_t i = 0; i < count; i++) {
        (void)kelp_describe_event(&events[i], line, sizeof line);
        log_line(KELP_ERROR, "event %llu.%03llu %s",
                 (unsigned long long)(events[i].at / 1000000000),
                 (unsigned long long)(events[i].at / 1000000 % 1000), line);
    }
}

/* SIGHUP: what there is to say stands in the log. */
static void on_hangup(uv_signal_t *handle, int number)
{
    struct server *s = handle->data;
    struct reload result;
    (void)number;
    if (s->stage == SERVER_RUNNING) (void)reload_run(s, "SIGHUP", &result);
}

/* ---- beginning ----------------------------------------------------------------------------- */

/* As many descriptors as the system lets us have: every client needs one. */
static void descriptors_raise(struct server *s)
{
    struct rlimit limit;
    s->clients.descriptors = UINT64_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (before != limit.rlim_max && setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        log_line(KELP_WARN, "the limit of open files stays: %s", strerror(errno));
        limit.rlim_cur = before;
    }
    if (limit.rlim_cur != RLIM_INFINITY) s->clients.descriptors = limit.rlim_cur;
    uint64_t room = settings_clients_room(&s->settings, s->clients.descriptors);
    if (room < s->settings.connections_max)
        log_line(KELP_WARN,
                 "the system lets this process open %" PRIu64 " files: %" PRIu64
                 " clients at most, not %" PRIu64 " (connections-max)",
                 s->clients.descriptors, room, s->settings.connections_max);
}

static bool handles_open(struct server *s)
{
    int status = uv_prepare_init(&s->loop, &s->flush);
    if (status == 0) status = uv_check_init(&s->loop, &s->flush_early);
    if (status == 0) status = uv_idle_init(&s->loop, &s->wake);
    if (status == 0) status = uv_timer_init(&s->loop, &s->tick);
    if (status == 0) status = uv_timer_init(&s->loop, &s->patience);
    if (status == 0) status = uv_signal_init(&s->loop, &s->terminate);
    if (status == 0) status = uv_signal_init(&s->loop, &s->interrupt);
    if (status == 0) status = uv_signal_init(&s->loop, &s->report);
    if (status == 0) status = uv_signal_init(&s->loop, &s->hangup);
    if (status != 0) {
        log_line(KELP_ERROR, "cannot start: %s", uv_strerror(status));
        return false;
    }
    s->handles = true;
    s->flush.data = s->flush_early.data = s->wake.data = s->tick.data = s->patience.data = s;
    s->terminate.data = s->interrupt.data = s->report.data = s->hangup.data = s;
    status = uv_prepare_start(&s->flush, on_flush);
    if (status == 0) status = uv_check_start(&s->flush_early, on_flush_early);
    if (status == 0) status = uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
    if (status == 0) status = uv_signal_start(&s->terminate, on_terminate, SIGTERM);
    if (status == 0) status = uv_signal_start(&s->interrupt, on_terminate, SIGINT);
    if (status == 0) status = uv_signal_start(&s->report, on_report, SIGUSR1);
    if (status == 0) status = uv_signal_start(&s->hangup, on_hangup, SIGHUP);
    if (status != 0) log_line(KELP_ERROR, "cannot start: %s", uv_strerror(status));
    return status == 0;
}

static void handles_close(struct server *s)
{
    if (!s->handles) return;
    s->handles = false;
    uv_close((uv_handle_t *)&s->flush, NULL);
    uv_close((uv_handle_t *)&s->flush_early, NULL);
    uv_close((uv_handle_t *)&s->wake, NULL);
    uv_close((uv_handle_t *)&s->tick, NULL);
    uv_close((uv_handle_t *)&s->patience, NULL);
    uv_close((uv_handle_t *)&s->terminate, NULL);
    uv_close((uv_handle_t *)&s->interrupt, NULL);
    uv_close((uv_handle_t *)&s->report, NULL);
    uv_close((uv_handle_t *)&s->hangup, NULL);
}

static void on_node_line(void *ctx, enum kelp_level level, const char *line)
{
    (void)ctx;
    log_line(level, "%s", line);
}

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

struct kelp_node_options server_node_options(const struct settings *t)
{
    const kelp_ns ms = 1000000;
    kelp_id id = t->id < KELP_ID_WAITING ? t->id : 0;
    struct kelp_node_options o = kelp_node_options_default(id, t->data);
    o.peer = t->peer;
    o.advertise_peer = or_null(t->advertise_peer);
    o.advertise_client = told(t->advertise_client, t->client);
    o.advertise_http = told(t->advertise_http, t->http);
    o.bootstrap = or_null(t->bootstrap);
    o.join = or_null(t->join);
    o.peer_at = or_null(t->peer_at);
    o.raft.heartbeat = t->heartbeat_ms * ms;
    o.raft.election_min = t->election_ms * ms;
    o.raft.election_max = (t->election_max_ms != 0 ? t->election_max_ms : 2 * t->election_ms) * ms;
    o.raft.stall_limit = t->disk_stall_ms * ms;
    o.raft.remove_unseen = t->remove_unseen_s * 1000 * ms;
    o.raft.remove_voters_min = (uint32_t)t->remove_voters_min;
    o.raft.join_healthy = t->join_healthy_ms * ms;
    o.raft.lease = t->lease_ms * ms;
    o.raft.drift_ppm = (uint32_t)t->drift_ppm;
    o.raft.off = (t->pre_vote != 0 ? 0u : (unsigned)KELP_PRE_VOTE) |
                 (t->check_quorum != 0 ? 0u : (unsigned)KELP_CHECK_QUORUM) |
                 (t->stickiness != 0 ? 0u : (unsigned)KELP_STICKINESS);
    struct kelp_limits *l = &o.raft.limits;
    l->proposals_max = l->reads_max = (uint32_t)(OPEN_PER_MEMBER * t->requests_max);
    l->answers_max = (uint32_t)min_u64(65536, 4 * t->requests_max); /* a burst of every member */
    l->window_bytes_max = t->inflight_bytes;
    l->window_messages_max = (uint32_t)t->inflight_messages;
    l->uncommitted_bytes_max = t->uncommitted_bytes;
    l->unapplied_bytes_max = t->unapplied_bytes;
    l->entry_bytes_max = t->entry_bytes_max;
    o.request_timeout = t->request_timeout_ms * ms;
    o.segment_bytes = t->segment_bytes;
    o.cache_bytes_max = t->cache_bytes;
    o.snapshot_log_bytes = t->snapshot_log_bytes > 0 ? t->snapshot_log_bytes : KELP_SNAPSHOT_NEVER;
    o.snapshot_log_ratio = (uint32_t)t->snapshot_log_ratio;
    o.snapshot_every_entries = t->snapshot_entries > 0 ? t->snapshot_entries : KELP_SNAPSHOT_NEVER;
    o.snapshot_interval = t->snapshot_interval_ms * ms;
    o.snapshots_kept = (uint32_t)t->snapshots_kept;
    o.raft.trailing_entries = t->trailing_entries;
    o.raft.hold_bytes = t->log_hold_bytes;
    o.snapshot_send_rate = t->snapshot_send_bytes;
    o.forward_bytes_max = t->forward_bytes;
    o.answer_bytes_max = t->answer_bytes;
    o.forward = t->on_follower == ON_FOLLOWER_FORWARD;
    o.log_level = (enum kelp_level)t->log_level;
    o.log = on_node_line;
    return o;
}

static int status_of(enum kelp_error error)
{
    switch (error) {
    case KELP_E_CORRUPT:
    case KELP_E_FOREIGN:
    case KELP_E_LOCKED:
    case KELP_E_WIPED:
    case KELP_E_VERSION: return EXIT_REFUSED;
    case KELP_E_ARGUMENT:
    case KELP_E_NOT_SUPPORTED: return EXIT_USAGE;
    case KELP_OK:
    case KELP_E_IO:
    case KELP_E_NO_SPACE:
    case KELP_E_NO_MEMORY:
    case KELP_E_LIMIT:
    case KELP_E_MALFORMED:
    case KELP_E_MORE:
    case KELP_E_NOT_FOUND:
    case KELP_E_GONE:
    case KELP_E_CONFLICT:
    case KELP_E_CLOSED:
    case KELP_E_BUSY: return EXIT_FAILED;
    }
    return EXIT_FAILED;
}

static bool node_begin(struct server *s)
{
    struct kelp_fault fault = {0};
    struct kelp_node_options options = server_node_options(&s->settings);
    s->settings.requests_room = s->settings.requests_max;
    s->kv = kv_new();
    if (s->kv == NULL) {
        log_line(KELP_ERROR, "cannot start: %s", kelp_strerror(KELP_E_NO_MEMORY));
        s->exit_status = EXIT_FAILED;
        return false;
    }
    enum kelp_error error = node_open(&s->loop, &options, &kv_fsm_ops, s->kv, &s->node, &fault);
    if (error == KELP_OK) {
        s->settings.id = node_id(s->node); /* of --id auto: the one in the directory, if any */
        log_node(s->settings.id);
        return true;
    }
    log_line(KELP_ERROR, "cannot start: %s: %s (%s)", fault.where, fault.what,
             kelp_strerror(error));
    s->exit_status = status_of(error);
    s->node = NULL;
    return false;
}

static bool listeners_start(struct server *s)
{
    char error[512];
    if (clients_open(s, error, sizeof error)) {
        if (http_open(s, error, sizeof error)) return true;
        clients_close(s);
    }
    log_line(KELP_ERROR, "%s", error);
    return false;
}

/* ---- the way out --------------------------------------------------------------------------- */

static void on_node_stopped(void *ctx)
{
    struct server *s = ctx;
    http_close(s);
    if (s->clients.opened)
        clients_dismiss(s, handles_close);
    else
        handles_close(s);
}

/* The disk hangs: what it still holds is not promised to anybody. */
static void on_impatient(uv_timer_t *patience)
{
    (void)patience;
    log_line(KELP_ERROR, "the log does not finish, leaving it");
    _exit(EXIT_FAILED);
}

static void server_stop(struct server *s, int exit_status)
{
    if (s->stage == SERVER_STOPPING) return;
    s->stage = SERVER_STOPPING;
    s->exit_status = exit_status;
    if (s->clients.opened) clients_hold(s);
    http_drain(s);
    uint64_t patience_ms = PATIENCE_MS + s->settings.election_ms; /* it may hand over first */
    (void)uv_timer_start(&s->patience, on_impatient, patience_ms, 0);
    node_stop(s->node, on_node_stopped, s);
}

static void node_name(const struct server *s, char *out, size_t size)
{
    if (s->settings.id >= KELP_ID_WAITING)
        (void)snprintf(out, size, "a node without an id");
    else
        (void)snprintf(out, size, "node %llu", (unsigned long long)s->settings.id);
}

/* Without a list it founds nothing: a mistyped unit file would look healthy in the log. */
static void lone_warn(const struct server *s)
{
    struct driver_status status;
    char name[32];
    node_name(s, name, sizeof name);
    if (s->settings.bootstrap[0] != '\0' || s->settings.join[0] != '\0') return;
    driver_status(node_driver(s->node), &status);
    if (status.empty)
        log_line(KELP_WARN,
                 "%s belongs to no cluster; waits to be added (neither --bootstrap nor --join was "
                 "given), or for `kelp bootstrap`",
                 name);
}

static void server_run(struct server *s)
{
    descriptors_raise(s);
    if (!handles_open(s) || !node_begin(s)) {
        handles_close(s);
    } else if (!listeners_start(s)) {
        server_stop(s, EXIT_FAILED);
    } else {
        const struct settings *t = &s->settings;
        s->stage = SERVER_RUNNING;
        char name[32];
        node_name(s, name, sizeof name);
        log_line(KELP_INFO, "%s is ready: client %s, peer %s, http %s, data %s, process %d", name,
                 t->client, t->peer, t->http, t->data, (int)getpid());
        lone_warn(s);
    }
    struct kelp_fault fault = {0};
    if (s->node != NULL && node_loop_start(s->node, &fault) == KELP_OK) {
        node_loop_join(s->node);
        return;
    }
    if (s->node != NULL) {
        log_line(KELP_ERROR, "cannot start: %s: %s", fault.where, fault.what);
        server_stop(s, EXIT_FAILED);
    }
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
}

int server_main(int argc, char **argv)
{
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL) return EXIT_FAILED;
    int status = EXIT_USAGE;
    switch (options_read(argc, argv, &s->options, &s->settings)) {
    case OPTIONS_WRONG: break;
    case OPTIONS_CHECKED:
        (void)puts("the settings are right");
        status = EXIT_DONE;
        break;
    case OPTIONS_RUN:
        (void)signal(SIGPIPE, SIG_IGN);
        log_setup((enum kelp_level)s->settings.log_level, (enum log_format)s->settings.log_format,
                  s->settings.id);
        s->exit_status = EXIT_FAILED;
        if (uv_loop_init(&s->loop) == 0) {
            s->started_ms = uv_now(&s->loop);
            server_run(s);
            node_free(s->node);
            clients_free(s);
            http_free(s);
            (void)uv_loop_close(&s->loop);
        }
        status = s->exit_status;
        if (s->stage == SERVER_STOPPING) log_line(KELP_INFO, "stopped");
        break;
    }
    settings_close(&s->settings);
    options_close(&s->options);
    free(s);
    return status;
}
