/* SPDX-License-Identifier: Apache-2.0 */
/* glob.c - the pattern matcher; see glob.h. */
#include "kv/glob.h"

#include "base/min.h"

#define STEPS_MIN    4096u
#define STEPS_A_BYTE 64u

/* A class from just after its '['. *used: its bytes, with the ']' if there is one. */
static bool class_holds(const uint8_t *class, size_t len, uint8_t c, size_t *used)
{
    size_t at = 0;
    bool negated = len > 0 && class[0] == '^';
    bool held = false;
    if (negated) at++;
    for (; at < len && class[at] != ']'; at++) {
        if (class[at] == '\\' && len - at >= 2) {
            at++;
            if (class[at] == c) held = true;
        } else if (len - at >= 3 && class[at + 1] == '-') {
            uint8_t low = class[at], high = class[at + 2];
            if (low <= high ? c >= low && c <= high : c >= high && c <= low) held = true;
            at += 2;
        } else if (class[at] == c) {
            held = true;
        }
    }
    *used = at < len ? at + 1 : len;
    return held != negated;
}

/* Does the item at the head of the pattern, which is no '*', take c? *used: the item's bytes. */
static bool item_takes(const uint8_t *pattern, size_t len, uint8_t c, size_t *used)
{
    *used = 1;
    switch (pattern[0]) {
    case '?': return true;
    case '[': {
        bool held = class_holds(pattern + 1, len - 1, c, used);
        *used += 1;
        return held;
    }
    case '\\':
        if (len >= 2) {
            *used = 2;
            return pattern[1] == c;
        }
        return c == '\\';
    default: return pattern[0] == c;
    }
}

/* *left: the steps it may take, and afterwards what is left of them. */
static enum glob_result match(struct kelp_bytes pattern, struct kelp_bytes text, uint64_t *left)
{
    size_t p = 0, t = 0;
    size_t star_p = SIZE_MAX,
           star_t = 0; /* just after the last '*', and where what it takes ends */
    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star_p = ++p;
            star_t = t;
            if (p == pattern.len) return GLOB_YES;
            continue;
        }
        size_t used = 0;
        bool taken =
            p < pattern.len && item_takes(pattern.data + p, pattern.len - p, text.data[t], &used);
        size_t cost = used + 1; /* a class costs its length */
        if (cost > *left) {
            *left = 0;
            return GLOB_TOO_LONG;
        }
        *left -= cost;
        if (taken) {
            p += used;
            t++;
        } else if (star_p != SIZE_MAX) {
            p = star_p;
            t = ++star_t;
        } else {
            return GLOB_NO;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len ? GLOB_YES : GLOB_NO;
}

enum glob_result glob_match_counted(struct kelp_bytes pattern, struct kelp_bytes text,
                                    uint64_t *work)
{
    (*work)++;
    if (text.len == 0) return pattern.len == 0 ? GLOB_YES : GLOB_NO;
    if (pattern.len > GLOB_STEPS_MAX) return GLOB_TOO_LONG; /* one class may be all of it */
    uint64_t most = STEPS_MIN + STEPS_A_BYTE * ((uint64_t)pattern.len + text.len);
    most = min_u64(most, GLOB_STEPS_MAX);
    uint64_t left = most;
    enum glob_result result = match(pattern, text, &left);
    *work += most - left;
    return result;
}

enum glob_result glob_match(struct kelp_bytes pattern, struct kelp_bytes text)
{
    uint64_t work = 0;
    return glob_match_counted(pattern, text, &work);
}
