/* SPDX-License-Identifier: Apache-2.0 */
/* witness_test.c - what a witness is sent, when it counts, and what it may take. [§11.7.2] */
#include "fixture.h"

/* 1 and 2 have the data, 3 is a witness. */
static struct kelp_config pair(void)
{
    struct kelp_config c = voters(3);
    c.members[2].role = KELP_WITNESS;
    return c;
}

static void positions(struct fixture *f, uint8_t type)
{
    struct kelp_entry_info info = {.term = kelp_term_of(1), .bytes = 40, .type = type};
    struct kelp_message m = {.type = KELP_MSG_APPEND, .from = 2, .to = f->view.self, .id = 9};
    m.term = f->view.term;
    m.append.last = 1;
    m.append.entries = &info;
    receive(f, m);
}

static void who_keeps_data_takes_no_position(void **state)
{
    (void)state;
    struct kelp_config c = pair();
    for (kelp_id self = 1; self <= 3; self += 2) {
        struct fixture *f = node(.self = self, .config = &c);
        positions(f, KELP_ENTRY_POSITION);
        assert_int_equal(f->taken.first != 0, self == 3);
        fixture_forget(f);
        if (self == 1) {
            positions(f, KELP_ENTRY_COMMAND);
            assert_int_equal(f->taken.first, 1);
        }
        fixture_close(f);
    }
}

/* 3 answers, 2 does not: with voters the entry would be committed. */
static void the_match_of_a_witness_is_nothing_while_it_is_out(void **state)
{
    (void)state;
    struct kelp_config c = pair();
    struct fixture *f = leader(.config = &c);
    kelp_index last = f->view.last;
    receive(f, answer_of(f, 3, last));
    assert_int_equal(f->view.commit, 0);
    receive(f, answer_of(f, 2, last));
    assert_int_equal(f->view.commit, last);
    fixture_close(f);
}

static void it_counts_once_a_voter_is_silent(void **state)
{
    (void)state;
    struct kelp_config c = pair();
    struct fixture *f = leader(.config = &c);
    kelp_index last = f->view.last;
    for (int i = 0; i < 11; i++) {
        pass(f, 100 * MS);
        take(f);
        receive(f, answer_of(f, 3, last));
        if (i < 9) assert_int_equal(f->view.commit, 0);
    }
    MARK_HIT(f, PEER_SILENT);
    MARK_HIT(f, WITNESS_NEEDED);
    assert_int_equal(f->view.commit, last);
    fixture_close(f);
}

/* By the configuration it is in, so nobody need be silent. */
static void it_counts_while_the_configuration_says_so(void **state)
{
    (void)state;
    struct kelp_config c = pair();
    c.members[1].marks = KELP_MARK_ABSENT;
    c.members[2].marks = KELP_MARK_IN;
    struct fixture *f = leader(.config = &c);
    kelp_index last = f->view.last;
    receive(f, answer_of(f, 3, last));
    assert_int_equal(f->view.commit, last);
    fixture_close(f);
}

/* 2 is marked absent and answers. */
static void a_voter_is_absent_until_it_has_what_was_there(void **state)
{
    (void)state;
    struct kelp_config c = pair();
    c.members[1].marks = KELP_MARK_ABSENT;
    c.members[2].marks = KELP_MARK_IN;
    struct fixture *f = leader(.config = &c);
    kelp_index last = f->view.last;
    receive(f, answer_of(f, 3, last));
    for (int i = 0; i < 5; i++) {
        receive(f, answer_of(f, 2, last - 1));
        take(f);
    }
    MARK_MISS(f, WITNESS_OUT);
    receive(f, answer_of(f, 2, last));
    take(f);
    MARK_HIT(f, WITNESS_OUT);
    fixture_close(f);
}

/* trailing 40: ten entries may be missing, the eleventh brings all of them. */
static void a_witness_that_is_out_falls_only_so_far_behind(void **state)
{
    (void)state;
    struct kelp_config c = pair();
    struct fixture *f = leader(.config = &c, .trailing = 40);
    pass(f, 100 * MS); /* the probe is repeated */
    take(f);
    ack(f, 3, 0); /* an empty log */
    ack(f, 2, f->view.last);
    fixture_forget(f);
    for (uint32_t i = 0; i < 11; i++) {
        take(f);
        assert_null(sent(f, KELP_MSG_APPEND, 3));
        assert_true(client_writes(f, 100 + i, 50, KELP_NEVER));
        save_all(f);
        assert_null(sent(f, KELP_MSG_APPEND, 3));
        receive(f, answer_of(f, 2, f->view.last));
        assert_int_equal(f->view.commit, f->view.last);
    }
    take(f);
    const struct kelp_message *m = sent(f, KELP_MSG_APPEND, 3);
    assert_non_null(m);
    assert_int_equal(m->append.last, f->view.commit);
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_keeps_data_takes_no_position),
        cmocka_unit_test(the_match_of_a_witness_is_nothing_while_it_is_out),
        cmocka_unit_test(it_counts_once_a_voter_is_silent),
        cmocka_unit_test(it_counts_while_the_configuration_says_so),
        cmocka_unit_test(a_voter_is_absent_until_it_has_what_was_there),
        cmocka_unit_test(a_witness_that_is_out_falls_only_so_far_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
