//  gpb_file - whole files in and out, for `gpb run`
//
//  What is written appears whole or not at all: a temporary file beside the target takes its place
//  once it is complete. What is read is shared by as many requests as use it, each of which gives
//  it back on whatever thread it ends, and goes with the last of them.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_FILE_H_INCLUDED
#define GPB_FILE_H_INCLUDED

#include "gpb_error.h"

typedef struct _gpb_file_t gpb_file_t;

//  Says what could not be done (errno) with a file: "opened", "read", "written". CANCELLED for a
//  signal, NOT_FOUND, else FAILED_PRECONDITION.
gpb_status_t gpb_file_fail (gpb_error_t *error, const char *path, const char *what);

//  Opens a file to read it; path "-" is standard input, which is not the caller's to close. -1 with
//  the reason.
int gpb_file_open (const char *path, gpb_error_t *error);

//  A file's bytes; path "-" is standard input. NULL with the reason.
gpb_file_t *gpb_file_read (const char *path, gpb_error_t *error);

//  size bytes, all zero, in no file. NULL with the reason.
gpb_file_t *gpb_file_zero (size_t size, gpb_error_t *error);

//  The caller's own share of it.
void gpb_file_destroy (gpb_file_t **self_p);

//  Its bytes, aligned for any vector type of a kernel's, so that a node in reach may use them in
//  place.
void *gpb_file_data (gpb_file_t *self);
size_t gpb_file_size (const gpb_file_t *self);

//  One more share, for gpb_request_in_take, and what gives it back: any thread.
void gpb_file_share (gpb_file_t *self);
void gpb_file_release (void *data, void *self);

//  Puts data at path; "-" is standard output. What is there and no regular file (a device, a pipe)
//  is written to as it is.
gpb_status_t gpb_file_write (const char *path, const void *data, size_t size, gpb_error_t *error);

#endif
