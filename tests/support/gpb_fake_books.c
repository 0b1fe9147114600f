//  gpb_fake_books - the faults of those who use the fake backend
//
//  A text under the lock; the newest fault that does not fit is counted and left out.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_fake.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned s_count;
static char s_text [16384];
static size_t s_length;

gpb_status_t
gpb_fake_fault (const gpb_backend_t *backend, gpb_error_t *error, const char *format, ...)
{
    char sentence [512];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (sentence, sizeof sentence, format, arguments);
    va_end (arguments);
    s_count++;
    size_t room = sizeof s_text - s_length;
    int size = snprintf (s_text + s_length, room, "%s\n", sentence);
    if (size > 0 && (size_t) size < room)
        s_length += (size_t) size;
    else
        s_text [s_length] = 0;
    return backend->services->error_set (error, GPB_INTERNAL, "fault: %s", sentence);
}

unsigned
gpb_fake_faults (char *text, size_t size)
{
    pthread_mutex_lock (&gpb_fake_lock);
    unsigned count = s_count;
    if (text && size)
        snprintf (text, size, "%s", s_text);
    s_count = 0;
    s_length = 0;
    s_text [0] = 0;
    pthread_mutex_unlock (&gpb_fake_lock);
    return count;
}

void
gpb_fake_settle (void)
{
    if (!s_count)
        return;
    fprintf (stderr, "the fake backend saw %u faults:\n%s", s_count, s_text);
    abort ();
}
