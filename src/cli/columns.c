/* SPDX-License-Identifier: Apache-2.0 */
/* columns.c - the trace of a simulated run for reading: time down, a column a node, what concerns
 * the whole cluster across.
 *
 *       time s      event   node 1                  node 2
 *      1.204518      311  | >2 vote for t2? ...   |
 *      1.205102      312  |                       | <1 vote for t2? ...
 *                         |                       | granted its vote, node 1
 *
 * The bar before a column says how its node is: | runs, # leads, ? stands for election, : is
 * paused, x is faulted, blank is down. What happens all the time and says little (a node was due,
 * a disk job ended) is left out unless all is asked for. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/min.h"
#include "cli/sim.h"

#define LEFT_WIDTH   23u /* time and number of the event */
#define WIDTH_MIN    80u
#define WIDTH_NORMAL 160u
#define WIDTH_MAX    400u
#define COLUMN_MAX   60u
#define HEAD_EVERY   60u /* rows */
#define CELL_MAX     700u

struct columns {
    FILE *out;
    uint64_t from, number; /* of the last event printed */
    uint32_t shown;
    bool all;
    unsigned nodes, width; /* of one column; 0: not known yet */
    unsigned rows;
    char bars[KELP_SIM_NODES_MAX + 1];
};

struct columns *columns_new(FILE *out, uint64_t from, uint32_t shown, bool all)
{
    struct columns *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    *c = (struct columns){.out = out, .from = from, .shown = shown, .all = all};
    c->number = UINT64_MAX;
    memset(c->bars, ' ', sizeof c->bars);
    return c;
}

void columns_free(struct columns *c)
{
    free(c);
}

/* ---- geometry ---- */

static unsigned terminal_width(FILE *out)
{
    struct winsize size;
    if (isatty(fileno(out)) == 1 && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return (unsigned)min_u64(max_u64(size.ws_col, WIDTH_MIN), WIDTH_MAX);
    return WIDTH_NORMAL;
}

static bool shows(const struct columns *c, kelp_id node)
{
    return c->shown == 0 || (c->shown >> (node - 1) & 1) != 0;
}

static void begin(struct columns *c, unsigned nodes)
{
    unsigned count = 0;
    c->nodes = nodes;
    for (kelp_id node = 1; node <= nodes; node++)
        count += shows(c, node);
    if (count == 0) count = 1;
    c->width = (terminal_width(c->out) - LEFT_WIDTH) / count;
    if (c->width > COLUMN_MAX) c->width = COLUMN_MAX;
}

static void print_head(struct columns *c)
{
    (void)fprintf(c->out, "%s%12s %9s ", print_colour(PRINT_BOLD), "seconds", "event");
    for (kelp_id node = 1; node <= c->nodes; node++) {
        if (shows(c, node))
            (void)fprintf(c->out, "  node %-*llu", (int)c->width - 7, (unsigned long long)node);
    }
    (void)fprintf(c->out, "%s\n", print_end());
}

static void print_left(struct columns *c, const struct kelp_sim_event *e)
{
    if (c->rows++ % HEAD_EVERY == 0) print_head(c);
    if (e != NULL)
        (void)fprintf(c->out, "%5llu.%06llu %9llu ", (unsigned long long)(e->at / 1000000000),
                      (unsigned long long)(e->at / 1000 % 1000000), (unsigned long long)e->number);
    else
        (void)fprintf(c->out, "%22s ", "");
}

/* ---- cells ---- */

/* How many bytes of text fit into a row of width: up to the last blank in it, if there is one. */
static size_t row_of(const char *text, size_t width)
{
    size_t len = strlen(text);
    if (len <= width) return len;
    size_t cut = width;
    while (cut > 0 && text[cut] != ' ')
        cut--;
    return cut > width / 3 ? cut : width;
}

static enum print_colour colour_of(const struct kelp_sim_event *e)
{
    switch (e->kind) {
    case KELP_SIM_LOST:
    case KELP_SIM_DROPPED:
    case KELP_SIM_DOWN:
    case KELP_SIM_GONE:
    case KELP_SIM_FAULTED:
    case KELP_SIM_FAILED: return PRINT_RED;
    case KELP_SIM_PAUSED:
    case KELP_SIM_STALLED:
    case KELP_SIM_FAULT:
    case KELP_SIM_LINKS:
    case KELP_SIM_STORM: return PRINT_YELLOW;
    case KELP_SIM_UP:
    case KELP_SIM_RESUMED:
    case KELP_SIM_HEALED:
    case KELP_SIM_CALM:
    case KELP_SIM_PASSED: return PRINT_GREEN;
    case KELP_SIM_EVENT:
        return kelp_event_level((enum kelp_event_type)e->event->type) < KELP_DEBUG ? PRINT_BOLD
                                                                                   : PRINT_PLAIN;
    case KELP_SIM_SENT:
    case KELP_SIM_WOKE:
    case KELP_SIM_DISK:
    case KELP_SIM_APPLIED:
    case KELP_SIM_CLIENT:
    case KELP_SIM_DIALS:
    case KELP_SIM_UNANSWERED:
    case KELP_SIM_CLOSED:
    case KELP_SIM_NOTE: return PRINT_DIM;
    case KELP_SIM_BEGAN:
    case KELP_SIM_STARTS:
    case KELP_SIM_RECEIVED:
    case KELP_SIM_ASKED:
    case KELP_SIM_ANSWERED:
    case KELP_SIM_STOPPED:
    case KELP_SIM_KIND_COUNT: break;
    }
    return PRINT_PLAIN;
}

static void print_row(const struct columns *c, const struct kelp_sim_event *e, const char *text,
                      size_t len)
{
    for (kelp_id node = 1; node <= c->nodes; node++) {
        if (!shows(c, node)) continue;
        bool here = node == e->node;
        int room = (int)c->width - 3;
        (void)fprintf(c->out, "%c %s%-*.*s%s ", c->bars[node],
                      here ? print_colour(colour_of(e)) : "", room, here ? (int)len : 0,
                      here ? text : "", here ? print_end() : "");
    }
    (void)fputc('\n', c->out);
}

static void print_cell(struct columns *c, const struct kelp_sim_event *e, const char *text)
{
    size_t room = c->width - 3;
    bool first = e->number != c->number;
    do {
        size_t len = row_of(text, room);
        print_left(c, first ? e : NULL);
        print_row(c, e, text, len);
        text += len;
        while (*text == ' ')
            text++;
        first = false;
    } while (*text != '\0');
}

static void print_across(struct columns *c, const struct kelp_sim_event *e)
{
    print_left(c, e);
    (void)fprintf(c->out, "%s== %s%s ==%s\n", print_colour(colour_of(e)),
                  e->kind == KELP_SIM_FAULT ? "fault: " : "", e->words, print_end());
}

/* ---- records ---- */

static char bar_of(const struct kelp_sim_state *s)
{
    switch (s->life) {
    case KELP_SIM_LIFE_DOWN:
    case KELP_SIM_LIFE_GONE: return ' ';
    case KELP_SIM_LIFE_PAUSED: return ':';
    case KELP_SIM_LIFE_FAULTED: return 'x';
    case KELP_SIM_LIFE_UP: break;
    }
    if (!s->raft) return '|';
    switch (s->role) {
    case KELP_FOLLOWER: return '|';
    case KELP_PRE_CANDIDATE:
    case KELP_CANDIDATE: return '?';
    case KELP_LEADER: return '#';
    }
    return '|';
}

/* What connections do, and what a message before or after it says already. */
static bool says_little(const struct kelp_sim_event *e)
{
    switch (e->kind) {
    case KELP_SIM_WOKE:
    case KELP_SIM_DISK:
    case KELP_SIM_APPLIED:
    case KELP_SIM_CLIENT:
    case KELP_SIM_DIALS:
    case KELP_SIM_UNANSWERED:
    case KELP_SIM_CLOSED:
    case KELP_SIM_STARTS: return true;
    case KELP_SIM_SENT:
    case KELP_SIM_LOST:
    case KELP_SIM_RECEIVED:
    case KELP_SIM_DROPPED: return strcmp(e->type, "hello") == 0;
    case KELP_SIM_EVENT:
        return e->event->type == KELP_EV_SAVED || e->event->type == KELP_EV_READ_ROUND ||
               e->event->type == KELP_EV_READ_RELEASED || e->event->type == KELP_EV_LINK_RESET ||
               e->event->type == KELP_EV_PEER_PROBE || e->event->type == KELP_EV_PEER_STREAM ||
               e->event->type == KELP_EV_MATCH_STALE;
    case KELP_SIM_BEGAN:
    case KELP_SIM_NOTE:
    case KELP_SIM_ASKED:
    case KELP_SIM_ANSWERED:
    case KELP_SIM_UP:
    case KELP_SIM_DOWN:
    case KELP_SIM_PAUSED:
    case KELP_SIM_RESUMED:
    case KELP_SIM_FAULTED:
    case KELP_SIM_GONE:
    case KELP_SIM_STALLED:
    case KELP_SIM_FAULT:
    case KELP_SIM_LINKS:
    case KELP_SIM_STORM:
    case KELP_SIM_CALM:
    case KELP_SIM_HEALED:
    case KELP_SIM_STOPPED:
    case KELP_SIM_PASSED:
    case KELP_SIM_FAILED:
    case KELP_SIM_KIND_COUNT: break;
    }
    return false;
}

/* A Raft message in few words: what the columns have room for. */
static bool message_text(const struct kelp_sim_event *e, char *out, size_t size)
{
    const struct kelp_message *m = e->message;
    if (m == NULL || e->damaged) return false;
    unsigned long long term = m->term.v, prev = m->append.prev.index, last = m->append.last;
    if (m->type == KELP_MSG_HEARTBEAT)
        (void)snprintf(out, size, "heartbeat t%llu c%llu", term,
                       (unsigned long long)m->append.commit);
    else if (m->type == KELP_MSG_APPEND && last > prev + 1)
        (void)snprintf(out, size, "append %llu..%llu@%llu c%llu", prev + 1, last,
                       (unsigned long long)e->entry_term.v, (unsigned long long)m->append.commit);
    else if (m->type == KELP_MSG_APPEND && last == prev + 1)
        (void)snprintf(out, size, "append %llu@%llu c%llu", last,
                       (unsigned long long)e->entry_term.v, (unsigned long long)m->append.commit);
    else if (m->type == KELP_MSG_ANSWER && (m->flags & KELP_MF_REJECT) == 0)
        (void)snprintf(out, size, "holds ..%llu t%llu", (unsigned long long)m->answer.match, term);
    else
        return false;
    return true;
}

/* What happens all the time, in a word. */
static bool event_text(const struct kelp_event *event, char *out, size_t size)
{
    static const struct {
        enum kelp_event_type type;
        const char *word;
    } words[] = {
        {KELP_EV_APPEND_ACCEPTED, "appended"},  {KELP_EV_PROPOSE_ACCEPTED, "proposed"},
        {KELP_EV_COMMIT_ADVANCED, "committed"}, {KELP_EV_COMMIT_FOLLOWED, "commits"},
        {KELP_EV_PROPOSAL_DONE, "done"},
    };
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (event->type != words[i].type) continue;
        (void)snprintf(out, size, "%s %llu@%llu", words[i].word,
                       (unsigned long long)event->pos.index, (unsigned long long)event->pos.term.v);
        return true;
    }
    switch (event->type) {
    case KELP_EV_ROLE_FOLLOWER:
    case KELP_EV_ROLE_PRE_CANDIDATE:
    case KELP_EV_ROLE_CANDIDATE:
    case KELP_EV_ROLE_LEADER:
        (void)snprintf(out, size, "becomes %s t%llu", kelp_role_name((enum kelp_role)event->role),
                       (unsigned long long)event->term.v);
        return true;
    default: return false; /* tidy: event->type is a number, and all others have their words */
    }
}

static void frame_text(const struct kelp_sim_event *e, char *out, size_t size)
{
    char message[96];
    bool leaves = e->kind == KELP_SIM_SENT || e->kind == KELP_SIM_LOST;
    const char *mark = e->kind == KELP_SIM_SENT ? ">" : e->kind == KELP_SIM_RECEIVED ? "<" : "x";
    const char *end = e->kind == KELP_SIM_LOST
                          ? (strstr(e->words, ", cut") != NULL ? " cut" : " lost")
                      : e->kind == KELP_SIM_DROPPED ? " nobody there"
                                                    : "";
    unsigned long long other = leaves ? e->to : e->from;
    if (message_text(e, message, sizeof message))
        (void)snprintf(out, size, "%s%llu %s%s", mark, other, message, end);
    else
        (void)snprintf(out, size, "%s%llu %s", mark, other, e->words);
}

static void cell_text(const struct kelp_sim_event *e, char *out, size_t size)
{
    if (e->frame != 0) {
        frame_text(e, out, size);
    } else if (e->kind == KELP_SIM_ASKED || e->kind == KELP_SIM_ANSWERED ||
               e->kind == KELP_SIM_CLIENT) {
        (void)snprintf(out, size, "client %u %s", e->client, e->words);
    } else if (e->kind == KELP_SIM_NOTE) {
        (void)snprintf(out, size, "\"%s\"", e->words);
    } else if (e->kind == KELP_SIM_EVENT && event_text(e->event, out, size)) {
        return;
    } else if (e->kind == KELP_SIM_EVENT || e->kind == KELP_SIM_DIALS ||
               e->kind == KELP_SIM_UNANSWERED || e->kind == KELP_SIM_CLOSED) {
        (void)snprintf(out, size, "%s", e->words);
    } else {
        (void)snprintf(out, size, "-- %s --", e->words);
    }
}

void columns_record(void *ctx, const struct kelp_sim_event *e)
{
    struct columns *c = ctx;
    char text[CELL_MAX];
    if (c->nodes == 0) begin(c, e->nodes);
    if (e->node != 0) c->bars[e->node] = bar_of(&e->state);
    if (e->number < c->from && e->kind != KELP_SIM_BEGAN) return;
    if (e->node == 0) {
        print_across(c, e);
        c->number = e->number;
        return;
    }
    if (!shows(c, e->node) || (!c->all && says_little(e))) return;
    cell_text(e, text, sizeof text);
    print_cell(c, e, text);
    c->number = e->number;
}
