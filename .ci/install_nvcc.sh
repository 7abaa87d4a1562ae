#!/usr/bin/env bash
# Puts nvcc with what it needs to compile, from PyPI's packages, into a folder: install_nvcc.sh FOLDER. Then FOLDER/bin
# belongs on PATH. No driver and no GPU are needed. PYTHON names the interpreter whose pip is used (python3).
set -euo pipefail
folder=${1:?which folder?}
version=13.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m pip install --quiet --no-deps --target "$work" \
    "nvidia-cuda-nvcc==$version.*" "nvidia-cuda-crt==$version.*" "nvidia-nvvm==$version.*" \
    "nvidia-cuda-runtime==$version.*" "nvidia-cuda-cccl==$version.*" "nvidia-cuda-culibos==$version.*"
mkdir -p "$folder"
cp -a "$work"/nvidia/cu13/. "$folder"
if [ ! -e "$folder/lib64" ]; then
  ln -s lib "$folder/lib64" # where nvcc looks
fi
chmod +x "$folder"/bin/* "$folder"/nvvm/bin/*
"$folder/bin/nvcc" --version | tail -n 1
