/* SPDX-License-Identifier: Apache-2.0 */
/* driver_test.c - drivers with real cores, stores in memory and real founding: writes and reads
 * anywhere, the order of a line, crashes and replays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/lab.h"
#include "driver/room.h"

static struct lab *three(uint64_t seed)
{
    struct lab *lab = lab_new(3, seed);
    lab_start_all(lab);
    (void)lab_await_leader(lab);
    lab_run(lab, 300); /* everybody knows */
    return lab;
}

static void assert_done(const struct lab_told *t, uint64_t token)
{
    assert_int_equal(t->token, token);
    if (t->outcome != KELP_DONE)
        fail_msg("token %d: %s %s", (int)token, kelp_outcome_name(t->outcome),
                 kelp_reason_name(t->reason));
}

static uint64_t none_at_all(void *ctx)
{
    (void)ctx;
    return 4;
}

static kelp_id follower(struct lab *lab)
{
    return lab_leader(lab) == 1 ? 2 : 1;
}

static void a_node_without_an_id_needs_a_store_that_keeps_one(void **state)
{
    (void)state;
    struct kelp_store_ops keeps_none = {.size = sizeof keeps_none};
    struct driver_options o = {.core = kelp_options_default(KELP_ID_WAITING | 1, 7)};
    struct driver_ports ports = {.store = &keeps_none};
    struct driver_boot boot = {.time_ns = 0};
    struct kelp_fault fault = {.error = KELP_OK};
    o.random = none_at_all;
    assert_null(driver_new(&o, &ports, &boot, 0, &fault));
    assert_int_equal(fault.error, KELP_E_ARGUMENT);
    assert_non_null(strstr(fault.what, "without an id"));
    fault = (struct kelp_fault){.error = KELP_OK};
    o.core.self = (UINT64_C(1) << 62) + 1;
    assert_null(driver_new(&o, &ports, &boot, 0, &fault));
    assert_non_null(strstr(fault.what, "2^62"));
}

/* Two directories are emptied while the third, which holds the cluster, is down. */
static void emptied_directories_never_make_a_second_cluster(void **state)
{
    (void)state;
    struct lab *lab = three(30);
    struct lab_client *c = lab_client(lab, 1);
    (void)lab_write(c, 1, 5000);
    lab_await(c, 1);
    struct kelp_cluster_id cluster = lab_node(lab, 3)->cluster;
    lab_client_free(c);
    lab_crash(lab, 3);
    lab_wipe(lab, 1);
    lab_wipe(lab, 2);
    lab_start(lab, 1);
    lab_start(lab, 2);
    lab_run(lab, 20000);
    for (kelp_id id = 1; id <= 2; id++) {
        struct driver_status *s = lab_status(lab, id);
        assert_int_equal(s->state, DRIVER_WAITING);
        assert_int_equal(s->cluster.hi, 0);
    }
    assert_non_null(strstr(lab_status(lab, 1)->words, "node 3 (no answer yet)"));
    lab_start(lab, 3);
    lab_run(lab, 3000);
    for (kelp_id id = 1; id <= 2; id++) {
        struct driver_status *s = lab_status(lab, id);
        assert_int_equal(s->state, DRIVER_FOREIGN);
        assert_non_null(strstr(s->words, "this cluster exists since 2023-11-14 22:13:20 UTC"));
        assert_non_null(strstr(s->words, "wiped disk"));
    }
    struct driver_status *s = lab_status(lab, 3);
    assert_int_equal(s->state, DRIVER_RUNNING);
    assert_true(s->cluster.hi == cluster.hi && s->cluster.lo == cluster.lo);
    assert_int_equal(s->view.leader, 0); /* alone it is no quorum */
    lab_free(lab);
}

static void a_founding_survives_loss_and_crashes_of_anyone(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct lab *lab = lab_new(3, seed * 7919);
        lab->loss = 200;
        lab->twice = 100;
        lab_start_all(lab);
        for (int i = 0; i < 8; i++) {
            lab_run(lab, prng_between(&lab->prng, 1, 120));
            kelp_id victim = prng_between(&lab->prng, 1, 3);
            lab_crash(lab, victim);
            lab_run(lab, prng_between(&lab->prng, 1, 50));
            lab_start(lab, victim);
        }
        lab->loss = lab->twice = 0;
        (void)lab_await_leader(lab);
        lab_run(lab, 3000);
        for (kelp_id id = 1; id <= 3; id++) {
            assert_int_equal(lab_status(lab, id)->state, DRIVER_RUNNING);
            assert_true(lab_node(lab, id)->cluster.hi == lab_node(lab, 1)->cluster.hi);
        }
        lab_free(lab);
    }
}

static void a_single_node_founds_and_serves_at_once(void **state)
{
    (void)state;
    struct lab *lab = lab_new(1, 1);
    lab_start(lab, 1);
    struct lab_client *c = lab_client(lab, 1);
    uint64_t token = lab_write(c, 42, 1000);
    lab_run(lab, 20); /* no election timeout is waited for */
    assert_int_equal(c->told_count, 1);
    assert_done(&c->told[0], token);
    assert_int_equal(c->told[0].result[0], 1);
    lab_client_free(c);
    lab_free(lab);
}

static void three_nodes_found_one_cluster_and_agree(void **state)
{
    (void)state;
    struct lab *lab = three(2);
    for (kelp_id id = 1; id <= 3; id++) {
        struct driver_status *s = lab_status(lab, id);
        assert_int_equal(s->state, DRIVER_RUNNING);
        assert_int_equal(s->committed.config.count, 3);
        assert_int_equal(s->committed.config.index, 1);
        assert_true(s->cluster.hi == s->committed.cluster.hi && s->cluster.hi != 0);
        assert_false(s->empty);
        assert_int_equal(s->committed.config.members[id - 1].incarnation,
                         lab_node(lab, id)->incarnation);
    }
    lab_free(lab);
}

static bool count_founding(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    size_t *count = ctx, used;
    struct wire_frame f;
    (void)lab;
    assert_int_equal(
        wire_frame_decode(bytes_of(p->data, p->len), WIRE_FRAME_BODY_MAX, &f, &used, NULL),
        KELP_OK);
    if (f.kind == WIRE_FOUND) (*count)++;
    return true;
}

/* Followers send each other nothing of Raft from which they could see that the other has begun. */
static void entry_1_is_not_handed_on_to_who_said_that_it_has_it(void **state)
{
    (void)state;
    struct lab *lab = three(2);
    lab_run(lab, 1000);
    size_t count = 0;
    lab->watch = count_founding;
    lab->watch_ctx = &count;
    lab_run(lab, 3000);
    assert_int_equal(count, 0);
    lab_free(lab);
}

static void a_write_and_a_read_through_any_node_are_done(void **state)
{
    (void)state;
    struct lab *lab = three(3);
    for (kelp_id id = 1; id <= 3; id++) {
        struct lab_client *c = lab_client(lab, id);
        uint64_t write = lab_write(c, 100 + id, 2000), read = lab_read(c, 2000);
        lab_await(c, 2);
        assert_done(&c->told[0], write);
        assert_done(&c->told[1], read);
        assert_int_equal(c->told[1].result[0], id); /* so many numbers, the last is ours */
        assert_int_equal(c->told[1].result[1], 100 + id);
        lab_client_free(c);
    }
    lab_free(lab);
}

static void a_pipeline_is_answered_in_order_and_reads_see_what_came_before(void **state)
{
    (void)state;
    struct lab *lab = three(4);
    for (kelp_id id = 1; id <= 3; id++) {
        struct lab_client *c = lab_client(lab, id);
        uint64_t before = lab_node(lab, lab_leader(lab))->machine->count, writes = 0;
        uint64_t expect[600];
        for (uint64_t i = 0; i < 600; i++) {
            if (i % 7 == 3)
                (void)lab_read(c, 20000);
            else
                (void)lab_write(c, ++writes, 20000);
            expect[i] = before + writes; /* a write is answered with the count, a read sees it */
        }
        lab_await(c, 600);
        for (uint64_t i = 0; i < 600; i++) {
            assert_done(&c->told[i], i + 1);
            assert_int_equal(c->told[i].result[0], expect[i]);
        }
        lab_client_free(c);
    }
    lab_free(lab);
}

static void every_node_applies_the_same_with_the_same_chain(void **state)
{
    (void)state;
    struct lab *lab = three(5);
    struct lab_client *c = lab_client(lab, follower(lab));
    for (uint64_t i = 1; i <= 500; i++)
        (void)lab_write(c, i, 20000);
    lab_await(c, 500);
    lab_run(lab, 1000);
    for (kelp_id id = 2; id <= 3; id++) {
        assert_int_equal(rsm_applied(lab_node(lab, id)->rsm).index,
                         rsm_applied(lab_node(lab, 1)->rsm).index);
        assert_int_equal(rsm_chain_hash(lab_node(lab, id)->rsm),
                         rsm_chain_hash(lab_node(lab, 1)->rsm));
        assert_int_equal(rsm_state_hash(lab_node(lab, id)->rsm),
                         rsm_state_hash(lab_node(lab, 1)->rsm));
    }
    lab_client_free(c);
    lab_free(lab);
}

static void nothing_acknowledged_is_lost_when_the_leader_dies(void **state)
{
    (void)state;
    struct lab *lab = three(6);
    kelp_id old = lab_leader(lab), node = follower(lab);
    struct lab_client *c = lab_client(lab, node);
    for (uint64_t i = 1; i <= 300; i++) {
        (void)lab_write(c, i, 8000);
        lab_run(lab, 1);
        if (i == 150) lab_crash(lab, old);
    }
    lab_await(c, 300);
    lab_start(lab, old);
    lab_run(lab, 3000);
    const struct lab_machine *m = lab_node(lab, node)->machine;
    bool there[301] = {false};
    uint64_t before = 0;
    for (uint64_t i = 0; i < m->count; i++) {
        assert_true(m->values[i] > before); /* in order, none twice */
        before = m->values[i];
        there[before] = true;
    }
    size_t done = 0;
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(c->told[i].token, i + 1);
        if (c->told[i].outcome == KELP_DONE) assert_true(there[i + 1]);
        if (c->told[i].outcome == KELP_REFUSED || c->told[i].outcome == KELP_LOST)
            assert_false(there[i + 1]);
        done += c->told[i].outcome == KELP_DONE;
    }
    /* those in flight at the crash are UNKNOWN, the rest went to the next leader */
    assert_true(done > 200);
    assert_int_equal(lab_node(lab, old)->machine->count, m->count);
    lab_client_free(c);
    lab_free(lab);
}

static void without_a_quorum_every_request_is_answered_in_time(void **state)
{
    (void)state;
    struct lab *lab = three(7);
    kelp_id leader = lab_leader(lab), node = follower(lab);
    struct lab_client *c = lab_client(lab, node);
    for (kelp_id id = 1; id <= 3; id++) {
        if (id != node) lab_crash(lab, id);
    }
    (void)leader;
    lab_run(lab, 3000); /* knows no leader by now */
    (void)lab_write(c, 1, 60000);
    (void)lab_read(c, 60000);
    lab_run(lab, 3990);
    assert_int_equal(c->told_count, 0); /* two of the longest election timeouts: 4 s */
    lab_run(lab, 20);
    assert_int_equal(c->told_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(c->told[i].outcome, KELP_REFUSED);
        assert_int_equal(c->told[i].reason, KELP_R_NO_LEADER);
    }
    lab_client_free(c);
    lab_free(lab);
}

static void a_leader_without_its_quorum_says_unknown_by_the_deadline(void **state)
{
    (void)state;
    struct lab *lab = three(8);
    kelp_id leader = lab_leader(lab);
    struct lab_client *c = lab_client(lab, leader);
    for (kelp_id id = 1; id <= 3; id++) {
        if (id != leader) lab_crash(lab, id);
    }
    (void)lab_write(c, 1, 5000);
    lab_run(lab, 4995);
    assert_int_equal(c->told_count, 0);
    lab_run(lab, 10);
    assert_int_equal(c->told_count, 1);
    assert_int_equal(c->told[0].outcome, KELP_UNKNOWN);
    lab_client_free(c);
    lab_free(lab);
}

static void a_request_waits_out_an_election_and_is_done(void **state)
{
    (void)state;
    struct lab *lab = three(9);
    kelp_id node = follower(lab);
    struct lab_client *c = lab_client(lab, node);
    lab_crash(lab, lab_leader(lab));
    lab_run(lab, 50);
    uint64_t write = lab_write(c, 7, 10000), read = lab_read(c, 10000);
    lab_await(c, 2);
    assert_done(&c->told[0], write);
    assert_done(&c->told[1], read);
    assert_int_equal(c->told[1].result[1], 7);
    lab_client_free(c);
    lab_free(lab);
}

static void what_must_not_be_forwarded_is_refused_with_the_leader(void **state)
{
    (void)state;
    struct lab *lab = three(10);
    struct lab_client *c = lab_client(lab, follower(lab));
    (void)lab_write_here(c, 7, 10000);
    lab_run(lab, 2);
    assert_int_equal(c->told_count, 1);
    assert_int_equal(c->told[0].outcome, KELP_REFUSED);
    assert_int_equal(c->told[0].reason, KELP_R_NOT_LEADER);
    assert_int_equal(c->told[0].leader, lab_leader(lab));
    lab_client_free(c);
    lab_free(lab);
}

static void a_write_is_done_only_when_it_is_applied(void **state)
{
    (void)state;
    struct lab *lab = three(11);
    kelp_id leader = lab_leader(lab);
    struct lab_node *n = lab_node(lab, leader);
    struct lab_client *c = lab_client(lab, leader);
    n->hold_apply = true;
    (void)lab_write(c, 5, 20000);
    (void)lab_read(c, 20000);
    lab_run(lab, 500);
    assert_int_equal(c->told_count, 0);
    assert_true(lab_status(lab, leader)->view.commit > lab_status(lab, leader)->view.applied);
    lab_release_apply(n);
    lab_await(c, 2);
    assert_done(&c->told[0], 1);
    assert_done(&c->told[1], 2);
    assert_int_equal(c->told[1].result[1], 5);
    lab_client_free(c);
    lab_free(lab);
}

/* Its machine keeps its own data, and is fed what is durable here. */
static void a_committed_write_behind_a_hung_disk_is_answered_by_its_deadline(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 31);
    lab->durable_only = true;
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab);
    lab_run(lab, 300);
    struct lab_client *c = lab_client(lab, leader);
    lab_node(lab, leader)->hold_disk = true;
    (void)lab_write(c, 5, 500);
    lab_run(lab, 400);
    assert_true(lab_status(lab, leader)->view.commit > lab_status(lab, leader)->view.durable);
    assert_int_equal(c->told_count, 0);
    lab_run(lab, 110);
    assert_int_equal(c->told_count, 1);
    assert_int_equal(c->told[0].outcome, KELP_UNKNOWN);
    assert_int_equal(c->told[0].reason, KELP_R_TIMEOUT);
    lab_node(lab, leader)->hold_disk = false;
    lab_run(lab, 100);
    assert_int_equal(lab_node(lab, leader)->machine->count,
                     1); /* it did happen, and is told once */
    assert_int_equal(c->told_count, 1);
    lab_client_free(c);
    lab_free(lab);
}

static void a_batch_that_is_never_applied_is_answered_by_its_deadline(void **state)
{
    (void)state;
    struct lab *lab = three(32);
    kelp_id leader = lab_leader(lab);
    struct lab_node *n = lab_node(lab, leader);
    struct lab_client *c = lab_client(lab, leader);
    n->hold_apply = true;
    (void)lab_write(c, 5, 500);
    lab_run(lab, 510);
    assert_int_equal(c->told_count, 1);
    assert_int_equal(c->told[0].outcome, KELP_UNKNOWN);
    lab_release_apply(n);
    lab_run(lab, 50);
    assert_int_equal(c->told_count, 1);
    lab_client_free(c);
    lab_free(lab);
}

static void shutdown_answers_everything_and_says_what_is_not_known(void **state)
{
    (void)state;
    struct lab *lab = three(12);
    kelp_id leader = lab_leader(lab);
    struct lab_node *n = lab_node(lab, leader);
    struct lab_client *c = lab_client(lab, leader);
    n->hold_disk = true; /* proposed, not durable here; nobody else answers either */
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(lab, id)->cut = true;
    (void)lab_write(c, 5, 20000);
    (void)lab_read(c, 20000);
    lab_run(lab, 10);
    driver_shutdown(n->driver, lab->now);
    assert_int_equal(c->told_count, 2);
    assert_int_equal(c->told[0].outcome, KELP_UNKNOWN);
    assert_int_equal(c->told[1].outcome, KELP_REFUSED);
    assert_int_equal(c->told[0].reason, KELP_R_SHUTDOWN);
    assert_int_equal(c->told[1].reason, KELP_R_SHUTDOWN);
    (void)lab_write(c, 6, 20000);
    (void)driver_run(n->driver, lab->now);
    assert_int_equal(c->told_count, 3);
    assert_int_equal(c->told[2].outcome, KELP_REFUSED);
    lab_client_free(c);
    lab_free(lab);
}

static void a_failed_disk_faults_the_node_and_ends_its_requests(void **state)
{
    (void)state;
    struct lab *lab = three(13);
    kelp_id leader = lab_leader(lab);
    struct lab_node *n = lab_node(lab, leader);
    struct lab_client *c = lab_client(lab, leader);
    n->hold_disk = true;
    for (kelp_id id = 1; id <= 3; id++) {
        if (id != leader) lab_node(lab, id)->cut = true;
    }
    (void)lab_write(c, 5, 20000);
    lab_run(lab, 5);
    struct kelp_fault fault = {.error = KELP_E_IO, .what = "fsync failed"};
    driver_store_fault(n->driver, &fault);
    (void)lab_write(c, 6, 20000);
    lab_run(lab, 5);
    assert_int_equal(c->told_count, 2);
    assert_int_equal(c->told[0].outcome, KELP_UNKNOWN);
    assert_int_equal(c->told[1].outcome, KELP_REFUSED);
    assert_int_equal(c->told[1].reason, KELP_R_FAULTED);
    struct driver_status *s = lab_status(lab, leader);
    assert_int_equal(s->state, DRIVER_FAULTED);
    assert_non_null(strstr(s->words, "fsync failed"));
    for (kelp_id id = 1; id <= 3; id++)
        lab_node(lab, id)->cut = false;
    lab_run(lab, 6000);
    assert_true(lab_await_leader(lab) != leader);
    lab_client_free(c);
    lab_free(lab);
}

static void a_restarted_node_replays_its_log_from_the_store(void **state)
{
    (void)state;
    struct lab *lab = three(14);
    struct lab_client *c = lab_client(lab, lab_leader(lab));
    for (uint64_t i = 1; i <= 3000; i++) {
        (void)lab_write(c, i, 20000);
        if (i % 100 == 0) lab_run(lab, 2);
    }
    lab_await(c, 3000);
    lab_client_free(c);
    for (kelp_id id = 1; id <= 3; id++)
        lab_crash(lab, id);
    for (kelp_id id = 1; id <= 3; id++)
        lab_start(lab, id);
    (void)lab_await_leader(lab);
    lab_run(lab, 1000);
    for (kelp_id id = 1; id <= 3; id++)
        assert_int_equal(lab_node(lab, id)->machine->count, 3000);
    lab_free(lab);
}

static void a_follower_far_behind_is_fed_from_the_store(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 15);
    lab->cache_bytes_max = 4096; /* nearly everything is read back */
    lab->limits.tail_entries_max = 64;
    lab->limits.message_entries_max = 16;
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab), away = leader == 3 ? 2 : 3;
    lab_run(lab, 300);
    lab_crash(lab, away);
    struct lab_client *c = lab_client(lab, leader);
    for (uint64_t i = 1; i <= 4000; i++) {
        (void)lab_write(c, i, 20000);
        if (i % 50 == 0) lab_run(lab, 2);
    }
    lab_await(c, 4000);
    assert_true(lab_status(lab, leader)->cache_bytes <= 8192);
    lab_start(lab, away);
    lab_run(lab, 4000);
    assert_int_equal(lab_node(lab, away)->machine->count, 4000);
    assert_int_equal(lab_status(lab, away)->state, DRIVER_RUNNING);
    lab_client_free(c);
    lab_free(lab);
}

/* Appends that carry entries of the log, by sender. */
static bool count_appends(struct lab *lab, const struct lab_packet *p, void *ctx)
{
    uint64_t *counts = ctx;
    (void)lab;
    if (p->lane == KELP_LANE_ENTRIES) counts[p->from]++;
    return true;
}

static void entries_read_for_a_leadership_that_ended_are_not_sent(void **state)
{
    (void)state;
    struct lab *lab = lab_new(3, 15);
    lab->cache_bytes_max = 4096;
    lab_start_all(lab);
    kelp_id leader = lab_await_leader(lab), away = leader == 3 ? 2 : 3;
    lab_run(lab, 300);
    lab_crash(lab, away);
    struct lab_client *c = lab_client(lab, leader);
    for (uint64_t i = 1; i <= 2000; i++) {
        (void)lab_write(c, i, 20000);
        if (i % 50 == 0) lab_run(lab, 2);
    }
    lab_await(c, 2000);
    struct lab_node *n = lab_node(lab, leader);
    n->hold_disk = true; /* what the leader reads for its peer does not come */
    lab_start(lab, away);
    lab_run(lab, 500);
    assert_int_equal(lab_node(lab, away)->machine->count, 0);
    for (kelp_id id = 1; id <= 3; id++)
        if (id != leader) lab_node(lab, id)->cut = true;
    for (int i = 0; i < 500 && lab_status(lab, leader)->view.role == KELP_LEADER; i++)
        lab_run(lab, 10);
    assert_int_equal(lab_status(lab, leader)->view.role, KELP_FOLLOWER);
    uint64_t counts[LAB_NODES + 1] = {0}, dropped = lab_status(lab, leader)->messages_dropped;
    lab->watch = count_appends;
    lab->watch_ctx = counts;
    n->hold_disk = false;
    lab_run(lab, 5);
    assert_int_equal(counts[leader], 0);
    assert_true(lab_status(lab, leader)->messages_dropped > dropped);
    lab_client_free(c);
    lab_free(lab);
}

static void the_cluster_clock_never_goes_back_over_elections(void **state)
{
    (void)state;
    struct lab *lab = three(17);
    uint64_t before = 0;
    for (int round = 0; round < 4; round++) {
        kelp_id leader = lab_await_leader(lab);
        struct lab_client *c = lab_client(lab, leader);
        (void)lab_write(c, 1, 5000);
        lab_await(c, 1);
        uint64_t time = rsm_time_ns(lab_node(lab, leader)->rsm);
        assert_true(time >= before);
        before = time;
        lab_run(lab, 500); /* the clock runs while somebody leads */
        (void)lab_write(c, 2, 5000);
        lab_await(c, 2);
        time = rsm_time_ns(lab_node(lab, leader)->rsm);
        assert_true(time >= before + 400 * LAB_MS);
        before = time;
        lab_client_free(c);
        lab_run(lab, 100);
        lab_crash(lab, leader);
        (void)lab_await_leader(lab);
        lab_start(lab, leader);
        lab_run(lab, 500);
    }
    lab_free(lab);
}

static void random_faults_never_break_what_clients_were_told(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 112; seed++) {
        struct lab *lab = lab_new(3, seed);
        lab->loss = 20;
        lab->twice = 20;
        lab->snapshot_every = seed % 2 == 0 ? 40 : 0;
        lab->cache_bytes_max = seed % 3 == 0 ? 4096 : 1 << 20;
        lab_start_all(lab);
        (void)lab_await_leader(lab);
        uint64_t value = 0;
        enum kelp_outcome outcomes[LAB_VALUES] = {0};
        for (int round = 0; round < 12; round++) {
            kelp_id node = prng_between(&lab->prng, 1, 3), victim = prng_between(&lab->prng, 1, 3);
            if (!lab_node(lab, node)->up) continue;
            struct lab_client *c = lab_client(lab, node);
            uint64_t first = value + 1;
            for (int i = 0; i < 40; i++) {
                (void)lab_write(c, ++value, 3000);
                if (prng_chance(&lab->prng, 1, 3)) lab_run(lab, 1);
            }
            if (victim != node) lab_crash(lab, victim);
            lab_await(c, 40);
            for (size_t i = 0; i < 40; i++)
                outcomes[first + i] = c->told[i].outcome;
            lab_client_free(c);
            if (victim != node) lab_start(lab, victim);
            lab_run(lab, prng_between(&lab->prng, 1, 1500));
        }
        lab->loss = lab->twice = 0;
        (void)lab_await_leader(lab);
        lab_run(lab, 8000);
        uint64_t count = lab_node(lab, 1)->machine->count;
        uint64_t chain = rsm_chain_hash(lab_node(lab, 1)->rsm), done = 0;
        for (kelp_id id = 2; id <= 3; id++) {
            assert_int_equal(lab_node(lab, id)->machine->count, count);
            assert_int_equal(rsm_chain_hash(lab_node(lab, id)->rsm), chain);
        }
        uint64_t unknown = 0;
        for (uint64_t v = 1; v <= value; v++) {
            done += outcomes[v] == KELP_DONE;
            unknown += outcomes[v] == KELP_UNKNOWN;
        }
        assert_true(done > value / 3);
        /* applied once each, refused ones never */
        assert_true(count >= done && count <= done + unknown);
        lab_free(lab);
    }
}

/* ---- strangers ---- */

enum strangers { STAY_CONNECTED, GO_AWAY };

static void strangers_come(struct lab *lab, kelp_id node, enum strangers then)
{
    struct driver *d = lab_node(lab, node)->driver;
    struct wire_hello hello = {.node = 1000, .incarnation = 7};
    for (uint64_t i = 1000; i < 2000; i++) {
        driver_connected(d, lab->now, i, KELP_LANE_ENTRIES, i, &hello);
        if (then == GO_AWAY) driver_disconnected(d, lab->now, i, KELP_LANE_ENTRIES, i);
    }
}

/* Every node is full of them before it has seen another member. */
static void check_members_find_a_row(enum strangers then, uint64_t seed)
{
    struct lab *lab = lab_new(3, seed);
    lab_start_all(lab);
    for (kelp_id id = 1; id <= 3; id++)
        strangers_come(lab, id, then);
    (void)lab_await_leader(lab);
    lab_run(lab, 300);
    for (kelp_id id = 1; id <= 3; id++) {
        struct lab_client *c = lab_client(lab, id); /* two of them are forwarded */
        (void)lab_write(c, id, 2000);
        lab_await(c, 1);
        assert_int_equal(c->told[0].outcome, KELP_DONE);
        lab_client_free(c);
        strangers_come(lab, id, then); /* nor do they lose it */
    }
    for (kelp_id id = 1; id <= 3; id++) {
        struct lab_client *c = lab_client(lab, id);
        (void)lab_write(c, id, 2000);
        lab_await(c, 1);
        assert_int_equal(c->told[0].outcome, KELP_DONE);
        assert_int_equal(lab_status(lab, id)->forwards_dropped, 0);
        lab_client_free(c);
    }
    lab_free(lab);
}

static void a_thousand_strangers_that_left_do_not_keep_members_out(void **state)
{
    (void)state;
    check_members_find_a_row(GO_AWAY, 31);
}

static void a_thousand_strangers_that_stay_do_not_keep_members_out(void **state)
{
    (void)state;
    check_members_find_a_row(STAY_CONNECTED, 32);
}

static void a_stranger_takes_the_row_of_one_that_left_but_of_none_that_stays(void **state)
{
    (void)state;
    struct lab *lab = lab_new(1, 33);
    lab_start_all(lab);
    struct driver *d = lab_node(lab, 1)->driver;
    struct wire_hello hello = {.node = 1000, .incarnation = 7};
    strangers_come(lab, 1, STAY_CONNECTED);
    assert_int_equal(d->peer_count, PEERS_MAX);
    assert_non_null(peer_find(d, 1000));
    assert_null(peer_find(d, 1999)); /* came when there was no row left */
    driver_disconnected(d, lab->now, 1100, KELP_LANE_ENTRIES, 1100);
    driver_disconnected(d, lab->now, 1050, KELP_LANE_ENTRIES, 1050);
    driver_connected(d, lab->now, 1999, KELP_LANE_ENTRIES, 1999, &hello);
    assert_non_null(peer_find(d, 1999));
    assert_null(peer_find(d, 1050)); /* the one that was wanted longest ago */
    assert_non_null(peer_find(d, 1100));
    assert_int_equal(d->peer_count, PEERS_MAX);
    lab_free(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(emptied_directories_never_make_a_second_cluster),
        cmocka_unit_test(a_founding_survives_loss_and_crashes_of_anyone),
        cmocka_unit_test(a_single_node_founds_and_serves_at_once),
        cmocka_unit_test(a_node_without_an_id_needs_a_store_that_keeps_one),
        cmocka_unit_test(three_nodes_found_one_cluster_and_agree),
        cmocka_unit_test(entry_1_is_not_handed_on_to_who_said_that_it_has_it),
        cmocka_unit_test(a_write_and_a_read_through_any_node_are_done),
        cmocka_unit_test(a_pipeline_is_answered_in_order_and_reads_see_what_came_before),
        cmocka_unit_test(every_node_applies_the_same_with_the_same_chain),
        cmocka_unit_test(nothing_acknowledged_is_lost_when_the_leader_dies),
        cmocka_unit_test(without_a_quorum_every_request_is_answered_in_time),
        cmocka_unit_test(a_leader_without_its_quorum_says_unknown_by_the_deadline),
        cmocka_unit_test(a_request_waits_out_an_election_and_is_done),
        cmocka_unit_test(what_must_not_be_forwarded_is_refused_with_the_leader),
        cmocka_unit_test(a_write_is_done_only_when_it_is_applied),
        cmocka_unit_test(a_committed_write_behind_a_hung_disk_is_answered_by_its_deadline),
        cmocka_unit_test(a_batch_that_is_never_applied_is_answered_by_its_deadline),
        cmocka_unit_test(shutdown_answers_everything_and_says_what_is_not_known),
        cmocka_unit_test(a_failed_disk_faults_the_node_and_ends_its_requests),
        cmocka_unit_test(a_restarted_node_replays_its_log_from_the_store),
        cmocka_unit_test(a_follower_far_behind_is_fed_from_the_store),
        cmocka_unit_test(entries_read_for_a_leadership_that_ended_are_not_sent),
        cmocka_unit_test(the_cluster_clock_never_goes_back_over_elections),
        cmocka_unit_test(random_faults_never_break_what_clients_were_told),
        cmocka_unit_test(a_thousand_strangers_that_left_do_not_keep_members_out),
        cmocka_unit_test(a_thousand_strangers_that_stay_do_not_keep_members_out),
        cmocka_unit_test(a_stranger_takes_the_row_of_one_that_left_but_of_none_that_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
