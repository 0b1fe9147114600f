//  gpb_monitor - reads what a ZeroMQ socket's monitor says
//
//  An event is a frame of 16 bits of event and 32 of value, then one with the endpoint.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_monitor.h"

#include <string.h>
#include <zmq.h>

bool
gpb_monitor_next (void *pair, uint16_t *event_p, int32_t *value_p)
{
    zmq_msg_t frame;
    zmq_msg_init (&frame);
    *event_p = 0;
    *value_p = -1;
    bool is_there = zmq_msg_recv (&frame, pair, ZMQ_DONTWAIT) >= 0;
    if (is_there && zmq_msg_size (&frame) >= sizeof *event_p + sizeof *value_p) {
        const uint8_t *data = zmq_msg_data (&frame);
        memcpy (event_p, data, sizeof *event_p);
        memcpy (value_p, data + sizeof *event_p, sizeof *value_p);
    }
    while (is_there && zmq_msg_more (&frame) && zmq_msg_recv (&frame, pair, ZMQ_DONTWAIT) >= 0)
        ;
    zmq_msg_close (&frame);
    return is_there;
}
