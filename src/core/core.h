/* SPDX-License-Identifier: Apache-2.0 */
/* core.h - what the files of core/ share: the struct, its parts, and each file's few doors.
 *
 * Values (quorum, config, log, progress, requests) know nothing of struct kelp_core. Fields have
 * one writer each: role.c the role, term, vote and leader; save.c the open saves and what is
 * durable; progress.c a peer's flow. Conversations (elect, replicate, read, propose, commit) change
 * state, raise a dirty bit and return; settle() in step.c alone decides what follows. Nothing is
 * sent during a step: output.c asks once per take what is owed. */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include "base/assert.h"
#include "base/min.h"
#include "base/prng.h"
#include "base/unset.h"
#include "core/config.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/quorum.h"
#include "core/requests.h"
#include "kelp/core.h"

#define SAVES_OPEN_MAX 32u /* saves emitted and not reported; more wait and merge */
/* entry bytes a probe may carry, so that it fits the control lane */
#define PROBE_BYTES_MAX 2048u
#define NOOP_BYTES      64u /* of the leader's empty entry, for flow control only */
/* of a configuration entry with so many members, for flow control; not less than it can have, or
 * a read of the log that ends where this says would leave it out */
#define CONFIG_BYTES(members) (256u + 160u * (uint64_t)(members))
#define CHANGES_MAX           2u           /* of the membership: one under way, one that waits */
#define MESSAGES_PER_PEER     5u           /* at most, in one take; and one to whom we hand over */
#define RESEND_MAX            60000000000u /* ns; the longest wait before a window is called lost */
#define SENDINGS_MAX          8u /* remembered for leases; an older answer proves nothing */
/* longest election timeouts that a silent member's part of the log is kept */
#define HELD_SILENT   10u
#define STALL_MIN     1000000000u /* ns; the least stall limit */
#define STEADY_LIMITS 10u         /* stall limits until a disk that stalled is preferred again */
/* counting never gets there; beyond it a message is malformed */
#define TERM_MAX (UINT64_MAX / 4)

enum dirty {
    DIRTY_ROLE = 1,       /* the role changed */
    DIRTY_CONFIG = 2,     /* the newest configuration in the log changed */
    DIRTY_TALLY = 4,      /* a vote came in, or our own became durable */
    DIRTY_MATCH = 8,      /* a match or our own durable index grew */
    DIRTY_COMMIT = 16,    /* commit grew */
    DIRTY_READ = 32,      /* a round was answered, applied grew, or reads are new */
    DIRTY_SPACE = 64,     /* somebody's room on disk changed, or who counts */
    DIRTY_TRANSFER = 128, /* a transfer may go on or end */
    DIRTY_STAND = 256,    /* our leader hands over to us */
};

/* A leader hands over, see transfer.c. */
enum transfer_state { TRANSFER_NONE, TRANSFER_LEVEL, TRANSFER_TOLD, TRANSFER_OVER };
struct transfer {
    enum transfer_state state;
    bool stall;                /* because of our own disk: to a voter whose disk works */
    bool leave;                /* because of a change that takes our vote: to one that stays */
    bool drain;                /* since this node is drained: it ends with that */
    bool begins_drain;         /* .. and asked for with it: if it is in vain, none */
    bool choosy;               /* the highest priority is the best, for a while */
    uint64_t token;            /* 0: nobody asked, nobody is answered */
    kelp_id wanted;            /* as asked for, 0: the best */
    kelp_id target;            /* 0: nobody yet */
    kelp_term term;            /* that we led */
    kelp_index required;       /* TOLD: the end of our log */
    kelp_ns until;             /* aborted then */
    kelp_ns told_at;           /* when the target was last told; 0: not yet */
    kelp_ns again_at;          /* not for a stalled disk before */
    struct kelp_answer answer; /* OVER: for the next take */
};

/* Whom this leader should hand over to by itself, see transfer.c. */
struct preferred {
    kelp_id followed; /* whom we followed last, before we led */
    kelp_ns again_at; /* before that we do not hand over to anybody, but from priority 0 */
    kelp_index end;   /* of our log at the last look */
    kelp_ns look_at;  /* the next one; KELP_NEVER: everybody has the same priority */
};

enum candidacy { CANDIDACY_OWN, CANDIDACY_TRANSFER };

/* Whom a node asks for pre-votes, not to win: who was removed is told so then. */
enum enquiry { ENQUIRE_NOBODY = 0, ENQUIRE_OTHERS /* who have no vote */, ENQUIRE_EVERYBODY };

enum ballot { BALLOT_NONE = 0, BALLOT_GRANTED = 1, BALLOT_REFUSED = 2 };

/* An answer we owe a node: at most one of each kind, the newest. */
struct debt {
    bool answer; /* to its appends and heartbeats */
    bool rejected;
    bool vote[2]; /* [0] pre-vote, [1] vote */
    bool granted[2];
    kelp_term vote_term[2]; /* the term the candidate asked for, repeated in the answer */
    uint64_t vote_id[2];
    uint64_t id, attempt;
    struct kelp_pos hint, refused;
};

/* A lookup for a peer whose next entries are older than our tables. */
enum look_state { LOOK_NONE, LOOK_WANTED, LOOK_ASKED, LOOK_FOUND };
struct look {
    enum look_state state;
    uint64_t revision;
    struct kelp_pos pos; /* pos.index was asked for */
    struct kelp_pos last;
    uint64_t bytes;
};

/* A member that is staging, or a voter that was absent: how it catches up. */
struct catch_up {
    kelp_index target; /* this round ends when it has that; 0: none has begun */
    uint64_t asked;    /* and has answered a message after this one */
    kelp_ns began;    /* this round; ready: since then it is well, and may vote once that is long */
    kelp_ns moved;    /* when match grew, or a round ended */
    kelp_index match; /* as last looked at */
    uint32_t rounds;  /* finished */
    bool ready, failed;
};

/* A change of the membership that somebody asked for. */
enum change_stage {
    CHANGE_WAITING, /* for the gate */
    CHANGE_STAGED,  /* its first entry is in the log; new voters catch up */
    CHANGE_DECIDED, /* the entry at pos says how it ends */
};
struct change {
    uint64_t token; /* 0: answered */
    kelp_ns deadline;
    uint32_t flags, count;
    kelp_index if_index;
    struct kelp_edit *edits; /* room for members_max */
    struct kelp_pos pos;     /* the entry that decides it; before that, its first one */
    kelp_index end;          /* pos, or if that is joint, where that was left; 0: not in the log */
    uint64_t round;          /* nothing new, once a quorum has answered it; 0: not seen yet */
    kelp_id member;          /* whom a refusal is about */
    uint8_t stage;
    bool staged;             /* an entry before that one was committed */
    bool handed;             /* leadership was to go to another first: not again */
    bool came;               /* .. and with it somebody new is there, whatever comes of it */
    uint8_t verdict;         /* enum kelp_reason once pos is committed; NONE: done */
    uint8_t outcome, reason; /* enum kelp_outcome, 0: open */
};

struct peer {
    kelp_id id;
    struct debt debt;
    /* as a candidate */
    enum ballot ballot;
    kelp_ns asked_at; /* 0: not yet in this election */
    /* as a leader */
    struct progress progress;
    struct look look;
    kelp_ns contact;         /* when it last answered, at the earliest when we began to lead */
    kelp_ns probe_at;        /* when the last probe left */
    kelp_ns progress_at;     /* when match last grew, or the window was last empty */
    kelp_ns resend_after;    /* a window without progress for so long is lost */
    kelp_ns heartbeat_at;    /* when the next one is due */
    kelp_ns commit_at;       /* when a commit index it was not told is due; KELP_NEVER: none */
    struct kelp_pos offered; /* a snapshot that it is to have, 0@0: none: see snap.c */
    kelp_ns offer_at;        /* when it is told (again) */
    uint64_t heartbeat_id, append_id; /* of the last one sent */
    kelp_ns heartbeat_sent, rtt;
    uint64_t round_sent, round_answered;
    kelp_index durable, applied;
    uint64_t answered_id; /* the newest message it answered */
    struct catch_up catch_up;
    kelp_ns saved_at; /* when durable last grew, 0: not in this term */
    kelp_ns level_at; /* since when it could take over at every look; 0: it could not at the last */
    enum kelp_space space;
    bool heard; /* it answered since we lead; else contact is only the benefit of the doubt */
    bool silent;
    bool stalled;       /* its disk, as it last told */
    bool leaving;       /* it is about to stop, as it last told */
    bool drained;       /* leadership does not go there, as it last told */
    bool apart;         /* .. because its state is not that of the others */
    bool unsteady;      /* it stalled lately */
    bool alike;         /* its handshake showed our own cluster settings */
    kelp_ns heard_sent; /* it answered, in this term, what left then; 0: nothing */
};

/* Whatever has this message id or a higher one left at that moment or later. */
struct sending {
    uint64_t id;
    kelp_ns at;
};

struct stranger { /* an answer owed to a node outside the configuration */
    kelp_id id;
    struct debt debt;
};

struct open_save {
    uint64_t number;
    kelp_ns emitted_at;
    kelp_index
        vouches; /* the log is durable up to here once it is reported; truncations lower it */
    bool has_vote;
    kelp_term term;
    kelp_id vote;
};

/* What check.c saw last time, to judge what may have changed. */
struct shadow {
    bool valid;
    enum kelp_error error; /* what the last look found */
    kelp_term term, saved_term;
    kelp_id vote;
    kelp_index commit, applied, last, base, durable, config_index;
    uint64_t revision;
    enum kelp_role role;
    bool handing_over, leaving, noop_due;
    kelp_ns handing_until; /* tells one transfer from the next */
};

/* timer.c: until then a leader has heard from a quorum, whatever comes. */
struct near {
    kelp_term term;
    kelp_index config_index;
    kelp_ns until;
};

struct kelp_core {
    struct kelp_options options;
    kelp_ns now;
    struct prng prng;
    uint32_t dirty;

    struct near near;

    /* role.c */
    enum kelp_role role;
    kelp_term term;
    kelp_id vote, leader;
    kelp_term elected; /* the last term whose election was won here, since the start; 0: none */
    kelp_ns role_since, leader_contact;
    kelp_term heard_term;   /* the newest message that a leader was heard by: its term .. */
    uint64_t heard_id;      /* .. and its id there */
    kelp_ns led_at;         /* when it last ceased to lead */
    kelp_ns election_at;    /* when a node that hears nobody stands; KELP_NEVER for a leader */
    kelp_ns needed_at;      /* priority 0: when its log last kept somebody from leading; 0: never */
    enum ballot own_ballot; /* a candidate's own vote: GRANTED once durable */
    bool noop_due;    /* just became leader: the empty entry goes into the log at the next take */
    bool by_transfer; /* candidate: the leader asked for this election */
    uint8_t timeouts; /* elapsed since a leader was heard, up to a few */
    enum enquiry enquires; /* at the next take */

    /* save.c */
    kelp_term saved_term;
    kelp_id saved_vote;
    kelp_term emitted_term; /* in the last save that carried a vote */
    kelp_id emitted_vote;
    uint64_t save_number;    /* the last one emitted */
    kelp_index emitted_last; /* entries up to it are in emitted saves */
    kelp_index durable;
    bool truncate_due;
    struct kelp_pos truncate_to;
    bool reset_due; /* to the end of a snapshot that was installed */
    struct kelp_pos reset_to;
    struct open_save saves[SAVES_OPEN_MAX]; /* ring */
    uint32_t saves_head, saves_count;
    bool stalled, stall_long;
    kelp_ns campaign_after; /* a node whose disk stalled stands again from here on */
    kelp_ns steady_at;      /* .. and is preferred again from here on */
    bool drained;           /* transfer.c: does not stand, hands over what it leads */
    bool apart;             /* the same for as long as its state is not that of the others */
    kelp_ns drained_at;     /* since when it is one of the two */

    struct log log;
    struct kelp_config config;        /* the newest in the log */
    struct kelp_config config_before; /* what a truncation of that one goes back to */
    bool config_has_before;
    bool witnessed;                     /* config has a witness, or a mark left of one */
    bool staging;                       /* config has somebody on the way to a vote */
    bool told_removed;                  /* by a member that knows the removal to be committed */
    bool behind;                        /* who leads, or asked for votes, has more than our log */
    uint32_t self_slot;                 /* in config; CONFIG_NO_SLOT: not a member */
    struct change changes[CHANGES_MAX]; /* in order of arrival */
    uint32_t change_count;
    bool leave_due; /* the oldest of them takes our vote: hand over first */

    kelp_index commit, applied, apply_given;
    kelp_index everyone;
    struct kelp_pos snapshot; /* the newest own one */
    struct kelp_pos fetch;    /* one that is needed here, for the next take .. */
    kelp_id fetch_from;       /* .. and who offers it */
    kelp_index held_back;     /* for which COMMIT_HELD_BACK_OLD_TERM was told */
    kelp_index own_first;     /* leader: the empty entry of its term; reads wait for it */

    /* follower: about the leader of this term */
    kelp_index verified; /* our log equals the leader's up to here */
    uint64_t round_seen;

    /* leader */
    uint64_t round;           /* the last one given out */
    uint64_t round_confirmed; /* a quorum answered it */
    bool reads_fresh;         /* the newest reads of the ring have no round yet */
    uint64_t message_id;

    /* lease.c */
    struct sending sendings[SENDINGS_MAX]; /* ring of this term's, ascending */
    uint32_t sendings_head, sendings_count;
    bool lease_waits; /* an open read of a lease has not been looked at, or not applied */
    uint64_t lease_reads, lease_refused;
    /* any role: a leader may count on what this node told it then or before, so it gives no vote
     * for a minimum election timeout; 0: none does */
    kelp_ns sticks_from;

    /* transfer.c */
    struct transfer transfer;
    struct preferred preferred;
    kelp_term told_term;      /* the last in which we told somebody to stand: no leases in it */
    kelp_id parting;          /* a leader let go: this voter is still to be told, once; 0: none */
    kelp_index parting_index; /* .. that its log ends at least here */

    struct look own_look; /* a term this follower must know to judge an append */

    struct peer *peers; /* by slot of config */
    struct inflight *windows;
    struct stranger *strangers;
    uint32_t stranger_count;
    struct requests proposals, reads;
    struct kelp_answer *refusals; /* answers made at once, in a step */
    uint32_t refusal_count;

    struct kelp_event *events; /* ring of limits.events_max */
    uint64_t event_count, events_taken;

    struct kelp_message *messages; /* of the last take */
    struct kelp_answer *answers;
    struct kelp_lookup *lookups;
    struct kelp_made made;

    uint32_t room, health; /* as our answers say them */
    enum kelp_space own_space;
    enum kelp_space space; /* a leader's: with a quorum's; what it refuses by */
    bool faulted, shutdown;
    struct kelp_fault fault;
    struct shadow shadow;
};

/* ---- state.c ---- */
void event_emit(struct kelp_core *r, struct kelp_event event);
#define EVENT(r, ...) event_emit((r), (struct kelp_event){.type = KELP_EV_##__VA_ARGS__})
void peers_rebuild(struct kelp_core *r); /* after the configuration changed: keep what is known of
                                            those who stay */
struct peer *peer_of(struct kelp_core *r, kelp_id id); /* NULL: not a member */
struct debt *debt_of(struct kelp_core *r, kelp_id id); /* member or stranger; NULL: no room */
void core_fault(struct kelp_core *r, enum kelp_error error, const char *words, struct kelp_pos ours,
                struct kelp_pos theirs);
static inline bool core_silent(const struct kelp_core *r) /* faulted or shut down: sends nothing */
{
    return r->faulted || r->shutdown;
}

/* ---- role.c: the only writer of role, term, vote, leader ---- */
void role_adopt(struct kelp_core *r, kelp_term term); /* a higher term; follower without a leader */
void role_follow(struct kelp_core *r, kelp_id leader); /* the leader of our term speaks */
void role_step_down(struct kelp_core *r);              /* same term, follower, no leader */
void role_pre_candidate(struct kelp_core *r);
void role_candidate(struct kelp_core *r, enum candidacy why); /* next term, own vote */
void role_leader(struct kelp_core *r);
void role_vote(struct kelp_core *r, kelp_id candidate); /* in our term, at most once */
void role_timer_reset(struct kelp_core *r);             /* a fresh random election timeout */

/* ---- save.c: the only writer of what is durable ---- */
void save_truncated(struct kelp_core *r, struct kelp_pos end); /* the log was cut to end */
void save_reported(struct kelp_core *r, uint64_t number);
void save_reset(struct kelp_core *r, struct kelp_pos pos); /* a snapshot took the log's place */
bool save_compose(struct kelp_core *r, struct kelp_save *save);
bool save_waits(const struct kelp_core *r); /* there is more to save, and room for it */
void save_stall_check(struct kelp_core *r);
kelp_ns save_deadline(const struct kelp_core *r);
static inline bool term_saved(const struct kelp_core *r)
{
    return r->saved_term.v == r->term.v;
}

/* ---- elect.c ---- */
void elect_timeout(struct kelp_core *r);
void elect_ordered(struct kelp_core *r); /* somebody says: stand, whoever else is preferred */
void elect_asked(struct kelp_core *r, const struct kelp_message *m);
void elect_answered(struct kelp_core *r, const struct kelp_message *m);
void elect_tally(struct kelp_core *r);
void elect_stand(struct kelp_core *r); /* the leader hands over: now, without a pre-vote */

/* ---- replicate.c ---- */
struct kelp_taken replicate_append(struct kelp_core *r, const struct kelp_message *m);
void replicate_heartbeat(struct kelp_core *r, const struct kelp_message *m);
void replicate_answer(struct kelp_core *r, const struct kelp_message *m);
void replicate_lead(struct kelp_core *r); /* a leader's start: every peer is probed */
void replicate_noop(struct kelp_core *r); /* its empty entry */
void replicate_link(struct kelp_core *r, kelp_id id);
void replicate_found(struct kelp_core *r, const struct kelp_input *input);
void replicate_timers(struct kelp_core *r);
/* what does peer want next? false: nothing now */
bool replicate_owed(struct kelp_core *r, struct peer *peer, struct kelp_message *out);
/* leader_heard - the sender leads our term, or (false) it must not be listened to. */
bool leader_heard(struct kelp_core *r, const struct kelp_message *m);
void leader_owed(struct kelp_core *r, const struct kelp_message *m); /* an answer */
/* entry_known - does our entry at index have this term? Up to what is committed or verified our log
 * equals any leader's. */
enum check { CHECK_SAME, CHECK_DIFFERS, CHECK_NOT_KNOWN, CHECK_CONTRADICTS };
enum check entry_check(const struct kelp_core *r, kelp_index index, kelp_term term);
/* contradiction - theirs differs from what is committed here: a fault. */
void contradiction(struct kelp_core *r, kelp_id from, struct kelp_pos theirs);
/* entry_look_up - the term of one of our own entries that is older than the runs must be known */
void entry_look_up(struct kelp_core *r, kelp_index index);

/* ---- snap.c ---- */
bool snap_owed(struct kelp_core *r, struct peer *peer, struct kelp_message *out);
void snap_offered(struct kelp_core *r, const struct kelp_message *m);
void snap_installed(struct kelp_core *r, struct kelp_pos pos, kelp_term committed_in,
                    const struct kelp_config *config);
void snap_taken(struct kelp_core *r, struct kelp_pos pos); /* an own one is durable */
void snap_sending(struct kelp_core *r, kelp_id id);        /* a peer has fetched more of one */

/* ---- commit.c ---- */
void commit_advance(struct kelp_core *r); /* leader */
void commit_follow(struct kelp_core *r, kelp_index leader_commit, kelp_index everyone);
bool commit_passes(const struct kelp_core *r, struct kelp_pos pos); /* by a higher term below it? */
void commit_settle(struct kelp_core *r); /* outcomes of proposals, committed configurations */
void commit_compact(struct kelp_core *r, struct kelp_save *save);

/* ---- propose.c ---- */
struct kelp_taken propose(struct kelp_core *r, const struct kelp_input *input);
void refuse(struct kelp_core *r, uint64_t token, enum kelp_reason reason);

/* ---- transfer.c: the only writer of r->transfer ---- */
void transfer_asked(struct kelp_core *r, const struct kelp_input *input);
void drain_asked(struct kelp_core *r, const struct kelp_input *input);
void transfer_cancel(struct kelp_core *r, uint64_t token);
void transfer_lead(struct kelp_core *r); /* a leader's start, or another configuration */
void transfer_timers(struct kelp_core *r);
kelp_ns transfer_deadline(const struct kelp_core *r);
void transfer_settle(struct kelp_core *r);
void transfer_stop(struct kelp_core *r, enum kelp_reason reason); /* the node falls silent */
void transfer_part(struct kelp_core *r);  /* a leader faults: who could go on? */
bool transfer_leave(struct kelp_core *r); /* before a change takes our vote; false: to nobody */
void transfer_left(struct kelp_core *r);  /* a leader's vote is gone: who goes on? */
void transfer_told(struct kelp_core *r, const struct kelp_message *m);
void transfer_leaves(struct kelp_core *r, uint32_t health); /* before space_own has it */
void transfer_apart(struct kelp_core *r, uint32_t health);
bool transfer_owed(struct kelp_core *r, const struct peer *peer, struct kelp_message *out);
bool transfer_parting(struct kelp_core *r, struct kelp_message *out, kelp_id *to);
uint32_t transfer_take(struct kelp_core *r, struct kelp_answer *out, uint32_t max);
/* transfer_open - a leader that hands over appends nothing: no proposal, no change, no clock. */
bool transfer_open(const struct kelp_core *r);
/* transfer_able - could leadership be handed to this member now? transfer_well - does nothing but
 * its role or its priority speak against it? */
bool transfer_able(const struct kelp_core *r, uint32_t slot);
bool transfer_well(const struct kelp_core *r, uint32_t slot);

/* ---- space.c: the only writer of what is known about room on disks ---- */
void space_own(struct kelp_core *r, uint32_t room, uint32_t health);
void space_answered(struct kelp_core *r, struct peer *peer, const struct kelp_message *m);
void space_forget(struct kelp_core *r); /* a leader's start */
void space_settle(struct kelp_core *r);
bool space_refuses(const struct kelp_core *r, uint32_t flags); /* enum kelp_propose_flag */

/* ---- lease.c ---- */
void lease_lead(struct kelp_core *r);    /* a leader's start */
void lease_sending(struct kelp_core *r); /* messages leave now */
void lease_answered(struct kelp_core *r, struct peer *peer, uint64_t id);
void lease_shown(struct kelp_core *r, const struct kelp_input *input);
enum kelp_lease lease_state(const struct kelp_core *r, kelp_ns *until); /* until: 0 without one */
void lease_stick(struct kelp_core *r); /* a leader was heard, or may have been */
/* lease_sticks - may a leader still count on this node not to vote? */
bool lease_sticks(const struct kelp_core *r);
/* lease_settings_new - settings that every voter shows, and the configuration does not have. */
bool lease_settings_new(const struct kelp_core *r);
kelp_ns lease_election_min(const struct kelp_core *r); /* as this node must keep it */

/* ---- read.c ---- */
void read_asked(struct kelp_core *r, const struct kelp_input *input);
void read_stamp(struct kelp_core *r); /* reads of this wake-up share a round */
void read_release(struct kelp_core *r);
void read_end(struct kelp_core *r); /* leadership is over */
/* read_confirmed - the last round that a quorum answered: until it was given out nobody else led */
uint64_t read_confirmed(const struct kelp_core *r);

/* ---- member.c ---- */
void member_appended(struct kelp_core *r, const struct kelp_config *config);
/* member_outlasts - is it known which configuration holds if the log ends at last? Else a fault. */
bool member_outlasts(struct kelp_core *r, kelp_index last);
void member_truncated(struct kelp_core *r, kelp_index last);
/* member_restored - the log was reset: what counts now is a snapshot's. */
void member_restored(struct kelp_core *r, const struct kelp_config *config);
const struct kelp_config *member_committed(const struct kelp_core *r);

/* member_goodbye - who was in the configuration before and is not in the committed one is told. */
void member_goodbye(struct kelp_core *r);
void member_told_removed(struct kelp_core *r, kelp_id from);
bool member_may_stand(const struct kelp_core *r);   /* for election */
bool member_removed(const struct kelp_core *r);     /* this node, by all it knows */
uint8_t member_priority(const struct kelp_core *r); /* of this node, where it votes */

/* ---- change.c ---- */
void change_asked(struct kelp_core *r, const struct kelp_input *input);
void change_cancel(struct kelp_core *r, uint64_t token);
void change_expire(struct kelp_core *r);
void change_lead(struct kelp_core *r);     /* a leader's start */
void change_lead_end(struct kelp_core *r); /* leadership is over */
void change_end_all(struct kelp_core *r, enum kelp_reason reason);
void change_adopted(struct kelp_core *r); /* a configuration was */
void change_truncated(struct kelp_core *r, kelp_index last);
bool change_settle(struct kelp_core *r);  /* commit grew; true: we lead and have no vote now */
void change_confirm(struct kelp_core *r); /* a round was answered */
bool change_drive(struct kelp_core *r);   /* true: a configuration entry was made */
uint32_t change_take(struct kelp_core *r, struct kelp_answer *out, uint32_t max);
/* change_leaves - a leader whose newest configuration takes its vote: it takes no proposal. */
bool change_leaves(const struct kelp_core *r);
/* change_keeps_vote - does this member vote once the change that waits is done? */
bool change_keeps_vote(struct kelp_core *r, kelp_id id);
enum kelp_reason change_gate(const struct kelp_core *r); /* NONE: a change could begin now */
uint32_t change_spare(const struct kelp_core *r);        /* so many voters more may go away */
kelp_ns change_deadline(const struct kelp_core *r);

/* ---- witness.c ---- */
void witness_seek(struct kelp_core *r);         /* config is another one: is there any? */
bool witness_counts(const struct kelp_core *r); /* leader: for commit, now */
/* witness_reach - how far entries go to a peer now: the end of the log, but for a witness. */
kelp_index witness_reach(const struct kelp_core *r, const struct peer *peer);
void witness_lead(struct kelp_core *r);                  /* a leader's start */
void witness_silent(struct kelp_core *r, uint32_t slot); /* that peer fell silent */
/* witness_marks - the configuration with the marks it should have; false: it has them. */
bool witness_marks(struct kelp_core *r, struct kelp_config *target);
/* witness_told - the configuration with new marks stands in the log */
void witness_told(struct kelp_core *r);

/* ---- output.c ---- */
uint32_t output_messages(struct kelp_core *r);
uint32_t output_lookups(struct kelp_core *r, bool *given_up); /* of an older log */

/* ---- timer.c ---- */
void timer_expire(struct kelp_core *r);
kelp_ns timer_deadline(const struct kelp_core *r);

/* ---- step.c ---- */
void settle(struct kelp_core *r);

#endif
