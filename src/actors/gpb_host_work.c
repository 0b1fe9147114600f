//  gpb_host_work - messages to persistent kernels, from request to answer
//
//  A request that is well becomes a task. Where a lane that may have it is on the device and has
//  room, its input is copied there at once; else it waits, with its frame, in the queue of its lane
//  or of its kernel. The oldest goes first, and what is bound to no lane goes to the emptiest one.
//  Answers come out of each ring in the order of their messages, and each finds its task by its
//  index. One that was answered early stays where it is until its turn has come, and is dropped.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_host_private.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"

#include <inttypes.h>
#include <string.h>

//  With so many messages in the emptiest lane on the device, another lane of the kernel's gets a
//  free seat: waking costs some 100 us, which is what a lane does some hundred messages in.
#define CROWDED 32

//  A lane that has answered nothing for so long gets no messages that another one may have.
#define SLOW_NS (50 * GPB_NS_PER_MS)

//  ---------------------------------------------------------------------------------------------------------
//  Tasks

static gpb_task_t **
s_chain (gpb_host_t *self, uint64_t id)
{
    return &self->chains [id & (GPB_HOST_CHAINS - 1)];
}

static gpb_task_t *
s_find (gpb_host_t *self, const gpb_owner_t *owner, uint64_t id)
{
    gpb_task_t *task = *s_chain (self, id);
    while (task && (task->answered || task->id != id || !gpb_owner_same (&task->owner, owner)))
        task = task->chain_next;
    return task;
}

static gpb_task_t *
s_task_new (gpb_host_t *self, gpb_hosted_t *hosted, gpb_call_t *call, gpb_error_t *error)
{
    gpb_task_t *task = self->spare;
    if (task)
        self->spare = task->next;
    else
        task = gpb_alloc (1, sizeof *task);
    if (!task || !gpb_heap_reserve (&self->deadlines, 1)) {
        gpb_free (task);
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for one more message");
        return NULL;
    }
    //  The envelope's frames are initialised where they are used.
    task->connection = call->connection;
    task->owner = call->owner;
    task->id = call->request->id;
    task->received_ns = call->received_ns;
    task->deadline = (gpb_heap_node_t){ .key = call->deadline_ns };
    task->has_frame = task->answered = task->is_launched = false;
    task->published = (gpb_ticks_instant_t){ 0, 0 };
    task->hosted = hosted;
    task->number = self->numbers++;
    task->previous = task->next = NULL;
    task->envelope_count = call->message->envelope_count;
    for (size_t index = 0; index < task->envelope_count; index++) {
        zmq_msg_init (&task->envelope [index]);
        zmq_msg_move (&task->envelope [index], &call->message->envelope [index]);
    }
    gpb_heap_add (&self->deadlines, &task->deadline);
    gpb_task_t **chain = s_chain (self, task->id);
    task->chain_previous = NULL;
    task->chain_next = *chain;
    if (*chain)
        (*chain)->chain_previous = task;
    *chain = task;
    self->unanswered++;
    hosted->tasks++;
    return task;
}

static void
s_drop_frame (gpb_task_t *task)
{
    if (task->has_frame)
        zmq_msg_close (&task->input);
    task->has_frame = false;
}

//  The task is answered, or nobody waits for it: it has no deadline any more.
static void
s_task_answered (gpb_host_t *self, gpb_task_t *task)
{
    if (task->answered)
        return;
    task->answered = true;
    gpb_heap_remove (&self->deadlines, &task->deadline);
    for (size_t index = 0; index < task->envelope_count; index++)
        zmq_msg_close (&task->envelope [index]);
    task->envelope_count = 0;
    self->unanswered--;
}

//  It is in no list, ring or place any more.
static void
s_task_free (gpb_host_t *self, gpb_task_t *task)
{
    s_task_answered (self, task);
    s_drop_frame (task);
    if (task->chain_next)
        task->chain_next->chain_previous = task->chain_previous;
    if (task->chain_previous)
        task->chain_previous->chain_next = task->chain_next;
    else
        *s_chain (self, task->id) = task->chain_next;
    task->hosted->tasks--;
    task->next = self->spare;
    self->spare = task;
}

//  ---------------------------------------------------------------------------------------------------------
//  Queues

static gpb_tasks_t *
s_queue (const gpb_task_t *task)
{
    gpb_hosted_t *hosted = task->hosted;
    return task->on_demand  ? &hosted->waiting_once
           : task->is_bound ? &hosted->lanes [task->lane].waiting
                            : &hosted->waiting;
}

static void
s_enqueue (gpb_task_t *task)
{
    gpb_tasks_t *queue = s_queue (task);
    task->previous = queue->last;
    task->next = NULL;
    if (queue->last)
        queue->last->next = task;
    else
        queue->first = task;
    queue->last = task;
    task->hosted->waiting_count++;
    task->hosted->waiting_size += task->message.size;
}

static void
s_dequeue (gpb_task_t *task)
{
    gpb_tasks_t *queue = s_queue (task);
    if (task->previous)
        task->previous->next = task->next;
    else
        queue->first = task->next;
    if (task->next)
        task->next->previous = task->previous;
    else
        queue->last = task->previous;
    task->hosted->waiting_count--;
    task->hosted->waiting_size -= task->message.size;
}

static bool
s_is_waiting (const gpb_task_t *task)
{
    return task->has_frame;
}

//  ---------------------------------------------------------------------------------------------------------
//  Answers

//  The envelope, in a message of its own.
static void
s_take_envelope (gpb_task_t *task, gpb_message_t *message)
{
    gpb_message_init (message);
    for (size_t index = 0; index < task->envelope_count; index++) {
        zmq_msg_init (&message->envelope [index]);
        zmq_msg_move (&message->envelope [index], &task->envelope [index]);
    }
    message->envelope_count = task->envelope_count;
}

//  Answers a task, wherever it stands.
static void
s_refuse (gpb_host_t *self, gpb_task_t *task, const gpb_error_t *error)
{
    if (task->answered)
        return;
    gpb_message_t message;
    s_take_envelope (task, &message);
    gpb_service_refuse (self->service, task->connection, &message, task->id, error);
    task->hosted->failed++;
    task->hosted->on_demand += task->on_demand;
    s_task_answered (self, task);
}

//  Answers a task, and has it leave its queue, or its lane where its handler has not begun.
static void
s_end (gpb_host_t *self, gpb_task_t *task, const gpb_error_t *error)
{
    s_refuse (self, task, error);
    if (s_is_waiting (task)) {
        s_dequeue (task);
        s_task_free (self, task);
    }
    else if (!task->is_launched)
        gpb_ring_cancel (&task->hosted->resident->lanes [task->lane].ring, task->index);
}

static void
s_fill_timing (gpb_task_t *task, const gpb_ring_answer_t *answer, const gpb_ticks_instant_t *seen,
               Gpb__V1__MessageTiming *timing)
{
    gpb_ticks_spans_t spans;
    gpb_ticks_t *clock = &task->hosted->clock;
    timing->measured = gpb_ticks_spans (clock, &task->published, seen, answer->taken_ticks,
                                        answer->done_ticks, &spans);
    timing->clock = (char *) gpb_ticks_name (clock);
    timing->queued_ns = task->published.ns - task->received_ns;
    timing->ring_ns = seen->ns - task->published.ns;
    timing->queued_ns += timing->queued_ns == 0;    //  a clock's step, never nothing
    timing->ring_ns += timing->ring_ns == 0;
    if (timing->measured) {
        timing->taken_ns = spans.taken_ns;
        timing->handler_ns = spans.handler_ns;
        timing->back_ns = spans.back_ns;
    }
    timing->lane = task->on_demand ? 0 : task->lane;
    timing->on_demand = task->on_demand;
}

static gpb_status_t
s_fill_result (const gpb_task_t *task, const void *output, uint32_t size, gpb_message_t *message,
               Gpb__V1__Result *result, gpb_error_t *error)
{
    result->argument = task->output;
    result->size = size;
    if (task->inline_results && size <= GPB_INLINE_MAX_SIZE) {
        result->value_case = GPB__V1__RESULT__VALUE_INLINE;
        result->inline_.len = size;
        result->inline_.data = (uint8_t *) output;    //  packing reads it
        return GPB_OK;
    }
    zmq_msg_t frame;
    if (zmq_msg_init_size (&frame, size) != 0)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "no memory for a result of %" PRIu32 " bytes", size);
    memcpy (zmq_msg_data (&frame), output, size);
    result->value_case = GPB__V1__RESULT__VALUE_FRAME;
    gpb_status_t status = gpb_message_add (message, &frame, error);
    zmq_msg_close (&frame);
    return status;
}

static void
s_reply (gpb_host_t *self, gpb_task_t *task, const void *output, const gpb_ring_answer_t *answer,
         const gpb_ticks_instant_t *seen)
{
    gpb_error_t error;
    gpb_message_t message;
    Gpb__V1__Result result = GPB__V1__RESULT__INIT;
    s_take_envelope (task, &message);
    if (s_fill_result (task, output, answer->size, &message, &result, &error) != GPB_OK) {
        gpb_service_refuse (self->service, task->connection, &message, task->id, &error);
        task->hosted->failed++;
        return;
    }
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    Gpb__V1__ExecuteReply execute = GPB__V1__EXECUTE_REPLY__INIT;
    Gpb__V1__Timing timing = GPB__V1__TIMING__INIT;
    Gpb__V1__MessageTiming message_timing = GPB__V1__MESSAGE_TIMING__INIT;
    Gpb__V1__Result *results [] = { &result };
    s_fill_timing (task, answer, seen, &message_timing);
    timing.host_copied = (uint64_t) task->message.size + answer->size;
    timing.device_ns = seen->ns - task->received_ns;
    execute.n_results = 1;
    execute.results = results;
    execute.timing = &timing;
    execute.message = &message_timing;
    execute.device = self->shared->index;
    execute.node = self->node;
    reply.id = task->id;
    reply.body_case = GPB__V1__REPLY__BODY_EXECUTE;
    reply.execute = &execute;
    gpb_service_reply (self->service, task->connection, &message, &reply);
    task->hosted->answered++;
    task->hosted->on_demand += task->on_demand;
    if (!task->on_demand)
        task->hosted->lanes [task->lane].answered++;
    gpb_histogram_record (&task->hosted->latency, seen->ns - task->received_ns);
}

//  What came of a task's message. A task that is answered already is dropped.
static void
s_conclude (gpb_host_t *self, gpb_task_t *task, const void *output, const gpb_ring_answer_t *answer)
{
    if (!task->answered && answer->outcome == GPB_RING_OK) {
        const gpb_ticks_instant_t seen = gpb_ticks_now (&task->hosted->clock);
        s_reply (self, task, output, answer, &seen);
    }
    else if (!task->answered) {
        gpb_error_t error;
        gpb_error_set (&error, GPB_INTERNAL,
                       "the handler of kernel %s says that it wrote more than the %" PRIu32
                       " bytes that there was room for",
                       gpb_kernel_id (task->hosted->kernel), task->message.capacity);
        s_refuse (self, task, &error);
    }
}

void
gpb_host_collect_lane (gpb_host_t *self, gpb_hosted_t *hosted, unsigned number)
{
    gpb_resident_t *resident = hosted->resident;
    gpb_ring_t *ring = &resident->lanes [number].ring;
    gpb_hosted_lane_t *lane = &hosted->lanes [number];
    gpb_ring_answer_t answer;
    bool is_any = false;
    //  A full lap at the most, so that a lane that never stops holds up no other.
    for (uint32_t count = 0; count < ring->slots && gpb_ring_answer (ring, &answer); count++) {
        gpb_task_t *task = lane->tasks [answer.index & (ring->slots - 1)];
        s_conclude (self, task, gpb_resident_output (resident, &task->message, &answer), &answer);
        gpb_resident_give (resident, &task->message);
        gpb_ring_pop (ring);
        s_task_free (self, task);
        is_any = true;
    }
    if (is_any)
        lane->progress_ns = self->progress_ns = gpb_clock_ns ();
}

void
gpb_host_collect (gpb_host_t *self)
{
    for (unsigned seat = 0; seat < self->seats_count; seat++)
        if (self->seats [seat].hosted)
            gpb_host_collect_lane (self, self->seats [seat].hosted, self->seats [seat].lane);
}

static const gpb_lane_t *
s_seated (const gpb_seat_t *seat)
{
    return &seat->hosted->resident->lanes [seat->lane];
}

bool
gpb_host_is_due (const gpb_host_t *self)
{
    for (unsigned seat = 0; seat < self->seats_count; seat++)
        if (self->seats [seat].hosted
            && s_seated (&self->seats [seat])->state != GPB_LANE_QUARANTINED
            && gpb_ring_waiting (&s_seated (&self->seats [seat])->ring) > 0)
            return true;
    return false;
}

bool
gpb_host_is_answered (const gpb_host_t *self)
{
    gpb_ring_answer_t answer;
    for (unsigned seat = 0; seat < self->seats_count; seat++)
        if (self->seats [seat].hosted
            && gpb_ring_answer (&s_seated (&self->seats [seat])->ring, &answer))
            return true;
    return false;
}

void
gpb_host_collect_launched (gpb_host_t *self)
{
    for (gpb_hosted_t *hosted = self->hosted; hosted; hosted = hosted->next)
        for (int place = 0; hosted->launched_count > 0 && place < GPB_ONCE_PLACES_MAX; place++) {
            gpb_task_t *task = hosted->launched [place];
            bool is_done;
            gpb_ring_answer_t answer;
            gpb_error_t error;
            if (!task)
                continue;
            gpb_status_t status = gpb_once_answer (hosted->once, place, &is_done, &answer, &error);
            if (!is_done)
                continue;
            if (status == GPB_OK)
                s_conclude (self, task, answer.output, &answer);
            else
                s_refuse (self, task, &error);
            gpb_once_give (hosted->once, place);
            hosted->launched [place] = NULL;
            hosted->launched_count--;
            hosted->once_progress_ns = gpb_clock_ns ();
            s_task_free (self, task);
        }
}

//  ---------------------------------------------------------------------------------------------------------
//  To the lanes

//  The lane for one that is bound to none: of those on the device with room, the one that has the
//  least, before those that have answered nothing for a while. -1: none has room.
static int
s_emptiest (const gpb_hosted_t *hosted, uint64_t now_ns)
{
    int found = -1;
    uint64_t least = UINT64_MAX;
    for (unsigned number = 0; number < hosted->resident->lanes_count; number++) {
        const gpb_lane_t *lane = &hosted->resident->lanes [number];
        if (lane->state != GPB_LANE_RESIDENT || gpb_ring_room (&lane->ring) == 0)
            continue;
        uint64_t waiting = gpb_ring_waiting (&lane->ring);
        if (waiting > 0 && now_ns - hosted->lanes [number].progress_ns > SLOW_NS)
            waiting += UINT32_MAX;
        if (waiting < least) {
            found = (int) number;
            least = waiting;
        }
    }
    return found;
}

//  Copies a task's input to its lane, and publishes it. False: the heap has no block for it now.
static bool
s_publish (gpb_host_t *self, gpb_task_t *task, unsigned number, const void *input)
{
    gpb_hosted_t *hosted = task->hosted;
    gpb_resident_t *resident = hosted->resident;
    gpb_ring_t *ring = &resident->lanes [number].ring;
    if (!gpb_resident_take (resident, &task->message))
        return false;
    gpb_hosted_lane_t *lane = &hosted->lanes [number];
    memcpy (gpb_resident_input (resident, number, &task->message), input, task->message.size);
    task->lane = number;
    task->published = gpb_ticks_now (&hosted->clock);
    if (gpb_ring_waiting (ring) == 0)
        lane->progress_ns = task->published.ns;
    self->progress_ns = task->published.ns;
    lane->tasks [ring->published & (ring->slots - 1)] = task;
    task->index = gpb_ring_publish (ring, &task->message);
    return true;
}

//  The same for one that waits, which leaves its queue. One that is bound to no lane keeps that.
static bool
s_publish_waiting (gpb_host_t *self, gpb_task_t *task, unsigned lane)
{
    gpb_tasks_t *queue = s_queue (task);
    if (!s_publish (self, task, lane, zmq_msg_data (&task->input)))
        return false;
    assert (queue == s_queue (task));
    s_dequeue (task);
    s_drop_frame (task);
    return true;
}

static void
s_dispatch_bound (gpb_host_t *self, gpb_hosted_t *hosted, unsigned number)
{
    const gpb_lane_t *lane = &hosted->resident->lanes [number];
    gpb_tasks_t *waiting = &hosted->lanes [number].waiting;
    const bool is_away = lane->state == GPB_LANE_PARKED || lane->state == GPB_LANE_FAILED;
    if (is_away && (waiting->first || gpb_ring_waiting (&lane->ring) > 0)
        && !gpb_host_seat (self, hosted, number))
        return;
    while (waiting->first && lane->state == GPB_LANE_RESIDENT && gpb_ring_room (&lane->ring) > 0)
        if (!s_publish_waiting (self, waiting->first, number))
            break;
}

//  Another lane, where the emptiest is crowded or there is none: the next that is not on the
//  device.
static bool
s_seat_another (gpb_host_t *self, gpb_hosted_t *hosted)
{
    const unsigned count = hosted->resident->lanes_count;
    for (unsigned step = 0; step < count; step++) {
        const unsigned number = (hosted->turn + step) % count;
        gpb_lane_state_t state = hosted->resident->lanes [number].state;
        if (state == GPB_LANE_PARKED || state == GPB_LANE_FAILED)
            return gpb_host_seat (self, hosted, number);
    }
    return false;
}

static bool
s_has_free_seat (const gpb_host_t *self)
{
    for (unsigned seat = 0; seat < self->seats_count; seat++)
        if (!self->seats [seat].hosted)
            return true;
    return false;
}

static void
s_dispatch_free (gpb_host_t *self, gpb_hosted_t *hosted)
{
    const uint64_t now_ns = gpb_clock_ns ();
    while (hosted->waiting.first) {
        int lane = s_emptiest (hosted, now_ns);
        if (lane < 0) {
            if (!s_seat_another (self, hosted))
                return;
            continue;
        }
        if (gpb_ring_waiting (&hosted->resident->lanes [lane].ring) >= CROWDED
            && s_has_free_seat (self) && s_seat_another (self, hosted))
            continue;
        //  What is bound to that lane, and is older, goes first.
        gpb_task_t *bound = hosted->lanes [lane].waiting.first, *next = hosted->waiting.first;
        if (bound && bound->number < next->number)
            next = bound;
        if (!s_publish_waiting (self, next, (unsigned) lane))
            return;
    }
}

static void
s_launch (gpb_host_t *self, gpb_hosted_t *hosted)
{
    gpb_error_t error = { GPB_OK, "" };
    while (hosted->waiting_once.first && error.status == GPB_OK) {
        gpb_task_t *task = hosted->waiting_once.first;
        if (!hosted->once)
            gpb_host_open_once (self, hosted, &error);
        int place = hosted->once ? gpb_once_place (hosted->once) : -1;
        if (hosted->once && place < 0)
            return;
        if (hosted->once) {
            memcpy (gpb_once_input (hosted->once, place), zmq_msg_data (&task->input),
                    task->message.size);
            task->published = gpb_ticks_now (&hosted->clock);
            gpb_once_launch (hosted->once, place, task->message.size, task->message.capacity,
                             &error);
        }
        s_dequeue (task);
        s_drop_frame (task);
        if (error.status != GPB_OK) {
            s_refuse (self, task, &error);
            s_task_free (self, task);
            continue;
        }
        if (hosted->launched_count++ == 0)
            hosted->once_progress_ns = task->published.ns;
        hosted->launched [place] = task;
        task->is_launched = true;
    }
}

static void
s_dispatch (gpb_host_t *self, gpb_hosted_t *hosted)
{
    if (!hosted->resident || hosted->heir_of)
        return;
    s_launch (self, hosted);
    s_dispatch_free (self, hosted);
    //  Behind that, since a lane that wants a seat takes it from one that has nothing to do.
    const unsigned count = hosted->resident->lanes_count, turn = hosted->turn;
    for (unsigned step = 0; step < count; step++)
        s_dispatch_bound (self, hosted, (turn + step) % count);
}

//  Those whose turn it is to get a seat come first.
void
gpb_host_dispatch (gpb_host_t *self)
{
    gpb_hosted_t *turn = self->turn;
    for (gpb_hosted_t *hosted = turn; hosted; hosted = hosted->next)
        s_dispatch (self, hosted);
    for (gpb_hosted_t *hosted = self->hosted; hosted && hosted != turn; hosted = hosted->next)
        s_dispatch (self, hosted);
}

//  ---------------------------------------------------------------------------------------------------------
//  Requests

typedef struct {
    gpb_value_t values [2];
    uint32_t input, output;    //  positions among the arguments
    const void *data;
    zmq_msg_t *frame;    //  that data stands in; NULL: it stands in the header
} s_message_t;

//  What stands in an argument of a message: its payload, or room for its output.
static gpb_status_t
s_read_argument (const gpb_call_t *call, uint32_t index, s_message_t *message, gpb_error_t *error)
{
    const Gpb__V1__Argument *argument = call->request->execute->arguments [index];
    gpb_value_t *value = &message->values [index];
    switch (argument->value_case) {
    case GPB__V1__ARGUMENT__VALUE_FRAME:
        if (argument->frame >= call->message->payloads_count)
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "argument %" PRIu32 " is payload frame %" PRIu32
                                  ", and %zu came along",
                                  index, argument->frame, call->message->payloads_count);
        message->frame = &call->message->payloads [argument->frame];
        message->data = zmq_msg_data (message->frame);
        message->input = index;
        *value = (gpb_value_t){ .kind = GPB_VALUE_PAYLOAD, .size = zmq_msg_size (message->frame) };
        return GPB_OK;
    case GPB__V1__ARGUMENT__VALUE_INLINE:
        message->data = argument->inline_.data;
        message->input = index;
        *value = (gpb_value_t){ .kind = GPB_VALUE_PAYLOAD, .size = argument->inline_.len };
        return GPB_OK;
    case GPB__V1__ARGUMENT__VALUE_OUTPUT:
        message->output = index;
        *value = (gpb_value_t){ .kind = GPB_VALUE_OUTPUT, .size = argument->output->size };
        return GPB_OK;
    default:
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "argument %" PRIu32 " of a message to a persistent kernel is a frame "
                              "or inline bytes for its input, and an output for its answer",
                              index);
    }
}

static gpb_status_t
s_read_message (const gpb_hosted_t *hosted, const gpb_call_t *call, s_message_t *message,
                uint64_t *output_size_p, gpb_error_t *error)
{
    const Gpb__V1__Execute *request = call->request->execute;
    if (request->n_arguments > 2)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "a message to a persistent kernel has 2 arguments, not %zu",
                              request->n_arguments);
    if (request->n_global || request->n_local
        || request->dynamic_local_memory_case != GPB__V1__EXECUTE__DYNAMIC_LOCAL_MEMORY__NOT_SET
        || request->reservation)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "a message to a persistent kernel has no work size, local memory or "
                              "reservation: its lanes have them already");
    gpb_status_t status = GPB_OK;
    for (uint32_t index = 0; status == GPB_OK && index < request->n_arguments; index++)
        status = s_read_argument (call, index, message, error);
    const size_t frames = message->frame ? 1 : 0;
    if (status == GPB_OK && call->message->payloads_count > frames)
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                "%zu payload frames came along, and %zu of them are used",
                                call->message->payloads_count, frames);
    const gpb_kernel_call_t values = { .values = message->values,
                                       .values_count = request->n_arguments };
    return status == GPB_OK
               ? gpb_kernel_plan_message (hosted->kernel, &values, output_size_p, error)
               : status;
}

static gpb_status_t
s_check_call (gpb_host_t *self, const gpb_call_t *call, gpb_error_t *error)
{
    const Gpb__V1__Execute *request = call->request->execute;
    if (gpb_clock_ns () >= call->deadline_ns)
        return gpb_error_set (error, GPB_DEADLINE_EXCEEDED,
                              "the request's time was up before it began");
    //  A broker has looked already, and ids behind it are its clients'.
    if (!call->owner.behind && s_find (self, &call->owner, call->request->id))
        return gpb_error_set (error, GPB_ALREADY_EXISTS,
                              "request %" PRIu64 " of this connection is in flight",
                              call->request->id);
    if (request->placement_case == GPB__V1__EXECUTE__PLACEMENT_DEVICE
        && request->device != self->shared->index)
        return gpb_error_set (error, GPB_NOT_FOUND, "device %u: this is the host of device %u",
                              request->device, self->shared->index);
    return GPB_OK;
}

//  By how long what waits takes, roughly: as long as the messages before it took on average.
static uint32_t
s_retry_after_ms (const gpb_hosted_t *hosted)
{
    uint64_t ms = gpb_histogram_percentile (&hosted->latency, 50) / (uint64_t) GPB_NS_PER_MS;
    return ms < 1 ? 1 : ms > 1000 ? 1000 : (uint32_t) ms;
}

static gpb_status_t
s_admit (const gpb_host_t *self, const gpb_hosted_t *hosted, uint64_t size, gpb_error_t *error)
{
    if (hosted->waiting_count >= self->max_waiting)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "%" PRIu64 " messages wait for kernel %s on device %u, which is the "
                              "bound: try again in %" PRIu32 " ms",
                              hosted->waiting_count, gpb_kernel_id (hosted->kernel),
                              self->shared->index, s_retry_after_ms (hosted));
    if (hosted->waiting_count > 0 && hosted->waiting_size + size > self->max_waiting_size)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "%" PRIu64 " bytes wait for kernel %s on device %u, and the bound is "
                              "%" PRIu64 ": try again in %" PRIu32 " ms",
                              hosted->waiting_size, gpb_kernel_id (hosted->kernel),
                              self->shared->index, self->max_waiting_size,
                              s_retry_after_ms (hosted));
    return GPB_OK;
}

//  Its lane by its key: Fibonacci hashing (Knuth, TAOCP 3, 6.4), so that keys that count up spread.
static unsigned
s_lane_of (const gpb_hosted_t *hosted, uint64_t key)
{
    return (unsigned) (((key * 0x9E3779B97F4A7C15ULL) >> 32) % hosted->resident->lanes_count);
}

//  Publishes a task that has just come, where nothing is before it and a lane has room.
static bool
s_publish_now (gpb_host_t *self, gpb_task_t *task, const void *input)
{
    gpb_hosted_t *hosted = task->hosted;
    if (task->on_demand || hosted->heir_of || hosted->waiting.first)
        return false;
    int lane = -1;
    if (task->is_bound) {
        const gpb_lane_t *bound = &hosted->resident->lanes [task->lane];
        if (!hosted->lanes [task->lane].waiting.first && bound->state == GPB_LANE_RESIDENT
            && gpb_ring_room (&bound->ring) > 0)
            lane = (int) task->lane;
    }
    else {
        lane = s_emptiest (hosted, task->received_ns);
        if (lane >= 0 && hosted->resident->lanes_count > 1
            && gpb_ring_waiting (&hosted->resident->lanes [lane].ring) >= CROWDED)
            lane = -1;    //  another one may be woken for it
    }
    return lane >= 0 && s_publish (self, task, (unsigned) lane, input);
}

//  Keeps its input while it waits.
static gpb_status_t
s_keep (gpb_task_t *task, const s_message_t *message, gpb_error_t *error)
{
    if (message->frame) {
        zmq_msg_init (&task->input);
        zmq_msg_move (&task->input, message->frame);
    }
    else if (zmq_msg_init_size (&task->input, task->message.size) == 0)
        memcpy (zmq_msg_data (&task->input), message->data, task->message.size);
    else
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                              "no memory for a message of %" PRIu32 " bytes", task->message.size);
    task->has_frame = true;
    return GPB_OK;
}

void
gpb_host_handle_execute (void *actor, gpb_call_t *call)
{
    gpb_host_t *self = actor;
    const Gpb__V1__Execute *request = call->request->execute;
    gpb_error_t error;
    s_message_t message = { .data = NULL };
    uint64_t capacity = 0;
    gpb_hosted_t *hosted = NULL;
    gpb_status_t status = s_check_call (self, call, &error);
    if (status == GPB_OK && !(hosted = gpb_host_lookup (self, request->kernel, &error)))
        status = error.status;
    if (status == GPB_OK)
        status = s_read_message (hosted, call, &message, &capacity, &error);
    if (status != GPB_OK) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    const uint64_t size = message.values [message.input].size;
    if (s_admit (self, hosted, size, &error) != GPB_OK) {
        hosted->failed++;
        gpb_call_refuse_until (self->service, call, s_retry_after_ms (hosted), &error);
        return;
    }
    gpb_task_t *task = s_task_new (self, hosted, call, &error);
    if (!task) {
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    task->message =
        (gpb_ring_message_t){ .size = (uint32_t) size, .capacity = (uint32_t) capacity };
    task->output = message.output;
    task->inline_results = request->inline_results;
    task->on_demand =
        request->on_demand || !gpb_resident_has_lanes (hosted->resident) || self->seats_count == 0;
    task->is_bound = request->lane_case == GPB__V1__EXECUTE__LANE_LANE_KEY && !task->on_demand;
    task->lane = task->is_bound ? s_lane_of (hosted, request->lane_key) : 0;
    if (s_publish_now (self, task, message.data))
        return;
    if (s_keep (task, &message, &error) != GPB_OK) {
        s_refuse (self, task, &error);
        s_task_free (self, task);
        return;
    }
    s_enqueue (task);
    if (hosted->waiting_count == 1)
        s_dispatch (self, hosted);    //  a lane is woken for it at once: what comes next finds it
}

void
gpb_host_handle_cancel (void *actor, gpb_call_t *call)
{
    gpb_host_t *self = actor;
    uint64_t id = call->request->cancel->id;
    gpb_error_t error;
    gpb_task_t *task = s_find (self, &call->owner, id);
    if (!task) {
        gpb_error_set (&error, GPB_NOT_FOUND,
                       "request %" PRIu64 " of this connection is not in flight", id);
        gpb_call_refuse (self->service, call, &error);
        return;
    }
    gpb_error_set (&error, GPB_CANCELLED, "the client took the request back");
    s_end (self, task, &error);
    gpb_call_done (self->service, call);
}

//  ---------------------------------------------------------------------------------------------------------
//  What ends before its time

static gpb_task_t *
s_earliest (const gpb_host_t *self)
{
    gpb_heap_node_t *node = gpb_heap_first (&self->deadlines);
    return node ? (gpb_task_t *) ((char *) node - offsetof (gpb_task_t, deadline)) : NULL;
}

int
gpb_host_check_deadlines (gpb_host_t *self)
{
    uint64_t now_ns = gpb_clock_ns ();
    gpb_task_t *task;
    while ((task = s_earliest (self)) && task->deadline.key <= now_ns) {
        gpb_error_t error;
        gpb_error_set (&error, GPB_DEADLINE_EXCEEDED, "the request's time was up while it %s",
                       s_is_waiting (task) ? "waited for a lane" : "was with its kernel");
        s_end (self, task, &error);
    }
    return task ? gpb_wait_ms (now_ns, task->deadline.key) : -1;
}

//  A broker's book waits for every answer, though its client does not; whose own connection has
//  ended is told nothing.
void
gpb_host_drop_owner (gpb_host_t *self, const gpb_owner_t *owner)
{
    gpb_error_t error;
    gpb_error_set (&error, GPB_CANCELLED, "the client has left");
    for (size_t chain = 0; chain < GPB_HOST_CHAINS; chain++) {
        gpb_task_t *next;
        for (gpb_task_t *task = self->chains [chain]; task; task = next) {
            next = task->chain_next;
            bool is_behind = owner->behind && gpb_owner_same (&task->owner, owner);
            bool is_own = !owner->behind && task->owner.connection == owner->connection;
            if (task->answered || (!is_behind && !is_own))
                continue;
            if (is_own) {
                task->connection = NULL;
                s_task_answered (self, task);
            }
            s_end (self, task, &error);
        }
    }
}

static void
s_fail_queue (gpb_host_t *self, gpb_tasks_t *queue, const gpb_error_t *error)
{
    while (queue->first)
        s_end (self, queue->first, error);
}

void
gpb_host_fail_lane (gpb_host_t *self, gpb_hosted_t *hosted, unsigned number,
                    const gpb_error_t *error)
{
    gpb_hosted_lane_t *lane = &hosted->lanes [number];
    const gpb_ring_t *ring = &hosted->resident->lanes [number].ring;
    gpb_error_t other = *error;
    if (error->status == GPB_DEADLINE_EXCEEDED)
        other.status = GPB_UNAVAILABLE;
    for (uint64_t index = ring->answered; index != ring->published; index++)
        s_end (self, lane->tasks [index & (ring->slots - 1)],
               index == ring->answered ? error : &other);
    s_fail_queue (self, &lane->waiting, &other);
}

void
gpb_host_fail_waiting (gpb_host_t *self, gpb_hosted_t *hosted, const gpb_error_t *error)
{
    s_fail_queue (self, &hosted->waiting, error);
    s_fail_queue (self, &hosted->waiting_once, error);
    for (unsigned lane = 0; lane < GPB_PERSISTENT_LANES_MAX; lane++)
        s_fail_queue (self, &hosted->lanes [lane].waiting, error);
}

void
gpb_host_fail_all (gpb_host_t *self, const gpb_error_t *error)
{
    gpb_task_t *task;
    while ((task = s_earliest (self)))
        s_end (self, task, error);
}

//  Those that a lane, or a launch, that does not end still has are in their chains.
void
gpb_host_clear_tasks (gpb_host_t *self)
{
    for (size_t chain = 0; chain < GPB_HOST_CHAINS; chain++)
        while (self->chains [chain]) {
            gpb_task_t *task = self->chains [chain];
            self->chains [chain] = task->chain_next;
            s_task_answered (self, task);
            s_drop_frame (task);
            gpb_free (task);
        }
    while (self->spare) {
        gpb_task_t *task = self->spare;
        self->spare = task->next;
        gpb_free (task);
    }
    gpb_heap_clear (&self->deadlines);
}
