/* SPDX-License-Identifier: Apache-2.0 */
/* bench.c - `kelp bench`: a load for any server that speaks RESP, and its report. */
#include "cli/bench.h"

#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/min.h"
#include "cli/client.h"

#define OVERALL_SECONDS_MAX 86400u

static bool command_of(const char *name, enum bench_command *out)
{
    static const char *const names[] = {
        [BENCH_SET] = "set", [BENCH_GET] = "get", [BENCH_MIXED] = "mixed"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(names[i], name) != 0) continue;
        *out = (enum bench_command)i;
        return true;
    }
    return false;
}

/* "1.5" seconds in milliseconds. */
static bool span_of(const char *text, uint64_t *out_ms)
{
    uint64_t whole = 0, part = 0, unit = 1000;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && whole <= OVERALL_SECONDS_MAX; at++)
        whole = whole * 10 + (uint64_t)(*at - '0');
    if (at == text) return false;
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9' && unit > 1; at++)
            part += (uint64_t)(*at - '0') * (unit /= 10);
    *out_ms = whole * 1000 + part;
    return *at == '\0' && whole <= OVERALL_SECONDS_MAX;
}

static uint64_t own_cpu_us(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0) return 0;
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* ---- the report --------------------------------------------------------------------------- */

static double micros(const struct bench_report *r, uint32_t per_million)
{
    return (double)hist_percentile(&r->latency, per_million) / 1e3;
}

static double per_second(const struct bench_report *r)
{
    return r->window_ns > 0 ? (double)r->operations * 1e9 / (double)r->window_ns : 0;
}

static json_t *report_json(const struct bench_plan *p, const char *command,
                           const struct bench_report *r, bool verified, uint64_t cpu_us)
{
    json_t *errors = json_object(), *out = json_object();
    for (size_t i = 0; i < r->class_count; i++)
        (void)json_object_set_new(errors, r->classes[i].name,
                                  json_integer((json_int_t)r->classes[i].count));
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"clients", p->clients},
                   {"pipeline", p->pipeline},
                   {"value", p->value_bytes},
                   {"keys", p->keys},
                   {"rate", p->rate},
                   {"operations", r->operations},
                   {"unsent", r->unsent},
                   {"unanswered", r->unanswered},
                   {"connections_lost", r->lost},
                   {"read_back", r->read_back},
                   {"wrong", r->wrong}};
    (void)json_object_set_new(out, "command", json_string(command));
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        (void)json_object_set_new(out, numbers[i].name, json_integer((json_int_t)numbers[i].value));
    const struct {
        const char *name;
        double value;
    } reals[] = {{"seconds", (double)r->window_ns / 1e9},
                 {"per_second", per_second(r)},
                 {"p50_us", micros(r, 500000)},
                 {"p90_us", micros(r, 900000)},
                 {"p99_us", micros(r, 990000)},
                 {"p999_us", micros(r, 999000)},
                 {"max_us", (double)r->latency.max / 1e3},
                 {"longest_gap_ms", (double)r->longest_gap_ns / 1e6},
                 {"own_cpu_us_per_operation", (double)cpu_us / (double)max_u64(r->operations, 1)}};
    for (size_t i = 0; i < COUNT_OF(reals); i++)
        (void)json_object_set_new(out, reals[i].name, json_real(reals[i].value));
    (void)json_object_set_new(out, "errors", errors);
    (void)json_object_set_new(out, "verified", json_boolean(verified));
    return out;
}

static void report_print(const struct bench_plan *p, const char *command,
                         const struct bench_report *r)
{
    char number[PRINT_NUMBER_MAX];
    (void)printf("%s %s a second, %llu clients", command,
                 print_thousands((uint64_t)per_second(r), number), (unsigned long long)p->clients);
    if (p->pipeline > 1) (void)printf(", pipeline %llu", (unsigned long long)p->pipeline);
    (void)printf(", %llu bytes\n", (unsigned long long)p->value_bytes);
    (void)printf("latency us: p50 %.0f  p90 %.0f  p99 %.0f  p99.9 %.0f  max %.0f%s\n",
                 micros(r, 500000), micros(r, 900000), micros(r, 990000), micros(r, 999000),
                 (double)r->latency.max / 1e3, p->rate > 0 ? "  (from the scheduled start)" : "");
    (void)printf("longest gap %.1f ms\n", (double)r->longest_gap_ns / 1e6);
    if (r->unsent > 0)
        (void)printf("%llu requests of the schedule were never sent: the server does not keep up\n",
                     (unsigned long long)r->unsent);
    for (size_t i = 0; i < r->class_count; i++)
        (void)printf("errors %s: %llu\n", r->classes[i].name,
                     (unsigned long long)r->classes[i].count);
    if (r->lost > 0 || r->unanswered > 0)
        (void)printf("connections lost %llu, requests unanswered %llu\n",
                     (unsigned long long)r->lost, (unsigned long long)r->unanswered);
    (void)printf("%s%llu keys read back, %llu answers wrong%s\n",
                 r->wrong > 0 ? print_colour(PRINT_RED) : "", (unsigned long long)r->read_back,
                 (unsigned long long)r->wrong, r->wrong > 0 ? print_end() : "");
}

/* ---- the verb ----------------------------------------------------------------------------- */

static bool plan_parse(const struct verb *verb, int argc, char **argv, struct bench_plan *p,
                       const char **command, bool *json, int *status)
{
    const char *seconds = "10", *warm_up = "1";
    const struct flag flags[] = {
        client_flag(&p->at),
        {"clients", FLAG_NUMBER, {.number = &p->clients}, 1, BENCH_CLIENTS_MAX, "N", "50"},
        {"pipeline",
         FLAG_NUMBER,
         {.number = &p->pipeline},
         1,
         BENCH_PIPELINE_MAX,
         "N",
         "open requests of a connection; 1"},
        {"value", FLAG_NUMBER, {.number = &p->value_bytes}, 1, BENCH_VALUE_MAX, "BYTES", "256"},
        {"keys",
         FLAG_NUMBER,
         {.number = &p->keys},
         1,
         BENCH_KEYS_MAX,
         "N",
         "how many different ones; 100000"},
        {"command", FLAG_TEXT, {.text = command}, 0, 0, "set|get|mixed", "set"},
        {"seconds", FLAG_TEXT, {.text = &seconds}, 0, 0, "S", "10"},
        {"warm-up", FLAG_TEXT, {.text = &warm_up}, 0, 0, "S", "before anything counts; 1"},
        {"rate",
         FLAG_NUMBER,
         {.number = &p->rate},
         1,
         100000000,
         "N",
         "operations a second on a schedule; without it, as fast as answers come"},
        {"seed", FLAG_NUMBER, {.number = &p->seed}, 0, UINT64_MAX >> 1, "N", "which keys; 1"},
        {"fill",
         FLAG_SWITCH,
         {.on = &p->fill},
         0,
         0,
         NULL,
         "set: write every key before the warm-up, as get and mixed do"},
        {"marks",
         FLAG_SWITCH,
         {.on = &p->marks},
         0,
         0,
         NULL,
         "\"begin\" and \"end\" on stderr when the counting does"},
        {"json", FLAG_SWITCH, {.on = json}, 0, 0, NULL, "one JSON object"},
    };
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, status) ||
        !flags_words_check(verb, argc, argv, 0, 0, status) || !client_check(verb, p->at, status))
        return false;
    if (!command_of(*command, &p->command))
        *status = cli_error(verb, CLI_USAGE, "--command %s: must be set, get or mixed", *command);
    else if (!span_of(seconds, &p->window_ms) || p->window_ms == 0)
        *status = cli_error(verb, CLI_USAGE, "--seconds %s: must be 0.001 to %u", seconds,
                            OVERALL_SECONDS_MAX);
    else if (!span_of(warm_up, &p->warm_up_ms))
        *status = cli_error(verb, CLI_USAGE, "--warm-up %s: must be 0 to %u", warm_up,
                            OVERALL_SECONDS_MAX);
    else if (p->keys < p->clients)
        *status = cli_error(verb, CLI_USAGE,
                            "--keys %llu: must be at least --clients %llu, since every key has one "
                            "connection that writes it",
                            (unsigned long long)p->keys, (unsigned long long)p->clients);
    else
        return true;
    return false;
}

int bench_verb(const struct verb *verb, int argc, char **argv)
{
    static struct bench_report report; /* large */
    struct bench_plan plan = {
        .clients = 50, .pipeline = 1, .value_bytes = 256, .keys = 100000, .seed = 1};
    const char *command = "set";
    bool json = false;
    int status;
    if (!plan_parse(verb, argc, argv, &plan, &command, &json, &status)) return status;
    plan.fill = plan.fill || plan.command != BENCH_SET;
    plan.first = (uint64_t)time(NULL) * 1000000u;
    uint64_t before = own_cpu_us();
    if (!bench_load(&plan, &report)) return cli_error(verb, CLI_FAILED, "%s", report.problem);
    uint64_t cpu_us = own_cpu_us() - before;
    bool verified = report.operations > 0 && report.wrong == 0 && report.read_back > 0;
    if (json)
        status = print_json(verb, report_json(&plan, command, &report, verified, cpu_us));
    else
        report_print(&plan, command, &report);
    if (json && status != CLI_DONE) return status;
    return verified ? CLI_DONE : CLI_FAILED;
}
