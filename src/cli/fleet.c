/* SPDX-License-Identifier: Apache-2.0 */
/* fleet.c - starting, stopping and burying server processes; see fleet.h. */
#include "cli/fleet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

#define STOP_MS 4000u /* a node is allowed two seconds to shut down */

void fleet_init(struct fleet *f, unsigned count, const char *dir)
{
    *f = (struct fleet){.count = count, .founders = count};
    (void)snprintf(f->dir, sizeof f->dir, "%s", dir);
}

static void ports(struct fleet_node *n, unsigned port)
{
    (void)snprintf(n->client, sizeof n->client, "127.0.0.1:%u", port);
    (void)snprintf(n->peer, sizeof n->peer, "127.0.0.1:%u", port + 100);
    (void)snprintf(n->http, sizeof n->http, "127.0.0.1:%u", port + 200);
}

void fleet_ports(struct fleet *f, unsigned base)
{
    for (unsigned id = 1; id <= f->count; id++)
        ports(&f->nodes[id], base + id);
}

void fleet_grow(struct fleet *f, unsigned base)
{
    ASSERT(f->count < FLEET_NODES_MAX);
    f->count++;
    ports(&f->nodes[f->count], base + f->count);
}

/* A port nobody uses; the socket stays open so that the next call finds another one. */
static int free_port(char *address, size_t size)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    union {
        struct sockaddr_in *in;
        struct sockaddr *any;
    } as = {.in = &at};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, as.any, sizeof at) != 0 || getsockname(fd, as.any, &len) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    (void)snprintf(address, size, "127.0.0.1:%u", (unsigned)ntohs(at.sin_port));
    return fd;
}

bool fleet_ports_free(struct fleet *f)
{
    int held[3 * FLEET_NODES_MAX];
    unsigned count = 0;
    bool all = true;
    for (unsigned id = 1; id <= f->count && all; id++) {
        struct fleet_node *n = &f->nodes[id];
        char *places[] = {n->client, n->peer, n->http};
        for (unsigned i = 0; i < 3 && all; i++) {
            held[count] = free_port(places[i], sizeof n->client);
            all = held[count] >= 0;
            if (all) count++;
        }
    }
    int error = errno;
    while (count > 0)
        (void)close(held[--count]);
    errno = error;
    return all;
}

/* ---- starting ---------------------------------------------------------------------------- */

/* What a node is told. The same every time, so a restart is the same command line. The ports may
 * be others than those the cluster was founded with, so peers are always dialled where they are. */
struct command_line {
    char id[16], data[CLI_PATH_MAX + 16];
    char peers[FLEET_NODES_MAX * 40]; /* the founders with their ids */
    char joins[FLEET_NODES_MAX * 40]; /* all others; empty: it founds the cluster with them */
};

static void write_command_line(const struct fleet *f, unsigned id, struct command_line *line)
{
    (void)snprintf(line->id, sizeof line->id, "%u", id);
    (void)snprintf(line->data, sizeof line->data, "%s/node-%u", f->dir, id);
    size_t used = 0;
    for (unsigned i = 1; i <= f->founders; i++)
        used += (size_t)snprintf(line->peers + used, sizeof line->peers - used, "%s%u=%s",
                                 i > 1 ? "," : "", i, f->nodes[i].peer);
    line->joins[0] = '\0';
    used = 0;
    for (unsigned i = 1; i <= f->count && id > f->founders; i++) {
        if (i == id) continue;
        used += (size_t)snprintf(line->joins + used, sizeof line->joins - used, "%s%s",
                                 used > 0 ? "," : "", f->nodes[i].peer);
    }
}

/* In the child; does not return. */
static void become_node(const struct fleet *f, unsigned id, const struct command_line *line,
                        int log, pid_t parent)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)setpgid(0, 0); /* Ctrl-C is for the parent */
    /* A node must not outlive us, not even when we are killed, or killed before this line. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(CLI_FAILED);
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (in < 0 || dup2(in, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) _exit(CLI_FAILED);
    const struct fleet_node *n = &f->nodes[id];
    bool joins = line->joins[0] != '\0';
    (void)execl("/proc/self/exe", "kelp", "server", "--id", line->id, "--data", line->data,
                "--client", n->client, "--peer", n->peer, "--http", n->http,
                joins ? "--join" : "--bootstrap", joins ? line->joins : line->peers, "--peer-at",
                line->peers, "--set", "heartbeat-ms=50", "--set", "election-ms=300", "--set",
                "segment-bytes=4194304", (char *)NULL);
    static const char failed[] = "kelp: the executable cannot be run again\n";
    ssize_t said = write(2, failed, sizeof failed - 1);
    _exit(said > 0 ? CLI_FAILED : CLI_USAGE);
}

bool fleet_start(struct fleet *f, unsigned id)
{
    struct command_line line;
    char log_path[CLI_PATH_MAX + 16];
    write_command_line(f, id, &line);
    (void)snprintf(log_path, sizeof log_path, "%s/node-%u.log", f->dir, id);
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0) return false;
    (void)fflush(stdout); /* or the child would have our unwritten text too */
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) become_node(f, id, &line, log, parent);
    int error = errno;
    (void)close(log);
    errno = error;
    if (pid < 0) return false;
    f->nodes[id].pid = pid;
    f->nodes[id].paused = false;
    return true;
}

/* ---- ending ------------------------------------------------------------------------------ */

static void gone(struct fleet_node *n, int status)
{
    n->pid = 0;
    n->paused = false;
    n->ended = status;
}

void fleet_kill(struct fleet *f, unsigned id)
{
    struct fleet_node *n = &f->nodes[id];
    int status = 0;
    if (n->pid == 0) return;
    (void)kill(n->pid, SIGKILL);
    while (waitpid(n->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    gone(n, status);
}

bool fleet_pause(struct fleet *f, unsigned id)
{
    struct fleet_node *n = &f->nodes[id];
    n->paused = n->pid != 0 && kill(n->pid, SIGSTOP) == 0;
    return n->paused;
}

bool fleet_resume(struct fleet *f, unsigned id)
{
    struct fleet_node *n = &f->nodes[id];
    n->paused = false;
    return n->pid != 0 && kill(n->pid, SIGCONT) == 0;
}

unsigned fleet_reap(struct fleet *f)
{
    for (unsigned id = 1; id <= f->count; id++) {
        int status;
        if (f->nodes[id].pid == 0 || waitpid(f->nodes[id].pid, &status, WNOHANG) <= 0) continue;
        gone(&f->nodes[id], status);
        return id;
    }
    return 0;
}

void fleet_stop(struct fleet *f)
{
    for (unsigned id = 1; id <= f->count; id++) {
        if (f->nodes[id].pid == 0) continue;
        (void)kill(f->nodes[id].pid, SIGTERM);
        (void)kill(f->nodes[id].pid, SIGCONT);
    }
    uint64_t deadline = print_now_ms() + STOP_MS;
    for (unsigned left = 1; left > 0;) {
        while (fleet_reap(f) != 0)
            continue;
        left = 0;
        for (unsigned id = 1; id <= f->count; id++)
            left += f->nodes[id].pid != 0;
        if (left == 0) break;
        if (print_now_ms() > deadline) {
            for (unsigned id = 1; id <= f->count; id++)
                fleet_kill(f, id);
            break;
        }
        struct timespec pause = {.tv_nsec = 10000000};
        (void)nanosleep(&pause, NULL);
    }
}

const char *fleet_ending(int wait_status, char *out, size_t size)
{
    if (WIFSIGNALED(wait_status))
        (void)snprintf(out, size, "signal %d (%s)", WTERMSIG(wait_status),
                       strsignal(WTERMSIG(wait_status)));
    else
        (void)snprintf(out, size, "status %d", WEXITSTATUS(wait_status));
    return out;
}

const char *fleet_last_words(const struct fleet *f, unsigned id, char *out, size_t size)
{
    char path[CLI_PATH_MAX + 16], tail[1024];
    (void)snprintf(path, sizeof path, "%s/node-%u.log", f->dir, id);
    out[0] = '\0';
    FILE *log = fopen(path, "re");
    if (log == NULL) return out;
    if (fseek(log, -(long)sizeof tail + 1, SEEK_END) != 0) rewind(log);
    size_t got = fread(tail, 1, sizeof tail - 1, log);
    (void)fclose(log);
    while (got > 0 && tail[got - 1] == '\n')
        got--;
    tail[got] = '\0';
    const char *line = strrchr(tail, '\n');
    (void)snprintf(out, size, "%s", line != NULL ? line + 1 : tail);
    return out;
}

/* ---- forgetting -------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *where)
{
    (void)found;
    (void)kind;
    (void)where;
    return remove(path);
}

bool fleet_forget(const struct fleet *f)
{
    for (unsigned id = 1; id <= FLEET_NODES_MAX; id++) {
        char path[CLI_PATH_MAX + 16];
        (void)snprintf(path, sizeof path, "%s/node-%u", f->dir, id);
        if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) return false;
        (void)snprintf(path, sizeof path, "%s/node-%u.log", f->dir, id);
        if (unlink(path) != 0 && errno != ENOENT) return false;
    }
    return true;
}
