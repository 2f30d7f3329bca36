/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_world.c - the nodes of a story: log, disk, clock, performing what a core asks for.
 *
 * A disk changes only when a save is performed; a crash leaves what it holds. Unless a story says
 * otherwise a save is performed and reported, a batch applied and a lookup answered at once. */
#include <stdio.h>

#include "sim/scenario_room.h"

static unsigned long long u(uint64_t v)
{
    return (unsigned long long)v;
}

/* ---- logs ---- */

void entries_push(struct scenario *s, struct entries *log, struct entry entry)
{
    log->at = scenario_grow(s, log->at, log->count, &log->room, sizeof *log->at);
    log->at[log->count++] = entry;
}

void entries_copy(struct scenario *s, struct entries *to, const struct entries *from)
{
    *to = (struct entries){.base = from->base};
    for (size_t i = 0; i < from->count; i++)
        entries_push(s, to, from->at[i]);
}

const struct entry *entries_at(const struct entries *log, kelp_index index)
{
    return index > log->base.index && index <= log->count ? &log->at[index - 1] : NULL;
}

struct kelp_pos entries_tail(const struct entries *log)
{
    if (log->count == log->base.index) return log->base;
    return (struct kelp_pos){.term = log->at[log->count - 1].term, .index = log->count};
}

void entries_text(const struct entries *log, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    if (log->base.index > 0)
        used +=
            (size_t)snprintf(out, size, "after %llu@%llu", u(log->base.index), u(log->base.term.v));
    for (size_t first = log->base.index; first < log->count && used < size;) {
        size_t end = first;
        while (end < log->count && log->at[end].term.v == log->at[first].term.v)
            end++;
        const char *gap = used > 0 ? " " : "";
        if (end == first + 1)
            used += (size_t)snprintf(out + used, size - used, "%s%zu@%llu", gap, first + 1,
                                     u(log->at[first].term.v));
        else
            used += (size_t)snprintf(out + used, size - used, "%s%zu..%zu@%llu", gap, first + 1,
                                     end, u(log->at[first].term.v));
        first = end;
    }
    if (used == 0) (void)snprintf(out, size, "empty");
}

void world_newest_configs(const struct entry *entries, size_t count,
                          const struct kelp_config **newest, const struct kelp_config **before)
{
    *newest = *before = NULL;
    for (size_t i = count; i > 0 && *before == NULL; i--) {
        const struct kelp_config *config = entries[i - 1].config;
        if (config == NULL) continue;
        if (*newest == NULL)
            *newest = config;
        else
            *before = config;
    }
}

struct node *world_node(struct scenario *s, kelp_id id)
{
    return id >= 1 && id <= s->node_count ? &s->nodes[id - 1] : NULL;
}

/* ---- birth and crash ---- */

static struct kelp_run *runs_of(struct scenario *s, const struct entries *log, size_t *count)
{
    struct kelp_run *runs = scenario_memory(s, (log->count + 1) * sizeof *runs);
    *count = 0;
    for (size_t i = log->base.index; i < log->count; i++) {
        if (*count == 0 || runs[*count - 1].term.v != log->at[i].term.v)
            runs[(*count)++].term = log->at[i].term;
        runs[*count - 1].last = i + 1;
    }
    return runs;
}

/* What its snapshot shows; one that the story gave shows what the log has. */
static const struct entries *shown_of(struct scenario *s, struct disk *disk)
{
    if (disk->shown.count == disk->snapshot) return &disk->shown;
    if (disk->snapshot > disk->log.count)
        scenario_stop(s, "a snapshot of what nobody gave: %llu", u(disk->snapshot));
    world_shows(s, disk, &disk->log, disk->snapshot);
    return &disk->shown;
}

void world_shows(struct scenario *s, struct disk *disk, const struct entries *log, kelp_index index)
{
    struct entries shown = {.count = 0};
    for (size_t i = 0; i < index; i++)
        entries_push(s, &shown, log->at[i]);
    disk->shown = shown;
    disk->snapshot = index;
}

/* The log begins behind what the snapshot shows. */
static void log_reset(struct scenario *s, struct entries *log, const struct entries *shown)
{
    entries_copy(s, log, shown);
    log->base = (struct kelp_pos){.index = shown->count, .term = shown->at[shown->count - 1].term};
}

void world_boot(struct scenario *s, struct node *node, struct kelp_boot *boot)
{
    struct disk *disk = &node->disk;
    const struct entries *shown = shown_of(s, disk);
    struct kelp_pos end = {.index = disk->snapshot};
    if (end.index > 0) end.term = shown->at[end.index - 1].term;
    bool beyond = end.index > disk->log.count;
    /* as a store does: what is there of a log that a snapshot took the place of goes */
    if (beyond || (end.index > 0 && disk->log.at[end.index - 1].term.v != end.term.v))
        log_reset(s, &disk->log, shown);
    if (disk->term.v < end.term.v) {
        disk->term = end.term;
        disk->vote = 0;
    }
    *boot = (struct kelp_boot){.term = disk->term,
                               .vote = disk->vote,
                               .base = disk->log.base,
                               .last = disk->log.count,
                               .commit = disk->commit,
                               .applied = max_u64(disk->applied, disk->snapshot),
                               .snapshot = end,
                               .everyone = disk->everyone,
                               .runs_from = disk->log.base.index + 1};
    boot->ran_before = node->ran;
    boot->applied = max_u64(boot->applied, disk->log.base.index);
    boot->commit = max_u64(boot->commit, boot->applied);
    boot->runs = runs_of(s, &disk->log, &boot->run_count);
    world_newest_configs(disk->log.at, disk->log.count, &boot->config, &boot->config_before);
    if (boot->config == NULL)
        boot->config = node->members;
    else if (boot->config_before == NULL)
        boot->config_before = node->members;
}

void world_start(struct scenario *s, struct node *node)
{
    struct disk *disk = &node->disk;
    struct kelp_boot boot;
    world_boot(s, node, &boot);
    struct kelp_fault fault = {0};
    void *memory = scenario_memory(s, kelp_core_memory(&node->options.limits));
    node->core = kelp_core_init(memory, &node->options, &boot, node->now, &fault);
    if (node->core == NULL) scenario_stop(s, "node %llu: %s", u(node->id), fault.what);
    node->up = node->ran = true;
    node->fault_told = false;
    node->save_count = node->lookup_count = 0;
    node->fetch = kelp_pos_of(0, 0);
    node->applied = node->apply_given = boot.applied;
    node->commit_seen = boot.base.index;
    entries_copy(s, &node->log, &disk->log);
    rules_check(s, node);
    world_pump(s, node);
}

void world_crash(struct scenario *s, struct node *node)
{
    (void)s;
    node->up = false;
    node->core = NULL;
    node->save_count = 0;
}

/* ---- inputs ---- */

static void keep_taken(struct scenario *s, struct node *node, const struct kelp_taken *taken,
                       const struct kelp_input *input, const struct letter *letter)
{
    if (taken->first == 0) return;
    node->log.count = taken->first - 1;
    for (kelp_index index = taken->first; index <= taken->last; index++) {
        struct entry entry = {.type = KELP_ENTRY_COMMAND, .term = taken->term};
        if (letter != NULL) {
            entry = letter->entries[index - letter->message.append.prev.index - 1];
        } else {
            entry.bytes = input->propose.bytes;
            entry.name = ++s->names;
            expect_token(s, input->propose.token)->name = entry.name;
        }
        entries_push(s, &node->log, entry);
    }
}

static void show_input(struct scenario *s, const struct node *node, const struct kelp_input *input)
{
    char who[24];
    size_t size = kelp_describe_input(input, NULL, 0) + 1;
    char *text = scenario_memory(s, size);
    (void)kelp_describe_input(input, text, size);
    (void)snprintf(who, sizeof who, "%llu .", u(node->id));
    scenario_say(s, node, who, "%s", text);
}

static uint64_t revision_of(const struct node *node)
{
    struct kelp_view view;
    kelp_view(node->core, &view);
    return view.revision;
}

void world_step(struct scenario *s, struct node *node, const struct kelp_input *input,
                const struct letter *letter)
{
    if (++s->steps > SCENARIO_STEPS_MAX) scenario_stop(s, "the story does not come to rest");
    if (node->tells_inputs) show_input(s, node, input);
    uint64_t revision = revision_of(node);
    struct kelp_taken taken = kelp_step(node->core, node->now, input);
    keep_taken(s, node, &taken, input, letter);
    if (input->type == KELP_IN_INSTALLED && revision_of(node) != revision)
        log_reset(s, &node->log, &node->disk.shown);
    rules_check(s, node);
}

/* ---- performing a take ---- */

static void show_events(struct scenario *s, struct node *node, const struct kelp_work *work)
{
    char text[SCENARIO_LINE_MAX], who[24];
    (void)snprintf(who, sizeof who, "%llu", u(node->id));
    for (uint32_t i = 0; i < work->event_count; i++) {
        const struct kelp_event *event = &work->events[i];
        (void)kelp_describe_event(event, text, sizeof text);
        scenario_say(s, node, who, "%s", text);
        node->seen_block[event->type]++;
        node->seen_ever[event->type]++;
        s->report->marks[event->type]++;
    }
}

static void keep_made(struct scenario *s, struct node *node, const struct kelp_work *work)
{
    for (uint32_t i = 0; i < work->made_count; i++) {
        const struct kelp_made *made = &work->made[i];
        if (made->pos.index != node->log.count + 1)
            scenario_stop(s, "node %llu made an entry that does not follow its log", u(node->id));
        struct entry entry = {.term = made->pos.term, .type = made->type, .bytes = 64};
        entry.name = ++s->names;
        if (made->type == KELP_ENTRY_CONFIG) change_made(s, node, made, &entry);
        entries_push(s, &node->log, entry);
    }
}

static void keep_save(struct scenario *s, struct node *node, const struct kelp_save *save)
{
    char text[SCENARIO_LINE_MAX], who[24];
    if (save->number == 0) return;
    if (node->save_count == SCENARIO_SAVES_MAX) scenario_stop(s, "too many open saves");
    (void)snprintf(who, sizeof who, "%llu", u(node->id));
    (void)kelp_describe_save(save, text, sizeof text);
    scenario_say(s, node, who, "%s", text);
    struct pending *pending = &node->saves[node->save_count++];
    *pending = (struct pending){.save = *save};
    if ((save->flags & KELP_SAVE_APPEND) == 0) return;
    if (save->last > node->log.count || save->first > save->last)
        scenario_stop(s, "node %llu saves entries it does not have", u(node->id));
    size_t count = save->last - save->first + 1;
    pending->entries = scenario_memory(s, count * sizeof *pending->entries);
    memcpy(pending->entries, &node->log.at[save->first - 1], count * sizeof *pending->entries);
}

static void perform(struct scenario *s, struct node *node, const struct kelp_work *work)
{
    char text[SCENARIO_LINE_MAX], who[24];
    (void)snprintf(who, sizeof who, "%llu", u(node->id));
    show_events(s, node, work);
    keep_save(s, node, &work->save);
    for (uint32_t i = 0; i < work->message_count; i++)
        post_send(s, node, &work->messages[i]);
    for (uint32_t i = 0; i < work->lookup_count; i++) {
        if (node->lookup_count == COUNT_OF(node->lookups)) scenario_stop(s, "too many lookups");
        node->lookups[node->lookup_count++] = work->lookups[i];
        scenario_say(s, node, who, "lookup %llu revision %llu", u(work->lookups[i].index),
                     u(work->lookups[i].revision));
    }
    if (work->apply_last != 0) {
        scenario_say(s, node, who, "apply %llu..%llu", u(work->apply_first), u(work->apply_last));
        if (work->apply_first != node->apply_given + 1)
            scenario_stop(s, "node %llu applies out of order", u(node->id));
        node->apply_given = work->apply_last;
    }
    for (uint32_t i = 0; i < work->answer_count; i++) {
        (void)kelp_describe_answer(&work->answers[i], text, sizeof text);
        scenario_say(s, node, who, "%s", text);
        rules_answer(s, node, &work->answers[i]);
    }
    if (work->fetch.index != 0) {
        node->fetch = work->fetch;
        node->fetch_from = work->fetch_from;
        scenario_say(s, node, who, "fetch %llu@%llu of %llu", u(work->fetch.index),
                     u(work->fetch.term.v), u(work->fetch_from));
    }
    if (work->faulted && !node->fault_told) {
        node->fault_told = true;
        scenario_say(s, node, who, "fault: %s", work->fault.what);
    }
}

void world_take(struct scenario *s, struct node *node)
{
    struct kelp_work work;
    while (kelp_take(node->core, node->now, &work)) {
        if (++s->steps > SCENARIO_STEPS_MAX) scenario_stop(s, "the story does not come to rest");
        keep_made(s, node, &work);
        rules_check(s, node);
        perform(s, node, &work);
        if (!node->manual[MANUAL_SAVES] && node->save_count > 0)
            world_saved(s, node, node->saves[node->save_count - 1].save.number);
        if (!node->manual[MANUAL_APPLIES] && node->apply_given > node->applied)
            world_applied(s, node, node->apply_given);
        while (!node->manual[MANUAL_LOOKUPS] && node->lookup_count > 0) {
            struct kelp_lookup lookup = node->lookups[--node->lookup_count];
            world_lookup(s, node, &lookup);
        }
        if (!node->manual[MANUAL_FETCHES] && node->fetch.index != 0) world_fetch(s, node);
        if (node->installs) world_install(s, node);
    }
    node->deadline = work.deadline;
}

void world_pump(struct scenario *s, struct node *node)
{
    if (!node->manual[MANUAL_TAKES]) world_take(s, node);
}

/* ---- snapshots ---- */

void world_fetch(struct scenario *s, struct node *node)
{
    struct node *from = world_node(s, node->fetch_from);
    struct kelp_pos pos = node->fetch;
    node->fetch = kelp_pos_of(0, 0);
    if (from == NULL || !from->up || from->disk.snapshot < pos.index) return; /* not to be had */
    world_shows(s, &node->disk, shown_of(s, &from->disk), pos.index);
    world_install(s, node);
}

/* What is durable under its name. */
void world_install(struct scenario *s, struct node *node)
{
    const struct entries *shown = &node->disk.shown;
    struct kelp_pos pos = {.index = node->disk.snapshot};
    struct kelp_input input = {.type = KELP_IN_INSTALLED};
    const struct kelp_config *before;
    struct kelp_view view;
    if (pos.index == 0) scenario_stop(s, "node %llu has no snapshot", u(node->id));
    pos.term = shown->at[pos.index - 1].term;
    kelp_view(node->core, &view);
    if (view.applied >= pos.index) return;
    input.installed.pos = pos;
    world_newest_configs(shown->at, shown->count, &input.installed.config, &before);
    if (input.installed.config == NULL) input.installed.config = node->members;
    world_step(s, node, &input, NULL);
    kelp_view(node->core, &view);
    if (view.applied < pos.index) { /* something is looked up first, or it faults */
        node->installs = !view.faulted;
        return;
    }
    node->installs = false;
    node->applied = pos.index;
    node->apply_given = max_u64(node->apply_given, pos.index);
}

/* ---- completions ---- */

static void perform_save(struct scenario *s, struct node *node, const struct pending *pending)
{
    const struct kelp_save *save = &pending->save;
    struct disk *disk = &node->disk;
    if ((save->flags & KELP_SAVE_VOTE) != 0) {
        disk->term = save->term;
        disk->vote = save->vote;
    }
    if ((save->flags & KELP_SAVE_TRUNCATE) != 0) {
        if (save->end.index > disk->log.count)
            scenario_stop(s, "node %llu: a save cuts where nothing is", u(node->id));
        disk->log.count = save->end.index;
    }
    if ((save->flags & KELP_SAVE_APPEND) != 0) {
        if (save->first != disk->log.count + 1)
            scenario_stop(s, "node %llu: a save does not follow what is on disk", u(node->id));
        for (kelp_index index = save->first; index <= save->last; index++)
            entries_push(s, &disk->log, pending->entries[index - save->first]);
    }
    if ((save->flags & KELP_SAVE_RESET) != 0) {
        if (save->end.index > disk->snapshot)
            scenario_stop(s, "node %llu resets its log beyond its snapshot", u(node->id));
        log_reset(s, &disk->log, shown_of(s, disk));
        disk->log.count = save->end.index;
        disk->log.base = save->end;
    }
    if ((save->flags & KELP_SAVE_COMPACT) != 0) {
        disk->log.base.index = save->keep - 1;
        disk->log.base.term = disk->log.at[save->keep - 2].term;
        node->log.base = disk->log.base;
    }
    disk->commit = max_u64(disk->commit, min_u64(save->commit, disk->log.count));
    disk->everyone = max_u64(disk->everyone, save->everyone);
}

void world_perform(struct scenario *s, struct node *node, uint64_t number)
{
    size_t done = 0;
    while (done < node->save_count && node->saves[done].save.number <= number)
        perform_save(s, node, &node->saves[done++]);
    node->save_count -= done;
    memmove(node->saves, node->saves + done, node->save_count * sizeof *node->saves);
}

void world_saved(struct scenario *s, struct node *node, uint64_t number)
{
    world_perform(s, node, number);
    world_step(s, node, &(struct kelp_input){.type = KELP_IN_SAVED, .number = number}, NULL);
}

void world_applied(struct scenario *s, struct node *node, kelp_index index)
{
    if (index > node->apply_given)
        scenario_stop(s, "node %llu was not given %llu to apply", u(node->id), u(index));
    node->applied = index;
    world_step(s, node, &(struct kelp_input){.type = KELP_IN_APPLIED, .index = index}, NULL);
}

void world_lookup(struct scenario *s, struct node *node, const struct kelp_lookup *lookup)
{
    const struct entries *log = &node->log;
    struct kelp_input input = {.type = KELP_IN_FOUND};
    kelp_index index = lookup->index, last = index;
    input.found.revision = lookup->revision;
    input.found.pos.index = index;
    if (index > log->count || (index < log->base.index && index > 0)) {
        input.type = KELP_IN_GONE;
        world_step(s, node, &input, NULL);
        return;
    }
    if (index > 0)
        input.found.pos.term = index == log->base.index ? log->base.term : log->at[index - 1].term;
    while (last < log->count && last - index < lookup->entries_max) { /* one always fits */
        uint64_t bytes = input.found.bytes + log->at[last].bytes;
        if (last > index && bytes > lookup->bytes_max) break;
        input.found.bytes = bytes;
        last++;
    }
    input.found.last = kelp_pos_of(last, last > index ? log->at[last - 1].term.v : 0);
    if (last == index) input.found.last = input.found.pos;
    world_step(s, node, &input, NULL);
}

/* ---- time ---- */

static void tick_now(struct scenario *s, struct node *node)
{
    world_step(s, node, &(struct kelp_input){.type = KELP_IN_TICK}, NULL);
    world_pump(s, node);
}

void world_tick(struct scenario *s, struct node *node, kelp_ns span)
{
    kelp_ns end = node->now + span;
    bool busy = node->manual[MANUAL_TAKES]; /* nobody asks it when to call again */
    while (node->up && !busy && node->deadline <= end) {
        node->now = max_u64(node->now, node->deadline);
        tick_now(s, node);
    }
    node->now = end;
    if (node->up && busy) tick_now(s, node);
}

void scenario_world_run(struct scenario *s, kelp_ns span)
{
    for (;;) {
        while (post_deliver_next(s)) {
        }
        kelp_ns next = span;
        for (size_t slot = 0; slot < s->node_count; slot++) {
            const struct node *node = &s->nodes[slot];
            if (node->up && !node->manual[MANUAL_TAKES])
                next = min_u64(next, sub_sat(node->deadline, node->now));
        }
        if (next >= span) break;
        span -= next;
        for (size_t slot = 0; slot < s->node_count; slot++) {
            struct node *node = &s->nodes[slot];
            node->now += next;
            bool busy = node->manual[MANUAL_TAKES];
            if (node->up && !busy && node->deadline <= node->now) tick_now(s, node);
        }
    }
    for (size_t slot = 0; slot < s->node_count; slot++)
        s->nodes[slot].now += span;
}
