//  A fuzz target: a request, from its bytes to the device. What the codec lets through goes to a
//  node of the fake backend, and has to be answered: once, with the request's id, well formed, and
//  with a sentence where it is refused.
//
//  Input: a byte that says how many payload frames there are (0 to 3), a byte for the size of each,
//  and the header. In the place of small handles stand those of what was rented and reserved
//  before, so that an input can mean them.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb.h"

#include "gpb_codec.h"
#include "gpb_fuzz.h"
#include "gpb_signals.h"

#define ENDPOINT_MAX 64
#define HANDLES 4                //  three buffers and a reservation
#define REQUESTS_A_CLIENT 128    //  then it says goodbye, and another one comes
#define CLIENTS_A_NODE 32        //  the fake backend keeps a record of all it ever had
#define PATIENCE_MS 20000        //  less than the time that a request has

static zactor_t *s_node;
static zsock_t *s_client;
static gpb_codec_t *s_codec;
static uint64_t s_handles [HANDLES];
static unsigned s_requests, s_clients;
static char s_endpoint [ENDPOINT_MAX];

static const char s_definition [] =
    "id = \"fuzz\"; source = \"fuzz.c\"; parameters = (\n"
    "{ name = \"a\"; direction = \"in\"; type = \"f32\"; count = \"n\"; },\n"
    "{ name = \"b\"; direction = \"inout\"; type = \"u8\"; count = \"min (n * 2, 300)\"; },\n"
    "{ name = \"c\"; direction = \"out\"; type = \"u16\"; count = \"ceil_div (n, m)\"; },\n"
    "{ name = \"n\"; direction = \"scalar\"; type = \"i32\"; minimum = 0; },\n"
    "{ name = \"m\"; direction = \"scalar\"; type = \"u64\"; },\n"
    "{ name = \"f\"; direction = \"scalar\"; type = \"f32\"; } );\n"
    "global = [ \"n\", \"m\" ]; global_free = true; local_free = true; shared = \"m * 4\";";
static const char s_source [] = "fake: noop by the name of fuzz";

//  ---------------------------------------------------------------------------------------------------------
//  The node

static void
s_stop (void)
{
    zsock_destroy (&s_client);
    zactor_destroy (&s_node);
    gpb_codec_destroy (&s_codec);
}

static void
s_set (gpb_config_t *config, const char *key, const char *value)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_fuzz_check (gpb_config_set (config, key, value, &error) == GPB_OK, "%s", error.text);
}

static void
s_start_node (void)
{
    static unsigned count;
    gpb_config_t *config = gpb_config_new ();
    gpb_fuzz_check (config != NULL, "no memory");
    s_set (config, "backends", "fake");
    s_set (config, "allow_register", "true");
    s_set (config, "cache_directory", "none");
    s_set (config, "kernel_path", "/nowhere");
    s_set (config, "log_level", "error");
    s_set (config, "lease_ms", "3600000");
    s_set (config, "default_timeout_ms", "600000");
    s_node = zactor_new (gpb_actor, config);
    gpb_config_destroy (&config);
    snprintf (s_endpoint, sizeof s_endpoint, "inproc://fuzz-request-%u", ++count);
    char *status = NULL, *text = NULL;
    zstr_sendx (s_node, "BIND", s_endpoint, NULL);
    gpb_fuzz_check (zstr_recvx (s_node, &status, &text, NULL) == 2 && streq (status, "OK"), "%s",
                    text);
    zstr_free (&status);
    zstr_free (&text);
}

static void
s_send (const Gpb__V1__Request *request, const size_t *sizes, size_t count)
{
    zmsg_t *message = zmsg_new ();
    zmsg_addmem (message, "", 0);
    zframe_t *header = zframe_new (NULL, gpb__v1__request__get_packed_size (request));
    gpb__v1__request__pack (request, zframe_data (header));
    zmsg_append (message, &header);
    for (size_t index = 0; index < count; index++) {
        zframe_t *payload = zframe_new (NULL, sizes [index]);
        memset (zframe_data (payload), 'p', sizes [index]);
        zmsg_append (message, &payload);
    }
    gpb_fuzz_check (zmsg_send (&message, s_client) == 0, "a request is not sent");
}

//  What the node has to say of itself when an answer does not come.
static void
s_print_figures (void)
{
    zsock_t *other = zsock_new (ZMQ_DEALER);
    zsock_set_linger (other, 0);
    zsock_set_rcvtimeo (other, 5000);
    zsock_connect (other, "%s", s_endpoint);
    static const uint8_t request [] = { 8, 1, 16, 9, 0xDA, 1, 0 };    //  stats
    zsock_send (other, "zb", request, sizeof request);
    zmsg_t *message = zmsg_recv (other);
    zframe_t *header = message ? zmsg_last (message) : NULL;
    Gpb__V1__Reply *reply =
        header ? gpb__v1__reply__unpack (NULL, zframe_size (header), zframe_data (header)) : NULL;
    if (reply && reply->body_case == GPB__V1__REPLY__BODY_STATS)
        fprintf (stderr, "the node: %llu in flight, %llu wait, %llu connections\n",
                 (unsigned long long) reply->stats->in_flight,
                 (unsigned long long) reply->stats->queue_depth,
                 (unsigned long long) reply->stats->connections);
    else
        fprintf (stderr, "the node does not answer anybody\n");
    for (size_t index = 0;
         reply && reply->body_case == GPB__V1__REPLY__BODY_STATS && index < reply->stats->n_devices;
         index++)
        fprintf (stderr, "device %zu: state %d, %s\n", index,
                 (int) reply->stats->devices [index]->state, reply->stats->devices [index]->reason);
}

//  The answer to this request; free it.
static Gpb__V1__Reply *
s_receive (uint64_t id)
{
    zmq_pollitem_t item = { zsock_resolve (s_client), 0, ZMQ_POLLIN, 0 };
    if (zmq_poll (&item, 1, PATIENCE_MS) != 1) {
        s_print_figures ();
        gpb_fuzz_check (false, "no answer");
    }
    zmsg_t *message = zmsg_recv (s_client);
    zframe_t *delimiter = zmsg_pop (message), *header = zmsg_pop (message);
    gpb_fuzz_check (delimiter && zframe_size (delimiter) == 0 && header, "an answer's frames");
    Gpb__V1__Reply *reply =
        gpb__v1__reply__unpack (NULL, zframe_size (header), zframe_data (header));
    gpb_fuzz_check (reply != NULL, "an answer that is no protobuf");
    gpb_fuzz_check (reply->id == id, "the answer to %llu instead of %llu",
                    (unsigned long long) reply->id, (unsigned long long) id);
    gpb_fuzz_check (reply->status == GPB__V1__STATUS__OK || reply->message [0],
                    "a refusal without a reason");
    gpb_fuzz_check (gpb_codec_text_ok (reply->message, strlen (reply->message)),
                    "a reason that is no text");
    zframe_destroy (&delimiter);
    zframe_destroy (&header);
    zmsg_destroy (&message);
    return reply;
}

static uint64_t
s_ask (Gpb__V1__Request *request)
{
    request->version = GPB_PROTOCOL_VERSION;
    request->id = UINT64_MAX;
    s_send (request, NULL, 0);
    Gpb__V1__Reply *reply = s_receive (UINT64_MAX);
    gpb_fuzz_check (reply->status == GPB__V1__STATUS__OK, "%s", reply->message);
    uint64_t handle = reply->body_case == GPB__V1__REPLY__BODY_RENT      ? reply->rent->handle
                      : reply->body_case == GPB__V1__REPLY__BODY_RESERVE ? reply->reserve->handle
                                                                         : 0;
    gpb__v1__reply__free_unpacked (reply, NULL);
    return handle;
}

//  ---------------------------------------------------------------------------------------------------------
//  The client

static void
s_leave (void)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Goodbye goodbye = GPB__V1__GOODBYE__INIT;
    request.body_case = GPB__V1__REQUEST__BODY_GOODBYE;
    request.goodbye = &goodbye;
    s_ask (&request);
    zsock_destroy (&s_client);
    if (++s_clients % CLIENTS_A_NODE == 0)
        zactor_destroy (&s_node);
}

static void
s_come (void)
{
    bool is_new = !s_node;
    if (is_new)
        s_start_node ();
    s_client = zsock_new (ZMQ_DEALER);
    zsock_set_linger (s_client, 0);
    gpb_fuzz_check (zsock_connect (s_client, "%s", s_endpoint) == 0, "no connection");
    s_requests = 0;
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__RegisterKernel kernel = GPB__V1__REGISTER_KERNEL__INIT;
    kernel.definition = (char *) s_definition;
    kernel.source = (char *) s_source;
    kernel.replace = true;
    request.body_case = GPB__V1__REQUEST__BODY_REGISTER_KERNEL;
    request.register_kernel = &kernel;
    if (is_new)
        s_ask (&request);
    Gpb__V1__Rent rent = GPB__V1__RENT__INIT;
    request.body_case = GPB__V1__REQUEST__BODY_RENT;
    request.rent = &rent;
    for (unsigned index = 0; index < 3; index++) {
        rent.size = 64 << 2 * index;
        rent.kind = index == 1 ? GPB__V1__MEMORY_KIND__MAPPED : GPB__V1__MEMORY_KIND__DEVICE;
        s_handles [index] = s_ask (&request);
    }
    Gpb__V1__Reserve reserve = GPB__V1__RESERVE__INIT;
    reserve.memory = 65536;
    request.body_case = GPB__V1__REQUEST__BODY_RESERVE;
    request.reserve = &reserve;
    s_handles [3] = s_ask (&request);
}

//  ---------------------------------------------------------------------------------------------------------
//  The request

static void
s_mean (uint64_t *handle)
{
    if (*handle >= 1 && *handle <= HANDLES)
        *handle = s_handles [*handle - 1];
}

static void
s_mean_handles (Gpb__V1__Request *request)
{
    switch (request->body_case) {
    case GPB__V1__REQUEST__BODY_EXECUTE:
        s_mean (&request->execute->reservation);
        for (size_t index = 0; index < request->execute->n_arguments; index++) {
            Gpb__V1__Argument *argument = request->execute->arguments [index];
            if (argument->value_case == GPB__V1__ARGUMENT__VALUE_BUFFER)
                s_mean (&argument->buffer->handle);
        }
        break;
    case GPB__V1__REQUEST__BODY_RENT: s_mean (&request->rent->reservation); break;
    case GPB__V1__REQUEST__BODY_RELEASE: s_mean (&request->release->handle); break;
    case GPB__V1__REQUEST__BODY_WRITE: s_mean (&request->write->handle); break;
    case GPB__V1__REQUEST__BODY_READ: s_mean (&request->read->handle); break;
    case GPB__V1__REQUEST__BODY_COPY:
        s_mean (&request->copy->source);
        s_mean (&request->copy->target);
        break;
    case GPB__V1__REQUEST__BODY_MAP: s_mean (&request->map->handle); break;
    case GPB__V1__REQUEST__BODY_UNMAP: s_mean (&request->unmap->handle); break;
    case GPB__V1__REQUEST__BODY_RENEW: s_mean (&request->renew->handle); break;
    case GPB__V1__REQUEST__BODY_UNRESERVE: s_mean (&request->unreserve->handle); break;
    default: break;
    }
}

static void
s_serve (const Gpb__V1__Request *accepted, const size_t *sizes, size_t count)
{
    if (!s_client)
        s_come ();
    //  A copy of its own: that of the codec is borrowed.
    size_t size = gpb__v1__request__get_packed_size (accepted);
    uint8_t *packed = malloc (size + 1);
    gpb_fuzz_check (packed != NULL, "no memory");
    gpb__v1__request__pack (accepted, packed);
    Gpb__V1__Request *request = gpb__v1__request__unpack (NULL, size, packed);
    free (packed);
    gpb_fuzz_check (request != NULL, "what was accepted does not unpack");
    s_mean_handles (request);
    request->timeout_ms = 0;    //  no deadline answers in the place of who should
    s_send (request, sizes, count);
    Gpb__V1__Reply *reply = s_receive (request->id);
    gpb__v1__reply__free_unpacked (reply, NULL);
    gpb__v1__request__free_unpacked (request, NULL);
    if (++s_requests == REQUESTS_A_CLIENT)
        s_leave ();
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    static const size_t payload_sizes [] = { 0, 1, 4, 8, 64, 256, 300, 5000 };
    if (!s_codec) {
        setenv ("GPB_FAKE_DEVICES", "1", 1);
        setenv ("GPB_FAKE_MEMORY", "8388608", 1);
        gpb_error_t error;
        s_codec = gpb_codec_new (&error);
        gpb_fuzz_check (s_codec != NULL, "no memory");
        //  libFuzzer's timer would interrupt what waits here.
        gpb_signals_block ();
        zsys_init ();
        zsys_handler_set (NULL);
        atexit (s_stop);
    }
    gpb_fuzz_input_t input = { data, size };
    size_t sizes [3], count = gpb_fuzz_byte (&input) % 4;
    for (size_t index = 0; index < count; index++)
        sizes [index] = payload_sizes [gpb_fuzz_byte (&input) % 8];
    zmq_msg_t header;
    zmq_msg_init_size (&header, input.size);
    if (input.size)
        memcpy (zmq_msg_data (&header), input.data, input.size);
    gpb_error_t error = { GPB_OK, "" };
    uint64_t id = 0;
    const Gpb__V1__Request *request = gpb_codec_request (s_codec, &header, &id, &error);
    if (request) {
        gpb_fuzz_check (request->id == id, "another id");
        s_serve (request, sizes, count);
    }
    else {
        gpb_fuzz_check (error.status != GPB_OK && error.text [0], "a refusal without a reason");
        //  The same bytes as a client would read them.
        error = (gpb_error_t){ GPB_OK, "" };
        if (!gpb_codec_reply (s_codec, &header, &error))
            gpb_fuzz_check (error.status != GPB_OK && error.text [0], "a refusal without a reason");
    }
    zmq_msg_close (&header);
    return 0;
}
