//  `gpb reserve` against a stand-in for a node: it holds what it got, renews it in time, gives it
//  back when it is ended, and says when it was lost.

#include "gpb_test_router.h"

#include "gpb_clock.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANDLE 0xFEDCBA9876543210ULL

typedef struct {
    pid_t pid;
    int output, errors;
} s_tool_t;

//  Starts `gpb --node ENDPOINT reserve --memory 4096 ...`; options end in NULL.
static void
s_start (s_tool_t *self, const gpb_test_router_t *node, const char *const *options)
{
    const char *folder = getenv ("GPB_BUILD_DIR");
    char program [512];
    snprintf (program, sizeof program, "%s/gpb", folder ? folder : "build");
    const char *words [16] = { program, "--node", node->endpoint, "reserve", "--memory", "4096" };
    for (size_t count = 6; *options; count++)
        words [count] = *options++;
    int output [2], errors [2];
    ck_assert_int_eq (pipe (output), 0);
    ck_assert_int_eq (pipe (errors), 0);
    self->pid = fork ();
    ck_assert_int_ge (self->pid, 0);
    if (self->pid == 0) {
        dup2 (output [1], STDOUT_FILENO);
        dup2 (errors [1], STDERR_FILENO);
        execv (program, (char *const *) words);
        _exit (127);
    }
    close (output [1]);
    close (errors [1]);
    self->output = output [0];
    self->errors = errors [0];
}

//  Reads what is there up to the given number of lines, or to the end. Into text, of size bytes.
static void
s_read (int fd, int lines, char *text, size_t size)
{
    size_t used = 0;
    while (lines > 0 && used + 1 < size) {
        struct pollfd item = { .fd = fd, .events = POLLIN };
        ck_assert_int_eq (poll (&item, 1, 20000), 1);
        if (read (fd, text + used, 1) != 1)
            break;
        lines -= text [used++] == '\n';
    }
    text [used] = 0;
}

//  Waits for its end: the exit status. Its standard error is in text, of size bytes.
static int
s_wait (s_tool_t *self, char *text, size_t size)
{
    int status;
    s_read (self->errors, 1000, text, size);
    ck_assert_int_eq (waitpid (self->pid, &status, 0), self->pid);
    close (self->output);
    close (self->errors);
    ck_assert (WIFEXITED (status));
    return WEXITSTATUS (status);
}

//  The next request, which is of this kind.
static void
s_take (gpb_test_router_t *node, Gpb__V1__Request__BodyCase kind)
{
    gpb_test_router_take (node, NULL);
    ck_assert_int_eq (node->request->body_case, kind);
}

static void
s_give (gpb_test_router_t *node, uint32_t for_ms)
{
    Gpb__V1__ReserveReply reserve = GPB__V1__RESERVE_REPLY__INIT;
    reserve.handle = HANDLE;
    reserve.memory = 4096;
    reserve.device = 2;
    reserve.for_ms = for_ms;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.id = node->request->id;
    reply.body_case = GPB__V1__REPLY__BODY_RESERVE;
    reply.reserve = &reserve;
    gpb_test_router_reply (node, &reply);
}

static void
s_give_more (gpb_test_router_t *node, uint32_t for_ms)
{
    ck_assert_uint_eq (node->request->renew->handle, HANDLE);
    Gpb__V1__RenewReply renew = GPB__V1__RENEW_REPLY__INIT;
    renew.for_ms = for_ms;
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.id = node->request->id;
    reply.body_case = GPB__V1__REPLY__BODY_RENEW;
    reply.renew = &renew;
    gpb_test_router_reply (node, &reply);
}

START_TEST (test_it_is_renewed_in_time_until_a_signal_gives_it_back)
{
    static const int signals [] = { SIGINT, SIGTERM };
    for (size_t index = 0; index < 2; index++) {
        gpb_test_router_t node;
        s_tool_t tool;
        char text [4096];
        gpb_test_router_open (&node);
        s_start (&tool, &node,
                 (const char *const []){ "--device", "2", "--require", "gpu,fp64", NULL });
        s_take (&node, GPB__V1__REQUEST__BODY_RESERVE);
        ck_assert_uint_eq (node.request->reserve->memory, 4096);
        ck_assert_uint_eq (node.request->reserve->device, 2);
        ck_assert_uint_eq (node.request->reserve->n_require, 2);
        ck_assert_uint_eq (node.request->reserve->for_ms, 0);
        s_give (&node, 300);
        uint64_t given_ns = gpb_clock_ns ();
        s_read (tool.output, 2, text, sizeof text);
        ck_assert_ptr_nonnull (strstr (text, "0xfedcba9876543210       2  4.0 KiB  300 ms  20"));
        for (int count = 0; count < 3; count++) {
            s_take (&node, GPB__V1__REQUEST__BODY_RENEW);
            ck_assert_uint_eq (node.request->renew->for_ms, 0);
            if (count == 0)
                ck_assert_uint_ge (gpb_clock_ns () - given_ns, 100 * GPB_NS_PER_MS);
            s_give_more (&node, 300);
        }
        kill (tool.pid, signals [index]);
        //  One more may have been on its way.
        gpb_test_router_take (&node, NULL);
        if (node.request->body_case == GPB__V1__REQUEST__BODY_RENEW) {
            s_give_more (&node, 300);
            gpb_test_router_take (&node, NULL);
        }
        if (node.request->body_case == GPB__V1__REQUEST__BODY_CANCEL)
            gpb_test_router_take (&node, NULL);
        ck_assert_int_eq (node.request->body_case, GPB__V1__REQUEST__BODY_UNRESERVE);
        ck_assert_uint_eq (node.request->unreserve->handle, HANDLE);
        gpb_test_router_answer (&node, node.request->id, GPB_OK);
        ck_assert_int_eq (s_wait (&tool, text, sizeof text), 0);
        ck_assert_str_eq (text, "");
        gpb_test_router_close (&node);
    }
}
END_TEST

START_TEST (test_it_ends_by_itself_when_its_time_is_over)
{
    gpb_test_router_t node;
    s_tool_t tool;
    char text [4096];
    gpb_test_router_open (&node);
    uint64_t start_ns = gpb_clock_ns ();
    s_start (&tool, &node, (const char *const []){ "--for", "600", "--json", NULL });
    s_take (&node, GPB__V1__REQUEST__BODY_RESERVE);
    ck_assert_uint_eq (node.request->reserve->for_ms, 600);
    s_give (&node, 240);
    s_read (tool.output, 7, text, sizeof text);
    ck_assert_ptr_nonnull (strstr (text, "\"handle\": \"0xfedcba9876543210\""));
    ck_assert_ptr_nonnull (strstr (text, "\"for_ms\": 240"));
    ck_assert_ptr_nonnull (strstr (text, "\"memory\": 4096"));
    for (;;) {
        gpb_test_router_take (&node, NULL);
        if (node.request->body_case != GPB__V1__REQUEST__BODY_RENEW)
            break;
        //  What is left, and a second, so that none is late.
        ck_assert_uint_le (node.request->renew->for_ms, 1000 + 520);
        ck_assert_uint_ge (node.request->renew->for_ms, 1000);
        s_give_more (&node, 240);
    }
    ck_assert_int_eq (node.request->body_case, GPB__V1__REQUEST__BODY_UNRESERVE);
    ck_assert_uint_ge (gpb_clock_ns () - start_ns, 600 * GPB_NS_PER_MS);
    gpb_test_router_answer (&node, node.request->id, GPB_OK);
    ck_assert_int_eq (s_wait (&tool, text, sizeof text), 0);
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_a_refusal_is_said_whole)
{
    static const char reasons [] = "no device: device 0: 1024 bytes are available; device 1: lost";
    gpb_test_router_t node;
    s_tool_t tool;
    char text [4096];
    gpb_test_router_open (&node);
    s_start (&tool, &node, (const char *const []){ NULL });
    s_take (&node, GPB__V1__REQUEST__BODY_RESERVE);
    Gpb__V1__Reply reply = GPB__V1__REPLY__INIT;
    reply.id = node.request->id;
    reply.status = GPB__V1__STATUS__RESOURCE_EXHAUSTED;
    reply.message = (char *) reasons;
    gpb_test_router_reply (&node, &reply);
    ck_assert_int_eq (s_wait (&tool, text, sizeof text), 1);
    ck_assert_ptr_nonnull (strstr (text, "RESOURCE_EXHAUSTED"));
    ck_assert_ptr_nonnull (strstr (text, reasons));
    gpb_test_router_close (&node);
}
END_TEST

START_TEST (test_a_reservation_that_was_lost_is_a_failure)
{
    gpb_test_router_t node;
    s_tool_t tool;
    char text [4096];
    gpb_test_router_open (&node);
    s_start (&tool, &node, (const char *const []){ NULL });
    s_take (&node, GPB__V1__REQUEST__BODY_RESERVE);
    s_give (&node, 90);
    s_take (&node, GPB__V1__REQUEST__BODY_RENEW);
    gpb_test_router_answer (&node, node.request->id, GPB_NOT_FOUND);
    ck_assert_int_eq (s_wait (&tool, text, sizeof text), 1);
    ck_assert_ptr_nonnull (strstr (text, "gpb: NOT_FOUND: the reservation is lost"));
    gpb_test_router_close (&node);
}
END_TEST

GPB_TEST_MAIN ("gpb_reserve", 40, test_it_is_renewed_in_time_until_a_signal_gives_it_back,
               test_it_ends_by_itself_when_its_time_is_over, test_a_refusal_is_said_whole,
               test_a_reservation_that_was_lost_is_a_failure)
