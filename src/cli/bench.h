/* SPDX-License-Identifier: Apache-2.0 */
/* bench.h - the load of `kelp bench`: what to ask of a RESP server, and what came of it.
 *
 * Every key has one connection that writes it, and a connection is a sequence, so each answer to a
 * GET can be judged alone: it must hold the value of the last SET sent before it. A key whose SET
 * was answered by an error, or not at all, is unsure from then on and is not judged.
 *
 *   FILL (get, mixed, --fill)    WARM_UP    WINDOW    DRAIN    CHECK
 *   every key once                         counted            a sample
 *
 * Latency counts from the moment a request was meant to be sent: in the closed loop that is when it
 * is, in the open loop (a rate) its place in the schedule, however late it is sent. So a server
 * that stands still for a second is seen by all requests of that second. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "base/hist.h"
#include "cli/room.h"

#define BENCH_CLIENTS_MAX  10000u
#define BENCH_PIPELINE_MAX 1024u
#define BENCH_VALUE_MAX    (8u << 20)
#define BENCH_KEYS_MAX     10000000u
#define BENCH_CLASSES_MAX  16u
#define BENCH_CLASS_BYTES  24u
#define BENCH_SAMPLE_MAX   10000u /* keys read back at the end */

enum bench_command { BENCH_SET, BENCH_GET, BENCH_MIXED };

struct bench_plan {
    const char *at; /* HOST:PORT,...; connections take turns */
    enum bench_command command;
    uint64_t clients, pipeline, value_bytes, keys;
    uint64_t warm_up_ms, window_ms;
    uint64_t rate;  /* operations a second, all connections together; 0: a closed loop */
    uint64_t first; /* the first value's number, so that two runs write different ones */
    uint64_t seed;
    bool fill;  /* all keys are written before the warm-up, whatever the command */
    bool marks; /* a line on stderr when the window begins and when it ends */
};

struct bench_class { /* errors by their first word */
    char name[BENCH_CLASS_BYTES];
    uint64_t count;
};

struct bench_report {
    uint64_t operations, window_ns, longest_gap_ns; /* done in the window */
    uint64_t unsent;                                /* open loop: due in the window, never sent */
    uint64_t errors, lost;                          /* answers; connections */
    uint64_t unanswered;                            /* requests of lost or silent connections */
    uint64_t read_back, wrong;                      /* keys at the end; answers that are not so */
    struct bench_class classes[BENCH_CLASSES_MAX];
    size_t class_count;
    struct hist latency; /* ns */
    char problem[256];   /* why there was no run at all */
};

/* bench_load - run a plan; false: problem says why there is nothing to report. */
bool bench_load(const struct bench_plan *plan, struct bench_report *out);

/* bench_error_add - count an error answer, whose first word is its class. */
void bench_error_add(struct bench_report *r, struct kelp_bytes words);

/* ---- bench_reply.c: requests and answers -------------------------------------------------- */

enum bench_reply_kind { BENCH_STATUS, BENCH_ERROR, BENCH_NUMBER, BENCH_BULK, BENCH_NIL };

struct bench_reply {
    enum bench_reply_kind kind;
    struct kelp_bytes bytes; /* without mark and line end; points into what was read */
    size_t used;
};

/* bench_reply_read - the first answer of data. KELP_OK, KELP_E_MORE, or KELP_E_MALFORMED: nothing
 * that a SET or a GET is answered with, or a string of more than bulk_max bytes. */
enum kelp_error bench_reply_read(struct kelp_bytes data, size_t bulk_max, struct bench_reply *out);

/* Requests are made once; only digits change from one to the next. */
struct bench_request {
    uint8_t *bytes; /* owned */
    size_t len, key_at, value_at;
};

#define BENCH_DIGITS 16u

bool bench_request_set(struct bench_request *r, size_t value_bytes); /* false: no memory */
bool bench_request_get(struct bench_request *r);
void bench_request_close(struct bench_request *r);

/* bench_digits - the last len (at most BENCH_DIGITS) decimal digits of a number. */
void bench_digits(uint64_t number, uint8_t *out, size_t len);

/* bench_value_is - are these the bytes that a SET of this number wrote? */
bool bench_value_is(const struct bench_request *set, struct kelp_bytes value, uint64_t number);

#endif
