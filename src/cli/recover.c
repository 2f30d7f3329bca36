/* SPDX-License-Identifier: Apache-2.0 */
/* recover.c - `kelp recover`: a cluster that lost its quorum goes on from what one disk holds.
 *
 * Everything is done twice. First on a ghost of the directory, which says what would happen and
 * leaves no trace; then, with --yes and if nobody of the past still answers, on the directory
 * itself. The rules are store/renew.c's. */
#include "cli/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "base/min.h"
#include "wire/epoch.h"

struct recover_ask {
    const char *data, *members, *members_file, *with;
    bool yes, running, compare, json;
};

/* ---- a directory to look at ------------------------------------------------------------------ */

uint64_t recover_random(void *ctx)
{
    uint64_t bits = 0;
    (void)ctx;
    if (getrandom(&bits, sizeof bits, 0) != (ssize_t)sizeof bits)
        UNREACHABLE(); /* 8 bytes: never */
    return bits;
}

struct store_options recover_options(void)
{
    return (struct store_options){.segment_bytes = 64u * 1024 * 1024,
                                  .spares_max = 4,
                                  .zero_piece_bytes = 1024u * 1024,
                                  .snapshots_kept = 2,
                                  .random = recover_random};
}

/* Whoever holds the lock is a node that runs. *lock: -1 where there is no file of that name. */
static enum kelp_error lock_take(const char *dir, int *lock, struct kelp_fault *fault)
{
    char path[CLI_PATH_MAX];
    *lock = -1;
    (void)snprintf(path, sizeof path, "%s/lock", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return KELP_OK;
    if (fd < 0) return fault_set(fault, KELP_E_IO, "lock", "%s", strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *lock = fd;
        return KELP_OK;
    }
    char pid[16] = {0};
    bool said = pread(fd, pid, sizeof pid - 1, 0) > 0;
    (void)close(fd);
    return fault_set(fault, KELP_E_LOCKED, "lock", "a node runs on it (process %d): stop it first",
                     said ? atoi(pid) : 0);
}

enum kelp_error recover_view_open(const char *dir, struct recover_view *out,
                                  struct kelp_fault *fault)
{
    struct stat found;
    *out = (struct recover_view){.lock = -1};
    if (stat(dir, &found) != 0)
        return fault_set(fault, KELP_E_NOT_FOUND, "", "%s", strerror(errno));
    if (!S_ISDIR(found.st_mode))
        return fault_set(fault, KELP_E_NOT_FOUND, "", "it must be a data directory");
    enum kelp_error error = lock_take(dir, &out->lock, fault);
    if (error == KELP_OK) error = posix_disk(dir, &out->posix, fault);
    if (error == KELP_OK) error = ghost_disk(out->posix, &out->ghost, fault);
    if (error != KELP_OK) recover_view_close(out);
    return error;
}

void recover_view_close(struct recover_view *v)
{
    ghost_disk_close(&v->ghost);
    if (v->posix.ops != NULL) posix_disk_close(&v->posix);
    if (v->lock >= 0) (void)close(v->lock);
    *v = (struct recover_view){.lock = -1};
}

/* ---- what is said ---------------------------------------------------------------------------- */

static const struct kelp_member *member_of(const struct wire_config *c, kelp_id id)
{
    for (size_t i = 0; i < c->config.count; i++) {
        if (c->config.members[i].id == id) return &c->config.members[i];
    }
    return NULL;
}

/* Was this one needed for everything that was acknowledged, whatever it does not know of? The only
 * voter is: no configuration follows its own without it. One of two is not: the other may have
 * added a third in a single step [§4.1], and what those two agreed on since is not here. */
static bool was_needed(const struct renew_report *r)
{
    const struct kelp_config *c = &r->before.config;
    const struct kelp_member *self = member_of(&r->before, r->found.node);
    unsigned counted = 0;
    for (size_t i = 0; i < c->count; i++)
        counted += c->members[i].role == KELP_VOTER || c->members[i].role == KELP_WITNESS;
    return c->joint == 0 && self != NULL && self->role == KELP_VOTER && counted == 1;
}

static void left_out(const struct renew_report *r, struct wire_config *out)
{
    *out = r->before;
    out->config.count = 0;
    for (size_t i = 0; i < r->before.config.count; i++) {
        const struct kelp_member *m = &r->before.config.members[i];
        if (member_of(&r->after, m->id) != NULL) continue;
        out->config.members[out->config.count] = *m;
        out->peer[out->config.count++] = r->before.peer[i];
    }
}

static void may_be_lost(const struct renew_report *r)
{
    if (r->last.index > r->commit)
        (void)printf("  uncertain  from %" PRIu64 " to %" PRIu64
                     ": not known to be committed, perhaps acknowledged; kept\n",
                     r->commit + 1, r->last.index);
    if (was_needed(r))
        (void)printf("  lost       nothing that was acknowledged: it needed this node\n");
    else
        (void)printf("  lost       what the others acknowledged above %" PRIu64
                     " without this node; compare all disks that are left\n"
                     "             first (kelp recover --compare DIR...)\n",
                     r->last.index);
}

static void others_next(const struct renew_report *r, const char *token)
{
    if (r->after.config.count > 1)
        (void)printf(
            "next: every other member that is named, on its own directory, before it is "
            "started:\n      kelp recover --data ITS-DIR --with %s --members ... --yes\n"
            "      where that is refused: recover this one again, alone, and add new members\n",
            token);
    else
        (void)printf(
            "next: start this node as before; then add others: empty directories, --id auto "
            "--join, kelp members add auto\n");
}

static void plan_print(const struct recover_ask *ask, const struct renew_report *r)
{
    char text[RECOVER_TEXT_MAX];
    char own[EPOCH_TEXT_MAX];
    struct wire_config left;
    (void)printf("node %" PRIu64 " of cluster %016" PRIx64 "%016" PRIx64 ", in %s\n", r->found.node,
                 r->found.cluster.hi, r->found.cluster.lo, ask->data);
    (void)printf("  log        ends at %" PRIu64 "@%" PRIu64
                 ", known to be committed up to %" PRIu64 "; all of it is kept\n",
                 r->last.index, r->last.term.v, r->commit);
    (void)printf("  members    %s (configuration at %" PRIu64 ")\n",
                 recover_members_text(&r->before, text), r->before.config.index);
    if (r->step == RENEW_DONE) {
        (void)printf("recovered already (recovery %" PRIu64 ", epoch %s): nothing is left to be "
                     "done\n",
                     epoch_number(r->found.epoch), epoch_text(r->found.epoch, own));
        return;
    }
    (void)printf("recovery %" PRIu64 ", from epoch %s%s\n", epoch_number(r->token.epoch),
                 epoch_text(r->token.recovery.parent, own),
                 r->step == RENEW_UNFINISHED ? ", was cut short and goes on" : "");
    (void)printf("  members    %s, by an entry at %" PRIu64 "@%" PRIu64 "\n",
                 recover_members_text(&r->after, text), r->token.recovery.kept.index + 1,
                 r->token.recovery.term.v);
    left_out(r, &left);
    if (left.config.count > 0 && r->step == RENEW_NEW)
        (void)printf("  left out   %s: refused from now on, whatever their disks hold\n",
                     recover_members_text(&left, text));
    if (r->step == RENEW_NEW) may_be_lost(r);
}

static const char *step_name(enum renew_step step)
{
    switch (step) {
    case RENEW_NEW: return "new";
    case RENEW_UNFINISHED: return "unfinished";
    case RENEW_DONE: return "done";
    }
    return "new";
}

static int json_say(const struct verb *verb, const struct recover_ask *ask,
                    const struct renew_report *r, unsigned running)
{
    char cluster[40], token[RENEW_TOKEN_MAX], epoch[EPOCH_TEXT_MAX], parent[EPOCH_TEXT_MAX];
    struct wire_config left;
    left_out(r, &left);
    (void)snprintf(cluster, sizeof cluster, "%016" PRIx64 "%016" PRIx64, r->found.cluster.hi,
                   r->found.cluster.lo);
    json_t *out =
        json_pack("{ss,sb,ss,sI,ss,sI,sI,sI,so}", "data", ask->data, "recovered",
                  (int)(ask->yes || r->step == RENEW_DONE), "step", step_name(r->step), "node",
                  (json_int_t)r->found.node, "cluster_id", cluster, "last_index",
                  (json_int_t)r->last.index, "last_term", (json_int_t)r->last.term.v, "commit",
                  (json_int_t)r->commit, "members_before", recover_members_json(&r->before));
    json_t *more =
        json_pack("{so,so,sI,ss,ss,sb,sI}", "members", recover_members_json(&r->after), "left_out",
                  recover_members_json(&left), "recovery", (json_int_t)epoch_number(r->token.epoch),
                  "epoch", epoch_text(r->token.epoch, epoch), "epoch_before",
                  epoch_text(r->token.recovery.parent, parent), "may_lose", (int)!was_needed(r),
                  "running", (json_int_t)running);
    (void)json_object_update(out, more);
    json_decref(more);
    if (ask->yes || r->step == RENEW_DONE)
        (void)json_object_set_new(out, "token", json_string(renew_token_text(&r->token, token)));
    return print_json(verb, out);
}

/* ---- doing it -------------------------------------------------------------------------------- */

static int failure(const struct verb *verb, const char *dir, enum kelp_error error,
                   const struct kelp_fault *fault)
{
    bool refused = error == KELP_E_CORRUPT || error == KELP_E_FOREIGN || error == KELP_E_LOCKED ||
                   error == KELP_E_WIPED || error == KELP_E_VERSION;
    enum cli_status status = error == KELP_E_ARGUMENT ? CLI_USAGE
                             : refused                ? CLI_REFUSED
                                                      : CLI_FAILED;
    return cli_error(verb, status, "%s: %s%s%s", dir, fault->where,
                     fault->where[0] != '\0' ? ": " : "",
                     fault->what[0] != '\0' ? fault->what : kelp_strerror(error));
}

static int perform(const struct verb *verb, const struct recover_ask *ask,
                   const struct renew_ask *what, struct renew_report *r)
{
    struct disk disk = {.ops = NULL};
    struct kelp_fault fault = {.error = KELP_OK};
    struct store_options options = recover_options();
    enum kelp_error error = posix_disk(ask->data, &disk, &fault);
    if (error == KELP_OK) error = renew_run(disk, &options, what, r, &fault);
    posix_disk_close(&disk);
    return error == KELP_OK ? CLI_DONE : failure(verb, ask->data, error, &fault);
}

static int done_say(const struct verb *verb, const struct recover_ask *ask,
                    const struct renew_report *r)
{
    char token[RENEW_TOKEN_MAX];
    if (ask->json) return json_say(verb, ask, r, 0);
    (void)renew_token_text(&r->token, token);
    (void)printf("done: token %s\n", token);
    others_next(r, token);
    return CLI_DONE;
}

static int directory_recover(const struct verb *verb, const struct recover_ask *ask,
                             const struct renew_ask *what)
{
    struct recover_view view;
    struct renew_report *r = calloc(1, sizeof *r);
    if (r == NULL) return cli_error(verb, CLI_FAILED, "out of memory");
    struct kelp_fault fault = {.error = KELP_OK};
    struct store_options options = recover_options();
    enum kelp_error error = recover_view_open(ask->data, &view, &fault);
    if (error == KELP_OK) error = renew_run(view.ghost, &options, what, r, &fault);
    recover_view_close(&view);
    int status = error == KELP_OK ? CLI_DONE : failure(verb, ask->data, error, &fault);
    unsigned running = 0;
    if (status == CLI_DONE && !ask->json) plan_print(ask, r);
    (void)fflush(stdout);
    if (status == CLI_DONE && r->step != RENEW_DONE) running = recover_probe(verb, r);
    if (status == CLI_DONE && running > 0 && !ask->running)
        status = cli_error(verb, CLI_FAILED,
                           "nothing was changed: stop them, or give --though-running if they never "
                           "come back to their clients");
    else if (status == CLI_DONE && r->step != RENEW_DONE && ask->yes) {
        status = perform(verb, ask, what, r);
        if (status == CLI_DONE) status = done_say(verb, ask, r);
    } else if (status == CLI_DONE && ask->json)
        status = json_say(verb, ask, r, running);
    else if (status == CLI_DONE && r->step == RENEW_DONE) {
        char token[RENEW_TOKEN_MAX];
        (void)printf("token %s\n", renew_token_text(&r->token, token));
    } else if (status == CLI_DONE)
        (void)puts("nothing was changed; --yes does it");
    free(r);
    return status;
}

/* ---- the verb -------------------------------------------------------------------------------- */

static int one_recover(const struct verb *verb, const struct recover_ask *ask)
{
    struct recover_list list;
    struct renew_token token;
    int status = CLI_DONE;
    if (ask->data == NULL)
        return cli_error(verb, CLI_USAGE, "needs --data DIR, or --compare DIR...");
    if ((ask->members == NULL) == (ask->members_file == NULL))
        return cli_error(
            verb, CLI_USAGE,
            "needs --members ID[=HOST:PORT],... or --members-file FILE: all who are to "
            "be members");
    bool read = ask->members != NULL ? recover_words(verb, ask->members, &list, &status)
                                     : recover_file(verb, ask->members_file, &list, &status);
    if (!read) return status;
    if (ask->with != NULL && !renew_token_parse(ask->with, &token))
        return cli_error(verb, CLI_USAGE,
                         "--with %.100s: must be the token that the first recovery printed",
                         ask->with);
    struct renew_ask what = {
        .members = list.members, .count = list.count, .with = ask->with != NULL ? &token : NULL};
    return directory_recover(verb, ask, &what);
}

int recover_verb(const struct verb *verb, int argc, char **argv)
{
    struct recover_ask ask = {.data = NULL};
    int status = CLI_DONE;
    const struct flag flags[] = {
        {.name = "data",
         .kind = FLAG_TEXT,
         .to.text = &ask.data,
         .value = "DIR",
         .words = "the data directory of a node that does not run"},
        {.name = "members",
         .kind = FLAG_TEXT,
         .to.text = &ask.members,
         .value = "LIST",
         .words = "all members from now on: ID[=HOST:PORT][/voter|learner],..."},
        {.name = "members-file",
         .kind = FLAG_TEXT,
         .to.text = &ask.members_file,
         .value = "FILE",
         .words = "the same as JSON: [{\"id\",\"address\",\"non_voter\"}] or [\"HOST:PORT\"]"},
        {.name = "with",
         .kind = FLAG_TEXT,
         .to.text = &ask.with,
         .value = "TOKEN",
         .words = "take part in a recovery of the same log, made on another disk"},
        {.name = "yes", .kind = FLAG_SWITCH, .to.on = &ask.yes, .words = "do it; else it is told"},
        {.name = "though-running",
         .kind = FLAG_SWITCH,
         .to.on = &ask.running,
         .words = "even if a member of the past answers at its address"},
        {.name = "compare",
         .kind = FLAG_SWITCH,
         .to.on = &ask.compare,
         .words = "which of several directories to choose"},
        {.name = "json", .kind = FLAG_SWITCH, .to.on = &ask.json, .words = "the answer as JSON"},
    };
    if (!flags_parse(verb, flags, COUNT_OF(flags), FLAGS_ANYWHERE, &argc, argv, &status))
        return status;
    if (!ask.compare) {
        if (!flags_words_check(verb, argc, argv, 0, 0, &status)) return status;
        return one_recover(verb, &ask);
    }
    if (ask.data != NULL || ask.members != NULL || ask.members_file != NULL || ask.with != NULL ||
        ask.yes)
        return cli_error(verb, CLI_USAGE, "--compare takes directories and --json alone");
    if (!flags_words_check(verb, argc, argv, 1, -1, &status)) return status;
    return recover_compare(verb, argc - 1, argv + 1, ask.json);
}
