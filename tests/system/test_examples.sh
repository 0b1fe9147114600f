#!/bin/sh
# Runs every example: those that call a node against a real one over tcp, the others alone.
# Prints "N passed, N failed"; exits 77, a skip, where there is no node program.
build=${GPB_BUILD_DIR:-.}
source=${GPB_SOURCE_DIR:-.}
if [ ! -x "$build/gpb_actor" ]; then
    echo "skipped: $build/gpb_actor is not there"
    exit 77
fi
scratch=$(mktemp -d) || exit 1
node=
secure=
stop ()
{
    for process in $node $secure; do
        kill "$process" 2>/dev/null
        wait "$process"
    done
    rm -rf "$scratch"
}
trap stop EXIT
trap 'exit 1' INT TERM

# The fifo gives the node's first line when it is there, and no sooner. It stays open, since a node
# may write more.
mkfifo "$scratch/ready"
"$build/gpb_actor" --bind 'tcp://127.0.0.1:*' >"$scratch/ready" 2>"$scratch/log" &
node=$!
exec 3<"$scratch/ready"
read -r word endpoint <&3
if [ "$word" != ready ]; then
    echo "the node did not start:"
    cat "$scratch/log"
    exit 1
fi

passed=0
failed=0
example ()
{
    name=$1
    shift
    if timeout 60 "$@" >"$scratch/output" 2>&1; then
        echo "$name: $(tail -n 1 "$scratch/output")"
        passed=$((passed + 1))
    else
        echo "$name failed:"
        cat "$scratch/output"
        failed=$((failed + 1))
    fi
}

example blocking "$build/examples/blocking" "$endpoint"
example asynchronous "$build/examples/asynchronous" "$endpoint"
example composed "$build/examples/composed"
example rented "$build/examples/rented"
example device "$build/examples/device"
example stream "$build/examples/stream"

# A second node, which lets in only whom it knows.
mkdir "$scratch/allowed"
"$build/gpb" keygen "$scratch/node" >/dev/null
"$build/gpb" keygen "$scratch/me" >/dev/null
cp "$scratch/me" "$scratch/allowed"
mkfifo "$scratch/secure"
"$build/gpb_actor" --curve "$scratch/node" --allowed-keys "$scratch/allowed" \
    --bind 'tcp://127.0.0.1:*' >"$scratch/secure" 2>"$scratch/log" &
secure=$!
exec 4<"$scratch/secure"
read -r word closed <&4
example curve "$build/examples/curve" "$closed" "$scratch/me" "$scratch/node"
kill "$secure" && wait "$secure"
secure=
if /usr/bin/python3 -c 'import zmq, google.protobuf' 2>/dev/null && command -v protoc >/dev/null; then
    protoc --python_out="$scratch" --proto_path="$source/proto" gpb.proto
    example python env PYTHONPATH="$scratch" /usr/bin/python3 "$source/examples/python/client.py" "$endpoint"
else
    echo "python: left out: python3-zmq, python3-protobuf or protobuf-compiler is missing"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
