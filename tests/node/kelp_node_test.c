/* SPDX-License-Identifier: Apache-2.0 */
/* kelp_node_test.c - whole nodes through the public API: real threads, files and sockets, in one
 * process. */
#include "node/party.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "base/assert.h"
#include "driver/found.h"
#include "store/store.h"
#include "sys/file.h"

/* ---- one node -------------------------------------------------------------------------------- */

static void a_single_node_answers_and_remembers(void **state)
{
    (void)state;
    struct kelp_result result;
    uint64_t sum;
    member_open(1);
    assert_int_equal(add_surely(1, 5), 5);
    assert_int_equal(add(1, 7, &result, &sum), KELP_OK);
    assert_int_equal(sum, 12);
    assert_int_equal(result.outcome, KELP_DONE);
    assert_true(result.pos.index > 1);
    assert_int_equal(ask(1), 12);
    member_close(1);
    member_open(1);
    WAIT(ask(1) == 12);
    assert_int_equal(add_surely(1, 1), 13);
}

static void snapshots_are_taken_and_started_from(void **state)
{
    (void)state;
    struct kelp_fault fault;
    struct kelp_node_options o = options_of(1);
    o.snapshot_every_entries = 16;
    o.raft.trailing_entries = 4;
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_OK);
    for (unsigned i = 1; i <= 100; i++)
        (void)add_surely(1, i);
    WAIT(status_number(1, "snapshot_index") > 60);
    WAIT(status_number(1, "first_index") > 30);
    member_close(1);
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_OK);
    WAIT(ask(1) == 5050);
    assert_true(status_number(1, "snapshot_index") > 60);
}

static void a_snapshot_by_hand_holds_what_was_applied(void **state)
{
    (void)state;
    struct kelp_fault fault;
    struct kelp_pos pos = {.index = 0};
    struct kelp_node_options o = options_of(1);
    o.snapshot_every_entries = o.snapshot_log_bytes = KELP_SNAPSHOT_NEVER;
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_OK);
    for (unsigned i = 1; i <= 10; i++)
        (void)add_surely(1, i);
    assert_int_equal(status_number(1, "snapshot_index"), 0);
    assert_int_equal(kelp_node_snapshot(members[1].node, &pos), KELP_OK);
    assert_true(pos.index >= 11);
    WAIT(status_number(1, "snapshot_index") >= pos.index);
    uint64_t there = status_number(1, "snapshot_index");
    assert_int_equal(kelp_node_snapshot(members[1].node, &pos), KELP_E_NOT_FOUND);
    assert_int_equal(pos.index, there);
    member_close(1);
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_OK);
    assert_int_equal(status_number(1, "snapshot_index"), there);
    WAIT(ask(1) == 55);
}

static void status_has_every_name_of_the_contract(void **state)
{
    (void)state;
    static const char *const names[] = {"version",
                                        "cluster_id",
                                        "node_id",
                                        "incarnation",
                                        "role",
                                        "health",
                                        "term",
                                        "voted_for",
                                        "leader_id",
                                        "leader_client",
                                        "leader_since_ms",
                                        "last_contact_ms",
                                        "lease",
                                        "lease_left_ms",
                                        "lease_reads",
                                        "lease_refused",
                                        "first_index",
                                        "last_index",
                                        "last_term",
                                        "durable_index",
                                        "commit_index",
                                        "applied_index",
                                        "apply_queue",
                                        "snapshot_index",
                                        "snapshot_term",
                                        "config_committed",
                                        "config_latest",
                                        "voters",
                                        "tolerates",
                                        "disk_free_bytes",
                                        "sync_p99_us",
                                        "uptime_ms"};
    char text[8192], key[64];
    member_open(1);
    (void)add_surely(1, 1);
    size_t len = kelp_node_status(members[1].node, text + 1, sizeof text - 1);
    text[0] = '\n';
    assert_int_equal(len, strlen(text + 1));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(key, sizeof key, "\n%s:", names[i]);
        if (strstr(text, key) == NULL) fail_msg("no %s in %s", names[i], text);
    }
    assert_non_null(strstr(text, "\nrole:leader\n"));
    assert_non_null(strstr(text, "\nhealth:ok\n"));
    assert_non_null(strstr(text, "\nleader_client:client-1:7001\n"));
    char cut[10];
    assert_true(kelp_node_status(members[1].node, cut, sizeof cut) > sizeof cut);
    assert_int_equal(strlen(cut), sizeof cut - 1);
}

static void what_the_user_gets_wrong_is_named(void **state)
{
    (void)state;
    struct kelp_fault fault;
    struct kelp_node_options o = options_of(1);
    o.id = 0; /* with a list to found with: which of them is it? */
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_E_ARGUMENT);
    o = options_of(1);
    o.bootstrap = "1=127.0.0.1:7001,zwei=127.0.0.1:7002";
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_E_ARGUMENT);
    assert_non_null(strstr(fault.what, "zwei"));
    o = options_of(1);
    o.bootstrap = "2=127.0.0.1:7001";
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_E_ARGUMENT);
    o = options_of(1);
    o.peer = "0.0.0.0:7101";
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_E_ARGUMENT);
    assert_non_null(strstr(fault.what, "advertise"));
    o = options_of(1);
    o.join = "127.0.0.1:7101";
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_E_ARGUMENT); /* and bootstrap */
    o.bootstrap = NULL;
    o.join = "127.0.0.1:7101,nowhere";
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_E_ARGUMENT);
    assert_non_null(strstr(fault.what, "nowhere"));
    o = options_of(1);
    o.id = (UINT64_C(1) << 62) + 1; /* nobody could write such a member down */
    o.bootstrap = NULL;
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_E_ARGUMENT);
    assert_non_null(strstr(fault.what, "2^62"));
    assert_int_equal(kelp_found(&o, false, NULL, &fault), KELP_E_ARGUMENT);
    o = options_of(1);
    o.bootstrap = "1=127.0.0.1:7001,4611686018427387905=127.0.0.1:7002";
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_E_ARGUMENT);
    assert_non_null(strstr(fault.what, "2^62"));
}

static uint64_t some_bits(void *ctx)
{
    return ctx == NULL ? 99 : 98;
}

/* What a founding alone leaves that was cut short after the pledge, made here by its machine. */
static struct kelp_cluster_id pledged_alone(const char *directory, bool alone)
{
    struct disk disk;
    struct store *s;
    struct driver_member self = {.id = 1, .peer = {"127.0.0.1:7001"}};
    struct found f;
    struct found_todo todo = {.kind = FOUND_NOTHING};
    struct store_options options = {
        .node = 1, .segment_bytes = 65536, .zero_piece_bytes = 65536, .random = some_bits};
    assert_int_equal(posix_disk(directory, &disk, NULL), KELP_OK);
    assert_int_equal(store_open(disk, &options, &s, NULL), KELP_OK);
    uint64_t incarnation = store_found(s)->identity.incarnation;
    struct found_setup setup = {
        .self = 1, .incarnation = incarnation, .seed = 1, .random = some_bits};
    assert_true(found_init(&f, &setup, 0));
    assert_null(found_alone(&f, 0, &self));
    assert_true(found_next(&f, &todo));
    assert_int_equal(todo.kind, FOUND_DO_PLEDGE);
    if (!alone) todo.cluster.hi++; /* as of several that found one together */
    assert_int_equal(store_pledge(s, todo.cluster, 0, NULL), KELP_OK);
    found_free(&f);
    store_close(s);
    posix_disk_close(&disk);
    return todo.cluster;
}

static void a_founding_alone_that_was_cut_short_is_gone_on_with(void **state)
{
    (void)state;
    struct kelp_fault fault = {.error = KELP_OK};
    struct member alone, listed;
    stage_directory(alone.directory);
    stage_directory(listed.directory);
    struct kelp_cluster_id made, pledged = pledged_alone(alone.directory, true);
    (void)pledged_alone(listed.directory, false);
    struct kelp_node_options o = stage_options(1, alone.directory);
    o.peer = "127.0.0.1:7001";
    assert_int_equal(kelp_found(&o, false, &made, &fault), KELP_OK);
    assert_true(made.hi == pledged.hi && made.lo == pledged.lo);
    assert_int_equal(kelp_found(&o, false, &made, &fault), KELP_E_FOREIGN); /* it holds it now */
    o.data = listed.directory;
    fault = (struct kelp_fault){.error = KELP_OK};
    assert_int_equal(kelp_found(&o, false, &made, &fault), KELP_E_FOREIGN);
    assert_non_null(strstr(fault.what, "empty it by hand"));
    stage_remove(alone.directory);
    stage_remove(listed.directory);
}

static void a_directory_in_use_or_of_another_node_is_refused(void **state)
{
    (void)state;
    struct kelp_fault fault;
    struct kelp_node_options o = options_of(1);
    struct member second = {.node = NULL};
    member_open(1);
    assert_int_equal(open_with(&second, &o, &fault), KELP_E_LOCKED);
    member_close(1);
    o.id = 2;
    o.bootstrap = NULL;
    assert_int_equal(open_with(&second, &o, &fault), KELP_E_FOREIGN);
    assert_null(second.node);
}

static void an_address_in_use_is_refused_and_leaves_nothing_behind(void **state)
{
    (void)state;
    struct kelp_fault fault;
    struct member second = {.node = NULL};
    member_open(1);
    struct kelp_node_options o = stage_options(2, second.directory);
    stage_directory(second.directory);
    o.peer = members[1].peer;
    assert_int_equal(open_with(&second, &o, &fault), KELP_E_IO);
    assert_non_null(strstr(fault.what, members[1].peer));
    stage_remove(second.directory);
}

/* ---- many requests --------------------------------------------------------------------------- */

static void *propose_many(void *arg)
{
    uint8_t command[8];
    put_u64(command, 1);
    for (uint64_t i = 1; i <= 1000; i++)
        kelp_propose(arg, bytes_of(command, sizeof command), i, on_done, &tally);
    return NULL;
}

static void each_of_many_requests_from_many_threads_ends_once(void **state)
{
    (void)state;
    pthread_t threads[4];
    tally.ended = tally.done = 0;
    member_open(1);
    (void)add_surely(1, 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, propose_many, members[1].node), 0);
    for (unsigned i = 0; i < 4; i++)
        (void)pthread_join(threads[i], NULL);
    WAIT(tally.ended == 4000);
    assert_int_equal(ask(1), tally.done);
    assert_true(tally.done > 0);
}

static void closing_answers_everything_that_is_open(void **state)
{
    (void)state;
    tally.ended = tally.done = 0;
    member_open(1); /* it has not even elected itself */
    propose_many(members[1].node);
    kelp_read(members[1].node, bytes_of("?", 1), 1, on_done, &tally);
    member_close(1);
    assert_int_equal(tally.ended, 1001);
}

static uint64_t asked_again;

/* by whatever thread has the node; not for ever, so that it can be closed */
static void on_done_ask_again(void *ctx, uint64_t token, const struct kelp_result *result)
{
    on_done(&tally, token, result);
    if (result->reason != KELP_R_SHUTDOWN || asked_again == 100000) return;
    asked_again++;
    kelp_propose(ctx, bytes_of("12345678", 8), token + 1, on_done_ask_again, ctx);
}

static void what_is_asked_again_while_it_closes_is_answered_too(void **state)
{
    (void)state;
    tally.ended = tally.done = 0;
    asked_again = 0;
    member_open(1); /* it has not even elected itself */
    for (uint64_t i = 0; i < 100; i++)
        kelp_propose(members[1].node, bytes_of("12345678", 8), 1000000 * i + 1, on_done_ask_again,
                     members[1].node);
    member_close(1);
    assert_true(asked_again > 0);
    assert_int_equal(tally.ended, 100 + asked_again);
}

static void an_empty_and_a_huge_command_are_refused(void **state)
{
    (void)state;
    struct kelp_result result;
    size_t huge = 9u << 20;
    uint8_t *bytes = calloc(1, huge);
    member_open(1);
    (void)add_surely(1, 1);
    assert_int_equal(kelp_call(members[1].node, bytes_of(NULL, 0), NULL, 0, &result), KELP_E_BUSY);
    assert_int_equal(result.reason, KELP_R_NOTHING_NEW);
    assert_int_equal(kelp_call(members[1].node, bytes_of(bytes, huge), NULL, 0, &result),
                     KELP_E_BUSY);
    assert_int_equal(result.outcome, KELP_REFUSED);
    assert_int_equal(result.reason, KELP_R_TOO_LARGE);
    free(bytes);
    assert_int_equal(ask(1), 1);
}

/* ---- the inbox while the loop is busy ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_ALLOCATOR 1 /* whose memory mallinfo2 does not know */
#else
#define OWN_ALLOCATOR 0
#endif

static pthread_mutex_t barrier = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned at_barrier, refused_busy;

static void on_barrier(void *ctx, uint64_t token, const struct kelp_result *result)
{
    (void)ctx, (void)token, (void)result;
    at_barrier++;
    (void)pthread_mutex_lock(&barrier); /* the loop stands here */
    (void)pthread_mutex_unlock(&barrier);
}

static void on_refused(void *ctx, uint64_t token, const struct kelp_result *result)
{
    (void)ctx, (void)token;
    refused_busy += result->outcome == KELP_REFUSED && result->reason == KELP_R_BUSY;
}

static size_t allocated(void)
{
    struct mallinfo2 now = mallinfo2();
    return now.uordblks + now.hblkhd;
}

static void what_the_inbox_refuses_does_not_wait_with_its_bytes(void **state)
{
    (void)state;
    enum { PIECE = 4 << 20, PIECES = 60 };
    struct kelp_node_options o = options_of(1);
    struct kelp_fault fault;
    if (OWN_ALLOCATOR) skip();
    uint8_t *bytes = calloc(1, PIECE);
    o.forward_bytes_max = 10 << 20; /* two pieces fit */
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_OK);
    (void)add_surely(1, 1);
    at_barrier = refused_busy = 0;
    assert_int_equal(pthread_mutex_lock(&barrier), 0);
    kelp_read(members[1].node, bytes_of("?", 1), 1, on_barrier, NULL);
    WAIT(at_barrier == 1);
    size_t before = allocated();
    for (unsigned i = 0; i < PIECES; i++)
        kelp_propose(members[1].node, bytes_of(bytes, PIECE), 10 + i, on_refused, NULL);
    size_t grown = allocated() - before;
    assert_int_equal(pthread_mutex_unlock(&barrier), 0);
    assert_true(grown < 12u << 20);
    WAIT(refused_busy == PIECES - 2);
    free(bytes);
}

/* ---- a bad disk ----------------------------------------------------------------------------- */

static void a_node_whose_disk_fails_is_faulted_for_good_and_says_so(void **state)
{
    (void)state;
    struct rlimit before, none;
    struct kelp_result result;
    uint64_t sum;
    member_open(1);
    assert_int_equal(add_surely(1, 4), 4);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0); /* every write fails from now on */
    assert_int_equal(add(1, 1, &result, &sum), KELP_E_BUSY);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(result.outcome == KELP_UNKNOWN || result.outcome == KELP_REFUSED);
    assert_int_equal(result.reason, KELP_R_FAULTED);
    assert_true(status_says(1, "\nhealth:faulted\n"));
    assert_int_equal(add(1, 1, &result, &sum), KELP_E_BUSY); /* no later success clears it */
    assert_int_equal(result.outcome, KELP_REFUSED);
    clock_t cpu = clock();
    for (unsigned i = 0; i < 40; i++)
        breathe();
    assert_true(clock() - cpu < CLOCKS_PER_SEC / 10); /* and it rests */
    member_close(1);
    member_open(1);
    WAIT(ask(1) == 4 || ask(1) == 5);
}

/* ---- three nodes ----------------------------------------------------------------------------- */

static void three_open(void)
{
    for (unsigned id = 1; id <= NODES; id++)
        member_open(id);
    (void)add_surely(1, 1);
}

static void three_nodes_carry_on_without_their_leader(void **state)
{
    (void)state;
    three_open();
    for (unsigned i = 0; i < 30; i++)
        (void)add_surely(1 + i % NODES, 1); /* most are forwarded */
    for (unsigned id = 1; id <= NODES; id++)
        WAIT(ledger_holds(ask(id)));
    assert_int_equal(added, 31);
    WAIT(leader_of(1) != 0);
    unsigned leader = leader_of(1), other = leader % NODES + 1;
    member_close(leader);
    assert_true(ledger_holds(add_surely(other, 1)));
    WAIT(leader_of(other) != leader && leader_of(other) != 0);
    member_open(leader);
    assert_true(ledger_holds(add_surely(other, 1)));
    WAIT(status_number(leader, "applied_index") >= status_number(other, "commit_index"));
    WAIT(ledger_holds(ask(leader)));
    assert_int_equal(added, 33);
}

static void every_node_knows_the_leaders_client_address(void **state)
{
    (void)state;
    three_open();
    for (unsigned id = 1; id <= NODES; id++) {
        char line[64];
        WAIT(leader_of(id) != 0);
        (void)snprintf(line, sizeof line, "\nleader_client:client-%u:%u\n", leader_of(id),
                       7000 + leader_of(id));
        WAIT(status_says(id, line));
    }
    WAIT(status_says(leader_of(1), "state=replicate"));
}

static void a_wiped_directory_is_refused_by_the_cluster(void **state)
{
    (void)state;
    three_open();
    WAIT(leader_of(1) != 0);
    unsigned lost = leader_of(1) % NODES + 1, other = lost % NODES + 1;
    member_close(lost);
    stage_remove(members[lost].directory);
    member_open(lost);
    WAIT(status_says(lost, "\nhealth:faulted\n"));
    assert_true(status_says(lost, "\nrole:passive\n"));
    assert_int_equal(status_number(lost, "last_index"), 0);
    assert_true(ledger_holds(add_surely(other, 1)));
}

static void followers_that_do_not_forward_name_the_leader(void **state)
{
    (void)state;
    struct kelp_fault fault;
    for (unsigned id = 1; id <= NODES; id++) {
        struct kelp_node_options o = options_of(id);
        o.forward = false;
        assert_int_equal(open_with(&members[id], &o, &fault), KELP_OK);
    }
    WAIT(leader_of(1) != 0);
    unsigned leader = leader_of(1), follower = leader % NODES + 1;
    WAIT(leader_of(follower) == leader);
    struct kelp_result result;
    uint64_t sum;
    WAIT(add(leader, 3, &result, &sum) == KELP_OK);
    assert_int_equal(add(follower, 4, &result, &sum), KELP_E_BUSY);
    assert_int_equal(result.outcome, KELP_REFUSED);
    assert_int_equal(result.reason, KELP_R_NOT_LEADER);
    assert_int_equal(result.leader, leader);
}

static void a_node_can_be_closed_at_once(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 30; i++) {
        member_open(1);
        member_close(1);
    }
    member_open(1); /* and is none the worse for it */
    (void)add_surely(1, 5);
    assert_int_equal(ask(1), added);
}

/* ---- a bug ----------------------------------------------------------------------------------- */

static void a_broken_invariant_leaves_a_report_beside_the_data(void **state)
{
    (void)state;
    pid_t child = fork(); /* no thread of ours runs: every node is closed */
    if (child == 0) {
        struct kelp_fault fault;
        struct kelp_node_options o = options_of(1);
        struct kelp_result result;
        uint64_t sum;
        if (freopen("/dev/null", "w", stderr) == NULL) _exit(1);
        (void)signal(SIGABRT, SIG_DFL);
        if (open_with(&members[1], &o, &fault) != KELP_OK) _exit(1);
        while (add(1, 1, &result, &sum) != KELP_OK)
            breathe();
        assert_failed("the moon is a cheese", "moon.c", 7);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    char command[128], text[65536];
    (void)snprintf(command, sizeof command, "cat %s/crash-*.txt", members[1].directory);
    FILE *report = popen(command, "r");
    assert_non_null(report);
    size_t len = fread(text, 1, sizeof text - 1, report);
    text[len] = '\0';
    (void)pclose(report);
    assert_non_null(strstr(text, "the moon is a cheese"));
    assert_non_null(strstr(text, "LEADER"));
    assert_non_null(strstr(text, "ROLE_LEADER"));
}

static void on_done_close(void *ctx, uint64_t token, const struct kelp_result *result)
{
    (void)token, (void)result;
    kelp_node_close(ctx);
}

static void on_done_call(void *ctx, uint64_t token, const struct kelp_result *result)
{
    struct kelp_result own;
    (void)token, (void)result;
    (void)kelp_ask(ctx, bytes_of("?", 1), NULL, 0, &own);
}

/* What a child says on stderr before it stops: whoever calls back what waits for it is told. */
static void stops_saying(kelp_done_fn done, const char *words)
{
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork(); /* no thread of ours runs: every node is closed */
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        member_open(1);
        kelp_read(members[1].node, bytes_of("?", 1), 1, done, members[1].node);
        for (;;)
            breathe();
    }
    (void)close(ends[1]);
    FILE *said = fdopen(ends[0], "r");
    assert_non_null(said);
    char text[65536];
    size_t len = fread(text, 1, sizeof text - 1, said);
    text[len] = '\0';
    (void)fclose(said);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    if (strstr(text, words) == NULL) fail_msg("no '%s' in: %s", words, text);
}

static void a_callback_that_waits_for_its_own_node_is_told(void **state)
{
    (void)state;
    stops_saying(on_done_close, "kelp_node_close was called from a callback of the same node");
    stops_saying(on_done_call, "a call that waits was made from a callback of the same node");
}

/* ---- a node that cannot open ---- */

static _Atomic int threads_allowed = -1; /* -1: any number */

/* In the place of the library's: libuv finds this one first. */
__attribute__((visibility("default"))) int
pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*entry)(void *), void *arg)
{
    typedef int (*create_fn)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    create_fn create;
    void *found = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&create, &found, sizeof create); /* ISO C has no cast between the two */
    if (threads_allowed == 0) return EAGAIN;
    if (threads_allowed > 0) threads_allowed--;
    return create(thread, attr, entry, arg);
}

static void an_open_that_fails_leaves_the_signals_of_its_caller_alone(void **state)
{
    (void)state;
    struct kelp_fault fault;
    struct kelp_node_options o = options_of(1);
    sigset_t mask;
    threads_allowed = 1; /* the log has its own, the loop finds none */
    assert_int_equal(open_with(&members[1], &o, &fault), KELP_E_NO_MEMORY);
    threads_allowed = -1;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    assert_int_equal(sigismember(&mask, SIGPIPE), 0);
    member_open(1); /* and nothing was left behind */
    (void)add_surely(1, 5);
}
/* The only voter can neither stop nor hand over. */
static void a_plan_and_a_drain_of_a_single_node_say_no(void **state)
{
    (void)state;
    struct kelp_plan plan;
    struct kelp_result result;
    struct kelp_member_edit edit = {.id = 1, .verb = KELP_EDIT_STOP};
    struct kelp_member_change change = {.count = 1, .edits = &edit};
    uint64_t sum;
    member_open(1);
    assert_int_equal(add(1, 1, &result, &sum), KELP_OK);
    assert_int_equal(kelp_node_plan(members[1].node, &change, &plan, &result), KELP_OK);
    assert_int_equal(plan.reason, KELP_R_QUORUM_AT_RISK);
    assert_int_equal(plan.way, KELP_PLAN_STOP);
    edit.verb = KELP_EDIT_REMOVE;
    assert_int_equal(kelp_node_plan(members[1].node, &change, &plan, &result), KELP_OK);
    assert_int_equal(plan.reason, KELP_R_LAST_VOTER);
    edit = (struct kelp_member_edit){.id = 1, .verb = KELP_EDIT_MOVE, .address = "127.0.0.1:1"};
    assert_int_equal(kelp_node_plan(members[1].node, &change, &plan, &result), KELP_OK);
    assert_int_equal(plan.way, KELP_PLAN_STEP);
    edit.address = NULL;
    assert_int_equal(kelp_node_plan(members[1].node, &change, &plan, &result), KELP_E_BUSY);
    assert_int_equal(result.reason, KELP_R_BAD_CHANGE);
    assert_int_equal(kelp_node_drain(members[1].node, &result), KELP_E_BUSY);
    assert_int_equal(result.reason, KELP_R_NO_CANDIDATE);
    assert_true(status_says(1, "drained:no"));
    assert_int_equal(kelp_node_undrain(members[1].node, &result), KELP_OK);
    assert_int_equal(add(1, 1, &result, &sum), KELP_OK);
}

static void a_drained_node_hands_over_and_may_lead_again(void **state)
{
    (void)state;
    struct kelp_result result;
    three_open();
    WAIT(leader_of(1) != 0);
    unsigned leader = leader_of(1);
    assert_int_equal(kelp_node_drain(members[leader].node, &result), KELP_OK);
    assert_int_not_equal(result.leader, leader);
    assert_true(status_says(leader, "drained:yes"));
    assert_true(status_says(leader, "role:follower"));
    assert_int_equal(kelp_node_undrain(members[leader].node, &result), KELP_OK);
    assert_true(status_says(leader, "drained:no"));
}

#define ONE(name)   cmocka_unit_test_setup_teardown(name, stage_one, stage_unmake)
#define THREE(name) cmocka_unit_test_setup_teardown(name, stage_three, stage_unmake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE(a_single_node_answers_and_remembers),
        ONE(snapshots_are_taken_and_started_from),
        ONE(a_snapshot_by_hand_holds_what_was_applied),
        ONE(status_has_every_name_of_the_contract),
        ONE(what_the_user_gets_wrong_is_named),
        ONE(a_founding_alone_that_was_cut_short_is_gone_on_with),
        ONE(a_directory_in_use_or_of_another_node_is_refused),
        ONE(an_address_in_use_is_refused_and_leaves_nothing_behind),
        ONE(each_of_many_requests_from_many_threads_ends_once),
        ONE(closing_answers_everything_that_is_open),
        ONE(what_is_asked_again_while_it_closes_is_answered_too),
        ONE(a_node_can_be_closed_at_once),
        ONE(an_empty_and_a_huge_command_are_refused),
        ONE(what_the_inbox_refuses_does_not_wait_with_its_bytes),
        ONE(a_node_whose_disk_fails_is_faulted_for_good_and_says_so),
        ONE(a_plan_and_a_drain_of_a_single_node_say_no),
        THREE(a_drained_node_hands_over_and_may_lead_again),
        THREE(three_nodes_carry_on_without_their_leader),
        THREE(every_node_knows_the_leaders_client_address),
        THREE(a_wiped_directory_is_refused_by_the_cluster),
        THREE(followers_that_do_not_forward_name_the_leader),
        ONE(a_broken_invariant_leaves_a_report_beside_the_data),
        ONE(a_callback_that_waits_for_its_own_node_is_told),
        ONE(an_open_that_fails_leaves_the_signals_of_its_caller_alone),
    };
    (void)signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
