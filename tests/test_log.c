//  Tests of gpb_log: what a configuration lets through, and that an event is one line whatever is
//  in it. zsys writes to a file of the test's own.

#include "gpb_log.h"
#include "gpb_test.h"

#include <czmq.h>

#define LONG 5000

static gpb_error_t error;
static gpb_config_t *s_config;
static FILE *s_stream;
static char s_text [4 * LONG];    //  what was written

static void
s_open (const char *level)
{
    s_config = gpb_config_new ();
    ck_assert_ok (gpb_config_set (s_config, "log_level", level, &error));
    s_stream = tmpfile ();
    ck_assert_ptr_nonnull (s_stream);
    zsys_set_logstream (s_stream);
}

//  Reads what was written, and returns how many lines that is.
static unsigned
s_close (void)
{
    zsys_set_logstream (NULL);
    fflush (s_stream);
    rewind (s_stream);
    size_t size = fread (s_text, 1, sizeof s_text - 1, s_stream);
    s_text [size] = 0;
    fclose (s_stream);
    gpb_config_destroy (&s_config);
    unsigned lines = 0;
    for (const char *feed = strchr (s_text, '\n'); feed; feed = strchr (feed + 1, '\n'))
        lines++;
    return lines;
}

START_TEST (test_a_level_lets_through_itself_and_what_is_worse)
{
    static const char *const levels [] = { "error", "warning", "info", "debug" };
    static const char letters [] = "EWID";    //  how zsys marks its lines
    for (unsigned wanted = 0; wanted < 4; wanted++) {
        s_open (levels [wanted]);
        for (unsigned level = 0; level < 4; level++)
            gpb_log (s_config, (gpb_log_level_t) level, "event %u of %s", level, "these");
        ck_assert_uint_eq (s_close (), wanted + 1);
        const char *line = s_text;
        for (unsigned level = 0; level <= wanted; level++) {
            char sentence [32];
            snprintf (sentence, sizeof sentence, "event %u of these\n", level);
            const char *found = strstr (line, sentence);
            ck_assert_msg (found != NULL, "\"%s\" is not in: %s", sentence, line);
            ck_assert_int_eq (line [0], letters [level]);
            line = found + strlen (sentence);
        }
    }
}
END_TEST

START_TEST (test_an_event_is_one_line)
{
    s_open ("info");
    gpb_log (s_config, GPB_LOG_WARNING, "%s", "k.c:3: no x\nk.c:4: no y\n\nthat is all");
    ck_assert_uint_eq (s_close (), 1);
    ck_assert_ptr_nonnull (strstr (s_text, "k.c:3: no x | k.c:4: no y |  | that is all\n"));
}
END_TEST

//  Texts that are nothing but line feeds grow to three times their size. zsys cuts a line to 1023
//  bytes, its own time in front included.
START_TEST (test_a_long_event_is_cut)
{
    static char text [LONG + 1];
    static const char fillings [] = "x\n";
    for (unsigned index = 0; fillings [index]; index++) {
        memset (text, fillings [index], LONG);
        memcpy (text, "first", 5);
        s_open ("info");
        gpb_log (s_config, GPB_LOG_INFO, "%s", text);
        gpb_log (s_config, GPB_LOG_INFO, "next");
        ck_assert_uint_eq (s_close (), 2);
        ck_assert_ptr_nonnull (strstr (s_text, "first"));
        size_t size = (size_t) (strchr (s_text, '\n') - s_text);
        ck_assert_uint_gt (size, 900);
        ck_assert_uint_lt (size, 2148);
        ck_assert_ptr_nonnull (strstr (s_text, "next\n"));
    }
}
END_TEST

//  A compiler's log may hold anything: it is never a format.
START_TEST (test_percent_signs_are_text)
{
    s_open ("error");
    gpb_log (s_config, GPB_LOG_ERROR, "%s", "100 %s of %n");
    ck_assert_uint_eq (s_close (), 1);
    ck_assert_ptr_nonnull (strstr (s_text, "100 %s of %n\n"));
}
END_TEST

GPB_TEST_MAIN ("gpb_log", 10, test_a_level_lets_through_itself_and_what_is_worse,
               test_an_event_is_one_line, test_a_long_event_is_cut, test_percent_signs_are_text)
