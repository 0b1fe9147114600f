# phase.sh - long work in phases, for bash scripts that source it
#
# A phase runs one command with its output in a log and shows one line: what it does, and how long
# it took. At a terminal the line also shows the log's newest line while the work goes on. When a phase
# fails, the end of its log and the log's path follow, and phase returns the command's exit status.
#
# Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash

# phase LOG TITLE COMMAND...: the log's folder is made where it is missing.
phase () {
    local log=$1 title=$2 started=$SECONDS status=0 pid
    shift 2
    mkdir -p "$(dirname "$log")"
    printf '%s ...' "$title"
    "$@" > "$log" 2>&1 < /dev/null &
    pid=$!
    # Whoever interrupts us interrupts what runs in the background too.
    trap 'kill "$pid" 2>/dev/null; wait "$pid"; echo; exit 130' INT TERM
    if [ -t 1 ]; then
        s_phase_watch "$pid" "$log" "$title" "$started"
    fi
    wait "$pid" || status=$?
    trap - INT TERM
    if [ "$status" -eq 0 ]; then
        printf ' %d s\n' $((SECONDS - started))
    else
        printf ' FAILED after %d s (exit status %d)\n' $((SECONDS - started)) "$status"
        tail -n "${PHASE_TAIL:-30}" "$log" | sed 's/^/    /'
        printf '    all of it: %s\n' "$log"
    fi
    return "$status"
}

# Redraws the line until the process ends, then leaves the bare title.
s_phase_watch () {
    local pid=$1 log=$2 title=$3 started=$4 columns newest
    while kill -0 "$pid" 2>/dev/null; do
        columns=$(tput cols 2>/dev/null || echo 80)
        newest=$(tail -n 1 "$log" 2>/dev/null | tr -s '[:cntrl:][:blank:]' ' ')
        newest="$title ... $((SECONDS - started)) s  $newest"
        printf '\r\033[K%s' "${newest:0:columns - 1}"
        sleep 0.3
    done
    printf '\r\033[K%s ...' "$title"
}
