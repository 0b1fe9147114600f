//  gpb_log - one line an event, through zsys, from the level that the configuration says
//
//  The program sets up where zsys writes; composed into an application, lines go where that has
//  zsys write. Any thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_LOG_H_INCLUDED
#define GPB_LOG_H_INCLUDED

#include "gpb_config.h"

typedef enum { GPB_LOG_ERROR, GPB_LOG_WARNING, GPB_LOG_INFO, GPB_LOG_DEBUG } gpb_log_level_t;

//  Logs a line where `log_level` of the configuration is this level or a later one. A line feed in
//  the text (a compiler's log has many) becomes " | ".
void gpb_log (const gpb_config_t *config, gpb_log_level_t level, const char *format, ...)
    GPB_PRINTF (3, 4);

#endif
