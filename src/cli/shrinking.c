/* SPDX-License-Identifier: Apache-2.0 */
/* shrinking.c - `kelp sim shrink`: the smallest schedule that fails alike, found within a time,
 * written as a case that `kelp sim run --case` plays, and told in sentences. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/sim.h"

#define PROGRESS_EVERY ((uint64_t)200 * 1000 * 1000) /* ns */

struct progress {
    uint64_t began, end, printed; /* ns */
    bool shown;                   /* on a terminal */
    const _Atomic bool *stop;     /* NULL, or: end early when it is so */
};

static bool go_on(void *ctx, const struct kelp_sim_shrunk *so_far)
{
    struct progress *p = ctx;
    uint64_t now = sim_now_ns();
    if (p->shown && now - p->printed > PROGRESS_EVERY) {
        p->printed = now;
        (void)fprintf(stderr,
                      "\rshrinking %3llu s: %llu runs, %llu faults, %llu events, %llu bytes of "
                      "choices\033[K",
                      (unsigned long long)((now - p->began) / 1000000000u),
                      (unsigned long long)so_far->runs, (unsigned long long)so_far->after.faults,
                      (unsigned long long)so_far->after.events,
                      (unsigned long long)so_far->after.choices);
    }
    return now < p->end && (p->stop == NULL || !atomic_load(p->stop));
}

static bool case_write(const struct verb *verb, const char *path, struct kelp_bytes bytes)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        (void)cli_error(verb, CLI_FAILED, "%s: %s", path, strerror(errno));
        return false;
    }
    bool good = bytes.len == 0 || fwrite(bytes.data, 1, bytes.len, file) == bytes.len;
    good = fclose(file) == 0 && good;
    if (!good) (void)cli_error(verb, CLI_FAILED, "%s: could not be written whole", path);
    return good;
}

static void print_size(FILE *to, const char *name, uint64_t before, uint64_t after)
{
    char a[PRINT_NUMBER_MAX], b[PRINT_NUMBER_MAX];
    (void)fprintf(to, "  %-18s %12s  ->  %s\n", name, print_thousands(before, a),
                  print_thousands(after, b));
}

static void print_shrunk(const struct sim_flags *f, const struct kelp_sim_shrunk *s,
                         const char *path, uint64_t took_ns, FILE *to)
{
    char again[512];
    (void)fprintf(to, "%s\nshrunk in %llu.%llu s and %llu runs%s, still %s:\n", s->words,
                  (unsigned long long)(took_ns / 1000000000u),
                  (unsigned long long)(took_ns / 100000000u % 10), (unsigned long long)s->runs,
                  s->whole ? "" : " (time was up; --seconds N gives it longer)",
                  s->report.invariant);
    print_size(to, "faults", s->before.faults, s->after.faults);
    print_size(to, "frames hurt", s->before.frames, s->after.frames);
    print_size(to, "requests", s->before.requests, s->after.requests);
    print_size(to, "events", s->before.events, s->after.events);
    print_size(to, "milliseconds", s->before.simulated / 1000000u, s->after.simulated / 1000000u);
    print_size(to, "bytes of choices", s->before.choices, s->after.choices);
    print_size(to, "nodes", s->before.nodes, s->after.nodes);
    sim_again(f, s->report.seed, path, s->hurt, 0, again, sizeof again);
    (void)fprintf(to, "the case: %s --trace\n", again);
}

bool sim_shrink(const struct verb *verb, const struct sim_flags *f, uint64_t seed, const char *path,
                enum sim_shrink_words told, FILE *to)
{
    static struct kelp_sim_shrunk shrunk; /* large */
    struct kelp_sim_options options = sim_options(f);
    struct progress p = {.began = sim_now_ns(), .stop = f->stop};
    p.end = p.began + f->seconds * 1000000000u;
    p.shown = told == SIM_SHRINK_TOLD && isatty(STDERR_FILENO) == 1;
    bool good = kelp_sim_shrink(seed, &options, go_on, &p, &shrunk);
    uint64_t took = sim_now_ns() - p.began;
    if (p.shown) (void)fprintf(stderr, "\r\033[K");
    if (!good && shrunk.report.passed)
        (void)cli_error(verb, CLI_FAILED, "seed %llu passes: there is nothing to shrink",
                        (unsigned long long)seed);
    else if (!good)
        (void)cli_error(verb, CLI_FAILED, "seed %llu: %s %s", (unsigned long long)seed,
                        shrunk.report.invariant, shrunk.report.message);
    good = good && case_write(verb, path, shrunk.choices);
    if (good) print_shrunk(f, &shrunk, path, took, to);
    kelp_sim_shrunk_free(&shrunk);
    return good;
}

int sim_shrink_verb(const struct verb *verb, const struct sim_flags *f)
{
    char path[64];
    (void)snprintf(path, sizeof path, "kelp-sim-%llu.case", (unsigned long long)f->first);
    return sim_shrink(verb, f, f->first, f->out != NULL ? f->out : path, SIM_SHRINK_TOLD, stdout)
               ? CLI_DONE
               : CLI_FAILED;
}
