//  gpb_test_device - a device for a test: found, opened, its streams' eventfds, and waiting
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_test_device.h"

#include "gpb_test.h"

#include <dlfcn.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PATIENCE_MS 30000

const char gpb_test_source [] =
    "__kernel void add (__global const float *a, __global const float *b, __global float *c,\n"
    "                   int n)\n"
    "{\n"
    "    int i = get_global_id (0);\n"
    "    if (i < n)\n"
    "        c [i] = a [i] + b [i];\n"
    "}\n"
    "__kernel void where (__global int *out)\n"
    "{\n"
    "    size_t at = (get_global_id (2) * get_global_size (1) + get_global_id (1))\n"
    "                * get_global_size (0) + get_global_id (0);\n"
    "    out [at] = (int)(at + 1000 * get_local_size (0));\n"
    "}\n"
    "__kernel void reverse (__global int *data, __local int *scratch)\n"
    "{\n"
    "    int i = get_local_id (0), n = get_local_size (0);\n"
    "    scratch [i] = data [get_global_id (0)];\n"
    "    barrier (CLK_LOCAL_MEM_FENCE);\n"
    "    data [get_global_id (0)] = scratch [n - 1 - i];\n"
    "}\n"
    "__kernel void scalars (__global double *out, uchar a, long b, double c, float d)\n"
    "{\n"
    "    out [0] = a + b + c + d;\n"
    "}\n";

void
gpb_test_device_open (gpb_test_device_t *self, const char *backend, unsigned index,
                      unsigned streams, bool profiling)
{
    gpb_error_t error = { GPB_OK, "" };
    memset (self, 0, sizeof *self);
    ck_assert_uint_le (streams, GPB_TEST_STREAMS_MAX);
    self->backends = gpb_backends_new (backend, &error);
    ck_assert_msg (self->backends != NULL, "%s", error.text);
    const char *notice = gpb_backends_notice_peek (self->backends, 0);
    ck_assert_msg (notice == NULL, "%s", notice);
    self->info = gpb_backends_info_peek (self->backends, index, &error);
    ck_assert_msg (self->info != NULL, "%s", error.text);
    self->streams = streams;
    for (unsigned stream = 0; stream < streams; stream++) {
        self->notify_fds [stream] = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
        ck_assert_int_ge (self->notify_fds [stream], 0);
    }
    const gpb_open_t open = { streams, self->notify_fds, profiling };
    ck_assert_ok (gpb_backends_open (self->backends, index, &open, &self->operations,
                                     &self->context, &error));
}

void
gpb_test_device_close (gpb_test_device_t *self)
{
    self->operations->close (&self->context);
    ck_assert_ptr_null (self->context);
    gpb_backends_destroy (&self->backends);
    for (unsigned stream = 0; stream < self->streams; stream++)
        close (self->notify_fds [stream]);
}

gpb_status_t
gpb_test_device_wait (gpb_test_device_t *self, unsigned stream, gpb_event_t **event_p,
                      gpb_event_times_t *times, gpb_error_t *error)
{
    bool done = false;
    gpb_status_t status = self->operations->query (*event_p, &done, times, error);
    while (!done) {
        struct pollfd item = { self->notify_fds [stream], POLLIN, 0 };
        ck_assert_msg (poll (&item, 1, PATIENCE_MS) == 1, "stream %u does not notify", stream);
        uint64_t count;
        ck_assert_int_eq (read (item.fd, &count, sizeof count), (int) sizeof count);
        status = self->operations->query (*event_p, &done, times, error);
    }
    self->operations->event_free (event_p);
    ck_assert_ptr_null (*event_p);
    return status;
}

gpb_memory_t *
gpb_test_device_memory (gpb_test_device_t *self, gpb_memory_kind_t kind, uint64_t size)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_memory_t *memory = NULL;
    ck_assert_ok (self->operations->allocate (self->context, kind, GPB_ACCESS_READ_WRITE, size,
                                              &memory, &error));
    return memory;
}

static void
s_copy (gpb_test_device_t *self, const gpb_place_t *target, const gpb_place_t *source,
        uint64_t size)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_event_t *event = NULL;
    ck_assert_ok (self->operations->copy (self->context, 0, target, source, size, GPB_NOTIFY,
                                          &event, &error));
    ck_assert_ok (gpb_test_device_wait (self, 0, &event, NULL, &error));
}

void
gpb_test_device_write (gpb_test_device_t *self, gpb_memory_t *memory, uint64_t offset,
                       const void *data, uint64_t size)
{
    void *source;
    memcpy (&source, &data, sizeof source);
    s_copy (self, &(gpb_place_t){ memory, offset, NULL }, &(gpb_place_t){ NULL, 0, source }, size);
}

void
gpb_test_device_read (gpb_test_device_t *self, gpb_memory_t *memory, uint64_t offset, void *data,
                      uint64_t size)
{
    s_copy (self, &(gpb_place_t){ NULL, 0, data }, &(gpb_place_t){ memory, offset, NULL }, size);
}

void
gpb_test_device_run (gpb_test_device_t *self, const gpb_launch_t *launch)
{
    gpb_error_t error = { GPB_OK, "" };
    gpb_event_t *event = NULL;
    ck_assert_ok (self->operations->launch (self->context, 0, launch, GPB_NOTIFY, &event, &error));
    ck_assert_ok (gpb_test_device_wait (self, 0, &event, NULL, &error));
}

bool
gpb_test_has_capability (const gpb_device_info_t *info, const char *name)
{
    for (unsigned index = 0; index < info->capabilities_count; index++)
        if (strcmp (info->capabilities [index], name) == 0)
            return true;
    return false;
}

gpb_code_t
gpb_test_code (const char *source)
{
    return (gpb_code_t){ .kind = GPB_CODE_PORTABLE,
                         .name = "test.c",
                         .data = source,
                         .size = strlen (source),
                         .optimize = 2,
                         .options = "",
                         .architecture = "" };
}

gpb_function_t *
gpb_test_device_function (gpb_test_device_t *self, const char *source, const char *entry,
                          gpb_module_t **module_p)
{
    gpb_error_t error = { GPB_OK, "" };
    const gpb_code_t code = gpb_test_code (source);
    gpb_function_t *function = NULL;
    gpb_function_info_t info;
    ck_assert_ok (self->operations->build (self->context, &code, module_p, &error));
    ck_assert_ok (self->operations->function (*module_p, entry, &function, &info, &error));
    return function;
}

gpb_argument_t
gpb_test_memory (gpb_memory_t *memory, uint64_t offset)
{
    return (gpb_argument_t){ .kind = GPB_ARGUMENT_MEMORY, .memory = memory, .offset = offset };
}

gpb_argument_t
gpb_test_i32 (int32_t value)
{
    return (gpb_argument_t){ .kind = GPB_ARGUMENT_SCALAR, .scalar = { .i32 = value }, .size = 4 };
}

gpb_argument_t
gpb_test_u64 (uint64_t value)
{
    return (gpb_argument_t){ .kind = GPB_ARGUMENT_SCALAR, .scalar = { .u64 = value }, .size = 8 };
}

//  A module is opened for itself alone (RTLD_LOCAL), so that its symbols are asked of the file.
static void
s_symbol (const char *module, const char *name, void *function, size_t size)
{
    char path [4096];
    snprintf (path, sizeof path, "%s/%s", getenv ("GPB_MODULE_DIR"), module);
    void *handle = dlopen (path, RTLD_NOW | RTLD_NOLOAD);
    ck_assert_msg (handle != NULL, "%s is not open: %s", module, dlerror ());
    void *symbol = dlsym (handle, name);
    ck_assert_ptr_nonnull (symbol);
    memcpy (function, &symbol, size);
    dlclose (handle);
}

unsigned
gpb_test_fake_faults (char *text, size_t size)
{
    unsigned (*function) (char *, size_t);
    s_symbol ("gpb_fake.so", "gpb_fake_faults", &function, sizeof function);
    return function (text, size);
}

void
gpb_test_fake_let_go (void)
{
    void (*function) (void);
    s_symbol ("gpb_fake.so", "gpb_fake_let_go", &function, sizeof function);
    function ();
}

uint64_t
gpb_test_faulty_fail (int64_t after)
{
    uint64_t (*function) (int64_t);
    s_symbol ("gpb_faulty.so", "gpb_faulty_fail", &function, sizeof function);
    return function (after);
}

void
gpb_test_faulty_held (gpb_faulty_held_t *held)
{
    void (*function) (gpb_faulty_held_t *);
    s_symbol ("gpb_faulty.so", "gpb_faulty_held", &function, sizeof function);
    function (held);
}
