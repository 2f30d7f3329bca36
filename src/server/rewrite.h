/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite.h - CONFIG REWRITE: what clients changed goes into the settings file. See rewrite.c. */
#ifndef SERVER_REWRITE_H
#define SERVER_REWRITE_H

#include "base/buf.h"
#include "server/options.h"

/* rewrite_file - put every setting whose value in force was said by CONFIG SET into the file that
 * the server was started with, and say of each that it is from there now. *count: how many. false:
 * the file is as it was, and error says why. Blocks on the file system; on the loop. */
bool rewrite_file(const struct options *kept, struct settings *force, size_t *count, char *error);

/* rewrite_text - the text of a settings file with another value for a key: in its line, whose
 * comment stays, or in a new one at the end. false: no memory, or the key's line has no value of
 * its own. Nothing is known of the rest of the text, so what comes out is to be read again. */
bool rewrite_text(struct kelp_bytes text, const char *key, const char *value, struct buf *out);

#endif
