/* SPDX-License-Identifier: Apache-2.0 */
/* owner.c - see owner.h. */
#include "tests/store/owner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/min.h"
#include "tests/store/storekit.h"
#include "wire/entry.h"

uint64_t world_below(struct world *w, uint64_t n)
{
    return prng_below(&w->prng, n);
}

/* ---- the random owner ------------------------------------------------------------------------ */

struct batch {
    struct store_save_item items[4];
    struct kelp_bytes parts[16];
    size_t count, part_count;
};

static struct kelp_save *batch_add(struct world *w, struct batch *b)
{
    struct store_save_item *item = &b->items[b->count++];
    *item = (struct store_save_item){.save = {.number = ++w->number},
                                     .parts = b->parts + b->part_count};
    item->save.commit = w->maybe->commit;
    return &item->save;
}

static void batch_append(struct world *w, struct batch *b)
{
    struct model *m = w->maybe;
    struct kelp_save *save = batch_add(w, b);
    save->flags = KELP_SAVE_APPEND;
    save->first = m->last + 1;
    uint64_t count = 1 + world_below(w, 3);
    for (uint64_t i = 0; i < count; i++) {
        size_t payload = (size_t)world_below(w, world_below(w, 8) == 0 ? 9000 : 300);
        if (world_below(w, 60) == 0) payload = 40000; /* larger than a segment */
        m->last++;
        assert_true(m->last < ENTRIES_MAX);
        m->entries[m->last].term = m->term;
        m->entries[m->last].payload = payload;
        b->parts[b->part_count++] = kit_entry(kelp_pos_of(m->last, m->term), payload);
    }
    b->items[b->count - 1].part_count = (size_t)count;
    save->last = m->last;
}

static void batch_truncate(struct world *w, struct batch *b)
{
    struct model *m = w->maybe;
    kelp_index low = max_u64(m->commit, m->base.index);
    if (m->last == low) return;
    struct kelp_save *save = batch_add(w, b);
    save->flags = KELP_SAVE_TRUNCATE | KELP_SAVE_VOTE;
    save->term.v = ++m->term;
    save->vote = m->vote = 1 + world_below(w, 3);
    m->last = low + world_below(w, m->last - low);
    uint64_t term = m->last == m->base.index ? m->base.term.v : m->entries[m->last].term;
    save->end = kelp_pos_of(m->last, term);
}

enum kelp_error world_batch(struct world *w)
{
    struct batch b = {.count = 0};
    struct model *m = w->maybe;
    m->commit = max_u64(m->commit, m->base.index);
    if (m->last > m->commit) m->commit += world_below(w, m->last - m->commit + 1) / 2;
    uint64_t saves = 1 + world_below(w, 3);
    for (uint64_t i = 0; i < saves; i++) {
        uint64_t what = world_below(w, 10);
        if (what < 2)
            batch_truncate(w, &b);
        else if (what < 3) {
            struct kelp_save *save = batch_add(w, &b);
            save->flags = KELP_SAVE_VOTE;
            save->term.v = ++m->term;
            save->vote = m->vote = world_below(w, 3);
        } else
            batch_append(w, &b);
    }
    if (world_below(w, 6) == 0 && m->snapshot.index > m->base.index) {
        struct kelp_save *save = batch_add(w, &b);
        save->flags = KELP_SAVE_COMPACT;
        m->base.index += world_below(w, m->snapshot.index - m->base.index + 1);
        save->keep = m->base.index + 1;
        if (m->base.index == m->snapshot.index)
            m->base.term = m->snapshot.term;
        else if (m->base.index > 0)
            m->base.term.v = m->entries[m->base.index].term;
    }
    struct kelp_fault fault = {0};
    enum kelp_error error = store_save(w->store, b.items, b.count, &fault);
    for (size_t i = 0; i < b.part_count; i++)
        free((void *)(uintptr_t)b.parts[i].data);
    return error;
}

static enum kelp_error do_snapshot(struct world *w)
{
    struct model *m = w->maybe;
    if (m->commit <= m->snapshot.index || m->commit <= m->base.index) return KELP_OK;
    struct kelp_pos pos = kelp_pos_of(m->commit, m->entries[m->commit].term);
    struct kelp_bytes head = kit_head(pos);
    m->snapshot = pos;
    enum kelp_error error = store_snapshot(w->store, pos, head, NULL);
    free((void *)(uintptr_t)head.data);
    return error;
}

/* What a store does at a start with a snapshot that its log does not reach or contradicts. */
static void fit(struct model *m)
{
    kelp_index at = m->snapshot.index;
    if (at <= m->base.index) return;
    if (at <= m->last && m->entries[at].term == m->snapshot.term.v) return;
    m->base = m->snapshot;
    m->last = at;
    m->commit = max_u64(m->commit, at);
}

void world_done(struct world *w)
{
    *w->sure = *w->maybe;
}

static enum kelp_error do_install(struct world *w)
{
    struct model *m = w->maybe;
    struct kelp_save vote = {.number = ++w->number, .flags = KELP_SAVE_VOTE};
    vote.term.v = ++m->term;
    vote.vote = m->vote = 0;
    struct store_save_item item = {.save = vote};
    enum kelp_error error = store_save(w->store, &item, 1, NULL);
    if (error != KELP_OK) return error;
    world_done(w);
    kelp_index at = max_u64(m->last, m->snapshot.index) + 1 + world_below(w, 5);
    m->snapshot = kelp_pos_of(at, m->term);
    struct kelp_bytes head = kit_head(m->snapshot);
    error = store_snapshot(w->store, m->snapshot, head, NULL);
    free((void *)(uintptr_t)head.data);
    if (error != KELP_OK) return error;
    world_done(w);
    fit(m);
    struct store_save_item reset = {
        .save = {
            .number = ++w->number, .flags = KELP_SAVE_RESET, .end = m->snapshot, .commit = at}};
    return store_save(w->store, &reset, 1, NULL);
}

enum kelp_error world_step(struct world *w)
{
    uint64_t what = world_below(w, 24);
    bool more;
    if (what < 15) return world_batch(w);
    if (what < 17) return store_mark_idle(w->store, NULL);
    if (what < 21) return store_idle_work(w->store, &more, NULL);
    if (what < 23) return do_snapshot(w);
    return world_below(w, 3) == 0 ? do_install(w) : world_batch(w);
}

/* ---- judging what came back ------------------------------------------------------------------ */

/* NULL: the store holds exactly this log; otherwise what differs. */
const char *world_differs(struct store *s, const struct model *wanted)
{
    const struct store_found *f = store_found(s);
    struct model *m = malloc(sizeof *m);
    assert_non_null(m);
    *m = *wanted;
    m->snapshot = f->snapshot.pos;
    fit(m);
    const char *words = NULL;
    if (f->last != m->last) words = "it ends elsewhere";
    if (f->base.index > m->base.index) words = "it starts above what was compacted";
    if (f->commit < f->snapshot.pos.index || f->commit > max_u64(m->commit, m->base.index)) {
        words = "it claims a commit index that nobody gave it";
    }
    kelp_index from = 0;
    for (size_t i = 0; i < f->run_count && words == NULL; i++) {
        for (kelp_index k = max_u64(from, f->base.index) + 1; k <= f->runs[i].last; k++) {
            if (k > m->base.index && m->entries[k].term != f->runs[i].term.v)
                words = "a term differs";
        }
        from = f->runs[i].last;
    }
    if (words == NULL && f->last > f->base.index && from != f->last) words = "runs end early";
    free(m);
    return words;
}

void world_read_back(struct store *s, const struct model *m)
{
    const struct store_found *f = store_found(s);
    uint8_t *out = NULL;
    size_t size = 0, len = 0;
    kelp_index last = f->base.index;
    while (last < f->last) {
        struct kelp_pos before;
        kelp_index first = last + 1;
        struct kelp_fault fault = {0};
        enum kelp_error error =
            store_read(s, first, 7, 1 << 20, &out, &size, &len, &before, &last, &fault);
        if (error != KELP_OK) fail_msg("read of %d: %s: %s", (int)first, fault.where, fault.what);
        const uint8_t *at = out;
        for (kelp_index i = first; i <= last; i++) {
            struct kelp_bytes entry =
                kit_entry(kelp_pos_of(i, m->entries[i].term), m->entries[i].payload);
            assert_true(entry.len <= len - (size_t)(at - out));
            assert_memory_equal(at, entry.data, entry.len);
            at += entry.len;
            free((void *)(uintptr_t)entry.data);
        }
        assert_int_equal(at - out, len);
    }
    free(out);
}

/* Open again: the log and the vote must each be what was reported, or that and the call under
 * way. */
void world_reopen(struct world *w)
{
    w->store = kit_open(w->disk);
    w->number = 0;
    const struct store_found *f = store_found(w->store);
    const char *sure = world_differs(w->store, w->sure), *maybe = world_differs(w->store, w->maybe);
    if (sure != NULL && maybe != NULL) {
        fail_msg(
            "the log is neither what was reported (%s) nor that and one call (%s): last %d, base "
            "%d; reported last %d",
            sure, maybe, (int)f->last, (int)f->base.index, (int)w->sure->last);
    }
    bool snapshot_sure = kelp_pos_equal(f->snapshot.pos, w->sure->snapshot);
    if (!snapshot_sure && !kelp_pos_equal(f->snapshot.pos, w->maybe->snapshot)) {
        fail_msg("the snapshot ends at %d@%d, reported %d@%d, under way %d@%d",
                 (int)f->snapshot.pos.index, (int)f->snapshot.pos.term.v,
                 (int)w->sure->snapshot.index, (int)w->sure->snapshot.term.v,
                 (int)w->maybe->snapshot.index, (int)w->maybe->snapshot.term.v);
    }
    bool vote_sure = f->term.v == w->sure->term && f->vote == w->sure->vote;
    bool vote_maybe = f->term.v == w->maybe->term && f->vote == w->maybe->vote;
    assert_true(vote_sure || vote_maybe);
    struct model *chosen = sure == NULL ? w->sure : w->maybe;
    if (chosen == w->sure)
        *w->maybe = *w->sure;
    else
        *w->sure = *w->maybe;
    w->sure->term = f->term.v;
    w->sure->vote = f->vote;
    w->sure->snapshot = f->snapshot.pos;
    fit(w->sure);
    w->sure->commit = f->commit;
    world_read_back(w->store, w->sure);
    if (w->sure->base.index > f->base.index) { /* compaction is only as fine as segments */
        struct kelp_pos base = f->base;
        w->sure->base = base;
    }
    *w->maybe = *w->sure;
}

/* ---- one life -------------------------------------------------------------------------------- */

struct world *world_new(uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->disk = fakedisk_new(seed);
    w->prng.state = seed;
    w->sure = calloc(1, sizeof *w->sure);
    w->maybe = calloc(1, sizeof *w->maybe);
    assert_non_null(w->sure);
    assert_non_null(w->maybe);
    return w;
}

void world_free(struct world *w)
{
    store_close(w->store);
    fakedisk_free(w->disk);
    free(w->sure);
    free(w->maybe);
    free(w);
}

void world_term_one(struct world *w)
{
    kit_vote(w->store, 0, 1, 0);
    w->sure->term = w->maybe->term = 1;
}

/* Up to `steps` steps; false: one failed, as it should when the disk died. */
bool world_run(struct world *w, uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++) {
        if (world_step(w) != KELP_OK) return false;
        world_done(w);
        w->steps++;
    }
    return true;
}

void world_stop(struct world *w)
{
    store_close(w->store);
    w->store = NULL;
}
