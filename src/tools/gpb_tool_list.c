//  gpb_tool_list - `gpb devices` and `gpb kernels`: one question, one table or object
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_table.h"
#include "gpb_tool.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

//  "a, b" of a list, cut where it is longer than text.
static const char *
s_join (char **words, size_t count, const char *separator, char *text, size_t size)
{
    size_t used = 0;
    text [0] = 0;
    for (size_t index = 0; index < count && used + 1 < size; index++) {
        int step =
            snprintf (text + used, size - used, "%s%s", index ? separator : "", words [index]);
        used += step > 0 ? (size_t) step : 0;
    }
    return text;
}

//  ---------------------------------------------------------------------------------------------------------
//  Devices

static int
s_print_devices (const Gpb__V1__Reply *header, const gpb_arguments_t *arguments)
{
    const Gpb__V1__DeviceList *list = header->devices;
    if (arguments->json)
        return gpb_json_print (gpb_json_devices (list));
    int result = GPB_EXIT_OK;
    gpb_table_t *table = gpb_table_new (">INDEX NAME TYPE BACKEND STATE >RESTARTS >UNITS >MHZ "
                                        ">MEMORY >AVAILABLE >QUEUED >IN-FLIGHT "
                                        "CAPABILITIES");
    for (size_t index = 0; table && index < list->n_devices; index++) {
        const Gpb__V1__Device *device = list->devices [index];
        char text [512];
        gpb_table_add (table, "%" PRIu32, device->index);
        gpb_table_add (table, "%s", device->name);
        gpb_table_add (table, "%s", device->type);
        gpb_table_add (table, "%s", device->backend);
        gpb_table_add (table, "%s", gpb_tool_state_name (device->state));
        gpb_table_add (table, "%" PRIu64, device->restarts);
        gpb_table_add (table, "%" PRIu32, device->compute_units);
        gpb_table_add (table, "%" PRIu32, device->clock_mhz);
        gpb_table_add (table, "%s", gpb_table_size (device->total_memory, text));
        gpb_table_add (table, "%s", gpb_table_size (device->available_memory, text));
        gpb_table_add (table, "%" PRIu64, device->load ? device->load->queue_depth : 0);
        gpb_table_add (table, "%" PRIu64, device->load ? device->load->in_flight : 0);
        gpb_table_add (table, "%s",
                       s_join (device->capabilities, device->n_capabilities, ",", text,
                               sizeof text));
    }
    result = gpb_tool_print_table (table);

    //  Why there are no more: one line each, where scripts that cut columns do not see them.
    for (size_t index = 0; index < list->n_devices; index++)
        if (list->devices [index]->reason [0])
            fprintf (stderr, "gpb: device %" PRIu32 ": %s\n", list->devices [index]->index,
                     list->devices [index]->reason);
    for (size_t index = 0; index < list->n_notices; index++)
        fprintf (stderr, "gpb: %s\n", list->notices [index]);
    return result;
}

int
gpb_tool_devices (const gpb_arguments_t *arguments)
{
    return gpb_tool_ask (arguments, gpb_request_devices (), GPB__V1__REPLY__BODY_DEVICES,
                         s_print_devices);
}

//  ---------------------------------------------------------------------------------------------------------
//  Kernels

//  What the kernel finds in a parameter's memory.
static const char *
s_start (const Gpb__V1__Parameter *parameter)
{
    if (strcmp (parameter->direction, "scalar") == 0)
        return "-";
    if (strcmp (parameter->direction, "out") != 0)
        return "as-sent";
    return parameter->zero ? "zero" : "undefined";
}

//  "resident" where all residencies are of one state, "2 resident, 1 failed" else; "unloaded" where
//  no device has been asked for it; "-" for a kernel that is launched for every request.
static const char *
s_where (const Gpb__V1__Kernel *kernel, char *text, size_t size)
{
    const Gpb__V1__Persistent *persistent = kernel->persistent;
    size_t counts [GPB__V1__RESIDENCY_STATE__STOPPED + 1] = { 0 };
    size_t used = 0;
    for (size_t index = 0; persistent && index < persistent->n_residencies; index++) {
        unsigned state = (unsigned) persistent->residencies [index]->state;
        if (state <= GPB__V1__RESIDENCY_STATE__STOPPED)
            counts [state]++;
    }
    snprintf (text, size, "%s",
              persistent ? gpb_tool_residency_name (GPB__V1__RESIDENCY_STATE__UNLOADED) : "-");
    for (unsigned state = 0; state <= GPB__V1__RESIDENCY_STATE__STOPPED && used + 1 < size; state++)
    {
        const char *name = gpb_tool_residency_name ((Gpb__V1__ResidencyState) state);
        int step = 0;
        if (counts [state] && counts [state] == persistent->n_residencies)
            step = snprintf (text, size, "%s", name);
        else if (counts [state])
            step = snprintf (text + used, size - used, "%s%zu %s", used ? ", " : "", counts [state],
                             name);
        used += step > 0 ? (size_t) step : 0;
    }
    return text;
}

//  What a persistent kernel has of its devices, and where it may stay.
static void
s_print_lanes (const Gpb__V1__Persistent *persistent)
{
    char text [512], slot [GPB_FIGURE_SIZE], state [GPB_FIGURE_SIZE];
    printf ("persistent: %" PRIu32 " %s of %" PRIu32 " slots of %s, with %s of state; on %s\n",
            persistent->lanes, persistent->lanes == 1 ? "lane" : "lanes", persistent->slots,
            gpb_table_size (persistent->slot_size, slot),
            gpb_table_size (persistent->state_size, state),
            s_join (persistent->devices, persistent->n_devices, ", ", text, sizeof text));
}

//  One kernel: its parameters, in the order of `gpb run`.
static int
s_print_parameters (const Gpb__V1__Kernel *kernel)
{
    char text [512];
    printf ("%s: %s\n", kernel->id, kernel->description);
    if (kernel->persistent)
        s_print_lanes (kernel->persistent);
    else
        printf ("global: %s%s\n",
                s_join (kernel->global, kernel->n_global, ", ", text, sizeof text),
                kernel->global_free ? " (or as the caller says)" : "");
    if (kernel->n_local) {
        printf ("local: ");
        for (size_t index = 0; index < kernel->n_local; index++)
            printf ("%s%" PRIu64, index ? ", " : "", kernel->local [index]);
        printf ("\n");
    }
    if (kernel->shared [0])
        printf ("shared: %s bytes\n", kernel->shared);
    if (kernel->n_require)
        printf ("requires: %s\n",
                s_join (kernel->require, kernel->n_require, ", ", text, sizeof text));
    gpb_table_t *table = gpb_table_new ("PARAMETER DIRECTION TYPE >ALIGNMENT STARTS COUNT");
    for (size_t index = 0; table && index < kernel->n_parameters; index++) {
        const Gpb__V1__Parameter *parameter = kernel->parameters [index];
        bool scalar = strcmp (parameter->direction, "scalar") == 0;
        gpb_table_add (table, "%s", parameter->name);
        gpb_table_add (table, "%s", parameter->direction);
        gpb_table_add (table, "%s", parameter->type);
        gpb_table_add (table, scalar ? "-" : "%" PRIu32, parameter->alignment);
        gpb_table_add (table, "%s", s_start (parameter));
        gpb_table_add (table, "%s", scalar ? "-" : parameter->count);
    }
    int result = gpb_tool_print_table (table);
    const Gpb__V1__Persistent *persistent = kernel->persistent;
    if (result != GPB_EXIT_OK || !persistent || persistent->n_residencies == 0)
        return result;
    putchar ('\n');
    result = gpb_tool_print_residencies (persistent->residencies, persistent->n_residencies);
    if (result == GPB_EXIT_OK) {
        putchar ('\n');
        result = gpb_tool_print_lanes (persistent->residencies, persistent->n_residencies);
    }
    return result;
}

static int
s_print_kernels (const Gpb__V1__Reply *header, const gpb_arguments_t *arguments)
{
    const Gpb__V1__KernelList *list = header->kernels;
    if (arguments->json)
        return gpb_json_print (gpb_json_kernels (list));
    if (arguments->subject && list->n_kernels == 1)
        return s_print_parameters (list->kernels [0]);
    gpb_table_t *table = gpb_table_new ("KERNEL PERSISTENT ARGUMENTS DESCRIPTION");
    for (size_t index = 0; table && index < list->n_kernels; index++) {
        const Gpb__V1__Kernel *kernel = list->kernels [index];
        char text [512] = "";
        size_t used = 0;
        for (size_t at = 0; at < kernel->n_parameters && used + 1 < sizeof text; at++) {
            const Gpb__V1__Parameter *parameter = kernel->parameters [at];
            bool scalar = strcmp (parameter->direction, "scalar") == 0;
            int step = snprintf (text + used, sizeof text - used, "%s%s:%s", at ? " " : "",
                                 scalar ? parameter->type : parameter->direction, parameter->name);
            used += step > 0 ? (size_t) step : 0;
        }
        char where [128];
        gpb_table_add (table, "%s", kernel->id);
        gpb_table_add (table, "%s", s_where (kernel, where, sizeof where));
        gpb_table_add (table, "%s", text);
        gpb_table_add (table, "%s", kernel->description);
    }
    return gpb_tool_print_table (table);
}

int
gpb_tool_kernels (const gpb_arguments_t *arguments)
{
    return gpb_tool_ask (arguments, gpb_request_kernels (arguments->subject),
                         GPB__V1__REPLY__BODY_KERNELS, s_print_kernels);
}
