/* SPDX-License-Identifier: Apache-2.0 */
/* seeds.c - `kelp sim run`: seeds through the simulator, several processes at once.
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

#include "base/min.h"
#include "cli/room.h"
#include "kelp/sim.h"

#define JOBS_MAX 64u

struct seeds {
    uint64_t first, count, jobs;
    bool json;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void print_report(const struct verb *verb, const struct seeds *s,
                         const struct kelp_sim_report *report)
{
    if (s->json) {
        char seed[24], hash[24];
        (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)report->seed);
        (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)report->hash);
        (void)print_json(verb, json_pack("{ss sI ss sb ss ss}", "seed", seed, "events",
                                         (json_int_t)report->events, "hash", hash, "passed",
                                         report->passed, "invariant", report->invariant, "message",
                                         report->message));
        return;
    }
    char line[KELP_SIM_LINE_MAX];
    (void)kelp_sim_line(report, line, sizeof line);
    if (!report->passed) (void)printf("%s\n%s\n", report->story, report->message);
    (void)puts(line);
    (void)fflush(stdout);
}

static struct kelp_sim_total play(const struct verb *verb, const struct seeds *s, uint64_t job)
{
    static struct kelp_sim_report report; /* large, and one run at a time */
    struct kelp_sim_total total = {0};
    for (uint64_t i = job; i < s->count; i += s->jobs) {
        bool passed = kelp_sim_run(s->first + i, NULL, &report);
        kelp_sim_add(&total, &report);
        if (!passed || s->count == 1) print_report(verb, s, &report);
    }
    return total;
}

static void add_total(struct kelp_sim_total *sum, const struct kelp_sim_total *part)
{
    sum->seeds += part->seeds;
    sum->failed += part->failed;
    sum->events += part->events;
    sum->faults += part->faults;
    sum->requests += part->requests;
    sum->done += part->done;
    sum->crashes += part->crashes;
    sum->simulated += part->simulated;
    for (size_t i = 0; i < COUNT_OF(sum->marks); i++)
        sum->marks[i] += part->marks[i];
}

struct job {
    pid_t pid;
    int from; /* the pipe its total comes through */
};

static bool start_job(const struct verb *verb, const struct seeds *s, uint64_t number,
                      struct job *job)
{
    int ends[2];
    (void)fflush(stdout);
    if (pipe(ends) != 0) return false;
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        struct kelp_sim_total total = play(verb, s, number);
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
    add_total(sum, &part);
    return true;
}

static bool play_all(const struct verb *verb, const struct seeds *s, struct kelp_sim_total *sum)
{
    if (s->jobs == 1) {
        *sum = play(verb, s, 0);
        return true;
    }
    struct job jobs[JOBS_MAX];
    uint64_t started = 0;
    bool all = true;
    while (started < s->jobs && all) {
        all = start_job(verb, s, started, &jobs[started]);
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

static int print_total(const struct verb *verb, const struct seeds *s,
                       const struct kelp_sim_total *total, uint64_t wall_ns)
{
    if (s->json)
        return print_json(verb,
                          json_pack("{sI sI sI sI}", "seeds", (json_int_t)total->seeds, "failed",
                                    (json_int_t)total->failed, "events", (json_int_t)total->events,
                                    "faults", (json_int_t)total->faults));
    char line[KELP_SIM_LINE_MAX];
    (void)kelp_sim_total_line(total, wall_ns, line, sizeof line);
    (void)puts(line);
    return CLI_DONE;
}

int sim_verb(const struct verb *verb, int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "explore") == 0) return explore_verb(argc - 1, argv + 1);
    const char *seed = "1";
    struct seeds s = {.count = 1, .jobs = 1};
    const struct flag flags[] = {
        {.name = "seed",
         .kind = FLAG_TEXT,
         .to.text = &seed,
         .value = "S",
         .words = "run: the first seed, decimal or 0x...; 1"},
        {.name = "seeds",
         .kind = FLAG_NUMBER,
         .to.number = &s.count,
         .low = 1,
         .high = UINT32_MAX,
         .value = "N",
         .words = "run: how many; 1"},
        {.name = "jobs",
         .kind = FLAG_NUMBER,
         .to.number = &s.jobs,
         .low = 1,
         .high = JOBS_MAX,
         .value = "J",
         .words = "run: processes at once; 1"},
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &s.json, .words = "run, check: JSON lines"},
    };
    int status;
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status) ||
        !flags_words_check(verb, argc, argv, 1, 2, &status))
        return status;
    if (strcmp(argv[1], "check") == 0)
        return argc == 3
                   ? sim_check(verb, argv[2], s.json)
                   : cli_error(verb, CLI_USAGE, "check: needs a file, or - for standard input");
    if (strcmp(argv[1], "shrink") == 0)
        return cli_error(verb, CLI_USAGE, "%s: not in this version", argv[1]);
    if (strcmp(argv[1], "run") != 0 || argc != 2)
        return cli_error(verb, CLI_USAGE, "%s: must be run, explore, check or scenario",
                         argv[argc - 1]);
    if (!parse_seed(seed, &s.first))
        return cli_error(verb, CLI_USAGE, "--seed %s: must be a number, decimal or 0x...", seed);
    if (s.jobs > s.count) s.jobs = s.count;
    struct kelp_sim_total total = {0};
    uint64_t began = now_ns();
    bool all = play_all(verb, &s, &total);
    if (s.count > 1 && print_total(verb, &s, &total, now_ns() - began) != CLI_DONE)
        return CLI_FAILED;
    return all && total.failed == 0 ? CLI_DONE : CLI_FAILED;
}
