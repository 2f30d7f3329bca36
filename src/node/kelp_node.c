/* SPDX-License-Identifier: Apache-2.0 */
/* kelp_node.c - the public API: a node on a loop and threads of its own. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/unset.h"
#include "kelp/restore.h"
#include "kelp/session.h"
#include "node/room.h"
#include "wire/change.h"
#include "wire/plan.h"
#include "wire/restore.h"

struct kelp_node {
    uv_loop_t loop;
    struct node *node;
    struct inbox *inbox;
};

/* The loop has run dry: everything is closed, on whatever thread it happened. */
static void parts_free(struct kelp_node *k)
{
    inbox_free(k->inbox);
    node_free(k->node);
    int left = uv_loop_close(&k->loop);
    ASSERT(left == 0);
    free(k);
}

/* A callback that waits for its own node would wait for ever: it is told so at once. */
static void not_called_back(const struct kelp_node *k, const char *words)
{
    if (inbox_called_back(k->inbox)) assert_failed(words, __FILE__, __LINE__);
}

/* ---- opening and closing --------------------------------------------------------------------- */

/* A loop that ends on the caller's thread blocks SIGPIPE there: the caller gets its signals back as
 * they were, and hears of no broken pipe that was not its own. */
static void run_dry(uv_loop_t *loop)
{
    const struct timespec at_once = {.tv_nsec = 0};
    sigset_t pipe, before, pending;
    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    (void)sigpending(&pending);
    (void)pthread_sigmask(SIG_BLOCK, &pipe, &before);
    (void)uv_run(loop, UV_RUN_DEFAULT); /* what is closing ends here */
    if (sigismember(&pending, SIGPIPE) == 0) (void)sigtimedwait(&pipe, NULL, &at_once);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void stop_here(void *ctx)
{
    (void)ctx; /* the loop ends by itself */
}

static enum kelp_error threads_begin(struct kelp_node *k, struct kelp_fault *fault)
{
    k->inbox = inbox_new(k->node, k->node->options.forward_bytes_max);
    if (k->inbox == NULL) {
        node_stop(k->node, stop_here, NULL);
        return fault_set(fault, KELP_E_NO_MEMORY, "node", "out of memory");
    }
    enum kelp_error error = node_loop_start(k->node, fault);
    if (error != KELP_OK) inbox_stop(k->inbox);
    return error;
}

enum kelp_error kelp_node_open(const struct kelp_node_options *options,
                               const struct kelp_fsm_ops *ops, void *fsm, struct kelp_node **out,
                               struct kelp_fault *fault)
{
    struct kelp_fault unheard = {.error = KELP_OK};
    if (fault == NULL) fault = &unheard;
    struct kelp_node *k = calloc(1, sizeof *k);
    if (k == NULL || uv_loop_init(&k->loop) != 0) {
        if (ops->close != NULL) ops->close(fsm);
        free(k);
        return fault_set(fault, KELP_E_NO_MEMORY, "node", "no memory for a loop");
    }
    enum kelp_error error = node_open(&k->loop, options, ops, fsm, &k->node, fault);
    if (error == KELP_OK) error = threads_begin(k, fault);
    if (error == KELP_OK) {
        *out = k;
        return KELP_OK;
    }
    run_dry(&k->loop);
    parts_free(k);
    return error;
}

void kelp_node_close(struct kelp_node *node)
{
    if (node == NULL) return;
    not_called_back(node, "kelp_node_close was called from a callback of the same node, which it "
                          "waits for: call it from a thread of your own");
    inbox_stop(node->inbox);
    node_loop_join(node->node);
    parts_free(node);
}

void kelp_propose(struct kelp_node *node, struct kelp_bytes command, uint64_t token,
                  kelp_done_fn done, void *ctx)
{
    struct inbox_request request = {
        .kind = INBOX_PROPOSE, .bytes = command, .token = token, .done = done, .ctx = ctx};
    inbox_put(node->inbox, &request);
}

void kelp_read(struct kelp_node *node, struct kelp_bytes question, uint64_t token,
               kelp_done_fn done, void *ctx)
{
    struct inbox_request request = {
        .kind = INBOX_READ, .bytes = question, .token = token, .done = done, .ctx = ctx};
    inbox_put(node->inbox, &request);
}

void kelp_read_at(struct kelp_node *node, struct kelp_bytes question,
                  const struct kelp_read_how *how, uint64_t token, kelp_done_fn done, void *ctx)
{
    struct inbox_request request = {.kind = INBOX_READ,
                                    .bytes = question,
                                    .how = *how,
                                    .token = token,
                                    .done = done,
                                    .ctx = ctx};
    inbox_put(node->inbox, &request);
}

void kelp_verify_leader(struct kelp_node *node, uint64_t token, kelp_done_fn done, void *ctx)
{
    struct inbox_request request = {.kind = INBOX_VERIFY, .token = token, .done = done, .ctx = ctx};
    inbox_put(node->inbox, &request);
}

void kelp_barrier(struct kelp_node *node, uint64_t token, kelp_done_fn done, void *ctx)
{
    struct inbox_request request = {.kind = INBOX_BARRIER,
                                    .how = {.level = KELP_READ_LOG},
                                    .token = token,
                                    .done = done,
                                    .ctx = ctx};
    inbox_put(node->inbox, &request);
}

/* ---- exactly once ---------------------------------------------------------------------------- */

#define KEY_SEED 0x6b656c702d6b6579u /* "kelp-key": other halves for the same bytes */

struct kelp_once kelp_once_key(struct kelp_bytes key)
{
    return (struct kelp_once){.sequence = hash_bytes(key, 0),
                              .acknowledged = hash_bytes(key, KEY_SEED)};
}

void kelp_session_open(struct kelp_node *node, uint64_t token, kelp_done_fn done, void *ctx)
{
    struct inbox_request request = {.kind = INBOX_ONCE,
                                    .once = {.kind = DRIVER_ONCE_SESSION},
                                    .token = token,
                                    .done = done,
                                    .ctx = ctx};
    inbox_put(node->inbox, &request);
}

void kelp_session_end(struct kelp_node *node, uint64_t session, uint64_t token, kelp_done_fn done,
                      void *ctx)
{
    struct inbox_request request = {.kind = INBOX_ONCE,
                                    .once = {.kind = DRIVER_ONCE_END, .once = {.session = session}},
                                    .token = token,
                                    .done = done,
                                    .ctx = ctx};
    inbox_put(node->inbox, &request);
}

void kelp_propose_once(struct kelp_node *node, struct kelp_bytes command,
                       const struct kelp_once *once, uint64_t token, kelp_done_fn done, void *ctx)
{
    struct inbox_request request = {.kind = INBOX_ONCE,
                                    .once = {.kind = DRIVER_ONCE_COMMAND, .once = *once},
                                    .bytes = command,
                                    .token = token,
                                    .done = done,
                                    .ctx = ctx};
    inbox_put(node->inbox, &request);
}

/* ---- a restore through the log --------------------------------------------------------------- */

/* Encoded, owned; NULL: no memory, or it has no form. */
static uint8_t *step_bytes(const struct kelp_restore_step *step, struct kelp_bytes *out)
{
    size_t size = wire_restore_size(step);
    uint8_t *bytes = size > 0 ? malloc(size) : NULL;
    if (bytes != NULL) wire_restore_encode(step, bytes);
    *out = bytes_of(bytes, bytes != NULL ? size : 0);
    return bytes;
}

void kelp_restore(struct kelp_node *node, const struct kelp_restore_step *step, uint64_t token,
                  kelp_done_fn done, void *ctx)
{
    struct inbox_request request = {
        .kind = INBOX_RESTORE, .token = token, .done = done, .ctx = ctx};
    uint8_t *bytes = step_bytes(step, &request.bytes);
    inbox_put(node->inbox, &request); /* copied */
    free(bytes);
}

/* ---- members and leadership ------------------------------------------------------------------ */

/* As bytes; 0: it has no form that could be asked for. */
static size_t change_bytes(const struct kelp_member_change *change, uint8_t *out)
{
    UNSET struct wire_change c; /* the first count edits are set */
    if (change->count > KELP_MEMBERS_MAX) return 0;
    c.flags = change->flags;
    c.count = change->count;
    c.if_index = change->if_index;
    for (uint32_t i = 0; i < c.count; i++) {
        const struct kelp_member_edit *edit = &change->edits[i];
        if ((unsigned)edit->verb > UINT8_MAX || (unsigned)edit->role > UINT8_MAX) return 0;
        c.edits[i] = (struct wire_edit){.id = edit->id,
                                        .verb = (uint8_t)edit->verb,
                                        .role = (uint8_t)edit->role,
                                        .priority = edit->priority};
        size_t len = edit->address != NULL ? strlen(edit->address) : 0;
        if (len >= WIRE_ADDRESS_MAX) return 0;
        if (len > 0) memcpy(c.edits[i].address.text, edit->address, len);
    }
    return wire_change_sound(&c) ? wire_change_encode(&c, out) : 0;
}

static struct inbox_request change_request(const struct kelp_node *node,
                                           const struct kelp_member_change *change, uint8_t *room)
{
    kelp_ns standard = node->node->options.request_timeout;
    return (struct inbox_request){.kind = INBOX_CHANGE,
                                  .bytes = bytes_of(room, change_bytes(change, room)),
                                  .timeout = change->timeout != 0 ? change->timeout : standard};
}

void kelp_node_change(struct kelp_node *node, const struct kelp_member_change *change,
                      uint64_t token, kelp_done_fn done, void *ctx)
{
    UNSET uint8_t room[WIRE_CHANGE_BYTES_MAX]; /* as much as is encoded */
    struct inbox_request request = change_request(node, change, room);
    request.token = token;
    request.done = done;
    request.ctx = ctx;
    inbox_put(node->inbox, &request);
}

void kelp_transfer(struct kelp_node *node, kelp_id target, uint64_t token, kelp_done_fn done,
                   void *ctx)
{
    struct inbox_request request = {
        .kind = INBOX_TRANSFER, .token = token, .done = done, .ctx = ctx, .target = target};
    inbox_put(node->inbox, &request);
}

void kelp_transfer_cancel(struct kelp_node *node, uint64_t token)
{
    struct inbox_request request = {.kind = INBOX_CANCEL, .token = token};
    inbox_put(node->inbox, &request);
}

void kelp_leadership(struct kelp_node *node, struct kelp_leadership *out)
{
    lead_now(node->node, out);
}

void kelp_await(struct kelp_node *node, enum kelp_await what, uint64_t sequence, kelp_ns timeout,
                uint64_t token, kelp_done_fn done, void *ctx)
{
    struct inbox_request request = {.kind = INBOX_AWAIT,
                                    .token = token,
                                    .done = done,
                                    .ctx = ctx,
                                    .timeout = timeout,
                                    .what = what,
                                    .sequence = sequence};
    inbox_put(node->inbox, &request);
}

/* ---- calls that wait ------------------------------------------------------------------------- */

struct waiter {
    uv_mutex_t lock;
    uv_cond_t wake;
    bool ended;
    uint8_t *out;
    size_t out_size, len; /* len: of the whole reply */
    struct kelp_result *result;
};

static void on_ended(void *ctx, uint64_t token, const struct kelp_result *result)
{
    struct waiter *w = ctx;
    (void)token;
    uv_mutex_lock(&w->lock);
    *w->result = *result;
    w->len = result->bytes.len;
    size_t len = (size_t)min_u64(w->len, w->out_size);
    if (len > 0) memcpy(w->out, result->bytes.data, len);
    w->result->bytes = bytes_of(w->out, len);
    w->ended = true;
    uv_cond_signal(&w->wake);
    uv_mutex_unlock(&w->lock);
}

/* Its outcome; the length of the whole reply in *len, as much of it as fits in out. */
static enum kelp_error wait_for(struct kelp_node *node, struct inbox_request request, uint8_t *out,
                                size_t out_size, struct kelp_result *result, size_t *len)
{
    not_called_back(node, "a call that waits was made from a callback of the same node, which it "
                          "waits for: use the one with done there");
    struct waiter w = {.out = out, .out_size = out_size, .result = result};
    *result = (struct kelp_result){.outcome = KELP_REFUSED, .reason = KELP_R_BUSY};
    *len = 0;
    if (uv_mutex_init(&w.lock) != 0) return KELP_E_BUSY;
    if (uv_cond_init(&w.wake) != 0) {
        uv_mutex_destroy(&w.lock);
        return KELP_E_BUSY;
    }
    request.token = 0; /* the caller has no name for it, and cannot cancel it */
    request.done = on_ended;
    request.ctx = &w;
    inbox_put(node->inbox, &request);
    uv_mutex_lock(&w.lock);
    while (!w.ended)
        uv_cond_wait(&w.wake, &w.lock);
    uv_mutex_unlock(&w.lock);
    uv_cond_destroy(&w.wake);
    uv_mutex_destroy(&w.lock);
    *len = w.len;
    return result->outcome == KELP_DONE ? KELP_OK : KELP_E_BUSY;
}

enum kelp_error kelp_call(struct kelp_node *node, struct kelp_bytes command, uint8_t *out,
                          size_t out_size, struct kelp_result *result)
{
    struct inbox_request request = {.kind = INBOX_PROPOSE, .bytes = command};
    size_t len;
    return wait_for(node, request, out, out_size, result, &len);
}

enum kelp_error kelp_session_open_call(struct kelp_node *node, uint64_t *session,
                                       struct kelp_result *result)
{
    struct inbox_request request = {.kind = INBOX_ONCE, .once = {.kind = DRIVER_ONCE_SESSION}};
    size_t len;
    enum kelp_error error = wait_for(node, request, NULL, 0, result, &len);
    if (error == KELP_OK) *session = result->pos.index;
    return error;
}

enum kelp_error kelp_call_once(struct kelp_node *node, struct kelp_bytes command,
                               const struct kelp_once *once, uint8_t *out, size_t out_size,
                               struct kelp_result *result)
{
    struct inbox_request request = {
        .kind = INBOX_ONCE, .once = {.kind = DRIVER_ONCE_COMMAND, .once = *once}, .bytes = command};
    size_t len;
    return wait_for(node, request, out, out_size, result, &len);
}

enum kelp_error kelp_restore_call(struct kelp_node *node, const struct kelp_restore_step *step,
                                  struct kelp_result *result)
{
    struct inbox_request request = {.kind = INBOX_RESTORE};
    uint8_t *bytes = step_bytes(step, &request.bytes);
    size_t len;
    enum kelp_error error = wait_for(node, request, NULL, 0, result, &len);
    free(bytes);
    return error;
}

enum kelp_error kelp_restore_look(struct kelp_node *node, struct kelp_restore_status *out)
{
    struct inbox_request request = {.kind = INBOX_STAGED};
    struct kelp_result result;
    size_t len;
    *out = (struct kelp_restore_status){.id = 0};
    return wait_for(node, request, (uint8_t *)out, sizeof *out, &result, &len);
}

enum kelp_error kelp_ask(struct kelp_node *node, struct kelp_bytes question, uint8_t *out,
                         size_t out_size, struct kelp_result *result)
{
    struct inbox_request request = {.kind = INBOX_READ, .bytes = question};
    size_t len;
    return wait_for(node, request, out, out_size, result, &len);
}

enum kelp_error kelp_ask_at(struct kelp_node *node, struct kelp_bytes question,
                            const struct kelp_read_how *how, uint8_t *out, size_t out_size,
                            struct kelp_result *result)
{
    struct inbox_request request = {.kind = INBOX_READ, .bytes = question, .how = *how};
    size_t len;
    return wait_for(node, request, out, out_size, result, &len);
}

enum kelp_error kelp_node_change_call(struct kelp_node *node,
                                      const struct kelp_member_change *change,
                                      struct kelp_result *result)
{
    UNSET uint8_t room[WIRE_CHANGE_BYTES_MAX]; /* as much as is encoded */
    size_t len;
    return wait_for(node, change_request(node, change, room), NULL, 0, result, &len);
}

enum kelp_error kelp_transfer_call(struct kelp_node *node, kelp_id target,
                                   struct kelp_result *result)
{
    struct inbox_request request = {.kind = INBOX_TRANSFER, .target = target};
    size_t len;
    return wait_for(node, request, NULL, 0, result, &len);
}

enum kelp_error kelp_await_call(struct kelp_node *node, enum kelp_await what, uint64_t sequence,
                                kelp_ns timeout, struct kelp_leadership *out)
{
    struct inbox_request request = {
        .kind = INBOX_AWAIT, .timeout = timeout, .what = what, .sequence = sequence};
    struct kelp_result result;
    size_t len;
    enum kelp_error error = wait_for(node, request, NULL, 0, &result, &len);
    kelp_leadership(node, out);
    return error;
}

enum kelp_error kelp_node_plan(struct kelp_node *node, const struct kelp_member_change *change,
                               struct kelp_plan *plan, struct kelp_result *result)
{
    UNSET uint8_t room[WIRE_CHANGE_BYTES_MAX]; /* as much as is encoded */
    uint8_t answer[WIRE_PLAN_BYTES_MAX];
    struct inbox_request request = change_request(node, change, room);
    size_t len;
    request.kind = INBOX_PLAN;
    enum kelp_error error = wait_for(node, request, answer, sizeof answer, result, &len);
    bool read = error == KELP_OK && wire_plan_decode(result->bytes, plan, NULL) == KELP_OK;
    result->bytes = bytes_of(NULL, 0);
    if (error == KELP_OK && !read) { /* of a leader that this version does not understand */
        result->outcome = KELP_REFUSED;
        error = KELP_E_BUSY;
    }
    return error;
}

enum kelp_error kelp_node_drain(struct kelp_node *node, struct kelp_result *result)
{
    struct inbox_request request = {.kind = INBOX_DRAIN};
    size_t len;
    return wait_for(node, request, NULL, 0, result, &len);
}

enum kelp_error kelp_node_undrain(struct kelp_node *node, struct kelp_result *result)
{
    struct inbox_request request = {.kind = INBOX_UNDRAIN};
    size_t len;
    return wait_for(node, request, NULL, 0, result, &len);
}

enum kelp_error kelp_node_snapshot(struct kelp_node *node, struct kelp_pos *pos)
{
    struct inbox_request request = {.kind = INBOX_SNAPSHOT};
    struct kelp_result result;
    size_t len;
    enum kelp_error error = wait_for(node, request, NULL, 0, &result, &len);
    *pos = result.pos;
    if (error != KELP_OK) return error;
    return result.reason == KELP_R_NOTHING_NEW ? KELP_E_NOT_FOUND : KELP_OK;
}

enum kelp_error kelp_node_rejoin(struct kelp_node *node, kelp_id from, bool force,
                                 struct kelp_result *result)
{
    uint8_t forced = force ? 1 : 0;
    struct inbox_request request = {
        .kind = INBOX_REJOIN, .target = from, .bytes = bytes_of(&forced, 1)};
    size_t len;
    return wait_for(node, request, NULL, 0, result, &len);
}

size_t kelp_node_status(struct kelp_node *node, char *out, size_t size)
{
    struct inbox_request request = {.kind = INBOX_STATUS};
    struct kelp_result result;
    size_t len;
    if (size > 0) out[0] = '\0';
    enum kelp_error error =
        wait_for(node, request, (uint8_t *)out, size > 0 ? size - 1 : 0, &result, &len);
    if (size > 0) out[result.bytes.len] = '\0';
    return error == KELP_OK ? len : 0;
}

enum kelp_error kelp_node_found(struct kelp_node *node, bool if_empty, struct kelp_fault *fault)
{
    struct kelp_result result;
    uint8_t why[160], flag = if_empty;
    size_t len;
    struct inbox_request request = {.kind = INBOX_FOUND, .bytes = bytes_of(&flag, 1)};
    if (wait_for(node, request, why, sizeof why - 1, &result, &len) == KELP_OK) return KELP_OK;
    why[result.bytes.len] = '\0';
    bool busy = result.reason != KELP_R_HAS_CLUSTER;
    return fault_set(fault, busy ? KELP_E_BUSY : KELP_E_FOREIGN, "found", "%s%s",
                     result.outcome == KELP_UNKNOWN ? "it has begun to: " : "",
                     busy ? kelp_reason_words(result.reason) : (const char *)why);
}
