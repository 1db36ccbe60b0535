#!/usr/bin/env bash
# A day on a machine with a card that has neither Rust nor a network, in ten minutes:
#
#   bash bench/gpu-day.sh prepare     here: builds gpu-check for CUDA and Vulkan, and packs it with this script into .gpu/
#   bash .gpu/gpu-day.sh run          there: everything that the card can show; page.md and results.jsonl in .gpu/out
#   bash bench/gpu-day.sh --rehearse  here: the same steps with tiny models, on the CPU and on software Vulkan
#
# The steps, their order and their limits are in src/bin/gpu-check/day/. Further arguments of run and rehearse are those of
# `gpu-check day`: --out DIR, --python P, --backends B,.., --seconds N.
set -euo pipefail

verb=${1:-}
verb=${verb#--}
[ $# -gt 0 ] && shift
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Builds for CUDA have a target directory of their own: checks of the same packages without LLVM would rebuild them.
prepare() {
    cd "$here/.."
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/cuda}
    unset DOCS_RS
    # Thin LTO over all of LLVM's users takes long, and kernels are compiled on the card's machine.
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        cargo run --quiet --package xtask -- gpu-check --backend cuda --also vulkan --build-only
    mkdir -p .gpu
    strip -o .gpu/gpu-check "$CARGO_TARGET_DIR/release/gpu-check"
    xz -T0 -3 -f .gpu/gpu-check
    cp bench/gpu-day.sh .gpu/
    # Vulkan's loader, for machines that have a driver and no loader.
    (cd .gpu && apt-get -qq download libvulkan1) || echo "without Vulkan's loader: apt-get cannot download it" >&2
    ls -l .gpu
}

run() {
    local out=$here/out program
    program=$(mktemp -d)/gpu-check
    xz -dc "$here/gpu-check.xz" > "$program"
    chmod +x "$program"
    if ! ldconfig -p | grep -q 'libvulkan\.so\.1'; then
        for package in "$here"/*.deb; do
            if [ -e "$package" ]; then dpkg -x "$package" / && ldconfig; fi
        done
    fi
    # Where containers have the driver's manifest.
    local manifest=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
    if [ -z "${VK_DRIVER_FILES:-}" ] && [ -e "$manifest" ]; then export VK_DRIVER_FILES=$manifest; fi
    # CUDA's kernels are compiled with a file of its toolkit, which not every machine has at the usual place.
    if [ -z "${CUDA_PATH:-}" ] && [ ! -d /usr/local/cuda ]; then
        local library
        library=$(find / -xdev -name 'libdevice.10.bc' -print -quit 2> /dev/null || true)
        if [ -n "$library" ]; then CUDA_PATH=$(cd "$(dirname "$library")/../.." && pwd) && export CUDA_PATH; fi
    fi
    "$program" day --out "$out" "$@"
}

rehearse() {
    cd "$here/.."
    cargo build --quiet --workspace --bin gpu-check --features bench/wgpu
    "${CARGO_TARGET_DIR:-target}/debug/gpu-check" day --rehearse --out target/gpu-day "$@"
}

case $verb in
    prepare | run | rehearse) "$verb" "$@" ;;
    *)
        sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
esac
