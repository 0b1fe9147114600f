//  Tests of gpb_opencl on whatever device 0 is: streams, notifications, and whole lives of contexts
//  and of programs.

#include "gpb_alloc.h"
#include "gpb_test.h"
#include "gpb_test_device.h"

#include <dirent.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLOATS 1000

START_TEST (test_streams_are_bounded)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_backends_t *backends = gpb_backends_new ("opencl", &error);
    const gpb_backend_operations_t *operations;
    gpb_context_t *context;
    gpb_open_t open = { 65, NULL, false };
    ck_assert_refused (gpb_backends_open (backends, 0, &open, &operations, &context, &error),
                       GPB_INVALID_ARGUMENT, "1 to 64 streams, not 65");
    open.streams = 0;
    ck_assert_refused (gpb_backends_open (backends, 0, &open, &operations, &context, &error),
                       GPB_INVALID_ARGUMENT, "not 0");
    gpb_backends_destroy (&backends);
}
END_TEST

START_TEST (test_each_command_that_asks_notifies_once_also_without_an_event)
{
    enum { COMMANDS = 500, STREAMS = 4 };
    gpb_error_t error = { GPB_OK, "" };
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, STREAMS, false);
    gpb_memory_t *memory [STREAMS];
    gpb_module_t *module [STREAMS];
    gpb_function_t *function [STREAMS];
    for (unsigned stream = 0; stream < STREAMS; stream++) {
        memory [stream] = gpb_test_device_memory (&device, GPB_MEMORY_MAPPED, 4 * FLOATS);
        function [stream] =
            gpb_test_device_function (&device,
                                      "__kernel void count (__global int *a) { a [0]++; }\n",
                                      "count", &module [stream]);
        void *address;
        ck_assert_ok (device.operations->address (memory [stream], &address, &error));
        memset (address, 0, 4 * FLOATS);
    }
    //  Every third does not ask, every second has an event that is freed while it may still run.
    uint64_t expected [STREAMS] = { 0 }, found [STREAMS] = { 0 };
    for (int index = 0; index < COMMANDS; index++)
        for (unsigned stream = 0; stream < STREAMS; stream++) {
            const gpb_argument_t argument = gpb_test_memory (memory [stream], 0);
            const gpb_launch_t launch = { function [stream], 1, { 1 }, { 0 }, &argument, 1 };
            gpb_notify_t notify = index % 3 || index == COMMANDS - 1 ? GPB_NOTIFY : GPB_NOTIFY_NOT;
            gpb_event_t *event = NULL;
            ck_assert_ok (device.operations->launch (device.context, stream, &launch, notify,
                                                     index % 2 ? &event : NULL, &error));
            device.operations->event_free (&event);
            expected [stream] += notify == GPB_NOTIFY;
        }
    for (unsigned stream = 0; stream < STREAMS; stream++)
        while (found [stream] < expected [stream]) {
            struct pollfd item = { device.notify_fds [stream], POLLIN, 0 };
            ck_assert_int_eq (poll (&item, 1, 30000), 1);
            uint64_t count = 0;
            ck_assert_int_eq (read (item.fd, &count, sizeof count), (int) sizeof count);
            found [stream] += count;
        }
    for (unsigned stream = 0; stream < STREAMS; stream++) {
        void *address;
        ck_assert_uint_eq (found [stream], expected [stream]);
        ck_assert_ok (device.operations->address (memory [stream], &address, &error));
        ck_assert_int_eq (*(int *) address, COMMANDS);
        device.operations->unload (&module [stream]);
        device.operations->release (&memory [stream]);
    }
    gpb_test_device_close (&device);
}
END_TEST

//  The eventfd is the caller's: all notifications are in it when close returns.
START_TEST (test_close_waits_for_commands_and_their_notifications)
{
    gpb_error_t error = { GPB_OK, "" };
    for (int round = 0; round < 50; round++) {
        gpb_test_device_t device;
        gpb_test_device_open (&device, "opencl", 0, 2, false);
        static char block [1 << 19];
        gpb_memory_t *memory =
            gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 2 * sizeof block);
        gpb_place_t host = { NULL, 0, block };
        gpb_place_t places [2] = { { memory, 0, NULL }, { memory, sizeof block, NULL } };
        for (int index = 0; index < 20; index++)
            ck_assert_ok (device.operations->copy (device.context, index % 2, &places [index % 2],
                                                   &host, sizeof block, GPB_NOTIFY, NULL, &error));
        gpb_event_t *event = NULL;
        for (unsigned stream = 0; stream < 2; stream++) {
            ck_assert_ok (device.operations->zero (device.context, stream, memory,
                                                   places [stream].offset, 1, GPB_NOTIFY_NOT,
                                                   &event, &error));
            bool done = false;
            while (!done)
                ck_assert_ok (device.operations->query (event, &done, NULL, &error));
            device.operations->event_free (&event);
        }
        device.operations->release (&memory);
        device.operations->close (&device.context);
        for (int stream = 0; stream < 2; stream++) {
            uint64_t count = 0;
            ck_assert_int_eq (read (device.notify_fds [stream], &count, sizeof count), 8);
            ck_assert_uint_eq (count, 10);
            close (device.notify_fds [stream]);
        }
        gpb_backends_destroy (&device.backends);
    }
}
END_TEST

//  ---------------------------------------------------------------------------------------------------------
//  Lives

static unsigned
s_count_entries (const char *directory)
{
    unsigned count = 0;
    DIR *folder = opendir (directory);
    ck_assert_ptr_nonnull (folder);
    while (readdir (folder))
        count++;
    closedir (folder);
    return count;
}

START_TEST (test_a_thousand_contexts_leave_no_descriptor_and_no_thread)
{
    unsigned descriptors = 0, threads = 0;
    for (int round = 0; round < 1000; round++) {
        gpb_test_device_t device;
        gpb_test_device_open (&device, "opencl", 0, 2, false);
        gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 4096);
        device.operations->release (&memory);
        gpb_test_device_close (&device);
        if (round == 10) {
            descriptors = s_count_entries ("/proc/self/fd");
            threads = s_count_entries ("/proc/self/task");
        }
    }
    ck_assert_uint_eq (s_count_entries ("/proc/self/fd"), descriptors);
    ck_assert_uint_eq (s_count_entries ("/proc/self/task"), threads);
}
END_TEST

START_TEST (test_running_out_of_memory_anywhere_is_told_and_leaks_nothing)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_backends_t *backends = gpb_backends_new ("opencl", &error);
    ck_assert_ptr_nonnull (backends);
    const gpb_code_t code = gpb_test_code ("__kernel void k (__global int *a) { a [0] = 1; }\n");
    bool made = false;
    for (int64_t after = 0; !made; after++) {
        ck_assert_int_lt (after, 100);
        const gpb_open_t open = { 1, NULL, false };
        const gpb_backend_operations_t *operations;
        gpb_context_t *context;
        gpb_memory_t *memory = NULL;
        gpb_module_t *module = NULL;
        gpb_function_t *function;
        gpb_event_t *event = NULL;
        void *data = NULL;
        size_t size;
        gpb_alloc_fail (after, 0);
        gpb_status_t status = gpb_backends_open (backends, 0, &open, &operations, &context, &error);
        if (status == GPB_OK) {
            status = operations->allocate (context, GPB_MEMORY_DEVICE, GPB_ACCESS_READ_WRITE, 4,
                                           &memory, &error);
            if (status == GPB_OK)
                status = operations->build (context, &code, &module, &error);
            if (status == GPB_OK)
                status = operations->function (module, "k", &function, NULL, &error);
            if (status == GPB_OK)
                status = operations->binary (module, &data, &size, &error);
            if (status == GPB_OK)
                status =
                    operations->zero (context, 0, memory, 0, 4, GPB_NOTIFY_NOT, &event, &error);
            gpb_alloc_fail (-1, 0);
            operations->event_free (&event);
            gpb_free (data);
            operations->unload (&module);
            bool done = false;
            if (memory
                && operations->zero (context, 0, memory, 0, 4, GPB_NOTIFY_NOT, &event, &error)
                       == GPB_OK) {
                while (!done)
                    ck_assert_ok (operations->query (event, &done, NULL, &error));
                operations->event_free (&event);
            }
            operations->release (&memory);
            operations->close (&context);
        }
        gpb_alloc_fail (-1, 0);
        made = status == GPB_OK;
        if (!made)
            ck_assert_refused (status, GPB_RESOURCE_EXHAUSTED, "out of memory");
    }
    gpb_backends_destroy (&backends);
}
END_TEST

//  What a program does from its start to its end; main runs it alone in a process of its own.
START_TEST (test_a_program_works_once)
{
    gpb_test_device_t device;
    gpb_test_device_open (&device, "opencl", 0, 1, false);
    gpb_module_t *module;
    gpb_function_t *function = gpb_test_device_function (&device, gpb_test_source, "add", &module);
    gpb_memory_t *memory = gpb_test_device_memory (&device, GPB_MEMORY_DEVICE, 4 * FLOATS);
    const gpb_argument_t arguments [] = { gpb_test_memory (memory, 0), gpb_test_memory (memory, 0),
                                          gpb_test_memory (memory, 0), gpb_test_i32 (FLOATS) };
    gpb_test_device_run (&device, &(gpb_launch_t){ function, 1, { FLOATS }, { 0 }, arguments, 4 });
    device.operations->unload (&module);
    device.operations->release (&memory);
    gpb_test_device_close (&device);
}
END_TEST

START_TEST (test_a_hundred_programs_start_work_and_exit)
{
    for (int round = 0; round < 100; round++) {
        pid_t child = fork ();
        ck_assert_int_ge (child, 0);
        if (child == 0) {
            execl ("/proc/self/exe", "test_opencl", "work", (char *) NULL);
            _exit (127);
        }
        int status;
        ck_assert_int_eq (waitpid (child, &status, 0), child);
        ck_assert_msg (WIFEXITED (status) && WEXITSTATUS (status) == 0,
                       "round %d ended with status %#x", round, status);
    }
}
END_TEST

int
main (int argc, char *argv [])
{
    if (argc > 1 && strcmp (argv [1], "work") == 0) {
        const TTest *const once [] = { test_a_program_works_once };
        setenv ("CK_FORK", "no", 1);
        setenv ("CK_VERBOSITY", "silent", 1);
        return gpb_test_run ("gpb_opencl", once, 1, 60);
    }
    const TTest *const tests [] = {
        test_streams_are_bounded,
        test_each_command_that_asks_notifies_once_also_without_an_event,
        test_close_waits_for_commands_and_their_notifications,
        test_a_thousand_contexts_leave_no_descriptor_and_no_thread,
        test_running_out_of_memory_anywhere_is_told_and_leaks_nothing,
        test_a_hundred_programs_start_work_and_exit,
    };
    return gpb_test_run ("gpb_opencl", tests, sizeof tests / sizeof tests [0], 60);
}
