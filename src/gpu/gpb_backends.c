//  gpb_backends - finds the backend modules, starts them, and lists their devices
//
//  What is loaded is a list of the process, under one mutex: a module is opened once and never
//  closed (drivers leave threads and handlers behind that would run into unmapped code), a backend
//  is started by the first instance that wants it and stopped by the last one that goes. The mutex
//  also makes `start`, `stop` and `describe` one thread's at a time, as the modules' contract says;
//  nothing on a request's way takes it.
//
//  An instance describes every device once, when it is made, and only reads after that.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_backends.h"

#include "gpb_alloc.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

//  A module that never answers OUT_OF_RANGE would keep us for ever; no machine has more devices.
#define DEVICES_MAX 256

//  The folders in which a module is looked for, and how many there are at most.
#define FOLDERS_MAX 2

//  ---------------------------------------------------------------------------------------------------------
//  Modules of the process

typedef struct loaded {
    struct loaded *next;
    char *path;
    const gpb_backend_module_t *module;
    gpb_backend_t *backend;    //  while users is not 0
    unsigned users;            //  instances that have it started
} loaded_t;

static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER;
static loaded_t *s_loaded;    //  under s_lock

const gpb_backend_services_t gpb_backends_services = {
    .abi = GPB_BACKEND_ABI,
    .size = sizeof (gpb_backend_services_t),
    .alloc = gpb_alloc,
    .alloc_aligned = gpb_alloc_aligned,
    .free = gpb_free,
    .error_set = gpb_error_set,
};

//  ---------------------------------------------------------------------------------------------------------
//  An instance

typedef struct {
    loaded_t *loaded;
    unsigned number;            //  the backend's own
    gpb_device_info_t *info;    //  NULL for one that is out of order
    gpb_status_t status;        //  why, where info is NULL
    char *reason;
} device_t;

struct _gpb_backends_t {
    loaded_t **started;    //  each once
    unsigned started_count;
    device_t *devices;
    unsigned devices_count;
    char **notices;
    unsigned notices_count;
};

static gpb_status_t
s_no_memory (gpb_error_t *error)
{
    return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED,
                          "out of memory for the list of backends and devices");
}

static gpb_status_t s_add_notice (gpb_backends_t *self, gpb_error_t *error, const char *format, ...)
    GPB_PRINTF (3, 4);

static gpb_status_t
s_add_notice (gpb_backends_t *self, gpb_error_t *error, const char *format, ...)
{
    char text [GPB_ERROR_TEXT_SIZE + 2 * PATH_MAX];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (text, sizeof text, format, arguments);
    va_end (arguments);
    char **notices = gpb_realloc (self->notices, self->notices_count + 1, sizeof *notices);
    if (!notices)
        return s_no_memory (error);
    self->notices = notices;
    notices [self->notices_count] = gpb_strdup (text);
    if (!notices [self->notices_count])
        return s_no_memory (error);
    self->notices_count++;
    return GPB_OK;
}

//  ---------------------------------------------------------------------------------------------------------
//  Finding and opening a module

//  Where the user says GPB_MODULE_DIR, that is the only place: a module of another version that
//  happens to be installed must not stand in for one that is missing there.
static unsigned
s_folders (char folders [FOLDERS_MAX][PATH_MAX])
{
    const char *chosen = getenv ("GPB_MODULE_DIR");
    if (chosen && *chosen) {
        snprintf (folders [0], PATH_MAX, "%s", chosen);
        return 1;
    }
    unsigned count = 0;
    char program [PATH_MAX];
    ssize_t length = readlink ("/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        program [length] = 0;
        char *slash = strrchr (program, '/');
        if (slash) {
            *slash = 0;
            int size = snprintf (folders [count], PATH_MAX, "%s/modules", program);
            if (size > 0 && size < PATH_MAX)
                count++;
        }
    }
    snprintf (folders [count++], PATH_MAX, "%s", GPB_MODULE_DIR);
    return count;
}

//  *path is the first file there is. NOT_FOUND names the places.
static gpb_status_t
s_find (const char *name, char path [PATH_MAX], gpb_error_t *error)
{
    char folders [FOLDERS_MAX][PATH_MAX];
    unsigned count = s_folders (folders);
    for (unsigned index = 0; index < count; index++) {
        int size = snprintf (path, PATH_MAX, "%s/gpb_%s.so", folders [index], name);
        if (size > 0 && size < PATH_MAX && access (path, F_OK) == 0)
            return GPB_OK;
    }
    return gpb_error_set (error, GPB_NOT_FOUND, "there is no gpb_%s.so in %s%s%s", name,
                          folders [0], count > 1 ? " nor in " : "", count > 1 ? folders [1] : "");
}

//  Every operation has to be there: a NULL would be a crash at some later time.
static gpb_status_t
s_check_module (const gpb_backend_module_t *module, const char *name, const char *path,
                gpb_error_t *error)
{
    if (module->abi != GPB_BACKEND_ABI)
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "%s is built for abi %u, and this libgpb has abi %d", path,
                              (unsigned) module->abi, GPB_BACKEND_ABI);
    if (module->size != sizeof (gpb_backend_operations_t))
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "%s has %u bytes of operations, and this libgpb expects %zu", path,
                              (unsigned) module->size, sizeof (gpb_backend_operations_t));
    if (!module->name || strcmp (module->name, name) != 0)
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "%s says that it is backend \"%s\", not \"%s\"", path,
                              module->name ? module->name : "", name);
    if (!module->operations)
        return gpb_error_set (error, GPB_FAILED_PRECONDITION, "%s has no operations", path);
    const char *operations = (const char *) module->operations;
    typedef void (*operation_t) (void);
    for (size_t at = 0; at < sizeof (gpb_backend_operations_t); at += sizeof (operation_t)) {
        operation_t operation;
        memcpy (&operation, operations + at, sizeof operation);
        if (!operation)
            return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                                  "%s lacks operation %zu of %zu: all of them have to be there",
                                  path, at / sizeof operation + 1,
                                  sizeof (gpb_backend_operations_t) / sizeof operation);
    }
    return GPB_OK;
}

//  Under s_lock. A file that is refused stays open too, since opening it has run its constructors.
static loaded_t *
s_load (const char *name, gpb_error_t *error)
{
    char path [PATH_MAX];
    if (s_find (name, path, error) != GPB_OK)
        return NULL;
    for (loaded_t *loaded = s_loaded; loaded; loaded = loaded->next)
        if (strcmp (loaded->path, path) == 0)
            return loaded;
    void *handle = dlopen (path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *reason = dlerror ();
        gpb_error_set (error, GPB_FAILED_PRECONDITION, "%s cannot be opened: %s", path,
                       reason ? reason : "no reason given");
        return NULL;
    }
    const gpb_backend_module_t *module = dlsym (handle, GPB_BACKEND_SYMBOL);
    if (!module) {
        gpb_error_set (error, GPB_FAILED_PRECONDITION, "%s is no backend: it has no symbol %s",
                       path, GPB_BACKEND_SYMBOL);
        return NULL;
    }
    if (s_check_module (module, name, path, error) != GPB_OK)
        return NULL;
    loaded_t *loaded = gpb_alloc (1, sizeof *loaded);
    char *copy = gpb_strdup (path);
    if (!loaded || !copy) {
        gpb_free (loaded);
        gpb_free (copy);
        s_no_memory (error);
        return NULL;
    }
    loaded->path = copy;
    loaded->module = module;
    loaded->next = s_loaded;
    s_loaded = loaded;
    return loaded;
}

//  ---------------------------------------------------------------------------------------------------------
//  Devices

//  A card is the same where another backend lists it already. Two devices of one backend may well
//  share a place on the bus: the parts of a partitioned card do.
static bool
s_is_listed (const gpb_backends_t *self, const loaded_t *loaded, const char *bus_id)
{
    for (unsigned index = 0; index < self->devices_count && *bus_id; index++) {
        const device_t *device = &self->devices [index];
        if (device->loaded != loaded && device->info && strcmp (device->info->bus_id, bus_id) == 0)
            return true;
    }
    return false;
}

static gpb_status_t
s_add_device (gpb_backends_t *self, const device_t *device, gpb_error_t *error)
{
    device_t *devices = gpb_realloc (self->devices, self->devices_count + 1, sizeof *devices);
    if (!devices)
        return s_no_memory (error);
    self->devices = devices;
    devices [self->devices_count++] = *device;
    return GPB_OK;
}

static gpb_status_t
s_add_devices (gpb_backends_t *self, loaded_t *loaded, gpb_error_t *error)
{
    unsigned number = 0;
    for (; number < DEVICES_MAX; number++) {
        gpb_error_t trouble = { GPB_OK, "" };
        device_t device = { .loaded = loaded, .number = number };
        device.info = gpb_alloc (1, sizeof *device.info);
        if (!device.info)
            return s_no_memory (error);
        device.status =
            loaded->module->operations->describe (loaded->backend, number, device.info, &trouble);
        if (device.status != GPB_OK) {
            gpb_free (device.info);
            device.info = NULL;
            if (device.status == GPB_OUT_OF_RANGE)
                break;
            device.reason = gpb_strdup (trouble.text);
            if (!device.reason)
                return s_no_memory (error);
        }
        else if (s_is_listed (self, loaded, device.info->bus_id)) {
            gpb_free (device.info);
            continue;
        }
        if (s_add_device (self, &device, error) != GPB_OK) {
            gpb_free (device.info);
            gpb_free (device.reason);
            return GPB_RESOURCE_EXHAUSTED;
        }
    }
    return number ? GPB_OK
                  : s_add_notice (self, error, "backend \"%s\": no devices", loaded->module->name);
}

//  Under s_lock. Only running out of memory is an error.
static gpb_status_t
s_add_backend (gpb_backends_t *self, const char *name, gpb_error_t *error)
{
    gpb_error_t trouble = { GPB_OK, "" };
    loaded_t *loaded = s_load (name, &trouble);
    if (!loaded) {
        if (trouble.status == GPB_RESOURCE_EXHAUSTED)
            return s_no_memory (error);
        return s_add_notice (self, error, "backend \"%s\": %s", name, trouble.text);
    }
    for (unsigned index = 0; index < self->started_count; index++)
        if (self->started [index] == loaded)
            return GPB_OK;
    loaded_t **started = gpb_realloc (self->started, self->started_count + 1, sizeof *started);
    if (!started)
        return s_no_memory (error);
    self->started = started;
    if (loaded->users == 0
        && loaded->module->operations->start (&gpb_backends_services, &loaded->backend, &trouble)
               != GPB_OK)
        return s_add_notice (self, error, "backend \"%s\": %s", name, trouble.text);
    loaded->users++;
    self->started [self->started_count++] = loaded;
    return s_add_devices (self, loaded, error);
}

//  ---------------------------------------------------------------------------------------------------------
//  The class

gpb_backends_t *
gpb_backends_new (const char *names, gpb_error_t *error)
{
    gpb_backends_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        s_no_memory (error);
        return NULL;
    }
    static const char blanks [] = " \t\n";
    gpb_status_t status = GPB_OK;
    pthread_mutex_lock (&s_lock);
    for (const char *at = names ? names : ""; status == GPB_OK;) {
        at += strspn (at, blanks);
        size_t length = strcspn (at, blanks);
        if (!length)
            break;
        char name [64];
        if (length < sizeof name && strspn (at, "abcdefghijklmnopqrstuvwxyz0123456789_") >= length)
        {
            memcpy (name, at, length);
            name [length] = 0;
            status = s_add_backend (self, name, error);
        }
        else
            status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                    "\"%.*s\" is no name of a backend: up to %zu of [a-z0-9_]",
                                    length < 128 ? (int) length : 128, at, sizeof name - 1);
        at += length;
    }
    pthread_mutex_unlock (&s_lock);
    if (status != GPB_OK)
        gpb_backends_destroy (&self);
    return self;
}

void
gpb_backends_destroy (gpb_backends_t **self_p)
{
    gpb_backends_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    pthread_mutex_lock (&s_lock);
    for (unsigned index = self->started_count; index-- > 0;) {
        loaded_t *loaded = self->started [index];
        if (--loaded->users == 0)
            loaded->module->operations->stop (&loaded->backend);
    }
    pthread_mutex_unlock (&s_lock);
    for (unsigned index = 0; index < self->devices_count; index++) {
        gpb_free (self->devices [index].info);
        gpb_free (self->devices [index].reason);
    }
    for (unsigned index = 0; index < self->notices_count; index++)
        gpb_free (self->notices [index]);
    gpb_free (self->devices);
    gpb_free (self->notices);
    gpb_free (self->started);
    gpb_free (self);
}

unsigned
gpb_backends_devices (gpb_backends_t *self)
{
    return self->devices_count;
}

//  The device with this index where it is well.
static const device_t *
s_well (const gpb_backends_t *self, unsigned index, gpb_error_t *error)
{
    if (index >= self->devices_count) {
        gpb_error_set (error, GPB_NOT_FOUND, "no device %u: there are %u", index,
                       self->devices_count);
        return NULL;
    }
    const device_t *device = &self->devices [index];
    if (!device->info) {
        gpb_error_set (error, device->status, "device %u is out of order: %s", index,
                       device->reason);
        return NULL;
    }
    return device;
}

const gpb_device_info_t *
gpb_backends_info_peek (gpb_backends_t *self, unsigned index, gpb_error_t *error)
{
    const device_t *device = s_well (self, index, error);
    return device ? device->info : NULL;
}

const char *
gpb_backends_name_peek (gpb_backends_t *self, unsigned index)
{
    return index < self->devices_count ? self->devices [index].loaded->module->name : NULL;
}

const char *
gpb_backends_notice_peek (gpb_backends_t *self, unsigned number)
{
    return number < self->notices_count ? self->notices [number] : NULL;
}

gpb_status_t
gpb_backends_open (gpb_backends_t *self, unsigned index, const gpb_open_t *open,
                   const gpb_backend_operations_t **operations_p, gpb_context_t **context_p,
                   gpb_error_t *error)
{
    gpb_error_t trouble = { GPB_OK, "" };
    *operations_p = NULL;
    *context_p = NULL;
    const device_t *device = s_well (self, index, &trouble);
    if (!device)
        return gpb_error_set (error, trouble.status, "%s", trouble.text);
    const gpb_backend_operations_t *operations = device->loaded->module->operations;
    gpb_status_t status =
        operations->open (device->loaded->backend, device->number, open, context_p, error);
    if (status == GPB_OK)
        *operations_p = operations;
    return status;
}

gpb_status_t
gpb_backends_compile (const char *backend, const gpb_code_t *code, const char *architecture,
                      void **data_p, size_t *size_p, gpb_error_t *error)
{
    *data_p = NULL;
    *size_p = 0;
    pthread_mutex_lock (&s_lock);
    const loaded_t *loaded = s_load (backend, error);
    pthread_mutex_unlock (&s_lock);
    return loaded ? loaded->module->operations->compile (&gpb_backends_services, code, architecture,
                                                         data_p, size_p, error)
                  : error->status;
}

//  ---------------------------------------------------------------------------------------------------------
//  The environment

//  PoCL starts a thread for each core of the machine, also where this process may run on two of
//  them only; more threads than cores make a launch slower (measured on two cores: a sum of a
//  million floats takes 0.10 ms with two threads, 0.15 with four). At least two, so that one long
//  kernel does not hold up every other.
#define POCL_THREADS_MIN 2

void
gpb_backends_environment (void)
{
    cpu_set_t mask;
    int cores = sched_getaffinity (0, sizeof mask, &mask) == 0
                    ? CPU_COUNT (&mask)
                    : (int) sysconf (_SC_NPROCESSORS_ONLN);
    char text [16];
    snprintf (text, sizeof text, "%d", cores > POCL_THREADS_MIN ? cores : POCL_THREADS_MIN);
    //  The second is what PoCL calls it since its version 4.
    if (!getenv ("POCL_MAX_PTHREAD_COUNT") && !getenv ("POCL_CPU_MAX_CU_COUNT")) {
        setenv ("POCL_MAX_PTHREAD_COUNT", text, 0);
        setenv ("POCL_CPU_MAX_CU_COUNT", text, 0);
    }
    //  CUDA loads a function when it is launched first, unless it is told before its driver is
    //  loaded: and waits then for all that runs, which beside a kernel that stays is for ever.
    setenv ("CUDA_MODULE_LOADING", "EAGER", 0);
}
