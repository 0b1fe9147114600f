#!/bin/bash
# Lays out the folder that bench/gpu.sh takes to a machine with an NVIDIA GPU, from a build.
#
#   bench/gpu_folder.sh BUILD FOLDER
#
# Programs and modules are copied with every shared library that they need but the C library's own
# and the driver's: the other machine has these.

build=${1:?usage: gpu_folder.sh BUILD FOLDER}
folder=${2:?usage: gpu_folder.sh BUILD FOLDER}
source=$(cd "$(dirname "$0")/.." && pwd)
glibc='^(linux-vdso|ld-linux|libc|libm|libpthread|libdl|librt|libresolv|libcuda|libnvrtc)[.-]'

# The ELF file behind libtool's wrapper, where it is one.
program () {
    local inner
    inner=$(dirname "$1")/.libs/$(basename "$1")
    if [ -f "$inner" ]; then echo "$inner"; else echo "$1"; fi
}

set -e
mkdir -p "$folder/bin" "$folder/lib" "$folder/modules"
for name in gpb gpb_actor gpb_device_host bench/gpb_bench_cuda tests/test_hardware; do
    install -m 755 "$(program "$build/$name")" "$folder/bin/$(basename "$name")"
done
install -m 755 "$build/.libs/gpb_cuda.so" "$folder/modules"
if [ -d "$build/.libs/cuda" ]; then cp -R "$build/.libs/cuda" "$folder/modules"; fi
for file in "$folder"/bin/* "$folder"/modules/*.so; do
    LD_LIBRARY_PATH="$build/.libs" ldd "$file" | while read -r name _ path _; do
        if [[ ${path:-} == /* && ! $name =~ $glibc ]]; then cp -fL "$path" "$folder/lib/$name"; fi
    done
done
for packages in kernels bench/kernels examples/kernels tests/kernels tests/kernels_crash \
    tests/kernels_persistent; do
    mkdir -p "$folder/$packages"
    cp -R "$source/$packages/." "$folder/$packages"
done
mkdir -p "$folder/tests/packages"
cp -R "$source/tests/packages/." "$folder/tests/packages"
du -sh "$folder"
