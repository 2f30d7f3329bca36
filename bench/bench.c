/* SPDX-License-Identifier: Apache-2.0 */
/* bench.c - the coordinator of a measured cluster; see bench.h.
 *
 * Processor time is that of the whole process (clock_getcpuclockid), in nanoseconds; the ticks of
 * /proc/PID/stat are too coarse for a short window. Context switches are summed over the threads:
 * /proc/PID/status has those of the first thread only. */
#include "bench/bench.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/hash.h"

#define SECOND_NS      1000000000u
#define LEVEL_NS       (40ull * SECOND_NS) /* to catch up, and to read back, at the end */
#define PATIENCE_NS    (60ull * SECOND_NS) /* beyond warm-up and window, for everything else */
#define FLUSHES_COLUMN 15                  /* of /sys/dev/block/N:N/stat, counted from 0 */
#define LOOK_MS        5

#define COUNTS_MAX 32u

struct usage {
    uint64_t cpu_ns, switches, flushes;
    uint64_t counts[COUNTS_MAX]; /* by bench/counts.c, where that is preloaded */
};

struct coordinator {
    const struct bench_program *program;
    struct bench_options options;
    struct bench_shared *shared;
    pid_t pids[BENCH_NODES_MAX + 1]; /* by id; 0: has ended */
    int marks, stop;
    uint64_t began_ns;
    struct usage before, after;
    bool window_known, drained, bad, flushes_known;
    const char *const *count_names;
    size_t count_count; /* 0: nobody counts */
};

static volatile sig_atomic_t interrupted;

/* ---- what nodes call ---------------------------------------------------------------------- */

uint64_t bench_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

void bench_mark(const struct bench_run *run, char mark)
{
    ssize_t written;
    do
        written = write(run->marks, &mark, 1);
    while (written < 0 && errno == EINTR);
    if (written != 1) atomic_store(&run->shared->failed, true); /* nobody would ever know */
}

void bench_value(uint64_t n, uint8_t *out, size_t bytes)
{
    memset(out, 'k', bytes);
    put_u64(out, n);
}

uint64_t bench_state(uint64_t state, struct kelp_bytes bytes)
{
    return hash_mix(state, load_u64(bytes.data) ^ bytes.len); /* every value begins with a number */
}

enum bench_phase bench_clock_tick(struct bench_clock *clock, const struct bench_run *run,
                                  uint64_t now)
{
    if (clock->began_ns == 0) clock->began_ns = now;
    if (clock->phase == BENCH_WARM_UP && now - clock->began_ns >= run->options->warm_up_ns) {
        clock->phase = BENCH_WINDOW;
        clock->began_ns = now;
        bench_mark(run, 'B');
    } else if (clock->phase == BENCH_WINDOW && now - clock->began_ns >= run->options->seconds_ns) {
        clock->phase = BENCH_OVER;
        atomic_store(&run->shared->window_ns, now - clock->began_ns);
        bench_mark(run, 'E');
    }
    return clock->phase;
}

/* ---- options ------------------------------------------------------------------------------ */

static int usage(const struct bench_program *p, FILE *out)
{
    (void)fprintf(out,
                  "usage: bench-%s --dir DIR [--nodes 3] [--in-flight 1] [--value 256]\n"
                  "       [--seconds 5] [--warm-up 1]%s\n"
                  "A cluster on 127.0.0.1, the load inside its leader; one line of JSON.\n",
                  p->system, p->has_front ? " [--front PORT | --writers N]" : "");
    return out == stdout ? 0 : 2;
}

static bool number_of(const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
    char *end;
    errno = 0;
    if (text[0] < '0' || text[0] > '9') return false;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < low || number > high) return false;
    *out = number;
    return true;
}

/* "1.5" seconds, at most a day. */
static bool span_of(const char *text, uint64_t *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9') return false;
    double seconds = strtod(text, &end);
    if (*end != '\0' || !(seconds >= 0) || seconds > 86400) return false;
    *out = (uint64_t)(seconds * SECOND_NS);
    return true;
}

static bool option_of(const struct bench_program *p, struct bench_options *o, const char *name,
                      const char *value)
{
    if (strcmp(name, "--nodes") == 0) return number_of(value, 1, BENCH_NODES_MAX, &o->nodes);
    if (strcmp(name, "--in-flight") == 0) return number_of(value, 1, 100000, &o->in_flight);
    if (strcmp(name, "--value") == 0)
        return number_of(value, BENCH_VALUE_MIN, BENCH_VALUE_MAX, &o->value_bytes);
    if (strcmp(name, "--seconds") == 0) return span_of(value, &o->seconds_ns) && o->seconds_ns > 0;
    if (strcmp(name, "--warm-up") == 0) return span_of(value, &o->warm_up_ns);
    if (strcmp(name, "--front") == 0 && p->has_front) return number_of(value, 1, 65535, &o->front);
    if (strcmp(name, "--writers") == 0 && p->has_front)
        return o->alone = number_of(value, 1, BENCH_NODES_MAX, &o->nodes);
    if (strcmp(name, "--dir") == 0) {
        o->dir = value;
        return value[0] != '\0' && strlen(value) < BENCH_PATH_MAX - 16;
    }
    return false;
}

static bool options_parse(const struct bench_program *p, struct bench_options *o, int argc,
                          char **argv)
{
    *o = (struct bench_options){.nodes = 3,
                                .in_flight = 1,
                                .value_bytes = 256,
                                .warm_up_ns = SECOND_NS,
                                .seconds_ns = 5ull * SECOND_NS};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc || !option_of(p, o, argv[i], argv[i + 1])) {
            (void)fprintf(stderr, "bench-%s: %s %s: no such option, or a value out of range\n",
                          p->system, argv[i], i + 1 < argc ? argv[i + 1] : "");
            return false;
        }
    }
    if (o->dir == NULL) (void)fprintf(stderr, "bench-%s: --dir is missing\n", p->system);
    return o->dir != NULL;
}

/* ---- what processes cost ------------------------------------------------------------------ */

static uint64_t switches_of(pid_t pid, const char *thread)
{
    char path[128], line[256];
    (void)snprintf(path, sizeof path, "/proc/%ld/task/%.40s/status", (long)pid, thread);
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0; /* the thread has just ended */
    uint64_t sum = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        const char *value = strstr(line, "ctxt_switches:");
        if (value != NULL) sum += strtoull(value + strlen("ctxt_switches:"), NULL, 10);
    }
    (void)fclose(file);
    return sum;
}

static bool usage_add(struct usage *u, pid_t pid)
{
    clockid_t clock;
    struct timespec spent;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &spent) != 0) return false;
    u->cpu_ns += (uint64_t)spent.tv_sec * SECOND_NS + (uint64_t)spent.tv_nsec;
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
    DIR *threads = opendir(path);
    if (threads == NULL) return false;
    for (struct dirent *d = readdir(threads); d != NULL; d = readdir(threads))
        if (d->d_name[0] != '.') u->switches += switches_of(pid, d->d_name);
    (void)closedir(threads);
    return true;
}

/* Flushes the device of dir has done, by anyone; the kernel counts them for whole disks only. */
static bool flushes_of(const char *dir, uint64_t *out)
{
    struct stat at;
    char path[96];
    if (stat(dir, &at) != 0) return false;
    int len =
        snprintf(path, sizeof path, "/sys/dev/block/%u:%u/", major(at.st_dev), minor(at.st_dev));
    (void)snprintf(path + len, sizeof path - (size_t)len, "partition");
    const char *rest = access(path, F_OK) == 0 ? "../stat" : "stat";
    (void)snprintf(path + len, sizeof path - (size_t)len, "%s", rest);
    FILE *file = fopen(path, "r");
    if (file == NULL) return false; /* not on a block device of its own */
    bool good = true;
    for (int i = 0; i < FLUSHES_COLUMN && good; i++)
        good = fscanf(file, "%*u") != EOF;
    unsigned long long flushes = 0;
    good = good && fscanf(file, "%llu", &flushes) == 1;
    (void)fclose(file);
    *out = flushes;
    return good;
}

static void counts_of(struct coordinator *c, uint64_t *out)
{
    size_t (*look)(const char *const **, uint64_t *, size_t);
    *(void **)&look = dlsym(RTLD_DEFAULT, "counts_look");
    if (look == NULL) return;
    size_t count = look(&c->count_names, out, COUNTS_MAX);
    c->count_count = count < COUNTS_MAX ? count : COUNTS_MAX;
}

static struct usage usage_now(struct coordinator *c)
{
    struct usage u = {0};
    counts_of(c, u.counts);
    for (uint64_t id = 1; id <= c->options.nodes; id++)
        if (c->pids[id] == 0 || !usage_add(&u, c->pids[id])) c->bad = true;
    c->flushes_known = flushes_of(c->options.dir, &u.flushes);
    return u;
}

/* ---- processes ---------------------------------------------------------------------------- */

/* Ports nobody listens on now; all are held until all are known. */
static bool ports_find(struct bench_shared *s, uint64_t nodes)
{
    int held[BENCH_NODES_MAX + 1];
    bool good = true;
    for (uint64_t i = 1; i <= nodes; i++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof at;
        held[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        good = good && held[i] >= 0 && bind(held[i], (struct sockaddr *)&at, sizeof at) == 0 &&
               getsockname(held[i], (struct sockaddr *)&at, &len) == 0;
        s->ports[i] = ntohs(at.sin_port);
    }
    for (uint64_t i = 1; i <= nodes; i++)
        if (held[i] >= 0) (void)close(held[i]);
    return good;
}

static void child(struct coordinator *c, uint32_t id, int marks, int stopped)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C is the coordinator's business */
    (void)signal(SIGTERM, SIG_DFL);
    struct bench_run run = {
        .options = &c->options, .shared = c->shared, .id = id, .marks = marks, .stopped = stopped};
    (void)snprintf(run.dir, sizeof run.dir, "%s/node-%u", c->options.dir, id);
    if (mkdir(run.dir, 0700) != 0) {
        (void)fprintf(stderr, "bench-%s: %s: %s; the directory must be new\n", c->program->system,
                      run.dir, strerror(errno));
        _exit(1);
    }
    _exit(c->program->node(&run));
}

static bool start(struct coordinator *c)
{
    int marks[2], stop[2];
    c->shared =
        mmap(NULL, sizeof *c->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->shared == MAP_FAILED || pipe(marks) != 0 || pipe(stop) != 0 ||
        !ports_find(c->shared, c->options.nodes) ||
        (mkdir(c->options.dir, 0700) != 0 && errno != EEXIST))
        return false;
    for (uint32_t id = 1; id <= c->options.nodes; id++) {
        pid_t pid = fork();
        if (pid < 0) return false;
        if (pid == 0) {
            (void)close(marks[0]);
            (void)close(stop[1]);
            child(c, id, marks[1], stop[0]);
        }
        c->pids[id] = pid;
    }
    (void)close(marks[1]);
    (void)close(stop[0]);
    c->marks = marks[0];
    c->stop = stop[1];
    c->began_ns = bench_now_ns();
    return true;
}

/* Takes away who has ended; whoever ends badly spoils the run. */
static bool all_run(struct coordinator *c)
{
    for (uint64_t id = 1; id <= c->options.nodes; id++) {
        int status;
        if (c->pids[id] == 0 || waitpid(c->pids[id], &status, WNOHANG) <= 0) continue;
        c->pids[id] = 0;
        if (status == 0) continue;
        (void)fprintf(stderr, "bench-%s: node %llu ended with status %d\n", c->program->system,
                      (unsigned long long)id, status);
        c->bad = true;
    }
    return !c->bad;
}

static bool level(const struct coordinator *c)
{
    if (c->options.alone) return true; /* nobody has what another one has */
    uint64_t wanted = atomic_load(&c->shared->acknowledged);
    uint64_t state = atomic_load(&c->shared->nodes[1].state);
    for (uint64_t id = 1; id <= c->options.nodes; id++)
        if (atomic_load(&c->shared->nodes[id].applied) != wanted ||
            atomic_load(&c->shared->nodes[id].state) != state)
            return false;
    return true;
}

static void pause_ms(int ms)
{
    (void)poll(NULL, 0, ms);
}

/* From the first mark to the last. */
static void watch(struct coordinator *c)
{
    uint64_t limit = c->options.warm_up_ns + c->options.seconds_ns + PATIENCE_NS;
    while (!c->drained && all_run(c)) {
        struct pollfd ready = {.fd = c->marks, .events = POLLIN};
        char mark = 0;
        if (c->options.front == 0 && bench_now_ns() - c->began_ns > limit) {
            (void)fprintf(stderr, "bench-%s: no end within %llu s\n", c->program->system,
                          (unsigned long long)(limit / SECOND_NS));
            c->bad = true;
        }
        if (interrupted && c->options.front == 0) c->bad = true;
        if (interrupted && c->stop >= 0) {
            (void)close(c->stop); /* a front has no other end */
            c->stop = -1;
        }
        if (poll(&ready, 1, 100) <= 0 || read(c->marks, &mark, 1) != 1) continue;
        if (mark == 'B') c->before = usage_now(c);
        if (mark == 'E') c->after = usage_now(c);
        c->window_known = c->window_known || mark == 'E';
        c->drained = mark == 'D';
    }
}

/* The pace of a majority: as many nodes were faster as were slower. */
static void count_alone(struct bench_shared *s, uint64_t nodes)
{
    for (uint64_t id = 1; id <= nodes; id++) {
        uint64_t count = atomic_load(&s->nodes[id].counted), below = 0, same = 0;
        for (uint64_t other = 1; other <= nodes; other++) {
            below += atomic_load(&s->nodes[other].counted) < count;
            same += atomic_load(&s->nodes[other].counted) == count;
        }
        if (below <= nodes / 2 && below + same > nodes / 2) atomic_store(&s->operations, count);
    }
}

/* Ends all; true when every node holds what was acknowledged, and says so of its disk. */
static bool finish(struct coordinator *c)
{
    uint64_t since = bench_now_ns();
    while (!c->bad && !level(c) && bench_now_ns() - since < LEVEL_NS && all_run(c))
        pause_ms(LOOK_MS);
    bool good = level(c) && !c->bad;
    if (c->stop >= 0) (void)close(c->stop);
    since = bench_now_ns();
    for (uint64_t id = 1; id <= c->options.nodes; id++) {
        while (c->pids[id] != 0 && !c->bad && bench_now_ns() - since < LEVEL_NS && all_run(c))
            pause_ms(LOOK_MS);
        if (c->pids[id] != 0) {
            (void)kill(c->pids[id], SIGKILL);
            (void)waitpid(c->pids[id], NULL, 0);
            good = false;
        }
        if (!atomic_load(&c->shared->nodes[id].intact)) good = false;
    }
    if (c->options.alone) count_alone(c->shared, c->options.nodes);
    return good && !c->bad && level(c) && !atomic_load(&c->shared->failed) &&
           atomic_load(&c->shared->operations) > 0;
}

/* ---- the line ----------------------------------------------------------------------------- */

static double micros(const struct hist *h, uint32_t per_million)
{
    return (double)hist_percentile(h, per_million) / 1e3;
}

static void print_line(const struct coordinator *c, bool verified)
{
    const struct bench_shared *s = c->shared;
    uint64_t operations = atomic_load(&s->operations);
    double each = operations > 0 ? (double)operations : 1;
    double seconds = (double)atomic_load(&s->window_ns) / SECOND_NS;
    (void)printf("{\"system\":\"%s\",\"version\":\"%s\",\"nodes\":%llu,\"in_flight\":%llu,"
                 "\"value\":%llu,\"seconds\":%.3f,\"operations\":%llu,\"per_second\":%.1f,",
                 c->program->system, c->program->version, (unsigned long long)c->options.nodes,
                 (unsigned long long)c->options.in_flight,
                 (unsigned long long)c->options.value_bytes, seconds,
                 (unsigned long long)operations, seconds > 0 ? (double)operations / seconds : 0);
    if (c->options.front == 0)
        (void)printf("\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
                     "\"max_us\":%.1f,",
                     micros(&s->latency, 500000), micros(&s->latency, 900000),
                     micros(&s->latency, 990000), micros(&s->latency, 999000),
                     (double)s->latency.max / 1e3);
    if (c->window_known)
        (void)printf("\"cpu_us_per_operation\":%.3f,\"context_switches_per_operation\":%.4f,",
                     (double)(c->after.cpu_ns - c->before.cpu_ns) / 1e3 / each,
                     (double)(c->after.switches - c->before.switches) / each);
    if (c->window_known && c->flushes_known)
        (void)printf("\"device_flushes_per_operation\":%.4f,",
                     (double)(c->after.flushes - c->before.flushes) / each);
    for (size_t i = 0; c->window_known && i < c->count_count; i++)
        (void)printf("%s\"%s\":%.4f%s", i == 0 ? "\"counts_per_operation\":{" : "",
                     c->count_names[i], (double)(c->after.counts[i] - c->before.counts[i]) / each,
                     i + 1 < c->count_count ? "," : "},");
    (void)printf("\"verified\":%s}\n", verified ? "true" : "false");
    (void)fflush(stdout);
}

static void complain(const struct coordinator *c)
{
    const struct bench_shared *s = c->shared;
    (void)fprintf(stderr, "bench-%s: not verified: %llu acknowledged, %llu in the window%s\n",
                  c->program->system, (unsigned long long)atomic_load(&s->acknowledged),
                  (unsigned long long)atomic_load(&s->operations),
                  atomic_load(&s->failed) ? ", some had another outcome" : "");
    for (uint64_t id = 1; id <= c->options.nodes; id++)
        (void)fprintf(stderr, "  node %llu: %llu applied, state %016llx, disk %s\n",
                      (unsigned long long)id,
                      (unsigned long long)atomic_load(&s->nodes[id].applied),
                      (unsigned long long)atomic_load(&s->nodes[id].state),
                      atomic_load(&s->nodes[id].intact) ? "intact" : "not intact");
}

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

int bench_main(const struct bench_program *program, int argc, char **argv)
{
    struct coordinator c = {.program = program, .stop = -1};
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return usage(program, stdout);
    if (!options_parse(program, &c.options, argc, argv)) return usage(program, stderr);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
    if (!start(&c)) {
        (void)fprintf(stderr, "bench-%s: cannot start in %s: %s\n", program->system, c.options.dir,
                      strerror(errno));
        return 1;
    }
    watch(&c);
    bool verified = finish(&c);
    print_line(&c, verified);
    if (!verified) complain(&c);
    return verified ? 0 : 1;
}
