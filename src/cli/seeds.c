/* SPDX-License-Identifier: Apache-2.0 */
/* seeds.c - `kelp sim run`: seeds through the simulator, several processes at once; one seed may be
 * traced, stopped at an event, or come from a case, and is shrunk when it fails.
 *
 * Each job is a process that plays every jobs-th seed and hands its total back through a pipe,
 * because a run may end in a failed assertion and must not take the others along. Failures are
 * printed where they happen. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/min.h"
#include "cli/sim.h"

#define NS_OF_SECOND   ((kelp_ns)1000000000)
#define CASE_BYTES_MAX ((size_t)64 * 1024 * 1024)

uint64_t sim_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- what the flags ask for ---- */

static const char *const breaks[KELP_SIM_BREAK_COUNT] = {
    [KELP_SIM_BREAK_NOTHING] = "nothing",
    [KELP_SIM_BREAK_VOTE_SYNC] = "vote-sync",
    [KELP_SIM_BREAK_LOG_SYNC] = "log-sync",
    [KELP_SIM_BREAK_EARLY_SAVED] = "early-saved",
    [KELP_SIM_BREAK_STALE_READ] = "stale-read",
    [KELP_SIM_BREAK_FALSE_DONE] = "false-done",
    [KELP_SIM_BREAK_FALSE_REFUSED] = "false-refused",
    [KELP_SIM_BREAK_APPLY] = "apply",
    [KELP_SIM_BREAK_FRAME] = "frame",
    [KELP_SIM_BREAK_BLIND_READ] = "blind-read",
    [KELP_SIM_BREAK_DRIFT] = "drift",
};

struct kelp_sim_options sim_options(const struct sim_flags *f)
{
    struct kelp_sim_options options = kelp_sim_options_default();
    options.hurt = f->hurt_s * NS_OF_SECOND;
    options.broken = f->breaks;
    options.choices = f->choices;
    options.until = f->until;
    options.kills = (uint32_t)f->kills;
    options.together = f->together;
    options.restores = f->restores;
    return options;
}

void sim_again(const struct sim_flags *f, uint64_t seed, const char *case_path, kelp_ns hurt,
               uint64_t until, char *out, size_t size)
{
    struct kelp_sim_options defaults = kelp_sim_options_default();
    if (case_path == NULL) case_path = f->case_path;
    if (hurt == 0) hurt = f->hurt_s * NS_OF_SECOND;
    int len = case_path != NULL
                  ? snprintf(out, size, "kelp sim run --case %s", case_path)
                  : snprintf(out, size, "kelp sim run --seed %llu", (unsigned long long)seed);
    size_t at = min_u64((size_t)(len > 0 ? len : 0), size);
    if (hurt != defaults.hurt)
        at += (size_t)snprintf(out + at, size - at, " --hurt %llu",
                               (unsigned long long)(hurt / NS_OF_SECOND));
    if (f->kills != 0 && at < size)
        at += (size_t)snprintf(out + at, size - at, " --kills %llu", (unsigned long long)f->kills);
    if (f->together && at < size) at += (size_t)snprintf(out + at, size - at, " --together");
    if (f->restores && at < size) at += (size_t)snprintf(out + at, size - at, " --restores");
    if (f->breaks != KELP_SIM_BREAK_NOTHING && at < size)
        at += (size_t)snprintf(out + at, size - at, " --broken %s", breaks[f->breaks]);
    if (until != 0 && at < size)
        (void)snprintf(out + at, size - at, " --until %llu", (unsigned long long)until);
}

/* ---- a report ---- */

static void print_report(const struct verb *verb, const struct sim_flags *f,
                         const struct kelp_sim_report *report)
{
    char line[KELP_SIM_LINE_MAX], again[CLI_PATH_MAX + 128];
    if (f->json) {
        char seed[24], hash[24];
        (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)report->seed);
        (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)report->hash);
        (void)print_json(verb, json_pack("{ss sI ss sb sb ss ss}", "seed", seed, "events",
                                         (json_int_t)report->events, "hash", hash, "passed",
                                         report->passed, "stopped", report->stopped, "invariant",
                                         report->invariant, "message", report->message));
        return;
    }
    (void)kelp_sim_line(report, line, sizeof line);
    if (!report->passed || report->stopped) (void)fputs(report->story, stdout);
    if (!report->passed) {
        sim_again(f, report->seed, NULL, 0, max_u64(report->events, 2) - 1, again, sizeof again);
        (void)printf("up to the event before: %s\n", again);
        if (f->count == 1 && !f->no_shrink) {
            char path[64];
            (void)snprintf(path, sizeof path, "kelp-sim-%llu.case",
                           (unsigned long long)report->seed);
            (void)printf("\nshrinking for up to %llu s ...\n", (unsigned long long)f->seconds);
            (void)fflush(stdout);
            (void)sim_shrink(verb, f, report->seed, f->out != NULL ? f->out : path, SIM_SHRINK_TOLD,
                             stdout);
        }
    }
    (void)puts(line);
    (void)fflush(stdout);
}

/* ---- one run, traced ---- */

struct tracing {
    struct columns *columns;
    FILE *json;
    uint64_t from;
};

static void trace_record(void *ctx, const struct kelp_sim_event *event)
{
    struct tracing *t = ctx;
    char line[KELP_SIM_JSON_MAX];
    if (t->columns != NULL) columns_record(t->columns, event);
    if (t->json == NULL || (event->number < t->from && event->kind != KELP_SIM_BEGAN)) return;
    (void)kelp_sim_event_json(event, line, sizeof line);
    (void)fprintf(t->json, "%s\n", line);
}

static bool tracing_begin(const struct verb *verb, const struct sim_flags *f, struct tracing *t)
{
    *t = (struct tracing){.from = f->from};
    if (f->trace) {
        t->columns = columns_new(stdout, f->from, f->shown, f->all);
        if (t->columns == NULL) return cli_error(verb, CLI_FAILED, "out of memory") == CLI_DONE;
    }
    if (f->trace_json == NULL) return true;
    t->json = strcmp(f->trace_json, "-") == 0 ? stdout : fopen(f->trace_json, "w");
    if (t->json != NULL) return true;
    columns_free(t->columns);
    return cli_error(verb, CLI_FAILED, "%s: %s", f->trace_json, strerror(errno)) == CLI_DONE;
}

static bool tracing_end(const struct verb *verb, const struct sim_flags *f, struct tracing *t)
{
    columns_free(t->columns);
    if (t->json == NULL) return true;
    bool good = fflush(t->json) == 0 && ferror(t->json) == 0;
    if (t->json != stdout) good = fclose(t->json) == 0 && good;
    if (!good) (void)cli_error(verb, CLI_FAILED, "%s: not written whole", f->trace_json);
    return good;
}

static bool play_one(const struct verb *verb, const struct sim_flags *f, uint64_t seed,
                     struct kelp_sim_report *report)
{
    struct kelp_sim_options options = sim_options(f);
    struct tracing t = {0};
    bool traced = f->trace || f->trace_json != NULL;
    if (traced) {
        if (!tracing_begin(verb, f, &t)) return false;
        options.trace = trace_record;
        options.trace_ctx = &t;
    }
    (void)kelp_sim_run(seed, &options, report);
    return !traced || tracing_end(verb, f, &t);
}

/* ---- many ---- */

static struct kelp_sim_total play(const struct verb *verb, const struct sim_flags *f, uint64_t job)
{
    static struct kelp_sim_report report; /* large, and one run at a time */
    struct kelp_sim_total total = {0};
    for (uint64_t i = job; i < f->count; i += f->jobs) {
        if (!play_one(verb, f, f->first + i, &report)) {
            total.failed++;
            return total;
        }
        kelp_sim_add(&total, &report);
        if (!report.passed || f->count == 1) print_report(verb, f, &report);
    }
    return total;
}

void sim_add_total(struct kelp_sim_total *sum, const struct kelp_sim_total *part)
{
    sum->seeds += part->seeds;
    sum->failed += part->failed;
    sum->events += part->events;
    sum->faults += part->faults;
    sum->requests += part->requests;
    sum->done += part->done;
    sum->crashes += part->crashes;
    sum->simulated += part->simulated;
    sum->disk_harms += part->disk_harms;
    sum->halts += part->halts;
    sum->kills += part->kills;
    sum->heir_worst = max_u64(sum->heir_worst, part->heir_worst);
    sum->changes += part->changes;
    sum->changes_done += part->changes_done;
    sum->rotted += part->rotted;
    sum->rejoined += part->rejoined;
    sum->retried += part->retried;
    sum->lapsed += part->lapsed;
    sum->snapshots += part->snapshots;
    sum->snapshots_installed += part->snapshots_installed;
    sum->together += part->together;
    sum->renewals += part->renewals;
    sum->outdated += part->outdated;
    sum->cores += part->cores;
    sum->leaders_soon += part->leaders_soon;
    for (size_t i = 0; i < COUNT_OF(sum->fault_kinds); i++)
        sum->fault_kinds[i] += part->fault_kinds[i];
    for (size_t i = 0; i < COUNT_OF(sum->marks); i++)
        sum->marks[i] += part->marks[i];
}

struct job {
    pid_t pid;
    int from; /* the pipe its total comes through */
};

static bool start_job(const struct verb *verb, const struct sim_flags *f, uint64_t number,
                      struct job *job)
{
    int ends[2];
    (void)fflush(stdout);
    if (pipe(ends) != 0) return false;
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        struct kelp_sim_total total = play(verb, f, number);
        (void)fflush(stdout);
        /* A total fits a pipe's buffer, so this is one write. */
        bool written = write(ends[1], &total, sizeof total) == (ssize_t)sizeof total;
        _exit(written ? CLI_DONE : CLI_FAILED);
    }
    (void)close(ends[1]);
    if (pid < 0) (void)close(ends[0]);
    *job = (struct job){.pid = pid, .from = ends[0]};
    return pid > 0;
}

/* False: the job died before its total, which is a failure of its own. */
static bool end_job(const struct job *job, struct kelp_sim_total *sum)
{
    struct kelp_sim_total part;
    ssize_t got;
    do
        got = read(job->from, &part, sizeof part);
    while (got < 0 && errno == EINTR);
    (void)close(job->from);
    int status;
    while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (got != (ssize_t)sizeof part) return false;
    sim_add_total(sum, &part);
    return true;
}

static bool play_all(const struct verb *verb, const struct sim_flags *f, struct kelp_sim_total *sum)
{
    if (f->jobs == 1) {
        *sum = play(verb, f, 0);
        return true;
    }
    struct job jobs[SIM_JOBS_MAX];
    uint64_t started = 0;
    bool all = true;
    while (started < f->jobs && all) {
        all = start_job(verb, f, started, &jobs[started]);
        if (all)
            started++;
        else
            (void)cli_error(verb, CLI_FAILED, "starting a job: %s", strerror(errno));
    }
    for (uint64_t i = 0; i < started; i++) {
        if (end_job(&jobs[i], sum)) continue;
        (void)cli_error(verb, CLI_FAILED, "job %llu died; its last words stand above",
                        (unsigned long long)i);
        all = false;
    }
    return all;
}

static bool parse_seed(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long seed = strtoull(text, &end, 0);
    *out = seed;
    return errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0';
}

static int print_total(const struct verb *verb, const struct sim_flags *f,
                       const struct kelp_sim_total *total, uint64_t wall_ns)
{
    if (f->json)
        return print_json(
            verb,
            json_pack("{sI sI sI sI sI sI sI sI}", "seeds", (json_int_t)total->seeds, "failed",
                      (json_int_t)total->failed, "events", (json_int_t)total->events, "faults",
                      (json_int_t)total->faults, "healed", (json_int_t)total->cores, "healed_soon",
                      (json_int_t)total->leaders_soon, "changes", (json_int_t)total->changes,
                      "changes_done", (json_int_t)total->changes_done));
    char line[KELP_SIM_LINE_MAX];
    (void)printf("%llu of %llu clusters had a leader within three election timeouts of healing\n",
                 (unsigned long long)total->leaders_soon, (unsigned long long)total->cores);
    if (total->changes > 0)
        (void)printf("%llu of %llu changes of members were done\n",
                     (unsigned long long)total->changes_done, (unsigned long long)total->changes);
    if (total->renewals > 0)
        (void)printf("%llu times a disk was recovered by hand; %llu nodes of before it were told\n",
                     (unsigned long long)total->renewals, (unsigned long long)total->outdated);
    if (total->rotted > 0)
        (void)printf("%llu times the state of a node was made another and found out, %llu nodes "
                     "rejoined\n",
                     (unsigned long long)total->rotted, (unsigned long long)total->rejoined);
    if (total->lapsed > 0)
        (void)printf("%llu values ended at their deadlines, %llu commands of sessions were asked "
                     "again, %llu snapshots were taken and %llu installed; all three in %llu "
                     "seeds\n",
                     (unsigned long long)total->lapsed, (unsigned long long)total->retried,
                     (unsigned long long)total->snapshots,
                     (unsigned long long)total->snapshots_installed,
                     (unsigned long long)total->together);
    if (f->kills > 0)
        (void)printf("%llu leaders killed, another one led after at most %llu ms\n",
                     (unsigned long long)total->kills,
                     (unsigned long long)(total->heir_worst / 1000000u));
    (void)kelp_sim_total_line(total, wall_ns, line, sizeof line);
    (void)puts(line);
    return CLI_DONE;
}

/* ---- the flags ---- */

static bool parse_nodes(const char *text, uint32_t *shown)
{
    *shown = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '1' || *at > '0' + (int)KELP_SIM_NODES_MAX) return false;
        *shown |= 1u << (*at - '1');
        if (at[1] == ',') at++;
    }
    return *shown != 0;
}

static bool parse_break(const char *name, enum kelp_sim_break *out)
{
    for (unsigned i = 0; i < KELP_SIM_BREAK_COUNT; i++) {
        *out = (enum kelp_sim_break)i;
        if (breaks[i] != NULL && strcmp(name, breaks[i]) == 0) return true;
    }
    return false;
}

/* "1.5" hours as seconds. */
static bool parse_hours(const char *text, uint64_t *seconds)
{
    char *end;
    double hours = strtod(text, &end);
    *seconds = hours > 0 && hours < 1e6 ? (uint64_t)(hours * 3600 + 0.5) : 0;
    return end != text && *end == '\0' && *seconds > 0;
}

static bool case_read(const struct verb *verb, struct sim_flags *f)
{
    FILE *file = fopen(f->case_path, "rb");
    if (file == NULL)
        return cli_error(verb, CLI_FAILED, "--case %s: %s", f->case_path, strerror(errno)) ==
               CLI_DONE;
    size_t len = 0, room = 64 * 1024;
    uint8_t *bytes = malloc(room);
    while (bytes != NULL && len <= CASE_BYTES_MAX) {
        len += fread(bytes + len, 1, room - len, file);
        if (len < room) break;
        uint8_t *more = realloc(bytes, room *= 2);
        if (more == NULL) free(bytes);
        bytes = more;
    }
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (bytes != NULL && !failed && len <= CASE_BYTES_MAX) {
        f->choices = bytes_of(bytes, len);
        return true;
    }
    free(bytes);
    return cli_error(verb, CLI_FAILED, "--case %s: %s", f->case_path,
                     bytes == NULL ? "out of memory"
                     : failed      ? "cannot be read"
                                   : "above 64 MiB") == CLI_DONE;
}

/* The flags as text, into what they mean. */
static bool flags_understood(const struct verb *verb, struct sim_flags *f, int *status)
{
    *status = CLI_USAGE;
    if (!parse_seed(f->seed, &f->first))
        (void)cli_error(verb, CLI_USAGE, "--seed %s: must be a number, decimal or 0x...", f->seed);
    else if (f->nodes != NULL && !parse_nodes(f->nodes, &f->shown))
        (void)cli_error(verb, CLI_USAGE, "--nodes %s: must be like 1,3 (nodes 1 to %u)", f->nodes,
                        KELP_SIM_NODES_MAX);
    else if (f->broken != NULL && !parse_break(f->broken, &f->breaks))
        (void)cli_error(verb, CLI_USAGE,
                        "--broken %s: must be vote-sync, log-sync, early-saved, stale-read, "
                        "false-done, false-refused, apply, frame or blind-read",
                        f->broken);
    else if (f->hours != NULL && !parse_hours(f->hours, &f->soak_s))
        (void)cli_error(verb, CLI_USAGE, "--hours %s: must be a number above 0, like 8 or 0.5",
                        f->hours);
    else if (f->count > 1 && (f->trace || f->trace_json != NULL || f->until != 0))
        (void)cli_error(verb, CLI_USAGE, "--trace, --trace-json and --until are for one seed");
    else if (f->count > 1 && f->case_path != NULL)
        (void)cli_error(verb, CLI_USAGE, "--case is one run: --seeds does not go with it");
    else if (f->until != 0 && f->from > f->until)
        (void)cli_error(verb, CLI_USAGE, "--from %llu: is behind --until %llu",
                        (unsigned long long)f->from, (unsigned long long)f->until);
    else {
        *status = CLI_FAILED;
        return f->case_path == NULL || case_read(verb, f);
    }
    return false;
}

static int run_verb(const struct verb *verb, struct sim_flags *f)
{
    struct kelp_sim_total total = {0};
    if (f->jobs > f->count) f->jobs = f->count;
    uint64_t began = sim_now_ns();
    bool all = play_all(verb, f, &total);
    uint64_t took = sim_now_ns() - began;
    size_t unexplained =
        f->count >= SIM_MARKS_SEEDS && !f->json && f->kills == 0 ? marks_print(&total) : 0;
    if (f->count > 1 && print_total(verb, f, &total, took) != CLI_DONE) return CLI_FAILED;
    if (f->strict_marks && unexplained > 0)
        return cli_error(verb, CLI_FAILED, "--strict-marks: %zu events were never hit",
                         unexplained);
    return all && total.failed == 0 ? CLI_DONE : CLI_FAILED;
}

static int sim_words(const struct verb *verb, const char *word, struct sim_flags *f)
{
    if (strcmp(word, "run") == 0) return run_verb(verb, f);
    if (strcmp(word, "shrink") == 0) return sim_shrink_verb(verb, f);
    if (strcmp(word, "soak") == 0) return sim_soak_verb(verb, f);
    return cli_error(verb, CLI_USAGE, "%s: must be run, shrink, soak, explore, check or scenario",
                     word);
}

/* One word of `kelp sim` is run by a process, so its flags may stand still. */
static struct sim_flags given = {.count = 1, .jobs = 1, .hurt_s = 60, .seconds = 60};
/* clang-format off */
static const struct flag flags[] = {
    {"seed", FLAG_TEXT, {.text = &given.seed}, 0, 0, "S",
     "the first seed, decimal or 0x...; 1, soak: from the clock"},
    {"seeds", FLAG_NUMBER, {.number = &given.count}, 1, UINT32_MAX, "N", "run: how many; 1"},
    {"jobs", FLAG_NUMBER, {.number = &given.jobs}, 1, SIM_JOBS_MAX, "J",
     "run, soak: processes at once; 1"},
    {"case", FLAG_TEXT, {.text = &given.case_path}, 0, 0, "FILE",
     "run, shrink: the choices of a run, as shrink writes them"},
    {"hurt", FLAG_NUMBER, {.number = &given.hurt_s}, 1, 86400, "SECONDS",
     "simulated seconds of faults; 60"},
    {"kills", FLAG_NUMBER, {.number = &given.kills}, 1, KELP_SIM_KILLS_MAX, "N",
     "two nodes and a witness, whose leader is killed N times a seed"},
    {"together", FLAG_SWITCH, {.on = &given.together}, 0, 0, NULL,
     "sessions, deadlines and tiny snapshots in every seed"},
    {"restores", FLAG_SWITCH, {.on = &given.restores}, 0, 0, NULL,
     "somebody begins restores of the cluster, and gives them up"},
    {"broken", FLAG_TEXT, {.text = &given.broken}, 0, 0, "RULE",
     "break a rule on purpose: log-sync, vote-sync, stale-read ..."},
    {"trace", FLAG_SWITCH, {.on = &given.trace}, 0, 0, NULL,
     "run: what happens, a column a node"},
    {"all", FLAG_SWITCH, {.on = &given.all}, 0, 0, NULL, "run: also what says little"},
    {"nodes", FLAG_TEXT, {.text = &given.nodes}, 0, 0, "1,3", "run: columns of these only"},
    {"trace-json", FLAG_TEXT, {.text = &given.trace_json}, 0, 0, "FILE",
     "run: the trace as JSON lines, - for stdout"},
    {"from", FLAG_NUMBER, {.number = &given.from}, 0, INT64_MAX, "EVENT",
     "run: trace from this event on"},
    {"until", FLAG_NUMBER, {.number = &given.until}, 1, INT64_MAX, "EVENT",
     "run: stop after this event and show every node"},
    {"no-shrink", FLAG_SWITCH, {.on = &given.no_shrink}, 0, 0, NULL,
     "run, soak: do not look for a smaller schedule"},
    {"seconds", FLAG_NUMBER, {.number = &given.seconds}, 1, 86400, "N",
     "shrinking: how long; 60"},
    {"out", FLAG_TEXT, {.text = &given.out}, 0, 0, "PATH",
     "the file of a shrunk case; soak: the directory"},
    {"hours", FLAG_TEXT, {.text = &given.hours}, 0, 0, "H", "soak: for ever without"},
    {"strict-marks", FLAG_SWITCH, {.on = &given.strict_marks}, 0, 0, NULL,
     "run, soak: fail if an event was never hit, unexplained"},
    {"json", FLAG_SWITCH, {.on = &given.json}, 0, 0, NULL, "run, check: JSON lines, no shrinking"},
};
/* clang-format on */

int sim_verb(const struct verb *verb, int argc, char **argv)
{
    static char from_clock[24];
    struct sim_flags *f = &given;
    int status;
    if (argc > 1 && strcmp(argv[1], "explore") == 0) return explore_verb(argc - 1, argv + 1);
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status) ||
        !flags_words_check(verb, argc, argv, 1, 2, &status))
        return status;
    if (strcmp(argv[1], "check") == 0)
        return argc == 3
                   ? sim_check(verb, argv[2], f->json)
                   : cli_error(verb, CLI_USAGE, "check: needs a file, or - for standard input");
    if (argc != 2) return cli_error(verb, CLI_USAGE, "%s: one word too many", argv[2]);
    if (f->seed == NULL && strcmp(argv[1], "soak") == 0) {
        (void)snprintf(from_clock, sizeof from_clock, "%llu",
                       (unsigned long long)time(NULL) * 1000000u);
        f->seed = from_clock;
    }
    if (f->seed == NULL) f->seed = "1";
    if (!flags_understood(verb, f, &status)) return status;
    return sim_words(verb, argv[1], f);
}
