#!/bin/sh
# A machine with several GPUs: builds, tests several devices there, and measures how one request scales over them.
#
#   bench/multi_gpu.sh [--dry-run] [FOLDER [SHAPE...]]
#
# FOLDER (build/multi-gpu) takes the build, the models and a log of each step. SHAPES of tools/random_checkpoint.py: 135m 1b 8b, unless given; 70b
# needs 141 GB of disk and two GPUs. All that is printed goes to bench/results/DATE-HARDWARE-multi-gpu.txt. --dry-run prints every command.
#
# Needs what tools/gpu_check.sh needs (run that first). A failed step does not stop those after it; the last line names it. About half an hour.
set -u
cd "$(dirname "$0")/.." || exit 1

dry=
if [ "${1:-}" = --dry-run ]; then
    dry=yes
    shift
fi
case ${1:-} in
-*)
    echo "usage: bench/multi_gpu.sh [--dry-run] [FOLDER [SHAPE...]]" >&2
    exit 2
    ;;
esac
folder=${1:-build/multi-gpu}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- 135m 1b 8b
build=$folder/build
failed=

has() { # a dry run shows what needs it too
    [ "$dry" ] || command -v "$1" >/dev/null 2>&1
}

if command -v nvidia-smi >/dev/null 2>&1; then
    gpus=$(nvidia-smi -L | grep -c '^GPU')
    card=$(nvidia-smi --query-gpu=name --format=csv,noheader -i 0 | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9-')
    target=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader -i 0 | tr -d .)
elif [ "$dry" ]; then
    gpus=4 card=gpu target=90
else
    echo "bench/multi_gpu.sh: there is no nvidia-smi here, so no NVIDIA driver: --dry-run says what would be run" >&2
    exit 1
fi
if [ "$gpus" -lt 2 ]; then
    echo "bench/multi_gpu.sh: this machine has $gpus GPU; tools/gpu_check.sh is for one" >&2
    exit 1
fi
results=bench/results/$(date +%F)-$gpus-$card-multi-gpu.txt

say() {
    if [ "$dry" ]; then
        printf '%s\n' "$1"
    else
        printf '%s\n' "$1" | tee -a "$results"
    fi
}

quoted() { # COMMAND...: as a shell would take it
    for word; do
        case $word in
        *[!A-Za-z0-9_./=:,+-]*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
}

# step NAME SECONDS COMMAND...: its output is part of the results
step() {
    name=$1 limit=$2
    shift 2
    if [ "$dry" ]; then
        printf '%s, at most %d s:%s\n' "$name" "$limit" "$(quoted "$@")"
        return
    fi
    say ""
    say "== $name:$(quoted "$@")"
    timeout "$limit" "$@" >"$folder/$name.log" 2>&1
    status=$?
    tail -n "${lines:-400}" "$folder/$name.log" | tee -a "$results"
    if [ $status -ne 0 ]; then
        [ $status -ne 124 ] || say "out of time"
        say "FAILED ($status); all of its output: $folder/$name.log"
        failed="$failed $name"
    fi
}

without() {
    say ""
    say "== $1: skipped, $2 is not installed"
}

if [ ! "$dry" ]; then
    mkdir -p "$folder/models" "$folder/meet" "$folder/answers" || exit 1
    folder=$(cd "$folder" && pwd)
    build=$folder/build
    : >"$results" || exit 1
fi
export JSC_CUDA_PLUGIN="$build/libjscopes_cuda.so"
export OMP_WAIT_POLICY=passive

say "$(date +%F), $gpus GPUs, commit $(git rev-parse --short HEAD 2>/dev/null), written by bench/multi_gpu.sh"

# ---- hardware, build, tests ----------------------------------------------------------------------------------------------------------------

step hardware 20 nvidia-smi --query-gpu=index,name,driver_version,memory.total,clocks.max.sm,power.limit,pcie.link.gen.max,pcie.link.width.max --format=csv
step topology 20 nvidia-smi topo -m
step processor 20 lscpu
lines=3
step configure 120 cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DJSC_DEVELOPER=ON -DJSC_CUDA=ON "-DJSC_CUDA_TARGETS=$target"
step build 900 cmake --build "$build" --target cuda_tests test_group test_stages jscopes_cli bench jscopes_cuda example_ranks
lines=40
step tests 1200 env JSC_TEST_DEVICE=cuda CTEST_OUTPUT_ON_FAILURE=1 ctest --test-dir "$build" -L cuda -j 2
step tests-host 600 ctest --test-dir "$build" -R '^test_(group|stages)$' --output-on-failure
if has compute-sanitizer; then
    for tool in memcheck racecheck; do
        step "$tool" 1200 env JSC_TEST_DEVICE=cuda compute-sanitizer --tool "$tool" --target-processes all --error-exitcode 9 \
            "$build/tests/test_cuda_group" --filter 'cuda_group/*scores_of_one' -j1 --verbose
    done
else
    without memcheck compute-sanitizer
fi
lines=400

# ---- measured: one process -----------------------------------------------------------------------------------------------------------------

for shape in "$@"; do
    model=$folder/models/$shape
    [ -d "$model" ] || step "model-$shape" 3600 tools/random_checkpoint.py "$shape" "$model"
    step "scaling-$shape" 1800 "$build/bench/bench" --scaling --device cuda --precision fast --model "$model" --tokens 64 --tokens 512
done
step scaling-strict 1200 "$build/bench/bench" --scaling --device cuda --precision strict --model "$folder/models/$1" --tokens 64
step scaling-without-nccl 1200 env JSC_NCCL=off "$build/bench/bench" --scaling --device cuda --precision fast --model "$folder/models/$1" \
    --tokens 64 --only replicas
step published 300 "$build/bench/bench" --scaling --device cuda --precision fast --only Llama

# ---- measured: a process for each GPU ------------------------------------------------------------------------------------------------------

# The first shape, exact, by every rank together; rank 0 writes.
ids=$(seq -s, 3 66)
first=$folder/models/$1
ask="--scope fisher --exact --precision fast --ids $ids --format json"
export JSC_RENDEZVOUS="$folder/meet/"
text="The lens of a model shows what it saw"

# together LAUNCHER COMMAND...: starts N processes of what follows
together() {
    launcher=$1
    shift
    # shellcheck disable=SC2086 # a list of words
    step "$launcher" 600 "$@" "$build/jscopes" attribute "$first" $ask --device cuda --join --output "$folder/answers/$launcher.json"
    step "$launcher-compared" 20 python3 bench/compare_runs.py "$folder/answers/alone.json" "$gpus" "$folder/answers/$launcher.json"
    step "$launcher-ranks" 300 "$@" "$build/examples/ranks" tests/golden/tiny_llama "$text" cuda
}

# shellcheck disable=SC2086 # a list of words
step alone 600 "$build/jscopes" attribute "$first" $ask --device cuda:0 --output "$folder/answers/alone.json"
step alone-ranks 300 "$build/examples/ranks" tests/golden/tiny_llama "$text" cuda:0
if has torchrun; then
    together torchrun torchrun --standalone --no-python --nproc-per-node "$gpus"
else
    without torchrun torchrun
fi
if has mpirun; then
    together mpirun mpirun -n "$gpus"
else
    without mpirun mpirun
fi
if has srun; then
    together srun srun --ntasks "$gpus" --ntasks-per-node "$gpus"
else
    without srun srun
fi

[ "$dry" ] || rm -rf "$folder/models" "$folder/meet"
if [ "$failed" ]; then
    say "failed:$failed"
    exit 1
fi
[ "$dry" ] || echo "written: $results; commit it with a line in bench/results/README.md"
