/* SPDX-License-Identifier: Apache-2.0 */
/* codec.h - a command <-> the payload of a log entry or a query.
 *
 *     u8 version (1)   u8 code   varint argument count   { varint length, bytes }
 *
 * The code is the stable number of the command (commands.h); its name is not stored. Arguments are
 * those after the name. A varint has 7 bits a byte, low ones first, the top bit set on all but the
 * last byte, and no needless bytes, so a command has one encoding. The bytes come from the log or
 * from a peer and are trusted for nothing. */
#ifndef KV_CODEC_H
#define KV_CODEC_H

#include "base/bytes.h"
#include "kv/commands.h"

#define KV_ARGS_MAX (1024u * 1024) /* arguments of one command, name included */

/* The arguments of a decoded command, to be taken one after the other. Borrows the payload. */
struct kv_args {
    struct reader reader;
    size_t left;
};

/* kv_command_size - encoded bytes of a command whose words are argv[0] (the name) to
 * argv[argc-1]. */
size_t kv_command_size(const struct kelp_bytes *argv, size_t argc);

/* kv_command_encode - write kv_command_size bytes to out. The command is in kv_commands and argc
 * fits its arity. */
void kv_command_encode(const struct kv_command *command, const struct kelp_bytes *argv, size_t argc,
                       uint8_t *out);

/* kv_command_decode - check every byte. KELP_E_VERSION: a format or code this program does not know
 * (*code is it); KELP_E_MALFORMED: lengths, counts or arity make no sense. */
enum kelp_error kv_command_decode(struct kelp_bytes payload, const struct kv_command **command,
                                  struct kv_args *args, uint8_t *code);

/* kv_args_next - the next argument; empty when none is left. */
struct kelp_bytes kv_args_next(struct kv_args *args);

#endif
