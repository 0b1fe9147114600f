//  gpb_tool_keygen - `gpb keygen`: a CURVE key pair in two files
//
//  Prints what is to be done with them, and no key. What is there already is never overwritten.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_certificate.h"
#include "gpb_tool.h"

#include <stdio.h>
#include <string.h>

int
gpb_tool_keygen (const gpb_arguments_t *arguments)
{
    gpb_error_t error;
    const char *path = arguments->subject, *slash = strrchr (path, '/');
    const char *name = arguments->name ? arguments->name : slash ? slash + 1 : path;
    gpb_certificate_t *certificate = gpb_certificate_new (name, &error);
    gpb_status_t status =
        certificate ? gpb_certificate_save (certificate, path, &error) : error.status;
    if (status == GPB_OK)
        printf (
            "%s is the public key of %s: for the node's folder of allowed keys, or, where it is "
            "the node's own, for its clients.\n"
            "%s_secret is the key pair, for its owner alone.\n",
            path, gpb_certificate_name (certificate), path);
    gpb_certificate_destroy (&certificate);
    return status == GPB_OK ? gpb_tool_flush () : gpb_tool_fail (&error);
}
