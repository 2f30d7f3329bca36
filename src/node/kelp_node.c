/* SPDX-License-Identifier: Apache-2.0 */
/* kelp_node.c - the public API: a node on a loop and threads of its own. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/fault.h"
#include "node/room.h"

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
    inbox_put(node->inbox, INBOX_PROPOSE, command, token, done, ctx);
}

void kelp_read(struct kelp_node *node, struct kelp_bytes question, uint64_t token,
               kelp_done_fn done, void *ctx)
{
    inbox_put(node->inbox, INBOX_READ, question, token, done, ctx);
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

/* The length of the whole reply in *len. */
static enum kelp_error wait_for(struct kelp_node *node, enum inbox_kind kind,
                                struct kelp_bytes bytes, uint8_t *out, size_t out_size,
                                struct kelp_result *result, size_t *len)
{
    not_called_back(node, "a call that waits was made from a callback of the same node, which it "
                          "waits for: use kelp_propose or kelp_read there");
    struct waiter w = {.out = out, .out_size = out_size, .result = result};
    *result = (struct kelp_result){.outcome = KELP_REFUSED, .reason = KELP_R_BUSY};
    *len = 0;
    if (uv_mutex_init(&w.lock) != 0) return KELP_E_BUSY;
    if (uv_cond_init(&w.wake) != 0) {
        uv_mutex_destroy(&w.lock);
        return KELP_E_BUSY;
    }
    inbox_put(node->inbox, kind, bytes, 1, on_ended, &w);
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
    size_t len;
    return wait_for(node, INBOX_PROPOSE, command, out, out_size, result, &len);
}

enum kelp_error kelp_ask(struct kelp_node *node, struct kelp_bytes question, uint8_t *out,
                         size_t out_size, struct kelp_result *result)
{
    size_t len;
    return wait_for(node, INBOX_READ, question, out, out_size, result, &len);
}

size_t kelp_node_status(struct kelp_node *node, char *out, size_t size)
{
    struct kelp_result result;
    size_t len;
    if (size > 0) out[0] = '\0';
    enum kelp_error error = wait_for(node, INBOX_STATUS, bytes_of(NULL, 0), (uint8_t *)out,
                                     size > 0 ? size - 1 : 0, &result, &len);
    if (size > 0) out[result.bytes.len] = '\0';
    return error == KELP_OK ? len : 0;
}
