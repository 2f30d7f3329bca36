/* SPDX-License-Identifier: Apache-2.0 */
/* reads.c - RAFT READ, WITH and INDEX, and the words for levels that HTTP shares with them.
 *
 *   linearizable | lease [round] | stale MS | any | log      then, of each:  [after INDEX]
 *
 * A level holds for a connection from the READ on, or for the one command behind a WITH. INDEX is
 * the connection's token: no answer that it got shows anything above it, so a read AFTER it, on
 * any node, sees all that this connection has seen and written. */
#include "server/reads.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/decimal.h"
#include "base/min.h"
#include "proto/resp_reply.h"
#include "server/client.h"
#include "server/commands.h"

#define MILLISECOND  UINT64_C(1000000)
#define STALE_MS_MAX (UINT64_C(1) << 40) /* 34 years */
#define INDEX_MAX    (UINT64_C(1) << 62)
#define TEXT_WORDS   5u

static bool level_of(struct kelp_bytes word, enum kelp_read_level *level)
{
    for (unsigned i = 0; i <= KELP_READ_LOG; i++) {
        if (!word_is(word, kelp_read_level_name((enum kelp_read_level)i))) continue;
        *level = (enum kelp_read_level)i;
        return true;
    }
    return false;
}

static bool number_of(const struct kelp_bytes *words, size_t count, size_t at, uint64_t max,
                      uint64_t *out)
{
    int64_t number = 0;
    if (at >= count || !decimal_parse(words[at], &number)) return false;
    *out = (uint64_t)number;
    return number > 0 && *out <= max;
}

static bool wrong_say(char *wrong, const char *what)
{
    (void)snprintf(wrong, READS_WRONG_MAX, "%s", what);
    return false;
}

bool reads_parse(const struct kelp_bytes *words, size_t count, size_t *used,
                 struct kelp_read_how *how, char *wrong)
{
    uint64_t number = 0;
    *used = 1;
    *how = (struct kelp_read_how){.level = KELP_READ_LINEARIZABLE};
    if (count == 0 || !level_of(words[0], &how->level))
        return wrong_say(wrong, "a read level is linearizable, lease [round], stale MS, any or "
                                "log, then [after INDEX]");
    if (how->level == KELP_READ_STALE) {
        if (!number_of(words, count, 1, STALE_MS_MAX, &number))
            return wrong_say(wrong, "stale takes milliseconds, 1 to 2^40");
        how->stale_max = number * MILLISECOND;
        *used = 2;
    }
    if (how->level == KELP_READ_LEASE && count > 1 && word_is(words[1], "round")) {
        how->may_round = true;
        *used = 2;
    }
    if (*used == count || !word_is(words[*used], "after")) return true;
    if (!number_of(words, count, *used + 1, INDEX_MAX, &number))
        return wrong_say(wrong, "after takes an index, 1 to 2^62");
    how->at_least = number;
    *used += 2;
    return true;
}

bool reads_parse_text(const char *text, struct kelp_read_how *how, char *wrong)
{
    struct kelp_bytes words[TEXT_WORDS];
    size_t count = 0, used = 0;
    for (const char *at = text + strspn(text, " "); *at != '\0' && count < TEXT_WORDS;) {
        size_t len = strcspn(at, " ");
        words[count++] = bytes_of(at, len);
        at += len + strspn(at + len, " ");
    }
    if (!reads_parse(words, count, &used, how, wrong)) return false;
    return used == count || wrong_say(wrong, "a read level is one level and nothing behind it");
}

void run_raft_read(const struct call *call)
{
    char wrong[READS_WRONG_MAX];
    struct kelp_read_how how;
    size_t used = 0;
    bool good = reads_parse(call->argv + 2, call->argc - 2, &used, &how, wrong);
    if (good && used + 2 < call->argc)
        good = wrong_say(wrong, "READ takes a level and no command; WITH takes one");
    if (!good) {
        (void)resp_error(call->reply, "ERR BAD_REQUEST: %s", wrong);
        return;
    }
    call->client->read = how;
    (void)resp_simple(call->reply, "OK");
}

void run_raft_with(const struct call *call)
{
    char wrong[READS_WRONG_MAX];
    struct kelp_read_how how, before = call->client->read;
    size_t used = 0;
    if (!reads_parse(call->argv + 2, call->argc - 2, &used, &how, wrong)) {
        (void)resp_error(call->reply, "ERR BAD_REQUEST: %s", wrong);
        return;
    }
    const struct kelp_bytes *argv = call->argv + 2 + used;
    size_t argc = call->argc - 2 - used;
    if (argc == 0 || kv_command_find(argv[0]) == NULL) {
        (void)resp_error(call->reply,
                         "ERR BAD_REQUEST: WITH takes a level and then a command on keys");
        return;
    }
    call->client->read = how;
    command_dispatch(call->client, argv, argc, call->reply);
    call->client->read = before;
}

void run_raft_index(const struct call *call)
{
    (void)resp_integer(call->reply, (int64_t)call->client->seen);
}
