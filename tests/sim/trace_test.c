/* SPDX-License-Identifier: Apache-2.0 */
/* trace_test.c - the records of a run: complete, in order, and the same run as without them; JSON
 * that can be read; stopping at an event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kelp/sim.h"

#define SECOND     ((kelp_ns)1000000000)
#define FRAMES_MAX 200000u

static struct kelp_sim_report report, again;

static struct kelp_sim_options brief(kelp_ns hurt)
{
    struct kelp_sim_options o = kelp_sim_options_default();
    o.hurt = hurt;
    return o;
}

/* What a reader may rely on, gathered over one run. */
struct seen {
    uint64_t records, number, kinds[KELP_SIM_KIND_COUNT];
    kelp_ns at;
    uint16_t *leaving, *arrived; /* copies by frame, FRAMES_MAX of each */
    uint64_t marks[KELP_SIM_MARKS_MAX];
    enum kelp_sim_life life[KELP_SIM_NODES_MAX + 1];
};

static bool sends(const struct kelp_sim_event *e)
{
    return e->kind == KELP_SIM_SENT || e->kind == KELP_SIM_LOST;
}

static void frame_seen(struct seen *s, const struct kelp_sim_event *e)
{
    assert_true(e->frame < FRAMES_MAX);
    assert_true(e->from >= 1 && e->from <= e->nodes && e->to >= 1 && e->to <= e->nodes);
    assert_int_equal(e->node, sends(e) ? e->from : e->to);
    assert_non_null(e->type);
    assert_true(e->sent_at <= e->at);
    if (e->kind == KELP_SIM_SENT) {
        assert_true(e->arrives_at >= e->at && e->arrives_at != KELP_NEVER);
        s->leaving[e->frame]++;
    } else if (e->kind == KELP_SIM_LOST) {
        assert_true(e->arrives_at == KELP_NEVER);
    } else { /* nothing arrives that did not leave */
        assert_true(e->kind == KELP_SIM_RECEIVED || e->kind == KELP_SIM_DROPPED);
        s->arrived[e->frame]++;
        assert_true(s->arrived[e->frame] <= s->leaving[e->frame]);
    }
}

static void look(void *ctx, const struct kelp_sim_event *e)
{
    struct seen *s = ctx;
    assert_int_equal(e->record, ++s->records);
    assert_true(e->number >= s->number && e->at >= s->at);
    assert_true((unsigned)e->kind < KELP_SIM_KIND_COUNT && e->node <= e->nodes);
    assert_true(e->words != NULL && e->words[0] != '\0');
    s->number = e->number;
    s->at = e->at;
    s->kinds[e->kind]++;
    if (e->frame != 0) frame_seen(s, e);
    if (e->event != NULL) s->marks[e->event->type]++;
    if (e->kind == KELP_SIM_UP) assert_int_equal(e->state.life, KELP_SIM_LIFE_UP);
    if (e->kind == KELP_SIM_PAUSED) assert_true(e->until > e->at);
    s->life[e->node] = e->state.life;
}

static struct seen *seen_new(void)
{
    struct seen *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->leaving = calloc(FRAMES_MAX, sizeof *s->leaving);
    s->arrived = calloc(FRAMES_MAX, sizeof *s->arrived);
    assert_true(s->leaving != NULL && s->arrived != NULL);
    return s;
}

static void seen_free(struct seen *s)
{
    free(s->leaving);
    free(s->arrived);
    free(s);
}

static void a_trace_tells_everything_that_the_report_counts(void **state)
{
    (void)state;
    uint64_t faults = 0;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct seen *s = seen_new();
        struct kelp_sim_options o = brief(20 * SECOND);
        assert_true(kelp_sim_run(seed, &o, &report));
        o.trace = look;
        o.trace_ctx = s;
        assert_true(kelp_sim_run(seed, &o, &again));
        assert_memory_equal(&report, &again, sizeof report);
        assert_int_equal(s->number, report.events);
        assert_int_equal(s->kinds[KELP_SIM_BEGAN], 1);
        assert_int_equal(s->kinds[KELP_SIM_HEALED], 1);
        assert_int_equal(s->kinds[KELP_SIM_PASSED], 1);
        assert_int_equal(s->kinds[KELP_SIM_LOST], report.frames_lost);
        assert_int_equal(s->kinds[KELP_SIM_SENT],
                         report.frames - report.frames_lost + report.frames_repeated);
        faults += s->kinds[KELP_SIM_FAULT];
        assert_true(s->kinds[KELP_SIM_UP] >= report.restarts + 1);
        assert_true(s->kinds[KELP_SIM_DOWN] >= report.restarts);
        for (unsigned i = 0; i < KELP_EVENT_COUNT; i++)
            assert_int_equal(s->marks[i], report.marks[i]);
        seen_free(s);
    }
    assert_true(faults > 15);
}

/* ---- JSON: a reader of a few lines, so that nothing but the form is trusted ---- */

static const char *skip_value(const char *at);

static const char *skip_text(const char *at)
{
    assert_int_equal(*at, '"');
    for (at++; *at != '"'; at++) {
        assert_true((unsigned char)*at >= 0x20 && (unsigned char)*at < 0x7f);
        if (*at == '\\') at++;
    }
    return at + 1;
}

static const char *skip_list(const char *at)
{
    for (at++; *at != ']';) {
        at = skip_value(at);
        if (*at == ',') at++;
    }
    return at + 1;
}

static const char *skip_value(const char *at)
{
    if (*at == '"') return skip_text(at);
    if (*at == '[') return skip_list(at);
    if (strncmp(at, "true", 4) == 0) return at + 4;
    if (strncmp(at, "false", 5) == 0) return at + 5;
    size_t digits = strspn(at, "0123456789");
    assert_true(digits > 0);
    return at + digits;
}

static void json_is_sound(const char *line)
{
    const char *at = line;
    assert_int_equal(*at, '{');
    do {
        at = skip_text(at + 1);
        assert_int_equal(*at, ':');
        at = skip_value(at + 1);
    } while (*at == ',');
    assert_string_equal(at, "}");
}

static void read_json(void *ctx, const struct kelp_sim_event *e)
{
    uint64_t *lines = ctx;
    char line[KELP_SIM_JSON_MAX], small[16], field[64];
    size_t len = kelp_sim_event_json(e, line, sizeof line);
    assert_true(len < sizeof line);
    assert_int_equal(len, strlen(line));
    assert_int_equal(kelp_sim_event_json(e, small, sizeof small), len);
    assert_true(strlen(small) < sizeof small);
    json_is_sound(line);
    (void)snprintf(field, sizeof field, "\"t_ns\":%llu,\"kind\":\"%s\"", (unsigned long long)e->at,
                   kelp_sim_kind_name(e->kind));
    assert_non_null(strstr(line, field));
    *lines += 1;
}

static void every_record_is_one_line_of_json(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(20 * SECOND);
    uint64_t lines = 0;
    o.trace = read_json;
    o.trace_ctx = &lines;
    assert_true(kelp_sim_run(4, &o, &report));
    assert_true(lines > 1000);
}

static void what_words_hold_cannot_break_the_json(void **state)
{
    (void)state;
    char line[KELP_SIM_JSON_MAX];
    struct kelp_sim_event e = {.kind = KELP_SIM_NOTE, .words = "a \"b\" \\ \n \x01 \xc3\xa9"};
    (void)kelp_sim_event_json(&e, line, sizeof line);
    json_is_sound(line);
    assert_non_null(strstr(line, "a \\\"b\\\" \\\\ \\u000a \\u0001 \\u00c3\\u00a9"));
}

/* ---- stopping ---- */

static void a_run_stops_at_an_event(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(20 * SECOND);
    char line[KELP_SIM_LINE_MAX];
    o.until = 777;
    assert_true(kelp_sim_run(5, &o, &report));
    assert_true(report.stopped);
    assert_int_equal(report.events, 777);
    assert_non_null(strstr(report.story, "node 1 "));
    assert_string_equal(report.invariant, "");
    (void)kelp_sim_line(&report, line, sizeof line);
    assert_non_null(strstr(line, " STOPPED"));
}

/* The way from a failure to the event before it. */
static void the_event_before_a_failure_is_sound(void **state)
{
    (void)state;
    struct kelp_sim_options o = brief(60 * SECOND);
    o.broken = KELP_SIM_BREAK_APPLY;
    assert_false(kelp_sim_run(1, &o, &report));
    assert_false(report.stopped);
    o.until = report.events - 1;
    assert_true(kelp_sim_run(1, &o, &again));
    assert_true(again.stopped);
    assert_int_equal(again.events, report.events - 1);
    o.until = report.events;
    assert_false(kelp_sim_run(1, &o, &again));
    assert_string_equal(again.invariant, report.invariant);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trace_tells_everything_that_the_report_counts),
        cmocka_unit_test(every_record_is_one_line_of_json),
        cmocka_unit_test(what_words_hold_cannot_break_the_json),
        cmocka_unit_test(a_run_stops_at_an_event),
        cmocka_unit_test(the_event_before_a_failure_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
