/* SPDX-License-Identifier: Apache-2.0 */
/* scenario.c - a scenario file: blocks of commands, each with the transcript that is right.
 *
 *     # What must not happen, and where it happened. [§3.6.1]
 *     nodes 3
 *     timeout 3
 *     expect 3 pre-candidate
 *     ----
 *        1.370  3        ELECTION_TIMEOUT
 *
 * A block ends at `----`; its transcript goes to the next empty line. Playing a file makes its text
 * anew: commands and comments are copied, transcripts are replaced by what happened. A check
 * compares the two texts, a rewrite writes the new one. */
#include "sim/scenario.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/assert.h"
#include "sim/scenario_room.h"

#define TEXT_MAX      (1u << 20) /* bytes of a scenario file */
#define CONTEXT_LINES 3u         /* around a difference */

/* ---- memory, errors, the transcript ---- */

void *scenario_memory(struct scenario *s, size_t bytes)
{
    const size_t head = 16; /* what follows is aligned like the block itself */
    struct chunk *chunk = bytes < SIZE_MAX - head ? calloc(1, head + bytes) : NULL;
    if (chunk == NULL) scenario_stop(s, "out of memory");
    chunk->next = s->memory;
    s->memory = chunk;
    return (uint8_t *)chunk + head;
}

void *scenario_grow(struct scenario *s, void *at, size_t count, size_t *room, size_t size)
{
    if (count < *room) return at;
    size_t wanted = *room * 2 + 8;
    void *moved = scenario_memory(s, wanted * size);
    if (count > 0) memcpy(moved, at, count * size);
    *room = wanted;
    return moved;
}

static void note_failure(struct scenario *s, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void note_failure(struct scenario *s, const char *format, va_list args)
{
    char *out = s->report->failure;
    size_t size = sizeof s->report->failure, used = strlen(out);
    s->report->passed = false;
    int wrote = snprintf(out + used, size - used, "line %zu: ", s->line);
    if (wrote < 0 || (size_t)wrote + 1 >= size - used) return;
    used += (size_t)wrote;
    wrote = vsnprintf(out + used, size - used, format, args);
    if (wrote < 0 || (size_t)wrote + 1 >= size - used) return;
    (void)snprintf(out + used + wrote, size - used - (size_t)wrote, "\n");
}

void scenario_failed(struct scenario *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note_failure(s, format, args);
    va_end(args);
}

_Noreturn void scenario_stop(struct scenario *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note_failure(s, format, args);
    va_end(args);
    longjmp(s->stop, 1);
}

void scenario_note(struct scenario *s, const char *format, ...)
{
    char text[SCENARIO_LINE_MAX];
    if (s->hidden) return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)buf_append_text(&s->lines, text);
    (void)buf_append_text(&s->lines, "\n");
}

void scenario_say(struct scenario *s, const struct node *node, const char *who, const char *format,
                  ...)
{
    char text[SCENARIO_LINE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    uint64_t ms = node->now / 1000000u;
    scenario_note(s, "%4llu.%03llu  %-7s %s", (unsigned long long)(ms / 1000),
                  (unsigned long long)(ms % 1000), who, text);
}

/* An assertion of the core ends the story, not the process: the others are still to be told. */
static struct scenario *running;

static void asserted(const char *expression, const char *file, int line)
{
    struct scenario *s = running;
    if (s != NULL) scenario_stop(s, "ASSERTION %s, %s:%d", expression, file, line);
}

/* ---- playing ---- */

static void command(struct scenario *s)
{
    const char *word = words_next(s);
    if (strcmp(word, "quietly") == 0) {
        s->hidden = true;
        command(s);
        s->hidden = false;
        return;
    }
    if (setup_command(s, word)) {
        words_end(s);
        return;
    }
    setup_start(s);
    if (strcmp(word, "expect") == 0)
        expect_command(s);
    else if (!act_command(s, word) && !post_command(s, word))
        scenario_stop(s, "there is no command \"%s\"", word);
    words_end(s);
}

/* Run a line, told as a step if somebody reads along; false: he has read enough. */
static bool command_line(struct scenario *s, const char *line)
{
    bool expects = strncmp(line, "expect ", 7) == 0;
    if (s->step != NULL && !step_begin(s, line, !expects && !setup_is(s, line))) return false;
    char *copy = scenario_memory(s, strlen(line) + 1);
    memcpy(copy, line, strlen(line));
    words_split(s, copy);
    if (words_left(s)) command(s);
    if (s->step != NULL) step_end(s, expects);
    return true;
}

static void block_end(struct scenario *s, struct buf *out)
{
    (void)buf_append_text(out, "----\n");
    if (s->lines.len == 0)
        (void)buf_append_text(out, "ok\n");
    else
        (void)buf_append(out, buf_bytes(&s->lines));
    if (s->lines.error != KELP_OK) scenario_stop(s, "the transcript is too long");
    buf_clear(&s->lines);
    for (size_t slot = 0; slot < s->node_count; slot++)
        memset(s->nodes[slot].seen_block, 0, sizeof s->nodes[slot].seen_block);
}

static void play(struct scenario *s, char *text, struct buf *out)
{
    bool in_block = false, in_transcript = false;
    for (char *line = text, *next; line != NULL; line = next) {
        next = strchr(line, '\n');
        if (next != NULL) *next++ = '\0';
        if (next == NULL && *line == '\0') break;
        s->line++;
        bool empty = line[strspn(line, " \t")] == '\0', ends = strcmp(line, "----") == 0;
        if (in_transcript && !empty) continue; /* what was right before is compared later */
        in_transcript = ends;
        if (in_block && (ends || empty)) {
            block_end(s, out);
            in_block = false;
        } else if (ends) {
            scenario_stop(s, "a transcript without commands");
        }
        if (ends) continue;
        (void)buf_append_text(out, line);
        (void)buf_append_text(out, "\n");
        if (s->step != NULL && (empty || line[0] == '#')) step_text(s, line);
        if (empty || line[0] == '#') continue;
        in_block = true;
        if (!command_line(s, line)) return;
    }
    if (in_block) block_end(s, out);
}

bool scenario_play(struct kelp_bytes text, const struct scenario_step *step, struct buf *out,
                   struct scenario_report *report)
{
    *report = (struct scenario_report){.passed = true};
    struct scenario *s = calloc(1, sizeof *s);
    if (s == NULL) {
        report->passed = false;
        (void)snprintf(report->failure, sizeof report->failure, "out of memory\n");
        return false;
    }
    s->report = report;
    s->step = step;
    buf_init(&s->lines, 4 * TEXT_MAX);
    running = s;
    assert_hook_set(asserted);
    if (setjmp(s->stop) == 0) {
        char *copy = scenario_memory(s, text.len + 1);
        if (text.len > 0) memcpy(copy, text.data, text.len);
        if (strlen(copy) != text.len) scenario_stop(s, "a zero byte in the text");
        play(s, copy, out);
    } else {
        (void)buf_append(out, buf_bytes(&s->lines)); /* as far as it went */
        if (step != NULL) step_end(s, false);
    }
    running = NULL;
    assert_hook_set(NULL);
    buf_close(&s->lines);
    while (s->memory != NULL) {
        struct chunk *next = s->memory->next;
        free(s->memory);
        s->memory = next;
    }
    free(s);
    return report->passed;
}

/* ---- files ---- */

static void complain(const char *path, const char *words)
{
    (void)fprintf(stderr, "kelp sim scenario: %s: %s\n", path, words);
}

/* How many whole lines two texts have in common at their beginning; *at: where they end. */
static size_t common_lines(struct kelp_bytes a, struct kelp_bytes b, size_t *at)
{
    size_t count = 0, line = 0;
    for (size_t i = 0; i < a.len && i < b.len && a.data[i] == b.data[i]; i++) {
        if (a.data[i] != '\n') continue;
        count++;
        line = i + 1;
    }
    *at = line;
    return count;
}

static void print_lines(FILE *out, char mark, struct kelp_bytes text, size_t at, size_t end)
{
    while (at < end) {
        size_t len = 0;
        while (at + len < text.len && text.data[at + len] != '\n')
            len++;
        (void)fprintf(out, "%c%.*s\n", mark, (int)len, (const char *)text.data + at);
        at += len + 1;
    }
}

/* What stands before the first difference of two texts is equal, and so is what stands behind the
 * last: show what lies between, and a little around it. */
static void print_difference(FILE *out, const char *path, struct kelp_bytes want,
                             struct kelp_bytes have)
{
    size_t at, want_end = want.len, have_end = have.len;
    size_t line = common_lines(want, have, &at);
    while (want_end > at && have_end > at && want.data[want_end - 1] == have.data[have_end - 1]) {
        want_end--;
        have_end--;
    }
    while (want_end < want.len && want_end > at && want.data[want_end - 1] != '\n')
        want_end++;
    while (have_end < have.len && have_end > at && have.data[have_end - 1] != '\n')
        have_end++;
    size_t before = at;
    for (size_t lines = 0; before > 0 && lines <= CONTEXT_LINES; before -= lines <= CONTEXT_LINES)
        lines += want.data[before - 1] == '\n';
    if (before > 0 && want.data[before] == '\n') before++;
    (void)fprintf(out, "--- %s\n+++ what happened\n@@ line %zu @@\n", path, line + 1);
    print_lines(out, ' ', want, before, at);
    print_lines(out, '-', want, at, want_end);
    print_lines(out, '+', have, at, have_end);
}

/* The whole file; false after a complaint. */
static bool read_file(const char *path, struct buf *text)
{
    FILE *file = fopen(path, "rb");
    size_t got = file != NULL ? 1 : 0;
    errno = file != NULL ? 0 : errno;
    while (got > 0 && buf_reserve(text, 4096) == KELP_OK) {
        got = fread(text->data + text->len, 1, 4096, file);
        text->len += got;
    }
    bool whole = file != NULL && !ferror(file) && text->error == KELP_OK;
    if (text->error == KELP_E_LIMIT)
        complain(path, "larger than 1 MiB");
    else if (!whole)
        complain(path, text->error != KELP_OK ? "out of memory" : strerror(errno));
    if (file != NULL) (void)fclose(file); /* nothing was written */
    return whole;
}

static bool write_file(const char *path, const struct buf *text)
{
    FILE *file = fopen(path, "wb");
    bool whole = file != NULL && fwrite(text->data, 1, text->len, file) == text->len;
    int error = errno;
    if (file != NULL && fclose(file) != 0 && whole) {
        whole = false;
        error = errno;
    }
    if (!whole) complain(path, strerror(error));
    return whole;
}

static int judge(const char *path, enum scenario_mode mode, FILE *out, const struct buf *was,
                 const struct buf *is, const struct scenario_report *report)
{
    bool same = bytes_equal(buf_bytes(was), buf_bytes(is));
    if (mode != SCENARIO_STEP) (void)fwrite(is->data, 1, is->len, out);
    if (!report->passed) {
        (void)fprintf(out, "%s FAILED\n%s", path, report->failure);
        return 1;
    }
    if (is->error != KELP_OK) {
        (void)fprintf(out, "%s FAILED\nthe transcript is too long\n", path);
        return 1;
    }
    if (mode == SCENARIO_STEP || same) return 0;
    if (mode == SCENARIO_REWRITE) return write_file(path, is) ? 0 : 1;
    print_difference(out, path, buf_bytes(was), buf_bytes(is));
    return 1;
}

int scenario_file(const char *path, enum scenario_mode mode, const struct scenario_step *step,
                  FILE *out, uint64_t *marks)
{
    struct buf was, is;
    struct scenario_report report;
    buf_init(&was, TEXT_MAX);
    buf_init(&is, 8 * TEXT_MAX);
    int status = 2;
    if (read_file(path, &was)) {
        (void)scenario_play(buf_bytes(&was), mode == SCENARIO_STEP ? step : NULL, &is, &report);
        status = judge(path, mode, out, &was, &is, &report);
        for (int type = 0; marks != NULL && type < KELP_EVENT_COUNT; type++)
            marks[type] += report.marks[type];
    }
    buf_close(&was);
    buf_close(&is);
    return status;
}

/* ---- the verb ---- */

static const char usage[] = "kelp sim scenario FILE [--rewrite | --step]";

static void print_help(void)
{
    (void)printf("%s\n    play one story and compare its transcript\n\n", usage);
    (void)fputs(
        "  --rewrite                write the transcripts of FILE anew; read the difference\n"
        "  --step                   tell it one command at a time; on a terminal Enter does the\n"
        "                           step you see, s shows all nodes, q ends. Judges what the\n"
        "                           story expects, not its transcript, so commands may be tried\n"
        "\nExits 0 if all is as the file says, 1 if not, 2 if it cannot be read or the words are\n"
        "wrong. tests/scenario/README.md explains the commands, docs/learn has ten lessons.\n",
        stdout);
}

static int wrong_usage(const char *word, const char *why)
{
    (void)fprintf(stderr, "kelp sim scenario: %s: %s: %s\n", word, why, usage);
    return 2;
}

int scenario_verb(int count, char *const *arguments, FILE *typing)
{
    const char *path = NULL;
    enum scenario_mode mode = SCENARIO_CHECK;
    for (int i = 0; i < count; i++) {
        const char *word = arguments[i];
        bool rewrite = strcmp(word, "--rewrite") == 0;
        if (strcmp(word, "--help") == 0) {
            print_help();
            return 0;
        } else if (rewrite || strcmp(word, "--step") == 0) {
            if (mode != SCENARIO_CHECK) return wrong_usage(word, "one of these, once");
            mode = rewrite ? SCENARIO_REWRITE : SCENARIO_STEP;
        } else if (word[0] == '-') {
            return wrong_usage(word, "no such flag");
        } else if (path != NULL) {
            return wrong_usage(word, "one word too many");
        } else {
            path = word;
        }
    }
    if (path == NULL) return wrong_usage("FILE", "missing");
    const struct scenario_step step = {.out = stdout, .in = typing};
    int status = scenario_file(path, mode, &step, stdout, NULL);
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    complain("stdout", strerror(errno));
    return 1;
}
