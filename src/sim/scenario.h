/* SPDX-License-Identifier: Apache-2.0 */
/* scenario.h - one Raft story as text: commands in, a transcript out, the same on every machine.
 *
 * A scenario drives cores directly over a tiny scripted world: every node has its own clock, every
 * message lies in a pool until a command delivers it, and saves and applies are reported by hand
 * where the story needs it. The file holds the commands and, below each block of them, the
 * transcript that is right; a run that says anything else is a failure. tests/scenario/README.md
 * explains the commands. */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include <stdio.h>

#include "base/buf.h"
#include "kelp/event.h"

enum scenario_mode {
    SCENARIO_CHECK = 0,   /* the transcript must be what the file says */
    SCENARIO_REWRITE = 1, /* write the file anew with what happened; expectations must still hold */
    SCENARIO_STEP = 2,    /* tell every command as a step; expectations must hold */
};

struct scenario_report {
    bool passed;                      /* expectations and invariants; not the comparison of texts */
    uint64_t marks[KELP_EVENT_COUNT]; /* how often each event happened */
    char failure[1024];               /* what did not hold, a line each */
};

struct scenario_step {
    FILE *out; /* where steps are told */
    FILE *in;  /* where whoever reads along types Enter, s or q; NULL: nobody, all is told */
};

/* scenario_play - run the commands of a scenario.
 * takes    text    the file's bytes
 *          step    tell each command as it runs; NULL: do not
 *          out     gets the text as it should be, as far as the story went; the caller closes it
 *          report  filled whole
 * returns  report->passed */
bool scenario_play(struct kelp_bytes text, const struct scenario_step *step, struct buf *out,
                   struct scenario_report *report);

/* scenario_file - play a file and compare it with itself, rewrite it or tell it step by step;
 * prints the transcript and what is wrong to out, what cannot be read or written to stderr.
 * Returns the exit status: 0 as it should be, 1 not, 2 the file cannot be read.
 * step is for SCENARIO_STEP; marks, if not NULL, are added to: KELP_EVENT_COUNT counters. */
int scenario_file(const char *path, enum scenario_mode mode, const struct scenario_step *step,
                  FILE *out, uint64_t *marks);

/* scenario_verb - `kelp sim scenario FILE [--rewrite | --step]`; the arguments after "scenario".
 * typing: where to read what a person types, NULL if nobody is there. Returns the exit status; 2
 * with one line on stderr for wrong usage. */
int scenario_verb(int count, char *const *arguments, FILE *typing);

#endif
