/* SPDX-License-Identifier: Apache-2.0 */
/* once.c - RAFT SESSION and RAFT ONCE: commands that are executed once however often they are sent.
 *
 *   SESSION NEW                                          its number
 *   SESSION END number                                   OK, also if there was none
 *   ONCE session sequence [ACK sequence] command ...     the command's own answer
 *   ONCE KEY text command ...                            the same under a key of the client's own
 *
 * Only what writes is kept; a command that reads has no effect to repeat, and is an ordinary read
 * of its connection. */
#include "base/decimal.h"
#include "kelp/session.h"
#include "proto/resp_reply.h"
#include "server/client.h"
#include "server/commands.h"

static bool number_of(struct kelp_bytes word, uint64_t *out)
{
    int64_t number = 0;
    bool good = decimal_parse(word, &number) && number > 0;
    *out = (uint64_t)number;
    return good;
}

void run_raft_session(const struct call *call)
{
    struct driver_once once = {.kind = DRIVER_ONCE_SESSION};
    bool good = call->argc == 3 && word_is(call->argv[2], "new");
    if (call->argc == 4 && word_is(call->argv[2], "end")) {
        once.kind = DRIVER_ONCE_END;
        good = number_of(call->argv[3], &once.once.session);
    }
    if (good)
        client_session(call->client, &once, call->reply);
    else
        (void)resp_error(call->reply, "ERR BAD_REQUEST: SESSION takes NEW, or END and a number");
}

/* What stands in front of the command; *used words. NULL, or what is wrong with it. */
static const char *once_parse(const struct kelp_bytes *words, size_t count, size_t *used,
                              struct kelp_once *out)
{
    *used = 2;
    if (count > 2 && word_is(words[0], "key")) {
        *out = kelp_once_key(words[1]);
        return words[1].len > 0 ? NULL : "a key is not empty";
    }
    if (count < 3 || !number_of(words[0], &out->session) || !number_of(words[1], &out->sequence))
        return "ONCE takes a session and a sequence, from 1 on, or KEY and a text";
    if (!word_is(words[2], "ack")) return NULL;
    *used = 4;
    if (count < 5 || !number_of(words[3], &out->acknowledged))
        return "ACK takes the sequence up to which the answers are there";
    return out->acknowledged < out->sequence ? NULL : "a command's own answer cannot be there yet";
}

void run_raft_once(const struct call *call)
{
    struct driver_once once = {.kind = DRIVER_ONCE_COMMAND};
    size_t used = 0;
    const char *wrong = once_parse(call->argv + 2, call->argc - 2, &used, &once.once);
    const struct kelp_bytes *argv = call->argv + 2 + used;
    size_t argc = wrong == NULL ? call->argc - 2 - used : 0;
    if (wrong == NULL && (argc == 0 || kv_command_find(argv[0]) == NULL))
        wrong = "behind that ONCE takes a command on keys";
    if (wrong != NULL) {
        (void)resp_error(call->reply, "ERR BAD_REQUEST: %s", wrong);
        return;
    }
    call->client->once = once;
    command_dispatch(call->client, argv, argc, call->reply);
    call->client->once = (struct driver_once){.kind = DRIVER_ONCE_NOT};
}
