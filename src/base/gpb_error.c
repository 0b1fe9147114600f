//  gpb_error - statuses, and the sentence that goes with one
//
//  Pure functions over the caller's memory: any thread, no allocation, never fails. A text longer
//  than GPB_ERROR_TEXT_SIZE keeps its head and its tail, with "\n[...]\n" in the place of its
//  middle.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const s_names [] = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

const char *
gpb_status_name (gpb_status_t status)
{
    size_t index = (size_t) status;
    return index < sizeof s_names / sizeof s_names [0] ? s_names [index] : "UNKNOWN";
}

//  Moves start and end of a cut off continuation bytes, so that no UTF-8 sequence is split.
static size_t
s_char_start (const char *text, size_t at)
{
    while (at > 0 && ((unsigned char) text [at] & 0xC0) == 0x80)
        at--;
    return at;
}

static void
s_store (char *target, const char *text, size_t size)
{
    static const char gap [] = "\n[...]\n";
    const size_t room = GPB_ERROR_TEXT_SIZE - 1;
    if (size <= room) {
        memcpy (target, text, size);
    }
    else {
        size_t head = s_char_start (text, (room - (sizeof gap - 1)) / 2);
        size_t tail = room - (sizeof gap - 1) - head;
        size_t from = size - tail;
        while (from < size && ((unsigned char) text [from] & 0xC0) == 0x80)
            from++;
        memcpy (target, text, head);
        memcpy (target + head, gap, sizeof gap - 1);
        memcpy (target + head + sizeof gap - 1, text + from, size - from);
        size = head + sizeof gap - 1 + (size - from);
    }
    while (size > 0 && target [size - 1] == '\n')
        size--;
    target [size] = 0;
}

static void
s_format (gpb_error_t *error, const char *tail, const char *format, va_list arguments)
{
    va_list again;
    va_copy (again, arguments);
    char small [512];
    int length = vsnprintf (small, sizeof small, format, arguments);
    size_t head_size = length > 0 ? (size_t) length : 0;
    size_t tail_size = strlen (tail);

    //  The heap serves a long text only; where it is exhausted the short one is what the caller
    //  gets.
    char *text = head_size + tail_size < sizeof small ? NULL : malloc (head_size + tail_size + 1);
    if (text) {
        vsnprintf (text, head_size + 1, format, again);
        memcpy (text + head_size, tail, tail_size);
        s_store (error->text, text, head_size + tail_size);
        free (text);
    }
    else {
        head_size = head_size < sizeof small ? head_size : sizeof small - 1;
        if (head_size + tail_size >= sizeof small)
            tail_size = sizeof small - 1 - head_size;
        memcpy (small + head_size, tail, tail_size);
        s_store (error->text, small, head_size + tail_size);
    }
    va_end (again);
}

gpb_status_t
gpb_error_set (gpb_error_t *error, gpb_status_t status, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start (arguments, format);
        error->status = status;
        s_format (error, "", format, arguments);
        va_end (arguments);
    }
    return status;
}

gpb_status_t
gpb_error_prefix (gpb_error_t *error, const char *format, ...)
{
    if (!error)
        return GPB_UNKNOWN;
    char tail [GPB_ERROR_TEXT_SIZE];
    memcpy (tail, error->text, sizeof tail);
    tail [sizeof tail - 1] = 0;
    va_list arguments;
    va_start (arguments, format);
    s_format (error, tail, format, arguments);
    va_end (arguments);
    return error->status;
}
