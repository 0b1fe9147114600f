#!/bin/bash
# Tests of what `make install` leaves: a program outside this tree compiles, links and runs with
# what pkg-config says, shared and static; the library exports our names and no others; the headers
# are C++ too. Runs in the build folder, writes below it only.
#
# Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0
set -uo pipefail
build=${GPB_BUILD_DIR:-$PWD}
source=${GPB_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
tree=$(mktemp -d "$build/install-XXXXXX")
trap 'rm -rf "$tree"' EXIT

# The installation is a make of its own, not a part of the make that runs the tests.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES DESTDIR
make -s -C "$build" install DESTDIR="$tree/root" > "$tree/install.log" 2>&1 \
    || { cat "$tree/install.log"; echo "0 passed, 1 failed"; exit 1; }
pc=$(find "$tree/root" -name libgpb.pc)
libdir=$(dirname "$(dirname "$pc")")
includedir=$(dirname "$(find "$tree/root" -name gpb.h)")
export PKG_CONFIG_PATH="$libdir/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
export PKG_CONFIG_SYSROOT_DIR="$tree/root"

cat > "$tree/program.c" <<'END'
#include <gpb.h>
#include <stdio.h>

int
main (void)
{
    gpb_error_t error;
    gpb_error_set (&error, GPB_NOT_FOUND, "no kernel \"%s\"", "x");
    return printf ("%s: %s\n", gpb_status_name (error.status), error.text) < 0;
}
END
expected='NOT_FOUND: no kernel "x"'

exported () {
    nm -D --defined-only --format=posix "$libdir/libgpb.so" | cut -d ' ' -f 1 | sed 's/@.*//'
}

a_program_links_to_the_shared_library () {
    local path="$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    # shellcheck disable=SC2046
    gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -o "$tree/shared" "$tree/program.c" \
        $(pkg-config --cflags --libs libgpb) || return
    readelf -d "$tree/shared" | grep -q 'NEEDED.*libgpb\.so' || return
    [ "$(LD_LIBRARY_PATH="$path" "$tree/shared")" = "$expected" ]
}

# The archive is libgpb's alone: what it needs in turn is what libgpb.pc requires, privately or not.
a_program_links_to_the_static_library () {
    local needs
    needs=$(pkg-config --print-requires --print-requires-private libgpb | sed 's/[<>=].*//')
    # shellcheck disable=SC2046,SC2086
    gcc -std=c11 -o "$tree/static" "$tree/program.c" $(pkg-config --cflags libgpb) \
        -Wl,--whole-archive "$libdir/libgpb.a" -Wl,--no-whole-archive \
        $(PKG_CONFIG_SYSROOT_DIR='' pkg-config --libs $needs) -lm || return
    ! readelf -d "$tree/static" | grep -q 'NEEDED.*libgpb' || return
    [ "$("$tree/static")" = "$expected" ]
}

the_library_exports_our_names_only () {
    local names foreign
    names=$(exported)
    foreign=$(printf '%s\n' "$names" | grep -v '^gpb_')
    printf '%s\n' "$names" | grep -qx gpb_status_name \
        || { echo "gpb_status_name is not exported"; return 1; }
    [ -z "$foreign" ] || { echo "exported, and not ours: $foreign"; return 1; }
}

# What a header declares for export, an application links to.
the_library_has_what_the_headers_promise () {
    local names promised missing
    names=$(exported)
    promised=$(cat "$includedir"/gpb*.h | grep -v '^ *#' | tr '\n' ' ' \
        | grep -oE 'GPB_EXPORT[^;(]*[ *]gpb_[a-z0-9_]+ \(' | grep -oE 'gpb_[a-z0-9_]+ \($' \
        | sed 's/ ($//' | sort -u)
    [ -n "$promised" ] || { echo "the headers declare nothing for export"; return 1; }
    missing=$(printf '%s\n' "$promised" | grep -vxF "$names")
    # shellcheck disable=SC2086
    [ -z "$missing" ] || { echo "declared, and not exported:" $missing; return 1; }
}

the_headers_are_cxx () {
    local header
    for header in "$includedir"/gpb*.h; do
        printf '#include "%s"\n' "${header##*/}" > "$tree/header.cpp"
        # shellcheck disable=SC2046
        g++ -std=c++17 -fsyntax-only -Wall -Wextra -Wpedantic -Werror \
            $(pkg-config --cflags libgpb) "$tree/header.cpp" || return
    done
}

# Each header stands alone, in any order.
the_headers_are_strict_c11 () {
    local header
    for header in "$includedir"/gpb*.h; do
        printf '#include "%s"\nextern int unused;\n' "${header##*/}" > "$tree/header.c"
        # shellcheck disable=SC2046
        gcc -std=c11 -fsyntax-only -Wall -Wextra -Wpedantic -Werror \
            $(pkg-config --cflags libgpb) "$tree/header.c" || return
    done
}

the_contract_is_installed () {
    cmp "$(find "$tree/root" -name gpb.proto)" "$source/proto/gpb.proto"
}

passed=0 failed=0
for test in a_program_links_to_the_shared_library a_program_links_to_the_static_library \
    the_library_exports_our_names_only the_library_has_what_the_headers_promise \
    the_headers_are_cxx the_headers_are_strict_c11 the_contract_is_installed; do
    if [ "$test" = a_program_links_to_the_static_library ] && [ ! -e "$libdir/libgpb.a" ]; then
        echo "not run: $test: configured with --disable-static"
        continue
    fi
    if "$test"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: $test"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
