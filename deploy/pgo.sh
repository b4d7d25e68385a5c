#!/usr/bin/env bash
# Builds target/pgo/dist/meridian: the `dist` profile, guided by what the processor does in a
# minute of the demo under load (profile-guided optimisation). It takes two whole builds, and
# llvm-profdata of rustc's own version, which rustup brings.
set -euo pipefail
cd "$(dirname "$0")/.."

# Longer than any of the loads, and than the demo needs to start or to end.
limit=60

build() {
    CARGO_TARGET_DIR="target/$1" RUSTFLAGS="${RUSTFLAGS:-} $2" \
        cargo build --profile dist --locked --bin meridian
}

profdata="$(rustc --print target-libdir)/../bin/llvm-profdata"
if [[ ! -x "$profdata" ]]; then
    rustup component add llvm-tools
fi

profile="$PWD/target/pgo/profile"
build pgo-trainer "-Cprofile-generate=$profile"
# The build's own programs have left profiles too.
rm -rf "$profile"
mkdir -p "$profile"

# The proxy with its simulated regions: they are in the profile too, and answer little.
trainer=target/pgo-trainer/dist/meridian
said="$profile/demo.log"
"$trainer" demo >"$said" 2>&1 &
demo=$!
trap 'kill "$demo" 2>/dev/null || true' EXIT
for ((waited = 0; ; waited++)); do
    grep -q '^Ctrl-C' "$said" && break
    if ! kill -0 "$demo" 2>/dev/null || ((waited > 5 * limit)); then
        cat "$said" >&2
        echo "the demo does not start" >&2
        exit 1
    fi
    sleep 0.2
done
read -r _ https http < <(grep '^proxy' "$said")

# The number of a field of the report in $report.
field() {
    grep -o "\"$1\": *[0-9]*" <<<"$report" | head -n 1 | grep -o '[0-9]*$'
}

# Sends requests and wants them answered: what is trained must not be the way of errors. The load's own
# profile is thrown away.
load() {
    local trust=()
    [[ "$1" == https:* ]] && trust=(--insecure)
    report=$(LLVM_PROFILE_FILE=/dev/null timeout "$limit" "$trainer" bench "$@" "${trust[@]}" \
        --connections 64 --quiet --output json 2>/dev/null)
    if (($(field 2xx) * 10 < $(field due) * 9)); then
        echo "$* was not answered well: $report" >&2
        exit 1
    fi
}
for speech in "$http" "$https" "$http --http2" "$https --http2"; do
    # shellcheck disable=SC2086  # two words
    load $speech --rate 2000 --for 8s
done
load "${https%/}/download" --rate 3 --for 8s
load "${http%/}/download" --rate 3 --for 4s
load "$https" --method POST --body-size 20000 --rate 800 --for 6s
load "$http" --method POST --body-size 500 --rate 800 --for 6s
kill -TERM "$demo"
timeout "$limit" tail --pid="$demo" -f /dev/null
trap - EXIT

"$profdata" merge -o "$profile/merged.profdata" "$profile"/*.profraw
# What was built with another profile under the same name would be taken for up to date.
rm -rf target/pgo/dist
build pgo "-Cprofile-use=$profile/merged.profdata"
ls -l target/pgo/dist/meridian
