//  gpb_log_target - where a program of ours logs to, as its configuration says
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_LOG_TARGET_H_INCLUDED
#define GPB_LOG_TARGET_H_INCLUDED

#include "gpb_config.h"

#include <stdio.h>

//  Sends zsys's lines, under this name of the program, to what `log_target` says: standard error,
//  syslog, or a file that is appended to, a line at a time, so that a node and the processes of its
//  devices may share it. *file_p becomes that file, to be closed after zsys_shutdown, or NULL.
//  Called once, from main. UNAVAILABLE for a file that cannot be opened.
gpb_status_t gpb_log_target_open (const gpb_config_t *config, const char *program, FILE **file_p,
                                  gpb_error_t *error);

#endif
