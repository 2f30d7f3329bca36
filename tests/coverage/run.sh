#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh COVERAGE.py - does the checker of branches fail when it should? Each case is a small tree
# with one source, a report about it, and the reasons somebody gave.
set -u
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/tools" "$work/src/core"
cp "$1" "$work/tools/coverage.py"
passed=0
failed=0

cat >"$work/src/core/check.c" <<'EOF'
void settle(int a)
{
    if (a > 1) return;
    ASSERT(a > 0 ||
           (a < 0));
    rule(v, a > 0, "words with a ( in them");
    if (a > 2) return;
}
EOF

report() { # branches of line 3, 5, 6 and 7, beside a thousand that are taken
    cat >"$work/report.json" <<EOF
{"files": [{"file": "src/core/check.c", "functions": [{"name": "settle", "lineno": 1}], "lines": [
 {"line_number": 2, "branches": [$(yes '{"count": 1}' | head -n 1000 | paste -sd ,)]},
 {"line_number": 3, "branches": [$1]}, {"line_number": 5, "branches": [$2]},
 {"line_number": 6, "branches": [$3]}, {"line_number": 7, "branches": [$4]}]}]}
EOF
}

expect() { # STATUS WORDS NAME; the reasons on stdin
    cat >"$work/reasons.txt"
    said=$("$work/tools/coverage.py" "$work/report.json" "$work/reasons.txt" 2>&1)
    status=$?
    if [ "$status" = "$1" ] && printf '%s' "$said" | grep -qF -e "$2"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s: status %s\n%s\n' "$3" "$status" "$said"
    fi
}

yes='{"count": 3}'
no='{"count": 0}'

report "$yes,$yes" "$yes,$no" "$no" "$yes,$yes"
expect 0 "1004 of 1004 branches taken" "assertions are aside, on all their lines" </dev/null

report "$yes,$no" "$yes" "$yes" "$yes"
expect 1 "not taken, not explained: src/core/check.c settle: if (a > 1) return;" \
    "a branch that is not taken fails" </dev/null
expect 0 "1 of 1 others explained" "a reason excuses it" <<'EOF'
# why
src/core/check.c settle: if (a > 1) return; # a is never above 1
EOF
expect 1 "explained, but taken or gone: src/core/check.c settle: if (a > 1) return;" \
    "one reason too many fails" <<'EOF'
src/core/check.c settle: if (a > 1) return; # a is never above 1
src/core/check.c settle: if (a > 1) return; # nor below
EOF
expect 1 "explained, but taken or gone: src/core/check.c settle: if (a > 2) return;" \
    "a reason for another line excuses nothing" <<'EOF'
src/core/check.c settle: if (a > 2) return; # never
EOF
expect 1 "reasons.txt:1: not FILE" "a line without a reason fails" <<'EOF'
src/core/check.c settle: if (a > 1) return; #
EOF

report "$no,$no" "$yes" "$yes" "$no"
expect 1 "not explained: src/core/check.c settle: if (a > 1) return;" \
    "each branch needs its own" <<'EOF'
src/core/check.c settle: if (a > 1) return; # never
src/core/check.c settle: if (a > 2) return; # never
EOF

report "$(yes "$no" | head -n 20 | paste -sd ,)" "$yes" "$yes" "$yes"
yes 'src/core/check.c settle: if (a > 1) return; # never' | head -n 20 >"$work/twenty.txt"
expect 1 "less than 99.0 %" "too many excuses fail" <"$work/twenty.txt"

echo '{"files": []}' >"$work/report.json"
expect 1 "no branches" "an empty report is no success" </dev/null

echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
