/* SPDX-License-Identifier: Apache-2.0 */
/* recover.h - what the files of `kelp recover` share.
 *
 *   recover.c          the verb: one directory, a dry run unless told otherwise
 *   recover_compare.c  which survivor to choose
 *   recover_members.c  lists of members, as words and as files
 *   recover_probe.c    does anybody of the past still run? */
#ifndef CLI_RECOVER_H
#define CLI_RECOVER_H

#include "cli/room.h"
#include "store/renew.h"

struct recover_list {
    struct renew_member members[KELP_MEMBERS_MAX];
    size_t count;
};

/* recover_words, recover_file - ID[=HOST:PORT][/role],..., and a JSON file: an array of {"id",
 * "address","non_voter"}, or of addresses, alone or as "members" of an object. False: the mistake
 * was named, status is set. */
bool recover_words(const struct verb *verb, const char *words, struct recover_list *out,
                   int *status);
bool recover_file(const struct verb *verb, const char *path, struct recover_list *out, int *status);

/* recover_random - 64 random bits of the operating system. */
uint64_t recover_random(void *ctx);

/* What a directory is looked at through: its lock, if there is one, and a ghost above its disk. */
struct recover_view {
    int lock;
    struct disk posix, ghost;
};

/* recover_view_open - *fault: why not; KELP_E_LOCKED: a node runs on it. Never changes anything. */
enum kelp_error recover_view_open(const char *dir, struct recover_view *out,
                                  struct kelp_fault *fault);
void recover_view_close(struct recover_view *v);
struct store_options recover_options(void);

/* recover_probe - asks the addresses of all members that the directory knows, its own among them,
 * whether somebody runs there, all at once and for a few seconds. Once in a process. Returns of how
 * many that is so, or cannot be excluded; each is said on stderr. Who takes part in this very
 * recovery is none of them. */
unsigned recover_probe(const struct verb *verb, const struct renew_report *r);

int recover_compare(const struct verb *verb, int count, char **dirs, bool json);

/* recover_members_text - "1=HOST:PORT, 2=HOST:PORT/learner"; out is returned. */
#define RECOVER_TEXT_MAX (KELP_MEMBERS_MAX * (WIRE_ADDRESS_MAX + 32))
const char *recover_members_text(const struct wire_config *c, char *out);
json_t *recover_members_json(const struct wire_config *c);

#endif
