#!/bin/sh
# Runs one Criterion program. Fails also when nothing was tested (nor skipped with a word) and when a sanitizer wrote a report (Criterion lets leaks pass).
log=$(mktemp -d) || exit 1
trap 'rm -rf "$log"' EXIT
ASAN_OPTIONS="log_path=$log/asan:detect_leaks=1:allocator_may_return_null=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
UBSAN_OPTIONS="print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
export ASAN_OPTIONS UBSAN_OPTIONS
LSAN_OPTIONS="suppressions=$(dirname "$0")/lsan.supp${LSAN_OPTIONS:+:$LSAN_OPTIONS}"
export LSAN_OPTIONS
# threads that wait must not take the cores of other tests
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
"$@" --verbose -j1 >"$log/out" 2>&1
status=$?
cat "$log/out"
if ! grep -q '\[SKIP\]' "$log/out" && grep -q 'Tested: .*0 ' "$log/out" && grep -Eq 'Tested: [^1-9]*0[^0-9]' "$log/out"; then
    echo "run_criterion.sh: no test was run"; exit 1
fi
for report in "$log"/asan*; do
    [ -e "$report" ] || continue
    echo "run_criterion.sh: sanitizer report:"; cat "$report"; status=1
done
exit $status
