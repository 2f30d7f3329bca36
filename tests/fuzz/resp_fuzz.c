/* SPDX-License-Identifier: Apache-2.0 */
/* resp_fuzz.c - the request parser on any bytes: it stays inside them, and cutting them changes
 * nothing.
 *
 * The first byte says where the rest is cut into two; the transcript of the whole must be that of
 * the two parts. Each part is given in a block of its exact size. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "proto/resp.h"

#define ARGS_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct resp_limits limits = {.args_max = ARGS_MAX,
                                          .bulk_bytes_max = 4096,
                                          .inline_bytes_max = 1024,
                                          .request_bytes_max = 8192};

/* Requests of in until it needs more (true) or is refused (false); *used: bytes of whole
 * requests. */
static bool requests_take(struct resp_parser *p, uint8_t *in, size_t len, struct buf *out,
                          size_t *used)
{
    struct kelp_bytes argv[ARGS_MAX];
    struct resp_request request;
    *used = 0;
    for (;;) {
        switch (resp_parse(p, &limits, in + *used, len - *used, argv, &request)) {
        case RESP_MORE: ASSERT(request.need > 0); return true;
        case RESP_ERROR: (void)buf_append_text(out, request.error); return false;
        case RESP_REQUEST: break;
        }
        ASSERT(request.used > 0 && request.used <= len - *used && request.argc <= ARGS_MAX);
        for (size_t i = 0; i < request.argc; i++) {
            ASSERT(argv[i].data >= in + *used && argv[i].len <= request.used);
            ASSERT(argv[i].data + argv[i].len <= in + *used + request.used);
            (void)buf_append_line(out, '$', (int64_t)argv[i].len);
            (void)buf_append(out, argv[i]);
        }
        (void)buf_append_line(out, ';', (int64_t)request.argc);
        *used += request.used;
    }
}

static void transcript(const uint8_t *data, size_t size, size_t cut, struct buf *out)
{
    struct resp_parser p = {0};
    size_t used = 0;
    uint8_t *first = malloc(cut + (cut == 0));
    ASSERT(first != NULL);
    memcpy(first, data, cut);
    bool open = requests_take(&p, first, cut, out, &used);
    if (open && cut < size) {
        size_t kept = cut - used;
        uint8_t *second = malloc(size - used);
        ASSERT(second != NULL);
        memcpy(second, first + used, kept); /* not data: inline requests were unquoted in place */
        memcpy(second + kept, data + cut, size - cut);
        (void)requests_take(&p, second, size - used, out, &used);
        free(second);
    }
    free(first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    size_t cut = data[0] % size;
    struct buf whole, parts;
    buf_init(&whole, (size_t)1 << 24);
    buf_init(&parts, (size_t)1 << 24);
    transcript(data + 1, size - 1, size - 1, &whole);
    transcript(data + 1, size - 1, cut, &parts);
    ASSERT(bytes_equal(buf_bytes(&whole), buf_bytes(&parts)));
    buf_close(&whole);
    buf_close(&parts);
    return 0;
}
