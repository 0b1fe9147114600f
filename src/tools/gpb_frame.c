//  gpb_frame - what `gpb top` shows at one moment, from two answers of the node
//
//  The node first, then its queue, its devices, their memory, its persistent kernels. Laid out for
//  80 columns, where a device's name is short and its 95th percentile is left out; what a wider
//  terminal has left, these two get.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_frame.h"

#include "gpb_table.h"
#include "gpb_tool.h"

#include <inttypes.h>
#include <string.h>

#define COLUMNS_LEAST 80
#define P95_COLUMNS 9     //  of the 95th percentile
#define NAME_LEAST 10     //  characters of a device's name, in 80 columns
#define KERNEL_LEAST 9    //  characters of a persistent kernel's id, in 80 columns
#define NAME_MOST 40      //  and where there is any room

static const Gpb__V1__Load s_no_load = GPB__V1__LOAD__INIT;

double
gpb_frame_rate (const gpb_frame_t *self, uint64_t now, uint64_t before)
{
    if (!self->now || !self->before || self->now->uptime_ns <= self->before->uptime_ns)
        return -1;
    double seconds = (double) (self->now->uptime_ns - self->before->uptime_ns) / 1e9;
    return now >= before ? (double) (now - before) / seconds : 0;
}

const Gpb__V1__Load *
gpb_frame_load_before (const gpb_frame_t *self, uint32_t device)
{
    for (size_t index = 0; self->before && index < self->before->n_devices; index++)
        if (self->before->devices [index]->index == device)
            return self->before->devices [index]->load;
    return NULL;
}

const Gpb__V1__Residency *
gpb_frame_residency_before (const gpb_frame_t *self, const Gpb__V1__Residency *now)
{
    for (size_t index = 0; self->before && index < self->before->n_residencies; index++) {
        const Gpb__V1__Residency *before = self->before->residencies [index];
        if (before->device == now->device && before->version == now->version
            && strcmp (before->kernel, now->kernel) == 0)
            return before;
    }
    return NULL;
}

//  "1234", "12.3k", "4.56M"; "-" where it is not known.
static const char *
s_rate (double rate, char *text)
{
    if (rate < 0)
        snprintf (text, GPB_FIGURE_SIZE, "-");
    else if (rate < 10)
        snprintf (text, GPB_FIGURE_SIZE, "%.1f", rate);
    else if (rate < 10000)
        snprintf (text, GPB_FIGURE_SIZE, "%.0f", rate);
    else if (rate < 1e6)
        snprintf (text, GPB_FIGURE_SIZE, "%.1fk", rate / 1e3);
    else
        snprintf (text, GPB_FIGURE_SIZE, "%.2fM", rate / 1e6);
    return text;
}

//  "3 d 04:05:06".
static const char *
s_uptime (uint64_t uptime_ns, char *text)
{
    uint64_t seconds = uptime_ns / 1000000000;
    int used = 0;
    if (seconds >= 86400)
        used = snprintf (text, GPB_FIGURE_SIZE, "%" PRIu64 " d ", seconds / 86400);
    snprintf (text + used, GPB_FIGURE_SIZE - (size_t) used, "%02u:%02u:%02u",
              (unsigned) (seconds / 3600 % 24), (unsigned) (seconds / 60 % 60),
              (unsigned) (seconds % 60));
    return text;
}

//  Bytes of a text that are its first characters.
static int
s_clip (const char *text, int characters)
{
    int at = 0;
    for (; text [at]; at++)
        if (((unsigned char) text [at] & 0xC0) != 0x80 && characters-- == 0)
            break;
    return at;
}

static void
s_print_node (const gpb_frame_t *self, FILE *out)
{
    const Gpb__V1__StatsReply *now = self->now, *before = self->before;
    char text [GPB_FIGURE_SIZE], rate [GPB_FIGURE_SIZE], other [GPB_FIGURE_SIZE];
    fprintf (out, "gpb top: node %s at %s, up %s\n", now->node, self->endpoint,
             s_uptime (now->uptime_ns, text));
    fprintf (out,
             "%s requests/s, %s replies/s; %" PRIu64 " connections; dropped %" PRIu64
             " replies, %" PRIu64 " clients\n",
             s_rate (gpb_frame_rate (self, now->requests, before ? before->requests : 0), rate),
             s_rate (gpb_frame_rate (self, now->replies, before ? before->replies : 0), other),
             now->connections, now->dropped_replies, now->dropped_clients);
    if (self->trouble)
        fprintf (out, "NO ANSWER: %s\n", self->trouble);
    fprintf (out, "\nqueued %" PRIu64 " of %" PRIu64 ", %s of %s; in flight %" PRIu64 "\n",
             now->queue_depth, now->max_queue_depth, gpb_table_size (now->queue_size, text),
             gpb_table_size (now->max_queue_size, other), now->in_flight);
    fprintf (out, "priority");
    for (size_t index = 0; index < 7; index++)
        fprintf (out, "  %+d: %" PRIu64, (int) index - 3,
                 index < now->n_waiting ? now->waiting [index] : 0);
    fprintf (out,
             "\nexhausted %" PRIu64 "  expired %" PRIu64 "  cancelled %" PRIu64 "  aged %" PRIu64
             "  rerun %" PRIu64 "\n\n",
             now->exhausted, now->expired, now->cancelled, now->aged, now->rerun);
}

static void
s_add_time (gpb_table_t *table, const Gpb__V1__Latency *latency, uint64_t time_ns)
{
    char figure [GPB_FIGURE_SIZE];
    gpb_table_add (table, "%s", latency && latency->count ? gpb_table_time (time_ns, figure) : "-");
}

static gpb_status_t
s_print (gpb_table_t **table_p, FILE *out, gpb_error_t *error)
{
    gpb_status_t status = GPB_OK;
    if (!*table_p)
        status = gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a table");
    else
        status = gpb_table_print (*table_p, out, error);
    gpb_table_destroy (table_p);
    return status;
}

static gpb_status_t
s_print_devices (const gpb_frame_t *self, FILE *out, gpb_error_t *error)
{
    int spare = self->columns ? self->columns - COLUMNS_LEAST : NAME_MOST;
    bool has_p95 = spare >= P95_COLUMNS;
    spare -= has_p95 ? P95_COLUMNS : 0;
    int room = NAME_LEAST + (spare > 0 ? spare : 0);
    room = room < NAME_MOST ? room : NAME_MOST;
    gpb_table_t *table =
        gpb_table_new (has_p95 ? ">DEV NAME STATE >QUEUE >RUN >PER-S >FAIL-S >P50 >P95 >P99 >WAIT"
                               : ">DEV NAME STATE >QUEUE >RUN >PER-S >FAIL-S >P50 >P99 >WAIT");
    for (size_t index = 0; table && index < self->now->n_devices; index++) {
        const Gpb__V1__Device *device = self->now->devices [index];
        const Gpb__V1__Load *load = device->load ? device->load : &s_no_load;
        const Gpb__V1__Load *before = gpb_frame_load_before (self, device->index);
        const Gpb__V1__Latency *minute = load->latency_minute, *queued = load->queued;
        char figure [GPB_FIGURE_SIZE];
        gpb_table_add (table, "%" PRIu32, device->index);
        gpb_table_add (table, "%.*s", s_clip (device->name, room), device->name);
        gpb_table_add (table, "%s", gpb_tool_state_name (device->state));
        gpb_table_add (table, "%" PRIu64, load->queue_depth);
        gpb_table_add (table, "%" PRIu64, load->in_flight);
        gpb_table_add (table, "%s",
                       s_rate (before ? gpb_frame_rate (self, load->processed, before->processed)
                                      : -1,
                               figure));
        gpb_table_add (table, "%s",
                       s_rate (before ? gpb_frame_rate (self, load->failed, before->failed) : -1,
                               figure));
        s_add_time (table, minute, minute ? minute->p50_ns : 0);
        if (has_p95)
            s_add_time (table, minute, minute ? minute->p95_ns : 0);
        s_add_time (table, minute, minute ? minute->p99_ns : 0);
        s_add_time (table, queued, queued ? queued->p95_ns : 0);
    }
    return s_print (&table, out, error);
}

static gpb_status_t
s_print_memory (const gpb_frame_t *self, FILE *out, gpb_error_t *error)
{
    gpb_table_t *table =
        gpb_table_new (">DEV >AVAILABLE >RENTED >KEPT >LAUNCH >RESERVED >BUFS >HITS >INT >EXT");
    for (size_t index = 0; table && index < self->now->n_pools; index++) {
        const Gpb__V1__PoolStats *pool = self->now->pools [index];
        uint64_t available = 0;
        for (size_t at = 0; at < self->now->n_devices; at++)
            if (self->now->devices [at]->index == pool->device)
                available = self->now->devices [at]->available_memory;
        char figure [GPB_FIGURE_SIZE];
        uint64_t asked = pool->hits + pool->misses;
        gpb_table_add (table, "%" PRIu32, pool->device);
        gpb_table_add (table, "%s", gpb_table_size (available, figure));
        gpb_table_add (table, "%s", gpb_table_size (pool->in_use, figure));
        gpb_table_add (table, "%s", gpb_table_size (pool->kept, figure));
        gpb_table_add (table, "%s", gpb_table_size (pool->launch_held, figure));
        gpb_table_add (table, "%s", gpb_table_size (pool->reserved, figure));
        gpb_table_add (table, "%" PRIu64, pool->live);
        if (asked)
            gpb_table_add (table, "%.0f%%", 100 * (double) pool->hits / (double) asked);
        else
            gpb_table_add (table, "-");
        gpb_table_add (table, "%.0f%%", 100 * pool->internal_fragmentation);
        gpb_table_add (table, "%.0f%%", 100 * pool->external_fragmentation);
    }
    return s_print (&table, out, error);
}

static gpb_status_t
s_print_residencies (const gpb_frame_t *self, FILE *out, gpb_error_t *error)
{
    int spare = self->columns ? self->columns - COLUMNS_LEAST : NAME_MOST;
    int room = KERNEL_LEAST + (spare > 0 ? spare : 0);
    gpb_table_t *table =
        gpb_table_new ("STAYING >DEV STATE >LANES >WAIT >IN-LANE >PER-S >FAIL-S >P50 >P99");
    for (size_t index = 0; table && index < self->now->n_residencies; index++) {
        const Gpb__V1__Residency *now = self->now->residencies [index];
        const Gpb__V1__Residency *before = gpb_frame_residency_before (self, now);
        double answered = -1, failed = -1;
        char figure [GPB_FIGURE_SIZE];
        uint64_t in_lanes = 0;
        for (size_t lane = 0; lane < now->n_lanes; lane++)
            in_lanes += now->lanes [lane]->waiting;
        if (before) {
            answered = gpb_frame_rate (self, now->answered, before->answered);
            failed = gpb_frame_rate (self, now->failed, before->failed);
        }
        gpb_table_add (table, "%.*s", s_clip (now->kernel, room), now->kernel);
        gpb_table_add (table, "%" PRIu32, now->device);
        gpb_table_add (table, "%s", gpb_tool_residency_name (now->state));
        gpb_table_add (table, "%zu", now->n_lanes);
        gpb_table_add (table, "%" PRIu64, now->waiting);
        gpb_table_add (table, "%" PRIu64, in_lanes);
        gpb_table_add (table, "%s", s_rate (answered, figure));
        gpb_table_add (table, "%s", s_rate (failed, figure));
        s_add_time (table, now->latency, now->latency ? now->latency->p50_ns : 0);
        s_add_time (table, now->latency, now->latency ? now->latency->p99_ns : 0);
    }
    return s_print (&table, out, error);
}

gpb_status_t
gpb_frame_print (const gpb_frame_t *self, FILE *out, gpb_error_t *error)
{
    if (!self->now) {
        fprintf (out, "gpb top: %s\n%s%s\n", self->endpoint, self->trouble ? "NO ANSWER: " : "",
                 self->trouble ? self->trouble : "asking");
        return GPB_OK;
    }
    s_print_node (self, out);
    gpb_status_t status = s_print_devices (self, out, error);
    if (status == GPB_OK && self->now->n_pools) {
        fputc ('\n', out);
        status = s_print_memory (self, out, error);
    }
    if (status == GPB_OK && self->now->n_residencies) {
        fputc ('\n', out);
        status = s_print_residencies (self, out, error);
    }
    return status;
}
