/* SPDX-License-Identifier: Apache-2.0 */
/* event.h - what happened, as data. The core and the store do not print; they emit these.
 *
 * An event stands in a branch that exists for one reason and is that branch's mark: a test names
 * it, the
 * simulator reports those it never hit. Log lines, JSON, the dashboard and tests are readers. */
#ifndef KELP_EVENT_H
#define KELP_EVENT_H

#include "kelp/types.h"

enum kelp_level { KELP_ERROR = 0, KELP_WARN = 1, KELP_INFO = 2, KELP_DEBUG = 3 };

/* name, level, one clause for people */
#define KELP_EVENTS(X)                                                                             \
    X(NONE, DEBUG, "nothing")                                                                      \
    /* roles and terms */                                                                          \
    X(ROLE_FOLLOWER, INFO, "became follower")                                                      \
    X(ROLE_PRE_CANDIDATE, INFO, "asks whether it could win")                                       \
    X(ROLE_CANDIDATE, INFO, "stands for election")                                                 \
    X(ROLE_LEADER, INFO, "became leader")                                                          \
    X(TERM_ADOPTED, INFO, "adopted a higher term")                                                 \
    X(LEADER_KNOWN, INFO, "follows a leader")                                                      \
    X(LEADER_UNKNOWN, INFO, "knows no leader")                                                     \
    X(ELECTION_TIMEOUT, INFO, "heard no leader in time")                                           \
    X(ELECTION_REPEAT, INFO, "the attempt had no winner, starts another")                          \
    X(CAMPAIGN_NOT_VOTER, DEBUG, "does not campaign: not a voter")                                 \
    X(CAMPAIGN_WAITS, INFO, "does not campaign yet: others are preferred")                         \
    X(CAMPAIGN_NEVER, DEBUG, "does not campaign: its priority is 0")                               \
    X(CAMPAIGN_NEEDED, WARN,                                                                       \
      "campaigns with priority 0: its log keeps those from leading who may")                       \
    X(CAMPAIGN_HELD_UNSAVED, INFO, "does not campaign: entries are not on its disk yet")           \
    X(CAMPAIGN_HELD_STALLED, WARN, "does not campaign: its disk stalled")                          \
    X(CAMPAIGN_HELD_NO_SPACE, WARN, "does not campaign: its disk is full")                         \
    X(CAMPAIGN_HELD_HEARD, INFO, "does not stand: it heard a leader too lately")                   \
    X(CAMPAIGN_HELD_DRAINED, DEBUG, "does not campaign: it is drained, or its state is apart")     \
    X(CAMPAIGN_LAST_RESORT, WARN, "is not to lead, and stands because nobody else leads")          \
    X(PROTECTION_OFF, WARN, "a protection is switched off by option")                              \
    /* votes */                                                                                    \
    X(VOTE_GRANTED, INFO, "granted its vote")                                                      \
    X(VOTE_REPEATED, DEBUG, "repeats a vote it gave before")                                       \
    X(VOTE_REFUSED_REMOVED, INFO, "refused a vote: the candidate was removed")                     \
    X(VOTE_REFUSED_STICKY, INFO, "refused a vote: it hears a leader")                              \
    X(VOTE_REFUSED_LOWER_TERM, DEBUG, "refused a vote: lower term")                                \
    X(VOTE_REFUSED_VOTED, INFO, "refused a vote: voted for another in this term")                  \
    X(VOTE_REFUSED_STALE_LOG, INFO, "refused a vote: the candidate's log is behind")               \
    X(PRE_VOTE_GRANTED, DEBUG, "would grant its vote")                                             \
    X(VOTE_WITHHELD, INFO, "gives no vote so soon after its start")                                \
    X(VOTE_ANSWER_STALE, DEBUG, "ignored an answer of another election")                           \
    X(VOTE_ANSWER_TWICE, DEBUG, "counted a repeated vote once")                                    \
    X(VOTE_ANSWER_NOT_VOTER, DEBUG, "ignored the vote of a non-voter")                             \
    X(VOTE_OWN_COUNTED, DEBUG, "counts its own vote, now durable")                                 \
    X(ELECTION_LOST, INFO, "a quorum refused")                                                     \
    /* handing leadership over */                                                                  \
    X(TRANSFER_REFUSED, INFO, "does not hand leadership over")                                     \
    X(TRANSFER_BEGUN, INFO, "hands leadership over: takes no proposals")                           \
    X(TRANSFER_FOR_STALL, WARN, "hands leadership over because its disk stalled")                  \
    X(TRANSFER_FOR_CHANGE, INFO, "hands leadership over: a change takes its vote")                 \
    X(TRANSFER_LEFT, INFO, "its vote is gone, told another voter to stand")                        \
    X(TRANSFER_FOR_DRAIN, INFO,                                                                    \
      "hands leadership over because it is drained, or its state is apart")                        \
    X(DRAIN_BEGUN, INFO, "is drained: leadership does not go there")                               \
    X(APART_BEGUN, ERROR, "its state is not that of the others: it is not to lead")                \
    X(APART_ENDED, INFO, "its state was replaced: it may lead")                                    \
    X(DRAIN_ENDED, INFO, "is drained no more")                                                     \
    X(DRAIN_REFUSED, INFO, "is not drained: nobody could take over")                               \
    X(TRANSFER_PREFERRED, INFO, "hands leadership over to a member with a higher priority")        \
    X(TRANSFER_TOLD, INFO, "told a voter that has everything to stand now")                        \
    X(TRANSFER_DONE, INFO, "leadership was handed over")                                           \
    X(TRANSFER_ABORTED, WARN, "leadership was not handed over")                                    \
    X(LEAVING_TOLD, INFO, "told its leader that it is about to stop")                              \
    X(TRANSFER_PARTING, WARN, "faulted as leader, told a voter to stand")                          \
    X(TIMEOUT_NOW_OBEYED, INFO, "stands because its leader hands over")                            \
    X(TIMEOUT_NOW_NOT_LEADER, INFO, "ignored an order to stand: not from its leader")              \
    X(TIMEOUT_NOW_BEHIND, INFO, "ignored an order to stand: its log does not reach far enough")    \
    X(TIMEOUT_NOW_LATE, INFO, "ignored an order to stand: its leader has gone on since")           \
    /* terms on messages */                                                                        \
    X(MESSAGE_LOWER_TERM, DEBUG, "answered a message of a lower term with its own")                \
    X(MESSAGE_NOT_FOR_US, WARN, "ignored a message for another node")                              \
    X(ANSWER_NOT_LEADING, DEBUG, "ignored an answer: it does not lead")                            \
    X(MESSAGE_UNKNOWN_SENDER, DEBUG, "ignored an answer from a node outside the configuration")    \
    X(MESSAGE_MALFORMED, WARN, "ignored a message that makes no sense")                            \
    X(TWO_LEADERS, ERROR, "two leaders in one term")                                               \
    X(STRANGERS_FULL, DEBUG, "dropped an answer to a node outside the configuration")              \
    /* replication, the follower's side */                                                         \
    X(APPEND_ACCEPTED, DEBUG, "appended entries")                                                  \
    X(APPEND_KNOWN, DEBUG, "had these entries already")                                            \
    X(APPEND_BELOW_COMMIT, DEBUG, "an append lies below its commit index")                         \
    X(APPEND_REFUSED_GAP, DEBUG, "refused an append: entries missing before it")                   \
    X(APPEND_REFUSED_CONFLICT, DEBUG, "refused an append: another term before it")                 \
    X(APPEND_REFUSED_NO_SPACE, DEBUG, "took no entry: its disk is full")                           \
    X(LOG_TRUNCATED, INFO, "cut a conflicting tail")                                               \
    X(SNAPSHOT_WANTED, INFO, "needs the snapshot of its leader")                                   \
    X(SNAPSHOT_PASSED, DEBUG, "was offered a snapshot of what it has committed")                   \
    X(SNAPSHOT_HELD, INFO,                                                                         \
      "was offered a snapshot that ends in its log, which is committed so far")                    \
    X(SNAPSHOT_LOOKED_UP, DEBUG, "must look up its own entry where a snapshot ends")               \
    X(SNAPSHOT_INSTALLED, INFO, "installed a snapshot, its log begins behind it")                  \
    X(SNAPSHOT_KEPT_LOG, INFO, "installed a snapshot that ends in its log, which stays")           \
    X(COMMIT_FOLLOWED, DEBUG, "commit index follows the leader")                                   \
    X(COMMIT_CAPPED_UNVERIFIED, DEBUG, "commit index held at what was verified")                   \
    X(COMMIT_CONFLICT, ERROR, "a leader contradicts what is committed")                            \
    /* replication, the leader's side */                                                           \
    X(NOOP_APPENDED, DEBUG, "appended the empty entry of its term")                                \
    X(PEER_PROBE, DEBUG, "probes a peer")                                                          \
    X(PEER_STREAM, DEBUG, "streams to a peer")                                                     \
    X(PEER_NEEDS_SNAPSHOT, INFO, "a peer needs entries that are compacted")                        \
    X(SNAPSHOT_OFFERED, INFO, "offers a peer its snapshot")                                        \
    X(PEER_SILENT, INFO, "a peer is not answering")                                                \
    X(PEER_BACK, INFO, "a peer answers again")                                                     \
    X(PROBE_REPEATED, DEBUG, "repeats an unanswered probe")                                        \
    X(WINDOW_FULL, DEBUG, "a peer's window is full")                                               \
    X(WINDOW_LOST, INFO, "nothing of a peer's window was acknowledged, probes again")              \
    X(REJECT_SUPERSEDED, DEBUG, "ignored the refusal of a superseded attempt")                     \
    X(REJECT_BELOW_MATCH, DEBUG, "ignored a refusal below what is matched")                        \
    X(MATCH_STALE, DEBUG, "ignored a match that is not new")                                       \
    X(MATCH_BEYOND_LOG, WARN, "ignored a match beyond its own log")                                \
    X(LOOKUP_STALE, DEBUG, "ignored a lookup of another revision")                                 \
    X(LOOKUP_FAILED, ERROR, "could not read its own log")                                          \
    X(LINK_RESET, DEBUG, "a peer's connection is new, probes it")                                  \
    /* commit and apply */                                                                         \
    X(COMMIT_ADVANCED, DEBUG, "committed")                                                         \
    X(COMMIT_HELD_BACK_OLD_TERM, INFO, "a quorum holds it, but it is of an older term")            \
    X(APPLIED, DEBUG, "applied")                                                                   \
    X(LOG_COMPACTED, DEBUG, "compacted its log")                                                   \
    /* proposals and reads */                                                                      \
    X(PROPOSE_ACCEPTED, DEBUG, "appended a proposal")                                              \
    X(PROPOSE_NOT_LEADER, DEBUG, "refused a proposal: does not lead")                              \
    X(PROPOSE_BUSY, DEBUG, "refused a proposal: a limit is reached")                               \
    X(PROPOSE_TRANSFERRING, DEBUG, "refused a proposal: leadership is being handed over")          \
    X(PROPOSE_TOO_LARGE, DEBUG, "refused a proposal: too large")                                   \
    X(PROPOSE_NO_SPACE, DEBUG, "refused a proposal: a disk is nearly full")                        \
    X(PROPOSAL_DONE, DEBUG, "a proposal committed")                                                \
    X(PROPOSAL_DONE_AFTER_DEPOSED, INFO, "a deposed leader's proposal committed after all")        \
    X(PROPOSAL_LOST, INFO, "another entry was committed in a proposal's place")                    \
    X(PROPOSAL_UNKNOWN, INFO, "a proposal's outcome is unknown")                                   \
    X(READ_WAITS_OWN_TERM, DEBUG, "a read waits for the first commit of the term")                 \
    X(READ_ROUND, DEBUG, "asks a quorum whether it still leads")                                   \
    X(READ_RELEASED, DEBUG, "a read may be served")                                                \
    X(READ_LEASED, DEBUG, "a read needs no round: the lease holds")                                \
    X(READ_NO_LEASE, DEBUG, "refused a read: there is no lease")                                   \
    X(READ_LEASE_TO_ROUND, DEBUG, "a read takes a round, since there is no lease")                 \
    X(READ_REFUSED, DEBUG, "refused a read")                                                       \
    /* stepping down */                                                                            \
    X(QUORUM_LOST, WARN, "a leader without a quorum steps down")                                   \
    X(DISK_STALLED, WARN, "a save is taking too long")                                             \
    X(DISK_STEP_DOWN, WARN, "a leader whose disk stalls steps down")                               \
    X(DISK_RECOVERED, INFO, "the stalled save was reported")                                       \
    X(SPACE_SHORT, WARN, "is short of disk room, or a quorum is: writes are refused")              \
    X(SPACE_BACK, INFO, "has disk room again")                                                     \
    X(FAULTED, ERROR, "the node is faulted")                                                       \
    X(SETTINGS_DIFFER, WARN, "a voter has other cluster settings: no lease through it")            \
    X(SETTINGS_WRITTEN, INFO, "the settings that every voter shows become the cluster's")          \
    X(CONFIG_ADOPTED, INFO, "uses a new configuration")                                            \
    X(CONFIG_REVERTED, WARN, "went back to the configuration before")                              \
    X(CONFIG_COMMITTED, INFO, "a configuration is committed")                                      \
    /* changes of the membership */                                                                \
    X(CHANGE_WAITS, INFO, "a change waits until it may begin")                                     \
    X(CHANGE_REFUSED, INFO, "refused a change")                                                    \
    X(CHANGE_NOTHING_NEW, INFO, "a change asks for what is so already")                            \
    X(CHANGE_STAGED, INFO, "a change begins with letting new voters catch up")                     \
    X(CHANGE_JOINT, INFO, "a change needs both majorities from here on")                           \
    X(CHANGE_LEFT_JOINT, INFO, "the old majority is no longer needed")                             \
    X(CHANGE_SIMPLE, INFO, "a change takes one step")                                              \
    X(CHANGE_DONE, INFO, "a change is committed")                                                  \
    X(CHANGE_LOST, INFO, "another entry was committed in a change's place")                        \
    X(CHANGE_UNKNOWN, INFO, "a change's outcome is unknown")                                       \
    X(CATCH_UP_ROUND, INFO, "a new member finished a round, too slowly for the vote")              \
    X(CATCH_UP_DONE, INFO, "a new member has caught up")                                           \
    X(CATCH_UP_WATCHED, INFO, "a new member has caught up, and must stay well for its vote")       \
    X(CATCH_UP_UNWELL, INFO, "a new member that had caught up is not well, its time begins anew")  \
    X(UNSEEN_REMOVED, WARN, "removes a voter that was not heard for too long")                     \
    X(CATCH_UP_SILENT, INFO, "a new member that had caught up is silent, and begins anew")         \
    X(CATCH_UP_GIVEN_UP, WARN, "a new member does not catch up, and stays a learner")              \
    X(WITNESS_NEEDED, WARN, "a voter is silent: counts a witness for commit")                      \
    X(WITNESS_IN, WARN, "a witness is counted for commit by the configuration")                    \
    X(WITNESS_OUT, INFO, "all voters are there: a witness is not counted for commit any more")     \
    X(CAMPAIGN_WITNESS, DEBUG, "does not campaign: it is a witness")                               \
    X(STEP_DOWN_NOT_VOTER, INFO, "a leader that is no voter any more steps down")                  \
    X(REMOVED_TOLD, INFO, "tells a node that it was removed")                                      \
    X(REMOVED, WARN, "was removed from the cluster, and does not campaign any more")               \
    X(CAMPAIGN_REMOVED, DEBUG, "does not campaign: it was removed")                                \
    X(SAVE_LOWERED, DEBUG, "a truncation lowered what open saves vouch for")                       \
    X(SAVED, DEBUG, "a save was reported")                                                         \
    X(SHUTDOWN, INFO, "shutting down")

enum kelp_event_type {
#define KELP_EVENT_ENUM(name, level, words) KELP_EV_##name,
    KELP_EVENTS(KELP_EVENT_ENUM)
#undef KELP_EVENT_ENUM
        KELP_EVENT_COUNT
};

struct kelp_event {
    kelp_ns at;    /* the emitting node's clock */
    uint16_t type; /* enum kelp_event_type */
    uint8_t role;  /* enum kelp_role, at that moment */
    kelp_id node;
    kelp_id peer;        /* 0: none concerned */
    kelp_term term;      /* the node's term at that moment */
    struct kelp_pos pos; /* the position concerned, 0@0 if none */
    uint64_t value;      /* what the event is about, see its branch */
};

/* kelp_event_name - the stable upper-case name of an event.
 * takes    type    any value; an unknown one gets "UNKNOWN_EVENT"
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_event_name(enum kelp_event_type type);

/* kelp_event_words - what the event means, as a clause that follows "node 3".
 * takes    type    any value
 * returns  static text, never NULL
 * thread   any   cost  O(1)   source  - */
KELP_API const char *kelp_event_words(enum kelp_event_type type);

/* kelp_event_level - how loud a reader should be about it.
 * takes    type    any value; an unknown one gets KELP_DEBUG
 * thread   any   cost  O(1)   source  - */
KELP_API enum kelp_level kelp_event_level(enum kelp_event_type type);

#endif
