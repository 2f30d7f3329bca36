/* SPDX-License-Identifier: Apache-2.0 */
/* resp.h - RESP2 requests out of a receive buffer: in place, incremental, without allocation.
 *
 * A request is an array of bulk strings or one line of words. The caller keeps the bytes of the
 * unfinished request in one piece at the start of data and calls again when more have come; it may
 * move the buffer between calls. The parser keeps only numbers, so a body of 8 MiB that arrives in
 * small pieces is never looked at twice: while a body is under way a call costs O(1). What was
 * announced is judged from the head alone, before anything waits for it.
 *
 * Verdicts, and the words of errors, are those of Redis 7.0; the bytes after a body and after the
 * CR of a head are not looked at, as there. Where Redis's verdict depends on how the bytes were cut
 * into reads (lines above the limit), this one does not: any split of the same bytes gives the same
 * requests and the same error. */
#ifndef PROTO_RESP_H
#define PROTO_RESP_H

#include "kelp/types.h"

struct resp_limits {
    size_t args_max;          /* arguments in one request, and the size of argv */
    size_t bulk_bytes_max;    /* one argument */
    size_t inline_bytes_max;  /* a line: an inline request, or the head of an array or bulk */
    size_t request_bytes_max; /* all arguments together */
};

/* Where the current request stands. All zero: at its first byte. Offsets count from that byte. */
struct resp_parser {
    size_t at;       /* settled bytes */
    size_t searched; /* no line end in at..searched */
    size_t count;    /* arguments announced; 0: the head is not read yet */
    size_t left;     /* of them not settled */
    size_t bytes;    /* lengths announced so far, together */
    size_t bulk;     /* length of the body at `at`, when in_bulk */
    bool in_bulk;
    bool paused; /* an earlier call ended inside the array, so argv is to be filled afresh */
};

enum resp_result {
    RESP_REQUEST, /* argv[0..argc-1] and used are set; argc 0: an empty request, no answer is due */
    RESP_MORE,    /* need more bytes must come before it is worth calling again */
    RESP_ERROR,   /* error is set: answer "-ERR " and it, then close the connection */
};

struct resp_request {
    size_t argc;
    size_t used; /* bytes of data that belong to the request */
    size_t need;
    char error[64];
};

/* resp_parse - look at the first request of data[0..len-1]. argv has limits->args_max places and is
 * written only here; after RESP_REQUEST it points into data. Words of an inline request are
 * unquoted where they stand, so data is changed. The parser is reset by RESP_REQUEST and is not to
 * be used again after RESP_ERROR. */
enum resp_result resp_parse(struct resp_parser *p, const struct resp_limits *limits, uint8_t *data,
                            size_t len, struct kelp_bytes *argv, struct resp_request *out);

#endif
