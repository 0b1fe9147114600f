//  gpb_arguments - the command line of `gpb`
//
//  A table of commands and one of options; every refusal is a sentence that says what would be
//  right. Nothing is allocated: what it returns points into argv. One call at a time (getopt).
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_ARGUMENTS_H_INCLUDED
#define GPB_ARGUMENTS_H_INCLUDED

#include "gpb_backend.h"

typedef enum {
    GPB_COMMAND_NONE,    //  --help and --version need no command
    GPB_COMMAND_DEVICES,
    GPB_COMMAND_KERNELS,
    GPB_COMMAND_STATS,
    GPB_COMMAND_TOP,
    GPB_COMMAND_PING,
    GPB_COMMAND_RUN,
    GPB_COMMAND_BENCH,
    GPB_COMMAND_RESERVE,
    GPB_COMMAND_COMPILE,
    GPB_COMMAND_KEYGEN
} gpb_command_t;

typedef struct {
    gpb_command_t command;
    bool help, version;
    bool json;
    const char *node;        //  NULL: the client's default
    const char *curve;       //  the file of the client's key pair; NULL: none
    const char *node_key;    //  the file of the node's public key; NULL with it
    const char *name;        //  of a new key; NULL: the file's
    uint32_t timeout_ms;     //  0: the command's default
    uint64_t count;          //  of pings, or of frames; 0: until it is ended
    uint64_t interval_ms;    //  between two frames
    uint64_t repeat;         //  of a run
    const char *backends;    //  to compile for
    const char *arch;        //  the same without a device; NULL: for the devices that are here
    const char *output;      //  the file for what that comes to; NULL: none
    uint64_t stream;         //  elements of a message; 0: the run is one call
    uint64_t in_flight;      //  of a stream or a bench: at the most
    uint64_t rate;           //  of a bench, calls a second; 0: a closed loop
    uint64_t seconds;        //  of a bench
    bool has_payload;        //  a bench makes its operands up:
    uint64_t payload;        //  so many bytes each

    //  What stands behind the command: the kernel's id, or a package; then a run's operands.
    const char *subject;    //  NULL: none
    char **operands;
    size_t operands_count;

    //  Of a run, a bench or a reservation; 0 dimensions: the package's default.
    unsigned global_dimensions, local_dimensions;
    uint64_t global [GPB_DIMENSIONS], local [GPB_DIMENSIONS];
    bool has_shared, has_device;
    uint64_t shared, memory;    //  bytes
    uint32_t device;
    int priority;
    bool idempotent;
    bool on_demand, has_lane;
    uint64_t lane;           //  the key
    uint64_t reservation;    //  0: none
    uint32_t for_ms;         //  0: until it is ended
    size_t require_count;
    char require [GPB_CAPABILITIES_MAX][GPB_CAPABILITY_SIZE];
} gpb_arguments_t;

//  argv is borrowed for as long as *self is used; getopt reorders it. INVALID_ARGUMENT: the command
//  line is wrong, and *error says how.
gpb_status_t gpb_arguments_parse (gpb_arguments_t *self, int argc, char **argv, gpb_error_t *error);

//  What --help prints. Static storage.
const char *gpb_arguments_help (void);

//  A whole decimal number from minimum to maximum, nothing before or behind it.
gpb_status_t gpb_arguments_number (const char *text, uint64_t minimum, uint64_t maximum,
                                   uint64_t *number_p, gpb_error_t *error);

#endif
