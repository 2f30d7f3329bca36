/* SPDX-License-Identifier: Apache-2.0 */
/* vote_test.c - the vote file: one good copy is enough, none is a refusal, a promise is never
 * lost. [T54] */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/prng.h"
#include "store/room.h"
#include "tests/store/fakedisk.h"
#include "tests/store/storekit.h"

/* A directory whose vote file holds term 5, vote 2 in both copies. */
static struct fakedisk *voted(void)
{
    struct fakedisk *d = fakedisk_new(11);
    struct store *s = kit_open(d);
    kit_vote(s, 1, 4, 3);
    kit_vote(s, 2, 5, 2);
    store_close(s);
    fakedisk_cut(d, CUT_LOSES_ALL);
    return d;
}

static void holds(struct fakedisk *d, uint64_t term, kelp_id vote)
{
    struct store *s = kit_open(d);
    assert_int_equal(store_found(s)->term.v, term);
    assert_int_equal(store_found(s)->vote, vote);
    store_close(s);
}

static void any_flipped_bit_in_one_copy_harms_nothing(void **state)
{
    (void)state;
    struct fakedisk *d = voted();
    for (size_t copy = 0; copy < 2; copy++) {
        for (size_t bit = 0; bit < (24 + VOTE_BYTES + 8) * 8; bit++) {
            struct fakedisk *c = fakedisk_copy(d);
            fakedisk_bytes(c, "vote", NULL)[copy * STORE_BLOCK + bit / 8] ^=
                (uint8_t)(1u << (bit % 8));
            holds(c, 5, 2);
            holds(c, 5, 2); /* the start above repaired it */
            fakedisk_free(c);
        }
    }
    fakedisk_free(d);
}

static void any_length_opens_or_is_refused_and_never_forgets(void **state)
{
    (void)state;
    struct fakedisk *d = voted();
    for (size_t size = 0; size < TWIN_FILE_BYTES; size++) {
        struct fakedisk *c = fakedisk_copy(d);
        fakedisk_resize(c, "vote", size);
        if (size >= 24 + VOTE_BYTES + 8) {
            holds(c, 5, 2);
        } else {
            struct kelp_fault fault;
            assert_int_equal(kit_try(c, &fault), KELP_E_CORRUPT);
            assert_string_equal(fault.where, "vote");
        }
        fakedisk_free(c);
    }
    fakedisk_free(d);
}

static void with_one_copy_gone_the_other_counts(void **state)
{
    (void)state;
    for (size_t copy = 0; copy < 2; copy++) {
        struct fakedisk *d = voted();
        memset(fakedisk_bytes(d, "vote", NULL) + copy * STORE_BLOCK, 0, STORE_BLOCK);
        holds(d, 5, 2);
        fakedisk_free(d);
    }
}

static void with_both_copies_gone_the_start_is_refused(void **state)
{
    (void)state;
    struct fakedisk *d = voted();
    memset(fakedisk_bytes(d, "vote", NULL), 0, TWIN_FILE_BYTES);
    struct kelp_fault fault;
    assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
    assert_string_equal(fault.where, "vote");
    assert_non_null(strstr(fault.what, "both copies"));
    fakedisk_free(d);
}

static void a_copy_in_the_wrong_block_does_not_count(void **state)
{
    (void)state;
    struct fakedisk *d = voted();
    uint8_t *bytes = fakedisk_bytes(d, "vote", NULL);
    memcpy(bytes + STORE_BLOCK, bytes, STORE_BLOCK);
    memset(bytes, 0, STORE_BLOCK); /* all that is left is copy 0, in the place of copy 1 */
    struct kelp_fault fault;
    assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
    fakedisk_free(d);
}

/* The second half of a write went over the place of the first: what was promised is there, once. */
static void a_newer_copy_in_the_wrong_place_wins(void **state)
{
    (void)state;
    for (unsigned place = 0; place < 2; place++) {
        for (unsigned newer = 0; newer < 2; newer++) {
            struct fakedisk *d = voted();
            uint8_t *bytes = fakedisk_bytes(d, "vote", NULL), payload[VOTE_BYTES];
            struct twin_copy copy;
            struct vote vote;
            assert_int_equal(twin_decode(bytes_of(bytes, STORE_BLOCK), VOTE_MAGIC, 0, &copy),
                             KELP_OK);
            assert_int_equal(vote_decode(bytes_of(copy.payload, copy.len), &vote, NULL), KELP_OK);
            kelp_term term = vote.term;
            uint64_t voted_for = vote.vote;
            vote.term.v = 6;
            vote.vote = 1;
            uint64_t generation = newer == 1 ? copy.generation + 1 : copy.generation - 1;
            twin_encode(bytes + (size_t)place * STORE_BLOCK, VOTE_MAGIC, 1 - place, generation,
                        vote_encode(&vote, payload));
            holds(d, newer == 1 ? 6 : term.v, newer == 1 ? 1 : voted_for);
            holds(d, newer == 1 ? 6 : term.v, newer == 1 ? 1 : voted_for); /* and it was mended */
            fakedisk_free(d);
        }
    }
}

static void the_newer_of_two_good_copies_wins(void **state)
{
    (void)state;
    for (unsigned newer = 0; newer < 2; newer++) {
        struct fakedisk *d = voted();
        uint8_t *bytes = fakedisk_bytes(d, "vote", NULL) + newer * STORE_BLOCK, payload[VOTE_BYTES];
        struct twin_copy copy;
        struct vote vote;
        assert_int_equal(twin_decode(bytes_of(bytes, STORE_BLOCK), VOTE_MAGIC, newer, &copy),
                         KELP_OK);
        assert_int_equal(vote_decode(bytes_of(copy.payload, copy.len), &vote, NULL), KELP_OK);
        vote.term.v = 6;
        vote.vote = 1;
        twin_encode(bytes, VOTE_MAGIC, newer, copy.generation + 1, vote_encode(&vote, payload));
        holds(d, 6, 1);
        fakedisk_free(d);
    }
}

static void two_copies_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    struct fakedisk *d = voted();
    uint8_t *bytes = fakedisk_bytes(d, "vote", NULL), payload[VOTE_BYTES];
    struct twin_copy copy;
    struct vote vote;
    assert_int_equal(twin_decode(bytes_of(bytes, STORE_BLOCK), VOTE_MAGIC, 0, &copy), KELP_OK);
    assert_int_equal(vote_decode(bytes_of(copy.payload, copy.len), &vote, NULL), KELP_OK);
    vote.vote = 9;
    twin_encode(bytes, VOTE_MAGIC, 0, copy.generation, vote_encode(&vote, payload));
    struct kelp_fault fault;
    assert_int_equal(kit_try(d, &fault), KELP_E_CORRUPT);
    fakedisk_free(d);
}

static void a_newer_version_is_not_called_damaged(void **state)
{
    (void)state;
    struct fakedisk *d = voted();
    uint8_t *bytes = fakedisk_bytes(d, "vote", NULL);
    bytes[4] = bytes[STORE_BLOCK + 4] = 2;
    struct kelp_fault fault;
    assert_int_equal(kit_try(d, &fault), KELP_E_VERSION);
    fakedisk_free(d);
}

static void quarantine(struct fakedisk *d, bool apart)
{
    struct store *s = kit_open(d);
    assert_int_equal(store_found(s)->apart, apart);
    store_close(s);
}

static void what_is_known_of_the_state_stands_beside_the_vote(void **state)
{
    (void)state;
    struct fakedisk *d = voted();
    quarantine(d, false);
    for (unsigned apart = 2; apart-- > 0;) {
        struct store *s = kit_open(d);
        assert_int_equal(store_apart(s, apart == 1, NULL), KELP_OK);
        uint64_t calls = fakedisk_calls(d);
        assert_int_equal(store_apart(s, apart == 1, NULL), KELP_OK); /* it is so already */
        assert_int_equal(fakedisk_calls(d), calls);
        store_close(s);
        fakedisk_cut(d, CUT_LOSES_ALL);
        quarantine(d, apart == 1);
        s = kit_open(d);
        kit_vote(s, 1, 6 + !apart, 1);
        store_close(s);
        quarantine(d, apart == 1);
    }
    fakedisk_free(d);
}

static void a_cut_while_it_is_noted_spares_the_vote(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 480; seed++) {
        struct fakedisk *d = fakedisk_new(seed);
        struct store *s = kit_open(d);
        kit_vote(s, 1, 5, 2);
        fakedisk_die_at(d, fakedisk_calls(d) + 1 + seed % 6);
        bool noted = store_apart(s, true, NULL) == KELP_OK;
        assert_int_equal(noted, seed % 6 == 5);
        store_close(s);
        fakedisk_cut(d, CUT_RANDOM);
        holds(d, 5, 2);
        if (noted) quarantine(d, true);
        fakedisk_free(d);
    }
}

/* A later program may say more there, and it must not be forgotten. */
static void a_flag_that_is_not_known_is_not_dropped(void **state)
{
    (void)state;
    for (unsigned bit = 1; bit < 32; bit++) {
        struct fakedisk *d = voted();
        for (unsigned slot = 0; slot < 2; slot++) {
            uint8_t *block = fakedisk_bytes(d, "vote", NULL) + slot * STORE_BLOCK;
            struct twin_copy copy;
            assert_int_equal(twin_decode(bytes_of(block, STORE_BLOCK), VOTE_MAGIC, slot, &copy),
                             KELP_OK);
            copy.payload[28 + bit / 8] |= (uint8_t)(1u << bit % 8);
            twin_encode(block, VOTE_MAGIC, slot, copy.generation, bytes_of(copy.payload, copy.len));
        }
        struct kelp_fault fault;
        assert_int_equal(kit_try(d, &fault), KELP_E_VERSION);
        fakedisk_free(d);
    }
}

/* A save of a vote is a look at both copies and two writes with a sync after each; at every point
 * of it one whole copy is durable. */
static void a_cut_during_a_vote_leaves_the_old_or_the_new_one(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 480; seed++) {
        struct fakedisk *d = fakedisk_new(seed);
        struct store *s = kit_open(d);
        kit_vote(s, 1, 5, 2);
        fakedisk_die_at(d, fakedisk_calls(d) + 1 + seed % 6);
        struct store_save_item item = {
            .save = {.number = 2, .flags = KELP_SAVE_VOTE, .term = {6}, .vote = 3}};
        bool saved = store_save(s, &item, 1, NULL) == KELP_OK;
        assert_int_equal(saved, seed % 6 == 5);
        store_close(s);
        fakedisk_cut(d, CUT_RANDOM);
        s = kit_open(d);
        uint64_t term = store_found(s)->term.v;
        assert_true(term == 6 || (term == 5 && !saved));
        assert_int_equal(store_found(s)->vote, term == 6 ? 3 : 2);
        store_close(s);
        fakedisk_free(d);
    }
}

static void a_vote_in_the_page_cache_only_is_synced_before_it_is_believed(void **state)
{
    (void)state;
    struct fakedisk *d = fakedisk_new(1);
    struct store *s = kit_open(d);
    kit_vote(s, 1, 5, 2);
    struct store_save_item item = {
        .save = {.number = 2, .flags = KELP_SAVE_VOTE, .term = {6}, .vote = 3}};
    fakedisk_fail_at(d, fakedisk_calls(d) + 2, KELP_E_IO); /* its first sync: the cache has it */
    assert_int_equal(store_save(s, &item, 1, NULL), KELP_E_IO);
    store_close(s);
    fakedisk_kill(d);
    s = kit_open(d);
    uint64_t term = store_found(s)->term.v;
    store_close(s);
    fakedisk_cut(d, CUT_LOSES_ALL);
    holds(d, term, term == 6 ? 3 : 2); /* what one start believed the next one finds */
    fakedisk_free(d);
}

/* The newer copy is in the page cache only; were it believed unsynced, the cut while the older one
 * is written over could spoil both. */
static void a_cut_at_the_start_after_a_kill_spoils_at_most_one_copy(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 8000; seed++) {
        struct fakedisk *d = fakedisk_new(seed);
        struct store *s = kit_open(d);
        kit_vote(s, 1, 5, 2);
        struct store_save_item item = {
            .save = {.number = 2, .flags = KELP_SAVE_VOTE, .term = {6}, .vote = 3}};
        fakedisk_die_at(d, fakedisk_calls(d) + 3);
        assert_int_equal(store_save(s, &item, 1, NULL), KELP_E_IO);
        store_close(s);
        fakedisk_kill(d);
        struct twin twin;
        struct twin_copy copy;
        struct kelp_fault fault = {0};
        fakedisk_die_at(d, fakedisk_calls(d) + 5 + seed % 2); /* a write or its sync */
        enum kelp_error error =
            twin_open(&twin, fakedisk_port(d), VOTE_NAME, VOTE_MAGIC, &copy, &fault);
        assert_int_equal(error, KELP_OK);
        (void)twin_write(&twin, bytes_of(copy.payload, copy.len), &fault);
        twin_close(&twin);
        fakedisk_cut(d, CUT_RANDOM);
        s = kit_open(d);
        assert_true(store_found(s)->term.v == 6 || store_found(s)->term.v == 5);
        store_close(s);
        fakedisk_free(d);
    }
}

/* One copy is bad already: the start must mend that one first, and only then touch the good one. */
static void a_cut_while_a_bad_copy_is_mended_spares_the_good_one(void **state)
{
    (void)state;
    for (unsigned slot = 0; slot < 2; slot++) {
        for (uint64_t seed = 0; seed < 200; seed++) {
            struct fakedisk *whole = voted();
            fakedisk_bytes(whole, VOTE_NAME, NULL)[slot * STORE_BLOCK + 40] ^= 1;
            size_t size = 0;
            uint8_t *bytes = fakedisk_bytes(whole, VOTE_NAME, &size);
            struct fakedisk *d = fakedisk_new(seed); /* each tears differently */
            fakedisk_put(d, VOTE_NAME, bytes, size);
            struct twin twin;
            struct twin_copy copy;
            struct kelp_fault fault = {0};
            fakedisk_die_at(d, 6); /* open, sync, read, look, write: the sync of the first copy */
            enum kelp_error error =
                twin_open(&twin, fakedisk_port(d), VOTE_NAME, VOTE_MAGIC, &copy, &fault);
            assert_int_equal(error, KELP_OK);
            error = twin_write(&twin, bytes_of(copy.payload, copy.len), &fault);
            assert_int_equal(error, KELP_E_IO);
            twin_close(&twin);
            fakedisk_cut(d, CUT_RANDOM);
            error = twin_open(&twin, fakedisk_port(d), VOTE_NAME, VOTE_MAGIC, &copy, &fault);
            twin_close(&twin);
            assert_int_equal(error, KELP_OK);
            fakedisk_free(d);
            fakedisk_free(whole);
        }
    }
}

/* The newest vote is in the wrong place, the copy beside it is good and older: better none than
 * that one. */
static void a_cut_while_the_older_copy_is_mended_never_brings_it_back(void **state)
{
    (void)state;
    for (unsigned place = 0; place < 2; place++) {
        for (uint64_t seed = 0; seed < 200; seed++) {
            struct fakedisk *whole = voted();
            size_t size = 0;
            uint8_t *bytes = fakedisk_bytes(whole, VOTE_NAME, &size), payload[VOTE_BYTES];
            struct twin_copy copy;
            assert_int_equal(twin_decode(bytes_of(bytes, STORE_BLOCK), VOTE_MAGIC, 0, &copy),
                             KELP_OK);
            struct vote vote;
            assert_int_equal(vote_decode(bytes_of(copy.payload, copy.len), &vote, NULL), KELP_OK);
            vote.term.v = 6;
            twin_encode(bytes + (size_t)place * STORE_BLOCK, VOTE_MAGIC, 1 - place,
                        copy.generation + 1, vote_encode(&vote, payload));
            struct fakedisk *d = fakedisk_new(seed);
            fakedisk_put(d, VOTE_NAME, bytes, size);
            struct twin twin;
            struct kelp_fault fault = {0};
            fakedisk_die_at(d, 6); /* as above */
            assert_int_equal(
                twin_open(&twin, fakedisk_port(d), VOTE_NAME, VOTE_MAGIC, &copy, &fault), KELP_OK);
            assert_int_equal(twin_write(&twin, bytes_of(copy.payload, copy.len), &fault),
                             KELP_E_IO);
            twin_close(&twin);
            fakedisk_cut(d, CUT_RANDOM);
            enum kelp_error error =
                twin_open(&twin, fakedisk_port(d), VOTE_NAME, VOTE_MAGIC, &copy, &fault);
            if (error == KELP_OK)
                assert_int_equal(vote_decode(bytes_of(copy.payload, copy.len), &vote, NULL),
                                 KELP_OK);
            else
                assert_int_equal(error, KELP_E_CORRUPT);
            assert_int_equal(vote.term.v, 6);
            twin_close(&twin);
            fakedisk_free(d);
            fakedisk_free(whole);
        }
    }
}

/* One copy rots on the disk while the page cache still has it; the next vote is cut short. */
static void a_cut_spares_the_good_copy_where_the_other_rotted_unseen(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct fakedisk *d = fakedisk_new(seed);
        struct store *s = kit_open(d);
        kit_vote(s, 1, 5, 2);
        fakedisk_hidden(d, VOTE_NAME)[seed % 2 * STORE_BLOCK + 40] ^= 1;
        fakedisk_die_at(d, fakedisk_calls(d) + 2 + seed / 2 % 4); /* of two writes and two syncs */
        struct store_save_item item = {
            .save = {.number = 2, .flags = KELP_SAVE_VOTE, .term = {6}, .vote = 3}};
        assert_int_equal(store_save(s, &item, 1, NULL), KELP_E_IO);
        store_close(s);
        fakedisk_cut(d, CUT_RANDOM);
        s = kit_open(d);
        uint64_t term = store_found(s)->term.v;
        assert_true(term == 6 || term == 5);
        assert_int_equal(store_found(s)->vote, term == 6 ? 3 : 2);
        store_close(s);
        fakedisk_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_flipped_bit_in_one_copy_harms_nothing),
        cmocka_unit_test(a_cut_spares_the_good_copy_where_the_other_rotted_unseen),
        cmocka_unit_test(a_cut_while_the_older_copy_is_mended_never_brings_it_back),
        cmocka_unit_test(any_length_opens_or_is_refused_and_never_forgets),
        cmocka_unit_test(with_one_copy_gone_the_other_counts),
        cmocka_unit_test(with_both_copies_gone_the_start_is_refused),
        cmocka_unit_test(a_copy_in_the_wrong_block_does_not_count),
        cmocka_unit_test(a_newer_copy_in_the_wrong_place_wins),
        cmocka_unit_test(the_newer_of_two_good_copies_wins),
        cmocka_unit_test(two_copies_that_contradict_each_other_are_refused),
        cmocka_unit_test(a_newer_version_is_not_called_damaged),
        cmocka_unit_test(what_is_known_of_the_state_stands_beside_the_vote),
        cmocka_unit_test(a_cut_while_it_is_noted_spares_the_vote),
        cmocka_unit_test(a_flag_that_is_not_known_is_not_dropped),
        cmocka_unit_test(a_cut_during_a_vote_leaves_the_old_or_the_new_one),
        cmocka_unit_test(a_vote_in_the_page_cache_only_is_synced_before_it_is_believed),
        cmocka_unit_test(a_cut_at_the_start_after_a_kill_spoils_at_most_one_copy),
        cmocka_unit_test(a_cut_while_a_bad_copy_is_mended_spares_the_good_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
