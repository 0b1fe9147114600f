//  gpb_opencl_binary - what `binary` gives: the driver's binary, and what its kernels declare
//
//  A program that is made from a binary no longer knows its kernels' parameters on PoCL and others,
//  and a driver takes eight bytes of a scalar for a buffer's handle without a doubt. So the
//  parameters travel along, and a launch is checked in the same way whether its code came from
//  source or from the cache:
//
//      8  "gpbcl 1\n"
//      8  FNV-1a hash of all that follows
//      4  size of the table
//         the table, for each kernel: 4 length of its name, the name, 4 number of its parameters,
//         for each of them: 1 kind, 1 size
//         the driver's binary, to the end
//
//  Numbers are in the machine's order: the driver's binary is of no use elsewhere either. A binary
//  that was cut or changed is refused here, since drivers crash on such. Any thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_opencl.h"

#include <string.h>

#define KERNELS_MAX 256
#define HEAD_SIZE 20

static const char s_magic [] = "gpbcl 1\n";

static uint64_t
s_hash (const unsigned char *data, size_t size)
{
    uint64_t hash = 0xCBF29CE484222325U;
    for (size_t index = 0; index < size; index++)
        hash = (hash ^ data [index]) * 0x100000001B3U;
    return hash;
}

//  ---------------------------------------------------------------------------------------------------------
//  Parameters

typedef struct {
    const char *name;
    uint8_t size;
} type_t;

static const type_t s_types [] = {
    { "char", 1 },   { "uchar", 1 },          { "unsigned char", 1 }, { "short", 2 },
    { "ushort", 2 }, { "unsigned short", 2 }, { "half", 2 },          { "int", 4 },
    { "uint", 4 },   { "unsigned int", 4 },   { "float", 4 },         { "long", 8 },
    { "ulong", 8 },  { "unsigned long", 8 },  { "double", 8 },
};

static uint8_t
s_type_size (const char *name)
{
    for (size_t index = 0; index < sizeof s_types / sizeof s_types [0]; index++)
        if (strcmp (s_types [index].name, name) == 0)
            return s_types [index].size;
    return 0;
}

gpb_opencl_parameter_t
gpb_opencl_parameter (cl_kernel kernel, cl_uint index)
{
    gpb_opencl_parameter_t parameter = { GPB_OPENCL_UNKNOWN, 0 };
    cl_kernel_arg_address_qualifier space;
    if (clGetKernelArgInfo (kernel, index, CL_KERNEL_ARG_ADDRESS_QUALIFIER, sizeof space, &space,
                            NULL)
        != CL_SUCCESS)
        return parameter;
    if (space == CL_KERNEL_ARG_ADDRESS_GLOBAL || space == CL_KERNEL_ARG_ADDRESS_CONSTANT)
        parameter.kind = GPB_OPENCL_POINTER;
    else if (space == CL_KERNEL_ARG_ADDRESS_LOCAL)
        parameter.kind = GPB_OPENCL_LOCAL;
    else {
        char type [256] = "";
        parameter.kind = GPB_OPENCL_SCALAR;
        if (clGetKernelArgInfo (kernel, index, CL_KERNEL_ARG_TYPE_NAME, sizeof type, type, NULL)
            == CL_SUCCESS)
            parameter.size = s_type_size (type);
    }
    return parameter;
}

//  ---------------------------------------------------------------------------------------------------------
//  Writing

//  One kernel's row. With target NULL only its size is counted.
static size_t
s_write_kernel (cl_kernel kernel, unsigned char *target)
{
    char name [1024] = "";
    cl_uint count = 0;
    if (clGetKernelInfo (kernel, CL_KERNEL_FUNCTION_NAME, sizeof name, name, NULL) != CL_SUCCESS
        || clGetKernelInfo (kernel, CL_KERNEL_NUM_ARGS, sizeof count, &count, NULL) != CL_SUCCESS)
        return 0;
    uint32_t length = (uint32_t) strlen (name);
    size_t size = 2 * sizeof length + length + 2 * (size_t) count;
    if (!target)
        return size;
    memcpy (target, &length, sizeof length);
    memcpy (target + sizeof length, name, length);
    target += sizeof length + length;
    memcpy (target, &count, sizeof count);
    target += sizeof count;
    for (cl_uint index = 0; index < count; index++) {
        gpb_opencl_parameter_t parameter = gpb_opencl_parameter (kernel, index);
        *target++ = (unsigned char) parameter.kind;
        *target++ = parameter.size;
    }
    return size;
}

//  The table of a program that was made from source. The caller's, for the services' free.
static gpb_status_t
s_make_table (gpb_module_t *module, unsigned char **table_p, uint32_t *size_p, gpb_error_t *error)
{
    const gpb_backend_services_t *services = module->context->services;
    cl_kernel kernels [KERNELS_MAX];
    cl_uint count = 0;
    cl_int code = clCreateKernelsInProgram (module->program, KERNELS_MAX, kernels, &count);
    if (code != CL_SUCCESS)
        return gpb_opencl_refuse (services, error, code, "clCreateKernelsInProgram");
    size_t size = 0, at = 0;
    for (cl_uint index = 0; index < count; index++)
        size += s_write_kernel (kernels [index], NULL);
    *table_p = services->alloc (size, 1);
    for (cl_uint index = 0; index < count; index++) {
        if (*table_p)
            at += s_write_kernel (kernels [index], *table_p + at);
        clReleaseKernel (kernels [index]);
    }
    *size_p = (uint32_t) size;
    return *table_p ? GPB_OK
                    : services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                           "out of memory for a binary's table");
}

//  The driver's binary behind head and table. PoCL compiles a kernel's body for any local size when
//  it is asked for this, some 90 ms, so that the binary is whole.
static gpb_status_t
s_make_binary (gpb_module_t *module, const unsigned char *table, uint32_t table_size, void **data_p,
               size_t *size_p, gpb_error_t *error)
{
    const gpb_backend_services_t *services = module->context->services;
    size_t size = 0;
    cl_int code =
        clGetProgramInfo (module->program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL);
    if (code != CL_SUCCESS)
        return gpb_opencl_refuse (services, error, code,
                                  "clGetProgramInfo (CL_PROGRAM_BINARY_SIZES)");
    if (size == 0)
        return services->error_set (error, GPB_UNIMPLEMENTED,
                                    "the driver of %s gives no binary for this program",
                                    module->context->info.name);
    size_t total = HEAD_SIZE + table_size + size;
    unsigned char *data = services->alloc (total, 1);
    if (!data)
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                    "out of memory for a binary of %zu bytes", total);
    unsigned char *binary = data + HEAD_SIZE + table_size;
    code = clGetProgramInfo (module->program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL);
    if (code != CL_SUCCESS) {
        services->free (data);
        return gpb_opencl_refuse (services, error, code, "clGetProgramInfo (CL_PROGRAM_BINARIES)");
    }
    memcpy (data, s_magic, 8);
    memcpy (data + 16, &table_size, sizeof table_size);
    memcpy (data + HEAD_SIZE, table, table_size);
    uint64_t hash = s_hash (data + 16, total - 16);
    memcpy (data + 8, &hash, sizeof hash);
    *data_p = data;
    *size_p = total;
    return GPB_OK;
}

gpb_status_t
gpb_opencl_binary (gpb_module_t *module, void **data_p, size_t *size_p, gpb_error_t *error)
{
    *data_p = NULL;
    *size_p = 0;
    if (module->table)
        return s_make_binary (module, module->table, module->table_size, data_p, size_p, error);
    unsigned char *table = NULL;
    uint32_t table_size = 0;
    gpb_status_t status = s_make_table (module, &table, &table_size, error);
    if (status == GPB_OK)
        status = s_make_binary (module, table, table_size, data_p, size_p, error);
    module->context->services->free (table);
    return status;
}

//  ---------------------------------------------------------------------------------------------------------
//  Reading

gpb_status_t
gpb_opencl_read_binary (gpb_module_t *module, const gpb_code_t *code,
                        const unsigned char **binary_p, size_t *size_p, gpb_error_t *error)
{
    const gpb_backend_services_t *services = module->context->services;
    const unsigned char *data = code->data;
    uint64_t hash = 0;
    uint32_t table_size = 0;
    if (code->size > HEAD_SIZE) {
        memcpy (&hash, data + 8, sizeof hash);
        memcpy (&table_size, data + 16, sizeof table_size);
    }
    if (code->size <= HEAD_SIZE || memcmp (data, s_magic, 8) != 0
        || hash != s_hash (data + 16, code->size - 16) || table_size > code->size - HEAD_SIZE - 1)
        return services->error_set (error, GPB_INVALID_ARGUMENT,
                                    "%s: it is no binary that libgpb's OpenCL backend has made, or "
                                    "it was changed",
                                    code->name);
    module->table = services->alloc (table_size, 1);
    if (!module->table)
        return services->error_set (error, GPB_RESOURCE_EXHAUSTED,
                                    "out of memory for a binary's table");
    memcpy (module->table, data + HEAD_SIZE, table_size);
    module->table_size = table_size;
    *binary_p = data + HEAD_SIZE + table_size;
    *size_p = code->size - HEAD_SIZE - table_size;
    return GPB_OK;
}

//  Every length is held against what is left, hash or not.
static bool
s_read_number (const gpb_module_t *module, size_t *at, uint32_t *number)
{
    if (module->table_size - *at < sizeof *number)
        return false;
    memcpy (number, module->table + *at, sizeof *number);
    *at += sizeof *number;
    return true;
}

void
gpb_opencl_table_lookup (const gpb_module_t *module, const char *entry,
                         gpb_opencl_parameter_t *parameters, cl_uint count)
{
    uint32_t length, found;
    for (size_t at = 0; s_read_number (module, &at, &length);) {
        const char *name = (const char *) module->table + at;
        if (length > module->table_size - at)
            return;
        at += length;
        if (!s_read_number (module, &at, &found)
            || 2 * (uint64_t) found > (uint64_t) module->table_size - at)
            return;
        if (length == strlen (entry) && memcmp (name, entry, length) == 0) {
            for (cl_uint index = 0; index < count && index < found; index++) {
                unsigned char kind = module->table [at + 2 * (size_t) index];
                parameters [index].kind = kind <= GPB_OPENCL_SCALAR
                                              ? (gpb_opencl_parameter_kind_t) kind
                                              : GPB_OPENCL_UNKNOWN;
                parameters [index].size = module->table [at + 2 * (size_t) index + 1];
            }
            return;
        }
        at += 2 * (size_t) found;
    }
}
