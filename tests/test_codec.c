//  Tests of gpb_codec: no bytes make it crash, allocate without bound, or pass what is no text.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_codec.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static gpb_error_t error;

static void
s_header (zmq_msg_t *header, const void *bytes, size_t size)
{
    ck_assert_int_eq (zmq_msg_init_size (header, size), 0);
    if (size)
        memcpy (zmq_msg_data (header), bytes, size);
}

//  An execute request with something of everything; its header, to be closed.
static void
s_execute (zmq_msg_t *header)
{
    Gpb__V1__BufferRange range = GPB__V1__BUFFER_RANGE__INIT;
    range.handle = 77;
    range.size = 1000;
    Gpb__V1__Argument arguments [4] = { GPB__V1__ARGUMENT__INIT, GPB__V1__ARGUMENT__INIT,
                                        GPB__V1__ARGUMENT__INIT, GPB__V1__ARGUMENT__INIT };
    arguments [0].value_case = GPB__V1__ARGUMENT__VALUE_FRAME;
    arguments [1].value_case = GPB__V1__ARGUMENT__VALUE_INLINE;
    arguments [1].inline_.data = (uint8_t *) "\0\xFF binary";
    arguments [1].inline_.len = 9;
    arguments [2].value_case = GPB__V1__ARGUMENT__VALUE_BUFFER;
    arguments [2].buffer = &range;
    arguments [3].value_case = GPB__V1__ARGUMENT__VALUE_F64;
    arguments [3].f64 = 0.5;
    Gpb__V1__Argument *list [4] = { arguments, arguments + 1, arguments + 2, arguments + 3 };
    char *require [2] = { "fp64", "gpu" };
    uint64_t global [2] = { 1920, 1080 };
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    execute.kernel = "vector_add";
    execute.n_arguments = 4;
    execute.arguments = list;
    execute.n_require = 2;
    execute.require = require;
    execute.n_global = 2;
    execute.global = global;
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    request.version = 1;
    request.id = 4711;
    request.timeout_ms = 1000;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    zmq_msg_init (header);
    ck_assert_ok (gpb_codec_pack (&request.base, header, &error));
}

START_TEST (test_a_request_comes_back_as_it_was_packed)
{
    gpb_codec_t *codec = gpb_codec_new (&error);
    zmq_msg_t header;
    s_execute (&header);
    uint64_t id;
    const Gpb__V1__Request *request = gpb_codec_request (codec, &header, &id, &error);
    ck_assert_ptr_nonnull (request);
    ck_assert_uint_eq (id, 4711);
    ck_assert_str_eq (request->execute->kernel, "vector_add");
    ck_assert_uint_eq (request->execute->n_arguments, 4);
    ck_assert_uint_eq (request->execute->arguments [1]->inline_.len, 9);
    ck_assert_uint_eq (request->execute->arguments [2]->buffer->handle, 77);
    ck_assert_uint_eq (request->execute->global [1], 1080);
    zmq_msg_close (&header);
    gpb_codec_destroy (&codec);
    ck_assert_ptr_null (codec);
}
END_TEST

typedef struct {
    const char *bytes;
    size_t size;
    gpb_status_t status;
    const char *part;
    uint64_t id;
} s_case_t;

#define S_BYTES(text) text, sizeof text - 1

static const s_case_t s_cases [] = {
    { S_BYTES (""), GPB_UNIMPLEMENTED, "version 0: this node speaks 1", 0 },
    { S_BYTES ("\x08\x07\x10\x05"), GPB_UNIMPLEMENTED, "version 7: this node speaks 1", 5 },
    { S_BYTES ("\x08\x07\x10\x05\x83\x01\x02"), GPB_UNIMPLEMENTED, "version 7", 5 },
    { S_BYTES ("\x10\x05"), GPB_UNIMPLEMENTED, "version 0", 5 },
    { S_BYTES ("\x08\x01\x10\x05"), GPB_UNIMPLEMENTED, "without a body", 5 },
    { S_BYTES ("\x08\x01\x10\x05\x9a\x06\x00"), GPB_UNIMPLEMENTED, "kind 99", 5 },
    { S_BYTES ("\x08\x01\x10\x05\x98\x06\x07"), GPB_UNIMPLEMENTED, "kind 99", 5 },
    { S_BYTES ("\x08\x01\x10\x05\x82\x01\x05"), GPB_INVALID_ARGUMENT, "byte 7", 5 },
    { S_BYTES ("\x08\x01\x10\x05\x80\x01\x05"), GPB_INVALID_ARGUMENT, "wrong type", 5 },
    { S_BYTES ("\x08\x01\x10\x05\x83\x01"), GPB_INVALID_ARGUMENT, "no protobuf", 5 },
    { S_BYTES ("\x08\x01\x10\x05\x07"), GPB_INVALID_ARGUMENT, "no protobuf", 5 },
    { S_BYTES ("\x08\x01\x10\x05\x00\x00"), GPB_INVALID_ARGUMENT, "no protobuf", 5 },
    { S_BYTES ("\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), GPB_INVALID_ARGUMENT,
      "no protobuf", 0 },
    { S_BYTES ("\x08\x01\x10\x05\xff\xff\xff\xff\xff\xff\xff"), GPB_INVALID_ARGUMENT, "no protobuf",
      5 },
    { S_BYTES ("\x08\x01\x10\x05\xa2\x01\xff\xff\xff\xff\x7f"), GPB_INVALID_ARGUMENT, "no protobuf",
      5 },
    { S_BYTES ("\x08\x01\x10\x05\xa2\x01\x06\x0a\x04"
               "a\0bc"),
      GPB_INVALID_ARGUMENT, "kernel: the text is not UTF-8, or holds a NUL", 5 },
    { S_BYTES ("\x08\x01\x10\x05\xa2\x01\x06\x0a\x04"
               "a\xC0\x80z"),
      GPB_INVALID_ARGUMENT, "kernel: the text", 5 },
    { S_BYTES ("\x08\x01\x10\x05\xa2\x01\x06\x3a\x04"
               "a\xFFyz"),
      GPB_INVALID_ARGUMENT, "require: the text", 5 },
    { S_BYTES ("\x08\x01\x10\x05\xa2\x01\x06\x0a\x05"
               "abcd"),
      GPB_INVALID_ARGUMENT, "no protobuf", 5 },
    { S_BYTES ("GET / HTTP/1.1\r\n\r\n"), GPB_INVALID_ARGUMENT, "no protobuf", 0 },
};

START_TEST (test_garbage_gets_its_status_its_sentence_and_its_id)
{
    gpb_codec_t *codec = gpb_codec_new (&error);
    for (size_t index = 0; index < sizeof s_cases / sizeof s_cases [0]; index++) {
        const s_case_t *item = &s_cases [index];
        zmq_msg_t header;
        s_header (&header, item->bytes, item->size);
        uint64_t id = 99;
        error.status = GPB_OK;
        ck_assert_msg (gpb_codec_request (codec, &header, &id, &error) == NULL, "case %zu", index);
        ck_assert_msg (error.status == item->status && strstr (error.text, item->part),
                       "case %zu: %s: %s", index, gpb_status_name (error.status), error.text);
        ck_assert_msg (id == item->id, "case %zu: id %llu", index, (unsigned long long) id);
        zmq_msg_close (&header);
    }
    gpb_codec_destroy (&codec);
}
END_TEST

START_TEST (test_a_refused_text_is_never_echoed)
{
    gpb_codec_t *codec = gpb_codec_new (&error);
    zmq_msg_t header;
    s_header (&header, S_BYTES ("\x08\x01\x10\x05\xa2\x01\x0a\x0a\x08secret\xFF\x1B"));
    ck_assert_ptr_null (gpb_codec_request (codec, &header, NULL, &error));
    ck_assert_ptr_null (strstr (error.text, "secret"));
    ck_assert_ptr_null (strchr (error.text, 0x1B));
    zmq_msg_close (&header);
    gpb_codec_destroy (&codec);
}
END_TEST

START_TEST (test_text_is_utf8_without_nul)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool ok;
    } cases [] = {
        { S_BYTES (""), true },
        { S_BYTES ("plain"), true },
        { S_BYTES ("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF\xED\x9F\xBF"), true },
        { S_BYTES ("a\0b"), false },
        { S_BYTES ("\x80"), false },
        { S_BYTES ("\xC3"), false },
        { S_BYTES ("\xC1\xBF"), false },
        { S_BYTES ("\xE0\x9F\xBF"), false },
        { S_BYTES ("\xED\xA0\x80"), false },
        { S_BYTES ("\xF0\x8F\xBF\xBF"), false },
        { S_BYTES ("\xF4\x90\x80\x80"), false },
        { S_BYTES ("\xF5\x80\x80\x80"), false },
        { S_BYTES ("\xE2\x82"), false },
        { S_BYTES ("\xE2\x82\x2C"), false },
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++)
        ck_assert_msg (gpb_codec_text_ok (cases [index].bytes, cases [index].size)
                           == cases [index].ok,
                       "case %zu", index);
}
END_TEST

START_TEST (test_a_request_cut_at_any_byte_is_answered)
{
    gpb_codec_t *codec = gpb_codec_new (&error);
    zmq_msg_t whole;
    s_execute (&whole);
    size_t refused = 0;
    for (size_t size = 0; size < zmq_msg_size (&whole); size++) {
        //  A block of exactly this size, so that a read past its end is seen.
        zmq_msg_t header;
        s_header (&header, zmq_msg_data (&whole), size);
        uint64_t id;
        error.text [0] = 0;
        if (!gpb_codec_request (codec, &header, &id, &error)) {
            ck_assert_str_ne (error.text, "");
            refused++;
        }
        if (size > 5)
            ck_assert_uint_eq (id, 4711);
        zmq_msg_close (&header);
    }
    //  The body is one field: cut anywhere in it, the header is refused.
    ck_assert_uint_eq (refused, zmq_msg_size (&whole));
    zmq_msg_close (&whole);
    gpb_codec_destroy (&codec);
}
END_TEST

static uint64_t
s_random (uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

START_TEST (test_no_mutation_of_a_request_gets_past_the_checks)
{
    gpb_codec_t *codec = gpb_codec_new (&error);
    zmq_msg_t whole;
    s_execute (&whole);
    size_t size = zmq_msg_size (&whole);
    uint64_t state = 20240229;
    size_t accepted = 0, refused = 0;
    for (int round = 0; round < 100000; round++) {
        zmq_msg_t header;
        size_t kept = s_random (&state) % 8 ? size : s_random (&state) % size;
        s_header (&header, zmq_msg_data (&whole), kept);
        unsigned char *bytes = zmq_msg_data (&header);
        for (uint64_t count = s_random (&state) % 4; kept && count > 0; count--)
            bytes [s_random (&state) % kept] = (unsigned char) s_random (&state);
        uint64_t id;
        error.text [0] = 0;
        const Gpb__V1__Request *request = gpb_codec_request (codec, &header, &id, &error);
        if (!request) {
            refused++;
            ck_assert_str_ne (error.text, "");
        }
        else {
            accepted++;
            ck_assert_int_ne (request->body_case, GPB__V1__REQUEST__BODY__NOT_SET);
            if (request->body_case == GPB__V1__REQUEST__BODY_EXECUTE)
                ck_assert (gpb_codec_text_ok (request->execute->kernel,
                                              strlen (request->execute->kernel)));
        }
        gpb_status_t checked = gpb_codec_check_reply (&header, &id, &error);
        const Gpb__V1__Reply *reply = gpb_codec_reply (codec, &header, &error);
        if (!reply)
            ck_assert_str_ne (error.text, "");
        //  What the check refuses is refused; what is read has passed it, with the id that it
        //  found.
        ck_assert (checked == GPB_OK || !reply);
        ck_assert (!reply || reply->id == id);
        zmq_msg_close (&header);
    }
    ck_assert_uint_gt (accepted, 1000);
    ck_assert_uint_gt (refused, 1000);
    zmq_msg_close (&whole);
    gpb_codec_destroy (&codec);
}
END_TEST

START_TEST (test_a_header_beyond_64_kib_is_refused)
{
    gpb_codec_t *codec = gpb_codec_new (&error);
    zmq_msg_t header;
    zmq_msg_init_size (&header, 1024 * 1024);
    memset (zmq_msg_data (&header), 0x08, 1024 * 1024);
    ck_assert_ptr_null (gpb_codec_request (codec, &header, NULL, &error));
    ck_assert_int_eq (error.status, GPB_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull (strstr (error.text, "1048576 bytes: at most 65536"));
    zmq_msg_close (&header);
    gpb_codec_destroy (&codec);
}
END_TEST

//  A header of 64 KiB that repeats one field of an execute request for as long as it fits.
static void
s_repeat (zmq_msg_t *header, const char *field, size_t field_size, size_t size)
{
    zmq_msg_init_size (header, size);
    unsigned char *bytes = zmq_msg_data (header);
    size_t at = 0;
    memcpy (bytes, "\x08\x01\x10\x05\xa2\x01", 6);
    size_t body = (size - 12) / field_size * field_size;
    bytes [6] = (unsigned char) (body & 0x7F) | 0x80;
    bytes [7] = (unsigned char) ((body >> 7) & 0x7F) | 0x80;
    bytes [8] = (unsigned char) (body >> 14);
    for (at = 9; at + field_size <= 9 + body; at += field_size)
        memcpy (bytes + at, field, field_size);
    while (at < size) {    //  the version once more, two bytes each; one odd byte is not used
        if (at + 1 == size)
            bytes [at - 1] = 0x81, bytes [at++] = 0;
        else
            bytes [at] = 0x08, bytes [at + 1] = 1, at += 2;
    }
}

START_TEST (test_no_header_unpacks_to_more_than_a_mebibyte)
{
    //  Two or three bytes each that protobuf-c unpacks to a message, a pointer, an unknown field.
    static const struct {
        const char *field;
        size_t size;
        gpb_status_t status;
        const char *part;
    } cases [] = {
        { S_BYTES ("\x12\x00"), GPB_RESOURCE_EXHAUSTED, "unpacked" },
        { S_BYTES ("\x12\x02\x52\x00"), GPB_RESOURCE_EXHAUSTED, "unpacked" },
        { S_BYTES ("\x3a\x00"), GPB_RESOURCE_EXHAUSTED, "unpacked" },
        { S_BYTES ("\x3a\x08longtext"), GPB_INVALID_ARGUMENT, "require: " },
        { S_BYTES ("\x78\x01"), GPB_RESOURCE_EXHAUSTED, "unpacked" },
        { S_BYTES ("\x18\x01"), GPB_RESOURCE_EXHAUSTED, "unpacked" },
        { S_BYTES ("\x1a\x08\1\1\1\1\1\1\1\1"), GPB_INVALID_ARGUMENT, "global: " },
        { S_BYTES ("\x0a\x01x"), GPB_RESOURCE_EXHAUSTED, "unpacked" },
        { S_BYTES ("\x0a\x0c_a_long_name"), GPB_OK, "" },
    };
    gpb_codec_t *codec = gpb_codec_new (&error);
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        //  Every size up to the whole, so that the arena ends at each allocation that there is.
        for (size_t size = 400; size <= GPB_HEADER_MAX_SIZE;
             size = size < GPB_HEADER_MAX_SIZE && size + 997 > GPB_HEADER_MAX_SIZE
                        ? GPB_HEADER_MAX_SIZE
                        : size + 997)
        {
            zmq_msg_t header;
            s_repeat (&header, cases [index].field, cases [index].size, size);
            gpb_alloc_fail (-1, 0);
            const Gpb__V1__Request *request = gpb_codec_request (codec, &header, NULL, &error);
            ck_assert_uint_eq (gpb_alloc_fail (-1, 0), 0);
            if (size == GPB_HEADER_MAX_SIZE) {
                if (cases [index].status == GPB_OK)
                    ck_assert_msg (request != NULL, "case %zu: %s", index, error.text);
                else
                    ck_assert_msg (!request && error.status == cases [index].status
                                       && strstr (error.text, cases [index].part),
                                   "case %zu: %s", index, error.text);
            }
            zmq_msg_close (&header);
        }
    }
    //  And it serves on.
    zmq_msg_t header;
    s_execute (&header);
    ck_assert_ptr_nonnull (gpb_codec_request (codec, &header, NULL, &error));
    zmq_msg_close (&header);
    gpb_codec_destroy (&codec);
}
END_TEST

typedef struct {
    int left;       //  allocations that succeed
    int balance;    //  blocks not yet freed
} s_budget_t;

static void *
s_budget_alloc (void *data, size_t size)
{
    s_budget_t *budget = data;
    if (budget->left-- <= 0)
        return NULL;
    budget->balance++;
    return malloc (size);
}

static void
s_budget_free (void *data, void *memory)
{
    if (memory) {
        ((s_budget_t *) data)->balance--;
        free (memory);
    }
}

START_TEST (test_protobuf_c_survives_the_end_of_memory_at_every_allocation)
{
    zmq_msg_t header;
    s_execute (&header);
    s_budget_t budget;
    ProtobufCAllocator allocator = { s_budget_alloc, s_budget_free, &budget };
    ProtobufCMessage *message = NULL;
    int count = 0;
    for (; !message; count++) {
        budget = (s_budget_t){ .left = count };
        message = protobuf_c_message_unpack (&gpb__v1__request__descriptor, &allocator,
                                             zmq_msg_size (&header), zmq_msg_data (&header));
        if (!message)
            ck_assert_int_eq (budget.balance, 0);
    }
    ck_assert_int_gt (count, 10);
    budget.left = 1000;
    protobuf_c_message_free_unpacked (message, &allocator);
    zmq_msg_close (&header);
}
END_TEST

START_TEST (test_inline_payloads_are_bounded_together)
{
    gpb_codec_t *codec = gpb_codec_new (&error);
    static uint8_t half [GPB_INLINE_MAX_SIZE / 2 + 1];
    Gpb__V1__Argument argument = GPB__V1__ARGUMENT__INIT;
    argument.value_case = GPB__V1__ARGUMENT__VALUE_INLINE;
    argument.inline_.data = half;
    argument.inline_.len = GPB_INLINE_MAX_SIZE / 2;
    Gpb__V1__Argument *list [2] = { &argument, &argument };
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    execute.n_arguments = 2;
    execute.arguments = list;
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    request.version = 1;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    zmq_msg_t header;
    zmq_msg_init (&header);
    ck_assert_ok (gpb_codec_pack (&request.base, &header, &error));
    ck_assert_ptr_nonnull (gpb_codec_request (codec, &header, NULL, &error));
    argument.inline_.len++;
    ck_assert_ok (gpb_codec_pack (&request.base, &header, &error));
    ck_assert_ptr_null (gpb_codec_request (codec, &header, NULL, &error));
    ck_assert_int_eq (error.status, GPB_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull (strstr (error.text, "32768 bytes"));
    zmq_msg_close (&header);
    gpb_codec_destroy (&codec);
}
END_TEST

START_TEST (test_what_goes_out_is_text_whatever_the_driver_said)
{
    gpb_codec_t *codec = gpb_codec_new (&error);
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.version = 1;
    reply.message = "caf\xE9: \xE2\x82\xAC\xFF\xFF";
    zmq_msg_t header;
    zmq_msg_init (&header);
    ck_assert_ok (gpb_codec_pack (&reply.base, &header, &error));
    const Gpb__V1__Reply *read = gpb_codec_reply (codec, &header, &error);
    ck_assert_ptr_nonnull (read);
    ck_assert_str_eq (read->message, "caf?: \xE2\x82\xAC??");
    zmq_msg_close (&header);
    gpb_codec_destroy (&codec);
}
END_TEST

START_TEST (test_a_header_that_does_not_fit_is_not_packed)
{
    char *text = calloc (1, GPB_HEADER_MAX_SIZE + 1);
    memset (text, 'x', GPB_HEADER_MAX_SIZE);
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.message = text;
    zmq_msg_t header;
    zmq_msg_init (&header);
    ck_assert_refused (gpb_codec_pack (&reply.base, &header, &error), GPB_RESOURCE_EXHAUSTED,
                       "at most");
    ck_assert_uint_eq (zmq_msg_size (&header), 0);

    //  The longest that is packed leaves room for what a broker appends.
    gpb_codec_t *codec = gpb_codec_new (&error);
    reply.version = 1;
    for (size_t size = GPB_HEADER_MAX_SIZE; zmq_msg_size (&header) == 0; size--) {
        text [size] = 0;
        gpb_codec_pack (&reply.base, &header, &error);
    }
    ck_assert_ok (gpb_codec_append (&header, GPB_REPLY_QUEUED_NS, UINT64_MAX, &error));
    const Gpb__V1__Reply *read = gpb_codec_reply (codec, &header, &error);
    ck_assert_ptr_nonnull (read);
    ck_assert_uint_eq (read->queued_ns, UINT64_MAX);
    while (zmq_msg_size (&header) + 11 <= GPB_HEADER_MAX_SIZE)
        ck_assert_ok (gpb_codec_append (&header, GPB_REPLY_QUEUED_NS, UINT64_MAX, &error));
    ck_assert_refused (gpb_codec_append (&header, GPB_REPLY_QUEUED_NS, UINT64_MAX, &error),
                       GPB_RESOURCE_EXHAUSTED, "nothing fits");
    zmq_msg_close (&header);
    free (text);
    gpb_codec_destroy (&codec);
}
END_TEST

START_TEST (test_the_time_in_the_queue_is_appended_to_a_reply)
{
    gpb_codec_t *codec = gpb_codec_new (&error);
    static const uint64_t values [] = { 0, 1, 127, 128, 1000000, UINT64_MAX };
    for (size_t index = 0; index < sizeof values / sizeof values [0]; index++) {
        Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
        reply.version = 1;
        reply.id = 9;
        reply.queued_ns = 55;
        zmq_msg_t header;
        zmq_msg_init (&header);
        ck_assert_ok (gpb_codec_pack (&reply.base, &header, &error));
        ck_assert_ok (gpb_codec_append (&header, GPB_REPLY_QUEUED_NS, values [index], &error));
        const Gpb__V1__Reply *read = gpb_codec_reply (codec, &header, &error);
        ck_assert_ptr_nonnull (read);
        ck_assert_uint_eq (read->id, 9);
        ck_assert_uint_eq (read->queued_ns, values [index]);
        zmq_msg_close (&header);
    }
    gpb_codec_destroy (&codec);
}
END_TEST

START_TEST (test_a_reply_with_an_unknown_body_still_has_its_status)
{
    gpb_codec_t *codec = gpb_codec_new (&error);
    zmq_msg_t header;
    s_header (&header, S_BYTES ("\x08\x01\x10\x05\x18\x0e\x9a\x06\x01z"));
    const Gpb__V1__Reply *reply = gpb_codec_reply (codec, &header, &error);
    ck_assert_ptr_nonnull (reply);
    ck_assert_int_eq ((int) reply->status, GPB_UNAVAILABLE);
    ck_assert_int_eq (reply->body_case, GPB__V1__REPLY__BODY__NOT_SET);
    zmq_msg_close (&header);
    gpb_codec_destroy (&codec);
}
END_TEST

START_TEST (test_a_codec_without_memory_says_so)
{
    for (int after = 0; after < 2; after++) {
        gpb_alloc_fail (after, 1);
        gpb_codec_t *codec = gpb_codec_new (&error);
        gpb_alloc_fail (-1, 0);
        ck_assert_ptr_null (codec);
        ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    }
}
END_TEST

START_TEST (test_the_body_of_a_reply_is_known_without_unpacking)
{
    gpb_error_t trouble;
    zmq_msg_t header;
    zmq_msg_init (&header);
    ck_assert_uint_eq (gpb_codec_peek_body (&header), 0);
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__RentReply rent = GPB__V1__RENT_REPLY__INIT;
    reply.message = (char *) "no";
    reply.id = 5;
    ck_assert_int_eq (gpb_codec_pack (&reply.base, &header, &trouble), GPB_OK);
    ck_assert_uint_eq (gpb_codec_peek_body (&header), 0);
    rent.handle = 77;
    reply.body_case = GPB__V1__REPLY__BODY_RENT;
    reply.rent = &rent;
    ck_assert_int_eq (gpb_codec_pack (&reply.base, &header, &trouble), GPB_OK);
    ck_assert_uint_eq (gpb_codec_peek_body (&header), GPB__V1__REPLY__BODY_RENT);
    memset (zmq_msg_data (&header), 0xFF, zmq_msg_size (&header));
    ck_assert_uint_eq (gpb_codec_peek_body (&header), 0);
    zmq_msg_close (&header);
}
END_TEST

GPB_TEST_MAIN (
    "gpb_codec", 60, test_a_request_comes_back_as_it_was_packed,
    test_garbage_gets_its_status_its_sentence_and_its_id, test_a_refused_text_is_never_echoed,
    test_text_is_utf8_without_nul, test_a_request_cut_at_any_byte_is_answered,
    test_no_mutation_of_a_request_gets_past_the_checks, test_a_header_beyond_64_kib_is_refused,
    test_no_header_unpacks_to_more_than_a_mebibyte,
    test_protobuf_c_survives_the_end_of_memory_at_every_allocation,
    test_inline_payloads_are_bounded_together, test_what_goes_out_is_text_whatever_the_driver_said,
    test_a_header_that_does_not_fit_is_not_packed,
    test_the_time_in_the_queue_is_appended_to_a_reply,
    test_a_reply_with_an_unknown_body_still_has_its_status, test_a_codec_without_memory_says_so,
    test_the_body_of_a_reply_is_known_without_unpacking)
