//  Tests of gpb_job without an actor: what it takes, holds and gives back when requests are wrong,
//  memory runs out anywhere, or enqueuing breaks off.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_job.h"
#include "gpb_test_actor.h"

#include <poll.h>
#include <unistd.h>

#define COUNT 1000

static gpb_error_t error;
static gpb_config_t *s_config;
static gpb_shared_context_t *s_shared;
static gpb_programs_t *s_programs;
static gpb_workshop_t s_shop;
static gpb_job_t s_job;

static void
s_open (void)
{
    s_config = gpb_test_actor_config ("fake", NULL);
    s_shared = gpb_shared_context_open ("fake", 0, 2, true, &error);
    ck_assert_msg (s_shared != NULL, "%s", error.text);
    s_programs =
        gpb_programs_new (s_shared, gpb_config_string (s_config, "kernel_path"), "none", 0, &error);
    ck_assert_msg (s_programs != NULL, "%s", error.text);
    s_shop.shared = s_shared;
    s_shop.blocks = gpb_blocks_new (s_shared, 1 << 20, &error);
    s_shop.rentals = gpb_rentals_new (s_config, s_shared, NULL, &error);
    ck_assert_msg (s_shop.rentals != NULL, "%s", error.text);
    memset (&s_job, 0, sizeof s_job);
    gpb_message_init (&s_job.message);
    s_job.received_ns = gpb_clock_ns ();
}

static void
s_close (void)
{
    gpb_rentals_destroy (&s_shop.rentals);
    gpb_blocks_destroy (&s_shop.blocks);
    gpb_programs_destroy (&s_programs);
    gpb_shared_context_release (&s_shared);
    gpb_config_destroy (&s_config);
}

static uint64_t
s_in_use (void)
{
    gpb_blocks_figures_t figures;
    gpb_blocks_figures (s_shop.blocks, &figures);
    return figures.in_use;
}

//  Two payload frames of COUNT floats, as a message brings them.
static void
s_add_frames (size_t frames)
{
    for (size_t frame = 0; frame < frames; frame++) {
        zmq_msg_t payload;
        zmq_msg_init_size (&payload, COUNT * sizeof (float));
        for (int index = 0; index < COUNT; index++)
            ((float *) zmq_msg_data (&payload)) [index] = (float) index;
        ck_assert_ok (gpb_message_add (&s_job.message, &payload, &error));
    }
}

static Gpb__V1__Argument s_arguments [4];
static Gpb__V1__Argument *s_arguments_p [4];
static Gpb__V1__Output s_output;
static Gpb__V1__Execute s_execute;

//  add (frame 0, frame 1, out, COUNT)
static void
s_make_add (void)
{
    gpb__v1__output__init (&s_output);
    gpb__v1__execute__init (&s_execute);
    for (int index = 0; index < 4; index++) {
        gpb__v1__argument__init (&s_arguments [index]);
        s_arguments_p [index] = &s_arguments [index];
    }
    for (uint32_t index = 0; index < 2; index++) {
        s_arguments [index].value_case = GPB__V1__ARGUMENT__VALUE_FRAME;
        s_arguments [index].frame = index;
    }
    s_arguments [2].value_case = GPB__V1__ARGUMENT__VALUE_OUTPUT;
    s_arguments [2].output = &s_output;
    s_arguments [3].value_case = GPB__V1__ARGUMENT__VALUE_I32;
    s_arguments [3].i32 = COUNT;
    s_execute.n_arguments = 4;
    s_execute.arguments = s_arguments_p;
}

static const gpb_program_t *
s_program (const char *id)
{
    const gpb_program_t *program = gpb_programs_lookup (s_programs, id, &error);
    ck_assert_msg (program != NULL, "%s", error.text);
    return program;
}

static void
s_await (void)
{
    while (!gpb_job_is_done (&s_job, &s_shop)) {
        struct pollfd item = { s_shared->device_fd, POLLIN, 0 };
        ck_assert_int_ge (poll (&item, 1, s_job.unannounced ? 1 : 20000),
                          s_job.unannounced ? 0 : 1);
        uint64_t count;
        ssize_t size = read (s_shared->device_fd, &count, sizeof count);
        ck_assert (size > 0 || s_job.unannounced);
    }
}

static void
s_drop (void)
{
    gpb_job_release (&s_job, &s_shop);
    gpb_job_drop_results (&s_job);
    gpb_message_clear (&s_job.message);
    s_job.failure.status = GPB_OK;
    s_job.unannounced = false;
    s_job.host_copied = 0;
    ck_assert_uint_eq (s_in_use (), 0);
}

START_TEST (test_a_result_is_the_memory_that_the_copy_engine_wrote)
{
    s_open ();
    s_make_add ();
    s_add_frames (2);
    ck_assert_ok (gpb_job_execute (&s_job, &s_shop, s_program ("add"), &s_execute, &error));
    s_await ();
    ck_assert_int_eq (s_job.failure.status, GPB_OK);
    Gpb__V1__Timing timing = GPB__V1__TIMING__INIT;
    Gpb__V1__Span spans [3];
    gpb_job_timing (&s_job, &s_shop, &timing, spans);
    ck_assert (timing.measured && timing.copy_in && timing.compute && timing.copy_out);
    ck_assert_uint_le (timing.copy_in->end_ns, timing.compute->start_ns);
    ck_assert_uint_le (timing.compute->end_ns, timing.copy_out->start_ns);
    ck_assert_uint_eq (timing.host_copied, 2 * COUNT * sizeof (float));
    gpb_job_release (&s_job, &s_shop);
    ck_assert_uint_eq (s_job.message.payloads_count, 0);
    ck_assert_uint_eq (s_job.results_count, 1);
    void *address = s_job.results [0].block->address;
    ck_assert_ok (gpb_job_add_result_frame (&s_job, &s_job.results [0], &error));
    ck_assert_ptr_null (s_job.results [0].block);
    ck_assert_ptr_eq (zmq_msg_data (&s_job.message.payloads [0]), address);
    for (int index = 0; index < COUNT; index++)
        ck_assert (((float *) address) [index] == (float) (2 * index));
    //  It is out as long as the frame is.
    ck_assert_uint_gt (s_in_use (), 0);
    gpb_message_clear (&s_job.message);
    ck_assert_uint_eq (s_in_use (), 0);
    s_drop ();
    s_close ();
}
END_TEST

START_TEST (test_a_wrong_request_takes_nothing)
{
    s_open ();
    const gpb_program_t *add = s_program ("add");
    static const struct {
        size_t frames;
        uint32_t frame;
        int32_t count;
        size_t arguments;
        const char *part;
    } cases [] = {
        { 0, 0, COUNT, 4, "names payload frame 0, but the message has 0" },
        { 2, 2, COUNT, 4, "names payload frame 2, but the message has 2" },
        { 2, UINT32_MAX, COUNT, 4, "names payload frame 4294967295" },
        { 3, 1, COUNT, 4, "payload frame 2 belongs to no argument" },
        { 2, 1, COUNT + 1, 4, "bytes" },
        { 2, 1, -1, 4, "n" },
        { 2, 1, COUNT, 3, "argument" },
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases [0]; index++) {
        s_make_add ();
        s_add_frames (cases [index].frames);
        s_arguments [1].frame = cases [index].frame;
        s_arguments [3].i32 = cases [index].count;
        s_execute.n_arguments = cases [index].arguments;
        ck_assert_refused (gpb_job_execute (&s_job, &s_shop, add, &s_execute, &error),
                           GPB_INVALID_ARGUMENT, cases [index].part);
        ck_assert_uint_eq (s_job.pieces_count, 0);
        ck_assert_uint_eq (s_job.results_count, 0);
        s_drop ();
    }
    s_make_add ();
    s_add_frames (2);
    s_arguments [2].value_case = GPB__V1__ARGUMENT__VALUE__NOT_SET;
    ck_assert_refused (gpb_job_execute (&s_job, &s_shop, add, &s_execute, &error),
                       GPB_INVALID_ARGUMENT, "argument 2 has no value");
    s_drop ();
    s_make_add ();
    s_add_frames (2);
    uint64_t local = 1 << 20;
    s_execute.n_local = 1;
    s_execute.local = &local;
    ck_assert_refused (gpb_job_execute (&s_job, &s_shop, add, &s_execute, &error),
                       GPB_INVALID_ARGUMENT, "1024");
    s_drop ();
    s_close ();
}
END_TEST

START_TEST (test_memory_that_runs_out_anywhere_gives_all_back)
{
    s_open ();
    const gpb_program_t *add = s_program ("add");
    int outcomes [2] = { 0, 0 };
    bool ended_well = false;
    for (int64_t after = 0; !ended_well && after < 200; after++) {
        gpb_blocks_trim (s_shop.blocks);
        s_make_add ();
        s_add_frames (2);
        //  And stays out: a chunk that the heap refuses is asked for again, smaller.
        gpb_alloc_fail (after, 1);
        gpb_status_t status = gpb_job_execute (&s_job, &s_shop, add, &s_execute, &error);
        gpb_alloc_fail (-1, 0);
        if (status != GPB_OK)
            ck_assert_int_eq (status, GPB_RESOURCE_EXHAUSTED);
        else {
            //  In the middle: what was enqueued runs to its end, and then says what was wrong.
            s_await ();
            ended_well = s_job.failure.status == GPB_OK;
            if (!ended_well)
                ck_assert_int_eq (s_job.failure.status, GPB_RESOURCE_EXHAUSTED);
        }
        outcomes [status == GPB_OK]++;
        s_drop ();
    }
    ck_assert (ended_well);
    ck_assert_int_gt (outcomes [0], 4);
    ck_assert_int_gt (outcomes [1], 1);
    s_close ();
}
END_TEST

START_TEST (test_the_first_command_that_fails_is_the_cause)
{
    s_open ();
    s_make_add ();
    s_execute.n_arguments = 1;
    s_arguments [0] = s_arguments [3];
    ck_assert_ok (gpb_job_execute (&s_job, &s_shop, s_program ("fails"), &s_execute, &error));
    s_await ();
    ck_assert_int_eq (s_job.failure.status, GPB_INTERNAL);
    s_drop ();
    s_close ();
}
END_TEST

START_TEST (test_only_a_buffer_binds_a_request)
{
    s_make_add ();
    ck_assert (!gpb_job_execute_is_bound (&s_execute));
    Gpb__V1__BufferRange range = GPB__V1__BUFFER_RANGE__INIT;
    s_arguments [2].value_case = GPB__V1__ARGUMENT__VALUE_BUFFER;
    s_arguments [2].buffer = &range;
    ck_assert (gpb_job_execute_is_bound (&s_execute));
}
END_TEST

GPB_TEST_MAIN ("gpb_job", 20, test_a_result_is_the_memory_that_the_copy_engine_wrote,
               test_a_wrong_request_takes_nothing,
               test_memory_that_runs_out_anywhere_gives_all_back,
               test_the_first_command_that_fails_is_the_cause, test_only_a_buffer_binds_a_request)
