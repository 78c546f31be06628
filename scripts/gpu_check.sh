#!/bin/bash
# All that is to be seen on one GPU, in one call of at most ten minutes. docs/scaling.md has what it showed.
#
#   scripts/gpu_check.sh            writes outputs/gpu_check.txt
#   scripts/gpu_check.sh --dry      the same path on the CPU with tiny models: nothing is measured
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
device=cuda
steps=(--steps 20)
pairs=(--only steps --pairs segmentation segmentation512 depth detection --steps 17)
tests=(tests/training/test_trainer.py tests/training/test_checkpoint.py tests/training/test_precision.py)
if [[ ${1:-} == --dry ]]; then
    device=cpu
    steps=(--dry)
    tests=(tests/training/test_scaling.py)
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4} HF_HUB_OFFLINE=1
mkdir -p outputs
status=0

# The three parts share ten minutes: 5, 1 and 4 at most.
part() {
    local seconds=$1
    shift
    echo "== $*"
    timeout "$seconds" "$@" || { echo "== failed or out of time: status $?"; status=1; }
}

{
    part 300 "$python" scripts/gpu_check.py --device "$device" "${steps[@]}"
    if [[ $device == cuda ]]; then
        part 60 "$python" scripts/benchmark.py --device cuda "${pairs[@]}"
    fi
    STRUCTKD_TEST_DEVICE=$device part 240 "$python" -m pytest -q -m "not long" -p no:cacheprovider "${tests[@]}"
    exit $status
} 2>&1 | tee outputs/gpu_check.txt
