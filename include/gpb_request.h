//  gpb_request - one request to a node, being written
//
//  Made by one of the constructors, filled in, and handed to a gpb_client_t, which takes it. Errors
//  made while filling it in (a NULL argument, too many arguments, no memory) are kept, and sending
//  it returns the first of them, so that no setter needs checking. One thread at a time.
//
//      gpb_request_t *request = gpb_request_execute ("vector_add");
//      gpb_request_in (request, a, sizeof a);
//      gpb_request_in (request, b, sizeof b);
//      gpb_request_out (request, 0);
//      gpb_request_i32 (request, 1000);
//      gpb_reply_t *reply = gpb_client_call (client, &request, &error);
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_REQUEST_H_INCLUDED
#define GPB_REQUEST_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct _gpb_request_t gpb_request_t;

typedef enum {
    GPB_RENT_DEVICE,    //  in the device's own memory
    GPB_RENT_MAPPED     //  in memory that host and device both reach; an application in the node's
                        //  process may map it
} gpb_rent_kind_t;

typedef enum {
    GPB_RENT_READ_WRITE,
    GPB_RENT_READ_ONLY,    //  kernels only read it
    GPB_RENT_WRITE_ONLY    //  kernels only write it
} gpb_rent_access_t;

//  Constructors: NULL only when memory runs out. Strings are copied.
GPB_EXPORT gpb_request_t *gpb_request_hello (void);
GPB_EXPORT gpb_request_t *gpb_request_devices (void);
GPB_EXPORT gpb_request_t *gpb_request_kernels (const char *kernel);    //  NULL: all
GPB_EXPORT gpb_request_t *gpb_request_stats (void);
GPB_EXPORT gpb_request_t *gpb_request_health (void);
GPB_EXPORT gpb_request_t *gpb_request_execute (const char *kernel);
GPB_EXPORT gpb_request_t *gpb_request_rent (uint64_t size, gpb_rent_kind_t kind,
                                            gpb_rent_access_t access);
GPB_EXPORT gpb_request_t *gpb_request_release (uint64_t handle);
GPB_EXPORT gpb_request_t *gpb_request_read (uint64_t handle, uint64_t offset, uint64_t size);
GPB_EXPORT gpb_request_t *gpb_request_copy (uint64_t source, uint64_t source_offset,
                                            uint64_t target, uint64_t target_offset, uint64_t size);
GPB_EXPORT gpb_request_t *gpb_request_map (uint64_t handle);
GPB_EXPORT gpb_request_t *gpb_request_unmap (uint64_t handle);

//  Sets memory of a device (bytes, at least 1) aside for this connection, for so long after it is
//  answered; 0: the node's longest. It takes gpb_request_set_device and gpb_request_require as a
//  rent does. The reply has its handle (gpb_reply_handle), for gpb_request_set_reservation. It ends
//  by unreserve, when its time is up, and with the connection; what was rented on it stays rented.
GPB_EXPORT gpb_request_t *gpb_request_reserve (uint64_t memory, uint32_t for_ms);

//  From its answer on a reservation lasts so much longer; 0: the node's longest. NOT_FOUND once it
//  has ended.
GPB_EXPORT gpb_request_t *gpb_request_renew (uint64_t handle, uint32_t for_ms);

GPB_EXPORT gpb_request_t *gpb_request_unreserve (uint64_t handle);

//  data is copied.
GPB_EXPORT gpb_request_t *gpb_request_write (uint64_t handle, uint64_t offset, const void *data,
                                             size_t size);

//  definition: the text of a kernel.conf; source: the text of the file that it names.
GPB_EXPORT gpb_request_t *gpb_request_register (const char *definition, const char *source,
                                                bool replace);

//  The lanes of a persistent kernel that this one replaces hand over their state, once all that it
//  was sent before is answered; where that has another size, the new ones begin with zeros. Of a
//  register request; nothing changes in any other.
GPB_EXPORT void gpb_request_keep_state (gpb_request_t *self);

//  Asks the node to take back the request with this id (gpb_client_cancel does the same without
//  waiting).
GPB_EXPORT gpb_request_t *gpb_request_cancel (uint64_t id);

GPB_EXPORT void gpb_request_destroy (gpb_request_t **self_p);

//  ---------------------------------------------------------------------------------------------------------
//  Arguments of an execute request, in the order that the kernel declares

GPB_EXPORT void gpb_request_i32 (gpb_request_t *self, int32_t value);
GPB_EXPORT void gpb_request_u32 (gpb_request_t *self, uint32_t value);
GPB_EXPORT void gpb_request_i64 (gpb_request_t *self, int64_t value);
GPB_EXPORT void gpb_request_u64 (gpb_request_t *self, uint64_t value);
GPB_EXPORT void gpb_request_f32 (gpb_request_t *self, float value);
GPB_EXPORT void gpb_request_f64 (gpb_request_t *self, double value);

//  For an in or inout parameter. data is copied.
GPB_EXPORT void gpb_request_in (gpb_request_t *self, const void *data, size_t size);

//  The same without the copy: data is used in place, and free_fn (data, hint) is called when it is
//  no longer needed, on this thread or on one of libzmq's. It must be aligned for the kernel to be
//  used in place by an inproc node. free_fn NULL: data outlives everything (static storage).
GPB_EXPORT void gpb_request_in_take (gpb_request_t *self, void *data, size_t size,
                                     void (*free_fn) (void *data, void *hint), void *hint);

//  For an out parameter: size in bytes, or 0 for what the kernel's definition says.
GPB_EXPORT void gpb_request_out (gpb_request_t *self, size_t size);

//  For any memory parameter: a rented buffer from offset on. size 0: as many bytes as the parameter
//  needs.
GPB_EXPORT void gpb_request_buffer (gpb_request_t *self, uint64_t handle, uint64_t offset,
                                    uint64_t size);

//  ---------------------------------------------------------------------------------------------------------
//  Options

//  Work-items; dimensions is 1 to 3. For kernels that say global_free.
GPB_EXPORT void gpb_request_set_global (gpb_request_t *self, unsigned dimensions,
                                        const uint64_t *sizes);

//  Work-items of a work-group.
GPB_EXPORT void gpb_request_set_local (gpb_request_t *self, unsigned dimensions,
                                       const uint64_t *sizes);

//  Dynamic local memory, in bytes.
GPB_EXPORT void gpb_request_set_shared (gpb_request_t *self, uint64_t size);

//  This device and no other.
GPB_EXPORT void gpb_request_set_device (gpb_request_t *self, unsigned index);

//  A capability that the device must have; may be called again for more.
GPB_EXPORT void gpb_request_require (gpb_request_t *self, const char *capability);

//  Device memory in bytes that must be available beside the payloads.
GPB_EXPORT void gpb_request_set_memory (gpb_request_t *self, uint64_t size);

//  For execute and rent: the device of this reservation, and what the request needs there is drawn
//  from it. 0: none.
GPB_EXPORT void gpb_request_set_reservation (gpb_request_t *self, uint64_t handle);

//  For a persistent kernel: this message gets a launch of its own, instead of going to the lanes
//  that stay on the device. For comparing the two; others are launched for every request anyway.
GPB_EXPORT void gpb_request_on_demand (gpb_request_t *self);

//  For a persistent kernel: messages of one key go to one lane of one device, in the order that
//  they were sent in (by one client; a message that was refused and is sent again, see
//  gpb_client_set_retries, has lost its place). Without a key a message goes to the emptiest lane.
//  Any number is a key, 0 too.
GPB_EXPORT void gpb_request_lane (gpb_request_t *self, uint64_t key);

//  The higher one leaves the node's queue first; 0, the default, is the usual one. Seven of them,
//  as in the protocol: a node ages what waits, so that a low one is late and never starves.
#define GPB_PRIORITY_MIN (-3)
#define GPB_PRIORITY_MAX 3
GPB_EXPORT void gpb_request_set_priority (gpb_request_t *self, int priority);

//  Says that running the request twice does no harm: the node may run it again where its device was
//  lost, and a client with retries (gpb_client_set_retries) sends it again where its connection
//  was. A kernel that only writes its outputs is idempotent; one that adds to a rented buffer is
//  not.
GPB_EXPORT void gpb_request_set_idempotent (gpb_request_t *self);

//  The request is answered within this time, whatever happens. 0, the default: the client's
//  (gpb_client_set_timeout).
GPB_EXPORT void gpb_request_set_timeout (gpb_request_t *self, uint32_t timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
