#!/bin/bash
# Tests and measures libgpb on a machine with an NVIDIA GPU that has nothing of libgpb's but a
# folder laid out as below (bench/gpu_folder.sh makes one), and prints a short table last.
#
#   bench/gpu.sh [FOLDER]          FOLDER: .gpu
#   OUT=results bench/gpu.sh       full figures and logs go to $OUT (gpu-results)
#
#   FOLDER/bin                     gpb, gpb_actor, gpb_device_host, gpb_bench_cuda, test_hardware
#   FOLDER/lib                     the shared libraries that these need
#   FOLDER/modules                 gpb_cuda.so, and cuda/ with what was compiled for it
#   FOLDER/kernels, bench/kernels, examples/kernels, tests/kernels, tests/kernels_crash,
#   tests/kernels_persistent       as in the source tree
#
# Then: test_hardware; the devices; the benchmark; test_hardware under compute-sanitizer's
# memcheck, with its leak check, and racecheck. The sanitizer gets no tests that provoke errors, and
# racecheck none of kernels that stay: it holds what shared memory sees until a kernel ends.
# BENCH_FLAGS=--quick takes a third of the rounds; SANITIZE=no leaves the sanitizer out.
#
# Ten minutes at the most: each step has its own limit.
# Exits with 0 where all that ran has passed, 1 where something failed, 77 where there is no device.

folder=$(cd "${1:-.gpu}" 2>/dev/null && pwd) || {
    echo "gpu.sh: there is no folder ${1:-.gpu}" >&2
    exit 2
}
out=${OUT:-gpu-results}
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)

# A folder may say more of where it stands; what follows counts.
# shellcheck disable=SC1091
if [ -r "$folder/env" ]; then . "$folder/env"; fi
nvrtc=
for candidate in "${CUDA_HOME:-/usr/local/cuda}"/lib64 /usr/local/cuda*/lib64; do
    if [ -e "$candidate/libnvrtc.so" ]; then nvrtc=$candidate; break; fi
done
export PATH="$folder/bin:$PATH:${CUDA_HOME:-/usr/local/cuda}/bin"
export LD_LIBRARY_PATH="$folder/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}${nvrtc:+:$nvrtc}"
export GPB_MODULE_DIR="$folder/modules" GPB_LIBEXEC_DIR="$folder/bin" GPB_BUILD_DIR="$folder/bin"
export GPB_SOURCE_DIR="$folder" GPB_KERNEL_PATH="$folder/kernels:$folder/bench/kernels"
scratch=$(mktemp -d) || exit 2
export XDG_CACHE_HOME="$scratch"
trap 'rm -rf "$scratch"' EXIT

summary=$out/summary.txt
: >"$summary"
failed=0

# row STEP OUTCOME DETAIL
row () {
    printf '%-22s %-8s %s\n' "$1" "$2" "$3" >>"$summary"
    if [ "$2" = failed ]; then failed=1; fi
}

# step NAME SECONDS COMMAND...: its output goes to NAME.txt; its status is the step's.
step () {
    local name=$1 seconds=$2 status began=$SECONDS
    shift 2
    echo "== $name: $*"
    timeout -k 10 "$seconds" "$@" >"$out/$name.txt" 2>&1
    status=$?
    took=$((SECONDS - began))
    case $status in
    0 | 77) ;;
    124 | 137) echo "did not end within $seconds s" >>"$out/$name.txt" ;;
    esac
    tail -n 15 "$out/$name.txt"
    return $status
}

# Check's line of totals, "100%: Checks: 19, Failures: 0, Errors: 0".
checks () {
    grep -h 'Checks:' "$1" | tail -n 1
}

# tests NAME SECONDS COMMAND...
tests () {
    local name=$1 status
    step "$@"
    status=$?
    case $status in
    0) row "$name" passed "$(checks "$out/$name.txt"), $took s" ;;
    77) row "$name" skipped "$(grep -h SKIP "$out/$name.txt" | head -n 1)" ;;
    *) row "$name" failed "status $status, $(checks "$out/$name.txt"), $took s; see $name.txt" ;;
    esac
    if [ $status = 0 ]; then
        grep -h '^SKIP' "$out/$name.txt" | while read -r line; do row "" skipped "$line"; done
    fi
    return $status
}

# sanitized NAME TOOL-OPTIONS... -- GROUP...: every process that used the device writes a summary;
# all must say that nothing was found, and there must be one.
sanitized () {
    local name=$1 status bad count options=()
    shift
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    rm -f "$out/$name".*.log
    GPB_TEST_SLOW=1 step "$name" 90 compute-sanitizer "${options[@]}" --target-processes all \
        --error-exitcode 86 --log-file "$out/$name.%p.log" test_hardware "$@"
    status=$?
    count=$(cat "$out/$name".*.log 2>/dev/null | grep -c 'SUMMARY:')
    bad=$(cat "$out/$name".*.log 2>/dev/null | grep 'SUMMARY:' \
        | grep -v -e ' 0 errors' -e ' 0 hazards' -e ': 0 bytes leaked' | head -n 1)
    if [ "$status" = 0 ] && [ "$count" -gt 0 ] && [ -z "$bad" ]; then
        row "$name" passed "$* ($count summaries, none with a finding), $took s"
    elif [ "$count" -eq 0 ]; then
        row "$name" failed "status $status, and no summary; see $name.txt"
    else
        row "$name" failed "status $status; ${bad:-no finding}; see $name.*.log"
    fi
}

{
    date -u
    uname -srm
    if command -v nvidia-smi; then nvidia-smi; fi
    if command -v nvcc; then nvcc --version | tail -n 2; fi
} >"$out/machine.txt" 2>&1

tests hardware 150 test_hardware
if [ $? = 77 ]; then
    cat "$summary"
    exit 77
fi

# What a node says of this machine.
gpb_actor --backends cuda --bind 'tcp://127.0.0.1:*' >"$scratch/ready" 2>"$out/node.txt" &
node=$!
for _ in $(seq 100); do
    endpoint=$(sed -n 's/^ready //p' "$scratch/ready")
    if [ -n "$endpoint" ] || ! kill -0 "$node" 2>/dev/null; then break; fi
    sleep 0.1
done
if step devices 20 gpb --node "${endpoint:-tcp://127.0.0.1:1}" devices; then
    row devices passed "$(sed -n 2p "$out/devices.txt")"
else
    row devices failed "see devices.txt and node.txt"
fi
kill "$node" 2>/dev/null
wait "$node"

# shellcheck disable=SC2086
if step bench 120 gpb_bench_cuda ${BENCH_FLAGS:-} --save "$out/bench.json"; then
    row bench passed "$took s"
else
    row bench failed "see bench.txt"
fi

if [ "${SANITIZE:-yes}" = no ]; then
    row sanitizer skipped "SANITIZE=no"
elif ! command -v compute-sanitizer >/dev/null; then
    row sanitizer skipped "there is no compute-sanitizer"
else
    sanitized memcheck --tool memcheck -- packages persistent memory
    sanitized leaks --tool memcheck --leak-check full -- memory
    sanitized racecheck --tool racecheck -- packages
    row racecheck skipped "persistent: a kernel that stays has no end for it to look at"
    row sanitizer skipped "faults: they provoke what it looks for"
fi

echo
if [ -r "$out/bench.txt" ]; then cat "$out/bench.txt"; fi
grep -h '^illegal address: answered\|^[0-9]* cycles' "$out/hardware.txt"
cat "$summary"
echo "all of it: $out"
exit $failed
