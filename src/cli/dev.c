/* SPDX-License-Identifier: Apache-2.0 */
/* dev.c - `kelp dev`: a whole cluster on this machine, and a few words to hurt it with.
 *
 * One loop waits for three things: lines typed on the terminal, lines sent by `kelp dev WORDS` from
 * elsewhere through the socket DIR/dev.sock, and children that ended. A lock on the directory keeps
 * a second one out. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/min.h"
#include "cli/fleet.h"
#include "cli/status.h"

#define LINE_MAX_BYTES 256u
#define ASK_MS         500u

struct dev {
    const struct verb *verb;
    struct fleet fleet;
    unsigned base; /* of the ports */
    bool json, quit;
    int lock, listener, signals;
    char line[LINE_MAX_BYTES]; /* of the terminal, so far */
    size_t line_len;
    int typed; /* status of what was typed here; nobody exits with it */
};

/* ---- what is said ------------------------------------------------------------------------ */

/* Where a word came from, and how its answer is wanted. */
struct reply {
    FILE *out; /* stdout: the terminal */
    bool json;
    int *status; /* what whoever asked exits with */
};

static void write_event(const struct reply *r, const json_t *event, const char *text)
{
    if (r->json)
        (void)json_dumpf(event, r->out, JSON_COMPACT);
    else
        (void)fputs(text, r->out);
    (void)fputc('\n', r->out);
    (void)fflush(r->out);
}

/* What happened is always shown on the terminal, and told to whoever asked for it elsewhere. */
static void say(const struct dev *d, const struct reply *to, json_t *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void say(const struct dev *d, const struct reply *to, json_t *event, const char *format, ...)
{
    const struct reply terminal = {.out = stdout, .json = d->json, .status = to->status};
    char text[CLI_PATH_MAX + 512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    write_event(&terminal, event, text);
    if (to->out != stdout) write_event(to, event, text);
    json_decref(event);
}

static void say_started(const struct dev *d, const struct reply *to, unsigned id)
{
    const struct fleet_node *n = &d->fleet.nodes[id];
    char log[CLI_PATH_MAX + 16];
    (void)snprintf(log, sizeof log, "%s/node-%u.log", d->fleet.dir, id);
    say(d, to,
        json_pack("{ss si si ss ss ss ss}", "event", "started", "node", (int)id, "pid", (int)n->pid,
                  "client", n->client, "peer", n->peer, "http", n->http, "log", log),
        "node %u started  pid %d  client %s  peer %s  http %s  log %s", id, (int)n->pid, n->client,
        n->peer, n->http, log);
}

static void say_event(const struct dev *d, const struct reply *to, unsigned id, const char *event,
                      const char *words)
{
    say(d, to, json_pack("{ss si ss}", "event", event, "node", (int)id, "words", words),
        "node %u %s%s%s", id, event, words[0] != '\0' ? ": " : "", words);
}

static void failed(const struct dev *d, const struct reply *to, unsigned id, const char *event,
                   const char *words)
{
    *to->status = CLI_FAILED;
    say_event(d, to, id, event, words);
}

/* What somebody typed wrong is no event: from the terminal it goes to stderr. */
static void complain(const struct reply *to, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void complain(const struct reply *to, const char *format, ...)
{
    FILE *out = to->out == stdout ? stderr : to->out;
    *to->status = CLI_USAGE;
    va_list args;
    va_start(args, format);
    (void)vfprintf(out, format, args);
    (void)fputc('\n', out);
    va_end(args);
}

static void say_status(struct dev *d, const struct reply *to)
{
    struct status_node nodes[FLEET_NODES_MAX] = {0};
    size_t count = d->fleet.count;
    for (unsigned id = 1; id <= count; id++) {
        const struct fleet_node *n = &d->fleet.nodes[id];
        struct status_node *said = &nodes[id - 1];
        (void)snprintf(said->client, sizeof said->client, "%s", n->client);
        if (n->pid == 0 || n->paused)
            (void)snprintf(said->error, sizeof said->error, "node %u is %s", id,
                           n->paused ? "paused" : "not running");
        else
            (void)status_ask(n->client, ASK_MS, said);
        said->id = id;
    }
    if (to->json) {
        json_t *all = status_json(nodes, count);
        write_event(to, all, "");
        json_decref(all);
    } else {
        status_print(to->out, nodes, count);
    }
    (void)fflush(to->out);
    for (size_t i = 0; i < count; i++)
        status_forget(&nodes[i]);
}

/* ---- what is done ------------------------------------------------------------------------ */

enum dev_word { DEV_KILL, DEV_START, DEV_PAUSE, DEV_RESUME };

static const char *const dev_words[] = {"kill", "start", "pause", "resume"};

static void start_node(struct dev *d, const struct reply *to, unsigned id)
{
    if (!fleet_start(&d->fleet, id)) {
        failed(d, to, id, "could not be started", strerror(errno));
        return;
    }
    say_started(d, to, id);
    if (id <= d->fleet.founders) return;
    char words[96];
    (void)snprintf(words, sizeof words, "unless it is a member, `kelp members add %u` makes it one",
                   id);
    say_event(d, to, id, "asks to join", words);
}

static void act(struct dev *d, const struct reply *to, enum dev_word word, unsigned id)
{
    struct fleet_node *n = &d->fleet.nodes[id];
    bool running = n->pid != 0;
    if (running == (word == DEV_START)) {
        say_event(d, to, id, running ? "is running already" : "is not running", "");
        return;
    }
    switch (word) {
    case DEV_KILL:
        fleet_kill(&d->fleet, id);
        say_event(d, to, id, "killed", "");
        return;
    case DEV_START: start_node(d, to, id); return;
    case DEV_PAUSE:
        if (fleet_pause(&d->fleet, id))
            say_event(d, to, id, "paused", "");
        else
            failed(d, to, id, "is gone", "");
        return;
    case DEV_RESUME:
        if (fleet_resume(&d->fleet, id))
            say_event(d, to, id, "resumed", "");
        else
            failed(d, to, id, "is gone", "");
        return;
    }
}

/* One line from the terminal or the socket. */
static void obey(struct dev *d, const struct reply *to, const char *line)
{
    char word[16];
    unsigned id = 0;
    int fields = sscanf(line, " %15s %u", word, &id);
    if (fields < 1) return;
    if (fields == 1 && strcmp(word, "status") == 0) {
        say_status(d, to);
        return;
    }
    if (fields == 1 && (strcmp(word, "quit") == 0 || strcmp(word, "exit") == 0)) {
        d->quit = true;
        return;
    }
    for (size_t i = 0; i < COUNT_OF(dev_words); i++) {
        if (strcmp(word, dev_words[i]) != 0) continue;
        unsigned last = d->fleet.count; /* `start` takes one more, if there is room for it */
        if (i == DEV_START && last < FLEET_NODES_MAX) last++;
        if (fields == 2 && id >= 1 && id <= last) {
            if (id > d->fleet.count) fleet_grow(&d->fleet, d->base);
            act(d, to, (enum dev_word)i, id);
        } else {
            complain(to, "%s: needs a node, 1 to %u", word, last);
        }
        return;
    }
    complain(to, "%s: no such word; kill N, start N, pause N, resume N, status, quit", word);
}

/* ---- the socket -------------------------------------------------------------------------- */

/* Through the open directory, so that no path is too long for a socket's name. */
static int control(int dir, int (*attach)(int, const struct sockaddr *, socklen_t))
{
    union {
        struct sockaddr any;
        struct sockaddr_un local;
    } at = {.local = {.sun_family = AF_UNIX}};
    (void)snprintf(at.local.sun_path, sizeof at.local.sun_path, "/proc/self/fd/%d/dev.sock", dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (attach(fd, &at.any, sizeof at.local) == 0) return fd;
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

static void serve_one(struct dev *d)
{
    int fd = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return;
    struct timeval limit = {.tv_sec = 1}; /* whoever connects says its line at once */
    char line[LINE_MAX_BYTES];
    ssize_t got = -1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0)
        got = recv(fd, line, sizeof line - 1, 0);
    FILE *out = got > 0 ? fdopen(fd, "w") : NULL;
    if (out == NULL) {
        (void)close(fd);
        return;
    }
    line[got] = '\0';
    /* The first character says how the answer is wanted. */
    int status = CLI_DONE;
    const struct reply to = {.out = out, .json = line[0] == 'j', .status = &status};
    obey(d, &to, line + 1);
    (void)fputc('0' + status, out); /* the last byte, not for people */
    (void)fclose(out);
}

/* `kelp dev kill 2`: hand the words to the one that runs there. */
static bool word_known(const char *word)
{
    for (size_t i = 0; i < COUNT_OF(dev_words); i++) {
        if (strcmp(word, dev_words[i]) == 0) return true;
    }
    return strcmp(word, "status") == 0 || strcmp(word, "quit") == 0;
}

static int tell(const struct verb *verb, const char *dir, bool json, int argc, char **argv)
{
    if (!word_known(argv[1])) /* whether it runs or not */
        return cli_error(verb, CLI_USAGE, "%s: must be kill, start, pause, resume, status or quit",
                         argv[1]);
    char line[LINE_MAX_BYTES], answer[4096];
    size_t used = (size_t)snprintf(line, sizeof line, "%c", json ? 'j' : 't');
    for (int i = 1; i < argc && used < sizeof line; i++)
        used +=
            (size_t)snprintf(line + used, sizeof line - used, "%s%s", i > 1 ? " " : "", argv[i]);
    int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = root >= 0 ? control(root, connect) : -1;
    if (fd < 0)
        return cli_error(verb, CLI_FAILED, "%s: no `kelp dev` runs there (%s)", dir,
                         strerror(errno));
    if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
        return cli_error(verb, CLI_FAILED, "%s: %s", dir, strerror(errno));
    char last = '\0';
    ssize_t got;
    while ((got = recv(fd, answer, sizeof answer, 0)) > 0) {
        if (last != '\0') (void)fputc(last, stdout);
        (void)fwrite(answer, 1, (size_t)got - 1, stdout);
        last = answer[got - 1];
    }
    (void)close(fd);
    (void)close(root);
    if (last == '\0') return cli_error(verb, CLI_FAILED, "%s: it ended without an answer", dir);
    return last - '0';
}

/* ---- the loop ---------------------------------------------------------------------------- */

/* False: the terminal is closed, which ends nothing: there is the socket. */
static bool read_terminal(struct dev *d)
{
    const struct reply to = {.out = stdout, .json = d->json, .status = &d->typed};
    ssize_t got = read(STDIN_FILENO, d->line + d->line_len, sizeof d->line - 1 - d->line_len);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (got <= 0) return false;
    d->line_len += (size_t)got;
    d->line[d->line_len] = '\0';
    char *end;
    while ((end = strchr(d->line, '\n')) != NULL) {
        *end = '\0';
        obey(d, &to, d->line);
        d->line_len -= (size_t)(end + 1 - d->line);
        memmove(d->line, end + 1, d->line_len + 1);
    }
    if (d->line_len == sizeof d->line - 1) d->line_len = 0; /* nobody types that */
    return true;
}

static void read_signals(struct dev *d)
{
    struct signalfd_siginfo info;
    while (read(d->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo != SIGCHLD) d->quit = true;
    }
    for (unsigned id; (id = fleet_reap(&d->fleet)) != 0;) {
        char words[1200], ending[64], last[1024];
        (void)snprintf(words, sizeof words, "%s; its last words: %s",
                       fleet_ending(d->fleet.nodes[id].ended, ending, sizeof ending),
                       fleet_last_words(&d->fleet, id, last, sizeof last));
        const struct reply to = {.out = stdout, .json = d->json, .status = &d->typed};
        say_event(d, &to, id, "ended by itself", words);
    }
}

static void run(struct dev *d)
{
    struct pollfd wait[] = {{.fd = d->signals, .events = POLLIN},
                            {.fd = d->listener, .events = POLLIN},
                            {.fd = STDIN_FILENO, .events = POLLIN}};
    while (!d->quit) {
        if (poll(wait, COUNT_OF(wait), -1) < 0 && errno != EINTR) return;
        if (wait[0].revents != 0) read_signals(d);
        if (wait[1].revents != 0) serve_one(d);
        if (wait[2].revents != 0 && !read_terminal(d)) wait[2].fd = -1;
    }
}

/* ---- begin and end ----------------------------------------------------------------------- */

static bool prepare(struct dev *d, bool fresh, int *status)
{
    const char *dir = d->fleet.dir;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        *status = cli_error(d->verb, CLI_FAILED, "%s: %s", dir, strerror(errno));
        return false;
    }
    d->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->lock < 0 || flock(d->lock, LOCK_EX | LOCK_NB) != 0) {
        *status =
            cli_error(d->verb, CLI_FAILED, "%s: %s", dir,
                      errno == EWOULDBLOCK ? "another `kelp dev` runs there" : strerror(errno));
        return false;
    }
    if (fresh && !fleet_forget(&d->fleet)) {
        *status = cli_error(d->verb, CLI_FAILED, "%s: emptying it: %s", dir, strerror(errno));
        return false;
    }
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    (void)unlinkat(d->lock, "dev.sock", 0);
    d->listener = control(d->lock, bind);
    if (d->signals >= 0 && d->listener >= 0 && listen(d->listener, 8) == 0) return true;
    *status = cli_error(d->verb, CLI_FAILED, "%s/dev.sock: %s", dir, strerror(errno));
    return false;
}

static int run_cluster(struct dev *d, bool fresh)
{
    const struct reply to = {.out = stdout, .json = d->json, .status = &d->typed};
    int status = CLI_DONE;
    if (!prepare(d, fresh, &status)) return status;
    for (unsigned id = 1; id <= d->fleet.count && status == CLI_DONE; id++) {
        if (fleet_start(&d->fleet, id))
            say_started(d, &to, id);
        else
            status = cli_error(d->verb, CLI_FAILED, "node %u: %s", id, strerror(errno));
    }
    if (status == CLI_DONE) {
        if (!d->json)
            (void)printf("kill N, start N, pause N, resume N, status, quit (or Ctrl-C)\n");
        (void)fflush(stdout);
        run(d);
    }
    fleet_stop(&d->fleet);
    (void)unlinkat(d->lock, "dev.sock", 0);
    return status;
}

int dev_verb(const struct verb *verb, int argc, char **argv)
{
    static struct dev d;
    const char *dir = "./kelp-dev";
    uint64_t nodes = 3, base = 7000;
    bool fresh = false;
    const struct flag flags[] = {
        {.name = "nodes",
         .kind = FLAG_NUMBER,
         .to.number = &nodes,
         .low = 1,
         .high = FLEET_NODES_MAX,
         .value = "N",
         .words = "how many; 3"},
        {.name = "dir",
         .kind = FLAG_TEXT,
         .to.text = &dir,
         .value = "DIR",
         .words = "where data and logs go; ./kelp-dev"},
        {.name = "fresh",
         .kind = FLAG_SWITCH,
         .to.on = &fresh,
         .words = "forget what the nodes stored there before"},
        {.name = "base-port",
         .kind = FLAG_NUMBER,
         .to.number = &base,
         .low = 1024,
         .high = 65300,
         .value = "PORT",
         .words = "node i: client PORT+i, peer PORT+100+i, http PORT+200+i; 7000"},
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &d.json, .words = "a JSON object an event"},
    };
    int status;
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status) ||
        !flags_words_check(verb, argc, argv, 0, 2, &status))
        return status;
    if (strlen(dir) >= CLI_PATH_MAX)
        return cli_error(verb, CLI_USAGE, "--dir: must be shorter than %u bytes", CLI_PATH_MAX);
    if (argc > 1) return tell(verb, dir, d.json, argc, argv);
    d.verb = verb;
    fleet_init(&d.fleet, (unsigned)nodes, dir);
    d.base = (unsigned)base;
    fleet_ports(&d.fleet, d.base);
    return run_cluster(&d, fresh);
}
