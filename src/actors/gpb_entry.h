//  gpb_entry - a request in the broker, and the client that it came from
//
//  Plain structures that the book (gpb_book.h), the queues (gpb_queue.h), the placement
//  (gpb_placement.h) and the hosting (gpb_hosting.h) share: each of these owns the fields that
//  stand under its name. One thread: the broker's.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_ENTRY_H_INCLUDED
#define GPB_ENTRY_H_INCLUDED

#include "gpb_heap.h"
#include "gpb_service.h"

#define GPB_PLACEMENT_DEVICES_MAX 64    //  a set of them is a word

struct gpb_flow;
struct gpb_registration;

//  Requests, and bytes of their headers and payloads.
typedef struct {
    uint64_t requests, size;
} gpb_amount_t;

//  What waits of somebody: in all, and of that what each device alone may get. A kilobyte, so that
//  counting needs no memory that may run out.
typedef struct gpb_waiting {
    gpb_amount_t all, alone [GPB_PLACEMENT_DEVICES_MAX];
} gpb_waiting_t;

//  What the broker knows of one connection that has asked for work.
typedef struct {
    //  The book's
    struct gpb_entry *entries;    //  all that are open

    //  The queues'
    struct gpb_flow *flows;          //  one for each queue and level that it has waited in
    struct gpb_entry *bound_last;    //  of those that wait and name memory, the one that came last
    uint64_t depth;                  //  requests that wait
    uint64_t served_ns;              //  device time that it has had, as its turns count it

    //  The placement's
    uint64_t cost_ns;    //  device time of one of its requests, smoothed; 0: not known yet
    gpb_waiting_t waiting;
    gpb_waiting_t *key;    //  over all connections of its key; NULL: it came in without one

    //  The hosting's
    uint64_t hosted, hosted_size;    //  messages that are with kernel hosts, and their bytes
} gpb_tenant_t;

//  One request.
typedef struct gpb_entry {
    //  The book's
    uint32_t slot;
    uint32_t generation;             //  of the slot: counts up with every use
    gpb_heap_node_t deadline;        //  key: gpb_clock_ns () by which it is answered
    gpb_message_t message;           //  its frames; once it is sent, the envelope alone
    gpb_connection_t *connection;    //  NULL: the client is gone, and nobody waits for the answer
    gpb_tenant_t *tenant;            //  the connection's; NULL with it
    struct {
        uint64_t client;    //  gpb_connection_t.number
        uint64_t id;        //  the client's
    } key;
    Gpb__V1__Request__BodyCase kind;
    int priority;          //  as asked: GPB_PRIORITY_MIN to GPB_PRIORITY_MAX
    bool is_idempotent;    //  as asked
    uint64_t received_ns;
    uint64_t size;    //  bytes of its header and payloads
    bool answered;    //  the client has its answer: what the executor says is dropped
    struct gpb_registration *registration;    //  of a kernel, that goes to all devices; else NULL
    struct gpb_entry *client_previous, *client_next;    //  of its connection
    struct gpb_entry *key_next;                         //  of those whose keys hash alike
    struct gpb_entry *free_next;                        //  of those that are not open

    //  The principals' (gpb_principal.h)
    struct gpb_principal *principal;    //  whose request it is, until it is settled
    struct gpb_holding *holding;    //  what it will hold, where its principal's bytes are limited
    uint64_t named_handle;          //  that it gives back or renews, likewise; 0: none

    //  The queues'
    bool is_bound;            //  it names memory: it keeps its place among its client's that do
    unsigned level;           //  its priority, counted from 0, and how far it has aged
    uint64_t entered_ns;      //  this level
    gpb_heap_node_t rank;     //  in its flow; key: its deadline, tie: the order of coming
    struct gpb_flow *flow;    //  NULL: it waits in none
    struct gpb_entry *queue_previous, *queue_next;    //  of its level, in the order of entering
    struct gpb_entry *bound_previous, *bound_next;    //  of its client's that name memory

    //  The placement's
    uint64_t devices;      //  bit i: device i may have it
    uint64_t memory;       //  bytes that it will take of its device, once it is handed over
    unsigned device;       //  the one that has it
    uint64_t sent_ns;      //  to its executor; 0: it waits in a queue
    uint64_t served_ns;    //  as its executor says; 0: it does not
    unsigned attempts;     //  times that it was handed over

    //  The hosting's
    bool is_hosted;    //  a message of a persistent kernel: `device` names the host that has it
    uint64_t lane;     //  its key and its kernel, hashed; 0: it has no key
} gpb_entry_t;

#endif
