//  gpb_kernel - a kernel's definition, read from its package, and what a request for it comes to
//
//  A package is a folder with kernel.conf (libconfig) and a source file. The definition says every
//  parameter's direction, type, alignment and count, so that a request is checked, and all its
//  sizes are known, before anything reaches a device: a wrong type, count or size is an answer with
//  a reason, never a fault.
//
//      id = "vector_add";             // [a-z0-9_.-]{1,64}; the folder has the same name
//      description = "c = a + b";
//      entry = "vector_add";          // the function's name in the source; default: the id
//      source = "vector_add.c";       // one portable file, or, for each backend:
//                                     // sources = { cl = "x.cl"; cu = "x.cu"; ptx = "x.ptx";
//                                     //             fatbin = "x.fatbin"; cubin = "x.cubin"; };
//      parameters = (                 // alignment: default the type's size; zero = true: an out
//                                     // parameter is all zero bytes when the kernel starts
//          { name = "a"; direction = "in"; type = "f32"; count = "n"; },
//          { name = "b"; direction = "in"; type = "f32"; count = "n"; },
//          { name = "c"; direction = "out"; type = "f32"; count = "n"; },
//          { name = "n"; direction = "scalar"; type = "i32"; }    // minimum, maximum: numbers
//      );
//      global = [ "n" ];              // default global size, 1 to 3 expressions
//      global_free = false;           // a request may say another global size
//      local = [ 256 ];               // default local size; left out: the backend chooses
//      local_free = true;             // a request may say another local size; false where the
//                                     // code relies on this one
//      shared = "";                   // dynamic local memory in bytes, an expression
//      require = [ ];                 // capabilities
//      optimize = 2; debug = false; options = ""; arch = "";    // for the compiler
//
//  A persistent kernel (kernels/gpb_lane.h) says so, and what one message is:
//
//      persistent = true;
//      parameters = (                 // one in, one out; alignment: at most 32 bytes
//          { name = "in"; direction = "in"; type = "f32"; maximum = 1024; },
//          { name = "out"; direction = "out"; type = "f32"; count = "count"; }
//      );                             // maximum: elements; default: what a slot has room for.
//                                     // count: at most; `count` in it: the elements that came.
//                                     // How many there are is what the handler says
//      local = [ 1 ];                 // work-items of a lane's work-group, one dimension
//      lanes = 1;                     // 1 to 32
//      slots = 256;                   // of one lane: messages on the device; a power of two, 2 to
//                                     // 65536
//      slot_size = 96;                // bytes of a message that travels in its slot: 32 to 65504,
//                                     // rounded up to a multiple of 128 less 32
//      state = 0;                     // bytes that a lane keeps between messages, zeros at first
//      devices = [ "all" ];           // where it may stay: "all", indices, capabilities
//
//  It has one portable source, and no sources, global, global_free, local_free or shared; `entry`
//  is its handler's name.
//
//  Expressions are of whole scalar parameters and, where global_free, of global_size_0, _1, _2:
//  unsigned 64-bit, overflow checked, + - * / ceil_div (a, b) min (a, b) max (a, b) and
//  parentheses. A global size that is no multiple of the local size is rounded up to one, so a
//  kernel compares its global_id with what it was given. Where any dimension is 0, there is nothing
//  to do, and nothing is launched. A dimension has at most 2^31 work-items, since kernels count in
//  32 bits. A request may ask for more dynamic local memory than `shared` says, never for less.
//
//  A definition never changes after it is read; it may be read by any thread at once. No I/O but in
//  gpb_kernel_load.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_KERNEL_H_INCLUDED
#define GPB_KERNEL_H_INCLUDED

#include "gpb_backend.h"

#define GPB_KERNEL_ID_MAX 64
#define GPB_KERNEL_PARAMETERS_MAX 32
#define GPB_KERNEL_SOURCE_MAX                                                                      \
    (1024 * 1024)    //  bytes of one source or binary; enough for a cubin of any of ours

typedef struct _gpb_kernel_t gpb_kernel_t;

typedef enum { GPB_IN, GPB_OUT, GPB_INOUT, GPB_SCALAR } gpb_direction_t;

typedef enum {
    GPB_I8,
    GPB_U8,
    GPB_I16,
    GPB_U16,
    GPB_I32,
    GPB_U32,
    GPB_I64,
    GPB_U64,
    GPB_F16,
    GPB_F32,
    GPB_F64
} gpb_type_t;

typedef struct {
    const char *name;
    gpb_direction_t direction;
    gpb_type_t type;       //  scalars are i32, u32, i64, u64, f32 or f64
    const char *count;     //  the expression's text; "" for a scalar; "count" for a persistent
                           //  kernel's input
    uint32_t alignment;    //  bytes that the kernel relies on
    bool zero;             //  an output that is all zero bytes when the kernel starts
} gpb_parameter_t;

//  Reads DIRECTORY/kernel.conf and what it names. INVALID_ARGUMENT with file, line and what would
//  be right; NOT_FOUND where there is no kernel.conf.
gpb_kernel_t *gpb_kernel_load (const char *directory, gpb_error_t *error);

//  The same from text that came over the wire: the definition, and the source that it names. File
//  names in it are looked at for their endings alone.
gpb_kernel_t *gpb_kernel_parse (const char *definition, const char *source, gpb_error_t *error);

//  One more holder. Each of them destroys it, and the last one frees it; they are of one thread.
gpb_kernel_t *gpb_kernel_retain (const gpb_kernel_t *self);

void gpb_kernel_destroy (gpb_kernel_t **self_p);

const char *gpb_kernel_id (const gpb_kernel_t *self);
const char *gpb_kernel_description (const gpb_kernel_t *self);
const char *gpb_kernel_entry (const gpb_kernel_t *self);
size_t gpb_kernel_parameters (const gpb_kernel_t *self);
const gpb_parameter_t *gpb_kernel_parameter (const gpb_kernel_t *self, size_t index);
unsigned gpb_kernel_dimensions (const gpb_kernel_t *self);
const char *gpb_kernel_global (const gpb_kernel_t *self,
                               unsigned dimension);    //  the expression's text
bool gpb_kernel_global_free (const gpb_kernel_t *self);
const uint64_t *gpb_kernel_local (
    const gpb_kernel_t *self);    //  3 entries, those unused 1; NULL: the backend chooses
const char *gpb_kernel_shared (const gpb_kernel_t *self);    //  the expression's text; "" for none
const char *gpb_kernel_require (const gpb_kernel_t *self, size_t index);    //  NULL behind the last

//  "portable", "cl", "cu", "ptx", "fatbin", "cubin", one by one; NULL behind the last.
const char *gpb_kernel_source_kind (const gpb_kernel_t *self, size_t index);

//  What to compile for a backend ("opencl", "cuda"): the package's own source or binary for it
//  where there is one, else the portable source with the prelude in front, and, for a persistent
//  kernel, with what a lane is in front and the loop behind. The members point into self.
//  FAILED_PRECONDITION where it carries nothing for that backend.
gpb_status_t gpb_kernel_code (const gpb_kernel_t *self, const char *backend, gpb_code_t *code,
                              gpb_error_t *error);

const char *gpb_direction_name (gpb_direction_t direction);    //  "in", "out", "inout", "scalar"
const char *gpb_type_name (gpb_type_t type);                   //  "i8"... "f64"
size_t gpb_type_size (gpb_type_t type);                        //  bytes

//  ---------------------------------------------------------------------------------------------------------
//  A kernel that stays on its devices

#define GPB_PERSISTENT_LANES_MAX 32
#define GPB_PERSISTENT_SLOTS_MAX 65536
#define GPB_PERSISTENT_SLOT_SIZE_MAX 65504               //  bytes
#define GPB_PERSISTENT_STATE_MAX (64 * 1024 * 1024)      //  bytes of one lane
#define GPB_PERSISTENT_MESSAGE_MAX (64 * 1024 * 1024)    //  bytes of one input, or output
#define GPB_PERSISTENT_DISPATCH "gpb_dispatch"           //  entries of its code: serves a lane
#define GPB_PERSISTENT_ONCE "gpb_once"                   //  handles one message

typedef struct {
    uint32_t lanes;
    uint32_t slots;    //  of one lane; a power of two
    uint32_t
        slot_size;     //  bytes of an input, or an output, in its slot; a multiple of 128 less 32
    uint32_t local;    //  work-items of a lane's work-group
    uint64_t state_size;      //  bytes of one lane
    uint64_t input_max;       //  bytes of the largest input
    uint64_t output_max;      //  bytes that the largest input's output may have
    uint64_t element_size;    //  bytes of an element of the input
} gpb_persistent_t;

//  What a persistent kernel's definition says; NULL: it is launched for each request. Borrowed.
const gpb_persistent_t *gpb_kernel_persistent (const gpb_kernel_t *self);

//  Where it may stay: "all", an index or a capability, one by one; NULL behind the last.
const char *gpb_kernel_persistent_device (const gpb_kernel_t *self, size_t index);

//  Whether it may stay on the device with this index.
bool gpb_kernel_persistent_on (const gpb_kernel_t *self, unsigned index,
                               const gpb_device_info_t *info);

//  Sets lanes, slots, slot_size or devices (words, separated by '|') in the place of the package's.
//  INVALID_ARGUMENT: no such setting, or out of its bounds, which are named. Before any thread uses
//  the definition.
gpb_status_t gpb_kernel_persistent_set (gpb_kernel_t *self, const char *name, const char *value,
                                        gpb_error_t *error);

//  ---------------------------------------------------------------------------------------------------------
//  A request held against the definition

typedef enum {
    GPB_VALUE_SCALAR,     //  type and scalar are set
    GPB_VALUE_PAYLOAD,    //  bytes that came along: size of them
    GPB_VALUE_OUTPUT,     //  bytes are wanted back: size of them, 0 for what the count says
    GPB_VALUE_BUFFER      //  a range of rented memory: size bytes are there at most
} gpb_value_kind_t;

typedef struct {
    gpb_value_kind_t kind;
    gpb_type_t type;
    gpb_argument_t scalar;    //  only its member `scalar` is read
    uint64_t size;            //  bytes
} gpb_value_t;

typedef struct {
    const gpb_value_t *values;
    size_t values_count;
    unsigned dimensions;    //  0: the package's default global size
    uint64_t global [GPB_DIMENSIONS];
    unsigned local_dimensions;    //  0: the package's default local size
    uint64_t local [GPB_DIMENSIONS];
    bool has_shared;
    uint64_t shared;    //  bytes
} gpb_kernel_call_t;

typedef struct {
    bool empty;    //  nothing to do: answered OK without a launch; outputs are zeroes
    unsigned dimensions;
    uint64_t global [GPB_DIMENSIONS];    //  rounded up to multiples of local where that is given
    uint64_t local [GPB_DIMENSIONS];     //  all 0: the backend chooses
    uint64_t shared;    //  bytes; a LOCAL argument goes last where the package has `shared`
    uint64_t
        sizes [GPB_KERNEL_PARAMETERS_MAX];    //  bytes of each parameter's memory; 0 for scalars
} gpb_kernel_plan_t;

//  Checks everything that the definition (FAILED_PRECONDITION for a persistent one) and the device
//  allow: the number, kind and type of
//  arguments, exact sizes, what expressions come to, global size (OUT_OF_RANGE never:
//  INVALID_ARGUMENT), work-group size and local memory against the device's limits, each named in
//  the refusal with its value. device may be NULL: then its limits are not looked at.
gpb_status_t gpb_kernel_plan (const gpb_kernel_t *self, const gpb_kernel_call_t *call,
                              const gpb_device_info_t *device, gpb_kernel_plan_t *plan,
                              gpb_error_t *error);

//  Holds one message against the definition: exactly two values, a payload of whole elements within
//  the bounds and an output (of any size that is enough, or 0). No element at all is a message too.
//  *output_size_p: bytes that the handler may write. INVALID_ARGUMENT names what was wrong and what
//  is right; FAILED_PRECONDITION where self is not persistent.
gpb_status_t gpb_kernel_plan_message (const gpb_kernel_t *self, const gpb_kernel_call_t *call,
                                      uint64_t *output_size_p, gpb_error_t *error);

//  ---------------------------------------------------------------------------------------------------------
//  All packages of a node

typedef struct _gpb_kernels_t gpb_kernels_t;

//  Every folder with a kernel.conf directly below one of the folders of path (separated by ':'; a
//  folder named first wins). A package that is refused is left out, and its reason kept as a
//  notice; a folder that is not there likewise. NULL only when memory runs out.
gpb_kernels_t *gpb_kernels_new (const char *path, gpb_error_t *error);

//  The same for a configuration's path, where "" means the default one.
gpb_kernels_t *gpb_kernels_open (const char *path, gpb_error_t *error);

void gpb_kernels_destroy (gpb_kernels_t **self_p);

//  NULL where there is none. Borrowed.
const gpb_kernel_t *gpb_kernels_lookup (gpb_kernels_t *self, const char *id);

//  Why there is none of this id: NOT_FOUND, or INVALID_ARGUMENT for what is no kernel's id at all.
gpb_status_t gpb_kernels_refuse (const char *id, gpb_error_t *error);

//  Takes kernel, also where it fails. ALREADY_EXISTS unless replace; a definition that is replaced
//  is gone, unless somebody has retained it.
gpb_status_t gpb_kernels_insert (gpb_kernels_t *self, gpb_kernel_t **kernel_p, bool replace,
                                 gpb_error_t *error);

//  In the order of their ids; NULL behind the last. Borrowed.
const gpb_kernel_t *gpb_kernels_at (gpb_kernels_t *self, size_t index);

//  Sentences about packages that were left out; NULL behind the last. Borrowed.
const char *gpb_kernels_notice (gpb_kernels_t *self, size_t index);

//  Where kernels are looked for: GPB_KERNEL_PATH, then `kernels/` beside the program's own file,
//  then where libgpb is installed; folders that are not there left out. The caller's, for gpb_free;
//  NULL when memory runs out.
char *gpb_kernels_default_path (void);

#endif
