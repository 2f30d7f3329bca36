#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh TIDY - does every check of tidy fail when it should? Each case starts from a small tree
# that is clean, breaks one rule in it, and looks for the words of that one finding. A tree that
# is allowed to break a rule (a named exception) must stay clean.
set -u
tidy=$1
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
tree=$work/tree
passed=0
failed=0
licence='SPDX-License-Identifier: Apache-2.0'

clean_tree() {
    rm -rf "$tree"
    mkdir -p "$tree/tools" "$tree/docs" "$tree/include/kelp" "$tree/src/base" "$tree/src/core" \
        "$tree/tests/core" "$tree/tests/scenario/elect" "$tree/examples"
    printf '%s\n' 'base: pub' 'core: base pub base/one.h' >"$tree/tools/layers.txt"
    printf '%s\n' 'add_library(x' '    src/base/min.c' '    src/core/log.c' \
        '    tests/core/log_test.c)' >"$tree/CMakeLists.txt"
    cat >"$tree/include/kelp/event.h" <<EOF
/* $licence */
/* event.h - events. */
#define KELP_EVENTS(X)      \\
    X(NONE, DEBUG, "none")  \\
    X(VOTED, INFO, "voted") \\
    X(SAVED, INFO, "saved")

/* kelp_name - a name.
 * thread any  cost O(1) */
KELP_API const char *kelp_name(int type);
EOF
    printf '%s\n' "/* $licence */" '/* min.c - small. */' '#include "base/min.h"' \
        >"$tree/src/base/min.c"
    printf '%s\n' "/* $licence */" '/* min.h - small. */' >"$tree/src/base/min.h"
    cat >"$tree/src/core/log.c" <<EOF
/* $licence */
/* log.c - the log. */
#include <string.h>

#include "base/min.h"
#include "kelp/event.h"

/* A newer log wins. [§3.6.1] */
static int log_newer(int a, int b)
{
    EVENT(r, VOTED, .peer = 3);
    record(KELP_EV_SAVED);
    return a > b; /* terms first [§3.4] */
}
EOF
    cat >"$tree/tests/core/log_test.c" <<EOF
/* $licence */
/* log_test.c - VOTED, SAVED. */
static void a_newer_log_wins(void **state) /* [§3.6.1] */
{
}
EOF
    printf '%s\n' '# A stale log loses. [§3.4]' >"$tree/tests/scenario/elect/a_stale_log_loses.txt"
    "$tidy" --write "$tree" >/dev/null
}

judge() { # CASE, the exit status wanted, words of the finding, tidy's options
    what=$1 want=$2 words=$3
    shift 3
    output=$("$tidy" "$@" "$tree")
    status=$?
    findings=$(printf '%s\n' "$output" | grep -c '^[^ ]*:[0-9]*: ')
    if [ $status = "$want" ] && printf '%s\n' "$output" | grep -qF -e "$words" &&
        { [ "$want" != 1 ] || [ "$findings" = 1 ]; }; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAIL %s: status %s, wanted %s with "%s" alone:\n%s\n' "$what" $status "$want" \
            "$words" "$output"
    fi
    clean_tree
}
refuses() { judge "$1" 1 "$2" --check; }
accepts() { judge "$1" 0 " 0 findings" --check; }

core=$tree/src/core/log.c
clean_tree
accepts "the clean tree"

# sizes
{ i=0; while [ $i -lt 800 ]; do echo '/* x */'; i=$((i + 1)); done; } >>"$core"
refuses "a file of more than 800 lines" "lines, at most 800"
printf '/* %0100d */\n' 0 >>"$core"
refuses "a line of more than 100 columns" "columns, at most 100"
printf '/* %s */\n' "$(printf '§%.0s' $(seq 90))" >>"$core"
accepts "100 columns that are more bytes"
long_function() { # COMMENT
    printf '\n%s\nstatic void long_one(void)\n{\n' "$1"
    i=0
    while [ $i -lt 69 ]; do echo '    x();'; i=$((i + 1)); done
    echo '}'
}
long_function '/* Why. */' >>"$core"
refuses "a function of more than 70 lines" "function of 71 lines"
long_function '/* tidy: long, one arm per type */' >>"$core"
accepts "a long function with its reason"
{ long_function '/* tidy: long, one arm per type */'; long_function '/* Why. */'; } >>"$core"
refuses "a long function behind an excused one" "function of 71 lines"

# heads and leftovers
sed -i 1d "$core"
refuses "no licence line" "the first line is not"
sed -i 2d "$core"
refuses "no head comment" "no head comment"
echo 'x = 1' >"$tree/tools/x.py"
refuses "a script without a licence line" "does not begin with # SPDX"
echo "/* TO""DO: later */" >>"$core"
refuses "unfinished work" "make it an issue"
echo "# FIX""ME" >>"$tree/tests/scenario/elect/a_stale_log_loses.txt"
refuses "unfinished work in a scenario" "make it an issue"

# words
echo 'static void *p = malloc(3);' >>"$core"
refuses "allocation in a pure room" "malloc: a pure room never allocates"
echo 'static void *p = malloc (3);' >>"$tree/src/base/min.c"
accepts "allocation elsewhere"
echo 'static int e = errno;' >>"$core"
refuses "errno in a pure room" "errno: a pure room"
echo 'static pthread_mutex_t m;' >>"$core"
refuses "threads in a pure room" "pthread_mutex_t: a pure room"
echo 'static int e = f("printf()"); /* printf() */' >>"$core"
accepts "a word in a literal or comment"
printf '%s\n' 'static void f(void)' '{' '    ops->write(1);' '}' >>"$core"
accepts "a member that is called like a system call"
echo 'static int e = fsync(3);' >>"$core"
refuses "a system call outside its rooms" "fsync: the operating system"
echo 'static double d;' >>"$core"
refuses "floating point in what is replicated" "double: replicas"
echo 'static long now = time(0);' >>"$tree/src/base/min.c"
refuses "a clock below node" "time: time and chance"
echo 'static int e = strcpy(a, b);' >>"$tree/tests/core/log_test.c"
refuses "an unbounded copy anywhere" "strcpy: has no bound"
printf '%s\n' '/* tidy: allow malloc, one table at start */' 'static void *p = malloc(3);' >>"$core"
accepts "a forbidden word with its reason"

# includes
printf '%s\n' "/* $licence */" '/* log.h - log. */' >"$tree/src/core/log.h"
echo '#include "core/log.h"' >>"$tree/src/base/min.c"
refuses "an include up the ladder" 'base may not include "core/log.h"'
mkdir "$tree/src/odd" && printf '%s\n' "/* $licence */" '/* a.h - a. */' '#include "base/min.h"' \
    >"$tree/src/odd/a.h"
refuses "a room without a layer" "room odd is not in"
echo '#include "min.h"' >>"$tree/src/base/min.c"
refuses "an include that is not rooted" "is not rooted"
echo '#include "../base/min.h"' >>"$core"
refuses "an include that climbs" "is not rooted"
echo '#include "base/min.h"' >>"$tree/include/kelp/event.h"
refuses "a public header that shows the inside" "a public header includes"
echo '#include <assert.h>' >>"$tree/tests/core/log_test.c"
refuses "the library's assert" "<assert.h>"
printf '%s\n' "/* $licence */" '/* e.c - embed. */' '#include "base/min.h"' >"$tree/examples/e.c"
refuses "an example that uses the inside" "an example shows"

# contracts
echo 'KELP_API int kelp_bare(void);' >>"$tree/include/kelp/event.h"
refuses "a public function without contract" 'no contract'
printf '\n%s\n%s\n' '/* kelp_other - of another. thread cost */' 'KELP_API int kelp_bare(void);' \
    >>"$tree/include/kelp/event.h"
refuses "a contract of another function" 'no contract'
printf '\n%s\n%s\n' '/* kelp_bare - bare. cost O(1) */' 'KELP_API int kelp_bare(void);' \
    >>"$tree/include/kelp/event.h"
refuses "a contract without thread" "does not name thread and cost"
printf '\n%s\n%s\n' '/* kelp_bare - bare. thread any cost O(1) */' 'int kelp_bare(int a);' \
    >>"$tree/include/kelp/event.h"
refuses "a public function that is not exported" "not KELP_API"

# CMake
printf '%s\n' "/* $licence */" '/* n.c - new. */' >"$tree/src/core/n.c"
refuses "a source unknown to CMake" "src/core/n.c:1: is not named"
printf '%s\n' "/* $licence */" '/* n.c - new. */' >"$tree/src/core/n.c"
echo '# src/core/n.c' >>"$tree/CMakeLists.txt"
refuses "a source that CMake has only in a comment" "src/core/n.c:1: is not named"
echo '    tests/core/gone_test.c' >>"$tree/CMakeLists.txt"
refuses "a test that CMake names but nobody wrote" "gone_test.c does not exist"

# events
sed -i '/EVENT(r/d' "$core"
refuses "an event that is emitted nowhere" "VOTED is emitted nowhere"
sed -i 's/KELP_EV_SAVED/SAVED/' "$core"
refuses "a name of an event that is no emission" "SAVED is emitted nowhere"
sed -i 's/VOTED, //' "$tree/tests/core/log_test.c"
judge "an event that no test names" 0 "1 warnings" --check
sed -i 's/VOTED, //' "$tree/tests/core/log_test.c"
judge "the same, strictly" 1 "no test names the event VOTED" --strict

# the map
story=tests/scenario/elect/a_stale_log_loses.txt
expected=$(printf '%s\n' '## §3.4' '' '- code: [src/core/log.c](../src/core/log.c) `log_newer`' \
    "- scenario: [$story](../$story)" \
    '' '## §3.6.1' '' '- code: [src/core/log.c](../src/core/log.c) `log_newer`' \
    '- test: [tests/core/log_test.c](../tests/core/log_test.c) `a_newer_log_wins`')
if [ "$(sed -n '/^## /,$p' "$tree/docs/paper-map.md")" = "$expected" ]; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
    echo "FAIL the map says:"
    cat "$tree/docs/paper-map.md"
fi
echo >>"$tree/docs/paper-map.md"
refuses "a map that is out of date" "out of date"
sed -i '/§3.6.1/d' "$core"
"$tidy" --write "$tree" >/dev/null
judge "a section with a test but no code" 1 "§3.6.1 has no code" --strict

echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
