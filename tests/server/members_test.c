/* SPDX-License-Identifier: Apache-2.0 */
/* members_test.c - a change of members in words: whatever a client says, what comes of it can be
 * sent, or the client is told what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/members.h"

#define WORDS_MAX 8u

/* Splits at spaces. */
static bool parse(const char *text, struct wire_change *out, char wrong[MEMBERS_WRONG_MAX])
{
    struct kelp_bytes words[WORDS_MAX];
    size_t count = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        assert_true(count < WORDS_MAX);
        words[count++] = (struct kelp_bytes){(const uint8_t *)text, len};
        text += len + (text[len] == ' ' ? 1 : 0);
    }
    return members_parse(words, count, out, wrong);
}

static void accepted(const char *text)
{
    uint8_t bytes[WIRE_CHANGE_BYTES_MAX], same[WIRE_CHANGE_BYTES_MAX];
    char wrong[MEMBERS_WRONG_MAX];
    struct wire_change change, again;
    assert_true(parse(text, &change, wrong));
    size_t len = wire_change_encode(&change, bytes);
    assert_int_equal(wire_change_decode((struct kelp_bytes){bytes, len}, &again, NULL), KELP_OK);
    assert_int_equal(wire_change_encode(&again, same), len);
    assert_memory_equal(bytes, same, len);
}

static void refused(const char *text, const char *words)
{
    char wrong[MEMBERS_WRONG_MAX];
    struct wire_change change;
    assert_false(parse(text, &change, wrong));
    assert_string_equal(wrong, words);
}

static void a_change_in_words_can_be_sent(void **state)
{
    (void)state;
    accepted("add 4 host:7101");
    accepted("ADD 4 host:7101 learner if 7 force nowait");
    accepted("add 4 host:7101 WITNESS");
    accepted("add auto host:7101 learner");
    accepted("add auto if 7");
    accepted("add 4");
    accepted("add 4 learner nowait");
    accepted("replace 1 auto");
    accepted("replace 1 4 force");
    accepted("set 1=a:1 2=b:2/learner");
    accepted("stop 2"); /* of a plan */
    accepted("replace 1 4 host:7101");
    accepted("priority 2 0");
    accepted("PRIORITY 2 255 if 7 nowait");
    accepted("remove 4611686018427387904 if 4611686018427387904");
}

static void a_number_that_cannot_be_sent_is_refused(void **state)
{
    (void)state;
    refused("priority 2", "a priority is missing '': 0 to 255; 0 never leads");
    refused("priority 2 256", "no priority '256': 0 to 255; 0 never leads");
    refused("priority 2 -1", "no priority '-1': 0 to 255; 0 never leads");
    refused("priority 2 9 9", "makes no sense here: '9': IF index, FORCE and NOWAIT do");
    refused("remove 4611686018427387905", "no id '4611686018427387905': a number from 1 to 2^62");
    refused("add 9223372036854775807 host:7101",
            "no id '9223372036854775807': a number from 1 to 2^62");
    refused("remove 0", "no id '0': a number from 1 to 2^62");
    refused("remove 4 if 4611686018427387905",
            "no index '4611686018427387905': that of the configuration it is made of");
    refused("remove 4 if", "no index '': that of the configuration it is made of");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_in_words_can_be_sent),
        cmocka_unit_test(a_number_that_cannot_be_sent_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
