/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.c - `kelp snapshot fetch`: a node that does not run is given another member's snapshot in
 * place of its own.
 *
 * As everything that changes a directory by hand it is told first what would be done, and nothing
 * is changed without --yes. The rules are store/adopt.c's, which tries it on a ghost of the
 * directory before a byte changes. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/min.h"
#include "cli/recover.h"
#include "cli/snapshot.h"
#include "store/adopt.h"

struct fetch_ask {
    const char *data, *from, *at; /* from NULL: of the node at that address */
    bool yes, json;
};

/* A file as a disk of its directory, and the name on that. */
struct source {
    struct disk disk;
    char dir[CLI_PATH_MAX];
    const char *name;
};

static int failure(const struct verb *verb, const char *of, enum kelp_error error,
                   const struct kelp_fault *fault)
{
    bool refused = error == KELP_E_CORRUPT || error == KELP_E_FOREIGN || error == KELP_E_LOCKED ||
                   error == KELP_E_WIPED || error == KELP_E_VERSION || error == KELP_E_ARGUMENT;
    return cli_error(verb, refused ? CLI_REFUSED : CLI_FAILED, "%s: %s%s%s", of, fault->where,
                     fault->where[0] != '\0' ? ": " : "",
                     fault->what[0] != '\0' ? fault->what : kelp_strerror(error));
}

/* ---- what is there ------------------------------------------------------------------------- */

static int directory_look(const struct verb *verb, const struct fetch_ask *ask,
                          struct adopt_report *r)
{
    struct recover_view view;
    struct kelp_fault fault = {.error = KELP_OK};
    struct store_options options = recover_options();
    enum kelp_error error = recover_view_open(ask->data, &view, &fault);
    if (error == KELP_OK) error = adopt_look(view.ghost, &options, r, &fault);
    recover_view_close(&view);
    return error == KELP_OK ? CLI_DONE : failure(verb, ask->data, error, &fault);
}

static void directory_say(const struct fetch_ask *ask, const struct adopt_report *r)
{
    (void)printf("node %" PRIu64 " of cluster %016" PRIx64 "%016" PRIx64 ", in %s\n", r->found.node,
                 r->found.cluster.hi, r->found.cluster.lo, ask->data);
    if (!r->opens) {
        (void)printf("  as it is   it does not open: %s\n", r->why);
        return;
    }
    (void)printf("  log        from %" PRIu64 " to %" PRIu64 "@%" PRIu64 ", in term %" PRIu64
                 "; it stays\n",
                 r->base.index + 1, r->last.index, r->last.term.v, r->term.v);
    if (r->own.index == 0)
        (void)puts("  snapshot   none");
    else
        (void)printf("  snapshot   at %" PRIu64 "@%" PRIu64 ", state hash %016" PRIx64
                     "; it goes, as do older ones\n",
                     r->own.index, r->own.term.v, r->own_hash);
}

/* ---- what it is given ---------------------------------------------------------------------- */

static enum kelp_error source_open(const char *path, struct source *out, struct kelp_fault *fault)
{
    struct stat found;
    const char *slash = strrchr(path, '/');
    *out = (struct source){.name = slash != NULL ? slash + 1 : path};
    int len = (int)(out->name - path);
    if (strlen(path) >= CLI_PATH_MAX || strlen(out->name) >= FILE_NAME_MAX)
        return fault_set(fault, KELP_E_ARGUMENT, "", "the name is too long");
    if (stat(path, &found) != 0)
        return fault_set(fault, KELP_E_NOT_FOUND, "", "%s", strerror(errno));
    if (!S_ISREG(found.st_mode))
        return fault_set(fault, KELP_E_ARGUMENT, "", "must be a snapshot's file");
    (void)snprintf(out->dir, sizeof out->dir, "%.*s", slash != NULL ? len : 1,
                   slash != NULL ? path : ".");
    return posix_disk(out->dir, &out->disk, fault);
}

static void source_close(struct source *s)
{
    if (s->disk.ops != NULL) posix_disk_close(&s->disk);
}

/* Its head, against what the directory shows; *r says then what it is. */
static int source_judge(const struct verb *verb, const struct fetch_ask *ask,
                        const struct source *s, struct adopt_report *r)
{
    struct kelp_fault fault = {.error = KELP_OK};
    uint8_t *bytes = NULL;
    struct wire_snaphead *head = malloc(sizeof *head);
    if (head == NULL) return cli_error(verb, CLI_FAILED, "out of memory");
    enum kelp_error error = store_snapshot_check(s->disk, s->name, false, head, &bytes, &fault);
    if (error == KELP_OK) {
        r->pos = head->pos;
        r->hash = head->state_hash;
        error = adopt_judge(r, head, &fault);
    }
    free(bytes);
    free(head);
    return error == KELP_OK ? CLI_DONE : failure(verb, ask->from, error, &fault);
}

static void source_say(const struct fetch_ask *ask, const struct adopt_report *r)
{
    if (ask->from == NULL) {
        (void)printf("  given      what the node at %s takes now\n", ask->at);
        return;
    }
    (void)printf("  given      %s: at %" PRIu64 "@%" PRIu64 ", state hash %016" PRIx64 "\n",
                 ask->from, r->pos.index, r->pos.term.v, r->hash);
    if (r->opens && kelp_pos_equal(r->pos, r->own))
        (void)printf("             the state there is %s\n",
                     r->hash == r->own_hash ? "the same: nothing is wrong with its own"
                                            : "another than its own shows");
}

/* ---- doing it ------------------------------------------------------------------------------ */

/* A new one of a node that runs, into the directory. It comes in pieces, each verified. */
static int download(const struct verb *verb, const struct fetch_ask *ask)
{
    const struct save_options options = {.force = true, .json = ask->json, .quiet = true};
    char path[CLI_PATH_MAX];
    struct client c;
    int status;
    int len = snprintf(path, sizeof path, "%s/" ADOPT_NAME, ask->data);
    if (len < 0 || (size_t)len >= sizeof path)
        return cli_error(verb, CLI_FAILED, "%.80s: the name is too long", ask->data);
    client_init(&c, CLIENT_TIMEOUT_MS);
    c.harmless = true; /* one snapshot more changes nothing that is kept */
    if (!client_connect_any(&c, ask->at))
        status = cli_error(verb, CLI_FAILED, "%s", c.error);
    else
        status = snapshot_save(verb, &c, path, &options);
    client_close(&c);
    return status;
}

static int perform(const struct verb *verb, const struct fetch_ask *ask, const struct source *s,
                   struct adopt_report *r)
{
    int status = CLI_DONE;
    struct disk disk = {.ops = NULL};
    struct adopt a = {.lock = NULL};
    struct kelp_fault fault = {.error = KELP_OK};
    struct store_options options = recover_options();
    enum kelp_error error = posix_disk(ask->data, &disk, &fault);
    if (error == KELP_OK) error = adopt_begin(&a, disk, &fault);
    if (error == KELP_OK && ask->from != NULL) error = adopt_copy(&a, s->disk, s->name, &fault);
    if (error == KELP_OK && ask->from == NULL) {
        status = download(verb, ask);
        if (status == CLI_DONE) error = adopt_bring(&a, &fault);
    }
    if (error == KELP_OK && status == CLI_DONE) error = adopt_run(&a, &options, r, &fault);
    adopt_end(&a);
    if (disk.ops != NULL) posix_disk_close(&disk);
    return error == KELP_OK ? status : failure(verb, ask->data, error, &fault);
}

static int result_say(const struct verb *verb, const struct fetch_ask *ask,
                      const struct adopt_report *r)
{
    char hash[17], own[17];
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, r->hash);
    (void)snprintf(own, sizeof own, "%016" PRIx64, r->own_hash);
    if (ask->json)
        return print_json(verb,
                          json_pack("{ss,sb,sI,sb,sI,sI,ss,sI,sI,ss,sI,sI}", "data", ask->data,
                                    "fetched", (int)ask->yes, "node", (json_int_t)r->found.node,
                                    "opened", (int)r->opens, "own_index", (json_int_t)r->own.index,
                                    "own_term", (json_int_t)r->own.term.v, "own_state_hash", own,
                                    "index", (json_int_t)r->pos.index, "term",
                                    (json_int_t)r->pos.term.v, "state_hash", hash, "entries_behind",
                                    (json_int_t)r->behind, "removed", (json_int_t)r->removed));
    if (!ask->yes) {
        (void)puts("nothing was changed; --yes does it");
        return CLI_DONE;
    }
    (void)printf("done: it starts from %" PRIu64 "@%" PRIu64 ", and applies %" PRIu64
                 " entries of its own log behind that\n",
                 r->pos.index, r->pos.term.v, r->behind);
    return CLI_DONE;
}

static int fetch(const struct verb *verb, const struct fetch_ask *ask)
{
    struct source source = {.name = ""};
    struct kelp_fault fault = {.error = KELP_OK};
    struct adopt_report *r = calloc(1, sizeof *r);
    if (r == NULL) return cli_error(verb, CLI_FAILED, "out of memory");
    int status = directory_look(verb, ask, r);
    if (status == CLI_DONE && !ask->json) directory_say(ask, r);
    (void)fflush(stdout);
    if (status == CLI_DONE && ask->from != NULL) {
        enum kelp_error error = source_open(ask->from, &source, &fault);
        if (error != KELP_OK) status = failure(verb, ask->from, error, &fault);
        if (status == CLI_DONE) status = source_judge(verb, ask, &source, r);
    }
    if (status == CLI_DONE && !ask->json) source_say(ask, r);
    (void)fflush(stdout);
    if (status == CLI_DONE && ask->yes) {
        bool opened = r->opens;
        status = perform(verb, ask, &source, r);
        r->opens = opened;
    }
    if (status == CLI_DONE) status = result_say(verb, ask, r);
    source_close(&source);
    free(r);
    return status;
}

static const struct verb fetch_itself = {
    "snapshot fetch", "--data DIR --at HOST:PORT | --from FILE [--yes]",
    "give a node that does not run another member's snapshot",
    "\nIn place of its own, which show a state that is not the others', or are damaged. It is a\n"
    "healthy member's: of the same cluster, and not older than where the node's log begins. Its\n"
    "log, term and vote stay: what it acknowledged behind the snapshot is applied on top. Without\n"
    "--yes it is only told. Exits 3 if the snapshot is damaged or not for this directory, or if a\n"
    "node runs on it; nothing is changed then. While the node runs, `kelp rejoin` does the same.\n",
    NULL};

int fetch_verb(int argc, char **argv)
{
    const struct verb *verb = &fetch_itself;
    struct fetch_ask ask = {.data = NULL};
    int status = CLI_DONE;
    const struct flag flags[] = {
        {.name = "data",
         .kind = FLAG_TEXT,
         .to.text = &ask.data,
         .value = "DIR",
         .words = "the data directory of a node that does not run"},
        {.name = "from",
         .kind = FLAG_TEXT,
         .to.text = &ask.from,
         .value = "FILE",
         .words = "a healthy member's snapshot, of `kelp snapshot save` say"},
        {.name = "at",
         .kind = FLAG_TEXT,
         .to.text = &ask.at,
         .value = "HOST:PORT",
         .words = "or the client port of a healthy member, which takes one now"},
        {.name = "yes", .kind = FLAG_SWITCH, .to.on = &ask.yes, .words = "do it; else it is told"},
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &ask.json, .words = "the answer as JSON"},
    };
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status) ||
        !flags_words_check(verb, argc, argv, 0, 0, &status))
        return status;
    if (ask.data == NULL || (ask.from == NULL) == (ask.at == NULL))
        return cli_error(verb, CLI_USAGE, "needs --data DIR, and --from FILE or --at HOST:PORT");
    if (ask.at != NULL && !client_check(verb, ask.at, &status)) return status;
    return fetch(verb, &ask);
}
