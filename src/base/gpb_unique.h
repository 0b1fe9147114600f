//  gpb_unique - numbers that are used once, for the names of inproc endpoints
//
//  An address in memory is no such name: libzmq lets go of an endpoint some time after its socket
//  was closed, and by then the heap may have given the address to the next one, which then cannot
//  bind.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_UNIQUE_H_INCLUDED
#define GPB_UNIQUE_H_INCLUDED

#include <stdint.h>

//  From 1, and never the same again in this process. Any thread.
uint64_t gpb_unique (void);

#endif
