//  gpb_config - a node's configuration
//
//  One table says every key's type, default, bounds and meaning; files (gpb_config_file.c),
//  gpb_config_set and the help text all go through it.
//
//  Owns its strings. No thread of its own, no lock; the help text is made once, under pthread_once.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_config.h"

#include "gpb_alloc.h"
#include "gpb_config_private.h"
#include "gpb_persistent.h"
#include "gpb_principal.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

//  Bytes of the help text; a test says when it no longer fits.
#define HELP_MAX_SIZE 20480

//  A week: the longest time that makes sense for a request or a pause, and one that fits an int in
//  milliseconds.
#define TIME_MAX_MS 604800000

//  NULL where the text is right, else what would be.
typedef const char *(s_check_fn) (const char *text);

typedef struct {
    const char *name;
    gpb_config_type_t type;
    const char *fallback;         //  the default, as gpb_config_set takes it
    uint64_t minimum, maximum;    //  of a number
    s_check_fn *check;            //  of a string; NULL: anything
    const char *help;
} s_key_t;

static s_check_fn s_check_name, s_check_backends, s_check_isolation, s_check_compile,
    s_check_log_level;

static const s_key_t s_keys [] = {
    { "name", GPB_CONFIG_STRING, "", 0, 0, s_check_name,
      "The node's name in replies and figures; \"\" is the host's name." },
    { "bind", GPB_CONFIG_WORDS, "", 0, 0, NULL,
      "Endpoints that gpb_actor serves: tcp://ADDRESS:PORT, ipc://PATH. Empty: those of --bind, "
      "or\n"
      "else tcp://127.0.0.1:5670. An address beyond the loopback needs `curve`, or `insecure`." },
    { "curve", GPB_CONFIG_STRING, "", 0, 0, NULL,
      "The node's own key pair, a file that `gpb keygen` has made: every tcp endpoint then asks "
      "its\n"
      "clients for a key (CURVE). \"\": none does." },
    { "allowed_keys", GPB_CONFIG_STRING, "", 0, 0, NULL,
      "The folder of the public keys that may come in, a file each. It is looked at every second: "
      "a\n"
      "key that is removed has no access any more, and its connections are closed." },
    { "insecure", GPB_CONFIG_BOOL, "false", 0, 0, NULL,
      "Whether a tcp endpoint beyond the loopback may do without keys. Whoever reaches it may "
      "then\n"
      "use the devices, and read and change what others send." },
    { "limits", GPB_CONFIG_WORDS, "", 0, 0, gpb_principals_check,
      "What a key may do, by its name: NAME:LIMIT=VALUE,... with kernels=GLOB|GLOB,\n"
      "rent_size=BYTES, in_flight=REQUESTS and register=true or false. \"*\" is every key that "
      "has\n"
      "no limits of its own, \"-\" whoever came in without a key. What is not said is not "
      "limited." },
    { "handshake_ms", GPB_CONFIG_NUMBER, "5000", 100, 3600000, NULL,
      "A connection that has not finished its ZMTP handshake by then is closed." },
    { "max_connections", GPB_CONFIG_NUMBER, "10000", 1, 1000000, NULL,
      "Open connections at most; each is a descriptor, and the process's limit of these, less "
      "128,\n"
      "is a bound as well. What comes beyond is closed at once." },
    { "backends", GPB_CONFIG_WORDS, "cuda opencl", 0, 0, s_check_backends,
      "Backends in the order of preference; a card that two of them see belongs to the first." },
    { "kernel_path", GPB_CONFIG_STRING, "", 0, 0, NULL,
      "Folders of kernel packages, ':' between. \"\": those of GPB_KERNEL_PATH, kernels/ beside "
      "the\n"
      "program, and the installed ones." },
    { "isolation", GPB_CONFIG_STRING, "", 0, 0, s_check_isolation,
      "Where a device's actors run: \"process\": in one of their own, so that a kernel that "
      "crashes\n"
      "costs one device for under a second; \"thread\": in the node's, where it ends the node, "
      "and\n"
      "a request takes fewer hand-overs. \"\": process in gpb_actor, thread in a node that an\n"
      "application composes." },
    { "kernel_timeout_ms", GPB_CONFIG_NUMBER, "30000", 0, TIME_MAX_MS, NULL,
      "With isolation = process, a device on which one request has run for so long, its kernel's\n"
      "compilation included, hangs: its process is ended, and started again. 0: never." },
    { "allow_register", GPB_CONFIG_BOOL, "false", 0, 0, NULL,
      "Whether clients may add kernels of their own. Whoever may, runs code on this machine." },
    { "cache_directory", GPB_CONFIG_STRING, "", 0, 0, NULL,
      "Where compiled kernels are kept. \"\": $XDG_CACHE_HOME/gpb or ~/.cache/gpb; \"none\": "
      "nowhere." },
    { "cache_size", GPB_CONFIG_NUMBER, "268435456", 0, INT64_MAX, NULL,
      "Bytes that compiled kernels may take there; the ones used longest ago go first." },
    { "compile", GPB_CONFIG_STRING, "auto", 0, 0, s_check_compile,
      "\"auto\": a kernel is compiled when it is called first; \"never\": one that no package, no\n"
      "cache and no installation has a binary of is refused." },
    { "profiling", GPB_CONFIG_BOOL, "true", 0, 0, NULL,
      "Whether replies say, from device events, how long copies and kernels took." },
    { "streams", GPB_CONFIG_NUMBER, "4", 1, 16, NULL,
      "Streams of each device: requests that copy and compute at the same time." },
    { "persistent", GPB_CONFIG_WORDS, "", 0, 0, gpb_persistent_check,
      "Persistent kernels otherwise than their packages say: NAME:SETTING=VALUE,... with lanes,\n"
      "slots and slot_size as in kernel.conf, and devices=all or INDEX|CAPABILITY|... for where "
      "they\n"
      "may stay." },
    { "persistent_preload", GPB_CONFIG_BOOL, "false", 0, 0, NULL,
      "Whether persistent kernels are compiled at start, and not with their first message." },
    { "persistent_idle_ms", GPB_CONFIG_NUMBER, "20", 1, TIME_MAX_MS, NULL,
      "A lane of a persistent kernel that has had no message for so long leaves the device until "
      "the\n"
      "next one: up to then it keeps a processor busy." },
    { "persistent_spin_us", GPB_CONFIG_NUMBER, "50", 0, 1000000, NULL,
      "How long a kernel host that waits for an answer of a persistent kernel looks for it without "
      "a\n"
      "pause, before it looks at intervals of 50 to 1000 us." },
    { "persistent_queue_requests", GPB_CONFIG_NUMBER, "16384", 1, UINT32_MAX, NULL,
      "Messages of one persistent kernel that wait for one device's lanes at most." },
    { "persistent_queue_size", GPB_CONFIG_NUMBER, "67108864", 65536, INT64_MAX, NULL,
      "Bytes that these take at most." },
    { "persistent_memory", GPB_CONFIG_NUMBER, "67108864", 0, INT64_MAX, NULL,
      "Bytes of each device for those messages of one persistent kernel that do not fit a slot; "
      "two\n"
      "of the largest for each lane are there in any case." },
    { "resident_lanes", GPB_CONFIG_NUMBER, "0", 0, 32, NULL,
      "Lanes of persistent kernels that are on one device at the same time; 0, and at most: as "
      "many "
      "as\n"
      "the device has to spare, on a CPU its compute units less one." },
    { "max_frame_size", GPB_CONFIG_NUMBER, "1073741824", 65536, INT64_MAX, NULL,
      "Bytes of one frame; a connection that sends a larger one is closed." },
    { "max_queued_requests", GPB_CONFIG_NUMBER, "65536", 2, UINT32_MAX, NULL,
      "Requests that wait for a device at most; further ones are refused as RESOURCE_EXHAUSTED. "
      "One\n"
      "client, and one key over all its connections, may have as many as are still free then: "
      "half\n"
      "where it is alone, less the more there are." },
    { "max_queued_size", GPB_CONFIG_NUMBER, "4294967296", 65536, INT64_MAX, NULL,
      "Bytes that waiting requests take at most, shared in the same way: one request may have "
      "half." },
    { "max_device_queued_requests", GPB_CONFIG_NUMBER, "65536", 2, UINT32_MAX, NULL,
      "Of those, the most that wait for one device alone, being bound to it or to its memory; "
      "shared\n"
      "in the same way. Below max_queued_requests, the rest is left to the other devices." },
    { "max_device_queued_size", GPB_CONFIG_NUMBER, "4294967296", 65536, INT64_MAX, NULL,
      "Bytes that these take at most, shared in the same way." },
    { "max_client_queued_requests", GPB_CONFIG_NUMBER, "32768", 1, UINT32_MAX, NULL,
      "The most requests of one client that wait for a device, whatever is free." },
    { "max_client_queued_size", GPB_CONFIG_NUMBER, "2147483648", 65536, INT64_MAX, NULL,
      "Bytes that these take at most." },
    { "aging_ms", GPB_CONFIG_NUMBER, "1000", 1, TIME_MAX_MS, NULL,
      "A request that has waited so long goes up one priority, so that none waits for ever; not "
      "where its client was served at that priority meanwhile." },
    { "default_timeout_ms", GPB_CONFIG_NUMBER, "30000", 1, TIME_MAX_MS, NULL,
      "Time for a request that says none." },
    { "max_timeout_ms", GPB_CONFIG_NUMBER, "3600000", 1, TIME_MAX_MS, NULL,
      "The longest time that any request gets; a longer one is cut to this." },
    { "drain_ms", GPB_CONFIG_NUMBER, "10000", 0, TIME_MAX_MS, NULL,
      "How long a node that stops waits for what it has accepted; then the rest is answered\n"
      "UNAVAILABLE." },
    { "reply_high_water", GPB_CONFIG_NUMBER, "65536", 1, 1000000, NULL,
      "Replies that wait for one client in its connection; beyond it the client is dropped. At\n"
      "least as many as a client may have requests in flight." },
    { "reply_max_size", GPB_CONFIG_NUMBER, "1073741824", 65536, INT64_MAX, NULL,
      "Bytes of replies held back for one client that does not read; beyond it the client is\n"
      "dropped." },
    { "heartbeat_ms", GPB_CONFIG_NUMBER, "5000", 100, 3600000, NULL,
      "Pause between ZMTP heartbeats; a connection silent for three of them is lost, and what it\n"
      "owned is given back." },
    { "lease_ms", GPB_CONFIG_NUMBER, "60000", 100, TIME_MAX_MS, NULL,
      "How long an inproc client, which no heartbeat watches, keeps what it owns without a word." },
    { "rent_max_size", GPB_CONFIG_NUMBER, "0", 0, INT64_MAX, NULL,
      "Bytes of each device that clients may rent in all; 0: what the device has." },
    { "client_rent_max_size", GPB_CONFIG_NUMBER, "0", 0, INT64_MAX, NULL,
      "Bytes of each device that one client may rent; 0: as many as all together." },
    { "keep_max_size", GPB_CONFIG_NUMBER, "0", 0, INT64_MAX, NULL,
      "Bytes of free memory that a device's pool, and its launches, may each keep from the "
      "driver;\n"
      "0: a quarter of what the device has." },
    { "keep_ms", GPB_CONFIG_NUMBER, "10000", 10, TIME_MAX_MS, NULL,
      "Free memory that nobody has asked for in so long goes back to the driver." },
    { "reserve_max_ms", GPB_CONFIG_NUMBER, "3600000", 1, TIME_MAX_MS, NULL,
      "The longest time that a reservation gets at once; its owner may renew it." },
    { "max_client_reservations", GPB_CONFIG_NUMBER, "64", 1, 1000000, NULL,
      "Reservations of one client on one device." },
    { "log_level", GPB_CONFIG_STRING, "info", 0, 0, s_check_log_level,
      "What is logged: error, warning, info or debug, each with those before it." },
    { "log_target", GPB_CONFIG_STRING, "stderr", 0, 0, NULL,
      "Where gpb_actor logs to: stderr, syslog, or the path of a file that is appended to." },
};

enum { KEYS = sizeof s_keys / sizeof s_keys [0] };

struct _gpb_config_t {
    struct {
        char *text;         //  of a string or of words; "" else
        uint64_t number;    //  of a number, or 0 and 1 of a bool
    } values [KEYS];
};

//  ---------------------------------------------------------------------------------------------------------
//  The table

static const char *
s_check_name (const char *text)
{
    size_t size =
        strspn (text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");
    return size <= 64 && text [size] == 0 ? NULL
                                          : "at most 64 letters, digits, '_', '.' and '-', or \"\"";
}

static const char *
s_check_backends (const char *text)
{
    size_t size = strspn (text, "abcdefghijklmnopqrstuvwxyz0123456789_ ");
    return text [size] == 0 && text [0] ? NULL : "backends by name, such as \"cuda opencl\"";
}

static const char *
s_check_isolation (const char *text)
{
    bool is_one = strcmp (text, "process") == 0 || strcmp (text, "thread") == 0;
    return is_one || text [0] == 0 ? NULL : "process, thread, or \"\"";
}

static const char *
s_check_compile (const char *text)
{
    return strcmp (text, "auto") == 0 || strcmp (text, "never") == 0 ? NULL : "auto or never";
}

static const char *
s_check_log_level (const char *text)
{
    static const char *const levels [] = { "error", "warning", "info", "debug" };
    for (size_t index = 0; index < sizeof levels / sizeof levels [0]; index++)
        if (strcmp (text, levels [index]) == 0)
            return NULL;
    return "error, warning, info or debug";
}

static int
s_find (const char *name)
{
    for (int key = 0; key < KEYS; key++)
        if (strcmp (s_keys [key].name, name) == 0)
            return key;
    return -1;
}

static int
s_must_find (const char *name)
{
    int key = s_find (name);
    assert (key >= 0);
    return key;
}

//  Levenshtein's distance of a name of at most KEY_NAME_MAX characters to a key.
enum { KEY_NAME_MAX = 63 };

static size_t
s_distance (const char *name, const char *key)
{
    size_t row [KEY_NAME_MAX + 1];
    size_t columns = strlen (key);
    assert (columns <= KEY_NAME_MAX);
    for (size_t column = 0; column <= columns; column++)
        row [column] = column;
    for (size_t line = 0; name [line]; line++) {
        size_t diagonal = row [0];
        row [0] = line + 1;
        for (size_t column = 0; column < columns; column++) {
            size_t change = diagonal + (name [line] != key [column]);
            size_t shift = (row [column] < row [column + 1] ? row [column] : row [column + 1]) + 1;
            diagonal = row [column + 1];
            row [column + 1] = change < shift ? change : shift;
        }
    }
    return row [columns];
}

static gpb_status_t
s_unknown_key (const char *name, gpb_error_t *error)
{
    int nearest = -1;
    size_t least = 4;    //  typing errors, not other words
    for (int key = 0; key < KEYS && strlen (name) <= KEY_NAME_MAX; key++) {
        size_t distance = s_distance (name, s_keys [key].name);
        if (distance < least && distance < strlen (s_keys [key].name)) {
            least = distance;
            nearest = key;
        }
    }
    if (nearest >= 0)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "there is no key \"%s\"; did you mean \"%s\"?", name,
                              s_keys [nearest].name);
    return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                          "there is no key \"%.100s\"; gpb_actor --help-config lists all keys",
                          name);
}

//  ---------------------------------------------------------------------------------------------------------
//  Values, checked

static gpb_status_t
s_expected (const s_key_t *key, const char *got, gpb_error_t *error)
{
    switch (key->type) {
    case GPB_CONFIG_STRING:
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s is a string in double quotes, not %s", key->name, got);
    case GPB_CONFIG_WORDS:
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "%s is a list of strings, such as [ \"a\", \"b\" ], not %s",
                              key->name, got);
    case GPB_CONFIG_BOOL:
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s is true or false, not %s", key->name,
                              got);
    case GPB_CONFIG_NUMBER: break;
    }
    return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                          "%s is a whole number from %" PRIu64 " to %" PRIu64 ", not %s", key->name,
                          key->minimum, key->maximum, got);
}

static gpb_status_t
s_set_text (gpb_config_t *self, int key, const char *text, gpb_error_t *error)
{
    for (const char *at = text; *at; at++)
        if (iscntrl ((unsigned char) *at))
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "%s holds the control character 0x%02x; plain text is wanted",
                                  s_keys [key].name, (unsigned) (unsigned char) *at);
    const char *expected = s_keys [key].check ? s_keys [key].check (text) : NULL;
    if (expected)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s is %s, not \"%.200s\"",
                              s_keys [key].name, expected, text);
    char *copy = gpb_strdup (text);
    if (!copy)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for %s", s_keys [key].name);
    gpb_free (self->values [key].text);
    self->values [key].text = copy;
    return GPB_OK;
}

static gpb_status_t
s_set_number (gpb_config_t *self, int key, long long value, gpb_error_t *error)
{
    const s_key_t *is = &s_keys [key];
    if (value < 0 || (uint64_t) value < is->minimum || (uint64_t) value > is->maximum) {
        char got [32];
        snprintf (got, sizeof got, "%lld", value);
        return s_expected (is, got, error);
    }
    self->values [key].number = (uint64_t) value;
    return GPB_OK;
}

gpb_status_t
gpb_config_set (gpb_config_t *self, const char *name, const char *value, gpb_error_t *error)
{
    int key = s_find (name);
    if (key < 0)
        return s_unknown_key (name, error);
    char got [128];
    snprintf (got, sizeof got, "\"%.100s\"", value);
    switch (s_keys [key].type) {
    case GPB_CONFIG_STRING:
    case GPB_CONFIG_WORDS: return s_set_text (self, key, value, error);
    case GPB_CONFIG_BOOL:
        if (strcmp (value, "true") == 0 || strcmp (value, "1") == 0)
            self->values [key].number = 1;
        else if (strcmp (value, "false") == 0 || strcmp (value, "0") == 0)
            self->values [key].number = 0;
        else
            return s_expected (&s_keys [key], got, error);
        return GPB_OK;
    case GPB_CONFIG_NUMBER: break;
    }
    char *end = NULL;
    errno = 0;
    long long number = strtoll (value, &end, 10);
    if (!(isdigit ((unsigned char) value [0]) || value [0] == '-') || *end || errno)
        return s_expected (&s_keys [key], got, error);
    return s_set_number (self, key, number, error);
}

gpb_status_t
gpb_config_find (const char *name, gpb_config_type_t *type_p, gpb_error_t *error)
{
    int key = s_find (name);
    if (key < 0)
        return s_unknown_key (name, error);
    *type_p = s_keys [key].type;
    return GPB_OK;
}

gpb_status_t
gpb_config_expected (const char *name, const char *got, gpb_error_t *error)
{
    return s_expected (&s_keys [s_must_find (name)], got, error);
}

//  ---------------------------------------------------------------------------------------------------------
//  Life

gpb_config_t *
gpb_config_new (void)
{
    gpb_config_t *self = gpb_alloc (1, sizeof *self);
    for (int key = 0; self && key < KEYS; key++) {
        self->values [key].text = gpb_strdup ("");
        if (!self->values [key].text
            || gpb_config_set (self, s_keys [key].name, s_keys [key].fallback, NULL) != GPB_OK)
            gpb_config_destroy (&self);
    }
    return self;
}

void
gpb_config_destroy (gpb_config_t **self_p)
{
    gpb_config_t *self = *self_p;
    if (!self)
        return;
    for (int key = 0; key < KEYS; key++)
        gpb_free (self->values [key].text);
    gpb_free (self);
    *self_p = NULL;
}

gpb_config_t *
gpb_config_dup (const gpb_config_t *self)
{
    gpb_config_t *copy = gpb_alloc (1, sizeof *copy);
    for (int key = 0; copy && key < KEYS; key++) {
        copy->values [key].number = self->values [key].number;
        copy->values [key].text = gpb_strdup (self->values [key].text);
        if (!copy->values [key].text)
            gpb_config_destroy (&copy);
    }
    return copy;
}

void
gpb_config_swap (gpb_config_t *self, gpb_config_t *other)
{
    gpb_config_t kept = *self;
    *self = *other;
    *other = kept;
}

//  ---------------------------------------------------------------------------------------------------------
//  Reading

const char *
gpb_config_string (const gpb_config_t *self, const char *name)
{
    int key = s_must_find (name);
    assert (s_keys [key].type == GPB_CONFIG_STRING || s_keys [key].type == GPB_CONFIG_WORDS);
    return self->values [key].text;
}

uint64_t
gpb_config_number (const gpb_config_t *self, const char *name)
{
    int key = s_must_find (name);
    assert (s_keys [key].type == GPB_CONFIG_NUMBER);
    return self->values [key].number;
}

bool
gpb_config_bool (const gpb_config_t *self, const char *name)
{
    int key = s_must_find (name);
    assert (s_keys [key].type == GPB_CONFIG_BOOL);
    return self->values [key].number != 0;
}

//  ---------------------------------------------------------------------------------------------------------
//  For another process: no value holds a line's end

gpb_status_t
gpb_config_write (const gpb_config_t *self, char *text, size_t size, gpb_error_t *error)
{
    size_t used = 0;
    for (int key = 0; key < KEYS; key++) {
        const char *name = s_keys [key].name;
        bool is_number =
            s_keys [key].type == GPB_CONFIG_NUMBER || s_keys [key].type == GPB_CONFIG_BOOL;
        int length = is_number ? snprintf (text + used, size - used, "%s=%" PRIu64 "\n", name,
                                           self->values [key].number)
                               : snprintf (text + used, size - used, "%s=%s\n", name,
                                           self->values [key].text);
        if (length < 0 || (size_t) length >= size - used)
            return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                                  "the configuration is longer than %zu bytes", size);
        used += (size_t) length;
    }
    return GPB_OK;
}

gpb_status_t
gpb_config_read (gpb_config_t *self, char *text, gpb_error_t *error)
{
    char *rest = NULL;
    gpb_status_t status = GPB_OK;
    for (char *line = strtok_r (text, "\n", &rest); line && status == GPB_OK;
         line = strtok_r (NULL, "\n", &rest))
    {
        char *equals = strchr (line, '=');
        if (!equals)
            return gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s: expected KEY=VALUE", line);
        *equals = 0;
        status = gpb_config_set (self, line, equals + 1, error);
    }
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  Help

static char s_help [HELP_MAX_SIZE];
static pthread_once_t s_help_once = PTHREAD_ONCE_INIT;

static void s_help_add (const char *format, ...) GPB_PRINTF (1, 2);

static void
s_help_add (const char *format, ...)
{
    size_t used = strlen (s_help);
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (s_help + used, sizeof s_help - used, format, arguments);
    va_end (arguments);
}

//  A comment of one or more lines, then the setting.
static void
s_help_add_key (const s_key_t *key)
{
    s_help_add ("\n# ");
    for (const char *at = key->help; *at; at++)
        s_help_add ("%c%s", *at, *at == '\n' ? "# " : "");
    if (key->type == GPB_CONFIG_NUMBER)
        s_help_add ("\n# %" PRIu64 " to %" PRIu64, key->minimum, key->maximum);
    s_help_add ("\n%s = ", key->name);
    if (key->type == GPB_CONFIG_STRING)
        s_help_add ("\"%s\"", key->fallback);
    else if (key->type == GPB_CONFIG_WORDS) {
        const char *comma = "";
        s_help_add ("[");
        for (const char *at = key->fallback; *at; at += strspn (at, " ")) {
            size_t size = strcspn (at, " ");
            s_help_add ("%s \"%.*s\"", comma, (int) size, at);
            comma = ",";
            at += size;
        }
        s_help_add (" ]");
    }
    else
        s_help_add ("%s", key->fallback);
    s_help_add (";\n");
}

static void
s_make_help (void)
{
    s_help_add (
        "# Configuration of gpb_actor, for its --config. Everything here is the default: a\n"
        "# file needs only what differs. On the command line the same is --set KEY=VALUE.\n");
    for (int key = 0; key < KEYS; key++)
        s_help_add_key (&s_keys [key]);
}

const char *
gpb_config_help (void)
{
    pthread_once (&s_help_once, s_make_help);
    return s_help;
}
