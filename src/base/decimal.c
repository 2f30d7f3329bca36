/* SPDX-License-Identifier: Apache-2.0 */
/* decimal.c - one spelling per number; see decimal.h. */
#include "base/decimal.h"

#include <string.h>

size_t decimal_write(int64_t number, uint8_t *out)
{
    uint8_t digits[DECIMAL_BYTES_MAX];
    size_t at = sizeof(digits);
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        digits[--at] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (number < 0) digits[--at] = '-';
    memcpy(out, digits + at, sizeof(digits) - at);
    return sizeof(digits) - at;
}

bool decimal_parse(struct kelp_bytes text, int64_t *out)
{
    if (text.len == 0 || text.len > DECIMAL_BYTES_MAX) return false;
    bool negative = text.data[0] == '-';
    size_t at = negative ? 1 : 0;
    if (at == text.len) return false;
    if (text.data[at] == '0' && text.len > 1)
        return false; /* 0 alone is a number; 007 and -0 are not */
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    uint64_t value = 0;
    for (; at < text.len; at++) {
        if (text.data[at] < '0' || text.data[at] > '9') return false;
        uint64_t digit = (uint64_t)(text.data[at] - '0');
        if (value > (limit - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = !negative ? (int64_t)value : value > INT64_MAX ? INT64_MIN : -(int64_t)value;
    return true;
}
