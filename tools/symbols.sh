#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# symbols.sh ARCHIVE SHARED - both libraries export kelp_* and nothing else, and the same names.
set -eu
exported() {
    nm "$@" --defined-only --format=posix | awk 'NF >= 2 && $2 ~ /^[A-Z]$/ { print $1 }' | sort -u
}
archive=$(exported --extern-only "$1")
shared=$(exported --dynamic --extern-only "$2")
[ -n "$archive" ] || { echo "$1 exports nothing"; exit 1; }
foreign=$(printf '%s\n%s\n' "$archive" "$shared" | grep -v '^kelp_' || true)
if [ -n "$foreign" ]; then
    echo "exported, but not kelp_*:"
    echo "$foreign"
    exit 1
fi
if [ "$archive" != "$shared" ]; then
    echo "the two libraries do not export the same names:"
    printf '%s\n%s\n' "$archive" "$shared" | sort | uniq -u
    exit 1
fi
