/* SPDX-License-Identifier: Apache-2.0 */
/* lab_client.c - clients of the lab: they remember what they were told, in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "driver/lab.h"
#include "wire/found.h"

static void told(void *ctx, uint64_t token, const struct driver_outcome *o)
{
    struct lab_client *c = ctx;
    assert_true(c->told_count < LAB_VALUES);
    struct lab_told *t = &c->told[c->told_count++];
    *t = (struct lab_told){.token = token,
                           .place = c->lab->told_count++,
                           .outcome = o->outcome,
                           .reason = o->reason,
                           .pos = o->pos,
                           .leader = o->leader,
                           .member = o->member,
                           .ages = o->ages,
                           .result_len = o->result.len};
    c->last_len = o->result.len <= sizeof c->last ? o->result.len : 0;
    if (c->last_len > 0) memcpy(c->last, o->result.data, c->last_len);
    if (o->result.len >= 8) t->result[0] = load_u64(o->result.data);
    if (o->result.len >= 16) t->result[1] = load_u64(o->result.data + 8);
}

struct lab_client *lab_client(struct lab *lab, kelp_id node)
{
    struct lab_client *c = calloc(1, sizeof *c);
    c->lab = lab;
    c->node = node;
    c->line = driver_line_open(lab_node(lab, node)->driver, told, c);
    assert_non_null(c->line);
    return c;
}

void lab_client_free(struct lab_client *c)
{
    struct lab_node *n = lab_node(c->lab, c->node);
    if (n->up) driver_line_close(n->driver, c->line);
    free(c);
}

static kelp_ns deadline_of(struct lab *lab, uint64_t timeout_ms)
{
    return lab->now + timeout_ms * LAB_MS;
}

static uint64_t write_to(struct lab_client *c, uint64_t value, uint64_t timeout_ms, bool forward)
{
    struct driver *d = lab_node(c->lab, c->node)->driver;
    enum kelp_reason reason;
    uint8_t *room = driver_reserve(d, 8, &reason);
    assert_non_null(room);
    put_u64(room, value);
    driver_write(d, c->lab->now, c->line, ++c->tokens, 8, bytes_of(NULL, 0),
                 deadline_of(c->lab, timeout_ms), forward);
    return c->tokens;
}

uint64_t lab_write(struct lab_client *c, uint64_t value, uint64_t timeout_ms)
{
    return write_to(c, value, timeout_ms, true);
}

uint64_t lab_write_here(struct lab_client *c, uint64_t value, uint64_t timeout_ms)
{
    return write_to(c, value, timeout_ms, false);
}

uint64_t lab_restore(struct lab_client *c, const struct kelp_restore_step *step,
                     uint64_t timeout_ms)
{
    struct driver *d = lab_node(c->lab, c->node)->driver;
    assert_true(driver_restore_sound(step));
    assert_true(driver_restore(d, c->lab->now, c->line, ++c->tokens, step, bytes_of(NULL, 0),
                               deadline_of(c->lab, timeout_ms), true));
    return c->tokens;
}

uint64_t lab_change(struct lab_client *c, const struct wire_change *change, uint64_t timeout_ms)
{
    struct driver *d = lab_node(c->lab, c->node)->driver;
    assert_true(driver_change(d, c->lab->now, c->line, ++c->tokens, change, bytes_of(NULL, 0),
                              deadline_of(c->lab, timeout_ms), true));
    return c->tokens;
}

uint64_t lab_drain(struct lab_client *c, enum driver_drain_wish wish, uint64_t timeout_ms)
{
    struct driver *d = lab_node(c->lab, c->node)->driver;
    assert_true(
        driver_drain(d, c->lab->now, c->line, ++c->tokens, wish, deadline_of(c->lab, timeout_ms)));
    return c->tokens;
}

uint64_t lab_plan(struct lab_client *c, const struct wire_change *change, uint64_t timeout_ms)
{
    struct driver *d = lab_node(c->lab, c->node)->driver;
    assert_true(driver_plan(d, c->lab->now, c->line, ++c->tokens, change, bytes_of(NULL, 0),
                            deadline_of(c->lab, timeout_ms), true));
    return c->tokens;
}

static uint64_t read_from(struct lab_client *c, struct kelp_bytes question, uint64_t timeout_ms)
{
    struct driver *d = lab_node(c->lab, c->node)->driver;
    struct driver_question q = {
        .bytes = question, .deadline = deadline_of(c->lab, timeout_ms), .forward = true};
    assert_true(driver_read(d, c->lab->now, c->line, ++c->tokens, &q));
    return c->tokens;
}

uint64_t lab_read(struct lab_client *c, uint64_t timeout_ms)
{
    return read_from(c, bytes_of("?", 1), timeout_ms);
}

uint64_t lab_read_how(struct lab_client *c, struct kelp_read_how how, uint64_t timeout_ms)
{
    struct driver *d = lab_node(c->lab, c->node)->driver;
    struct driver_question q = {.bytes = bytes_of("?", 1),
                                .how = how,
                                .deadline = deadline_of(c->lab, timeout_ms),
                                .forward = true};
    assert_true(driver_read(d, c->lab->now, c->line, ++c->tokens, &q));
    return c->tokens;
}

uint64_t lab_ask_bare(struct lab_client *c, struct kelp_read_how how, bool forward,
                      uint64_t timeout_ms)
{
    struct driver *d = lab_node(c->lab, c->node)->driver;
    struct driver_question q = {
        .bare = true, .how = how, .deadline = deadline_of(c->lab, timeout_ms), .forward = forward};
    assert_true(driver_read(d, c->lab->now, c->line, ++c->tokens, &q));
    return c->tokens;
}

uint64_t lab_read_long(struct lab_client *c, uint64_t pieces, uint64_t timeout_ms)
{
    uint8_t question[16] = {0};
    put_u64(question, pieces);
    return read_from(c, bytes_of(question, sizeof question), timeout_ms);
}

uint64_t lab_read_of(struct lab_client *c, uint64_t bytes, uint64_t timeout_ms)
{
    uint8_t question[8];
    put_u64(question, bytes);
    return read_from(c, bytes_of(question, sizeof question), timeout_ms);
}

uint64_t lab_transfer(struct lab_client *c, kelp_id target, uint64_t timeout_ms)
{
    struct driver *d = lab_node(c->lab, c->node)->driver;
    assert_true(driver_transfer(d, c->lab->now, c->line, ++c->tokens, target, bytes_of(NULL, 0),
                                deadline_of(c->lab, timeout_ms), true));
    return c->tokens;
}

void lab_await(struct lab_client *c, size_t told_count)
{
    for (int i = 0; i < 30000 && c->told_count < told_count; i++)
        lab_run(c->lab, 1);
    if (c->told_count < told_count)
        fail_msg("%zu of %zu outcomes within 30 s", c->told_count, told_count);
}

void lab_knock(struct lab *lab, kelp_id at, kelp_id id, uint64_t incarnation, const char *address)
{
    struct driver *d = lab_node(lab, at)->driver;
    struct wire_hello hello = {.node = id, .incarnation = incarnation, .empty = true};
    (void)snprintf(hello.peer.text, WIRE_ADDRESS_MAX, "%s", address);
    driver_connected(d, lab->now, id, KELP_LANE_CONTROL, incarnation, &hello);
    struct wire_found m = {.type = WIRE_FOUND_SHOW, .from = id, .to = at, .round = 1};
    m.incarnation = incarnation;
    uint8_t frame[WIRE_FRAME_HEAD + WIRE_FOUND_HEAD_MAX];
    struct kelp_bytes part = {frame + WIRE_FRAME_HEAD, 0};
    part.len = wire_found_encode(&m, frame + WIRE_FRAME_HEAD);
    wire_frame_head(frame, WIRE_FOUND, 0, &part, 1);
    struct wire_frame decoded;
    size_t used;
    assert_int_equal(wire_frame_decode((struct kelp_bytes){frame, WIRE_FRAME_HEAD + part.len},
                                       WIRE_FRAME_BODY_MAX, &decoded, &used, NULL),
                     KELP_OK);
    assert_int_equal(driver_frame(d, lab->now, id, KELP_LANE_CONTROL, incarnation, &decoded, NULL),
                     KELP_OK);
}
