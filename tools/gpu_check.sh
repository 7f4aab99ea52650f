#!/bin/sh
# The first minutes on a machine with an NVIDIA GPU: builds, tests and measures the CUDA backend there, in under ten minutes.
#
#   tools/gpu_check.sh OUT              into the folder OUT: card.json, a log for each step, bench-*.jsonl, table.txt
#   tools/gpu_check.sh OUT --dry-run    says what each step would run
#
# Needs nvcc (tools/cuda_packages.sh nvcc), the packages of tools/install_packages.sh check, cuBLASLt 13, and a driver for CUDA 13. Each step
# has its own limit. A failed one does not stop those after it: the last lines name it. The very last lines are predicted, measured, ratio.
set -u
cd "$(dirname "$0")/.." || exit 1

out=${1:-}
dry=${2:-}
if [ -z "$out" ] || { [ -n "$dry" ] && [ "$dry" != --dry-run ]; }; then
    echo "usage: tools/gpu_check.sh OUT [--dry-run]" >&2
    exit 2
fi
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
build=$out/build
export JSC_CUDA_PLUGIN="$build/libjscopes_cuda.so"
failed=

# run NAME SECONDS COMMAND...: one step; its output goes to OUT/NAME.log
run() {
    name=$1 limit=$2
    shift 2
    if [ -n "$dry" ]; then
        printf '%s, at most %d s: %s\n' "$name" "$limit" "$*"
        return 0
    fi
    begin=$(date +%s)
    timeout "$limit" "$@" >"$out/$name.log" 2>&1
    status=$?
    case $status in
    0) word="done" ;;
    124) word="out of time: $out/$name.log" ;;
    *) word="failed ($status): $out/$name.log" ;;
    esac
    printf '%4ds of %4ds  %-14s %s\n' "$(($(date +%s) - begin))" "$limit" "$name" "$word"
    [ $status -eq 0 ] || failed="$failed $name"
    return $status
}

# ---- what each step does -------------------------------------------------------------------------------------------------------------

card() { # the header of every later file
    nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total,clocks.max.sm,clocks.max.memory,clocks.sm,power.limit --format=csv,noheader,nounits |
        python3 -c 'import json, sys
names = "name driver compute_capability memory_mib max_sm_mhz max_memory_mhz sm_mhz power_limit_w".split()
json.dump([dict(zip(names, (v.strip() for v in line.split(",")))) for line in sys.stdin], open(sys.argv[1], "w"), indent=1)' "$out/card.json" &&
        nvidia-smi -q -d CLOCK,POWER,TEMPERATURE
}

compile() { # the plug-in for this card only, and the programs that use it
    target=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader -i 0 | tr -d .) || return 1
    cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DJSC_DEVELOPER=ON -DJSC_CUDA=ON "-DJSC_CUDA_TARGETS=$target" &&
        cmake --build "$build" --target cuda_tests jscopes_cli bench jscopes_cuda
}

operations() { # every case of tests/cases.h and tiny models, strict and fast, on the card against ref in float64
    JSC_TEST_DEVICE=cuda CTEST_OUTPUT_ON_FAILURE=1 ctest --test-dir "$build" -L cuda -j 4 --output-junit "$out/tests.xml"
}

sanitized() { # tool: kernels of the small shapes under compute-sanitizer
    status=0
    for program in test_norm test_part_norm test_gate test_rope test_attention test_mlp_collapse test_fisher_ops; do
        JSC_TEST_DEVICE=cuda timeout 8 compute-sanitizer --tool "$1" --target-processes all --error-exitcode 9 \
            "$build/tests/$program" --filter '*/table' -j1 --verbose || status=1
    done
    return $status
}

model_of() { # shape: a checkpoint with random weights
    [ -d "$out/models/$1" ] || tools/random_checkpoint.py "$1" "$out/models/$1"
}

ask() { # model, further options: a request as JSON
    model=$1
    shift
    "$build/jscopes" attribute "$model" --device cuda --format json --ids "$(seq -s, 3 7 157)" "$@"
}

same_bits() { # three runs, two chunkings, two precisions: the scores as one hash each
    model_of 135m || return 1
    for precision in strict fast; do
        before=
        for i in 1 2 3; do
            hash=$(ask "$out/models/135m" --scope fisher --rank 48 --precision $precision |
                python3 -c 'import hashlib, json, sys; print(hashlib.sha256(repr([t["score"] for t in json.load(sys.stdin)["tokens"]]).encode()).hexdigest())') || return 1
            echo "$precision, run $i: $hash"
            [ -z "$before" ] || [ "$before" = "$hash" ] || return 1
            before=$hash
        done
        for memory in 24M 2G; do
            ask "$out/models/135m" --scope fisher --rank 48 --precision $precision --memory $memory >"$out/chunk-$precision-$memory.json" || return 1
        done
        python3 -c 'import json, sys
a, b = ([t["score"] for t in json.load(open(name))["tokens"]] for name in sys.argv[1:])
print("many chunks and one: largest relative difference", max(abs(x - y) / max(y, 1e-30) for x, y in zip(a, b)))' \
            "$out/chunk-$precision-24M.json" "$out/chunk-$precision-2G.json"
    done
}

measure() { # name, arguments of bench: one JSON object a line
    name=$1
    shift
    "$build/bench/bench" --device cuda --json "$@" >"$out/bench-$name.jsonl"
}

whole() { # shape, prompt lengths: the plan's forms, load, forward, VJP, scopes
    model_of "$1" || return 1
    shape=$1
    shift
    lengths=
    for tokens in "$@"; do
        lengths="$lengths --tokens $tokens"
    done
    # shellcheck disable=SC2086 # a list of words
    measure "whole-$shape" --attribute --precision fast --model "$out/models/$shape" --seconds 0.2 $lengths
}

forms() { # where the MLP's forms cross; attention's pull-back at several shapes
    model_of 1b && measure forms --mlp-forms --precision fast --model "$out/models/1b" --tokens 64 --seconds 0.1
}

profile() { # what limits the kernels that count
    ncu --clock-control none --set basic --kernel-name 'regex:norm_vjp|gate_vjp|attention' --launch-count 12 --csv \
        "$build/bench/bench" --device cuda --ops --precision fast --only _vjp --seconds 0.01
}

# ---- the steps -----------------------------------------------------------------------------------------------------------------------

# A step with functions runs this script's shell again: timeout needs a program.
if [ "${JSC_GPU_STEP:-}" ]; then
    eval "$JSC_GPU_STEP"
    exit
fi
run_function() { # name, seconds, function with arguments
    name=$1 limit=$2
    shift 2
    if [ -n "$dry" ]; then
        run "$name" "$limit" "$@"
        sed -n "/^$1() {/,/^}/{/^$1/d;/^}/d;p;}" tools/gpu_check.sh
        return
    fi
    run "$name" "$limit" env "JSC_GPU_STEP=$*" sh tools/gpu_check.sh "$out"
}

run_function card 10 card
run_function build 100 compile
run_function operations 80 operations
for tool in memcheck racecheck synccheck initcheck; do
    if command -v compute-sanitizer >/dev/null 2>&1 || [ -n "$dry" ]; then
        run_function "$tool" 29 sanitized $tool
    else
        echo "               $tool: skipped, compute-sanitizer is not installed"
    fi
done
run_function same-bits 30 same_bits
run_function ops-strict 25 measure ops-strict --ops --precision strict --seconds 0.05
run_function ops-fast 25 measure ops-fast --ops --precision fast --seconds 0.05
run_function forms 50 forms
run_function whole-135m 30 whole 135m 64
run_function whole-1b 80 whole 1b 64 512
if command -v ncu >/dev/null 2>&1 || [ -n "$dry" ]; then
    run_function profile 25 profile
else
    echo "               profile: skipped, ncu is not installed"
fi
run table 10 python3 tools/gpu_table.py "$out"
[ -n "$dry" ] || cat "$out/table.log"
rm -rf "$out/models"
if [ -n "$failed" ]; then
    echo "failed:$failed"
    exit 1
fi
