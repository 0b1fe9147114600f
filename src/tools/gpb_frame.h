//  gpb_frame - what `gpb top` shows at one moment, from two answers of the node
//
//  Rates are differences of what the node has counted, by the node's own clock. Plain text and
//  plain values: no terminal and no socket, so that a test can read it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_FRAME_H_INCLUDED
#define GPB_FRAME_H_INCLUDED

#include "gpb_error.h"

#include "gpb.pb-c.h"

#include <stdio.h>

typedef struct {
    const char *endpoint;              //  what was asked
    const char *trouble;               //  why there is no answer now; NULL: there is one
    const Gpb__V1__StatsReply *now;    //  the last answer; NULL: none yet
    const Gpb__V1__StatsReply
        *before;    //  the one before; NULL: none of the same life of the node
    int columns;    //  that a line may have; 0: any number
} gpb_frame_t;

//  Events a second: the difference of a counter from before to now. Negative where that is not
//  known, because there is no answer before.
double gpb_frame_rate (const gpb_frame_t *self, uint64_t now, uint64_t before);

//  What the device with this index had done in the answer before; NULL where it was not there.
const Gpb__V1__Load *gpb_frame_load_before (const gpb_frame_t *self, uint32_t device);

//  What this persistent kernel had done there in the answer before; NULL where it was not there, or
//  another version of it.
const Gpb__V1__Residency *gpb_frame_residency_before (const gpb_frame_t *self,
                                                      const Gpb__V1__Residency *now);

//  Writes the frame's lines. RESOURCE_EXHAUSTED when memory runs out.
gpb_status_t gpb_frame_print (const gpb_frame_t *self, FILE *out, gpb_error_t *error);

#endif
