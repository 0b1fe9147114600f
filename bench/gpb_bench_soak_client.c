//  gpb_bench_soak_client - one client of the soak, which keeps its own books
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_bench_soak_client.h"

#include "gpb_bench_echo.h"
#include "gpb_client_internal.h"
#include "gpb_clock.h"

#include <inttypes.h>
#include <math.h>

#define WINDOW 16          //  requests in flight
#define RENTALS 2          //  at once
#define LEFT_ONE_IN 50     //  rentals: left for the node to take back when the client leaves
#define COUNT_MAX 65536    //  floats of one vector
#define BASE_COUNT (2 * COUNT_MAX)
#define SIDE_MAX 128                  //  of a picture
#define REDUCE_MAX 16384              //  values below 1000: every partial sum is exact in a float
#define TIMEOUT_MS 30000              //  of most requests
#define SHORT_TIMEOUT_MS 40           //  at most, of the others
#define LOST_NS (5 * GPB_NS_PER_S)    //  beyond a time-out
#define COMPLAINTS_MAX 5              //  lines on stderr
#define PRIORITY_FIELD 4              //  of a Request, in gpb.proto

typedef enum {
    VECTOR_ADD,
    SAXPY,
    REDUCE,
    HISTOGRAM,
    SOBEL,
    EXECUTES,    //  of the above
    RENT,
    WRITE,
    USE,    //  vector_add of a rented buffer
    READ,
    RELEASE,
    RESERVE,
    UNRESERVE,
    CANCEL,
    GOODBYE
} kind_t;

static const char *const s_kinds [] = {
    "vector_add", "saxpy", "reduce",  "histogram", "sobel",     "-",      "rent",   "write",
    "use",        "read",  "release", "reserve",   "unreserve", "cancel", "goodbye"
};

//  One request in flight.
typedef struct {
    uint64_t id;    //  0: the place is free
    kind_t kind;
    size_t count, from, other;    //  elements, and where its inputs begin in the base
    size_t width, height;
    unsigned rental;    //  its number
    bool may_be_late, may_be_cancelled, is_idempotent;
    uint64_t lost_ns;    //  from then on it is lost
} flight_t;

//  One rented buffer: rented, then written, used and read without waiting, then released.
typedef struct {
    bool taken;
    uint64_t handle;
    size_t count, from;
    unsigned in_flight;    //  write, use and read
} rental_t;

typedef struct {
    zsock_t *socket;
    gpb_codec_t *codec;
    uint64_t random;
    uint64_t last_id;
    flight_t flights [WINDOW + 4 * RENTALS + 2];
    size_t in_flight;
    rental_t rentals [RENTALS];
    gpb_bench_soak_report_t *report;
    unsigned complaints;
    bool loses_devices;
} self_t;

enum { FLIGHTS = WINDOW + 4 * RENTALS + 2 };

static float s_base [BASE_COUNT];
static unsigned char s_bytes [BASE_COUNT];

//  xorshift64*, so that a seed says everything (Vigna 2016).
static uint64_t
s_random (self_t *self, uint64_t below)
{
    self->random ^= self->random >> 12;
    self->random ^= self->random << 25;
    self->random ^= self->random >> 27;
    return (self->random * 0x2545F4914F6CDD1DULL >> 16) % below;
}

//  Sizes of all magnitudes alike.
static size_t
s_random_size (self_t *self, size_t most)
{
    size_t bits = 1;
    while ((size_t) 1 << bits < most)
        bits++;
    size_t size = 1 + (size_t) s_random (self, (uint64_t) 1 << s_random (self, bits + 1));
    return size < most ? size : most;
}

static void
s_complain (self_t *self, const flight_t *flight, const char *what, const char *text)
{
    if (self->complaints++ < COMPLAINTS_MAX)
        fprintf (stderr, "soak: request %" PRIu64 " (%s of %zu): %s%s%s\n", flight->id,
                 s_kinds [flight->kind], flight->count, what, text [0] ? ": " : "", text);
}

//  ---------------------------------------------------------------------------------------------------------
//  Sending

static flight_t *
s_flight_new (self_t *self, kind_t kind)
{
    size_t place = 0;
    while (place < FLIGHTS && self->flights [place].id)
        place++;
    if (place == FLIGHTS)
        gpb_bench_fail ("the soak's client has no place for one more request");
    flight_t *flight = &self->flights [place];
    memset (flight, 0, sizeof *flight);
    flight->id = ++self->last_id;
    flight->kind = kind;
    self->in_flight++;
    return flight;
}

static void
s_send (self_t *self, flight_t *flight, gpb_message_t *message, uint32_t timeout_ms)
{
    flight->lost_ns = gpb_clock_ns () + timeout_ms * GPB_NS_PER_MS + LOST_NS;
    if (gpb_message_send (message, zsock_resolve (self->socket), NULL) != GPB_OK)
        gpb_bench_fail ("the soak's client cannot send");
    gpb_message_clear (message);
    self->report->sent++;
}

//  Sends a request that the library packs, with a priority, which is put behind the header
//  (protobuf takes a field wherever it stands), and, where it runs a kernel, with a short time-out
//  at times.
static void
s_send_request (self_t *self, flight_t *flight, gpb_request_t *request)
{
    gpb_message_t message;
    gpb_message_init (&message);
    uint32_t timeout_ms = TIMEOUT_MS;
    if (flight->kind < EXECUTES && s_random (self, 5) == 0) {
        timeout_ms = 1 + (uint32_t) s_random (self, SHORT_TIMEOUT_MS);
        flight->may_be_late = true;
    }
    flight->is_idempotent = flight->kind < EXECUTES && s_random (self, 2);
    if (request && flight->is_idempotent)
        gpb_request_set_idempotent (request);
    gpb_error_t error = { GPB_OK, "" };
    if (!request || gpb_request_pack (request, flight->id, timeout_ms, &message, &error) != GPB_OK)
        gpb_bench_fail ("the soak's client cannot pack a request: %s", error.text);
    if (flight->kind < CANCEL) {
        int priority = (int) s_random (self, 7) - 3;
        uint64_t zigzag = priority < 0 ? (uint64_t) (-2 * priority - 1) : (uint64_t) (2 * priority);
        gpb_codec_append (&message.header, PRIORITY_FIELD, zigzag, NULL);
    }
    s_send (self, flight, &message, timeout_ms);
    gpb_request_destroy (&request);
}

static void
s_send_packed (self_t *self, flight_t *flight, Gpb__V1__Request *request)
{
    gpb_message_t message;
    gpb_message_init (&message);
    request->version = GPB_PROTOCOL_VERSION;
    request->id = flight->id;
    request->timeout_ms = TIMEOUT_MS;
    if (gpb_codec_pack (&request->base, &message.header, NULL) != GPB_OK)
        gpb_bench_fail ("the soak's client cannot pack a request");
    s_send (self, flight, &message, TIMEOUT_MS);
}

static void
s_send_execute (self_t *self)
{
    flight_t *flight = s_flight_new (self, (kind_t) s_random (self, EXECUTES));
    flight->count = s_random_size (self, flight->kind == REDUCE ? REDUCE_MAX : COUNT_MAX);
    flight->from = (size_t) s_random (self, COUNT_MAX);
    flight->other = (size_t) s_random (self, COUNT_MAX);
    size_t size = flight->count * sizeof (float);
    gpb_request_t *request = gpb_request_execute (s_kinds [flight->kind]);
    switch (flight->kind) {
    case VECTOR_ADD:
        gpb_request_in (request, s_base + flight->from, size);
        gpb_request_in (request, s_base + flight->other, size);
        gpb_request_out (request, 0);
        gpb_request_i32 (request, (int32_t) flight->count);
        break;
    case SAXPY:
        gpb_request_in (request, s_base + flight->from, size);
        gpb_request_in (request, s_base + flight->other, size);
        gpb_request_f32 (request, 0.5F);
        gpb_request_u64 (request, flight->count);
        break;
    case REDUCE:
        gpb_request_in (request, s_base + flight->from, size);
        gpb_request_out (request, 0);
        gpb_request_u64 (request, flight->count);
        break;
    case HISTOGRAM:
        gpb_request_in (request, s_bytes + flight->from, flight->count);
        gpb_request_out (request, 0);
        gpb_request_u64 (request, flight->count);
        break;
    default:
        flight->width = 1 + (size_t) s_random (self, SIDE_MAX);
        flight->height = 1 + (size_t) s_random (self, SIDE_MAX);
        flight->count = flight->width * flight->height;
        gpb_request_in (request, s_bytes + flight->from,
                        (flight->width + 2) * (flight->height + 2));
        gpb_request_out (request, 0);
        gpb_request_u32 (request, (uint32_t) flight->width);
        gpb_request_u32 (request, (uint32_t) flight->height);
        break;
    }
    s_send_request (self, flight, request);
}

static void
s_send_cancel (self_t *self)
{
    flight_t *target = &self->flights [s_random (self, FLIGHTS)];
    if (!target->id || target->kind >= EXECUTES)
        return;
    target->may_be_cancelled = true;
    s_send_request (self, s_flight_new (self, CANCEL), gpb_request_cancel (target->id));
}

static void
s_send_rent (self_t *self)
{
    for (unsigned number = 0; number < RENTALS; number++) {
        rental_t *rental = &self->rentals [number];
        if (rental->taken)
            continue;
        memset (rental, 0, sizeof *rental);
        rental->taken = true;
        rental->count = s_random_size (self, COUNT_MAX);
        rental->from = (size_t) s_random (self, COUNT_MAX);
        flight_t *flight = s_flight_new (self, RENT);
        flight->rental = number;
        flight->count = rental->count;
        s_send_request (self, flight,
                        gpb_request_rent (rental->count * sizeof (float), GPB_RENT_DEVICE,
                                          GPB_RENT_READ_WRITE));
        return;
    }
}

//  For a while: it is given back, or ends by itself.
static void
s_send_reserve (self_t *self)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Reserve reserve = GPB__V1__RESERVE__INIT;
    reserve.memory = 1 + s_random (self, 1 << 22);
    reserve.for_ms = 1 + (uint32_t) s_random (self, 500);
    request.body_case = GPB__V1__REQUEST__BODY_RESERVE;
    request.reserve = &reserve;
    s_send_packed (self, s_flight_new (self, RESERVE), &request);
}

static void
s_send_unreserve (self_t *self, uint64_t handle)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Unreserve unreserve = GPB__V1__UNRESERVE__INIT;
    unreserve.handle = handle;
    request.body_case = GPB__V1__REQUEST__BODY_UNRESERVE;
    request.unreserve = &unreserve;
    s_send_packed (self, s_flight_new (self, UNRESERVE), &request);
}

//  What the buffer is rented for, all at once: requests that name memory leave the node's queue in
//  the order in which they came.
static void
s_use_rental (self_t *self, unsigned number)
{
    rental_t *rental = &self->rentals [number];
    size_t size = rental->count * sizeof (float);
    for (kind_t kind = WRITE; kind <= READ; kind++) {
        flight_t *flight = s_flight_new (self, kind);
        flight->rental = number;
        flight->count = rental->count;
        flight->from = rental->from;
        flight->other = (size_t) s_random (self, COUNT_MAX);
        gpb_request_t *request = NULL;
        if (kind == WRITE)
            request = gpb_request_write (rental->handle, 0, s_base + rental->from, size);
        else if (kind == READ)
            request = gpb_request_read (rental->handle, 0, size);
        else {
            request = gpb_request_execute ("vector_add");
            gpb_request_buffer (request, rental->handle, 0, size);
            gpb_request_in (request, s_base + flight->other, size);
            gpb_request_out (request, 0);
            gpb_request_i32 (request, (int32_t) rental->count);
        }
        rental->in_flight++;
        s_send_request (self, flight, request);
    }
}

//  ---------------------------------------------------------------------------------------------------------
//  Truth

static bool
s_same_floats (const float *results, const flight_t *flight, bool is_saxpy)
{
    for (size_t index = 0; index < flight->count; index++) {
        float one = s_base [flight->from + index], other = s_base [flight->other + index];
        float expected = is_saxpy ? fmaf (0.5F, one, other) : one + other;
        if (results [index] != expected)
            return false;
    }
    return true;
}

static bool
s_same_bins (const uint32_t *bins, const flight_t *flight)
{
    uint32_t counts [256] = { 0 };
    for (size_t index = 0; index < flight->count; index++)
        counts [s_bytes [flight->from + index]]++;
    return memcmp (bins, counts, sizeof counts) == 0;
}

static bool
s_same_edges (const unsigned char *edges, const flight_t *flight)
{
    size_t pitch = flight->width + 2;
    for (size_t index = 0; index < flight->count; index++) {
        const unsigned char *above =
            s_bytes + flight->from + index / flight->width * pitch + index % flight->width;
        const unsigned char *beside = above + pitch, *below = beside + pitch;
        int gx = above [2] + 2 * beside [2] + below [2] - above [0] - 2 * beside [0] - below [0];
        int gy = below [0] + 2 * below [1] + below [2] - above [0] - 2 * above [1] - above [2];
        double root = floor (sqrt ((double) gx * gx + (double) gy * gy));
        if (edges [index] != (root < 255 ? (unsigned char) root : 255))
            return false;
    }
    return true;
}

static bool
s_is_true (const flight_t *flight, const void *data, size_t size)
{
    const size_t floats = flight->count * sizeof (float);
    switch (flight->kind) {
    case VECTOR_ADD:
    case USE: return size == floats && s_same_floats (data, flight, false);
    case SAXPY: return size == floats && s_same_floats (data, flight, true);
    case READ: return size == floats && memcmp (data, s_base + flight->from, size) == 0;
    case HISTOGRAM: return size == 256 * sizeof (uint32_t) && s_same_bins (data, flight);
    case SOBEL: return size == flight->count && s_same_edges (data, flight);
    case REDUCE: {
        float sum = 0, result;
        for (size_t index = 0; index < flight->count; index++)
            sum += s_base [flight->from + index];
        memcpy (&result, data, size == sizeof result ? sizeof result : 0);
        return size == sizeof result && result == sum;
    }
    default: return true;
    }
}

//  The one result of an execute or read reply, aligned.
static bool
s_check_result (const flight_t *flight, const Gpb__V1__Reply *reply, gpb_message_t *message)
{
    static _Alignas(16) unsigned char bytes [COUNT_MAX * sizeof (float)];
    const Gpb__V1__Result *result = NULL;
    if (reply->body_case == GPB__V1__REPLY__BODY_EXECUTE && reply->execute->n_results == 1)
        result = reply->execute->results [0];
    else if (reply->body_case == GPB__V1__REPLY__BODY_READ)
        result = reply->read->result;
    if (!result || result->value_case != GPB__V1__RESULT__VALUE_FRAME
        || result->frame >= message->payloads_count)
        return false;
    zmq_msg_t *payload = &message->payloads [result->frame];
    size_t size = zmq_msg_size (payload);
    if (size > sizeof bytes || size != result->size)
        return false;
    memcpy (bytes, zmq_msg_data (payload), size);
    return s_is_true (flight, bytes, size);
}

//  ---------------------------------------------------------------------------------------------------------
//  Answers

static bool
s_is_allowed (const self_t *self, const flight_t *flight, gpb_status_t status)
{
    bool has_handle = flight->kind >= WRITE && flight->kind != RESERVE;
    if (status == GPB_UNAVAILABLE)
        return self->loses_devices && !flight->is_idempotent;
    if (status == GPB_DATA_LOSS)
        return self->loses_devices && has_handle;
    if (status == GPB_DEADLINE_EXCEEDED)
        return flight->may_be_late;
    if (status == GPB_CANCELLED)
        return flight->may_be_cancelled;
    //  What is taken back has been answered, or has ended by itself.
    if (flight->kind == CANCEL || flight->kind == UNRESERVE)
        return status == GPB_NOT_FOUND;
    //  Others have what there is; or the node has no reservations.
    return flight->kind == RESERVE
           && (status == GPB_RESOURCE_EXHAUSTED || status == GPB_UNIMPLEMENTED);
}

static void
s_rental_answered (self_t *self, const flight_t *flight, gpb_status_t status,
                   const Gpb__V1__Reply *reply)
{
    rental_t *rental = &self->rentals [flight->rental];
    if (flight->kind == RENT && status == GPB_OK) {
        rental->handle = reply->rent->handle;
        s_use_rental (self, flight->rental);
    }
    else if (flight->kind == RENT || flight->kind == RELEASE)
        rental->taken = false;
    else if (--rental->in_flight == 0 && s_random (self, LEFT_ONE_IN) > 0) {
        flight_t *release = s_flight_new (self, RELEASE);
        release->rental = flight->rental;
        s_send_request (self, release, gpb_request_release (rental->handle));
    }
}

static void
s_answered (self_t *self, flight_t *place, const Gpb__V1__Reply *reply, gpb_message_t *message)
{
    flight_t flight = *place;
    place->id = 0;
    self->in_flight--;
    gpb_bench_soak_report_t *report = self->report;
    gpb_status_t status = (gpb_status_t) reply->status;
    report->answered++;
    report->ok += status == GPB_OK;
    report->cancelled += status == GPB_CANCELLED;
    report->late += status == GPB_DEADLINE_EXCEEDED;
    report->unavailable += status == GPB_UNAVAILABLE;
    report->gone += status == GPB_DATA_LOSS;
    if (status != GPB_OK && !s_is_allowed (self, &flight, status)) {
        report->refused++;
        s_complain (self, &flight, gpb_status_name (status), reply->message);
    }
    bool has_result = flight.kind < EXECUTES || flight.kind == USE || flight.kind == READ;
    if (status == GPB_OK && has_result && !s_check_result (&flight, reply, message)) {
        report->wrong++;
        s_complain (self, &flight, "its result is wrong", "");
    }
    if (flight.kind >= RENT && flight.kind <= RELEASE)
        s_rental_answered (self, &flight, status, reply);
    else if (flight.kind == RESERVE && status == GPB_OK && s_random (self, 2))
        s_send_unreserve (self, reply->reserve->handle);
}

//  All that is there, or nothing for so long.
static void
s_recv (self_t *self, int timeout_ms)
{
    zmq_pollitem_t item = { zsock_resolve (self->socket), 0, ZMQ_POLLIN, 0 };
    zmq_poll (&item, 1, timeout_ms);
    gpb_message_t message;
    gpb_message_init (&message);
    gpb_error_t error;
    gpb_status_t status;
    while ((status = gpb_message_recv (&message, zsock_resolve (self->socket), &error))
           != GPB_UNAVAILABLE)
    {
        const Gpb__V1__Reply *reply =
            status == GPB_OK ? gpb_codec_reply (self->codec, &message.header, &error) : NULL;
        flight_t *flight = NULL;
        for (size_t place = 0; reply && place < FLIGHTS; place++)
            if (self->flights [place].id == reply->id)
                flight = &self->flights [place];
        if (reply && reply->id && flight)
            s_answered (self, flight, reply, &message);
        else
            self->report->twice++;
    }
    gpb_message_clear (&message);
}

static void
s_drop_lost (self_t *self)
{
    uint64_t now_ns = gpb_clock_ns ();
    for (size_t place = 0; place < FLIGHTS; place++) {
        flight_t *flight = &self->flights [place];
        if (!flight->id || now_ns < flight->lost_ns)
            continue;
        s_complain (self, flight, "never answered", "");
        self->report->lost++;
        flight->id = 0;
        self->in_flight--;
    }
}

static void
s_send_something (self_t *self)
{
    uint64_t chance = s_random (self, 100);
    if (chance < 5)
        s_send_cancel (self);
    else if (chance < 15)
        s_send_rent (self);
    else if (chance < 18)
        s_send_reserve (self);
    else
        s_send_execute (self);
}

void
gpb_bench_soak_client (const char *endpoint, uint64_t seed, uint64_t duration_ns,
                       bool loses_devices, gpb_bench_soak_report_t *report)
{
    for (size_t index = 0; index < BASE_COUNT; index++) {
        s_base [index] = (float) (index * 7 % 1000);
        s_bytes [index] = (unsigned char) (index * 2654435761U >> 13);
    }
    self_t self = { .random = seed * 0x9E3779B97F4A7C15ULL | 1,
                    .loses_devices = loses_devices,
                    .report = report };
    memset (report, 0, sizeof *report);
    self.codec = gpb_codec_new (NULL);
    self.socket = gpb_bench_dealer (endpoint);
    if (!self.codec)
        gpb_bench_fail ("no memory for a client of the soak");
    uint64_t end_ns = gpb_clock_ns () + duration_ns;
    while (gpb_clock_ns () < end_ns) {
        //  Sometimes it has nothing to ask.
        if (s_random (&self, 200) == 0)
            s_recv (&self, (int) s_random (&self, 20));
        while (self.in_flight < WINDOW)
            s_send_something (&self);
        s_recv (&self, 100);
        s_drop_lost (&self);
    }
    while (self.in_flight) {
        s_recv (&self, 100);
        s_drop_lost (&self);
    }
    //  What answers nobody asked for come now.
    s_recv (&self, 50);
    if (s_random (&self, 2)) {
        s_send_request (&self, s_flight_new (&self, GOODBYE), gpb_request_goodbye ());
        while (self.in_flight) {
            s_recv (&self, 100);
            s_drop_lost (&self);
        }
    }
    zsock_destroy (&self.socket);
    gpb_codec_destroy (&self.codec);
}
