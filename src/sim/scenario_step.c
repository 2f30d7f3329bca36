/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_step.c - a story told one command at a time, for a person who reads along.
 *
 * Every command is a numbered step, below it what it brought about. Comments are told where they
 * stand. A line that begins with = is how a node is now, told when that changed, or an expectation
 * that holds; ! is one that does not. Somebody who sits there is asked before each step that does
 * something, with the command in view, so that he can guess first: Enter does it, s shows all
 * nodes, q ends. */
#include <stdio.h>

#include "sim/scenario_room.h"

#define MARK_COLUMN "       %c  %.*s\n" /* = and ! stand at the end of the time's column */

void step_text(struct scenario *s, const char *line)
{
    (void)fprintf(s->step->out, "%s\n", line);
}

static void tell_marked(struct scenario *s, char mark, const char *text, size_t len)
{
    (void)fprintf(s->step->out, MARK_COLUMN, mark, (int)len, text);
}

static void node_text(const struct node *node, char *out, size_t size)
{
    if (node->up)
        (void)kelp_describe(node->core, out, size);
    else
        (void)snprintf(out, size, "%llu down", (unsigned long long)node->id);
}

static void tell_nodes(struct scenario *s)
{
    char text[SCENARIO_STATE_MAX];
    for (size_t slot = 0; s->started && slot < s->node_count; slot++) {
        node_text(&s->nodes[slot], text, sizeof text);
        tell_marked(s, '=', text, strlen(text));
    }
}

void step_started(struct scenario *s)
{
    for (size_t slot = 0; slot < s->node_count; slot++)
        node_text(&s->nodes[slot], s->nodes[slot].told, sizeof s->nodes[slot].told);
}

/* How nodes are now, where that is news and the transcript of this step does not say it. */
static void tell_changed(struct scenario *s)
{
    char text[SCENARIO_STATE_MAX];
    const uint8_t *lines = s->lines.len > 0 ? s->lines.data + s->step_lines : NULL;
    for (size_t slot = 0; s->started && slot < s->node_count; slot++) {
        struct node *node = &s->nodes[slot];
        node_text(node, text, sizeof text);
        if (strcmp(text, node->told) == 0) continue;
        memcpy(node->told, text, sizeof text);
        size_t len = s->lines.len - s->step_lines;
        bool said = len > 0 && memmem(lines, len, text, strlen(text)) != NULL;
        if (!said) tell_marked(s, '=', text, strlen(text));
    }
}

/* The reasons a story failed for, from the given place in the report on. */
static void tell_failures(struct scenario *s, size_t from)
{
    for (const char *at = s->report->failure + from; *at != '\0';) {
        size_t len = strcspn(at, "\n");
        tell_marked(s, '!', at, len);
        at += len + (at[len] == '\n');
    }
}

/* Ask whoever sits there; false: enough. The line of the command waits for the Enter typed. */
static bool asked(struct scenario *s, const char *line)
{
    FILE *in = s->step->in;
    for (;;) {
        (void)fflush(s->step->out);
        int typed = getc(in), c = typed;
        while (c != '\n' && c != EOF)
            c = getc(in);
        if (c == EOF) (void)fputc('\n', s->step->out);
        if (typed == 'q' || c == EOF) return false;
        if (typed != 's') return true;
        tell_nodes(s);
        (void)fprintf(s->step->out, "[%zu] %s ", s->step_count, line);
    }
}

bool step_begin(struct scenario *s, const char *line, bool waits)
{
    if (s->step_count++ == 0 && s->step->in != NULL)
        step_text(s, "Enter does the step you see, s shows all nodes, q ends.\n");
    (void)fprintf(s->step->out, "[%zu] %s", s->step_count, line);
    s->step_lines = s->lines.len;
    s->step_failure = strlen(s->report->failure);
    s->step_open = true;
    if (s->step->in == NULL || !waits) {
        (void)fputc('\n', s->step->out);
        return true;
    }
    (void)fputc(' ', s->step->out);
    s->step_open = asked(s, line);
    return s->step_open;
}

void step_end(struct scenario *s, bool expected)
{
    if (!s->step_open) return;
    s->step_open = false;
    if (s->lines.len > s->step_lines)
        (void)fwrite(s->lines.data + s->step_lines, 1, s->lines.len - s->step_lines, s->step->out);
    tell_changed(s);
    bool failed = s->report->failure[s->step_failure] != '\0';
    if (failed) tell_failures(s, s->step_failure);
    if (expected && !failed) tell_marked(s, '=', "holds", strlen("holds"));
    (void)fflush(s->step->out);
}
