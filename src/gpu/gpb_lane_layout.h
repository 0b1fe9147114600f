//  gpb_lane_layout - kernels/gpb_lane.h, for the host's own code
//
//  The one text says what a lane looks like to both sides. Its words for address spaces and
//  functions mean nothing on the host.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_LANE_LAYOUT_H_INCLUDED
#define GPB_LANE_LAYOUT_H_INCLUDED

#include <sys/types.h>    //  uint, ulong

#ifndef GLOBAL
#define GLOBAL
#endif
#ifndef FUNCTION
#define FUNCTION static inline
#endif

#include "../../kernels/gpb_lane.h"

#endif
