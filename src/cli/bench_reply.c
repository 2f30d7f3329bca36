/* SPDX-License-Identifier: Apache-2.0 */
/* bench_reply.c - the bytes of the load: requests made in advance, answers read where they lie.
 *
 * hiredis' reader, which the other verbs use, makes an object of every answer; here an answer costs
 * no allocation, since what measures must not be slower than what it measures. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/decimal.h"
#include "base/min.h"
#include "cli/bench.h"

#define LINE_MAX_BYTES 65536u
#define KEY_PREFIX     "bench:"

/* ---- answers ------------------------------------------------------------------------------ */

static enum kelp_error bulk_read(struct kelp_bytes data, size_t bulk_max, struct bench_reply *out)
{
    int64_t len;
    if (!decimal_parse(out->bytes, &len) || len < -1) return KELP_E_MALFORMED;
    out->kind = len < 0 ? BENCH_NIL : BENCH_BULK;
    if (len < 0) return KELP_OK;
    if ((uint64_t)len > bulk_max) return KELP_E_MALFORMED;
    size_t left = data.len - out->used, wanted = (size_t)len + 2;
    if (left < wanted) return KELP_E_MORE;
    out->bytes = bytes_of(data.data + out->used, (size_t)len);
    if (memcmp(data.data + out->used + len, "\r\n", 2) != 0) return KELP_E_MALFORMED;
    out->used += wanted;
    return KELP_OK;
}

enum kelp_error bench_reply_read(struct kelp_bytes data, size_t bulk_max, struct bench_reply *out)
{
    if (data.len == 0) return KELP_E_MORE;
    const uint8_t *end = memchr(data.data, '\n', (size_t)min_u64(data.len, LINE_MAX_BYTES));
    if (end == NULL) return data.len < LINE_MAX_BYTES ? KELP_E_MORE : KELP_E_MALFORMED;
    size_t line = (size_t)(end - data.data);
    if (line < 2 || data.data[line - 1] != '\r') return KELP_E_MALFORMED;
    out->bytes = bytes_of(data.data + 1, line - 2);
    out->used = line + 1;
    switch (data.data[0]) {
    case '+': out->kind = BENCH_STATUS; return KELP_OK;
    case '-': out->kind = BENCH_ERROR; return KELP_OK;
    case ':': out->kind = BENCH_NUMBER; return KELP_OK;
    case '$': return bulk_read(data, bulk_max, out);
    }
    return KELP_E_MALFORMED;
}

/* ---- requests ----------------------------------------------------------------------------- */

void bench_digits(uint64_t number, uint8_t *out, size_t len)
{
    for (size_t i = len; i > 0; i--) {
        out[i - 1] = (uint8_t)('0' + number % 10);
        number /= 10;
    }
}

static bool request_of(struct bench_request *r, const char *head, size_t value_bytes)
{
    char size[64] = "";
    if (value_bytes > 0) (void)snprintf(size, sizeof size, "\r\n$%zu\r\n", value_bytes);
    size_t before = strlen(head), between = strlen(size);
    *r = (struct bench_request){.key_at = before,
                                .value_at = before + BENCH_DIGITS + between,
                                .len = before + BENCH_DIGITS + between + value_bytes + 2};
    r->bytes = malloc(r->len);
    if (r->bytes == NULL) return false;
    memcpy(r->bytes, head, before);
    memset(r->bytes + r->key_at, '0', BENCH_DIGITS);
    memcpy(r->bytes + r->key_at + BENCH_DIGITS, size, between);
    memset(r->bytes + r->value_at, 'v', value_bytes);
    memcpy(r->bytes + r->len - 2, "\r\n", 2);
    return true;
}

_Static_assert(sizeof KEY_PREFIX - 1 + BENCH_DIGITS == 22, "the heads below say 22");

bool bench_request_set(struct bench_request *r, size_t value_bytes)
{
    return request_of(r, "*3\r\n$3\r\nSET\r\n$22\r\n" KEY_PREFIX, value_bytes);
}

bool bench_request_get(struct bench_request *r)
{
    return request_of(r, "*2\r\n$3\r\nGET\r\n$22\r\n" KEY_PREFIX, 0);
}

void bench_request_close(struct bench_request *r)
{
    free(r->bytes);
    r->bytes = NULL;
}

bool bench_value_is(const struct bench_request *set, struct kelp_bytes value, uint64_t number)
{
    uint8_t digits[BENCH_DIGITS];
    size_t bytes = set->len - 2 - set->value_at, count = (size_t)min_u64(bytes, BENCH_DIGITS);
    if (value.len != bytes) return false;
    bench_digits(number, digits, count);
    return memcmp(value.data, digits, count) == 0 &&
           memcmp(value.data + count, set->bytes + set->value_at + count, bytes - count) == 0;
}
