//  Tests of gpb_stream: whatever order the answers come in, they are written in that of the
//  messages; what is in flight has its bound; and a refusal ends it behind the last good answer.

#include "gpb_stream.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_test_lanes.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ELEMENTS 4
#define PIECE (ELEMENTS * sizeof (float))

static gpb_error_t error;

typedef struct {
    gpb_test_lanes_t node;
    gpb_client_t *client;
    gpb_source_t *source;
    gpb_sink_t *sink;
    gpb_stream_t *stream;
    char in [64], out [64];
    bool ends_memory;    //  no request can be made
} s_fixture_t;

static gpb_request_t *
s_request (void *context, const void *data, size_t size)
{
    const s_fixture_t *self = context;
    gpb_request_t *request = self->ends_memory ? NULL : gpb_request_execute ("double");
    gpb_request_in (request, data, size);
    gpb_request_out (request, 0);
    return request;
}

//  A stream of a file of 0.0, 1.0...
static s_fixture_t *
s_open (size_t elements, size_t in_flight)
{
    static s_fixture_t fixture;
    s_fixture_t *self = &fixture;
    gpb_test_lanes_open (&self->node);
    self->client = gpb_test_lanes_client (&self->node);
    strcpy (self->in, "/tmp/gpb_stream.XXXXXX");
    int file = mkstemp (self->in);
    for (size_t index = 0; index < elements; index++) {
        float value = (float) index;
        ck_assert_int_eq (write (file, &value, sizeof value), sizeof value);
    }
    close (file);
    snprintf (self->out, sizeof self->out, "%s.out", self->in);
    self->source = gpb_source_new (self->in, PIECE, sizeof (float), &error);
    ck_assert_ptr_nonnull (self->source);
    self->sink = gpb_sink_new (self->out, self->source, &error);
    ck_assert_ptr_nonnull (self->sink);
    const gpb_stream_args_t args = { .client = self->client,
                                     .source = self->source,
                                     .sink = self->sink,
                                     .piece_size = PIECE,
                                     .in_flight = in_flight,
                                     .request = s_request,
                                     .context = self };
    self->stream = gpb_stream_new (&args, &error);
    ck_assert_ptr_nonnull (self->stream);
    return self;
}

//  The output must be the first so many values, doubled.
static void
s_close (s_fixture_t *self, size_t elements)
{
    gpb_stream_destroy (&self->stream);
    ck_assert_ptr_null (self->stream);
    gpb_sink_destroy (&self->sink);
    gpb_source_destroy (&self->source);
    gpb_client_destroy (&self->client);
    gpb_test_lanes_close (&self->node);
    FILE *out = fopen (self->out, "rb");
    ck_assert_ptr_nonnull (out);
    float value;
    for (size_t index = 0; index < elements; index++) {
        ck_assert_uint_eq (fread (&value, sizeof value, 1, out), 1);
        ck_assert_float_eq (value, 2 * (float) index);
    }
    ck_assert_uint_eq (fread (&value, 1, 1, out), 0);
    fclose (out);
    unlink (self->in);
    unlink (self->out);
}

static const gpb_stream_figures_t *
s_figures (const s_fixture_t *self)
{
    return gpb_stream_figures (self->stream);
}

//  Works until so many messages are answered; it goes on then.
static void
s_work_until_answered (s_fixture_t *self, uint64_t answered)
{
    uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    for (;;) {
        ck_assert_int_eq (gpb_stream_work (self->stream, &error), GPB_STREAM_GOES_ON);
        if (s_figures (self)->answered == answered)
            return;
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        gpb_stream_wait (self->stream, 5);
    }
}

static gpb_stream_state_t
s_work_to_the_end (s_fixture_t *self)
{
    uint64_t end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    gpb_stream_state_t state;
    while ((state = gpb_stream_work (self->stream, &error)) == GPB_STREAM_GOES_ON) {
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        gpb_stream_wait (self->stream, 5);
    }
    return state;
}

START_TEST (test_answers_in_any_order_are_written_in_that_of_the_messages)
{
    enum { COUNT = 100 };
    s_fixture_t *self = s_open (COUNT * ELEMENTS - 3, COUNT);
    ck_assert_int_eq (gpb_stream_work (self->stream, &error), GPB_STREAM_GOES_ON);
    gpb_test_lanes_take (&self->node, COUNT);
    ck_assert_uint_eq (self->node.messages [COUNT - 1].size, sizeof (float));
    //  37 has no factor in common with 100: every message once, none in order.
    for (size_t index = 0; index < COUNT; index++)
        gpb_test_lanes_answer (&self->node, index * 37 % COUNT);
    ck_assert_int_eq (s_work_to_the_end (self), GPB_STREAM_DONE);
    const gpb_stream_figures_t *figures = s_figures (self);
    ck_assert_uint_eq (figures->sent, COUNT);
    ck_assert_uint_eq (figures->answered, COUNT);
    ck_assert_uint_eq (figures->written, COUNT);
    ck_assert_uint_eq (figures->input_size, (COUNT * ELEMENTS - 3) * sizeof (float));
    ck_assert_uint_eq (figures->round_trips.count, COUNT);
    ck_assert_uint_eq (figures->spans.count, COUNT);
    ck_assert_str_eq (figures->node, "lanes");
    ck_assert_uint_eq (gpb_sink_size (self->sink), figures->input_size);
    s_close (self, COUNT * ELEMENTS - 3);
}
END_TEST

START_TEST (test_what_is_in_flight_has_its_bound)
{
    enum { COUNT = 60, IN_FLIGHT = 4 };
    s_fixture_t *self = s_open (COUNT * ELEMENTS, IN_FLIGHT);
    ck_assert_int_eq (gpb_stream_work (self->stream, &error), GPB_STREAM_GOES_ON);
    ck_assert_uint_eq (s_figures (self)->sent, IN_FLIGHT);
    //  Another answer is another message...
    gpb_test_lanes_take (&self->node, IN_FLIGHT);
    size_t answered = 0;
    for (; answered < 3 * IN_FLIGHT; answered++) {
        gpb_test_lanes_take (&self->node, answered + 2);
        gpb_test_lanes_answer (&self->node, answered + 1);
        s_work_until_answered (self, answered + 1);
        ck_assert_uint_eq (s_figures (self)->sent, IN_FLIGHT + answered + 1);
    }
    //  ...until too many wait for the first one.
    ck_assert_uint_eq (s_figures (self)->written, 0);
    ck_assert_uint_eq (s_figures (self)->sent, 4 * IN_FLIGHT);
    gpb_test_lanes_take (&self->node, 4 * IN_FLIGHT);
    gpb_test_lanes_answer (&self->node, answered + 1);
    s_work_until_answered (self, answered + 1);
    ck_assert_uint_eq (s_figures (self)->sent, 4 * IN_FLIGHT);
    //  With it they all go.
    gpb_test_lanes_answer (&self->node, 0);
    s_work_until_answered (self, answered + 2);
    ck_assert_uint_eq (s_figures (self)->written, answered + 2);
    for (size_t index = answered + 2; index < COUNT; index++) {
        gpb_test_lanes_take (&self->node, index + 1);
        gpb_test_lanes_answer (&self->node, index);
        if (index + 1 < COUNT)
            s_work_until_answered (self, index + 1);
    }
    ck_assert_int_eq (s_work_to_the_end (self), GPB_STREAM_DONE);
    s_close (self, COUNT * ELEMENTS);
}
END_TEST

START_TEST (test_a_refusal_ends_it_behind_the_last_good_answer)
{
    enum { COUNT = 40, IN_FLIGHT = 10 };
    s_fixture_t *self = s_open (COUNT * ELEMENTS, IN_FLIGHT);
    ck_assert_int_eq (gpb_stream_work (self->stream, &error), GPB_STREAM_GOES_ON);
    gpb_test_lanes_take (&self->node, IN_FLIGHT);
    //  Message 8 is refused, and then, an earlier one, 5.
    gpb_test_lanes_refuse (&self->node, 7, GPB_ABORTED, 0);
    s_work_until_answered (self, 1);
    ck_assert_uint_eq (s_figures (self)->sent, IN_FLIGHT);
    gpb_test_lanes_answer (&self->node, 9);
    gpb_test_lanes_refuse (&self->node, 4, GPB_DATA_LOSS, 0);
    s_work_until_answered (self, 3);
    for (size_t index = 0; index < 4; index++)
        gpb_test_lanes_answer (&self->node, index);
    ck_assert_int_eq (s_work_to_the_end (self), GPB_STREAM_FAILED);
    ck_assert_int_eq (error.status, GPB_DATA_LOSS);
    ck_assert_str_eq (error.text, "message 5: refused by the test");
    ck_assert_uint_eq (s_figures (self)->written, 4);
    ck_assert_uint_eq (s_figures (self)->sent, IN_FLIGHT);
    ck_assert_uint_eq (gpb_sink_size (self->sink), 4 * PIECE);
    s_close (self, 4 * ELEMENTS);
}
END_TEST

START_TEST (test_a_full_queue_is_asked_again_in_time)
{
    enum { COUNT = 3 };
    s_fixture_t *self = s_open (COUNT * ELEMENTS, COUNT);
    gpb_client_set_retries (self->client, 5);
    ck_assert_int_eq (gpb_stream_work (self->stream, &error), GPB_STREAM_GOES_ON);
    gpb_test_lanes_take (&self->node, COUNT);
    gpb_test_lanes_refuse (&self->node, 1, GPB_RESOURCE_EXHAUSTED, 20);
    uint64_t refused_ns = gpb_clock_ns ();
    while (gpb_test_lanes_taken (&self->node) == COUNT) {
        ck_assert_int_eq (gpb_stream_work (self->stream, &error), GPB_STREAM_GOES_ON);
        ck_assert_uint_lt (gpb_clock_ns () - refused_ns, 20 * GPB_NS_PER_S);
        gpb_stream_wait (self->stream, 5);
    }
    ck_assert_uint_ge (gpb_clock_ns () - refused_ns, 20 * GPB_NS_PER_MS);
    ck_assert_uint_eq (self->node.messages [COUNT].id, self->node.messages [1].id);
    gpb_test_lanes_answer (&self->node, COUNT);
    gpb_test_lanes_answer (&self->node, 2);
    gpb_test_lanes_answer (&self->node, 0);
    ck_assert_int_eq (s_work_to_the_end (self), GPB_STREAM_DONE);
    s_close (self, COUNT * ELEMENTS);
}
END_TEST

START_TEST (test_an_empty_file_is_done_at_once)
{
    s_fixture_t *self = s_open (0, 1);
    ck_assert_int_eq (gpb_stream_work (self->stream, &error), GPB_STREAM_DONE);
    ck_assert_uint_eq (s_figures (self)->sent, 0);
    s_close (self, 0);
}
END_TEST

START_TEST (test_what_was_sent_before_a_bad_end_is_written)
{
    s_fixture_t *self = s_open (2 * ELEMENTS, 8);
    ck_assert_int_eq (truncate (self->in, 2 * PIECE - 1), 0);
    ck_assert_int_eq (gpb_stream_work (self->stream, &error), GPB_STREAM_GOES_ON);
    gpb_test_lanes_take (&self->node, 1);
    gpb_test_lanes_answer (&self->node, 0);
    ck_assert_int_eq (s_work_to_the_end (self), GPB_STREAM_FAILED);
    ck_assert_int_eq (error.status, GPB_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull (strstr (error.text, "ends within an element"));
    s_close (self, ELEMENTS);
}
END_TEST

START_TEST (test_a_pipe_gives_its_messages_as_they_come)
{
    s_fixture_t *self = s_open (0, 8);
    gpb_source_destroy (&self->source);
    int ends [2];
    char path [64];
    ck_assert_int_eq (pipe (ends), 0);
    snprintf (path, sizeof path, "/dev/fd/%d", ends [0]);
    self->source = gpb_source_new (path, PIECE, sizeof (float), &error);
    gpb_stream_destroy (&self->stream);
    const gpb_stream_args_t args = { self->client, self->source, self->sink, PIECE, 8,
                                     s_request,    self };
    self->stream = gpb_stream_new (&args, &error);
    static const float values [] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    for (size_t index = 0; index < 2; index++) {
        ck_assert_int_eq (gpb_stream_work (self->stream, &error), GPB_STREAM_GOES_ON);
        ck_assert_uint_eq (s_figures (self)->sent, index);
        ck_assert_int_eq (write (ends [1], values + index * ELEMENTS, PIECE), (ssize_t) PIECE);
        gpb_stream_wait (self->stream, 20000);
        ck_assert_int_eq (gpb_stream_work (self->stream, &error), GPB_STREAM_GOES_ON);
        gpb_test_lanes_take (&self->node, index + 1);
        gpb_test_lanes_answer (&self->node, index);
        //  Its answer does not wait for the next message.
        s_work_until_answered (self, index + 1);
        ck_assert_uint_eq (gpb_sink_size (self->sink), (index + 1) * PIECE);
    }
    close (ends [1]);
    ck_assert_int_eq (s_work_to_the_end (self), GPB_STREAM_DONE);
    close (ends [0]);
    s_close (self, 2 * ELEMENTS);
}
END_TEST

START_TEST (test_a_sink_that_takes_nothing_ends_it)
{
    s_fixture_t *self = s_open (ELEMENTS, 1);
    gpb_stream_destroy (&self->stream);
    gpb_sink_destroy (&self->sink);
    self->sink = gpb_sink_new ("/dev/full", self->source, &error);
    const gpb_stream_args_t args = { self->client, self->source, self->sink, PIECE, 1,
                                     s_request,    self };
    self->stream = gpb_stream_new (&args, &error);
    ck_assert_int_eq (gpb_stream_work (self->stream, &error), GPB_STREAM_GOES_ON);
    gpb_test_lanes_take (&self->node, 1);
    gpb_test_lanes_answer (&self->node, 0);
    ck_assert_int_eq (s_work_to_the_end (self), GPB_STREAM_FAILED);
    ck_assert_ptr_nonnull (strstr (error.text, "/dev/full: cannot be written"));
    s_close (self, 0);
}
END_TEST

START_TEST (test_the_end_of_memory_is_said)
{
    s_fixture_t *self = s_open (ELEMENTS, 1);
    const gpb_stream_args_t args = { self->client, self->source, self->sink, PIECE, 1,
                                     s_request,    self };
    for (int64_t after = 0; after < 2; after++) {
        gpb_alloc_fail (after, 0);
        gpb_stream_t *none = gpb_stream_new (&args, &error);
        gpb_alloc_fail (-1, 0);
        ck_assert_ptr_null (none);
        ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    }
    self->ends_memory = true;
    ck_assert_int_eq (gpb_stream_work (self->stream, &error), GPB_STREAM_FAILED);
    ck_assert_int_eq (error.status, GPB_RESOURCE_EXHAUSTED);
    ck_assert_uint_eq (s_figures (self)->sent, 0);
    s_close (self, 0);
}
END_TEST

GPB_TEST_MAIN ("gpb_stream", 30, test_answers_in_any_order_are_written_in_that_of_the_messages,
               test_what_is_in_flight_has_its_bound,
               test_a_refusal_ends_it_behind_the_last_good_answer,
               test_a_full_queue_is_asked_again_in_time, test_an_empty_file_is_done_at_once,
               test_what_was_sent_before_a_bad_end_is_written,
               test_a_pipe_gives_its_messages_as_they_come, test_a_sink_that_takes_nothing_ends_it,
               test_the_end_of_memory_is_said)
