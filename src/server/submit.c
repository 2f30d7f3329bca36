/* SPDX-License-Identifier: Apache-2.0 */
/* submit.c - requests of Redis clients to the driver, and the ring of those that are open; see
 * client.h.
 *
 * What cannot be submitted is refused at once, into reply; what was has a place in the ring until
 * the driver has answered it. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/min.h"
#include "proto/resp_reply.h"
#include "server/client.h"
#include "server/outcome.h"
#include "server/server.h"
#include "server/slot.h"

static bool open_reserve(struct client *c)
{
    if (c->open_count < c->open_room) return true;
    uint32_t room = c->open_room > 0 ? c->open_room * 2 : 16;
    struct open_request *ring = calloc(room, sizeof *ring);
    if (ring == NULL) return false;
    ASSERT(c->open_room > 0 || c->open_count == 0);
    for (uint32_t i = 0; c->open_room > 0 && i < c->open_count; i++)
        ring[i] = c->open[(c->open_head + i) % c->open_room];
    free(c->open);
    c->open = ring;
    c->open_room = room;
    c->open_head = 0;
    return true;
}

static struct open_request *open_at(struct client *c, uint32_t i)
{
    ASSERT(i < c->open_count);
    return &c->open[(c->open_head + i) % c->open_room];
}

static void open_push(struct client *c, uint64_t bytes, uint16_t slot)
{
    ASSERT(c->open_count < c->open_room);
    c->open_count++;
    *open_at(c, c->open_count - 1) = (struct open_request){.bytes = bytes, .slot = slot};
    c->open_bytes += bytes;
    c->server->clients.open_count++;
    c->server->clients.open_bytes += bytes;
}

struct open_request client_open_pop(struct client *c)
{
    struct open_request r = *open_at(c, 0);
    c->open_head = (c->open_head + 1) % c->open_room;
    c->open_count--;
    c->open_bytes -= r.bytes;
    c->server->clients.open_count--;
    c->server->clients.open_bytes -= r.bytes;
    return r;
}

struct open_request *client_open_last(struct client *c)
{
    return open_at(c, c->open_count - 1);
}

void client_submit(struct client *c, const struct kv_command *command,
                   const struct kelp_bytes *argv, size_t argc, struct buf *reply)
{
    struct server *s = c->server;
    struct clients *all = &s->clients;
    struct driver *d = node_driver(s->node);
    size_t len = kv_command_size(argv, argc);
    bool moved = s->settings.on_follower == ON_FOLLOWER_MOVED;
    uint16_t slot = moved && command->key_first > 0 ? slot_of(argv[command->key_first]) : 0;
    kelp_ns deadline = all->now + s->settings.request_timeout_ms * 1000000u;
    enum kelp_reason reason = KELP_R_BUSY;
    struct outcome_place nowhere = {0};
    struct kelp_bytes nobody = {0};
    if (!open_reserve(c)) {
        outcome_reply(reply, KELP_REFUSED, reason, &nowhere);
        return;
    }
    bool write = (command->flags & KV_FLAG_WRITE) != 0;
    if (write && c->once.kind == DRIVER_ONCE_NOT) {
        uint8_t *room = driver_reserve(d, len, &reason);
        if (room == NULL) {
            outcome_reply(reply, KELP_REFUSED, reason, &nowhere);
            return;
        }
        kv_command_encode(command, argv, argc, room);
        driver_write(d, all->now, c->line, c->token_last + 1, len, nobody, deadline, !moved);
    } else {
        buf_clear(&all->question);
        bool asked = buf_reserve(&all->question, len) == KELP_OK;
        if (asked) {
            kv_command_encode(command, argv, argc, all->question.data);
            struct driver_question q = {.bytes = bytes_of(all->question.data, len),
                                        .how = c->read,
                                        .deadline = deadline,
                                        .forward = !moved};
            asked = write ? driver_once(d, all->now, c->line, c->token_last + 1, &c->once, q.bytes,
                                        nobody, deadline, !moved)
                          : driver_read(d, all->now, c->line, c->token_last + 1, &q);
        }
        if (!asked) {
            outcome_reply(reply, KELP_REFUSED, reason, &nowhere);
            return;
        }
    }
    c->token_last++;
    open_push(c, len, slot);
    all->submitted = true;
}

void client_change(struct client *c, const struct wire_change *change, enum change_wish wish,
                   struct buf *reply)
{
    struct server *s = c->server;
    struct clients *all = &s->clients;
    bool moved = s->settings.on_follower == ON_FOLLOWER_MOVED;
    kelp_ns deadline = all->now + s->settings.change_timeout_ms * 1000000u;
    struct outcome_place nowhere = {0};
    struct kelp_bytes nobody = {0};
    bool (*ask)(struct driver *, kelp_ns, struct driver_line *, uint64_t,
                const struct wire_change *, struct kelp_bytes, kelp_ns, bool) =
        wish == CHANGE_PLAN ? driver_plan : driver_change;
    if (!open_reserve(c) || !ask(node_driver(s->node), all->now, c->line, c->token_last + 1, change,
                                 nobody, deadline, !moved)) {
        outcome_reply(reply, KELP_REFUSED, KELP_R_BUSY, &nowhere);
        return;
    }
    c->token_last++;
    open_push(c, sizeof *change, 0);
    client_open_last(c)->change = wish == CHANGE_MAKE;
    client_open_last(c)->plan = wish == CHANGE_PLAN;
    all->submitted = true;
}

static void leadership_asked(struct client *c, bool asked, struct buf *reply)
{
    struct outcome_place nowhere = {0};
    if (!asked) {
        outcome_reply(reply, KELP_REFUSED, KELP_R_BUSY, &nowhere);
        return;
    }
    c->token_last++;
    open_push(c, sizeof(kelp_id), 0);
    client_open_last(c)->transfer = true;
    c->server->clients.submitted = true;
}

void client_transfer(struct client *c, kelp_id target, struct buf *reply)
{
    const struct settings *t = &c->server->settings;
    kelp_ns now = c->server->clients.now, deadline = now + t->request_timeout_ms * 1000000u;
    struct kelp_bytes nobody = {0};
    bool forward = t->on_follower == ON_FOLLOWER_FORWARD;
    leadership_asked(c,
                     open_reserve(c) &&
                         driver_transfer(node_driver(c->server->node), now, c->line,
                                         c->token_last + 1, target, nobody, deadline, forward),
                     reply);
}

void client_drain(struct client *c, enum driver_drain_wish wish, struct buf *reply)
{
    kelp_ns now = c->server->clients.now;
    kelp_ns deadline = now + c->server->settings.request_timeout_ms * 1000000u;
    leadership_asked(c,
                     open_reserve(c) && driver_drain(node_driver(c->server->node), now, c->line,
                                                     c->token_last + 1, wish, deadline),
                     reply);
}

void client_found(struct client *c, bool if_empty, struct buf *reply)
{
    kelp_ns now = c->server->clients.now;
    kelp_ns deadline = now + c->server->settings.request_timeout_ms * 1000000u;
    const char *why = NULL;
    bool asked = open_reserve(c) && driver_found(node_driver(c->server->node), now, c->line,
                                                 c->token_last + 1, if_empty, deadline, &why);
    if (why != NULL)
        (void)resp_error(reply, "ERR HAS_CLUSTER: %s", why);
    else
        leadership_asked(c, asked, reply);
    if (asked) client_open_last(c)->found = true;
}

void client_copy(struct client *c, struct kelp_pos pos, uint64_t offset, struct buf *reply)
{
    kelp_ns now = c->server->clients.now;
    kelp_ns deadline = now + c->server->settings.request_timeout_ms * 1000000u;
    struct outcome_place nowhere = {0};
    if (!open_reserve(c) || !driver_copy(node_driver(c->server->node), now, c->line,
                                         c->token_last + 1, pos, offset, deadline)) {
        outcome_reply(reply, KELP_REFUSED, KELP_R_BUSY, &nowhere);
        return;
    }
    c->token_last++;
    open_push(c, sizeof pos + sizeof offset, 0);
    client_open_last(c)->copy = true;
    c->server->clients.submitted = true;
}

void client_session(struct client *c, const struct driver_once *once, struct buf *reply)
{
    const struct settings *t = &c->server->settings;
    kelp_ns now = c->server->clients.now, deadline = now + t->request_timeout_ms * 1000000u;
    struct kelp_bytes nothing = {0};
    bool forward = t->on_follower == ON_FOLLOWER_FORWARD;
    if (!open_reserve(c) ||
        !driver_once(node_driver(c->server->node), now, c->line, c->token_last + 1, once, nothing,
                     nothing, deadline, forward)) {
        struct outcome_place nowhere = {0};
        outcome_reply(reply, KELP_REFUSED, KELP_R_BUSY, &nowhere);
        return;
    }
    c->token_last++;
    open_push(c, sizeof *once, 0);
    client_open_last(c)->session = once->kind;
    c->server->clients.submitted = true;
}
