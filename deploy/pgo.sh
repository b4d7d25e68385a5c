#!/usr/bin/env bash
# Builds target/pgo/dist/meridian: the `dist` profile, guided by what the processor does in a
# minute of the demo under load (profile-guided optimisation). It takes two whole builds, and
# llvm-profdata of rustc's own version, which rustup brings.
set -euo pipefail
cd "$(dirname "$0")/.."

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

trainer=target/pgo-trainer/dist/meridian
said="$profile/demo.log"
"$trainer" demo >"$said" 2>&1 &
demo=$!
trap 'kill "$demo" 2>/dev/null || true' EXIT
for _ in $(seq 100); do
    grep -q '^Ctrl-C' "$said" && break
    kill -0 "$demo" || { cat "$said" >&2; exit 1; }
    sleep 0.2
done
read -r _ https http < <(grep '^proxy' "$said")

# The load's own profile is thrown away: only the proxy counts.
load() {
    local trust=()
    [[ "$1" == https:* ]] && trust=(--insecure)
    LLVM_PROFILE_FILE=/dev/null "$trainer" bench "$@" "${trust[@]}" --connections 64 --quiet >/dev/null
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
wait "$demo" || true
trap - EXIT

"$profdata" merge -o "$profile/merged.profdata" "$profile"/*.profraw
build pgo "-Cprofile-use=$profile/merged.profdata"
ls -l target/pgo/dist/meridian
