/* SPDX-License-Identifier: Apache-2.0 */
/* resp.c - the request parser; see resp.h.
 *
 *     *<count> CR LF { $<length> CR LF <length bytes> CR LF }          or          word word ... LF
 *
 * A request that is whole at the first look fills argv as it goes. One that paused keeps no
 * pointers (the buffer may move), only how far it came; when its last byte is there the heads, not
 * the bodies, are walked once more. */
#include "proto/resp.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/decimal.h"

static enum resp_result refuse(struct resp_request *out, const char *words)
{
    (void)snprintf(out->error, sizeof(out->error), "Protocol error: %s", words);
    return RESP_ERROR;
}

static enum resp_result wait_for(struct resp_parser *p, struct resp_request *out, size_t need)
{
    ASSERT(need > 0);
    p->paused = p->count > 0;
    out->need = need;
    return RESP_MORE;
}

static enum resp_result finish(struct resp_parser *p, struct resp_request *out, size_t argc,
                               size_t used)
{
    out->argc = argc;
    out->used = used;
    *p = (struct resp_parser){0};
    return RESP_REQUEST;
}

/* The line at p->at that ends in mark, without it. RESP_REQUEST: *line is set. */
static enum resp_result line_find(struct resp_parser *p, const struct resp_limits *limits,
                                  struct kelp_bytes data, uint8_t mark, const char *too_long,
                                  struct kelp_bytes *line, struct resp_request *out)
{
    size_t from = p->searched > p->at ? p->searched : p->at;
    const uint8_t *end = data.len > from ? memchr(data.data + from, mark, data.len - from) : NULL;
    size_t line_bytes = (end != NULL ? (size_t)(end - data.data) : data.len) - p->at;
    if (line_bytes > limits->inline_bytes_max) return refuse(out, too_long);
    p->searched = p->at + line_bytes;
    if (end == NULL) return wait_for(p, out, 1);
    *line = bytes_of(data.data + p->at, line_bytes);
    return RESP_REQUEST;
}

/* ---- inline: one line of words ----------------------------------------------------------- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint8_t escaped(uint8_t c)
{
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    default: return c;
    }
}

/* A quoted part from just after its opening quote. Writes what it stands for at *to, which never
 * overtakes the reading. Returns the place after the closing quote; NULL: there is none, or no
 * blank follows it. */
static uint8_t *unquote(uint8_t *at, const uint8_t *end, uint8_t quote, uint8_t **to)
{
    while (at < end && *at != quote) {
        size_t left = (size_t)(end - at);
        if (quote == '"' && left >= 4 && at[0] == '\\' && at[1] == 'x' && hex_digit(at[2]) >= 0 &&
            hex_digit(at[3]) >= 0) {
            *(*to)++ = (uint8_t)(hex_digit(at[2]) * 16 + hex_digit(at[3]));
            at += 4;
        } else if (quote == '"' && left >= 2 && at[0] == '\\') {
            *(*to)++ = escaped(at[1]);
            at += 2;
        } else if (quote == '\'' && left >= 2 && at[0] == '\\' && at[1] == '\'') {
            *(*to)++ = '\'';
            at += 2;
        } else {
            *(*to)++ = *at++;
        }
    }
    if (at == end) return NULL;
    at++;
    return at == end || is_blank(*at) ? at : NULL;
}

/* One word from at; returns the place after it, or NULL for unbalanced quotes. */
static uint8_t *word_cut(uint8_t *at, const uint8_t *end, struct kelp_bytes *word)
{
    uint8_t *begin = at, *to = at;
    while (at < end && *at != ' ' && *at != '\t' && *at != '\r') {
        if (*at == '"' || *at == '\'') {
            at = unquote(at + 1, end, *at, &to);
            if (at == NULL) return NULL;
            break; /* a closing quote ends the word */
        }
        *to++ = *at++;
    }
    *word = bytes_of(begin, (size_t)(to - begin));
    return at;
}

static enum resp_result parse_inline(struct resp_parser *p, const struct resp_limits *limits,
                                     uint8_t *data, size_t len, struct kelp_bytes *argv,
                                     struct resp_request *out)
{
    struct kelp_bytes line;
    enum resp_result found =
        line_find(p, limits, bytes_of(data, len), '\n', "too big inline request", &line, out);
    if (found != RESP_REQUEST) return found;
    size_t used = line.len + 1;
    size_t line_bytes = line.len > 0 && data[line.len - 1] == '\r' ? line.len - 1 : line.len;
    uint8_t *at = data;
    const uint8_t *end = data + line_bytes;
    size_t argc = 0;
    for (;;) {
        while (at < end && is_blank(*at))
            at++;
        if (at == end) return finish(p, out, argc, used);
        if (argc == limits->args_max) return refuse(out, "too big inline request");
        at = word_cut(at, end, &argv[argc]);
        if (at == NULL) return refuse(out, "unbalanced quotes in request");
        argc++;
    }
}

/* ---- array of bulk strings --------------------------------------------------------------- */

/* A head line, with its mark and without CR LF, at p->at; settles it. */
static enum resp_result head_read(struct resp_parser *p, const struct resp_limits *limits,
                                  struct kelp_bytes data, const char *too_long,
                                  struct kelp_bytes *line, struct resp_request *out)
{
    enum resp_result found = line_find(p, limits, data, '\r', too_long, line, out);
    if (found != RESP_REQUEST) return found;
    if (data.len - p->at < line->len + 2) return wait_for(p, out, 1);
    p->at += line->len + 2;
    return RESP_REQUEST;
}

static enum resp_result array_head(struct resp_parser *p, const struct resp_limits *limits,
                                   struct kelp_bytes data, struct resp_request *out)
{
    struct kelp_bytes line;
    enum resp_result found = head_read(p, limits, data, "too big mbulk count string", &line, out);
    if (found != RESP_REQUEST) return found;
    int64_t count = 0;
    if (!decimal_parse(bytes_of(line.data + 1, line.len - 1), &count) ||
        (count > 0 && (uint64_t)count > limits->args_max))
        return refuse(out, "invalid multibulk length");
    p->count = p->left = count > 0 ? (size_t)count : 0;
    return RESP_REQUEST;
}

static enum resp_result bulk_head(struct resp_parser *p, const struct resp_limits *limits,
                                  struct kelp_bytes data, struct resp_request *out)
{
    struct kelp_bytes line;
    enum resp_result found = head_read(p, limits, data, "too big bulk count string", &line, out);
    if (found != RESP_REQUEST) return found;
    uint8_t mark = line.len > 0 ? line.data[0] : '\r';
    if (mark != '$') {
        char words[] = "expected '$', got '?'";
        words[sizeof(words) - 3] = mark == '\r' || mark == '\n' ? ' ' : (char)mark;
        return refuse(out, words);
    }
    int64_t length = 0;
    if (!decimal_parse(bytes_of(line.data + 1, line.len - 1), &length) || length < 0 ||
        (uint64_t)length > limits->bulk_bytes_max)
        return refuse(out, "invalid bulk length");
    if ((uint64_t)length > limits->request_bytes_max - p->bytes)
        return refuse(out, "too big request");
    p->bulk = (size_t)length;
    p->bytes += p->bulk;
    p->in_bulk = true;
    return RESP_REQUEST;
}

/* Fill argv from a request that is known to be whole and right. */
static void argv_refill(struct kelp_bytes data, struct kelp_bytes *argv, size_t argc)
{
    size_t at = 0;
    for (size_t i = 0; i <= argc; i++) {
        const uint8_t *end = memchr(data.data + at, '\r', data.len - at);
        ASSERT(end != NULL);
        size_t head = (size_t)(end - data.data) + 2;
        int64_t number = 0;
        bool read = decimal_parse(bytes_of(data.data + at + 1, head - 2 - at - 1), &number);
        ASSERT(read && number >= 0);
        at = head;
        if (i == 0) continue; /* the head of the array */
        argv[i - 1] = bytes_of(data.data + at, (size_t)number);
        at += (size_t)number + 2;
    }
    ASSERT(at == data.len);
}

enum resp_result resp_parse(struct resp_parser *p, const struct resp_limits *limits, uint8_t *data,
                            size_t len, struct kelp_bytes *argv, struct resp_request *out)
{
    ASSERT(p->at <= len);
    *out = (struct resp_request){0};
    if (len == 0) return wait_for(p, out, 1);
    if (data[0] != '*') return parse_inline(p, limits, data, len, argv, out);
    struct kelp_bytes in = bytes_of(data, len);
    enum resp_result result = RESP_REQUEST;
    if (p->count == 0) {
        result = array_head(p, limits, in, out);
        if (result != RESP_REQUEST) return result;
        if (p->count == 0) return finish(p, out, 0, p->at);
    }
    while (p->left > 0) {
        if (!p->in_bulk) {
            result = bulk_head(p, limits, in, out);
            if (result != RESP_REQUEST) return result;
        }
        if (len - p->at < p->bulk + 2) return wait_for(p, out, p->bulk + 2 - (len - p->at));
        if (!p->paused) argv[p->count - p->left] = bytes_of(data + p->at, p->bulk);
        p->at += p->bulk + 2;
        p->in_bulk = false;
        p->left--;
    }
    if (p->paused) argv_refill(bytes_of(data, p->at), argv, p->count);
    return finish(p, out, p->count, p->at);
}
