//  gpb_kernel_text - what a definition's text is held against before it means anything
//
//  Pure functions over the caller's text; any thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_KERNEL_TEXT_H_INCLUDED
#define GPB_KERNEL_TEXT_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>
#include <stddef.h>

#define GPB_TEXT_LOWER "abcdefghijklmnopqrstuvwxyz0123456789"
#define GPB_TEXT_UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

//  Refuses what libconfig 1.5 takes silently or must not see, with "FILE:LINE: ...": @include, a
//  number that it would cut, a string or comment that it would leak, text that is not UTF-8, groups
//  and lists nested more than 8 deep.
gpb_status_t gpb_kernel_text_check (const char *text, const char *file, gpb_error_t *error);

//  UTF-8 without control characters.
bool gpb_kernel_text_printable (const char *text);

//  1 to max characters, all of them among allowed.
bool gpb_kernel_text_made_of (const char *text, size_t max, const char *allowed);

//  A C identifier of 1 to max characters.
bool gpb_kernel_text_identifier (const char *text, size_t max);

#endif
