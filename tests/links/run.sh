#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh LINKS.py - does the checker of links fail when it should? Each case is a small tree and one
# document in it.
set -u
checker=$1
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/docs" "$work/tests/core" "$work/tests/cluster"
printf '%s\n' 'static void a_vote_is_kept(void **state)' '{' '    helper();' '}' \
    >"$work/tests/core/elect_test.c"
printf '%s\n' 'def test_it_lives(make):' '    pass' >"$work/tests/cluster/test_all.py"
printf '%s\n' '# One thing' 'words' "## The \`second\`, and [a link](one.md)" >"$work/docs/one.md"
unit='[elect](../tests/core/elect_test.c)'
all='[all](../tests/cluster/test_all.py)'
passed=0
failed=0

expect() { # NAME STATUS WORDS LINE...
    name=$1 wanted=$2 words=$3
    shift 3
    printf '%s\n' "$@" >"$work/docs/it.md"
    said=$("$checker" "$work/docs/it.md" 2>&1)
    status=$?
    if [ "$status" = "$wanted" ] && printf '%s' "$said" | grep -qF -e "$words"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAIL %s: status %s, wanted %s with "%s":\n%s\n' "$name" $status "$wanted" \
            "$words" "$said"
    fi
}

row() { # NAME STATUS WORDS HEAD CELL: a table of one row, and a link below it
    expect "$1" "$2" "$3" "| theirs | what | $4 |" '|---|---|---|' "| A | b | $5 |" '[one](one.md)'
}

expect 'good links' 0 '3 links, 0 wrong' \
    "[one](one.md) $unit \`a_vote_is_kept\`, $all \`test_it_lives\`."
expect 'headings' 0 '2 links, 0 wrong' \
    'See [one](one.md#the-second-and-a-link) and [here](#me).' '# Me'
expect 'other places' 0 '1 links, 0 wrong' '[a](https://example.com/x) [one](one.md)'
expect 'what is quoted is no link' 0 '1 links, 0 wrong' \
    '```' '[gone](gone.md)' '```' '[one](one.md)'
expect 'a document without any' 1 '0 links, 0 wrong' 'no link'
expect 'no such file' 1 'it.md:2: gone.md does not exist' '' '[gone](gone.md)'
expect 'no such heading' 1 'has no heading third' '[one](one.md#third)'
expect 'no such test' 1 'has no test a_vote_is_lost' "$unit \`a_vote_is_lost\`"
expect 'a second name that is no test' 1 'has no test helper' \
    "$unit \`a_vote_is_kept\`, \`helper\`"
expect 'the beginning of a name' 1 'has no test test_it' "$all \`test_it\`"
row 'a row with a link' 0 '2 links, 0 wrong' ours "$unit \`a_vote_is_kept\`"
row 'a row with a reason' 0 '1 links, 0 wrong' ours 'none: there are no addresses'
row 'no reason' 1 'it.md:3: a row without' ours 'waits:'
row 'an empty cell' 1 'it.md:3: a row without' ours ''
row 'another table' 0 '1 links, 0 wrong' theirs ''

echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
