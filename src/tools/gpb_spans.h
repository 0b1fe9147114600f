//  gpb_spans - where the time of many messages of a persistent kernel went
//
//  A histogram for each span of gpb_message_timing_t. A plain structure of 45 KiB; zeros are an
//  empty one. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_SPANS_H_INCLUDED
#define GPB_SPANS_H_INCLUDED

#include "gpb_tool.h"

typedef struct {
    uint64_t count;        //  messages that said anything
    uint64_t on_demand;    //  of these, those with a launch of their own
    char clock [32];       //  the devices', by name; "": none was recorded
    gpb_histogram_t queued, taken, handler, back, ring;
} gpb_spans_t;

//  Records a reply's timing; one without is no message's. What no clock has measured is in no
//  histogram. Where devices have different clocks, `clock` has both names.
void gpb_spans_record (gpb_spans_t *self, const gpb_reply_t *reply);

//  A row for each span, as gpb_tool_add_percentiles writes it; none where nothing was recorded.
void gpb_spans_add (const gpb_spans_t *self, gpb_table_t *table, const double *percents,
                    size_t percents_count);

//  An object of them all; JSON's null where nothing was recorded. NULL when memory runs out.
json_t *gpb_spans_json (const gpb_spans_t *self);

#endif
