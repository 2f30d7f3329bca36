/* SPDX-License-Identifier: Apache-2.0 */
/* restore.c - `kelp snapshot restore FILE`: a snapshot's file becomes the state of a cluster.
 *
 *   verify the file, whole --> what is there? (--yes) --> BEGIN --> PARTs --> COMMIT
 *                                                          ^          |         |
 *                                                          `-- lost --`         |
 *                             how did it end? (RAFT RESTORE STATUS) <-- lost ---'
 *
 * The parts go in batches, one answer each. Whatever is lost on the way, a connection, a leader, an
 * answer, it goes on: BEGIN of the same number changes nothing where it is staged, STATUS says
 * which part is the next, a part that is there already is done, and before COMMIT nothing that
 * clients see has changed. COMMIT is asked again while its outcome is not known: the cluster does
 * it once, and what became of it says STATUS of a node that has applied it.
 *
 * What was begun and cannot be ended well is aborted, so that it is not in the way of the next. */
#include "cli/restore.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/bytes.h"
#include "base/min.h"
#include "cli/client.h"

#define BATCH_PARTS 64u
#define BATCH_BYTES (1024u * 1024)
#define WORD_MAX    24u
#define ID_TEXT     17u
#define AGAIN_MS    200u   /* between two attempts */
#define PATIENCE_MS 60000u /* without any progress, and it is given up */
#define SHOW_MS     100u

struct work {
    const struct verb *verb;
    const struct restore_ask *ask;
    struct client client;
    const char *next_at; /* the address to try next, in ask->at */
    struct wire_snaphead *head;
    uint8_t *head_bytes;
    uint64_t objects, bytes; /* the machine's in the file */
    char id[ID_TEXT];
    bool begun, connected;
    uint64_t progress_ms, shown_ms;
    char why[CLIENT_ERROR_MAX]; /* the last thing that went wrong */
    /* one walk through the file */
    uint64_t number, from; /* of the object that is looked at; the first that is wanted */
    uint64_t given;        /* bytes of those that were staged */
    struct buf batch;
    uint64_t batch_count, batch_bytes;
};

/* ---- the file ------------------------------------------------------------------------------ */

static enum kelp_error count_object(void *ctx, const struct wire_object *object,
                                    struct kelp_fault *fault)
{
    struct work *w = ctx;
    (void)fault;
    if (object->kind != WIRE_OBJECT_MACHINE) return KELP_OK; /* sessions are another time's */
    w->objects++;
    w->bytes += object->bytes.len;
    return KELP_OK;
}

static int file_wrong(const struct work *w, enum kelp_error error, const struct kelp_fault *fault)
{
    const char *path = w->ask->path;
    if (error == KELP_E_CORRUPT)
        return cli_error(w->verb, CLI_FAILED, "%s is damaged at byte %" PRIu64 ": %s", path,
                         fault->offset, fault->what);
    return cli_error(w->verb, CLI_FAILED, "%s: %s", path,
                     fault->what[0] != '\0' ? fault->what : kelp_strerror(error));
}

static int file_verify(struct work *w)
{
    struct kelp_fault fault = {0};
    const struct restore_ask *ask = w->ask;
    enum kelp_error error =
        store_snapshot_check(ask->disk, ask->name, false, w->head, &w->head_bytes, &fault);
    if (error == KELP_OK)
        error = store_snapshot_each(ask->disk, ask->name, count_object, w, &fault);
    if (error != KELP_OK) return file_wrong(w, error, &fault);
    if (w->head->hollow)
        return cli_error(w->verb, CLI_FAILED, "%s is a witness's: there is no data in it",
                         ask->path);
    return CLI_DONE;
}

/* ---- asking -------------------------------------------------------------------------------- */

static void pause_ms(unsigned ms)
{
    const struct timespec pause = {.tv_nsec = ms * 1000000L};
    (void)nanosleep(&pause, NULL);
}

static void note(struct work *w, const char *why)
{
    (void)snprintf(w->why, sizeof w->why, "%s", why);
}

/* Some node of the list, each in its turn. */
static bool reach(struct work *w)
{
    char address[CLI_ADDRESS_MAX];
    if (w->connected) return true;
    if (!client_next(&w->next_at, address)) {
        w->next_at = w->ask->at;
        if (!client_next(&w->next_at, address)) return false;
    }
    w->connected = client_connect(&w->client, address);
    if (!w->connected) note(w, w->client.error);
    return w->connected;
}

/* What an answer says of a step. */
enum verdict {
    STEP_DONE,
    STEP_AGAIN,   /* it did not happen: ask anew, perhaps elsewhere */
    STEP_UNSURE,  /* .. or it did */
    STEP_REFUSED, /* it will not happen */
};

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static enum verdict judge(struct work *w, const redisReply *reply, uint64_t *index)
{
    if (reply == NULL) {
        note(w, w->client.error);
        w->connected = false;
        return w->client.written ? STEP_UNSURE : STEP_AGAIN;
    }
    if (reply->type == REDIS_REPLY_STATUS && sscanf(reply->str, "OK index=%" SCNu64, index) == 1)
        return STEP_DONE;
    note(w, reply->str != NULL ? reply->str : "the answer makes no sense");
    if (reply->type != REDIS_REPLY_ERROR) return STEP_REFUSED;
    if (begins(reply->str, "UNCERTAIN ")) return STEP_UNSURE;
    if (begins(reply->str, "TRYAGAIN ") || begins(reply->str, "MOVED ")) return STEP_AGAIN;
    if (!begins(reply->str, "CLUSTERDOWN ") && !begins(reply->str, "LOADING ")) return STEP_REFUSED;
    w->connected = false; /* another node may serve */
    return STEP_AGAIN;
}

static enum verdict step(struct work *w, size_t count, const struct kelp_bytes *words,
                         uint64_t *index)
{
    if (!reach(w)) return STEP_AGAIN;
    w->client.written = false;
    redisReply *reply = client_follow(&w->client, count, words);
    enum verdict verdict = judge(w, reply, index);
    if (reply != NULL) freeReplyObject(reply);
    return verdict;
}

static struct kelp_bytes text_of(const char *text)
{
    return bytes_of(text, strlen(text));
}

/* ---- how far it is ------------------------------------------------------------------------- */

struct staged {
    char id[ID_TEXT], ended[ID_TEXT], end[16];
    uint64_t next, ended_index;
};

static bool staged_ask(struct work *w, struct staged *out)
{
    uint64_t skip;
    if (!reach(w)) return false;
    redisReply *reply = client_line(&w->client, "RAFT RESTORE STATUS");
    bool good = reply != NULL && reply->type == REDIS_REPLY_STRING &&
                sscanf(reply->str,
                       "staged:%16s\nindex:%" SCNu64 "\nnext:%" SCNu64 "\nobjects:%" SCNu64
                       "\nbytes:%" SCNu64 "\nobject_bytes:%" SCNu64
                       "\nended:%16s\nend:%15s\nended_index:%" SCNu64,
                       out->id, &skip, &out->next, &skip, &skip, &skip, out->ended, out->end,
                       &out->ended_index) == 9;
    if (!good) {
        note(w, reply == NULL                      ? w->client.error
                : reply->type == REDIS_REPLY_ERROR ? reply->str
                                                   : "the answer makes no sense");
        w->connected = false;
    }
    if (reply != NULL) freeReplyObject(reply);
    return good;
}

static void show(struct work *w)
{
    uint64_t now = print_now_ms();
    if (w->ask->json || !print_terminal() || now - w->shown_ms < SHOW_MS) return;
    char bytes[PRINT_NUMBER_MAX];
    unsigned filled = w->bytes > 0 ? (unsigned)(w->given * 30 / w->bytes) : 30;
    w->shown_ms = now;
    (void)printf("\r\033[K[%.*s%*s] %s bytes", (int)min_u64(filled, 30),
                 "##############################", 30 - (int)min_u64(filled, 30), "",
                 print_thousands(w->given, bytes));
    (void)fflush(stdout);
}

static void show_end(const struct work *w)
{
    if (!w->ask->json && print_terminal()) (void)printf("\r\033[K");
}

static void progress(struct work *w)
{
    w->progress_ms = print_now_ms();
}

/* Something is to be tried again; false: it was for too long. */
static bool again(const struct work *w)
{
    if (print_now_ms() - w->progress_ms > PATIENCE_MS) return false;
    pause_ms(AGAIN_MS);
    return true;
}

/* ---- phase one ----------------------------------------------------------------------------- */

static enum verdict begin(struct work *w, bool force)
{
    char objects[WORD_MAX], bytes[WORD_MAX], time[WORD_MAX];
    uint64_t index;
    (void)snprintf(objects, sizeof objects, "%" PRIu64, w->objects);
    (void)snprintf(bytes, sizeof bytes, "%" PRIu64, w->bytes);
    (void)snprintf(time, sizeof time, "%" PRIu64, w->head->time_ns);
    const struct kelp_bytes words[] = {
        text_of("RAFT"), text_of("RESTORE"), text_of("BEGIN"), text_of(w->id),   text_of(objects),
        text_of(bytes),  text_of(time),      w->head->own,     text_of("FORCE"),
    };
    size_t count = COUNT_OF(words);
    if (!force) count--;
    enum verdict verdict = step(w, count, words, &index);
    w->begun = w->begun || verdict == STEP_DONE || verdict == STEP_UNSURE;
    return verdict;
}

/* What is gathered goes, and its answers come. An error: not all of it is staged. */
static enum kelp_error batch_send(struct work *w)
{
    enum verdict worst = STEP_DONE;
    uint64_t index;
    if (w->batch_count == 0) return KELP_OK;
    bool sent = w->batch.error == KELP_OK && client_send(&w->client, buf_bytes(&w->batch));
    for (uint64_t i = 0; i < w->batch_count && (sent || i == 0); i++) {
        redisReply *reply = sent ? client_receive(&w->client) : NULL;
        enum verdict verdict = judge(w, reply, &index);
        /* behind one that is missing all others are, too: the first one says why */
        if (worst == STEP_DONE) worst = verdict;
        bool lost = reply == NULL;
        if (reply != NULL) freeReplyObject(reply);
        if (lost) break;
    }
    if (worst == STEP_DONE) {
        w->given += w->batch_bytes;
        progress(w);
        show(w);
    }
    buf_clear(&w->batch);
    w->batch_count = w->batch_bytes = 0;
    if (worst == STEP_DONE) return KELP_OK;
    return worst == STEP_REFUSED ? KELP_E_CLOSED : KELP_E_BUSY;
}

static enum kelp_error part_give(void *ctx, const struct wire_object *object,
                                 struct kelp_fault *fault)
{
    struct work *w = ctx;
    char number[WORD_MAX];
    (void)fault;
    if (object->kind != WIRE_OBJECT_MACHINE) return KELP_OK;
    uint64_t this = w->number++;
    if (this < w->from) {
        w->given += object->bytes.len;
        return KELP_OK;
    }
    (void)snprintf(number, sizeof number, "%" PRIu64, this);
    const struct kelp_bytes words[] = {text_of("RAFT"), text_of("RESTORE"), text_of("PART"),
                                       text_of(w->id),  text_of(number),    object->bytes};
    client_encode(&w->batch, COUNT_OF(words), words);
    w->batch_count++;
    w->batch_bytes += object->bytes.len;
    if (w->batch_count < BATCH_PARTS && w->batch_bytes < BATCH_BYTES) return KELP_OK;
    return batch_send(w);
}

/* From the part that is next on; KELP_E_BUSY: something was lost, KELP_E_CLOSED: refused. */
static enum kelp_error parts(struct work *w, uint64_t from, struct kelp_fault *fault)
{
    w->number = w->given = 0;
    w->from = from;
    w->batch_count = w->batch_bytes = 0;
    buf_clear(&w->batch);
    enum kelp_error error = store_snapshot_each(w->ask->disk, w->ask->name, part_give, w, fault);
    return error == KELP_OK ? batch_send(w) : error;
}

static bool is_staged(const struct work *w, const struct staged *s)
{
    return strcmp(s->id, w->id) == 0;
}

/* Until all of it is staged. */
static int stage(struct work *w)
{
    bool force = w->ask->force;
    for (;;) {
        struct staged staged = {.next = 0};
        struct kelp_fault fault = {0};
        enum verdict verdict = begin(w, force);
        if (verdict == STEP_REFUSED) return CLI_FAILED;
        if (verdict == STEP_DONE) {
            force = false; /* what is staged from now on in its place was begun after it */
            uint64_t from = staged_ask(w, &staged) && is_staged(w, &staged) ? staged.next : 0;
            enum kelp_error error = parts(w, from, &fault);
            if (error == KELP_OK) return CLI_DONE;
            if (error != KELP_E_BUSY && error != KELP_E_CLOSED) {
                (void)snprintf(w->why, sizeof w->why, "%s: %s", w->ask->path, fault.what);
                return CLI_FAILED;
            }
            bool missing = begins(w->why, "ERR PART_MISSING") || begins(w->why, "ERR NOT_STAGED");
            if (error == KELP_E_CLOSED && !missing) return CLI_FAILED;
        }
        if (!again(w)) return CLI_FAILED;
    }
}

/* ---- phase two ----------------------------------------------------------------------------- */

/* How it ended, by any node that knows; false: nobody says. */
static bool ending(struct work *w, struct staged *out)
{
    size_t nodes = 1;
    for (const char *at = w->ask->at; *at != '\0'; at++)
        nodes += *at == ',';
    for (size_t i = 0; i <= nodes; i++) {
        if (staged_ask(w, out) && strcmp(out->ended, w->id) == 0) return true;
        w->connected = false;
    }
    return false;
}

static int commit(struct work *w, uint64_t *index, bool *known)
{
    const struct kelp_bytes words[] = {text_of("RAFT"), text_of("RESTORE"), text_of("COMMIT"),
                                       text_of(w->id)};
    bool asked = false;
    for (;;) {
        struct staged end;
        enum verdict verdict = step(w, COUNT_OF(words), words, index);
        bool before = asked;
        asked = asked || verdict == STEP_UNSURE;
        *known = true;
        if (verdict == STEP_DONE) return CLI_DONE;
        if (verdict == STEP_REFUSED && !(before && begins(w->why, "ERR NOT_STAGED")))
            return CLI_FAILED;
        if (before && ending(w, &end)) {
            (void)snprintf(w->why, sizeof w->why, "it ended by index %" PRIu64 ": %s",
                           end.ended_index, end.end);
            *index = end.ended_index;
            return strcmp(end.end, "committed") == 0 ? CLI_DONE : CLI_FAILED;
        }
        *known = !asked;
        if (!again(w)) return CLI_FAILED;
    }
}

static void give_up(struct work *w)
{
    const struct kelp_bytes words[] = {text_of("RAFT"), text_of("RESTORE"), text_of("ABORT"),
                                       text_of(w->id)};
    char why[sizeof w->why];
    uint64_t index;
    memcpy(why, w->why, sizeof why);
    if (w->begun) (void)step(w, COUNT_OF(words), words, &index); /* else it ends by itself */
    memcpy(w->why, why, sizeof why);
}

/* ---- all of it ----------------------------------------------------------------------------- */

/* What is there now; false: it could not be asked. */
static bool present(struct work *w, uint64_t *keys)
{
    redisReply *reply = NULL;
    if (reach(w)) {
        const struct kelp_bytes word = text_of("DBSIZE");
        reply = client_follow(&w->client, 1, &word);
        if (reply == NULL) note(w, w->client.error);
    }
    bool good = reply != NULL && reply->type == REDIS_REPLY_INTEGER;
    if (good)
        *keys = (uint64_t)reply->integer;
    else if (reply != NULL)
        note(w, reply->str != NULL ? reply->str : "the answer makes no sense");
    if (reply != NULL) freeReplyObject(reply);
    return good;
}

static int told(struct work *w, uint64_t keys)
{
    char there[PRINT_NUMBER_MAX], bytes[PRINT_NUMBER_MAX];
    if (w->ask->json)
        (void)print_json(w->verb, json_pack("{sb,sI,sI,sI}", "done", 0, "keys", (json_int_t)keys,
                                            "file_index", (json_int_t)w->head->pos.index,
                                            "file_bytes", (json_int_t)w->bytes));
    else
        (void)printf("the cluster's %s keys would be replaced by the state of %016" PRIx64
                     "%016" PRIx64 " at index %" PRIu64 ", %s bytes\n"
                     "nothing was changed; --yes does it\n",
                     print_thousands(keys, there), w->head->cluster.hi, w->head->cluster.lo,
                     w->head->pos.index, print_thousands(w->bytes, bytes));
    return CLI_FAILED;
}

static int done(struct work *w, uint64_t index, uint64_t keys)
{
    char bytes[PRINT_NUMBER_MAX], before[PRINT_NUMBER_MAX];
    if (w->ask->json)
        return print_json(w->verb, json_pack("{sb,sI,sI,sI,sI}", "done", 1, "index",
                                             (json_int_t)index, "replaced_keys", (json_int_t)keys,
                                             "file_index", (json_int_t)w->head->pos.index,
                                             "file_bytes", (json_int_t)w->bytes));
    (void)printf(
        "restored by index %" PRIu64 ": %s bytes of index %" PRIu64 ", in the place of %s keys\n",
        index, print_thousands(w->bytes, bytes), w->head->pos.index, print_thousands(keys, before));
    return CLI_DONE;
}

static int run(struct work *w)
{
    uint64_t keys = 0, index = 0, id = 0;
    bool known = true;
    int status = file_verify(w);
    if (status != CLI_DONE) return status;
    progress(w);
    while (!present(w, &keys)) {
        w->connected = false;
        if (!again(w)) return cli_error(w->verb, CLI_FAILED, "%s", w->why);
    }
    if (keys > 0 && !w->ask->yes) return told(w, keys);
    while (id == 0) {
        if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
            return cli_error(w->verb, CLI_FAILED, "the system gives no random number");
    }
    (void)snprintf(w->id, sizeof w->id, "%016" PRIx64, id);
    progress(w);
    status = stage(w);
    if (status == CLI_DONE) {
        progress(w);
        status = commit(w, &index, &known);
    }
    show_end(w);
    if (status == CLI_DONE) return done(w, index, keys);
    if (!known)
        return cli_error(w->verb, CLI_FAILED,
                         "it is not known whether it was restored: RAFT RESTORE STATUS says what "
                         "became of %s; %s",
                         w->id, w->why);
    give_up(w);
    return cli_error(w->verb, CLI_FAILED, "nothing was changed: %s", w->why);
}

int snapshot_restore(const struct verb *verb, const struct restore_ask *ask)
{
    struct work *w = calloc(1, sizeof *w);
    struct wire_snaphead *head = malloc(sizeof *head);
    if (w == NULL || head == NULL) {
        free(w);
        free(head);
        return cli_error(verb, CLI_FAILED, "out of memory");
    }
    *w = (struct work){.verb = verb, .ask = ask, .head = head, .next_at = ask->at};
    client_init(&w->client, CLIENT_TIMEOUT_MS);
    buf_init(&w->batch, 4 * BATCH_BYTES);
    int status = run(w);
    buf_close(&w->batch);
    client_close(&w->client);
    free(w->head_bytes);
    free(head);
    free(w);
    return status;
}
