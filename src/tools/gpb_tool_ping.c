//  gpb_tool_ping - `gpb ping`: how long a question to the node takes
//
//  Hello requests, one after another: the way through the sockets and the broker, without a device.
//  The first one connects, and is not counted.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_clock.h"
#include "gpb_tool.h"

#include <inttypes.h>
#include <stdio.h>

static int
s_print (const gpb_arguments_t *arguments, const Gpb__V1__HelloReply *hello,
         const gpb_histogram_t *round_trips, uint64_t elapsed_ns)
{
    double rate = elapsed_ns ? (double) round_trips->count * 1e9 / (double) elapsed_ns : 0;
    if (arguments->json)
        return gpb_json_print (json_pack ("{s:s, s:s, s:I, s:I, s:f, s:o}", "node", hello->node,
                                          "release", hello->release, "version",
                                          (json_int_t) hello->version, "count",
                                          (json_int_t) round_trips->count, "requests_per_second",
                                          rate, "round_trip_ns", gpb_json_histogram (round_trips)));
    printf ("node %s, libgpb %s, protocol %" PRIu32 ": %.0f requests a second\n", hello->node,
            hello->release, hello->version, rate);
    int result = gpb_tool_print_histogram (round_trips, stdout);
    return result == GPB_EXIT_OK ? gpb_tool_flush () : result;
}

//  All round trips into the histogram; false: one failed, and the reason is printed.
static bool
s_measure (gpb_client_t *client, uint64_t count, gpb_histogram_t *round_trips)
{
    for (uint64_t done = 0; done < count; done++) {
        gpb_reply_t *reply = gpb_tool_call (client, gpb_request_hello ());
        if (!reply)
            return false;
        gpb_histogram_record (round_trips, gpb_reply_round_trip_ns (reply));
        gpb_reply_destroy (&reply);
    }
    return true;
}

int
gpb_tool_ping (const gpb_arguments_t *arguments)
{
    gpb_client_t *client = gpb_tool_connect (arguments);
    if (!client)
        return GPB_EXIT_FAILED;
    static gpb_histogram_t round_trips;
    int result = GPB_EXIT_FAILED;
    gpb_reply_t *first = gpb_tool_call (client, gpb_request_hello ());
    const Gpb__V1__Reply *header = first ? gpb_reply_header_peek (first) : NULL;
    uint64_t start_ns = gpb_clock_ns ();
    if (header && header->body_case != GPB__V1__REPLY__BODY_HELLO)
        fprintf (stderr, "gpb: the node's answer is to another question\n");
    else if (header && s_measure (client, arguments->count, &round_trips))
        result = s_print (arguments, header->hello, &round_trips, gpb_clock_ns () - start_ns);
    gpb_reply_destroy (&first);
    gpb_client_destroy (&client);
    return result;
}
