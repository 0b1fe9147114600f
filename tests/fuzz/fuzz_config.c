//  A fuzz target: a node's configuration file, and its keys one by one. A file that is refused has
//  changed nothing.
//
//  Input: the file.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_config.h"
#include "gpb_fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

static void
s_load (const gpb_fuzz_input_t *input)
{
    int file = memfd_create ("configuration", 0);
    gpb_fuzz_check (file >= 0, "a file");
    gpb_fuzz_check (write (file, input->data, input->size) == (ssize_t) input->size, "a file");
    char path [64];
    snprintf (path, sizeof path, "/proc/self/fd/%d", file);
    gpb_error_t error = { GPB_OK, "" };
    gpb_config_t *config = gpb_config_new ();
    gpb_fuzz_check (config != NULL, "no memory");
    gpb_fuzz_check (gpb_config_set (config, "name", "before", &error) == GPB_OK, "%s", error.text);
    if (gpb_config_load (config, path, &error) == GPB_OK) {
        gpb_config_t *copy = gpb_config_dup (config);
        gpb_fuzz_check (copy != NULL, "no memory");
        gpb_fuzz_check (strcmp (gpb_config_string (copy, "name"),
                                gpb_config_string (config, "name"))
                            == 0,
                        "another name");
        uint64_t streams = gpb_config_number (copy, "streams");
        gpb_fuzz_check (streams >= 1 && streams <= 16, "a number out of its bounds");
        gpb_config_destroy (&copy);
    }
    else {
        gpb_fuzz_check (error.status == GPB_INVALID_ARGUMENT && strstr (error.text, path), "%s: %s",
                        gpb_status_name (error.status), error.text);
        gpb_fuzz_check (strcmp (gpb_config_string (config, "name"), "before") == 0
                            && gpb_config_number (config, "streams") == 4,
                        "something was changed");
    }
    gpb_config_destroy (&config);
    close (file);
}

//  The text before the first '=', and that behind it.
static void
s_set (const gpb_fuzz_input_t *input)
{
    char *text = gpb_fuzz_text (input), *value = strchr (text, '=');
    gpb_config_t *config = gpb_config_new ();
    gpb_fuzz_check (config != NULL, "no memory");
    gpb_error_t error = { GPB_OK, "" };
    if (value) {
        *value++ = 0;
        gpb_status_t status = gpb_config_set (config, text, value, &error);
        gpb_fuzz_check (status == GPB_OK || error.text [0], "a refusal without a reason");
    }
    gpb_config_destroy (&config);
    free (text);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    gpb_fuzz_input_t input = { data, size };
    s_load (&input);
    s_set (&input);
    return 0;
}
