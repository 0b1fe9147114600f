//  gpb_invocation - the kernel call that a command line names, for `gpb run` and `gpb bench`
//
//  First the command line is read, then the node is asked what the kernel's parameters are and the
//  arguments are held against them, then files are read, and only then a request is made of all
//  that: a wrong argument costs no transfer. A plain structure; zeros are an empty one. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_INVOCATION_H_INCLUDED
#define GPB_INVOCATION_H_INCLUDED

#include "gpb_file.h"
#include "gpb_operands.h"
#include "gpb_tool.h"

//  The protocol's bound on arguments that have a payload, and more parameters than a kernel has.
#define GPB_INVOCATION_OPERANDS_MAX 64

typedef struct {
    const gpb_arguments_t *arguments;    //  borrowed
    size_t count;                        //  of operands
    gpb_operand_t operands [GPB_INVOCATION_OPERANDS_MAX];
    gpb_file_t
        *files [GPB_INVOCATION_OPERANDS_MAX];    //  what in and inout operands send; NULL else
    gpb_reply_t *answer;                         //  what the node says of the kernel
    const Gpb__V1__Kernel *kernel;               //  in it; NULL until gpb_invocation_ask
} gpb_invocation_t;

//  Reads the operands. INVALID_ARGUMENT is wrong usage.
gpb_status_t gpb_invocation_parse (gpb_invocation_t *self, const gpb_arguments_t *arguments,
                                   gpb_error_t *error);

//  The same, and connects to the node. Returns the exit status: but for GPB_EXIT_OK, there is no
//  client, and the reason is printed.
int gpb_invocation_begin (gpb_invocation_t *self, const gpb_arguments_t *arguments,
                          gpb_client_t **client_p);

//  Asks the node about the kernel, and holds the options against what it is. False: the reason is
//  printed.
bool gpb_invocation_ask (gpb_invocation_t *self, gpb_client_t *client);

//  Holds the operands against the kernel's parameters.
gpb_status_t gpb_invocation_check (const gpb_invocation_t *self, gpb_error_t *error);

//  Reads the files of in and inout operands.
gpb_status_t gpb_invocation_read (gpb_invocation_t *self, gpb_error_t *error);

//  Makes operands up where the command line has none: size bytes, all zero, for each in and inout
//  parameter. INVALID_ARGUMENT where the kernel has a scalar, which only its caller can know.
gpb_status_t gpb_invocation_make_up (gpb_invocation_t *self, size_t size, gpb_error_t *error);

//  A request of the operands and the options; NULL when memory runs out. May be called again.
gpb_request_t *gpb_invocation_request (const gpb_invocation_t *self);

//  Sets the options of a command line in an execute request.
void gpb_invocation_set_options (const gpb_arguments_t *arguments, gpb_request_t *request);

//  Where figures for people go: standard error where a result goes to standard output.
FILE *gpb_invocation_report (const gpb_invocation_t *self);

//  Gives all back.
void gpb_invocation_close (gpb_invocation_t *self);

#endif
