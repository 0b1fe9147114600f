//  gpb_provoke_kernels - what is wrong with kernels, their arguments and their registration
//
//  Provocations for test_protocol.c; on the stage's node, which allows registration.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_provoke.h"

#include <string.h>

//  ---------------------------------------------------------------------------------------------------------
//  Kernels and their arguments

static void
s_kernel_unknown (gpb_stage_t *self)
{
    gpb_stage_call (self, gpb_request_execute ("no_such_kernel"));
}

static void
s_kernel_id_wrong (gpb_stage_t *self)
{
    gpb_stage_call (self, gpb_request_execute ("Add/1"));
}

//  c = a + b of four floats, with room to go wrong.
static gpb_request_t *
s_add (size_t a_size, bool counts)
{
    static const float a [4] = { 1, 2, 3, 4 };
    gpb_request_t *request = gpb_request_execute ("add");
    gpb_request_in (request, a, a_size);
    gpb_request_in (request, a, sizeof a);
    gpb_request_out (request, 0);
    if (counts)
        gpb_request_i32 (request, 4);
    return request;
}

static void
s_argument_count (gpb_stage_t *self)
{
    gpb_stage_call (self, s_add (16, false));
}

static void
s_argument_type (gpb_stage_t *self)
{
    gpb_request_t *request = s_add (16, false);
    gpb_request_f32 (request, 4);
    gpb_stage_call (self, request);
}

static void
s_argument_size (gpb_stage_t *self)
{
    gpb_stage_call (self, s_add (12, true));
}

static gpb_request_t *
s_measure (uint64_t n, uint64_t part)
{
    gpb_request_t *request = gpb_request_execute ("measure");
    gpb_request_out (request, 0);
    gpb_request_u64 (request, n);
    gpb_request_u64 (request, part);
    return request;
}

//  4 * 2^62 is 0 in 64 bits; so is 4 * (2^62 / 1).
static void
s_size_overflow (gpb_stage_t *self)
{
    gpb_stage_call (self, s_measure (UINT64_C (1) << 62, 0));
    ck_assert_int_eq (self->status, GPB_INVALID_ARGUMENT);
    ck_assert_msg (strstr (self->text, "division by zero") != NULL, "%s", self->text);
    gpb_stage_call (self, s_measure (UINT64_C (1) << 62, 1));
}

static void
s_frame_missing (gpb_stage_t *self)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    Gpb__V1__Argument arguments [4], *arguments_p [4];
    char kernel [] = "add";
    for (size_t index = 0; index < 4; index++) {
        gpb__v1__argument__init (&arguments [index]);
        arguments_p [index] = &arguments [index];
    }
    arguments [0].value_case = arguments [1].value_case = GPB__V1__ARGUMENT__VALUE_FRAME;
    arguments [1].frame = 3;
    Gpb__V1__Output output = GPB__V1__OUTPUT__INIT;
    arguments [2].value_case = GPB__V1__ARGUMENT__VALUE_OUTPUT;
    arguments [2].output = &output;
    arguments [3].value_case = GPB__V1__ARGUMENT__VALUE_I32;
    arguments [3].i32 = 4;
    request.id = 11;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = kernel;
    execute.n_arguments = 4;
    execute.arguments = arguments_p;
    gpb_test_raw_request (&self->raw, &request, zframe_new ("0123456789abcdef", 16));
    gpb_stage_recv_raw (self);
}

static void
s_global_size (gpb_stage_t *self)
{
    gpb_request_t *request = s_add (16, true);
    gpb_request_set_global (request, 1, (uint64_t []){ 1 << 20 });
    gpb_stage_call (self, request);
}

static void
s_local_size (gpb_stage_t *self)
{
    gpb_request_t *request = s_add (16, true);
    gpb_request_set_local (request, 1, (uint64_t []){ 2048 });
    gpb_stage_call (self, request);
}

static void
s_local_memory (gpb_stage_t *self)
{
    gpb_request_t *request = s_measure (4, 1);
    gpb_request_set_shared (request, 1 << 20);
    gpb_stage_call (self, request);
}

static void
s_kernel_no_code (gpb_stage_t *self)
{
    gpb_request_t *request = gpb_request_execute ("cuda_only");
    gpb_request_i32 (request, 0);
    gpb_stage_call (self, request);
}

static void
s_kernel_compile (gpb_stage_t *self)
{
    gpb_request_t *request = gpb_request_execute ("broken");
    gpb_request_i32 (request, 0);
    gpb_stage_call (self, request);
}

//  ---------------------------------------------------------------------------------------------------------
//  Registration: the stage's node allows it

static const char s_definition [] = "id = \"nothing\";\n"
                                    "source = \"nothing.c\";\n"
                                    "parameters = ( { name = \"n\"; direction = \"scalar\"; "
                                    "type = \"i32\"; } );\n"
                                    "global = [ \"1\" ];\n";

static void
s_register_denied (gpb_stage_t *self)
{
    gpb_test_node_t node;
    gpb_test_node_start (&node, "--backends", "fake");
    gpb_client_t *client = gpb_test_client (&node);
    gpb_stage_note (self,
                    gpb_test_call (client, gpb_request_register (s_definition, "fake: noop nothing",
                                                                 false)));
    gpb_client_destroy (&client);
    gpb_test_node_stop (&node);
}

static void
s_register_exists (gpb_stage_t *self)
{
    gpb_reply_t *reply =
        gpb_test_call_ok (self->client,
                          gpb_request_register (s_definition, "fake: noop nothing", false));
    gpb_reply_destroy (&reply);
    gpb_stage_call (self, gpb_request_register (s_definition, "fake: noop nothing", false));
}

static void
s_register_definition (gpb_stage_t *self)
{
    gpb_stage_call (self,
                    gpb_request_register ("id = \"nothing\";\nparameters = 3;\n", " ", false));
}

static void
s_register_compile (gpb_stage_t *self)
{
    gpb_stage_call (self,
                    gpb_request_register (s_definition, "nothing that the backend knows", true));
}

//  ---------------------------------------------------------------------------------------------------------
//  Persistent kernels

static const char s_persistent [] =
    "id = \"%s\"; source = \"stays.c\"; persistent = true; devices = [ \"99\" ];\n"
    "parameters = ( { name = \"in\"; direction = \"in\"; type = \"u8\"; },\n"
    "{ name = \"out\"; direction = \"out\"; type = \"u8\"; count = \"count\"; } );\n";

static gpb_request_t *
s_register_persistent (const char *id)
{
    char definition [512];
    snprintf (definition, sizeof definition, s_persistent, id);
    return gpb_request_register (definition, "nothing that is ever compiled", true);
}

static void
s_register_turns (gpb_stage_t *self)
{
    gpb_stage_call (self, s_register_persistent ("add"));
}

static void
s_persistent_device (gpb_stage_t *self)
{
    gpb_reply_t *reply = gpb_test_call_ok (self->client, s_register_persistent ("stays"));
    gpb_reply_destroy (&reply);
    gpb_request_t *request = gpb_request_execute ("stays");
    gpb_request_in (request, "message", 7);
    gpb_request_out (request, 0);
    gpb_stage_call (self, request);
}

static void
s_lane_kernel (gpb_stage_t *self)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    request.id = 1;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = (char *) "add";
    execute.lane_case = GPB__V1__EXECUTE__LANE_LANE_KEY;
    gpb_test_raw_request (&self->raw, &request, NULL);
    gpb_stage_recv_raw (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  The table's rows

const gpb_provocation_t gpb_provocations_kernels [] = {
    { "kernel_unknown", s_kernel_unknown, "no_such_kernel" },
    { "kernel_id_wrong", s_kernel_id_wrong, "[a-z0-9_.-]" },
    { "argument_count", s_argument_count, "4" },
    { "argument_type", s_argument_type, "i32" },
    { "argument_size", s_argument_size, "16" },
    { "size_overflow", s_size_overflow, "beyond 64 bits" },
    { "frame_missing", s_frame_missing, "frame 3" },
    { "global_size", s_global_size, "global size" },
    { "local_size", s_local_size, "1024" },
    { "local_memory", s_local_memory, "32768" },
    { "kernel_no_code", s_kernel_no_code, "fake" },
    { "kernel_compile", s_kernel_compile, "broken.c:1: error" },
    { "register_denied", s_register_denied, "allow_register" },
    { "register_exists", s_register_exists, "replace" },
    { "register_definition", s_register_definition, ":2" },
    { "register_compile", s_register_compile, "nothing.c:1: error" },
    { "register_turns", s_register_turns, "is not persistent" },
    { "persistent_device", s_persistent_device, "may stay on" },
    { "lane_kernel", s_lane_kernel, "add is launched for every request" },
    { NULL, NULL, NULL },
};
