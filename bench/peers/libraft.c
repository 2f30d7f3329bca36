/* SPDX-License-Identifier: Apache-2.0 */
/* libraft.c - the peer libraft (Debian's libraft-dev): three processes, load inside the leader.
 *
 * The parent forks one process a node, before any thread or loop exists, and speaks to each over a
 * socket pair that keeps records apart:
 *
 *     node -> parent   LEADS   PRIMED   BEGIN END MEASURED   STATE   FAILED text
 *     parent -> node   PRIME (leader)   RUN (leader)   REPORT at n applied (all)
 *
 * PRIME applies one command and REPORT 1 waits until every node has applied it, so that the load
 * meets a cluster whose three members are connected. RUN keeps K raft_apply calls open, one command
 * each; the next is made in the callback of the last. The parent samples the costs of all nodes at
 * BEGIN and END. REPORT n ends the run: each node answers when it has applied n commands.
 *
 * What proves that an operation happened: each command carries its number. Every node folds the
 * numbers it applies into a sum (any order) and a chain (this order). The leader sums the numbers
 * whose callbacks said success. Verified means: on every node the count is the count acknowledged,
 * the sum is the sum acknowledged, no command had another length, and all chains are equal.
 *
 * Everything of the library is at its default: election and heartbeat times, segment size,
 * snapshots every 1024 entries (of a 24-byte state here), compression. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <raft.h>
#include <raft/uv.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "measure.h"

#ifndef RAFT_VERSION
#define RAFT_VERSION "unknown"
#endif

#define LEADER_POLL_MS 10                    /* the library has no event for it; off under load */
#define PATIENCE_NS    UINT64_C(60000000000) /* for everything but the warm-up and the window */
#define SYNC_CALL      "io_submit to O_DIRECT|O_DSYNC"

enum order_kind { ORDER_PRIME = 1, ORDER_RUN, ORDER_REPORT };

struct order {
    enum order_kind kind;
    uint64_t applied; /* ORDER_REPORT: answer when so many are applied */
};

/* What a node has applied; also its snapshot, byte for byte. */
struct state {
    uint64_t count;
    uint64_t sum;
    uint64_t chain;
};

enum news_kind {
    NEWS_LEADS = 1,
    NEWS_PRIMED,
    NEWS_BEGIN,
    NEWS_END,
    NEWS_MEASURED,
    NEWS_STATE,
    NEWS_FAILED
};

struct news {
    enum news_kind kind;
    struct state state;       /* STATE: applied; MEASURED: acknowledged, without a chain */
    uint64_t malformed;       /* STATE: commands of another length than proposed */
    struct measured measured; /* MEASURED: all but the costs */
    char text[RAFT_ERRMSG_BUF_SIZE + 64];
};

enum phase { PHASE_IDLE, PHASE_PRIMING, PHASE_WARMING, PHASE_MEASURING, PHASE_DRAINING };

struct node;

struct operation {
    struct raft_apply request;
    struct node *node;
    uint64_t number;
    uint64_t begun_ns;
};

struct node {
    const struct measure_options *options;
    int parent;
    struct uv_loop_s loop;
    struct uv_poll_s orders;
    struct uv_timer_s leader_poll;
    struct raft_uv_transport transport;
    struct raft_io io;
    struct raft_fsm fsm;
    struct raft raft;

    struct state applied;
    uint64_t malformed;
    uint64_t report_at; /* 0: nobody asked */

    enum phase phase;
    struct state acknowledged;
    uint64_t proposed;
    unsigned open;
    uint64_t begin_ns; /* of the window; until it begins, not before this time */
    struct operation *operations;
    struct histogram histogram;
};

/* ---- the node: words to the parent ------------------------------------------------------- */

static void tell(const struct node *node, const struct news *news)
{
    /* without its parent a node has nothing to live for */
    if (send(node->parent, news, sizeof *news, MSG_NOSIGNAL) != (ssize_t)sizeof *news) _exit(1);
}

static _Noreturn void fail(const struct node *node, const char *what, const char *why)
{
    struct news news = {.kind = NEWS_FAILED};
    snprintf(news.text, sizeof news.text, "%s: %s", what, why);
    tell(node, &news);
    _exit(1);
}

static void report_if_due(struct node *node)
{
    if (node->report_at == 0 || node->applied.count < node->report_at) return;
    node->report_at = 0;
    tell(node,
         &(struct news){.kind = NEWS_STATE, .state = node->applied, .malformed = node->malformed});
}

/* ---- the node: state machine ------------------------------------------------------------- */

static uint64_t mixed(uint64_t number)
{
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *command, void **result)
{
    struct node *node = fsm->data;
    *result = NULL;
    if (command->len != node->options->value_bytes) {
        node->malformed++;
        return 0;
    }
    uint64_t number;
    memcpy(&number, command->base, sizeof number);
    node->applied.count++;
    node->applied.sum += mixed(number);
    node->applied.chain = mixed(node->applied.chain ^ number);
    report_if_due(node);
    return 0;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *buffers[], unsigned *count)
{
    const struct node *node = fsm->data;
    struct raft_buffer *buffer = raft_malloc(sizeof *buffer);
    if (buffer == NULL) return RAFT_NOMEM;
    *buffer = (struct raft_buffer){raft_malloc(sizeof node->applied), sizeof node->applied};
    if (buffer->base == NULL) {
        raft_free(buffer);
        return RAFT_NOMEM;
    }
    memcpy(buffer->base, &node->applied, sizeof node->applied);
    *buffers = buffer;
    *count = 1;
    return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buffer)
{
    struct node *node = fsm->data;
    if (buffer->len != sizeof node->applied) return RAFT_MALFORMED;
    memcpy(&node->applied, buffer->base, sizeof node->applied);
    raft_free(buffer->base);
    report_if_due(node);
    return 0;
}

/* ---- the leader: load -------------------------------------------------------------------- */

static void operation_applied(struct raft_apply *request, int status, void *result);

static void operation_propose(struct operation *operation)
{
    struct node *node = operation->node;
    struct raft_buffer command = {raft_malloc(node->options->value_bytes),
                                  node->options->value_bytes};
    if (command.base == NULL) fail(node, "a command", "out of memory");
    operation->number = ++node->proposed;
    memset(command.base, (int)(operation->number & 0xff), command.len);
    memcpy(command.base, &operation->number, sizeof operation->number);
    operation->request.data = operation;
    operation->begun_ns = monotonic_ns();
    if (raft_apply(&node->raft, &operation->request, &command, 1, operation_applied) != 0) {
        fail(node, "raft_apply", raft_errmsg(&node->raft));
    }
}

/* Opens and closes the window. The completion that opens it is outside, the one that closes it is
 * inside, so the elapsed time is that of the operations counted. */
static void window_advance(struct node *node, uint64_t now, uint64_t latency_ns)
{
    if (node->phase == PHASE_MEASURING) {
        histogram_record(&node->histogram, latency_ns);
        if (now - node->begin_ns >= node->options->measured_ns) {
            node->phase = PHASE_DRAINING;
            tell(node,
                 &(struct news){.kind = NEWS_END, .measured.elapsed_ns = now - node->begin_ns});
        }
    } else if (node->phase == PHASE_WARMING && now >= node->begin_ns) {
        node->phase = PHASE_MEASURING;
        node->begin_ns = now;
        tell(node, &(struct news){.kind = NEWS_BEGIN});
    }
}

static void operation_applied(struct raft_apply *request, int status, void *result)
{
    (void)result;
    struct operation *operation = request->data;
    struct node *node = operation->node;
    if (status != 0) fail(node, "a command was not committed", raft_strerror(status));

    uint64_t now = monotonic_ns();
    node->acknowledged.count++;
    node->acknowledged.sum += mixed(operation->number);
    if (node->phase == PHASE_PRIMING) {
        node->phase = PHASE_IDLE;
        tell(node, &(struct news){.kind = NEWS_PRIMED});
        return;
    }
    window_advance(node, now, now - operation->begun_ns);
    if (node->phase != PHASE_DRAINING) {
        operation_propose(operation);
    } else if (--node->open == 0) {
        struct news news = {.kind = NEWS_MEASURED, .state = node->acknowledged};
        measured_fill(&news.measured, &node->histogram);
        tell(node, &news);
    }
}

static void load_begin(struct node *node)
{
    node->phase = PHASE_WARMING;
    node->begin_ns = monotonic_ns() + node->options->warm_up_ns;
    node->open = node->options->in_flight;
    for (unsigned i = 0; i < node->open; i++)
        operation_propose(&node->operations[i]);
}

/* ---- the node: life ---------------------------------------------------------------------- */

static void order_take(struct uv_poll_s *poll, int status, int events)
{
    (void)events;
    struct node *node = poll->data;
    struct order order;
    if (status != 0 || recv(node->parent, &order, sizeof order, 0) != (ssize_t)sizeof order) {
        _exit(1);
    }
    uv_timer_stop(&node->leader_poll); /* from now on nothing wakes the node but its work */
    switch (order.kind) {
    case ORDER_PRIME:
        node->phase = PHASE_PRIMING;
        operation_propose(&node->operations[0]);
        return;
    case ORDER_RUN: load_begin(node); return;
    case ORDER_REPORT:
        node->report_at = order.applied;
        report_if_due(node);
        return;
    }
}

static void leader_look(struct uv_timer_s *timer)
{
    struct node *node = timer->data;
    if (raft_state(&node->raft) != RAFT_LEADER) return;
    uv_timer_stop(timer);
    tell(node, &(struct news){.kind = NEWS_LEADS});
}

static void node_open_raft(struct node *node, unsigned id, const char *dir, char addresses[][32])
{
    struct raft_configuration configuration;
    node->fsm = (struct raft_fsm){.version = 1,
                                  .data = node,
                                  .apply = fsm_apply,
                                  .snapshot = fsm_snapshot,
                                  .restore = fsm_restore};
    int error = raft_uv_tcp_init(&node->transport, &node->loop);
    if (error != 0) fail(node, "raft_uv_tcp_init", raft_strerror(error));
    error = raft_uv_init(&node->io, &node->loop, dir, &node->transport);
    if (error != 0) fail(node, dir, raft_strerror(error));
    error = raft_init(&node->raft, &node->io, &node->fsm, id, addresses[id - 1]);
    if (error != 0) fail(node, "raft_init", raft_errmsg(&node->raft));
    raft_configuration_init(&configuration);
    for (unsigned i = 0; i < node->options->nodes; i++) {
        error = raft_configuration_add(&configuration, i + 1, addresses[i], RAFT_VOTER);
        if (error != 0) fail(node, addresses[i], raft_strerror(error));
    }
    error = raft_bootstrap(&node->raft, &configuration);
    if (error != 0) fail(node, "raft_bootstrap", raft_errmsg(&node->raft));
    raft_configuration_close(&configuration);
    if (node->options->snapshot_threshold != 0) {
        raft_set_snapshot_threshold(&node->raft, node->options->snapshot_threshold);
    }
    error = raft_start(&node->raft);
    if (error != 0) fail(node, "raft_start", raft_errmsg(&node->raft));
}

static _Noreturn void node_live(const struct measure_options *options, int parent, unsigned id,
                                char addresses[][32])
{
    static struct node node; /* large, and all zero */
    node.options = options;
    node.parent = parent;
    node.operations = calloc(options->in_flight, sizeof *node.operations);
    if (node.operations == NULL) fail(&node, "operations", "out of memory");
    for (unsigned i = 0; i < options->in_flight; i++)
        node.operations[i].node = &node;

    char dir[512];
    snprintf(dir, sizeof dir, "%s/node-%u", options->dir, id);
    int error = uv_loop_init(&node.loop);
    if (error == 0) error = uv_poll_init(&node.loop, &node.orders, parent);
    if (error == 0) error = uv_timer_init(&node.loop, &node.leader_poll);
    node.orders.data = &node;
    node.leader_poll.data = &node;
    if (error == 0) error = uv_poll_start(&node.orders, UV_READABLE, order_take);
    if (error == 0) {
        error = uv_timer_start(&node.leader_poll, leader_look, LEADER_POLL_MS, LEADER_POLL_MS);
    }
    if (error != 0) fail(&node, "the event loop", uv_strerror(error));
    node_open_raft(&node, id, dir, addresses);
    uv_run(&node.loop, UV_RUN_DEFAULT);
    fail(&node, "the event loop", "ended by itself");
}

/* ---- the parent -------------------------------------------------------------------------- */

struct cluster {
    const struct measure_options *options;
    uint64_t deadline_ns;
    unsigned started;
    pid_t pids[NODES_MAX];
    int sockets[NODES_MAX];
    char addresses[NODES_MAX][32];
};

/* Ports that are free now: all are held at once, so that they differ, and let go together. */
static bool addresses_choose(struct cluster *cluster)
{
    int sockets[NODES_MAX];
    unsigned held = 0;
    bool good = true;
    while (good && held < cluster->options->nodes) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t at_bytes = sizeof at;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) break;
        sockets[held] = fd;
        good = bind(fd, (struct sockaddr *)&at, at_bytes) == 0 &&
               getsockname(fd, (struct sockaddr *)&at, &at_bytes) == 0;
        snprintf(cluster->addresses[held], sizeof cluster->addresses[held], "127.0.0.1:%u",
                 (unsigned)ntohs(at.sin_port));
        held++;
    }
    good = good && held == cluster->options->nodes;
    if (!good) fprintf(stderr, "no free port on 127.0.0.1: %s\n", strerror(errno));
    while (held > 0)
        close(sockets[--held]);
    return good;
}

static bool directories_make(const struct measure_options *options)
{
    if (mkdir(options->dir, 0700) != 0 && errno != EEXIST) {
        fprintf(stderr, "%s: %s\n", options->dir, strerror(errno));
        return false;
    }
    for (unsigned id = 1; id <= options->nodes; id++) {
        char dir[512];
        int bytes = snprintf(dir, sizeof dir, "%s/node-%u", options->dir, id);
        if (bytes < 0 || (size_t)bytes >= sizeof dir)
            errno = ENAMETOOLONG;
        else if (mkdir(dir, 0700) == 0)
            continue;
        fprintf(stderr, "%s/node-%u: %s\n", options->dir, id, strerror(errno));
        return false;
    }
    return true;
}

static bool node_start(struct cluster *cluster)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        fprintf(stderr, "socketpair: %s\n", strerror(errno));
        return false;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        fprintf(stderr, "fork: %s\n", strerror(errno));
        close(pair[0]);
        close(pair[1]);
        return false;
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1); /* it ended before the line above */
        close(pair[0]);
        for (unsigned i = 0; i < cluster->started; i++)
            close(cluster->sockets[i]);
        node_live(cluster->options, pair[1], cluster->started + 1, cluster->addresses);
    }
    close(pair[1]);
    cluster->pids[cluster->started] = pid;
    cluster->sockets[cluster->started] = pair[0];
    cluster->started++;
    return true;
}

/* The nodes are killed: what they acknowledged is on their disks, which is the point. */
static void cluster_stop(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->started; i++)
        kill(cluster->pids[i], SIGKILL);
    for (unsigned i = 0; i < cluster->started; i++) {
        while (waitpid(cluster->pids[i], NULL, 0) < 0 && errno == EINTR)
            continue;
        close(cluster->sockets[i]);
    }
}

static bool order_send(const struct cluster *cluster, unsigned slot, struct order order)
{
    if (send(cluster->sockets[slot], &order, sizeof order, MSG_NOSIGNAL) == (ssize_t)sizeof order) {
        return true;
    }
    fprintf(stderr, "node %u is gone\n", slot + 1);
    return false;
}

/* Waits for news of one kind from any node; `*slot` says whose. Anything else ends the run: a node
 * that failed, ended, leads as the second one, or is silent until the deadline. */
static bool news_await(const struct cluster *cluster, enum news_kind kind, unsigned *slot,
                       struct news *news)
{
    struct pollfd polls[NODES_MAX];
    for (unsigned i = 0; i < cluster->started; i++)
        polls[i] = (struct pollfd){.fd = cluster->sockets[i], .events = POLLIN};
    for (;;) {
        uint64_t now = monotonic_ns();
        int left_ms =
            now >= cluster->deadline_ns ? 0 : (int)((cluster->deadline_ns - now) / 1000000);
        int ready = poll(polls, cluster->started, left_ms);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) break;
        unsigned i = 0;
        while (polls[i].revents == 0)
            i++;
        if (recv(cluster->sockets[i], news, sizeof *news, 0) != (ssize_t)sizeof *news) {
            fprintf(stderr, "node %u ended\n", i + 1);
            return false;
        }
        if (news->kind == kind) {
            *slot = i;
            return true;
        }
        fprintf(stderr, "node %u: %s\n", i + 1,
                news->kind == NEWS_FAILED ? news->text : "leads, too: the leader changed");
        return false;
    }
    fprintf(stderr, "nothing heard before the deadline\n");
    return false;
}

/* Asks every node for its state at `acknowledged->count` applied and compares; `*verified` is the
 * verdict. Returns false when an answer did not come. */
static bool states_check(const struct cluster *cluster, const struct state *acknowledged,
                         bool *verified)
{
    struct state first = {0};
    *verified = true;
    for (unsigned i = 0; i < cluster->started; i++) {
        struct order order = {.kind = ORDER_REPORT, .applied = acknowledged->count};
        if (!order_send(cluster, i, order)) return false;
    }
    for (unsigned i = 0; i < cluster->started; i++) {
        struct news news;
        unsigned slot;
        if (!news_await(cluster, NEWS_STATE, &slot, &news)) return false;
        if (i == 0) first = news.state;
        if (news.state.count != acknowledged->count || news.state.sum != acknowledged->sum ||
            news.state.chain != first.chain || news.malformed != 0) {
            fprintf(stderr,
                    "node %u applied %" PRIu64 " commands (sum %016" PRIx64 ", chain %016" PRIx64
                    ", %" PRIu64 " malformed); acknowledged were %" PRIu64 " (sum %016" PRIx64
                    "), the first node's chain is %016" PRIx64 "\n",
                    slot + 1, news.state.count, news.state.sum, news.state.chain, news.malformed,
                    acknowledged->count, acknowledged->sum, first.chain);
            *verified = false;
        }
    }
    return true;
}

/* One run, from the election to the verdict. */
static bool cluster_measure(const struct cluster *cluster, struct measured *measured,
                            bool *verified)
{
    const struct state primed = {.count = 1, .sum = mixed(1)};
    struct news news;
    struct usage begin, end;
    unsigned leader, from;
    if (!news_await(cluster, NEWS_LEADS, &leader, &news)) return false;
    if (!order_send(cluster, leader, (struct order){.kind = ORDER_PRIME})) return false;
    if (!news_await(cluster, NEWS_PRIMED, &from, &news)) return false;
    if (!states_check(cluster, &primed, verified) || !*verified) return false;
    fprintf(stderr, "node %u leads, all %u nodes apply\n", leader + 1, cluster->started);

    const char *dir = cluster->options->dir;
    if (!order_send(cluster, leader, (struct order){.kind = ORDER_RUN})) return false;
    if (!news_await(cluster, NEWS_BEGIN, &from, &news)) return false;
    bool sampled = usage_read(cluster->pids, cluster->started, dir, &begin);
    if (!news_await(cluster, NEWS_END, &from, &news)) return false;
    sampled = usage_read(cluster->pids, cluster->started, dir, &end) && sampled;
    uint64_t elapsed_ns = news.measured.elapsed_ns;
    if (!sampled) {
        fprintf(stderr, "the costs of the nodes cannot be read: %s\n", strerror(errno));
        return false;
    }
    if (!news_await(cluster, NEWS_MEASURED, &from, &news)) return false;
    *measured = news.measured;
    measured->elapsed_ns = elapsed_ns;
    measured->used = usage_between(&begin, &end);
    return states_check(cluster, &news.state, verified);
}

int main(int argc, char **argv)
{
    struct measure_options options;
    int status;
    if (!options_parse(argc, argv, &options, &status)) return status;
    if (options.value_bytes % 8 != 0) {
        fprintf(stderr, "--value is %zu; libraft takes multiples of 8 only\n", options.value_bytes);
        return 2;
    }
    struct cluster cluster = {
        .options = &options,
        .deadline_ns = monotonic_ns() + options.warm_up_ns + options.measured_ns + PATIENCE_NS,
    };
    struct measured measured;
    bool verified = false;
    bool good = directories_make(&options) && addresses_choose(&cluster);
    while (good && cluster.started < options.nodes)
        good = node_start(&cluster);
    good = good && cluster_measure(&cluster, &measured, &verified);
    cluster_stop(&cluster);
    if (!good) return 1;
    measured_print("libraft", RAFT_VERSION, SYNC_CALL, &options, &measured, verified);
    return verified ? 0 : 1;
}
