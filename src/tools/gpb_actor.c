//  gpb_actor - the node's program: a gpb_actor of the library with a command line around it
//
//  Prints `ready ENDPOINT` for each endpoint once the node serves; logs go to standard error, or
//  where `log_target` says. SIGTERM and SIGINT drain: nothing accepted stays unanswered, exit 0.
//  Exit status: 1 where it cannot start (a bad configuration, an endpoint in use), 2 for wrong
//  usage.
//
//  Signals are blocked before any thread starts, so that all threads inherit that, and are read
//  from a descriptor: one that comes while the node starts is seen as well as one that comes later,
//  and no handler runs in between.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_actor.h"

#include "gpb_backends.h"
#include "gpb_log.h"
#include "gpb_log_target.h"
#include "gpb_shared_context.h"

#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define EXIT_REFUSED 1
#define EXIT_USAGE 2

//  More than a machine has networks.
#define ENDPOINTS_MAX 32

#define DEFAULT_ENDPOINT "tcp://127.0.0.1:5670"

//  Between two looks at what malloc keeps, and how much it may keep: giving back takes some tens of
//  ms a GiB, while who allocates waits, so it must be worth it.
#define TRIM_MS 10000
#define TRIM_SIZE ((size_t) 64 << 20)

typedef struct {
    gpb_config_t *config;
    size_t count;
    char *endpoints [ENDPOINTS_MAX];    //  asked for, then as they are bound; zstr's
    zactor_t *node;
    int signals;    //  readable once SIGTERM or SIGINT came
    FILE *log;      //  a log file of ours, or NULL
} s_program_t;

static const char s_help [] =
    "Usage: gpb_actor [OPTION]...\n"
    "Serves the GPUs of this machine to ZeroMQ clients; gpb(1) is one.\n"
    "\n"
    "  --bind ENDPOINT      tcp://ADDRESS:PORT (\"*\": a free one) or ipc://PATH; may come again;\n"
    "                       default: the configuration's, else " DEFAULT_ENDPOINT "\n"
    "  --config FILE        reads a configuration; --help-config prints one with all keys\n"
    "  --set KEY=VALUE      sets one key, after the file\n"
    "  --name NAME          --set name=NAME\n"
    "  --backends LIST      --set backends=LIST, such as \"cuda opencl\"\n"
    "  --curve FILE         --set curve=FILE: the node's key pair, from `gpb keygen`; with\n"
    "  --allowed-keys DIR   --set allowed_keys=DIR: the public keys that may come in\n"
    "  --insecure           --set insecure=true: serves other machines without keys\n"
    "  --verbose            --set log_level=debug\n"
    "  --help, --version, --help-config\n"
    "\n"
    "Prints `ready ENDPOINT` for each endpoint once it serves. SIGTERM and SIGINT drain it.\n"
    "Exit status: 0 drained, 1 could not start, 2 wrong usage.\n";

static int
s_refuse (int status, const char *format, const char *text)
{
    fputs ("gpb_actor: ", stderr);
    fprintf (stderr, format, text);
    fputs (status == EXIT_USAGE ? "\n`gpb_actor --help` shows the usage.\n" : "\n", stderr);
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  The command line

enum {
    OPTION_BIND = 256,
    OPTION_CONFIG,
    OPTION_SET,
    OPTION_NAME,
    OPTION_BACKENDS,
    OPTION_CURVE,
    OPTION_ALLOWED_KEYS,
    OPTION_INSECURE,
    OPTION_VERBOSE,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_HELP_CONFIG
};

static const struct option s_options [] = {
    { "bind", required_argument, NULL, OPTION_BIND },
    { "config", required_argument, NULL, OPTION_CONFIG },
    { "set", required_argument, NULL, OPTION_SET },
    { "name", required_argument, NULL, OPTION_NAME },
    { "backends", required_argument, NULL, OPTION_BACKENDS },
    { "curve", required_argument, NULL, OPTION_CURVE },
    { "allowed-keys", required_argument, NULL, OPTION_ALLOWED_KEYS },
    { "insecure", no_argument, NULL, OPTION_INSECURE },
    { "verbose", no_argument, NULL, OPTION_VERBOSE },
    { "help", no_argument, NULL, OPTION_HELP },
    { "version", no_argument, NULL, OPTION_VERSION },
    { "help-config", no_argument, NULL, OPTION_HELP_CONFIG },
    { NULL, 0, NULL, 0 },
};

static int
s_add_endpoint (s_program_t *self, const char *endpoint)
{
    if (self->count == ENDPOINTS_MAX)
        return s_refuse (EXIT_USAGE, "more than 32 endpoints; \"%s\" is one too many", endpoint);
    char *copy = strdup (endpoint);
    if (!copy)
        return s_refuse (EXIT_REFUSED, "no memory for \"%s\"", endpoint);
    self->endpoints [self->count++] = copy;
    //  The analyzer takes two elements of the array for one.
    //  NOLINTNEXTLINE(clang-analyzer-unix.Malloc)
    return 0;
}

static int
s_set (s_program_t *self, const char *key, const char *value)
{
    gpb_error_t error;
    if (gpb_config_set (self->config, key, value, &error) == GPB_OK)
        return 0;
    return s_refuse (EXIT_USAGE, "%s", error.text);
}

//  "KEY=VALUE"
static int
s_set_pair (s_program_t *self, const char *pair)
{
    char key [64];
    const char *equals = strchr (pair, '=');
    size_t size = equals ? (size_t) (equals - pair) : sizeof key;
    if (size == 0 || size >= sizeof key)
        return s_refuse (EXIT_USAGE, "--set wants KEY=VALUE, not \"%s\"", pair);
    memcpy (key, pair, size);
    key [size] = 0;
    return s_set (self, key, equals + 1);
}

//  One option of the second pass, which changes what the file has set.
static int
s_apply (s_program_t *self, int option, const char *value)
{
    switch (option) {
    case OPTION_BIND: return s_add_endpoint (self, value);
    case OPTION_SET: return s_set_pair (self, value);
    case OPTION_NAME: return s_set (self, "name", value);
    case OPTION_BACKENDS: return s_set (self, "backends", value);
    case OPTION_CURVE: return s_set (self, "curve", value);
    case OPTION_ALLOWED_KEYS: return s_set (self, "allowed_keys", value);
    case OPTION_INSECURE: return s_set (self, "insecure", "true");
    case OPTION_VERBOSE: return s_set (self, "log_level", "debug");
    default: return 0;
    }
}

//  The first pass: usage, what only prints, and the file, wherever on the line it stands. -1: go
//  on; else the exit status.
static int
s_first_pass (s_program_t *self, int argc, char **argv)
{
    gpb_error_t error;
    int option;
    optind = 0;
    while ((option = getopt_long (argc, argv, "", s_options, NULL)) != -1)
        switch (option) {
        case '?': return s_refuse (EXIT_USAGE, "%s", "wrong usage");    //  getopt has said how
        case OPTION_HELP: return fputs (s_help, stdout) < 0;
        case OPTION_HELP_CONFIG: return fputs (gpb_config_help (), stdout) < 0;
        case OPTION_VERSION: return printf ("gpb_actor %s\n", PACKAGE_VERSION) < 0;
        case OPTION_CONFIG:
            if (gpb_config_load (self->config, optarg, &error) != GPB_OK)
                return s_refuse (EXIT_REFUSED, "%s", error.text);
            break;
        default: break;
        }
    return optind == argc ? -1
                          : s_refuse (EXIT_USAGE, "there is no argument \"%s\"", argv [optind]);
}

//  What the configuration says, or else the default, where the command line names no endpoint.
static int
s_default_endpoints (s_program_t *self)
{
    int result = 0;
    char *list = strdup (gpb_config_string (self->config, "bind"));
    char *rest = NULL;
    for (char *at = list ? strtok_r (list, " ", &rest) : NULL; at && result == 0;
         at = strtok_r (NULL, " ", &rest))
        result = s_add_endpoint (self, at);
    free (list);
    return result == 0 && self->count == 0 ? s_add_endpoint (self, DEFAULT_ENDPOINT) : result;
}

//  -1: go on; else the exit status.
static int
s_parse (s_program_t *self, int argc, char **argv)
{
    int result = s_first_pass (self, argc, argv);
    if (result != -1)
        return result;
    int option;
    optind = 0;
    result = 0;
    while (result == 0 && (option = getopt_long (argc, argv, "", s_options, NULL)) != -1)
        result = s_apply (self, option, optarg);
    if (result == 0 && self->count == 0)
        result = s_default_endpoints (self);

    //  What crashes here would take all clients' work along.
    if (result == 0 && !gpb_config_string (self->config, "isolation") [0])
        result = s_set (self, "isolation", "process");

    //  The program binds, one by one; the node gets none to bind by itself.
    if (result == 0)
        result = s_set (self, "bind", "");
    return result == 0 ? -1 : result;
}

//  ---------------------------------------------------------------------------------------------------------
//  The process

//  -1: go on; else the exit status.
static int
s_open_log (s_program_t *self)
{
    gpb_error_t error;
    if (gpb_log_target_open (self->config, "gpb_actor", &self->log, &error) == GPB_OK)
        return -1;
    return s_refuse (EXIT_REFUSED, "%s", error.text);
}

static int
s_catch_signals (s_program_t *self)
{
    sigset_t set;
    sigemptyset (&set);
    sigaddset (&set, SIGTERM);
    sigaddset (&set, SIGINT);
    pthread_sigmask (SIG_BLOCK, &set, NULL);

    //  Whoever reads our logs may go away; the node stays.
    signal (SIGPIPE, SIG_IGN);
    self->signals = signalfd (-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (self->signals >= 0)
        return 0;
    return s_refuse (EXIT_REFUSED, "no descriptor for signals: %s", strerror (errno));
}

//  Waits for an answer of the node's, or a signal. The answer's text, for zstr_free; NULL: a signal
//  (*result_p is 0) or a refusal (*result_p is the exit status).
static char *
s_answer (s_program_t *self, const char *what, int *result_p)
{
    zmq_pollitem_t items [] = { { zsock_resolve (self->node), 0, ZMQ_POLLIN, 0 },
                                { NULL, self->signals, ZMQ_POLLIN, 0 } };
    while (zmq_poll (items, 2, -1) < 0 && errno == EINTR)
        ;
    *result_p = 0;
    if (items [1].revents & ZMQ_POLLIN)
        return NULL;
    char *status = NULL, *text = NULL;
    int frames = zstr_recvx (self->node, &status, &text, NULL);
    if (frames == 2 && strcmp (status, "OK") == 0) {
        zstr_free (&status);
        return text;
    }
    fprintf (stderr, "gpb_actor: %s: %s: %s\n", what, status ? status : "INTERNAL",
             text ? text : "the node gave no answer");
    zstr_free (&status);
    zstr_free (&text);
    *result_p = EXIT_REFUSED;
    return NULL;
}

//  Binds and starts. 0: it serves, or a signal came first (*serves_p tells); else the exit status.
static int
s_start (s_program_t *self, bool *serves_p)
{
    int result = 0;
    for (size_t index = 0; index < self->count; index++) {
        zstr_sendx (self->node, "BIND", self->endpoints [index], NULL);
        char *bound = s_answer (self, self->endpoints [index], &result);
        if (!bound)
            return result;
        zstr_free (&self->endpoints [index]);
        self->endpoints [index] = bound;
    }
    zstr_sendx (self->node, "START", NULL);
    char *started = s_answer (self, "start", &result);
    *serves_p = started != NULL;
    zstr_free (&started);
    return result;
}

//  The program's one line of its own.
static void
s_log_drain (const s_program_t *self)
{
    struct signalfd_siginfo signal;
    if (read (self->signals, &signal, sizeof signal) == sizeof signal)
        gpb_log (self->config, GPB_LOG_INFO, "%s: draining", strsignal ((int) signal.ssi_signo));
}

#ifdef HAVE_MALLINFO2
//  Bytes of memory that are this process's own.
static size_t
s_resident_size (void)
{
    unsigned long pages = 0;
    FILE *file = fopen ("/proc/self/statm", "r");
    if (!file)
        return 0;
    if (fscanf (file, "%*u %lu", &pages) != 1)
        pages = 0;
    fclose (file);
    return pages * (size_t) sysconf (_SC_PAGESIZE);
}

//  What a client that floods the node had it hold stays with malloc, since the little that lives on
//  lies between: hundreds of MiB for each. Where it is much, it goes back to the system.
static void
s_trim (void)
{
    const struct mallinfo2 memory = mallinfo2 ();
    if (s_resident_size () > memory.uordblks + memory.hblkhd + TRIM_SIZE)
        malloc_trim (0);
}
#else
static void
s_trim (void)
{
}
#endif

static int
s_serve (s_program_t *self)
{
    bool serves = false;
    self->node = zactor_new (gpb_actor, self->config);
    if (!self->node)
        return s_refuse (EXIT_REFUSED, "%s", "no memory for a node");
    int result = s_start (self, &serves);
    if (serves) {
        for (size_t index = 0; index < self->count; index++)
            printf ("ready %s\n", self->endpoints [index]);
        fflush (stdout);
        zmq_pollitem_t item = { NULL, self->signals, ZMQ_POLLIN, 0 };
        int count;
        while ((count = zmq_poll (&item, 1, TRIM_MS)) == 0 || (count < 0 && errno == EINTR))
            s_trim ();
        s_log_drain (self);
    }

    //  Says $TERM, and returns when the node has answered all that it accepted.
    zactor_destroy (&self->node);
    return result;
}

//  Connections are descriptors, and a process that asks gets as many as the system allows it.
static void
s_raise_descriptors (void)
{
    struct rlimit limit;
    if (getrlimit (RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit (RLIMIT_NOFILE, &limit);
    }
}

int
main (int argc, char **argv)
{
    gpb_backends_environment ();
    s_raise_descriptors ();
    s_program_t self = { .signals = -1 };
    int result = s_catch_signals (&self);
    if (result == 0) {
        self.config = gpb_config_new ();
        result = self.config ? s_parse (&self, argc, argv)
                             : s_refuse (EXIT_REFUSED, "%s", "no memory for a configuration");
    }
    if (result == -1)
        result = s_open_log (&self);
    if (result == -1)
        result = s_serve (&self);
    for (size_t index = 0; index < self.count; index++)
        zstr_free (&self.endpoints [index]);
    gpb_config_destroy (&self.config);
    zsys_shutdown ();
    if (self.log)
        fclose (self.log);
    if (self.signals >= 0)
        close (self.signals);
    if (gpb_shared_context_abandoned ()) {
        fflush (NULL);
        _exit (result);
    }
    return result;
}
