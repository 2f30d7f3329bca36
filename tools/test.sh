#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test.sh [all|check|one WORD] - the stages between a change and main. A green stage is one line; a
# failing one shows its whole output. The last line is "N passed, N failed".
#
#   all      what CI runs: both compilers, sanitizers, simulator, fuzz corpora, real processes
#   check    the loop a person lives in, under a minute
#   one      the unit tests, scenarios and cluster tests whose name contains WORD
#
# A stage is left out only when the tree holds nothing for it. KELP_SEEDS (1000) is how many seeds
# the optimised build runs; the sanitized ones run a fiftieth of that.
set -u
cd "$(dirname "$0")/.." || exit 2
mode=${1:-all}
word=${2:-}
seeds=${KELP_SEEDS:-1000}
jobs=$(nproc)
passed=0
failed=0
logs=$(mktemp -d) || exit 2
trap 'rm -rf "$logs"' EXIT

# shellcheck disable=SC2086 # $plain is a list of words
# Sanitizers of these compilers cannot place their shadow memory under much address randomisation.
plain=
setarch "$(uname -m)" -R true 2>/dev/null && plain="setarch $(uname -m) -R"
export ASAN_OPTIONS=abort_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
export CTEST_OUTPUT_ON_FAILURE=1

# What a stage's output counts: ctest's, pytest's or our own last words, else the stage itself.
count() { # LOG STATUS -> "passed failed"
    awk -v status="$2" '
        /tests? passed, [0-9]+ tests? failed out of [0-9]+/ {
            for (i = 1; i <= NF; i++) {
                if ($i == "failed") bad = $(i - 2)
                if ($i == "of") all = $(i + 1)
            }
            good += all - bad; lost += bad; known = 1
        }
        /^=+ .* in [0-9.]+s.* =+$/ || /^[0-9]+ (passed|failed).* in [0-9.]+s/ ||
        /^[0-9]+ passed, [0-9]+ failed$/ {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed,?$/) good += $(i - 1)
                if ($i ~ /^(failed|error|errors),?$/) lost += $(i - 1)
            }
            known = 1
        }
        END {
            if (!known) good = status == 0
            if (status != 0 && lost == 0) lost = 1
            print good + 0, lost + 0
        }' "$1"
}

stage() { # NAME COMMAND...
    local name=$1 log=$logs/log status good bad
    shift
    local begin=$SECONDS
    timeout --kill-after=10 1200 "$@" >"$log" 2>&1 </dev/null
    status=$?
    read -r good bad < <(count "$log" $status)
    passed=$((passed + good))
    failed=$((failed + bad))
    if [ "$bad" = 0 ]; then
        printf 'ok    %4ds  %s (%d)\n' $((SECONDS - begin)) "$name" "$good"
    else
        printf 'FAIL  %4ds  %s (%d of %d failed, status %d)\n' $((SECONDS - begin)) "$name" \
            "$bad" $((good + bad)) "$status"
        cat "$log"
        return 1
    fi
}

folder() { # PRESET -> its build directory
    if [ "$1" = release ]; then echo build; else echo "build-$1"; fi
}

build() { # PRESET TARGET...
    local preset=$1
    shift
    stage "build, $preset" bash -c 'cmake --preset "$0" >/dev/null &&
        cmake --build --preset "$0" --target "$@" -- --quiet' "$preset" "$@"
}

has() { compgen -G "$1" >/dev/null; }
has_sim() { has 'src/sim/*.c' && [ -x "$(folder "$1")/kelp" ]; }

unit() { # PRESET [CTEST OPTION...]
    local preset=$1
    shift
    stage "unit tests, $preset" $plain ctest --test-dir "$(folder "$preset")" -j "$jobs" \
        --no-tests=error "$@"
}

scenarios() { # PRESET
    has 'tests/scenario/*/*.txt' &&
        stage "scenarios, $1" $plain tools/scenario.sh "$(folder "$1")/kelp"
}

sim() { # PRESET SEEDS
    has_sim "$1" && stage "$2 seeds, $1" $plain "$(folder "$1")/kelp" sim run --seed 1 \
        --seeds "$2" --jobs "$jobs"
}

# The same seed gives the same events, whatever compiled it.
same_trace() { # PRESET...
    local seed first line preset
    for seed in 1 2 3; do
        first=
        for preset in "$@"; do
            line=$($plain "$(folder "$preset")/kelp" sim run --seed $seed | tail -n 1)
            echo "$preset: $line"
            [ "${first:=$line}" = "$line" ] || return 1
        done
    done
}

lint() {
    find src -name '*.c' -print0 | LC_ALL=C sort -z |
        xargs -0 -n 4 -P "$jobs" clang-tidy -p build-dev-clang --quiet
}

formatted() {
    find src include tests tools examples bench -name '*.[ch]' -print0 2>/dev/null |
        xargs -0 clang-format --dry-run -Werror
}
export plain jobs
export -f folder same_trace lint formatted

cluster() { # [PYTEST OPTION...]
    has 'tests/cluster/test_*.py' && stage "real processes" /usr/bin/python3 -m pytest -q \
        -p no:cacheprovider --color=no -rf tests/cluster "$@"
}

# What the pure parts cost, where no machine makes a difference; tests/cluster counts the rest.
counted() {
    has 'bench/bounds.json' && stage "instructions and allocations" bench/instructions.py
}

# Whether tests find them takes long (make mutants); that each can be planted does not.
mutants() {
    has 'tests/mutants/*/*.patch' && stage "mutants apply" tools/mutants.py --check
}

all() {
    stage "format" bash -c formatted
    mutants
    if build release all tests; then
        unit release
        scenarios release
        sim release "$seeds"
        counted
        cluster
    fi
    if build dev-clang all tests; then
        unit dev-clang -L 'unit|fuzz'
        sim dev-clang $((seeds / 50))
        stage "clang-tidy" bash -c lint
    fi
    if build asan all tests; then
        unit asan -L 'unit|fuzz'
        scenarios asan
        sim asan $((seeds / 50))
    fi
    if has_sim release && has_sim dev-clang && has_sim asan; then
        stage "same seed, same trace" bash -c 'same_trace release dev-clang asan'
    fi
    if has 'tests/n[eo]*/*_test.c' && build tsan tests; then
        unit tsan -L '^(net|node|server)$'
    fi
    if has 'tests/fuzz/*_fuzz.c' && build fuzz tests; then
        unit fuzz -L fuzz
    fi
}

check() {
    build release all tests || return
    unit release
    scenarios release
    sim release 200
    mutants
}

one() {
    build release all tests || return
    [ -z "$(ctest --test-dir build -N -R "$word" | grep 'Test *#')" ] || unit release -R "$word"
    find tests/scenario docs/learn -name '*.txt' 2>/dev/null | grep -qF -e "$word" &&
        stage "scenarios" tools/scenario.sh build/kelp "$word"
    grep -rlq -e "def test.*$word" tests/cluster --include='test_*.py' 2>/dev/null &&
        cluster -k "$word"
    [ $((passed + failed)) -gt 1 ] || { echo "no test is called $word"; failed=1; }
}

case $mode in
all | check | one) $mode ;;
*) echo "usage: tools/test.sh [all|check|one WORD]" >&2; exit 2 ;;
esac
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
