/* SPDX-License-Identifier: Apache-2.0 */
/* soak.c - `kelp sim soak`: seeds on all cores until somebody says stop.
 *
 * Each job is a process with a part of a shared page: what it added up so far, and the seed it is
 * at. A job that finds a failure writes its story and its smallest schedule into the directory and
 * goes on; one that dies in a failed assertion is counted, its last words are in its log, and
 * another takes its place. The jobs end between two seeds, when the parent asks or is gone.
 *
 *   DIR/seed-S.txt   what broke in seed S, how to play it again, the smallest schedule in words
 *   DIR/seed-S.case  that schedule
 *   DIR/job-N.log    what job N said on its way down */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/min.h"
#include "cli/sim.h"

#define NS_OF_SECOND ((uint64_t)1000000000)
#define LINE_EVERY_S 60u /* where there is no terminal */

struct part { /* of one job */
    struct kelp_sim_total total;
    _Atomic uint64_t seed;
    _Atomic uint64_t next; /* which of its seeds comes next */
};

struct page {
    _Atomic bool stop;
    struct part parts[SIM_JOBS_MAX];
};

struct soak {
    const struct verb *verb;
    struct sim_flags flags;
    const char *directory;
    struct page *page;
    pid_t parent, pids[SIM_JOBS_MAX];
    uint64_t began, end; /* ns; end 0: never */
    uint64_t died;
};

static volatile sig_atomic_t asked_to_stop;

static void stop_asked(int number)
{
    (void)number;
    asked_to_stop = 1;
}

/* ---- a job ---- */

static void failure_write(const struct soak *s, const struct kelp_sim_report *report)
{
    char path[CLI_PATH_MAX], again[512], line[KELP_SIM_LINE_MAX];
    (void)snprintf(path, sizeof path, "%s/seed-%llu.txt", s->directory,
                   (unsigned long long)report->seed);
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        (void)cli_error(s->verb, CLI_FAILED, "%s: %s", path, strerror(errno));
        return;
    }
    (void)kelp_sim_line(report, line, sizeof line);
    sim_again(&s->flags, report->seed, NULL, 0, max_u64(report->events, 2) - 1, again,
              sizeof again);
    (void)fprintf(file, "%s%s\nup to the event before: %s\n\n", report->story, line, again);
    (void)fflush(file); /* it is there while the search for a smaller one goes on */
    (void)snprintf(path, sizeof path, "%s/seed-%llu.case", s->directory,
                   (unsigned long long)report->seed);
    if (!s->flags.no_shrink)
        (void)sim_shrink(s->verb, &s->flags, report->seed, path, SIM_SHRINK_QUIET, file);
    if (fclose(file) != 0) (void)cli_error(s->verb, CLI_FAILED, "%s: not written whole", path);
}

static void job_play(const struct soak *s, uint64_t job)
{
    static struct kelp_sim_report report; /* large, and one run at a time */
    struct part *part = &s->page->parts[job];
    struct kelp_sim_options options = sim_options(&s->flags);
    while (!atomic_load(&s->page->stop) && getppid() == s->parent) {
        uint64_t seed = s->flags.first + job + atomic_fetch_add(&part->next, 1) * s->flags.jobs;
        atomic_store(&part->seed, seed);
        bool passed = kelp_sim_run(seed, &options, &report);
        kelp_sim_add(&part->total, &report);
        if (!passed) failure_write(s, &report);
    }
}

static bool job_start(struct soak *s, uint64_t job)
{
    char path[CLI_PATH_MAX];
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) return cli_error(s->verb, CLI_FAILED, "fork: %s", strerror(errno)) == CLI_DONE;
    if (pid > 0) {
        s->pids[job] = pid;
        return true;
    }
    /* The parent hears the signals, which a whole group may be sent, and tells the jobs. */
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)snprintf(path, sizeof path, "%s/job-%llu.log", s->directory, (unsigned long long)job);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log >= 0) (void)dup2(log, STDERR_FILENO);
    job_play(s, job);
    (void)fflush(stdout);
    _exit(CLI_DONE);
}

/* ---- the parent ---- */

static struct kelp_sim_total total_of(const struct soak *s)
{
    struct kelp_sim_total total = {0};
    for (uint64_t job = 0; job < s->flags.jobs; job++)
        sim_add_total(&total, &s->page->parts[job].total);
    total.seeds += s->died;
    total.failed += s->died;
    return total;
}

static void print_status(const struct soak *s, bool line)
{
    char seeds[PRINT_NUMBER_MAX], events[PRINT_NUMBER_MAX], faults[PRINT_NUMBER_MAX];
    struct kelp_sim_total total = total_of(s);
    uint64_t ns = sim_now_ns() - s->began, seconds = ns / NS_OF_SECOND;
    uint64_t tenths = seconds > 0 ? total.seeds * 10 / seconds : 0;
    (void)printf("%s%llu:%02llu:%02llu  %s seeds, %llu.%llu/s, %s events, %s faults, %llu x real "
                 "time, %s%llu failed%s%s",
                 line ? "" : "\r", (unsigned long long)(seconds / 3600),
                 (unsigned long long)(seconds / 60 % 60), (unsigned long long)(seconds % 60),
                 print_thousands(total.seeds, seeds), (unsigned long long)(tenths / 10),
                 (unsigned long long)(tenths % 10), print_thousands(total.events, events),
                 print_thousands(total.faults, faults),
                 (unsigned long long)(total.simulated / (ns > 0 ? ns : 1)),
                 total.failed > 0 ? print_colour(PRINT_RED) : "", (unsigned long long)total.failed,
                 total.failed > 0 ? print_end() : "", line ? "\n" : "\033[K");
    (void)fflush(stdout);
}

/* A job that ended though nobody asked: an assertion, or too little memory. */
static void job_died(struct soak *s, uint64_t job, int status)
{
    uint64_t seed = atomic_load(&s->page->parts[job].seed);
    s->died++;
    (void)printf("\nseed %llu ended its job (%s %d); last words in %s/job-%llu.log\n",
                 (unsigned long long)seed, WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), s->directory,
                 (unsigned long long)job);
    (void)printf("again: kelp sim run --seed %llu\n", (unsigned long long)seed);
    s->pids[job] = 0;
}

static void jobs_look(struct soak *s)
{
    for (uint64_t job = 0; job < s->flags.jobs; job++) {
        int status;
        if (s->pids[job] == 0 || waitpid(s->pids[job], &status, WNOHANG) != s->pids[job]) continue;
        job_died(s, job, status);
        (void)job_start(s, job);
    }
}

static void jobs_end(struct soak *s)
{
    atomic_store(&s->page->stop, true);
    for (uint64_t job = 0; job < s->flags.jobs; job++) {
        int status = 0;
        if (s->pids[job] == 0) continue;
        while (waitpid(s->pids[job], &status, 0) < 0 && errno == EINTR)
            continue;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != CLI_DONE) job_died(s, job, status);
        s->pids[job] = 0;
    }
}

static void watch(struct soak *s)
{
    bool terminal = print_terminal();
    uint64_t printed = 0;
    while (asked_to_stop == 0 && (s->end == 0 || sim_now_ns() < s->end)) {
        uint64_t left = s->end == 0 ? NS_OF_SECOND : s->end - sim_now_ns();
        if (left > NS_OF_SECOND) left = NS_OF_SECOND; /* also when the end has just passed */
        struct timespec second = {.tv_sec = (time_t)(left / NS_OF_SECOND),
                                  .tv_nsec = (long)(left % NS_OF_SECOND)};
        (void)nanosleep(&second, NULL); /* cut short by the signal that ends it */
        jobs_look(s);
        uint64_t seconds = (sim_now_ns() - s->began) / NS_OF_SECOND;
        if (!terminal && seconds < printed + LINE_EVERY_S) continue;
        printed = seconds;
        print_status(s, !terminal);
    }
    if (terminal) (void)putchar('\n');
}

static bool soak_make(struct soak *s, const char *directory)
{
    if (mkdir(directory, 0755) != 0 && errno != EEXIST)
        return cli_error(s->verb, CLI_FAILED, "%s: %s", directory, strerror(errno)) == CLI_DONE;
    void *page =
        mmap(NULL, sizeof *s->page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return cli_error(s->verb, CLI_FAILED, "mmap: %s", strerror(errno)) == CLI_DONE;
    s->page = page;
    struct sigaction action = {.sa_handler = stop_asked};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    return true;
}

int sim_soak_verb(const struct verb *verb, const struct sim_flags *f)
{
    struct soak s = {.verb = verb, .flags = *f, .parent = getpid(), .began = sim_now_ns()};
    char line[KELP_SIM_LINE_MAX];
    s.directory = f->out != NULL ? f->out : "soak";
    if (f->soak_s > 0) s.end = s.began + f->soak_s * NS_OF_SECOND;
    if (!soak_make(&s, s.directory)) return CLI_FAILED;
    s.flags.stop = &s.page->stop;
    (void)printf("from seed %llu on, %llu jobs, failures go to %s\n", (unsigned long long)f->first,
                 (unsigned long long)f->jobs, s.directory);
    bool started = true;
    for (uint64_t job = 0; job < f->jobs && started; job++)
        started = job_start(&s, job);
    if (started) watch(&s);
    jobs_end(&s);
    struct kelp_sim_total total = total_of(&s);
    uint64_t took = sim_now_ns() - s.began;
    size_t unexplained = total.seeds >= SIM_MARKS_SEEDS ? marks_print(&total) : 0;
    (void)kelp_sim_total_line(&total, took, line, sizeof line);
    (void)puts(line);
    (void)munmap(s.page, sizeof *s.page);
    if (f->strict_marks && unexplained > 0) return CLI_FAILED;
    return started && total.failed == 0 ? CLI_DONE : CLI_FAILED;
}
