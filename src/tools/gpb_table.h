//  gpb_table - figures for people: aligned columns, and sizes and times in readable units
//
//  Cells are kept until the table is printed, since a column is as wide as its widest cell. Text
//  from a node loses its control characters here, so that it cannot drive a terminal.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TABLE_H_INCLUDED
#define GPB_TABLE_H_INCLUDED

#include "gpb_error.h"

#include <stdint.h>
#include <stdio.h>

typedef struct _gpb_table_t gpb_table_t;

//  columns: the headings, with blanks between; one that begins with '>' is of numbers, and aligned
//  to the right. NULL only when memory runs out.
gpb_table_t *gpb_table_new (const char *columns);

void gpb_table_destroy (gpb_table_t **self_p);

//  The next cell, row after row. Where memory runs out the table keeps that in mind, and printing
//  it says so.
void gpb_table_add (gpb_table_t *self, const char *format, ...) GPB_PRINTF (2, 3);

//  RESOURCE_EXHAUSTED where a cell was lost, and nothing is printed.
gpb_status_t gpb_table_print (const gpb_table_t *self, FILE *out, gpb_error_t *error);

//  "512 B", "7.5 GiB"; "1.25 µs", "30.0 s". Into text, of at least GPB_FIGURE_SIZE bytes, which
//  they return.
#define GPB_FIGURE_SIZE 32
const char *gpb_table_size (uint64_t size, char *text);
const char *gpb_table_time (uint64_t time_ns, char *text);

#endif
