#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# scenario.sh KELP [WORD] - run every scenario, those of the lessons too (whose path contains
# WORD); the transcript must be what the file says. Prints the failing ones and ends with "N
# passed, N failed".
set -u
kelp=$1
word=${2:-}
passed=0
failed=0
while IFS= read -r file; do
    if transcript=$("$kelp" sim scenario "$file" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '%s\n%s\n' "--- $file" "$transcript"
    fi
done < <(find tests/scenario docs/learn -name '*.txt' | grep -F -e "$word" | LC_ALL=C sort)
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
