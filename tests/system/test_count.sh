#!/bin/sh
# Tests of tests/count: nothing that went wrong is lost in the sum, and each line it knows is read.
#
# Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0
count=${GPB_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}/tests/count
folder=$(mktemp -d "${GPB_BUILD_DIR:-.}/count-XXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
passed=0
failed=0

# expect CASE STATUS LINE: what count says of the logs so far, then starts afresh.
expect () {
    output=$("$count" "$folder"/*.log 2>&1)
    status=$?
    line=$(printf '%s\n' "$output" | tail -n 1)
    if [ "$status" -eq "$2" ] && [ "$line" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: $1: \"$line\" ($status) instead of \"$3\" ($2)"
    fi
    rm -f "$folder"/*
}

# program NAME VERDICT TEXT: what automake leaves of a test program.
program () {
    printf '%b\n' "$3" > "$folder/$1.log"
    printf ':test-result: %s\n:global-test-result: %s\n' "$2" "$2" > "$folder/$1.trs"
}

program a PASS '100%: Checks: 5, Failures: 0, Errors: 0\nPASS a (exit status: 0)'
program b PASS '4 passed, 0 failed\nPASS b (exit status: 0)'
program c PASS 'a program of one test\nPASS c (exit status: 0)'
expect "all kinds of programs are summed" 0 "10 passed, 0 failed"

program a FAIL '60%: Checks: 5, Failures: 1, Errors: 1\nFAIL a (exit status: 1)'
program b FAIL '4 passed, 2 failed, 1 skipped\nFAIL b (exit status: 1)'
expect "failures and errors are counted" 1 "7 passed, 4 failed, 1 skipped"

program a FAIL '100%: Checks: 3, Failures: 0, Errors: 0\nLeakSanitizer\nFAIL a (exit status: 23)'
expect "a program that ends badly after its tests is a failure" 1 "3 passed, 1 failed"

program a FAIL 'FAIL a (exit status: 139)'
expect "a crash is a failure" 1 "0 passed, 1 failed"

program a PASS '100%: Checks: 3, Failures: 0, Errors: 0'
: > "$folder/b.log"
expect "a program without a verdict is a failure" 1 "3 passed, 1 failed"

program a PASS '3 passed, 0 failed'
program b SKIP 'no compiler for CUDA\nSKIP b (exit status: 77)'
expect "a skip is no pass and no failure" 0 "3 passed, 0 failed, 1 skipped"

expect "nothing run is no success" 1 "0 passed, 1 failed"

program a SKIP 'no compiler for CUDA\nSKIP a (exit status: 77)'
case $("$count" "$folder/a.log") in
"skipped $folder/a: no compiler for CUDA"*) passed=$((passed + 1)) ;;
*) failed=$((failed + 1)) && echo "failed: a skip gives its reason" ;;
esac

program a FAIL 'a.c:12:F:suite:test_x:0: the reason\nFAIL a (exit status: 1)'
case $("$count" "$folder/a.log") in
*"a.c:12:F:suite:test_x:0: the reason"*) passed=$((passed + 1)) ;;
*) failed=$((failed + 1)) && echo "failed: the message of a failed test is shown" ;;
esac

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
