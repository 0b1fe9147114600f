//  gpb_pieces - files in pieces, for what is larger than a node takes at once, or memory would like
//
//  A source gives a file, or standard input, in pieces of one size, of which the last may be
//  shorter; it never waits for a pipe that has nothing, and says so. A sink takes pieces of any
//  size, in their order, and collects small ones. Neither holds more than a piece, and at least
//  256 KiB. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_PIECES_H_INCLUDED
#define GPB_PIECES_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct _gpb_source_t gpb_source_t;
typedef struct _gpb_sink_t gpb_sink_t;

//  Opens path, "-" for standard input. Sizes in bytes, at least 1; a piece is whole elements. NULL
//  with the reason.
gpb_source_t *gpb_source_new (const char *path, size_t piece_size, size_t element_size,
                              gpb_error_t *error);
void gpb_source_destroy (gpb_source_t **self_p);

//  The next piece: *data_p, borrowed until the next call, of *size_p bytes, which are piece_size
//  but for the last one; 0 where there is no more. UNAVAILABLE where it has not come yet: poll
//  gpb_source_file for reading. INVALID_ARGUMENT where the file ends within an element; CANCELLED
//  where a signal interrupted.
gpb_status_t gpb_source_next (gpb_source_t *self, const void **data_p, size_t *size_p,
                              gpb_error_t *error);

//  Whether gpb_source_next has said that there is no more.
bool gpb_source_ended (const gpb_source_t *self);

//  Its descriptor.
int gpb_source_file (const gpb_source_t *self);

//  Opens path, "-" for standard output; a file that is there is emptied. INVALID_ARGUMENT where it
//  is the source's own file, which would be gone before it is read. NULL with the reason.
gpb_sink_t *gpb_sink_new (const char *path, const gpb_source_t *source, gpb_error_t *error);

//  Closes it. What was not flushed is lost.
void gpb_sink_destroy (gpb_sink_t **self_p);

gpb_status_t gpb_sink_write (gpb_sink_t *self, const void *data, size_t size, gpb_error_t *error);

//  Writes what was collected.
gpb_status_t gpb_sink_flush (gpb_sink_t *self, gpb_error_t *error);

//  Bytes that the file has taken.
uint64_t gpb_sink_size (const gpb_sink_t *self);

#endif
