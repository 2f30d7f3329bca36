/* SPDX-License-Identifier: Apache-2.0 */
/* heartbeats.c - the least a cluster at rest can cost on a machine: heartbeats and nothing else.
 *
 *   bench-heartbeats [--nodes 3] [--seconds 20]      one line of JSON
 *
 *   leader    every 100 ms: a message to each follower; between them it sleeps and takes answers
 *   follower  sleeps, takes a message, answers
 *
 * A process a node, one thread each, TCP on 127.0.0.1 without delay, messages of the size that a
 * heartbeat and its answer have in Kelp. What it costs is the kernel's: waking a process that
 * sleeps, and two small writes. A run counts only if every message was answered. Exit status: 0
 * verified, 1 not, 2 wrong usage. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS     1000000000u
#define BEAT_NS       (SECOND_NS / 10)
#define NODES_MAX     9u
#define MESSAGE_BYTES 90u

struct spent { /* by one process, from its first message to its last */
    double seconds, cpu_percent, wake_ups;
};

struct stopwatch {
    uint64_t began, cpu;
    long switches;
};

static uint64_t clock_ns(clockid_t which)
{
    struct timespec now;
    (void)clock_gettime(which, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static long switches(void)
{
    struct rusage used;
    return getrusage(RUSAGE_SELF, &used) == 0 ? used.ru_nvcsw : 0;
}

static struct stopwatch stopwatch_start(void)
{
    return (struct stopwatch){.began = clock_ns(CLOCK_MONOTONIC),
                              .cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID),
                              .switches = switches()};
}

static struct spent stopwatch_read(const struct stopwatch *w)
{
    double ns = (double)(clock_ns(CLOCK_MONOTONIC) - w->began);
    return (struct spent){.seconds = ns / SECOND_NS,
                          .cpu_percent =
                              (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - w->cpu) / ns * 100,
                          .wake_ups = (double)(switches() - w->switches) * SECOND_NS / ns};
}

static int epoll_of(const int *fds, size_t count)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < count && epoll >= 0; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = fds[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &wanted) != 0) return -1;
    }
    return epoll;
}

static void no_delay(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Until the leader ends; what was spent goes to the parent. */
static int follower_run(struct sockaddr_in at, int told)
{
    uint8_t bytes[MESSAGE_BYTES];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) != 0) return 1;
    no_delay(fd);
    int epoll = epoll_of(&fd, 1);
    struct epoll_event event;
    struct stopwatch watch = stopwatch_start();
    while (epoll_wait(epoll, &event, 1, -1) >= 0) {
        ssize_t got = read(fd, bytes, sizeof bytes);
        if (got <= 0) break;
        if (write(fd, bytes, (size_t)got) != got) return 1;
    }
    struct spent spent = stopwatch_read(&watch);
    return write(told, &spent, sizeof spent) == (ssize_t)sizeof spent ? 0 : 1;
}

/* Returns how many bytes came back. */
static uint64_t answers_take(int epoll, uint64_t until)
{
    uint8_t bytes[MESSAGE_BYTES];
    uint64_t now, came = 0;
    while ((now = clock_ns(CLOCK_MONOTONIC)) < until) {
        struct epoll_event event;
        int timeout_ms = (int)((until - now) / 1000000) + 1;
        if (epoll_wait(epoll, &event, 1, timeout_ms) < 1) continue;
        ssize_t got = read(event.data.fd, bytes, sizeof bytes);
        if (got <= 0) return came;
        came += (uint64_t)got;
    }
    return came;
}

static bool leader_run(const int *followers, size_t count, uint64_t seconds, struct spent *spent)
{
    static const uint8_t message[MESSAGE_BYTES];
    int epoll = epoll_of(followers, count);
    uint64_t sent = 0, came = 0, next = clock_ns(CLOCK_MONOTONIC), end = next + seconds * SECOND_NS;
    struct stopwatch watch = stopwatch_start();
    while (next < end) {
        for (size_t i = 0; i < count; i++) {
            if (write(followers[i], message, sizeof message) != (ssize_t)sizeof message)
                return false;
            sent += sizeof message;
        }
        next += BEAT_NS;
        came += answers_take(epoll, next);
    }
    *spent = stopwatch_read(&watch);
    return came == sent;
}

static int followers_start(size_t count, int *followers, int told)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(listener, (int)NODES_MAX) != 0 ||
        getsockname(listener, (struct sockaddr *)&at, &size) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0) _exit(follower_run(at, told));
        followers[i] = child < 0 ? -1 : accept(listener, NULL, NULL);
        if (followers[i] < 0) return -1;
        (void)fcntl(followers[i], F_SETFD, FD_CLOEXEC);
        no_delay(followers[i]);
    }
    return close(listener);
}

static bool number_of(const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9' || strlen(text) > 5) return false;
    *out = strtoull(text, &end, 10);
    return *end == '\0' && *out >= low && *out <= high;
}

static bool measure(size_t count, uint64_t seconds, struct spent *leader, struct spent *follower)
{
    int followers[NODES_MAX], told[2];
    if (pipe(told) != 0 || followers_start(count, followers, told[1]) != 0) return false;
    bool good = leader_run(followers, count, seconds, leader);
    for (size_t i = 0; i < count; i++)
        (void)shutdown(followers[i], SHUT_RDWR);
    (void)close(told[1]);
    struct spent one;
    size_t heard = 0;
    for (; read(told[0], &one, sizeof one) == (ssize_t)sizeof one; heard++) {
        if (one.cpu_percent > follower->cpu_percent) *follower = one;
    }
    for (size_t i = 0; i < count; i++) {
        int status;
        good = wait(&status) > 0 && status == 0 && good;
    }
    return good && heard == count;
}

int main(int argc, char **argv)
{
    uint64_t nodes = 3, seconds = 20;
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--nodes") == 0 && number_of(value, 2, NODES_MAX, &nodes)) continue;
        if (strcmp(argv[i], "--seconds") == 0 && number_of(value, 1, 3600, &seconds)) continue;
        (void)fprintf(stderr, "usage: bench-heartbeats [--nodes 3] [--seconds 20]\n");
        return 2;
    }
    struct spent leader = {0}, follower = {0};
    bool good = measure((size_t)nodes - 1, seconds, &leader, &follower);
    (void)printf("{\"system\":\"floor\",\"nodes\":%llu,\"seconds\":%.3f,"
                 "\"leader_cpu_percent\":%.4f,\"leader_wakeups\":%.1f,"
                 "\"follower_cpu_percent\":%.4f,\"follower_wakeups\":%.1f,\"verified\":%s}\n",
                 (unsigned long long)nodes, leader.seconds, leader.cpu_percent, leader.wake_ups,
                 follower.cpu_percent, follower.wake_ups, good ? "true" : "false");
    return good ? 0 : 1;
}
