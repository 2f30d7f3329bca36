#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh INSTRUCTIONS.py - does the judge of instruction counts fail when it should? valgrind and
# the counted program are played by two scripts; callgrind's file is written here.
set -u
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bench" "$work/build/bench" "$work/bin"
cp "$1" "$work/bench/instructions.py"
passed=0
failed=0

cat >"$work/build/bench/bench-instructions" <<'EOF'
#!/bin/sh
echo case
EOF
# The last option but the program's words names the file.
cat >"$work/bin/valgrind" <<EOF
#!/bin/sh
for word; do
    case \$word in --callgrind-out-file=*) cp "$work/file" "\${word#*=}" ;; esac
done
EOF
chmod +x "$work/build/bench/bench-instructions" "$work/bin/valgrind"

part() { # NAME OPERATIONS INSTRUCTIONS ALLOCATIONS
    cat <<EOF
part: 1
desc: Trigger: Client Request: $1 $2
events: Ir
summary: $3
fn=(1) work
cfn=(2) ${names:-malloc}
calls=$4 0
+3 17
EOF
    names=' ' # named once in a file
}

bounds() { # of a/few and of a/many, then the margin between them
    cat >"$work/bench/bounds.json" <<EOF
{"instructions": {"a/few": {"instructions": $1, "allocations": 2, "why": "it is so"},
                  "a/many": {"worst": $2, "allocations": 2, "why": "it is so"}},
 "same": [{"small": "a/few", "large": "a/many", "margin": $3, "why": "size is nothing"}]}
EOF
}

# Two parts of a/many: the worst one and the mean differ.
measured() { # ALLOCATIONS
    names=
    {
        part a/few 10 1000 "$1"
        part a/many 10 900 20
        part a/many 10 1500 20
    } >"$work/file"
}

expect() { # STATUS WORDS NAME
    said=$(PATH="$work/bin:$PATH" "$work/bench/instructions.py" 2>&1)
    status=$?
    if [ "$status" = "$1" ] && printf '%s' "$said" | grep -qF -e "$2"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$3: status $status, not $1, or no \"$2\" in:"
        printf '%s\n' "$said"
    fi
}

measured 20
bounds 100 150 0.2
expect 0 "a/many: 1.2000 times a/few" "what is at its bounds is within them"
bounds 99 150 0.2
expect 1 "a/few: 100 instructions, at most 99: it is so" "a mean above its bound"
bounds 100 149 0.2
expect 1 "a/many: 150 instructions, at most 149" "one operation above the bound for the worst"
bounds 100 150 0.19
expect 1 "a/many costs 1.200 times a/few: size is nothing" "what grows with its size"
bounds 130 150 0.2
expect 0 "a/few: 100 instructions are far below the bound 130" "a bound nobody needs is named"
bounds 100 150 0.2
measured 21
expect 1 "a/few: 2.100 allocations, at most 2" "one allocation too many"
measured 20
sed -i 's,a/many,b/many,' "$work/file"
expect 1 "b/many: 120.0 instructions" "a measurement without bound"
expect 1 "a/many: a bound that nothing measures" "a bound without measurement"
expect 1 "a/few and a/many were not both measured" "half of a pair"
: >"$work/file"
expect 1 "callgrind counted nothing" "an empty file"
rm "$work/build/bench/bench-instructions"
measured 20
expect 1 "is not there" "no program"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
