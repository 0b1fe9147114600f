//  gpb_hop - the frame that a broker puts in the place of its client's envelope
//
//  Toward an executor a broker sends one frame, the empty one, and the client's header and payloads
//  as they came. The executor echoes the frame, as it does any envelope, and reads from it what
//  concerns it: whose request this is, and how much of its time is left. It may say in it how long
//  it was busy with the request: what the broker sees has the way there and back in it, and that of
//  an executor that is handed too little says nothing about how fast it is. It never leaves the
//  machine, so its words are the host's. A client that forges one to a device that it reaches
//  directly changes nothing but its own request, since owners are counted by connection first.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_HOP_H_INCLUDED
#define GPB_HOP_H_INCLUDED

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <zmq.h>

#define GPB_HOP_MAGIC 0x31706F48u    //  "Hop1"

#define GPB_HOP_INPROC 1    //  the client is in the broker's process
#define GPB_HOP_TRIM 2    //  of a pool's device, with stats: first, free memory goes to the driver
#define GPB_HOP_SERVED 4    //  in an answer: it says served_ns
#define GPB_HOP_HOST 8      //  for the device's kernel host, not for the device

typedef struct {
    uint32_t magic;
    uint16_t attempt;       //  0 for the first
    uint16_t flags;         //  GPB_HOP_*
    uint32_t slot;          //  in the sender's book
    uint32_t generation;    //  of that slot: a late reply to an earlier use of it is known by this
    uint64_t owner;    //  the client's connection, as the sender numbers it; 0: the sender itself
    union {
        uint64_t remaining_ns;    //  until the request's deadline, when this was sent
        uint64_t served_ns;       //  in an answer: how long the executor was busy with it
    };
} gpb_hop_t;

//  Fills an initialised frame.
static inline void
gpb_hop_write (zmq_msg_t *frame, const gpb_hop_t *hop)
{
    zmq_msg_close (frame);
    zmq_msg_init_size (frame,
                       sizeof *hop);    //  up to 33 bytes stand in the zmq_msg_t: no allocation
    memcpy (zmq_msg_data (frame), hop, sizeof *hop);
}

//  False where the frame is none.
static inline bool
gpb_hop_read (const zmq_msg_t *frame, gpb_hop_t *hop)
{
    if (zmq_msg_size (frame) != sizeof *hop)
        return false;
    memcpy (hop, zmq_msg_data ((zmq_msg_t *) frame), sizeof *hop);
    return hop->magic == GPB_HOP_MAGIC;
}

#endif
