/* SPDX-License-Identifier: Apache-2.0 */
/* reload.h - other settings while the server runs: SIGHUP, RAFT RELOAD, POST /v1/raft/reload. */
#ifndef SERVER_RELOAD_H
#define SERVER_RELOAD_H

#include "server/config.h"

struct server;

struct reload {
    size_t count; /* settings that are others now */
    struct setting_change changes[SETTINGS_MAX];
    char error[SETTINGS_ERROR_MAX]; /* why nothing was changed */
};

/* reload_run - take what a restart with the same command line would take, all or nothing, and log
 * it. What CONFIG SET had changed ends with it. false: nothing has changed, and result->error says
 * why. */
bool reload_run(struct server *s, const char *who, struct reload *result);

/* reload_apply - put settings that were checked, and differ in live ones only, in force; owns
 * next's texts. Requests that are open keep their deadlines. */
void reload_apply(struct server *s, const struct settings *next);

#endif
