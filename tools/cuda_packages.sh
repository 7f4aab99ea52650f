#!/bin/sh
# The parts of NVIDIA's CUDA 13.0 toolkit that building needs, from PyPI, into ${XDG_CACHE_HOME:-~/.cache}/jscopes/cuda (x86_64):
#   tools/cuda_packages.sh headers   what the emulator includes (5 MB to fetch): the simt preset then works without a toolkit
#   tools/cuda_packages.sh nvcc      the compiler too (105 MB to fetch, 270 MB on disk): the plug-in can be built, no GPU needed
# cmake/cuda.cmake looks there by itself. Versions and hashes are pinned. Nothing is fetched twice, nor where a toolkit is found.
set -u

headers='nvidia-cuda-runtime==13.0.88 --hash=sha256:422a38f7c739ecbdd3a4b6ec7ed0a1d74db43d8e9bc26685f3d845638922b178
nvidia-cuda-crt==13.0.88 --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4
nvidia-cuda-cccl==13.0.85 --hash=sha256:e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649'
compiler='nvidia-cuda-nvcc==13.0.88 --hash=sha256:56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03
nvidia-nvvm==13.0.88 --hash=sha256:c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0'
folder=${XDG_CACHE_HOME:-$HOME/.cache}/jscopes/cuda

case ${1:-} in
headers) wanted=$headers file=include/cuda_runtime.h ;;
nvcc)
    wanted="$headers
$compiler"
    file=bin/nvcc
    ;;
*)
    echo "usage: tools/cuda_packages.sh headers|nvcc" >&2
    exit 2
    ;;
esac
for root in ${JSC_CUDA_ROOT:+"$JSC_CUDA_ROOT"} ${CUDA_HOME:+"$CUDA_HOME"} ${CUDA_PATH:+"$CUDA_PATH"} "$folder/nvidia/cu13" /usr/local/cuda /usr; do
    if [ -e "$root/$file" ]; then
        echo "already there: $root/$file"
        exit 0
    fi
done

if [ "$1" = nvcc ] && command -v nvcc >/dev/null 2>&1; then
    echo "already there: $(command -v nvcc)"
    exit 0
fi
mkdir -p "$(dirname "$folder")" || exit 1
new=$(mktemp -d "$folder.XXXXXX") || exit 1
trap 'rm -rf "$new"' EXIT
printf '%s\n' "$wanted" >"$new/wanted.txt"
if ! python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --no-compile --only-binary :all: --require-hashes \
    --target "$new/packages" --requirement "$new/wanted.txt"; then
    echo "cuda_packages.sh: PyPI did not give CUDA's $1; install NVIDIA's toolkit instead, or set JSC_CUDA_ROOT to one" >&2
    exit 1
fi
if [ ! -e "$new/packages/nvidia/cu13/$file" ]; then
    echo "cuda_packages.sh: the packages do not hold nvidia/cu13/$file" >&2
    exit 1
fi
rm -rf "$folder"
mv "$new/packages" "$folder" || exit 1
echo "now there: $folder/nvidia/cu13/$file"
