/* SPDX-License-Identifier: Apache-2.0 */
/* inbox.c - requests from any thread to the loop, and their outcomes back.
 *
 *   any thread: copy, list, uv_async --> loop: a line for writes, one for reads --> done(result)
 *
 * What is asked from within done is on the loop already and goes to the driver at once: a user who
 * answers each outcome with the next request pays for no system call and no second copy.
 *
 * Several lines, the reads of each level in one, because a line answers in order: a read must see
 * what was answered before it was asked, and no more is promised between threads. A barrier stands
 * among the writes, since it is about those before it. A read that waits for an index has its own
 * line for as long. Who awaits a leader stands in a list here, which
 * is looked at after each of the driver's runs. Bytes that wait are bounded; what is above is
 * refused, on the loop like everything. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/assert.h"
#include "base/unset.h"
#include "node/room.h"
#include "wire/restore.h"

#define STATUS_BYTES (32u * 1024)
#define LEVELS       (KELP_READ_LOG + 1u)

struct letter {
    STAILQ_ENTRY(letter) link;
    TAILQ_ENTRY(letter) open_link; /* TRANSFER, AWAIT: while it is open */
    struct inbox_request asked;    /* without its bytes */
    bool refused;                  /* there was no room for its bytes */
    kelp_ns deadline;              /* CHANGE, AWAIT */
    uint8_t *bytes;                /* until the driver has them */
    size_t len;
    struct driver_line
        *line; /* its own, FOUND, or a read that names an index; NULL: a shared one */
};

STAILQ_HEAD(letter_list, letter);
TAILQ_HEAD(open_list, letter);

struct inbox {
    struct node *node;
    struct driver_line *writes, *changes, *transfers;
    struct driver_line *reads[LEVELS];  /* by level, so that none waits for another */
    struct open_list handing, awaiting; /* the loop's, like what follows */
    uv_async_t async;
    bool stopping;
    uv_mutex_t lock;
    struct letter_list letters; /* below the lock, like what follows */
    uint64_t bytes, bytes_max;
    bool stop;
    _Atomic uintptr_t
        hearing; /* the thread that is in a done, 0: none; only it finds itself here */
};

/* ---- on the loop ----------------------------------------------------------------------------- */

static void letter_free(struct letter *l)
{
    free(l->bytes);
    free(l);
}

static uintptr_t this_thread(void)
{
    return (uintptr_t)pthread_self(); /* not 0: glibc's is an address */
}

static void letter_answer(struct inbox *i, struct letter *l, const struct kelp_result *result)
{
    atomic_store_explicit(&i->hearing, this_thread(), memory_order_relaxed);
    l->asked.done(l->asked.ctx, l->asked.token, result);
    atomic_store_explicit(&i->hearing, 0, memory_order_relaxed);
    letter_free(l);
}

static void on_outcome(void *ctx, uint64_t token, const struct driver_outcome *outcome)
{
    struct letter *l = (struct letter *)(uintptr_t)token; /* unique while it is open */
    struct inbox *i = ctx;
    struct kelp_result result = {
        .outcome = outcome->outcome,
        .reason = outcome->reason,
        .pos = outcome->pos,
        .leader = outcome->leader,
        .ages = outcome->ages,
        .bytes = outcome->result,
        .member = outcome->member,
    };
    if (l->asked.kind == INBOX_TRANSFER) TAILQ_REMOVE(&i->handing, l, open_link);
    if (l->line != NULL) driver_line_close(i->node->driver, l->line);
    letter_answer(i, l, &result);
}

/* True: the driver has its bytes, and the outcome comes through the line. */
static bool propose(struct inbox *i, struct letter *l, struct kelp_bytes command,
                    enum kelp_reason *reason)
{
    struct node *n = i->node;
    *reason = KELP_R_NOTHING_NEW; /* an empty command says nothing */
    uint8_t *room = command.len > 0 ? driver_reserve(n->driver, command.len, reason) : NULL;
    if (room == NULL) return false;
    kelp_ns now = node_now(n), deadline = add_sat(now, n->options.request_timeout);
    memcpy(room, command.data, command.len);
    driver_write(n->driver, now, i->writes, (uint64_t)(uintptr_t)l, command.len, bytes_of(NULL, 0),
                 deadline, n->options.forward);
    return true;
}

static bool once(struct inbox *i, struct letter *l, struct kelp_bytes command,
                 enum kelp_reason *reason)
{
    struct node *n = i->node;
    kelp_ns now = node_now(n), deadline = add_sat(now, n->options.request_timeout);
    const struct driver_once *asked = &l->asked.once;
    bool empty = command.len == 0 && asked->kind == DRIVER_ONCE_COMMAND;
    bool nobody = asked->kind == DRIVER_ONCE_END && asked->once.session == 0; /* keys end by age */
    *reason = empty ? KELP_R_NOTHING_NEW : nobody ? KELP_R_UNKNOWN_SESSION : KELP_R_BUSY;
    return !empty && !nobody &&
           driver_once(n->driver, now, i->writes, (uint64_t)(uintptr_t)l, &l->asked.once, command,
                       bytes_of(NULL, 0), deadline, n->options.forward);
}

static bool restore(struct inbox *i, struct letter *l, struct kelp_bytes bytes,
                    enum kelp_reason *reason)
{
    struct node *n = i->node;
    struct kelp_restore_step step;
    kelp_ns now = node_now(n), deadline = add_sat(now, n->options.request_timeout);
    *reason = KELP_R_NOT_TAKEN;
    if (wire_restore_decode(bytes, &step, NULL) != KELP_OK) return false;
    *reason = KELP_R_BUSY;
    return driver_restore(n->driver, now, i->writes, (uint64_t)(uintptr_t)l, &step,
                          bytes_of(NULL, 0), deadline, n->options.forward);
}

static void tell_staged(struct inbox *i, struct letter *l)
{
    struct kelp_restore_status status;
    driver_staged(i->node->driver, &status);
    struct kelp_result result = {.outcome = KELP_DONE, .bytes = bytes_of(&status, sizeof status)};
    letter_answer(i, l, &result);
}

/* The shared line of a read; NULL: there is no such level. A barrier stands among the writes, or it
 * could be in the log before one that was proposed before it. */
static struct driver_line *line_of(const struct inbox *i, const struct letter *l)
{
    unsigned level = (unsigned)l->asked.how.level; /* a user's number */
    if (l->asked.kind == INBOX_BARRIER) return i->writes;
    return level < LEVELS ? i->reads[level] : NULL;
}

static bool ask(struct inbox *i, struct letter *l, struct kelp_bytes question,
                enum kelp_reason *reason)
{
    struct node *n = i->node;
    kelp_ns now = node_now(n), deadline = add_sat(now, n->options.request_timeout);
    *reason = KELP_R_BUSY;
    struct driver_line *line = line_of(i, l);
    if (line == NULL) {
        *reason = KELP_R_BAD_LEVEL;
        return false;
    }
    if (l->asked.how.at_least != 0) { /* for as long as that takes */
        l->line = driver_line_open(n->driver, on_outcome, i);
        if (l->line == NULL) return false;
        line = l->line;
    }
    struct driver_question q = {.bytes = question,
                                .bare = l->asked.kind != INBOX_READ,
                                .how = l->asked.how,
                                .deadline = deadline,
                                .forward = n->options.forward && l->asked.kind != INBOX_VERIFY};
    bool asked = driver_read(n->driver, now, line, (uint64_t)(uintptr_t)l, &q);
    if (!asked && l->line != NULL) driver_line_close(n->driver, l->line);
    return asked;
}

static bool plan(struct inbox *i, struct letter *l, struct kelp_bytes bytes,
                 enum kelp_reason *reason)
{
    struct node *n = i->node;
    struct wire_change change;
    kelp_ns now = node_now(n), deadline = add_sat(now, n->options.request_timeout);
    *reason = KELP_R_BAD_CHANGE;
    if (wire_change_decode(bytes, &change, NULL) != KELP_OK) return false;
    *reason = KELP_R_BUSY;
    return driver_plan(n->driver, now, i->reads[l->asked.how.level], (uint64_t)(uintptr_t)l,
                       &change, bytes_of(NULL, 0), deadline, n->options.forward);
}

static bool drain(struct inbox *i, struct letter *l, enum driver_drain_wish wish,
                  enum kelp_reason *reason)
{
    struct node *n = i->node;
    kelp_ns now = node_now(n), deadline = add_sat(now, n->options.request_timeout);
    *reason = KELP_R_BUSY;
    return driver_drain(n->driver, now, i->writes, (uint64_t)(uintptr_t)l, wish, deadline);
}

static void tell_status(struct inbox *i, struct letter *l)
{
    struct kelp_result result = {.outcome = KELP_REFUSED, .reason = KELP_R_BUSY};
    char *text = malloc(STATUS_BYTES);
    if (text != NULL) {
        size_t len = node_status_lines(i->node, text, STATUS_BYTES);
        result.outcome = KELP_DONE;
        result.reason = KELP_R_NONE;
        result.bytes = bytes_of(text, (size_t)min_u64(len, STATUS_BYTES - 1));
    }
    letter_answer(i, l, &result);
    free(text);
}

static void take_snapshot(struct inbox *i, struct letter *l)
{
    struct kelp_result result = {.outcome = KELP_REFUSED, .reason = KELP_R_BUSY};
    enum kelp_error error = node_snapshot_now(i->node, &result.pos);
    if (error == KELP_OK || error == KELP_E_NOT_FOUND) {
        result.outcome = KELP_DONE;
        result.reason = error == KELP_OK ? KELP_R_NONE : KELP_R_NOTHING_NEW;
    }
    letter_answer(i, l, &result);
}

static void rejoin(struct inbox *i, struct letter *l, struct kelp_bytes bytes)
{
    struct kelp_result result = {.outcome = KELP_DONE};
    result.reason = node_rejoin(i->node, l->asked.target, bytes.len == 1 && bytes.data[0] != 0);
    if (result.reason != KELP_R_NONE) result.outcome = KELP_REFUSED;
    letter_answer(i, l, &result);
}

/* ---- members and leadership ------------------------------------------------------------------ */

static bool change(struct inbox *i, struct letter *l, struct kelp_bytes bytes,
                   enum kelp_reason *reason)
{
    struct node *n = i->node;
    UNSET struct wire_change what; /* decoded whole */
    *reason = KELP_R_BAD_CHANGE;
    if (wire_change_decode(bytes, &what, NULL) != KELP_OK) return false;
    *reason = KELP_R_BUSY;
    return driver_change(n->driver, node_now(n), i->changes, (uint64_t)(uintptr_t)l, &what,
                         bytes_of(NULL, 0), l->deadline, n->options.forward);
}

static bool transfer(struct inbox *i, struct letter *l, enum kelp_reason *reason)
{
    struct node *n = i->node;
    kelp_ns now = node_now(n), deadline = add_sat(now, n->options.request_timeout);
    *reason = KELP_R_BUSY;
    bool taken = driver_transfer(n->driver, now, i->transfers, (uint64_t)(uintptr_t)l,
                                 l->asked.target, bytes_of(NULL, 0), deadline, n->options.forward);
    if (taken) TAILQ_INSERT_TAIL(&i->handing, l, open_link);
    return taken;
}

static void cancel(struct inbox *i, uint64_t token)
{
    struct node *n = i->node;
    const struct letter *l;
    TAILQ_FOREACH(l, &i->handing, open_link)
    {
        if (token != 0 && l->asked.token == token)
            driver_transfer_cancel(n->driver, node_now(n), i->transfers, (uint64_t)(uintptr_t)l);
    }
}

static bool is_so(const struct letter *l, const struct kelp_leadership *now)
{
    switch (l->asked.what) {
    case KELP_AWAIT_LEADER: return now->leader != 0;
    case KELP_AWAIT_READY: return now->ready;
    case KELP_AWAIT_NEWS: return now->sequence > l->asked.sequence;
    }
    return false;
}

/* A removed node never hears of a leader again. */
static bool is_vain(const struct inbox *i, const struct letter *l, kelp_id leader)
{
    return leader == 0 && l->asked.what != KELP_AWAIT_NEWS && node_removed(i->node);
}

/* Who awaits something is answered if it is so, or if the time is over. Callbacks ask anew through
 * the list, so nobody comes behind whom we look at. */
static kelp_ns on_turned(void *ctx, kelp_ns now)
{
    struct inbox *i = ctx;
    struct kelp_leadership lead;
    kelp_ns due = KELP_NEVER;
    struct letter *next;
    bool over = i->stopping || node_leaves(i->node);
    driver_leadership(i->node->driver, &lead);
    for (struct letter *l = TAILQ_FIRST(&i->awaiting); l != NULL; l = next) {
        next = TAILQ_NEXT(l, open_link);
        bool so = is_so(l, &lead), vain = is_vain(i, l, lead.leader);
        if (!so && !over && !vain && l->deadline > now) {
            due = min_u64(due, l->deadline);
            continue;
        }
        struct kelp_result result = {.outcome = KELP_DONE, .leader = lead.leader};
        result.pos.term = lead.term;
        if (!so) {
            result.outcome = KELP_REFUSED;
            result.reason = lead.leader == 0 ? KELP_R_NO_LEADER : KELP_R_TIMEOUT;
            if (vain) result.reason = KELP_R_REMOVED;
            if (over) result.reason = KELP_R_SHUTDOWN;
        }
        TAILQ_REMOVE(&i->awaiting, l, open_link);
        letter_answer(i, l, &result);
        due = now; /* the driver may have been given something */
    }
    return due;
}

/* The one byte: is a cluster that is there already fine? It has a line of its own: nobody who asks
 * before waits with it. */
static bool found(struct inbox *i, struct letter *l, enum kelp_reason *reason, const char **why)
{
    struct node *n = i->node;
    kelp_ns now = node_now(n), deadline = add_sat(now, n->options.request_timeout);
    bool if_empty = l->len == 1 && l->bytes != NULL && l->bytes[0] != 0;
    *reason = KELP_R_BUSY;
    l->line = driver_line_open(n->driver, on_outcome, i);
    if (l->line == NULL) return false;
    if (driver_found(n->driver, now, l->line, (uint64_t)(uintptr_t)l, if_empty, deadline, why))
        return true;
    driver_line_close(n->driver, l->line);
    l->line = NULL;
    if (*why != NULL) *reason = KELP_R_HAS_CLUSTER;
    return false;
}

/* ---- letters --------------------------------------------------------------------------------- */

/* Nothing new for the driver, which answers what it has and then ends. */
static bool is_over(const struct inbox *i, const struct letter *l)
{
    switch (l->asked.kind) {
    case INBOX_STATUS:
    case INBOX_CANCEL:
    case INBOX_AWAIT:
    case INBOX_FOUND:
    case INBOX_REJOIN:
    case INBOX_STAGED:
    case INBOX_SNAPSHOT: return i->stopping;
    case INBOX_PROPOSE:
    case INBOX_RESTORE:
    case INBOX_ONCE:
    case INBOX_READ:
    case INBOX_CHANGE:
    case INBOX_TRANSFER:
    case INBOX_VERIFY:
    case INBOX_BARRIER:
    case INBOX_PLAN:
    case INBOX_DRAIN:
    case INBOX_UNDRAIN: return i->stopping || node_leaves(i->node);
    }
    UNREACHABLE();
}

static void letter_open(struct inbox *i, struct letter *l)
{
    struct kelp_bytes bytes = bytes_of(l->bytes, l->len);
    bool taken = false, over = is_over(i, l);
    enum kelp_reason reason = over ? KELP_R_SHUTDOWN : KELP_R_BUSY;
    const char *why = NULL;
    if (!over && !l->refused) {
        switch (l->asked.kind) {
        case INBOX_PROPOSE: taken = propose(i, l, bytes, &reason); break;
        case INBOX_ONCE: taken = once(i, l, bytes, &reason); break;
        case INBOX_RESTORE: taken = restore(i, l, bytes, &reason); break;
        case INBOX_STAGED: tell_staged(i, l); return;
        case INBOX_VERIFY:
        case INBOX_BARRIER:
        case INBOX_READ: taken = ask(i, l, bytes, &reason); break;
        case INBOX_PLAN: taken = plan(i, l, bytes, &reason); break;
        case INBOX_DRAIN: taken = drain(i, l, DRIVER_DRAIN, &reason); break;
        case INBOX_UNDRAIN: taken = drain(i, l, DRIVER_UNDRAIN, &reason); break;
        case INBOX_STATUS: tell_status(i, l); return;
        case INBOX_CHANGE: taken = change(i, l, bytes, &reason); break;
        case INBOX_TRANSFER: taken = transfer(i, l, &reason); break;
        case INBOX_CANCEL: cancel(i, l->asked.token); break;
        case INBOX_AWAIT: TAILQ_INSERT_TAIL(&i->awaiting, l, open_link); return;
        case INBOX_FOUND: taken = found(i, l, &reason, &why); break;
        case INBOX_SNAPSHOT: take_snapshot(i, l); return;
        case INBOX_REJOIN: rejoin(i, l, bytes); return;
        }
    }
    if (l->asked.kind == INBOX_CANCEL) { /* what it ended is answered, it is not */
        letter_free(l);
        return;
    }
    if (taken) {
        free(l->bytes); /* copied */
        l->bytes = NULL;
        return;
    }
    struct kelp_result result = {.outcome = KELP_REFUSED, .reason = reason};
    if (why != NULL) result.bytes = bytes_of(why, strlen(why));
    letter_answer(i, l, &result);
}

static void letters_take(struct inbox *i, struct letter_list *out, bool *stop)
{
    STAILQ_INIT(out);
    uv_mutex_lock(&i->lock);
    STAILQ_CONCAT(out, &i->letters);
    i->bytes = 0;
    *stop = i->stop;
    uv_mutex_unlock(&i->lock);
}

static void letters_open(struct inbox *i, struct letter_list *letters)
{
    struct letter *l;
    while ((l = STAILQ_FIRST(letters)) != NULL) {
        STAILQ_REMOVE_HEAD(letters, link);
        letter_open(i, l);
    }
}

static void on_node_stopped(void *ctx)
{
    struct inbox *i = ctx;
    uv_close((uv_handle_t *)&i->async, NULL); /* the last handle: the loop ends */
}

static void on_async(uv_async_t *async)
{
    struct inbox *i = async->data;
    struct letter_list letters;
    bool stop;
    letters_take(i, &letters, &stop);
    letters_open(i, &letters);
    node_poke(i->node);
    if (!stop || i->stopping) return;
    i->stopping = true;
    (void)on_turned(i, node_now(i->node)); /* nobody awaits anything any more */
    node_stop(i->node, on_node_stopped, i);
}

/* ---- from any thread ------------------------------------------------------------------------- */

/* From within done, the driver takes it at once. False: not there, or what is to be said about it
 * is said later, as everywhere. */
static bool put_here(struct inbox *i, const struct inbox_request *request)
{
    uintptr_t hearing = atomic_load_explicit(&i->hearing, memory_order_relaxed);
    bool write = request->kind == INBOX_PROPOSE;
    if (hearing != this_thread() || i->stopping || node_leaves(i->node)) return false;
    if (!write && request->kind != INBOX_READ) return false;
    struct letter *l = calloc(1, sizeof *l);
    if (l == NULL) return false;
    *l = (struct letter){.asked = *request};
    enum kelp_reason reason;
    bool taken =
        write ? propose(i, l, request->bytes, &reason) : ask(i, l, request->bytes, &reason);
    if (!taken) letter_free(l);
    return taken;
}

void inbox_put(struct inbox *i, const struct inbox_request *request)
{
    if (put_here(i, request)) return;
    struct kelp_bytes bytes = request->bytes;
    struct letter *l = calloc(1, sizeof *l);
    /* The one answer that does not come from the loop: nothing is left to carry it there. */
    if (l == NULL) {
        struct kelp_result result = {.outcome = KELP_REFUSED, .reason = KELP_R_BUSY};
        if (request->kind != INBOX_CANCEL) request->done(request->ctx, request->token, &result);
        return;
    }
    *l = (struct letter){.asked = *request};
    if (request->timeout != 0) l->deadline = add_sat(node_now(i->node), request->timeout);
    l->bytes = bytes.len > 0 ? malloc(bytes.len) : NULL;
    if (l->bytes != NULL) memcpy(l->bytes, bytes.data, bytes.len);
    l->len = bytes.len;
    uv_mutex_lock(&i->lock);
    l->refused = (bytes.len > 0 && l->bytes == NULL) || bytes.len > i->bytes_max - i->bytes;
    if (l->refused) {
        free(l->bytes); /* what is over the bound does not wait with its bytes */
        l->bytes = NULL;
    } else {
        i->bytes += bytes.len;
    }
    STAILQ_INSERT_TAIL(&i->letters, l, link);
    uv_mutex_unlock(&i->lock);
    (void)uv_async_send(&i->async); /* fails only on a closed handle: inbox_free answers then */
}

void inbox_stop(struct inbox *i)
{
    uv_mutex_lock(&i->lock);
    i->stop = true;
    uv_mutex_unlock(&i->lock);
    (void)uv_async_send(&i->async);
}

struct inbox *inbox_new(struct node *n, uint64_t bytes_max)
{
    struct inbox *i = calloc(1, sizeof *i);
    if (i == NULL) return NULL;
    i->node = n;
    i->bytes_max = bytes_max;
    STAILQ_INIT(&i->letters);
    TAILQ_INIT(&i->handing);
    TAILQ_INIT(&i->awaiting);
    i->writes = driver_line_open(n->driver, on_outcome, i);
    i->changes = driver_line_open(n->driver, on_outcome, i);
    i->transfers = driver_line_open(n->driver, on_outcome, i);
    bool lines = i->writes != NULL && i->changes != NULL && i->transfers != NULL;
    for (size_t level = 0; level < LEVELS; level++) {
        i->reads[level] = driver_line_open(n->driver, on_outcome, i);
        lines = lines && i->reads[level] != NULL;
    }
    if (!lines || uv_mutex_init(&i->lock) != 0) {
        free(i); /* the lines go with the driver */
        return NULL;
    }
    if (uv_async_init(n->loop, &i->async, on_async) != 0) {
        uv_mutex_destroy(&i->lock);
        free(i);
        return NULL;
    }
    i->async.data = i;
    n->turned = on_turned;
    n->turned_ctx = i;
    return i;
}

bool inbox_called_back(const struct inbox *i)
{
    uintptr_t hearing = atomic_load_explicit(&i->hearing, memory_order_relaxed);
    return hearing == this_thread() || saver_on_thread(i->node->saver);
}

void inbox_free(struct inbox *i)
{
    if (i == NULL) return;
    struct letter_list letters;
    bool stop;
    i->stopping = true;
    (void)on_turned(i, node_now(i->node)); /* a loop that ended without being asked to */
    letters_take(i, &letters, &stop);      /* put while the loop ended */
    while (!STAILQ_EMPTY(&letters)) {
        letters_open(i, &letters);
        letters_take(i, &letters, &stop); /* by who heard of it just now */
    }
    uv_mutex_destroy(&i->lock);
    free(i);
}
