//  gpb_isolated - the process of one device: the other side of a gpb_supervisor
//
//  Runs the device's actors in a process of their own (gpb_device_host), behind an ipc endpoint
//  that only its node can reach. It lives as long as the node holds its end of the control socket:
//  told to stop, it drains as any device does; where that end closes without a word, the node is
//  dead, and it is to end at once.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_ISOLATED_H_INCLUDED
#define GPB_ISOLATED_H_INCLUDED

#include "gpb_config.h"

//  What the node says on the control socket, behind the configuration (gpb_config_write), which is
//  the first packet. The process says once GPB_ISOLATED_READY, or a status by name, a blank, and
//  the reason. Where it serves the device and not the device's kernel host, a blank and why there
//  is none follow READY. What it says after that is the reason of its end.
#define GPB_ISOLATED_STOP "STOP"
#define GPB_ISOLATED_READY "READY"

//  The kernel host's endpoint is the device's and this.
#define GPB_ISOLATED_HOST "-host"

//  What the process shares with its node, from GPB_CHILD_SHARED on: a region (gpb_region.h) for
//  what the device takes and one for what it gives, and the same for the host, which is another
//  thread.
#define GPB_ISOLATED_REGIONS 4

//  Reads the configuration of the process of a device off the control socket. NULL: the reason is
//  in *error.
gpb_config_t *gpb_isolated_configure (gpb_error_t *error);

//  Serves a device until it is told to stop, and has: GPB_OK. UNAVAILABLE: the node is gone, and
//  nothing is left of its endpoint; kernels may still run, so the process is to end by _exit. Any
//  other status: the device could not be opened, and the node knows.
gpb_status_t gpb_isolated_serve (unsigned index, const char *endpoint, const gpb_config_t *config,
                                 gpb_error_t *error);

#endif
