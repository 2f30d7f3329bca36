/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - connections of Redis clients; see client.h.
 *
 * Bytes are read into one scratch area and parsed there; only the beginning of an unfinished
 * request is kept with the connection. All answers of a wake-up leave in one write. */
#include "server/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/min.h"
#include "proto/resp_reply.h"
#include "server/commands.h"
#include "server/log.h"
#include "server/outcome.h"
#include "server/plan.h"
#include "server/server.h"

#define UNSENT_PAUSE    (1024u * 1024) /* held or unsent answers above which a client is not read */
#define WINDOW_FIRST    32u /* open requests of a client whose answers are not known yet */
#define ANSWER_SMALL    (8u * 1024)
#define ANSWERS_MAX     (8u * 1024 * 1024) /* bytes that a window of answers should not pass */
#define ROOM_KEPT       (64u * 1024)       /* of an idle connection's buffers */
#define INLINE_MAX      (64u * 1024)
#define ENVELOPE_MAX    (128u * 1024)        /* of an entry beside its command */
#define INPUT_HEADS_MAX 24u                  /* bytes of a bulk's head and end */
#define KEPT_MAX        (256u * 1024 * 1024) /* unfinished requests of all clients together */

static struct client *client_of(uv_stream_t *stream)
{
    return stream->data;
}

static struct resp_limits limits_of(const struct server *s)
{
    size_t command = (size_t)s->settings.entry_bytes_max - ENVELOPE_MAX;
    return (struct resp_limits){.args_max = KV_ARGS_MAX,
                                .bulk_bytes_max = command,
                                .inline_bytes_max = INLINE_MAX,
                                .request_bytes_max = command};
}

static size_t unsent(const struct client *c)
{
    return c->out.len + c->sending.len + (c->held.len - c->held_sent);
}

/* The driver makes answers as they are taken. What is held waits for answers of the driver, so it
 * must not keep the driver from making them. */
static void backlog_tell(struct client *c)
{
    struct server *s = c->server;
    size_t takeable = c->out.len + c->sending.len;
    if (c->line == NULL) return;
    if (driver_line_backlog(node_driver(s->node), c->line, takeable)) node_poke(s->node);
}

/* ---- answers ---------------------------------------------------------------------------- */

static void held_release(struct client *c, uint32_t bytes)
{
    if (bytes == 0) return;
    ASSERT(bytes <= c->held.len - c->held_sent);
    (void)buf_append(&c->out, bytes_of(c->held.data + c->held_sent, bytes));
    c->held_sent += bytes;
    if (c->held_sent < c->held.len) return;
    c->held_sent = 0;
    buf_clear(&c->held);
    buf_trim(&c->held, ROOM_KEPT);
}

static void loaded(const struct server *s, struct outcome_place *place)
{
    struct driver_status status;
    driver_status(node_driver(s->node), &status);
    place->loaded_percent = status.replay.percent;
    place->loaded_left_ms = status.replay.left_ms;
}

static void copy_reply(struct buf *reply, struct kelp_bytes result)
{
    uint64_t size;
    struct kelp_bytes piece;
    if (!driver_copy_read(result, &size, &piece)) UNREACHABLE();
    (void)resp_array(reply, 2);
    (void)resp_integer(reply, (int64_t)size);
    (void)resp_bulk(reply, piece);
}

static void answer(struct client *c, const struct driver_outcome *o, const struct open_request *r)
{
    struct server *s = c->server;
    if (o->outcome == KELP_DONE && (r->change || r->restores)) {
        outcome_changed(&c->out, o->pos.index, o->member);
        return;
    }
    if (o->outcome == KELP_DONE) {
        if (r->session == DRIVER_ONCE_SESSION)
            (void)resp_integer(&c->out, (int64_t)o->pos.index);
        else if (r->found || r->session == DRIVER_ONCE_END)
            (void)resp_simple(&c->out, "OK");
        else if (r->transfer)
            outcome_transferred(&c->out, o->leader);
        else if (r->plan)
            plan_reply(&c->out, o->result);
        else if (r->copy)
            copy_reply(&c->out, o->result);
        else
            (void)buf_append(&c->out, o->result);
        return;
    }
    struct outcome_place place = {.slot = r->slot, .member = o->member, .ages = o->ages};
    if ((r->change || r->plan) && o->outcome == KELP_REFUSED) place.index = o->pos.index;
    if (s->settings.on_follower == ON_FOLLOWER_MOVED)
        place.leader = server_client_address(s, o->leader);
    if (o->reason == KELP_R_REMOVED) place.other = server_client_address(s, o->leader);
    if (o->reason == KELP_R_LOADING) loaded(s, &place);
    outcome_reply(&c->out, o->outcome, o->reason, &place);
}

/* Answers have no room of their own before they come: whoever asks for large ones has few requests
 * open. */
static void window_update(struct client *c, size_t answer_bytes)
{
    if (answer_bytes <= ANSWER_SMALL)
        c->window = min_u64(c->window + 1, UINT16_MAX);
    else
        c->window = min_u64(c->window, max_u64(1, ANSWERS_MAX / answer_bytes));
}

static void request_done(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct client *c = ctx;
    if (c->closing) return;
    ASSERT(token == c->token_last - c->open_count + 1); /* in the order of submission */
    struct open_request r = client_open_pop(c);
    window_update(c, o->result.len);
    if (o->outcome == KELP_DONE) c->seen = max_u64(c->seen, o->pos.index);
    answer(c, o, &r);
    held_release(c, r.after);
    backlog_tell(c);
    client_dirty(c);
}

/* ---- from bytes to commands -------------------------------------------------------------- */

bool client_park(struct client *c, const struct server_command *command,
                 const struct kelp_bytes *argv, size_t argc)
{
    ASSERT(c->parked == NULL);
    size_t bytes = 0;
    for (size_t i = 0; i < argc; i++)
        bytes += argv[i].len;
    struct parked *p = malloc(sizeof *p + argc * sizeof *argv + bytes + 1);
    if (p == NULL) return false;
    *p = (struct parked){.command = command, .argc = argc};
    uint8_t *to = (uint8_t *)(p->argv + argc);
    for (size_t i = 0; i < argc; i++) {
        if (argv[i].len > 0) memcpy(to, argv[i].data, argv[i].len);
        p->argv[i] = bytes_of(to, argv[i].len);
        to += argv[i].len;
    }
    c->parked = p;
    return true;
}

/* Where the server's own answers go now; what was written there since `before` is noted by
 * reply_end. */
static struct buf *reply_begin(struct client *c)
{
    return c->open_count > 0 ? &c->held : &c->out;
}

static void reply_end(struct client *c, const struct buf *reply, size_t before)
{
    if (reply == &c->held && reply->len > before)
        client_open_last(c)->after += (uint32_t)(reply->len - before);
    if (unsent(c) > 0) client_dirty(c);
}

static void command(struct client *c, const struct kelp_bytes *argv, size_t argc)
{
    struct buf *reply = reply_begin(c);
    size_t before = reply->len;
    c->server->clients.commands++;
    if (c->server->clients.stage == CLIENTS_DISMISSED)
        client_refuse(c, reply);
    else
        command_dispatch(c, argv, argc, reply);
    reply_end(c, reply, before);
}

static void protocol_error(struct client *c, const char *words)
{
    struct buf *reply = reply_begin(c);
    size_t before = reply->len;
    (void)resp_error(reply, "ERR %s", words);
    reply_end(c, reply, before);
    c->server->clients.protocol_errors++;
    c->quitting = true;
    client_dirty(c);
}

void client_is_browser(struct client *c)
{
    c->server->clients.protocol_errors++;
    log_line(KELP_WARN, "client %s: speaks HTTP on the port of Redis clients, disconnected",
             c->remote);
    c->quitting = true;
    client_dirty(c);
}

/* Is it to be read no further for now? With room to spare when it is to be woken, so that it does
 * not flicker. */
static bool is_full(const struct client *c, bool paused)
{
    const struct settings *t = &c->server->settings;
    const struct clients *all = &c->server->clients;
    uint64_t scale = paused ? 2 : 1; /* go on at half of each limit */
    if (c->parked != NULL) return true;
    if (unsent(c) * scale > UNSENT_PAUSE) return true;
    if (c->open_count == 0) return false; /* one request of each client always goes */
    return c->open_count * scale >= min_u64(t->client_requests_max, c->window) ||
           all->open_count >= t->requests_max || all->open_bytes >= t->request_bytes ||
           c->open_bytes * scale >= t->request_bytes / 4;
}

/* Look at requests until the bytes end or the client is full; returns how many bytes were used. */
static size_t requests_run(struct client *c, uint8_t *data, size_t len)
{
    struct clients *all = &c->server->clients;
    struct resp_limits limits = limits_of(c->server);
    size_t used = 0;
    while (used < len && !c->quitting && !c->closing && client_heard(c) && !is_full(c, false)) {
        struct resp_request request;
        switch (resp_parse(&c->parser, &limits, data + used, len - used, all->argv, &request)) {
        case RESP_REQUEST:
            used += request.used;
            if (request.argc > 0) command(c, all->argv, request.argc);
            break;
        case RESP_MORE: return used;
        case RESP_ERROR: protocol_error(c, request.error); return len;
        }
    }
    return c->quitting ? len : used;
}

/* ---- reading ----------------------------------------------------------------------------- */

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room);
static void on_bytes(uv_stream_t *stream, ssize_t count, const uv_buf_t *from);

void client_reading(struct client *c)
{
    struct clients *all = &c->server->clients;
    bool full = is_full(c, c->paused);
    if (full && !c->paused) TAILQ_INSERT_TAIL(&all->paused, c, paused_link);
    if (!full && c->paused) TAILQ_REMOVE(&all->paused, c, paused_link);
    c->paused = full;
    bool read = c->parting || (!full && !c->quitting && client_heard(c));
    if (read == c->reading) return;
    c->reading = read;
    if (!read)
        (void)uv_read_stop((uv_stream_t *)&c->tcp);
    else if (uv_read_start((uv_stream_t *)&c->tcp, on_room, on_bytes) != 0)
        client_end(c);
}

static void kept_count(struct client *c)
{
    struct clients *all = &c->server->clients;
    all->kept_bytes = all->kept_bytes - c->in_counted + c->in.room;
    c->in_counted = c->in.room;
}

/* Room for the next piece of an unfinished request. Many clients that never finish theirs must not
 * take all memory: past the common limit whoever wants more than a small one is closed. */
static bool kept_grow(struct client *c)
{
    size_t more = max_u64(c->in.len, ROOM_KEPT / 4);
    if (c->in.len > ROOM_KEPT && c->server->clients.kept_bytes + more > KEPT_MAX) return false;
    bool grown = buf_reserve(&c->in, more) == KELP_OK;
    kept_count(c);
    return grown;
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
    struct client *c = handle->data;
    struct clients *all = &c->server->clients;
    (void)suggested;
    if (c->in.len == 0) {
        *room = uv_buf_init((char *)all->scratch, sizeof all->scratch);
        return;
    }
    /* A body of 8 MiB is given its room as it comes, not when it is announced. */
    if (!kept_grow(c))
        *room = uv_buf_init(NULL, 0);
    else
        *room = uv_buf_init((char *)c->in.data + c->in.len, (unsigned)(c->in.room - c->in.len));
}

static void bytes_arrived(struct client *c, uint8_t *data, size_t len)
{
    bool kept = data != c->server->clients.scratch;
    size_t used = requests_run(c, data, len);
    if (c->closing) return;
    if (kept) {
        buf_drop(&c->in, used);
        if (c->in.len == 0) buf_trim(&c->in, ROOM_KEPT);
    } else if (used < len && buf_append(&c->in, bytes_of(data + used, len - used)) != KELP_OK) {
        log_line(KELP_WARN, "client %s: no memory for its request, disconnected", c->remote);
        client_end(c);
        return;
    }
    kept_count(c);
    client_reading(c);
}

static void submitted(struct server *s)
{
    if (!s->clients.submitted) return;
    s->clients.submitted = false;
    node_poke(s->node);
}

static void on_bytes(uv_stream_t *stream, ssize_t count, const uv_buf_t *from)
{
    struct client *c = client_of(stream);
    struct server *s = c->server;
    if (count == 0 || client_wasted(c, count)) return;
    if (count < 0) {
        if (count == UV_ENOBUFS)
            log_line(KELP_WARN, "client %s: no room for its unfinished request, disconnected",
                     c->remote);
        else if (count != UV_EOF && count != UV_ECONNRESET)
            log_line(KELP_DEBUG, "client %s: %s", c->remote, uv_strerror((int)count));
        bool owed = c->open_count > 0 || unsent(c) > 0;
        if (count == UV_EOF && owed) c->quitting = true; /* it may still listen */
        if (c->quitting)
            client_reading(c);
        else
            client_end(c);
        return;
    }
    s->clients.now = node_now(s->node); /* after the bytes were read */
    s->clients.bytes_in += (uint64_t)count;
    c->heard += (uint64_t)count;
    c->active_ms = uv_now(&s->loop);
    bool kept = (uint8_t *)from->base != s->clients.scratch;
    if (kept) c->in.len += (size_t)count;
    if (kept)
        bytes_arrived(c, c->in.data, c->in.len);
    else
        bytes_arrived(c, s->clients.scratch, (size_t)count);
    submitted(s);
}

void client_go_on(struct client *c)
{
    if (c->in.len > 0)
        bytes_arrived(c, c->in.data, c->in.len);
    else
        client_reading(c);
}

static void client_resume(struct client *c)
{
    if (c->parked != NULL && c->open_count == 0) {
        struct parked *p = c->parked;
        c->parked = NULL;
        command_run(c, p->command, p->argv, p->argc, &c->out);
        free(p);
        client_dirty(c);
    }
    if (is_full(c, true)) return;
    client_go_on(c);
    if (c->closing || !c->paused) return;
    TAILQ_REMOVE(&c->server->clients.paused, c, paused_link); /* the others' turn */
    TAILQ_INSERT_TAIL(&c->server->clients.paused, c, paused_link);
}

void clients_resume(struct server *s)
{
    struct clients *all = &s->clients;
    all->now = node_now(s->node);
    struct client *c = TAILQ_FIRST(&all->paused), *last = TAILQ_LAST(&all->paused, client_list);
    while (c != NULL) { /* each once: who is paused again goes to the end, so all get their turn */
        struct client *next = c != last ? TAILQ_NEXT(c, paused_link) : NULL;
        client_resume(c);
        c = next;
    }
    submitted(s);
}

/* ---- writing ----------------------------------------------------------------------------- */

void client_dirty(struct client *c)
{
    if (c->dirty || c->closing) return;
    c->dirty = true;
    TAILQ_INSERT_TAIL(&c->server->clients.dirty, c, dirty_link);
    server_flush_soon(c->server);
}

static void client_write(struct client *c);

static void on_written(uv_write_t *write, int status)
{
    struct client *c = write->data;
    if (c->closing) return;
    c->server->clients.bytes_out += c->sending.len;
    buf_clear(&c->sending);
    buf_trim(&c->sending, ROOM_KEPT);
    if (status < 0)
        client_end(c); /* "closing" when it was us */
    else
        client_dirty(c); /* more may wait, and reading may go on */
}

/* What the socket takes at once goes at once; libuv keeps the rest, which must then stay where it
 * is. */
static void client_write(struct client *c)
{
    if (c->sending.len > 0 || c->out.len == 0) return;
    uv_buf_t bytes = uv_buf_init((char *)c->out.data, (unsigned)c->out.len);
    int sent = uv_try_write((uv_stream_t *)&c->tcp, &bytes, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        client_end(c);
        return;
    }
    if (sent > 0) c->server->clients.bytes_out += (uint64_t)sent;
    c->handed += c->out.len;
    if (sent == (int)c->out.len) {
        buf_clear(&c->out);
        buf_trim(&c->out, ROOM_KEPT);
        return;
    }
    if (sent > 0) buf_drop(&c->out, (size_t)sent);
    struct buf swap = c->sending;
    c->sending = c->out;
    c->out = swap;
    bytes = uv_buf_init((char *)c->sending.data, (unsigned)c->sending.len);
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &bytes, 1, on_written) != 0) client_end(c);
}

static void client_flush(struct client *c)
{
    struct server *s = c->server;
    c->out.max = (size_t)s->settings.client_output_bytes + KV_REPLY_BYTES_MAX;
    bool broken = c->out.error != KELP_OK || c->held.error != KELP_OK;
    if (broken || unsent(c) > s->settings.client_output_bytes) {
        s->clients.closed_slow++;
        log_line(KELP_WARN, "client %s: does not take its answers (%zu bytes wait), disconnected",
                 c->remote, unsent(c));
        client_end(c);
        return;
    }
    client_write(c);
    if (c->closing) return;
    backlog_tell(c);
    if (c->quitting && c->open_count == 0 && c->parked == NULL && unsent(c) == 0)
        client_end(c);
    else if (c->paused && (c->parked != NULL ? c->open_count == 0 : !is_full(c, true)))
        server_wake(s);
}

/* The kernel's own buffer is full and stays so: the client does not read. */
static void client_watch(struct client *c, uint64_t now)
{
    uint64_t queued = uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
    uint64_t taken = c->handed - queued;
    if (queued == 0 || taken != c->taken) {
        c->taken = taken;
        c->progress_ms = now;
        return;
    }
    struct server *s = c->server;
    if (now - c->progress_ms < s->settings.client_stall_ms) return;
    s->clients.closed_slow++;
    log_line(KELP_WARN, "client %s: has taken no answer for %llu ms (%zu bytes wait), disconnected",
             c->remote, (unsigned long long)(now - c->progress_ms), unsent(c));
    client_end(c);
}

void clients_watch(struct server *s)
{
    struct client *c, *next;
    for (c = TAILQ_FIRST(&s->clients.all); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        client_watch(c, uv_now(&s->loop));
    }
}

void clients_flush(struct server *s)
{
    struct client *c;
    while ((c = TAILQ_FIRST(&s->clients.dirty)) != NULL) {
        TAILQ_REMOVE(&s->clients.dirty, c, dirty_link);
        c->dirty = false;
        client_flush(c);
    }
}

/* ---- beginning and end ------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    buf_close(&c->in);
    buf_close(&c->held);
    buf_close(&c->out);
    buf_close(&c->sending);
    free(c->open);
    free(c->parked);
    free(c->name);
    struct server *s = c->server;
    free(c);
    clients_left(s);
}

void client_end(struct client *c)
{
    if (c->closing) return;
    struct clients *all = &c->server->clients;
    c->closing = true;
    all->open_count -= c->open_count;
    all->open_bytes -= c->open_bytes;
    all->kept_bytes -= c->in_counted;
    if (c->line != NULL) driver_line_close(node_driver(c->server->node), c->line);
    c->line = NULL;
    if (c->dirty) TAILQ_REMOVE(&all->dirty, c, dirty_link);
    if (c->paused) TAILQ_REMOVE(&all->paused, c, paused_link);
    TAILQ_REMOVE(&all->all, c, link);
    all->count--;
    if (!TAILQ_EMPTY(&all->paused)) server_wake(c->server); /* its share is free for others */
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static struct client *client_new(struct server *s)
{
    struct client *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    if (uv_tcp_init(&s->loop, &c->tcp) != 0) {
        free(c);
        return NULL;
    }
    struct resp_limits limits = limits_of(s);
    c->server = s;
    c->tcp.data = c;
    c->write.data = c;
    c->id = ++s->clients.id_last;
    c->since_ms = c->active_ms = c->progress_ms = uv_now(&s->loop);
    c->last_command = "NULL";
    c->window = WINDOW_FIRST;
    buf_init(&c->in, limits.request_bytes_max + limits.args_max * INPUT_HEADS_MAX + INLINE_MAX);
    buf_init(&c->held, (size_t)s->settings.client_output_bytes);
    buf_init(&c->out, (size_t)s->settings.client_output_bytes + KV_REPLY_BYTES_MAX);
    buf_init(&c->sending, SIZE_MAX);
    TAILQ_INSERT_TAIL(&s->clients.all, c, link);
    s->clients.count++;
    return c;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct server *s = listener->data;
    if (status < 0) {
        log_line(KELP_WARN, "cannot accept a client: %s", uv_strerror(status));
        return;
    }
    struct client *c = client_new(s);
    if (c == NULL) return;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0) {
        client_end(c);
        return;
    }
    struct sockaddr_storage from = {0}, to = {0};
    int len = sizeof from;
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&from, &len) == 0)
        server_address_text(&from, c->remote, sizeof c->remote);
    len = sizeof to;
    if (uv_tcp_getsockname(&c->tcp, (struct sockaddr *)&to, &len) == 0)
        server_address_text(&to, c->local, sizeof c->local);
    (void)uv_tcp_nodelay(&c->tcp, 1); /* without these a connection is worse, not wrong */
    (void)uv_tcp_keepalive(&c->tcp, 1, 60);
    s->clients.accepted++;
    if (s->clients.count > settings_clients_room(&s->settings, s->clients.descriptors)) {
        s->clients.rejected++;
        (void)resp_error(&c->out, "ERR max number of clients reached");
        c->quitting = true;
        client_dirty(c);
        return;
    }
    c->line = driver_line_open(node_driver(s->node), request_done, c);
    if (c->line == NULL)
        client_end(c);
    else
        client_reading(c);
}

bool clients_open(struct server *s, char *error, size_t size)
{
    struct clients *all = &s->clients;
    TAILQ_INIT(&all->all);
    TAILQ_INIT(&all->dirty);
    TAILQ_INIT(&all->paused);
    buf_init(&all->question, (size_t)s->settings.entry_bytes_max);
    all->argv =
        calloc(KV_ARGS_MAX, sizeof *all->argv); /* pages that are never touched cost nothing */
    struct sockaddr_storage address;
    int status = all->argv == NULL ? UV_ENOMEM : uv_tcp_init(&s->loop, &all->listener);
    if (status == 0) {
        all->listener.data = s;
        status = server_listen_address(&s->loop, s->settings.client, &address);
        if (status == 0) status = uv_tcp_bind(&all->listener, (struct sockaddr *)&address, 0);
        if (status == 0) status = uv_listen((uv_stream_t *)&all->listener, 1024, on_connection);
        if (status != 0) uv_close((uv_handle_t *)&all->listener, NULL);
    }
    all->opened = status == 0;
    if (all->opened) return true;
    (void)snprintf(error, size, "client %s: cannot listen there: %s", s->settings.client,
                   uv_strerror(status));
    return false;
}

void clients_close(struct server *s)
{
    clients_hold(s);
    struct client *c;
    while ((c = TAILQ_FIRST(&s->clients.all)) != NULL) {
        client_write(c); /* what the socket takes; the kernel delivers it after the close */
        client_end(c);
    }
    s->clients.opened = false;
}

void clients_free(struct server *s)
{
    buf_close(&s->clients.question);
    free(s->clients.argv);
    s->clients.argv = NULL;
}
