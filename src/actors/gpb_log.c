//  gpb_log - one line an event, through zsys, from the level that the configuration says
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_log.h"

#include <czmq.h>
#include <pthread.h>
#include <stdarg.h>

//  Bytes; a longer line is cut here, since zsys cuts it at 1023 with the date in front of it.
#define LINE_SIZE 1000

//  CZMQ 4.2.1 formats the time with localtime (), whose memory all threads share (zsys.c, s_log),
//  so that our own threads take turns.
static pthread_mutex_t s_turn = PTHREAD_MUTEX_INITIALIZER;

static const char *const s_levels [] = { "error", "warning", "info", "debug" };

static void
s_one_line (char *line, size_t size, const char *text)
{
    size_t used = 0;
    for (; *text && used + 4 < size; text++) {
        if (*text == '\n') {
            memcpy (line + used, " | ", 3);
            used += 3;
        }
        else
            line [used++] = *text;
    }
    line [used] = 0;
}

void
gpb_log (const gpb_config_t *config, gpb_log_level_t level, const char *format, ...)
{
    const char *wanted = gpb_config_string (config, "log_level");
    gpb_log_level_t most = GPB_LOG_ERROR;
    while (most < GPB_LOG_DEBUG && !streq (s_levels [most], wanted))
        most++;
    if (level > most)
        return;
    char text [LINE_SIZE], line [LINE_SIZE];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (text, sizeof text, format, arguments);
    va_end (arguments);
    s_one_line (line, sizeof line, text);
    pthread_mutex_lock (&s_turn);
    switch (level) {
    case GPB_LOG_ERROR: zsys_error ("%s", line); break;
    case GPB_LOG_WARNING: zsys_warning ("%s", line); break;
    case GPB_LOG_INFO: zsys_info ("%s", line); break;
    case GPB_LOG_DEBUG: zsys_debug ("%s", line); break;
    }
    pthread_mutex_unlock (&s_turn);
}
