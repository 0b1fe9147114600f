//  gpb_supervisor - a device whose actors run in a process of their own
//
//  Stands in the node where a gpb_device would (isolation = process): it is started with a
//  gpb_device_args_t, takes the commands BIND endpoint (once, inproc), HOST endpoint and $TERM, and
//  one gpb_broker connects to it. What that sends goes to the process, and the answers come back;
//  large payloads go through shared memory. It loads no backend.
//
//  The process has the device's kernel host too. HOST is answered by where that is reached: at the
//  endpoint of BIND, whatever HOST has named, by messages whose hop says that they are for it. So
//  the broker reads that a device is lost before what that means for either's requests. Where the
//  process has no kernel host HOST comes back with the reason.
//
//  When the process ends, whatever the cause, or hangs, the broker is told that the device is
//  RESTARTING and why, and everything that the process had is answered UNAVAILABLE with the reason.
//  What the broker sends meanwhile was not begun, and waits for the new process. A kernel that
//  crashed costs one device for the time that its platform takes to open: 0.1 to 0.2 s with PoCL.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_SUPERVISOR_H_INCLUDED
#define GPB_SUPERVISOR_H_INCLUDED

#include "gpb_device.h"

void gpb_supervisor (zsock_t *pipe, void *args);

#endif
