//  gpb_log_target - where a program of ours logs to, as its configuration says
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_log_target.h"

#include <czmq.h>
#include <errno.h>
#include <string.h>

gpb_status_t
gpb_log_target_open (const gpb_config_t *config, const char *program, FILE **file_p,
                     gpb_error_t *error)
{
    const char *target = gpb_config_string (config, "log_target");
    *file_p = NULL;
    zsys_init ();
    zsys_handler_set (NULL);
    zsys_set_logident (program);
    if (strcmp (target, "syslog") == 0) {
        zsys_set_logstream (NULL);
        zsys_set_logsystem (true);
        return GPB_OK;
    }
    if (strcmp (target, "stderr") != 0) {
        *file_p = fopen (target, "ae");
        if (!*file_p)
            return gpb_error_set (error, GPB_UNAVAILABLE, "log_target %s: %s", target,
                                  strerror (errno));
        setvbuf (*file_p, NULL, _IOLBF, BUFSIZ);
    }
    zsys_set_logstream (*file_p ? *file_p : stderr);
    return GPB_OK;
}
