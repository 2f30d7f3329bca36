/* SPDX-License-Identifier: Apache-2.0 */
/* tidy.c - every convention of CONVENTIONS.md that a program can check, as a test.
 *
 *     tidy [--check|--write] [--strict] ROOT
 *
 * It works on text, not on syntax: with function braces in column 0 a function is what lies between
 * a { and a } there, and a copy of each file with comments and literals blanked out is enough to
 * find words. --write also rewrites docs/paper-map.md (which rule of the thesis stands where);
 * --check, the default, complains when that file is out of date; --strict turns the warnings about
 * what no test names into findings. Exit status: 0 clean, 1 findings, 2 could not work.
 *
 * Exceptions are made in the source, with a reason: "tidy: long, why" in or just above a function,
 * "tidy: allow WORD, why" on the line of the word or the line above it. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tidy.h"

#define FILE_LINES_MAX     800
#define FUNCTION_LINES_MAX 70
#define COLUMNS_MAX        100
#define NAME_MAX_BYTES     128
#define PAPER_MAP          "docs/paper-map.md"

static unsigned findings, warnings;

/* ---- words and lists --------------------------------------------------------------------- */

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("tidy: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

void finding(const char *path, size_t line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%s:%zu: ", path, line);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    findings++;
}

void *reserve(void *old, size_t bytes)
{
    void *new = realloc(old, bytes);
    if (new == NULL) die("out of memory");
    return new;
}

static char *copy_of(const char *bytes, size_t len)
{
    char *copy = reserve(NULL, len + 1);
    memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

bool starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

bool ends(const char *s, const char *with)
{
    size_t len = strlen(s), tail = strlen(with);
    return len >= tail && strcmp(s + len - tail, with) == 0;
}

static bool word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* The next identifier at or behind *at; *len is 0 when there is none. */
static const char *next_word(const char *at, size_t *len)
{
    while (*at != '\0') {
        size_t n = 0;
        while (word_char(at[n]))
            n++;
        if (n > 0 && !isdigit((unsigned char)*at)) {
            *len = n;
            return at;
        }
        at += n > 0 ? n : 1;
    }
    *len = 0;
    return at;
}

/* Is word in a list of words with one space between them? An entry may end in a star. */
static bool listed(const char *list, const char *word, size_t len)
{
    while (*list != '\0') {
        size_t n = strcspn(list, " ");
        if (n == len && memcmp(list, word, n) == 0) return true;
        if (list[n - 1] == '*' && len >= n - 1 && memcmp(list, word, n - 1) == 0) return true;
        list += n;
        list += strspn(list, " ");
    }
    return false;
}

/* Where whole stands in text as a word of its own, or NULL. */
static const char *find_word(const char *text, const char *whole)
{
    size_t len = strlen(whole);
    for (const char *at = strstr(text, whole); at != NULL; at = strstr(at + 1, whole)) {
        if ((at == text || !word_char(at[-1])) && !word_char(at[len])) return at;
    }
    return NULL;
}

/* ---- reading the tree --------------------------------------------------------------------- */

static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    size_t room = 1 << 16, used = 0;
    char *data = reserve(NULL, room + 1);
    for (;;) {
        used += fread(data + used, 1, room - used, file);
        if (used < room) break;
        data = reserve(data, (room *= 2) + 1);
    }
    if (ferror(file)) die("%s: %s", path, strerror(errno));
    fclose(file);
    data[used] = '\0';
    return data;
}

/* Blank out the literal or comment that begins at from; returns where the code goes on. */
static char *blank_piece(char *from)
{
    char *to = from + 1;
    if (starts(from, "/*")) {
        char *close = strstr(from + 2, "*/");
        to = close != NULL ? close + 2 : from + strlen(from);
    } else if (starts(from, "//")) {
        to = from + strcspn(from, "\n");
    } else {
        while (*to != '\0' && *to != *from && *to != '\n')
            to += *to == '\\' && to[1] != '\0' ? 2 : 1;
        if (*to == *from) to++;
    }
    for (char *at = from; at < to; at++) {
        if (*at != '\n') *at = ' ';
    }
    return to;
}

static char *code_of(const char *data)
{
    char *code = copy_of(data, strlen(data));
    for (char *at = code; *at != '\0';) {
        bool piece = *at == '"' || *at == '\'' || starts(at, "/*") || starts(at, "//");
        at = piece ? blank_piece(at) : at + 1;
    }
    return code;
}

bool is_c(const struct text *t)
{
    return ends(t->path, ".c") || ends(t->path, ".h");
}

static void load(struct texts *all, const char *root, const char *path)
{
    char full[4096];
    snprintf(full, sizeof full, "%s/%s", root, path);
    struct text t = {.path = copy_of(path, strlen(path)), .data = read_whole(full)};
    if (t.data == NULL) die("%s: %s", full, strerror(errno));
    if (is_c(&t)) t.code = code_of(t.data);
    for (const char *at = t.data; *at != '\0'; t.line_count++) {
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
    t.lines = reserve(NULL, (t.line_count + 1) * sizeof *t.lines);
    char *at = t.data;
    for (size_t line = 0; line <= t.line_count; line++) {
        t.lines[line] = at;
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
    if (all->count == all->room) {
        all->room = all->room * 2 + 64;
        all->at = reserve(all->at, all->room * sizeof *all->at);
    }
    all->at[all->count++] = t;
}

/* Load what is ours below a folder, in the order of the names. */
static void walk(struct texts *all, const char *root, const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", root, folder);
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    if (count < 0 && errno == ENOENT) return;
    if (count < 0) die("%s: %s", path, strerror(errno));
    for (int slot = 0; slot < count; slot++) {
        const char *name = names[slot]->d_name;
        char below[4096], full[8192];
        struct stat found;
        snprintf(below, sizeof below, "%s/%s", folder, name);
        snprintf(full, sizeof full, "%s/%s", root, below);
        if (name[0] != '.' && stat(full, &found) == 0) {
            bool script = ends(name, ".py") || ends(name, ".sh");
            bool scenario = ends(name, ".txt") && starts(below, "tests/scenario/");
            bool source = ends(name, ".c") || ends(name, ".h") || script || scenario;
            if (S_ISDIR(found.st_mode) && strcmp(name, "corpus") != 0) walk(all, root, below);
            if (S_ISREG(found.st_mode) && source) load(all, root, below);
        }
        free(names[slot]);
    }
    free(names);
}

static const struct text *text_at(const struct texts *all, const char *path)
{
    for (size_t slot = 0; slot < all->count; slot++) {
        if (strcmp(all->at[slot].path, path) == 0) return &all->at[slot];
    }
    return NULL;
}

size_t line_of(const struct text *t, const char *code_or_data, const char *at)
{
    size_t offset = (size_t)(at - code_or_data), line = 0;
    while (line + 1 < t->line_count && t->lines[line + 1] <= t->data + offset)
        line++;
    return line;
}

bool line_is(const struct text *t, size_t line, const char *is)
{
    return starts(t->lines[line], is) && t->lines[line][strlen(is)] == '\n';
}

/* The room of src/ROOM/..., "pub" for include/, "" for everything else. */
static void room_of(const char *path, char room[NAME_MAX_BYTES])
{
    room[0] = '\0';
    if (starts(path, "include/")) snprintf(room, NAME_MAX_BYTES, "pub");
    if (!starts(path, "src/")) return;
    size_t len = strcspn(path + 4, "/");
    if (len < NAME_MAX_BYTES) snprintf(room, NAME_MAX_BYTES, "%.*s", (int)len, path + 4);
}

/* ---- sizes, heads, words that must not stay ------------------------------------------------ */

static size_t columns(const char *line)
{
    size_t count = 0;
    for (; *line != '\0' && *line != '\n'; line++)
        count += ((unsigned char)*line & 0xc0) != 0x80;
    return count;
}

static void check_lines(const struct text *t)
{
    if (t->line_count > FILE_LINES_MAX)
        finding(t->path, t->line_count, "%zu lines, at most %d", t->line_count, FILE_LINES_MAX);
    if (ends(t->path, ".txt")) return;
    for (size_t line = 0; line < t->line_count; line++) {
        size_t wide = columns(t->lines[line]);
        if (wide > COLUMNS_MAX)
            finding(t->path, line + 1, "%zu columns, at most %d", wide, COLUMNS_MAX);
    }
}

static void check_head(const struct text *t)
{
    static const char licence[] = "SPDX-License-Identifier: Apache-2.0";
    if (ends(t->path, ".txt")) return;
    if (!is_c(t)) {
        const char *found = strstr(t->data, licence);
        if (found == NULL || line_of(t, t->data, found) > 1)
            finding(t->path, 1, "does not begin with # %s", licence);
        return;
    }
    char first[64];
    snprintf(first, sizeof first, "/* %s */", licence);
    if (t->line_count < 2 || !line_is(t, 0, first))
        finding(t->path, 1, "the first line is not %s", first);
    else if (!starts(t->lines[1], "/* "))
        finding(t->path, 2, "no head comment: what lives here, and why");
}

static void check_leftovers(const struct text *t)
{
    static const char *const words[] = {"TO"
                                        "DO",
                                        "FIX"
                                        "ME",
                                        "XX"
                                        "X",
                                        "HA"
                                        "CK"};
    for (size_t slot = 0; slot < sizeof words / sizeof *words; slot++) {
        const char *found = find_word(t->data, words[slot]);
        if (found != NULL)
            finding(t->path, line_of(t, t->data, found) + 1, "%s: make it an issue", words[slot]);
    }
}

/* ---- functions ----------------------------------------------------------------------------- */

/* The exception must stand in the function or in the lines that lead to it without a gap. */
static bool excused_long(const struct text *t, size_t open, size_t close)
{
    size_t first = open;
    while (first > 0 && !line_is(t, first - 1, "") && !line_is(t, first - 1, "}"))
        first--;
    const char *why = strstr(t->lines[first], "tidy: long, ");
    return why != NULL && why < t->lines[close];
}

static void check_functions(const struct text *t)
{
    size_t open = 0;
    bool inside = false;
    for (size_t line = 0; line < t->line_count; line++) {
        if (line_is(t, line, "{")) {
            open = line;
            inside = true;
        } else if (inside && t->lines[line][0] == '}') {
            size_t lines = line - open + 1;
            inside = false;
            if (lines > FUNCTION_LINES_MAX && !excused_long(t, open, line))
                finding(t->path, open + 1, "function of %zu lines, at most %d", lines,
                        FUNCTION_LINES_MAX);
        }
    }
}

/* ---- words forbidden per room -------------------------------------------------------------- */

enum how { AS_WORD, AS_CALL };

static const struct rule {
    const char *rooms; /* "*": every C file of the tree */
    const char *words;
    enum how how;
    const char *why;
} rules[] = {
    {"*", "strcpy strcat sprintf vsprintf gets alloca strtok", AS_CALL, "has no bound"},
    {"*", "rand srand random srandom drand48", AS_CALL, "chance comes from base/prng.h"},
    {"core wire proto", "malloc calloc realloc free strdup", AS_CALL,
     "a pure room never allocates"},
    {"core wire proto", "printf fprintf vfprintf puts fopen", AS_CALL, "a pure room never prints"},
    {"core wire proto", "errno pthread_*", AS_WORD, "a pure room knows no operating system"},
    {"base core wire proto store driver rsm kv",
     "time clock_gettime gettimeofday localtime gmtime getrandom", AS_CALL,
     "time and chance come in from outside"},
    {"base core wire proto store driver rsm kv sim",
     "open openat creat read pread preadv write pwrite writev pwritev fsync fdatasync rename "
     "renameat unlink unlinkat truncate ftruncate mkdir mkdirat rmdir flock socket connect bind",
     AS_CALL, "the operating system is called by sys and by what owns threads and sockets"},
    {"core wire store driver rsm", "float double", AS_WORD, "replicas must compute the same"},
};

static bool is_call(const char *code, const char *word, size_t len)
{
    const char *behind = word + len + strspn(word + len, " \n");
    const char *before = word;
    while (before > code && before[-1] == ' ')
        before--;
    bool member = before > code && (before[-1] == '.' ||
                                    (before - code > 1 && before[-1] == '>' && before[-2] == '-'));
    return *behind == '(' && !member;
}

static bool excused_word(const struct text *t, size_t line, const char *word, size_t len)
{
    char excuse[64];
    snprintf(excuse, sizeof excuse, "tidy: allow %.*s,", (int)len, word);
    const char *found = strstr(t->lines[line > 0 ? line - 1 : 0], excuse);
    return found != NULL && found < t->lines[line + 1];
}

static void check_words(const struct text *t)
{
    char room[NAME_MAX_BYTES];
    room_of(t->path, room);
    size_t len;
    for (const char *word = next_word(t->code, &len); len > 0; word = next_word(word + len, &len)) {
        for (size_t slot = 0; slot < sizeof rules / sizeof *rules; slot++) {
            const struct rule *rule = &rules[slot];
            if (rule->rooms[0] != '*' && !listed(rule->rooms, room, strlen(room))) continue;
            if (!listed(rule->words, word, len)) continue;
            if (rule->how == AS_CALL && !is_call(t->code, word, len)) continue;
            size_t line = line_of(t, t->code, word);
            if (!excused_word(t, line, word, len))
                finding(t->path, line + 1, "%.*s: %s", (int)len, word, rule->why);
        }
    }
}

/* ---- includes and layers ------------------------------------------------------------------- */

static char *layers; /* tools/layers.txt */

/* What the line "room: ..." of layers.txt lists, in list; false when there is no such line. */
static bool layer_of(const char *room, char *list, size_t list_bytes)
{
    size_t len = strlen(room);
    for (const char *at = layers; *at != '\0';) {
        size_t line = strcspn(at, "\n");
        if (line > len && memcmp(at, room, len) == 0 && at[len] == ':') {
            at += len + 1;
            size_t gap = strspn(at, " ");
            snprintf(list, list_bytes, "%.*s", (int)(line - len - 1 - gap), at + gap);
            return true;
        }
        at += line + (at[line] == '\n');
    }
    return false;
}

static void check_src_include(const struct texts *all, const struct text *t, size_t line,
                              const char *target)
{
    char room[NAME_MAX_BYTES], list[512], path[512], to[NAME_MAX_BYTES];
    room_of(t->path, room);
    snprintf(path, sizeof path, "%s%s", starts(target, "kelp/") ? "include/" : "src/", target);
    if (text_at(all, path) == NULL) {
        finding(t->path, line + 1, "include \"%s\" is not rooted at src/ or include/", target);
        return;
    }
    room_of(path, to);
    if (strcmp(room, to) == 0) return;
    if (strcmp(room, "pub") == 0) {
        finding(t->path, line + 1, "a public header includes \"%s\"", target);
    } else if (!layer_of(room, list, sizeof list)) {
        finding(t->path, line + 1, "room %s is not in tools/layers.txt", room);
    } else if (!listed(list, to, strlen(to)) && !listed(list, target, strlen(target))) {
        finding(t->path, line + 1, "%s may not include \"%s\" (tools/layers.txt)", room, target);
    }
}

static void check_includes(const struct texts *all, const struct text *t)
{
    bool inner = starts(t->path, "src/") || starts(t->path, "include/");
    for (size_t line = 0; line < t->line_count; line++) {
        const char *at = t->lines[line];
        if (t->code[at - t->data] != '#') continue;
        at += 1 + strspn(at + 1, " ");
        if (!starts(at, "include ")) continue;
        at += 8 + strspn(at + 8, " ");
        char target[256];
        size_t len = *at == '"' || *at == '<' ? strcspn(at + 1, "\">\n") : 0;
        if (len == 0 || len >= sizeof target) continue; /* a macro, or nothing a header is called */
        snprintf(target, sizeof target, "%.*s", (int)len, at + 1);
        bool quoted = *at == '"';
        if (strcmp(target, "assert.h") == 0)
            finding(t->path, line + 1, "<assert.h>: ours is base/assert.h, on in every build");
        if (strstr(target, "..") != NULL)
            finding(t->path, line + 1, "include \"%s\" is not rooted", target);
        else if (inner && (quoted || starts(target, "kelp/")))
            check_src_include(all, t, line, target);
        else if (starts(t->path, "examples/") && quoted)
            finding(t->path, line + 1, "an example shows <kelp/...> only");
    }
}

/* ---- contracts ----------------------------------------------------------------------------- */

/* The name a declaration or function head beginning at this code gives: what is before the first
 * parenthesis. Empty when the lines up to the next gap declare no function. */
void name_declared(const char *code, char name[NAME_MAX_BYTES])
{
    name[0] = '\0';
    for (const char *at = code; *at != '\0' && strchr(";{}=#", *at) == NULL; at++) {
        if (*at == '\n' && at[1] == '\n') return;
        if (*at != '(') continue;
        const char *end = at, *first = at;
        while (first > code && word_char(first[-1]))
            first--;
        if (end - first < NAME_MAX_BYTES && !starts(first, "__attribute__"))
            snprintf(name, NAME_MAX_BYTES, "%.*s", (int)(end - first), first);
        if (name[0] != '\0') return;
    }
}

static void check_contract(const struct text *t, size_t line, const char *name)
{
    char head[NAME_MAX_BYTES + 8];
    snprintf(head, sizeof head, "/* %s - ", name);
    size_t first = line;
    while (first > 0 && !starts(t->lines[first - 1], "/*") && t->lines[first - 1][0] == ' ')
        first--;
    if (first > 0) first--;
    if (!starts(t->lines[first], head)) {
        finding(t->path, line + 1, "no contract \"%s...\" directly above %s", head, name);
        return;
    }
    char *contract = copy_of(t->lines[first], (size_t)(t->lines[line] - t->lines[first]));
    if (find_word(contract, "thread") == NULL || find_word(contract, "cost") == NULL)
        finding(t->path, line + 1, "the contract of %s does not name thread and cost", name);
    free(contract);
}

static void check_contracts(const struct text *t)
{
    if (!starts(t->path, "include/")) return;
    for (size_t line = 0; line < t->line_count; line++) {
        const char *code = t->code + (t->lines[line] - t->data);
        if (!isalpha((unsigned char)*code) || starts(code, "static") || starts(code, "typedef"))
            continue;
        char name[NAME_MAX_BYTES];
        name_declared(code, name);
        if (name[0] == '\0' || !starts(name, "kelp_")) continue;
        if (!starts(code, "KELP_API "))
            finding(t->path, line + 1, "%s is public but not KELP_API", name);
        check_contract(t, line, name);
    }
}

/* ---- CMake --------------------------------------------------------------------------------- */

static bool named_in(const struct text *cmake, const char *path)
{
    const char *found = find_word(cmake->data, path);
    if (found == NULL) return false;
    const char *line = cmake->lines[line_of(cmake, cmake->data, found)];
    return memchr(line, '#', (size_t)(found - line)) == NULL;
}

static void check_cmake(const struct texts *all, const struct text *cmake)
{
    for (size_t slot = 0; slot < all->count; slot++) {
        const char *path = all->at[slot].path;
        bool built = starts(path, "src/") || starts(path, "tests/");
        if (built && ends(path, ".c") && !named_in(cmake, path))
            finding(path, 1, "is not named in CMakeLists.txt");
    }
    for (size_t line = 0; line < cmake->line_count; line++) {
        const char *at = cmake->lines[line] + strspn(cmake->lines[line], " ");
        char *path = copy_of(at, strcspn(at, " )\n"));
        bool ours = starts(path, "src/") || starts(path, "tests/") || starts(path, "examples/");
        if (ours && ends(path, ".c") && text_at(all, path) == NULL)
            finding(cmake->path, line + 1, "%s does not exist", path);
        free(path);
    }
}

/* ---- events -------------------------------------------------------------------------------- */

/* Rooms that read events; naming one there emits nothing. */
static const char readers[] = "sim server cli main";

/* Is the event emitted in this file: KELP_EV_NAME, or NAME in a statement with an EVENT macro? */
static bool emits(const struct text *t, const char *name)
{
    char constant[NAME_MAX_BYTES];
    snprintf(constant, sizeof constant, "KELP_EV_%s", name);
    if (find_word(t->code, constant) != NULL) return true;
    const char *at = t->code;
    while ((at = find_word(at, name)) != NULL) {
        const char *first = at;
        while (first > t->code && strchr(";{}", first[-1]) == NULL)
            first--;
        const char *macro = strstr(first, "EVENT");
        if (macro != NULL && macro < at) return true;
        at += strlen(name);
    }
    return false;
}

static bool emitted(const struct texts *all, const char *name)
{
    for (size_t slot = 0; slot < all->count; slot++) {
        const struct text *t = &all->at[slot];
        char room[NAME_MAX_BYTES];
        room_of(t->path, room);
        if (!starts(t->path, "src/") || listed(readers, room, strlen(room))) continue;
        if (emits(t, name)) return true;
    }
    return false;
}

static bool tested(const struct texts *all, const char *name)
{
    char constant[NAME_MAX_BYTES];
    snprintf(constant, sizeof constant, "KELP_EV_%s", name);
    for (size_t slot = 0; slot < all->count; slot++) {
        const struct text *t = &all->at[slot];
        if (!starts(t->path, "tests/") || starts(t->path, "tests/tidy/")) continue;
        if (find_word(t->data, name) != NULL || find_word(t->data, constant) != NULL) return true;
    }
    return false;
}

static void check_events(const struct texts *all, bool strict)
{
    const struct text *t = text_at(all, "include/kelp/event.h");
    if (t == NULL) return;
    for (size_t line = 0; line < t->line_count; line++) {
        const char *at = t->lines[line] + strspn(t->lines[line], " ");
        if (!starts(at, "X(") || starts(at, "X(NONE,")) continue;
        char *name = copy_of(at + 2, strcspn(at + 2, ",\n"));
        if (!emitted(all, name)) {
            finding(t->path, line + 1, "the event %s is emitted nowhere", name);
        } else if (!tested(all, name)) {
            if (strict) finding(t->path, line + 1, "no test names the event %s", name);
            warnings += !strict;
        }
        free(name);
    }
}

/* ---- the paper map ------------------------------------------------------------------------- */

static void check_paper_map(const struct texts *all, const char *root, bool write, bool strict)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", root, PAPER_MAP);
    char *map = paper_map(all, strict, &warnings), *old = read_whole(path);
    bool same = old != NULL && strcmp(map, old) == 0;
    if (!same && !write) finding(PAPER_MAP, 1, "out of date: make tidy rewrites it");
    if (!same && write) {
        char folder[4096];
        snprintf(folder, sizeof folder, "%s/docs", root);
        if (mkdir(folder, 0777) != 0 && errno != EEXIST) die("%s: %s", folder, strerror(errno));
        FILE *file = fopen(path, "wb");
        if (file == NULL) die("%s: %s", path, strerror(errno));
        bool written = fputs(map, file) >= 0;
        if (fclose(file) != 0 || !written) die("%s: %s", path, strerror(errno));
        printf("tidy: wrote %s\n", PAPER_MAP);
    }
    free(map);
    free(old);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static void check_all(const struct texts *all, const struct text *cmake, bool strict)
{
    for (size_t slot = 0; slot < all->count; slot++) {
        const struct text *t = &all->at[slot];
        check_lines(t);
        check_head(t);
        check_leftovers(t);
        if (!is_c(t)) continue;
        check_functions(t);
        check_words(t);
        check_includes(all, t);
        check_contracts(t);
    }
    check_cmake(all, cmake);
    check_events(all, strict);
}

static void free_all(struct texts *all)
{
    for (size_t slot = 0; slot < all->count; slot++) {
        free(all->at[slot].path);
        free(all->at[slot].data);
        free(all->at[slot].code);
        free(all->at[slot].lines);
    }
    free(all->at);
}

int main(int argc, char **argv)
{
    static const char *const folders[] = {"bench", "examples", "include", "src", "tests", "tools"};
    const char *root = NULL;
    bool write = false, strict = false;
    for (int slot = 1; slot < argc; slot++) {
        if (strcmp(argv[slot], "--write") == 0)
            write = true;
        else if (strcmp(argv[slot], "--strict") == 0)
            strict = true;
        else if (argv[slot][0] != '-')
            root = argv[slot];
        else if (strcmp(argv[slot], "--check") != 0)
            die("unknown option %s", argv[slot]);
    }
    if (root == NULL) die("usage: tidy [--check|--write] [--strict] ROOT");
    char path[4096];
    snprintf(path, sizeof path, "%s/tools/layers.txt", root);
    layers = read_whole(path);
    if (layers == NULL) die("%s: %s", path, strerror(errno));

    struct texts all = {0}, cmake = {0};
    for (size_t slot = 0; slot < sizeof folders / sizeof *folders; slot++)
        walk(&all, root, folders[slot]);
    load(&cmake, root, "CMakeLists.txt");
    check_all(&all, cmake.at, strict);
    check_paper_map(&all, root, write, strict);
    printf("tidy: %zu files, %u findings", all.count, findings);
    if (warnings > 0) printf(", %u warnings (--strict shows them)", warnings);
    putchar('\n');
    free_all(&all);
    free_all(&cmake);
    free(layers);
    return findings > 0 ? 1 : 0;
}
