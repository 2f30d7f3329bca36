/* SPDX-License-Identifier: Apache-2.0 */
/* print.c - colours only where a person sees them, JSON for programs, numbers as people read. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/room.h"

bool print_terminal(void)
{
    const char *kind = getenv("TERM");
    return isatty(STDOUT_FILENO) == 1 && kind != NULL && strcmp(kind, "dumb") != 0;
}

static bool coloured(void)
{
    const char *no = getenv("NO_COLOR");
    return print_terminal() && (no == NULL || no[0] == '\0');
}

const char *print_colour(enum print_colour colour)
{
    if (!coloured()) return "";
    switch (colour) {
    case PRINT_PLAIN: return "";
    case PRINT_BOLD: return "\033[1m";
    case PRINT_DIM: return "\033[2m";
    case PRINT_RED: return "\033[31m";
    case PRINT_GREEN: return "\033[32m";
    case PRINT_YELLOW: return "\033[33m";
    }
    return "";
}

const char *print_end(void)
{
    return coloured() ? "\033[0m" : "";
}

int print_json(const struct verb *verb, json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    if (text == NULL) return cli_error(verb, CLI_FAILED, "out of memory");
    (void)puts(text);
    (void)fflush(stdout);
    free(text);
    return CLI_DONE;
}

json_t *print_json_bytes(struct kelp_bytes bytes)
{
    if (bytes.len == 0) return json_string("");
    json_t *text = json_stringn((const char *)bytes.data, bytes.len);
    if (text != NULL) return text;
    char *hex = malloc(2 * bytes.len + 1);
    if (hex == NULL) return NULL;
    for (size_t i = 0; i < bytes.len; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", bytes.data[i]);
    json_t *value = json_pack("{ss}", "hex", hex);
    free(hex);
    return value;
}

const char *print_thousands(uint64_t number, char *out)
{
    char digits[21];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    char *at = out;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) *at++ = ',';
        *at++ = digits[i];
    }
    *at = '\0';
    return out;
}

uint64_t print_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}
