/* SPDX-License-Identifier: Apache-2.0 */
/* paper_map.c - from the tags in the sources to docs/paper-map.md: which section of the thesis
 * stands in which code, which scenario and which test.
 *
 * Entries name functions, not lines, so that the map changes only when what it says changes. The
 * output depends on the tree alone: sections by number, then files and names in byte order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tidy.h"

#define SIGN "§"

enum kind { CODE, SCENARIO, TEST, KIND_COUNT };

struct mention {
    char section[32]; /* "3.6.2" */
    enum kind kind;
    const char *path;
    char name[NAME_MAX_BYTES]; /* the function, empty when the file as a whole says it */
};

struct mentions {
    struct mention *at;
    size_t count, room;
};

static int compare_sections(const char *a, const char *b)
{
    for (;;) {
        char *a_end, *b_end;
        unsigned long x = strtoul(a, &a_end, 10), y = strtoul(b, &b_end, 10);
        if (x != y) return x < y ? -1 : 1;
        if (*a_end != '.' || *b_end != '.') return (*a_end == '.') - (*b_end == '.');
        a = a_end + 1;
        b = b_end + 1;
    }
}

static int compare_mentions(const void *left, const void *right)
{
    const struct mention *a = left, *b = right;
    int order = compare_sections(a->section, b->section);
    if (order == 0) order = (int)a->kind - (int)b->kind;
    if (order == 0) order = strcmp(a->path, b->path);
    return order != 0 ? order : strcmp(a->name, b->name);
}

/* Does a declaration or a function end on this line, or is it empty? */
static bool ends_block(const struct text *t, size_t line)
{
    const char *code = t->code + (t->lines[line] - t->data);
    size_t len = strcspn(code, "\n");
    while (len > 0 && code[len - 1] == ' ')
        len--;
    return t->lines[line][0] == '\n' || code[0] == '}' || (len > 0 && code[len - 1] == ';');
}

/* The function a line stands in, or leads to without a gap. */
static void enclosing(const struct text *t, size_t line, char name[NAME_MAX_BYTES])
{
    size_t head = line, open = line;
    name[0] = '\0';
    if (ends(t->path, ".py")) {
        while (head > 0 && !starts(t->lines[head], "def "))
            head--;
        const char *at = t->lines[head];
        if (starts(at, "def "))
            snprintf(name, NAME_MAX_BYTES, "%.*s", (int)strcspn(at + 4, "(\n"), at + 4);
    }
    if (!is_c(t)) return;
    while (open > 0 && !line_is(t, open, "{") && t->lines[open][0] != '}')
        open--;
    if (line_is(t, open, "{")) head = open;
    while (head > 0 && !ends_block(t, head - 1))
        head--;
    name_declared(t->code + (t->lines[head] - t->data), name);
}

static void collect(const struct text *t, struct mentions *m)
{
    bool test = starts(t->path, "tests/");
    if (starts(t->path, "tests/tidy/")) return; /* its tags are made up */
    if (!test && !starts(t->path, "src/") && !starts(t->path, "include/")) return;
    enum kind kind = !test ? CODE : ends(t->path, ".txt") ? SCENARIO : TEST;
    for (const char *tag = strstr(t->data, "[" SIGN); tag != NULL;
         tag = strstr(tag + 1, "[" SIGN)) {
        const char *end = tag + strcspn(tag, "]");
        for (const char *at = tag; (at = strstr(at, SIGN)) != NULL && at < end;) {
            at += strlen(SIGN);
            size_t len = strspn(at, "0123456789.");
            while (len > 0 && at[len - 1] == '.')
                len--;
            if (len == 0 || len >= sizeof m->at->section) continue;
            if (m->count == m->room) {
                m->room = m->room * 2 + 256;
                m->at = reserve(m->at, m->room * sizeof *m->at);
            }
            struct mention *to = &m->at[m->count++];
            *to = (struct mention){.kind = kind, .path = t->path};
            memcpy(to->section, at, len);
            enclosing(t, line_of(t, t->data, tag), to->name);
        }
    }
}

static void print_section(FILE *out, const struct mention *at, size_t count, bool strict,
                          unsigned *warnings)
{
    static const char *const kinds[] = {"code", "scenario", "test"};
    bool has[KIND_COUNT] = {false};
    fprintf(out, "\n## " SIGN "%s\n\n", at->section);
    for (size_t slot = 0; slot < count; slot++) {
        const struct mention *one = &at[slot];
        if (slot > 0 && compare_mentions(one, one - 1) == 0) continue;
        bool same_file =
            slot > 0 && one->kind == at[slot - 1].kind && strcmp(one->path, at[slot - 1].path) == 0;
        has[one->kind] = true;
        if (!same_file)
            fprintf(out, "%s- %s: [%s](../%s)", slot > 0 ? "\n" : "", kinds[one->kind], one->path,
                    one->path);
        if (one->name[0] != '\0')
            fprintf(out, "%s `%s`", same_file && at[slot - 1].name[0] != '\0' ? "," : "",
                    one->name);
    }
    fputc('\n', out);
    if (has[CODE] && (has[SCENARIO] || has[TEST])) return;
    if (strict)
        finding(PAPER_MAP, 1, SIGN "%s has no %s", at->section, has[CODE] ? "test" : "code");
    *warnings += !strict;
}

char *paper_map(const struct texts *all, bool strict, unsigned *warnings)
{
    struct mentions m = {0};
    for (size_t slot = 0; slot < all->count; slot++)
        collect(&all->at[slot], &m);
    if (m.count > 0) qsort(m.at, m.count, sizeof *m.at, compare_mentions);
    char *map = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&map, &len);
    if (out == NULL) die("out of memory");
    fputs("# The thesis in the code\n\n"
          "Where each section of Ongaro's *Consensus: Bridging Theory and Practice* stands in the\n"
          "code, in the scenarios and in the tests. `make tidy` writes this file from the tags\n"
          "(`[" SIGN "...]`) in the sources; do not edit it. What other libraries test, and where\n"
          "it stands here, is in [counterparts.md](counterparts.md).\n",
          out);
    for (size_t first = 0, next; first < m.count; first = next) {
        next = first;
        while (next < m.count && strcmp(m.at[next].section, m.at[first].section) == 0)
            next++;
        print_section(out, &m.at[first], next - first, strict, warnings);
    }
    if (fclose(out) != 0) die("out of memory");
    free(m.at);
    return map;
}
