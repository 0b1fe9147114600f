#!/usr/bin/python3
"""Adds two vectors on a node. Nothing of libgpb's but proto/gpb.proto is needed:

    protoc --python_out=. --proto_path=../../proto gpb.proto
    ./client.py [ENDPOINT]          (default: $GPB_NODE, else tcp://127.0.0.1:5670)

Debian: apt-get install python3-zmq python3-protobuf protobuf-compiler
"""
import array
import os
import sys

import gpb_pb2 as gpb
import zmq

COUNT = 1000
a = array.array("f", range(COUNT))
b = array.array("f", (2 * value for value in range(COUNT)))

request = gpb.Request(version=1, id=1, timeout_ms=5000)
execute = request.execute
execute.kernel = "vector_add"
execute.arguments.add().frame = 0
execute.arguments.add().frame = 1
execute.arguments.add().output.SetInParent()
execute.arguments.add().i32 = COUNT

socket = zmq.Context.instance().socket(zmq.REQ)
socket.linger = 0
socket.rcvtimeo = 10000
socket.connect(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("GPB_NODE", "tcp://127.0.0.1:5670"))
socket.send_multipart([request.SerializeToString(), a, b])

header, *payloads = socket.recv_multipart()
reply = gpb.Reply.FromString(header)
if reply.status != gpb.OK:
    sys.exit(f"{gpb.Status.Name(reply.status)}: {reply.message}")
result = reply.execute.results[0]
data = payloads[result.frame] if result.WhichOneof("value") == "frame" else result.inline
total = array.array("f", data)
right = all(total[i] == a[i] + b[i] for i in range(COUNT)) and len(total) == COUNT
print(f"{len(total)} sums from device {reply.execute.device}:", "right" if right else "wrong")
sys.exit(0 if right else 1)
