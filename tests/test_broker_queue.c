//  Tests of what a broker does with more than its devices can take at once: bounds and hints,
//  priorities and deadlines, fair turns, and what is tried on another device.

#include "gpb_test.h"

#include "gpb_clock.h"
#include "gpb_test_broker.h"

static gpb_test_broker_t s_node;

//  An execute request with all that it may say; device < 0: any.
typedef struct {
    uint64_t id;
    int device;
    int priority;
    bool idempotent;
    uint32_t timeout_ms;
    size_t size;    //  of its payload; 0: none
} s_request_t;

static void
s_send_from (gpb_test_peer_t *client, s_request_t what)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Execute execute = GPB__V1__EXECUTE__INIT;
    request.id = what.id;
    request.priority = what.priority;
    request.idempotent = what.idempotent;
    request.timeout_ms = what.timeout_ms;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    request.execute = &execute;
    execute.kernel = (char *) GPB_TEST_KERNEL;
    if (what.device >= 0) {
        execute.placement_case = GPB__V1__EXECUTE__PLACEMENT_DEVICE;
        execute.device = (uint32_t) what.device;
    }
    zmq_msg_t payload;
    if (what.size)
        gpb_test_payload (&payload, what.size);
    gpb_test_peer_send (client, &request, what.size ? &payload : NULL);
}

static void
s_send (s_request_t what)
{
    s_send_from (&s_node.client, what);
}

//  The next request that a device gets is this one, and is answered.
static void
s_expect_done (unsigned device, uint64_t id)
{
    gpb_test_work_t work;
    gpb_test_executor_take (&s_node.devices [device], &work);
    ck_assert_uint_eq (work.id, id);
    gpb_test_executor_finish (&s_node.devices [device], &work);
    gpb_test_peer_expect (&s_node.client, id, GPB_OK);
}

static void
s_finish (gpb_test_work_t works [2])
{
    for (unsigned number = 0; number < 2; number++) {
        gpb_test_executor_finish (&s_node.devices [0], &works [number]);
        gpb_test_peer_expect (&s_node.client, works [number].id, GPB_OK);
    }
}

static Gpb__V1__StatsReply
s_stats (void)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Stats stats = GPB__V1__STATS__INIT;
    request.id = 1000;
    request.body_case = GPB__V1__REQUEST__BODY_STATS;
    request.stats = &stats;
    gpb_test_peer_send (&s_node.client, &request, NULL);
    return *gpb_test_peer_expect (&s_node.client, 1000, GPB_OK)->stats;
}

START_TEST (test_a_full_queue_says_when_to_try_again)
{
    static const char *const keys [] = { "max_queued_requests", "max_device_queued_requests",
                                         "max_client_queued_requests" };
    static const char *const places [] = { "wait on this node", "wait for its device alone",
                                           "wait for this client" };
    //  Of what all share, a client that is alone has half.
    static const char *const values [] = { "4", "4", "2" };
    for (unsigned bound = 0; bound < 3; bound++) {
        gpb_test_broker_configure (&s_node, keys [bound], values [bound]);
        gpb_test_broker_open (&s_node, 1);
        gpb_test_work_t works [2];
        gpb_test_broker_fill (&s_node, works, 0);
        for (uint64_t id = 3; id <= 5; id++)
            s_send ((s_request_t){ .id = id, .device = 0 });
        const Gpb__V1__Reply *reply =
            gpb_test_peer_expect (&s_node.client, 5, GPB_RESOURCE_EXHAUSTED);
        ck_assert_uint_ge (reply->retry_after_ms, 1);
        ck_assert_msg (strstr (reply->message, places [bound]) != NULL, "%s", reply->message);
        ck_assert_ptr_nonnull (strstr (reply->message, "2 requests wait"));
        ck_assert_ptr_nonnull (strstr (reply->message, "try again in"));
        ck_assert_uint_eq (s_stats ().exhausted, 1);
        s_finish (works);
        s_expect_done (0, 3);
        s_expect_done (0, 4);
        //  There is room again.
        s_send ((s_request_t){ .id = 5, .device = 0 });
        s_expect_done (0, 5);
        gpb_test_broker_close (&s_node);
    }
}
END_TEST

START_TEST (test_one_client_at_its_bound_leaves_room_for_others)
{
    gpb_test_broker_configure (&s_node, "max_client_queued_requests", "2");
    gpb_test_broker_configure (&s_node, "max_client_queued_size", "65536");
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2], work;
    gpb_test_broker_fill (&s_node, works, 0);
    gpb_test_peer_t other;
    gpb_test_peer_open (&other, "inproc://broker");
    for (uint64_t id = 3; id <= 5; id++)
        s_send ((s_request_t){ .id = id, .device = -1 });
    gpb_test_peer_expect (&s_node.client, 5, GPB_RESOURCE_EXHAUSTED);
    s_send_from (&other, (s_request_t){ .id = 1, .device = -1, .size = 60000 });
    s_send_from (&other, (s_request_t){ .id = 2, .device = -1, .size = 60000 });
    gpb_test_peer_expect (&other, 2, GPB_RESOURCE_EXHAUSTED);    //  over its bytes
    s_send_from (&other, (s_request_t){ .id = 3, .device = -1, .size = 70000 });
    ck_assert_uint_eq (gpb_test_peer_expect (&other, 3, GPB_RESOURCE_EXHAUSTED)->retry_after_ms, 0);
    s_finish (works);
    for (unsigned count = 0; count < 3; count++) {
        gpb_test_executor_take (&s_node.devices [0], &work);
        gpb_test_executor_finish (&s_node.devices [0], &work);
    }
    gpb_test_peer_expect (&other, 1, GPB_OK);
    gpb_test_peer_close (&other);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_flood_leaves_room_on_its_device_for_whoever_comes)
{
    gpb_test_broker_configure (&s_node, "max_device_queued_requests", "16");
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2], work;
    gpb_test_broker_fill (&s_node, works, 0);
    gpb_test_peer_t other;
    gpb_test_peer_open (&other, "inproc://broker");
    for (uint64_t id = 3; id < 30; id++)
        s_send ((s_request_t){ .id = id, .device = 0 });
    const char *text = NULL;
    for (uint64_t id = 11; id < 30; id++)
        text = gpb_test_peer_expect (&s_node.client, id, GPB_RESOURCE_EXHAUSTED)->message;
    ck_assert_msg (strstr (text, "8 requests wait for its device alone, 8 of them of this client, "
                                 "which may have as many as are left of 16"),
                   "%s", text);
    for (uint64_t id = 1; id <= 5; id++)
        s_send_from (&other, (s_request_t){ .id = id, .device = 0 });
    text = gpb_test_peer_expect (&other, 5, GPB_RESOURCE_EXHAUSTED)->message;
    ck_assert_msg (strstr (text, "12 requests wait for its device alone, 4 of them of this client"),
                   "%s", text);
    //  And none of it waits for the flood to be done.
    s_finish (works);
    for (unsigned count = 0; count < 9; count++) {
        gpb_test_executor_take (&s_node.devices [0], &work);
        gpb_test_executor_finish (&s_node.devices [0], &work);
    }
    for (uint64_t id = 1; id <= 4; id++)
        gpb_test_peer_expect (&other, id, GPB_OK);
    gpb_test_peer_close (&other);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_priority_then_deadline_decide_who_is_next)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2];
    gpb_test_broker_fill (&s_node, works, 0);
    s_send ((s_request_t){ .id = 3, .device = -1, .priority = -3, .timeout_ms = 10000 });
    s_send ((s_request_t){ .id = 4, .device = -1, .timeout_ms = 25000 });
    s_send ((s_request_t){ .id = 5, .device = -1, .timeout_ms = 20000 });
    s_send ((s_request_t){ .id = 6, .device = 0, .timeout_ms = 22000 });
    s_send ((s_request_t){ .id = 7, .device = -1, .priority = 3, .timeout_ms = 29000 });
    gpb_test_peer_settle (&s_node.client);
    Gpb__V1__StatsReply stats = s_stats ();
    ck_assert_uint_eq (stats.queue_depth, 5);
    s_finish (works);
    const uint64_t order [] = { 7, 5, 6, 4, 3 };
    for (unsigned index = 0; index < 5; index++)
        s_expect_done (0, order [index]);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_priority_that_is_none_is_refused)
{
    gpb_test_broker_open (&s_node, 1);
    s_send ((s_request_t){ .id = 1, .device = -1, .priority = 4 });
    ck_assert_ptr_nonnull (
        strstr (gpb_test_peer_expect (&s_node.client, 1, GPB_INVALID_ARGUMENT)->message,
                "priority 4: expected -3 to 3"));
    s_send ((s_request_t){ .id = 1, .device = -1, .priority = -4 });
    gpb_test_peer_expect (&s_node.client, 1, GPB_INVALID_ARGUMENT);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_the_lowest_priority_is_served_beside_a_stream_of_the_highest)
{
    gpb_test_broker_configure (&s_node, "aging_ms", "20");
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2];
    gpb_test_broker_fill (&s_node, works, 0);
    s_send ((s_request_t){ .id = 3, .device = -1, .priority = -3 });
    uint64_t id = 4, end_ns = gpb_clock_ns () + 20 * GPB_NS_PER_S;
    for (; id < 14; id++)
        s_send ((s_request_t){ .id = id, .device = -1, .priority = 3, .timeout_ms = 60000 });
    for (unsigned number = 0; number < 2; number++) {
        zmq_poll (NULL, 0, 10);    //  as long as the device works, so that its credit stays small
        gpb_test_executor_finish (&s_node.devices [0], &works [number]);
        gpb_test_peer_expect (&s_node.client, works [number].id, GPB_OK);
    }
    bool was_served = false;
    while (!was_served) {
        gpb_test_work_t work;
        gpb_test_executor_take (&s_node.devices [0], &work);
        was_served = work.id == 3;
        zmq_poll (NULL, 0, 10);
        gpb_test_executor_finish (&s_node.devices [0], &work);
        gpb_test_peer_expect (&s_node.client, work.id, GPB_OK);
        if (!was_served)
            s_send ((s_request_t){ .id = id, .device = -1, .priority = 3, .timeout_ms = 60000 });
        id++;
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
    }
    ck_assert_uint_ge (s_stats ().aged, 6);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_what_is_late_is_never_started)
{
    gpb_test_broker_open (&s_node, 1);
    gpb_test_work_t works [2];
    gpb_test_broker_fill (&s_node, works, 0);
    s_send ((s_request_t){ .id = 3, .device = -1, .timeout_ms = 30 });
    s_send ((s_request_t){ .id = 4, .device = -1 });
    ck_assert_ptr_nonnull (
        strstr (gpb_test_peer_expect (&s_node.client, 3, GPB_DEADLINE_EXCEEDED)->message,
                "while it waited"));
    ck_assert_uint_eq (s_stats ().expired, 1);
    s_finish (works);
    s_expect_done (0, 4);    //  and not 3
    gpb_test_broker_no_work (&s_node, &s_node.devices [0]);
    gpb_test_broker_close (&s_node);
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Another device

//  Where request `id` is, on either device.
static gpb_test_executor_t *
s_find (uint64_t id, gpb_test_work_t *work)
{
    uint64_t end_ns = gpb_clock_ns () + GPB_TEST_PATIENCE_MS * GPB_NS_PER_MS;
    for (unsigned device = 0;; device = 1 - device) {
        if (gpb_test_executor_poll (&s_node.devices [device], work)) {
            ck_assert_uint_eq (work->id, id);
            return &s_node.devices [device];
        }
        ck_assert_uint_lt (gpb_clock_ns (), end_ns);
        zmq_poll (NULL, 0, 1);
    }
}

START_TEST (test_an_idempotent_request_runs_again_where_its_device_was_lost)
{
    gpb_test_broker_open (&s_node, 2);
    s_send ((s_request_t){ .id = 1, .device = -1, .idempotent = true, .size = 5000 });
    gpb_test_work_t work;
    gpb_test_executor_t *first = s_find (1, &work);
    ck_assert_uint_eq (work.hop.attempt, 0);
    gpb_test_executor_answer (first, &work, GPB_UNAVAILABLE, "the card fell out", NULL);
    gpb_test_executor_t *second = s_find (1, &work);
    ck_assert_ptr_ne (first, second);
    ck_assert_uint_eq (work.hop.attempt, 1);
    ck_assert_uint_eq (work.payloads_count, 1);
    ck_assert_uint_eq (work.size, 5000);
    zmq_msg_t payload;
    const void *data = gpb_test_payload (&payload, 300);
    (void) data;
    gpb_test_executor_answer (second, &work, GPB_OK, "", &payload);
    gpb_test_peer_expect (&s_node.client, 1, GPB_OK);
    //  The reply's own payload and not the request's.
    ck_assert_uint_eq (s_node.client.message.payloads_count, 1);
    ck_assert_uint_eq (zmq_msg_size (&s_node.client.message.payloads [0]), 300);
    ck_assert_uint_eq (s_stats ().rerun, 1);

    //  Where there is no other, and where it was not said to be idempotent, the answer is the
    //  device's.
    s_send ((s_request_t){ .id = 2, .device = 0, .idempotent = true });
    first = s_find (2, &work);
    gpb_test_executor_answer (first, &work, GPB_UNAVAILABLE, "again", NULL);
    gpb_test_peer_expect (&s_node.client, 2, GPB_UNAVAILABLE);
    s_send ((s_request_t){ .id = 3, .device = -1 });
    first = s_find (3, &work);
    gpb_test_executor_answer (first, &work, GPB_UNAVAILABLE, "and again", NULL);
    gpb_test_peer_expect (&s_node.client, 3, GPB_UNAVAILABLE);
    //  A fault of its own is no reason either.
    s_send ((s_request_t){ .id = 4, .device = -1, .idempotent = true, .size = 5000 });
    first = s_find (4, &work);
    gpb_test_executor_answer (first, &work, GPB_INVALID_ARGUMENT, "no", NULL);
    gpb_test_peer_expect (&s_node.client, 4, GPB_INVALID_ARGUMENT);
    ck_assert_uint_eq (s_node.client.message.payloads_count, 0);
    gpb_test_broker_close (&s_node);
}
END_TEST

static void
s_send_memory (uint64_t id, Gpb__V1__Request__BodyCase kind, uint64_t size, uint64_t handle)
{
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    Gpb__V1__Rent rent = GPB__V1__RENT__INIT;
    Gpb__V1__Reserve reserve = GPB__V1__RESERVE__INIT;
    Gpb__V1__Renew renew = GPB__V1__RENEW__INIT;
    Gpb__V1__Unreserve unreserve = GPB__V1__UNRESERVE__INIT;
    request.id = id;
    request.body_case = kind;
    switch (kind) {
    case GPB__V1__REQUEST__BODY_RENT:
        request.rent = &rent;
        rent.size = size;
        rent.reservation = handle;
        break;
    case GPB__V1__REQUEST__BODY_RESERVE:
        request.reserve = &reserve;
        reserve.memory = size;
        break;
    case GPB__V1__REQUEST__BODY_RENEW:
        request.renew = &renew;
        renew.handle = handle;
        break;
    default:
        request.unreserve = &unreserve;
        unreserve.handle = handle;
        break;
    }
    gpb_test_peer_send (&s_node.client, &request, NULL);
}

START_TEST (test_a_rent_that_a_device_cannot_hold_is_tried_on_the_others)
{
    static const Gpb__V1__Request__BodyCase kinds [] = { GPB__V1__REQUEST__BODY_RENT,
                                                         GPB__V1__REQUEST__BODY_RESERVE };
    gpb_test_broker_open (&s_node, 2);
    for (unsigned index = 0; index < 2; index++) {
        gpb_test_work_t work;
        s_send_memory (1, kinds [index], 100, 0);
        gpb_test_executor_t *first = s_find (1, &work);
        gpb_test_executor_answer (first, &work, GPB_RESOURCE_EXHAUSTED, "full", NULL);
        gpb_test_executor_t *second = s_find (1, &work);
        ck_assert_ptr_ne (first, second);
        ck_assert_int_eq (work.kind, kinds [index]);
        gpb_test_executor_answer (second, &work, GPB_RESOURCE_EXHAUSTED, "full too", NULL);
        //  Both say that they have the memory, so the last one's own word is all there is.
        ck_assert_str_eq (gpb_test_peer_expect (&s_node.client, 1, GPB_RESOURCE_EXHAUSTED)->message,
                          "full too");

        //  With what they have by now, each is named.
        s_send_memory (2, kinds [index], 100, 0);
        first = s_find (2, &work);
        s_node.devices [0].available_memory = s_node.devices [1].available_memory = 5;
        gpb_test_executor_answer (first, &work, GPB_RESOURCE_EXHAUSTED, "full", NULL);
        second = s_find (2, &work);
        gpb_test_executor_answer (second, &work, GPB_RESOURCE_EXHAUSTED, "full too", NULL);
        const char *text =
            gpb_test_peer_expect (&s_node.client, 2, GPB_RESOURCE_EXHAUSTED)->message;
        ck_assert_ptr_nonnull (strstr (text, "device 0 (first) has 5 bytes available of the 100"));
        ck_assert_ptr_nonnull (strstr (text, "device 1 (second) has 5 bytes available"));
        for (unsigned device = 0; device < 2; device++) {
            s_node.devices [device].available_memory = 1000;
            gpb_test_executor_answer (&s_node.devices [device],
                                      &(gpb_test_work_t){
                                          .hop = { .magic = GPB_HOP_MAGIC, .slot = 1000000 } },
                                      GPB_OK, "", NULL);
            //  Until the broker has seen that answer too.
            while (s_stats ().devices [device]->available_memory != 1000)
                ;
        }
    }
    ck_assert_uint_eq (s_stats ().rerun, 0);
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_what_names_a_reservation_goes_to_its_device)
{
    gpb_test_broker_open (&s_node, 2);
    const uint64_t handle = 1ULL << 56 | 7;
    static const Gpb__V1__Request__BodyCase kinds [] = { GPB__V1__REQUEST__BODY_RENT,
                                                         GPB__V1__REQUEST__BODY_RENEW,
                                                         GPB__V1__REQUEST__BODY_UNRESERVE };
    for (unsigned index = 0; index < 3; index++) {
        //  However much it asks for: the reservation knows what it has.
        s_send_memory (1, kinds [index], UINT64_MAX, handle);
        gpb_test_work_t work;
        gpb_test_executor_take (&s_node.devices [1], &work);
        ck_assert_int_eq (work.kind, kinds [index]);
        gpb_test_executor_answer (&s_node.devices [1], &work, GPB_NOT_FOUND, "no reservation",
                                  NULL);
        gpb_test_peer_expect (&s_node.client, 1, GPB_NOT_FOUND);
        s_send_memory (2, kinds [index], 1, 9ULL << 56 | 7);    //  no such device
        ck_assert_ptr_nonnull (
            strstr (gpb_test_peer_expect (&s_node.client, 2, GPB_NOT_FOUND)->message,
                    "no reservation with handle 0900000000000007"));
    }
    gpb_test_broker_close (&s_node);
}
END_TEST

START_TEST (test_a_reservation_that_fits_nowhere_says_why_of_each_device)
{
    gpb_test_broker_open (&s_node, 2);
    s_send_memory (1, GPB__V1__REQUEST__BODY_RESERVE, UINT64_MAX, 0);
    const char *text = gpb_test_peer_expect (&s_node.client, 1, GPB_RESOURCE_EXHAUSTED)->message;
    ck_assert_ptr_nonnull (strstr (text, "device 0 (first) has"));
    ck_assert_ptr_nonnull (strstr (text, "device 1 (second) has"));
    gpb_test_broker_close (&s_node);
}
END_TEST

GPB_TEST_MAIN ("gpb_broker_queue", 60, test_a_full_queue_says_when_to_try_again,
               test_one_client_at_its_bound_leaves_room_for_others,
               test_a_flood_leaves_room_on_its_device_for_whoever_comes,
               test_priority_then_deadline_decide_who_is_next,
               test_a_priority_that_is_none_is_refused,
               test_the_lowest_priority_is_served_beside_a_stream_of_the_highest,
               test_what_is_late_is_never_started,
               test_an_idempotent_request_runs_again_where_its_device_was_lost,
               test_a_rent_that_a_device_cannot_hold_is_tried_on_the_others,
               test_what_names_a_reservation_goes_to_its_device,
               test_a_reservation_that_fits_nowhere_says_why_of_each_device)
