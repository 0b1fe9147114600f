//  gpb_bench_opencl - the raw OpenCL calls for what a node is asked to do
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#define CL_TARGET_OPENCL_VERSION 200
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS

#include "gpb_bench_opencl.h"

#include "gpb_alloc.h"
#include "gpb_clock.h"
#include "gpb_histogram.h"
#include "gpb_kernel_private.h"

#include <CL/cl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PLATFORMS_MAX 16
#define DEVICES_MAX 64
#define INPUTS_MAX 2
#define SETS_MAX 64    //  of buffers: launches that have memory of their own

typedef struct {
    cl_mem inputs [INPUTS_MAX];
    cl_mem output;
} s_set_t;

struct gpb_bench_opencl {
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    bool shares_memory;
    bool svm;         //  fine-grain
    int notify_fd;    //  an eventfd that a callback writes
    gpb_bench_launch_t launch;
    cl_program program;
    cl_kernel kernel;
    size_t sets_count;
    s_set_t sets [SETS_MAX];
    unsigned char *outputs;    //  of all sets, behind one another; NULL: nothing is prepared
    size_t output_pitch;       //  bytes from one to the next
};

static void
s_check (cl_int code, const char *call)
{
    if (code != CL_SUCCESS)
        gpb_bench_fail ("%s: OpenCL says %d", call, (int) code);
}

//  ---------------------------------------------------------------------------------------------------------
//  The device

static cl_device_id
s_find (const char *name)
{
    cl_platform_id platforms [PLATFORMS_MAX];
    cl_uint platforms_count = 0;
    if (clGetPlatformIDs (PLATFORMS_MAX, platforms, &platforms_count) != CL_SUCCESS)
        return NULL;
    for (cl_uint platform = 0; platform < platforms_count && platform < PLATFORMS_MAX; platform++) {
        cl_device_id devices [DEVICES_MAX];
        cl_uint count = 0;
        if (clGetDeviceIDs (platforms [platform], CL_DEVICE_TYPE_ALL, DEVICES_MAX, devices, &count)
            != CL_SUCCESS)
            continue;
        for (cl_uint index = 0; index < count && index < DEVICES_MAX; index++) {
            char text [256] = "";
            clGetDeviceInfo (devices [index], CL_DEVICE_NAME, sizeof text - 1, text, NULL);
            //  A node may have cut its blanks.
            if (strstr (text, name))
                return devices [index];
        }
    }
    return NULL;
}

gpb_bench_opencl_t *
gpb_bench_opencl_new (const char *device_name)
{
    cl_device_id device = device_name [0] ? s_find (device_name) : NULL;
    if (!device)
        return NULL;
    gpb_bench_opencl_t *self = gpb_alloc (1, sizeof *self);
    if (!self)
        gpb_bench_fail ("no memory for an OpenCL context");
    cl_int code;
    self->device = device;
    self->notify_fd = eventfd (0, EFD_CLOEXEC);
    self->context = clCreateContext (NULL, 1, &device, NULL, NULL, &code);
    s_check (code, "clCreateContext");
    self->queue = clCreateCommandQueue (self->context, device, 0, &code);
    s_check (code, "clCreateCommandQueue");
    cl_bool unified = CL_FALSE;
    clGetDeviceInfo (device, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof unified, &unified, NULL);
    self->shares_memory = unified == CL_TRUE;
    cl_device_svm_capabilities svm = 0;
    clGetDeviceInfo (device, CL_DEVICE_SVM_CAPABILITIES, sizeof svm, &svm, NULL);
    self->svm = (svm & CL_DEVICE_SVM_FINE_GRAIN_BUFFER) != 0;
    return self;
}

static void
s_forget (gpb_bench_opencl_t *self)
{
    clFinish (self->queue);
    for (size_t index = 0; index < self->sets_count; index++) {
        for (size_t input = 0; input < self->launch.inputs; input++)
            clReleaseMemObject (self->sets [index].inputs [input]);
        clReleaseMemObject (self->sets [index].output);
    }
    self->sets_count = 0;
    if (self->kernel)
        clReleaseKernel (self->kernel);
    if (self->program)
        clReleaseProgram (self->program);
    self->kernel = NULL;
    self->program = NULL;
    gpb_free (self->outputs);
    self->outputs = NULL;
}

void
gpb_bench_opencl_destroy (gpb_bench_opencl_t **self_p)
{
    gpb_bench_opencl_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    s_forget (self);
    clReleaseCommandQueue (self->queue);
    clReleaseContext (self->context);
    close (self->notify_fd);
    gpb_free (self);
}

//  ---------------------------------------------------------------------------------------------------------
//  A kernel and its buffers

//  The source of a package NAME/NAME.c, for zstr_free.
static char *
s_source (const char *name)
{
    const char *at = getenv ("GPB_KERNEL_PATH");
    while (at && *at) {
        size_t size = strcspn (at, ":");
        char path [4096];
        snprintf (path, sizeof path, "%.*s/%s/%s.c", (int) size, at, name, name);
        zfile_t *file = zfile_exists (path) ? zfile_new (NULL, path) : NULL;
        zchunk_t *text = file && zfile_input (file) == 0
                             ? zfile_read (file, (size_t) zfile_cursize (file), 0)
                             : NULL;
        char *source = text ? zchunk_strdup (text) : NULL;
        zchunk_destroy (&text);
        zfile_destroy (&file);
        if (source)
            return source;
        at += size + (at [size] == ':');
    }
    gpb_bench_fail ("no source of %s in a folder of GPB_KERNEL_PATH", name);
}

static void
s_build (gpb_bench_opencl_t *self, const gpb_bench_launch_t *launch)
{
    char *source = s_source (launch->kernel);
    const char *parts [] = { gpb_prelude_text, source };
    cl_int code;
    self->program = clCreateProgramWithSource (self->context, 2, parts, NULL, &code);
    s_check (code, "clCreateProgramWithSource");
    s_check (clBuildProgram (self->program, 1, &self->device, "-cl-std=CL1.2", NULL, NULL),
             "clBuildProgram");
    zstr_free (&source);
    self->kernel = clCreateKernel (self->program, launch->kernel, &code);
    s_check (code, "clCreateKernel");
}

static cl_mem
s_buffer (gpb_bench_opencl_t *self, cl_mem_flags access, size_t size, void *address)
{
    cl_int code;
    cl_mem buffer =
        clCreateBuffer (self->context,
                        access | (self->shares_memory ? (cl_mem_flags) CL_MEM_USE_HOST_PTR : 0),
                        size, self->shares_memory ? address : NULL, &code);
    s_check (code, "clCreateBuffer");
    return buffer;
}

//  The launch of set number `set`, with the copies where there must be some.
static void
s_enqueue (gpb_bench_opencl_t *self, size_t set, cl_event *event)
{
    const gpb_bench_launch_t *launch = &self->launch;
    s_set_t *buffers = &self->sets [set];
    cl_uint argument = 0;
    for (size_t input = 0; input < launch->inputs; input++) {
        if (!self->shares_memory)
            s_check (clEnqueueWriteBuffer (self->queue, buffers->inputs [input], CL_FALSE, 0,
                                           launch->input_size, gpb_bench_input (), 0, NULL, NULL),
                     "clEnqueueWriteBuffer");
        clSetKernelArg (self->kernel, argument++, sizeof (cl_mem), &buffers->inputs [input]);
    }
    clSetKernelArg (self->kernel, argument++, sizeof (cl_mem), &buffers->output);
    clSetKernelArg (self->kernel, argument, launch->scalar_size, &launch->scalar);
    s_check (clEnqueueNDRangeKernel (self->queue, self->kernel, 1, NULL, &launch->global,
                                     &launch->local, 0, NULL, self->shares_memory ? event : NULL),
             "clEnqueueNDRangeKernel");
    if (!self->shares_memory)
        s_check (clEnqueueReadBuffer (self->queue, buffers->output, CL_FALSE, 0,
                                      launch->output_size, self->outputs + set * self->output_pitch,
                                      0, NULL, event),
                 "clEnqueueReadBuffer");
}

void
gpb_bench_opencl_prepare (gpb_bench_opencl_t *self, const gpb_bench_launch_t *launch,
                          const void *expected, size_t expected_size)
{
    s_forget (self);
    self->launch = *launch;
    s_build (self, launch);
    //  What lies in memory of the device's own is bounded as requests in flight are.
    self->sets_count = SETS_MAX;
    while (!self->shares_memory && self->sets_count > 2
           && self->sets_count * launch->inputs * launch->input_size > GPB_BENCH_SIZE_MAX)
        self->sets_count /= 2;
    self->output_pitch = (launch->output_size + 127) / 128 * 128;
    self->outputs = gpb_alloc_aligned (128, self->sets_count * self->output_pitch);
    if (!self->outputs)
        gpb_bench_fail ("no memory for OpenCL's results");
    memset (self->outputs, 0xFF, self->sets_count * self->output_pitch);
    for (size_t set = 0; set < self->sets_count; set++) {
        for (size_t input = 0; input < launch->inputs; input++)
            self->sets [set].inputs [input] =
                s_buffer (self, CL_MEM_READ_ONLY, launch->input_size, gpb_bench_input ());
        self->sets [set].output = s_buffer (self, CL_MEM_WRITE_ONLY, launch->output_size,
                                            self->outputs + set * self->output_pitch);
    }
    s_enqueue (self, 0, NULL);
    s_check (clFinish (self->queue), "clFinish");
    if (memcmp (self->outputs, expected, expected_size) != 0)
        gpb_bench_fail ("%s by OpenCL alone gives a wrong result", launch->kernel);
}

//  ---------------------------------------------------------------------------------------------------------
//  Runs

static void CL_CALLBACK
s_done (cl_event event, cl_int outcome, void *argument)
{
    (void) event;
    (void) outcome;
    const uint64_t one = 1;
    if (write (*(int *) argument, &one, sizeof one) != sizeof one)
        gpb_bench_fail ("an eventfd takes nothing");
}

static void
s_one (gpb_bench_opencl_t *self)
{
    cl_event event;
    uint64_t count;
    s_enqueue (self, 0, &event);
    s_check (clSetEventCallback (event, CL_COMPLETE, s_done, &self->notify_fd),
             "clSetEventCallback");
    clFlush (self->queue);
    if (read (self->notify_fd, &count, sizeof count) != sizeof count)
        gpb_bench_fail ("an eventfd gives nothing");
    clReleaseEvent (event);
}

//  Halves of what may be in flight take turns: the next one is enqueued before the last one is
//  waited for.
static double
s_many (gpb_bench_opencl_t *self, size_t depth, uint64_t duration_ns)
{
    size_t half = depth / 2;
    uint64_t start_ns = gpb_clock_ns (), done = 0, set = 0;
    cl_event last = NULL;
    bool is_over = false;
    while (!is_over || last) {
        cl_event event = NULL;
        is_over = gpb_clock_ns () - start_ns >= duration_ns;
        for (size_t index = 0; index < half && !is_over; index++)
            s_enqueue (self, set++ % self->sets_count, index + 1 == half ? &event : NULL);
        if (event)
            clFlush (self->queue);
        if (last) {
            clWaitForEvents (1, &last);
            clReleaseEvent (last);
            done += half;
        }
        last = event;
    }
    return (double) done / ((double) (gpb_clock_ns () - start_ns) / 1e9);
}

void
gpb_bench_opencl_run (gpb_bench_opencl_t *self, size_t depth, uint64_t duration_ns,
                      gpb_bench_figure_t *figure)
{
    memset (figure, 0, sizeof *figure);
    if (depth > 1) {
        figure->rate = s_many (self, depth, duration_ns);
        return;
    }
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    uint64_t start_ns = gpb_clock_ns (), now_ns = start_ns;
    while (now_ns - start_ns < duration_ns) {
        s_one (self);
        uint64_t end_ns = gpb_clock_ns ();
        gpb_histogram_record (&histogram, end_ns - now_ns);
        now_ns = end_ns;
    }
    figure->p50_ns = (double) gpb_histogram_percentile (&histogram, 50);
    figure->p99_ns = (double) gpb_histogram_percentile (&histogram, 99);
    figure->rate = (double) histogram.count / ((double) (now_ns - start_ns) / 1e9);
}

double
gpb_bench_opencl_allocate_ns (gpb_bench_opencl_t *self, size_t size, size_t count, double *p99_ns)
{
    static gpb_histogram_t histogram;
    gpb_histogram_reset (&histogram);
    const unsigned char zero = 0;
    for (size_t index = 0; index < count; index++) {
        uint64_t start_ns = gpb_clock_ns ();
        void *svm = NULL;
        cl_mem buffer = NULL;
        cl_event event;
        if (self->svm && self->shares_memory) {
            svm = clSVMAlloc (self->context, CL_MEM_READ_WRITE | CL_MEM_SVM_FINE_GRAIN_BUFFER, size,
                              128);
            s_check (svm ? CL_SUCCESS : CL_OUT_OF_RESOURCES, "clSVMAlloc");
            s_check (clEnqueueSVMMemFill (self->queue, svm, &zero, 1, size, 0, NULL, &event),
                     "clEnqueueSVMMemFill");
        }
        else {
            cl_int code;
            buffer = clCreateBuffer (self->context, CL_MEM_READ_WRITE, size, NULL, &code);
            s_check (code, "clCreateBuffer");
            s_check (clEnqueueFillBuffer (self->queue, buffer, &zero, 1, 0, size, 0, NULL, &event),
                     "clEnqueueFillBuffer");
        }
        clFlush (self->queue);
        clWaitForEvents (1, &event);
        clReleaseEvent (event);
        gpb_histogram_record (&histogram, gpb_clock_ns () - start_ns);
        if (svm)
            clSVMFree (self->context, svm);
        else
            clReleaseMemObject (buffer);
    }
    *p99_ns = (double) gpb_histogram_percentile (&histogram, 99);
    return (double) gpb_histogram_percentile (&histogram, 50);
}
