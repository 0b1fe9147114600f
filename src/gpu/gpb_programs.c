//  gpb_programs - the kernels of a node, compiled for one device
//
//  Programs are found by kernel id, and so is what has been found not to compile. One whose
//  definition is replaced stays loaded while launches that were enqueued before may still run it,
//  and goes with the next replacement.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_programs.h"

#include "gpb_alloc.h"

#include <string.h>

typedef struct _s_entry_t {
    gpb_program_t program;    //  what others see; the first member
    gpb_kernel_t *kernel;     //  the program's, held
    gpb_error_t *failure;     //  why it does not compile: there is no program then
    unsigned users;           //  launches that may still run it
    bool replaced;
    struct _s_entry_t *next;
} s_entry_t;

#define BUCKETS 256    //  a node has some dozens of kernels

struct _gpb_programs_t {
    const gpb_shared_context_t *shared;
    gpb_kernels_t *kernels;
    gpb_cache_t *cache;
    gpb_programs_alone_fn *alone;    //  NULL: nothing is to be done for being alone
    void *alone_context;
    gpb_programs_figures_t figures;
    s_entry_t *buckets [BUCKETS];    //  by the id's hash
};

bool
gpb_device_has (const gpb_device_info_t *info, const char *capability)
{
    for (uint32_t index = 0; index < info->capabilities_count; index++)
        if (strcmp (info->capabilities [index], capability) == 0)
            return true;
    return false;
}

const char *
gpb_kernel_lacks (const gpb_kernel_t *kernel, const gpb_device_info_t *info)
{
    const char *capability;
    for (size_t index = 0; (capability = gpb_kernel_require (kernel, index)); index++)
        if (!gpb_device_has (info, capability))
            return capability;
    return NULL;
}

gpb_programs_t *
gpb_programs_new (const gpb_shared_context_t *shared, const char *kernel_path,
                  const char *cache_directory, uint64_t cache_size, gpb_error_t *error)
{
    gpb_programs_t *self = gpb_alloc (1, sizeof *self);
    if (!self) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a device's kernels");
        return NULL;
    }
    self->shared = shared;
    self->kernels = gpb_kernels_open (kernel_path, error);
    if (self->kernels)
        self->cache = gpb_cache_open (cache_directory, cache_size, error);
    if (!self->cache)
        gpb_programs_destroy (&self);
    return self;
}

void
gpb_programs_forbid_compiling (gpb_programs_t *self)
{
    gpb_cache_forbid_compiling (self->cache);
}

void
gpb_programs_set_alone (gpb_programs_t *self, gpb_programs_alone_fn *alone, void *context)
{
    self->alone = self->shared->info.loads_alone ? alone : NULL;
    self->alone_context = context;
}

static gpb_status_t
s_begin (gpb_programs_t *self, gpb_error_t *error)
{
    return self->alone ? self->alone (self->alone_context, true, error) : GPB_OK;
}

static void
s_end (gpb_programs_t *self)
{
    gpb_error_t ignored;
    if (self->alone)
        self->alone (self->alone_context, false, &ignored);
}

static void
s_entry_free (gpb_programs_t *self, s_entry_t *entry)
{
    if (entry->program.module)
        self->shared->operations->unload (&entry->program.module);
    gpb_kernel_destroy (&entry->kernel);
    gpb_free (entry->failure);
    gpb_free (entry);
}

void
gpb_program_use (const gpb_program_t *program)
{
    ((s_entry_t *) program)->users++;
}

void
gpb_program_drop (const gpb_program_t *program)
{
    ((s_entry_t *) program)->users--;
}

//  Frees what was replaced and is not used any more.
static void
s_sweep (gpb_programs_t *self)
{
    for (size_t bucket = 0; bucket < BUCKETS; bucket++) {
        s_entry_t **link = &self->buckets [bucket];
        while (*link) {
            s_entry_t *entry = *link;
            if (!entry->replaced || entry->users > 0) {
                link = &entry->next;
                continue;
            }
            *link = entry->next;
            s_entry_free (self, entry);
        }
    }
}

void
gpb_programs_destroy (gpb_programs_t **self_p)
{
    gpb_programs_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    for (size_t bucket = 0; bucket < BUCKETS; bucket++)
        while (self->buckets [bucket]) {
            s_entry_t *entry = self->buckets [bucket];
            self->buckets [bucket] = entry->next;
            s_entry_free (self, entry);
        }
    gpb_cache_destroy (&self->cache);
    gpb_kernels_destroy (&self->kernels);
    gpb_free (self);
}

static s_entry_t **
s_bucket (gpb_programs_t *self, const char *id)
{
    uint32_t hash = 2166136261u;    //  FNV-1a, 32 bits
    for (; *id; id++)
        hash = (hash ^ (unsigned char) *id) * 16777619u;
    return &self->buckets [hash % BUCKETS];
}

static s_entry_t *
s_find (gpb_programs_t *self, const char *id)
{
    s_entry_t *entry = *s_bucket (self, id);
    while (entry && (entry->replaced || strcmp (gpb_kernel_id (entry->program.kernel), id) != 0))
        entry = entry->next;
    return entry;
}

static void
s_insert (gpb_programs_t *self, s_entry_t *entry)
{
    s_entry_t **bucket = s_bucket (self, gpb_kernel_id (entry->program.kernel));
    entry->next = *bucket;
    *bucket = entry;
}

static s_entry_t *
s_build (gpb_programs_t *self, const gpb_kernel_t *kernel, gpb_error_t *error)
{
    s_entry_t *entry = gpb_alloc (1, sizeof *entry);
    if (!entry) {
        gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a kernel's entry");
        return NULL;
    }
    gpb_program_t *program = &entry->program;
    gpb_origin_t origin;
    if (gpb_compile (kernel, self->shared->backend, self->shared->operations, self->shared->context,
                     self->cache, &program->module, &program->function, &program->info, &origin,
                     error)
        != GPB_OK)
    {
        self->figures.failed++;
        gpb_free (entry);
        return NULL;
    }
    program->kernel = entry->kernel = gpb_kernel_retain (kernel);
    self->figures.compiled += origin == GPB_ORIGIN_COMPILED;
    self->figures.from_disk += origin == GPB_ORIGIN_DISK;
    self->figures.shared += origin == GPB_ORIGIN_SHARED;
    return entry;
}

//  A package that does not compile will not the next time either; trying takes seconds. Where there
//  is no memory to remember it, it is tried again.
static void
s_remember (gpb_programs_t *self, const gpb_kernel_t *kernel, const gpb_error_t *failure)
{
    s_entry_t *entry = gpb_alloc (1, sizeof *entry);
    if (entry)
        entry->failure = gpb_alloc (1, sizeof *failure);
    if (!entry || !entry->failure) {
        gpb_free (entry);
        return;
    }
    *entry->failure = *failure;
    entry->program.kernel = entry->kernel = gpb_kernel_retain (kernel);
    s_insert (self, entry);
}

const gpb_program_t *
gpb_programs_lookup (gpb_programs_t *self, const char *id, gpb_error_t *error)
{
    s_entry_t *entry = s_find (self, id);
    if (entry && entry->failure) {
        gpb_error_set (error, entry->failure->status, "%s", entry->failure->text);
        return NULL;
    }
    if (entry)
        return &entry->program;
    const gpb_kernel_t *kernel = gpb_kernels_lookup (self->kernels, id);
    if (!kernel) {
        gpb_kernels_refuse (id, error);
        return NULL;
    }
    if (gpb_kernel_persistent (kernel)) {
        gpb_error_set (error, GPB_FAILED_PRECONDITION,
                       "%s is persistent: its device's kernel host runs it", id);
        return NULL;
    }
    const char *lacks = gpb_kernel_lacks (kernel, &self->shared->info);
    if (lacks) {
        gpb_error_set (error, GPB_FAILED_PRECONDITION,
                       "kernel %s requires %s, which device %u has not", id, lacks,
                       self->shared->index);
        return NULL;
    }
    gpb_error_t failure;
    if (s_begin (self, error) != GPB_OK)
        return NULL;
    entry = s_build (self, kernel, &failure);
    s_end (self);
    if (entry) {
        s_insert (self, entry);
        return &entry->program;
    }
    if (failure.status == GPB_INVALID_ARGUMENT) {
        //  A package that does not compile is not the fault of who calls it.
        failure.status = GPB_FAILED_PRECONDITION;
        s_remember (self, kernel, &failure);
    }
    gpb_error_set (error, failure.status, "%s", failure.text);
    return NULL;
}

static gpb_status_t
s_register (gpb_programs_t *self, gpb_kernel_t **kernel_p, bool replace, bool check_only,
            gpb_error_t *error)
{
    const gpb_kernel_t *kernel = *kernel_p;
    const char *id = gpb_kernel_id (kernel);
    if (gpb_kernel_persistent (kernel))
        return gpb_error_set (error, GPB_FAILED_PRECONDITION,
                              "%s is persistent: its device's kernel host takes it", id);
    if (gpb_kernels_lookup (self->kernels, id) && !replace)
        return gpb_error_set (error, GPB_ALREADY_EXISTS,
                              "there is a kernel %s: say replace to put this one in its place", id);
    //  A device that lacks what the kernel requires will never run it.
    s_entry_t *entry = NULL;
    if (!gpb_kernel_lacks (kernel, &self->shared->info)) {
        entry = s_build (self, kernel, error);
        if (!entry)
            return error ? error->status : GPB_INVALID_ARGUMENT;
    }
    gpb_status_t status = GPB_OK;
    s_entry_t *old = s_find (self, id);
    if (!check_only)
        status = gpb_kernels_insert (self->kernels, kernel_p, true, error);
    if (check_only || status != GPB_OK) {
        if (entry)
            s_entry_free (self, entry);
        return status;
    }
    if (old)
        old->replaced = true;
    if (entry)
        s_insert (self, entry);
    s_sweep (self);
    return GPB_OK;
}

gpb_status_t
gpb_programs_register (gpb_programs_t *self, const char *definition, const char *source,
                       bool replace, bool check_only, gpb_error_t *error)
{
    gpb_kernel_t *kernel = gpb_kernel_parse (definition, source, error);
    if (!kernel)
        return error ? error->status : GPB_INVALID_ARGUMENT;
    gpb_status_t status = s_begin (self, error);
    if (status == GPB_OK) {
        status = s_register (self, &kernel, replace, check_only, error);
        s_end (self);
    }
    gpb_kernel_destroy (&kernel);
    return status;
}

gpb_kernels_t *
gpb_programs_kernels (gpb_programs_t *self)
{
    return self->kernels;
}

const gpb_programs_figures_t *
gpb_programs_figures (const gpb_programs_t *self)
{
    return &self->figures;
}
