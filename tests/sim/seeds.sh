#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# seeds.sh KELP FILE: run every seed of the file; say which one fails.
set -eu
kelp=$1 file=$2 status=0 count=0
while read -r seed what; do
    case $seed in '' | '#'*) continue ;; esac
    count=$((count + 1))
    if ! said=$("$kelp" sim run --seed "$seed" --no-shrink 2>&1); then
        printf '%s\nseed %s once found: %s\n' "$said" "$seed" "$what" >&2
        status=1
    fi
done <"$file"
if [ "$count" -eq 0 ]; then
    echo "no seeds in $file" >&2
    status=1
fi
exit $status
