/* SPDX-License-Identifier: Apache-2.0 */
/* restores.c - RAFT RESTORE: steps of a restore of the whole cluster, through its log.
 *
 *   BEGIN id objects bytes time own [FORCE]   a file of so many objects is to come      OK index=N
 *   PART id number object                     one of them                               OK index=N
 *   COMMIT id                                 they are the state now, on every member   OK index=N
 *   ABORT id                                  they are not wanted any more              OK index=N
 *   STATUS                                    what this node has staged, and how the last ended
 *
 * id is 16 hexadecimal digits that the client draws, time the cluster clock of the file in ns, own
 * the state machine's own bytes of its head. What each does stands in kelp/restore.h. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/decimal.h"
#include "proto/resp_reply.h"
#include "server/client.h"
#include "server/commands.h"
#include "server/server.h"

#define ID_DIGITS    16u
#define STATUS_BYTES 512u

static bool id_of(struct kelp_bytes word, uint64_t *out)
{
    *out = 0;
    if (word.len != ID_DIGITS) return false;
    for (size_t i = 0; i < word.len; i++) {
        uint8_t c = (uint8_t)(word.data[i] | 0x20u); /* lower case, and digits are as they were */
        bool digit = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
        if (!digit && !letter) return false;
        *out = *out << 4 | (uint64_t)(digit ? c - '0' : c - 'a' + 10);
    }
    return *out != 0;
}

static bool number_of(struct kelp_bytes word, uint64_t *out)
{
    int64_t number = 0;
    bool good = decimal_parse(word, &number) && number >= 0;
    *out = (uint64_t)number;
    return good;
}

static void status_reply(const struct call *call)
{
    struct kelp_restore_status s;
    char text[STATUS_BYTES];
    driver_staged(node_driver(call->server->node), &s);
    (void)snprintf(text, sizeof text,
                   "staged:%016" PRIx64 "\nindex:%" PRIu64 "\nnext:%" PRIu64 "\nobjects:%" PRIu64
                   "\nbytes:%" PRIu64 "\nobject_bytes:%" PRIu64 "\nended:%016" PRIx64
                   "\nend:%s\nended_index:%" PRIu64 "\n",
                   s.id, s.index, s.next, s.objects, s.bytes, s.object_bytes, s.ended_id,
                   kelp_restore_end_name(s.end), s.ended_at);
    (void)resp_bulk_text(call->reply, text);
}

/* False: the words make no sense. */
static bool begin_parse(const struct call *call, struct kelp_restore_step *step)
{
    struct timespec now;
    if (call->argc < 8 || call->argc > 9) return false;
    if (call->argc == 9 && !word_is(call->argv[8], "force")) return false;
    step->kind = KELP_RESTORE_BEGIN;
    if (call->argc == 9) step->flags = KELP_RESTORE_FORCE;
    step->bytes = call->argv[7];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    step->wall_unix_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    return number_of(call->argv[4], &step->objects) &&
           number_of(call->argv[5], &step->object_bytes) &&
           number_of(call->argv[6], &step->time_ns);
}

static bool step_parse(const struct call *call, struct kelp_restore_step *step)
{
    struct kelp_bytes word = call->argv[2];
    *step = (struct kelp_restore_step){.id = 0};
    if (call->argc < 4 || !id_of(call->argv[3], &step->id)) return false;
    if (word_is(word, "begin")) return begin_parse(call, step);
    if (word_is(word, "part") && call->argc == 6) {
        step->kind = KELP_RESTORE_PART;
        step->bytes = call->argv[5];
        return number_of(call->argv[4], &step->number);
    }
    step->kind = word_is(word, "commit") ? KELP_RESTORE_COMMIT : KELP_RESTORE_ABORT;
    return call->argc == 4 && (word_is(word, "commit") || word_is(word, "abort"));
}

void run_raft_restore(const struct call *call)
{
    struct kelp_restore_step step;
    if (call->argc == 3 && word_is(call->argv[2], "status"))
        status_reply(call);
    else if (step_parse(call, &step) && driver_restore_sound(&step))
        client_restore(call->client, &step, call->reply);
    else
        (void)resp_error(call->reply,
                         "ERR BAD_REQUEST: RESTORE takes BEGIN id objects bytes time own [FORCE], "
                         "PART id number object, COMMIT id, ABORT id, or STATUS; an id is 16 "
                         "hexadecimal digits, not all 0");
}
