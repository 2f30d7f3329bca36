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
    SCENARIO_STEP = 2,    /* show every command with the nodes after it, and wait for Enter */
};

struct scenario_report {
    bool passed;                      /* expectations and invariants; not the comparison of texts */
    uint64_t marks[KELP_EVENT_COUNT]; /* how often each event happened */
    char failure[1024];               /* what did not hold, a line each */
};

/* scenario_play - run the commands of a scenario.
 * takes    text    the file's bytes
 *          step    where to show each command, NULL: not at all; then it also reads stdin
 *          out     gets the text as it should be, as far as the story went; the caller closes it
 *          report  filled whole
 * returns  report->passed */
bool scenario_play(struct kelp_bytes text, FILE *step, struct buf *out,
                   struct scenario_report *report);

/* scenario_file - play a file and compare it with itself or rewrite it; prints the transcript and
 * what is wrong to out. Returns the exit status: 0 as it should be, 1 not, 2 no such file.
 * marks, if not NULL, are added to: KELP_EVENT_COUNT counters. */
int scenario_file(const char *path, enum scenario_mode mode, FILE *out, uint64_t *marks);

/* scenario_verb - `kelp sim scenario FILE [--rewrite] [--step]`; the arguments after "scenario".
 * Returns the exit status; 2 with one line on stderr for wrong usage. */
int scenario_verb(int count, char *const *arguments);

#endif
