/* SPDX-License-Identifier: Apache-2.0 */
/* tidy.h - what the two halves of tidy share: the tree as text, and how a finding is reported. */
#ifndef TIDY_H
#define TIDY_H

#include <stdbool.h>
#include <stddef.h>

#define NAME_MAX_BYTES 128
#define PAPER_MAP      "docs/paper-map.md"

struct text {
    char *path;   /* from the root */
    char *data;   /* as read, with a NUL behind it */
    char *code;   /* C only: the same bytes with comments and literals blanked, newlines kept */
    char **lines; /* line_count pointers into data, and one behind the last line */
    size_t line_count;
};

struct texts {
    struct text *at;
    size_t count, room;
};

/* One line "path:line: ..." on stdout; any finding makes tidy fail. */
__attribute__((format(printf, 3, 4))) void finding(const char *path, size_t line,
                                                   const char *format, ...);

/* tidy itself cannot go on. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

void *reserve(void *old, size_t bytes); /* realloc that never fails */
bool starts(const char *s, const char *with);
bool ends(const char *s, const char *with);
bool is_c(const struct text *t);
bool line_is(const struct text *t, size_t line, const char *is);

/* The line, counted from 0, of a pointer into t->data or t->code (given which). */
size_t line_of(const struct text *t, const char *code_or_data, const char *at);

/* The name that a declaration or function head beginning at this code gives: what stands before its
 * first parenthesis. Empty when the lines up to the next gap declare no function. */
void name_declared(const char *code, char name[NAME_MAX_BYTES]);

/* docs/paper-map.md as it should be; the caller frees it. Sections without code or without a test
 * are findings when strict, and counted in *warnings otherwise. */
char *paper_map(const struct texts *all, bool strict, unsigned *warnings);

#endif
