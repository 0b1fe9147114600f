//  gpb_spans - where the time of many messages of a persistent kernel went
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_spans.h"

#include <stdio.h>
#include <string.h>

static void
s_name_clock (gpb_spans_t *self, const char *clock)
{
    size_t size = strlen (self->clock);
    if (strstr (self->clock, clock) == NULL)
        snprintf (self->clock + size, sizeof self->clock - size, "%s%s", size ? ", " : "", clock);
}

void
gpb_spans_record (gpb_spans_t *self, const gpb_reply_t *reply)
{
    const gpb_message_timing_t *timing = gpb_reply_message_timing (reply);
    if (!timing)
        return;
    self->count++;
    self->on_demand += timing->is_on_demand;
    s_name_clock (self, timing->clock);
    gpb_histogram_record (&self->queued, timing->queued_ns);
    gpb_histogram_record (&self->ring, timing->ring_ns);
    if (timing->is_measured) {
        gpb_histogram_record (&self->taken, timing->taken_ns);
        gpb_histogram_record (&self->handler, timing->handler_ns);
        gpb_histogram_record (&self->back, timing->back_ns);
    }
}

void
gpb_spans_add (const gpb_spans_t *self, gpb_table_t *table, const double *percents,
               size_t percents_count)
{
    if (self->count == 0)
        return;
    gpb_tool_add_percentiles (table, "queued", &self->queued, percents, percents_count);
    gpb_tool_add_percentiles (table, "taken", &self->taken, percents, percents_count);
    gpb_tool_add_percentiles (table, "handler", &self->handler, percents, percents_count);
    gpb_tool_add_percentiles (table, "back", &self->back, percents, percents_count);
    gpb_tool_add_percentiles (table, "ring", &self->ring, percents, percents_count);
}

json_t *
gpb_spans_json (const gpb_spans_t *self)
{
    if (self->count == 0)
        return json_null ();
    return json_pack ("{s:o, s:b, s:I, s:o, s:o, s:o, s:o, s:o}", "clock",
                      gpb_json_text (self->clock), "measured", self->taken.count > 0, "on_demand",
                      (json_int_t) self->on_demand, "queued_ns", gpb_json_histogram (&self->queued),
                      "taken_ns", gpb_json_histogram (&self->taken), "handler_ns",
                      gpb_json_histogram (&self->handler), "back_ns",
                      gpb_json_histogram (&self->back), "ring_ns",
                      gpb_json_histogram (&self->ring));
}
