//  gpb_monitor - reads what a ZeroMQ socket's monitor says
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_MONITOR_H_INCLUDED
#define GPB_MONITOR_H_INCLUDED

#include <stdbool.h>
#include <stdint.h>

//  The next event of a PAIR that is connected to a monitor (zmq_socket_monitor), and its value: a
//  descriptor, or for some an error or a status. False: there is none. Never waits. A message that
//  is no event is event 0.
bool gpb_monitor_next (void *pair, uint16_t *event_p, int32_t *value_p);

#endif
