#!/bin/bash
# All that is to be seen on one GPU. docs/scaling.md has what it showed.
#
#   scripts/gpu_check.sh                    all parts in turn, sixteen minutes at most
#   scripts/gpu_check.sh --part compiled    one part alone: eager, compiled, steps or tests
#   scripts/gpu_check.sh --dry              the same path on the CPU with tiny models: nothing is measured
#
# A part writes outputs/gpu_check_PART.txt line by line, so that its limit of seconds cuts off only what follows.
# LIMIT in the environment is another limit, WORKERS the number of processes of the tests.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
device=cuda
measured=(--steps 20)
pairs=(--only steps --pairs segmentation segmentation512 depth detection --steps 17)
tests=(tests/training/test_trainer.py tests/training/test_checkpoint.py tests/training/test_precision.py)
compiling=("b5_512 b5_1024" dpt rt_detr)
parts=(eager compiled steps tests)
while (($#)); do
    case $1 in
        --dry)
            device=cpu
            measured=(--dry)
            tests=(tests/training/test_scaling.py)
            compiling=(b5_512)
            ;;
        --part)
            parts=("${2:?--part needs the name of a part}")
            shift
            ;;
        *)
            echo "unknown option $1; the first lines of $0 say what there is." >&2
            exit 2
            ;;
    esac
    shift
done
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4} HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
export TORCHINDUCTOR_COMPILE_THREADS=${TORCHINDUCTOR_COMPILE_THREADS:-4}

limited() {
    local seconds=${LIMIT:-$1}
    shift
    echo "== $*"
    timeout "$seconds" "$@" || {
        echo "== failed or out of time: status $?"
        return 1
    }
}

eager() { limited 240 "$python" scripts/gpu_check.py --device "$device" "${measured[@]}"; }

# Compiling takes minutes, most of them in one thread: three processes do it side by side.
compiled() {
    local lock running=() failed=0 names one
    lock=$(mktemp)
    for names in "${compiling[@]}"; do
        # shellcheck disable=SC2086
        limited 420 "$python" scripts/gpu_check.py --device "$device" --mode compiled --pairs $names \
            --lock "$lock" "${measured[@]}" &
        running+=($!)
    done
    for one in "${running[@]}"; do
        wait "$one" || failed=1
    done
    rm -f "$lock"
    return $failed
}

steps() {
    if [[ $device == cuda ]]; then
        limited 60 "$python" scripts/benchmark.py --device cuda "${pairs[@]}"
    fi
}

# pytest-benchmark, where it is installed, ends a run of several processes with its warning.
tests() {
    STRUCTKD_TEST_DEVICE=$device limited 240 "$python" -m pytest -v --tb=short -m "not long" -p no:cacheprovider \
        -p no:benchmark -n "${WORKERS:-$([[ $device == cuda ]] && echo 8 || echo 0)}" "${tests[@]}"
}

mkdir -p outputs
status=0
for part in "${parts[@]}"; do
    case $part in
        eager | compiled | steps | tests) ;;
        *)
            echo "unknown part $part; parts are eager, compiled, steps and tests." >&2
            exit 2
            ;;
    esac
    "$part" 2>&1 | tee "outputs/gpu_check_$part.txt" || status=1
done
exit $status
