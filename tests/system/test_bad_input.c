//  test_bad_input - what a node makes of bytes, frames and headers that are wrong
//
//  Each case goes to a node over tcp and is answered with its status and a sentence, or, where the
//  protocol says that no answer is possible, is counted and dropped: then the next good request on
//  the same connection is the next thing that is answered. After every case another client adds
//  two vectors on the node. Requests that are well formed and ask for the wrong thing are in
//  test_bad_requests.c.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_node.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static gpb_test_node_t s_node;
static gpb_client_t *s_good;    //  the other client
static gpb_test_raw_t s_raw;

static void
s_start (const char *key_value)
{
    gpb_test_use_fake (1, 64 << 20);
    if (key_value)
        gpb_test_node_start (&s_node, "--backends", "fake", "--set", key_value);
    else
        gpb_test_node_start (&s_node, "--backends", "fake");
    s_good = gpb_test_client (&s_node);
    gpb_test_raw_open (&s_raw, ZMQ_DEALER, NULL, s_node.endpoints [0]);
}

//  The node serves on.
static void
s_check_serves (void)
{
    static const float a [4] = { 1, 2, 3, 4 };
    gpb_request_t *request = gpb_request_execute ("add");
    gpb_request_in (request, a, sizeof a);
    gpb_request_in (request, a, sizeof a);
    gpb_request_out (request, 0);
    gpb_request_i32 (request, 4);
    gpb_reply_t *reply = gpb_test_call_ok (s_good, request);
    const float *sum = gpb_reply_result (reply, 0, NULL);
    ck_assert_float_eq (sum [0], 2);
    ck_assert_float_eq (sum [3], 8);
    gpb_reply_destroy (&reply);
}

//  Nothing is left behind, and the node ends well.
static void
s_stop (void)
{
    gpb_test_raw_close (&s_raw);
    s_check_serves ();
    gpb_test_wait_figure (s_good, gpb_test_in_flight, 0);
    gpb_test_wait_figure (s_good, gpb_test_queue_depth, 0);
    gpb_test_wait_figure (s_good, gpb_test_connections, 1);
    gpb_client_destroy (&s_good);
    gpb_test_node_stop (&s_node);
}

static Gpb__V1__Hello s_hello_body = GPB__V1__HELLO__INIT;

static void
s_hello_request (Gpb__V1__Request *request, uint64_t id)
{
    gpb__v1__request__init (request);
    request->version = 1;
    request->id = id;
    request->body_case = GPB__V1__REQUEST__BODY_HELLO;
    request->hello = &s_hello_body;
}

//  The next thing that this connection is told is the answer to this.
static void
s_check_next (gpb_test_raw_t *raw, uint64_t id)
{
    Gpb__V1__Request request;
    s_hello_request (&request, id);
    gpb_test_raw_request (raw, &request, NULL);
    gpb_test_raw_expect (raw, id, GPB_OK, "");
    ck_assert_int_eq (raw->reply->body_case, GPB__V1__REPLY__BODY_HELLO);
}

//  ---------------------------------------------------------------------------------------------------------
//  Frames

#define HELLO SIZE_MAX         //  a header that is right
#define NONE (SIZE_MAX - 1)    //  no header frame
#define DROPPED GPB_UNKNOWN    //  no answer

static const struct {
    size_t envelope;         //  frames before the delimiter, beside the identity
    size_t envelope_size;    //  bytes of each
    bool delimiter;
    size_t header;    //  zero bytes, or HELLO, or NONE
    size_t payloads;
    size_t payload_size;
    gpb_status_t status;
    const char *part;
} s_frames [] = {
    { 1, 20, false, NONE, 0, 0, DROPPED, "" },
    { 1, 255, false, NONE, 0, 0, DROPPED, "" },
    { 1, 1 << 20, false, NONE, 0, 0, DROPPED, "" },
    { 8, 5, false, NONE, 0, 0, DROPPED, "" },
    { 100, 5, false, NONE, 0, 0, DROPPED, "" },
    { 8, 5, true, HELLO, 0, 0, DROPPED, "" },
    { 1, 256, true, HELLO, 0, 0, DROPPED, "" },
    { 0, 0, true, NONE, 0, 0, GPB_INVALID_ARGUMENT, "no header frame" },
    { 0, 0, true, 0, 0, 0, GPB_UNIMPLEMENTED, "version 0" },
    { 0, 0, true, 1, 0, 0, GPB_INVALID_ARGUMENT, "no protobuf" },
    { 0, 0, true, 65536, 0, 0, GPB_INVALID_ARGUMENT, "no protobuf" },
    { 0, 0, true, 65537, 0, 0, GPB_INVALID_ARGUMENT, "65537" },
    { 0, 0, true, 1 << 20, 0, 0, GPB_INVALID_ARGUMENT, "at most 65536" },
    { 0, 0, true, HELLO, 33, 1, GPB_INVALID_ARGUMENT, "more than 32" },
    { 0, 0, true, HELLO, 33, 0, GPB_INVALID_ARGUMENT, "more than 32" },
    { 0, 0, true, HELLO, 500, 4096, GPB_INVALID_ARGUMENT, "more than 32" },
};

static zmsg_t *
s_frames_message (size_t number)
{
    static const char zeros [1 << 20];
    static char ones [1 << 20];
    memset (ones, 1, sizeof ones);
    zmsg_t *message = zmsg_new ();
    for (size_t index = 0; index < s_frames [number].envelope; index++)
        zmsg_addmem (message, ones, s_frames [number].envelope_size);
    if (s_frames [number].delimiter)
        zmsg_addmem (message, "", 0);
    if (s_frames [number].header == HELLO) {
        Gpb__V1__Request request;
        s_hello_request (&request, 1);
        zmsg_t *header = gpb_test_raw_message (&request);
        zframe_t *frame = zmsg_pop (header);
        zmsg_append (message, &frame);
        zmsg_destroy (&header);
    }
    else if (s_frames [number].header != NONE)
        zmsg_addmem (message, zeros, s_frames [number].header);
    for (size_t index = 0; index < s_frames [number].payloads; index++)
        zmsg_addmem (message, zeros, s_frames [number].payload_size);
    return message;
}

START_TEST (test_frames_out_of_bounds_are_refused_or_counted)
{
    s_start (NULL);
    for (size_t index = 0; index < sizeof s_frames / sizeof s_frames [0]; index++) {
        uint64_t refused = gpb_test_figure (s_good, gpb_test_refused);
        zmsg_t *message = s_frames_message (index);
        gpb_test_raw_send (&s_raw, &message);
        if (s_frames [index].status != DROPPED)
            gpb_test_raw_expect (&s_raw, 0, s_frames [index].status, s_frames [index].part);
        s_check_next (&s_raw, 1000 + index);
        if (s_frames [index].status == DROPPED)
            ck_assert_msg (gpb_test_figure (s_good, gpb_test_refused) == refused + 1,
                           "case %zu is not counted", index);
        s_check_serves ();
    }
    s_stop ();
}
END_TEST

//  Seven frames and the identity are eight: they all come back, in their order.
START_TEST (test_the_longest_envelope_comes_back_as_it_was)
{
    s_start (NULL);
    Gpb__V1__Request request;
    s_hello_request (&request, 5);
    zmsg_t *message = gpb_test_raw_message (&request);
    zmsg_pushmem (message, "", 0);
    for (char name = 'g'; name >= 'a'; name--)
        zmsg_pushmem (message, &name, 1);
    gpb_test_raw_send (&s_raw, &message);
    zmq_pollitem_t item = { zsock_resolve (s_raw.socket), 0, ZMQ_POLLIN, 0 };
    ck_assert_int_eq (zmq_poll (&item, 1, GPB_TEST_PATIENCE_MS), 1);
    zmsg_t *reply = zmsg_recv (s_raw.socket);
    ck_assert_uint_eq (zmsg_size (reply), 9);
    for (const char *name = "abcdefg"; *name; name++) {
        zframe_t *frame = zmsg_pop (reply);
        ck_assert_uint_eq (zframe_size (frame), 1);
        ck_assert_mem_eq (zframe_data (frame), name, 1);
        zframe_destroy (&frame);
    }
    zmsg_destroy (&reply);
    s_stop ();
}
END_TEST

START_TEST (test_a_frame_over_the_bound_closes_the_connection_alone)
{
    s_start ("max_frame_size=65536");
    s_check_next (&s_raw, 1);
    zactor_t *monitor = zactor_new (zmonitor, s_raw.socket);
    zstr_sendx (monitor, "LISTEN", "DISCONNECTED", NULL);
    zstr_send (monitor, "START");
    zsock_wait (monitor);
    static const char zeros [65537];
    zmsg_t *message = zmsg_new ();
    zmsg_addmem (message, "", 0);
    zmsg_addmem (message, zeros, sizeof zeros);
    gpb_test_raw_send (&s_raw, &message);
    zmq_pollitem_t item = { zsock_resolve (monitor), 0, ZMQ_POLLIN, 0 };
    ck_assert_msg (zmq_poll (&item, 1, GPB_TEST_PATIENCE_MS) == 1, "the connection stays");
    zactor_destroy (&monitor);
    s_check_serves ();

    //  Its socket connects again, as a new connection.
    s_check_next (&s_raw, 2);
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Bytes that are no ZMTP

static int
s_connect (void)
{
    unsigned port;
    ck_assert_int_eq (sscanf (s_node.endpoints [0], "tcp://127.0.0.1:%u", &port), 1);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons ((uint16_t) port) };
    address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
    int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge (fd, 0);
    ck_assert_int_eq (connect (fd, (struct sockaddr *) &address, sizeof address), 0);
    return fd;
}

START_TEST (test_bytes_that_are_no_zmtp_harm_nobody)
{
    s_start (NULL);
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof text - 1                                                                      \
    }
    static const struct {
        const char *bytes;
        size_t size;
    } cases [] = {
        BYTES (""),
        BYTES ("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        BYTES ("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),    //  TLS
        BYTES ("\xff\0\0\0\0\0\0\0\x01\x7f"),                  //  a greeting of ZMTP, broken off
        //  A whole one of 64 bytes, and a command of 2^64 - 1.
        BYTES ("\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
               "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
               "\x06\xff\xff\xff\xff\xff\xff\xff\xff"),
    };
#undef BYTES
    int fds [sizeof cases / sizeof cases [0]];
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        fds [index] = s_connect ();
        ck_assert_int_eq (send (fds [index], cases [index].bytes, cases [index].size, MSG_NOSIGNAL),
                          (int) cases [index].size);
        s_check_serves ();
    }
    //  Bytes that nobody chose, until the node has had enough or a mebibyte is sent.
    int fd = s_connect ();
    uint64_t state = 1;
    for (size_t sent = 0; sent < 1 << 20; sent += sizeof state) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        if (send (fd, &state, sizeof state, MSG_NOSIGNAL) < 0)
            break;
    }
    s_check_serves ();
    close (fd);
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++)
        close (fds [index]);
    s_stop ();
}
END_TEST

//  A peer of ZMTP 1.0: its identity, then a request as frames, each a length, flags and bytes. It
//  is turned away before anything of it is read: no reply, no connection, nothing counted as
//  refused.
START_TEST (test_a_peer_of_an_old_zmtp_is_turned_away)
{
    s_start (NULL);
    uint64_t refused = gpb_test_figure (s_good, gpb_test_refused);
    uint64_t connections = gpb_test_figure (s_good, gpb_test_connections);
    static const char anonymous [] = "\x01\x00", named [] = "\x04\x00old";
    static const char frames [] = "\x01\x01"                                 //  empty, more follow
                                  "\x08\x00\x08\x01\x10\x07\x82\x01\x00";    //  hello, id 7
    static const struct {
        const char *greeting;
        size_t size;
    } peers [] = { { anonymous, 2 }, { named, 5 } };
    for (size_t index = 0; index < 2; index++) {
        int fd = s_connect ();
        char bytes [64];
        memcpy (bytes, peers [index].greeting, peers [index].size);
        memcpy (bytes + peers [index].size, frames, sizeof frames - 1);
        size_t size = peers [index].size + sizeof frames - 1;
        ck_assert_int_eq (send (fd, bytes, size, MSG_NOSIGNAL), (ssize_t) size);
        //  libzmq's own greeting may come first: ten bytes and a version, never a message.
        size_t got = 0;
        ssize_t count = 1;
        while (count > 0) {
            struct pollfd item = { .fd = fd, .events = POLLIN };
            ck_assert_msg (poll (&item, 1, GPB_TEST_PATIENCE_MS) == 1, "the connection stays");
            count = recv (fd, bytes, sizeof bytes, 0);
            got += count > 0 ? (size_t) count : 0;
        }
        ck_assert_uint_le (got, 12);
        close (fd);
        s_check_serves ();
        ck_assert_uint_eq (gpb_test_figure (s_good, gpb_test_connections), connections);
        ck_assert_uint_eq (gpb_test_figure (s_good, gpb_test_refused), refused);
    }
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Headers

static void
s_send_bytes (const void *bytes, size_t size, bool has_payload)
{
    zmsg_t *message = zmsg_new ();
    zmsg_addmem (message, "", 0);
    zmsg_addmem (message, bytes, size);
    if (has_payload)
        zmsg_addmem (message, "0123456789abcdef", 16);
    gpb_test_raw_send (&s_raw, &message);
}

//  Version, id and time-out come first, the body last and whole: nothing shorter is a request.
static void
s_check_truncated (Gpb__V1__Request *request, bool has_payload)
{
    request->version = 1;
    request->id = 77;
    request->timeout_ms = 20000;
    unsigned char bytes [1024];
    size_t size = gpb__v1__request__get_packed_size (request);
    ck_assert_uint_le (size, sizeof bytes);
    gpb__v1__request__pack (request, bytes);
    for (size_t cut = 0; cut < size; cut++)
        s_send_bytes (bytes, cut, has_payload);
    for (size_t cut = 0; cut < size; cut++) {
        ck_assert (gpb_test_raw_recv (&s_raw, GPB_TEST_PATIENCE_MS));
        gpb_status_t status = (gpb_status_t) s_raw.reply->status;
        ck_assert_msg (status == GPB_INVALID_ARGUMENT || status == GPB_UNIMPLEMENTED,
                       "kind %d cut to %zu of %zu bytes: %s", (int) request->body_case, cut, size,
                       gpb_status_name (status));
        ck_assert_uint_gt (strlen (s_raw.reply->message), 10);
    }
    s_check_next (&s_raw, 3);
    s_check_serves ();
}

START_TEST (test_a_header_cut_anywhere_is_refused)
{
    s_start ("allow_register=true");
    Gpb__V1__Request request;

    gpb__v1__request__init (&request);
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    Gpb__V1__Argument arguments [4], *arguments_p [4];
    Gpb__V1__BufferRange range = GPB__V1__BUFFER_RANGE__INIT;
    Gpb__V1__Output output = GPB__V1__OUTPUT__INIT;
    char kernel [] = "add", capability [] = "gpu", *require [] = { capability };
    uint64_t sizes [] = { 4, 1 };
    for (size_t index = 0; index < 4; index++) {
        gpb__v1__argument__init (&arguments [index]);
        arguments_p [index] = &arguments [index];
    }
    arguments [0].value_case = GPB__V1__ARGUMENT__VALUE_FRAME;
    arguments [1].value_case = GPB__V1__ARGUMENT__VALUE_BUFFER;
    arguments [1].buffer = &range;
    range.handle = 0x1122334455667788;
    range.offset = 300;
    arguments [2].value_case = GPB__V1__ARGUMENT__VALUE_OUTPUT;
    arguments [2].output = &output;
    output.size = 16;
    arguments [3].value_case = GPB__V1__ARGUMENT__VALUE_I32;
    arguments [3].i32 = 4;
    execute.kernel = kernel;
    execute.n_arguments = 4;
    execute.arguments = arguments_p;
    execute.n_global = 2;
    execute.global = sizes;
    execute.n_require = 1;
    execute.require = require;
    execute.memory = 1 << 20;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    s_check_truncated (&request, true);

    gpb__v1__request__init (&request);
    Gpb__V1__Rent rent = GPB__V1__RENT__INIT;
    rent.size = 4096;
    rent.kind = GPB__V1__MEMORY_KIND__MAPPED;
    rent.n_require = 1;
    rent.require = require;
    request.body_case = GPB__V1__REQUEST__BODY_RENT;
    request.rent = &rent;
    s_check_truncated (&request, false);

    gpb__v1__request__init (&request);
    Gpb__V1__Write write = GPB__V1__WRITE__INIT;
    unsigned char data [] = "0123456789";
    write.handle = 0x1122334455667788;
    write.value_case = GPB__V1__WRITE__VALUE_INLINE;
    write.inline_ = (ProtobufCBinaryData){ sizeof data, data };
    request.body_case = GPB__V1__REQUEST__BODY_WRITE;
    request.write = &write;
    s_check_truncated (&request, false);

    gpb__v1__request__init (&request);
    Gpb__V1__RegisterKernel registered = GPB__V1__REGISTER_KERNEL__INIT;
    char definition [] = "id = \"x\";", source [] = "fake: noop x";
    registered.definition = definition;
    registered.source = source;
    request.body_case = GPB__V1__REQUEST__BODY_REGISTER_KERNEL;
    request.register_kernel = &registered;
    s_check_truncated (&request, false);

    gpb__v1__request__init (&request);
    Gpb__V1__Copy copy = GPB__V1__COPY__INIT;
    copy.source = copy.target = 0x1122334455667788;
    copy.size = 64;
    request.body_case = GPB__V1__REQUEST__BODY_COPY;
    request.copy = &copy;
    s_check_truncated (&request, false);
    s_stop ();
}
END_TEST

static const struct {
    const char *bytes;
    size_t size;
    uint64_t id;
    gpb_status_t status;
    const char *part;
} s_headers [] = {
    { "\x08\x00\x10\x07\x82\x01\x00", 7, 7, GPB_UNIMPLEMENTED, "version 0" },
    { "\x10\x07\x82\x01\x00", 5, 7, GPB_UNIMPLEMENTED, "version 0" },
    { "\x08\x02\x10\x07\x82\x01\x00", 7, 7, GPB_UNIMPLEMENTED, "version 2" },
    { "\x08\xff\xff\xff\xff\x0f\x10\x07\x82\x01\x00", 11, 7, GPB_UNIMPLEMENTED,
      "version 4294967295" },
    { "\x08\x01\x10\x07", 4, 7, GPB_UNIMPLEMENTED, "without a body" },
    { "\x08\x01\x10\x07\x9a\x02\x00", 7, 7, GPB_UNIMPLEMENTED, "kind 35" },
    { "\x08\x01\x10\x07\xfa\xff\xff\xff\x0f\x00", 10, 7, GPB_UNIMPLEMENTED, "kind 536870911" },
    //  a body of another wire type than its own
    { "\x08\x01\x10\x07\x80\x01\x05", 7, 7, GPB_INVALID_ARGUMENT, "wrong type" },
    //  a length of 2^63; a group, which proto3 does not have; a varint of eleven bytes
    { "\x08\x01\x10\x07\x82\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 15, 7, GPB_INVALID_ARGUMENT,
      "no protobuf" },
    { "\x08\x01\x10\x07\x83\x01\x84\x01", 8, 7, GPB_INVALID_ARGUMENT, "no protobuf" },
    { "\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 14, 0, GPB_INVALID_ARGUMENT,
      "no protobuf" },
    //  field number 0
    { "\x08\x01\x10\x07\x02\x00", 6, 7, GPB_INVALID_ARGUMENT, "no protobuf" },
};

START_TEST (test_headers_that_are_no_request_get_a_status_and_their_id)
{
    s_start (NULL);
    for (size_t index = 0; index < sizeof s_headers / sizeof s_headers [0]; index++) {
        s_send_bytes (s_headers [index].bytes, s_headers [index].size, false);
        ck_assert_msg (gpb_test_raw_recv (&s_raw, GPB_TEST_PATIENCE_MS), "case %zu", index);
        const Gpb__V1__Reply *reply = s_raw.reply;
        ck_assert_msg ((gpb_status_t) reply->status == s_headers [index].status
                           && strstr (reply->message, s_headers [index].part)
                           && reply->id == s_headers [index].id,
                       "case %zu: id %llu, %s: %s", index, (unsigned long long) reply->id,
                       gpb_status_name ((gpb_status_t) reply->status), reply->message);
        s_check_next (&s_raw, 1000 + index);
        s_check_serves ();
    }
    s_stop ();
}
END_TEST

//  A string field is refused by name, and what it holds is never sent back.
START_TEST (test_text_that_is_none_is_refused_and_never_quoted)
{
    s_start ("allow_register=true");
    static const struct {
        const char *bytes;
        size_t size;
    } texts [] = {
        { "secret\0secret", 13 },
        { "secret\xff", 7 },
        { "secret\xc3", 7 },
        { "secret\xc0\xaf", 8 },
        { "secret\xed\xa0\x80", 9 },
        { "secret\xf5\x80\x80\x80", 10 },
        { "\0", 1 },
        { "\xe2\x82secret", 8 },
    };
    //  kernels.kernel, execute.kernel, execute.require, register_kernel.definition and .source
    static const struct {
        unsigned char body [2], field;
        const char *name;
    } fields [] = {
        { { 0x9a, 0x01 }, 0x0a, "kernel" },  { { 0xa2, 0x01 }, 0x0a, "kernel" },
        { { 0xa2, 0x01 }, 0x3a, "require" }, { { 0xd2, 0x01 }, 0x0a, "definition" },
        { { 0xd2, 0x01 }, 0x12, "source" },
    };
    for (size_t text = 0; text < sizeof texts / sizeof texts [0]; text++)
        for (size_t field = 0; field < sizeof fields / sizeof fields [0]; field++) {
            unsigned char bytes [64] = { 0x08, 1, 0x10, 7 };
            size_t at = 4, size = texts [text].size;
            memcpy (bytes + at, fields [field].body, 2);
            bytes [at + 2] = (unsigned char) (size + 2);
            bytes [at + 3] = fields [field].field;
            bytes [at + 4] = (unsigned char) size;
            memcpy (bytes + at + 5, texts [text].bytes, size);
            s_send_bytes (bytes, at + 5 + size, false);
            gpb_test_raw_expect (&s_raw, 7, GPB_INVALID_ARGUMENT, fields [field].name);
            ck_assert_ptr_null (strstr (s_raw.reply->message, "secret"));
        }
    s_check_serves ();
    s_stop ();
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Kinds of sockets

START_TEST (test_every_kind_of_client_is_answered)
{
    s_start (NULL);
    gpb_test_raw_t req, correlated;
    gpb_test_raw_open (&req, ZMQ_REQ, NULL, s_node.endpoints [0]);
    gpb_test_raw_open (&correlated, ZMQ_REQ, NULL, s_node.endpoints [0]);
    zsock_set_req_correlate (correlated.socket, 1);
    for (uint64_t id = 1; id <= 20; id++) {
        s_check_next (&req, id);
        s_check_next (&correlated, id);
        s_check_next (&s_raw, id);
    }
    gpb_test_wait_figure (s_good, gpb_test_connections, 4);
    gpb_test_raw_close (&req);
    gpb_test_raw_close (&correlated);
    s_stop ();
}
END_TEST

static uint64_t
s_rent (gpb_test_raw_t *raw)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Rent rent = GPB__V1__RENT__INIT;
    request.id = 50;
    rent.size = 4096;
    request.body_case = GPB__V1__REQUEST__BODY_RENT;
    request.rent = &rent;
    gpb_test_raw_request (raw, &request, NULL);
    gpb_test_raw_expect (raw, 50, GPB_OK, "");
    return raw->reply->rent->handle;
}

static void
s_send_read (gpb_test_raw_t *raw, uint64_t handle)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Read read = GPB__V1__READ__INIT;
    request.id = 51;
    read.handle = handle;
    request.body_case = GPB__V1__REQUEST__BODY_READ;
    request.read = &read;
    gpb_test_raw_request (raw, &request, NULL);
}

//  An identity is a name, not an owner: who comes back with it is somebody new.
START_TEST (test_an_identity_that_comes_back_owns_nothing)
{
    s_start (NULL);
    gpb_test_raw_t named;
    gpb_test_raw_open (&named, ZMQ_DEALER, "worker-7", s_node.endpoints [0]);
    uint64_t handle = s_rent (&named);
    s_send_read (&named, handle);
    gpb_test_raw_expect (&named, 51, GPB_OK, "");
    gpb_test_wait_figure (s_good, gpb_test_rented, 4096);
    gpb_test_raw_close (&named);
    gpb_test_wait_figure (s_good, gpb_test_rented, 0);
    gpb_test_wait_figure (s_good, gpb_test_connections, 1);

    gpb_test_raw_open (&named, ZMQ_DEALER, "worker-7", s_node.endpoints [0]);
    s_send_read (&named, handle);
    gpb_test_raw_expect (&named, 51, GPB_NOT_FOUND, "this connection");
    gpb_test_raw_close (&named);
    s_stop ();
}
END_TEST

//  The first keeps its connection and what it owns; the second gets nothing that is the first's.
START_TEST (test_a_second_client_of_an_identity_does_not_disturb_the_first)
{
    s_start (NULL);
    gpb_test_raw_t first, second;
    gpb_test_raw_open (&first, ZMQ_DEALER, "twin", s_node.endpoints [0]);
    uint64_t handle = s_rent (&first);
    gpb_test_raw_open (&second, ZMQ_DEALER, "twin", s_node.endpoints [0]);
    s_send_read (&second, handle);
    for (uint64_t id = 100; id < 120; id++)
        s_check_next (&first, id);
    s_send_read (&first, handle);
    gpb_test_raw_expect (&first, 51, GPB_OK, "");
    if (gpb_test_raw_recv (&second, 0))
        ck_assert_int_ne (second.reply->status, GPB__V1__STATUS__OK);
    s_check_serves ();
    gpb_test_raw_close (&second);
    s_check_next (&first, 200);
    gpb_test_raw_close (&first);
    s_stop ();
}
END_TEST

GPB_TEST_MAIN ("bad_input", 60, test_frames_out_of_bounds_are_refused_or_counted,
               test_the_longest_envelope_comes_back_as_it_was,
               test_a_frame_over_the_bound_closes_the_connection_alone,
               test_bytes_that_are_no_zmtp_harm_nobody, test_a_peer_of_an_old_zmtp_is_turned_away,
               test_a_header_cut_anywhere_is_refused,
               test_headers_that_are_no_request_get_a_status_and_their_id,
               test_text_that_is_none_is_refused_and_never_quoted,
               test_every_kind_of_client_is_answered, test_an_identity_that_comes_back_owns_nothing,
               test_a_second_client_of_an_identity_does_not_disturb_the_first)
