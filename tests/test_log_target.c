//  Tests of gpb_log_target: lines go where the configuration says, behind what is there.

#include "gpb_log.h"
#include "gpb_log_target.h"
#include "gpb_test.h"

#include <czmq.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static gpb_error_t error;

START_TEST (test_a_file_is_appended_to)
{
    char path [] = "/tmp/gpb-log-XXXXXX", text [1024];
    int fd = mkstemp (path);
    ck_assert_int_eq (write (fd, "before\n", 7), 7);
    close (fd);
    gpb_config_t *config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (config, "log_target", path, &error));
    FILE *file;
    ck_assert_ok (gpb_log_target_open (config, "program", &file, &error));
    ck_assert_ptr_nonnull (file);
    gpb_log (config, GPB_LOG_WARNING, "device %d is lost", 3);
    FILE *reader = fopen (path, "r");    //  each line is there when it is written
    size_t size = fread (text, 1, sizeof text - 1, reader);
    text [size] = 0;
    fclose (reader);
    ck_assert_msg (strncmp (text, "before\nW: (program) ", 20) == 0
                       && strstr (text, "device 3 is lost\n"),
                   "%s", text);
    zsys_set_logstream (stderr);
    fclose (file);
    unlink (path);
    gpb_config_destroy (&config);
}
END_TEST

START_TEST (test_a_file_that_cannot_be_opened_is_refused)
{
    gpb_config_t *config = gpb_config_new ();
    FILE *file;
    ck_assert_ok (gpb_config_set (config, "log_target", "/nowhere/log", &error));
    ck_assert_refused (gpb_log_target_open (config, "program", &file, &error), GPB_UNAVAILABLE,
                       "log_target /nowhere/log: No such file");
    ck_assert_ptr_null (file);
    ck_assert_ok (gpb_config_set (config, "log_target", "stderr", &error));
    ck_assert_ok (gpb_log_target_open (config, "program", &file, &error));
    ck_assert_ptr_null (file);
    gpb_config_destroy (&config);
}
END_TEST

GPB_TEST_MAIN ("gpb_log_target", 20, test_a_file_is_appended_to,
               test_a_file_that_cannot_be_opened_is_refused)
