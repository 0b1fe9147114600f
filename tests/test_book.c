//  Tests of gpb_book: a request is found by each of its names as long as it is open, and by none
//  after that.

#include "gpb_test.h"

#include "gpb_alloc.h"
#include "gpb_book.h"

#include <stdlib.h>

static gpb_error_t error;
static gpb_book_t *s_book;
static gpb_connection_t s_connections [3] = { { .number = 1 }, { .number = 2 }, { .number = 3 } };

static void
s_open (void)
{
    s_book = gpb_book_new (&error);
    ck_assert_ptr_nonnull (s_book);
}

static gpb_entry_t *
s_enter (gpb_connection_t *connection, uint64_t id, uint64_t deadline_ns)
{
    gpb_message_t message;
    gpb_message_init (&message);
    zmq_msg_close (&message.header);
    zmq_msg_init_size (&message.header, 100);
    message.envelope_count = 1;
    zmq_msg_init_size (&message.envelope [0], 5);
    zmq_msg_t payload;
    zmq_msg_init_size (&payload, 1000);
    gpb_message_add (&message, &payload, NULL);
    zmq_msg_close (&payload);
    Gpb__V1__Request request = GPB__V1__REQUEST__INIT;
    request.id = id;
    request.body_case = GPB__V1__REQUEST__BODY_EXECUTE;
    gpb_call_t call = { .request = &request,
                        .message = &message,
                        .connection = connection,
                        .received_ns = 1000 + id,
                        .deadline_ns = deadline_ns };
    gpb_entry_t *entry = gpb_book_enter (s_book, &call, &error);
    //  The frames are the entry's, or else still the call's.
    ck_assert_uint_eq (message.payloads_count, entry ? 0 : 1);
    ck_assert_uint_eq (message.envelope_count, entry ? 0 : 1);
    gpb_message_clear (&message);
    return entry;
}

START_TEST (test_an_entry_is_found_by_all_its_names)
{
    s_open ();
    gpb_entry_t *entry = s_enter (&s_connections [0], 7, 50);
    ck_assert_ptr_eq (gpb_book_at (s_book, entry->slot, entry->generation), entry);
    ck_assert_ptr_eq (gpb_book_find (s_book, 1, 7), entry);
    ck_assert_ptr_eq (gpb_book_of_client (&s_connections [0]), entry);
    ck_assert_ptr_eq (gpb_book_earliest (s_book), entry);
    ck_assert_uint_eq (gpb_book_unanswered (s_book), 1);
    ck_assert_uint_eq (entry->size, 1100);
    ck_assert_uint_eq (entry->received_ns, 1007);
    ck_assert_uint_eq (entry->sent_ns, 0);
    ck_assert_uint_eq (entry->message.envelope_count, 1);
    ck_assert_ptr_null (gpb_book_find (s_book, 2, 7));
    ck_assert_ptr_null (gpb_book_find (s_book, 1, 8));
    ck_assert_ptr_null (gpb_book_of_client (&s_connections [1]));
    ck_assert_ptr_null (gpb_book_at (s_book, entry->slot, entry->generation + 1));
    ck_assert_ptr_null (gpb_book_at (s_book, 1000000, 0));
    ck_assert_ptr_null (gpb_book_at (s_book, UINT32_MAX, 0));
    gpb_book_close (s_book, entry);
    gpb_book_destroy (&s_book);
    ck_assert_ptr_null (s_book);
}
END_TEST

START_TEST (test_an_id_in_flight_is_refused_until_it_is_answered)
{
    s_open ();
    gpb_entry_t *first = s_enter (&s_connections [0], 7, 50);
    ck_assert_ptr_null (s_enter (&s_connections [0], 7, 60));
    ck_assert_refused (error.status, GPB_ALREADY_EXISTS, "request 7");
    ck_assert_ptr_nonnull (s_enter (&s_connections [1], 7, 60));
    gpb_book_answered (s_book, first);
    gpb_book_answered (s_book, first);    //  twice is once
    ck_assert_ptr_null (gpb_book_find (s_book, 1, 7));
    gpb_entry_t *second = s_enter (&s_connections [0], 7, 60);
    ck_assert_ptr_nonnull (second);
    ck_assert_ptr_eq (gpb_book_at (s_book, first->slot, first->generation), first);
    gpb_book_close (s_book, first);    //  and takes nothing of the second along
    ck_assert_ptr_eq (gpb_book_find (s_book, 1, 7), second);
    ck_assert_uint_eq (gpb_book_unanswered (s_book), 2);
    gpb_book_destroy (&s_book);
}
END_TEST

START_TEST (test_a_slot_used_again_has_another_generation)
{
    s_open ();
    gpb_entry_t *entry = s_enter (&s_connections [0], 1, 50);
    uint32_t slot = entry->slot, generation = entry->generation;
    entry->sent_ns = 5;
    gpb_book_close (s_book, entry);
    ck_assert_ptr_null (gpb_book_at (s_book, slot, generation));
    gpb_entry_t *next = s_enter (&s_connections [0], 2, 50);
    ck_assert_uint_eq (next->slot, slot);
    ck_assert_uint_ne (next->generation, generation);
    ck_assert_uint_eq (next->sent_ns, 0);
    ck_assert (!next->answered);
    ck_assert_ptr_null (gpb_book_at (s_book, slot, generation));
    gpb_book_destroy (&s_book);
}
END_TEST

START_TEST (test_the_nearest_deadline_comes_first)
{
    s_open ();
    srand (6);
    for (uint64_t id = 1; id <= 500; id++)
        ck_assert_ptr_nonnull (s_enter (&s_connections [id % 3], id, (uint64_t) rand () % 100));
    uint64_t last_ns = 0, count = 0;
    for (gpb_entry_t *entry; (entry = gpb_book_earliest (s_book)); count++) {
        ck_assert_uint_ge (entry->deadline.key, last_ns);
        last_ns = entry->deadline.key;
        if (count % 2)
            gpb_book_close (s_book, entry);
        else
            gpb_book_answered (s_book, entry);
    }
    ck_assert_uint_eq (count, 500);
    ck_assert_uint_eq (gpb_book_unanswered (s_book), 0);
    gpb_book_destroy (&s_book);
}
END_TEST

START_TEST (test_entries_of_a_client_that_left_are_nobodys)
{
    s_open ();
    gpb_entry_t *entries [6];
    for (uint64_t id = 0; id < 6; id++)
        entries [id] = s_enter (&s_connections [id % 2], id, 50);
    gpb_book_close (s_book, entries [2]);    //  from the middle of the first client's
    for (unsigned count = 0; count < 2; count++) {
        gpb_entry_t *entry = gpb_book_of_client (&s_connections [0]);
        ck_assert_uint_eq (entry->key.client, 1);
        gpb_book_orphan (entry);
        ck_assert_ptr_null (entry->connection);
        gpb_book_orphan (entry);
    }
    ck_assert_ptr_null (gpb_book_of_client (&s_connections [0]));
    ck_assert_uint_eq (gpb_book_unanswered (s_book), 5);
    ck_assert_ptr_eq (gpb_book_at (s_book, entries [0]->slot, entries [0]->generation),
                      entries [0]);
    gpb_book_close (s_book, entries [0]);
    for (uint64_t id = 1; id < 6; id += 2)
        gpb_book_close (s_book, gpb_book_of_client (&s_connections [1]));
    ck_assert_ptr_null (gpb_book_of_client (&s_connections [1]));
    gpb_book_destroy (&s_book);
}
END_TEST

//  Against an array: what is open is found, what is not is not.
START_TEST (test_the_book_agrees_with_an_array)
{
    enum { IDS = 400 };
    static struct {
        gpb_entry_t *entry;
        uint32_t slot, generation;
        bool answered;
    } model [3][IDS];
    s_open ();
    srand (8);
    size_t unanswered = 0;
    for (unsigned step = 0; step < 30000; step++) {
        unsigned client = (unsigned) rand () % 3, id = (unsigned) rand () % IDS;
        gpb_entry_t *entry = model [client][id].entry;
        if (!entry) {
            entry = s_enter (&s_connections [client], id, (uint64_t) rand ());
            ck_assert_ptr_nonnull (entry);
            model [client][id].entry = entry;
            model [client][id].slot = entry->slot;
            model [client][id].generation = entry->generation;
            model [client][id].answered = false;
            unanswered++;
        }
        else if (!model [client][id].answered && rand () % 2) {
            gpb_book_answered (s_book, entry);
            model [client][id].answered = true;
            unanswered--;
        }
        else {
            unanswered -= !model [client][id].answered;
            gpb_book_close (s_book, entry);
            model [client][id].entry = NULL;
        }
        client = (unsigned) rand () % 3, id = (unsigned) rand () % IDS;
        entry = model [client][id].entry;
        ck_assert_ptr_eq (gpb_book_find (s_book, client + 1, id),
                          model [client][id].answered ? NULL : entry);
        ck_assert_uint_eq (gpb_book_unanswered (s_book), unanswered);
        if (entry)
            ck_assert_ptr_eq (gpb_book_at (s_book, model [client][id].slot,
                                           model [client][id].generation),
                              entry);
    }
    gpb_book_destroy (&s_book);
}
END_TEST

START_TEST (test_a_request_that_gets_no_memory_is_refused)
{
    for (int64_t after = 0;; after++) {
        gpb_alloc_fail (after, 0);
        s_book = gpb_book_new (&error);
        if (s_book)
            for (uint64_t id = 1; id <= 130; id++)
                if (!s_enter (&s_connections [0], id, id))
                    ck_assert_refused (error.status, GPB_RESOURCE_EXHAUSTED, "no memory");
        bool done = gpb_alloc_fail (-1, 0) <= (uint64_t) after;
        if (s_book) {
            gpb_entry_t *entry;
            while ((entry = gpb_book_of_client (&s_connections [0])))
                gpb_book_close (s_book, entry);
            ck_assert_uint_eq (gpb_book_unanswered (s_book), 0);
        }
        gpb_book_destroy (&s_book);
        s_connections [0].data = NULL;    //  a connection has ended with its book
        if (done)
            break;
    }
}
END_TEST

START_TEST (test_a_connection_is_forgotten_when_it_has_ended)
{
    s_open ();
    ck_assert_ptr_null (gpb_book_tenant (&s_connections [1]));
    gpb_book_end (s_book, &s_connections [1]);    //  it has asked for nothing
    gpb_entry_t *entry = s_enter (&s_connections [1], 7, 50);
    ck_assert_ptr_nonnull (gpb_book_tenant (&s_connections [1]));
    ck_assert_ptr_eq (entry->tenant, gpb_book_tenant (&s_connections [1]));
    ck_assert_ptr_ne (s_enter (&s_connections [2], 7, 50)->tenant, entry->tenant);
    gpb_book_orphan (entry);
    ck_assert_ptr_null (entry->tenant);
    gpb_book_end (s_book, &s_connections [1]);
    ck_assert_ptr_null (gpb_book_tenant (&s_connections [1]));
    ck_assert_ptr_eq (gpb_book_at (s_book, entry->slot, entry->generation), entry);
    gpb_book_close (s_book, entry);
    gpb_book_destroy (&s_book);    //  with the third one's
}
END_TEST

START_TEST (test_thousands_are_found_by_id)
{
    s_open ();
    for (uint64_t id = 1; id <= 5000; id++)
        ck_assert_ptr_nonnull (s_enter (&s_connections [id % 3], id, id));
    for (uint64_t id = 1; id <= 5000; id++)
        for (uint64_t client = 1; client <= 3; client++) {
            const gpb_entry_t *entry = gpb_book_find (s_book, client, id);
            ck_assert (id % 3 + 1 == client ? entry && entry->key.id == id : !entry);
        }
    for (uint64_t id = 1; id <= 5000; id += 2)
        gpb_book_close (s_book, gpb_book_find (s_book, id % 3 + 1, id));
    for (uint64_t id = 1; id <= 5000; id++)
        ck_assert_int_eq (gpb_book_find (s_book, id % 3 + 1, id) != NULL, id % 2 == 0);
    gpb_book_destroy (&s_book);
}
END_TEST

GPB_TEST_MAIN ("gpb_book", 20, test_a_connection_is_forgotten_when_it_has_ended,
               test_thousands_are_found_by_id, test_an_entry_is_found_by_all_its_names,
               test_an_id_in_flight_is_refused_until_it_is_answered,
               test_a_slot_used_again_has_another_generation, test_the_nearest_deadline_comes_first,
               test_entries_of_a_client_that_left_are_nobodys, test_the_book_agrees_with_an_array,
               test_a_request_that_gets_no_memory_is_refused)
