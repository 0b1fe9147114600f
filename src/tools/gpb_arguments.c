//  gpb_arguments - the command line of `gpb`
//
//  getopt_long does the splitting; what an option means, which commands take it and what its value
//  may be are two tables here. An option that a command does not take is refused rather than
//  ignored, since whoever writes `gpb devices --device 1` expects something of it.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_arguments.h"

#include "gpb_request.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef enum { SUBJECT_NONE, SUBJECT_MAY, SUBJECT_MUST } s_subject_t;

typedef struct {
    const char *name;
    gpb_command_t command;
    s_subject_t subject;
    const char *subject_name;
    bool operands;
} s_command_t;

static const s_command_t s_commands [] = {
    { "devices", GPB_COMMAND_DEVICES, SUBJECT_NONE, NULL, false },
    { "kernels", GPB_COMMAND_KERNELS, SUBJECT_MAY, "KERNEL", false },
    { "stats", GPB_COMMAND_STATS, SUBJECT_NONE, NULL, false },
    { "top", GPB_COMMAND_TOP, SUBJECT_NONE, NULL, false },
    { "ping", GPB_COMMAND_PING, SUBJECT_NONE, NULL, false },
    { "run", GPB_COMMAND_RUN, SUBJECT_MUST, "KERNEL", true },
    { "bench", GPB_COMMAND_BENCH, SUBJECT_MUST, "KERNEL", true },
    { "reserve", GPB_COMMAND_RESERVE, SUBJECT_NONE, NULL, false },
    { "compile", GPB_COMMAND_COMPILE, SUBJECT_MUST, "KERNEL_DIR", false },
    { "keygen", GPB_COMMAND_KEYGEN, SUBJECT_MUST, "FILE", false },
};

//  Of `gpb ping`, where nothing is said.
#define PINGS 10

//  Messages of a stream, or calls of a bench, in flight, where nothing is said: enough to keep a
//  device at work over a network, few enough to stay far below what a node queues. On schedule they
//  are to bound nothing but memory.
#define IN_FLIGHT 64
#define IN_FLIGHT_SCHEDULED 16384
#define IN_FLIGHT_MAX 32768    //  half of what a client takes

#define SECONDS 10                //  of a bench, where nothing is said
#define RATE_MAX 10000000         //  beyond what one client can send
#define STREAM_MAX 67108864       //  elements: bytes of the largest message
#define PAYLOAD_MAX 1073741824    //  bytes

enum { COMMANDS = sizeof s_commands / sizeof s_commands [0] };

#define FOR(command) (1u << GPB_COMMAND_##command)
#define FOR_CALL (FOR (RUN) | FOR (BENCH))
#define FOR_NODE                                                                                   \
    (FOR (DEVICES) | FOR (KERNELS) | FOR (STATS) | FOR (TOP) | FOR (PING) | FOR_CALL               \
     | FOR (RESERVE))
#define FOR_ALL (FOR_NODE | FOR (COMPILE) | FOR (KEYGEN))
#define FOR_PLACED (FOR_CALL | FOR (RESERVE))

typedef enum {
    OPTION_HELP = 256,    //  behind all characters, for getopt
    OPTION_VERSION,
    OPTION_NODE,
    OPTION_CURVE,
    OPTION_NODE_KEY,
    OPTION_NAME,
    OPTION_JSON,
    OPTION_TIMEOUT,
    OPTION_COUNT,
    OPTION_GLOBAL,
    OPTION_LOCAL,
    OPTION_SHARED,
    OPTION_DEVICE,
    OPTION_REQUIRE,
    OPTION_MEMORY,
    OPTION_REPEAT,
    OPTION_PRIORITY,
    OPTION_IDEMPOTENT,
    OPTION_RESERVATION,
    OPTION_FOR,
    OPTION_INTERVAL,
    OPTION_BACKENDS,
    OPTION_ARCH,
    OPTION_OUTPUT,
    OPTION_STREAM,
    OPTION_IN_FLIGHT,
    OPTION_ON_DEMAND,
    OPTION_LANE,
    OPTION_RATE,
    OPTION_SECONDS,
    OPTION_PAYLOAD
} s_option_t;

static const struct {
    struct option option;
    unsigned commands;    //  those that take it
} s_options [] = {
    { { "help", no_argument, NULL, OPTION_HELP }, FOR_ALL },
    { { "version", no_argument, NULL, OPTION_VERSION }, FOR_ALL },
    { { "node", required_argument, NULL, OPTION_NODE }, FOR_NODE },
    { { "curve", required_argument, NULL, OPTION_CURVE }, FOR_NODE },
    { { "node-key", required_argument, NULL, OPTION_NODE_KEY }, FOR_NODE },
    { { "name", required_argument, NULL, OPTION_NAME }, FOR (KEYGEN) },
    { { "json", no_argument, NULL, OPTION_JSON }, FOR_NODE | FOR (COMPILE) },
    { { "timeout", required_argument, NULL, OPTION_TIMEOUT }, FOR_NODE },
    { { "count", required_argument, NULL, OPTION_COUNT }, FOR (PING) | FOR (TOP) },
    { { "global", required_argument, NULL, OPTION_GLOBAL }, FOR_CALL },
    { { "local", required_argument, NULL, OPTION_LOCAL }, FOR_CALL },
    { { "shared", required_argument, NULL, OPTION_SHARED }, FOR_CALL },
    { { "device", required_argument, NULL, OPTION_DEVICE }, FOR_PLACED },
    { { "require", required_argument, NULL, OPTION_REQUIRE }, FOR_PLACED },
    { { "memory", required_argument, NULL, OPTION_MEMORY }, FOR_PLACED },
    { { "repeat", required_argument, NULL, OPTION_REPEAT }, FOR (RUN) },
    { { "priority", required_argument, NULL, OPTION_PRIORITY }, FOR_CALL },
    { { "idempotent", no_argument, NULL, OPTION_IDEMPOTENT }, FOR_CALL },
    { { "reservation", required_argument, NULL, OPTION_RESERVATION }, FOR_CALL },
    { { "for", required_argument, NULL, OPTION_FOR }, FOR (RESERVE) },
    { { "interval", required_argument, NULL, OPTION_INTERVAL }, FOR (TOP) },
    { { "backends", required_argument, NULL, OPTION_BACKENDS }, FOR (COMPILE) },
    { { "arch", required_argument, NULL, OPTION_ARCH }, FOR (COMPILE) },
    { { "output", required_argument, NULL, OPTION_OUTPUT }, FOR (COMPILE) },
    { { "stream", required_argument, NULL, OPTION_STREAM }, FOR (RUN) },
    { { "in-flight", required_argument, NULL, OPTION_IN_FLIGHT }, FOR_CALL },
    { { "on-demand", no_argument, NULL, OPTION_ON_DEMAND }, FOR_CALL },
    { { "lane", required_argument, NULL, OPTION_LANE }, FOR_CALL },
    { { "rate", required_argument, NULL, OPTION_RATE }, FOR (BENCH) },
    { { "seconds", required_argument, NULL, OPTION_SECONDS }, FOR (BENCH) },
    { { "payload", required_argument, NULL, OPTION_PAYLOAD }, FOR (BENCH) },
};

enum { OPTIONS = sizeof s_options / sizeof s_options [0] };

const char *
gpb_arguments_help (void)
{
    return "Usage: gpb [--node ENDPOINT] [--json] COMMAND ...\n"
           "Asks a node, which gpb_actor runs.\n"
           "\n"
           "  devices                what the node's devices are, and what they have to do\n"
           "  kernels [KERNEL]       the node's kernels, or one of them with its parameters\n"
           "  stats                  what the node has done, since it started and lately\n"
           "  top                    the same, live; q ends it: --interval MS (1000),\n"
           "                         --count N frames\n"
           "  ping                   round trips: --count N (10)\n"
           "  run KERNEL ARG...      runs a kernel; an argument for each of its parameters:\n"
           "      in:FILE            its bytes; in:- is standard input\n"
           "      out:FILE[:BYTES]   where its bytes go; out:- is standard output\n"
           "      inout:FILE:OUTFILE\n"
           "      i32:7 u32:7 i64:7 u64:7 f32:0.5 f64:0.5\n"
           "    --global X[,Y[,Z]]   work-items, for a kernel that lets its caller choose\n"
           "    --local X[,Y[,Z]]    work-items of a work-group\n"
           "    --shared BYTES       dynamic local memory\n"
           "    --device N           on this device and no other\n"
           "    --require CAP,...    on a device with these capabilities\n"
           "    --memory BYTES       on a device with so much memory available besides\n"
           "    --repeat N           N times, one after another, with percentiles\n"
           "    --priority N         from -3 to 3 (0): the higher one leaves the queue first\n"
           "    --idempotent         it may run again where its device or the node was lost\n"
           "    --reservation HANDLE on its device, and drawn from it\n"
           "    --stream N           a persistent kernel: cuts the input into messages of N "
           "elements,\n"
           "                         and writes the answers in order: --in-flight N (64)\n"
           "    --on-demand          a persistent kernel: by a launch of its own\n"
           "    --lane KEY           a persistent kernel: messages of one key keep their order\n"
           "  bench KERNEL ARG...    runs it again and again, with percentiles; as run, and:\n"
           "    --rate N             on schedule, N a second, and counts from the scheduled time;\n"
           "                         else with --in-flight N (64) at any time\n"
           "    --seconds N          for so long (10)\n"
           "    --payload BYTES      instead of arguments: so many zero bytes for each input\n"
           "  reserve --memory BYTES sets memory aside, and holds it until it is ended:\n"
           "                         --device N, --require CAP,..., --for MS\n"
           "  compile KERNEL_DIR     compiles a kernel package here, without a node:\n"
           "                         --backends \"cuda opencl\"; --arch ARCH (sm_90...) compiles "
           "for\n"
           "                         one that is not here, --output FILE keeps it\n"
           "  keygen FILE            makes a key pair: FILE is public, FILE_secret is not:\n"
           "                         --name NAME, the file's where it is not said\n"
           "\n"
           "  --node ENDPOINT        default $GPB_NODE, else tcp://127.0.0.1:5670\n"
           "  --curve FILE           your key pair, for a node that asks for keys; default "
           "$GPB_CURVE\n"
           "  --node-key FILE        that node's public key; default $GPB_NODE_KEY\n"
           "  --timeout MS           for each answer (5000; 30000 for a run)\n"
           "  --json                 for scripts; gpb(1) says the keys\n"
           "  --help, --version\n"
           "\n"
           "Exit status: 0 done, 1 refused or failed, 2 wrong usage.\n";
}

gpb_status_t
gpb_arguments_number (const char *text, uint64_t minimum, uint64_t maximum, uint64_t *number_p,
                      gpb_error_t *error)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = isdigit ((unsigned char) text [0]) ? strtoull (text, &end, 10) : 0;
    if (!end || *end || errno || number < minimum || number > maximum)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "a whole number from %" PRIu64 " to %" PRIu64 ", not \"%.100s\"",
                              minimum, maximum, text);
    *number_p = number;
    return GPB_OK;
}

//  A whole number from -3 to 3.
static gpb_status_t
s_parse_priority (const char *text, int *priority_p, gpb_error_t *error)
{
    uint64_t number = 0;
    bool negative = text [0] == '-';
    if (gpb_arguments_number (text + negative, 0, GPB_PRIORITY_MAX, &number, NULL) != GPB_OK)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "a whole number from %d to %d, not \"%.100s\"", GPB_PRIORITY_MIN,
                              GPB_PRIORITY_MAX, text);
    *priority_p = negative ? -(int) number : (int) number;
    return GPB_OK;
}

//  A handle as `gpb reserve` prints it, or in decimal.
static gpb_status_t
s_parse_handle (const char *text, uint64_t *handle_p, gpb_error_t *error)
{
    if (strncmp (text, "0x", 2) == 0 && isxdigit ((unsigned char) text [2])) {
        char *end = NULL;
        errno = 0;
        *handle_p = strtoull (text + 2, &end, 16);
        if (!*end && !errno && *handle_p)
            return GPB_OK;
    }
    else if (gpb_arguments_number (text, 1, UINT64_MAX, handle_p, NULL) == GPB_OK)
        return GPB_OK;
    return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                          "a handle such as 0x2f6b5ad1c0e97734, not \"%.100s\"", text);
}

//  "X[,Y[,Z]]". Zero is a size: there is nothing to do then.
static gpb_status_t
s_parse_sizes (const char *text, uint64_t minimum, unsigned *dimensions_p, uint64_t *sizes,
               gpb_error_t *error)
{
    unsigned dimensions = 0;
    for (const char *at = text;; dimensions++) {
        char number [24];
        size_t size = strcspn (at, ",");
        if (dimensions == GPB_DIMENSIONS || size >= sizeof number)
            break;
        memcpy (number, at, size);
        number [size] = 0;
        if (gpb_arguments_number (number, minimum, UINT64_MAX, &sizes [dimensions], NULL) != GPB_OK)
            break;
        if (at [size] == 0) {
            *dimensions_p = dimensions + 1;
            return GPB_OK;
        }
        at += size + 1;
    }
    return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                          "one to three numbers with commas between, such as 1024 or 640,480, not "
                          "\"%.100s\"",
                          text);
}

//  "CAP,CAP"; may come more than once.
static gpb_status_t
s_parse_require (gpb_arguments_t *self, const char *text, gpb_error_t *error)
{
    for (const char *at = text;;) {
        size_t size = strcspn (at, ",");
        if (size == 0 || size >= GPB_CAPABILITY_SIZE || self->require_count == GPB_CAPABILITIES_MAX)
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "at most %d capabilities of 1 to %d characters with commas "
                                  "between, such as fp64,gpu, not \"%.100s\"",
                                  GPB_CAPABILITIES_MAX, GPB_CAPABILITY_SIZE - 1, text);
        memcpy (self->require [self->require_count], at, size);
        self->require [self->require_count++][size] = 0;
        if (at [size] == 0)
            return GPB_OK;
        at += size + 1;
    }
}

static gpb_status_t
s_parse_value (gpb_arguments_t *self, int option, char *value, gpb_error_t *error)
{
    uint64_t number = 0;
    gpb_status_t status = GPB_OK;
    switch (option) {
    case OPTION_HELP: self->help = true; break;
    case OPTION_VERSION: self->version = true; break;
    case OPTION_JSON: self->json = true; break;
    case OPTION_NODE: self->node = value; break;
    case OPTION_CURVE: self->curve = value; break;
    case OPTION_NODE_KEY: self->node_key = value; break;
    case OPTION_NAME: self->name = value; break;
    case OPTION_BACKENDS: self->backends = value; break;
    case OPTION_ARCH: self->arch = value; break;
    case OPTION_OUTPUT: self->output = value; break;
    case OPTION_TIMEOUT:
        status = gpb_arguments_number (value, 1, UINT32_MAX, &number, error);
        self->timeout_ms = (uint32_t) number;
        break;
    case OPTION_COUNT:
        status = gpb_arguments_number (value, 1, 1000000000, &self->count, error);
        break;
    case OPTION_REPEAT:
        status = gpb_arguments_number (value, 1, 1000000000, &self->repeat, error);
        break;
    case OPTION_GLOBAL:
        status = s_parse_sizes (value, 0, &self->global_dimensions, self->global, error);
        break;
    case OPTION_LOCAL:
        status = s_parse_sizes (value, 1, &self->local_dimensions, self->local, error);
        break;
    case OPTION_SHARED:
        self->has_shared = true;
        status = gpb_arguments_number (value, 0, UINT64_MAX, &self->shared, error);
        break;
    case OPTION_DEVICE:
        self->has_device = true;
        status = gpb_arguments_number (value, 0, UINT32_MAX, &number, error);
        self->device = (uint32_t) number;
        break;
    case OPTION_PRIORITY: status = s_parse_priority (value, &self->priority, error); break;
    case OPTION_IDEMPOTENT: self->idempotent = true; break;
    case OPTION_RESERVATION: status = s_parse_handle (value, &self->reservation, error); break;
    case OPTION_FOR:
        status = gpb_arguments_number (value, 1, UINT32_MAX, &number, error);
        self->for_ms = (uint32_t) number;
        break;
    case OPTION_INTERVAL:
        status = gpb_arguments_number (value, 10, 3600000, &self->interval_ms, error);
        break;
    case OPTION_REQUIRE: status = s_parse_require (self, value, error); break;
    case OPTION_MEMORY:
        status = gpb_arguments_number (value, 0, UINT64_MAX, &self->memory, error);
        break;
    case OPTION_STREAM:
        status = gpb_arguments_number (value, 1, STREAM_MAX, &self->stream, error);
        break;
    case OPTION_IN_FLIGHT:
        status = gpb_arguments_number (value, 1, IN_FLIGHT_MAX, &self->in_flight, error);
        break;
    case OPTION_ON_DEMAND: self->on_demand = true; break;
    case OPTION_LANE:
        self->has_lane = true;
        status = gpb_arguments_number (value, 0, UINT64_MAX, &self->lane, error);
        break;
    case OPTION_RATE: status = gpb_arguments_number (value, 1, RATE_MAX, &self->rate, error); break;
    case OPTION_SECONDS:
        status = gpb_arguments_number (value, 1, 86400, &self->seconds, error);
        break;
    case OPTION_PAYLOAD:
        self->has_payload = true;
        status = gpb_arguments_number (value, 0, PAYLOAD_MAX, &self->payload, error);
        break;
    default: break;
    }
    return status;
}

static const char *
s_option_name (int option)
{
    for (int index = 0; index < OPTIONS; index++)
        if (s_options [index].option.val == option)
            return s_options [index].option.name;
    return NULL;
}

//  Options, into *self; *seen_p has a bit for each entry of s_options that was there.
static gpb_status_t
s_parse_options (gpb_arguments_t *self, int argc, char **argv, unsigned *seen_p, gpb_error_t *error)
{
    struct option options [OPTIONS + 1];
    memset (options, 0, sizeof options);
    for (int index = 0; index < OPTIONS; index++)
        options [index] = s_options [index].option;

    optind = 0;    //  glibc's way to begin anew
    opterr = 0;
    for (;;) {
        int entry = -1;
        int option = getopt_long (argc, argv, ":", options, &entry);
        if (option == -1)
            return GPB_OK;
        if (option == ':')
            return gpb_error_set (error, GPB_INVALID_ARGUMENT, "--%s wants a value",
                                  s_option_name (optopt));
        if (option == '?' && s_option_name (optopt))
            return gpb_error_set (error, GPB_INVALID_ARGUMENT, "--%s takes no value",
                                  s_option_name (optopt));
        if (option == '?')
            return gpb_error_set (error, GPB_INVALID_ARGUMENT, "there is no option %.100s",
                                  argv [optind - 1]);
        *seen_p |= 1u << entry;
        if (s_parse_value (self, option, optarg, error) != GPB_OK)
            return gpb_error_prefix (error, "--%s wants ", s_option_name (option));
    }
}

static const s_command_t *
s_find_command (const char *name)
{
    for (int index = 0; index < COMMANDS; index++)
        if (strcmp (s_commands [index].name, name) == 0)
            return &s_commands [index];
    return NULL;
}

//  Options that exclude one another, or that want one another.
static gpb_status_t
s_check_run (const gpb_arguments_t *self, gpb_error_t *error)
{
    if (self->in_flight && !self->stream)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "--in-flight is of a stream: --stream N says how many elements a "
                              "message has");
    if (self->stream && self->repeat > 1)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "--repeat is of single calls: a --stream sends each message once");
    if (self->stream && (self->global_dimensions || self->local_dimensions || self->has_shared))
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "--stream is for persistent kernels: they have their work-items and "
                              "local memory, and take no --global, --local or --shared");
    return GPB_OK;
}

static gpb_status_t
s_check_bench (const gpb_arguments_t *self, gpb_error_t *error)
{
    if (self->has_payload && self->operands_count)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "--payload stands for the arguments: give it, or \"%.100s\" and the "
                              "others",
                              self->operands [0]);
    return GPB_OK;
}

//  What is not said, as far as it depends on the command.
static void
s_set_defaults (gpb_arguments_t *self)
{
    if (self->command == GPB_COMMAND_PING && self->count == 0)
        self->count = PINGS;
    if (self->in_flight == 0)
        self->in_flight = self->rate ? IN_FLIGHT_SCHEDULED : IN_FLIGHT;
}

gpb_status_t
gpb_arguments_parse (gpb_arguments_t *self, int argc, char **argv, gpb_error_t *error)
{
    memset (self, 0, sizeof *self);
    self->interval_ms = 1000;
    self->repeat = 1;
    self->seconds = SECONDS;
    self->backends = "cuda opencl";
    unsigned seen = 0;
    gpb_status_t status = s_parse_options (self, argc, argv, &seen, error);
    if (status != GPB_OK || self->help || self->version)
        return status;

    if (optind == argc)
        return gpb_error_set (
            error, GPB_INVALID_ARGUMENT,
            "a command is missing: devices, kernels, stats, top, ping, run, bench, reserve, "
            "compile or keygen");
    const s_command_t *command = s_find_command (argv [optind]);
    if (!command)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "there is no command \"%.100s\"; there are devices, kernels, stats, "
                              "top, ping, run, bench, reserve, compile and keygen",
                              argv [optind]);
    self->command = command->command;
    for (int index = 0; index < OPTIONS; index++)
        if ((seen & 1u << index) && !(s_options [index].commands & 1u << command->command))
            return gpb_error_set (error, GPB_INVALID_ARGUMENT, "gpb %s takes no --%s",
                                  command->name, s_options [index].option.name);

    if (self->command == GPB_COMMAND_RESERVE && self->memory == 0)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "gpb reserve wants --memory BYTES, at least 1");
    int at = optind + 1;
    if (command->subject != SUBJECT_NONE && at < argc)
        self->subject = argv [at++];
    if (command->subject == SUBJECT_MUST && !self->subject)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "gpb %s wants a %s", command->name,
                              command->subject_name);
    if (command->operands) {
        self->operands = argv + at;
        self->operands_count = (size_t) (argc - at);
    }
    else if (at < argc)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT, "gpb %s takes no \"%.100s\"",
                              command->name, argv [at]);
    if (self->output && !self->arch)
        return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                              "--output is for a binary of one architecture: --arch says which");
    status = self->command == GPB_COMMAND_RUN     ? s_check_run (self, error)
             : self->command == GPB_COMMAND_BENCH ? s_check_bench (self, error)
                                                  : GPB_OK;
    s_set_defaults (self);
    return status;
}
