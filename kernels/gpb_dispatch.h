//  gpb_dispatch - the loop around a persistent kernel's handler, and the handler alone
//
//  Stands behind the package's source, which stands behind gpb_lane.h. The host has defined
//  GPB_HANDLER, the handler's name, and GPB_LANE_LOCAL, the work-items of the lane's work-group.
//
//  gpb_dispatch serves one lane until it is told to park or has been idle for too long, and only
//  ever returns with every message that it has begun answered. No barrier is passed by some of the
//  group alone: the first work-item decides, and all of them follow.
//
//  gpb_once handles one message, and is what a launch for each request runs.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#if GPB_LANE_LOCAL > 1
#define GPB_LANE_BARRIER() BARRIER ()
#define GPB_LANE_FIRST() (local_id (0) == 0)
#else
#define GPB_LANE_BARRIER() ((void) 0)
#define GPB_LANE_FIRST() 1
#endif

//  What a message came to, until it is written beside the output: by then the host, which polls that
//  line, has had it taken from it once, and not for every word.
typedef struct {
    uint status;
    uint size;
    ulong taken_ticks;
    ulong done_ticks;
} gpb_outcome_t;

FUNCTION gpb_outcome_t
gpb_handle (GLOBAL uchar *memory, ulong heap, GLOBAL const gpb_lane_request_t *request,
            GLOBAL gpb_lane_answer_t *answer, GLOBAL void *state)
{
    gpb_outcome_t outcome;
    const uint capacity = request->capacity, size = request->size;
    GLOBAL const uchar *input = request->input
                                    ? memory + heap + (ulong) request->input * GPB_LANE_UNIT
                                    : (GLOBAL const uchar *) (request + 1);
    GLOBAL uchar *output = request->output ? memory + heap + (ulong) request->output * GPB_LANE_UNIT
                                           : (GLOBAL uchar *) (answer + 1);
    uint written = capacity;
    outcome.taken_ticks = GPB_TICKS ();
    GPB_HANDLER (input, size, output, &written, state);
    GPB_FENCE ();
    GPB_LANE_BARRIER ();
    outcome.status = written > capacity ? GPB_LANE_OVERFLOW : GPB_LANE_OK;
    outcome.size = written > capacity ? capacity : written;
    outcome.done_ticks = GPB_TICKS ();
    return outcome;
}

FUNCTION void
gpb_answer (GLOBAL gpb_lane_answer_t *answer, const gpb_outcome_t *outcome, ulong sequence)
{
    answer->size = outcome->size;
    answer->status = outcome->status;
    answer->taken_ticks = outcome->taken_ticks;
    answer->done_ticks = outcome->done_ticks;
    GPB_STORE_RELEASE (&answer->sequence, sequence);
}

//  Whether there is a message with this index; false: it is time to park.
FUNCTION uint
gpb_wait (GLOBAL gpb_lane_control_t *control, GLOBAL gpb_lane_request_t *request, ulong index,
          ulong *heartbeat)
{
    const ulong idle_ticks = control->idle_ticks, start = idle_ticks ? GPB_TICKS () : 0;
    const uint idle_polls = control->idle_polls;
    for (uint polls = 0;; polls++) {
        if (GPB_LOAD_ACQUIRE (&request->sequence) == index + 1)
            return 1;
        if (GPB_LOAD_COMMAND (control) != GPB_LANE_RUN) {
            //  Once more, and in order: whatever was published before the command is seen. (Polling
            //  in order would have each poll of a GPU's take two trips over the bus, one by one.)
            (void) GPB_LOAD_ACQUIRE (&control->command);
            return GPB_LOAD_ACQUIRE (&request->sequence) == index + 1;
        }
        if (polls % 64 == 63) {
            GPB_STORE_HEARTBEAT (control, ++*heartbeat);
            if (idle_ticks ? GPB_TICKS () - start > idle_ticks : idle_polls && polls > idle_polls)
                return 0;
        }
        GPB_RELAX (polls);
    }
}

KERNEL void
gpb_dispatch (GLOBAL uchar *memory, ulong control_offset)
{
    GLOBAL gpb_lane_control_t *control = (GLOBAL gpb_lane_control_t *) (memory + control_offset);
    const ulong heap = control->heap;
    GLOBAL void *state = memory + control->state;
    ulong head = control->head, heartbeat = control->heartbeat;
#if GPB_LANE_LOCAL > 1
    LOCAL uint go, flags;
#else
    uint go, flags;
#endif
    if (GPB_LANE_FIRST ())
        GPB_STORE_HEARTBEAT (control, ++heartbeat);    //  the launch has begun
    for (;;) {
        const ulong place = head & (control->slots - 1);
        GLOBAL gpb_lane_request_t *request =
            (GLOBAL gpb_lane_request_t *) (memory + control->requests
                                           + place * control->request_size);
        GLOBAL gpb_lane_answer_t *answer =
            (GLOBAL gpb_lane_answer_t *) (memory + control->answers + place * control->answer_size);
        if (GPB_LANE_FIRST ()) {
            go = gpb_wait (control, request, head, &heartbeat);
            flags = GPB_LOAD ((volatile GLOBAL uint *) &request->flags);
        }
        GPB_LANE_BARRIER ();
        if (!go)
            break;
        gpb_outcome_t outcome = { GPB_LANE_SKIPPED, 0, 0, 0 };
        if (!(flags & GPB_LANE_CANCELLED))
            outcome = gpb_handle (memory, heap, request, answer, state);
        else
            GPB_LANE_BARRIER ();    //  all have read the flags before the first one writes them again
        if (GPB_LANE_FIRST ()) {
            GPB_STORE_HEARTBEAT (control, ++heartbeat);
            gpb_answer (answer, &outcome, head + 1);
        }
        head++;
    }
    if (GPB_LANE_FIRST ())
        control->head = head;
}

KERNEL void
gpb_once (GLOBAL uchar *memory, ulong request_offset, ulong answer_offset, ulong heap, ulong state)
{
    GLOBAL gpb_lane_answer_t *answer = (GLOBAL gpb_lane_answer_t *) (memory + answer_offset);
    const gpb_outcome_t outcome = gpb_handle (
        memory, heap, (GLOBAL gpb_lane_request_t *) (memory + request_offset), answer, memory + state);
    if (GPB_LANE_FIRST ())
        gpb_answer (answer, &outcome, 1);
}
