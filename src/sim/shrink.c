/* SPDX-License-Identifier: Apache-2.0 */
/* shrink.c - the smallest run that breaks the invariant that a given one breaks.          [sim.h]
 *
 * A run is what it draws (draw.h): bytes of a few streams, where fewer bytes are a smaller world
 * and zeros are the mildest choices. So the bytes that the failing run drew are kept, and then less
 * and less is played: the faults are cut off as early as possible, then left out in ever smaller
 * groups, then the shape of the world and everything else is zeroed in ever smaller blocks. What
 * still breaks the same invariant is kept; a round that keeps nothing is the end.
 *
 * A fault that is left out takes its delay with it, so that those behind it come sooner; where that
 * loses the failure, its delay is kept and only the fault is zeroed ("quiet").
 *
 * Invariant: best is a case that fails with the same invariant; candidate differs from it in one
 * stream. No choice here depends on time: only go_on, which the caller answers, can end it early.
 *
 * Source: Zeller, Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE TSE 2002;
 * zeros of bytes in place of cuts: MacIver, Donaldson, ECOOP 2020 (see draw.h). */
#include <stdlib.h>
#include <string.h>

#include "base/min.h"
#include "sim/run.h"
#include "sim/shrink.h"

#define SECOND       ((kelp_ns)1000000000)
#define STREAM_BYTES ((size_t)CASE_BYTES_MAX)
#define DELAY_BYTES  4u /* a record of a fault begins with how long until it comes (nemesis.c) */

struct shrinker {
    uint64_t seed;
    struct kelp_sim_options options;
    bool (*go_on)(void *ctx, const struct kelp_sim_shrunk *so_far);
    void *ctx;
    struct kelp_sim_shrunk *out;
    struct draw_case best, candidate;
    char invariant[64];
    uint64_t faults;              /* of the run that was played last */
    uint64_t events_max;          /* a candidate that takes longer is not smaller */
    bool stopped;                 /* go_on said no, or memory ended: no more candidates */
    bool memory;                  /* it did */
    struct kelp_sim_report tried; /* of the candidate */
};

/* ---- one run ---- */

static void count_fault(void *ctx, const struct kelp_sim_event *event)
{
    struct shrinker *s = ctx;
    s->faults += event->kind == KELP_SIM_FAULT;
}

static bool copy_stream(struct shrinker *s, struct buf *to, const struct buf *from)
{
    buf_clear(to);
    if (buf_append(to, buf_bytes(from)) == KELP_OK) return true;
    s->memory = s->stopped = true;
    return false;
}

static uint64_t choices_count(const struct draw_case *c)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        for (size_t at = 0; at < c->streams[i].len; at++)
            count += c->streams[i].data[at] != 0;
    }
    return count;
}

static void size_fill(struct shrinker *s, struct kelp_sim_size *size)
{
    const struct kelp_sim_report *r = &s->out->report;
    *size = (struct kelp_sim_size){
        .frames = r->frames_lost + r->frames_repeated + r->frames_damaged,
        .requests = r->requests,
        .events = r->events,
        .choices = choices_count(&s->best),
        .nodes = r->nodes,
        .simulated = r->simulated,
    };
}

/* What a run did not draw is no part of it. */
static void candidate_trim(struct shrinker *s, const size_t used[STREAM_COUNT])
{
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        if (s->candidate.streams[i].len > used[i]) s->candidate.streams[i].len = used[i];
    }
}

/* How many events a candidate may take: one that passes should not cost its whole healing. */
static uint64_t longer(uint64_t events)
{
    return events + events / 4 + 500;
}

/* Play the candidate; true: it fails alike and is the best one now. False: the candidate is the
 * best one again. changed is the stream that differs, STREAM_COUNT: none, hurt does. */
static bool try_it(struct shrinker *s, enum stream changed, kelp_ns hurt)
{
    size_t used[STREAM_COUNT];
    struct kelp_sim_options options = s->options;
    if (!s->stopped && s->go_on != NULL && !s->go_on(s->ctx, s->out)) s->stopped = true;
    bool alike = false;
    if (!s->stopped) {
        options.hurt = hurt;
        options.until = s->events_max;
        s->out->runs++;
        struct sim_play play = {.choices = &s->candidate, .used = used};
        alike = !sim_run(s->seed, &options, &play, &s->tried) &&
                strcmp(s->tried.invariant, s->invariant) == 0;
    }
    if (!alike) {
        if (changed < STREAM_COUNT)
            (void)copy_stream(s, &s->candidate.streams[changed], &s->best.streams[changed]);
        return false;
    }
    candidate_trim(s, used);
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        bool same = i != changed && s->best.streams[i].len == s->candidate.streams[i].len;
        if (!same && !copy_stream(s, &s->best.streams[i], &s->candidate.streams[i])) return false;
    }
    s->out->kept++;
    s->out->report = s->tried;
    s->out->hurt = hurt;
    s->events_max = min_u64(s->events_max, longer(s->tried.events));
    size_fill(s, &s->out->after);
    s->out->after.faults = s->best.streams[STREAM_FAULT].len / DRAW_RECORD_BYTES;
    return true;
}

static bool try_stream(struct shrinker *s, enum stream changed)
{
    return try_it(s, changed, s->out->hurt);
}

/* ---- edits: each returns whether there was anything to change ---- */

static bool zero(struct buf *b, size_t begin, size_t end)
{
    bool any = false;
    for (size_t at = begin; at < min_u64(end, b->len); at++) {
        any = any || b->data[at] != 0;
        b->data[at] = 0;
    }
    return any;
}

static bool cut_out(struct buf *b, size_t begin, size_t end)
{
    end = min_u64(end, b->len);
    if (begin >= end) return false;
    memmove(b->data + begin, b->data + end, b->len - end);
    b->len -= end - begin;
    return true;
}

static bool quiet(struct buf *b, size_t begin, size_t end)
{
    bool any = false;
    for (size_t at = begin; at + DRAW_RECORD_BYTES <= min_u64(end, b->len); at += DRAW_RECORD_BYTES)
        any = zero(b, at + DELAY_BYTES, at + DRAW_RECORD_BYTES) || any;
    return any;
}

/* ---- the faults ---- */

static size_t records(const struct shrinker *s)
{
    return s->best.streams[STREAM_FAULT].len / DRAW_RECORD_BYTES;
}

/* The shortest beginning of the faults that fails: then the cluster is healed. */
static void faults_cut_off(struct shrinker *s)
{
    size_t low = 0, high = records(s);
    while (low < high && !s->stopped) {
        size_t middle = low + (high - low) / 2;
        s->candidate.streams[STREAM_FAULT].len = middle * DRAW_RECORD_BYTES;
        if (try_stream(s, STREAM_FAULT))
            high = min_u64(middle, records(s));
        else
            low = middle + 1;
    }
}

enum edit { EDIT_CUT, EDIT_QUIET, EDIT_ZERO };

static bool edit(struct buf *b, enum edit what, size_t begin, size_t end)
{
    switch (what) {
    case EDIT_CUT: return cut_out(b, begin, end);
    case EDIT_QUIET: return quiet(b, begin, end);
    case EDIT_ZERO: return zero(b, begin, end);
    }
    return false;
}

/* Blocks of a stream, from all of it down to unit bytes, are edited as long as it fails alike. From
 * the end on: what comes late decides less about what comes after it. */
static void blocks_edit(struct shrinker *s, enum stream which, enum edit what, size_t unit)
{
    const struct buf *best = &s->best.streams[which];
    size_t size = unit;
    while (size < best->len)
        size *= 2;
    for (; size >= unit && !s->stopped; size /= 2) {
        for (size_t begin = best->len / size * size + size; begin >= size && !s->stopped;) {
            begin -= size;
            if (begin >= best->len) continue;
            struct buf *b = &s->candidate.streams[which];
            if (edit(b, what, begin, begin + size)) (void)try_stream(s, which);
        }
    }
}

/* Sooner: the delay of each record halved while it fails alike. */
static void delays_halve(struct shrinker *s)
{
    for (size_t i = records(s); i-- > 0 && !s->stopped;) {
        for (bool again = true; again && !s->stopped && i < records(s);) {
            uint8_t *delay = s->candidate.streams[STREAM_FAULT].data + i * DRAW_RECORD_BYTES;
            uint32_t value = (uint32_t)delay[0] << 24 | (uint32_t)delay[1] << 16 |
                             (uint32_t)delay[2] << 8 | delay[3];
            if (value == 0) break;
            value = value < 1u << 20 ? 0 : value / 2;
            for (unsigned k = 0; k < DELAY_BYTES; k++)
                delay[k] = (uint8_t)(value >> (8 * (DELAY_BYTES - 1 - k)));
            again = try_stream(s, STREAM_FAULT);
        }
    }
}

/* A calm world at once, where that is all it takes: later runs are quicker, too. */
static void streams_zero(struct shrinker *s)
{
    static const enum stream all[] = {STREAM_NET, STREAM_DISK, STREAM_CLIENT, STREAM_NODE,
                                      STREAM_SWARM};
    for (size_t i = 0; i < sizeof all / sizeof all[0] && !s->stopped; i++) {
        struct buf *b = &s->candidate.streams[all[i]];
        if (zero(b, 0, b->len)) (void)try_stream(s, all[i]);
    }
}

static void faults_shrink(struct shrinker *s)
{
    faults_cut_off(s);
    if (s->out->kept < 64) streams_zero(s); /* later rounds go by halves */
    blocks_edit(s, STREAM_FAULT, EDIT_CUT, DRAW_RECORD_BYTES);
    blocks_edit(s, STREAM_FAULT, EDIT_QUIET, DRAW_RECORD_BYTES);
}

/* ---- all the rest ---- */

/* Behind its bytes a stream is zeros, so a shorter one is a calmer one. */
static void stream_cut_off(struct shrinker *s, enum stream which)
{
    size_t low = 0, high = s->best.streams[which].len;
    while (low < high && !s->stopped) {
        size_t middle = low + (high - low) / 2;
        s->candidate.streams[which].len = middle;
        if (try_stream(s, which))
            high = min_u64(middle, s->best.streams[which].len);
        else
            low = middle + 1 + (high - middle) / 8; /* not every byte of a long one is tried */
    }
}

static void hurt_shorten(struct shrinker *s)
{
    for (kelp_ns hurt = s->out->hurt / 2; hurt >= SECOND && !s->stopped; hurt /= 2) {
        if (s->tried.simulated > 0 && !try_it(s, STREAM_COUNT, hurt / SECOND * SECOND)) return;
    }
}

/* coarse to fine; block is the smallest block that is zeroed in the long streams. */
static void round_play(struct shrinker *s, size_t block)
{
    static const enum stream rest[] = {STREAM_NET, STREAM_DISK, STREAM_NODE, STREAM_CLIENT};
    faults_shrink(s);
    blocks_edit(s, STREAM_SWARM, EDIT_ZERO, block > 8 ? 8 : 1);
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++)
        stream_cut_off(s, rest[i]);
    hurt_shorten(s);
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++)
        blocks_edit(s, rest[i], EDIT_ZERO, block);
    delays_halve(s);
    if (block <= 64) blocks_edit(s, STREAM_FAULT, EDIT_ZERO, 4);
}

static void shrink(struct shrinker *s)
{
    size_t block = 4096;
    while (!s->stopped) {
        uint64_t kept = s->out->kept;
        round_play(s, block);
        if (s->out->kept != kept && block <= 64) continue;
        if (block <= 16) break;
        block /= 4;
    }
    s->out->whole = !s->stopped;
}

/* ---- from the seed to the result ---- */

static void case_init(struct draw_case *c)
{
    for (unsigned i = 0; i < STREAM_COUNT; i++)
        buf_init(&c->streams[i], STREAM_BYTES);
}

/* The run as it is, with what it draws kept. */
static bool first_run(struct shrinker *s)
{
    struct draw_case choices;
    struct kelp_sim_options options = s->options;
    struct sim_play play = {.keep = &s->best};
    bool given = options.choices.data != NULL;
    if (given && !draw_case_read(&choices, options.choices.data, options.choices.len)) {
        s->memory = true;
        return false;
    }
    if (given) play.choices = &choices;
    options.trace = count_fault;
    options.trace_ctx = s;
    s->out->runs++;
    bool passed = sim_run(s->seed, &options, &play, &s->out->report);
    if (given) draw_case_free(&choices);
    (void)memcpy(s->invariant, s->out->report.invariant, sizeof s->invariant);
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        s->memory = s->memory || s->best.streams[i].error != KELP_OK;
        (void)copy_stream(s, &s->candidate.streams[i], &s->best.streams[i]);
    }
    size_fill(s, &s->out->before);
    s->out->before.faults = s->faults;
    s->out->after = s->out->before;
    s->out->hurt = options.hurt;
    s->events_max = longer(s->out->report.events);
    return !passed && !s->memory && s->out->report.nodes > 0; /* 0: the options were refused */
}

/* The smallest run once more, to be told in words. */
static bool last_run(struct shrinker *s)
{
    struct buf packed;
    buf_init(&packed, STREAM_BYTES);
    struct kelp_sim_options options = s->options;
    struct retell *retell = retell_new();
    /* A world of zeros has no bytes at all, and is still a case: data must not be NULL. */
    bool good =
        retell != NULL && buf_reserve(&packed, 1) == KELP_OK && draw_case_write(&s->best, &packed);
    options.hurt = s->out->hurt;
    options.trace = retell_record;
    options.trace_ctx = retell;
    struct sim_play play = {.choices = &s->best};
    good = good && !sim_run(s->seed, &options, &play, &s->out->report);
    if (good) {
        size_fill(s, &s->out->after);
        s->out->after.faults = retell_faults(retell);
        s->out->words = retell_words(retell);
        good = s->out->words != NULL;
    }
    retell_free(retell);
    if (good)
        s->out->choices = buf_bytes(&packed);
    else
        buf_close(&packed);
    return good;
}

bool kelp_sim_shrink(uint64_t seed, const struct kelp_sim_options *options,
                     bool (*go_on)(void *ctx, const struct kelp_sim_shrunk *so_far), void *ctx,
                     struct kelp_sim_shrunk *out)
{
    memset(out, 0, sizeof *out);
    struct shrinker *s = calloc(1, sizeof *s);
    if (s != NULL) {
        s->seed = seed;
        s->options = options != NULL ? *options : kelp_sim_options_default();
        s->options.trace = NULL;
        s->options.until = 0;
        s->go_on = go_on;
        s->ctx = ctx;
        s->out = out;
        case_init(&s->best);
        case_init(&s->candidate);
    }
    bool good = s != NULL && first_run(s);
    if (good) {
        shrink(s);
        good = !s->memory && last_run(s);
    }
    if (!good && !out->report.passed && (s == NULL || s->memory || out->report.nodes > 0))
        (void)memcpy(out->report.invariant, "memory", sizeof "memory");
    if (s != NULL) {
        draw_case_free(&s->best);
        draw_case_free(&s->candidate);
    }
    free(s);
    return good;
}

void kelp_sim_shrunk_free(struct kelp_sim_shrunk *shrunk)
{
    union { /* owned: the buffer was ours before it was lent as const bytes */
        const uint8_t *lent;
        uint8_t *ours;
    } bytes = {shrunk->choices.data};
    free(bytes.ours);
    free(shrunk->words);
    shrunk->choices = (struct kelp_bytes){0};
    shrunk->words = NULL;
}
