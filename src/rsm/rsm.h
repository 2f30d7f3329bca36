/* SPDX-License-Identifier: Apache-2.0 */
/* rsm.h - what surrounds every state machine: opens entry envelopes, keeps the cluster clock,
 * chains the hash.
 *
 * Between the driver and the user's kelp_fsm. Commands reach the machine in batches; no-ops,
 * configurations and
 * barriers are counted and hashed but not shown to it. An entry type or flag this version does not
 * know stops the
 * machine with an explanation: skipping it would make replicas differ. The chain hash covers every
 * entry's checksum
 * from the first one on, so two nodes that applied the same log have the same chain; the state hash
 * is the machine's
 * own and that of the sessions, which make a command that is retried take effect once. A restore
 * through the log is staged beside the state (rsm/stage.h), until one entry puts it there. */
#ifndef RSM_RSM_H
#define RSM_RSM_H

#include "kelp/fsm.h"
#include "kelp/restore.h"
#include "rsm/sessions.h"
#include "wire/mark.h"
#include "wire/snapchunk.h"
#include "wire/snaphead.h"

struct rsm;

/* NULL: out of memory */
struct rsm *rsm_new(const struct kelp_fsm_ops *ops, void *fsm, uint32_t group);
void rsm_free(struct rsm *r); /* closes the machine */

/* rsm_apply - encoded entries first.. in order; reply(sink, index - first, bytes) for commands. The
 * first index must be rsm_applied + 1; whoever took the entries in has verified their checksums.
 * KELP_E_VERSION, KELP_E_CORRUPT: stopped for good at the entry named in fault; entries before it
 * are applied. */
enum kelp_error rsm_apply(struct rsm *r, kelp_index first, const struct kelp_bytes *entries,
                          size_t count, kelp_reply_fn reply, void *sink, struct kelp_fault *fault);

/* rsm_refused - during reply: why the command was not executed; KELP_R_NONE: it was, now or by an
 * earlier entry of its session, and these are its result's bytes. */
enum kelp_reason rsm_refused(const struct rsm *r);

/* rsm_sessions - what is kept of them. */
struct sessions_count rsm_sessions(const struct rsm *r);

void rsm_query(struct rsm *r, struct kelp_bytes question, kelp_reply_fn reply, void *sink);

/* rsm_frees - can a command only make the state smaller? */
bool rsm_frees(const struct rsm *r, struct kelp_bytes command);

/* rsm_query_part, rsm_query_end - the same in pieces, for machines that can: see fsm.h. */
enum kelp_query rsm_query_part(struct rsm *r, uint64_t token, struct kelp_bytes question,
                               int may_begin, kelp_reply_fn reply, void *sink);
void rsm_query_end(struct rsm *r, uint64_t token);

/* rsm_has_snapshots - can the machine be asked for one, and be restored from it? */
bool rsm_has_snapshots(const struct rsm *r);

/* A snapshot of the state at the last applied position; one at a time. begin is cheap and must
 * succeed or change nothing: *pos is where it stands, *head_len how long its head will be.
 * KELP_E_NOT_SUPPORTED: the machine has none; KELP_E_BUSY: a restore is staged, which is no part of
 * it. Then rsm_snapshot_read until *last, while the machine
 * goes on: one object at most, encoded with its head into out, which has room for
 * RSM_OBJECT_BYTES_MAX; *len 0: none this time. rsm_snapshot_head: the head of all of it into out,
 * WIRE_SNAPHEAD_BYTES_MAX. rsm_snapshot_end: after each begin that succeeded, whatever happened;
 * none is open: nothing to do. */
#define RSM_OBJECT_BYTES_MAX (WIRE_OBJECT_HEAD + WIRE_OBJECT_BYTES_MAX)
enum kelp_error rsm_snapshot_begin(struct rsm *r, const struct wire_config *config,
                                   struct kelp_cluster_id cluster, uint64_t epoch,
                                   struct kelp_pos *pos, size_t *head_len);
enum kelp_error rsm_snapshot_read(struct rsm *r, uint8_t *out, size_t *len, bool *last);
size_t rsm_snapshot_head(struct rsm *r, uint64_t objects, uint64_t object_bytes, uint8_t *out);
void rsm_snapshot_end(struct rsm *r);

/* rsm_wants_snapshot - the machine asks for one. */
bool rsm_wants_snapshot(const struct rsm *r);

/* rsm_staged - what is staged by the log, and how the last one ended; true: something is. */
bool rsm_staged(const struct rsm *r, struct kelp_restore_status *out);

/* rsm_restore_begin, _object, _commit, _abort - a snapshot takes the place of the whole state, all
 * or nothing; what was staged goes with it. After begin either commit or abort; a commit that fails
 * has aborted. A hollow one is not shown to the machine: only the position moves. */
enum kelp_error rsm_restore_begin(struct rsm *r, const struct wire_snaphead *head,
                                  struct kelp_fault *fault);
enum kelp_error rsm_restore_object(struct rsm *r, const struct wire_object *object,
                                   struct kelp_fault *fault);
enum kelp_error rsm_restore_commit(struct rsm *r, const struct wire_snaphead *head,
                                   struct kelp_fault *fault);
void rsm_restore_abort(struct rsm *r);

/* rsm_deadline, rsm_lapses, rsm_tell_time, rsm_extend - see fsm.h; a machine without them has no
 * deadlines and needs no bytes. */
uint64_t rsm_deadline(const struct rsm *r);
bool rsm_lapses(const struct rsm *r, struct kelp_bytes question, uint64_t time_ns);
void rsm_tell_time(struct rsm *r, uint64_t time_ns);
size_t rsm_extend(const struct rsm *r, struct kelp_bytes command, uint64_t wall_unix_ms,
                  uint8_t *out);

struct kelp_pos rsm_applied(const struct rsm *r);
uint64_t rsm_time_ns(const struct rsm *r);
uint64_t rsm_chain_hash(const struct rsm *r);
uint64_t rsm_state_hash(const struct rsm *r);

/* rsm_marks - of the newest indexes at which every node notes its state, those behind after, in
 * order; how many. None of a state that was replaced since, and none where there is no state. */
size_t rsm_marks(const struct rsm *r, kelp_index after, struct wire_mark out[WIRE_MARK_KEPT]);

#endif
