/* SPDX-License-Identifier: Apache-2.0 */
/* driver.c - the life of a driver, and the loop that does what is due.
 *
 *   driver_run:  completions, founding, takes, routes, deadlines, requests: until nothing is due
 *                one batch to the machine, once
 *                outcomes to clients (who may submit more), answers to peers, a snapshot
 *                flush; only now is what sends borrowed let go: dead requests, scratch, cache
 *
 * The driver calls ports from here only, so that an owner may report frames and completions at any
 * moment; but for `frees`, a question about a command's bytes, which is asked where that is
 * proposed. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "driver/room.h"

#define ROUNDS_MAX    64u /* of one run; more is for the next, after the sockets' turn */
#define SCRATCH_BYTES (64u * 1024)

/* ---- shared by the room ---- */

void driver_note(struct driver *d, enum kelp_level level, const char *format, ...)
{
    if (d->options.note == NULL) return;
    char line[400];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    d->options.note(d->options.watch_ctx, (int)level, line);
}

const struct kelp_view *driver_look(struct driver *d)
{
    ASSERT(d->core != NULL);
    if (d->view_stale) kelp_glance(d->core, &d->view);
    d->view_stale = false;
    return &d->view;
}

struct kelp_taken driver_step(struct driver *d, const struct kelp_input *input)
{
    /* Proposals and reads change neither role nor term; everything else may. */
    bool request = input->type == KELP_IN_PROPOSE || input->type == KELP_IN_READ;
    d->untaken = true;
    if (!request) d->view_stale = d->route_stale = true;
    struct kelp_taken taken = kelp_step(d->core, d->now, input);
    if (request && taken.first == 0) d->unanswered++;
    return taken;
}

bool core_has_room(const struct driver *d)
{
    return d->unanswered < d->options.core.limits.answers_max;
}

void driver_fail(struct driver *d, const struct kelp_fault *fault)
{
    if (d->state == DRIVER_FAULTED || d->fault_due) return; /* the first one holds */
    d->fault = *fault;
    if (d->fault.error == KELP_OK) d->fault.error = KELP_E_IO;
    d->fault_due = true; /* a take may be under way: the core hears of it in ports_settle */
}

void *scratch_take(struct driver *d, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    struct scratch *s = d->scratch;
    if (s == NULL || s->size - s->used < size) {
        size_t room = max_u64(size, SCRATCH_BYTES);
        s = malloc(sizeof *s + room);
        if (s == NULL) return NULL;
        s->size = room;
        s->used = 0;
        s->next = d->scratch;
        d->scratch = s;
    }
    uint8_t *at = s->data + s->used;
    s->used += size;
    return at;
}

static void scratch_trim(struct driver *d, size_t keep)
{
    struct scratch *s = d->scratch, *kept = NULL;
    while (s != NULL) {
        struct scratch *next = s->next;
        if (keep > 0 && kept == NULL && s->size == SCRATCH_BYTES) {
            kept = s;
            kept->used = 0;
            kept->next = NULL;
        } else {
            free(s);
        }
        s = next;
    }
    d->scratch = kept;
}

void driver_flush(struct driver *d)
{
    if (!d->closing) d->ports.peers->flush(d->ports.peers_ctx);
    scratch_trim(d, 1);
    requests_bury(d);
    cache_evict(d->cache, min_u64(d->applied, d->save_last));
}

/* ---- life ---- */

static enum kelp_error options_check(const struct driver_options *o, struct kelp_fault *fault)
{
    enum kelp_error error = kelp_options_check(&o->core, fault);
    if (error != KELP_OK) return error;
    if (o->core.self > WIRE_CHANGE_NUMBER_MAX && !id_waits(o->core.self))
        return fault_set(fault, KELP_E_ARGUMENT, "driver",
                         "id %llu is above 2^62: no member can have it",
                         (unsigned long long)o->core.self);
    if (o->random == NULL)
        return fault_set(fault, KELP_E_ARGUMENT, "driver", "a source of random bits is needed");
    if (o->core.limits.entry_bytes_max > WIRE_ENTRY_MAX)
        return fault_set(fault, KELP_E_ARGUMENT, "driver",
                         "entry_bytes_max is above what an entry may have");
    return found_check_list(o->bootstrap, o->bootstrap_count, o->core.self, fault);
}

static bool found_make(struct driver *d, const struct driver_boot *boot)
{
    const struct driver_options *o = &d->options;
    d->found = calloc(1, sizeof *d->found);
    if (d->found == NULL) return false;
    struct found_setup setup = {.self = o->core.self,
                                .incarnation = o->incarnation,
                                .seed = o->core.seed,
                                .cluster = o->cluster,
                                .epoch = o->epoch,
                                .listed = d->listed,
                                .listed_count = o->bootstrap_count,
                                .election_min_ns = o->core.election_min,
                                .created_unix_ms = o->wall_unix_ms,
                                .drift_ppm = o->core.drift_ppm,
                                .random = o->random,
                                .random_ctx = o->random_ctx,
                                .config = boot->config,
                                .entry1 = boot->entry1};
    if (boot->config != NULL && cluster_zero(setup.cluster)) setup.cluster = boot->config->cluster;
    return found_init(d->found, &setup, d->now);
}

static bool parts_make(struct driver *d, const struct driver_boot *boot)
{
    d->cache = cache_new(d->options.cache_bytes_max);
    d->config_bytes = malloc(WIRE_CONFIG_BYTES_MAX);
    return d->cache != NULL && d->config_bytes != NULL &&
           pool_init(&d->requests, d->options.core.limits.proposals_max) && request_reserve(d) &&
           found_make(d, boot);
}

static enum kelp_error start(struct driver *d, const struct driver_boot *boot,
                             struct kelp_fault *fault)
{
    if (!parts_make(d, boot)) return fault_set(fault, KELP_E_NO_MEMORY, "driver", "out of memory");
    if (!d->hollow) found_snapshot(d->found, d->taking.last);
    bool ran = boot->core.term.v > 1 || boot->core.vote != 0; /* Raft starts with entry 1 only */
    if (boot->config == NULL && ran)
        return fault_set(fault, KELP_E_WIPED, "log",
                         "it holds nothing, but the vote file has term %llu: the log was lost",
                         (unsigned long long)boot->core.term.v);
    if (boot->config == NULL) return KELP_OK;
    if (boot->config_before != NULL) config_push(d, boot->config_before);
    config_push(d, boot->config);
    if (boot->apart) quarantine_goes_on(d);
    d->tail_due = boot->core.last > boot->core.base.index;
    return raft_start(d, &boot->core, fault);
}

struct driver *driver_new(const struct driver_options *options, const struct driver_ports *ports,
                          const struct driver_boot *boot, kelp_ns now, struct kelp_fault *fault)
{
    struct kelp_fault unheard = {.error = KELP_OK};
    if (fault == NULL) fault = &unheard;
    if (options_check(options, fault) != KELP_OK) return NULL;
    if (id_waits(options->core.self) && ports->store->name == NULL) {
        (void)fault_set(fault, KELP_E_ARGUMENT, "driver",
                        "a node without an id needs a store that writes down the one it is given");
        return NULL;
    }
    struct driver *d = calloc(1, sizeof *d);
    if (d == NULL) {
        (void)fault_set(fault, KELP_E_NO_MEMORY, "driver", "out of memory");
        return NULL;
    }
    d->options = *options;
    d->ports = *ports;
    d->now = now;
    for (size_t i = 0; i < options->bootstrap_count; i++)
        d->listed[i] = options->bootstrap[i];
    d->options.bootstrap = d->listed;
    TAILQ_INIT(&d->lines);
    TAILQ_INIT(&d->ready);
    TAILQ_INIT(&d->answers);
    TAILQ_INIT(&d->changes);
    TAILQ_INIT(&d->guests);
    TAILQ_INIT(&d->copying.waiting);
    TAILQ_INIT(&d->askers);
    TAILQ_INIT(&d->reads);
    d->core_deadline = d->retry_at = d->idle_at = d->reach_at = d->hand_on_at = KELP_NEVER;
    d->leaderless_since = d->clock_heard = now;
    d->clock_last = d->clock_logged = boot->time_ns;
    d->apply_next = 1;
    clock_init(d);
    snapshot_init(d, boot);
    fetch_init(d);
    /* so that no answer to an earlier start of this node, however late, fits a forward of this one
     */
    d->forward_number = options->start_count << 40;
    if (start(d, boot, fault) == KELP_OK) return d;
    driver_free(d);
    return NULL;
}

void driver_free(struct driver *d)
{
    if (d == NULL) return;
    snapshot_free(d);
    fetch_free(d);
    struct driver_line *line;
    while ((line = TAILQ_FIRST(&d->lines)) != NULL) {
        TAILQ_REMOVE(&d->lines, line, all_link);
        free(line);
    }
    struct log_read *read;
    while ((read = TAILQ_FIRST(&d->reads)) != NULL)
        read_free(d, read);
    for (size_t i = 0; i < d->peer_count; i++)
        peer_free(d->peers[i]);
    free(d->peers);
    pool_free(&d->requests);
    cache_free(d->cache);
    if (d->found != NULL) found_free(d->found);
    free(d->found);
    scratch_trim(d, 0);
    free(d->parts);
    free(d->config_bytes);
    free(d->infos);
    free(d->core_memory);
    free(d);
}

/* ---- running ---- */

static void tail_read(struct driver *d)
{
    if (!d->tail_due || d->state != DRIVER_RUNNING) return;
    struct log_read *read = read_new(d, READ_TAIL);
    if (read == NULL) {
        d->retry_at = d->now + RETRY_NS;
        return;
    }
    d->tail_due = false;
    d->tail_open = true;
    read_ask(d, read, driver_look(d)->last, 1, UINT64_MAX);
}

static void retry(struct driver *d)
{
    if (d->now < d->retry_at) return;
    d->retry_at = KELP_NEVER;
    d->route_stale = true;
    lookups_again(d);
    struct driver_line *line;
    TAILQ_FOREACH(line, &d->lines, all_link)
    {
        if (line->next != NULL) line_ready(d, line);
    }
}

/* One round; true: it may have given those at its beginning something to do. What a take brings is
 * for those behind it, but for founding, which hears of configurations, and for ports that answer
 * at once. */
static bool run_round(struct driver *d, kelp_ns *expire)
{
    bool settled = d->config_count == 1 && d->config_committed;
    ports_settle(d);
    if (d->quarantine.judge_due) quarantine_judge(d);
    bool any = birth_run(d);
    bool took = perform_takes(d);
    any = any || (took && !(settled && d->config_count == 1 && d->config_committed));
    route_refresh(d);
    *expire = lines_expire(d);
    any = handover_pump(d) || any;
    any = lines_pump(d) || any;
    any = changes_run(d) || any;
    any = reads_release(d) || any;
    if (!ticking_idle(&d->ticking, d->applied)) any = clock_run(d) || any;
    any = queries_run(d) || any;
    return any || ports_due(d);
}

static void run_rounds(struct driver *d, kelp_ns *expire)
{
    bool applied = false;
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        bool any = run_round(d, expire);
        if (!any && !applied) {
            applied = true;
            any = apply_run(d);
        }
        if (!any) return;
    }
    d->untaken = true; /* not at rest: the next run goes on */
}

static void idle_tell(struct driver *d)
{
    if (d->now < d->idle_at) return;
    d->idle_at = KELP_NEVER;
    if (d->state == DRIVER_FAULTED) return;
    d->ports.store->idle(d->ports.store_ctx, d->options.group);
}

static bool more_at_once(const struct driver *d)
{
    bool may_apply = d->state == DRIVER_RUNNING && d->apply_open == 0 && !d->apply_reading;
    return (d->untaken && !d->tail_due && !d->tail_open) || !TAILQ_EMPTY(&d->ready) ||
           d->fault_due || d->query_more || d->save_reported > d->save_done ||
           d->applied_reported > d->applied || d->pledged_reported || snapshot_at_once(d) ||
           fetch_at_once(d) || ((d->space_due || d->shown_due) && d->core != NULL) ||
           (may_apply && !apply_held(d) && d->apply_next <= d->apply_to);
}

kelp_ns driver_run(struct driver *d, kelp_ns now)
{
    d->now = max_u64(d->now, now);
    d->reserved = NULL;
    d->pump_left = PUMP_MAX;
    d->query_left = QUERY_BYTES_RUN;
    d->walk_stepped = false;
    if (d->closing) {
        (void)lines_pump(d);
        lines_deliver(d);
        driver_flush(d);
        return TAILQ_EMPTY(&d->ready) ? KELP_NEVER : d->now;
    }
    retry(d);
    tail_read(d);
    if (d->core != NULL && d->now >= d->core_deadline) {
        struct kelp_input tick = {.type = KELP_IN_TICK};
        (void)driver_step(d, &tick);
    }
    moving_run(d);
    snapshot_renew(d);
    if (!rejoin_idle(&d->rejoin)) rejoin_run(d);
    restoring_run(d);
    kelp_ns found_next_at = birth_tick(d), expire = KELP_NEVER;
    run_rounds(d, &expire);
    lines_deliver(d);
    serve_run(d);
    fetch_run(d);
    headway_run(d);
    snapshot_run(d);
    /* what clients submitted when they heard, in the same flush; and who leads is told now, if a
     * snapshot that came in changed it, since the next run may be an election timeout away */
    if (d->untaken && perform_takes(d)) route_refresh(d);
    forward_reply_all(d);
    if (d->quarantine.tell_due) quarantine_tell(d);
    driver_flush(d);
    idle_tell(d);
    if (more_at_once(d)) return d->now;
    kelp_ns next = min_u64(min_u64(found_next_at, expire), min_u64(d->retry_at, d->idle_at));
    next = min_u64(next, d->reach_at);
    next = min_u64(min_u64(next, handover_next(d)), snapshot_next(d));
    if (d->ticking.due != KELP_FSM_NO_DEADLINE) next = min_u64(next, clock_next(d));
    next = min_u64(next, min_u64(fetch_next(d), serve_next(d)));
    next = min_u64(next, min_u64(moving_next(d), headway_next(d)));
    if (!rejoin_idle(&d->rejoin)) next = min_u64(next, rejoin_next(d));
    if (d->quarantine.tell_due) next = min_u64(next, quarantine_next(d));
    if (d->core != NULL && !d->tail_due && !d->tail_open) next = min_u64(next, d->core_deadline);
    return next;
}

void driver_shutdown(struct driver *d, kelp_ns now)
{
    if (d->closing) return;
    d->now = max_u64(d->now, now);
    d->closing = true;
    d->reserved = NULL;
    ports_settle(d); /* what is done is better told as done */
    if (d->core != NULL) {
        struct kelp_input input = {.type = KELP_IN_SHUTDOWN};
        (void)driver_step(d, &input);
        (void)perform_takes(d);
    }
    lead_refresh(d);
    lines_end(d, KELP_R_SHUTDOWN);
    walk_end_tell(d);
    forward_reply_all(d);
    d->ports.peers->flush(d->ports.peers_ctx);
    for (unsigned round = 0; round < ROUNDS_MAX && !TAILQ_EMPTY(&d->ready); round++) {
        d->pump_left = PUMP_MAX;
        (void)lines_pump(d);
        lines_deliver(d);
    }
    driver_flush(d);
}
