//  gpb - asks a node from the command line
//
//  Reads the command line, and hands it to a command (gpb_tool.h). Exit status: 0 done, 1 refused
//  or failed, with the reason on standard error, 2 wrong usage. A signal takes back what is on its
//  way to the node, and exits 1; it is how `gpb reserve` and `gpb top` end well, with 0.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_tool.h"

#include "gpb_backends.h"

#include "config.h"

#include <stdio.h>

int
main (int argc, char **argv)
{
    gpb_error_t error;
    gpb_arguments_t arguments;
    if (gpb_arguments_parse (&arguments, argc, argv, &error) != GPB_OK) {
        fprintf (stderr, "gpb: %s\n`gpb --help` shows the usage.\n", error.text);
        return GPB_EXIT_USAGE;
    }
    if (arguments.help) {
        fputs (gpb_arguments_help (), stdout);
        return gpb_tool_flush ();
    }
    if (arguments.version) {
        printf ("gpb %s\n", PACKAGE_VERSION);
        return gpb_tool_flush ();
    }
    if (arguments.command == GPB_COMMAND_COMPILE) {
        gpb_backends_environment ();
        return gpb_tool_compile (&arguments);
    }

    if (arguments.command == GPB_COMMAND_KEYGEN)
        return gpb_tool_keygen (&arguments);

    gpb_tool_catch_signals ();
    switch (arguments.command) {
    case GPB_COMMAND_DEVICES: return gpb_tool_devices (&arguments);
    case GPB_COMMAND_KERNELS: return gpb_tool_kernels (&arguments);
    case GPB_COMMAND_STATS: return gpb_tool_stats (&arguments);
    case GPB_COMMAND_TOP: return gpb_tool_top (&arguments);
    case GPB_COMMAND_PING: return gpb_tool_ping (&arguments);
    case GPB_COMMAND_RUN:
        return arguments.stream ? gpb_tool_stream (&arguments) : gpb_tool_run (&arguments);
    case GPB_COMMAND_BENCH: return gpb_tool_bench (&arguments);
    case GPB_COMMAND_RESERVE: return gpb_tool_reserve (&arguments);
    default: return GPB_EXIT_USAGE;
    }
}
